//! Expands segmented lookup tables (PS3.3 C.7.9.2): discrete, linear and indirect segments. This module does not know about
//! descriptors.

use super::INVALID;
use crate::RenderError;

/// Expands `words` to `entry_count` entries. Offsets are in bytes, with `bytes_per_word` bytes per word.
pub(super) fn expand(
    words: &[u16],
    bytes_per_word: usize,
    entry_count: usize,
) -> Result<Vec<u16>, RenderError> {
    let mut entries = Vec::new();
    let mut position = 0;
    while entries.len() < entry_count {
        let [operation, length] = *words.get(position..position + 2).ok_or(INVALID)? else {
            return Err(INVALID);
        };
        position += 2;
        if operation == 2 {
            // The offset has four bytes in little-endian order: two words of two bytes, or four words of one byte.
            let parts = words.get(position..position + 4 / bytes_per_word).ok_or(INVALID)?;
            let bits = 8 * bytes_per_word;
            let offset = parts.iter().rev().fold(0_usize, |offset, part| offset << bits | usize::from(*part));
            position += 4 / bytes_per_word;
            let mut repeated_position = offset / bytes_per_word;
            for _ in 0..length {
                repeated_position += expand_segment(words, repeated_position, entry_count, &mut entries)?;
            }
        } else {
            position += expand_segment(words, position - 2, entry_count, &mut entries)? - 2;
        }
    }
    Ok(entries)
}

/// Appends the entries of the discrete or linear segment at `position`; returns its length in words.
fn expand_segment(
    words: &[u16],
    position: usize,
    entry_count: usize,
    entries: &mut Vec<u16>,
) -> Result<usize, RenderError> {
    let [operation, length] = *words.get(position..).and_then(|rest| rest.get(..2)).ok_or(INVALID)? else {
        return Err(INVALID);
    };
    let length = usize::from(length);
    if length == 0 || entries.len() + length > entry_count {
        return Err(INVALID);
    }
    match operation {
        0 => {
            entries.extend_from_slice(words.get(position + 2..position + 2 + length).ok_or(INVALID)?);
            Ok(2 + length)
        }
        1 => {
            let start = f64::from(*entries.last().ok_or(INVALID)?);
            let end = f64::from(*words.get(position + 2).ok_or(INVALID)?);
            let step = (end - start) / length as f64;
            entries.extend((1..=length).map(|index| (start + step * index as f64).round() as u16));
            Ok(3)
        }
        _ => Err(INVALID),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discrete_linear_and_indirect_segments_are_expanded() {
        let words = [0, 2, 10, 20, 1, 4, 40, 0, 1, 7, 2, 2, 8, 0];
        // The indirect segment repeats the two segments at byte 8: the linear segment, which starts at the current last entry,
        // and the segment after it.
        assert_eq!(expand(&words, 2, 12).unwrap(), [10, 20, 25, 30, 35, 40, 7, 15, 24, 32, 40, 7]);
        let from_start = [&words[..12], &[0, 0]].concat();
        assert_eq!(expand(&from_start, 2, 13).unwrap(), [10, 20, 25, 30, 35, 40, 7, 10, 20, 25, 30, 35, 40]);
    }

    #[test]
    fn invalid_segments_are_rejected() {
        for words in [
            &[][..],
            &[0],
            &[0, 2, 1],
            &[0, 0],
            &[1, 2, 3],
            &[3, 1, 1],
            &[0, 3, 1, 2, 3],
            &[2, 1, 0, 0],
            &[0, 1, 5, 2, 1, 2, 0],
        ] {
            assert_eq!(expand(words, 2, 2), Err(INVALID), "{words:?}");
        }
    }
}
