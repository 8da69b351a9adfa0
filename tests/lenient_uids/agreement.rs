//! Odd UIDs of every kind in one archive, with and without the key: every study that FHIR lists is read, found by its identifier and
//! retrieved by DICOMweb, and every row that DICOMweb lists is retrieved. Everything else is counted, and refused with the reason.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::LENIENT;
use crate::support::gateway::{RunningGateway, resources_with_mode};
use crate::support::pacs::{Pacs, RunningPacs, Study};

/// Returns texts of every kind, which differ for every `number`.
fn odd_texts(number: usize) -> Vec<String> {
    vec![
        format!("1.2.{number}.3"),
        format!("1.2.0{number}"),
        format!("{number:02}{}", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f0"),
        format!("1..{number}"),
        format!("1.{number}."),
        format!(".{number}"),
        format!("x-{number}"),
        format!("-{number}"),
        format!("a_{number}"),
        format!("UID.{number}"),
        format!("{number}{}", "1".repeat(69)),
        format!("a b{number}"),
        format!("a/{number}"),
        format!("a*{number}"),
        format!("a%2e{number}"),
        format!("\u{e9}{number}"),
        ".".repeat(number + 1),
    ]
}

fn is_dicom_uid(text: &str) -> bool {
    let is_component = |part: &str| !part.is_empty() && part.chars().all(|digit| digit.is_ascii_digit());
    text.len() <= 64 && text.split('.').all(is_component)
}

fn is_safe(text: &str) -> bool {
    let is_legal = |character: char| character.is_ascii_alphanumeric() || ".-_".contains(character);
    text.len() <= 64 && text.chars().all(is_legal) && text.chars().any(|character| character != '.')
}

/// Starts an archive with a study for each kind of text, each with a series for each kind, and two studies whose UIDs are padded.
async fn start_odd_pacs() -> (RunningPacs, BTreeSet<String>) {
    let mut pacs = Pacs::new();
    let mut texts = BTreeSet::new();
    for (number, text) in odd_texts(0).into_iter().enumerate() {
        let mut study = Study::new(&text).patient(&format!("P{number}"), "Doe^Jane");
        for series in odd_texts(number + 1) {
            study = study.series(&series, "CT", 1);
        }
        pacs = pacs.with_study(study);
        texts.insert(text);
    }
    for (text, padded) in [("1.9.1", "1.9.1\u{0}"), ("1.9.2", "1.9.2 ")] {
        let study = Study::new(text).patient("P99", "Roe^Jane").series(&format!("{text}.1"), "CT", 1);
        pacs = pacs.with_study(study.attribute("0020000D", json!({"vr": "UI", "Value": [padded]})));
        texts.insert(text.to_owned());
    }
    (pacs.start().await, texts)
}

fn uids_of_rows(rows: &Value, tag: &str) -> BTreeSet<String> {
    let uid = |row: &Value| row[tag]["Value"][0].as_str().unwrap().trim_end_matches(['\0', ' ']).to_owned();
    rows.as_array().unwrap().iter().map(uid).collect()
}

/// Returns the number in the message of a search about omitted matches.
fn omitted_count(bundle: &Value) -> usize {
    let outcomes = resources_with_mode(bundle, "outcome");
    let issues = outcomes.iter().flat_map(|outcome| outcome["issue"].as_array().unwrap());
    let texts = issues.map(|issue| issue["diagnostics"].as_str().unwrap());
    let counts = texts
        .filter_map(|text| text.strip_prefix("Archive main: ")?.split(' ').next()?.parse::<usize>().ok());
    counts.sum()
}

async fn assert_listed_studies_are_served(
    gateway: &RunningGateway,
    listed: &[Value],
    is_accepted: fn(&str) -> bool,
) {
    for study in listed {
        let id = study["id"].as_str().unwrap();
        let read = gateway.get_json(&format!("/fhir/ImagingStudy/{id}")).await;
        assert_eq!(read["id"], id);
        let value = read["identifier"][0]["value"].as_str().unwrap();
        assert_eq!(value.strip_prefix("urn:oid:").unwrap_or(value), id);
        assert_eq!(value.starts_with("urn:oid:"), is_dicom_uid(id), "{value}");
        for query in [
            format!("_id={id}"),
            format!("identifier={value}"),
            format!("identifier=urn:dicom:uid%7C{value}"),
        ] {
            assert_eq!(gateway.search_ids(&format!("/fhir/ImagingStudy?{query}")).await, [id], "{query}");
        }
        let all_series = read["series"].as_array().unwrap();
        if id.starts_with("1.9.") {
            // The archive does not pad the UIDs of series.
            assert_eq!(all_series.len(), 1);
        } else {
            let number =
                read["series"][0]["uid"].as_str().unwrap().split('.').nth(2).unwrap().parse().unwrap();
            let expected =
                odd_texts(number).into_iter().filter(|uid| is_accepted(uid) && !uid.contains('_')).count();
            assert_eq!(all_series.len(), expected, "{id}");
        }
        for series in all_series {
            let uid = series["uid"].as_str().unwrap();
            assert_eq!(gateway.search_ids(&format!("/fhir/ImagingStudy?series={uid}")).await, [id], "{uid}");
            for instance in series["instance"].as_array().into_iter().flatten() {
                let uid = instance["uid"].as_str().unwrap();
                assert_eq!(
                    gateway.search_ids(&format!("/fhir/ImagingStudy?instance={uid}")).await,
                    [id],
                    "{uid}"
                );
            }
            for root in ["/dicom-web/main", "/dicom-web"] {
                let path = format!("{root}/studies/{id}/series/{uid}/metadata");
                assert_eq!(gateway.get(&path).await.status, 200, "{path}");
            }
        }
    }
}

async fn assert_agreement(lines: &str, is_accepted: fn(&str) -> bool) {
    let (pacs, texts) = start_odd_pacs().await;
    let gateway = RunningGateway::start(&pacs.url(), lines).await;
    let (listed, bundle) = gateway.search("/fhir/ImagingStudy?_count=200").await;
    let ids: BTreeSet<String> = listed.iter().map(|study| study["id"].as_str().unwrap().to_owned()).collect();
    let accepted: BTreeSet<String> = texts.iter().filter(|text| is_accepted(text)).cloned().collect();
    assert_eq!(ids, accepted.iter().filter(|text| !text.contains('_')).cloned().collect());
    assert_eq!(bundle["total"], ids.len());
    assert_eq!(omitted_count(&bundle), texts.len() - ids.len());
    assert_eq!(gateway.get_json("/fhir/Patient?_count=200").await["total"], odd_texts(0).len() + 1);
    assert_listed_studies_are_served(&gateway, &listed, is_accepted).await;
    for root in ["/dicom-web/main", "/dicom-web"] {
        let list = gateway.get(&format!("{root}/studies")).await;
        assert_eq!(uids_of_rows(&list.json(), "0020000D"), accepted, "{root}");
        assert_eq!(list.header("warning").is_some(), accepted.len() < texts.len(), "{root}");
        for uid in &accepted {
            let series = gateway.get_json(&format!("{root}/studies/{uid}/series")).await;
            for series in uids_of_rows(&series, "0020000E") {
                assert!(is_accepted(&series), "{series}");
                let path = format!("{root}/studies/{uid}/series/{series}/metadata");
                assert_eq!(gateway.get(&path).await.status, 200, "{path}");
            }
        }
        for uid in texts.difference(&accepted).filter(|uid| is_safe(uid)) {
            let refused = gateway.get(&format!("{root}/studies/{uid}/metadata")).await;
            assert!(
                refused.status == 400 && refused.text().contains("lenient_uids"),
                "{uid}: {}",
                refused.text()
            );
            if !uid.contains('_') {
                let read = gateway.get(&format!("/fhir/ImagingStudy/{uid}")).await;
                assert!(read.status == 404 && read.text().contains("lenient_uids"), "{uid}: {}", read.text());
            }
        }
    }
    let refused = |target: &String| {
        let path = target.split('?').next().unwrap().trim_start_matches("/dicom-web/");
        let fixed = ["studies", "series", "instances", "metadata"];
        path.split('/').any(|segment| !fixed.contains(&segment) && !is_accepted(segment))
    };
    let asked: Vec<_> = pacs.targets().into_iter().filter(refused).collect();
    assert_eq!(asked, [""; 0], "the archive is asked for no other UIDs");
}

#[tokio::test]
async fn every_odd_uid_is_served_or_refused_consistently_without_the_key() {
    assert_agreement("", is_dicom_uid).await;
}

#[tokio::test]
async fn every_odd_uid_is_served_or_refused_consistently_with_the_key() {
    assert_agreement(LENIENT, is_safe).await;
}
