//! Checks the sizes of the blocks and precincts of a stream (ITU-T T.800 A.6.1, A.6.2), in its main header and in those of its
//! tiles. The decoder needs hundreds of bytes for each of them: a stream whose precincts are single samples would need a
//! thousand times the memory of the image.

use super::BROKEN;
use crate::CodecError;

/// The minimum of the exponents of both sides of a block together: blocks usually have 64 by 64 samples; the smallest that
/// occur have 16 by 16.
const MIN_BLOCK_SIZE: u32 = 8;

/// The minimum exponent of each side of a precinct, with a margin: the smallest that occur have 128 by 128 samples.
const MIN_PRECINCT_SIZE: u8 = 5;

const START_OF_TILE_PART: u16 = 0xFF90;
const START_OF_DATA: u16 = 0xFF93;
const END: u16 = 0xFFD9;
const CODING_STYLE: u16 = 0xFF52;
const CODING_STYLE_OF_COMPONENT: u16 = 0xFF53;

/// Rejects a stream with smaller blocks or precincts than any real one.
pub(super) fn check(stream: &[u8]) -> Result<(), CodecError> {
    let word = |at: usize| stream.get(at..at + 2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let long = |at: usize| {
        stream.get(at..at + 4).map(|four| u32::from_be_bytes([four[0], four[1], four[2], four[3]]))
    };
    // After the start of the stream, which was checked.
    let mut at = 2;
    let mut next_part = None;
    loop {
        match word(at) {
            // Some writers omit the end, or truncate the last part.
            None | Some(END) => return Ok(()),
            Some(START_OF_DATA) => match next_part.take() {
                Some(next) => at = next,
                None => return Ok(()),
            },
            Some(marker) => {
                let length = usize::from(word(at + 2).ok_or(BROKEN)?);
                let segment = stream.get(at + 4..at + 2 + length).ok_or(BROKEN)?;
                match marker {
                    START_OF_TILE_PART => {
                        let part = long(at + 6).ok_or(BROKEN)? as usize;
                        // 0 means that it extends to the end.
                        next_part = if part == 0 { None } else { Some(at + part) };
                        if next_part.is_some_and(|next| next <= at + 2 + length) {
                            return Err(BROKEN);
                        }
                    }
                    CODING_STYLE => check_style(segment, 5)?,
                    // The component number has one byte, because there are at most three.
                    CODING_STYLE_OF_COMPONENT => check_style(segment.get(1..).ok_or(BROKEN)?, 1)?,
                    _ => {}
                }
                at += 2 + length;
            }
        }
    }
}

/// Checks a segment whose first byte says whether it has precinct sizes; the sizes of blocks and precincts begin at
/// `parameters`.
fn check_style(segment: &[u8], parameters: usize) -> Result<(), CodecError> {
    let has_precincts = segment.first().ok_or(BROKEN)? & 1 == 1;
    let parameters = segment.get(parameters..).ok_or(BROKEN)?;
    let [levels, width, height, _, _, precincts @ ..] = parameters else { return Err(BROKEN) };
    let precincts = if has_precincts { precincts.get(..=usize::from(*levels)).ok_or(BROKEN)? } else { &[] };
    let is_small = u32::from(*width) + u32::from(*height) + 4 < MIN_BLOCK_SIZE
        || precincts.iter().any(|size| size & 0xF < MIN_PRECINCT_SIZE || size >> 4 < MIN_PRECINCT_SIZE);
    if is_small {
        return Err(CodecError::Unsupported(
            "JPEG 2000 with code-blocks or precincts smaller than any in use",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(marker: u16, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len() + 2).unwrap();
        [&marker.to_be_bytes()[..], &length.to_be_bytes(), content].concat()
    }

    fn style(width: u8, height: u8, precincts: &[u8]) -> Vec<u8> {
        let levels = u8::try_from(precincts.len().max(1) - 1).unwrap();
        let is_told = u8::from(!precincts.is_empty());
        [&[is_told, 0, 0, 1, 0, levels, width, height, 0, 1][..], precincts].concat()
    }

    fn with_tile(in_header: &[u8], in_tile: &[u8]) -> Vec<u8> {
        let in_tile = segment(CODING_STYLE, in_tile);
        let part = u32::try_from(12 + in_tile.len() + 2 + 3).unwrap();
        let tile = segment(START_OF_TILE_PART, &[&[0, 0][..], &part.to_be_bytes(), &[0, 1]].concat());
        let header = segment(CODING_STYLE, in_header);
        [&[0xFF, 0x4F][..], &header, &tile, &in_tile, &[0xFF, 0x93, 1, 2, 3], &tile, &in_tile, &[0xFF, 0x93]]
            .concat()
    }

    #[test]
    fn usual_sizes_are_accepted() {
        for usual in [style(4, 4, &[]), style(2, 2, &[]), style(4, 4, &[0x77, 0x88, 0x88])] {
            assert_eq!(check(&with_tile(&usual, &usual)), Ok(()));
        }
    }

    #[test]
    fn small_sizes_are_rejected_in_either_header() {
        let usual = style(4, 4, &[]);
        for small in [style(0, 0, &[]), style(1, 2, &[]), style(4, 4, &[0x88, 0x08]), style(4, 4, &[0x80])] {
            for stream in [with_tile(&small, &usual), with_tile(&usual, &small)] {
                assert!(matches!(check(&stream), Err(CodecError::Unsupported(_))), "{small:?}");
            }
        }
    }
}
