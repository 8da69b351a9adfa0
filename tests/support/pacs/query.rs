//! Conditions on a query under which a scripted answer is sent.

/// A condition on one key of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryMatch {
    /// It is present, with any value.
    AnyValue,
    /// It has this raw value.
    Exactly(String),
    /// A value contains this text.
    Containing(String),
    /// It is present more than once.
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
