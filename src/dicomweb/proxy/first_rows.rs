//! Reads the first rows of a search, but not more of them than are requested. [`Pager`] requests the pages.
//!
//! The bytes of the rows are unchanged. Their total size is limited.

use std::collections::HashSet;
use std::ops::ControlFlow;

use serde_json::value::RawValue;

use super::requested_rows::INCOMPARABLE_ROW;
use super::row_uids::RowUids;
use crate::dicomweb::error::DicomwebError;
use crate::upstream::{
    Archive, ExactKeys, NarrowedQuery, PageEnd, Pager, QidoQuery, RowFilter, RowIdentity, UnsearchableValue,
};
use dicom_model::json;

/// Maximum number of rows per request.
const PAGE_SIZE: usize = 500;

/// Maximum size of a list in bytes, sufficient for rows with all attributes of thousands of objects. A longer list is an error.
pub(crate) const MAX_LIST_LEN: usize = 64 * 1024 * 1024;

/// One row as the archive returned it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowText {
    /// The UID of the object. A UID may have several rows if several patients have it.
    pub(crate) uid: Box<str>,
    /// The JSON of the row.
    pub(crate) text: Box<str>,
}

/// The first rows of one archive, without duplicates.
#[derive(Debug, Default)]
pub(crate) struct FirstRows {
    pub(crate) rows: Vec<RowText>,
    /// Whether the archive may have more rows.
    pub(crate) has_more: bool,
    /// Whether fuzzy matching was requested, but matching was literal.
    pub(crate) is_literal_only: bool,
    /// The number of rows that do not match the search.
    pub(crate) omitted_count: usize,
    /// The number of rows that are omitted because clients could not retrieve their objects.
    pub(crate) irretrievable_count: usize,
}

/// Does the same as [`read_first_rows`], without the rows of objects whose UIDs the rule of the archive does not accept, for a client,
/// which could not retrieve them.
pub(crate) async fn read_retrievable_rows(
    archive: &Archive,
    query: &QidoQuery,
    max_uids: usize,
    max_scan: usize,
) -> Result<FirstRows, DicomwebError> {
    let uids = RowUids::of_search(archive, query.level());
    read_rows(archive, query, (Some(&uids), None), (max_uids, max_scan)).await
}

/// Returns the rows of the first `max_uids` UIDs that match `query` in `archive`, without duplicates. If the gateway must filter
/// the rows, because the archive cannot match exactly, at most `max_scan` rows are read.
pub(crate) async fn read_first_rows(
    archive: &Archive,
    query: &QidoQuery,
    max_uids: usize,
    max_scan: usize,
) -> Result<FirstRows, DicomwebError> {
    read_rows(archive, query, (None, None), (max_uids, max_scan)).await
}

/// Does the same as [`read_first_rows`], for a list that has `reported_count` rows according to the row of its parent.
pub(crate) async fn read_reported_rows(
    archive: &Archive,
    query: &QidoQuery,
    reported_count: Option<usize>,
    limits: (usize, usize),
) -> Result<FirstRows, DicomwebError> {
    read_rows(archive, query, (None, reported_count), limits).await
}

/// Reads the rows of `query` with as many queries as its lists of UIDs require. The rows of the first query come first.
async fn read_rows(
    archive: &Archive,
    query: &QidoQuery,
    (retrievable, reported_count): (Option<&RowUids>, Option<usize>),
    (max_uids, max_scan): (usize, usize),
) -> Result<FirstRows, DicomwebError> {
    let queries = query.split_uid_lists(archive.profile().max_uids_per_client_query());
    if let [query] = queries.as_slice() {
        return read_rows_of_query(archive, query, (retrievable, reported_count), (max_uids, max_scan)).await;
    }
    let mut merged = FirstRows::default();
    // An object with several values of an attribute can match several of the queries.
    let mut known_rows: HashSet<RowIdentity> = HashSet::new();
    let (mut uids, mut total_len) = (HashSet::new(), 0);
    for query in &queries {
        let remaining = max_uids.saturating_sub(uids.len());
        if remaining == 0 {
            merged.has_more = true;
            break;
        }
        let mut rows = read_rows_of_query(archive, query, (retrievable, None), (max_uids, max_scan)).await?;
        rows.rows.retain(|row| {
            let identity = json::parse(&row.text).ok();
            identity
                .and_then(|row| RowIdentity::from_row(query.level(), &row))
                .is_none_or(|new| known_rows.insert(new))
        });
        for row in rows.rows {
            if uids.len() >= max_uids && !uids.contains(&row.uid) {
                merged.has_more = true;
                continue;
            }
            uids.insert(row.uid.clone());
            total_len += row.text.len();
            merged.rows.push(row);
        }
        if total_len > MAX_LIST_LEN {
            return Err(archive.unreadable("a list that is too long").into());
        }
        merged.has_more |= rows.has_more;
        merged.is_literal_only |= rows.is_literal_only;
        merged.omitted_count += rows.omitted_count;
        merged.irretrievable_count += rows.irretrievable_count;
    }
    Ok(merged)
}

/// Reads the rows of `query`. If there are none, an archive that was found to decode percent-escapes must confirm it; otherwise the query is
/// sent again without escapes.
async fn read_rows_of_query(
    archive: &Archive,
    query: &QidoQuery,
    options: (Option<&RowUids>, Option<usize>),
    limits: (usize, usize),
) -> Result<FirstRows, DicomwebError> {
    let profile = archive.profile();
    let found = read_rows_by(archive, query, options, limits).await?;
    let is_doubtful =
        found.rows.is_empty() && profile.is_probed && profile.decodes_escapes && query.needs_escapes();
    if is_doubtful && !archive.confirms_escapes().await? {
        return read_rows_by(archive, query, options, limits).await;
    }
    Ok(found)
}

async fn read_rows_by(
    archive: &Archive,
    query: &QidoQuery,
    (retrievable, reported_count): (Option<&RowUids>, Option<usize>),
    (max_uids, max_scan): (usize, usize),
) -> Result<FirstRows, DicomwebError> {
    let NarrowedQuery { query, filter, is_literal_only } = query
        .narrowed_for(&archive.profile())
        .map_err(|error| DicomwebError::UnsearchableValue(archive.id().clone(), error))?;
    let mut pager = Pager::<Box<RawValue>, _>::new(archive, &query, |text| {
        RowIdentity::from_row(query.level(), &json::parse(text.get()).ok()?)
    })
    .with_reported_count(reported_count);
    let mut first_rows = FirstRows { is_literal_only, ..FirstRows::default() };
    let (mut uids, mut total_len, mut row_count) = (HashSet::new(), 0, 0);
    let keys = ExactKeys::from_query(&query);
    let is_filtered = |first_rows: &FirstRows| {
        !filter.is_empty() || first_rows.omitted_count + first_rows.irretrievable_count > 0
    };
    loop {
        let page_size = if is_filtered(&first_rows) {
            PAGE_SIZE
        } else {
            max_uids.saturating_sub(uids.len()).clamp(1, PAGE_SIZE)
        };
        let (mut unreadable, mut unsearchable) = (None, None);
        let add_row = |text: Box<RawValue>, identity: Option<&RowIdentity>| {
            let Some(identity) = identity else {
                unreadable = Some("a row without a UID");
                return ControlFlow::Break(());
            };
            row_count += 1;
            let Some((is_requested, is_retrievable)) = compare(&keys, retrievable, &text) else {
                unreadable = Some(INCOMPARABLE_ROW);
                return ControlFlow::Break(());
            };
            if !is_requested || !is_retrievable {
                first_rows.omitted_count += usize::from(!is_requested);
                first_rows.irretrievable_count += usize::from(is_requested);
                return break_if(row_count > max_scan + PAGE_SIZE);
            }
            match is_match(&filter, &text) {
                Ok(true) if uids.len() >= max_uids && !uids.contains(identity.uid()) => {
                    first_rows.has_more = true;
                }
                Ok(true) => {
                    uids.insert(Box::<str>::from(identity.uid()));
                    total_len += text.get().len();
                    first_rows.rows.push(RowText { uid: identity.uid().into(), text: text.into() });
                }
                Ok(false) => {}
                Err(error) => unsearchable = Some(error),
            }
            // An archive that ignores the limit returns the whole list.
            let is_sufficient =
                filter.is_empty() && first_rows.has_more && row_count > 2 * max_uids + PAGE_SIZE;
            let is_too_costly = !filter.is_empty() && row_count > max_scan + PAGE_SIZE;
            break_if(is_sufficient || is_too_costly || unsearchable.is_some() || total_len > MAX_LIST_LEN)
        };
        let end = pager.next_page(u32::try_from(page_size).unwrap_or(u32::MAX), add_row).await?;
        if let Some(content) = unreadable {
            return Err(archive.unreadable(content).into());
        }
        if let Some(error) = unsearchable {
            return Err(DicomwebError::UnsearchableValue(archive.id().clone(), error));
        }
        if total_len > MAX_LIST_LEN {
            return Err(archive.unreadable("a list that is too long").into());
        }
        match end {
            PageEnd::Restart => {
                first_rows.rows.clear();
                first_rows.has_more = false;
                first_rows.omitted_count = 0;
                first_rows.irretrievable_count = 0;
                uids.clear();
                (total_len, row_count) = (0, 0);
            }
            PageEnd::Stopped if is_filtered(&first_rows) && row_count > max_scan => {
                return Err(DicomwebError::TooCostly { limit: max_scan });
            }
            PageEnd::Last | PageEnd::Stopped => break,
            PageEnd::More if uids.len() >= max_uids => break,
            PageEnd::More if is_filtered(&first_rows) && row_count > max_scan => {
                return Err(DicomwebError::TooCostly { limit: max_scan });
            }
            PageEnd::More => {}
        }
    }
    archive.report_omitted_rows(first_rows.omitted_count);
    archive.report_irretrievable_rows(first_rows.irretrievable_count);
    Ok(first_rows)
}

fn break_if(is_end: bool) -> ControlFlow<()> {
    if is_end { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// Whether the row `text` was requested, and whether clients can retrieve its object; `None` if it cannot be compared.
fn compare(keys: &ExactKeys, retrievable: Option<&RowUids>, text: &RawValue) -> Option<(bool, bool)> {
    let is_requested = keys.is_empty() || keys.match_row(text.get())?;
    let is_retrievable = retrievable.map_or(Some(true), |uids| uids.accept(text.get()))?;
    Some((is_requested, is_retrievable))
}

/// Whether the row `text` passes the filter.
fn is_match(filter: &RowFilter, text: &RawValue) -> Result<bool, UnsearchableValue> {
    if filter.is_empty() {
        return Ok(true);
    }
    json::parse(text.get()).map_or(Ok(false), |row| filter.matches(&row))
}
