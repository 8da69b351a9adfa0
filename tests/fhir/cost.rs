//! The numbers of upstream requests that client requests cause, by the requested resource and for every depth.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use dicomweb_gateway::clock::{ManualClock, SharedClock};
use serde_json::json;

use crate::support::gateway::RunningGateway;
use crate::support::pacs::{Pacs, RunningPacs, Study};

const STUDY_COUNT: usize = 50;

/// The number of series of each study.
const SERIES_PER_STUDY: usize = 2;

/// The numbers of upstream requests by the requested resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct RequestCounts {
    studies: usize,
    series: usize,
    instances: usize,
    metadata: usize,
}

impl RequestCounts {
    /// Counts the requests that the archive has received after the first `skipped_count` requests.
    fn since(skipped_count: usize, pacs: &RunningPacs) -> Self {
        let mut counts = Self::default();
        for target in pacs.targets().split_off(skipped_count) {
            let path = target.split('?').next().unwrap_or_default();
            match path.rsplit('/').next() {
                Some("studies") => counts.studies += 1,
                Some("series") => counts.series += 1,
                Some("instances") => counts.instances += 1,
                Some("metadata") => counts.metadata += 1,
                other => panic!("{other:?} was requested"),
            }
        }
        counts
    }
}

fn counts(studies: usize, series: usize, instances: usize, metadata: usize) -> RequestCounts {
    RequestCounts { studies, series, instances, metadata }
}

/// Returns an archive with fifty studies of ten patients. Each study has two series, with five instances in total.
fn archive_with_fifty_studies() -> Pacs {
    (0..STUDY_COUNT).fold(Pacs::new(), |pacs, number| {
        let uid = format!("1.2.{number}");
        let patient = format!("P{}", number % 10);
        pacs.with_study(
            Study::new(&uid)
                .patient(&patient, &format!("Doe^{patient}"))
                .study_date(&format!("202401{:02}", number % 28 + 1))
                .accession_number(&format!("A{number}"))
                .series(&format!("{uid}.1"), "CT", 3)
                .series(&format!("{uid}.2"), "SR", 2),
        )
    })
}

/// Starts a gateway whose profile declares that the archive never truncates pages. After [`expire`], no cache entry is fresh.
async fn start_with_manual_clock(pacs: &RunningPacs) -> (RunningGateway, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    let settings = "profile = \"orthanc\"\n[cache]\nfresh_for = \"1m\"";
    (RunningGateway::start_with_clock(Arc::clone(&clock) as SharedClock, &pacs.url(), settings).await, clock)
}

/// Advances the clock until every cache entry is stale.
fn expire(clock: &ManualClock) {
    clock.advance(Duration::from_mins(2));
}

/// Returns the numbers of upstream requests that one client request causes, with an empty cache and a profile that declares that
/// the archive never truncates pages.
async fn cost(path: &str) -> RequestCounts {
    let pacs = archive_with_fifty_studies().start().await;
    let gateway = RunningGateway::start(&pacs.url(), "profile = \"orthanc\"").await;
    gateway.get_json(path).await;
    let counts = RequestCounts::since(0, &pacs);
    assert_eq!(
        gateway.upstream_request_count("search"),
        (counts.studies + counts.series + counts.instances) as u64,
        "{path}"
    );
    assert_eq!(gateway.upstream_request_count("metadata"), counts.metadata as u64, "{path}");
    counts
}

#[tokio::test]
async fn counting_costs_one_search_for_studies() {
    for query in [
        "_summary=count",
        "_count=0",
        "_count=0&patient.identifier=P3",
        "_count=0&started=2024-01",
        "_count=0&modality=CT",
        "_count=0&identifier=urn:oid:1.2.7",
        "_count=0&_id=1.2.1,1.2.2,1.2.3",
        "_count=0&_sort=-started,status&status=available",
    ] {
        assert_eq!(cost(&format!("/fhir/ImagingStudy?{query}")).await, counts(1, 0, 0, 0), "{query}");
    }
    // The value may be an Accession Number or a Study ID, which have different matching keys.
    assert_eq!(cost("/fhir/ImagingStudy?_count=0&identifier=A7").await, counts(2, 0, 0, 0));
    for query in ["_summary=count", "_count=0&gender=male"] {
        assert_eq!(cost(&format!("/fhir/Patient?{query}")).await, counts(1, 0, 0, 0), "{query}");
    }
    assert_eq!(cost("/fhir/Endpoint?_summary=count").await, RequestCounts::default());
}

#[tokio::test]
async fn elements_of_study_rows_cost_one_search_for_studies() {
    for query in [
        "_summary=text",
        "_elements=id",
        "_elements=started,description,numberOfInstances,subject,endpoint",
        "_elements=status&_include=ImagingStudy:patient&_include=ImagingStudy:endpoint",
        "_elements=id&_sort=started&_count=7",
    ] {
        assert_eq!(cost(&format!("/fhir/ImagingStudy?{query}")).await, counts(1, 0, 0, 0), "{query}");
    }
    assert_eq!(cost("/fhir/Patient?_count=50").await, counts(1, 0, 0, 0));
    assert_eq!(cost("/fhir/ImagingStudy/1.2.7?_elements=id").await, counts(1, 0, 0, 0));
    assert_eq!(cost("/fhir/Endpoint/main").await, RequestCounts::default());
}

#[tokio::test]
async fn a_page_of_summaries_adds_one_search_for_series_and_none_for_instances() {
    for query in ["_summary=true", "_elements=modality,numberOfSeries"] {
        assert_eq!(cost(&format!("/fhir/ImagingStudy?{query}")).await, counts(1, 1, 0, 0), "{query}");
    }
    assert_eq!(cost("/fhir/ImagingStudy/1.2.7?_summary=true").await, counts(1, 1, 0, 0));
}

#[tokio::test]
async fn a_page_of_complete_studies_adds_one_metadata_request_per_series() {
    // The metadata of one series is the cheapest source of instances, and limits the memory for rows.
    let expected = counts(1, 1, 0, STUDY_COUNT * SERIES_PER_STUDY);
    for query in ["_count=50", "_count=50&_summary=data"] {
        assert_eq!(cost(&format!("/fhir/ImagingStudy?{query}")).await, expected, "{query}");
    }
    assert_eq!(cost("/fhir/ImagingStudy?_count=5").await, counts(1, 1, 0, 5 * SERIES_PER_STUDY));
    assert_eq!(cost("/fhir/ImagingStudy/1.2.7").await, counts(1, 1, 0, SERIES_PER_STUDY));
}

#[tokio::test]
async fn concurrent_metadata_requests_reach_but_do_not_exceed_max_concurrency() {
    let pacs = archive_with_fifty_studies().with_metadata_barrier(3).start().await;
    let gateway = RunningGateway::start(&pacs.url(), "profile = \"orthanc\"\nmax_concurrency = 3").await;
    gateway.get_json("/fhir/ImagingStudy?_count=50").await;
    assert_eq!(pacs.max_concurrent_requests(), 3);
}

#[tokio::test]
async fn includes_cause_no_upstream_requests() {
    let includes = "_include=ImagingStudy:patient&_include=ImagingStudy:endpoint";
    for query in ["_count=5", "_summary=true", "patient.identifier=P3&_elements=id"] {
        let cost_without_includes = cost(&format!("/fhir/ImagingStudy?{query}")).await;
        let cost_with_includes = cost(&format!("/fhir/ImagingStudy?{query}&{includes}")).await;
        assert_eq!(cost_with_includes, cost_without_includes, "{query}");
    }
}

#[tokio::test]
async fn reverse_includes_cost_as_much_as_reading_the_studies() {
    let pacs = archive_with_fifty_studies().start().await;
    let gateway = RunningGateway::start(&pacs.url(), "profile = \"orthanc\"").await;
    let bundle = gateway.get_json("/fhir/Patient?identifier=P3&_revinclude=ImagingStudy:patient").await;
    assert_eq!(bundle["entry"].as_array().unwrap().len(), 1 + STUDY_COUNT / 10);
    // The search for the patient has already listed the studies of the patient.
    assert_eq!(RequestCounts::since(0, &pacs), counts(1, 1, 0, STUDY_COUNT / 10 * SERIES_PER_STUDY));
}

#[tokio::test]
async fn searches_by_series_or_instance_uid_query_that_level_first() {
    // The requests are for the row of the series, the row of its study, and the series of the study.
    let series = cost("/fhir/ImagingStudy?series=1.2.7.2&_summary=true").await;
    assert_eq!(series, counts(1, 2, 0, 0));
    let instance = cost("/fhir/ImagingStudy?instance=1.2.7.2.1").await;
    assert_eq!(instance, counts(1, 1, 1, SERIES_PER_STUDY));
    for query in ["series=1.2.99", "instance=1.2.99.1"] {
        let cost_without_matches = cost(&format!("/fhir/ImagingStudy?{query}")).await;
        assert_eq!(cost_without_matches.studies + cost_without_matches.metadata, 0, "{query}");
        assert_eq!(cost_without_matches.series + cost_without_matches.instances, 1, "{query}");
    }
}

#[tokio::test]
async fn searches_by_instance_attributes_read_only_candidate_studies() {
    let cost_of_one_patient =
        cost("/fhir/ImagingStudy?patient.identifier=P3&bodysite=http://snomed.info/sct%7C1").await;
    assert_eq!(cost_of_one_patient, counts(1, 1, 0, STUDY_COUNT / 10 * SERIES_PER_STUDY));
}

#[tokio::test]
async fn patients_are_queried_by_patient_id() {
    let pacs = archive_with_fifty_studies().start().await;
    let (gateway, clock) = start_with_manual_clock(&pacs).await;
    let bundle = gateway.get_json("/fhir/Patient?identifier=P3").await;
    let id = bundle["entry"][0]["resource"]["id"].as_str().unwrap().to_owned();
    let count_before = pacs.requests().len();
    for path in [format!("ImagingStudy?patient={id}&_elements=id"), format!("Patient/{id}")] {
        expire(&clock);
        gateway.get_json(&format!("/fhir/{path}")).await;
    }
    let targets = pacs.targets().split_off(count_before);
    assert_eq!(targets.len(), 2);
    assert!(targets.iter().all(|target| target.contains("PatientID=P3&")), "{targets:?}");
}

#[tokio::test]
async fn the_next_page_costs_only_the_requests_for_its_studies() {
    let pacs = archive_with_fifty_studies().start().await;
    let gateway = RunningGateway::start(&pacs.url(), "profile = \"orthanc\"").await;
    let first_page = gateway.get_json("/fhir/ImagingStudy?_count=5").await;
    let count_before = pacs.requests().len();
    let next = crate::support::gateway::link_url(&first_page, "next").unwrap();
    gateway.get_json(next.strip_prefix(gateway.base_url()).unwrap()).await;
    assert_eq!(RequestCounts::since(count_before, &pacs), counts(0, 1, 0, 5 * SERIES_PER_STUDY));
    let count_before = pacs.requests().len();
    gateway.get_json("/fhir/ImagingStudy?_count=10").await;
    assert_eq!(
        RequestCounts::since(count_before, &pacs),
        RequestCounts::default(),
        "cached studies were requested again"
    );
}

#[tokio::test]
async fn stale_studies_are_revalidated_by_one_search_for_studies() {
    let pacs = archive_with_fifty_studies().start().await;
    let (gateway, clock) = start_with_manual_clock(&pacs).await;
    let path = "/fhir/ImagingStudy?_count=20";
    let first_page = gateway.get(path).await;
    expire(&clock);
    let count_before = pacs.requests().len();
    assert_eq!(gateway.get(path).await.body, first_page.body);
    assert_eq!(RequestCounts::since(count_before, &pacs), counts(1, 0, 0, 0));
}

#[tokio::test]
async fn archives_that_may_truncate_pages_receive_one_more_request_per_list_whose_length_they_do_not_report()
{
    for (query, expected) in [
        ("_count=0", counts(2, 0, 0, 0)),
        ("_summary=true", counts(2, 1, 0, 0)),
        ("_count=50", counts(2, 1, 0, STUDY_COUNT * SERIES_PER_STUDY)),
    ] {
        let pacs = archive_with_fifty_studies().start().await;
        let gateway = RunningGateway::start(&pacs.url(), "").await;
        gateway.get_json(&format!("/fhir/ImagingStudy?{query}")).await;
        assert_eq!(RequestCounts::since(0, &pacs), expected, "{query}");
    }
}

#[tokio::test]
async fn lists_below_a_study_end_with_as_many_rows_as_the_archive_reports() {
    let study = || Study::new("1.2.1").patient("P1", "Doe^Jane").series("1.2.1.1", "CT", 3);
    let integer = |value: u32| json!({"vr": "IS", "Value": [value]});
    for (series_count, expected) in [
        (integer(1), counts(1, 1, 1, 0)),
        // A list that does not have the reported length is read until an empty page.
        (integer(0), counts(1, 2, 1, 0)),
        (json!({"vr": "IS"}), counts(1, 2, 1, 0)),
    ] {
        let pacs = Pacs::new().with_study(study().attribute("00201206", series_count.clone())).start().await;
        let gateway = RunningGateway::start(&pacs.url(), "detail = \"qido\"").await;
        let read = gateway.get_json("/fhir/ImagingStudy/1.2.1").await;
        assert_eq!((&read["numberOfSeries"], &read["numberOfInstances"]), (&json!(1), &json!(3)));
        let mut received = RequestCounts::since(0, &pacs);
        received.studies = 1;
        assert_eq!(received, expected, "{series_count}");
    }
}

#[tokio::test]
async fn archives_that_do_not_support_uid_lists_receive_one_series_search_per_study() {
    let pacs = archive_with_fifty_studies().start().await;
    let gateway = RunningGateway::start(&pacs.url(), "profile = \"dicom-rst\"").await;
    gateway.get_json("/fhir/ImagingStudy?_summary=true").await;
    // The list of studies needs two requests, because its pages may be truncated.
    assert_eq!(RequestCounts::since(0, &pacs), counts(2, STUDY_COUNT, 0, 0));
    let mut all_targets = String::new();
    for target in pacs.targets() {
        writeln!(all_targets, "{target}").unwrap();
    }
    assert!(
        (0..STUDY_COUNT).all(|number| all_targets.contains(&format!("/studies/1.2.{number}/series"))),
        "{all_targets}"
    );
}

#[tokio::test]
async fn the_compartment_of_a_known_patient_costs_only_series_and_metadata() {
    for (path, expected) in [
        ("ImagingStudy?_elements=id", RequestCounts::default()),
        ("ImagingStudy?_summary=true", counts(0, 1, 0, 0)),
        ("ImagingStudy", counts(0, 1, 0, STUDY_COUNT / 10 * SERIES_PER_STUDY)),
        ("$everything", counts(0, 1, 0, STUDY_COUNT / 10 * SERIES_PER_STUDY)),
    ] {
        let pacs = archive_with_fifty_studies().start().await;
        let gateway = RunningGateway::start(&pacs.url(), "profile = \"orthanc\"").await;
        let bundle = gateway.get_json("/fhir/Patient?identifier=P3").await;
        let id = bundle["entry"][0]["resource"]["id"].as_str().unwrap();
        let count_before = pacs.requests().len();
        gateway.get_json(&format!("/fhir/Patient/{id}/{path}")).await;
        assert_eq!(RequestCounts::since(count_before, &pacs), expected, "{path}");
    }
}

#[tokio::test]
async fn a_search_across_all_types_costs_one_search_for_studies() {
    let cost_of_page = cost("/fhir?_type=ImagingStudy,Patient,Endpoint&_elements=id&_count=50").await;
    assert_eq!(cost_of_page, counts(1, 0, 0, 0));
    assert_eq!(cost("/fhir?_type=ImagingStudy,Patient,Endpoint&_count=0").await, counts(1, 0, 0, 0));
}
