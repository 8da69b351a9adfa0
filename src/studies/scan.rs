//! Reads the whole list of a query from one archive. A list of studies is cached, and concurrent identical queries share one
//! scan. [`Pager`] reads the pages.
//!
//! If a search does not need the whole list, reading ends as soon as the list is known to be too long: one row beyond the limit is
//! requested after the first page, and a list that was too long is not read again for some minutes.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::{Freshness, Generation, ScanResult, Studies, StudiesError};
use crate::cache::{Cache, CacheEntry, CacheKey};
use crate::request_priority::RequestPriority;
use crate::upstream::{
    Archive, ArchiveErrorKind, ArchiveId, PageEnd, Pager, QidoQuery, RowIdentity, UpstreamRequest,
};
use dicom_model::Attributes;

/// The number of rows of studies or series in one page: a long list needs few requests, and each page takes less than a second.
const PAGE_SIZE: u32 = 500;

/// How long a list that was too long is not read again.
const LONG_LIST_LIFETIME: Duration = Duration::from_mins(5);

/// The limit of the rows of one scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ScanLimit {
    /// Maximum number of rows.
    pub(super) max_rows: usize,
    /// Whether a row beyond the limit is requested after the first page.
    pub(super) detects_long_lists: bool,
}

/// What a scan that is in flight reads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ScanKey {
    archive: ArchiveId,
    /// The canonical text of the query.
    query: String,
    limit: ScanLimit,
    generation: Generation,
}

/// The rows that one archive returned for one query.
#[derive(Debug)]
pub(super) struct SearchRows {
    /// The rows in the order of the archive, without duplicates.
    pub(super) rows: Vec<Attributes>,
    /// The limit that the list exceeds, as an error. Then these are only its first rows, which are not cached.
    pub(super) exceeded_limit: Option<StudiesError>,
    /// The [`elapsed`](crate::clock::Clock::elapsed) time at which they were requested.
    requested_at: Duration,
}

impl SearchRows {
    /// Returns the rows for which `is_kept` holds.
    pub(super) fn retained(&self, is_kept: impl Fn(&Attributes) -> bool) -> Self {
        let rows = self.rows.iter().filter(|row| is_kept(row)).cloned().collect();
        Self { rows, exceeded_limit: self.exceeded_limit.clone(), requested_at: self.requested_at }
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

/// A list that was too long, with the error.
#[derive(Debug)]
struct LongList {
    error: StudiesError,
    found_at: Duration,
}

impl CacheEntry for LongList {
    fn size(&self) -> usize {
        size_of::<Self>()
    }
}

impl Studies {
    /// Returns the same studies for a search that does not need the whole list of an archive, and stops as soon as a list is known to be too long.
    #[must_use]
    pub(super) fn detecting_long_lists(&self) -> Self {
        Self { detects_long_lists: true, ..self.clone() }
    }

    /// Returns all rows of `query` at `archive`, without duplicates, from the cache while they are fresh. An identical scan in
    /// flight is shared, and continues if the client disconnects. With [`Freshness::Bypass`] neither the cache nor a scan in
    /// flight is used.
    pub(super) async fn scan(&self, archive: &Archive, query: QidoQuery, freshness: Freshness) -> ScanResult {
        let key = SearchRows::cache_key(archive.id(), &query.canonical());
        let limit = ScanLimit { max_rows: self.limits.max_scan, detects_long_lists: self.detects_long_lists };
        if limit.detects_long_lists
            && let Some(list) = self.cache.get::<LongList>(key.clone())
            && self.cache.age(list.found_at) < LONG_LIST_LIFETIME
        {
            return Err(list.error.clone());
        }
        let rows = self.scan_within(archive, query, limit, freshness).await;
        let rows = rows.and_then(|rows| rows.exceeded_limit.clone().map_or(Ok(rows), Err));
        let Err(error) = rows else { return rows };
        if limit.detects_long_lists && error.is_from_long_list() {
            let list = LongList { error: error.clone(), found_at: self.cache.elapsed() };
            self.cache.insert(key, Arc::new(list));
        }
        Err(error)
    }

    /// Does the same as [`scan`](Self::scan) within another limit. If the list exceeds it, its first rows are returned.
    pub(super) async fn scan_within(
        &self,
        archive: &Archive,
        query: QidoQuery,
        limit: ScanLimit,
        freshness: Freshness,
    ) -> ScanResult {
        let canonical = query.canonical();
        if freshness == Freshness::Cached
            && let Some(rows) = SearchRows::cached(&self.cache, archive.id(), &canonical)
        {
            return Ok(rows);
        }
        let generation = self.cache.generation();
        let scan_key = ScanKey { archive: archive.id().clone(), query: canonical.clone(), limit, generation };
        let (cache, archive) = (self.cache.clone(), archive.clone());
        let max_bytes = self.limits.detail.max_bytes;
        let timeout = self.limits.load_timeout;
        let load = |priority: RequestPriority| async move {
            let archive = archive.with_priority(&priority);
            let requested_at = cache.elapsed();
            let reading = tokio::time::timeout(timeout, read_studies(&archive, &query, limit, max_bytes));
            let (list, exceeded_limit) = reading.await.map_err(|_| StudiesError::LoadTimeout(timeout))??;
            let mut rows = list.rows;
            for row in list.without_uid {
                // Pages overlap, so a row without an identity may be received twice.
                if !rows.contains(&row) {
                    rows.push(row);
                }
            }
            rows.shrink_to_fit();
            let rows = Arc::new(SearchRows { rows, exceeded_limit, requested_at });
            if cache.generation() == generation && rows.exceeded_limit.is_none() {
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
    let (rows, exceeded_limit) =
        read_rows(archive, query, page_size, (limits, false), size, identity).await?;
    exceeded_limit.map_or(Ok(rows), Err)
}

/// Reads all rows of a query for studies, or the first ones and the error if the list exceeds a limit.
async fn read_studies(
    archive: &Archive,
    query: &QidoQuery,
    limit: ScanLimit,
    max_bytes: usize,
) -> Result<(ListedRows<Attributes>, Option<StudiesError>), StudiesError> {
    let limits = ListLimits { max_rows: limit.max_rows, max_bytes, reported_count: None };
    let identity = |row: &Attributes| RowIdentity::from_row(query.level(), row);
    let limits = (limits, limit.detects_long_lists);
    read_rows(archive, query, PAGE_SIZE, limits, Attributes::size, identity).await
}

/// Reads all rows of `query`, or the first ones and the error if the list exceeds the limits. With `detects_long_lists` a row beyond the
/// limit is requested after the first page.
async fn read_rows<T: DeserializeOwned>(
    archive: &Archive,
    query: &QidoQuery,
    page_size: u32,
    (limits, mut detects_long_lists): (ListLimits, bool),
    size: impl Fn(&T) -> usize,
    identity: impl Fn(&T) -> Option<RowIdentity>,
) -> Result<(ListedRows<T>, Option<StudiesError>), StudiesError> {
    let ListLimits { max_rows, max_bytes, reported_count } = limits;
    let mut pager = Pager::new(archive, query, &identity).with_reported_count(reported_count);
    let mut list = ListedRows { rows: Vec::new(), without_uid: Vec::new(), is_ended_by_count: false };
    let mut total_size = 0;
    let mut exceeded_limit = None;
    loop {
        let page_end = pager
            .next_page(page_size, |row, identity| {
                total_size += size(&row);
                match identity {
                    Some(_) => list.rows.push(row),
                    None => list.without_uid.push(row),
                }
                let row_count = list.rows.len() + list.without_uid.len();
                let exceeds_limits = row_count > max_rows || total_size > max_bytes;
                if exceeds_limits { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .await?;
        let row_count = list.rows.len() + list.without_uid.len();
        match page_end {
            PageEnd::More if std::mem::take(&mut detects_long_lists) && row_count >= page_size as usize => {
                let beyond = read_row_at(archive, query, max_rows).await?.as_ref().and_then(&identity);
                // An archive that ignores the offset returns a known row.
                let is_known = |beyond| list.rows.iter().any(|row| identity(row).as_ref() == Some(beyond));
                if beyond.as_ref().is_some_and(|beyond| !is_known(beyond)) {
                    let archive = archive.id().clone();
                    exceeded_limit = Some(StudiesError::TooManyRows { archive, limit: max_rows });
                    break;
                }
            }
            PageEnd::More => {}
            PageEnd::Last => break,
            PageEnd::Stopped => {
                exceeded_limit = limits.check(archive, row_count, total_size).err();
                if exceeded_limit.is_some() {
                    break;
                }
            }
            PageEnd::Restart => {
                total_size = 0;
                list.rows.clear();
                list.without_uid.clear();
            }
        }
    }
    if !list.without_uid.is_empty() {
        let rows = list.without_uid.len();
        tracing::warn!(archive = %archive.id(), rows, "The archive returned rows without a UID.");
    }
    list.is_ended_by_count = pager.is_ended_by_count();
    Ok((list, exceeded_limit))
}

/// Requests the row at `offset` of the list of `query`; `None` if the list has no such row.
pub(super) async fn read_row_at<T: DeserializeOwned>(
    archive: &Archive,
    query: &QidoQuery,
    offset: usize,
) -> Result<Option<T>, StudiesError> {
    let offset = u32::try_from(offset).unwrap_or(u32::MAX);
    let mut first = None;
    let request = UpstreamRequest::search(query.clone().page(1, offset));
    let read_first = |row: T| {
        first = Some(row);
        ControlFlow::Break(())
    };
    match archive.read_rows_until(request, read_first).await {
        // Some archives reject an offset beyond the end of the list.
        Err(error) if offset > 0 && matches!(error.kind, ArchiveErrorKind::Rejected(_)) => Ok(None),
        result => result.map(|_| first).map_err(StudiesError::from),
    }
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
        let rows =
            Arc::new(SearchRows { rows: vec![row], exceeded_limit: None, requested_at: cache.elapsed() });
        cache.insert(SearchRows::cache_key(&main, "studies?PatientID=P1"), rows);
        clock.advance(Duration::from_secs(29));
        assert!(SearchRows::cached(&cache, &main, "studies?PatientID=P1").is_some());
        assert!(SearchRows::cached(&cache, &main, "studies?PatientID=P2").is_none());
        assert!(SearchRows::cached(&cache, &other, "studies?PatientID=P1").is_none());
        clock.advance(Duration::from_secs(1));
        assert!(SearchRows::cached(&cache, &main, "studies?PatientID=P1").is_none());
    }
}
