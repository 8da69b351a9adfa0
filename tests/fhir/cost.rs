//! The upstream requests that a search causes, by kind, for every depth.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use dicomweb_gateway::clock::{ManualClock, SharedClock};

use crate::support::gateway::RunningGateway;
use crate::support::pacs::{Pacs, RunningPacs, Study};

const STUDIES: usize = 50;

/// Of each study.
const SERIES: usize = 2;

/// Numbers of upstream requests by the resource that they request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct RequestCounts {
    studies: usize,
    series: usize,
    instances: usize,
    metadata: usize,
}

impl RequestCounts {
    /// The requests that the archive received after the first `before` ones.
    fn since(before: usize, pacs: &RunningPacs) -> Self {
        let mut counts = Self::default();
        for target in pacs.targets().split_off(before) {
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

/// Fifty studies of ten patients, each with two series and five instances in total.
fn fifty() -> Pacs {
    (0..STUDIES).fold(Pacs::new(), |pacs, number| {
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

/// In front of an archive with reliable paging; after [`expire`] no cache entry is fresh.
async fn with_manual_clock(pacs: &RunningPacs) -> (RunningGateway, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    let settings = "profile = \"orthanc\"\n[cache]\nfresh_for = \"1m\"";
    (RunningGateway::start_with_clock(Arc::clone(&clock) as SharedClock, &pacs.url(), settings).await, clock)
}

fn expire(clock: &ManualClock) {
    clock.advance(Duration::from_mins(2));
}

/// The upstream requests for one client request with an empty cache, in front of an archive with reliable paging.
async fn cost(path: &str) -> RequestCounts {
    let pacs = fifty().start().await;
    let gateway = RunningGateway::start(&pacs.url(), "profile = \"orthanc\"").await;
    gateway.get_json(path).await;
    let counts = RequestCounts::since(0, &pacs);
    // The metrics report the same numbers.
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
    // The value may be an Accession Number or a Study ID, which are different keys.
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
async fn a_page_of_whole_studies_adds_one_metadata_request_per_series() {
    // The metadata of one series is the cheapest source of instances, and bounds what is in memory at the same time.
    let whole = counts(1, 1, 0, STUDIES * SERIES);
    for query in ["_count=50", "_count=50&_summary=data"] {
        assert_eq!(cost(&format!("/fhir/ImagingStudy?{query}")).await, whole, "{query}");
    }
    assert_eq!(cost("/fhir/ImagingStudy?_count=5").await, counts(1, 1, 0, 5 * SERIES));
    assert_eq!(cost("/fhir/ImagingStudy/1.2.7").await, counts(1, 1, 0, SERIES));
}

#[tokio::test]
async fn concurrent_metadata_requests_reach_but_do_not_exceed_max_concurrency() {
    let pacs = fifty().with_metadata_barrier(3).start().await;
    let gateway = RunningGateway::start(&pacs.url(), "profile = \"orthanc\"\nmax_concurrency = 3").await;
    gateway.get_json("/fhir/ImagingStudy?_count=50").await;
    assert_eq!(pacs.max_concurrent_requests(), 3);
}

#[tokio::test]
async fn includes_cause_no_upstream_requests() {
    let includes = "_include=ImagingStudy:patient&_include=ImagingStudy:endpoint";
    for query in ["_count=5", "_summary=true", "patient.identifier=P3&_elements=id"] {
        let without = cost(&format!("/fhir/ImagingStudy?{query}")).await;
        let with = cost(&format!("/fhir/ImagingStudy?{query}&{includes}")).await;
        assert_eq!(with, without, "{query}");
    }
}

#[tokio::test]
async fn reverse_includes_cost_as_much_as_reading_the_studies() {
    let pacs = fifty().start().await;
    let gateway = RunningGateway::start(&pacs.url(), "profile = \"orthanc\"").await;
    let bundle = gateway.get_json("/fhir/Patient?identifier=P3&_revinclude=ImagingStudy:patient").await;
    assert_eq!(bundle["entry"].as_array().unwrap().len(), 1 + STUDIES / 10);
    // The search for the patient has already listed the studies of the patient.
    assert_eq!(RequestCounts::since(0, &pacs), counts(1, 1, 0, STUDIES / 10 * SERIES));
}

#[tokio::test]
async fn searches_by_series_or_instance_uid_query_that_level_first() {
    // The row of the series, the row of its study, and the series of the study, which are compared and returned.
    let series = cost("/fhir/ImagingStudy?series=1.2.7.2&_summary=true").await;
    assert_eq!(series, counts(1, 2, 0, 0));
    let instance = cost("/fhir/ImagingStudy?instance=1.2.7.2.1").await;
    assert_eq!(instance, counts(1, 1, 1, SERIES));
    for query in ["series=1.2.99", "instance=1.2.99.1"] {
        let nothing = cost(&format!("/fhir/ImagingStudy?{query}")).await;
        assert_eq!(nothing.studies + nothing.metadata, 0, "{query}");
        assert_eq!(nothing.series + nothing.instances, 1, "{query}");
    }
}

#[tokio::test]
async fn searches_by_instance_attributes_read_only_candidate_studies() {
    let one_patients =
        cost("/fhir/ImagingStudy?patient.identifier=P3&bodysite=http://snomed.info/sct%7C1").await;
    assert_eq!(one_patients, counts(1, 1, 0, STUDIES / 10 * SERIES));
}

#[tokio::test]
async fn known_patients_are_queried_by_patient_id_and_unknown_ones_cost_a_scan() {
    let pacs = fifty().start().await;
    let (gateway, clock) = with_manual_clock(&pacs).await;
    let bundle = gateway.get_json("/fhir/Patient?identifier=P3").await;
    let id = bundle["entry"][0]["resource"]["id"].as_str().unwrap().to_owned();
    let before = pacs.requests().len();
    for path in [format!("ImagingStudy?patient={id}&_elements=id"), format!("Patient/{id}")] {
        expire(&clock);
        gateway.get_json(&format!("/fhir/{path}")).await;
    }
    let targets = pacs.targets().split_off(before);
    assert_eq!(targets.len(), 2);
    assert!(targets.iter().all(|target| target.contains("PatientID=P3&")), "{targets:?}");
    let (other, _) = with_manual_clock(&pacs).await;
    let before = pacs.requests().len();
    other.get_json(&format!("/fhir/ImagingStudy?patient={id}&_elements=id")).await;
    assert_eq!(RequestCounts::since(before, &pacs), counts(2, 0, 0, 0));
}

#[tokio::test]
async fn the_next_page_costs_only_its_own_studies() {
    let pacs = fifty().start().await;
    let gateway = RunningGateway::start(&pacs.url(), "profile = \"orthanc\"").await;
    let first = gateway.get_json("/fhir/ImagingStudy?_count=5").await;
    let before = pacs.requests().len();
    let next = crate::support::gateway::link_url(&first, "next").unwrap();
    gateway.get_json(next.strip_prefix(gateway.base_url()).unwrap()).await;
    assert_eq!(RequestCounts::since(before, &pacs), counts(0, 1, 0, 5 * SERIES));
    let before = pacs.requests().len();
    gateway.get_json("/fhir/ImagingStudy?_count=10").await;
    assert_eq!(
        RequestCounts::since(before, &pacs),
        RequestCounts::default(),
        "all of it is cached and fresh"
    );
}

#[tokio::test]
async fn stale_studies_are_revalidated_by_one_search_for_studies() {
    let pacs = fifty().start().await;
    let (gateway, clock) = with_manual_clock(&pacs).await;
    let path = "/fhir/ImagingStudy?_count=20";
    let first = gateway.get(path).await;
    expire(&clock);
    let before = pacs.requests().len();
    assert_eq!(gateway.get(path).await.body, first.body);
    assert_eq!(RequestCounts::since(before, &pacs), counts(1, 0, 0, 0));
}

#[tokio::test]
async fn archives_that_may_truncate_pages_get_one_more_request_per_list() {
    for (query, expected) in [
        ("_count=0", counts(2, 0, 0, 0)),
        ("_summary=true", counts(2, 2, 0, 0)),
        ("_count=50", counts(2, 2, 0, STUDIES * SERIES)),
    ] {
        let pacs = fifty().start().await;
        let gateway = RunningGateway::start(&pacs.url(), "").await;
        gateway.get_json(&format!("/fhir/ImagingStudy?{query}")).await;
        assert_eq!(RequestCounts::since(0, &pacs), expected, "{query}");
    }
}

#[tokio::test]
async fn archives_without_uid_lists_get_one_series_search_per_study() {
    let pacs = fifty().start().await;
    let gateway = RunningGateway::start(&pacs.url(), "profile = \"dicom-rst\"").await;
    gateway.get_json("/fhir/ImagingStudy?_summary=true").await;
    // Two requests for each list, because its pages may be truncated.
    assert_eq!(RequestCounts::since(0, &pacs), counts(2, 2 * STUDIES, 0, 0));
    let mut all = String::new();
    for target in pacs.targets() {
        writeln!(all, "{target}").unwrap();
    }
    assert!((0..STUDIES).all(|number| all.contains(&format!("/studies/1.2.{number}/series"))), "{all}");
}

#[tokio::test]
async fn the_compartment_of_a_known_patient_costs_only_series_and_metadata() {
    for (path, expected) in [
        ("ImagingStudy?_elements=id", RequestCounts::default()),
        ("ImagingStudy?_summary=true", counts(0, 1, 0, 0)),
        ("ImagingStudy", counts(0, 1, 0, STUDIES / 10 * SERIES)),
        ("$everything", counts(0, 1, 0, STUDIES / 10 * SERIES)),
    ] {
        let pacs = fifty().start().await;
        let gateway = RunningGateway::start(&pacs.url(), "profile = \"orthanc\"").await;
        let bundle = gateway.get_json("/fhir/Patient?identifier=P3").await;
        let id = bundle["entry"][0]["resource"]["id"].as_str().unwrap();
        let before = pacs.requests().len();
        gateway.get_json(&format!("/fhir/Patient/{id}/{path}")).await;
        assert_eq!(RequestCounts::since(before, &pacs), expected, "{path}");
    }
}

#[tokio::test]
async fn a_search_across_all_types_costs_one_search_for_studies() {
    let everything = cost("/fhir?_type=ImagingStudy,Patient,Endpoint&_elements=id&_count=50").await;
    assert_eq!(everything, counts(1, 0, 0, 0));
    assert_eq!(cost("/fhir?_type=ImagingStudy,Patient,Endpoint&_count=0").await, counts(1, 0, 0, 0));
}
