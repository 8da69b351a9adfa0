//! Escapes text for XML 1.0, for element content and for attribute values in double quotes, and replaces references by characters.
//!
//! Tabs, line feeds and carriage returns are written as character references, in the notation of Canonical XML 1.0 (2.3).
//! Otherwise a reader would replace them by a space in attribute values (XML 1.0, 3.3.3), and a carriage return by a line feed
//! everywhere (2.11). Characters that are not allowed in XML (production 2) become U+FFFD. They are not removed, because the
//! shorter text would look complete.
//!
//! This crate does not know about the structure of documents.

use std::borrow::Cow;

/// Escapes the special characters of `text`. Returns the borrowed text if there are none.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_special) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + text.len() / 8);
    push_escaped(&mut escaped, text);
    Cow::Owned(escaped)
}

/// Appends `text` to `xml`, with its special characters escaped.
pub fn push_escaped(xml: &mut String, text: &str) {
    let mut rest = text;
    while let Some(position) = rest.find(is_special) {
        let (unescaped_text, special) = rest.split_at(position);
        xml.push_str(unescaped_text);
        let mut characters = special.chars();
        xml.push_str(characters.next().and_then(escape_character).unwrap_or_default());
        rest = characters.as_str();
    }
    xml.push_str(rest);
}

/// Appends `markup` without escaping; characters that are not allowed in XML become U+FFFD.
pub fn push_xml_characters(xml: &mut String, markup: &str) {
    xml.extend(markup.chars().map(|character| if is_legal(character) { character } else { REPLACEMENT }));
}

/// Replaces the character references and predefined entities of `text` by characters (XML 1.0, 4.1 and 4.6). Returns the borrowed
/// text if there are none. Other texts that start with `&` are not changed.
pub fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut unescaped = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(position) = rest.find('&') {
        let (unescaped_text, reference) = rest.split_at(position);
        unescaped.push_str(unescaped_text);
        let character =
            reference.split_once(';').and_then(|(name, after)| Some((resolve_reference(name)?, after)));
        let (character, after) = character.unwrap_or(('&', reference.get(1..).unwrap_or_default()));
        unescaped.push(character);
        rest = after;
    }
    unescaped.push_str(rest);
    Cow::Owned(unescaped)
}

/// Returns the character of a reference, which is written with its `&` and without its `;`.
fn resolve_reference(reference: &str) -> Option<char> {
    let number = |digits: &str, radix| {
        let is_plain = digits.chars().all(|digit| digit.is_digit(radix));
        u32::from_str_radix(digits, radix).ok().filter(|_| is_plain).and_then(char::from_u32)
    };
    match reference {
        "&amp" => Some('&'),
        "&lt" => Some('<'),
        "&gt" => Some('>'),
        "&quot" => Some('"'),
        "&apos" => Some('\''),
        _ => match reference.strip_prefix("&#")?.strip_prefix('x') {
            Some(digits) => number(digits, 16),
            None => number(reference.strip_prefix("&#")?, 10),
        },
    }
}

/// The character that replaces characters that are not allowed in XML.
const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;

/// Whether a character is allowed (XML 1.0, production 2; surrogates cannot occur in a `char`).
fn is_legal(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..) && !matches!(character, '\u{fffe}' | '\u{ffff}')
}

fn is_special(character: char) -> bool {
    escape_character(character).is_some()
}

/// Returns the escape of a special character.
fn escape_character(character: char) -> Option<&'static str> {
    match character {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '"' => Some("&quot;"),
        '\t' => Some("&#x9;"),
        '\n' => Some("&#xA;"),
        '\r' => Some("&#xD;"),
        character => (!is_legal(character)).then_some("\u{fffd}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn references_are_replaced_by_characters() {
        for (text, unescaped) in [
            ("&#x2f;&#47;host&#x2F;a&amp;b", "//host/a&b"),
            ("&lt;&gt;&quot;&apos;", "<>\"'"),
            ("&amp;amp;", "&amp;"),
            ("&nbsp; &; &#; &#x; &#x110000; &#+47; & &amp", "&nbsp; &; &#; &#x; &#x110000; &#+47; & &amp"),
        ] {
            assert_eq!(unescape(text), unescaped, "{text}");
        }
    }

    /// Returns the text that an XML reader returns for `text` as element content and as attribute value.
    fn read(text: &str) -> (String, String) {
        let document = format!("<a b=\"{text}\">{text}</a>");
        let document = roxmltree::Document::parse(&document).unwrap();
        let element = document.root_element();
        (element.text().unwrap_or_default().to_owned(), element.attribute("b").unwrap().to_owned())
    }

    #[test]
    fn white_space_is_read_unchanged() {
        assert_eq!(escape("a\tb\nc\rd e"), "a&#x9;b&#xA;c&#xD;d e");
        assert_eq!(read(&escape("a\tb\r\nc")), ("a\tb\r\nc".to_owned(), "a\tb\r\nc".to_owned()));
    }

    #[test]
    fn characters_not_allowed_in_xml_are_replaced_and_never_removed() {
        assert_eq!(
            escape("a\0b\u{c}c\u{1b}d\u{fffe}e\u{ffff}"),
            "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}e\u{fffd}"
        );
        let mut markup = String::new();
        push_xml_characters(&mut markup, "<b>a\u{b}\n</b>");
        assert_eq!(markup, "<b>a\u{fffd}\n</b>");
    }

    #[test]
    fn allowed_control_characters_are_not_escaped() {
        assert_eq!(escape("\u{7f}\u{85}\u{9f}"), "\u{7f}\u{85}\u{9f}");
    }

    #[test]
    fn text_without_special_characters_is_borrowed() {
        assert!(matches!(escape("O'Brien ä 日本"), Cow::Borrowed(_)));
        assert_eq!(escape("<a href=\"b\">&</a>"), "&lt;a href=&quot;b&quot;&gt;&amp;&lt;/a&gt;");
    }

    proptest! {
        #[test]
        fn escaped_text_is_unescaped_to_the_same_text(text in "[ -~\\t\\n\\ré]{0,20}") {
            let escaped = escape(&text);
            prop_assert_eq!(unescape(&escaped), text.as_str());
        }

        #[test]
        fn escaped_text_is_read_unchanged(text in any::<String>()) {
            let expected: String = text.chars().map(|character| if is_legal(character) { character } else { REPLACEMENT }).collect();
            prop_assert_eq!(read(&escape(&text)), (expected.clone(), expected));
        }
    }
}
