//! Lookup tables (PS3.3 C.11.1.1, C.11.2.1.1, C.7.6.3.1.5): a descriptor, and as many entries.

mod segments;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use super::RenderError;
use super::object::DataSet;

const BROKEN: RenderError = RenderError::Broken("one of its lookup tables is broken");

/// What a table is like.
#[derive(Debug, Clone, Copy)]
struct Descriptor {
    count: usize,
    first: i64,
    bits: u16,
}

impl Descriptor {
    fn read(set: &DataSet, tag: Tag, signed: bool) -> Result<Self, RenderError> {
        let described = set.words(tag).ok_or(BROKEN)?;
        let [count, first, bits @ 1..=16] = *described.as_slice() else { return Err(BROKEN) };
        let count = if count == 0 { 65_536 } else { usize::from(count) };
        // Writers put US there whatever the numbers are, so that only SS says something.
        let signed = signed || set.vr(tag) == Some(VR::SS);
        let first = if signed { i64::from(first.cast_signed()) } else { i64::from(first) };
        Ok(Self { count, first, bits })
    }
}

/// A table that numbers go through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LookupTable {
    /// The number that the first entry is for; smaller ones have it too, and those behind the last one have that.
    first: i64,
    entries: Vec<u16>,
    /// The highest value that an entry can have.
    pub(super) top: u16,
}

impl LookupTable {
    /// The table of an item of a sequence. `signed` says whether the numbers that go in are, where the item does not.
    pub(super) fn of_item(item: &DataSet, signed: bool) -> Result<Self, RenderError> {
        Self::read(item, tags::LUT_DESCRIPTOR, tags::LUT_DATA, signed)
    }

    pub(super) fn read(set: &DataSet, descriptor: Tag, data: Tag, signed: bool) -> Result<Self, RenderError> {
        let Descriptor { count, first, bits } = Descriptor::read(set, descriptor, signed)?;
        let bytes = set.bytes(data).ok_or(BROKEN)?;
        // Entries of 8 bits may stand two in a word (PS3.3 C.11.1.1.1), each in a byte.
        let entries: Vec<u16> = if bits <= 8 && bytes.len() < 2 * count {
            bytes.iter().take(count).copied().map(u16::from).collect()
        } else {
            set.words(data).unwrap_or_default().into_iter().take(count).collect()
        };
        Self::of_entries(first, bits, count, entries)
    }

    /// The same of a table that is written in segments (PS3.3 C.7.9.2).
    pub(super) fn read_segments(
        set: &DataSet,
        descriptor: Tag,
        data: Tag,
        signed: bool,
    ) -> Result<Self, RenderError> {
        let Descriptor { count, first, bits } = Descriptor::read(set, descriptor, signed)?;
        let words = if bits > 8 {
            set.words(data).ok_or(BROKEN)?
        } else {
            set.bytes(data).ok_or(BROKEN)?.iter().copied().map(u16::from).collect()
        };
        let unit = if bits > 8 { 2 } else { 1 };
        Self::of_entries(first, bits, count, segments::expanded(&words, unit, count)?)
    }

    fn of_entries(first: i64, bits: u16, count: usize, entries: Vec<u16>) -> Result<Self, RenderError> {
        let top = u16::try_from((1_u32 << bits) - 1).unwrap_or(u16::MAX);
        if entries.len() < count { Err(BROKEN) } else { Ok(Self { first, entries, top }) }
    }

    /// The entry for `number`.
    pub(super) fn entry(&self, number: i64) -> u16 {
        let last = self.entries.len() as i64 - 1;
        let index = (number - self.first).clamp(0, last);
        // No table is empty.
        self.entries.get(index as usize).copied().unwrap_or_default()
    }

    /// The entry for a number between 0 and 1 of the whole range.
    pub(super) fn entry_at(&self, part: f64) -> u16 {
        let last = self.entries.len() - 1;
        self.entries.get((part * last as f64).round() as usize).copied().unwrap_or_default()
    }
}
