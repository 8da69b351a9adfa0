//! Synthesis of bulk data from the instances that contain it.

use serde_json::Value;

use crate::support::archive_root::{ArchiveRoot, PUBLIC_URL};
use crate::support::client::{self, ReceivedResponse};
use crate::support::objects::{
    encapsulated_image, encode_explicit_file, encode_file, image, object_without_pixel_data,
};
use crate::support::pacs::{CannedResponse, Pacs};
use crate::support::samples;

const SYNTHESIS_CONFIG: &str = "synthesize = [\"metadata\"]";
const INSTANCE: &str = "studies/1.2/series/1.2.3/instances/1.2.3.1";
const JPEG: &str = "1.2.840.10008.1.2.4.50";

fn one_part(file: &[u8]) -> CannedResponse {
    CannedResponse::multipart("b", [("Content-Type: application/dicom", file)])
}

/// Returns the headers and the bytes of each part of a multipart body.
fn parts(response: &ReceivedResponse) -> Vec<(String, Vec<u8>)> {
    assert_eq!((response.status, response.is_complete), (200, true), "{}", response.text());
    let content_type = response.header("content-type").unwrap();
    let boundary = format!("--{}", content_type.split("boundary=").nth(1).unwrap());
    let text: String = response.body.iter().map(|byte| char::from(*byte)).collect();
    let mut parts: Vec<_> = text.split(boundary.as_str()).collect();
    assert_eq!((parts.remove(0), parts.pop()), ("", Some("--\r\n")), "{content_type}");
    let parse = |part: &str| {
        let (headers, bytes) = part.split_once("\r\n\r\n").unwrap();
        let bytes = bytes.strip_suffix("\r\n").unwrap();
        (headers.trim().to_owned(), bytes.chars().map(|byte| u8::try_from(byte).unwrap()).collect())
    };
    parts.into_iter().map(parse).collect()
}

/// Adds every BulkDataURI in `json` to `uris`.
fn bulk_data_uris(json: &Value, uris: &mut Vec<String>) {
    match json {
        Value::Object(members) => {
            if let Some(Value::String(uri)) = members.get("BulkDataURI") {
                uris.push(uri.clone());
            }
            members.values().for_each(|member| bulk_data_uris(member, uris));
        }
        Value::Array(items) => items.iter().for_each(|item| bulk_data_uris(item, uris)),
        _ => {}
    }
}

#[tokio::test]
async fn synthesized_bulk_data_equals_the_bulk_data_of_the_archive() {
    // Writing the sample studies blocks the thread.
    let archive = tokio::task::spawn_blocking(samples::shared).await.unwrap();
    let (original, synthesized) = (
        ArchiveRoot::start_with_config(&archive.url, "").await,
        ArchiveRoot::start_with_config(&archive.url, SYNTHESIS_CONFIG).await,
    );
    let mut value_count = 0;
    for study in client::get(&original.url("studies")).await.json().as_array().unwrap() {
        let study = study["0020000D"]["Value"][0].as_str().unwrap();
        let metadata = client::get(&synthesized.url(&format!("studies/{study}/metadata"))).await.json();
        // One instance of each series is enough.
        let mut rows: Vec<Value> = metadata.as_array().unwrap().clone();
        rows.dedup_by_key(|row| row["0020000E"].clone());
        let mut uris = Vec::new();
        for row in &rows {
            bulk_data_uris(row, &mut uris);
        }
        for uri in uris {
            let target = uri.strip_prefix(&format!("{PUBLIC_URL}/")).unwrap();
            let (original, synthesized) =
                (client::get(&original.url(target)).await, client::get(&synthesized.url(target)).await);
            assert_eq!(parts(&synthesized), parts(&original), "{target}");
            value_count += 1;
        }
    }
    assert!(value_count > 30, "{value_count}");
}

#[tokio::test]
async fn native_pixel_data_is_returned_as_octet_stream_or_multipart() {
    let pixels: Vec<u8> = (0..200_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    let pacs = Pacs::new()
        .with_response(
            &format!("/{INSTANCE}"),
            one_part(&encode_explicit_file(image("1.2", "1.2.3", "1.2.3.1", &pixels))),
        )
        .start()
        .await;
    let root = ArchiveRoot::start_with_config(&pacs.url(), SYNTHESIS_CONFIG).await;
    let url = root.url(&format!("{INSTANCE}/bulkdata/7FE00010"));
    let single_part = client::get_with_headers(&url, &[("Accept", "application/octet-stream")]).await;
    assert_eq!((single_part.status, single_part.is_complete), (200, true), "{}", single_part.text());
    assert!(single_part.body == pixels);
    assert_eq!(single_part.header("content-type"), Some("application/octet-stream"));
    assert_eq!(single_part.header("content-length"), Some("200000"));
    let multipart = client::get(&url).await;
    assert_eq!(parts(&multipart), [("Content-Type: application/octet-stream".to_owned(), pixels)]);
    assert_eq!(client::get_with_headers(&url, &[("Accept", "image/png")]).await.status, 406);
}

#[tokio::test]
async fn encapsulated_pixel_data_is_returned_frame_by_frame() {
    let fragments = || vec![b"one ".to_vec(), b"t".repeat(2), b"wo".to_vec()];
    for (offsets, fragments, expected) in [
        (vec![0, 12], fragments(), [b"one ".to_vec(), b"ttwo".to_vec()].to_vec()),
        (vec![], vec![b"one ".to_vec(), b"two ".to_vec()], [b"one ".to_vec(), b"two ".to_vec()].to_vec()),
        (vec![], fragments(), [b"one ttwo".to_vec()].to_vec()),
    ] {
        let object = encapsulated_image("1.2", "1.2.3", "1.2.3.1", expected.len(), offsets, fragments);
        let pacs = Pacs::new()
            .with_response(&format!("/{INSTANCE}"), one_part(&encode_file(object, JPEG)))
            .start()
            .await;
        let root = ArchiveRoot::start_with_config(&pacs.url(), SYNTHESIS_CONFIG).await;
        let url = root.url(&format!("{INSTANCE}/bulkdata/7FE00010"));
        let header = format!("Content-Type: image/jpeg; transfer-syntax={JPEG}");
        let frames: Vec<_> = expected.iter().map(|frame| (header.clone(), frame.clone())).collect();
        let octets = "multipart/related; type=\"application/octet-stream\"; transfer-syntax=*";
        for accept in ["*/*", octets, "multipart/related; type=\"image/jpeg\""] {
            let response = client::get_with_headers(&url, &[("Accept", accept)]).await;
            assert_eq!(parts(&response), frames, "{accept}");
        }
        let single_part = client::get_with_headers(&url, &[("Accept", "image/jpeg")]).await;
        if let [frame] = expected.as_slice() {
            assert_eq!((single_part.is_complete, &single_part.body), (true, frame));
        } else {
            assert_eq!(single_part.status, 406, "several frames have no single-part representation");
        }
    }
}

#[tokio::test]
async fn bulk_data_truncated_at_any_byte_is_never_complete() {
    let fragments = vec![b"one ".to_vec(), b"two ".to_vec()];
    let encapsulated = encode_file(encapsulated_image("1.2", "1.2.3", "1.2.3.1", 2, vec![], fragments), JPEG);
    let native = encode_explicit_file(image("1.2", "1.2.3", "1.2.3.1", b"01234567"));
    for file in [encapsulated, native] {
        let complete = one_part(&file);
        let needed_length = complete.length() - b"\r\n--b--\r\n".len();
        let truncated = (0..=needed_length).map(|length| complete.clone().abort_after(length));
        let pacs = Pacs::new().with_responses(&format!("/{INSTANCE}"), truncated).start().await;
        let root = ArchiveRoot::start_with_config(&pacs.url(), SYNTHESIS_CONFIG).await;
        let url = root.url(&format!("{INSTANCE}/bulkdata/7FE00010"));
        for length in 0..needed_length {
            let response = client::get(&url).await;
            assert!(
                response.status == 502 || !response.is_complete,
                "{length}: {} {}",
                response.status,
                response.text()
            );
        }
    }
}

#[tokio::test]
async fn elements_that_the_instance_does_not_contain_are_not_found() {
    let study_files = ["1.2.3.2", "1.2.3.1"]
        .map(|uid| encode_explicit_file(object_without_pixel_data("1.2", "1.2.3", uid)));
    let study = CannedResponse::multipart("b", study_files.iter().map(|file| ("A: b", file.as_slice())));
    let pacs = Pacs::new().with_response(&format!("/{INSTANCE}"), study).start().await;
    let root = ArchiveRoot::start_with_config(&pacs.url(), SYNTHESIS_CONFIG).await;
    for path in ["7FE00010", "00420011", "00082112/1/00082111", "00100010/1/00100010"] {
        let response = client::get(&root.url(&format!("{INSTANCE}/bulkdata/{path}"))).await;
        assert_eq!(response.status, 404, "{path}: {}", response.text());
    }
    let name = client::get(&root.url(&format!("{INSTANCE}/bulkdata/00100010"))).await;
    assert_eq!(parts(&name)[0].1, b"M\xFCller^Eva", "bulk data is not decoded");
}

#[tokio::test]
async fn bulk_data_of_the_archive_is_preferred() {
    let bulk_data = format!("{INSTANCE}/bulkdata/7FE00010");
    let pacs = Pacs::new()
        .with_responses(
            &format!("/{bulk_data}"),
            [
                CannedResponse::bytes("application/octet-stream", *b"upstream"),
                CannedResponse::status(404),
                CannedResponse::status(500),
            ],
        )
        .with_response(
            &format!("/{INSTANCE}"),
            one_part(&encode_explicit_file(image("1.2", "1.2.3", "1.2.3.1", b"synthesized!"))),
        )
        .start()
        .await;
    let root = ArchiveRoot::start(&pacs).await;
    let url = root.url(&bulk_data);
    assert_eq!(client::get(&url).await.text(), "upstream");
    assert_eq!(parts(&client::get(&url).await)[0].1, b"synthesized!");
    assert_eq!(client::get(&url).await.status, 502);
    let other_path = client::get(&root.url(&format!("{INSTANCE}/bulk/7fe00010"))).await;
    assert_eq!(other_path.status, 404, "the gateway synthesizes only below bulkdata");
}
