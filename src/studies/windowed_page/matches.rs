//! Selects the matches of a page from the rows of the sections of the list.
//!
//! The candidates of one or several sections are compared in the order of their start, a few at a time, until the page is full. Before
//! that, all archives are asked for them by their UIDs, so that a study with different dates in several rows is only in the section in
//! which its resource starts.

use super::dated_lists::date_of_row;
use super::{Candidate, ListSection, Match, PageReader, WindowedPageEnd, scan_freshness};
use crate::mapping;
use crate::studies::candidates::{StudyRows, group_by_study};
use crate::studies::filter::time_zone_of;
use crate::studies::row::{OmittedMatches, RowWithoutUid};
use crate::studies::search::PatientConflict;
use crate::studies::sort::SortPosition;
use crate::studies::study_versions::needs_versions;
use crate::studies::{ArchiveSource, Depth, FoundStudies, FoundStudy, StudiesError};
use dicom_model::StudyUid;

/// The number of candidates that are compared before the task yields.
const CANDIDATES_PER_YIELD: usize = 64;

impl PageReader<'_> {
    /// Adds the studies in `rows` that start in the section, follow the start of the page and may match. The section follows those of the
    /// earlier candidates.
    pub(super) async fn add_candidates(
        &mut self,
        section: ListSection,
        rows: StudyRows,
    ) -> Result<(), StudiesError> {
        let StudyRows { mut with_uid, mut without_uid } = rows;
        with_uid.retain(|row| self.access.may_see(&row.attributes));
        without_uid.retain(|row| self.access.may_see(&row.attributes));
        let mut found = group_by_study(with_uid);
        self.complete_starts(&mut found).await?;
        self.add_studies(section, &found).await;
        self.add_rows_without_uid(section, without_uid);
        Ok(())
    }

    /// Queries archives for the rows that determine the start of the studies: those before the first one with a date. If there are further
    /// keys, all rows of a study determine its position.
    async fn complete_starts(&self, found: &mut FoundStudies) -> Result<(), StudiesError> {
        let has_date = |study: &FoundStudy, source: &ArchiveSource| {
            let mut rows = study.rows.iter().filter(|row| &row.archive == source.archive.id());
            rows.any(|row| date_of_row(&row.attributes).is_some())
        };
        let missing = self.studies.missing_copies(found, |study, source| {
            let is_earlier = |other: &&ArchiveSource| other.archive.id() != source.archive.id();
            let mut earlier = self.studies.sources().iter().take_while(is_earlier);
            self.keys.len() > 1 || !earlier.any(|earlier| has_date(study, earlier))
        });
        let freshness = scan_freshness(self.search, self.freshness);
        self.studies.add_copies(found, missing, self.access, freshness).await
    }

    async fn add_studies(&mut self, section: ListSection, found: &FoundStudies) {
        let mut studies: Vec<_> = found.studies.iter().collect();
        for conflict in &found.patient_conflicts {
            studies.extend(conflict.parts.iter().chain(&conflict.ambiguous_parts));
            if conflict.parts.is_empty() {
                // Its rows are too many to be divided among the patients.
                studies.push(conflict);
            }
        }
        let mut candidates = Vec::new();
        for (index, study) in studies.into_iter().enumerate() {
            if index % CANDIDATES_PER_YIELD == CANDIDATES_PER_YIELD - 1 {
                tokio::task::yield_now().await;
            }
            let position = self.studies.sort_position(study, self.keys);
            if !section.contains(&position) || !self.follows_start(&position) {
                continue;
            }
            self.study_count += 1;
            // If there may be rows of further archives, they may match.
            let has_every_row = study.rows_of_archives().count() == self.studies.sources().len();
            if !has_every_row || self.studies.compare_row(study, self.search.criteria).is_some() {
                candidates.push(Candidate { section, position, uid: study.uid().clone() });
            }
        }
        candidates.sort_by(|left, right| self.compare(&left.position, &right.position));
        self.candidates.append(&mut candidates);
    }

    fn add_rows_without_uid(&mut self, section: ListSection, rows: Vec<RowWithoutUid>) {
        for row in self.studies.matches_without_uid(rows, self.search.criteria) {
            let Some(source) = self.studies.source(&row.archive) else { continue };
            let resource =
                mapping::imaging_study(&source.context, &row.attributes, &[row.archive.as_str()], None);
            let position = SortPosition::from_resource(self.keys, &resource, &time_zone_of(source));
            if section.contains(&position) && self.follows_start(&position) {
                self.rows_without_uid.push((position, row));
            }
        }
    }

    /// Compares the candidates until the page is full, and adds the matches to it. Returns the last candidate that was compared as the end
    /// of the page if others follow.
    pub(super) async fn compare_candidates(&mut self) -> Result<Option<WindowedPageEnd>, StudiesError> {
        let candidates = std::mem::take(&mut self.candidates);
        let end = self.add_matches(&candidates).await?;
        let rows = std::mem::take(&mut self.rows_without_uid).into_iter();
        let is_before_end = |position: &SortPosition| {
            end.as_ref().is_none_or(|end| self.compare(position, &end.position).is_le())
        };
        let rows: Vec<_> = rows.filter(|(position, _)| is_before_end(position)).map(|(_, row)| row).collect();
        for (archive, omitted) in OmittedMatches::by_archive(&rows) {
            *self.page.omitted_matches.entry(archive).or_default() += omitted;
        }
        Ok(end)
    }

    async fn add_matches(
        &mut self,
        candidates: &[Candidate],
    ) -> Result<Option<WindowedPageEnd>, StudiesError> {
        let max_opened = self.studies.limits.max_opened;
        let mut end: Option<WindowedPageEnd> = None;
        let mut rest = candidates;
        while let Some(first) = rest.first() {
            let free_count = self.free_count();
            let is_exhausted = self.opened_count >= max_opened;
            if free_count == 0 || is_exhausted {
                self.page.is_short |= free_count > 0;
                if self.matches.is_empty() && self.start.is_none() {
                    // A client could take an empty first page for the whole result.
                    return Err(StudiesError::TooManyToOpen { limit: max_opened });
                }
                return Ok(end.or_else(|| self.end_in(first.section)));
            }
            let uids_per_query = self.uids_per_query().min(self.studies.limits.max_scan);
            let size = free_count.max(uids_per_query).min(max_opened - self.opened_count);
            let (chunk, others) = rest.split_at(size.min(rest.len()));
            rest = others;
            let truncated = self.compare_chunk(chunk, free_count).await?;
            if truncated.is_some() {
                return Ok(truncated);
            }
            end = chunk
                .last()
                .map(|last| WindowedPageEnd { section: last.section, position: last.position.clone() });
        }
        Ok(None)
    }

    /// Adds at most `free_count` of the candidates that match to the page. Returns the last one if others match too.
    async fn compare_chunk(
        &mut self,
        chunk: &[Candidate],
        free_count: usize,
    ) -> Result<Option<WindowedPageEnd>, StudiesError> {
        let (studies, criteria) = (self.studies, self.search.criteria);
        let mut uids: Vec<&StudyUid> = chunk.iter().map(|candidate| &candidate.uid).collect();
        uids.sort();
        uids.dedup();
        let freshness = scan_freshness(self.search, self.freshness);
        let missing_count = studies.missing_archives().len();
        let mut found = studies.find_by_uids(&uids, self.access, freshness).await?;
        // Without the rows of an archive that has failed meanwhile, studies can start at another time.
        let has_failed = studies.missing_archives().len() > missing_count;
        if needs_versions(criteria, self.search.sort) {
            studies.check_candidates(found.studies.iter()).await?;
            studies.add_versions(&mut found, None).await?;
        }
        self.opened_count += self.count_opened(&found);
        let filtered = studies.filter(found, criteria, self.freshness).await?;
        let mut matches = Vec::new();
        for study in filtered.studies {
            let position = studies.sort_position(&study, self.keys);
            // A study of several patients may be a candidate at other positions too.
            let is_at_position = |candidate: &&Candidate| {
                let is_in_section = candidate.section.contains(&position) && self.follows_start(&position);
                candidate.uid == *study.uid()
                    && (candidate.position == position || has_failed && is_in_section)
            };
            if let Some(candidate) = chunk.iter().find(is_at_position) {
                matches.push(Match { section: candidate.section, position, study });
            }
        }
        matches.sort_by(|left, right| self.compare(&left.position, &right.position));
        let is_truncated = matches.len() > free_count;
        matches.truncate(free_count);
        let last = matches.last().filter(|_| is_truncated);
        let end = last.map(|last| WindowedPageEnd { section: last.section, position: last.position.clone() });
        let is_before_end = |uid: &StudyUid| {
            let mut own = chunk.iter().filter(|candidate| candidate.uid == *uid);
            end.as_ref().is_none_or(|end| {
                own.any(|candidate| self.compare(&candidate.position, &end.position).is_le())
            })
        };
        let conflicts = filtered.patient_conflicts.iter().filter(|study| is_before_end(study.uid()));
        let conflicts: Vec<_> = conflicts.map(PatientConflict::from).collect();
        let unreadable = filtered.unreadable.into_iter().filter(|study| is_before_end(&study.uid));
        let unreadable: Vec<_> = unreadable.collect();
        for conflict in conflicts {
            if !self.page.patient_conflicts.contains(&conflict) {
                self.page.patient_conflicts.push(conflict);
            }
        }
        self.page.unreadable.extend(unreadable);
        self.matches.append(&mut matches);
        Ok(end)
    }

    /// Returns how many of the studies are fetched with their instances to be compared.
    fn count_opened(&self, found: &FoundStudies) -> usize {
        let parts = found.patient_conflicts.iter().flat_map(|study| &study.parts);
        let is_opened = |study: &&FoundStudy| {
            self.studies.compare_row(study, self.search.criteria) == Some(Depth::Instances)
        };
        found.studies.iter().chain(parts).filter(is_opened).count()
    }

    /// Compares two positions in the direction of reading.
    fn compare(&self, left: &SortPosition, right: &SortPosition) -> std::cmp::Ordering {
        let order = left.compare(right, &self.directions);
        if self.is_backward { order.reverse() } else { order }
    }

    /// Whether the position follows the start of the page in the direction of reading.
    fn follows_start(&self, position: &SortPosition) -> bool {
        self.start.as_ref().is_none_or(|start| {
            let order = self.compare(position, &start.position);
            order.is_gt() || start.includes_position && order.is_eq()
        })
    }

    /// Returns how many UIDs every archive accepts in one query.
    fn uids_per_query(&self) -> usize {
        let sources = self.studies.sources().iter();
        sources.map(|source| source.archive.profile().max_uids_per_query()).min().unwrap_or(1)
    }
}
