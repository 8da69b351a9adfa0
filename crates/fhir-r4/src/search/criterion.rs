//! One criterion of a search: a parameter, and what its value says of the resources that match.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::reference::{self, ReferenceMatch};
use super::string::StringMatch;
use super::token::{Token, TypedIdentifier};
use super::uri::{self, UriMatch};
use super::value::Value;
use super::{Context, Parameter, ParameterType, ResourceType, SearchError, Searched, date, shown};
use crate::date::{self as dates, FhirDate, Prefix};
use crate::types::{Endpoint, Patient};

/// What must hold for a resource of type `R`. Within one criterion any alternative is enough.
#[derive(Debug)]
pub struct Criterion<R: Searched> {
    /// What is compared.
    pub parameter: &'static Parameter<R>,
    /// With what, and how.
    pub test: Test,
}

impl<R: Searched> Clone for Criterion<R> {
    fn clone(&self) -> Self {
        Self { parameter: self.parameter, test: self.test.clone() }
    }
}

/// With what a parameter's values are compared, and how.
#[derive(Debug, Clone)]
pub enum Test {
    /// Is one of these dates, by its prefix.
    Date(Vec<(Prefix, FhirDate)>),
    /// Has one of these tokens.
    Token(Vec<Token>),
    /// Has none of these tokens, or no value at all (`:not`).
    NotToken(Vec<Token>),
    /// Has words that begin so (`:text`).
    TokenText(Vec<StringMatch>),
    /// Is an identifier of that type (`:of-type`).
    OfType(Vec<TypedIdentifier>),
    /// Is one of these strings.
    String(Vec<StringMatch>),
    /// Is one of these URIs.
    Uri(UriMatch, Vec<String>),
    /// Refers to one of these.
    Reference(Vec<ReferenceMatch>),
    /// Refers to something that has one of these identifiers (`:identifier`).
    Identifier(Vec<Token>),
    /// Has no value (`:missing=true`), or has one.
    Missing(bool),
    /// Refers to a Patient of which this holds.
    Patient(Box<Criterion<Patient>>),
    /// Refers to an Endpoint of which this holds.
    Endpoint(Box<Criterion<Endpoint>>),
}

/// What a criterion must be told besides the resource.
#[derive(Debug, Clone, Copy)]
pub struct EvaluationContext<'a> {
    /// The zone of dates when neither side names one.
    pub zone: &'a TimeZone,
    /// For "approximately".
    pub now: Timestamp,
    /// The Patient that the resource refers to.
    pub patient: Option<&'a Patient>,
    /// The Endpoints that the resource refers to.
    pub endpoints: &'a [Endpoint],
}

impl<R: Searched> Criterion<R> {
    /// Whether it holds for `resource`.
    pub fn matches(&self, resource: &R, around: &EvaluationContext<'_>) -> bool {
        match &self.test {
            Test::NotToken(tokens) => !self.any(resource, |value| tokens.iter().any(|any| any.is(value))),
            Test::Missing(missing) => *missing != self.any(resource, |value| !value.says_nothing()),
            Test::Patient(criterion) => around.patient.is_some_and(|patient| {
                // The same Patient is what the resource refers to, so nothing else need be compared.
                self.any(resource, |value| matches!(value, Value::Reference(_)))
                    && criterion.matches(patient, around)
            }),
            Test::Endpoint(criterion) => {
                around.endpoints.iter().any(|endpoint| criterion.matches(endpoint, around))
            }
            _ => self.any(resource, |value| self.value_matches(value, around)),
        }
    }

    fn any(&self, resource: &R, matches: impl Fn(&Value<'_>) -> bool) -> bool {
        let mut found = false;
        (self.parameter.values)(resource, &mut |value| found = found || matches(&value));
        found
    }

    fn value_matches(&self, value: &Value<'_>, around: &EvaluationContext<'_>) -> bool {
        match (&self.test, value) {
            (Test::Date(wanted), Value::Date(text)) => FhirDate::parse(text).is_some_and(|date| {
                let matches = |(prefix, search): &(Prefix, FhirDate)| {
                    dates::matches(*prefix, search, &date, around.zone, around.now)
                };
                wanted.iter().any(matches)
            }),
            (Test::Token(wanted), value) => wanted.iter().any(|any| any.is(value)),
            (Test::TokenText(wanted), Value::Token(token)) => {
                let words = || token.words.iter().flatten();
                wanted.iter().any(|any| words().any(|words| any.matches(words)))
            }
            (Test::OfType(wanted), Value::Token(token)) => wanted.iter().any(|any| any.is(token)),
            (Test::String(wanted), Value::Text(text)) => wanted.iter().any(|any| any.matches(text)),
            (Test::String(wanted), Value::Words(text)) => wanted.iter().any(|any| any.matches_a_word(text)),
            (Test::Uri(how, wanted), Value::Uri(uri)) => wanted.iter().any(|any| how.holds(any, uri)),
            (Test::Reference(wanted), Value::Reference(reference)) => {
                wanted.iter().any(|any| any.is(self.parameter.targets, reference))
            }
            (Test::Identifier(wanted), Value::Reference(reference)) => {
                let identifier = reference.identifier.as_ref().map(Value::identifier);
                identifier.is_some_and(|identifier| wanted.iter().any(|any| any.is(&identifier)))
            }
            _ => false,
        }
    }
}

/// A criterion, and what is to be said of how it was read.
pub(super) struct ReadCriterion<R: Searched> {
    pub(super) criterion: Criterion<R>,
    pub(super) remark: Option<&'static str>,
}

/// Reads a parameter as it stands in a query: `name`, `name:modifier`, `name[:Type].chain`. `None` when no parameter of `R` is
/// called so; a form that the parameter does not have is an error, however lenient the search is (R4 search#modifiers).
pub(super) fn read<R: Searched>(
    name: &str,
    value: &str,
    context: &Context<'_>,
) -> Option<Result<ReadCriterion<R>, SearchError>> {
    let (head, chain) = match name.split_once('.') {
        Some((head, chain)) => (head, Some(chain)),
        None => (name, None),
    };
    let (base, modifier) = match head.split_once(':') {
        Some((base, modifier)) => (base, Some(modifier)),
        None => (head, None),
    };
    let parameter = Parameter::<R>::named(base)?;
    let error = |code, diagnostics| SearchError { parameter: shown(base), code, diagnostics };
    let unsupported =
        || error("not-supported", format!("only these forms are supported: {}", parameter.forms_in_words()));
    if let Some(chain) = chain {
        return Some(read_chain(parameter, modifier, chain, value, context, unsupported));
    }
    let bad = |diagnostics| error("value", diagnostics);
    let test = match (parameter.kind, modifier) {
        (_, Some("missing")) => missing(value).map(Test::Missing),
        (ParameterType::Date, None) => date::parse_all(value).map(Test::Date),
        (ParameterType::Token, None) => checked(parameter, value, context).map(Test::Token),
        (ParameterType::Token, Some("not")) => checked(parameter, value, context).map(Test::NotToken),
        (ParameterType::Token, Some("text")) => StringMatch::beginnings(value).map(Test::TokenText),
        (ParameterType::Token, Some("of-type")) if parameter.identifies => {
            TypedIdentifier::parse_all(value).map(Test::OfType)
        }
        (ParameterType::String, None) if parameter.sounds => StringMatch::sounding(value).map(Test::String),
        (ParameterType::String, None) => StringMatch::beginnings(value).map(Test::String),
        (ParameterType::String, Some("exact")) if !parameter.sounds => {
            StringMatch::exact(value).map(Test::String)
        }
        (ParameterType::String, Some("contains")) if !parameter.sounds => {
            StringMatch::containing(value).map(Test::String)
        }
        (ParameterType::Uri, None) => uris(UriMatch::Exact, value),
        (ParameterType::Uri, Some("below")) => uris(UriMatch::Below, value),
        (ParameterType::Uri, Some("above")) => uris(UriMatch::Above, value),
        (ParameterType::Reference, Some("identifier")) => Token::parse_all(value).map(Test::Identifier),
        (ParameterType::Reference, kind) if kind.is_none_or(|kind| parameter.targets.contains(&kind)) => {
            return Some(references(parameter, kind, value, context).map_err(bad));
        }
        _ => return Some(Err(unsupported())),
    };
    Some(
        test.map(|test| ReadCriterion { criterion: Criterion { parameter, test }, remark: None })
            .map_err(bad),
    )
}

/// Each link of a chain stands for itself (R4 search#chaining); here it has one.
fn read_chain<R: Searched>(
    parameter: &'static Parameter<R>,
    kind: Option<&str>,
    chain: &str,
    value: &str,
    context: &Context<'_>,
    unsupported: impl Fn() -> SearchError,
) -> Result<ReadCriterion<R>, SearchError> {
    let target = parameter.chain.filter(|target| kind.is_none_or(|kind| kind == target.name()));
    let named = |error: SearchError| SearchError { parameter: shown(parameter.name), ..error };
    let (test, remark) = match target {
        Some(ResourceType::Patient) => {
            let read = read::<Patient>(chain, value, context).ok_or_else(unsupported)?.map_err(named)?;
            (Test::Patient(Box::new(read.criterion)), read.remark)
        }
        Some(ResourceType::Endpoint) => {
            let read = read::<Endpoint>(chain, value, context).ok_or_else(unsupported)?.map_err(named)?;
            (Test::Endpoint(Box::new(read.criterion)), read.remark)
        }
        Some(ResourceType::ImagingStudy) | None => return Err(unsupported()),
    };
    Ok(ReadCriterion { criterion: Criterion { parameter, test }, remark })
}

fn references<R: Searched>(
    parameter: &'static Parameter<R>,
    kind: Option<&str>,
    value: &str,
    context: &Context<'_>,
) -> Result<ReadCriterion<R>, String> {
    let read = reference::parse_all(value, kind, context)?;
    let has_version = read.iter().any(|reference| reference.has_version);
    let test = Test::Reference(read.into_iter().map(|reference| reference.wanted).collect());
    let remark = has_version
        .then_some("the version was read over: what refers to a resource refers to its current version");
    Ok(ReadCriterion { criterion: Criterion { parameter, test }, remark })
}

fn checked<R: Searched>(
    parameter: &Parameter<R>,
    value: &str,
    context: &Context<'_>,
) -> Result<Vec<Token>, String> {
    let tokens = Token::parse_all(value)?;
    if let Some(check) = parameter.check {
        tokens.iter().try_for_each(|token| check(token, context))?;
    }
    Ok(tokens)
}

fn uris(how: UriMatch, value: &str) -> Result<Test, String> {
    uri::parse_all(value).map(|uris| Test::Uri(how, uris))
}

fn missing(value: &str) -> Result<bool, String> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("true or false".to_owned()),
    }
}
