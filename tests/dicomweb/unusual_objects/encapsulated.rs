//! Encapsulated pixel data (PS3.5 A.4): frames of one fragment or several, with and without offset tables, and videos.

use serde_json::json;

use super::{Corpus, Expectation, MPEG_4};
use crate::support::raw_objects::{EXPLICIT_LITTLE, PIXEL_DATA, encapsulated_pixel_data};

const RLE: &str = "1.2.840.10008.1.2.5";
const EXTENDED_OFFSET_TABLE: u32 = 0x7FE0_0001;

/// Encodes a uniform JPEG frame, padded to even length.
fn jpeg(gray_level: u8) -> Vec<u8> {
    let mut stream = Vec::new();
    let pixels = image::GrayImage::from_pixel(8, 8, image::Luma([gray_level]));
    pixels.write_to(&mut std::io::Cursor::new(&mut stream), image::ImageFormat::Jpeg).unwrap();
    stream.extend(vec![0; stream.len() % 2]);
    stream
}

/// Splits each frame into two fragments of even length.
fn split_in_two(frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut fragments = Vec::new();
    for frame in frames {
        let (start, rest) = frame.split_at(frame.len() / 4 * 2);
        fragments.extend([start.to_owned(), rest.to_owned()]);
    }
    fragments
}

/// Returns the offset of the item of every `step`th fragment, from the first.
fn offsets(fragments: &[Vec<u8>], step: usize) -> Vec<u32> {
    let mut offset = 0;
    let mut offsets = Vec::new();
    for fragment in fragments {
        offsets.push(offset);
        offset += 8 + u32::try_from(fragment.len()).unwrap();
    }
    offsets.into_iter().step_by(step).collect()
}

/// Encodes an Extended Offset Table.
fn extended_offset_table(offsets: &[u32]) -> Vec<u8> {
    let value: Vec<u8> = offsets.iter().flat_map(|offset| u64::from(*offset).to_le_bytes()).collect();
    EXPLICIT_LITTLE.element(EXTENDED_OFFSET_TABLE, "OV", &value)
}

/// Adds images of JPEG and RLE frames with every kind of offset table.
pub(super) fn add_fragments(corpus: &mut Corpus) {
    add_jpeg_fragments(corpus);
    add_fragments_without_start_marker(corpus);
}

fn add_jpeg_fragments(corpus: &mut Corpus) {
    let frames = [jpeg(20), jpeg(120), jpeg(220)];
    let halves = split_in_two(&frames);
    let frame_offsets = offsets(&frames, 1);
    let half_offsets = offsets(&halves, 2);
    let descending = [0, half_offsets[2], half_offsets[1]];
    let halves_and_empty = [halves.clone(), vec![Vec::new()]].concat();
    let frames_and_empty = [frames.to_vec(), vec![Vec::new()]].concat();
    for (name, table, fragments) in [
        ("one fragment per frame", &[][..], &frames[..]),
        ("one fragment per frame, offsets", &frame_offsets, &frames),
        ("one fragment per frame, offsets of zero", &[0, 0, 0], &frames),
        ("one fragment per frame, wrong offsets", &[0, 13, 77], &frames),
        ("one fragment per frame, too large offsets", &[0, 100_000, 200_000], &frames),
        ("one fragment per frame, too few offsets", &frame_offsets[..2], &frames),
        ("several fragments, no offsets", &[], &halves),
        ("several fragments, offsets", &half_offsets, &halves),
        ("several fragments, offsets of zero", &[0, 0, 0], &halves),
        ("several fragments, descending offsets", &descending, &halves),
        ("several fragments, wrong offsets", &[0, 13, 77], &halves),
        ("an empty fragment at the end", &[], &halves_and_empty),
        ("an empty fragment at the end, offsets", &half_offsets, &halves_and_empty),
        ("one fragment per frame and an empty one", &[], &frames_and_empty),
    ] {
        corpus.add_jpeg(name, table, fragments, &frames, |object| object);
    }
    corpus.add_jpeg("one frame of several fragments", &[], &halves[..2], &frames[..1], |object| object);
    corpus.add_jpeg(
        "one frame of several fragments with Number of Frames 0",
        &[],
        &halves[..2],
        &frames[..1],
        |object| object.frames("0"),
    );
    for (name, offsets) in [("extended offsets", &half_offsets[..]), ("wrong extended offsets", &[0, 13, 77])]
    {
        corpus.add_jpeg(name, &[], &halves, &frames, |object| {
            object.with_element(EXTENDED_OFFSET_TABLE, extended_offset_table(offsets))
        });
    }
}

/// Adds frames of a codec whose streams have no start marker.
fn add_fragments_without_start_marker(corpus: &mut Corpus) {
    let fragments: Vec<Vec<u8>> = (0..6_u8).map(|number| vec![number; 10]).collect();
    let pairs: Vec<Vec<u8>> = fragments.chunks(2).map(<[_]>::concat).collect();
    let pair_offsets = offsets(&fragments, 2);
    for (name, offsets, extended_offsets, frame_count, frames) in [
        ("unmarked fragments", &[][..], None, 6, fragments.clone()),
        ("unmarked fragments, wrong offsets", &[0, 18, 37, 54, 72, 91], None, 6, fragments.clone()),
        ("unmarked fragments, offsets of several", &pair_offsets, None, 3, pairs.clone()),
        ("unmarked fragments, extended offsets of several", &[], Some(&pair_offsets), 3, pairs),
        ("unmarked fragments of unknown frames", &[], None, 3, Vec::new()),
        ("fewer fragments than frames", &[], None, 7, Vec::new()),
    ] {
        let mut image = corpus.image(RLE).frames(&frame_count.to_string());
        if let Some(offsets) = extended_offsets {
            image = image.with_element(EXTENDED_OFFSET_TABLE, extended_offset_table(offsets));
        }
        let image = image.with_element(PIXEL_DATA, encapsulated_pixel_data(offsets, &fragments));
        let expectation = Expectation::Compressed {
            media_type: "image/dicom-rle",
            syntax: RLE,
            frames,
            can_be_rendered: false,
        };
        corpus.add(name, image.to_file(), expectation, json!({}));
    }
}

/// Adds videos, whose fragments are one stream (PS3.5 8.2.5 to 8.2.9).
pub(super) fn add_videos(corpus: &mut Corpus) {
    let video: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    for (syntax, media_type) in [
        ("1.2.840.10008.1.2.4.100", "video/mpeg"),
        ("1.2.840.10008.1.2.4.101.1", "video/mpeg"),
        (MPEG_4, "video/mp4"),
        ("1.2.840.10008.1.2.4.106.1", "video/mp4"),
        ("1.2.840.10008.1.2.4.108", "video/H265"),
    ] {
        for fragments in [vec![video.clone()], video.chunks(4000).map(<[_]>::to_vec).collect()] {
            let image = corpus
                .image(syntax)
                .frames("25")
                .with_element(PIXEL_DATA, encapsulated_pixel_data(&[], &fragments));
            let expectation = Expectation::Compressed {
                media_type,
                syntax,
                frames: vec![video.clone()],
                can_be_rendered: false,
            };
            corpus.add("video", image.to_file(), expectation, json!({}));
        }
    }
}
