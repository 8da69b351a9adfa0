//! Reads the object of a file in memory without copying (PS3.10 7): values are slices of the file, except for big-endian numbers,
//! which are converted to little-endian order. Items of sequences are parsed only on request. This module does not decode text or
//! pixel data.

use super::element_reader::{ElementReader, Event};
use super::inflate::Inflated;
use super::source::{InMemory, Source};
use super::syntax::{Syntax, is_deflated};
use super::{ReadError, is_pixel_data, meta};
use crate::data_set::{is_text, swap_words, word_size, words};
use crate::encapsulated_pixel_data::Fragment;
use bytes::Bytes;
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use std::io::Read;

/// An object in memory.
#[derive(Debug, Clone)]
pub struct InPlace {
    /// Transfer Syntax UID (0002,0010).
    pub transfer_syntax: &'static str,
    /// The elements that the caller selected.
    pub elements: Elements,
    /// Pixel data, if the object has any.
    pub pixels: Option<Pixels>,
    /// Size in bytes of the inflated data set, which needs memory in addition to the file; 0 if it is not deflated.
    pub inflated_size: usize,
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
        /// The fragments.
        fragments: Vec<(Fragment, Bytes)>,
    },
}

impl InPlace {
    /// Reads a file up to the end of its pixel data, with those elements that `is_requested` accepts. A deflated data set
    /// must not inflate to more than `limit` bytes.
    pub fn read(file: &Bytes, limit: usize, is_requested: impl Fn(Tag) -> bool) -> Result<Self, ReadError> {
        let mut source = InMemory::new(file.clone());
        let declared_syntax = meta::read(&mut source)?;
        let mut inflated_size = 0;
        if is_deflated(declared_syntax.uid()) {
            let inflated_bytes = inflate(&source.rest(), limit)?;
            inflated_size = inflated_bytes.len();
            source = InMemory::new(inflated_bytes);
        }
        let syntax = Syntax::detect(declared_syntax, source.peek(8)?);
        let (elements, pixels) = read_elements(source, syntax, is_requested)?;
        Ok(Self { transfer_syntax: declared_syntax.uid(), elements, pixels, inflated_size })
    }
}

fn inflate(deflated: &[u8], limit: usize) -> Result<Bytes, ReadError> {
    let mut inflated_bytes = Vec::new();
    let mut reader = Inflated::new(deflated).take(limit as u64 + 1);
    reader.read_to_end(&mut inflated_bytes)?;
    if inflated_bytes.len() > limit { Err(ReadError::TooLarge) } else { Ok(inflated_bytes.into()) }
}

/// Reads the elements of a data set or an item, up to its pixel data or its end.
fn read_elements(
    source: InMemory,
    syntax: Syntax,
    is_requested: impl Fn(Tag) -> bool,
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
                return Ok((elements, Some(read_fragments(&mut reader)?)));
            }
            Event::Value(header, length)
                if reader.depth() == 0
                    && is_requested(header.tag)
                    && elements.element(header.tag).is_none() =>
            {
                let bytes = reader.source().take_bytes(length.into())?;
                let vr = header.resolve_vr(|| elements.word(tags::PIXEL_REPRESENTATION));
                let bytes =
                    if header.syntax.big_endian { convert_to_little_endian(bytes, vr) } else { bytes };
                elements.elements.push((header.tag, InPlaceElement::Value { vr, bytes }));
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
                    items.push(bytes.slice(index(item_start)..index(end)));
                }
            }
            Event::EndSequence if reader.depth() == 0 => {
                if let Some((tag, items, syntax)) = sequence.take() {
                    elements.elements.push((tag, InPlaceElement::Items { items, syntax }));
                }
            }
            Event::BeginSequence(..) | Event::BeginItem | Event::EndItem(_) | Event::EndSequence => {}
        }
    }
    Ok((elements, None))
}

/// Converts a big-endian value (PS3.5 7.3).
fn convert_to_little_endian(bytes: Bytes, vr: VR) -> Bytes {
    let size = word_size(vr);
    if size == 1 {
        return bytes;
    }
    let mut bytes = Vec::from(bytes);
    swap_words(&mut bytes, size);
    bytes.into()
}

fn read_fragments(reader: &mut ElementReader<InMemory>) -> Result<Pixels, ReadError> {
    let length = reader.next_fragment()?.ok_or(ReadError::Malformed("the pixel data is empty"))?;
    let table = reader.source().take_bytes(length.into())?;
    let start = reader.position();
    let mut fragments = Vec::new();
    loop {
        let offset = reader.position() - start;
        let Some(length) = reader.next_fragment()? else {
            return Ok(Pixels::Encapsulated { table, fragments });
        };
        let bytes = reader.source().take_bytes(length.into())?;
        fragments.push((Fragment::new(offset, length, &bytes), bytes));
    }
}

/// The encoded elements of a data set or an item.
#[derive(Debug, Clone, Default)]
pub struct Elements {
    elements: Vec<(Tag, InPlaceElement)>,
}

#[derive(Debug, Clone)]
enum InPlaceElement {
    Value { vr: VR, bytes: Bytes },
    Items { items: Vec<Bytes>, syntax: Syntax },
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

    /// Returns the value as unsigned 16-bit integers; `None` for a text.
    pub fn words(&self, tag: Tag) -> Option<Vec<u16>> {
        let (vr, bytes) = self.value(tag)?;
        (!is_text(vr)).then(|| words(bytes).collect())
    }

    /// Returns the first unsigned 16-bit integer.
    pub fn word(&self, tag: Tag) -> Option<u16> {
        self.words(tag)?.first().copied()
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
        let Some(InPlaceElement::Items { items, syntax }) = self.element(tag) else { return Ok(None) };
        let Some(bytes) = items.get(index) else { return Ok(None) };
        let (elements, _) = read_elements(InMemory::new(bytes.clone()), *syntax, |tag| !is_pixel_data(tag))?;
        Ok(Some(elements))
    }
}
