//! JSON, XML and HTML representations of FHIR resources, and their negotiation.

use std::io::Read;

use crate::support::client::{self, ReceivedResponse};
use crate::support::gateway::RunningGateway;
use crate::support::xml::{elements_of_json, elements_of_xml};

const ACCEPT_XML: (&str, &str) = ("Accept", "application/fhir+xml");

/// Gets the resource at `path` in both formats, and asserts that their elements are equal.
async fn get_json_and_xml(gateway: &RunningGateway, path: &str) -> (ReceivedResponse, ReceivedResponse) {
    let (json, xml) = (gateway.get(path).await, gateway.get_with_headers(path, &[ACCEPT_XML]).await);
    assert_eq!(xml.status, json.status, "{path}");
    assert_eq!(xml.header("content-type"), Some("application/fhir+xml; charset=utf-8"), "{path}");
    assert_eq!(elements_of_xml(&xml.text()), elements_of_json(&json.json()), "{path}");
    (json, xml)
}

#[tokio::test]
async fn xml_has_the_same_elements_as_json() {
    let gateway = RunningGateway::start_with_samples().await;
    for path in [
        "/fhir/metadata",
        "/fhir/Endpoint/main",
        "/fhir/Endpoint",
        "/fhir/Patient?_count=50",
        "/fhir/ImagingStudy?_count=0",
        "/fhir/ImagingStudy?_summary=true&_include=ImagingStudy:endpoint&_include=ImagingStudy:patient&color=green",
        "/fhir/ImagingStudy?_summary=text&_count=50",
        "/fhir?_type=Patient,Endpoint&_summary=text&_count=50",
        "/fhir/Patient?name=nobody",
        "/fhir/ImagingStudy?started=yesterday&_count=x",
        "/fhir/ImagingStudy/1.2.3",
        "/fhir/Observation/1",
        "/fhir//",
    ] {
        get_json_and_xml(&gateway, path).await;
    }
    let (json, _) = get_json_and_xml(&gateway, "/fhir/ImagingStudy?_count=50").await;
    for study in json.json()["entry"].as_array().unwrap() {
        let id = study["resource"]["id"].as_str().unwrap();
        get_json_and_xml(&gateway, &format!("/fhir/ImagingStudy/{id}")).await;
        get_json_and_xml(&gateway, &format!("/fhir/ImagingStudy/{id}?_elements=started")).await;
    }
}

#[tokio::test]
async fn batch_responses_in_xml_match_those_in_json() {
    let gateway = RunningGateway::start_with_samples().await;
    let urls = ["ImagingStudy?_count=2&_summary=true", "Endpoint/main", "Patient/0", "Patient?_count=x"];
    let entries = urls.map(|url| serde_json::json!({"request": {"method": "GET", "url": url}}));
    let batch = serde_json::json!({"resourceType": "Bundle", "type": "batch", "entry": entries}).to_string();
    let post_batch = async |query: &str| {
        client::post(&format!("{}/fhir{query}", gateway.base_url()), "application/fhir+json", &batch).await
    };
    let (json, xml) = (post_batch("").await.json(), post_batch("?_format=xml").await.text());
    assert_eq!(json["entry"].as_array().unwrap().len(), 4);
    assert_eq!(elements_of_xml(&xml), elements_of_json(&json));
}

#[tokio::test]
async fn the_content_type_is_the_negotiated_media_type() {
    let gateway = RunningGateway::start_with_samples().await;
    for (path, accept, content_type) in [
        ("/fhir/Endpoint/main", "application/json", "application/json; charset=utf-8"),
        ("/fhir/Endpoint/main", "text/json", "text/json; charset=utf-8"),
        ("/fhir/Endpoint/main", "text/xml", "text/xml; charset=utf-8"),
        ("/fhir/Endpoint/main", "application/xml;q=0.9, */*;q=0.1", "application/xml; charset=utf-8"),
        ("/fhir/Endpoint/main", "application/xml+fhir", "application/fhir+xml; charset=utf-8"),
        ("/fhir/Endpoint/main?_format=xml", "application/json", "application/fhir+xml; charset=utf-8"),
        (
            "/fhir/Endpoint/main?_format=application/fhir+json",
            "text/xml",
            "application/fhir+json; charset=utf-8",
        ),
        ("/fhir/Endpoint/other?_format=application/fhir+xml", "*/*", "application/fhir+xml; charset=utf-8"),
        ("/fhir/nothing?_format=text/xml", "*/*", "text/xml; charset=utf-8"),
        ("/fhir/Patient?name=a%00b&_format=xml", "*/*", "application/fhir+json; charset=utf-8"),
        ("/fhir/Patient?name=a%00b", "application/fhir+xml", "application/fhir+xml; charset=utf-8"),
    ] {
        let received = gateway.get_with_headers(path, &[("Accept", accept)]).await;
        assert_eq!(received.header("content-type"), Some(content_type), "{path} {accept}");
        let vary = received.header("vary").unwrap();
        assert!(vary.contains("Accept,") && vary.contains("Accept-Encoding"), "{vary}");
    }
}

#[tokio::test]
async fn requests_with_another_fhir_version_or_several_versions_are_rejected() {
    let gateway = RunningGateway::start_with_samples().await;
    for (accept, status) in [
        ("application/fhir+xml; fhirVersion=4.0", 200),
        ("application/fhir+xml; fhirVersion=4.0.1", 200),
        ("application/fhir+json; fhirVersion=4.0.0, application/fhir+xml; fhirVersion=4.0", 200),
        ("application/fhir+json; fhirVersion=4.3.0", 406),
        ("application/fhir+json; fhirVersion=3.0", 406),
        ("application/fhir+json; fhirVersion=4.0, application/fhir+json; fhirVersion=3.0", 400),
    ] {
        let received = gateway.get_with_headers("/fhir/metadata", &[("Accept", accept)]).await;
        assert_eq!(received.status, status, "{accept}");
    }
}

#[tokio::test]
async fn page_links_preserve_the_format() {
    let gateway = RunningGateway::start_with_samples().await;
    let page = gateway.get("/fhir/ImagingStudy?_count=4&_summary=true&_format=xml&_pretty=true").await;
    let elements = elements_of_xml(&page.text());
    let urls: Vec<_> = elements.iter().filter(|(path, _)| path.ends_with("/url[0]@value")).collect();
    assert_eq!(urls.len(), 3, "there is not one link each for self, first and next: {urls:?}");
    for (_, url) in urls {
        let response = gateway.get(url.strip_prefix(gateway.base_url()).unwrap()).await;
        assert!(response.text().starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Bundle "), "{url}");
    }
}

#[tokio::test]
async fn xml_is_compressed_and_revalidated_like_json() {
    let gateway = RunningGateway::start_with_samples().await;
    let uncompressed = gateway.get_with_headers("/fhir/metadata", &[ACCEPT_XML]).await;
    let compressed =
        gateway.get_with_headers("/fhir/metadata", &[ACCEPT_XML, ("Accept-Encoding", "gzip")]).await;
    assert_eq!(compressed.header("content-encoding"), Some("gzip"));
    let mut decompressed = String::new();
    flate2::read::GzDecoder::new(&compressed.body[..]).read_to_string(&mut decompressed).unwrap();
    assert_eq!(decompressed, uncompressed.text());
    let etag = uncompressed.header("etag").unwrap().to_owned();
    let conditional_response =
        gateway.get_with_headers("/fhir/metadata", &[ACCEPT_XML, ("If-None-Match", &etag)]).await;
    assert_eq!((conditional_response.status, conditional_response.body.len()), (304, 0));
}

/// The header that browsers send.
const ACCEPT_BROWSER: (&str, &str) =
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8");

#[tokio::test]
async fn browsers_receive_html_pages_and_other_clients_json() {
    let gateway = RunningGateway::start_with_samples().await;
    let id = gateway.search_ids("/fhir/ImagingStudy?_elements=id&_count=1").await.remove(0);
    let study_path = format!("/fhir/ImagingStudy/{id}");
    let study = gateway.get_json(&study_path).await;
    for path in [
        &study_path,
        "/fhir/ImagingStudy?_count=2",
        "/fhir/metadata",
        "/fhir/Patient/0",
        "/",
        "/fhir/Observation",
    ] {
        let page = gateway.get_with_headers(path, &[ACCEPT_BROWSER]).await;
        assert_eq!(page.status, gateway.get(path).await.status, "{path}");
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
        assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"), "{path}");
        assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
        assert!(
            page.text().contains(&format!("<a href=\"{}/fhir/metadata\">", gateway.base_url())),
            "{path}"
        );
    }
    let page = gateway.get(&format!("{study_path}?_format=html")).await.text();
    let patient = study["subject"]["reference"].as_str().unwrap();
    assert!(page.contains(&format!("<a href=\"{}/fhir/{patient}\">", gateway.base_url())), "{page}");
    assert_eq!(gateway.get_json(&study_path).await, study);
    assert_eq!(gateway.get(&study_path).await.header("content-security-policy"), None);
}
