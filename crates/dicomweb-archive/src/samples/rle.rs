//! Compresses monochrome frames with 8 bits per pixel in RLE Lossless (PS3.5 Annex G): one segment, in which each row is encoded
//! separately. This module does not decompress.

/// Compresses one frame with rows of `width` pixels.
pub(super) fn compress(frame: &[u8], width: usize) -> Vec<u8> {
    // The header has sixteen 32-bit integers: the number of segments, and then their offsets (G.5).
    let mut compressed = vec![0; 64];
    compressed[0] = 1;
    compressed[4] = 64;
    for row in frame.chunks(width.max(1)) {
        pack(row, &mut compressed);
    }
    if compressed.len() % 2 == 1 {
        compressed.push(0);
    }
    compressed
}

/// Appends a row as `PackBits` (PS3.5 G.3.1): replicate runs and literal runs of at most 128 bytes each.
fn pack(mut row: &[u8], output: &mut Vec<u8>) {
    while let Some(first) = row.first() {
        let run_length = row.iter().take(128).take_while(|byte| *byte == first).count();
        if run_length > 2 {
            output.extend([length_byte(257 - run_length), *first]);
            row = &row[run_length..];
            continue;
        }
        let are_equal = |three: &[u8]| three[0] == three[1] && three[1] == three[2];
        let limit = row.len().min(128);
        let literal_length = row[..limit].windows(3).position(are_equal).unwrap_or(limit).max(1);
        output.push(length_byte(literal_length - 1));
        output.extend_from_slice(&row[..literal_length]);
        row = &row[literal_length..];
    }
}

fn length_byte(length: usize) -> u8 {
    u8::try_from(length).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unpack(mut packed: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let [length, rest @ ..] = packed {
            let length = usize::from(*length);
            if length < 128 {
                bytes.extend_from_slice(&rest[..=length]);
                packed = &rest[length + 1..];
            } else {
                bytes.extend(std::iter::repeat_n(rest[0], 257 - length));
                packed = &rest[1..];
            }
        }
        bytes
    }

    proptest! {
        #[test]
        fn packed_row_is_unpacked_unchanged(row in prop::collection::vec(0_u8..4, 0..700)) {
            let mut packed = Vec::new();
            pack(&row, &mut packed);
            prop_assert_eq!(unpack(&packed), row);
        }
    }
}
