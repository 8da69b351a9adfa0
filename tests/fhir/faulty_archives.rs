//! FHIR responses for archives that violate the standard, fail, or change their lists.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::gateway::{RunningGateway, resources_with_mode};
use crate::support::pacs::{CannedResponse, Framing, Pacs, Paging, QueryCondition, Study};

const SHORT_TIMEOUT: &str = "timeout = \"300ms\"";

fn studies() -> Pacs {
    Pacs::new()
        .with_study(
            Study::new("1.2.1")
                .patient("P1", "Doe^Jane")
                .study_date("20240131")
                .accession_number("A1")
                .series("1.2.1.1", "CT", 3)
                .series("1.2.1.2", "SR", 1),
        )
        .with_study(
            Study::new("1.2.2")
                .patient("p1", "Roe^Richard")
                .study_date("20240201")
                .accession_number("A2")
                .series("1.2.2.1", "MR", 2),
        )
        .with_study(
            Study::new("1.2.3")
                .patient("P10", "Poe^Ann")
                .study_date("20230101")
                .accession_number("a1")
                .series("1.2.3.1", "US", 1),
        )
}

#[tokio::test]
async fn an_invalid_response_causes_a_502_that_names_the_archive_and_the_cause() {
    for (response, cause) in [
        (CannedResponse::html("<html>Please log in as Doe^Jane</html>"), "markup"),
        (CannedResponse::json("500"), "a number"),
        (CannedResponse::json("null"), "null"),
        (CannedResponse::json("{}"), "an object"),
        (CannedResponse::json("[{\"0020000D\":{\"vr\":\"UI\",\"Value\":[\"1.2\"]}}"), "ended inside"),
        (CannedResponse::json("[{\"0020000D\":"), "ended inside"),
        (CannedResponse::json("[1,2]"), "not a JSON object"),
        (CannedResponse::json("[{\"a\":b}]"), "not valid JSON"),
        (
            CannedResponse::status(302).header("Location", "http://elsewhere.example/secret"),
            "does not follow",
        ),
        (CannedResponse::status(404), "check the url"),
        (CannedResponse::json("[]").with_status(206), "only a part of what was requested"),
        (CannedResponse::json("[]").with_status(201), "an unexpected status"),
        (CannedResponse::json("[]").with_status(202), "an unexpected status"),
        (CannedResponse::json("[]").with_status(203), "an unexpected status"),
        (CannedResponse::json("[]").with_status(205), "an unexpected status"),
        (CannedResponse::status(500), "failed (status 500"),
        (CannedResponse::status(401), "asks for credentials (status 401), and none are configured"),
    ] {
        let pacs = Pacs::new().with_fallback(response).start().await;
        let gateway = RunningGateway::start(&pacs.url(), "").await;
        for path in ["/fhir/ImagingStudy", "/fhir/ImagingStudy/1.2", "/fhir/Patient?identifier=P1"] {
            let received = gateway.get(path).await;
            assert_eq!(received.status, 502, "{path} {cause}: {}", received.text());
            let text = received.text();
            assert!(text.contains("Archive main") && text.contains(cause), "{cause}: {text}");
            for secret in ["Doe", "elsewhere.example", "secret", &pacs.authority()] {
                assert!(!text.contains(secret), "{text}");
            }
        }
    }
}

#[tokio::test]
async fn a_204_response_is_read_as_an_empty_list() {
    let pacs = Pacs::new().with_fallback(CannedResponse::status(204)).start().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    assert_eq!(gateway.get_json("/fhir/ImagingStudy").await["total"], 0);
    assert_eq!(gateway.get("/fhir/ImagingStudy/1.2").await.status, 404);
}

#[tokio::test]
async fn an_archive_that_does_not_respond_causes_504_at_the_deadline() {
    for response in [
        CannedResponse::never_sent(),
        CannedResponse::json("[]").with_delay(Duration::from_hours(1)),
        CannedResponse::json("[{}]").stall_after(2),
    ] {
        let pacs = Pacs::new().with_fallback(response).start().await;
        let gateway = RunningGateway::start(&pacs.url(), SHORT_TIMEOUT).await;
        let received = gateway.get("/fhir/ImagingStudy").await;
        assert_eq!(received.status, 504, "{}", received.text());
        assert_eq!(received.json()["issue"][0]["code"], "timeout");
    }
}

#[tokio::test]
async fn a_truncated_response_causes_502_and_is_not_cached() {
    let complete = CannedResponse::json(
        r#"[{"0020000D":{"vr":"UI","Value":["1.2"]},"00100020":{"vr":"LO","Value":["P1"]}}]"#,
    );
    let pacs = Pacs::new()
        .with_responses(
            "/studies",
            [complete.clone().abort_after(40), complete.clone().abort_after(40), complete],
        )
        .start()
        .await;
    let gateway = RunningGateway::start(&pacs.url(), "profile = \"orthanc\"").await;
    assert_eq!(gateway.get("/fhir/ImagingStudy?_elements=id").await.status, 502);
    let received = gateway.get("/fhir/ImagingStudy?_elements=id").await;
    assert!(matches!(received.status, 200 | 502), "{}", received.text());
    assert_eq!(gateway.get_json("/fhir/ImagingStudy?_elements=id").await["total"], 1);
}

#[tokio::test]
async fn rows_with_deviating_attributes_are_read() {
    let body = r#"[{
        "0020000d": {"Value": ["1.2.9 "]},
        "PatientID": "P9",
        "00100010": {"vr": "PN", "Value": ["Doe^Jane=山田^太郎"]},
        "00080061": {"vr": "CS", "Value": ["CT\\SR", null]},
        "00201206": {"vr": "IS", "Value": ["2 "]},
        "00201208": {"vr": "IS", "Value": [300.0], "extra": [{"deep": null}]},
        "00080020": {"vr": "DA", "Value": ["1994.01.30"]},
        "00080030": {"vr": "TM", "Value": ["11:25:01"]},
        "00080201": {"vr": "SH", "Value": ["+0100"]},
        "00080050": {"vr": "SH", "Value": [null]},
        "00090010": {"vr": "??", "Value": {"odd": true}},
        "00081030": {"vr": "LO", "Value": ["HEAD \u0000"]}
    }]"#;
    let mut invalid_utf8 = body.as_bytes().to_vec();
    let index = body.find("HEAD").unwrap();
    invalid_utf8.splice(index..index, [0xff]);
    for body in [body.as_bytes().to_vec(), invalid_utf8] {
        let pacs = Pacs::new()
            .with_response("/studies", CannedResponse::bytes("application/json", body))
            .start()
            .await;
        let gateway = RunningGateway::start(&pacs.url(), "profile = \"orthanc\"").await;
        let bundle = gateway
            .get_json("/fhir/ImagingStudy?_elements=started,modality,numberOfInstances&patient.identifier=P9")
            .await;
        let study = &resources_with_mode(&bundle, "match")[0];
        assert_eq!(study["id"], "1.2.9");
        assert_eq!(study["started"], "1994-01-30T11:25:01+01:00");
        assert_eq!(study["numberOfInstances"], 300);
        assert_eq!(study["modality"].as_array().unwrap().len(), 2);
        assert_eq!(study["subject"]["display"], "Jane Doe");
    }
}

#[tokio::test]
async fn results_match_the_search_although_the_archive_ignores_matching_keys() {
    let pacs = studies().ignore_matching_keys().start().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    for (query, expected) in [
        ("patient.identifier=P1", vec!["1.2.1"]),
        ("patient.identifier=p1", vec!["1.2.2"]),
        ("patient.identifier=P1*", vec![]),
        ("patient.identifier=P1,P10", vec!["1.2.1", "1.2.3"]),
        ("identifier=A1", vec!["1.2.1"]),
        ("identifier=urn:oid:1.2.2", vec!["1.2.2"]),
        ("_id=1.2.3,1.2.9", vec!["1.2.3"]),
        ("started=2024-01", vec!["1.2.1"]),
        ("modality=SR", vec!["1.2.1"]),
        ("patient.identifier=%5C", vec![]),
    ] {
        let mut ids = gateway.search_ids(&format!("/fhir/ImagingStudy?{query}")).await;
        ids.sort();
        assert_eq!(ids, expected, "{query}");
    }
    assert_eq!(gateway.get("/fhir/ImagingStudy/1.2.8").await.status, 404);
    assert_eq!(gateway.get_json("/fhir/Patient?identifier=P1").await["total"], 1);
}

#[tokio::test]
async fn an_archive_that_ignores_paging_receives_two_requests() {
    let pacs = studies().with_paging(Paging::Ignored).start().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    assert_eq!(gateway.get_json("/fhir/ImagingStudy?_count=0").await["total"], 3);
    assert_eq!(pacs.requests().len(), 2);
}

#[tokio::test]
async fn an_empty_identifier_is_never_sent_as_universal_matching() {
    let pacs = studies().start().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    for query in ["patient.identifier=", "identifier=", "patient="] {
        gateway
            .get_with_headers(&format!("/fhir/ImagingStudy?{query}"), &[("Prefer", "handling=strict")])
            .await;
    }
    gateway.get_json("/fhir/ImagingStudy?patient.identifier=%2A").await;
    for target in pacs.targets() {
        assert!(
            !target.contains("PatientID=&")
                && !target.contains("PatientID=*")
                && !target.ends_with("PatientID="),
            "{target}"
        );
    }
}

#[tokio::test]
async fn a_study_of_two_patients_is_found_by_patient_and_otherwise_omitted_with_a_warning() {
    let row = |patient: &str| {
        json!({
            "0020000D": {"vr": "UI", "Value": ["1.2"]}, "00100020": {"vr": "LO", "Value": [patient]}, "00080061": {"vr": "CS", "Value": ["CT"]},
        })
    };
    let pacs = Pacs::new()
        .with_response("/studies", CannedResponse::json(json!([row("P1"), row("P2")]).to_string()))
        .start()
        .await;
    let gateway = RunningGateway::start(&pacs.url(), "profile = \"orthanc\"").await;
    let read = gateway.get("/fhir/ImagingStudy/1.2").await;
    assert_eq!((read.status, &read.json()["issue"][0]["code"]), (502, &Value::from("multiple-matches")));
    let all_studies = gateway.get_json("/fhir/ImagingStudy?_elements=id").await;
    assert_eq!(
        (&all_studies["total"], resources_with_mode(&all_studies, "match").len()),
        (&Value::from(0), 0)
    );
    assert!(resources_with_mode(&all_studies, "outcome")[0].to_string().contains("1.2"));
    let studies_of_p2 = gateway.get_json("/fhir/ImagingStudy?patient.identifier=P2&_elements=id").await;
    assert_eq!(studies_of_p2["total"], 1);
    assert_eq!(resources_with_mode(&studies_of_p2, "match")[0]["subject"]["identifier"]["value"], "P2");
    assert_eq!(gateway.get_json("/fhir/Patient?_has:ImagingStudy:patient:modality=CT").await["total"], 2);
    assert_eq!(gateway.get_json("/fhir/Patient?_has:ImagingStudy:patient:modality=MR").await["total"], 0);
    assert_eq!(gateway.get_json("/fhir/Endpoint?_has:ImagingStudy:endpoint:modality=CT").await["total"], 1);
    let bundle = gateway.get_json("/fhir/Patient?_revinclude=ImagingStudy:patient").await;
    assert_eq!((&bundle["total"], resources_with_mode(&bundle, "include").len()), (&Value::from(2), 0));
    assert!(resources_with_mode(&bundle, "outcome")[0].to_string().contains("1.2"), "{bundle}");
}

#[tokio::test]
async fn instances_of_other_series_and_repeated_instances_are_not_counted() {
    let instance = |series: &str, uid: &str| {
        json!({
            "0020000D": {"vr": "UI", "Value": ["1.2.1"]}, "0020000E": {"vr": "UI", "Value": [series]},
            "00080018": {"vr": "UI", "Value": [uid]}, "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]},
            "00180015": {"vr": "CS", "Value": [if series == "1.2.1.1" { "CHEST" } else { "NOWHERE" }]},
        })
    };
    let instances = json!([
        instance("1.2.1.2", "1.2.1.2.1"),
        instance("1.2.1.1", "1.2.1.1.1"),
        instance("1.2.1.1", "1.2.1.1.1"),
        instance("1.2.1.1", "1.2.1.1.2"),
        instance("1.2.1.1", "1.2.1.1.3"),
    ]);
    let pacs = studies()
        .with_response("/studies/1.2.1/series/1.2.1.1/metadata", CannedResponse::json(instances.to_string()))
        .with_response("/studies/1.2.1/series/1.2.1.2/metadata", CannedResponse::json(instances.to_string()))
        .start()
        .await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    let study = gateway.get_json("/fhir/ImagingStudy/1.2.1").await;
    let series = study["series"].as_array().unwrap();
    let series_with_uid = |uid: &str| series.iter().find(|series| series["uid"] == uid).unwrap();
    assert_eq!(series_with_uid("1.2.1.1")["instance"].as_array().unwrap().len(), 3);
    assert_eq!(series_with_uid("1.2.1.1")["bodySite"]["code"], "816094009");
    assert_eq!(series_with_uid("1.2.1.2")["instance"].as_array().unwrap().len(), 1);
    assert_eq!(series_with_uid("1.2.1.2")["bodySite"], json!({"display": "NOWHERE"}));
}

#[tokio::test]
async fn fewer_instances_than_the_reported_count_cause_an_error_after_both_sources_are_queried() {
    let empty = CannedResponse::json("[]");
    let pacs = studies()
        .with_response("/studies/1.2.2/series/1.2.2.1/metadata", empty.clone())
        .with_response("/studies/1.2.2/series/1.2.2.1/instances", empty)
        .start()
        .await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    let received = gateway.get("/fhir/ImagingStudy/1.2.2").await;
    assert_eq!((received.status, &received.json()["issue"][0]["code"]), (502, &Value::from("incomplete")));
}

#[tokio::test]
async fn the_second_source_of_instances_is_used_if_the_first_fails() {
    for response in [
        CannedResponse::status(404),
        CannedResponse::status(501),
        CannedResponse::html("<html>"),
        CannedResponse::json("[]"),
        CannedResponse::json("[{}").with_framing(Framing::Chunked).abort_after(2),
    ] {
        let pacs = studies().with_response("/studies/1.2.2/series/1.2.2.1/metadata", response).start().await;
        let gateway = RunningGateway::start(&pacs.url(), "").await;
        let study = gateway.get_json("/fhir/ImagingStudy/1.2.2").await;
        assert_eq!(study["series"][0]["instance"].as_array().unwrap().len(), 2);
        assert!(pacs.targets().iter().any(|target| target.contains("/series/1.2.2.1/instances")));
    }
}

#[tokio::test]
async fn a_search_whose_modality_key_is_rejected_is_retried_without_it_and_filtered() {
    let pacs = studies().start().await;
    let rejecting_pacs = Pacs::new().with_fallback(CannedResponse::status(400)).start().await;
    let gateway = RunningGateway::start(&rejecting_pacs.url(), "").await;
    assert_eq!(gateway.get("/fhir/ImagingStudy?modality=CT").await.status, 502);
    let targets = rejecting_pacs.targets();
    assert!(
        targets[0].contains("ModalitiesInStudy=CT") && !targets[1].contains("ModalitiesInStudy=CT"),
        "{targets:?}"
    );
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    assert_eq!(gateway.search_ids("/fhir/ImagingStudy?modality=MR").await, ["1.2.2"]);
}

#[tokio::test]
async fn a_deleted_study_causes_410_and_an_unknown_study_404() {
    let row = CannedResponse::json(
        r#"[{"0020000D":{"vr":"UI","Value":["1.2"]},"00100020":{"vr":"LO","Value":["P1"]},"00201206":{"vr":"IS","Value":[0]}}]"#,
    );
    let no_rows = CannedResponse::json("[]");
    let pacs = Pacs::new()
        .with_responses("/studies", [row.clone(), no_rows.clone(), no_rows, row])
        .with_response("/studies/1.2/series", CannedResponse::json("[]"))
        .start()
        .await;
    let gateway = RunningGateway::start(&pacs.url(), "profile = \"orthanc\"").await;
    let no_cache = [("Cache-Control", "no-cache")];
    let mut responses = Vec::new();
    for path in ["/fhir/ImagingStudy/1.2", "/fhir/ImagingStudy/1.2", "/fhir/ImagingStudy/1.3"] {
        responses.push(gateway.get_with_headers(path, &no_cache).await);
    }
    assert_eq!(responses.iter().map(|response| response.status).collect::<Vec<_>>(), [200, 410, 404]);
    assert_eq!(responses[1].json()["issue"][0]["code"], "deleted");
    assert_eq!(
        gateway.get_with_headers("/fhir/ImagingStudy/1.2", &no_cache).await.status,
        200,
        "the restored study was not returned"
    );
}

#[tokio::test]
async fn searches_over_more_rows_than_max_scan_are_rejected_and_never_truncated() {
    let pacs = studies().start().await;
    let gateway = RunningGateway::start(&pacs.url(), "[search]\nmax_scan = 2\n").await;
    for path in ["/fhir/ImagingStudy?_sort=_id", "/fhir/ImagingStudy?_total=accurate", "/fhir/Patient"] {
        let received = gateway.get(path).await;
        assert_eq!(
            (received.status, &received.json()["issue"][0]["code"]),
            (400, &Value::from("too-costly"))
        );
    }
    assert_eq!(gateway.search_ids("/fhir/ImagingStudy").await, ["1.2.2", "1.2.1", "1.2.3"]);
    assert_eq!(gateway.get_json("/fhir/ImagingStudy?patient.identifier=P1").await["total"], 1);
}

#[tokio::test]
async fn a_match_without_a_valid_uid_is_reported_and_not_counted() {
    let row = |uid: &str, patient: &str| json!({"0020000D": {"vr": "UI", "Value": [uid]}, "00100020": {"vr": "LO", "Value": [patient]}});
    let rows = json!([row("1.2", "P1"), row("0123456789abcdef", "P1")]);
    let pacs = Pacs::new().with_fallback(CannedResponse::json(rows.to_string())).start().await;
    let gateway = RunningGateway::start(&pacs.url(), "profile = \"orthanc\"").await;
    let bundle = gateway.get_json("/fhir/ImagingStudy?patient.identifier=P1&_elements=id").await;
    assert_eq!((&bundle["total"], resources_with_mode(&bundle, "match").len()), (&Value::from(1), 1));
    assert!(
        resources_with_mode(&bundle, "outcome")[0].to_string().contains("Archive main: 1 match was omitted")
    );
    assert_eq!(gateway.get_json("/fhir/ImagingStudy?patient.identifier=P2&_elements=id").await["total"], 0);
    let patient_id = gateway.search_ids("/fhir/Patient?identifier=P1").await.remove(0);
    for path in [
        "/fhir?_type=ImagingStudy,Endpoint&_elements=id".to_owned(),
        format!("/fhir/Patient/{patient_id}/*?_elements=id"),
        format!("/fhir/Patient/{patient_id}/$everything?_type=ImagingStudy"),
    ] {
        // The archive returns no series and no instances, and these searches do not need them.
        let bundle = gateway.get_json(&format!("{path}&_count=0")).await;
        assert!(
            bundle["total"].is_u64() && bundle.to_string().contains("Archive main: 1 match was omitted"),
            "{path}: {bundle}"
        );
    }
    assert_eq!(gateway.get_json("/fhir?_type=Patient,Endpoint&_count=0").await["total"], 2);
}

#[tokio::test]
async fn sorting_of_more_resources_than_sort_window_is_too_costly() {
    let gateway = RunningGateway::start_with_samples_and_config("[search]\nsort_window = 29\n").await;
    for path in
        ["/fhir/ImagingStudy?_sort=started", "/fhir?_sort=-_id", "/fhir?_type=ImagingStudy&_sort=started"]
    {
        let rejected = gateway.get(&format!("{path}&_elements=id")).await;
        assert_eq!(rejected.json()["issue"][0]["code"], "too-costly", "{path}: {}", rejected.text());
    }
    assert_eq!(gateway.get_json("/fhir?_type=ImagingStudy&_elements=id").await["total"], 30);
}

#[tokio::test]
async fn an_identifier_without_padding_matches_a_padded_value_in_the_archive() {
    let row = json!([{
        "0020000D": {"vr": "UI", "Value": ["1.2"]},
        "00100020": {"vr": "LO", "Value": ["P_1 "]},
        "00080050": {"vr": "SH", "Value": ["A_1 "]},
        "00200010": {"vr": "SH", "Value": ["S_1 "]},
    }])
    .to_string();
    let key =
        |keyword: &str, value: &str| vec![(keyword.to_owned(), QueryCondition::Equals(value.to_owned()))];
    for profile in ["orthanc", "generic"] {
        let mut pacs = Pacs::new();
        for (keyword, value) in [("PatientID", "P_1"), ("AccessionNumber", "A_1"), ("StudyID", "S_1")] {
            let padded = key(keyword, &format!("{value}*"));
            pacs = pacs
                .with_conditional_response("/studies", padded, CannedResponse::json(row.clone()))
                .with_conditional_response("/studies", key(keyword, value), CannedResponse::json("[]"));
        }
        let pacs = pacs.start().await;
        let gateway = RunningGateway::start(&pacs.url(), &format!("profile = \"{profile}\"")).await;
        for query in ["patient.identifier=P_1", "identifier=A_1", "identifier=S_1"] {
            let ids = gateway.search_ids(&format!("/fhir/ImagingStudy?{query}&_elements=id")).await;
            assert_eq!(ids, ["1.2"], "{profile}: {query}");
        }
        assert_eq!(gateway.get_json("/fhir/Patient?identifier=P_1").await["total"], 1, "{profile}");
    }
}

#[tokio::test]
async fn an_archive_without_wildcard_matching_has_no_padded_values() {
    let pacs = Pacs::new()
        .with_conditional_response(
            "/studies",
            vec![("PatientID".to_owned(), QueryCondition::Equals("P_1*".to_owned()))],
            CannedResponse::status(400),
        )
        .with_response("/studies", CannedResponse::json("[]"))
        .start()
        .await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    assert_eq!(gateway.get_json("/fhir/ImagingStudy?patient.identifier=P_1").await["total"], 0);
}

#[tokio::test]
async fn a_shared_upstream_request_continues_after_its_client_has_disconnected() {
    let pacs = studies().with_delay(Duration::from_millis(100)).start().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    let stream = crate::support::client::send_request(
        "GET",
        &format!("{}/fhir/ImagingStudy/1.2.1", gateway.base_url()),
        &[],
    )
    .await;
    pacs.wait_for_requests(1).await;
    drop(stream);
    // The next client shares the search that the first client caused.
    let study = gateway.get_json("/fhir/ImagingStudy/1.2.1").await;
    assert_eq!(study["id"], "1.2.1");
}
