//! Metadata and thumbnails that are asked for again: what is given without asking, and how it is made sure that it is true.

use std::sync::Arc;
use std::time::Duration;

use dicomweb_gateway::clock::{ManualClock, SharedClock};

use crate::support::client;
use crate::support::front::{Front, PUBLIC};
use crate::support::pacs::{Answer, Framing, Pacs, RunningPacs, Study};

const SERIES: &str = "studies/1.2/series/1.2.1";
const METADATA: &str = "studies/1.2/series/1.2.1/metadata";
const THUMBNAIL: &str = "studies/1.2/series/1.2.1/thumbnail";
/// In front of `pacs`, and the clock by which it tells what is fresh.
async fn front(pacs: &RunningPacs) -> (Front, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    (Front::by(Arc::clone(&clock) as SharedClock, &pacs.url(), "").await, clock)
}

/// Longer than anything is fresh.
const LATER: Duration = Duration::from_mins(1);

fn metadata(series: &str) -> Answer {
    Answer::json(format!(
        r#"[{{"0020000E":{{"vr":"UI","Value":["{series}"]}},"7FE00010":{{"vr":"OW","BulkDataURI":"http://inner/dicom-web/{SERIES}/instances/1.2.1.1/bulkdata/7FE00010"}}}}]"#
    ))
}

fn row(instances: usize) -> Answer {
    Answer::json(format!(
        r#"[{{"0020000E":{{"vr":"UI","Value":["1.2.1"]}},"00201209":{{"vr":"IS","Value":[{instances}]}}}}]"#
    ))
}

async fn read(front: &Front, target: &str) -> String {
    let answer = client::get(&front.url(target)).await;
    assert_eq!((answer.status, answer.complete), (200, true), "{target}");
    answer.text()
}

fn asked(pacs: &RunningPacs, what: &str) -> usize {
    pacs.targets().iter().filter(|target| target.contains(what)).count()
}

#[tokio::test]
async fn what_is_fresh_is_given_without_asking() {
    let pacs = Pacs::new()
        .at(&format!("/{METADATA}"), metadata("1.2.1"))
        .at(&format!("/{THUMBNAIL}"), Answer::bytes("image/png", "a picture"))
        .start()
        .await;
    let front = Front::of(&pacs).await;
    for target in [METADATA, THUMBNAIL] {
        let first = client::get(&front.url(target)).await;
        let again = client::get(&front.url(target)).await;
        assert_eq!((first.status, again.status), (200, 200));
        assert_eq!(first.text(), again.text());
        for name in ["content-type", "vary", "cache-control", "x-content-type-options"] {
            assert_eq!(first.header(name), again.header(name), "{name}");
        }
        assert_eq!(asked(&pacs, target), 1);
    }
    assert!(
        read(&front, METADATA)
            .await
            .contains(&format!("\"{PUBLIC}/{SERIES}/instances/1.2.1.1/bulkdata/7FE00010\""))
    );
}

#[tokio::test]
async fn what_is_kept_does_not_depend_on_who_asked() {
    let pacs = Pacs::new().at(&format!("/{METADATA}"), metadata("1.2.1")).start().await;
    let gateway = crate::support::gateway::RunningGateway::over(&pacs.url(), "").await;
    for host in ["one.example", "two.example:8443"] {
        let answer =
            client::get_with(&format!("{}/dicom-web/main/{METADATA}", gateway.address()), &[("host", host)])
                .await;
        assert!(
            answer.text().contains(&format!("\"http://{host}/dicom-web/main/{SERIES}/")),
            "{}",
            answer.text()
        );
        assert!(!answer.text().contains("gateway.invalid"));
    }
    assert_eq!(asked(&pacs, METADATA), 1);
}

#[tokio::test]
async fn rows_tell_whether_it_is_still_true() {
    let pacs = Pacs::new()
        .in_turn(&format!("/{METADATA}"), [metadata("1.2.1"), metadata("1.2.2"), metadata("1.2.3")])
        .in_turn("/studies/1.2/series", [row(1), row(1), row(1), row(2), row(2)])
        .start()
        .await;
    let (front, clock) = front(&pacs).await;
    // The first was asked for without its rows, so that nothing vouches for it.
    for (series, metadata_reads) in
        [("1.2.1", 1), ("1.2.2", 2), ("1.2.2", 2), ("1.2.2", 2), ("1.2.3", 3), ("1.2.3", 3)]
    {
        assert!(read(&front, METADATA).await.contains(&format!("[\"{series}\"]")), "{series}");
        assert_eq!(asked(&pacs, METADATA), metadata_reads);
        clock.advance(LATER);
    }
}

#[tokio::test]
async fn rows_that_tell_no_count_vouch_for_nothing() {
    let row = Answer::json(r#"[{"0020000E":{"vr":"UI","Value":["1.2.1"]}}]"#);
    let pacs = Pacs::new()
        .at(&format!("/{METADATA}"), metadata("1.2.1"))
        .at("/studies/1.2/series", row)
        .start()
        .await;
    let (front, clock) = front(&pacs).await;
    for reads in 1..4 {
        read(&front, METADATA).await;
        assert_eq!(asked(&pacs, METADATA), reads);
        clock.advance(LATER);
    }
}

#[tokio::test]
async fn a_validator_of_the_archive_is_shown_to_it() {
    let pacs = Pacs::new()
        .in_turn(
            &format!("/{METADATA}"),
            [
                metadata("1.2.1").header("ETag", "\"one\""),
                Answer::status(304),
                metadata("1.2.2").header("ETag", "\"two\""),
                Answer::status(304),
            ],
        )
        .start()
        .await;
    let (front, clock) = front(&pacs).await;
    for (series, tag) in [("1.2.1", "W/\"one\""), ("1.2.1", "W/\"one\""), ("1.2.2", "W/\"two\"")] {
        let answer = client::get(&front.url(METADATA)).await;
        assert!(answer.text().contains(&format!("[\"{series}\"]")), "{series}");
        assert_eq!(answer.header("etag"), Some(tag));
        clock.advance(LATER);
    }
    let answer = client::get_with(&front.url(METADATA), &[("if-none-match", "\"two\"")]).await;
    assert_eq!((answer.status, answer.body.len()), (304, 0));
    let told: Vec<_> =
        pacs.requests().iter().map(|request| request.header("if-none-match").map(str::to_owned)).collect();
    assert_eq!(
        told,
        [None, Some("W/\"one\"".to_owned()), Some("W/\"one\"".to_owned()), Some("W/\"two\"".to_owned())]
    );
}

#[tokio::test]
async fn what_is_cut_short_or_warned_of_or_too_large_is_not_kept() {
    let body = metadata("1.2.1");
    for odd in [
        body.clone().framed(Framing::UntilClose).breaks_after(60),
        body.clone().header("Warning", "299 archive: some are missing"),
        Answer::status(404),
        Answer::json(format!("[{{\"00081030\":{{\"vr\":\"LO\",\"Value\":[\"{}\"]}}}}]", "x".repeat(1 << 20))),
    ] {
        let pacs = Pacs::new().in_turn(&format!("/{METADATA}"), [odd, body.clone()]).start().await;
        let front = Front::told(&pacs.url(), "[cache]\nlargest_answer = \"1MiB\"").await;
        client::get(&front.url(METADATA)).await;
        assert!(read(&front, METADATA).await.contains("[\"1.2.1\"]"));
        assert_eq!(asked(&pacs, METADATA), 2);
    }
}

#[tokio::test]
async fn a_caller_can_ask_past_what_is_kept() {
    let pacs =
        Pacs::new().in_turn(&format!("/{METADATA}"), [metadata("1.2.1"), metadata("1.2.2")]).start().await;
    let front = Front::of(&pacs).await;
    read(&front, METADATA).await;
    let answer = client::get_with(&front.url(METADATA), &[("cache-control", "no-cache")]).await;
    assert!(answer.text().contains("[\"1.2.2\"]"));
    assert!(read(&front, METADATA).await.contains("[\"1.2.2\"]"), "what is new is kept in its place");
}

#[tokio::test]
async fn images_and_studies_are_never_kept() {
    let frames = format!("{SERIES}/instances/1.2.1.1/frames/1");
    let pacs = Pacs::new()
        .study(Study::new("1.2").series("1.2.1", "CT", 1))
        .at(&format!("/{frames}"), Answer::bytes("image/jpeg", "a frame"))
        .start()
        .await;
    let front = Front::of(&pacs).await;
    for target in ["studies/1.2/metadata", frames.as_str()] {
        for reads in 1..3 {
            read(&front, target).await;
            assert_eq!(asked(&pacs, target), reads);
        }
    }
}
