//! Reads a data set element by element (PS3.5 7): values, sequences and their items, in every encoding.
//!
//! This is the only parser of data sets. It stores only the open sequences and items. This module does not know about values.

use super::ReadError;
use super::source::Source;
use super::syntax::{ElementHeader, IMPLICIT, ITEM, ITEM_DELIMITATION, SEQUENCE_DELIMITATION, Syntax};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

/// Maximum depth of nested sequences. The nesting of standard objects is not as deep, so deeper nesting means an invalid file.
const MAX_NESTING: usize = 64;

/// The next part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// An element and the length of its value in bytes. The caller reads or skips the value.
    Value(ElementHeader, u32),
    /// Encapsulated pixel data (PS3.5 A.4). The caller reads or skips the fragments, or stops reading.
    Fragments(ElementHeader),
    BeginSequence(Tag, Syntax),
    BeginItem,
    /// The end of an item, with the position after its last element.
    EndItem(u64),
    EndSequence,
}

/// An open sequence or item. Its `end` is `None` if a delimiter ends it.
#[derive(Debug, Clone, Copy)]
enum OpenContainer {
    Sequence { end: Option<u64>, syntax: Syntax },
    Item { end: Option<u64>, syntax: Syntax },
}

/// Reads the elements of a data set in their order.
#[derive(Debug)]
pub(super) struct ElementReader<S> {
    source: S,
    syntax: Syntax,
    open_containers: Vec<OpenContainer>,
}

impl<S: Source> ElementReader<S> {
    /// Creates a reader that begins at the first element.
    pub(super) fn new(source: S, syntax: Syntax) -> Self {
        Self { source, syntax, open_containers: Vec::new() }
    }

    /// Returns the number of open sequences and items.
    pub(super) fn depth(&self) -> usize {
        self.open_containers.len()
    }

    /// Returns the position in the source.
    pub(super) fn position(&self) -> u64 {
        self.source.position()
    }

    /// Returns the source, to read or skip values.
    pub(super) fn source(&mut self) -> &mut S {
        &mut self.source
    }

    /// Returns the next event; `None` at the end of the data set.
    pub(super) fn next(&mut self) -> Result<Option<Event>, ReadError> {
        match self.open_containers.last().copied() {
            None => self.next_element(self.syntax, None),
            Some(OpenContainer::Sequence { end, syntax }) => self.next_item(end, syntax).map(Some),
            Some(OpenContainer::Item { end: Some(end), .. }) if self.position() == end => {
                self.open_containers.pop();
                Ok(Some(Event::EndItem(end)))
            }
            Some(OpenContainer::Item { end, syntax }) => self.next_element(syntax, Some(end.is_none())),
        }
    }

    /// Returns the smallest end of the open sequences and items of defined length.
    fn limit(&self) -> u64 {
        let ends = self.open_containers.iter().rev().filter_map(|container| match container {
            OpenContainer::Sequence { end, .. } | OpenContainer::Item { end, .. } => *end,
        });
        ends.min().unwrap_or(u64::MAX)
    }

    /// Returns the end of the next `length` bytes. Fails if it is after the end of the enclosing sequence or item.
    fn end_of(&self, length: u32) -> Result<u64, ReadError> {
        let end = self.position() + u64::from(length);
        if end > self.limit() {
            return Err(ReadError::Malformed(
                "an element or item is longer than the item or sequence that contains it",
            ));
        }
        Ok(end)
    }

    fn next_item(&mut self, end: Option<u64>, syntax: Syntax) -> Result<Event, ReadError> {
        if end == Some(self.position()) {
            self.open_containers.pop();
            return Ok(Event::EndSequence);
        }
        let start = *self.source.peek(8)?.first_chunk().ok_or(ReadError::Truncated)?;
        let (tag, length) = syntax.item_header(start);
        self.end_of(8)?;
        self.source.skip(8)?;
        match (tag, length) {
            (SEQUENCE_DELIMITATION, _) if end.is_none() => {
                self.open_containers.pop();
                Ok(Event::EndSequence)
            }
            (ITEM, length) => {
                let end = length.map(|length| self.end_of(length)).transpose()?;
                self.open_containers.push(OpenContainer::Item { end, syntax });
                Ok(Event::BeginItem)
            }
            _ => Err(ReadError::Malformed("a sequence contains an element that is not an item")),
        }
    }

    /// Reads the header of the next element. `item_has_delimiter` is `None` at the top level; in an item it states whether a delimiter
    /// ends the item.
    fn next_element(
        &mut self,
        syntax: Syntax,
        item_has_delimiter: Option<bool>,
    ) -> Result<Option<Event>, ReadError> {
        let bytes = self.source.peek(8)?;
        let Some(start) = bytes.first_chunk::<8>().copied() else {
            // Some writers pad the file after its last element.
            let is_end = item_has_delimiter.is_none() && bytes.iter().all(|byte| *byte == 0);
            return if is_end { Ok(None) } else { Err(ReadError::Truncated) };
        };
        if item_has_delimiter.is_none() && start[..4] == [0; 4] {
            return self.skip_padding().map(|()| None);
        }
        let length = syntax.header_length(start);
        let header = syntax.header(self.source.peek(length)?.get(..length).ok_or(ReadError::Truncated)?);
        let header = header.ok_or(ReadError::Truncated)?;
        if header.tag.group() == ITEM.group() {
            if header.tag != ITEM_DELIMITATION || item_has_delimiter != Some(true) {
                return Err(ReadError::Malformed("a delimiter without a sequence or item"));
            }
            let end = self.position();
            self.source.skip(8)?;
            self.open_containers.pop();
            return Ok(Some(Event::EndItem(end)));
        }
        self.end_of(u32::try_from(length).unwrap_or_default())?;
        self.source.skip(length as u64)?;
        match header.length {
            None if is_fragmented(header) => Ok(Some(Event::Fragments(header))),
            // UN of undefined length is a sequence in Implicit VR Little Endian (PS3.5 6.2.2).
            None => {
                self.begin_sequence(header.tag, None, if header.vr == VR::UN { IMPLICIT } else { syntax })
            }
            Some(length) => {
                let end = self.end_of(length)?;
                if header.vr == VR::SQ {
                    return self.begin_sequence(header.tag, Some(end), syntax);
                }
                Ok(Some(Event::Value(header, length)))
            }
        }
    }

    fn begin_sequence(
        &mut self,
        tag: Tag,
        end: Option<u64>,
        syntax: Syntax,
    ) -> Result<Option<Event>, ReadError> {
        if self.open_containers.len() >= 2 * MAX_NESTING {
            return Err(ReadError::Malformed("sequences are nested too deep"));
        }
        self.open_containers.push(OpenContainer::Sequence { end, syntax });
        Ok(Some(Event::BeginSequence(tag, syntax)))
    }

    /// Skips the zero bytes after a data set.
    fn skip_padding(&mut self) -> Result<(), ReadError> {
        loop {
            let bytes = self.source.peek(8)?;
            if bytes.is_empty() {
                return Ok(());
            }
            if bytes.iter().any(|byte| *byte != 0) {
                return Err(ReadError::Malformed("an element without a tag"));
            }
            let length = bytes.len() as u64;
            self.source.skip(length)?;
        }
    }

    /// Skips the fragments of encapsulated pixel data, whose header was the last event.
    pub(super) fn skip_fragments(&mut self) -> Result<(), ReadError> {
        while let Some(length) = self.next_fragment()? {
            self.end_of(length)?;
            self.source.skip(length.into())?;
        }
        Ok(())
    }

    /// Reads the header of the next fragment and returns its length; `None` after the last fragment.
    pub(super) fn next_fragment(&mut self) -> Result<Option<u32>, ReadError> {
        let start = *self.source.peek(8)?.first_chunk().ok_or(ReadError::Truncated)?;
        self.end_of(8)?;
        self.source.skip(8)?;
        match IMPLICIT.item_header(start) {
            (ITEM, Some(length)) => Ok(Some(length)),
            (SEQUENCE_DELIMITATION, _) => Ok(None),
            _ => Err(ReadError::Malformed("the fragments have no delimiter")),
        }
    }
}

/// Whether a value of undefined length consists of fragments and not of items.
fn is_fragmented(header: ElementHeader) -> bool {
    let is_other_vr = matches!(header.vr, VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW);
    header.tag == tags::PIXEL_DATA || header.syntax.explicit && is_other_vr
}
