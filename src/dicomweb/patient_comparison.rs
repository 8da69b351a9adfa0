//! Compares the patients of rows with the same Study Instance UID: one UID may be assigned to different patients, in two archives
//! or in one. This module does not select the rows to compare; `merged_search` and `federation` do.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::mapping::{MappingContext, RowPatient};
use crate::upstream::ArchiveId;
use dicom_model::{Attributes, json};

/// A comparison of the patients of rows, with the configured issuers and identifier systems of each archive.
#[derive(Debug, Clone)]
pub struct PatientComparison {
    contexts: Arc<BTreeMap<ArchiveId, MappingContext>>,
}

impl PatientComparison {
    /// Creates a comparison for archives with these mapping contexts.
    pub fn new(contexts: impl IntoIterator<Item = (ArchiveId, MappingContext)>) -> Self {
        Self { contexts: Arc::new(contexts.into_iter().collect()) }
    }

    /// Returns the patient of `row` of `archive`, an object in DICOM JSON; `None` if it is malformed.
    pub(super) fn patient(&self, archive: &ArchiveId, row: &str) -> Option<RowPatient> {
        self.patient_of(archive, &json::parse(row).ok()?)
    }

    /// Returns the patient that `row`, a row or an object of `archive`, names; `None` for an archive that is not configured.
    pub(super) fn patient_of(&self, archive: &ArchiveId, row: &Attributes) -> Option<RowPatient> {
        Some(RowPatient::from_row(self.mapping_of(archive)?, row))
    }

    /// Returns the mapping of the rows of `archive`; `None` for an archive that is not configured.
    pub(super) fn mapping_of(&self, archive: &ArchiveId) -> Option<&MappingContext> {
        self.contexts.get(archive)
    }
}
