//! `meta.versionId`, `meta.lastUpdated` and conditional requests, for an archive whose studies change.

use std::sync::Arc;
use std::time::Duration;

use dicomweb_gateway::clock::{ManualClock, SharedClock};
use serde_json::Value;

use crate::support::client::{self, ReceivedResponse};
use crate::support::gateway::{RunningGateway, resources_with_mode};
use crate::support::pacs::{CannedResponse, Pacs, RunningPacs, Study};

const STUDY_PATH: &str = "/fhir/ImagingStudy/1.2";
/// The header that bypasses the cache.
const NO_CACHE: (&str, &str) = ("Cache-Control", "no-cache");

fn study(instance_count: usize) -> Study {
    Study::new("1.2").patient("P1", "Doe^Jane").series("1.2.1", "CT", instance_count)
}

async fn start_archive() -> RunningPacs {
    Pacs::new()
        .with_study(study(2))
        .with_study(Study::new("1.3").patient("P2", "Roe^Rob").series("1.3.1", "MR", 1))
        .start()
        .await
}

/// Gets `path` and bypasses the cache.
async fn get_uncached(gateway: &RunningGateway, path: &str) -> ReceivedResponse {
    gateway.get_with_headers(path, &[NO_CACHE]).await
}

/// Returns `meta.versionId` and `meta.lastUpdated`.
fn version(resource: &Value) -> (String, String) {
    let text = |name: &str| {
        resource["meta"][name].as_str().unwrap_or_else(|| panic!("{name}: {resource}")).to_owned()
    };
    (text("versionId"), text("lastUpdated"))
}

fn etag_of(version: &str) -> String {
    format!("W/\"{version}\"")
}

#[tokio::test]
async fn every_representation_of_a_resource_has_the_same_version() {
    let pacs = start_archive().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    let complete = gateway.get(STUDY_PATH).await;
    let (version_id, last_updated) = version(&complete.json());
    assert_eq!(complete.header("etag"), Some(etag_of(&version_id).as_str()));
    for query in ["?_summary=true", "?_summary=text", "?_summary=data", "?_elements=started", "?_pretty=true"]
    {
        let received = gateway.get(&format!("{STUDY_PATH}{query}")).await;
        assert_eq!(version(&received.json()), (version_id.clone(), last_updated.clone()), "{query}");
        assert_eq!(received.header("etag"), complete.header("etag"), "{query}");
        assert!(received.header("last-modified").is_some(), "{query}");
    }
    for search in ["?_id=1.2", "?_id=1.2&_summary=true", "?_id=1.2&_elements=started"] {
        let bundle = gateway.get_json(&format!("/fhir/ImagingStudy{search}")).await;
        assert_eq!(
            version(&resources_with_mode(&bundle, "match")[0]),
            (version_id.clone(), last_updated.clone()),
            "{search}"
        );
    }
}

#[tokio::test]
async fn a_cached_summary_receives_the_version_of_the_complete_study_when_it_is_revalidated() {
    let pacs = start_archive().await;
    let clock = Arc::new(ManualClock::default());
    let gateway = RunningGateway::start_with_clock(Arc::clone(&clock) as SharedClock, &pacs.url(), "").await;
    let path = format!("{STUDY_PATH}?_summary=true");
    let (version_id_before, last_updated) = version(&gateway.get_json(&path).await);
    let complete_version = version(&gateway.get_json(STUDY_PATH).await);
    assert_ne!(complete_version.0, version_id_before);
    assert_eq!(complete_version.1, last_updated, "the read of the complete study was recorded as a change");
    let count_before = pacs.targets().len();
    clock.advance(Duration::from_mins(1));
    let summary = gateway.get_json(&path).await;
    assert_eq!(version(&summary), complete_version);
    let targets = pacs.targets().split_off(count_before);
    assert!(!targets.is_empty() && !targets.iter().any(|target| target.contains("/series")), "{targets:?}");
}

#[tokio::test]
async fn a_changed_study_has_another_version_and_a_later_time() {
    let pacs = start_archive().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    let old_response = gateway.get(STUDY_PATH).await;
    let other_version = version(&gateway.get_json("/fhir/ImagingStudy/1.3").await);
    let (version_id, last_updated) = version(&old_response.json());
    assert_eq!(
        version(&get_uncached(&gateway, STUDY_PATH).await.json()),
        (version_id.clone(), last_updated.clone())
    );
    pacs.set_studies([study(3), Study::new("1.3").patient("P2", "Roe^Rob").series("1.3.1", "MR", 1)]);
    let new_response = get_uncached(&gateway, STUDY_PATH).await;
    let (new_version_id, new_last_updated) = version(&new_response.json());
    assert_ne!(new_version_id, version_id);
    assert!(new_last_updated > last_updated, "{new_last_updated} {last_updated}");
    assert_eq!(version(&get_uncached(&gateway, "/fhir/ImagingStudy/1.3").await.json()), other_version);
    for (name, value) in [
        ("If-None-Match", etag_of(&version_id)),
        ("If-Modified-Since", old_response.header("last-modified").unwrap().to_owned()),
    ] {
        let received = gateway.get_with_headers(STUDY_PATH, &[(name, &value)]).await;
        assert_eq!(received.status, 200, "{name} prevents the client from receiving the change");
    }
}

#[tokio::test]
async fn a_change_of_instances_without_changed_rows_is_detected_when_the_instances_are_read() {
    let metadata = |uid: &str| {
        let instance = serde_json::json!({
            "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]},
            "00080018": {"vr": "UI", "Value": [uid]},
        });
        CannedResponse::json(Value::Array(vec![instance]).to_string())
    };
    let pacs = Pacs::new()
        .with_study(study(1))
        .with_responses("/studies/1.2/series/1.2.1/metadata", [metadata("1.2.1.1"), metadata("1.2.1.9")])
        .start()
        .await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    let (version_id, last_updated) = version(&gateway.get_json(STUDY_PATH).await);
    assert_eq!(
        version(&gateway.get_json(&format!("{STUDY_PATH}?_summary=true")).await),
        (version_id.clone(), last_updated.clone())
    );
    let (new_version_id, new_last_updated) = version(&get_uncached(&gateway, STUDY_PATH).await.json());
    assert_ne!(new_version_id, version_id);
    assert!(new_last_updated > last_updated);
}

#[tokio::test]
async fn conditional_reads_return_304_for_the_current_version() {
    let pacs = start_archive().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    let patient = gateway.get_json(STUDY_PATH).await["subject"]["reference"].as_str().unwrap().to_owned();
    for path in [
        STUDY_PATH,
        &format!("{STUDY_PATH}?_summary=true"),
        &format!("/fhir/{patient}"),
        "/fhir/Endpoint/main",
    ] {
        let response = gateway.get(path).await;
        let etag = response.header("etag").unwrap();
        assert_eq!(etag, etag_of(response.json()["meta"]["versionId"].as_str().unwrap()), "{path}");
        let conditional_response =
            gateway.get_with_headers(path, &[("If-None-Match", &format!("\"x\", {etag}"))]).await;
        assert_eq!((conditional_response.status, conditional_response.body.len()), (304, 0), "{path}");
        assert_eq!(conditional_response.header("etag"), Some(etag));
        assert_eq!(
            conditional_response.header("last-modified").is_some(),
            response.header("last-modified").is_some()
        );
        let date = response.header("last-modified").unwrap_or_else(|| panic!("{path} has no Last-Modified"));
        // If-None-Match takes precedence over If-Modified-Since (RFC 9110 13.2.2).
        let other_etag =
            gateway.get_with_headers(path, &[("If-None-Match", "\"x\""), ("If-Modified-Since", date)]).await;
        assert_eq!(other_etag.status, 200, "{path}");
        let early_date = [("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT")];
        assert_eq!(gateway.get_with_headers(path, &early_date).await.status, 200, "{path}");
        let late_date = [("If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT")];
        assert_eq!(gateway.get_with_headers(path, &late_date).await.status, 304, "{path}");
        let head = client::send("HEAD", &format!("{}{path}", gateway.base_url()), &[]).await;
        assert_eq!((head.header("etag"), head.status), (Some(etag), 200));
        assert_eq!(head.header("last-modified").is_some(), response.header("last-modified").is_some());
    }
}

#[tokio::test]
async fn a_patient_that_is_read_was_last_updated_when_a_study_of_the_patient_was_seen_to_change() {
    let of = |patient: &str, uid: &str, instance_count: usize| {
        Study::new(uid).patient(patient, "Doe^Jane").series(&format!("{uid}.1"), "CT", instance_count)
    };
    let pacs = Pacs::new().with_study(of("P1", "1.2.1", 1)).with_study(of("P2", "1.2.2", 1)).start().await;
    let clock = Arc::new(ManualClock::default());
    clock.advance(Duration::from_hours(24));
    let gateway = RunningGateway::start_with_clock(Arc::clone(&clock) as SharedClock, &pacs.url(), "").await;
    let patients = gateway.get_json("/fhir/Patient").await;
    let mut found = resources_with_mode(&patients, "match").into_iter();
    let found = found.find(|patient| patient["identifier"][0]["value"] == "P1").unwrap();
    assert_eq!(found["meta"].get("lastUpdated"), None, "only a read looks at every study of the patient");
    let path = format!("/fhir/Patient/{}", found["id"].as_str().unwrap());
    let first = gateway.get(&path).await;
    let (last_updated, last_modified) =
        (first.json()["meta"]["lastUpdated"].clone(), first.header("last-modified").unwrap().to_owned());
    assert!(last_updated.as_str().unwrap().starts_with("1970-01-02T00:00:00"), "{last_updated}");
    assert!(last_modified.starts_with("Fri, 02 Jan 1970 00:00:0"), "{last_modified}");
    let history = gateway.get_json(&format!("{path}/_history")).await;
    assert_eq!(history["entry"][0]["response"]["lastModified"], last_updated);
    assert_eq!(gateway.get_json(&format!("{path}/_history?_since=1970-01-03")).await["total"], 0);

    let mut previous = last_updated;
    for (studies, is_changed) in [
        (vec![of("P1", "1.2.1", 1), of("P2", "1.2.2", 2)], false),
        (vec![of("P1", "1.2.1", 2), of("P2", "1.2.2", 2)], true),
        (vec![of("P1", "1.2.1", 2), of("P1", "1.2.3", 1)], true),
        // The Patient is described by another study again.
        (vec![of("P1", "1.2.1", 2)], true),
        (vec![of("P1", "1.2.1", 2)], false),
    ] {
        clock.advance(Duration::from_hours(1));
        pacs.set_studies(studies);
        let read = get_uncached(&gateway, &path).await;
        let last_updated = read.json()["meta"]["lastUpdated"].clone();
        assert_eq!(last_updated != previous, is_changed, "{last_updated}");
        assert!(last_updated.as_str() >= previous.as_str(), "{last_updated} {previous}");
        assert_eq!(read.json()["meta"]["versionId"], found["meta"]["versionId"], "the content is the same");
        previous = last_updated;
    }
    let since_first_read = [("If-Modified-Since", last_modified.as_str())];
    assert_eq!(gateway.get_with_headers(&path, &since_first_read).await.status, 200);
}

#[tokio::test]
async fn vread_returns_only_the_current_version() {
    let pacs = start_archive().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    let patient = gateway.get_json(STUDY_PATH).await["subject"]["reference"].as_str().unwrap().to_owned();
    for path in [STUDY_PATH, &format!("/fhir/{patient}"), "/fhir/Endpoint/main"] {
        let read = gateway.get(path).await;
        let version_id = read.json()["meta"]["versionId"].as_str().unwrap().to_owned();
        let version_path = format!("{path}/_history/{version_id}");
        let vread = gateway.get(&version_path).await;
        assert_eq!((vread.status, vread.json()), (200, read.json()), "{path}");
        assert_eq!(vread.header("etag"), read.header("etag"));
        assert_eq!(
            vread.header("content-location"),
            Some(format!("{}{version_path}", gateway.base_url()).as_str())
        );
        let conditional_response =
            gateway.get_with_headers(&version_path, &[("If-None-Match", &etag_of(&version_id))]).await;
        assert_eq!(conditional_response.status, 304);
        let other_version = gateway.get(&format!("{path}/_history/0123")).await;
        assert_eq!(
            (other_version.status, other_version.json()["issue"][0]["code"].clone()),
            (404, "not-found".into())
        );
        assert!(other_version.text().contains("history"), "{}", other_version.text());
    }
    for path in ["/fhir/ImagingStudy/_history", "/fhir/_history"] {
        let rejected = gateway.get(path).await;
        assert_eq!(
            (rejected.status, rejected.json()["issue"][0]["code"].clone()),
            (404, "not-supported".into())
        );
    }
    assert_eq!(
        gateway.get("/fhir/ImagingStudy/9.9/_history/1").await.json()["issue"][0]["code"],
        "not-found"
    );
}

#[tokio::test]
async fn the_history_of_a_resource_contains_its_current_version() {
    let pacs = start_archive().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    let patient = gateway.get_json(STUDY_PATH).await["subject"]["reference"].as_str().unwrap().to_owned();
    for path in [STUDY_PATH, &format!("/fhir/{patient}"), "/fhir/Endpoint/main"] {
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
        assert!(entry["response"]["lastModified"].is_string(), "{path}: {entry}");
        assert_eq!(entry.get("search"), None);
        for (query, total, expected_count) in [
            ("_since=1970-01-01T00:00:00Z", 1, 1),
            ("_since=2999-01-01T00:00:00.000Z", 0, 0),
            ("_at=2999", 1, 1),
            ("_at=1970-01-01", 0, 0),
            ("_count=1", 1, 1),
            ("_count=0", 1, 0),
            ("_since=", 1, 1),
            ("_elements=id", 1, 1),
        ] {
            let bundle = gateway.get_json(&format!("{path}/_history?{query}")).await;
            let entry_count = bundle["entry"].as_array().map_or(0, Vec::len) as u64;
            assert_eq!(
                (bundle["total"].as_u64(), entry_count),
                (Some(total), expected_count),
                "{path} {query}"
            );
        }
        for query in ["_since=yesterday", "_at=2024-13", "_count=-1", "_count=x"] {
            let rejected = gateway.get(&format!("{path}/_history?{query}")).await;
            assert_eq!(
                (rejected.status, &rejected.json()["issue"][0]["code"]),
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
async fn conditions_of_batch_entries_apply_to_the_entry() {
    let pacs = start_archive().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    let (version_id, _) = version(&gateway.get_json(STUDY_PATH).await);
    let late_date = "Fri, 01 Jan 2100 00:00:00 GMT";
    let batch = serde_json::json!({"resourceType": "Bundle", "type": "batch", "entry": [
        {"request": {"method": "GET", "url": "ImagingStudy/1.2", "ifModifiedSince": late_date}},
        {"request": {"method": "GET", "url": format!("ImagingStudy/1.2/_history/{version_id}")}},
        {"request": {"method": "GET", "url": "ImagingStudy/1.2/_history"}},
    ]});
    let url = format!("{}/fhir", gateway.base_url());
    let response = client::post(&url, "application/fhir+json", &batch.to_string()).await.json();
    let status =
        |index: usize| response["entry"][index]["response"]["status"].as_str().unwrap()[..3].to_owned();
    assert_eq!((status(0), status(1), status(2)), ("304".to_owned(), "200".to_owned(), "200".to_owned()));
    assert_eq!(response["entry"][2]["resource"]["entry"][0]["resource"], response["entry"][1]["resource"]);
    assert_eq!(response["entry"][1]["resource"]["meta"]["versionId"], *version_id);
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
async fn a_deleted_study_causes_410_across_restarts_until_it_is_restored() {
    let state = tempfile::tempdir().unwrap();
    let config = format!("[store]\nurl = \"sqlite:{}/gateway.db\"\n", state.path().display());
    let pacs = start_archive().await;
    let gateway = RunningGateway::start(&pacs.url(), &config).await;
    assert_eq!(
        gateway.get("/fhir/ImagingStudy/1.9").await.status,
        404,
        "a study that never existed is reported as deleted"
    );
    // The first study has been read, and the second one has been listed.
    let (version_id, last_updated) = version(&gateway.get_json(STUDY_PATH).await);
    gateway.get_json("/fhir/ImagingStudy?_summary=true").await;
    pacs.set_studies([]);
    for path in [STUDY_PATH, "/fhir/ImagingStudy/1.3"] {
        let deleted = get_uncached(&gateway, path).await;
        assert_eq!(
            (deleted.status, deleted.json()["issue"][0]["code"].clone()),
            (410, "deleted".into()),
            "{path}"
        );
    }
    gateway.stop().await;
    let gateway = RunningGateway::start(&pacs.url(), &config).await;
    assert_eq!(gateway.get(STUDY_PATH).await.status, 410, "the deletion is unknown after the restart");
    assert_eq!(gateway.get(&format!("{STUDY_PATH}/_history/{version_id}")).await.status, 410);
    assert_eq!(gateway.get(&format!("{STUDY_PATH}/_history")).await.status, 410);
    assert_eq!(gateway.get("/fhir/ImagingStudy/1.9").await.status, 404);
    pacs.set_studies([study(2)]);
    let (restored_version_id, restored_last_updated) = version(&gateway.get_json(STUDY_PATH).await);
    assert_eq!(restored_version_id, version_id, "the same content has another versionId");
    assert!(
        restored_last_updated > last_updated,
        "an incremental client does not receive the restored study"
    );
}

#[tokio::test]
async fn versions_survive_a_restart_and_version_ids_survive_the_loss_of_the_store() {
    let state = tempfile::tempdir().unwrap();
    // The content of a study includes the id of its patient, which depends on the key.
    let config =
        format!("[store]\nurl = \"sqlite:{}/gateway.db\"\n[fhir]\nkeys = \"k\"\n", state.path().display());
    let pacs = start_archive().await;
    let gateway = RunningGateway::start(&pacs.url(), &config).await;
    let (study_version, endpoint_version) = (
        version(&gateway.get_json(STUDY_PATH).await),
        version(&gateway.get_json("/fhir/Endpoint/main").await),
    );
    gateway.stop().await;
    let gateway = RunningGateway::start(&pacs.url(), &config).await;
    assert_eq!(version(&gateway.get_json(STUDY_PATH).await), study_version);
    // The address of the Endpoint contains the port of the listener, so its versionId differs. Its lastUpdated is the time of its
    // configuration, which is the same.
    assert_eq!(version(&gateway.get_json("/fhir/Endpoint/main").await).1, endpoint_version.1);
    gateway.stop().await;
    std::fs::remove_file(state.path().join("gateway.db")).unwrap();
    let gateway = RunningGateway::start(&pacs.url(), &config).await;
    let (version_id, last_updated) = version(&gateway.get_json(STUDY_PATH).await);
    assert_eq!(version_id, study_version.0);
    assert!(last_updated > study_version.1);
    gateway.stop().await;
    let gateway =
        RunningGateway::start(&pacs.url(), &format!("accession_system = \"urn:oid:2.999\"\n{config}")).await;
    assert_ne!(
        version(&gateway.get_json(STUDY_PATH).await).0,
        version_id,
        "the configuration changed the resource but not its version"
    );
}
