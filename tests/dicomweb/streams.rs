//! Bodies on their way: whole, broken, slow, and given up by the client.

use crate::support::client;
use crate::support::deadline::at_any_speed;
use crate::support::front::Front;
use crate::support::pacs::{Answer, Framing, Pacs, Study};

const FRAMES: &str = "studies/1.2/series/1.2.1/instances/1.2.1.1/frames";

fn study_of_two_parts() -> Answer {
    Answer::parts(
        "b",
        [
            ("Content-Type: application/dicom", &b"DICM one \r\n--b"[..]),
            ("Content-Type: application/dicom", &b"DICM two"[..]),
        ],
    )
}

#[tokio::test]
async fn a_body_passes_byte_for_byte() {
    let body: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let pacs = Pacs::new()
        .at("/studies/1.2/bulkdata/1", Answer::bytes("application/octet-stream", body.clone()))
        .at(
            "/studies/1.2/bulkdata/2",
            Answer::bytes("application/octet-stream", body.clone()).framed(Framing::Chunked),
        )
        .start()
        .await;
    let front = Front::of(&pacs).await;
    for target in ["studies/1.2/bulkdata/1", "studies/1.2/bulkdata/2"] {
        let answer = client::get(&front.url(target)).await;
        assert_eq!((answer.status, answer.complete), (200, true));
        assert!(answer.body == body, "{target}");
    }
}

#[tokio::test]
async fn a_length_that_is_not_kept_breaks_the_transfer() {
    let short = Answer::bytes("application/octet-stream", "0123456789").framed(Framing::FalseLength(20));
    let pacs = Pacs::new().at("/studies/1.2/bulkdata/1", short.breaks_after(10)).start().await;
    let answer = client::get(&Front::of(&pacs).await.url("studies/1.2/bulkdata/1")).await;
    assert_eq!((answer.status, answer.complete), (200, false));
    assert_eq!(pacs.targets().len(), 1, "a body that has begun is never asked for again");
}

#[tokio::test]
async fn frames_without_a_last_delimiter_are_whole_only_where_that_is_known() {
    let open = Answer::bytes("multipart/related; boundary=b", "--b\r\n\r\n0123").framed(Framing::UntilClose);
    let pacs =
        Pacs::new().at(&format!("/{FRAMES}"), open.clone()).at(&format!("/{FRAMES}/1"), open).start().await;
    let generic = Front::of(&pacs).await;
    assert!(!client::get(&generic.url(FRAMES)).await.complete);
    let orthanc = Front::told(&pacs.url(), "profile = \"orthanc\"").await;
    assert!(client::get(&orthanc.url(FRAMES)).await.complete);
    assert!(!client::get(&orthanc.url(&format!("{FRAMES}/1"))).await.complete);
}

#[tokio::test]
async fn a_slow_body_goes_through_and_a_stalled_one_is_broken() {
    at_any_speed(|deadline| async move {
        let body = "0123456789";
        let pacs = Pacs::new()
            .at("/studies/1.2/bulkdata/1", Answer::bytes("image/png", body).in_pieces(1, deadline / 6))
            .at("/studies/1.2/bulkdata/2", Answer::bytes("image/png", body).stalls_after(5))
            .at("/studies/1.2/bulkdata/3", Answer::hangs())
            .start()
            .await;
        let front = Front::told(&pacs.url(), &format!("timeout = \"{}ms\"", deadline.as_millis())).await;
        let slow = client::get(&front.url("studies/1.2/bulkdata/1")).await;
        assert_eq!(
            (slow.complete, slow.text().as_str()),
            (true, body),
            "longer than the deadline, but never idle"
        );
        let stalled = client::get(&front.url("studies/1.2/bulkdata/2")).await;
        assert_eq!((stalled.status, stalled.complete), (200, false));
        assert_eq!(client::get(&front.url("studies/1.2/bulkdata/3")).await.status, 504);
    })
    .await;
}

#[tokio::test]
async fn gzip_that_nobody_asked_for_is_decoded_where_it_must_be() {
    let row = r#"[{"00080005":{"vr":"CS"}}]"#;
    let pacs = Pacs::new()
        .at("/studies", Answer::json(row).gzip())
        .at("/studies/1.2/metadata", Answer::bytes("application/gzip", row).undeclared_gzip())
        .at("/studies/1.2/bulkdata/1", Answer::bytes("image/png", row).gzip())
        .start()
        .await;
    let front = Front::of(&pacs).await;
    for (target, content_type) in [
        ("studies", "application/dicom+json"),
        ("studies/1.2/metadata", "application/dicom+json"),
        ("studies/1.2/bulkdata/1", "image/png"),
    ] {
        let answer = client::get(&front.url(target)).await;
        assert_eq!((answer.complete, answer.text().as_str()), (true, row), "{target}");
        assert_eq!(answer.header("content-encoding"), None);
        assert_eq!(answer.header("content-type"), Some(content_type));
    }
    let taken = client::get_with(&front.url("studies/1.2/bulkdata/1"), &[("Accept-Encoding", "gzip")]).await;
    assert_eq!(taken.header("content-encoding"), Some("gzip"));
    assert_ne!(taken.text(), row);
}

#[tokio::test]
async fn a_bomb_goes_off_nowhere() {
    let mut bomb = vec![b' '; 128 * 1024 * 1024];
    bomb[0] = b'[';
    let pacs = Pacs::new().at("/studies", Answer::bytes("application/json", bomb).gzip()).start().await;
    let front = Front::of(&pacs).await;
    let answer = client::get(&front.url("studies")).await;
    assert!(!answer.complete);
    assert!(answer.body.len() < 64 * 1024 * 1024, "{}", answer.body.len());
}

#[tokio::test]
async fn a_range_of_what_is_rewritten_is_not_asked_for() {
    let part = Answer::bytes("multipart/related; boundary=b", "--b\r\n")
        .with_status(206)
        .header("Content-Range", "bytes 0-4/100");
    let pacs = Pacs::new()
        .study(Study::new("1.2").series("1.2.1", "CT", 1))
        .in_turn("/studies/1.2", [part, study_of_two_parts()])
        .at(
            "/studies/1.2/bulkdata/1",
            Answer::bytes("application/octet-stream", "01234")
                .with_status(206)
                .header("Content-Range", "bytes 0-4/100"),
        )
        .start()
        .await;
    let front = Front::of(&pacs).await;
    let range = [("Range", "bytes=0-4")];
    assert_eq!(client::get_with(&front.url("studies/1.2/metadata"), &range).await.status, 200);
    assert_eq!(pacs.requests()[0].header("range"), None);
    let whole = client::get_with(&front.url("studies/1.2"), &range).await;
    assert_eq!((whole.status, whole.complete), (200, true));
    let octets = client::get_with(&front.url("studies/1.2/bulkdata/1"), &range).await;
    assert_eq!((octets.status, octets.header("content-range")), (206, Some("bytes 0-4/100")));
    assert_eq!(octets.header("content-length"), Some("5"));
    let several = [("Range", "bytes=0-0,2-2"), ("If-Range", "\"a\"")];
    client::get_with(&front.url("studies/1.2/bulkdata/1"), &several).await;
    let asked = pacs.requests().pop().unwrap();
    assert_eq!((asked.header("range"), asked.header("if-range")), (None, None), "the whole does for several");
}
