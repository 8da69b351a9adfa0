//! Resources in words: when they are there, and when they are not.

use serde_json::Value;

use crate::support::gateway::RunningGateway;

/// One study, its patient, its archive.
async fn addresses(gateway: &RunningGateway) -> [String; 3] {
    let study = gateway.matches("/fhir/ImagingStudy?_count=1&_sort=_id").await.0.remove(0);
    let patient = study["subject"]["reference"].as_str().unwrap();
    [
        format!("/fhir/ImagingStudy/{}", study["id"].as_str().unwrap()),
        format!("/fhir/{patient}"),
        "/fhir/Endpoint/main".to_owned(),
    ]
}

fn assert_is_told(resource: &Value) {
    assert_eq!(resource["text"]["status"], "generated", "{resource}");
    let div = resource["text"]["div"].as_str().unwrap();
    assert!(div.starts_with(r#"<div xmlns="http://www.w3.org/1999/xhtml"><p><b>"#), "{div}");
}

#[tokio::test]
async fn words_are_there_when_they_are_asked_for() {
    let gateway = RunningGateway::over_samples().await;
    for address in addresses(&gateway).await {
        let text = gateway.json(&format!("{address}?_summary=text")).await;
        assert_is_told(&text);
        assert_eq!(text["meta"]["tag"][0]["code"], "SUBSETTED");
        for other in ["", "?_summary=true", "?_summary=data", "?_summary=false", "?_elements=text"] {
            let resource = gateway.json(&format!("{address}{other}")).await;
            assert_eq!(resource.get("text"), None, "{address}{other}");
        }
    }
    for kind in ["ImagingStudy", "Patient", "Endpoint"] {
        let (told, _) = gateway.matches(&format!("/fhir/{kind}?_summary=text&_count=200")).await;
        assert!(!told.is_empty());
        told.iter().for_each(assert_is_told);
    }
}

#[tokio::test]
async fn words_are_everywhere_when_that_is_configured_except_where_they_are_not_wanted() {
    let gateway = RunningGateway::over_samples_with("[fhir]\nnarrative = true\n").await;
    for address in addresses(&gateway).await {
        for with in ["", "?_summary=false", "?_summary=text", "?_elements=text"] {
            assert_is_told(&gateway.json(&format!("{address}{with}")).await);
        }
        for without in ["?_summary=true", "?_summary=data", "?_elements=id"] {
            let resource = gateway.json(&format!("{address}{without}")).await;
            assert_eq!(resource.get("text"), None, "{address}{without}");
            assert_eq!(resource["meta"]["tag"][0]["code"], "SUBSETTED");
        }
    }
    let bundle = "/fhir/ImagingStudy?_include=ImagingStudy:patient&_include=ImagingStudy:endpoint&_count=200";
    let bundle = gateway.json(bundle).await;
    for entry in bundle["entry"].as_array().unwrap() {
        assert_is_told(&entry["resource"]);
    }
}
