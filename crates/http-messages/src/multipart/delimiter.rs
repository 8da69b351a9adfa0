//! Finds delimiters of multipart bodies (RFC 2046 5.1.1) and parses what follows them. This module does not know about headers or
//! content of parts.

use memchr::memmem;

use super::MAX_BOUNDARY;

/// The number of false candidates after which the search continues with an algorithm that takes linear time.
const MAX_CANDIDATES: usize = 64;

/// A delimiter, `--boundary`, with the tables for the search.
///
/// The search is fast for pixel data: a delimiter is about 40 bytes long, so usually only one byte in 40 must be compared (R. N.
/// Horspool, Practical fast searching in strings, 1980). After many false candidates, the search of memchr continues, which
/// takes linear time for any input.
#[derive(Debug)]
pub(super) struct Delimiter {
    text: Vec<u8>,
    /// For each byte, whether it occurs in the text.
    occurs: [bool; 256],
    /// For each byte, the distance from its last position in the text to the end of the text.
    distance: [usize; 256],
    /// The distance from the previous position of the text's last byte to the end of the text.
    last_distance: usize,
}

impl Delimiter {
    /// Returns the delimiter for `boundary`.
    pub(super) fn new(boundary: &str) -> Self {
        let text = format!("--{boundary}").into_bytes();
        let last = text.len() - 1;
        let (mut occurs, mut distance) = ([false; 256], [0; 256]);
        for (position, byte) in text.iter().enumerate() {
            occurs[usize::from(*byte)] = true;
            distance[usize::from(*byte)] = last - position;
        }
        let before = text[..last].iter().rposition(|byte| *byte == text[last]);
        let last_distance = before.map_or(text.len(), |position| last - position);
        Self { text, occurs, distance, last_distance }
    }

    /// Returns the bytes of the delimiter.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Returns the offset of the first occurrence of the delimiter in `bytes`.
    pub(super) fn find(&self, bytes: &[u8]) -> Option<usize> {
        let length = self.text.len();
        let mut end = length - 1;
        let mut candidates = 0;
        while let Some(&byte) = bytes.get(end) {
            // The next position does not depend on the value of this byte, so the processor can prefetch.
            if !self.occurs[usize::from(byte)] {
                end += length;
                continue;
            }
            let distance = self.distance[usize::from(byte)];
            if distance > 0 {
                end += distance;
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
            end += self.last_distance;
        }
        None
    }

    /// Returns the number of bytes at the end of `bytes` that could be the start of the delimiter.
    pub(super) fn partial_len(&self, bytes: &[u8]) -> usize {
        let longest = bytes.len().min(self.text.len() - 1);
        (1..=longest).rev().find(|length| bytes.ends_with(&self.text[..*length])).unwrap_or(0)
    }
}

/// The meaning of the bytes after `--boundary` (RFC 2046 5.1.1).
pub(super) enum Continuation {
    /// The end of the line, and then headers. Contains the number of bytes up to the headers.
    Headers(usize),
    /// Two dashes: it is the last delimiter.
    Last,
    /// Other bytes: it is not a delimiter.
    Data,
    /// More bytes are needed.
    Incomplete,
}

impl Continuation {
    /// Parses `rest`, the bytes after `--boundary`.
    pub(super) fn parse(rest: &[u8]) -> Self {
        let whitespace = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        match (rest.get(whitespace), rest.get(whitespace + 1)) {
            _ if whitespace > MAX_BOUNDARY => Self::Data,
            (Some(b'-'), Some(b'-')) if whitespace == 0 => match rest.get(2) {
                Some(b'\r' | b'\n' | b' ' | b'\t') => Self::Last,
                Some(_) => Self::Data,
                // At the end of the body, this is the last delimiter.
                None => Self::Incomplete,
            },
            (Some(b'\r'), Some(b'\n')) => Self::Headers(whitespace + 2),
            (Some(b'\n'), _) => Self::Headers(whitespace + 1),
            (None | Some(b'\r' | b'-'), None) => Self::Incomplete,
            _ => Self::Data,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn many_false_candidates_switch_to_a_linear_search() {
        let delimiter = Delimiter::new(&"-".repeat(70));
        let mut bytes = "x".repeat(10) + &"-".repeat(71) + "x";
        bytes = bytes.repeat(200);
        assert_eq!(delimiter.find(bytes.as_bytes()), None);
        bytes.push_str(&"-".repeat(72));
        assert_eq!(delimiter.find(bytes.as_bytes()), Some(bytes.len() - 72));
    }

    proptest! {
        #[test]
        fn delimiter_is_found_where_memmem_finds_it(
            boundary in "[abc-]{1,6}", bytes in prop::collection::vec(prop::sample::select(b"abc-x".to_vec()), 0..400),
        ) {
            let delimiter = Delimiter::new(&boundary);
            prop_assert_eq!(delimiter.find(&bytes), memmem::find(&bytes, delimiter.text()));
        }
    }
}
