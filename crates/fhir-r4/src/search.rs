//! The grammar of FHIR search (R4 search.html): from the pairs of a query string to typed criteria.
//!
//! One table for each resource type ([`Searched`]) declares every parameter, and where a resource has its values. It drives the
//! parsing and the comparison, and the CapabilityStatement is printed from it. Nothing here knows what an archive is or how a
//! criterion is answered, and no message repeats a value: values are patients' identifiers.

mod alternatives;
mod criterion;
mod date;
mod id;
mod include;
mod parameter;
mod parameters;
mod reference;
mod result;
mod string;
mod token;
mod uri;
mod value;

use std::fmt;

pub use criterion::{Criterion, EvaluationContext, Test};
pub use include::{Edge, Include};
pub use parameter::{Parameter, ParameterType, Values};
pub use parameters::{EndpointParam, ImagingStudyParam, PatientParam, Searched};
pub use reference::ReferenceMatch;
pub use result::{Contained, ResultParameters, SortKey, Summary, Total};
pub use string::{StringMatch, normalise};
pub use token::{System, Token, TypedIdentifier};
pub use uri::UriMatch;
pub use value::{TokenValue, Value};

use crate::types::{Endpoint, ImagingStudy, Patient};
use result::Unread;

/// No real value is longer: sixty UIDs of full length fit.
const MAX_VALUE_LEN: usize = 4096;

/// More parameters than any client sends.
const MAX_PARAMETERS: usize = 100;

/// The types that are served.
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
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Endpoint, Self::ImagingStudy, Self::Patient];

    /// Reads the type's name; names are case-sensitive (R4 http#general).
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == text)
    }

    /// The type's name.
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

/// What is done with a parameter that is not known (R4 search#errors).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Handling {
    /// It is left out, and named in the answer.
    #[default]
    Lenient,
    /// It is an error.
    Strict,
}

/// What is wrong with one parameter. Says what was expected, never what was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{parameter}: {diagnostics}")]
pub struct SearchError {
    /// The parameter's name without modifier, or what stands in its place if it is not known.
    pub parameter: String,
    /// A code of R4's value set issue-type.
    pub code: &'static str,
    /// What was expected.
    pub diagnostics: String,
}

/// A search for resources of type `R`.
#[derive(Debug)]
pub struct Search<R: Searched> {
    /// All of them hold for a match (R4 search#combining).
    pub criteria: Vec<Criterion<R>>,
    /// What must refer to a match (R4 search#has).
    pub reverse: Vec<Reverse>,
    /// What of the matches is wanted, and how.
    pub result: ResultParameters,
    /// The parameters that were understood, as they were given, for the self link.
    pub applied: Vec<(String, String)>,
    /// The parameters that were left out, each once, and why.
    pub ignored: Vec<(String, String)>,
    /// What is to be said of parameters that were understood.
    pub remarks: Vec<(String, &'static str)>,
}

/// `_has:ImagingStudy:patient:modality=CT`: an ImagingStudy that refers to the match by `edge` and for which `criterion` holds.
#[derive(Debug, Clone)]
pub struct Reverse {
    /// By which reference.
    pub edge: Edge,
    /// What holds for what refers.
    pub criterion: Criterion<ImagingStudy>,
}

/// What the grammar must be told from outside.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The base address under which absolute references are our own, without a slash at its end.
    pub base: &'a str,
    /// What is done with unknown parameters.
    pub handling: Handling,
    /// `_count` when none is given.
    pub default_count: usize,
    /// `_count` is never more.
    pub max_count: usize,
    /// Whether a text is a DICOM UID (PS3.5 9.1), which R4 writes without a grammar of its own.
    pub is_uid: fn(&str) -> bool,
}

impl<R: Searched> Search<R> {
    /// Parses `pairs`, decoded, in the order of the query string. All that is wrong is told at once.
    pub fn parse(pairs: &[(String, String)], context: &Context<'_>) -> Result<Self, Vec<SearchError>> {
        let mut search = Self {
            criteria: Vec::new(),
            reverse: Vec::new(),
            result: ResultParameters::new(context.default_count),
            applied: Vec::new(),
            ignored: Vec::new(),
            remarks: Vec::new(),
        };
        let mut errors = Vec::new();
        if pairs.len() > MAX_PARAMETERS {
            let diagnostics = format!("at most {MAX_PARAMETERS} parameters can be given");
            return Err(vec![SearchError { parameter: "query".to_owned(), code: "too-long", diagnostics }]);
        }
        for (index, pair) in pairs.iter().enumerate() {
            // Said twice, in the address and in the body of a POST perhaps, it says the same.
            if pairs.get(..index).is_some_and(|before| before.contains(pair)) {
                continue;
            }
            if let Err(error) = search.read(&pair.0, &pair.1, context) {
                errors.push(error);
            }
        }
        if let Err(error) = search.result.check() {
            errors.push(error);
        }
        if errors.is_empty() { Ok(search) } else { Err(errors) }
    }

    fn read(&mut self, name: &str, value: &str, context: &Context<'_>) -> Result<(), SearchError> {
        let base_name = name.split([':', '.']).next().unwrap_or_default();
        let error =
            |code, diagnostics: String| SearchError { parameter: shown(base_name), code, diagnostics };
        if value.len() > MAX_VALUE_LEN {
            return Err(error("too-long", format!("a value is at most {MAX_VALUE_LEN} bytes long")));
        }
        if value.chars().any(char::is_control) {
            return Err(error("value", "a value holds no control characters".to_owned()));
        }
        // Whoever asks for a query by its name wants that one and no other (R4 search#query).
        if base_name == "_query" {
            return Err(error("not-supported", "there are no named queries here".to_owned()));
        }
        let shapes_result = result::is_known(base_name);
        if !shapes_result && base_name != "_has" && Parameter::<R>::named(base_name).is_none() {
            return self.ignore(name, NOT_SUPPORTED, context);
        }
        // An empty value says nothing (R4 search#escaping); it is named, as it narrowed nothing.
        if value.is_empty() {
            return self.ignore(name, "It has no value.", context);
        }
        if shapes_result {
            let modifier = name.strip_prefix(base_name).and_then(|rest| rest.strip_prefix(':'));
            if name.contains('.') {
                return Err(error("not-supported", "nothing follows this parameter's name".to_owned()));
            }
            match self.result.read::<R>(base_name, modifier, value, context) {
                Ok(()) => {}
                Err(Unread::Wrong(code, diagnostics)) => return Err(error(code, diagnostics)),
                Err(Unread::LeftOut(why)) => return self.ignore(name, &why, context),
            }
            // The format is a matter of the request, not of the search.
            if matches!(base_name, "_format" | "_pretty") {
                return Ok(());
            }
        } else if base_name == "_has" {
            self.reverse.push(reverse::<R>(name, value, context)?);
        } else if let Some(read) = criterion::read::<R>(name, value, context) {
            let read = read?;
            self.remarks.extend(read.remark.map(|remark| (shown(name), remark)));
            self.criteria.push(read.criterion);
        }
        self.applied.push((name.to_owned(), value.to_owned()));
        Ok(())
    }

    fn ignore(&mut self, name: &str, why: &str, context: &Context<'_>) -> Result<(), SearchError> {
        let name = shown(name);
        match context.handling {
            Handling::Strict => {
                let diagnostics = why.trim_end_matches('.').to_owned();
                Err(SearchError { parameter: name, code: "not-supported", diagnostics })
            }
            Handling::Lenient => {
                if !self.ignored.iter().any(|(earlier, _)| *earlier == name) {
                    self.ignored.push((name, why.to_owned()));
                }
                Ok(())
            }
        }
    }
}

const NOT_SUPPORTED: &str = "/fhir/metadata lists those that are supported.";

/// Reads `_has:ImagingStudy:reference:parameter` (R4 search#has).
fn reverse<R: Searched>(name: &str, value: &str, context: &Context<'_>) -> Result<Reverse, SearchError> {
    let error = |diagnostics: &str| SearchError {
        parameter: "_has".to_owned(),
        code: "not-supported",
        diagnostics: diagnostics.to_owned(),
    };
    let expected = || {
        error("_has:ImagingStudy:reference:parameter, with a reference that leads to what is searched for")
    };
    let mut parts = name.splitn(4, ':').skip(1);
    let (Some(kind), Some(reference), Some(parameter)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(expected());
    };
    let include = Include::read(&format!("{kind}:{reference}"), false).filter(|_| reference != "*");
    let edge = include.and_then(|include| include.edges.into_iter().find(|edge| edge.target() == R::TYPE));
    let edge = edge.ok_or_else(expected)?;
    let read = criterion::read::<ImagingStudy>(parameter, value, context);
    let read = read.ok_or_else(|| error("the parameter behind the reference is none of ImagingStudy"))?;
    let read = read.map_err(|error| SearchError { parameter: "_has".to_owned(), ..error })?;
    Ok(Reverse { edge, criterion: read.criterion })
}

/// Whether a search for `kind` knows the parameter that is called so.
pub fn has_parameter(kind: ResourceType, name: &str) -> bool {
    let has = match kind {
        ResourceType::Endpoint => Parameter::<Endpoint>::named(name).is_some(),
        ResourceType::ImagingStudy => Parameter::<ImagingStudy>::named(name).is_some(),
        ResourceType::Patient => Parameter::<Patient>::named(name).is_some(),
    };
    // Nothing refers to a study.
    has || result::is_known(name) || (name == "_has" && kind != ResourceType::ImagingStudy)
}

/// A parameter's name as it may be shown: what a caller made up could be anything, so only what looks like a name is.
pub fn shown(name: &str) -> String {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':');
    if (1..=64).contains(&name.len()) && name.bytes().all(legal) {
        name.to_owned()
    } else {
        "unknown parameter".to_owned()
    }
}

#[cfg(test)]
mod tests;
