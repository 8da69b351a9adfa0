//! Several archives that hold studies with the same UIDs.

use serde_json::Value;

use crate::support::gateway::{RunningGateway, resources_with_mode};
use crate::support::pacs::{Pacs, RunningPacs, Study};

/// A gateway in front of `first` (main) and `second`.
async fn in_front_of(first: Pacs, second: Pacs, more: &str) -> (RunningGateway, [RunningPacs; 2]) {
    let (first, second) = (first.start().await, second.start().await);
    let second_archive = format!(
        "profile = \"orthanc\"\n{more}\n[[archive]]\nid = \"second\"\nurl = \"{}\"\nprofile = \"orthanc\"\n{more}\n",
        second.url()
    );
    (RunningGateway::start(&first.url(), &second_archive).await, [first, second])
}

fn of_patient(id: &str, series: &str) -> Pacs {
    Pacs::new().with_study(
        Study::new("1.2.1").patient(id, "Doe^Jane").study_date("20240131").series(series, "CT", 1),
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
        let (gateway, _archives) =
            in_front_of(of_patient(main, "1.2.1.1"), of_patient(second, "1.2.1.2"), systems).await;
        let read = gateway.get("/fhir/ImagingStudy/1.2.1").await;
        assert_eq!((read.status, &read.json()["issue"][0]["code"]), (502, &Value::from("multiple-matches")));
        assert!(read.text().contains("main, second"), "{}", read.text());
        let all = gateway.get_json("/fhir/ImagingStudy").await;
        assert_eq!(resources_with_mode(&all, "match").len(), 0, "{all}");
        let warning = resources_with_mode(&all, "outcome")[0].to_string();
        assert!(warning.contains("1.2.1 (archives: main, second)"), "{warning}");
        for (patient, own, other) in [(main, "main", "second"), (second, "second", "main")] {
            let found = gateway.get_json(&format!("/fhir/ImagingStudy?patient.identifier={patient}")).await;
            let studies = resources_with_mode(&found, "match");
            assert_eq!((studies.len(), &found["total"]), (1, &Value::from(1)), "{patient}: {found}");
            assert_eq!(studies[0]["subject"]["identifier"]["value"], patient);
            assert_eq!(endpoints(&studies[0]), [format!("Endpoint/{own}")], "the other patient's images");
            let warning = resources_with_mode(&found, "outcome")[0].to_string();
            assert!(warning.contains("another Patient ID") && warning.contains(other), "{warning}");
            // What was found for one patient must not become the result of a read.
            assert_eq!(gateway.get("/fhir/ImagingStudy/1.2.1").await.status, 502);
        }
        assert_eq!(gateway.get_json("/fhir/Patient").await["total"], 2);
    }
}

#[tokio::test]
async fn a_study_of_one_patient_in_two_archives_is_one_study_with_both_endpoints() {
    let anonymous =
        || Pacs::new().with_study(Study::new("1.2.1").study_date("20240131").series("1.2.1.1", "CT", 1));
    for (main, second, systems) in [
        (of_patient("P1", "1.2.1.1"), of_patient("P1", "1.2.1.1"), ""),
        (of_patient("P1", "1.2.1.1"), of_patient("P1", "1.2.1.1"), "patient_id_system = \"urn:oid:1.2.3\""),
        (of_patient("P1", "1.2.1.1"), anonymous(), ""),
    ] {
        let (gateway, _archives) = in_front_of(main, second, systems).await;
        let found = gateway.get_json("/fhir/ImagingStudy").await;
        assert_eq!(
            (&found["total"], resources_with_mode(&found, "outcome").len()),
            (&Value::from(1), 0),
            "{found}"
        );
        let study = gateway.get_json("/fhir/ImagingStudy/1.2.1").await;
        assert_eq!(endpoints(&study), ["Endpoint/main", "Endpoint/second"]);
    }
}

/// An archive that filters returns only one of two patients' rows.
#[tokio::test]
async fn a_search_that_finds_one_of_two_patients_of_a_uid_does_not_hide_the_conflict_from_a_read() {
    let study = |patient: &str| {
        Study::new("1.2.1").patient(patient, "Doe^Jane").study_date("20240131").series("1.2.1.1", "CT", 1)
    };
    let pacs = Pacs::new().with_study(study("P1")).with_study(study("P2")).start().await;
    let gateway = RunningGateway::start(&pacs.url(), "profile = \"orthanc\"").await;
    for patient in ["P1", "P2"] {
        let found = gateway.get_json(&format!("/fhir/ImagingStudy?patient.identifier={patient}")).await;
        assert_eq!(resources_with_mode(&found, "match")[0]["subject"]["identifier"]["value"], patient);
        assert_eq!(gateway.get("/fhir/ImagingStudy/1.2.1").await.status, 502, "{patient}");
    }
}
