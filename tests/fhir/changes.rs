//! Searches by `_lastUpdated`: a client that synchronizes incrementally receives every change.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::Value;

use crate::support::gateway::{RunningGateway, resources_with_mode};
use crate::support::pacs::{CannedResponse, Pacs, RunningPacs, Study};

/// The header that bypasses the cache.
const NO_CACHE: (&str, &str) = ("Cache-Control", "no-cache");

fn study(number: usize, instance_count: usize) -> Study {
    let uid = format!("1.2.{number}");
    Study::new(&uid).patient(&format!("P{number}"), "Doe^Jane").series(
        &format!("{uid}.1"),
        "CT",
        instance_count,
    )
}

async fn three_studies() -> RunningPacs {
    (1..=3).fold(Pacs::new(), |pacs, number| pacs.with_study(study(number, number))).start().await
}

fn last_updated(resource: &Value) -> String {
    resource["meta"]["lastUpdated"].as_str().unwrap().to_owned()
}

fn ids(bundle: &Value) -> Vec<String> {
    resources_with_mode(bundle, "match")
        .iter()
        .map(|study| study["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn last_updated_searches_find_changes_although_the_cache_is_fresh() {
    let pacs = three_studies().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    let first_search = gateway.get_json("/fhir/ImagingStudy?_lastUpdated=gt1970-01-01T00:00:00Z").await;
    assert_eq!((ids(&first_search).len(), first_search["total"].clone()), (3, 3.into()));
    for study in resources_with_mode(&first_search, "match") {
        assert_eq!(
            last_updated(&study),
            last_updated(&first_search),
            "the next search would return the study again"
        );
    }
    let changes_since = |instant: &str| format!("/fhir/ImagingStudy?_lastUpdated=gt{instant}");
    let second_search = gateway.get_json(&changes_since(&last_updated(&first_search))).await;
    assert_eq!(ids(&second_search), Vec::<String>::new());
    pacs.set_studies([study(1, 1), study(2, 9), study(3, 3)]);
    let third_search = gateway.get_json(&changes_since(&last_updated(&second_search))).await;
    assert_eq!(ids(&third_search), ["1.2.2"]);
    assert_eq!(resources_with_mode(&third_search, "match")[0]["numberOfInstances"], 9);
    let unchanged = format!("/fhir/ImagingStudy?_lastUpdated=le{}", last_updated(&second_search));
    assert_eq!(gateway.get_json(&unchanged).await["total"], 2);
    assert_eq!(gateway.get_json("/fhir/ImagingStudy?_lastUpdated:missing=false").await["total"], 3);
    assert_eq!(gateway.get_json("/fhir/ImagingStudy?_lastUpdated:missing=true").await["total"], 0);
    let patients_with_changes =
        format!("/fhir/Patient?_has:ImagingStudy:patient:_lastUpdated=gt{}", last_updated(&second_search));
    assert_eq!(gateway.get_json(&patients_with_changes).await["total"], 1);
}

/// Searches for changes after `instant` with additional `parameters`. Returns the ids of the studies, and the instant for the next
/// search.
async fn search_changes(gateway: &RunningGateway, instant: &str, parameters: &str) -> (Vec<String>, String) {
    let path = format!("/fhir/ImagingStudy?_lastUpdated=gt{instant}{parameters}");
    let (changed, first_page) = gateway.search(&path).await;
    (
        changed.iter().map(|study| study["id"].as_str().unwrap().to_owned()).collect(),
        last_updated(&first_page),
    )
}

#[tokio::test]
async fn a_change_that_no_other_request_has_seen_is_returned_by_one_last_updated_search_only() {
    for parameters in [
        "",
        "&_count=1",
        "&_summary=true&_count=2",
        "&modality=CT",
        "&_sort=-_lastUpdated",
        "&_count=1&_elements=id",
    ] {
        let pacs = three_studies().await;
        let gateway = RunningGateway::start(&pacs.url(), "").await;
        let (first_ids, instant) = search_changes(&gateway, "1970-01-01", parameters).await;
        assert_eq!(first_ids.len(), 3, "{parameters}");
        assert_eq!(search_changes(&gateway, &instant, parameters).await.0, [""; 0], "{parameters}");
        // Study 2 is changed, study 4 is new, and study 3 is deleted.
        pacs.set_studies([study(1, 1), study(2, 9), study(4, 1)]);
        let (mut changed, instant) = search_changes(&gateway, &instant, parameters).await;
        changed.sort();
        assert_eq!(changed, ["1.2.2", "1.2.4"], "{parameters}");
        assert_eq!(search_changes(&gateway, &instant, parameters).await.0, [""; 0], "{parameters}");
        // Study 3 is restored.
        pacs.set_studies([study(1, 1), study(2, 9), study(3, 3)]);
        let (restored, instant) = search_changes(&gateway, &instant, parameters).await;
        assert_eq!(restored, ["1.2.3"], "{parameters}");
        assert_eq!(search_changes(&gateway, &instant, parameters).await.0, [""; 0], "{parameters}");
    }
}

#[tokio::test]
async fn the_first_last_updated_search_changes_the_time_only_of_studies_that_it_excludes_as_too_old() {
    let pacs = three_studies().await;
    for (prefix, has_milliseconds, is_changed) in [
        ("", false, false),
        ("ge", false, false),
        ("ge", true, false),
        ("lt", true, false),
        ("gt", true, true),
    ] {
        let gateway = RunningGateway::start(&pacs.url(), "").await;
        let before = gateway.get_json("/fhir/ImagingStudy/1.2.1").await;
        let instant = last_updated(&before);
        let value = if has_milliseconds {
            format!("{prefix}{instant}")
        } else {
            format!("{prefix}{}Z", &instant[..16])
        };
        gateway.get_json(&format!("/fhir/ImagingStudy?_lastUpdated={value}")).await;
        let after = gateway.get_json("/fhir/ImagingStudy/1.2.1").await;
        assert_eq!(after["meta"]["versionId"], before["meta"]["versionId"], "{value}");
        assert_eq!(last_updated(&after) != last_updated(&before), is_changed, "{value}");
    }
}

#[tokio::test]
async fn studies_that_a_last_updated_search_cannot_read_are_returned_by_a_later_search() {
    let instance = serde_json::json!([{
        "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]},
        "00080018": {"vr": "UI", "Value": ["1.2.1.1.1"]},
        "0020000D": {"vr": "UI", "Value": ["1.2.1"]},
        "0020000E": {"vr": "UI", "Value": ["1.2.1.1"]},
    }]);
    for parameters in ["", "&_count=1", "&instance:not=1.2.9", "&_sort=_id"] {
        let malformed = || CannedResponse::json("[{");
        let metadata = [malformed(), malformed(), malformed(), CannedResponse::json(instance.to_string())];
        let pacs = Pacs::new().with_study(study(1, 1)).with_study(study(2, 2));
        let pacs = pacs
            .with_responses("/studies/1.2.1/series/1.2.1.1/metadata", metadata)
            .with_response("/studies/1.2.1/series/1.2.1.1/instances", malformed());
        let pacs = pacs.start().await;
        let gateway = RunningGateway::start(&pacs.url(), "profile = \"orthanc\"").await;
        let (mut instant, mut search_count) = ("1970-01-01".to_owned(), 0);
        loop {
            let path = format!("/fhir/ImagingStudy?_lastUpdated=gt{instant}{parameters}");
            let (matches, page) = gateway.search(&path).await;
            (instant, search_count) = (last_updated(&page), search_count + 1);
            let is_complete = |study: &Value| study["id"] == "1.2.1" && study["meta"].get("tag").is_none();
            if matches.iter().any(is_complete) {
                break;
            }
            assert!(search_count < 9, "{parameters}: {page}");
        }
        assert!(search_count > 1, "{parameters}: the first search read the study");
        assert_eq!(search_changes(&gateway, &instant, parameters).await.0, [""; 0], "{parameters}");
    }
}

#[tokio::test]
async fn concurrent_last_updated_searches_both_return_a_change() {
    let delay = std::time::Duration::from_millis(50);
    let pacs = Pacs::new().with_study(study(1, 1)).with_delay(delay).start().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    let (mut first_instant, mut second_instant) = ("1970-01-01".to_owned(), "1970-01-01".to_owned());
    for instance_count in 2..6 {
        pacs.set_studies([study(1, instance_count)]);
        let (first, second) = tokio::join!(
            search_changes(&gateway, &first_instant, ""),
            search_changes(&gateway, &second_instant, "")
        );
        pacs.set_studies([study(1, instance_count + 10)]);
        (first_instant, second_instant) = (first.1, second.1);
        let (first, second) = tokio::join!(
            search_changes(&gateway, &first_instant, ""),
            search_changes(&gateway, &second_instant, "")
        );
        assert_eq!((first.0, second.0), (vec!["1.2.1".to_owned()], vec!["1.2.1".to_owned()]));
        (first_instant, second_instant) = (first.1, second.1);
    }
}

#[tokio::test]
async fn last_updated_searches_do_not_share_requests_in_flight() {
    let delay = std::time::Duration::from_millis(200);
    let pacs = Pacs::new().with_study(study(1, 1)).with_delay(delay).start().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    let unrestricted_search = gateway.get_with_headers("/fhir/ImagingStudy", &[NO_CACHE]);
    let last_updated_search = async {
        pacs.wait_for_requests(1).await;
        gateway.get_json("/fhir/ImagingStudy?_lastUpdated=gt1970").await
    };
    let (_, changed) = tokio::join!(unrestricted_search, last_updated_search);
    assert_eq!(ids(&changed), ["1.2.1"]);
    let targets = pacs.targets();
    let equal_request_count = targets.iter().filter(|target| **target == targets[0]).count();
    assert_eq!(
        equal_request_count, 2,
        "the search used a response in flight, which may be older than meta.lastUpdated: {targets:?}"
    );
}

#[tokio::test]
async fn studies_are_sorted_by_last_updated() {
    let pacs = three_studies().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    for number in [2, 3, 1] {
        assert_eq!(gateway.get(&format!("/fhir/ImagingStudy/1.2.{number}")).await.status, 200);
    }
    assert_eq!(
        gateway.search_ids("/fhir/ImagingStudy?_sort=_lastUpdated&_count=2").await,
        ["1.2.2", "1.2.3", "1.2.1"]
    );
    assert_eq!(
        gateway.search_ids("/fhir/ImagingStudy?_sort=-_lastUpdated&_count=1").await,
        ["1.2.1", "1.2.3", "1.2.2"]
    );
}

#[tokio::test]
async fn only_the_first_page_of_a_last_updated_search_has_meta_last_updated() {
    let pacs = three_studies().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    assert_eq!(gateway.get_json("/fhir/ImagingStudy").await.get("meta"), None);
    let first = gateway.get_json("/fhir/ImagingStudy?_lastUpdated=gt1970&_count=2").await;
    assert!(first["meta"]["lastUpdated"].is_string());
    let next = crate::support::gateway::link_url(&first, "next").unwrap();
    assert_eq!(gateway.get_json(next.strip_prefix(gateway.base_url()).unwrap()).await.get("meta"), None);
}

#[tokio::test]
async fn last_updated_searches_return_more_studies_than_max_scan_in_pages() {
    let pacs = three_studies().await;
    let gateway = RunningGateway::start(&pacs.url(), "[search]\nmax_scan = 2\n").await;
    let path = "/fhir/ImagingStudy?_lastUpdated=gt1970&_count=2";
    assert_eq!(gateway.search_ids(path).await, ["1.2.1", "1.2.2", "1.2.3"]);
}

#[tokio::test]
async fn last_updated_matches_studies_and_endpoints_but_no_patients() {
    let gateway = RunningGateway::start_with_samples().await;
    let bundle = gateway.get_json("/fhir/Patient?_lastUpdated=gt1970").await;
    assert_eq!(bundle["total"], 0);
    assert!(resources_with_mode(&bundle, "outcome")[0].to_string().contains("_lastUpdated"), "{bundle}");
    assert_eq!(gateway.get_json("/fhir/Endpoint?_lastUpdated=gt1970").await["total"], 1);
    assert_eq!(
        gateway.get_json("/fhir/ImagingStudy?endpoint._lastUpdated=lt1970&_count=1").await["total"],
        0
    );
    assert_eq!(
        gateway.get_json("/fhir/ImagingStudy?endpoint._lastUpdated=gt1970&_count=1").await["total"],
        30
    );
}

/// The number of studies in the tests of synchronization.
const STUDY_COUNT: usize = 5;

/// An event between two synchronizations of the client.
#[derive(Debug, Clone)]
enum Event {
    /// The number of instances of the study changes; 0 if the study is deleted.
    Change { number: usize, instance_count: usize },
    /// Another client requests the study, which may be deleted.
    Read(usize),
    /// Another client lists all studies.
    List,
    /// The client synchronizes.
    Synchronize,
    /// The gateway is restarted.
    Restart,
    /// The gateway is restarted, and its store is lost.
    LoseStore,
}

fn change(number: usize, instance_count: usize) -> Event {
    Event::Change { number, instance_count }
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..STUDY_COUNT, 0..4_usize).prop_map(|(number, instance_count)| change(number, instance_count)),
        3 => (0..STUDY_COUNT).prop_map(Event::Read),
        1 => Just(Event::List),
        4 => Just(Event::Synchronize),
        1 => Just(Event::Restart),
        1 => Just(Event::LoseStore),
    ]
}

/// A client that keeps a copy of the studies.
struct SynchronizingClient {
    /// The instant for the next search.
    instant: String,
    /// The number of instances of each study by its id.
    instance_counts: BTreeMap<String, u64>,
}

impl SynchronizingClient {
    async fn synchronize(&mut self, gateway: &RunningGateway) {
        let path = format!("/fhir/ImagingStudy?_lastUpdated=gt{}&_summary=true&_count=2", self.instant);
        let (changed, first_page) = gateway.search(&path).await;
        for study in changed {
            let count = study["numberOfInstances"].as_u64().unwrap();
            self.instance_counts.insert(study["id"].as_str().unwrap().to_owned(), count);
        }
        self.instant = last_updated(&first_page);
    }
}

#[tokio::test]
async fn a_deleted_study_that_is_restored_is_returned_even_if_its_rows_are_unchanged() {
    use Event::{List, LoseStore, Read, Restart, Synchronize};
    for events in [
        vec![change(2, 2), Synchronize, change(2, 3), Read(2), change(2, 0), Synchronize, change(2, 3)],
        vec![
            change(2, 2),
            Synchronize,
            change(2, 3),
            Read(2),
            change(2, 0),
            Synchronize,
            Restart,
            change(2, 3),
        ],
        vec![
            change(2, 2),
            Synchronize,
            change(2, 3),
            Read(2),
            change(2, 0),
            Restart,
            Synchronize,
            change(2, 3),
        ],
        vec![
            change(1, 1),
            change(2, 3),
            List,
            change(2, 2),
            Synchronize,
            change(2, 0),
            Synchronize,
            change(2, 2),
            Read(2),
            LoseStore,
        ],
        vec![
            change(2, 1),
            Synchronize,
            change(2, 2),
            List,
            Read(2),
            change(2, 0),
            Synchronize,
            Synchronize,
            change(2, 2),
            List,
        ],
        vec![
            change(3, 3),
            Synchronize,
            change(3, 2),
            LoseStore,
            List,
            Restart,
            change(3, 0),
            Synchronize,
            change(3, 2),
            Restart,
        ],
    ] {
        assert_synchronizes(&events).await;
    }
}

#[tokio::test]
async fn incremental_synchronization_results_in_the_content_of_the_archive() {
    // The events of the first two runs are always the same; those of the others are random.
    for (mut runner, runs) in [(TestRunner::deterministic(), 2), (TestRunner::default(), 4)] {
        for _ in 0..runs {
            assert_synchronizes(
                &prop::collection::vec(any_event(), 40).new_tree(&mut runner).unwrap().current(),
            )
            .await;
        }
    }
}

/// Asserts that the client knows the studies of the archive when it has synchronized after `events`.
async fn assert_synchronizes(events: &[Event]) {
    let state = tempfile::tempdir().unwrap();
    let config = format!("[store]\nurl = \"sqlite:{}/gateway.db\"\n", state.path().display());
    let pacs = Pacs::new().start().await;
    let mut instance_counts = [0; STUDY_COUNT];
    let mut gateway = RunningGateway::start(&pacs.url(), &config).await;
    let mut client =
        SynchronizingClient { instant: "1970-01-01T00:00:00Z".to_owned(), instance_counts: BTreeMap::new() };
    for event in events {
        match *event {
            Event::Change { number, instance_count } => {
                instance_counts[number] = instance_count;
                let existing = instance_counts.iter().enumerate().filter(|(_, count)| **count > 0);
                pacs.set_studies(existing.map(|(number, count)| study(number, *count)));
            }
            Event::Read(number) => {
                gateway.get_with_headers(&format!("/fhir/ImagingStudy/1.2.{number}"), &[NO_CACHE]).await;
            }
            Event::List => drop(gateway.get_json("/fhir/ImagingStudy").await),
            Event::Synchronize => client.synchronize(&gateway).await,
            Event::Restart | Event::LoseStore => {
                gateway.stop().await;
                if matches!(event, Event::LoseStore) {
                    std::fs::remove_file(state.path().join("gateway.db")).unwrap();
                }
                gateway = RunningGateway::start(&pacs.url(), &config).await;
            }
        }
    }
    client.synchronize(&gateway).await;
    for (number, count) in instance_counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let known_count = client.instance_counts.get(&format!("1.2.{number}"));
        assert_eq!(known_count, Some(&(*count as u64)), "study {number} after {events:?}");
    }
}
