//! Modalities and counts of studies and series, for archives that leave them out.

use serde_json::{Value, json};

use crate::support::client::{self, Received};
use crate::support::front::Front;
use crate::support::gateway::RunningGateway;
use crate::support::pacs::{Answer, Pacs, Study};

const SUPPLIED: &str = "synthesize = [\"counts\"]";

fn row(elements: &[(&str, &str)]) -> Value {
    elements.iter().map(|(tag, value)| ((*tag).to_owned(), json!({"vr": "UI", "Value": [value]}))).collect()
}

fn list(rows: impl IntoIterator<Item = Value>) -> Answer {
    Answer::json(Value::from_iter(rows).to_string())
}

/// An archive as DICOM-RST before dcmqrscp: nothing is counted, and instances are found in series only.
fn reticent() -> Pacs {
    let series = |uid: &str, modality: &str| row(&[("0020000E", uid), ("00080060", modality)]);
    let instances = |uids: &[&str]| list(uids.iter().map(|uid| row(&[("00080018", uid)])));
    Pacs::new()
        .at("/studies", list(["1.2", "1.3", "1.4"].map(|uid| row(&[("0020000D", uid)]))))
        .at(
            "/studies/1.2/series",
            list([series("1.2.1", "CT"), series("1.2.2", "SR"), series("1.2.3", "CT")]),
        )
        .at("/studies/1.2/series/1.2.1/instances", instances(&["1.2.1.1", "1.2.1.2"]))
        .at("/studies/1.2/series/1.2.2/instances", instances(&["1.2.2.1", "1.2.2.1"]))
        .at("/studies/1.2/series/1.2.3/instances", instances(&["1.2.3.1"]))
        .at("/studies/1.3/series", list([series("1.3.1", "MR"), series("1.3.2", "MR")]))
        .at("/studies/1.3/series/1.3.1/instances", instances(&["1.3.1.1"]))
        .at("/studies/1.3/series/1.3.2/instances", Answer::json("[]"))
        .at("/studies/1.4/series", Answer::json("[]"))
}

fn value(row: &Value, tag: &str) -> Value {
    row[tag].get("Value").cloned().unwrap_or_default()
}

fn rows(answer: &Received) -> Vec<Value> {
    assert_eq!((answer.status, answer.complete), (200, true), "{}", answer.text());
    answer.json().as_array().unwrap().clone()
}

#[tokio::test]
async fn studies_and_series_are_counted_as_far_as_it_can_be_found_out() {
    let pacs = reticent().start().await;
    let front = Front::told(&pacs.url(), SUPPLIED).await;
    let studies = rows(&client::get(&front.url("studies")).await);
    let told = |row: &Value| ["0020000D", "00080061", "00201206", "00201208"].map(|tag| value(row, tag));
    assert_eq!(
        studies.iter().map(told).collect::<Vec<_>>(),
        [
            [json!(["1.2"]), json!(["CT", "SR"]), json!([3]), json!([4])],
            [json!(["1.3"]), json!(["MR"]), json!([2]), Value::Null],
            [json!(["1.4"]), Value::Null, Value::Null, Value::Null],
        ]
    );
    let series = rows(&client::get(&front.url("studies/1.2/series")).await);
    let counts: Vec<_> = series.iter().map(|row| value(row, "00201209")).collect();
    assert_eq!(counts, [json!([2]), json!([1]), json!([1])]);
}

#[tokio::test]
async fn what_an_archive_tells_is_not_searched_for() {
    let pacs = Pacs::new().study(Study::new("1.2").series("1.2.1", "CT", 2)).start().await;
    let (plain, front) = (Front::of(&pacs).await, Front::told(&pacs.url(), SUPPLIED).await);
    for target in ["studies", "studies/1.2/series", "studies/1.2/series/1.2.1/instances"] {
        let before = pacs.targets().len();
        let answer = client::get(&front.url(target)).await;
        assert_eq!(pacs.targets().len(), before + 1, "{target}");
        assert_eq!(answer.text(), client::get(&plain.url(target)).await.text(), "{target}");
    }
}

#[tokio::test]
async fn nothing_is_found_by_what_the_archive_does_not_know() {
    let pacs = reticent().start().await;
    let front = Front::told(&pacs.url(), SUPPLIED).await;
    for target in [
        "studies?ModalitiesInStudy=CT",
        "studies?00201206=3",
        "studies?NumberOfStudyRelatedInstances=4",
        "studies/1.2/series?NumberOfSeriesRelatedInstances=1",
    ] {
        let answer = client::get(&front.url(target)).await;
        assert_eq!(answer.status, 501, "{target}: {}", answer.text());
    }
    assert_eq!(pacs.targets(), [""; 0]);
    assert_eq!(client::get(&front.url("studies?includefield=ModalitiesInStudy")).await.status, 200);
    let gateway = RunningGateway::over(&pacs.url(), SUPPLIED).await;
    assert_eq!(gateway.get("/dicom-web/studies?ModalitiesInStudy=CT").await.status, 501);
}

#[tokio::test]
async fn more_than_may_be_opened_is_too_costly() {
    let pacs = reticent().start().await;
    for (most, status) in [(2, 413), (5, 413), (8, 200)] {
        let lines = format!("{SUPPLIED}\n[search]\nmax_opened = {most}");
        let front = Front::told(&pacs.url(), &lines).await;
        let answer = client::get(&front.url("studies")).await;
        assert_eq!(answer.status, status, "{most}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_search_that_fails_fails_the_list() {
    for failure in [Answer::status(500), Answer::json("[{\"a\":"), Answer::html("<html>")] {
        let pacs = Pacs::new()
            .at("/studies", list([row(&[("0020000D", "1.2")])]))
            .at("/studies/1.2/series", failure.clone())
            .start()
            .await;
        let front = Front::told(&pacs.url(), SUPPLIED).await;
        let answer = client::get(&front.url("studies")).await;
        assert_eq!(answer.status, 502, "{failure:?}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_uid_of_two_patients_is_not_counted() {
    let of = |patient: &str| row(&[("0020000D", "1.2"), ("00100020", patient)]);
    for (second, counted) in [("P1", true), ("P2", false)] {
        let pacs = Pacs::new()
            .at("/studies", list([of("P1"), of(second)]))
            .at("/studies/1.2/series", list([row(&[("0020000E", "1.2.1"), ("00080060", "CT")])]))
            .at("/studies/1.2/series/1.2.1/instances", list([row(&[("00080018", "1.2.1.1")])]))
            .start()
            .await;
        let front = Front::told(&pacs.url(), SUPPLIED).await;
        let rows = rows(&client::get(&front.url("studies")).await);
        let expected = if counted { json!([1]) } else { Value::Null };
        assert!(rows.iter().all(|row| value(row, "00201208") == expected), "{second}: {rows:?}");
        assert_eq!(rows.len(), 2);
    }
}

#[tokio::test]
async fn a_page_of_several_archives_is_counted_too() {
    let first = reticent().start().await;
    let second = Pacs::new().study(Study::new("2.1").series("2.1.1", "US", 7)).start().await;
    let more = format!("{SUPPLIED}\n[[archive]]\nid = \"second\"\nurl = \"{}\"\n", second.url());
    let gateway = RunningGateway::over(&first.url(), &more).await;
    let rows = rows(&gateway.get("/dicom-web/studies?limit=3").await);
    let told = |row: &Value| ["0020000D", "00201206"].map(|tag| value(row, tag));
    assert_eq!(
        rows.iter().map(told).collect::<Vec<_>>(),
        [[json!(["1.2"]), json!([3])], [json!(["2.1"]), json!([1])], [json!(["1.3"]), json!([2])]]
    );
}
