//! Converts rows and metadata from JSON to XML (PS3.18 8.7.3: `multipart/related; type="application/dicom+xml"`, one part per
//! object), for archives that do not provide XML and for lists that the gateway assembles.
//!
//! An object is sent as soon as it is complete. A list that is truncated, or contains an object that XML cannot represent, is an
//! error.

use bytes::Bytes;
use http::HeaderValue;
use serde_json::value::RawValue;

use super::stream_error::StreamError;
use dicom_model::json::reader::{RowError, RowReader};
use dicom_model::native_xml::write_native_model;
use http_messages::multipart::writer::PartWriter;

/// The boundary between the parts. Parts contain no line breaks, so they cannot contain a delimiter.
const BOUNDARY: &str = "dicomweb-gateway-part";

/// The media type of each part.
const MEDIA_TYPE: &str = "application/dicom+xml";

/// Maximum length in bytes of an object that is converted. Only metadata with large inline values are longer.
const MAX_CONVERTED_LEN: usize = 16 * 1024 * 1024;

/// The Content-Type of a list in XML.
pub(crate) const CONTENT_TYPE: HeaderValue = HeaderValue::from_static(
    "multipart/related; type=\"application/dicom+xml\"; boundary=dicomweb-gateway-part",
);

/// The converter of a JSON array, which arrives in chunks, to parts.
#[derive(Debug)]
pub(crate) struct XmlParts {
    objects: RowReader<Box<RawValue>>,
    writer: PartWriter,
}

impl Default for XmlParts {
    fn default() -> Self {
        let objects = RowReader::with_max_row_len(MAX_CONVERTED_LEN);
        Self { objects, writer: writer() }
    }
}

impl XmlParts {
    /// Converts the objects that `chunk` completes.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<Bytes, StreamError> {
        let (mut parts, writer) = (PartsText::default(), &mut self.writer);
        self.objects.push(chunk, &mut |object| parts.add(&object, writer)).map_err(to_stream_error)?;
        parts.into_bytes()
    }

    /// Returns the number of bytes of an incomplete object.
    pub(crate) fn held_len(&self) -> usize {
        self.objects.pending_len()
    }

    /// Returns the closing delimiter at the end of the array, or an error if the array is incomplete.
    pub(crate) fn finish(&mut self) -> Result<Bytes, StreamError> {
        let (mut parts, mut writer) = (PartsText::default(), self.writer.clone());
        let objects = std::mem::take(&mut self.objects);
        objects.finish(&mut |object| parts.add(&object, &mut writer)).map_err(to_stream_error)?;
        parts.text.push_str(&writer.end());
        parts.into_bytes()
    }
}

/// The text of the parts that one chunk completes.
#[derive(Debug, Default)]
struct PartsText {
    text: String,
    error: Option<StreamError>,
}

impl PartsText {
    /// Adds the part of an object, unless a previous object failed.
    fn add(&mut self, object: &RawValue, writer: &mut PartWriter) {
        if self.error.is_none() {
            self.error = push_part(object.get(), writer, &mut self.text).err();
        }
    }

    fn into_bytes(self) -> Result<Bytes, StreamError> {
        self.error.map_or(Ok(self.text.into()), Err)
    }
}

/// Returns the writer of the parts of one body.
pub(crate) fn writer() -> PartWriter {
    PartWriter::with_boundary(BOUNDARY)
}

/// Appends the part of `object`, which is in JSON, to `text`.
pub(crate) fn push_part(object: &str, writer: &mut PartWriter, text: &mut String) -> Result<(), StreamError> {
    text.push_str(&writer.begin_part(MEDIA_TYPE, None));
    write_native_model(object, text).map_err(StreamError::NoXml)
}

/// Converts an error of a list to the error of a body.
pub(crate) fn to_stream_error(error: RowError) -> StreamError {
    match error {
        RowError::Truncated { .. } => StreamError::Incomplete,
        error => StreamError::NotAList(error),
    }
}

/// Returns a text that begins with `start` without the byte order mark that some archives send before it; `None` if `start` is too short
/// to decide whether there is one.
pub(crate) fn without_byte_order_mark(start: &[u8]) -> Option<&[u8]> {
    const MARK: &[u8] = b"\xEF\xBB\xBF";
    if start.len() < MARK.len() && MARK.starts_with(start) {
        return None;
    }
    Some(start.strip_prefix(MARK).unwrap_or(start))
}

/// Whether a JSON array whose text begins with `start` is empty; `None` if `start` is too short to decide.
pub(crate) fn is_empty_list(start: &[u8]) -> Option<bool> {
    match without_byte_order_mark(start)?.trim_ascii_start().split_first() {
        Some((b'[', rest)) => rest.trim_ascii_start().first().map(|first| *first == b']'),
        Some(_) => Some(false),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn convert(json: &[u8], size: usize) -> Result<String, StreamError> {
        let mut parts = XmlParts::default();
        let mut text = String::new();
        for chunk in json.chunks(size) {
            text.push_str(std::str::from_utf8(&parts.push(chunk)?).unwrap());
        }
        text.push_str(std::str::from_utf8(&parts.finish()?).unwrap());
        Ok(text)
    }

    const DELIMITER: &str = "--dicomweb-gateway-part";
    const HEADERS: &str = "\r\nContent-Type: application/dicom+xml\r\n\r\n";
    const LIST: &str = r#"[{"00100020":{"vr":"LO","Value":["\r\n--dicomweb-gateway-part--\r\nä"]}},{"00080005":{"vr":"CS"}}]"#;

    #[test]
    fn each_object_is_a_part_for_all_chunk_sizes() {
        let whole = convert(LIST.as_bytes(), LIST.len()).unwrap();
        let parts: Vec<_> = whole.split(DELIMITER).filter(|part| part.starts_with(HEADERS)).collect();
        assert_eq!(parts.len(), 2);
        assert_eq!(XmlParts::default().writer.content_type(MEDIA_TYPE), CONTENT_TYPE);
        for part in parts {
            let xml = part.strip_prefix(HEADERS).unwrap();
            assert!(xml.starts_with("<?xml") && !xml.trim_end().contains('\n'), "{xml}");
        }
        assert!(whole.ends_with("</NativeDicomModel>\r\n--dicomweb-gateway-part--\r\n"));
        for size in 1..LIST.len() {
            assert_eq!(convert(LIST.as_bytes(), size).unwrap(), whole, "in chunks of {size}");
        }
    }

    #[test]
    fn a_truncated_list_is_an_error() {
        for length in 0..LIST.len() {
            assert!(convert(&LIST.as_bytes()[..length], 7).is_err(), "{length}");
        }
    }

    #[test]
    fn an_object_that_xml_cannot_represent_is_an_error() {
        assert_eq!(
            convert(br#"[{"x":1}]"#, 3),
            Err(StreamError::NoXml(dicom_model::native_xml::NativeXmlError::NotDicomJson))
        );
        assert_eq!(convert(b"[1]", 3), Err(StreamError::NotAList(RowError::NotAnObject { row: 1 })));
        assert!(convert(b"[{}]x", 3).is_err());
    }

    #[test]
    fn an_empty_list_is_detected_from_its_first_bytes() {
        for (start, is_empty) in [
            ("", None),
            (" \n[", None),
            ("[  ", None),
            ("[]", Some(true)),
            (" [ \n ] ", Some(true)),
            ("[{", Some(false)),
            ("x", Some(false)),
        ] {
            assert_eq!(is_empty_list(start.as_bytes()), is_empty, "{start:?}");
            let marked = ["\u{feff}".as_bytes(), start.as_bytes()].concat();
            assert_eq!(is_empty_list(&marked), is_empty, "{start:?}");
            assert!((0..3).all(|length| is_empty_list(&marked[..length]).is_none()));
        }
    }

    proptest! {
        #[test]
        fn no_value_contains_a_delimiter(texts in prop::collection::vec("(\r\n|\n|--dicomweb-gateway-part|--|.){0,8}", 0..5)) {
            let rows: Vec<_> =
                texts.iter().map(|text| serde_json::json!({"00104000": {"vr": "LT", "Value": [text]}})).collect();
            let body = convert(serde_json::Value::from(rows).to_string().as_bytes(), 16).unwrap();
            let delimiters = body.split("\r\n").filter(|line| line.starts_with(DELIMITER)).count();
            prop_assert_eq!(delimiters, texts.len() + 1);
        }
    }
}
