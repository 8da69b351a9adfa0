//! Invalid requests and failing archives. Every FHIR interaction returns an error status and an OperationOutcome that names the
//! parameter or the archive, without PHI, credentials and upstream URLs.

use std::time::Duration;

use serde_json::Value;

use crate::support::client::ReceivedResponse;
use crate::support::gateway::RunningGateway;
use crate::support::pacs::{CannedResponse, Framing, Pacs};

/// The paths of FHIR requests that cause upstream requests of every kind.
const PATHS: [&str; 6] = [
    "/fhir/ImagingStudy",
    "/fhir/ImagingStudy?patient.identifier=P1",
    "/fhir/ImagingStudy?_summary=count",
    "/fhir/ImagingStudy/1.2.3",
    "/fhir/Patient?identifier=P1",
    "/fhir/Patient?name=Doe",
];

/// Returns the issue of an OperationOutcome; panics with `context` if the response is not an OperationOutcome with an error.
fn error_issue(received: &ReceivedResponse, context: &str) -> Value {
    let outcome = received.json();
    assert_eq!(outcome["resourceType"], "OperationOutcome", "{context}");
    assert_eq!(outcome["issue"][0]["severity"], "error", "{context}: {outcome}");
    outcome["issue"][0].clone()
}

#[tokio::test]
async fn invalid_values_are_rejected_with_400_and_the_name_of_the_parameter() {
    let gateway = RunningGateway::start_with_samples().await;
    let too_long = format!("identifier={}", "1".repeat(5_000));
    for (query, parameter) in [
        ("ImagingStudy?started=2024-13-45", "started"),
        ("ImagingStudy?started=2023-02-29", "started"),
        ("ImagingStudy?started=yesterday", "started"),
        ("ImagingStudy?started=ge", "started"),
        ("ImagingStudy?started=2024-01-01T25:00:00Z", "started"),
        ("ImagingStudy?started=2024-01-01,x", "started"),
        ("ImagingStudy?_count=abc", "_count"),
        ("ImagingStudy?_count=-1", "_count"),
        ("ImagingStudy?_count=1.5", "_count"),
        ("ImagingStudy?identifier=urn:oid:1.2.x", "identifier"),
        ("ImagingStudy?identifier=urn:dicom:uid%7Curn:oid:1..2", "identifier"),
        ("ImagingStudy?_summary=some", "_summary"),
        (&too_long, "identifier"),
        ("Patient?birthdate=2024-00", "birthdate"),
        ("Patient?birthdate=31.01.2024", "birthdate"),
        ("Patient?_count=%20", "_count"),
        ("Endpoint?_count=abc", "_count"),
    ] {
        let query = if query.contains('?') { query.to_owned() } else { format!("ImagingStudy?{query}") };
        let received = gateway.get(&format!("/fhir/{query}")).await;
        assert_eq!(received.status, 400, "{query}: {}", received.text());
        assert_eq!(error_issue(&received, &query)["expression"][0], format!("http.{parameter}"), "{query}");
    }
    assert_eq!(gateway.upstream_request_count("search"), 0, "an invalid request caused an upstream request");
}

#[tokio::test]
async fn invalid_percent_escapes_and_utf8_are_rejected_with_400() {
    let gateway = RunningGateway::start_with_samples().await;
    for query in
        ["identifier=%00", "identifier=%", "identifier=%zz", "identifier=%FF", "patient=%C3%28", "%00=1"]
    {
        for resource in ["ImagingStudy", "Patient", "Endpoint"] {
            let received = gateway.get(&format!("/fhir/{resource}?{query}")).await;
            assert_eq!(received.status, 400, "{resource}?{query}: {}", received.text());
            error_issue(&received, query);
        }
    }
}

#[tokio::test]
async fn failures_of_an_archive_are_reported_as_upstream_errors() {
    let compressed_response = |body: Vec<u8>| CannedResponse::bytes("application/dicom+json", body).gzip();
    let mut truncated = b"[{\"0020000D\":{\"vr\":\"UI\",\"Value\":[\"1.2.3\"]}}]".to_vec();
    truncated.truncate(30);
    let page = "<!doctype html><title>Doe^Jane at secret.example</title>";
    for (response, statuses) in [
        (CannedResponse::html(page), [502, 502]),
        (CannedResponse::bytes("application/dicom+json", page), [502, 502]),
        (CannedResponse::json("").with_framing(Framing::UntilClose), [502, 502]),
        (CannedResponse::json("500"), [502, 502]),
        (CannedResponse::json("\"Doe^Jane\""), [502, 502]),
        (CannedResponse::json("[null]"), [502, 502]),
        (CannedResponse::bytes("application/dicom+json", truncated.clone()), [502, 502]),
        (compressed_response(truncated), [502, 502]),
        (CannedResponse::bytes("text/html", page).with_status(404), [502, 502]),
        (CannedResponse::bytes("text/plain", "Doe^Jane").with_status(500), [502, 503]),
        (CannedResponse::status(501), [502, 503]),
        (CannedResponse::status(503), [502, 503]),
        (CannedResponse::status(301).header("Location", "http://secret.example/"), [502, 502]),
        (CannedResponse::status(307).header("Location", "/dicom-web/studies?secret"), [502, 502]),
        (CannedResponse::raw("secret\r\n\r\n"), [502, 503]),
        (CannedResponse::connection_closed(), [502, 503]),
        (CannedResponse::never_sent(), [504, 504]),
        (CannedResponse::json("[{}]").stall_after(1), [504, 504]),
        (CannedResponse::json("[]").with_delay(Duration::from_hours(1)), [504, 504]),
    ] {
        let pacs = Pacs::new().with_fallback(response.clone()).start().await;
        // The deadline is short only if the archive does not respond: a busy machine may need more time for other responses.
        let deadline = if statuses[0] == 504 { "timeout = \"300ms\"" } else { "" };
        let gateway = RunningGateway::start(&pacs.url(), deadline).await;
        for path in PATHS {
            let received = gateway.get(path).await;
            let context = format!("{path}: {} {}", received.status, received.text());
            // Several consecutive failures open the circuit breaker, which causes 503.
            assert!(statuses.contains(&received.status) || received.status == 503, "{context}, {statuses:?}");
            assert!(received.status != 503 || received.header("retry-after").is_some(), "{context}");
            let issue = error_issue(&received, &context);
            assert!(issue["diagnostics"].as_str().unwrap().contains("Archive main"), "{context}");
            for hidden in ["Doe", "secret", "127.0.0.1", &pacs.authority()] {
                assert!(!received.text().contains(hidden), "the response contains {hidden}: {context}");
            }
        }
    }
}

#[tokio::test]
async fn rows_with_deviating_json_are_read() {
    for row in [
        r#"{"0020000D":{"vr":"UI","Value":["1.2.3"]},"00100020":{"vr":"LO","Value":["P1"]}}"#,
        r#"{"0020000d":{"Value":["1.2.3"]},"00100020":{"Value":["P1"]}}"#,
        r#"{"StudyInstanceUID":{"vr":"UI","Value":["1.2.3"]},"PatientID":{"vr":"LO","Value":["P1"]}}"#,
        r#"{"0020000D":{"vr":"UI","Value":["1.2.3 "]},"00100020":{"vr":"LO","Value":[" P1 "]},"00100010":null}"#,
        r#"{"0020000D":{"vr":"UI","Value":["1.2.3",null]},"00100020":{"vr":"LO","Value":["P1"]},"00100010":{"vr":"PN","Value":[null]},"00080020":{"vr":"DA","Value":[null]}}"#,
        r#"{"0020000D":{"vr":"UI","Value":["1.2.3"]},"00100020":{"vr":"LO","Value":["P1"]},"00201208":{"vr":"IS","Value":["4 "]},"00201206":{"vr":"DS","Value":1.0}}"#,
        r#"{"0020000D":{"vr":"UI","Value":["1.2.3"],"more":{"a":[1]}},"00100020":{"vr":"LO","Value":["P1"]},"link":["x"],"":{}}"#,
        r#"{"0020000D":{"vr":"UI","Value":["1.2.3"]},"00100020":{"vr":"LO","Value":["P1"]},"00100010":{"vr":"PN","Value":[{"Alphabetic":"D"#,
    ] {
        let mut body = format!("[{row}").into_bytes();
        if row.ends_with('D') {
            // These bytes are Latin-1 instead of UTF-8.
            body.extend_from_slice(b"\xfc\xff^J\"}]}}");
        }
        body.extend_from_slice(b"]");
        let pacs = Pacs::new()
            .with_response("/studies", CannedResponse::bytes("application/json", body))
            .start()
            .await;
        let gateway = RunningGateway::start(&pacs.url(), "profile = \"orthanc\"").await;
        let bundle = gateway.get_json("/fhir/ImagingStudy?patient.identifier=P1&_elements=id").await;
        assert_eq!(bundle["total"], 1, "{row}");
        assert_eq!(bundle["entry"][0]["resource"]["id"], "1.2.3", "{row}");
    }
}
