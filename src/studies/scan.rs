//! Every row that one archive has for one search, however it pages.
//!
//! What is known of paging in the field: a short page proves nothing, nor does a missing `Warning: 299`; `limit` and
//! `offset` may be ignored (then every page is the first one); rows come twice, or once for each instance. So paging goes on by
//! the number of rows received and ends at an empty page, at a page that brings nothing new, or, where the archive's profile
//! says that its paging can be relied on, at a short page. Each page begins with the last rows of the one before it: when it
//! does not, something came or went in between, and rows may have been jumped over, so that all is read again. A full page
//! that goes on where the last one ended and only repeats its rows is no end.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::{Freshness, Scan, Studies, StudiesError};
use crate::archive::{Archive, QidoQuery, UpstreamRequest};
use crate::cache::SearchRows;
use crate::dicom::{Attributes, Tag, tags};

/// How many rows of studies or series are asked for at once: few calls for long lists, and a page that is read in well
/// under a second.
const PAGE: u32 = 500;

/// How many rows a page repeats of the one before it, where that has more of them.
const OVERLAP: usize = 3;

/// So many full pages may repeat rows and nothing else: of an archive that gives a row for each instance.
const MOST_REPEATING: usize = 20;

/// How often a list that changes while it is read is read again from its beginning.
const MOST_RESTARTS: usize = 2;

impl Studies {
    /// All rows of `query` at `archive`, without repetitions; from the cache while they are fresh. Identical searches in
    /// flight are shared, and go on when the asker has gone, unless all of the answer must be newer than the question.
    pub(super) async fn scan(&self, archive: &Archive, query: QidoQuery, freshness: Freshness) -> Scan {
        let canonical = query.canonical();
        if freshness == Freshness::Cached
            && let Some(rows) = self.cache.rows(archive.id(), &canonical)
        {
            return Ok(rows);
        }
        let flight = (archive.id().clone(), canonical.clone());
        let (cache, archive, limit) = (self.cache.clone(), archive.clone(), self.limits.max_scan);
        let load = || async move {
            let asked_at = cache.elapsed();
            let rows = all_rows(&archive, &query, limit).await?;
            let rows = Arc::new(SearchRows { rows, asked_at });
            cache.keep_rows(archive.id(), &canonical, Arc::clone(&rows));
            Ok(rows)
        };
        match freshness {
            Freshness::Cached | Freshness::Reload => self.scans.run(flight, load).await?,
            Freshness::Anew => load().await,
        }
    }
}

/// All rows of studies or series, at most `limit`.
pub(super) async fn all_rows(
    archive: &Archive,
    query: &QidoQuery,
    limit: usize,
) -> Result<Vec<Attributes>, StudiesError> {
    all(archive, query, PAGE, limit, identity).await
}

/// All rows of `query`, in pages of `page`, each identity once; a row without one is left out and logged. More than
/// `limit` rows are an error.
pub(super) async fn all<T: DeserializeOwned, I: Clone + Eq + Hash>(
    archive: &Archive,
    query: &QidoQuery,
    page: u32,
    limit: usize,
    identity: impl Fn(&T) -> Option<I>,
) -> Result<Vec<T>, StudiesError> {
    for _ in 0..=MOST_RESTARTS {
        let mut reading = Reading::new(page, limit);
        loop {
            match reading.next_page(archive, query, &identity).await? {
                Step::More => {}
                Step::Done => return Ok(reading.rows),
                Step::Drifted => break,
            }
        }
    }
    Err(StudiesError::Drifting { archive: archive.id().clone() })
}

/// A list that is being read.
struct Reading<T, I> {
    page: u32,
    limit: usize,
    rows: Vec<T>,
    seen: HashSet<I>,
    /// Rows received so far, repeated ones once.
    received: usize,
    /// The identities of the last page's rows, in their order.
    last: Vec<Option<I>>,
    /// How many pages lie behind the last one that brought news.
    repeating: usize,
}

/// What a page came to.
enum Step {
    More,
    Done,
    /// The page does not go on where the last one ended.
    Drifted,
}

impl<T: DeserializeOwned, I: Clone + Eq + Hash> Reading<T, I> {
    fn new(page: u32, limit: usize) -> Self {
        let (rows, seen, last) = (Vec::new(), HashSet::new(), Vec::new());
        Self { page, limit, rows, seen, received: 0, last, repeating: 0 }
    }

    async fn next_page(
        &mut self,
        archive: &Archive,
        query: &QidoQuery,
        identity: impl Fn(&T) -> Option<I>,
    ) -> Result<Step, StudiesError> {
        // Fewer than the last page had, so that an archive that gives few at a time gives something new too.
        let repeated = self.last.len().saturating_sub(1).clamp(1, OVERLAP).min(self.received);
        let offset = u32::try_from(self.received - repeated).unwrap_or(u32::MAX);
        let (before, mut identities) = (self.rows.len(), Vec::new());
        let each = |row: T| {
            let identity = identity(&row);
            if identity.as_ref().is_some_and(|identity| self.seen.insert(identity.clone())) {
                self.rows.push(row);
            }
            identities.push(identity);
        };
        // So that each page brings as many new rows as the first.
        let limit = self.page.saturating_add(u32::try_from(repeated).unwrap_or(u32::MAX));
        let query = query.clone().page(limit, offset);
        let end = archive.rows(UpstreamRequest::search(query), each).await?;
        let unnamed = identities.iter().filter(|identity| identity.is_none()).count();
        if unnamed > 0 {
            tracing::warn!(archive = %archive.id(), rows = unnamed, "The archive gave rows without a UID; they are left out.");
        }
        if self.rows.len() > self.limit {
            return Err(StudiesError::TooManyRows { archive: archive.id().clone(), limit: self.limit });
        }
        let brought_news = self.rows.len() > before;
        let is_short = end.rows < limit as usize && !end.more;
        let is_full = end.rows == limit as usize;
        let is_end = if brought_news {
            is_short && archive.profile().paging_is_reliable && repeated == 0
        } else {
            !(is_full && self.goes_on(repeated, &identities))
        };
        let step = if is_end {
            Step::Done
        } else {
            self.repeating = if brought_news { 0 } else { self.repeating + 1 };
            self.judge(archive, is_short, repeated, &identities)?
        };
        self.received += end.rows.saturating_sub(repeated);
        self.last = identities;
        Ok(step)
    }

    /// Of a page that does not end the list by itself.
    fn judge(
        &self,
        archive: &Archive,
        is_short: bool,
        repeated: usize,
        identities: &[Option<I>],
    ) -> Result<Step, StudiesError> {
        let unpageable = || StudiesError::Unpageable { archive: archive.id().clone() };
        let brought_news = self.repeating == 0;
        // The first page again, a little longer: the archive cuts its answers, and cannot be asked for the rest.
        if brought_news && repeated > 0 && self.last.len() > repeated && identities.starts_with(&self.last) {
            return Err(unpageable());
        }
        if self.repeating > MOST_REPEATING {
            return Err(unpageable());
        }
        Ok(match self.goes_on(repeated, identities) {
            false => Step::Drifted,
            true if is_short && archive.profile().paging_is_reliable => Step::Done,
            true => Step::More,
        })
    }

    /// Whether a page begins with the rows that the last one ended with.
    fn goes_on(&self, repeated: usize, identities: &[Option<I>]) -> bool {
        let tail = self.last.len().checked_sub(repeated).and_then(|from| self.last.get(from..));
        tail == identities.get(..repeated)
    }
}

/// What makes a row different from every other of its answer: its UIDs and, as a study UID can stand under two patients,
/// the patient.
pub(super) fn identity(row: &Attributes) -> Option<[Box<str>; 4]> {
    let text = |tag: Tag| Box::<str>::from(row.text(tag).unwrap_or_default());
    let identity = [
        text(tags::STUDY_INSTANCE_UID),
        text(tags::SERIES_INSTANCE_UID),
        text(tags::PATIENT_ID),
        text(tags::ISSUER_OF_PATIENT_ID),
    ];
    let [study, series, ..] = &identity;
    (!(study.is_empty() && series.is_empty())).then_some(identity)
}
