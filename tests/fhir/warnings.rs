//! Warnings of searches: the first entry of the Bundle reports parameters that were not applied and matches that were omitted.

use serde_json::{Value, json};

use crate::support::gateway::{RunningGateway, link_url, resources_with_mode};
use crate::support::pacs::{Pacs, Study};

/// The header that rejects unsupported parameters.
const STRICT: (&str, &str) = ("Prefer", "handling=strict");

fn warnings_in(bundle: &Value) -> Vec<String> {
    let issues = resources_with_mode(bundle, "outcome")
        .into_iter()
        .flat_map(|outcome| outcome["issue"].as_array().cloned().unwrap());
    issues.map(|issue| issue["diagnostics"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_empty_parameter_that_identifies_a_patient_is_rejected() {
    let gateway = RunningGateway::start_with_samples().await;
    for query in [
        "ImagingStudy?patient=",
        "ImagingStudy?patient",
        "ImagingStudy?subject=",
        "ImagingStudy?patient:identifier=",
        "ImagingStudy?subject:Patient=",
        "ImagingStudy?patient.identifier=",
        "ImagingStudy?subject:Patient.identifier=",
        "ImagingStudy?patient.name=&modality=CT",
        "ImagingStudy?patient=&patient=P1",
        "ImagingStudy?patient=,",
        "ImagingStudy?patient=%20",
        "ImagingStudy?patient=Patient/",
        "ImagingStudy?patient.identifier=%7C",
        "ImagingStudy?patient.name=%20",
        "Patient?_id=",
        "Patient?identifier=",
        "?_type=ImagingStudy&patient=",
    ] {
        let received = gateway.get(&format!("/fhir/{query}")).await;
        assert_eq!(received.status, 400, "{query}: {}", received.text());
    }
    // R4 ignores other empty parameters.
    for query in ["ImagingStudy?status=", "ImagingStudy?modality=", "Patient?family="] {
        let bundle = gateway.get_json(&format!("/fhir/{query}")).await;
        assert!(warnings_in(&bundle)[0].contains("NOT restricted"), "{query}");
        assert_eq!(
            gateway.get_with_headers(&format!("/fhir/{query}"), &[STRICT]).await.status,
            400,
            "{query}"
        );
    }
}

#[tokio::test]
async fn an_identifier_that_is_only_a_uid_and_matches_nothing_is_reported_with_its_form() {
    let pacs = Pacs::new()
        .with_study(Study::new("1.2.1").accession_number("7").series("1.2.1.1", "CT", 1))
        .start()
        .await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    let form = "identifier=urn:dicom:uid|urn:oid:{UID}";
    for (query, total, is_reported) in [
        ("identifier=1.2.1", 0, true),
        ("identifier=%7C1.2.1&_summary=count", 0, true),
        ("identifier=no-uid", 0, false),
        ("identifier=4711", 0, false),
        ("identifier=urn:oid:1.2.9", 0, false),
        ("identifier=7", 1, false),
        ("identifier=urn:dicom:uid%7Curn:oid:1.2.1", 1, false),
    ] {
        let bundle = gateway.get_json(&format!("/fhir/ImagingStudy?{query}")).await;
        assert_eq!(bundle["total"], total, "{query}");
        let warnings = warnings_in(&bundle);
        assert_eq!(
            warnings.iter().any(|warning| warning.contains(form)),
            is_reported,
            "{query}: {warnings:?}"
        );
    }
}

#[tokio::test]
async fn supported_sort_keys_are_applied_if_others_are_not_supported() {
    let gateway = RunningGateway::start_with_samples().await;
    for (search, keys, applied_keys, ignored) in [
        ("/fhir/ImagingStudy?_elements=started", "nonsense,started", "started", "an unknown name"),
        ("/fhir/ImagingStudy?_elements=started", "-started,modality", "-started", "modality"),
        (
            "/fhir/ImagingStudy?_elements=started",
            "x,-_lastUpdated,y,_id",
            "-_lastUpdated,_id",
            "an unknown name",
        ),
        ("/fhir/Patient?_elements=name", "modality,-birthdate", "-birthdate", "an unknown name"),
        ("/fhir?_type=ImagingStudy,Patient&_elements=id", "-_id,started", "-_id", "an unknown name"),
    ] {
        let path = format!("{search}&_count=7&_sort={keys}");
        let bundle = gateway.get_json(&path).await;
        let expected = gateway.search_ids(&format!("{search}&_count=100&_sort={applied_keys}")).await;
        assert_eq!(gateway.search_ids(&path).await, expected, "{path}");
        let self_link = link_url(&bundle, "self").unwrap();
        assert!(self_link.contains(&format!("_sort={applied_keys}")), "{self_link}");
        let warning = warnings_in(&bundle).remove(0);
        assert!(
            warning.starts_with(&format!(
                "Parameter `_sort`: The results are not sorted by {ignored}. _sort supports "
            )),
            "{warning}"
        );
        let rejection = gateway.get_with_headers(&path, &[STRICT]).await;
        let expected = format!("Parameter _sort: sorting by {ignored} is not supported; _sort supports ");
        assert_eq!(rejection.status, 400, "{path}");
        assert!(rejection.text().contains(&expected), "{path}: {}", rejection.text());
    }
    let bundle = gateway.get_json("/fhir/ImagingStudy?_sort=nonsense").await;
    let warning =
        "Parameter `_sort` was ignored. The results are not sorted by an unknown name. _sort supports ";
    assert!(warnings_in(&bundle)[0].starts_with(warning), "{bundle}");
    assert!(!link_url(&bundle, "self").unwrap().contains("_sort"));
}

#[tokio::test]
async fn strict_errors_name_the_parameter_and_the_part_of_its_value_that_is_not_supported() {
    let gateway = RunningGateway::start_with_samples().await;
    for (query, expected) in [
        ("modalty=CT", "Parameter modalty: this parameter is not supported; /fhir/metadata lists"),
        ("_sort=foo", "Parameter _sort: sorting by an unknown name is not supported; _sort supports "),
        (
            "_sort=-started,foo",
            "Parameter _sort: sorting by an unknown name is not supported; _sort supports ",
        ),
        (
            "_elements=started,foo",
            "Parameter _elements: one name in the value is not an element of any resource type.",
        ),
        ("status=", "Parameter status: the parameter has no value."),
    ] {
        let path = format!("/fhir/ImagingStudy?{query}");
        let rejection = gateway.get_with_headers(&path, &[STRICT]).await;
        assert_eq!(rejection.status, 400, "{query}");
        let diagnostics = rejection.json()["issue"][0]["diagnostics"].as_str().unwrap().to_owned();
        assert!(diagnostics.starts_with(expected), "{diagnostics}");
        assert_eq!(gateway.get(&path).await.status, 200, "{query}");
    }
}

#[tokio::test]
async fn unknown_elements_are_reported_and_ignored() {
    let gateway = RunningGateway::start_with_samples().await;
    let bundle = gateway.get_json("/fhir/ImagingStudy?_elements=foo,started").await;
    assert_eq!(
        warnings_in(&bundle),
        [
            "Parameter `_elements`: In _elements, one name in the value is not an element of any resource type."
        ]
    );
    assert!(resources_with_mode(&bundle, "match")[0]["started"].is_string());
    let bundle = gateway.get_json("/fhir/ImagingStudy?_elements=started,deceased,header").await;
    assert_eq!(warnings_in(&bundle), [""; 0]);
    let read =
        format!("/fhir/ImagingStudy/{}?_elements=foo", gateway.search_ids("/fhir/ImagingStudy").await[0]);
    assert_eq!(gateway.get(&read).await.status, 200);
    let rejection = gateway.get_with_headers(&read, &[STRICT]).await;
    assert_eq!(rejection.status, 400);
    let expected = "one name in the value is not an element of any resource type";
    assert!(rejection.text().contains(expected), "{}", rejection.text());
}

#[tokio::test]
async fn omitted_matches_are_counted_per_archive() {
    let empty_uid = || json!({"vr": "UI"});
    let pacs = Pacs::new()
        .with_study(Study::new("1.2.1"))
        .with_study(Study::new("1.2.2").attribute("0020000D", empty_uid()))
        .start()
        .await;
    let other_pacs = Pacs::new()
        .with_study(Study::new("1.2.3").attribute("0020000D", empty_uid()))
        .with_study(Study::new("1.2.4").attribute("0020000D", empty_uid()))
        .with_study(Study::new("1.2.5").patient("P2", "Roe^Jane").attribute("0020000D", empty_uid()))
        .start()
        .await;
    let second_archive = format!("[[archive]]\nid = \"other\"\nurl = \"{}\"\n", other_pacs.url());
    let gateway = RunningGateway::start(&pacs.url(), &second_archive).await;
    let bundle = gateway.get_json("/fhir/ImagingStudy?patient.identifier=P1").await;
    assert_eq!(resources_with_mode(&bundle, "match").len(), 1);
    assert_eq!(
        warnings_in(&bundle),
        [
            "Archive main: 1 match was omitted, because the archive has no valid Study Instance UID for it.",
            "Archive other: 2 matches were omitted, because the archive has no valid Study Instance UID for them.",
        ]
    );
}

#[tokio::test]
async fn warnings_precede_the_matches_in_every_format() {
    let gateway = RunningGateway::start_with_samples().await;
    for path in [
        "/fhir/ImagingStudy?color=green&_count=3",
        "/fhir/Patient?color=green&_count=3",
        "/fhir?color=green&_count=3&_type=Patient,Endpoint",
        "/fhir/ImagingStudy?color=green&_count=3&_include=ImagingStudy:patient",
    ] {
        let bundle = gateway.get_json(path).await;
        let modes: Vec<_> = bundle["entry"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["search"]["mode"].as_str().unwrap())
            .collect();
        assert_eq!(modes.iter().filter(|mode| **mode == "outcome").count(), 1, "{path}");
        assert_eq!((modes[0], modes[1]), ("outcome", "match"), "{path}");
        let page = gateway.get_with_headers(path, &[("Accept", "text/html")]).await.text();
        let warning_index =
            page.find("<li class=\"warning\">Search parameter `color` was ignored").expect(path);
        assert!(warning_index < page.find("<ol class=\"entries\">").unwrap(), "{path}");
        assert_eq!(page.matches("OperationOutcome</a>").count(), 0);
    }
}

#[tokio::test]
async fn patients_without_a_name_are_listed_with_their_identifier() {
    let study_without_name = |uid: &str, id: &str| {
        Study::new(uid)
            .attribute("00100010", json!({"vr": "PN"}))
            .attribute("00100020", json!({"vr": "LO", "Value": [id]}))
    };
    let pacs = Pacs::new().with_study(study_without_name("1.2.1", "4711")).with_study(
        study_without_name("1.2.2", "4712").attribute("00100040", json!({"vr": "CS", "Value": ["F"]})),
    );
    let pacs = pacs.start().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    let page = gateway.get_with_headers("/fhir/Patient", &[("Accept", "text/html")]).await.text();
    for line in ["<span>no name · 4711</span>", "<span>no name · 4712 · female</span>"] {
        assert!(page.contains(line), "{line}: {page}");
    }
}
