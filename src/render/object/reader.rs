//! Element by element through a data set (PS3.5 7.1 and 7.5), in each of the ways of writing one.

use bytes::Bytes;
use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::super::{RenderError, annotation};
use super::{DataSet, Element, Fragment, Order, PixelData};

/// Sequences nested deeper than any standard object's mean that the reader has lost its way.
const DEEPEST_NESTING: usize = 64;

/// The elements that pixels are drawn with, and the sequences in which some of them stand.
const NEEDED: &[Tag] = &[
    tags::SAMPLES_PER_PIXEL,
    tags::PHOTOMETRIC_INTERPRETATION,
    tags::PLANAR_CONFIGURATION,
    tags::NUMBER_OF_FRAMES,
    tags::FRAME_TIME,
    tags::CINE_RATE,
    tags::RECOMMENDED_DISPLAY_FRAME_RATE,
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

/// How elements are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Syntax {
    pub(super) explicit: bool,
    pub(super) big_endian: bool,
}

pub(super) const EXPLICIT: Syntax = Syntax { explicit: true, big_endian: false };
pub(super) const IMPLICIT: Syntax = Syntax { explicit: false, big_endian: false };

/// What stands before a value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) tag: Tag,
    vr: Option<[u8; 2]>,
    /// None where the value runs to a delimiter.
    pub(super) length: Option<usize>,
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

/// A place in a data set.
pub(super) struct Reader {
    bytes: Bytes,
    at: usize,
    syntax: Syntax,
}

impl Reader {
    /// At the element of `bytes` that stands `at` there.
    pub(super) fn new(bytes: Bytes, at: usize, syntax: Syntax) -> Self {
        Self { bytes, at, syntax }
    }

    /// Where it stands.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// The elements of this level up to its pixels or its end.
    pub(super) fn object(&mut self) -> Result<(DataSet, Option<PixelData>), RenderError> {
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

    /// What stands before the next value.
    pub(super) fn header(&mut self) -> Result<Header, RenderError> {
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

    /// The next value, which the header before it says to be as long.
    pub(super) fn value(&mut self, length: Option<usize>) -> Result<Bytes, RenderError> {
        let length = length.ok_or(RenderError::Broken("a value has no end"))?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len()).ok_or(CUT)?;
        let value = self.bytes.slice(self.at..end);
        self.at = end;
        Ok(value)
    }

    /// The group of the next element.
    pub(super) fn peek_group(&self) -> Option<u16> {
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
