//! Large values out of the instances that hold them.

use serde_json::Value;

use crate::support::client::{self, Received};
use crate::support::front::{Front, PUBLIC};
use crate::support::objects::{compressed, file, image, report, written};
use crate::support::pacs::{Answer, Pacs};
use crate::support::samples;

const SUPPLIED: &str = "synthesize = [\"metadata\"]";
const INSTANCE: &str = "studies/1.2/series/1.2.3/instances/1.2.3.1";
const JPEG: &str = "1.2.840.10008.1.2.4.50";

fn one_part(file: &[u8]) -> Answer {
    Answer::parts("b", [("Content-Type: application/dicom", file)])
}

/// The parts of a multipart body, each with its headers.
fn parts(answer: &Received) -> Vec<(String, Vec<u8>)> {
    assert_eq!((answer.status, answer.complete), (200, true), "{}", answer.text());
    let content_type = answer.header("content-type").unwrap();
    let boundary = format!("--{}", content_type.split("boundary=").nth(1).unwrap());
    let text: String = answer.body.iter().map(|byte| char::from(*byte)).collect();
    let mut pieces: Vec<_> = text.split(boundary.as_str()).collect();
    assert_eq!((pieces.remove(0), pieces.pop()), ("", Some("--\r\n")), "{content_type}");
    let part = |piece: &str| {
        let (headers, bytes) = piece.split_once("\r\n\r\n").unwrap();
        let bytes = bytes.strip_suffix("\r\n").unwrap();
        (headers.trim().to_owned(), bytes.chars().map(|byte| u8::try_from(byte).unwrap()).collect())
    };
    pieces.into_iter().map(part).collect()
}

/// Every address of a large value.
fn addresses(json: &Value, found: &mut Vec<String>) {
    match json {
        Value::Object(members) => {
            if let Some(Value::String(address)) = members.get("BulkDataURI") {
                found.push(address.clone());
            }
            members.values().for_each(|member| addresses(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| addresses(item, found)),
        _ => {}
    }
}

#[tokio::test]
async fn every_value_of_every_sample_is_that_of_the_archive() {
    // Filling an archive blocks.
    let archive = tokio::task::spawn_blocking(samples::shared).await.unwrap();
    let (told, made) = (Front::told(&archive.url, "").await, Front::told(&archive.url, SUPPLIED).await);
    let mut seen = 0;
    for study in client::get(&told.url("studies")).await.json().as_array().unwrap() {
        let study = study["0020000D"]["Value"][0].as_str().unwrap();
        let metadata = client::get(&made.url(&format!("studies/{study}/metadata"))).await.json();
        // One instance of each series is enough of its kind.
        let mut rows: Vec<Value> = metadata.as_array().unwrap().clone();
        rows.dedup_by_key(|row| row["0020000E"].clone());
        let mut found = Vec::new();
        for row in &rows {
            addresses(row, &mut found);
        }
        for address in found {
            let target = address.strip_prefix(&format!("{PUBLIC}/")).unwrap();
            let (told, made) = (client::get(&told.url(target)).await, client::get(&made.url(target)).await);
            assert_eq!(parts(&made), parts(&told), "{target}");
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen}");
}

#[tokio::test]
async fn native_pixels_are_octets_as_one_likes_them() {
    let pixels: Vec<u8> = (0..200_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    let pacs = Pacs::new()
        .at(&format!("/{INSTANCE}"), one_part(&file(image("1.2", "1.2.3", "1.2.3.1", &pixels))))
        .start()
        .await;
    let front = Front::told(&pacs.url(), SUPPLIED).await;
    let url = front.url(&format!("{INSTANCE}/bulkdata/7FE00010"));
    let alone = client::get_with(&url, &[("Accept", "application/octet-stream")]).await;
    assert_eq!((alone.status, alone.complete), (200, true), "{}", alone.text());
    assert!(alone.body == pixels);
    assert_eq!(alone.header("content-type"), Some("application/octet-stream"));
    assert_eq!(alone.header("content-length"), Some("200000"));
    let parted = client::get(&url).await;
    assert_eq!(parts(&parted), [("Content-Type: application/octet-stream".to_owned(), pixels)]);
    assert_eq!(client::get_with(&url, &[("Accept", "image/png")]).await.status, 406);
}

#[tokio::test]
async fn encapsulated_pixels_come_frame_by_frame() {
    let fragments = || vec![b"one ".to_vec(), b"t".repeat(2), b"wo".to_vec()];
    for (offsets, fragments, expected) in [
        (vec![0, 12], fragments(), [b"one ".to_vec(), b"ttwo".to_vec()].to_vec()),
        (vec![], vec![b"one ".to_vec(), b"two ".to_vec()], [b"one ".to_vec(), b"two ".to_vec()].to_vec()),
        (vec![], fragments(), [b"one ttwo".to_vec()].to_vec()),
    ] {
        let object = compressed("1.2", "1.2.3", "1.2.3.1", expected.len(), offsets, fragments);
        let pacs = Pacs::new().at(&format!("/{INSTANCE}"), one_part(&written(object, JPEG))).start().await;
        let front = Front::told(&pacs.url(), SUPPLIED).await;
        let url = front.url(&format!("{INSTANCE}/bulkdata/7FE00010"));
        let header = format!("Content-Type: image/jpeg; transfer-syntax={JPEG}");
        let frames: Vec<_> = expected.iter().map(|frame| (header.clone(), frame.clone())).collect();
        let octets = "multipart/related; type=\"application/octet-stream\"; transfer-syntax=*";
        for accept in ["*/*", octets, "multipart/related; type=\"image/jpeg\""] {
            let answer = client::get_with(&url, &[("Accept", accept)]).await;
            assert_eq!(parts(&answer), frames, "{accept}");
        }
        let alone = client::get_with(&url, &[("Accept", "image/jpeg")]).await;
        if let [frame] = expected.as_slice() {
            assert_eq!((alone.complete, &alone.body), (true, frame));
        } else {
            assert_eq!(alone.status, 406, "of several frames none stands alone");
        }
    }
}

#[tokio::test]
async fn a_value_cut_at_any_byte_is_not_whole() {
    let fragments = vec![b"one ".to_vec(), b"two ".to_vec()];
    let encapsulated = written(compressed("1.2", "1.2.3", "1.2.3.1", 2, vec![], fragments), JPEG);
    let native = file(image("1.2", "1.2.3", "1.2.3.1", b"01234567"));
    for file in [encapsulated, native] {
        let whole = one_part(&file);
        let needed = whole.length() - b"\r\n--b--\r\n".len();
        let cut = (0..=needed).map(|length| whole.clone().breaks_after(length));
        let pacs = Pacs::new().in_turn(&format!("/{INSTANCE}"), cut).start().await;
        let front = Front::told(&pacs.url(), SUPPLIED).await;
        let url = front.url(&format!("{INSTANCE}/bulkdata/7FE00010"));
        for length in 0..needed {
            let answer = client::get(&url).await;
            assert!(
                answer.status == 502 || !answer.complete,
                "{length}: {} {}",
                answer.status,
                answer.text()
            );
        }
    }
}

#[tokio::test]
async fn what_holds_no_such_value_has_none() {
    let whole_study = ["1.2.3.2", "1.2.3.1"].map(|uid| file(report("1.2", "1.2.3", uid)));
    let study = Answer::parts("b", whole_study.iter().map(|file| ("A: b", file.as_slice())));
    let pacs = Pacs::new().at(&format!("/{INSTANCE}"), study).start().await;
    let front = Front::told(&pacs.url(), SUPPLIED).await;
    for path in ["7FE00010", "00420011", "00082112/1/00082111", "00100010/1/00100010"] {
        let answer = client::get(&front.url(&format!("{INSTANCE}/bulkdata/{path}"))).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
    }
    let name = client::get(&front.url(&format!("{INSTANCE}/bulkdata/00100010"))).await;
    assert_eq!(parts(&name)[0].1, b"M\xFCller^Eva", "as it is stored");
}

#[tokio::test]
async fn an_archive_that_has_values_is_asked_for_them() {
    let value = format!("{INSTANCE}/bulkdata/7FE00010");
    let pacs = Pacs::new()
        .in_turn(
            &format!("/{value}"),
            [Answer::bytes("application/octet-stream", *b"theirs"), Answer::status(404), Answer::status(500)],
        )
        .at(&format!("/{INSTANCE}"), one_part(&file(image("1.2", "1.2.3", "1.2.3.1", b"ours"))))
        .start()
        .await;
    let front = Front::of(&pacs).await;
    let url = front.url(&value);
    assert_eq!(client::get(&url).await.text(), "theirs");
    assert_eq!(parts(&client::get(&url).await)[0].1, b"ours");
    assert_eq!(client::get(&url).await.status, 502);
    let elsewhere = client::get(&front.url(&format!("{INSTANCE}/bulk/7fe00010"))).await;
    assert_eq!(elsewhere.status, 404, "that place is the archive's own");
}
