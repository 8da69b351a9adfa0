//! The first rows of a search, however an archive pages: it is asked until it gives nothing new.
//!
//! Rows are as the archive wrote them, byte for byte. What they hold is bounded.

use std::collections::HashSet;

use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::error::DicomwebError;
use crate::archive::{Archive, ArchiveError, ArchiveErrorKind, QidoQuery, SearchLevel, UpstreamRequest};
use crate::dicom::{Attributes, Tag, tags};

/// How many rows are asked for at once.
const PAGE: usize = 500;

/// Rows of every attribute of thousands of objects; a longer list is not put together.
pub(super) const LONGEST_LIST: usize = 64 * 1024 * 1024;

/// One row as an archive wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) uid: Box<str>,
    /// Of one UID there may be a row for each of two patients.
    pub(super) patient: Box<str>,
    pub(super) text: Box<str>,
}

/// The first rows of one archive, each object's once.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) rows: Vec<Row>,
    /// The archive may have more.
    pub(super) more: bool,
}

/// The rows of the first `wanted` UIDs that `archive` has for `query`, without repetitions, however it pages: it is asked until
/// it gives nothing new.
pub(super) async fn first_rows(
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
            return Err(unreadable(archive, "a row without a UID").into());
        }
        if length > LONGEST_LIST {
            return Err(unreadable(archive, "a list that is too long").into());
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

/// An error about what stands in an archive's answer.
pub(super) fn unreadable(archive: &Archive, what: &'static str) -> ArchiveError {
    ArchiveError { archive: archive.id().clone(), kind: ArchiveErrorKind::Unreadable(what) }
}
