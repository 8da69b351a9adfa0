//! Building a data set from the events of a walk: the sequences and items that are open, and the character sets in force in each.

use super::super::data_set::{DataElement, DataSet, DataValue, is_text, swap_words, word_size};
use super::super::json::writer::Step;
use super::syntax::ElementHeader;
use crate::charset::{CharacterSets, Delimiters};
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry, VirtualVr};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags};
use std::rc::Rc;

/// A data set under construction.
#[derive(Default)]
pub(super) struct Tree {
    root: Level,
    open: Vec<OpenNode>,
}

/// One data set of the tree, and the character sets in force for it: an item inherits them from the data set around
/// it unless it names its own (PS3.3 C.12.1.1.2).
#[derive(Default)]
struct Level {
    data: DataSet,
    sets: Rc<CharacterSets>,
}

enum OpenNode {
    Sequence { tag: Tag, items: Vec<DataSet> },
    Item(Level),
}

impl Tree {
    pub(super) fn at_root(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether an element with this tag, where the tree is being built, is the one that `steps` lead to.
    pub(super) fn leads_to(&self, tag: Tag, steps: &[Step]) -> bool {
        let mut steps = steps.iter().copied();
        let mut next = |step| steps.next() == Some(step);
        let along = self.open.iter().all(|open| match open {
            OpenNode::Sequence { tag, items } => {
                next(Step::Attribute(*tag)) && next(Step::Item(items.len() + 1))
            }
            OpenNode::Item(_) => true,
        });
        along && next(Step::Attribute(tag)) && steps.next().is_none()
    }

    /// The representation of an element. Implicit VR leaves the choice between US and SS to Pixel Representation
    /// (PS3.5 A.1), which only the data set can tell. UN is what those write who do not know an attribute: where the
    /// dictionary does, it is told as what it is (PS3.5 6.2.2 note 3). Sequences are not, whose items stand inside of a value.
    pub(super) fn representation(&mut self, header: &ElementHeader) -> VR {
        let known = || StandardDataDictionary.by_tag(header.tag).map(DataDictionaryEntry::vr);
        let is_signed = |tree: &mut Self| tree.innermost().data.word(tags::PIXEL_REPRESENTATION) == Some(1);
        let big_endian = header.syntax.big_endian;
        match (header.vr, known()) {
            (VR::US, Some(VirtualVr::Xs)) if !header.syntax.explicit && is_signed(self) => VR::SS,
            (VR::UN, Some(VirtualVr::Xs)) if !big_endian => {
                if is_signed(self) {
                    VR::SS
                } else {
                    VR::US
                }
            }
            // What is unknown is little endian, whatever the order of the file.
            (VR::UN, Some(VirtualVr::Exact(vr))) if vr != VR::SQ && (is_text(vr) || !big_endian) => vr,
            (vr, _) => vr,
        }
    }

    /// Puts an element in. Of several with one tag the first counts.
    pub(super) fn insert(&mut self, tag: Tag, element: DataElement) {
        let level = self.innermost();
        // Group lengths describe the file and not the object (PS3.5 7.2).
        if tag.element() != 0 && level.data.get(tag).is_none() {
            level.data.insert(tag, element);
        }
    }

    pub(super) fn insert_bytes(&mut self, header: &ElementHeader, vr: VR, bytes: &[u8]) {
        let tag = header.tag;
        if !is_text(vr) {
            let mut bytes: Box<[u8]> = bytes.into();
            if header.syntax.big_endian {
                swap_words(&mut bytes, word_size(vr));
            }
            return self.insert(tag, DataElement { vr, value: DataValue::Binary(bytes) });
        }
        let level = self.innermost();
        let values = texts(vr, bytes, &level.sets);
        if tag == tags::SPECIFIC_CHARACTER_SET {
            level.sets = Rc::new(CharacterSets::from_terms(values.iter().map(AsRef::as_ref)));
        }
        self.insert(tag, DataElement { vr, value: DataValue::Text(values) });
    }

    pub(super) fn begin_sequence(&mut self, tag: Tag) {
        self.open.push(OpenNode::Sequence { tag, items: Vec::new() });
    }

    pub(super) fn begin_item(&mut self) {
        let sets = Rc::clone(&self.innermost().sets);
        self.open.push(OpenNode::Item(Level { data: DataSet::default(), sets }));
    }

    pub(super) fn end_item(&mut self) {
        if let (Some(OpenNode::Item(level)), Some(OpenNode::Sequence { items, .. })) =
            (self.open.pop(), self.open.last_mut())
        {
            items.push(level.data);
        }
    }

    pub(super) fn end_sequence(&mut self, wanted: impl Fn(Tag) -> bool) {
        if let Some(OpenNode::Sequence { tag, items }) = self.open.pop()
            && (!self.at_root() || wanted(tag))
        {
            self.insert(tag, DataElement { vr: VR::SQ, value: DataValue::Items(items) });
        }
    }

    /// The top-level elements that are complete.
    pub(super) fn finish(self) -> DataSet {
        self.root.data
    }

    fn innermost(&mut self) -> &mut Level {
        let Self { root, open, .. } = self;
        open.iter_mut()
            .rev()
            .find_map(|open| if let OpenNode::Item(level) = open { Some(level) } else { None })
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
