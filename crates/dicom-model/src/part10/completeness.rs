//! Checks chunk by chunk whether an object is complete, for bodies that end with the end of the connection.
//!
//! Only the headers of elements are read; values are skipped, so no value is stored in memory. An object that ends between two
//! elements of its data set counts as complete, because nothing shows that elements are missing. Deflated objects, objects in an
//! unknown transfer syntax, and objects with an invalid structure cannot be checked and count as complete.

use super::syntax::{
    EXPLICIT, IMPLICIT, ITEM, ITEM_DELIMITATION, SEQUENCE_DELIMITATION, Syntax, is_deflated, transfer_syntax,
};
use dicom_core::{Tag, VR};
use dicom_encoding::transfer_syntax::TransferSyntax;

/// The length of the preamble and its prefix (PS3.10 7.1).
const PREAMBLE: usize = 132;

/// Maximum length of a UID.
const MAX_UID_LEN: u32 = 64;

/// Maximum depth of nested sequences of undefined length.
const MAX_DEPTH: usize = 64;

/// The structure that begins after the skipped bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum NextStructure {
    #[default]
    Preamble,
    /// An element of the file meta information, or the first one of the data set.
    Meta,
    /// The value of Transfer Syntax UID (0002,0010), of this length.
    TransferSyntax(usize),
    /// An element of the data set or of an item.
    Element(Syntax),
    /// An item, or the end of a sequence, whose items have this encoding.
    Item(Syntax),
}

/// The state between two chunks of an object.
#[derive(Debug, Default)]
pub struct Part10Completeness {
    next: NextStructure,
    /// The structure to read after each enclosing sequence and item of undefined length.
    outer: Vec<NextStructure>,
    /// Bytes of a header that has not arrived completely.
    header: Vec<u8>,
    /// The number of bytes that remain to be skipped.
    remaining_skip: u64,
    /// The UID of the transfer syntax, if it is known.
    declared_uid: Option<&'static str>,
    is_undecidable: bool,
}

impl Part10Completeness {
    /// Whether the bytes read so far are a complete object, or cannot be checked.
    pub fn is_complete(&self) -> bool {
        // Files may be padded with zeros.
        let is_between_elements = self.remaining_skip == 0 && self.header.iter().all(|byte| *byte == 0);
        let is_in_data_set = matches!(self.next, NextStructure::Element(_)) && self.outer.is_empty();
        self.is_undecidable || is_between_elements && is_in_data_set
    }

    /// Reads the next bytes.
    pub fn read(&mut self, mut chunk: &[u8]) {
        while !self.is_undecidable {
            let skipped = usize::try_from(self.remaining_skip).unwrap_or(usize::MAX).min(chunk.len());
            self.remaining_skip -= skipped as u64;
            chunk = chunk.get(skipped..).unwrap_or_default();
            let Some((first, rest)) = chunk.split_first() else { return };
            self.header.push(*first);
            chunk = rest;
            if self.read_header() {
                self.header.clear();
            }
        }
    }

    /// Reads the header as far as it has arrived; returns whether it is complete.
    fn read_header(&mut self) -> bool {
        let length = self.header.len();
        match self.next {
            NextStructure::Preamble if length < PREAMBLE => return false,
            NextStructure::Preamble if self.header.ends_with(b"DICM") => self.next = NextStructure::Meta,
            NextStructure::Preamble => self.is_undecidable = true,
            NextStructure::TransferSyntax(uid_length) if length < uid_length => return false,
            NextStructure::TransferSyntax(_) => self.read_transfer_syntax(),
            NextStructure::Meta | NextStructure::Element(_) | NextStructure::Item(_) => {
                let Some(start) = self.header.first_chunk::<8>().copied() else { return false };
                return match self.next {
                    NextStructure::Item(syntax) => self.read_item(syntax, start),
                    NextStructure::Element(syntax) => self.read_element(syntax, start),
                    _ if start.starts_with(&[2, 0]) => self.read_meta_element(start),
                    _ => match self.declared_uid.filter(|uid| !is_deflated(uid)).and_then(transfer_syntax) {
                        Some(declared) => {
                            let syntax = Syntax::detect(declared, &start);
                            self.next = NextStructure::Element(syntax);
                            self.read_element(syntax, start)
                        }
                        _ => self.mark_undecidable(),
                    },
                };
            }
        }
        true
    }

    /// Stops checking the object. Returns `true`, because no more bytes of the header are needed.
    fn mark_undecidable(&mut self) -> bool {
        self.is_undecidable = true;
        true
    }

    fn read_transfer_syntax(&mut self) {
        let uid = std::str::from_utf8(&self.header).unwrap_or_default();
        self.declared_uid = transfer_syntax(uid.trim_end_matches(['\0', ' '])).map(TransferSyntax::uid);
        self.next = NextStructure::Meta;
    }

    /// Reads the header of an element of the file meta information; returns whether it is complete.
    fn read_meta_element(&mut self, start: [u8; 8]) -> bool {
        if self.header.len() < EXPLICIT.header_length(start) {
            return false;
        }
        match EXPLICIT.header(&self.header).map(|header| (header.tag, header.length)) {
            Some((Tag(2, 0x10), Some(length))) if length <= MAX_UID_LEN && length > 0 => {
                self.next = NextStructure::TransferSyntax(length as usize);
            }
            Some((_, Some(length))) => self.remaining_skip = length.into(),
            _ => self.is_undecidable = true,
        }
        true
    }

    /// Reads the header of an element, or the end of an item; returns whether it is complete.
    fn read_element(&mut self, syntax: Syntax, start: [u8; 8]) -> bool {
        let (tag, length) = syntax.item_header(start);
        if tag == ITEM_DELIMITATION && length == Some(0) {
            return self.leave();
        }
        if self.header.len() < syntax.header_length(start) {
            return false;
        }
        match syntax.header(&self.header) {
            Some(header) if header.tag.group() != ITEM.group() => match header.length {
                Some(length) => self.remaining_skip = length.into(),
                // PS3.5 6.2.2 note 4: the items of UN are in implicit VR.
                None if header.vr == VR::UN => self.enter(NextStructure::Item(IMPLICIT)),
                None => self.enter(NextStructure::Item(syntax)),
            },
            _ => self.is_undecidable = true,
        }
        true
    }

    /// Reads the header of an item, or the end of a sequence; returns whether it is complete.
    fn read_item(&mut self, syntax: Syntax, start: [u8; 8]) -> bool {
        match syntax.item_header(start) {
            (ITEM, Some(length)) => self.remaining_skip = length.into(),
            (ITEM, None) => self.enter(NextStructure::Element(syntax)),
            (SEQUENCE_DELIMITATION, _) => return self.leave(),
            _ => self.is_undecidable = true,
        }
        true
    }

    /// Continues inside a sequence or an item of undefined length.
    fn enter(&mut self, inner: NextStructure) {
        self.is_undecidable |= self.outer.len() >= MAX_DEPTH;
        self.outer.push(self.next);
        self.next = inner;
    }

    /// Continues after the end of a sequence or an item. Returns `true`, because its header is complete.
    fn leave(&mut self) -> bool {
        match self.outer.pop() {
            Some(outer) => self.next = outer,
            None => self.is_undecidable = true,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_complete(object: &[u8], size: usize) -> bool {
        let mut completeness = Part10Completeness::default();
        object.chunks(size).for_each(|chunk| completeness.read(chunk));
        completeness.is_complete()
    }

    fn meta(transfer_syntax: &str) -> Vec<u8> {
        let mut file = [&[0; 128][..], b"DICM\x02\0\x10\0UI"].concat();
        file.extend(u16::try_from(transfer_syntax.len()).unwrap().to_le_bytes());
        file.extend(transfer_syntax.as_bytes());
        file
    }

    const EXPLICIT_ELEMENTS: [&[u8]; 5] = [
        b"\x08\0\x18\0UI\x04\x001.2\0",
        b"\x08\0\x15\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff\x08\0\x50\x11UI\x02\x001\0\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0",
        b"\x09\0\x10\x10UN\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff\x08\0\0\x01\x02\0\0\0AB\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0",
        b"\x10\0\x10\0PN\x04\0A^B ",
        b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\0\0\0\0\xfe\xff\0\xe0\x04\0\0\0\xff\xd8\xff\xd9\xfe\xff\xdd\xe0\0\0\0\0",
    ];

    const IMPLICIT_ELEMENTS: [&[u8]; 2] =
        [b"\x08\0\x18\0\x04\0\0\x001.2\0", b"\xe0\x7f\x10\0\x04\0\0\0\x01\x02\x03\x04"];

    fn assert_complete_only_between_elements(transfer_syntax: &str, elements: &[&[u8]]) {
        let mut object = meta(transfer_syntax);
        let mut boundaries = Vec::new();
        for element in elements {
            object.extend_from_slice(element);
            boundaries.push(object.len());
        }
        for length in 1..=object.len() {
            // Zeros that are shorter than an element header are padding.
            let is_boundary = boundaries.iter().any(|end| {
                *end <= length
                    && object.get(*end..length).is_some_and(|rest| rest.iter().all(|byte| *byte == 0))
            });
            for size in [1, 5, object.len()] {
                let is_complete = is_complete(&object[..length], size);
                assert_eq!(is_complete, is_boundary, "{length} in chunks of {size}");
            }
        }
    }

    #[test]
    fn an_object_truncated_inside_an_element_is_incomplete() {
        for transfer_syntax in ["1.2.840.10008.1.2.1\0", "1.2.840.10008.1.2.4.50"] {
            assert_complete_only_between_elements(transfer_syntax, &EXPLICIT_ELEMENTS);
        }
        assert_complete_only_between_elements("1.2.840.10008.1.2\0", &IMPLICIT_ELEMENTS);
        let big_endian: [&[u8]; 2] =
            [b"\0\x08\0\x18UI\0\x041.2\0", b"\x7f\xe0\0\x10OW\0\0\0\0\0\x04\x01\x02\x03\x04"];
        assert_complete_only_between_elements("1.2.840.10008.1.2.2\0", &big_endian);
    }

    #[test]
    fn object_that_cannot_be_checked_counts_as_complete() {
        let deflated = [meta("1.2.840.10008.1.2.1.99"), vec![0x4b, 0x4c, 0, 0, 1, 2, 3, 4]].concat();
        let unknown = [meta("1.2.3.4.5\0"), vec![8, 0, 0x18, 0, 0x55, 0x49, 4, 0]].concat();
        for object in [deflated, unknown, vec![1; 200]] {
            assert!(is_complete(&object, 3));
        }
        assert!(!is_complete(b"", 1) && !is_complete(&meta("1.2.840.10008.1.2.1\0"), 9));
        let padded = [meta("1.2.840.10008.1.2\0"), IMPLICIT_ELEMENTS.concat(), vec![0; 5]].concat();
        assert!(is_complete(&padded, 7));
    }
}
