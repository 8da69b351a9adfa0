//! The patient that a Patient id identifies, in the form that an archive can be searched for: the id itself is a hash, which no
//! archive knows.

use super::row::StudyRow;
use crate::cache::{CacheEntry, CacheKey};
use dicom_model::{StudyUid, tags};

/// The patient that a Patient id identifies.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum KnownPatient {
    /// The patient with this PatientID (0010,0020), as the archive writes it.
    Identified(Box<str>),
    /// A patient without one: the patient of this study.
    OfStudy(StudyUid),
}

impl KnownPatient {
    /// The patient of a study. One without an identifier has one study; an empty key would ask for every patient.
    pub(super) fn from_row(row: &StudyRow) -> Self {
        match row.attributes.text(tags::PATIENT_ID) {
            Some(patient_id) => Self::Identified(patient_id.into()),
            None => Self::OfStudy(row.uid.clone()),
        }
    }

    /// Of the patient with this Patient id.
    pub(super) fn key(id: &str) -> CacheKey {
        CacheKey::from_parts([id])
    }
}

impl CacheEntry for KnownPatient {
    fn size(&self) -> usize {
        match self {
            Self::Identified(id) => id.len(),
            Self::OfStudy(study) => study.as_str().len(),
        }
    }
}
