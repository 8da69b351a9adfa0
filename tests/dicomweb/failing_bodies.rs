//! Archives whose body fails before its first byte, or after bytes were forwarded: the client receives an error that names the archive, or
//! an aborted response, for every kind of response and every framing.

use crate::support::client::ReceivedResponse;
use crate::support::gateway::RunningGateway;
use crate::support::pacs::{CannedResponse, Pacs, Study};
use crate::support::raw_objects::{EXPLICIT, EXPLICIT_LITTLE, RawObject};

const INSTANCE: &str = "studies/1.2/series/1.2.1/instances/1.2.1.1";

/// A kind of response: the configuration, the path of the request, its `Accept`, and the path and media type of the archive's response
/// that fails.
struct Kind {
    config: &'static str,
    path: String,
    accept: &'static str,
    upstream_path: String,
    content_type: &'static str,
}

fn kind(
    config: &'static str,
    path: &str,
    accept: &'static str,
    upstream_path: &str,
    content_type: &'static str,
) -> Kind {
    Kind { config, path: path.to_owned(), accept, upstream_path: format!("/{upstream_path}"), content_type }
}

const JSON: &str = "application/dicom+json";
const XML: &str = "multipart/related; type=\"application/dicom+xml\"";
const OBJECTS: &str = "multipart/related; type=\"application/dicom\"";
const PARTS: &str = "multipart/related; type=\"application/dicom\"; boundary=b";
const FRAMES: &str = "multipart/related; type=\"application/octet-stream\"; boundary=b";
const FHIR: &str = "application/fhir+json";
const SERIES: &str = "studies/1.2/series/1.2.1";

fn main(target: &str) -> String {
    format!("/dicom-web/main/{target}")
}

fn forwarded() -> [Kind; 5] {
    let bulk_data = format!("{INSTANCE}/bulkdata/1");
    let frames = format!("{INSTANCE}/frames/1");
    let rendered = "studies/1.2/rendered";
    [
        kind("", &main(&bulk_data), "*/*", &bulk_data, "application/octet-stream"),
        kind("", &main("studies/1.2"), OBJECTS, "studies/1.2", PARTS),
        kind("", &main(INSTANCE), "application/dicom", INSTANCE, PARTS),
        kind("", &main(&frames), "*/*", &frames, FRAMES),
        kind("", &main(rendered), "image/jpeg", rendered, "image/jpeg"),
    ]
}

/// Rows and metadata, which are filtered and perhaps converted to XML.
fn lists() -> [Kind; 5] {
    let metadata = format!("{SERIES}/metadata");
    [
        kind("", &main("studies"), JSON, "studies", JSON),
        kind("", &main("studies?PatientID=P1"), JSON, "studies", JSON),
        kind("", &main(&metadata), JSON, &metadata, JSON),
        kind("", &main("studies"), XML, "studies", JSON),
        kind("", &main(&metadata), XML, &metadata, JSON),
    ]
}

fn synthesized_and_rendered() -> [Kind; 4] {
    let config = "synthesize = [\"metadata\", \"frames\", \"rendered\"]";
    let path = |resource: &str, name: &str| main(&format!("{resource}/{name}"));
    [
        kind(config, &path(SERIES, "metadata"), JSON, SERIES, PARTS),
        kind(config, &path(INSTANCE, "frames/1"), "*/*", INSTANCE, PARTS),
        kind(config, &path(INSTANCE, "rendered"), "image/jpeg", INSTANCE, PARTS),
        kind(config, &path(SERIES, "rendered"), "*/*", INSTANCE, PARTS),
    ]
}

/// The aggregate root, lists of UIDs that are split over several searches, and FHIR.
fn merged() -> [Kind; 7] {
    let metadata = format!("{SERIES}/metadata");
    let uids: Vec<_> = (1..=400).map(|number| format!("1.2.840.99999.1{number:040}")).collect();
    [
        kind("", "/dicom-web/studies", JSON, "studies", JSON),
        kind("", "/dicom-web/studies", XML, "studies", JSON),
        kind("", &format!("/dicom-web/{metadata}"), JSON, &metadata, JSON),
        kind("", "/dicom-web/studies/1.2", OBJECTS, "studies/1.2", PARTS),
        kind("", &main(&format!("studies?StudyInstanceUID={}", uids.join(","))), JSON, "studies", JSON),
        kind("", "/fhir/ImagingStudy?patient.identifier=P1", FHIR, "studies", JSON),
        kind("", "/fhir/ImagingStudy/1.2", FHIR, "studies", JSON),
    ]
}

fn kinds() -> impl Iterator<Item = Kind> {
    forwarded().into_iter().chain(lists()).chain(synthesized_and_rendered()).chain(merged())
}

impl Kind {
    /// Sends the request to a gateway whose archive responds with `response`.
    async fn get(&self, response: CannedResponse) -> ReceivedResponse {
        let pacs = Pacs::new()
            .with_study(Study::new("1.2").patient("P1", "Doe^Jane").series("1.2.1", "CT", 1))
            .with_response(&self.upstream_path, response)
            .start()
            .await;
        let gateway = RunningGateway::start(&pacs.url(), self.config).await;
        let received = gateway.get_with_headers(&self.path, &[("Accept", self.accept)]).await;
        let upstream_path = format!("/dicom-web{}", self.upstream_path);
        let targets = pacs.targets();
        let is_requested = targets.iter().any(|target| target.split('?').next() == Some(&upstream_path));
        assert!(is_requested, "{}: {targets:?}", self.path);
        received
    }

    /// Returns the start of a body that is long enough for a part of it to be forwarded.
    fn body_start(&self) -> Vec<u8> {
        if self.content_type == JSON {
            let row = |number| {
                format!(
                    r#"{{"00080018":{{"vr":"UI","Value":["1.2.1.{number}"]}},"00100020":{{"vr":"LO","Value":["P1"]}},"0020000D":{{"vr":"UI","Value":["1.2"]}},"0020000E":{{"vr":"UI","Value":["1.2.1"]}}}},"#
                )
            };
            return format!("[{}", (1..=400).map(row).collect::<String>()).into_bytes();
        }
        if !self.content_type.starts_with("multipart/") {
            // The start of a JPEG image (ISO/IEC 10918-1 B.2.1).
            return [&b"\xff\xd8\xff\xfe\xff\xff"[..], &vec![b'x'; 50_000]].concat();
        }
        let object = RawObject::image(EXPLICIT_LITTLE, EXPLICIT, 1).pixels(&[1; 4]).to_file();
        let part = [&b"--b\r\nContent-Type: application/dicom\r\n\r\n"[..], &object].concat();
        part[..part.len() - 2].to_vec()
    }
}

/// A framing: the HTTP version, its header, and the bytes after the last complete chunk.
const FRAMINGS: [(&str, &str, &str); 5] = [
    ("HTTP/1.1", "Content-Length: 1000000\r\n", ""),
    ("HTTP/1.1", CHUNKED, ""),
    ("HTTP/1.1", CHUNKED, "not hexadecimal\r\n"),
    ("HTTP/1.1", "Connection: close\r\n", ""),
    ("HTTP/1.0", "", ""),
];

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

/// Returns the bytes of a response whose connection ends after `body`.
fn failing_response(
    content_type: &str,
    (version, header, end): (&str, &str, &str),
    body: &[u8],
) -> CannedResponse {
    let mut bytes = format!("{version} 200 OK\r\nContent-Type: {content_type}\r\n{header}\r\n").into_bytes();
    if header == CHUNKED && !body.is_empty() {
        bytes.extend_from_slice(format!("{:x}\r\n", body.len()).as_bytes());
        bytes.extend_from_slice(body);
        bytes.extend_from_slice(b"\r\n");
    } else {
        bytes.extend_from_slice(body);
    }
    bytes.extend_from_slice(end.as_bytes());
    CannedResponse::raw(bytes)
}

#[tokio::test]
async fn a_body_that_fails_before_its_first_byte_is_a_502_that_names_the_archive() {
    for kind in kinds() {
        for framing in FRAMINGS {
            let closed = failing_response(kind.content_type, framing, b"");
            for response in [closed.clone(), closed.with_reset()] {
                let received = kind.get(response).await;
                let context = format!("{:.70} {} {framing:?}: {received:?}", kind.path, kind.accept);
                assert_eq!((received.status, received.is_complete), (502, true), "{context}");
                assert!(received.text().contains("rchive main"), "{context}");
            }
        }
    }
}

#[tokio::test]
async fn a_body_that_fails_after_its_first_bytes_is_never_a_complete_response() {
    for kind in kinds() {
        for framing in FRAMINGS {
            // The end of bytes without structure and without a length is that of the connection.
            if kind.content_type == "application/octet-stream"
                && matches!(framing.1, "" | "Connection: close\r\n")
            {
                continue;
            }
            let received = kind.get(failing_response(kind.content_type, framing, &kind.body_start())).await;
            // The connection may end before the headers of the response are sent.
            let is_aborted = matches!(received.status, 0 | 200) && !received.is_complete;
            let is_error = received.status == 502 && received.is_complete;
            assert!(
                is_aborted || is_error,
                "{:.70} {} {framing:?}: {} {} {:.200}",
                kind.path,
                kind.accept,
                received.status,
                received.is_complete,
                received.text()
            );
        }
    }
}
