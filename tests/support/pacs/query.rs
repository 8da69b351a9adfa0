//! Conditions on the query of a request, which select a scripted answer.

/// A condition on one key of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryCondition {
    /// The key is present with any value.
    Present,
    /// The key has this raw value.
    Equals(String),
    /// A value of the key contains this text.
    Contains(String),
    /// The key is present more than once.
    Repeated,
}

impl QueryCondition {
    /// Whether `key` meets the condition in the raw `query`.
    pub(super) fn is_met_by(&self, query: &str, key: &str) -> bool {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let mut values = pairs.filter(|(name, _)| *name == key).map(|(_, value)| value);
        match self {
            Self::Present => values.next().is_some(),
            Self::Equals(expected) => values.any(|value| value == expected),
            Self::Contains(part) => values.any(|value| value.contains(part.as_str())),
            Self::Repeated => values.count() > 1,
        }
    }
}
