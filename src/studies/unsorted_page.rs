//! One page of a search that finds more than may be read: the archives are read one after the other, in their own order, from
//! where the last page ended until the page is full.
//!
//! Each page begins with the last row of the one before it. If that row is no longer where it was, the list has changed, and
//! the page reports it. An archive that always returns its first rows cannot be read like this. A study that an earlier archive
//! holds too was on a page of that archive, and is omitted from later ones.
//!
//! [`Pager`](crate::upstream::Pager) cannot continue such a list: it recognizes repeated rows and changes by the identities of
//! the rows that it received, of which a cursor holds the hash of one. And it reads a list that changed again from its beginning,
//! but these lists are longer than may be read.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::candidates::{may_hold, study_row};
use super::plan::{self, Plan};
use super::scan::ListLimits;
use super::search::{Cursor, PatientConflict, StudyPage, StudySearch};
use super::study_versions::needs_versions;
use super::{ArchiveSource, FoundStudy, Freshness, Studies, StudiesError};
use crate::auth::Access;
use crate::mapping;
use crate::upstream::{
    Archive, ArchiveError, ArchiveErrorKind, QidoQuery, RowIdentity, SearchLevel, UpstreamRequest,
};
use dicom_model::{Attributes, StudyUid};

/// Rows requested at once: one or two pages.
const PAGE: usize = 100;

/// How many earlier positions a cursor holds, for links to previous pages.
const MAX_TRAIL_LEN: usize = 16;

/// The number of an archive in the order of the configuration, from 0. Replicas with the same configuration agree on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct ArchiveIndex(usize);

impl ArchiveIndex {
    fn of(self, sources: &[ArchiveSource]) -> Option<&ArchiveSource> {
        sources.get(self.0)
    }

    fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A position in the archives' own order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamPosition {
    /// The archive that is read.
    archive: ArchiveIndex,
    /// How many of its rows were received before.
    received: usize,
    /// The identity of the last of them, to recognize it again.
    last: Option<String>,
    /// Where the previous pages began, the latest last.
    trail: Vec<(ArchiveIndex, usize, Option<String>)>,
}

impl UpstreamPosition {
    fn trail_entry(&self) -> (ArchiveIndex, usize, Option<String>) {
        (self.archive, self.received, self.last.clone())
    }

    fn next_archive(&self) -> Self {
        Self { archive: self.archive.next(), ..Self::default() }
    }

    /// The previous page.
    fn previous(&self) -> Option<Self> {
        let mut trail = self.trail.clone();
        let (archive, received, last) = trail.pop()?;
        Some(Self { archive, received, last, trail })
    }

    /// A page that begins here, after one that began at `begin`.
    fn following(mut self, begin: &Self) -> Self {
        self.trail.clone_from(&begin.trail);
        self.trail.push(begin.trail_entry());
        let surplus = self.trail.len().saturating_sub(MAX_TRAIL_LEN);
        self.trail.drain(..surplus);
        self
    }
}

/// Rows after a position.
struct RowBatch {
    /// Each row with the number of rows received up to and including it.
    rows: Vec<(usize, Attributes)>,
    /// The number of rows received up to the last one, known or not, and its identity.
    end: Option<(usize, String)>,
    has_drifted: bool,
    is_last: bool,
}

impl Studies {
    pub(super) async fn streamed(
        &self,
        search: &StudySearch<'_>,
        begin: UpstreamPosition,
        access: &Access,
        freshness: Freshness,
    ) -> Result<StudyPage, StudiesError> {
        let mut page = StudyPage { previous: begin.previous().map(Cursor::At), ..StudyPage::default() };
        let mut position = begin.clone();
        let mut scanned = 0;
        while let Some(source) = position.archive.of(&self.sources) {
            let Some(query) = self.open_query(source, search)? else {
                position = position.next_archive();
                continue;
            };
            // An archive that ignores the limit returns its whole list.
            let limits = ListLimits { max_rows: usize::MAX, max_bytes: self.limits.detail.max_bytes };
            let batch = batch(&source.archive, &query, &position, limits).await?;
            page.has_drifted |= batch.has_drifted;
            scanned += batch.rows.len();
            let mut rows = batch.rows.as_slice();
            while !rows.is_empty() {
                let room = search.count - page.studies.len();
                if room == 0 {
                    // There is a next page only if something is on it.
                    if rows.iter().any(|(_, row)| self.row_may_match(source, row, search)) {
                        page.next = Some(Cursor::At(position.following(&begin)));
                        return Ok(page);
                    }
                    break;
                }
                let (taken, rest) = rows.split_at(self.rows_that_fit(source, rows, room, search));
                self.take(&mut page, source, taken, search, access, freshness).await?;
                if let Some((received, row)) = taken.last() {
                    (position.received, position.last) = (*received, Some(identity_of(row)));
                }
                rows = rest;
            }
            if let Some((received, last)) = batch.end {
                (position.received, position.last) = (received, Some(last));
            }
            if batch.is_last {
                position = position.next_archive();
            } else if scanned > self.limits.max_scan {
                if page.studies.len() == search.count {
                    page.next = Some(Cursor::At(position.following(&begin)));
                    return Ok(page);
                }
                let archive = source.archive.id().clone();
                return Err(StudiesError::TooManyRows { archive, limit: self.limits.max_scan });
            }
        }
        Ok(page)
    }

    /// The number of leading `rows` that contain no more possible matches than fit on the page.
    fn rows_that_fit(
        &self,
        source: &ArchiveSource,
        rows: &[(usize, Attributes)],
        room: usize,
        search: &StudySearch<'_>,
    ) -> usize {
        let mut may_match = 0;
        let fits = |(_, row): &&(usize, Attributes)| {
            may_match += usize::from(self.row_may_match(source, row, search));
            may_match <= room
        };
        rows.iter().take_while(fits).count()
    }

    /// The query for the archive; `None` if it holds nothing that can match. Plans with several queries are not long lists, and
    /// are not read like this.
    fn open_query(
        &self,
        source: &ArchiveSource,
        search: &StudySearch<'_>,
    ) -> Result<Option<QidoQuery>, StudiesError> {
        if !may_hold(source, search.criteria) {
            return Ok(None);
        }
        let uid_lists = source.archive.profile().uid_lists;
        let (Plan::Ask(queries) | Plan::Below(_, queries)) = plan::studies(search.criteria, None, uid_lists);
        match <[plan::PlannedQuery; 1]>::try_from(queries) {
            // A key that some archives reject would be rejected again for each page.
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
        let found = study_row(source, row).map(FoundStudy::from);
        found.is_ok_and(|study| self.by_row(&study, search.criteria).is_some())
    }

    /// Adds the rows' studies to the page if they match and belong on it.
    async fn take(
        &self,
        page: &mut StudyPage,
        source: &ArchiveSource,
        rows: &[(usize, Attributes)],
        search: &StudySearch<'_>,
        access: &Access,
        freshness: Freshness,
    ) -> Result<(), StudiesError> {
        let mut uids: Vec<StudyUid> = Vec::new();
        let mut missing_uid = Vec::new();
        for (_, row) in rows.iter().filter(|(_, row)| access.may_see(row)) {
            match study_row(source, row) {
                Ok(named) if !self.row_may_match(source, row, search) || uids.contains(&named.uid) => {}
                Ok(named) => uids.push(named.uid),
                Err(row) => missing_uid.push(row),
            }
        }
        for (archive, count) in self.missing_uid_matches(&missing_uid, search.criteria) {
            *page.missing_uid.entry(archive).or_default() += count;
        }
        let is_there = |uid: &StudyUid| {
            page.studies.iter().any(|study| study.uid() == uid)
                || page.patient_conflicts.iter().any(|conflict| conflict.uid == *uid)
        };
        uids.retain(|uid| !is_there(uid));
        let is_dated = needs_versions(search.criteria, search.sort);
        let asking = if is_dated { Freshness::Bypass } else { freshness };
        let mut everywhere = self.studies_named(&uids.iter().collect::<Vec<_>>(), access, asking).await?;
        if is_dated {
            self.date(&mut everywhere).await;
        }
        let mut filtered = self.filter(everywhere, search.criteria, freshness).await?;
        let belongs_to_earlier = |study: &FoundStudy| {
            let ids = self.sources.iter().map(|source| source.archive.id());
            let mut earlier = ids.take_while(|id| *id != source.archive.id());
            earlier.any(|id| *id == study.first().archive)
        };
        filtered.studies.retain(|study| !belongs_to_earlier(study));
        filtered.studies.sort_by_key(|study| uids.iter().position(|uid| uid == study.uid()));
        page.studies.append(&mut filtered.studies);
        page.unread.append(&mut filtered.unread);
        page.patient_conflicts.extend(filtered.patient_conflicts.iter().map(PatientConflict::from));
        Ok(())
    }
}

/// The rows of `query` at `archive` after `position`.
async fn batch(
    archive: &Archive,
    query: &QidoQuery,
    position: &UpstreamPosition,
    limits: ListLimits,
) -> Result<RowBatch, StudiesError> {
    let repeated = usize::from(position.received > 0);
    let offset = u32::try_from(position.received - repeated).unwrap_or(u32::MAX);
    let limit = u32::try_from(PAGE + repeated).unwrap_or(u32::MAX);
    let mut rows: Vec<Attributes> = Vec::new();
    let request = UpstreamRequest::search(query.clone().page(limit, offset));
    let mut bytes = 0;
    let each = |row: Attributes| {
        bytes += row.size();
        rows.push(row);
        let exceeds = rows.len() > limits.max_rows || bytes > limits.max_bytes;
        if exceeds { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let received = archive.rows_until(request, each).await?;
    limits.check(archive, rows.len(), bytes)?;
    let first = rows.first().map(identity_of);
    let has_drifted = repeated > 0 && first != position.last;
    if has_drifted && offset > 0 && first.is_some() && first == first_row(archive, query).await? {
        return Err(ArchiveError { archive: archive.id().clone(), kind: ArchiveErrorKind::Unpageable }.into());
    }
    let last = rows.last().map(identity_of);
    let end = last.map(|last| (offset as usize + rows.len(), last));
    // If the list grew at its beginning, the last row is further back, and the rows before it were returned already.
    let known = rows.iter().position(|row| Some(identity_of(row)) == position.last);
    let seen = known.map_or(repeated, |known| known + 1);
    let mut before = position.last.clone();
    let mut is_repeated = |row: &Attributes| {
        let last = before.replace(identity_of(row));
        last == before
    };
    let numbered = rows.into_iter().enumerate().skip(seen);
    // Repeated rows, which some archives return once per instance, are skipped.
    let new = numbered.filter(|(_, row)| !is_repeated(row));
    let rows = new.map(|(index, row)| (offset as usize + index + 1, row)).collect();
    let is_short =
        received.row_count < limit as usize && !received.has_more && archive.profile().paging_is_reliable;
    Ok(RowBatch { is_last: received.row_count <= repeated || is_short, rows, end, has_drifted })
}

/// The first row of the archive's list.
async fn first_row(archive: &Archive, query: &QidoQuery) -> Result<Option<String>, StudiesError> {
    let mut first = None;
    let request = UpstreamRequest::search(query.clone().page(1, 0));
    let each = |row: Attributes| {
        first = Some(identity_of(&row));
        ControlFlow::Break(())
    };
    archive.rows_until(request, each).await?;
    Ok(first)
}

/// A short hash that identifies the row without revealing its content.
fn identity_of(row: &Attributes) -> String {
    let mut digest = Sha256::new();
    let identity = RowIdentity::from_row(&SearchLevel::Studies, row);
    for part in identity.iter().flat_map(RowIdentity::parts) {
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    let digest = digest.finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    format!("{:016x}", u64::from_be_bytes(first))
}
