//! Reads JSON with values that the grammar of RFC 8259 permits and `serde_json` rejects: escapes of surrogates without their other half
//! (8.2), and numbers that exceed a double (6). Only these values are lost: such a surrogate is read as U+FFFD, like bytes that are not
//! UTF-8, and such a number as the string of its characters. Everything else is an error as it is for `serde_json`.

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::complete::plain_len;

/// The escape that replaces a surrogate.
const REPLACEMENT: &str = "\\ufffd";

/// Reads `text`, a JSON text.
///
/// ```
/// use dicom_model::{Attributes, json, tags};
/// let row: Attributes = json::parse(r#"{"00100020":{"vr":"LO","Value":["P1\ud800"]}}"#)?;
/// assert_eq!(row.text(tags::PATIENT_ID), Some("P1\u{fffd}"));
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn parse<T: DeserializeOwned>(text: &str) -> serde_json::Result<T> {
    parse_with(text, |text| serde_json::from_str(text))
}

/// Reads `text`, a JSON text in UTF-8, like [`parse`].
pub fn parse_bytes<T: DeserializeOwned>(text: &[u8]) -> serde_json::Result<T> {
    // A text in another encoding is an error.
    std::str::from_utf8(text).map_or_else(|_| serde_json::from_slice(text), parse)
}

/// Reads `text`, a JSON text, with `parse`.
pub(crate) fn parse_with<T>(
    text: &str,
    parse: impl Fn(&str) -> serde_json::Result<T>,
) -> serde_json::Result<T> {
    parse(text).or_else(|error| match replace_unreadable(text) {
        Some(replaced) => parse(&replaced),
        None => Err(error),
    })
}

/// Returns `text`, a JSON text, with its unreadable values replaced; `None` if it has none. A text that is not JSON does not become JSON.
pub fn replace_unreadable(text: &str) -> Option<String> {
    let (mut output, mut position) = (ReplacedText { text, replaced: String::new(), copied_len: 0 }, 0);
    while let Some(byte) = text.as_bytes().get(position) {
        position = match byte {
            b'"' => output.replace_surrogates(position + 1)?,
            b'-' | b'0'..=b'9' => output.replace_number(position)?,
            _ => position + 1,
        };
    }
    output.finish()
}

/// A text of which parts are replaced.
struct ReplacedText<'a> {
    text: &'a str,
    replaced: String,
    /// The length of the beginning of `text` that has been copied or replaced.
    copied_len: usize,
}

impl ReplacedText<'_> {
    /// Replaces surrogates without their other half in the string whose content begins at `position`. Returns the position after the
    /// string; `None` if it is malformed.
    fn replace_surrogates(&mut self, mut position: usize) -> Option<usize> {
        let text = self.text.as_bytes();
        loop {
            position += plain_len(text.get(position..)?);
            match text.get(position)? {
                b'"' => return Some(position + 1),
                b'\\' => {}
                _ => return None,
            }
            let end = position + REPLACEMENT.len();
            position = match code_unit(text, position) {
                Some(0xD800..0xDC00) if matches!(code_unit(text, end), Some(0xDC00..0xE000)) => {
                    end + REPLACEMENT.len()
                }
                Some(0xD800..0xE000) => self.replace(position, end, &[REPLACEMENT])?,
                Some(_) => end,
                None => position + 2,
            };
        }
    }

    /// Replaces the number at `position` if it exceeds a double. Returns the position after it.
    fn replace_number(&mut self, position: usize) -> Option<usize> {
        let rest = self.text.get(position..)?;
        let is_other = |character| !matches!(character, '0'..='9' | '+' | '-' | '.' | 'e' | 'E');
        let number = rest.get(..rest.find(is_other).unwrap_or(rest.len()))?;
        let end = position + number.len();
        let is_unreadable =
            serde_json::from_str::<f64>(number).is_err() && serde_json::from_str::<&RawValue>(number).is_ok();
        if is_unreadable { self.replace(position, end, &["\"", number, "\""]) } else { Some(end) }
    }

    /// Replaces the text from `start` to `end`, and returns `end`.
    fn replace(&mut self, start: usize, end: usize, replacement: &[&str]) -> Option<usize> {
        self.replaced.push_str(self.text.get(self.copied_len..start)?);
        self.replaced.extend(replacement.iter().copied());
        self.copied_len = end;
        Some(end)
    }

    /// Returns the text; `None` if nothing has been replaced.
    fn finish(mut self) -> Option<String> {
        if self.copied_len == 0 {
            return None;
        }
        self.replaced.push_str(self.text.get(self.copied_len..)?);
        Some(self.replaced)
    }
}

/// Returns the code unit whose escape, `\u` and four digits, begins at `position`.
fn code_unit(text: &[u8], position: usize) -> Option<u16> {
    let digits = text.get(position..position + REPLACEMENT.len())?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |unit, digit| {
        let digit = char::from(*digit).to_digit(16).and_then(|digit| u16::try_from(digit).ok())?;
        Some(unit << 4 | digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn lone_surrogates_and_numbers_beyond_a_double_are_replaced() {
        for (text, expected) in [
            (r#"["\ud800"]"#, r#"["\ufffd"]"#),
            (
                r#"["\uDFFFx\\ud800\ud800\ud83d\ude00\ud800\u0041"]"#,
                r#"["\ufffdx\\ud800\ufffd\ud83d\ude00\ufffd\u0041"]"#,
            ),
            (r#"{"\udc00":[1e999,-1E+400, 1e5,1e-999]}"#, r#"{"\ufffd":["1e999","-1E+400", 1e5,1e-999]}"#),
            ("1e999", r#""1e999""#),
        ] {
            assert_eq!(replace_unreadable(text).as_deref(), Some(expected), "{text}");
            assert!(serde_json::from_str::<Value>(text).is_err() && parse::<Value>(text).is_ok(), "{text}");
        }
        let digits = format!("[{}]", "9".repeat(400));
        assert_eq!(replace_unreadable(&digits), Some(format!("[\"{}\"]", "9".repeat(400))));
    }

    #[test]
    fn a_text_without_unreadable_values_is_not_replaced() {
        for text in
            ["", "{}", r#"["\ud83d\ude00\"\\",1.5,-0,"1e999"]"#, "[1e999-5]", "[01e999]", "[\"\\ud8", "[\"\\"]
        {
            assert_eq!(replace_unreadable(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_the_grammar_permits(parts in prop::collection::vec(prop::sample::select(vec![
            "[", "]", "{", "}", ",", ":", "\"", "\"a\":", "\\ud800", "\\udc00", "\\u00e4", "\\", "\\ud8", "1e999", "-", "1", "e", "é", "\n",
        ]), 0..12)) {
            let text = parts.concat();
            let is_permitted = serde_json::from_str::<&RawValue>(&text).is_ok();
            prop_assert_eq!(parse::<Value>(&text).is_ok(), is_permitted, "{}", text);
        }
    }
}
