//! Frames of an archive that returns only whole instances.

use crate::support::archive_root::ArchiveRoot;
use crate::support::client;
use crate::support::pacs::{CannedResponse, Pacs, RunningPacs};
use crate::support::raw_objects::{EXPLICIT_LITTLE, PIXEL_DATA, RawObject, encapsulated_pixel_data};

const EXPLICIT_VR_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1";
const RLE: &str = "1.2.840.10008.1.2.5";
const INSTANCE: &str = "studies/1.2/series/1.2.1/instances/1.2.1.1";

/// Creates an instance of four frames of 2 by 2 pixels. All pixels of frame N have the value N.
fn four_frames(series_number: usize) -> Vec<u8> {
    let pixels: Vec<u8> = (1..=4).flat_map(|number| [number; 4]).collect();
    RawObject::image(EXPLICIT_LITTLE, EXPLICIT_VR_LITTLE_ENDIAN, series_number)
        .frames("4")
        .pixels(&pixels)
        .to_file()
}

fn instances(files: &[&[u8]]) -> CannedResponse {
    CannedResponse::multipart(
        "instances",
        files.iter().map(|file| ("Content-Type: application/dicom", *file)),
    )
}

/// Starts an archive whose response to every request for frames is `frames`.
async fn start_archive(instance: CannedResponse, frames: CannedResponse) -> RunningPacs {
    let mut pacs = Pacs::new().with_response(&format!("/{INSTANCE}"), instance);
    for list in ["frames", "frames/1", "frames/2", "frames/3,1", "frames/4,4", "frames/5"] {
        pacs = pacs.with_response(&format!("/{INSTANCE}/{list}"), frames.clone());
    }
    pacs.start().await
}

fn frame_values(response: &client::ReceivedResponse) -> Vec<u8> {
    let parts = super::unusual_objects::parts(response).expect("no complete multipart body");
    let value = |(media_type, bytes): (String, Vec<u8>)| {
        assert_eq!(media_type, "application/octet-stream");
        assert!(bytes.len() == 4 && bytes.iter().all(|byte| *byte == bytes[0]), "{bytes:?}");
        bytes[0]
    };
    parts.into_iter().map(value).collect()
}

fn retrieval_count(pacs: &RunningPacs) -> usize {
    pacs.targets().iter().filter(|target| target.ends_with("1.2.1.1")).count()
}

#[tokio::test]
async fn frames_that_an_archive_rejects_are_extracted_from_the_instance_in_the_requested_order() {
    for status in [400, 404, 405, 406, 500, 501] {
        let pacs = start_archive(instances(&[&four_frames(1)]), CannedResponse::status(status)).await;
        let root = ArchiveRoot::start(&pacs).await;
        for (list, expected) in [
            ("frames/3,1", vec![3, 1]),
            ("frames/4,4", vec![4, 4]),
            ("frames/2", vec![2]),
            ("frames", vec![1, 2, 3, 4]),
        ] {
            let response = client::get(&root.url(&format!("{INSTANCE}/{list}"))).await;
            assert_eq!(frame_values(&response), expected, "{status} {list}");
        }
    }
}

#[tokio::test]
async fn a_viewer_that_requests_frame_after_frame_causes_one_retrieval() {
    let pacs = start_archive(instances(&[&four_frames(1)]), CannedResponse::status(501)).await;
    let root = ArchiveRoot::start_with_config(&pacs.url(), "synthesize = [\"frames\"]").await;
    for number in 1..=4 {
        let response = client::get(&root.url(&format!("{INSTANCE}/frames/{number}"))).await;
        assert_eq!(frame_values(&response), [number]);
    }
    let single = [("accept", "application/octet-stream")];
    let response = client::get_with_headers(&root.url(&format!("{INSTANCE}/frames/2")), &single).await;
    assert_eq!((response.status, response.body.as_ref()), (200, [2, 2, 2, 2].as_slice()));
    assert_eq!((retrieval_count(&pacs), pacs.targets().len()), (1, 1));
}

#[tokio::test]
async fn the_requested_instance_is_selected_if_the_archive_returns_the_whole_study() {
    let (first, other) = (four_frames(1), four_frames(2));
    let pacs = start_archive(instances(&[&other, &first]), CannedResponse::status(404)).await;
    let root = ArchiveRoot::start(&pacs).await;
    let response = client::get(&root.url(&format!("{INSTANCE}/frames/2"))).await;
    assert_eq!(frame_values(&response), [2]);
}

#[tokio::test]
async fn a_frame_that_does_not_exist_has_the_error_of_the_archive() {
    let pacs = start_archive(instances(&[&four_frames(1)]), CannedResponse::status(404)).await;
    let response = client::get(&ArchiveRoot::start(&pacs).await.url(&format!("{INSTANCE}/frames/5"))).await;
    assert_eq!(response.status, 404);
}

#[tokio::test]
async fn frames_of_a_truncated_instance_are_an_error_and_are_not_cached() {
    let file = four_frames(1);
    let truncated_file = &file[..file.len() - 6];
    let pacs = start_archive(instances(&[truncated_file]), CannedResponse::status(501)).await;
    let root = ArchiveRoot::start(&pacs).await;
    for attempt in 1..=2 {
        let response = client::get(&root.url(&format!("{INSTANCE}/frames/1"))).await;
        assert_eq!(response.status, 502);
        assert_eq!(retrieval_count(&pacs), attempt);
    }
}

/// Neither markers nor their number assign six fragments to three or to seven frames, which only the last fragment shows.
#[tokio::test]
async fn encapsulated_frames_that_cannot_be_distinguished_are_an_error_before_the_response_begins() {
    let fragments: Vec<Vec<u8>> = (0..6_u8).map(|number| vec![number; 10]).collect();
    for (count, first_fragments) in [("3", 6), ("7", 6), ("2", 3)] {
        let file = RawObject::image(EXPLICIT_LITTLE, RLE, 1)
            .frames(count)
            .with_element(PIXEL_DATA, encapsulated_pixel_data(&[], &fragments[..first_fragments]))
            .to_file();
        let pacs = start_archive(instances(&[&file]), CannedResponse::status(501)).await;
        let root = ArchiveRoot::start(&pacs).await;
        for resource in ["frames/1", "frames", "bulkdata/7FE00010"] {
            let response = client::get(&root.url(&format!("{INSTANCE}/{resource}"))).await;
            let text = String::from_utf8_lossy(&response.body).into_owned();
            assert_eq!(response.status, 502, "{count} {resource}: {text}");
            assert!(text.contains("frames cannot be distinguished"), "{count} {resource}: {text}");
        }
    }
}

#[tokio::test]
async fn frames_of_an_instance_without_pixel_data_are_not_found() {
    let file = RawObject::image(EXPLICIT_LITTLE, EXPLICIT_VR_LITTLE_ENDIAN, 1).to_file();
    assert!(!file.windows(4).any(|bytes| bytes == PIXEL_DATA.to_le_bytes()), "the object has pixel data");
    let pacs = start_archive(instances(&[&file]), CannedResponse::status(404)).await;
    let response = client::get(&ArchiveRoot::start(&pacs).await.url(&format!("{INSTANCE}/frames/1"))).await;
    assert_eq!(response.status, 404);
}

#[tokio::test]
async fn a_thumbnail_that_an_archive_redirects_is_rendered() {
    let pacs = Pacs::new()
        .with_response(&format!("/{INSTANCE}"), instances(&[&four_frames(1)]))
        .with_response(
            &format!("/{INSTANCE}/thumbnail"),
            CannedResponse::status(303).header("Location", "/dicom-web/rendered"),
        )
        .with_response(&format!("/{INSTANCE}/rendered"), CannedResponse::status(404))
        .start()
        .await;
    let root = ArchiveRoot::start(&pacs).await;
    let headers = [("accept", "image/png")];
    let response = client::get_with_headers(&root.url(&format!("{INSTANCE}/thumbnail")), &headers).await;
    assert_eq!((response.status, response.header("content-type")), (200, Some("image/png")));
}

#[tokio::test]
async fn frames_of_a_replaced_instance_are_never_mixed_with_those_of_the_original() {
    let replacement: Vec<u8> = (5..=9).flat_map(|number| [number; 4]).collect();
    let replacement =
        RawObject::image(EXPLICIT_LITTLE, EXPLICIT_VR_LITTLE_ENDIAN, 1).frames("5").pixels(&replacement);
    let responses = [instances(&[&four_frames(1)]), instances(&[&replacement.to_file()])];
    let pacs = Pacs::new().with_responses(&format!("/{INSTANCE}"), responses).start().await;
    let root = ArchiveRoot::start_with_config(&pacs.url(), "synthesize = [\"frames\"]").await;
    let get =
        async |list: &str| frame_values(&client::get(&root.url(&format!("{INSTANCE}/frames/{list}"))).await);
    assert_eq!(get("1").await, [1]);
    // Frame 5 exists only in the replacement, and those before it remain in the cache.
    assert_eq!(get("5").await, [9]);
    assert_eq!(get("1").await, [1], "the fresh frame was not returned from the cache");
    assert_eq!(get("1,5").await, [5, 9]);
    assert_eq!(get("1").await, [5]);
}

#[tokio::test]
async fn a_client_that_bypasses_the_cache_gets_the_current_frame() {
    let responses = [instances(&[&four_frames(1)]), CannedResponse::status(404)];
    let pacs = Pacs::new().with_responses(&format!("/{INSTANCE}"), responses).start().await;
    let root = ArchiveRoot::start_with_config(&pacs.url(), "synthesize = [\"frames\"]").await;
    let url = root.url(&format!("{INSTANCE}/frames/1"));
    assert_eq!(frame_values(&client::get(&url).await), [1]);
    assert_eq!(client::get_with_headers(&url, &[("cache-control", "no-cache")]).await.status, 404);
}

#[tokio::test]
async fn an_object_that_was_not_requested_is_neither_extracted_nor_rendered() {
    let pacs = start_archive(instances(&[&four_frames(2)]), CannedResponse::status(404)).await;
    let root = ArchiveRoot::start_with_config(&pacs.url(), "synthesize = [\"rendered\"]").await;
    for resource in ["frames/1", "bulkdata/7FE00010", "rendered", "frames/1/rendered", "thumbnail"] {
        let response = client::get(&root.url(&format!("{INSTANCE}/{resource}"))).await;
        assert_eq!(response.status, 502, "{resource}: {}", response.text());
    }
}
