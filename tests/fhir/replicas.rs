//! Replicas: gateways that share a PostgreSQL database, also while it is away.

use serde_json::Value;

use crate::support::gateway::{RunningGateway, link_url, resources_with_mode};
use crate::support::pacs::{Pacs, RunningPacs, Study};
use crate::support::postgres::Postgres;

/// The header that bypasses the cache.
const NO_CACHE: (&str, &str) = ("Cache-Control", "no-cache");

fn study(number: usize, instance_count: usize) -> Study {
    let uid = format!("1.2.{number}");
    let patient = format!("P{number}");
    Study::new(&uid).patient(&patient, "Doe^Jane").series(&format!("{uid}.1"), "CT", instance_count)
}

async fn start_archive(study_count: usize) -> RunningPacs {
    let studies = (1..=study_count).map(|number| study(number, 1));
    studies.fold(Pacs::new(), Pacs::with_study).start().await
}

async fn start_replica(pacs: &RunningPacs, postgres: &Postgres) -> RunningGateway {
    RunningGateway::start(&pacs.url(), &format!("[store]\nurl = \"{}\"\n", postgres.url())).await
}

async fn uncached(gateway: &RunningGateway, path: &str) -> Value {
    let received = gateway.get_with_headers(path, &[NO_CACHE]).await;
    assert_eq!(received.status, 200, "{path}: {}", received.text());
    received.json()
}

#[tokio::test]
async fn replicas_return_the_same_ids_versions_and_pages() {
    let Some(postgres) = Postgres::start() else { return };
    let pacs = start_archive(7).await;
    let (first, second) = tokio::join!(start_replica(&pacs, &postgres), start_replica(&pacs, &postgres));
    for number in 1..=7 {
        // Each replica is the first one to read some of the studies.
        let (one, other) = if number % 2 == 0 { (&first, &second) } else { (&second, &first) };
        let path = format!("/fhir/ImagingStudy/1.2.{number}");
        let study = uncached(one, &path).await;
        assert_eq!(uncached(other, &path).await, study);
        let patient = format!("/fhir/{}", study["subject"]["reference"].as_str().unwrap());
        assert_eq!(uncached(one, &patient).await, uncached(other, &patient).await);
    }
    for sort in ["_lastUpdated", "-_lastUpdated"] {
        let (replicas, mut ids) = ([&first, &second], Vec::new());
        let mut path = format!("/fhir/ImagingStudy?_sort={sort}&_count=2");
        for turn in 0.. {
            let replica = replicas[turn % 2];
            let page = replica.get_json(&path).await;
            let studies = resources_with_mode(&page, "match");
            ids.extend(studies.iter().map(|study| study["id"].as_str().unwrap().to_owned()));
            let Some(next) = link_url(&page, "next") else { break };
            path = next.strip_prefix(replica.base_url()).unwrap().to_owned();
        }
        ids.sort();
        let expected: Vec<_> = (1..=7).map(|number| format!("1.2.{number}")).collect();
        assert_eq!(ids, expected, "{sort}");
    }
}

#[tokio::test]
async fn a_change_that_one_replica_has_seen_is_returned_by_the_other() {
    let Some(postgres) = Postgres::start() else { return };
    let pacs = start_archive(3).await;
    let (first, second) = tokio::join!(start_replica(&pacs, &postgres), start_replica(&pacs, &postgres));
    let before = first.get_json("/fhir/ImagingStudy?_lastUpdated=gt1970-01-01T00:00:00Z").await;
    let since = before["meta"]["lastUpdated"].as_str().unwrap();
    pacs.set_studies([study(1, 1), study(2, 5), study(3, 1)]);
    uncached(&first, "/fhir/ImagingStudy/1.2.2").await;
    assert_eq!(second.search_ids(&format!("/fhir/ImagingStudy?_lastUpdated=gt{since}")).await, ["1.2.2"]);
}

#[tokio::test]
async fn without_the_database_only_searches_for_changes_fail_and_nothing_else_is_lost() {
    let Some(mut postgres) = Postgres::start() else { return };
    let pacs = start_archive(3).await;
    let gateway = start_replica(&pacs, &postgres).await;
    let path = "/fhir/ImagingStudy/1.2.1";
    let study = uncached(&gateway, path).await;
    let version = study["meta"]["versionId"].as_str().unwrap();
    postgres.kill();
    for search in ["_lastUpdated=gt2020", "_sort=_lastUpdated", "_sort=-_lastUpdated&_count=1"] {
        let received = gateway.get(&format!("/fhir/ImagingStudy?{search}")).await;
        assert_eq!(received.status, 503, "{search}: {}", received.text());
        assert!(received.header("retry-after").is_some(), "{search}");
        let issue = &received.json()["issue"][0];
        assert_eq!(issue["code"], "transient");
        assert!(issue["diagnostics"].as_str().unwrap().contains("store of the gateway"), "{issue}");
    }
    let history = gateway.get_with_headers(&format!("{path}/_history/{version}"), &[NO_CACHE]).await;
    assert_eq!(history.status, 503, "whether this is the current version is not known");
    let mut without_version = study.clone();
    for element in ["versionId", "lastUpdated"] {
        without_version["meta"].as_object_mut().unwrap().remove(element);
    }
    assert_eq!(uncached(&gateway, path).await, without_version);
    for search in
        ["", "?_summary=true", "?_elements=started", "?modality=CT&_sort=started", "?_id=1.2.1,1.2.3"]
    {
        let bundle = uncached(&gateway, &format!("/fhir/ImagingStudy{search}")).await;
        let studies = resources_with_mode(&bundle, "match");
        assert!(studies.len() >= 2, "{search}");
        assert!(studies.iter().all(|study| study["meta"].get("lastUpdated").is_none()), "{search}: {bundle}");
    }
    let patient =
        uncached(&gateway, &format!("/fhir/{}", study["subject"]["reference"].as_str().unwrap())).await;
    assert_eq!(patient["meta"].get("lastUpdated"), None);
    assert_eq!(gateway.get("/dicom-web/main/studies").await.status, 200);
    assert_eq!(gateway.get_with_headers("/fhir/ImagingStudy/1.9", &[NO_CACHE]).await.status, 404);

    postgres.start_again();
    let changes = "/fhir/ImagingStudy?_lastUpdated=gt1970-01-01T00:00:00Z";
    while gateway.get(changes).await.status == 503 {}
    assert_eq!(gateway.search_ids(changes).await.len(), 3);
    assert_eq!(uncached(&gateway, path).await, study, "the version was lost");
}

#[tokio::test]
async fn a_frozen_database_delays_few_requests_and_by_the_deadline() {
    let Some(postgres) = Postgres::start() else { return };
    let pacs = start_archive(1).await;
    drop(start_replica(&pacs, &postgres).await);
    let config = format!(
        "[store]\nurl = \"{}\"\ntimeout = \"10s\"\nconnect_timeout = \"10s\"\n[fhir]\nkeys = \"k\"\n",
        postgres.url()
    );
    let gateway = RunningGateway::start(&pacs.url(), &config).await;
    let path = "/fhir/ImagingStudy/1.2.1";
    let study = uncached(&gateway, path).await;
    postgres.freeze();
    // Three requests wait together for the deadline, and the others do not wait: all of them would take a quarter of an hour.
    let together = tokio::join!(uncached(&gateway, path), uncached(&gateway, path), uncached(&gateway, path));
    assert_eq!(together.0["meta"].get("versionId"), None);
    for _ in 0..100 {
        uncached(&gateway, path).await;
    }
    postgres.thaw();
    let changes = "/fhir/ImagingStudy?_lastUpdated=gt1970-01-01T00:00:00Z";
    while gateway.get(changes).await.status == 503 {}
    assert_eq!(uncached(&gateway, path).await, study);
}
