//! Responses of an archive that are truncated after each of their bytes: no client may take the received part for the whole, with
//! every version of HTTP and every framing of the body.

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
    /// The archive rejects the first media type each time.
    rejected_first: bool,
    /// The number of formats that are requested one after the other if the archive sends nothing.
    formats: usize,
    whole: CannedResponse,
    /// The number of bytes after the end of the multipart body.
    epilogue: usize,
}

impl Case {
    fn new(target: &'static str, accept: &'static str, whole: CannedResponse) -> Self {
        Self { target, accept, rejected_first: false, formats: 1, whole, epilogue: 0 }
    }

    /// The last response is complete, which shows that only the truncation made the others incomplete.
    async fn assert_complete_only_if_whole(self) {
        // The last one: the length of the truncated body, as a proxy in front of the archive may send it.
        for framing in
            [Framing::UntilClose, Framing::ContentLength, Framing::Chunked, Framing::WrongContentLength(0)]
        {
            let whole = self.whole.clone().with_framing(framing);
            let cuts = match framing {
                // A search response with Content-Length 0 has no matches.
                Framing::WrongContentLength(_) if self.target == "studies" => {
                    1..whole.length() - self.epilogue
                }
                // Only the end of the multipart body or the JSON shows that the body is complete.
                Framing::UntilClose | Framing::WrongContentLength(_) => 0..whole.length() - self.epilogue,
                // The last chunk is missing.
                Framing::Chunked => 0..whole.length() + 1,
                Framing::ContentLength => 0..whole.length(),
            };
            let fitting = |bytes| match framing {
                Framing::WrongContentLength(_) => Framing::WrongContentLength(bytes),
                framing => framing,
            };
            let cut = cuts.clone().map(|bytes| whole.clone().with_framing(fitting(bytes)).abort_after(bytes));
            let cut = cut.chain([whole.clone().with_framing(fitting(whole.length()))]);
            // A body that ends with the connection before its first byte is empty, not truncated.
            let empty = whole.clone().abort_after(0);
            let is_empty = matches!(framing, Framing::UntilClose);
            let again = std::iter::repeat_n(empty, if is_empty { 2 * (self.formats - 1) } else { 0 });
            let answers = cut.flat_map(|answer| [answer.clone(), answer]);
            let answers = again.chain(answers).flat_map(|answer| {
                let rejection = self.rejected_first.then(|| CannedResponse::status(406));
                rejection.into_iter().chain([answer])
            });
            let pacs = Pacs::new().with_responses(&format!("/{}", self.target), answers).start().await;
            let gateway = RunningGateway::start(&pacs.url(), "").await;
            let client = Http2Client::connect(gateway.base_url()).await;
            let path = format!("/dicom-web/main/{}", self.target);
            let headers = [("Accept", self.accept)];
            for bytes in cuts {
                let first = gateway.get_with_headers(&path, &headers).await;
                let second = client.get(&path, &headers).await;
                for (version, answer) in [(1, first), (2, second)] {
                    let looks_complete = answer.is_complete && answer.status < 400;
                    assert!(
                        !looks_complete,
                        "{path} {framing:?} cut after {bytes}, HTTP/{version}: {answer:?}"
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

fn parts_of_two() -> CannedResponse {
    let dicom = "Content-Type: application/dicom";
    CannedResponse::multipart("b", [(dicom, &b"DICM one \r\n--b"[..]), (dicom, &b"DICM two"[..])])
}

#[tokio::test]
async fn multipart_bodies_of_dicom_are_complete_only_if_whole() {
    let accept = "multipart/related; type=\"application/dicom\"";
    let case = Case::new("studies/1.2", accept, parts_of_two());
    Case { epilogue: 2, ..case }.assert_complete_only_if_whole().await;
}

#[tokio::test]
async fn single_parts_are_complete_only_if_whole() {
    let whole =
        CannedResponse::multipart("b", [("Content-Type: application/dicom", &b"DICM one \r\n--a"[..])]);
    let case = Case::new(INSTANCE, "application/dicom", whole);
    Case { epilogue: 2, rejected_first: true, ..case }.assert_complete_only_if_whole().await;
}

#[tokio::test]
async fn rows_in_json_are_complete_only_if_whole() {
    Case::new("studies", "application/dicom+json", CannedResponse::json(ROWS))
        .assert_complete_only_if_whole()
        .await;
}

#[tokio::test]
async fn rows_in_compressed_json_are_complete_only_if_whole() {
    let whole = CannedResponse::json(ROWS).gzip();
    Case::new("studies", "application/dicom+json", whole).assert_complete_only_if_whole().await;
}

#[tokio::test]
async fn rows_in_converted_xml_are_complete_only_if_whole() {
    let case = Case::new("studies", "application/dicom+xml", CannedResponse::json(ROWS));
    Case { formats: 2, ..case }.assert_complete_only_if_whole().await;
}

#[tokio::test]
async fn rows_in_forwarded_xml_are_complete_only_if_whole() {
    let document = b"<NativeDicomModel><DicomAttribute tag=\"00080005\" vr=\"CS\"/></NativeDicomModel>";
    let whole = CannedResponse::multipart("b", [("Content-Type: application/dicom+xml", &document[..])])
        .with_content_type("multipart/related; type=\"application/dicom+xml\"; boundary=b");
    let case = Case::new("studies", "application/dicom+xml", whole);
    Case { epilogue: 2, ..case }.assert_complete_only_if_whole().await;
}

#[tokio::test]
async fn parts_whose_boundary_is_not_declared_are_complete_only_if_whole() {
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
        let whole = CannedResponse::bytes(&content_type, body);
        let case = Case::new("studies/1.2", accept, whole.clone());
        Case { epilogue: 2, ..case }.assert_complete_only_if_whole().await;
        let pacs = Pacs::new().with_response("/studies/1.2", whole).start().await;
        let gateway = RunningGateway::start(&pacs.url(), "").await;
        let answer = gateway.get_with_headers("/dicom-web/main/studies/1.2", &[("Accept", accept)]).await;
        assert!(!answer.text().contains("pacs.example"), "{}", answer.text());
    }
}

#[tokio::test]
async fn parts_whose_boundary_cannot_be_found_are_rejected() {
    let long = format!("--{0}\r\n\r\nDICM\r\n--{0}--\r\n", "x".repeat(300));
    let declared = format!("multipart/related; boundary={}", "x".repeat(300));
    for (content_type, body) in [
        (declared.as_str(), long.as_str()),
        ("multipart/related", long.as_str()),
        ("multipart/related", "DICM without parts"),
    ] {
        let pacs = Pacs::new()
            .with_response("/studies/1.2", CannedResponse::bytes(content_type, body))
            .start()
            .await;
        let gateway = RunningGateway::start(&pacs.url(), "").await;
        let answer = gateway.get("/dicom-web/main/studies/1.2").await;
        assert_eq!(answer.status, 502, "{body:.40}: {}", answer.text());
    }
}

#[tokio::test]
async fn xml_documents_are_complete_only_if_whole() {
    let document = "<?xml version=\"1.0\"?><NativeDicomModel><!-- > --><DicomAttribute tag=\"00080005\" vr=\"CS\"><Value number='>'>a>b</Value>\
                    </DicomAttribute></NativeDicomModel>";
    for content_type in ["application/dicom+xml", "text/xml"] {
        let whole = CannedResponse::bytes(content_type, document);
        let case = Case::new("studies", "application/dicom+xml", whole);
        Case { formats: 2, ..case }.assert_complete_only_if_whole().await;
    }
}

/// Bodies without a length: only their structure shows that the connection broke.
#[tokio::test]
async fn objects_images_and_pages_without_a_length_are_complete_only_if_whole() {
    let image = |format| {
        let mut encoded = std::io::Cursor::new(Vec::new());
        let image = image::DynamicImage::from(image::RgbImage::from_fn(9, 5, |x, y| {
            image::Rgb([(x * 20).to_le_bytes()[0], (y * 40).to_le_bytes()[0], 7])
        }));
        image.write_to(&mut encoded, format).unwrap();
        encoded.into_inner()
    };
    // One element of 40 bytes: an object that ends between two elements looks like a complete one.
    let mut object = [&[0; 128][..], b"DICM\x02\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0"].concat();
    object.extend_from_slice(b"\xe0\x7f\x10\0OB\0\0\x1c\0\0\0");
    object.extend_from_slice(&[7; 28]);
    let page = b"<!doctype html><html><body><p>report</p></body></html>".to_vec();
    for (target, accept, content_type, whole) in [
        (INSTANCE, "application/dicom", "application/dicom", object),
        ("studies/1.2/rendered", "image/png", "image/png", image(image::ImageFormat::Png)),
        ("studies/1.2/rendered", "image/jpeg", "image/jpeg", image(image::ImageFormat::Jpeg)),
        ("studies/1.2/rendered", "image/gif", "image/gif", image(image::ImageFormat::Gif)),
        ("studies/1.2/rendered", "text/html", "text/html", page),
    ] {
        let answer = CannedResponse::bytes(content_type, whole.clone()).with_framing(Framing::UntilClose);
        // A page may lack the tags that its beginning does not have.
        let cuts: Vec<_> =
            (0..whole.len()).filter(|cut| content_type != "text/html" || *cut == 0 || *cut > 20).collect();
        let answers = cuts
            .iter()
            .map(|cut| answer.clone().abort_after(*cut))
            .flat_map(|answer| [answer.clone(), answer]);
        let pacs =
            Pacs::new().with_responses(&format!("/{target}"), answers.chain([answer.clone()])).start().await;
        let gateway = RunningGateway::start(&pacs.url(), "").await;
        let client = Http2Client::connect(gateway.base_url()).await;
        let path = format!("/dicom-web/main/{target}");
        let headers = [("Accept", accept)];
        for cut in cuts {
            for answer in [gateway.get_with_headers(&path, &headers).await, client.get(&path, &headers).await]
            {
                assert!(
                    !(answer.is_complete && answer.status < 400),
                    "{content_type} cut after {cut}: {answer:?}"
                );
            }
        }
        let answer = gateway.get_with_headers(&path, &headers).await;
        assert_eq!(
            (answer.status, answer.is_complete),
            (200, true),
            "{content_type}: {} of {} bytes after {} requests",
            answer.body.len(),
            whole.len(),
            pacs.targets().len()
        );
        assert!(answer.body == whole);
    }
}

#[tokio::test]
async fn responses_over_http2_are_complete_only_if_whole() {
    let pacs = TlsPacs::start().await;
    let gateway = RunningGateway::start(&pacs.url(), TRUSTED_CA_CONFIG).await;
    let client = Http2Client::connect(gateway.base_url()).await;
    let related = "multipart/related; type=\"application/dicom\"; boundary=b";
    let parts = b"--b\r\nContent-Type: application/dicom\r\n\r\nDICM one\r\n--b\r\n\r\nDICM two\r\n--b--";
    for (path, content_type, whole) in [
        ("/dicom-web/main/studies", "application/dicom+json", ROWS.as_bytes()),
        ("/dicom-web/main/studies/1.2", related, &parts[..]),
    ] {
        let early = (0..whole.len()).flat_map(|bytes| {
            [
                BodyEnd::Early(bytes),
                BodyEnd::ShortBody(bytes),
                BodyEnd::Reset(bytes),
                BodyEnd::Disconnect(bytes),
            ]
        });
        // A body is not complete before its stream has ended, even if all bytes were received.
        for end in early.chain([BodyEnd::Reset(whole.len()), BodyEnd::Disconnect(whole.len())]) {
            pacs.respond_with(content_type, whole, end);
            for answer in [gateway.get(path).await, client.get(path, &[]).await] {
                let looks_complete = answer.is_complete && answer.status < 400;
                assert!(!looks_complete, "{path} {end:?}: {answer:?}");
            }
        }
        pacs.respond_with(content_type, whole, BodyEnd::Complete);
        let (first, second) = (gateway.get(path).await, client.get(path, &[]).await);
        assert!(first.is_complete && first.status == 200, "{path}: {first:?}");
        assert!(second.is_complete && second.body == first.body, "{path}: {second:?}");
    }
}

#[tokio::test]
async fn truncated_metadata_is_never_cached() {
    let metadata = r#"[{"00080016":{"vr":"UI","Value":["1.2.840.10008.5.1.4.1.1.2"]},"00080018":{"vr":"UI","Value":["1.2.1.1"]},"0020000D":{"vr":"UI","Value":["1.2"]},"0020000E":{"vr":"UI","Value":["1.2.1"]}}]"#;
    let whole = CannedResponse::json(metadata).with_framing(Framing::UntilClose);
    let cuts = 0..metadata.len();
    let answers = cuts.clone().map(|bytes| whole.clone().abort_after(bytes)).chain([whole.clone()]);
    let pacs = Pacs::new()
        .with_study(Study::new("1.2").patient("P1", "Doe^Jane").series("1.2.1", "CT", 1))
        .with_responses("/studies/1.2/series/1.2.1/metadata", answers)
        // The other source of instances is not supported.
        .with_response("/studies/1.2/series/1.2.1/instances", CannedResponse::status(501))
        .start()
        .await;
    let gateway = RunningGateway::start(&pacs.url(), "profile = \"orthanc\"").await;
    for bytes in cuts {
        let answer = gateway.get("/fhir/ImagingStudy/1.2").await;
        assert!(answer.status >= 500, "cut after {bytes}: {}", answer.text());
    }
    let study = gateway.get_json("/fhir/ImagingStudy/1.2").await;
    assert_eq!(study["series"][0]["instance"][0]["uid"], "1.2.1.1");
    let sent = pacs.targets().len();
    assert_eq!(gateway.get_json("/fhir/ImagingStudy/1.2").await, study);
    assert_eq!(pacs.targets().len(), sent, "a complete response is cached");
}
