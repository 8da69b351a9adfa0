//! Operations by POST (R4 operations.html): they give what the same call by GET gives.

use serde_json::{Value, json};

use crate::support::client::{self, ReceivedResponse};
use crate::support::gateway::{RunningGateway, link_url};

const FHIR_JSON: &str = "application/fhir+json";

/// `Patient/{id}` with the most studies.
async fn busiest(gateway: &RunningGateway) -> String {
    let (studies, _) = gateway.search("/fhir/ImagingStudy?_count=100&_elements=subject").await;
    let mut patients: Vec<_> =
        studies.iter().map(|study| study["subject"]["reference"].as_str().unwrap().to_owned()).collect();
    patients.sort();
    let count = |patient: &String| patients.iter().filter(|other| *other == patient).count();
    patients.iter().max_by_key(|patient| count(patient)).unwrap().clone()
}

async fn post(gateway: &RunningGateway, path: &str, content_type: &str, body: &str) -> ReceivedResponse {
    client::post(&format!("{}{path}", gateway.base_url()), content_type, body).await
}

fn parameters(parameter: &Value) -> String {
    json!({"resourceType": "Parameters", "parameter": parameter}).to_string()
}

#[tokio::test]
async fn everything_by_post_equals_everything_by_get() {
    let gateway = RunningGateway::start_with_samples().await;
    let path = format!("/fhir/{}/$everything", busiest(&gateway).await);
    let whole = gateway.get_json(&path).await;
    assert!(whole["total"].as_u64().unwrap() > 3, "{whole}");
    for (content_type, body) in [
        (FHIR_JSON, ""),
        ("application/x-www-form-urlencoded", ""),
        (FHIR_JSON, r#"{"resourceType":"Parameters"}"#),
        ("application/json; charset=utf-8", r#"{"resourceType":"Parameters","parameter":[]}"#),
    ] {
        let posted = post(&gateway, &path, content_type, body).await;
        assert_eq!((posted.status, posted.json()), (200, whole.clone()), "{body}");
    }
    for (query, parameter) in [
        ("_count=2", json!([{"name": "_count", "valueInteger": 2}])),
        ("_type=ImagingStudy", json!([{"name": "_type", "valueCode": "ImagingStudy"}])),
        (
            "start=2000-01-01&end=2023-12-31",
            json!([{"name": "start", "valueDate": "2000-01-01"}, {"name": "end", "valueDate": "2023-12-31"}]),
        ),
        ("_since=2999-01-01T00:00:00Z", json!([{"name": "_since", "valueInstant": "2999-01-01T00:00:00Z"}])),
        ("_count=0", json!([{"name": "_count", "valueString": "0"}])),
    ] {
        let got = gateway.get_json(&format!("{path}?{query}")).await;
        let posted = post(&gateway, &path, FHIR_JSON, &parameters(&parameter)).await;
        // A sealed cursor is another text each time.
        let without_cursor = |mut bundle: Value| {
            bundle["link"].as_array_mut().unwrap().retain(|link| link["relation"] != "next");
            bundle
        };
        assert_eq!(without_cursor(posted.json()), without_cursor(got), "{query}");
        if let Some(next) = link_url(&posted.json(), "next") {
            let next = next.strip_prefix(gateway.base_url()).unwrap().to_owned();
            assert_eq!(gateway.get(&next).await.status, 200, "{next}");
        }
    }
    let mixed = parameters(&json!([{"name": "_type", "valueCode": "ImagingStudy"}]));
    let mixed = post(&gateway, &format!("{path}?_count=1"), FHIR_JSON, &mixed).await.json();
    assert_eq!(
        (mixed["total"].as_u64(), mixed["entry"].as_array().unwrap().len()),
        (whole["total"].as_u64().map(|total| total - 2), 1)
    );
}

#[tokio::test]
async fn everything_by_post_in_a_batch_equals_everything_by_get() {
    let gateway = RunningGateway::start_with_samples().await;
    let url = format!("{}/$everything", busiest(&gateway).await);
    let entry = |resource: Option<Value>| {
        let mut entry = json!({"request": {"method": "POST", "url": url}});
        if let Some(resource) = resource {
            entry["resource"] = resource;
        }
        entry
    };
    let typed =
        json!({"resourceType": "Parameters", "parameter": [{"name": "_type", "valueCode": "Patient"}]});
    let unknown =
        json!({"resourceType": "Parameters", "parameter": [{"name": "favourite", "valueCode": "x"}]});
    let entries = json!([
        entry(None),
        entry(Some(typed)),
        entry(Some(unknown)),
        entry(Some(json!({"resourceType": "Patient"})))
    ]);
    let batch = json!({"resourceType": "Bundle", "type": "batch", "entry": entries});
    let answers = post(&gateway, "/fhir", FHIR_JSON, &batch.to_string()).await.json()["entry"].take();
    let statuses: Vec<_> =
        (0..4).map(|index| answers[index]["response"]["status"].as_str().unwrap()[..3].to_owned()).collect();
    assert_eq!(statuses, ["200", "200", "400", "400"]);
    assert_eq!(answers[0]["resource"], gateway.get_json(&format!("/fhir/{url}")).await);
    assert_eq!(answers[1]["resource"], gateway.get_json(&format!("/fhir/{url}?_type=Patient")).await);
}

#[tokio::test]
async fn invalid_parameters_of_everything_are_rejected_in_the_body_as_in_the_query() {
    let gateway = RunningGateway::start_with_samples().await;
    let path = format!("/fhir/{}/$everything", busiest(&gateway).await);
    for (query, parameter) in [
        ("favourite=yes", json!([{"name": "favourite", "valueString": "yes"}])),
        ("start=ge2024", json!([{"name": "start", "valueString": "ge2024"}])),
        ("_since=yesterday", json!([{"name": "_since", "valueString": "yesterday"}])),
        ("_type=endpoint", json!([{"name": "_type", "valueCode": "endpoint"}])),
        ("_count=-1", json!([{"name": "_count", "valueInteger": -1}])),
    ] {
        let got = gateway.get(&format!("{path}?{query}")).await;
        let posted = post(&gateway, &path, FHIR_JSON, &parameters(&parameter)).await;
        assert_eq!((posted.status, posted.json()), (400, got.json()), "{query}");
    }
    for (content_type, body, status) in [
        (FHIR_JSON, "{", 400),
        (FHIR_JSON, r#"{"resourceType":"Patient"}"#, 400),
        (FHIR_JSON, r#"{"resourceType":"Parameters","parameter":[{"name":"start"}]}"#, 400),
        ("application/fhir+xml", r#"<Parameters xmlns="http://hl7.org/fhir"/>"#, 415),
        ("application/x-www-form-urlencoded", "_count=1", 415),
        ("application/fhir+json; fhirVersion=3.0", r#"{"resourceType":"Parameters"}"#, 415),
    ] {
        let posted = post(&gateway, &path, content_type, body).await;
        assert_eq!(
            (posted.status, &posted.json()["resourceType"]),
            (status, &json!("OperationOutcome")),
            "{body}"
        );
    }
    let url = format!("{}{path}", gateway.base_url());
    let put = client::send("PUT", &url, &[]).await;
    assert_eq!((put.status, put.header("allow")), (405, Some("GET, HEAD, OPTIONS, POST")));
    assert_eq!(post(&gateway, "/fhir/Patient/nobody/$everything", FHIR_JSON, "").await.status, 404);
}
