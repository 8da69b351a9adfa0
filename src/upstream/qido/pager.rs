//! Reads every row that one archive has for one search, however it pages (PS3.18 8.3.4.4).
//!
//! Archives differ: a short page proves nothing, nor does a missing `Warning: 299`; `limit` and `offset` may be ignored, so
//! that every page is the first one; rows are repeated, or returned once per instance. So the pager counts the rows received
//! and stops at an empty page, at a page without new rows, or, where the archive's profile says that its paging is reliable, at
//! a short page. Each page overlaps the one before it by a few rows. If they differ, the list changed and rows may have been
//! skipped, so the list is read again from its beginning. A page that continues where the last one ended but only repeats rows is
//! not the end of the list if it is full or has a `Warning: 299`. After a page of one row the next page does not overlap it,
//! because an archive that returns one row at a time would return the same row forever.
//!
//! The pager does not know what the rows are for or how many of them may be held in memory: its caller stops when it has
//! enough.

use std::collections::HashSet;
use std::marker::PhantomData;
use std::ops::ControlFlow;

use serde::de::DeserializeOwned;

use super::{QidoQuery, SearchLevel};
use crate::upstream::{Archive, ArchiveError, ArchiveErrorKind, UpstreamRequest};
use dicom_model::{Attributes, Tag, tags};

/// How many rows each page repeats from the end of the one before it.
const OVERLAP: usize = 3;

/// How many pages in a row may hold repeated rows only, for archives that return one row per instance.
const MAX_REPEATING_PAGES: usize = 20;

/// How often a list that changes while it is read is read again from its beginning.
const MAX_RESTARTS: usize = 2;

/// What distinguishes a row from every other row of its list: the UIDs of its object and, because a UID may be assigned to two
/// patients, the patient.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RowIdentity {
    uid: Box<str>,
    parents: [Box<str>; 2],
    patient: [Box<str>; 2],
}

impl RowIdentity {
    /// The identity of a row at `level`; `None` if the row lacks its object's UID.
    pub fn of(level: &SearchLevel, row: &Attributes) -> Option<Self> {
        let text = |tag: Tag| Box::<str>::from(row.text(tag).unwrap_or_default());
        let own_tag = match level {
            SearchLevel::Studies => tags::STUDY_INSTANCE_UID,
            SearchLevel::Series { .. } | SearchLevel::AllSeries => tags::SERIES_INSTANCE_UID,
            SearchLevel::Instances { .. }
            | SearchLevel::SeriesInstances { .. }
            | SearchLevel::AllInstances => tags::SOP_INSTANCE_UID,
        };
        Some(Self {
            uid: row.text(own_tag)?.into(),
            parents: [text(tags::STUDY_INSTANCE_UID), text(tags::SERIES_INSTANCE_UID)],
            patient: [text(tags::PATIENT_ID), text(tags::ISSUER_OF_PATIENT_ID)],
        })
    }

    /// The identity of an object that its UID alone identifies: an instance of one series.
    pub fn of_uid(uid: &str) -> Self {
        Self { uid: uid.into(), parents: Default::default(), patient: Default::default() }
    }

    /// The object's UID.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// All values that the identity consists of.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.uid).chain(&self.parents).chain(&self.patient).map(AsRef::as_ref)
    }
}

/// What reading a page showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageEnd {
    /// The list may continue.
    More,
    /// The list is complete.
    Last,
    /// The list changed while it was read and is read again: the caller must discard the rows received so far.
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
    list: Position,
    restarts: usize,
    row: PhantomData<fn() -> T>,
}

/// How far a list has been read.
#[derive(Debug, Default)]
struct Position {
    seen: HashSet<RowIdentity>,
    /// Rows received so far; rows repeated by the overlap count once.
    received: usize,
    /// The identities of the last page's rows, in order.
    last: Vec<Option<RowIdentity>>,
    /// How many pages have come since the last one with a new row.
    repeating: usize,
}

impl<'a, T: DeserializeOwned, I: Fn(&T) -> Option<RowIdentity>> Pager<'a, T, I> {
    /// Reads the rows of `query` from `archive`; the query's own `limit` and `offset` are replaced.
    pub fn new(archive: &'a Archive, query: &'a QidoQuery, identity: I) -> Self {
        Self { archive, query, identity, list: Position::default(), restarts: 0, row: PhantomData }
    }

    /// Requests `size` more rows. Passes the new ones to `each` in order, until it breaks; a row without an identity is passed each
    /// time that it is received.
    ///
    /// It is an error if the list changes during every attempt to read it, or if the archive truncates the list and ignores the
    /// paging parameters.
    pub async fn next_page(
        &mut self,
        size: u32,
        mut each: impl FnMut(T, Option<&RowIdentity>) -> ControlFlow<()>,
    ) -> Result<PageEnd, ArchiveError> {
        // Fewer than the last page had, so that an archive with small pages still returns new rows.
        let repeated = self.list.last.len().saturating_sub(1).min(OVERLAP);
        match self.next_page_after(repeated, size, &mut each).await {
            // Some archives reject an offset at the end of the list.
            Err(error)
                if repeated == 0
                    && !self.list.last.is_empty()
                    && matches!(error.kind, ArchiveErrorKind::Rejected(_)) =>
            {
                self.next_page_after(1, size, &mut each).await
            }
            end => end,
        }
    }

    async fn next_page_after(
        &mut self,
        repeated: usize,
        size: u32,
        each: &mut impl FnMut(T, Option<&RowIdentity>) -> ControlFlow<()>,
    ) -> Result<PageEnd, ArchiveError> {
        let Self { archive, query, identity, list, .. } = self;
        let is_first = list.last.is_empty();
        let offset = u32::try_from(list.received - repeated).unwrap_or(u32::MAX);
        // Each page brings as many new rows as the first.
        let limit = size.saturating_add(u32::try_from(repeated).unwrap_or(u32::MAX));
        let (mut has_new_rows, mut identities, mut is_stopped) = (false, Vec::new(), false);
        let seen = &mut list.seen;
        let take = |row: T| {
            let identity = identity(&row);
            let flow = match &identity {
                Some(known) if seen.insert(known.clone()) => {
                    has_new_rows = true;
                    each(row, Some(known))
                }
                Some(_) => ControlFlow::Continue(()),
                None => each(row, None),
            };
            identities.push(identity);
            is_stopped |= flow.is_break();
            flow
        };
        let request = UpstreamRequest::search((*query).clone().page(limit, offset));
        let end = archive.rows_until(request, take).await?;
        if is_stopped {
            return Ok(PageEnd::Stopped);
        }
        let is_short = end.rows < limit as usize && !end.more;
        let is_full = end.rows == limit as usize;
        let is_reliable = archive.profile().paging_is_reliable;
        let is_end = if has_new_rows {
            is_short && is_reliable && is_first
        } else {
            !(end.more || is_full && list.continues(repeated, &identities))
        };
        if is_end {
            return Ok(PageEnd::Last);
        }
        list.repeating = if has_new_rows { 0 } else { list.repeating + 1 };
        if list.is_cut_short(repeated, &identities) {
            return Err(archive.error(ArchiveErrorKind::Unpageable));
        }
        if !list.continues(repeated, &identities) {
            return self.restart();
        }
        if is_short && is_reliable {
            return Ok(PageEnd::Last);
        }
        list.received += end.rows.saturating_sub(repeated);
        list.last = identities;
        Ok(PageEnd::More)
    }

    fn restart(&mut self) -> Result<PageEnd, ArchiveError> {
        if self.restarts == MAX_RESTARTS {
            return Err(self.archive.error(ArchiveErrorKind::ListChanged));
        }
        self.restarts += 1;
        self.list = Position::default();
        Ok(PageEnd::Restart)
    }
}

impl Position {
    /// Whether a page begins with the rows that the last one ended with.
    fn continues(&self, repeated: usize, identities: &[Option<RowIdentity>]) -> bool {
        let tail = self.last.len().checked_sub(repeated).and_then(|from| self.last.get(from..));
        tail == identities.get(..repeated)
    }

    /// Whether the archive truncates its list and ignores the paging parameters: a page is the first one again, a little
    /// longer or, although there are more rows, the same; or page after page holds repeated rows only.
    fn is_cut_short(&self, repeated: usize, identities: &[Option<RowIdentity>]) -> bool {
        let is_first_again = (self.repeating == 0 || !self.continues(repeated, identities))
            && repeated > 0
            && self.last.len() > repeated
            && identities.starts_with(&self.last);
        is_first_again || self.repeating > MAX_REPEATING_PAGES
    }
}
