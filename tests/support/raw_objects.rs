//! DICOM files that are encoded byte by byte: libraries do not write these unusual files, but archives contain them.

use std::collections::BTreeMap;

/// The UIDs of transfer syntaxes (PS3.5 10).
pub const IMPLICIT: &str = "1.2.840.10008.1.2";
pub const EXPLICIT: &str = "1.2.840.10008.1.2.1";
pub const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
pub const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

/// The tags of items and delimiters in sequences (PS3.5 7.5).
const ITEM: u32 = 0xFFFE_E000;
const ITEM_DELIMITATION: u32 = 0xFFFE_E00D;
const SEQUENCE_DELIMITATION: u32 = 0xFFFE_E0DD;
pub const PIXEL_DATA: u32 = 0x7FE0_0010;
/// The value of a length field for undefined length (PS3.5 7.1).
pub const UNDEFINED: u32 = u32::MAX;

/// An encoding of elements (PS3.5 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    pub has_explicit_vr: bool,
    pub is_big_endian: bool,
}

pub const EXPLICIT_LITTLE: Encoding = Encoding { has_explicit_vr: true, is_big_endian: false };
pub const IMPLICIT_LITTLE: Encoding = Encoding { has_explicit_vr: false, is_big_endian: false };
pub const EXPLICIT_BIG: Encoding = Encoding { has_explicit_vr: true, is_big_endian: true };

impl Encoding {
    /// Encodes a number of 16 bits.
    pub fn u16_bytes(self, value: u16) -> [u8; 2] {
        if self.is_big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    /// Encodes a number of 32 bits.
    pub fn u32_bytes(self, value: u32) -> [u8; 4] {
        if self.is_big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn tag_bytes(self, tag: u32) -> Vec<u8> {
        let [group @ .., element_high, element_low] = tag.to_be_bytes();
        let element = [element_high, element_low];
        [self.u16_bytes(u16::from_be_bytes(group)), self.u16_bytes(u16::from_be_bytes(element))].concat()
    }

    /// Encodes an element whose header declares `length`, which may differ from the length of `value`.
    pub fn element_with_length(self, tag: u32, vr: &str, length: u32, value: &[u8]) -> Vec<u8> {
        let mut bytes = self.tag_bytes(tag);
        if !self.has_explicit_vr {
            bytes.extend(self.u32_bytes(length));
        } else if ["OB", "OD", "OF", "OW", "OV", "SQ", "UN", "UT", "ZZ"].contains(&vr) {
            bytes.extend([vr.as_bytes(), &[0, 0], &self.u32_bytes(length)].concat());
        } else {
            bytes.extend(vr.as_bytes());
            bytes.extend(self.u16_bytes(u16::try_from(length).unwrap()));
        }
        bytes.extend(value);
        bytes
    }

    /// Encodes an element.
    pub fn element(self, tag: u32, vr: &str, value: &[u8]) -> Vec<u8> {
        self.element_with_length(tag, vr, u32::try_from(value.len()).unwrap(), value)
    }

    /// Encodes the tag and the length of an item or a delimiter of a sequence, which has no VR.
    fn delimiter(self, tag: u32, length: u32) -> Vec<u8> {
        [self.tag_bytes(tag).as_slice(), &self.u32_bytes(length)].concat()
    }

    /// Encodes an item of defined length.
    pub fn item(self, content: &[u8]) -> Vec<u8> {
        [self.delimiter(ITEM, u32::try_from(content.len()).unwrap()).as_slice(), content].concat()
    }

    /// Encodes an item of undefined length.
    pub fn item_of_undefined_length(self, content: &[u8]) -> Vec<u8> {
        [self.delimiter(ITEM, UNDEFINED).as_slice(), content, &self.delimiter(ITEM_DELIMITATION, 0)].concat()
    }

    /// Encodes an element of undefined length. `items` are its encoded items; the delimiter after them has the encoding
    /// `item_encoding`.
    pub fn element_of_undefined_length(
        self,
        tag: u32,
        vr: &str,
        item_encoding: Self,
        items: &[u8],
    ) -> Vec<u8> {
        self.element_with_length(
            tag,
            vr,
            UNDEFINED,
            &[items, &item_encoding.delimiter(SEQUENCE_DELIMITATION, 0)].concat(),
        )
    }
}

/// Encodes encapsulated pixel data, which consists of a Basic Offset Table and fragments.
pub fn encapsulated_pixel_data(offset_table: &[u32], fragments: &[Vec<u8>]) -> Vec<u8> {
    let offset_table: Vec<u8> = offset_table.iter().flat_map(|offset| offset.to_le_bytes()).collect();
    let mut items = EXPLICIT_LITTLE.item(&offset_table);
    items.extend(fragments.iter().flat_map(|fragment| EXPLICIT_LITTLE.item(fragment)));
    EXPLICIT_LITTLE.element_of_undefined_length(PIXEL_DATA, "OB", EXPLICIT_LITTLE, &items)
}

/// A builder of a Part 10 file.
#[derive(Debug, Clone)]
pub struct RawObject {
    pub encoding: Encoding,
    transfer_syntax: &'static str,
    /// The encoded elements by tag.
    elements: BTreeMap<u32, Vec<u8>>,
    /// The encoded elements of the file meta information before the Transfer Syntax UID.
    file_meta_elements: Vec<u8>,
}

impl RawObject {
    /// Creates an image of 2 by 2 pixels of 8 bits, without pixel data, in the series with this number.
    pub fn image(encoding: Encoding, transfer_syntax: &'static str, series_number: usize) -> Self {
        let (series, instance) = (format!("1.2.{series_number}"), format!("1.2.{series_number}.1"));
        Self { encoding, transfer_syntax, elements: BTreeMap::new(), file_meta_elements: Vec::new() }
            .text(0x0008_0016, "UI", "1.2.840.10008.5.1.4.1.1.7")
            .text(0x0008_0018, "UI", &instance)
            .text(0x0010_0010, "PN", "Doe^Jane")
            .text(0x0020_000D, "UI", "1.2")
            .text(0x0020_000E, "UI", &series)
            .unsigned_shorts(0x0028_0002, &[1])
            .text(0x0028_0004, "CS", "MONOCHROME2")
            .size(2)
            .unsigned_shorts(0x0028_0100, &[8])
            .unsigned_shorts(0x0028_0101, &[8])
            .unsigned_shorts(0x0028_0102, &[7])
            .unsigned_shorts(0x0028_0103, &[0])
    }

    /// Sets Rows and Columns to `size`.
    pub fn size(self, size: u16) -> Self {
        self.unsigned_shorts(0x0028_0010, &[size]).unsigned_shorts(0x0028_0011, &[size])
    }

    /// Sets Number of Frames.
    pub fn frames(self, frame_count: &str) -> Self {
        self.text(0x0028_0008, "IS", frame_count)
    }

    /// Sets a text, padded to even length.
    pub fn text(self, tag: u32, vr: &str, text: &str) -> Self {
        let padding = if vr == "UI" { "\0" } else { " " };
        let padded_text = format!("{text}{}", if text.len() % 2 == 1 { padding } else { "" });
        let element = self.encoding.element(tag, vr, padded_text.as_bytes());
        self.with_element(tag, element)
    }

    /// Sets an element with VR US.
    pub fn unsigned_shorts(self, tag: u32, values: &[u16]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|value| self.encoding.u16_bytes(*value)).collect();
        let element = self.encoding.element(tag, "US", &bytes);
        self.with_element(tag, element)
    }

    /// Sets the bytes at `position`, which is the tag that orders them among the elements. The bytes may be an element with another
    /// tag or an invalid element.
    pub fn with_element(mut self, position: u32, element: Vec<u8>) -> Self {
        self.elements.insert(position, element);
        self
    }

    /// Sets native pixel data.
    pub fn pixels(self, pixels: &[u8]) -> Self {
        let element = self.encoding.element(PIXEL_DATA, "OB", pixels);
        self.with_element(PIXEL_DATA, element)
    }

    /// Sets the encoded elements of the file meta information before the Transfer Syntax UID.
    pub fn file_meta_elements(mut self, bytes: Vec<u8>) -> Self {
        self.file_meta_elements = bytes;
        self
    }

    /// Returns the encoded data set.
    pub fn data_set(&self) -> Vec<u8> {
        self.elements.values().flatten().copied().collect()
    }

    /// Returns the Part 10 file.
    pub fn to_file(&self) -> Vec<u8> {
        let uid = format!(
            "{}{}",
            self.transfer_syntax,
            if self.transfer_syntax.len() % 2 == 1 { "\0" } else { "" }
        );
        let transfer_syntax = EXPLICIT_LITTLE.element(0x0002_0010, "UI", uid.as_bytes());
        let mut file = [&[0; 128][..], b"DICM", &self.file_meta_elements, &transfer_syntax].concat();
        if self.transfer_syntax == DEFLATED {
            let mut encoder = flate2::write::DeflateEncoder::new(file, flate2::Compression::default());
            std::io::Write::write_all(&mut encoder, &self.data_set()).unwrap();
            return encoder.finish().unwrap();
        }
        file.extend(self.data_set());
        file
    }
}
