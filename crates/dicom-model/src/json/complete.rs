//! Reads JSON that is complete in a text (RFC 8259) several bytes at a time, and stores nothing. This is several times as fast as reading
//! byte by byte or parsing.
//!
//! This module reads only what it recognizes. Its callers read everything else, and report errors.

use std::ops::Range;

/// Maximum number of open arrays and objects in a value.
const MAX_DEPTH: u32 = 32;

/// The beginning of an attribute in DICOM JSON without white space (PS3.18 F.2.2), before and after the two letters of the value
/// representation.
const ATTRIBUTE_START: &[u8; 7] = br#"{"vr":""#;
const VALUE_START: &[u8; 11] = br#"","Value":["#;

/// Why nothing can be returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotRead {
    /// The text ends before the end of what is read, and is valid up to this end.
    Incomplete,
    /// The text is invalid, or something that this module does not read.
    Unrecognized,
}

/// A member of an object whose name has eight characters without escapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) name: [u8; 8],
    /// The position of the value.
    pub(super) value: Range<usize>,
}

/// Reads the object at the beginning of `text`, and returns its length. Calls `read` for each member, with the tag that is its name and
/// the text of its value. An object with a member that does not have eight uppercase hexadecimal digits as its name, or for which
/// `read` returns false, is not recognized.
///
/// ```
/// use dicom_model::json::complete::read_object;
/// let mut values = Vec::new();
/// let text = br#"{"00100020":{"vr":"LO","Value":["P1"]},"00280010":{}},"#;
/// let length = read_object(text, &mut |_, value| { values.push(value.to_vec()); true });
/// assert_eq!(length, Ok(text.len() - 1));
/// assert_eq!(values, [br#"{"vr":"LO","Value":["P1"]}"#.to_vec(), b"{}".to_vec()]);
/// ```
pub fn read_object(text: &[u8], read: &mut impl FnMut([u8; 8], &[u8]) -> bool) -> Result<usize, NotRead> {
    if byte(text, 0)? != b'{' {
        return Err(NotRead::Unrecognized);
    }
    let mut position = skip_space(text, 1);
    if byte(text, position)? == b'}' {
        return Ok(position + 1);
    }
    loop {
        let Member { name, value } = read_member(text, position)?;
        position = value.end;
        // Without a branch for each byte, the compiler compares all of them at once.
        let is_tag =
            name.iter().fold(true, |is_tag, byte| is_tag & matches!(byte, b'0'..=b'9' | b'A'..=b'F'));
        if !is_tag || !read(name, text.get(value).unwrap_or_default()) {
            return Err(NotRead::Unrecognized);
        }
        position = skip_space(text, position);
        match byte(text, position)? {
            b',' => position = skip_space(text, position + 1),
            b'}' => return Ok(position + 1),
            _ => return Err(NotRead::Unrecognized),
        }
    }
}

/// Returns the value of an attribute with one string and nothing else but a value representation: the members `vr` and `Value` in any
/// order, without white space. `None` if the string has escapes, is empty, or is the name of a person, which has components.
///
/// ```
/// use dicom_model::json::complete::only_string;
/// assert_eq!(only_string(br#"{"vr":"LO","Value":["P1"]}"#), Some("P1"));
/// assert_eq!(only_string(br#"{"vr":"LO","Value":["P1","P2"]}"#), None);
/// ```
pub fn only_string(attribute: &[u8]) -> Option<&str> {
    let (start, rest) = attribute.split_at_checked(ATTRIBUTE_START.len())?;
    let string = if start == ATTRIBUTE_START {
        let (vr, rest) = rest.split_first_chunk::<2>()?;
        (is_vr(*vr) && vr != b"PN").then_some(())?;
        rest.strip_prefix(VALUE_START)?.strip_prefix(b"\"")?.strip_suffix(b"\"]}")?
    } else {
        let rest = attribute.strip_prefix(br#"{"Value":[""#)?.strip_suffix(b"\"}")?;
        let (rest, vr) = rest.split_last_chunk::<2>()?;
        (is_vr(*vr) && vr != b"PN").then_some(())?;
        rest.strip_suffix(br#""],"vr":""#)?
    };
    (!string.is_empty() && plain_len(string) == string.len()).then_some(())?;
    std::str::from_utf8(string).ok()
}

/// Whether these are the letters of a value representation.
fn is_vr(letters: [u8; 2]) -> bool {
    letters.iter().all(u8::is_ascii_uppercase)
}

/// Reads the member that begins at `position` with the quotation mark of its name.
#[inline]
pub(super) fn read_member(text: &[u8], position: usize) -> Result<Member, NotRead> {
    let (Some(name), after_colon) = read_name(text, position)? else { return Err(NotRead::Unrecognized) };
    let start = skip_space(text, after_colon);
    let end = read_value(text, start)?;
    Ok(Member { name, value: start..end })
}

/// Reads a name and the colon after it. Returns the name if it has eight characters without escapes, and the position after the colon.
#[inline]
fn read_name(text: &[u8], position: usize) -> Result<(Option<[u8; 8]>, usize), NotRead> {
    let rest = text.get(position..).unwrap_or_default();
    if let Some([b'"', name @ .., b'"', b':']) = rest.first_chunk::<11>()
        && special_bytes(u64::from_le_bytes(*name)) == 0
    {
        return Ok((Some(*name), position + 11));
    }
    if byte(text, position)? != b'"' {
        return Err(NotRead::Unrecognized);
    }
    let end = string_end(text, position + 1)?;
    let name = text.get(position + 1..end - 1).and_then(|name| name.try_into().ok());
    let name = name.filter(|name| special_bytes(u64::from_le_bytes(*name)) == 0);
    let colon = skip_space(text, end);
    if byte(text, colon)? == b':' { Ok((name, colon + 1)) } else { Err(NotRead::Unrecognized) }
}

/// Reads the value that begins at `position`; returns its end. A number must be followed by another byte.
#[inline]
fn read_value(text: &[u8], mut position: usize) -> Result<usize, NotRead> {
    // For each open array or object one bit, which is set for an object; the last one is the innermost.
    let (mut open, mut depth) = (0_u32, 0_u32);
    loop {
        // Whether the byte at the position is the first one in an array or object, which may be its end.
        let mut may_end = false;
        match byte(text, position)? {
            b'"' => position = string_end(text, position + 1)?,
            b'{' if depth + 2 <= MAX_DEPTH && is_attribute_start(text, position) => {
                position += ATTRIBUTE_START.len() + 2 + VALUE_START.len();
                (open, depth, may_end) = (open << 2 | 0b10, depth + 2, true);
            }
            bracket @ (b'{' | b'[') if depth < MAX_DEPTH => {
                position += 1;
                (open, depth, may_end) = (open << 1 | u32::from(bracket == b'{'), depth + 1, true);
            }
            b'-' | b'0'..=b'9' => position = number_end(text, position)?,
            b't' => position = literal_end(text, position, b"true")?,
            b'f' => position = literal_end(text, position, b"false")?,
            b'n' => position = literal_end(text, position, b"null")?,
            _ => return Err(NotRead::Unrecognized),
        }
        loop {
            if depth == 0 {
                return Ok(position);
            }
            position = skip_space(text, position);
            // The end of an attribute in one step.
            if depth >= 2
                && open & 0b11 == 0b10
                && text.get(position..).is_some_and(|rest| rest.starts_with(b"]}"))
            {
                position += 2;
                (open, depth, may_end) = (open >> 2, depth - 2, false);
                continue;
            }
            let is_object = open & 1 == 1;
            match (byte(text, position)?, is_object) {
                (b'}', true) | (b']', false) => {
                    position += 1;
                    (open, depth, may_end) = (open >> 1, depth - 1, false);
                    continue;
                }
                (b'"', true) if may_end => position = read_name(text, position)?.1,
                (_, false) if may_end => {}
                (b',', true) if !may_end => position = read_name(text, skip_space(text, position + 1))?.1,
                (b',', false) if !may_end => position += 1,
                _ => return Err(NotRead::Unrecognized),
            }
            position = skip_space(text, position);
            break;
        }
    }
}

/// Whether an attribute without white space begins at `position`, up to the beginning of its values.
#[inline]
fn is_attribute_start(text: &[u8], position: usize) -> bool {
    let start = text.get(position..).and_then(<[u8]>::first_chunk::<20>);
    start.is_some_and(|start| {
        start.starts_with(ATTRIBUTE_START) && is_vr([start[7], start[8]]) && start.ends_with(VALUE_START)
    })
}

/// Returns the position after the string whose content begins at `position`.
#[inline]
fn string_end(text: &[u8], mut position: usize) -> Result<usize, NotRead> {
    loop {
        position += plain_len(text.get(position..).unwrap_or_default());
        match byte(text, position)? {
            b'"' => return Ok(position + 1),
            b'\\' => position = escape_end(text, position + 1)?,
            _ => return Err(NotRead::Unrecognized),
        }
    }
}

/// Returns the position after the escape whose backslash is before `position`.
fn escape_end(text: &[u8], position: usize) -> Result<usize, NotRead> {
    match byte(text, position)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(position + 1),
        b'u' => {
            for digit in position + 1..position + 5 {
                if !byte(text, digit)?.is_ascii_hexdigit() {
                    return Err(NotRead::Unrecognized);
                }
            }
            Ok(position + 5)
        }
        _ => Err(NotRead::Unrecognized),
    }
}

/// Returns the position after the number that begins at `position` (RFC 8259 6).
#[inline]
fn number_end(text: &[u8], mut position: usize) -> Result<usize, NotRead> {
    if byte(text, position)? == b'-' {
        position += 1;
    }
    position = if byte(text, position)? == b'0' { position + 1 } else { digits_end(text, position)? };
    if byte(text, position)? == b'.' {
        position = digits_end(text, position + 1)?;
    }
    if matches!(byte(text, position)?, b'e' | b'E') {
        position += 1;
        if matches!(byte(text, position)?, b'+' | b'-') {
            position += 1;
        }
        position = digits_end(text, position)?;
    }
    Ok(position)
}

/// Returns the position after one or more digits.
#[inline]
fn digits_end(text: &[u8], start: usize) -> Result<usize, NotRead> {
    let mut position = start;
    while byte(text, position)?.is_ascii_digit() {
        position += 1;
    }
    if position > start { Ok(position) } else { Err(NotRead::Unrecognized) }
}

/// Returns the position after `literal`.
fn literal_end(text: &[u8], position: usize, literal: &[u8]) -> Result<usize, NotRead> {
    let rest = text.get(position..).unwrap_or_default();
    if rest.starts_with(literal) {
        Ok(position + literal.len())
    } else if literal.starts_with(rest) {
        Err(NotRead::Incomplete)
    } else {
        Err(NotRead::Unrecognized)
    }
}

/// Returns the number of bytes before the first quotation mark, backslash or control character.
#[inline]
pub(super) fn plain_len(text: &[u8]) -> usize {
    let (words, rest) = text.as_chunks();
    for (index, word) in words.iter().enumerate() {
        let special = special_bytes(u64::from_le_bytes(*word));
        if special != 0 {
            return index * size_of::<u64>() + special.trailing_zeros() as usize / 8;
        }
    }
    let rest_len = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..0x20));
    text.len() - rest.len() + rest_len.unwrap_or(rest.len())
}

/// Marks the bytes that are quotation marks, backslashes or control characters by their highest bits. The lowest mark is right; a
/// mark above it may be wrong, because subtraction borrows.
#[inline]
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let quotes = word ^ (ONES * u64::from(b'"'));
    let backslashes = word ^ (ONES * u64::from(b'\\'));
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word;
    (below(quotes, 1) | below(backslashes, 1) | below(word, 0x20)) & (ONES * 0x80)
}

/// Returns the position of the first byte from `position` that is not white space.
#[inline]
fn skip_space(text: &[u8], mut position: usize) -> usize {
    while matches!(text.get(position), Some(b' ' | b'\t' | b'\r' | b'\n')) {
        position += 1;
    }
    position
}

#[inline]
fn byte(text: &[u8], position: usize) -> Result<u8, NotRead> {
    text.get(position).copied().ok_or(NotRead::Incomplete)
}

#[cfg(test)]
mod tests;
