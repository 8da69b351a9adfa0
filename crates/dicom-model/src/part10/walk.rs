//! Element by element through a data set (PS3.5 7): values, sequences and their items, in every way of writing them.
//!
//! This is the only grammar of data sets. It holds nothing of them but which sequences and items are open.

use super::ReadError;
use super::source::Source;
use super::syntax::{ElementHeader, IMPLICIT, ITEM, ITEM_DELIMITATION, SEQUENCE_DELIMITATION, Syntax};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

/// Sequences nested deeper than any standard object's mean that the reader has lost its way.
const MAX_NESTING: usize = 64;

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// An element of so many bytes, which whoever walks takes or skips.
    Value(ElementHeader, u32),
    /// Encapsulated pixel data (PS3.5 A.4), whose items whoever walks reads, skips or leaves.
    Fragments(ElementHeader),
    BeginSequence(Tag, Syntax),
    BeginItem,
    /// An item ends, and its last element here.
    EndItem(u64),
    EndSequence,
}

/// What is open, and where it ends; none where a delimiter ends it.
#[derive(Debug, Clone, Copy)]
enum Open {
    Sequence { end: Option<u64>, syntax: Syntax },
    Item { end: Option<u64>, syntax: Syntax },
}

/// A place in a data set.
#[derive(Debug)]
pub(super) struct Walk<S> {
    source: S,
    syntax: Syntax,
    open: Vec<Open>,
}

impl<S: Source> Walk<S> {
    /// At the first element.
    pub(super) fn new(source: S, syntax: Syntax) -> Self {
        Self { source, syntax, open: Vec::new() }
    }

    /// How many sequences and items are open.
    pub(super) fn depth(&self) -> usize {
        self.open.len()
    }

    /// Where in the source it is.
    pub(super) fn position(&self) -> u64 {
        self.source.position()
    }

    /// Whence values are read.
    pub(super) fn source(&mut self) -> &mut S {
        &mut self.source
    }

    /// The next event; none at the end of the data set.
    pub(super) fn next(&mut self) -> Result<Option<Event>, ReadError> {
        match self.open.last().copied() {
            None => self.element(self.syntax, None),
            Some(Open::Sequence { end, syntax }) => self.item(end, syntax).map(Some),
            Some(Open::Item { end: Some(end), .. }) if self.position() == end => {
                self.open.pop();
                Ok(Some(Event::EndItem(end)))
            }
            Some(Open::Item { end, syntax }) => self.element(syntax, Some(end.is_none())),
        }
    }

    /// Where the innermost thing ends that has a length.
    fn limit(&self) -> u64 {
        let ends = self.open.iter().rev().filter_map(|open| match open {
            Open::Sequence { end, .. } | Open::Item { end, .. } => *end,
        });
        ends.min().unwrap_or(u64::MAX)
    }

    /// Where what comes next ends, when it is so long.
    fn end_of(&self, length: u32) -> Result<u64, ReadError> {
        let end = self.position() + u64::from(length);
        if end > self.limit() {
            return Err(ReadError::Broken("something is longer than what holds it"));
        }
        Ok(end)
    }

    fn item(&mut self, end: Option<u64>, syntax: Syntax) -> Result<Event, ReadError> {
        if end == Some(self.position()) {
            self.open.pop();
            return Ok(Event::EndSequence);
        }
        let start = *self.source.peek(8)?.first_chunk().ok_or(ReadError::Truncated)?;
        let (tag, length) = syntax.item_header(start);
        self.end_of(8)?;
        self.source.skip(8)?;
        match (tag, length) {
            (SEQUENCE_DELIMITATION, _) if end.is_none() => {
                self.open.pop();
                Ok(Event::EndSequence)
            }
            (ITEM, length) => {
                let end = length.map(|length| self.end_of(length)).transpose()?;
                self.open.push(Open::Item { end, syntax });
                Ok(Event::BeginItem)
            }
            _ => Err(ReadError::Broken("a sequence holds something else than items")),
        }
    }

    /// The next element; of an item it says whether a delimiter ends that.
    fn element(&mut self, syntax: Syntax, of_item: Option<bool>) -> Result<Option<Event>, ReadError> {
        let bytes = self.source.peek(8)?;
        let Some(start) = bytes.first_chunk::<8>().copied() else {
            // Some writers pad the file behind its last element.
            let is_end = of_item.is_none() && bytes.iter().all(|byte| *byte == 0);
            return if is_end { Ok(None) } else { Err(ReadError::Truncated) };
        };
        if of_item.is_none() && start[..4] == [0; 4] {
            return self.padding().map(|()| None);
        }
        let length = syntax.header_length(start);
        let header = syntax.header(self.source.peek(length)?.get(..length).ok_or(ReadError::Truncated)?);
        let header = header.ok_or(ReadError::Truncated)?;
        if header.tag.group() == ITEM.group() {
            if header.tag != ITEM_DELIMITATION || of_item != Some(true) {
                return Err(ReadError::Broken("a delimiter ends nothing"));
            }
            let end = self.position();
            self.source.skip(8)?;
            self.open.pop();
            return Ok(Some(Event::EndItem(end)));
        }
        self.end_of(u32::try_from(length).unwrap_or_default())?;
        self.source.skip(length as u64)?;
        match header.length {
            None if is_fragmented(header) => Ok(Some(Event::Fragments(header))),
            // What a writer did not know it wrote as Implicit VR Little Endian (PS3.5 6.2.2).
            None => self.sequence(header.tag, None, if header.vr == VR::UN { IMPLICIT } else { syntax }),
            Some(length) => {
                let end = self.end_of(length)?;
                if header.vr == VR::SQ {
                    return self.sequence(header.tag, Some(end), syntax);
                }
                Ok(Some(Event::Value(header, length)))
            }
        }
    }

    fn sequence(&mut self, tag: Tag, end: Option<u64>, syntax: Syntax) -> Result<Option<Event>, ReadError> {
        if self.open.len() >= 2 * MAX_NESTING {
            return Err(ReadError::Broken("its sequences are nested too deeply"));
        }
        self.open.push(Open::Sequence { end, syntax });
        Ok(Some(Event::BeginSequence(tag, syntax)))
    }

    /// Reads the zeros behind a data set.
    fn padding(&mut self) -> Result<(), ReadError> {
        loop {
            let bytes = self.source.peek(8)?;
            if bytes.is_empty() {
                return Ok(());
            }
            if bytes.iter().any(|byte| *byte != 0) {
                return Err(ReadError::Broken("an element without a tag"));
            }
            let length = bytes.len() as u64;
            self.source.skip(length)?;
        }
    }

    /// Steps over encapsulated pixel data, whose header was the last event.
    pub(super) fn skip_fragments(&mut self) -> Result<(), ReadError> {
        while let Some(length) = self.fragment()? {
            self.end_of(length)?;
            self.source.skip(length.into())?;
        }
        Ok(())
    }

    /// The length of the next fragment, whose bytes come next; none behind the last one.
    pub(super) fn fragment(&mut self) -> Result<Option<u32>, ReadError> {
        let start = *self.source.peek(8)?.first_chunk().ok_or(ReadError::Truncated)?;
        self.end_of(8)?;
        self.source.skip(8)?;
        match IMPLICIT.item_header(start) {
            (ITEM, Some(length)) => Ok(Some(length)),
            (SEQUENCE_DELIMITATION, _) => Ok(None),
            _ => Err(ReadError::Broken("its fragments have no end")),
        }
    }
}

/// Whether a value of undefined length is made of fragments and not of items.
fn is_fragmented(header: ElementHeader) -> bool {
    let is_other = matches!(header.vr, VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW);
    header.tag == tags::PIXEL_DATA || header.syntax.explicit && is_other
}
