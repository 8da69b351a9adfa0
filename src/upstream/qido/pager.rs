//! Every row that one archive has for one search, however it pages (PS3.18 8.3.4.4).
//!
//! What is known of paging in the field: a short page proves nothing, nor does a missing `Warning: 299`; `limit` and
//! `offset` may be ignored (then every page is the first one); rows come twice, or once for each instance. So paging goes on by
//! the number of rows received and ends at an empty page, at a page that brings nothing new, or, where the archive's profile
//! says that its paging can be relied on, at a short page. Each page begins with the last rows of the one before it: when it
//! does not, something came or went in between, and rows may have been skipped, so that the list is read again from its
//! beginning. A full page that continues where the last one ended and only repeats its rows is no end.
//!
//! The pager knows nothing of what rows are for, nor how many of them may be held: whoever reads them stops when there are
//! enough.

use std::collections::HashSet;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use super::{QidoQuery, SearchLevel};
use crate::upstream::{Archive, ArchiveError, ArchiveErrorKind, UpstreamRequest};
use dicom_model::{Attributes, Tag, tags};

/// How many rows a page repeats of the one before it, where that has more of them.
const OVERLAP: usize = 3;

/// So many full pages may repeat rows and nothing else: of an archive that gives a row for each instance.
const MAX_REPEATING_PAGES: usize = 20;

/// How often a list that changes while it is read is read again from its beginning.
const MAX_RESTARTS: usize = 2;

/// What tells a row from every other of its list: the UIDs of its object, and, as a UID can be assigned to two patients,
/// the patient.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RowIdentity {
    uid: Box<str>,
    parents: [Box<str>; 2],
    patient: [Box<str>; 2],
}

impl RowIdentity {
    /// Of a row of `level`; `None` where it does not have its object's UID.
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

    /// Of an object whose UID alone tells it apart: an instance of one series.
    pub fn of_uid(uid: &str) -> Self {
        Self { uid: uid.into(), parents: Default::default(), patient: Default::default() }
    }

    /// The object's UID.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// All that it is made of.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.uid).chain(&self.parents).chain(&self.patient).map(AsRef::as_ref)
    }
}

/// What a page came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageEnd {
    /// The list may continue.
    More,
    /// The list is complete.
    Last,
    /// The list changed while it was read, and is read again: what was handed over is to be forgotten.
    Restart,
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
    /// Rows received so far, repeated ones once.
    received: usize,
    /// The identities of the last page's rows, in their order.
    last: Vec<Option<RowIdentity>>,
    /// How many pages came since the last one with a new row.
    repeating: usize,
}

impl<'a, T: DeserializeOwned, I: Fn(&T) -> Option<RowIdentity>> Pager<'a, T, I> {
    /// Reads what `archive` has for `query`, whose own `limit` and `offset` do not count.
    pub fn new(archive: &'a Archive, query: &'a QidoQuery, identity: I) -> Self {
        Self { archive, query, identity, list: Position::default(), restarts: 0, row: PhantomData }
    }

    /// Asks for `size` more rows. Hands those that were not there before to `each`, in their order; a row without an identity
    /// whenever it comes.
    ///
    /// A list that changes each time that it is read is an error, as is one that the archive cuts short and cannot be asked
    /// for the rest of.
    pub async fn next_page(
        &mut self,
        size: u32,
        mut each: impl FnMut(T, Option<&RowIdentity>),
    ) -> Result<PageEnd, ArchiveError> {
        let Self { archive, query, identity, list, .. } = self;
        // Fewer than the last page had, so that an archive that gives few at a time gives something new too.
        let repeated = list.last.len().saturating_sub(1).clamp(1, OVERLAP).min(list.received);
        let offset = u32::try_from(list.received - repeated).unwrap_or(u32::MAX);
        // So that each page brings as many new rows as the first.
        let limit = size.saturating_add(u32::try_from(repeated).unwrap_or(u32::MAX));
        let (mut brought_news, mut identities) = (false, Vec::new());
        let seen = &mut list.seen;
        let take = |row: T| {
            let identity = identity(&row);
            match &identity {
                Some(known) if seen.insert(known.clone()) => {
                    brought_news = true;
                    each(row, Some(known));
                }
                Some(_) => {}
                None => each(row, None),
            }
            identities.push(identity);
        };
        let request = UpstreamRequest::search((*query).clone().page(limit, offset));
        let end = archive.rows(request, take).await?;
        let is_short = end.rows < limit as usize && !end.more;
        let is_full = end.rows == limit as usize;
        let is_reliable = archive.profile().paging_is_reliable;
        let is_end = if brought_news {
            is_short && is_reliable && repeated == 0
        } else {
            !(is_full && list.continues(repeated, &identities))
        };
        if is_end {
            return Ok(PageEnd::Last);
        }
        list.repeating = if brought_news { 0 } else { list.repeating + 1 };
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

    /// Whether the archive cuts its answers, and cannot be asked for the rest: a page is the first one again, a little longer,
    /// or one page after the other only repeats.
    fn is_cut_short(&self, repeated: usize, identities: &[Option<RowIdentity>]) -> bool {
        let is_first_again = self.repeating == 0
            && repeated > 0
            && self.last.len() > repeated
            && identities.starts_with(&self.last);
        is_first_again || self.repeating > MAX_REPEATING_PAGES
    }
}
