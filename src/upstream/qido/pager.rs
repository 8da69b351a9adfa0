//! Reads all rows of one archive for one search, page by page (PS3.18 8.3.4.4).
//!
//! Archives page in different ways: neither a short page nor a missing `Warning: 299` shows that the list is complete; an archive
//! that ignores `limit` and `offset` always returns the first page; rows are repeated, or returned once per instance. Therefore
//! the pager stops at an empty page, at a page without new rows, or at a short page if the profile of the archive declares that its
//! paging is reliable. Each page overlaps the previous page by a few rows. If the overlapping rows differ, the list has changed
//! and rows may have been skipped, so the list is read again from its beginning. A page that continues the previous page but only
//! repeats rows is not the end of the list if it is full or has a `Warning: 299`. After a page of one row the next page does not
//! overlap it, because an archive that returns one row at a time would always return the same row. A list that has as many objects
//! as the archive reports in the row of their parent (NumberOfStudyRelatedSeries, …) is complete without an empty page. Repeated rows
//! and rows of other parents do not count, and a list with rows without a UID, which may be repeated, is read to its end.
//!
//! The pager depends neither on the use of the rows nor on the limit of rows in memory: its caller stops when it has enough
//! rows.

use std::collections::HashSet;
use std::marker::PhantomData;
use std::ops::ControlFlow;

use serde::de::DeserializeOwned;

use super::{QidoQuery, SearchLevel};
use crate::upstream::{Archive, ArchiveError, ArchiveErrorKind, UpstreamRequest};
use dicom_model::{Attributes, Tag, tags};

/// The number of rows by which each page overlaps the previous one.
const PAGE_OVERLAP: usize = 3;

/// Maximum number of consecutive pages that contain only repeated rows, for archives that return one row per instance.
const MAX_REPEATING_PAGES: usize = 20;

/// Maximum number of times that a list is read again from its beginning because it changed.
const MAX_RESTARTS: usize = 2;

/// The identity of a row in its list: the UIDs of its object and, because a UID may be assigned to two patients, the patient.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RowIdentity {
    uid: Box<str>,
    parents: [Box<str>; 2],
    patient: [Box<str>; 2],
}

impl RowIdentity {
    /// Returns the identity of a row at `level`; `None` if the row lacks the UID of its object.
    pub fn from_row(level: &SearchLevel, row: &Attributes) -> Option<Self> {
        let text = |tag: Tag| Box::<str>::from(row.text(tag).unwrap_or_default());
        let uid_tag = match level {
            SearchLevel::Studies => tags::STUDY_INSTANCE_UID,
            SearchLevel::Series { .. } | SearchLevel::AllSeries => tags::SERIES_INSTANCE_UID,
            SearchLevel::Instances { .. }
            | SearchLevel::SeriesInstances { .. }
            | SearchLevel::AllInstances => tags::SOP_INSTANCE_UID,
        };
        Some(Self {
            uid: row.text(uid_tag)?.into(),
            parents: [text(tags::STUDY_INSTANCE_UID), text(tags::SERIES_INSTANCE_UID)],
            patient: [text(tags::PATIENT_ID), text(tags::ISSUER_OF_PATIENT_ID)],
        })
    }

    /// Returns the identity of an instance of one study. `series` is the UID of its series, if the row has one.
    pub fn of_instance(uid: &str, series: Option<&str>, patient: &Attributes) -> Self {
        let text = |tag: Tag| Box::<str>::from(patient.text(tag).unwrap_or_default());
        let patient = [text(tags::PATIENT_ID), text(tags::ISSUER_OF_PATIENT_ID)];
        Self { uid: uid.into(), parents: [Box::default(), series.unwrap_or_default().into()], patient }
    }

    /// Returns the UID of the object.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// Returns all values of the identity.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.uid).chain(&self.parents).chain(&self.patient).map(AsRef::as_ref)
    }
}

/// The state of a list after a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageEnd {
    /// The list may continue.
    More,
    /// The list is complete.
    Last,
    /// The list changed while it was read, and is read again. The caller must discard the rows received so far.
    Restart,
    /// The caller stopped, and the rest of the list is not read.
    Stopped,
}

/// A list that is being read.
#[derive(Debug)]
pub struct Pager<'a, T, I> {
    archive: &'a Archive,
    query: &'a QidoQuery,
    identity: I,
    reported_count: Option<usize>,
    /// Whether the list ended because it has as many rows as the archive reports.
    is_ended_by_count: bool,
    position: ListPosition,
    restart_count: usize,
    row: PhantomData<fn() -> T>,
}

/// The position up to which a list has been read.
#[derive(Debug, Default)]
struct ListPosition {
    known_identities: HashSet<RowIdentity>,
    /// The number of rows received so far, without those of overlaps.
    received_count: usize,
    /// The identities of the rows of the last page, in order.
    last_page: Vec<Option<RowIdentity>>,
    /// The number of pages since the last page with a new row.
    repeating_page_count: usize,
    /// Whether the last page was short, and so small that the archive has returned larger ones.
    has_short_page: bool,
    /// Whether a row without an identity was received.
    has_rows_without_identity: bool,
    /// Whether only the first page was read, and had fewer rows than requested.
    is_short_first_page: bool,
}

impl<'a, T: DeserializeOwned, I: Fn(&T) -> Option<RowIdentity>> Pager<'a, T, I> {
    /// Creates a pager for the rows of `query` at `archive`. `limit` and `offset` of the query are replaced.
    pub fn new(archive: &'a Archive, query: &'a QidoQuery, identity: I) -> Self {
        Self {
            archive,
            query,
            identity,
            reported_count: None,
            is_ended_by_count: false,
            position: ListPosition::default(),
            restart_count: 0,
            row: PhantomData,
        }
    }

    /// Returns the same pager for a list of which the archive reports that it has `count` rows. A longer or shorter list is read to its
    /// end, because the reported number may be wrong.
    #[must_use]
    pub fn with_reported_count(self, count: Option<usize>) -> Self {
        Self { reported_count: count, ..self }
    }

    /// Whether the list ended because it has as many rows as the archive reports. If the rows contradict the number, the caller reads the
    /// list again without it.
    pub fn is_ended_by_count(&self) -> bool {
        self.is_ended_by_count
    }

    /// Requests `size` more rows. Passes the new rows to `add` in order, until `add` breaks; a row without an identity is passed
    /// each time that it is received.
    ///
    /// It is an error if the list changes during every attempt to read it, or if the archive truncates the list and ignores the
    /// paging parameters.
    pub async fn next_page(
        &mut self,
        size: u32,
        mut add: impl FnMut(T, Option<&RowIdentity>) -> ControlFlow<()>,
    ) -> Result<PageEnd, ArchiveError> {
        // The overlap is smaller than the last page, so that an archive with small pages still returns new rows.
        let overlap = self.position.last_page.len().saturating_sub(1).min(PAGE_OVERLAP);
        match self.request_page(overlap, size, &mut add).await {
            // Some archives reject an offset at the end of the list.
            Err(error)
                if overlap == 0
                    && !self.position.last_page.is_empty()
                    && matches!(error.kind, ArchiveErrorKind::Rejected(_)) =>
            {
                self.request_page(1, size, &mut add).await
            }
            end => end,
        }
    }

    async fn request_page(
        &mut self,
        overlap: usize,
        size: u32,
        add: &mut impl FnMut(T, Option<&RowIdentity>) -> ControlFlow<()>,
    ) -> Result<PageEnd, ArchiveError> {
        let Self { archive, query, identity, position, reported_count, is_ended_by_count, .. } = self;
        let is_first = position.last_page.is_empty();
        let offset = u32::try_from(position.received_count - overlap).unwrap_or(u32::MAX);
        // Each page has as many new rows as the first one.
        let limit = size.saturating_add(u32::try_from(overlap).unwrap_or(u32::MAX));
        let (mut has_new_rows, mut identities, mut is_stopped) = (false, Vec::new(), false);
        let known_identities = &mut position.known_identities;
        let add_new_row = |row: T| {
            let identity = identity(&row);
            let flow = match &identity {
                Some(new) if known_identities.insert(new.clone()) => {
                    has_new_rows = true;
                    add(row, Some(new))
                }
                Some(_) => ControlFlow::Continue(()),
                None => add(row, None),
            };
            identities.push(identity);
            is_stopped |= flow.is_break();
            flow
        };
        let request = UpstreamRequest::search((*query).clone().page(limit, offset));
        let outcome = archive.read_rows_until(request, add_new_row).await?;
        if is_stopped {
            return Ok(PageEnd::Stopped);
        }
        let is_short = outcome.row_count < limit as usize && !outcome.has_more;
        let is_full = outcome.row_count == limit as usize;
        let is_reliable = archive.profile().is_last_page(query, outcome.row_count);
        if position.has_short_page && has_new_rows {
            archive
                .contradict_findings("It returned further rows after a page with fewer rows than requested.");
        } else if position.has_short_page && !outcome.has_more {
            archive.confirm_short_pages(position.last_page.len() + 1);
        }
        archive.confirm_short_pages(outcome.row_count);
        position.has_short_page =
            has_new_rows && is_short && outcome.row_count < archive.found_short_page_limit();
        position.has_rows_without_identity |= identities.contains(&None);
        let is_reported_count = !outcome.has_more
            && reported_count.is_some_and(|count| position.has_requested_objects(query, count));
        // The rows of the overlap were in the list, so they were removed from it. After a short first page, which may be the whole list, some
        // archives return nothing for any offset.
        if outcome.row_count < overlap && !position.is_short_first_page {
            return self.restart();
        }
        let is_end = if has_new_rows {
            is_short && (is_reliable || is_reported_count) && is_first
        } else {
            !(outcome.has_more || is_full && position.is_continued_by(overlap, &identities))
        };
        if is_end {
            *is_ended_by_count = has_new_rows && !is_reliable;
            return Ok(PageEnd::Last);
        }
        position.repeating_page_count = if has_new_rows { 0 } else { position.repeating_page_count + 1 };
        if position.is_truncated(overlap, &identities) {
            return Err(archive.error(ArchiveErrorKind::Unpageable));
        }
        if !position.is_continued_by(overlap, &identities) {
            return self.restart();
        }
        if is_short && is_reliable || is_reported_count {
            *is_ended_by_count = !(is_short && is_reliable);
            return Ok(PageEnd::Last);
        }
        position.is_short_first_page = is_first && is_short;
        position.received_count += outcome.row_count.saturating_sub(overlap);
        position.last_page = identities;
        Ok(PageEnd::More)
    }

    fn restart(&mut self) -> Result<PageEnd, ArchiveError> {
        if self.restart_count == MAX_RESTARTS {
            return Err(self.archive.error(ArchiveErrorKind::ListChanged));
        }
        self.restart_count += 1;
        self.position = ListPosition::default();
        Ok(PageEnd::Restart)
    }
}

impl ListPosition {
    /// Whether exactly `count` objects were received that `query` requests.
    fn has_requested_objects(&self, query: &QidoQuery, count: usize) -> bool {
        if self.has_rows_without_identity || self.known_identities.len() < count {
            return false;
        }
        let parents = query.requested_parents();
        let is_requested = |identity: &&RowIdentity| {
            parents.iter().zip(&identity.parents).all(|(requested, uid)| {
                uid.is_empty() || requested.as_ref().is_none_or(|requested| requested.contains(uid.as_ref()))
            })
        };
        // An object has several rows if it is listed for several patients.
        let objects = self.known_identities.iter().filter(is_requested);
        objects.map(|identity| (&identity.uid, &identity.parents)).collect::<HashSet<_>>().len() == count
    }

    /// Whether a page begins with the last `overlap` rows of the previous page.
    fn is_continued_by(&self, overlap: usize, identities: &[Option<RowIdentity>]) -> bool {
        let start = self.last_page.len().checked_sub(overlap);
        start.and_then(|start| self.last_page.get(start..)) == identities.get(..overlap)
    }

    /// Whether the archive truncates its list and ignores the paging parameters. Then a page begins with the whole previous page
    /// instead of its end, or many consecutive pages contain only repeated rows.
    fn is_truncated(&self, overlap: usize, identities: &[Option<RowIdentity>]) -> bool {
        let repeats_page = (self.repeating_page_count == 0 || !self.is_continued_by(overlap, identities))
            && overlap > 0
            && self.last_page.len() > overlap
            && identities.starts_with(&self.last_page);
        repeats_page || self.repeating_page_count > MAX_REPEATING_PAGES
    }
}
