//! Builds image objects: one phantom image per frame, with the attributes that each kind of image requires (PS3.3 A and
//! C.8).

use super::codes;
use super::declaration::{AttributeValue, Kind, Syntax};
use super::location::{Location, fraction};
use super::object::Object;
use super::phantom;
use super::rle;
use dicom_dictionary_std::tags;

/// Returns an instance of an image series, and the transfer syntax in which it is written.
pub(super) fn image(location: &Location) -> (Object, Syntax) {
    let kind = location.series.kind;
    let mut object = location.object();
    add_general_attributes(&mut object, location);
    match kind {
        Kind::Ct => add_ct(&mut object),
        Kind::Mr => add_mr(&mut object),
        Kind::EnhancedMr => super::enhanced::add_enhanced_mr(&mut object, location),
        Kind::Xa => add_xa(&mut object, location),
        Kind::Pt => add_pt(&mut object, location),
        Kind::Dx | Kind::Mg => add_projection(&mut object, location),
        Kind::Cr => {
            object.text(tags::VIEW_POSITION, "PA").text(tags::PHOTOMETRIC_INTERPRETATION, "MONOCHROME2");
        }
        _ => {}
    }
    if matches!(kind, Kind::Ct | Kind::Mr | Kind::Pt) {
        add_plane(&mut object, location);
    }
    let syntax = add_pixels(&mut object, location);
    (object, syntax)
}

fn add_general_attributes(object: &mut Object, location: &Location) {
    let (study, kind) = (location.study, location.series.kind);
    let image_type = match kind {
        Kind::Ct | Kind::Mr => "ORIGINAL\\PRIMARY\\AXIAL",
        Kind::EnhancedMr => "ORIGINAL\\PRIMARY\\VOLUME\\NONE",
        Kind::Xa => "ORIGINAL\\PRIMARY\\SINGLE PLANE",
        Kind::Dx | Kind::Mg => "ORIGINAL\\PRIMARY\\",
        _ => "ORIGINAL\\PRIMARY",
    };
    object.text(tags::IMAGE_TYPE, image_type);
    if let (AttributeValue::Present(date), AttributeValue::Present(time)) = (study.date, study.time) {
        object.text(tags::CONTENT_DATE, date).text(tags::CONTENT_TIME, time);
        object.text(tags::ACQUISITION_DATE, date).text(tags::ACQUISITION_TIME, time);
    }
    object.text(tags::BURNED_IN_ANNOTATION, "NO").text(tags::LOSSY_IMAGE_COMPRESSION, "00");
}

fn add_ct(object: &mut Object) {
    object
        .text(tags::KVP, "120")
        .text(tags::RESCALE_INTERCEPT, "-1024")
        .text(tags::RESCALE_SLOPE, "1")
        .text(tags::RESCALE_TYPE, "HU")
        .texts(tags::WINDOW_CENTER, &["40", "-600"])
        .texts(tags::WINDOW_WIDTH, &["400", "1500"])
        .texts(tags::WINDOW_CENTER_WIDTH_EXPLANATION, &["SOFT TISSUE", "LUNG"]);
}

fn add_mr(object: &mut Object) {
    object
        .text(tags::SCANNING_SEQUENCE, "SE")
        .text(tags::SEQUENCE_VARIANT, "SK")
        .empty(tags::SCAN_OPTIONS)
        .text(tags::MR_ACQUISITION_TYPE, "2D")
        .text(tags::REPETITION_TIME, "3200.5")
        .text(tags::ECHO_TIME, "34")
        .text(tags::MAGNETIC_FIELD_STRENGTH, "1.5");
}

fn add_xa(object: &mut Object, location: &Location) {
    object
        .text(tags::KVP, "80")
        .text(tags::RADIATION_SETTING, "GR")
        .text(tags::PIXEL_INTENSITY_RELATIONSHIP, "LIN")
        .text(tags::POSITIONER_MOTION, "STATIC")
        .text(tags::POSITIONER_PRIMARY_ANGLE, if location.positions[2] == 0 { "-30.0" } else { "45.0" })
        .text(tags::POSITIONER_SECONDARY_ANGLE, "20.0");
}

fn add_pt(object: &mut Object, location: &Location) {
    object
        .text(tags::UNITS, "BQML")
        .text(tags::COUNTS_SOURCE, "EMISSION")
        .texts(tags::SERIES_TYPE, &["WHOLE BODY", "IMAGE"])
        .text(tags::CORRECTED_IMAGE, "DECY\\ATTN\\SCAT")
        .text(tags::DECAY_CORRECTION, "START")
        .text(tags::RESCALE_INTERCEPT, "0")
        .text(tags::RESCALE_SLOPE, "12.5")
        .text(tags::FRAME_REFERENCE_TIME, "0")
        .number(tags::NUMBER_OF_SLICES, location.series.instances)
        .word(tags::IMAGE_INDEX, u16::try_from(location.positions[3] + 1).unwrap_or(u16::MAX))
        .single_item(tags::RADIOPHARMACEUTICAL_INFORMATION_SEQUENCE, |item| {
            item.text(tags::RADIOPHARMACEUTICAL, "FDG")
                .text(tags::RADIONUCLIDE_TOTAL_DOSE, "350000000")
                .codes(tags::RADIONUCLIDE_CODE_SEQUENCE, &[codes::FLUORINE_18])
                .codes(tags::RADIOPHARMACEUTICAL_CODE_SEQUENCE, &[codes::FDG]);
        });
}

fn add_projection(object: &mut Object, location: &Location) {
    let view = if location.series.kind == Kind::Mg { codes::CRANIO_CAUDAL } else { codes::POSTERO_ANTERIOR };
    object
        .text(tags::PRESENTATION_INTENT_TYPE, "FOR PRESENTATION")
        .text(tags::PRESENTATION_LUT_SHAPE, "IDENTITY")
        .text(tags::PIXEL_INTENSITY_RELATIONSHIP, "LOG")
        .text(tags::RESCALE_INTERCEPT, "0")
        .text(tags::RESCALE_SLOPE, "1")
        .text(tags::RESCALE_TYPE, "US")
        .texts(tags::IMAGER_PIXEL_SPACING, &["0.5", "0.5"])
        .texts(tags::PATIENT_ORIENTATION, &["L", "F"])
        .codes(tags::VIEW_CODE_SEQUENCE, &[view]);
    if location.series.kind == Kind::Mg {
        object.text(tags::VIEW_POSITION, "CC").text(tags::BREAST_IMPLANT_PRESENT, "NO");
    }
}

/// Adds Image Plane and Frame of Reference (PS3.3 C.7.6.2, C.7.4.1): axial slices with a distance of 5 mm.
fn add_plane(object: &mut Object, location: &Location) {
    let height = location.positions[3] * 5;
    object
        .text(tags::FRAME_OF_REFERENCE_UID, &location.frame_of_reference_uid())
        .empty(tags::POSITION_REFERENCE_INDICATOR)
        .text(tags::PATIENT_POSITION, "HFS")
        .texts(tags::IMAGE_ORIENTATION_PATIENT, &["1", "0", "0", "0", "1", "0"])
        .texts(tags::IMAGE_POSITION_PATIENT, &["-120", "-120", &height.to_string()])
        .texts(tags::PIXEL_SPACING, &["2.5", "2.5"])
        .text(tags::SLICE_THICKNESS, "5")
        .number(tags::SLICE_LOCATION, height);
}

/// Adds the Image Pixel and Multi-frame modules and Pixel Data; returns the transfer syntax in which they are written.
fn add_pixels(object: &mut Object, location: &Location) -> Syntax {
    let series = location.series;
    let frames = if is_multi_frame(series.kind) { usize::from(series.frames) } else { 1 };
    let frame_pixels = (0..frames).map(|frame| {
        let relative_position =
            if frames > 1 { fraction(frame, frames) } else { location.relative_position() };
        phantom::render(series, relative_position)
    });
    let bits_allocated =
        if matches!(series.kind, Kind::Ct | Kind::Mr | Kind::EnhancedMr | Kind::Pt) { 16 } else { 8 };
    if is_multi_frame(series.kind) {
        object.number(tags::NUMBER_OF_FRAMES, frames);
        if matches!(series.kind, Kind::Xa | Kind::UsMultiFrame) {
            object.text(tags::FRAME_TIME, "66.7").tag(tags::FRAME_INCREMENT_POINTER, tags::FRAME_TIME);
        }
    }
    object
        .word(tags::SAMPLES_PER_PIXEL, 1)
        .text(tags::PHOTOMETRIC_INTERPRETATION, "MONOCHROME2")
        .word(tags::ROWS, series.size)
        .word(tags::COLUMNS, series.size)
        .word(tags::BITS_ALLOCATED, bits_allocated)
        .word(tags::BITS_STORED, if bits_allocated == 16 { 12 } else { 8 })
        .word(tags::HIGH_BIT, if bits_allocated == 16 { 11 } else { 7 })
        .word(tags::PIXEL_REPRESENTATION, 0);
    if location.study.syntax == Syntax::Rle && bits_allocated == 8 {
        object
            .compressed(frame_pixels.map(|frame| rle::compress(&frame, usize::from(series.size))).collect());
        return Syntax::Rle;
    }
    let bytes: Vec<u8> = if bits_allocated == 16 {
        // 12 bits: in CT air is 0, bone is 2040.
        frame_pixels.flatten().flat_map(|pixel| (u16::from(pixel) * 8).to_le_bytes()).collect()
    } else {
        frame_pixels.flatten().collect()
    };
    object.pixels(bits_allocated, bytes);
    if location.study.syntax == Syntax::Implicit { Syntax::Implicit } else { Syntax::Explicit }
}

fn is_multi_frame(kind: Kind) -> bool {
    matches!(kind, Kind::EnhancedMr | Kind::UsMultiFrame | Kind::Xa)
}
