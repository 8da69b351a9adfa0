//! The aggregate root, where archives assign one Study Instance UID to different patients.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use dicomweb_gateway::clock::{ManualClock, SharedClock};
use serde_json::Value;

use crate::support::gateway::RunningGateway;
use crate::support::pacs::{CannedResponse, Pacs, RunningPacs, Study};

/// Starts `archives`, whose ids are main, archive-1, archive-2, …, and a gateway in front of them.
async fn start(archives: Vec<Pacs>, archive_keys: &str) -> (RunningGateway, Vec<RunningPacs>) {
    let mut started = Vec::new();
    for archive in archives {
        started.push(archive.start().await);
    }
    let mut config = format!("{archive_keys}\n");
    for (number, pacs) in started.iter().enumerate().skip(1) {
        write!(config, "[[archive]]\nid = \"archive-{number}\"\nurl = \"{}\"\n{archive_keys}\n", pacs.url())
            .unwrap();
    }
    (RunningGateway::start(&started[0].url(), &config).await, started)
}

fn study_of(patient_id: &str) -> Study {
    Study::new("1.2.1").patient(patient_id, "Doe^Jane").series("1.2.1.1", "CT", 1)
}

fn pacs_with_patients(patient_ids: &[&str]) -> Pacs {
    patient_ids.iter().fold(Pacs::new(), |pacs, patient_id| pacs.with_study(study_of(patient_id)))
}

fn pacs_without_patient_id() -> Pacs {
    Pacs::new().with_study(study_of("").attribute("00100020", serde_json::json!({"vr": "LO"})))
}

/// Returns the archive with an error response to every request for `path`.
fn with_failure_at(pacs: Pacs, path: &str) -> Pacs {
    pacs.with_response(path, CannedResponse::status(500))
}

fn pacs_without_series_list(patient_id: &str) -> Pacs {
    with_failure_at(pacs_with_patients(&[patient_id]), "/studies/1.2.1/series")
}

fn patient_ids(rows: &Value) -> Vec<&str> {
    rows.as_array()
        .unwrap()
        .iter()
        .map(|row| row["00100020"]["Value"][0].as_str().unwrap_or_default())
        .collect()
}

/// Resources of the study, whose instances have the same UIDs in every archive.
const RESOURCES: [&str; 9] = [
    "studies/1.2.1",
    "studies/1.2.1/series",
    "studies/1.2.1/instances",
    "studies/1.2.1/metadata",
    "studies/1.2.1/rendered",
    "studies/1.2.1/series/1.2.1.1",
    "studies/1.2.1/series/1.2.1.1/instances",
    "studies/1.2.1/series/1.2.1.1/metadata",
    "studies/1.2.1/series/1.2.1.1/instances/1.2.1.1.1",
];

#[tokio::test]
async fn a_study_that_archives_assign_to_different_patients_is_not_retrieved_from_any_of_them() {
    for (archives, archive_keys) in [
        (vec![pacs_with_patients(&["P1"]), pacs_with_patients(&["P2"])], ""),
        (vec![pacs_with_patients(&["P1"]), pacs_with_patients(&["p1"])], ""),
        (
            vec![pacs_with_patients(&["1"]), pacs_with_patients(&["01"])],
            "patient_id_system = \"urn:oid:1.2.3\"",
        ),
        (vec![pacs_with_patients(&["P1"]), pacs_without_patient_id(), pacs_with_patients(&["P2"])], ""),
        (vec![pacs_with_patients(&["P1", "P2"]), pacs_with_patients(&["P1"])], ""),
        (vec![pacs_with_patients(&["P1", "P2"]), Pacs::new()], ""),
        (vec![pacs_with_patients(&["P1"]), pacs_without_series_list("P2")], ""),
    ] {
        let (gateway, _archives) = start(archives, archive_keys).await;
        for resource in RESOURCES {
            let response = gateway.get(&format!("/dicom-web/{resource}")).await;
            assert_eq!(response.status, 502, "{resource}: {}", response.text());
            let message = response.json()["message"].as_str().unwrap().to_owned();
            assert!(message.contains("different patients (main"), "{message}");
            assert!(message.contains("/dicom-web/{archive}/studies"), "{message}");
        }
        let response = gateway.get("/dicom-web/main/studies/1.2.1/metadata").await;
        assert_eq!(response.status, 200, "{}", response.text());
    }
}

#[tokio::test]
async fn a_search_lists_a_study_once_for_each_patient_to_whom_archives_assign_it() {
    for (archives, expected) in [
        (vec![pacs_with_patients(&["P1"]), pacs_with_patients(&["P2"])], vec!["P1", "P2"]),
        (
            vec![pacs_with_patients(&["P1"]), pacs_with_patients(&["P2"]), pacs_with_patients(&["P1"])],
            vec!["P1", "P2"],
        ),
        (
            vec![pacs_with_patients(&["P1"]), pacs_with_patients(&["P2"]), pacs_with_patients(&["P2"])],
            vec!["P1", "P2"],
        ),
        (
            vec![pacs_with_patients(&["P1"]), pacs_without_patient_id(), pacs_with_patients(&["P2"])],
            vec!["P1", "P2"],
        ),
        (vec![pacs_with_patients(&["P1"]), pacs_with_patients(&["P1"])], vec!["P1"]),
    ] {
        let (gateway, _archives) = start(archives, "").await;
        let rows = gateway.get_json("/dicom-web/studies").await;
        assert_eq!(patient_ids(&rows), expected);
        let pages = ["/dicom-web/studies?limit=1", "/dicom-web/studies?limit=1&offset=1"];
        for (number, page) in pages.iter().enumerate() {
            let rows = gateway.get_json(page).await;
            assert_eq!(patient_ids(&rows), expected.get(number..=number).unwrap_or_default(), "{page}");
        }
        assert_eq!(patient_ids(&gateway.get_json("/dicom-web/studies?PatientID=P1").await), ["P1"]);
    }
}

#[tokio::test]
async fn a_study_of_one_patient_in_several_archives_is_retrieved() {
    for (archives, archive_keys) in [
        (vec![pacs_with_patients(&["P1"]), pacs_with_patients(&["P1"])], ""),
        (
            vec![pacs_with_patients(&["P1"]), pacs_with_patients(&["P1"])],
            "patient_id_system = \"urn:oid:1.2.3\"",
        ),
        (vec![pacs_with_patients(&["P1"]), pacs_without_patient_id()], ""),
        // The second archive does not contain the study, because one of the two searches finds nothing.
        (vec![pacs_with_patients(&["P1"]), with_failure_at(Pacs::new(), "/studies")], ""),
        (vec![pacs_with_patients(&["P1"]), with_failure_at(Pacs::new(), "/studies/1.2.1/series")], ""),
    ] {
        let (gateway, _archives) = start(archives, archive_keys).await;
        let response = gateway.get("/dicom-web/studies/1.2.1/metadata").await;
        assert_eq!(response.status, 200, "{}", response.text());
    }
}

/// Creates an archive with a study. If `patient_id` is empty, the Patient ID of the study has no value.
fn pacs_with_patient(patient_id: &str, name: &str, birth_date: &str) -> Pacs {
    let mut study = study_of(patient_id).patient(patient_id, name);
    if patient_id.is_empty() {
        study = study.attribute("00100020", serde_json::json!({"vr": "LO"}));
    }
    if !birth_date.is_empty() {
        study = study.attribute("00100030", serde_json::json!({"vr": "DA", "Value": [birth_date]}));
    }
    Pacs::new().with_study(study)
}

#[tokio::test]
async fn a_part_without_a_patient_id_belongs_to_a_patient_whose_name_and_birth_date_do_not_differ() {
    for (first, second, is_conflict) in [
        (("P1", "Doe^Jane", "19700101"), ("", "DOE^JANE^^", "19700101"), false),
        (("P1", "Doe^Jane^Q", "19700101"), ("", "Döe^Jane", ""), false),
        (("P1", "Doe^Jane", ""), ("", "Doe", "19700101"), false),
        (("P1", "Doe^Jane", "19700101"), ("", "", "19700101"), false),
        (("", "Doe^Jane", "19700101"), ("", "Doe^Jane", "19700101"), false),
        (("P1", "Doe^Jane", "19700101"), ("P1", "Roe^Jane", "19700102"), false),
        (("P1", "Doe^Jane", "19700101"), ("", "Roe^Jane", "19700101"), true),
        (("P1", "Doe^Jane", "19700101"), ("", "Doe^John", "19700101"), true),
        (("P1", "Doe^Jane", "19700101"), ("", "Doe^Jane", "19700102"), true),
        (("", "Doe^Jane", "19700101"), ("", "Roe^Rick", ""), true),
    ] {
        let pacs = |(id, name, birth_date): (&str, &str, &str)| pacs_with_patient(id, name, birth_date);
        let (gateway, _archives) = start(vec![pacs(first), pacs(second)], "").await;
        let expected = if is_conflict { 502 } else { 200 };
        for resource in ["fhir/ImagingStudy/1.2.1", "dicom-web/studies/1.2.1/metadata"] {
            let response = gateway.get(&format!("/{resource}")).await;
            assert_eq!(response.status, expected, "{resource}, {first:?}, {second:?}: {}", response.text());
        }
        let rows = gateway.get_json("/dicom-web/studies").await;
        assert_eq!(rows.as_array().unwrap().len(), if is_conflict { 2 } else { 1 }, "{first:?}, {second:?}");
    }
}

/// An archive that cannot be searched for the study may contain a study of another patient with the same UID.
#[tokio::test]
async fn a_study_whose_patients_cannot_be_compared_is_not_retrieved() {
    let row = |tag: &str| format!("[{{\"{tag}\":{{\"vr\":\"UI\",\"Value\":[\"1.2.1\"]}}}}]");
    for second in [
        with_failure_at(pacs_with_patients(&["P1"]), "/studies"),
        with_failure_at(with_failure_at(Pacs::new(), "/studies"), "/studies/1.2.1/series"),
        Pacs::new().with_response("/studies/1.2.1/series", CannedResponse::json(row("0020000E"))),
    ] {
        let (gateway, _archives) = start(vec![pacs_with_patients(&["P1"]), second], "").await;
        for resource in RESOURCES {
            let response = gateway.get(&format!("/dicom-web/{resource}")).await;
            assert_eq!(response.status, 502, "{resource}: {}", response.text());
            assert!(response.text().contains("archive-1"), "{}", response.text());
        }
    }
}

/// Starts a gateway with a clock that does not advance by itself.
async fn start_with_clock(archives: [&RunningPacs; 2]) -> (RunningGateway, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    let config = format!("[[archive]]\nid = \"archive-1\"\nurl = \"{}\"\n", archives[1].url());
    let shared_clock = Arc::clone(&clock) as SharedClock;
    (RunningGateway::start_with_clock(shared_clock, &archives[0].url(), &config).await, clock)
}

#[tokio::test]
async fn a_copy_of_another_patient_that_appears_later_is_detected() {
    for resource in RESOURCES {
        let (first, second) = (pacs_with_patients(&["P1"]).start().await, Pacs::new().start().await);
        let (gateway, clock) = start_with_clock([&first, &second]).await;
        assert_eq!(gateway.get("/dicom-web/studies/1.2.1/metadata").await.status, 200);
        second.set_studies([study_of("P2")]);
        // Only the location that instances are retrieved from is cached, for a second.
        if resource.ends_with("instances/1.2.1.1.1") {
            clock.advance(Duration::from_secs(1));
        }
        let response = gateway.get(&format!("/dicom-web/{resource}")).await;
        assert_eq!(response.status, 502, "{resource}: {}", response.text());
        let instance =
            gateway.get("/dicom-web/studies/1.2.1/series/1.2.1.1/instances/1.2.1.1.1/metadata").await;
        assert_eq!(instance.status, 502, "{resource}: {}", instance.text());
    }
}

#[tokio::test]
async fn the_retrieval_of_instances_locates_their_study_at_most_once_per_second() {
    let instance = "/studies/1.2.1/series/1.2.1.1/instances/1.2.1.1.1";
    let first = pacs_with_patients(&["P1"])
        .with_response(instance, CannedResponse::multipart("b", [("application/dicom", &b"DICM"[..])]))
        .start()
        .await;
    let second = Pacs::new().start().await;
    let (gateway, clock) = start_with_clock([&first, &second]).await;
    let get = async |headers: &[(&str, &str)]| {
        let response = gateway.get_with_headers(&format!("/dicom-web{instance}"), headers).await;
        assert_eq!(response.status, 200, "{}", response.text());
        second.targets().len()
    };
    assert_eq!(get(&[]).await, 2, "not one search for the study and one for its series");
    clock.advance(Duration::from_millis(900));
    assert_eq!(get(&[]).await, 2);
    assert_eq!(get(&[("Cache-Control", "no-cache")]).await, 4);
    clock.advance(Duration::from_secs(1));
    assert_eq!(get(&[]).await, 6);
}

/// The row without a Patient ID may be that of either patient.
#[tokio::test]
async fn a_row_without_a_patient_id_hides_no_row_of_two_patients() {
    let with_patient = |patient: &str| pacs_with_patients(&[patient]);
    for (archives, expected) in [
        (vec![pacs_without_patient_id(), with_patient("P2"), with_patient("P1")], vec!["", "P1", "P2"]),
        (vec![with_patient("P2"), pacs_without_patient_id(), with_patient("P1")], vec!["P1", "P2"]),
        (vec![pacs_without_patient_id(), with_patient("P2"), with_patient("P2")], vec![""]),
        (
            vec![pacs_without_patient_id(), with_patient("P2"), with_patient("P2"), with_patient("P1")],
            vec!["", "P1", "P2"],
        ),
    ] {
        let (gateway, _archives) = start(archives, "").await;
        let search = "/dicom-web/studies?StudyInstanceUID=1.2.1";
        let rows = gateway.get_json(search).await;
        let mut pages = Vec::new();
        for offset in 0..rows.as_array().unwrap().len() {
            let page = gateway.get_json(&format!("{search}&limit=1&offset={offset}")).await;
            pages.extend(page.as_array().unwrap().clone());
        }
        assert_eq!(Value::from(pages), rows, "in pages");
        let mut patients = patient_ids(&rows);
        patients.sort_unstable();
        assert_eq!(patients, expected);
    }
}
