//! Reads every study row that one archive has for one search: bounded, cached, and read once for concurrent identical searches.
//! [`Pager`] knows how archives page.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::{Freshness, Scan, Studies, StudiesError};
use crate::cache::{Cache, CacheEntry, CacheKey};
use crate::upstream::{Archive, ArchiveId, PageEnd, Pager, QidoQuery, RowIdentity};
use dicom_model::Attributes;

/// How many rows of studies or series are requested at once: few calls for long lists, and each page is read in well under a
/// second.
const PAGE: u32 = 500;

/// The rows that one archive gave to one search.
#[derive(Debug)]
pub(super) struct SearchRows {
    /// As they came, already without repetitions.
    pub(super) rows: Vec<Attributes>,
    /// The clock's [`elapsed`](crate::clock::Clock::elapsed) when they were asked for.
    asked_at: Duration,
}

impl SearchRows {
    /// `query` is the canonical text of the upstream request.
    fn key(archive: &ArchiveId, query: &str) -> CacheKey {
        CacheKey::from_parts([archive.as_str(), query])
    }

    /// Those that are cached and fresh.
    fn cached(cache: &Cache, archive: &ArchiveId, query: &str) -> Option<Arc<Self>> {
        cache.get(Self::key(archive, query)).filter(|rows: &Arc<Self>| cache.is_fresh(rows.asked_at))
    }
}

impl CacheEntry for SearchRows {
    fn size(&self) -> usize {
        size_of_val(self.rows.as_slice()) + self.rows.iter().map(Attributes::size).sum::<usize>()
    }
}

impl Studies {
    /// All rows of `query` at `archive`, without repetitions; from the cache while they are fresh. Identical searches in flight
    /// are shared, and continue when the client disconnects, unless the whole result must be newer than the request.
    pub(super) async fn scan(&self, archive: &Archive, query: QidoQuery, freshness: Freshness) -> Scan {
        let canonical = query.canonical();
        if freshness == Freshness::Cached
            && let Some(rows) = SearchRows::cached(&self.cache, archive.id(), &canonical)
        {
            return Ok(rows);
        }
        let flight = (archive.id().clone(), canonical.clone());
        let (cache, archive) = (self.cache.clone(), archive.clone());
        let limits = ListLimits { max_rows: self.limits.max_scan, max_bytes: self.limits.detail.max_bytes };
        let timeout = self.limits.load_timeout;
        let load = || async move {
            let asked_at = cache.elapsed();
            let reading = tokio::time::timeout(timeout, all_rows(&archive, &query, limits));
            let found = reading.await.map_err(|_| StudiesError::LoadTimeout(timeout))??;
            let mut rows = found.rows;
            for row in found.without_uid {
                // Pages overlap, so a row that nothing identifies may be received twice.
                if !rows.contains(&row) {
                    rows.push(row);
                }
            }
            rows.shrink_to_fit();
            let rows = Arc::new(SearchRows { rows, asked_at });
            cache.insert(SearchRows::key(archive.id(), &canonical), Arc::clone(&rows));
            Ok(rows)
        };
        match freshness {
            Freshness::Cached | Freshness::Reload => self.scans.run(flight, load).await?,
            Freshness::Bypass => load().await,
        }
    }
}

/// The rows of a list.
#[derive(Debug)]
pub(super) struct ListedRows<T> {
    /// The rows with an identity, without duplicates.
    pub(super) rows: Vec<T>,
    /// The rows without an identity, as often as they were received.
    pub(super) without_uid: Vec<T>,
}

/// How much of a list may be held in memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct ListLimits {
    /// Maximum number of rows.
    pub(super) max_rows: usize,
    /// Maximum size of the rows in memory, in bytes.
    pub(super) max_bytes: usize,
}

impl ListLimits {
    /// An error if a list of `archive` with this number of rows and bytes exceeds the limits.
    pub(super) fn check(self, archive: &Archive, rows: usize, bytes: usize) -> Result<(), StudiesError> {
        let archive = archive.id().clone();
        if bytes > self.max_bytes {
            return Err(StudiesError::TooManyBytes { archive, limit: self.max_bytes });
        }
        if rows > self.max_rows {
            return Err(StudiesError::TooManyRows { archive, limit: self.max_rows });
        }
        Ok(())
    }
}

/// All rows of studies or series.
pub(super) async fn all_rows(
    archive: &Archive,
    query: &QidoQuery,
    limits: ListLimits,
) -> Result<ListedRows<Attributes>, StudiesError> {
    all(archive, query, PAGE, limits, Attributes::size, |row| RowIdentity::from_row(query.level(), row)).await
}

/// All rows of `query`, in pages of `page`. A list that exceeds the limits is an error, and is not read to its end.
pub(super) async fn all<T: DeserializeOwned>(
    archive: &Archive,
    query: &QidoQuery,
    page: u32,
    limits: ListLimits,
    size: impl Fn(&T) -> usize,
    identity: impl Fn(&T) -> Option<RowIdentity>,
) -> Result<ListedRows<T>, StudiesError> {
    let ListLimits { max_rows, max_bytes } = limits;

    let mut pager = Pager::new(archive, query, identity);
    let (mut rows, mut without_uid, mut bytes) = (Vec::new(), Vec::new(), 0);
    loop {
        let end = pager
            .next_page(page, |row, identity| {
                bytes += size(&row);
                match identity {
                    Some(_) => rows.push(row),
                    None => without_uid.push(row),
                }
                let exceeds = rows.len() + without_uid.len() > max_rows || bytes > max_bytes;
                if exceeds { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .await?;
        match end {
            PageEnd::More => {}
            PageEnd::Last => break,
            PageEnd::Stopped => limits.check(archive, rows.len() + without_uid.len(), bytes)?,
            PageEnd::Restart => {
                bytes = 0;
                rows.clear();
                without_uid.clear();
            }
        }
    }
    if !without_uid.is_empty() {
        tracing::warn!(archive = %archive.id(), rows = without_uid.len(), "The archive returned rows without a UID.");
    }
    Ok(ListedRows { rows, without_uid })
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
        let rows = Arc::new(SearchRows { rows: vec![row], asked_at: cache.elapsed() });
        cache.insert(SearchRows::key(&main, "studies?PatientID=P1"), rows);
        clock.advance(Duration::from_secs(29));
        assert!(SearchRows::cached(&cache, &main, "studies?PatientID=P1").is_some());
        assert!(SearchRows::cached(&cache, &main, "studies?PatientID=P2").is_none());
        assert!(SearchRows::cached(&cache, &other, "studies?PatientID=P1").is_none());
        clock.advance(Duration::from_secs(1));
        assert!(SearchRows::cached(&cache, &main, "studies?PatientID=P1").is_none());
    }
}
