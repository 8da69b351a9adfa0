//! Deadlines, permits, connections and the circuit breaker of the upstream client.

use std::time::Duration;

use dicom_model::{Attributes, StudyUid};
use dicomweb_gateway::telemetry::Metrics;
use dicomweb_gateway::upstream::{
    Archive, ArchiveErrorKind as Kind, DicomResource, QidoQuery, Retrieval, SearchLevel, Settings,
    UpstreamRequest,
};
use http_body_util::BodyExt;

use super::settings_for;
use crate::support::pacs::{CannedResponse, Pacs};
use crate::support::retries::retry_with_longer_deadlines;

fn search_request() -> UpstreamRequest {
    UpstreamRequest::search(QidoQuery::new(SearchLevel::Studies))
}

fn study_request() -> UpstreamRequest {
    UpstreamRequest::retrieve(Retrieval::whole(DicomResource::Study(StudyUid::parse("1.2").unwrap())))
}

fn new_archive(settings: Settings) -> Archive {
    Archive::new(settings, Metrics::default()).unwrap()
}

#[tokio::test]
async fn a_request_is_retried_if_the_archive_has_closed_an_idle_connection() {
    let pacs = Pacs::new()
        .with_response("/studies", CannedResponse::json("[{}]"))
        .close_after_each_response()
        .start()
        .await;
    let archive = new_archive(settings_for(&pacs.url()));
    for _ in 0..200 {
        let outcome = archive.rows(search_request(), |_: Attributes| {}).await.unwrap();
        assert_eq!(outcome.row_count, 1);
    }
}

#[tokio::test]
async fn a_request_is_retried_at_most_once_after_a_disconnect() {
    let pacs = Pacs::new().with_response("/studies", CannedResponse::connection_closed()).start().await;
    let error =
        new_archive(settings_for(&pacs.url())).rows(search_request(), |_: Attributes| {}).await.unwrap_err();
    assert!(matches!(error.kind, Kind::Disconnected), "{error}");
    assert!(pacs.targets().len() <= 2, "{:?}", pacs.targets());
}

#[tokio::test]
async fn requests_and_bodies_time_out_at_the_deadline() {
    retry_with_longer_deadlines(|deadline| async move {
        let pacs = Pacs::new()
            .with_response("/studies", CannedResponse::never_sent())
            .with_response("/studies/1.2", CannedResponse::bytes("image/png", "0123").stall_after(2))
            .start()
            .await;
        let mut settings = settings_for(&pacs.url());
        settings.timeout = deadline;
        let archive = new_archive(settings);
        let error = archive.rows(search_request(), |_: Attributes| {}).await.unwrap_err();
        assert!(matches!(error.kind, Kind::Timeout(_)), "{error}");
        let response = archive.send(study_request()).await.unwrap();
        let error = response.body.collect().await.unwrap_err();
        assert!(matches!(error.kind, Kind::Timeout(_)), "{error}");
        pacs.wait_until_idle().await;
    })
    .await;
}

#[tokio::test]
async fn a_slow_response_within_the_deadline_is_accepted() {
    let pacs = Pacs::new()
        .with_response("/studies", CannedResponse::json("[{}]").with_delay(Duration::from_millis(200)))
        .with_delay(Duration::from_millis(100))
        .start()
        .await;
    let outcome =
        new_archive(settings_for(&pacs.url())).rows(search_request(), |_: Attributes| {}).await.unwrap();
    assert_eq!(outcome.row_count, 1);
}

#[tokio::test]
async fn concurrent_searches_do_not_exceed_max_concurrency() {
    let pacs = Pacs::new()
        .with_response("/studies", CannedResponse::json("[{}]"))
        .with_delay(Duration::from_millis(30))
        .start()
        .await;
    let mut settings = settings_for(&pacs.url());
    settings.max_concurrency = 2;
    let archive = new_archive(settings);
    let tasks: Vec<_> = (0..12)
        .map(|_| {
            let archive = archive.clone();
            tokio::spawn(async move { archive.rows(search_request(), |_: Attributes| {}).await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap().row_count, 1);
    }
    assert!(pacs.max_concurrent_requests() <= 2, "{}", pacs.max_concurrent_requests());
}

#[tokio::test]
async fn a_truncated_body_ends_with_an_error() {
    let pacs = Pacs::new()
        .with_response("/studies/1.2", CannedResponse::bytes("image/png", "0123"))
        .abort_after(2)
        .start()
        .await;
    let response = new_archive(settings_for(&pacs.url())).send(study_request()).await.unwrap();
    assert!(matches!(response.body.collect().await.unwrap_err().kind, Kind::Truncated));
}

#[tokio::test]
async fn responses_with_150_headers_are_accepted_and_responses_with_300_headers_are_rejected() {
    let response_with_headers = |count: usize| {
        (0..count)
            .fold(CannedResponse::json("[]"), |response, number| response.header(&format!("X-{number}"), "x"))
    };
    for (count, is_accepted) in [(150, true), (300, false)] {
        let pacs = Pacs::new().with_response("/studies", response_with_headers(count)).start().await;
        let result = new_archive(settings_for(&pacs.url())).rows(search_request(), |_: Attributes| {}).await;
        assert_eq!(result.is_ok(), is_accepted, "{count}");
    }
}

#[tokio::test]
async fn consecutive_failures_open_the_circuit_breaker_of_their_request_class() {
    let pacs = Pacs::new()
        .with_response("/studies", CannedResponse::connection_closed())
        .with_response("/studies/1.2", CannedResponse::bytes("image/png", "0123"))
        .start()
        .await;
    let archive = new_archive(settings_for(&pacs.url()));
    let mut is_open = false;
    for _ in 0..10 {
        let error = archive.rows(search_request(), |_: Attributes| {}).await.unwrap_err();
        is_open = matches!(error.kind, Kind::CircuitOpen { .. });
        let cause = "(last failure: closed the connection without a response";
        assert!(!is_open || error.to_string().contains(cause), "{error}");
        if is_open {
            break;
        }
    }
    assert!(is_open, "ten failures did not open the circuit breaker");
    assert!(
        pacs.targets().len() <= 10,
        "more than five requests with one retry each were sent: {:?}",
        pacs.targets()
    );
    assert!(archive.send(study_request()).await.is_ok(), "a request of another class was not sent");
}

#[tokio::test]
async fn error_statuses_that_the_request_may_have_caused_do_not_open_the_circuit_breaker() {
    let pacs = Pacs::new().with_response("/studies", CannedResponse::status(500)).start().await;
    let archive = new_archive(settings_for(&pacs.url()));
    for _ in 0..10 {
        let error = archive.rows(search_request(), |_: Attributes| {}).await.unwrap_err();
        assert!(matches!(error.kind, Kind::Rejected(_)), "{error}");
    }
}
