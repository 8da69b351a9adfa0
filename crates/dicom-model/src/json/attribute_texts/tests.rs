use super::*;
use proptest::prelude::*;

const TAGS: &[Tag] = &[crate::tags::STUDY_INSTANCE_UID, crate::tags::SOP_INSTANCE_UID];

/// Parsed objects, whose values are not parsed.
type Objects = Vec<std::collections::BTreeMap<String, Box<serde_json::value::RawValue>>>;

/// What was found, with the positions in the whole text.
type Events = Vec<(usize, String)>;

fn scan(text: &[u8], size: usize) -> (Events, Result<usize, RowError>) {
    let mut scanner = AttributeTexts::new(TAGS, 1000);
    let (mut events, mut read) = (Events::new(), 0);
    for chunk in text.chunks(size) {
        let mut add = |position, found: Found<'_>| events.push((read + position, format!("{found:?}")));
        if let Err(error) = scanner.push(chunk, &mut add) {
            return (events, Err(error));
        }
        read += chunk.len();
    }
    (events, scanner.finish())
}

#[test]
fn attributes_are_found_with_their_positions_for_every_chunk_size() {
    let text = concat!(
        "\u{feff} [ {\"00080018\":{\"vr\":\"UI\",\"Value\":[\"1.2\\u0033\",\"9\"]},\"0020000D\" : {\"Value\":[\"4\"],\"vr\":\"UI\"} },",
        "{\"00400275\":{\"vr\":\"SQ\",\"Value\":[{\"0020000D\":{\"vr\":\"UI\",\"Value\":[\"5\"]}}]},\"x\":-0.5e+3} ]\n"
    );
    let (whole, count) = scan(text.as_bytes(), text.len());
    assert_eq!(count, Ok(2));
    let begins = |position: usize, start: &str| text[position..].starts_with(start);
    let [first, instance, study, end, second, end_of_second] = whole.as_slice() else { panic!("{whole:?}") };
    assert!(first.1 == "Object" && begins(first.0, "{\"00080018"));
    assert!(instance.1.contains("index: 1") && begins(instance.0, ",\"0020000D"));
    assert!(study.1.contains("index: 0") && begins(study.0, " },"));
    assert!(end.1 == "End" && begins(end.0, ",{"));
    assert!(second.1 == "Object" && begins(second.0, "{\"00400275"));
    assert!(end_of_second.1 == "End" && begins(end_of_second.0, " ]"));
    for size in 1..text.len() {
        assert_eq!(scan(text.as_bytes(), size), (whole.clone(), Ok(2)), "{size}");
    }
}

#[test]
fn an_attribute_is_found_under_each_of_its_names() {
    for name in
        ["0020000D", "0020000d", "StudyInstanceUID", r"0020\u0030\u0030\u0030d", r"StudyInstance\u0055ID"]
    {
        for value in [r#"{"vr":"UI","Value":["1.2"]}"#, r#""1.2""#, r#"{"Value":[null,"1.2"]}"#] {
            let text = format!(r#"[{{"00080005":{{}},"{name}":{value},"x":1}}]"#);
            for size in [1, 7, 1000] {
                assert_eq!(texts(text.as_bytes(), size, 100).unwrap(), [[(0, value.to_owned())]], "{text}");
            }
        }
    }
    for other in ["studyinstanceuid", "0020000D ", "00200000", "\\u0010020000D", "Study\\ud800", ""] {
        let text = format!(r#"[{{"{other}":"1.2"}}]"#);
        assert!(texts(text.as_bytes(), 7, 100).unwrap().concat().is_empty(), "{text}");
    }
}

#[test]
fn an_attribute_is_found_under_a_keyword_with_as_many_characters_as_a_tag() {
    let tags = [crate::tags::MODALITY];
    for text in
        [r#"[{"Modality":{"vr":"CS","Value":["CT"]}}]"#, r#"[{"00080060":{"vr":"CS","Value":["CT"]}}]"#]
    {
        let (mut scanner, mut count) = (AttributeTexts::new(&tags, 100), 0);
        let mut add = |_, found: Found<'_>| count += usize::from(matches!(found, Found::Attribute { .. }));
        scanner.push(text.as_bytes(), &mut add).unwrap();
        assert_eq!(count, 1, "{text}");
    }
}

#[test]
fn an_attribute_that_occurs_twice_is_an_error() {
    for text in [
        r#"[{"0020000D":{},"0020000D":{}}]"#,
        r#"[{"0020000D":{},"002000\u0030D":{}}]"#,
        r#"[{"0020000D":{},"0020000d":{}}]"#,
        r#"[{"StudyInstanceUID":"1.2","0020000D":{"vr":"UI","Value":["1.2"]}}]"#,
        r#"[{"0020000d":{"vr":"UI","Value":["1.2"]},"0020000D":{"vr":"UI","Value":["1.2"]}}]"#,
        r#"[{"0020000D":{"Value":["1"],"Value":["2"]}}]"#,
    ] {
        assert_eq!(scan(text.as_bytes(), 3).1, Err(RowError::Malformed { row: 1 }), "{text}");
    }
    assert_eq!(scan(br#"[{"0020000D":{}},{"0020000D":{}}]"#, 3).1, Ok(2));
}

#[test]
fn nesting_without_end_is_an_error() {
    let nested = |depth: usize| format!("[{{\"x\":{}{}}}]", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(scan(nested(MAX_DEPTH - 2).as_bytes(), 100).1, Ok(1));
    assert_eq!(scan(nested(MAX_DEPTH - 1).as_bytes(), 100).1, Err(RowError::Malformed { row: 1 }));
}

#[test]
fn a_text_that_is_not_an_array_of_objects_is_an_error() {
    for (text, error) in [
        ("", RowError::NotAnArray("nothing")),
        ("{}", RowError::NotAnArray("an object")),
        ("[1]", RowError::NotAnObject { row: 1 }),
        ("[{},[]]", RowError::NotAnObject { row: 2 }),
        ("[{}", RowError::Truncated { rows: 1 }),
        ("[{}]x", RowError::Trailing),
        ("[{}}", RowError::Malformed { row: 2 }),
        ("[{\"a\":1]]", RowError::Malformed { row: 1 }),
        ("[{\"a\":\"\n\"}]", RowError::Malformed { row: 1 }),
    ] {
        for size in [1, 100] {
            assert_eq!(scan(text.as_bytes(), size).1, Err(error), "{text} {size}");
        }
    }
}

proptest! {
    #[test]
    fn what_is_accepted_is_what_serde_accepts(
        parts in prop::collection::vec(prop::sample::select(vec![
            "[", "]", "{", "}", ",", ":", "\"a\"", "\"0020000D\"", "\"Value\"", "\"", "\\", "\\u00e", "null", "true", "tru", "-", "0", "1", ".5", "e+3", "E", " ",
            "\"a\":", "{}", "[{\"a\":", "}]",
        ]), 0..12),
        size in 1_usize..20,
    ) {
        let text = parts.concat();
        let count = serde_json::from_str::<Objects>(&text).ok().map(|objects| objects.len());
        let is_repeated = text.matches("0020000D").count() > 1 || text.matches("Value").count() > 1;
        prop_assert!(scan(text.as_bytes(), size).1.ok() == count || is_repeated, "{text}");
    }

    #[test]
    fn the_texts_are_those_of_the_attributes_of_the_parsed_objects(
        objects in prop::collection::vec(prop::collection::vec((
            prop::sample::select(vec![
                "0020000D", "0020000d", "0020\\u00300\\u0030d", "StudyInstanceUID", "00080018", "SOPInstanceUID", "0020000F", "ab", "studyInstanceUID",
            ]),
            prop::sample::select(vec![
                r#"{"vr":"UI","Value":["1.2"]}"#, r#"{"vr":"UI","Value":[null,"9.9"]}"#, r#"{"Value":["1.2","9.9"],"vr":"UI"}"#, r#""9.9""#, r#"["9.9"]"#,
                r#"{"vr":"UI","Value":" 1.2"}"#, "null", "9.9", "{}", r#"{"vr":"UI","Value":["\u0031é\ud800"]}"#, r#"{"Value":[{"0020000D":{}}]}"#,
            ]),
        ), 0..5), 0..4),
        size in 1_usize..80,
    ) {
        let join = |members: &[(&str, &str)]| {
            let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            format!("{{{}}}", members.join(","))
        };
        let text = format!("[{}]", objects.iter().map(|members| join(members)).collect::<Vec<_>>().join(","));
        let index_of = |name: &str| {
            let name: String = serde_json::from_str(&format!("\"{name}\"")).unwrap();
            TAGS.iter().position(|tag| tag::parse(&name) == Some(*tag))
        };
        let expected: Vec<Vec<_>> = objects
            .iter()
            .map(|members| members.iter().filter_map(|(name, value)| Some((index_of(name)?, (*value).to_owned()))).collect())
            .collect();
        let is_repeated = expected.iter().any(|object| (0..TAGS.len()).any(|index| object.iter().filter(|one| one.0 == index).count() > 1));
        prop_assert_eq!(texts(text.as_bytes(), size, 1000).ok(), (!is_repeated).then_some(expected), "{}", text);
    }
}

/// Returns the texts of the attributes of each object.
fn texts(text: &[u8], size: usize, max: usize) -> Result<Vec<Vec<(usize, String)>>, RowError> {
    let mut scanner = AttributeTexts::new(TAGS, max);
    let mut objects = Vec::new();
    let mut add = |_, found: Found<'_>| match found {
        Found::Object => objects.push(Vec::new()),
        Found::Attribute { index, text } => {
            objects.last_mut().unwrap().push((index, String::from_utf8_lossy(text).into_owned()));
        }
        Found::End => {}
    };
    text.chunks(size).try_for_each(|chunk| scanner.push(chunk, &mut add))?;
    scanner.finish()?;
    Ok(objects)
}

#[test]
fn texts_of_attributes_are_complete_for_every_chunk_size() {
    let name = r#"{"vr":"PN","Value":[{"Alphabetic":"D\u00e9 \"x\"^]}","y":[1,-2.5e3,true,null,{}]}]}"#;
    let list = format!(
        r#"[{{"00080018": {name} ,"x":{{"0020000D":{{}}}},"0020000D":12}},{{"0020000D":null,"00080018":"a\"b"}},{{"0020000D":[7]}}]"#
    );
    let expected: Vec<Vec<(usize, String)>> = vec![
        vec![(1, name.to_owned()), (0, "12".to_owned())],
        vec![(0, "null".to_owned()), (1, r#""a\"b""#.to_owned())],
        vec![(0, "[7]".to_owned())],
    ];
    for size in 1..=list.len() {
        assert_eq!(texts(list.as_bytes(), size, 1000).unwrap(), expected, "{size}");
    }
}

#[test]
fn an_attribute_whose_text_is_too_long_is_an_error() {
    let list = |length| format!(r#"[{{}},{{"x":"{0}","0020000D":"{0}"}}]"#, "A".repeat(length));
    for size in [1, 7, 1000] {
        assert!(texts(list(98).as_bytes(), size, 100).is_ok(), "{size}");
        let error = texts(list(99).as_bytes(), size, 100).unwrap_err();
        assert_eq!(error, RowError::LongAttribute { row: 2, max: 100 }, "{size}");
    }
}

proptest! {
    #[test]
    fn what_is_found_in_complete_members_is_what_is_found_byte_by_byte(
        objects in prop::collection::vec(prop::collection::vec(prop::sample::select(vec![
            r#""0020000D":{"vr":"UI","Value":["1.2"]}"#,
            r#""0020000D":{"Value":["1.2"],"vr":"UI"}"#,
            r#""0020000D":{"vr":"UI","Value":["1.2","1.3"]}"#,
            r#""0020000d":{"vr":"UI","Value":["1.2"]}"#,
            r#""0020000d": ["1.2"]"#,
            r#""StudyInstanceUID":{"vr":"UI","Value":["1.2"]}"#,
            r#""SOPInstanceUID":"1.2""#,
            r#""0020000D":{"vr":"PN","Value":["1.2"]}"#,
            r#""0020000D":{"vr":"UI","Value":["1.\u0032"]}"#,
            r#""00080018":{"vr":"UI","Value":["1.2"],"Value":["1.3"]}"#,
            r#""00080018":{"vr":"UI","Value":["1.4"]}"#,
            r#""00080018" : {"vr":"UI", "Value":[ "1.4" ]} "#,
            r#""00080018":null"#,
            r#""00280010":{"vr":"US","Value":[-1.5e3,0,null,true]}"#,
            r#""00081115":{"vr":"SQ","Value":[{"0020000D":{"vr":"UI","Value":["1.5"]}},{}]}"#,
            r#""x":"\"\ud800}""#,
            r#""00100010":{"vr":"PN","Value":[{"Alphabetic":"Doe^Jane"}]}"#,
            r#""00100010":{"vr":"PN","Value":[1 2]}"#,
            r#""00100010":{]"#,
        ]), 0..6), 0..4),
        size in 2_usize..300,
    ) {
        let objects: Vec<_> = objects.iter().map(|members| format!("{{{}}}", members.join(","))).collect();
        let text = format!("[{}]", objects.join(","));
        let byte_by_byte = scan(text.as_bytes(), 1);
        prop_assert_eq!(&scan(text.as_bytes(), size), &byte_by_byte);
        prop_assert_eq!(&scan(text.as_bytes(), text.len()), &byte_by_byte);
        prop_assert_eq!(texts(text.as_bytes(), size, 40), texts(text.as_bytes(), 1, 40));
    }
}
