//! Snapshots of the sample studies as FHIR: each patient with all studies of the patient, as a client reads them.

use serde_json::{Value, json};

use crate::support::gateway::RunningGateway;

#[tokio::test]
async fn every_sample_study_matches_its_snapshot() {
    let gateway = RunningGateway::start_with_samples().await;
    let (studies, _) = gateway.search("/fhir/ImagingStudy?_count=200").await;
    let mut patients: Vec<String> = studies.iter().map(|study| reference(&study["subject"])).collect();
    patients.sort_unstable();
    patients.dedup();
    assert_eq!(studies.len(), 30);
    for patient in patients {
        let mut of_patient: Vec<Value> =
            studies.iter().filter(|study| reference(&study["subject"]) == patient).cloned().collect();
        of_patient.sort_by_key(|study| study["id"].to_string());
        of_patient.iter_mut().for_each(shorten);
        of_patient.iter_mut().for_each(remove_version);
        let mut resource = gateway.get_json(&format!("/fhir/{patient}")).await;
        remove_version(&mut resource);
        let name = file_name(&resource);
        insta::with_settings!({snapshot_path => "mapping", prepend_module_to_snapshot => false, omit_expression => true}, {
            insta::assert_json_snapshot!(name, json!({"patient": resource, "studies": of_patient}));
        });
    }
}

/// docs/mapping.md says for each element whether it is filled; the samples must agree.
#[tokio::test]
async fn every_element_occurs_in_a_sample_unless_it_is_documented_as_absent() {
    let gateway = RunningGateway::start_with_samples_and_config("[fhir]\nnotes = true\n").await;
    for resource in ["ImagingStudy", "Patient", "Endpoint"] {
        let (all, _) = gateway.search(&format!("/fhir/{resource}?_count=200")).await;
        let page = include_str!("../docs/mapping.md");
        let (_, section) = page.split_once(&format!("\n## {resource}\n")).unwrap();
        let rows =
            section.split("\n## ").next().unwrap().lines().filter(|line| line.starts_with('|')).skip(2);
        for row in rows {
            let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
            let [element, _, _, rule] = cells[..] else { panic!("{row}") };
            let is_absent = rule.starts_with("absent: ");
            assert_eq!(all.iter().any(|one| has(one, element)), !is_absent, "{resource}.{element}");
        }
    }
}

#[tokio::test]
async fn comments_are_mapped_only_if_notes_are_enabled() {
    let without = RunningGateway::start_with_samples().await.search("/fhir/ImagingStudy?_count=200").await.0;
    assert!(!without.iter().any(|study| has(study, "note")));
    // With either source of series and instances.
    for detail in ["metadata", "qido"] {
        let more = format!("detail = \"{detail}\"\n[fhir]\nnotes = true\n");
        let with = RunningGateway::start_with_samples_and_config(&more)
            .await
            .search("/fhir/ImagingStudy?_count=200")
            .await
            .0;
        let notes: Vec<_> = with.iter().filter_map(|study| study["note"].as_array()).collect();
        assert_eq!(
            json!(notes),
            json!([[{"text": "The phantom lay still."}, {"text": "Second try: the first was cut off at the apex."}]]),
            "{detail}"
        );
    }
}

/// Whether the element at this path occurs anywhere in `value`.
fn has(value: &Value, path: &str) -> bool {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    match (value, rest) {
        (Value::Array(items), _) => items.iter().any(|item| has(item, path)),
        (_, Some(rest)) => value.get(first).is_some_and(|inner| has(inner, rest)),
        (_, None) => value.get(first).is_some(),
    }
}

fn reference(subject: &Value) -> String {
    subject["reference"].as_str().unwrap().to_owned()
}

/// Keeps the first instance of each series, which represents the others.
fn shorten(study: &mut Value) {
    for series in study["series"].as_array_mut().into_iter().flatten() {
        let Some(instances) = series["instance"].as_array_mut() else { continue };
        let more = instances.len() - 1;
        instances.truncate(1);
        if more > 0 {
            instances.push(json!(format!("and {more} more")));
        }
    }
}

/// The version changes whenever anything else does, and its time is that of the test.
fn remove_version(resource: &mut Value) {
    let meta = resource["meta"].as_object_mut().unwrap();
    assert!(meta.remove("versionId").is_some());
    meta.remove("lastUpdated");
    if meta.is_empty() {
        resource.as_object_mut().unwrap().remove("meta");
    }
}

/// The Patient ID and the beginning of the resource id, because Patient IDs may be equal or missing.
fn file_name(patient: &Value) -> String {
    let number = patient["identifier"][0]["value"].as_str().unwrap_or("none");
    let number: String =
        number.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    let id = patient["id"].as_str().unwrap();
    format!("{number}-{}", &id[..6])
}
