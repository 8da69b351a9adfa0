//! The aggregate root without an archive that fails: an error by default, and a response with a `Warning` for each missing archive if
//! the client or the configuration accepts it.

use std::sync::Arc;

use dicomweb_gateway::clock::ManualClock;

use crate::support::client::ReceivedResponse;
use crate::support::gateway::RunningGateway;
use crate::support::pacs::{CannedResponse, Pacs, RunningPacs, Study};

const LENIENT: [(&str, &str); 1] = [("prefer", "handling=lenient")];
const STRICT: [(&str, &str); 1] = [("prefer", "handling=strict")];
const INSTANCE: &str = "studies/1.1/series/1.1.1/instances/1.1.1.1";

fn main_archive() -> Pacs {
    Pacs::new()
        .with_study(Study::new("1.1").series("1.1.1", "CT", 1))
        .with_study(Study::new("1.2").series("1.2.1", "CT", 2))
        .with_study(Study::new("1.3").series("1.3.1", "MR", 1))
        .with_response(
            &format!("/{INSTANCE}"),
            CannedResponse::bytes(
                "multipart/related; type=\"application/dicom\"; boundary=b",
                "--b\r\nContent-Type: application/dicom\r\n\r\nobject\r\n--b--\r\n",
            ),
        )
}

fn failing(response: CannedResponse) -> Pacs {
    Pacs::new().with_fallback(response)
}

/// Starts a gateway in front of the archives `main` and `second`. `lines` are added to `[search]`.
async fn start(main: Pacs, second: Pacs, lines: &str) -> (RunningGateway, [RunningPacs; 2]) {
    let (main, second) = (main.start().await, second.start().await);
    let lines = format!("[[archive]]\nid = \"second\"\nurl = \"{}\"\n[search]\n{lines}\n", second.url());
    (RunningGateway::start(&main.url(), &lines).await, [main, second])
}

async fn get(gateway: &RunningGateway, target: &str, headers: &[(&str, &str)]) -> ReceivedResponse {
    gateway.get_with_headers(&format!("/dicom-web/{target}"), headers).await
}

fn uids(response: &ReceivedResponse, tag: &str) -> Vec<String> {
    let rows = response.json();
    let rows = rows.as_array().expect("the response is a list of rows");
    rows.iter().map(|row| row[tag]["Value"][0].as_str().unwrap_or_default().to_owned()).collect()
}

fn study_uids(response: &ReceivedResponse) -> Vec<String> {
    assert_eq!(response.status, 200, "{}", response.text());
    uids(response, "0020000D")
}

fn warnings(response: &ReceivedResponse) -> Vec<&str> {
    response.headers.iter().filter(|(name, _)| name == "warning").map(|(_, value)| value.as_str()).collect()
}

/// Asserts that `response` says that the archive `second` is missing, and why.
fn assert_is_without_second(response: &ReceivedResponse, cause: &str) {
    let warnings = warnings(response);
    let beginning = "299 dicomweb-gateway \"Archive second is missing from this response: ";
    let warning = warnings.iter().find(|warning| warning.starts_with(beginning));
    let warning = warning.unwrap_or_else(|| panic!("{}: {warnings:?} {}", response.status, response.text()));
    assert!(warning.contains(cause) && warning.ends_with('"'), "{warning}");
    assert_eq!(warning.matches('"').count(), 2, "{warning}");
    assert_eq!(response.header("cache-control"), Some("no-store"));
}

fn assert_is_complete(response: &ReceivedResponse) {
    assert_eq!(response.status, 200, "{}", response.text());
    assert!(warnings(response).is_empty(), "{:?}", warnings(response));
    assert_ne!(response.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn a_search_is_an_error_by_default_and_without_the_failed_archive_if_that_is_accepted() {
    for (lines, is_default) in [("", false), ("partial = true", true)] {
        let (gateway, _archives) = start(main_archive(), failing(CannedResponse::status(500)), lines).await;
        for (target, rows) in
            [("studies", 3), ("series", 3), ("instances", 4), ("studies?PatientID=nobody", 0)]
        {
            let strict = get(&gateway, target, &STRICT).await;
            assert_eq!(strict.status, 502, "{target}");
            assert!(strict.text().contains("rchive second "), "{}", strict.text());
            let lenient = get(&gateway, target, &LENIENT).await;
            assert_is_without_second(&lenient, "status 500");
            assert_eq!((lenient.status, lenient.json().as_array().unwrap().len()), (200, rows), "{target}");
            let default = get(&gateway, target, &[]).await;
            assert_eq!(default.status, if is_default { 200 } else { 502 }, "{target}");
        }
        assert_eq!(get(&gateway, "main/studies", &[]).await.status, 200);
        assert_eq!(get(&gateway, "second/studies", &LENIENT).await.status, 502);
    }
}

#[tokio::test]
async fn every_kind_of_failure_makes_a_search_partial_but_a_rejection_of_the_query_does_not() {
    for (second, cause) in [
        (CannedResponse::status(500), "status 500"),
        (CannedResponse::status(401), "credentials"),
        (CannedResponse::status(404), "check the url"),
        (CannedResponse::html("<html>Login</html>"), "cannot be read"),
        (CannedResponse::connection_closed(), "closed the connection"),
        (CannedResponse::json("[{\"0020000D\":").abort_after(10), ""),
    ] {
        let (gateway, _archives) = start(main_archive(), failing(second), "").await;
        let response = get(&gateway, "studies", &LENIENT).await;
        assert_is_without_second(&response, cause);
        assert_eq!(study_uids(&response), ["1.1", "1.2", "1.3"]);
    }
    for status in [400, 413, 501] {
        let (gateway, _archives) = start(main_archive(), failing(CannedResponse::status(status)), "").await;
        assert_eq!(get(&gateway, "studies", &LENIENT).await.status, status);
    }
}

/// To a search for the series of a study, the status 404 means that the archive does not contain the study.
#[tokio::test]
async fn an_archive_with_a_wrong_url_is_a_failed_archive_below_studies_too() {
    let (gateway, _archives) = start(main_archive(), failing(CannedResponse::status(404)), "").await;
    for target in [
        "studies/1.1/series",
        "studies/1.1/instances",
        "studies/1.1/metadata",
        "studies/9.9/series",
        "studies/9.9/metadata",
    ] {
        let strict = get(&gateway, target, &STRICT).await;
        assert_eq!(strict.status, 502, "{target}: {}", strict.text());
        assert!(strict.text().contains("rchive second has no such search"), "{}", strict.text());
        let lenient = get(&gateway, target, &LENIENT).await;
        assert_eq!(lenient.status, if target.contains("9.9") { 502 } else { 200 }, "{}", lenient.text());
        if lenient.status == 200 {
            assert_is_without_second(&lenient, "check the url");
        }
    }
}

#[tokio::test]
async fn an_archive_that_does_not_respond_is_missing_after_half_of_the_request_timeout() {
    let (main, second) = (main_archive().start().await, failing(CannedResponse::never_sent()).start().await);
    let lines = format!(
        "[[archive]]\nid = \"second\"\nurl = \"{}\"\n[server]\nrequest_timeout = \"2s\"\n",
        second.url()
    );
    let gateway = RunningGateway::start(&main.url(), &lines).await;
    for target in ["studies", "studies/1.1/metadata", INSTANCE] {
        let response = get(&gateway, target, &LENIENT).await;
        assert_eq!(response.status, 200, "{}", response.text());
        assert_is_without_second(&response, "it did not respond within 1 s");
    }
}

#[tokio::test]
async fn a_page_after_the_first_requires_every_archive() {
    let (gateway, _archives) =
        start(main_archive(), failing(CannedResponse::status(503)), "partial = true").await;
    let first = get(&gateway, "studies?limit=2", &[]).await;
    assert_is_without_second(&first, "");
    assert_eq!(study_uids(&first), ["1.1", "1.2"]);
    let results: Vec<_> =
        warnings(&first).into_iter().filter(|warning| warning.contains("additional results")).collect();
    assert_eq!(results.len(), 1, "{results:?}");
    assert!(results[0].contains("when every archive responds"), "{results:?}");
    for target in ["studies?limit=2&offset=2", "studies?offset=1", "studies/1.2/instances?limit=1&offset=1"] {
        let later = get(&gateway, target, &LENIENT).await;
        assert_eq!(later.status, 503, "{target}: {}", later.text());
        assert!(later.text().contains("rchive second "), "{}", later.text());
    }
}

#[tokio::test]
async fn an_archive_that_fails_after_its_rows_were_read_is_an_error() {
    let shared = Study::new("1.2").series("1.2.2", "SR", 1);
    let row = CannedResponse::json(r#"[{"0020000D":{"vr":"UI","Value":["1.2"]}}]"#);
    let end = CannedResponse::json("[]");
    // The first page and the end of the list are the search of the client; then the totals are searched.
    let second =
        Pacs::new().with_study(shared).with_responses("/studies", [row, end, CannedResponse::status(503)]);
    let (gateway, _archives) = start(main_archive(), second, "").await;
    let response = get(&gateway, "studies", &LENIENT).await;
    assert_eq!(response.status, 503, "{}", response.text());
    assert!(response.text().contains("rchive second "), "{}", response.text());
}

#[tokio::test]
async fn resources_of_a_study_in_another_archive_are_returned_with_a_warning() {
    // The circuit breaker does not open because of a 500.
    let (gateway, _archives) = start(main_archive(), failing(CannedResponse::status(500)), "").await;
    for target in [
        "studies/1.1/series",
        "studies/1.1/instances",
        "studies/1.1/metadata",
        "studies/1.1/series/1.1.1/metadata",
        INSTANCE,
    ] {
        assert_eq!(get(&gateway, target, &[]).await.status, 502, "{target}");
        let response = get(&gateway, target, &LENIENT).await;
        assert_eq!(response.status, 200, "{target}: {}", response.text());
        assert_is_without_second(&response, "status 500");
        assert!(!response.body.is_empty(), "{target}");
    }
}

#[tokio::test]
async fn what_no_other_archive_contains_is_the_error_of_the_missing_archive() {
    let (gateway, _archives) = start(main_archive(), failing(CannedResponse::status(503)), "").await;
    for target in [
        "studies/9.9",
        "studies/9.9/series",
        "studies/9.9/metadata",
        "studies/9.9/series/9.9.1/instances/9.9.1.1",
        "studies/1.1/series/9.9.1/metadata",
        "studies/1.1/series/9.9.1/instances",
        "studies/1.1/series/1.1.1/instances/9.9.1.1",
    ] {
        let response = get(&gateway, target, &LENIENT).await;
        assert_eq!(response.status, 503, "{target}: {}", response.text());
        assert!(response.text().contains("rchive second "), "{target}: {}", response.text());
    }
    let (gateway, _archives) = start(main_archive(), Pacs::new(), "").await;
    assert_eq!(get(&gateway, "studies/9.9/metadata", &LENIENT).await.status, 404);
    assert_eq!(get(&gateway, "studies/9.9/series", &LENIENT).await.text(), "[]");
}

#[tokio::test]
async fn the_failure_of_every_archive_is_an_error_of_a_lenient_client_too() {
    let down = || failing(CannedResponse::status(503));
    let (gateway, _archives) = start(down(), down(), "partial = true").await;
    for target in ["studies", "series", "studies/1.1/series", "studies/1.1/metadata", INSTANCE] {
        assert_eq!(get(&gateway, target, &LENIENT).await.status, 503, "{target}");
    }
}

#[tokio::test]
async fn archives_that_name_different_patients_are_a_conflict_without_the_failed_archive_too() {
    let of_other =
        Pacs::new().with_study(Study::new("1.1").patient("P9", "Roe^Richard").series("1.1.9", "CT", 1));
    let (main, other) = (main_archive().start().await, of_other.start().await);
    let failed = failing(CannedResponse::status(503)).start().await;
    let archive =
        |id: &str, pacs: &RunningPacs| format!("[[archive]]\nid = \"{id}\"\nurl = \"{}\"\n", pacs.url());
    let lines = [archive("other", &other), archive("second", &failed)].concat();
    let gateway = RunningGateway::start(&main.url(), &lines).await;
    let conflict = get(&gateway, "studies/1.1/metadata", &LENIENT).await;
    assert_eq!(conflict.status, 502, "{}", conflict.text());
    assert!(conflict.text().contains("different patients"), "{}", conflict.text());
    assert_eq!(get(&gateway, "studies/1.2/metadata", &LENIENT).await.status, 200);
}

#[tokio::test]
async fn a_partial_response_is_not_cached() {
    let second = Pacs::new().with_study(Study::new("1.1").series("1.1.2", "SR", 1));
    let busy = || [CannedResponse::status(503)];
    let rows = r#"[{"0020000D":{"vr":"UI","Value":["1.1"]},"00100020":{"vr":"LO","Value":["P1"]}}]"#;
    let series = r#"[{"0020000D":{"vr":"UI","Value":["1.1"]},"0020000E":{"vr":"UI","Value":["1.1.2"]}}]"#;
    let then = |text: &str| busy().into_iter().chain([CannedResponse::json(text)]).collect::<Vec<_>>();
    let second =
        second.with_responses("/studies", then(rows)).with_responses("/studies/1.1/series", then(series));
    let (main, second) = (main_archive().start().await, second.start().await);
    let lines = format!("[[archive]]\nid = \"second\"\nurl = \"{}\"\n", second.url());
    // The location of a study is shared by the requests of a second, and the time does not advance.
    let gateway =
        RunningGateway::start_with_clock(Arc::new(ManualClock::default()), &main.url(), &lines).await;
    let partial = get(&gateway, "studies/1.1/series", &LENIENT).await;
    assert_is_without_second(&partial, "status 503");
    assert_eq!(uids(&partial, "0020000E"), ["1.1.1"]);
    for headers in [&LENIENT[..], &STRICT, &[]] {
        let complete = get(&gateway, "studies/1.1/series", headers).await;
        assert_is_complete(&complete);
        assert_eq!(uids(&complete, "0020000E").len(), 2, "{}", complete.text());
    }
}
