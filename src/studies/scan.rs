//! Reads the whole list of a query from one archive. A list of studies is cached, and concurrent identical queries share one
//! scan. [`Pager`] reads the pages.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::{Freshness, ScanResult, Studies, StudiesError};
use crate::cache::{Cache, CacheEntry, CacheKey};
use crate::request_priority::RequestPriority;
use crate::upstream::{Archive, ArchiveId, PageEnd, Pager, QidoQuery, RowIdentity};
use dicom_model::Attributes;

/// The number of rows of studies or series in one page: a long list needs few requests, and each page takes less than a second.
const PAGE_SIZE: u32 = 500;

/// The rows that one archive returned for one query.
#[derive(Debug)]
pub(super) struct SearchRows {
    /// The rows in the order of the archive, without duplicates.
    pub(super) rows: Vec<Attributes>,
    /// The [`elapsed`](crate::clock::Clock::elapsed) time at which they were requested.
    requested_at: Duration,
}

impl SearchRows {
    /// Returns the rows for which `is_kept` holds.
    pub(super) fn retained(&self, is_kept: impl Fn(&Attributes) -> bool) -> Self {
        let rows = self.rows.iter().filter(|row| is_kept(row)).cloned().collect();
        Self { rows, requested_at: self.requested_at }
    }

    /// Returns the cache key of the rows of `query`, the canonical text of a query.
    fn cache_key(archive: &ArchiveId, query: &str) -> CacheKey {
        CacheKey::from_parts([archive.as_str(), query])
    }

    /// Returns the rows of `query` if they are cached and fresh.
    fn cached(cache: &Cache, archive: &ArchiveId, query: &str) -> Option<Arc<Self>> {
        cache
            .get(Self::cache_key(archive, query))
            .filter(|rows: &Arc<Self>| cache.is_fresh(rows.requested_at))
    }
}

impl CacheEntry for SearchRows {
    fn size(&self) -> usize {
        size_of_val(self.rows.as_slice()) + self.rows.iter().map(Attributes::size).sum::<usize>()
    }
}

impl Studies {
    /// Returns all rows of `query` at `archive`, without duplicates, from the cache while they are fresh. An identical scan in
    /// flight is shared, and continues if the client disconnects. With [`Freshness::Bypass`] neither the cache nor a scan in
    /// flight is used.
    pub(super) async fn scan(&self, archive: &Archive, query: QidoQuery, freshness: Freshness) -> ScanResult {
        let canonical = query.canonical();
        if freshness == Freshness::Cached
            && let Some(rows) = SearchRows::cached(&self.cache, archive.id(), &canonical)
        {
            return Ok(rows);
        }
        let generation = self.cache.generation();
        let scan_key = (archive.id().clone(), canonical.clone(), generation);
        let (cache, archive) = (self.cache.clone(), archive.clone());
        let limits = ListLimits {
            max_rows: self.limits.max_scan,
            max_bytes: self.limits.detail.max_bytes,
            reported_count: None,
        };
        let timeout = self.limits.load_timeout;
        let load = |priority: RequestPriority| async move {
            let archive = archive.with_priority(&priority);
            let requested_at = cache.elapsed();
            let reading = tokio::time::timeout(timeout, read_list(&archive, &query, limits));
            let list = reading.await.map_err(|_| StudiesError::LoadTimeout(timeout))??;
            let mut rows = list.rows;
            for row in list.without_uid {
                // Pages overlap, so a row without an identity may be received twice.
                if !rows.contains(&row) {
                    rows.push(row);
                }
            }
            rows.shrink_to_fit();
            let rows = Arc::new(SearchRows { rows, requested_at });
            if cache.generation() == generation {
                cache.insert(SearchRows::cache_key(archive.id(), &canonical), Arc::clone(&rows));
            }
            Ok(rows)
        };
        match freshness {
            Freshness::Cached | Freshness::Reload => self.scans.run(scan_key, &self.priority, load).await?,
            Freshness::Bypass => load(self.priority.clone()).await,
        }
    }
}

/// The rows of a list.
#[derive(Debug)]
pub(super) struct ListedRows<T> {
    /// The rows with an identity, without duplicates.
    pub(super) rows: Vec<T>,
    /// The rows without an identity, possibly with duplicates.
    pub(super) without_uid: Vec<T>,
    /// Whether only the reported number of rows shows that the list is complete.
    pub(super) is_ended_by_count: bool,
}

/// The limits of a list in memory, and where it ends.
#[derive(Debug, Clone, Copy)]
pub struct ListLimits {
    /// Maximum number of rows.
    pub max_rows: usize,
    /// Maximum size of the rows in memory, in bytes.
    pub max_bytes: usize,
    /// The number of rows of the list that the archive reports in the row of its parent, if it does.
    pub reported_count: Option<usize>,
}

impl ListLimits {
    /// Returns an error if a list of `archive` with `row_count` rows of `size` bytes together exceeds the limits.
    pub(super) fn check(self, archive: &Archive, row_count: usize, size: usize) -> Result<(), StudiesError> {
        let archive = archive.id().clone();
        if size > self.max_bytes {
            return Err(StudiesError::TooManyBytes { archive, limit: self.max_bytes });
        }
        if row_count > self.max_rows {
            return Err(StudiesError::TooManyRows { archive, limit: self.max_rows });
        }
        Ok(())
    }
}

/// Reads all rows of a query for studies or series.
pub(super) async fn read_list(
    archive: &Archive,
    query: &QidoQuery,
    limits: ListLimits,
) -> Result<ListedRows<Attributes>, StudiesError> {
    let identity = |row: &Attributes| RowIdentity::from_row(query.level(), row);
    read_list_of(archive, query, PAGE_SIZE, limits, Attributes::size, identity).await
}

/// Reads all rows of `query` as values of type `T`, in pages of `page_size` rows. If the list exceeds the limits, reading ends
/// with an error.
pub(super) async fn read_list_of<T: DeserializeOwned>(
    archive: &Archive,
    query: &QidoQuery,
    page_size: u32,
    limits: ListLimits,
    size: impl Fn(&T) -> usize,
    identity: impl Fn(&T) -> Option<RowIdentity>,
) -> Result<ListedRows<T>, StudiesError> {
    let ListLimits { max_rows, max_bytes, reported_count } = limits;
    let mut pager = Pager::new(archive, query, identity).with_reported_count(reported_count);
    let (mut rows, mut without_uid, mut total_size) = (Vec::new(), Vec::new(), 0);
    loop {
        let page_end = pager
            .next_page(page_size, |row, identity| {
                total_size += size(&row);
                match identity {
                    Some(_) => rows.push(row),
                    None => without_uid.push(row),
                }
                let exceeds_limits = rows.len() + without_uid.len() > max_rows || total_size > max_bytes;
                if exceeds_limits { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .await?;
        match page_end {
            PageEnd::More => {}
            PageEnd::Last => break,
            PageEnd::Stopped => limits.check(archive, rows.len() + without_uid.len(), total_size)?,
            PageEnd::Restart => {
                total_size = 0;
                rows.clear();
                without_uid.clear();
            }
        }
    }
    if !without_uid.is_empty() {
        tracing::warn!(archive = %archive.id(), rows = without_uid.len(), "The archive returned rows without a UID.");
    }
    Ok(ListedRows { rows, without_uid, is_ended_by_count: pager.is_ended_by_count() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, SharedClock};
    use dicom_model::{Element, tags};

    #[test]
    fn rows_are_cached_for_their_archive_and_query_while_they_are_fresh() {
        let clock = Arc::new(ManualClock::default());
        let cache = Cache::new(100_000, Duration::from_secs(30), Arc::clone(&clock) as SharedClock);
        let (main, other) = (ArchiveId::parse("main").unwrap(), ArchiveId::parse("other").unwrap());
        let row: Attributes = [(tags::PATIENT_ID, Element::text("P1"))].into_iter().collect();
        let rows = Arc::new(SearchRows { rows: vec![row], requested_at: cache.elapsed() });
        cache.insert(SearchRows::cache_key(&main, "studies?PatientID=P1"), rows);
        clock.advance(Duration::from_secs(29));
        assert!(SearchRows::cached(&cache, &main, "studies?PatientID=P1").is_some());
        assert!(SearchRows::cached(&cache, &main, "studies?PatientID=P2").is_none());
        assert!(SearchRows::cached(&cache, &other, "studies?PatientID=P1").is_none());
        clock.advance(Duration::from_secs(1));
        assert!(SearchRows::cached(&cache, &main, "studies?PatientID=P1").is_none());
    }
}
