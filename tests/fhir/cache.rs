use crate::support::gateway::RunningGateway;

#[tokio::test]
async fn what_is_fresh_is_given_again_without_asking_the_archive() {
    let gateway = RunningGateway::over_samples().await;
    let id = gateway.ids("/fhir/ImagingStudy?_count=1&_elements=id").await.remove(0);
    let path = format!("/fhir/ImagingStudy/{id}");
    let first = gateway.get(&path).await;
    let asked = (gateway.asked("search"), gateway.asked("metadata"));
    assert_eq!(gateway.get(&path).await.body, first.body);
    assert_eq!((gateway.asked("search"), gateway.asked("metadata")), asked);
    gateway.get_with(&path, &[("Cache-Control", "no-cache")]).await;
    assert!(gateway.asked("search") > asked.0 && gateway.asked("metadata") > asked.1);
    assert!(gateway.metrics().contains("gateway_cache_lookups_total{outcome=\"hit\"} 1"));
}

#[tokio::test]
async fn a_caller_who_has_it_already_is_told_so() {
    let gateway = RunningGateway::over_samples().await;
    for path in ["/fhir/ImagingStudy?_count=3", "/fhir/Patient", "/fhir/Endpoint/main", "/fhir/metadata"] {
        let first = gateway.get(path).await;
        let tag = first.header("etag").unwrap().to_owned();
        assert!(tag.starts_with("W/\""));
        assert_eq!(first.header("cache-control"), Some("private, no-cache"));
        for conditions in [tag.clone(), format!("\"other\", {tag}"), "*".to_owned()] {
            let again = gateway.get_with(path, &[("If-None-Match", &conditions)]).await;
            assert_eq!((again.status, again.body.len()), (304, 0), "{path} {conditions}");
            assert_eq!(again.header("etag"), Some(tag.as_str()));
        }
        assert_eq!(gateway.get_with(path, &[("If-None-Match", "\"other\"")]).await.status, 200);
    }
}

#[tokio::test]
async fn bodies_are_compressed_for_those_who_take_that() {
    let gateway = RunningGateway::over_samples().await;
    let plain = gateway.get("/fhir/ImagingStudy?_count=5").await;
    assert_eq!(plain.header("content-encoding"), None);
    let packed = gateway.get_with("/fhir/ImagingStudy?_count=5", &[("Accept-Encoding", "gzip")]).await;
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert!(packed.body.len() < plain.body.len() / 3);
    let mut unpacked = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(packed.body.as_slice()), &mut unpacked)
        .unwrap();
    assert_eq!(unpacked, plain.body);
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let gateway = RunningGateway::over_samples().await;
    for path in
        ["/fhir/metadata", "/fhir/ImagingStudy?_count=1", "/fhir/Endpoint/main", "/fhir/Endpoint/none"]
    {
        let got = gateway.get(path).await;
        let head = crate::support::client::send("HEAD", &format!("{}{path}", gateway.address()), &[]).await;
        assert_eq!((head.status, head.body.len()), (got.status, 0), "{path}");
        assert_eq!(head.header("content-length"), Some(got.body.len().to_string().as_str()), "{path}");
        assert_eq!(head.header("etag"), got.header("etag"));
    }
}

#[tokio::test]
async fn many_who_ask_for_one_study_at_once_cost_the_archive_one_look() {
    let gateway = std::sync::Arc::new(RunningGateway::over_samples().await);
    let (studies, _) = gateway.matches("/fhir/ImagingStudy?_elements=numberOfSeries&_count=100").await;
    let study = studies.iter().max_by_key(|study| study["numberOfSeries"].as_u64()).unwrap();
    let path = format!("/fhir/ImagingStudy/{}", study["id"].as_str().unwrap());
    let before = gateway.asked("metadata");
    let mut askers = tokio::task::JoinSet::new();
    for _ in 0..30 {
        let (gateway, path) = (gateway.clone(), path.clone());
        askers.spawn(async move { gateway.get(&path).await.status });
    }
    assert!(askers.join_all().await.into_iter().all(|status| status == 200));
    assert_eq!(gateway.asked("metadata") - before, study["numberOfSeries"].as_u64().unwrap());
}
