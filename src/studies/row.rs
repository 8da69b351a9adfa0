//! One study as a row of one archive's study search describes it, and rows that describe none.

use super::FoundStudy;
use crate::mapping::PatientKey;
use crate::upstream::ArchiveId;
use dicom_model::{Attributes, StudyUid, tags};

/// A row of a study search with a valid Study Instance UID.
#[derive(Debug, Clone)]
pub struct StudyRow {
    /// The archive that returned it.
    pub archive: ArchiveId,
    /// StudyInstanceUID (0020,000D).
    pub uid: StudyUid,
    /// The patient of the study.
    pub patient: PatientKey,
    /// Study- and patient-level attributes.
    pub attributes: Attributes,
}

impl StudyRow {
    /// Whether two rows with the same study UID, of one archive or of two, belong to different patients.
    pub(super) fn is_of_another_patient(&self, other: &Self) -> bool {
        if self.archive == other.archive {
            self.patient != other.patient
        } else {
            self.patient.contradicts(&other.patient)
        }
    }

    /// Whether a row from below this study belongs to it: archives return rows of other studies, and one study UID may be used
    /// for two patients. A row without the UIDs of its parents is assumed to belong to the study that was searched.
    pub fn owns(&self, below: &Attributes) -> bool {
        let same = |tag| match (below.text(tag), self.attributes.text(tag)) {
            (Some(below), Some(own)) => below == own,
            _ => true,
        };
        self.is_above(below) && same(tags::PATIENT_ID) && same(tags::ISSUER_OF_PATIENT_ID)
    }

    /// Whether a row from below this study names this study, or none.
    pub(super) fn is_above(&self, below: &Attributes) -> bool {
        below.text(tags::STUDY_INSTANCE_UID).is_none_or(|uid| uid == self.uid.as_str())
    }

    /// The key that sorts the newest study first.
    pub fn age(&self) -> impl Ord + use<> {
        let text = |tag| self.attributes.text(tag).unwrap_or_default().replace(['.', ':'], "");
        (std::cmp::Reverse((text(tags::STUDY_DATE), text(tags::STUDY_TIME))), self.uid.clone())
    }
}

/// A row of a study search without a valid Study Instance UID.
#[derive(Debug, Clone)]
pub(super) struct RowWithoutUid {
    /// The archive that returned it.
    pub(super) archive: ArchiveId,
    /// Study- and patient-level attributes.
    pub(super) attributes: Attributes,
}

impl From<StudyRow> for FoundStudy {
    /// The study as described by this one row.
    fn from(row: StudyRow) -> Self {
        Self { rows: vec![row], version: None, other_patients: Vec::new(), has_every_row: true }
    }
}
