use super::*;

fn specimens(instances: &[&[Value]]) -> Value {
    let instances: Vec<_> = instances
        .iter()
        .enumerate()
        .map(|(index, items)| {
            json!({"SOPInstanceUID": format!("1.{index}"), "SpecimenDescriptionSequence": {"vr": "SQ", "Value": items}})
        })
        .collect();
    one_series(json!({}), Some(json!(instances)))["specimen"].take()
}

#[test]
fn a_specimen_is_identified_by_the_identifier_of_the_laboratory() {
    let item = json!({
        "SpecimenIdentifier": "S-1",
        "IssuerOfTheSpecimenIdentifierSequence": {"vr": "SQ", "Value": [{"LocalNamespaceEntityID": "HOSP"}]},
        "SpecimenUID": "1.2.9", "SpecimenShortDescription": "Skin, left arm",
    });
    assert_eq!(
        specimens(&[&[item]]),
        json!([{
            "type": "Specimen",
            "identifier": {"system": "urn:oid:1.2.840.1", "value": "S-1", "assigner": {"display": "HOSP"}},
            "display": "Skin, left arm",
        }])
    );
}

#[test]
fn a_specimen_without_an_identifier_has_its_uid_and_its_type_as_text() {
    let specimen_type = json!({"vr": "SQ", "Value": [{"CodeValue": "1", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Tissue"}]});
    assert_eq!(
        specimens(&[&[json!({"SpecimenUID": "1.2.9", "SpecimenTypeCodeSequence": specimen_type})]]),
        json!([{
            "type": "Specimen", "identifier": {"system": "urn:dicom:uid", "value": "urn:oid:1.2.9"}, "display": "Tissue",
        }])
    );
    assert_eq!(specimens(&[&[json!({"SpecimenUID": "x"}), json!({})]]), Value::Null);
}

#[test]
fn the_specimens_of_a_series_are_those_of_all_its_images_without_duplicates() {
    let item = |number: &str| json!({"SpecimenIdentifier": number});
    let specimens = specimens(&[&[item("A")], &[], &[item("A"), item("B")]]);
    let numbers: Vec<_> = specimens
        .as_array()
        .unwrap()
        .iter()
        .map(|specimen| specimen["identifier"]["value"].as_str().unwrap())
        .collect();
    assert_eq!(numbers, ["A", "B"]);
}
