//! The UIDs of the parents of rows, from the URL of the request, because rows of DICOM-RST lack them.
//!
//! A UID that the URL does not contain is not added: the rows of a search for the instances of a study get no Series Instance UID.
//! DICOM-RST returns the whole study for a series or an instance, so rows whose UIDs differ from the URL are omitted.

use bytes::Bytes;

use super::row::{Element, add_missing};
use crate::upstream::{DicomResource, SearchLevel};
use dicom_model::{Attributes, SeriesUid, SopInstanceUid, StudyUid, Tag, Value, tags};

/// The UIDs in a URL, which each row of the response must have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Parents {
    study: Option<StudyUid>,
    series: Option<SeriesUid>,
    instance: Option<SopInstanceUid>,
}

impl Parents {
    /// Returns the parents of the rows of a search.
    pub(super) fn of_search(level: &SearchLevel) -> Self {
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

    /// Returns the parents of the metadata of `objects`.
    pub(super) fn of_objects(objects: &DicomResource) -> Self {
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

    /// Whether the URL contains no UID.
    pub(super) fn is_empty(&self) -> bool {
        self.study.is_none()
    }

    /// Whether no UID of `row`, an object in DICOM JSON, differs from these UIDs; `None` if the row cannot be compared.
    pub(super) fn match_row(&self, row: &str) -> Option<bool> {
        let tags: Vec<_> = self.uids().map(|(tag, _)| tag).collect();
        let attributes = Attributes::read_elements(row, &tags).ok()?;
        let is_uid = |value: &Value, uid: &str| matches!(value, Value::Text(text) if **text == *uid);
        Some(self.uids().all(|(tag, uid)| {
            attributes.get(tag).is_none_or(|element| element.values.iter().all(|value| is_uid(value, uid)))
        }))
    }

    /// Adds the UIDs that `row` lacks.
    pub(super) fn add_to(&self, row: Bytes, attributes: &Attributes) -> Bytes {
        let elements: Vec<_> =
            self.uids().map(|(tag, uid)| Element::new(tag, "UI", &[format!("\"{uid}\"")])).collect();
        add_missing(row, attributes, &elements)
    }

    fn uids(&self) -> impl Iterator<Item = (Tag, &str)> {
        let study = self.study.as_ref().map(|uid| (tags::STUDY_INSTANCE_UID, uid.as_str()));
        let series = self.series.as_ref().map(|uid| (tags::SERIES_INSTANCE_UID, uid.as_str()));
        let instance = self.instance.as_ref().map(|uid| (tags::SOP_INSTANCE_UID, uid.as_str()));
        [study, series, instance].into_iter().flatten()
    }
}
