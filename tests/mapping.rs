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
