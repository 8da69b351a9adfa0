//! Negotiation of media types (PS3.18 8.7) with the Accept headers of clients and the capabilities of archives.

use crate::support::archive_root::ArchiveRoot;
use crate::support::client;
use crate::support::pacs::{CannedResponse, Pacs, RunningPacs, Study};

const FRAME: &str = "studies/1.2/series/1.2.1/instances/1.2.1.1/frames/1";

fn accepts(pacs: &RunningPacs) -> Vec<String> {
    pacs.requests().iter().map(|request| request.header("accept").unwrap_or_default().to_owned()).collect()
}

fn rejection() -> CannedResponse {
    CannedResponse::bytes("text/plain", "not supported").with_status(400)
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
    let response = client::get_with_headers(&root.url("studies/1.2/rendered"), &browser).await;
    assert_eq!((response.status, response.text().as_str()), (200, "jpeg"));
    assert_eq!(accepts(&pacs), ["image/webp;q=0.900, */*;q=0.800", "image/webp", "*/*"]);
    assert_eq!(client::get_with_headers(&root.url("studies/1.3/rendered"), &browser).await.status, 406);
    let request_count = || pacs.targets().iter().filter(|target| target.contains("/rendered")).count();
    assert_eq!(request_count(), 6, "the list, and each of its two media ranges");
    assert_eq!(client::get_with_headers(&root.url("studies/1.4/rendered"), &browser).await.status, 404);
    assert_eq!(request_count(), 7, "a resource that is not found is not requested again");
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
    let two_parts =
        CannedResponse::multipart("b", [("Content-Type: application/dicom", &b"one"[..]), ("X: y", b"two")]);
    let frame = CannedResponse::multipart("b", [("Content-Type: application/octet-stream", &b"0123"[..])])
        .with_content_type("multipart/related; type=\"application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1\"; boundary=b");
    let pacs = Pacs::new()
        .with_responses(
            &format!("/{instance}"),
            [rejection(), part.clone(), rejection(), part.abort_after(50), rejection(), two_parts],
        )
        .with_responses(&format!("/{instance}/frames/1"), [rejection(), frame])
        .start()
        .await;
    let root = ArchiveRoot::start(&pacs).await;
    let accept = [("Accept", "application/dicom; transfer-syntax=*"), ("Range", "bytes=0-1")];
    let object = client::get_with_headers(&root.url(instance), &accept).await;
    assert_eq!((object.status, object.is_complete, object.text().as_str()), (200, true, "DICM \r\n--a"));
    assert_eq!(object.header("content-type"), Some("application/dicom"));
    assert_eq!(
        accepts(&pacs),
        [
            "application/dicom; transfer-syntax=*",
            "multipart/related; type=\"application/dicom\"; transfer-syntax=*"
        ]
    );
    assert_eq!(pacs.requests()[1].header("range"), None);
    for name in ["truncated", "of two parts"] {
        let response = client::get_with_headers(&root.url(instance), &accept).await;
        assert!(!response.is_complete || response.status >= 400, "{name}: {}", response.text());
    }
    let octets = [("Accept", "application/octet-stream")];
    let frame = client::get_with_headers(&root.url(&format!("{instance}/frames/1")), &octets).await;
    assert_eq!((frame.is_complete, frame.text().as_str()), (true, "0123"));
    assert_eq!(
        frame.header("content-type"),
        Some("application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1")
    );
}

#[tokio::test]
async fn single_objects_are_extracted_from_archives_that_ignore_accept() {
    let parts = |contents: &[&'static [u8]]| {
        CannedResponse::multipart(
            "b",
            contents.iter().map(|content| ("Content-Type: application/dicom", *content)),
        )
    };
    let pacs = Pacs::new()
        .with_responses(
            "/studies/1.2/series/1.2.1/instances/1.2.1.1",
            [parts(&[b"DICM"]), parts(&[b"DICM"]), parts(&[b"DICM"]), parts(&[b"one", b"two"])],
        )
        .start()
        .await;
    let root = ArchiveRoot::start(&pacs).await;
    let url = root.url("studies/1.2/series/1.2.1/instances/1.2.1.1");
    let get = async |accept: &str| client::get_with_headers(&url, &[("Accept", accept)]).await;
    for accept in ["application/dicom", "application/dicom; transfer-syntax=*"] {
        let object = get(accept).await;
        assert_eq!((object.status, object.text().as_str()), (200, "DICM"), "{accept}");
        assert_eq!(object.header("content-type"), Some("application/dicom"), "{accept}");
    }
    let body = get("application/dicom, multipart/related; type=\"application/dicom\"; q=0.5").await;
    assert!(body.text().contains("--b--"), "the client accepts the multipart body: {}", body.text());
    assert_eq!(get("application/dicom").await.status, 502);
}

#[tokio::test]
async fn single_images_are_extracted_from_archives_that_ignore_accept() {
    let parts = |count| {
        let part = ("Content-Type: image/jpeg", &b"jpeg"[..]);
        CannedResponse::multipart("b", std::iter::repeat_n(part, count))
            .with_content_type("multipart/related; type=\"image/jpeg\"; boundary=b")
    };
    let instance = "studies/1.2/series/1.2.1/instances/1.2.1.1";
    for target in [
        FRAME.to_owned(),
        format!("{FRAME}/rendered"),
        format!("{instance}/rendered"),
        format!("{instance}/thumbnail"),
        "studies/1.2/thumbnail".to_owned(),
    ] {
        let responses = [parts(1), parts(1), parts(2)];
        let pacs = Pacs::new().with_responses(&format!("/{target}"), responses).start().await;
        let root = ArchiveRoot::start(&pacs).await;
        let get = async |accept: &str| {
            let headers = [("Accept", accept), ("Cache-Control", "no-cache")];
            client::get_with_headers(&root.url(&target), &headers).await
        };
        for accept in ["image/jpeg", "image/png;q=0.5, image/*"] {
            let image = get(accept).await;
            assert_eq!((image.status, image.text().as_str()), (200, "jpeg"), "{target} {accept}");
            assert_eq!(image.header("content-type"), Some("image/jpeg"), "{target} {accept}");
        }
        let several = get("image/jpeg").await;
        assert_eq!(several.status, 502, "{target}: {}", several.text());
    }
}

const OCTETS: &str =
    "multipart/related; type=\"application/octet-stream\"; transfer-syntax=1.2.840.10008.1.2.1";
const JPEG: &str = "multipart/related; type=\"image/jpeg\"; transfer-syntax=1.2.840.10008.1.2.4.50";

/// Requests a frame from an archive that sends `respond(accept)`. Returns the status for the client and the number of upstream
/// requests.
async fn request_frame(respond: impl Fn(&str) -> CannedResponse, accept: &str) -> (u16, usize) {
    // The list is requested first, and then each of its media types.
    let responses: Vec<_> = std::iter::once(accept).chain(accept.split(", ")).map(respond).collect();
    let pacs = Pacs::new().with_responses(&format!("/{FRAME}"), responses).start().await;
    let root = ArchiveRoot::start(&pacs).await;
    let response = client::get_with_headers(&root.url(FRAME), &[("Accept", accept)]).await;
    // A request for the whole instance may follow, from which the gateway could extract the frame.
    (response.status, pacs.targets().iter().filter(|target| target.ends_with(FRAME)).count())
}

#[tokio::test]
async fn a_media_type_is_available_even_if_others_fail() {
    let part = CannedResponse::multipart("b", [("Content-Type: application/octet-stream", &b"0123"[..])]);
    let html = CannedResponse::html("<!doctype html><title>cannot transcode</title>");
    for failure in [
        CannedResponse::status(500),
        CannedResponse::status(501),
        CannedResponse::status(409),
        CannedResponse::status(502),
        html,
    ] {
        let respond = |accept: &str| if accept == OCTETS { part.clone() } else { failure.clone() };
        for list in [format!("{OCTETS}, {JPEG}"), format!("{JPEG}, {OCTETS}")] {
            assert_eq!(request_frame(respond, &list).await.0, 200, "{list} after {failure:?}");
        }
    }
}

#[tokio::test]
async fn the_first_rejection_is_reported_if_every_media_type_is_rejected() {
    let list = format!("{OCTETS}, {JPEG}");
    let (status, request_count) = request_frame(|_| CannedResponse::status(500), &list).await;
    assert_eq!((status, request_count), (502, 3), "the list, and each of its media types");
    let not_listed = |accept: &str| CannedResponse::status(if accept == JPEG { 406 } else { 500 });
    assert_eq!(request_frame(not_listed, &list).await, (502, 3));
    let fails_last = |accept: &str| CannedResponse::status(if accept == JPEG { 500 } else { 400 });
    assert_eq!(request_frame(fails_last, &list).await, (400, 3));
}

#[tokio::test]
async fn statuses_that_do_not_depend_on_the_media_type_are_not_retried() {
    let list = format!("{OCTETS}, {JPEG}");
    for (upstream, expected) in
        [(401, 502), (403, 502), (404, 404), (410, 410), (416, 416), (429, 503), (503, 503)]
    {
        assert_eq!(
            request_frame(|_| CannedResponse::status(upstream), &list).await,
            (expected, 1),
            "{upstream}"
        );
    }
}

#[tokio::test]
async fn rejected_media_types_are_reported_as_406_for_every_rejection_status_of_the_archive() {
    for status in [400, 406, 415] {
        for accept in ["application/zip", "text/plain", "image/jphc", JPEG] {
            let pacs =
                Pacs::new().with_response(&format!("/{FRAME}"), CannedResponse::status(status)).start().await;
            let root = ArchiveRoot::start(&pacs).await;
            let response = client::get_with_headers(&root.url(FRAME), &[("Accept", accept)]).await;
            assert_eq!(response.status, 406, "{accept} after {status}");
            let text = response.text();
            assert!(
                text.contains("None of the media types in Accept is available for this resource"),
                "{text}"
            );
            assert!(text.contains("archive main"), "{text}");
            assert!(text.contains("available are multipart/related; type="), "{text}");
        }
    }
    let pacs = Pacs::new().with_fallback(CannedResponse::status(400)).start().await;
    let root = ArchiveRoot::start(&pacs).await;
    for (target, accept) in [(FRAME, "*/*"), ("studies?PatientID=1", "application/dicom+json")] {
        let response = client::get_with_headers(&root.url(target), &[("Accept", accept)]).await;
        assert_eq!(response.status, 400, "a 400 for {target} as {accept} is not a rejection of media types");
    }
}

#[tokio::test]
async fn unsupported_media_types_cause_no_upstream_request_and_the_error_names_the_available_ones() {
    let pacs = Pacs::new().with_study(Study::new("1.2")).start().await;
    let root = ArchiveRoot::start(&pacs).await;
    let json_or_xml = "application/dicom+json, multipart/related; type=\"application/dicom+xml\".";
    for (target, accept, requested_in, available) in [
        ("studies", "text/html", "Accept", json_or_xml),
        ("studies", "application/dicom+json;q=0", "Accept", json_or_xml),
        ("studies/1.2/metadata", "image/png", "Accept", json_or_xml),
        ("studies/1.2", "nonsense", "Accept", "multipart/related; type=\"application/dicom\"."),
        (
            &FRAME[..FRAME.len() - "/frames/1".len()],
            "nonsense",
            "Accept",
            "multipart/related; type=\"application/dicom\", application/dicom.",
        ),
        (
            FRAME,
            "nonsense",
            "Accept",
            "multipart/related; type=\"application/octet-stream\", application/octet-stream.",
        ),
        ("studies?accept=image/png", "*/*", "the query parameter accept", json_or_xml),
        ("", "image/png", "Accept", "application/vnd.sun.wadl+xml, application/xml, text/xml."),
    ] {
        let response = client::get_with_headers(&root.url(target), &[("Accept", accept)]).await;
        assert_eq!(response.status, 406, "{target} as {accept}");
        assert_eq!(
            response.json()["message"],
            format!(
                "None of the media types in {requested_in} is available for this resource; available are {available}"
            ),
            "{target} as {accept}"
        );
    }
    let aggregate = root.url("studies").replace("/main/", "/");
    let response = client::get_with_headers(&aggregate, &[("Accept", "image/png")]).await;
    assert!(response.text().contains("available are application/dicom+json"), "{}", response.text());
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
        let response = client::get(&root.url(&format!("{level}?{query}"))).await;
        assert_eq!((response.status, response.text().as_str()), (200, "[]"), "{level}");
        assert_eq!(
            response.header("warning"),
            Some("299 dicomweb-gateway \"There are 5 additional results\"")
        );
        for invalid in [
            "nonsense=1",
            "emptyvaluematching=1",
            "multiplevaluematching=",
            "fuzzymatching=true&fuzzymatching=false",
        ] {
            assert_eq!(
                client::get(&root.url(&format!("{level}?{invalid}"))).await.status,
                400,
                "{level}?{invalid}"
            );
        }
    }
    let expected = "PatientName=a&includefield=00080060&includefield=00081030&fuzzymatching=true&emptyvaluematching=false&\
                    multiplevaluematching=true&limit=5&offset=10";
    assert_eq!(pacs.targets(), levels.map(|level| format!("/dicom-web/{level}?{expected}")));
}

#[tokio::test]
async fn a_media_type_with_weight_0_is_never_sent_although_a_wildcard_covers_it() {
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
        let response = client::get_with_headers(&root.url(target), &[("Accept", accept)]).await;
        assert_eq!(response.status, status, "{target} {accept}: {}", response.text());
        let actual = response.header("content-type").unwrap();
        assert!(actual.starts_with(content_type), "{target} {accept}: {actual}");
    }
}

#[tokio::test]
async fn the_error_for_a_frame_that_an_archive_does_not_have_names_the_frame() {
    for status in [400, 404] {
        let pacs = Pacs::new().with_fallback(CannedResponse::status(status)).start().await;
        let root = ArchiveRoot::start(&pacs).await;
        for frames in ["frames/2", "frames/2/rendered"] {
            let response = client::get_with_headers(&root.url(&FRAME.replace("frames/1", frames)), &[]).await;
            assert_eq!(response.status, status, "{frames}");
            let text = response.text();
            assert!(text.contains("to the request for frame 2: ") && text.contains("fewer frames"), "{text}");
        }
    }
}
