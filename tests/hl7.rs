//! The R4 types read and write the example resources of HL7, and every element of R4, without loss.

use std::fs;
use std::path::{Path, PathBuf};

use fhir_r4::types::{Endpoint, ImagingStudy, Patient};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn files_in(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hl7").join(folder);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn round_trip<R: DeserializeOwned + Serialize>(text: &str) -> serde_json::Result<String> {
    serde_json::to_string(&serde_json::from_str::<R>(text)?)
}

/// Reads and writes a resource with the type of its `resourceType`.
fn round_trip_by_type(text: &str) -> serde_json::Result<String> {
    let value: Value = serde_json::from_str(text)?;
    match value["resourceType"].as_str() {
        Some("ImagingStudy") => round_trip::<ImagingStudy>(text),
        Some("Patient") => round_trip::<Patient>(text),
        Some("Endpoint") => round_trip::<Endpoint>(text),
        other => panic!("the resourceType {other:?} has no type"),
    }
}

#[test]
fn examples_of_hl7_are_unchanged_after_a_round_trip() {
    let files = files_in("examples");
    assert_eq!(files.len(), 28);
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let written = round_trip_by_type(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let [original, round_tripped] =
            [&text, &written].map(|text| serde_json::from_str::<Value>(text).unwrap());
        assert_eq!(round_tripped, original, "{}", file.display());
    }
}

#[test]
fn every_element_of_r4_is_written_in_the_order_of_r4() {
    let files = files_in("every-element");
    assert_eq!(files.len(), 3);
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let written = round_trip_by_type(text.trim_end()).unwrap();
        let first_difference =
            written.bytes().zip(text.bytes()).position(|(written, original)| written != original);
        let context =
            first_difference.map(|index| &text[index.saturating_sub(60)..(index + 60).min(text.len())]);
        assert_eq!(context, None, "{}", file.display());
        assert_eq!(written, text.trim_end());
    }
}

#[test]
fn unknown_elements_missing_elements_and_other_types_are_rejected() {
    let study = json!({"resourceType": "ImagingStudy", "status": "available", "subject": {"display": "x"}});
    assert!(serde_json::from_value::<ImagingStudy>(study.clone()).is_ok());
    let mut unknown = study.clone();
    unknown["statuz"] = json!("available");
    let mut without_subject = study.clone();
    without_subject.as_object_mut().unwrap().remove("subject");
    let mut other_type = study;
    other_type["resourceType"] = json!("Patient");
    for invalid in [unknown, without_subject, other_type] {
        assert!(serde_json::from_value::<ImagingStudy>(invalid).is_err());
    }
}
