//! Rows and metadata that an archive returns although they were not requested: a viewer would show another patient.

use std::time::Duration;

use serde_json::Value;

use crate::support::archive_root::ArchiveRoot;
use crate::support::client;
use crate::support::gateway::RunningGateway;
use crate::support::pacs::{CannedResponse, Pacs, Study};

/// Creates an archive that returns all of its studies for every search for studies.
fn without_filters() -> Pacs {
    Pacs::new()
        .with_study(
            Study::new("1.1")
                .patient("P1", "Doe^Jane")
                .study_date("20240131")
                .accession_number("A1")
                .series("1.1.1", "CT", 1),
        )
        .with_study(
            Study::new("1.2")
                .patient("P2", "Roe^Rick")
                .study_date("20240201")
                .accession_number("A2")
                .series("1.2.1", "MR", 1),
        )
        .with_study(
            Study::new("1.3")
                .patient("P1", "Doe^Jane")
                .study_date("20240301")
                .accession_number("A3")
                .series("1.3.1", "MR", 1),
        )
        .ignore_matching_keys()
}

fn uids(rows: &Value) -> Vec<&str> {
    rows.as_array().unwrap().iter().map(|row| row["0020000D"]["Value"][0].as_str().unwrap()).collect()
}

#[tokio::test]
async fn rows_of_studies_that_do_not_match_the_query_are_omitted() {
    for config in ["", "profile = \"dicom-rst\"", "synthesize = [\"parents\"]"] {
        require_omitted_studies(config).await;
    }
}

async fn require_omitted_studies(config: &str) {
    let pacs = without_filters().start().await;
    let gateway = RunningGateway::start(&pacs.url(), config).await;
    for (query, expected) in [
        ("PatientID=P1", &["1.1", "1.3"][..]),
        ("PatientID=P9", &[]),
        ("StudyInstanceUID=1.2", &["1.2"]),
        ("StudyInstanceUID=1.2,1.3", &["1.2", "1.3"]),
        ("AccessionNumber=A1", &["1.1"]),
        ("StudyDate=20240131-20240210", &["1.1", "1.2"]),
        ("ModalitiesInStudy=MR", &["1.2", "1.3"]),
        ("PatientID=P1&ModalitiesInStudy=MR", &["1.3"]),
        ("PatientID=P*", &["1.1", "1.2", "1.3"]),
        ("", &["1.1", "1.2", "1.3"]),
    ] {
        for root in ["/dicom-web/main", "/dicom-web"] {
            let response = gateway.get(&format!("{root}/studies?{query}")).await;
            assert_eq!(uids(&response.json()), expected, "{config} {root} {query}");
            let is_complete = expected.len() == 3;
            assert_eq!(response.header("warning").is_none(), is_complete, "{config} {root} {query}");
        }
    }
    let omitted = gateway.metrics().lines().any(|line| {
        line.strip_prefix("gateway_upstream_rows_omitted_total{archive=\"main\"} ")
            .is_some_and(|count| count.parse::<u64>().unwrap() >= 20)
    });
    assert!(omitted, "{}", gateway.metrics());
}

#[tokio::test]
async fn pages_of_the_aggregate_root_count_only_rows_that_match() {
    let pacs = without_filters().start().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    for (query, expected) in [
        ("limit=1", &["1.1"][..]),
        ("limit=1&offset=1", &["1.3"]),
        ("limit=1&offset=2", &[]),
        ("limit=2", &["1.1", "1.3"]),
    ] {
        let rows = gateway.get_json(&format!("/dicom-web/studies?PatientID=P1&{query}")).await;
        assert_eq!(uids(&rows), expected, "{query}");
    }
}

/// The archive pages a list with the studies of other patients.
#[tokio::test]
async fn pages_of_one_archive_without_matching_rows_are_not_mistaken_for_the_end_of_the_list() {
    let pacs = without_filters().start().await;
    let root = ArchiveRoot::start(&pacs).await;
    let mut found = Vec::new();
    for offset in 0..4 {
        let response = client::get(&root.url(&format!("studies?PatientID=P1&limit=1&offset={offset}"))).await;
        if offset == 1 {
            assert_eq!(response.status, 502, "the list continues: {}", response.text());
            assert!(response.text().contains("do not match the search"), "{}", response.text());
        } else {
            assert_eq!(response.status, 200);
            found.extend(uids(&response.json()).into_iter().map(str::to_owned));
        }
    }
    assert_eq!(found, ["1.1", "1.3"]);
    let short = client::get(&root.url("studies?PatientID=P1&limit=2")).await;
    assert_eq!(uids(&short.json()), ["1.1"]);
    let warnings: Vec<_> = short.headers.iter().filter(|(name, _)| name == "warning").collect();
    assert!(
        warnings.iter().any(|(_, text)| text.contains("There may be additional results")),
        "{warnings:?}"
    );
    let last = client::get(&root.url("studies?PatientID=P9&limit=10")).await;
    assert_eq!(
        (last.status, last.text().as_ref()),
        (200, "[]"),
        "the page is not full, so the list has ended"
    );
}

#[tokio::test]
async fn rows_whose_attribute_has_no_value_do_not_match_a_value() {
    let empty = |tag: &str, vr: &str| {
        Study::new("1.1").attribute(tag, serde_json::json!({ "vr": vr })).series("1.1.1", "CT", 1)
    };
    for (key, tag, vr) in [
        ("PatientID=P1", "00100020", "LO"),
        ("IssuerOfPatientID=HOSP", "00100021", "LO"),
        ("AccessionNumber=A1", "00080050", "SH"),
        ("StudyID=S1", "00200010", "SH"),
        ("StudyDate=20240131", "00080020", "DA"),
    ] {
        let pacs = Pacs::new().with_study(empty(tag, vr)).ignore_matching_keys().start().await;
        let gateway = RunningGateway::start(&pacs.url(), "").await;
        for root in ["/dicom-web/main", "/dicom-web"] {
            let response = gateway.get(&format!("{root}/studies?{key}")).await;
            assert_eq!((response.status, response.text().as_ref()), (200, "[]"), "{root} {key}");
            assert!(response.header("warning").is_some(), "{root} {key}");
        }
    }
}

#[tokio::test]
async fn an_archive_that_ignores_the_key_is_read_no_further_than_max_scan() {
    let studies = (0..40).map(|number| Study::new(&format!("1.{number}")).patient("P2", "Roe^Rick"));
    let pacs = studies.fold(Pacs::new(), Pacs::with_study).ignore_matching_keys().start().await;
    let gateway = RunningGateway::start(&pacs.url(), "[search]\nmax_scan = 20").await;
    let response = gateway.get("/dicom-web/studies?PatientID=P1&limit=1").await;
    assert_eq!(response.status, 413, "{}", response.text());
}

#[tokio::test]
async fn rows_below_a_study_that_belong_to_another_one_are_omitted() {
    let row = |study: &str, series: &str| {
        format!(
            r#"{{"0020000D":{{"vr":"UI","Value":["{study}"]}},"0020000E":{{"vr":"UI","Value":["{series}"]}},"00080018":{{"vr":"UI","Value":["{series}.1"]}}}}"#
        )
    };
    let list = CannedResponse::json(format!(
        "[{},{},{}]",
        row("9.9", "9.9.1"),
        row("1.2", "1.2.1"),
        row("1.2", "1.2.2")
    ));
    let pacs = Pacs::new().with_fallback(list).start().await;
    let root = ArchiveRoot::start(&pacs).await;
    for (target, expected) in [
        ("studies/1.2/series", 2),
        ("studies/1.2/instances", 2),
        ("studies/1.2/series/1.2.1/instances", 1),
        ("studies/1.7/series", 0),
        ("series?StudyInstanceUID=9.9", 1),
        ("instances", 3),
    ] {
        let response = client::get(&root.url(target)).await;
        assert_eq!((response.status, response.is_complete), (200, true));
        assert_eq!(response.json().as_array().unwrap().len(), expected, "{target}");
    }
    let none =
        client::get_with_headers(&root.url("studies/1.7/series"), &[("Accept", "application/dicom+xml")])
            .await;
    assert_eq!(none.status, 502, "{}", none.text());
}

#[tokio::test]
async fn a_row_with_a_value_that_cannot_be_decoded_is_compared_and_hides_no_other_row() {
    let row = |uid: &str, patient: &str, other: &str| {
        format!(
            r#"{{"0020000D":{{"vr":"UI","Value":["{uid}"]}},"00100020":{{"vr":"LO","Value":["{patient}"]}},{other}}}"#
        )
    };
    let description = r#""00081030":{"vr":"LO","Value":["CT \ud83d"]}"#;
    let rows = [
        row("1.1", "P1", description),
        row("1.2", "P2", r#""\ud800":{"vr":"LO"}"#),
        row("1.3", "P2", r#""00101030":{"vr":"DS","Value":[1e999]}"#),
        row("1.4", r"P2\ud800", description),
        row("1.5", "P1", r#""00101030":{"vr":"DS","Value":[1e999]}"#),
    ];
    let pacs = Pacs::new().with_fallback(CannedResponse::json(format!("[{}]", rows.join(",")))).start().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    for root in ["/dicom-web/main", "/dicom-web"] {
        let response = gateway.get(&format!("{root}/studies?PatientID=P1")).await;
        assert_eq!(response.status, 200, "{root}: {}", response.text());
        let text = response.text();
        assert!(text.contains("1.1") && text.contains("1.5") && !text.contains("P2"), "{root}: {text}");
    }
    let bundle = gateway.get("/fhir/ImagingStudy?_summary=count").await;
    assert_eq!(bundle.json()["total"], 5, "{}", bundle.text());
}

#[tokio::test]
async fn metadata_of_another_study_is_never_complete() {
    let object = |study: &str, series: &str, instance: &str| {
        format!(
            r#"{{"00080018":{{"vr":"UI","Value":["{instance}"]}},"0020000D":{{"vr":"UI","Value":["{study}"]}},"0020000E":{{"vr":"UI","Value":["{series}"]}}}}"#
        )
    };
    let requested_object = object("1.2", "1.2.1", "1.2.1.1");
    let other_object = object("9.9", "9.9.1", "9.9.1.1");
    let series = "studies/1.2/series/1.2.1/metadata";
    let instance = "studies/1.2/series/1.2.1/instances/1.2.1.1/metadata";
    for (target, objects) in [
        ("studies/1.2/metadata", vec![other_object.clone()]),
        ("studies/1.2/metadata", vec![requested_object.clone(), other_object.clone()]),
        (series, vec![object("1.2", "1.2.2", "1.2.2.1")]),
        (series, vec![requested_object.clone(), other_object]),
        (instance, vec![object("1.2", "1.2.1", "1.2.1.2")]),
    ] {
        let response = CannedResponse::json(format!("[{}]", objects.join(",")));
        let pacs = Pacs::new().with_response(&format!("/{target}"), response).start().await;
        let root = ArchiveRoot::start(&pacs).await;
        for accept in ["application/dicom+json", "application/dicom+xml"] {
            for _ in 0..2 {
                let response = client::get_with_headers(&root.url(target), &[("Accept", accept)]).await;
                assert_eq!(response.status, 502, "{target}: {}", response.text());
            }
        }
    }
    for member in [
        r#""0020000d":{"vr":"UI","Value":["9.9"]}"#,
        r#""StudyInstanceUID":{"vr":"UI","Value":["9.9"]}"#,
        r#""0020000D":{"vr":"UI","Value":[null,"9.9"]}"#,
        r#""0020000D":{"vr":"UI","Value":["1.2","9.9"]}"#,
        r#""0020000D":["9.9"]"#,
        r#""0020000D":"9.9""#,
        r#""0020000D":{"vr":"UI","Value":[["9.9"]]}"#,
        r#""0020000D":{"vr":"UI","InlineBinary":"OS45"}"#,
    ] {
        let response = CannedResponse::json(format!("[{{{member}}}]"));
        let pacs = Pacs::new().with_response("/studies/1.2/metadata", response).start().await;
        for (config, status) in [("", 502), ("synthesize = [\"parents\"]", 404)] {
            let root = ArchiveRoot::start_with_config(&pacs.url(), config).await;
            for accept in ["application/dicom+json", "application/dicom+xml"] {
                let headers = [("Accept", accept)];
                let response = client::get_with_headers(&root.url("studies/1.2/metadata"), &headers).await;
                assert_eq!(response.status, status, "{config} {accept} {member}: {}", response.text());
            }
        }
    }
    let filler = vec![requested_object.as_str(); 2000].join(",");
    let late = format!("[{filler},{}]", object("9.9", "9.9.1", "9.9.1.1"));
    let pacs = Pacs::new()
        .with_response("/studies/1.2/metadata", CannedResponse::json(late))
        .with_response(&format!("/{series}"), CannedResponse::json(format!("[{requested_object}]")))
        .start()
        .await;
    let root = ArchiveRoot::start(&pacs).await;
    let response = client::get(&root.url("studies/1.2/metadata")).await;
    assert!(!response.is_complete, "an object of another study after the beginning was sent");
    let response = client::get(&root.url(series)).await;
    assert_eq!((response.status, response.is_complete), (200, true), "{}", response.text());
}

#[tokio::test]
async fn a_list_is_identified_if_its_byte_order_mark_and_white_space_arrive_in_pieces() {
    let object = r#"{"0020000D":{"vr":"UI","Value":[" 1.2"]},"0020000E":{"vr":"UI","Value":[""]}}"#;
    let list = format!("\u{feff}\r\n [{object}]");
    for size in [1, 2, 3, 5] {
        let response = CannedResponse::bytes("application/dicom+json", list.as_bytes())
            .in_pieces(size, Duration::from_millis(1));
        let pacs = Pacs::new().with_fallback(response).start().await;
        let root = ArchiveRoot::start(&pacs).await;
        for target in ["studies", "studies/1.2/metadata", "studies/1.2/series/1.2.1/metadata"] {
            for (accept, part) in [("application/dicom+json", object), ("application/dicom+xml", "0020000D")]
            {
                let response = client::get_with_headers(&root.url(target), &[("Accept", accept)]).await;
                assert_eq!(
                    (response.status, response.is_complete),
                    (200, true),
                    "{size} {}",
                    response.text()
                );
                assert!(response.text().contains(part), "{size} {target}: {}", response.text());
            }
        }
    }
}

#[tokio::test]
async fn a_row_with_an_attribute_that_has_two_values_is_an_error_in_fhir_and_dicomweb() {
    for (second, status) in [("P2", 502), ("P1", 200)] {
        let row = format!(
            r#"[{{"0020000D":{{"vr":"UI","Value":["1.2"]}},"00100020":{{"vr":"LO","Value":["P1"]}},"00100020":{{"vr":"LO","Value":["{second}"]}}}}]"#
        );
        let pacs = Pacs::new()
            .with_response("/studies", CannedResponse::json(row))
            .with_fallback(CannedResponse::json("[]"))
            .start()
            .await;
        let gateway = RunningGateway::start(&pacs.url(), "").await;
        for target in [
            "/dicom-web/main/studies?PatientID=P1",
            "/dicom-web/studies?PatientID=P1",
            "/fhir/ImagingStudy?patient.identifier=P1&_summary=count",
            "/fhir/ImagingStudy?patient.identifier=P2&_summary=count",
        ] {
            let response = gateway.get(target).await;
            assert_eq!(response.status, status, "{target} {second}: {}", response.text());
        }
    }
}
