//! Searches of the sample studies by each parameter, compared with a filter over the list of all resources.

use serde_json::Value;

use crate::support::client;
use crate::support::gateway::{RunningGateway, link_url, resources_with_mode};
use crate::support::pacs::{CannedResponse, Pacs, Study};

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

/// The ids of the studies for which `keep` is true, from the list of all studies.
async fn expected_ids(gateway: &RunningGateway, keep: impl Fn(&Value) -> bool) -> Vec<String> {
    let (all, _) = gateway.search("/fhir/ImagingStudy").await;
    sorted(
        all.iter()
            .filter(|study| keep(study))
            .map(|study| study["id"].as_str().unwrap().to_owned())
            .collect(),
    )
}

fn percent(text: &str) -> String {
    dicomweb_gateway::http::query::encode([("x", text)])[2..].to_owned()
}

#[tokio::test]
async fn identifiers_find_exactly_the_studies_that_have_them() {
    let gateway = RunningGateway::start_with_samples().await;
    let (all, _) = gateway.search("/fhir/ImagingStudy").await;
    for study in &all {
        for identifier in study["identifier"].as_array().unwrap() {
            let value = identifier["value"].as_str().unwrap();
            let system = identifier["system"].as_str();
            let has = |other: &Value, with_system: bool| {
                other["identifier"].as_array().unwrap().iter().any(|other| {
                    other["value"] == value && (!with_system || other["system"].as_str() == system)
                })
            };
            let bare = sorted(
                gateway.search_ids(&format!("/fhir/ImagingStudy?identifier={}", percent(value))).await,
            );
            assert_eq!(bare, expected_ids(&gateway, |other| has(other, false)).await, "{value}");
            let token = format!("{}|{value}", system.unwrap_or_default());
            let full = sorted(
                gateway.search_ids(&format!("/fhir/ImagingStudy?identifier={}", percent(&token))).await,
            );
            assert_eq!(full, expected_ids(&gateway, |other| has(other, true)).await, "{token}");
        }
    }
    assert_eq!(gateway.get_json("/fhir/ImagingStudy?identifier=urn:oid:1.2.3").await["total"], 0);
}

#[tokio::test]
async fn patient_references_and_identifiers_find_exactly_the_studies_of_the_patient() {
    let gateway = RunningGateway::start_with_samples().await;
    let (patients, page) = gateway.search("/fhir/Patient?_count=5").await;
    assert_eq!(page["total"], patients.len());
    let mut seen = 0;
    for patient in &patients {
        let id = patient["id"].as_str().unwrap();
        let own =
            expected_ids(&gateway, |study| study["subject"]["reference"] == format!("Patient/{id}")).await;
        seen += own.len();
        let base = format!("{}/fhir/Patient/{id}", gateway.base_url());
        for query in
            [format!("patient={id}"), format!("subject=Patient/{id}"), format!("patient={}", percent(&base))]
        {
            let page = gateway.get_json(&format!("/fhir/ImagingStudy?{query}")).await;
            assert_eq!(page["total"], own.len(), "{query}");
            assert_eq!(
                sorted(gateway.search_ids(&format!("/fhir/ImagingStudy?{query}&_count=1")).await),
                own,
                "{query}"
            );
        }
        let Some(identifier) = patient["identifier"].get(0) else { continue };
        let token = format!(
            "{}|{}",
            identifier["system"].as_str().unwrap_or_default(),
            identifier["value"].as_str().unwrap()
        );
        for name in ["patient.identifier", "patient:identifier", "subject:Patient.identifier"] {
            let found =
                sorted(gateway.search_ids(&format!("/fhir/ImagingStudy?{name}={}", percent(&token))).await);
            let expected = expected_ids(&gateway, |study| {
                let subject = &study["subject"]["identifier"];
                subject["value"] == identifier["value"] && subject.get("system") == identifier.get("system")
            })
            .await;
            assert_eq!(found, expected, "{name}={token}");
        }
    }
    assert_eq!(seen, 30, "every study belongs to a patient");
}

#[tokio::test]
async fn an_unknown_patient_finds_nothing() {
    let gateway = RunningGateway::start_with_samples().await;
    assert_eq!(gateway.get_json("/fhir/ImagingStudy?patient=0000").await["total"], 0);
    assert_eq!(gateway.get_json("/fhir/ImagingStudy?patient=Practitioner/1").await["total"], 0);
    for name in ["patient.identifier", "identifier"] {
        let unknown = gateway.get_json(&format!("/fhir/ImagingStudy?{name}=urn:none%7C")).await;
        assert_eq!(unknown["total"], 0, "{name}");
    }
}

#[tokio::test]
async fn wildcards_in_values_match_only_themselves() {
    let gateway = RunningGateway::start_with_samples().await;
    let (all, _) = gateway.search("/fhir/ImagingStudy").await;
    for pattern in ["*", "?", "P*", "%2A", "P%3F1", "*,*", "a%5C%5Cb", "%5C%2C"] {
        let found = gateway.get_json(&format!("/fhir/ImagingStudy?patient.identifier={pattern}")).await;
        let literal = dicomweb_gateway::http::query::decode(&format!("x={pattern}")).unwrap().remove(0).1;
        let own =
            all.iter().filter(|study| study["subject"]["identifier"]["value"] == literal.as_str()).count();
        assert_eq!(found["total"], own, "{pattern}");
    }
    // An unescaped comma separates alternatives, which are all empty here.
    assert_eq!(gateway.get("/fhir/ImagingStudy?patient.identifier=%2C").await.status, 400);
    let with_asterisk: Vec<_> = all
        .iter()
        .filter(|study| study["subject"]["identifier"]["value"].as_str().is_some_and(|id| id.contains('*')))
        .collect();
    assert!(!with_asterisk.is_empty(), "the samples contain a PatientID with an asterisk");
    for study in with_asterisk {
        let value = study["subject"]["identifier"]["value"].as_str().unwrap();
        let found =
            gateway.search_ids(&format!("/fhir/ImagingStudy?patient.identifier={}", percent(value))).await;
        assert!(found.contains(&study["id"].as_str().unwrap().to_owned()));
        let own = expected_ids(&gateway, |other| other["subject"]["identifier"]["value"] == value).await;
        assert_eq!(sorted(found), own);
    }
}

#[tokio::test]
async fn dates_are_compared_as_intervals() {
    let gateway = RunningGateway::start_with_samples().await;
    let (all, _) = gateway.search("/fhir/ImagingStudy").await;
    let dated = all.iter().filter(|study| study["started"].is_string()).count();
    let mut years: Vec<&str> =
        all.iter().filter_map(|study| study["started"].as_str()).map(|started| &started[..4]).collect();
    years.sort_unstable();
    years.dedup();
    let mut in_years = 0;
    for year in &years {
        let page = gateway.get_json(&format!("/fhir/ImagingStudy?started={year}")).await;
        let total = page["total"].as_u64().unwrap();
        assert!(total > 0, "{year}");
        in_years += total;
        let not = gateway.get_json(&format!("/fhir/ImagingStudy?started=ne{year}")).await["total"]
            .as_u64()
            .unwrap();
        assert_eq!(total + not, dated as u64);
        let before = gateway.get_json(&format!("/fhir/ImagingStudy?started=lt{year}")).await["total"]
            .as_u64()
            .unwrap();
        let from = gateway.get_json(&format!("/fhir/ImagingStudy?started=ge{year}")).await["total"]
            .as_u64()
            .unwrap();
        assert_eq!(before + from, dated as u64, "{year}");
    }
    assert_eq!(in_years, dated as u64);
    for study in all.iter().filter(|study| study["started"].is_string()) {
        let started = study["started"].as_str().unwrap();
        let found = gateway.search_ids(&format!("/fhir/ImagingStudy?started={}", percent(started))).await;
        assert!(found.contains(&study["id"].as_str().unwrap().to_owned()), "{started}");
        let day = gateway.search_ids(&format!("/fhir/ImagingStudy?started={}", &started[..10])).await;
        assert!(day.contains(&study["id"].as_str().unwrap().to_owned()), "{started}");
    }
}

#[tokio::test]
async fn modality_and_status_match_as_tokens() {
    let gateway = RunningGateway::start_with_samples().await;
    let has = |study: &Value, code: &str| {
        study["modality"].as_array().is_some_and(|all| all.iter().any(|modality| modality["code"] == code))
    };
    for code in ["CT", "MR", "US", "CR", "DX", "MG", "XA", "PT", "SR", "SEG", "KO", "PR"] {
        let own = expected_ids(&gateway, |study| has(study, code)).await;
        assert!(!own.is_empty(), "{code}");
        let dcm = format!("http://dicom.nema.org/resources/ontology/DCM|{code}");
        for value in [code.to_owned(), percent(&dcm)] {
            assert_eq!(
                sorted(gateway.search_ids(&format!("/fhir/ImagingStudy?modality={value}")).await),
                own,
                "{value}"
            );
        }
        assert_eq!(gateway.get_json(&format!("/fhir/ImagingStudy?modality=%7C{code}")).await["total"], 0);
    }
    let either = expected_ids(&gateway, |study| has(study, "CT") || has(study, "MR")).await;
    assert_eq!(sorted(gateway.search_ids("/fhir/ImagingStudy?modality=CT,MR").await), either);
    let both = expected_ids(&gateway, |study| has(study, "CT") && has(study, "PT")).await;
    assert_eq!(sorted(gateway.search_ids("/fhir/ImagingStudy?modality=CT&modality=PT").await), both);
    assert_eq!(gateway.get_json("/fhir/ImagingStudy?status=available").await["total"], 30);
    assert_eq!(
        gateway
            .get_json("/fhir/ImagingStudy?status=http://hl7.org/fhir/imagingstudy-status%7Ccancelled")
            .await["total"],
        0
    );
}

#[tokio::test]
async fn pages_of_every_size_contain_every_match_once() {
    let gateway = RunningGateway::start_with_samples().await;
    let whole = gateway.search_ids("/fhir/ImagingStudy?_count=100").await;
    for count in [1, 4, 29, 30, 31] {
        assert_eq!(
            gateway.search_ids(&format!("/fhir/ImagingStudy?_count={count}&_elements=id")).await,
            whole,
            "{count}"
        );
    }
    for counting in ["_count=0", "_summary=count"] {
        let before = (gateway.upstream_request_count("metadata"), gateway.upstream_request_count("retrieve"));
        let bundle = gateway.get_json(&format!("/fhir/ImagingStudy?{counting}")).await;
        assert_eq!(bundle["total"], 30);
        assert_eq!((bundle.get("entry"), link_url(&bundle, "next")), (None, None));
        assert!(link_url(&bundle, "self").unwrap().contains(counting));
        assert_eq!(
            (gateway.upstream_request_count("metadata"), gateway.upstream_request_count("retrieve")),
            before
        );
    }
    assert_eq!(gateway.get("/fhir/ImagingStudy?_cursor=abc").await.status, 400);
}

#[tokio::test]
async fn included_resources_occur_once_on_each_page() {
    let gateway = RunningGateway::start_with_samples().await;
    let bundle = gateway
        .get_json(
            "/fhir/ImagingStudy?_count=100&_include=ImagingStudy:endpoint&_include=ImagingStudy:patient",
        )
        .await;
    let (matches, included) =
        (resources_with_mode(&bundle, "match"), resources_with_mode(&bundle, "include"));
    let mut referred: Vec<_> =
        matches.iter().map(|study| study["subject"]["reference"].as_str().unwrap().to_owned()).collect();
    referred.push("Endpoint/main".to_owned());
    let referred = {
        let mut referred = sorted(referred);
        referred.dedup();
        referred
    };
    let name = |resource: &Value| {
        format!("{}/{}", resource["resourceType"].as_str().unwrap(), resource["id"].as_str().unwrap())
    };
    assert_eq!(sorted(included.iter().map(name).collect()), referred);
    let urls: Vec<_> =
        bundle["entry"].as_array().unwrap().iter().map(|entry| entry["fullUrl"].as_str().unwrap()).collect();
    let mut distinct = urls.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), urls.len());
}

#[tokio::test]
async fn patients_are_found_by_name_in_every_representation_birth_date_and_gender() {
    let gateway = RunningGateway::start_with_samples().await;
    let (patients, _) = gateway.search("/fhir/Patient").await;
    for patient in &patients {
        let id = patient["id"].as_str().unwrap().to_owned();
        for name in patient["name"].as_array().into_iter().flatten() {
            for (parameter, value) in
                [("family", &name["family"]), ("given", &name["given"][0]), ("name", &name["family"])]
            {
                let Some(value) = value.as_str() else { continue };
                let found = gateway
                    .search_ids(&format!("/fhir/Patient?{parameter}={}", percent(&value.to_lowercase())))
                    .await;
                assert!(found.contains(&id), "{parameter}={value}");
            }
        }
        if let Some(date) = patient["birthDate"].as_str() {
            assert!(gateway.search_ids(&format!("/fhir/Patient?birthdate={date}")).await.contains(&id));
        }
        if let Some(gender) = patient["gender"].as_str() {
            assert!(gateway.search_ids(&format!("/fhir/Patient?gender={gender}")).await.contains(&id));
        }
        assert_eq!(gateway.search_ids(&format!("/fhir/Patient?_id={id}")).await, [id]);
    }
    assert_eq!(gateway.get_json("/fhir/Patient?family=nobodyhasthisname").await["total"], 0);
}

#[tokio::test]
async fn equal_patient_ids_of_different_issuers_are_different_patients() {
    let gateway = RunningGateway::start_with_samples().await;
    let (patients, _) = gateway.search("/fhir/Patient").await;
    let same = |one: &Value, other: &Value| {
        one["identifier"][0]["value"].is_string()
            && one["identifier"][0]["value"] == other["identifier"][0]["value"]
    };
    let twins: Vec<_> =
        patients.iter().filter(|one| patients.iter().filter(|other| same(one, other)).count() > 1).collect();
    assert_eq!(twins.len(), 2);
    assert_ne!(twins[0]["identifier"][0]["system"], twins[1]["identifier"][0]["system"]);
    let value = twins[0]["identifier"][0]["value"].as_str().unwrap();
    assert_eq!(gateway.get_json(&format!("/fhir/Patient?identifier={}", percent(value))).await["total"], 2);
}

#[tokio::test]
async fn searches_by_post_match_searches_by_get() {
    let gateway = RunningGateway::start_with_samples().await;
    let form = "modality=CT&_summary=count";
    let posted = client::post(
        &format!("{}/fhir/ImagingStudy/_search?status=available", gateway.base_url()),
        "application/x-www-form-urlencoded",
        form,
    )
    .await;
    assert_eq!(posted.status, 200, "{}", posted.text());
    assert_eq!(posted.json()["total"], gateway.get_json("/fhir/ImagingStudy?modality=CT").await["total"]);
    assert!(
        link_url(&posted.json(), "self")
            .unwrap()
            .ends_with("/fhir/ImagingStudy?status=available&modality=CT&_summary=count")
    );
}

#[tokio::test]
async fn a_page_of_summaries_costs_no_request_per_study() {
    let gateway = RunningGateway::start_with_samples().await;
    let before = gateway.upstream_request_count("search");
    let bundle = gateway.get_json("/fhir/ImagingStudy?_summary=true&_count=30").await;
    assert_eq!(resources_with_mode(&bundle, "match").len(), 30);
    // Two pages of studies and two of series: with this profile a short page is the last one only if the next one is empty.
    assert_eq!(gateway.upstream_request_count("search") - before, 4);
    assert_eq!(gateway.upstream_request_count("metadata"), 0);
}

#[tokio::test]
async fn issuers_that_only_instances_contain_are_compared() {
    let issuer = serde_json::json!([{
        "00400032": {"vr": "UT", "Value": ["2.999.7"]},
        "00400033": {"vr": "CS", "Value": ["ISO"]},
    }]);
    let object = serde_json::json!([{
        "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]},
        "00080018": {"vr": "UI", "Value": ["1.2.3.4.1"]},
        "00080050": {"vr": "SH", "Value": ["A1"]},
        "00080051": {"vr": "SQ", "Value": issuer},
        "0020000E": {"vr": "UI", "Value": ["1.2.3.4"]},
    }]);
    let study = Study::new("1.2.3").accession_number("A1").series("1.2.3.4", "CT", 1);
    let metadata = CannedResponse::json(object.to_string());
    let pacs =
        Pacs::new().with_study(study).with_response("/studies/1.2.3/series/1.2.3.4/metadata", metadata);
    let pacs = pacs.start().await;
    let gateway = RunningGateway::start(&pacs.url(), "profile = \"orthanc\"").await;
    for (token, found) in [("A1", 1), ("urn:oid:2.999.7%7CA1", 1), ("urn:oid:2.999.8%7CA1", 0), ("%7CA1", 0)]
    {
        let bundle = gateway.get_json(&format!("/fhir/ImagingStudy?identifier={token}")).await;
        assert_eq!(bundle["total"], found, "{token}");
    }
}

/// The comparison reads the series in a summary, whose own tag is not a tag of the study.
#[tokio::test]
async fn a_tag_of_the_summary_is_not_a_tag_of_the_study() {
    let gateway = RunningGateway::start_with_samples().await;
    let (studies, _) = gateway.search("/fhir/ImagingStudy?_count=1").await;
    let series = studies[0]["series"][0]["uid"].as_str().unwrap();
    for (criterion, total) in [("_tag:missing=true", 1), ("_tag:missing=false", 0), ("_tag:not=SUBSETTED", 1)]
    {
        let found = gateway.get_json(&format!("/fhir/ImagingStudy?series={series}&{criterion}")).await;
        assert_eq!(found["total"], total, "{criterion}: {found}");
    }
}
