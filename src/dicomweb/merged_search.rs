//! A search whose rows are compared or merged here: one list out of the lists of one or several archives (PS3.18 10.6), exact
//! and bounded.
//!
//! The list alternates between the archives: the first row of each in the order of the configuration, then the second of each,
//! and so on. A UID belongs to the archive whose turn with it comes first; rows of it from other archives are omitted. So any
//! page needs no more UIDs of any archive than the page's end, and the first page shows rows of every archive. Rows are as the
//! archive wrote them, byte for byte but for URLs. A study that another archive assigns to another patient is not omitted.

use std::collections::HashMap;

use bytes::Bytes;
use futures_util::future::try_join_all;
use http::{HeaderValue, Response, header};

use super::context::DicomwebContext;
use super::error::DicomwebError;
use super::limits::DicomwebLimits;
use super::patient_comparison::PatientComparison;
use super::proxy::assembled;
use super::proxy::first_rows::{FirstRows, MAX_LIST_LEN, RowText, read_first_rows};
use super::proxy::request::reject_computed_keys;
use super::request::DicomwebRequest;
use super::request::accept::{Accepted, Format};
use super::request::path::Resource;
use super::request::query;
use super::synthesis::{Parents, complete_rows};
use super::url_rewrite::syntax::Syntax;
use super::url_rewrite::text::Rewriter;
use super::url_rewrite::url_map::UrlMap;
use crate::http::query::decode;
use crate::upstream::{Archive, ArchiveError, ArchiveErrorKind, QidoQuery, SearchLevel, Synthesized};
use http_messages::body::Body;

/// A search whose rows are compared or merged here.
#[derive(Debug)]
pub(super) struct SearchRequest {
    pub(super) query: QidoQuery,
    /// The format that the client gets.
    pub(super) format: Format,
}

impl SearchRequest {
    pub(super) fn read(request: &DicomwebRequest<'_>, level: &SearchLevel) -> Result<Self, DicomwebError> {
        let pairs = decode(request.query.unwrap_or_default())?;
        let search = query::search(level.clone(), &pairs)?;
        let accepted = Accepted::read(&search.common.headers_of(request), &Resource::Search(level.clone()));
        let format = accepted.ok_or(DicomwebError::NotAcceptable)?.preferred_format();
        Ok(Self { query: search.query, format })
    }

    /// The response if no row is requested (PS3.18 8.3.4.4): no archive needs to be asked for it.
    pub(super) fn without_rows(&self) -> Option<Response<Body>> {
        (self.query.window().0 == Some(0)).then(|| assembled::rows("[]", self.format))
    }
}

/// A page of the whole list.
#[derive(Debug)]
struct MergedList {
    /// A JSON array.
    text: String,
    /// The list continues after the page.
    more: bool,
    /// Fuzzy matching was requested, and matching was literal.
    is_literal_only: bool,
}

/// The response to a search in all of `archives`. `public` is the public URL of their root.
pub(super) async fn respond(
    archives: &[&Archive],
    public: &str,
    request: &DicomwebRequest<'_>,
    level: &SearchLevel,
    context: &DicomwebContext,
) -> Result<Response<Body>, DicomwebError> {
    let search = SearchRequest::read(request, level)?;
    let found = merge(archives, public, request.path, &search.query, context).await?;
    let mut response = assembled::rows(found.text, search.format);
    // PS3.18 8.3.4.4 and 8.3.4.2.
    let more = "299 dicomweb-gateway \"There are additional results that can be requested\"";
    let literal = "299 dicomweb-gateway \"The fuzzymatching parameter is not supported. Only literal matching has been performed.\"";
    for (applies, warning) in [(found.more, more), (found.is_literal_only, literal)] {
        if applies {
            response.headers_mut().append(header::WARNING, HeaderValue::from_static(warning));
        }
    }
    Ok(response)
}

/// The page of rows of `archives` that `query` requests. `path` is the path of the request below the root, `public` the public
/// URL of the root.
async fn merge(
    archives: &[&Archive],
    public: &str,
    path: &str,
    query: &QidoQuery,
    context: &DicomwebContext,
) -> Result<MergedList, DicomwebError> {
    let limits = context.limits;
    let max_scan = limits.max_scan;
    for archive in archives {
        reject_computed_keys(archive, query)?;
    }
    let (limit, offset) = query.window();
    let offset = offset as usize;
    let too_costly = DicomwebError::TooCostly { limit: max_scan };
    if offset > max_scan {
        return Err(too_costly);
    }
    // A page that ends beyond the rows that can be scanned is shorter than requested (PS3.18 8.3.4.4).
    let end = limit.map_or(max_scan, |limit| offset.saturating_add(limit as usize)).min(max_scan);
    // One row more than the page needs shows whether the list continues.
    let searches = archives.iter().map(|archive| read_first_rows(archive, query, end + 1, max_scan));
    let mut lists = try_join_all(searches).await.map_err(query_rejection)?;
    for (archive, list) in archives.iter().zip(&mut lists) {
        list.rows.retain(|row| is_requested(archive, query.level(), row));
    }
    if limit.is_none() && lists.iter().any(|list| list.rows.len() > max_scan) {
        return Err(too_costly);
    }
    let patients = matches!(query.level(), SearchLevel::Studies).then_some(&context.patients);
    let order = alternate(archives, &lists, patients);
    let more = order.len() > end || lists.iter().any(|list| list.has_more);
    let page_end = limit.map_or(order.len(), |_| end.min(order.len()));
    let page = order.get(offset.min(page_end)..page_end).unwrap_or_default();
    let rows = complete(archives, &lists, page, query.level(), limits).await?;
    let mut rewriters: Vec<_> = archives
        .iter()
        .map(|archive| {
            let settings = archive.settings();
            let urls = UrlMap::new(public, &settings.qido_url, &settings.wado_url, path);
            Rewriter::new(urls, Syntax::Json)
        })
        .collect();
    let mut text = String::from("[");
    for (position, row) in page.iter().zip(rows) {
        if text.len() > 1 {
            text.push(',');
        }
        let rewriter = &mut rewriters[position.archive];
        let invalid_url = |_| archives[position.archive].unreadable("a row with an invalid URL");
        let pieces = [rewriter.push(&row), rewriter.finish()];
        for piece in pieces {
            text.push_str(&String::from_utf8_lossy(&piece.map_err(invalid_url)?));
        }
        if text.len() > MAX_LIST_LEN {
            return Err(DicomwebError::TooCostly { limit: max_scan });
        }
    }
    text.push(']');
    let is_literal_only = lists.iter().any(|list| list.is_literal_only);
    Ok(MergedList { text, more: limit.is_some() && more, is_literal_only })
}

/// The error of a search with the client's own query. An archive that rejects the query itself does so with the same status as
/// below its own root, where the response is forwarded; its other statuses concern what the gateway adds: the media types, the
/// paging.
fn query_rejection(error: DicomwebError) -> DicomwebError {
    match error {
        DicomwebError::Archive(ArchiveError { archive, kind: ArchiveErrorKind::Rejected(status) })
            if matches!(status.as_u16(), 400 | 413 | 414 | 501) =>
        {
            DicomwebError::Refused { archive, status, retry_after: None }
        }
        error => error,
    }
}

/// Whether a row belongs to the study or series of the URL: some archives return others too.
fn is_requested(archive: &Archive, level: &SearchLevel, row: &RowText) -> bool {
    let parents = Parents::of_search(level);
    if parents.is_empty() || !archive.profile().synthesized.contains(Synthesized::Parents) {
        return true;
    }
    serde_json::from_str(&row.text).is_ok_and(|attributes| parents.matches(&attributes))
}

/// The rows of a page, each completed with the attributes that its archive omits.
async fn complete(
    archives: &[&Archive],
    lists: &[FirstRows],
    page: &[MergePosition],
    level: &SearchLevel,
    limits: DicomwebLimits,
) -> Result<Vec<Bytes>, DicomwebError> {
    let mut rows_by_archive = Vec::new();
    for (number, archive) in archives.iter().enumerate() {
        let rows = page.iter().filter(|position| position.archive == number);
        let rows =
            rows.map(|position| Bytes::from(lists[number].rows[position.row].text.clone().into_string()));
        rows_by_archive.push(complete_rows(archive, limits, level, rows.collect()));
    }
    let mut rows_by_archive: Vec<_> =
        try_join_all(rows_by_archive).await?.into_iter().map(Vec::into_iter).collect();
    Ok(page.iter().filter_map(|position| rows_by_archive[position.archive].next()).collect())
}

/// The position of a row of the merged list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct MergePosition {
    archive: usize,
    row: usize,
}

/// Returns the positions of the merged list: the archives take turns, and a row is omitted if a row of another archive with its UID
/// precedes it. `patients` compares the patients of studies: a row is not omitted for a row of another patient.
fn alternate(
    archives: &[&Archive],
    lists: &[FirstRows],
    patients: Option<&PatientComparison>,
) -> Vec<MergePosition> {
    let mut listed: HashMap<&str, Vec<MergePosition>> = HashMap::new();
    let mut order = Vec::new();
    let patient = |comparison: &PatientComparison, position: &MergePosition| {
        let text = &lists[position.archive].rows[position.row].text;
        comparison.patient(archives[position.archive].id(), text)
    };
    for turn in 0..lists.iter().map(|list| list.rows.len()).max().unwrap_or(0) {
        for (archive, list) in lists.iter().enumerate() {
            let Some(row) = list.rows.get(turn) else { continue };
            let position = MergePosition { archive, row: turn };
            let same_uid = listed.entry(&row.uid).or_default();
            let of_others = || same_uid.iter().filter(|other| other.archive != archive);
            let is_omitted = match patients {
                Some(comparison) if of_others().next().is_some() => {
                    let own = patient(comparison, &position);
                    of_others().any(|other| !own.contradicts(&patient(comparison, other)))
                }
                _ => of_others().next().is_some(),
            };
            if !is_omitted {
                same_uid.push(position);
                order.push(position);
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(uids: &[u8]) -> FirstRows {
        let mut rows: Vec<RowText> = Vec::new();
        for uid in uids {
            let uid: Box<str> = uid.to_string().into();
            if rows.iter().all(|row| row.uid != uid) {
                rows.push(RowText { uid, text: Box::default() });
            }
        }
        FirstRows { rows, ..FirstRows::default() }
    }

    fn uids(lists: &[FirstRows]) -> Vec<String> {
        alternate(&[], lists, None)
            .iter()
            .map(|position| lists[position.archive].rows[position.row].uid.to_string())
            .collect()
    }

    #[test]
    fn archives_take_turns_and_a_uid_is_listed_once() {
        let lists = [list(&[1, 2, 3]), list(&[7, 3, 8]), list(&[9])];
        assert_eq!(uids(&lists), ["1", "7", "9", "2", "3", "8"]);
        assert_eq!(alternate(&[], &lists, None)[4], MergePosition { archive: 1, row: 1 });
    }

    proptest! {
        #[test]
        fn a_page_depends_on_no_rows_of_an_archive_beyond_its_end(
            lists in prop::collection::vec(prop::collection::vec(0_u8..30, 0..20), 1..4), end in 0_usize..25,
        ) {
            let whole: Vec<_> = lists.iter().map(|uids| list(uids)).collect();
            let first: Vec<_> = lists
                .iter()
                .map(|uids| {
                    let mut list = list(uids);
                    list.rows.truncate(end);
                    list
                })
                .collect();
            let (whole, first) = (uids(&whole), uids(&first));
            prop_assert_eq!(&whole[..end.min(whole.len())], &first[..end.min(first.len())]);
        }
    }
}
