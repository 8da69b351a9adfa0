//! What a query has to hold for an answer to be its own.

/// How a key stands in a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// With any value.
    Somehow,
    /// With this value, raw.
    As(String),
    /// With this text in a value.
    StudyLocation(String),
    /// More than once.
    Repeatedly,
}

impl Given {
    /// Whether `key` stands so in the raw `query`.
    pub(super) fn fits(&self, query: &str, key: &str) -> bool {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let mut values = pairs.filter(|(name, _)| *name == key).map(|(_, value)| value);
        match self {
            Self::Somehow => values.next().is_some(),
            Self::As(expected) => values.any(|value| value == expected),
            Self::StudyLocation(part) => values.any(|value| value.contains(part.as_str())),
            Self::Repeatedly => values.count() > 1,
        }
    }
}
