//! Text as XML 1.0 holds it, between tags and in attributes in double quotes.
//!
//! White space that is no blank is written as a character reference, spelled as Canonical XML 1.0 (2.3) spells it: a reader would
//! make a blank of it in an attribute (XML 1.0, 3.3.3) and a line feed of a carriage return anywhere (2.11). What no document can
//! hold (production 2) becomes U+FFFD, so that nobody takes the rest for the whole.
//!
//! It knows no document: whoever writes one knows where its tags are.

use std::borrow::Cow;

/// `text` with its special characters escaped; borrowed where it has none.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_special) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + text.len() / 8);
    push_escaped(&mut escaped, text);
    Cow::Owned(escaped)
}

/// Writes `text` behind what is in `xml`, with its special characters escaped.
pub fn push_escaped(xml: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.find(is_special) {
        let (plain, special) = rest.split_at(at);
        xml.push_str(plain);
        let mut characters = special.chars();
        xml.push_str(characters.next().and_then(escape_of).unwrap_or_default());
        rest = characters.as_str();
    }
    xml.push_str(rest);
}

/// `markup` itself, with U+FFFD in the place of each character that no document can hold.
pub fn push_markup(xml: &mut String, markup: &str) {
    xml.extend(markup.chars().map(|character| if is_legal(character) { character } else { ILLEGAL }));
}

/// In the place of what no document can hold.
const ILLEGAL: char = char::REPLACEMENT_CHARACTER;

/// XML 1.0, production 2, of what can be a `char` at all.
fn is_legal(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..) && !matches!(character, '\u{fffe}' | '\u{ffff}')
}

fn is_special(character: char) -> bool {
    escape_of(character).is_some()
}

/// What is written for a character that does not stand for itself.
fn escape_of(character: char) -> Option<&'static str> {
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

    /// What a reader of XML takes `text` for, between tags and in an attribute.
    fn read(text: &str) -> (String, String) {
        let document = format!("<a b=\"{text}\">{text}</a>");
        let document = roxmltree::Document::parse(&document).unwrap();
        let element = document.root_element();
        (element.text().unwrap_or_default().to_owned(), element.attribute("b").unwrap().to_owned())
    }

    #[test]
    fn white_space_reaches_the_reader_as_it_is() {
        assert_eq!(escape("a\tb\nc\rd e"), "a&#x9;b&#xA;c&#xD;d e");
        assert_eq!(read(&escape("a\tb\r\nc")), ("a\tb\r\nc".to_owned(), "a\tb\r\nc".to_owned()));
    }

    #[test]
    fn characters_that_no_document_can_hold_are_replaced_and_never_left_out() {
        assert_eq!(
            escape("a\0b\u{c}c\u{1b}d\u{fffe}e\u{ffff}"),
            "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}e\u{fffd}"
        );
        let mut markup = String::new();
        push_markup(&mut markup, "<b>a\u{b}\n</b>");
        assert_eq!(markup, "<b>a\u{fffd}\n</b>");
    }

    #[test]
    fn controls_that_a_document_can_hold_stay() {
        assert_eq!(escape("\u{7f}\u{85}\u{9f}"), "\u{7f}\u{85}\u{9f}");
    }

    #[test]
    fn text_without_special_characters_is_borrowed() {
        assert!(matches!(escape("O'Brien ä 日本"), Cow::Borrowed(_)));
        assert_eq!(escape("<a href=\"b\">&</a>"), "&lt;a href=&quot;b&quot;&gt;&amp;&lt;/a&gt;");
    }

    proptest! {
        #[test]
        fn escaped_text_is_read_as_it_was(text in any::<String>()) {
            let held: String = text.chars().map(|one| if is_legal(one) { one } else { ILLEGAL }).collect();
            prop_assert_eq!(read(&escape(&text)), (held.clone(), held));
        }
    }
}
