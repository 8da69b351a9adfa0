//! Invalidation: an administrator, or the archive itself, reports that studies have changed. Their cached data is not used before it
//! has been read again.
//!
//! Cached studies stay in the cache, but unchanged rows do not confirm them any more: a search by `_lastUpdated` reads the studies
//! again and compares the content with the previous one.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Studies;
use super::assembly::AssembledStudy;
use super::scan::SearchRows;
use crate::change_log::ResourceKey;
use crate::upstream::ArchiveId;
use dicom_model::StudyUid;

/// The studies to invalidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// The study with this UID.
    Study(StudyUid),
    /// The studies of the patient with this identifier, in any archive.
    Patient {
        /// The system of the identifier; `None` for the identifier of any system.
        system: Option<String>,
        /// The value of the identifier, a PatientID.
        value: String,
    },
    /// The studies of this archive.
    Archive(ArchiveId),
}

impl Selection {
    fn contains(&self, study: &AssembledStudy) -> bool {
        match self {
            Self::Study(uid) => study.uid == *uid,
            Self::Patient { system, value } => {
                study.patients.iter().any(|(_, patient)| patient.has_identifier(system.as_deref(), value))
            }
            Self::Archive(archive) => study.patients.iter().any(|(other, _)| other == archive),
        }
    }
}

/// The studies in the cache at the time of an invalidation.
#[derive(Debug, Default)]
pub struct InvalidatedStudies {
    /// The cached studies that the selection contains.
    pub selected: BTreeSet<StudyUid>,
    /// The other cached studies.
    pub others: BTreeSet<StudyUid>,
}

impl Studies {
    /// Invalidates the cached studies that `selection` contains, and all cached lists of rows. A study that is selected by its UID
    /// and whose instances are not in the cache counts as changed for searches by `_lastUpdated`, if it was ever seen.
    pub async fn invalidate(&self, selection: &Selection) -> InvalidatedStudies {
        self.cache.start_generation();
        for (key, _) in self.cache.entries::<SearchRows>() {
            self.cache.remove::<SearchRows>(key);
        }
        let mut found = InvalidatedStudies::default();
        for (key, study) in self.cache.entries::<AssembledStudy>() {
            if !selection.contains(&study) {
                found.others.insert(study.uid.clone());
                continue;
            }
            found.selected.insert(study.uid.clone());
            self.cache.insert(key, Arc::new(study.to_invalidated(self.cache.elapsed())));
        }
        if let Selection::Study(uid) = selection
            && !self.caches_instances(uid)
        {
            self.change_log.report_again(ResourceKey::study(uid)).await;
        }
        found
    }
}
