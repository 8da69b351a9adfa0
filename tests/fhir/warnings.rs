//! What a response says about the search itself: parameters that were not applied, and matches that were omitted. It comes first.

use serde_json::{Value, json};

use crate::support::gateway::{RunningGateway, link_url, resources_with_mode};
use crate::support::pacs::{Pacs, Study};

const STRICT: (&str, &str) = ("Prefer", "handling=strict");

fn warnings(bundle: &Value) -> Vec<String> {
    let issues = resources_with_mode(bundle, "outcome")
        .into_iter()
        .flat_map(|outcome| outcome["issue"].as_array().cloned().unwrap());
    issues.map(|issue| issue["diagnostics"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_empty_parameter_that_names_the_patient_is_rejected() {
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
        assert!(warnings(&bundle)[0].contains("NOT restricted"), "{query}");
        assert_eq!(
            gateway.get_with_headers(&format!("/fhir/{query}"), &[STRICT]).await.status,
            400,
            "{query}"
        );
    }
}

#[tokio::test]
async fn sort_keys_that_are_not_supported_do_not_drop_those_that_are() {
    let gateway = RunningGateway::start_with_samples().await;
    for (base, given, applied, named) in [
        ("/fhir/ImagingStudy?_elements=started", "nonsense,started", "started", "an unknown parameter"),
        ("/fhir/ImagingStudy?_elements=started", "-started,modality", "-started", "modality"),
        (
            "/fhir/ImagingStudy?_elements=started",
            "x,-_lastUpdated,y,_id",
            "-_lastUpdated,_id",
            "an unknown parameter",
        ),
        ("/fhir/Patient?_elements=name", "modality,-birthdate", "-birthdate", "an unknown parameter"),
        ("/fhir?_type=ImagingStudy,Patient&_elements=id", "-_id,started", "-_id", "an unknown parameter"),
    ] {
        let path = format!("{base}&_count=7&_sort={given}");
        let bundle = gateway.get_json(&path).await;
        let own = gateway.search_ids(&format!("{base}&_count=100&_sort={applied}")).await;
        assert_eq!(gateway.search_ids(&path).await, own, "{path}");
        let shown = link_url(&bundle, "self").unwrap();
        assert!(shown.contains(&format!("_sort={applied}")), "{shown}");
        let warning = warnings(&bundle).remove(0);
        assert!(
            warning.starts_with(&format!(
                "Parameter `_sort`: The results are not sorted by {named}. _sort supports "
            )),
            "{warning}"
        );
        assert_eq!(gateway.get_with_headers(&path, &[STRICT]).await.status, 400, "{path}");
    }
    let ignored = gateway.get_json("/fhir/ImagingStudy?_sort=nonsense").await;
    assert!(warnings(&ignored)[0].starts_with("Parameter `_sort` was ignored. _sort supports "), "{ignored}");
    assert!(!link_url(&ignored, "self").unwrap().contains("_sort"));
}

#[tokio::test]
async fn omitted_matches_are_counted_per_archive() {
    let no_uid = || json!({"vr": "UI"});
    let pacs = Pacs::new()
        .with_study(Study::new("1.2.1"))
        .with_study(Study::new("1.2.2").attribute("0020000D", no_uid()))
        .start()
        .await;
    let other = Pacs::new()
        .with_study(Study::new("1.2.3").attribute("0020000D", no_uid()))
        .with_study(Study::new("1.2.4").attribute("0020000D", no_uid()))
        .with_study(Study::new("1.2.5").patient("P2", "Roe^Jane").attribute("0020000D", no_uid()))
        .start()
        .await;
    let more = format!("[[archive]]\nid = \"other\"\nurl = \"{}\"\n", other.url());
    let gateway = RunningGateway::start(&pacs.url(), &more).await;
    let bundle = gateway.get_json("/fhir/ImagingStudy?patient.identifier=P1").await;
    assert_eq!(resources_with_mode(&bundle, "match").len(), 1);
    assert_eq!(
        warnings(&bundle),
        [
            "Archive main: 1 match was omitted, because the archive has no valid Study Instance UID for it.",
            "Archive other: 2 matches were omitted, because the archive has no valid Study Instance UID for them.",
        ]
    );
}

#[tokio::test]
async fn warnings_come_before_the_matches_in_every_format() {
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
        let warning = page.find("<li class=\"warning\">Search parameter `color` was ignored").expect(path);
        assert!(warning < page.find("<ol class=\"entries\">").unwrap(), "{path}");
        assert_eq!(page.matches("OperationOutcome</a>").count(), 0);
    }
}

#[tokio::test]
async fn patients_without_a_name_are_listed_with_their_identifier() {
    let unnamed = |uid: &str, id: &str| {
        Study::new(uid)
            .attribute("00100010", json!({"vr": "PN"}))
            .attribute("00100020", json!({"vr": "LO", "Value": [id]}))
    };
    let pacs = Pacs::new()
        .with_study(unnamed("1.2.1", "4711"))
        .with_study(unnamed("1.2.2", "4712").attribute("00100040", json!({"vr": "CS", "Value": ["F"]})));
    let pacs = pacs.start().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    let page = gateway.get_with_headers("/fhir/Patient", &[("Accept", "text/html")]).await.text();
    for line in ["<span>no name · 4711</span>", "<span>no name · 4712 · female</span>"] {
        assert!(page.contains(line), "{line}: {page}");
    }
}
