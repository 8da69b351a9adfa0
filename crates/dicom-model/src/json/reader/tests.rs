use proptest::prelude::*;

use super::*;
use crate::{Attributes, tags};

fn read_in_chunks(body: &[u8], size: usize) -> Result<Vec<Attributes>, RowError> {
    let mut rows = Vec::new();
    let mut reader = RowReader::<Attributes>::new();
    for chunk in body.chunks(size.max(1)) {
        reader.push(chunk, &mut |row| rows.push(row))?;
    }
    reader.finish(&mut |row| rows.push(row))?;
    Ok(rows)
}

fn read(body: &str) -> Result<Vec<Attributes>, RowError> {
    read_in_chunks(body.as_bytes(), body.len())
}

#[test]
fn empty_array_has_no_rows() {
    for body in ["[]", " [ ] ", "\u{feff}[]\n"] {
        assert_eq!(read(body), Ok(vec![]), "{body:?}");
    }
}

#[test]
fn body_that_is_not_an_array_of_objects_is_rejected_with_a_reason() {
    for (body, error) in [
        ("", RowError::NotAnArray("nothing")),
        ("null", RowError::NotAnArray("null")),
        ("500", RowError::NotAnArray("a number")),
        ("--boundary", RowError::NotAnArray("a hyphen, as a multipart body does")),
        ("{}", RowError::NotAnArray("an object")),
        ("<!doctype html>", RowError::NotAnArray("markup")),
        ("[1]", RowError::NotAnObject { row: 1 }),
        ("[null]", RowError::NotAnObject { row: 1 }),
        ("[{},]", RowError::NotAnObject { row: 2 }),
        ("[{} {}]", RowError::Malformed { row: 2 }),
        ("[{\"a\":}]", RowError::Malformed { row: 1 }),
        ("[{}", RowError::Truncated { rows: 1 }),
        ("[{},", RowError::Truncated { rows: 1 }),
        ("[{},{\"00100020\":{", RowError::Truncated { rows: 1 }),
        ("[{}]]", RowError::Trailing),
        ("[{}][{}]", RowError::Trailing),
    ] {
        assert_eq!(read(body), Err(error), "{body:?}");
    }
}

#[test]
fn body_truncated_at_any_byte_is_never_accepted_as_complete() {
    let body =
        r#"[{"00100020":{"vr":"LO","Value":["Ж]}"]}},{"00080061":{"vr":"CS","Value":["CT"]}}]"#.as_bytes();
    for length in 0..body.len() {
        assert!(read_in_chunks(&body[..length], 7).is_err(), "{length}");
    }
    assert_eq!(read_in_chunks(body, 7).map(|rows| rows.len()), Ok(2));
}

#[test]
fn bytes_that_are_not_utf8_are_replaced() {
    let body = b"[{\"00100020\":{\"vr\":\"LO\",\"Value\":[\"M\xFCller\"]}}]";
    for size in 1..body.len() {
        let rows = read_in_chunks(body, size).unwrap();
        assert_eq!(rows[0].text(tags::PATIENT_ID), Some("M\u{fffd}ller"), "chunks of {size}");
    }
}

proptest! {
    #[test]
    fn rows_do_not_depend_on_chunk_sizes(
        ids in prop::collection::vec("\\PC{0,20}", 0..6), size in 1usize..90,
    ) {
        let rows: Vec<_> = ids.iter()
            .map(|id| serde_json::json!({"00100020": {"vr": "LO", "Value": [id]}, "x": {"]": ["}"]}}))
            .collect();
        let body = serde_json::to_vec_pretty(&rows).unwrap();
        let expected = read_in_chunks(&body, body.len());
        prop_assert!(expected.as_ref().is_ok_and(|rows| rows.len() == ids.len()));
        prop_assert_eq!(read_in_chunks(&body, size), expected);
    }

    #[test]
    fn arbitrary_bytes_never_make_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..200), size in 1usize..50) {
        let _ = read_in_chunks(&body, size);
    }
}

#[test]
fn number_can_be_split_between_chunks_for_every_row_type() {
    let list = br#"[{"00280030":{"vr":"DS","Value":[-2.5,0.5e-3,1E+10,-0]}},{"x":-1.5}]"#;
    for split in 1..list.len() {
        let (first, second) = list.split_at(split);
        let (mut raw, mut ignored) =
            (RowReader::<Box<serde_json::value::RawValue>>::new(), RowReader::<serde::de::IgnoredAny>::new());
        let mut texts = Vec::new();
        for chunk in [first, second] {
            raw.push(chunk, &mut |row| texts.push(row.get().to_owned())).unwrap();
            ignored.push(chunk, &mut |_| ()).unwrap();
        }
        assert_eq!(raw.finish(&mut |row| texts.push(row.get().to_owned())), Ok(2), "{split}");
        assert_eq!(ignored.finish(&mut |_| ()), Ok(2), "{split}");
        assert_eq!(format!("[{}]", texts.join(",")).as_bytes(), list, "{split}");
    }
    let mut malformed = RowReader::<Box<serde_json::value::RawValue>>::new();
    malformed.push(b"[{\"x\":-", &mut |_| ()).unwrap();
    assert_eq!(malformed.push(b"x}]", &mut |_| ()), Err(RowError::Malformed { row: 1 }));
}

#[test]
fn error_before_a_number_that_ends_the_body_is_reported_for_every_chunk_size() {
    for body in [r#"[{"a"[{"a"::-"#, "[{\n\"a\":}\n1e+", r#"[{"a":1 "e"#] {
        for size in 1..=body.len() {
            assert_eq!(
                read_in_chunks(body.as_bytes(), size),
                Err(RowError::Malformed { row: 1 }),
                "{body} {size}"
            );
        }
    }
}

#[test]
fn only_values_that_cannot_be_decoded_are_lost_for_every_chunk_size() {
    let body = concat!(
        r#"[{"00100020":{"vr":"LO","Value":["P1"]},"\ud800":{"vr":"LO"},"00081030":{"vr":"LO","Value":["CT \ud83d"]}},"#,
        r#" {"00100020":{"vr":"LO","Value":["P2",1e999]}},{"00100020":{"vr":"LO","Value":["P3"]}}]"#,
    );
    for size in 1..=body.len() {
        let rows = read_in_chunks(body.as_bytes(), size).unwrap();
        let texts = |tag| rows.iter().map(|row| row.texts(tag).collect::<Vec<_>>()).collect::<Vec<_>>();
        assert_eq!(texts(tags::PATIENT_ID), [vec!["P1"], vec!["P2", "1e999"], vec!["P3"]], "{size}");
        assert_eq!(texts(tags::STUDY_DESCRIPTION), [vec!["CT \u{fffd}"], vec![], vec![]], "{size}");
    }
    for malformed in [r#"[{"a":"\ud8"}]"#, r#"[{"\ud800":1e999-}]"#, r#"[{"a":"\ud800",}]"#] {
        for size in 1..=malformed.len() {
            assert_eq!(
                read_in_chunks(malformed.as_bytes(), size),
                Err(RowError::Malformed { row: 1 }),
                "{size}"
            );
        }
    }
}

#[test]
fn a_row_of_any_length_is_read_with_its_last_byte() {
    let long = |text: &str| format!(r#"{{"00100020":{{"vr":"LO","Value":["{}"]}}}}"#, text.repeat(10_000));
    let rows = [long("a"), "{}".to_owned(), long(r#"}\"\\"#), long("ä")];
    for size in [1, 7, 1000, 4096] {
        let (mut reader, mut read_count) = (RowReader::<Attributes>::new(), 0);
        for (index, row) in rows.iter().enumerate() {
            let separator = if index == 0 { "[" } else { "," };
            for piece in [separator, row].concat().as_bytes().chunks(size) {
                reader.push(piece, &mut |_| read_count += 1).unwrap();
            }
            assert_eq!((read_count, reader.pending_len()), (index + 1, 0), "in pieces of {size}");
        }
    }
}
