//! Percent-escapes in the paths of both APIs. An escape of a character that needs no escape is equivalent to the character; all
//! others are rejected.

use serde_json::json;

use crate::support::client::{self, ReceivedResponse};
use crate::support::gateway::RunningGateway;
use crate::support::pacs::{CannedResponse, Pacs};
use crate::support::samples;

/// Escapes every character of a path except `/`.
fn escape_all(path: &str) -> String {
    let escape = |byte: u8| if byte == b'/' { "/".to_owned() } else { format!("%{byte:02x}") };
    path.bytes().map(escape).collect()
}

fn assert_same(escaped: &ReceivedResponse, unescaped: &ReceivedResponse, path: &str) {
    assert_eq!((escaped.status, escaped.text()), (200, unescaped.text()), "{path}");
    assert_eq!(escaped.header("etag"), unescaped.header("etag"), "{path}");
}

#[tokio::test]
async fn paths_with_unnecessary_escapes_identify_the_same_fhir_resource() {
    let gateway = RunningGateway::start_with_samples().await;
    let study = gateway.search("/fhir/ImagingStudy?_count=100").await.0.remove(0);
    let id = study["id"].as_str().unwrap();
    let patient = study["subject"]["reference"].as_str().unwrap();
    for (path, unescaped_path) in [
        (format!("/fhir/{patient}/%24everything"), format!("/fhir/{patient}/$everything")),
        (format!("/fhir/{patient}/{}", escape_all("$everything")), format!("/fhir/{patient}/$everything")),
        (format!("/fhir/{patient}/%2A"), format!("/fhir/{patient}/*")),
        ("/fhir/ImagingStudy/_%73earch".to_owned(), "/fhir/ImagingStudy/_search".to_owned()),
        (format!("/fhir/ImagingStudy/{}", escape_all(id)), format!("/fhir/ImagingStudy/{id}")),
        (format!("/fhir/ImagingStudy/{}", id.replace('.', "%2E")), format!("/fhir/ImagingStudy/{id}")),
        (format!("/{}", escape_all("fhir/metadata")), "/fhir/metadata".to_owned()),
    ] {
        assert_same(&gateway.get(&path).await, &gateway.get(&unescaped_path).await, &path);
    }
    let url = format!("{}/fhir/ImagingStudy/_%73earch", gateway.base_url());
    let search_response = client::post(&url, "application/x-www-form-urlencoded", &format!("_id={id}")).await;
    assert_eq!(search_response.json()["total"], 1);
    let batch = json!({"resourceType": "Bundle", "type": "batch", "entry": [
        {"request": {"method": "GET", "url": format!("{patient}/%24everything")}},
        {"request": {"method": "GET", "url": format!("{patient}/%2524everything")}},
    ]});
    let url = format!("{}/fhir", gateway.base_url());
    let batch_response = client::post(&url, "application/fhir+json", &batch.to_string()).await.json();
    assert_eq!(
        batch_response["entry"][0]["resource"],
        gateway.get_json(&format!("/fhir/{patient}/$everything")).await
    );
    assert_eq!(batch_response["entry"][1]["response"]["status"], "400 Bad Request");
}

#[tokio::test]
async fn paths_with_unnecessary_escapes_identify_the_same_dicomweb_resource() {
    let gateway = RunningGateway::start_with_samples().await;
    let rows =
        gateway.get_json("/dicom-web/main/instances?NumberOfFrames=&limit=200&ModalitiesInStudy=US").await;
    let rows = rows.as_array().unwrap().iter();
    let has_several_frames =
        |row: &&serde_json::Value| row["00280008"]["Value"][0].as_u64().is_some_and(|frames| frames > 1);
    let row =
        rows.clone().find(has_several_frames).expect("the samples contain no object with several frames");
    let uid = |tag: &str| row[tag]["Value"][0].as_str().unwrap();
    let object =
        format!("studies/{}/series/{}/instances/{}", uid("0020000D"), uid("0020000E"), uid("00080018"));
    let archive = tokio::task::spawn_blocking(samples::shared).await.unwrap();
    for list in ["1,2", "1%2C2"] {
        let archive_response = client::get(&format!("{}/{object}/frames/{list}", archive.url)).await;
        assert_eq!(archive_response.status, 200, "{list}: {}", archive_response.text());
    }
    for root in ["/dicom-web/main", "/dicom-web"] {
        let unescaped = gateway.get(&format!("{root}/{object}/frames/1,2")).await;
        assert_eq!(unescaped.status, 200, "{}", unescaped.text());
        for list in ["1%2C2", "1%2c%32"] {
            let escaped = gateway.get(&format!("{root}/{object}/frames/{list}")).await;
            assert_eq!((escaped.status, escaped.body.len()), (200, unescaped.body.len()), "{root} {list}");
        }
        let metadata = gateway.get(&format!("{root}/{object}/metadata")).await;
        let path = format!("{root}/{}", escape_all(&format!("{object}/metadata")));
        assert_same(&gateway.get(&path).await, &metadata, &path);
    }
}

#[tokio::test]
async fn ambiguous_and_invalid_escapes_are_rejected_without_upstream_requests() {
    let pacs = Pacs::new().with_fallback(CannedResponse::json("[]")).start().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    for escape in [
        "%2F",
        "%2f",
        "%5C",
        "%5c",
        "%00",
        "%0d%0a",
        "%7F",
        "%3B",
        "%3F",
        "%23",
        "%25",
        "%2524everything",
        "%252e%252e",
        "%",
        "%4",
        "%zz",
        "%20",
        "%ff",
        "%c3%a4",
        "%2e%2e",
        "%2E",
        ".%2e",
        "%2e./x",
    ] {
        for path in [
            format!("/fhir/ImagingStudy/{escape}"),
            format!("/fhir/Patient/{escape}/$everything"),
            format!("/dicom-web/main/studies/{escape}"),
            format!("/dicom-web/studies/{escape}/metadata"),
        ] {
            let received = gateway.get(&path).await;
            assert_eq!(received.status, 400, "{path}: {}", received.text());
        }
    }
    for path in
        ["/fhir%2FImagingStudy", "/fhir/..%2fdicom-web/main/studies", "/fhir/%2e%2e/dicom-web/main/studies"]
    {
        assert_eq!(gateway.get(path).await.status, 400, "{path}");
    }
    assert_eq!(pacs.targets(), [""; 0]);
}
