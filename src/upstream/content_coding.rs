//! The content coding of an archive's response (RFC 9110 8.4): of the codings only gzip is ever requested.
//!
//! Does not decode, and does not know the first bytes of the body, which show gzip that an archive does not declare.

use http::{HeaderMap, header};

/// How the body of a response is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentCoding {
    /// Not at all.
    Identity,
    /// With gzip, once.
    Gzip,
}

impl ContentCoding {
    /// Reads `Content-Encoding`, whose codings are case-insensitive (RFC 9110 8.4.1). The error says what the body has: another
    /// coding, or several.
    pub fn of(headers: &HeaderMap) -> Result<Self, &'static str> {
        let mut coding = Self::Identity;
        let lines = headers.get_all(header::CONTENT_ENCODING).iter();
        for element in lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')) {
            let element = element.trim_ascii().to_ascii_lowercase();
            coding = match (element.as_slice(), coding) {
                (b"" | b"identity", coding) => coding,
                // RFC 9110 8.4.1.3: the two names have the same meaning.
                (b"gzip" | b"x-gzip", Self::Identity) => Self::Gzip,
                _ => return Err("a content encoding that was not requested"),
            };
        }
        Ok(coding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coding(lines: &[&'static str]) -> Option<ContentCoding> {
        let name = || header::CONTENT_ENCODING;
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name(), http::HeaderValue::from_static(line));
        }
        ContentCoding::of(&headers).ok()
    }

    #[test]
    fn content_codings_are_case_insensitive() {
        for lines in [&["gzip"][..], &["GZIP"], &["X-Gzip"], &["Identity", " gZip "], &["gzip, identity"]] {
            assert_eq!(coding(lines), Some(ContentCoding::Gzip), "{lines:?}");
        }
        for lines in [&[][..], &[""], &["IDENTITY"], &[",", "identity"]] {
            assert_eq!(coding(lines), Some(ContentCoding::Identity), "{lines:?}");
        }
    }

    #[test]
    fn other_content_codings_and_several_are_an_error() {
        for lines in
            [&["deflate"][..], &["br"], &["gzip, gzip"], &["gzip", "GZIP"], &["gzip, br"], &["g zip"]]
        {
            assert_eq!(coding(lines), None, "{lines:?}");
        }
    }
}
