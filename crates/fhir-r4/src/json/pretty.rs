//! Indents JSON for people: the same tokens, with one line per member and item. This module does not parse values.

use super::string_end;

/// Indents `json`, which must have no whitespace between its tokens: one line per member and item.
pub fn indent(json: &str) -> String {
    let mut text = String::with_capacity(json.len() * 2);
    let bytes = json.as_bytes();
    let new_line = |text: &mut String, depth: usize| {
        text.push('\n');
        text.extend(std::iter::repeat_n("  ", depth));
    };
    let (mut depth, mut position) = (0_usize, 0);
    while let Some(&byte) = bytes.get(position) {
        let start = position;
        position += 1;
        match byte {
            b'"' => {
                position = string_end(bytes, position).map_or(bytes.len(), |(end, _)| end + 1);
                text.push_str(&json[start..position]);
            }
            b'{' | b'[' => {
                text.push(char::from(byte));
                depth += 1;
                if !matches!(bytes.get(position), Some(b'}' | b']')) {
                    new_line(&mut text, depth);
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if !text.ends_with(['{', '[']) {
                    new_line(&mut text, depth);
                }
                text.push(char::from(byte));
            }
            b',' => {
                text.push(',');
                new_line(&mut text, depth);
            }
            b':' => text.push_str(": "),
            _ => {
                // A number or a literal, up to the next delimiter.
                let is_end = |byte: &u8| matches!(byte, b'"' | b'{' | b'[' | b'}' | b']' | b',' | b':');
                position += bytes[position..].iter().position(is_end).unwrap_or(bytes.len() - position);
                text.push_str(&json[start..position]);
            }
        }
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_member_and_item_has_its_own_line() {
        let text = indent(r#"{"a":[1,{"b":"x,\"{y"}],"c":{}}"#);
        assert_eq!(
            text,
            "{\n  \"a\": [\n    1,\n    {\n      \"b\": \"x,\\\"{y\"\n    }\n  ],\n  \"c\": {}\n}\n"
        );
    }

    proptest! {
        #[test]
        fn indenting_changes_no_value(texts in prop::collection::vec("\\PC{0,10}", 0..5)) {
            let value = serde_json::json!({"a": texts, "b": {"c": [], "d": texts}});
            let text = indent(&serde_json::to_string(&value).unwrap());
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
        }
    }
}
