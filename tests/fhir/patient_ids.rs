//! Patient ids, which contain the PatientID encrypted: what a gateway does with the id of another one, of an old key, and of nobody.

use serde_json::Value;

use crate::support::gateway::{RunningGateway, resources_with_mode};
use crate::support::pacs::{Pacs, RunningPacs, Study};

const KEY: &str = "[fhir]\nkeys = \"old-key\"\n";

/// The PatientID of two studies. The second one does not fit into an id.
const PATIENT_IDS: [&str; 2] = ["4711", "a-PatientID-of-37-characters-in-total"];

async fn start_archive() -> RunningPacs {
    let studies = (0..30).map(|number| {
        let patient = if number < 2 { PATIENT_IDS[0] } else { PATIENT_IDS[1] };
        let patient = if number < 4 { patient.to_owned() } else { format!("P{number}") };
        let uid = format!("1.2.{}", number + 1);
        Study::new(&uid).patient(&patient, "Doe^Jane").series(&format!("{uid}.1"), "CT", 1)
    });
    studies.fold(Pacs::new(), Pacs::with_study).start().await
}

/// Returns the id of the patient of the study.
async fn patient_id(gateway: &RunningGateway, study: &str) -> String {
    let study = gateway.get_json(&format!("/fhir/ImagingStudy/{study}")).await;
    study["subject"]["reference"].as_str().unwrap().strip_prefix("Patient/").unwrap().to_owned()
}

fn ids(bundle: &Value) -> Vec<String> {
    let matches = resources_with_mode(bundle, "match");
    matches.iter().map(|resource| resource["id"].as_str().unwrap().to_owned()).collect()
}

/// Returns the number of searches for studies that the archive has received.
fn study_searches(pacs: &RunningPacs) -> usize {
    pacs.targets().iter().filter(|target| target.starts_with("/studies?")).count()
}

#[tokio::test]
async fn a_patient_is_found_with_two_calls_by_a_gateway_that_has_never_seen_the_patient() {
    let pacs = start_archive().await;
    let config = format!("[search]\nmax_scan = 10\n{KEY}");
    let id = patient_id(&RunningGateway::start(&pacs.url(), &config).await, "1.2.1").await;
    assert!(!id.contains("4711"), "{id}");
    let searches = [
        (format!("ImagingStudy?patient={id}&_summary=true&_sort=_id"), vec!["1.2.1", "1.2.2"]),
        (format!("ImagingStudy?patient._id={id}&_summary=true&_sort=_id"), vec!["1.2.1", "1.2.2"]),
        (format!("ImagingStudy?subject=Patient/{id}&_summary=true&_sort=_id"), vec!["1.2.1", "1.2.2"]),
        (format!("Patient?_id={id}"), vec![id.as_str()]),
    ];
    for (search, expected) in &searches {
        let gateway = RunningGateway::start(&pacs.url(), &config).await;
        let before = study_searches(&pacs);
        assert_eq!(ids(&gateway.get_json(&format!("/fhir/{search}")).await), *expected, "{search}");
        assert!(study_searches(&pacs) - before <= 2, "{search}: {:?}", pacs.targets());
    }
    let gateway = RunningGateway::start(&pacs.url(), &config).await;
    let before = pacs.targets().len();
    let patient = gateway.get_json(&format!("/fhir/Patient/{id}")).await;
    assert_eq!((&patient["id"], &patient["identifier"][0]["value"]), (&id.as_str().into(), &"4711".into()));
    assert!(pacs.targets().len() - before <= 2, "{:?}", pacs.targets());
}

#[tokio::test]
async fn a_patient_id_with_a_hash_is_found_in_the_list_of_all_studies() {
    let pacs = start_archive().await;
    let id = patient_id(&RunningGateway::start(&pacs.url(), KEY).await, "1.2.3").await;
    let gateway = RunningGateway::start(&pacs.url(), KEY).await;
    let patient = gateway.get_json(&format!("/fhir/Patient/{id}")).await;
    assert_eq!(patient["identifier"][0]["value"], PATIENT_IDS[1]);
    let studies = gateway.get_json(&format!("/fhir/ImagingStudy?patient={id}&_sort=_id")).await;
    assert_eq!(ids(&studies), ["1.2.3", "1.2.4"]);
}

/// FHIR strings contain no such characters, but the archive has to be searched for the PatientID as it is.
#[tokio::test]
async fn a_patient_id_with_characters_that_a_resource_lacks_is_that_of_another_patient() {
    let patients = ["P7", "P\u{1}7", "\u{3000}P7", "P7\u{a0}"];
    let studies = patients.iter().enumerate().map(|(index, patient)| {
        let uid = format!("1.2.{}", index + 1);
        Study::new(&uid).patient(patient, "Doe^Jane").series(&format!("{uid}.1"), "CT", 1)
    });
    // The archive is asked for patterns, such as P*7, which this one does not evaluate.
    let pacs = studies.fold(Pacs::new().ignore_matching_keys(), Pacs::with_study).start().await;
    for index in 1..=patients.len() {
        let uid = format!("1.2.{index}");
        let id = patient_id(&RunningGateway::start(&pacs.url(), KEY).await, &uid).await;
        let gateway = RunningGateway::start(&pacs.url(), KEY).await;
        let patient = gateway.get(&format!("/fhir/Patient/{id}")).await;
        assert_eq!(patient.json()["id"], id, "{uid}: {} {:?}", patient.text(), pacs.targets());
        let gateway = RunningGateway::start(&pacs.url(), KEY).await;
        let studies = gateway.get_json(&format!("/fhir/ImagingStudy?patient={id}")).await;
        assert_eq!(ids(&studies), [uid]);
    }
}

#[tokio::test]
async fn an_id_that_was_not_made_with_a_key_of_the_gateway_causes_no_call() {
    let pacs = start_archive().await;
    let id = patient_id(&RunningGateway::start(&pacs.url(), KEY).await, "1.2.1").await;
    let other_key = "[fhir]\nkeys = \"other-key\"\n";
    let changed = |position: usize| {
        let mut changed = id.clone().into_bytes();
        changed[position] = if changed[position] == b'A' { b'B' } else { b'A' };
        String::from_utf8(changed).unwrap()
    };
    let cases = [
        (other_key, id.clone()),
        (KEY, changed(0)),
        (KEY, changed(20)),
        (KEY, changed(63)),
        (KEY, "nobody".to_owned()),
        (KEY, "0".repeat(40)),
        (KEY, "A".repeat(64)),
    ];
    for (config, id) in cases {
        let gateway = RunningGateway::start(&pacs.url(), config).await;
        let before = pacs.targets().len();
        for path in ["", "/ImagingStudy", "/$everything"] {
            let response = gateway.get(&format!("/fhir/Patient/{id}{path}")).await;
            assert_eq!(response.status, 404, "{id}{path}");
            let diagnostics = response.json()["issue"][0]["diagnostics"].to_string();
            assert!(
                diagnostics.contains("was not made with the keys of this gateway (fhir.keys)"),
                "{diagnostics}"
            );
            assert!(diagnostics.contains("patient.identifier"), "{diagnostics}");
        }
        for (search, parameter) in [
            (format!("ImagingStudy?patient={id}"), "patient"),
            (format!("?_type=ImagingStudy&subject={id}"), "subject"),
            (format!("ImagingStudy?patient=Patient/{id}&_summary=count"), "patient"),
            (format!("ImagingStudy?patient._id={id}"), "patient"),
            (format!("Patient?_id={id}"), "_id"),
            (format!("Endpoint?_has:ImagingStudy:endpoint:patient={id}"), "_has"),
        ] {
            let bundle = gateway.get_json(&format!("/fhir/{search}")).await;
            assert_eq!((&bundle["total"], ids(&bundle).len()), (&Value::from(0), 0), "{search}");
            let outcomes = resources_with_mode(&bundle, "outcome");
            let diagnostics = outcomes[0]["issue"][0]["diagnostics"].as_str().unwrap();
            let expected =
                format!("Parameter {parameter}: a Patient id in the value was not made with the keys");
            assert!(diagnostics.starts_with(&expected) && !diagnostics.contains(&id), "{diagnostics}");
        }
        assert_eq!(pacs.targets().len(), before, "{id}");
    }
}

#[tokio::test]
async fn an_id_of_an_old_key_is_accepted_and_resources_have_the_id_of_the_new_key() {
    let pacs = start_archive().await;
    let gateway = RunningGateway::start(&pacs.url(), KEY).await;
    let old = [patient_id(&gateway, "1.2.1").await, patient_id(&gateway, "1.2.3").await];
    let gateway = RunningGateway::start(&pacs.url(), "[fhir]\nkeys = \"new-key old-key\"\n").await;
    let without_old = RunningGateway::start(&pacs.url(), "[fhir]\nkeys = \"new-key\"\n").await;
    for (old, study) in old.iter().zip(["1.2.1", "1.2.3"]) {
        let new = patient_id(&gateway, study).await;
        assert_ne!(&new, old);
        assert_eq!(patient_id(&without_old, study).await, new);
        assert_eq!(gateway.get_json(&format!("/fhir/Patient/{old}")).await["id"], new.as_str());
        for search in [
            format!("ImagingStudy?patient={old}"),
            format!("ImagingStudy?patient:Patient._id={old}"),
            format!("Patient?_id={old}"),
            format!("Patient?_has:ImagingStudy:patient:subject={old}"),
            format!("Patient/{old}/ImagingStudy"),
        ] {
            let bundle = gateway.get_json(&format!("/fhir/{search}")).await;
            assert_eq!(
                ids(&bundle),
                ids(&gateway.get_json(&format!("/fhir/{}", search.replace(old, &new))).await)
            );
            assert!(!ids(&bundle).is_empty(), "{search}");
        }
        let everything = gateway.get_json(&format!("/fhir/Patient/{old}/$everything")).await;
        assert!(everything.to_string().contains(&new) && everything["total"].as_u64() > Some(2));
    }
}

#[tokio::test]
async fn the_key_that_is_made_in_the_store_survives_a_restart() {
    let pacs = start_archive().await;
    let folder = tempfile::tempdir().unwrap();
    let config = format!("[store]\nurl = \"sqlite:{}/gateway.db\"\n", folder.path().display());
    let gateway = RunningGateway::start(&pacs.url(), &config).await;
    let id = patient_id(&gateway, "1.2.1").await;
    gateway.stop().await;
    let gateway = RunningGateway::start(&pacs.url(), &config).await;
    assert_eq!(
        gateway.get_json(&format!("/fhir/Patient/{id}")).await["identifier"][0]["value"],
        PATIENT_IDS[0]
    );
    let without_store = RunningGateway::start(&pacs.url(), "").await;
    assert_eq!(without_store.get(&format!("/fhir/Patient/{id}")).await.status, 404);
}
