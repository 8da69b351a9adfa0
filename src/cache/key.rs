//! The key of a cached entry.

use std::fmt;

/// The key of an entry, unique among the entries of its type. Different lists of parts have different keys; otherwise the cache
/// could return the data of another patient.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CacheKey(Box<[u8]>);

impl CacheKey {
    /// Creates the key of `parts` in this order.
    pub fn from_parts<'a>(parts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut bytes = Vec::new();
        for part in parts {
            bytes.extend_from_slice(&part.len().to_le_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        Self(bytes.into())
    }

    /// Returns the size of the key in bytes.
    pub(super) fn size(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for CacheKey {
    /// Omits the parts, which may be values of a search.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CacheKey").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_different_parts_differ() {
        let lists: [&[&str]; 6] =
            [&[], &[""], &["ab"], &["a", "b"], &["", "ab"], &["a", "\u{1}\0\0\0\0\0\0\0b"]];
        for (index, list) in lists.iter().enumerate() {
            for (other_index, other) in lists.iter().enumerate() {
                let is_same =
                    CacheKey::from_parts(list.iter().copied()) == CacheKey::from_parts(other.iter().copied());
                assert_eq!(is_same, index == other_index, "{list:?} {other:?}");
            }
        }
    }
}
