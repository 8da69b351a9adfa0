//! One DICOM object of a Part 10 file (PS3.10 7, PS3.5 7), read in place: values are slices of the file, so that what a
//! length claims costs nothing until it is there. Readers that make room for a value as its length says, 4 GB of it, fit
//! files that one trusts.
//!
//! Kept are the few elements that pixels are drawn with. Items of sequences stay as they stand until they are asked for.

mod reader;

use std::io::Read;

use bytes::Bytes;
use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};
use flate2::bufread::DeflateDecoder;

use super::RenderError;
use reader::{EXPLICIT, IMPLICIT, Reader, Syntax};

/// Explicit VR Big Endian, which is retired and still in archives.
pub(super) const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

/// A file whose pixels can be looked at.
#[derive(Debug, Clone)]
pub(super) struct Object {
    /// Transfer Syntax UID (0002,0010).
    pub(super) transfer_syntax: String,
    pub(super) attributes: DataSet,
    pub(super) pixels: Option<PixelData>,
    /// Bytes of memory that the data set took besides the file, as it had to be inflated.
    pub(super) inflated: usize,
}

/// Pixel Data (7FE0,0010).
#[derive(Debug, Clone)]
pub(super) enum PixelData {
    /// As numbers, one after the other.
    Native { bytes: Bytes, order: Order },
    /// As fragments (PS3.5 A.4), of which the first is the Basic Offset Table.
    Encapsulated(Vec<Fragment>),
}

/// In which order the bytes of numbers stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
    /// And numbers of 8 bits two in a word, the first of them in its lower half (PS3.5 8.1.1).
    BigWords,
}

/// One item of encapsulated pixel data.
#[derive(Debug, Clone)]
pub(super) struct Fragment {
    /// Where the item's tag stands in the file.
    pub(super) offset: usize,
    pub(super) bytes: Bytes,
}

impl Object {
    /// Reads the file up to its pixels. What is deflated may inflate to `limit` bytes.
    pub(super) fn read(file: &Bytes, limit: usize) -> Result<Self, RenderError> {
        if file.get(128..132) != Some(b"DICM".as_slice()) {
            return Err(RenderError::Broken("it is no DICOM file"));
        }
        let mut reader = Reader::new(file.clone(), 132, EXPLICIT);
        let mut transfer_syntax = String::new();
        while reader.peek_group() == Some(2) {
            let header = reader.header()?;
            let value = reader.value(header.length)?;
            if header.tag == tags::TRANSFER_SYNTAX_UID {
                String::from_utf8_lossy(&value).trim_matches(['\0', ' ']).clone_into(&mut transfer_syntax);
            }
        }
        let start = reader.position();
        let (bytes, start) = if transfer_syntax == uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN {
            (inflated(&file[start..], limit)?, 0)
        } else {
            (file.clone(), start)
        };
        let taken = if start == 0 { bytes.len() } else { 0 };
        let syntax = observed(&transfer_syntax, bytes.get(start + 4..start + 6));
        let mut reader = Reader::new(bytes, start, syntax);
        let (attributes, pixels) = reader.object()?;
        Ok(Self { transfer_syntax, attributes, pixels, inflated: taken })
    }
}

/// Some writers declare Explicit VR and write Implicit VR, or the reverse.
fn observed(transfer_syntax: &str, first_vr: Option<&[u8]>) -> Syntax {
    let is_explicit = first_vr.is_none_or(|vr| vr.iter().all(u8::is_ascii_uppercase));
    match transfer_syntax {
        BIG_ENDIAN => Syntax { explicit: true, big_endian: true },
        _ if is_explicit => EXPLICIT,
        _ => IMPLICIT,
    }
}

fn inflated(deflated: &[u8], limit: usize) -> Result<Bytes, RenderError> {
    let mut plain = Vec::new();
    let mut bounded = DeflateDecoder::new(deflated).take(limit as u64 + 1);
    bounded.read_to_end(&mut plain).map_err(|_| RenderError::Broken("its deflated data set is broken"))?;
    if plain.len() > limit {
        return Err(RenderError::TooLarge);
    }
    Ok(plain.into())
}

/// The elements of one level.
#[derive(Debug, Clone, Default)]
pub(super) struct DataSet {
    elements: Vec<(Tag, Element)>,
}

#[derive(Debug, Clone)]
enum Element {
    Value { vr: Option<[u8; 2]>, bytes: Bytes, big_endian: bool },
    Items { items: Vec<Bytes>, syntax: Syntax },
}

impl DataSet {
    fn element(&self, tag: Tag) -> Option<&Element> {
        self.elements.iter().find(|(other, _)| *other == tag).map(|(_, element)| element)
    }

    fn value(&self, tag: Tag) -> Option<(&Bytes, bool)> {
        match self.element(tag)? {
            Element::Value { bytes, big_endian, .. } if !bytes.is_empty() => Some((bytes, *big_endian)),
            _ => None,
        }
    }

    /// How the value is written, where the file says it.
    pub(super) fn vr(&self, tag: Tag) -> Option<[u8; 2]> {
        match self.element(tag)? {
            Element::Value { vr, .. } => *vr,
            Element::Items { .. } => None,
        }
    }

    /// A value as it stands.
    pub(super) fn bytes(&self, tag: Tag) -> Option<&Bytes> {
        self.value(tag).map(|(bytes, _)| bytes)
    }

    /// Words of two bytes.
    pub(super) fn words(&self, tag: Tag) -> Option<Vec<u16>> {
        let (bytes, big_endian) = self.value(tag)?;
        let word = |pair: &[u8]| match (pair, big_endian) {
            ([high, low], true) | ([low, high], false) => u16::from_be_bytes([*high, *low]),
            _ => 0,
        };
        Some(bytes.chunks_exact(2).map(word).collect())
    }

    /// The first word of two bytes.
    pub(super) fn word(&self, tag: Tag) -> Option<u16> {
        self.words(tag)?.first().copied()
    }

    /// Text without the blanks that pad it.
    pub(super) fn text(&self, tag: Tag) -> Option<String> {
        let (bytes, _) = self.value(tag)?;
        let text = String::from_utf8_lossy(bytes).trim_matches(['\0', ' ']).to_owned();
        (!text.is_empty()).then_some(text)
    }

    /// Numbers written as text (DS, IS); none of them when one is no number.
    pub(super) fn decimals(&self, tag: Tag) -> Option<Vec<f64>> {
        let text = self.text(tag)?;
        let numbers = text.split('\\').map(|part| part.trim_matches(['\0', ' ']).parse::<f64>());
        let numbers: Vec<f64> = numbers.collect::<Result<_, _>>().ok()?;
        numbers.iter().all(|number| number.is_finite()).then_some(numbers)
    }

    /// The first number written as text.
    pub(super) fn decimal(&self, tag: Tag) -> Option<f64> {
        self.decimals(tag)?.first().copied()
    }

    /// The item of a sequence that stands at `index`.
    pub(super) fn item(&self, tag: Tag, index: usize) -> Result<Option<Self>, RenderError> {
        let Some(Element::Items { items, syntax }) = self.element(tag) else { return Ok(None) };
        let Some(bytes) = items.get(index) else { return Ok(None) };
        let mut reader = Reader::new(bytes.clone(), 0, *syntax);
        reader.object().map(|(attributes, _)| Some(attributes))
    }
}
