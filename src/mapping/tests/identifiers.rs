use super::*;

fn accession(issuer: Value) -> Value {
    let mapped = study(
        json!({"AccessionNumber": "A1", "IssuerOfAccessionNumberSequence": {"vr": "SQ", "Value": [issuer]}}),
    );
    mapped["identifier"][1].clone()
}

#[test]
fn the_study_uid_is_the_only_official_identifier() {
    let mapped = study(json!({}));
    assert_eq!(mapped["id"], "1.2.3");
    assert_eq!(
        mapped["identifier"],
        json!([{"use": "official", "system": "urn:dicom:uid", "value": "urn:oid:1.2.3"}])
    );
}

#[test]
fn an_accession_number_identifies_the_study_and_the_order() {
    let mapped = study(json!({"AccessionNumber": " A1 "}));
    let identifier = json!({
        "type": {"coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN", "display": "Accession ID",
        }]},
        "value": "A1",
    });
    assert_eq!(mapped["identifier"][1], identifier);
    assert_eq!(mapped["basedOn"], json!([{"type": "ServiceRequest", "identifier": identifier}]));
}

#[test]
fn a_universal_entity_id_becomes_a_uri() {
    let system = |id: &str, kind: &str| {
        accession(json!({"UniversalEntityID": id, "UniversalEntityIDType": kind}))["system"].clone()
    };
    assert_eq!(system("1.2.276", "ISO"), "urn:oid:1.2.276");
    assert_eq!(system("http://hospital.example/acc", "URI"), "http://hospital.example/acc");
    assert_eq!(
        system("F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6", "UUID"),
        "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6"
    );
    for (id, kind) in [("hospital.example", "DNS"), ("not an oid", "ISO"), ("x", "UUID"), ("no colon", "URI")]
    {
        assert_eq!(system(id, kind), Value::Null, "{kind}");
    }
}

#[test]
fn a_local_issuer_is_looked_up_in_the_configuration() {
    let known = accession(json!({"LocalNamespaceEntityID": "HOSP"}));
    assert_eq!(
        (&known["system"], &known["assigner"]["display"]),
        (&json!("urn:oid:1.2.840.1"), &json!("HOSP"))
    );
    let unknown = accession(json!({"LocalNamespaceEntityID": "ELSEWHERE"}));
    assert_eq!((&unknown["system"], &unknown["assigner"]["display"]), (&Value::Null, &json!("ELSEWHERE")));
}

#[test]
fn the_default_system_applies_to_numbers_without_an_issuer() {
    let context = MappingContext { accession_system: Some("urn:oid:9".to_owned()), ..context() };
    let without_issuer = study_with(&context, &study_row(json!({"AccessionNumber": "A1"})), None);
    assert_eq!(without_issuer["identifier"][1]["system"], "urn:oid:9");
    let issuer = json!({"vr": "SQ", "Value": [{"LocalNamespaceEntityID": "ELSEWHERE"}]});
    let row = study_row(json!({"AccessionNumber": "A1", "IssuerOfAccessionNumberSequence": issuer}));
    assert_eq!(study_with(&context, &row, None)["identifier"][1]["system"], Value::Null);
}

#[test]
fn a_study_id_is_secondary() {
    assert_eq!(study(json!({"StudyID": "7"}))["identifier"][1], json!({"use": "secondary", "value": "7"}));
    assert_eq!(study(json!({"StudyID": " "}))["identifier"][1], Value::Null);
}

#[test]
fn several_orders_are_distinct_references() {
    let requests = json!({"vr": "SQ", "Value": [
        {"AccessionNumber": "A1", "PlacerOrderNumberImagingServiceRequest": "P1"},
        {"AccessionNumber": "A2", "FillerOrderNumberImagingServiceRequest": "F1"},
        {"AccessionNumber": "A2"},
    ]});
    let mapped = study(json!({"ReferencedRequestSequence": requests}));
    let numbers: Vec<_> = mapped["basedOn"]
        .as_array()
        .unwrap()
        .iter()
        .map(|order| {
            let identifier = &order["identifier"];
            (identifier["type"]["coding"][0]["code"].as_str().unwrap(), identifier["value"].as_str().unwrap())
        })
        .collect();
    assert_eq!(numbers, [("ACSN", "A1"), ("PLAC", "P1"), ("ACSN", "A2"), ("FILL", "F1")]);
    assert_eq!(mapped["identifier"].as_array().unwrap().len(), 1);
}

#[test]
fn a_request_with_the_number_of_the_study_is_the_same_order() {
    let issuer = json!({"vr": "SQ", "Value": [{"LocalNamespaceEntityID": "HOSP"}]});
    let study = study_row(json!({"AccessionNumber": "A1", "IssuerOfAccessionNumberSequence": issuer}));
    let request = json!({"RequestAttributesSequence": {"vr": "SQ", "Value": [{"AccessionNumber": "A1"}]}});
    let mapped = study_with(&context(), &study, Some(vec![series_source(request, None)]));
    assert_eq!(mapped["basedOn"].as_array().unwrap().len(), 1);
}

#[test]
fn the_encounter_is_identified_by_the_admission_number() {
    let mapped = study(json!({"AdmissionID": "V1"}));
    assert_eq!(mapped["encounter"]["type"], "Encounter");
    assert_eq!(mapped["encounter"]["identifier"]["value"], "V1");
    assert_eq!(mapped["encounter"]["identifier"]["type"]["coding"][0]["code"], "VN");
}

#[test]
fn the_requests_that_a_document_refers_to_are_orders_of_the_study() {
    let request = json!({"vr": "SQ", "Value": [{"AccessionNumber": "A1"}, {"AccessionNumber": "A2"}]});
    let mut series = series_source(json!({}), None);
    overlay_series(&mut series.attributes, &row(json!({"ReferencedRequestSequence": request})));
    let row = study_row(json!({"AccessionNumber": "A1"}));
    let mapped = study_with(&context(), &row, Some(vec![series]));
    let numbers: Vec<_> = mapped["basedOn"]
        .as_array()
        .unwrap()
        .iter()
        .map(|order| order["identifier"]["value"].clone())
        .collect();
    assert_eq!(numbers, ["A1", "A2"]);
}
