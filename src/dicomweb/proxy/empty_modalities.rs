//! Removes an empty Modalities in Study (0008,0061) from rows in JSON: PS3.18 F.2.5 allows an attribute without a value, but a
//! viewer that reads the modalities of such a row shows no study list at all.
//!
//! Everything else is unchanged, byte for byte, for every chunking. An element whose end has not arrived is held back, at most
//! 4 KiB; a longer one is not empty.

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// The key of the element.
const KEY: &[u8] = b"\"00080061\"";

/// Maximum bytes that are held back.
const MAX_HELD: usize = 4 * 1024;

/// The element as DICOM JSON (PS3.18 F.2.2).
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ModalitiesElement {
    Readable {
        #[serde(rename = "Value", default)]
        values: Vec<Option<String>>,
    },
    Other(IgnoredAny),
}

impl ModalitiesElement {
    fn is_empty(&self) -> bool {
        match self {
            Self::Readable { values } => values.iter().flatten().all(|value| value.trim().is_empty()),
            Self::Other(_) => false,
        }
    }
}

/// What to do at a key.
#[derive(Debug, PartialEq, Eq)]
enum Action {
    /// Nothing up to this position.
    Continue(usize),
    /// Remove the bytes from the first to the second position.
    Remove(usize, usize),
    /// Bytes are missing: hold back everything from this position.
    HoldFrom(usize),
}

/// The state between two chunks of a JSON text.
#[derive(Debug)]
pub(crate) struct EmptyModalities {
    finder: Finder<'static>,
    held: Vec<u8>,
    /// The last byte of the output that is not white space.
    last: Option<u8>,
}

impl Default for EmptyModalities {
    fn default() -> Self {
        Self { finder: Finder::new(KEY), held: Vec::new(), last: None }
    }
}

impl EmptyModalities {
    /// The next chunk without empty elements. A chunk without them is returned without a copy.
    pub(crate) fn push(&mut self, chunk: Bytes) -> Bytes {
        let text = if self.held.is_empty() {
            chunk
        } else {
            self.held.extend_from_slice(&chunk);
            std::mem::take(&mut self.held).into()
        };
        let (mut output, mut copied, mut position) = (BytesMut::new(), 0, 0);
        let end = loop {
            let rest = text.get(position..).unwrap_or_default();
            let Some(at) = self.finder.find(rest).map(|at| at + position) else {
                break beginning_of_key(&text, position);
            };
            let unsent = text.get(copied..at).unwrap_or_default();
            let previous = if unsent.trim_ascii().is_empty() { self.last } else { None };
            match action_at(&text, at, copied, previous) {
                Action::Continue(next) => position = next,
                Action::Remove(start, end) => {
                    let unchanged = text.get(copied..start).unwrap_or_default();
                    self.last = unchanged.trim_ascii_end().last().copied().or(self.last);
                    output.extend_from_slice(unchanged);
                    (copied, position) = (end, end);
                }
                Action::HoldFrom(start) if text.len() - start <= MAX_HELD => break start,
                Action::HoldFrom(_) => position = at + KEY.len(),
            }
        };
        let unchanged = text.slice(copied..end);
        self.held.extend_from_slice(text.get(end..).unwrap_or_default());
        self.last = unchanged.trim_ascii_end().last().copied().or(self.last);
        if output.is_empty() {
            return unchanged;
        }
        output.extend_from_slice(&unchanged);
        output.freeze()
    }

    /// What was held back, at the end of the text.
    pub(crate) fn finish(&mut self) -> Bytes {
        std::mem::take(&mut self.held).into()
    }
}

/// What to do at the key that begins at `at`. The text before `copied` is removed or sent; `previous` is the last byte before the
/// key if only white space is between `copied` and the key.
fn action_at(text: &[u8], at: usize, copied: usize, previous: Option<u8>) -> Action {
    let after = at + KEY.len();
    let rest = |position: usize| text.get(position..).unwrap_or_default();
    let before = text.get(copied..at).unwrap_or_default();
    let comma = before.trim_ascii_end().strip_suffix(b",").map(|before| copied + before.len());
    let is_first = previous == Some(b'{') || before.trim_ascii_end().ends_with(b"{");
    // After a backslash, the quote is part of a text; after other bytes, it is no key.
    if before.ends_with(b"\\") || !is_first && comma.is_none() {
        return Action::Continue(after);
    }
    let start = comma.unwrap_or(at);
    let colon = after + blanks(rest(after));
    match text.get(colon) {
        Some(b':') => {}
        Some(_) => return Action::Continue(after),
        None => return Action::HoldFrom(start),
    }
    let mut elements = serde_json::Deserializer::from_slice(rest(colon + 1)).into_iter::<ModalitiesElement>();
    let is_empty = match elements.next() {
        Some(Ok(element)) => element.is_empty(),
        Some(Err(error)) if !error.is_eof() => false,
        Some(Err(_)) | None => return Action::HoldFrom(start),
    };
    let end = colon + 1 + elements.byte_offset();
    let next = end + blanks(rest(end));
    match (text.get(next), comma) {
        _ if !is_empty => Action::Continue(after),
        (_, Some(comma)) => Action::Remove(comma, end),
        (Some(b','), None) => Action::Remove(at, next + 1),
        (Some(_), None) => Action::Remove(at, end),
        (None, None) => Action::HoldFrom(start),
    }
}

/// The position in `text` from which it may be the beginning of a key, with the comma before it; at least `position`.
fn beginning_of_key(text: &[u8], position: usize) -> usize {
    let rest = text.get(position..).unwrap_or_default();
    let longest = rest.len().min(KEY.len() - 1);
    let partial =
        (1..=longest).rev().find(|length| KEY.get(..*length).is_some_and(|key| rest.ends_with(key)));
    let start = rest.len() - partial.unwrap_or(0);
    let before = rest.get(..start).unwrap_or_default().trim_ascii_end();
    match before.strip_suffix(b",") {
        Some(before) if rest.len() - before.len() <= MAX_HELD => position + before.len(),
        _ => position + start,
    }
}

fn blanks(text: &[u8]) -> usize {
    text.len() - text.trim_ascii_start().len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn removed(text: &str, size: usize) -> String {
        let mut filter = EmptyModalities::default();
        let mut output = Vec::new();
        for chunk in text.as_bytes().chunks(size) {
            output.extend_from_slice(&filter.push(Bytes::copy_from_slice(chunk)));
            assert!(filter.held.len() <= MAX_HELD + size);
        }
        output.extend_from_slice(&filter.finish());
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn an_empty_element_is_removed_wherever_it_is_for_every_chunking() {
        for (text, expected) in [
            (r#"[{"00080061":{"vr":"CS"}}]"#, "[{}]"),
            (r#"[{ "00080061" : { "vr" : "CS", "Value" : [ ] } }]"#, "[{  }]"),
            (r#"[{"a":1,"00080061":{"vr":"CS","Value":[null]}}]"#, r#"[{"a":1}]"#),
            ("[{\"a\":1 ,\n \"00080061\":{\"Value\":[\"\",\" \"]}\n}]", "[{\"a\":1 \n}]"),
            (r#"[{"00080061":{"vr":"CS"},"b":2}]"#, r#"[{"b":2}]"#),
            (r#"[{"a":1,"00080061":{},"b":2},{"00080061":{"vr":"CS"}}]"#, r#"[{"a":1,"b":2},{}]"#),
        ] {
            for size in 1..=text.len() {
                assert_eq!(removed(text, size), expected, "in chunks of {size}");
            }
        }
    }

    #[test]
    fn everything_else_is_unchanged_for_every_chunking() {
        let long = format!(r#"[{{"00080061":{{"vr":"CS","Value":["{}"]}}}}]"#, "C".repeat(2 * MAX_HELD));
        for text in [
            "",
            r#"[{"00080061":{"vr":"CS","Value":["CT"]}}]"#,
            r#"[{"00080061":{"vr":"CS","Value":[null,"CT"]}}]"#,
            r#"[{"00080060":{"vr":"CS"},"00201206":{"vr":"IS"}}]"#,
            r#"[{"00104000":{"vr":"LT","Value":["\"00080061\":{}"]}}]"#,
            r#"[{"00104000":{"vr":"LT","Value":["00080061","00080061"]}}]"#,
            r#"[{"00080061":[]}]"#,
            r#"[{"00080061":{"Value":[1]}}]"#,
            r#"[{"00080061":{"#,
            r#"[{"00080061""#,
            &long,
        ] {
            for size in [1, 2, 3, 7, 64, 100_000] {
                assert_eq!(removed(text, size), text, "in chunks of {size}");
            }
        }
    }

    proptest! {
        #[test]
        fn the_result_is_valid_json_and_does_not_depend_on_the_chunks(
            members in prop::collection::vec(
                prop::sample::select(vec![
                    r#""00080061":{"vr":"CS"}"#,
                    r#""00080061" : {"vr":"CS","Value":["CT"]}"#,
                    r#""00080061":{"vr":"CS","Value":[]} "#,
                    r#" "0020000D":{"vr":"UI","Value":["1.2"]}"#,
                    r#""x":"\"00080061\":{}""#,
                ]),
                0..6,
            ),
            size in 1_usize..60,
        ) {
            let text = format!("[{{{0}}},{{{0}}}]", members.join(","));
            let whole = removed(&text, text.len());
            prop_assert_eq!(&removed(&text, size), &whole);
            let kept: Vec<_> = members
                .iter()
                .filter(|member| !member.starts_with("\"00080061\"") || member.contains("CT"))
                .copied()
                .collect();
            let expected: serde_json::Value =
                serde_json::from_str(&format!("[{{{0}}},{{{0}}}]", kept.join(","))).unwrap();
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&whole).unwrap(), expected);
        }
    }
}
