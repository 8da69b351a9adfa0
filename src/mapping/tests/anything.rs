//! Property tests: for all rows the result is valid FHIR, without empty elements, invalid ids or invalid strings.

use proptest::prelude::*;

use super::*;

/// Keywords that the mapping reads, and PixelData, which it does not read.
const KEYWORDS: &[&str] = &[
    "StudyInstanceUID",
    "PatientID",
    "IssuerOfPatientID",
    "PatientName",
    "PatientSex",
    "PatientBirthDate",
    "StudyDate",
    "StudyTime",
    "TimezoneOffsetFromUTC",
    "AccessionNumber",
    "StudyID",
    "ModalitiesInStudy",
    "StudyDescription",
    "ReferringPhysicianName",
    "NameOfPhysiciansReadingStudy",
    "NumberOfStudyRelatedSeries",
    "InstanceAvailability",
    "ReasonForTheRequestedProcedure",
    "AdmissionID",
    "Modality",
    "SeriesNumber",
    "SeriesDescription",
    "SeriesDate",
    "SeriesTime",
    "BodyPartExamined",
    "Laterality",
    "ImageLaterality",
    "OperatorsName",
    "PerformingPhysicianName",
    "SOPInstanceUID",
    "SOPClassUID",
    "InstanceNumber",
    "ImageType",
    "ContentLabel",
    "DocumentTitle",
    "CodeValue",
    "CodingSchemeDesignator",
    "CodeMeaning",
    "CodingSchemeUID",
    "UniversalEntityID",
    "UniversalEntityIDType",
    "LocalNamespaceEntityID",
    "InstitutionName",
    "InstitutionalDepartmentName",
    "CurrentPatientLocation",
    "StudyComments",
    "CommentsOnThePerformedProcedureStep",
    "PerformedProcedureStepDescription",
    "ReferencedSOPInstanceUID",
    "Manufacturer",
    "ManufacturerModelName",
    "DeviceSerialNumber",
    "StationName",
    "SpecimenIdentifier",
    "SpecimenUID",
    "SpecimenShortDescription",
    "PixelData",
];

const SEQUENCES: &[&str] = &[
    "IssuerOfPatientIDQualifiersSequence",
    "OtherPatientIDsSequence",
    "IssuerOfAccessionNumberSequence",
    "ReferencedRequestSequence",
    "RequestAttributesSequence",
    "ProcedureCodeSequence",
    "ReasonForRequestedProcedureCodeSequence",
    "AnatomicRegionSequence",
    "ConceptNameCodeSequence",
    "ReferringPhysicianIdentificationSequence",
    "PersonIdentificationCodeSequence",
    "IssuerOfAdmissionIDSequence",
    "ReferencedPerformedProcedureStepSequence",
    "SpecimenDescriptionSequence",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ \\t\\u{0}-\\u{1f}^=\\\\]{0,8}",
        "[0-9.]{1,20}",
        "[0-9]{8}",
        "[0-9]{2,6}(\\.[0-9]{1,6})?",
        "[+-][0-9]{4}",
        "[A-Z]{1,4}\\^?[A-Za-z =^]{0,12}",
        Just("CHEST".to_owned()),
        Just("SCT".to_owned()),
        Just("ISO".to_owned()),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let one = || {
        prop_oneof![
            4 => text().prop_map(Value::from),
            1 => any::<i64>().prop_map(Value::from),
            1 => any::<f64>().prop_map(Value::from),
            1 => Just(Value::Null),
            1 => any::<bool>().prop_map(Value::from),
            1 => text().prop_map(|name| json!({"Alphabetic": name, "Phonetic": "x^y"})),
        ]
    };
    prop_oneof![
        one(),
        prop::collection::vec(one(), 0..3).prop_map(|values| json!({"vr": "LO", "Value": values})),
        prop::collection::vec(one(), 0..3).prop_map(|values| json!({"Value": values})),
    ]
}

fn data_set() -> impl Strategy<Value = Value> {
    let flat = || prop::collection::hash_map(prop::sample::select(KEYWORDS), value(), 0..12);
    let object = |members: std::collections::HashMap<&str, Value>| {
        Value::Object(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    };
    let item = prop::collection::vec(flat().prop_map(object), 0..3);
    let sequences = prop::collection::hash_map(prop::sample::select(SEQUENCES), item, 0..4);
    (flat().prop_map(object), sequences).prop_map(|(mut members, sequences)| {
        for (keyword, items) in sequences {
            members[keyword] = json!({"vr": "SQ", "Value": items});
        }
        members
    })
}

fn contexts() -> impl Strategy<Value = MappingContext> {
    let all_options =
        MappingContext { guides: Guide::ALL.into(), notes: true, ..context_in_zone("Europe/Berlin") };
    prop::sample::select(vec![context(), context_in_zone("America/St_Johns"), all_options])
}

/// Checks the rules of R4 json.html and datatypes.html: no value is null or empty, and no string contains control characters.
fn assert_is_fhir(value: &Value) {
    match value {
        Value::Null => panic!("null"),
        Value::Bool(_) => {}
        Value::Number(number) => assert!(number.as_i64().is_some_and(|n| (0..=2_147_483_647).contains(&n))),
        Value::String(text) => {
            assert!(!text.trim().is_empty(), "{text:?}");
            assert!(!text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')), "{text:?}");
        }
        Value::Array(items) => {
            assert!(!items.is_empty());
            items.iter().for_each(assert_is_fhir);
        }
        Value::Object(members) => {
            assert!(!members.is_empty());
            members.values().for_each(assert_is_fhir);
            for (name, value) in members {
                match (name.as_str(), value.as_str()) {
                    ("id" | "uid", Some(id)) => assert!(is_id(id), "{id}"),
                    ("started" | "birthDate", Some(date)) => {
                        assert!(fhir_r4::date::FhirDate::parse(date).is_some(), "{date}");
                    }
                    ("code", Some(code)) => {
                        assert!(!code.starts_with(' ') && !code.contains("  "), "{code:?}");
                    }
                    ("system" | "url", Some(uri)) => assert!(!uri.contains(char::is_whitespace), "{uri:?}"),
                    _ => {}
                }
            }
        }
    }
}

/// Whether `text` is an id (R4 datatypes#id).
fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

proptest! {
    #[test]
    fn a_study_is_valid_fhir_for_every_row(
        context in contexts(), mut study in data_set(), series in data_set(), instances in prop::collection::vec(data_set(), 0..3),
    ) {
        study["StudyInstanceUID"] = json!("1.2.3");
        let source = series_source(series, Some(json!(instances)));
        assert_is_fhir(&study_with(&context, &row(study), Some(vec![source])));
    }

    #[test]
    fn a_patient_is_valid_fhir_for_every_row(context in contexts(), mut study in data_set()) {
        study["StudyInstanceUID"] = json!("1.2.3");
        assert_is_fhir(&patient_of(&context, study));
    }

    #[test]
    fn a_mapped_instance_has_the_attributes_of_the_object(object in data_set()) {
        let instance: MappedInstance = serde_json::from_value(object.clone()).unwrap();
        let attributes = row(object);
        let is_id = |uid: &&str| fhir_r4::id::is_id(uid);
        if let Some(uid) = instance.uid.as_deref().filter(is_id) {
            prop_assert_eq!(Some(uid), attributes.text(dicom_model::tags::SOP_INSTANCE_UID).filter(is_id));
        }
    }
}
