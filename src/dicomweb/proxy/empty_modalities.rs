//! Removes an empty Modalities in Study (0008,0061) from rows in JSON. PS3.18 F.2.5 allows an attribute without a value, but some
//! viewers fail to read such a row, and display no study list.
//!
//! All other bytes are unchanged, and the result does not depend on the chunks. An incomplete element of at most 4 KiB is retained
//! until the next chunk; a longer element is not empty.

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// The key of the element.
const KEY: &[u8] = b"\"00080061\"";

/// Maximum number of bytes that are retained.
const MAX_RETAINED_LEN: usize = 4 * 1024;

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

/// The action at a key.
#[derive(Debug, PartialEq, Eq)]
enum Action {
    /// Search for the next key from this position.
    ContinueAt(usize),
    /// Remove the bytes from the first to the second position.
    Remove(usize, usize),
    /// The element is incomplete: retain the bytes from this position.
    RetainFrom(usize),
}

/// The state between two chunks of a JSON text.
#[derive(Debug)]
pub(crate) struct EmptyModalitiesFilter {
    finder: Finder<'static>,
    /// The incomplete element at the end of the previous chunks.
    retained: Vec<u8>,
    /// The last byte of the output that is not white space.
    last_byte: Option<u8>,
}

impl Default for EmptyModalitiesFilter {
    fn default() -> Self {
        Self { finder: Finder::new(KEY), retained: Vec::new(), last_byte: None }
    }
}

impl EmptyModalitiesFilter {
    /// Returns the next chunk without empty elements. A chunk that contains none is not copied.
    pub(crate) fn push(&mut self, chunk: Bytes) -> Bytes {
        let text = if self.retained.is_empty() {
            chunk
        } else {
            self.retained.extend_from_slice(&chunk);
            std::mem::take(&mut self.retained).into()
        };
        let (mut output, mut copied, mut position) = (BytesMut::new(), 0, 0);
        let end = loop {
            let rest = text.get(position..).unwrap_or_default();
            let Some(key) = self.finder.find(rest).map(|offset| offset + position) else {
                break partial_key_start(&text, position);
            };
            let before_key = text.get(copied..key).unwrap_or_default();
            let previous_byte = if before_key.trim_ascii().is_empty() { self.last_byte } else { None };
            match action_at(&text, key, copied, previous_byte) {
                Action::ContinueAt(next) => position = next,
                Action::Remove(start, end) => {
                    let unchanged = text.get(copied..start).unwrap_or_default();
                    self.last_byte = unchanged.trim_ascii_end().last().copied().or(self.last_byte);
                    output.extend_from_slice(unchanged);
                    (copied, position) = (end, end);
                }
                Action::RetainFrom(start) if text.len() - start <= MAX_RETAINED_LEN => break start,
                Action::RetainFrom(_) => position = key + KEY.len(),
            }
        };
        let unchanged = text.slice(copied..end);
        self.retained.extend_from_slice(text.get(end..).unwrap_or_default());
        self.last_byte = unchanged.trim_ascii_end().last().copied().or(self.last_byte);
        if output.is_empty() {
            return unchanged;
        }
        output.extend_from_slice(&unchanged);
        output.freeze()
    }

    /// Returns the retained bytes at the end of the text.
    pub(crate) fn finish(&mut self) -> Bytes {
        std::mem::take(&mut self.retained).into()
    }
}

/// Determines the action at the key that starts at the position `key`. The text before the position `copied` is removed or copied.
/// `previous_byte` is the last byte before the key that is not white space, if it is before `copied`.
fn action_at(text: &[u8], key: usize, copied: usize, previous_byte: Option<u8>) -> Action {
    let after = key + KEY.len();
    let rest = |position: usize| text.get(position..).unwrap_or_default();
    let before = text.get(copied..key).unwrap_or_default();
    let comma = before.trim_ascii_end().strip_suffix(b",").map(|before| copied + before.len());
    let is_first_member = previous_byte == Some(b'{') || before.trim_ascii_end().ends_with(b"{");
    // After a backslash, the quotation mark is part of a string. A key follows a comma or an opening bracket.
    if before.ends_with(b"\\") || !is_first_member && comma.is_none() {
        return Action::ContinueAt(after);
    }
    let start = comma.unwrap_or(key);
    let colon = after + white_space_len(rest(after));
    match text.get(colon) {
        Some(b':') => {}
        Some(_) => return Action::ContinueAt(after),
        None => return Action::RetainFrom(start),
    }
    let mut elements = serde_json::Deserializer::from_slice(rest(colon + 1)).into_iter::<ModalitiesElement>();
    let is_empty = match elements.next() {
        Some(Ok(element)) => element.is_empty(),
        Some(Err(error)) if !error.is_eof() => false,
        Some(Err(_)) | None => return Action::RetainFrom(start),
    };
    let end = colon + 1 + elements.byte_offset();
    let next = end + white_space_len(rest(end));
    match (text.get(next), comma) {
        _ if !is_empty => Action::ContinueAt(after),
        (_, Some(comma)) => Action::Remove(comma, end),
        (Some(b','), None) => Action::Remove(key, next + 1),
        (Some(_), None) => Action::Remove(key, end),
        (None, None) => Action::RetainFrom(start),
    }
}

/// Returns the start of the suffix of `text` that may be a comma and a part of the key, which is not before `position`. The suffix
/// may be empty.
fn partial_key_start(text: &[u8], position: usize) -> usize {
    let rest = text.get(position..).unwrap_or_default();
    let max_len = rest.len().min(KEY.len() - 1);
    let partial_len =
        (1..=max_len).rev().find(|length| KEY.get(..*length).is_some_and(|key| rest.ends_with(key)));
    let start = rest.len() - partial_len.unwrap_or(0);
    let before = rest.get(..start).unwrap_or_default().trim_ascii_end();
    match before.strip_suffix(b",") {
        Some(before) if rest.len() - before.len() <= MAX_RETAINED_LEN => position + before.len(),
        _ => position + start,
    }
}

/// Returns the number of white space bytes at the start of `text`.
fn white_space_len(text: &[u8]) -> usize {
    text.len() - text.trim_ascii_start().len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filter_in_chunks(text: &str, size: usize) -> String {
        let mut filter = EmptyModalitiesFilter::default();
        let mut output = Vec::new();
        for chunk in text.as_bytes().chunks(size) {
            output.extend_from_slice(&filter.push(Bytes::copy_from_slice(chunk)));
            assert!(filter.retained.len() <= MAX_RETAINED_LEN + size);
        }
        output.extend_from_slice(&filter.finish());
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn an_empty_element_is_removed_at_any_position_for_all_chunk_sizes() {
        for (text, expected) in [
            (r#"[{"00080061":{"vr":"CS"}}]"#, "[{}]"),
            (r#"[{ "00080061" : { "vr" : "CS", "Value" : [ ] } }]"#, "[{  }]"),
            (r#"[{"a":1,"00080061":{"vr":"CS","Value":[null]}}]"#, r#"[{"a":1}]"#),
            ("[{\"a\":1 ,\n \"00080061\":{\"Value\":[\"\",\" \"]}\n}]", "[{\"a\":1 \n}]"),
            (r#"[{"00080061":{"vr":"CS"},"b":2}]"#, r#"[{"b":2}]"#),
            (r#"[{"a":1,"00080061":{},"b":2},{"00080061":{"vr":"CS"}}]"#, r#"[{"a":1,"b":2},{}]"#),
        ] {
            for size in 1..=text.len() {
                assert_eq!(filter_in_chunks(text, size), expected, "in chunks of {size}");
            }
        }
    }

    #[test]
    fn other_bytes_are_unchanged_for_all_chunk_sizes() {
        let long =
            format!(r#"[{{"00080061":{{"vr":"CS","Value":["{}"]}}}}]"#, "C".repeat(2 * MAX_RETAINED_LEN));
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
                assert_eq!(filter_in_chunks(text, size), text, "in chunks of {size}");
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
            let whole = filter_in_chunks(&text, text.len());
            prop_assert_eq!(&filter_in_chunks(&text, size), &whole);
            let remaining: Vec<_> = members
                .iter()
                .filter(|member| !member.starts_with("\"00080061\"") || member.contains("CT"))
                .copied()
                .collect();
            let expected: serde_json::Value =
                serde_json::from_str(&format!("[{{{0}}},{{{0}}}]", remaining.join(","))).unwrap();
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&whole).unwrap(), expected);
        }
    }
}
