//! Files as they should be and as they should not.

use super::*;
use crate::demo::samples;
use dicom_core::value::PrimitiveValue;
use dicom_core::{DataElement, dicom_value};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use proptest::prelude::*;
use std::fs;
use std::sync::LazyLock;

/// Bytes of two sample files: sequences in Explicit VR, and an image in Implicit VR.
static FILES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    samples::write_of(folder.path(), |patient| patient.id == samples::Given::Is("DEMO-0001")).unwrap();
    ["patient-01/study-1/series-3/0001.dcm", "patient-01/study-3/series-1/0001.dcm"]
        .map(|name| fs::read(folder.path().join(name)).unwrap())
        .to_vec()
});

fn read_bytes(bytes: &[u8]) -> Result<Header, ReadError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    read(file.path(), |_| true)
}

fn small(transfer_syntax: &str) -> Vec<u8> {
    let object = InMemDicomObject::from_element_iter([
        DataElement::new(tags::STUDY_INSTANCE_UID, VR::UI, PrimitiveValue::from("1.2.3")),
        DataElement::new(tags::PIXEL_REPRESENTATION, VR::US, dicom_value!(U16, [1])),
        DataElement::new(tags::SMALLEST_IMAGE_PIXEL_VALUE, VR::SS, dicom_value!(I16, [-2])),
        DataElement::new(tags::PIXEL_DATA, VR::OW, dicom_value!(U16, [1, 2, 3])),
    ]);
    let meta = FileMetaTableBuilder::new()
        .media_storage_sop_class_uid("1.2")
        .media_storage_sop_instance_uid("1.2.3")
        .transfer_syntax(transfer_syntax)
        .build()
        .unwrap();
    let mut bytes = Vec::new();
    object.with_exact_meta(meta).write_all(&mut bytes).unwrap();
    // `write_all` may leave the preamble to the caller.
    if bytes.starts_with(b"DICM") { [vec![0; 128], bytes].concat() } else { bytes }
}

#[test]
fn numbers_and_pixels_are_found_in_every_byte_order() {
    let big_endian = "1.2.840.10008.1.2.2";
    for syntax in [uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN, big_endian] {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), small(syntax)).unwrap();
        let header = read(file.path(), |_| true).unwrap();
        assert_eq!(header.transfer_syntax, syntax);
        assert_eq!(header.data.text(tags::STUDY_INSTANCE_UID), Some("1.2.3"), "{syntax}");
        let smallest = header.data.get(tags::SMALLEST_IMAGE_PIXEL_VALUE).unwrap();
        assert_eq!(
            *smallest,
            Element { vr: VR::SS, value: Value::Binary(Box::from([0xFE, 0xFF])) },
            "{syntax}"
        );
        let pixels = header.pixel_data.unwrap();
        let range = ByteRange { offset: pixels.offset, length: pixels.length.unwrap() };
        assert_eq!(
            header.stretch(file.path(), pixels.vr, range).bytes().unwrap(),
            [1, 0, 2, 0, 3, 0],
            "{syntax}"
        );
    }
}

#[test]
fn a_deflated_data_set_is_inflated() {
    let plain = small(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let mut file = BufReader::new(&plain[128..]);
    FileMetaTable::from_reader(&mut file).unwrap();
    let mut data = Vec::new();
    file.read_to_end(&mut data).unwrap();
    let meta = FileMetaTableBuilder::new()
        .media_storage_sop_class_uid("1.2")
        .media_storage_sop_instance_uid("1.2.3")
        .transfer_syntax(uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)
        .build()
        .unwrap();
    let mut bytes = vec![0; 128];
    bytes.extend(b"DICM");
    let mut written = Vec::new();
    meta.write(&mut written).unwrap();
    bytes.extend(written.strip_prefix(b"DICM").unwrap_or(&written));
    let mut deflated = flate2::read::DeflateEncoder::new(&data[..], flate2::Compression::default());
    deflated.read_to_end(&mut bytes).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    let header = read(file.path(), |_| true).unwrap();
    assert_eq!(header.data.text(tags::STUDY_INSTANCE_UID), Some("1.2.3"));
    let pixels = header.pixel_data.unwrap();
    let range = ByteRange { offset: pixels.offset, length: pixels.length.unwrap() };
    assert_eq!(header.stretch(file.path(), pixels.vr, range).bytes().unwrap(), [1, 0, 2, 0, 3, 0]);
}

#[test]
fn a_file_that_hides_its_representations_is_read_as_what_it_is() {
    let mut bytes = small(uids::IMPLICIT_VR_LITTLE_ENDIAN);
    // Declare Explicit VR in the file meta information, in place: both UIDs fill the same even length with padding.
    let declared =
        bytes.windows(17).position(|window| window == uids::IMPLICIT_VR_LITTLE_ENDIAN.as_bytes()).unwrap();
    assert_eq!(bytes[declared + 17], 0);
    let length = declared - 2;
    bytes.splice(length..length + 2 + 18, [&20_u16.to_le_bytes()[..], b"1.2.840.10008.1.2.1\0"].concat());
    let group_length = u32::from_le_bytes(bytes[140..144].try_into().unwrap()) + 2;
    bytes[140..144].copy_from_slice(&group_length.to_le_bytes());
    let header = read_bytes(&bytes).unwrap();
    assert_eq!(header.transfer_syntax, uids::EXPLICIT_VR_LITTLE_ENDIAN);
    assert_eq!(header.data.text(tags::STUDY_INSTANCE_UID), Some("1.2.3"));
}

#[test]
fn other_files_are_told_apart() {
    assert!(matches!(read_bytes(b""), Err(ReadError::NotDicom)));
    assert!(matches!(read_bytes(&[0; 500]), Err(ReadError::NotDicom)));
    assert!(matches!(read_bytes(b"\x89PNG and so on"), Err(ReadError::NotDicom)));
    let bytes = small(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    assert!(matches!(read_bytes(&bytes[..bytes.len() - 1]), Err(ReadError::Truncated)));
}

#[test]
fn a_delimiter_that_ends_nothing_breaks_the_file_and_not_the_reader() {
    for delimiter in [[0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0], [0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]] {
        let mut bytes = small(uids::EXPLICIT_VR_LITTLE_ENDIAN);
        let pixels = bytes.windows(4).position(|window| window == [0xE0, 0x7F, 0x10, 0x00]).unwrap();
        bytes.splice(pixels..pixels, delimiter.into_iter().chain([0xFE, 0xFF, 0x00, 0xE0, 8, 0, 0, 0]));
        assert!(read_bytes(&bytes).is_err());
    }
}

proptest! {
    #[test]
    fn no_damage_makes_the_reader_panic(
        which in 0_usize..2,
        cut in any::<prop::sample::Index>(),
        wounds in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cuts in any::<bool>(),
    ) {
        let mut bytes = FILES[which].clone();
        for (at, byte) in wounds {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if cuts {
            bytes.truncate(cut.index(bytes.len()));
        }
        let _ = read_bytes(&bytes);
    }

    #[test]
    fn no_bytes_behind_a_good_start_make_the_reader_panic(tail in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut bytes = small(uids::EXPLICIT_VR_LITTLE_ENDIAN);
        let data = bytes.windows(4).position(|window| window == [0x20, 0x00, 0x0D, 0x00]).unwrap();
        bytes.truncate(data);
        bytes.extend(tail);
        let _ = read_bytes(&bytes);
    }
}
