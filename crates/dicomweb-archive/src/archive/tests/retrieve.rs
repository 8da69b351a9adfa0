//! Tests WADO-RS with the sample studies.

use super::*;
use std::fs;

const ANY_OCTETS: &str = r#"multipart/related; type="application/octet-stream"; transfer-syntax=*"#;
const ANY_DICOM: &str = r#"multipart/related; type="application/dicom"; transfer-syntax=*"#;

fn instance(patient: usize, study: usize, series: usize, number: usize) -> String {
    let study = samples::study_uid(patient, study);
    format!("/studies/{study}/series/{study}.{}/instances/{study}.{0}.{}", series + 1, number + 1)
}

impl ServedArchive {
    fn file(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.path().join(name)).unwrap()
    }
}

#[tokio::test]
async fn study_is_returned_as_its_files_byte_for_byte() {
    let archive = ServedArchive::with_patients(&["DEMO-0001"]);
    let response =
        archive.get_with_accept(&format!("/studies/{}", samples::study_uid(0, 1)), ANY_DICOM).await;
    assert_eq!(response.status, StatusCode::OK);
    let parts = response.parts();
    assert_eq!(parts.len(), 9);
    assert_eq!(parts[0].0, "Content-Type: application/dicom; transfer-syntax=1.2.840.10008.1.2.1");
    assert_eq!(parts[0].1, archive.file("patient-01/study-2/series-1/0001.dcm"));
    assert_eq!(parts[8].1, archive.file("patient-01/study-2/series-2/0001.dcm"));
}

#[tokio::test]
async fn boundaries_differ_between_responses() {
    let archive = ServedArchive::with_patients(&["P11"]);
    let path = format!("/studies/{}", samples::study_uid(11, 0));
    let (first, second) = (archive.get(&path).await, archive.get(&path).await);
    assert_ne!(first.header("content-type"), second.header("content-type"));
    assert_eq!(first.parts(), second.parts());
}

#[tokio::test]
async fn instance_can_be_returned_as_a_single_part() {
    let archive = ServedArchive::with_patients(&["DEMO-0001"]);
    let path = instance(0, 0, 0, 0);
    let file = archive.file("patient-01/study-1/series-1/0001.dcm");
    let response = archive.get_with_accept(&path, "application/dicom").await;
    assert_eq!(response.header("content-type"), "application/dicom; transfer-syntax=1.2.840.10008.1.2.1");
    assert_eq!(response.header("content-length"), file.len().to_string());
    assert_eq!(response.body, file);
    let head = archive.request(Method::HEAD, &path, Some("application/dicom")).await;
    assert_eq!(head.header("content-length"), file.len().to_string());
    assert!(head.body.is_empty());
    let study =
        archive.get_with_accept(&format!("/studies/{}", samples::study_uid(0, 0)), "application/dicom").await;
    assert_eq!(study.status, StatusCode::NOT_ACCEPTABLE, "a study has several files");
}

#[tokio::test]
async fn instances_are_never_transcoded() {
    let archive = ServedArchive::with_patients(&["DEMO-0001", "DEMO-0003"]);
    let implicit = instance(0, 2, 0, 0);
    for (accept, status) in [
        ("*/*", StatusCode::OK),
        ("multipart/related", StatusCode::OK),
        (ANY_DICOM, StatusCode::OK),
        ("multipart/related; type=application/dicom; transfer-syntax=1.2.840.10008.1.2", StatusCode::OK),
        (
            "multipart/related; type=application/dicom; transfer-syntax=1.2.840.10008.1.2.1",
            StatusCode::NOT_ACCEPTABLE,
        ),
        ("application/dicom; transfer-syntax=*", StatusCode::OK),
        ("application/zip", StatusCode::NOT_ACCEPTABLE),
        ("image/jpeg", StatusCode::NOT_ACCEPTABLE),
    ] {
        assert_eq!(archive.get_with_accept(&implicit, accept).await.status, status, "{accept}");
    }
}

#[tokio::test]
async fn metadata_has_the_complete_data_set_with_links_to_pixel_data() {
    let archive = ServedArchive::with_patients(&["DEMO-0002"]);
    let study = samples::study_uid(1, 0);
    let rows = archive.rows(&format!("/studies/{study}/metadata")).await;
    assert_eq!(rows.len(), 20);
    assert_eq!(archive.rows(&format!("/studies/{study}/series/{study}.2/metadata")).await.len(), 10);
    let path = instance(1, 0, 1, 3);
    let row = &archive.rows(&format!("{path}/metadata")).await[0];
    assert_eq!(row["00080005"]["Value"][0], "ISO_IR 192");
    assert_eq!(row["0008103E"]["Value"][0], "T2強調");
    assert_eq!(row["00080090"]["Value"][0]["Ideographic"], "架空^医師");
    assert_eq!(row["00180080"]["Value"][0], 3200.5);
    let link = row["7FE00010"]["BulkDataURI"].as_str().unwrap();
    assert_eq!(link, format!("http://pacs.test:81{ROOT}{path}/bulkdata/7FE00010"));
}

#[tokio::test]
async fn frames_of_native_images_are_extracted() {
    let archive = ServedArchive::with_patients(&["DEMO-0003"]);
    let path = instance(2, 0, 0, 0);
    let frame = archive.get_with_accept(&format!("{path}/frames/2"), "application/octet-stream").await;
    assert_eq!(frame.body.len(), 64 * 64);
    let several = archive.get_with_accept(&format!("{path}/frames/2,12"), ANY_OCTETS).await;
    let parts = several.parts();
    assert_eq!(parts.len(), 2);
    assert_eq!(parts[0], ("Content-Type: application/octet-stream".to_owned(), frame.body.to_vec()));
    let bulk_data =
        archive.get_with_accept(&format!("{path}/bulkdata/7FE00010"), "application/octet-stream").await;
    assert_eq!(bulk_data.body[11 * 4096..], parts[1].1);
    assert_eq!(bulk_data.header("content-length"), (12 * 4096).to_string());
    assert_eq!(archive.get(&format!("{path}/frames/13")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(archive.get(&format!("{path}/frames/0")).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn frames_of_compressed_images_are_returned_as_stored() {
    let archive = ServedArchive::with_patients(&["DEMO-0003"]);
    let path = format!("{}/frames/3", instance(2, 1, 0, 0));
    for accept in [
        ANY_OCTETS,
        "multipart/related; type=image/dicom-rle",
        "*/*",
        r#"multipart/related; type="application/octet-stream; transfer-syntax=1.2.840.10008.1.2.5""#,
    ] {
        let parts = archive.get_with_accept(&path, accept).await.parts();
        assert_eq!(
            parts[0].0, "Content-Type: image/dicom-rle; transfer-syntax=1.2.840.10008.1.2.5",
            "{accept}"
        );
        assert_eq!(parts[0].1[..8], [1, 0, 0, 0, 64, 0, 0, 0], "{accept}");
    }
    let single_part = archive.get_with_accept(&path, "image/dicom-rle").await;
    assert_eq!(single_part.body[..4], [1, 0, 0, 0]);
    for accept in ["multipart/related; type=application/octet-stream", "image/jpeg", "application/dicom"] {
        assert_eq!(
            archive.get_with_accept(&path, accept).await.status,
            StatusCode::NOT_ACCEPTABLE,
            "{accept}"
        );
    }
    let frames = archive.get_with_accept(&format!("{}/bulkdata/7FE00010", instance(2, 1, 0, 0)), "*/*").await;
    assert_eq!(frames.parts().len(), 16);
}

#[tokio::test]
async fn frames_of_a_binary_segmentation_are_extracted() {
    let archive = ServedArchive::with_patients(&["DEMO-0001"]);
    let response = archive
        .get_with_accept(&format!("{}/frames/6", instance(0, 0, 1, 0)), "application/octet-stream")
        .await;
    assert_eq!(response.body.len(), 96 * 96 / 8);
    assert!(response.body.iter().any(|byte| *byte != 0), "lungs are in the middle slice");
}

#[tokio::test]
async fn instances_without_pixel_data_have_no_frames_and_no_pixel_bulk_data() {
    let archive = ServedArchive::with_patients(&["DEMO-0001"]);
    let report = instance(0, 0, 2, 0);
    for path in ["frames/1", "bulkdata/7FE00010", "bulkdata/00880200/1/7FE00010"] {
        assert_eq!(archive.get(&format!("{report}/{path}")).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn deleted_file_aborts_the_transfer() {
    let archive = ServedArchive::with_patients(&["P11"]);
    fs::remove_file(archive.folder.path().join("patient-12/study-1/series-1/0002.dcm")).unwrap();
    let uri = format!("{ROOT}/studies/{}", samples::study_uid(11, 0));
    let response = archive.archive.respond(Request::get(uri).body(()).unwrap()).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.into_body().collect().await.is_err());
    let frames = archive.get(&format!("{}/frames/1", instance(11, 0, 0, 1))).await;
    assert_eq!(frames.status, StatusCode::INTERNAL_SERVER_ERROR);
}
