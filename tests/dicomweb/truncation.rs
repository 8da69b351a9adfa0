//! Responses of an archive that are truncated after each byte, with every version of HTTP and every framing: no response to a client
//! may look complete.

use crate::support::client::ReceivedResponse;
use crate::support::gateway::RunningGateway;
use crate::support::http2::Http2Client;
use crate::support::pacs::{CannedResponse, Framing, Pacs, Study};
use crate::support::tls_pacs::{BodyEnd, TRUSTED_CA_CONFIG, TlsPacs};

const INSTANCE: &str = "studies/1.2/series/1.2.1/instances/1.2.1.1";
const ROWS: &str =
    r#"[{"00081190":{"vr":"UR","Value":["http://x/studies/1"]},"00400275":{"vr":"SQ","Value":[{}]}}]"#;

/// A response of the archive, and the request for it.
struct Case {
    target: &'static str,
    accept: &'static str,
    /// Whether the archive rejects the first media type of each request.
    rejects_first: bool,
    /// The number of formats that the gateway requests, one after the other, if the archive sends nothing.
    format_count: usize,
    complete: CannedResponse,
    /// The number of bytes after the closing delimiter of the multipart body.
    epilogue_length: usize,
}

impl Case {
    fn new(target: &'static str, accept: &'static str, complete: CannedResponse) -> Self {
        Self { target, accept, rejects_first: false, format_count: 1, complete, epilogue_length: 0 }
    }

    /// Asserts that every truncated response looks incomplete, and that the untruncated response is complete.
    async fn assert_incomplete_if_truncated(self) {
        // WrongContentLength is the length of the truncated body, which a proxy in front of the archive may send.
        for framing in
            [Framing::UntilClose, Framing::ContentLength, Framing::Chunked, Framing::WrongContentLength(0)]
        {
            let complete = self.complete.clone().with_framing(framing);
            let lengths = match framing {
                // A search response with Content-Length 0 has no matches.
                Framing::WrongContentLength(_) if self.target == "studies" => {
                    1..complete.length() - self.epilogue_length
                }
                // Only the end of the multipart body or the JSON shows that the body is complete.
                Framing::UntilClose | Framing::WrongContentLength(_) => {
                    0..complete.length() - self.epilogue_length
                }
                // The last chunk is missing.
                Framing::Chunked => 0..complete.length() + 1,
                Framing::ContentLength => 0..complete.length(),
            };
            let framing_for = |bytes| match framing {
                Framing::WrongContentLength(_) => Framing::WrongContentLength(bytes),
                framing => framing,
            };
            let truncated = lengths
                .clone()
                .map(|bytes| complete.clone().with_framing(framing_for(bytes)).abort_after(bytes));
            let each_response =
                truncated.chain([complete.clone().with_framing(framing_for(complete.length()))]);
            // Without a length, a body that is truncated before its first byte is empty, so the gateway requests the other formats.
            let empty = complete.clone().abort_after(0);
            let needs_repetition = matches!(framing, Framing::UntilClose);
            let repetitions =
                std::iter::repeat_n(empty, if needs_repetition { 2 * (self.format_count - 1) } else { 0 });
            // One client uses HTTP/1.1, and one uses HTTP/2.
            let responses = each_response.flat_map(|response| [response.clone(), response]);
            let responses = repetitions.chain(responses).flat_map(|response| {
                let rejection = self.rejects_first.then(|| CannedResponse::status(406));
                rejection.into_iter().chain([response])
            });
            let pacs = Pacs::new().with_responses(&format!("/{}", self.target), responses).start().await;
            let gateway = RunningGateway::start(&pacs.url(), "").await;
            let client = Http2Client::connect(gateway.base_url()).await;
            let path = format!("/dicom-web/main/{}", self.target);
            let headers = [("Accept", self.accept)];
            for bytes in lengths {
                let first = gateway.get_with_headers(&path, &headers).await;
                let second = client.get(&path, &headers).await;
                for (version, response) in [(1, first), (2, second)] {
                    let looks_complete = response.is_complete && response.status < 400;
                    assert!(
                        !looks_complete,
                        "{path} {framing:?} truncated after {bytes}, HTTP/{version}: {response:?}"
                    );
                }
            }
            let (first, second): (ReceivedResponse, ReceivedResponse) =
                (gateway.get_with_headers(&path, &headers).await, client.get(&path, &headers).await);
            assert!(first.is_complete && first.status == 200, "{path} {framing:?}: {first:?}");
            assert!(second.is_complete && second.body == first.body, "{path} {framing:?}: {second:?}");
        }
    }
}

fn two_parts() -> CannedResponse {
    let dicom = "Content-Type: application/dicom";
    CannedResponse::multipart("b", [(dicom, &b"DICM one \r\n--b"[..]), (dicom, &b"DICM two"[..])])
}

#[tokio::test]
async fn multipart_bodies_of_dicom_are_incomplete_if_truncated() {
    let accept = "multipart/related; type=\"application/dicom\"";
    let case = Case::new("studies/1.2", accept, two_parts());
    Case { epilogue_length: 2, ..case }.assert_incomplete_if_truncated().await;
}

#[tokio::test]
async fn single_parts_are_incomplete_if_truncated() {
    let complete =
        CannedResponse::multipart("b", [("Content-Type: application/dicom", &b"DICM one \r\n--a"[..])]);
    let case = Case::new(INSTANCE, "application/dicom", complete);
    Case { epilogue_length: 2, rejects_first: true, ..case }.assert_incomplete_if_truncated().await;
}

#[tokio::test]
async fn rows_in_json_are_incomplete_if_truncated() {
    Case::new("studies", "application/dicom+json", CannedResponse::json(ROWS))
        .assert_incomplete_if_truncated()
        .await;
}

#[tokio::test]
async fn rows_in_compressed_json_are_incomplete_if_truncated() {
    let complete = CannedResponse::json(ROWS).gzip();
    Case::new("studies", "application/dicom+json", complete).assert_incomplete_if_truncated().await;
}

#[tokio::test]
async fn rows_in_converted_xml_are_incomplete_if_truncated() {
    let case = Case::new("studies", "application/dicom+xml", CannedResponse::json(ROWS));
    Case { format_count: 2, ..case }.assert_incomplete_if_truncated().await;
}

#[tokio::test]
async fn rows_in_forwarded_xml_are_incomplete_if_truncated() {
    let document = b"<NativeDicomModel><DicomAttribute tag=\"00080005\" vr=\"CS\"/></NativeDicomModel>";
    let complete = CannedResponse::multipart("b", [("Content-Type: application/dicom+xml", &document[..])])
        .with_content_type("multipart/related; type=\"application/dicom+xml\"; boundary=b");
    let case = Case::new("studies", "application/dicom+xml", complete);
    Case { epilogue_length: 2, format_count: 2, ..case }.assert_incomplete_if_truncated().await;
}

#[tokio::test]
async fn parts_whose_boundary_is_not_declared_are_incomplete_if_truncated() {
    let accept = "multipart/related; type=\"application/dicom\"";
    let part =
        "Content-Type: application/dicom\r\nContent-Location: http://pacs.example/dicom-web/studies/1.2";
    for (before, content_type) in [
        ("", "multipart/related".to_owned()),
        ("\r\n", "multipart/related; type=\"application/dicom\"".to_owned()),
        ("preamble\r\n", "multipart/related".to_owned()),
        ("\r\n", format!("multipart/related; boundary={}", "x".repeat(300))),
    ] {
        let body = format!("{before}--b\r\n{part}\r\n\r\nDICM one \r\n--b--\r\n");
        let complete = CannedResponse::bytes(&content_type, body);
        let case = Case::new("studies/1.2", accept, complete.clone());
        Case { epilogue_length: 2, ..case }.assert_incomplete_if_truncated().await;
        let pacs = Pacs::new().with_response("/studies/1.2", complete).start().await;
        let gateway = RunningGateway::start(&pacs.url(), "").await;
        let response = gateway.get_with_headers("/dicom-web/main/studies/1.2", &[("Accept", accept)]).await;
        assert!(!response.text().contains("pacs.example"), "{}", response.text());
    }
}

#[tokio::test]
async fn parts_whose_boundary_cannot_be_found_are_rejected() {
    let body = format!("--{0}\r\n\r\nDICM\r\n--{0}--\r\n", "x".repeat(300));
    let declared = format!("multipart/related; boundary={}", "x".repeat(300));
    for (content_type, body) in [
        (declared.as_str(), body.as_str()),
        ("multipart/related", body.as_str()),
        ("multipart/related", "DICM without parts"),
    ] {
        let pacs = Pacs::new()
            .with_response("/studies/1.2", CannedResponse::bytes(content_type, body))
            .start()
            .await;
        let gateway = RunningGateway::start(&pacs.url(), "").await;
        let response = gateway.get("/dicom-web/main/studies/1.2").await;
        assert_eq!(response.status, 502, "{body:.40}: {}", response.text());
    }
}

#[tokio::test]
async fn xml_documents_are_incomplete_if_truncated() {
    let document = "<?xml version=\"1.0\"?><NativeDicomModel><!-- > --><DicomAttribute tag=\"00080005\" vr=\"CS\"><Value number='>'>a>b</Value>\
                    </DicomAttribute></NativeDicomModel>";
    for content_type in ["application/dicom+xml", "text/xml"] {
        let complete = CannedResponse::bytes(content_type, document);
        let case = Case::new("studies", "application/dicom+xml", complete);
        Case { format_count: 2, ..case }.assert_incomplete_if_truncated().await;
    }
}

/// Only the structure of a body without a length shows that the connection failed.
#[tokio::test]
async fn objects_images_and_pages_without_a_length_are_incomplete_if_truncated() {
    let image = |format| {
        let mut encoded = std::io::Cursor::new(Vec::new());
        let image = image::DynamicImage::from(image::RgbImage::from_fn(9, 5, |x, y| {
            image::Rgb([(x * 20).to_le_bytes()[0], (y * 40).to_le_bytes()[0], 7])
        }));
        image.write_to(&mut encoded, format).unwrap();
        encoded.into_inner()
    };
    // The object has one element, because an object that is truncated between two elements looks complete.
    let mut object = [&[0; 128][..], b"DICM\x02\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0"].concat();
    object.extend_from_slice(b"\xe0\x7f\x10\0OB\0\0\x1c\0\0\0");
    object.extend_from_slice(&[7; 28]);
    let page = b"<!doctype html><html><body><p>report</p></body></html>".to_vec();
    for (target, accept, content_type, complete) in [
        (INSTANCE, "application/dicom", "application/dicom", object),
        ("studies/1.2/rendered", "image/png", "image/png", image(image::ImageFormat::Png)),
        ("studies/1.2/rendered", "image/jpeg", "image/jpeg", image(image::ImageFormat::Jpeg)),
        ("studies/1.2/rendered", "image/gif", "image/gif", image(image::ImageFormat::Gif)),
        ("studies/1.2/rendered", "text/html", "text/html", page),
    ] {
        let response =
            CannedResponse::bytes(content_type, complete.clone()).with_framing(Framing::UntilClose);
        // HTML that is truncated before its first tags cannot be distinguished from a complete page.
        let lengths: Vec<_> = (0..complete.len())
            .filter(|length| content_type != "text/html" || *length == 0 || *length > 20)
            .collect();
        let responses = lengths
            .iter()
            .map(|length| response.clone().abort_after(*length))
            .flat_map(|response| [response.clone(), response]);
        let pacs = Pacs::new()
            .with_responses(&format!("/{target}"), responses.chain([response.clone()]))
            .start()
            .await;
        let gateway = RunningGateway::start(&pacs.url(), "").await;
        let client = Http2Client::connect(gateway.base_url()).await;
        let path = format!("/dicom-web/main/{target}");
        let headers = [("Accept", accept)];
        for length in lengths {
            for response in
                [gateway.get_with_headers(&path, &headers).await, client.get(&path, &headers).await]
            {
                assert!(
                    !(response.is_complete && response.status < 400),
                    "{content_type} truncated after {length}: {response:?}"
                );
            }
        }
        let response = gateway.get_with_headers(&path, &headers).await;
        assert_eq!(
            (response.status, response.is_complete),
            (200, true),
            "{content_type}: {} of {} bytes after {} requests",
            response.body.len(),
            complete.len(),
            pacs.targets().len()
        );
        assert!(response.body == complete);
    }
}

#[tokio::test]
async fn responses_over_http2_are_incomplete_if_truncated() {
    let pacs = TlsPacs::start().await;
    let gateway = RunningGateway::start(&pacs.url(), TRUSTED_CA_CONFIG).await;
    let client = Http2Client::connect(gateway.base_url()).await;
    let related = "multipart/related; type=\"application/dicom\"; boundary=b";
    let parts = b"--b\r\nContent-Type: application/dicom\r\n\r\nDICM one\r\n--b\r\n\r\nDICM two\r\n--b--";
    for (path, content_type, complete) in [
        ("/dicom-web/main/studies", "application/dicom+json", ROWS.as_bytes()),
        ("/dicom-web/main/studies/1.2", related, &parts[..]),
    ] {
        let truncations = (0..complete.len()).flat_map(|bytes| {
            [
                BodyEnd::Early(bytes),
                BodyEnd::ShortBody(bytes),
                BodyEnd::Reset(bytes),
                BodyEnd::Disconnect(bytes),
            ]
        });
        // A body is not complete before its stream has ended, even if all bytes were received.
        for end in truncations.chain([BodyEnd::Reset(complete.len()), BodyEnd::Disconnect(complete.len())]) {
            pacs.respond_with(content_type, complete, end);
            for response in [gateway.get(path).await, client.get(path, &[]).await] {
                let looks_complete = response.is_complete && response.status < 400;
                assert!(!looks_complete, "{path} {end:?}: {response:?}");
            }
        }
        pacs.respond_with(content_type, complete, BodyEnd::Complete);
        let (first, second) = (gateway.get(path).await, client.get(path, &[]).await);
        assert!(first.is_complete && first.status == 200, "{path}: {first:?}");
        assert!(second.is_complete && second.body == first.body, "{path}: {second:?}");
    }
}

#[tokio::test]
async fn truncated_metadata_is_never_cached() {
    let metadata = r#"[{"00080016":{"vr":"UI","Value":["1.2.840.10008.5.1.4.1.1.2"]},"00080018":{"vr":"UI","Value":["1.2.1.1"]},"0020000D":{"vr":"UI","Value":["1.2"]},"0020000E":{"vr":"UI","Value":["1.2.1"]}}]"#;
    let complete = CannedResponse::json(metadata).with_framing(Framing::UntilClose);
    let lengths = 0..metadata.len();
    let responses =
        lengths.clone().map(|bytes| complete.clone().abort_after(bytes)).chain([complete.clone()]);
    let pacs = Pacs::new()
        .with_study(Study::new("1.2").patient("P1", "Doe^Jane").series("1.2.1", "CT", 1))
        .with_responses("/studies/1.2/series/1.2.1/metadata", responses)
        // The archive does not support the other request that returns instances.
        .with_response("/studies/1.2/series/1.2.1/instances", CannedResponse::status(501))
        .start()
        .await;
    let gateway = RunningGateway::start(&pacs.url(), "profile = \"orthanc\"").await;
    for bytes in lengths {
        let response = gateway.get("/fhir/ImagingStudy/1.2").await;
        assert!(response.status >= 500, "truncated after {bytes}: {}", response.text());
    }
    let study = gateway.get_json("/fhir/ImagingStudy/1.2").await;
    assert_eq!(study["series"][0]["instance"][0]["uid"], "1.2.1.1");
    let request_count = pacs.targets().len();
    assert_eq!(gateway.get_json("/fhir/ImagingStudy/1.2").await, study);
    assert_eq!(pacs.targets().len(), request_count, "a complete response is cached");
}
