//! The grammar of FHIR search (R4 search.html): from the pairs of a query string to typed criteria.
//!
//! One table for each resource type ([`parameters`]) declares every parameter with its legal forms; it drives the parsing,
//! and the CapabilityStatement is printed from it. Nothing here knows what an archive is or how a criterion is answered,
//! and no message repeats a value: values are patients' identifiers.

mod alternatives;
mod date;
mod id;
mod parameters;
mod reference;
mod result;
mod string;
mod token;

use std::fmt;

pub use parameters::{
    ENDPOINT_PARAMETERS, EndpointCriterion, Form, IMAGING_STUDY_PARAMETERS, PATIENT_PARAMETERS, Parameter,
    ParameterType, PatientCriterion, StudyCriterion, StudyInclude,
};
pub use reference::PatientReference;
pub use result::{ResultParameters, Summary, Total};
pub use string::{StringMatch, normalise};
pub use token::{System, Token};

/// No real value is longer: sixty UIDs of full length fit.
const LONGEST_VALUE: usize = 4096;

/// More parameters than any client sends.
const MOST_PARAMETERS: usize = 100;

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

/// A search of resources whose criteria are of type `C`.
#[derive(Debug, Clone, PartialEq)]
pub struct Search<C> {
    /// All of them hold for a match (R4 search#combining).
    pub criteria: Vec<C>,
    /// What of the matches is wanted, and how.
    pub result: ResultParameters,
    /// The parameters that were understood, as they were given, for the self link.
    pub applied: Vec<(String, String)>,
    /// The parameters that were left out, each once.
    pub ignored: Vec<String>,
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
}

impl<C> Search<C> {
    /// Parses `pairs`, decoded, in the order of the query string, by the declarations of `table`. All that is wrong is
    /// told at once.
    pub fn parse(
        table: &[Parameter<C>],
        pairs: &[(String, String)],
        context: &Context<'_>,
    ) -> Result<Self, Vec<SearchError>> {
        let mut search = Self {
            criteria: Vec::new(),
            result: ResultParameters::new(context.default_count),
            applied: Vec::new(),
            ignored: Vec::new(),
        };
        let mut errors = Vec::new();
        if pairs.len() > MOST_PARAMETERS {
            let diagnostics = format!("at most {MOST_PARAMETERS} parameters can be given");
            return Err(vec![SearchError { parameter: "query".to_owned(), code: "too-long", diagnostics }]);
        }
        for (index, pair) in pairs.iter().enumerate() {
            // Said twice, in the address and in the body of a POST perhaps, it says the same.
            if pairs.get(..index).is_some_and(|before| before.contains(pair)) {
                continue;
            }
            if let Err(error) = search.read(table, &pair.0, &pair.1, context) {
                errors.push(error);
            }
        }
        if let Err(error) = search.result.check() {
            errors.push(error);
        }
        if errors.is_empty() { Ok(search) } else { Err(errors) }
    }

    fn read(
        &mut self,
        table: &[Parameter<C>],
        name: &str,
        value: &str,
        context: &Context<'_>,
    ) -> Result<(), SearchError> {
        let base_name = name.split([':', '.']).next().unwrap_or_default();
        let error =
            |code, diagnostics: String| SearchError { parameter: shown(base_name), code, diagnostics };
        if value.len() > LONGEST_VALUE {
            return Err(error("too-long", format!("a value is at most {LONGEST_VALUE} bytes long")));
        }
        if value.chars().any(char::is_control) {
            return Err(error("value", "a value holds no control characters".to_owned()));
        }
        let parameter = table.iter().find(|parameter| parameter.name == base_name);
        // An empty value says nothing (R4 search#escaping); it is named, as it narrowed nothing.
        if value.is_empty() && (parameter.is_some() || result::is_known(base_name)) {
            return self.ignore(name, context);
        }
        if let Some(parameter) = parameter {
            let suffix = name.get(base_name.len()..).unwrap_or_default();
            let form = parameter.forms.iter().find(|form| form.suffix == suffix).ok_or_else(|| {
                error(
                    "not-supported",
                    format!("only these forms are supported: {}", parameter.forms_in_words()),
                )
            })?;
            let criterion =
                (form.parse)(value, context).map_err(|diagnostics| error("value", diagnostics))?;
            self.criteria.push(criterion);
        } else if result::is_known(base_name) {
            if name != base_name {
                return Err(error("not-supported", "this parameter has no modifiers here".to_owned()));
            }
            self.result
                .read(name, value, table, context)
                .map_err(|(code, diagnostics)| error(code, diagnostics))?;
            // The format is a matter of the request, not of the search.
            if matches!(name, "_format" | "_pretty") {
                return Ok(());
            }
        } else {
            return self.ignore(name, context);
        }
        self.applied.push((name.to_owned(), value.to_owned()));
        Ok(())
    }

    fn ignore(&mut self, name: &str, context: &Context<'_>) -> Result<(), SearchError> {
        let name = shown(name);
        match context.handling {
            Handling::Strict => {
                let diagnostics = "this parameter is not supported, or has no value".to_owned();
                Err(SearchError { parameter: name, code: "not-supported", diagnostics })
            }
            Handling::Lenient => {
                if !self.ignored.contains(&name) {
                    self.ignored.push(name);
                }
                Ok(())
            }
        }
    }
}

/// A parameter's name as it may be shown: what a caller made up could be anything, so only what looks like a name is.
fn shown(name: &str) -> String {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':');
    if (1..=64).contains(&name.len()) && name.bytes().all(legal) {
        name.to_owned()
    } else {
        "unknown parameter".to_owned()
    }
}

#[cfg(test)]
mod tests;
