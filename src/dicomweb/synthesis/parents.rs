//! The UIDs of what rows lie below, out of the address that was asked for: DICOM-RST leaves them out.
//!
//! What the address does not tell is not invented: instances of a study get no series. The same archive answers for a series
//! or an instance with its whole study, so rows that say of themselves that they lie elsewhere are no part of the list.

use bytes::Bytes;

use super::row::{Element, completed};
use crate::upstream::{DicomResource, SearchLevel};
use dicom_model::{Attributes, SeriesUid, SopInstanceUid, StudyUid, Tag, tags};

/// What an address says that each of its rows belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::dicomweb) struct Parents {
    study: Option<StudyUid>,
    series: Option<SeriesUid>,
    instance: Option<SopInstanceUid>,
}

impl Parents {
    /// Of the rows of a search.
    pub(in crate::dicomweb) fn of_search(level: &SearchLevel) -> Self {
        match level {
            SearchLevel::Studies | SearchLevel::AllSeries | SearchLevel::AllInstances => Self::default(),
            SearchLevel::Series { study } | SearchLevel::Instances { study } => {
                Self { study: Some(study.clone()), ..Self::default() }
            }
            SearchLevel::SeriesInstances { study, series } => {
                Self { study: Some(study.clone()), series: Some(series.clone()), instance: None }
            }
        }
    }

    /// Of the metadata of `objects`.
    pub(in crate::dicomweb) fn of_objects(objects: &DicomResource) -> Self {
        match objects {
            DicomResource::Study(study) => Self { study: Some(study.clone()), ..Self::default() },
            DicomResource::Series(study, series) => {
                Self { study: Some(study.clone()), series: Some(series.clone()), instance: None }
            }
            DicomResource::Instance(study, series, instance)
            | DicomResource::Frames(study, series, instance, _) => Self {
                study: Some(study.clone()),
                series: Some(series.clone()),
                instance: Some(instance.clone()),
            },
        }
    }

    /// Whether the address tells nothing.
    pub(in crate::dicomweb) fn is_empty(&self) -> bool {
        self.study.is_none()
    }

    /// Whether a row does not say that it lies elsewhere.
    pub(in crate::dicomweb) fn have(&self, attributes: &Attributes) -> bool {
        self.uids().all(|(tag, uid)| attributes.text(tag).is_none_or(|told| told == uid))
    }

    /// `row` with these UIDs, where it lacks them.
    pub(super) fn put_into(&self, row: Bytes, attributes: &Attributes) -> Bytes {
        let elements: Vec<_> =
            self.uids().map(|(tag, uid)| Element::new(tag, "UI", &[format!("\"{uid}\"")])).collect();
        completed(row, attributes, &elements)
    }

    fn uids(&self) -> impl Iterator<Item = (Tag, &str)> {
        let study = self.study.as_ref().map(|uid| (tags::STUDY_INSTANCE_UID, uid.as_str()));
        let series = self.series.as_ref().map(|uid| (tags::SERIES_INSTANCE_UID, uid.as_str()));
        let instance = self.instance.as_ref().map(|uid| (tags::SOP_INSTANCE_UID, uid.as_str()));
        [study, series, instance].into_iter().flatten()
    }
}
