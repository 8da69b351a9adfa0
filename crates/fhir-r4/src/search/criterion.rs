//! One criterion of a search: parses a parameter with its modifier or chain (R4 search#modifiers, search#chaining), and evaluates
//! it on a resource. This module does not know about archives.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::reference::{self, ReferenceMatch};
use super::string::StringMatch;
use super::token::{Token, TypedIdentifier};
use super::uri::{self, UriMatch};
use super::value::Value;
use super::{
    Parameter, ParameterType, ParseContext, ResourceType, SearchError, Searchable, date, printable_name,
};
use crate::date::{self as dates, FhirDate, Prefix};
use crate::types::{Endpoint, Patient};

/// A criterion for resources of type `R`. A resource meets it if one of its values matches one of the alternatives.
#[derive(Debug)]
pub struct Criterion<R: Searchable> {
    /// The parameter whose values are compared.
    pub parameter: &'static Parameter<R>,
    /// The comparison.
    pub comparison: Comparison,
}

impl<R: Searchable> Clone for Criterion<R> {
    fn clone(&self) -> Self {
        Self { parameter: self.parameter, comparison: self.comparison.clone() }
    }
}

/// The comparison of a parameter's values.
#[derive(Debug, Clone)]
pub enum Comparison {
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
    /// Refers to one of these targets.
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

impl<R: Searchable> Criterion<R> {
    /// Whether `resource` meets the criterion.
    pub fn matches(&self, resource: &R, context: &EvaluationContext<'_>) -> bool {
        match &self.comparison {
            Comparison::NotToken(tokens) => {
                !self.has_value(resource, |value| tokens.iter().any(|token| token.matches_value(value)))
            }
            Comparison::Missing(missing) => *missing != self.has_value(resource, |value| !value.is_empty()),
            Comparison::Patient(criterion) => context.patient.is_some_and(|patient| {
                // The caller passes the Patient that the resource refers to, so the reference itself is not compared.
                self.has_value(resource, |value| matches!(value, Value::Reference(_)))
                    && criterion.matches(patient, context)
            }),
            Comparison::Endpoint(criterion) => {
                context.endpoints.iter().any(|endpoint| criterion.matches(endpoint, context))
            }
            _ => self.has_value(resource, |value| self.value_matches(value, context)),
        }
    }

    /// Whether the resource has a value that `matches`.
    fn has_value(&self, resource: &R, matches: impl Fn(&Value<'_>) -> bool) -> bool {
        let mut has_match = false;
        (self.parameter.values)(resource, &mut |value| has_match = has_match || matches(&value));
        has_match
    }

    fn value_matches(&self, value: &Value<'_>, context: &EvaluationContext<'_>) -> bool {
        match (&self.comparison, value) {
            (Comparison::Date(expected), Value::Date(text)) => FhirDate::parse(text).is_some_and(|date| {
                let matches = |(prefix, search): &(Prefix, FhirDate)| {
                    dates::matches(*prefix, search, &date, context.zone, context.now)
                };
                expected.iter().any(matches)
            }),
            (Comparison::Token(expected), value) => expected.iter().any(|token| token.matches_value(value)),
            (Comparison::TokenText(expected), Value::Token(token)) => {
                let texts = || token.texts.iter().flatten();
                expected.iter().any(|string| texts().any(|text| string.matches(text)))
            }
            (Comparison::OfType(expected), Value::Token(token)) => {
                expected.iter().any(|identifier| identifier.matches(token))
            }
            (Comparison::String(expected), Value::Text(text)) => {
                expected.iter().any(|string| string.matches(text))
            }
            (Comparison::String(expected), Value::NamePart(text)) => {
                expected.iter().any(|string| string.matches_any_word(text))
            }
            (Comparison::Uri(uri_match, expected), Value::Uri(uri)) => {
                expected.iter().any(|expected| uri_match.matches(expected, uri))
            }
            (Comparison::Reference(expected), Value::Reference(reference)) => {
                expected.iter().any(|target| target.matches(self.parameter.targets, reference))
            }
            (Comparison::Identifier(expected), Value::Reference(reference)) => {
                let identifier = reference.identifier.as_ref().map(Value::identifier);
                identifier
                    .is_some_and(|identifier| expected.iter().any(|token| token.matches_value(&identifier)))
            }
            _ => false,
        }
    }
}

/// A criterion, and a warning if a part of its value was ignored, or if no resource can have a value.
pub(super) struct ParsedCriterion<R: Searchable> {
    pub(super) criterion: Criterion<R>,
    pub(super) warning: Option<&'static str>,
}

/// Parses a parameter of a query: `name`, `name:modifier` or `name[:Type].chain`. Returns `None` if `R` has no parameter with this
/// name; an unsupported form is an error even with lenient handling (R4 search#modifiers).
pub(super) fn parse<R: Searchable>(
    name: &str,
    value: &str,
    context: &ParseContext<'_>,
) -> Option<Result<ParsedCriterion<R>, SearchError>> {
    let (head, chain) = match name.split_once('.') {
        Some((head, chain)) => (head, Some(chain)),
        None => (name, None),
    };
    let (base, modifier) = match head.split_once(':') {
        Some((base, modifier)) => (base, Some(modifier)),
        None => (head, None),
    };
    let parameter = Parameter::<R>::with_name(base)?;
    let error = |code, diagnostics| SearchError { parameter: printable_name(base), code, diagnostics };
    let unsupported =
        || error("not-supported", format!("the supported forms are: {}", parameter.supported_forms()));
    if let Some(chain) = chain {
        return Some(parse_chain(parameter, modifier, chain, value, context, unsupported));
    }
    let invalid = |diagnostics| error("value", diagnostics);
    let mut warning = None;
    let comparison = match (parameter.kind, modifier) {
        (_, Some("missing")) => parse_missing(value).map(Comparison::Missing),
        (ParameterType::Date, None) => date::parse_all(value).map(Comparison::Date),
        (ParameterType::Token, None) => {
            parse_tokens(parameter, value, context, &mut warning).map(Comparison::Token)
        }
        (ParameterType::Token, Some("not")) => {
            parse_tokens(parameter, value, context, &mut warning).map(Comparison::NotToken)
        }
        (ParameterType::Token, Some("text")) => StringMatch::starting_with(value).map(Comparison::TokenText),
        (ParameterType::Token, Some("of-type")) if parameter.has_identifiers => {
            TypedIdentifier::parse_all(value).map(Comparison::OfType)
        }
        (ParameterType::String, None) if parameter.is_phonetic => {
            StringMatch::phonetic(value).map(Comparison::String)
        }
        (ParameterType::String, None) => StringMatch::starting_with(value).map(Comparison::String),
        (ParameterType::String, Some("exact")) if !parameter.is_phonetic => {
            StringMatch::exact(value).map(Comparison::String)
        }
        (ParameterType::String, Some("contains")) if !parameter.is_phonetic => {
            StringMatch::containing(value).map(Comparison::String)
        }
        (ParameterType::Uri, None) => parse_uris(UriMatch::Exact, value),
        (ParameterType::Uri, Some("below")) => parse_uris(UriMatch::Below, value),
        (ParameterType::Uri, Some("above")) => parse_uris(UriMatch::Above, value),
        (ParameterType::Reference, Some("identifier")) => Token::parse_all(value).map(Comparison::Identifier),
        (ParameterType::Reference, modifier)
            if modifier.is_none_or(|modifier| parameter.targets.contains(&modifier)) =>
        {
            return Some(parse_references(parameter, modifier, value, context).map_err(invalid));
        }
        _ => return Some(Err(unsupported())),
    };
    Some(
        comparison
            .map(|comparison| ParsedCriterion { criterion: Criterion { parameter, comparison }, warning })
            .map_err(invalid),
    )
}

/// Parses a chained parameter (R4 search#chaining). A chained parameter cannot be chained again.
fn parse_chain<R: Searchable>(
    parameter: &'static Parameter<R>,
    modifier: Option<&str>,
    chain: &str,
    value: &str,
    context: &ParseContext<'_>,
    unsupported: impl Fn() -> SearchError,
) -> Result<ParsedCriterion<R>, SearchError> {
    let target =
        parameter.chain_target.filter(|target| modifier.is_none_or(|modifier| modifier == target.name()));
    let with_name = |error: SearchError| SearchError { parameter: printable_name(parameter.name), ..error };
    let (comparison, warning) = match target {
        Some(ResourceType::Patient) => {
            let parsed =
                parse::<Patient>(chain, value, context).ok_or_else(unsupported)?.map_err(with_name)?;
            (Comparison::Patient(Box::new(parsed.criterion)), parsed.warning)
        }
        Some(ResourceType::Endpoint) => {
            let parsed =
                parse::<Endpoint>(chain, value, context).ok_or_else(unsupported)?.map_err(with_name)?;
            (Comparison::Endpoint(Box::new(parsed.criterion)), parsed.warning)
        }
        Some(ResourceType::ImagingStudy) | None => return Err(unsupported()),
    };
    Ok(ParsedCriterion { criterion: Criterion { parameter, comparison }, warning })
}

fn parse_references<R: Searchable>(
    parameter: &'static Parameter<R>,
    modifier: Option<&str>,
    value: &str,
    context: &ParseContext<'_>,
) -> Result<ParsedCriterion<R>, String> {
    let references = reference::parse_all(value, modifier, context)?;
    let has_version = references.iter().any(|reference| reference.has_version);
    let comparison =
        Comparison::Reference(references.into_iter().map(|reference| reference.target).collect());
    let warning = has_version
        .then_some("the version in the reference was ignored: references refer to the current version");
    Ok(ParsedCriterion { criterion: Criterion { parameter, comparison }, warning })
}

/// Parses tokens, and sets `warning` if no resource can have one of them.
fn parse_tokens<R: Searchable>(
    parameter: &Parameter<R>,
    value: &str,
    context: &ParseContext<'_>,
    warning: &mut Option<&'static str>,
) -> Result<Vec<Token>, String> {
    let tokens = Token::parse_all(value)?;
    if let Some(validate) = parameter.validate {
        for token in &tokens {
            *warning = validate(token, context)?.or(*warning);
        }
    }
    Ok(tokens)
}

fn parse_uris(uri_match: UriMatch, value: &str) -> Result<Comparison, String> {
    uri::parse_all(value).map(|uris| Comparison::Uri(uri_match, uris))
}

fn parse_missing(value: &str) -> Result<bool, String> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}
