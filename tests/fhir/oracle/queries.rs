//! Random searches, mostly for values that occur in the resources and sometimes for others.

use dicomweb_gateway::http::query;
use serde_json::Value;

use super::evaluator::Dataset;
use super::random::Random;

/// A search for one type of resource.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) kind: &'static str,
    pub(super) criteria: Vec<Criterion>,
    pub(super) sort: Vec<SortKey>,
    pub(super) count: usize,
}

/// One parameter; its values are alternatives, without escapes.
#[derive(Debug, Clone)]
pub(super) struct Criterion {
    pub(super) parameter: String,
    pub(super) modifier: Option<String>,
    pub(super) values: Vec<String>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct SortKey {
    pub(super) parameter: &'static str,
    pub(super) descending: bool,
}

impl Query {
    /// Path and query of the request.
    pub(super) fn path(&self) -> String {
        let mut pairs: Vec<_> = self.criteria.iter().map(Criterion::pair).collect();
        if !self.sort.is_empty() {
            let key = |key: &SortKey| format!("{}{}", if key.descending { "-" } else { "" }, key.parameter);
            pairs.push(("_sort".to_owned(), self.sort.iter().map(key).collect::<Vec<_>>().join(",")));
        }
        pairs.push(("_count".to_owned(), self.count.to_string()));
        pairs.push(("_elements".to_owned(), "id".to_owned()));
        let pairs = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        format!("/fhir/{}?{}", self.kind, query::encode(pairs))
    }
}

impl Criterion {
    fn pair(&self) -> (String, String) {
        let escape = |text: &String| text.replace('\\', "\\\\").replace(',', "\\,").replace('$', "\\$");
        let modifier = self.modifier.as_ref().map(|modifier| format!(":{modifier}")).unwrap_or_default();
        let values = self.values.iter().map(escape).collect::<Vec<_>>().join(",");
        (format!("{}{modifier}", self.parameter), values)
    }
}

/// A random search.
pub(super) fn any(random: &mut Random, dataset: &Dataset) -> Query {
    let kind = match random.below(20) {
        0 => "Endpoint",
        1..=5 => "Patient",
        _ => "ImagingStudy",
    };
    let criteria = (0..=random.below(3)).map(|_| criterion(random, dataset, kind)).collect();
    let sortable: &[&'static str] = match kind {
        "ImagingStudy" => &["started", "_id", "patient", "subject"],
        "Patient" => &["birthdate", "_id", "family"],
        _ => &["name", "_id"],
    };
    let sort = (0..random.below(3))
        .map(|_| SortKey { parameter: random.one::<&str>(sortable), descending: random.once_in(2) })
        .collect();
    Query { kind, criteria, sort, count: *random.one(&[1, 2, 3, 7, 29, 30, 31, 100]) }
}

fn criterion(random: &mut Random, dataset: &Dataset, kind: &str) -> Criterion {
    if kind == "Patient" && random.once_in(6) {
        let of_study = criterion(random, dataset, "ImagingStudy");
        if of_study.modifier.is_none() && !of_study.parameter.contains(['.', ':']) {
            let parameter =
                format!("_has:ImagingStudy:{}:{}", random.one(&["patient", "subject"]), of_study.parameter);
            return Criterion { parameter, ..of_study };
        }
    }
    if kind == "ImagingStudy" && random.once_in(5) {
        let (edges, target): (&[&str], _) = if random.once_in(5) {
            (&["endpoint", "endpoint:Endpoint"], "Endpoint")
        } else {
            (&["patient", "patient:Patient", "subject:Patient", "subject"], "Patient")
        };
        let of_target = criterion(random, dataset, target);
        if !of_target.parameter.contains(['.', ':']) {
            let parameter = format!("{}.{}", random.one(edges), of_target.parameter);
            return Criterion { parameter, ..of_target };
        }
    }
    own_criterion(random, dataset, kind)
}

/// The search parameters of a resource type; frequent ones are repeated.
fn parameters(kind: &str) -> &'static [&'static str] {
    match kind {
        "ImagingStudy" => &[
            "_id",
            "_profile",
            "_tag",
            "basedon",
            "bodysite",
            "dicom-class",
            "encounter",
            "endpoint",
            "identifier",
            "instance",
            "interpreter",
            "modality",
            "patient",
            "performer",
            "reason",
            "referrer",
            "series",
            "started",
            "started",
            "started",
            "status",
            "subject",
        ],
        "Patient" => &[
            "_id",
            "active",
            "address-city",
            "birthdate",
            "birthdate",
            "family",
            "gender",
            "general-practitioner",
            "given",
            "identifier",
            "name",
            "name",
        ],
        _ => &["_id", "connection-type", "identifier", "name", "payload-type", "status"],
    }
}

fn own_criterion(random: &mut Random, dataset: &Dataset, kind: &str) -> Criterion {
    let parameter = *random.one(parameters(kind));
    if random.once_in(12) {
        let value = random.one(&["true", "false"]).to_owned();
        return one(parameter, Some("missing"), vec![value.to_owned()]);
    }
    let resources = dataset.all(kind);
    let times = if random.once_in(4) { 2 + random.below(2) } else { 1 };
    match parameter {
        "started" | "birthdate" | "death-date" => {
            let element = if parameter == "started" { "started" } else { "birthDate" };
            one(parameter, None, repeat(times, || date(random, resources, element)))
        }
        "patient" | "subject" if random.once_in(3) => {
            let tokens = repeat(times, || identifier(random, identifier_from(&dataset.patients), false));
            one(parameter, Some("identifier"), tokens)
        }
        "patient" | "subject" => {
            let modifier = (parameter == "subject" && random.once_in(4)).then_some("Patient");
            one(
                parameter,
                modifier,
                repeat(times, || reference(random, dataset, "Patient", &dataset.patients)),
            )
        }
        "endpoint" => {
            one(parameter, None, repeat(times, || reference(random, dataset, "Endpoint", &dataset.endpoints)))
        }
        "basedon" | "encounter" | "interpreter" | "referrer" | "performer" => {
            let element = if parameter == "basedon" { "basedOn" } else { parameter };
            let held = referred(resources, element);
            one(
                parameter,
                Some("identifier"),
                repeat(times, || identifier(random, |random| held_or_none(random, &held), true)),
            )
        }
        "identifier" => {
            let modifier = random.once_in(6).then_some("not");
            one(parameter, modifier, repeat(times, || identifier(random, identifier_from(resources), false)))
        }
        "name" | "family" | "given" if kind == "Patient" => {
            let modifier = *random.one(&[None, None, Some("exact"), Some("contains")]);
            one(parameter, modifier, repeat(times, || name(random, resources, modifier == Some("exact"))))
        }
        "name" => {
            one(parameter, None, vec![random.one(&["main", "MAIN arch", "Main archive", "arch"]).to_string()])
        }
        "address-city" => one(parameter, None, vec!["Springfield".to_owned()]),
        "general-practitioner" => one(parameter, None, vec!["Practitioner/1".to_owned()]),
        "_id" => one(parameter, None, repeat(times, || id(random, resources))),
        "_profile" => profile(random, resources),
        "_tag" => one(parameter, Some("not"), vec!["http://a.example|SUBSETTED".to_owned()]),
        parameter => {
            let held = held_codes(resources, parameter);
            let is_coded =
                matches!(parameter, "modality" | "bodysite" | "reason" | "status" | "gender" | "dicom-class");
            let modifier = match random.below(6) {
                0 if is_coded => Some("not"),
                1 if matches!(parameter, "modality" | "bodysite" | "reason") => Some("text"),
                _ => None,
            };
            one(parameter, modifier, repeat(times, || code(random, &held, modifier == Some("text"))))
        }
    }
}

fn one(parameter: &str, modifier: Option<&str>, values: Vec<String>) -> Criterion {
    Criterion { parameter: parameter.to_owned(), modifier: modifier.map(str::to_owned), values }
}

fn repeat(times: usize, mut value: impl FnMut() -> String) -> Vec<String> {
    (0..times).map(|_| value()).collect()
}

fn identifier_from(resources: &[Value]) -> impl Fn(&mut Random) -> Value {
    move |random| {
        let of_one: Vec<_> =
            random.one(resources)["identifier"].as_array().into_iter().flatten().cloned().collect();
        held_or_none(random, &of_one)
    }
}

fn held_or_none(random: &mut Random, held: &[Value]) -> Value {
    if held.is_empty() || random.once_in(10) {
        serde_json::json!({"system": "urn:oid:2.999", "value": "unused"})
    } else {
        random.one(held).clone()
    }
}

/// A token for an identifier, in one of its forms.
fn identifier(random: &mut Random, held: impl Fn(&mut Random) -> Value, always_with_value: bool) -> String {
    let found = held(random);
    let system = found["system"].as_str().unwrap_or_default();
    let value = found["value"].as_str().unwrap_or("x");
    // A value with a `|` would have to be escaped.
    let value = if value.contains('|') { "x" } else { value };
    match random.below(6) {
        0 => format!("|{value}"),
        1 if !system.is_empty() && !always_with_value => format!("{system}|"),
        2 => format!("{system}|{value}"),
        3 if !value.starts_with("urn:oid:") => format!("{value}0"),
        _ => value.to_owned(),
    }
}

/// The identifiers of the resources that studies refer to.
fn referred(studies: &[Value], element: &str) -> Vec<Value> {
    let of = |study: &Value| -> Vec<Value> {
        let references: Vec<&Value> = match &study[element] {
            Value::Array(all) => all.iter().collect(),
            Value::Object(_) => vec![&study[element]],
            _ => study["series"]
                .as_array()
                .into_iter()
                .flatten()
                .flat_map(|series| series["performer"].as_array().into_iter().flatten())
                .filter(|_| element == "performer")
                .map(|performer| &performer["actor"])
                .collect(),
        };
        references
            .into_iter()
            .map(|reference| reference["identifier"].clone())
            .filter(Value::is_object)
            .collect()
    };
    studies.iter().flat_map(of).collect()
}

fn reference(random: &mut Random, dataset: &Dataset, kind: &str, all: &[Value]) -> String {
    let id = id(random, all);
    match random.below(4) {
        0 => id,
        1 => format!("{}/{kind}/{id}", dataset.base),
        _ => format!("{kind}/{id}"),
    }
}

fn id(random: &mut Random, resources: &[Value]) -> String {
    let id = random.one(resources)["id"].as_str().unwrap();
    if random.once_in(8) { format!("{id}0").chars().skip(1).collect() } else { id.to_owned() }
}

fn profile(random: &mut Random, resources: &[Value]) -> Criterion {
    let held =
        random.one(resources)["meta"]["profile"][0].as_str().unwrap_or("http://a.example/b").to_owned();
    match random.below(3) {
        0 => one("_profile", Some("below"), vec![held.rsplit_once('/').unwrap().0.to_owned()]),
        1 => one("_profile", None, vec![format!("{held}x")]),
        _ => one("_profile", None, vec![held]),
    }
}

/// A date near one that occurs, with random precision.
fn date(random: &mut Random, resources: &[Value], element: &str) -> String {
    let held: Vec<_> = resources.iter().filter_map(|resource| resource[element].as_str()).collect();
    let held = *random.one(&held);
    let prefix = *random.one(&["", "", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]);
    let day = &held[..10];
    let value = match random.below(8) {
        0 => day[..4].to_owned(),
        1 => day[..7].to_owned(),
        2 => format!("{day}T{:02}:{:02}", random.below(24), random.below(60)),
        3 => {
            format!("{day}T{:02}:30:00{}", random.below(24), random.one(&["Z", "+01:00", "-05:30", "+09:00"]))
        }
        4 => format!("{}-{:02}-{:02}", &day[..4], 1 + random.below(12), 1 + random.below(28)),
        5 => held.to_owned(),
        _ => day.to_owned(),
    };
    format!("{prefix}{value}")
}

/// A name that occurs, or a part of it.
fn name(random: &mut Random, patients: &[Value], whole: bool) -> String {
    let human = random.one(patients)["name"].as_array().into_iter().flatten().cloned().collect::<Vec<_>>();
    let Some(human) = human.first() else { return "Nobody".to_owned() };
    let parts: Vec<_> = [&human["family"], &human["given"][0], &human["text"]]
        .into_iter()
        .filter_map(|part| part.as_str())
        .collect();
    if parts.is_empty() {
        return "Nobody".to_owned();
    }
    let letters: Vec<_> = random.one(&parts).chars().collect();
    let length = 1 + random.below(letters.len());
    let text: String = match random.below(4) {
        _ if whole => letters.iter().collect(),
        0 => letters[..length].iter().collect(),
        1 => letters[letters.len() - length..].iter().collect(),
        2 => letters.iter().collect::<String>().to_uppercase(),
        _ => letters.iter().collect(),
    };
    // A value of punctuation only is rejected.
    if text.chars().any(char::is_alphanumeric) { text } else { "Nobody".to_owned() }
}

/// Systems, codes and displays that resources have for a parameter.
type Held = Vec<(Option<String>, Option<String>, Option<String>)>;

fn held_codes(resources: &[Value], parameter: &str) -> Held {
    let mut held = Held::new();
    let mut add = |system: &Value, code: &Value, words: &Value| {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        held.push((text(system), text(code), text(words)));
    };
    let null = Value::Null;
    let mut coding = |coding: &Value| add(&coding["system"], &coding["code"], &coding["display"]);
    for resource in resources {
        let series = || resource["series"].as_array().into_iter().flatten();
        let instances = || series().flat_map(|series| series["instance"].as_array().into_iter().flatten());
        match parameter {
            "modality" => series().for_each(|series| coding(&series["modality"])),
            "bodysite" => series().for_each(|series| coding(&series["bodySite"])),
            "dicom-class" => instances().for_each(|instance| coding(&instance["sopClass"])),
            "connection-type" => coding(&resource["connectionType"]),
            "reason" | "payload-type" => {
                let element = if parameter == "reason" { "reasonCode" } else { "payloadType" };
                for concept in resource[element].as_array().into_iter().flatten() {
                    concept["coding"].as_array().into_iter().flatten().for_each(&mut coding);
                    coding(&serde_json::json!({"display": concept["text"]}));
                }
            }
            "series" => series().for_each(|series| coding(&serde_json::json!({"code": series["uid"]}))),
            "instance" => {
                instances().for_each(|instance| coding(&serde_json::json!({"code": instance["uid"]})));
            }
            "status" => coding(&serde_json::json!({"code": resource["status"]})),
            "gender" => coding(&serde_json::json!({"code": resource["gender"]})),
            _ => coding(&null),
        }
    }
    held
}

fn code(random: &mut Random, held: &Held, words: bool) -> String {
    let (system, code, display) = random.one(held).clone();
    if words {
        let text = display.unwrap_or_else(|| "nothing".to_owned());
        return text.chars().take(1 + random.below(8)).collect::<String>().trim().to_owned();
    }
    let code = code.unwrap_or_else(|| "1.2.3".to_owned());
    match (random.below(6), system) {
        (0, Some(system)) => format!("{system}|"),
        (1, Some(system)) => format!("{system}|{code}"),
        (2, _) => format!("|{code}"),
        _ => code,
    }
}
