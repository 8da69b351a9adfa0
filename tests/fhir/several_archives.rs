//! Several archives that hold a study with the same UID.

use serde_json::Value;

use crate::support::gateway::{RunningGateway, link_url, resources_with_mode};
use crate::support::pacs::{Pacs, RunningPacs, Study};

/// Starts a gateway in front of two archives, `main` and `second`, with the configuration keys `archive_keys` for each.
async fn start_with_two_archives(
    main: Pacs,
    second: Pacs,
    archive_keys: &str,
) -> (RunningGateway, [RunningPacs; 2]) {
    let (main, second) = (main.start().await, second.start().await);
    let second_archive = format!(
        "profile = \"orthanc\"\n{archive_keys}\n[[archive]]\nid = \"second\"\nurl = \"{}\"\nprofile = \"orthanc\"\n{archive_keys}\n",
        second.url()
    );
    (RunningGateway::start(&main.url(), &second_archive).await, [main, second])
}

/// Returns an archive with study 1.2.1 of this patient.
fn archive_with_study_of(patient_id: &str, series_uid: &str) -> Pacs {
    Pacs::new().with_study(
        Study::new("1.2.1")
            .patient(patient_id, "Doe^Jane")
            .study_date("20240131")
            .series(series_uid, "CT", 1),
    )
}

fn endpoints(study: &Value) -> Vec<&str> {
    study["endpoint"]
        .as_array()
        .unwrap()
        .iter()
        .map(|endpoint| endpoint["reference"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_uid_of_two_patients_in_two_archives_is_a_conflict_that_names_both_archives() {
    for (main, second, systems) in [
        ("P1", "P2", ""),
        ("P1", "P2", "patient_id_system = \"urn:oid:1.2.3\""),
        ("P1", "p1", ""),
        ("1", "01", "patient_id_system = \"urn:oid:1.2.3\""),
    ] {
        let (gateway, _archives) = start_with_two_archives(
            archive_with_study_of(main, "1.2.1.1"),
            archive_with_study_of(second, "1.2.1.2"),
            systems,
        )
        .await;
        let read = gateway.get("/fhir/ImagingStudy/1.2.1").await;
        assert_eq!((read.status, &read.json()["issue"][0]["code"]), (502, &Value::from("multiple-matches")));
        assert!(read.text().contains("main, second"), "{}", read.text());
        let bundle = gateway.get_json("/fhir/ImagingStudy").await;
        assert_eq!(resources_with_mode(&bundle, "match").len(), 0, "{bundle}");
        let warning = resources_with_mode(&bundle, "outcome")[0].to_string();
        assert!(warning.contains("1.2.1 (archives: main, second)"), "{warning}");
        for (patient, archive, other_archive) in [(main, "main", "second"), (second, "second", "main")] {
            let bundle = gateway.get_json(&format!("/fhir/ImagingStudy?patient.identifier={patient}")).await;
            let studies = resources_with_mode(&bundle, "match");
            assert_eq!((studies.len(), &bundle["total"]), (1, &Value::from(1)), "{patient}: {bundle}");
            assert_eq!(studies[0]["subject"]["identifier"]["value"], patient);
            assert_eq!(
                endpoints(&studies[0]),
                [format!("Endpoint/{archive}")],
                "the images are those of the other patient"
            );
            let warning = resources_with_mode(&bundle, "outcome")[0].to_string();
            assert!(warning.contains("another Patient ID") && warning.contains(other_archive), "{warning}");
            // A search by one patient must not change the result of a read.
            assert_eq!(gateway.get("/fhir/ImagingStudy/1.2.1").await.status, 502);
        }
        assert_eq!(gateway.get_json("/fhir/Patient").await["total"], 2);
    }
}

#[tokio::test]
async fn a_study_of_one_patient_in_two_archives_is_one_study_with_both_endpoints() {
    let without_patient_id =
        || Pacs::new().with_study(Study::new("1.2.1").study_date("20240131").series("1.2.1.1", "CT", 1));
    for (main, second, systems) in [
        (archive_with_study_of("P1", "1.2.1.1"), archive_with_study_of("P1", "1.2.1.1"), ""),
        (
            archive_with_study_of("P1", "1.2.1.1"),
            archive_with_study_of("P1", "1.2.1.1"),
            "patient_id_system = \"urn:oid:1.2.3\"",
        ),
        (archive_with_study_of("P1", "1.2.1.1"), without_patient_id(), ""),
    ] {
        let (gateway, _archives) = start_with_two_archives(main, second, systems).await;
        let bundle = gateway.get_json("/fhir/ImagingStudy").await;
        assert_eq!(
            (&bundle["total"], resources_with_mode(&bundle, "outcome").len()),
            (&Value::from(1), 0),
            "{bundle}"
        );
        let study = gateway.get_json("/fhir/ImagingStudy/1.2.1").await;
        assert_eq!(endpoints(&study), ["Endpoint/main", "Endpoint/second"]);
    }
}

#[tokio::test]
async fn a_search_for_one_of_two_patients_with_the_same_study_uid_does_not_hide_the_conflict_from_reads() {
    let study = |patient: &str| {
        Study::new("1.2.1").patient(patient, "Doe^Jane").study_date("20240131").series("1.2.1.1", "CT", 1)
    };
    let pacs = Pacs::new().with_study(study("P1")).with_study(study("P2")).start().await;
    let gateway = RunningGateway::start(&pacs.url(), "profile = \"orthanc\"").await;
    for patient in ["P1", "P2"] {
        let bundle = gateway.get_json(&format!("/fhir/ImagingStudy?patient.identifier={patient}")).await;
        assert_eq!(resources_with_mode(&bundle, "match")[0]["subject"]["identifier"]["value"], patient);
        assert_eq!(gateway.get("/fhir/ImagingStudy/1.2.1").await.status, 502, "{patient}");
    }
}

/// The second archive has more of the study, so only its Endpoint serves all of it.
#[tokio::test]
async fn every_way_to_find_an_endpoint_uses_the_references_of_the_resource() {
    let study = |count: usize| {
        Pacs::new().with_study(Study::new("1.2.1").patient("P1", "Doe^Jane").series("1.2.1.1", "CT", count))
    };
    let (gateway, _archives) = start_with_two_archives(study(1), study(3), "").await;
    let read = gateway.get_json("/fhir/ImagingStudy/1.2.1").await;
    assert_eq!(endpoints(&read), ["Endpoint/second"]);
    for (archive, expected) in [("main", 0), ("second", 1)] {
        for parameter in ["endpoint", "endpoint._id", "endpoint:Endpoint._id"] {
            let found = gateway.search_ids(&format!("/fhir/ImagingStudy?{parameter}={archive}")).await;
            assert_eq!(found.len(), expected, "{parameter}={archive}");
        }
    }
    let found = gateway.search_ids("/fhir/Endpoint?_has:ImagingStudy:endpoint:_id=1.2.1").await;
    assert_eq!(found, ["second"]);
    let (patients, _) = gateway.search("/fhir/Patient").await;
    let id = patients[0]["id"].as_str().unwrap();
    for path in [
        "ImagingStudy?_include=ImagingStudy:endpoint".to_owned(),
        format!("Patient/{id}/$everything?_type=Endpoint"),
    ] {
        let bundle = gateway.get_json(&format!("/fhir/{path}")).await;
        let resources = bundle["entry"].as_array().unwrap().iter().map(|entry| &entry["resource"]);
        let ids: Vec<_> = resources
            .filter(|resource| resource["resourceType"] == "Endpoint")
            .map(|endpoint| &endpoint["id"])
            .collect();
        assert_eq!(ids, ["second"], "{path}");
    }
}

/// Without a system, equal identifiers of two archives are those of two patients. A study in both archives has one subject.
#[tokio::test]
async fn patients_are_the_subjects_of_studies_and_find_exactly_their_studies() {
    let study = |number: usize, series: usize| {
        Study::new(&format!("1.2.{number}")).patient("P1", "Doe^Jane").series(
            &format!("1.2.{number}.{series}"),
            "CT",
            1,
        )
    };
    for (own_studies, own_system, expected) in [
        (vec![], "", vec![vec!["1.2.1", "1.2.2"]]),
        (vec![3], "", vec![vec!["1.2.1", "1.2.2"], vec!["1.2.3"]]),
        (vec![3, 4], "", vec![vec!["1.2.1", "1.2.2"], vec!["1.2.3", "1.2.4"]]),
        (vec![3], "patient_id_system = \"urn:oid:1.2.3\"", vec![vec!["1.2.1", "1.2.2", "1.2.3"]]),
    ] {
        let main = Pacs::new().with_study(study(1, 1)).with_study(study(2, 1));
        let mut second = Pacs::new().with_study(study(1, 2)).with_study(study(2, 2));
        for number in own_studies {
            second = second.with_study(study(number, 2));
        }
        let (gateway, _archives) = start_with_two_archives(main, second, own_system).await;
        for search in ["Patient", "Patient?identifier=P1", "Patient?name=doe"] {
            let bundle = gateway.get_json(&format!("/fhir/{search}")).await;
            let patients = resources_with_mode(&bundle, "match");
            assert_eq!(bundle["total"], expected.len(), "{search}: {bundle}");
            let mut found = Vec::new();
            for patient in patients {
                let id = patient["id"].as_str().unwrap();
                let mut studies = gateway.search_ids(&format!("/fhir/ImagingStudy?patient={id}")).await;
                studies.sort();
                let everything = gateway.get_json(&format!("/fhir/Patient/{id}/$everything")).await;
                let is_study = |entry: &&Value| entry["resource"]["resourceType"] == "ImagingStudy";
                let count = everything["entry"].as_array().unwrap().iter().filter(is_study).count();
                assert_eq!(count, studies.len(), "{everything}");
                let compartment = gateway.search_ids(&format!("/fhir/Patient/{id}/ImagingStudy")).await;
                assert_eq!(compartment.len(), studies.len());
                assert_eq!(gateway.get(&format!("/fhir/Patient/{id}")).await.status, 200);
                found.push(studies);
            }
            found.sort();
            assert_eq!(found, expected, "{search}");
        }
    }
}

/// The images of a study without a Patient ID may be those of either patient.
#[tokio::test]
async fn a_study_without_a_patient_id_belongs_to_neither_of_two_patients() {
    let without_patient_id = Pacs::new().with_study(
        Study::new("1.2.1").attribute("00100020", serde_json::json!({"vr": "LO"})).series("1.2.1.3", "CT", 1),
    );
    let first = archive_with_study_of("P1", "1.2.1.1").start().await;
    let (second, third) =
        (without_patient_id.start().await, archive_with_study_of("P2", "1.2.1.2").start().await);
    let config = format!(
        "[[archive]]\nid = \"second\"\nurl = \"{}\"\n[[archive]]\nid = \"third\"\nurl = \"{}\"\n",
        second.url(),
        third.url()
    );
    let gateway = RunningGateway::start(&first.url(), &config).await;
    for (patient, archive, series) in [("P1", "main", "1.2.1.1"), ("P2", "third", "1.2.1.2")] {
        let bundle = gateway.get_json(&format!("/fhir/ImagingStudy?patient.identifier={patient}")).await;
        let studies = resources_with_mode(&bundle, "match");
        assert_eq!(studies.len(), 1, "{bundle}");
        assert_eq!(endpoints(&studies[0]), [format!("Endpoint/{archive}")]);
        assert_eq!(studies[0]["series"].as_array().unwrap().len(), 1, "{bundle}");
        assert_eq!(studies[0]["series"][0]["uid"], series);
    }
    assert_eq!(gateway.get("/fhir/ImagingStudy/1.2.1").await.status, 502);
    for (query, matches) in [
        ("series=1.2.1.3", 0),
        ("endpoint=second", 0),
        ("patient.identifier=P2&series=1.2.1.3", 0),
        ("series=1.2.1.1", 1),
    ] {
        let bundle = gateway.get_json(&format!("/fhir/ImagingStudy?{query}")).await;
        assert_eq!(resources_with_mode(&bundle, "match").len(), matches, "{query}: {bundle}");
        let warning = resources_with_mode(&bundle, "outcome")[0].to_string();
        let archives = if matches == 0 { "main, second, third" } else { "second, third" };
        assert!(warning.contains(&format!("(archives: {archives})")), "{query}: {warning}");
    }
    assert_eq!(gateway.get("/fhir/ImagingStudy/1.2.1").await.status, 502);
}

#[tokio::test]
async fn a_patient_is_described_by_the_newest_study_in_any_archive() {
    let archive = |uid: &str, name: &str, date: &str| {
        let study = Study::new(uid).patient("P1", name).study_date(date).series(&format!("{uid}.1"), "CT", 1);
        Pacs::new().with_study(study)
    };
    let (gateway, _archives) = start_with_two_archives(
        archive("1.2.1", "Old^Name", "20200101"),
        archive("1.2.2", "New^Name", "20250101"),
        "patient_id_system = \"urn:oid:1.2.3\"",
    )
    .await;
    let (patients, _) = gateway.search("/fhir/Patient").await;
    assert_eq!((patients.len(), &patients[0]["name"][0]["family"]), (1, &Value::from("New")));
    let id = patients[0]["id"].as_str().unwrap();
    let mut read = gateway.get_json(&format!("/fhir/Patient/{id}")).await;
    let last_updated = read["meta"].as_object_mut().unwrap().remove("lastUpdated");
    assert!(last_updated.is_some_and(|time| time.is_string()), "{read}");
    assert_eq!(read, patients[0], "only a read knows when a study of the patient changed");
    assert_eq!(gateway.search_ids("/fhir/Patient?family=new").await, [id]);
    assert_eq!(gateway.search_ids("/fhir/Patient?family=old").await, [""; 0]);
}

/// A search by `_lastUpdated` observes all studies, and a search by another criterion that of one patient.
#[tokio::test]
async fn a_study_of_two_patients_does_not_change_whenever_the_study_of_one_of_them_is_returned() {
    let archive = |patient: &str, modality: &str| {
        let study = |number: usize| {
            Study::new(&format!("1.2.{number}")).patient(patient, "Doe^Jane").series(
                &format!("1.2.{number}.{}", modality.len()),
                modality,
                1,
            )
        };
        Pacs::new().with_study(study(1)).with_study(study(2))
    };
    let (gateway, _archives) = start_with_two_archives(archive("P1", "CT"), archive("P2", "US"), "").await;
    let mut first_versions = Vec::new();
    for query in ["modality=CT&_sort=_lastUpdated&_count=1", "modality=CT&_summary=true", "modality=CT"] {
        let mut path = format!("/fhir/ImagingStudy?{query}");
        let mut studies = Vec::new();
        for _ in 0..4 {
            let bundle = gateway.get_json(&path).await;
            studies.extend(resources_with_mode(&bundle, "match"));
            let Some(next) = link_url(&bundle, "next") else { break };
            path = next.strip_prefix(gateway.base_url()).unwrap().to_owned();
        }
        let mut versions: Vec<_> =
            studies.iter().map(|study| (study["id"].clone(), study["meta"]["lastUpdated"].clone())).collect();
        versions.sort_by_key(|(id, _)| id.to_string());
        assert_eq!(versions.len(), 2, "{query}: {versions:?}");
        if first_versions.is_empty() {
            first_versions = versions;
        } else {
            assert_eq!(versions, first_versions, "{query}");
        }
    }
    let time =
        gateway.get_json("/fhir/ImagingStudy?modality=CT&_lastUpdated=gt2020").await["meta"]["lastUpdated"]
            .clone();
    let time = time.as_str().unwrap();
    for query in ["modality=CT", "modality=US", "modality=CT"] {
        gateway.get_json(&format!("/fhir/ImagingStudy?{query}")).await;
    }
    let changes = format!("/fhir/ImagingStudy?modality=CT&_lastUpdated=gt{time}");
    assert_eq!(gateway.search_ids(&changes).await, [""; 0]);
}
