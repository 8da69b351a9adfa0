//! The content coding of an archive's response (RFC 9110 8.4). The gateway requests no coding except gzip. Some archives send
//! gzip without declaring it, which the first bytes of a text body show.
//!
//! This module does not decode.

use http::{HeaderMap, header};
use http_messages::gzip::is_gzip;

/// The content coding of a response body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentCoding {
    /// The body is not encoded.
    Identity,
    /// The body is encoded with gzip.
    Gzip,
}

impl ContentCoding {
    /// Reads `Content-Encoding`, whose codings are case-insensitive (RFC 9110 8.4.1). The error, for any other coding or
    /// several codings, is a noun phrase for [`super::Archive::unreadable`].
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, &'static str> {
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

    /// Returns the coding of a text body that is declared as `self` and begins with `first_bytes`. If the archive does not declare
    /// gzip, the first bytes show it, because no text begins with the bytes of gzip.
    #[must_use]
    pub fn of_text(self, first_bytes: &[u8]) -> Self {
        if is_gzip(first_bytes) { Self::Gzip } else { self }
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
        ContentCoding::from_headers(&headers).ok()
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
    fn undeclared_gzip_is_detected_by_the_first_bytes() {
        assert_eq!(ContentCoding::Identity.of_text(b"\x1f\x8b\x08\x00"), ContentCoding::Gzip);
        assert_eq!(ContentCoding::Identity.of_text(b"[{}]"), ContentCoding::Identity);
        assert_eq!(ContentCoding::Gzip.of_text(b""), ContentCoding::Gzip);
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
