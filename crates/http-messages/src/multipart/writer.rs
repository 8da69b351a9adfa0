//! Writes the delimiters and headers of multipart bodies (RFC 2387; PS3.18 8.6.1.2.1).
//!
//! This module does not know about the content of parts: the caller writes it.

use std::fmt::Write as _;
use std::hash::{BuildHasher as _, RandomState};

/// Writes the delimiters and headers of one body.
#[derive(Debug, Clone)]
pub struct PartWriter {
    boundary: String,
    has_parts: bool,
}

impl Default for PartWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl PartWriter {
    /// Creates a writer with a new random boundary, which does not occur in a part by accident: 128 bits from the randomly
    /// keyed hasher of the standard library.
    pub fn new() -> Self {
        let (first, second) = (RandomState::new(), RandomState::new());
        Self::with_boundary(format!(
            "{:016x}{:016x}",
            first.hash_one("multipart"),
            second.hash_one("related")
        ))
    }

    /// Creates a writer with this boundary: letters, digits and dashes, which must not occur in a part after a line break.
    pub fn with_boundary(boundary: impl Into<String>) -> Self {
        Self { boundary: boundary.into(), has_parts: false }
    }

    /// Returns the Content-Type of the body for parts of `media_type`, a type without parameters.
    pub fn content_type(&self, media_type: &str) -> String {
        format!("multipart/related; type=\"{media_type}\"; boundary={}", self.boundary)
    }

    /// Returns the delimiter and the headers of the next part, with this Content-Type and, if present, this Content-Location.
    pub fn begin_part(&mut self, content_type: &str, content_location: Option<&str>) -> String {
        let line_break = if std::mem::replace(&mut self.has_parts, true) { "\r\n" } else { "" };
        let mut headers = format!("{line_break}--{}\r\nContent-Type: {content_type}\r\n", self.boundary);
        if let Some(location) = content_location {
            // Writing to a string cannot fail.
            let _ = write!(headers, "Content-Location: {location}\r\n");
        }
        headers.push_str("\r\n");
        headers
    }

    /// Returns the delimiter after the last part.
    pub fn end(self) -> String {
        let line_break = if self.has_parts { "\r\n" } else { "" };
        format!("{line_break}--{}--\r\n", self.boundary)
    }
}

#[cfg(test)]
mod tests {
    use super::super::boundary_of;
    use super::super::reader::{PartEvent, PartReader};
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn written_parts_are_read_unchanged(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..5)) {
            let mut writer = PartWriter::new();
            let content_type = writer.content_type("application/dicom");
            let mut body = Vec::new();
            for part in &parts {
                body.extend_from_slice(writer.begin_part("application/dicom; a=b", Some("/x")).as_bytes());
                body.extend_from_slice(part);
            }
            body.extend_from_slice(writer.end().as_bytes());
            let mut reader = PartReader::new(boundary_of(&content_type).unwrap());
            let mut read: Vec<Vec<u8>> = Vec::new();
            let mut each = |event| match event {
                PartEvent::Begin => read.push(Vec::new()),
                PartEvent::Data(bytes) => read.last_mut().unwrap().extend_from_slice(&bytes),
                PartEvent::End => {}
            };
            reader.push(Bytes::from(body), &mut each).unwrap();
            reader.finish(&mut each).unwrap();
            prop_assert_eq!(read, parts);
        }
    }

    #[test]
    fn delimiters_follow_rfc_2046() {
        let mut writer = PartWriter::with_boundary("B");
        assert_eq!(writer.content_type("image/png"), "multipart/related; type=\"image/png\"; boundary=B");
        assert_eq!(writer.begin_part("a/b", None), "--B\r\nContent-Type: a/b\r\n\r\n");
        assert_eq!(
            writer.begin_part("a/b", Some("/c")),
            "\r\n--B\r\nContent-Type: a/b\r\nContent-Location: /c\r\n\r\n"
        );
        assert_eq!(writer.end(), "\r\n--B--\r\n");
        assert_eq!(PartWriter::with_boundary("B").end(), "--B--\r\n");
        assert_ne!(PartWriter::new().boundary, PartWriter::new().boundary);
    }
}
