//! Compares the rows of a search and the objects of metadata with the request, while they stream: some archives ignore a key, and a
//! viewer would show another patient's study as the requested one.
//!
//! Rows of a search that do not match are omitted. Metadata of objects that were not requested is an error, because the other objects
//! of the list may be wrong too. The bytes of matching rows and objects are unchanged.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::stream_error::StreamError;
use super::xml_parts::to_stream_error;
use crate::upstream::{DicomResource, ExactKeys};
use dicom_model::json::reader::RowReader;

/// Omits rows that were not requested.
#[derive(Debug)]
pub(crate) struct RequestedRows {
    keys: ExactKeys,
    reader: RowReader<Box<RawValue>>,
    has_row: bool,
    omitted_count: usize,
    /// If a list consists of at least this number of omitted rows, it is an error.
    omission_limit: Option<usize>,
}

impl RequestedRows {
    /// Creates a filter of rows by `keys`. A list of which every row is omitted is an error if it has at least `omission_limit` rows.
    /// This limit is 1 if the list is converted to a format that has no empty list. Otherwise it is the limit of the page, because an
    /// empty page would mean that no page follows.
    pub(crate) fn new(keys: ExactKeys, omission_limit: Option<usize>) -> Self {
        Self { keys, reader: RowReader::new(), has_row: false, omitted_count: 0, omission_limit }
    }

    /// Returns the number of rows that have been omitted.
    pub(crate) fn omitted_count(&self) -> usize {
        self.omitted_count
    }

    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<Bytes, StreamError> {
        let mut reader = std::mem::take(&mut self.reader);
        let mut text = String::new();
        let result = reader.push(chunk, &mut |row: Box<RawValue>| self.add(&row, &mut text));
        self.reader = reader;
        result.map_err(to_stream_error)?;
        Ok(text.into())
    }

    pub(crate) fn finish(&mut self) -> Result<Bytes, StreamError> {
        let mut text = String::new();
        let reader = std::mem::take(&mut self.reader);
        reader.finish(&mut |row: Box<RawValue>| self.add(&row, &mut text)).map_err(to_stream_error)?;
        if !self.has_row && self.omission_limit.is_some_and(|max| self.omitted_count >= max.max(1)) {
            return Err(StreamError::Unreadable("only rows that do not match the search"));
        }
        text.push_str(if self.has_row { "]" } else { "[]" });
        Ok(text.into())
    }

    fn add(&mut self, row: &RawValue, text: &mut String) {
        if !self.keys.match_row(row.get()) {
            self.omitted_count += 1;
            return;
        }
        text.push(if self.has_row { ',' } else { '[' });
        text.push_str(row.get());
        self.has_row = true;
    }
}

/// Checks that metadata belongs to the requested objects. The bytes are unchanged.
#[derive(Debug)]
pub(crate) struct RequestedObjects {
    study: String,
    series: Option<String>,
    instance: Option<String>,
    reader: RowReader<ObjectUids>,
}

/// The UIDs of an object.
#[derive(Debug, Default, Deserialize)]
struct ObjectUids {
    #[serde(rename = "0020000D", default)]
    study: Option<UidValue>,
    #[serde(rename = "0020000E", default)]
    series: Option<UidValue>,
    #[serde(rename = "00080018", default)]
    instance: Option<UidValue>,
}

/// An element as DICOM JSON (PS3.18 F.2.2).
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum UidValue {
    Uids {
        #[serde(rename = "Value")]
        values: Vec<String>,
    },
    Other(serde::de::IgnoredAny),
}

impl UidValue {
    /// Whether the element has another value than `uid`.
    fn differs(&self, uid: &str) -> bool {
        match self {
            Self::Uids { values } => {
                values.first().is_some_and(|value| value.trim_end_matches(['\0', ' ']) != uid)
            }
            Self::Other(_) => false,
        }
    }
}

impl RequestedObjects {
    /// Creates a check of the metadata of `objects`.
    pub(crate) fn new(objects: &DicomResource) -> Self {
        let (series, instance) = match objects {
            DicomResource::Study(_) => (None, None),
            DicomResource::Series(_, series) => (Some(series.to_string()), None),
            DicomResource::Instance(_, series, instance) | DicomResource::Frames(_, series, instance, _) => {
                (Some(series.to_string()), Some(instance.to_string()))
            }
        };
        Self { study: objects.study().to_string(), series, instance, reader: RowReader::new() }
    }

    pub(crate) fn read(&mut self, chunk: &[u8]) -> Result<(), StreamError> {
        let mut reader = std::mem::take(&mut self.reader);
        let mut is_requested = true;
        let result = reader.push(chunk, &mut |object| is_requested &= self.includes(&object));
        self.reader = reader;
        result.map_err(to_stream_error)?;
        Self::require(is_requested)
    }

    /// Reads the end of the list, which may complete its last objects.
    pub(crate) fn finish(&mut self) -> Result<(), StreamError> {
        let reader = std::mem::take(&mut self.reader);
        let mut is_requested = true;
        reader.finish(&mut |object| is_requested &= self.includes(&object)).map_err(to_stream_error)?;
        Self::require(is_requested)
    }

    fn includes(&self, object: &ObjectUids) -> bool {
        let matches = |uid: Option<&UidValue>, requested: Option<&String>| match (uid, requested) {
            (Some(uid), Some(requested)) => !uid.differs(requested),
            _ => true,
        };
        matches(object.study.as_ref(), Some(&self.study))
            && matches(object.series.as_ref(), self.series.as_ref())
            && matches(object.instance.as_ref(), self.instance.as_ref())
    }

    fn require(is_requested: bool) -> Result<(), StreamError> {
        let not_requested = StreamError::Unreadable("metadata of objects that were not requested");
        if is_requested { Ok(()) } else { Err(not_requested) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicomweb::request::path::Resource;
    use crate::upstream::{MatchValue, QidoQuery, SearchLevel};
    use dicom_model::tags;

    fn filtered(text: &str, size: usize) -> Result<String, StreamError> {
        filtered_page(text, size, None)
    }

    fn filtered_page(text: &str, size: usize, omission_limit: Option<usize>) -> Result<String, StreamError> {
        let query = QidoQuery::new(SearchLevel::Studies).matching(tags::PATIENT_ID, MatchValue::raw("P1"));
        let mut rows = RequestedRows::new(ExactKeys::from_query(&query), omission_limit);
        let mut output = Vec::new();
        for chunk in text.as_bytes().chunks(size) {
            output.extend_from_slice(&rows.push(chunk)?);
        }
        output.extend_from_slice(&rows.finish()?);
        Ok(String::from_utf8(output).unwrap())
    }

    #[test]
    fn rows_that_do_not_match_are_omitted_for_every_chunk_size() {
        let row = |id: &str| format!(r#"{{ "00100020": {{"vr":"LO", "Value":["{id}"]}}, "x":1.50 }}"#);
        let (own, other) = (row("P1"), row("P2"));
        for (text, expected) in [
            ("[]".to_owned(), "[]".to_owned()),
            (format!("[{own}]"), format!("[{own}]")),
            (format!(" [ {other} , {own},{{}} ,{other}]\n"), format!("[{own},{{}}]")),
            (format!("[{other},{other}]"), "[]".to_owned()),
        ] {
            for size in 1..=text.len() {
                assert_eq!(filtered(&text, size).unwrap(), expected, "in chunks of {size}");
            }
            assert!(filtered(&text[..text.trim_end().len() - 1], 7).is_err());
        }
    }

    #[test]
    fn a_full_page_of_which_every_row_is_omitted_is_an_error() {
        let row = |id: &str| format!(r#"{{"00100020":{{"vr":"LO","Value":["{id}"]}}}}"#);
        let (own, other) = (row("P1"), row("P2"));
        let two_other_rows = format!("[{other},{other}]");
        assert_eq!(
            filtered_page(&two_other_rows, 7, Some(3)).unwrap(),
            "[]",
            "no page follows a page that is not full"
        );
        assert!(filtered_page(&two_other_rows, 7, Some(2)).is_err());
        assert!(filtered_page(&two_other_rows, 7, Some(1)).is_err());
        assert_eq!(filtered_page(&format!("[{other},{own}]"), 7, Some(2)).unwrap(), format!("[{own}]"));
        assert_eq!(filtered_page("[]", 7, Some(1)).unwrap(), "[]");
    }

    #[test]
    fn metadata_of_other_objects_is_an_error() {
        let object = |study: &str, series: &str, instance: &str| {
            format!(
                r#"{{"00080018":{{"vr":"UI","Value":["{instance}"]}},"00400275":{{"vr":"SQ","Value":[{{"0020000D":{{"vr":"UI","Value":["9.9"]}}}}]}},"0020000D":{{"vr":"UI","Value":["{study}"]}},"0020000E":{{"vr":"UI","Value":["{series}"]}}}}"#
            )
        };
        let read = |path: &str, text: &str, size: usize| {
            let Ok(Resource::Metadata(objects)) = Resource::parse(path) else { panic!("{path}") };
            let mut requested = RequestedObjects::new(&objects);
            text.as_bytes().chunks(size).try_for_each(|chunk| requested.read(chunk))?;
            requested.finish()
        };
        let (study, series) = ("studies/1.2/metadata", "studies/1.2/series/1.3/metadata");
        let instance = "studies/1.2/series/1.3/instances/1.4/metadata";
        let own = object("1.2", "1.3", "1.4");
        for size in [1, 10, 1000] {
            for path in [study, series, instance] {
                assert!(
                    read(path, &format!("[{own},{{}},{{\"0020000D\":{{\"vr\":\"UI\"}}}}]"), size).is_ok()
                );
                let foreign = object("9.9", "1.3", "1.4");
                assert!(read(path, &format!("[{own},{foreign}]"), size).is_err(), "{path}");
            }
            for (path, other) in [
                (series, object("1.2", "1.5", "1.4")),
                (instance, object("1.2", "1.5", "1.4")),
                (instance, object("1.2", "1.3", "1.5")),
            ] {
                assert!(read(path, &format!("[{other}]"), size).is_err(), "{path}");
                assert!(read(study, &format!("[{other}]"), size).is_ok());
            }
        }
    }
}
