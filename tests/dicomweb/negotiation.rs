//! What a client takes, however it writes it, and what an archive understands of it (PS3.18 8.7).

use crate::support::client;
use crate::support::front::Front;
use crate::support::pacs::{Answer, Pacs, RunningPacs, Study};

const FRAME: &str = "studies/1.2/series/1.2.1/instances/1.2.1.1/frames/1";

fn accepts(pacs: &RunningPacs) -> Vec<String> {
    pacs.requests().iter().map(|seen| seen.header("accept").unwrap_or_default().to_owned()).collect()
}

fn refusal() -> Answer {
    Answer::bytes("text/plain", "cannot").with_status(400)
}

#[tokio::test]
async fn what_older_viewers_write_is_asked_for_as_the_standard_has_it() {
    let part = Answer::parts("b", [("Content-Type: application/octet-stream", &b"0123"[..])]);
    let pacs = Pacs::new().at(&format!("/{FRAME}"), part).start().await;
    let front = Front::of(&pacs).await;
    for accept in [
        "multipart/related; type=application/octet-stream; transfer-syntax=*",
        "multipart/related; type='application/octet-stream'; transfer-syntax=*",
        "multipart/related; type=\"application/octet-stream; transfer-syntax=*\"",
        "multipart/related; type=\"*/*\"; transfer-syntax=*",
    ] {
        assert_eq!(client::get_with(&front.url(FRAME), &[("Accept", accept)]).await.status, 200, "{accept}");
    }
    let canonical = "multipart/related; type=\"application/octet-stream\"; transfer-syntax=*";
    assert_eq!(accepts(&pacs), [canonical; 4]);
}

#[tokio::test]
async fn a_list_that_an_archive_cannot_read_is_asked_for_one_by_one() {
    let image = Answer::bytes("image/jpeg", "jpeg");
    let pacs = Pacs::new()
        .in_turn("/studies/1.2/rendered", [refusal(), refusal().with_status(406), image])
        .at("/studies/1.3/rendered", refusal().with_status(406))
        .at("/studies/1.4/rendered", Answer::status(404))
        .start()
        .await;
    let front = Front::of(&pacs).await;
    let browser = [("Accept", "image/webp;q=0.9, */*;q=0.8, text/plain;q=0")];
    let answer = client::get_with(&front.url("studies/1.2/rendered"), &browser).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "jpeg"));
    assert_eq!(accepts(&pacs), ["image/webp;q=0.900, */*;q=0.800", "image/webp", "*/*"]);
    assert_eq!(client::get_with(&front.url("studies/1.3/rendered"), &browser).await.status, 406);
    let asked = || pacs.targets().iter().filter(|target| target.contains("/rendered")).count();
    assert_eq!(asked(), 6, "each range once");
    assert_eq!(client::get_with(&front.url("studies/1.4/rendered"), &browser).await.status, 404);
    assert_eq!(asked(), 7, "what is not there is not asked for again");
}

#[tokio::test]
async fn a_thumbnail_that_an_archive_does_not_have_is_drawn_by_it() {
    let image = Answer::bytes("image/jpeg", "small");
    let pacs = Pacs::new()
        .at("/studies/1.2/rendered", image.clone())
        .at("/studies/1.3/thumbnail", Answer::status(501))
        .at("/studies/1.3/rendered", image.clone())
        .at("/studies/1.4/thumbnail", image)
        .at("/studies/1.5/thumbnail", Answer::status(503))
        .start()
        .await;
    let front = Front::of(&pacs).await;
    let get = async |target: &str| client::get(&front.url(target)).await;
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
    let mut asked = pacs.targets();
    // Before the gateway gives up it looks for images that it could draw.
    asked.retain(|target| !target.contains("/series"));
    assert_eq!(
        asked,
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
async fn a_single_object_comes_as_it_is_from_an_archive_that_knows_parts_only() {
    let instance = "studies/1.2/series/1.2.1/instances/1.2.1.1";
    let part = Answer::parts("b", [("Content-Type: application/dicom", &b"DICM \r\n--a"[..])]);
    let two = Answer::parts("b", [("Content-Type: application/dicom", &b"one"[..]), ("X: y", b"two")]);
    let frame = Answer::parts("b", [("Content-Type: application/octet-stream", &b"0123"[..])])
        .with_type("multipart/related; type=\"application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1\"; boundary=b");
    let pacs = Pacs::new()
        .in_turn(
            &format!("/{instance}"),
            [refusal(), part.clone(), refusal(), part.breaks_after(50), refusal(), two],
        )
        .in_turn(&format!("/{instance}/frames/1"), [refusal(), frame])
        .start()
        .await;
    let front = Front::of(&pacs).await;
    let accept = [("Accept", "application/dicom; transfer-syntax=*"), ("Range", "bytes=0-1")];
    let whole = client::get_with(&front.url(instance), &accept).await;
    assert_eq!((whole.status, whole.complete, whole.text().as_str()), (200, true, "DICM \r\n--a"));
    assert_eq!(whole.header("content-type"), Some("application/dicom"));
    assert_eq!(
        accepts(&pacs),
        [
            "application/dicom; transfer-syntax=*",
            "multipart/related; type=\"application/dicom\"; transfer-syntax=*"
        ]
    );
    assert_eq!(pacs.requests()[1].header("range"), None);
    for broken in ["cut off", "of two parts"] {
        let answer = client::get_with(&front.url(instance), &accept).await;
        assert!(!answer.complete, "{broken}: {}", answer.text());
    }
    let octets = [("Accept", "application/octet-stream")];
    let frame = client::get_with(&front.url(&format!("{instance}/frames/1")), &octets).await;
    assert_eq!((frame.complete, frame.text().as_str()), (true, "0123"));
    assert_eq!(
        frame.header("content-type"),
        Some("application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1")
    );
}

const OCTETS: &str =
    "multipart/related; type=\"application/octet-stream\"; transfer-syntax=1.2.840.10008.1.2.1";
const JPEG: &str = "multipart/related; type=\"image/jpeg\"; transfer-syntax=1.2.840.10008.1.2.4.50";

/// An archive that responds to each media type of a frame as `answer` says.
async fn frame_that(answer: impl Fn(&str) -> Answer, accept: &str) -> (u16, usize) {
    // The list is asked for first, and then each of its media types.
    let answers: Vec<_> = std::iter::once(accept).chain(accept.split(", ")).map(answer).collect();
    let pacs = Pacs::new().in_turn(&format!("/{FRAME}"), answers).start().await;
    let front = Front::of(&pacs).await;
    let answer = client::get_with(&front.url(FRAME), &[("Accept", accept)]).await;
    (answer.status, pacs.targets().len())
}

#[tokio::test]
async fn a_media_type_at_which_an_archive_fails_hides_none_that_it_has() {
    let part = Answer::parts("b", [("Content-Type: application/octet-stream", &b"0123"[..])]);
    let page = Answer::html("<!doctype html><title>cannot transcode</title>");
    for failure in [Answer::status(500), Answer::status(501), Answer::status(409), Answer::status(502), page]
    {
        let transcodes_nothing = |accept: &str| if accept == OCTETS { part.clone() } else { failure.clone() };
        for list in [format!("{OCTETS}, {JPEG}"), format!("{JPEG}, {OCTETS}")] {
            assert_eq!(frame_that(transcodes_nothing, &list).await.0, 200, "{list} after {failure:?}");
        }
    }
}

#[tokio::test]
async fn the_first_refusal_is_the_answer_when_every_media_type_was_refused() {
    let list = format!("{OCTETS}, {JPEG}");
    let (status, asked) = frame_that(|_| Answer::status(500), &list).await;
    assert_eq!((status, asked), (502, 3), "the list, and each of its media types");
    let not_listed = |accept: &str| Answer::status(if accept == JPEG { 406 } else { 500 });
    assert_eq!(frame_that(not_listed, &list).await, (502, 3));
    let fails_last = |accept: &str| Answer::status(if accept == JPEG { 500 } else { 400 });
    assert_eq!(frame_that(fails_last, &list).await, (400, 3));
}

#[tokio::test]
async fn what_holds_for_every_media_type_is_not_asked_for_again() {
    let list = format!("{OCTETS}, {JPEG}");
    for (archive, client) in
        [(401, 502), (403, 502), (404, 404), (410, 410), (416, 416), (429, 503), (503, 503)]
    {
        assert_eq!(frame_that(|_| Answer::status(archive), &list).await, (client, 1), "{archive}");
    }
}

#[tokio::test]
async fn media_types_that_an_archive_rejects_are_not_acceptable_however_it_says_so() {
    for status in [400, 406, 415] {
        for accept in ["application/zip", "text/plain", "image/jphc", JPEG] {
            let pacs = Pacs::new().at(&format!("/{FRAME}"), Answer::status(status)).start().await;
            let front = Front::of(&pacs).await;
            let answer = client::get_with(&front.url(FRAME), &[("Accept", accept)]).await;
            assert_eq!(answer.status, 406, "{accept} after {status}");
            let text = answer.text();
            assert!(
                text.contains("None of the media types in Accept is available for this resource"),
                "{text}"
            );
            assert!(text.contains("archive main"), "{text}");
        }
    }
    let pacs = Pacs::new().otherwise(Answer::status(400)).start().await;
    let front = Front::of(&pacs).await;
    for (target, accept) in [(FRAME, "*/*"), ("studies?PatientID=1", "application/dicom+json")] {
        let answer = client::get_with(&front.url(target), &[("Accept", accept)]).await;
        assert_eq!(answer.status, 400, "a 400 for {target} as {accept} is not about media types");
    }
}

#[tokio::test]
async fn nobody_is_asked_for_what_nobody_has() {
    let pacs = Pacs::new().study(Study::new("1.2")).start().await;
    let front = Front::of(&pacs).await;
    for (target, accept) in [
        ("studies", "text/html"),
        ("studies", "application/dicom+json;q=0"),
        ("studies/1.2/metadata", "image/png"),
        ("studies/1.2", "nonsense"),
    ] {
        let answer = client::get_with(&front.url(target), &[("Accept", accept)]).await;
        assert_eq!(answer.status, 406, "{target} as {accept}");
    }
    assert_eq!(pacs.targets(), [""; 0]);
}

#[tokio::test]
async fn every_level_is_searched_with_every_parameter_of_the_standard() {
    let pacs = Pacs::new()
        .otherwise(Answer::json("[]").header("Warning", "299 pacs:8042: There are 5 additional results"))
        .start()
        .await;
    let front = Front::of(&pacs).await;
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
        let answer = client::get(&front.url(&format!("{level}?{query}"))).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "[]"), "{level}");
        assert_eq!(answer.header("warning"), Some("299 dicomweb-gateway \"There are 5 additional results\""));
        for unknown in [
            "nonsense=1",
            "emptyvaluematching=1",
            "multiplevaluematching=",
            "fuzzymatching=true&fuzzymatching=false",
        ] {
            assert_eq!(
                client::get(&front.url(&format!("{level}?{unknown}"))).await.status,
                400,
                "{level}?{unknown}"
            );
        }
    }
    let expected = "PatientName=a&includefield=00080060&includefield=00081030&fuzzymatching=true&emptyvaluematching=false&\
                    multiplevaluematching=true&limit=5&offset=10";
    assert_eq!(pacs.targets(), levels.map(|level| format!("/dicom-web/{level}?{expected}")));
}
