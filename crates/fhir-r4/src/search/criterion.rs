//! One criterion of a search: parses a parameter with its modifier or chain (R4 search#modifiers, search#chaining), and evaluates
//! it on a resource. This module does not know about archives.

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

/// A criterion for resources of type `R`. A resource meets it if any of its alternatives matches.
#[derive(Debug)]
pub struct Criterion<R: Searched> {
    /// The parameter whose values are compared.
    pub parameter: &'static Parameter<R>,
    /// The comparison.
    pub test: Test,
}

impl<R: Searched> Clone for Criterion<R> {
    fn clone(&self) -> Self {
        Self { parameter: self.parameter, test: self.test.clone() }
    }
}

/// The comparison of a parameter's values.
#[derive(Debug, Clone)]
pub enum Test {
    /// Matches one of these dates with its prefix.
    Date(Vec<(Prefix, FhirDate)>),
    /// Matches one of these tokens.
    Token(Vec<Token>),
    /// Matches none of these tokens, or has no value (`:not`).
    NotToken(Vec<Token>),
    /// Has a text that begins with one of these strings (`:text`).
    TokenText(Vec<StringMatch>),
    /// Is one of these identifiers with their type (`:of-type`).
    OfType(Vec<TypedIdentifier>),
    /// Matches one of these strings.
    String(Vec<StringMatch>),
    /// Matches one of these URIs.
    Uri(UriMatch, Vec<String>),
    /// Refers to one of these.
    Reference(Vec<ReferenceMatch>),
    /// Has a reference with one of these identifiers (`:identifier`).
    Identifier(Vec<Token>),
    /// Has no value (`:missing=true`), or has a value (`:missing=false`).
    Missing(bool),
    /// Refers to a Patient that meets this criterion.
    Patient(Box<Criterion<Patient>>),
    /// Refers to an Endpoint that meets this criterion.
    Endpoint(Box<Criterion<Endpoint>>),
}

/// The information that evaluation needs in addition to the resource.
#[derive(Debug, Clone, Copy)]
pub struct EvaluationContext<'a> {
    /// The time zone of dates if neither side has one.
    pub zone: &'a TimeZone,
    /// The current time, for the prefix `ap`.
    pub now: Timestamp,
    /// The Patient that the resource refers to.
    pub patient: Option<&'a Patient>,
    /// The Endpoints that the resource refers to.
    pub endpoints: &'a [Endpoint],
}

impl<R: Searched> Criterion<R> {
    /// Whether `resource` meets the criterion.
    pub fn matches(&self, resource: &R, context: &EvaluationContext<'_>) -> bool {
        match &self.test {
            Test::NotToken(tokens) => !self.any(resource, |value| tokens.iter().any(|any| any.is(value))),
            Test::Missing(missing) => *missing != self.any(resource, |value| !value.is_empty()),
            Test::Patient(criterion) => context.patient.is_some_and(|patient| {
                // The caller passes the Patient that the resource refers to, so the reference itself is not compared.
                self.any(resource, |value| matches!(value, Value::Reference(_)))
                    && criterion.matches(patient, context)
            }),
            Test::Endpoint(criterion) => {
                context.endpoints.iter().any(|endpoint| criterion.matches(endpoint, context))
            }
            _ => self.any(resource, |value| self.value_matches(value, context)),
        }
    }

    fn any(&self, resource: &R, matches: impl Fn(&Value<'_>) -> bool) -> bool {
        let mut found = false;
        (self.parameter.values)(resource, &mut |value| found = found || matches(&value));
        found
    }

    fn value_matches(&self, value: &Value<'_>, context: &EvaluationContext<'_>) -> bool {
        match (&self.test, value) {
            (Test::Date(wanted), Value::Date(text)) => FhirDate::parse(text).is_some_and(|date| {
                let matches = |(prefix, search): &(Prefix, FhirDate)| {
                    dates::matches(*prefix, search, &date, context.zone, context.now)
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
            (Test::String(wanted), Value::Words(text)) => wanted.iter().any(|any| any.matches_any_word(text)),
            (Test::Uri(how, wanted), Value::Uri(uri)) => wanted.iter().any(|any| how.matches(any, uri)),
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

/// A criterion, and a remark on how it was read.
pub(super) struct ReadCriterion<R: Searched> {
    pub(super) criterion: Criterion<R>,
    pub(super) remark: Option<&'static str>,
}

/// Parses a parameter of a query: `name`, `name:modifier`, `name[:Type].chain`. `None` if `R` has no parameter with
/// this name; an unsupported form is an error even with lenient handling (R4 search#modifiers).
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
        || error("not-supported", format!("the supported forms are: {}", parameter.forms_in_words()));
    if let Some(chain) = chain {
        return Some(read_chain(parameter, modifier, chain, value, context, unsupported));
    }
    let invalid = |diagnostics| error("value", diagnostics);
    let test = match (parameter.kind, modifier) {
        (_, Some("missing")) => missing(value).map(Test::Missing),
        (ParameterType::Date, None) => date::parse_all(value).map(Test::Date),
        (ParameterType::Token, None) => checked(parameter, value, context).map(Test::Token),
        (ParameterType::Token, Some("not")) => checked(parameter, value, context).map(Test::NotToken),
        (ParameterType::Token, Some("text")) => StringMatch::starting_with(value).map(Test::TokenText),
        (ParameterType::Token, Some("of-type")) if parameter.has_identifiers => {
            TypedIdentifier::parse_all(value).map(Test::OfType)
        }
        (ParameterType::String, None) if parameter.is_phonetic => {
            StringMatch::phonetic(value).map(Test::String)
        }
        (ParameterType::String, None) => StringMatch::starting_with(value).map(Test::String),
        (ParameterType::String, Some("exact")) if !parameter.is_phonetic => {
            StringMatch::exact(value).map(Test::String)
        }
        (ParameterType::String, Some("contains")) if !parameter.is_phonetic => {
            StringMatch::containing(value).map(Test::String)
        }
        (ParameterType::Uri, None) => uris(UriMatch::Exact, value),
        (ParameterType::Uri, Some("below")) => uris(UriMatch::Below, value),
        (ParameterType::Uri, Some("above")) => uris(UriMatch::Above, value),
        (ParameterType::Reference, Some("identifier")) => Token::parse_all(value).map(Test::Identifier),
        (ParameterType::Reference, kind) if kind.is_none_or(|kind| parameter.targets.contains(&kind)) => {
            return Some(references(parameter, kind, value, context).map_err(invalid));
        }
        _ => return Some(Err(unsupported())),
    };
    Some(
        test.map(|test| ReadCriterion { criterion: Criterion { parameter, test }, remark: None })
            .map_err(invalid),
    )
}

/// Parses a chained parameter (R4 search#chaining). Chains have one link.
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
    let test = Test::Reference(read.into_iter().map(|reference| reference.target).collect());
    let remark = has_version
        .then_some("the version in the reference was ignored: references refer to the current version");
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
        _ => Err("expected true or false".to_owned()),
    }
}
