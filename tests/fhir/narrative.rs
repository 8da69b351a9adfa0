//! Generated narratives, and the responses that contain them.

use serde_json::Value;

use crate::support::gateway::RunningGateway;

/// Returns the paths of a study, its patient and its endpoint.
async fn resource_paths(gateway: &RunningGateway) -> [String; 3] {
    let study = gateway.search("/fhir/ImagingStudy?_count=1&_sort=_id").await.0.remove(0);
    let patient = study["subject"]["reference"].as_str().unwrap();
    [
        format!("/fhir/ImagingStudy/{}", study["id"].as_str().unwrap()),
        format!("/fhir/{patient}"),
        "/fhir/Endpoint/main".to_owned(),
    ]
}

fn assert_has_narrative(resource: &Value) {
    assert_eq!(resource["text"]["status"], "generated", "{resource}");
    let div = resource["text"]["div"].as_str().unwrap();
    assert!(div.starts_with(r#"<div xmlns="http://www.w3.org/1999/xhtml"><p><b>"#), "{div}");
}

#[tokio::test]
async fn narratives_that_are_not_enabled_are_returned_only_for_summary_text() {
    let gateway = RunningGateway::start_with_samples().await;
    for path in resource_paths(&gateway).await {
        let text = gateway.get_json(&format!("{path}?_summary=text")).await;
        assert_has_narrative(&text);
        assert_eq!(text["meta"]["tag"][0]["code"], "SUBSETTED");
        for query in ["", "?_summary=true", "?_summary=data", "?_summary=false", "?_elements=text"] {
            let resource = gateway.get_json(&format!("{path}{query}")).await;
            assert_eq!(resource.get("text"), None, "{path}{query}");
        }
    }
    for resource_type in ["ImagingStudy", "Patient", "Endpoint"] {
        let (resources, _) = gateway.search(&format!("/fhir/{resource_type}?_summary=text&_count=200")).await;
        assert!(!resources.is_empty());
        resources.iter().for_each(assert_has_narrative);
    }
}

#[tokio::test]
async fn enabled_narratives_are_returned_unless_summary_or_elements_exclude_them() {
    let gateway = RunningGateway::start_with_samples_and_config("[fhir]\nnarrative = true\n").await;
    for path in resource_paths(&gateway).await {
        for query in ["", "?_summary=false", "?_summary=text", "?_elements=text"] {
            assert_has_narrative(&gateway.get_json(&format!("{path}{query}")).await);
        }
        for query in ["?_summary=true", "?_summary=data", "?_elements=id"] {
            let resource = gateway.get_json(&format!("{path}{query}")).await;
            assert_eq!(resource.get("text"), None, "{path}{query}");
            assert_eq!(resource["meta"]["tag"][0]["code"], "SUBSETTED");
        }
    }
    let search = "/fhir/ImagingStudy?_include=ImagingStudy:patient&_include=ImagingStudy:endpoint&_count=200";
    let bundle = gateway.get_json(search).await;
    for entry in bundle["entry"].as_array().unwrap() {
        assert_has_narrative(&entry["resource"]);
    }
}
