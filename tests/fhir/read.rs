//! Reads of resources: the CapabilityStatement, complete studies, Endpoints, subsets, and the base URL of links.

use crate::support::gateway::RunningGateway;

#[tokio::test]
async fn every_parameter_in_the_capability_statement_is_applied() {
    let gateway = RunningGateway::start_with_samples().await;
    let statement = gateway.get_json("/fhir/metadata").await;
    assert_eq!(statement["resourceType"], "CapabilityStatement");
    assert_eq!(statement["fhirVersion"], "4.0.1");
    assert_eq!(statement["implementation"]["url"], format!("{}/fhir", gateway.base_url()));
    for resource in statement["rest"][0]["resource"].as_array().unwrap() {
        let resource_type = resource["type"].as_str().unwrap();
        for parameter in resource["searchParam"].as_array().unwrap() {
            let name = parameter["name"].as_str().unwrap();
            let value = match (name, parameter["type"].as_str().unwrap()) {
                ("series" | "instance", _) => "1.2",
                (_, "date") => "2024",
                (_, "uri") => "http://a.example/b",
                _ => "abc",
            };
            let bundle = gateway.get_json(&format!("/fhir/{resource_type}?{name}={value}")).await;
            let links = bundle["link"].to_string();
            assert!(
                links.contains(&format!("{name}={value}")),
                "{resource_type} {name} was not applied: {links}"
            );
        }
    }
}

#[tokio::test]
async fn the_capability_statement_declares_cors_limits_sort_keys_and_result_parameters() {
    for (config, has_cors, count_limits) in [
        ("", false, "50 by default, 200 at most"),
        (
            "[server.cors]\nallowed_origins = [\"*\"]\n[search]\nmax_count = 75\n",
            true,
            "50 by default, 75 at most",
        ),
        (
            "[server.cors]\nallowed_origins = [\"https://viewer.example\"]\n[search]\ndefault_count = 5\n",
            true,
            "5 by default, 200 at most",
        ),
    ] {
        let gateway = RunningGateway::start("http://127.0.0.1:9", config).await;
        let rest = gateway.get_json("/fhir/metadata").await["rest"][0].take();
        assert_eq!(rest["security"]["cors"], has_cors, "{config}");
        assert!(
            rest["documentation"].as_str().unwrap().contains("A batch has at most 100 entries."),
            "{rest}"
        );
        let documentation_of = |name: &str| {
            let parameters = rest["searchParam"].as_array().unwrap();
            let parameter = parameters
                .iter()
                .find(|parameter| parameter["name"] == name)
                .unwrap_or_else(|| panic!("{name} is missing"));
            parameter["documentation"].as_str().unwrap().to_owned()
        };
        assert!(documentation_of("_count").contains(count_limits), "{}", documentation_of("_count"));
        let sort_documentation = documentation_of("_sort");
        for resource_type in ["ImagingStudy", "Patient", "Endpoint"] {
            let keys = sort_documentation
                .split(&format!("Keys of {resource_type}: "))
                .nth(1)
                .unwrap()
                .split('.')
                .next()
                .unwrap();
            for key in keys.split(", ") {
                let links =
                    gateway.get(&format!("/fhir/{resource_type}?_sort=-{key}&_contained=true")).await.json()
                        ["link"]
                        .to_string();
                assert!(links.contains(&format!("_sort=-{key}")), "{resource_type} {key}: {links}");
            }
        }
        for (name, values) in [
            ("_summary", &["true", "false", "text", "data", "count"][..]),
            ("_total", &["none", "estimate", "accurate"]),
            ("_contained", &["true", "false", "both"]),
            ("_containedType", &["container", "contained"]),
            ("_pretty", &["true", "false"]),
            ("_format", &["json", "xml", "html"]),
        ] {
            for value in values {
                assert!(documentation_of(name).contains(value), "{name} {value}");
                assert_eq!(
                    gateway.get(&format!("/fhir/Endpoint?{name}={value}")).await.status,
                    200,
                    "{name}={value}"
                );
            }
        }
        for name in ["_elements", "_include", "_revinclude", "_type"] {
            assert!(!documentation_of(name).is_empty());
        }
        for resource in rest["resource"].as_array().unwrap() {
            assert!(resource["interaction"].to_string().contains("history-instance"), "{resource}");
        }
    }
}

#[tokio::test]
async fn every_study_can_be_read_with_all_series_and_instances() {
    let gateway = RunningGateway::start_with_samples().await;
    let (studies, page) = gateway.search("/fhir/ImagingStudy?_count=7").await;
    assert_eq!(page["total"], 30);
    assert_eq!(studies.len(), 30);
    for study in studies {
        let id = study["id"].as_str().unwrap();
        let read = gateway.get_json(&format!("/fhir/ImagingStudy/{id}")).await;
        assert_eq!(read, study, "the match differs from the resource that a read returns");
        assert_eq!(read["identifier"][0]["value"], format!("urn:oid:{id}"));
        let series = read["series"].as_array().unwrap();
        assert_eq!(read["numberOfSeries"], series.len());
        let instance_count: usize =
            series.iter().map(|series| series["instance"].as_array().map_or(0, Vec::len)).sum();
        assert_eq!(read["numberOfInstances"], instance_count);
        let reference = read["subject"]["reference"].as_str().unwrap();
        let patient = gateway.get_json(&format!("/fhir/{reference}")).await;
        assert_eq!(patient["resourceType"], "Patient");
    }
}

#[tokio::test]
async fn the_endpoint_address_is_the_dicomweb_root_of_the_archive() {
    let gateway = RunningGateway::start_with_samples().await;
    let endpoint = gateway.get_json("/fhir/Endpoint/main").await;
    let address = endpoint["address"].as_str().unwrap();
    assert_eq!(address, format!("{}/dicom-web/main", gateway.base_url()));
    let path = address.strip_prefix(gateway.base_url()).unwrap();
    assert_eq!(gateway.get_json(&format!("{path}/studies")).await.as_array().unwrap().len(), 30);
    assert_eq!(gateway.get_json("/fhir/Endpoint?name=main&status=active").await["total"], 1);
    assert_eq!(gateway.get_json("/fhir/Endpoint?connection-type=ihe-iid").await["total"], 0);
}

#[tokio::test]
async fn subsets_of_a_study_are_tagged_and_fetched_only_to_their_depth() {
    let gateway = RunningGateway::start_with_samples().await;
    let id = gateway.search_ids("/fhir/ImagingStudy?_elements=id&_count=1").await.remove(0);
    let counts_before =
        (gateway.upstream_request_count("search"), gateway.upstream_request_count("metadata"));
    let elements = gateway.get_json(&format!("/fhir/ImagingStudy/{id}?_elements=started,description")).await;
    assert_eq!(elements.get("series"), None);
    assert_eq!(elements["meta"]["tag"][0]["code"], "SUBSETTED");
    assert!(elements["subject"].is_object() && elements["status"].is_string());
    assert_eq!(
        gateway.upstream_request_count("metadata"),
        counts_before.1,
        "instances were fetched for elements of the study"
    );
    let summary = gateway.get_json(&format!("/fhir/ImagingStudy/{id}?_summary=true")).await;
    assert!(summary["series"].as_array().unwrap().iter().all(|series| series.get("instance").is_none()));
    assert_eq!(
        gateway.upstream_request_count("metadata"),
        counts_before.1,
        "instances were fetched for a summary"
    );
    assert!(gateway.upstream_request_count("search") > counts_before.0);
}

#[tokio::test]
async fn links_use_the_public_url_or_the_headers_of_trusted_proxies() {
    let with_public_url = RunningGateway::start_with_samples_and_config(
        "[server]\npublic_url = \"https://imaging.example/pacs\"\n",
    )
    .await;
    for path in [
        "/fhir/ImagingStudy?_count=1&_include=ImagingStudy:endpoint",
        "/pacs/fhir/ImagingStudy?_count=1&_include=ImagingStudy:endpoint",
    ] {
        let bundle = with_public_url.get_json(path).await;
        let text = bundle.to_string();
        assert!(text.contains("https://imaging.example/pacs/dicom-web/main"), "{text}");
        assert!(
            bundle["link"].to_string().matches("https://imaging.example/pacs/fhir/ImagingStudy?").count()
                == 3
        );
        assert!(!text.contains("127.0.0.1"), "{text}");
    }
    let with_trusted_proxies =
        RunningGateway::start_with_samples_and_config("[server]\ntrusted_proxies = [\"127.0.0.0/8\"]\n")
            .await;
    let headers = [
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "images.example"),
        ("X-Forwarded-Prefix", "/x"),
    ];
    let endpoint = with_trusted_proxies.get_with_headers("/fhir/Endpoint/main", &headers).await.json();
    assert_eq!(endpoint["address"], "https://images.example/x/dicom-web/main");
    let without_trusted_proxies = RunningGateway::start_with_samples().await;
    let endpoint = without_trusted_proxies.get_with_headers("/fhir/Endpoint/main", &headers).await.json();
    assert_eq!(endpoint["address"], format!("{}/dicom-web/main", without_trusted_proxies.base_url()));
}
