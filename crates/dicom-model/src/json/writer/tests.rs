//! Tests the JSON model against PS3.18 Annex F, and with generated data sets.

use super::*;
use crate::data_set::ByteRange;
use dicom_dictionary_std::tags;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

struct DebugPath;

impl BulkDataLinks for DebugPath {
    fn link(&self, path: &[Step]) -> String {
        format!("{path:?}")
    }
}

fn write(data: &DataSet) -> Json {
    let mut bytes = Vec::new();
    write_data_set(&mut bytes, data, &DebugPath).unwrap();
    serde_json::from_slice(&bytes)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&bytes)))
}

fn write_element(tag: Tag, vr: VR, value: DataValue) -> Json {
    let mut data = DataSet::default();
    data.insert(tag, DataElement { vr, value });
    write(&data).as_object().unwrap().values().next().unwrap().clone()
}

fn write_texts(vr: VR, values: &[&str]) -> Json {
    write_element(
        Tag(0x0009, 0x1001),
        vr,
        DataValue::Text(values.iter().map(|value| (*value).into()).collect()),
    )
}

#[test]
fn names_are_split_into_their_groups() {
    assert_eq!(
        write_texts(VR::PN, &["Yamada^Tarou=山田^太郎=やまだ^たろう"]),
        json!({"vr": "PN", "Value": [
            {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}
        ]})
    );
    assert_eq!(
        write_texts(VR::PN, &["=山田^太郎"]),
        json!({"vr": "PN", "Value": [{"Ideographic": "山田^太郎"}]})
    );
}

#[test]
fn empty_values_are_null_and_empty_elements_have_no_value() {
    assert_eq!(write_texts(VR::LO, &["S5", "", "7"]), json!({"vr": "LO", "Value": ["S5", null, "7"]}));
    assert_eq!(write_texts(VR::PN, &["", "A"]), json!({"vr": "PN", "Value": [null, {"Alphabetic": "A"}]}));
    assert_eq!(write_texts(VR::LO, &[]), json!({"vr": "LO"}));
    assert_eq!(write_element(tags::ROWS, VR::US, DataValue::Binary(Box::default())), json!({"vr": "US"}));
    assert_eq!(
        write_element(tags::PROCEDURE_CODE_SEQUENCE, VR::SQ, DataValue::Items(vec![])),
        json!({"vr": "SQ"})
    );
}

#[test]
fn number_strings_are_numbers_if_they_are_valid() {
    assert_eq!(
        write_texts(VR::IS, &["1", "+2", "-03", "1A"]),
        json!({"vr": "IS", "Value": [1, 2, -3, "1A"]})
    );
    assert_eq!(
        write_texts(VR::DS, &["1.50", "+.5", "1e3", "nan", "1e999", "12,5"]),
        json!({"vr": "DS", "Value": [1.5, 0.5, 1000, "nan", "1e999", "12,5"]})
    );
}

#[test]
fn binary_numbers_are_read_in_little_endian_order() {
    let bytes = |bytes: &[u8]| DataValue::Binary(bytes.into());
    assert_eq!(write_element(tags::ROWS, VR::US, bytes(&[0, 2])), json!({"vr": "US", "Value": [512]}));
    assert_eq!(write_element(tags::ROWS, VR::SS, bytes(&[0xFF, 0xFF])), json!({"vr": "SS", "Value": [-1]}));
    assert_eq!(
        write_element(tags::FRAME_INCREMENT_POINTER, VR::AT, bytes(&[0x18, 0x00, 0x63, 0x10])),
        json!({"vr": "AT", "Value": ["00181063"]})
    );
    let floats: Vec<u8> =
        [1.1_f32, f32::NAN, f32::NEG_INFINITY].iter().flat_map(|number| number.to_le_bytes()).collect();
    assert_eq!(
        write_element(tags::GRAPHIC_DATA, VR::FL, bytes(&floats)),
        json!({"vr": "FL", "Value": [f64::from(1.1_f32), "NaN", "-inf"]})
    );
}

#[test]
fn bytes_are_inline_and_large_values_have_a_link_with_their_path() {
    assert_eq!(
        write_element(Tag(0x0009, 0x1001), VR::OB, DataValue::Binary(Box::from([1, 2, 3]))),
        json!({"vr": "OB", "InlineBinary": "AQID"})
    );
    let mut item = DataSet::default();
    let range = ByteRange { offset: 1, length: 2 };
    item.insert(tags::PIXEL_DATA, DataElement { vr: VR::OW, value: DataValue::Bulk(range) });
    let sequence =
        write_element(tags::ICON_IMAGE_SEQUENCE, VR::SQ, DataValue::Items(vec![DataSet::default(), item]));
    let steps =
        [Step::Attribute(tags::ICON_IMAGE_SEQUENCE), Step::Item(2), Step::Attribute(tags::PIXEL_DATA)];
    assert_eq!(
        sequence,
        json!({"vr": "SQ", "Value": [{}, {"7FE00010": {"vr": "OW", "BulkDataURI": format!("{steps:?}")}}]})
    );
}

#[test]
fn character_set_of_the_output_is_utf_8_for_every_input() {
    let set = write_element(
        tags::SPECIFIC_CHARACTER_SET,
        VR::CS,
        DataValue::Text(vec!["".into(), "ISO 2022 IR 87".into()]),
    );
    assert_eq!(set, json!({"vr": "CS", "Value": ["ISO_IR 192"]}));
}

fn text_vr() -> impl Strategy<Value = VR> {
    prop::sample::select(vec![VR::AE, VR::CS, VR::DA, VR::DS, VR::IS, VR::LO, VR::LT, VR::PN, VR::UI, VR::UT])
}

fn binary_vr() -> impl Strategy<Value = VR> {
    prop::sample::select(vec![
        VR::AT,
        VR::FD,
        VR::FL,
        VR::OB,
        VR::OW,
        VR::SL,
        VR::SS,
        VR::SV,
        VR::UL,
        VR::UN,
        VR::UV,
    ])
}

fn element() -> impl Strategy<Value = DataElement> {
    let text = (text_vr(), prop::collection::vec("\\PC{0,12}|[\\x00-\\x1f\"\\\\=^]{0,6}", 0..4)).prop_map(
        |(vr, texts)| DataElement {
            vr,
            value: DataValue::Text(texts.iter().map(|text| text.as_str().into()).collect()),
        },
    );
    let binary = (binary_vr(), prop::collection::vec(any::<u8>(), 0..32))
        .prop_map(|(vr, bytes)| DataElement { vr, value: DataValue::Binary(bytes.into()) });
    prop_oneof![text, binary]
}

fn data_set() -> impl Strategy<Value = DataSet> {
    let elements = |element: BoxedStrategy<DataElement>| {
        prop::collection::vec((any::<(u16, u16)>(), element), 0..6).prop_map(|elements| {
            let mut data = DataSet::default();
            for ((group, number), element) in elements {
                data.insert(Tag(group, number), element);
            }
            data
        })
    };
    elements(element().boxed()).prop_recursive(3, 24, 3, move |inner| {
        let sequence = prop::collection::vec(inner, 0..3)
            .prop_map(|items| DataElement { vr: VR::SQ, value: DataValue::Items(items) });
        elements(prop_oneof![element(), sequence].boxed())
    })
}

/// Returns the expected number of values of an element.
fn expected_count(element: &DataElement) -> usize {
    match &element.value {
        DataValue::Text(values) => values.len(),
        DataValue::Items(items) => items.len(),
        DataValue::Binary(_) | DataValue::Bulk(_) => 0,
    }
}

proptest! {
    #[test]
    fn any_data_set_becomes_json_with_every_element_in_tag_order(data in data_set()) {
        let json = write(&data);
        let object = json.as_object().unwrap();
        let tags: Vec<String> = data.iter().map(|(tag, _)| crate::tag::hex(tag)).collect();
        prop_assert_eq!(object.keys().cloned().collect::<Vec<_>>(), tags);
        for ((tag, element), member) in data.iter().zip(object.values()) {
            prop_assert_eq!(member["vr"].as_str().unwrap(), element.vr.to_string());
            if !matches!(element.value, DataValue::Binary(_)) && tag != tags::SPECIFIC_CHARACTER_SET {
                let values = member.get("Value").map_or(0, |values| values.as_array().unwrap().len());
                prop_assert_eq!(values, expected_count(element));
            }
        }
    }

    #[test]
    fn plain_text_is_written_unchanged(text in "\\PC{1,40}") {
        let json = write_texts(VR::LO, &[&text]);
        prop_assert_eq!(json["Value"][0].as_str().unwrap(), text);
    }
}
