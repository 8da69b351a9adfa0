//! Reads one page of a search that finds more rows than may be read, of archives whose lists cannot be divided into windows of days,
//! because they do not evaluate ranges of dates or have too many studies of one day. The lists of the archives are read one after the
//! other, in the order of the archive, from the end of the previous page until the page is full.
//!
//! Each request begins with the last row of the previous request. If this row is at another position, the list has changed, and the
//! response reports the change. If the archive ignores the offset and always returns its first rows, the search fails. A study that
//! several archives contain is on a page of the first of these archives, and is omitted from the pages of the others.
//!
//! [`Pager`](crate::upstream::Pager) cannot continue such a list. It detects duplicates and changes by the identities of all rows
//! that it has received, but a cursor contains only the hash of one identity. It also reads a list again from the beginning if
//! the list has changed, but these lists are too long for that.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::candidates::{holds_for_every_part, is_named, must_be_queried, parse_row};
use super::plan::{self, Plan, UidKeys};
use super::row::OmittedMatches;
use super::scan::{ListLimits, read_row_at};
use super::search::{Cursor, PatientConflict, StudyPage, StudySearch};
use super::study_versions::needs_versions;
use super::{ArchiveSource, FoundStudy, Freshness, Studies, StudiesError};
use crate::auth::Access;
use crate::mapping;
use crate::upstream::{
    Archive, ArchiveError, ArchiveErrorKind, QidoQuery, RowIdentity, SearchLevel, UpstreamRequest,
};
use dicom_model::{Attributes, StudyUid};

/// The number of rows that are requested at once, enough for one or two pages of a search.
const PAGE_SIZE: usize = 100;

/// Maximum number of positions of previous pages in a cursor.
const MAX_PREVIOUS_POSITIONS: usize = 16;

/// The index of an archive in the order of the configuration. It is the same in all replicas with the same configuration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct ArchiveIndex(usize);

impl ArchiveIndex {
    fn source(self, sources: &[ArchiveSource]) -> Option<&ArchiveSource> {
        sources.get(self.0)
    }

    fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A position in the order of the archives.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamPosition {
    /// The archive whose list is read.
    archive: ArchiveIndex,
    /// The number of rows of the list before this position.
    received: usize,
    /// The identity of the last of these rows, which shows whether the list has changed.
    last: Option<String>,
    /// The positions at which the previous pages began, the latest one last.
    #[serde(rename = "trail")]
    previous_starts: Vec<(ArchiveIndex, usize, Option<String>)>,
}

impl UpstreamPosition {
    /// Returns this position without those of the previous pages.
    fn to_start(&self) -> (ArchiveIndex, usize, Option<String>) {
        (self.archive, self.received, self.last.clone())
    }

    fn next_archive(&self) -> Self {
        Self { archive: self.archive.next(), ..Self::default() }
    }

    /// Returns the position at which the previous page began.
    fn previous(&self) -> Option<Self> {
        let mut previous_starts = self.previous_starts.clone();
        let (archive, received, last) = previous_starts.pop()?;
        Some(Self { archive, received, last, previous_starts })
    }

    /// Returns this position as the start of a page that follows the page that began at `page_start`.
    fn after_page(mut self, page_start: &Self) -> Self {
        self.previous_starts.clone_from(&page_start.previous_starts);
        self.previous_starts.push(page_start.to_start());
        let surplus = self.previous_starts.len().saturating_sub(MAX_PREVIOUS_POSITIONS);
        self.previous_starts.drain(..surplus);
        self
    }
}

/// The rows of one request.
struct RowBatch {
    /// The new rows with their numbers in the list, which start at 1.
    rows: Vec<(usize, Attributes)>,
    /// The number and the identity of the last row, which may be a duplicate.
    last_row: Option<(usize, String)>,
    /// Whether the list has changed since the previous request.
    has_list_changed: bool,
    /// Whether the list ends with these rows.
    is_last: bool,
}

impl Studies {
    /// Reads the page that begins at `page_start`.
    pub(super) async fn read_unsorted_page(
        &self,
        search: &StudySearch<'_>,
        page_start: UpstreamPosition,
        access: &Access,
        freshness: Freshness,
    ) -> Result<StudyPage, StudiesError> {
        let mut page = StudyPage { previous: page_start.previous().map(Cursor::At), ..StudyPage::default() };
        if search.cursor.is_none() {
            // A search that cannot be continued in a later archive is rejected before a page of it is returned.
            self.sources.iter().try_for_each(|source| self.single_query(source, search).map(drop))?;
        }
        let mut position = page_start.clone();
        let mut scanned_count = 0;
        while let Some(source) = position.archive.source(&self.sources) {
            let Some(query) = self.single_query(source, search)? else {
                position = position.next_archive();
                continue;
            };
            // An archive that ignores the limit returns its whole list.
            let limits = ListLimits {
                max_rows: usize::MAX,
                max_bytes: self.limits.detail.max_bytes,
                reported_count: None,
            };
            let reading = Box::pin(read_batch(&source.archive, &query, &position, limits));
            let Some(batch) = self.query_unless_failed(source.archive.id(), reading).await? else {
                position = position.next_archive();
                continue;
            };
            page.has_list_changed |= batch.has_list_changed;
            scanned_count += batch.rows.len();
            let mut rows = batch.rows.as_slice();
            while !rows.is_empty() {
                let free_count = search.count - page.studies.len();
                if free_count == 0 {
                    // A link to the next page is returned only if that page may contain a match.
                    if rows.iter().any(|(_, row)| self.row_may_match(source, row, search)) {
                        page.next = Some(Cursor::At(position.after_page(&page_start)));
                        return Ok(page);
                    }
                    break;
                }
                let (fitting_rows, remaining_rows) =
                    rows.split_at(self.count_fitting_rows(source, rows, free_count, search));
                self.add_matches(&mut page, source, fitting_rows, search, access, freshness).await?;
                if let Some((number, row)) = fitting_rows.last() {
                    (position.received, position.last) = (*number, Some(identity_of(row)));
                }
                rows = remaining_rows;
            }
            if let Some((number, identity)) = batch.last_row {
                (position.received, position.last) = (number, Some(identity));
            }
            if batch.is_last {
                position = position.next_archive();
            } else if scanned_count > self.limits.max_scan {
                // A client that has begun must be able to go on, so a later page may contain fewer matches than requested.
                if page.studies.len() == search.count || search.cursor.is_some() {
                    page.next = Some(Cursor::At(position.after_page(&page_start)));
                    return Ok(page);
                }
                let archive = source.archive.id().clone();
                return Err(StudiesError::TooManyRows { archive, limit: self.limits.max_scan });
            }
        }
        self.require_an_archive()?;
        Ok(page)
    }

    /// Returns the number of leading `rows` that contain at most `free_count` possible matches.
    fn count_fitting_rows(
        &self,
        source: &ArchiveSource,
        rows: &[(usize, Attributes)],
        free_count: usize,
        search: &StudySearch<'_>,
    ) -> usize {
        let mut possible_count = 0;
        let fits = |(_, row): &&(usize, Attributes)| {
            possible_count += usize::from(self.row_may_match(source, row, search));
            possible_count <= free_count
        };
        rows.iter().take_while(fits).count()
    }

    /// Returns the query for the archive; `None` if the archive contains no match. Several queries are an error, because a
    /// position belongs to one list.
    fn single_query(
        &self,
        source: &ArchiveSource,
        search: &StudySearch<'_>,
    ) -> Result<Option<QidoQuery>, StudiesError> {
        let names_archives = search.criteria.iter().any(|criterion| is_named(source, criterion).is_some());
        if names_archives && !search.criteria.iter().all(holds_for_every_part) {
            // The list of no single archive contains all matches.
            let archive = source.archive.id().clone();
            return Err(StudiesError::TooManyRows { archive, limit: self.limits.max_scan });
        }
        if !must_be_queried(source, search.criteria) {
            return Ok(None);
        }
        let (Plan::Studies(queries) | Plan::ChildrenFirst { studies: queries, .. }) =
            plan::plan_queries(search.criteria, None, UidKeys::of(&source.archive));
        match <[plan::PlannedQuery; 1]>::try_from(queries) {
            // Optional keys are omitted, because an archive that rejects them would do so for every page.
            Ok([planned]) => {
                let query = planned.without_optional_keys.unwrap_or(planned.query);
                Ok(Some(query.include(mapping::study_note_tags(&source.context))))
            }
            Err(queries) if queries.is_empty() => Ok(None),
            Err(_) => Err(StudiesError::TooManyRows {
                archive: source.archive.id().clone(),
                limit: self.limits.max_scan,
            }),
        }
    }

    fn row_may_match(&self, source: &ArchiveSource, row: &Attributes, search: &StudySearch<'_>) -> bool {
        let study = parse_row(source, row).map(FoundStudy::from);
        study.is_ok_and(|study| self.compare_row(&study, search.criteria).is_some())
    }

    /// Adds the studies of `rows` to the page that match and are not on a page of an earlier archive.
    async fn add_matches(
        &self,
        page: &mut StudyPage,
        source: &ArchiveSource,
        rows: &[(usize, Attributes)],
        search: &StudySearch<'_>,
        access: &Access,
        freshness: Freshness,
    ) -> Result<(), StudiesError> {
        let mut uids: Vec<StudyUid> = Vec::new();
        let mut without_uid = Vec::new();
        for (_, row) in rows.iter().filter(|(_, row)| access.may_see(row)) {
            match parse_row(source, row) {
                Ok(study) if !self.row_may_match(source, row, search) || uids.contains(&study.uid) => {}
                Ok(study) => uids.push(study.uid),
                Err(row) => without_uid.push(row),
            }
        }
        let without_uid = self.matches_without_uid(without_uid, search.criteria);
        for (archive, omitted) in OmittedMatches::by_archive(&without_uid) {
            *page.omitted_matches.entry(archive).or_default() += omitted;
        }
        let is_on_page = |uid: &StudyUid| {
            page.studies.iter().any(|study| study.uid() == uid)
                || page.patient_conflicts.iter().any(|conflict| conflict.uid == *uid)
        };
        uids.retain(|uid| !is_on_page(uid));
        let uses_last_updated = needs_versions(search.criteria, search.sort);
        let scan_freshness = if uses_last_updated { Freshness::Bypass } else { freshness };
        let mut found = self.find_by_uids(&uids.iter().collect::<Vec<_>>(), access, scan_freshness).await?;
        if uses_last_updated {
            self.check_candidates(found.studies.iter()).await?;
            self.add_versions(&mut found, None).await?;
        }
        let mut filtered = self.filter(found, search.criteria, freshness).await?;
        // An earlier archive returned the study only if its own row matches.
        let is_in_earlier_archive = |study: &FoundStudy| {
            let mut earlier =
                self.sources.iter().take_while(|other| other.archive.id() != source.archive.id());
            earlier.any(|earlier| {
                let mut rows = study.rows_of_archives().filter(|row| &row.archive == earlier.archive.id());
                rows.any(|row| self.row_may_match(earlier, &row.attributes, search))
            })
        };
        filtered.studies.retain(|study| !is_in_earlier_archive(study));
        filtered.studies.sort_by_key(|study| uids.iter().position(|uid| uid == study.uid()));
        page.studies.append(&mut filtered.studies);
        page.unreadable.append(&mut filtered.unreadable);
        page.patient_conflicts.extend(filtered.patient_conflicts.iter().map(PatientConflict::from));
        Ok(())
    }
}

/// Reads the rows of `query` at `archive` after `position`.
async fn read_batch(
    archive: &Archive,
    query: &QidoQuery,
    position: &UpstreamPosition,
    limits: ListLimits,
) -> Result<RowBatch, StudiesError> {
    let overlap_count = usize::from(position.received > 0);
    let offset = u32::try_from(position.received - overlap_count).unwrap_or(u32::MAX);
    let limit = u32::try_from(PAGE_SIZE + overlap_count).unwrap_or(u32::MAX);
    let mut rows: Vec<Attributes> = Vec::new();
    let request = UpstreamRequest::search(query.clone().page(limit, offset));
    let mut total_size = 0;
    let add_row = |row: Attributes| {
        total_size += row.size();
        rows.push(row);
        let exceeds_limits = rows.len() > limits.max_rows || total_size > limits.max_bytes;
        if exceeds_limits { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let page_end = archive.read_rows_until(request, add_row).await?;
    limits.check(archive, rows.len(), total_size)?;
    let first_identity = rows.first().map(identity_of);
    let has_list_changed = overlap_count > 0 && first_identity != position.last;
    if has_list_changed
        && offset > 0
        && first_identity.is_some()
        && first_identity == read_row_at(archive, query, 0).await?.as_ref().map(identity_of)
    {
        return Err(ArchiveError { archive: archive.id().clone(), kind: ArchiveErrorKind::Unpageable }.into());
    }
    let last_identity = rows.last().map(identity_of);
    let last_row = last_identity.map(|identity| (offset as usize + rows.len(), identity));
    // If rows were added at the beginning of the list, the last row of the previous request has a higher index, and the rows
    // before it were already returned.
    let last_index = rows.iter().position(|row| Some(identity_of(row)) == position.last);
    let known_count = last_index.map_or(overlap_count, |index| index + 1);
    let mut previous_identity = position.last.clone();
    let mut is_duplicate = |row: &Attributes| {
        let identity = Some(identity_of(row));
        std::mem::replace(&mut previous_identity, identity.clone()) == identity
    };
    // Some archives return the row of a study once per instance.
    let new_rows = rows.into_iter().enumerate().skip(known_count).filter(|(_, row)| !is_duplicate(row));
    let rows = new_rows.map(|(index, row)| (offset as usize + index + 1, row)).collect();
    let is_short = page_end.row_count < limit as usize
        && !page_end.has_more
        && archive.profile().is_last_page(query, page_end.row_count);
    Ok(RowBatch {
        is_last: page_end.row_count <= overlap_count || is_short,
        rows,
        last_row,
        has_list_changed,
    })
}

/// Returns a short hash that identifies the row without revealing its content.
fn identity_of(row: &Attributes) -> String {
    let mut hash = Sha256::new();
    let identity = RowIdentity::from_row(&SearchLevel::Studies, row);
    for part in identity.iter().flat_map(RowIdentity::parts) {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let digest = hash.finalize();
    let mut short = [0; 8];
    short.copy_from_slice(&digest[..8]);
    format!("{:016x}", u64::from_be_bytes(short))
}
