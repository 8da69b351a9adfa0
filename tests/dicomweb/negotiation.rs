//! Negotiation of media types (PS3.18 8.7): every spelling of clients, and every capability of archives.

use crate::support::archive_root::ArchiveRoot;
use crate::support::client;
use crate::support::pacs::{CannedResponse, Pacs, RunningPacs, Study};

const FRAME: &str = "studies/1.2/series/1.2.1/instances/1.2.1.1/frames/1";

fn accepts(pacs: &RunningPacs) -> Vec<String> {
    pacs.requests().iter().map(|seen| seen.header("accept").unwrap_or_default().to_owned()).collect()
}

fn rejection() -> CannedResponse {
    CannedResponse::bytes("text/plain", "cannot").with_status(400)
}

#[tokio::test]
async fn nonconformant_accept_headers_of_viewers_are_sent_in_the_standard_form() {
    let part = CannedResponse::multipart("b", [("Content-Type: application/octet-stream", &b"0123"[..])]);
    let pacs = Pacs::new().with_response(&format!("/{FRAME}"), part).start().await;
    let root = ArchiveRoot::start(&pacs).await;
    for accept in [
        "multipart/related; type=application/octet-stream; transfer-syntax=*",
        "multipart/related; type='application/octet-stream'; transfer-syntax=*",
        "multipart/related; type=\"application/octet-stream; transfer-syntax=*\"",
        "multipart/related; type=\"*/*\"; transfer-syntax=*",
    ] {
        assert_eq!(
            client::get_with_headers(&root.url(FRAME), &[("Accept", accept)]).await.status,
            200,
            "{accept}"
        );
    }
    let canonical = "multipart/related; type=\"application/octet-stream\"; transfer-syntax=*";
    assert_eq!(accepts(&pacs), [canonical; 4]);
}

#[tokio::test]
async fn a_rejected_list_of_media_types_is_tried_one_by_one() {
    let image = CannedResponse::bytes("image/jpeg", "jpeg");
    let pacs = Pacs::new()
        .with_responses("/studies/1.2/rendered", [rejection(), rejection().with_status(406), image])
        .with_response("/studies/1.3/rendered", rejection().with_status(406))
        .with_response("/studies/1.4/rendered", CannedResponse::status(404))
        .start()
        .await;
    let root = ArchiveRoot::start(&pacs).await;
    let browser = [("Accept", "image/webp;q=0.9, */*;q=0.8, text/plain;q=0")];
    let answer = client::get_with_headers(&root.url("studies/1.2/rendered"), &browser).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "jpeg"));
    assert_eq!(accepts(&pacs), ["image/webp;q=0.900, */*;q=0.800", "image/webp", "*/*"]);
    assert_eq!(client::get_with_headers(&root.url("studies/1.3/rendered"), &browser).await.status, 406);
    let sent = || pacs.targets().iter().filter(|target| target.contains("/rendered")).count();
    assert_eq!(sent(), 6, "each media range once");
    assert_eq!(client::get_with_headers(&root.url("studies/1.4/rendered"), &browser).await.status, 404);
    assert_eq!(sent(), 7, "a resource that is not found is not requested again");
}

#[tokio::test]
async fn a_missing_thumbnail_is_requested_as_a_rendered_image() {
    let image = CannedResponse::bytes("image/jpeg", "small");
    let pacs = Pacs::new()
        .with_response("/studies/1.2/rendered", image.clone())
        .with_response("/studies/1.3/thumbnail", CannedResponse::status(501))
        .with_response("/studies/1.3/rendered", image.clone())
        .with_response("/studies/1.4/thumbnail", image)
        .with_response("/studies/1.5/thumbnail", CannedResponse::status(503))
        .start()
        .await;
    let root = ArchiveRoot::start(&pacs).await;
    let get = async |target: &str| client::get(&root.url(target)).await;
    for (target, status) in [
        ("studies/1.2/thumbnail", 200),
        ("studies/1.3/thumbnail?viewport=64,64", 200),
        ("studies/1.4/thumbnail", 200),
        ("studies/1.5/thumbnail", 503),
        ("studies/1.6/thumbnail", 404),
        ("studies/1.6/rendered", 404),
    ] {
        assert_eq!(get(target).await.status, status, "{target}");
    }
    let mut sent = pacs.targets();
    // Before the gateway returns 404 it searches for images that it could render.
    sent.retain(|target| !target.contains("/series"));
    assert_eq!(
        sent,
        [
            "/dicom-web/studies/1.2/thumbnail",
            "/dicom-web/studies/1.2/rendered?viewport=128,128",
            "/dicom-web/studies/1.3/thumbnail?viewport=64,64",
            "/dicom-web/studies/1.3/rendered?viewport=64,64",
            "/dicom-web/studies/1.4/thumbnail",
            "/dicom-web/studies/1.5/thumbnail",
            "/dicom-web/studies/1.6/thumbnail",
            "/dicom-web/studies/1.6/rendered?viewport=128,128",
            "/dicom-web/studies/1.6/rendered",
        ]
    );
}

#[tokio::test]
async fn single_objects_are_extracted_from_archives_that_only_return_multipart() {
    let instance = "studies/1.2/series/1.2.1/instances/1.2.1.1";
    let part = CannedResponse::multipart("b", [("Content-Type: application/dicom", &b"DICM \r\n--a"[..])]);
    let two =
        CannedResponse::multipart("b", [("Content-Type: application/dicom", &b"one"[..]), ("X: y", b"two")]);
    let frame = CannedResponse::multipart("b", [("Content-Type: application/octet-stream", &b"0123"[..])])
        .with_content_type("multipart/related; type=\"application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1\"; boundary=b");
    let pacs = Pacs::new()
        .with_responses(
            &format!("/{instance}"),
            [rejection(), part.clone(), rejection(), part.abort_after(50), rejection(), two],
        )
        .with_responses(&format!("/{instance}/frames/1"), [rejection(), frame])
        .start()
        .await;
    let root = ArchiveRoot::start(&pacs).await;
    let accept = [("Accept", "application/dicom; transfer-syntax=*"), ("Range", "bytes=0-1")];
    let whole = client::get_with_headers(&root.url(instance), &accept).await;
    assert_eq!((whole.status, whole.is_complete, whole.text().as_str()), (200, true, "DICM \r\n--a"));
    assert_eq!(whole.header("content-type"), Some("application/dicom"));
    assert_eq!(
        accepts(&pacs),
        [
            "application/dicom; transfer-syntax=*",
            "multipart/related; type=\"application/dicom\"; transfer-syntax=*"
        ]
    );
    assert_eq!(pacs.requests()[1].header("range"), None);
    for broken in ["truncated", "of two parts"] {
        let answer = client::get_with_headers(&root.url(instance), &accept).await;
        assert!(!answer.is_complete || answer.status >= 400, "{broken}: {}", answer.text());
    }
    let octets = [("Accept", "application/octet-stream")];
    let frame = client::get_with_headers(&root.url(&format!("{instance}/frames/1")), &octets).await;
    assert_eq!((frame.is_complete, frame.text().as_str()), (true, "0123"));
    assert_eq!(
        frame.header("content-type"),
        Some("application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1")
    );
}

const OCTETS: &str =
    "multipart/related; type=\"application/octet-stream\"; transfer-syntax=1.2.840.10008.1.2.1";
const JPEG: &str = "multipart/related; type=\"image/jpeg\"; transfer-syntax=1.2.840.10008.1.2.4.50";

/// An archive that responds to each media type of a frame as `answer` says.
async fn frame_that(answer: impl Fn(&str) -> CannedResponse, accept: &str) -> (u16, usize) {
    // The list is requested first, and then each of its media types.
    let answers: Vec<_> = std::iter::once(accept).chain(accept.split(", ")).map(answer).collect();
    let pacs = Pacs::new().with_responses(&format!("/{FRAME}"), answers).start().await;
    let root = ArchiveRoot::start(&pacs).await;
    let answer = client::get_with_headers(&root.url(FRAME), &[("Accept", accept)]).await;
    (answer.status, pacs.targets().len())
}

#[tokio::test]
async fn a_failing_media_type_does_not_hide_an_available_one() {
    let part = CannedResponse::multipart("b", [("Content-Type: application/octet-stream", &b"0123"[..])]);
    let page = CannedResponse::html("<!doctype html><title>cannot transcode</title>");
    for failure in [
        CannedResponse::status(500),
        CannedResponse::status(501),
        CannedResponse::status(409),
        CannedResponse::status(502),
        page,
    ] {
        let transcodes_nothing = |accept: &str| if accept == OCTETS { part.clone() } else { failure.clone() };
        for list in [format!("{OCTETS}, {JPEG}"), format!("{JPEG}, {OCTETS}")] {
            assert_eq!(frame_that(transcodes_nothing, &list).await.0, 200, "{list} after {failure:?}");
        }
    }
}

#[tokio::test]
async fn the_first_rejection_is_reported_if_every_media_type_is_rejected() {
    let list = format!("{OCTETS}, {JPEG}");
    let (status, sent) = frame_that(|_| CannedResponse::status(500), &list).await;
    assert_eq!((status, sent), (502, 3), "the list, and each of its media types");
    let not_listed = |accept: &str| CannedResponse::status(if accept == JPEG { 406 } else { 500 });
    assert_eq!(frame_that(not_listed, &list).await, (502, 3));
    let fails_last = |accept: &str| CannedResponse::status(if accept == JPEG { 500 } else { 400 });
    assert_eq!(frame_that(fails_last, &list).await, (400, 3));
}

#[tokio::test]
async fn statuses_that_do_not_depend_on_the_media_type_are_not_retried() {
    let list = format!("{OCTETS}, {JPEG}");
    for (archive, client) in
        [(401, 502), (403, 502), (404, 404), (410, 410), (416, 416), (429, 503), (503, 503)]
    {
        assert_eq!(frame_that(|_| CannedResponse::status(archive), &list).await, (client, 1), "{archive}");
    }
}

#[tokio::test]
async fn rejected_media_types_are_a_406_whatever_status_the_archive_uses() {
    for status in [400, 406, 415] {
        for accept in ["application/zip", "text/plain", "image/jphc", JPEG] {
            let pacs =
                Pacs::new().with_response(&format!("/{FRAME}"), CannedResponse::status(status)).start().await;
            let root = ArchiveRoot::start(&pacs).await;
            let answer = client::get_with_headers(&root.url(FRAME), &[("Accept", accept)]).await;
            assert_eq!(answer.status, 406, "{accept} after {status}");
            let text = answer.text();
            assert!(
                text.contains("None of the media types in Accept is available for this resource"),
                "{text}"
            );
            assert!(text.contains("archive main"), "{text}");
        }
    }
    let pacs = Pacs::new().with_fallback(CannedResponse::status(400)).start().await;
    let root = ArchiveRoot::start(&pacs).await;
    for (target, accept) in [(FRAME, "*/*"), ("studies?PatientID=1", "application/dicom+json")] {
        let answer = client::get_with_headers(&root.url(target), &[("Accept", accept)]).await;
        assert_eq!(answer.status, 400, "a 400 for {target} as {accept} is not about media types");
    }
}

#[tokio::test]
async fn unsupported_media_types_cause_no_upstream_request() {
    let pacs = Pacs::new().with_study(Study::new("1.2")).start().await;
    let root = ArchiveRoot::start(&pacs).await;
    for (target, accept) in [
        ("studies", "text/html"),
        ("studies", "application/dicom+json;q=0"),
        ("studies/1.2/metadata", "image/png"),
        ("studies/1.2", "nonsense"),
    ] {
        let answer = client::get_with_headers(&root.url(target), &[("Accept", accept)]).await;
        assert_eq!(answer.status, 406, "{target} as {accept}");
    }
    assert_eq!(pacs.targets(), [""; 0]);
}

#[tokio::test]
async fn searches_at_every_level_accept_every_parameter_of_the_standard() {
    let pacs = Pacs::new()
        .with_fallback(
            CannedResponse::json("[]").header("Warning", "299 pacs:8042: There are 5 additional results"),
        )
        .start()
        .await;
    let root = ArchiveRoot::start(&pacs).await;
    let query = "PatientName=a&includefield=StudyDescription,00080060&includefield=00081030&fuzzymatching=true&\
                 emptyvaluematching=false&multiplevaluematching=true&limit=5&offset=10";
    let levels = [
        "studies",
        "series",
        "instances",
        "studies/1.2/series",
        "studies/1.2/instances",
        "studies/1.2/series/1.3/instances",
    ];
    for level in levels {
        let answer = client::get(&root.url(&format!("{level}?{query}"))).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "[]"), "{level}");
        assert_eq!(answer.header("warning"), Some("299 dicomweb-gateway \"There are 5 additional results\""));
        for unknown in [
            "nonsense=1",
            "emptyvaluematching=1",
            "multiplevaluematching=",
            "fuzzymatching=true&fuzzymatching=false",
        ] {
            assert_eq!(
                client::get(&root.url(&format!("{level}?{unknown}"))).await.status,
                400,
                "{level}?{unknown}"
            );
        }
    }
    let expected = "PatientName=a&includefield=00080060&includefield=00081030&fuzzymatching=true&emptyvaluematching=false&\
                    multiplevaluematching=true&limit=5&offset=10";
    assert_eq!(pacs.targets(), levels.map(|level| format!("/dicom-web/{level}?{expected}")));
}

#[tokio::test]
async fn a_media_type_with_quality_0_is_never_sent_because_a_wildcard_covers_it() {
    let pacs = Pacs::new()
        .with_study(Study::new("1.2").series("1.2.1", "CT", 1))
        .with_response("/studies/1.3/rendered", CannedResponse::bytes("image/jpeg", "jpeg"))
        .with_response("/studies/1.4", CannedResponse::bytes("application/dicom", "DICM"))
        .with_response(
            "/studies/1.5",
            CannedResponse::multipart("b", [("Content-Type: application/dicom", &b"DICM"[..])]),
        )
        .start()
        .await;
    let root = ArchiveRoot::start(&pacs).await;
    let excludes_json = "application/dicom+json;q=0, */*";
    let excludes_objects = "multipart/related; type=\"application/dicom\";q=0, */*";
    for (target, accept, status, content_type) in [
        ("studies", excludes_json, 200, "multipart/related; type=\"application/dicom+xml\""),
        ("studies/1.2/metadata", excludes_json, 200, "multipart/related; type=\"application/dicom+xml\""),
        ("studies", "application/dicom+json;q=0, application/*", 406, "application/json"),
        ("studies", "application/dicom+json;q=0, multipart/related;q=0, */*", 406, "application/json"),
        (
            "studies",
            "multipart/related; type=\"application/dicom+xml\";q=0, */*",
            200,
            "application/dicom+json",
        ),
        ("studies/1.3/rendered", "image/jpeg;q=0, */*", 406, "application/json"),
        ("studies/1.3/rendered", "image/png;q=0, */*", 200, "image/jpeg"),
        ("studies/1.3/rendered", "image/*;q=0, image/jpeg, */*;q=0.1", 200, "image/jpeg"),
        ("studies/1.4", "application/dicom;q=0, */*", 406, "application/json"),
        ("studies/1.4", "application/*;q=0, */*", 406, "application/json"),
        ("studies/1.4", excludes_objects, 200, "application/dicom"),
        ("studies/1.5", excludes_objects, 406, "application/json"),
        ("studies/1.5", "application/dicom;q=0, */*", 200, "multipart/related; type=\"application/dicom\""),
    ] {
        let answer = client::get_with_headers(&root.url(target), &[("Accept", accept)]).await;
        assert_eq!(answer.status, status, "{target} {accept}: {}", answer.text());
        let sent = answer.header("content-type").unwrap();
        assert!(sent.starts_with(content_type), "{target} {accept}: {sent}");
    }
}
