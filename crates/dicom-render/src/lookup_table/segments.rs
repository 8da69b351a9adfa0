//! Expands segmented lookup tables (PS3.3 C.7.9.2): discrete, linear and indirect segments. Does not know about
//! descriptors.

use super::INVALID;
use crate::RenderError;

/// Expands `words` to `count` entries. Offsets are in bytes, with `unit` bytes per word.
pub(super) fn expand(words: &[u16], unit: usize, count: usize) -> Result<Vec<u16>, RenderError> {
    let mut entries = Vec::new();
    let mut at = 0;
    while entries.len() < count {
        let [operation, length] = *words.get(at..at + 2).ok_or(INVALID)? else { return Err(INVALID) };
        at += 2;
        if operation == 2 {
            // The offset has four bytes in little-endian order: two words of two bytes, or four words of one byte.
            let parts = words.get(at..at + 4 / unit).ok_or(INVALID)?;
            let bits = 8 * unit;
            let offset = parts.iter().rev().fold(0_usize, |offset, part| offset << bits | usize::from(*part));
            at += 4 / unit;
            let mut earlier = offset / unit;
            for _ in 0..length {
                earlier += segment(words, earlier, count, &mut entries)?;
            }
        } else {
            at += segment(words, at - 2, count, &mut entries)? - 2;
        }
    }
    Ok(entries)
}

/// Appends the entries of the discrete or linear segment at `at`; returns its length in words.
fn segment(words: &[u16], at: usize, count: usize, entries: &mut Vec<u16>) -> Result<usize, RenderError> {
    let [operation, length] = *words.get(at..).and_then(|rest| rest.get(..2)).ok_or(INVALID)? else {
        return Err(INVALID);
    };
    let length = usize::from(length);
    if length == 0 || entries.len() + length > count {
        return Err(INVALID);
    }
    match operation {
        0 => {
            entries.extend_from_slice(words.get(at + 2..at + 2 + length).ok_or(INVALID)?);
            Ok(2 + length)
        }
        1 => {
            let start = f64::from(*entries.last().ok_or(INVALID)?);
            let end = f64::from(*words.get(at + 2).ok_or(INVALID)?);
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
        // The indirect segment repeats two segments from byte 8 on: the linear segment, which starts at the current
        // last entry, and the next one.
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
