//! Merges the lists of one or several archives into one list (PS3.18 10.6). Every page of the list is exact, and its size is
//! limited.
//!
//! The list alternates between the archives: it contains the first row of each in the order of the configuration, then the second
//! of each, and so on. If several archives return a row with the same UID, only the first of these rows is in the list, unless
//! the rows are of studies of different patients. Therefore the number of rows that a page requires from each archive is
//! limited by the end of the page, and the first page contains rows of every archive. The bytes of rows do not change, except
//! for URLs, attributes that are added, and the totals of studies and series in several archives.

mod totals;

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use futures_util::future::try_join_all;
use http::{HeaderValue, Response, header};

use self::totals::{PageOfRows, set_totals};
use super::context::DicomwebContext;
use super::error::DicomwebError;
use super::limits::DicomwebLimits;
use super::patient_comparison::PatientComparison;
use super::proxy::assembled::{self, AssembledRows};
use super::proxy::first_rows::{FirstRows, MAX_LIST_LEN, read_retrievable_rows};
use super::proxy::request::reject_computed_keys;
use super::proxy::response::{ROWS_OMITTED_WARNING, irretrievable_rows_warning};
use super::request::DicomwebRequest;
use super::request::accept::{Accepted, Format};
use super::request::path::Resource;
use super::request::query;
use super::synthesis::complete_rows;
use super::url_rewrite::syntax::Syntax;
use super::url_rewrite::text::Rewriter;
use super::url_rewrite::url_map::UrlMap;
use crate::http::query::decode;
use crate::studies::Studies;
use crate::upstream::{Archive, ArchiveError, ArchiveErrorKind, QidoQuery, SearchLevel};
use dicom_model::tags;
use http_messages::body::Body;

/// The parameters of a search whose rows are compared or merged.
#[derive(Debug)]
pub(super) struct SearchRequest {
    pub(super) query: QidoQuery,
    /// The format of the response.
    pub(super) format: Format,
}

impl SearchRequest {
    pub(super) fn read(request: &DicomwebRequest<'_>, level: &SearchLevel) -> Result<Self, DicomwebError> {
        let pairs = decode(request.query.unwrap_or_default())?;
        let search = query::parse_search(level.clone(), &pairs, request.uid_rule)?;
        let accepted = Accepted::read(&search.common.headers_of(request), &Resource::Search(level.clone()));
        let format = accepted.ok_or(DicomwebError::NotAcceptable)?.preferred_format();
        Ok(Self { query: search.query, format })
    }

    /// Returns the response if the limit is 0 (PS3.18 8.3.4.4). It needs no request to an archive.
    pub(super) fn response_without_rows(&self) -> Option<Response<Body>> {
        (self.query.window().0 == Some(0)).then(|| self.empty())
    }

    /// Returns the response without rows.
    pub(super) fn empty(&self) -> Response<Body> {
        assembled::no_rows(self.format)
    }
}

/// A page of the merged list.
#[derive(Debug)]
struct MergedPage {
    rows: AssembledRows,
    /// The warnings about the list.
    warnings: Vec<HeaderValue>,
}

/// The warning of PS3.18 8.3.4.4, if the list continues after the page.
const MORE_RESULTS_WARNING: HeaderValue =
    HeaderValue::from_static("299 dicomweb-gateway \"There are additional results that can be requested\"");

/// The same warning of a page without an archive that failed, because a later page requires every archive.
const LATER_RESULTS_WARNING: HeaderValue = HeaderValue::from_static(
    "299 dicomweb-gateway \"There are additional results that can be requested when every archive responds\"",
);

/// The warning of PS3.18 8.3.4.2, if fuzzy matching was requested, but matching was literal.
const LITERAL_MATCHING_WARNING: HeaderValue = HeaderValue::from_static(
    "299 dicomweb-gateway \"The fuzzymatching parameter is not supported. Only literal matching has been performed.\"",
);

/// The warning of a list with a study whose series an archive did not return.
const UNCERTAIN_TOTALS_WARNING: HeaderValue = HeaderValue::from_static(
    "299 dicomweb-gateway \"The numbers of series and instances of some studies may be too low, because an archive did not return their series\"",
);

/// Responds to a search in all of `archives`. `public_url` is the public URL of their root. `studies` is `None` for the root of one
/// archive, whose rows are not compared with those of other archives.
pub(super) async fn respond(
    archives: &[&Archive],
    public_url: &str,
    request: &DicomwebRequest<'_>,
    level: &SearchLevel,
    context: &DicomwebContext,
    studies: Option<&Studies>,
) -> Result<Response<Body>, DicomwebError> {
    let search = SearchRequest::read(request, level)?;
    let page = merge(archives, public_url, request.path, &search, (context, studies)).await?;
    let mut response = page.rows.into_response();
    for warning in page.warnings {
        response.headers_mut().append(header::WARNING, warning);
    }
    Ok(response)
}

/// Returns the page of rows of `archives` that `search` requests. `path` is the path of the request below the root, and
/// `public_url` is the public URL of the root.
async fn merge(
    archives: &[&Archive],
    public_url: &str,
    path: &str,
    search: &SearchRequest,
    (context, studies): (&DicomwebContext, Option<&Studies>),
) -> Result<MergedPage, DicomwebError> {
    let (query, limits) = (&search.query, context.limits);
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
    // A page that ends after the last row that may be read is shorter than requested (PS3.18 8.3.4.4).
    let end = limit.map_or(max_scan, |limit| offset.saturating_add(limit as usize)).min(max_scan);
    // One additional row shows whether the list continues after the page.
    let searches = archives.iter().map(|archive| async move {
        let Some(query) = query.restricted_to(archive.uid_rule()) else {
            return Ok(Some(FirstRows::default()));
        };
        let reading = async {
            let list = read_retrievable_rows(archive, &query, end + 1, max_scan).await;
            list.map_err(query_rejection)
        };
        match studies {
            Some(studies) => studies.query_unless_failed(archive.id(), reading).await,
            None => reading.await.map(Some),
        }
    });
    let lists = try_join_all(searches).await?;
    if lists.iter().all(Option::is_none)
        && let Some(studies) = studies
    {
        studies.require_complete_answer()?;
    }
    let lists: Vec<_> = lists.into_iter().map(Option::unwrap_or_default).collect();
    if limit.is_none() && lists.iter().any(|list| list.rows.len() > max_scan) {
        return Err(too_costly);
    }
    let patients = matches!(query.level(), SearchLevel::Studies).then_some(&context.patients);
    let order = alternate(archives, &lists, patients);
    let has_more = order.len() > end || lists.iter().any(|list| list.has_more);
    if offset == max_scan && has_more {
        // An empty page would end the list for a client that requests pages until one is empty.
        return Err(too_costly);
    }
    let page_end = limit.map_or(order.len(), |_| end.min(order.len()));
    let page = order.get(offset.min(page_end)..page_end).unwrap_or_default();
    let rows = complete_page(archives, &lists, page, query.level(), limits).await?;
    let (rows, has_uncertain_totals) = match studies {
        Some(studies) => {
            let rows = page.iter().map(|position| archives[position.archive]).zip(rows).collect();
            let shared_studies = shared_studies(query, &lists);
            let page = PageOfRows { level: query.level(), archives, rows, shared_studies };
            let missing_before = studies.missing_archives().len();
            let rows = set_totals(page, studies, limits).await?;
            // The rows of an archive that fails now are already in the list.
            if studies.missing_archives().len() > missing_before {
                studies.require_complete_answer()?;
            }
            rows
        }
        None => (rows, false),
    };
    let rewriter = |archive: &&Archive| rewriter_of(archive, public_url, path, context);
    let mut rewriters: Vec<_> = archives.iter().map(rewriter).collect();
    let mut assembled = AssembledRows::new(search.format);
    for (position, row) in page.iter().zip(rows) {
        let archive = archives[position.archive];
        let rewriter = &mut rewriters[position.archive];
        let invalid_url = |_| archive.unreadable("a row with an invalid URL");
        let beginning = rewriter.push(&row).map_err(invalid_url)?;
        let rest = rewriter.finish().map_err(invalid_url)?;
        let row = [beginning, rest].concat();
        assembled.add(&String::from_utf8_lossy(&row)).map_err(|error| error.before_response(archive))?;
        if assembled.len() > MAX_LIST_LEN {
            return Err(DicomwebError::TooCostly { limit: max_scan });
        }
        // A page of many rows does not delay other requests.
        tokio::task::coop::consume_budget().await;
    }
    let is_partial = studies.is_some_and(|studies| !studies.missing_archives().is_empty());
    let warnings = [
        (limit.is_some() && has_more && !is_partial, MORE_RESULTS_WARNING),
        (limit.is_some() && has_more && is_partial, LATER_RESULTS_WARNING),
        (lists.iter().any(|list| list.is_literal_only), LITERAL_MATCHING_WARNING),
        (lists.iter().any(|list| list.omitted_count > 0), ROWS_OMITTED_WARNING),
        (has_uncertain_totals, UNCERTAIN_TOTALS_WARNING),
    ];
    let warnings = warnings.into_iter().filter(|(applies, _)| *applies).map(|(_, warning)| warning);
    // The strictest rule: the setting changes the result if it is not set for one of the archives.
    let has_irretrievable_rows = archives.iter().zip(&lists).filter(|(_, list)| list.irretrievable_count > 0);
    let rule = has_irretrievable_rows.map(|(archive, _)| archive.uid_rule()).min();
    let warnings = warnings.chain(rule.map(irretrievable_rows_warning));
    Ok(MergedPage { rows: assembled, warnings: warnings.collect() })
}

/// Returns the rewriter of the URLs in rows of `archive`.
fn rewriter_of(archive: &Archive, public_url: &str, path: &str, context: &DicomwebContext) -> Rewriter {
    let settings = archive.settings();
    let urls = UrlMap::new(public_url, &settings.qido_url, &settings.wado_url, path)
        .with_uid_rule(archive.uid_rule())
        .with_query_seal(context.query_seal(archive));
    Rewriter::new(urls, Syntax::Json)
}

/// Returns the UIDs of studies that several of `lists` contain; `None` if the lists may not contain every copy of their studies.
fn shared_studies<'a>(query: &QidoQuery, lists: &'a [FirstRows]) -> Option<BTreeSet<&'a str>> {
    let is_whole = |list: &FirstRows| !list.has_more && list.omitted_count == 0;
    let finds_every_copy =
        matches!(query.level(), SearchLevel::Studies) && query.is_matching_only(tags::STUDY_INSTANCE_UID);
    if !finds_every_copy || !lists.iter().all(is_whole) {
        return None;
    }
    let mut lists_by_uid: HashMap<&str, BTreeSet<usize>> = HashMap::new();
    for (index, list) in lists.iter().enumerate() {
        for row in &list.rows {
            lists_by_uid.entry(&row.uid).or_default().insert(index);
        }
    }
    Some(lists_by_uid.into_iter().filter(|(_, lists)| lists.len() > 1).map(|(uid, _)| uid).collect())
}

/// Converts the error of an archive. A status that concerns the query of the client is returned as if the response of the archive
/// were forwarded. Other statuses concern the parts of the request that the gateway adds, which are media types and paging.
fn query_rejection(error: DicomwebError) -> DicomwebError {
    match error {
        DicomwebError::Archive(ArchiveError { archive, kind: ArchiveErrorKind::Rejected(status) })
            if matches!(status.as_u16(), 400 | 413 | 414 | 501) =>
        {
            DicomwebError::ErrorStatus { archive, status, retry_after: None }
        }
        error => error,
    }
}

/// Returns the rows of a page, with the attributes that their archives omit.
async fn complete_page(
    archives: &[&Archive],
    lists: &[FirstRows],
    page: &[MergePosition],
    level: &SearchLevel,
    limits: DicomwebLimits,
) -> Result<Vec<Bytes>, DicomwebError> {
    let mut rows_by_archive = Vec::new();
    for (index, archive) in archives.iter().enumerate() {
        let rows = page.iter().filter(|position| position.archive == index);
        let rows =
            rows.map(|position| Bytes::from(lists[index].rows[position.row].text.clone().into_string()));
        rows_by_archive.push(complete_rows(archive, limits, level, rows.collect()));
    }
    let mut rows_by_archive: Vec<_> =
        try_join_all(rows_by_archive).await?.into_iter().map(Vec::into_iter).collect();
    Ok(page.iter().filter_map(|position| rows_by_archive[position.archive].next()).collect())
}

/// The origin of a row of the merged list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct MergePosition {
    /// The index of the archive.
    archive: usize,
    /// The index of the row in the list of the archive.
    row: usize,
}

/// The rows with one UID so far.
#[derive(Debug, Default)]
struct RowsWithUid(Vec<ListedRow>);

/// A row of the merged list, and the omitted rows that it represents.
#[derive(Debug)]
struct ListedRow {
    position: MergePosition,
    omitted: Vec<MergePosition>,
    /// Whether the row may belong to several of the patients with this UID, so that it represents no other row.
    is_ambiguous: bool,
}

impl RowsWithUid {
    /// Adds a row. Returns the rows that follow in the merged list: the row, unless a listed row of another archive represents it, and
    /// the rows that a listed row does not stand for any more, because they contradict the new one.
    fn add(
        &mut self,
        position: MergePosition,
        contradicts: &impl Fn(&MergePosition, &MergePosition) -> bool,
    ) -> Vec<MergePosition> {
        let is_candidate = |row: &&mut ListedRow| {
            row.position.archive != position.archive
                && !row.is_ambiguous
                && !contradicts(&row.position, &position)
        };
        let mut displaced = Vec::new();
        for row in self.0.iter_mut().filter(is_candidate) {
            if !row.omitted.iter().any(|omitted| contradicts(omitted, &position)) {
                row.omitted.push(position);
                return Vec::new();
            }
            row.is_ambiguous = true;
            displaced.append(&mut row.omitted);
        }
        self.0.push(ListedRow { position, omitted: Vec::new(), is_ambiguous: false });
        let mut following = vec![position];
        following.extend(displaced.into_iter().flat_map(|row| self.add(row, contradicts)));
        following
    }
}

/// Returns the origins of the rows of the merged list, which alternates between the archives. A row is omitted if a row of
/// another archive with the same UID precedes it. If `patients` is not `None`, both rows must also belong to the same patient, and to
/// no other patient with the same UID.
fn alternate(
    archives: &[&Archive],
    lists: &[FirstRows],
    patients: Option<&PatientComparison>,
) -> Vec<MergePosition> {
    let mut rows_by_uid: HashMap<&str, RowsWithUid> = HashMap::new();
    let mut order = Vec::new();
    let patient_of = |comparison: &PatientComparison, position: &MergePosition| {
        let text = &lists[position.archive].rows[position.row].text;
        comparison.patient(archives[position.archive].id(), text)
    };
    let contradicts = |one: &MergePosition, other: &MergePosition| {
        patients.is_some_and(|comparison| {
            let (one, other) = (patient_of(comparison, one), patient_of(comparison, other));
            one.zip(other).is_some_and(|(one, other)| one.contradicts(&other))
        })
    };
    for row_index in 0..lists.iter().map(|list| list.rows.len()).max().unwrap_or(0) {
        for (archive, list) in lists.iter().enumerate() {
            let Some(row) = list.rows.get(row_index) else { continue };
            let position = MergePosition { archive, row: row_index };
            order.extend(rows_by_uid.entry(&row.uid).or_default().add(position, &contradicts));
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicomweb::proxy::first_rows::RowText;
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
    fn the_list_alternates_between_archives_and_contains_each_uid_once() {
        let lists = [list(&[1, 2, 3]), list(&[7, 3, 8]), list(&[9])];
        assert_eq!(uids(&lists), ["1", "7", "9", "2", "3", "8"]);
        assert_eq!(alternate(&[], &lists, None)[4], MergePosition { archive: 1, row: 1 });
    }

    proptest! {
        #[test]
        fn a_page_does_not_depend_on_rows_of_an_archive_after_the_end_of_the_page(
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
