//! Compares the rows of a search with what was requested, while they stream: some archives ignore a key, and a viewer would show
//! another patient's study under the requested one.
//!
//! Rows that do not match are omitted, and so are rows of objects that clients could not retrieve ([`RowUids`]). Other rows are unchanged,
//! byte for byte.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use serde_json::value::RawValue;

use super::row_uids::RowUids;
use super::stream_error::StreamError;
use super::xml_parts::to_stream_error;
use crate::upstream::{ExactKeys, MAX_SEARCH_ROW_LEN};
use dicom_model::json::complete::{NotRead, only_string, read_object};
use dicom_model::json::reader::{RowHandler, RowReader};
use dicom_model::{Tag, UidRule, tag};

/// The content of a response with a row that cannot be compared with the search.
pub(super) const INCOMPARABLE_ROW: &str = "a row that cannot be compared with the search";

/// Omits rows that were not requested.
#[derive(Debug)]
pub(crate) struct RequestedRows {
    reader: RowReader<Box<RawValue>>,
    comparison: RowComparison,
    /// The number of omitted rows from which a list without other rows is an error.
    omission_limit: Option<usize>,
}

impl RequestedRows {
    /// Creates a filter of rows by `keys` and `uids`. With `omission_limit`, a list of which every row is omitted is an error if it has at
    /// least as many rows: 1 if the list is converted to a format that has no empty list, or the limit of the page, because an empty
    /// page would mean that no page follows.
    pub(crate) fn new(keys: ExactKeys, uids: RowUids, omission_limit: Option<usize>) -> Self {
        let reader = RowReader::with_max_row_len(MAX_SEARCH_ROW_LEN);
        Self { reader, comparison: RowComparison::new(keys, uids), omission_limit }
    }

    /// Returns the number of rows that have been omitted because they do not match the search.
    pub(crate) fn omitted_count(&self) -> usize {
        self.comparison.omitted_count
    }

    /// Returns the number of rows that have been omitted because clients could not retrieve their objects.
    pub(crate) fn irretrievable_count(&self) -> usize {
        self.comparison.irretrievable_count
    }

    /// Returns the number of bytes of an incomplete row.
    pub(crate) fn held_len(&self) -> usize {
        self.reader.pending_len()
    }

    pub(crate) fn push(&mut self, chunk: &Bytes) -> Result<Bytes, StreamError> {
        let mut rows = ComparedRows::new(&mut self.comparison, chunk);
        self.reader.push_to(chunk, &mut rows).map_err(to_stream_error)?;
        rows.into_bytes()
    }

    pub(crate) fn finish(&mut self) -> Result<Bytes, StreamError> {
        let chunk = Bytes::new();
        let mut rows = ComparedRows::new(&mut self.comparison, &chunk);
        std::mem::take(&mut self.reader).finish_to(&mut rows).map_err(to_stream_error)?;
        let output = rows.into_bytes()?;
        let RowComparison { has_row, omitted_count, irretrievable_count, uids, .. } = self.comparison;
        let all_omitted = omitted_count + irretrievable_count;
        if !has_row && self.omission_limit.is_some_and(|max| all_omitted >= max.max(1)) {
            return Err(StreamError::Unreadable(match uids.rule() {
                _ if irretrievable_count == 0 => "only rows that do not match the search",
                UidRule::Strict => {
                    "only rows without a valid UID (PS3.5 9.1; see lenient_uids in the configuration of the gateway)"
                }
                UidRule::Lenient => "only rows without a valid UID (PS3.5 9.1)",
            }));
        }
        let end: &[u8] = if has_row { b"]" } else { b"[]" };
        Ok([&output, end].concat().into())
    }
}

/// The comparison of rows with the request.
#[derive(Debug)]
struct RowComparison {
    keys: ExactKeys,
    /// The check whether clients can retrieve the objects of the rows.
    uids: RowUids,
    attributes: Vec<ComparedAttribute>,
    has_row: bool,
    omitted_count: usize,
    irretrievable_count: usize,
}

/// An attribute that is compared.
#[derive(Debug)]
struct ComparedAttribute {
    /// The name of its member in DICOM JSON.
    name: [u8; 8],
    tag: Tag,
    /// The last JSON text of the attribute that was requested and retrievable. Most rows of a list have the same patient and study.
    accepted_text: Vec<u8>,
}

/// Maximum length in bytes of the text of an attribute that is stored. Longer ones are compared each time.
const MAX_ACCEPTED_TEXT_LEN: usize = 512;

/// The outcome of the comparison of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RowOutcome {
    Requested,
    /// The row does not match the search.
    Other,
    Irretrievable,
}

impl RowOutcome {
    fn new(is_match: bool, is_retrievable: bool) -> Self {
        match (is_match, is_retrievable) {
            (false, _) => Self::Other,
            (true, false) => Self::Irretrievable,
            (true, true) => Self::Requested,
        }
    }
}

impl RowComparison {
    fn new(keys: ExactKeys, uids: RowUids) -> Self {
        let mut tags: Vec<_> = keys.tags().chain(uids.tags().iter().copied()).collect();
        tags.sort_unstable();
        tags.dedup();
        let attribute =
            |tag| ComparedAttribute { name: tag::member_name(tag), tag, accepted_text: Vec::new() };
        let attributes = tags.into_iter().map(attribute).collect();
        Self { keys, uids, attributes, has_row: false, omitted_count: 0, irretrievable_count: 0 }
    }

    /// Compares a row of any form; `None` if it cannot be compared.
    fn compare(&self, row: &str) -> Option<RowOutcome> {
        Some(RowOutcome::new(self.keys.match_row(row)?, self.uids.accept(row)?))
    }

    /// Reads and compares the row at the beginning of `text` without parsing it, and returns its length. A row is not read if the outcome
    /// depends on more than the only strings of its attributes.
    fn compare_complete(&mut self, text: &str) -> Result<(usize, RowOutcome), NotRead> {
        let Self { keys, uids, attributes, .. } = self;
        let (mut is_match, mut is_retrievable) = (true, true);
        // For each attribute one bit, which is set after it has been read.
        let mut found = 0_u64;
        if attributes.len() > 64 {
            return Err(NotRead::Unrecognized);
        }
        let length = read_object(text.as_bytes(), &mut |name, text| {
            let mut numbered = (0..u64::BITS).zip(attributes.iter_mut());
            let Some((number, attribute)) = numbered.find(|(_, attribute)| attribute.name == name) else {
                return true;
            };
            let bit = 1_u64 << number;
            if found & bit != 0 {
                return false;
            }
            found |= bit;
            if attribute.accepted_text == text {
                return true;
            }
            let is_unpadded = |value: &&str| !value.starts_with(' ') && !value.ends_with(' ');
            let Some(value) = only_string(text).filter(is_unpadded) else { return false };
            let (matches, accepts) =
                (keys.match_value(attribute.tag, value), uids.accept_value(attribute.tag, value));
            is_match &= matches;
            is_retrievable &= accepts;
            if matches && accepts && text.len() <= MAX_ACCEPTED_TEXT_LEN {
                attribute.accepted_text.clear();
                attribute.accepted_text.extend_from_slice(text);
            }
            true
        })?;
        Ok((length, RowOutcome::new(is_match, is_retrievable)))
    }
}

/// Compares the rows that a chunk completes, and writes those that were requested.
struct ComparedRows<'a> {
    comparison: &'a mut RowComparison,
    output: RowOutput<'a>,
    /// Whether one of the rows cannot be compared.
    is_incomparable: bool,
}

impl<'a> ComparedRows<'a> {
    fn new(comparison: &'a mut RowComparison, chunk: &'a Bytes) -> Self {
        let output = RowOutput { chunk, written: BytesMut::new(), unwritten: 0..0 };
        Self { comparison, output, is_incomparable: false }
    }

    /// Returns the requested rows; an error if a row cannot be compared, because it may be one that was not requested.
    fn into_bytes(self) -> Result<Bytes, StreamError> {
        if self.is_incomparable {
            Err(StreamError::Unreadable(INCOMPARABLE_ROW))
        } else {
            Ok(self.output.take())
        }
    }

    fn add(&mut self, row: &str, outcome: RowOutcome) {
        match outcome {
            RowOutcome::Other => self.comparison.omitted_count += 1,
            RowOutcome::Irretrievable => self.comparison.irretrievable_count += 1,
            RowOutcome::Requested => {
                let separator = if self.comparison.has_row { b',' } else { b'[' };
                self.output.add(separator, row.as_bytes());
                self.comparison.has_row = true;
            }
        }
    }
}

impl RowHandler<Box<RawValue>> for ComparedRows<'_> {
    fn read_complete(&mut self, text: &str) -> Result<usize, NotRead> {
        let (length, outcome) = self.comparison.compare_complete(text)?;
        self.add(text.get(..length).unwrap_or_default(), outcome);
        Ok(length)
    }

    fn handle(&mut self, row: Box<RawValue>) {
        match self.comparison.compare(row.get()) {
            Some(outcome) => self.add(row.get(), outcome),
            None => self.is_incomparable = true,
        }
    }
}

/// The rows that are forwarded after a chunk. Rows that follow each other in the chunk are not copied.
struct RowOutput<'a> {
    chunk: &'a Bytes,
    written: BytesMut,
    /// The part of the chunk that is forwarded after what is written.
    unwritten: Range<usize>,
}

impl RowOutput<'_> {
    /// Adds `row` after `separator`.
    fn add(&mut self, separator: u8, row: &[u8]) {
        // The position of a row that is a part of the chunk, and not a copy.
        let position = row.as_ptr().addr().wrapping_sub(self.chunk.as_ptr().addr());
        let end = position.wrapping_add(row.len());
        let is_in_chunk = position < self.chunk.len() && end <= self.chunk.len();
        let start = position.wrapping_sub(1);
        if is_in_chunk && self.chunk.get(start) == Some(&separator) {
            if self.unwritten.end != start {
                self.write();
                self.unwritten.start = start;
            }
            self.unwritten.end = end;
        } else {
            self.write();
            self.written.extend_from_slice(&[separator]);
            self.written.extend_from_slice(row);
        }
    }

    fn write(&mut self) {
        let unwritten = std::mem::take(&mut self.unwritten);
        self.written.extend_from_slice(self.chunk.get(unwritten).unwrap_or_default());
    }

    fn take(mut self) -> Bytes {
        if self.written.is_empty() {
            return self.chunk.slice(self.unwritten);
        }
        self.write();
        self.written.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{MatchValue, QidoQuery, SearchLevel};
    use dicom_model::{UidRule, tags};
    use proptest::prelude::*;

    fn filtered(text: &str, size: usize) -> Result<String, StreamError> {
        filtered_page(text, size, None)
    }

    fn filtered_page(text: &str, size: usize, omission_limit: Option<usize>) -> Result<String, StreamError> {
        let query = QidoQuery::new(SearchLevel::Studies).matching(tags::PATIENT_ID, MatchValue::raw("P1"));
        let uids = RowUids::new(UidRule::Strict, &SearchLevel::Studies);
        let mut rows = RequestedRows::new(ExactKeys::from_query(&query), uids, omission_limit);
        let mut output = Vec::new();
        for chunk in text.as_bytes().chunks(size) {
            output.extend_from_slice(&rows.push(&Bytes::copy_from_slice(chunk))?);
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
        let mut text = rows.push(&format!("[{own},{hashed},{other},{hashed}]").into()).unwrap().to_vec();
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

    #[test]
    fn a_row_with_values_that_cannot_be_decoded_is_compared() {
        for (row, is_requested) in [
            (r#"{"00100020":{"vr":"LO","Value":["P1"]},"\ud800":{"vr":"LO"}}"#, true),
            (r#"{"00100020":{"vr":"LO","Value":["P2"]},"\ud800":{"vr":"LO"}}"#, false),
            (r#"{"00100020":{"vr":"LO","Value":["P2\ud800"]}}"#, false),
            (r#"{"00100020":{"vr":"LO","Value":["P2",1e999]}}"#, false),
            (r#"{"00100020":{"vr":"LO","Value":["P1"]},"00081030":{"vr":"LO","Value":["CT \ud83d"]}}"#, true),
        ] {
            for size in [1, 7, 1000] {
                let expected = if is_requested { format!("[{row}]") } else { "[]".to_owned() };
                assert_eq!(filtered(&format!("[{row}]"), size).unwrap(), expected, "{row}");
            }
        }
    }

    #[test]
    fn a_row_that_cannot_be_compared_is_an_error() {
        let nested = [r#"{"Value":[{"00100020":"#.repeat(100), "1".to_owned(), "}]}".repeat(100)].concat();
        for row in [
            r#"{"00100020":["P2"],"PatientID":"P1"}"#.to_owned(),
            r#"{"0020000D":["1.3"],"0020000d":["1.2"]}"#.to_owned(),
            format!(r#"{{"00100020":{nested}}}"#),
        ] {
            for size in [1, 7, 1000] {
                let error = filtered(&format!("[{row}]"), size).unwrap_err();
                assert_eq!(error, StreamError::Unreadable(INCOMPARABLE_ROW), "{row}");
            }
        }
    }

    /// Returns the rows that were requested according to the comparison of parsed rows, and the numbers of omitted rows. `None` if a row
    /// cannot be compared.
    fn parsed_and_compared(text: &str, comparison: &RowComparison) -> Option<(String, [usize; 2])> {
        let rows: Vec<Box<RawValue>> = serde_json::from_str(text).unwrap();
        let outcomes = rows.iter().map(|row| comparison.compare(row.get())).collect::<Option<Vec<_>>>()?;
        let count = |outcome| outcomes.iter().filter(|one| **one == outcome).count();
        let requested = rows.iter().zip(&outcomes).filter(|(_, outcome)| **outcome == RowOutcome::Requested);
        let requested: Vec<_> = requested.map(|(row, _)| row.get()).collect();
        Some((
            format!("[{}]", requested.join(",")),
            [count(RowOutcome::Other), count(RowOutcome::Irretrievable)],
        ))
    }

    #[test]
    fn every_key_of_a_search_with_many_keys_is_compared() {
        let dates = |count: u16| (0..count).map(|element| Tag(0x0008, 0x0020 + element));
        let query = dates(2000).fold(QidoQuery::new(SearchLevel::Studies), |query, tag| {
            query.matching(tag, MatchValue::raw("20240131"))
        });
        let (keys, uids) =
            (ExactKeys::from_query(&query), RowUids::new(UidRule::Strict, &SearchLevel::Studies));
        let mut tags: Vec<_> = keys.tags().collect();
        tags.extend(std::iter::repeat_n(tags::STUDY_DATE, 100));
        for tag in tags {
            let row = |value: &str| format!(r#"{{"{}":{{"vr":"DA","Value":["{value}"]}}}}"#, tag::hex(tag));
            let list = format!("[{},{}]", row("20240131"), row("20240201"));
            let mut rows = RequestedRows::new(keys.clone(), uids, None);
            let output = [rows.push(&list.into()).unwrap(), rows.finish().unwrap()].concat();
            assert_eq!(rows.omitted_count(), 1, "{tag}");
            assert_eq!(String::from_utf8(output).unwrap(), format!("[{}]", row("20240131")));
        }
    }

    proptest! {
        #[test]
        fn rows_that_are_not_parsed_have_the_same_outcome_as_parsed_ones(
            rows in prop::collection::vec(prop::collection::vec(prop::sample::select(vec![
                r#""00080020":{"vr":"DA","Value":["20240131"]}"#,
                r#""00080020":{"vr":"DA","Value":["20240201"]}"#,
                r#""00080020":{"vr":"DA"}"#,
                r#""00080061":{"vr":"CS","Value":["CT","SR"]}"#,
                r#""00080061":{"Value":["CT"],"vr":"CS"}"#,
                r#""00100020":{"vr":"LO","Value":["P1"]}"#,
                r#""00100020":{"vr":"LO","Value":["P2"]}"#,
                r#""00100020":{"vr":"LO","Value":[" P1 "]}"#,
                r#""00100020":{"vr":"PN","Value":["P1"]}"#,
                r#""00100020":{"Value":["P\u0031"],"vr":"LO"}"#,
                r#""PatientID":"P2""#,
                r#""0010002\u0030":["P2"]"#,
                r#""0020000D":{"vr":"UI","Value":["1.2"]}"#,
                r#""0020000D":{"Value":["ab"],"vr":"UI"}"#,
                r#""0020000d":{"vr":"UI","Value":["1..2"]}"#,
                r#""0020000D":{"vr":"UI","Value":["1.2\\ab"]}"#,
                r#" "00081115" : {"vr":"SQ", "Value":[{"00100020":{"vr":"LO","Value":["P2"]}}, {}]}"#,
                r#""00280010":{"vr":"US","Value":[-1.5e3,0,null]}"#,
                r#""\ud800":1"#,
                r#""00100020":{"vr":"LO","Value":["P2\ud800",1e999]}"#,
                r#""00081030":{"vr":"LO","Value":["\udc00",1e999]}"#,
            ]), 0..6), 0..6),
            separator in prop::sample::select(vec![",", " ,\n "]), size in 1_usize..200,
        ) {
            let rows: Vec<_> = rows.iter().map(|members| format!("{{{}}}", members.join(","))).collect();
            let text = format!("[{}]", rows.join(separator));
            let query = [(tags::PATIENT_ID, "P1"), (tags::STUDY_DATE, "20240101-20240131"), (tags::MODALITIES_IN_STUDY, "CT")]
                .into_iter()
                .fold(QidoQuery::new(SearchLevel::Studies), |query, (tag, value)| query.matching(tag, MatchValue::raw(value)));
            let (keys, uids) = (ExactKeys::from_query(&query), RowUids::new(UidRule::Strict, &SearchLevel::Studies));
            let expected = parsed_and_compared(&text, &RowComparison::new(keys.clone(), uids));
            let mut rows = RequestedRows::new(keys, uids, None);
            let mut output = Vec::new();
            let pushed = text.as_bytes().chunks(size).try_for_each(|chunk| {
                rows.push(&Bytes::copy_from_slice(chunk)).map(|bytes| output.extend_from_slice(&bytes))
            });
            let read = pushed.and_then(|()| rows.finish()).ok();
            let counts = [rows.omitted_count(), rows.irretrievable_count()];
            let read = read.map(|end| (String::from_utf8([output, end.to_vec()].concat()).unwrap(), counts));
            prop_assert_eq!(read, expected, "{}", text);
        }
    }
}
