//! The R4 types lose nothing: resources published by HL7 are unchanged after reading and writing.

use std::fs;
use std::path::{Path, PathBuf};

use fhir_r4::types::{Endpoint, ImagingStudy, Patient};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hl7").join(folder);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn round_trip<R: DeserializeOwned + Serialize>(text: &str) -> serde_json::Result<String> {
    serde_json::to_string(&serde_json::from_str::<R>(text)?)
}

/// Reads and writes a resource with the type that its `resourceType` names.
fn round_trip_by_type(text: &str) -> serde_json::Result<String> {
    let value: Value = serde_json::from_str(text)?;
    match value["resourceType"].as_str() {
        Some("ImagingStudy") => round_trip::<ImagingStudy>(text),
        Some("Patient") => round_trip::<Patient>(text),
        Some("Endpoint") => round_trip::<Endpoint>(text),
        other => panic!("{other:?}"),
    }
}

#[test]
fn examples_of_hl7_are_unchanged_after_a_round_trip() {
    let files = files("examples");
    assert_eq!(files.len(), 28);
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let written = round_trip_by_type(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let [before, after] = [&text, &written].map(|text| serde_json::from_str::<Value>(text).unwrap());
        assert_eq!(after, before, "{}", file.display());
    }
}

#[test]
fn every_element_of_r4_is_written_in_the_order_of_r4() {
    let files = files("every-element");
    assert_eq!(files.len(), 3);
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let written = round_trip_by_type(text.trim_end()).unwrap();
        let at = written.bytes().zip(text.bytes()).position(|(after, before)| after != before);
        let near = at.map(|at| &text[at.saturating_sub(60)..(at + 60).min(text.len())]);
        assert_eq!(near, None, "{}", file.display());
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
    let mut other = study;
    other["resourceType"] = json!("Patient");
    for broken in [unknown, without_subject, other] {
        assert!(serde_json::from_value::<ImagingStudy>(broken).is_err());
    }
}
