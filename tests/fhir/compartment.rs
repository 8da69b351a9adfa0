//! Searches across types, in the Patient compartment, and Patient/$everything.

use serde_json::Value;

use crate::support::client;
use crate::support::gateway::{RunningGateway, link_url, resources_with_mode};

fn name(resource: &Value) -> String {
    format!("{}/{}", resource["resourceType"].as_str().unwrap(), resource["id"].as_str().unwrap())
}

async fn names(gateway: &RunningGateway, path: &str) -> Vec<String> {
    gateway.search(path).await.0.iter().map(name).collect()
}

/// The patient with the most studies, and these studies.
async fn busiest(gateway: &RunningGateway) -> (String, Vec<String>) {
    let (studies, _) = gateway.search("/fhir/ImagingStudy?_elements=subject").await;
    let mut of_patients = std::collections::BTreeMap::<String, Vec<String>>::new();
    for study in &studies {
        let patient = study["subject"]["reference"].as_str().unwrap().to_owned();
        of_patients.entry(patient).or_default().push(name(study));
    }
    let (patient, mut studies) = of_patients.into_iter().max_by_key(|(_, studies)| studies.len()).unwrap();
    studies.sort();
    (patient, studies)
}

#[tokio::test]
async fn a_patient_compartment_contains_the_studies_and_the_patient() {
    let gateway = RunningGateway::start_with_samples().await;
    let (patient, studies) = busiest(&gateway).await;
    assert!(studies.len() > 2);
    let mut found = names(&gateway, &format!("/fhir/{patient}/ImagingStudy?_count=2")).await;
    found.sort();
    assert_eq!(found, studies);
    let all = [studies.clone(), vec![patient.clone()]].concat();
    assert_eq!(names(&gateway, &format!("/fhir/{patient}/*?_count=2")).await, all, "by type and id");
    let of_type = format!("/fhir/{patient}/*?_type=ImagingStudy");
    assert_eq!(names(&gateway, &of_type).await, studies);
    let one = &studies[0];
    let id = one.split_once('/').unwrap().1;
    assert_eq!(
        names(&gateway, &format!("/fhir/{patient}/ImagingStudy?_id={id}")).await,
        std::slice::from_ref(one)
    );
    assert_eq!(names(&gateway, &format!("/fhir/{patient}/*?_id={id}")).await, std::slice::from_ref(one));
    let bundle =
        gateway.get_json(&format!("/fhir/{patient}/ImagingStudy?modality:missing=false&_count=1")).await;
    assert_eq!(bundle["total"], studies.len());
    let begin = format!("{}/fhir/{patient}/ImagingStudy?modality:missing=false", gateway.base_url());
    for relation in ["self", "first", "next"] {
        assert!(link_url(&bundle, relation).unwrap().starts_with(&begin), "{bundle}");
    }
    let url = format!("{}/fhir/{patient}/ImagingStudy/_search", gateway.base_url());
    let posted = client::post(&url, "application/x-www-form-urlencoded", "_summary=count").await;
    assert_eq!(posted.json()["total"], studies.len());
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
async fn page_links_of_one_compartment_are_rejected_in_another() {
    let gateway = RunningGateway::start_with_samples().await;
    let (patient, _) = busiest(&gateway).await;
    let bundle = gateway.get_json(&format!("/fhir/{patient}/ImagingStudy?_count=1")).await;
    let next = link_url(&bundle, "next").unwrap().strip_prefix(gateway.base_url()).unwrap().to_owned();
    let (patients, _) = gateway.search("/fhir/Patient").await;
    let other = patients.iter().map(name).find(|name| *name != patient).unwrap();
    assert_eq!(gateway.get(&next).await.status, 200);
    assert_eq!(gateway.get(&next.replace(&patient, &other)).await.status, 400);
}

#[tokio::test]
async fn everything_returns_the_compartment_and_the_resources_it_refers_to() {
    let gateway = RunningGateway::start_with_samples().await;
    let (patient, studies) = busiest(&gateway).await;
    let all = [vec!["Endpoint/main".to_owned()], studies.clone(), vec![patient.clone()]].concat();
    let (found, page) = gateway.search(&format!("/fhir/{patient}/$everything?_count=3")).await;
    assert_eq!(found.iter().map(name).collect::<Vec<_>>(), all);
    assert_eq!((page["type"].as_str(), page["total"].as_u64()), (Some("searchset"), Some(all.len() as u64)));
    let started = |study: &&Value| study["started"].as_str().map(|started| started[..10].to_owned());
    let mut days: Vec<_> = found.iter().filter_map(|study| started(&study)).collect();
    days.sort();
    let middle = &days[days.len() / 2];
    let until =
        names(&gateway, &format!("/fhir/{patient}/$everything?end={middle}&_type=ImagingStudy")).await;
    let from =
        names(&gateway, &format!("/fhir/{patient}/$everything?start={middle}&_type=ImagingStudy")).await;
    let both = format!("/fhir/{patient}/$everything?start={middle}&end={middle}&_type=ImagingStudy");
    let both = names(&gateway, &both).await;
    assert!(!both.is_empty());
    assert_eq!(until.len() + from.len() - both.len(), days.len());
    let since = |moment: &str| format!("/fhir/{patient}/$everything?_type=ImagingStudy&_since={moment}");
    assert_eq!(names(&gateway, &since("2020")).await, studies, "all studies were first seen just now");
    assert!(names(&gateway, &since("2999-01-01")).await.is_empty());
    let bundle = gateway.get_json(&format!("/fhir/{patient}/$everything?_type=Endpoint,Condition")).await;
    assert_eq!(bundle["total"], 1);
    assert!(resources_with_mode(&bundle, "outcome")[0].to_string().contains("Condition"), "{bundle}");
    for refused in [
        "_type=endpoint",
        "_since=yesterday",
        "start=ge2024",
        "start=2024,2025",
        "favourite=yes",
        "start=2024-13",
    ] {
        let path = format!("/fhir/{patient}/$everything?{refused}");
        assert_eq!(gateway.get(&path).await.status, 400, "{refused}");
    }
}

#[tokio::test]
async fn searches_across_types_use_the_common_parameters() {
    let gateway = RunningGateway::start_with_samples().await;
    let (patients, _) = gateway.search("/fhir/Patient?_elements=id").await;
    let all = names(&gateway, "/fhir?_count=7&_elements=id").await;
    assert_eq!(all.len(), 30 + patients.len() + 1);
    let mut sorted = all.clone();
    sorted.sort();
    assert_eq!(all, sorted);
    let two = names(&gateway, "/fhir?_type=Patient,Endpoint").await;
    assert_eq!(
        two,
        all.iter().filter(|name| !name.starts_with("ImagingStudy/")).cloned().collect::<Vec<_>>()
    );
    let bundle = gateway.get_json("/fhir/?_type=Patient&_type=Endpoint&_id=main").await;
    assert_eq!(resources_with_mode(&bundle, "match").iter().map(name).collect::<Vec<_>>(), ["Endpoint/main"]);
    let url = format!("{}/fhir?_type=Patient&_type=Endpoint&_id=main", gateway.base_url());
    assert_eq!(link_url(&bundle, "self"), Some(url));
    let backwards = names(&gateway, "/fhir?_sort=-_id&_elements=id&_count=5").await;
    let id = |name: &String| name.split_once('/').unwrap().1.to_owned();
    assert!(backwards.windows(2).all(|pair| id(&pair[0]) >= id(&pair[1])), "{backwards:?}");
    let including = gateway.get_json("/fhir?_type=ImagingStudy&_count=3&_include=ImagingStudy:patient").await;
    assert!(!resources_with_mode(&including, "include").is_empty());
}

#[tokio::test]
async fn unsupported_types_and_parameters_are_reported() {
    let gateway = RunningGateway::start_with_samples().await;
    let bundle = gateway.get_json("/fhir?_type=Endpoint,Observation&modality=CT").await;
    assert_eq!(bundle["total"], 1);
    let outcome = resources_with_mode(&bundle, "outcome")[0].to_string();
    assert!(outcome.contains("Observation") && outcome.contains("modality"), "{outcome}");
    let bundle = gateway.get_json("/fhir?_type=Endpoint,Patient&status=active").await;
    assert!(resources_with_mode(&bundle, "outcome")[0].to_string().contains("status"), "{bundle}");
    assert!(!link_url(&bundle, "self").unwrap().contains("status"));
    let strict = gateway
        .get_with_headers("/fhir?_type=Endpoint,Patient&status=active", &[("Prefer", "handling=strict")])
        .await;
    assert_eq!(strict.status, 400);
    for refused in ["_type=Observation", "_type=endpoint", "_type=,"] {
        assert_eq!(gateway.get(&format!("/fhir?{refused}")).await.status, 400, "{refused}");
    }
    assert_eq!(gateway.get_json("/fhir?_count=0").await.get("entry"), None);
}

#[tokio::test]
async fn a_type_that_is_not_supported_does_not_make_the_other_types_unrestricted() {
    let gateway = RunningGateway::start_with_samples().await;
    let warning = |bundle: &Value| {
        resources_with_mode(bundle, "outcome")[0]["issue"][0]["diagnostics"].as_str().unwrap().to_owned()
    };
    let (matches, page) = gateway.search("/fhir?_type=Endpoint,Condition").await;
    assert!(matches.iter().all(|resource| resource["resourceType"] == "Endpoint"));
    assert_eq!(
        warning(&page),
        "Parameter `_type`: the type Condition is not supported, so it was not searched."
    );
    let unrestricted = warning(&gateway.get_json("/fhir/ImagingStudy?status=").await);
    let expected = "Search parameter `status` was ignored, so these results are NOT restricted by it.";
    assert!(unrestricted.starts_with(expected), "{unrestricted}");
}
