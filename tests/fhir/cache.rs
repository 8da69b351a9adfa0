//! Caching of FHIR responses: fresh entries, conditional requests, compression, and concurrent requests for one study.

use std::sync::Arc;
use std::time::Duration;

use dicomweb_gateway::clock::{ManualClock, SharedClock};

use crate::support::gateway::RunningGateway;
use crate::support::pacs::{Pacs, Study};

#[tokio::test]
async fn fresh_studies_are_served_from_the_cache_unless_the_client_sends_no_cache() {
    let gateway = RunningGateway::start_with_samples().await;
    let id = gateway.search_ids("/fhir/ImagingStudy?_count=1&_elements=id").await.remove(0);
    let path = format!("/fhir/ImagingStudy/{id}");
    let first_response = gateway.get(&path).await;
    let request_counts =
        (gateway.upstream_request_count("search"), gateway.upstream_request_count("metadata"));
    assert_eq!(gateway.get(&path).await.body, first_response.body);
    assert_eq!(
        (gateway.upstream_request_count("search"), gateway.upstream_request_count("metadata")),
        request_counts
    );
    gateway.get_with_headers(&path, &[("Cache-Control", "no-cache")]).await;
    assert!(
        gateway.upstream_request_count("search") > request_counts.0
            && gateway.upstream_request_count("metadata") > request_counts.1
    );
    assert!(gateway.metrics().contains("gateway_cache_lookups_total{outcome=\"hit\"} 1"));
}

#[tokio::test]
async fn if_none_match_returns_304_for_the_current_etag() {
    let gateway = RunningGateway::start_with_samples().await;
    for path in ["/fhir/ImagingStudy?_count=3", "/fhir/Patient", "/fhir/Endpoint/main", "/fhir/metadata"] {
        let first_response = gateway.get(path).await;
        let etag = first_response.header("etag").unwrap().to_owned();
        assert!(etag.starts_with("W/\""));
        assert_eq!(first_response.header("cache-control"), Some("private, no-cache"));
        for condition in [etag.clone(), format!("\"other\", {etag}"), "*".to_owned()] {
            let conditional_response = gateway.get_with_headers(path, &[("If-None-Match", &condition)]).await;
            assert_eq!(
                (conditional_response.status, conditional_response.body.len()),
                (304, 0),
                "{path} {condition}"
            );
            assert_eq!(conditional_response.header("etag"), Some(etag.as_str()));
        }
        assert_eq!(gateway.get_with_headers(path, &[("If-None-Match", "\"other\"")]).await.status, 200);
    }
}

#[tokio::test]
async fn bodies_are_compressed_if_the_client_accepts_gzip() {
    let gateway = RunningGateway::start_with_samples().await;
    let uncompressed = gateway.get("/fhir/ImagingStudy?_count=5").await;
    assert_eq!(uncompressed.header("content-encoding"), None);
    let compressed =
        gateway.get_with_headers("/fhir/ImagingStudy?_count=5", &[("Accept-Encoding", "gzip")]).await;
    assert_eq!(compressed.header("content-encoding"), Some("gzip"));
    assert!(compressed.body.len() < uncompressed.body.len() / 3);
    let mut decompressed = Vec::new();
    std::io::Read::read_to_end(
        &mut flate2::read::GzDecoder::new(compressed.body.as_slice()),
        &mut decompressed,
    )
    .unwrap();
    assert_eq!(decompressed, uncompressed.body);
}

#[tokio::test]
async fn a_head_request_returns_the_headers_of_a_get_request_without_the_body() {
    let gateway = RunningGateway::start_with_samples().await;
    for path in
        ["/fhir/metadata", "/fhir/ImagingStudy?_count=1", "/fhir/Endpoint/main", "/fhir/Endpoint/none"]
    {
        let get_response = gateway.get(path).await;
        let head_response =
            crate::support::client::send("HEAD", &format!("{}{path}", gateway.base_url()), &[]).await;
        assert_eq!((head_response.status, head_response.body.len()), (get_response.status, 0), "{path}");
        assert_eq!(
            head_response.header("content-length"),
            Some(get_response.body.len().to_string().as_str()),
            "{path}"
        );
        assert_eq!(head_response.header("etag"), get_response.header("etag"));
    }
}

#[tokio::test]
async fn concurrent_reads_of_one_study_share_their_upstream_requests() {
    let gateway = std::sync::Arc::new(RunningGateway::start_with_samples().await);
    let (studies, _) = gateway.search("/fhir/ImagingStudy?_elements=numberOfSeries&_count=100").await;
    let study = studies.iter().max_by_key(|study| study["numberOfSeries"].as_u64()).unwrap();
    let path = format!("/fhir/ImagingStudy/{}", study["id"].as_str().unwrap());
    let count_before = gateway.upstream_request_count("metadata");
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..30 {
        let (gateway, path) = (gateway.clone(), path.clone());
        readers.spawn(async move { gateway.get(&path).await.status });
    }
    assert!(readers.join_all().await.into_iter().all(|status| status == 200));
    assert_eq!(
        gateway.upstream_request_count("metadata") - count_before,
        study["numberOfSeries"].as_u64().unwrap()
    );
}

/// Rows without counts are the same after a study has grown.
#[tokio::test]
async fn a_study_whose_rows_have_no_counts_is_read_again_when_it_is_no_longer_fresh() {
    let study = |instance_count: usize| {
        let empty = || serde_json::json!({"vr": "IS"});
        Study::new("1.2.1").attribute("00201206", empty()).attribute("00201208", empty()).series(
            "1.2.1.1",
            "CT",
            instance_count,
        )
    };
    let pacs = Pacs::new().with_study(study(1)).start().await;
    let clock = Arc::new(ManualClock::default());
    let gateway = RunningGateway::start_with_clock(Arc::clone(&clock) as SharedClock, &pacs.url(), "").await;
    let read = async || gateway.get_json("/fhir/ImagingStudy/1.2.1").await["numberOfInstances"].clone();
    assert_eq!(read().await, 1);
    pacs.set_studies([study(2)]);
    for _ in 0..3 {
        // Reads and searches in between do not make the study fresh again.
        clock.advance(Duration::from_secs(20));
        gateway.get_json("/fhir/ImagingStudy").await;
    }
    assert_eq!(read().await, 2);
    let bundle = gateway.get_json("/fhir/ImagingStudy").await;
    assert_eq!(bundle["entry"][0]["resource"]["numberOfInstances"], 2, "{bundle}");
}
