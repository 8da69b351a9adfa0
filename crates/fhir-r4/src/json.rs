//! Parses JSON without loss: members keep their order, and numbers keep their digits, because `1.0` and `1` differ in FHIR (R4
//! json#decimal). The XML writer reads serialized resources with this parser. This module does not know about resource types: they
//! are read with serde.

mod pretty;

use std::borrow::Cow;

pub use pretty::indent;

/// Maximum depth of nesting. Resources are nested less deeply, and recursion to this depth fits on any stack.
const MAX_DEPTH: usize = 100;

/// A JSON value. Strings without escapes are borrowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json<'a> {
    /// The members in their order.
    Object(Vec<(Cow<'a, str>, Self)>),
    /// The items in their order.
    Array(Vec<Self>),
    /// A string, without quotes and escapes.
    Text(Cow<'a, str>),
    /// A number, `true`, `false` or `null`, as text.
    Literal(&'a str),
}

/// The text is not JSON. Contains the byte offset at which parsing failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid JSON at byte {0}")]
pub struct NotJson(usize);

impl<'a> Json<'a> {
    /// Parses `text` in one pass. It must consist of one value.
    pub fn parse(text: &'a str) -> Result<Self, NotJson> {
        let mut reader = Reader { text, position: 0 };
        let value = reader.read_value(0)?;
        reader.skip_whitespace();
        if reader.position == text.len() { Ok(value) } else { Err(NotJson(reader.position)) }
    }

    /// Returns a member of an object.
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => member(members, name),
            _ => None,
        }
    }

    /// Returns the text of a string.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the items of an array; empty for other values.
    pub fn items(&self) -> &[Self] {
        match self {
            Self::Array(items) => items,
            _ => &[],
        }
    }
}

/// Returns the member with this name.
pub(super) fn member<'m, 'a>(members: &'m [(Cow<'a, str>, Json<'a>)], name: &str) -> Option<&'m Json<'a>> {
    members.iter().find(|(other, _)| other == name).map(|(_, value)| value)
}

/// Returns the offset of the quote that ends the string whose first character is at `start`, and whether the string contains
/// escapes; `None` if the string has no end.
fn string_end(json: &[u8], start: usize) -> Option<(usize, bool)> {
    let (mut position, mut is_escaped) = (start, false);
    loop {
        position += memchr::memchr2(b'"', b'\\', json.get(position..)?)?;
        if json[position] == b'"' {
            return Some((position, is_escaped));
        }
        is_escaped = true;
        position += 2;
    }
}

struct Reader<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Reader<'a> {
    fn read_value(&mut self, depth: usize) -> Result<Json<'a>, NotJson> {
        if depth > MAX_DEPTH {
            return Err(NotJson(self.position));
        }
        match self.peek() {
            Some(b'{') => {
                let mut members = Vec::new();
                self.read_list(b'}', |reader| {
                    let name = reader.read_string()?;
                    reader.expect(b':')?;
                    members.push((name, reader.read_value(depth + 1)?));
                    Ok(())
                })?;
                Ok(Json::Object(members))
            }
            Some(b'[') => {
                let mut items = Vec::new();
                self.read_list(b']', |reader| {
                    items.push(reader.read_value(depth + 1)?);
                    Ok(())
                })?;
                Ok(Json::Array(items))
            }
            Some(b'"') => self.read_string().map(Json::Text),
            _ => self.read_literal(),
        }
    }

    /// Reads the comma-separated entries between a bracket and `end`.
    fn read_list(
        &mut self,
        end: u8,
        mut read_entry: impl FnMut(&mut Self) -> Result<(), NotJson>,
    ) -> Result<(), NotJson> {
        self.position += 1;
        if self.peek() == Some(end) {
            self.position += 1;
            return Ok(());
        }
        loop {
            read_entry(self)?;
            if self.peek() == Some(end) {
                self.position += 1;
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    fn read_string(&mut self) -> Result<Cow<'a, str>, NotJson> {
        self.expect(b'"')?;
        let start = self.position;
        let (end, is_escaped) = string_end(self.text.as_bytes(), start).ok_or(NotJson(start))?;
        self.position = end + 1;
        if is_escaped {
            let quoted = &self.text[start - 1..self.position];
            return serde_json::from_str(quoted).map(Cow::Owned).map_err(|_| NotJson(start));
        }
        Ok(Cow::Borrowed(&self.text[start..end]))
    }

    fn read_literal(&mut self) -> Result<Json<'a>, NotJson> {
        let start = self.position;
        let is_literal_byte = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        self.position +=
            self.text.as_bytes()[start..].iter().take_while(|byte| is_literal_byte(byte)).count();
        let literal = &self.text[start..self.position];
        let is_number = || literal.starts_with(|first: char| first == '-' || first.is_ascii_digit());
        if matches!(literal, "true" | "false" | "null") || is_number() {
            Ok(Json::Literal(literal))
        } else {
            Err(NotJson(start))
        }
    }

    fn peek(&mut self) -> Option<u8> {
        self.skip_whitespace();
        self.text.as_bytes().get(self.position).copied()
    }

    fn expect(&mut self, byte: u8) -> Result<(), NotJson> {
        if self.peek() != Some(byte) {
            return Err(NotJson(self.position));
        }
        self.position += 1;
        Ok(())
    }

    fn skip_whitespace(&mut self) {
        let rest = &self.text.as_bytes()[self.position..];
        self.position += rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn to_serde(json: &Json<'_>) -> Value {
        match json {
            Json::Object(members) => Value::Object(
                members.iter().map(|(name, value)| (name.to_string(), to_serde(value))).collect(),
            ),
            Json::Array(items) => Value::Array(items.iter().map(to_serde).collect()),
            Json::Text(text) => Value::String(text.to_string()),
            Json::Literal(literal) => serde_json::from_str(literal).unwrap(),
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((any::<String>(), inner), 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn parsed_value_equals_that_of_serde(value in values(), is_pretty: bool) {
            let text = if is_pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let text = text.unwrap();
            let by_serde: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(to_serde(&Json::parse(&text).unwrap()), by_serde);
        }

        #[test]
        fn arbitrary_text_never_makes_the_parser_panic(text in "[\\[\\]{}\",:\\\\u0-9a-z é-]{0,40}") {
            let _ = Json::parse(&text);
        }
    }

    #[test]
    fn order_and_digits_are_preserved() {
        let json = Json::parse(r#"{"z": 1.50, "a": [null], "t": "\u00e4\n"}"#).unwrap();
        let Json::Object(members) = &json else { panic!("not an object") };
        assert_eq!(members.iter().map(|(name, _)| name.as_ref()).collect::<Vec<_>>(), ["z", "a", "t"]);
        assert_eq!(json.get("z"), Some(&Json::Literal("1.50")));
        assert_eq!(json.get("a").unwrap().items(), [Json::Literal("null")]);
        assert_eq!(json.get("t").unwrap().as_text(), Some("ä\n"));
    }

    #[test]
    fn invalid_json_is_rejected() {
        for text in [
            "",
            "{",
            "[1,]",
            "{\"a\"}",
            "{\"a\":1,}",
            "\"a",
            "\"a\\",
            "\"\\x\"",
            "tru",
            "1 2",
            "{a:1}",
            "nan",
        ] {
            assert!(Json::parse(text).is_err(), "{text}");
        }
        assert!(Json::parse(&"[".repeat(100_000)).is_err());
    }
}
