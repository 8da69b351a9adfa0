//! Changes that the row of a study does not show, such as a replaced instance: they are seen within `cache.deep_check`.

use std::sync::Arc;
use std::time::Duration;

use dicomweb_gateway::clock::{ManualClock, SharedClock};
use serde_json::Value;

use crate::support::client::ReceivedResponse;
use crate::support::gateway::{RunningGateway, resources_with_mode};
use crate::support::pacs::{Pacs, RunningPacs, Study};

const STUDY_PATH: &str = "/fhir/ImagingStudy/1.2.1";

/// Returns a study whose row does not depend on `instance_number`.
fn study(number: usize, instance_number: usize) -> Study {
    let uid = format!("1.2.{number}");
    Study::new(&uid).patient(&format!("P{number}"), "Doe^Jane").series_with_instances(
        &format!("{uid}.1"),
        "CT",
        [instance_number],
    )
}

async fn start(pacs: &RunningPacs, config: &str) -> (RunningGateway, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    let gateway =
        RunningGateway::start_with_clock(Arc::clone(&clock) as SharedClock, &pacs.url(), config).await;
    (gateway, clock)
}

fn instance_uid(study: &Value) -> String {
    study["series"][0]["instance"][0]["uid"].as_str().unwrap_or_else(|| panic!("{study}")).to_owned()
}

/// Returns the SOP Instance UID that a search returns for study 1.2.1.
async fn search_instance_uid(gateway: &RunningGateway) -> String {
    let bundle = gateway.get_json("/fhir/ImagingStudy?_id=1.2.1").await;
    instance_uid(&resources_with_mode(&bundle, "match")[0])
}

#[tokio::test]
async fn a_replaced_instance_is_seen_after_the_deep_check_lifetime_by_reads_and_searches() {
    for is_search in [false, true] {
        let pacs = Pacs::new().with_study(study(1, 1)).start().await;
        let (gateway, clock) = start(&pacs, "[cache]\ndeep_check = \"4m\"").await;
        let read = async || {
            if is_search {
                search_instance_uid(&gateway).await
            } else {
                instance_uid(&gateway.get_json(STUDY_PATH).await)
            }
        };
        assert_eq!(read().await, "1.2.1.1.1");
        pacs.set_studies([study(1, 2)]);
        clock.advance(Duration::from_mins(1));
        assert_eq!(
            read().await,
            "1.2.1.1.1",
            "the study was read again within the lifetime although its row is unchanged"
        );
        clock.advance(Duration::from_mins(3));
        assert_eq!(read().await, "1.2.1.1.2", "search: {is_search}");
    }
}

#[tokio::test]
async fn a_study_from_before_the_last_week_has_the_lifetime_of_old_studies() {
    let old_study = |instance_number| study(1, instance_number).study_date("19691201");
    let pacs = Pacs::new().with_study(old_study(1)).start().await;
    let (gateway, clock) = start(&pacs, "[cache]\ndeep_check = \"1m\"\ndeep_check_old = \"10m\"").await;
    assert_eq!(instance_uid(&gateway.get_json(STUDY_PATH).await), "1.2.1.1.1");
    pacs.set_studies([old_study(2)]);
    clock.advance(Duration::from_mins(2));
    assert_eq!(instance_uid(&gateway.get_json(STUDY_PATH).await), "1.2.1.1.1");
    clock.advance(Duration::from_mins(8));
    assert_eq!(instance_uid(&gateway.get_json(STUDY_PATH).await), "1.2.1.1.2");
}

#[tokio::test]
async fn a_study_in_use_is_read_again_in_the_background_before_its_lifetime_ends() {
    let pacs = Pacs::new().with_study(study(1, 1)).start().await;
    let (gateway, clock) = start(&pacs, "[cache]\ndeep_check = \"10m\"").await;
    gateway.get_json(STUDY_PATH).await;
    pacs.set_studies([study(1, 2)]);
    clock.advance(Duration::from_secs(590));
    let count_before = pacs.targets().len();
    assert_eq!(instance_uid(&gateway.get_json(STUDY_PATH).await), "1.2.1.1.1");
    // The study row for the client; then the rows of the study and of its series, and the metadata, in the background.
    pacs.wait_for_requests(count_before + 4).await;
    pacs.wait_until_idle().await;
    wait_for_instance(&gateway, "1.2.1.1.2").await;
}

#[tokio::test]
async fn studies_that_are_not_used_cause_no_requests() {
    let pacs = Pacs::new().with_study(study(1, 1)).with_study(study(2, 1)).start().await;
    let (gateway, clock) = start(&pacs, "[cache]\ndeep_check = \"10m\"").await;
    gateway.get_json("/fhir/ImagingStudy").await;
    clock.advance(Duration::from_secs(590));
    gateway.get_json(STUDY_PATH).await;
    pacs.wait_until_idle().await;
    clock.advance(Duration::from_hours(2));
    gateway.get_json(STUDY_PATH).await;
    pacs.wait_until_idle().await;
    let read_count = |uid: &str| {
        let path = format!("/dicom-web/studies/{uid}/series/{uid}.1/metadata");
        pacs.targets().iter().filter(|target| **target == path).count()
    };
    assert_eq!(read_count("1.2.2"), 1);
    assert!(read_count("1.2.1") > 1);
}

#[tokio::test]
async fn last_updated_searches_return_studies_whose_replaced_instances_the_deep_check_finds() {
    let pacs = Pacs::new().with_study(study(1, 1)).with_study(study(2, 1)).start().await;
    let (gateway, clock) = start(&pacs, "[cache]\ndeep_check = \"4m\"").await;
    clock.advance(Duration::from_secs(1));
    let first_search = gateway.get_json("/fhir/ImagingStudy?_lastUpdated=ge1970-01-01T00:00:00Z").await;
    assert_eq!(first_search["total"], 2);
    let instant = first_search["meta"]["lastUpdated"].as_str().unwrap().to_owned();
    pacs.set_studies([study(1, 2), study(2, 1)]);
    clock.advance(Duration::from_mins(4));
    let path = format!("/fhir/ImagingStudy?_lastUpdated=gt{instant}");
    let changed = resources_with_mode(&gateway.get_json(&path).await, "match");
    assert_eq!(changed.len(), 1);
    assert_eq!(instance_uid(&changed[0]), "1.2.1.1.2");
}

#[tokio::test]
async fn a_version_never_has_two_contents() {
    let elements_path = format!("{STUDY_PATH}?_elements=series");
    let pacs = Pacs::new().with_study(study(1, 1)).start().await;
    let (gateway, clock) = start(&pacs, "[cache]\ndeep_check = \"4m\"").await;
    for (path_that_is_read_first, other_path) in
        [(STUDY_PATH, elements_path.as_str()), (elements_path.as_str(), STUDY_PATH)]
    {
        pacs.set_studies([study(1, 1)]);
        clock.advance(Duration::from_mins(10));
        let old = gateway.get(other_path).await;
        clock.advance(Duration::from_mins(2));
        pacs.set_studies([study(1, 2)]);
        let no_cache = [("Cache-Control", "no-cache")];
        let new = gateway.get_with_headers(path_that_is_read_first, &no_cache).await;
        assert_eq!(instance_uid(&new.json()), "1.2.1.1.2");
        assert_ne!(new.header("etag"), old.header("etag"), "{path_that_is_read_first}");
        clock.advance(Duration::from_mins(1));
        let other = gateway.get(other_path).await;
        assert_eq!(instance_uid(&other.json()), "1.2.1.1.2", "{other_path} has the version of other content");
        assert_eq!(new.header("etag"), other.header("etag"));
    }
}

#[tokio::test]
async fn a_change_of_a_series_that_a_summary_detects_is_a_new_version() {
    let with_modality = |modality| {
        Study::new("1.2.1")
            .attribute("00080061", serde_json::json!({"vr": "CS", "Value": ["CT", "MR"]}))
            .series("1.2.1.1", modality, 1)
    };
    let pacs = Pacs::new().with_study(with_modality("CT")).start().await;
    let (gateway, clock) = start(&pacs, "[cache]\ndeep_check = \"4m\"").await;
    let path = format!("{STUDY_PATH}?_summary=true");
    let old = gateway.get(&path).await;
    pacs.set_studies([with_modality("MR")]);
    clock.advance(Duration::from_mins(4));
    let new = gateway.get(&path).await;
    assert_eq!(new.json()["series"][0]["modality"]["code"], "MR");
    assert_ne!(new.header("etag"), old.header("etag"));
    let last_updated = |received: &ReceivedResponse| received.json()["meta"]["lastUpdated"].to_string();
    assert!(last_updated(&new) > last_updated(&old));
}

/// Starts an archive and a gateway that has study 1.2.1 in its cache, whose instance is then replaced. The cached study is no longer
/// fresh, but its content is confirmed by its unchanged row.
async fn start_with_replaced_instance() -> (RunningPacs, RunningGateway, Arc<ManualClock>) {
    let pacs = Pacs::new().with_study(study(1, 1)).start().await;
    let (gateway, clock) = start(&pacs, "profile = \"orthanc\"").await;
    gateway.get_json(STUDY_PATH).await;
    pacs.set_studies([study(1, 2)]);
    clock.advance(Duration::from_mins(1));
    assert_eq!(instance_uid(&gateway.get_json(STUDY_PATH).await), "1.2.1.1.1");
    (pacs, gateway, clock)
}

#[tokio::test]
async fn a_search_by_an_instance_that_the_cached_study_does_not_list_reads_the_study_again() {
    let (_pacs, gateway, _clock) = start_with_replaced_instance().await;
    let bundle = gateway.get_json("/fhir/ImagingStudy?instance=1.2.1.1.2").await;
    assert_eq!(bundle["total"], 1);
    assert_eq!(instance_uid(&resources_with_mode(&bundle, "match")[0]), "1.2.1.1.2");
    assert_eq!(instance_uid(&gateway.get_json(STUDY_PATH).await), "1.2.1.1.2");
}

#[tokio::test]
async fn a_search_by_an_instance_that_no_study_contains_does_not_read_fresh_content_again() {
    let pacs = Pacs::new().with_study(study(1, 1)).ignore_matching_keys().start().await;
    let (gateway, clock) = start(&pacs, "").await;
    let metadata_count = || pacs.targets().iter().filter(|target| target.contains("/metadata")).count();
    gateway.get_json(STUDY_PATH).await;
    assert_eq!(gateway.get_json("/fhir/ImagingStudy?instance=1.2.9").await["total"], 0);
    assert_eq!(metadata_count(), 1);
    clock.advance(Duration::from_mins(1));
    for _ in 0..3 {
        assert_eq!(gateway.get_json("/fhir/ImagingStudy?_id=1.2.1&instance=1.2.9").await["total"], 0);
    }
    assert_eq!(metadata_count(), 2);
}

#[tokio::test]
async fn a_study_is_read_again_if_a_listed_instance_cannot_be_retrieved() {
    let (_pacs, gateway, _clock) = start_with_replaced_instance().await;
    let path = |instance: &str| format!("/dicom-web/main/studies/1.2.1/series/1.2.1.1/instances/{instance}");
    assert_eq!(gateway.get(&path("1.2.1.1.77")).await.status, 404);
    assert_eq!(
        instance_uid(&gateway.get_json(STUDY_PATH).await),
        "1.2.1.1.1",
        "the study was read again after the retrieval of an instance that it does not list"
    );
    assert_eq!(gateway.get(&path("1.2.1.1.1")).await.status, 404);
    assert_eq!(instance_uid(&gateway.get_json(STUDY_PATH).await), "1.2.1.1.2");
}

/// Reads study 1.2.1 until its instance is `uid`. The clock does not advance, so only a read in the background can change it.
async fn wait_for_instance(gateway: &RunningGateway, uid: &str) {
    let change = async {
        while instance_uid(&gateway.get_json(STUDY_PATH).await) != uid {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let result = tokio::time::timeout(Duration::from_mins(5), change).await;
    assert!(result.is_ok(), "the study was not read again in the background");
}
