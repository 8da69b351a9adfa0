//! Searches by when a study changed: a client that asks for what has changed since it last asked has everything.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::Value;

use crate::support::gateway::{RunningGateway, entries};
use crate::support::pacs::{Pacs, RunningPacs, Study};

/// The archive is asked in any case.
const ANEW: (&str, &str) = ("Cache-Control", "no-cache");

fn study(number: usize, instances: usize) -> Study {
    let uid = format!("1.2.{number}");
    Study::new(&uid).of(&format!("P{number}"), "Doe^Jane").series(&format!("{uid}.1"), "CT", instances)
}

async fn three_studies() -> RunningPacs {
    (1..=3).fold(Pacs::new(), |pacs, number| pacs.study(study(number, number))).start().await
}

fn time(resource: &Value) -> String {
    resource["meta"]["lastUpdated"].as_str().unwrap().to_owned()
}

fn ids(bundle: &Value) -> Vec<String> {
    entries(bundle, "match").iter().map(|study| study["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_has_changed_since_is_found_however_fresh_the_cache_is() {
    let pacs = three_studies().await;
    let gateway = RunningGateway::over(&pacs.url(), "").await;
    let all = gateway.json("/fhir/ImagingStudy?_lastUpdated=gt1970-01-01T00:00:00Z").await;
    assert_eq!((ids(&all).len(), all["total"].clone()), (3, 3.into()));
    for study in entries(&all, "match") {
        assert!(time(&study) > time(&all), "what is seen now is told of the next time too, at worst");
    }
    let path = |moment: &str| format!("/fhir/ImagingStudy?_lastUpdated=gt{moment}");
    let again = gateway.json(&path(&time(&all))).await;
    assert_eq!(ids(&again).len(), 3);
    let none = gateway.json(&path(&time(&again))).await;
    assert_eq!(ids(&none), Vec::<String>::new());
    pacs.holds_now([study(1, 1), study(2, 9), study(3, 3)]);
    let changed = gateway.json(&path(&time(&none))).await;
    assert_eq!(ids(&changed), ["1.2.2"]);
    assert_eq!(entries(&changed, "match")[0]["numberOfInstances"], 9);
    let unchanged = format!("/fhir/ImagingStudy?_lastUpdated=le{}", time(&changed));
    assert_eq!(gateway.json(&unchanged).await["total"], 2);
    assert_eq!(gateway.json("/fhir/ImagingStudy?_lastUpdated:missing=false").await["total"], 3);
    assert_eq!(gateway.json("/fhir/ImagingStudy?_lastUpdated:missing=true").await["total"], 0);
    let referred = format!("/fhir/Patient?_has:ImagingStudy:patient:_lastUpdated=gt{}", time(&none));
    assert_eq!(gateway.json(&referred).await["total"], 1);
}

#[tokio::test]
async fn what_somebody_else_asks_already_is_asked_again() {
    let pause = std::time::Duration::from_millis(200);
    let pacs = Pacs::new().study(study(1, 1)).slow(pause).start().await;
    let gateway = RunningGateway::over(&pacs.url(), "").await;
    let listing = gateway.get_with("/fhir/ImagingStudy", &[ANEW]);
    let following = async {
        pacs.until_asked(1).await;
        gateway.json("/fhir/ImagingStudy?_lastUpdated=gt1970").await
    };
    let (_, changed) = tokio::join!(listing, following);
    assert_eq!(ids(&changed), ["1.2.1"]);
    let targets = pacs.targets();
    let first = targets.iter().filter(|target| **target == targets[0]).count();
    assert_eq!(
        first, 2,
        "an answer that was under way may be older than the moment that is told: {targets:?}"
    );
}

#[tokio::test]
async fn studies_can_be_put_in_the_order_of_their_changes() {
    let pacs = three_studies().await;
    let gateway = RunningGateway::over(&pacs.url(), "").await;
    for number in [2, 3, 1] {
        assert_eq!(gateway.get(&format!("/fhir/ImagingStudy/1.2.{number}")).await.status, 200);
    }
    let sorted = |path: &'static str| gateway.ids(path);
    assert_eq!(sorted("/fhir/ImagingStudy?_sort=_lastUpdated&_count=2").await, ["1.2.2", "1.2.3", "1.2.1"]);
    assert_eq!(sorted("/fhir/ImagingStudy?_sort=-_lastUpdated&_count=1").await, ["1.2.1", "1.2.3", "1.2.2"]);
}

#[tokio::test]
async fn a_search_that_is_not_about_changes_tells_no_moment_and_later_pages_tell_none() {
    let pacs = three_studies().await;
    let gateway = RunningGateway::over(&pacs.url(), "").await;
    assert_eq!(gateway.json("/fhir/ImagingStudy").await.get("meta"), None);
    let first = gateway.json("/fhir/ImagingStudy?_lastUpdated=gt1970&_count=2").await;
    assert!(first["meta"]["lastUpdated"].is_string());
    let next = crate::support::gateway::link(&first, "next").unwrap();
    assert_eq!(gateway.json(next.strip_prefix(gateway.address()).unwrap()).await.get("meta"), None);
}

#[tokio::test]
async fn more_studies_than_may_be_counted_can_be_followed_too() {
    let pacs = three_studies().await;
    let gateway = RunningGateway::over(&pacs.url(), "[search]\nmax_scan = 2\n").await;
    let path = "/fhir/ImagingStudy?_lastUpdated=gt1970&_count=2";
    assert_eq!(gateway.ids(path).await, ["1.2.1", "1.2.2", "1.2.3"]);
}

#[tokio::test]
async fn of_a_patient_no_time_of_change_is_told() {
    let gateway = RunningGateway::over_samples().await;
    let bundle = gateway.json("/fhir/Patient?_lastUpdated=gt1970").await;
    assert_eq!(bundle["total"], 0);
    assert!(entries(&bundle, "outcome")[0].to_string().contains("_lastUpdated"), "{bundle}");
    assert_eq!(gateway.json("/fhir/Endpoint?_lastUpdated=gt1970").await["total"], 1);
    assert_eq!(gateway.json("/fhir/ImagingStudy?endpoint._lastUpdated=lt1970&_count=1").await["total"], 0);
    assert_eq!(gateway.json("/fhir/ImagingStudy?endpoint._lastUpdated=gt1970&_count=1").await["total"], 30);
}

const STUDIES: usize = 5;

/// What happens between two times that the client asks.
#[derive(Debug, Clone)]
enum Event {
    /// The archive has so many instances of the study from now on; none when it is gone.
    Holds(usize, usize),
    /// Somebody else reads it, or finds that it is gone.
    IsRead(usize),
    /// Somebody else lists everything.
    AreListed,
    /// The client asks.
    IsFollowed,
    /// The gateway is stopped and started.
    Restarts,
    /// The same, and its store is lost.
    Loses,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..STUDIES, 0..4_usize).prop_map(|(study, instances)| Event::Holds(study, instances)),
        3 => (0..STUDIES).prop_map(Event::IsRead),
        1 => Just(Event::AreListed),
        4 => Just(Event::IsFollowed),
        1 => Just(Event::Restarts),
        1 => Just(Event::Loses),
    ]
}

/// What the client has.
struct Follower {
    from: String,
    instances: BTreeMap<String, u64>,
}

impl Follower {
    async fn follow(&mut self, gateway: &RunningGateway) {
        let path = format!("/fhir/ImagingStudy?_lastUpdated=gt{}&_summary=true&_count=2", self.from);
        let (changed, first_page) = gateway.matches(&path).await;
        for study in changed {
            let count = study["numberOfInstances"].as_u64().unwrap();
            self.instances.insert(study["id"].as_str().unwrap().to_owned(), count);
        }
        self.from = time(&first_page);
    }
}

#[tokio::test]
async fn a_client_that_follows_changes_ends_with_what_the_archive_holds() {
    let mut runner = TestRunner::default();
    for _ in 0..4 {
        let events = prop::collection::vec(event(), 40).new_tree(&mut runner).unwrap().current();
        let state = tempfile::tempdir().unwrap();
        let configured = format!("[cache]\nstate_dir = \"{}\"\n", state.path().display());
        let pacs = Pacs::new().start().await;
        let mut held = [0; STUDIES];
        let mut gateway = RunningGateway::over(&pacs.url(), &configured).await;
        let mut follower = Follower { from: "1970-01-01T00:00:00Z".to_owned(), instances: BTreeMap::new() };
        for event in &events {
            match *event {
                Event::Holds(number, instances) => {
                    held[number] = instances;
                    let there = held.iter().enumerate().filter(|(_, instances)| **instances > 0);
                    pacs.holds_now(there.map(|(number, instances)| study(number, *instances)));
                }
                Event::IsRead(number) => {
                    gateway.get_with(&format!("/fhir/ImagingStudy/1.2.{number}"), &[ANEW]).await;
                }
                Event::AreListed => drop(gateway.json("/fhir/ImagingStudy").await),
                Event::IsFollowed => follower.follow(&gateway).await,
                Event::Restarts | Event::Loses => {
                    gateway.stop().await;
                    if matches!(event, Event::Loses) {
                        std::fs::remove_file(state.path().join("store.redb")).unwrap();
                    }
                    gateway = RunningGateway::over(&pacs.url(), &configured).await;
                }
            }
        }
        follower.follow(&gateway).await;
        for (number, instances) in held.iter().enumerate().filter(|(_, instances)| **instances > 0) {
            let known = follower.instances.get(&format!("1.2.{number}"));
            assert_eq!(known, Some(&(*instances as u64)), "study {number} after {events:?}");
        }
    }
}
