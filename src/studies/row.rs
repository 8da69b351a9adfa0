//! Rows of a search for studies at one archive, with and without a valid Study Instance UID.

use super::FoundStudy;
use crate::mapping::{PatientKey, RowPatient};
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
    /// Whether two rows with the same study UID belong to different patients. The rows may be of one archive or of two.
    pub(super) fn is_of_another_patient(&self, other: &Self) -> bool {
        self.row_patient().contradicts(&other.row_patient())
    }

    fn row_patient(&self) -> RowPatient {
        RowPatient::new(self.archive.as_str(), self.patient.clone(), &self.attributes)
    }

    /// Whether the study UID of a row of a series or an instance is that of this study, or missing.
    pub(super) fn has_same_uid(&self, child: &Attributes) -> bool {
        child.text(tags::STUDY_INSTANCE_UID).is_none_or(|uid| uid == self.uid.as_str())
    }

    /// Returns a sort key that puts the newest study first.
    pub fn newest_first_key(&self) -> impl Ord + use<> {
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
    /// Returns the study that this row alone describes.
    fn from(row: StudyRow) -> Self {
        Self { rows: vec![row], version: None, other_patients: Vec::new(), has_every_row: true }
    }
}
