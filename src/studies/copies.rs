//! Searches for the copies of studies in other archives than those in which they were found.

use super::candidates::group_by_study;
use super::row::StudyRow;
use super::{ArchiveSource, FoundStudies, FoundStudy, Freshness, Studies, StudiesError};
use crate::auth::Access;
use dicom_model::StudyUid;

impl Studies {
    /// Queries each archive for the studies that were found only in other archives: its rows of the same study may not match the
    /// criteria.
    pub(super) async fn complete_rows(
        &self,
        found: &mut FoundStudies,
        access: &Access,
        freshness: Freshness,
    ) -> Result<(), StudiesError> {
        let missing = self.missing_copies(found, |_, _| true);
        self.add_copies(found, missing, access, freshness).await
    }

    /// Returns, for each archive in the order of the configuration, the studies without a row of the archive for which `is_required` is
    /// true. A single archive has no copies.
    pub(super) fn missing_copies(
        &self,
        found: &FoundStudies,
        is_required: impl Fn(&FoundStudy, &ArchiveSource) -> bool,
    ) -> Vec<Vec<StudyUid>> {
        let missing_of = |source: &ArchiveSource| {
            let is_missing = |study: &&FoundStudy| {
                !study.rows.iter().any(|row| &row.archive == source.archive.id())
                    && is_required(study, source)
            };
            found.studies.iter().filter(is_missing).map(|study| study.uid().clone()).collect()
        };
        if self.sources.len() < 2 { Vec::new() } else { self.sources.iter().map(missing_of).collect() }
    }

    /// Queries each archive for these studies, and adds their rows to `found`.
    pub(super) async fn add_copies(
        &self,
        found: &mut FoundStudies,
        missing: Vec<Vec<StudyUid>>,
        access: &Access,
        freshness: Freshness,
    ) -> Result<(), StudiesError> {
        if missing.iter().all(Vec::is_empty) {
            return Ok(());
        }
        let searches = self.sources.iter().zip(&missing).map(|(source, uids)| {
            let uids: Vec<_> = uids.iter().collect();
            (source, async move { self.query_by_uids(source, &uids, freshness).await })
        });
        let new_rows = self.query_each(searches).await?;
        let new_rows: Vec<_> = new_rows.into_iter().flat_map(|(_, rows)| rows).collect();
        if new_rows.is_empty() {
            return Ok(());
        }
        let known_rows = std::mem::take(&mut found.studies).into_iter().flat_map(|study| study.rows);
        let new_rows = new_rows.into_iter().filter(|row| access.may_see(&row.attributes));
        let grouped = group_by_study(self.sort_by_archive(known_rows.chain(new_rows)));
        found.studies = grouped.studies;
        found.patient_conflicts.extend(grouped.patient_conflicts);
        Ok(())
    }

    /// Sorts rows in the order of the configuration.
    fn sort_by_archive(&self, rows: impl Iterator<Item = StudyRow>) -> Vec<StudyRow> {
        let mut rows: Vec<_> = rows.collect();
        let index =
            |row: &StudyRow| self.sources.iter().position(|source| source.archive.id() == &row.archive);
        rows.sort_by_key(index);
        rows
    }
}
