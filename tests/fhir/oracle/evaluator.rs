//! An evaluator of searches. It implements the text of R4 (search.html), and reads the resources as JSON.

mod dates;

use std::cmp::Ordering;

use serde_json::Value;
use unicode_normalization::UnicodeNormalization;

use super::queries::{Criterion, Query, SortKey};

/// All resources, and the base URL of the FHIR API.
#[derive(Debug)]
pub(super) struct Dataset {
    pub(super) studies: Vec<Value>,
    pub(super) patients: Vec<Value>,
    pub(super) endpoints: Vec<Value>,
    pub(super) base_url: String,
}

impl Dataset {
    /// Returns all resources of a type.
    pub(super) fn resources(&self, resource_type: &str) -> &[Value] {
        match resource_type {
            "ImagingStudy" => &self.studies,
            "Patient" => &self.patients,
            _ => &self.endpoints,
        }
    }

    /// Returns the resource that a relative reference identifies.
    fn resolve(&self, reference: &str) -> Option<&Value> {
        let (resource_type, id) = reference.split_once('/')?;
        self.resources(resource_type).iter().find(|resource| resource["id"] == id)
    }
}

/// Returns the ids of the matches, in the order of the search.
pub(super) fn evaluate(dataset: &Dataset, query: &Query) -> Vec<String> {
    let matches = |resource: &&Value| {
        query.criteria.iter().all(|criterion| is_met(dataset, query.resource_type, resource, criterion))
    };
    let mut resources: Vec<&Value> = dataset.resources(query.resource_type).iter().filter(matches).collect();
    let default = [SortKey { parameter: "started", is_descending: true }];
    let keys: &[SortKey] = match (query.sort.as_slice(), query.resource_type) {
        ([], "ImagingStudy") => &default,
        (keys, _) => keys,
    };
    resources.sort_by(|one, other| {
        let compare_by =
            |key: &SortKey| compare(first_value(one, key), first_value(other, key), key.is_descending);
        let ordering = keys.iter().map(compare_by).fold(Ordering::Equal, Ordering::then);
        ordering.then_with(|| one["id"].as_str().cmp(&other["id"].as_str()))
    });
    resources.into_iter().map(|resource| resource["id"].as_str().unwrap().to_owned()).collect()
}

/// Compares the values of two resources for a sort key. A resource without a value is sorted last.
fn compare(one: Option<String>, other: Option<String>, is_descending: bool) -> Ordering {
    match (one, other) {
        (Some(one), Some(other)) if is_descending => other.cmp(&one),
        (Some(one), Some(other)) => one.cmp(&other),
        (one, other) => other.is_some().cmp(&one.is_some()),
    }
}

/// Returns the value that is sorted first if the resource has several.
fn first_value(resource: &Value, key: &SortKey) -> Option<String> {
    let texts = values(resource, key.parameter).into_iter().map(|value| match value {
        ParameterValue::Date(date) => dates::Interval::parse(date, None).unwrap().sort_key(),
        ParameterValue::Name(text) | ParameterValue::Text(text) => normalize(text),
        ParameterValue::Reference(reference) => reference["reference"].as_str().unwrap().to_owned(),
        ParameterValue::Token { code, .. } => code.unwrap().to_owned(),
        ParameterValue::Uri(uri) => uri.to_owned(),
    });
    if key.is_descending { texts.max() } else { texts.min() }
}

/// Whether `resource` meets `criterion`.
fn is_met(dataset: &Dataset, resource_type: &str, resource: &Value, criterion: &Criterion) -> bool {
    let Criterion { parameter, modifier, values: expected_values } = criterion;
    if let Some(rest) = parameter.strip_prefix("_has:ImagingStudy:") {
        let (reference_parameter, parameter) = rest.split_once(':').unwrap();
        let study_criterion =
            Criterion { parameter: parameter.to_owned(), modifier: None, values: expected_values.clone() };
        let target = format!("{resource_type}/{}", resource["id"].as_str().unwrap());
        let refers_to_target = |study: &Value| {
            values(study, reference_parameter)
                .iter()
                .any(|value| matches!(value, ParameterValue::Reference(reference) if reference["reference"] == target.as_str()))
        };
        return dataset.studies.iter().any(|study| {
            refers_to_target(study) && is_met(dataset, "ImagingStudy", study, &study_criterion)
        });
    }
    if let Some((chain, chained)) = parameter.split_once('.') {
        let target_criterion = Criterion {
            parameter: chained.to_owned(),
            modifier: modifier.clone(),
            values: expected_values.clone(),
        };
        let target_type = if chain.starts_with("endpoint") { "Endpoint" } else { "Patient" };
        let reference_parameter = chain.split(':').next().unwrap();
        return values(resource, reference_parameter).iter().any(|value| match value {
            ParameterValue::Reference(reference) => reference["reference"]
                .as_str()
                .and_then(|reference| dataset.resolve(reference))
                .is_some_and(|target| is_met(dataset, target_type, target, &target_criterion)),
            _ => false,
        });
    }
    let found_values = values(resource, parameter);
    match modifier.as_deref() {
        Some("missing") => found_values.is_empty() == (expected_values[0] == "true"),
        Some("not") => !found_values.iter().any(|value| {
            expected_values.iter().any(|expected| value_matches(dataset, value, expected, None))
        }),
        modifier => found_values.iter().any(|value| {
            expected_values.iter().any(|expected| value_matches(dataset, value, expected, modifier))
        }),
    }
}

/// A value of a resource for a parameter.
#[derive(Debug)]
enum ParameterValue<'a> {
    Token {
        system: Option<&'a str>,
        code: Option<&'a str>,
        texts: Vec<&'a str>,
        types: Vec<&'a Value>,
    },
    Date(&'a str),
    Reference(&'a Value),
    /// A part of a HumanName, which matches at the beginning of each word.
    Name(&'a str),
    /// A string that is not a name.
    Text(&'a str),
    Uri(&'a str),
}

/// Whether a value of a resource matches one alternative of a criterion.
fn value_matches(
    dataset: &Dataset,
    value: &ParameterValue<'_>,
    expected: &str,
    modifier: Option<&str>,
) -> bool {
    match value {
        ParameterValue::Date(date) => dates::matches(expected, date),
        ParameterValue::Token { system, code, texts, types } => match modifier {
            Some("text") => texts.iter().any(|text| normalize(text).starts_with(&normalize(expected))),
            Some("of-type") => {
                let parts: Vec<_> = expected.split('|').collect();
                let has_type =
                    types.iter().any(|coding| coding["system"] == parts[0] && coding["code"] == parts[1]);
                has_type && *code == Some(parts[2])
            }
            _ => match expected.split_once('|') {
                None => *code == Some(expected),
                Some(("", expected)) => system.is_none() && *code == Some(expected),
                Some((expected_system, "")) => *system == Some(expected_system) && code.is_some(),
                Some((expected_system, expected)) => {
                    *system == Some(expected_system) && *code == Some(expected)
                }
            },
        },
        ParameterValue::Reference(reference) if modifier == Some("identifier") => {
            let identifier = &reference["identifier"];
            identifier.is_object() && value_matches(dataset, &identifier_token(identifier), expected, None)
        }
        ParameterValue::Reference(reference) => reference["reference"].as_str().is_some_and(|reference| {
            let expected = expected
                .strip_prefix(&dataset.base_url)
                .map_or(expected, |rest| rest.trim_start_matches('/'));
            match (modifier, expected.contains('/')) {
                (_, true) => reference == expected,
                (Some(resource_type), false) => reference == format!("{resource_type}/{expected}"),
                (None, false) => reference.split_once('/').is_some_and(|(_, id)| id == expected),
            }
        }),
        ParameterValue::Name(text) => match modifier {
            Some("exact") => *text == expected,
            Some("contains") => normalize(text).contains(&normalize(expected)),
            _ => {
                let (text, expected) = (normalize(text), normalize(expected));
                text.starts_with(&expected) || text.contains(&format!(" {expected}"))
            }
        },
        ParameterValue::Text(text) => match modifier {
            Some("exact") => *text == expected,
            Some("contains") => normalize(text).contains(&normalize(expected)),
            _ => normalize(text).starts_with(&normalize(expected)),
        },
        ParameterValue::Uri(uri) => match modifier {
            Some("below") => {
                *uri == expected || uri.starts_with(&format!("{}/", expected.trim_end_matches('/')))
            }
            _ => *uri == expected,
        },
    }
}

/// Returns the text in lower case, without accents, and with one space instead of each sequence of spaces and punctuation.
fn normalize(text: &str) -> String {
    let without_accents: String =
        text.nfkd().filter(|character| !('\u{300}'..='\u{36f}').contains(character)).collect();
    let lower_case: String =
        without_accents.to_lowercase().replace('ς', "σ").replace('ß', "ss").nfc().collect();
    let words = lower_case.replace(|character: char| !character.is_alphanumeric(), " ");
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn elements(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> Option<&str> {
    value.as_str()
}

fn coding_token(coding: &Value) -> ParameterValue<'_> {
    let texts = text(&coding["display"]).into_iter().collect();
    ParameterValue::Token {
        system: text(&coding["system"]),
        code: text(&coding["code"]),
        texts,
        types: Vec::new(),
    }
}

fn concept_tokens(concept: &Value) -> Vec<ParameterValue<'_>> {
    let codings: Vec<_> = elements(&concept["coding"]).collect();
    let concept_text = text(&concept["text"]);
    if codings.is_empty() {
        let texts = concept_text.into_iter().collect();
        return vec![ParameterValue::Token { system: None, code: None, texts, types: Vec::new() }];
    }
    let add_concept_text = |value| match coding_token(value) {
        ParameterValue::Token { system, code, mut texts, types } => {
            texts.extend(concept_text);
            ParameterValue::Token { system, code, texts, types }
        }
        value => value,
    };
    codings.into_iter().map(add_concept_text).collect()
}

fn identifier_token(identifier: &Value) -> ParameterValue<'_> {
    ParameterValue::Token {
        system: text(&identifier["system"]),
        code: text(&identifier["value"]),
        texts: text(&identifier["type"]["text"]).into_iter().collect(),
        types: elements(&identifier["type"]["coding"]).collect(),
    }
}

fn code_token<'a>(system: &'a str, value: &'a Value) -> Option<ParameterValue<'a>> {
    let code = text(value)?;
    Some(ParameterValue::Token {
        system: Some(system),
        code: Some(code),
        texts: Vec::new(),
        types: Vec::new(),
    })
}

fn token_without_system(value: &Value) -> Option<ParameterValue<'_>> {
    Some(ParameterValue::Token {
        system: None,
        code: Some(text(value)?),
        texts: Vec::new(),
        types: Vec::new(),
    })
}

/// Returns the values of a parameter, by the expressions of the SearchParameters of R4.
fn values<'a>(resource: &'a Value, parameter: &str) -> Vec<ParameterValue<'a>> {
    let resource_type = resource["resourceType"].as_str().unwrap();
    let series = || elements(&resource["series"]);
    let instances = || series().flat_map(|series| elements(&series["instance"]));
    let names = || elements(&resource["name"]);
    let name_part = |name: &'static str| {
        names().filter_map(move |human_name| text(&human_name[name])).map(ParameterValue::Name)
    };
    let name_parts = |name: &'static str| {
        names()
            .flat_map(move |human_name| elements(&human_name[name]))
            .filter_map(text)
            .map(ParameterValue::Name)
    };
    let references = |value: &'a Value| elements(value).map(ParameterValue::Reference).collect::<Vec<_>>();
    let reference = |value: &'a Value| value.is_object().then_some(ParameterValue::Reference(value));
    // A coding with neither code nor display is not a value.
    let has_value = |value: &&Value| value.get("code").is_some() || value.get("display").is_some();
    match (resource_type, parameter) {
        (_, "_id") => token_without_system(&resource["id"]).into_iter().collect(),
        (_, "_profile") => {
            elements(&resource["meta"]["profile"]).filter_map(text).map(ParameterValue::Uri).collect()
        }
        (_, "_tag" | "_security" | "_source") => Vec::new(),
        (_, "identifier") => elements(&resource["identifier"]).map(identifier_token).collect(),
        ("ImagingStudy", "patient" | "subject") => vec![ParameterValue::Reference(&resource["subject"])],
        ("ImagingStudy", "endpoint") => references(&resource["endpoint"]),
        ("ImagingStudy", "basedon") => references(&resource["basedOn"]),
        ("ImagingStudy", "interpreter") => references(&resource["interpreter"]),
        ("ImagingStudy", "referrer") => reference(&resource["referrer"]).into_iter().collect(),
        ("ImagingStudy", "encounter") => reference(&resource["encounter"]).into_iter().collect(),
        ("ImagingStudy", "performer") => series()
            .flat_map(|series| elements(&series["performer"]))
            .map(|performer| ParameterValue::Reference(&performer["actor"]))
            .collect(),
        ("ImagingStudy", "started") => {
            text(&resource["started"]).map(ParameterValue::Date).into_iter().collect()
        }
        ("ImagingStudy", "modality") => {
            series().map(|series| &series["modality"]).filter(has_value).map(coding_token).collect()
        }
        ("ImagingStudy", "status") => {
            code_token("http://hl7.org/fhir/imagingstudy-status", &resource["status"]).into_iter().collect()
        }
        ("ImagingStudy", "series") => {
            series().filter_map(|series| token_without_system(&series["uid"])).collect()
        }
        ("ImagingStudy", "instance") => {
            instances().filter_map(|instance| token_without_system(&instance["uid"])).collect()
        }
        ("ImagingStudy", "dicom-class") => {
            instances().map(|instance| &instance["sopClass"]).filter(has_value).map(coding_token).collect()
        }
        ("ImagingStudy", "bodysite") => {
            series().filter_map(|series| series.get("bodySite")).map(coding_token).collect()
        }
        ("ImagingStudy", "reason") => elements(&resource["reasonCode"]).flat_map(concept_tokens).collect(),
        ("Patient", "birthdate") => {
            text(&resource["birthDate"]).map(ParameterValue::Date).into_iter().collect()
        }
        ("Patient", "gender") => {
            code_token("http://hl7.org/fhir/administrative-gender", &resource["gender"]).into_iter().collect()
        }
        ("Patient", "family") => name_part("family").collect(),
        ("Patient", "given") => name_parts("given").collect(),
        ("Patient", "name") => name_part("family")
            .chain(name_part("text"))
            .chain(name_parts("given"))
            .chain(name_parts("prefix"))
            .chain(name_parts("suffix"))
            .collect(),
        ("Patient", "active" | "telecom" | "address-city" | "general-practitioner" | "death-date") => {
            Vec::new()
        }
        ("Endpoint", "name") => text(&resource["name"]).map(ParameterValue::Text).into_iter().collect(),
        ("Endpoint", "status") => {
            code_token("http://hl7.org/fhir/endpoint-status", &resource["status"]).into_iter().collect()
        }
        ("Endpoint", "connection-type") => vec![coding_token(&resource["connectionType"])],
        ("Endpoint", "payload-type") => elements(&resource["payloadType"]).flat_map(concept_tokens).collect(),
        other => panic!("the evaluator does not support {other:?}"),
    }
}
