//! The tables: for each resource type every search parameter, with its forms, its definition and how it is answered.

use super::Context;

/// A [`Form`]: what follows the parameter's name, the criterion that it makes, and what reads its values.
macro_rules! form {
    ($suffix:literal, $criterion:path, $parse:path) => {
        Form { suffix: $suffix, parse: |value, _| $parse(value).map($criterion) }
    };
    ($suffix:literal, $criterion:path, $parse:path, context) => {
        Form { suffix: $suffix, parse: |value, context| $parse(value, context).map($criterion) }
    };
}

mod endpoint;
mod imaging_study;
mod patient;

pub use endpoint::{ENDPOINT_PARAMETERS, EndpointCriterion};
pub use imaging_study::{IMAGING_STUDY_PARAMETERS, StudyCriterion, StudyInclude};
pub use patient::{PATIENT_PARAMETERS, PatientCriterion};

/// The definition of `_id`, which is the same for every type.
const RESOURCE_ID: &str = "http://hl7.org/fhir/SearchParameter/Resource-id";

/// A parameter's type (R4 search-param-type).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterType {
    /// R4 search#date.
    Date,
    /// R4 search#reference.
    Reference,
    /// R4 search#string.
    String,
    /// R4 search#token.
    Token,
}

impl ParameterType {
    /// The code of the value set.
    pub fn code(self) -> &'static str {
        match self {
            Self::Date => "date",
            Self::Reference => "reference",
            Self::String => "string",
            Self::Token => "token",
        }
    }
}

/// One way to write a parameter: its name, followed by `suffix`.
#[derive(Debug)]
pub struct Form<C> {
    /// Nothing, a modifier (`:identifier`) or a chain (`.identifier`, `:Patient.identifier`).
    pub suffix: &'static str,
    /// From a value to a criterion, or to what was expected.
    pub parse: fn(&str, &Context<'_>) -> Result<C, String>,
}

/// A row of the table.
#[derive(Debug)]
pub struct Parameter<C: 'static> {
    /// As it stands in a query.
    pub name: &'static str,
    /// How its values are read.
    pub kind: ParameterType,
    /// The SearchParameter that defines it.
    pub definition: &'static str,
    /// How it is answered, for the CapabilityStatement's readers.
    pub note: &'static str,
    /// The ways to write it.
    pub forms: &'static [Form<C>],
    /// What `_include` by this parameter brings.
    pub include: Option<StudyInclude>,
}

impl<C> Parameter<C> {
    /// How it is answered and, where there is more than one way, how it may be written.
    pub fn documentation(&self) -> String {
        match self.forms {
            [_, _, ..] => format!("{} Written as {}.", self.note, self.forms_in_words()),
            _ => self.note.to_owned(),
        }
    }

    pub(super) fn forms_in_words(&self) -> String {
        self.forms.iter().map(|form| format!("{}{}", self.name, form.suffix)).collect::<Vec<_>>().join(", ")
    }
}
