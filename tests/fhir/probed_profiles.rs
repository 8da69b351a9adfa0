//! Archives with the profile `auto`: answers are exact before and after the archive has been probed, and after it has changed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use dicomweb_gateway::clock::{ManualClock, SharedClock};
use serde_json::Value;

use crate::support::gateway::RunningGateway;
use crate::support::pacs::{Dialect, Pacs, Paging, Study, UidLists};

const AUTO: &str = "profile = \"auto\"";

const STUDY_COUNT: usize = 60;

/// An archive without deviations from the standard.
const STANDARD: Dialect = Dialect {
    uid_lists: UidLists::Standard,
    lacks_searches_across_studies: false,
    rejects_repeated_keys: false,
    rejects_unknown_keys: false,
    rejects_unrestricted_with: None,
    fails_with: None,
    not_found_without_match: false,
    matches_names: true,
    decodes_escapes: true,
};

/// Returns an archive with sixty studies of twenty patients on six days. Each study has two series.
fn archive() -> Pacs {
    (0..STUDY_COUNT).fold(Pacs::new(), |pacs, number| {
        let (uid, patient) = (format!("1.2.{number}"), number % 20);
        let study = Study::new(&uid)
            .patient(&format!("P{patient}"), &format!("Doe^Jane{patient}x"))
            .study_date(&format!("202401{:02}", number % 6 + 10));
        pacs.with_study(study.series(&format!("{uid}.1"), "CT", 2).series(&format!("{uid}.2"), "SR", 1))
    })
}

/// Returns archives with each deviation in paging and in keys.
fn deviations() -> Vec<(Paging, Dialect)> {
    let pagings = [
        Paging::Standard,
        Paging::Ignored,
        Paging::OffsetIgnored,
        Paging::LimitIgnored,
        Paging::Truncated(7),
        Paging::TruncatedWithWarning(7),
        Paging::FirstRowsWithWarning(7),
        Paging::EndOffsetRejected,
    ];
    let dialects = [
        STANDARD,
        Dialect { uid_lists: UidLists::OneValue, ..STANDARD },
        Dialect { uid_lists: UidLists::FirstOnly, ..STANDARD },
        Dialect { uid_lists: UidLists::AtMost(3), ..STANDARD },
        Dialect { uid_lists: UidLists::Rejected, ..STANDARD },
        Dialect { lacks_searches_across_studies: true, ..STANDARD },
        Dialect { not_found_without_match: true, ..STANDARD },
        Dialect { matches_names: false, ..STANDARD },
        Dialect { decodes_escapes: false, ..STANDARD },
        Dialect { rejects_unknown_keys: true, ..STANDARD },
    ];
    let by_paging = pagings.map(|paging| (paging, STANDARD));
    by_paging.into_iter().chain(dialects.map(|dialect| (Paging::Standard, dialect))).collect()
}

/// Returns the ids of the matches of a FHIR search, or the UIDs of the rows of a DICOMweb search.
fn uids_in(response: &Value) -> BTreeSet<String> {
    if let Some(rows) = response.as_array() {
        return rows.iter().map(|row| row["0020000D"]["Value"][0].as_str().unwrap().to_owned()).collect();
    }
    let entries = response["entry"].as_array().cloned().unwrap_or_default();
    let matches = entries.iter().filter(|entry| entry["search"]["mode"] == "match");
    matches.map(|entry| entry["resource"]["id"].as_str().unwrap().to_owned()).collect()
}

/// Checks that each response of the gateway is the whole truth, or, if the archive does not allow this, an error.
async fn assert_exact(gateway: &RunningGateway, may_fail: bool, context: &str) {
    let studies = |numbers: &[usize]| numbers.iter().map(|number| format!("1.2.{number}")).collect();
    let day: Vec<usize> = (0..STUDY_COUNT).filter(|number| number % 6 == 3).collect();
    let all: Vec<usize> = (0..STUDY_COUNT).collect();
    let expected: [(&str, BTreeSet<String>); 9] = [
        ("/fhir/ImagingStudy?_id=1.2.4,1.2.5,1.2.44,1.2.999&_summary=data", studies(&[4, 5, 44])),
        ("/fhir/ImagingStudy?_id=1.2.998,1.2.999&_summary=data", studies(&[])),
        ("/fhir/ImagingStudy?patient.identifier=P7&_summary=data", studies(&[7, 27, 47])),
        ("/fhir/ImagingStudy?started=2024-01-13&_summary=data", studies(&day)),
        ("/fhir/ImagingStudy?_count=100&_summary=data", studies(&all)),
        ("/dicom-web/main/studies?StudyInstanceUID=1.2.4,1.2.5,1.2.44,1.2.999", studies(&[4, 5, 44])),
        ("/dicom-web/main/studies?PatientName=Doe%5EJane9x", studies(&[9, 29, 49])),
        ("/dicom-web/main/studies?PatientName=Doe%5EJohn", studies(&[])),
        ("/dicom-web/studies?PatientID=P3", studies(&[3, 23, 43])),
    ];
    for (path, expected) in expected {
        let received = gateway.get(path).await;
        if received.status >= 400 && may_fail {
            continue;
        }
        let found = if received.status == 204 { BTreeSet::new() } else { uids_in(&received.json()) };
        assert_eq!((received.status / 100, found), (2, expected), "{context}: {path}: {}", received.text());
        if path.contains("_summary=data") {
            let entries = received.json()["entry"].as_array().cloned().unwrap_or_default();
            let has_two_series =
                |entry: &Value| entry["resource"]["series"].as_array().map(Vec::len) == Some(2);
            assert!(entries.iter().all(has_two_series), "{context}: {path}: {}", received.text());
        }
    }
}

/// Whether some of the responses may be errors: the archive does not show where its list ends, or gives 404 for a search without a match to
/// a gateway that does not know what this means.
fn may_fail(paging: Paging, dialect: Dialect, is_probed: bool) -> bool {
    matches!(paging, Paging::OffsetIgnored | Paging::FirstRowsWithWarning(_))
        || dialect.not_found_without_match && !is_probed
}

#[tokio::test]
async fn answers_are_exact_with_and_without_findings_whatever_the_archive_does() {
    for (paging, dialect) in deviations() {
        for is_probed in [false, true] {
            let pacs = archive().with_paging(paging).with_dialect(dialect).start().await;
            let gateway = RunningGateway::start(&pacs.url(), AUTO).await;
            if is_probed {
                gateway.wait_for_probes(1).await;
            }
            let context = format!("probed: {is_probed}, {paging:?} {dialect:?}");
            assert_exact(&gateway, may_fail(paging, dialect, is_probed), &context).await;
        }
    }
}

#[tokio::test]
async fn answers_are_exact_after_the_archive_has_changed_what_was_found_out() {
    // The rows of an archive that has begun to ignore names are those that match its search.
    for (paging, dialect) in deviations().into_iter().filter(|(_, dialect)| dialect.matches_names) {
        let pacs = archive().with_dialect(STANDARD).start().await;
        let clock = Arc::new(ManualClock::default());
        let shared = Arc::clone(&clock) as SharedClock;
        let gateway = RunningGateway::start_with_clock(shared, &pacs.url(), AUTO).await;
        gateway.wait_for_probes(1).await;
        pacs.upgrade(paging, dialect);
        // Nothing in an answer shows that an archive has begun to truncate its lists, so that this is noticed after ten minutes.
        clock.advance(Duration::from_mins(10));
        let context = format!("changed to {paging:?} {dialect:?}");
        assert_exact(&gateway, may_fail(paging, dialect, false), &context).await;
    }
}

#[tokio::test]
async fn findings_that_answers_contradict_are_removed_and_found_out_again() {
    let pacs = archive().with_dialect(STANDARD).start().await;
    let clock = Arc::new(ManualClock::default());
    let shared = Arc::clone(&clock) as SharedClock;
    let gateway = RunningGateway::start_with_clock(shared, &pacs.url(), AUTO).await;
    gateway.wait_for_probes(1).await;
    let by_ids = "/fhir/ImagingStudy?_id=1.2.4,1.2.5,1.2.44&_elements=id";
    pacs.upgrade(Paging::Standard, Dialect { uid_lists: UidLists::FirstOnly, ..STANDARD });
    assert_eq!(gateway.get_json(by_ids).await["total"], 3);
    assert!(!gateway.archive().profile().uid_lists);
    clock.advance(Duration::from_mins(2));
    assert_eq!(gateway.get_json(by_ids).await["total"], 3);
    gateway.wait_for_probes(2).await;
    let profile = gateway.archive().profile();
    assert!(!profile.uid_lists && profile.decodes_escapes && profile.short_page_limit == 51);
    pacs.upgrade(Paging::Truncated(3), STANDARD);
    clock.advance(Duration::from_mins(11));
    let total = |bundle: Value| bundle["total"].clone();
    assert_eq!(total(gateway.get_json("/fhir/ImagingStudy?_summary=count").await), STUDY_COUNT);
    assert_eq!(gateway.archive().profile().short_page_limit, 0);
}

#[tokio::test]
async fn a_study_that_the_probe_has_used_may_be_deleted() {
    let pacs = archive().with_dialect(STANDARD).start().await;
    let gateway = RunningGateway::start(&pacs.url(), AUTO).await;
    gateway.wait_for_probes(1).await;
    for study in gateway.archive().control_studies() {
        pacs.change(crate::support::pacs::Change::Deleted(study.to_string()));
    }
    let found = gateway.get_json("/fhir/ImagingStudy?_id=1.2.4,1.2.5,1.2.0,1.2.50&_elements=id").await;
    assert_eq!(uids_in(&found), ["1.2.4", "1.2.5"].map(str::to_owned).into());
}

#[tokio::test]
async fn two_archives_are_probed_separately_and_their_answers_are_complete() {
    let (first, second) = (archive().with_dialect(STANDARD), archive());
    let (first, second) = (
        first.start().await,
        second.with_dialect(Dialect { uid_lists: UidLists::OneValue, ..STANDARD }).start().await,
    );
    let second_archive = format!("{AUTO}\n[[archive]]\nid = \"second\"\nurl = \"{}\"\n", second.url());
    let gateway = RunningGateway::start(&first.url(), &second_archive).await;
    gateway.wait_for_probes(1).await;
    let found = gateway.get_json("/fhir/ImagingStudy?_id=1.2.4,1.2.5,1.2.44,1.2.999&_summary=data").await;
    assert_eq!(uids_in(&found), ["1.2.4", "1.2.5", "1.2.44"].map(str::to_owned).into());
    let endpoints = found["entry"].as_array().unwrap().iter().map(|entry| &entry["resource"]["endpoint"]);
    assert!(endpoints.clone().all(|endpoints| endpoints.as_array().unwrap().len() == 2), "{found}");
}
