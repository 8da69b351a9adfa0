//! Building a data set from tokens: the sequences and items that are open, and the character sets in force in each.

use super::super::data_set::{DataSet, Element, Value, is_text, swap_words, word_size};
use super::super::json::Step;
use super::ReadError;
use crate::objects::charset::{CharacterSets, Delimiters};
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry, VirtualVr};
use dicom_core::{DataElementHeader, Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags, uids};
use dicom_encoding::transfer_syntax::{Endianness, TransferSyntax};
use std::rc::Rc;

/// Sequences nested deeper than any standard object's mean that the reader has lost its way.
const DEEPEST_NESTING: usize = 64;

/// A data set under construction.
pub(super) struct Tree {
    big_endian: bool,
    implicit: bool,
    root: Level,
    open: Vec<Open>,
}

/// One data set of the tree, and the character sets in force for it: an item inherits them from the data set around
/// it unless it names its own (PS3.3 C.12.1.1.2).
#[derive(Default)]
struct Level {
    data: DataSet,
    sets: Rc<CharacterSets>,
}

enum Open {
    Sequence {
        tag: Tag,
        items: Vec<DataSet>,
    },
    Item(Level),
    /// Encapsulated pixel data inside an item, an icon: stepped over.
    Fragments,
}

impl Tree {
    pub(super) fn new(syntax: &TransferSyntax) -> Self {
        Self {
            big_endian: syntax.endianness() == Endianness::Big,
            implicit: syntax.uid() == uids::IMPLICIT_VR_LITTLE_ENDIAN,
            root: Level::default(),
            open: Vec::new(),
        }
    }

    pub(super) fn at_root(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether an element with this tag, where the tree is being built, is the one that `steps` lead to.
    pub(super) fn leads_to(&self, tag: Tag, steps: &[Step]) -> bool {
        let mut steps = steps.iter().copied();
        let mut next = |step| steps.next() == Some(step);
        let along = self.open.iter().all(|open| match open {
            Open::Sequence { tag, items } => next(Step::Attribute(*tag)) && next(Step::Item(items.len() + 1)),
            Open::Item(_) => true,
            Open::Fragments => false,
        });
        along && next(Step::Attribute(tag)) && steps.next().is_none()
    }

    /// The representation of an element. Implicit VR leaves the choice between US and SS to Pixel Representation
    /// (PS3.5 A.1), which only the data set can tell. UN is what those write who do not know an attribute: where the
    /// dictionary does, it is told as what it is (PS3.5 6.2.2 note 3). Sequences are not, whose items stand inside of a value.
    pub(super) fn representation(&mut self, header: &DataElementHeader) -> VR {
        let known = || StandardDataDictionary.by_tag(header.tag).map(DataDictionaryEntry::vr);
        let is_signed = |tree: &mut Self| tree.innermost().data.word(tags::PIXEL_REPRESENTATION) == Some(1);
        match (header.vr, known()) {
            (VR::US, Some(VirtualVr::Xs)) if self.implicit && is_signed(self) => VR::SS,
            (VR::UN, Some(VirtualVr::Xs)) if !self.big_endian => {
                if is_signed(self) {
                    VR::SS
                } else {
                    VR::US
                }
            }
            // What is unknown is little endian, whatever the order of the file.
            (VR::UN, Some(VirtualVr::Exact(vr))) if vr != VR::SQ && (is_text(vr) || !self.big_endian) => vr,
            (vr, _) => vr,
        }
    }

    pub(super) fn insert(&mut self, tag: Tag, element: Element) {
        // Group lengths describe the file and not the object (PS3.5 7.2).
        if tag.element() != 0 {
            self.innermost().data.insert(tag, element);
        }
    }

    pub(super) fn insert_bytes(&mut self, tag: Tag, vr: VR, mut bytes: Vec<u8>) {
        if !is_text(vr) {
            if self.big_endian {
                swap_words(&mut bytes, word_size(vr));
            }
            return self.insert(tag, Element { vr, value: Value::Binary(bytes.into()) });
        }
        let level = self.innermost();
        let values = texts(vr, &bytes, &level.sets);
        if tag == tags::SPECIFIC_CHARACTER_SET {
            level.sets = Rc::new(CharacterSets::from_terms(values.iter().map(AsRef::as_ref)));
        }
        self.insert(tag, Element { vr, value: Value::Text(values) });
    }

    pub(super) fn enter_sequence(&mut self, tag: Tag) -> Result<(), ReadError> {
        self.enter(Open::Sequence { tag, items: Vec::new() })
    }

    pub(super) fn enter_fragments(&mut self) -> Result<(), ReadError> {
        self.enter(Open::Fragments)
    }

    fn enter(&mut self, open: Open) -> Result<(), ReadError> {
        if self.open.len() >= DEEPEST_NESTING {
            return Err(ReadError::Broken("sequences are nested too deeply".into()));
        }
        self.open.push(open);
        Ok(())
    }

    pub(super) fn enter_item(&mut self) {
        if !matches!(self.open.last(), Some(Open::Fragments)) {
            let sets = Rc::clone(&self.innermost().sets);
            self.open.push(Open::Item(Level { data: DataSet::default(), sets }));
        }
    }

    pub(super) fn leave_item(&mut self) -> Result<(), ReadError> {
        if matches!(self.open.last(), Some(Open::Fragments)) {
            return Ok(());
        }
        match (self.open.pop(), self.open.last_mut()) {
            (Some(Open::Item(level)), Some(Open::Sequence { items, .. })) => {
                items.push(level.data);
                Ok(())
            }
            _ => Err(ReadError::Broken("an item ends that never began".into())),
        }
    }

    pub(super) fn leave_sequence(&mut self, wanted: impl Fn(Tag) -> bool) -> Result<(), ReadError> {
        match self.open.pop() {
            Some(Open::Fragments) => Ok(()),
            Some(Open::Sequence { tag, items }) => {
                if !self.at_root() || wanted(tag) {
                    self.insert(tag, Element { vr: VR::SQ, value: Value::Items(items) });
                }
                Ok(())
            }
            _ => Err(ReadError::Broken("a sequence ends that never began".into())),
        }
    }

    /// The finished data set; an error when something is still open.
    pub(super) fn finish(self) -> Result<DataSet, ReadError> {
        if self.open.is_empty() { Ok(self.root.data) } else { Err(ReadError::Truncated) }
    }

    /// The top-level elements that are complete, as the rest is not wanted.
    pub(super) fn abandon(self) -> DataSet {
        self.root.data
    }

    fn innermost(&mut self) -> &mut Level {
        let Self { root, open, .. } = self;
        open.iter_mut()
            .rev()
            .find_map(|open| if let Open::Item(level) = open { Some(level) } else { None })
            .unwrap_or(root)
    }
}

/// The values of a textual element: decoded, parted, without padding (PS3.5 6.2).
fn texts(vr: VR, bytes: &[u8], sets: &CharacterSets) -> Vec<Box<str>> {
    let padding: &[char] = &[' ', '\0'];
    let values: Vec<Box<str>> = match vr {
        VR::LT | VR::ST | VR::UT => {
            vec![sets.decode(bytes, Delimiters::Text).trim_end_matches(padding).into()]
        }
        VR::UR => {
            vec![CharacterSets::default().decode(bytes, Delimiters::Text).trim_end_matches(padding).into()]
        }
        VR::PN | VR::LO | VR::SH | VR::UC => {
            let delimiters = if vr == VR::PN { Delimiters::Names } else { Delimiters::Values };
            sets.decode_values(bytes, delimiters)
                .iter()
                .map(|value| value.trim_matches(padding).into())
                .collect()
        }
        _ => CharacterSets::default()
            .decode_values(bytes, Delimiters::Values)
            .iter()
            .map(|value| value.trim_matches(padding).into())
            .collect(),
    };
    if values.iter().all(|value| value.is_empty()) && values.len() == 1 { Vec::new() } else { values }
}
