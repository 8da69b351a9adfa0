//! Series and instances that name another patient than their study, in FHIR and at the aggregate root.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::support::gateway::{RunningGateway, link_url, resources_with_mode};
use crate::support::pacs::{CannedResponse, Pacs, RunningPacs, Study};

/// Starts a gateway in front of `archives`, whose ids are main, archive-1, …
async fn start(archives: Vec<Pacs>, keys: &str) -> (RunningGateway, Vec<RunningPacs>) {
    let mut started = Vec::new();
    for archive in archives {
        started.push(archive.start().await);
    }
    let mut config = format!("{keys}\n");
    for (number, pacs) in started.iter().enumerate().skip(1) {
        write!(config, "[[archive]]\nid = \"archive-{number}\"\nurl = \"{}\"\n{keys}\n", pacs.url()).unwrap();
    }
    (RunningGateway::start(&started[0].url(), &config).await, started)
}

/// The attributes by which a row names its patient: none, an ID, or an ID and its issuer.
type Named = (Option<&'static str>, Option<&'static str>);

const P1: Named = (Some("P1"), None);
const P2: Named = (Some("P2"), None);
const UNNAMED: Named = (None, None);

fn with_patient(mut row: Value, (id, issuer): Named) -> Value {
    for (tag, value) in [("00100020", id), ("00100021", issuer)] {
        if let Some(value) = value {
            let values = if value.is_empty() { json!([]) } else { json!([value]) };
            row[tag] = json!({"vr": "LO", "Value": values});
        }
    }
    row
}

fn series(uid: &str, patient: Named) -> Value {
    let row = json!({
        "0020000D": {"vr": "UI", "Value": ["1.2.1"]}, "0020000E": {"vr": "UI", "Value": [uid]},
        "00080060": {"vr": "CS", "Value": ["CT"]}, "00201209": {"vr": "IS", "Value": [1]},
    });
    with_patient(row, patient)
}

fn instance(series: &str, patient: Named) -> Value {
    let row = json!({
        "0020000D": {"vr": "UI", "Value": ["1.2.1"]}, "0020000E": {"vr": "UI", "Value": [series]},
        "00080018": {"vr": "UI", "Value": [format!("{series}.1")]},
        "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]},
    });
    with_patient(row, patient)
}

/// Creates an archive with a study of `study`, whose two series name the patients `of_series`, and the instances of them `of_instances`.
fn pacs(study: Named, of_series: [Named; 2], of_instances: [Named; 2]) -> Pacs {
    add_study(Pacs::new(), study, of_series, of_instances)
}

/// Adds the study of [`pacs`] to an archive whose responses precede those of the study.
fn add_study(pacs: Pacs, study: Named, of_series: [Named; 2], of_instances: [Named; 2]) -> Pacs {
    let mut held =
        Study::new("1.2.1").patient("", "Doe^Jane").series("1.2.1.1", "CT", 1).series("1.2.1.2", "CT", 1);
    let row = with_patient(json!({"00100020": {"vr": "LO"}}), study);
    for tag in ["00100020", "00100021"] {
        if let Some(element) = row.get(tag) {
            held = held.attribute(tag, element.clone());
        }
    }
    let uids = ["1.2.1.1", "1.2.1.2"];
    let series_rows: Vec<_> = uids.iter().zip(of_series).map(|(uid, patient)| series(uid, patient)).collect();
    let instances: Vec<_> =
        uids.iter().zip(of_instances).map(|(uid, patient)| instance(uid, patient)).collect();
    let json = |rows: &[Value]| CannedResponse::json(Value::from(rows.to_vec()).to_string());
    let mut pacs = pacs.with_study(held).with_response("/studies/1.2.1/series", json(&series_rows));
    for list in ["metadata", "instances"] {
        pacs = pacs.with_response(&format!("/studies/1.2.1/{list}"), json(&instances));
        for (uid, instance) in uids.iter().zip(&instances) {
            pacs = pacs.with_response(
                &format!("/studies/1.2.1/series/{uid}/{list}"),
                json(std::slice::from_ref(instance)),
            );
        }
    }
    pacs.with_response("/series", json(&series_rows)).with_response("/instances", json(&instances))
}

/// Resources below the study that contain rows or metadata of the second series.
const WITH_SECOND_INSTANCE: [&str; 4] = [
    "studies/1.2.1/metadata",
    "studies/1.2.1/instances",
    "studies/1.2.1/series/1.2.1.2/metadata",
    "studies/1.2.1/series/1.2.1.2/instances",
];

#[tokio::test]
async fn a_series_of_another_patient_is_a_conflict_in_fhir_and_at_the_aggregate_root() {
    for (study, of_series) in [(P1, [P1, P2]), (P1, [UNNAMED, P2]), (P1, [P2, P2]), (UNNAMED, [P1, P2])] {
        let (gateway, _archives) = start(vec![pacs(study, of_series, [UNNAMED; 2])], "").await;
        for path in ["/fhir/ImagingStudy/1.2.1", "/fhir/ImagingStudy/1.2.1?_summary=true"] {
            let read = gateway.get(path).await;
            let code = &read.json()["issue"][0]["code"];
            assert_eq!(
                (read.status, code),
                (502, &Value::from("multiple-matches")),
                "{of_series:?}: {}",
                read.text()
            );
            assert!(read.text().contains("1.2.1") && read.text().contains("main"), "{}", read.text());
            assert!(!read.text().contains("P2"), "{}", read.text());
        }
        let bundle = gateway.get_json("/fhir/ImagingStudy").await;
        assert_eq!(resources_with_mode(&bundle, "match").len(), 0, "{bundle}");
        assert_eq!(bundle["total"], 1, "the row matches");
        let outcome = &resources_with_mode(&bundle, "outcome")[0]["issue"][0];
        assert_eq!(outcome["code"], "multiple-matches", "{bundle}");
        for resource in [
            "studies/1.2.1",
            "studies/1.2.1/series",
            "studies/1.2.1/metadata",
            "studies/1.2.1/series/1.2.1.1/metadata",
            "studies/1.2.1/series/1.2.1.1/instances/1.2.1.1.1",
        ] {
            let response = gateway.get(&format!("/dicom-web/{resource}")).await;
            assert_eq!(response.status, 502, "{of_series:?} {resource}: {}", response.text());
            assert!(response.text().contains("different patients (main)"), "{}", response.text());
        }
        if study != UNNAMED {
            assert_eq!(gateway.get("/dicom-web/series").await.status, 502);
        }
    }
}

#[tokio::test]
async fn an_instance_of_another_patient_is_a_conflict_in_fhir_and_at_the_aggregate_root() {
    for detail in ["metadata", "qido"] {
        for (study, of_instances) in
            [(P1, [P1, P2]), (P1, [UNNAMED, P2]), (P1, [P2, P2]), (UNNAMED, [P1, P2])]
        {
            let archive = pacs(study, [UNNAMED; 2], of_instances);
            let (gateway, _archives) = start(vec![archive], &format!("detail = \"{detail}\"")).await;
            let read = gateway.get("/fhir/ImagingStudy/1.2.1").await;
            let code = &read.json()["issue"][0]["code"];
            assert_eq!((read.status, code), (502, &Value::from("multiple-matches")), "{}", read.text());
            for resource in &WITH_SECOND_INSTANCE[..if study == UNNAMED { 2 } else { 4 }] {
                let response = gateway.get(&format!("/dicom-web/{resource}")).await;
                assert_eq!(response.status, 502, "{resource}: {}", response.text());
                assert!(response.text().contains("different patients (main)"), "{}", response.text());
                let xml = [("Accept", "multipart/related; type=\"application/dicom+xml\"")];
                let path = format!("/dicom-web/{resource}");
                assert_eq!(gateway.get_with_headers(&path, &xml).await.status, 502, "{resource}");
                let path = format!("/dicom-web/{resource}?accept=application/dicom%2Bxml");
                assert_eq!(gateway.get(&path).await.status, 502, "{resource}");
            }
            let first_series = gateway.get("/dicom-web/studies/1.2.1/series/1.2.1.1/metadata").await;
            assert_eq!(first_series.status, if of_instances[0] == P2 { 502 } else { 200 });
            // The root of one archive returns what the archive has.
            assert_eq!(gateway.get("/dicom-web/main/studies/1.2.1/metadata").await.status, 200);
        }
    }
}

#[tokio::test]
async fn parts_without_a_patient_or_with_an_equal_one_are_those_of_the_study() {
    let issued: Named = (Some("P1"), Some("HOSPITAL"));
    for (study, of_parts, keys) in [
        (P1, [UNNAMED, UNNAMED], ""),
        (P1, [(Some(""), None), (Some("P1 "), None)], ""),
        (issued, [P1, issued], ""),
        (P1, [issued, issued], "patient_id_system = \"urn:oid:1.2.3\""),
        (issued, [P1, issued], "patient_id_system = \"urn:oid:1.2.3\""),
        (UNNAMED, [P1, P1], ""),
        (UNNAMED, [UNNAMED, P1], ""),
    ] {
        let (gateway, _archives) = start(vec![pacs(study, of_parts, of_parts)], keys).await;
        let study = gateway.get_json("/fhir/ImagingStudy/1.2.1").await;
        assert_eq!(study["series"].as_array().unwrap().len(), 2, "{of_parts:?}");
        assert!(study["meta"].get("tag").is_none(), "{study}");
        for resource in WITH_SECOND_INSTANCE.iter().chain(&["series", "instances", "studies/1.2.1/series"]) {
            let response = gateway.get(&format!("/dicom-web/{resource}")).await;
            assert_eq!(response.status, 200, "{of_parts:?} {resource}: {}", response.text());
            let xml = [("Accept", "multipart/related; type=\"application/dicom+xml\"")];
            let response = gateway.get_with_headers(&format!("/dicom-web/{resource}"), &xml).await;
            assert_eq!(response.status, 200, "{of_parts:?} {resource}: {}", response.text());
            assert!(response.text().contains("<NativeDicomModel"), "{resource}: {}", response.text());
        }
    }
}

#[tokio::test]
async fn a_part_whose_issuer_differs_is_one_of_another_patient() {
    let of = |issuer| (Some("P1"), Some(issuer));
    let (gateway, _archives) = start(vec![pacs(of("A"), [of("A"), of("B")], [UNNAMED; 2])], "").await;
    assert_eq!(gateway.get("/fhir/ImagingStudy/1.2.1").await.status, 502);
    assert_eq!(gateway.get("/dicom-web/studies/1.2.1/series").await.status, 502);
}

#[tokio::test]
async fn copies_without_a_patient_id_are_compared_by_the_patients_of_their_series() {
    let copy = |patient| pacs(UNNAMED, [patient; 2], [UNNAMED; 2]);
    let (gateway, _archives) = start(vec![copy(P1), copy(P2)], "").await;
    let read = gateway.get("/fhir/ImagingStudy/1.2.1").await;
    assert_eq!((read.status, &read.json()["issue"][0]["code"]), (502, &Value::from("multiple-matches")));
    assert!(read.text().contains("main"), "{}", read.text());
    assert_eq!(gateway.get("/dicom-web/studies/1.2.1/metadata").await.status, 502);
    let (gateway, _archives) = start(vec![copy(P1), copy(P1)], "").await;
    assert_eq!(gateway.get("/fhir/ImagingStudy/1.2.1").await.status, 200);
    assert_eq!(gateway.get("/dicom-web/studies/1.2.1/metadata").await.status, 200);
}

#[tokio::test]
async fn a_conflict_in_one_study_leaves_the_others_readable() {
    let other = Study::new("1.2.9").patient("P9", "Roe^Rick").series("1.2.9.1", "MR", 2);
    let archive = pacs(P1, [P1, P2], [UNNAMED; 2]).with_study(other);
    let (gateway, _archives) = start(vec![archive], "").await;
    let bundle = gateway.get_json("/fhir/ImagingStudy").await;
    assert_eq!(bundle["total"], 2, "{bundle}");
    let matches = resources_with_mode(&bundle, "match");
    assert_eq!((matches.len(), &matches[0]["id"]), (1, &Value::from("1.2.9")));
    assert_eq!(gateway.get("/dicom-web/studies/1.2.9/metadata").await.status, 200);
}

#[tokio::test]
async fn the_total_is_the_same_on_every_page_although_a_study_is_omitted() {
    let other = |uid: &str| Study::new(uid).patient("P9", "Roe^Rick").series(&format!("{uid}.1"), "MR", 1);
    let archive = pacs(P1, [P1, P2], [UNNAMED; 2]).with_study(other("1.2.8")).with_study(other("1.2.9"));
    let (gateway, _archives) = start(vec![archive], "").await;
    for search in [
        "/fhir/ImagingStudy?_count=1",
        "/fhir/ImagingStudy?_count=1&_sort=started",
        "/fhir?_type=ImagingStudy&_count=1",
    ] {
        let (mut found, mut omitted, mut page_count) = (0, 0, 0);
        let mut next = Some(search.to_owned());
        while let Some(path) = next {
            let page = gateway.get_json(&path).await;
            assert_eq!(page["total"], 3, "{search}: {page}");
            found += resources_with_mode(&page, "match").len();
            for outcome in resources_with_mode(&page, "outcome") {
                let text = outcome.to_string();
                assert!(text.contains("Study 1.2.1 is omitted, although Bundle.total counts it"), "{text}");
                omitted += 1;
            }
            page_count += 1;
            next =
                link_url(&page, "next").map(|url| url.strip_prefix(gateway.base_url()).unwrap().to_owned());
        }
        assert_eq!((found, omitted, page_count), (2, 1, 3), "{search}");
    }
    for search in ["_summary=count", "_elements=id", "_count=100", "_count=0"] {
        assert_eq!(gateway.get_json(&format!("/fhir/ImagingStudy?{search}")).await["total"], 3, "{search}");
    }
    // Every page of a search that reads all studies leaves the same one out.
    for search in ["bodysite:missing=true&_count=1", "bodysite:missing=true&_summary=count"] {
        let page = gateway.get_json(&format!("/fhir/ImagingStudy?{search}")).await;
        assert_eq!(page["total"], 2, "{search}: {page}");
        let outcome = resources_with_mode(&page, "outcome")[0].to_string();
        assert!(outcome.contains("Study 1.2.1 may match and is omitted"), "{search}: {outcome}");
    }
}

/// The archive lists the study once for each patient, so each series belongs to one of them.
#[tokio::test]
async fn a_search_by_patient_returns_the_series_of_one_of_two_patients_whom_the_archive_lists() {
    let second = Study::new("1.2.1").patient("P2", "Roe^Rick").series("1.2.1.2", "CT", 1);
    let archive = pacs(P1, [P1, P2], [P1, P2]).with_study(second);
    let (gateway, _archives) = start(vec![archive], "profile = \"orthanc\"").await;
    for (patient, series) in [("P1", "1.2.1.1"), ("P2", "1.2.1.2")] {
        let bundle = gateway.get_json(&format!("/fhir/ImagingStudy?patient.identifier={patient}")).await;
        let studies = resources_with_mode(&bundle, "match");
        assert_eq!(studies.len(), 1, "{bundle}");
        assert_eq!(studies[0]["series"].as_array().unwrap().len(), 1, "{bundle}");
        assert_eq!(studies[0]["series"][0]["uid"], series);
    }
    assert_eq!(gateway.get("/fhir/ImagingStudy/1.2.1").await.status, 502);
}

/// Two patients of one archive may even share a series UID.
#[tokio::test]
async fn instances_of_the_other_of_two_patients_are_not_in_the_series_of_the_first() {
    let second = Study::new("1.2.1").patient("P2", "Roe^Rick").series("1.2.1.2", "CT", 1);
    let shared = json!([instance("1.2.1.2", P2), instance("1.2.1.2", P1)]).to_string();
    for detail in ["metadata", "qido"] {
        let path = if detail == "qido" { "instances" } else { "metadata" };
        let base = Pacs::new().with_response(
            &format!("/studies/1.2.1/series/1.2.1.2/{path}"),
            CannedResponse::json(shared.clone()),
        );
        let archive = add_study(base, P1, [P1, UNNAMED], [P1, P2]).with_study(second.clone());
        let (gateway, _archives) = start(vec![archive], &format!("detail = \"{detail}\"")).await;
        let bundle = gateway.get_json("/fhir/ImagingStudy?patient.identifier=P1").await;
        let studies = resources_with_mode(&bundle, "match");
        assert_eq!(studies[0]["series"][1]["instance"].as_array().unwrap().len(), 1, "{bundle}");
    }
}
