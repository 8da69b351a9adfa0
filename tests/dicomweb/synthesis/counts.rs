//! Synthesis of modalities and counts of studies and series, for archives that omit them.

use serde_json::{Value, json};

use crate::support::archive_root::ArchiveRoot;
use crate::support::client::{self, ReceivedResponse};
use crate::support::gateway::RunningGateway;
use crate::support::pacs::{CannedResponse, Pacs, Study};

const SYNTHESIS_CONFIG: &str = "synthesize = [\"counts\"]";

fn row(elements: &[(&str, &str)]) -> Value {
    elements.iter().map(|(tag, value)| ((*tag).to_owned(), json!({"vr": "UI", "Value": [value]}))).collect()
}

fn rows_response(rows: impl IntoIterator<Item = Value>) -> CannedResponse {
    CannedResponse::json(Value::from_iter(rows).to_string())
}

/// Returns an archive like DICOM-RST in front of dcmqrscp, which returns no counts, and finds instances only within a series.
fn pacs_without_counts() -> Pacs {
    let series = |uid: &str, modality: &str| row(&[("0020000E", uid), ("00080060", modality)]);
    let instances = |uids: &[&str]| rows_response(uids.iter().map(|uid| row(&[("00080018", uid)])));
    Pacs::new()
        .with_response("/studies", rows_response(["1.2", "1.3", "1.4"].map(|uid| row(&[("0020000D", uid)]))))
        .with_response(
            "/studies/1.2/series",
            rows_response([series("1.2.1", "CT"), series("1.2.2", "SR"), series("1.2.3", "CT")]),
        )
        .with_response("/studies/1.2/series/1.2.1/instances", instances(&["1.2.1.1", "1.2.1.2"]))
        .with_response("/studies/1.2/series/1.2.2/instances", instances(&["1.2.2.1", "1.2.2.1"]))
        .with_response("/studies/1.2/series/1.2.3/instances", instances(&["1.2.3.1"]))
        .with_response("/studies/1.3/series", rows_response([series("1.3.1", "MR"), series("1.3.2", "MR")]))
        .with_response("/studies/1.3/series/1.3.1/instances", instances(&["1.3.1.1"]))
        .with_response("/studies/1.3/series/1.3.2/instances", CannedResponse::json("[]"))
        .with_response("/studies/1.4/series", CannedResponse::json("[]"))
}

fn value(row: &Value, tag: &str) -> Value {
    row[tag].get("Value").cloned().unwrap_or_default()
}

fn rows(response: &ReceivedResponse) -> Vec<Value> {
    assert_eq!((response.status, response.is_complete), (200, true), "{}", response.text());
    response.json().as_array().unwrap().clone()
}

#[tokio::test]
async fn modalities_and_counts_are_synthesized_if_they_can_be_determined() {
    let pacs = pacs_without_counts().start().await;
    let root = ArchiveRoot::start_with_config(&pacs.url(), SYNTHESIS_CONFIG).await;
    let studies = rows(&client::get(&root.url("studies")).await);
    let selected_values =
        |row: &Value| ["0020000D", "00080061", "00201206", "00201208"].map(|tag| value(row, tag));
    assert_eq!(
        studies.iter().map(selected_values).collect::<Vec<_>>(),
        [
            [json!(["1.2"]), json!(["CT", "SR"]), json!([3]), json!([4])],
            [json!(["1.3"]), json!(["MR"]), json!([2]), Value::Null],
            [json!(["1.4"]), Value::Null, Value::Null, Value::Null],
        ]
    );
    let series = rows(&client::get(&root.url("studies/1.2/series")).await);
    let counts: Vec<_> = series.iter().map(|row| value(row, "00201209")).collect();
    assert_eq!(counts, [json!([2]), json!([1]), json!([1])]);
}

#[tokio::test]
async fn attributes_that_the_archive_returns_are_not_synthesized() {
    let pacs = Pacs::new().with_study(Study::new("1.2").series("1.2.1", "CT", 2)).start().await;
    let (original, root) = (
        ArchiveRoot::start(&pacs).await,
        ArchiveRoot::start_with_config(&pacs.url(), SYNTHESIS_CONFIG).await,
    );
    for target in ["studies", "studies/1.2/series", "studies/1.2/series/1.2.1/instances"] {
        let request_count = pacs.targets().len();
        let response = client::get(&root.url(target)).await;
        assert_eq!(pacs.targets().len(), request_count + 1, "{target}");
        assert_eq!(response.text(), client::get(&original.url(target)).await.text(), "{target}");
    }
}

#[tokio::test]
async fn searches_by_synthesized_attributes_are_rejected() {
    let pacs = pacs_without_counts().start().await;
    let root = ArchiveRoot::start_with_config(&pacs.url(), SYNTHESIS_CONFIG).await;
    for target in [
        "studies?ModalitiesInStudy=CT",
        "studies?00201206=3",
        "studies?NumberOfStudyRelatedInstances=4",
        "studies/1.2/series?NumberOfSeriesRelatedInstances=1",
    ] {
        let response = client::get(&root.url(target)).await;
        assert_eq!(response.status, 501, "{target}: {}", response.text());
    }
    assert_eq!(pacs.targets(), [""; 0]);
    assert_eq!(client::get(&root.url("studies?includefield=ModalitiesInStudy")).await.status, 200);
    let gateway = RunningGateway::start(&pacs.url(), SYNTHESIS_CONFIG).await;
    assert_eq!(gateway.get("/dicom-web/studies?ModalitiesInStudy=CT").await.status, 501);
}

#[tokio::test]
async fn synthesis_of_more_studies_than_max_opened_is_rejected() {
    let pacs = pacs_without_counts().start().await;
    for (max_opened, status) in [(2, 413), (5, 413), (8, 200)] {
        let config = format!("{SYNTHESIS_CONFIG}\n[search]\nmax_opened = {max_opened}");
        let root = ArchiveRoot::start_with_config(&pacs.url(), &config).await;
        let response = client::get(&root.url("studies")).await;
        assert_eq!(response.status, status, "{max_opened}: {}", response.text());
    }
}

#[tokio::test]
async fn a_failed_search_below_a_study_fails_the_list() {
    for failure in
        [CannedResponse::status(500), CannedResponse::json("[{\"a\":"), CannedResponse::html("<html>")]
    {
        let pacs = Pacs::new()
            .with_response("/studies", rows_response([row(&[("0020000D", "1.2")])]))
            .with_response("/studies/1.2/series", failure.clone())
            .start()
            .await;
        let root = ArchiveRoot::start_with_config(&pacs.url(), SYNTHESIS_CONFIG).await;
        let response = client::get(&root.url("studies")).await;
        assert_eq!(response.status, 502, "{failure:?}: {}", response.text());
    }
}

#[tokio::test]
async fn a_study_of_two_patients_gets_no_counts() {
    let study_of = |patient: &str| row(&[("0020000D", "1.2"), ("00100020", patient)]);
    for (second_patient, count) in [("P1", json!([1])), ("P2", Value::Null)] {
        let pacs = Pacs::new()
            .with_response("/studies", rows_response([study_of("P1"), study_of(second_patient)]))
            .with_response(
                "/studies/1.2/series",
                rows_response([row(&[("0020000E", "1.2.1"), ("00080060", "CT")])]),
            )
            .with_response(
                "/studies/1.2/series/1.2.1/instances",
                rows_response([row(&[("00080018", "1.2.1.1")])]),
            )
            .start()
            .await;
        let root = ArchiveRoot::start_with_config(&pacs.url(), SYNTHESIS_CONFIG).await;
        let rows = rows(&client::get(&root.url("studies")).await);
        assert!(rows.iter().all(|row| value(row, "00201208") == count), "{second_patient}: {rows:?}");
        assert_eq!(rows.len(), 2);
    }
}

#[tokio::test]
async fn counts_are_synthesized_at_the_aggregate_root() {
    let first = pacs_without_counts().start().await;
    let second = Pacs::new().with_study(Study::new("2.1").series("2.1.1", "US", 7)).start().await;
    let config = format!("{SYNTHESIS_CONFIG}\n[[archive]]\nid = \"second\"\nurl = \"{}\"\n", second.url());
    let gateway = RunningGateway::start(&first.url(), &config).await;
    let rows = rows(&gateway.get("/dicom-web/studies?limit=3").await);
    let selected_values = |row: &Value| ["0020000D", "00201206"].map(|tag| value(row, tag));
    assert_eq!(
        rows.iter().map(selected_values).collect::<Vec<_>>(),
        [[json!(["1.2"]), json!([3])], [json!(["2.1"]), json!([1])], [json!(["1.3"]), json!([2])]]
    );
}
