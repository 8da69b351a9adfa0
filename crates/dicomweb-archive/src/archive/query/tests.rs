//! Tests the query parser.

use super::*;
use proptest::prelude::*;

fn match_paths(raw: &str) -> Vec<Vec<Tag>> {
    Query::parse(raw).unwrap().matches.into_iter().map(|condition| condition.path).collect()
}

#[test]
fn attributes_are_identified_by_keyword_by_tag_and_by_path() {
    assert_eq!(match_paths("PatientID=1"), [[tags::PATIENT_ID]]);
    assert_eq!(match_paths("00100020=1"), [[tags::PATIENT_ID]]);
    assert_eq!(
        match_paths("RequestAttributesSequence.AccessionNumber=1"),
        [[tags::REQUEST_ATTRIBUTES_SEQUENCE, tags::ACCESSION_NUMBER]]
    );
    assert_eq!(
        match_paths("0040A370.00080050=1"),
        [[tags::REFERENCED_REQUEST_SEQUENCE, tags::ACCESSION_NUMBER]]
    );
}

#[test]
fn includefield_accepts_single_attributes_lists_and_all() {
    let query = Query::parse("includefield=StudyDescription,00080060&includefield=00081032").unwrap();
    assert_eq!(query.include, [tags::STUDY_DESCRIPTION, tags::MODALITY, tags::PROCEDURE_CODE_SEQUENCE]);
    let query = Query::parse("includefield=00081030%2C00080060").unwrap();
    assert_eq!(query.include, [tags::STUDY_DESCRIPTION, tags::MODALITY]);
    assert!(Query::parse("includefield=all").unwrap().include_all);
}

#[test]
fn values_are_decoded_before_they_are_matched() {
    let query = Query::parse("PatientName=%E5%B1%B1%E7%94%B0%5E*&StudyDescription=CT+Thorax").unwrap();
    assert_eq!(query.matches[0].condition, Condition::parse(VR::PN, "山田^*").unwrap());
    assert_eq!(query.matches[1].condition, Condition::parse(VR::LO, "CT Thorax").unwrap());
}

#[test]
fn unknown_keys_and_invalid_values_are_rejected() {
    for raw in [
        "foo=1",
        "Patient=1",
        "0010002=1",
        "includefield=Nothing",
        "limit=-1",
        "limit=",
        "offset=x",
        "fuzzymatching=maybe",
        "StudyDate=2023-01-01",
        "StudyInstanceUID=1.a",
        "PatientID=%",
        "PatientID=%f",
        "PatientID=%FF",
        "PatientID=1&PatientID=2",
        "PatientID=1&00100020=2",
        "ProcedureCodeSequence=1",
        "=1",
    ] {
        assert!(Query::parse(raw).is_err(), "{raw}");
    }
}

#[test]
fn list_of_uids_can_be_a_repeated_key() {
    let repeated = Query::parse("StudyInstanceUID=1.2&StudyInstanceUID=1.3").unwrap();
    assert_eq!(repeated, Query::parse("StudyInstanceUID=1.2,1.3").unwrap());
}

#[test]
fn error_never_contains_the_value() {
    let error = Query::parse("StudyDate=secret").unwrap_err();
    assert!(!error.to_string().contains("secret"));
}

proptest! {
    #[test]
    fn arbitrary_query_is_parsed_or_rejected(raw in "[ -~]{0,60}") {
        let _ = Query::parse(&raw);
    }
}
