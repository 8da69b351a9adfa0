use proptest::prelude::*;

use super::*;
use crate::tags;

fn read(json: &str) -> Attributes {
    serde_json::from_str(json).unwrap()
}

#[test]
fn tags_in_either_case_and_keywords_identify_the_same_element() {
    for json in [
        r#"{"0020000D":{"vr":"UI","Value":["1.2"]}}"#,
        r#"{"0020000d":{"vr":"UI","Value":["1.2"]}}"#,
        r#"{"StudyInstanceUID":{"vr":"UI","Value":["1.2"]}}"#,
        r#"{"StudyInstanceUID":"1.2"}"#,
        r#"{"0020000D":{"Value":"1.2"}}"#,
        r#"{"0020000D":{"vr":null,"Value":["1.2\u0000"],"extra":{"deep":[1,{}]}}}"#,
    ] {
        assert_eq!(read(json).text(tags::STUDY_INSTANCE_UID), Some("1.2"), "{json}");
    }
}

#[test]
fn numbers_are_read_in_every_notation() {
    for value in ["12", "\"12\"", "\"12 \"", "12.0", "\"12.00\"", "\" 12\""] {
        let row = read(&format!(r#"{{"00201206":{{"vr":"IS","Value":[{value}]}}}}"#));
        assert_eq!(row.integer(tags::NUMBER_OF_STUDY_RELATED_SERIES), Some(12), "{value}");
    }
    for value in ["\"\"", "null", "\"many\"", "12.5", "[]", "{}", "true"] {
        let row = read(&format!(r#"{{"00201206":{{"vr":"IS","Value":[{value}]}}}}"#));
        assert_eq!(row.integer(tags::NUMBER_OF_STUDY_RELATED_SERIES), None, "{value}");
    }
}

#[test]
fn element_without_a_value_is_present_and_empty() {
    for element in [
        r#"{"vr":"LO"}"#,
        r#"{"vr":"LO","Value":[]}"#,
        r#"{"vr":"LO","Value":[null]}"#,
        "null",
        r#"{"vr":"LO","Value":null}"#,
    ] {
        let row = read(&format!(r#"{{"00100020":{element}}}"#));
        assert!(row.contains(tags::PATIENT_ID), "{element}");
        assert_eq!(row.text(tags::PATIENT_ID), None, "{element}");
    }
}

#[test]
fn name_is_read_from_groups_and_from_one_string() {
    for value in [
        r#"{"Alphabetic":"Yamada^Tarou","Ideographic":"山田^太郎","Phonetic":"やまだ^たろう"}"#,
        r#"{"Phonetic":"やまだ^たろう","Ideographic":"山田^太郎","Alphabetic":"Yamada^Tarou"}"#,
        r#"{"Alphabetic":"Yamada^Tarou=山田^太郎=やまだ^たろう"}"#,
        r#""Yamada^Tarou=山田^太郎=やまだ^たろう""#,
    ] {
        let row = read(&format!(r#"{{"00100010":{{"vr":"PN","Value":[{value}]}}}}"#));
        let expected = PersonName::parse("Yamada^Tarou=山田^太郎=やまだ^たろう");
        assert_eq!(row.name(tags::PATIENT_NAME), expected.as_ref(), "{value}");
    }
    for empty_name in ["null", "{}", r#"{"Alphabetic":null}"#, r#"{"Alphabetic":"^^"}"#, r#""""#] {
        let row = read(&format!(r#"{{"00100010":{{"vr":"PN","Value":[{empty_name}]}}}}"#));
        assert_eq!(row.name(tags::PATIENT_NAME), None, "{empty_name}");
    }
}

#[test]
fn several_values_in_one_string_are_split_except_in_free_text() {
    let row = read(r#"{"00080061":{"vr":"CS","Value":["CT\\PT "]},"00204000":{"vr":"LT","Value":["a\\b"]}}"#);
    assert_eq!(row.texts(tags::MODALITIES_IN_STUDY).collect::<Vec<_>>(), ["CT", "PT"]);
    assert_eq!(row.text(tags::IMAGE_COMMENTS), Some("a\\b"));
}

#[test]
fn items_of_a_sequence_are_data_sets() {
    let row = read(
        r#"{"00081032":{"vr":"SQ","Value":[{"00080100":{"vr":"SH","Value":["77477000"]}},null,{"CodeValue":"24627-2"}]}}"#,
    );
    let codes: Vec<_> =
        row.items(tags::PROCEDURE_CODE_SEQUENCE).filter_map(|item| item.text(tags::CODE_VALUE)).collect();
    assert_eq!(codes, ["77477000", "24627-2"]);
}

proptest! {
    #[test]
    fn any_json_object_can_be_read(value in arbitrary_json(4)) {
        if value.is_object() {
            prop_assert!(serde_json::from_value::<Attributes>(value.clone()).is_ok());
            prop_assert!(serde_json::from_str::<Attributes>(&value.to_string()).is_ok());
        }
    }
}

/// Returns a strategy for JSON of any structure with member names of the model.
fn arbitrary_json(depth: u32) -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value as Json;
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        "\\PC{0,12}".prop_map(Json::from),
        Just(Json::from("PN")),
    ];
    let name = prop_oneof![
        Just("00100010"),
        Just("00081032"),
        Just("00080061"),
        Just("vr"),
        Just("Value"),
        Just("Alphabetic"),
        Just("Ideographic"),
        Just("Phonetic"),
        Just("InlineBinary"),
        Just("PatientID"),
        Just("other"),
    ];
    leaf.prop_recursive(depth, 32, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Json::from),
            prop::collection::vec((name.clone(), inner), 0..5).prop_map(|members| {
                Json::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
            }),
        ]
    })
}
