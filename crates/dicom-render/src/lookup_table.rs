//! Lookup tables (PS3.3 C.11.1.1, C.11.2.1.1, C.7.6.3.1.5): a descriptor and the entries. This module does not know the purpose of
//! a table.

mod segments;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use super::RenderError;
use super::object::DataSet;

const INVALID: RenderError = RenderError::Malformed("a lookup table is invalid");

/// Maximum number of words of a segmented table for each of its entries: those of an indirect segment with one entry whose words
/// have one byte, and those of the segment to which it refers.
const MAX_WORDS_PER_ENTRY: usize = 10;

/// The descriptor of a table.
#[derive(Debug, Clone, Copy)]
struct Descriptor {
    entry_count: usize,
    first_input: i64,
    bits: u16,
}

impl Descriptor {
    fn read(data_set: &DataSet, tag: Tag, is_signed: bool) -> Result<Self, RenderError> {
        // One more word than a descriptor has shows that it is longer.
        let descriptor_words: Vec<u16> = data_set.words(tag).ok_or(INVALID)?.take(4).collect();
        let [entry_count, first_input, bits @ 1..=16] = *descriptor_words.as_slice() else {
            return Err(INVALID);
        };
        let entry_count = if entry_count == 0 { 65_536 } else { usize::from(entry_count) };
        // Writers often use US for signed values too, so only SS is reliable.
        let is_signed = is_signed || data_set.vr(tag) == Some(VR::SS);
        let first_input =
            if is_signed { i64::from(first_input.cast_signed()) } else { i64::from(first_input) };
        Ok(Self { entry_count, first_input, bits })
    }
}

/// A lookup table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LookupTable {
    /// The input value that maps to the first entry. Smaller values map to the first entry, greater values to the last.
    first_input: i64,
    entries: Vec<u16>,
    /// The maximum value of an entry.
    pub(super) max_entry: u16,
}

impl LookupTable {
    /// Reads the table of a sequence item. The input values are signed if `is_signed` is true or the item declares it.
    pub(super) fn from_item(item: &DataSet, is_signed: bool) -> Result<Self, RenderError> {
        Self::read(item, tags::LUT_DESCRIPTOR, tags::LUT_DATA, is_signed)
    }

    pub(super) fn read(
        data_set: &DataSet,
        descriptor: Tag,
        data: Tag,
        is_signed: bool,
    ) -> Result<Self, RenderError> {
        let Descriptor { entry_count, first_input, bits } =
            Descriptor::read(data_set, descriptor, is_signed)?;
        let bytes = data_set.bytes(data).ok_or(INVALID)?;
        // Entries of 8 bits can be packed, two per word (PS3.3 C.11.1.1.1).
        let entries: Vec<u16> = if bits <= 8 && bytes.len() < 2 * entry_count {
            bytes.iter().take(entry_count).copied().map(u16::from).collect()
        } else {
            data_set.words(data).into_iter().flatten().take(entry_count).collect()
        };
        Self::from_entries(first_input, bits, entry_count, entries)
    }

    /// Reads a segmented table (PS3.3 C.7.9.2).
    pub(super) fn read_segments(
        data_set: &DataSet,
        descriptor: Tag,
        data: Tag,
        is_signed: bool,
    ) -> Result<Self, RenderError> {
        let Descriptor { entry_count, first_input, bits } =
            Descriptor::read(data_set, descriptor, is_signed)?;
        // Each segment has at least one entry and few words in addition to its entries.
        let max_words = entry_count * MAX_WORDS_PER_ENTRY;
        let words: Vec<u16> = if bits > 8 {
            data_set.words(data).ok_or(INVALID)?.take(max_words).collect()
        } else {
            data_set.bytes(data).ok_or(INVALID)?.iter().copied().map(u16::from).take(max_words).collect()
        };
        let bytes_per_word = if bits > 8 { 2 } else { 1 };
        Self::from_entries(
            first_input,
            bits,
            entry_count,
            segments::expand(&words, bytes_per_word, entry_count)?,
        )
    }

    fn from_entries(
        first_input: i64,
        bits: u16,
        entry_count: usize,
        entries: Vec<u16>,
    ) -> Result<Self, RenderError> {
        let max_entry = u16::try_from((1_u32 << bits) - 1).unwrap_or(u16::MAX);
        if entries.len() < entry_count { Err(INVALID) } else { Ok(Self { first_input, entries, max_entry }) }
    }

    /// Returns the entry for an input value.
    pub(super) fn entry(&self, number: i64) -> u16 {
        let last_index = self.entries.len() as i64 - 1;
        let index = (number - self.first_input).clamp(0, last_index);
        // Tables are never empty.
        self.entries.get(index as usize).copied().unwrap_or_default()
    }

    /// Returns the entry for an input value that is given as a fraction of the full range, from 0 to 1.
    pub(super) fn entry_at_fraction(&self, fraction: f64) -> u16 {
        let last_index = self.entries.len() - 1;
        self.entries.get((fraction * last_index as f64).round() as usize).copied().unwrap_or_default()
    }
}
