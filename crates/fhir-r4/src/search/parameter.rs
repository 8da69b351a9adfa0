//! A row of a parameter table: name, type and forms of a search parameter, and how its values are read from a resource. This module
//! does not know about queries.

use super::token::Token;
use super::value::Value;
use super::{ParseContext, ResourceType, Searchable};

/// The type of a parameter (R4 search-param-type).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterType {
    /// A date (R4 search#date).
    Date,
    /// A reference (R4 search#reference).
    Reference,
    /// A string (R4 search#string).
    String,
    /// A token (R4 search#token).
    Token,
    /// A URI (R4 search#uri).
    Uri,
}

impl ParameterType {
    /// Returns the code in the value set.
    pub fn code(self) -> &'static str {
        match self {
            Self::Date => "date",
            Self::Reference => "reference",
            Self::String => "string",
            Self::Token => "token",
            Self::Uri => "uri",
        }
    }
}

/// A function that passes every value of a resource for a parameter to the callback.
pub type Values<R> = for<'r> fn(&'r R, &mut dyn FnMut(Value<'r>));

/// A function that rejects an invalid token with a description of the valid form, and returns a warning about a valid one that no
/// resource can have.
type ValidateToken = fn(&Token, &ParseContext<'_>) -> Result<Option<&'static str>, String>;

/// A row of a parameter table. Parsing, evaluation and documentation of a parameter use the same row.
pub struct Parameter<R: Searchable> {
    /// The key of the parameter.
    pub key: R::Param,
    /// The name in a query.
    pub name: &'static str,
    /// The type of the parameter.
    pub kind: ParameterType,
    /// The URL of the SearchParameter.
    pub definition: &'static str,
    /// The description of the evaluation, for readers of the CapabilityStatement.
    pub note: &'static str,
    /// Reads the values of a resource.
    pub values: Values<R>,
    /// The resource types that a reference can refer to; empty for other types of parameters.
    pub targets: &'static [&'static str],
    /// The resource type whose parameters can be chained (R4 search#chaining).
    pub chain_target: Option<ResourceType>,
    /// Whether `_sort` supports the parameter.
    pub(super) is_sortable: bool,
    /// Whether the tokens are identifiers, which have a type (`:of-type`).
    pub(super) has_identifiers: bool,
    /// Whether strings are compared phonetically.
    pub(super) is_phonetic: bool,
    /// An additional validation of tokens.
    pub(super) validate: Option<ValidateToken>,
}

impl<R: Searchable> std::fmt::Debug for Parameter<R> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Parameter").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<R: Searchable> Parameter<R> {
    const fn new(
        key: R::Param,
        name: &'static str,
        kind: ParameterType,
        definition: &'static str,
        note: &'static str,
        values: Values<R>,
    ) -> Self {
        Self {
            key,
            name,
            kind,
            definition,
            note,
            values,
            targets: &[],
            chain_target: None,
            is_sortable: false,
            has_identifiers: false,
            is_phonetic: false,
            validate: None,
        }
    }

    pub(super) const fn token(
        key: R::Param,
        name: &'static str,
        definition: &'static str,
        note: &'static str,
        values: Values<R>,
    ) -> Self {
        Self::new(key, name, ParameterType::Token, definition, note, values)
    }

    pub(super) const fn string(
        key: R::Param,
        name: &'static str,
        definition: &'static str,
        note: &'static str,
        values: Values<R>,
    ) -> Self {
        Self::new(key, name, ParameterType::String, definition, note, values)
    }

    pub(super) const fn date(
        key: R::Param,
        name: &'static str,
        definition: &'static str,
        note: &'static str,
        values: Values<R>,
    ) -> Self {
        Self::new(key, name, ParameterType::Date, definition, note, values)
    }

    pub(super) const fn uri(
        key: R::Param,
        name: &'static str,
        definition: &'static str,
        note: &'static str,
        values: Values<R>,
    ) -> Self {
        Self::new(key, name, ParameterType::Uri, definition, note, values)
    }

    pub(super) const fn reference(
        key: R::Param,
        name: &'static str,
        definition: &'static str,
        note: &'static str,
        targets: &'static [&'static str],
        values: Values<R>,
    ) -> Self {
        Self { targets, ..Self::new(key, name, ParameterType::Reference, definition, note, values) }
    }

    pub(super) const fn with_identifiers(self) -> Self {
        Self { has_identifiers: true, ..self }
    }

    pub(super) const fn phonetic(self) -> Self {
        Self { is_phonetic: true, ..self }
    }

    pub(super) const fn sortable(self) -> Self {
        Self { is_sortable: true, ..self }
    }

    pub(super) const fn with_chain(self, target: ResourceType) -> Self {
        Self { chain_target: Some(target), ..self }
    }

    pub(super) const fn with_validation(self, validate: ValidateToken) -> Self {
        Self { validate: Some(validate), ..self }
    }

    /// Returns the supported modifiers.
    fn modifiers(&self) -> Vec<&'static str> {
        let mut modifiers = match self.kind {
            ParameterType::Date => Vec::new(),
            ParameterType::Reference => [self.targets, &["identifier"]].concat(),
            ParameterType::String if self.is_phonetic => Vec::new(),
            ParameterType::String => vec!["exact", "contains"],
            ParameterType::Token if self.has_identifiers => vec!["not", "text", "of-type"],
            ParameterType::Token => vec!["not", "text"],
            ParameterType::Uri => vec!["below", "above"],
        };
        modifiers.push("missing");
        modifiers
    }

    /// Returns the supported forms as a comma-separated list.
    pub fn supported_forms(&self) -> String {
        let forms_with_modifier =
            self.modifiers().into_iter().map(|modifier| format!("{}:{modifier}", self.name));
        let chained_forms = self.chain_target.map(|target| {
            format!("{0}.[a parameter of {target}], {0}:{target}.[a parameter of {target}]", self.name)
        });
        std::iter::once(self.name.to_owned())
            .chain(forms_with_modifier)
            .chain(chained_forms)
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// Returns the description of the evaluation and the supported forms.
    pub fn documentation(&self) -> String {
        format!("{} Supported forms: {}.", self.note, self.supported_forms())
    }
}

impl<R: Searchable> Parameter<R> {
    /// Returns the parameter of `R` with this name, if there is one.
    pub fn with_name(name: &str) -> Option<&'static Self> {
        Self::all().find(|parameter| parameter.name == name)
    }

    /// Returns the parameters of `R` that `_sort` supports.
    pub fn sortable_parameters() -> impl Iterator<Item = &'static Self> {
        Self::all().filter(|parameter| parameter.is_sortable)
    }

    /// Whether the parameter selects a patient: by a reference to a Patient, or by the id or an identifier of the Patient itself.
    pub(super) fn selects_patient(&self) -> bool {
        let identifies_resource =
            R::TYPE == ResourceType::Patient && matches!(self.name, "_id" | "identifier");
        identifies_resource || self.chain_target == Some(ResourceType::Patient)
    }

    /// Returns all parameters of `R`: those of all resources, and then those of this type.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        R::COMMON_PARAMETERS.iter().chain(R::TYPE_PARAMETERS)
    }
}
