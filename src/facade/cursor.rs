//! Where the next page of a search begins: behind the last match of this one.
//!
//! A cursor is opaque to clients and holds all that is needed to go on, so any gateway in front of the same archives can
//! continue a search that another began. It names the last match by its id and by its place in the order, so that a
//! search goes on in the right place when that match has gone in the meantime.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The version of the form below; a cursor of another version is refused.
const VERSION: &str = "1";

/// The place between two matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The id of the last match before it.
    pub(super) after: String,
    /// How many matches stand before it.
    pub(super) passed: usize,
}

impl Cursor {
    /// As it stands in a next link.
    pub(super) fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(format!("{VERSION} {} {}", self.passed, self.after))
    }

    /// Reads what [`encode`](Self::encode) wrote; `None` for everything else.
    pub(super) fn decode(text: &str) -> Option<Self> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let mut parts = text.splitn(3, ' ');
        if parts.next() != Some(VERSION) {
            return None;
        }
        let passed = parts.next()?.parse().ok()?;
        let after = parts.next()?;
        (!after.is_empty() && after.len() <= 64).then(|| Self { after: after.to_owned(), passed })
    }

    /// Where to go on in the list of all matches' ids.
    pub(super) fn position<'a>(&self, mut ids: impl ExactSizeIterator<Item = &'a str>) -> usize {
        let length = ids.len();
        ids.position(|id| id == self.after).map_or(self.passed.min(length), |last| last + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_search_goes_on_behind_the_last_match_wherever_it_stands_now() {
        let cursor = Cursor { after: "b".to_owned(), passed: 2 };
        assert_eq!(cursor.position(["a", "b", "c"].into_iter()), 2);
        assert_eq!(cursor.position(["new", "a", "b", "c"].into_iter()), 3);
        assert_eq!(cursor.position(["a", "c", "d"].into_iter()), 2);
        assert_eq!(cursor.position([].into_iter()), 0);
    }

    proptest! {
        #[test]
        fn a_cursor_reads_back_what_was_written(after in "[A-Za-z0-9.-]{1,64}", passed in 0usize..1_000_000) {
            let cursor = Cursor { after, passed };
            prop_assert_eq!(Cursor::decode(&cursor.encode()), Some(cursor));
        }

        #[test]
        fn whatever_else_comes_is_refused(text in "\\PC{0,40}") {
            if let Some(cursor) = Cursor::decode(&text) {
                prop_assert_eq!(cursor.encode(), text);
            }
        }
    }
}
