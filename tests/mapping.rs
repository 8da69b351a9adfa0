//! What the samples become: a snapshot of each patient and of every study of theirs, as a client reads them.

use serde_json::{Value, json};

use crate::support::gateway::RunningGateway;

#[tokio::test]
async fn every_sample_study_is_mapped_as_it_was() {
    let gateway = RunningGateway::over_samples().await;
    let (studies, _) = gateway.matches("/fhir/ImagingStudy?_count=200").await;
    let mut patients: Vec<String> = studies.iter().map(|study| reference(&study["subject"])).collect();
    patients.sort_unstable();
    patients.dedup();
    assert_eq!(studies.len(), 30);
    for patient in patients {
        let mut of_patient: Vec<Value> =
            studies.iter().filter(|study| reference(&study["subject"]) == patient).cloned().collect();
        of_patient.sort_by_key(|study| study["id"].to_string());
        of_patient.iter_mut().for_each(shorten);
        of_patient.iter_mut().for_each(leave_version_out);
        let mut resource = gateway.json(&format!("/fhir/{patient}")).await;
        leave_version_out(&mut resource);
        let name = file_name(&resource);
        insta::with_settings!({snapshot_path => "mapping", prepend_module_to_snapshot => false, omit_expression => true}, {
            insta::assert_json_snapshot!(name, json!({"patient": resource, "studies": of_patient}));
        });
    }
}

/// The page on the mapping says of each element whether it is filled; the samples show it.
#[tokio::test]
async fn every_element_is_shown_by_a_sample_or_said_to_be_absent() {
    let gateway = RunningGateway::over_samples_with("[fhir]\nnotes = true\n").await;
    for resource in ["ImagingStudy", "Patient", "Endpoint"] {
        let (all, _) = gateway.matches(&format!("/fhir/{resource}?_count=200")).await;
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
async fn comments_are_shown_only_where_it_is_configured() {
    let without = RunningGateway::over_samples().await.matches("/fhir/ImagingStudy?_count=200").await.0;
    assert!(!without.iter().any(|study| has(study, "note")));
    // Whichever source the series and instances come from.
    for detail in ["metadata", "qido"] {
        let more = format!("detail = \"{detail}\"\n[fhir]\nnotes = true\n");
        let with =
            RunningGateway::over_samples_with(&more).await.matches("/fhir/ImagingStudy?_count=200").await.0;
        let notes: Vec<_> = with.iter().filter_map(|study| study["note"].as_array()).collect();
        assert_eq!(
            json!(notes),
            json!([[{"text": "The phantom lay still."}, {"text": "Second try: the first was cut off at the apex."}]]),
            "{detail}"
        );
    }
}

/// Whether an element is anywhere in `value`, by its path.
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

/// The first instance of a series shows what all of them are.
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

/// It is another one whenever anything else is, and its time is that of the test.
fn leave_version_out(resource: &mut Value) {
    let meta = resource["meta"].as_object_mut().unwrap();
    assert!(meta.remove("versionId").is_some());
    meta.remove("lastUpdated");
    if meta.is_empty() {
        resource.as_object_mut().unwrap().remove("meta");
    }
}

/// By the number that people know, and by the id where two patients have the same one or none has any.
fn file_name(patient: &Value) -> String {
    let number = patient["identifier"][0]["value"].as_str().unwrap_or("none");
    let number: String =
        number.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    let id = patient["id"].as_str().unwrap();
    format!("{number}-{}", &id[..6])
}
