//! Tests the archive with requests for the sample studies.

mod folder;
mod retrieve;
mod search;

use super::*;
use crate::samples::{self, AttributeValue};
use http_body_util::BodyExt as _;
use serde_json::Value as Json;
use tempfile::TempDir;

/// An archive with some sample patients, and its directory.
struct ServedArchive {
    archive: Archive,
    folder: TempDir,
}

/// A response with its body.
struct TestResponse {
    status: StatusCode,
    headers: http::HeaderMap,
    body: Bytes,
}

impl ServedArchive {
    fn with_patients(ids: &[&'static str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        samples::write_selected(folder.path(), |patient| {
            ids.iter().any(|id| patient.id == AttributeValue::Present(id))
        })
        .unwrap();
        let (index, _) = Index::build(folder.path(), Progress::Silent);
        Self { archive: Archive::new(index), folder }
    }

    /// Creates an archive with all patients except the one with hundreds of slices.
    fn with_most_patients() -> Self {
        let folder = tempfile::tempdir().unwrap();
        samples::write_selected(folder.path(), |patient| patient.id != AttributeValue::Present("DEMO-0016"))
            .unwrap();
        let (index, _) = Index::build(folder.path(), Progress::Silent);
        Self { archive: Archive::new(index), folder }
    }

    async fn request(&self, method: Method, path: &str, accept: Option<&str>) -> TestResponse {
        let mut request =
            Request::builder().method(method).uri(format!("{ROOT}{path}")).header(HOST, "pacs.test:81");
        if let Some(accept) = accept {
            request = request.header(http::header::ACCEPT, accept);
        }
        let response = self.archive.respond(request.body(()).unwrap()).await;
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        TestResponse { status: head.status, headers: head.headers, body }
    }

    async fn get(&self, path: &str) -> TestResponse {
        self.request(Method::GET, path, None).await
    }

    async fn get_with_accept(&self, path: &str, accept: &str) -> TestResponse {
        self.request(Method::GET, path, Some(accept)).await
    }

    async fn rows(&self, path: &str) -> Vec<Json> {
        let response = self.get(path).await;
        assert_eq!(response.status, StatusCode::OK, "{path}: {}", String::from_utf8_lossy(&response.body));
        serde_json::from_slice(&response.body).unwrap()
    }

    /// Returns the first value of one attribute in every row.
    async fn column(&self, path: &str, tag: &str) -> Vec<String> {
        let value = |row: &Json| row[tag]["Value"][0].as_str().unwrap_or_default().to_owned();
        self.rows(path).await.iter().map(value).collect()
    }
}

impl TestResponse {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// Returns the parts of a multipart response: header and body.
    fn parts(&self) -> Vec<(String, Vec<u8>)> {
        let boundary = self.header("content-type").split("boundary=").nth(1).unwrap();
        let delimiter = format!("--{boundary}\r\n");
        let closing_delimiter = format!("--{boundary}--\r\n");
        let body = self.body.strip_suffix(closing_delimiter.as_bytes()).expect("the closing delimiter");
        let starts: Vec<usize> = memchr::memmem::find_iter(body, &delimiter).collect();
        let ends = starts.iter().copied().skip(1).chain([body.len()]);
        let part = |(start, end): (&usize, usize)| {
            let part = &body[start + delimiter.len()..end];
            let header_end = memchr::memmem::find(part, b"\r\n\r\n").unwrap();
            let header = String::from_utf8(part[..header_end].to_vec()).unwrap();
            (header, part[header_end + 4..].strip_suffix(b"\r\n").unwrap().to_vec())
        };
        starts.iter().zip(ends).map(part).collect()
    }
}

#[tokio::test]
async fn methods_other_than_get_and_head_are_rejected() {
    let archive = ServedArchive::with_patients(&["P11"]);
    let response = archive.request(Method::POST, "/studies", None).await;
    assert_eq!(response.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.header("allow"), "GET, HEAD");
}

#[tokio::test]
async fn response_to_head_has_no_body() {
    let archive = ServedArchive::with_patients(&["P11"]);
    let response = archive.request(Method::HEAD, "/studies", None).await;
    assert_eq!(response.status, StatusCode::OK);
    assert_eq!(response.header("content-type"), "application/dicom+json");
    assert!(response.body.is_empty());
}

#[tokio::test]
async fn unknown_path_invalid_uid_and_unknown_study_have_different_statuses() {
    let archive = ServedArchive::with_patients(&["P11"]);
    for (path, status) in [
        ("/nothing", StatusCode::NOT_FOUND),
        ("/studies/", StatusCode::BAD_REQUEST),
        ("/studies/1.2.x", StatusCode::BAD_REQUEST),
        ("/studies/1%2E2/metadata", StatusCode::NOT_FOUND),
        ("/studies/1%2F2/metadata", StatusCode::BAD_REQUEST),
        ("/studies/1.2/metadata", StatusCode::NOT_FOUND),
        ("/studies/1.2", StatusCode::NOT_FOUND),
        ("/studies/1.2/metadata?PatientID=1", StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(archive.get(path).await.status, status, "{path}");
    }
}
