//! Rows of DICOM JSON (PS3.18 F.2): the same rows and the same verdict however the body is cut into chunks, those that serde_json
//! reads in one piece, and the same again after they were written.

use dicom_core::VR;
use dicom_model::data_set::{DataElement, DataSet, DataValue};
use dicom_model::json::reader::{RowError, RowReader};
use dicom_model::json::writer::{BulkDataLinks, Step, write_data_set};
use dicom_model::{Attributes, Element, NameGroup, PersonName, Value};

use crate::chunks::cuts;

/// Checks one body.
pub fn check(body: &[u8]) {
    let whole = read(&[body]);
    for chunks in cuts(body) {
        assert_eq!(read(&chunks), whole, "the chunks change what is read");
    }
    let (rows, verdict) = whole;
    if let Ok(text) = str::from_utf8(body) {
        match serde_json::from_str::<Vec<Attributes>>(text) {
            Ok(expected) => assert_eq!((&rows, &verdict), (&expected, &Ok(expected.len()))),
            // Byte order marks are read over; serde_json bounds how deep it goes from where it starts.
            Err(error) => assert!(
                verdict.is_err()
                    || text.contains('\u{feff}')
                    || error.to_string().contains("recursion limit"),
                "what is no array of rows is read: {error}"
            ),
        }
    }
    assert!(verdict.is_err() || verdict == Ok(rows.len()), "rows are counted wrong");
    for (row, next) in rows.iter().zip(rows.iter().skip(1)) {
        assert_eq!(digest(row) == digest(next), row == next, "a digest does not tell rows apart");
    }
    for row in &rows {
        let Some(data) = data_set(row) else { continue };
        let mut written = Vec::new();
        write_data_set(&mut written, &data, &NoLinks).expect("memory takes all");
        let read: Attributes = serde_json::from_slice(&written).expect("what is written is DICOM JSON");
        assert_eq!(&read, row, "writing and reading changes a row");
    }
}

fn read(chunks: &[&[u8]]) -> (Vec<Attributes>, Result<usize, RowError>) {
    let mut rows = Vec::new();
    let mut reader = RowReader::new();
    let mut each = |row| rows.push(row);
    let pushed = chunks.iter().try_for_each(|chunk| reader.push(chunk, &mut each));
    let verdict = pushed.and_then(|()| reader.finish(&mut each));
    (rows, verdict)
}

fn digest(row: &Attributes) -> Vec<u8> {
    let mut digest = Vec::new();
    row.digest_into(&mut |bytes| digest.extend_from_slice(bytes));
    digest
}

/// The row as a data set of texts, names and sequences; `None` where one element has several kinds of values, or texts that no
/// representation keeps apart.
fn data_set(row: &Attributes) -> Option<DataSet> {
    let mut data = DataSet::default();
    for (tag, element) in row.iter() {
        // The character set is that of the text that is written.
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
    let names: Option<Vec<_>> =
        values.iter().map(|value| if let Value::Name(name) = value { unsplit(name) } else { None }).collect();
    if let Some(names) = names.filter(|names| !names.is_empty()) {
        return Some(DataElement { vr: VR::PN, value: DataValue::Text(names) });
    }
    let texts: Option<Vec<_>> = values
        .iter()
        .map(|value| if let Value::Text(text) = value { Some(text.clone()) } else { None })
        .collect();
    let texts = texts?;
    let vr = if texts.iter().any(|text| text.contains('\\')) { VR::UT } else { VR::UC };
    // A number that JSON writes in another way than its text is one of the reader, not of the writer.
    (vr == VR::UC || texts.len() == 1).then_some(DataElement { vr, value: DataValue::Text(texts) })
}

/// `Family^Given=…`; `None` where a component holds what separates components.
fn unsplit(name: &PersonName) -> Option<Box<str>> {
    let group = |group: &Option<NameGroup>| {
        let Some(group) = group else { return String::new() };
        [&group.family, &group.given, &group.middle, &group.prefix, &group.suffix]
            .map(AsRef::as_ref)
            .join("^")
    };
    let groups = [&name.alphabetic, &name.ideographic, &name.phonetic].map(group);
    let is_plain = groups.iter().all(|group| !group.contains(['=', '\\']));
    is_plain.then(|| groups.join("=").into())
}

/// For data sets without bulk data.
struct NoLinks;

impl BulkDataLinks for NoLinks {
    fn link(&self, _: &[Step]) -> String {
        unreachable!("a row has no bulk data")
    }
}
