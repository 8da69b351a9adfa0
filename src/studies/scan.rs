//! Every row that one archive has for one search, however it pages.
//!
//! What is known of paging in the field: a short page proves nothing, nor does a missing `Warning: 299`; `limit` and
//! `offset` may be ignored (then every page is the first one); rows come twice. So paging goes on by the number of rows
//! received and ends at an empty page, at a page that brings nothing new, or, where the archive's profile says that its
//! paging can be relied on, at a short page.

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

impl Studies {
    /// All rows of `query` at `archive`, without repetitions; from the cache while they are fresh. Identical searches in
    /// flight are shared, and go on when the asker has gone.
    pub(super) async fn scan(&self, archive: &Archive, query: QidoQuery, freshness: Freshness) -> Scan {
        let canonical = query.canonical();
        if freshness == Freshness::Cached
            && let Some(rows) = self.cache.rows(archive.id(), &canonical)
        {
            return Ok(rows);
        }
        let flight = (archive.id().clone(), canonical.clone());
        let (cache, archive, limit) = (self.cache.clone(), archive.clone(), self.max_scan);
        let load = || async move {
            let asked_at = cache.elapsed();
            let rows = all_rows(&archive, &query, limit).await?;
            let rows = Arc::new(SearchRows { rows, asked_at });
            cache.keep_rows(archive.id(), &canonical, Arc::clone(&rows));
            Ok(rows)
        };
        self.scans.run(flight, load).await?
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
pub(super) async fn all<T: DeserializeOwned, I: Eq + Hash>(
    archive: &Archive,
    query: &QidoQuery,
    page: u32,
    limit: usize,
    identity: impl Fn(&T) -> Option<I>,
) -> Result<Vec<T>, StudiesError> {
    let mut seen = HashSet::new();
    let mut rows = Vec::new();
    let mut received = 0;
    loop {
        let (before, mut unnamed) = (rows.len(), 0_usize);
        let query = query.clone().page(page, u32::try_from(received).unwrap_or(u32::MAX));
        let each = |row: T| match identity(&row) {
            Some(identity) => {
                if seen.insert(identity) {
                    rows.push(row);
                }
            }
            None => unnamed += 1,
        };
        let end = archive.rows(UpstreamRequest::search(query), each).await?;
        if unnamed > 0 {
            tracing::warn!(archive = %archive.id(), rows = unnamed, "The archive gave rows without a UID; they are left out.");
        }
        received += end.rows;
        let nothing_new = rows.len() == before;
        let reliable_end = archive.profile().paging_is_reliable && end.rows < page as usize && !end.more;
        if rows.len() > limit {
            return Err(StudiesError::TooManyRows { archive: archive.id().clone(), limit });
        }
        if nothing_new || reliable_end {
            return Ok(rows);
        }
    }
}

/// What makes a row different from every other of its answer: its UIDs and, as a study UID can stand under two patients,
/// the patient.
fn identity(row: &Attributes) -> Option<[Box<str>; 4]> {
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
