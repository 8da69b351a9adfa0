//! The series of a study as an archive describes them, before the mapping: how the metadata of objects completes rows, and
//! how numbers are read.

use super::MappedInstance;
use dicom_model::{Attributes, SeriesUid, Tag};

/// One series as an archive describes it.
#[derive(Debug, Clone)]
pub struct SeriesRecord {
    /// SeriesInstanceUID (0020,000E).
    pub uid: SeriesUid,
    /// Series-level attributes.
    pub attributes: Attributes,
    /// The instances, if they were requested.
    pub instances: Option<Vec<MappedInstance>>,
}

/// Copies the elements `tags` that have a value from `object` to `row`.
pub(super) fn overlay(row: &mut Attributes, object: &Attributes, tags: &[Tag]) {
    for tag in tags {
        if let Some(element) = object.get(*tag).filter(|element| !element.values.is_empty()) {
            row.insert(*tag, element.clone());
        }
    }
}

/// Copies the elements `tags` that have a value from `object` to `row`, unless `row` has a value that has not lost characters of it.
pub(super) fn complete(row: &mut Attributes, object: &Attributes, tags: &[Tag]) {
    let is_missing = |tag: &Tag| !has_value(row, *tag) || row.has_lost_characters_of(object, *tag);
    let missing: Vec<_> = tags.iter().copied().filter(is_missing).collect();
    overlay(row, object, &missing);
}

/// Whether `row` and `object` have the same value in `tag`, or one of them has none.
pub(super) fn agree(row: &Attributes, object: &Attributes, tag: Tag) -> bool {
    !has_value(row, tag) || !has_value(object, tag) || row.get(tag) == object.get(tag)
}

fn has_value(attributes: &Attributes, tag: Tag) -> bool {
    attributes.get(tag).is_some_and(|element| !element.values.is_empty())
}

/// Reads an unsignedInt of R4; `None` for a negative or fractional value.
pub(super) fn number(attributes: &Attributes, tag: Tag) -> Option<u32> {
    attributes
        .integer(tag)
        .and_then(|number| u32::try_from(number).ok())
        .filter(|number| i32::try_from(*number).is_ok())
}

/// Returns the count in `tag`, or the number of items if the count is missing or lower. `item_count` is `None` if not all items
/// are known.
pub(super) fn count(row: &Attributes, tag: Tag, item_count: Option<usize>) -> Option<u32> {
    let item_count = item_count.and_then(|count| u32::try_from(count).ok());
    number(row, tag).max(item_count)
}
