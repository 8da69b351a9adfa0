//! Studies with a row without a PatientID, which may be that of any patient who has a study with the same UID.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::support::gateway::{RunningGateway, resources_with_mode};
use crate::support::pacs::{CannedResponse, Pacs, RunningPacs, Study};

const UNNAMED: &str = "";

/// Returns an archive that lists study 1.2.1 for each of `patients`, with the series 1.2.1.`number` and further.
fn archive(patients: &[&str], number: usize) -> Pacs {
    let studies = patients.iter().enumerate().map(|(index, patient)| {
        let modality = if *patient == UNNAMED { "CT" } else { "US" };
        let study = Study::new("1.2.1").series(&format!("1.2.1.{}", number + index), modality, 1);
        if *patient == UNNAMED {
            study.attribute("00100020", json!({"vr": "LO"}))
        } else {
            study.patient(patient, "Doe^Jane")
        }
    });
    studies.fold(Pacs::new(), Pacs::with_study)
}

async fn start(archives: &[&[&str]]) -> (RunningGateway, Vec<RunningPacs>) {
    let (mut started, mut config) = (Vec::new(), "profile = \"orthanc\"\n".to_owned());
    for (index, patients) in archives.iter().enumerate() {
        let pacs = archive(patients, 10 * (index + 1)).start().await;
        if index > 0 {
            let url = pacs.url();
            write!(config, "[[archive]]\nid = \"archive-{index}\"\nurl = \"{url}\"\nprofile = \"orthanc\"\n")
                .unwrap();
        }
        started.push(pacs);
    }
    (RunningGateway::start(&started[0].url(), &config).await, started)
}

fn series(study: &Value) -> Vec<&str> {
    study["series"].as_array().unwrap().iter().map(|series| series["uid"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_study_without_a_patient_id_in_one_archive_is_that_of_the_patient_in_another() {
    for (archives, expected) in [
        ([&[UNNAMED], &["P1"]] as [&[&str]; 2], ["1.2.1.10", "1.2.1.20"]),
        ([&["P1"], &[UNNAMED]], ["1.2.1.10", "1.2.1.20"]),
    ] {
        let (gateway, _archives) = start(&archives).await;
        let read = gateway.get_json("/fhir/ImagingStudy/1.2.1").await;
        assert_eq!(read["subject"]["identifier"]["value"], "P1", "{read}");
        let (patients, _) = gateway.search("/fhir/Patient?identifier=P1").await;
        assert_eq!(patients.len(), 1, "{archives:?}");
        assert_eq!(read["subject"]["reference"], format!("Patient/{}", patients[0]["id"].as_str().unwrap()));
        let id = patients[0]["id"].as_str().unwrap();
        for query in ["patient.identifier=P1".to_owned(), format!("patient={id}"), "modality=CT".to_owned()] {
            let bundle = gateway.get_json(&format!("/fhir/ImagingStudy?{query}")).await;
            let studies = resources_with_mode(&bundle, "match");
            assert_eq!(studies.len(), 1, "{archives:?} {query}: {bundle}");
            assert_eq!(series(&studies[0]), expected, "{archives:?} {query}");
        }
    }
}

/// The unnamed row is only seen by a query without the criterion, which reports the other patient, too.
#[tokio::test]
async fn a_row_without_a_patient_id_is_merged_with_no_patient_if_another_archive_lists_two() {
    let (gateway, _archives) = start(&[&[UNNAMED], &["P1"], &["P2"]]).await;
    for (patient, expected) in [("P1", "1.2.1.20"), ("P2", "1.2.1.30")] {
        let bundle = gateway.get_json(&format!("/fhir/ImagingStudy?patient.identifier={patient}")).await;
        let studies = resources_with_mode(&bundle, "match");
        assert_eq!(studies.len(), 1, "{bundle}");
        assert_eq!(series(&studies[0]), [expected], "{bundle}");
    }
}

/// The series of this archive name no patient, so they cannot be divided among the patients for whom it lists the study.
#[tokio::test]
async fn series_that_name_no_patient_belong_to_none_of_the_patients_for_whom_their_archive_lists_the_study() {
    for archives in [
        vec![&["P1", "P2"] as &[&str]],
        vec![&[UNNAMED, "P1", "P2"]],
        vec![&[UNNAMED, "P2"], &["P1"]],
        vec![&["P1", UNNAMED]],
    ] {
        let (gateway, _archives) = start(&archives).await;
        for query in [
            "patient.identifier=P1",
            "patient.identifier=P1&_summary=true",
            "patient.identifier=P2&_elements=series",
            "modality=CT",
            "modality=US&_summary=true",
            "_id=1.2.1",
        ] {
            let bundle = gateway.get_json(&format!("/fhir/ImagingStudy?{query}")).await;
            for study in resources_with_mode(&bundle, "match") {
                let value = study["subject"]["identifier"]["value"].as_str();
                let own: &[&str] = match (archives.len(), value) {
                    (2, Some("P1")) => &["1.2.1.20"],
                    _ => &[],
                };
                let found = study["series"].as_array().cloned().unwrap_or_default();
                let found: Vec<_> = found.iter().map(|series| series["uid"].as_str().unwrap()).collect();
                assert!(found.iter().all(|uid| own.contains(uid)), "{archives:?} {query}: {bundle}");
            }
            let matches = resources_with_mode(&bundle, "match").len();
            let outcomes = resources_with_mode(&bundle, "outcome").len();
            let is_listed = |patient: &str| archives.concat().contains(&patient);
            let may_match =
                (!query.contains("P2") || is_listed("P2")) && (!query.contains("CT") || is_listed(UNNAMED));
            assert!(matches == 0 || archives.len() == 2 || outcomes > 0, "{archives:?} {query}: {bundle}");
            assert!(matches + outcomes > 0 || !may_match, "{archives:?} {query}: {bundle}");
        }
        assert_eq!(gateway.get("/fhir/ImagingStudy/1.2.1").await.status, 502, "{archives:?}");
    }
}

/// Comparing each row with each other one would occupy a core for minutes.
#[tokio::test]
async fn a_study_that_an_archive_lists_for_thousands_of_patients_is_a_conflict_and_delays_no_other_study() {
    let row = |number: usize| {
        json!({
            "0020000D": {"vr": "UI", "Value": ["1.2.1"]},
            "00100020": {"vr": "LO", "Value": [format!("P{number}")]},
        })
    };
    let mut rows: Vec<_> = (0..4000).map(row).collect();
    rows.push(json!({
        "0020000D": {"vr": "UI", "Value": ["1.2.2"]}, "00100020": {"vr": "LO", "Value": ["P1"]},
    }));
    let pacs = Pacs::new().with_response("/studies", CannedResponse::json(Value::from(rows).to_string()));
    let pacs = pacs.start().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    let bundle = gateway.get_json("/fhir/ImagingStudy?_elements=id").await;
    let ids: Vec<_> = resources_with_mode(&bundle, "match").iter().map(|study| study["id"].clone()).collect();
    assert_eq!(ids, ["1.2.2"], "{bundle}");
    let warning = resources_with_mode(&bundle, "outcome")[0].to_string();
    assert!(warning.contains("1.2.1 (archives: main)"), "{warning}");
}
