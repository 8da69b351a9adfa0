//! An archive's description of a study below its own row, before it is mapped: the series, how rows are completed by the
//! metadata of objects, and how numbers are read.

use super::InstanceFacts;
use dicom_model::{Attributes, SeriesUid, Tag};

/// One series as an archive describes it.
#[derive(Debug, Clone)]
pub struct SeriesSource {
    /// SeriesInstanceUID (0020,000E).
    pub uid: SeriesUid,
    /// Series-level attributes.
    pub attributes: Attributes,
    /// The instances, if they were requested.
    pub instances: Option<Vec<InstanceFacts>>,
}

/// Replaces the elements `tags` of `row` by those of `object` that have a value.
pub(super) fn overlay(row: &mut Attributes, object: &Attributes, tags: &[Tag]) {
    for tag in tags {
        if let Some(element) = object.get(*tag).filter(|element| !element.values.is_empty()) {
            row.insert(*tag, element.clone());
        }
    }
}

/// R4 unsignedInt: a negative or fractional value is omitted.
pub(super) fn number(attributes: &Attributes, tag: Tag) -> Option<u32> {
    attributes
        .integer(tag)
        .and_then(|number| u32::try_from(number).ok())
        .filter(|number| i32::try_from(*number).is_ok())
}

/// The archive's count. If it is missing or too low, the known items are counted, provided that all of them are known.
pub(super) fn count(row: &Attributes, tag: Tag, known: Option<usize>) -> Option<u32> {
    let known = known.and_then(|count| u32::try_from(count).ok());
    number(row, tag).max(known)
}
