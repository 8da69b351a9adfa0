//! Lookup tables (PS3.3 C.11.1.1, C.11.2.1.1, C.7.6.3.1.5): a descriptor and the entries. Does not know what the tables
//! are used for.

mod segments;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use super::RenderError;
use super::object::DataSet;

const INVALID: RenderError = RenderError::Broken("a lookup table is invalid");

/// The descriptor of a table.
#[derive(Debug, Clone, Copy)]
struct Descriptor {
    count: usize,
    first: i64,
    bits: u16,
}

impl Descriptor {
    fn read(set: &DataSet, tag: Tag, signed: bool) -> Result<Self, RenderError> {
        let described = set.words(tag).ok_or(INVALID)?;
        let [count, first, bits @ 1..=16] = *described.as_slice() else { return Err(INVALID) };
        let count = if count == 0 { 65_536 } else { usize::from(count) };
        // Writers often use US for signed values too, so only SS is reliable.
        let signed = signed || set.vr(tag) == Some(VR::SS);
        let first = if signed { i64::from(first.cast_signed()) } else { i64::from(first) };
        Ok(Self { count, first, bits })
    }
}

/// A lookup table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LookupTable {
    /// The value that the first entry maps. Smaller values map to the first entry, greater values to the last.
    first: i64,
    entries: Vec<u16>,
    /// The maximum value of an entry.
    pub(super) top: u16,
}

impl LookupTable {
    /// Reads the table of a sequence item. `signed` says whether the input values are signed if the item does not.
    pub(super) fn from_item(item: &DataSet, signed: bool) -> Result<Self, RenderError> {
        Self::read(item, tags::LUT_DESCRIPTOR, tags::LUT_DATA, signed)
    }

    pub(super) fn read(set: &DataSet, descriptor: Tag, data: Tag, signed: bool) -> Result<Self, RenderError> {
        let Descriptor { count, first, bits } = Descriptor::read(set, descriptor, signed)?;
        let bytes = set.bytes(data).ok_or(INVALID)?;
        // Entries of 8 bits can be packed, two per word (PS3.3 C.11.1.1.1).
        let entries: Vec<u16> = if bits <= 8 && bytes.len() < 2 * count {
            bytes.iter().take(count).copied().map(u16::from).collect()
        } else {
            set.words(data).unwrap_or_default().into_iter().take(count).collect()
        };
        Self::from_entries(first, bits, count, entries)
    }

    /// Reads a segmented table (PS3.3 C.7.9.2).
    pub(super) fn read_segments(
        set: &DataSet,
        descriptor: Tag,
        data: Tag,
        signed: bool,
    ) -> Result<Self, RenderError> {
        let Descriptor { count, first, bits } = Descriptor::read(set, descriptor, signed)?;
        let words = if bits > 8 {
            set.words(data).ok_or(INVALID)?
        } else {
            set.bytes(data).ok_or(INVALID)?.iter().copied().map(u16::from).collect()
        };
        let unit = if bits > 8 { 2 } else { 1 };
        Self::from_entries(first, bits, count, segments::expand(&words, unit, count)?)
    }

    fn from_entries(first: i64, bits: u16, count: usize, entries: Vec<u16>) -> Result<Self, RenderError> {
        let top = u16::try_from((1_u32 << bits) - 1).unwrap_or(u16::MAX);
        if entries.len() < count { Err(INVALID) } else { Ok(Self { first, entries, top }) }
    }

    /// The entry for an input value.
    pub(super) fn entry(&self, number: i64) -> u16 {
        let last = self.entries.len() as i64 - 1;
        let index = (number - self.first).clamp(0, last);
        // Tables are never empty.
        self.entries.get(index as usize).copied().unwrap_or_default()
    }

    /// The entry for an input value as a fraction of the full range, from 0 to 1.
    pub(super) fn entry_at(&self, part: f64) -> u16 {
        let last = self.entries.len() - 1;
        self.entries.get((part * last as f64).round() as usize).copied().unwrap_or_default()
    }
}
