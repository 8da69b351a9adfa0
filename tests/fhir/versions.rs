//! `meta.versionId`, `meta.lastUpdated` and conditional requests, in front of an archive that changes.

use std::sync::Arc;
use std::time::Duration;

use dicomweb_gateway::clock::{ManualClock, SharedClock};
use serde_json::Value;

use crate::support::client::{self, ReceivedResponse};
use crate::support::gateway::{RunningGateway, resources_with_mode};
use crate::support::pacs::{Pacs, RunningPacs, Study};

const STUDY: &str = "/fhir/ImagingStudy/1.2";
/// Bypasses the cache.
const NO_CACHE: (&str, &str) = ("Cache-Control", "no-cache");

fn study(instances: usize) -> Study {
    Study::new("1.2").patient("P1", "Doe^Jane").series("1.2.1", "CT", instances)
}

async fn archive() -> RunningPacs {
    Pacs::new()
        .with_study(study(2))
        .with_study(Study::new("1.3").patient("P2", "Roe^Rob").series("1.3.1", "MR", 1))
        .start()
        .await
}

async fn reload(gateway: &RunningGateway, path: &str) -> ReceivedResponse {
    gateway.get_with_headers(path, &[NO_CACHE]).await
}

/// `meta.versionId` and `meta.lastUpdated`.
fn version(resource: &Value) -> (String, String) {
    let text = |name: &str| {
        resource["meta"][name].as_str().unwrap_or_else(|| panic!("{name}: {resource}")).to_owned()
    };
    (text("versionId"), text("lastUpdated"))
}

fn tag(version: &str) -> String {
    format!("W/\"{version}\"")
}

#[tokio::test]
async fn every_representation_of_a_resource_has_the_same_version() {
    let pacs = archive().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    let whole = gateway.get(STUDY).await;
    let (id, since) = version(&whole.json());
    assert_eq!(whole.header("etag"), Some(tag(&id).as_str()));
    for form in ["?_summary=true", "?_summary=text", "?_summary=data", "?_elements=started", "?_pretty=true"]
    {
        let received = gateway.get(&format!("{STUDY}{form}")).await;
        assert_eq!(version(&received.json()), (id.clone(), since.clone()), "{form}");
        assert_eq!(received.header("etag"), whole.header("etag"), "{form}");
        assert!(received.header("last-modified").is_some(), "{form}");
    }
    for search in ["?_id=1.2", "?_id=1.2&_summary=true", "?_id=1.2&_elements=started"] {
        let bundle = gateway.get_json(&format!("/fhir/ImagingStudy{search}")).await;
        assert_eq!(
            version(&resources_with_mode(&bundle, "match")[0]),
            (id.clone(), since.clone()),
            "{search}"
        );
    }
}

#[tokio::test]
async fn a_cached_summary_gets_the_version_of_the_whole_study_when_it_is_revalidated() {
    let pacs = archive().await;
    let clock = Arc::new(ManualClock::default());
    let gateway = RunningGateway::start_with_clock(Arc::clone(&clock) as SharedClock, &pacs.url(), "").await;
    let path = format!("{STUDY}?_summary=true");
    let (before, since) = version(&gateway.get_json(&path).await);
    let whole = version(&gateway.get_json(STUDY).await);
    assert_ne!(whole.0, before);
    assert_eq!(whole.1, since, "reading the whole study is not a change");
    let sent = pacs.targets().len();
    clock.advance(Duration::from_hours(1));
    let summary = gateway.get_json(&path).await;
    assert_eq!(version(&summary), whole);
    let sent = pacs.targets().split_off(sent);
    assert!(!sent.is_empty() && !sent.iter().any(|target| target.contains("/series")), "{sent:?}");
}

#[tokio::test]
async fn a_changed_study_has_another_version_and_a_later_time() {
    let pacs = archive().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    let before = gateway.get(STUDY).await;
    let other = version(&gateway.get_json("/fhir/ImagingStudy/1.3").await);
    let (id, since) = version(&before.json());
    assert_eq!(version(&reload(&gateway, STUDY).await.json()), (id.clone(), since.clone()));
    pacs.set_studies([study(3), Study::new("1.3").patient("P2", "Roe^Rob").series("1.3.1", "MR", 1)]);
    let after = reload(&gateway, STUDY).await;
    let (changed, later) = version(&after.json());
    assert_ne!(changed, id);
    assert!(later > since, "{later} {since}");
    assert_eq!(version(&reload(&gateway, "/fhir/ImagingStudy/1.3").await.json()), other);
    for (name, value) in [
        ("If-None-Match", tag(&id)),
        ("If-Modified-Since", before.header("last-modified").unwrap().to_owned()),
    ] {
        let received = gateway.get_with_headers(STUDY, &[(name, &value)]).await;
        assert_eq!(received.status, 200, "{name} hides a change");
    }
}

#[tokio::test]
async fn a_change_of_instances_without_changed_rows_is_detected_when_they_are_read() {
    let metadata = |uid: &str| {
        let instance = serde_json::json!({
            "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]},
            "00080018": {"vr": "UI", "Value": [uid]},
        });
        crate::support::pacs::CannedResponse::json(Value::Array(vec![instance]).to_string())
    };
    let pacs = Pacs::new()
        .with_study(study(1))
        .with_responses("/studies/1.2/series/1.2.1/metadata", [metadata("1.2.1.1"), metadata("1.2.1.9")])
        .start()
        .await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    let (id, since) = version(&gateway.get_json(STUDY).await);
    assert_eq!(
        version(&gateway.get_json(&format!("{STUDY}?_summary=true")).await),
        (id.clone(), since.clone())
    );
    let (changed, later) = version(&reload(&gateway, STUDY).await.json());
    assert_ne!(changed, id);
    assert!(later > since);
}

#[tokio::test]
async fn conditional_reads_return_304_for_the_current_version() {
    let pacs = archive().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    let patient = gateway.get_json(STUDY).await["subject"]["reference"].as_str().unwrap().to_owned();
    for path in [STUDY, &format!("{STUDY}?_summary=true"), &format!("/fhir/{patient}"), "/fhir/Endpoint/main"]
    {
        let first = gateway.get(path).await;
        let etag = first.header("etag").unwrap();
        assert_eq!(etag, tag(first.json()["meta"]["versionId"].as_str().unwrap()), "{path}");
        let again = gateway.get_with_headers(path, &[("If-None-Match", &format!("\"x\", {etag}"))]).await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
        assert_eq!(again.header("etag"), Some(etag));
        assert_eq!(again.header("last-modified").is_some(), first.header("last-modified").is_some());
        let Some(date) = first.header("last-modified") else {
            assert!(path.contains("Patient"), "{path}: the time of a change of a Patient is unknown");
            assert_eq!(first.json()["meta"].get("lastUpdated"), None);
            continue;
        };
        // If-None-Match takes precedence over If-Modified-Since (RFC 9110 13.2.2), and an old date does not match.
        let other =
            gateway.get_with_headers(path, &[("If-None-Match", "\"x\""), ("If-Modified-Since", date)]).await;
        assert_eq!(other.status, 200, "{path}");
        let old = [("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT")];
        assert_eq!(gateway.get_with_headers(path, &old).await.status, 200, "{path}");
        let late = [("If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT")];
        assert_eq!(gateway.get_with_headers(path, &late).await.status, 304, "{path}");
        let head = client::send("HEAD", &format!("{}{path}", gateway.base_url()), &[]).await;
        assert_eq!((head.header("etag"), head.status), (Some(etag), 200));
        assert_eq!(head.header("last-modified").is_some(), first.header("last-modified").is_some());
    }
}

#[tokio::test]
async fn vread_returns_the_current_version_and_no_other() {
    let pacs = archive().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    let patient = gateway.get_json(STUDY).await["subject"]["reference"].as_str().unwrap().to_owned();
    for path in [STUDY, &format!("/fhir/{patient}"), "/fhir/Endpoint/main"] {
        let read = gateway.get(path).await;
        let id = read.json()["meta"]["versionId"].as_str().unwrap().to_owned();
        let version_path = format!("{path}/_history/{id}");
        let vread = gateway.get(&version_path).await;
        assert_eq!((vread.status, vread.json()), (200, read.json()), "{path}");
        assert_eq!(vread.header("etag"), read.header("etag"));
        assert_eq!(
            vread.header("content-location"),
            Some(format!("{}{version_path}", gateway.base_url()).as_str())
        );
        let again = gateway.get_with_headers(&version_path, &[("If-None-Match", &tag(&id))]).await;
        assert_eq!(again.status, 304);
        let other = gateway.get(&format!("{path}/_history/0123")).await;
        assert_eq!((other.status, other.json()["issue"][0]["code"].clone()), (404, "not-supported".into()));
        assert!(other.text().contains("history"), "{}", other.text());
    }
    for path in ["/fhir/ImagingStudy/_history", "/fhir/_history"] {
        let refused = gateway.get(path).await;
        assert_eq!(
            (refused.status, refused.json()["issue"][0]["code"].clone()),
            (404, "not-supported".into())
        );
    }
    assert_eq!(
        gateway.get("/fhir/ImagingStudy/9.9/_history/1").await.json()["issue"][0]["code"],
        "not-found"
    );
}

#[tokio::test]
async fn the_history_of_an_instance_has_its_current_version() {
    let pacs = archive().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    let patient = gateway.get_json(STUDY).await["subject"]["reference"].as_str().unwrap().to_owned();
    for (path, has_time) in
        [(STUDY, true), (&format!("/fhir/{patient}"), false), ("/fhir/Endpoint/main", true)]
    {
        let read = gateway.get(path).await;
        let bundle = gateway.get_json(&format!("{path}/_history")).await;
        let url = format!("{}{path}", gateway.base_url());
        let link = serde_json::json!([{"relation": "self", "url": format!("{url}/_history")}]);
        assert_eq!(
            (&bundle["type"], &bundle["total"], &bundle["link"]),
            (&"history".into(), &1.into(), &link)
        );
        let [entry] = &bundle["entry"].as_array().unwrap()[..] else { panic!("{bundle}") };
        assert_eq!((&entry["resource"], &entry["fullUrl"]), (&read.json(), &url.clone().into()));
        assert_eq!(
            entry["request"],
            serde_json::json!({"method": "PUT", "url": path.strip_prefix("/fhir/").unwrap()})
        );
        assert_eq!(entry["response"]["etag"].as_str(), read.header("etag"));
        assert_eq!(entry["response"]["lastModified"], entry["resource"]["meta"]["lastUpdated"]);
        assert_eq!(entry["response"]["lastModified"].is_string(), has_time);
        assert_eq!(entry.get("search"), None);
        // A version without a known time may be in any period.
        let outside = u64::from(!has_time);
        for (query, total, entries) in [
            ("_since=1970-01-01T00:00:00Z", 1, 1),
            ("_since=2999-01-01T00:00:00.000Z", outside, outside),
            ("_at=2999", 1, 1),
            ("_at=1970-01-01", outside, outside),
            ("_count=1", 1, 1),
            ("_count=0", 1, 0),
            ("_since=", 1, 1),
            ("_elements=id", 1, 1),
        ] {
            let bundle = gateway.get_json(&format!("{path}/_history?{query}")).await;
            let shown = bundle["entry"].as_array().map_or(0, Vec::len) as u64;
            assert_eq!((bundle["total"].as_u64(), shown), (Some(total), entries), "{path} {query}");
        }
        for query in ["_since=yesterday", "_at=2024-13", "_count=-1", "_count=x"] {
            let refused = gateway.get(&format!("{path}/_history?{query}")).await;
            assert_eq!(
                (refused.status, &refused.json()["issue"][0]["code"]),
                (400, &"value".into()),
                "{query}"
            );
        }
        let xml = gateway.get(&format!("{path}/_history?_format=xml")).await.text();
        assert!(xml.contains("<type value=\"history\"/>"), "{xml}");
    }
    for path in ["/fhir/ImagingStudy/9.9", "/fhir/Patient/nobody", "/fhir/Endpoint/other"] {
        assert_eq!(gateway.get(&format!("{path}/_history")).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn batch_entries_have_their_own_conditions() {
    let pacs = archive().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    let (id, _) = version(&gateway.get_json(STUDY).await);
    let since = "Fri, 01 Jan 2100 00:00:00 GMT";
    let batch = serde_json::json!({"resourceType": "Bundle", "type": "batch", "entry": [
        {"request": {"method": "GET", "url": "ImagingStudy/1.2", "ifModifiedSince": since}},
        {"request": {"method": "GET", "url": format!("ImagingStudy/1.2/_history/{id}")}},
        {"request": {"method": "GET", "url": "ImagingStudy/1.2/_history"}},
    ]});
    let url = format!("{}/fhir", gateway.base_url());
    let answer = client::post(&url, "application/fhir+json", &batch.to_string()).await.json();
    let status =
        |index: usize| answer["entry"][index]["response"]["status"].as_str().unwrap()[..3].to_owned();
    assert_eq!((status(0), status(1), status(2)), ("304".to_owned(), "200".to_owned(), "200".to_owned()));
    assert_eq!(answer["entry"][2]["resource"]["entry"][0]["resource"], answer["entry"][1]["resource"]);
    assert_eq!(answer["entry"][1]["resource"]["meta"]["versionId"], *id);
}

#[tokio::test]
async fn the_capability_statement_declares_versioning_as_implemented() {
    let gateway = RunningGateway::start_with_samples().await;
    for resource in gateway.get_json("/fhir/metadata").await["rest"][0]["resource"].as_array().unwrap() {
        assert_eq!(resource["versioning"], "versioned");
        assert_eq!(resource["readHistory"], false);
        assert_eq!(resource["conditionalRead"], "full-support");
        assert!(resource["interaction"].as_array().unwrap().contains(&serde_json::json!({"code": "vread"})));
    }
}

#[tokio::test]
async fn options_returns_the_methods_of_each_url() {
    let gateway = RunningGateway::start_with_samples().await;
    for (path, allow) in [
        ("/fhir/metadata", "GET, HEAD, OPTIONS"),
        ("/fhir/ImagingStudy", "GET, HEAD, OPTIONS"),
        ("/fhir/Patient/_search", "GET, HEAD, OPTIONS, POST"),
        ("/fhir/Endpoint/main", "GET, HEAD, OPTIONS"),
        ("/fhir/Endpoint/main/_history", "GET, HEAD, OPTIONS"),
        ("/fhir/Endpoint/main/_history/1", "GET, HEAD, OPTIONS"),
    ] {
        let received = client::send("OPTIONS", &format!("{}{path}", gateway.base_url()), &[]).await;
        assert_eq!((received.status, received.header("allow")), (204, Some(allow)), "{path}");
    }
}

#[tokio::test]
async fn a_deleted_study_is_a_410_across_restarts_until_it_is_stored_again() {
    let state = tempfile::tempdir().unwrap();
    let configured = format!("[cache]\nstate_dir = \"{}\"\n", state.path().display());
    let pacs = archive().await;
    let gateway = RunningGateway::start(&pacs.url(), &configured).await;
    assert_eq!(gateway.get("/fhir/ImagingStudy/1.9").await.status, 404, "it never existed");
    // One was read, the other was listed.
    let (id, since) = version(&gateway.get_json(STUDY).await);
    gateway.get_json("/fhir/ImagingStudy?_summary=true").await;
    pacs.set_studies([]);
    for path in [STUDY, "/fhir/ImagingStudy/1.3"] {
        let deleted = reload(&gateway, path).await;
        assert_eq!(
            (deleted.status, deleted.json()["issue"][0]["code"].clone()),
            (410, "deleted".into()),
            "{path}"
        );
    }
    gateway.stop().await;
    let gateway = RunningGateway::start(&pacs.url(), &configured).await;
    assert_eq!(gateway.get(STUDY).await.status, 410, "the deletion is known after a restart");
    assert_eq!(gateway.get(&format!("{STUDY}/_history/{id}")).await.status, 410);
    assert_eq!(gateway.get(&format!("{STUDY}/_history")).await.status, 410);
    assert_eq!(gateway.get("/fhir/ImagingStudy/1.9").await.status, 404);
    pacs.set_studies([study(2)]);
    let (again, later) = version(&gateway.get_json(STUDY).await);
    assert_eq!(again, id, "the same content has the same versionId");
    assert!(later > since, "and an incremental client sees the study again");
}

#[tokio::test]
async fn versions_survive_a_restart_and_version_ids_the_loss_of_the_store() {
    let state = tempfile::tempdir().unwrap();
    let configured = format!("[cache]\nstate_dir = \"{}\"\n", state.path().display());
    let pacs = archive().await;
    let gateway = RunningGateway::start(&pacs.url(), &configured).await;
    let (study, endpoint) =
        (version(&gateway.get_json(STUDY).await), version(&gateway.get_json("/fhir/Endpoint/main").await));
    gateway.stop().await;
    let gateway = RunningGateway::start(&pacs.url(), &configured).await;
    assert_eq!(version(&gateway.get_json(STUDY).await), study);
    // The address of the Endpoint has changed with the port of the listener.
    assert_eq!(version(&gateway.get_json("/fhir/Endpoint/main").await).1, endpoint.1);
    gateway.stop().await;
    std::fs::remove_file(state.path().join("store.redb")).unwrap();
    let gateway = RunningGateway::start(&pacs.url(), &configured).await;
    let (id, since) = version(&gateway.get_json(STUDY).await);
    assert_eq!(id, study.0);
    assert!(since > study.1);
    gateway.stop().await;
    let gateway =
        RunningGateway::start(&pacs.url(), &format!("accession_system = \"urn:oid:2.999\"\n{configured}"))
            .await;
    assert_ne!(
        version(&gateway.get_json(STUDY).await).0,
        id,
        "configuration that changes the resource changes its version"
    );
}
