//! Native pixel data (PS3.5 8.1.1): the position, the byte order and the number of its frames.

use serde_json::json;

use super::{Corpus, Expectation, NATIVE};
use crate::support::raw_objects::{
    BIG_ENDIAN, DEFLATED, EXPLICIT, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT, PIXEL_DATA,
};

const NUMBER_OF_FRAMES: u32 = 0x0028_0008;
const BITS_ALLOCATED: u32 = 0x0028_0100;
const BITS_STORED: u32 = 0x0028_0101;
const HIGH_BIT: u32 = 0x0028_0102;

/// Adds images of several frames. Frames follow each other without padding, even if they end inside a word or a byte.
pub(super) fn add_frames(corpus: &mut Corpus) {
    let frames = [NATIVE, [1, 2, 3, 4], [9, 8, 7, 6]].map(|frame| frame.to_vec()).to_vec();
    let image = corpus.image(EXPLICIT).frames("3").pixels(&frames.concat());
    corpus.add("several frames", image.to_file(), Expectation::Native(frames), json!({}));
    let samples: Vec<u8> = (1..=18).map(|sample| sample * 10).collect();
    let frames: Vec<_> = samples.chunks(9).map(<[u8]>::to_vec).collect();
    let swapped: Vec<u8> = samples.chunks(2).flat_map(|pair| [pair[1], pair[0]]).collect();
    for (syntax, vr, value) in
        [(EXPLICIT, "OW", &samples), (BIG_ENDIAN, "OB", &samples), (BIG_ENDIAN, "OW", &swapped)]
    {
        let image = corpus.image(syntax).size(3).frames("2");
        let element = image.encoding.element(PIXEL_DATA, vr, value);
        let file = image.with_element(PIXEL_DATA, element).to_file();
        corpus.add("frames of 9 bytes", file, Expectation::Native(frames.clone()), json!({}));
    }
    for (syntax, vr, encoded_value) in [
        (EXPLICIT, "OB", [0b1010_1010, 0b1100_1101, 0b0000_0010, 0]),
        (BIG_ENDIAN, "OW", [0b1100_1101, 0b1010_1010, 0, 0b0000_0010]),
    ] {
        let image = corpus.image(syntax).size(3).frames("2");
        let image = image
            .unsigned_shorts(BITS_ALLOCATED, &[1])
            .unsigned_shorts(BITS_STORED, &[1])
            .unsigned_shorts(HIGH_BIT, &[0]);
        let element = image.encoding.element(PIXEL_DATA, vr, &encoded_value);
        let file = image.with_element(PIXEL_DATA, element).to_file();
        let value = vec![0b1010_1010, 0b1100_1101, 0b0000_0010, 0];
        let frames = vec![vec![0b1010_1010, 1], vec![0b0110_0110, 1]];
        corpus.add("frames of 9 bits", file, Expectation::NativeValue { value, frames }, json!({}));
    }
    for syntax in [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED] {
        // Not even the first frame is returned: the wrong attribute may be Columns.
        let file = corpus.image(syntax).frames("2").pixels(&[1, 2, 3, 4, 5, 6]).to_file();
        let expectation = Expectation::NativeValue { value: vec![1, 2, 3, 4, 5, 6], frames: Vec::new() };
        corpus.add("pixel data shorter than its frames", file, expectation, json!({}));
    }
}

/// Adds images whose pixel cells have more than 8 bits, and therefore the byte order of the transfer syntax.
pub(super) fn add_big_endian_cells(corpus: &mut Corpus) {
    for (bits, vr) in [(16, "OB"), (16, "OW"), (16, "UN"), (32, "OB"), (32, "OW")] {
        let cell_size = usize::from(bits / 8);
        let little_endian: Vec<u8> = (1..=4 * bits / 8).map(|byte| u8::try_from(byte).unwrap()).collect();
        let big_endian: Vec<u8> =
            little_endian.chunks(cell_size).flat_map(|cell| cell.iter().rev().copied()).collect();
        let image = corpus.image(BIG_ENDIAN);
        let image = image
            .unsigned_shorts(BITS_ALLOCATED, &[bits])
            .unsigned_shorts(BITS_STORED, &[bits])
            .unsigned_shorts(HIGH_BIT, &[bits - 1]);
        let file =
            image.with_element(PIXEL_DATA, EXPLICIT_BIG.element(PIXEL_DATA, vr, &big_endian)).to_file();
        corpus.add("big-endian cells", file, Expectation::Native(vec![little_endian]), json!({}));
    }
}

/// Adds images whose Number of Frames has several values, of which the first one counts, or another VR than IS.
pub(super) fn add_numbers_of_frames(corpus: &mut Corpus) {
    let value: Vec<u8> = (1..=12).map(|level| level * 20).collect();
    let explicit_little = (EXPLICIT, EXPLICIT_LITTLE);
    let both_encodings = [explicit_little, (BIG_ENDIAN, EXPLICIT_BIG)];
    for (name, vr, text, count, encodings) in [
        ("Number of Frames", "IS", "3\\3 ", 3, both_encodings.as_slice()),
        ("Number of Frames", "IS", "3\\", 3, &both_encodings),
        ("Number of Frames", "IS", "\\3", 1, &both_encodings),
        ("Number of Frames", "LO", "3 ", 3, &both_encodings),
        ("Number of Frames", "UT", "3\\3 ", 1, &both_encodings),
        ("Number of Frames with another VR", "UN", "3 ", 3, &[explicit_little]),
        ("Number of Frames with another VR", "OB", "3 ", 1, &[explicit_little]),
    ] {
        for (syntax, encoding) in encodings {
            let image = corpus.image(syntax).pixels(&value);
            let element = encoding.element(NUMBER_OF_FRAMES, vr, text.as_bytes());
            let frames = value.chunks(4).take(count).map(<[u8]>::to_vec).collect();
            let expectation = Expectation::NativeValue { value: value.clone(), frames };
            corpus.add(name, image.with_element(NUMBER_OF_FRAMES, element).to_file(), expectation, json!({}));
        }
    }
}
