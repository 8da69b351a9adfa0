//! Response headers: those of the archive that are forwarded, and those of HEAD and conditional requests.

use crate::support::archive_root::{ArchiveRoot, PUBLIC_URL};
use crate::support::client;
use crate::support::pacs::{CannedResponse, Pacs, Study};

#[tokio::test]
async fn only_allowed_response_headers_are_forwarded() {
    let response = CannedResponse::bytes("image/jpeg", "x")
        .header("ETag", "\"1\"")
        .header("Last-Modified", "Sat, 29 Oct 1994 19:43:31 GMT")
        .header("Warning", "299 http://127.0.0.1:1/rs: \"some instances are missing\"")
        .header("Content-Location", "http://inner:8042/dicom-web/studies/1.2/rendered")
        .header("Set-Cookie", "a=b")
        .header("Server", "Orthanc")
        .header("X-Powered-By", "x")
        .header("WWW-Authenticate", "Basic")
        .header("Access-Control-Allow-Origin", "*")
        .header("Location", "http://inner/")
        .header("Link", "<http://inner/>; rel=next")
        .header("Alt-Svc", "h3=\":1\"")
        .header("Strict-Transport-Security", "max-age=1")
        .header("Clear-Site-Data", "\"*\"")
        .header("Content-Disposition", "attachment; filename=\"Doe^Jane.jpg\"")
        .header("Keep-Alive", "timeout=1")
        .header("X-Accel-Redirect", "/etc/passwd");
    let pacs = Pacs::new().with_response("/studies/1.2/rendered", response).start().await;
    let response = client::get(&ArchiveRoot::start(&pacs).await.url("studies/1.2/rendered")).await;
    let mut names: Vec<_> = response.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "cache-control",
            "connection",
            "content-length",
            "content-location",
            "content-security-policy",
            "content-type",
            "date",
            "etag",
            "last-modified",
            "vary",
            "warning",
            "x-content-type-options",
            "x-request-id",
        ]
    );
    assert_eq!(
        response.header("content-location"),
        Some(format!("{PUBLIC_URL}/studies/1.2/rendered").as_str())
    );
    assert_eq!(response.header("warning"), Some("299 dicomweb-gateway \"some instances are missing\""));
    assert_eq!(response.header("etag"), Some("\"1\""));
}

#[tokio::test]
async fn not_modified_is_forwarded_without_a_body() {
    let pacs = Pacs::new()
        .with_response("/studies/1.2/rendered", CannedResponse::status(304).header("ETag", "\"1\""))
        .start()
        .await;
    let root = ArchiveRoot::start(&pacs).await;
    let response =
        client::get_with_headers(&root.url("studies/1.2/rendered"), &[("If-None-Match", "\"1\"")]).await;
    assert_eq!((response.status, response.header("etag")), (304, Some("\"1\"")));
}

#[tokio::test]
async fn head_returns_the_headers_of_get() {
    let pacs = Pacs::new()
        .with_study(Study::new("1.2"))
        .with_response("/studies/1.2/bulkdata/1", CannedResponse::bytes("image/jpeg", "0123456789"))
        .start()
        .await;
    let root = ArchiveRoot::start(&pacs).await;
    let head = client::send("HEAD", &root.url("studies/1.2/bulkdata/1"), &[]).await;
    assert_eq!((head.status, head.is_complete), (200, true));
    assert_eq!(head.header("content-length"), Some("10"));
    assert_eq!(client::send("HEAD", &root.url("studies"), &[]).await.status, 200);
}

#[tokio::test]
async fn the_etag_of_a_rewritten_body_becomes_weak() {
    let pacs = Pacs::new()
        .with_response("/studies", CannedResponse::json("[]").header("ETag", "\"1\""))
        .start()
        .await;
    let response = client::get(&ArchiveRoot::start(&pacs).await.url("studies")).await;
    assert_eq!(response.header("etag"), Some("W/\"1\""));
}
