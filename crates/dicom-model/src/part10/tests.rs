//! Tests the reader with valid, invalid, truncated and damaged files.

use super::in_place::{InPlace, Pixels};
use super::*;
use crate::data_set::swap_words;
use dicom_core::value::{DataSetSequence, PrimitiveValue};
use dicom_core::{DataElement, dicom_value};
use dicom_dictionary_std::uids;
use dicom_object::{FileMetaTable, FileMetaTableBuilder, InMemDicomObject};
use dicomweb_archive::samples;
use proptest::prelude::*;
use std::fs;
use std::io::BufReader;
use std::sync::LazyLock;

/// Two sample files: sequences in Explicit VR, and an image in Implicit VR.
static FILES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    samples::write_selected(folder.path(), |patient| {
        patient.id == samples::AttributeValue::Present("DEMO-0001")
    })
    .unwrap();
    ["patient-01/study-1/series-3/0001.dcm", "patient-01/study-3/series-1/0001.dcm"]
        .map(|name| fs::read(folder.path().join(name)).unwrap())
        .to_vec()
});

fn read_bytes(bytes: &[u8]) -> Result<Header, ReadError> {
    Object::open(bytes, Some(bytes.len() as u64))?.header(|_| true)
}

/// Returns the header, and the bytes of the pixel data after it.
fn read_pixels(bytes: &[u8]) -> (Header, Vec<u8>) {
    let mut object = Object::open(bytes, None).unwrap();
    let header = object.header(|_| true).unwrap();
    let pixel_data = header.pixel_data.unwrap();
    let mut pixels = Vec::new();
    Read::take(object, pixel_data.value.length.unwrap()).read_to_end(&mut pixels).unwrap();
    swap_words(&mut pixels, pixel_data.value.swapped_word_size);
    (header, pixels)
}

fn small_file(transfer_syntax: &str) -> Vec<u8> {
    let object = InMemDicomObject::from_element_iter([
        DataElement::new(tags::STUDY_INSTANCE_UID, VR::UI, PrimitiveValue::from("1.2.3")),
        DataElement::new(tags::PIXEL_REPRESENTATION, VR::US, dicom_value!(U16, [1])),
        DataElement::new(tags::SMALLEST_IMAGE_PIXEL_VALUE, VR::SS, dicom_value!(I16, [-2])),
        DataElement::new(tags::PIXEL_DATA, VR::OW, dicom_value!(U16, [1, 2, 3])),
    ]);
    let mut bytes = Vec::new();
    object.with_exact_meta(meta(transfer_syntax)).write_all(&mut bytes).unwrap();
    with_preamble(bytes)
}

fn meta(transfer_syntax: &str) -> FileMetaTable {
    let meta = FileMetaTableBuilder::new().media_storage_sop_class_uid("1.2");
    meta.media_storage_sop_instance_uid("1.2.3").transfer_syntax(transfer_syntax).build().unwrap()
}

/// Returns a file with its preamble: `write_all` may omit it.
fn with_preamble(bytes: Vec<u8>) -> Vec<u8> {
    if bytes.starts_with(b"DICM") { [vec![0; 128], bytes].concat() } else { bytes }
}

#[test]
fn numbers_and_pixels_are_read_in_every_byte_order() {
    let big_endian = "1.2.840.10008.1.2.2";
    for syntax in [uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN, big_endian] {
        let bytes = small_file(syntax);
        let (header, pixels) = read_pixels(&bytes);
        assert_eq!(header.transfer_syntax, syntax);
        assert_eq!(header.data.text(tags::STUDY_INSTANCE_UID), Some("1.2.3"), "{syntax}");
        let smallest = header.data.get(tags::SMALLEST_IMAGE_PIXEL_VALUE).unwrap();
        assert_eq!(
            *smallest,
            crate::data_set::DataElement { vr: VR::SS, value: DataValue::Binary(Box::from([0xFE, 0xFF])) },
            "{syntax}"
        );
        assert_eq!(pixels, [1, 0, 2, 0, 3, 0], "{syntax}");
        assert_eq!(header.pixel_data.unwrap().value.offset, bytes.len() as u64 - 6, "{syntax}");
    }
}

#[test]
fn values_with_unknown_representation_are_read_by_the_dictionary() {
    let object = InMemDicomObject::from_element_iter([
        DataElement::new(tags::STUDY_INSTANCE_UID, VR::UN, PrimitiveValue::U8(b"1.2.3\0".as_slice().into())),
        DataElement::new(tags::PATIENT_NAME, VR::UN, PrimitiveValue::U8(b"Doe^Jane".as_slice().into())),
        DataElement::new(tags::ROWS, VR::UN, dicom_value!(U8, [2, 1])),
        DataElement::new(tags::PIXEL_REPRESENTATION, VR::UN, dicom_value!(U8, [1, 0])),
        DataElement::new(tags::SMALLEST_IMAGE_PIXEL_VALUE, VR::UN, dicom_value!(U8, [0xFE, 0xFF])),
        DataElement::new(Tag(0x0019, 0x1001), VR::UN, PrimitiveValue::U8(b"private ".as_slice().into())),
    ]);
    for syntax in [uids::EXPLICIT_VR_LITTLE_ENDIAN, "1.2.840.10008.1.2.2"] {
        let mut bytes = Vec::new();
        object.clone().with_exact_meta(meta(syntax)).write_all(&mut bytes).unwrap();
        let data = read_bytes(&with_preamble(bytes)).unwrap().data;
        assert_eq!(data.text(tags::STUDY_INSTANCE_UID), Some("1.2.3"), "{syntax}");
        assert_eq!(data.text(tags::PATIENT_NAME), Some("Doe^Jane"), "{syntax}");
        assert_eq!(data.get(Tag(0x0019, 0x1001)).unwrap().vr, VR::UN);
        if syntax == uids::EXPLICIT_VR_LITTLE_ENDIAN {
            assert_eq!(data.word(tags::ROWS), Some(0x0102));
            assert_eq!(data.get(tags::SMALLEST_IMAGE_PIXEL_VALUE).unwrap().vr, VR::SS);
        } else {
            assert_eq!(
                data.get(tags::ROWS).unwrap().vr,
                VR::UN,
                "UN values are little endian even in this file"
            );
        }
    }
}

#[test]
fn deflated_data_set_is_inflated() {
    let explicit_file = small_file(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let mut file = BufReader::new(&explicit_file[128..]);
    FileMetaTable::from_reader(&mut file).unwrap();
    let mut data = Vec::new();
    file.read_to_end(&mut data).unwrap();
    let meta = meta(uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN);
    let mut bytes = vec![0; 128];
    bytes.extend(b"DICM");
    let mut meta_bytes = Vec::new();
    meta.write(&mut meta_bytes).unwrap();
    bytes.extend(meta_bytes.strip_prefix(b"DICM").unwrap_or(&meta_bytes));
    let mut deflated = flate2::read::DeflateEncoder::new(&data[..], flate2::Compression::default());
    deflated.read_to_end(&mut bytes).unwrap();
    let (header, pixels) = read_pixels(&bytes);
    assert_eq!(header.data.text(tags::STUDY_INSTANCE_UID), Some("1.2.3"));
    assert_eq!(pixels, [1, 0, 2, 0, 3, 0]);
}

#[test]
fn implicit_vr_file_declared_as_explicit_vr_is_read() {
    let mut bytes = small_file(uids::IMPLICIT_VR_LITTLE_ENDIAN);
    // Declare Explicit VR in the file meta information: its UID is two bytes longer, and so is the group.
    let uid_start =
        bytes.windows(17).position(|window| window == uids::IMPLICIT_VR_LITTLE_ENDIAN.as_bytes()).unwrap();
    assert_eq!(bytes[uid_start + 17], 0);
    let length_start = uid_start - 2;
    bytes.splice(
        length_start..length_start + 2 + 18,
        [&20_u16.to_le_bytes()[..], b"1.2.840.10008.1.2.1\0"].concat(),
    );
    let group_length = u32::from_le_bytes(bytes[140..144].try_into().unwrap()) + 2;
    bytes[140..144].copy_from_slice(&group_length.to_le_bytes());
    let header = read_bytes(&bytes).unwrap();
    assert_eq!(header.transfer_syntax, uids::EXPLICIT_VR_LITTLE_ENDIAN);
    assert_eq!(header.data.text(tags::STUDY_INSTANCE_UID), Some("1.2.3"));
}

#[test]
fn files_that_are_not_dicom_or_are_truncated_are_rejected() {
    assert!(matches!(read_bytes(b""), Err(ReadError::NotDicom)));
    assert!(matches!(read_bytes(&[0; 500]), Err(ReadError::NotDicom)));
    assert!(matches!(read_bytes(b"\x89PNG and so on"), Err(ReadError::NotDicom)));
    let bytes = small_file(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    assert!(matches!(read_bytes(&bytes[..bytes.len() - 1]), Err(ReadError::Truncated)));
}

#[test]
fn object_truncated_at_any_byte_before_its_pixels_is_rejected_or_has_fewer_elements() {
    let complete = small_file(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let pixels_start = complete.len() - 6;
    for length in 0..pixels_start {
        let header = Object::open(&complete[..length], None).and_then(|mut object| object.header(|_| true));
        let ends_between_elements =
            header.as_ref().is_ok_and(|header| header.pixel_data.is_none() && header.data.iter().count() < 4);
        assert!(header.is_err() || ends_between_elements, "{length}: {header:?}");
    }
    let without_pixels = &complete[..pixels_start - 12];
    assert!(Object::open(without_pixels, None).unwrap().header(|_| true).is_ok());
    for missing_length in 1..18 {
        let truncated = &without_pixels[..without_pixels.len() - missing_length];
        let header = Object::open(truncated, None).unwrap().header(|_| true);
        let ends_between_elements = header.as_ref().is_ok_and(|header| header.data.iter().count() == 2);
        assert!(header.is_err() || ends_between_elements, "{header:?}");
    }
}

#[test]
fn value_is_found_by_its_path() {
    let item = |text: &str| {
        InMemDicomObject::from_element_iter([DataElement::new(
            tags::DERIVATION_DESCRIPTION,
            VR::ST,
            PrimitiveValue::from(text),
        )])
    };
    let object = InMemDicomObject::from_element_iter([
        DataElement::new(
            tags::SOURCE_IMAGE_SEQUENCE,
            VR::SQ,
            DataSetSequence::from(vec![item("one"), item("two ")]),
        ),
        DataElement::new(tags::ENCAPSULATED_DOCUMENT, VR::OB, PrimitiveValue::from(vec![7_u8; 3000])),
    ]);
    let mut bytes = Vec::new();
    object.with_exact_meta(meta(uids::EXPLICIT_VR_LITTLE_ENDIAN)).write_all(&mut bytes).unwrap();
    let bytes = with_preamble(bytes);
    let value = |path: &[&str]| {
        let mut object = Object::open(&bytes[..], None).unwrap();
        let requested_value =
            object.header_up_to(&Step::path(path).unwrap(), |_| true, || Ok(())).unwrap().requested_value?;
        let mut value = Vec::new();
        Read::take(object, requested_value.length.unwrap()).read_to_end(&mut value).unwrap();
        Some(value)
    };
    assert_eq!(value(&["00420011"]), Some(vec![7; 3000]));
    assert_eq!(value(&["00082112", "2", "00082111"]).as_deref(), Some(&b"two "[..]));
    assert_eq!(value(&["00082112", "3", "00082111"]), None);
    assert_eq!(value(&["00082112"]), None);
    assert_eq!(value(&["00082112", "1", "00082112"]), None);
}

#[test]
fn unexpected_delimiter_is_an_error() {
    for delimiter in [[0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0], [0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]] {
        let mut bytes = small_file(uids::EXPLICIT_VR_LITTLE_ENDIAN);
        let pixel_data_start =
            bytes.windows(4).position(|window| window == [0xE0, 0x7F, 0x10, 0x00]).unwrap();
        bytes.splice(
            pixel_data_start..pixel_data_start,
            delimiter.into_iter().chain([0xFE, 0xFF, 0x00, 0xE0, 8, 0, 0, 0]),
        );
        assert!(read_bytes(&bytes).is_err());
    }
}

proptest! {
    #[test]
    fn damaged_file_never_makes_the_reader_panic(
        file_index in 0_usize..2,
        truncation in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        is_truncated in any::<bool>(),
    ) {
        let mut bytes = FILES[file_index].clone();
        for (index, byte) in changes {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        if is_truncated {
            bytes.truncate(truncation.index(bytes.len()));
        }
        let _ = read_bytes(&bytes);
    }

    #[test]
    fn arbitrary_bytes_after_a_valid_start_never_make_the_reader_panic(tail in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut bytes = small_file(uids::EXPLICIT_VR_LITTLE_ENDIAN);
        let study_uid_start = bytes.windows(4).position(|window| window == [0x20, 0x00, 0x0D, 0x00]).unwrap();
        bytes.truncate(study_uid_start);
        bytes.extend(tail);
        let _ = read_bytes(&bytes);
    }
}

/// A reader that returns at most the given number of bytes per read.
struct SlowReader<'a>(&'a [u8], usize);

impl Read for SlowReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(self.1);
        self.0.read(&mut buffer[..length])
    }
}

/// Returns an object with a private sequence as UN, in an item of defined length.
fn unknown_sequence() -> Vec<u8> {
    let item = b"\xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF\x08\0\0\x01\x04\0\0\0CODE\xFE\xFF\x0D\xE0\0\0\0\0";
    let unknown = [&b"\x09\0\x10\x10UN\0\0\xFF\xFF\xFF\xFF"[..], item, b"\xFE\xFF\xDD\xE0\0\0\0\0"].concat();
    let length = u8::try_from(unknown.len()).unwrap();
    let sequence = [
        &b"\x08\0\x40\x11SQ\0\0"[..],
        &[length + 8, 0, 0, 0],
        b"\xFE\xFF\x00\xE0",
        &[length, 0, 0, 0],
        &unknown,
    ];
    let mut bytes = small_file(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let study_uid_start = bytes.windows(4).position(|window| window == [0x20, 0x00, 0x0D, 0x00]).unwrap();
    bytes.splice(study_uid_start..study_uid_start, sequence.concat());
    bytes
}

#[test]
fn un_value_of_undefined_length_is_a_sequence_in_implicit_vr() {
    let data = read_bytes(&unknown_sequence()).unwrap().data;
    let items = data.items(tags::REFERENCED_IMAGE_SEQUENCE);
    let unknown = items[0].get(Tag(0x0009, 0x1010)).unwrap();
    assert_eq!(unknown.vr, VR::SQ);
    assert_eq!(items[0].items(Tag(0x0009, 0x1010))[0].text(tags::CODE_VALUE), Some("CODE"));
}

#[test]
fn native_pixel_data_that_ends_too_early_cannot_be_skipped() {
    let complete = &FILES[1];
    let mut object = Object::open(&complete[..], None).unwrap();
    let header = object.header(|_| true).unwrap();
    let StoredValue { offset, length, .. } = header.pixel_data.unwrap().value;
    object.skip_native_pixel_data(&header).unwrap();
    let end = usize::try_from(offset + length.unwrap()).unwrap();
    let mut object = Object::open(&complete[..end - 1], None).unwrap();
    let header = object.header(|_| true).unwrap();
    assert!(matches!(object.skip_native_pixel_data(&header), Err(ReadError::Truncated)));
}

#[test]
fn declared_length_allocates_no_memory() {
    let mut bytes = [&[0; 128][..], b"DICM\x02\0\x10\0UT\0\0\0\0\0\x70", b"1.2.840.10008.1.2.1"].concat();
    assert!(matches!(read_bytes(&bytes), Err(ReadError::Malformed(_))));
    bytes[136..138].copy_from_slice(b"OB");
    bytes[134] = 1;
    assert!(matches!(Object::open(&bytes[..], None), Err(ReadError::Truncated)));
}

#[test]
fn both_readers_agree_for_every_chunk_size_and_every_truncation() {
    let syntaxes = [uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN, "1.2.840.10008.1.2.2"];
    for complete in syntaxes.map(small_file).into_iter().chain([unknown_sequence()]) {
        let expected = format!("{:?}", read_bytes(&complete).unwrap());
        for size in 1..20 {
            let header = Object::open(SlowReader(&complete, size), None).unwrap().header(|_| true).unwrap();
            assert_eq!(format!("{header:?}"), expected, "{size}");
        }
        let data = read_bytes(&complete).unwrap().data;
        for length in 0..=complete.len() {
            let truncated = &complete[..length];
            let streamed = read_bytes(truncated);
            let in_place = InPlace::read(&Bytes::copy_from_slice(truncated), 1 << 20, |_| true);
            assert_eq!(streamed.is_ok(), in_place.is_ok(), "{length}: {streamed:?} {in_place:?}");
            let (Ok(streamed), Ok(in_place)) = (streamed, in_place) else { continue };
            assert_eq!(streamed.pixel_data.is_some(), in_place.pixels.is_some(), "{length}");
            assert!(streamed.data.iter().all(|(tag, element)| data.get(tag) == Some(element)), "{length}");
            if let Some(Pixels::Native { bytes, .. }) = in_place.pixels {
                assert_eq!((bytes.len(), length), (6, complete.len()));
            }
        }
    }
}
