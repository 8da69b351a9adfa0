//! Finds the JSON texts of a few attributes in each object of a JSON array (PS3.18 F.2) while the array arrives. Nothing else is stored,
//! so objects may have any length. This module does not know what the values mean.
//!
//! The text must be an array of objects according to RFC 8259, in which each of the attributes occurs once, under any of the names that
//! [`tag::parse`] recognizes. Bytes that are not UTF-8 are accepted in strings.

mod number;

use super::complete::{Member, only_string, plain_len, read_member};
use super::reader::{RowError, describe_start};
use crate::{Tag, tag};
use number::Number;

/// Maximum number of open arrays and objects. A sequence in a sequence opens three, and the nesting of real objects is not as deep.
const MAX_DEPTH: usize = 512;

/// Maximum length in bytes of a name that is compared. Keywords are shorter.
const MAX_COMPARED_LEN: usize = 256;

/// Maps upper-case letters among eight characters to lower-case ones. It maps only control characters to digits.
const LOWER_CASE: u64 = 0x2020_2020_2020_2020;

/// The byte order mark, which some archives send before the array.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The numbers of open arrays and objects in the array of objects, in an object and in an attribute.
const IN_LIST: usize = 1;
const IN_OBJECT: usize = 2;
const IN_ATTRIBUTE: usize = 3;

/// What the scanner has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'a> {
    /// The beginning of an object.
    Object,
    /// The end of an attribute.
    Attribute {
        /// The index of the attribute in the list of the caller.
        index: usize,
        /// The JSON text of the attribute, without white space around it.
        text: &'a [u8],
    },
    /// The end of the object.
    End,
}

/// What may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The array of objects, of whose byte order mark this many bytes have been read.
    List(usize),
    Value,
    /// A value, or the end of an array.
    ValueOrEnd,
    Name,
    /// A name, or the end of an object.
    NameOrEnd,
    Colon,
    CommaOrEnd,
    /// The rest of a string.
    Text(Role),
    /// The character after a backslash in a string.
    Escape(Role),
    /// The rest of the four digits of a code unit in a string.
    CodeUnit(Role, u8, u16),
    Number(Number),
    /// The rest of `true`, `false` or `null`.
    Literal(&'static [u8]),
    /// Nothing but white space.
    Nothing,
}

/// The role of a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// A name that is compared with the attributes, or with `Value`.
    ComparedName,
    OtherName,
    Value,
}

/// The names of an attribute.
#[derive(Debug)]
struct Names {
    /// The eight hexadecimal digits of the tag in lower case.
    digits: [u8; 8],
    keyword: &'static str,
}

impl Names {
    fn of(tag: Tag) -> Self {
        let digits = tag::member_name(tag).map(|digit| digit.to_ascii_lowercase());
        Self { digits, keyword: tag::keyword(tag).unwrap_or_default() }
    }

    fn contain(&self, name: &[u8]) -> bool {
        name.eq_ignore_ascii_case(&self.digits) || !name.is_empty() && name == self.keyword.as_bytes()
    }
}

/// Finds the texts of attributes in the objects of an array.
///
/// ```
/// use dicom_model::json::attribute_texts::{AttributeTexts, Found};
/// let mut scanner = AttributeTexts::new(&[dicom_model::tags::STUDY_INSTANCE_UID], 100);
/// let mut uids = Vec::new();
/// let mut add = |_, found: Found<'_>| {
///     if let Found::Attribute { text, .. } = found {
///         uids.push(text.to_vec());
///     }
/// };
/// scanner.push(br#"[{"0020000D":{"vr":"UI","Val"#, &mut add)?;
/// scanner.push(br#"ue":["1.2"]}}]"#, &mut add)?;
/// assert_eq!(scanner.finish()?, 1);
/// assert_eq!(uids, [br#"{"vr":"UI","Value":["1.2"]}"#]);
/// # Ok::<(), dicom_model::json::reader::RowError>(())
/// ```
#[derive(Debug)]
pub struct AttributeTexts {
    attributes: Vec<Names>,
    /// Whether the names of all attributes that have eight characters are the digits of their tags.
    has_no_short_keyword: bool,
    /// Maximum length in bytes of the text of an attribute.
    max_text_len: usize,
    next: Next,
    /// For each open array or object one bit, which is set for an object.
    open: [u64; MAX_DEPTH / 64],
    depth: usize,
    /// The number of complete objects.
    objects: usize,
    /// The attributes of the current object that have been found.
    found: Vec<bool>,
    /// The current attribute, if it is one of the list.
    attribute: Option<usize>,
    has_value_member: bool,
    /// Whether the text of the current attribute is stored.
    is_stored: bool,
    /// The text of the current attribute, as far as it has been read.
    text: Vec<u8>,
    /// The name that is compared.
    compared: Vec<u8>,
    /// The first half of a surrogate pair in the compared name.
    high_surrogate: Option<u16>,
}

impl AttributeTexts {
    /// Creates a scanner for the attributes with these tags. An attribute whose text has more than `max_text_len` bytes is an error.
    pub fn new(attributes: &[Tag], max_text_len: usize) -> Self {
        let attributes: Vec<_> = attributes.iter().map(|tag| Names::of(*tag)).collect();
        Self {
            has_no_short_keyword: attributes.iter().all(|names| names.keyword.len() != names.digits.len()),
            found: vec![false; attributes.len()],
            attributes,
            max_text_len,
            next: Next::List(0),
            open: [0; MAX_DEPTH / 64],
            depth: 0,
            objects: 0,
            attribute: None,
            has_value_member: false,
            is_stored: false,
            text: Vec::new(),
            compared: Vec::new(),
            high_surrogate: None,
        }
    }

    /// Reads the next bytes of the text. Calls `handle` for everything that is found, with its position: the number of bytes of
    /// `chunk` before an object, or up to the end of an attribute or object.
    pub fn push(&mut self, chunk: &[u8], handle: &mut impl FnMut(usize, Found<'_>)) -> Result<(), RowError> {
        let mut position = 0;
        while position < chunk.len() {
            if self.depth == IN_OBJECT
                && self.has_no_short_keyword
                && matches!(self.next, Next::Name | Next::NameOrEnd)
            {
                position = self.read_complete_members(chunk, position, handle);
            }
            let Some(byte) = chunk.get(position).copied() else { break };
            if let Next::Text(role) = self.next {
                let rest = chunk.get(position..).unwrap_or_default();
                let length = plain_len(rest);
                self.compare(role, rest.get(..length).unwrap_or_default());
                position += length;
                self.store(rest.get(..=length).unwrap_or(rest))?;
                let Some(end) = chunk.get(position) else { break };
                position += 1;
                match end {
                    b'\\' => self.next = Next::Escape(role),
                    b'"' => self.end_text(role, position, handle)?,
                    _ => return Err(self.malformed()),
                }
            } else {
                let is_after_number =
                    matches!(self.next, Next::Number(number) if number.next(byte).is_none());
                if !is_after_number {
                    self.store(&[byte])?;
                }
                // The byte after a number belongs to what follows.
                position += usize::from(self.read(byte, position, handle)?);
            }
        }
        Ok(())
    }

    /// Returns the number of objects that are complete.
    pub fn objects(&self) -> usize {
        self.objects
    }

    /// Ends the text; returns the number of objects.
    pub fn finish(&self) -> Result<usize, RowError> {
        match self.next {
            Next::Nothing => Ok(self.objects),
            Next::List(_) => Err(RowError::NotAnArray("nothing")),
            _ => Err(RowError::Truncated { rows: self.objects }),
        }
    }

    /// Reads the members of an object that are complete in `chunk` from `position` and need not be read byte by byte, which would take
    /// several times as long. Returns the position of the first byte after them.
    fn read_complete_members(
        &mut self,
        chunk: &[u8],
        mut position: usize,
        handle: &mut impl FnMut(usize, Found<'_>),
    ) -> usize {
        while chunk.get(position) == Some(&b'"')
            && let Ok(Member { name, value }) = read_member(chunk, position)
        {
            let end = value.end;
            let name = u64::from_le_bytes(name) | LOWER_CASE;
            let attribute = self.attributes.iter().position(|names| u64::from_le_bytes(names.digits) == name);
            if let Some(index) = attribute {
                let text = chunk.get(value).unwrap_or_default();
                let Some(found) = self.found.get_mut(index).filter(|found| !**found) else { break };
                if text.len() > self.max_text_len || only_string(text).is_none() {
                    break;
                }
                *found = true;
                handle(end, Found::Attribute { index, text });
            }
            self.next = Next::CommaOrEnd;
            position = end;
            if chunk.get(position) != Some(&b',') {
                break;
            }
            self.next = Next::Name;
            position += 1;
        }
        position
    }

    /// Reads a byte that is not in a string; returns whether it has been consumed.
    fn read(
        &mut self,
        byte: u8,
        position: usize,
        handle: &mut impl FnMut(usize, Found<'_>),
    ) -> Result<bool, RowError> {
        match self.next {
            Next::Escape(role) => self.next = self.escape(role, byte)?,
            Next::CodeUnit(role, digits, unit) => self.next = self.code_unit(role, digits, unit, byte)?,
            Next::Number(number) => match number.next(byte) {
                Some(number) => self.next = Next::Number(number),
                None if number.is_complete() => {
                    self.next = Next::CommaOrEnd;
                    self.end_value(position, handle);
                    return Ok(false);
                }
                None => return Err(self.malformed()),
            },
            Next::Literal(rest) => match rest.split_first() {
                Some((expected, rest)) if *expected == byte => {
                    self.next = Next::Literal(rest);
                    if rest.is_empty() {
                        self.next = Next::CommaOrEnd;
                        self.end_value(position + 1, handle);
                    }
                }
                _ => return Err(self.malformed()),
            },
            Next::List(length) if BYTE_ORDER_MARK.get(length) == Some(&byte) => {
                self.next = Next::List(length + 1);
            }
            _ if matches!(byte, b' ' | b'\t' | b'\r' | b'\n') => {}
            _ => self.read_token(byte, position, handle)?,
        }
        Ok(true)
    }

    /// Reads the first byte of a token.
    fn read_token(
        &mut self,
        byte: u8,
        position: usize,
        handle: &mut impl FnMut(usize, Found<'_>),
    ) -> Result<(), RowError> {
        self.next = match (self.next, byte) {
            (Next::List(0 | 3), b'[') => self.begin(false)?,
            (Next::List(_), first) => return Err(RowError::NotAnArray(describe_start(first.into()))),
            (Next::Nothing, _) => return Err(RowError::Trailing),
            (Next::ValueOrEnd, b']') | (Next::NameOrEnd, b'}') => self.end(position, handle),
            (Next::CommaOrEnd, b'}') if self.is_in_object() => self.end(position, handle),
            (Next::CommaOrEnd, b']') if !self.is_in_object() => self.end(position, handle),
            (Next::CommaOrEnd, b',') if self.is_in_object() => Next::Name,
            (Next::CommaOrEnd, b',') => Next::Value,
            (Next::Colon, b':') => {
                self.is_stored |= self.depth == IN_OBJECT && self.attribute.is_some();
                Next::Value
            }
            (Next::Name | Next::NameOrEnd, b'"') => self.begin_name(),
            (Next::Value | Next::ValueOrEnd, _) => self.begin_value(byte, position, handle)?,
            _ => return Err(self.malformed()),
        };
        Ok(())
    }

    fn begin_value(
        &mut self,
        byte: u8,
        position: usize,
        handle: &mut impl FnMut(usize, Found<'_>),
    ) -> Result<Next, RowError> {
        if self.depth == IN_LIST {
            if byte != b'{' {
                return Err(RowError::NotAnObject { row: self.objects + 1 });
            }
            self.found.fill(false);
            handle(position, Found::Object);
        }
        Ok(match byte {
            b'{' => self.begin(true)?,
            b'[' => self.begin(false)?,
            b'"' => self.begin_text(Role::Value),
            b't' => Next::Literal(b"rue"),
            b'f' => Next::Literal(b"alse"),
            b'n' => Next::Literal(b"ull"),
            _ => Next::Number(Number::begin(byte).ok_or_else(|| self.malformed())?),
        })
    }

    fn begin_name(&mut self) -> Next {
        let is_compared = self.depth == IN_OBJECT || self.depth == IN_ATTRIBUTE && self.attribute.is_some();
        self.begin_text(if is_compared { Role::ComparedName } else { Role::OtherName })
    }

    fn begin_text(&mut self, role: Role) -> Next {
        self.compared.clear();
        self.high_surrogate = None;
        Next::Text(role)
    }

    /// Opens an array or an object.
    fn begin(&mut self, is_object: bool) -> Result<Next, RowError> {
        let (word, bit) = (self.depth / 64, 1 << (self.depth % 64));
        let Some(word) = self.open.get_mut(word) else { return Err(self.malformed()) };
        if is_object {
            *word |= bit;
        } else {
            *word &= !bit;
        }
        self.depth += 1;
        Ok(if is_object { Next::NameOrEnd } else { Next::ValueOrEnd })
    }

    /// Whether the innermost open array or object is an object.
    fn is_in_object(&self) -> bool {
        let innermost = self.depth.saturating_sub(1);
        self.open.get(innermost / 64).is_some_and(|word| word & (1 << (innermost % 64)) != 0)
    }

    /// Closes the innermost array or object, whose last byte is at `position`.
    fn end(&mut self, position: usize, handle: &mut impl FnMut(usize, Found<'_>)) -> Next {
        self.depth -= 1;
        match self.depth {
            0 => return Next::Nothing,
            IN_LIST => {
                self.objects += 1;
                handle(position + 1, Found::End);
            }
            _ => self.end_value(position + 1, handle),
        }
        Next::CommaOrEnd
    }

    /// Ends the value of a member or an array, which ends at `position`.
    fn end_value(&mut self, position: usize, handle: &mut impl FnMut(usize, Found<'_>)) {
        if self.depth == IN_OBJECT {
            self.is_stored = false;
            if let Some(index) = self.attribute.take() {
                handle(position, Found::Attribute { index, text: self.text.trim_ascii() });
                self.text.clear();
            }
        }
    }

    /// Ends a string, which ends at `position`.
    fn end_text(
        &mut self,
        role: Role,
        position: usize,
        handle: &mut impl FnMut(usize, Found<'_>),
    ) -> Result<(), RowError> {
        self.end_surrogate();
        self.next = match role {
            Role::ComparedName => self.end_compared_name()?,
            Role::OtherName => Next::Colon,
            Role::Value => Next::CommaOrEnd,
        };
        if self.next == Next::CommaOrEnd {
            self.end_value(position, handle);
        }
        Ok(())
    }

    /// Ends the name of an attribute, or of a member of one. An attribute that occurs twice is an error, because its readers may use
    /// either value.
    fn end_compared_name(&mut self) -> Result<Next, RowError> {
        let is_repeated = if self.depth == IN_OBJECT {
            self.attribute = self.attributes.iter().position(|names| names.contain(&self.compared));
            self.has_value_member = false;
            let found = self.attribute.and_then(|index| self.found.get_mut(index));
            found.is_some_and(|found| std::mem::replace(found, true))
        } else {
            self.compared == b"Value" && std::mem::replace(&mut self.has_value_member, true)
        };
        if is_repeated { Err(self.malformed()) } else { Ok(Next::Colon) }
    }

    fn escape(&mut self, role: Role, byte: u8) -> Result<Next, RowError> {
        let character = match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 0x08,
            b'f' => 0x0C,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => return Ok(Next::CodeUnit(role, 4, 0)),
            _ => return Err(self.malformed()),
        };
        self.compare(role, &[character]);
        Ok(Next::Text(role))
    }

    fn code_unit(&mut self, role: Role, digits: u8, unit: u16, byte: u8) -> Result<Next, RowError> {
        let digit = char::from(byte).to_digit(16).and_then(|digit| u16::try_from(digit).ok());
        let unit = unit << 4 | digit.ok_or_else(|| self.malformed())?;
        if digits > 1 {
            return Ok(Next::CodeUnit(role, digits - 1, unit));
        }
        let high = self.high_surrogate.take();
        if high.is_none() && (0xD800..0xDC00).contains(&unit) {
            self.high_surrogate = Some(unit);
        } else {
            for character in char::decode_utf16(high.into_iter().chain([unit])) {
                let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
                self.compare(role, character.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        Ok(Next::Text(role))
    }

    /// Appends bytes of a string to the name that is compared.
    fn compare(&mut self, role: Role, bytes: &[u8]) {
        if role != Role::ComparedName || bytes.is_empty() {
            return;
        }
        self.end_surrogate();
        // One more byte than the maximum makes the text different from every other one.
        let space = (MAX_COMPARED_LEN + 1).saturating_sub(self.compared.len());
        self.compared.extend_from_slice(bytes.get(..space).unwrap_or(bytes));
    }

    /// Appends bytes of the text of the current attribute.
    fn store(&mut self, bytes: &[u8]) -> Result<(), RowError> {
        if !self.is_stored {
            return Ok(());
        }
        if self.text.len() + bytes.len() > self.max_text_len {
            return Err(RowError::LongAttribute { row: self.objects + 1, max: self.max_text_len });
        }
        self.text.extend_from_slice(bytes);
        Ok(())
    }

    /// Replaces a surrogate without its other half.
    fn end_surrogate(&mut self) {
        if self.high_surrogate.take().is_some() {
            self.compared.extend_from_slice(char::REPLACEMENT_CHARACTER.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }

    fn malformed(&self) -> RowError {
        RowError::Malformed { row: self.objects + 1 }
    }
}

#[cfg(test)]
mod tests;
