//! Counts, modalities and accession numbers in the rows of the aggregate root for studies that several archives contain, and the
//! upstream searches that they need.

use serde_json::{Value, json};

use crate::support::client::ReceivedResponse;
use crate::support::distribution::start;
use crate::support::gateway::RunningGateway;
use crate::support::pacs::{CannedResponse, Pacs, RunningPacs, Study};

fn first_part() -> Study {
    Study::new("1.2").accession_number("A1").series("1.2.1", "CT", 2)
}

fn second_part() -> Study {
    Study::new("1.2").accession_number("A2").series("1.2.2", "SR", 1)
}

/// Returns the numbers of series and instances, the modalities and the accession number of the only row.
fn totals(response: &ReceivedResponse) -> Value {
    assert_eq!(response.status, 200, "{}", response.text());
    let rows = response.json();
    assert_eq!(rows.as_array().unwrap().len(), 1, "{rows}");
    let tags = ["00201206", "00201208", "00080061", "00080050"];
    tags.map(|tag| rows[0][tag]["Value"].clone()).into_iter().collect()
}

#[tokio::test]
async fn a_row_has_the_totals_of_the_union_even_if_the_search_finds_only_a_part() {
    let (gateway, _archives) =
        start(vec![Pacs::new().with_study(first_part()), Pacs::new().with_study(second_part())]).await;
    for (query, accession_number) in [
        ("", "A1"),
        ("?limit=1", "A1"),
        ("?StudyInstanceUID=1.2", "A1"),
        ("?AccessionNumber=A2", "A2"),
        ("?ModalitiesInStudy=SR", "A2"),
    ] {
        let response = gateway.get(&format!("/dicom-web/studies{query}")).await;
        let expected = json!([[2], [3], ["CT", "SR"], [accession_number]]);
        assert_eq!(totals(&response), expected, "{query}");
        assert!(!response.header("warning").unwrap_or_default().contains("too low"), "{query}");
    }
    let single = gateway.get("/dicom-web/main/studies").await;
    assert_eq!(
        totals(&single),
        json!([[1], [2], ["CT"], ["A1"]]),
        "the root of one archive returns its own rows"
    );
}

#[tokio::test]
async fn a_part_whose_series_cannot_be_read_is_reported_with_the_totals() {
    let failing = Pacs::new()
        .with_study(second_part())
        .with_study(Study::new("1.3").series("1.3.1", "CT", 1))
        .with_response("/studies/1.2/series", CannedResponse::status(500));
    let (gateway, _archives) = start(vec![Pacs::new().with_study(first_part()), failing]).await;
    let response = gateway.get("/dicom-web/studies?StudyInstanceUID=1.2").await;
    assert_eq!(totals(&response), json!([[1], [2], ["CT", "SR"], ["A1"]]), "the largest counts");
    assert!(
        response.header("warning").unwrap().contains("may be too low"),
        "{:?}",
        response.header("warning")
    );
    let other = gateway.get("/dicom-web/studies?StudyInstanceUID=1.3").await;
    assert_eq!((other.status, other.header("warning")), (200, None));
}

async fn start_with_limit(archives: [&str; 2]) -> RunningGateway {
    let config =
        format!("[search]\nmax_opened = 2\n[[archive]]\nid = \"second\"\nurl = \"{}\"\n", archives[1]);
    RunningGateway::start(archives[0], &config).await
}

#[tokio::test]
async fn only_studies_that_several_archives_contain_cause_additional_searches() {
    let study = |number: usize| Study::new(&format!("1.{number}")).series(&format!("1.{number}.1"), "CT", 1);
    let with_studies =
        |numbers: std::ops::Range<usize>| numbers.map(study).fold(Pacs::new(), Pacs::with_study);
    let (first, second) = (with_studies(0..5).start().await, with_studies(4..9).start().await);
    let gateway = start_with_limit([&first.url(), &second.url()]).await;
    assert_eq!(gateway.get_json("/dicom-web/studies").await.as_array().unwrap().len(), 9);
    let series_searches = |pacs: &RunningPacs| -> Vec<String> {
        let is_first_page = |target: &String| target.contains("/series?") && !target.contains("offset=");
        pacs.targets().into_iter().filter(is_first_page).collect()
    };
    for pacs in [&first, &second] {
        let searches = series_searches(pacs);
        assert_eq!(searches.len(), 1, "{searches:?}");
        assert!(searches[0].contains("/studies/1.4/series"), "{searches:?}");
    }
    gateway.get_json("/dicom-web/studies").await;
    assert_eq!(series_searches(&first).len(), 1, "the totals are cached");
    let third = with_studies(0..3).start().await;
    let gateway = start_with_limit([&first.url(), &third.url()]).await;
    let response = gateway.get("/dicom-web/studies").await;
    assert_eq!(response.status, 413, "{}", response.text());
    assert!(response.text().contains("ore than 2 studies"), "{}", response.text());
    assert_eq!(gateway.get("/dicom-web/studies?limit=2").await.status, 200);
}

#[tokio::test]
async fn rows_of_series_across_studies_have_the_counts_of_the_union() {
    let part = |numbers: [usize; 2]| Study::new("1.2").series_with_instances("1.2.1", "CT", numbers);
    let whole = Study::new("1.2").series("1.2.1", "CT", 3);
    let (gateway, _archives) =
        start(vec![Pacs::new().with_study(part([1, 2])), Pacs::new().with_study(whole)]).await;
    for list in ["studies/1.2/series", "series", "series?StudyInstanceUID=1.2", "series?Modality=CT"] {
        let rows = gateway.get_json(&format!("/dicom-web/{list}")).await;
        assert_eq!(rows[0]["00201209"]["Value"], json!([3]), "{list}");
        assert_eq!(rows.as_array().unwrap().len(), 1, "{list}");
    }
}

#[tokio::test]
async fn a_search_across_studies_with_rows_of_different_patients_is_an_error() {
    let study = |patient: &str| Study::new("1.2").patient(patient, "Doe^Jane").series("1.2.1", "CT", 1);
    let other = Study::new("1.3").series("1.3.1", "MR", 1);
    let (gateway, _archives) = start(vec![
        Pacs::new().with_study(study("P1")).with_study(other),
        Pacs::new().with_study(study("P2")),
    ])
    .await;
    for list in ["series", "instances", "series?StudyInstanceUID=1.2", "instances?SOPInstanceUID=1.2.1.1"] {
        let response = gateway.get(&format!("/dicom-web/{list}")).await;
        assert_eq!(response.status, 502, "{list}: {}", response.text());
        assert!(response.text().contains("different patients (archive-1, main)"), "{}", response.text());
    }
    for list in ["series?StudyInstanceUID=1.3", "instances?SeriesInstanceUID=1.3.1"] {
        let rows = gateway.get_json(&format!("/dicom-web/{list}")).await;
        assert_eq!(rows.as_array().unwrap().len(), 1, "{list}");
    }
}
