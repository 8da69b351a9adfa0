//! Tests with the example in ITU-T T.87 H.3, and with invalid streams. tests/e2e decodes real streams.

use proptest::prelude::*;

use super::*;
use crate::frame::tests::gray;

/// T.87 H.3: four by four samples of 8 bits, lossless.
const EXAMPLE: &[u8] = &[
    0xFF, 0xD8, 0xFF, 0xF7, 0x00, 0x0B, 0x08, 0x00, 0x04, 0x00, 0x04, 0x01, 0x01, 0x11, 0x00, 0xFF, 0xDA,
    0x00, 0x08, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0xC0, 0x00, 0x00, 0x6C, 0x80, 0x20, 0x8E, 0x01, 0xC0,
    0x00, 0x00, 0x57, 0x40, 0x00, 0x00, 0x6E, 0xE6, 0x00, 0x00, 0x01, 0xBC, 0x18, 0x00, 0x00, 0x05, 0xD8,
    0x00, 0x00, 0x91, 0x60, 0xFF, 0xD9,
];

fn layout(rows: u16, columns: u16) -> FrameLayout {
    FrameLayout::new(&gray(rows, columns, 8, 8)).unwrap()
}

fn decode(stream: &[u8], layout: &FrameLayout) -> Result<Samples, CodecError> {
    super::decode(stream, layout, Cancellation::never())
}

#[test]
fn example_of_the_recommendation_decodes_to_its_samples() {
    assert_eq!(
        decode(EXAMPLE, &layout(4, 4)).unwrap(),
        Samples::U16(vec![0, 0, 90, 74, 68, 50, 43, 205, 64, 145, 145, 145, 100, 145, 145, 145])
    );
}

#[test]
fn preset_maximum_beyond_the_precision_is_rejected() {
    for (maximum, is_accepted) in [(255_u16, true), (256, false), (u16::MAX, false)] {
        let [high, low] = maximum.to_be_bytes();
        let preset = [0xFF, 0xF8, 0x00, 0x0D, 0x01, high, low, 0, 0, 0, 0, 0, 0, 0, 0];
        let stream = [&EXAMPLE[..15], &preset, &EXAMPLE[15..]].concat();
        assert_eq!(decode(&stream, &layout(4, 4)).is_ok(), is_accepted, "{maximum}");
    }
}

#[test]
fn second_frame_header_is_an_error_even_if_one_of_them_has_no_components() {
    let header_without_components = [0xFF, 0xF7, 0x00, 0x08, 0x0C, 0x00, 0x04, 0x00, 0x04, 0x00];
    for (second_header, name) in
        [(&header_without_components[..], "no components"), (&EXAMPLE[2..15], "one component")]
    {
        for offset in [2, 15] {
            let stream = [&EXAMPLE[..offset], second_header, &EXAMPLE[offset..]].concat();
            assert_eq!(decode(&stream, &layout(4, 4)), Err(MALFORMED), "{name} at offset {offset}");
        }
    }
}

#[test]
fn a_stream_of_another_size_is_rejected() {
    for layout in [layout(4, 5), layout(5, 4), layout(65_535, 65_535)] {
        assert!(decode(EXAMPLE, &layout).is_err());
    }
}

#[test]
fn a_truncated_stream_is_rejected() {
    for length in 0..EXAMPLE.len() - 2 {
        assert!(decode(&EXAMPLE[..length], &layout(4, 4)).is_err(), "{length}");
    }
}

proptest! {
    #[test]
    fn no_stream_makes_the_decoder_panic(
        changes in prop::collection::vec((0..EXAMPLE.len(), any::<u8>()), 1..6),
        inserted_bytes in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut stream = EXAMPLE.to_vec();
        for (index, byte) in changes {
            stream[index] = byte;
        }
        stream.splice(25..25, inserted_bytes);
        let _ = decode(&stream, &layout(4, 4));
    }
}
