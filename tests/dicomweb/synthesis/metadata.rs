//! Synthesis of metadata from instances, and of study metadata from series metadata.

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use crate::support::archive_root::{ArchiveRoot, PUBLIC_URL};
use crate::support::client::{self, ReceivedResponse};
use crate::support::objects::{encode_explicit_file, image, object_without_pixel_data};
use crate::support::pacs::{CannedResponse, Framing, Pacs};
use crate::support::samples;

const SYNTHESIS_CONFIG: &str = "synthesize = [\"metadata\"]";
const PART: &str = "Content-Type: application/dicom";

fn uids(response: &ReceivedResponse) -> Vec<String> {
    assert_eq!((response.status, response.is_complete), (200, true), "{}", response.text());
    let uid = |row: &Value| row["00080018"]["Value"][0].as_str().unwrap().to_owned();
    response.json().as_array().unwrap().iter().map(uid).collect()
}

/// Returns two images of a series.
fn two_instances() -> CannedResponse {
    let files = ["1.2.3.1", "1.2.3.2"].map(|uid| encode_explicit_file(image("1.2", "1.2.3", uid, b"0123")));
    CannedResponse::multipart("b", files.iter().map(|file| (PART, file.as_slice())))
}

fn rows(tag: &str, uids: &[&str]) -> CannedResponse {
    let row = |uid: &&str| json!({tag: {"vr": "UI", "Value": [uid]}});
    CannedResponse::json(Value::Array(uids.iter().map(row).collect()).to_string())
}

#[tokio::test]
async fn synthesized_metadata_equals_the_metadata_of_the_archive() {
    // Writing the sample studies blocks the thread.
    let archive = tokio::task::spawn_blocking(samples::shared).await.unwrap();
    let (original, synthesized) = (
        ArchiveRoot::start_with_config(&archive.url, "").await,
        ArchiveRoot::start_with_config(&archive.url, SYNTHESIS_CONFIG).await,
    );
    let studies = client::get(&original.url("studies")).await.json();
    let uid = |row: &Value, tag: &str| row[tag]["Value"][0].as_str().unwrap().to_owned();
    for study in studies.as_array().unwrap() {
        let study = format!("studies/{}", uid(study, "0020000D"));
        let study_metadata = client::get(&original.url(&format!("{study}/metadata"))).await;
        let first_instance = &study_metadata.json()[0];
        let series = format!("{study}/series/{}", uid(first_instance, "0020000E"));
        let instance = format!("{series}/instances/{}", uid(first_instance, "00080018"));
        for path in [study, series, instance] {
            let [original, synthesized] =
                [&original, &synthesized].map(|root| root.url(&format!("{path}/metadata")));
            let (original, synthesized) = (client::get(&original).await, client::get(&synthesized).await);
            assert_eq!(
                (synthesized.status, synthesized.is_complete),
                (200, true),
                "{path}: {}",
                synthesized.text()
            );
            assert_eq!(synthesized.header("content-type"), Some("application/dicom+json"));
            assert_eq!(synthesized.json(), original.json(), "{path}");
        }
    }
}

#[tokio::test]
async fn synthesized_metadata_has_decoded_text_and_bulk_data_uris() {
    let pacs = Pacs::new().with_response("/studies/1.2/series/1.2.3", two_instances()).start().await;
    let root = ArchiveRoot::start_with_config(&pacs.url(), SYNTHESIS_CONFIG).await;
    let response = client::get(&root.url("studies/1.2/series/1.2.3/metadata")).await;
    assert_eq!(uids(&response), ["1.2.3.1", "1.2.3.2"]);
    let second = &response.json()[1];
    assert_eq!(second["00080005"]["Value"], json!(["ISO_IR 192"]));
    assert_eq!(second["00100010"]["Value"], json!([{"Alphabetic": "Müller^Eva"}]));
    let instance = format!("{PUBLIC_URL}/studies/1.2/series/1.2.3/instances/1.2.3.2");
    assert_eq!(
        second["7FE00010"],
        json!({"vr": "OB", "BulkDataURI": format!("{instance}/bulkdata/7FE00010")})
    );
    assert_eq!(pacs.targets(), ["/dicom-web/studies/1.2/series/1.2.3"], "metadata is never requested");
    let accept = pacs.requests()[0].header("accept").unwrap().to_owned();
    assert_eq!(accept, "multipart/related; type=\"application/dicom\"; transfer-syntax=*");
    let xml = [("Accept", "application/dicom+xml")];
    let response = client::get_with_headers(&root.url("studies/1.2/series/1.2.3/metadata"), &xml).await;
    assert_eq!((response.status, response.is_complete), (200, true));
    assert_eq!(response.text().matches("<NativeDicomModel").count(), 2);
    assert!(
        response.text().contains(&format!("uri=\"{instance}/bulkdata/7FE00010\"")),
        "{}",
        response.text()
    );
}

#[tokio::test]
async fn instances_truncated_at_any_byte_never_become_a_complete_list() {
    let complete = two_instances();
    let needed_length = complete.length() - 2;
    let truncated = (0..=needed_length).map(|length| complete.clone().abort_after(length));
    let pacs = Pacs::new().with_responses("/studies/1.2", truncated).start().await;
    let root = ArchiveRoot::start_with_config(&pacs.url(), SYNTHESIS_CONFIG).await;
    let url = root.url("studies/1.2/metadata");
    for length in 0..needed_length {
        let response = client::get(&url).await;
        assert!(
            response.status == 502 || !response.is_complete,
            "{length}: {} {}",
            response.status,
            response.text()
        );
        assert!(
            serde_json::from_slice::<Vec<Value>>(&response.body).is_err(),
            "{length}: {}",
            response.text()
        );
    }
    assert_eq!(
        uids(&client::get(&url).await).len(),
        2,
        "the line break after the closing delimiter is not needed"
    );
}

#[tokio::test]
async fn metadata_is_streamed_instance_by_instance() {
    let complete = two_instances();
    let pacs = Pacs::new()
        .with_response("/studies/1.2", complete.clone().stall_after(complete.length() * 2 / 3))
        .start()
        .await;
    let root = ArchiveRoot::start_with_config(&pacs.url(), SYNTHESIS_CONFIG).await;
    let mut connection = client::send_request("GET", &root.url("studies/1.2/metadata"), &[]).await;
    let mut received = Vec::new();
    while !String::from_utf8_lossy(&received).contains("7FE00010") {
        assert!(connection.read_buf(&mut received).await.unwrap() > 0, "the transfer continues");
    }
    assert!(!String::from_utf8_lossy(&received).contains("1.2.3.2"));
}

#[tokio::test]
async fn an_unreadable_instance_fails_the_metadata() {
    let readable = encode_explicit_file(image("1.2", "1.2.3", "1.2.3.1", b"0123"));
    let report_file = encode_explicit_file(object_without_pixel_data("1.2", "1.2.3", "1.2.3.2"));
    for unreadable in [
        &report_file[..report_file.len() - 3],
        b"no DICOM",
        b"",
        &encode_explicit_file(object_without_pixel_data("1.2", "", "1.2.3.2")),
    ] {
        for parts in [[readable.as_slice(), unreadable], [unreadable, &readable]] {
            let response = CannedResponse::multipart("b", parts.map(|part| (PART, part)));
            let pacs = Pacs::new().with_response("/studies/1.2", response).start().await;
            let root = ArchiveRoot::start_with_config(&pacs.url(), SYNTHESIS_CONFIG).await;
            let response = client::get(&root.url("studies/1.2/metadata")).await;
            assert!(
                response.status == 502 || !response.is_complete,
                "{} {}",
                response.status,
                response.text()
            );
        }
    }
    let partial = two_instances().with_status(206);
    let pacs = Pacs::new().with_response("/studies/1.2", partial).start().await;
    let root = ArchiveRoot::start_with_config(&pacs.url(), SYNTHESIS_CONFIG).await;
    assert_eq!(
        client::get(&root.url("studies/1.2/metadata")).await.status,
        502,
        "206 means that instances are missing"
    );
}

#[tokio::test]
async fn instances_outside_the_requested_resource_are_removed() {
    let files = [("1.2.3", "1.2.3.1"), ("1.2.3", "1.2.3.2"), ("1.2.4", "1.2.4.1")]
        .map(|(series, instance)| encode_explicit_file(object_without_pixel_data("1.2", series, instance)));
    let study = CannedResponse::multipart("boundary", files.iter().map(|file| (PART, file.as_slice())));
    let pacs = Pacs::new().with_fallback(study).start().await;
    let root = ArchiveRoot::start_with_config(&pacs.url(), SYNTHESIS_CONFIG).await;
    for (path, expected) in [
        ("studies/1.2", ["1.2.3.1", "1.2.3.2", "1.2.4.1"].as_slice()),
        ("studies/1.2/series/1.2.3", &["1.2.3.1", "1.2.3.2"]),
        ("studies/1.2/series/1.2.3/instances/1.2.3.2", &["1.2.3.2"]),
    ] {
        let response = client::get(&root.url(&format!("{path}/metadata"))).await;
        assert_eq!(uids(&response), expected, "{path}");
    }
    let unknown_series = client::get(&root.url("studies/1.2/series/1.2.9/metadata")).await;
    assert_eq!(unknown_series.status, 404, "{}", unknown_series.text());
}

#[tokio::test]
async fn metadata_is_synthesized_after_a_rejection_but_not_after_a_failure() {
    for rejection in [404, 400, 406, 501] {
        let pacs = Pacs::new()
            .with_response("/studies/1.2/series/1.2.3/metadata", CannedResponse::status(rejection))
            .with_response("/studies/1.2/series/1.2.3", two_instances())
            .with_response("/studies/1.2/metadata", CannedResponse::status(rejection))
            .with_response("/studies/1.2/series", rows("0020000E", &["1.2.3"]))
            .start()
            .await;
        let root = ArchiveRoot::start(&pacs).await;
        for path in ["studies/1.2/series/1.2.3", "studies/1.2"] {
            let response = client::get(&root.url(&format!("{path}/metadata"))).await;
            assert_eq!(uids(&response), ["1.2.3.1", "1.2.3.2"], "{path} after {rejection}");
        }
    }
    for failure in [500, 503, 401] {
        let pacs = Pacs::new()
            .with_response("/studies/1.2/series/1.2.3/metadata", CannedResponse::status(failure))
            .with_response("/studies/1.2/series/1.2.3", two_instances())
            .start()
            .await;
        let root = ArchiveRoot::start(&pacs).await;
        let response = client::get(&root.url("studies/1.2/series/1.2.3/metadata")).await;
        assert!(response.status >= 500, "{failure}: {}", response.status);
        assert_eq!(pacs.targets().len(), 1, "the failing archive received another request");
    }
}

#[tokio::test]
async fn metadata_of_an_unknown_resource_is_not_found() {
    let pacs = Pacs::new().with_response("/studies/1.2/series", CannedResponse::json("[]")).start().await;
    let root = ArchiveRoot::start(&pacs).await;
    for path in ["studies/1.2", "studies/1.2/series/1.2.3", "studies/1.2/series/1.2.3/instances/1.2.3.1"] {
        let response = client::get(&root.url(&format!("{path}/metadata"))).await;
        assert_eq!(response.status, 404, "{path}: {}", response.text());
    }
}

/// Orthanc lists the series of a study of two patients, but retrieves none of them.
#[tokio::test]
async fn a_rejection_is_forwarded_if_metadata_cannot_be_synthesized() {
    for rejection in [404, 501] {
        let pacs = Pacs::new()
            .with_response("/studies/1.2/metadata", CannedResponse::status(rejection))
            .with_response("/studies/1.2/series", rows("0020000E", &["1.2.3", "1.2.4"]))
            .with_response("/studies/1.2/series/1.2.3/instances", rows("00080018", &["1.2.3.1"]))
            .start()
            .await;
        let response = client::get(&ArchiveRoot::start(&pacs).await.url("studies/1.2/metadata")).await;
        assert_eq!(response.status, rejection, "{}", response.text());
        let synthesized = client::get(
            &ArchiveRoot::start_with_config(&pacs.url(), SYNTHESIS_CONFIG).await.url("studies/1.2/metadata"),
        )
        .await;
        assert_eq!(
            synthesized.status,
            502,
            "the archive lists series that it does not retrieve: {}",
            synthesized.text()
        );
    }
}

#[tokio::test]
async fn study_metadata_is_synthesized_from_series_and_instances() {
    let metadata = |uids: &[&str], series: &str| {
        let row = |uid: &&str| {
            json!({
                "00080018": {"vr": "UI", "Value": [uid]},
                "0020000E": {"vr": "UI", "Value": [series]},
                "7FE00010": {"vr": "OW", "BulkDataURI": "./frames"},
            })
        };
        CannedResponse::json(Value::Array(uids.iter().map(row).collect()).to_string())
    };
    let pacs = Pacs::new()
        .with_response("/studies/1.2/series", rows("0020000E", &["1.2.3", "1.2.4"]))
        .with_response(
            "/studies/1.2/series/1.2.3/metadata",
            metadata(&["1.2.3.1", "1.2.3.2"], "1.2.3").gzip(),
        )
        // Only the instances of this series are available.
        .with_response("/studies/1.2/series/1.2.4/instances", rows("00080018", &["1.2.4.1", "1.2.4.2"]))
        .with_response(
            "/studies/1.2/series/1.2.4/instances/1.2.4.1/metadata",
            metadata(&["1.2.4.1"], "1.2.4").undeclared_gzip(),
        )
        .with_response(
            "/studies/1.2/series/1.2.4/instances/1.2.4.2",
            CannedResponse::bytes(
                "application/dicom",
                encode_explicit_file(object_without_pixel_data("1.2", "1.2.4", "1.2.4.2")),
            ),
        )
        .start()
        .await;
    let root = ArchiveRoot::start(&pacs).await;
    let response = client::get(&root.url("studies/1.2/metadata")).await;
    assert_eq!(uids(&response), ["1.2.3.1", "1.2.3.2", "1.2.4.1", "1.2.4.2"]);
}

#[tokio::test]
async fn a_failed_series_fails_the_study_metadata() {
    let row = r#"[{"00080018":{"vr":"UI","Value":["1.2.3.1"]}}]"#;
    for (second_metadata, second_series) in [
        (CannedResponse::status(500), CannedResponse::status(500)),
        (CannedResponse::json(row).abort_after(row.len() - 1), CannedResponse::status(500)),
        (CannedResponse::json("[]"), CannedResponse::status(500)),
        (CannedResponse::status(404), CannedResponse::status(404)),
        (CannedResponse::json("[{\"a\":"), CannedResponse::status(404)),
    ] {
        let pacs = Pacs::new()
            .with_response("/studies/1.2/series", rows("0020000E", &["1.2.3", "1.2.4"]))
            .with_response("/studies/1.2/series/1.2.3/metadata", CannedResponse::json(row))
            .with_response("/studies/1.2/series/1.2.4/metadata", second_metadata.clone())
            .with_response("/studies/1.2/series/1.2.4", second_series)
            .start()
            .await;
        let root = ArchiveRoot::start(&pacs).await;
        let response = client::get(&root.url("studies/1.2/metadata")).await;
        assert!(response.status >= 500 || !response.is_complete, "{second_metadata:?}: {}", response.text());
    }
}

#[tokio::test]
async fn a_single_object_is_complete_only_if_its_framing_marks_the_end() {
    let object = || {
        CannedResponse::bytes(
            "application/dicom",
            encode_explicit_file(object_without_pixel_data("1.2", "1.2.3", "1.2.3.1")),
        )
    };
    for (framing, status) in
        [(Framing::ContentLength, 200), (Framing::Chunked, 200), (Framing::UntilClose, 502)]
    {
        let instance = "studies/1.2/series/1.2.3/instances/1.2.3.1";
        let pacs =
            Pacs::new().with_response(&format!("/{instance}"), object().with_framing(framing)).start().await;
        let root = ArchiveRoot::start_with_config(&pacs.url(), SYNTHESIS_CONFIG).await;
        let response = client::get(&root.url(&format!("{instance}/metadata"))).await;
        assert_eq!(response.status, status, "{framing:?}: {}", response.text());
    }
}

#[tokio::test]
async fn a_disconnect_cancels_the_retrieval_of_instances() {
    let first_part =
        [b"--b\r\n\r\n".as_slice(), &encode_explicit_file(image("1.2", "1.2.3", "1.2.3.1", b"0123"))]
            .concat();
    let endless =
        CannedResponse::endless("multipart/related; type=\"application/dicom\"; boundary=b", first_part);
    let pacs = Pacs::new().with_response("/studies/1.2", endless).start().await;
    let root = ArchiveRoot::start_with_config(&pacs.url(), SYNTHESIS_CONFIG).await;
    let connection = client::send_request("GET", &root.url("studies/1.2/metadata"), &[]).await;
    pacs.wait_for_requests(1).await;
    drop(connection);
    pacs.wait_until_idle().await;
}
