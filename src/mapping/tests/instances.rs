use super::*;

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";

fn parse(json: &str) -> MappedInstance {
    serde_json::from_str(json).unwrap()
}

#[test]
fn an_instance_has_the_elements_of_its_row() {
    let mapped = one_series(
        json!({}),
        Some(json!([{
            "00080018": {"vr": "UI", "Value": ["1.2.3.4.5"]},
            "00080016": {"vr": "UI", "Value": [CT]},
            "00200013": {"vr": "IS", "Value": ["7 "]},
            "00080008": {"vr": "CS", "Value": ["ORIGINAL", "PRIMARY", "AXIAL "]},
        }])),
    );
    assert_eq!(
        mapped["instance"],
        json!([{
            "uid": "1.2.3.4.5",
            "sopClass": {"system": "urn:ietf:rfc:3986", "code": format!("urn:oid:{CT}")},
            "number": 7,
            "title": "ORIGINAL\\PRIMARY\\AXIAL",
        }])
    );
}

#[test]
fn an_instance_without_a_class_has_an_absent_reason_and_one_without_a_uid_is_omitted() {
    let mapped = one_series(json!({}), Some(json!([{"SOPInstanceUID": "1.1"}, {"SOPInstanceUID": "a_b"}])));
    assert_eq!(
        mapped["instance"],
        json!([{"uid": "1.1", "sopClass": {"extension": [{
            "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown",
        }]}}])
    );
}

#[test]
fn the_title_is_the_concept_name_or_label_or_document_title_or_image_type() {
    let image = r#""00080008":{"Value":["DERIVED"]}"#;
    let document = r#""00420010":{"Value":["Letter"]}"#;
    let label = r#""00700080":{"Value":["KEY"]}"#;
    let concept = r#""0040A043":{"vr":"SQ","Value":[{"00080104":{"vr":"LO","Value":["Of Interest"]}}]}"#;
    let title = |members: &[&str]| parse(&format!("{{{}}}", members.join(","))).title;
    assert_eq!(title(&[image, document, label, concept]).as_deref(), Some("Of Interest"));
    assert_eq!(title(&[image, label, document]).as_deref(), Some("KEY"));
    assert_eq!(title(&[image, document]).as_deref(), Some("Letter"));
    assert_eq!(title(&[image]).as_deref(), Some("DERIVED"));
    assert_eq!(title(&[r#""00080008":{"vr":"CS"}"#]), None);
}

#[test]
fn rows_are_read_in_all_forms_that_archives_write() {
    let expected =
        parse(r#"{"00080018":{"Value":["1.2"]},"0020000E":{"Value":["1"]},"00200013":{"Value":[3]}}"#);
    for row in [
        r#"{"SOPInstanceUID":{"Value":["1.2"]},"SeriesInstanceUID":"1","InstanceNumber":"3"}"#,
        r#"{"00080018":{"vr":"UI","Value":["1.2 "]},"0020000e":{"Value":[null,"1"]},"00200013":{"Value":["3.0"]}}"#,
        r#"{"00080018":["1.2"],"0020000E":{"x":{},"Value":"1"},"00200013":{"Value":[3.0]},"00091001":{"InlineBinary":"AA=="}}"#,
        r#"{"00080018":{"Value":["\u0031.2"]},"0020000E":{"Value":["1\u0000"]},"00200013":3,"7FE00010":{"BulkDataURI":"x"}}"#,
    ] {
        assert_eq!(parse(row), expected, "{row}");
    }
}

/// Archives that do not split multiple values return them as one string.
#[test]
fn the_patient_of_an_instance_is_read_as_that_of_a_row() {
    let json = r#"{"00100020": {"vr": "LO", "Value": ["P\\1 "]}}"#;
    let row: Attributes = serde_json::from_str(json).unwrap();
    assert_eq!(parse(json).patient, row);
    assert_eq!(row.text(dicom_model::tags::PATIENT_ID), Some("P"));
}

#[test]
fn unreadable_values_are_omitted() {
    let empty = MappedInstance::default();
    for row in [
        "{}",
        r#"{"00080018":null,"00080016":{"Value":[]},"00200013":{"Value":[null]}}"#,
        r#"{"00080018":{"Value":[" "]},"00080016":true,"00200013":{"Value":["x"]},"00080008":{"Value":[{}]}}"#,
        r#"{"00200013":{"Value":[-4]},"0040A043":{"Value":[{"00080104":{"Value":[" "]}}]},"00420010":7}"#,
    ] {
        assert_eq!(parse(row), empty, "{row}");
    }
}

#[test]
fn an_instance_has_a_resource_only_if_its_uid_can_be_an_id() {
    let too_long = "1".repeat(65);
    for (uid, has_resource) in
        [("1.2", true), ("1..2", true), ("1.2-3", true), ("abc", true), ("a_b", false), (&too_long, false)]
    {
        let instance = parse(&format!(r#"{{"00080018":{{"Value":["{uid}"]}}}}"#));
        assert_eq!(instance.uid.as_deref(), Some(uid));
        assert_eq!(instance.into_resource(false).is_some(), has_resource, "{uid}");
    }
}

#[test]
fn the_series_of_an_instance_is_compared_even_if_its_uid_is_not_legal() {
    let instance = parse(r#"{"00080018":{"Value":["1.2"]},"0020000E":{"Value":["ab-1 "]}}"#);
    assert_eq!(instance.series.as_deref(), Some("ab-1"));
}

#[test]
fn standard_sop_classes_are_static_strings() {
    let class = |uid: &str| parse(&format!(r#"{{"00080016":{{"Value":["{uid}"]}}}}"#)).sop_class.unwrap();
    assert!(matches!(class(CT), std::borrow::Cow::Borrowed(CT)));
    assert!(matches!(class("1.3.12.2.1107.5.9.1"), std::borrow::Cow::Owned(_)));
}
