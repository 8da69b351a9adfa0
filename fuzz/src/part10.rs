//! Part 10 files (PS3.10 7): the streaming reader and the in-place reader accept the same objects and find the same elements. Chunks
//! do not change the result, declared lengths are not allocated in advance, and the metadata has the same values as the object.

use std::cell::RefCell;
use std::collections::BTreeSet;

use bytes::Bytes;
use dicom_core::VR;
use dicom_model::data_set::{ByteRange, DataElement, DataSet, DataValue, swap_words, word_size};
use dicom_model::part10::in_place::InPlace;
use dicom_model::part10::{Header, Object, ReadError, is_deflated};
use dicom_model::{Attributes, PersonName, Tag, metadata, tags};

use crate::chunks::{ChunkReader, split_in_several_ways};
use crate::memory;

/// The maximum inflated size in bytes of a deflated data set. Larger ones are not compared.
const MAX_INFLATED_SIZE: usize = 4 * 1024 * 1024;

/// Checks one file.
pub fn check(file: &[u8]) {
    let whole = memory::run_within(max_memory(file), || read_stream(vec![file], Some(file.len() as u64)));
    let expected = describe(&whole, file);
    for chunks in split_in_several_ways(file) {
        let chunked = read_stream(chunks.clone(), Some(file.len() as u64));
        assert_eq!(describe(&chunked, file), expected, "the chunks change the result");
        let unsized_file = read_stream(chunks, None);
        if let (Err(_), Ok(header)) = (&whole, &unsized_file) {
            // If the size of the file is unknown, truncated pixel data is detected only while it is read.
            let is_native = header.pixel_data.is_some_and(|pixels| pixels.value.length.is_some());
            assert!(is_native, "the size of the file changes the result");
        } else {
            assert_eq!(describe(&unsized_file, file), expected, "the size of the file changes the result");
        }
    }
    compare_in_place(file, &whole);
    if let Ok(header) = whole {
        check_metadata(header);
    }
}

/// Returns the memory in bytes that reading `file` may take: an element has at least 8 bytes in the file, and takes a few hundred
/// bytes of memory. Another limit applies to deflated data sets.
fn max_memory(file: &[u8]) -> usize {
    if may_be_deflated(file) { usize::MAX } else { 128 * file.len() + 1024 * 1024 }
}

/// Whether the file may be in Deflated Explicit VR Little Endian.
fn may_be_deflated(file: &[u8]) -> bool {
    memchr::memmem::find(file, b"1.2.840.10008.1.2.1.99").is_some()
}

fn read_stream(chunks: Vec<&[u8]>, size: Option<u64>) -> Result<Header, ReadError> {
    Object::open(ChunkReader::new(chunks), size)?.header(|_| true)
}

/// Returns a text with all parts of a result, for comparison.
fn describe(result: &Result<Header, ReadError>, file: &[u8]) -> String {
    match result {
        Ok(header) => format!("{header:?}"),
        // If a deflated data set has several errors, the chunks determine which error is found first.
        Err(ReadError::Malformed(_)) if may_be_deflated(file) => "Malformed".to_owned(),
        Err(error) => format!("{error:?}"),
    }
}

/// Compares the result of the streaming reader with that of the in-place reader.
fn compare_in_place(file: &[u8], streamed: &Result<Header, ReadError>) {
    let visited_tags = RefCell::new(BTreeSet::new());
    let in_place = InPlace::read(&Bytes::copy_from_slice(file), MAX_INFLATED_SIZE, |tag| {
        visited_tags.borrow_mut().insert(tag);
        true
    });
    let visited_tags = visited_tags.into_inner();
    match (streamed, &in_place) {
        (Ok(header), Ok(in_place)) => {
            assert_eq!(header.transfer_syntax, in_place.transfer_syntax);
            let has_pixels = header.pixel_data.is_some_and(|pixels| pixels.tag == tags::PIXEL_DATA);
            // The streaming reader stops at floating-point pixel data; to the in-place reader it is an ordinary element.
            let stream_ends_early = header.pixel_data.is_some() && !has_pixels;
            assert!(
                !has_pixels || in_place.pixels.is_some(),
                "the in-place reader does not find the pixel data"
            );
            for (tag, element) in header.data.iter() {
                assert!(visited_tags.contains(&tag), "the in-place reader does not find {tag}");
                compare_element(tag, element, in_place);
            }
            let is_missing = |tag: &&Tag| tag.element() != 0 && header.data.get(**tag).is_none();
            let missing: Vec<_> = visited_tags.iter().filter(is_missing).collect();
            assert!(stream_ends_early || missing.is_empty(), "only the in-place reader finds {missing:?}");
        }
        (Err(error), Ok(_)) => {
            assert!(
                matches!(error, ReadError::TooLarge),
                "only the in-place reader accepts the file: {error}"
            );
        }
        (Ok(header), Err(error)) => {
            // Only the in-place reader reads pixel data, and the elements after the pixel data of a deflated data set.
            let is_deflated = is_deflated(header.transfer_syntax);
            let in_place_reads_more = header.pixel_data.is_some_and(|pixels| {
                pixels.value.length.is_none() || pixels.tag != tags::PIXEL_DATA || is_deflated
            });
            // The lists of items and fragments of a large file are larger than the limit, too.
            let is_too_large =
                matches!(error, ReadError::TooLarge) && (is_deflated || file.len() > MAX_INFLATED_SIZE / 8);
            assert!(
                in_place_reads_more || is_too_large,
                "only the streaming reader accepts the file: {error}"
            );
        }
        (Err(_), Err(_)) => {}
    }
}

fn compare_element(tag: Tag, element: &DataElement, in_place: &InPlace) {
    let elements = &in_place.elements;
    match &element.value {
        DataValue::Items(items) => {
            for (index, item) in items.iter().enumerate() {
                // The streaming reader ends an item at pixel data; the in-place reader does not.
                if item.iter().any(|(tag, _)| dicom_model::part10::is_pixel_data(tag)) {
                    continue;
                }
                let found = elements
                    .item(tag, index)
                    .unwrap_or_else(|error| panic!("item {index} of {tag}: {error}"));
                let found =
                    found.unwrap_or_else(|| panic!("the in-place reader finds no item {index} of {tag}"));
                for (tag, element) in item.iter() {
                    if let DataValue::Binary(bytes) = &element.value {
                        assert_eq!(found.bytes(tag).map_or(0, Bytes::len), bytes.len(), "{tag}");
                    }
                }
            }
            assert!(
                elements.item(tag, items.len()).is_ok_and(|item| item.is_none()),
                "the in-place reader finds more items of {tag}"
            );
        }
        DataValue::Binary(bytes) => {
            let mut found = elements.bytes(tag).map_or_else(Vec::new, |bytes| bytes.to_vec());
            if in_place.transfer_syntax == "1.2.840.10008.1.2.2" && found != bytes[..] {
                swap_words(&mut found, word_size(element.vr));
            }
            assert_eq!(found, bytes[..], "{tag}");
            if element.vr == VR::US {
                let words: Vec<u16> = elements.words(tag).into_iter().flatten().collect();
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

/// Checks that the metadata of an object (PS3.18 10.4.1.1.2) has the same values as the object.
fn check_metadata(header: Header) {
    let data = header.data.clone();
    let pixels = header.pixel_data;
    let mut written = Vec::new();
    metadata::write(&mut written, header, "https://gateway.example/instances/1".to_owned())
        .expect("writing to memory cannot fail");
    let read: Attributes = serde_json::from_slice(&written).expect("the written text is DICOM JSON");
    compare_attributes(&data, &read);
    if let Some(pixels) = pixels {
        assert!(read.contains(pixels.tag), "the metadata has no link to the pixel data");
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
                let is_padding = |character: char| character == '\0' || character.is_ascii_whitespace();
                let values: Vec<_> = values
                    .iter()
                    .map(|value| value.trim_matches(is_padding))
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
