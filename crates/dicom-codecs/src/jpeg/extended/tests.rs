//! Tests with streams that are written bit by bit. tests/e2e compares a real stream with the result of another decoder.

use std::fmt::Write;

use proptest::prelude::*;

use super::*;
use crate::frame::tests::gray;

const COLUMNS: usize = 20;

fn layout(rows: u16) -> FrameLayout {
    FrameLayout::new(&gray(rows, 20, 16, 12)).unwrap()
}

/// Returns a stream whose blocks have one gray level each, with a restart marker after every `restart_interval` blocks.
fn stream(rows: u8, component_count: u8, grays: &[i32], restart_interval: usize) -> Vec<u8> {
    let segment = |marker: u8, bytes: &[u8]| {
        let length = u8::try_from(bytes.len() + 2).unwrap();
        [&[0xFF, marker, 0, length][..], bytes].concat()
    };
    // The code of a DC size has five bits; the code for the end of a block has one bit.
    let size_codes =
        [&[0x00][..], &[0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &(0..16).collect::<Vec<_>>()];
    let end_of_block = [&[0x11][..], &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[0]];
    let component_parameters: Vec<u8> =
        (1..=component_count).flat_map(|component| [component, 0x11, 0]).collect();
    let mut bytes = [
        vec![0xFF, 0xD8],
        segment(0xDB, &[&[0][..], &[8; 64]].concat()),
        segment(0xC4, &[size_codes, end_of_block].concat().concat()),
        segment(0xDD, &[0, u8::try_from(restart_interval).unwrap()]),
        segment(0xC1, &[&[12, 0, rows, 0, 20, component_count][..], &component_parameters].concat()),
        segment(0xDA, &[1, 1, 0x01, 0, 63, 0]),
    ]
    .concat();
    let (mut bits, mut prediction) = (String::new(), 2048);
    for (block, gray) in grays.iter().enumerate() {
        if restart_interval > 0 && block > 0 && block % restart_interval == 0 {
            bytes.extend(pack(&bits));
            bytes.extend([0xFF, 0xD0 + u8::try_from((block / restart_interval - 1) % 8).unwrap()]);
            (bits, prediction) = (String::new(), 2048);
        }
        let difference = gray - prediction;
        prediction = *gray;
        let size = 32 - difference.unsigned_abs().leading_zeros();
        let value = if difference < 0 { difference + (1 << size) - 1 } else { difference };
        write!(bits, "{size:05b}").unwrap();
        if size > 0 {
            write!(bits, "{value:0width$b}", width = size as usize).unwrap();
        }
        bits.push('0');
    }
    bytes.extend(pack(&bits));
    bytes.extend([0xFF, 0xD9]);
    bytes
}

/// Packs the bits into bytes, padded with ones. A zero byte follows each 0xFF (T.81 F.1.2.3).
fn pack(bits: &str) -> Vec<u8> {
    let padded = format!("{bits}{}", "1".repeat(bits.len().next_multiple_of(8) - bits.len()));
    let byte = |index| u8::from_str_radix(&padded[index..index + 8], 2).unwrap();
    let stuff_byte = |byte| if byte == 0xFF { vec![0xFF, 0] } else { vec![byte] };
    (0..padded.len()).step_by(8).map(byte).flat_map(stuff_byte).collect()
}

const GRAYS: [i32; 6] = [0, 4095, 2048, 100, 3000, 2049];

fn decode(stream: &[u8], layout: &FrameLayout) -> Result<Vec<u16>, CodecError> {
    super::decode(stream, layout, Cancellation::never())
}

#[test]
fn second_frame_header_is_an_error() {
    let complete = stream(10, 1, &GRAYS, 0);
    let start = complete.windows(2).position(|marker| marker == [0xFF, 0xC1]).unwrap();
    for marker in [0xC0, 0xC1, 0xC2] {
        let mut second_header = complete[start..start + 13].to_vec();
        second_header[1] = marker;
        let before = [&complete[..start], &second_header, &complete[start..]].concat();
        let after = [&complete[..start + 13], &second_header, &complete[start + 13..]].concat();
        assert_eq!(decode(&before, &layout(10)), Err(MALFORMED), "{marker:x}");
        assert_eq!(decode(&after, &layout(10)), Err(MALFORMED), "{marker:x}");
    }
}

#[test]
fn blocks_are_placed_in_order_and_cropped_at_the_edges() {
    for restart_interval in [0, 1, 2] {
        let stream = stream(10, 1, &GRAYS, restart_interval);
        assert!(is_12_bit_extended(&stream));
        let samples = decode(&stream, &layout(10)).unwrap();
        assert_eq!(samples.len(), 200);
        for (index, sample) in samples.iter().enumerate() {
            let (row, column) = (index / COLUMNS, index % COLUMNS);
            assert_eq!(
                i32::from(*sample),
                GRAYS[row / 8 * 3 + column / 8],
                "row {row}, column {column}, restart interval {restart_interval}"
            );
        }
    }
}

#[test]
fn a_stream_that_is_truncated_or_of_another_size_is_rejected() {
    let complete = stream(10, 1, &GRAYS, 2);
    assert!(decode(&complete, &layout(11)).is_err());
    let data_end = complete.len() - 2;
    for length in 0..data_end {
        assert!(decode(&complete[..length], &layout(10)).is_err(), "{length} of {data_end}");
    }
    assert_eq!(decode(&complete[..data_end], &layout(10)).unwrap(), decode(&complete, &layout(10)).unwrap());
    let colors = stream(10, 3, &GRAYS, 0);
    assert!(matches!(decode(&colors, &layout(10)), Err(CodecError::Unsupported(_))));
}

proptest! {
    #[test]
    fn no_stream_makes_the_decoder_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20)) {
        let mut bytes = stream(10, 1, &GRAYS, 2);
        for (index, byte) in changes {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        if let Ok(samples) = decode(&bytes, &layout(10)) {
            prop_assert!(samples.iter().all(|sample| *sample <= 4095));
        }
    }
}
