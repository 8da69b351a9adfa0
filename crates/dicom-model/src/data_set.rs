//! A data set after reading (PS3.5 7): texts are decoded to Unicode, numbers are in little-endian order, and large values are byte
//! ranges of the object. This module does not know how data sets are read or sent to clients.

use dicom_core::{Tag, VR};
use std::collections::BTreeMap;

/// A data set: its elements, in the order of their tags.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DataSet {
    elements: BTreeMap<Tag, DataElement>,
}

/// One data element.
#[derive(Debug, Clone, PartialEq)]
pub struct DataElement {
    /// Value representation (PS3.5 6.2).
    pub vr: VR,
    /// The value; empty if the element has none.
    pub value: DataValue,
}

/// The value of an element.
#[derive(Debug, Clone, PartialEq)]
pub enum DataValue {
    /// The values of a textual representation, without padding. An empty text is an empty value among several.
    Text(Vec<Box<str>>),
    /// The bytes of a binary representation, in little-endian order.
    Binary(Box<[u8]>),
    /// The items of a sequence.
    Items(Vec<DataSet>),
    /// The position in the object of a value that is too large for memory.
    Bulk(ByteRange),
}

/// A range of bytes of an object; of the inflated data set if the object is deflated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// Offset of the first byte.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
}

impl DataElement {
    /// Returns an element with one text value; for an empty text, an empty element.
    pub fn text(vr: VR, value: &str) -> Self {
        let values = if value.is_empty() { Vec::new() } else { vec![value.into()] };
        Self { vr, value: DataValue::Text(values) }
    }

    /// Whether the element has no value.
    pub fn is_empty(&self) -> bool {
        match &self.value {
            DataValue::Text(values) => values.is_empty(),
            DataValue::Binary(bytes) => bytes.is_empty(),
            DataValue::Items(items) => items.is_empty(),
            DataValue::Bulk(range) => range.length == 0,
        }
    }

    /// Iterates over the unsigned 16-bit integers of an element of representation US.
    pub fn words(&self) -> impl Iterator<Item = u16> + '_ {
        words(if let DataValue::Binary(bytes) = &self.value { bytes } else { &[] })
    }
}

impl DataSet {
    /// Returns the element with this tag.
    pub fn get(&self, tag: Tag) -> Option<&DataElement> {
        self.elements.get(&tag)
    }

    /// Inserts an element and replaces an earlier one with the same tag.
    pub fn insert(&mut self, tag: Tag, element: DataElement) {
        self.elements.insert(tag, element);
    }

    /// Removes the element with this tag.
    pub fn remove(&mut self, tag: Tag) {
        self.elements.remove(&tag);
    }

    /// Returns the first text value; `None` if it is empty.
    pub fn text(&self, tag: Tag) -> Option<&str> {
        self.texts(tag).first().map(AsRef::as_ref).filter(|text: &&str| !text.is_empty())
    }

    /// Returns all text values.
    pub fn texts(&self, tag: Tag) -> &[Box<str>] {
        match self.get(tag) {
            Some(DataElement { value: DataValue::Text(values), .. }) => values,
            _ => &[],
        }
    }

    /// Returns the first unsigned 16-bit value.
    pub fn word(&self, tag: Tag) -> Option<u16> {
        self.get(tag).and_then(|element| element.words().next())
    }

    /// Returns the items of a sequence.
    pub fn items(&self, tag: Tag) -> &[Self] {
        match self.get(tag) {
            Some(DataElement { value: DataValue::Items(items), .. }) => items,
            _ => &[],
        }
    }

    /// Returns every element, in tag order.
    pub fn iter(&self) -> impl Iterator<Item = (Tag, &DataElement)> {
        self.elements.iter().map(|(tag, element)| (*tag, element))
    }

    /// Whether the data set has no elements.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// Splits the data set into the elements that `is_selected` accepts, and the rest.
    pub fn partition(self, mut is_selected: impl FnMut(Tag) -> bool) -> (Self, Self) {
        let (selected, rest) = self.elements.into_iter().partition(|(tag, _)| is_selected(*tag));
        (Self { elements: selected }, Self { elements: rest })
    }
}

/// Whether values of this representation are text (PS3.5 6.2).
pub fn is_text(vr: VR) -> bool {
    matches!(
        vr,
        VR::AE
            | VR::AS
            | VR::CS
            | VR::DA
            | VR::DS
            | VR::DT
            | VR::IS
            | VR::LO
            | VR::LT
            | VR::PN
            | VR::SH
            | VR::ST
            | VR::TM
            | VR::UC
            | VR::UI
            | VR::UR
            | VR::UT
    )
}

/// Returns the size in bytes of the words that are swapped when the byte order changes (PS3.5 7.3).
pub fn word_size(vr: VR) -> usize {
    match vr {
        VR::US | VR::SS | VR::OW | VR::AT => 2,
        VR::UL | VR::SL | VR::FL | VR::OF | VR::OL => 4,
        VR::FD | VR::OD | VR::OV | VR::SV | VR::UV => 8,
        _ => 1,
    }
}

/// Returns the unsigned 16-bit integers in `bytes`, the value of a binary representation in little-endian order.
pub fn words(bytes: &[u8]) -> impl Iterator<Item = u16> + '_ {
    bytes.as_chunks().0.iter().map(|pair| u16::from_le_bytes(*pair))
}

/// Converts big-endian words of `size` bytes to little-endian order, in place.
pub fn swap_words(bytes: &mut [u8], size: usize) {
    if size > 1 {
        for word in bytes.chunks_exact_mut(size) {
            word.reverse();
        }
    }
}
