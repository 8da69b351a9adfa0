//! More requests than an archive can process: a limited number waits, and requests that have begun are finished before others begin.

use futures_util::future::join_all;

use crate::support::client;
use crate::support::gateway::RunningGateway;
use crate::support::pacs::{CannedResponse, Pacs, QueryCondition, RunningPacs, Study};

/// The number of requests in these tests, at least five times the number that the archive may process and the queue may contain.
const REQUEST_COUNT: usize = 60;

/// More responses than any test requests, to release all of them.
const MAX_RESPONSE_COUNT: usize = 1000;

/// Starts an archive that holds its responses, with a study of two series for each request, and a gateway.
async fn start(config: &str) -> (RunningPacs, RunningGateway) {
    let study = |number: usize| {
        let series = |index: usize| format!("1.{number}.{index}");
        Study::new(&format!("1.{number}"))
            .patient(&format!("P{number}"), "Doe^Jane")
            .series(&series(1), "CT", 1)
            .series(&series(2), "CT", 1)
    };
    let pacs =
        (1..=REQUEST_COUNT).map(study).fold(Pacs::new(), Pacs::with_study).hold_responses().start().await;
    let gateway = RunningGateway::start(&pacs.url(), config).await;
    (pacs, gateway)
}

/// Waits until the metrics contain `line`.
async fn wait_for_metric(gateway: &RunningGateway, line: &str) {
    while !gateway.metrics().contains(line) {
        tokio::task::yield_now().await;
    }
}

/// Waits until `count` requests are in flight at the gateway.
async fn wait_for_requests_in_flight(gateway: &RunningGateway, count: usize) {
    wait_for_metric(gateway, &format!("gateway_requests_in_flight {count}\n")).await;
}

/// Sends all requests at the same time. Returns the number of responses with status 200, and of responses with 503 and Retry-After.
async fn count_responses(gateway: &RunningGateway, path: impl Fn(usize) -> String) -> (usize, usize) {
    let responses = join_all((1..=REQUEST_COUNT).map(|number| {
        let path = path(number);
        async move { gateway.get(&path).await }
    }))
    .await;
    let ok = responses.iter().filter(|response| response.status == 200).count();
    let rejected = responses
        .iter()
        .filter(|response| response.status == 503 && response.header("retry-after").is_some())
        .count();
    assert!(responses.iter().all(|response| response.is_complete));
    (ok, rejected)
}

#[tokio::test]
async fn requests_beyond_the_queue_get_503_while_the_archive_does_not_respond_and_the_others_are_finished() {
    for (path, calls_per_request) in [
        ("/fhir/ImagingStudy?_summary=count&identifier=urn:dicom:uid|urn:oid:1.", 2),
        ("/fhir/ImagingStudy?identifier=urn:dicom:uid|urn:oid:1.", 5),
    ] {
        let (pacs, gateway) = start("max_concurrency = 2\nmax_queue = 4").await;
        let rejections = async {
            let line = format!("status=\"503\"}} {}\n", REQUEST_COUNT - 6);
            wait_for_metric(&gateway, &line).await;
            pacs.wait_for_requests(2).await;
            assert_eq!(pacs.targets().len(), 2, "more calls than max_concurrency were sent");
            pacs.release_responses(MAX_RESPONSE_COUNT);
        };
        let (outcome, ()) =
            tokio::join!(count_responses(&gateway, |number| format!("{path}{number}")), rejections);
        assert_eq!(outcome, (6, REQUEST_COUNT - 6), "{path}");
        assert_eq!(
            pacs.targets().len(),
            6 * calls_per_request,
            "{path}: calls for rejected requests were sent"
        );
    }
}

#[tokio::test]
async fn requests_that_have_begun_are_finished_before_others_begin() {
    let (pacs, gateway) = start("max_concurrency = 1").await;
    let requests = async {
        let mut requests = Vec::new();
        for number in 1..=5 {
            let url = format!(
                "{}/fhir/ImagingStudy?_summary=count&patient.identifier=|P{number}",
                gateway.base_url()
            );
            requests.push(client::send_request("GET", &url, &[]).await);
            wait_for_requests_in_flight(&gateway, number).await;
        }
        pacs.release_responses(MAX_RESPONSE_COUNT);
        join_all(requests.into_iter().map(|request| client::receive("GET", request))).await
    };
    assert!(requests.await.iter().all(|response| response.status == 200));
    let targets = pacs.targets();
    assert_eq!(targets.len(), 10, "{targets:?}");
    let is_first_page = |target: &&String| !target.contains("&offset=");
    for sent_count in 1..=targets.len() {
        let begun_count = targets[..sent_count].iter().filter(is_first_page).count();
        let finished_count = sent_count - begun_count;
        // While a request receives a response, one other request may begin.
        assert!(begun_count - finished_count <= 2, "{targets:?}");
    }
}

#[tokio::test]
async fn a_search_whose_client_has_disconnected_leaves_the_queue() {
    let (pacs, gateway) = start("max_concurrency = 1\nmax_queue = 1").await;
    let url = |number: usize| {
        format!("{}/fhir/ImagingStudy?_summary=count&patient.identifier=|P{number}", gateway.base_url())
    };
    let first = client::send_request("GET", &url(1), &[]).await;
    pacs.wait_for_requests(1).await;
    let canceled = client::send_request("GET", &url(2), &[]).await;
    wait_for_requests_in_flight(&gateway, 2).await;
    drop(canceled);
    wait_for_requests_in_flight(&gateway, 1).await;
    let next = client::send_request("GET", &url(3), &[]).await;
    wait_for_requests_in_flight(&gateway, 2).await;
    pacs.release_responses(MAX_RESPONSE_COUNT);
    for request in [first, next] {
        assert_eq!(client::receive("GET", request).await.status, 200);
    }
    assert!(!pacs.targets().iter().any(|target| target.contains("PatientID=P2")), "{:?}", pacs.targets());
}

#[tokio::test]
async fn cached_responses_are_served_while_the_queue_is_full() {
    let (pacs, gateway) = start("max_concurrency = 1\nmax_queue = 1\n[cache]\nfresh_for = \"1h\"").await;
    let cached = ["/fhir/ImagingStudy?patient.identifier=|P1", "/fhir/ImagingStudy/1.1"];
    pacs.release_responses(MAX_RESPONSE_COUNT);
    for path in cached {
        assert_eq!(gateway.get(path).await.status, 200);
    }
    pacs.hold_responses_again();
    let waiting = join_all((2..=3).map(|number| {
        let url = format!("{}/fhir/ImagingStudy?patient.identifier=|P{number}", gateway.base_url());
        async move { client::send_request("GET", &url, &[]).await }
    }))
    .await;
    wait_for_requests_in_flight(&gateway, 2).await;
    assert_eq!(gateway.get("/fhir/ImagingStudy?patient.identifier=|P4").await.status, 503);
    for path in cached.iter().rev() {
        assert_eq!(gateway.get(path).await.status, 200, "{path}");
    }
    assert_eq!(gateway.get("/dicom-web/main/studies?PatientID=P1").await.status, 503);
    drop(waiting);
}

/// Starts an archive whose response about patient P1 never ends, and a gateway that sends one search at a time.
async fn start_with_stalled_response() -> (RunningPacs, RunningGateway) {
    let stalled = CannedResponse::json("[{}]").stall_after(2);
    let is_stalled = vec![("PatientID".to_owned(), QueryCondition::Equals("P1".to_owned()))];
    let pacs = Pacs::new()
        .with_study(Study::new("1.2").patient("P2", "Doe^Jane"))
        .with_conditional_response("/studies", is_stalled, stalled)
        .start()
        .await;
    let gateway = RunningGateway::start(&pacs.url(), "max_concurrency = 1").await;
    (pacs, gateway)
}

fn search_by_patient(gateway: &RunningGateway, patient: &str) -> String {
    format!("{}/fhir/ImagingStudy?_summary=count&patient.identifier=|{patient}", gateway.base_url())
}

#[tokio::test]
async fn a_search_whose_client_has_disconnected_releases_its_permit_for_a_later_request() {
    let (pacs, gateway) = start_with_stalled_response().await;
    let canceled = client::send_request("GET", &search_by_patient(&gateway, "P1"), &[]).await;
    pacs.wait_for_requests(1).await;
    drop(canceled);
    wait_for_requests_in_flight(&gateway, 0).await;
    assert_eq!(client::get(&search_by_patient(&gateway, "P2")).await.status, 200);
}

#[tokio::test]
async fn a_search_whose_client_disconnects_releases_its_permit_for_a_request_that_waits() {
    let (pacs, gateway) = start_with_stalled_response().await;
    let canceled = client::send_request("GET", &search_by_patient(&gateway, "P1"), &[]).await;
    pacs.wait_for_requests(1).await;
    let waiting = client::send_request("GET", &search_by_patient(&gateway, "P2"), &[]).await;
    wait_for_requests_in_flight(&gateway, 2).await;
    drop(canceled);
    assert_eq!(client::receive("GET", waiting).await.status, 200);
}
