//! The mapping of the sample studies to FHIR. A snapshot contains a patient and all studies of the patient, as a client reads them.

use serde_json::{Value, json};

use crate::support::gateway::RunningGateway;

#[tokio::test]
async fn every_sample_study_matches_its_snapshot() {
    let gateway =
        RunningGateway::start_with_samples_and_config("[fhir]\nkeys = \"the key of the snapshots\"\n").await;
    let (studies, _) = gateway.search("/fhir/ImagingStudy?_count=200").await;
    let mut patients: Vec<String> = studies.iter().map(|study| reference_of(&study["subject"])).collect();
    patients.sort_unstable();
    patients.dedup();
    assert_eq!(studies.len(), 30);
    for patient in patients {
        let mut studies_of_patient: Vec<Value> =
            studies.iter().filter(|study| reference_of(&study["subject"]) == patient).cloned().collect();
        studies_of_patient.sort_by_key(|study| study["id"].to_string());
        studies_of_patient.iter_mut().for_each(replace_further_instances);
        studies_of_patient.iter_mut().for_each(remove_version);
        let mut resource = gateway.get_json(&format!("/fhir/{patient}")).await;
        remove_version(&mut resource);
        let name = snapshot_name(&resource);
        insta::with_settings!({snapshot_path => "mapping", prepend_module_to_snapshot => false, omit_expression => true}, {
            insta::assert_json_snapshot!(name, json!({"patient": resource, "studies": studies_of_patient}));
        });
    }
}

/// docs/mapping.md documents for each element whether it is mapped.
#[tokio::test]
async fn every_element_occurs_in_a_sample_unless_it_is_documented_as_absent() {
    let gateway = RunningGateway::start_with_samples_and_config("[fhir]\nnotes = true\n").await;
    for resource_type in ["ImagingStudy", "Patient", "Endpoint"] {
        let (resources, _) = gateway.search(&format!("/fhir/{resource_type}?_count=200")).await;
        let document = include_str!("../docs/mapping.md");
        let (_, section) = document.split_once(&format!("\n## {resource_type}\n")).unwrap();
        let rows =
            section.split("\n## ").next().unwrap().lines().filter(|line| line.starts_with('|')).skip(2);
        for row in rows {
            let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
            let [element, _, _, rule] = cells[..] else { panic!("{row}") };
            let is_absent = rule.starts_with("absent: ");
            assert_eq!(
                resources.iter().any(|resource| has_element(resource, element)),
                !is_absent,
                "{resource_type}.{element}"
            );
        }
    }
}

#[tokio::test]
async fn comments_are_mapped_only_if_notes_are_enabled() {
    let studies_without_notes =
        RunningGateway::start_with_samples().await.search("/fhir/ImagingStudy?_count=200").await.0;
    assert!(!studies_without_notes.iter().any(|study| has_element(study, "note")));
    // The values of `detail` are the sources of series and instances.
    for detail in ["metadata", "qido"] {
        let config = format!("detail = \"{detail}\"\n[fhir]\nnotes = true\n");
        let studies = RunningGateway::start_with_samples_and_config(&config)
            .await
            .search("/fhir/ImagingStudy?_count=200")
            .await
            .0;
        let notes: Vec<_> = studies.iter().filter_map(|study| study["note"].as_array()).collect();
        assert_eq!(
            json!(notes),
            json!([[{"text": "The phantom lay still."}, {"text": "Second try: the first was cut off at the apex."}]]),
            "{detail}"
        );
    }
}

/// Whether `value` contains the element at `path`. Each array on the path may contain it in any item.
fn has_element(value: &Value, path: &str) -> bool {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    match (value, rest) {
        (Value::Array(items), _) => items.iter().any(|item| has_element(item, path)),
        (_, Some(rest)) => value.get(first).is_some_and(|inner| has_element(inner, rest)),
        (_, None) => value.get(first).is_some(),
    }
}

fn reference_of(subject: &Value) -> String {
    subject["reference"].as_str().unwrap().to_owned()
}

/// Replaces all instances of each series except the first one with their number.
fn replace_further_instances(study: &mut Value) {
    for series in study["series"].as_array_mut().into_iter().flatten() {
        let Some(instances) = series["instance"].as_array_mut() else { continue };
        let removed_count = instances.len() - 1;
        instances.truncate(1);
        if removed_count > 0 {
            instances.push(json!(format!("and {removed_count} more")));
        }
    }
}

/// Removes `meta.versionId` and `meta.lastUpdated`: the version depends on all other content, and the time on the test.
fn remove_version(resource: &mut Value) {
    let meta = resource["meta"].as_object_mut().unwrap();
    assert!(meta.remove("versionId").is_some());
    meta.remove("lastUpdated");
    if meta.is_empty() {
        resource.as_object_mut().unwrap().remove("meta");
    }
}

/// Returns the name of a snapshot: the Patient ID and, because it may be missing or not unique, the end of the resource id.
fn snapshot_name(patient: &Value) -> String {
    let patient_id = patient["identifier"][0]["value"].as_str().unwrap_or("none");
    let is_kept = |character: char| character.is_ascii_alphanumeric() || character == '-';
    let name = |text: &str| -> String {
        text.chars().map(|character| if is_kept(character) { character } else { '_' }).collect()
    };
    let id = patient["id"].as_str().unwrap();
    format!("{}-{}", name(patient_id), name(&id[id.len() - 6..]))
}
