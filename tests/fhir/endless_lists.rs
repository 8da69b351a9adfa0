//! Lists and rows of archives that never end: the gateway stops reading, and closes the connection.

use serde_json::{Value, json};

use crate::support::gateway::RunningGateway;
use crate::support::pacs::{CannedResponse, Pacs, Study};

fn study() -> Study {
    Study::new("1.2.1").patient("P1", "Doe^Jane").study_date("20240131").series("1.2.1.1", "CT", 2)
}

/// Returns a list that repeats `row` endlessly.
fn endless_list(row: &str) -> CannedResponse {
    CannedResponse::endless_json(&format!("[{row}"), &format!(",{row}"))
}

#[tokio::test]
async fn an_endless_list_is_read_only_as_far_as_the_limits_permit() {
    // Rows without a UID do not count as repeated rows.
    let row = json!({"00100020": {"vr": "LO", "Value": ["P1"]}}).to_string();
    for (path, target, status) in [
        ("/studies", "/fhir/ImagingStudy", 400),
        ("/studies", "/fhir/Patient", 400),
        ("/studies/1.2.1/series", "/fhir/ImagingStudy/1.2.1", 502),
        ("/studies/1.2.1/series/1.2.1.1/instances", "/fhir/ImagingStudy/1.2.1", 502),
    ] {
        let pacs = Pacs::new()
            .with_study(study())
            .with_response("/studies/1.2.1/series/1.2.1.1/metadata", CannedResponse::status(404))
            .with_response(path, endless_list(&row))
            .start()
            .await;
        let limits =
            "profile = \"orthanc\"\n[search]\nmax_scan = 1000\nmax_series = 1000\nmax_instances = 1000\n";
        let gateway = RunningGateway::start(&pacs.url(), limits).await;
        let received = gateway.get(target).await;
        assert_eq!(received.status, status, "{path} {target}: {}", received.text());
        pacs.wait_until_idle().await;
    }
}

#[tokio::test]
async fn a_list_that_needs_too_much_memory_is_read_only_as_far_as_the_limit_permits() {
    let row = json!({"00081030": {"vr": "LO", "Value": ["x".repeat(10_000)]}}).to_string();
    let pacs = Pacs::new().with_response("/studies", endless_list(&row)).start().await;
    let gateway = RunningGateway::start(&pacs.url(), "[search]\nmax_scan_memory = \"1MiB\"\n").await;
    let received = gateway.get("/fhir/ImagingStudy").await;
    assert_eq!((received.status, &received.json()["issue"][0]["code"]), (400, &json!("too-costly")));
    assert!(received.text().contains("search.max_scan_memory"), "{}", received.text());
    pacs.wait_until_idle().await;
}

#[tokio::test]
async fn an_endless_row_causes_502() {
    for (beginning, repeated) in [
        ("[{\"00081030\":{\"vr\":\"LO\",\"Value\":[\"a\"", ",\"a\""),
        ("[{\"00081030\":{\"vr\":\"LO\",\"Value\":[\"a", "aaaaaaaa"),
        ("[{\"00080005\":{\"vr\":\"CS\"}", ",\"00081030\":{\"vr\":\"LO\",\"Value\":[\"a\"]}"),
    ] {
        for target in ["/fhir/ImagingStudy", "/dicom-web/studies"] {
            let pacs = Pacs::new()
                .with_response("/studies", CannedResponse::endless_json(beginning, repeated))
                .start()
                .await;
            let gateway = RunningGateway::start(&pacs.url(), "").await;
            let received = gateway.get(target).await;
            assert_eq!(received.status, 502, "{target} {beginning}: {}", received.text());
            pacs.wait_until_idle().await;
        }
    }
}

/// Each page overlaps the previous one, so a page that lacks the overlap shows that rows before it were removed.
#[tokio::test]
async fn a_list_that_became_shorter_between_two_pages_is_read_again() {
    let page = |numbers: std::ops::RangeInclusive<usize>| {
        let row = |number| json!({"0020000D": {"vr": "UI", "Value": [format!("1.2.{number}")]}});
        CannedResponse::json(Value::from(numbers.map(row).collect::<Vec<_>>()).to_string())
    };
    for second_page in [CannedResponse::json("[]"), CannedResponse::status(204), page(500..=500)] {
        // After the first page the gateway asks whether the list has more than max_scan rows.
        let has_no_more = CannedResponse::json("[]");
        let pages = [page(1..=500), has_no_more, second_page, page(1..=3), page(2..=3)];
        let pacs = Pacs::new().with_responses("/studies", pages).start().await;
        let gateway = RunningGateway::start(&pacs.url(), "profile = \"generic\"").await;
        let bundle = gateway.get_json("/fhir/ImagingStudy?_elements=id").await;
        assert_eq!(bundle["total"], 3, "{bundle}");
    }
}
