//! Searches by `_lastUpdated`: a client that synchronizes incrementally misses no change.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::Value;

use crate::support::gateway::{RunningGateway, resources_with_mode};
use crate::support::pacs::{CannedResponse, Pacs, RunningPacs, Study};

/// Bypasses the cache.
const NO_CACHE: (&str, &str) = ("Cache-Control", "no-cache");

fn study(number: usize, instances: usize) -> Study {
    let uid = format!("1.2.{number}");
    Study::new(&uid).patient(&format!("P{number}"), "Doe^Jane").series(&format!("{uid}.1"), "CT", instances)
}

async fn three_studies() -> RunningPacs {
    (1..=3).fold(Pacs::new(), |pacs, number| pacs.with_study(study(number, number))).start().await
}

fn time(resource: &Value) -> String {
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
    let all = gateway.get_json("/fhir/ImagingStudy?_lastUpdated=gt1970-01-01T00:00:00Z").await;
    assert_eq!((ids(&all).len(), all["total"].clone()), (3, 3.into()));
    for study in resources_with_mode(&all, "match") {
        assert_eq!(time(&study), time(&all), "a study first seen by this search is not returned again");
    }
    let path = |moment: &str| format!("/fhir/ImagingStudy?_lastUpdated=gt{moment}");
    let none = gateway.get_json(&path(&time(&all))).await;
    assert_eq!(ids(&none), Vec::<String>::new());
    pacs.set_studies([study(1, 1), study(2, 9), study(3, 3)]);
    let changed = gateway.get_json(&path(&time(&none))).await;
    assert_eq!(ids(&changed), ["1.2.2"]);
    assert_eq!(resources_with_mode(&changed, "match")[0]["numberOfInstances"], 9);
    let unchanged = format!("/fhir/ImagingStudy?_lastUpdated=le{}", time(&none));
    assert_eq!(gateway.get_json(&unchanged).await["total"], 2);
    assert_eq!(gateway.get_json("/fhir/ImagingStudy?_lastUpdated:missing=false").await["total"], 3);
    assert_eq!(gateway.get_json("/fhir/ImagingStudy?_lastUpdated:missing=true").await["total"], 0);
    let referred = format!("/fhir/Patient?_has:ImagingStudy:patient:_lastUpdated=gt{}", time(&none));
    assert_eq!(gateway.get_json(&referred).await["total"], 1);
}

/// The ids that a search for changes since `from` returns, and the time for the next one.
async fn poll(gateway: &RunningGateway, from: &str, more: &str) -> (Vec<String>, String) {
    let path = format!("/fhir/ImagingStudy?_lastUpdated=gt{from}{more}");
    let (changed, first_page) = gateway.search(&path).await;
    (changed.iter().map(|study| study["id"].as_str().unwrap().to_owned()).collect(), time(&first_page))
}

#[tokio::test]
async fn what_a_last_updated_search_is_the_first_to_see_is_returned_once() {
    for more in [
        "",
        "&_count=1",
        "&_summary=true&_count=2",
        "&modality=CT",
        "&_sort=-_lastUpdated",
        "&_count=1&_elements=id",
    ] {
        let pacs = three_studies().await;
        let gateway = RunningGateway::start(&pacs.url(), "").await;
        let (first, from) = poll(&gateway, "1970-01-01", more).await;
        assert_eq!(first.len(), 3, "{more}");
        assert_eq!(poll(&gateway, &from, more).await.0, [""; 0], "{more}");
        // Changed, new, and gone.
        pacs.set_studies([study(1, 1), study(2, 9), study(4, 1)]);
        let (mut changed, from) = poll(&gateway, &from, more).await;
        changed.sort();
        assert_eq!(changed, ["1.2.2", "1.2.4"], "{more}");
        assert_eq!(poll(&gateway, &from, more).await.0, [""; 0], "{more}");
        // Back again.
        pacs.set_studies([study(1, 1), study(2, 9), study(3, 3)]);
        let (back, from) = poll(&gateway, &from, more).await;
        assert_eq!(back, ["1.2.3"], "{more}");
        assert_eq!(poll(&gateway, &from, more).await.0, [""; 0], "{more}");
    }
}

#[tokio::test]
async fn studies_that_a_last_updated_search_could_not_read_are_returned_by_the_next_one() {
    let instance = serde_json::json!([{
        "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]},
        "00080018": {"vr": "UI", "Value": ["1.2.1.1.1"]},
        "0020000D": {"vr": "UI", "Value": ["1.2.1"]},
        "0020000E": {"vr": "UI", "Value": ["1.2.1.1"]},
    }]);
    for more in ["", "&_count=1", "&instance:not=1.2.9", "&_sort=_id"] {
        let broken = || CannedResponse::json("[{");
        let metadata = [broken(), broken(), broken(), CannedResponse::json(instance.to_string())];
        let pacs = Pacs::new().with_study(study(1, 1)).with_study(study(2, 2));
        let pacs = pacs
            .with_responses("/studies/1.2.1/series/1.2.1.1/metadata", metadata)
            .with_response("/studies/1.2.1/series/1.2.1.1/instances", broken());
        let pacs = pacs.start().await;
        let gateway = RunningGateway::start(&pacs.url(), "profile = \"orthanc\"").await;
        let (mut from, mut polls) = ("1970-01-01".to_owned(), 0);
        loop {
            let path = format!("/fhir/ImagingStudy?_lastUpdated=gt{from}{more}");
            let (found, page) = gateway.search(&path).await;
            (from, polls) = (time(&page), polls + 1);
            let is_whole = |study: &Value| study["id"] == "1.2.1" && study["meta"].get("tag").is_none();
            if found.iter().any(is_whole) {
                break;
            }
            assert!(polls < 9, "{more}: {page}");
        }
        assert!(polls > 1, "{more}: the first search could not read it");
        assert_eq!(poll(&gateway, &from, more).await.0, [""; 0], "{more}");
    }
}

#[tokio::test]
async fn what_two_last_updated_searches_see_at_the_same_time_is_missed_by_neither() {
    let pause = std::time::Duration::from_millis(50);
    let pacs = Pacs::new().with_study(study(1, 1)).with_delay(pause).start().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    let (mut one, mut other) = ("1970-01-01".to_owned(), "1970-01-01".to_owned());
    for instances in 2..6 {
        pacs.set_studies([study(1, instances)]);
        let (first, second) = tokio::join!(poll(&gateway, &one, ""), poll(&gateway, &other, ""));
        pacs.set_studies([study(1, instances + 10)]);
        (one, other) = (first.1, second.1);
        let (first, second) = tokio::join!(poll(&gateway, &one, ""), poll(&gateway, &other, ""));
        assert_eq!((first.0, second.0), (vec!["1.2.1".to_owned()], vec!["1.2.1".to_owned()]));
        (one, other) = (first.1, second.1);
    }
}

#[tokio::test]
async fn last_updated_searches_do_not_share_requests_in_flight() {
    let pause = std::time::Duration::from_millis(200);
    let pacs = Pacs::new().with_study(study(1, 1)).with_delay(pause).start().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    let listing = gateway.get_with_headers("/fhir/ImagingStudy", &[NO_CACHE]);
    let following = async {
        pacs.wait_for_requests(1).await;
        gateway.get_json("/fhir/ImagingStudy?_lastUpdated=gt1970").await
    };
    let (_, changed) = tokio::join!(listing, following);
    assert_eq!(ids(&changed), ["1.2.1"]);
    let targets = pacs.targets();
    let first = targets.iter().filter(|target| **target == targets[0]).count();
    assert_eq!(first, 2, "a response in flight may be older than the time in meta.lastUpdated: {targets:?}");
}

#[tokio::test]
async fn studies_are_sorted_by_last_updated() {
    let pacs = three_studies().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    for number in [2, 3, 1] {
        assert_eq!(gateway.get(&format!("/fhir/ImagingStudy/1.2.{number}")).await.status, 200);
    }
    let sorted = |path: &'static str| gateway.search_ids(path);
    assert_eq!(sorted("/fhir/ImagingStudy?_sort=_lastUpdated&_count=2").await, ["1.2.2", "1.2.3", "1.2.1"]);
    assert_eq!(sorted("/fhir/ImagingStudy?_sort=-_lastUpdated&_count=1").await, ["1.2.1", "1.2.3", "1.2.2"]);
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
async fn last_updated_searches_page_through_more_studies_than_max_scan() {
    let pacs = three_studies().await;
    let gateway = RunningGateway::start(&pacs.url(), "[search]\nmax_scan = 2\n").await;
    let path = "/fhir/ImagingStudy?_lastUpdated=gt1970&_count=2";
    assert_eq!(gateway.search_ids(path).await, ["1.2.1", "1.2.2", "1.2.3"]);
}

#[tokio::test]
async fn last_updated_matches_endpoints_but_no_patients() {
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

const STUDIES: usize = 5;

/// What happens between two synchronizations of the client.
#[derive(Debug, Clone)]
enum Event {
    /// The archive has this number of instances of the study from now on; 0 if the study is deleted.
    Changes(usize, usize),
    /// Another client reads the study, or finds that it is deleted.
    Read(usize),
    /// Another client lists all studies.
    List,
    /// The client synchronizes.
    Synchronize,
    /// The gateway is stopped and started.
    Restart,
    /// The same, and its store is lost.
    LoseStore,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..STUDIES, 0..4_usize).prop_map(|(study, instances)| Event::Changes(study, instances)),
        3 => (0..STUDIES).prop_map(Event::Read),
        1 => Just(Event::List),
        4 => Just(Event::Synchronize),
        1 => Just(Event::Restart),
        1 => Just(Event::LoseStore),
    ]
}

/// A client with its copy of the studies.
struct SynchronizingClient {
    from: String,
    instances: BTreeMap<String, u64>,
}

impl SynchronizingClient {
    async fn synchronize(&mut self, gateway: &RunningGateway) {
        let path = format!("/fhir/ImagingStudy?_lastUpdated=gt{}&_summary=true&_count=2", self.from);
        let (changed, first_page) = gateway.search(&path).await;
        for study in changed {
            let count = study["numberOfInstances"].as_u64().unwrap();
            self.instances.insert(study["id"].as_str().unwrap().to_owned(), count);
        }
        self.from = time(&first_page);
    }
}

/// A study leaves the archive while a client follows, and returns with rows that another client has read before.
#[tokio::test]
async fn a_study_that_returns_unchanged_is_a_change_for_a_client_that_followed_its_absence() {
    use Event::{Changes, LoseStore, Read, Restart, Synchronize};
    for events in [
        vec![Changes(2, 2), Synchronize, Changes(2, 3), Read(2), Changes(2, 0), Synchronize, Changes(2, 3)],
        vec![
            Changes(2, 2),
            Synchronize,
            Changes(2, 3),
            Read(2),
            Changes(2, 0),
            Synchronize,
            Restart,
            Changes(2, 3),
        ],
        vec![
            Changes(2, 2),
            Synchronize,
            Changes(2, 3),
            Read(2),
            Changes(2, 0),
            Restart,
            Synchronize,
            Changes(2, 3),
        ],
        vec![
            Changes(1, 1),
            Changes(2, 3),
            Event::List,
            Changes(2, 2),
            Synchronize,
            Changes(2, 0),
            Synchronize,
            Changes(2, 2),
            Read(2),
            LoseStore,
        ],
        vec![
            Changes(2, 1),
            Synchronize,
            Changes(2, 2),
            Event::List,
            Read(2),
            Changes(2, 0),
            Synchronize,
            Synchronize,
            Changes(2, 2),
            Event::List,
        ],
    ] {
        assert_synchronizes(&events).await;
    }
}

#[tokio::test]
async fn incremental_synchronization_ends_with_the_content_of_the_archive() {
    // The same events in each run, then others.
    for (mut runner, runs) in [(TestRunner::deterministic(), 2), (TestRunner::default(), 4)] {
        for _ in 0..runs {
            assert_synchronizes(&prop::collection::vec(event(), 40).new_tree(&mut runner).unwrap().current())
                .await;
        }
    }
}

async fn assert_synchronizes(events: &[Event]) {
    let state = tempfile::tempdir().unwrap();
    let configured = format!("[cache]\nstate_dir = \"{}\"\n", state.path().display());
    let pacs = Pacs::new().start().await;
    let mut held = [0; STUDIES];
    let mut gateway = RunningGateway::start(&pacs.url(), &configured).await;
    let mut client =
        SynchronizingClient { from: "1970-01-01T00:00:00Z".to_owned(), instances: BTreeMap::new() };
    for event in events {
        match *event {
            Event::Changes(number, instances) => {
                held[number] = instances;
                let there = held.iter().enumerate().filter(|(_, instances)| **instances > 0);
                pacs.set_studies(there.map(|(number, instances)| study(number, *instances)));
            }
            Event::Read(number) => {
                gateway.get_with_headers(&format!("/fhir/ImagingStudy/1.2.{number}"), &[NO_CACHE]).await;
            }
            Event::List => drop(gateway.get_json("/fhir/ImagingStudy").await),
            Event::Synchronize => client.synchronize(&gateway).await,
            Event::Restart | Event::LoseStore => {
                gateway.stop().await;
                if matches!(event, Event::LoseStore) {
                    std::fs::remove_file(state.path().join("store.redb")).unwrap();
                }
                gateway = RunningGateway::start(&pacs.url(), &configured).await;
            }
        }
    }
    client.synchronize(&gateway).await;
    for (number, instances) in held.iter().enumerate().filter(|(_, instances)| **instances > 0) {
        let known = client.instances.get(&format!("1.2.{number}"));
        assert_eq!(known, Some(&(*instances as u64)), "study {number} after {events:?}");
    }
}
