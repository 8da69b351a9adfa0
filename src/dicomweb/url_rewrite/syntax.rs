//! How DICOM JSON (PS3.18 Annex F) and Native DICOM XML (PS3.19 A.1) write a URL: escapes, and the start of an absolute URL.

use std::borrow::Cow;

use super::url_map::is_plain;
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
    /// The text of a token without the escapes of its syntax.
    pub(crate) fn unescaped(self, text: &[u8]) -> Cow<'_, str> {
        let plain = String::from_utf8_lossy(text);
        match self {
            Self::Json if plain.contains('\\') => {
                // Text that is not valid JSON stays as it is: its backslash makes it a URL that is dropped.
                serde_json::from_str(&format!("\"{plain}\"")).map_or(plain, Cow::Owned)
            }
            // Clients read `&#x2f;` as a slash.
            Self::Xml if plain.contains('&') => Cow::Owned(unescape(&plain).into_owned()),
            _ => plain,
        }
    }

    /// A URL with the escapes of the syntax.
    pub(crate) fn escaped(self, url: &str) -> Cow<'_, str> {
        match self {
            _ if url.bytes().all(is_plain) => Cow::Borrowed(url),
            Self::Json => {
                let mut escaped = serde_json::Value::from(url).to_string();
                // Without the quotes around it; the URL may end with a quote.
                escaped.remove(0);
                escaped.pop();
                Cow::Owned(escaped)
            }
            // The archive chose the kind of quotes.
            Self::Xml => Cow::Owned(escape(url).replace('\'', "&#x27;")),
        }
    }
}

/// Whether a text that starts with `http` is the start of an absolute URL.
pub(crate) enum Scheme {
    Complete,
    CutOff,
    None,
}

/// Whether `text`, which starts with `http`, starts with a scheme and two slashes, escaped or not.
pub(crate) fn scheme_of(text: &[u8]) -> Scheme {
    let spellings: [&[u8]; 4] = [b"http://", b"https://", b"http:\\/\\/", b"https:\\/\\/"];
    if spellings.iter().any(|spelling| text.starts_with(spelling)) {
        Scheme::Complete
    } else if spellings.iter().any(|spelling| spelling.starts_with(text)) {
        Scheme::CutOff
    } else {
        Scheme::None
    }
}
