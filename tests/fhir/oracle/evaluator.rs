//! The matches of a search by the text of R4 (search.html), evaluated on the resources as JSON.

mod dates;

use std::cmp::Ordering;

use serde_json::Value;
use unicode_normalization::UnicodeNormalization;

use super::queries::{Criterion, Query, SortKey};

/// All resources.
#[derive(Debug)]
pub(super) struct Dataset {
    pub(super) studies: Vec<Value>,
    pub(super) patients: Vec<Value>,
    pub(super) endpoints: Vec<Value>,
    pub(super) base: String,
}

impl Dataset {
    /// All resources of a type.
    pub(super) fn all(&self, kind: &str) -> &[Value] {
        match kind {
            "ImagingStudy" => &self.studies,
            "Patient" => &self.patients,
            _ => &self.endpoints,
        }
    }

    fn target(&self, reference: &str) -> Option<&Value> {
        let (kind, id) = reference.split_once('/')?;
        self.all(kind).iter().find(|resource| resource["id"] == id)
    }
}

/// The ids of the matches, in the order of the search.
pub(super) fn evaluate(dataset: &Dataset, query: &Query) -> Vec<String> {
    let matches = |resource: &&Value| {
        query.criteria.iter().all(|criterion| holds(dataset, query.kind, resource, criterion))
    };
    let mut found: Vec<&Value> = dataset.all(query.kind).iter().filter(matches).collect();
    let default = [SortKey { parameter: "started", descending: true }];
    let keys: &[SortKey] = match (query.sort.as_slice(), query.kind) {
        ([], "ImagingStudy") => &default,
        (keys, _) => keys,
    };
    found.sort_by(|one, other| {
        let by = |key: &SortKey| compare(first_value(one, key), first_value(other, key), key.descending);
        let by_keys = keys.iter().map(by).fold(Ordering::Equal, Ordering::then);
        by_keys.then_with(|| one["id"].as_str().cmp(&other["id"].as_str()))
    });
    found.into_iter().map(|resource| resource["id"].as_str().unwrap().to_owned()).collect()
}

/// Resources without a value are sorted last.
fn compare(one: Option<String>, other: Option<String>, descending: bool) -> Ordering {
    match (one, other) {
        (Some(one), Some(other)) if descending => other.cmp(&one),
        (Some(one), Some(other)) => one.cmp(&other),
        (one, other) => other.is_some().cmp(&one.is_some()),
    }
}

/// The value that is sorted first, if there are several.
fn first_value(resource: &Value, key: &SortKey) -> Option<String> {
    let texts = values(resource, key.parameter).into_iter().map(|value| match value {
        Found::Date(date) => dates::Interval::of(date, None).unwrap().in_order(),
        Found::Words(text) | Found::Text(text) => folded(text),
        Found::Reference(reference) => reference["reference"].as_str().unwrap().to_owned(),
        Found::Token { code, .. } => code.unwrap().to_owned(),
        Found::Uri(uri) => uri.to_owned(),
    });
    if key.descending { texts.max() } else { texts.min() }
}

fn holds(dataset: &Dataset, kind: &str, resource: &Value, criterion: &Criterion) -> bool {
    let Criterion { parameter, modifier, values: wanted } = criterion;
    if let Some(rest) = parameter.strip_prefix("_has:ImagingStudy:") {
        let (edge, parameter) = rest.split_once(':').unwrap();
        let inner = Criterion { parameter: parameter.to_owned(), modifier: None, values: wanted.clone() };
        let own = format!("{kind}/{}", resource["id"].as_str().unwrap());
        let refers = |study: &Value| {
            values(study, edge)
                .iter()
                .any(|value| matches!(value, Found::Reference(reference) if reference["reference"] == own.as_str()))
        };
        return dataset
            .studies
            .iter()
            .any(|study| refers(study) && holds(dataset, "ImagingStudy", study, &inner));
    }
    if let Some((edge, chained)) = parameter.split_once('.') {
        let inner =
            Criterion { parameter: chained.to_owned(), modifier: modifier.clone(), values: wanted.clone() };
        let target_kind = if edge.starts_with("endpoint") { "Endpoint" } else { "Patient" };
        let edge = edge.split(':').next().unwrap();
        return values(resource, edge).iter().any(|value| match value {
            Found::Reference(reference) => reference["reference"]
                .as_str()
                .and_then(|reference| dataset.target(reference))
                .is_some_and(|target| holds(dataset, target_kind, target, &inner)),
            _ => false,
        });
    }
    let has = values(resource, parameter);
    match modifier.as_deref() {
        Some("missing") => has.is_empty() == (wanted[0] == "true"),
        Some("not") => !has.iter().any(|value| wanted.iter().any(|wanted| is(dataset, value, wanted, None))),
        modifier => has.iter().any(|value| wanted.iter().any(|wanted| is(dataset, value, wanted, modifier))),
    }
}

/// A value of a resource for a parameter.
#[derive(Debug)]
enum Found<'a> {
    Token { system: Option<&'a str>, code: Option<&'a str>, words: Vec<&'a str>, types: Vec<&'a Value> },
    Date(&'a str),
    Reference(&'a Value),
    Words(&'a str),
    Text(&'a str),
    Uri(&'a str),
}

fn is(dataset: &Dataset, value: &Found<'_>, wanted: &str, modifier: Option<&str>) -> bool {
    match value {
        Found::Date(date) => dates::matches(wanted, date),
        Found::Token { system, code, words, types } => match modifier {
            Some("text") => words.iter().any(|words| folded(words).starts_with(&folded(wanted))),
            Some("of-type") => {
                let parts: Vec<_> = wanted.split('|').collect();
                let typed = types.iter().any(|kind| kind["system"] == parts[0] && kind["code"] == parts[1]);
                typed && *code == Some(parts[2])
            }
            _ => match wanted.split_once('|') {
                None => *code == Some(wanted),
                Some(("", wanted)) => system.is_none() && *code == Some(wanted),
                Some((wanted, "")) => *system == Some(wanted) && code.is_some(),
                Some((named, wanted)) => *system == Some(named) && *code == Some(wanted),
            },
        },
        Found::Reference(reference) if modifier == Some("identifier") => {
            let identifier = &reference["identifier"];
            identifier.is_object() && is(dataset, &identifier_token(identifier), wanted, None)
        }
        Found::Reference(reference) => reference["reference"].as_str().is_some_and(|reference| {
            let wanted =
                wanted.strip_prefix(&dataset.base).map_or(wanted, |rest| rest.trim_start_matches('/'));
            match (modifier, wanted.contains('/')) {
                (_, true) => reference == wanted,
                (Some(kind), false) => reference == format!("{kind}/{wanted}"),
                (None, false) => reference.split_once('/').is_some_and(|(_, id)| id == wanted),
            }
        }),
        Found::Words(text) => match modifier {
            Some("exact") => *text == wanted,
            Some("contains") => folded(text).contains(&folded(wanted)),
            _ => {
                let (text, wanted) = (folded(text), folded(wanted));
                text.starts_with(&wanted) || text.contains(&format!(" {wanted}"))
            }
        },
        Found::Text(text) => match modifier {
            Some("exact") => *text == wanted,
            Some("contains") => folded(text).contains(&folded(wanted)),
            _ => folded(text).starts_with(&folded(wanted)),
        },
        Found::Uri(uri) => match modifier {
            Some("below") => *uri == wanted || uri.starts_with(&format!("{}/", wanted.trim_end_matches('/'))),
            _ => *uri == wanted,
        },
    }
}

/// Lower case, without accents, each run of punctuation as one space.
fn folded(text: &str) -> String {
    let bare: String = text.nfkd().filter(|letter| !('\u{300}'..='\u{36f}').contains(letter)).collect();
    let bare: String = bare.to_lowercase().replace('ς', "σ").replace('ß', "ss").nfc().collect();
    let plain = bare.replace(|letter: char| !letter.is_alphanumeric(), " ");
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> Option<&str> {
    value.as_str()
}

fn coding(coding: &Value) -> Found<'_> {
    let words = text(&coding["display"]).into_iter().collect();
    Found::Token { system: text(&coding["system"]), code: text(&coding["code"]), words, types: Vec::new() }
}

fn concept(concept: &Value) -> Vec<Found<'_>> {
    let codings: Vec<_> = list(&concept["coding"]).collect();
    let own = text(&concept["text"]);
    if codings.is_empty() {
        let words = own.into_iter().collect();
        return vec![Found::Token { system: None, code: None, words, types: Vec::new() }];
    }
    let with_text = |value| match coding(value) {
        Found::Token { system, code, mut words, types } => {
            words.extend(own);
            Found::Token { system, code, words, types }
        }
        other => other,
    };
    codings.into_iter().map(with_text).collect()
}

fn identifier_token(identifier: &Value) -> Found<'_> {
    Found::Token {
        system: text(&identifier["system"]),
        code: text(&identifier["value"]),
        words: text(&identifier["type"]["text"]).into_iter().collect(),
        types: list(&identifier["type"]["coding"]).collect(),
    }
}

fn code<'a>(system: &'a str, value: &'a Value) -> Option<Found<'a>> {
    let code = text(value)?;
    Some(Found::Token { system: Some(system), code: Some(code), words: Vec::new(), types: Vec::new() })
}

fn bare(value: &Value) -> Option<Found<'_>> {
    Some(Found::Token { system: None, code: Some(text(value)?), words: Vec::new(), types: Vec::new() })
}

/// The paths of the SearchParameters of R4.
fn values<'a>(resource: &'a Value, parameter: &str) -> Vec<Found<'a>> {
    let kind = resource["resourceType"].as_str().unwrap();
    let series = || list(&resource["series"]);
    let instances = || series().flat_map(|series| list(&series["instance"]));
    let names = || list(&resource["name"]);
    let part = |name: &'static str| names().filter_map(move |human| text(&human[name])).map(Found::Words);
    let parts = |name: &'static str| {
        names().flat_map(move |human| list(&human[name])).filter_map(text).map(Found::Words)
    };
    let references = |value: &'a Value| list(value).map(Found::Reference).collect::<Vec<_>>();
    let reference = |value: &'a Value| value.is_object().then_some(Found::Reference(value));
    // A coding with neither code nor display is not a value.
    let known = |value: &&Value| value.get("code").is_some() || value.get("display").is_some();
    match (kind, parameter) {
        (_, "_id") => bare(&resource["id"]).into_iter().collect(),
        (_, "_profile") => list(&resource["meta"]["profile"]).filter_map(text).map(Found::Uri).collect(),
        (_, "_tag" | "_security" | "_source") => Vec::new(),
        (_, "identifier") => list(&resource["identifier"]).map(identifier_token).collect(),
        ("ImagingStudy", "patient" | "subject") => vec![Found::Reference(&resource["subject"])],
        ("ImagingStudy", "endpoint") => references(&resource["endpoint"]),
        ("ImagingStudy", "basedon") => references(&resource["basedOn"]),
        ("ImagingStudy", "interpreter") => references(&resource["interpreter"]),
        ("ImagingStudy", "referrer") => reference(&resource["referrer"]).into_iter().collect(),
        ("ImagingStudy", "encounter") => reference(&resource["encounter"]).into_iter().collect(),
        ("ImagingStudy", "performer") => series()
            .flat_map(|series| list(&series["performer"]))
            .map(|performer| Found::Reference(&performer["actor"]))
            .collect(),
        ("ImagingStudy", "started") => text(&resource["started"]).map(Found::Date).into_iter().collect(),
        ("ImagingStudy", "modality") => {
            series().map(|series| &series["modality"]).filter(known).map(coding).collect()
        }
        ("ImagingStudy", "status") => {
            code("http://hl7.org/fhir/imagingstudy-status", &resource["status"]).into_iter().collect()
        }
        ("ImagingStudy", "series") => series().filter_map(|series| bare(&series["uid"])).collect(),
        ("ImagingStudy", "instance") => instances().filter_map(|instance| bare(&instance["uid"])).collect(),
        ("ImagingStudy", "dicom-class") => {
            instances().map(|instance| &instance["sopClass"]).filter(known).map(coding).collect()
        }
        ("ImagingStudy", "bodysite") => {
            series().filter_map(|series| series.get("bodySite")).map(coding).collect()
        }
        ("ImagingStudy", "reason") => list(&resource["reasonCode"]).flat_map(concept).collect(),
        ("Patient", "birthdate") => text(&resource["birthDate"]).map(Found::Date).into_iter().collect(),
        ("Patient", "gender") => {
            code("http://hl7.org/fhir/administrative-gender", &resource["gender"]).into_iter().collect()
        }
        ("Patient", "family") => part("family").collect(),
        ("Patient", "given") => parts("given").collect(),
        ("Patient", "name") => part("family")
            .chain(part("text"))
            .chain(parts("given"))
            .chain(parts("prefix"))
            .chain(parts("suffix"))
            .collect(),
        ("Patient", "active" | "telecom" | "address-city" | "general-practitioner" | "death-date") => {
            Vec::new()
        }
        ("Endpoint", "name") => text(&resource["name"]).map(Found::Text).into_iter().collect(),
        ("Endpoint", "status") => {
            code("http://hl7.org/fhir/endpoint-status", &resource["status"]).into_iter().collect()
        }
        ("Endpoint", "connection-type") => vec![coding(&resource["connectionType"])],
        ("Endpoint", "payload-type") => list(&resource["payloadType"]).flat_map(concept).collect(),
        other => panic!("{other:?} is not supported here"),
    }
}
