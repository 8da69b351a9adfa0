//! The encoding of a data set (PS3.5 7.1 and Annex A): the transfer syntax and the header of one element. This module does not read
//! values and does not know how elements are nested.

use crate::data_set::is_text;
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry, VirtualVr};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, uids};
use dicom_encoding::transfer_syntax::{Endianness, TransferSyntax, TransferSyntaxIndex};
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;

/// The tags of items and delimiters (PS3.5 7.5).
pub(super) const ITEM: Tag = Tag(0xFFFE, 0xE000);
pub(super) const ITEM_DELIMITATION: Tag = Tag(0xFFFE, 0xE00D);
pub(super) const SEQUENCE_DELIMITATION: Tag = Tag(0xFFFE, 0xE0DD);

/// The encoding of elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Syntax {
    pub(super) explicit: bool,
    pub(super) big_endian: bool,
}

pub(super) const EXPLICIT: Syntax = Syntax { explicit: true, big_endian: false };
pub(super) const IMPLICIT: Syntax = Syntax { explicit: false, big_endian: false };

/// The header of an element, before its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ElementHeader {
    pub(super) tag: Tag,
    /// The value representation in the file or, for Implicit VR, in the dictionary (PS3.5 A.1), else UN.
    pub(super) vr: VR,
    /// `None` for an undefined length: the value ends with a delimiter.
    pub(super) length: Option<u32>,
    pub(super) syntax: Syntax,
}

impl ElementHeader {
    /// Returns the value representation of the element. In Implicit VR, Pixel Representation (0028,0103) of the data set decides
    /// between US and SS (PS3.5 A.1). UN is replaced by the representation in the dictionary (PS3.5 6.2.2 note 3), except
    /// for sequences, because a UN value of defined length is not parsed for items, and except for numbers in big-endian
    /// data sets, because UN values are little endian in every transfer syntax.
    pub(super) fn resolve_vr(&self, pixel_representation: impl FnOnce() -> Option<u16>) -> VR {
        let dictionary_vr = StandardDataDictionary.by_tag(self.tag).map(DataDictionaryEntry::vr);
        let (explicit, big_endian) = (self.syntax.explicit, self.syntax.big_endian);
        match (self.vr, dictionary_vr) {
            (VR::US, Some(VirtualVr::Xs)) if explicit => VR::US,
            (VR::UN, Some(VirtualVr::Xs)) if big_endian => VR::UN,
            (VR::US | VR::UN, Some(VirtualVr::Xs)) => {
                if pixel_representation() == Some(1) {
                    VR::SS
                } else {
                    VR::US
                }
            }
            (VR::UN, Some(VirtualVr::Exact(vr))) if vr != VR::SQ && (is_text(vr) || !big_endian) => vr,
            (vr, _) => vr,
        }
    }
}

/// Returns the transfer syntax with this UID, if it is supported.
pub(super) fn transfer_syntax(uid: &str) -> Option<&'static TransferSyntax> {
    TransferSyntaxRegistry.get(uid)
}

/// Whether data sets in this transfer syntax are one deflated stream (PS3.5 A.5).
pub fn is_deflated(transfer_syntax: &str) -> bool {
    matches!(
        transfer_syntax,
        uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN
            | uids::JPIP_REFERENCED_DEFLATE
            | uids::JPIPHTJ2K_REFERENCED_DEFLATE
    )
}

impl Syntax {
    /// Detects the actual encoding of a data set from its first bytes: some writers declare Explicit VR and write Implicit VR, or
    /// the reverse. The value of the first element is never longer than 65,535 bytes, so in Implicit VR the upper half of its
    /// 32-bit length is zero, which distinguishes it from Explicit VR with an invalid value representation.
    pub(super) fn detect(declared: &TransferSyntax, start: &[u8]) -> Self {
        if declared.endianness() == Endianness::Big {
            return Self { explicit: true, big_endian: true };
        }
        match start {
            [_, _, _, _, first, second, ..] if first.is_ascii_uppercase() && second.is_ascii_uppercase() => {
                EXPLICIT
            }
            [_, _, _, _, _, _, 0, 0, ..] => IMPLICIT,
            _ if declared.uid() == uids::IMPLICIT_VR_LITTLE_ENDIAN => IMPLICIT,
            _ => EXPLICIT,
        }
    }

    fn read_u16(self, bytes: [u8; 2]) -> u16 {
        if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    fn read_u32(self, bytes: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    fn read_tag(self, [a, b, c, d]: [u8; 4]) -> Tag {
        Tag(self.read_u16([a, b]), self.read_u16([c, d]))
    }

    /// Returns the tag and the length of an item or a delimiter, which have no value representation.
    pub(super) fn item_header(self, [a, b, c, d, length @ ..]: [u8; 8]) -> (Tag, Option<u32>) {
        (self.read_tag([a, b, c, d]), defined_length(self.read_u32(length)))
    }

    /// Returns the length in bytes of the header that begins with `start`.
    pub(super) fn header_length(self, start: [u8; 8]) -> usize {
        let [_, _, _, _, first, second, third, fourth] = start;
        let is_long = self.explicit
            && match VR::from_binary([first, second]) {
                Some(vr) => is_long(vr),
                // Future value representations have a 32-bit length (PS3.5 7.1.2); invalid ones have a 16-bit length.
                None => {
                    first.is_ascii_uppercase() && second.is_ascii_uppercase() && [third, fourth] == [0, 0]
                }
            };
        if is_long { 12 } else { 8 }
    }

    /// Parses the complete header `bytes`: 8 or 12 bytes, as [`Self::header_length`] returns.
    pub(super) fn header(self, bytes: &[u8]) -> Option<ElementHeader> {
        let [a, b, c, d, first, second, third, fourth] = *bytes.first_chunk()?;
        let tag = self.read_tag([a, b, c, d]);
        if !self.explicit {
            let dictionary_vr = StandardDataDictionary.by_tag(tag).map(|entry| entry.vr().relaxed());
            let length = defined_length(self.read_u32([first, second, third, fourth]));
            return Some(ElementHeader { tag, vr: dictionary_vr.unwrap_or(VR::UN), length, syntax: self });
        }
        let vr = VR::from_binary([first, second]).unwrap_or(VR::UN);
        let length = match bytes.get(8..12) {
            Some(long) => defined_length(self.read_u32(long.try_into().ok()?)),
            None => Some(self.read_u16([third, fourth]).into()),
        };
        Some(ElementHeader { tag, vr, length, syntax: self })
    }
}

/// Whether a value representation has a 32-bit length (PS3.5 table 7.1-1).
fn is_long(vr: VR) -> bool {
    matches!(
        vr,
        VR::OB
            | VR::OD
            | VR::OF
            | VR::OL
            | VR::OV
            | VR::OW
            | VR::SQ
            | VR::SV
            | VR::UC
            | VR::UN
            | VR::UR
            | VR::UT
            | VR::UV
    )
}

fn defined_length(length: u32) -> Option<u32> {
    (length != u32::MAX).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicom_dictionary_std::tags;

    fn read(syntax: Syntax, bytes: &[u8]) -> (VR, Option<u32>, usize) {
        let length = syntax.header_length(*bytes.first_chunk().unwrap());
        let header = syntax.header(&bytes[..length]).unwrap();
        assert_eq!(header.tag, tags::PATIENT_ID);
        (header.vr, header.length, length)
    }

    #[test]
    fn headers_are_read_in_every_encoding() {
        let big = Syntax { explicit: true, big_endian: true };
        assert_eq!(read(IMPLICIT, b"\x10\0\x20\0\x05\0\0\0rest"), (VR::LO, Some(5), 8));
        assert_eq!(read(IMPLICIT, b"\x10\0\x20\0\xFF\xFF\xFF\xFFrest"), (VR::LO, None, 8));
        assert_eq!(read(EXPLICIT, b"\x10\0\x20\0LO\x05\0rest"), (VR::LO, Some(5), 8));
        assert_eq!(read(EXPLICIT, b"\x10\0\x20\0LO\xFF\xFFrest"), (VR::LO, Some(65_535), 8));
        assert_eq!(read(big, b"\0\x10\0\x20LO\0\x05rest"), (VR::LO, Some(5), 8));
        assert_eq!(read(EXPLICIT, b"\x10\0\x20\0UN\0\0\xFF\xFF\xFF\xFF"), (VR::UN, None, 12));
        assert_eq!(read(big, b"\0\x10\0\x20UT\0\0\0\0\x01\x02"), (VR::UT, Some(258), 12));
    }

    #[test]
    fn invalid_representation_is_read_as_un_with_a_16_bit_length() {
        for vr in [b"\0\0", b"  ", b"??", b"lo"] {
            let bytes = [b"\x10\0\x20\0", &vr[..], b"\x05\0rest"].concat();
            assert_eq!(read(EXPLICIT, &bytes), (VR::UN, Some(5), 8));
        }
        assert_eq!(read(EXPLICIT, b"\x10\0\x20\0ZZ\x05\0rest"), (VR::UN, Some(5), 8));
        assert_eq!(
            read(EXPLICIT, b"\x10\0\x20\0ZZ\0\0\x05\0\0\0"),
            (VR::UN, Some(5), 12),
            "a future representation"
        );
    }

    #[test]
    fn encoding_of_a_data_set_is_determined_by_its_first_element() {
        let [implicit, explicit, big] =
            [uids::IMPLICIT_VR_LITTLE_ENDIAN, uids::EXPLICIT_VR_LITTLE_ENDIAN, "1.2.840.10008.1.2.2"]
                .map(|uid| transfer_syntax(uid).unwrap());
        for declared in [implicit, explicit] {
            assert_eq!(Syntax::detect(declared, b"\x08\0\x05\0CS\x0A\0"), EXPLICIT);
            assert_eq!(Syntax::detect(declared, b"\x08\0\x05\0\x0A\0\0\0"), IMPLICIT);
        }
        assert_eq!(Syntax::detect(explicit, b"\x08\0\x05\0??\x0A\0"), EXPLICIT);
        assert_eq!(Syntax::detect(explicit, b""), EXPLICIT);
        assert_eq!(Syntax::detect(implicit, b""), IMPLICIT);
        assert!(Syntax::detect(big, b"\0\x08\0\x05??\0\0").big_endian);
    }
}
