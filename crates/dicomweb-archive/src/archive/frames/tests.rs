//! Tests locating frames in native and encapsulated pixel data.

use super::super::retrieve::{self, Value};
use super::*;
use dicom_core::value::{C, PixelFragmentSequence, PrimitiveValue};
use dicom_core::{DataElement, VR, dicom_value};
use dicom_dictionary_std::uids;
use dicom_model::json::writer::Step;
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use tempfile::NamedTempFile;

/// The UID of a retired transfer syntax, whose constant in the dictionary is deprecated.
const EXPLICIT_VR_BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

fn image(frames: u16, rows: u16, columns: u16, bits: u16) -> InMemDicomObject {
    InMemDicomObject::from_element_iter([
        DataElement::new(tags::NUMBER_OF_FRAMES, VR::IS, PrimitiveValue::from(frames.to_string())),
        DataElement::new(tags::ROWS, VR::US, dicom_value!(U16, [rows])),
        DataElement::new(tags::COLUMNS, VR::US, dicom_value!(U16, [columns])),
        DataElement::new(tags::BITS_ALLOCATED, VR::US, dicom_value!(U16, [bits])),
        DataElement::new(tags::SAMPLES_PER_PIXEL, VR::US, dicom_value!(U16, [1])),
    ])
}

fn native_file(mut object: InMemDicomObject, bytes: &[u8]) -> NamedTempFile {
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::U8(C::from_slice(bytes))));
    write_file(object, uids::EXPLICIT_VR_LITTLE_ENDIAN)
}

fn encapsulated_file(
    mut object: InMemDicomObject,
    offsets: Vec<u32>,
    fragments: Vec<Vec<u8>>,
) -> NamedTempFile {
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, PixelFragmentSequence::new(offsets, fragments)));
    write_file(object, uids::JPEG2000_LOSSLESS)
}

fn write_file(object: InMemDicomObject, transfer_syntax: &str) -> NamedTempFile {
    let meta = FileMetaTableBuilder::new()
        .media_storage_sop_class_uid("1.2")
        .media_storage_sop_instance_uid("1.2.3")
        .transfer_syntax(transfer_syntax)
        .build()
        .unwrap();
    let file = NamedTempFile::new().unwrap();
    object.with_exact_meta(meta).write_to_file(file.path()).unwrap();
    file
}

fn frames_of(file: &NamedTempFile) -> Vec<Vec<u8>> {
    let frames = locate(file.path()).unwrap();
    let bytes = |number| frames.frame(number).unwrap().flat_map(|chunk| chunk.unwrap()).collect();
    (1..=frames.count()).map(bytes).collect()
}

#[test]
fn native_frames_are_located_by_their_size() {
    let file = native_file(image(3, 2, 2, 8), &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    assert_eq!(frames_of(&file), [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]);
    let frames = locate(file.path()).unwrap();
    assert_eq!(frames.media, "application/octet-stream");
    assert!(frames.frame(0).is_none());
    assert!(frames.frame(4).is_none());
}

#[test]
fn frames_with_one_bit_per_pixel_are_shifted_to_a_byte_boundary() {
    // Three frames of 3 × 3 pixels: 27 bits, the first pixel in the lowest bit.
    let bits: u32 = 0b1_0000_0001 | 0b0_1010_1010 << 9 | 0b1_1111_1111 << 18;
    let file = native_file(image(3, 3, 3, 1), &bits.to_le_bytes());
    assert_eq!(frames_of(&file), [[0b0000_0001, 1], [0b1010_1010, 0], [0b1111_1111, 1]]);
}

#[test]
fn frames_in_big_endian_words_can_begin_and_end_inside_a_word() {
    let samples: Vec<u8> = (1..=28).collect();
    let words = samples.chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    let pixels = |bits| {
        let mut object = image(3, 3, 3, bits);
        object.put(DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(Clone::clone(&words))));
        write_file(object, EXPLICIT_VR_BIG_ENDIAN)
    };
    assert_eq!(frames_of(&pixels(8)), [&samples[..9], &samples[9..18], &samples[18..27]]);
    // Bits 0 to 8, 9 to 17, 18 to 26 of the bytes 1, 2, 3, 4.
    assert_eq!(frames_of(&pixels(1)), [[1, 0], [0b1000_0001, 1], [0, 1]]);
}

#[test]
fn big_endian_samples_of_several_bytes_are_swapped_for_every_vr() {
    let frame = |vr, bits, value: PrimitiveValue| {
        let mut object = image(1, 1, 1, bits);
        object.put(DataElement::new(tags::PIXEL_DATA, vr, value));
        let file = write_file(object, EXPLICIT_VR_BIG_ENDIAN);
        let Ok(Some(Value::Octets(value))) =
            retrieve::locate_value(file.path(), &[Step::Attribute(tags::PIXEL_DATA)])
        else {
            panic!("no value");
        };
        let value = value.read().unwrap();
        let frames = frames_of(&file);
        assert_eq!(frames, [value], "the frame is the value of Pixel Data");
        frames.concat()
    };
    assert_eq!(frame(VR::OB, 16, PrimitiveValue::U8([1, 2].as_slice().into())), [2, 1]);
    assert_eq!(frame(VR::OW, 32, PrimitiveValue::U16([0x0102, 0x0304].as_slice().into())), [4, 3, 2, 1]);
}

#[test]
fn pixel_data_that_is_too_short_is_rejected() {
    let file = native_file(image(3, 2, 2, 8), &[0; 10]);
    assert!(matches!(locate(file.path()), Err(FramesError::Inconsistent(_))));
}

#[test]
fn each_fragment_is_a_frame_if_their_numbers_are_equal() {
    let file = encapsulated_file(image(2, 2, 2, 8), vec![], vec![vec![1, 1], vec![2, 2, 2, 2]]);
    assert_eq!(frames_of(&file), [vec![1, 1], vec![2, 2, 2, 2]]);
    assert_eq!(locate(file.path()).unwrap().media, "image/jp2");
}

#[test]
fn fragments_are_assigned_by_the_offset_table() {
    let parts = vec![vec![1, 1], vec![2, 2], vec![3, 3]];
    let file = encapsulated_file(image(2, 2, 2, 8), vec![0, 20], parts.clone());
    assert_eq!(frames_of(&file), [vec![1, 1, 2, 2], vec![3, 3]]);
    let file = encapsulated_file(image(1, 2, 2, 8), vec![], parts.clone());
    assert_eq!(frames_of(&file), [[1, 1, 2, 2, 3, 3]]);
    let file = encapsulated_file(image(2, 2, 2, 8), vec![], parts);
    assert!(matches!(locate(file.path()), Err(FramesError::Inconsistent(_))));
}
