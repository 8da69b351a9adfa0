//! Reads the object of a file in memory without copying (PS3.10 7): values are slices of the file, except for big-endian numbers,
//! which are converted to little-endian order. Items of sequences are parsed only on request. All memory in addition to the file is
//! counted before it is allocated. This module does not decode text or pixel data.

use super::element_reader::{ElementReader, Event};
use super::inflate::Inflated;
use super::memory_budget::MemoryBudget;
use super::source::{InMemory, Source};
use super::syntax::{Syntax, is_deflated};
use super::{ReadError, is_pixel_data, meta};
use crate::data_set::{is_text, swap_words, word_size, words};
use crate::encapsulated_pixel_data::Fragment;
use bytes::Bytes;
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use std::io::{self, Read};
use std::ops::Range;

/// Maximum size in bytes of a textual value. In Explicit VR, those with a short length are smaller (PS3.5 7.1.2).
const MAX_TEXT: u32 = 64 * 1024;

/// Maximum size in bytes of the lists of the elements and items of an item. Real items have few.
const MAX_ITEM_MEMORY: usize = 1024 * 1024;

/// An object in memory.
#[derive(Debug, Clone)]
pub struct InPlace {
    /// Transfer Syntax UID (0002,0010).
    pub transfer_syntax: &'static str,
    /// The elements that the caller selected.
    pub elements: Elements,
    /// Pixel data, if the object has any.
    pub pixels: Option<Pixels>,
    /// Size in bytes of the memory in addition to the file.
    pub memory: usize,
}

/// The complete value of Pixel Data (7FE0,0010).
#[derive(Debug, Clone)]
pub enum Pixels {
    /// Native format (PS3.5 8.1).
    Native {
        /// The value.
        bytes: Bytes,
        /// Its value representation, OB or OW (PS3.5 8.1.2).
        vr: VR,
        /// Whether words begin with their most significant byte.
        big_endian: bool,
    },
    /// Encapsulated format (PS3.5 A.4).
    Encapsulated {
        /// The value of the first item, the Basic Offset Table.
        table: Bytes,
        /// The fragments after it.
        fragments: Fragments,
    },
}

/// The fragments of encapsulated pixel data.
#[derive(Debug, Clone)]
pub struct Fragments {
    /// The items, from the first one.
    bytes: Bytes,
    list: Vec<Fragment>,
}

impl Fragments {
    /// Returns the properties of the fragments.
    pub fn list(&self) -> &[Fragment] {
        &self.list
    }

    /// Returns the value of the fragment at `index`.
    pub fn value(&self, index: usize) -> Option<Bytes> {
        let range = self.list.get(index)?.value_range();
        let [start, end] = [range.start, range.end].map(|offset| usize::try_from(offset).ok());
        Some(self.bytes.slice(start?..end?))
    }
}

impl InPlace {
    /// Reads a file up to the end of its pixel data, with those elements that `is_requested` accepts. In addition to the file, at most
    /// `limit` bytes of memory are used.
    pub fn read(file: &Bytes, limit: usize, is_requested: impl Fn(Tag) -> bool) -> Result<Self, ReadError> {
        let mut budget = MemoryBudget::new(limit);
        let mut source = InMemory::new(file.clone());
        let declared_syntax = meta::read(&mut source)?;
        if is_deflated(declared_syntax.uid()) {
            source = InMemory::new(inflate(&source.rest(), &mut budget)?);
        }
        let syntax = Syntax::detect(declared_syntax, source.peek(8)?);
        let (elements, pixels) = read_elements(source, syntax, is_requested, &mut budget)?;
        Ok(Self { transfer_syntax: declared_syntax.uid(), elements, pixels, memory: budget.used() })
    }
}

/// Inflates a data set. It is inflated twice, because a buffer that grows would need more memory than the data set.
fn inflate(deflated: &[u8], budget: &mut MemoryBudget) -> Result<Bytes, ReadError> {
    let limit = budget.remaining() as u64;
    let size = io::copy(&mut Inflated::new(deflated).take(limit.saturating_add(1)), &mut io::sink())?;
    let size = usize::try_from(size).map_err(|_| ReadError::TooLarge)?;
    budget.take(size)?;
    let mut inflated_bytes = Vec::with_capacity(size);
    Inflated::new(deflated).take(size as u64).read_to_end(&mut inflated_bytes)?;
    Ok(inflated_bytes.into())
}

/// Reads the elements of a data set or an item, up to its pixel data or its end.
fn read_elements(
    source: InMemory,
    syntax: Syntax,
    is_requested: impl Fn(Tag) -> bool,
    budget: &mut MemoryBudget,
) -> Result<(Elements, Option<Pixels>), ReadError> {
    let bytes = source.rest();
    let start = source.position();
    let mut reader = ElementReader::new(source, syntax);
    let mut elements = Elements::default();
    // The current sequence, if it is requested, and the position of its current item.
    let (mut sequence, mut item_start) = (None, 0);
    while let Some(event) = reader.next()? {
        match event {
            Event::Value(header, length) if reader.depth() == 0 && header.tag == tags::PIXEL_DATA => {
                let bytes = reader.source().take_bytes(length.into())?;
                return Ok((
                    elements,
                    Some(Pixels::Native { bytes, vr: header.vr, big_endian: header.syntax.big_endian }),
                ));
            }
            Event::Fragments(header) if reader.depth() == 0 && header.tag == tags::PIXEL_DATA => {
                return Ok((elements, Some(read_fragments(&mut reader, budget)?)));
            }
            Event::Value(header, length)
                if reader.depth() == 0
                    && is_requested(header.tag)
                    && elements.element(header.tag).is_none() =>
            {
                let bytes = reader.source().take_bytes(length.into())?;
                let vr = header.resolve_vr(|| elements.word(tags::PIXEL_REPRESENTATION));
                if is_text(vr) && length > MAX_TEXT {
                    return Err(ReadError::Malformed("a text is longer than 64 KiB"));
                }
                let bytes = if header.syntax.big_endian {
                    convert_to_little_endian(bytes, vr, budget)?
                } else {
                    bytes
                };
                budget.push(&mut elements.elements, (header.tag, InPlaceElement::Value { vr, bytes }))?;
            }
            Event::Value(_, length) => reader.source().skip(length.into())?,
            Event::Fragments(_) => reader.skip_fragments()?,
            Event::BeginSequence(tag, syntax) if reader.depth() == 1 => {
                let is_first_requested = is_requested(tag) && elements.element(tag).is_none();
                sequence = is_first_requested.then(|| (tag, Vec::new(), syntax));
            }
            Event::BeginItem if reader.depth() == 2 => item_start = reader.position(),
            Event::EndItem(end) if reader.depth() == 1 => {
                if let Some((_, items, _)) = &mut sequence {
                    let index = |position: u64| usize::try_from(position - start).unwrap_or(bytes.len());
                    budget.push(items, index(item_start)..index(end))?;
                }
            }
            Event::EndSequence if reader.depth() == 0 => {
                if let Some((tag, items, syntax)) = sequence.take() {
                    let items = InPlaceElement::Items { bytes: bytes.clone(), items, syntax };
                    budget.push(&mut elements.elements, (tag, items))?;
                }
            }
            Event::BeginSequence(..) | Event::BeginItem | Event::EndItem(_) | Event::EndSequence => {}
        }
    }
    Ok((elements, None))
}

/// Converts a big-endian value (PS3.5 7.3).
fn convert_to_little_endian(bytes: Bytes, vr: VR, budget: &mut MemoryBudget) -> Result<Bytes, ReadError> {
    let size = word_size(vr);
    if size == 1 {
        return Ok(bytes);
    }
    budget.take(bytes.len())?;
    let mut bytes = Vec::from(bytes);
    swap_words(&mut bytes, size);
    Ok(bytes.into())
}

fn read_fragments(
    reader: &mut ElementReader<InMemory>,
    budget: &mut MemoryBudget,
) -> Result<Pixels, ReadError> {
    let length = reader.next_fragment()?.ok_or(ReadError::Malformed("the pixel data is empty"))?;
    let table = reader.source().take_bytes(length.into())?;
    let (bytes, start) = (reader.source().rest(), reader.position());
    let mut list = Vec::new();
    loop {
        let offset = reader.position() - start;
        let Some(length) = reader.next_fragment()? else {
            return Ok(Pixels::Encapsulated { table, fragments: Fragments { bytes, list } });
        };
        let value = reader.source().take_bytes(length.into())?;
        budget.push(&mut list, Fragment::new(offset, length, &value))?;
    }
}

/// The encoded elements of a data set or an item.
#[derive(Debug, Clone, Default)]
pub struct Elements {
    elements: Vec<(Tag, InPlaceElement)>,
}

#[derive(Debug, Clone)]
enum InPlaceElement {
    Value {
        vr: VR,
        bytes: Bytes,
    },
    /// The items of a sequence, as ranges of the bytes that contain them.
    Items {
        bytes: Bytes,
        items: Vec<Range<usize>>,
        syntax: Syntax,
    },
}

impl Elements {
    fn element(&self, tag: Tag) -> Option<&InPlaceElement> {
        self.elements.iter().find(|(other, _)| *other == tag).map(|(_, element)| element)
    }

    fn value(&self, tag: Tag) -> Option<(VR, &Bytes)> {
        match self.element(tag)? {
            InPlaceElement::Value { vr, bytes } if !bytes.is_empty() => Some((*vr, bytes)),
            _ => None,
        }
    }

    /// Returns the value representation in the file or, for Implicit VR and UN, in the dictionary.
    pub fn vr(&self, tag: Tag) -> Option<VR> {
        match self.element(tag)? {
            InPlaceElement::Value { vr, .. } => Some(*vr),
            InPlaceElement::Items { .. } => None,
        }
    }

    /// Returns the encoded value, in little-endian order.
    pub fn bytes(&self, tag: Tag) -> Option<&Bytes> {
        self.value(tag).map(|(_, bytes)| bytes)
    }

    /// Iterates over the value as unsigned 16-bit integers; `None` for a text.
    pub fn words(&self, tag: Tag) -> Option<impl Iterator<Item = u16> + '_> {
        let (vr, bytes) = self.value(tag)?;
        (!is_text(vr)).then(|| words(bytes))
    }

    /// Returns the first unsigned 16-bit integer.
    pub fn word(&self, tag: Tag) -> Option<u16> {
        self.words(tag)?.next()
    }

    /// Returns the text values without padding; none for a binary representation. Bytes that are not UTF-8 are replaced.
    pub fn texts(&self, tag: Tag) -> Vec<String> {
        let Some((vr, bytes)) = self.value(tag).filter(|(vr, _)| is_text(*vr)) else { return Vec::new() };
        let text = String::from_utf8_lossy(bytes);
        let trim = |text: &str| text.trim_matches(['\0', ' ']).to_owned();
        // In these representations a backslash does not separate values (PS3.5 6.2).
        if matches!(vr, VR::LT | VR::ST | VR::UT | VR::UR) {
            vec![trim(&text)]
        } else {
            text.split('\\').map(trim).collect()
        }
    }

    /// Returns the first text value; `None` if it is empty.
    pub fn text(&self, tag: Tag) -> Option<String> {
        self.texts(tag).into_iter().next().filter(|text| !text.is_empty())
    }

    /// Returns the numbers of a DS or IS value; `None` if one of them is not a finite number.
    pub fn decimals(&self, tag: Tag) -> Option<Vec<f64>> {
        let numbers = self.texts(tag).into_iter().map(|text| text.parse::<f64>());
        let numbers: Vec<f64> = numbers.collect::<Result<_, _>>().ok()?;
        (!numbers.is_empty() && numbers.iter().all(|number| number.is_finite())).then_some(numbers)
    }

    /// Returns the first number of a DS or IS value.
    pub fn decimal(&self, tag: Tag) -> Option<f64> {
        self.decimals(tag)?.first().copied()
    }

    /// Reads the item of a sequence at `index`, starting at 0.
    pub fn item(&self, tag: Tag, index: usize) -> Result<Option<Self>, ReadError> {
        let Some(InPlaceElement::Items { bytes, items, syntax }) = self.element(tag) else { return Ok(None) };
        let Some(range) = items.get(index) else { return Ok(None) };
        let source = InMemory::new(bytes.slice(range.clone()));
        let mut budget = MemoryBudget::new(MAX_ITEM_MEMORY);
        let (elements, _) = read_elements(source, *syntax, |tag| !is_pixel_data(tag), &mut budget)?;
        Ok(Some(elements))
    }
}
