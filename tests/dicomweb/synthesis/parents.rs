//! Synthesis of the study and series UIDs in rows, for archives that omit them.

use serde_json::json;

use crate::support::archive_root::{ArchiveRoot, PUBLIC_URL};
use crate::support::client;
use crate::support::gateway::RunningGateway;
use crate::support::pacs::{CannedResponse, Pacs};

const SYNTHESIS_CONFIG: &str = "synthesize = [\"parents\"]";
const SERIES: &str = r#"{ "00080060" :{"vr":"CS","Value":["C\u0054"]},"0020000E":{"vr":"UI","Value":["1.2.3"]}, "00200011":{"vr":"IS","Value":["1 "]}}"#;

#[tokio::test]
async fn rows_get_the_uids_of_the_request_path_and_are_otherwise_unchanged() {
    let complete_row =
        r#"{ "0020000D" : {"vr":"UI","Value":["1.2"]}, "0020000E":{"vr":"UI","Value":["1.2.4"]} }"#;
    let instance = r#"{"00080018":{"vr":"UI","Value":["1.2.3.1"]}}"#;
    let pacs = Pacs::new()
        .with_response(
            "/studies/1.2/series",
            CannedResponse::json(format!("[{SERIES}, {complete_row}]")).header("ETag", "\"a\""),
        )
        .with_response("/studies/1.2/instances", CannedResponse::json(format!("[{instance}]")))
        .with_response("/studies/1.2/series/1.2.3/instances", CannedResponse::json(format!("[{instance}]")))
        .with_response("/studies", CannedResponse::json("[{\"00100020\":{\"vr\":\"LO\"}}]"))
        .with_response("/series", CannedResponse::json(format!("[{SERIES}]")))
        .start()
        .await;
    let root = ArchiveRoot::start_with_config(&pacs.url(), SYNTHESIS_CONFIG).await;
    let study = r#""0020000D":{"vr":"UI","Value":["1.2"]}"#;
    let series = r#""0020000E":{"vr":"UI","Value":["1.2.3"]}"#;
    let series_row = SERIES
        .replace("{ \"00080060\" :", "{\"00080060\":")
        .replace("\"0020000E\"", &format!("{study},\"0020000E\""));
    let series_row = series_row.replace(", \"00200011\"", ",\"00200011\"");
    let uid = r#""00080018":{"vr":"UI","Value":["1.2.3.1"]}"#;
    for (target, expected) in [
        ("studies/1.2/series", format!("[{series_row},{complete_row}]")),
        ("studies/1.2/instances", format!("[{{{uid},{study}}}]")),
        ("studies/1.2/series/1.2.3/instances", format!("[{{{uid},{study},{series}}}]")),
        ("studies", "[{\"00100020\":{\"vr\":\"LO\"}}]".to_owned()),
        ("series", format!("[{SERIES}]")),
    ] {
        let response = client::get(&root.url(target)).await;
        assert_eq!((response.status, response.is_complete), (200, true), "{target}");
        assert_eq!(response.text(), expected, "{target}");
        assert_eq!(response.header("etag"), None, "{target}");
    }
}

#[tokio::test]
async fn rows_of_other_resources_are_removed() {
    let row = |series: &str, instance: &str| {
        json!({
            "00080018": {"vr": "UI", "Value": [instance]},
            "0020000D": {"vr": "UI", "Value": ["1.2"]},
            "0020000E": {"vr": "UI", "Value": [series]},
        })
    };
    let study = json!([row("1.2.3", "1.2.3.1"), row("1.2.3", "1.2.3.2"), row("1.2.4", "1.2.4.1")]);
    let pacs = Pacs::new().with_fallback(CannedResponse::json(study.to_string())).start().await;
    let root = ArchiveRoot::start_with_config(&pacs.url(), SYNTHESIS_CONFIG).await;
    for (target, expected) in [
        ("studies/1.2/metadata", 3),
        ("studies/1.2/series/1.2.3/metadata", 2),
        ("studies/1.2/series/1.2.3/instances", 2),
        ("studies/1.2/series/1.2.4/instances/1.2.4.1/metadata", 1),
        ("studies/1.2/series/1.2.9/instances", 0),
        ("studies/1.9/series", 0),
    ] {
        let response = client::get(&root.url(target)).await;
        assert_eq!((response.status, response.is_complete), (200, true), "{target}");
        assert_eq!(response.json().as_array().unwrap().len(), expected, "{target}");
    }
    let unknown_series = client::get(&root.url("studies/1.2/series/1.2.9/metadata")).await;
    assert_eq!(unknown_series.status, 404, "{}", unknown_series.text());
}

#[tokio::test]
async fn parent_uids_are_synthesized_in_xml() {
    let pacs = Pacs::new()
        .with_response("/studies/1.2/series", CannedResponse::json(format!("[{SERIES}, {SERIES}]")))
        .with_response("/studies/1.3/series", CannedResponse::json("[]"))
        .start()
        .await;
    let root = ArchiveRoot::start_with_config(&pacs.url(), SYNTHESIS_CONFIG).await;
    let xml = [("Accept", "multipart/related; type=\"application/dicom+xml\"")];
    let response = client::get_with_headers(&root.url("studies/1.2/series"), &xml).await;
    assert_eq!((response.status, response.is_complete), (200, true), "{}", response.text());
    assert!(
        response
            .header("content-type")
            .unwrap()
            .starts_with("multipart/related; type=\"application/dicom+xml\"")
    );
    assert_eq!(response.text().matches("keyword=\"StudyInstanceUID\"").count(), 2, "{}", response.text());
    let empty = client::get_with_headers(&root.url("studies/1.3/series"), &xml).await;
    assert_eq!((empty.status, empty.body.len()), (204, 0));
}

#[tokio::test]
async fn a_malformed_row_is_an_error_before_the_response_begins() {
    let malformed = r#"{"0020000E":{"vr":"UI","Value":["1.2.3"]},"0008103E":{"vr":"LO","Value":["\x"]}}"#;
    let metadata = malformed.replace("0008103E", "00080018");
    let pacs = Pacs::new()
        .with_response("/studies/1.2/series", CannedResponse::json(format!("[{SERIES},{malformed}]")))
        .with_response("/studies/1.2/metadata", CannedResponse::json(format!("[{SERIES},{metadata}]")))
        .start()
        .await;
    let root = ArchiveRoot::start_with_config(&pacs.url(), SYNTHESIS_CONFIG).await;
    for target in ["studies/1.2/series", "studies/1.2/metadata"] {
        for accept in ["application/dicom+json", "multipart/related; type=\"application/dicom+xml\""] {
            let response = client::get_with_headers(&root.url(target), &[("Accept", accept)]).await;
            assert_eq!((response.status, response.is_complete), (502, true), "{target} in {accept}");
            assert!(response.text().contains("Archive main sent a response"), "{}", response.text());
        }
    }
}

#[tokio::test]
async fn a_truncated_list_aborts_the_transfer() {
    let list = format!("[{SERIES}, {SERIES}]");
    let truncated = (0..=list.len()).map(|length| CannedResponse::json(list.clone()).abort_after(length));
    let pacs = Pacs::new().with_responses("/studies/1.2/series", truncated).start().await;
    let root = ArchiveRoot::start_with_config(&pacs.url(), SYNTHESIS_CONFIG).await;
    for length in 0..list.len() {
        let response = client::get(&root.url("studies/1.2/series")).await;
        assert!(response.status >= 500 || !response.is_complete, "{length}: {}", response.text());
    }
    assert!(client::get(&root.url("studies/1.2/series")).await.is_complete);
}

#[tokio::test]
async fn parent_uids_are_synthesized_at_the_aggregate_root() {
    let series_rows = |series: &str| {
        CannedResponse::json(format!(r#"[{{"0020000E":{{"vr":"UI","Value":["{series}"]}}}}]"#))
    };
    let study = CannedResponse::json(r#"[{"0020000D":{"vr":"UI","Value":["1.2"]}}]"#);
    let pacs = |series: &str| {
        Pacs::new()
            .with_response("/studies", study.clone())
            .with_response("/studies/1.2/series", series_rows(series))
    };
    let (first, second) = (pacs("1.2.3").start().await, pacs("1.2.4").start().await);
    let config = format!(
        "{SYNTHESIS_CONFIG}\n[[archive]]\nid = \"second\"\nurl = \"{}\"\n{SYNTHESIS_CONFIG}\n[server]\npublic_url = \"https://gateway.example/imaging\"\n",
        second.url()
    );
    let gateway = RunningGateway::start(&first.url(), &config).await;
    let rows = gateway.get("/dicom-web/studies/1.2/series").await;
    let rows = rows.json();
    for (row, series) in rows.as_array().unwrap().iter().zip(["1.2.3", "1.2.4"]) {
        assert_eq!(row["0020000D"]["Value"], json!(["1.2"]));
        assert_eq!(row["0020000E"]["Value"], json!([series]));
    }
    assert_eq!(rows.as_array().unwrap().len(), 2);
    assert!(!rows.to_string().contains(PUBLIC_URL));
}
