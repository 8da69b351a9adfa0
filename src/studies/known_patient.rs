//! The patient that a Patient id identifies, in a form by which archives can be searched. The id itself is in no archive.

use super::row::{RowWithoutUid, StudyRow};
use crate::cache::{CacheEntry, CacheKey};
use dicom_model::{StudyUid, tags};

/// The patient that a Patient id identifies.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum KnownPatient {
    /// The patient with this PatientID (0010,0020), as the archive writes it.
    PatientId(Box<str>),
    /// The patient of this study, which has no PatientID.
    StudyInstanceUid(StudyUid),
}

impl KnownPatient {
    /// Returns the patient of a study. A patient without a PatientID has only this study, because a query with an empty PatientID
    /// would match every patient.
    pub(super) fn from_row(row: &StudyRow) -> Self {
        match row.attributes.text(tags::PATIENT_ID) {
            Some(patient_id) => Self::PatientId(patient_id.into()),
            None => Self::StudyInstanceUid(row.uid.clone()),
        }
    }

    /// Returns the patient of a study without an acceptable UID; `None` if the patient has no PatientID, so that no archive can be
    /// searched for the study.
    pub(super) fn from_row_without_uid(row: &RowWithoutUid) -> Option<Self> {
        row.attributes.text(tags::PATIENT_ID).map(|patient_id| Self::PatientId(patient_id.into()))
    }

    /// Returns the cache key of the patient with this Patient id.
    pub(super) fn cache_key(id: &str) -> CacheKey {
        CacheKey::from_parts([id])
    }
}

impl CacheEntry for KnownPatient {
    fn size(&self) -> usize {
        match self {
            Self::PatientId(id) => id.len(),
            Self::StudyInstanceUid(study) => study.as_str().len(),
        }
    }
}
