//! The first rows of a search, as far as they are needed; how an archive pages is known to [`Pager`].
//!
//! Rows are as the archive wrote them, byte for byte. What they hold is bounded.

use std::collections::HashSet;

use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::error::DicomwebError;
use crate::archive::{Archive, ArchiveError, ArchiveErrorKind, PageEnd, Pager, QidoQuery, RowIdentity};
use crate::dicom::Attributes;

/// How many rows are asked for at once.
const PAGE: usize = 500;

/// Rows of every attribute of thousands of objects; a longer list is not put together.
pub(super) const LONGEST_LIST: usize = 64 * 1024 * 1024;

/// One row as an archive wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// Of one UID there may be a row for each of two patients.
    pub(super) uid: Box<str>,
    pub(super) text: Box<str>,
}

/// The first rows of one archive, each object's once.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) rows: Vec<Row>,
    /// The archive may have more.
    pub(super) more: bool,
}

/// The rows of the first `wanted` UIDs that `archive` has for `query`, each identity once.
pub(super) async fn first_rows(
    archive: &Archive,
    query: QidoQuery,
    wanted: usize,
) -> Result<Rows, DicomwebError> {
    let level = query.level().clone();
    let mut pager = Pager::<Box<RawValue>, _>::new(archive, &query, |text| {
        RowIdentity::of(&level, &Attributes::deserialize(&**text).ok()?)
    });
    let (mut found, mut uids, mut length) = (Rows::default(), HashSet::new(), 0);
    loop {
        let page = wanted.saturating_sub(uids.len()).clamp(1, PAGE);
        let mut has_nameless = false;
        let each = |text: Box<RawValue>, identity: Option<&RowIdentity>| match identity {
            Some(identity) if uids.len() >= wanted && !uids.contains(identity.uid()) => found.more = true,
            Some(identity) => {
                uids.insert(Box::<str>::from(identity.uid()));
                length += text.get().len();
                found.rows.push(Row { uid: identity.uid().into(), text: text.into() });
            }
            None => has_nameless = true,
        };
        let end = pager.next_page(u32::try_from(page).unwrap_or(u32::MAX), each).await.map_err(misplaced)?;
        if has_nameless {
            return Err(unreadable(archive, "a row without a UID").into());
        }
        if length > LONGEST_LIST {
            return Err(unreadable(archive, "a list that is too long").into());
        }
        match end {
            PageEnd::Restart => {
                (found, length) = (Rows::default(), 0);
                uids.clear();
            }
            PageEnd::More if uids.len() < wanted => {}
            PageEnd::More | PageEnd::Last => return Ok(found),
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

/// An error about what stands in an archive's answer.
pub(super) fn unreadable(archive: &Archive, what: &'static str) -> ArchiveError {
    ArchiveError { archive: archive.id().clone(), kind: ArchiveErrorKind::Unreadable(what) }
}
