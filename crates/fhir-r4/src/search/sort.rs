//! Parses `_sort` (R4 search#sort). This module does not compare resources.

use std::fmt;

use super::result::{IgnoredReason, Unread};
use super::{Parameter, Searched, shown_in_value};

/// The direction of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The lowest value first.
    Ascending,
    /// The highest value first.
    Descending,
}

/// A key of `_sort`: a sortable parameter of `R`, and a direction.
pub struct SortKey<R: Searched> {
    parameter: &'static Parameter<R>,
    direction: Direction,
}

impl<R: Searched> SortKey<R> {
    /// Returns the key by a sortable parameter, for constants: with any other parameter the constant does not compile.
    pub(super) const fn of(parameter: &'static Parameter<R>, direction: Direction) -> Self {
        assert!(parameter.is_sortable);
        Self { parameter, direction }
    }

    /// Parses a name, which `-` precedes for descending order.
    fn parse(text: &str) -> Option<Self> {
        let (name, direction) = match text.strip_prefix('-') {
            Some(name) => (name, Direction::Descending),
            None => (text, Direction::Ascending),
        };
        let parameter = Parameter::named(name).filter(|parameter| parameter.is_sortable)?;
        Some(Self { parameter, direction })
    }

    /// Parses the keys of a value, and reports those that are not supported. A repeated parameter is omitted, because it cannot
    /// change the order.
    pub(super) fn parse_all(value: &str) -> Result<(Vec<Self>, Option<IgnoredReason>), Unread> {
        let mut keys: Vec<Self> = Vec::new();
        let mut ignored: Vec<String> = Vec::new();
        for name in value.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match Self::parse(name) {
                Some(key) if keys.iter().any(|existing| existing.parameter.key == key.parameter.key) => {}
                Some(key) => keys.push(key),
                None => ignored.push(shown_in_value(name.strip_prefix('-').unwrap_or(name))),
            }
        }
        ignored.dedup();
        let reason = unsupported_keys::<R>(&ignored.join(", "));
        if keys.is_empty() {
            return Err(Unread::Ignored(reason));
        }
        Ok((keys, (!ignored.is_empty()).then_some(reason)))
    }

    /// Returns the keys as a value of `_sort`.
    pub fn join(keys: &[Self]) -> String {
        keys.iter().map(Self::text).collect::<Vec<_>>().join(",")
    }

    fn text(&self) -> String {
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

impl<R: Searched> Clone for SortKey<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R: Searched> Copy for SortKey<R> {}

impl<R: Searched> fmt::Debug for SortKey<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { parameter, direction } = self;
        formatter.debug_struct("SortKey").field("parameter", parameter).field("direction", direction).finish()
    }
}

/// Returns the reason why the keys `names` of a `_sort` are ignored. `names` is empty if the value contains no name.
fn unsupported_keys<R: Searched>(names: &str) -> IgnoredReason {
    let supported = Parameter::<R>::sorting().map(|parameter| parameter.name).collect::<Vec<_>>().join(", ");
    let supported = format!("_sort supports {supported}; prefix a name with - for descending order");
    if names.is_empty() {
        return IgnoredReason { warning: format!("{supported}."), error: supported };
    }
    IgnoredReason {
        warning: format!("The results are not sorted by {names}. {supported}."),
        error: format!("sorting by {names} is not supported; {supported}"),
    }
}
