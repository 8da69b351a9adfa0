//! Limits on requests, and responses of malicious archives.

use crate::support::archive_root::ArchiveRoot;
use crate::support::client;
use crate::support::pacs::{Answer, Pacs};

#[tokio::test]
async fn searches_beyond_the_limits_of_keys_fields_and_paging_are_rejected() {
    let pacs = Pacs::new().otherwise(Answer::json("[]")).start().await;
    let root = ArchiveRoot::of(&pacs).await;
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
    let sent = pacs.targets().len();
    for target in [
        "studies?limit=50001".to_owned(),
        "studies?limit=0".to_owned(),
        "studies?offset=1000001".to_owned(),
        fields(257),
        format!("studies?{}", "accept&".repeat(1001)),
        "studies?StudyInstanceUID=1.2&0020000D=1.3".to_owned(),
        "studies?0020000d=1.2&0020000D=1.3".to_owned(),
        "studies?fuzzymatching=1".to_owned(),
    ] {
        assert_eq!(client::get(&root.url(&target)).await.status, 400, "{}", &target[..20]);
    }
    let long = client::get(&root.url(&format!("studies?PatientName={}", "a".repeat(64 * 1024)))).await;
    assert!(matches!(long.status, 414 | 431), "{}", long.status);
    assert_eq!(pacs.targets().len(), sent);
}

#[tokio::test]
async fn partial_content_is_forwarded_with_its_warning_and_not_cached() {
    let parts = Answer::parts("b", [("Content-Type: application/dicom", &b"DICM"[..])])
        .with_status(206)
        .header("Warning", "299 http://pacs/rs \"1 of 2 objects no longer accessible\"");
    let pacs = Pacs::new().at("/studies/1.2", parts).start().await;
    let root = ArchiveRoot::of(&pacs).await;
    for _ in 0..2 {
        let answer = client::get(&root.url("studies/1.2")).await;
        assert_eq!((answer.status, answer.complete), (206, true));
        let warning = "299 dicomweb-gateway \"1 of 2 objects no longer accessible\"";
        assert_eq!(answer.header("warning"), Some(warning));
        assert_eq!(answer.header("content-range"), None);
    }
    assert_eq!(pacs.targets().len(), 2, "one request each");
}

#[tokio::test]
async fn urls_in_responses_are_never_requested() {
    let elsewhere = Pacs::new().otherwise(Answer::bytes("application/octet-stream", "secret")).start().await;
    let bait = [
        format!("{}/studies/1.2/bulkdata/1", elsewhere.url()),
        format!("//{}/x", elsewhere.authority()),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "file:///etc/passwd".to_owned(),
    ];
    let objects = bait.iter().map(|url| {
        serde_json::json!({
            "0020000D": {"vr": "UI", "Value": ["1.2"]},
            "0020000E": {"vr": "UI", "Value": ["1.2.1"]},
            "00080018": {"vr": "UI", "Value": ["1.2.1.1"]},
            "00081190": {"vr": "UR", "Value": [url]},
            "7FE00010": {"vr": "OW", "BulkDataURI": url},
        })
    });
    let rows = Answer::json(objects.collect::<serde_json::Value>().to_string());
    let pacs = Pacs::new()
        .otherwise(rows.header("Location", &bait[0]).header("Link", &format!("<{}>", bait[0])))
        .start()
        .await;
    let root = ArchiveRoot::of(&pacs).await;
    for target in ["studies", "studies/1.2/series", "studies/1.2/metadata"] {
        for accept in ["application/dicom+json", "application/dicom+xml"] {
            let answer = client::get_with(&root.url(target), &[("Accept", accept)]).await;
            assert_eq!((answer.status, answer.complete), (200, true), "{target}");
            assert!(answer.header("location").is_none() && answer.header("link").is_none());
            for host in ["169.254", "file:", &elsewhere.authority()] {
                assert!(!answer.text().contains(host), "{target} as {accept}: {}", answer.text());
            }
        }
    }
    assert_eq!(elsewhere.targets(), [""; 0]);
}

#[tokio::test]
async fn svg_images_are_forwarded_with_a_policy_that_blocks_scripts() {
    let svg = "<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>";
    let pacs = Pacs::new().at("/studies/1.2/rendered", Answer::bytes("image/svg+xml", svg)).start().await;
    let answer = client::get(&ArchiveRoot::of(&pacs).await.url("studies/1.2/rendered")).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, svg));
    assert_eq!(answer.header("content-security-policy"), Some("default-src 'none'; sandbox"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
}
