//! One list out of the lists of several archives (PS3.18 10.6), exact and bounded.
//!
//! The whole list alternates between the archives: the first row of each in the order of the configuration, then the
//! second of each, and so on. A UID is its whose turn with it comes first; rows of it from other archives are left out. So
//! any page needs no more UIDs of any archive than the page's end, and the first page shows something of every archive.
//! Rows are as the archive wrote them, byte for byte but for addresses.

use std::collections::{HashMap, HashSet};

use futures_util::future::try_join_all;
use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::archive::{Archive, ArchiveError, ArchiveErrorKind, QidoQuery, SearchLevel, UpstreamRequest};
use crate::dicom::{Attributes, Tag, tags};
use crate::dicomweb::address::Addresses;
use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::rewrite::{Rewriter, Syntax};

/// How many rows are asked for at once.
const PAGE: usize = 500;

/// Rows of every attribute of thousands of objects; a longer list is not put together.
const LONGEST_LIST: usize = 64 * 1024 * 1024;

/// One row as an archive wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::dicomweb) struct Row {
    pub(super) uid: Box<str>,
    /// Of one UID there may be a row for each of two patients.
    patient: Box<str>,
    pub(in crate::dicomweb) text: Box<str>,
}

/// The first rows of one archive, each object's once.
#[derive(Debug, Default)]
pub(in crate::dicomweb) struct Rows {
    pub(in crate::dicomweb) rows: Vec<Row>,
    /// The archive may have more.
    more: bool,
}

/// A page of the whole list.
#[derive(Debug)]
pub(super) struct Found {
    /// A JSON array.
    pub(super) text: String,
    /// The list goes on behind the page.
    pub(super) more: bool,
}

/// The page that `query` asks for out of what `archives` have. `path` is that of the request below the root, `public` the
/// address of the root.
pub(super) async fn merged(
    archives: &[&Archive],
    public: &str,
    path: &str,
    query: QidoQuery,
    max_scan: usize,
) -> Result<Found, DicomwebError> {
    let (limit, offset) = query.window();
    let offset = offset as usize;
    let end = limit.map_or(max_scan, |limit| offset.saturating_add(limit as usize));
    let too_costly = DicomwebError::TooCostly { limit: max_scan };
    if end > max_scan {
        return Err(too_costly);
    }
    // One more than the page needs shows whether the list goes on.
    let searches = archives.iter().map(|archive| first_rows(archive, query.clone(), end + 1));
    let lists = try_join_all(searches).await?;
    if limit.is_none() && lists.iter().any(|list| list.rows.len() > max_scan) {
        return Err(too_costly);
    }
    let order = alternating(&lists);
    let more = order.len() > end || lists.iter().any(|list| list.more);
    let page_end = limit.map_or(order.len(), |_| end.min(order.len()));
    let page = order.get(offset.min(page_end)..page_end).unwrap_or_default();
    let mut rewriters: Vec<_> = archives
        .iter()
        .map(|archive| {
            let settings = archive.settings();
            let addresses = Addresses::new(public, &settings.qido_url, &settings.wado_url, path);
            Rewriter::new(addresses, Syntax::Json)
        })
        .collect();
    let mut text = String::from("[");
    for place in page {
        let row = &lists[place.archive].rows[place.row];
        if text.len() > 1 {
            text.push(',');
        }
        let rewriter = &mut rewriters[place.archive];
        let unreadable = |_| error(archives[place.archive], "a row with an address that is none");
        let pieces = [rewriter.push(row.text.clone().into_string().into()), rewriter.finish()];
        for piece in pieces {
            text.push_str(&String::from_utf8_lossy(&piece.map_err(unreadable)?));
        }
        if text.len() > LONGEST_LIST {
            return Err(DicomwebError::TooCostly { limit: max_scan });
        }
    }
    text.push(']');
    Ok(Found { text, more: limit.is_some() && more })
}

/// Where a row of the whole list stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    archive: usize,
    row: usize,
}

/// The whole list, as far as the lists reach: by turns, and of each UID only the rows of the archive whose turn came first.
fn alternating(lists: &[Rows]) -> Vec<Place> {
    let mut owners: HashMap<&str, usize> = HashMap::new();
    let mut order = Vec::new();
    for turn in 0..lists.iter().map(|list| list.rows.len()).max().unwrap_or(0) {
        for (archive, list) in lists.iter().enumerate() {
            if let Some(row) = list.rows.get(turn)
                && *owners.entry(&row.uid).or_insert(archive) == archive
            {
                order.push(Place { archive, row: turn });
            }
        }
    }
    order
}

/// The rows of the first `wanted` UIDs that `archive` has for `query`, without repetitions, however it pages: it is asked until
/// it gives nothing new.
pub(in crate::dicomweb) async fn first_rows(
    archive: &Archive,
    query: QidoQuery,
    wanted: usize,
) -> Result<Rows, DicomwebError> {
    let own_tag = own_uid(query.level());
    let mut found = Rows::default();
    let (mut seen, mut uids) = (HashSet::new(), HashSet::new());
    let (mut received, mut length, mut is_nameless) = (0, 0, false);
    loop {
        let page = wanted.saturating_sub(uids.len()).clamp(1, PAGE);
        let query = query
            .clone()
            .page(u32::try_from(page).unwrap_or(u32::MAX), u32::try_from(received).unwrap_or(u32::MAX));
        let before = found.rows.len();
        let each = |text: Box<RawValue>| match row(text, own_tag) {
            Some(row) if uids.len() >= wanted && !uids.contains(&row.uid) => found.more = true,
            Some(row) => {
                if seen.insert((row.uid.clone(), row.patient.clone())) {
                    uids.insert(row.uid.clone());
                    length += row.text.len();
                    found.rows.push(row);
                }
            }
            None => is_nameless = true,
        };
        let end = archive.rows(UpstreamRequest::search(query), each).await.map_err(misplaced)?;
        if is_nameless {
            return Err(error(archive, "a row without a UID").into());
        }
        if length > LONGEST_LIST {
            return Err(error(archive, "a list that is too long").into());
        }
        received += end.rows;
        let is_short = archive.profile().paging_is_reliable && end.rows < page && !end.more;
        if uids.len() >= wanted || found.rows.len() == before || is_short {
            return Ok(found);
        }
    }
}

/// What is not at the archive's address says nothing of what the caller asked for.
fn misplaced(mut error: ArchiveError) -> ArchiveError {
    if error.is_not_found() {
        error.kind = ArchiveErrorKind::Refused(StatusCode::NOT_FOUND);
    }
    error
}

fn row(text: Box<RawValue>, own_tag: Tag) -> Option<Row> {
    let attributes = Attributes::deserialize(&*text).ok()?;
    Some(Row {
        uid: attributes.text(own_tag)?.into(),
        patient: attributes.text(tags::PATIENT_ID).unwrap_or_default().into(),
        text: Box::<str>::from(text),
    })
}

/// What tells the objects of a level apart.
fn own_uid(level: &SearchLevel) -> Tag {
    match level {
        SearchLevel::Studies => tags::STUDY_INSTANCE_UID,
        SearchLevel::Series { .. } | SearchLevel::AllSeries => tags::SERIES_INSTANCE_UID,
        SearchLevel::Instances { .. } | SearchLevel::SeriesInstances { .. } | SearchLevel::AllInstances => {
            tags::SOP_INSTANCE_UID
        }
    }
}

fn error(archive: &Archive, what: &'static str) -> ArchiveError {
    ArchiveError { archive: archive.id().clone(), kind: ArchiveErrorKind::Unreadable(what) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(uids: &[u8]) -> Rows {
        let mut rows: Vec<Row> = Vec::new();
        for uid in uids {
            let uid: Box<str> = uid.to_string().into();
            if rows.iter().all(|row| row.uid != uid) {
                rows.push(Row { uid, patient: Box::default(), text: Box::default() });
            }
        }
        Rows { rows, more: false }
    }

    fn uids(lists: &[Rows]) -> Vec<String> {
        alternating(lists).iter().map(|place| lists[place.archive].rows[place.row].uid.to_string()).collect()
    }

    #[test]
    fn archives_take_turns_and_a_uid_comes_once() {
        let lists = [list(&[1, 2, 3]), list(&[7, 3, 8]), list(&[9])];
        assert_eq!(uids(&lists), ["1", "7", "9", "2", "3", "8"]);
        assert_eq!(alternating(&lists)[4], Place { archive: 1, row: 1 });
    }

    proptest! {
        #[test]
        fn a_page_needs_no_more_of_any_archive_than_its_end(
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
