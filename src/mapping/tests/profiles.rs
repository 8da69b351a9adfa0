use super::*;

fn context_with(guides: &[Guide]) -> MappingContext {
    MappingContext { guides: guides.iter().copied().collect(), ..context() }
}

fn profiles(resource: &Value) -> Vec<&str> {
    let profiles = resource["meta"]["profile"].as_array();
    profiles.into_iter().flatten().map(|profile| profile.as_str().unwrap()).collect()
}

const IMR_STUDY: &str = "https://profiles.ihe.net/RAD/IMR/StructureDefinition/imr-imagingstudy";
const US_CORE_PATIENT: &str = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient";
const IPA_PATIENT: &str = "http://hl7.org/fhir/uv/ipa/StructureDefinition/ipa-patient";

#[test]
fn no_profile_is_claimed_and_no_element_is_added_without_a_guide() {
    let study = study_with(&context_with(&[]), &row(json!({"StudyInstanceUID": "1.2.3"})), None);
    assert_eq!((study.get("meta"), study.get("modality")), (None, None));
    let endpoint = endpoint(
        &context_with(&[]),
        "Main archive",
        EndpointStatus::Active,
        "https://h/dicom-web/main".to_owned(),
        true,
    );
    let endpoint = serde_json::to_value(endpoint).unwrap();
    assert_eq!((endpoint.get("meta"), endpoint.get("extension")), (None, None));
}

#[test]
fn the_report_profile_requires_the_start_of_the_study() {
    let context = context_with(&[Guide::IheImr]);
    let map = |members| study_with(&context, &study_row(members), None);
    assert_eq!(profiles(&map(json!({"StudyDate": "20240131"}))), [IMR_STUDY]);
    assert_eq!(profiles(&map(json!({}))), [""; 0]);
    let endpoint = endpoint(
        &context,
        "Main archive",
        EndpointStatus::Active,
        "https://h/dicom-web/main".to_owned(),
        true,
    );
    let endpoint = serde_json::to_value(endpoint).unwrap();
    assert_eq!(
        profiles(&endpoint),
        ["https://profiles.ihe.net/RAD/IMR/StructureDefinition/imaging-study-endpoint"]
    );
    assert_eq!(
        endpoint["payloadType"],
        json!([{"coding": [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "113014", "display": "Study"}]}])
    );
}

#[test]
fn a_study_without_an_endpoint_or_uid_conforms_to_no_guide() {
    let context = context_with(&[Guide::SmartImagingAccess, Guide::IheImr]);
    let row = study_row(json!({"StudyDate": "20240131"}));
    let missing_endpoint = serde_json::to_value(imaging_study(&context, &row, &[], None)).unwrap();
    assert_eq!(profiles(&missing_endpoint), [""; 0]);
    let row_without_uid = super::row(json!({"PatientID": "P1", "StudyDate": "20240131"}));
    assert_eq!(profiles(&study_with(&context, &row_without_uid, None)), [""; 0]);
    assert_eq!(profiles(&study_with(&context, &row, None)).len(), 2);
}

#[test]
fn the_european_guide_requires_dicom_identifier_types_and_frame_counts() {
    let members = json!({"AccessionNumber": "A1", "StudyID": "S1"});
    let instances = json!([
        {"SOPInstanceUID": "1.1", "NumberOfFrames": "24"},
        {"SOPInstanceUID": "1.2", "NumberOfFrames": 0},
        {"SOPInstanceUID": "1.3"},
    ]);
    let series = || Some(vec![series_source(json!({"Modality": "US"}), Some(instances.clone()))]);
    let study = study_with(&context_with(&[Guide::EuImaging]), &study_row(members.clone()), series());
    let codes = |identifier: &Value| {
        let codings = identifier["type"]["coding"].as_array().into_iter().flatten();
        codings.map(|coding| coding["code"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(codes(&study["identifier"][0]), ["110180"]);
    assert_eq!(codes(&study["identifier"][1]), ["ACSN", "121022"]);
    assert_eq!(codes(&study["identifier"][2]), [""; 0]);
    assert_eq!(study["basedOn"][0]["identifier"], study["identifier"][1]);
    assert_eq!(
        study["series"][0]["instance"][0]["extension"],
        json!([{
            "url": "https://profiles.ihe.net/RAD/MADO/StructureDefinition/MadoNumberOfFrames", "valueInteger": 24,
        }])
    );
    for index in [1, 2] {
        assert_eq!(study["series"][0]["instance"][index].get("extension"), None);
    }
    let other_guide = study_with(&context_with(&[Guide::SmartImagingAccess]), &study_row(members), series());
    assert_eq!(other_guide["identifier"][0].get("type"), None);
    assert_eq!(other_guide["series"][0]["instance"][0].get("extension"), None);
}

#[test]
fn us_core_requires_absent_reasons_and_an_identifier_of_a_known_issuer() {
    let context = context_with(&[Guide::UsCore]);
    let known = json!({"PatientID": "1", "IssuerOfPatientID": "HOSP"});
    let patient = patient_of(&context, known);
    assert_eq!(profiles(&patient), [US_CORE_PATIENT]);
    assert_eq!(patient["gender"], "unknown");
    assert_eq!(
        patient["name"],
        json!([{"extension": [{
            "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown",
        }]}])
    );
    let described =
        json!({"PatientID": "1", "IssuerOfPatientID": "HOSP", "PatientName": "Doe^Jane", "PatientSex": "F"});
    let patient = patient_of(&context, described);
    assert_eq!(profiles(&patient), [US_CORE_PATIENT]);
    assert_eq!((patient["name"][0].get("extension"), &patient["gender"]), (None, &json!("female")));
    let title_only = json!({"PatientID": "1", "IssuerOfPatientID": "HOSP", "PatientName": "^^^Dr."});
    assert_eq!(profiles(&patient_of(&context, title_only)), [US_CORE_PATIENT]);
    for unknown in [json!({"PatientID": "1"}), json!({"PatientName": "Doe"})] {
        assert_eq!(profiles(&patient_of(&context, unknown)), [""; 0]);
    }
}

#[test]
fn international_patient_access_requires_identifiers_with_a_system_and_a_name() {
    let context = context_with(&[Guide::Ipa]);
    let conforms = |members| profiles(&patient_of(&context, members)).contains(&IPA_PATIENT);
    assert!(conforms(json!({"PatientID": "1", "PatientName": "Doe^Jane"})));
    assert!(!conforms(json!({"PatientID": "1"})));
    assert!(!conforms(json!({"PatientName": "Doe^Jane"})));
    let others = json!({"vr": "SQ", "Value": [{"PatientID": "2"}]});
    assert!(!conforms(
        json!({"PatientID": "1", "PatientName": "Doe^Jane", "OtherPatientIDsSequence": others})
    ));
}

#[test]
fn supported_profiles_are_those_of_the_enabled_guides() {
    let all_guides = BTreeSet::from(Guide::ALL);
    assert_eq!(supported_profiles::<fhir_r4::types::Patient>(&all_guides), [US_CORE_PATIENT, IPA_PATIENT]);
    assert_eq!(supported_profiles::<fhir_r4::types::ImagingStudy>(&BTreeSet::new()), [""; 0]);
}
