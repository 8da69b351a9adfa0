//! Lists below a study whose length the archive reports, truly or falsely: the response contains the whole list, or is an error.

use std::slice::from_ref;

use serde_json::{Value, json};

use crate::support::gateway::{RunningGateway, resources_with_mode};
use crate::support::pacs::{CannedResponse, Dialect, Pacs, Paging, RunningPacs, Study, UidLists};

fn integer(value: i64) -> Value {
    json!({"vr": "IS", "Value": [value]})
}

/// Returns a study with two series, which have three and two instances.
fn study(uid: &str) -> Study {
    Study::new(uid).series(&format!("{uid}.1"), "CT", 3).series(&format!("{uid}.2"), "SR", 2)
}

fn series_row(study: &str, series: Option<&str>, patient: Option<&str>, instances: i64) -> Value {
    let mut row = json!({
        "00080060": {"vr": "CS", "Value": ["CT"]},
        "0020000D": {"vr": "UI", "Value": [study]},
        "00201209": integer(instances),
    });
    if let Some(series) = series {
        row["0020000E"] = json!({"vr": "UI", "Value": [series]});
    }
    if let Some(patient) = patient {
        row["00100020"] = json!({"vr": "LO", "Value": [patient]});
    }
    row
}

fn lists(pages: &[&[Value]]) -> Vec<CannedResponse> {
    pages.iter().map(|rows| CannedResponse::json(Value::from(rows.to_vec()).to_string())).collect()
}

/// Returns the UIDs of the series of a study.
fn series_of(study: &Value) -> Vec<&str> {
    let series = study["series"].as_array().map(Vec::as_slice).unwrap_or_default();
    series.iter().map(|series| series["uid"].as_str().unwrap()).collect()
}

fn series_searches(pacs: &RunningPacs) -> usize {
    pacs.targets().iter().filter(|target| target.split('?').next().unwrap().ends_with("/series")).count()
}

#[tokio::test]
async fn a_list_is_whole_or_an_error_whatever_number_of_rows_the_archive_reports_and_however_it_pages() {
    for paging in [
        Paging::Standard,
        Paging::Ignored,
        Paging::OffsetIgnored,
        Paging::LimitIgnored,
        Paging::Truncated(1),
        Paging::Truncated(2),
        Paging::TruncatedWithWarning(1),
        Paging::FirstRowsWithWarning(1),
        Paging::EndOffsetRejected,
    ] {
        // An archive that returns a few rows at a time, and each row several times, does not show where a list ends.
        let max_copies = if matches!(paging, Paging::Truncated(_)) { 0 } else { 2 };
        for (reported_count, copy_count) in (0..4).flat_map(|count| [(count, 0), (count, max_copies)]) {
            let pacs = Pacs::new()
                .with_study(study("1.2.1").attribute("00201206", integer(reported_count)))
                .with_paging(paging)
                .repeat_rows(copy_count)
                .start()
                .await;
            let gateway = RunningGateway::start(&pacs.url(), "").await;
            let context = format!("{paging:?}, {reported_count} series reported, {copy_count} copies");
            let received = gateway.get("/fhir/ImagingStudy/1.2.1").await;
            if received.status != 200 {
                assert!(matches!(received.status, 400 | 502), "{context}: {}", received.text());
                let is_truncated = matches!(paging, Paging::FirstRowsWithWarning(_)) || copy_count > 0;
                assert!(reported_count > 2 || is_truncated, "{context}: {}", received.text());
                continue;
            }
            let received = received.json();
            assert_eq!(series_of(&received), ["1.2.1.1", "1.2.1.2"], "{context}");
            assert_eq!(received["numberOfInstances"], 5, "{context}");
            assert!(reported_count <= 2, "{context}");
        }
    }
}

#[tokio::test]
async fn a_list_with_the_reported_number_of_rows_needs_one_call_and_an_empty_list_none_that_proves_it() {
    for (study, series_count) in [(study("1.2.1"), 2), (Study::new("1.2.1"), 0)] {
        let pacs = Pacs::new().with_study(study).start().await;
        let gateway = RunningGateway::start(&pacs.url(), "").await;
        let received = gateway.get_json("/fhir/ImagingStudy/1.2.1?_summary=true").await;
        assert_eq!(received["numberOfSeries"], series_count);
        assert_eq!(series_searches(&pacs), 1, "{:?}", pacs.targets());
    }
}

#[tokio::test]
async fn rows_of_other_studies_do_not_count_as_rows_of_the_list() {
    let own = |number: u8| series_row("1.2.1", Some(&format!("1.2.1.{number}")), None, 4 - i64::from(number));
    let other = series_row("1.2.9", Some("1.2.9.1"), None, 1);
    let pacs = Pacs::new()
        .with_study(study("1.2.1"))
        .with_responses(
            "/studies/1.2.1/series",
            lists(&[&[own(1), other.clone()], &[other.clone(), own(2)], &[own(2)]]),
        )
        .start()
        .await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    let received = gateway.get_json("/fhir/ImagingStudy/1.2.1?_summary=data").await;
    assert_eq!(series_of(&received), ["1.2.1.1", "1.2.1.2"]);
    assert_eq!(series_searches(&pacs), 2, "{:?}", pacs.targets());
}

#[tokio::test]
async fn instances_of_other_series_do_not_count_as_rows_of_the_list() {
    let instance = |series: &str, number: u32| {
        json!({
            "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]},
            "00080018": {"vr": "UI", "Value": [format!("{series}.{number}")]},
            "0020000D": {"vr": "UI", "Value": ["1.2.1"]},
            "0020000E": {"vr": "UI", "Value": [series]},
        })
    };
    let (first, other, last) = (instance("1.2.1.1", 1), instance("1.2.1.9", 1), instance("1.2.1.1", 2));
    let pacs = Pacs::new()
        .with_study(Study::new("1.2.1").series("1.2.1.1", "CT", 2))
        .with_responses(
            "/studies/1.2.1/series/1.2.1.1/instances",
            lists(&[&[first, other.clone()], &[other, last.clone()], &[last]]),
        )
        .start()
        .await;
    let gateway = RunningGateway::start(&pacs.url(), "detail = \"qido\"").await;
    let received = gateway.get_json("/fhir/ImagingStudy/1.2.1").await;
    let instances = received["series"][0]["instance"].as_array().unwrap();
    let uids: Vec<_> = instances.iter().map(|instance| instance["uid"].as_str().unwrap()).collect();
    assert_eq!(uids, ["1.2.1.1.1", "1.2.1.1.2"]);
}

#[tokio::test]
async fn a_list_with_rows_without_a_uid_is_read_to_its_end() {
    let without_uid = series_row("1.2.1", None, None, 1);
    let row = |number: u32| series_row("1.2.1", Some(&format!("1.2.1.{number}")), None, 1);
    let pacs = Pacs::new()
        .with_study(study("1.2.1").attribute("00201206", integer(1)))
        .with_responses(
            "/studies/1.2.1/series",
            lists(&[&[row(1), without_uid.clone()], &[without_uid, row(2)], &[row(2)], &[]]),
        )
        .start()
        .await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    let received = gateway.get_json("/fhir/ImagingStudy/1.2.1?_summary=data").await;
    assert_eq!(series_of(&received), ["1.2.1.1", "1.2.1.2"]);
}

#[tokio::test]
async fn rows_of_another_patient_do_not_end_the_list() {
    let first = series_row("1.2.1", Some("1.2.1.9"), Some("P2"), 5);
    let second = series_row("1.2.1", Some("1.2.1.1"), Some("P1"), 3);
    let study = |patient: &str| Study::new("1.2.1").patient(patient, "Doe^Jane").series("1.2.1.1", "CT", 3);
    let pacs = Pacs::new()
        .with_study(study("P1"))
        .with_study(study("P2"))
        .with_responses(
            "/studies/1.2.1/series",
            lists(&[from_ref(&first), from_ref(&first), from_ref(&second), from_ref(&second), &[]]),
        )
        .start()
        .await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    let found = gateway.get_json("/fhir/ImagingStudy?patient.identifier=P1&_summary=data").await;
    let matches = resources_with_mode(&found, "match");
    assert_eq!(matches.iter().map(series_of).collect::<Vec<_>>(), [["1.2.1.1"]], "{found}");
}

#[tokio::test]
async fn a_wrong_number_of_series_of_one_study_affects_no_other_study_of_the_page() {
    for (paging, uid_lists) in [
        (Paging::Standard, UidLists::Standard),
        (Paging::Truncated(3), UidLists::Standard),
        (Paging::Standard, UidLists::OneValue),
        (Paging::Standard, UidLists::FirstOnly),
        (Paging::Standard, UidLists::AtMost(2)),
        (Paging::Standard, UidLists::Rejected),
    ] {
        for (too_low, too_high) in [(1, 3), (0, 4), (1, 2)] {
            let pacs = Pacs::new()
                .with_study(study("1.2.1").attribute("00201206", integer(too_low)))
                .with_study(study("1.2.2"))
                .with_study(study("1.2.3").attribute("00201206", integer(too_high)))
                .with_paging(paging)
                .with_dialect(Dialect { uid_lists, ..Dialect::default() })
                .start()
                .await;
            let gateway = RunningGateway::start(&pacs.url(), "").await;
            let page = gateway.get_json("/fhir/ImagingStudy?_sort=_id&_summary=data").await;
            let context = format!("{paging:?} {uid_lists:?} {too_low} {too_high}: {page}");
            let studies = resources_with_mode(&page, "match");
            assert_eq!(studies.len(), 3, "{context}");
            assert_eq!(series_of(&studies[0]), ["1.2.1.1", "1.2.1.2"], "{context}");
            assert_eq!(series_of(&studies[1]), ["1.2.2.1", "1.2.2.2"], "{context}");
            let outcome = resources_with_mode(&page, "outcome");
            if too_high > 2 {
                assert_eq!(outcome.len(), 1, "the third study is incomplete: {context}");
            } else {
                assert_eq!(series_of(&studies[2]), ["1.2.3.1", "1.2.3.2"], "{context}");
            }
        }
    }
}
