//! Streamed bodies: complete, truncated, slow, compressed, and range requests.

use crate::support::archive_root::ArchiveRoot;
use crate::support::client::{self, ReceivedResponse};
use crate::support::pacs::{CannedResponse, Framing, Pacs, Study};
use crate::support::retries::retry_with_longer_deadlines;

const FRAMES: &str = "studies/1.2/series/1.2.1/instances/1.2.1.1/frames";

fn two_parts() -> CannedResponse {
    CannedResponse::multipart(
        "b",
        [
            ("Content-Type: application/dicom", &b"DICM one \r\n--b"[..]),
            ("Content-Type: application/dicom", &b"DICM two"[..]),
        ],
    )
}

#[tokio::test]
async fn bodies_are_forwarded_byte_for_byte() {
    let body: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let pacs = Pacs::new()
        .with_response(
            "/studies/1.2/bulkdata/1",
            CannedResponse::bytes("application/octet-stream", body.clone()),
        )
        .with_response(
            "/studies/1.2/bulkdata/2",
            CannedResponse::bytes("application/octet-stream", body.clone()).with_framing(Framing::Chunked),
        )
        .start()
        .await;
    let root = ArchiveRoot::start(&pacs).await;
    for target in ["studies/1.2/bulkdata/1", "studies/1.2/bulkdata/2"] {
        let response = client::get(&root.url(target)).await;
        assert_eq!((response.status, response.is_complete), (200, true));
        assert!(response.body == body, "{target}");
    }
}

#[tokio::test]
async fn a_boundary_that_the_archive_does_not_declare_is_declared_to_the_client() {
    for declared in ["multipart/related", "multipart/related; type=\"application/dicom\""] {
        let pacs =
            Pacs::new().with_response("/studies/1.2", two_parts().with_content_type(declared)).start().await;
        let response = client::get(&ArchiveRoot::start(&pacs).await.url("studies/1.2")).await;
        assert_eq!((response.status, response.is_complete), (200, true), "{}", response.text());
        let expected = format!("{declared}; boundary=\"b\"");
        assert_eq!(response.header("content-type"), Some(expected.as_str()));
        assert!(response.text().ends_with("--b--\r\n"), "{}", response.text());
    }
}

#[tokio::test]
async fn a_body_shorter_than_its_content_length_aborts_the_transfer() {
    let body = vec![1; 100_000];
    let short = CannedResponse::bytes("application/octet-stream", body)
        .with_framing(Framing::WrongContentLength(200_000));
    let pacs = Pacs::new().with_response("/studies/1.2/bulkdata/1", short.abort_after(100_000)).start().await;
    let response = client::get(&ArchiveRoot::start(&pacs).await.url("studies/1.2/bulkdata/1")).await;
    assert_eq!((response.status, response.is_complete), (200, false));
    assert_eq!(
        pacs.targets().len(),
        1,
        "a request is not retried after a part of the body has been received"
    );
}

#[tokio::test]
async fn a_short_body_that_is_empty_or_truncated_is_an_error_before_the_response_begins() {
    let octets = |body: &str| CannedResponse::bytes("application/octet-stream", body);
    let image = |body: &str| CannedResponse::bytes("image/webp", body);
    let parts = CannedResponse::bytes("multipart/related; boundary=b", "--b\r\n\r\n01")
        .with_framing(Framing::ContentLength);
    for (target, upstream_response) in [
        (
            "studies/1.2/bulkdata/1",
            octets("0123456789").with_framing(Framing::WrongContentLength(20)).abort_after(10),
        ),
        ("studies/1.2/bulkdata/1", octets("0123456789").abort_after(0)),
        ("studies/1.2/bulkdata/1", octets("0123456789").with_framing(Framing::Chunked).abort_after(0)),
        ("studies/1.2/bulkdata/1", octets("")),
        ("studies/1.2/bulkdata/1", octets("").with_framing(Framing::Chunked)),
        ("studies/1.2/bulkdata/1", octets("").with_framing(Framing::UntilClose)),
        ("studies/1.2/rendered", image("")),
        ("studies/1.2/rendered", image("0123").abort_after(3)),
        ("studies/1.2/metadata", CannedResponse::json(r#"[{"a":"#)),
        (
            "studies/1.2/metadata",
            CannedResponse::json("[]").with_framing(Framing::WrongContentLength(20)).abort_after(2),
        ),
        ("studies/1.2/metadata", CannedResponse::json("")),
        ("studies/1.2", parts.clone()),
        ("studies/1.2", parts.with_content_type("multipart/related")),
        ("studies", CannedResponse::json(r#"[{"0020000D":{"vr":"UI"}}"#)),
    ] {
        let pacs = Pacs::new().with_response(&format!("/{target}"), upstream_response.clone()).start().await;
        let response = client::get(&ArchiveRoot::start(&pacs).await.url(target)).await;
        assert_eq!((response.status, response.is_complete), (502, true), "{target} {upstream_response:?}");
        assert!(response.text().contains("Archive main"), "{}", response.text());
    }
}

/// Some archives report a failure as an object with status 200.
#[tokio::test]
async fn metadata_that_is_an_object_instead_of_a_list_is_an_error() {
    let instance = "studies/1.2/series/1.2.1/instances/1.2.1.1/metadata";
    for target in ["studies/1.2/metadata", "studies/1.2/series/1.2.1/metadata", instance] {
        for object in [r#"{"error":"no such study"}"#, " {}", "\u{feff}{\"00080018\":{\"vr\":\"UI\"}}"] {
            let pacs =
                Pacs::new().with_response(&format!("/{target}"), CannedResponse::json(object)).start().await;
            for accept in ["application/dicom+json", "application/dicom+xml"] {
                let root = ArchiveRoot::start(&pacs).await;
                let response = client::get_with_headers(&root.url(target), &[("Accept", accept)]).await;
                assert_eq!(response.status, 502, "{target} {object}: {}", response.text());
                assert!(!response.text().contains("no such study"));
            }
        }
    }
}

#[tokio::test]
async fn frames_without_a_closing_delimiter_are_complete_only_if_the_profile_allows_it() {
    let unclosed = CannedResponse::bytes("multipart/related; boundary=b", "--b\r\n\r\n0123")
        .with_framing(Framing::UntilClose);
    let pacs = Pacs::new()
        .with_response(&format!("/{FRAMES}"), unclosed.clone())
        .with_response(&format!("/{FRAMES}/1"), unclosed)
        .start()
        .await;
    let generic = ArchiveRoot::start(&pacs).await;
    let is_complete = |response: ReceivedResponse| response.is_complete && response.status == 200;
    assert!(!is_complete(client::get(&generic.url(FRAMES)).await));
    for framing in [Framing::UntilClose, Framing::ContentLength, Framing::Chunked] {
        let unclosed =
            CannedResponse::bytes("multipart/related; boundary=b", "--b\r\n\r\n0123").with_framing(framing);
        let pacs = Pacs::new().with_response(&format!("/{FRAMES}"), unclosed).start().await;
        let orthanc = ArchiveRoot::start_with_config(&pacs.url(), "profile = \"orthanc\"").await;
        let closed = client::get(&orthanc.url(FRAMES)).await;
        assert_eq!((closed.status, closed.is_complete), (200, true));
        assert_eq!(closed.text(), "--b\r\n\r\n0123\r\n--b--\r\n", "{framing:?}");
    }
    let orthanc = ArchiveRoot::start_with_config(&pacs.url(), "profile = \"orthanc\"").await;
    assert!(!is_complete(client::get(&orthanc.url(&format!("{FRAMES}/1"))).await));
}

#[tokio::test]
async fn slow_bodies_are_forwarded_and_stalled_ones_aborted() {
    retry_with_longer_deadlines(|deadline| async move {
        let body = "0123456789";
        let pacs = Pacs::new()
            .with_response(
                "/studies/1.2/bulkdata/1",
                CannedResponse::bytes("image/png", body).in_pieces(1, deadline / 6),
            )
            .with_response("/studies/1.2/bulkdata/2", CannedResponse::bytes("image/png", body).stall_after(5))
            .with_response("/studies/1.2/bulkdata/3", CannedResponse::never_sent())
            .with_response(
                "/studies/1.2/bulkdata/4",
                CannedResponse::bytes("image/png", vec![0; 100_000]).stall_after(50_000),
            )
            .start()
            .await;
        let root =
            ArchiveRoot::start_with_config(&pacs.url(), &format!("timeout = \"{}ms\"", deadline.as_millis()))
                .await;
        let slow = client::get(&root.url("studies/1.2/bulkdata/1")).await;
        assert_eq!(
            (slow.is_complete, slow.text().as_str()),
            (true, body),
            "takes longer than the deadline, but is never idle"
        );
        let stalled = client::get(&root.url("studies/1.2/bulkdata/2")).await;
        assert_eq!((stalled.status, stalled.is_complete), (504, true), "the response has not started");
        let stalled = client::get(&root.url("studies/1.2/bulkdata/4")).await;
        assert_eq!((stalled.status, stalled.is_complete), (200, false));
        assert_eq!(client::get(&root.url("studies/1.2/bulkdata/3")).await.status, 504);
    })
    .await;
}

#[tokio::test]
async fn gzip_that_was_not_requested_is_decoded_unless_the_client_accepts_it() {
    let row = r#"[{"00080005":{"vr":"CS"}}]"#;
    let pacs = Pacs::new()
        .with_response("/studies", CannedResponse::json(row).gzip())
        .with_response(
            "/studies/1.2/metadata",
            CannedResponse::bytes("application/gzip", row).undeclared_gzip(),
        )
        .with_response("/studies/1.2/bulkdata/1", CannedResponse::bytes("image/png", row).gzip())
        .start()
        .await;
    let root = ArchiveRoot::start(&pacs).await;
    for (target, content_type) in [
        ("studies", "application/dicom+json"),
        ("studies/1.2/metadata", "application/dicom+json"),
        ("studies/1.2/bulkdata/1", "image/png"),
    ] {
        let response = client::get(&root.url(target)).await;
        assert_eq!((response.is_complete, response.text().as_str()), (true, row), "{target}");
        assert_eq!(response.header("content-encoding"), None);
        assert_eq!(response.header("content-type"), Some(content_type));
    }
    let compressed =
        client::get_with_headers(&root.url("studies/1.2/bulkdata/1"), &[("Accept-Encoding", "gzip")]).await;
    assert_eq!(compressed.header("content-encoding"), Some("gzip"));
    assert_ne!(compressed.text(), row);
}

#[tokio::test]
async fn a_compressed_response_above_the_size_limit_is_an_error() {
    let mut body = vec![b' '; 128 * 1024 * 1024];
    body[0] = b'[';
    let pacs = Pacs::new()
        .with_response("/studies", CannedResponse::bytes("application/json", body).gzip())
        .start()
        .await;
    let root = ArchiveRoot::start(&pacs).await;
    let response = client::get(&root.url("studies")).await;
    // White space between rows is not forwarded, so the response has not begun when the limit is reached.
    assert_eq!(response.status, 502);
    assert!(response.body.len() < 64 * 1024 * 1024, "{}", response.body.len());
}

#[tokio::test]
async fn ranges_are_sent_upstream_only_for_bodies_that_are_not_rewritten() {
    let partial = CannedResponse::bytes("multipart/related; boundary=b", "--b\r\n")
        .with_status(206)
        .header("Content-Range", "bytes 0-4/100");
    let pacs = Pacs::new()
        .with_study(Study::new("1.2").series("1.2.1", "CT", 1))
        .with_responses("/studies/1.2", [partial, two_parts()])
        .with_response(
            "/studies/1.2/bulkdata/1",
            CannedResponse::bytes("application/octet-stream", "01234")
                .with_status(206)
                .header("Content-Range", "bytes 0-4/100"),
        )
        .start()
        .await;
    let root = ArchiveRoot::start(&pacs).await;
    let range = [("Range", "bytes=0-4")];
    assert_eq!(client::get_with_headers(&root.url("studies/1.2/metadata"), &range).await.status, 200);
    assert_eq!(pacs.requests()[0].header("range"), None);
    let complete = client::get_with_headers(&root.url("studies/1.2"), &range).await;
    assert_eq!((complete.status, complete.is_complete), (200, true));
    let partial = client::get_with_headers(&root.url("studies/1.2/bulkdata/1"), &range).await;
    assert_eq!((partial.status, partial.header("content-range")), (206, Some("bytes 0-4/100")));
    assert_eq!(partial.header("content-length"), Some("5"));
    let two_ranges = [("Range", "bytes=0-0,2-2"), ("If-Range", "\"a\"")];
    client::get_with_headers(&root.url("studies/1.2/bulkdata/1"), &two_ranges).await;
    let sent = pacs.requests().pop().unwrap();
    assert_eq!(
        (sent.header("range"), sent.header("if-range")),
        (None, None),
        "a request for several ranges gets the whole body"
    );
}

/// What PS3.18 8.6.1.2 does not define may contain anything: names of hosts, or of patients.
#[tokio::test]
async fn a_multipart_response_has_only_what_dicomweb_defines() {
    let body = "DOE^JANE at http://inner:1/\r\n--b\r\nMIME-Version: 1.0\r\nContent-Type: application/dicom; name=DOE\r\nX-Node: inner\r\nContent-Disposition: attachment; filename=DOE\r\n\r\nDICM\r\n--b--\r\nDOE^JANE";
    let content_type = "multipart/related; type=\"application/dicom\"; x-node=inner; boundary=b; start=<doe>";
    for framing in [Framing::ContentLength, Framing::Chunked] {
        let upstream = CannedResponse::bytes(content_type, body)
            .header("last-modified", "yesterday at inner")
            .header("etag", "inner")
            .with_framing(framing);
        let pacs = Pacs::new().with_response("/studies/1.2", upstream).start().await;
        let response = client::get(&ArchiveRoot::start(&pacs).await.url("studies/1.2")).await;
        assert_eq!((response.status, response.is_complete), (200, true));
        let expected = "multipart/related; type=\"application/dicom\"; boundary=b";
        assert_eq!(response.header("content-type"), Some(expected));
        assert_eq!((response.header("last-modified"), response.header("etag")), (None, None));
        let text = String::from_utf8(response.body.clone()).unwrap();
        assert_eq!(text, "--b\r\nContent-Type: application/dicom\r\n\r\nDICM\r\n--b--\r\n");
    }
}

#[tokio::test]
async fn further_parts_than_those_that_were_requested_are_an_error() {
    let parts = |sizes: &[usize]| {
        let contents: Vec<Vec<u8>> = sizes.iter().map(|size| vec![1; *size]).collect();
        CannedResponse::multipart(
            "b",
            contents.iter().map(|content| ("Content-Type: application/dicom", &content[..])),
        )
    };
    let instance = "studies/1.2/series/1.2.1/instances/1.2.1.1";
    for (resource, response, status, is_complete) in [
        (instance, parts(&[10]), 200, true),
        (instance, parts(&[10, 10]), 502, true),
        (instance, parts(&[3_000_000, 10]), 200, false),
        (&format!("{FRAMES}/1"), parts(&[10, 10]), 502, true),
        (&format!("{FRAMES}/1,3"), parts(&[10, 10]), 200, true),
        (&format!("{FRAMES}/1,3"), parts(&[10, 10, 10]), 502, true),
        ("studies/1.2/series/1.2.1", parts(&[10, 10]), 200, true),
    ] {
        let pacs = Pacs::new().with_response(&format!("/{resource}"), response).start().await;
        let response = client::get(&ArchiveRoot::start(&pacs).await.url(resource)).await;
        assert_eq!(
            (response.status, response.is_complete),
            (status, is_complete),
            "{resource}: {}",
            response.body.len()
        );
    }
}
