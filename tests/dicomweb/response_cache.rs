//! The response cache for metadata and thumbnails: fresh responses, revalidation, and responses that are not cached.

use std::sync::Arc;
use std::time::Duration;

use dicomweb_gateway::clock::{ManualClock, SharedClock};

use crate::support::archive_root::{ArchiveRoot, PUBLIC_URL};
use crate::support::client;
use crate::support::gateway::RunningGateway;
use crate::support::pacs::{CannedResponse, Framing, Pacs, RunningPacs, Study};

const SERIES: &str = "studies/1.2/series/1.2.1";
const METADATA: &str = "studies/1.2/series/1.2.1/metadata";
const THUMBNAIL: &str = "studies/1.2/series/1.2.1/thumbnail";

/// Creates the archive root in front of `pacs`, and the clock of its cache.
async fn root_with_clock(pacs: &RunningPacs) -> (ArchiveRoot, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    (ArchiveRoot::start_with_clock(Arc::clone(&clock) as SharedClock, &pacs.url(), "").await, clock)
}

/// Longer than the freshness lifetime of a cached response.
const STALE_AFTER: Duration = Duration::from_mins(1);

fn metadata(description: &str) -> CannedResponse {
    CannedResponse::json(format!(
        r#"[{{"0008103E":{{"vr":"LO","Value":["{description}"]}},"0020000E":{{"vr":"UI","Value":["1.2.1"]}},"7FE00010":{{"vr":"OW","BulkDataURI":"http://inner/dicom-web/{SERIES}/instances/1.2.1.1/bulkdata/7FE00010"}}}}]"#
    ))
}

fn series_rows(instance_count: usize) -> CannedResponse {
    CannedResponse::json(format!(
        r#"[{{"0020000E":{{"vr":"UI","Value":["1.2.1"]}},"00201209":{{"vr":"IS","Value":[{instance_count}]}}}}]"#
    ))
}

async fn get_text(root: &ArchiveRoot, target: &str) -> String {
    let response = client::get(&root.url(target)).await;
    assert_eq!((response.status, response.is_complete), (200, true), "{target}");
    response.text()
}

/// Counts the upstream requests whose target contains `part`.
fn request_count(pacs: &RunningPacs, part: &str) -> usize {
    pacs.targets().iter().filter(|target| target.contains(part)).count()
}

#[tokio::test]
async fn fresh_responses_are_served_from_the_cache() {
    let pacs = Pacs::new()
        .with_response(&format!("/{METADATA}"), metadata("first"))
        .with_response(&format!("/{THUMBNAIL}"), CannedResponse::bytes("image/png", "an image"))
        .start()
        .await;
    let root = ArchiveRoot::start(&pacs).await;
    for target in [METADATA, THUMBNAIL] {
        let first = client::get(&root.url(target)).await;
        let second = client::get(&root.url(target)).await;
        assert_eq!((first.status, second.status), (200, 200));
        assert_eq!(first.text(), second.text());
        for name in ["content-type", "vary", "cache-control", "x-content-type-options"] {
            assert_eq!(first.header(name), second.header(name), "{name}");
        }
        assert_eq!(request_count(&pacs, target), 1);
    }
    assert!(
        get_text(&root, METADATA)
            .await
            .contains(&format!("\"{PUBLIC_URL}/{SERIES}/instances/1.2.1.1/bulkdata/7FE00010\""))
    );
}

#[tokio::test]
async fn cached_responses_are_rewritten_for_the_host_of_each_request() {
    let pacs = Pacs::new().with_response(&format!("/{METADATA}"), metadata("first")).start().await;
    let gateway =
        RunningGateway::start(&pacs.url(), "[server]\nhosts = [\"one.example\", \"two.example\"]").await;
    for host in ["one.example", "two.example:8443"] {
        let response = client::get_with_headers(
            &format!("{}/dicom-web/main/{METADATA}", gateway.base_url()),
            &[("host", host)],
        )
        .await;
        assert!(
            response.text().contains(&format!("\"http://{host}/dicom-web/main/{SERIES}/")),
            "{}",
            response.text()
        );
        assert!(!response.text().contains("gateway.invalid"));
    }
    assert_eq!(request_count(&pacs, METADATA), 1);
}

#[tokio::test]
async fn stale_metadata_is_revalidated_with_the_rows_of_its_series() {
    let pacs = Pacs::new()
        .with_responses(&format!("/{METADATA}"), [metadata("first"), metadata("second"), metadata("third")])
        .with_responses("/studies/1.2/series", [1, 1, 1, 2, 2].map(series_rows))
        .start()
        .await;
    let (root, clock) = root_with_clock(&pacs).await;
    // The first response was fetched without its rows, so it cannot be revalidated.
    for (description, request_number) in
        [("first", 1), ("second", 2), ("second", 2), ("second", 2), ("third", 3), ("third", 3)]
    {
        assert!(get_text(&root, METADATA).await.contains(&format!("[\"{description}\"]")), "{description}");
        assert_eq!(request_count(&pacs, METADATA), request_number);
        clock.advance(STALE_AFTER);
    }
}

#[tokio::test]
async fn unchanged_rows_confirm_metadata_only_for_the_deep_check_lifetime() {
    let pacs = Pacs::new()
        .with_responses(
            &format!("/{METADATA}"),
            [metadata("first"), metadata("second"), metadata("corrected")],
        )
        .with_response("/studies/1.2/series", series_rows(1))
        .start()
        .await;
    let (root, clock) = root_with_clock(&pacs).await;
    for description in ["first", "second", "second", "second", "second", "second", "corrected"] {
        assert!(get_text(&root, METADATA).await.contains(&format!("[\"{description}\"]")), "{description}");
        clock.advance(STALE_AFTER);
    }
}

#[tokio::test]
async fn rows_without_counts_do_not_revalidate_metadata() {
    let row = CannedResponse::json(r#"[{"0020000E":{"vr":"UI","Value":["1.2.1"]}}]"#);
    let pacs = Pacs::new()
        .with_response(&format!("/{METADATA}"), metadata("first"))
        .with_response("/studies/1.2/series", row)
        .start()
        .await;
    let (root, clock) = root_with_clock(&pacs).await;
    for expected_count in 1..4 {
        get_text(&root, METADATA).await;
        assert_eq!(request_count(&pacs, METADATA), expected_count);
        clock.advance(STALE_AFTER);
    }
}

#[tokio::test]
async fn stale_responses_are_revalidated_with_the_etag_of_the_archive() {
    let pacs = Pacs::new()
        .with_responses(
            &format!("/{METADATA}"),
            [
                metadata("first").header("ETag", "\"one\""),
                CannedResponse::status(304),
                metadata("second").header("ETag", "\"two\""),
                CannedResponse::status(304),
            ],
        )
        .start()
        .await;
    let (root, clock) = root_with_clock(&pacs).await;
    for (description, tag) in [("first", "W/\"one\""), ("first", "W/\"one\""), ("second", "W/\"two\"")] {
        let response = client::get(&root.url(METADATA)).await;
        assert!(response.text().contains(&format!("[\"{description}\"]")), "{description}");
        assert_eq!(response.header("etag"), Some(tag));
        clock.advance(STALE_AFTER);
    }
    let response = client::get_with_headers(&root.url(METADATA), &[("if-none-match", "\"two\"")]).await;
    assert_eq!((response.status, response.body.len()), (304, 0));
    let validators: Vec<_> =
        pacs.requests().iter().map(|request| request.header("if-none-match").map(str::to_owned)).collect();
    assert_eq!(
        validators,
        [None, Some("W/\"one\"".to_owned()), Some("W/\"one\"".to_owned()), Some("W/\"two\"".to_owned())]
    );
}

#[tokio::test]
async fn truncated_incomplete_missing_and_large_responses_are_not_cached() {
    let body = metadata("first");
    for uncacheable in [
        body.clone().with_framing(Framing::UntilClose).abort_after(60),
        body.clone().header("Warning", "299 archive: some are missing"),
        CannedResponse::status(404),
        CannedResponse::json(format!(
            "[{{\"00081030\":{{\"vr\":\"LO\",\"Value\":[\"{}\"]}}}}]",
            "x".repeat(1 << 20)
        )),
    ] {
        let pacs =
            Pacs::new().with_responses(&format!("/{METADATA}"), [uncacheable, body.clone()]).start().await;
        let root = ArchiveRoot::start_with_config(&pacs.url(), "[cache]\nlargest_answer = \"1MiB\"").await;
        client::get(&root.url(METADATA)).await;
        assert!(get_text(&root, METADATA).await.contains("[\"first\"]"));
        assert_eq!(request_count(&pacs, METADATA), 2);
    }
}

#[tokio::test]
async fn requests_with_no_cache_bypass_and_replace_the_cached_response() {
    let pacs = Pacs::new()
        .with_responses(&format!("/{METADATA}"), [metadata("first"), metadata("second")])
        .start()
        .await;
    let root = ArchiveRoot::start(&pacs).await;
    get_text(&root, METADATA).await;
    let response = client::get_with_headers(&root.url(METADATA), &[("cache-control", "no-cache")]).await;
    assert!(response.text().contains("[\"second\"]"));
    assert!(
        get_text(&root, METADATA).await.contains("[\"second\"]"),
        "the new response replaces the cached one"
    );
}

#[tokio::test]
async fn frames_and_study_metadata_are_never_cached() {
    let frames = format!("{SERIES}/instances/1.2.1.1/frames/1");
    let pacs = Pacs::new()
        .with_study(Study::new("1.2").series("1.2.1", "CT", 1))
        .with_response(&format!("/{frames}"), CannedResponse::bytes("image/jpeg", "a frame"))
        .start()
        .await;
    let root = ArchiveRoot::start(&pacs).await;
    for target in ["studies/1.2/metadata", frames.as_str()] {
        for expected_count in 1..3 {
            get_text(&root, target).await;
            assert_eq!(request_count(&pacs, target), expected_count);
        }
    }
}
