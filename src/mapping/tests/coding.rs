use super::*;

fn procedure(item: Value) -> Value {
    study(json!({"ProcedureCodeSequence": {"vr": "SQ", "Value": [item]}}))["procedureCode"].take()
}

fn code(value: &str, scheme: &str, meaning: &str) -> Value {
    json!({"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning})
}

#[test]
fn a_known_scheme_has_its_uri() {
    let mapped = procedure(code("24627-2", "LN", "CT Chest"));
    assert_eq!(
        mapped,
        json!([{
            "coding": [{"system": "http://loinc.org", "code": "24627-2", "display": "CT Chest"}],
            "text": "CT Chest",
        }])
    );
    let systems = [
        ("DCM", "http://dicom.nema.org/resources/ontology/DCM"),
        ("RADLEX", "http://www.radlex.org"),
        ("RPID", "http://www.radlex.org"),
        ("UCUM", "http://unitsofmeasure.org"),
    ];
    for (scheme, uri) in systems {
        assert_eq!(procedure(code("1", scheme, "x"))[0]["coding"][0]["system"], uri, "{scheme}");
    }
}

#[test]
fn a_snomed_rt_id_is_translated_or_becomes_text() {
    let knee = procedure(code("T-D9200", "SRT", "Knee"));
    assert_eq!(knee[0]["coding"][0]["code"], "72696002");
    assert_eq!(knee[0]["coding"][0]["system"], "http://snomed.info/sct");
    assert_eq!(procedure(code("P5-09051", "SRT", "MRI of head")), json!([{"text": "MRI of head"}]));
    assert_eq!(procedure(code("P5-09051", "99SDM", "MRI of head")), json!([{"text": "MRI of head"}]));
}

#[test]
fn an_invalid_snomed_ct_id_is_not_written_as_a_code() {
    assert_eq!(procedure(code("72696003", "SCT", "Knee")), json!([{"text": "Knee"}]));
    assert_eq!(procedure(code("KNEE", "SCT", "Knee")), json!([{"text": "Knee"}]));
    assert_eq!(procedure(code("T-D9200", "SCT", "Knee"))[0]["coding"][0]["code"], "72696002");
}

#[test]
fn a_code_of_a_local_scheme_is_text_unless_the_scheme_has_a_uid() {
    assert_eq!(procedure(code("CTTHX", "99LOCAL", "CT Thorax")), json!([{"text": "CT Thorax"}]));
    let mut item = code("CTTHX", "99LOCAL", "CT Thorax");
    item["CodingSchemeUID"] = json!("1.2.276.0.1");
    assert_eq!(procedure(item)[0]["coding"][0]["system"], "urn:oid:1.2.276.0.1");
    let mut item = code("816094009", "99CT", "Chest");
    item["CodingSchemeUID"] = json!("2.16.840.1.113883.6.96");
    assert_eq!(procedure(item)[0]["coding"][0]["system"], "http://snomed.info/sct");
}

#[test]
fn a_code_without_a_meaning_is_kept_and_an_empty_one_is_omitted() {
    let mapped = procedure(json!({"CodeValue": "24627-2", "CodingSchemeDesignator": "LN"}));
    assert_eq!(mapped, json!([{"coding": [{"system": "http://loinc.org", "code": "24627-2"}]}]));
    assert_eq!(procedure(json!({"CodeValue": "X1"})), json!([{"text": "X1"}]));
    assert_eq!(procedure(json!({"CodingSchemeDesignator": "LN"})), Value::Null);
}

#[test]
fn a_code_with_repeated_spaces_is_text() {
    assert_eq!(procedure(code("A  B", "LN", "odd")), json!([{"text": "odd"}]));
}

#[test]
fn long_codes_are_read_from_long_code_value() {
    let item =
        json!({"LongCodeValue": "12345678901234567890", "CodingSchemeDesignator": "DCM", "CodeMeaning": "x"});
    assert_eq!(procedure(item)[0]["coding"][0]["code"], "12345678901234567890");
}

#[test]
fn reasons_of_the_study_and_of_the_requests_of_its_series_have_no_duplicates() {
    let study = study_row(json!({"ReasonForTheRequestedProcedure": "Cough"}));
    let request = json!({"RequestAttributesSequence": {"vr": "SQ", "Value": [{
        "ReasonForTheRequestedProcedure": "Cough",
        "ReasonForRequestedProcedureCodeSequence": {"vr": "SQ", "Value": [code("R05", "I10", "Cough")]},
    }]}});
    let mapped = study_with(&context(), &study, Some(vec![series_source(request, None)]));
    assert_eq!(
        mapped["reasonCode"],
        json!([
            {"text": "Cough"},
            {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "R05", "display": "Cough"}], "text": "Cough"},
        ])
    );
}
