//! Deadlines, permits and connections.

use std::time::Duration;

use dicom_model::{Attributes, StudyUid};
use dicomweb_gateway::telemetry::Metrics;
use dicomweb_gateway::upstream::{
    Archive, ArchiveErrorKind as Kind, DicomResource, QidoQuery, Retrieval, SearchLevel, Settings,
    UpstreamRequest,
};
use http_body_util::BodyExt;

use super::settings;
use crate::support::deadline::at_any_speed;
use crate::support::pacs::{Answer, Pacs};

fn search() -> UpstreamRequest {
    UpstreamRequest::search(QidoQuery::new(SearchLevel::Studies))
}

fn study() -> UpstreamRequest {
    UpstreamRequest::retrieve(Retrieval::whole(DicomResource::Study(StudyUid::parse("1.2").unwrap())))
}

fn archive(settings: Settings) -> Archive {
    Archive::new(settings, Metrics::default()).unwrap()
}

#[tokio::test]
async fn an_archive_that_closes_connections_without_a_word_is_asked_again() {
    let pacs = Pacs::new().at("/studies", Answer::json("[{}]")).closes_silently().start().await;
    let archive = archive(settings(&pacs.url()));
    for _ in 0..200 {
        let end = archive.rows(search(), |_: Attributes| {}).await.unwrap();
        assert_eq!(end.rows, 1);
    }
}

#[tokio::test]
async fn a_connection_that_dies_before_its_first_answer_is_not_asked_for_ever() {
    let pacs = Pacs::new().at("/studies", Answer::closes()).start().await;
    let error = archive(settings(&pacs.url())).rows(search(), |_: Attributes| {}).await.unwrap_err();
    assert!(matches!(error.kind, Kind::Disconnected), "{error}");
    assert!(pacs.targets().len() <= 2, "{:?}", pacs.targets());
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    at_any_speed(|deadline| async move {
        let pacs = Pacs::new()
            .at("/studies", Answer::hangs())
            .at("/studies/1.2", Answer::bytes("image/png", "0123").stalls_after(2))
            .start()
            .await;
        let mut told = settings(&pacs.url());
        told.timeout = deadline;
        let archive = archive(told);
        let error = archive.rows(search(), |_: Attributes| {}).await.unwrap_err();
        assert!(matches!(error.kind, Kind::Timeout(_)), "{error}");
        let answer = archive.send(study()).await.unwrap();
        let error = answer.body.collect().await.unwrap_err();
        assert!(matches!(error.kind, Kind::Timeout(_)), "{error}");
        pacs.until_idle().await;
    })
    .await;
}

#[tokio::test]
async fn a_slow_answer_within_the_deadline_is_an_answer() {
    let pacs = Pacs::new()
        .at("/studies", Answer::json("[{}]").slow(Duration::from_millis(200)))
        .slow(Duration::from_millis(100))
        .start()
        .await;
    let end = archive(settings(&pacs.url())).rows(search(), |_: Attributes| {}).await.unwrap();
    assert_eq!(end.rows, 1);
}

#[tokio::test]
async fn the_archive_never_sees_more_searches_at_once_than_it_may() {
    let pacs = Pacs::new().at("/studies", Answer::json("[{}]")).slow(Duration::from_millis(30)).start().await;
    let mut told = settings(&pacs.url());
    told.max_concurrency = 2;
    let archive = archive(told);
    let calls: Vec<_> = (0..12)
        .map(|_| {
            let archive = archive.clone();
            tokio::spawn(async move { archive.rows(search(), |_: Attributes| {}).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().rows, 1);
    }
    assert!(pacs.most_at_once() <= 2, "{}", pacs.most_at_once());
}

#[tokio::test]
async fn a_body_that_breaks_off_is_an_error_at_its_end() {
    let pacs =
        Pacs::new().at("/studies/1.2", Answer::bytes("image/png", "0123")).breaks_after(2).start().await;
    let answer = archive(settings(&pacs.url())).send(study()).await.unwrap();
    assert!(matches!(answer.body.collect().await.unwrap_err().kind, Kind::Truncated));
}

#[tokio::test]
async fn many_headers_are_taken_and_too_many_are_not() {
    let with =
        |count: usize| (0..count).fold(Answer::json("[]"), |answer, n| answer.header(&format!("X-{n}"), "x"));
    for (count, taken) in [(150, true), (300, false)] {
        let pacs = Pacs::new().at("/studies", with(count)).start().await;
        let answer = archive(settings(&pacs.url())).rows(search(), |_: Attributes| {}).await;
        assert_eq!(answer.is_ok(), taken, "{count}");
    }
}

#[tokio::test]
async fn an_archive_that_fails_again_and_again_is_left_alone() {
    let pacs = Pacs::new()
        .at("/studies", Answer::closes())
        .at("/studies/1.2", Answer::bytes("image/png", "0123"))
        .start()
        .await;
    let archive = archive(settings(&pacs.url()));
    let mut rests = false;
    for _ in 0..10 {
        let error = archive.rows(search(), |_: Attributes| {}).await.unwrap_err();
        rests = matches!(error.kind, Kind::CircuitOpen(_));
        if rests {
            break;
        }
    }
    assert!(rests);
    assert!(pacs.targets().len() <= 10, "five calls, each said twice: {:?}", pacs.targets());
    assert!(archive.send(study()).await.is_ok(), "calls of another class still pass");
}

#[tokio::test]
async fn what_may_be_the_requests_fault_does_not_count_against_the_archive() {
    let pacs = Pacs::new().at("/studies", Answer::status(500)).start().await;
    let archive = archive(settings(&pacs.url()));
    for _ in 0..10 {
        let error = archive.rows(search(), |_: Attributes| {}).await.unwrap_err();
        assert!(matches!(error.kind, Kind::Refused(_)), "{error}");
    }
}
