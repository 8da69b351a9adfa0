//! The grammar of FHIR search (R4 search.html): converts the pairs of a query string to typed criteria.
//!
//! One table per resource type ([`Searchable`]) declares every parameter and how its values are read from a resource. Parsing and
//! comparison use it, and the CapabilityStatement is generated from it. This module does not know about archives or how a criterion
//! is evaluated there. No message contains a value, because values can be identifiers of patients.

mod alternatives;
mod criterion;
mod date;
mod id;
mod include;
mod parameter;
mod parameters;
mod patient_ids;
mod reference;
mod result;
mod sort;
mod string;
mod token;
mod uri;
mod value;

use std::fmt;

pub use alternatives::{MAX_ALTERNATIVES, MAX_UID_ALTERNATIVES};
pub use criterion::{Comparison, Criterion, EvaluationContext};
pub use include::{Include, ReferenceElement};
pub use parameter::{Parameter, ParameterType, Values};
pub use parameters::{EndpointParam, ImagingStudyParam, PatientParam, Searchable};
pub use reference::ReferenceMatch;
pub use result::{Contained, ResultParameters, Summary, Total, is_result_parameter};
pub use sort::{Direction, SortKey};
pub use string::{StringMatch, normalize};
pub use token::{System, Token, TypedIdentifier};
pub use uri::UriMatch;
pub use value::{TokenValue, Value};

use crate::types::{Endpoint, ImagingStudy, Patient};
use result::{IgnoredReason, ResultParameterError};

/// Maximum length of a value in bytes: enough for [`MAX_UID_ALTERNATIVES`] UIDs of full length with their systems.
const MAX_VALUE_LEN: usize = 48 * 1024;

/// Maximum number of parameters; clients send fewer.
const MAX_PARAMETERS: usize = 100;

/// The resource types that are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceType {
    /// R4 endpoint.html.
    Endpoint,
    /// R4 imagingstudy.html.
    ImagingStudy,
    /// R4 patient.html.
    Patient,
}

impl ResourceType {
    /// All types.
    pub const ALL: [Self; 3] = [Self::Endpoint, Self::ImagingStudy, Self::Patient];

    /// Parses the name of a type; names are case-sensitive (R4 http#general).
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|resource_type| resource_type.name() == text)
    }

    /// Returns the name of the type.
    pub fn name(self) -> &'static str {
        match self {
            Self::Endpoint => "Endpoint",
            Self::ImagingStudy => "ImagingStudy",
            Self::Patient => "Patient",
        }
    }
}

impl fmt::Display for ResourceType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The handling of unknown parameters (R4 search#errors).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Handling {
    /// The parameter is ignored and reported in the response.
    #[default]
    Lenient,
    /// The parameter is an error.
    Strict,
}

/// The reason for the rejection of one parameter. Never contains the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{parameter}: {diagnostics}")]
pub struct SearchError {
    /// The name of the parameter without modifier, or a placeholder if the name is not valid; see [`printable_name`].
    pub parameter: String,
    /// A code of the R4 value set issue-type.
    pub code: &'static str,
    /// A description of the expected form.
    pub diagnostics: String,
}

/// A search for resources of type `R`.
#[derive(Debug)]
pub struct Search<R: Searchable> {
    /// The criteria, all of which a match must meet (R4 search#combining).
    pub criteria: Vec<Criterion<R>>,
    /// The reverse chains (`_has`), all of which a match must meet (R4 search#has).
    pub reverse_chains: Vec<ReverseChain>,
    /// The order of the matches (`_sort`); empty for the default order.
    pub sort: Vec<SortKey<R>>,
    /// The result parameters.
    pub result: ResultParameters,
    /// The parameters that were applied, without the ignored parts of their values, for the self link.
    pub applied: Vec<(String, String)>,
    /// The ignored parameters without duplicates, with the reasons.
    pub ignored: Vec<(String, String)>,
    /// Warnings about parameters that were applied: the name and the text.
    pub warnings: Vec<(String, &'static str)>,
}

/// `_has:ImagingStudy:patient:modality=CT`: an ImagingStudy whose element `reference` refers to the match, and that meets
/// `criterion`.
#[derive(Debug, Clone)]
pub struct ReverseChain {
    /// The element of the study that refers to the match.
    pub reference: ReferenceElement,
    /// The criterion for the study.
    pub criterion: Criterion<ImagingStudy>,
}

/// The settings of the parser.
#[derive(Debug, Clone, Copy)]
pub struct ParseContext<'a> {
    /// The base URL of this server, without a trailing slash. Absolute references below it are local.
    pub base: &'a str,
    /// The handling of unknown parameters.
    pub handling: Handling,
    /// Default of `_count`.
    pub default_count: usize,
    /// Maximum of `_count`.
    pub max_count: usize,
    /// Whether a text is a DICOM UID (PS3.5 9.1). R4 does not define the syntax of UIDs.
    pub is_uid: fn(&str) -> bool,
    /// Whether a text that is not a DICOM UID is nevertheless the UID of a study, a series or an instance. Its identifier has no
    /// `urn:oid:`, because it is not an OID.
    pub is_other_uid: fn(&str) -> bool,
}

impl<R: Searchable> Search<R> {
    /// Parses `pairs`, decoded, in the order of the query string. Returns all errors together.
    pub fn parse(pairs: &[(String, String)], context: &ParseContext<'_>) -> Result<Self, Vec<SearchError>> {
        let mut search = Self {
            criteria: Vec::new(),
            reverse_chains: Vec::new(),
            sort: Vec::new(),
            result: ResultParameters::new(context.default_count),
            applied: Vec::new(),
            ignored: Vec::new(),
            warnings: Vec::new(),
        };
        let mut errors = Vec::new();
        if pairs.len() > MAX_PARAMETERS {
            let diagnostics = format!("expected at most {MAX_PARAMETERS} parameters");
            return Err(vec![SearchError { parameter: "query".to_owned(), code: "too-long", diagnostics }]);
        }
        for (index, pair) in pairs.iter().enumerate() {
            // A duplicate, for example in the URL and in the body of a POST, has no effect.
            if pairs.get(..index).is_some_and(|before| before.contains(pair)) {
                continue;
            }
            if let Err(error) = search.parse_parameter(&pair.0, &pair.1, context) {
                errors.push(error);
            }
        }
        if let Err(error) = search.result.check() {
            errors.push(error);
        }
        if errors.is_empty() { Ok(search) } else { Err(errors) }
    }

    fn parse_parameter(
        &mut self,
        name: &str,
        value: &str,
        context: &ParseContext<'_>,
    ) -> Result<(), SearchError> {
        let base_name = name.split([':', '.']).next().unwrap_or_default();
        let error = |code, diagnostics: String| SearchError {
            parameter: printable_name(base_name),
            code,
            diagnostics,
        };
        if value.len() > MAX_VALUE_LEN {
            return Err(error("too-long", format!("expected a value of at most {MAX_VALUE_LEN} bytes")));
        }
        if value.chars().any(char::is_control) {
            return Err(error("value", "expected a value without control characters".to_owned()));
        }
        // A named query cannot be ignored: it defines the meaning of the search (R4 search#query).
        if base_name == "_query" {
            return Err(error(
                "not-supported",
                "named queries are not supported; use search parameters".to_owned(),
            ));
        }
        let is_result_parameter = is_result_parameter(base_name);
        if !is_result_parameter && base_name != "_has" && Parameter::<R>::with_name(base_name).is_none() {
            return self.ignore(name, IgnoredReason::not_supported(), context);
        }
        // An empty value has no effect (R4 search#escaping); it is reported, because it did not restrict the search. A client that
        // sends no value for the patient by mistake must not receive the studies of every patient.
        if value.is_empty() {
            if Parameter::<R>::with_name(base_name).is_some_and(Parameter::selects_patient) {
                return Err(error(
                    "value",
                    "expected a value; omit the parameter to search for every patient".to_owned(),
                ));
            }
            return self.ignore(name, IgnoredReason::no_value(), context);
        }
        let mut applied = value.to_owned();
        if is_result_parameter {
            let modifier = name.strip_prefix(base_name).and_then(|rest| rest.strip_prefix(':'));
            if name.contains('.') {
                return Err(error(
                    "not-supported",
                    "this parameter is not a reference and cannot be chained".to_owned(),
                ));
            }
            match self.result.parse_parameter(base_name, modifier, value, &mut self.sort, context) {
                Ok(None) => {}
                Ok(Some(reason)) => {
                    self.ignore(name, reason, context)?;
                    // Only the supported part of the list is applied.
                    match (base_name, &self.result.elements) {
                        ("_sort", _) => applied = SortKey::join(&self.sort),
                        ("_elements", Some(names)) => applied = names.join(","),
                        _ => {}
                    }
                }
                Err(ResultParameterError::Invalid(code, diagnostics)) => {
                    return Err(error(code, diagnostics));
                }
                Err(ResultParameterError::Ignored(reason)) => return self.ignore(name, reason, context),
            }
            // The format belongs to the request, not to the search.
            if matches!(base_name, "_format" | "_pretty") {
                return Ok(());
            }
        } else if base_name == "_has" {
            self.reverse_chains.push(parse_reverse_chain::<R>(name, value, context)?);
        } else if let Some(parsed) = criterion::parse::<R>(name, value, context) {
            let parsed = parsed?;
            self.warnings.extend(parsed.warning.map(|warning| (printable_name(name), warning)));
            self.criteria.push(parsed.criterion);
        }
        self.applied.push((name.to_owned(), applied));
        Ok(())
    }

    fn ignore(
        &mut self,
        name: &str,
        reason: IgnoredReason,
        context: &ParseContext<'_>,
    ) -> Result<(), SearchError> {
        let name = printable_name(name);
        match context.handling {
            Handling::Strict => {
                Err(SearchError { parameter: name, code: "not-supported", diagnostics: reason.error })
            }
            Handling::Lenient => {
                if !self.ignored.iter().any(|(earlier, _)| *earlier == name) {
                    self.ignored.push((name, reason.warning));
                }
                Ok(())
            }
        }
    }
}

/// Parses `_has:ImagingStudy:reference:parameter` (R4 search#has).
fn parse_reverse_chain<R: Searchable>(
    name: &str,
    value: &str,
    context: &ParseContext<'_>,
) -> Result<ReverseChain, SearchError> {
    let error = |diagnostics: &str| SearchError {
        parameter: "_has".to_owned(),
        code: "not-supported",
        diagnostics: diagnostics.to_owned(),
    };
    let expected = || {
        error("expected _has:ImagingStudy:reference:parameter with a reference to the searched resource type")
    };
    let mut parts = name.splitn(4, ':').skip(1);
    let (Some(resource_type), Some(reference_parameter), Some(parameter)) =
        (parts.next(), parts.next(), parts.next())
    else {
        return Err(expected());
    };
    let include = Include::parse(&format!("{resource_type}:{reference_parameter}"), false)
        .filter(|_| reference_parameter != "*");
    let reference = include
        .and_then(|include| include.references.into_iter().find(|reference| reference.target() == R::TYPE))
        .ok_or_else(expected)?;
    let parsed = criterion::parse::<ImagingStudy>(parameter, value, context);
    let parsed = parsed.ok_or_else(|| {
        error("the parameter after the reference is not a search parameter of ImagingStudy")
    })?;
    let parsed = parsed.map_err(|error| SearchError { parameter: "_has".to_owned(), ..error })?;
    Ok(ReverseChain { reference, criterion: parsed.criterion })
}

/// Whether a search for `resource_type` supports the parameter `name`.
pub fn has_parameter(resource_type: ResourceType, name: &str) -> bool {
    let is_in_table = match resource_type {
        ResourceType::Endpoint => Parameter::<Endpoint>::with_name(name).is_some(),
        ResourceType::ImagingStudy => Parameter::<ImagingStudy>::with_name(name).is_some(),
        ResourceType::Patient => Parameter::<Patient>::with_name(name).is_some(),
    };
    // No resource refers to a study.
    is_in_table
        || is_result_parameter(name)
        || (name == "_has" && resource_type != ResourceType::ImagingStudy)
}

/// What messages contain in place of a name that may be PHI.
const HIDDEN_NAME: &str = "(name not shown)";

/// Returns the name of a parameter for messages. A text that is not a valid name is replaced by a placeholder, because it could
/// be PHI.
pub fn printable_name(name: &str) -> String {
    if is_valid_name(name) { name.to_owned() } else { HIDDEN_NAME.to_owned() }
}

/// Returns the `OperationOutcome.issue.expression` of the parameter `name` (R4 OperationOutcome); `None` if the name is not shown.
pub fn parameter_expression(name: &str) -> Option<String> {
    is_valid_name(name).then(|| format!("http.{name}"))
}

fn is_valid_name(name: &str) -> bool {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':');
    (1..=64).contains(&name.len()) && name.bytes().all(is_legal)
}

#[cfg(test)]
mod tests;
