//! Rows of DICOM JSON (PS3.18 F.2): chunks do not change the rows or the error, `serde_json` reads the same rows from the whole body
//! after values that it cannot decode have been replaced, writing and reading a row does not change it, the scanner of attributes
//! finds the same objects, and only valid objects are read as complete ones.

use dicom_core::VR;
use dicom_model::data_set::{DataElement, DataSet, DataValue};
use dicom_model::json::attribute_texts::{AttributeTexts, Found};
use dicom_model::json::complete::read_object;
use dicom_model::json::reader::{RowError, RowReader};
use dicom_model::json::writer::{BulkDataLinks, Step, write_data_set};
use dicom_model::{Attributes, ComponentGroup, Element, PersonName, Value, json};

use crate::chunks::split_in_several_ways;

/// Checks one body.
pub fn check(body: &[u8]) {
    let whole = read_rows(&[body]);
    for chunks in split_in_several_ways(body) {
        assert_eq!(read_rows(&chunks), whole, "the chunks change the result");
    }
    let (rows, result) = whole;
    check_attribute_texts(body, &result);
    check_complete_objects(body);
    if let Ok(text) = str::from_utf8(body) {
        match json::parse::<Vec<Attributes>>(text) {
            Ok(expected) => assert_eq!((&rows, &result), (&expected, &Ok(expected.len()))),
            // The reader skips byte order marks, and serde_json counts its recursion limit from another level.
            Err(error) => assert!(
                result.is_err() || text.contains('\u{feff}') || error.to_string().contains("recursion limit"),
                "an invalid array of rows is accepted: {error}"
            ),
        }
    }
    assert!(result.is_err() || result == Ok(rows.len()), "the reported count is not the number of rows");
    for (row, next) in rows.iter().zip(rows.iter().skip(1)) {
        assert_eq!(
            digest(row) == digest(next),
            row == next,
            "digests differ although the rows are equal, or the reverse"
        );
    }
    for row in &rows {
        let Some(data) = data_set(row) else { continue };
        let mut written = Vec::new();
        write_data_set(&mut written, &data, &WithoutBulkData).expect("writing to memory cannot fail");
        let read_again: Attributes =
            serde_json::from_slice(&written).expect("the written text is DICOM JSON");
        assert_eq!(&read_again, row, "writing and reading changes a row");
    }
}

/// The scanner rejects attributes that occur twice, deep nesting, and byte order marks between rows, which the reader accepts.
fn check_attribute_texts(body: &[u8], result: &Result<usize, RowError>) {
    let whole = scan(&[body]);
    for chunks in split_in_several_ways(body) {
        assert_eq!(scan(&chunks), whole, "the chunks change what is found");
    }
    if let (Ok(scanned), Ok(read)) = (&whole.1, result) {
        assert_eq!(scanned, read, "the scanner counts other objects than the reader");
    }
}

/// What is read as a complete object is one for `serde_json`, too.
fn check_complete_objects(body: &[u8]) {
    for start in memchr::memchr_iter(b'{', body).take(32) {
        let text = body.get(start..).unwrap_or_default();
        // Bytes that are not UTF-8 are accepted in strings.
        if let Ok(length) = read_object(text, &mut |_, _| true)
            && let Some(object) = text.get(..length).and_then(|object| str::from_utf8(object).ok())
        {
            let accepted = json::parse::<serde_json::Value>(object);
            assert!(accepted.is_ok(), "an invalid object is read: {accepted:?}");
        }
    }
}

fn scan(chunks: &[&[u8]]) -> (Vec<String>, Result<usize, RowError>) {
    let mut uids = Vec::new();
    let mut scanner = AttributeTexts::new(&[dicom_model::tags::STUDY_INSTANCE_UID], usize::MAX);
    let mut add = |_, found: Found<'_>| {
        if let Found::Attribute { text, .. } = found {
            uids.push(String::from_utf8_lossy(text).into_owned());
        }
    };
    let pushed = chunks.iter().try_for_each(|chunk| scanner.push(chunk, &mut add));
    (uids, pushed.and_then(|()| scanner.finish()))
}

fn read_rows(chunks: &[&[u8]]) -> (Vec<Attributes>, Result<usize, RowError>) {
    let mut rows = Vec::new();
    let mut reader = RowReader::new();
    let mut add = |row| rows.push(row);
    let pushed = chunks.iter().try_for_each(|chunk| reader.push(chunk, &mut add));
    let result = pushed.and_then(|()| reader.finish(&mut add));
    (rows, result)
}

fn digest(row: &Attributes) -> Vec<u8> {
    let mut digest = Vec::new();
    row.digest_into(&mut |bytes| digest.extend_from_slice(bytes));
    digest
}

/// Converts a row to a data set of texts, names and sequences. `None` if an element has values of several types, or texts that
/// cannot be separated in any value representation.
fn data_set(row: &Attributes) -> Option<DataSet> {
    let mut data = DataSet::default();
    for (tag, element) in row.iter() {
        // The writer sets the character set.
        if tag == dicom_model::tags::SPECIFIC_CHARACTER_SET {
            return None;
        }
        data.insert(tag, data_element(element)?);
    }
    Some(data)
}

fn data_element(element: &Element) -> Option<DataElement> {
    let values = &element.values;
    let items: Option<Vec<_>> = values
        .iter()
        .map(|value| if let Value::Item(item) = value { data_set(item) } else { None })
        .collect();
    if let Some(items) = items.filter(|items| !items.is_empty()) {
        return Some(DataElement { vr: VR::SQ, value: DataValue::Items(items) });
    }
    let names: Option<Vec<_>> = values
        .iter()
        .map(|value| if let Value::Name(name) = value { join_name(name) } else { None })
        .collect();
    if let Some(names) = names.filter(|names| !names.is_empty()) {
        return Some(DataElement { vr: VR::PN, value: DataValue::Text(names) });
    }
    let texts: Option<Vec<_>> = values
        .iter()
        .map(|value| if let Value::Text(text) = value { Some(text.clone()) } else { None })
        .collect();
    let texts = texts?;
    let vr = if texts.iter().any(|text| text.contains('\\')) { VR::UT } else { VR::UC };
    // UT has one value, which may contain a backslash.
    (vr == VR::UC || texts.len() == 1).then_some(DataElement { vr, value: DataValue::Text(texts) })
}

/// Returns `Family^Given=…`; `None` if a component contains a separator.
fn join_name(name: &PersonName) -> Option<Box<str>> {
    let group = |group: &Option<ComponentGroup>| {
        let Some(group) = group else { return String::new() };
        [&group.family, &group.given, &group.middle, &group.prefix, &group.suffix]
            .map(AsRef::as_ref)
            .join("^")
    };
    let groups = [&name.alphabetic, &name.ideographic, &name.phonetic].map(group);
    let is_unambiguous = groups.iter().all(|group| !group.contains(['=', '\\']));
    is_unambiguous.then(|| groups.join("=").into())
}

/// The links of data sets without bulk data.
struct WithoutBulkData;

impl BulkDataLinks for WithoutBulkData {
    fn link(&self, _: &[Step]) -> String {
        unreachable!("a row has no bulk data")
    }
}
