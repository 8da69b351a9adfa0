//! Errors of the FHIR API: OperationOutcomes with their status and code, which contain neither parameter values nor upstream URLs.

use serde_json::Value;

use crate::support::client;
use crate::support::gateway::{RunningGateway, resources_with_mode};

fn assert_outcome(received: &client::ReceivedResponse, status: u16, code: &str) -> Value {
    assert_eq!(received.status, status, "{}", received.text());
    assert!(received.header("content-type").unwrap().starts_with("application/fhir+json"));
    assert_eq!(received.header("cache-control"), Some("no-store"));
    assert!(received.header("x-request-id").is_some());
    let outcome = received.json();
    assert_eq!(outcome["resourceType"], "OperationOutcome");
    assert_eq!(outcome["issue"][0]["code"], code, "{outcome}");
    outcome
}

#[tokio::test]
async fn every_error_is_an_operation_outcome_with_its_status() {
    let gateway = RunningGateway::start_with_samples().await;
    for (path, status, code) in [
        ("/", 404, "not-found"),
        ("/fhir/ImagingStudy/1.2.3.4", 404, "not-found"),
        ("/fhir/ImagingStudy/abc", 404, "not-found"),
        ("/fhir/Patient/abc", 404, "not-found"),
        ("/fhir/Endpoint/abc", 404, "not-found"),
        ("/fhir/Endpoint/main/_history/99", 404, "not-found"),
        ("/fhir/ImagingStudy/a_b", 404, "not-found"),
        ("/fhir/$export", 404, "not-supported"),
        ("/fhir/Observation/1", 404, "not-supported"),
        ("/fhir/imagingstudy", 404, "not-supported"),
        ("/fhir/ImagingStudy/../metadata", 400, "invalid"),
        ("/fhir/ImagingStudy?_format=ttl", 406, "not-supported"),
        ("/fhir/ImagingStudy?started=2024-13-45", 400, "value"),
        ("/fhir/ImagingStudy?_count=abc", 400, "value"),
        ("/fhir/ImagingStudy?identifier=urn:oid:1.2.x", 400, "value"),
        ("/fhir/ImagingStudy?patient=%00", 400, "invalid"),
        ("/fhir/ImagingStudy?patient=%", 400, "invalid"),
        ("/fhir/ImagingStudy?modality:exact=CT", 400, "not-supported"),
        ("/fhir/ImagingStudy?patient:missing=perhaps", 400, "value"),
        ("/fhir/ImagingStudy?_query=mine", 400, "not-supported"),
    ] {
        assert_outcome(&gateway.get(path).await, status, code);
    }
    let turtle =
        gateway.get_with_headers("/fhir/ImagingStudy", &[("Accept", "application/fhir+turtle")]).await;
    assert_outcome(&turtle, 406, "not-supported");
    let delete = client::send("DELETE", &format!("{}/fhir/ImagingStudy/1.2", gateway.base_url()), &[]).await;
    assert_outcome(&delete, 405, "not-supported");
    assert_eq!(delete.header("allow"), Some("GET, HEAD, OPTIONS"));
    let long_url = gateway.get(&format!("/fhir/ImagingStudy?identifier={}", "x".repeat(50_000))).await;
    assert_eq!(long_url.status, 414);
    assert_eq!(long_url.json()["resourceType"], "OperationOutcome");
    let url = format!("{}/fhir/ImagingStudy/_search", gateway.base_url());
    let form = "application/x-www-form-urlencoded";
    assert_outcome(
        &client::post(&url, form, &format!("identifier={}", "x".repeat(70_000))).await,
        413,
        "too-long",
    );
    assert_outcome(
        &client::post(&url, form, &format!("identifier={}", "x".repeat(50_000))).await,
        400,
        "too-long",
    );
    assert_outcome(&client::post(&url, "application/json", "{}").await, 415, "not-supported");
}

#[tokio::test]
async fn errors_name_the_parameter_and_never_its_value() {
    let gateway = RunningGateway::start_with_samples().await;
    let received = gateway.get("/fhir/ImagingStudy?started=Doe-Jane-1970&_count=secret").await;
    let outcome = assert_outcome(&received, 400, "value");
    let issues = outcome["issue"].as_array().unwrap();
    assert_eq!(issues.len(), 2, "the errors of both parameters are not reported together");
    assert_eq!(issues[0]["expression"][0], "http.started");
    assert_eq!(issues[1]["expression"][0], "http._count");
    assert!(!received.text().contains("Doe") && !received.text().contains("secret"));
}

#[tokio::test]
async fn unknown_parameters_are_ignored_with_a_warning_or_rejected_if_handling_is_strict() {
    let gateway = RunningGateway::start_with_samples().await;
    let lenient = gateway.get_json("/fhir/ImagingStudy?_count=1&favorite=yes").await;
    assert!(!lenient["link"].to_string().contains("favorite"));
    let outcome = &resources_with_mode(&lenient, "outcome")[0];
    assert_eq!(outcome["issue"][0]["severity"], "warning");
    assert!(outcome.to_string().contains("favorite"));
    let strict = gateway
        .get_with_headers("/fhir/ImagingStudy?favorite=yes", &[("Prefer", "return=minimal, handling=strict")])
        .await;
    assert_outcome(&strict, 400, "not-supported");
}

#[tokio::test]
async fn an_unreachable_archive_causes_503_and_never_an_empty_bundle() {
    let gateway = RunningGateway::start("http://127.0.0.1:9/dicom-web", "").await;
    for path in [
        "/fhir/ImagingStudy",
        "/fhir/ImagingStudy/1.2.3",
        "/fhir/Patient?name=a",
        "/fhir/ImagingStudy?patient.identifier=a",
    ] {
        let received = gateway.get(path).await;
        let outcome = assert_outcome(&received, 503, "transient");
        assert!(received.header("retry-after").is_some());
        let text = outcome.to_string();
        assert!(
            text.contains("Archive main") && !text.contains("127.0.0.1") && !text.contains(":9/"),
            "{text}"
        );
    }
    let dicomweb_response = gateway.get("/dicom-web/main/studies").await;
    assert_eq!(dicomweb_response.status, 503);
    assert!(!dicomweb_response.text().contains("127.0.0.1"));
}
