//! Part 10 files (PS3.10 7): the streaming reader and the reader in place accept the same objects and find the same elements,
//! however the bytes come; no claimed length is allocated; and the metadata written of an object say what it holds.

use std::cell::RefCell;
use std::collections::BTreeSet;

use bytes::Bytes;
use dicom_core::VR;
use dicom_model::data_set::{ByteRange, DataElement, DataSet, DataValue, swap_words, word_size};
use dicom_model::part10::in_place::InPlace;
use dicom_model::part10::{Header, Object, ReadError, is_deflated};
use dicom_model::{Attributes, PersonName, Tag, metadata, tags};

use crate::chunks::{ChunkReader, cuts};
use crate::memory;

/// Deflated data sets may inflate to so many bytes; those that inflate to more are not compared.
const MAX_INFLATED: usize = 4 * 1024 * 1024;

/// Checks one file.
pub fn check(file: &[u8]) {
    let whole = memory::within(bound(file), || streamed(vec![file], Some(file.len() as u64)));
    let expected = shown(&whole, file);
    for chunks in cuts(file) {
        let cut = streamed(chunks.clone(), Some(file.len() as u64));
        assert_eq!(shown(&cut, file), expected, "the chunks change what is read");
        let unsized_file = streamed(chunks, None);
        if let (Err(_), Ok(header)) = (&whole, &unsized_file) {
            // Pixel data that the file is too short for are noticed while they are read, when its size is not known before.
            let is_native = header.pixel_data.is_some_and(|pixels| pixels.value.length.is_some());
            assert!(is_native, "the size of the file changes what is read");
        } else {
            assert_eq!(shown(&unsized_file, file), expected, "the size of the file changes what is read");
        }
    }
    compare_in_place(file, &whole);
    if let Ok(header) = whole {
        check_metadata(header);
    }
}

/// So much memory reading `file` may take: some hundred bytes for an element, which takes 8 bytes of a file at least. What is
/// deflated has a bound of its own.
fn bound(file: &[u8]) -> usize {
    if names_deflated(file) { usize::MAX } else { 128 * file.len() + 1024 * 1024 }
}

/// Whether the file may be in Deflated Explicit VR Little Endian.
fn names_deflated(file: &[u8]) -> bool {
    memchr::memmem::find(file, b"1.2.840.10008.1.2.1.99").is_some()
}

fn streamed(chunks: Vec<&[u8]>, size: Option<u64>) -> Result<Header, ReadError> {
    Object::open(ChunkReader::new(chunks), size)?.header(|_| true)
}

fn shown(read: &Result<Header, ReadError>, file: &[u8]) -> String {
    match read {
        Ok(header) => format!("{header:?}"),
        // How much was inflated before the invalid bytes decides which of two defects of a deflated data set is found first.
        Err(ReadError::Broken(_)) if names_deflated(file) => "Broken".to_owned(),
        Err(error) => format!("{error:?}"),
    }
}

/// What the reader in place makes of the same file.
fn compare_in_place(file: &[u8], streamed: &Result<Header, ReadError>) {
    let seen = RefCell::new(BTreeSet::new());
    let in_place = InPlace::read(&Bytes::copy_from_slice(file), MAX_INFLATED, |tag| {
        seen.borrow_mut().insert(tag);
        true
    });
    let seen = seen.into_inner();
    match (streamed, &in_place) {
        (Ok(header), Ok(in_place)) => {
            assert_eq!(header.transfer_syntax, in_place.transfer_syntax);
            let has_pixels = header.pixel_data.is_some_and(|pixels| pixels.tag == tags::PIXEL_DATA);
            // Floating point pixels end what is streamed, and are ordinary elements in place.
            let reads_on = header.pixel_data.is_some() && !has_pixels;
            assert!(!has_pixels || in_place.pixels.is_some(), "the pixel data are not found in place");
            for (tag, element) in header.data.iter() {
                assert!(seen.contains(&tag), "{tag} is not found in place");
                compare_element(tag, element, in_place);
            }
            let missing = |tag: &&Tag| tag.element() != 0 && header.data.get(**tag).is_none();
            let missed: Vec<_> = seen.iter().filter(missing).collect();
            assert!(reads_on || missed.is_empty(), "{missed:?} are found in place alone");
        }
        (Err(error), Ok(_)) => {
            assert!(matches!(error, ReadError::TooLarge), "only the reader in place accepts it: {error}");
        }
        (Ok(header), Err(error)) => {
            // Only it reads pixel data, and what a deflated data set holds behind them.
            let is_deflated = is_deflated(header.transfer_syntax);
            let looks_further = header.pixel_data.is_some_and(|pixels| {
                pixels.value.length.is_none() || pixels.tag != tags::PIXEL_DATA || is_deflated
            });
            let inflates_to_more = is_deflated && matches!(error, ReadError::TooLarge);
            assert!(looks_further || inflates_to_more, "only the streaming reader accepts it: {error}");
        }
        (Err(_), Err(_)) => {}
    }
}

fn compare_element(tag: Tag, element: &DataElement, in_place: &InPlace) {
    let elements = &in_place.elements;
    match &element.value {
        DataValue::Items(items) => {
            for (index, item) in items.iter().enumerate() {
                // Pixel data inside of an item end it there, and are read.
                if item.iter().any(|(tag, _)| dicom_model::part10::is_pixel_data(tag)) {
                    continue;
                }
                let found = elements
                    .item(tag, index)
                    .unwrap_or_else(|error| panic!("item {index} of {tag}: {error}"));
                let found = found.unwrap_or_else(|| panic!("{tag} has no item {index} in place"));
                for (tag, element) in item.iter() {
                    if let DataValue::Binary(bytes) = &element.value {
                        assert_eq!(found.bytes(tag).map_or(0, Bytes::len), bytes.len(), "{tag}");
                    }
                }
            }
            assert!(
                elements.item(tag, items.len()).is_ok_and(|item| item.is_none()),
                "{tag} has more items in place"
            );
        }
        DataValue::Binary(bytes) => {
            let mut found = elements.bytes(tag).map_or_else(Vec::new, |bytes| bytes.to_vec());
            if in_place.transfer_syntax == "1.2.840.10008.1.2.2" && found != bytes[..] {
                swap_words(&mut found, word_size(element.vr));
            }
            assert_eq!(found, bytes[..], "{tag}");
            if element.vr == VR::US {
                let words = elements.words(tag).unwrap_or_default();
                assert_eq!(words, element.words().collect::<Vec<_>>(), "{tag}");
            }
        }
        DataValue::Text(values) => {
            let found = elements.bytes(tag).map_or(&[][..], |bytes| bytes);
            if found.iter().all(|byte| matches!(byte, b'!'..=b'~'))
                && !found.contains(&b'\\')
                && !found.contains(&b'~')
            {
                let value = values.first().map_or("", |value| value);
                assert_eq!(value.as_bytes(), found, "{tag}");
            }
        }
        DataValue::Bulk(ByteRange { length, .. }) => {
            assert_eq!(elements.bytes(tag).map_or(0, Bytes::len) as u64, *length, "{tag}");
        }
    }
}

/// The metadata of an object (PS3.18 10.4.1.1.2), read again, say what the object says.
fn check_metadata(header: Header) {
    let data = header.data.clone();
    let pixels = header.pixel_data;
    let mut written = Vec::new();
    metadata::write(&mut written, header, "https://gateway.example/instances/1".to_owned())
        .expect("memory takes all");
    let read: Attributes = serde_json::from_slice(&written).expect("what is written is DICOM JSON");
    compare_attributes(&data, &read);
    if let Some(pixels) = pixels {
        assert!(read.contains(pixels.tag), "the metadata have no link to the pixel data");
    }
}

fn compare_attributes(data: &DataSet, read: &Attributes) {
    for (tag, element) in data.iter() {
        assert!(read.contains(tag), "{tag} is not in the metadata");
        match &element.value {
            DataValue::Items(items) => {
                let found: Vec<_> = read.items(tag).collect();
                assert_eq!(found.len(), items.len(), "items of {tag}");
                for (item, found) in items.iter().zip(found) {
                    compare_attributes(item, found);
                }
            }
            DataValue::Text(_) if tag == tags::SPECIFIC_CHARACTER_SET => {
                assert!(read.texts(tag).all(|term| term == "ISO_IR 192"));
            }
            DataValue::Text(values) if element.vr == VR::PN => {
                let names: Vec<_> = values.iter().filter_map(|value| PersonName::parse(value)).collect();
                assert_eq!(read.names(tag).cloned().collect::<Vec<_>>(), names, "{tag}");
            }
            DataValue::Text(values) => {
                let blank = |letter: char| letter == '\0' || letter.is_ascii_whitespace();
                let values: Vec<_> = values
                    .iter()
                    .map(|value| value.trim_matches(blank))
                    .filter(|value| !value.is_empty())
                    .collect();
                let found: Vec<_> = read.texts(tag).collect();
                assert_eq!(found.len(), values.len(), "values of {tag}");
                for (found, value) in found.into_iter().zip(values) {
                    let is_number = matches!(element.vr, VR::IS | VR::DS)
                        && found.parse::<f64>().is_ok_and(|number| value.parse() == Ok(number));
                    assert!(is_number || found == value, "{tag}: {value:?} became {found:?}");
                }
            }
            DataValue::Binary(_) if element.vr == VR::US => {
                let words: Vec<_> = element.words().map(|word| word.to_string()).collect();
                assert_eq!(read.texts(tag).collect::<Vec<_>>(), words, "{tag}");
            }
            DataValue::Binary(_) | DataValue::Bulk(_) => {}
        }
    }
}
