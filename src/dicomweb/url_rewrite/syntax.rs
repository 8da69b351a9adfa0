//! The syntax of URLs in DICOM JSON (PS3.18 Annex F) and Native DICOM XML (PS3.19 A.1): escapes, and the start of an absolute
//! URL.

use std::borrow::Cow;

use super::url_map::is_unescaped;
use xml_escape::{escape, unescape};

/// The syntax of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// DICOM JSON.
    Json,
    /// Native DICOM XML.
    Xml,
}

impl Syntax {
    /// Decodes the escapes in the text of a token.
    pub(crate) fn unescape(self, text: &[u8]) -> Cow<'_, str> {
        let text = String::from_utf8_lossy(text);
        match self {
            Self::Json if text.contains('\\') => {
                // Text that is not valid JSON is unchanged. A URL with a backslash is dropped later.
                serde_json::from_str(&format!("\"{text}\"")).map_or(text, Cow::Owned)
            }
            // Clients decode `&#x2f;` to a slash.
            Self::Xml if text.contains('&') => Cow::Owned(unescape(&text).into_owned()),
            _ => text,
        }
    }

    /// Escapes a URL.
    pub(crate) fn escape(self, url: &str) -> Cow<'_, str> {
        match self {
            _ if url.bytes().all(is_unescaped) => Cow::Borrowed(url),
            Self::Json => {
                let mut escaped = serde_json::Value::from(url).to_string();
                // Only the enclosing quotes are removed, because the URL may end with a quote.
                escaped.remove(0);
                escaped.pop();
                Cow::Owned(escaped)
            }
            // The value may be in either kind of quotes.
            Self::Xml => Cow::Owned(escape(url).replace('\'', "&#x27;")),
        }
    }
}

/// The scheme at the start of a text.
pub(crate) enum Scheme {
    /// The text starts with a scheme and two slashes.
    Complete,
    /// The text is too short to decide.
    Partial,
    /// The text does not start with a scheme.
    None,
}

/// Determines whether `text`, which starts with `http`, starts with a scheme and two slashes. The slashes may be escaped.
pub(crate) fn find_scheme(text: &[u8]) -> Scheme {
    let forms: [&[u8]; 4] = [b"http://", b"https://", b"http:\\/\\/", b"https:\\/\\/"];
    if forms.iter().any(|form| text.starts_with(form)) {
        Scheme::Complete
    } else if forms.iter().any(|form| form.starts_with(text)) {
        Scheme::Partial
    } else {
        Scheme::None
    }
}
