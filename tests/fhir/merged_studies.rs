//! Studies of which several archives contain parts: one ImagingStudy is the union of the parts.

use std::collections::{BTreeMap, BTreeSet};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::support::distribution::{
    Archives, DistributedStudy, MODALITIES, any_studies, archive_id, archives_with_all, start,
    start_with_studies,
};
use crate::support::gateway::{RunningGateway, resources_with_mode};
use crate::support::pacs::{CannedResponse, Pacs, Study};

fn references(resource: &Value, element: &str) -> Vec<String> {
    let list = resource[element].as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().map(|reference| reference["reference"].as_str().unwrap().to_owned()).collect()
}

fn texts<'a>(list: &'a Value, element: &str) -> Vec<&'a str> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().map(|item| item[element].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_study_contains_the_series_and_identifiers_of_all_archives() {
    let with_ct = Study::new("1.2.1").accession_number("A1").series("1.2.1.1", "CT", 2);
    let with_report = Study::new("1.2.1").accession_number("A2").series("1.2.1.2", "SR", 1);
    let (gateway, _archives) =
        start(vec![Pacs::new().with_study(with_ct), Pacs::new().with_study(with_report)]).await;
    let study = gateway.get_json("/fhir/ImagingStudy/1.2.1").await;
    assert_eq!(texts(&study["series"], "uid"), ["1.2.1.1", "1.2.1.2"]);
    assert_eq!((&study["numberOfSeries"], &study["numberOfInstances"]), (&2.into(), &3.into()));
    assert_eq!(texts(&study["modality"], "code"), ["CT", "SR"]);
    let identifiers = texts(&study["identifier"], "value");
    assert!(identifiers.contains(&"A1") && identifiers.contains(&"A2"), "{identifiers:?}");
    assert_eq!(references(&study, "endpoint"), Vec::<String>::new(), "no archive serves all of the study");
    let series = study["series"].as_array().unwrap();
    assert_eq!(references(&series[0], "endpoint"), ["Endpoint/main"]);
    assert_eq!(references(&series[1], "endpoint"), ["Endpoint/archive-1"]);
    for query in [
        "modality=SR",
        "modality=CT&modality=SR",
        "identifier=A2",
        "series=1.2.1.2",
        "instance=1.2.1.2.1",
        "endpoint=Endpoint/archive-1",
        "endpoint=Endpoint/main",
        "endpoint=Endpoint/main&modality=SR",
        "endpoint=Endpoint/archive-1&modality=CT",
        "endpoint=Endpoint/main&endpoint=Endpoint/archive-1",
    ] {
        let bundle = gateway.get_json(&format!("/fhir/ImagingStudy?{query}")).await;
        let studies = resources_with_mode(&bundle, "match");
        assert_eq!(studies.len(), 1, "{query}: {bundle}");
        assert_eq!(texts(&studies[0]["series"], "uid"), ["1.2.1.1", "1.2.1.2"], "{query}");
    }
    let bundle = gateway.get_json("/fhir/ImagingStudy?modality:not=SR").await;
    assert_eq!(resources_with_mode(&bundle, "match").len(), 0, "{bundle}");
    for elements in ["_summary=true", "_elements=numberOfSeries,numberOfInstances,modality"] {
        let bundle = gateway.get_json(&format!("/fhir/ImagingStudy?{elements}")).await;
        let study = &resources_with_mode(&bundle, "match")[0];
        assert_eq!(
            (&study["numberOfSeries"], &study["numberOfInstances"]),
            (&2.into(), &3.into()),
            "{elements}"
        );
        assert_eq!(texts(&study["modality"], "code"), ["CT", "SR"], "{elements}");
    }
    let bundle = gateway.get_json("/fhir/ImagingStudy?_include=ImagingStudy:endpoint").await;
    assert_eq!(resources_with_mode(&bundle, "include").len(), 2, "{bundle}");
}

#[tokio::test]
async fn elements_of_which_the_archives_have_different_values_are_tagged_and_reported_on_request() {
    let text = |vr: &str, value: &str| json!({ "vr": vr, "Value": [value] });
    let study = |description: &str, date: &str, modality: &str| {
        let study = Study::new("1.2.1").patient("P1", "Doe^Jane").study_date(date);
        study.attribute("00081030", text("LO", description)).series("1.2.1.1", modality, 1)
    };
    let main = Pacs::new().with_study(study("Thorax", "20240131", "CT"));
    let other = Pacs::new().with_study(study("Chest", "20240201", "OT"));
    let (gateway, _archives) = start(vec![main, other]).await;
    let study = gateway.get_json("/fhir/ImagingStudy/1.2.1").await;
    assert_eq!(
        (&study["description"], &study["series"][0]["modality"]["code"]),
        (&"Thorax".into(), &"CT".into())
    );
    assert_eq!(texts(&study["meta"]["tag"], "code"), ["description", "series.modality", "started"]);
    let system = study["meta"]["tag"][0]["system"].as_str().unwrap();
    for (code, expected) in
        [("description", &["1.2.1"][..]), ("series.modality", &["1.2.1"]), ("location", &[])]
    {
        let ids = gateway.search_ids(&format!("/fhir/ImagingStudy?_tag={system}|{code}")).await;
        assert_eq!(ids, expected, "{code}");
    }
    let path = "/fhir/ImagingStudy";
    assert_eq!(resources_with_mode(&gateway.get_json(path).await, "outcome").len(), 0);
    let bundle = gateway.get_with_headers(path, &[("prefer", "return=OperationOutcome")]).await.json();
    let outcome = resources_with_mode(&bundle, "outcome")[0].to_string();
    assert!(
        outcome.contains("(main, archive-1) have different values of description, series.modality, started"),
        "{outcome}"
    );
    assert_eq!(bundle["total"], 1);
}

#[tokio::test]
async fn equal_copies_and_missing_values_are_no_difference() {
    let study = |patient: &str| Study::new("1.2.1").patient(patient, "Doe^Jane").series("1.2.1.1", "CT", 1);
    let main = Pacs::new().with_study(study("P1").study_date("20240131"));
    let (gateway, _archives) = start(vec![main, Pacs::new().with_study(study("P1"))]).await;
    let study = gateway.get_json("/fhir/ImagingStudy/1.2.1").await;
    assert_eq!((&study["meta"]["tag"], &study["started"]), (&Value::Null, &"2024-01-31".into()));
}

#[tokio::test]
async fn an_archive_with_all_of_a_study_is_its_only_endpoint() {
    let complete = Study::new("1.2.1").series("1.2.1.1", "CT", 3).series("1.2.1.2", "SR", 1);
    let part = Study::new("1.2.1").series("1.2.1.1", "CT", 2);
    let (gateway, _archives) =
        start(vec![Pacs::new().with_study(part), Pacs::new().with_study(complete)]).await;
    for query in ["", "?_summary=true"] {
        let study = gateway.get_json(&format!("/fhir/ImagingStudy/1.2.1{query}")).await;
        assert_eq!(references(&study, "endpoint"), ["Endpoint/archive-1"], "{query}");
        assert_eq!(
            (&study["numberOfSeries"], &study["numberOfInstances"]),
            (&2.into(), &4.into()),
            "{query}"
        );
        assert_eq!(study["series"][0]["numberOfInstances"], 3, "{query}");
        assert_eq!(study["series"][0]["endpoint"], Value::Null);
    }
    for (archive, expected) in [("main", &[][..]), ("archive-1", &["1.2.1"])] {
        for query in [format!("endpoint={archive}"), format!("endpoint={archive}&modality=CT")] {
            let path = format!("/fhir/ImagingStudy?{query}&_summary=true");
            assert_eq!(gateway.search_ids(&path).await, expected, "{query}");
        }
    }
}

#[tokio::test]
async fn a_study_is_an_error_if_one_of_its_archives_cannot_list_its_part() {
    let study = |series: &str| Study::new("1.2.1").series(series, "CT", 1);
    let failing = Pacs::new()
        .with_study(study("1.2.1.2"))
        .with_response("/studies/1.2.1/series", CannedResponse::status(500));
    let (gateway, _archives) = start(vec![Pacs::new().with_study(study("1.2.1.1")), failing]).await;
    let response = gateway.get("/fhir/ImagingStudy/1.2.1").await;
    assert_eq!(response.status, 502, "{}", response.text());
    assert!(response.text().contains("archive-1"), "{}", response.text());
}

async fn assert_union(archive_count: usize, studies: &[DistributedStudy]) {
    let (gateway, _archives) = start_with_studies(archive_count, studies).await;
    for study in studies.iter().filter(|study| !study.has_patient_conflict()) {
        let uid = &study.uid;
        let resource = gateway.get_json(&format!("/fhir/ImagingStudy/{uid}")).await;
        assert_study(&resource, study);
        let summary = gateway.get_json(&format!("/fhir/ImagingStudy/{uid}?_summary=true")).await;
        if !study.has_ambiguous_counts() {
            for element in ["numberOfSeries", "numberOfInstances", "modality"] {
                assert_eq!(summary[element], resource[element], "{element} of {uid}: {studies:?}");
            }
        }
    }
    for study in studies.iter().filter(|study| study.has_patient_conflict()) {
        let response = gateway.get(&format!("/fhir/ImagingStudy/{}", study.uid)).await;
        assert_eq!(response.status, 502, "{study:?}: {}", response.text());
    }
    // A study of two patients is a match only if the part of exactly one patient matches.
    let uids_with = |has: &dyn Fn(&DistributedStudy, &Archives) -> bool| -> BTreeSet<String> {
        let matching_parts = |study: &DistributedStudy| {
            study.archives_by_patient().iter().filter(|archives| has(study, archives)).count()
        };
        let matching = studies.iter().filter(|study| matching_parts(study) == 1);
        matching.map(|study| study.uid.clone()).collect()
    };
    for modality in MODALITIES {
        let expected = uids_with(&|study, archives| study.modalities_in(archives).contains(modality));
        assert_eq!(ids(&gateway, &format!("modality={modality}")).await, expected, "{modality}: {studies:?}");
    }
    for number in ["A1", "A2"] {
        let expected = uids_with(&|study, archives| study.accession_numbers_in(archives).contains(number));
        assert_eq!(ids(&gateway, &format!("identifier={number}")).await, expected, "{number}: {studies:?}");
    }
    for archive in 0..archive_count {
        let mut expected = uids_with(&|study, archives| study.endpoints_in(archives).contains(&archive));
        let query = format!("endpoint=Endpoint/{}", archive_id(archive));
        let mut found = ids(&gateway, &query).await;
        let is_ambiguous = |study: &&DistributedStudy| {
            study.archives_by_patient().iter().any(|archives| study.has_ambiguous_counts_in(archives))
        };
        for study in studies.iter().filter(is_ambiguous) {
            expected.remove(&study.uid);
            found.remove(&study.uid);
        }
        assert_eq!(found, expected, "{query}: {studies:?}");
    }
}

async fn ids(gateway: &RunningGateway, query: &str) -> BTreeSet<String> {
    let bundle = gateway.get_json(&format!("/fhir/ImagingStudy?{query}&_summary=true&_count=50")).await;
    resources_with_mode(&bundle, "match")
        .iter()
        .map(|study| study["id"].as_str().unwrap().to_owned())
        .collect()
}

fn endpoints_of(archives: Archives) -> BTreeSet<String> {
    archives.into_iter().map(|archive| format!("Endpoint/{}", archive_id(archive))).collect()
}

fn assert_study(resource: &Value, expected: &DistributedStudy) {
    let uid = &expected.uid;
    let series = resource["series"].as_array().unwrap();
    let found: BTreeMap<String, BTreeSet<String>> = series
        .iter()
        .map(|series| {
            let instances = texts(&series["instance"], "uid");
            assert_eq!(series["numberOfInstances"], instances.len(), "{uid}");
            let count = instances.len();
            let instances: BTreeSet<_> = instances.into_iter().map(str::to_owned).collect();
            assert_eq!(instances.len(), count, "duplicate instances of {uid}");
            (series["uid"].as_str().unwrap().to_owned(), instances)
        })
        .collect();
    assert_eq!(found, expected.instances());
    assert_eq!(resource["numberOfSeries"], expected.series.len());
    assert_eq!(resource["numberOfInstances"], expected.series.iter().map(Vec::len).sum::<usize>());
    let complete = endpoints_of(archives_with_all(expected.series.iter().flatten()));
    assert_eq!(references(resource, "endpoint").into_iter().collect::<BTreeSet<_>>(), complete);
    for (number, instances) in expected.series.iter().enumerate() {
        let resource = series.iter().find(|series| series["uid"] == format!("{uid}.{number}")).unwrap();
        let endpoints: BTreeSet<_> = references(resource, "endpoint").into_iter().collect();
        if !complete.is_empty() {
            assert!(endpoints.is_empty(), "the Endpoint of the study serves the series");
            continue;
        }
        let with_all = endpoints_of(archives_with_all(instances));
        let with_some = endpoints_of(instances.iter().flatten().copied().collect());
        assert_eq!(endpoints, if with_all.is_empty() { with_some } else { with_all });
    }
}

#[tokio::test]
async fn every_distribution_of_studies_over_archives_results_in_their_union() {
    for (mut runner, runs) in [(TestRunner::deterministic(), 6), (TestRunner::default(), 4)] {
        for run in 0..runs {
            let archive_count = 2 + run % 2;
            let studies = any_studies(archive_count).new_tree(&mut runner).unwrap().current();
            assert_union(archive_count, &studies).await;
        }
    }
}
