//! The elements of which the archives of one study have different values. The merged resource has the value of the first archive, and
//! a tag (R4 resource-definitions.html#Meta.tag) for each such element.

use std::collections::BTreeSet;

use fhir_r4::types::{Coding, ImagingStudy};

/// The code system of the tags. A code is the path of an element below ImagingStudy, such as `description` or `series.laterality`.
pub const DIFFERING_ELEMENT: &str =
    "https://github.com/dicomweb-gateway/dicomweb-gateway/CodeSystem/differing-element";

/// The paths of the elements with different values.
#[derive(Debug, Default)]
pub(super) struct Differences(BTreeSet<&'static str>);

impl Differences {
    /// Sets `first`, the value of the first archive that has one, to `other` if it has none. Different values are a difference of
    /// the element at `path`.
    pub(super) fn keep_first<T: PartialEq>(
        &mut self,
        path: &'static str,
        first: &mut Option<T>,
        other: Option<T>,
    ) {
        match (&*first, other) {
            (Some(first), Some(other)) => self.compare(path, first, &other),
            (None, other) => *first = other,
            (Some(_), None) => {}
        }
    }

    /// Does the same as [`keep_first`](Self::keep_first) for an element that repeats.
    pub(super) fn keep_first_list<T: PartialEq>(
        &mut self,
        path: &'static str,
        first: &mut Vec<T>,
        other: Vec<T>,
    ) {
        if first.is_empty() {
            *first = other;
        } else if !other.is_empty() {
            self.compare(path, first, &other);
        }
    }

    /// Records a difference of the element at `path` if the values are not equal.
    pub(super) fn compare<T: PartialEq + ?Sized>(&mut self, path: &'static str, first: &T, other: &T) {
        if first != other {
            self.0.insert(path);
        }
    }

    /// Adds a tag for each difference.
    pub(super) fn add_tags(self, study: &mut ImagingStudy) {
        let tag = |path: &'static str| {
            let display = format!("The archives have different values of {path}");
            Coding::new(DIFFERING_ELEMENT, path, Some(display.into()))
        };
        study.meta.tag.extend(self.0.into_iter().map(tag));
    }
}

/// Returns the paths of the elements of which the archives of a study have different values, according to its tags.
pub fn differing_elements(tags: &[Coding]) -> impl Iterator<Item = &str> {
    let is_difference = |tag: &&Coding| tag.system.as_deref() == Some(DIFFERING_ELEMENT);
    tags.iter().filter(is_difference).filter_map(|tag| tag.code.as_deref())
}
