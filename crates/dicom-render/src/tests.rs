//! Renders small objects that are built byte by byte. tests/e2e compares the results for real objects with those of another
//! implementation.

use bytes::Bytes;
use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};
use image::GenericImageView;
use proptest::prelude::*;

use super::*;

const LIMIT: usize = 64 << 20;

/// A file under construction, in Explicit VR Little Endian.
#[derive(Clone)]
struct File {
    transfer_syntax: &'static str,
    elements: Vec<(Tag, Vec<u8>)>,
}

impl File {
    /// Creates an image of `rows` and `columns` with samples of `bits` bits.
    fn new(rows: u16, columns: u16, bits: u16, interpretation: &str) -> Self {
        let samples: u16 = if ["RGB", "YBR_FULL", "YBR_FULL_422"].contains(&interpretation) { 3 } else { 1 };
        let file = Self { transfer_syntax: uids::EXPLICIT_VR_LITTLE_ENDIAN, elements: Vec::new() };
        file.words(tags::SAMPLES_PER_PIXEL, &[samples])
            .text(tags::PHOTOMETRIC_INTERPRETATION, "CS", interpretation)
            .words(tags::ROWS, &[rows])
            .words(tags::COLUMNS, &[columns])
            .words(tags::BITS_ALLOCATED, &[bits.next_multiple_of(8).min(if bits == 1 { 1 } else { 32 })])
            .words(tags::BITS_STORED, &[bits])
            .words(tags::PIXEL_REPRESENTATION, &[0])
    }

    fn element(mut self, tag: Tag, vr: &str, value: &[u8]) -> Self {
        let mut bytes = [tag.group().to_le_bytes(), tag.element().to_le_bytes()].concat();
        bytes.extend_from_slice(vr.as_bytes());
        if ["OB", "OW", "SQ", "UN"].contains(&vr) {
            bytes.extend_from_slice(&[0, 0]);
            bytes.extend_from_slice(&u32::try_from(value.len()).unwrap().to_le_bytes());
        } else {
            bytes.extend_from_slice(&u16::try_from(value.len()).unwrap().to_le_bytes());
        }
        bytes.extend_from_slice(value);
        self.elements.retain(|(other, _)| *other != tag);
        self.elements.push((tag, bytes));
        self.elements.sort_by_key(|(tag, _)| *tag);
        self
    }

    fn words(self, tag: Tag, words: &[u16]) -> Self {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.element(tag, "US", &bytes)
    }

    fn text(self, tag: Tag, vr: &str, text: &str) -> Self {
        let padded = if text.len() % 2 == 1 { format!("{text} ") } else { text.to_owned() };
        self.element(tag, vr, padded.as_bytes())
    }

    /// Adds a sequence with one item that has the elements of `item`.
    fn item(self, tag: Tag, item: &Self) -> Self {
        let content: Vec<u8> = item.elements.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        let header =
            [&[0xFE, 0xFF, 0x00, 0xE0][..], &u32::try_from(content.len()).unwrap().to_le_bytes()].concat();
        self.element(tag, "SQ", &[header, content].concat())
    }

    fn empty() -> Self {
        Self { transfer_syntax: "", elements: Vec::new() }
    }

    fn pixels(self, pixels: &[u8]) -> Self {
        self.element(tags::PIXEL_DATA, "OW", pixels)
    }

    fn pixel_words(self, words: &[u16]) -> Self {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.pixels(&bytes)
    }

    /// Adds encapsulated pixel data with `stream` as the only frame, in `transfer_syntax`.
    fn encapsulated(self, transfer_syntax: &'static str, stream: &[u8]) -> Self {
        let mut file = self.element(tags::PIXEL_DATA, "OB", &[]);
        file.transfer_syntax = transfer_syntax;
        let (_, bytes) = file.elements.last_mut().unwrap();
        bytes.truncate(8);
        bytes.extend_from_slice(&[0xFF; 4]);
        for fragment in [&[], stream] {
            bytes.extend_from_slice(&[0xFE, 0xFF, 0x00, 0xE0]);
            bytes.extend_from_slice(&u32::try_from(fragment.len()).unwrap().to_le_bytes());
            bytes.extend_from_slice(fragment);
        }
        bytes.extend_from_slice(&[0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
        file
    }

    fn bytes(&self) -> Bytes {
        let meta = Self::empty().text(tags::TRANSFER_SYNTAX_UID, "UI", self.transfer_syntax);
        let mut file = vec![0; 128];
        file.extend_from_slice(b"DICM");
        for (_, bytes) in meta.elements.iter().chain(&self.elements) {
            file.extend_from_slice(bytes);
        }
        file.into()
    }

    fn render(&self, parameters: &RenderingParameters) -> Result<Vec<u8>, RenderError> {
        let image = Image::open(&self.bytes(), LIMIT)?;
        let png = image.render(1, parameters, Format::Png)?;
        Ok(image::load_from_memory(&png).unwrap().into_bytes())
    }

    fn render_default(&self) -> Vec<u8> {
        self.render(&RenderingParameters::default()).unwrap()
    }
}

fn render_with_window(file: &File, window: &str) -> Vec<u8> {
    file.render(&RenderingParameters { window: Window::parse(window), ..RenderingParameters::default() })
        .unwrap()
}

#[test]
fn image_without_a_window_shows_the_full_range_of_its_values() {
    let file = File::new(1, 4, 16, "MONOCHROME2").pixel_words(&[1000, 1100, 1200, 1255]);
    assert_eq!(file.render_default(), [0, 100, 200, 255]);
    let constant = File::new(1, 2, 16, "MONOCHROME2").pixel_words(&[7, 7]);
    assert_eq!(constant.render_default(), [0, 0]);
    let padded = file.words(tags::PIXEL_PADDING_VALUE, &[1000]).pixel_words(&[1000, 1100, 1200, 1355]);
    assert_eq!(padded.render_default(), [0, 0, 100, 255], "padding is black like the smallest other value");
}

#[test]
fn window_applies_to_rescaled_values() {
    let file = File::new(1, 3, 12, "MONOCHROME2")
        .text(tags::RESCALE_INTERCEPT, "DS", "-1024")
        .text(tags::RESCALE_SLOPE, "DS", "2")
        .pixel_words(&[512, 562, 612]);
    assert_eq!(render_with_window(&file, "100,200,linear-exact"), [0, 128, 255]);
    let first_window =
        file.text(tags::WINDOW_CENTER, "DS", "100\\5").text(tags::WINDOW_WIDTH, "DS", "401\\6");
    assert_eq!(first_window.render_default(), [64, 128, 192], "the first of several windows");
    assert_eq!(
        first_window.clone().text(tags::VOILUT_FUNCTION, "CS", "SIGMOID").render_default(),
        [69, 128, 186]
    );
    let unknown_function = first_window.text(tags::VOILUT_FUNCTION, "CS", "CUBIC");
    assert_eq!(
        unknown_function.render(&RenderingParameters::default()),
        Err(RenderError::Unsupported("the VOI LUT function"))
    );
}

#[test]
fn values_are_signed_if_declared_and_overlay_bits_are_ignored() {
    let file = File::new(1, 3, 12, "MONOCHROME2").words(tags::PIXEL_REPRESENTATION, &[1]);
    // The highest four bits are not stored bits: they contain a retired kind of overlay.
    assert_eq!(file.pixel_words(&[0xF800, 0x0000, 0x07FF]).render_default(), [0, 128, 255]);
    let high_bit_15 = File::new(1, 3, 12, "MONOCHROME2").words(tags::HIGH_BIT, &[15]);
    assert_eq!(high_bit_15.pixel_words(&[0x0010, 0x0020, 0x0030]).render_default(), [0, 128, 255]);
}

#[test]
fn monochrome1_is_black_where_monochrome2_is_white() {
    let file = File::new(1, 2, 8, "MONOCHROME1").pixels(&[0, 255]);
    assert_eq!(file.render_default(), [255, 0]);
    let inverse_shape = File::new(1, 2, 8, "MONOCHROME1").text(tags::PRESENTATION_LUT_SHAPE, "CS", "INVERSE");
    assert_eq!(
        inverse_shape.pixels(&[0, 255]).render_default(),
        [255, 0],
        "the inversion is not applied twice"
    );
}

#[test]
fn tables_replace_slope_window_and_shape() {
    let table = |first: u16, entries: &[u16]| {
        let count = u16::try_from(entries.len()).unwrap();
        File::empty().words(tags::LUT_DESCRIPTOR, &[count, first, 8]).words(tags::LUT_DATA, entries)
    };
    let file = File::new(1, 3, 8, "MONOCHROME2").element(tags::PIXEL_DATA, "OW", &[9, 10, 12, 0]);
    let voi = file.clone().item(tags::VOILUT_SEQUENCE, &table(10, &[50, 60, 70]));
    assert_eq!(voi.render_default(), [50, 50, 70], "values below the first entry map to it");
    let modality = voi.item(tags::MODALITY_LUT_SEQUENCE, &table(9, &[11, 11, 12, 10]));
    assert_eq!(modality.render_default(), [60, 60, 50]);
    let presentation = file.item(tags::PRESENTATION_LUT_SEQUENCE, &table(0, &[255, 0]));
    assert_eq!(render_with_window(&presentation, "10.5,3,linear-exact"), [255, 255, 0]);
}

#[test]
fn functional_groups_define_slope_and_window_of_a_frame() {
    let window = File::empty().text(tags::WINDOW_CENTER, "DS", "100").text(tags::WINDOW_WIDTH, "DS", "200");
    let linear = window.text(tags::VOILUT_FUNCTION, "CS", "LINEAR_EXACT");
    let rescaled =
        File::empty().text(tags::RESCALE_SLOPE, "DS", "2").text(tags::RESCALE_INTERCEPT, "DS", "0");
    let first_window = File::empty().item(tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE, &rescaled);
    let shared = File::empty().item(tags::FRAME_VOILUT_SEQUENCE, &linear);
    let file = File::new(1, 2, 8, "MONOCHROME2")
        .item(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, &shared)
        .item(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, &first_window)
        .pixels(&[40, 100]);
    assert_eq!(file.render_default(), [102, 255]);
}

#[test]
fn colors_are_the_same_in_every_encoding() {
    let red_and_gray = [255, 0, 0, 128, 128, 128];
    let rgb = File::new(1, 2, 8, "RGB");
    assert_eq!(rgb.clone().pixels(&red_and_gray).render_default(), red_and_gray);
    let planes = rgb.words(tags::PLANAR_CONFIGURATION, &[1]).pixels(&[255, 128, 0, 128, 0, 128]);
    assert_eq!(planes.render_default(), red_and_gray);
    // PS3.3 C.7.6.3.1.2: red is 76, 85, 255.
    let ybr = File::new(1, 2, 8, "YBR_FULL").pixels(&[76, 85, 255, 128, 128, 128]);
    assert_eq!(ybr.render_default(), [254, 0, 0, 128, 128, 128]);
    let subsampled = File::new(1, 2, 8, "YBR_FULL_422").pixels(&[76, 128, 128, 128]);
    assert_eq!(subsampled.render_default(), [76, 76, 76, 128, 128, 128]);
    let palette = File::new(1, 2, 8, "PALETTE COLOR")
        .words(tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR, &[2, 7, 16])
        .words(tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR, &[2, 7, 16])
        .words(tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR, &[2, 7, 16])
        .words(tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA, &[0xFFFF, 0x8080])
        .words(tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA, &[0, 0x8080])
        .words(tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA, &[0, 0x8080]);
    assert_eq!(palette.pixels(&[7, 8]).render_default(), red_and_gray);
}

#[test]
fn frames_with_one_bit_per_pixel_are_packed_without_gaps() {
    let file =
        File::new(1, 3, 1, "MONOCHROME2").text(tags::NUMBER_OF_FRAMES, "IS", "2").pixels(&[0b0011_1101, 0]);
    let image = Image::open(&file.bytes(), LIMIT).unwrap();
    let frame = |number| {
        let png = image.render(number, &RenderingParameters::default(), Format::Png).unwrap();
        image::load_from_memory(&png).unwrap().into_bytes()
    };
    assert_eq!((frame(1), frame(2)), (vec![255, 0, 255], vec![255, 255, 255]));
    for missing in [0, 3] {
        let result = image.render(missing, &RenderingParameters::default(), Format::Png);
        assert_eq!(result, Err(RenderError::NoSuchFrame { frames: 2 }));
    }
}

#[test]
fn rendered_image_is_scaled_by_the_physical_pixel_size() {
    let file =
        File::new(20, 20, 8, "MONOCHROME2").text(tags::PIXEL_SPACING, "DS", "0.5\\0.25").pixels(&[9; 400]);
    let parameters =
        RenderingParameters { viewport: Viewport::parse("40,40"), ..RenderingParameters::default() };
    let image = Image::open(&file.bytes(), LIMIT).unwrap();
    for format in Format::ALL {
        let image = image::load_from_memory(&image.render(1, &parameters, format).unwrap()).unwrap();
        assert_eq!(image.dimensions(), (20, 40), "{format:?}");
    }
}

#[test]
fn object_without_complete_pixel_data_is_rejected() {
    let mut document = File::empty().text(tags::MODALITY, "CS", "SR");
    document.transfer_syntax = uids::EXPLICIT_VR_LITTLE_ENDIAN;
    assert_eq!(document.render(&RenderingParameters::default()), Err(RenderError::NoImage));
    let video = File::new(2, 2, 8, "MONOCHROME2").encapsulated(uids::MPEG4HP41, b"video ");
    assert_eq!(
        video.render(&RenderingParameters::default()),
        Err(RenderError::TransferSyntax("1.2.840.10008.1.2.4.102".to_owned()))
    );
    let short = File::new(2, 2, 8, "MONOCHROME2").pixels(&[1, 2]);
    assert_eq!(
        short.render(&RenderingParameters::default()),
        Err(RenderError::Malformed("the pixel data is shorter than the image size requires"))
    );
    let complete = File::new(2, 2, 8, "MONOCHROME2").pixels(&[1, 2, 3, 4]).bytes();
    for length in 0..complete.len() {
        assert!(Image::open(&complete.slice(..length), LIMIT).is_err(), "{length}");
    }
}

#[test]
fn wrong_sizes_are_rejected_before_memory_is_allocated() {
    let jpeg_ls = [0xFF, 0xD8, 0xFF, 0xF7, 0, 11, 8, 0, 2, 0, 2, 1, 1, 0x11, 0];
    for (syntax, stream) in [
        (uids::RLE_LOSSLESS, vec![1; 64]),
        (
            uids::JPEG_BASELINE8_BIT,
            vec![0xFF, 0xD8, 0xFF, 0xC0, 0, 11, 8, 0xFF, 0xFF, 0xFF, 0xFF, 1, 1, 0x11, 0],
        ),
        (uids::JPEG_LOSSLESS_SV1, vec![0; 100]),
        (uids::JPEGLS_LOSSLESS, jpeg_ls.to_vec()),
        (uids::JPEG2000_LOSSLESS, [&[0xFF, 0x4F, 0xFF, 0x51][..], &[0xFF; 100]].concat()),
    ] {
        let file = File::new(3, 3, 8, "MONOCHROME2").encapsulated(syntax, &stream);
        let result = file.render(&RenderingParameters::default());
        let is_malformed =
            matches!(result, Err(RenderError::Codec(CodecError::Malformed(_) | CodecError::SizeMismatch(_))));
        assert!(is_malformed, "{syntax}: {result:?}");
        let huge = File::new(65_535, 65_535, 8, "MONOCHROME2").encapsulated(syntax, &stream);
        assert_eq!(huge.render(&RenderingParameters::default()), Err(RenderError::TooLarge), "{syntax}");
    }
    let small = File::new(2, 2, 8, "MONOCHROME2").pixels(&[1, 2, 3, 4]);
    for (width, height) in [(60_000, 60_000), (u32::MAX, u32::MAX)] {
        let viewport = Some(Viewport::within(width, height));
        let parameters = RenderingParameters { viewport, ..RenderingParameters::default() };
        assert_eq!(small.render(&parameters), Err(RenderError::TooLarge), "{width} by {height}");
    }
}

#[test]
fn data_set_that_inflates_beyond_the_limit_is_rejected() {
    let mut file = File::empty();
    file.transfer_syntax = uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN;
    let mut bytes = file.bytes().to_vec();
    let mut encoder = flate2::write::DeflateEncoder::new(&mut bytes, flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, &vec![0; 4 << 20]).unwrap();
    encoder.finish().unwrap();
    assert_eq!(Image::open(&bytes.into(), 1 << 20).unwrap_err(), RenderError::TooLarge);
}

#[test]
fn sequences_of_undefined_length_are_skipped_and_nesting_is_limited() {
    let mut nested = vec![0x40, 0x00, 0x75, 0x02];
    nested.extend_from_slice(b"SQ\0\0");
    nested.extend_from_slice(&[0xFF; 4]);
    nested.extend_from_slice(&[0xFE, 0xFF, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF]);
    let mut file = File::new(1, 1, 8, "MONOCHROME2").pixels(&[5, 0]);
    let end = [&[0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0][..], &[0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]].concat();
    file.elements.insert(7, (Tag(0x0040, 0x0275), [nested.clone(), end].concat()));
    assert_eq!(file.render_default(), [0]);
    file.elements[7].1 = nested.repeat(10_000);
    let result = file.render(&RenderingParameters::default());
    assert_eq!(result, Err(RenderError::Malformed("sequences are nested too deep")));
}

proptest! {
    #[test]
    fn arbitrary_object_never_makes_rendering_panic(
        changes in prop::collection::vec((0_usize..400, any::<u8>()), 1..12), length in 0_usize..400,
    ) {
        let stream = [&[1, 0, 0, 0, 64, 0, 0, 0][..], &[0; 56], &[0xF8, 3]].concat();
        for file in [
            File::new(3, 3, 8, "MONOCHROME2").pixels(&[1; 10]),
            File::new(3, 3, 8, "MONOCHROME2").encapsulated(uids::RLE_LOSSLESS, &stream),
        ] {
            let mut bytes = file.bytes().to_vec();
            for (index, byte) in &changes {
                if let Some(replaced) = bytes.get_mut(132 + index) {
                    *replaced = *byte;
                }
            }
            bytes.truncate(bytes.len().max(length));
            if let Ok(image) = Image::open(&bytes.into(), LIMIT) {
                let _ = image.render(1, &RenderingParameters::default(), Format::Png);
            }
        }
    }
}

#[test]
fn annotation_is_burned_in_on_request() {
    let pixels = vec![100; 200 * 100];
    let file = File::new(100, 200, 8, "MONOCHROME2")
        .text(tags::SPECIFIC_CHARACTER_SET, "CS", "ISO_IR 192")
        .text(tags::PATIENT_NAME, "PN", "山田^太郎")
        .text(tags::PATIENT_ID, "LO", "P1")
        .text(tags::MODALITY, "CS", "CT")
        .element(tags::PIXEL_DATA, "OB", &pixels);
    let render = |annotation| {
        let parameters = RenderingParameters { annotation, ..RenderingParameters::default() };
        Image::open(&file.bytes(), LIMIT).unwrap().render(1, &parameters, Format::Png)
    };
    let contains_white = |annotation, rows: std::ops::Range<u32>| {
        let image = image::load_from_memory(&render(annotation).unwrap()).unwrap().to_luma8();
        rows.flat_map(|y| (0..200).map(move |x| (x, y))).any(|(x, y)| image.get_pixel(x, y).0 == [255])
    };
    let patient = Annotation { patient: true, technique: false };
    let technique = Annotation { patient: false, technique: true };
    let without_annotation = render(Annotation::default()).unwrap();
    assert!(
        render(patient).unwrap() != without_annotation && render(technique).unwrap() != without_annotation
    );
    assert!(contains_white(patient, 0..40) && !contains_white(patient, 60..100));
    assert!(contains_white(technique, 80..100) && !contains_white(technique, 0..70));
    let thai = file.clone().text(tags::PATIENT_NAME, "PN", "สมชาย");
    let parameters = RenderingParameters { annotation: patient, ..RenderingParameters::default() };
    let result = Image::open(&thai.bytes(), LIMIT).unwrap().render(1, &parameters, Format::Png);
    assert!(matches!(result, Err(RenderError::Unsupported(_))));
}

#[test]
fn offset_beyond_the_file_is_rejected() {
    let file = File::new(2, 2, 8, "MONOCHROME2")
        .text(tags::NUMBER_OF_FRAMES, "IS", "2")
        .element(tags::EXTENDED_OFFSET_TABLE, "OB", &[0xFF; 16])
        .encapsulated(uids::RLE_LOSSLESS, &[0; 64]);
    assert!(matches!(file.render(&RenderingParameters::default()), Err(RenderError::Malformed(_))));
}
