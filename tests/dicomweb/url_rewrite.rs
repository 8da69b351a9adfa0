//! URL rewriting: no URL of an archive reaches a client.

use serde_json::json;

use crate::support::archive_root::{ArchiveRoot, PUBLIC_URL};
use crate::support::client;
use crate::support::pacs::{CannedResponse, Framing, Pacs, Study};

#[tokio::test]
async fn urls_in_rows_and_metadata_are_rewritten_to_the_gateway() {
    for base_url in [None, Some("http://inner.example:8042"), Some("https://inner.example")] {
        let mut pacs = Pacs::new().with_study(Study::new("1.2").series("1.2.1", "CT", 3));
        if let Some(base_url) = base_url {
            pacs = pacs.with_base_url(base_url);
        }
        let pacs = pacs.start().await;
        let root = ArchiveRoot::start(&pacs).await;
        for target in [
            "studies",
            "studies/1.2/series",
            "studies/1.2/instances",
            "studies/1.2/series/1.2.1/instances",
            "studies/1.2/metadata",
            "studies/1.2/series/1.2.1/metadata",
        ] {
            let response = client::get(&root.url(target)).await;
            assert!(response.is_complete);
            let text = response.text();
            assert!(!text.contains("inner.example") && !text.contains("127.0.0.1"), "{target}: {text}");
            assert!(text.contains(&format!("\"{PUBLIC_URL}/studies/1.2")), "{target}: {text}");
            let rows = response.json();
            assert!(rows.as_array().is_some_and(|rows| !rows.is_empty()), "{target}");
        }
    }
}

#[tokio::test]
async fn urls_outside_the_archive_are_removed() {
    let row = json!([{
        "00081190": {"vr": "UR", "Value": ["http://169.254.169.254/latest"]},
        "7FE00010": {"vr": "OW", "BulkDataURI": "file:///etc/passwd"},
        "00091002": {"vr": "UN", "BulkDataURI": "//evil.example/x"},
        "00091003": {"vr": "UN", "BulkDataURI": format!("http://evil.example/{}", "x".repeat(20_000))},
        "00081030": {"vr": "LO", "Value": ["see http://dicom.nema.org/"]},
    }]);
    let pacs = Pacs::new()
        .with_response("/studies/1.2/metadata", CannedResponse::json(row.to_string()))
        .start()
        .await;
    let response = client::get(&ArchiveRoot::start(&pacs).await.url("studies/1.2/metadata")).await;
    assert_eq!(
        response.json(),
        json!([{
            "00081190": {"vr": "UR", "Value": [""]},
            "7FE00010": {"vr": "OW"},
            "00091002": {"vr": "UN"},
            "00091003": {"vr": "UN"},
            "00081030": {"vr": "LO", "Value": ["see http://dicom.nema.org/"]},
        }])
    );
}

#[tokio::test]
async fn content_locations_of_parts_are_rewritten_and_their_bytes_unchanged() {
    let data: Vec<u8> = (0..=255).cycle().take(200_000).collect();
    let frames = "studies/1.2/series/1.2.1/instances/1.2.1.1/frames/1,2";
    let response = CannedResponse::multipart(
        "boundary",
        [
            (
                "Content-Type: application/octet-stream\r\nContent-Location: http://inner:8042/dicom-web/studies/1.2/series/1.2.1/instances/1.2.1.1/frames/1",
                data.as_slice(),
            ),
            ("Content-Type: application/octet-stream\r\nContent-Location: http://third/x", data.as_slice()),
        ],
    );
    for framing in [Framing::UntilClose, Framing::Chunked, Framing::ContentLength] {
        let pacs = Pacs::new()
            .with_response(&format!("/{frames}"), response.clone().with_framing(framing))
            .start()
            .await;
        let response = client::get(&ArchiveRoot::start(&pacs).await.url(frames)).await;
        assert!(response.is_complete);
        let mut expected = Vec::new();
        let location =
            format!("\r\nContent-Location: {PUBLIC_URL}/studies/1.2/series/1.2.1/instances/1.2.1.1/frames/1");
        for location in [location.as_str(), ""] {
            expected.extend_from_slice(b"--boundary\r\nContent-Type: application/octet-stream");
            expected.extend_from_slice(location.as_bytes());
            expected.extend_from_slice(b"\r\n\r\n");
            expected.extend_from_slice(&data);
            expected.extend_from_slice(b"\r\n");
        }
        expected.extend_from_slice(b"--boundary--\r\n");
        assert!(response.body == expected, "{framing:?}");
    }
}
