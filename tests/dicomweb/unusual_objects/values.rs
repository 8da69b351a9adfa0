//! Values whose byte order, representation or number is unusual.

use serde_json::json;

use super::{Corpus, Expectation, NATIVE, Readers};
use crate::support::client;
use crate::support::raw_objects::{
    BIG_ENDIAN, DEFLATED, EXPLICIT, EXPLICIT_BIG, EXPLICIT_LITTLE, Encoding, IMPLICIT_LITTLE, PIXEL_DATA,
    RawObject,
};

const ROWS: u32 = 0x0028_0010;
const NUMBER_OF_FRAMES: u32 = 0x0028_0008;
const FLOAT_PIXEL_DATA: u32 = 0x7FE0_0008;
const DOUBLE_FLOAT_PIXEL_DATA: u32 = 0x7FE0_0009;
const OCTETS: (&str, &str) = ("Accept", "application/octet-stream");

/// PS3.5 8.1.1: a pixel cell of more than 8 bits is a number in the byte order of the transfer syntax.
pub(super) fn big_endian_cells(corpus: &mut Corpus) {
    for (bits, vr) in [(16, "OB"), (16, "OW"), (16, "UN"), (32, "OB"), (32, "OW")] {
        let size = usize::from(bits / 8);
        let value: Vec<u8> = (1..=4 * bits / 8).map(|byte| u8::try_from(byte).unwrap()).collect();
        let written: Vec<u8> = value.chunks(size).flat_map(|cell| cell.iter().rev().copied()).collect();
        let image = corpus.image(BIG_ENDIAN);
        let image = image
            .unsigned_shorts(0x0028_0100, &[bits])
            .unsigned_shorts(0x0028_0101, &[bits])
            .unsigned_shorts(0x0028_0102, &[bits - 1]);
        let file = image.with_element(PIXEL_DATA, EXPLICIT_BIG.element(PIXEL_DATA, vr, &written)).to_file();
        corpus.add("big-endian cells", file, Expectation::Native(vec![value]), json!({}));
    }
}

/// PS3.5 7.3: OB has no byte order, and UN is little endian in every transfer syntax (PS3.5 6.2.2).
pub(super) fn numbers_with_another_representation(corpus: &mut Corpus) {
    let mut add = |syntax, encoding: Encoding, vr, value: &[u8], is_two: bool| {
        let image = corpus.image(syntax).pixels(&NATIVE);
        let file = image.with_element(ROWS, encoding.element(ROWS, vr, value)).to_file();
        let frames = if is_two { vec![NATIVE.to_vec()] } else { Vec::new() };
        let expectation = Expectation::NativeValue { value: NATIVE.to_vec(), frames };
        corpus.add("Rows with another VR", file, expectation, json!({}));
    };
    for vr in ["UN", "OB", "??"] {
        for (syntax, encoding) in [(EXPLICIT, EXPLICIT_LITTLE), (BIG_ENDIAN, EXPLICIT_BIG)] {
            add(syntax, encoding, vr, &[2, 0], true);
            add(syntax, encoding, vr, &[0, 2], false);
        }
    }
    for vr in ["US", "SS", "OW"] {
        add(BIG_ENDIAN, EXPLICIT_BIG, vr, &[0, 2], true);
    }
    add(EXPLICIT, EXPLICIT_LITTLE, "UL", &[2, 0, 0, 0], true);
    add(BIG_ENDIAN, EXPLICIT_BIG, "UL", &[0, 0, 0, 2], true);
    add(EXPLICIT, EXPLICIT_LITTLE, "IS", b"2 ", false);
}

/// The first value of Number of Frames is used, and only a text is one.
pub(super) fn numbers_of_frames(corpus: &mut Corpus) {
    let value: Vec<u8> = (1..=12).map(|level| level * 20).collect();
    for (vr, text, count) in
        [("IS", "3\\3 ", 3), ("IS", "3\\", 3), ("IS", "\\3", 1), ("LO", "3 ", 3), ("UT", "3\\3 ", 1)]
    {
        for (syntax, encoding) in [(EXPLICIT, EXPLICIT_LITTLE), (BIG_ENDIAN, EXPLICIT_BIG)] {
            let image = corpus.image(syntax).pixels(&value);
            let element = encoding.element(NUMBER_OF_FRAMES, vr, text.as_bytes());
            let frames = value.chunks(4).take(count).map(<[u8]>::to_vec).collect();
            let expectation = Expectation::NativeValue { value: value.clone(), frames };
            corpus.add(
                "Number of Frames",
                image.with_element(NUMBER_OF_FRAMES, element).to_file(),
                expectation,
                json!({}),
            );
        }
    }
    for (vr, text, count) in [("UN", "3 ", 3), ("OB", "3 ", 1)] {
        let image = corpus.image(EXPLICIT).pixels(&value);
        let element = EXPLICIT_LITTLE.element(NUMBER_OF_FRAMES, vr, text.as_bytes());
        let frames = value.chunks(4).take(count).map(<[u8]>::to_vec).collect();
        let expectation = Expectation::NativeValue { value: value.clone(), frames };
        corpus.add(
            "Number of Frames with another VR",
            image.with_element(NUMBER_OF_FRAMES, element).to_file(),
            expectation,
            json!({}),
        );
    }
}

pub(super) fn truncated_stream(corpus: &mut Corpus) {
    let mut file = corpus.image(DEFLATED).pixels(&NATIVE).to_file();
    file.truncate(file.len() - 4);
    corpus.add("a truncated deflated data set", file, Expectation::Unreadable, json!({}));
}

/// The values at these paths below `bulkdata/` in both readers: the archive that synthesizes, and the embedded archive.
async fn values(object: &RawObject, paths: &[&str]) -> Vec<[Option<Vec<u8>>; 2]> {
    let instance = "studies/1.2/series/1.2.1/instances/1.2.1.1";
    let readers = Readers::of(&[&object.to_file()]).await;
    let mut found = Vec::new();
    for path in paths {
        let mut both = [None, None];
        for (value, root) in both.iter_mut().zip([&readers.synthesized, &readers.embedded]) {
            let url = root.url(&format!("{instance}/bulkdata/{path}"));
            let answer = client::get_with_headers(&url, &[OCTETS]).await;
            assert!([200, 404].contains(&answer.status), "{url}: {} {}", answer.status, answer.text());
            *value = (answer.status == 200 && answer.is_complete).then_some(answer.body);
        }
        found.push(both);
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn float_pixel_data_is_found_only_at_its_own_tag() {
    let floats: Vec<u8> = (0..32).collect();
    for (tag, vr, path) in [(FLOAT_PIXEL_DATA, "OF", "7FE00008"), (DOUBLE_FLOAT_PIXEL_DATA, "OD", "7FE00009")]
    {
        let image = RawObject::image(EXPLICIT_LITTLE, EXPLICIT, 1);
        let image = image.with_element(tag, EXPLICIT_LITTLE.element(tag, vr, &floats));
        let found = values(&image, &[path, "7FE00010"]).await;
        assert_eq!(found[0], [Some(floats.clone()), Some(floats.clone())], "{path}");
        assert_eq!(found[1], [None, None], "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_value_has_the_byte_order_of_its_own_data_set() {
    let value: Vec<u8> = (0..3000_u32).map(|number| (number % 251).to_le_bytes()[0]).collect();
    let swapped: Vec<u8> = value.chunks(2).flat_map(|pair| [pair[1], pair[0]]).collect();
    // LUT Data in a sequence that is written as UN, whose items are little endian (PS3.5 6.2.2), and in a known sequence.
    let unknown = IMPLICIT_LITTLE.item(&IMPLICIT_LITTLE.element(0x0028_3006, "OW", &value));
    let known = EXPLICIT_BIG.item(&EXPLICIT_BIG.element(0x0028_3006, "OW", &swapped));
    let object = RawObject::image(EXPLICIT_BIG, BIG_ENDIAN, 1)
        .with_element(
            0x0009_1010,
            EXPLICIT_BIG.element_of_undefined_length(0x0009_1010, "UN", IMPLICIT_LITTLE, &unknown),
        )
        .with_element(0x0028_3010, EXPLICIT_BIG.element(0x0028_3010, "SQ", &known));
    let found = values(&object, &["00091010/1/00283006", "00283010/1/00283006"]).await;
    for both in found {
        assert_eq!(both, [Some(value.clone()), Some(value.clone())]);
    }
}
