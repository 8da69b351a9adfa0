//! Every row that one archive has for one search, however it pages.
//!
//! What is known of paging in the field: a short page proves nothing, nor does a missing `Warning: 299`; `limit` and
//! `offset` may be ignored (then every page is the first one); rows come twice. So paging goes on by the number of rows
//! received and ends at an empty page, at a page that brings nothing new, or, where the archive's profile says that its
//! paging can be relied on, at a short page.

use std::collections::HashSet;
use std::sync::Arc;

use crate::archive::{Archive, QidoQuery, UpstreamRequest};
use crate::cache::SearchRows;
use crate::dicom::{Attributes, Tag, tags};

use super::{Freshness, Studies, StudiesError};

/// How many rows are asked for at once: few calls for long lists, and a page that is read in well under a second.
const PAGE: u32 = 500;

impl Studies {
    /// All rows of `query` at `archive`, without repetitions; from the cache while they are fresh. Identical searches in
    /// flight are shared, and go on when the asker has gone.
    pub(super) async fn scan(
        &self,
        archive: &Archive,
        query: QidoQuery,
        freshness: Freshness,
    ) -> Result<Arc<SearchRows>, StudiesError> {
        let canonical = query.canonical();
        if freshness == Freshness::Cached
            && let Some(rows) = self.cache.rows(archive.id(), &canonical).await
        {
            return Ok(rows);
        }
        let flight = (archive.id().clone(), canonical.clone());
        let (cache, archive, limit) = (self.cache.clone(), archive.clone(), self.limits.max_scan);
        let load = || async move {
            let asked_at = cache.elapsed();
            let rows = Arc::new(SearchRows { rows: all_rows(&archive, &query, limit).await?, asked_at });
            cache.keep_rows(archive.id(), &canonical, Arc::clone(&rows)).await;
            Ok(rows)
        };
        self.scans.run(flight, load).await?
    }
}

async fn all_rows(archive: &Archive, query: &QidoQuery, limit: usize) -> Result<Vec<Attributes>, StudiesError> {
    let mut seen = HashSet::new();
    let mut rows = Vec::new();
    let mut received = 0;
    loop {
        let (before, mut unnamed) = (rows.len(), 0);
        let page = query.clone().page(PAGE, u32::try_from(received).unwrap_or(u32::MAX));
        let end = archive
            .rows(UpstreamRequest::search(page), |row: Attributes| match identity(&row) {
                Some(identity) if seen.insert(identity) => rows.push(row),
                Some(_) => {}
                None => unnamed += 1,
            })
            .await?;
        if unnamed > 0 {
            tracing::warn!(archive = %archive.id(), rows = unnamed, "The archive gave rows without a UID; they are left out.");
        }
        received += end.rows;
        let nothing_new = rows.len() == before;
        let reliable_end = archive.profile().paging_is_reliable && end.rows < PAGE as usize && !end.more;
        if nothing_new || reliable_end {
            return Ok(rows);
        }
        if rows.len() > limit {
            return Err(StudiesError::TooManyRows { archive: archive.id().clone(), limit });
        }
    }
}

/// What makes a row different from every other of its answer: its UIDs and, as a study UID can stand under two patients,
/// the patient.
fn identity(row: &Attributes) -> Option<[Box<str>; 5]> {
    let text = |tag: Tag| Box::from(row.text(tag).unwrap_or_default());
    let identity = [
        text(tags::STUDY_INSTANCE_UID),
        text(tags::SERIES_INSTANCE_UID),
        text(tags::SOP_INSTANCE_UID),
        text(tags::PATIENT_ID),
        text(tags::ISSUER_OF_PATIENT_ID),
    ];
    let [study, series, instance, ..] = &identity;
    (!(study.is_empty() && series.is_empty() && instance.is_empty())).then_some(identity)
}
