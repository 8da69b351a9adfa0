//! The patient of a study in one archive, compared with the patients that its series and instances name.
//!
//! Two patients may have studies with the same UID in one archive. Then the archive lists the study once for each, and the parts of
//! the other patient are not read. If a part names a patient for whom the archive does not list the study, the images may be those of
//! either patient, and nothing of the study is returned.

use std::collections::BTreeSet;

use crate::mapping::{MappingContext, RowPatient};
use crate::studies::row::StudyRow;
use crate::studies::{ArchiveSource, ListLimits, StudiesError, listed_patients};
use dicom_model::{Attributes, tags};

/// Maximum number of patients for whom an archive may list one study. A study with more of them is a conflict.
const MAX_OTHER_PATIENTS: usize = 16;

/// The patient of a study, and the other patients that parts of it name.
#[derive(Debug, Clone)]
pub(in crate::studies) struct PartPatients {
    /// The patient of the study.
    pub(in crate::studies) patient: RowPatient,
    /// The other patients, without duplicates.
    others: Vec<RowPatient>,
    /// Whether a part names no patient.
    has_unnamed: bool,
}

impl PartPatients {
    /// Creates a comparison with the patient of `row`.
    pub(super) fn new(context: &MappingContext, row: &StudyRow) -> Self {
        let patient = RowPatient::from_row(context, &row.attributes);
        Self { patient, others: Vec::new(), has_unnamed: false }
    }

    /// Returns a comparison with the same patient, without other patients.
    pub(super) fn without_others(&self) -> Self {
        Self { patient: self.patient.clone(), others: Vec::new(), has_unnamed: false }
    }

    /// Whether `part`, the attributes of a series or an instance, may belong to the patient of the study. Otherwise its patient is one
    /// of the others.
    pub(super) fn includes(&mut self, context: &MappingContext, part: &Attributes) -> bool {
        if part.text(tags::PATIENT_ID).is_none() {
            self.has_unnamed = true;
            return true;
        }
        let part = RowPatient::from_row(context, part);
        let is_included = self.patient.includes(&part);
        if !is_included && self.others.len() <= MAX_OTHER_PATIENTS && !self.others.contains(&part) {
            self.others.push(part);
        }
        is_included
    }

    /// Adds the patients that `parts` of the same study name.
    pub(super) fn add(&mut self, parts: Self) {
        let others = parts.others.into_iter();
        let is_included = self.patient.includes(&parts.patient);
        for other in others.chain((!is_included).then_some(parts.patient)) {
            if self.others.len() <= MAX_OTHER_PATIENTS && !self.others.contains(&other) {
                self.others.push(other);
            }
        }
    }

    /// Whether a part names another patient.
    pub(super) fn has_others(&self) -> bool {
        !self.others.is_empty()
    }

    /// Returns an error if a part names a patient for whom the archive does not list the study of `row`.
    pub(super) async fn require_listed(
        &self,
        source: &ArchiveSource,
        row: &StudyRow,
        max_bytes: usize,
    ) -> Result<(), StudiesError> {
        if !self.has_others() {
            return Ok(());
        }
        if self.others.len() > MAX_OTHER_PATIENTS {
            return Err(conflict(source, row));
        }
        let mut listed = listed(source, row, max_bytes).await?;
        listed.retain(RowPatient::has_patient_id);
        let is_listed = |other: &RowPatient| listed.iter().any(|listed| listed.clone().includes(other));
        if self.others.iter().all(is_listed) { Ok(()) } else { Err(conflict(source, row)) }
    }

    /// Whether parts may belong to another patient for whom the archive lists the study: it is known to do so, or returned `received`
    /// series, which are more than the row reports, and a part or the study names no patient.
    pub(super) fn may_be_mixed(&self, row: &StudyRow, received: usize) -> bool {
        (self.has_unnamed || !row.patient.has_patient_id())
            && (row.shares_uid || row.reported_series_count().is_some_and(|count| received > count))
    }

    /// Returns an error if parts may belong to other patients, because the archive lists the study for several.
    pub(super) async fn require_one_patient(
        &self,
        source: &ArchiveSource,
        row: &StudyRow,
        received: usize,
        max_bytes: usize,
    ) -> Result<(), StudiesError> {
        if !self.may_be_mixed(row, received) {
            return Ok(());
        }
        let listed = if row.shares_uid { Vec::new() } else { listed(source, row, max_bytes).await? };
        let is_another = |patient: &RowPatient| patient.contradicts(&self.patient);
        if row.shares_uid || listed.iter().any(is_another) { Err(conflict(source, row)) } else { Ok(()) }
    }
}

fn conflict(source: &ArchiveSource, row: &StudyRow) -> StudiesError {
    StudiesError::PatientOfPart {
        study: row.uid.clone(),
        archives: BTreeSet::from([source.archive.id().clone()]),
    }
}

/// Returns the patients for whom the archive lists the study of `row`.
async fn listed(
    source: &ArchiveSource,
    row: &StudyRow,
    max_bytes: usize,
) -> Result<Vec<RowPatient>, StudiesError> {
    let limits = ListLimits { max_rows: MAX_LISTED_ROWS, max_bytes, reported_count: None };
    match listed_patients(&source.archive, &source.context, &row.uid, limits).await {
        // The archive ignores the UID, so it cannot be told for whom it lists the study.
        Err(StudiesError::TooManyRows { .. } | StudiesError::TooManyBytes { .. }) => {
            Err(conflict(source, row))
        }
        listed => listed,
    }
}

/// Maximum number of rows of the search for one study.
const MAX_LISTED_ROWS: usize = 1000;
