//! Parses `_sort` (R4 search#sort). This module does not compare resources.

use std::fmt;

use super::result::{IgnoredReason, ResultParameterError};
use super::{Parameter, Searchable};

/// The direction of a sort key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The lowest value first.
    Ascending,
    /// The highest value first.
    Descending,
}

/// A key of `_sort`: a sortable parameter of `R`, and a direction.
pub struct SortKey<R: Searchable> {
    parameter: &'static Parameter<R>,
    direction: Direction,
}

impl<R: Searchable> SortKey<R> {
    /// Creates a key in a constant. A constant whose parameter is not sortable does not compile.
    pub(super) const fn new(parameter: &'static Parameter<R>, direction: Direction) -> Self {
        assert!(parameter.is_sortable);
        Self { parameter, direction }
    }

    /// Parses the name of a parameter, with the prefix `-` for descending order.
    fn parse(text: &str) -> Option<Self> {
        let (name, direction) = match text.strip_prefix('-') {
            Some(name) => (name, Direction::Descending),
            None => (text, Direction::Ascending),
        };
        let parameter = Parameter::with_name(name).filter(|parameter| parameter.is_sortable)?;
        Some(Self { parameter, direction })
    }

    /// Parses the keys of a value, and reports those that are not supported. A repeated key is omitted, because it cannot
    /// change the order; the opposite direction can, if a resource has several values.
    pub(super) fn parse_all(value: &str) -> Result<(Vec<Self>, Option<IgnoredReason>), ResultParameterError> {
        let mut keys: Vec<Self> = Vec::new();
        let mut unsupported: Vec<&str> = Vec::new();
        for name in value.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match Self::parse(name) {
                Some(key) if keys.iter().any(|existing| existing.is_same(&key)) => {}
                Some(key) => keys.push(key),
                None => {
                    // A text that is not the name of a parameter may be PHI.
                    let parameter = Parameter::<R>::with_name(name.strip_prefix('-').unwrap_or(name));
                    unsupported.push(parameter.map_or("an unknown name", |parameter| parameter.name));
                }
            }
        }
        unsupported.dedup();
        let reason = reason_for_unsupported_keys::<R>(&unsupported.join(", "));
        if keys.is_empty() {
            return Err(ResultParameterError::Ignored(reason));
        }
        Ok((keys, (!unsupported.is_empty()).then_some(reason)))
    }

    fn is_same(&self, other: &Self) -> bool {
        self.parameter.key == other.parameter.key && self.direction == other.direction
    }

    /// Returns the keys as a value of `_sort`.
    pub fn join(keys: &[Self]) -> String {
        keys.iter().map(|key| key.to_item()).collect::<Vec<_>>().join(",")
    }

    /// Returns the key as an item of a value of `_sort`.
    fn to_item(self) -> String {
        match self.direction {
            Direction::Ascending => self.parameter.name.to_owned(),
            Direction::Descending => format!("-{}", self.parameter.name),
        }
    }

    /// Returns the parameter by whose values resources are sorted.
    pub fn parameter(&self) -> &'static Parameter<R> {
        self.parameter
    }

    /// Returns the direction.
    pub fn direction(&self) -> Direction {
        self.direction
    }
}

impl<R: Searchable> Clone for SortKey<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R: Searchable> Copy for SortKey<R> {}

impl<R: Searchable> fmt::Debug for SortKey<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { parameter, direction } = self;
        formatter.debug_struct("SortKey").field("parameter", parameter).field("direction", direction).finish()
    }
}

/// Returns the reason why the keys `names` of `_sort` are ignored. `names` is empty if the value contains no name.
fn reason_for_unsupported_keys<R: Searchable>(names: &str) -> IgnoredReason {
    let supported =
        Parameter::<R>::sortable_parameters().map(|parameter| parameter.name).collect::<Vec<_>>().join(", ");
    let supported = format!("_sort supports {supported}; prefix a name with - for descending order");
    if names.is_empty() {
        return IgnoredReason { warning: format!("{supported}."), error: supported };
    }
    IgnoredReason {
        warning: format!("The results are not sorted by {names}. {supported}."),
        error: format!("sorting by {names} is not supported; {supported}"),
    }
}
