//! Studies that an archive describes incompletely: what is wrong with one study stays with that study.

use serde_json::{Value, json};

use crate::support::client;
use crate::support::gateway::{RunningGateway, resources_with_mode};
use crate::support::pacs::{CannedResponse, Pacs, RunningPacs, Study};

/// Identifiers that PS3.5 9.1 does not permit and that archives accept.
const ILLEGAL_UIDS: [&str; 5] = [
    "1.2.1.1.img2",
    "1.2.1.1-2",
    "1.2.1..2",
    "1.2.1.1.2.",
    "1.2.1.1.0123456789012345678901234567890123456789012345678901234567",
];

fn sound() -> Study {
    Study::new("1.2.2").patient("P2", "Roe^Richard").study_date("20240201").series("1.2.2.1", "MR", 2)
}

fn affected() -> Study {
    Study::new("1.2.1").patient("P1", "Doe^Jane").study_date("20240131").series("1.2.1.1", "CT", 2)
}

fn instance(series: &str, uid: Option<&str>) -> Value {
    let mut row = json!({
        "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]},
        "00180015": {"vr": "CS", "Value": ["CHEST"]},
        "0020000D": {"vr": "UI", "Value": ["1.2.1"]},
        "0020000E": {"vr": "UI", "Value": [series]},
    });
    if let Some(uid) = uid {
        row["00080018"] = json!({"vr": "UI", "Value": [uid]});
    }
    row
}

fn series(uid: Option<&str>) -> Value {
    let mut row = json!({
        "00080060": {"vr": "CS", "Value": ["CT"]},
        "0020000D": {"vr": "UI", "Value": ["1.2.1"]},
        "00201209": {"vr": "IS", "Value": [2]},
    });
    if let Some(uid) = uid {
        row["0020000E"] = json!({"vr": "UI", "Value": [uid]});
    }
    row
}

fn rows(rows: &[Value]) -> CannedResponse {
    CannedResponse::json(Value::from(rows.to_vec()).to_string())
}

async fn start(pacs: Pacs) -> (RunningPacs, RunningGateway) {
    let pacs = pacs.start().await;
    let gateway = RunningGateway::start(&pacs.url(), "profile = \"orthanc\"").await;
    (pacs, gateway)
}

fn is_subsetted(study: &Value) -> bool {
    study["meta"]["tag"].as_array().is_some_and(|tags| tags.iter().any(|tag| tag["code"] == "SUBSETTED"))
}

fn study(bundle: &Value, id: &str) -> Value {
    let found = resources_with_mode(bundle, "match")
        .into_iter()
        .chain(resources_with_mode(bundle, "include"))
        .find(|study| study["id"] == id);
    found.unwrap_or_else(|| panic!("{id} is missing: {bundle}"))
}

fn warnings(bundle: &Value) -> String {
    resources_with_mode(bundle, "outcome").iter().map(ToString::to_string).collect()
}

/// Every kind of search that reads the instances of all studies.
const PAGES: [&str; 6] = [
    "/fhir/ImagingStudy",
    "/fhir/ImagingStudy?_sort=-started",
    "/fhir/ImagingStudy?_include=ImagingStudy:patient&started=ge2000",
    "/fhir/ImagingStudy?_lastUpdated=gt2000-01-01",
    "/fhir?_type=ImagingStudy,Endpoint",
    "/fhir/Patient?identifier=P1,P2&_revinclude=ImagingStudy:patient",
];

#[tokio::test]
async fn instances_without_a_legal_uid_are_omitted_with_a_warning_and_affect_no_other_study() {
    for illegal in ILLEGAL_UIDS.map(Some).into_iter().chain([None]) {
        let metadata = rows(&[instance("1.2.1.1", Some("1.2.1.1.1")), instance("1.2.1.1", illegal)]);
        let pacs = Pacs::new().with_study(affected()).with_study(sound());
        let pacs = pacs
            .with_response("/studies/1.2.1/series/1.2.1.1/metadata", metadata.clone())
            .with_response("/studies/1.2.1/series/1.2.1.1/instances", metadata);
        let (_pacs, gateway) = start(pacs).await;
        for page in PAGES {
            let bundle = gateway.get_json(page).await;
            let found = study(&bundle, "1.2.1");
            assert!(is_subsetted(&found), "{illegal:?} {page}: {found}");
            assert_eq!(found["numberOfInstances"], 2, "{page}");
            assert_eq!(found["series"][0]["numberOfInstances"], 2, "{page}");
            assert_eq!(found["series"][0]["instance"].as_array().map(Vec::len), Some(1), "{page}");
            let text = warnings(&bundle);
            assert!(
                text.contains("Study 1.2.1") && text.contains("1 instances") && text.contains("archive main"),
                "{text}"
            );
            let whole = study(&bundle, "1.2.2");
            assert!(!is_subsetted(&whole), "{page}: {whole}");
            assert_eq!(whole["series"][0]["instance"].as_array().map(Vec::len), Some(2), "{page}");
        }
        assert_eq!(gateway.get_json("/fhir/ImagingStudy").await["total"], 2);
        assert!(is_subsetted(&gateway.get_json("/fhir/ImagingStudy/1.2.1").await));
        assert_eq!(
            gateway.get_json("/fhir/ImagingStudy?bodysite:text=chest").await["total"],
            1,
            "{illegal:?}"
        );
    }
}

#[tokio::test]
async fn series_without_a_legal_uid_are_omitted_with_a_warning_and_counted() {
    let mut other_series = series(Some("1.2.2.1"));
    other_series["0020000D"]["Value"][0] = "1.2.2".into();
    for illegal in ILLEGAL_UIDS.map(Some).into_iter().chain([None]) {
        let pacs = Pacs::new()
            .with_study(affected().series("1.2.1.9", "SR", 1))
            .with_study(sound())
            .with_response("/studies/1.2.1/series", rows(&[series(Some("1.2.1.1")), series(illegal)]))
            .with_response(
                "/series",
                rows(&[series(Some("1.2.1.1")), series(illegal), other_series.clone()]),
            );
        let (_pacs, gateway) = start(pacs).await;
        for page in PAGES {
            let bundle = gateway.get_json(page).await;
            let found = study(&bundle, "1.2.1");
            assert!(is_subsetted(&found), "{illegal:?} {page}: {found}");
            assert_eq!(found["numberOfSeries"], 2, "{page}");
            assert_eq!(found["series"].as_array().map(Vec::len), Some(1), "{page}");
            assert!(warnings(&bundle).contains("1 series"), "{bundle}");
        }
    }
}

#[tokio::test]
async fn a_study_without_all_of_its_series_is_an_error_of_this_study_and_is_not_cached() {
    let other_study = json!([{
        "0020000D": {"vr": "UI", "Value": ["1.2.2"]}, "0020000E": {"vr": "UI", "Value": ["1.2.2.1"]},
    }]);
    for incomplete in [
        CannedResponse::status(404),
        CannedResponse::status(204),
        CannedResponse::json("[]"),
        CannedResponse::json(other_study.to_string()),
        rows(&[series(Some("1.2.1.1"))]),
    ] {
        let whole = rows(&[series(Some("1.2.1.1")), series(Some("1.2.1.2"))]);
        let study_of_two = Study::new("1.2.1").patient("P1", "Doe^Jane").study_date("20240131");
        let study_of_two = study_of_two.series("1.2.1.1", "CT", 2).series("1.2.1.2", "CT", 2);
        let pacs = Pacs::new().with_study(study_of_two).with_study(sound());
        let pacs = pacs.with_responses(
            "/studies/1.2.1/series",
            [incomplete.clone(), incomplete.clone(), incomplete.clone(), whole],
        );
        let (_pacs, gateway) = start(pacs).await;
        let read = gateway.get("/fhir/ImagingStudy/1.2.1").await;
        assert_eq!(read.status, 502, "{}", read.text());
        assert!(read.text().contains("Archive main returned fewer series of a study"), "{}", read.text());
        let mut bundle = gateway.get_json("/fhir/ImagingStudy").await;
        if is_subsetted(&study(&bundle, "1.2.1")) {
            let row_only = study(&bundle, "1.2.1");
            assert_eq!((row_only.get("series"), row_only["numberOfSeries"].as_u64()), (None, Some(2)));
            assert!(warnings(&bundle).contains("Study 1.2.1 is returned without its series"), "{bundle}");
            assert!(!is_subsetted(&study(&bundle, "1.2.2")));
            assert_eq!(bundle["total"], 2);
            // The archive returns all series in one of the next requests.
            for _ in 0..3 {
                bundle = gateway.get_json("/fhir/ImagingStudy").await;
            }
        }
        assert_eq!(study(&bundle, "1.2.1")["series"].as_array().map(Vec::len), Some(2), "{bundle}");
        assert_eq!(resources_with_mode(&bundle, "outcome").len(), 0, "{bundle}");
        assert_eq!(
            gateway.get_json("/fhir/ImagingStudy/1.2.1").await["series"].as_array().map(Vec::len),
            Some(2)
        );
    }
}

#[tokio::test]
async fn an_unreadable_study_is_omitted_from_a_search_below_studies_with_a_warning() {
    for unreadable in [
        CannedResponse::json("[{"),
        CannedResponse::json("[]"),
        CannedResponse::status(500),
        CannedResponse::json(r#"{"message": "error"}"#),
        CannedResponse::html("<html/>"),
    ] {
        let pacs = Pacs::new().with_study(affected()).with_study(sound());
        let pacs = pacs
            .with_response("/studies/1.2.1/series/1.2.1.1/metadata", unreadable.clone())
            .with_response("/studies/1.2.1/series/1.2.1.1/instances", unreadable);
        let (_pacs, gateway) = start(pacs).await;
        let bundle = gateway.get_json("/fhir/ImagingStudy?instance:not=1.2.2.9&_total=accurate").await;
        assert_eq!(
            (bundle["total"].as_u64(), resources_with_mode(&bundle, "match").len()),
            (Some(1), 1),
            "{bundle}"
        );
        assert!(warnings(&bundle).contains("Study 1.2.1 may match and is omitted"), "{bundle}");
        assert_eq!(gateway.get("/fhir/ImagingStudy/1.2.1").await.status, 502);
        let read = json!({"request": {"method": "GET", "url": "ImagingStudy/1.2.1"}});
        let search = json!({"request": {"method": "GET", "url": "ImagingStudy"}});
        let batch = json!({"resourceType": "Bundle", "type": "batch", "entry": [read, search]});
        let url = format!("{}/fhir", gateway.base_url());
        let response = client::post(&url, "application/fhir+json", &batch.to_string()).await.json();
        assert_eq!(response["entry"][0]["response"]["status"], "502 Bad Gateway");
        assert_eq!(response["entry"][1]["resource"]["total"], 2, "{response}");
        // A patient or an Endpoint would be missing without a warning.
        for reverse in [
            "/fhir/Patient?_has:ImagingStudy:patient:instance:not=1.2.9",
            "/fhir/Endpoint?_has:ImagingStudy:endpoint:instance:not=1.2.9",
        ] {
            assert_eq!(gateway.get(reverse).await.status, 502, "{reverse}");
        }
    }
}

#[tokio::test]
async fn a_study_with_more_detail_than_permitted_is_an_error_of_this_study() {
    let many_series: Vec<_> = (0..50).map(|index| series(Some(&format!("1.2.1.{index}")))).collect();
    let many_instances: Vec<_> =
        (0..50).map(|index| instance("1.2.1.1", Some(&format!("1.2.1.1.{index}")))).collect();
    let listing = |path: &str, answer: CannedResponse| {
        Pacs::new().with_study(affected()).with_study(sound()).with_response(path, answer)
    };
    for (pacs, key) in [
        (
            listing("/studies/1.2.1/series", rows(&many_series)).with_response("/series", rows(&many_series)),
            "search.max_series",
        ),
        (
            listing("/studies/1.2.1/series/1.2.1.1/metadata", rows(&many_instances))
                .with_response("/studies/1.2.1/series/1.2.1.1/instances", rows(&many_instances)),
            "search.max_instances",
        ),
    ] {
        let pacs = pacs.start().await;
        let limits = "profile = \"orthanc\"\n[search]\nmax_series = 10\nmax_instances = 20\n";
        let gateway = RunningGateway::start(&pacs.url(), limits).await;
        let read = gateway.get("/fhir/ImagingStudy/1.2.1").await;
        assert!(read.status == 502 && read.text().contains(key), "{key}: {}", read.text());
        let bundle = gateway.get_json("/fhir/ImagingStudy").await;
        assert!(is_subsetted(&study(&bundle, "1.2.1")) && warnings(&bundle).contains(key), "{bundle}");
        assert!(!is_subsetted(&study(&bundle, "1.2.2")));
    }
}

#[tokio::test]
async fn shared_work_ends_at_its_own_deadline() {
    for hanging in ["/studies", "/studies/1.2.1/series"] {
        let pacs = Pacs::new()
            .with_study(affected())
            .with_response(hanging, CannedResponse::never_sent())
            .start()
            .await;
        let limits = "timeout = \"1h\"\n[search]\nload_timeout = \"100ms\"\n";
        let gateway = RunningGateway::start(&pacs.url(), limits).await;
        let received = gateway.get("/fhir/ImagingStudy").await;
        assert_eq!(received.status, 504, "{hanging}: {}", received.text());
        assert_eq!(received.json()["issue"][0]["code"], "timeout");
        pacs.wait_until_idle().await;
    }
}

#[tokio::test]
async fn an_incomplete_study_is_whole_as_soon_as_the_archive_lists_it_completely() {
    let row = series(Some("1.2.1.1"));
    let without_uid = series(None);
    let row_of_two = affected().attribute("00201206", json!({"vr": "IS", "Value": [2]}));
    let pacs = Pacs::new().with_study(row_of_two);
    let complete = rows(&[row.clone(), series(Some("1.2.1.2"))]);
    let metadata = rows(&[instance("1.2.1.2", Some("1.2.1.2.1")), instance("1.2.1.2", Some("1.2.1.2.2"))]);
    let pacs = pacs
        .with_responses("/studies/1.2.1/series", [rows(&[row, without_uid]), complete])
        .with_response("/studies/1.2.1/series/1.2.1.2/metadata", metadata);
    let (_pacs, gateway) = start(pacs).await;
    assert!(is_subsetted(&gateway.get_json("/fhir/ImagingStudy/1.2.1").await));
    let whole = gateway.get_json("/fhir/ImagingStudy/1.2.1").await;
    assert!(!is_subsetted(&whole), "{whole}");
    assert_eq!(whole["series"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn a_series_without_instances_is_an_error_of_its_study() {
    for nothing in [CannedResponse::json("[]"), CannedResponse::status(404), CannedResponse::status(204)] {
        let mut row = series(Some("1.2.1.1"));
        row.as_object_mut().unwrap().remove("00201209");
        let pacs = Pacs::new()
            .with_study(affected())
            .with_study(sound())
            .with_response("/studies/1.2.1/series", rows(&[row]));
        let pacs = pacs
            .with_response("/studies/1.2.1/series/1.2.1.1/metadata", nothing.clone())
            .with_response("/studies/1.2.1/series/1.2.1.1/instances", nothing);
        let (_pacs, gateway) = start(pacs).await;
        assert_eq!(gateway.get("/fhir/ImagingStudy/1.2.1").await.status, 502);
    }
}
