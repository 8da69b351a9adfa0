//! DICOM files that are written byte by byte, because libraries do not write these unusual files, which archives contain.

use std::collections::BTreeMap;

/// Transfer syntaxes.
pub const IMPLICIT: &str = "1.2.840.10008.1.2";
pub const EXPLICIT: &str = "1.2.840.10008.1.2.1";
pub const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
pub const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

const ITEM: u32 = 0xFFFE_E000;
const ITEM_END: u32 = 0xFFFE_E00D;
const SEQUENCE_END: u32 = 0xFFFE_E0DD;
pub const PIXEL_DATA: u32 = 0x7FE0_0010;
pub const UNDEFINED: u32 = u32::MAX;

/// The encoding of elements (PS3.5 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    pub explicit: bool,
    pub big_endian: bool,
}

pub const EXPLICIT_LITTLE: Encoding = Encoding { explicit: true, big_endian: false };
pub const IMPLICIT_LITTLE: Encoding = Encoding { explicit: false, big_endian: false };
pub const EXPLICIT_BIG: Encoding = Encoding { explicit: true, big_endian: true };

impl Encoding {
    pub fn u16_bytes(self, word: u16) -> [u8; 2] {
        if self.big_endian { word.to_be_bytes() } else { word.to_le_bytes() }
    }

    pub fn u32_bytes(self, long: u32) -> [u8; 4] {
        if self.big_endian { long.to_be_bytes() } else { long.to_le_bytes() }
    }

    fn tag(self, tag: u32) -> Vec<u8> {
        let [a, b, c, d] = tag.to_be_bytes();
        [self.u16_bytes(u16::from_be_bytes([a, b])), self.u16_bytes(u16::from_be_bytes([c, d]))].concat()
    }

    /// Encodes an element whose header declares `length`, which may differ from the length of `value`.
    pub fn element_with_length(self, tag: u32, vr: &str, length: u32, value: &[u8]) -> Vec<u8> {
        let mut bytes = self.tag(tag);
        if !self.explicit {
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

    pub fn element(self, tag: u32, vr: &str, value: &[u8]) -> Vec<u8> {
        self.element_with_length(tag, vr, u32::try_from(value.len()).unwrap(), value)
    }

    /// Encodes the tag and the length of an item or a delimiter of a sequence, which has no VR.
    fn delimiter(self, tag: u32, length: u32) -> Vec<u8> {
        [self.tag(tag).as_slice(), &self.u32_bytes(length)].concat()
    }

    /// Encodes an item of defined length.
    pub fn item(self, content: &[u8]) -> Vec<u8> {
        [self.delimiter(ITEM, u32::try_from(content.len()).unwrap()).as_slice(), content].concat()
    }

    /// Encodes an item of undefined length.
    pub fn item_of_undefined_length(self, content: &[u8]) -> Vec<u8> {
        [self.delimiter(ITEM, UNDEFINED).as_slice(), content, &self.delimiter(ITEM_END, 0)].concat()
    }

    /// Encodes an element of undefined length with `items`, whose delimiter has the encoding `inner`.
    pub fn element_of_undefined_length(self, tag: u32, vr: &str, inner: Self, items: &[u8]) -> Vec<u8> {
        self.element_with_length(tag, vr, UNDEFINED, &[items, &inner.delimiter(SEQUENCE_END, 0)].concat())
    }
}

/// Encodes encapsulated pixel data: a Basic Offset Table and fragments.
pub fn encapsulated_pixel_data(table: &[u32], fragments: &[Vec<u8>]) -> Vec<u8> {
    let table: Vec<u8> = table.iter().flat_map(|offset| offset.to_le_bytes()).collect();
    let mut items = EXPLICIT_LITTLE.item(&table);
    items.extend(fragments.iter().flat_map(|fragment| EXPLICIT_LITTLE.item(fragment)));
    EXPLICIT_LITTLE.element_of_undefined_length(PIXEL_DATA, "OB", EXPLICIT_LITTLE, &items)
}

/// A file under construction.
#[derive(Debug, Clone)]
pub struct RawObject {
    pub encoding: Encoding,
    transfer_syntax: &'static str,
    elements: BTreeMap<u32, Vec<u8>>,
    meta: Vec<u8>,
}

impl RawObject {
    /// Creates an image of 2 by 2 pixels of 8 bits, without pixel data.
    pub fn image(encoding: Encoding, transfer_syntax: &'static str, number: usize) -> Self {
        let (series, instance) = (format!("1.2.{number}"), format!("1.2.{number}.1"));
        Self { encoding, transfer_syntax, elements: BTreeMap::new(), meta: Vec::new() }
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

    /// Sets the number of rows and of columns.
    pub fn size(self, size: u16) -> Self {
        self.unsigned_shorts(0x0028_0010, &[size]).unsigned_shorts(0x0028_0011, &[size])
    }

    pub fn frames(self, frames: &str) -> Self {
        self.text(0x0028_0008, "IS", frames)
    }

    pub fn text(self, tag: u32, vr: &str, text: &str) -> Self {
        let pad = if vr == "UI" { "\0" } else { " " };
        let padded = format!("{text}{}", if text.len() % 2 == 1 { pad } else { "" });
        let element = self.encoding.element(tag, vr, padded.as_bytes());
        self.with_element(tag, element)
    }

    pub fn unsigned_shorts(self, tag: u32, words: &[u16]) -> Self {
        let words: Vec<u8> = words.iter().flat_map(|word| self.encoding.u16_bytes(*word)).collect();
        let element = self.encoding.element(tag, "US", &words);
        self.with_element(tag, element)
    }

    /// Inserts bytes at the position of `tag`.
    pub fn with_element(mut self, tag: u32, bytes: Vec<u8>) -> Self {
        self.elements.insert(tag, bytes);
        self
    }

    /// Sets native pixel data.
    pub fn pixels(self, pixels: &[u8]) -> Self {
        let element = self.encoding.element(PIXEL_DATA, "OB", pixels);
        self.with_element(PIXEL_DATA, element)
    }

    /// Inserts bytes before the transfer syntax in the file meta information.
    pub fn file_meta_elements(mut self, bytes: Vec<u8>) -> Self {
        self.meta = bytes;
        self
    }

    pub fn data_set(&self) -> Vec<u8> {
        self.elements.values().flatten().copied().collect()
    }

    pub fn to_file(&self) -> Vec<u8> {
        let uid = format!(
            "{}{}",
            self.transfer_syntax,
            if self.transfer_syntax.len() % 2 == 1 { "\0" } else { "" }
        );
        let syntax = EXPLICIT_LITTLE.element(0x0002_0010, "UI", uid.as_bytes());
        let mut file = [&[0; 128][..], b"DICM", &self.meta, &syntax].concat();
        if self.transfer_syntax == DEFLATED {
            let mut encoder = flate2::write::DeflateEncoder::new(file, flate2::Compression::default());
            std::io::Write::write_all(&mut encoder, &self.data_set()).unwrap();
            return encoder.finish().unwrap();
        }
        file.extend(self.data_set());
        file
    }
}
