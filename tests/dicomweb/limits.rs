//! Limits on requests and lists, and protection against malicious responses of archives.

use crate::support::archive_root::ArchiveRoot;
use crate::support::client;
use crate::support::gateway::RunningGateway;
use crate::support::pacs::{CannedResponse, Pacs, Study};

#[tokio::test]
async fn searches_beyond_the_limits_of_keys_fields_and_paging_are_rejected() {
    let pacs = Pacs::new().with_fallback(CannedResponse::json("[]")).start().await;
    let root = ArchiveRoot::start(&pacs).await;
    let fields = |count: usize| {
        let tags = (0..count).map(|index| format!("0009{:04X}", 0x1000 + index)).collect::<Vec<_>>();
        format!("studies?includefield={}", tags.join(","))
    };
    for target in [
        "studies?limit=50000".to_owned(),
        "studies?offset=1000000".to_owned(),
        fields(256),
        format!("studies?PatientName={}", "a".repeat(4 * 1024)),
    ] {
        assert_eq!(client::get(&root.url(&target)).await.status, 200, "{}", &target[..30]);
    }
    let request_count = pacs.targets().len();
    for target in [
        "studies?limit=-1".to_owned(),
        "studies?offset=1000001".to_owned(),
        fields(257),
        format!("studies?PatientName={}", "a".repeat(4 * 1024 + 1)),
        format!("studies?PatientName={}&StudyID={0}", "a".repeat(3 * 1024)),
        format!("studies?{}", "accept&".repeat(1001)),
        "studies?StudyInstanceUID=1.2&0020000D=1.3".to_owned(),
        "studies?0020000d=1.2&0020000D=1.3".to_owned(),
        "studies?fuzzymatching=1".to_owned(),
    ] {
        assert_eq!(client::get(&root.url(&target)).await.status, 400, "{}", &target[..20]);
    }
    let long = client::get(&root.url(&format!("studies?PatientName={}", "a".repeat(64 * 1024)))).await;
    assert!(matches!(long.status, 414 | 431), "{}", long.status);
    assert_eq!(pacs.targets().len(), request_count);
}

#[tokio::test]
async fn a_limit_of_zero_returns_an_empty_list_and_a_limit_above_the_maximum_is_reduced() {
    let pacs = Pacs::new().with_study(Study::new("1.2").series("1.2.1", "CT", 1)).start().await;
    let root = ArchiveRoot::start(&pacs).await;
    let aggregate = |target: &str| root.url(target).replace("/main/", "/");
    for target in ["studies?limit=0", "studies/1.2/series?limit=0&offset=5", "instances?limit=00"] {
        for url in [root.url(target), aggregate(target)] {
            let response = client::get(&url).await;
            assert_eq!((response.status, response.text().as_str()), (200, "[]"), "{url}");
            let xml = client::get_with_headers(&url, &[("Accept", "application/dicom+xml")]).await;
            assert_eq!((xml.status, xml.body.len()), (204, 0), "{url}");
        }
    }
    for target in ["studies?limit=0&NoSuchAttr=1", "studies?limit=0&PatientID=1&00100020=2"] {
        assert_eq!(client::get(&root.url(target)).await.status, 400, "{target}");
    }
    assert_eq!(pacs.targets(), [""; 0]);
    let complete = client::get(&root.url("studies?limit=50000")).await;
    assert_eq!((complete.status, complete.header("warning")), (200, None));
    for limit in ["50001", "1000000", "99999999999999999999"] {
        let response = client::get(&root.url(&format!("studies?limit={limit}"))).await;
        assert_eq!((response.status, response.json()), (200, complete.json()));
        assert!(response.header("warning").unwrap().starts_with("299 "), "the list may be longer");
        assert!(pacs.targets().pop().unwrap().ends_with("?limit=50000"));
    }
}

#[tokio::test]
async fn a_merged_list_that_is_truncated_at_max_scan_has_a_warning() {
    let studies = (0..12).map(|number| Study::new(&format!("1.{number}")));
    let pacs = studies.fold(Pacs::new(), Pacs::with_study).start().await;
    let gateway = RunningGateway::start(&pacs.url(), "[search]\nmax_scan = 10\n").await;
    let truncated = gateway.get("/dicom-web/studies?limit=1000000").await;
    assert_eq!(
        (truncated.status, truncated.json().as_array().unwrap().len()),
        (200, 10),
        "{}",
        truncated.text()
    );
    assert!(truncated.header("warning").unwrap().contains("additional results"));
    let last_page = gateway.get("/dicom-web/studies?limit=1000000&offset=7").await;
    assert_eq!((last_page.status, last_page.json().as_array().unwrap().len()), (200, 3));
    assert!(last_page.header("warning").unwrap().contains("additional results"));
    assert_eq!(gateway.get("/dicom-web/studies?limit=5&offset=11").await.status, 413);
    assert_eq!(
        gateway.get("/dicom-web/studies").await.status,
        413,
        "a list without a limit is never truncated"
    );
}

const INSTANCE: &str = "studies/1.2/series/1.2.1/instances/1.2.1.1";

/// Archives have crashed after such requests.
#[tokio::test]
async fn rendering_requests_beyond_the_limits_cause_no_upstream_request() {
    let frames = |count: usize| (1..=count).map(|frame| frame.to_string()).collect::<Vec<_>>().join(",");
    let uids = "requestType=WADO&studyUID=1.2&seriesUID=1.2.1&objectUID=1.2.1.1";
    let pacs = Pacs::new()
        .with_fallback(CannedResponse::bytes("image/jpeg", "rendered by the archive"))
        .start()
        .await;
    let config = format!("wado_uri_url = \"{}/uri/wado\"", pacs.url());
    let forwarding = ArchiveRoot::start_with_config(&pacs.url(), &config).await;
    let rendering =
        ArchiveRoot::start_with_config(&pacs.url(), &format!("{config}\nsynthesize = [\"rendered\"]")).await;
    for target in [
        format!("{INSTANCE}/rendered?viewport=100000,100000"),
        format!("{INSTANCE}/rendered?viewport=8193,1"),
        format!("{INSTANCE}/rendered?viewport=8192,8192"),
        format!("{INSTANCE}/rendered?viewport=4294967295,4294967295"),
        format!("{INSTANCE}/rendered?viewport=512,512,0,0,1e9,1e9"),
        format!("{INSTANCE}/rendered?viewport=0.5,1"),
        format!("{INSTANCE}/rendered?window=40,0,linear"),
        format!("{INSTANCE}/rendered?quality=101"),
        format!("{INSTANCE}/thumbnail?viewport=1,9000"),
        "studies/1.2/rendered?viewport=1000000,1".to_owned(),
        format!("{INSTANCE}/frames/{}/rendered", frames(1001)),
        format!("{INSTANCE}/frames/{}/rendered?viewport=2048,2048", frames(257)),
        format!("{INSTANCE}/frames/{}", frames(1001)),
        format!("wado?{uids}&rows=8193"),
        format!("wado?{uids}&rows=100000&columns=100000"),
        format!("wado?{uids}&rows=8192&columns=8192"),
        format!("wado?{uids}&frameNumber=99999999999"),
    ] {
        for root in [&forwarding, &rendering] {
            for url in [root.url(&target), root.url(&target).replace("/main/", "/")] {
                let response = client::get(&url).await;
                assert_eq!(response.status, 400, "{url:.120}: {}", response.text());
            }
        }
    }
    assert_eq!(pacs.targets(), [""; 0]);
    for target in [
        format!("{INSTANCE}/rendered?viewport=7680,4320"),
        format!("{INSTANCE}/rendered?viewport=512,512,1.5,,-10,"),
        format!("{INSTANCE}/frames/{}/rendered?viewport=1024,1024", frames(1000)),
        format!("wado?{uids}&rows=4320&columns=7680"),
    ] {
        let response = client::get(&forwarding.url(&target)).await;
        assert_eq!(response.text(), "rendered by the archive", "{target:.120}");
    }
}

/// The first request may have crashed the archive, and a second one would crash it again.
#[tokio::test]
async fn rendering_requests_are_not_retried() {
    let uids = "requestType=WADO&studyUID=1.2&seriesUID=1.2.1&objectUID=1.2.1.1";
    let accept = [("Accept", "image/png, image/jpeg;q=0.9, image/gif;q=0.8")];
    for failure in [
        CannedResponse::connection_closed(),
        CannedResponse::status(502),
        CannedResponse::status(503),
        CannedResponse::status(504),
    ] {
        for target in [
            format!("{INSTANCE}/rendered"),
            format!("{INSTANCE}/thumbnail"),
            format!("{INSTANCE}/frames/1/rendered"),
            format!("wado?{uids}"),
        ] {
            let pacs = Pacs::new().with_fallback(failure.clone()).start().await;
            let config = format!("wado_uri_url = \"{}/uri/wado\"", pacs.url());
            let root = ArchiveRoot::start_with_config(&pacs.url(), &config).await;
            let response = client::get_with_headers(&root.url(&target), &accept).await;
            assert!(response.status >= 500, "{target}: {}", response.status);
            assert_eq!(pacs.targets().len(), 1, "{target}, {failure:?}: {:?}", pacs.targets());
        }
    }
    let pacs = Pacs::new().with_fallback(CannedResponse::connection_closed()).start().await;
    let root = ArchiveRoot::start(&pacs).await;
    assert_eq!(client::get(&root.url(INSTANCE)).await.status, 502);
    assert_eq!(pacs.targets().len(), 2, "a request for an instance is retried once");
}

#[tokio::test]
async fn partial_content_is_forwarded_with_its_warning_and_not_cached() {
    let parts = CannedResponse::multipart("b", [("Content-Type: application/dicom", &b"DICM"[..])])
        .with_status(206)
        .header("Warning", "299 http://pacs/rs \"1 of 2 objects no longer accessible\"");
    let pacs = Pacs::new().with_response("/studies/1.2", parts).start().await;
    let root = ArchiveRoot::start(&pacs).await;
    for _ in 0..2 {
        let response = client::get(&root.url("studies/1.2")).await;
        assert_eq!((response.status, response.is_complete), (206, true));
        let warning = "299 dicomweb-gateway \"1 of 2 objects no longer accessible\"";
        assert_eq!(response.header("warning"), Some(warning));
        assert_eq!(response.header("content-range"), None);
    }
    assert_eq!(pacs.targets().len(), 2, "not one upstream request per response");
}

#[tokio::test]
async fn urls_in_responses_are_never_requested() {
    let other_server =
        Pacs::new().with_fallback(CannedResponse::bytes("application/octet-stream", "secret")).start().await;
    let urls = [
        format!("{}/studies/1.2/bulkdata/1", other_server.url()),
        format!("//{}/x", other_server.authority()),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "file:///etc/passwd".to_owned(),
    ];
    let objects = urls.iter().map(|url| {
        serde_json::json!({
            "0020000D": {"vr": "UI", "Value": ["1.2"]},
            "0020000E": {"vr": "UI", "Value": ["1.2.1"]},
            "00080018": {"vr": "UI", "Value": ["1.2.1.1"]},
            "00081190": {"vr": "UR", "Value": [url]},
            "7FE00010": {"vr": "OW", "BulkDataURI": url},
        })
    });
    let rows = CannedResponse::json(objects.collect::<serde_json::Value>().to_string());
    let pacs = Pacs::new()
        .with_fallback(rows.header("Location", &urls[0]).header("Link", &format!("<{}>", urls[0])))
        .start()
        .await;
    let root = ArchiveRoot::start(&pacs).await;
    for target in ["studies", "studies/1.2/series", "studies/1.2/metadata"] {
        for accept in ["application/dicom+json", "application/dicom+xml"] {
            let response = client::get_with_headers(&root.url(target), &[("Accept", accept)]).await;
            assert_eq!((response.status, response.is_complete), (200, true), "{target}");
            assert!(response.header("location").is_none() && response.header("link").is_none());
            for host in ["169.254", "file:", &other_server.authority()] {
                assert!(!response.text().contains(host), "{target} as {accept}: {}", response.text());
            }
        }
    }
    assert_eq!(other_server.targets(), [""; 0]);
}

#[tokio::test]
async fn svg_images_are_forwarded_with_a_policy_that_blocks_scripts() {
    let svg = "<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>";
    let pacs = Pacs::new()
        .with_response("/studies/1.2/rendered", CannedResponse::bytes("image/svg+xml", svg))
        .start()
        .await;
    let response = client::get(&ArchiveRoot::start(&pacs).await.url("studies/1.2/rendered")).await;
    assert_eq!((response.status, response.text().as_str()), (200, svg));
    assert_eq!(response.header("content-security-policy"), Some("default-src 'none'; sandbox"));
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
}
