//! Minimal DICOM objects in the file format of PS3.10.

use dicom_core::value::{C, PixelFragmentSequence};
use dicom_core::{DataElement, PrimitiveValue, Tag, VR, dicom_value};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};

/// Creates an object without pixel data.
pub fn object_without_pixel_data(study: &str, series: &str, instance: &str) -> InMemDicomObject {
    let text = |tag: Tag, vr, value: &str| DataElement::new(tag, vr, PrimitiveValue::from(value));
    InMemDicomObject::from_element_iter([
        text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 100"),
        text(tags::SOP_CLASS_UID, VR::UI, uids::SECONDARY_CAPTURE_IMAGE_STORAGE),
        text(tags::SOP_INSTANCE_UID, VR::UI, instance),
        DataElement::new(tags::PATIENT_NAME, VR::PN, PrimitiveValue::U8(C::from_slice(b"M\xFCller^Eva"))),
        text(tags::STUDY_INSTANCE_UID, VR::UI, study),
        text(tags::SERIES_INSTANCE_UID, VR::UI, series),
    ])
}

/// Creates an object with native pixel data. `pixels` are its frames, of 2 by 2 pixels each, concatenated.
pub fn image(study: &str, series: &str, instance: &str, pixels: &[u8]) -> InMemDicomObject {
    let mut image = object_without_pixel_data(study, series, instance);
    let frame_count = (pixels.len() / 4).to_string();
    image.put(DataElement::new(tags::NUMBER_OF_FRAMES, VR::IS, PrimitiveValue::from(frame_count)));
    for tag in [tags::ROWS, tags::COLUMNS] {
        image.put(DataElement::new(tag, VR::US, dicom_value!(U16, [2])));
    }
    image.put(DataElement::new(tags::BITS_ALLOCATED, VR::US, dicom_value!(U16, [8])));
    image.put(DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::U8(C::from_slice(pixels))));
    image
}

/// Creates an object with encapsulated pixel data, which consists of a Basic Offset Table and fragments.
pub fn encapsulated_image(
    study: &str,
    series: &str,
    instance: &str,
    frame_count: usize,
    offset_table: Vec<u32>,
    fragments: Vec<Vec<u8>>,
) -> InMemDicomObject {
    let mut image = image(study, series, instance, &[]);
    image.put(DataElement::new(
        tags::NUMBER_OF_FRAMES,
        VR::IS,
        PrimitiveValue::from(frame_count.to_string()),
    ));
    image.put(DataElement::new(
        tags::PIXEL_DATA,
        VR::OB,
        PixelFragmentSequence::new(offset_table, fragments),
    ));
    image
}

/// Encodes `object` as a Part 10 file in `transfer_syntax`.
pub fn encode_file(object: InMemDicomObject, transfer_syntax: &str) -> Vec<u8> {
    let uid = object.element(tags::SOP_INSTANCE_UID).unwrap().to_str().unwrap().into_owned();
    let meta = FileMetaTableBuilder::new()
        .media_storage_sop_class_uid(uids::SECONDARY_CAPTURE_IMAGE_STORAGE)
        .media_storage_sop_instance_uid(uid)
        .transfer_syntax(transfer_syntax)
        .build()
        .unwrap();
    let mut bytes = Vec::new();
    object.with_exact_meta(meta).write_all(&mut bytes).unwrap();
    if bytes.starts_with(b"DICM") { [vec![0; 128], bytes].concat() } else { bytes }
}

/// Encodes `object` as a Part 10 file in Explicit VR Little Endian.
pub fn encode_explicit_file(object: InMemDicomObject) -> Vec<u8> {
    encode_file(object, uids::EXPLICIT_VR_LITTLE_ENDIAN)
}
