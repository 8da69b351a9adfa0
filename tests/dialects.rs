//! Tests with the responses of every archive product for which the gateway has a profile. Each product has a folder:
//!
//! - `exchanges.json` contains the responses of the archive, and `expect.json` the responses that clients expect; `write.py` writes
//!   both.
//! - `archive.toml` contains the configuration of the archive at the gateway.
//! - `README.md` describes the peculiarities of the product.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::gateway::{RunningGateway, resources_with_mode};
use crate::support::pacs::{CannedResponse, Pacs, QueryCondition, RunningPacs};

/// Starts an archive with the responses of `dialect`, and checks the responses of the gateway.
async fn replay(dialect: &str) {
    let folder = Path::new("tests/dialects").join(dialect);
    let read_file = |name: &str| {
        fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{dialect}/{name}: {error}"))
    };
    let parse_file = |name: &str| serde_json::from_str::<Vec<Value>>(&read_file(name)).unwrap();
    assert!(!read_file("README.md").trim().is_empty());
    let mut pacs = Pacs::new();
    for exchange in parse_file("exchanges.json") {
        pacs = with_exchange(pacs, &exchange);
    }
    let pacs = pacs.start().await;
    let gateway = RunningGateway::start(&pacs.url(), &read_file("archive.toml")).await;
    for expectation in parse_file("expect.json") {
        assert_response(&gateway, dialect, &expectation, &pacs).await;
    }
}

/// Adds one scripted response to the archive.
fn with_exchange(pacs: Pacs, exchange: &Value) -> Pacs {
    let text = |name: &str| exchange[name].as_str().unwrap_or_default().to_owned();
    let body = exchange.get("body").map_or_else(|| text("text"), Value::to_string);
    let status = u16::try_from(exchange["status"].as_u64().unwrap()).unwrap();
    let mut response = CannedResponse::bytes(&text("type"), body).with_status(status);
    response = match text("encoding").as_str() {
        "gzip" => response.gzip(),
        "undeclared gzip" => response.undeclared_gzip(),
        _ => response,
    };
    let path = text("path");
    let conditions = query_conditions(exchange);
    if path == "*" && conditions.is_empty() {
        return pacs.with_fallback(response);
    }
    pacs.with_conditional_response(&path, conditions, response)
}

/// Reads the conditions for the query. The condition for a key is `"*"` for any value, a text for this value,
/// `{"contains": text}` for a value that contains the text, or `"repeated"` for a key that occurs more than once.
fn query_conditions(exchange: &Value) -> Vec<(String, QueryCondition)> {
    let conditions = exchange["query"].as_object().into_iter().flatten();
    let condition = |value: &Value| match value.as_str() {
        Some("*") => QueryCondition::Present,
        Some("repeated") => QueryCondition::Repeated,
        Some(text) => QueryCondition::Equals(text.to_owned()),
        None => QueryCondition::Contains(value["contains"].as_str().unwrap().to_owned()),
    };
    conditions.map(|(key, value)| (key.clone(), condition(value))).collect()
}

/// A key without a value, which matches every value (universal matching, PS3.4 C.2.2.2.3).
const UNIVERSAL_MATCHING: &str = "=&";

/// Sends a request to the gateway, and compares the status, the ids of the matches, values in the JSON, and the requests that
/// the archive has received.
async fn assert_response(gateway: &RunningGateway, dialect: &str, expectation: &Value, pacs: &RunningPacs) {
    let path = expectation["get"].as_str().unwrap();
    let count_before = pacs.requests().len();
    let received = gateway.get(path).await;
    let targets = pacs.targets().split_off(count_before);
    let context = format!("{dialect}: {path}: {}", received.text());
    assert_eq!(Value::from(received.status), expectation["status"], "{context}");
    for hidden in [pacs.authority().as_str(), "inner.example", "healthcare.example.com"] {
        assert!(!received.text().contains(hidden), "the response contains {hidden}: {context}");
    }
    for excluded in
        expectation["not_sent"].as_array().into_iter().flatten().chain(&[UNIVERSAL_MATCHING.into()])
    {
        let excluded = excluded.as_str().unwrap();
        assert!(
            !targets.iter().any(|target| target.contains(excluded)),
            "the archive received {excluded} in {targets:?}: {context}"
        );
    }
    let json = received.json();
    if let Some(ids) = expectation.get("ids") {
        let mut match_ids: Vec<_> =
            resources_with_mode(&json, "match").iter().map(|resource| resource["id"].clone()).collect();
        match_ids.sort_by_key(Value::to_string);
        assert_eq!(&Value::from(match_ids), ids, "{context}");
    }
    for (pointer, value) in expectation["values"].as_object().into_iter().flatten() {
        assert_eq!(json.pointer(pointer).unwrap_or(&Value::Null), value, "{pointer} in {context}");
    }
}

macro_rules! dialects {
    ($($test:ident: $folder:literal,)*) => {
        $(
            #[tokio::test]
            async fn $test() {
                replay($folder).await;
            }
        )*

        #[test]
        fn every_folder_is_replayed() {
            let mut folders: Vec<_> = fs::read_dir("tests/dialects").unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir())
                .map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).filter(|name| !name.starts_with("__")).collect();
            folders.sort();
            let mut replayed = vec![$($folder),*];
            replayed.sort_unstable();
            assert_eq!(folders, replayed);
        }
    };
}

dialects! {
    orthanc_1_10_of_debian_bookworm: "orthanc-1.10",
    orthanc_1_12_of_debian_trixie: "orthanc-1.12",
    orthanc_1_13_of_debian_sid: "orthanc-1.13",
    dicom_rst_with_orthanc: "dicom-rst",
    dicom_rst_with_dcmqrscp: "dicom-rst-dcmqrscp",
    dicom_rst_with_pynetdicom: "dicom-rst-pynetdicom",
    static_dicomweb: "static-dicomweb",
    dicomweb_proxy: "dicomweb-proxy",
    google_healthcare: "google",
}
