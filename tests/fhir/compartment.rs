//! Searches across types, searches in the Patient compartment, and `Patient/$everything`.

use serde_json::Value;

use crate::support::client;
use crate::support::gateway::{RunningGateway, link_url, resources_with_mode};

/// Returns the relative reference to a resource, such as `Patient/1`.
fn reference(resource: &Value) -> String {
    format!("{}/{}", resource["resourceType"].as_str().unwrap(), resource["id"].as_str().unwrap())
}

/// Searches `path`, and returns the references to the matches.
async fn search_references(gateway: &RunningGateway, path: &str) -> Vec<String> {
    gateway.search(path).await.0.iter().map(reference).collect()
}

/// Returns the patient with the most studies, and these studies.
async fn patient_with_most_studies(gateway: &RunningGateway) -> (String, Vec<String>) {
    let (studies, _) = gateway.search("/fhir/ImagingStudy?_elements=subject").await;
    let mut studies_by_patient = std::collections::BTreeMap::<String, Vec<String>>::new();
    for study in &studies {
        let patient = study["subject"]["reference"].as_str().unwrap().to_owned();
        studies_by_patient.entry(patient).or_default().push(reference(study));
    }
    let (patient, mut studies) =
        studies_by_patient.into_iter().max_by_key(|(_, studies)| studies.len()).unwrap();
    studies.sort();
    (patient, studies)
}

#[tokio::test]
async fn a_patient_compartment_contains_the_studies_and_the_patient() {
    let gateway = RunningGateway::start_with_samples().await;
    let (patient, studies) = patient_with_most_studies(&gateway).await;
    assert!(studies.len() > 2);
    let mut found_studies =
        search_references(&gateway, &format!("/fhir/{patient}/ImagingStudy?_count=2")).await;
    found_studies.sort();
    assert_eq!(found_studies, studies);
    let expected = [studies.clone(), vec![patient.clone()]].concat();
    assert_eq!(
        search_references(&gateway, &format!("/fhir/{patient}/*?_count=2")).await,
        expected,
        "the matches are not sorted by type and id"
    );
    let studies_only = format!("/fhir/{patient}/*?_type=ImagingStudy");
    assert_eq!(search_references(&gateway, &studies_only).await, studies);
    let first_study = &studies[0];
    let id = first_study.split_once('/').unwrap().1;
    assert_eq!(
        search_references(&gateway, &format!("/fhir/{patient}/ImagingStudy?_id={id}")).await,
        std::slice::from_ref(first_study)
    );
    assert_eq!(
        search_references(&gateway, &format!("/fhir/{patient}/*?_id={id}")).await,
        std::slice::from_ref(first_study)
    );
    let bundle =
        gateway.get_json(&format!("/fhir/{patient}/ImagingStudy?modality:missing=false&_count=1")).await;
    assert_eq!(bundle["total"], studies.len());
    let url_prefix = format!("{}/fhir/{patient}/ImagingStudy?modality:missing=false", gateway.base_url());
    for relation in ["self", "first", "next"] {
        assert!(link_url(&bundle, relation).unwrap().starts_with(&url_prefix), "{bundle}");
    }
    let url = format!("{}/fhir/{patient}/ImagingStudy/_search", gateway.base_url());
    let post_response = client::post(&url, "application/x-www-form-urlencoded", "_summary=count").await;
    assert_eq!(post_response.json()["total"], studies.len());
}

#[tokio::test]
async fn the_compartment_of_an_unknown_patient_is_not_found() {
    let gateway = RunningGateway::start_with_samples().await;
    for path in
        ["/fhir/Patient/nobody/ImagingStudy", "/fhir/Patient/nobody/*", "/fhir/Patient/nobody/$everything"]
    {
        assert_eq!(gateway.get(path).await.status, 404, "{path}");
    }
    assert_eq!(gateway.get("/fhir/Patient/nobody/Endpoint").await.status, 404);
}

#[tokio::test]
async fn page_links_of_a_compartment_are_rejected_in_other_compartments() {
    let gateway = RunningGateway::start_with_samples().await;
    let (patient, _) = patient_with_most_studies(&gateway).await;
    let bundle = gateway.get_json(&format!("/fhir/{patient}/ImagingStudy?_count=1")).await;
    let next = link_url(&bundle, "next").unwrap().strip_prefix(gateway.base_url()).unwrap().to_owned();
    let (patients, _) = gateway.search("/fhir/Patient").await;
    let other_patient = patients.iter().map(reference).find(|reference| *reference != patient).unwrap();
    assert_eq!(gateway.get(&next).await.status, 200);
    assert_eq!(gateway.get(&next.replace(&patient, &other_patient)).await.status, 400);
}

#[tokio::test]
async fn everything_returns_the_compartment_and_the_resources_it_refers_to() {
    let gateway = RunningGateway::start_with_samples().await;
    let (patient, studies) = patient_with_most_studies(&gateway).await;
    let expected = [vec!["Endpoint/main".to_owned()], studies.clone(), vec![patient.clone()]].concat();
    let (matches, page) = gateway.search(&format!("/fhir/{patient}/$everything?_count=3")).await;
    assert_eq!(matches.iter().map(reference).collect::<Vec<_>>(), expected);
    assert_eq!(
        (page["type"].as_str(), page["total"].as_u64()),
        (Some("searchset"), Some(expected.len() as u64))
    );
    let started_date = |study: &Value| study["started"].as_str().map(|started| started[..10].to_owned());
    let mut dates: Vec<_> = matches.iter().filter_map(started_date).collect();
    dates.sort();
    let median_date = &dates[dates.len() / 2];
    let studies_until = search_references(
        &gateway,
        &format!("/fhir/{patient}/$everything?end={median_date}&_type=ImagingStudy"),
    )
    .await;
    let studies_from = search_references(
        &gateway,
        &format!("/fhir/{patient}/$everything?start={median_date}&_type=ImagingStudy"),
    )
    .await;
    let on_date =
        format!("/fhir/{patient}/$everything?start={median_date}&end={median_date}&_type=ImagingStudy");
    let studies_on_date = search_references(&gateway, &on_date).await;
    assert!(!studies_on_date.is_empty());
    assert_eq!(studies_until.len() + studies_from.len() - studies_on_date.len(), dates.len());
    let since = |instant: &str| format!("/fhir/{patient}/$everything?_type=ImagingStudy&_since={instant}");
    assert_eq!(
        search_references(&gateway, &since("2020")).await,
        studies,
        "a study has a lastUpdated before this test"
    );
    assert!(search_references(&gateway, &since("2999-01-01")).await.is_empty());
    let bundle = gateway.get_json(&format!("/fhir/{patient}/$everything?_type=Endpoint,Condition")).await;
    assert_eq!(bundle["total"], 1);
    assert!(
        resources_with_mode(&bundle, "outcome")[0]
            .to_string()
            .contains("`_type`: a type in the value is not supported"),
        "{bundle}"
    );
    for invalid in [
        "_type=endpoint",
        "_since=yesterday",
        "start=ge2024",
        "start=2024,2025",
        "favorite=yes",
        "start=2024-13",
    ] {
        let path = format!("/fhir/{patient}/$everything?{invalid}");
        assert_eq!(gateway.get(&path).await.status, 400, "{invalid}");
    }
}

#[tokio::test]
async fn searches_across_types_use_the_common_parameters() {
    let gateway = RunningGateway::start_with_samples().await;
    let (patients, _) = gateway.search("/fhir/Patient?_elements=id").await;
    let references = search_references(&gateway, "/fhir?_count=7&_elements=id").await;
    assert_eq!(references.len(), 30 + patients.len() + 1);
    let mut sorted = references.clone();
    sorted.sort();
    assert_eq!(references, sorted);
    let two_types = search_references(&gateway, "/fhir?_type=Patient,Endpoint").await;
    assert_eq!(
        two_types,
        references
            .iter()
            .filter(|reference| !reference.starts_with("ImagingStudy/"))
            .cloned()
            .collect::<Vec<_>>()
    );
    let bundle = gateway.get_json("/fhir/?_type=Patient&_type=Endpoint&_id=main").await;
    assert_eq!(
        resources_with_mode(&bundle, "match").iter().map(reference).collect::<Vec<_>>(),
        ["Endpoint/main"]
    );
    let url = format!("{}/fhir?_type=Patient&_type=Endpoint&_id=main", gateway.base_url());
    assert_eq!(link_url(&bundle, "self"), Some(url));
    let descending = search_references(&gateway, "/fhir?_sort=-_id&_elements=id&_count=5").await;
    let id = |reference: &String| reference.split_once('/').unwrap().1.to_owned();
    assert!(descending.windows(2).all(|pair| id(&pair[0]) >= id(&pair[1])), "{descending:?}");
    let with_patients =
        gateway.get_json("/fhir?_type=ImagingStudy&_count=3&_include=ImagingStudy:patient").await;
    assert!(!resources_with_mode(&with_patients, "include").is_empty());
}

#[tokio::test]
async fn unsupported_types_and_parameters_are_reported() {
    let gateway = RunningGateway::start_with_samples().await;
    let bundle = gateway.get_json("/fhir?_type=Endpoint,Observation&modality=CT").await;
    assert_eq!(bundle["total"], 1);
    let outcome = resources_with_mode(&bundle, "outcome")[0].to_string();
    assert!(outcome.contains("`_type`") && outcome.contains("modality"), "{outcome}");
    let bundle = gateway.get_json("/fhir?_type=Endpoint,Patient&status=active").await;
    assert!(resources_with_mode(&bundle, "outcome")[0].to_string().contains("status"), "{bundle}");
    assert!(!link_url(&bundle, "self").unwrap().contains("status"));
    let strict_response = gateway
        .get_with_headers("/fhir?_type=Endpoint,Patient&status=active", &[("Prefer", "handling=strict")])
        .await;
    assert_eq!(strict_response.status, 400);
    for invalid in ["_type=Observation", "_type=endpoint", "_type=,"] {
        assert_eq!(gateway.get(&format!("/fhir?{invalid}")).await.status, 400, "{invalid}");
    }
    assert_eq!(gateway.get_json("/fhir?_count=0").await.get("entry"), None);
}

#[tokio::test]
async fn the_warning_for_an_unsupported_type_does_not_report_unrestricted_results() {
    let gateway = RunningGateway::start_with_samples().await;
    let warning_of = |bundle: &Value| {
        resources_with_mode(bundle, "outcome")[0]["issue"][0]["diagnostics"].as_str().unwrap().to_owned()
    };
    let (matches, page) = gateway.search("/fhir?_type=Endpoint,Condition").await;
    assert!(matches.iter().all(|resource| resource["resourceType"] == "Endpoint"));
    assert_eq!(
        warning_of(&page),
        "Parameter `_type`: a type in the value is not supported, so it was not searched; supported types: Endpoint, ImagingStudy, Patient."
    );
    let ignored_parameter = warning_of(&gateway.get_json("/fhir/ImagingStudy?status=").await);
    let expected = "Search parameter `status` was ignored, so these results are NOT restricted by it.";
    assert!(ignored_parameter.starts_with(expected), "{ignored_parameter}");
}
