//! Searches for the sample studies by each parameter. The expected matches are selected from the list of all resources.

use serde_json::Value;

use crate::support::client;
use crate::support::gateway::{RunningGateway, link_url, resources_with_mode};
use crate::support::pacs::{CannedResponse, Pacs, Study};

fn sorted_ids(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

/// Lists all studies, and returns the sorted ids of those that meet `condition`.
async fn expected_ids(gateway: &RunningGateway, condition: impl Fn(&Value) -> bool) -> Vec<String> {
    let (studies, _) = gateway.search("/fhir/ImagingStudy").await;
    sorted_ids(
        studies
            .iter()
            .filter(|study| condition(study))
            .map(|study| study["id"].as_str().unwrap().to_owned())
            .collect(),
    )
}

fn percent_encode(text: &str) -> String {
    dicomweb_gateway::http::query::encode([("x", text)])[2..].to_owned()
}

#[tokio::test]
async fn identifiers_find_exactly_the_studies_that_have_them() {
    let gateway = RunningGateway::start_with_samples().await;
    let (studies, _) = gateway.search("/fhir/ImagingStudy").await;
    for study in &studies {
        for identifier in study["identifier"].as_array().unwrap() {
            let value = identifier["value"].as_str().unwrap();
            let system = identifier["system"].as_str();
            let has_identifier = |other: &Value, with_system: bool| {
                other["identifier"].as_array().unwrap().iter().any(|other| {
                    other["value"] == value && (!with_system || other["system"].as_str() == system)
                })
            };
            let ids_by_value = sorted_ids(
                gateway.search_ids(&format!("/fhir/ImagingStudy?identifier={}", percent_encode(value))).await,
            );
            assert_eq!(
                ids_by_value,
                expected_ids(&gateway, |other| has_identifier(other, false)).await,
                "{value}"
            );
            let token = format!("{}|{value}", system.unwrap_or_default());
            let ids_by_token = sorted_ids(
                gateway
                    .search_ids(&format!("/fhir/ImagingStudy?identifier={}", percent_encode(&token)))
                    .await,
            );
            assert_eq!(
                ids_by_token,
                expected_ids(&gateway, |other| has_identifier(other, true)).await,
                "{token}"
            );
        }
    }
    assert_eq!(gateway.get_json("/fhir/ImagingStudy?identifier=urn:oid:1.2.3").await["total"], 0);
}

#[tokio::test]
async fn patient_references_and_identifiers_find_exactly_the_studies_of_the_patient() {
    let gateway = RunningGateway::start_with_samples().await;
    let (patients, page) = gateway.search("/fhir/Patient?_count=5").await;
    assert_eq!(page["total"], patients.len());
    let mut study_count = 0;
    for patient in &patients {
        let id = patient["id"].as_str().unwrap();
        let expected =
            expected_ids(&gateway, |study| study["subject"]["reference"] == format!("Patient/{id}")).await;
        study_count += expected.len();
        let patient_url = format!("{}/fhir/Patient/{id}", gateway.base_url());
        for query in [
            format!("patient={id}"),
            format!("subject=Patient/{id}"),
            format!("patient={}", percent_encode(&patient_url)),
        ] {
            let page = gateway.get_json(&format!("/fhir/ImagingStudy?{query}")).await;
            assert_eq!(page["total"], expected.len(), "{query}");
            assert_eq!(
                sorted_ids(gateway.search_ids(&format!("/fhir/ImagingStudy?{query}&_count=1")).await),
                expected,
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
            let ids = sorted_ids(
                gateway.search_ids(&format!("/fhir/ImagingStudy?{name}={}", percent_encode(&token))).await,
            );
            let expected = expected_ids(&gateway, |study| {
                let subject = &study["subject"]["identifier"];
                subject["value"] == identifier["value"] && subject.get("system") == identifier.get("system")
            })
            .await;
            assert_eq!(ids, expected, "{name}={token}");
        }
    }
    assert_eq!(study_count, 30, "a study belongs to no patient or to several");
}

#[tokio::test]
async fn searches_for_an_unknown_patient_have_no_matches() {
    let gateway = RunningGateway::start_with_samples().await;
    assert_eq!(gateway.get_json("/fhir/ImagingStudy?patient=0000").await["total"], 0);
    assert_eq!(gateway.get_json("/fhir/ImagingStudy?patient=Practitioner/1").await["total"], 0);
    for name in ["patient.identifier", "identifier"] {
        let bundle = gateway.get_json(&format!("/fhir/ImagingStudy?{name}=urn:none%7C")).await;
        assert_eq!(bundle["total"], 0, "{name}");
    }
}

#[tokio::test]
async fn wildcard_characters_in_values_match_only_themselves() {
    let gateway = RunningGateway::start_with_samples().await;
    let (studies, _) = gateway.search("/fhir/ImagingStudy").await;
    for pattern in ["*", "?", "P*", "%2A", "P%3F1", "*,*", "a%5C%5Cb", "%5C%2C"] {
        let bundle = gateway.get_json(&format!("/fhir/ImagingStudy?patient.identifier={pattern}")).await;
        let literal = dicomweb_gateway::http::query::decode(&format!("x={pattern}")).unwrap().remove(0).1;
        let expected = studies
            .iter()
            .filter(|study| study["subject"]["identifier"]["value"] == literal.as_str())
            .count();
        assert_eq!(bundle["total"], expected, "{pattern}");
    }
    // An unescaped comma separates alternatives; here, all of them are empty.
    assert_eq!(gateway.get("/fhir/ImagingStudy?patient.identifier=%2C").await.status, 400);
    let with_asterisk: Vec<_> = studies
        .iter()
        .filter(|study| study["subject"]["identifier"]["value"].as_str().is_some_and(|id| id.contains('*')))
        .collect();
    assert!(!with_asterisk.is_empty(), "the samples contain no Patient ID with an asterisk");
    for study in with_asterisk {
        let value = study["subject"]["identifier"]["value"].as_str().unwrap();
        let ids = gateway
            .search_ids(&format!("/fhir/ImagingStudy?patient.identifier={}", percent_encode(value)))
            .await;
        assert!(ids.contains(&study["id"].as_str().unwrap().to_owned()));
        let expected = expected_ids(&gateway, |other| other["subject"]["identifier"]["value"] == value).await;
        assert_eq!(sorted_ids(ids), expected);
    }
}

#[tokio::test]
async fn dates_are_compared_as_intervals() {
    let gateway = RunningGateway::start_with_samples().await;
    let (studies, _) = gateway.search("/fhir/ImagingStudy").await;
    let dated_count = studies.iter().filter(|study| study["started"].is_string()).count();
    let mut years: Vec<&str> =
        studies.iter().filter_map(|study| study["started"].as_str()).map(|started| &started[..4]).collect();
    years.sort_unstable();
    years.dedup();
    let mut total_of_all_years = 0;
    for year in &years {
        let page = gateway.get_json(&format!("/fhir/ImagingStudy?started={year}")).await;
        let total = page["total"].as_u64().unwrap();
        assert!(total > 0, "{year}");
        total_of_all_years += total;
        let total_of_other_years =
            gateway.get_json(&format!("/fhir/ImagingStudy?started=ne{year}")).await["total"]
                .as_u64()
                .unwrap();
        assert_eq!(total + total_of_other_years, dated_count as u64);
        let total_before = gateway.get_json(&format!("/fhir/ImagingStudy?started=lt{year}")).await["total"]
            .as_u64()
            .unwrap();
        let total_from = gateway.get_json(&format!("/fhir/ImagingStudy?started=ge{year}")).await["total"]
            .as_u64()
            .unwrap();
        assert_eq!(total_before + total_from, dated_count as u64, "{year}");
    }
    assert_eq!(total_of_all_years, dated_count as u64);
    for study in studies.iter().filter(|study| study["started"].is_string()) {
        let started = study["started"].as_str().unwrap();
        let ids =
            gateway.search_ids(&format!("/fhir/ImagingStudy?started={}", percent_encode(started))).await;
        assert!(ids.contains(&study["id"].as_str().unwrap().to_owned()), "{started}");
        let ids_of_day = gateway.search_ids(&format!("/fhir/ImagingStudy?started={}", &started[..10])).await;
        assert!(ids_of_day.contains(&study["id"].as_str().unwrap().to_owned()), "{started}");
    }
}

#[tokio::test]
async fn modality_and_status_match_as_tokens() {
    let gateway = RunningGateway::start_with_samples().await;
    let has_modality = |study: &Value, code: &str| {
        study["modality"]
            .as_array()
            .is_some_and(|modalities| modalities.iter().any(|modality| modality["code"] == code))
    };
    for code in ["CT", "MR", "US", "CR", "DX", "MG", "XA", "PT", "SR", "SEG", "KO", "PR"] {
        let expected = expected_ids(&gateway, |study| has_modality(study, code)).await;
        assert!(!expected.is_empty(), "{code}");
        let token = format!("http://dicom.nema.org/resources/ontology/DCM|{code}");
        for value in [code.to_owned(), percent_encode(&token)] {
            assert_eq!(
                sorted_ids(gateway.search_ids(&format!("/fhir/ImagingStudy?modality={value}")).await),
                expected,
                "{value}"
            );
        }
        assert_eq!(gateway.get_json(&format!("/fhir/ImagingStudy?modality=%7C{code}")).await["total"], 0);
    }
    let ct_or_mr =
        expected_ids(&gateway, |study| has_modality(study, "CT") || has_modality(study, "MR")).await;
    assert_eq!(sorted_ids(gateway.search_ids("/fhir/ImagingStudy?modality=CT,MR").await), ct_or_mr);
    let expected =
        expected_ids(&gateway, |study| has_modality(study, "CT") && has_modality(study, "PT")).await;
    assert_eq!(sorted_ids(gateway.search_ids("/fhir/ImagingStudy?modality=CT&modality=PT").await), expected);
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
    let all_ids = gateway.search_ids("/fhir/ImagingStudy?_count=100").await;
    for count in [1, 4, 29, 30, 31] {
        assert_eq!(
            gateway.search_ids(&format!("/fhir/ImagingStudy?_count={count}&_elements=id")).await,
            all_ids,
            "{count}"
        );
    }
    for parameter in ["_count=0", "_summary=count"] {
        let counts_before =
            (gateway.upstream_request_count("metadata"), gateway.upstream_request_count("retrieve"));
        let bundle = gateway.get_json(&format!("/fhir/ImagingStudy?{parameter}")).await;
        assert_eq!(bundle["total"], 30);
        assert_eq!((bundle.get("entry"), link_url(&bundle, "next")), (None, None));
        assert!(link_url(&bundle, "self").unwrap().contains(parameter));
        assert_eq!(
            (gateway.upstream_request_count("metadata"), gateway.upstream_request_count("retrieve")),
            counts_before
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
    let mut references: Vec<_> =
        matches.iter().map(|study| study["subject"]["reference"].as_str().unwrap().to_owned()).collect();
    references.push("Endpoint/main".to_owned());
    references.sort();
    references.dedup();
    let reference = |resource: &Value| {
        format!("{}/{}", resource["resourceType"].as_str().unwrap(), resource["id"].as_str().unwrap())
    };
    assert_eq!(sorted_ids(included.iter().map(reference).collect()), references);
    let urls: Vec<_> =
        bundle["entry"].as_array().unwrap().iter().map(|entry| entry["fullUrl"].as_str().unwrap()).collect();
    let mut distinct_urls = urls.clone();
    distinct_urls.sort_unstable();
    distinct_urls.dedup();
    assert_eq!(distinct_urls.len(), urls.len());
}

#[tokio::test]
async fn patients_are_found_by_every_name_by_birth_date_and_by_gender() {
    let gateway = RunningGateway::start_with_samples().await;
    let (patients, _) = gateway.search("/fhir/Patient").await;
    for patient in &patients {
        let id = patient["id"].as_str().unwrap().to_owned();
        for name in patient["name"].as_array().into_iter().flatten() {
            for (parameter, value) in
                [("family", &name["family"]), ("given", &name["given"][0]), ("name", &name["family"])]
            {
                let Some(value) = value.as_str() else { continue };
                let ids = gateway
                    .search_ids(&format!(
                        "/fhir/Patient?{parameter}={}",
                        percent_encode(&value.to_lowercase())
                    ))
                    .await;
                assert!(ids.contains(&id), "{parameter}={value}");
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
    let have_equal_ids = |one: &Value, other: &Value| {
        one["identifier"][0]["value"].is_string()
            && one["identifier"][0]["value"] == other["identifier"][0]["value"]
    };
    let patients_with_equal_ids: Vec<_> = patients
        .iter()
        .filter(|one| patients.iter().filter(|other| have_equal_ids(one, other)).count() > 1)
        .collect();
    assert_eq!(patients_with_equal_ids.len(), 2);
    assert_ne!(
        patients_with_equal_ids[0]["identifier"][0]["system"],
        patients_with_equal_ids[1]["identifier"][0]["system"]
    );
    let value = patients_with_equal_ids[0]["identifier"][0]["value"].as_str().unwrap();
    assert_eq!(
        gateway.get_json(&format!("/fhir/Patient?identifier={}", percent_encode(value))).await["total"],
        2
    );
}

#[tokio::test]
async fn searches_by_post_match_searches_by_get() {
    let gateway = RunningGateway::start_with_samples().await;
    let form = "modality=CT&_summary=count";
    let post_response = client::post(
        &format!("{}/fhir/ImagingStudy/_search?status=available", gateway.base_url()),
        "application/x-www-form-urlencoded",
        form,
    )
    .await;
    assert_eq!(post_response.status, 200, "{}", post_response.text());
    assert_eq!(
        post_response.json()["total"],
        gateway.get_json("/fhir/ImagingStudy?modality=CT").await["total"]
    );
    assert!(
        link_url(&post_response.json(), "self")
            .unwrap()
            .ends_with("/fhir/ImagingStudy?status=available&modality=CT&_summary=count")
    );
}

#[tokio::test]
async fn a_page_of_summaries_costs_no_upstream_request_per_study() {
    let gateway = RunningGateway::start_with_samples().await;
    let count_before = gateway.upstream_request_count("search");
    let bundle = gateway.get_json("/fhir/ImagingStudy?_summary=true&_count=30").await;
    assert_eq!(resources_with_mode(&bundle, "match").len(), 30);
    // The list of studies needs two requests: with this profile, a short page is known to be the last one only when the next page is
    // empty. The list of series has the reported length.
    assert_eq!(gateway.upstream_request_count("search") - count_before, 3);
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
    for (token, total) in [("A1", 1), ("urn:oid:2.999.7%7CA1", 1), ("urn:oid:2.999.8%7CA1", 0), ("%7CA1", 0)]
    {
        let bundle = gateway.get_json(&format!("/fhir/ImagingStudy?identifier={token}")).await;
        assert_eq!(bundle["total"], total, "{token}");
    }
}

#[tokio::test]
async fn the_tag_of_a_summary_is_not_compared_as_a_tag_of_the_study() {
    let gateway = RunningGateway::start_with_samples().await;
    let (studies, _) = gateway.search("/fhir/ImagingStudy?_count=1").await;
    let series = studies[0]["series"][0]["uid"].as_str().unwrap();
    for (criterion, total) in [("_tag:missing=true", 1), ("_tag:missing=false", 0), ("_tag:not=other", 1)] {
        let bundle = gateway.get_json(&format!("/fhir/ImagingStudy?series={series}&{criterion}")).await;
        assert_eq!(bundle["total"], total, "{criterion}: {bundle}");
    }
}

/// Rows have no sequences in many archives, so only the objects show the issuer of an accession number.
#[tokio::test]
async fn a_system_without_a_value_matches_accession_numbers_whose_issuer_only_the_objects_contain() {
    let object = |issuer: &str| {
        format!(
            r#"[{{"00080016":{{"vr":"UI","Value":["1.2.840.10008.5.1.4.1.1.2"]}},"00080018":{{"vr":"UI","Value":["1.2.1.1.1"]}},"0020000E":{{"vr":"UI","Value":["1.2.1.1"]}},"00080050":{{"vr":"SH","Value":["A1"]}},"00080051":{{"vr":"SQ","Value":[{{"00400032":{{"vr":"UT","Value":["{issuer}"]}},"00400033":{{"vr":"CS","Value":["ISO"]}}}}]}}}}]"#
        )
    };
    for (issuer, is_match) in [("1.2.3.903", true), ("1.2.3.904", false)] {
        let pacs = Pacs::new()
            .with_study(Study::new("1.2.1").accession_number("A1").series("1.2.1.1", "CT", 1))
            .with_response("/studies/1.2.1/series/1.2.1.1/metadata", CannedResponse::json(object(issuer)))
            .start()
            .await;
        let gateway = RunningGateway::start(&pacs.url(), "").await;
        for (query, expected) in [
            ("identifier=urn:oid:1.2.3.903|", is_match),
            ("identifier=urn:oid:1.2.3.903|A1", is_match),
            ("identifier:not=urn:oid:1.2.3.903|", !is_match),
        ] {
            let bundle = gateway.get_json(&format!("/fhir/ImagingStudy?{query}")).await;
            assert_eq!(bundle["total"], usize::from(expected), "{query} {issuer}: {bundle}");
        }
    }
}
