//! DICOMweb, at the root of one archive and at the aggregate root.

use serde_json::Value;

use super::{INSTANCE, LENIENT, SERIES, STUDY, hashed_study, start_pacs, start_with_lenient_and_strict};
use crate::support::client::ReceivedResponse;
use crate::support::gateway::RunningGateway;
use crate::support::objects::{encode_explicit_file, image};
use crate::support::pacs::{CannedResponse, Pacs, Study};

const ROOTS: [&str; 2] = ["/dicom-web/main", "/dicom-web"];

fn uids(response: &ReceivedResponse, tag: &str) -> Vec<String> {
    assert_eq!((response.status, response.is_complete), (200, true), "{}", response.text());
    let uid = |row: &Value| row[tag]["Value"][0].as_str().unwrap().to_owned();
    response.json().as_array().unwrap().iter().map(uid).collect()
}

fn warnings(response: &ReceivedResponse) -> Vec<&str> {
    let warnings = response.headers.iter().filter(|(name, _)| name == "warning");
    warnings.map(|(_, value)| value.as_str()).collect()
}

#[tokio::test]
async fn without_the_key_a_retrieval_names_it_and_the_archive_is_not_asked() {
    let pacs = start_pacs().await;
    let lines = format!("wado_uri_url = \"{}/wado\"\n", pacs.url());
    let gateway = RunningGateway::start(&pacs.url(), &lines).await;
    for root in ROOTS {
        for path in [
            format!("studies/{STUDY}"),
            format!("studies/{STUDY}/metadata"),
            format!("studies/{STUDY}/series"),
            format!("studies/1.2.1/series/{SERIES}/rendered"),
            format!("studies/1.2.1/series/1.2.1.1/instances/{INSTANCE}/frames/1"),
            format!("studies?StudyInstanceUID={STUDY}"),
            format!("instances?SOPInstanceUID=1.2,{INSTANCE}"),
            format!("wado?requestType=WADO&studyUID={STUDY}&seriesUID=1.2&objectUID=1.2.3"),
        ] {
            let response = gateway.get(&format!("{root}/{path}")).await;
            assert_eq!(response.status, 400, "{path}: {}", response.text());
            assert!(response.text().contains("lenient_uids = true"), "{path}: {}", response.text());
            assert!(response.text().contains("PS3.5 9.1"), "{path}: {}", response.text());
        }
        let too_long = gateway.get(&format!("{root}/studies/{STUDY}0")).await;
        assert_eq!(too_long.status, 400);
        assert!(!too_long.text().contains("lenient_uids"), "no archive can serve it: {}", too_long.text());
    }
    assert_eq!(pacs.targets(), [""; 0]);
}

#[tokio::test]
async fn without_the_key_a_list_omits_what_cannot_be_retrieved_and_says_so() {
    let pacs = Pacs::new()
        .with_study(Study::new("1.2.1").series("1.2.1.1", "CT", 1).series("s-1", "MR", 1))
        .with_study(hashed_study())
        .start()
        .await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    for root in ROOTS {
        for (path, tag, expected) in [
            ("studies", "0020000D", vec!["1.2.1"]),
            ("studies?PatientName=*", "0020000D", vec!["1.2.1"]),
            ("studies?limit=10", "0020000D", vec!["1.2.1"]),
            ("studies/1.2.1/series", "0020000E", vec!["1.2.1.1"]),
            ("studies/1.2.1/instances", "00080018", vec!["1.2.1.1.1"]),
            ("series", "0020000E", vec!["1.2.1.1"]),
            ("instances", "00080018", vec!["1.2.1.1.1"]),
        ] {
            let response = gateway.get(&format!("{root}/{path}")).await;
            assert_eq!(uids(&response, tag), expected, "{root}/{path}");
            let warnings = warnings(&response);
            assert!(
                warnings[0].starts_with(
                    "299 dicomweb-gateway \"The archive returned results without a valid UID (PS3.5 9.1)"
                ),
                "{root}/{path}: {warnings:?}"
            );
            assert!(warnings[0].contains("lenient_uids"), "{warnings:?}");
        }
        let found = gateway.get(&format!("{root}/studies?StudyInstanceUID=1.2.1")).await;
        assert_eq!((uids(&found, "0020000D"), warnings(&found)), (vec!["1.2.1".to_owned()], vec![]));
    }
    let metrics = gateway.metrics();
    assert!(metrics.contains("gateway_upstream_rows_omitted_total{archive=\"main\"}"), "{metrics}");
}

#[tokio::test]
async fn a_full_page_of_rows_that_cannot_be_retrieved_is_an_error_that_names_the_key() {
    let pacs = Pacs::new().with_study(hashed_study()).start().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    let full = gateway.get("/dicom-web/main/studies?limit=1").await;
    assert_eq!(full.status, 502);
    assert!(full.text().contains("lenient_uids"), "{}", full.text());
    let partial = gateway.get("/dicom-web/main/studies?limit=2").await;
    assert_eq!((partial.status, partial.json(), warnings(&partial).len()), (200, serde_json::json!([]), 2));
}

#[tokio::test]
async fn with_the_key_a_list_that_omits_what_cannot_be_retrieved_does_not_name_the_key() {
    let pacs =
        Pacs::new().with_study(Study::new("a/b").series("1.2.3", "CT", 1)).with_study(hashed_study()).start();
    let (pacs, strict) = (pacs.await, start_pacs().await);
    let gateway = start_with_lenient_and_strict(&pacs, &strict).await;
    let list = gateway.get("/dicom-web/main/studies").await;
    assert_eq!(uids(&list, "0020000D"), [STUDY]);
    let warning = "299 dicomweb-gateway \"The archive returned results without a valid UID (PS3.5 9.1), which cannot be retrieved. They have been omitted\"";
    assert_eq!(warnings(&list), [warning]);
    let full = gateway.get("/dicom-web/main/studies?limit=1").await;
    assert_eq!(full.status, 502);
    assert!(full.text().contains("PS3.5 9.1") && !full.text().contains("lenient_uids"), "{}", full.text());
    // The second archive omits rows that it would not omit with the key.
    let all = gateway.get("/dicom-web/studies").await;
    assert!(warnings(&all).len() == 1 && warnings(&all)[0].contains("lenient_uids"), "{:?}", warnings(&all));
    let second = format!("[[archive]]\nid = \"second\"\nurl = \"{}\"\n{LENIENT}", pacs.url());
    let gateway = RunningGateway::start(&pacs.url(), &format!("{LENIENT}{second}")).await;
    assert_eq!(warnings(&gateway.get("/dicom-web/studies").await), [warning]);
}

#[tokio::test]
async fn with_the_key_everything_of_a_study_is_listed_and_retrieved() {
    let file = encode_explicit_file(image(STUDY, SERIES, INSTANCE, b"0123"));
    let instance = format!("/studies/{STUDY}/series/{SERIES}/instances/{INSTANCE}");
    let whole = CannedResponse::multipart("b", [("Content-Type: application/dicom", file.as_slice())]);
    let pacs = Pacs::new()
        .with_study(Study::new("1.2.1").series("1.2.1.1", "CT", 1))
        .with_study(hashed_study())
        .with_response(&instance, whole.clone())
        .with_response(&format!("/studies/{STUDY}"), whole)
        .with_response("/wado", CannedResponse::bytes("application/dicom", file.clone()))
        .start()
        .await;
    let lines = format!("{LENIENT}wado_uri_url = \"{}/wado\"\n", pacs.url());
    let gateway = RunningGateway::start(&pacs.url(), &lines).await;
    for root in ROOTS {
        let list = gateway.get(&format!("{root}/studies")).await;
        assert_eq!(
            (uids(&list, "0020000D"), warnings(&list)),
            (vec!["1.2.1".to_owned(), STUDY.to_owned()], vec![])
        );
        assert_eq!(
            list.json()[1]["00081190"]["Value"][0],
            format!("{}{root}/studies/{STUDY}", gateway.base_url()),
            "the URL of the study is one of the gateway"
        );
        for (path, tag, expected) in [
            (format!("studies?StudyInstanceUID={STUDY}"), "0020000D", STUDY),
            (format!("studies?0020000D={STUDY}"), "0020000D", STUDY),
            (format!("studies/{STUDY}/series"), "0020000E", SERIES),
            (format!("series?SeriesInstanceUID={SERIES}"), "0020000E", SERIES),
            (format!("studies/{STUDY}/instances"), "00080018", INSTANCE),
            (format!("studies/{STUDY}/series/{SERIES}/instances"), "00080018", INSTANCE),
            (format!("instances?SOPInstanceUID={INSTANCE}"), "00080018", INSTANCE),
            (format!("studies/{STUDY}/metadata"), "00080018", INSTANCE),
            (format!("studies/{STUDY}/series/{SERIES}/metadata"), "00080018", INSTANCE),
        ] {
            let response = gateway.get(&format!("{root}/{path}")).await;
            assert_eq!(uids(&response, tag)[0], expected, "{root}/{path}");
        }
        // The second response is from the cache.
        for _ in 0..2 {
            let metadata = gateway.get(&format!("{root}/studies/{STUDY}/series/{SERIES}/metadata")).await;
            assert_eq!(
                metadata.json()[0]["7FE00010"]["BulkDataURI"],
                format!("{}{root}{instance}/bulk/7fe00010", gateway.base_url()),
            );
        }
        let accept = [("Accept", "application/dicom")];
        let object = gateway.get_with_headers(&format!("{root}{instance}"), &accept).await;
        let has_file = object.body.windows(file.len()).any(|bytes| bytes == file);
        assert!(object.status == 200 && has_file, "{root}: {}", object.status);
        let whole = gateway.get(&format!("{root}/studies/{STUDY}")).await;
        assert_eq!(whole.status, 200, "{root}: {}", whole.text());
        let query = format!(
            "wado?requestType=WADO&studyUID={STUDY}&seriesUID={SERIES}&objectUID={INSTANCE}&contentType=application/dicom"
        );
        let by_uri = gateway.get(&format!("{root}/{query}")).await;
        assert_eq!((by_uri.status, &by_uri.body), (200, &file), "{root}: {}", by_uri.text());
    }
}

#[tokio::test]
async fn metadata_and_frames_are_synthesized_for_uids_of_a_lenient_archive() {
    let file = encode_explicit_file(image(STUDY, SERIES, INSTANCE, b"0123"));
    let whole = CannedResponse::multipart("b", [("Content-Type: application/dicom", file.as_slice())]);
    let instance = format!("/studies/{STUDY}/series/{SERIES}/instances/{INSTANCE}");
    let pacs = Pacs::new()
        .with_response(&format!("/studies/{STUDY}/series/{SERIES}"), whole.clone())
        .with_response(&instance, whole)
        .start()
        .await;
    let lines = format!("{LENIENT}synthesize = [\"metadata\", \"frames\"]\n");
    let gateway = RunningGateway::start(&pacs.url(), &lines).await;
    let metadata = gateway.get(&format!("/dicom-web/main/studies/{STUDY}/series/{SERIES}/metadata")).await;
    assert_eq!(uids(&metadata, "00080018"), [INSTANCE]);
    assert_eq!(
        metadata.json()[0]["7FE00010"]["BulkDataURI"],
        format!("{}/dicom-web/main{instance}/bulkdata/7FE00010", gateway.base_url())
    );
    let frame = gateway.get(&format!("/dicom-web/main{instance}/frames/1")).await;
    assert_eq!(frame.status, 200, "{}", frame.text());
}

#[tokio::test]
async fn a_dot_segment_or_an_escape_never_reaches_a_lenient_archive() {
    let pacs = start_pacs().await;
    let gateway = RunningGateway::start(&pacs.url(), LENIENT).await;
    for root in ROOTS {
        for path in [
            "studies/.",
            "studies/..",
            "studies/...",
            "studies/../patients",
            "studies/1.2.1/series/..",
            "studies/1.2.1/series/../instances",
            "studies/1.2.1/series/1.2.1.1/instances/./metadata",
            "studies/%2e%2e/metadata",
            "studies/%2E/metadata",
            "studies/..%2fpatients",
            "studies/a%2Fb",
            "studies/a%00",
            "studies/a%20b",
            "studies/a;b",
            "studies/a,b",
            "studies/a*",
            "studies/a%22b",
            "studies//metadata",
            "studies?StudyInstanceUID=..",
            "studies?StudyInstanceUID=a%26limit%3D1",
            "studies?StudyInstanceUID=a%2F..",
            "studies?StudyInstanceUID=a*",
        ] {
            let response = gateway.get(&format!("{root}/{path}")).await;
            assert!(matches!(response.status, 400 | 404), "{root}/{path}: {}", response.status);
        }
    }
    for id in ["..", ".", "a_b", "a%2Fb"] {
        let response = gateway.get(&format!("/fhir/ImagingStudy/{id}")).await;
        assert!(matches!(response.status, 400 | 404), "{id}: {}", response.status);
    }
    assert_eq!(pacs.targets(), [""; 0]);
}

#[tokio::test]
async fn the_aggregate_root_asks_only_lenient_archives_for_uids_that_are_not_those_of_dicom() {
    let (lenient, strict) = (start_pacs().await, start_pacs().await);
    let gateway = start_with_lenient_and_strict(&lenient, &strict).await;
    for path in [
        format!("studies/{STUDY}/metadata"),
        format!("studies/{STUDY}/series"),
        format!("studies/1.2.1/series/{SERIES}/instances"),
        format!("studies?StudyInstanceUID={STUDY}"),
        format!("series?SeriesInstanceUID={SERIES}"),
    ] {
        let response = gateway.get(&format!("/dicom-web/{path}")).await;
        assert_eq!(response.status, 200, "{path}: {}", response.text());
    }
    let mixed = gateway.get(&format!("/dicom-web/studies?StudyInstanceUID={STUDY},1.2.1")).await;
    assert_eq!(uids(&mixed, "0020000D").len(), 2);
    let targets = strict.targets();
    assert!(targets.iter().any(|target| target.contains("StudyInstanceUID=1.2.1")), "{targets:?}");
    for target in &targets {
        assert!(!target.contains(STUDY) && !target.contains(SERIES), "{target}");
    }
    // The strict archive is named by the error at its own root, and its rows are omitted with a warning.
    let refused = gateway.get(&format!("/dicom-web/strict/studies/{STUDY}")).await;
    assert!(refused.status == 400 && refused.text().contains("lenient_uids = true"), "{}", refused.text());
    let all = gateway.get("/dicom-web/studies").await;
    assert_eq!(uids(&all, "0020000D"), ["1.2.1", STUDY]);
    assert_eq!(warnings(&all).len(), 1);
}
