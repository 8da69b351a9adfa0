//! The aggregate root and FHIR agree about every study, series, count, modality, accession number and conflict, for every distribution
//! of instances over archives.

use std::collections::{BTreeMap, BTreeSet};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::Value;

use crate::support::distribution::{
    DistributedStudy, MODALITIES, any_studies, archives_with_all, start_with_studies,
};
use crate::support::gateway::{RunningGateway, resources_with_mode};

const ACCESSION_NUMBER: &str = "00080050";
const MODALITIES_IN_STUDY: &str = "00080061";
const STUDY: &str = "0020000D";
const SERIES: &str = "0020000E";
const INSTANCE: &str = "00080018";
const SERIES_COUNT: &str = "00201206";
const STUDY_INSTANCE_COUNT: &str = "00201208";
const SERIES_INSTANCE_COUNT: &str = "00201209";

fn values<'a>(row: &'a Value, tag: &str) -> BTreeSet<&'a str> {
    let values = row[tag]["Value"].as_array().map(Vec::as_slice).unwrap_or_default();
    values.iter().map(|value| value.as_str().unwrap()).filter(|value| !value.is_empty()).collect()
}

fn text<'a>(row: &'a Value, tag: &str) -> &'a str {
    row[tag]["Value"][0].as_str().unwrap()
}

fn texts<'a>(list: &'a Value, element: &str) -> BTreeSet<&'a str> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().map(|item| item[element].as_str().unwrap()).collect()
}

async fn rows(gateway: &RunningGateway, target: &str) -> Vec<Value> {
    gateway.get_json(&format!("/dicom-web/{target}")).await.as_array().unwrap().clone()
}

/// Returns the UIDs of the instances of each series; each instance must be listed once.
fn instances_by_series(rows: &[Value]) -> BTreeMap<String, BTreeSet<String>> {
    let mut instances: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in rows {
        let instance = text(row, INSTANCE).to_owned();
        let is_new = instances.entry(text(row, SERIES).to_owned()).or_default().insert(instance);
        assert!(is_new, "{row}");
    }
    instances
}

async fn assert_status(gateway: &RunningGateway, target: &str, status: u16, study: &DistributedStudy) {
    let response = gateway.get(target).await;
    assert_eq!(response.status, status, "{target}: {study:?}: {}", response.text());
}

/// Asserts that resources of a study of several patients are rejected, and that `rows` contains one row for each patient.
async fn assert_conflict(gateway: &RunningGateway, rows: &[Value], study: &DistributedStudy) {
    let uid = &study.uid;
    for resource in ["", "/metadata", "/series", "/instances", "/series/{uid}.0/metadata"] {
        let target = format!("/dicom-web/studies/{uid}{}", resource.replace("{uid}", uid));
        assert_status(gateway, &target, 502, study).await;
    }
    for list in ["series", "instances"] {
        assert_status(gateway, &format!("/dicom-web/{list}?StudyInstanceUID={uid}"), 502, study).await;
    }
    assert_status(gateway, &format!("/fhir/ImagingStudy/{uid}"), 502, study).await;
    let rows_of_study: Vec<_> = rows.iter().filter(|row| text(row, STUDY) == uid).collect();
    assert_eq!(
        rows_of_study.len(),
        study.archives_by_patient().len(),
        "not one row for each patient: {study:?}"
    );
    let patient_ids: BTreeSet<_> = rows_of_study.iter().flat_map(|row| values(row, "00100020")).collect();
    assert!(patient_ids.is_subset(&study.patient_ids()), "{study:?}");
}

/// Asserts that a row of a study has the totals of the ImagingStudy.
fn assert_totals(row: &Value, resource: &Value, study: &DistributedStudy) {
    assert_eq!(values(row, MODALITIES_IN_STUDY), texts(&resource["modality"], "code"), "{study:?}");
    assert_eq!(values(row, MODALITIES_IN_STUDY), study.modalities_in(&study.archives()), "{study:?}");
    assert_eq!(row[SERIES_COUNT]["Value"][0], resource["numberOfSeries"], "{study:?}");
    if !study.has_ambiguous_counts() {
        assert_eq!(row[STUDY_INSTANCE_COUNT]["Value"][0], resource["numberOfInstances"], "{study:?}");
    }
    let numbers = texts(&resource["identifier"], "value");
    assert!(study.accession_numbers_in(&study.archives()).is_subset(&numbers), "{study:?}");
    let numbers_in_row = values(row, ACCESSION_NUMBER);
    assert!(numbers_in_row.is_subset(&study.accession_numbers_in(&study.archives())), "{study:?}: {row}");
    assert_eq!(
        numbers_in_row.is_empty(),
        study.accession_numbers_in(&study.archives()).is_empty(),
        "{study:?}: {row}"
    );
}

async fn assert_agreement(gateway: &RunningGateway, study_rows: &[Value], study: &DistributedStudy) {
    let uid = &study.uid;
    let resource = gateway.get_json(&format!("/fhir/ImagingStudy/{uid}")).await;
    let study_rows: Vec<_> = study_rows.iter().filter(|row| text(row, STUDY) == uid).collect();
    assert_eq!(study_rows.len(), 1, "{study:?}");
    assert_totals(study_rows[0], &resource, study);
    let counts: BTreeMap<_, _> = resource["series"]
        .as_array()
        .unwrap()
        .iter()
        .map(|series| (series["uid"].as_str().unwrap(), &series["numberOfInstances"]))
        .collect();
    for list in [format!("studies/{uid}/series"), format!("series?StudyInstanceUID={uid}")] {
        let series = rows(gateway, &list).await;
        let counts_in_rows: BTreeMap<_, _> =
            series.iter().map(|row| (text(row, SERIES), &row[SERIES_INSTANCE_COUNT]["Value"][0])).collect();
        assert_eq!(counts_in_rows.len(), series.len(), "{list}");
        if study.has_ambiguous_counts() {
            assert!(counts_in_rows.keys().eq(counts.keys()), "{list}: {study:?}");
        } else {
            assert_eq!(counts_in_rows, counts, "{list}: {study:?}");
        }
    }
    for list in [format!("studies/{uid}/instances"), format!("instances?StudyInstanceUID={uid}")] {
        assert_eq!(instances_by_series(&rows(gateway, &list).await), study.instances(), "{list}: {study:?}");
    }
    let metadata = format!("studies/{uid}/metadata");
    if archives_with_all(study.series.iter().flatten()).is_empty() {
        assert_status(gateway, &format!("/dicom-web/{metadata}"), 501, study).await;
    } else {
        assert_eq!(instances_by_series(&rows(gateway, &metadata).await), study.instances(), "{study:?}");
    }
    for ((series, instances), archives) in study.instances().into_iter().zip(&study.series) {
        let list = rows(gateway, &format!("studies/{uid}/series/{series}/instances")).await;
        let expected = BTreeMap::from([(series.clone(), instances)]);
        assert_eq!(instances_by_series(&list), expected, "{study:?}");
        let metadata = format!("studies/{uid}/series/{series}/metadata");
        if archives_with_all(archives).is_empty() {
            assert_status(gateway, &format!("/dicom-web/{metadata}"), 501, study).await;
        } else {
            assert_eq!(instances_by_series(&rows(gateway, &metadata).await), expected, "{study:?}");
        }
    }
}

/// Asserts that a search finds the same studies of one patient at the aggregate root as in FHIR.
async fn assert_same_studies(
    gateway: &RunningGateway,
    query: &str,
    fhir_query: &str,
    studies: &[DistributedStudy],
) {
    let bundle = gateway.get_json(&format!("/fhir/ImagingStudy?{fhir_query}&_count=50")).await;
    let resources = resources_with_mode(&bundle, "match");
    let by_uid: BTreeMap<_, _> =
        resources.iter().map(|resource| (resource["id"].as_str().unwrap(), resource)).collect();
    let rows = rows(gateway, &format!("studies?{query}")).await;
    let mut uids = BTreeSet::new();
    for row in &rows {
        let study = studies.iter().find(|study| study.uid == text(row, STUDY)).unwrap();
        if !study.has_patient_conflict() {
            assert!(uids.insert(text(row, STUDY)), "{query}: {studies:?}");
            assert_totals(row, by_uid[text(row, STUDY)], study);
        }
    }
    let is_of_one_patient =
        |uid: &&str| studies.iter().any(|study| study.uid == **uid && !study.has_patient_conflict());
    let expected: BTreeSet<_> = by_uid.keys().copied().filter(is_of_one_patient).collect();
    assert_eq!(uids, expected, "{query}: {studies:?}");
}

#[tokio::test]
async fn the_aggregate_root_and_fhir_agree_about_every_distribution_of_studies_over_archives() {
    for (mut runner, runs) in [(TestRunner::deterministic(), 8), (TestRunner::default(), 4)] {
        for run in 0..runs {
            let archive_count = 2 + run % 2;
            let studies = any_studies(archive_count).new_tree(&mut runner).unwrap().current();
            let (gateway, _archives) = start_with_studies(archive_count, &studies).await;
            let study_rows = rows(&gateway, "studies").await;
            for study in &studies {
                if study.has_patient_conflict() {
                    assert_conflict(&gateway, &study_rows, study).await;
                } else {
                    assert_agreement(&gateway, &study_rows, study).await;
                }
            }
            assert_same_studies(&gateway, "", "", &studies).await;
            for modality in MODALITIES {
                let query = format!("ModalitiesInStudy={modality}");
                assert_same_studies(&gateway, &query, &format!("modality={modality}"), &studies).await;
            }
            for number in ["A1", "A2"] {
                let (query, fhir_query) =
                    (format!("AccessionNumber={number}"), format!("identifier={number}"));
                assert_same_studies(&gateway, &query, &fhir_query, &studies).await;
                for row in rows(&gateway, &format!("studies?{query}")).await {
                    assert_eq!(text(&row, ACCESSION_NUMBER), number);
                }
            }
            let mut pages = Vec::new();
            for offset in 0..study_rows.len() {
                pages.extend(rows(&gateway, &format!("studies?limit=1&offset={offset}")).await);
            }
            assert_eq!(pages, study_rows, "{studies:?}");
        }
    }
}
