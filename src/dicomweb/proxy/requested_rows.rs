//! Compares the rows of a search with what was requested, while they stream: some archives ignore a key, and a viewer would show
//! another patient's study under the requested one.
//!
//! Rows that do not match are omitted, and so are rows of objects that clients could not retrieve ([`RowUids`]). Other rows are unchanged,
//! byte for byte.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::row_uids::RowUids;
use super::stream_error::StreamError;
use super::xml_parts::to_stream_error;
use crate::upstream::{ExactKeys, MAX_SEARCH_ROW_LEN};
use dicom_model::json::reader::RowReader;

/// Omits rows that were not requested.
#[derive(Debug)]
pub(crate) struct RequestedRows {
    keys: ExactKeys,
    /// The check whether clients can retrieve the objects of the rows.
    uids: RowUids,
    reader: RowReader<Box<RawValue>>,
    has_row: bool,
    omitted_count: usize,
    irretrievable_count: usize,
    /// The number of omitted rows from which a list without other rows is an error.
    omission_limit: Option<usize>,
}

impl RequestedRows {
    /// Creates a filter of rows by `keys` and `uids`. With `omission_limit`, a list of which every row is omitted is an error if it has at
    /// least as many rows: 1 if the list is converted to a format that has no empty list, or the limit of the page, because an empty
    /// page would mean that no page follows.
    pub(crate) fn new(keys: ExactKeys, uids: RowUids, omission_limit: Option<usize>) -> Self {
        let reader = RowReader::with_max_row_len(MAX_SEARCH_ROW_LEN);
        Self { keys, uids, reader, has_row: false, omitted_count: 0, irretrievable_count: 0, omission_limit }
    }

    /// Returns the number of rows that have been omitted because they do not match the search.
    pub(crate) fn omitted_count(&self) -> usize {
        self.omitted_count
    }

    /// Returns the number of rows that have been omitted because clients could not retrieve their objects.
    pub(crate) fn irretrievable_count(&self) -> usize {
        self.irretrievable_count
    }

    /// Returns the number of bytes of an incomplete row.
    pub(crate) fn held_len(&self) -> usize {
        self.reader.pending_len()
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
        let all_omitted = self.omitted_count + self.irretrievable_count;
        if !self.has_row && self.omission_limit.is_some_and(|max| all_omitted >= max.max(1)) {
            return Err(StreamError::Unreadable(if self.irretrievable_count == 0 {
                "only rows that do not match the search"
            } else {
                "only rows without a valid UID (PS3.5 9.1; see lenient_uids in the configuration of the gateway)"
            }));
        }
        text.push_str(if self.has_row { "]" } else { "[]" });
        Ok(text.into())
    }

    fn add(&mut self, row: &RawValue, text: &mut String) {
        if !self.keys.match_row(row.get()) {
            self.omitted_count += 1;
            return;
        }
        if !self.uids.accept(row.get()) {
            self.irretrievable_count += 1;
            return;
        }
        text.push(if self.has_row { ',' } else { '[' });
        text.push_str(row.get());
        self.has_row = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{MatchValue, QidoQuery, SearchLevel};
    use dicom_model::{UidRule, tags};

    fn filtered(text: &str, size: usize) -> Result<String, StreamError> {
        filtered_page(text, size, None)
    }

    fn filtered_page(text: &str, size: usize, omission_limit: Option<usize>) -> Result<String, StreamError> {
        let query = QidoQuery::new(SearchLevel::Studies).matching(tags::PATIENT_ID, MatchValue::raw("P1"));
        let uids = RowUids::new(UidRule::Strict, &SearchLevel::Studies);
        let mut rows = RequestedRows::new(ExactKeys::from_query(&query), uids, omission_limit);
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
    fn rows_of_objects_that_cannot_be_retrieved_are_omitted_and_counted_separately() {
        let row = |uid: &str, patient: &str| {
            format!(
                r#"{{"00100020":{{"vr":"LO","Value":["{patient}"]}},"0020000D":{{"vr":"UI","Value":["{uid}"]}}}}"#
            )
        };
        let (own, hashed, other) = (row("1.2", "P1"), row("ab-1", "P1"), row("ab-1", "P2"));
        let uids = RowUids::new(UidRule::Strict, &SearchLevel::Studies);
        let query = QidoQuery::new(SearchLevel::Studies).matching(tags::PATIENT_ID, MatchValue::raw("P1"));
        let mut rows = RequestedRows::new(ExactKeys::from_query(&query), uids, None);
        let mut text = rows.push(format!("[{own},{hashed},{other},{hashed}]").as_bytes()).unwrap().to_vec();
        text.extend_from_slice(&rows.finish().unwrap());
        assert_eq!(String::from_utf8(text).unwrap(), format!("[{own}]"));
        assert_eq!((rows.omitted_count(), rows.irretrievable_count()), (1, 2));
        let error = filtered_page(&format!("[{hashed},{hashed}]"), 7, Some(2)).unwrap_err();
        assert!(error.to_string().contains("lenient_uids"), "{error}");
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
}
