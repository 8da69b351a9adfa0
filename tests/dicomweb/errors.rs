//! Errors of an archive as the gateway reports them to DICOMweb clients.

use crate::support::archive_root::ArchiveRoot;
use crate::support::client;
use crate::support::gateway::RunningGateway;
use crate::support::pacs::{CannedResponse, Framing, Pacs};

const INSTANCE: &str = "studies/1.2/series/1.2.1/instances/1.2.1.1";

#[tokio::test]
async fn statuses_of_the_archive_are_mapped_and_their_bodies_replaced() {
    let body = "java.lang.Exception: P1 Doe^Jane at http://inner:8042/secret";
    for (archive_status, status) in [
        (400, 400),
        (404, 404),
        (406, 406),
        (410, 410),
        (413, 413),
        (416, 416),
        (501, 501),
        (503, 503),
        (504, 504),
        (401, 502),
        (403, 502),
        (407, 502),
        (409, 502),
        (418, 502),
        (500, 502),
        (204, 404),
        (202, 502),
        (429, 503),
    ] {
        let archive_response =
            CannedResponse::bytes("text/plain", if archive_status == 204 { "" } else { body })
                .with_status(archive_status)
                .header("Retry-After", "7");
        let pacs = Pacs::new().with_response("/studies/1.2", archive_response).start().await;
        let response = client::get(&ArchiveRoot::start(&pacs).await.url("studies/1.2")).await;
        assert_eq!(response.status, status, "{archive_status}");
        assert!(response.text().contains("Archive main"), "{}", response.text());
        for secret in ["Exception", "P1", "Doe", "inner", &pacs.authority()] {
            assert!(!response.text().contains(secret), "{}", response.text());
        }
        assert_eq!(response.header("retry-after"), (status == 503).then_some("7"), "{archive_status}");
    }
}

#[tokio::test]
async fn a_part_that_was_not_requested_is_an_error() {
    let octets = CannedResponse::bytes("application/octet-stream", "01234");
    let parts = CannedResponse::multipart("b", [("Content-Type: application/dicom", &b"DICM"[..])]);
    let row = r#"[{"0020000D":{"vr":"UI","Value":["1.2"]}}]"#;
    for (target, response) in [
        ("studies", CannedResponse::json(row)),
        ("studies/1.2/metadata", CannedResponse::json(row)),
        ("studies/1.2/bulkdata/1", octets.clone()),
        ("studies/1.2/bulkdata/1", octets.header("Content-Range", "bytes 0-4/100")),
        ("studies/1.2", parts.clone().header("Content-Range", "bytes 0-4/100")),
        (INSTANCE, parts.clone()),
        (&format!("{INSTANCE}/frames/1"), parts.clone()),
        (&format!("{INSTANCE}/rendered"), parts.clone()),
        (&format!("{INSTANCE}/thumbnail"), parts.clone()),
        ("studies/1.2/bulkdata/1", parts),
    ] {
        let pacs = Pacs::new().with_response(&format!("/{target}"), response.with_status(206)).start().await;
        let response = client::get(&ArchiveRoot::start(&pacs).await.url(target)).await;
        assert_eq!(response.status, 502, "{target}: {}", response.text());
        assert!(response.text().contains("only a part of what was requested"), "{}", response.text());
    }
}

#[tokio::test]
async fn an_empty_list_in_place_of_what_was_requested_means_that_the_archive_does_not_have_it() {
    for target in [
        "studies/1.2",
        "studies/1.2/series/1.2.1",
        "studies/1.2/metadata",
        "studies/1.2/series/1.2.1/metadata",
        &format!("{INSTANCE}/metadata"),
        INSTANCE,
        &format!("{INSTANCE}/frames/1"),
        &format!("{INSTANCE}/rendered"),
        &format!("{INSTANCE}/thumbnail"),
        &format!("{INSTANCE}/bulkdata/1"),
    ] {
        for list in ["[]", " [ ] "] {
            let row = r#"[{"0020000D":{"vr":"UI","Value":["1.2"]},"0020000E":{"vr":"UI","Value":["1.2.1"]},"00080018":{"vr":"UI","Value":["1.2.1.1"]}}]"#;
            let pacs = Pacs::new()
                .with_response("/studies", CannedResponse::json(row))
                .with_response("/studies/1.2/series", CannedResponse::json(row))
                .with_response("/studies/1.2/series/1.2.1/instances", CannedResponse::json(row))
                .with_fallback(CannedResponse::json(list))
                .start()
                .await;
            let gateway = RunningGateway::start(&pacs.url(), "").await;
            for root in ["/dicom-web/main", "/dicom-web"] {
                let response = gateway.get(&format!("{root}/{target}")).await;
                assert_eq!(response.status, 404, "{root}/{target}: {}", response.text());
            }
        }
    }
}

#[tokio::test]
async fn a_response_without_content_is_an_error_that_says_so() {
    let parts =
        |body: &str| CannedResponse::bytes("multipart/related; type=\"application/dicom\"; boundary=b", body);
    let nothing = "nothing of what was requested";
    for (target, response, status, cause) in [
        ("studies/1.2", parts(""), 502, "a body without any part"),
        ("studies/1.2", parts("").with_framing(Framing::Chunked), 502, "a body without any part"),
        ("studies/1.2", parts("--b--\r\n"), 502, "a body without any part"),
        ("studies/1.2", CannedResponse::status(204), 404, nothing),
        ("studies/1.2/metadata", CannedResponse::status(204), 404, nothing),
        (
            "studies/1.2/bulkdata/1",
            CannedResponse::bytes("application/octet-stream", ""),
            502,
            "an empty body",
        ),
    ] {
        let pacs = Pacs::new().with_response(&format!("/{target}"), response).start().await;
        let response = client::get(&ArchiveRoot::start(&pacs).await.url(target)).await;
        assert_eq!(response.status, status, "{target}: {}", response.text());
        assert!(response.text().contains(cause), "{target}: {}", response.text());
    }
}

#[tokio::test]
async fn every_form_of_a_response_without_matches_becomes_an_empty_list() {
    for (target, upstream_response, profile) in [
        ("/studies", CannedResponse::json("[]"), "generic"),
        ("/studies", CannedResponse::status(204), "generic"),
        ("/studies/1.2/series", CannedResponse::status(404), "generic"),
        ("/studies", CannedResponse::status(404), "static-dicomweb"),
    ] {
        let pacs = Pacs::new().with_response(target, upstream_response).start().await;
        let root = ArchiveRoot::start_with_config(&pacs.url(), &format!("profile = \"{profile}\"")).await;
        let response = client::get(&root.url(&target[1..])).await;
        assert_eq!((response.status, response.text().as_str()), (200, "[]"), "{target}");
        assert_eq!(response.header("content-type"), Some("application/dicom+json"));
    }
}

#[tokio::test]
async fn a_404_to_a_search_across_studies_is_an_upstream_error_unless_the_profile_says_otherwise() {
    let pacs = Pacs::new().with_fallback(CannedResponse::status(404)).start().await;
    let (root, static_root) = (
        ArchiveRoot::start(&pacs).await,
        ArchiveRoot::start_with_config(&pacs.url(), "profile = \"static-dicomweb\"").await,
    );
    for target in ["studies", "studies?PatientID=P1", "series", "instances"] {
        for accept in ["application/dicom+json", "multipart/related; type=\"application/dicom+xml\""] {
            let response = client::get_with_headers(&root.url(target), &[("accept", accept)]).await;
            assert_eq!(response.status, 502, "{target}");
            assert!(
                response.text().contains("Archive main has no such search at its url"),
                "{}",
                response.text()
            );
            assert!(response.text().contains("check the url"), "{}", response.text());
        }
        assert_eq!(client::get(&static_root.url(target)).await.text(), "[]", "{target}");
    }
}

#[tokio::test]
async fn invalid_responses_of_the_archive_are_reported_as_502() {
    for upstream_response in [
        CannedResponse::bytes("application/json", "500"),
        CannedResponse::json("null"),
        CannedResponse::json("").with_framing(Framing::UntilClose),
        CannedResponse::json(" "),
        CannedResponse::json("{}"),
        CannedResponse::html("<!doctype html><title>Log in</title>"),
        CannedResponse::bytes("application/json", "<html>"),
        CannedResponse::bytes("text/plain", "Error"),
        CannedResponse::json("[]").header("Content-Encoding", "br"),
        CannedResponse::bytes("application/json", "no gzip").header("Content-Encoding", "gzip"),
        CannedResponse::status(302).header("Location", "http://127.0.0.1:1/"),
        CannedResponse::raw("HTTP/1.1 200 OK\r\nnonsense"),
        CannedResponse::raw("nonsense\r\n\r\n"),
        CannedResponse::connection_closed(),
    ] {
        let pacs = Pacs::new().with_response("/studies", upstream_response.clone()).start().await;
        let response = client::get(&ArchiveRoot::start(&pacs).await.url("studies")).await;
        assert_eq!(response.status, 502, "{upstream_response:?}");
    }
}

#[tokio::test]
async fn html_is_forwarded_only_for_requests_for_rendered_resources_that_accept_it() {
    let report = CannedResponse::html("<p>see http://inner:8042/dicom-web/studies/1.2</p>")
        .with_framing(Framing::Chunked);
    let pacs = Pacs::new()
        .with_response("/studies/1.2/rendered", report.clone())
        .with_response("/studies/1.2", report.clone())
        .with_response("/studies/1.2/bulkdata/1", CannedResponse::bytes("application/javascript", "alert(1)"))
        .start()
        .await;
    let root = ArchiveRoot::start(&pacs).await;
    assert_eq!(
        client::get_with_headers(&root.url("studies/1.2"), &[("Accept", "text/html")]).await.status,
        502
    );
    assert_eq!(
        client::get_with_headers(&root.url("studies/1.2/rendered"), &[("Accept", "*/*")]).await.status,
        502
    );
    assert_eq!(client::get(&root.url("studies/1.2/bulkdata/1")).await.status, 502);
    let html = client::get_with_headers(&root.url("studies/1.2/rendered"), &[("Accept", "text/html")]).await;
    assert_eq!(html.status, 200);
    assert_eq!(html.header("content-security-policy"), Some("default-src 'none'; sandbox"));
    assert_eq!(html.header("x-content-type-options"), Some("nosniff"));
    assert!(!html.text().contains("inner"));
}

#[tokio::test]
async fn an_unreachable_archive_is_reported_as_503_with_retry_after() {
    let root = ArchiveRoot::start_with_config("http://127.0.0.1:9/dicom-web", "").await;
    let response = client::get(&root.url("studies")).await;
    assert_eq!(response.status, 503);
    assert!(response.header("retry-after").is_some());
    assert!(!response.text().contains("127.0.0.1"), "{}", response.text());
}

#[tokio::test]
async fn redirections_are_never_followed() {
    let redirection_target =
        Pacs::new().with_fallback(CannedResponse::json("[{\"secret\":{}}]")).start().await;
    for status in [301, 302, 303, 307, 308] {
        let redirection = CannedResponse::status(status)
            .header("Location", &format!("{}/studies", redirection_target.url()));
        let pacs = Pacs::new().with_fallback(redirection).start().await;
        let root = ArchiveRoot::start(&pacs).await;
        for target in ["studies", "studies/1.2", "studies/1.2/rendered"] {
            assert_eq!(client::get(&root.url(target)).await.status, 502, "{status}");
        }
    }
    assert_eq!(redirection_target.targets(), [""; 0]);
}

/// Returns the `Retry-After` of `response` in seconds.
fn retry_after(response: &client::ReceivedResponse) -> u64 {
    response.header("retry-after").unwrap().parse().unwrap()
}

/// The time for which the circuit breaker stays open, in seconds.
const OPEN_SECONDS: u64 = 5;

#[tokio::test]
async fn fhir_and_dicomweb_send_the_same_retry_after_for_an_open_circuit_breaker() {
    let gateway = RunningGateway::start("http://127.0.0.1:9/dicom-web", "").await;
    let get_fhir = async || gateway.get("/fhir/ImagingStudy?identifier=urn:oid:1.2").await;
    let get_dicomweb = async || gateway.get("/dicom-web/main/studies?StudyInstanceUID=1.2").await;
    for _ in 0..8 {
        assert_eq!(get_dicomweb().await.status, 503);
    }
    // Repeats the requests until less than the initial time remains, so that a constant value fails the test, and the circuit breaker
    // was not opened again between the three requests.
    for _ in 0..400 {
        let responses = [get_fhir().await, get_dicomweb().await, get_fhir().await];
        assert_eq!(responses.each_ref().map(|response| response.status), [503; 3]);
        let [before, between, after] = responses.each_ref().map(retry_after);
        if before < OPEN_SECONDS && after <= before {
            assert!((after..=before).contains(&between), "{before} s, {between} s, {after} s");
            assert!(
                responses.iter().all(|response| response
                    .text()
                    .contains("failed several times in a row (last failure: "))
            );
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("no three requests were sent while the circuit breaker was open");
}

#[tokio::test]
async fn content_codings_of_an_archive_are_decoded_in_the_same_way_for_fhir_and_dicomweb() {
    let row = r#"[{"0020000D":{"vr":"UI","Value":["1.2"]}}]"#;
    for (coding, expected_diagnostics) in [
        ("GZIP", None),
        ("X-Gzip", None),
        ("deflate", Some("a content encoding that was not requested")),
        ("gzip, gzip", Some("a content encoding that was not requested")),
    ] {
        // The body is gzip for every name of the coding.
        let archive_response = CannedResponse::json(row).undeclared_gzip().header("Content-Encoding", coding);
        let pacs = Pacs::new().with_response("/studies", archive_response).start().await;
        let gateway = RunningGateway::start(&pacs.url(), "").await;
        for path in ["/dicom-web/main/studies", "/dicom-web/studies", "/fhir/ImagingStudy?_summary=count"] {
            let response = gateway.get(path).await;
            let status = if expected_diagnostics.is_some() { 502 } else { 200 };
            assert_eq!(response.status, status, "{coding} {path}: {}", response.text());
            assert!(
                response.text().contains(expected_diagnostics.unwrap_or_default()),
                "{coding} {path}: {}",
                response.text()
            );
        }
    }
}

#[tokio::test]
async fn a_304_to_an_unconditional_request_is_reported_as_502() {
    let object = "/studies/1.2/series/1.2.1/instances/1.2.1.1";
    let pacs = Pacs::new().with_fallback(CannedResponse::status(304).header("ETag", "\"1\"")).start().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    for path in [
        "/dicom-web/main/studies",
        "/dicom-web/studies",
        "/fhir/ImagingStudy",
        "/dicom-web/main/studies/1.2/metadata",
        &format!("/dicom-web/main{object}"),
        &format!("/dicom-web/main{object}/rendered"),
    ] {
        let response = gateway.get(path).await;
        assert_eq!(response.status, 502, "{path}: {}", response.text());
        assert!(response.text().contains("304"), "{path}: {}", response.text());
    }
}
