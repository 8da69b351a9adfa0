//! What a search costs the archive: how many questions of which kind, for every depth.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use dicomweb_gateway::clock::{ManualClock, SharedClock};

use crate::support::gateway::RunningGateway;
use crate::support::pacs::{Pacs, RunningPacs, Study};

const STUDIES: usize = 50;

/// Of each study.
const SERIES: usize = 2;

/// Questions by what they ask for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Asked {
    studies: usize,
    series: usize,
    instances: usize,
    metadata: usize,
}

impl Asked {
    /// Of all that the archive was asked since the first `before` requests.
    fn since(before: usize, pacs: &RunningPacs) -> Self {
        let mut asked = Self::default();
        for target in pacs.targets().split_off(before) {
            let path = target.split('?').next().unwrap_or_default();
            match path.rsplit('/').next() {
                Some("studies") => asked.studies += 1,
                Some("series") => asked.series += 1,
                Some("instances") => asked.instances += 1,
                Some("metadata") => asked.metadata += 1,
                other => panic!("{other:?} was asked for"),
            }
        }
        asked
    }
}

fn asked(studies: usize, series: usize, instances: usize, metadata: usize) -> Asked {
    Asked { studies, series, instances, metadata }
}

/// Fifty studies of ten patients, each of two series with five instances together.
fn fifty() -> Pacs {
    (0..STUDIES).fold(Pacs::new(), |pacs, number| {
        let uid = format!("1.2.{number}");
        let patient = format!("P{}", number % 10);
        pacs.study(
            Study::new(&uid)
                .of(&patient, &format!("Doe^{patient}"))
                .on(&format!("202401{:02}", number % 28 + 1))
                .accession(&format!("A{number}"))
                .series(&format!("{uid}.1"), "CT", 3)
                .series(&format!("{uid}.2"), "SR", 2),
        )
    })
}

/// In front of an archive whose paging can be relied on; nothing that it caches is fresh any more after [`a_while`].
async fn forgetful(pacs: &RunningPacs) -> (RunningGateway, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    let settings = "profile = \"orthanc\"\n[cache]\nfresh_for = \"1m\"";
    (RunningGateway::over_by(Arc::clone(&clock) as SharedClock, &pacs.url(), settings).await, clock)
}

fn a_while(clock: &ManualClock) {
    clock.advance(Duration::from_mins(2));
}

/// What one request costs a gateway that remembers nothing, in front of an archive whose paging can be relied on.
async fn cost(path: &str) -> Asked {
    let pacs = fifty().start().await;
    let gateway = RunningGateway::over(&pacs.url(), "profile = \"orthanc\"").await;
    gateway.json(path).await;
    let asked = Asked::since(0, &pacs);
    // The metrics tell the same.
    assert_eq!(gateway.asked("search"), (asked.studies + asked.series + asked.instances) as u64, "{path}");
    assert_eq!(gateway.asked("metadata"), asked.metadata as u64, "{path}");
    asked
}

#[tokio::test]
async fn to_count_is_one_list_of_studies() {
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
        assert_eq!(cost(&format!("/fhir/ImagingStudy?{query}")).await, asked(1, 0, 0, 0), "{query}");
    }
    // It may be an accession number or a Study ID, and each is a key of its own.
    assert_eq!(cost("/fhir/ImagingStudy?_count=0&identifier=A7").await, asked(2, 0, 0, 0));
    for query in ["_summary=count", "_count=0&gender=male"] {
        assert_eq!(cost(&format!("/fhir/Patient?{query}")).await, asked(1, 0, 0, 0), "{query}");
    }
    assert_eq!(cost("/fhir/Endpoint?_summary=count").await, Asked::default());
}

#[tokio::test]
async fn what_the_studies_rows_tell_is_one_list_of_studies() {
    for query in [
        "_summary=text",
        "_elements=id",
        "_elements=started,description,numberOfInstances,subject,endpoint",
        "_elements=status&_include=ImagingStudy:patient&_include=ImagingStudy:endpoint",
        "_elements=id&_sort=started&_count=7",
    ] {
        assert_eq!(cost(&format!("/fhir/ImagingStudy?{query}")).await, asked(1, 0, 0, 0), "{query}");
    }
    assert_eq!(cost("/fhir/Patient?_count=50").await, asked(1, 0, 0, 0));
    assert_eq!(cost("/fhir/ImagingStudy/1.2.7?_elements=id").await, asked(1, 0, 0, 0));
    assert_eq!(cost("/fhir/Endpoint/main").await, Asked::default());
}

#[tokio::test]
async fn a_page_of_summaries_adds_one_list_of_series_and_never_asks_for_instances() {
    for query in ["_summary=true", "_elements=modality,numberOfSeries"] {
        assert_eq!(cost(&format!("/fhir/ImagingStudy?{query}")).await, asked(1, 1, 0, 0), "{query}");
    }
    assert_eq!(cost("/fhir/ImagingStudy/1.2.7?_summary=true").await, asked(1, 1, 0, 0));
}

#[tokio::test]
async fn a_whole_page_adds_the_metadata_of_each_series_and_nothing_for_each_study() {
    // The metadata of one series are the cheapest that an archive can be asked for instances by, and the most that is held in
    // memory at once.
    let whole = asked(1, 1, 0, STUDIES * SERIES);
    for query in ["_count=50", "_count=50&_summary=data"] {
        assert_eq!(cost(&format!("/fhir/ImagingStudy?{query}")).await, whole, "{query}");
    }
    assert_eq!(cost("/fhir/ImagingStudy?_count=5").await, asked(1, 1, 0, 5 * SERIES));
    assert_eq!(cost("/fhir/ImagingStudy/1.2.7").await, asked(1, 1, 0, SERIES));
}

#[tokio::test]
async fn no_more_is_asked_at_once_than_the_archive_is_said_to_bear() {
    let pacs = fifty().answers_metadata_to(3).start().await;
    let gateway = RunningGateway::over(&pacs.url(), "profile = \"orthanc\"\nmax_concurrency = 3").await;
    gateway.json("/fhir/ImagingStudy?_count=50").await;
    assert_eq!(pacs.most_at_once(), 3);
}

#[tokio::test]
async fn includes_cost_nothing() {
    let includes = "_include=ImagingStudy:patient&_include=ImagingStudy:endpoint";
    for query in ["_count=5", "_summary=true", "patient.identifier=P3&_elements=id"] {
        let without = cost(&format!("/fhir/ImagingStudy?{query}")).await;
        let with = cost(&format!("/fhir/ImagingStudy?{query}&{includes}")).await;
        assert_eq!(with, without, "{query}");
    }
}

#[tokio::test]
async fn reverse_includes_cost_one_list_more_and_what_the_studies_themselves_cost() {
    let pacs = fifty().start().await;
    let gateway = RunningGateway::over(&pacs.url(), "profile = \"orthanc\"").await;
    let bundle = gateway.json("/fhir/Patient?identifier=P3&_revinclude=ImagingStudy:patient").await;
    assert_eq!(bundle["entry"].as_array().unwrap().len(), 1 + STUDIES / 10);
    // The patient's studies were listed to find the patient, and are not listed again.
    assert_eq!(Asked::since(0, &pacs), asked(1, 1, 0, STUDIES / 10 * SERIES));
}

#[tokio::test]
async fn a_series_or_an_instance_is_asked_for_where_it_lies() {
    // Its row, its study's row, and the study's series, which are compared and shown.
    let series = cost("/fhir/ImagingStudy?series=1.2.7.2&_summary=true").await;
    assert_eq!(series, asked(1, 2, 0, 0));
    let instance = cost("/fhir/ImagingStudy?instance=1.2.7.2.1").await;
    assert_eq!(instance, asked(1, 1, 1, SERIES));
    for query in ["series=1.2.99", "instance=1.2.99.1"] {
        let nothing = cost(&format!("/fhir/ImagingStudy?{query}")).await;
        assert_eq!(nothing.studies + nothing.metadata, 0, "{query}");
        assert_eq!(nothing.series + nothing.instances, 1, "{query}");
    }
}

#[tokio::test]
async fn a_search_by_what_only_the_objects_know_opens_what_may_match_and_no_more() {
    let one_patients =
        cost("/fhir/ImagingStudy?patient.identifier=P3&bodysite=http://snomed.info/sct%7C1").await;
    assert_eq!(one_patients, asked(1, 1, 0, STUDIES / 10 * SERIES));
}

#[tokio::test]
async fn a_patient_that_was_met_is_asked_for_by_identifier_and_one_that_was_not_is_looked_for() {
    let pacs = fifty().start().await;
    let (gateway, clock) = forgetful(&pacs).await;
    let bundle = gateway.json("/fhir/Patient?identifier=P3").await;
    let id = bundle["entry"][0]["resource"]["id"].as_str().unwrap().to_owned();
    let before = pacs.requests().len();
    for path in [format!("ImagingStudy?patient={id}&_elements=id"), format!("Patient/{id}")] {
        a_while(&clock);
        gateway.json(&format!("/fhir/{path}")).await;
    }
    let targets = pacs.targets().split_off(before);
    assert_eq!(targets.len(), 2);
    assert!(targets.iter().all(|target| target.contains("PatientID=P3&")), "{targets:?}");
    let (other, _) = forgetful(&pacs).await;
    let before = pacs.requests().len();
    other.json(&format!("/fhir/ImagingStudy?patient={id}&_elements=id")).await;
    assert_eq!(Asked::since(before, &pacs), asked(2, 0, 0, 0));
}

#[tokio::test]
async fn the_next_page_costs_its_own_studies_alone() {
    let pacs = fifty().start().await;
    let gateway = RunningGateway::over(&pacs.url(), "profile = \"orthanc\"").await;
    let first = gateway.json("/fhir/ImagingStudy?_count=5").await;
    let before = pacs.requests().len();
    let next = crate::support::gateway::link(&first, "next").unwrap();
    gateway.json(next.strip_prefix(gateway.address()).unwrap()).await;
    assert_eq!(Asked::since(before, &pacs), asked(0, 1, 0, 5 * SERIES));
    let before = pacs.requests().len();
    gateway.json("/fhir/ImagingStudy?_count=10").await;
    assert_eq!(Asked::since(before, &pacs), Asked::default(), "all of it is remembered, and fresh");
}

#[tokio::test]
async fn what_is_no_longer_fresh_costs_one_list_that_tells_it_is_still_true() {
    let pacs = fifty().start().await;
    let (gateway, clock) = forgetful(&pacs).await;
    let path = "/fhir/ImagingStudy?_count=20";
    let first = gateway.get(path).await;
    a_while(&clock);
    let before = pacs.requests().len();
    assert_eq!(gateway.get(path).await.body, first.body);
    assert_eq!(Asked::since(before, &pacs), asked(1, 0, 0, 0));
}

#[tokio::test]
async fn an_archive_that_may_cut_its_pages_is_asked_once_more() {
    for (query, expected) in [
        ("_count=0", asked(2, 0, 0, 0)),
        ("_summary=true", asked(2, 2, 0, 0)),
        ("_count=50", asked(2, 2, 0, STUDIES * SERIES)),
    ] {
        let pacs = fifty().start().await;
        let gateway = RunningGateway::over(&pacs.url(), "").await;
        gateway.json(&format!("/fhir/ImagingStudy?{query}")).await;
        assert_eq!(Asked::since(0, &pacs), expected, "{query}");
    }
}

#[tokio::test]
async fn an_archive_without_lists_of_uids_is_asked_for_the_series_of_each_study() {
    let pacs = fifty().start().await;
    let gateway = RunningGateway::over(&pacs.url(), "profile = \"dicom-rst\"").await;
    gateway.json("/fhir/ImagingStudy?_summary=true").await;
    // Twice each, as its pages may be cut.
    assert_eq!(Asked::since(0, &pacs), asked(2, 2 * STUDIES, 0, 0));
    let mut whose = String::new();
    for target in pacs.targets() {
        writeln!(whose, "{target}").unwrap();
    }
    assert!((0..STUDIES).all(|number| whose.contains(&format!("/studies/1.2.{number}/series"))), "{whose}");
}

#[tokio::test]
async fn the_compartment_of_a_patient_who_was_just_met_costs_what_lies_below_the_studies_alone() {
    for (path, expected) in [
        ("ImagingStudy?_elements=id", Asked::default()),
        ("ImagingStudy?_summary=true", asked(0, 1, 0, 0)),
        ("ImagingStudy", asked(0, 1, 0, STUDIES / 10 * SERIES)),
        ("$everything", asked(0, 1, 0, STUDIES / 10 * SERIES)),
    ] {
        let pacs = fifty().start().await;
        let gateway = RunningGateway::over(&pacs.url(), "profile = \"orthanc\"").await;
        let bundle = gateway.json("/fhir/Patient?identifier=P3").await;
        let id = bundle["entry"][0]["resource"]["id"].as_str().unwrap();
        let before = pacs.requests().len();
        gateway.json(&format!("/fhir/Patient/{id}/{path}")).await;
        assert_eq!(Asked::since(before, &pacs), expected, "{path}");
    }
}

#[tokio::test]
async fn a_search_of_all_types_lists_the_studies_once() {
    let everything = cost("/fhir?_type=ImagingStudy,Patient,Endpoint&_elements=id&_count=50").await;
    assert_eq!(everything, asked(1, 0, 0, 0));
    assert_eq!(cost("/fhir?_type=ImagingStudy,Patient,Endpoint&_count=0").await, asked(1, 0, 0, 0));
}
