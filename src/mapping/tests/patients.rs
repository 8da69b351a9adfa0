use super::*;
use dicom_model::{Attributes, Element, tags};

#[test]
fn a_patient_has_the_elements_of_the_row() {
    let mapped = patient_of(
        &context(),
        json!({
            "PatientID": "MRN-1", "IssuerOfPatientID": "HOSP", "PatientSex": "F", "PatientBirthDate": "19700229",
            "PatientName": "Doe^Jane^Q^Dr.^MD",
        }),
    );
    assert_eq!(mapped["resourceType"], "Patient");
    assert_eq!(
        mapped["identifier"],
        json!([{
            "type": {"coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR", "display": "Medical record number",
            }]},
            "system": "urn:oid:1.2.840.1", "value": "MRN-1", "assigner": {"display": "HOSP"},
        }])
    );
    assert_eq!(
        mapped["name"],
        json!([{
            "use": "usual", "text": "Dr. Jane Q Doe MD", "family": "Doe", "given": ["Jane", "Q"], "prefix": ["Dr."],
            "suffix": ["MD"],
        }])
    );
    assert_eq!(mapped["gender"], "female");
    assert_eq!(mapped.get("birthDate"), None, "1970 had no February 29");
}

#[test]
fn each_representation_of_a_name_is_a_human_name() {
    let mapped = patient_of(
        &context(),
        json!({"PatientID": "1", "PatientName": {"vr": "PN", "Value": [{
            "Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう",
        }]}}),
    );
    let representation = |code| {
        json!([{
            "url": "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation", "valueCode": code,
        }])
    };
    let names = mapped["name"].as_array().unwrap();
    assert_eq!((&names[0]["extension"], &names[0]["text"]), (&representation("ABC"), &json!("Tarou Yamada")));
    assert_eq!((&names[1]["extension"], &names[1]["text"]), (&representation("IDE"), &json!("山田 太郎")));
    assert_eq!((&names[2]["extension"], &names[2]["family"]), (&representation("SYL"), &json!("やまだ")));
    assert_eq!(names[1].get("use"), None);
}

#[test]
fn an_empty_name_is_omitted() {
    for name in ["", "^^^^", "=", " ^ "] {
        assert_eq!(patient_of(&context(), json!({"PatientID": "1", "PatientName": name})).get("name"), None);
    }
}

#[test]
fn the_gender_is_the_sex_or_unknown() {
    let gender =
        |sex: &str| patient_of(&context(), json!({"PatientID": "1", "PatientSex": sex}))["gender"].take();
    assert_eq!(["M", "F", "O", "m", "X"].map(gender), ["male", "female", "other", "male", "unknown"]);
    assert_eq!(gender(""), Value::Null);
}

#[test]
fn other_identifiers_follow_the_primary_identifier() {
    let others = json!({"vr": "SQ", "Value": [
        {"PatientID": "X9", "IssuerOfPatientID": "HOSP"},
        {"PatientID": "MRN-1"},
        {"PatientID": ""},
        {"PatientID": "X8", "IssuerOfPatientIDQualifiersSequence": {"vr": "SQ", "Value": [
            {"UniversalEntityID": "1.2.3", "UniversalEntityIDType": "ISO"},
        ]}},
    ]});
    let mapped = patient_of(&context(), json!({"PatientID": "MRN-1", "OtherPatientIDsSequence": others}));
    let identifiers: Vec<_> = mapped["identifier"]
        .as_array()
        .unwrap()
        .iter()
        .map(|identifier| (identifier["value"].as_str().unwrap(), identifier["system"].as_str()))
        .collect();
    assert_eq!(
        identifiers,
        [("MRN-1", None), ("X9", Some("urn:oid:1.2.840.1")), ("X8", Some("urn:oid:1.2.3"))]
    );
}

#[test]
fn a_qualifier_takes_precedence_over_the_local_name() {
    let mapped = patient_of(
        &context(),
        json!({
            "PatientID": "1", "IssuerOfPatientID": "HOSP",
            "IssuerOfPatientIDQualifiersSequence": {"vr": "SQ", "Value": [
                {"UniversalEntityID": "1.9", "UniversalEntityIDType": "ISO"},
            ]},
        }),
    );
    assert_eq!(mapped["identifier"][0]["system"], "urn:oid:1.9");
    assert_eq!(mapped["identifier"][0]["assigner"]["display"], "HOSP");
}

fn id(context: &MappingContext, members: Value) -> String {
    PatientKey::from_row(context, &row(members)).id(&context.patient_ids)
}

#[test]
fn an_id_is_valid_and_does_not_reveal_the_identifier() {
    let id = id(&context(), json!({"PatientID": "a*b?/\\ü 1"}));
    assert_eq!(id.len(), 64);
    assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')));
}

#[test]
fn equal_patient_ids_of_two_issuers_identify_two_patients() {
    let ids = ["HOSP", "ELSEWHERE", "THIRD"]
        .map(|issuer| id(&context(), json!({"PatientID": "1", "IssuerOfPatientID": issuer})));
    assert!(ids[0] != ids[1] && ids[1] != ids[2]);
    assert_ne!(ids[1], id(&context(), json!({"PatientID": "1"})));
}

#[test]
fn equal_patient_ids_without_an_issuer_in_two_archives_identify_two_patients() {
    let other = MappingContext { archive: "other".to_owned(), ..context() };
    assert_ne!(id(&context(), json!({"PatientID": "1"})), id(&other, json!({"PatientID": "1"})));
    let known = json!({"PatientID": "1", "IssuerOfPatientID": "HOSP"});
    assert_eq!(
        id(&context(), known.clone()),
        id(&other, known),
        "the system makes the key independent of the archive"
    );
}

#[test]
fn the_configured_system_makes_keys_of_patient_ids_without_an_issuer_independent_of_the_archive() {
    let context_of = |archive: &str| MappingContext {
        archive: archive.to_owned(),
        patient_id_system: Some("urn:oid:5".to_owned()),
        ..context()
    };
    assert_eq!(
        id(&context_of("a"), json!({"PatientID": "1"})),
        id(&context_of("b"), json!({"PatientID": "1"}))
    );
}

#[test]
fn a_patient_without_a_patient_id_belongs_to_one_study() {
    assert_ne!(
        id(&context(), json!({"StudyInstanceUID": "1.2"})),
        id(&context(), json!({"StudyInstanceUID": "1.3"}))
    );
    assert_eq!(patient_of(&context(), json!({"StudyInstanceUID": "1.2"})).get("identifier"), None);
}

#[test]
fn a_part_of_another_person_does_not_belong_to_a_study_without_a_patient_id() {
    let row = |id: Option<&str>, birth_date: &str| {
        let mut attributes: Attributes =
            [(tags::PATIENT_BIRTH_DATE, Element::text(birth_date))].into_iter().collect();
        if let Some(id) = id {
            attributes.insert(tags::PATIENT_ID, Element::text(id));
        }
        RowPatient::from_row(&context(), &attributes)
    };
    assert!(row(None, "19700101").includes(&row(Some("P1"), "19700101")));
    assert!(!row(None, "19700101").includes(&row(Some("P1"), "19700102")));
    let mut study = row(None, "19700101");
    assert!(study.includes(&row(Some("P1"), "19700101")));
    assert!(
        !study.includes(&row(Some("P2"), "19700101")),
        "the Patient ID of the first part is that of the study"
    );
}
