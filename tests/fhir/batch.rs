//! Batches (R4 http#batch): the response contains one response per entry, in the order of the entries.

use serde_json::{Value, json};

use crate::support::client::{self, ReceivedResponse};
use crate::support::gateway::RunningGateway;

async fn post_batch(gateway: &RunningGateway, bundle: &Value) -> ReceivedResponse {
    client::post(&format!("{}/fhir", gateway.base_url()), "application/fhir+json", &bundle.to_string()).await
}

fn batch(urls: &[&str]) -> Value {
    let entry = |url: &&str| json!({"request": {"method": "GET", "url": url}});
    json!({"resourceType": "Bundle", "type": "batch", "entry": urls.iter().map(entry).collect::<Vec<_>>()})
}

#[tokio::test]
async fn each_entry_has_the_response_of_the_same_single_request() {
    let gateway = RunningGateway::start_with_samples().await;
    let (studies, _) = gateway.search("/fhir/ImagingStudy?_count=3&modality=CT").await;
    let id = studies[0]["id"].as_str().unwrap();
    let relative_url = format!("ImagingStudy/{id}");
    let absolute_url =
        format!("{}/fhir/{}", gateway.base_url(), studies[0]["subject"]["reference"].as_str().unwrap());
    let urls = [
        relative_url.as_str(),
        "/ImagingStudy?modality=CT&_count=3",
        &absolute_url,
        "metadata",
        "Patient/nobody",
        "ImagingStudy?started=never",
        "?_type=Endpoint",
        "Observation?code=1",
        "",
    ];
    let received = post_batch(&gateway, &batch(&urls)).await;
    assert_eq!(received.status, 200, "{}", received.text());
    let bundle = received.json();
    assert_eq!(bundle["type"], "batch-response");
    let entries = bundle["entry"].as_array().unwrap();
    let statuses: Vec<_> =
        entries.iter().map(|entry| entry["response"]["status"].as_str().unwrap()).collect();
    let (ok, not_found, bad_request) = ("200 OK", "404 Not Found", "400 Bad Request");
    assert_eq!(statuses, [ok, ok, ok, ok, not_found, bad_request, ok, not_found, ok]);
    for (url, entry) in urls.iter().zip(entries) {
        let path = url.strip_prefix(&format!("{}/fhir", gateway.base_url())).unwrap_or(url);
        let path = format!("/fhir/{}", path.trim_start_matches('/'));
        let single_response = gateway.get(&path).await;
        if single_response.status == 200 {
            assert_eq!(entry["resource"], single_response.json(), "{url}");
            assert_eq!(entry["response"]["etag"].as_str(), single_response.header("etag"), "{url}");
        } else {
            assert_eq!(entry["response"]["outcome"], single_response.json(), "{url}");
        }
    }
    assert_eq!(entries[0]["fullUrl"], format!("{}/fhir/{relative_url}", gateway.base_url()));
    assert_eq!(entries[1].get("fullUrl"), None);
}

#[tokio::test]
async fn entries_can_use_head_and_if_none_match() {
    let gateway = RunningGateway::start_with_samples().await;
    let etag = gateway.get("/fhir/Endpoint/main").await.header("etag").unwrap().to_owned();
    let entry = |method: &str, etag: Option<&str>| {
        let mut request = json!({"method": method, "url": "Endpoint/main"});
        if let Some(etag) = etag {
            request["ifNoneMatch"] = etag.into();
        }
        json!({"request": request})
    };
    let bundle = json!({"resourceType": "Bundle", "type": "batch", "entry": [
        entry("HEAD", None), entry("GET", Some(&etag)), entry("GET", Some("W/\"other\"")),
        entry("DELETE", None), entry("POST", None), entry("NO METHOD", None), {"fullUrl": "urn:uuid:1"},
    ]});
    let received = post_batch(&gateway, &bundle).await.json();
    let entries = received["entry"].as_array().unwrap();
    let statuses: Vec<_> =
        entries.iter().map(|entry| entry["response"]["status"].as_str().unwrap()[..3].to_owned()).collect();
    assert_eq!(statuses, ["200", "304", "200", "405", "405", "400", "400"]);
    for (index, entry) in entries.iter().enumerate() {
        assert_eq!(entry.get("resource").is_some(), index == 2, "{entry}");
        assert_eq!(entry["response"].get("outcome").is_some(), index > 2, "{entry}");
    }
    assert_eq!(entries[1]["response"]["etag"], etag);
}

#[tokio::test]
async fn an_invalid_entry_causes_an_error_for_this_entry_only() {
    let gateway = RunningGateway::start_with_samples().await;
    let valid = json!({"request": {"method": "GET", "url": "Endpoint/main"}});
    let bundle = json!({"resourceType": "Bundle", "type": "batch", "entry": [
        {"request": {}}, {"request": {"method": "GET"}}, {"request": {"method": "GET", "url": 7}}, {"request": null},
        "entry", {}, valid,
    ]});
    let received = post_batch(&gateway, &bundle).await.json();
    let entries = received["entry"].as_array().unwrap();
    let codes: Vec<_> =
        entries.iter().map(|entry| entry["response"]["outcome"]["issue"][0]["code"].as_str()).collect();
    let (structure, required) = (Some("structure"), Some("required"));
    assert_eq!(codes, [required, required, structure, required, structure, required, None]);
    assert_eq!(entries[6]["resource"]["id"], "main");
}

#[tokio::test]
async fn a_search_by_post_in_a_batch_is_rejected_with_the_search_by_get() {
    let gateway = RunningGateway::start_with_samples().await;
    let search = json!({"request": {"method": "POST", "url": "Patient/_search"}});
    let bundle = json!({"resourceType": "Bundle", "type": "batch", "entry": [search]});
    let response = &post_batch(&gateway, &bundle).await.json()["entry"][0]["response"];
    assert!(response["status"].as_str().unwrap().starts_with("405"), "{response}");
    let diagnostics = response["outcome"]["issue"][0]["diagnostics"].as_str().unwrap();
    assert!(diagnostics.ends_with("in the url: GET Patient?…"), "{diagnostics}");
}

#[tokio::test]
async fn a_batch_without_entries_has_a_response_without_entries() {
    let gateway = RunningGateway::start_with_samples().await;
    assert_eq!(
        post_batch(&gateway, &json!({"resourceType": "Bundle", "type": "batch"})).await.json(),
        json!({"resourceType": "Bundle", "type": "batch-response"})
    );
}

#[tokio::test]
async fn invalid_and_too_large_batches_are_rejected_as_a_whole() {
    let gateway = RunningGateway::start_with_samples_and_config("[search]\nmax_batch = 2\n").await;
    let bundle_of_type = |bundle_type: &str| json!({"resourceType": "Bundle", "type": bundle_type});
    for (body, status, code) in [
        (bundle_of_type("transaction"), 400, "not-supported"),
        (bundle_of_type("searchset"), 400, "invalid"),
        (json!({"resourceType": "Patient", "type": "batch"}), 400, "invalid"),
        (json!({"resourceType": "Bundle"}), 400, "invalid"),
        (json!([]), 400, "structure"),
        (batch(&["metadata", "metadata", "metadata"]), 413, "too-costly"),
    ] {
        let received = post_batch(&gateway, &body).await;
        assert_eq!(
            (received.status, received.json()["issue"][0]["code"].as_str()),
            (status, Some(code)),
            "{body}"
        );
    }
    let url = format!("{}/fhir", gateway.base_url());
    assert_eq!(client::post(&url, "application/fhir+xml", "<Bundle/>").await.status, 415);
    let too_large = client::post(&url, "application/fhir+json", &" ".repeat(1024 * 1024 + 1)).await;
    assert_eq!(too_large.status, 413);
    let put = client::send("PUT", &url, &[]).await;
    assert_eq!((put.status, put.header("allow")), (405, Some("GET, HEAD, OPTIONS, POST")));
}

#[tokio::test]
async fn entries_beyond_the_memory_limit_are_rejected_individually() {
    let gateway = RunningGateway::start_with_samples_and_config("[search]\nbatch_memory = \"1MiB\"\n").await;
    let response_size = gateway.get("/fhir/ImagingStudy?_count=100").await.text().len();
    let accepted_count = 1024 * 1024 / response_size;
    let received =
        post_batch(&gateway, &batch(&vec!["ImagingStudy?_count=100"; accepted_count + 2])).await.json();
    let statuses: Vec<_> = received["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["response"]["status"].clone())
        .collect();
    assert!(statuses[..accepted_count].iter().all(|status| status == "200 OK"), "{statuses:?}");
    assert!(
        statuses[accepted_count..].iter().all(|status| status == "413 Payload Too Large"),
        "{statuses:?}"
    );
    assert_eq!(received["entry"][accepted_count]["response"]["outcome"]["issue"][0]["code"], "too-costly");
}
