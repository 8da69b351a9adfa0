use super::*;
use proptest::prelude::*;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Returns what is read of an object, and the members.
fn read(text: &str) -> (Result<usize, NotRead>, Vec<(String, String)>) {
    let mut members = Vec::new();
    let result = read_object(text.as_bytes(), &mut |name, value| {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        members.push((text(&name), text(value)));
        true
    });
    (result, members)
}

#[test]
fn objects_of_dicom_json_are_read_with_and_without_white_space() {
    let compact = r#"{"00080005":{"vr":"CS","Value":["ISO_IR 192"]},"0020000D":{"vr":"UI","Value":["1.2.826.0.1"]},"00280010":{"vr":"US","Value":[512,-0.5e+3,0]},"00081115":{"vr":"SQ","Value":[{"0020000E":{"vr":"UI","Value":["1"]}},{}]},"00100010":{"vr":"PN","Value":[{"Alphabetic":"D\u00e9\\\"^"}]},"00080061":{"vr":"CS"},"00400275":{"Value":[null,true,false],"vr":"SQ"},"00100040":{}}"#;
    let value: serde_json::Value = serde_json::from_str(compact).unwrap();
    for text in [compact.to_owned(), serde_json::to_string_pretty(&value).unwrap()] {
        let (length, members) = read(&format!("{text},{{"));
        assert_eq!(length, Ok(text.len()), "{text}");
        let expected: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&text).unwrap();
        let members: BTreeMap<_, _> = members.into_iter().collect();
        assert!(
            expected
                .iter()
                .map(|(name, value)| (name.as_str(), value.get()))
                .eq(members.iter().map(|(name, value)| (name.as_str(), value.as_str())))
        );
        for length in (0..text.len()).filter(|length| text.is_char_boundary(*length)) {
            assert_eq!(read(&text[..length]).0, Err(NotRead::Incomplete), "{}", &text[..length]);
        }
    }
}

#[test]
fn what_is_not_valid_is_not_recognized() {
    for value in [
        "01 ",
        "1.x",
        "-x",
        "1ex",
        "1e+x",
        "+1",
        "trux",
        "nul}",
        "\"\n\"",
        "\"\\x\"",
        "\"\\u00g0\"",
        "[1 2]",
        "[1,]",
        "[,1]",
        "{\"a\" 1}",
        "{\"a\":1,}",
        "{,}",
        "{,\"a\":1}",
        "[{,\"a\":1}]",
        "{\"a\":[],,\"b\":1}",
        "{1:2}",
        "[}",
        "{]",
        "\u{a0}1",
        "{\"vr\":\"CS\",\"Value\":[}}",
        "{\"vr\":\"CS\",\"Value\":[1]]",
    ] {
        let text = format!("{{\"00100020\":{value}}}        ");
        assert_eq!(read(&text).0, Err(NotRead::Unrecognized), "{text}");
    }
    for text in [
        "[]",
        "{\"0010002\":1}",
        "{\"0010002d\":1}",
        "{\"PatientI\":1}",
        "{\"001000\\u0032\":1}",
        "{\"00100020\":1]",
    ] {
        assert_eq!(read(text).0, Err(NotRead::Unrecognized), "{text}");
    }
    let nested = |depth: usize| format!("{{\"00100020\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert!(read(&nested(MAX_DEPTH as usize)).0.is_ok());
    assert_eq!(read(&nested(MAX_DEPTH as usize + 1)).0, Err(NotRead::Unrecognized));
}

#[test]
fn an_attribute_with_one_string_has_this_string() {
    for (attribute, expected) in [
        (r#"{"vr":"LO","Value":["P1"]}"#, Some("P1")),
        (r#"{"Value":["ä 1"],"vr":"LO"}"#, Some("ä 1")),
        (r#"{"vr":"LO","Value":["P1","P2"]}"#, None),
        (r#"{"Value":["P1","P2"],"vr":"LO"}"#, None),
        (r#"{"vr":"LO","Value":["P1"],"Value":["P2"]}"#, None),
        (r#"{"Value":["P1"],"Value":["P2"],"vr":"LO"}"#, None),
        (r#"{"vr":"LO","Value":["P\u0031"]}"#, None),
        (r#"{"vr":"LO","Value":[""]}"#, None),
        (r#"{"vr":"LO","Value":["]}"#, None),
        (r#"{"vr":"lo","Value":["P1"]}"#, None),
        (r#"{"vr":"PN","Value":["P1"]}"#, None),
        (r#"{"Value":["P1"],"vr":"PN"}"#, None),
        (r#"{"vr":"LO"}"#, None),
        (r#"["P1"]"#, None),
        ("", None),
    ] {
        assert_eq!(only_string(attribute.as_bytes()), expected, "{attribute}");
    }
    assert_eq!(only_string(b"{\"vr\":\"LO\",\"Value\":[\"\xFF\"]}"), None);
}

proptest! {
    #[test]
    fn the_length_of_a_plain_string_is_exact(text in "[a\"\\\\\u{1f}\u{20}!#\u{0}é\u{80}\u{ff}\\[\\]]{0,40}") {
        let expected = text.bytes().position(|byte| matches!(byte, b'"' | b'\\' | ..0x20));
        prop_assert_eq!(plain_len(text.as_bytes()), expected.unwrap_or(text.len()));
    }

    #[test]
    fn what_is_read_is_what_serde_accepts(
        parts in prop::collection::vec(prop::sample::select(vec![
            "[", "]", "{", "}", ",", ":", "\"a\"", "\"0020000D\":", "\"", "\\", "\\u00e1", "null", "true", "tru", "-", "0", "1", ".5", "e+3", " ",
            "{\"vr\":\"UI\",\"Value\":[", "\"1.2\"", "{}", "]}", "\"a\":",
        ]), 0..10),
    ) {
        let text = format!("{{\"0020000D\":{}}}", parts.concat());
        let mut objects = serde_json::Deserializer::from_str(&text).into_iter::<Box<RawValue>>();
        let expected = objects.next().and_then(Result::ok).map(|object| object.get().len());
        match read(&text).0 {
            Ok(length) => prop_assert_eq!(Some(length), expected, "{}", text),
            Err(NotRead::Incomplete) => prop_assert_eq!(expected, None, "{}", text),
            // The names are not.
            Err(NotRead::Unrecognized) => prop_assert!(expected.is_none() || text.matches("\":").count() > 1, "{}", text),
        }
    }

    #[test]
    fn an_object_with_changed_tokens_is_read_only_if_serde_accepts_it(
        index in 0_usize..100,
        changes in prop::collection::vec(
            (0_usize..100, 0_usize..2, prop::sample::select(vec!["", ",", ":", "{", "}", "[", "]", "1", "\"a\"", "\"a\":", " ", "null"])),
            1..3,
        ),
    ) {
        let objects = [
            r#"{"00080016":{"vr":"UI","Value":["1.2","1.3"]},"00100020":{}}"#,
            r#"{"00081115":{"vr":"SQ","Value":[{"0020000E":{"vr":"UI","Value":["1"]}},{}]}}"#,
            r#"{"00100010":{"Value":[{"Alphabetic":"A^B","Phonetic":""},null,true],"vr":"PN"},"00280010":{"vr":"US","Value":[]}}"#,
        ];
        let mut tokens = tokens(objects[index % objects.len()]);
        for (position, removed, inserted) in changes {
            let start = position % tokens.len();
            let end = (start + removed).min(tokens.len());
            tokens.splice(start..end, [inserted]);
        }
        let text = tokens.concat();
        let mut objects = serde_json::Deserializer::from_str(&text).into_iter::<Box<RawValue>>();
        let expected = objects.next().and_then(Result::ok).map(|object| object.get().len());
        match read(&text).0 {
            Ok(length) => prop_assert_eq!(Some(length), expected, "{}", text),
            Err(NotRead::Incomplete) => prop_assert_eq!(expected, None, "{}", text),
            Err(NotRead::Unrecognized) => {}
        }
    }
}

/// Splits JSON whose strings have no escapes into its tokens.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let is_structure = |character: char| "{}[]:,".contains(character);
        let length = match rest.strip_prefix('"') {
            Some(string) => string.find('"').unwrap() + 2,
            None if rest.starts_with(is_structure) => 1,
            None => rest.find(is_structure).unwrap(),
        };
        let (token, after) = rest.split_at(length);
        tokens.push(token);
        rest = after;
    }
    tokens
}
