//! One DICOM object of a Part 10 file (PS3.10 7, PS3.5 7), read in place: values are slices of the file, so that what a
//! length claims costs nothing until it is there. Readers that make room for a value as its length says, 4 GB of it, fit
//! files that one trusts.
//!
//! Kept are the few elements that pixels are drawn with. Items of sequences stay as they stand until they are asked for.

use std::io::Read;

use bytes::Bytes;
use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};
use flate2::bufread::DeflateDecoder;

use super::{RenderError, annotation};

/// Sequences nested deeper than any standard object's mean that the reader has lost its way.
const DEEPEST_NESTING: usize = 64;

/// The elements that pixels are drawn with, and the sequences in which some of them stand.
const NEEDED: &[Tag] = &[
    tags::SAMPLES_PER_PIXEL,
    tags::PHOTOMETRIC_INTERPRETATION,
    tags::PLANAR_CONFIGURATION,
    tags::NUMBER_OF_FRAMES,
    tags::ROWS,
    tags::COLUMNS,
    tags::PIXEL_SPACING,
    tags::IMAGER_PIXEL_SPACING,
    tags::NOMINAL_SCANNED_PIXEL_SPACING,
    tags::PIXEL_ASPECT_RATIO,
    tags::BITS_ALLOCATED,
    tags::BITS_STORED,
    tags::HIGH_BIT,
    tags::PIXEL_REPRESENTATION,
    tags::PIXEL_PADDING_VALUE,
    tags::PIXEL_PADDING_RANGE_LIMIT,
    tags::WINDOW_CENTER,
    tags::WINDOW_WIDTH,
    tags::VOILUT_FUNCTION,
    tags::RESCALE_INTERCEPT,
    tags::RESCALE_SLOPE,
    tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
    tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
    tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
    tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::SEGMENTED_RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::SEGMENTED_GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::SEGMENTED_BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::LUT_DESCRIPTOR,
    tags::LUT_DATA,
    tags::PRESENTATION_LUT_SHAPE,
    tags::EXTENDED_OFFSET_TABLE,
    tags::MODALITY_LUT_SEQUENCE,
    tags::VOILUT_SEQUENCE,
    tags::PRESENTATION_LUT_SEQUENCE,
    tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE,
    tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE,
    tags::PIXEL_MEASURES_SEQUENCE,
    tags::FRAME_VOILUT_SEQUENCE,
    tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE,
];

/// What surrounds items (PS3.5 7.5).
const ITEM: Tag = Tag(0xFFFE, 0xE000);
const ITEM_DELIMITATION: Tag = Tag(0xFFFE, 0xE00D);
const SEQUENCE_DELIMITATION: Tag = Tag(0xFFFE, 0xE0DD);

/// Explicit VR Big Endian, which is retired and still in archives.
pub(super) const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

/// How elements are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Syntax {
    explicit: bool,
    big_endian: bool,
}

const EXPLICIT: Syntax = Syntax { explicit: true, big_endian: false };
const IMPLICIT: Syntax = Syntax { explicit: false, big_endian: false };

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
        let mut reader = Reader { bytes: file.clone(), at: 132, syntax: EXPLICIT };
        let mut transfer_syntax = String::new();
        while reader.peek_group() == Some(2) {
            let header = reader.header()?;
            let value = reader.value(header.length)?;
            if header.tag == tags::TRANSFER_SYNTAX_UID {
                String::from_utf8_lossy(&value).trim_matches(['\0', ' ']).clone_into(&mut transfer_syntax);
            }
        }
        let start = reader.at;
        let (bytes, start) = if transfer_syntax == uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN {
            (inflated(&file[start..], limit)?, 0)
        } else {
            (file.clone(), start)
        };
        let taken = if start == 0 { bytes.len() } else { 0 };
        let syntax = observed(&transfer_syntax, bytes.get(start + 4..start + 6));
        let mut reader = Reader { bytes, at: start, syntax };
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
        let mut reader = Reader { bytes: bytes.clone(), at: 0, syntax: *syntax };
        reader.object().map(|(attributes, _)| Some(attributes))
    }
}

#[derive(Debug, Clone, Copy)]
struct Header {
    tag: Tag,
    vr: Option<[u8; 2]>,
    /// None where the value runs to a delimiter.
    length: Option<usize>,
}

impl Header {
    fn is_sequence(&self) -> bool {
        match self.vr {
            Some(vr) => vr == *b"SQ",
            // Implicit VR does not say it: of those that are needed it is known.
            None => matches!(
                self.tag,
                tags::MODALITY_LUT_SEQUENCE
                    | tags::VOILUT_SEQUENCE
                    | tags::PRESENTATION_LUT_SEQUENCE
                    | tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE
                    | tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE
                    | tags::PIXEL_MEASURES_SEQUENCE
                    | tags::FRAME_VOILUT_SEQUENCE
                    | tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE
            ),
        }
    }
}

struct Reader {
    bytes: Bytes,
    at: usize,
    syntax: Syntax,
}

impl Reader {
    /// The elements of this level up to its pixels or its end.
    fn object(&mut self) -> Result<(DataSet, Option<PixelData>), RenderError> {
        let mut set = DataSet::default();
        while self.at < self.bytes.len() {
            // Some writers pad the file behind its last element.
            if self.peek_tag().is_none_or(|tag| tag == Tag(0, 0)) {
                return if self.bytes[self.at..].iter().all(|byte| *byte == 0) {
                    Ok((set, None))
                } else {
                    Err(CUT)
                };
            }
            let header = self.header()?;
            if header.tag == tags::PIXEL_DATA {
                let pixels = self.pixels(header)?;
                return Ok((set, Some(pixels)));
            }
            let is_needed = NEEDED.contains(&header.tag) || annotation::ATTRIBUTES.contains(&header.tag);
            let is_new = is_needed && set.element(header.tag).is_none();
            if header.length.is_none() || header.is_sequence() {
                let syntax = self.syntax_inside(header);
                let mut items = Vec::new();
                self.items(header.length, syntax, 0, &mut |item| {
                    if is_new {
                        items.push(item);
                    }
                })?;
                if is_new {
                    set.elements.push((header.tag, Element::Items { items, syntax }));
                }
            } else {
                let bytes = self.value(header.length)?;
                if is_new {
                    let big_endian = self.syntax.big_endian;
                    set.elements.push((header.tag, Element::Value { vr: header.vr, bytes, big_endian }));
                }
            }
        }
        Ok((set, None))
    }

    /// What a writer did not know it wrote as Implicit VR (PS3.5 6.2.2).
    fn syntax_inside(&self, header: Header) -> Syntax {
        if header.vr == Some(*b"UN") { IMPLICIT } else { self.syntax }
    }

    fn pixels(&mut self, header: Header) -> Result<PixelData, RenderError> {
        if header.length.is_some() {
            let order = match (self.syntax.big_endian, header.vr) {
                (false, _) => Order::Little,
                (true, Some(vr)) if vr == *b"OB" => Order::Big,
                (true, _) => Order::BigWords,
            };
            return Ok(PixelData::Native { bytes: self.value(header.length)?, order });
        }
        let mut fragments = Vec::new();
        loop {
            let offset = self.at;
            let (tag, length) = self.item_header()?;
            match tag {
                ITEM => fragments.push(Fragment { offset, bytes: self.value(length)? }),
                SEQUENCE_DELIMITATION => return Ok(PixelData::Encapsulated(fragments)),
                _ => return Err(RenderError::Broken("its pixel data have no end")),
            }
        }
    }

    /// Steps over a sequence, and hands over its items.
    fn items(
        &mut self,
        length: Option<usize>,
        syntax: Syntax,
        depth: usize,
        each: &mut dyn FnMut(Bytes),
    ) -> Result<(), RenderError> {
        if depth > DEEPEST_NESTING {
            return Err(RenderError::Broken("its sequences are nested too deeply"));
        }
        let end = match length {
            Some(length) => {
                Some(self.at.checked_add(length).filter(|end| *end <= self.bytes.len()).ok_or(CUT)?)
            }
            None => None,
        };
        while end.is_none_or(|end| self.at < end) {
            let (tag, length) = self.item_header()?;
            match (tag, length) {
                (SEQUENCE_DELIMITATION, _) if end.is_none() => break,
                (ITEM, Some(_)) => each(self.value(length)?),
                (ITEM, None) => {
                    let start = self.at;
                    let outer = std::mem::replace(&mut self.syntax, syntax);
                    let stop = self.step_over_item(depth)?;
                    self.syntax = outer;
                    each(self.bytes.slice(start..stop));
                }
                _ => return Err(RenderError::Broken("a sequence holds something else than items")),
            }
        }
        Ok(())
    }

    /// Steps over the elements of an item that runs to a delimiter; where the delimiter stands.
    fn step_over_item(&mut self, depth: usize) -> Result<usize, RenderError> {
        loop {
            let stop = self.at;
            if self.peek_tag() == Some(ITEM_DELIMITATION) {
                self.item_header()?;
                return Ok(stop);
            }
            let header = self.header()?;
            if header.length.is_none() {
                let syntax = self.syntax_inside(header);
                self.items(None, syntax, depth + 1, &mut |_| {})?;
            } else {
                self.value(header.length)?;
            }
        }
    }

    fn header(&mut self) -> Result<Header, RenderError> {
        let tag = self.tag()?;
        let (vr, length) = if self.syntax.explicit {
            let vr: [u8; 2] = self.array()?;
            if !vr.iter().all(u8::is_ascii_uppercase) {
                return Err(RenderError::Broken("an element has no value representation"));
            }
            let is_long = matches!(
                &vr,
                b"OB"
                    | b"OD"
                    | b"OF"
                    | b"OL"
                    | b"OV"
                    | b"OW"
                    | b"SQ"
                    | b"SV"
                    | b"UC"
                    | b"UN"
                    | b"UR"
                    | b"UT"
                    | b"UV"
            );
            if is_long {
                let _reserved: [u8; 2] = self.array()?;
                (Some(vr), self.long()?)
            } else {
                (Some(vr), u32::from(self.word()?))
            }
        } else {
            (None, self.long()?)
        };
        Ok(Header { tag, vr, length: defined(length) })
    }

    fn item_header(&mut self) -> Result<(Tag, Option<usize>), RenderError> {
        let tag = self.tag()?;
        Ok((tag, defined(self.long()?)))
    }

    fn value(&mut self, length: Option<usize>) -> Result<Bytes, RenderError> {
        let length = length.ok_or(RenderError::Broken("a value has no end"))?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len()).ok_or(CUT)?;
        let value = self.bytes.slice(self.at..end);
        self.at = end;
        Ok(value)
    }

    fn peek_group(&self) -> Option<u16> {
        self.peek_tag().map(Tag::group)
    }

    fn peek_tag(&self) -> Option<Tag> {
        let bytes = self.bytes.get(self.at..self.at + 4)?;
        let word = |pair: &[u8]| match (pair, self.syntax.big_endian) {
            ([high, low], true) | ([low, high], false) => u16::from_be_bytes([*high, *low]),
            _ => 0,
        };
        Some(Tag(word(&bytes[..2]), word(&bytes[2..])))
    }

    fn tag(&mut self) -> Result<Tag, RenderError> {
        let tag = self.peek_tag().ok_or(CUT)?;
        self.at += 4;
        Ok(tag)
    }

    fn word(&mut self) -> Result<u16, RenderError> {
        let bytes = self.array()?;
        Ok(if self.syntax.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn long(&mut self) -> Result<u32, RenderError> {
        let bytes = self.array()?;
        Ok(if self.syntax.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], RenderError> {
        let bytes = self.bytes.get(self.at..self.at + LENGTH).and_then(|bytes| bytes.try_into().ok());
        self.at += LENGTH;
        bytes.ok_or(CUT)
    }
}

const CUT: RenderError = RenderError::Broken("it is cut short");

fn defined(length: u32) -> Option<usize> {
    (length != u32::MAX).then_some(length as usize)
}
