//! Studies of which several archives contain parts: one ImagingStudy is the union of the parts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::Value;

use crate::support::gateway::{RunningGateway, resources_with_mode};
use crate::support::pacs::{CannedResponse, Pacs, RunningPacs, Study};

/// Starts a gateway in front of archives with the ids `archive-0`, `archive-1`, ...
async fn start(archives: Vec<Pacs>) -> (RunningGateway, Vec<RunningPacs>) {
    let mut running = Vec::new();
    for archive in archives {
        running.push(archive.start().await);
    }
    let mut settings = String::new();
    for (number, pacs) in running.iter().enumerate().skip(1) {
        write!(settings, "[[archive]]\nid = \"archive-{number}\"\nurl = \"{}\"\n", pacs.url()).unwrap();
    }
    (RunningGateway::start(&running[0].url(), &settings).await, running)
}

fn archive_id(number: usize) -> String {
    if number == 0 { "main".to_owned() } else { format!("archive-{number}") }
}

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
async fn an_archive_with_all_of_a_study_is_its_only_endpoint() {
    let all = Study::new("1.2.1").series("1.2.1.1", "CT", 3).series("1.2.1.2", "SR", 1);
    let some = Study::new("1.2.1").series("1.2.1.1", "CT", 2);
    let (gateway, _archives) = start(vec![Pacs::new().with_study(some), Pacs::new().with_study(all)]).await;
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
}

#[tokio::test]
async fn a_study_is_an_error_if_one_of_its_archives_cannot_list_its_part() {
    let study = |series: &str| Study::new("1.2.1").series(series, "CT", 1);
    let broken = Pacs::new()
        .with_study(study("1.2.1.2"))
        .with_response("/studies/1.2.1/series", CannedResponse::status(500));
    let (gateway, _archives) = start(vec![Pacs::new().with_study(study("1.2.1.1")), broken]).await;
    let response = gateway.get("/fhir/ImagingStudy/1.2.1").await;
    assert_eq!(response.status, 502, "{}", response.text());
    assert!(response.text().contains("archive-1"), "{}", response.text());
}

const MODALITIES: [&str; 3] = ["CT", "MR", "SR"];

/// The archives that contain an instance, as the numbers of instances by archive, series and study.
type Distribution = Vec<Vec<Vec<BTreeSet<usize>>>>;

/// For each study, series and instance: the archives that contain it, at least one.
fn any_distribution(archive_count: usize) -> impl Strategy<Value = Distribution> {
    let instance = proptest::collection::btree_set(0..archive_count, 1..=archive_count);
    let series = proptest::collection::vec(instance, 1..4);
    proptest::collection::vec(proptest::collection::vec(series, 1..4), 1..4)
}

fn archive_content(distribution: &Distribution, archive: usize) -> Pacs {
    let mut pacs = Pacs::new();
    for (study_number, study) in distribution.iter().enumerate() {
        let uid = format!("1.2.{study_number}");
        let mut content = Study::new(&uid);
        let mut has_series = false;
        for (series_number, series) in study.iter().enumerate() {
            let is_here = |(number, archives): (usize, &BTreeSet<usize>)| {
                archives.contains(&archive).then_some(number + 1)
            };
            let numbers: Vec<_> = series.iter().enumerate().filter_map(is_here).collect();
            if !numbers.is_empty() {
                has_series = true;
                let series_uid = format!("{uid}.{series_number}");
                content = content.series_with_instances(&series_uid, MODALITIES[series_number], numbers);
            }
        }
        if has_series {
            pacs = pacs.with_study(content);
        }
    }
    pacs
}

/// The archives that contain all of these instances.
fn archives_with_all<'a>(instances: impl IntoIterator<Item = &'a BTreeSet<usize>>) -> BTreeSet<String> {
    let common = instances.into_iter().cloned().reduce(|left, right| &left & &right);
    common
        .unwrap_or_default()
        .into_iter()
        .map(|archive| format!("Endpoint/{}", archive_id(archive)))
        .collect()
}

/// Whether a series has equally many, but different instances in two archives, which only reading the instances shows.
fn has_ambiguous_count(series: &[BTreeSet<usize>]) -> bool {
    let in_archive = |archive: usize| -> BTreeSet<usize> {
        (0..series.len()).filter(|number| series[*number].contains(&archive)).collect()
    };
    let parts: Vec<_> = (0..3).map(in_archive).filter(|part| !part.is_empty()).collect();
    let is_equal_count = parts.iter().all(|part| part.len() == parts[0].len());
    is_equal_count && parts.iter().any(|part| part != &parts[0])
}

async fn assert_union(archive_count: usize, distribution: &Distribution) {
    let archives = (0..archive_count).map(|archive| archive_content(distribution, archive)).collect();
    let (gateway, _archives) = start(archives).await;
    for (number, series) in distribution.iter().enumerate() {
        let uid = format!("1.2.{number}");
        let study = gateway.get_json(&format!("/fhir/ImagingStudy/{uid}")).await;
        assert_study(&study, &uid, series);
        let summary = gateway.get_json(&format!("/fhir/ImagingStudy/{uid}?_summary=true")).await;
        if !series.iter().any(|series| has_ambiguous_count(series)) {
            for element in ["numberOfSeries", "numberOfInstances", "modality"] {
                assert_eq!(summary[element], study[element], "{element} of {uid}: {distribution:?}");
            }
        }
        assert_dicomweb(&gateway, &uid, series).await;
    }
    for (number, modality) in MODALITIES.iter().enumerate() {
        let expected = distribution.iter().enumerate().filter(|(_, study)| study.len() > number);
        let expected: BTreeSet<_> = expected.map(|(number, _)| format!("1.2.{number}")).collect();
        assert_eq!(
            ids(&gateway, &format!("modality={modality}")).await,
            expected,
            "{modality}: {distribution:?}"
        );
    }
    for archive in 0..archive_count {
        let is_here = |study: &(usize, &Vec<Vec<BTreeSet<usize>>>)| {
            study.1.iter().flatten().any(|instance| instance.contains(&archive))
        };
        let expected: BTreeSet<_> = distribution
            .iter()
            .enumerate()
            .filter(is_here)
            .map(|(number, _)| format!("1.2.{number}"))
            .collect();
        let query = format!("endpoint=Endpoint/{}", archive_id(archive));
        assert_eq!(ids(&gateway, &query).await, expected, "{query}: {distribution:?}");
    }
}

async fn ids(gateway: &RunningGateway, query: &str) -> BTreeSet<String> {
    let bundle = gateway.get_json(&format!("/fhir/ImagingStudy?{query}&_summary=true&_count=50")).await;
    resources_with_mode(&bundle, "match")
        .iter()
        .map(|study| study["id"].as_str().unwrap().to_owned())
        .collect()
}

fn assert_study(study: &Value, uid: &str, expected: &[Vec<BTreeSet<usize>>]) {
    let series = study["series"].as_array().unwrap();
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
    let instance_uids =
        |series: &str, count: usize| (1..=count).map(|number| format!("{series}.{number}")).collect();
    let all: BTreeMap<String, BTreeSet<String>> = expected
        .iter()
        .enumerate()
        .map(|(number, instances)| {
            let series = format!("{uid}.{number}");
            let instances = instance_uids(&series, instances.len());
            (series, instances)
        })
        .collect();
    assert_eq!(found, all);
    assert_eq!(study["numberOfSeries"], expected.len());
    assert_eq!(study["numberOfInstances"], expected.iter().map(Vec::len).sum::<usize>());
    let complete = archives_with_all(expected.iter().flatten());
    assert_eq!(references(study, "endpoint").into_iter().collect::<BTreeSet<_>>(), complete);
    for (number, instances) in expected.iter().enumerate() {
        let resource = series.iter().find(|series| series["uid"] == format!("{uid}.{number}")).unwrap();
        let endpoints: BTreeSet<_> = references(resource, "endpoint").into_iter().collect();
        if !complete.is_empty() {
            assert!(endpoints.is_empty(), "the Endpoint of the study serves the series");
            continue;
        }
        let with_all = archives_with_all(instances);
        let with_some =
            instances.iter().flatten().map(|archive| format!("Endpoint/{}", archive_id(*archive)));
        assert_eq!(endpoints, if with_all.is_empty() { with_some.collect() } else { with_all });
    }
}

/// The aggregate DICOMweb root lists the same series and instances.
async fn assert_dicomweb(gateway: &RunningGateway, uid: &str, expected: &[Vec<BTreeSet<usize>>]) {
    let uids = |rows: &Value, tag: &str| -> BTreeSet<String> {
        rows.as_array().unwrap().iter().map(|row| row[tag]["Value"][0].as_str().unwrap().to_owned()).collect()
    };
    let series = gateway.get_json(&format!("/dicom-web/studies/{uid}/series")).await;
    let expected_series = (0..expected.len()).map(|number| format!("{uid}.{number}")).collect();
    assert_eq!(uids(&series, "0020000E"), expected_series);
    let instances = gateway.get_json(&format!("/dicom-web/studies/{uid}/instances")).await;
    let count: usize = expected.iter().map(Vec::len).sum();
    assert_eq!(uids(&instances, "00080018").len(), count);
}

#[tokio::test]
async fn every_distribution_of_studies_over_archives_results_in_their_union() {
    for (mut runner, runs) in [(TestRunner::deterministic(), 6), (TestRunner::default(), 4)] {
        for run in 0..runs {
            let archive_count = 2 + run % 2;
            let distribution = any_distribution(archive_count).new_tree(&mut runner).unwrap().current();
            assert_union(archive_count, &distribution).await;
        }
    }
}
