//! The FHIR API.

use serde_json::{Value, json};

use super::{INSTANCE, LENIENT, SERIES, STUDY, hashed_study, start_pacs, start_with_lenient_and_strict};
use crate::support::gateway::{RunningGateway, resources_with_mode};
use crate::support::pacs::{Pacs, Study};

fn warnings_in(bundle: &Value) -> Vec<String> {
    let outcomes = resources_with_mode(bundle, "outcome").into_iter();
    let issues = outcomes.flat_map(|outcome| outcome["issue"].as_array().cloned().unwrap());
    issues.map(|issue| issue["diagnostics"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_study_of_a_lenient_archive_is_read_with_its_uids_as_they_are() {
    let pacs = start_pacs().await;
    let gateway = RunningGateway::start(&pacs.url(), LENIENT).await;
    let study = gateway.get_json(&format!("/fhir/ImagingStudy/{STUDY}")).await;
    assert_eq!(study["id"], STUDY);
    assert_eq!(
        study["identifier"][0],
        json!({"use": "official", "system": "urn:dicom:uid", "value": STUDY}),
        "a text that is no OID has no urn:oid:"
    );
    assert_eq!(study["series"][0]["uid"], SERIES);
    assert_eq!(study["series"][0]["instance"][0]["uid"], INSTANCE);
    assert_eq!((&study["numberOfSeries"], &study["numberOfInstances"]), (&json!(1), &json!(2)));
    assert_eq!(gateway.get_json("/fhir/ImagingStudy/1.2.1").await["identifier"][0]["value"], "urn:oid:1.2.1");
}

#[tokio::test]
async fn every_search_by_a_uid_finds_the_study_of_a_lenient_archive() {
    let pacs = start_pacs().await;
    let gateway = RunningGateway::start(&pacs.url(), LENIENT).await;
    for query in [
        format!("_id={STUDY}"),
        format!("identifier={STUDY}"),
        format!("identifier=urn:dicom:uid%7C{STUDY}"),
        format!("series={SERIES}"),
        format!("instance={INSTANCE}"),
        "identifier=A9".to_owned(),
        "patient.identifier=P9".to_owned(),
    ] {
        let bundle = gateway.get_json(&format!("/fhir/ImagingStudy?{query}")).await;
        assert_eq!((&bundle["total"], &warnings_in(&bundle)[..]), (&json!(1), &[][..]), "{query}");
        assert_eq!(resources_with_mode(&bundle, "match")[0]["id"], STUDY, "{query}");
    }
    let bundle = gateway.get_json("/fhir/ImagingStudy?modality=CT").await;
    assert_eq!((&bundle["total"], &warnings_in(&bundle)[..]), (&json!(2), &[][..]));
    for (query, total) in [
        // The identifier of a text that is no OID has no prefix, and that of a DICOM UID has one.
        (format!("identifier=urn:dicom:uid%7Curn:oid:{STUDY}"), None),
        ("identifier=urn:dicom:uid%7C1.2.1".to_owned(), None),
        ("identifier=1.2.1".to_owned(), Some(0)),
        (format!("identifier:not=urn:dicom:uid%7C{STUDY}"), Some(1)),
    ] {
        let received = gateway.get(&format!("/fhir/ImagingStudy?{query}")).await;
        match total {
            Some(total) => assert_eq!(received.json()["total"], total, "{query}"),
            None => assert_eq!(received.status, 400, "{query}"),
        }
    }
}

#[tokio::test]
async fn without_the_key_the_total_counts_the_other_matches_and_the_outcome_names_the_archive() {
    let pacs = start_pacs().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    let expected = "Archive main: 1 match was omitted, because the archive has no valid Study Instance UID for it. With \
                    lenient_uids = true for this archive, 1 would be returned.";
    for query in ["modality=CT", "_summary=count", "_total=accurate", "_count=1", "_sort=started"] {
        let bundle = gateway.get_json(&format!("/fhir/ImagingStudy?{query}")).await;
        assert_eq!(
            (&bundle["total"], warnings_in(&bundle)),
            (&json!(1), vec![expected.to_owned()]),
            "{query}"
        );
    }
    let read = gateway.get(&format!("/fhir/ImagingStudy/{STUDY}")).await;
    assert_eq!(read.status, 404);
    let diagnostics = read.json()["issue"][0]["diagnostics"].as_str().unwrap().to_owned();
    assert!(
        diagnostics.starts_with("This id is not a DICOM UID (PS3.5 9.1), so no archive was searched for it.")
            && diagnostics.contains("lenient_uids = true"),
        "{diagnostics}"
    );
    assert!(pacs.targets().iter().all(|target| !target.contains(STUDY)), "{:?}", pacs.targets());
    assert_eq!(gateway.search_ids(&format!("/fhir/ImagingStudy?_id={STUDY}")).await, [""; 0]);
}

#[tokio::test]
async fn a_patient_known_only_by_a_study_without_a_valid_uid_is_a_patient() {
    let pacs = start_pacs().await;
    let gateway = RunningGateway::start(&pacs.url(), "[fhir]\nkeys = \"k\"\n").await;
    let (patients, bundle) = gateway.search("/fhir/Patient?identifier=P9").await;
    assert_eq!((patients.len(), &bundle["total"]), (1, &json!(1)));
    assert_eq!(patients[0]["name"][0]["family"], "Roe");
    let id = patients[0]["id"].as_str().unwrap();
    assert_eq!(gateway.get_json("/fhir/Patient").await["total"], 2);
    assert_eq!(gateway.search_ids("/fhir/Patient?name=roe").await, [id]);
    assert_eq!(
        gateway.search_ids("/fhir/Patient?_has:ImagingStudy:patient:modality=CT&name=roe").await,
        [id]
    );
    for path in [
        format!("/fhir/ImagingStudy?patient={id}"),
        format!("/fhir/Patient/{id}/$everything?_type=ImagingStudy"),
    ] {
        let bundle = gateway.get_json(&path).await;
        assert_eq!(bundle["total"], 0, "{path}");
        assert!(warnings_in(&bundle)[0].contains("1 match was omitted"), "{path}: {bundle}");
    }
    // A gateway that has not read any list looks the patient up.
    let other_gateway = RunningGateway::start(&pacs.url(), "[fhir]\nkeys = \"k\"\n").await;
    assert_eq!(other_gateway.get_json(&format!("/fhir/Patient/{id}")).await["name"][0]["family"], "Roe");
}

#[tokio::test]
async fn a_patient_with_neither_identifier_nor_valid_study_uid_is_no_patient() {
    let anonymous = |uid: &str| Study::new(uid).attribute("00100020", json!({"vr": "LO"}));
    let pacs = Pacs::new().with_study(anonymous("ab-1")).with_study(anonymous("1.2.1")).start().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    let ids = gateway.search_ids("/fhir/Patient").await;
    assert_eq!(ids.len(), 1, "no archive can be searched for a patient without an identifier");
    assert_eq!(gateway.get(&format!("/fhir/Patient/{}", ids[0])).await.status, 200);
}

#[tokio::test]
async fn a_uid_with_an_underscore_cannot_be_an_id_and_is_reported() {
    let pacs = Pacs::new()
        .with_study(Study::new("a_b").series("1.2.9.1", "CT", 1))
        .with_study(Study::new("1.2.1").series("1.2.1.1", "CT", 1).series("s_1", "MR", 1))
        .start()
        .await;
    let gateway = RunningGateway::start(&pacs.url(), LENIENT).await;
    let bundle = gateway.get_json("/fhir/ImagingStudy").await;
    assert_eq!(bundle["total"], 1);
    let warnings = warnings_in(&bundle);
    assert_eq!(
        warnings[0],
        "Archive main: 1 match was omitted, because the archive has no valid Study Instance UID for it."
    );
    assert!(
        warnings[1].starts_with("Study 1.2.1 is returned without 1 series and 0 instances")
            && !warnings[1].contains("lenient_uids"),
        "{warnings:?}"
    );
}

#[tokio::test]
async fn a_series_with_an_illegal_uid_is_returned_only_from_a_lenient_archive() {
    let study = || Study::new("1.2.1").series("1.2.1.1", "CT", 1).series("s-1", "MR", 2);
    let pacs = Pacs::new().with_study(study()).start().await;
    let strict = RunningGateway::start(&pacs.url(), "").await;
    let bundle = strict.get_json("/fhir/ImagingStudy").await;
    assert_eq!(resources_with_mode(&bundle, "match")[0]["series"].as_array().unwrap().len(), 1);
    let warning = warnings_in(&bundle).remove(0);
    assert!(
        warning.ends_with("With lenient_uids = true for the archive, 1 of them would be returned."),
        "{warning}"
    );
    assert_eq!(strict.get("/fhir/ImagingStudy?series=s-1").await.status, 400);
    let lenient = RunningGateway::start(&pacs.url(), LENIENT).await;
    let bundle = lenient.get_json("/fhir/ImagingStudy").await;
    assert_eq!(resources_with_mode(&bundle, "match")[0]["series"].as_array().unwrap().len(), 2);
    assert_eq!(warnings_in(&bundle), [""; 0]);
    for query in ["series=s-1", "instance=s-1.2"] {
        assert_eq!(lenient.search_ids(&format!("/fhir/ImagingStudy?{query}")).await, ["1.2.1"], "{query}");
    }
}

#[tokio::test]
async fn a_series_of_a_study_without_a_valid_uid_is_reported_by_a_search_for_the_series() {
    let pacs = Pacs::new().with_study(Study::new("ab-1").series("1.2.9.1", "CT", 1)).start().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    let bundle = gateway.get_json("/fhir/ImagingStudy?series=1.2.9.1").await;
    assert_eq!(bundle["total"], 0);
    assert_eq!(
        warnings_in(&bundle),
        [
            "Archive main: 1 match was omitted, because the archive has no valid Study Instance UID for it. 1 may not match, because \
          the series and instances were not compared. With lenient_uids = true for this archive, 1 would be returned."
        ]
    );
}

#[tokio::test]
async fn only_lenient_archives_are_asked_for_uids_that_are_not_those_of_dicom() {
    let (lenient, strict) = (start_pacs().await, start_pacs().await);
    let gateway = start_with_lenient_and_strict(&lenient, &strict).await;
    let study = gateway.get_json(&format!("/fhir/ImagingStudy/{STUDY}")).await;
    assert_eq!(study["endpoint"], json!([{"reference": "Endpoint/main", "type": "Endpoint"}]));
    for query in
        [format!("_id={STUDY},1.2.1"), format!("series={SERIES},1.2.1.1"), format!("identifier={STUDY}")]
    {
        let ids = gateway.search_ids(&format!("/fhir/ImagingStudy?{query}")).await;
        assert!(ids.contains(&STUDY.to_owned()), "{query}: {ids:?}");
    }
    let asked = |targets: Vec<String>| {
        targets.iter().any(|target| {
            let in_uid_key =
                target.split(['?', '&']).any(|key| key.contains("InstanceUID=") && key.contains('f'));
            in_uid_key || target.split('?').next().unwrap().contains(STUDY)
        })
    };
    assert!(asked(lenient.targets()));
    assert!(!asked(strict.targets()), "{:?}", strict.targets());
    let bundle = gateway.get_json("/fhir/ImagingStudy").await;
    assert_eq!(bundle["total"], 2);
    assert_eq!(warnings_in(&bundle).len(), 1);
    assert!(warnings_in(&bundle)[0].starts_with("Archive strict: 1 match was omitted"), "{bundle}");
    let not_found = gateway.get("/fhir/ImagingStudy/feed-1").await;
    assert_eq!(not_found.status, 404);
    assert!(
        not_found.text().contains("no archive with lenient_uids = true holds a study with it"),
        "{}",
        not_found.text()
    );
}

#[tokio::test]
async fn a_strict_archive_without_searches_across_studies_is_not_asked_for_the_series_of_a_lenient_one() {
    let (lenient, strict) = (start_pacs().await, start_pacs().await);
    let second = format!(
        "{LENIENT}[[archive]]\nid = \"strict\"\nprofile = \"dicom-rst\"\nurl = \"{}\"\n",
        strict.url()
    );
    let gateway = RunningGateway::start(&lenient.url(), &second).await;
    for query in [format!("series={SERIES}"), format!("instance={INSTANCE}")] {
        assert_eq!(gateway.search_ids(&format!("/fhir/ImagingStudy?{query}")).await, [STUDY], "{query}");
    }
    assert_eq!(strict.targets(), [""; 0], "its rule accepts none of these UIDs");
}

#[tokio::test]
async fn a_search_for_a_uid_that_no_resource_can_have_says_so() {
    let pacs = start_pacs().await;
    let gateway = RunningGateway::start(&pacs.url(), LENIENT).await;
    for (parameter, value) in
        [("identifier", "urn:dicom:uid%7Ca_b"), ("series", "a_b"), ("instance", "1.2.1.1.1,a_b")]
    {
        let bundle = gateway.get_json(&format!("/fhir/ImagingStudy?{parameter}={value}")).await;
        assert_eq!(
            warnings_in(&bundle),
            [format!(
                "Parameter {parameter}: no resource has this UID, because an id consists of letters, digits, hyphens and dots \
                 (R4 datatypes#id)."
            )],
            "{bundle}"
        );
        assert_eq!(bundle["total"], usize::from(value.starts_with('1')), "{bundle}");
    }
    assert_eq!(warnings_in(&gateway.get_json("/fhir/ImagingStudy?identifier=a_b").await), [""; 0]);
    assert!(pacs.targets().iter().all(|target| !target.contains("UID=a_b")), "{:?}", pacs.targets());
    let strict = RunningGateway::start(&pacs.url(), "").await;
    for query in ["identifier=urn:dicom:uid%7Ca_b", "series=a_b"] {
        assert_eq!(strict.get(&format!("/fhir/ImagingStudy?{query}")).await.status, 400, "{query}");
    }
}

#[tokio::test]
async fn the_study_of_a_lenient_archive_is_cached_and_invalidated_like_any_other() {
    let pacs = Pacs::new().with_study(hashed_study()).start().await;
    let gateway = RunningGateway::start(&pacs.url(), LENIENT).await;
    let path = format!("/fhir/ImagingStudy/{STUDY}");
    let first = gateway.get(&path).await;
    let request_count = pacs.requests().len();
    let second = gateway.get(&path).await;
    assert_eq!((first.status, first.header("etag")), (200, second.header("etag")));
    assert_eq!(pacs.requests().len(), request_count, "the second read is answered from the cache");
    let version = gateway.get_json(&path).await["meta"]["versionId"].as_str().unwrap().to_owned();
    assert_eq!(gateway.get(&format!("{path}/_history/{version}")).await.status, 200);
}
