//! Multipart bodies (RFC 2046 5.1, RFC 2387): one grammar for reading, rewriting and writing.
//!
//! Delimiters are found in linear time, at most the headers of one part are buffered, and a body that ends before its last
//! delimiter is an error. This module does not know the meaning of parts and their headers.

mod delimiter;
pub mod header_rewriter;
pub mod only_part;
pub mod reader;
pub mod writer;

use memchr::memmem;

/// Maximum length of a boundary. RFC 2046 5.1.1 allows 70 characters; Orthanc's boundaries have 73.
const MAX_BOUNDARY: usize = 256;

/// Maximum size of the headers of one part in bytes. A few hundred bytes are usual.
pub const MAX_HEADERS: usize = 16 * 1024;

/// Why the rest of a multipart body cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MultipartError {
    /// The body ended before its last delimiter.
    #[error("the multipart body ended early")]
    Incomplete,
    /// The headers of a part exceed the maximum size.
    #[error("the headers of a part are too long")]
    HeadersTooLong,
    /// No boundary is declared, and the beginning of the body shows none.
    #[error("the multipart body has no boundary")]
    NoBoundary,
    /// The body is empty, or ends with the last delimiter before the first part.
    #[error("the multipart body has no parts")]
    NoParts,
    /// The body has more parts than were expected.
    #[error("the body has more parts than were expected")]
    SeveralParts,
}

/// Returns the boundary in a `Content-Type`, with or without single or double quotes.
pub fn boundary_of(content_type: &str) -> Option<&str> {
    let start = content_type.to_ascii_lowercase().rfind("boundary=")?;
    let value = content_type.get(start + "boundary=".len()..)?.trim_start();
    let boundary = match value.bytes().next()? {
        quote @ (b'"' | b'\'') => value.get(1..)?.split(char::from(quote)).next()?,
        _ => value.split([';', ' ', '\t']).next()?,
    };
    (1..=MAX_BOUNDARY).contains(&boundary.len()).then_some(boundary)
}

/// Returns the length of the headers including the empty line after them; `None` if the empty line is missing.
fn headers_length(text: &[u8]) -> Option<usize> {
    if text.starts_with(b"\r\n") {
        return Some(2);
    }
    if text.starts_with(b"\n") {
        return Some(1);
    }
    let text = text.get(..MAX_HEADERS).unwrap_or(text);
    let end_with_crlf = memmem::find(text, b"\r\n\r\n").map(|offset| offset + 4);
    let end_with_lf = memmem::find(text, b"\n\n").map(|offset| offset + 2);
    end_with_crlf.into_iter().chain(end_with_lf).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundary_is_found_in_every_quotation() {
        for (content_type, boundary) in [
            ("multipart/related; type=\"application/dicom\"; boundary=abc", Some("abc")),
            ("multipart/related; boundary=\"a b\"; type=x", Some("a b")),
            ("multipart/related;Boundary='abc'", Some("abc")),
            ("multipart/related; boundary=a;type='application/dicom'", Some("a")),
            ("multipart/related", None),
            ("multipart/related; boundary=", None),
            ("multipart/related; boundary=\"\"", None),
        ] {
            assert_eq!(boundary_of(content_type), boundary, "{content_type}");
        }
    }

    #[test]
    fn headers_end_at_the_first_empty_line() {
        assert_eq!(headers_length(b"\r\nA: b\r\n\r\n"), Some(2), "no headers");
        assert_eq!(headers_length(b"A: b\r\n\r\n\r\n\r\n"), Some(8));
        assert_eq!(headers_length(b"A: b\n\nx\r\n\r\n"), Some(6));
        assert_eq!(headers_length(b"A: b\r\n\r"), None);
    }
}
