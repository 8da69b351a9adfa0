//! Conditions on the query of a request, which select a scripted answer.

/// A condition on one key of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryMatch {
    /// The key is present with any value.
    AnyValue,
    /// The key has this raw value.
    Exactly(String),
    /// A value of the key contains this text.
    Containing(String),
    /// The key is present more than once.
    Repeated,
}

impl QueryMatch {
    /// Whether `key` meets the condition in the raw `query`.
    pub(super) fn fits(&self, query: &str, key: &str) -> bool {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let mut values = pairs.filter(|(name, _)| *name == key).map(|(_, value)| value);
        match self {
            Self::AnyValue => values.next().is_some(),
            Self::Exactly(expected) => values.any(|value| value == expected),
            Self::Containing(part) => values.any(|value| value.contains(part.as_str())),
            Self::Repeated => values.count() > 1,
        }
    }
}
