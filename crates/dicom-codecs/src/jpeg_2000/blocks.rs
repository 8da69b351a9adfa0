//! Checks the sizes of the code-blocks and precincts of a stream (ITU-T T.800 A.6.1, A.6.2), in its main header and in its tile-part
//! headers. The decoder needs hundreds of bytes for each of them: a stream with one precinct per sample would need a thousand
//! times the memory of the image.

use super::MALFORMED;
use crate::CodecError;

/// The minimum sum of the exponents of the width and the height of a code-block. Code-blocks usually have 64 by 64 samples; the
/// smallest in use have 16 by 16.
const MIN_BLOCK_EXPONENTS: u32 = 8;

/// The minimum exponent of the width and of the height of a precinct. The smallest precincts in use have 128 by 128 samples.
const MIN_PRECINCT_EXPONENT: u8 = 5;

const START_OF_TILE_PART: u16 = 0xFF90;
const START_OF_DATA: u16 = 0xFF93;
const END: u16 = 0xFFD9;
const CODING_STYLE: u16 = 0xFF52;
const CODING_STYLE_OF_COMPONENT: u16 = 0xFF53;

/// Rejects a stream whose code-blocks or precincts are smaller than those in use.
pub(super) fn check(stream: &[u8]) -> Result<(), CodecError> {
    let read_u16 =
        |offset: usize| stream.get(offset..offset + 2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
    let read_u32 = |offset: usize| {
        stream
            .get(offset..offset + 4)
            .map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    };
    // The first marker was checked by the caller.
    let mut position = 2;
    let mut next_part = None;
    loop {
        match read_u16(position) {
            // Some writers omit the EOC marker, or truncate the last tile-part.
            None | Some(END) => return Ok(()),
            Some(START_OF_DATA) => match next_part.take() {
                Some(next) => position = next,
                None => return Ok(()),
            },
            Some(marker) => {
                let length = usize::from(read_u16(position + 2).ok_or(MALFORMED)?);
                let segment = stream.get(position + 4..position + 2 + length).ok_or(MALFORMED)?;
                match marker {
                    START_OF_TILE_PART => {
                        let part_length = read_u32(position + 6).ok_or(MALFORMED)? as usize;
                        // 0 means that the tile-part extends to the end of the stream.
                        next_part = if part_length == 0 { None } else { Some(position + part_length) };
                        if next_part.is_some_and(|next| next <= position + 2 + length) {
                            return Err(MALFORMED);
                        }
                    }
                    CODING_STYLE => check_style(segment, 5)?,
                    // The component number has one byte, because there are at most three.
                    CODING_STYLE_OF_COMPONENT => check_style(segment.get(1..).ok_or(MALFORMED)?, 1)?,
                    _ => {}
                }
                position += 2 + length;
            }
        }
    }
}

/// Checks a coding style segment. Its first byte shows whether it contains precinct sizes. The parameters with the sizes of
/// code-blocks and precincts begin at `offset`.
fn check_style(segment: &[u8], offset: usize) -> Result<(), CodecError> {
    let has_precincts = segment.first().ok_or(MALFORMED)? & 1 == 1;
    let parameters = segment.get(offset..).ok_or(MALFORMED)?;
    let [levels, width, height, _, _, precincts @ ..] = parameters else { return Err(MALFORMED) };
    let precincts =
        if has_precincts { precincts.get(..=usize::from(*levels)).ok_or(MALFORMED)? } else { &[] };
    // The segment contains each exponent of a code-block minus 2 (T.800 table A.18).
    let is_small = u32::from(*width) + u32::from(*height) + 4 < MIN_BLOCK_EXPONENTS
        || precincts
            .iter()
            .any(|size| size & 0xF < MIN_PRECINCT_EXPONENT || size >> 4 < MIN_PRECINCT_EXPONENT);
    if is_small {
        return Err(CodecError::Unsupported("JPEG 2000 with unusually small code-blocks or precincts"));
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

    fn coding_style(width: u8, height: u8, precincts: &[u8]) -> Vec<u8> {
        let levels = u8::try_from(precincts.len().max(1) - 1).unwrap();
        let has_precincts = u8::from(!precincts.is_empty());
        [&[has_precincts, 0, 0, 1, 0, levels, width, height, 0, 1][..], precincts].concat()
    }

    /// Returns a codestream with these coding styles in the main header and in each of two tile-part headers.
    fn with_tile(in_header: &[u8], in_tile: &[u8]) -> Vec<u8> {
        let in_tile = segment(CODING_STYLE, in_tile);
        let part_length = u32::try_from(12 + in_tile.len() + 2 + 3).unwrap();
        let tile = segment(START_OF_TILE_PART, &[&[0, 0][..], &part_length.to_be_bytes(), &[0, 1]].concat());
        let header = segment(CODING_STYLE, in_header);
        [&[0xFF, 0x4F][..], &header, &tile, &in_tile, &[0xFF, 0x93, 1, 2, 3], &tile, &in_tile, &[0xFF, 0x93]]
            .concat()
    }

    #[test]
    fn usual_sizes_are_accepted() {
        for usual in
            [coding_style(4, 4, &[]), coding_style(2, 2, &[]), coding_style(4, 4, &[0x77, 0x88, 0x88])]
        {
            assert_eq!(check(&with_tile(&usual, &usual)), Ok(()));
        }
    }

    #[test]
    fn small_sizes_are_rejected_in_either_header() {
        let usual = coding_style(4, 4, &[]);
        for small in [
            coding_style(0, 0, &[]),
            coding_style(1, 2, &[]),
            coding_style(4, 4, &[0x88, 0x08]),
            coding_style(4, 4, &[0x80]),
        ] {
            for stream in [with_tile(&small, &usual), with_tile(&usual, &small)] {
                assert!(matches!(check(&stream), Err(CodecError::Unsupported(_))), "{small:?}");
            }
        }
    }
}
