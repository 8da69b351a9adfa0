//! Compares the peak memory of opening and rendering hostile objects with the limit. This is a separate program without a test
//! harness, because its allocator counts the allocations of the whole process, including the threads of a harness.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use bytes::Bytes;
use dicom_dictionary_std::uids;
use dicom_render::{Format, Image, RenderError, RenderingParameters};
use peak_alloc::PeakAlloc;
use std::io::Write as _;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// The limit of all tests in bytes.
const LIMIT: usize = 32 << 20;

/// Memory in bytes that does not depend on the object: buffers of fixed size, lists of the parts of an item.
const FIXED_SIZE: usize = 2 << 20;

const IMPLICIT: &str = uids::IMPLICIT_VR_LITTLE_ENDIAN;
const EXPLICIT: &str = uids::EXPLICIT_VR_LITTLE_ENDIAN;
const JPEG: &str = uids::JPEG_BASELINE8_BIT;
const EMPTY_ITEM: &[u8] = &[0xFE, 0xFF, 0x00, 0xE0, 0, 0, 0, 0];
const DELIMITER: &[u8] = &[0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0];

/// Returns an element in Implicit VR Little Endian.
fn value(group: u16, number: u16, value: &[u8]) -> Vec<u8> {
    let length = u32::try_from(value.len()).unwrap();
    [&group.to_le_bytes()[..], &number.to_le_bytes(), &length.to_le_bytes(), value].concat()
}

/// Returns the beginning of an element in Explicit VR Little Endian, whose length can be undefined.
fn explicit(group: u16, number: u16, vr: &str, length: Option<usize>) -> Vec<u8> {
    let length = length.map_or(u32::MAX, |length| u32::try_from(length).unwrap());
    [&group.to_le_bytes()[..], &number.to_le_bytes(), vr.as_bytes(), &[0, 0], &length.to_le_bytes()].concat()
}

/// Returns the file meta information.
fn meta(transfer_syntax: &str) -> Vec<u8> {
    let mut uid = transfer_syntax.as_bytes().to_vec();
    uid.resize(uid.len().next_multiple_of(2), 0);
    let length = u16::try_from(uid.len()).unwrap().to_le_bytes();
    [&[0; 128][..], b"DICM\x02\0\x10\0UI", &length, &uid].concat()
}

/// Returns the Image Pixel Module of an image of 64 by 64 pixels with `frames` frames, in Implicit VR Little Endian.
fn image(frames: usize, photometric: &[u8]) -> Vec<u8> {
    let word = |number, word: u16| value(0x28, number, &word.to_le_bytes());
    [
        word(0x0002, 1),
        value(0x28, 0x0004, photometric),
        value(0x28, 0x0008, format!("{frames:>8}").as_bytes()),
        word(0x0010, 64),
        word(0x0011, 64),
        word(0x0100, 8),
        word(0x0101, 8),
        word(0x0102, 7),
        word(0x0103, 0),
    ]
    .concat()
}

/// Returns the same in Explicit VR Little Endian, with the representation UN.
fn explicit_image(frames: usize) -> Vec<u8> {
    let elements = image(frames, b"MONOCHROME2 ");
    let (mut rest, mut converted) = (elements.as_slice(), Vec::new());
    while let Some((header, after)) = rest.split_first_chunk::<8>() {
        let [group, number] = [0, 2].map(|at| u16::from_le_bytes([header[at], header[at + 1]]));
        let length = usize::from(header[4]);
        converted.extend(explicit(group, number, "UN", Some(length)));
        converted.extend_from_slice(&after[..length]);
        rest = &after[length..];
    }
    converted
}

/// Opens and renders an object, checks the peak memory, and returns the error.
fn check(description: &str, parts: &[&[u8]]) -> Option<RenderError> {
    let file: Bytes = parts.concat().into();
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let opened = Image::open(&file, LIMIT);
    let rendered = opened.and_then(|image| image.render(1, &RenderingParameters::default(), Format::Png));
    let peak = ALLOCATOR.peak_usage() - before + file.len();
    let error = rendered.err();
    assert!(peak <= LIMIT + FIXED_SIZE, "{description}: {peak} bytes for a file of {} bytes", file.len());
    error
}

fn main() {
    // The first object allocates what is never freed.
    let pixels = value(0x7FE0, 0x0010, &[0; 4096]);
    assert_eq!(check("a small image", &[&meta(IMPLICIT), &image(1, b"MONOCHROME2 "), &pixels]), None);
    lists_of_fragments_are_counted();
    lists_of_items_are_counted();
    inflated_data_sets_are_counted();
    values_are_not_copied();
}

fn lists_of_fragments_are_counted() {
    let pixel_data = [&explicit(0x7FE0, 0x0010, "OB", None), EMPTY_ITEM].concat();
    let check_fragments = |description, frames, fragments: &[u8]| {
        check(description, &[&meta(JPEG), &explicit_image(frames), &pixel_data, fragments, DELIMITER])
    };
    let error = check_fragments("empty fragments", 1, &EMPTY_ITEM.repeat(2 << 20));
    assert_eq!(error, Some(RenderError::TooLarge));
    let error = check_fragments("fewer empty fragments", 1, &EMPTY_ITEM.repeat(1 << 17));
    assert!(matches!(error, Some(RenderError::Malformed(_))), "{error:?}");
    let frame = [&EMPTY_ITEM[..4], &[4, 0, 0, 0], b"\xff\xd8\xff\xd9"].concat();
    let error = check_fragments("a frame in each fragment", 1 << 20, &frame.repeat(1 << 20));
    assert_eq!(error, Some(RenderError::TooLarge));
    // All fragments of one frame are joined.
    let fragment = [&EMPTY_ITEM[..4], &(15_u32 << 19).to_le_bytes(), &vec![0; 15 << 19]].concat();
    let error = check_fragments("a large frame in two fragments", 1, &fragment.repeat(2));
    assert!(matches!(error, Some(RenderError::Codec(_))), "{error:?}");
    let error = check_fragments("a large frame in three fragments", 1, &fragment.repeat(3));
    assert_eq!(error, Some(RenderError::TooLarge));

    let frames = 5 << 20;
    let offsets: Vec<u8> = (0..u32::try_from(frames).unwrap()).flat_map(u32::to_le_bytes).collect();
    let table = [&EMPTY_ITEM[..4], &u32::try_from(offsets.len()).unwrap().to_le_bytes(), &offsets].concat();
    let pixel_data = explicit(0x7FE0, 0x0010, "OB", None);
    let parts = [&meta(JPEG), &explicit_image(frames), &pixel_data, &table, DELIMITER];
    let error = check("a large Basic Offset Table", &parts);
    assert!(matches!(error, Some(RenderError::Malformed(_))), "{error:?}");
}

fn lists_of_items_are_counted() {
    let pixel_data = [&explicit(0x7FE0, 0x0010, "OW", Some(4096))[..], &[0; 4096]].concat();
    let items = EMPTY_ITEM.repeat(2 << 20);
    for (description, number, expected) in [
        ("items that are not used", 0x0276, None),
        ("functional groups", 0x9230, Some(RenderError::TooLarge)),
    ] {
        let sequence = explicit(0x5200, number, "SQ", None);
        let parts = [&meta(EXPLICIT), &explicit_image(1), &sequence, &items, DELIMITER, &pixel_data];
        assert_eq!(check(description, &parts), expected);
    }
    // The items in one item.
    let nested = [&explicit(0x0028, 0x9132, "SQ", None), &items[..], DELIMITER].concat();
    let item = [&EMPTY_ITEM[..4], &u32::try_from(nested.len()).unwrap().to_le_bytes(), &nested].concat();
    let sequence = explicit(0x5200, 0x9230, "SQ", None);
    let parts = [&meta(EXPLICIT), &explicit_image(1), &sequence, &item, DELIMITER, &pixel_data];
    assert_eq!(check("items in a functional group", &parts), Some(RenderError::TooLarge));
}

fn inflated_data_sets_are_counted() {
    for inflated_size in [8 << 20, 24 << 20, 200 << 20] {
        let mut deflated = meta(uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN);
        let mut encoder = flate2::write::DeflateEncoder::new(&mut deflated, flate2::Compression::fast());
        let parts = [
            explicit_image(1),
            explicit(0x0029, 0x1010, "OB", Some(inflated_size)),
            vec![0; inflated_size],
            explicit(0x7FE0, 0x0010, "OW", Some(4096)),
            vec![0; 4096],
        ];
        for part in parts {
            encoder.write_all(&part).unwrap();
        }
        encoder.finish().unwrap();
        let expected = (inflated_size > LIMIT).then_some(RenderError::TooLarge);
        assert_eq!(check("a deflated object", &[&deflated]), expected);
    }
}

fn values_are_not_copied() {
    let pixels = value(0x7FE0, 0x0010, &[0; 4096]);
    let numbers = "1\\".repeat(10 << 20);
    // If an element occurs twice, the first one is used.
    for (number, description) in [(0x1050, "window centers"), (0x0004, "photometric interpretations")] {
        let long = value(0x28, number, numbers.as_bytes());
        let parts =
            [&meta(IMPLICIT), &long, &image(1, b"MONOCHROME2 "), &value(0x28, 0x1051, b"1 "), &pixels];
        let error = check(description, &parts.map(AsRef::as_ref));
        assert!(matches!(error, Some(RenderError::Malformed(_))), "{error:?}");
    }
    let rows = value(0x28, 0x0010, &[64, 0].repeat(10 << 20));
    let parts = [&meta(IMPLICIT), &rows, &image(1, b"MONOCHROME2 "), &pixels];
    assert_eq!(check("numbers of rows", &parts.map(AsRef::as_ref)), None);

    let entries = [1, 0].repeat(10 << 20);
    let palette = |data: u16| {
        let descriptors = [0x1101, 0x1102, 0x1103].map(|tag| value(0x28, tag, &[0, 1, 0, 0, 16, 0]));
        let tables = [&entries[..], &entries[..512], &entries[..512]];
        let tables = [0, 1, 2].map(|index| value(0x28, data + index, tables[usize::from(index)]));
        [descriptors.concat(), tables.concat()].concat()
    };
    let parts = [&meta(IMPLICIT), &image(1, b"PALETTE COLOR "), &palette(0x1201), &pixels];
    assert_eq!(check("a long lookup table", &parts.map(AsRef::as_ref)), None);
    let parts = [&meta(IMPLICIT), &image(1, b"PALETTE COLOR "), &palette(0x1221), &pixels];
    check("a long segmented lookup table", &parts.map(AsRef::as_ref));
}
