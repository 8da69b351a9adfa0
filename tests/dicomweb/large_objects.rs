//! Of the large objects of an archive, only one at a time is in memory. Others wait for it, and small ones do not.

use std::time::Duration;

use crate::support::archive_root::ArchiveRoot;
use crate::support::client;
use crate::support::gateway::RunningGateway;
use crate::support::objects::{encode_explicit_file, object_without_pixel_data};
use crate::support::pacs::{CannedResponse, Pacs, RunningPacs};

/// Where a stalled response ends in bytes: after what may be in memory without a permit.
const STALLED_LEN: usize = 3 << 20;

/// Returns an instance whose header has 100 kB or, if it is large, 5 MB.
fn instance(uid: &str, is_large: bool) -> Vec<u8> {
    let mut file = encode_explicit_file(object_without_pixel_data("1.2", "1.2.1", uid));
    for number in 0..if is_large { 5000_u16 } else { 100 } {
        file.extend_from_slice(&[0x99, 0x00]);
        file.extend_from_slice(&(0x1000 + number).to_le_bytes());
        file.extend_from_slice(b"UT\0\0");
        file.extend_from_slice(&1000_u32.to_le_bytes());
        file.extend_from_slice(&[b'a'; 1000]);
    }
    file
}

fn instance_response(uid: &str, is_large: bool) -> CannedResponse {
    CannedResponse::multipart("b", [("Content-Type: application/dicom", &instance(uid, is_large)[..])])
}

/// Returns the path of an instance or of its metadata.
fn path(uid: &str, suffix: &str) -> String {
    format!("studies/1.2/series/1.2.1/instances/{uid}{suffix}")
}

/// Checks that a large object waits while the object 1.1 is incomplete, and that small ones do not.
async fn check(pacs: RunningPacs, config: &str, accept: &str) {
    let root = ArchiveRoot::start_with_config(&pacs.url(), config).await;
    // The cache must not return the metadata.
    let headers = [("Accept", accept), ("Cache-Control", "no-cache")];
    let url = |uid: &str| root.url(&path(uid, "/metadata"));
    let stalled = client::send_request("GET", &url("1.1"), &headers).await;
    // The stalled object has the permit as soon as it has arrived, and no other object has it.
    let mut rejected = client::get_with_headers(&url("1.2"), &headers).await;
    for _ in 0..100 {
        if rejected.status != 200 {
            break;
        }
        rejected = client::get_with_headers(&url("1.2"), &headers).await;
    }
    assert_eq!(rejected.status, 503, "{config} {accept}");
    assert!(rejected.header("retry-after").is_some() && rejected.text().contains("large object"));
    let small = client::get_with_headers(&url("1.3"), &headers).await;
    assert!(small.status == 200 && small.is_complete, "{config}");
    drop(stalled);
    // The permit of a client that has left is released.
    let mut large = client::get_with_headers(&url("1.2"), &headers).await;
    for _ in 0..100 {
        if large.status == 200 {
            break;
        }
        large = client::get_with_headers(&url("1.2"), &headers).await;
    }
    assert!(large.status == 200 && large.is_complete && large.body.len() > STALLED_LEN, "{config}");
}

fn config(synthesized: &str) -> String {
    format!("queue_timeout = \"5s\"\n{synthesized}\n")
}

#[tokio::test]
async fn a_large_header_waits_for_another_one() {
    let response = |uid, is_large| instance_response(uid, is_large);
    let pacs = Pacs::new()
        .with_response(&format!("/{}", path("1.1", "")), response("1.1", true).stall_after(STALLED_LEN))
        .with_response(&format!("/{}", path("1.2", "")), response("1.2", true))
        .with_response(&format!("/{}", path("1.3", "")), response("1.3", false))
        .start()
        .await;
    check(pacs, &config("synthesize = [\"metadata\"]"), "application/dicom+json").await;
}

/// Returns metadata of an instance whose UIDs follow other attributes, which have 100 kB or, if it is large, 5 MB.
fn metadata_response(uid: &str, is_large: bool) -> CannedResponse {
    let text = "a".repeat(if is_large { 5_000_000 } else { 100_000 });
    CannedResponse::json(format!(
        r#"[{{"00080005":{{"vr":"CS","Value":["ISO_IR 192"]}},"00104000":{{"vr":"LT","Value":["{text}"]}},"00080018":{{"vr":"UI","Value":["{uid}"]}},"0020000D":{{"vr":"UI","Value":["1.2"]}},"0020000E":{{"vr":"UI","Value":["1.2.1"]}}}}]"#
    ))
}

#[tokio::test]
async fn large_metadata_that_is_held_waits_for_other_large_metadata() {
    for accept in ["application/dicom+json", "multipart/related; type=\"application/dicom+xml\""] {
        let response = |uid: &str, is_large| {
            let response = metadata_response(uid, is_large);
            if uid == "1.1" { response.stall_after(STALLED_LEN) } else { response }
        };
        let pacs = [("1.1", true), ("1.2", true), ("1.3", false)].into_iter().fold(
            Pacs::new(),
            |pacs, (uid, is_large)| {
                pacs.with_response(&format!("/{}", path(uid, "/metadata")), response(uid, is_large))
            },
        );
        check(pacs.start().await, &config(""), accept).await;
    }
}

#[tokio::test]
async fn large_objects_that_arrive_together_are_all_returned() {
    let uids: Vec<String> = (1..=6).map(|number| format!("1.{number}")).collect();
    let pacs = uids.iter().fold(Pacs::new(), |pacs, uid| {
        let response = instance_response(uid, true).in_pieces(1 << 20, Duration::from_millis(5));
        pacs.with_response(&format!("/{}", path(uid, "")), response)
    });
    let pacs = pacs.start().await;
    let config = "synthesize = [\"metadata\"]\nqueue_timeout = \"1h\"\n";
    let root = ArchiveRoot::start_with_config(&pacs.url(), config).await;
    let get = async |uid: &String| client::get(&root.url(&path(uid, "/metadata"))).await;
    let responses = futures_util::future::join_all(uids.iter().map(get)).await;
    for (response, uid) in responses.iter().zip(&uids) {
        assert_eq!((response.status, response.is_complete), (200, true), "{uid}");
        assert_eq!(response.json()[0]["00080018"]["Value"][0], **uid);
    }
}

/// No part of the gateway waits for the permit while another part, which reads from it, has it.
#[tokio::test]
async fn several_large_objects_of_one_response_are_converted_to_xml_at_every_root() {
    let object = |uid: &str| {
        let text = "a".repeat(1_300_000);
        format!(
            r#"{{"00080018":{{"vr":"UI","Value":["{uid}"]}},"00101030":{{"vr":"LT","Value":["{text}"]}},"0020000D":{{"vr":"UI","Value":["1.2"]}},"0020000E":{{"vr":"UI","Value":["1.2.1"]}},"00400275":{{"vr":"LT","Value":["{text}"]}}}}"#
        )
    };
    let metadata = CannedResponse::json(format!("[{},{},{}]", object("1.1"), object("1.2"), object("1.3")));
    let parts = ["1.1", "1.2", "1.3"].map(|uid| instance(uid, true));
    let instances = CannedResponse::multipart(
        "b",
        parts.iter().map(|part| ("Content-Type: application/dicom", part.as_slice())),
    );
    let row = r#"[{"0020000D":{"vr":"UI","Value":["1.2"]},"0020000E":{"vr":"UI","Value":["1.2.1"]},"00080018":{"vr":"UI","Value":["1.1"]}}]"#;
    let pacs = Pacs::new()
        .with_response("/studies/1.2/metadata", metadata.clone())
        .with_response("/studies/1.2/series/1.2.1/metadata", metadata)
        .with_response("/studies/1.2/series/1.2.1", instances.clone())
        .with_response("/studies/1.2", instances)
        .with_fallback(CannedResponse::json(row))
        .start()
        .await;
    for config in ["", "synthesize = [\"parents\"]", "synthesize = [\"metadata\"]"] {
        let config = format!("queue_timeout = \"1h\"\n{config}\n");
        let gateway = RunningGateway::start(&pacs.url(), &config).await;
        let headers =
            [("Accept", "multipart/related; type=\"application/dicom+xml\""), ("Cache-Control", "no-cache")];
        for target in ["main/studies/1.2/metadata", "studies/1.2/series/1.2.1/metadata"] {
            let response = gateway.get_with_headers(&format!("/dicom-web/{target}"), &headers).await;
            assert_eq!((response.status, response.is_complete), (200, true), "{config} {target}");
            assert!(response.body.len() > 7_500_000, "{}", response.body.len());
        }
    }
}
