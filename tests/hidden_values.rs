//! Values of parameters, which may be PHI, are not part of errors and warnings.

use serde_json::Value;

use crate::support::gateway::RunningGateway;

/// A value that is no name of a parameter, an element, a type or an attribute, but has the form of one.
const VALUE: &str = "Meyer";

/// Returns the texts of all issues in `resource`, with their expressions.
fn issues(resource: &Value) -> Vec<String> {
    match resource {
        Value::Object(members) => {
            let texts = ["diagnostics", "expression"].into_iter().filter_map(|name| members.get(name));
            let texts = texts.map(Value::to_string);
            texts.chain(members.values().flat_map(issues)).collect()
        }
        Value::Array(items) => items.iter().flat_map(issues).collect(),
        _ => Vec::new(),
    }
}

/// Returns the names of the search parameters of a type, from the CapabilityStatement.
fn parameter_names(capabilities: &Value, kind: &str) -> Vec<String> {
    let resources = capabilities["rest"][0]["resource"].as_array().unwrap();
    let resource = resources.iter().find(|resource| resource["type"] == kind).unwrap();
    let parameters = resource["searchParam"].as_array().unwrap();
    parameters.iter().map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn issues_do_not_contain_the_values_of_parameters() {
    let gateway = RunningGateway::start_with_samples().await;
    let capabilities = gateway.get_json("/fhir/metadata").await;
    let others = "_sort _elements _summary _total _count _include _revinclude _contained _containedType _type _format _pretty \
                  _cursor _has:ImagingStudy:patient:modality _has:Meyer unknown start end _since _at";
    let mut paths = Vec::new();
    for kind in ["ImagingStudy", "Patient", "Endpoint"] {
        let mut names = parameter_names(&capabilities, kind);
        names.extend(others.split_whitespace().map(str::to_owned));
        for name in names {
            for modifier in ["", ":missing"] {
                for value in [
                    VALUE,
                    "started,Meyer",
                    "-Meyer",
                    "ImagingStudy,Meyer",
                    "Meyer|Meyer|Meyer",
                    "json,Meyer",
                ] {
                    paths.push(format!("/fhir/{kind}?{name}{modifier}={value}"));
                }
            }
        }
    }
    for name in others.split_whitespace() {
        for root in [
            "/fhir",
            "/fhir/Patient/a/$everything",
            "/fhir/Patient/a/ImagingStudy",
            "/fhir/Endpoint/main",
            "/fhir/Endpoint/main/_history",
        ] {
            for value in [VALUE, "ImagingStudy,Meyer"] {
                paths.push(format!("{root}?{name}={value}"));
            }
        }
    }
    paths.extend(
        [
            "/fhir/ImagingStudy?Meyer^Anna=1",
            "/fhir?Meyer^Anna=1",
            "/fhir/ImagingStudy?Meyer^Anna=%FF",
            "/fhir/Meyer",
            "/fhir/Meyer/Meyer",
            "/fhir/Patient/Meyer",
            "/fhir/Patient/Meyer/ImagingStudy",
            "/fhir/ImagingStudy/$Meyer",
        ]
        .map(str::to_owned),
    );
    let mut issue_count = 0;
    for path in &paths {
        for preference in ["handling=lenient", "handling=strict"] {
            let received = gateway
                .get_with_headers(path, &[("prefer", preference), ("accept", "application/fhir+json")])
                .await;
            let Ok(resource) = serde_json::from_str::<Value>(&received.text()) else {
                panic!("{path}: {}", received.text())
            };
            for issue in issues(&resource) {
                issue_count += 1;
                let without_names = issue.replace("_has:Meyer", "");
                assert!(!without_names.contains(VALUE), "{path}: {issue}");
            }
        }
    }
    assert!(issue_count > 500, "{issue_count}");
}

#[tokio::test]
async fn dicomweb_errors_do_not_contain_the_values_of_parameters() {
    let gateway = RunningGateway::start_with_samples().await;
    let instance = "studies/1.2/series/1.3/instances/1.4";
    let mut paths = Vec::new();
    for root in ["/dicom-web", "/dicom-web/main"] {
        for name in "limit offset includefield fuzzymatching emptyvaluematching multiplevaluematching accept charset StudyDate \
                     StudyTime StudyInstanceUID 00080020 NumberOfStudyRelatedInstances sealed"
            .split_whitespace()
        {
            for level in ["studies", "series", "instances", "studies/1.2/metadata"] {
                paths.push(format!("{root}/{level}?{name}={VALUE}"));
            }
        }
        for name in "viewport window quality annotation iccprofile accept charset".split_whitespace() {
            for resource in ["rendered", "thumbnail", "frames/1/rendered"] {
                paths.push(format!("{root}/{instance}/{resource}?{name}={VALUE}"));
            }
        }
        for name in "requestType contentType charset anonymize annotation rows columns region windowCenter windowWidth \
                     frameNumber imageQuality presentationUID presentationSeriesUID transferSyntax studyUID seriesUID objectUID"
            .split_whitespace()
        {
            paths.push(format!("{root}/wado?requestType=WADO&studyUID=1.2&seriesUID=1.3&objectUID=1.4&{name}={VALUE}"));
        }
        for path in [
            "studies/Meyer",
            "studies/1.2/series/Meyer",
            "studies/1.2/Meyer",
            "Meyer",
            "studies?Meyer^Anna=1",
            "studies?Meyer^Anna=%FF",
            "studies?Meyer%5EAnna=1",
            "wado?Meyer^Anna=1",
        ] {
            paths.push(format!("{root}/{path}"));
        }
        paths.push(format!("{root}/{instance}/frames/Meyer"));
    }
    for path in &paths {
        let received =
            gateway.get_with_headers(path, &[("accept", "image/x-Meyer, application/dicom+json")]).await;
        assert!(!received.text().contains(VALUE), "{path}: {}", received.text());
        assert!(!received.header("warning").is_some_and(|warning| warning.contains(VALUE)), "{path}");
    }
}
