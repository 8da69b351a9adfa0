//! Rows of a search for studies at one archive, with and without a Study Instance UID that a resource can have as its id.

use std::collections::BTreeMap;

use super::FoundStudy;
use super::accepted_uids::needs_lenient_rule;
use crate::mapping::{PatientKey, RowPatient};
use crate::upstream::ArchiveId;
use dicom_model::{Attributes, StudyUid, tags};

/// A row of a study search with a Study Instance UID that its archive's rule accepts.
#[derive(Debug, Clone)]
pub struct StudyRow {
    /// The archive that returned the row.
    pub archive: ArchiveId,
    /// StudyInstanceUID (0020,000D).
    pub uid: StudyUid,
    /// The patient of the study.
    pub patient: PatientKey,
    /// Study- and patient-level attributes.
    pub attributes: Attributes,
    /// Whether the archive is known to list the UID for another patient, too.
    pub(super) shares_uid: bool,
}

impl StudyRow {
    /// Returns NumberOfStudyRelatedSeries (0020,1206): how many series the study has according to the archive.
    pub(super) fn reported_series_count(&self) -> Option<usize> {
        let count = self.attributes.integer(tags::NUMBER_OF_STUDY_RELATED_SERIES)?;
        usize::try_from(count).ok()
    }

    /// Whether two rows with the same study UID belong to different patients. The rows may be of one archive or of two.
    pub(super) fn is_of_another_patient(&self, other: &Self) -> bool {
        self.row_patient().contradicts(&other.row_patient())
    }

    fn row_patient(&self) -> RowPatient {
        RowPatient::new(self.archive.as_str(), self.patient.clone(), &self.attributes)
    }

    /// Whether `child`, a row of a series or an instance, has the Study Instance UID of this study, or none.
    pub(super) fn may_contain(&self, child: &Attributes) -> bool {
        child.text(tags::STUDY_INSTANCE_UID).is_none_or(|uid| uid == self.uid.as_str())
    }
}

/// A row of a study search without a Study Instance UID that its archive's rule accepts, so that there is no resource for the study. Its
/// patient nevertheless is one.
#[derive(Debug, Clone)]
pub struct RowWithoutUid {
    /// The archive that returned it.
    pub archive: ArchiveId,
    /// The patient of the study.
    pub(super) patient: PatientKey,
    /// Study- and patient-level attributes.
    pub(super) attributes: Attributes,
    /// Whether the row has been compared with every criterion. The series and instances of the study are never read.
    pub(super) is_compared: bool,
}

impl RowWithoutUid {
    /// Whether the study is known to match.
    pub fn is_compared(&self) -> bool {
        self.is_compared
    }

    /// Whether the row would describe a study if its archive had the lenient rule.
    fn needs_lenient_rule(&self) -> bool {
        self.attributes.text(tags::STUDY_INSTANCE_UID).is_some_and(needs_lenient_rule)
    }
}

/// The number of matching rows of one archive that are omitted, because they have no Study Instance UID that its rule accepts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OmittedMatches {
    /// The number of rows.
    pub count: usize,
    /// How many of them the lenient rule would accept.
    pub with_lenient_rule: usize,
    /// How many of them may not match, because they were not compared with every criterion.
    pub uncompared: usize,
}

impl OmittedMatches {
    /// Counts `rows` by archive.
    pub(super) fn by_archive<'a>(
        rows: impl IntoIterator<Item = &'a RowWithoutUid>,
    ) -> BTreeMap<ArchiveId, Self> {
        let mut by_archive: BTreeMap<ArchiveId, Self> = BTreeMap::new();
        for row in rows {
            *by_archive.entry(row.archive.clone()).or_default() += Self {
                count: 1,
                with_lenient_rule: row.needs_lenient_rule().into(),
                uncompared: (!row.is_compared).into(),
            };
        }
        by_archive
    }
}

impl std::ops::AddAssign for OmittedMatches {
    fn add_assign(&mut self, other: Self) {
        self.count += other.count;
        self.with_lenient_rule += other.with_lenient_rule;
        self.uncompared += other.uncompared;
    }
}

impl From<StudyRow> for FoundStudy {
    /// Returns the study that this row alone describes.
    fn from(row: StudyRow) -> Self {
        Self::from_rows(vec![row])
    }
}
