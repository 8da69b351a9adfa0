//! Rows of studies whose Modalities in Study is empty: the gateway omits it, because viewers fail at an attribute without a value.

use serde_json::{Value, json};

use crate::support::archive_root::ArchiveRoot;
use crate::support::client;
use crate::support::gateway::RunningGateway;
use crate::support::pacs::{CannedResponse, Pacs, Study};

/// Returns the UID of each study, and its Modalities in Study as the archive returns it.
fn studies() -> [(&'static str, Value); 6] {
    [
        ("1.1", json!({"vr": "CS"})),
        ("1.2", json!({"vr": "CS", "Value": []})),
        ("1.3", json!({"vr": "CS", "Value": ["CT"]})),
        ("1.4", json!({"vr": "CS", "Value": [null]})),
        ("1.5", json!({"vr": "CS", "Value": [""]})),
        ("1.6", json!({"vr": "CS", "Value": ["SR", "MR"]})),
    ]
}

fn pacs_with_studies() -> Pacs {
    let with_study = |pacs: Pacs, (uid, modalities): (&str, Value)| {
        pacs.with_study(
            Study::new(uid).attribute("00080061", modalities).attribute("00080090", json!({"vr": "PN"})),
        )
    };
    studies().into_iter().fold(Pacs::new(), with_study)
}

fn assert_without_empty_modalities(rows: &Value) {
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), studies().len());
    for (row, (uid, modalities)) in rows.iter().zip(studies()) {
        assert_eq!(row["0020000D"]["Value"][0], uid);
        let expected = matches!(uid, "1.3" | "1.6").then_some(modalities);
        assert_eq!(row.get("00080061"), expected.as_ref(), "{uid}");
        assert_eq!(row["00080090"], json!({"vr": "PN"}), "other empty attributes are not omitted: {uid}");
    }
}

#[tokio::test]
async fn empty_modalities_are_omitted_from_rows_of_studies_below_every_root() {
    let pacs = pacs_with_studies().start().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    for path in ["/dicom-web/main/studies", "/dicom-web/studies"] {
        assert_without_empty_modalities(&gateway.get_json(path).await);
    }
    let gateway_with_counts = RunningGateway::start(&pacs.url(), "synthesize = [\"counts\"]").await;
    assert_without_empty_modalities(&gateway_with_counts.get_json("/dicom-web/main/studies").await);
}

#[tokio::test]
async fn empty_modalities_are_computed_if_counts_are_synthesized() {
    let study = Study::new("1.2").attribute("00080061", json!({"vr": "CS"})).series("1.2.1", "CT", 1);
    let pacs = Pacs::new().with_study(study).start().await;
    let root = ArchiveRoot::start_with_config(&pacs.url(), "synthesize = [\"counts\"]").await;
    let rows = client::get(&root.url("studies")).await.json();
    assert_eq!(rows[0]["00080061"]["Value"], json!(["CT"]));
}

#[tokio::test]
async fn empty_modalities_are_omitted_from_compressed_rows_and_rows_in_small_chunks() {
    let rows: Value = studies()
        .into_iter()
        .map(|(uid, modalities)| {
            json!({
                "0020000D": {"vr": "UI", "Value": [uid]}, "00080061": modalities, "00080090": {"vr": "PN"},
            })
        })
        .collect();
    let response = CannedResponse::json(rows.to_string());
    let pause = std::time::Duration::from_millis(1);
    for response in [response.clone().gzip(), response.in_pieces(13, pause)] {
        let pacs = Pacs::new().with_response("/studies", response).start().await;
        let root = ArchiveRoot::start(&pacs).await;
        assert_without_empty_modalities(&client::get(&root.url("studies")).await.json());
    }
}
