//! Compares the patients of rows with the same Study Instance UID: one UID may be assigned to different patients, in two archives
//! or in one. This module does not select the rows to compare; `merged_search` and `federation` do.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::mapping::{MappingContext, PatientKey};
use crate::upstream::ArchiveId;
use dicom_model::Attributes;

/// A comparison of the patients of rows, with the configured issuers and identifier systems of each archive.
#[derive(Debug, Clone)]
pub struct PatientComparison {
    contexts: Arc<BTreeMap<ArchiveId, MappingContext>>,
}

/// The patient of a row of one archive.
#[derive(Debug, Clone)]
pub(super) struct RowPatient {
    archive: ArchiveId,
    /// The patient; `None` if the row is malformed.
    key: Option<PatientKey>,
}

impl PatientComparison {
    /// Creates a comparison for archives with these mapping contexts.
    pub fn new(contexts: impl IntoIterator<Item = (ArchiveId, MappingContext)>) -> Self {
        Self { contexts: Arc::new(contexts.into_iter().collect()) }
    }

    /// Returns the patient of `row`, an object in DICOM JSON.
    pub(super) fn patient(&self, archive: &ArchiveId, row: &str) -> RowPatient {
        let key = self.contexts.get(archive).and_then(|context| {
            let row: Attributes = serde_json::from_str(row).ok()?;
            Some(PatientKey::from_row(context, &row))
        });
        RowPatient { archive: archive.clone(), key }
    }
}

impl RowPatient {
    /// Returns the archive of the row.
    pub(super) fn archive(&self) -> &ArchiveId {
        &self.archive
    }

    /// Returns the size in memory, in bytes.
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + self.key.as_ref().map_or(0, PatientKey::text_len)
    }

    /// Whether two rows with the same Study Instance UID belong to different patients. A row of another archive without a
    /// PatientID may belong to any patient.
    pub(super) fn contradicts(&self, other: &Self) -> bool {
        match (&self.key, &other.key) {
            (Some(key), Some(other_key)) if self.archive == other.archive => key != other_key,
            (Some(key), Some(other_key)) => key.contradicts(other_key),
            _ => false,
        }
    }
}
