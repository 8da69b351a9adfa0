//! Tables that are written in segments (PS3.3 C.7.9.2): entries as they are, lines between two of them, and segments that
//! stood there before.

use super::BROKEN;
use crate::RenderError;

/// The `count` entries that `words` stand for; offsets count bytes, `unit` of them in a word.
pub(super) fn expanded(words: &[u16], unit: usize, count: usize) -> Result<Vec<u16>, RenderError> {
    let mut entries = Vec::new();
    let mut at = 0;
    while entries.len() < count {
        let [operation, length] = *words.get(at..at + 2).ok_or(BROKEN)? else { return Err(BROKEN) };
        at += 2;
        if operation == 2 {
            // The offset takes four bytes, its lower ones first; words of one byte put it as four.
            let parts = words.get(at..at + 4 / unit).ok_or(BROKEN)?;
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

/// Adds the entries of the segment at `at`, which is none that points at others; how many words it takes.
fn segment(words: &[u16], at: usize, count: usize, entries: &mut Vec<u16>) -> Result<usize, RenderError> {
    let [operation, length] = *words.get(at..).and_then(|rest| rest.get(..2)).ok_or(BROKEN)? else {
        return Err(BROKEN);
    };
    let length = usize::from(length);
    if length == 0 || entries.len() + length > count {
        return Err(BROKEN);
    }
    match operation {
        0 => {
            entries.extend_from_slice(words.get(at + 2..at + 2 + length).ok_or(BROKEN)?);
            Ok(2 + length)
        }
        1 => {
            let start = f64::from(*entries.last().ok_or(BROKEN)?);
            let end = f64::from(*words.get(at + 2).ok_or(BROKEN)?);
            let step = (end - start) / length as f64;
            entries.extend((1..=length).map(|index| (start + step * index as f64).round() as u16));
            Ok(3)
        }
        _ => Err(BROKEN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_lines_and_earlier_segments_make_a_table() {
        let words = [0, 2, 10, 20, 1, 4, 40, 0, 1, 7, 2, 2, 8, 0];
        // The last segment repeats two, the first of which begins at the eighth byte: the line, from where the table is now.
        assert_eq!(expanded(&words, 2, 12).unwrap(), [10, 20, 25, 30, 35, 40, 7, 15, 24, 32, 40, 7]);
        let from_start = [&words[..12], &[0, 0]].concat();
        assert_eq!(
            expanded(&from_start, 2, 13).unwrap(),
            [10, 20, 25, 30, 35, 40, 7, 10, 20, 25, 30, 35, 40]
        );
    }

    #[test]
    fn what_is_no_segment_is_refused() {
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
            assert_eq!(expanded(words, 2, 2), Err(BROKEN), "{words:?}");
        }
    }
}
