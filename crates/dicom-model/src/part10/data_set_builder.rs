//! Builds a data set from the events of [`super::element_reader`]: nested sequences and items, and the character sets of each (PS3.3
//! C.12.1.1.2). This module does not read bytes.

use super::super::data_set::{DataElement, DataSet, DataValue, is_text, swap_words, word_size};
use super::super::json::writer::Step;
use super::syntax::ElementHeader;
use crate::charset::{CharacterSets, Delimiters};
use crate::native_pixel_data::pixel_word_size;
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use std::rc::Rc;

/// A data set under construction.
#[derive(Default)]
pub(super) struct DataSetBuilder {
    root: UnfinishedDataSet,
    containers: Vec<UnfinishedContainer>,
}

/// The top-level data set or an item, with its character sets: an item inherits them from the enclosing data set unless it
/// declares its own (PS3.3 C.12.1.1.2).
#[derive(Default)]
struct UnfinishedDataSet {
    data: DataSet,
    character_sets: Rc<CharacterSets>,
}

enum UnfinishedContainer {
    Sequence { tag: Tag, items: Vec<DataSet> },
    Item(UnfinishedDataSet),
}

impl DataSetBuilder {
    pub(super) fn is_at_root(&self) -> bool {
        self.containers.is_empty()
    }

    /// Whether the path `steps` identifies the element `tag` at the current position.
    pub(super) fn is_at(&self, tag: Tag, steps: &[Step]) -> bool {
        let mut steps = steps.iter().copied();
        let mut next = |step| steps.next() == Some(step);
        let matches_containers = self.containers.iter().all(|container| match container {
            UnfinishedContainer::Sequence { tag, items } => {
                next(Step::Attribute(*tag)) && next(Step::Item(items.len() + 1))
            }
            UnfinishedContainer::Item(_) => true,
        });
        matches_containers && next(Step::Attribute(tag)) && steps.next().is_none()
    }

    /// Returns the value representation of an element.
    pub(super) fn vr_of(&mut self, header: &ElementHeader) -> VR {
        header.resolve_vr(|| self.innermost().data.word(tags::PIXEL_REPRESENTATION))
    }

    /// Returns the size in bytes of the words that must be swapped to convert a value to little-endian order (PS3.5
    /// 7.3); 1 if it needs no conversion. The size for pixel data depends on Bits Allocated, which precedes the pixel data.
    pub(super) fn swapped_word_size(&mut self, header: &ElementHeader) -> usize {
        if !header.syntax.big_endian {
            return 1;
        }
        let vr = self.vr_of(header);
        if header.tag != tags::PIXEL_DATA {
            return word_size(vr);
        }
        pixel_word_size(vr, self.innermost().data.word(tags::BITS_ALLOCATED).unwrap_or_default())
    }

    /// Inserts an element. If a tag occurs more than once, the first element is used.
    pub(super) fn insert(&mut self, tag: Tag, element: DataElement) {
        let data_set = self.innermost();
        // Group lengths describe the file, not the object (PS3.5 7.2).
        if tag.element() != 0 && data_set.data.get(tag).is_none() {
            data_set.data.insert(tag, element);
        }
    }

    pub(super) fn insert_bytes(&mut self, header: &ElementHeader, vr: VR, bytes: &[u8]) {
        let tag = header.tag;
        if !is_text(vr) {
            let mut bytes: Box<[u8]> = bytes.into();
            swap_words(&mut bytes, self.swapped_word_size(header));
            return self.insert(tag, DataElement { vr, value: DataValue::Binary(bytes) });
        }
        let data_set = self.innermost();
        let values = decode_texts(vr, bytes, &data_set.character_sets);
        if tag == tags::SPECIFIC_CHARACTER_SET {
            data_set.character_sets = Rc::new(CharacterSets::from_terms(values.iter().map(AsRef::as_ref)));
        }
        self.insert(tag, DataElement { vr, value: DataValue::Text(values) });
    }

    pub(super) fn begin_sequence(&mut self, tag: Tag) {
        self.containers.push(UnfinishedContainer::Sequence { tag, items: Vec::new() });
    }

    pub(super) fn begin_item(&mut self) {
        let character_sets = Rc::clone(&self.innermost().character_sets);
        self.containers
            .push(UnfinishedContainer::Item(UnfinishedDataSet { data: DataSet::default(), character_sets }));
    }

    pub(super) fn end_item(&mut self) {
        if let (
            Some(UnfinishedContainer::Item(data_set)),
            Some(UnfinishedContainer::Sequence { items, .. }),
        ) = (self.containers.pop(), self.containers.last_mut())
        {
            items.push(data_set.data);
        }
    }

    pub(super) fn end_sequence(&mut self, is_requested: impl Fn(Tag) -> bool) {
        if let Some(UnfinishedContainer::Sequence { tag, items }) = self.containers.pop()
            && (!self.is_at_root() || is_requested(tag))
        {
            self.insert(tag, DataElement { vr: VR::SQ, value: DataValue::Items(items) });
        }
    }

    /// Returns the complete top-level elements.
    pub(super) fn finish(self) -> DataSet {
        self.root.data
    }

    /// Returns the innermost item, or the top-level data set.
    fn innermost(&mut self) -> &mut UnfinishedDataSet {
        let Self { root, containers, .. } = self;
        containers
            .iter_mut()
            .rev()
            .find_map(
                |container| {
                    if let UnfinishedContainer::Item(data_set) = container { Some(data_set) } else { None }
                },
            )
            .unwrap_or(root)
    }
}

/// Decodes a textual value and splits it into its values, without padding (PS3.5 6.2).
fn decode_texts(vr: VR, bytes: &[u8], character_sets: &CharacterSets) -> Vec<Box<str>> {
    let padding: &[char] = &[' ', '\0'];
    let values: Vec<Box<str>> = match vr {
        VR::LT | VR::ST | VR::UT => {
            vec![character_sets.decode(bytes, Delimiters::Text).trim_end_matches(padding).into()]
        }
        VR::UR => {
            vec![CharacterSets::default().decode(bytes, Delimiters::Text).trim_end_matches(padding).into()]
        }
        VR::PN | VR::LO | VR::SH | VR::UC => {
            let delimiters = if vr == VR::PN { Delimiters::Names } else { Delimiters::Values };
            character_sets
                .decode_values(bytes, delimiters)
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
    if values.len() == 1 && values[0].is_empty() { Vec::new() } else { values }
}
