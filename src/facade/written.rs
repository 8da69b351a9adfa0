//! How an answer is written: from the JSON that stands ready to the bytes that were asked for.

use http::HeaderMap;

use super::format::{self, Format, Syntax};
use super::page::{self, Place};
use crate::error::Failure;
use crate::fhir::xml;

/// A format, and what only people want to have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) format: Format,
    pretty: bool,
    /// Of a page that has links.
    place: Option<Place>,
}

impl Written {
    /// As the request asks by `_format` and `_pretty` (R4 http#parameters) and its headers. `base` is the address of the
    /// facade, as far as it is known.
    pub(super) fn asked(
        headers: &HeaderMap,
        pairs: &[(String, String)],
        base: Option<String>,
    ) -> Result<Self, Failure> {
        let last =
            |name| pairs.iter().rev().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
        let format = format::negotiate(headers, last("_format"))?;
        let base = base.filter(|_| format.syntax() == Syntax::Html);
        let place = base.map(|base| Place::new(base, pairs));
        Ok(Self { format, pretty: last("_pretty") == Some("true"), place })
    }

    /// As a request without parameters asks.
    pub(super) fn accepted(headers: &HeaderMap) -> Result<Self, Failure> {
        Ok(Self { format: format::accepted(headers)?, ..Self::default() })
    }

    /// The JSON that stands ready is what is wanted.
    pub(super) fn is_as_stored(&self) -> bool {
        self.format.syntax() == Syntax::Json && !self.pretty
    }

    /// The bytes that are wanted, made of a resource's JSON; `None` for what is no resource.
    pub(super) fn write(&self, json: &[u8]) -> Option<Vec<u8>> {
        let text = || std::str::from_utf8(json).ok();
        match self.format.syntax() {
            Syntax::Json if self.pretty => Some(indented(json)),
            Syntax::Json => Some(json.to_vec()),
            Syntax::Xml => xml::from_json(text()?, self.pretty).ok().map(String::into_bytes),
            Syntax::Html => page::of(text()?, self.place.as_ref()).map(String::into_bytes),
        }
    }
}

/// JSON for people: the same tokens, a line for each member.
fn indented(json: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(json.len() * 2);
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    let new_line = |text: &mut Vec<u8>, depth: usize| {
        text.push(b'\n');
        text.extend(std::iter::repeat_n(b' ', depth * 2));
    };
    for (index, &byte) in json.iter().enumerate() {
        if in_string {
            text.push(byte);
            in_string = escaped || byte != b'"';
            escaped = byte == b'\\' && !escaped;
            continue;
        }
        match byte {
            b'{' | b'[' => {
                text.push(byte);
                depth += 1;
                if !matches!(json.get(index + 1), Some(b'}' | b']')) {
                    new_line(&mut text, depth);
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if !matches!(text.last(), Some(b'{' | b'[')) {
                    new_line(&mut text, depth);
                }
                text.push(byte);
            }
            b',' => {
                text.push(byte);
                new_line(&mut text, depth);
            }
            b':' => text.extend_from_slice(b": "),
            b'"' => {
                text.push(byte);
                in_string = true;
            }
            byte => text.push(byte),
        }
    }
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn people_get_a_line_for_each_member() {
        let text = String::from_utf8(indented(br#"{"a":[1,{"b":"x,\"{y"}],"c":{}}"#)).unwrap();
        assert_eq!(
            text,
            "{\n  \"a\": [\n    1,\n    {\n      \"b\": \"x,\\\"{y\"\n    }\n  ],\n  \"c\": {}\n}\n"
        );
    }

    proptest! {
        #[test]
        fn indenting_changes_no_value(texts in prop::collection::vec("\\PC{0,10}", 0..5)) {
            let value = serde_json::json!({"a": texts, "b": {"c": [], "d": texts}});
            let text = indented(&serde_json::to_vec(&value).unwrap());
            prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&text).unwrap(), value);
        }
    }
}
