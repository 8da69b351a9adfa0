//! Rows of the tables: what a search parameter is called, how its values are read, and where a resource has them.

use super::token::Token;
use super::value::Value;
use super::{Context, ResourceType, Searched};

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
    /// R4 search#uri.
    Uri,
}

impl ParameterType {
    /// The code of the value set.
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

/// Hands over every value that a resource has under a parameter.
pub type Values<R> = for<'r> fn(&'r R, &mut dyn FnMut(Value<'r>));

/// Refuses a token, saying what was expected.
type Check = fn(&Token, &Context<'_>) -> Result<(), String>;

/// A row of a table: one declaration that parses, answers and documents a parameter.
pub struct Parameter<R: Searched> {
    /// Which it is.
    pub key: R::Param,
    /// As it stands in a query.
    pub name: &'static str,
    /// How its values are read.
    pub kind: ParameterType,
    /// The SearchParameter that defines it.
    pub definition: &'static str,
    /// How it is answered, for the CapabilityStatement's readers.
    pub note: &'static str,
    /// Where a resource has its values.
    pub values: Values<R>,
    /// The types that a reference can refer to.
    pub targets: &'static [&'static str],
    /// The type whose parameters may follow behind a dot (R4 search#chaining).
    pub chain: Option<ResourceType>,
    /// Whether `_sort` may name it.
    pub sorts: bool,
    /// Whether its tokens are identifiers, which have types.
    pub(super) identifies: bool,
    /// Whether its strings are compared by their sound.
    pub(super) sounds: bool,
    /// What a token must be besides a token.
    pub(super) check: Option<Check>,
}

impl<R: Searched> std::fmt::Debug for Parameter<R> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Parameter").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<R: Searched> Parameter<R> {
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
            chain: None,
            sorts: false,
            identifies: false,
            sounds: false,
            check: None,
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

    pub(super) const fn identifying(self) -> Self {
        Self { identifies: true, ..self }
    }

    pub(super) const fn sounding(self) -> Self {
        Self { sounds: true, ..self }
    }

    pub(super) const fn sorting(self) -> Self {
        Self { sorts: true, ..self }
    }

    pub(super) const fn chained(self, target: ResourceType) -> Self {
        Self { chain: Some(target), ..self }
    }

    pub(super) const fn checked(self, check: Check) -> Self {
        Self { check: Some(check), ..self }
    }

    /// What may follow the name, besides a chain.
    fn modifiers(&self) -> Vec<&'static str> {
        let mut modifiers = match self.kind {
            ParameterType::Date => Vec::new(),
            ParameterType::Reference => [self.targets, &["identifier"]].concat(),
            ParameterType::String if self.sounds => Vec::new(),
            ParameterType::String => vec!["exact", "contains"],
            ParameterType::Token if self.identifies => vec!["not", "text", "of-type"],
            ParameterType::Token => vec!["not", "text"],
            ParameterType::Uri => vec!["below", "above"],
        };
        modifiers.push("missing");
        modifiers
    }

    /// The ways to write it, in words.
    pub fn forms_in_words(&self) -> String {
        let modified = self.modifiers().into_iter().map(|modifier| format!("{}:{modifier}", self.name));
        let chained = self.chain.map(|target| {
            format!("{0}.[a parameter of {target}], {0}:{target}.[a parameter of {target}]", self.name)
        });
        std::iter::once(self.name.to_owned()).chain(modified).chain(chained).collect::<Vec<_>>().join(", ")
    }

    /// How it is answered, and how it may be written.
    pub fn documentation(&self) -> String {
        format!("{} Written as {}.", self.note, self.forms_in_words())
    }
}

impl<R: Searched> Parameter<R> {
    /// The parameter of `R` that is called so.
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::all().find(|parameter| parameter.name == name)
    }

    /// Every parameter of `R`: those of all resources, and its own.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        R::COMMON.iter().chain(R::OWN)
    }
}
