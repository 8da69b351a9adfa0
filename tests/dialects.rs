//! Archives of every brand that the gateway knows, each with the answers that it gives: a folder for each dialect.
//!
//! `exchanges.json` holds what the archive answers (written by `write.py`), `archive.toml` how the gateway is told to reach
//! it, `expect.json` what clients of the gateway must get, `README.md` what is peculiar.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::gateway::{RunningGateway, entries};
use crate::support::pacs::{Answer, Given, Pacs, RunningPacs};

async fn plays(dialect: &str) {
    let folder = Path::new("tests/dialects").join(dialect);
    let read = |name: &str| {
        fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{dialect}/{name}: {error}"))
    };
    let parsed = |name: &str| serde_json::from_str::<Vec<Value>>(&read(name)).unwrap();
    assert!(!read("README.md").trim().is_empty());
    let mut pacs = Pacs::new();
    for exchange in parsed("exchanges.json") {
        pacs = told(pacs, &exchange);
    }
    let pacs = pacs.start().await;
    let gateway = RunningGateway::over(&pacs.url(), &read("archive.toml")).await;
    for expectation in parsed("expect.json") {
        meets(&gateway, dialect, &expectation, &pacs).await;
    }
}

/// Teaches the archive one answer.
fn told(pacs: Pacs, exchange: &Value) -> Pacs {
    let text = |name: &str| exchange[name].as_str().unwrap_or_default().to_owned();
    let body = exchange.get("body").map_or_else(|| text("text"), Value::to_string);
    let status = u16::try_from(exchange["status"].as_u64().unwrap()).unwrap();
    let mut answer = Answer::bytes(&text("type"), body).with_status(status);
    answer = match text("encoding").as_str() {
        "gzip" => answer.gzip(),
        "undeclared gzip" => answer.undeclared_gzip(),
        _ => answer,
    };
    let path = text("path");
    let conditions = conditions(exchange);
    if path == "*" && conditions.is_empty() {
        return pacs.otherwise(answer);
    }
    pacs.when(&path, conditions, answer)
}

/// How the query has to be: `"*"` for any value of a key, a text for this one, `{"holds": text}`, `"repeated"`.
fn conditions(exchange: &Value) -> Vec<(String, Given)> {
    let conditions = exchange["when"].as_object().into_iter().flatten();
    let given = |value: &Value| match value.as_str() {
        Some("*") => Given::Somehow,
        Some("repeated") => Given::Repeatedly,
        Some(text) => Given::As(text.to_owned()),
        None => Given::StudyLocation(value["holds"].as_str().unwrap().to_owned()),
    };
    conditions.map(|(key, value)| (key.clone(), given(value))).collect()
}

/// A key without a value, which archives take for any value.
const OPEN_QUERY: &str = "=&";

/// Asks the gateway, and compares: the status, the ids of the matches, values at places of the JSON, and what the archive
/// was asked meanwhile.
async fn meets(gateway: &RunningGateway, dialect: &str, expectation: &Value, pacs: &RunningPacs) {
    let path = expectation["get"].as_str().unwrap();
    let asked_before = pacs.requests().len();
    let received = gateway.get(path).await;
    let asked = pacs.targets().split_off(asked_before);
    let place = format!("{dialect}: {path}: {}", received.text());
    assert_eq!(Value::from(received.status), expectation["status"], "{place}");
    for hidden in [pacs.authority().as_str(), "inner.example", "healthcare.example.com"] {
        assert!(!received.text().contains(hidden), "{hidden} shows in {place}");
    }
    for unasked in expectation["unasked"].as_array().into_iter().flatten().chain(&[OPEN_QUERY.into()]) {
        let unasked = unasked.as_str().unwrap();
        assert!(!asked.iter().any(|target| target.contains(unasked)), "{unasked} in {asked:?}: {place}");
    }
    let json = received.json();
    if let Some(ids) = expectation.get("ids") {
        let mut found: Vec<_> =
            entries(&json, "match").iter().map(|resource| resource["id"].clone()).collect();
        found.sort_by_key(Value::to_string);
        assert_eq!(&Value::from(found), ids, "{place}");
    }
    for (pointer, value) in expectation["values"].as_object().into_iter().flatten() {
        assert_eq!(json.pointer(pointer).unwrap_or(&Value::Null), value, "{pointer} in {place}");
    }
}

macro_rules! dialects {
    ($($test:ident: $folder:literal,)*) => {
        $(
            #[tokio::test]
            async fn $test() {
                plays($folder).await;
            }
        )*

        #[test]
        fn every_folder_is_played() {
            let mut folders: Vec<_> = fs::read_dir("tests/dialects").unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir())
                .map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).filter(|name| !name.starts_with("__")).collect();
            folders.sort();
            let mut played = vec![$($folder),*];
            played.sort_unstable();
            assert_eq!(folders, played);
        }
    };
}

dialects! {
    orthanc_of_bookworm: "orthanc-1.10",
    orthanc_of_trixie: "orthanc-1.12",
    orthanc_of_sid: "orthanc-1.13",
    dicom_rst_over_orthanc: "dicom-rst",
    dicom_rst_over_dcmqrscp: "dicom-rst-dcmqrscp",
    dicom_rst_over_pynetdicom: "dicom-rst-pynetdicom",
    static_dicomweb: "static-dicomweb",
    dicomweb_proxy: "dicomweb-proxy",
    google_healthcare: "google",
}
