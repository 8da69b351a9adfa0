//! Query values that must be percent-encoded, for archives that decode percent-escapes and for archives that do not.

use serde_json::{Value, json};

use crate::support::client::ReceivedResponse;
use crate::support::gateway::RunningGateway;
use crate::support::pacs::{CannedResponse, Framing, Pacs, QueryCondition, RunningPacs, Study};

async fn start(pacs: &RunningPacs, config: &str) -> RunningGateway {
    RunningGateway::start(&pacs.url(), config).await
}

fn studies(response: &ReceivedResponse) -> Vec<String> {
    assert_eq!(response.status, 200, "{}", response.text());
    let uid = |row: &Value| row["0020000D"]["Value"][0].as_str().unwrap().to_owned();
    response.json().as_array().unwrap().iter().map(uid).collect()
}

fn row(uid: &str, name: &str) -> Value {
    json!({
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": name}]},
        "0020000D": {"vr": "UI", "Value": [uid]},
    })
}

fn matches(name: &str, value: &str) -> Vec<(String, QueryCondition)> {
    vec![(name.to_owned(), QueryCondition::Equals(value.to_owned()))]
}

const ROOTS: [&str; 2] = ["/dicom-web/main/studies", "/dicom-web/studies"];

/// Starts an archive that does not decode percent-escapes, and returns several rows for a wide pattern.
async fn pacs_without_decoding() -> RunningPacs {
    let rows =
        json!([row("1.1", "Doe^Jane"), row("1.2", "Doe-J^X"), row("1.3", "DOE^John"), row("1.4", "Doe^J")]);
    Pacs::new()
        .with_conditional_response(
            "/studies",
            matches("PatientName", "Doe*J*"),
            CannedResponse::json(rows.to_string()),
        )
        .with_conditional_response(
            "/studies",
            matches("PatientName", "O*N*"),
            CannedResponse::json(json!([row("1.5", "O'Neill^A")]).to_string()),
        )
        .with_conditional_response(
            "/studies",
            matches("limit", "500"),
            CannedResponse::json(json!([row("1.6", "山田^太郎"), row("1.7", "Иванов^Иван")]).to_string()),
        )
        .with_fallback(CannedResponse::json("[]"))
        .start()
        .await
}

#[tokio::test]
async fn characters_that_need_no_escape_are_sent_unescaped() {
    for (received, sent) in [
        ("25%2F1807", "25/1807"),
        ("25/1807", "25/1807"),
        ("A(1)", "A(1)"),
        ("a%40b%3Ac%21%24", "a@b:c!$"),
        ("a%26b%2Bc%3Bd%3De%23%25", "a%26b%2Bc%3Bd%3De%23%25"),
    ] {
        let pacs = Pacs::new().with_fallback(CannedResponse::json("[]")).start().await;
        let gateway = start(&pacs, "").await;
        for root in ROOTS {
            assert_eq!(gateway.get(&format!("{root}?PatientID={received}&limit=5")).await.status, 200);
        }
        for target in pacs.targets() {
            assert!(target.contains(&format!("?PatientID={sent}&")), "{received}: {target}");
        }
    }
}

#[tokio::test]
async fn archives_that_do_not_decode_escapes_get_wider_queries_whose_rows_are_filtered() {
    let pacs = pacs_without_decoding().await;
    let gateway = start(&pacs, "profile = \"orthanc\"").await;
    for root in ROOTS {
        for (query, expected) in [
            ("PatientName=Doe%5EJ*", vec!["1.1", "1.3", "1.4"]),
            ("PatientName=Doe%5EJ*&limit=1&offset=1", vec!["1.3"]),
            ("PatientName=Doe%5EJ", vec!["1.4"]),
            ("PatientName=O%27N*", vec!["1.5"]),
            ("PatientName=%E5%B1%B1%E7%94%B0%5E*", vec!["1.6"]),
            ("PatientName=Unknown%5EX", vec![]),
        ] {
            assert_eq!(studies(&gateway.get(&format!("{root}?{query}")).await), expected, "{root}?{query}");
        }
    }
    assert!(pacs.targets().iter().all(|target| !target.contains('%')), "{:?}", pacs.targets());
}

#[tokio::test]
async fn fuzzy_matching_is_declined_with_a_warning_if_rows_are_filtered() {
    let pacs = pacs_without_decoding().await;
    let gateway = start(&pacs, "profile = \"orthanc\"").await;
    let response = gateway.get("/dicom-web/main/studies?PatientName=Doe%5EJ*&fuzzymatching=true").await;
    assert_eq!(studies(&response).len(), 3);
    assert!(response.header("warning").is_some_and(|warning| warning.contains("Only literal matching")));
}

#[tokio::test]
async fn queries_that_can_be_neither_sent_nor_filtered_are_rejected_with_the_reason() {
    let latin_1_row = json!([{
        "00080005": {"vr": "CS", "Value": ["ISO_IR 100"]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "^"}]},
        "0020000D": {"vr": "UI", "Value": ["1.1"]},
    }]);
    let pacs = Pacs::new().with_fallback(CannedResponse::json(latin_1_row.to_string())).start().await;
    let gateway = start(&pacs, "profile = \"orthanc\"").await;
    for root in ROOTS {
        for query in ["PatientName=%E5%B1%B1%E7%94%B0%5E*", "PatientName=Doe%5EJ,Roe%5ER", "PatientID=A%2B1"]
        {
            let response = gateway.get(&format!("{root}?{query}")).await;
            assert_eq!(response.status, 501, "{root}?{query}: {}", response.text());
            assert!(response.text().contains("does not decode percent-escapes"), "{}", response.text());
            assert!(!response.text().contains("Roe"), "{}", response.text());
        }
    }
}

#[tokio::test]
async fn filtering_more_rows_than_max_scan_is_rejected() {
    let study = |number: usize| Study::new(&format!("1.{}", number + 1)).patient("P1", "Roe^Richard");
    let pacs =
        (0..600).fold(Pacs::new().ignore_matching_keys(), |pacs, number| pacs.with_study(study(number)));
    let pacs = pacs.start().await;
    let gateway = start(&pacs, "profile = \"orthanc\"\n[search]\nmax_scan = 20\n").await;
    let response = gateway.get("/dicom-web/main/studies?PatientName=Doe%5EJane").await;
    assert_eq!(response.status, 413, "{}", response.text());
}

#[tokio::test]
async fn empty_search_responses_have_no_matches_unless_they_may_be_truncated() {
    for empty in [
        CannedResponse::json(""),
        CannedResponse::status(200),
        CannedResponse::json("").with_framing(Framing::Chunked),
        CannedResponse::status(204),
    ] {
        let pacs = Pacs::new().with_fallback(empty.clone()).start().await;
        let gateway = start(&pacs, "").await;
        for path in ["/dicom-web/main/studies", "/dicom-web/studies", "/dicom-web/main/studies/1.2/series"] {
            let response = gateway.get(path).await;
            assert_eq!((response.status, response.text().as_ref()), (200, "[]"), "{empty:?} {path}");
        }
        let bundle = gateway.get_json("/fhir/ImagingStudy?identifier=X").await;
        assert_eq!(bundle["total"], 0, "{empty:?}");
    }
    // Without framing that marks the end, such a body may have been truncated, and an empty web page is from another server.
    for unclear in [CannedResponse::json("").with_framing(Framing::UntilClose), CannedResponse::html("")] {
        let pacs = Pacs::new().with_fallback(unclear.clone()).start().await;
        let gateway = start(&pacs, "").await;
        for path in ["/dicom-web/main/studies", "/dicom-web/studies", "/fhir/ImagingStudy?identifier=X"] {
            assert_eq!(gateway.get(path).await.status, 502, "{unclear:?} {path}");
        }
    }
}
