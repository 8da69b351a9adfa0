use super::*;
use dicom_model::Tag;

#[test]
fn a_study_has_the_form_that_smart_imaging_access_requires() {
    let mapped = study(json!({"StudyDescription": " Knee \u{7}MRI "}));
    assert_eq!(
        mapped["meta"]["profile"],
        json!(["http://fhir.org/argonaut/smart-imaging/StructureDefinition/smart-imaging-study"])
    );
    assert_eq!(mapped["status"], "available");
    assert_eq!(mapped["endpoint"], json!([{"reference": "Endpoint/main", "type": "Endpoint"}]));
    assert_eq!(mapped["description"], "Knee MRI");
}

#[test]
fn the_subject_is_the_patient_by_reference_identifier_and_name() {
    let members = json!({"PatientID": "1", "IssuerOfPatientID": "HOSP", "PatientName": "Doe^Jane"});
    let mapped = study(members.clone());
    let patient = patient_of(&context(), members);
    assert_eq!(mapped["subject"]["reference"], format!("Patient/{}", patient["id"].as_str().unwrap()));
    assert_eq!(mapped["subject"]["identifier"], patient["identifier"][0]);
    assert_eq!(mapped["subject"]["display"], "Jane Doe");
}

#[test]
fn a_study_that_cannot_be_retrieved_now_has_an_unknown_status() {
    let status = |availability: &str| study(json!({"InstanceAvailability": availability}))["status"].take();
    assert_eq!(
        ["ONLINE", "NEARLINE", "OFFLINE", "unavailable", ""].map(status),
        ["available", "available", "unknown", "unknown", "available"]
    );
}

#[test]
fn modalities_are_those_of_the_archive_without_duplicates() {
    let mapped = study(json!({"ModalitiesInStudy": ["CT ", "ct", "SR"]}));
    let codes: Vec<_> =
        mapped["modality"].as_array().unwrap().iter().map(|m| m["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["CT", "SR"]);
}

#[test]
fn modalities_are_those_of_the_series_if_the_archive_has_no_list() {
    let study = row(json!({"StudyInstanceUID": "1.2.3", "ModalitiesInStudy": {"vr": "CS"}}));
    let series = vec![series_source(json!({"Modality": "MG"}), None)];
    assert_eq!(study_with(&context(), &study, Some(series))["modality"][0]["code"], "MG");
    let unknown = study_with(&context(), &study, None);
    assert_eq!(unknown["modality"][0]["extension"][0]["valueCode"], "unknown");
}

#[test]
fn counts_are_never_invented() {
    let mapped = study(json!({"NumberOfStudyRelatedSeries": " 3", "NumberOfStudyRelatedInstances": "-1"}));
    assert_eq!(mapped["numberOfSeries"], 3);
    assert_eq!(mapped.get("numberOfInstances"), None);
    let series = vec![series_source(json!({}), Some(json!([{"SOPInstanceUID": "1.1"}])))];
    let counted = study_with(&context(), &study_row(json!({})), Some(series));
    assert_eq!((&counted["numberOfSeries"], &counted["numberOfInstances"]), (&json!(1), &json!(1)));
    let series = vec![series_source(json!({}), None)];
    assert_eq!(study_with(&context(), &study_row(json!({})), Some(series)).get("numberOfInstances"), None);
}

#[test]
fn people_are_identified_if_names_and_identifiers_correspond() {
    let identification = |id: &str| json!({"PersonIdentificationCodeSequence": {"vr": "SQ", "Value": [{"CodeValue": id, "CodingSchemeDesignator": "99X"}]}});
    let names = json!({"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}, {"Alphabetic": "Roe^Ann"}]});
    let interpreters = |identifications: Vec<Value>| {
        study(json!({
            "NameOfPhysiciansReadingStudy": names,
            "PhysiciansReadingStudyIdentificationSequence": {"vr": "SQ", "Value": identifications},
        }))["interpreter"]
            .take()
    };
    assert_eq!(
        interpreters(vec![identification("1"), identification("2")]),
        json!([
            {"type": "Practitioner", "identifier": {"value": "1"}, "display": "Jane Doe"},
            {"type": "Practitioner", "identifier": {"value": "2"}, "display": "Ann Roe"},
        ])
    );
    let reference = |name: &str| json!({"type": "Practitioner", "display": name});
    assert_eq!(interpreters(vec![identification("1")]), json!([reference("Jane Doe"), reference("Ann Roe")]));
    assert_eq!(study(json!({"ReferringPhysicianName": "Doe^Jane"}))["referrer"], reference("Jane Doe"));
    assert_eq!(study(json!({"ReferringPhysicianName": "^"})).get("referrer"), None);
}

#[test]
fn an_object_completes_the_row_of_its_study_but_not_its_patient_or_counts() {
    let mut study = study_row(json!({"NumberOfStudyRelatedSeries": 2}));
    let object =
        row(json!({"StudyDescription": "Knee", "PatientID": "other", "NumberOfStudyRelatedSeries": 9}));
    complete_study(&mut study, &object);
    assert_eq!(study, study_row(json!({"NumberOfStudyRelatedSeries": 2, "StudyDescription": "Knee"})));
}

#[test]
fn a_value_that_was_corrected_in_the_row_of_a_study_remains_without_what_describes_the_old_value() {
    let issuer = json!({"vr": "SQ", "Value": [{"00400031": {"vr": "UT", "Value": ["HOSP"]}}]});
    let object = row(json!({
        "AccessionNumber": "OLD", "IssuerOfAccessionNumberSequence": issuer, "StudyDate": "20210101",
        "StudyTime": "1200", "StudyDescription": "M\u{fc}ller", "StudyID": "7",
    }));
    let completed = |members: Value| {
        let mut study = study_row(members);
        complete_study(&mut study, &object);
        study
    };
    let corrected = json!({"AccessionNumber": "NEW", "StudyDate": "20200101", "StudyDescription": "Knee"});
    let expected = json!({
        "AccessionNumber": "NEW", "StudyDate": "20200101", "StudyDescription": "Knee", "StudyID": "7",
    });
    assert_eq!(completed(corrected), study_row(expected));
    let unchanged = json!({"AccessionNumber": "OLD", "StudyDescription": "Mller"});
    let all = json!({
        "AccessionNumber": "OLD", "IssuerOfAccessionNumberSequence": issuer, "StudyDate": "20210101",
        "StudyTime": "1200", "StudyDescription": "M\u{fc}ller", "StudyID": "7",
    });
    assert_eq!(completed(unchanged), study_row(all));
}

#[test]
fn the_location_is_the_department_or_the_patient_location_with_the_institution() {
    let location = |study: Value, series: &[Value]| {
        let series = series.iter().map(|members| series_source(members.clone(), None)).collect();
        study_with(&context(), &study_row(study), Some(series))["location"].take()
    };
    let reference = |display: &str| json!({"type": "Location", "display": display});
    let equipment = json!({"InstitutionalDepartmentName": "Radiology ", "InstitutionName": "North"});
    let ward = json!({"CurrentPatientLocation": "Ward 7"});
    assert_eq!(location(json!({}), &[json!({}), equipment.clone()]), reference("Radiology, North"));
    assert_eq!(location(ward.clone(), std::slice::from_ref(&equipment)), reference("Radiology, North"));
    assert_eq!(location(equipment, &[]), reference("Radiology, North"));
    assert_eq!(location(ward.clone(), &[json!({"InstitutionName": "South"})]), reference("Ward 7, South"));
    assert_eq!(location(ward, &[]), reference("Ward 7"));
    assert_eq!(location(json!({"InstitutionName": "South"}), &[]), reference("South"));
    // The department of one series is not combined with the institution of another.
    let other = json!({"InstitutionalDepartmentName": "Cardiology"});
    assert_eq!(location(json!({"InstitutionName": "South"}), &[other]), reference("Cardiology"));
    assert_eq!(location(json!({}), &[json!({"InstitutionName": " "})]), Value::Null);
}

#[test]
fn comments_are_requested_and_included_only_if_configured() {
    let row = study_row(json!({"StudyComments": "Lay still."}));
    let series = |comment: &str| series_source(json!({"CommentsOnThePerformedProcedureStep": comment}), None);
    let notes = |context: &MappingContext| {
        let series = vec![series("Second try."), series("Lay still."), series("Second try.")];
        study_with(context, &row, Some(series))["note"].take()
    };
    assert_eq!(notes(&context()), Value::Null);
    assert!(study_note_tags(&context()).is_empty() && series_note_tags(&context()).is_empty());
    let with_notes = MappingContext { notes: true, ..context() };
    assert_eq!(notes(&with_notes), json!([{"text": "Lay still."}, {"text": "Second try."}]));
    assert_ne!(with_notes.rules(), context().rules(), "resources without comments are assembled again");
}

#[test]
fn no_attribute_is_requested_twice() {
    let with_notes = MappingContext { notes: true, ..context() };
    let mut series = [series_tags(), series_note_tags(&with_notes)].concat();
    series.sort_unstable();
    series.dedup();
    assert_eq!(series.len(), series_tags().len() + series_note_tags(&with_notes).len());
    let mut tags: Vec<Tag> = [study_tags(), study_note_tags(&with_notes), patient_tags()].concat();
    let total = tags.len();
    tags.sort_unstable();
    tags.dedup();
    assert_eq!(tags.len(), total);
}

#[test]
fn an_endpoint_has_the_form_that_smart_imaging_access_requires() {
    let address = "https://gateway.example/dicom-web/main".to_owned();
    let mapped =
        serde_json::to_value(endpoint(&context(), "Main archive", EndpointStatus::Active, address, true))
            .unwrap();
    assert_eq!(
        mapped,
        json!({
            "resourceType": "Endpoint", "id": "main",
            "meta": {"profile": ["http://fhir.org/argonaut/smart-imaging/StructureDefinition/smart-wado-endpoint"]},
            "extension": [{
                "url": "http://fhir.org/argonaut/smart-imaging/StructureDefinition/requires-access-token",
                "valueBoolean": true,
            }],
            "status": "active",
            "connectionType": {
                "system": "http://terminology.hl7.org/CodeSystem/endpoint-connection-type", "code": "dicom-wado-rs",
                "display": "DICOM WADO-RS",
            },
            "name": "Main archive",
            "payloadType": [{"coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/endpoint-payload-type", "code": "any", "display": "Any",
            }]}],
            "payloadMimeType": ["application/dicom"],
            "address": "https://gateway.example/dicom-web/main",
        })
    );
}

#[test]
fn the_name_of_the_subject_is_that_of_an_object_if_the_row_lacks_characters_of_it() {
    let name_with_object = |of_row: &str, of_object: &str| {
        let mut attributes = row(json!({"StudyInstanceUID": "1.2.3", "PatientName": of_row}));
        complete_study(&mut attributes, &row(json!({"PatientName": of_object})));
        study_with(&context(), &attributes, None)["subject"]["display"].take()
    };
    for (of_row, expected) in [
        ("Mller^Jrg", "J\u{fc}rg M\u{fc}ller"),
        ("M?ller^J?rg", "J\u{fc}rg M\u{fc}ller"),
        ("Corrected^Name", "Name Corrected"),
        ("M\u{fc}ller-Roe^J\u{fc}rg", "J\u{fc}rg M\u{fc}ller-Roe"),
    ] {
        assert_eq!(name_with_object(of_row, "M\u{fc}ller^J\u{fc}rg"), expected, "{of_row}");
    }
    assert_eq!(name_with_object("M\u{fc}ller^J\u{fc}rg", "Mller^Jrg"), "J\u{fc}rg M\u{fc}ller");
}
