//! Studies that an archive describes incompletely: the response for such a study is incomplete or an error, and other studies are
//! not affected.

use serde_json::{Value, json};

use crate::support::client;
use crate::support::gateway::{RunningGateway, resources_with_mode};
use crate::support::pacs::{CannedResponse, Framing, Pacs, RunningPacs, Study};

/// UIDs that violate PS3.5 9.1, although archives contain such UIDs.
const INVALID_UIDS: [&str; 5] = [
    "1.2.1.1.img2",
    "1.2.1.1-2",
    "1.2.1..2",
    "1.2.1.1.2.",
    "1.2.1.1.0123456789012345678901234567890123456789012345678901234567",
];

/// Returns a study that the archives of these tests describe completely.
fn complete_study() -> Study {
    Study::new("1.2.2").patient("P2", "Roe^Richard").study_date("20240201").series("1.2.2.1", "MR", 2)
}

/// Returns the study that the archives of these tests describe incompletely.
fn incomplete_study() -> Study {
    Study::new("1.2.1").patient("P1", "Doe^Jane").study_date("20240131").series("1.2.1.1", "CT", 2)
}

fn instance_row(series_uid: &str, uid: Option<&str>) -> Value {
    let mut row = json!({
        "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]},
        "00180015": {"vr": "CS", "Value": ["CHEST"]},
        "0020000D": {"vr": "UI", "Value": ["1.2.1"]},
        "0020000E": {"vr": "UI", "Value": [series_uid]},
    });
    if let Some(uid) = uid {
        row["00080018"] = json!({"vr": "UI", "Value": [uid]});
    }
    row
}

fn series_row(uid: Option<&str>) -> Value {
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

fn list_of(rows: &[Value]) -> CannedResponse {
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

/// Returns the study from a Bundle.
fn study_in(bundle: &Value, id: &str) -> Value {
    let study = resources_with_mode(bundle, "match")
        .into_iter()
        .chain(resources_with_mode(bundle, "include"))
        .find(|study| study["id"] == id);
    study.unwrap_or_else(|| panic!("{id} is missing: {bundle}"))
}

fn warnings_in(bundle: &Value) -> String {
    resources_with_mode(bundle, "outcome").iter().map(ToString::to_string).collect()
}

/// Searches of every kind that read the instances of all studies.
const SEARCHES: [&str; 6] = [
    "/fhir/ImagingStudy",
    "/fhir/ImagingStudy?_sort=-started",
    "/fhir/ImagingStudy?_include=ImagingStudy:patient&started=ge2000",
    "/fhir/ImagingStudy?_lastUpdated=gt2000-01-01",
    "/fhir?_type=ImagingStudy,Endpoint",
    "/fhir/Patient?identifier=P1,P2&_revinclude=ImagingStudy:patient",
];

#[tokio::test]
async fn instances_without_a_valid_uid_are_omitted_with_a_warning_and_affect_no_other_study() {
    for invalid_uid in INVALID_UIDS.map(Some).into_iter().chain([None]) {
        let metadata =
            list_of(&[instance_row("1.2.1.1", Some("1.2.1.1.1")), instance_row("1.2.1.1", invalid_uid)]);
        let pacs = Pacs::new().with_study(incomplete_study()).with_study(complete_study());
        let pacs = pacs
            .with_response("/studies/1.2.1/series/1.2.1.1/metadata", metadata.clone())
            .with_response("/studies/1.2.1/series/1.2.1.1/instances", metadata);
        let (_pacs, gateway) = start(pacs).await;
        for search in SEARCHES {
            let bundle = gateway.get_json(search).await;
            let incomplete = study_in(&bundle, "1.2.1");
            assert!(is_subsetted(&incomplete), "{invalid_uid:?} {search}: {incomplete}");
            assert_eq!(incomplete["numberOfInstances"], 2, "{search}");
            assert_eq!(incomplete["series"][0]["numberOfInstances"], 2, "{search}");
            assert_eq!(incomplete["series"][0]["instance"].as_array().map(Vec::len), Some(1), "{search}");
            let warnings = warnings_in(&bundle);
            assert!(
                warnings.contains("Study 1.2.1")
                    && warnings.contains("1 instances")
                    && warnings.contains("archive main"),
                "{warnings}"
            );
            let complete = study_in(&bundle, "1.2.2");
            assert!(!is_subsetted(&complete), "{search}: {complete}");
            assert_eq!(complete["series"][0]["instance"].as_array().map(Vec::len), Some(2), "{search}");
        }
        assert_eq!(gateway.get_json("/fhir/ImagingStudy").await["total"], 2);
        assert!(is_subsetted(&gateway.get_json("/fhir/ImagingStudy/1.2.1").await));
        assert_eq!(
            gateway.get_json("/fhir/ImagingStudy?bodysite:text=chest").await["total"],
            1,
            "{invalid_uid:?}"
        );
    }
}

#[tokio::test]
async fn series_without_a_valid_uid_are_omitted_with_a_warning_but_counted() {
    let mut other_series = series_row(Some("1.2.2.1"));
    other_series["0020000D"]["Value"][0] = "1.2.2".into();
    for invalid_uid in INVALID_UIDS.map(Some).into_iter().chain([None]) {
        let pacs = Pacs::new()
            .with_study(incomplete_study().series("1.2.1.9", "SR", 1))
            .with_study(complete_study())
            .with_response(
                "/studies/1.2.1/series",
                list_of(&[series_row(Some("1.2.1.1")), series_row(invalid_uid)]),
            )
            .with_response(
                "/series",
                list_of(&[series_row(Some("1.2.1.1")), series_row(invalid_uid), other_series.clone()]),
            );
        let (_pacs, gateway) = start(pacs).await;
        for search in SEARCHES {
            let bundle = gateway.get_json(search).await;
            let incomplete = study_in(&bundle, "1.2.1");
            assert!(is_subsetted(&incomplete), "{invalid_uid:?} {search}: {incomplete}");
            assert_eq!(incomplete["numberOfSeries"], 2, "{search}");
            assert_eq!(incomplete["series"].as_array().map(Vec::len), Some(1), "{search}");
            assert!(warnings_in(&bundle).contains("1 series"), "{bundle}");
        }
    }
}

#[tokio::test]
async fn a_study_with_missing_series_is_an_error_of_this_study_and_is_not_cached() {
    let other_study = json!([{
        "0020000D": {"vr": "UI", "Value": ["1.2.2"]}, "0020000E": {"vr": "UI", "Value": ["1.2.2.1"]},
    }]);
    for incomplete in [
        CannedResponse::status(404),
        CannedResponse::status(204),
        CannedResponse::json("[]"),
        CannedResponse::json(other_study.to_string()),
        list_of(&[series_row(Some("1.2.1.1"))]),
    ] {
        let complete = list_of(&[series_row(Some("1.2.1.1")), series_row(Some("1.2.1.2"))]);
        let study_with_two_series = Study::new("1.2.1").patient("P1", "Doe^Jane").study_date("20240131");
        let study_with_two_series =
            study_with_two_series.series("1.2.1.1", "CT", 2).series("1.2.1.2", "CT", 2);
        let pacs = Pacs::new().with_study(study_with_two_series).with_study(complete_study());
        let pacs = pacs.with_responses(
            "/studies/1.2.1/series",
            [incomplete.clone(), incomplete.clone(), incomplete.clone(), complete],
        );
        let (_pacs, gateway) = start(pacs).await;
        let read = gateway.get("/fhir/ImagingStudy/1.2.1").await;
        assert_eq!(read.status, 502, "{}", read.text());
        assert!(read.text().contains("Archive main returned fewer series of a study"), "{}", read.text());
        let mut bundle = gateway.get_json("/fhir/ImagingStudy").await;
        if is_subsetted(&study_in(&bundle, "1.2.1")) {
            let study_without_series = study_in(&bundle, "1.2.1");
            assert_eq!(
                (study_without_series.get("series"), study_without_series["numberOfSeries"].as_u64()),
                (None, Some(2))
            );
            assert!(warnings_in(&bundle).contains("Study 1.2.1 is returned without its series"), "{bundle}");
            assert!(!is_subsetted(&study_in(&bundle, "1.2.2")));
            assert_eq!(bundle["total"], 2);
            // The archive returns all series in one of the next three requests.
            for _ in 0..3 {
                bundle = gateway.get_json("/fhir/ImagingStudy").await;
            }
        }
        assert_eq!(study_in(&bundle, "1.2.1")["series"].as_array().map(Vec::len), Some(2), "{bundle}");
        assert_eq!(resources_with_mode(&bundle, "outcome").len(), 0, "{bundle}");
        assert_eq!(
            gateway.get_json("/fhir/ImagingStudy/1.2.1").await["series"].as_array().map(Vec::len),
            Some(2)
        );
    }
}

#[tokio::test]
async fn an_unreadable_study_is_omitted_with_a_warning_from_a_search_by_instances() {
    for unreadable in [
        CannedResponse::json("[{"),
        CannedResponse::json("[]"),
        CannedResponse::status(500),
        CannedResponse::json(r#"{"message": "error"}"#),
        CannedResponse::html("<html/>"),
        CannedResponse::json(r#"[{"00080018": "#).with_framing(Framing::Chunked).abort_after(9),
        CannedResponse::json("[{}]").gzip().with_framing(Framing::Chunked).abort_after(9),
    ] {
        let pacs = Pacs::new().with_study(incomplete_study()).with_study(complete_study());
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
        assert!(warnings_in(&bundle).contains("Study 1.2.1 may match and is omitted"), "{bundle}");
        assert_eq!(gateway.get("/fhir/ImagingStudy/1.2.1").await.status, 502);
        let read = json!({"request": {"method": "GET", "url": "ImagingStudy/1.2.1"}});
        let search = json!({"request": {"method": "GET", "url": "ImagingStudy"}});
        let batch = json!({"resourceType": "Bundle", "type": "batch", "entry": [read, search]});
        let url = format!("{}/fhir", gateway.base_url());
        let response = client::post(&url, "application/fhir+json", &batch.to_string()).await.json();
        assert_eq!(response["entry"][0]["response"]["status"], "502 Bad Gateway");
        assert_eq!(response["entry"][1]["resource"]["total"], 2, "{response}");
        // The response could contain no warning that a Patient or an Endpoint is missing.
        for reverse_chain in [
            "/fhir/Patient?_has:ImagingStudy:patient:instance:not=1.2.9",
            "/fhir/Endpoint?_has:ImagingStudy:endpoint:instance:not=1.2.9",
        ] {
            assert_eq!(gateway.get(reverse_chain).await.status, 502, "{reverse_chain}");
        }
    }
}

#[tokio::test]
async fn a_study_beyond_max_series_or_max_instances_is_an_error_of_this_study() {
    let many_series: Vec<_> = (0..50).map(|index| series_row(Some(&format!("1.2.1.{index}")))).collect();
    let many_instances: Vec<_> =
        (0..50).map(|index| instance_row("1.2.1.1", Some(&format!("1.2.1.1.{index}")))).collect();
    let pacs_with_response = |path: &str, response: CannedResponse| {
        Pacs::new().with_study(incomplete_study()).with_study(complete_study()).with_response(path, response)
    };
    for (pacs, limit) in [
        (
            pacs_with_response("/studies/1.2.1/series", list_of(&many_series))
                .with_response("/series", list_of(&many_series)),
            "search.max_series",
        ),
        (
            pacs_with_response("/studies/1.2.1/series/1.2.1.1/metadata", list_of(&many_instances))
                .with_response("/studies/1.2.1/series/1.2.1.1/instances", list_of(&many_instances)),
            "search.max_instances",
        ),
    ] {
        let pacs = pacs.start().await;
        let config = "profile = \"orthanc\"\n[search]\nmax_series = 10\nmax_instances = 20\n";
        let gateway = RunningGateway::start(&pacs.url(), config).await;
        let read = gateway.get("/fhir/ImagingStudy/1.2.1").await;
        assert!(read.status == 502 && read.text().contains(limit), "{limit}: {}", read.text());
        let bundle = gateway.get_json("/fhir/ImagingStudy").await;
        assert!(
            is_subsetted(&study_in(&bundle, "1.2.1")) && warnings_in(&bundle).contains(limit),
            "{bundle}"
        );
        assert!(!is_subsetted(&study_in(&bundle, "1.2.2")));
    }
}

#[tokio::test]
async fn loading_of_a_study_ends_at_load_timeout() {
    for path in ["/studies", "/studies/1.2.1/series"] {
        let pacs = Pacs::new()
            .with_study(incomplete_study())
            .with_response(path, CannedResponse::never_sent())
            .start()
            .await;
        let config = "timeout = \"1h\"\n[search]\nload_timeout = \"100ms\"\n";
        let gateway = RunningGateway::start(&pacs.url(), config).await;
        let received = gateway.get("/fhir/ImagingStudy").await;
        assert_eq!(received.status, 504, "{path}: {}", received.text());
        assert_eq!(received.json()["issue"][0]["code"], "timeout");
        pacs.wait_until_idle().await;
    }
}

#[tokio::test]
async fn an_incomplete_study_becomes_complete_as_soon_as_the_archive_lists_it_completely() {
    let row = series_row(Some("1.2.1.1"));
    let without_uid = series_row(None);
    let study_with_two_series = incomplete_study().attribute("00201206", json!({"vr": "IS", "Value": [2]}));
    let pacs = Pacs::new().with_study(study_with_two_series);
    let complete_list = list_of(&[row.clone(), series_row(Some("1.2.1.2"))]);
    let metadata =
        list_of(&[instance_row("1.2.1.2", Some("1.2.1.2.1")), instance_row("1.2.1.2", Some("1.2.1.2.2"))]);
    let pacs = pacs
        .with_responses("/studies/1.2.1/series", [list_of(&[row, without_uid]), complete_list])
        .with_response("/studies/1.2.1/series/1.2.1.2/metadata", metadata);
    let (_pacs, gateway) = start(pacs).await;
    assert!(is_subsetted(&gateway.get_json("/fhir/ImagingStudy/1.2.1").await));
    let complete = gateway.get_json("/fhir/ImagingStudy/1.2.1").await;
    assert!(!is_subsetted(&complete), "{complete}");
    assert_eq!(complete["series"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn a_series_without_instances_is_an_error_of_the_study() {
    for no_instances in [CannedResponse::json("[]"), CannedResponse::status(404), CannedResponse::status(204)]
    {
        let mut row = series_row(Some("1.2.1.1"));
        row.as_object_mut().unwrap().remove("00201209");
        let pacs = Pacs::new()
            .with_study(incomplete_study())
            .with_study(complete_study())
            .with_response("/studies/1.2.1/series", list_of(&[row]));
        let pacs = pacs
            .with_response("/studies/1.2.1/series/1.2.1.1/metadata", no_instances.clone())
            .with_response("/studies/1.2.1/series/1.2.1.1/instances", no_instances);
        let (_pacs, gateway) = start(pacs).await;
        assert_eq!(gateway.get("/fhir/ImagingStudy/1.2.1").await.status, 502);
    }
}
