//! Builds multi-frame objects with functional groups (PS3.3 C.7.6.16): Enhanced MR Image and Segmentation.

use super::codes;
use super::declaration::{AttributeValue, Kind};
use super::location::Location;
use super::object::Object;
use super::phantom;
use dicom_dictionary_std::tags;

/// Adds the attributes of an Enhanced MR Image except pixel data.
pub(super) fn add_enhanced_mr(object: &mut Object, location: &Location) {
    if let (AttributeValue::Present(date), AttributeValue::Present(time)) =
        (location.study.date, location.study.time)
    {
        object.text(tags::ACQUISITION_DATE_TIME, &format!("{date}{time}"));
    }
    object
        .text(tags::FRAME_OF_REFERENCE_UID, &location.frame_of_reference_uid())
        .empty(tags::POSITION_REFERENCE_INDICATOR)
        .text(tags::PIXEL_PRESENTATION, "MONOCHROME")
        .text(tags::VOLUMETRIC_PROPERTIES, "VOLUME")
        .text(tags::VOLUME_BASED_CALCULATION_TECHNIQUE, "NONE")
        .text(tags::COMPLEX_IMAGE_COMPONENT, "MAGNITUDE")
        .text(tags::ACQUISITION_CONTRAST, "T2")
        .text(tags::CONTENT_QUALIFICATION, "RESEARCH")
        .text(tags::MAGNETIC_FIELD_STRENGTH, "3")
        .text(tags::PRESENTATION_LUT_SHAPE, "IDENTITY");
    add_dimensions(object, location);
    object.single_item(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, |shared| {
        add_measures(shared);
        shared.single_item(tags::MR_IMAGE_FRAME_TYPE_SEQUENCE, |item| {
            item.text(tags::FRAME_TYPE, "ORIGINAL\\PRIMARY\\VOLUME\\NONE")
                .text(tags::PIXEL_PRESENTATION, "MONOCHROME")
                .text(tags::VOLUMETRIC_PROPERTIES, "VOLUME")
                .text(tags::VOLUME_BASED_CALCULATION_TECHNIQUE, "NONE")
                .text(tags::COMPLEX_IMAGE_COMPONENT, "MAGNITUDE")
                .text(tags::ACQUISITION_CONTRAST, "T2");
        });
    });
    let frames: Vec<Object> = (0..usize::from(location.series.frames))
        .map(|frame| {
            let mut item = object.item();
            add_frame_content(&mut item, frame);
            add_plane_position(&mut item, frame);
            item
        })
        .collect();
    object.items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, frames);
}

/// Returns a Segmentation (PS3.3 A.51) of the first series of the study: the lungs, one frame per slice.
pub(super) fn segmentation(location: &Location) -> Object {
    let source = location.source();
    let (size, slices) = (source.series.size, usize::from(source.series.instances));
    let mut object = location.object();
    object
        .text(tags::IMAGE_TYPE, "DERIVED\\PRIMARY")
        .attribute(tags::CONTENT_DATE, location.study.date)
        .attribute(tags::CONTENT_TIME, location.study.time)
        .text(tags::FRAME_OF_REFERENCE_UID, &location.frame_of_reference_uid())
        .empty(tags::POSITION_REFERENCE_INDICATOR)
        .text(tags::CONTENT_LABEL, "LUNGS")
        .text(tags::CONTENT_DESCRIPTION, "Both lungs, drawn by the sample writer")
        .text(tags::CONTENT_CREATOR_NAME, "Sample^Writer")
        .text(tags::DEVICE_SERIAL_NUMBER, "1")
        .text(tags::SOFTWARE_VERSIONS, "1")
        .text(tags::SEGMENTATION_TYPE, "BINARY")
        .text(tags::LOSSY_IMAGE_COMPRESSION, "00")
        .single_item(tags::SEGMENT_SEQUENCE, |segment| {
            segment
                .word(tags::SEGMENT_NUMBER, 1)
                .text(tags::SEGMENT_LABEL, "Lungs")
                .text(tags::SEGMENT_ALGORITHM_TYPE, "AUTOMATIC")
                .text(tags::SEGMENT_ALGORITHM_NAME, "Sample writer")
                .codes(tags::SEGMENTED_PROPERTY_CATEGORY_CODE_SEQUENCE, &[codes::TISSUE])
                .codes(tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE, &[codes::LUNG]);
        });
    let references: Vec<Object> = source.instances().map(|slice| reference(&object, &slice)).collect();
    object.single_item(tags::REFERENCED_SERIES_SEQUENCE, |series| {
        series
            .text(tags::SERIES_INSTANCE_UID, &source.series_uid())
            .items(tags::REFERENCED_INSTANCE_SEQUENCE, references);
    });
    add_dimensions(&mut object, location);
    object.single_item(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, |shared| {
        add_measures(shared);
        shared.single_item(tags::SEGMENT_IDENTIFICATION_SEQUENCE, |item| {
            item.word(tags::REFERENCED_SEGMENT_NUMBER, 1);
        });
    });
    let frames: Vec<Object> = source
        .instances()
        .enumerate()
        .map(|(frame, slice)| {
            let mut item = object.item();
            add_frame_content(&mut item, frame);
            add_plane_position(&mut item, frame);
            item.single_item(tags::DERIVATION_IMAGE_SEQUENCE, |derivation| {
                derivation.codes(tags::DERIVATION_CODE_SEQUENCE, &[codes::SEGMENTATION]);
                let mut image = reference(derivation, &slice);
                image.codes(tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, &[codes::SOURCE_IMAGE]);
                derivation.items(tags::SOURCE_IMAGE_SEQUENCE, [image]);
            });
            item
        })
        .collect();
    object
        .items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, frames)
        .number(tags::NUMBER_OF_FRAMES, slices)
        .word(tags::SAMPLES_PER_PIXEL, 1)
        .text(tags::PHOTOMETRIC_INTERPRETATION, "MONOCHROME2")
        .word(tags::ROWS, size)
        .word(tags::COLUMNS, size)
        .word(tags::BITS_ALLOCATED, 1)
        .word(tags::BITS_STORED, 1)
        .word(tags::HIGH_BIT, 0)
        .word(tags::PIXEL_REPRESENTATION, 0)
        .pixels(
            1,
            source
                .instances()
                .flat_map(|slice| phantom::lung_mask(size, slice.relative_position()))
                .collect(),
        );
    object
}

/// Returns a reference to an instance (PS3.3 table 10-11).
pub(super) fn reference(parent: &Object, instance: &Location) -> Object {
    let mut item = parent.item();
    item.text(tags::REFERENCED_SOP_CLASS_UID, instance.sop_class())
        .text(tags::REFERENCED_SOP_INSTANCE_UID, &instance.instance_uid());
    item
}

/// Adds the dimension of the frames: their position in the stack (PS3.3 C.7.6.17).
fn add_dimensions(object: &mut Object, location: &Location) {
    let organization = format!("{}.1", location.instance_uid());
    object
        .single_item(tags::DIMENSION_ORGANIZATION_SEQUENCE, |item| {
            item.text(tags::DIMENSION_ORGANIZATION_UID, &organization);
        })
        .single_item(tags::DIMENSION_INDEX_SEQUENCE, |item| {
            item.text(tags::DIMENSION_ORGANIZATION_UID, &organization)
                .tag(tags::DIMENSION_INDEX_POINTER, tags::IN_STACK_POSITION_NUMBER)
                .tag(tags::FUNCTIONAL_GROUP_POINTER, tags::FRAME_CONTENT_SEQUENCE);
        });
    if location.series.kind == Kind::Seg {
        object.text(tags::DIMENSION_ORGANIZATION_TYPE, "3D");
    }
}

fn add_measures(shared: &mut Object) {
    shared
        .single_item(tags::PIXEL_MEASURES_SEQUENCE, |item| {
            item.texts(tags::PIXEL_SPACING, &["2.5", "2.5"]).text(tags::SLICE_THICKNESS, "5");
        })
        .single_item(tags::PLANE_ORIENTATION_SEQUENCE, |item| {
            item.texts(tags::IMAGE_ORIENTATION_PATIENT, &["1", "0", "0", "0", "1", "0"]);
        });
}

fn add_frame_content(item: &mut Object, frame: usize) {
    let number = u32::try_from(frame + 1).unwrap_or(u32::MAX);
    item.single_item(tags::FRAME_CONTENT_SEQUENCE, |content| {
        content
            .text(tags::STACK_ID, "1")
            .longs(tags::IN_STACK_POSITION_NUMBER, &[number])
            .longs(tags::DIMENSION_INDEX_VALUES, &[number]);
    });
}

fn add_plane_position(item: &mut Object, frame: usize) {
    item.single_item(tags::PLANE_POSITION_SEQUENCE, |plane| {
        plane.texts(tags::IMAGE_POSITION_PATIENT, &["-120", "-120", &(frame * 5).to_string()]);
    });
}
