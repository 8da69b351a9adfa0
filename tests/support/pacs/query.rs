//! Conditions for the query of a request. They select a scripted response.

/// A condition for the values of one query parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryCondition {
    /// The parameter is present.
    Present,
    /// A raw value of the parameter equals this text.
    Equals(String),
    /// A raw value of the parameter contains this text.
    Contains(String),
    /// The parameter is present more than once.
    Repeated,
}

impl QueryCondition {
    /// Whether the parameter `key` of the raw `query` meets the condition.
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
