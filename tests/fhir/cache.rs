//! Caching of FHIR responses: fresh entries, conditional requests, compression, and concurrent requests for one study.

use crate::support::gateway::RunningGateway;

#[tokio::test]
async fn fresh_studies_are_served_from_the_cache_unless_the_client_sends_no_cache() {
    let gateway = RunningGateway::start_with_samples().await;
    let id = gateway.search_ids("/fhir/ImagingStudy?_count=1&_elements=id").await.remove(0);
    let path = format!("/fhir/ImagingStudy/{id}");
    let first = gateway.get(&path).await;
    let requests = (gateway.upstream_request_count("search"), gateway.upstream_request_count("metadata"));
    assert_eq!(gateway.get(&path).await.body, first.body);
    assert_eq!(
        (gateway.upstream_request_count("search"), gateway.upstream_request_count("metadata")),
        requests
    );
    gateway.get_with_headers(&path, &[("Cache-Control", "no-cache")]).await;
    assert!(
        gateway.upstream_request_count("search") > requests.0
            && gateway.upstream_request_count("metadata") > requests.1
    );
    assert!(gateway.metrics().contains("gateway_cache_lookups_total{outcome=\"hit\"} 1"));
}

#[tokio::test]
async fn if_none_match_returns_304_for_the_current_etag() {
    let gateway = RunningGateway::start_with_samples().await;
    for path in ["/fhir/ImagingStudy?_count=3", "/fhir/Patient", "/fhir/Endpoint/main", "/fhir/metadata"] {
        let first = gateway.get(path).await;
        let tag = first.header("etag").unwrap().to_owned();
        assert!(tag.starts_with("W/\""));
        assert_eq!(first.header("cache-control"), Some("private, no-cache"));
        for conditions in [tag.clone(), format!("\"other\", {tag}"), "*".to_owned()] {
            let again = gateway.get_with_headers(path, &[("If-None-Match", &conditions)]).await;
            assert_eq!((again.status, again.body.len()), (304, 0), "{path} {conditions}");
            assert_eq!(again.header("etag"), Some(tag.as_str()));
        }
        assert_eq!(gateway.get_with_headers(path, &[("If-None-Match", "\"other\"")]).await.status, 200);
    }
}

#[tokio::test]
async fn bodies_are_compressed_if_the_client_accepts_gzip() {
    let gateway = RunningGateway::start_with_samples().await;
    let plain = gateway.get("/fhir/ImagingStudy?_count=5").await;
    assert_eq!(plain.header("content-encoding"), None);
    let packed =
        gateway.get_with_headers("/fhir/ImagingStudy?_count=5", &[("Accept-Encoding", "gzip")]).await;
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert!(packed.body.len() < plain.body.len() / 3);
    let mut unpacked = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(packed.body.as_slice()), &mut unpacked)
        .unwrap();
    assert_eq!(unpacked, plain.body);
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let gateway = RunningGateway::start_with_samples().await;
    for path in
        ["/fhir/metadata", "/fhir/ImagingStudy?_count=1", "/fhir/Endpoint/main", "/fhir/Endpoint/none"]
    {
        let got = gateway.get(path).await;
        let head = crate::support::client::send("HEAD", &format!("{}{path}", gateway.base_url()), &[]).await;
        assert_eq!((head.status, head.body.len()), (got.status, 0), "{path}");
        assert_eq!(head.header("content-length"), Some(got.body.len().to_string().as_str()), "{path}");
        assert_eq!(head.header("etag"), got.header("etag"));
    }
}

#[tokio::test]
async fn concurrent_reads_of_one_study_share_their_upstream_requests() {
    let gateway = std::sync::Arc::new(RunningGateway::start_with_samples().await);
    let (studies, _) = gateway.search("/fhir/ImagingStudy?_elements=numberOfSeries&_count=100").await;
    let study = studies.iter().max_by_key(|study| study["numberOfSeries"].as_u64()).unwrap();
    let path = format!("/fhir/ImagingStudy/{}", study["id"].as_str().unwrap());
    let before = gateway.upstream_request_count("metadata");
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..30 {
        let (gateway, path) = (gateway.clone(), path.clone());
        readers.spawn(async move { gateway.get(&path).await.status });
    }
    assert!(readers.join_all().await.into_iter().all(|status| status == 200));
    assert_eq!(
        gateway.upstream_request_count("metadata") - before,
        study["numberOfSeries"].as_u64().unwrap()
    );
}
