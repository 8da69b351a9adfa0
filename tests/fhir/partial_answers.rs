//! Answers without an archive that fails: rejected by default, and marked as incomplete if the client accepts them.

use serde_json::Value;

use crate::support::client::ReceivedResponse;
use crate::support::gateway::{RunningGateway, resources_with_mode};
use crate::support::pacs::{CannedResponse, Pacs, RunningPacs, Study};

const LENIENT: [(&str, &str); 1] = [("prefer", "handling=lenient")];
const STRICT: [(&str, &str); 1] = [("prefer", "handling=strict")];

fn study(uid: &str, patient_id: &str, series: &str) -> Study {
    Study::new(uid).patient(patient_id, "Doe^Jane").study_date("20240131").series(series, "CT", 1)
}

/// Returns an archive that rejects every request with this status.
fn failing(status: u16) -> Pacs {
    Pacs::new().with_fallback(CannedResponse::status(status))
}

/// Starts a gateway in front of the archives `main` and `second`. `lines` are added to `[search]`.
async fn start(main: Pacs, second: Pacs, lines: &str) -> (RunningGateway, [RunningPacs; 2]) {
    let (main, second) = (main.start().await, second.start().await);
    let lines = format!(
        "[[archive]]\nid = \"second\"\nurl = \"{}\"\ntimeout = \"1s\"\n[search]\n{lines}\n",
        second.url()
    );
    (RunningGateway::start(&main.url(), &lines).await, [main, second])
}

async fn start_with_failing_second(lines: &str) -> (RunningGateway, [RunningPacs; 2]) {
    let main =
        Pacs::new().with_study(study("1.2.1", "P1", "1.2.1.1")).with_study(study("1.2.2", "P2", "1.2.2.1"));
    start(main, failing(503), lines).await
}

fn assert_is_marked(bundle: &Value, archive: &str) {
    assert_eq!(bundle["total"], Value::Null, "{bundle}");
    let first = &bundle["entry"][0];
    assert_eq!(first["search"]["mode"], "outcome", "{bundle}");
    let issue = &first["resource"]["issue"][0];
    assert_eq!((&issue["severity"], &issue["code"]), (&Value::from("warning"), &Value::from("incomplete")));
    assert!(issue["diagnostics"].as_str().unwrap().contains(&format!("archive {archive}")), "{issue}");
    for study in
        resources_with_mode(bundle, "match").iter().filter(|match_| match_["resourceType"] == "ImagingStudy")
    {
        assert_eq!(study["meta"]["tag"][0]["code"], "SUBSETTED", "{study}");
        assert_eq!(
            (&study["meta"]["versionId"], &study["meta"]["lastUpdated"]),
            (&Value::Null, &Value::Null)
        );
    }
}

fn ids(bundle: &Value) -> Vec<String> {
    resources_with_mode(bundle, "match")
        .iter()
        .map(|found| found["id"].as_str().unwrap().to_owned())
        .collect()
}

async fn get(gateway: &RunningGateway, path: &str, headers: &[(&str, &str)]) -> ReceivedResponse {
    gateway.get_with_headers(path, headers).await
}

#[tokio::test]
async fn a_failing_archive_is_an_error_by_default_and_an_outcome_for_a_lenient_client() {
    let (gateway, _archives) = start_with_failing_second("").await;
    for path in [
        "/fhir/ImagingStudy",
        "/fhir/ImagingStudy?_summary=count",
        "/fhir/Patient",
        "/fhir?_type=ImagingStudy,Patient",
    ] {
        for headers in [&[][..], &STRICT] {
            assert_eq!(get(&gateway, path, headers).await.status, 503, "{path}");
        }
        let response = get(&gateway, path, &LENIENT).await;
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        let bundle = response.json();
        assert_is_marked(&bundle, "second");
        if path == "/fhir/ImagingStudy" {
            assert_eq!(ids(&bundle), ["1.2.1", "1.2.2"]);
        }
    }
}

#[tokio::test]
async fn search_partial_applies_to_clients_without_a_preference() {
    let (gateway, _archives) = start_with_failing_second("partial = true").await;
    let bundle = gateway.get_json("/fhir/ImagingStudy").await;
    assert_is_marked(&bundle, "second");
    assert_eq!(ids(&bundle), ["1.2.1", "1.2.2"]);
    assert_eq!(get(&gateway, "/fhir/ImagingStudy", &STRICT).await.status, 503);
}

#[tokio::test]
async fn every_kind_of_failure_of_an_archive_makes_the_answer_partial() {
    for second in [
        failing(500),
        failing(401),
        Pacs::new().with_fallback(CannedResponse::html("<html>Login</html>")),
        Pacs::new().with_fallback(CannedResponse::connection_closed()),
        Pacs::new().with_fallback(CannedResponse::never_sent()),
        Pacs::new().with_fallback(CannedResponse::json("[{\"0020000D\":").abort_after(10)),
    ] {
        let main = Pacs::new().with_study(study("1.2.1", "P1", "1.2.1.1"));
        let (gateway, _archives) = start(main, second, "").await;
        assert!(get(&gateway, "/fhir/ImagingStudy", &[]).await.status >= 500);
        let response = get(&gateway, "/fhir/ImagingStudy", &LENIENT).await;
        assert_eq!(response.status, 200, "{}", response.text());
        assert_is_marked(&response.json(), "second");
        assert_eq!(ids(&response.json()), ["1.2.1"]);
    }
}

#[tokio::test]
async fn the_failure_of_every_archive_is_an_error_for_a_lenient_client_too() {
    let (gateway, _archives) = start(failing(503), failing(503), "").await;
    for path in [
        "/fhir/ImagingStudy",
        "/fhir/ImagingStudy/1.2.1",
        "/fhir/Patient",
        "/fhir/Patient?identifier=unknown",
        "/fhir/ImagingStudy?endpoint=main",
    ] {
        assert_eq!(get(&gateway, path, &LENIENT).await.status, 503, "{path}");
    }
}

#[tokio::test]
async fn a_partial_answer_is_neither_cached_nor_logged() {
    let main = Pacs::new().with_study(study("1.2.1", "P1", "1.2.1.1"));
    let row = CannedResponse::json(
        r#"[{"0020000D":{"vr":"UI","Value":["1.2.1"]},"00100020":{"vr":"LO","Value":["P1"]}}]"#,
    );
    let second = Pacs::new()
        .with_study(study("1.2.1", "P1", "1.2.1.2"))
        .with_responses("/studies", [CannedResponse::status(503), CannedResponse::status(503), row]);
    let (gateway, _archives) = start(main, second, "").await;
    let partial = get(&gateway, "/fhir/ImagingStudy", &LENIENT).await.json();
    assert_is_marked(&partial, "second");
    let partial = get(&gateway, "/fhir/ImagingStudy/1.2.1", &LENIENT).await;
    assert_eq!((partial.status, partial.json()["numberOfSeries"].clone()), (200, Value::from(1)));
    let complete = get(&gateway, "/fhir/ImagingStudy/1.2.1", &[]).await;
    assert_eq!(complete.json()["numberOfSeries"], 2, "{}", complete.text());
    assert_eq!(complete.json()["meta"]["tag"], Value::Null);
    let version = complete.json()["meta"]["versionId"].clone();
    let (studies, bundle) = gateway.search("/fhir/ImagingStudy").await;
    assert_eq!((&studies[0]["meta"]["versionId"], &bundle["total"]), (&version, &Value::from(1)));
}

#[tokio::test]
async fn a_read_does_not_depend_on_archives_after_the_first_one_that_contains_the_study() {
    let (gateway, _archives) = start_with_failing_second("").await;
    let response = get(&gateway, "/fhir/ImagingStudy/1.2.1", &[]).await;
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.json()["meta"]["tag"][0]["code"], "SUBSETTED");
    assert_eq!(response.json()["meta"]["versionId"], Value::Null);
    assert!(response.header("warning").unwrap().contains("second"), "{:?}", response.header("warning"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(
        get(&gateway, "/fhir/ImagingStudy/1.2.9", &[]).await.status,
        503,
        "the second archive may contain it"
    );
    assert_eq!(get(&gateway, "/fhir/ImagingStudy/1.2.9", &LENIENT).await.status, 503);

    let second = Pacs::new().with_study(study("1.2.1", "P1", "1.2.1.1"));
    let (gateway, _archives) = start(failing(503), second, "").await;
    assert_eq!(
        get(&gateway, "/fhir/ImagingStudy/1.2.1", &[]).await.status,
        503,
        "the first archive may contain it"
    );
    let response = get(&gateway, "/fhir/ImagingStudy/1.2.1", &LENIENT).await;
    assert_eq!(response.status, 200, "{}", response.text());
    assert!(response.header("warning").unwrap().contains("main"));
}

#[tokio::test]
async fn a_search_that_names_an_archive_does_not_depend_on_the_others() {
    let (gateway, _archives) = start_with_failing_second("").await;
    for path in ["/fhir/ImagingStudy?endpoint=main", "/fhir/ImagingStudy?endpoint=Endpoint/main&modality=CT"]
    {
        let response = get(&gateway, path, &[]).await;
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        assert_is_marked(&response.json(), "second");
        assert_eq!(ids(&response.json()), ["1.2.1", "1.2.2"]);
    }
    for headers in [&[][..], &LENIENT] {
        assert_eq!(get(&gateway, "/fhir/ImagingStudy?endpoint=second", headers).await.status, 503);
    }
}

#[tokio::test]
async fn a_strict_client_a_version_and_a_history_require_every_archive() {
    let main = Pacs::new().with_study(study("1.2.1", "P1", "1.2.1.1"));
    let second =
        Pacs::new().with_responses("/studies", [CannedResponse::json("[]"), CannedResponse::status(503)]);
    let (gateway, _archives) = start(main, second, "partial = true").await;
    let version = gateway.get_json("/fhir/ImagingStudy/1.2.1").await["meta"]["versionId"].clone();
    let no_cache = ("cache-control", "no-cache");
    for strict in ["handling=strict", "handling = \"Strict\""] {
        for path in ["/fhir/ImagingStudy/1.2.1", "/fhir/ImagingStudy?endpoint=main"] {
            let response = get(&gateway, path, &[("prefer", strict), no_cache]).await;
            assert_eq!(response.status, 503, "{path} {strict}: {}", response.text());
        }
    }
    let version_path = format!("/fhir/ImagingStudy/1.2.1/_history/{}", version.as_str().unwrap());
    for path in [version_path.as_str(), "/fhir/ImagingStudy/1.2.1/_history"] {
        assert_eq!(get(&gateway, path, &[no_cache]).await.status, 503, "{path}");
    }
    assert_eq!(get(&gateway, "/fhir/ImagingStudy/1.2.1", &[no_cache]).await.status, 200);
}

#[tokio::test]
async fn a_search_for_changes_requires_every_archive() {
    let (gateway, _archives) = start_with_failing_second("partial = true").await;
    for path in [
        "/fhir/ImagingStudy?_lastUpdated=gt2020-01-01",
        "/fhir/ImagingStudy?_sort=_lastUpdated",
        "/fhir/ImagingStudy?_lastUpdated=gt2020-01-01&endpoint=main",
    ] {
        assert_eq!(get(&gateway, path, &LENIENT).await.status, 503, "{path}");
    }
}

#[tokio::test]
async fn an_archive_that_fails_between_two_requests_leaves_its_studies_without_series() {
    let main = Pacs::new().with_study(study("1.2.1", "P1", "1.2.1.1"));
    let second = Pacs::new()
        .with_study(study("1.2.2", "P2", "1.2.2.1"))
        .with_response("/studies/1.2.2/series", CannedResponse::status(503));
    let (gateway, _archives) = start(main, second, "").await;
    assert_eq!(get(&gateway, "/fhir/ImagingStudy", &[]).await.status, 503);
    let response = get(&gateway, "/fhir/ImagingStudy", &LENIENT).await;
    assert_eq!(response.status, 200, "{}", response.text());
    let bundle = response.json();
    assert_eq!(bundle["total"], Value::Null);
    let studies = resources_with_mode(&bundle, "match");
    let second = studies.iter().find(|study| study["id"] == "1.2.2").unwrap();
    assert_eq!(
        (&second["series"], &second["meta"]["tag"][0]["code"]),
        (&Value::Null, &Value::from("SUBSETTED"))
    );
    // The rows of both archives showed that only the first one contains the other study, so it is complete.
    let first = studies.iter().find(|study| study["id"] == "1.2.1").unwrap();
    assert_eq!(first["meta"]["tag"], Value::Null, "{first}");
    assert_eq!(*first, gateway.get_json("/fhir/ImagingStudy/1.2.1").await, "the read has the same version");
}

#[tokio::test]
async fn the_tag_subsetted_is_rejected_as_a_criterion_and_not_compared() {
    let (gateway, _archives) = start_with_failing_second("partial = true").await;
    let system = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue";
    for path in ["/fhir/ImagingStudy", "/fhir/Patient", "/fhir/Endpoint"] {
        for criterion in [
            "_tag=SUBSETTED".to_owned(),
            "_tag:not=SUBSETTED".to_owned(),
            format!("_tag={system}%7CSUBSETTED"),
            format!("_tag=other,{system}%7C"),
        ] {
            let response = gateway.get(&format!("{path}?{criterion}")).await;
            assert_eq!(response.status, 400, "{path} {criterion}: {}", response.text());
            assert!(
                response.text().contains("SUBSETTED, which says what a response lacks"),
                "{}",
                response.text()
            );
        }
    }
    for (criterion, found) in [("_tag:missing=true", 2), ("_tag:missing=false", 0), ("_tag=other", 0)] {
        for query in [criterion.to_owned(), format!("{criterion}&series=1.2.1.1,1.2.2.1")] {
            let bundle = gateway.get_json(&format!("/fhir/ImagingStudy?{query}")).await;
            assert_is_marked(&bundle, "second");
            assert_eq!(ids(&bundle).len(), found, "{query}: {bundle}");
        }
    }
}

#[tokio::test]
async fn a_patient_of_a_partial_answer_has_no_time_of_change() {
    let main = || Pacs::new().with_study(study("1.2.1", "P1", "1.2.1.1"));
    let config = "partial = true\n[fhir]\nkeys = \"k\"";
    let (gateway, _archives) = start(main(), Pacs::new(), config).await;
    let id = gateway.search_ids("/fhir/Patient").await.remove(0);
    let complete = gateway.get_json(&format!("/fhir/Patient/{id}")).await;
    assert!(complete["meta"]["lastUpdated"].is_string(), "{complete}");
    let (gateway, _archives) = start(main(), failing(503), config).await;
    let partial = get(&gateway, &format!("/fhir/Patient/{id}"), &[]).await;
    assert_eq!((partial.status, partial.header("last-modified")), (200, None), "{}", partial.text());
    assert_eq!(partial.json()["meta"].get("lastUpdated"), None);
    assert!(partial.header("warning").unwrap().contains("second"));
}

#[tokio::test]
async fn a_page_for_browsers_names_the_missing_archive_above_the_content() {
    let (gateway, _archives) = start_with_failing_second("partial = true").await;
    let html = [("Accept", "text/html")];
    for (path, content) in
        [("/fhir/ImagingStudy/1.2.1", "<pre>"), ("/fhir/ImagingStudy", "<ol class=\"entries\">")]
    {
        let response = get(&gateway, path, &html).await;
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        let page = response.text();
        let (above, _) = page.split_once(content).unwrap();
        let (_, issues) = above.split_once("<ul class=\"issues\">").unwrap();
        assert!(issues.starts_with("<li class=\"warning\">") && issues.contains("second"), "{path}: {page}");
    }
    let complete = get(&gateway, "/fhir/Endpoint/main", &html).await.text();
    assert!(!complete.contains("class=\"issues\""), "{complete}");
}

#[tokio::test]
async fn a_list_in_the_order_of_the_archives_continues_without_a_failing_archive() {
    let many = |prefix: &str| {
        (1..=4).fold(Pacs::new(), |pacs, n| {
            pacs.with_study(study(&format!("{prefix}.{n}"), &format!("P{n}"), &format!("{prefix}.{n}.1")))
        })
    };
    let (gateway, _archives) = start(many("1.2.1"), failing(503), "max_scan = 2").await;
    let response = get(&gateway, "/fhir/ImagingStudy?_count=2", &LENIENT).await;
    assert_eq!(response.status, 200, "{}", response.text());
    assert_is_marked(&response.json(), "second");
    assert_eq!(ids(&response.json()).len(), 2);
}

#[tokio::test]
async fn entries_of_a_batch_are_partial_each_by_itself() {
    let (gateway, _archives) = start_with_failing_second("partial = true").await;
    let batch = r#"{"resourceType":"Bundle","type":"batch","entry":[
        {"request":{"method":"GET","url":"ImagingStudy"}},
        {"request":{"method":"GET","url":"ImagingStudy/1.2.9"}},
        {"request":{"method":"GET","url":"Endpoint/main"}},
        {"request":{"method":"GET","url":"ImagingStudy/1.2.1"}}]}"#;
    let url = format!("{}/fhir", gateway.base_url());
    let response = crate::support::client::post(&url, "application/fhir+json", batch).await.json();
    assert_is_marked(&response["entry"][0]["resource"], "second");
    assert_eq!(response["entry"][1]["response"]["status"], "503 Service Unavailable");
    assert_eq!(response["entry"][2]["response"]["status"], "200 OK");
    assert_eq!(response["entry"][2]["response"]["outcome"], Value::Null);
    let outcome = &response["entry"][3]["response"]["outcome"];
    assert_eq!(outcome["issue"][0]["code"], "incomplete", "{response}");
    assert!(outcome.to_string().contains("second"), "{outcome}");
}

#[tokio::test]
async fn the_status_of_an_endpoint_is_error_while_its_archive_fails() {
    let (gateway, [_main, second]) =
        start(Pacs::new().with_study(study("1.2.1", "P1", "1.2.1.1")), failing(503), "partial = true").await;
    let before = gateway.get_json("/fhir/Endpoint/second").await;
    assert_eq!(before["status"], "active");
    for n in 0..5 {
        get(&gateway, &format!("/fhir/ImagingStudy?identifier=A{n}"), &[]).await;
    }
    let after = gateway.get_json("/fhir/Endpoint/second").await;
    assert_eq!(after["status"], "error", "{:?}", second.targets());
    assert_ne!(after["meta"]["versionId"], before["meta"]["versionId"]);
    assert!(after["meta"]["lastUpdated"].as_str() > before["meta"]["lastUpdated"].as_str(), "{after}");
    assert_eq!(gateway.get_json("/fhir/Endpoint/main").await["status"], "active");
    assert_eq!(gateway.search_ids("/fhir/Endpoint?status=error").await, ["second"]);
    assert_eq!(gateway.search_ids("/fhir/ImagingStudy?endpoint.status=active").await, ["1.2.1"]);
}
