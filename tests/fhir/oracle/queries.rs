//! Random searches. Most of their values occur in the resources.

use dicomweb_gateway::http::query;
use serde_json::Value;

use super::evaluator::Dataset;
use super::random::RandomNumbers;

/// A search for one type of resource.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) resource_type: &'static str,
    pub(super) criteria: Vec<Criterion>,
    pub(super) sort: Vec<SortKey>,
    pub(super) count: usize,
}

/// One parameter. Its values are alternatives, and are not escaped.
#[derive(Debug, Clone)]
pub(super) struct Criterion {
    pub(super) parameter: String,
    pub(super) modifier: Option<String>,
    pub(super) values: Vec<String>,
}

/// One key of `_sort`.
#[derive(Debug, Clone, Copy)]
pub(super) struct SortKey {
    pub(super) parameter: &'static str,
    pub(super) is_descending: bool,
}

impl Query {
    /// Returns the path and query of the request.
    pub(super) fn path(&self) -> String {
        let mut pairs: Vec<_> = self.criteria.iter().map(Criterion::query_pair).collect();
        if !self.sort.is_empty() {
            let sort_value =
                |key: &SortKey| format!("{}{}", if key.is_descending { "-" } else { "" }, key.parameter);
            pairs.push(("_sort".to_owned(), self.sort.iter().map(sort_value).collect::<Vec<_>>().join(",")));
        }
        pairs.push(("_count".to_owned(), self.count.to_string()));
        pairs.push(("_elements".to_owned(), "id".to_owned()));
        let pairs = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        format!("/fhir/{}?{}", self.resource_type, query::encode(pairs))
    }
}

impl Criterion {
    /// Returns the name and the value of the parameter in the query.
    fn query_pair(&self) -> (String, String) {
        let escape = |text: &String| text.replace('\\', "\\\\").replace(',', "\\,").replace('$', "\\$");
        let modifier = self.modifier.as_ref().map(|modifier| format!(":{modifier}")).unwrap_or_default();
        let values = self.values.iter().map(escape).collect::<Vec<_>>().join(",");
        (format!("{}{modifier}", self.parameter), values)
    }
}

/// Creates a random search.
pub(super) fn random_query(random: &mut RandomNumbers, dataset: &Dataset) -> Query {
    let resource_type = match random.number_below(20) {
        0 => "Endpoint",
        1..=5 => "Patient",
        _ => "ImagingStudy",
    };
    let criteria =
        (0..=random.number_below(3)).map(|_| random_criterion(random, dataset, resource_type)).collect();
    let sort_parameters: &[&'static str] = match resource_type {
        "ImagingStudy" => &["started", "_id", "patient", "subject"],
        "Patient" => &["birthdate", "_id", "family"],
        _ => &["name", "_id"],
    };
    let sort = (0..random.number_below(3))
        .map(|_| SortKey {
            parameter: random.choose::<&str>(sort_parameters),
            is_descending: random.is_one_in(2),
        })
        .collect();
    Query { resource_type, criteria, sort, count: *random.choose(&[1, 2, 3, 7, 29, 30, 31, 100]) }
}

fn random_criterion(random: &mut RandomNumbers, dataset: &Dataset, resource_type: &str) -> Criterion {
    if resource_type == "Patient" && random.is_one_in(6) {
        let study_criterion = random_criterion(random, dataset, "ImagingStudy");
        if study_criterion.modifier.is_none() && !study_criterion.parameter.contains(['.', ':']) {
            let parameter = format!(
                "_has:ImagingStudy:{}:{}",
                random.choose(&["patient", "subject"]),
                study_criterion.parameter
            );
            return Criterion { parameter, ..study_criterion };
        }
    }
    if resource_type == "ImagingStudy" && random.is_one_in(5) {
        let (references, target_type): (&[&str], _) = if random.is_one_in(5) {
            (&["endpoint", "endpoint:Endpoint"], "Endpoint")
        } else {
            (&["patient", "patient:Patient", "subject:Patient", "subject"], "Patient")
        };
        let target_criterion = random_criterion(random, dataset, target_type);
        if !target_criterion.parameter.contains(['.', ':']) {
            let parameter = format!("{}.{}", random.choose(references), target_criterion.parameter);
            return Criterion { parameter, ..target_criterion };
        }
    }
    unchained_criterion(random, dataset, resource_type)
}

/// Returns the search parameters of a resource type; frequent ones are repeated.
fn parameters(resource_type: &str) -> &'static [&'static str] {
    match resource_type {
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

/// Creates a criterion without a chain.
fn unchained_criterion(random: &mut RandomNumbers, dataset: &Dataset, resource_type: &str) -> Criterion {
    let parameter = *random.choose(parameters(resource_type));
    if random.is_one_in(12) {
        let value = random.choose(&["true", "false"]).to_owned();
        return new_criterion(parameter, Some("missing"), vec![value.to_owned()]);
    }
    let resources = dataset.resources(resource_type);
    let value_count = if random.is_one_in(4) { 2 + random.number_below(2) } else { 1 };
    match parameter {
        "started" | "birthdate" | "death-date" => {
            let element = if parameter == "started" { "started" } else { "birthDate" };
            new_criterion(parameter, None, repeat(value_count, || random_date(random, resources, element)))
        }
        "patient" | "subject" if random.is_one_in(3) => {
            let tokens =
                repeat(value_count, || identifier_token(random, identifier_from(&dataset.patients), false));
            new_criterion(parameter, Some("identifier"), tokens)
        }
        "patient" | "subject" => {
            let modifier = (parameter == "subject" && random.is_one_in(4)).then_some("Patient");
            new_criterion(
                parameter,
                modifier,
                repeat(value_count, || random_reference(random, dataset, "Patient", &dataset.patients)),
            )
        }
        "endpoint" => new_criterion(
            parameter,
            None,
            repeat(value_count, || random_reference(random, dataset, "Endpoint", &dataset.endpoints)),
        ),
        "basedon" | "encounter" | "interpreter" | "referrer" | "performer" => {
            let element = if parameter == "basedon" { "basedOn" } else { parameter };
            let identifiers = referenced_identifiers(resources, element);
            new_criterion(
                parameter,
                Some("identifier"),
                repeat(value_count, || {
                    identifier_token(random, |random| choose_or_unused(random, &identifiers), true)
                }),
            )
        }
        "identifier" => {
            let modifier = random.is_one_in(6).then_some("not");
            new_criterion(
                parameter,
                modifier,
                repeat(value_count, || identifier_token(random, identifier_from(resources), false)),
            )
        }
        "name" | "family" | "given" if resource_type == "Patient" => {
            let modifier = *random.choose(&[None, None, Some("exact"), Some("contains")]);
            new_criterion(
                parameter,
                modifier,
                repeat(value_count, || random_name(random, resources, modifier == Some("exact"))),
            )
        }
        "name" => new_criterion(
            parameter,
            None,
            vec![random.choose(&["main", "MAIN arch", "Main archive", "arch"]).to_string()],
        ),
        "address-city" => new_criterion(parameter, None, vec!["Springfield".to_owned()]),
        "general-practitioner" => new_criterion(parameter, None, vec!["Practitioner/1".to_owned()]),
        "_id" => new_criterion(parameter, None, repeat(value_count, || random_id(random, resources))),
        "_profile" => profile_criterion(random, resources),
        "_tag" => new_criterion(parameter, Some("not"), vec!["http://a.example|SUBSETTED".to_owned()]),
        parameter => {
            let codings = codings_for(resources, parameter);
            let is_coded =
                matches!(parameter, "modality" | "bodysite" | "reason" | "status" | "gender" | "dicom-class");
            let modifier = match random.number_below(6) {
                0 if is_coded => Some("not"),
                1 if matches!(parameter, "modality" | "bodysite" | "reason") => Some("text"),
                _ => None,
            };
            new_criterion(
                parameter,
                modifier,
                repeat(value_count, || random_code(random, &codings, modifier == Some("text"))),
            )
        }
    }
}

fn new_criterion(parameter: &str, modifier: Option<&str>, values: Vec<String>) -> Criterion {
    Criterion { parameter: parameter.to_owned(), modifier: modifier.map(str::to_owned), values }
}

fn repeat(count: usize, mut new_value: impl FnMut() -> String) -> Vec<String> {
    (0..count).map(|_| new_value()).collect()
}

/// Returns a function that chooses an identifier of a random resource.
fn identifier_from(resources: &[Value]) -> impl Fn(&mut RandomNumbers) -> Value {
    move |random| {
        let identifiers: Vec<_> =
            random.choose(resources)["identifier"].as_array().into_iter().flatten().cloned().collect();
        choose_or_unused(random, &identifiers)
    }
}

/// Returns one of `identifiers`, or an identifier that no resource has.
fn choose_or_unused(random: &mut RandomNumbers, identifiers: &[Value]) -> Value {
    if identifiers.is_empty() || random.is_one_in(10) {
        serde_json::json!({"system": "urn:oid:2.999", "value": "unused"})
    } else {
        random.choose(identifiers).clone()
    }
}

/// Creates a token for a random identifier, with or without the system and the value.
fn identifier_token(
    random: &mut RandomNumbers,
    choose: impl Fn(&mut RandomNumbers) -> Value,
    requires_value: bool,
) -> String {
    let identifier = choose(random);
    let system = identifier["system"].as_str().unwrap_or_default();
    let value = identifier["value"].as_str().unwrap_or("x");
    // A `|` in a value would have to be escaped.
    let value = if value.contains('|') { "x" } else { value };
    match random.number_below(6) {
        0 => format!("|{value}"),
        1 if !system.is_empty() && !requires_value => format!("{system}|"),
        2 => format!("{system}|{value}"),
        3 if !value.starts_with("urn:oid:") => format!("{value}0"),
        _ => value.to_owned(),
    }
}

/// Returns the identifiers in the references of studies.
fn referenced_identifiers(studies: &[Value], element: &str) -> Vec<Value> {
    let identifiers_of = |study: &Value| -> Vec<Value> {
        let references: Vec<&Value> = match &study[element] {
            Value::Array(references) => references.iter().collect(),
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
    studies.iter().flat_map(identifiers_of).collect()
}

fn random_reference(
    random: &mut RandomNumbers,
    dataset: &Dataset,
    resource_type: &str,
    resources: &[Value],
) -> String {
    let id = random_id(random, resources);
    match random.number_below(4) {
        0 => id,
        1 => format!("{}/{resource_type}/{id}", dataset.base_url),
        _ => format!("{resource_type}/{id}"),
    }
}

fn random_id(random: &mut RandomNumbers, resources: &[Value]) -> String {
    let id = random.choose(resources)["id"].as_str().unwrap();
    if random.is_one_in(8) { format!("{id}0").chars().skip(1).collect() } else { id.to_owned() }
}

fn profile_criterion(random: &mut RandomNumbers, resources: &[Value]) -> Criterion {
    let profile =
        random.choose(resources)["meta"]["profile"][0].as_str().unwrap_or("http://a.example/b").to_owned();
    match random.number_below(3) {
        0 => new_criterion("_profile", Some("below"), vec![profile.rsplit_once('/').unwrap().0.to_owned()]),
        1 => new_criterion("_profile", None, vec![format!("{profile}x")]),
        _ => new_criterion("_profile", None, vec![profile]),
    }
}

/// Creates a search value for a date in the same year as one that occurs, with random prefix and precision.
fn random_date(random: &mut RandomNumbers, resources: &[Value], element: &str) -> String {
    let dates: Vec<_> = resources.iter().filter_map(|resource| resource[element].as_str()).collect();
    let date = *random.choose(&dates);
    let prefix = *random.choose(&["", "", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]);
    let day = &date[..10];
    let value = match random.number_below(8) {
        0 => day[..4].to_owned(),
        1 => day[..7].to_owned(),
        2 => format!("{day}T{:02}:{:02}", random.number_below(24), random.number_below(60)),
        3 => {
            format!(
                "{day}T{:02}:30:00{}",
                random.number_below(24),
                random.choose(&["Z", "+01:00", "-05:30", "+09:00"])
            )
        }
        4 => format!("{}-{:02}-{:02}", &day[..4], 1 + random.number_below(12), 1 + random.number_below(28)),
        5 => date.to_owned(),
        _ => day.to_owned(),
    };
    format!("{prefix}{value}")
}

/// Returns a name that occurs, or a part of it unless `is_exact`.
fn random_name(random: &mut RandomNumbers, patients: &[Value], is_exact: bool) -> String {
    let names = random.choose(patients)["name"].as_array().into_iter().flatten().cloned().collect::<Vec<_>>();
    let Some(human_name) = names.first() else { return "Nobody".to_owned() };
    let parts: Vec<_> = [&human_name["family"], &human_name["given"][0], &human_name["text"]]
        .into_iter()
        .filter_map(|part| part.as_str())
        .collect();
    if parts.is_empty() {
        return "Nobody".to_owned();
    }
    let characters: Vec<_> = random.choose(&parts).chars().collect();
    let length = 1 + random.number_below(characters.len());
    let text: String = match random.number_below(4) {
        _ if is_exact => characters.iter().collect(),
        0 => characters[..length].iter().collect(),
        1 => characters[characters.len() - length..].iter().collect(),
        2 => characters.iter().collect::<String>().to_uppercase(),
        _ => characters.iter().collect(),
    };
    // The gateway rejects values that consist of punctuation.
    if text.chars().any(char::is_alphanumeric) { text } else { "Nobody".to_owned() }
}

/// The systems, codes and displays that resources have for a parameter.
type Codings = Vec<(Option<String>, Option<String>, Option<String>)>;

fn codings_for(resources: &[Value], parameter: &str) -> Codings {
    let mut codings = Codings::new();
    let mut add = |system: &Value, code: &Value, display: &Value| {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        codings.push((text(system), text(code), text(display)));
    };
    let null = Value::Null;
    let mut add_coding = |coding: &Value| add(&coding["system"], &coding["code"], &coding["display"]);
    for resource in resources {
        let series = || resource["series"].as_array().into_iter().flatten();
        let instances = || series().flat_map(|series| series["instance"].as_array().into_iter().flatten());
        match parameter {
            "modality" => series().for_each(|series| add_coding(&series["modality"])),
            "bodysite" => series().for_each(|series| add_coding(&series["bodySite"])),
            "dicom-class" => instances().for_each(|instance| add_coding(&instance["sopClass"])),
            "connection-type" => add_coding(&resource["connectionType"]),
            "reason" | "payload-type" => {
                let element = if parameter == "reason" { "reasonCode" } else { "payloadType" };
                for concept in resource[element].as_array().into_iter().flatten() {
                    concept["coding"].as_array().into_iter().flatten().for_each(&mut add_coding);
                    add_coding(&serde_json::json!({"display": concept["text"]}));
                }
            }
            "series" => series().for_each(|series| add_coding(&serde_json::json!({"code": series["uid"]}))),
            "instance" => {
                instances().for_each(|instance| add_coding(&serde_json::json!({"code": instance["uid"]})));
            }
            "status" => add_coding(&serde_json::json!({"code": resource["status"]})),
            "gender" => add_coding(&serde_json::json!({"code": resource["gender"]})),
            _ => add_coding(&null),
        }
    }
    codings
}

fn random_code(random: &mut RandomNumbers, codings: &Codings, is_text: bool) -> String {
    let (system, code, display) = random.choose(codings).clone();
    if is_text {
        let text = display.unwrap_or_else(|| "nothing".to_owned());
        return text.chars().take(1 + random.number_below(8)).collect::<String>().trim().to_owned();
    }
    let code = code.unwrap_or_else(|| "1.2.3".to_owned());
    match (random.number_below(6), system) {
        (0, Some(system)) => format!("{system}|"),
        (1, Some(system)) => format!("{system}|{code}"),
        (2, _) => format!("|{code}"),
        _ => code,
    }
}
