//! Reads every study row that one archive has for one search: bounded, cached, and read once for concurrent identical searches.
//! [`Pager`] knows how archives page.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::{Freshness, Scan, Studies, StudiesError};
use crate::cache::SearchRows;
use crate::upstream::{Archive, PageEnd, Pager, QidoQuery, RowIdentity};
use dicom_model::Attributes;

/// How many rows of studies or series are requested at once: few calls for long lists, and each page is read in well under a
/// second.
const PAGE: u32 = 500;

impl Studies {
    /// All rows of `query` at `archive`, without repetitions; from the cache while they are fresh. Identical searches in flight
    /// are shared, and continue when the client disconnects, unless the whole result must be newer than the request.
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
            cache.insert_rows(archive.id(), &canonical, Arc::clone(&rows));
            Ok(rows)
        };
        match freshness {
            Freshness::Cached | Freshness::Reload => self.scans.run(flight, load).await?,
            Freshness::Bypass => load().await,
        }
    }
}

/// All rows of studies or series, at most `limit`.
pub(super) async fn all_rows(
    archive: &Archive,
    query: &QidoQuery,
    limit: usize,
) -> Result<Vec<Attributes>, StudiesError> {
    all(archive, query, PAGE, limit, |row| RowIdentity::of(query.level(), row)).await
}

/// All rows of `query`, in pages of `page`, each identity once; a row without an identity is omitted and logged. More than
/// `limit` rows are an error.
pub(super) async fn all<T: DeserializeOwned>(
    archive: &Archive,
    query: &QidoQuery,
    page: u32,
    limit: usize,
    identity: impl Fn(&T) -> Option<RowIdentity>,
) -> Result<Vec<T>, StudiesError> {
    let mut pager = Pager::new(archive, query, identity);
    let mut rows = Vec::new();
    loop {
        let mut unnamed = 0;
        let end = pager
            .next_page(page, |row, identity| match identity {
                Some(_) => rows.push(row),
                None => unnamed += 1,
            })
            .await?;
        if unnamed > 0 {
            tracing::warn!(archive = %archive.id(), rows = unnamed, "The archive returned rows without a UID; they are omitted.");
        }
        if rows.len() > limit {
            return Err(StudiesError::TooManyRows { archive: archive.id().clone(), limit });
        }
        match end {
            PageEnd::More => {}
            PageEnd::Last => return Ok(rows),
            PageEnd::Restart => rows.clear(),
        }
    }
}
