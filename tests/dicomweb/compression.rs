//! Compression of responses: rows and metadata are compressed if the client accepts it, pixel data never.

use std::io::Read;

use crate::support::archive_root::ArchiveRoot;
use crate::support::client::{self, ReceivedResponse};
use crate::support::pacs::{CannedResponse, Framing, Pacs, Study};

fn decompress(response: &ReceivedResponse) -> Vec<u8> {
    let mut text = Vec::new();
    let body = response.body.as_slice();
    match response.header("content-encoding") {
        Some("zstd") => zstd::stream::read::Decoder::new(body).unwrap().read_to_end(&mut text),
        Some("br") => brotli::Decompressor::new(body, 4096).read_to_end(&mut text),
        Some("gzip") => flate2::read::GzDecoder::new(body).read_to_end(&mut text),
        _ => Ok(0),
    }
    .unwrap();
    text
}

#[tokio::test]
async fn rows_and_metadata_are_compressed_with_the_preferred_content_coding() {
    let pacs = Pacs::new().with_study(Study::new("1.2").series("1.2.1", "CT", 200)).start().await;
    let root = ArchiveRoot::start(&pacs).await;
    for target in ["studies/1.2/metadata", "studies/1.2/instances"] {
        let uncompressed = client::get(&root.url(target)).await;
        assert_eq!(uncompressed.header("content-encoding"), None);
        for (accepted, coding) in
            [("gzip, deflate, br, zstd", "zstd"), ("br", "br"), ("gzip;q=0.5, br;q=0.1", "gzip")]
        {
            let response =
                client::get_with_headers(&root.url(target), &[("Accept-Encoding", accepted)]).await;
            assert_eq!((response.status, response.is_complete), (200, true));
            assert_eq!(response.header("content-encoding"), Some(coding));
            assert!(response.header("vary").unwrap().contains("Accept-Encoding"));
            assert!(response.body.len() < uncompressed.body.len() / 4, "{}", response.body.len());
            assert_eq!(decompress(&response), uncompressed.body, "{target} as {coding}");
        }
    }
}

#[tokio::test]
async fn pixel_data_is_never_compressed() {
    let data = vec![0; 100_000];
    let frames = "studies/1.2/series/1.2.1/instances/1.2.1.1/frames/1";
    let pacs = Pacs::new()
        .with_response(
            &format!("/{frames}"),
            CannedResponse::multipart("b", [("Content-Type: application/octet-stream", data.as_slice())]),
        )
        .with_response(
            "/studies/1.2/bulkdata/1",
            CannedResponse::bytes("application/octet-stream", data.clone()),
        )
        .with_response("/studies/1.2/rendered", CannedResponse::bytes("image/jpeg", data.clone()))
        .start()
        .await;
    let root = ArchiveRoot::start(&pacs).await;
    for target in [frames, "studies/1.2/bulkdata/1", "studies/1.2/rendered"] {
        let response =
            client::get_with_headers(&root.url(target), &[("Accept-Encoding", "gzip, br, zstd")]).await;
        assert_eq!((response.status, response.header("content-encoding")), (200, None), "{target}");
        assert!(response.body.len() >= data.len());
    }
}

#[tokio::test]
async fn a_truncated_list_never_looks_complete_with_any_content_coding() {
    let body = format!("[{}{{}}]", r#"{"00080005":{"vr":"CS"}},"#.repeat(200));
    for coding in ["gzip", "br", "zstd"] {
        let lengths = (0..body.len()).step_by(97);
        let truncated =
            |bytes| CannedResponse::json(body.clone()).with_framing(Framing::UntilClose).abort_after(bytes);
        let pacs = Pacs::new().with_responses("/studies", lengths.clone().map(truncated)).start().await;
        let root = ArchiveRoot::start(&pacs).await;
        for bytes in lengths {
            let response =
                client::get_with_headers(&root.url("studies"), &[("Accept-Encoding", coding)]).await;
            assert!(!response.is_complete || response.status >= 500, "{coding} truncated after {bytes}");
        }
    }
}
