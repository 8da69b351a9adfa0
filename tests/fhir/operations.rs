//! Operations by POST (R4 operations.html). Their responses equal the responses to the same operations by GET.

use serde_json::{Value, json};

use crate::support::client::{self, ReceivedResponse};
use crate::support::gateway::{RunningGateway, link_url};

const FHIR_JSON: &str = "application/fhir+json";

/// Returns the reference to the patient with the most studies.
async fn patient_with_most_studies(gateway: &RunningGateway) -> String {
    let (studies, _) = gateway.search("/fhir/ImagingStudy?_count=100&_elements=subject").await;
    let mut patients: Vec<_> =
        studies.iter().map(|study| study["subject"]["reference"].as_str().unwrap().to_owned()).collect();
    patients.sort();
    let study_count = |patient: &String| patients.iter().filter(|other| *other == patient).count();
    patients.iter().max_by_key(|patient| study_count(patient)).unwrap().clone()
}

async fn post(gateway: &RunningGateway, path: &str, content_type: &str, body: &str) -> ReceivedResponse {
    client::post(&format!("{}{path}", gateway.base_url()), content_type, body).await
}

fn parameters_resource(parameter: &Value) -> String {
    json!({"resourceType": "Parameters", "parameter": parameter}).to_string()
}

#[tokio::test]
async fn everything_by_post_equals_everything_by_get() {
    let gateway = RunningGateway::start_with_samples().await;
    let path = format!("/fhir/{}/$everything", patient_with_most_studies(&gateway).await);
    let get_response = gateway.get_json(&path).await;
    assert!(get_response["total"].as_u64().unwrap() > 3, "{get_response}");
    for (content_type, body) in [
        (FHIR_JSON, ""),
        ("application/x-www-form-urlencoded", ""),
        (FHIR_JSON, r#"{"resourceType":"Parameters"}"#),
        ("application/json; charset=utf-8", r#"{"resourceType":"Parameters","parameter":[]}"#),
    ] {
        let post_response = post(&gateway, &path, content_type, body).await;
        assert_eq!((post_response.status, post_response.json()), (200, get_response.clone()), "{body}");
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
        let get_page = gateway.get_json(&format!("{path}?{query}")).await;
        let post_response = post(&gateway, &path, FHIR_JSON, &parameters_resource(&parameter)).await;
        // Each encryption of the same cursor results in a different text.
        let without_cursor = |mut bundle: Value| {
            bundle["link"].as_array_mut().unwrap().retain(|link| link["relation"] != "next");
            bundle
        };
        assert_eq!(without_cursor(post_response.json()), without_cursor(get_page), "{query}");
        if let Some(next) = link_url(&post_response.json(), "next") {
            let next = next.strip_prefix(gateway.base_url()).unwrap().to_owned();
            assert_eq!(gateway.get(&next).await.status, 200, "{next}");
        }
    }
    let type_parameter = parameters_resource(&json!([{"name": "_type", "valueCode": "ImagingStudy"}]));
    let page = post(&gateway, &format!("{path}?_count=1"), FHIR_JSON, &type_parameter).await.json();
    assert_eq!(
        (page["total"].as_u64(), page["entry"].as_array().unwrap().len()),
        (get_response["total"].as_u64().map(|total| total - 2), 1)
    );
}

#[tokio::test]
async fn everything_by_post_in_a_batch_equals_everything_by_get() {
    let gateway = RunningGateway::start_with_samples().await;
    let url = format!("{}/$everything", patient_with_most_studies(&gateway).await);
    let entry = |resource: Option<Value>| {
        let mut entry = json!({"request": {"method": "POST", "url": url}});
        if let Some(resource) = resource {
            entry["resource"] = resource;
        }
        entry
    };
    let valid =
        json!({"resourceType": "Parameters", "parameter": [{"name": "_type", "valueCode": "Patient"}]});
    let with_unknown_parameter =
        json!({"resourceType": "Parameters", "parameter": [{"name": "favorite", "valueCode": "x"}]});
    let entries = json!([
        entry(None),
        entry(Some(valid)),
        entry(Some(with_unknown_parameter)),
        entry(Some(json!({"resourceType": "Patient"})))
    ]);
    let batch = json!({"resourceType": "Bundle", "type": "batch", "entry": entries});
    let responses = post(&gateway, "/fhir", FHIR_JSON, &batch.to_string()).await.json()["entry"].take();
    let statuses: Vec<_> = (0..4)
        .map(|index| responses[index]["response"]["status"].as_str().unwrap()[..3].to_owned())
        .collect();
    assert_eq!(statuses, ["200", "200", "400", "400"]);
    assert_eq!(responses[0]["resource"], gateway.get_json(&format!("/fhir/{url}")).await);
    assert_eq!(responses[1]["resource"], gateway.get_json(&format!("/fhir/{url}?_type=Patient")).await);
}

#[tokio::test]
async fn invalid_parameters_of_everything_are_rejected_in_the_body_as_in_the_query() {
    let gateway = RunningGateway::start_with_samples().await;
    let path = format!("/fhir/{}/$everything", patient_with_most_studies(&gateway).await);
    for (query, parameter) in [
        ("favorite=yes", json!([{"name": "favorite", "valueString": "yes"}])),
        ("start=ge2024", json!([{"name": "start", "valueString": "ge2024"}])),
        ("_since=yesterday", json!([{"name": "_since", "valueString": "yesterday"}])),
        ("_type=endpoint", json!([{"name": "_type", "valueCode": "endpoint"}])),
        ("_count=-1", json!([{"name": "_count", "valueInteger": -1}])),
    ] {
        let get_response = gateway.get(&format!("{path}?{query}")).await;
        let post_response = post(&gateway, &path, FHIR_JSON, &parameters_resource(&parameter)).await;
        assert_eq!((post_response.status, post_response.json()), (400, get_response.json()), "{query}");
    }
    for (content_type, body, status) in [
        (FHIR_JSON, "{", 400),
        (FHIR_JSON, r#"{"resourceType":"Patient"}"#, 400),
        (FHIR_JSON, r#"{"resourceType":"Parameters","parameter":[{"name":"start"}]}"#, 400),
        ("application/fhir+xml", r#"<Parameters xmlns="http://hl7.org/fhir"/>"#, 415),
        ("application/x-www-form-urlencoded", "_count=1", 415),
        ("application/fhir+json; fhirVersion=3.0", r#"{"resourceType":"Parameters"}"#, 415),
    ] {
        let post_response = post(&gateway, &path, content_type, body).await;
        assert_eq!(
            (post_response.status, &post_response.json()["resourceType"]),
            (status, &json!("OperationOutcome")),
            "{body}"
        );
    }
    let url = format!("{}{path}", gateway.base_url());
    let put = client::send("PUT", &url, &[]).await;
    assert_eq!((put.status, put.header("allow")), (405, Some("GET, HEAD, OPTIONS, POST")));
    assert_eq!(post(&gateway, "/fhir/Patient/nobody/$everything", FHIR_JSON, "").await.status, 404);
}
