//! One study as the study search of one archive tells of it.

use super::FoundStudy;
use crate::mapping::PatientKey;
use crate::upstream::ArchiveId;
use dicom_model::{Attributes, StudyUid, tags};

/// A row of a study search that names a study.
#[derive(Debug, Clone)]
pub struct StudyRow {
    /// Who said so.
    pub archive: ArchiveId,
    /// StudyInstanceUID (0020,000D).
    pub uid: StudyUid,
    /// Whose study it is.
    pub patient: PatientKey,
    /// Study- and patient-level attributes.
    pub attributes: Attributes,
}

impl StudyRow {
    /// Whether a row that came from below this study belongs to it: archives answer with other studies' rows, and one
    /// study UID can stand under two patients. A row that leaves its parents out is taken at the archive's word.
    pub fn owns(&self, below: &Attributes) -> bool {
        let same = |tag| match (below.text(tag), self.attributes.text(tag)) {
            (Some(below), Some(own)) => below == own,
            _ => true,
        };
        below.text(tags::STUDY_INSTANCE_UID).is_none_or(|uid| uid == self.uid.as_str())
            && same(tags::PATIENT_ID)
            && same(tags::ISSUER_OF_PATIENT_ID)
    }

    /// What puts the newest study first.
    pub fn age(&self) -> impl Ord + use<> {
        let text = |tag| self.attributes.text(tag).unwrap_or_default().replace(['.', ':'], "");
        (std::cmp::Reverse((text(tags::STUDY_DATE), text(tags::STUDY_TIME))), self.uid.clone())
    }
}

impl From<StudyRow> for FoundStudy {
    /// The study as far as this one row tells of it.
    fn from(row: StudyRow) -> Self {
        Self { rows: vec![row], version: None }
    }
}
