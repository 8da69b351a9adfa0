use proptest::prelude::*;
use roxmltree::{Document, Node};
use serde_json::{Value, json};

use super::*;

fn convert(object: &Value) -> Result<String, NativeXmlError> {
    let mut xml = String::new();
    write_native_model(&object.to_string(), &mut xml).map(|()| xml)
}

/// Returns the content of the root element.
fn content(object: &Value) -> String {
    let xml = convert(object).unwrap();
    Document::parse(&xml).unwrap();
    xml.strip_prefix(DOCUMENT_START).unwrap().strip_suffix(END).unwrap().to_owned()
}

#[test]
fn values_are_numbered_and_null_values_keep_their_number() {
    assert_eq!(
        content(&json!({"00080061": {"vr": "CS", "Value": ["MPG", null, "XR3"]}, "00080005": {"vr": "CS"}})),
        "<DicomAttribute tag=\"00080005\" vr=\"CS\" keyword=\"SpecificCharacterSet\"/>\
         <DicomAttribute tag=\"00080061\" vr=\"CS\" keyword=\"ModalitiesInStudy\"><Value number=\"1\">MPG</Value>\
         <Value number=\"2\"></Value><Value number=\"3\">XR3</Value></DicomAttribute>"
    );
}

#[test]
fn number_keeps_its_digits() {
    let mut xml = String::new();
    write_native_model(r#"{"00101030":{"vr":"DS","Value":[70.50, 1e2,-0, 18446744073709551615]}}"#, &mut xml)
        .unwrap();
    for (number, value) in ["70.50", "1e2", "-0", "18446744073709551615"].iter().enumerate() {
        assert!(xml.contains(&format!("<Value number=\"{}\">{value}</Value>", number + 1)), "{xml}");
    }
}

#[test]
fn names_are_split_into_groups_and_components() {
    let split = "<DicomAttribute tag=\"00100010\" vr=\"PN\" keyword=\"PatientName\"><PersonName number=\"1\"><Alphabetic>\
                  <FamilyName>Yamada</FamilyName><NamePrefix>Dr</NamePrefix></Alphabetic><Ideographic>\
                  <FamilyName>山田</FamilyName><GivenName>太郎</GivenName></Ideographic></PersonName></DicomAttribute>";
    let name = json!({"Alphabetic": "Yamada^^^Dr", "Ideographic": "山田^太郎", "Phonetic": null});
    assert_eq!(content(&json!({"00100010": {"vr": "PN", "Value": [name]}})), split);
    assert_eq!(content(&json!({"00100010": {"Value": ["Yamada^^^Dr=山田^太郎"]}})), split);
    let more = content(&json!({"00100010": {"vr": "PN", "Value": ["a^b^c^d^e^f", null]}}));
    assert!(more.contains(
        "<NameSuffix>e^f</NameSuffix></Alphabetic></PersonName><PersonName number=\"2\"></PersonName>"
    ));
}

#[test]
fn items_contain_data_sets_and_bulk_data_has_a_uri() {
    assert_eq!(
        content(&json!({
            "00400275": {"vr": "SQ", "Value": [{"00400007": {"vr": "LO", "Value": ["x"]}}, {}]},
            "7FE00010": {"vr": "OW", "BulkDataURI": "https://gw/a?b&c"},
            "00420011": {"vr": "OB", "InlineBinary": "AAECAw=="},
        })),
        "<DicomAttribute tag=\"00400275\" vr=\"SQ\" keyword=\"RequestAttributesSequence\"><Item number=\"1\">\
         <DicomAttribute tag=\"00400007\" vr=\"LO\" keyword=\"ScheduledProcedureStepDescription\">\
         <Value number=\"1\">x</Value></DicomAttribute></Item><Item number=\"2\"></Item></DicomAttribute>\
         <DicomAttribute tag=\"00420011\" vr=\"OB\" keyword=\"EncapsulatedDocument\"><InlineBinary>AAECAw==</InlineBinary>\
         </DicomAttribute><DicomAttribute tag=\"7FE00010\" vr=\"OW\" keyword=\"PixelData\">\
         <BulkData uri=\"https://gw/a?b&amp;c\"/></DicomAttribute>"
    );
}

#[test]
fn private_elements_have_their_creator_instead_of_their_block_number() {
    assert_eq!(
        content(&json!({
            "00090000": {"vr": "UL", "Value": [20]},
            "00090010": {"vr": "LO", "Value": ["ACME"]},
            "00091001": {"vr": "UN", "InlineBinary": "AA=="},
            "00091101": {"vr": "LO", "Value": ["whose?"]},
        })),
        "<DicomAttribute tag=\"00090001\" vr=\"UN\" privateCreator=\"ACME\"><InlineBinary>AA==</InlineBinary>\
         </DicomAttribute><DicomAttribute tag=\"00091101\" vr=\"LO\"><Value number=\"1\">whose?</Value></DicomAttribute>"
    );
}

#[test]
fn missing_representation_is_taken_from_the_dictionary() {
    let text =
        content(&json!({"0020000D": {"Value": ["1.2\u{0}"]}, "00280106": {}, "00091001": {"vr": "?"}}));
    assert!(text.contains("tag=\"0020000D\" vr=\"UI\"") && text.contains(">1.2</Value>"), "{text}");
    assert!(text.contains("tag=\"00280106\" vr=\"UN\""), "the dictionary allows US and SS: {text}");
    assert!(text.contains("tag=\"00091001\" vr=\"UN\""), "{text}");
}

#[test]
fn invalid_dicom_json_is_rejected() {
    for (object, error) in [
        (json!({"nonsense": {"vr": "LO"}}), NativeXmlError::NotDicomJson),
        (json!({"00100020": "P1"}), NativeXmlError::NotDicomJson),
        (json!({"00100020": {"Value": "P1"}}), NativeXmlError::NotDicomJson),
        (json!({"00100020": {}, "PatientID": {}}), NativeXmlError::NotDicomJson),
        (json!({"00100020": {"vr": "LO", "Value": [["P1"]]}}), NativeXmlError::InvalidValue),
        (json!({"00100020": {"vr": "LO", "Value": [true]}}), NativeXmlError::InvalidValue),
        (json!({"00100020": {"vr": "LO", "Value": ["P1", {}]}}), NativeXmlError::InvalidValue),
        (json!({"00400275": {"vr": "SQ", "Value": ["x"]}}), NativeXmlError::InvalidValue),
        (json!({"00100010": {"vr": "PN", "Value": [1]}}), NativeXmlError::InvalidValue),
        (json!({"7FE00010": {"vr": "OW", "Value": [1], "BulkDataURI": "x"}}), NativeXmlError::InvalidValue),
        (
            json!({"7FE00010": {"vr": "OW", "InlineBinary": "", "BulkDataURI": "x"}}),
            NativeXmlError::InvalidValue,
        ),
    ] {
        assert_eq!(convert(&object), Err(error), "{object}");
    }
}

#[test]
fn values_that_cannot_be_decoded_are_replaced() {
    let object = r#"{"00100010":{"vr":"PN","Value":[{"Alphabetic":"D\ud800^J"}]},"00101030":{"vr":"DS","Value":[1e999,"\udc00"]}}"#;
    let mut xml = String::from("before");
    write_native_model(object, &mut xml).unwrap();
    assert!(xml.starts_with("before<?xml") && xml.matches("<?xml").count() == 1, "{xml}");
    assert!(xml.contains("<FamilyName>D\u{fffd}</FamilyName>") && xml.contains(">1e999</Value>"), "{xml}");
}

#[test]
fn nesting_is_limited() {
    let convert_nested = |depth: usize| {
        let mut object = String::from("{}");
        for _ in 0..depth {
            object = format!("{{\"00400275\":{{\"vr\":\"SQ\",\"Value\":[{object}]}}}}");
        }
        write_native_model(&object, &mut String::new())
    };
    assert_eq!(convert_nested(MAX_DEPTH), Ok(()));
    assert_eq!(convert_nested(MAX_DEPTH + 1), Err(NativeXmlError::TooDeep));
    assert_eq!(convert_nested(20_000), Err(NativeXmlError::TooDeep));
}

/// Returns the values in the XML of a data set, by tag.
fn values_in(parent: Node<'_, '_>) -> Value {
    let attributes = parent.children().map(|attribute| {
        assert_eq!(attribute.tag_name().name(), "DicomAttribute");
        let values = attribute.children().map(|value| match value.tag_name().name() {
            "Item" => values_in(value),
            _ => Value::from(value.text().unwrap_or_default()),
        });
        (attribute.attribute("tag").unwrap().to_owned(), Value::from(values.collect::<Vec<_>>()))
    });
    Value::Object(attributes.collect())
}

/// Replaces the characters that XML 1.0 does not allow.
fn replace_forbidden_characters(text: &str) -> String {
    let text = text.trim_end_matches('\0');
    let is_allowed = |character: &char| {
        matches!(character, '\t' | '\n' | '\r' | ' '..) && !matches!(character, '\u{fffe}' | '\u{ffff}')
    };
    text.chars().map(|character| if is_allowed(&character) { character } else { '\u{fffd}' }).collect()
}

fn data_sets() -> impl Strategy<Value = (Value, Value)> {
    let texts = prop::collection::vec("\\PC{0,8}|[\\x00-\\x20<>&\"']{0,6}", 1..4).prop_map(|texts| {
        (
            json!({"vr": "LT", "Value": texts}),
            json!(texts.iter().map(|text| replace_forbidden_characters(text)).collect::<Vec<_>>()),
        )
    });
    let elements = texts.prop_recursive(4, 24, 3, |inner| {
        prop::collection::vec(prop::collection::btree_map("[0-9A-E]{7}[1-9]", inner, 0..3), 1..3).prop_map(
            |items| {
                let with_public_group = |tag: &str| format!("0010{}", &tag[4..]);
                let part = |select: fn((Value, Value)) -> Value| -> Vec<Value> {
                    items
                        .iter()
                        .map(|item| {
                            Value::Object(
                                item.iter()
                                    .map(|(tag, pair)| (with_public_group(tag), select(pair.clone())))
                                    .collect(),
                            )
                        })
                        .collect()
                };
                (json!({"vr": "SQ", "Value": part(|pair| pair.0)}), json!(part(|pair| pair.1)))
            },
        )
    });
    elements.prop_map(|(element, values)| (json!({"00081140": element}), json!({"00081140": values})))
}

proptest! {
    #[test]
    fn xml_has_the_same_values_as_json((object, expected) in data_sets()) {
        let xml = convert(&object).unwrap();
        prop_assert!(!xml.contains(['\r', '\n']));
        let document = Document::parse(&xml).unwrap();
        prop_assert_eq!(values_in(document.root_element()), expected);
    }

    #[test]
    fn output_is_always_well_formed(text in "[\\[\\]{}:,\"0-9A-Fvralue NP^=\\\\\u{0}-\u{7}]{0,60}", inner in ".{0,40}") {
        for object in [text, format!("{{\"00100010\":{{\"vr\":\"PN\",\"Value\":[{}]}}}}", json!(inner))] {
            let mut xml = String::new();
            if write_native_model(&object, &mut xml).is_ok() {
                prop_assert!(Document::parse(&xml).is_ok(), "{}", xml);
            }
        }
    }
}
