//! Indents JSON for people: the same tokens, one line per member. Does not parse values.

use super::end_of_string;

/// `json`, which must have no whitespace between its tokens, with one line per member and item.
pub fn indented(json: &str) -> String {
    let mut text = String::with_capacity(json.len() * 2);
    let bytes = json.as_bytes();
    let new_line = |text: &mut String, depth: usize| {
        text.push('\n');
        text.extend(std::iter::repeat_n("  ", depth));
    };
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(&byte) = bytes.get(at) {
        let begin = at;
        at += 1;
        match byte {
            b'"' => {
                at = end_of_string(bytes, at).map_or(bytes.len(), |(end, _)| end + 1);
                text.push_str(&json[begin..at]);
            }
            b'{' | b'[' => {
                text.push(char::from(byte));
                depth += 1;
                if !matches!(bytes.get(at), Some(b'}' | b']')) {
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
                at += bytes[at..].iter().position(is_end).unwrap_or(bytes.len() - at);
                text.push_str(&json[begin..at]);
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
        let text = indented(r#"{"a":[1,{"b":"x,\"{y"}],"c":{}}"#);
        assert_eq!(
            text,
            "{\n  \"a\": [\n    1,\n    {\n      \"b\": \"x,\\\"{y\"\n    }\n  ],\n  \"c\": {}\n}\n"
        );
    }

    proptest! {
        #[test]
        fn indenting_changes_no_value(texts in prop::collection::vec("\\PC{0,10}", 0..5)) {
            let value = serde_json::json!({"a": texts, "b": {"c": [], "d": texts}});
            let text = indented(&serde_json::to_string(&value).unwrap());
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
        }
    }
}
