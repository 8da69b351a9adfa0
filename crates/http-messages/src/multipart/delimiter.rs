//! Delimiters of multipart bodies (RFC 2046 5.1.1): where one is, and what follows it.

use memchr::memmem;

use super::MAX_BOUNDARY;

/// After so many candidates that were no delimiter the search is left to one that never looks at a byte twice.
const MAX_CANDIDATES: usize = 64;

/// `--boundary`, and how to find it.
///
/// Pixel data are looked through at the speed of memory: a delimiter is some forty bytes long, so that one byte in forty
/// need be looked at while none of them occurs in it (R. N. Horspool, Practical fast searching in strings, 1980). Where that
/// finds one candidate after the other, memchr's search goes on, whose time is linear whatever the bytes.
#[derive(Debug)]
pub(super) struct Delimiter {
    text: Vec<u8>,
    occurs: [bool; 256],
    /// How far the end of a candidate lies behind the last place of a byte in the text.
    behind: [usize; 256],
    /// The same for the last byte of the text, by its place before that.
    behind_last: usize,
}

impl Delimiter {
    /// The delimiter that goes with `boundary`.
    pub(super) fn of(boundary: &str) -> Self {
        let text = format!("--{boundary}").into_bytes();
        let last = text.len() - 1;
        let (mut occurs, mut behind) = ([false; 256], [0; 256]);
        for (place, byte) in text.iter().enumerate() {
            occurs[usize::from(*byte)] = true;
            behind[usize::from(*byte)] = last - place;
        }
        let before = text[..last].iter().rposition(|byte| *byte == text[last]);
        let behind_last = before.map_or(text.len(), |place| last - place);
        Self { text, occurs, behind, behind_last }
    }

    /// Its bytes.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Where it stands first in `bytes`.
    pub(super) fn find(&self, bytes: &[u8]) -> Option<usize> {
        let length = self.text.len();
        let mut end = length - 1;
        let mut candidates = 0;
        while let Some(&byte) = bytes.get(end) {
            // The next place does not depend on what stands here, so that the processor reads ahead.
            if !self.occurs[usize::from(byte)] {
                end += length;
                continue;
            }
            let behind = self.behind[usize::from(byte)];
            if behind > 0 {
                end += behind;
                continue;
            }
            let start = end + 1 - length;
            if bytes[start..=end] == self.text {
                return Some(start);
            }
            candidates += 1;
            if candidates == MAX_CANDIDATES {
                return memmem::find(&bytes[start..], &self.text).map(|found| start + found);
            }
            end += self.behind_last;
        }
        None
    }

    /// How many bytes at the end of `bytes` could be its beginning.
    pub(super) fn begun(&self, bytes: &[u8]) -> usize {
        let longest = bytes.len().min(self.text.len() - 1);
        (1..=longest).rev().find(|length| bytes.ends_with(&self.text[..*length])).unwrap_or(0)
    }
}

/// What follows `--boundary`.
pub(super) enum Follows {
    /// The line ends: headers follow after so many bytes.
    Headers(usize),
    /// Two more dashes, and the line ends: it was the last delimiter.
    Last,
    /// Something else: it was none.
    Data,
    /// Nothing yet.
    CutOff,
}

impl Follows {
    /// What `rest`, the bytes behind a delimiter, make of it.
    pub(super) fn read(rest: &[u8]) -> Self {
        let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        match (rest.get(blanks), rest.get(blanks + 1)) {
            _ if blanks > MAX_BOUNDARY => Self::Data,
            (Some(b'-'), Some(b'-')) if blanks == 0 => match rest.get(2) {
                Some(b'\r' | b'\n' | b' ' | b'\t') => Self::Last,
                Some(_) => Self::Data,
                // At the end of the body it is the last one.
                None => Self::CutOff,
            },
            (Some(b'\r'), Some(b'\n')) => Self::Headers(blanks + 2),
            (Some(b'\n'), _) => Self::Headers(blanks + 1),
            (None | Some(b'\r' | b'-'), None) => Self::CutOff,
            _ => Self::Data,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn candidates_without_end_are_left_to_a_search_that_is_linear() {
        let delimiter = Delimiter::of(&"-".repeat(70));
        let mut bytes = "x".repeat(10) + &"-".repeat(71) + "x";
        bytes = bytes.repeat(200);
        assert_eq!(delimiter.find(bytes.as_bytes()), None);
        bytes.push_str(&"-".repeat(72));
        assert_eq!(delimiter.find(bytes.as_bytes()), Some(bytes.len() - 72));
    }

    proptest! {
        #[test]
        fn it_is_found_where_a_plain_search_finds_it(
            boundary in "[abc-]{1,6}", bytes in prop::collection::vec(prop::sample::select(b"abc-x".to_vec()), 0..400),
        ) {
            let delimiter = Delimiter::of(&boundary);
            prop_assert_eq!(delimiter.find(&bytes), memmem::find(&bytes, delimiter.text()));
        }
    }
}
