//! Reads the first rows of a search, only as many as needed. Paging is the subject of [`Pager`].
//!
//! Rows are as the archive wrote them, byte for byte. Their total size is limited.

use std::collections::HashSet;
use std::ops::ControlFlow;

use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::dicomweb::error::DicomwebError;
use crate::upstream::{
    Archive, ArchiveError, ArchiveErrorKind, NarrowedQuery, PageEnd, Pager, QidoQuery, RowFilter,
    RowIdentity, UnsearchableValue,
};
use dicom_model::Attributes;

/// Maximum rows per request.
const PAGE_SIZE: usize = 500;

/// Enough for rows with every attribute of thousands of objects; a longer list is not assembled.
pub(crate) const MAX_LIST_LEN: usize = 64 * 1024 * 1024;

/// One row as an archive wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowText {
    /// The UID of its object; a UID may have several rows, one for each of two patients.
    pub(crate) uid: Box<str>,
    pub(crate) text: Box<str>,
}

/// The first rows of one archive, each identity once.
#[derive(Debug, Default)]
pub(crate) struct FirstRows {
    pub(crate) rows: Vec<RowText>,
    /// The archive may have more.
    pub(crate) more: bool,
    /// Fuzzy matching was requested, and matching was literal.
    pub(crate) is_literal_only: bool,
}

/// The rows of the first `wanted` UIDs that `archive` has for `query`, each identity once. If the archive has to return more
/// than that because it cannot match exactly, at most `max_scan` of its rows are scanned.
pub(crate) async fn read_first_rows(
    archive: &Archive,
    query: &QidoQuery,
    wanted: usize,
    max_scan: usize,
) -> Result<FirstRows, DicomwebError> {
    let NarrowedQuery { query, filter, is_literal_only } = query
        .narrowed_for(archive.profile())
        .map_err(|why| DicomwebError::UnsearchableValue(archive.id().clone(), why))?;
    let mut pager = Pager::<Box<RawValue>, _>::new(archive, &query, |text| {
        RowIdentity::from_row(query.level(), &Attributes::deserialize(&**text).ok()?)
    });
    let (mut found, mut uids, mut length) =
        (FirstRows { is_literal_only, ..FirstRows::default() }, HashSet::new(), 0);
    let mut scanned = 0;
    loop {
        let page =
            if filter.is_empty() { wanted.saturating_sub(uids.len()).clamp(1, PAGE_SIZE) } else { PAGE_SIZE };
        let (mut lacks_uid, mut unsearchable) = (false, None);
        let each = |text: Box<RawValue>, identity: Option<&RowIdentity>| {
            let Some(identity) = identity else {
                lacks_uid = true;
                return ControlFlow::Break(());
            };
            scanned += 1;
            match admits(&filter, &text) {
                Ok(true) if uids.len() >= wanted && !uids.contains(identity.uid()) => found.more = true,
                Ok(true) => {
                    uids.insert(Box::<str>::from(identity.uid()));
                    length += text.get().len();
                    found.rows.push(RowText { uid: identity.uid().into(), text: text.into() });
                }
                Ok(false) => {}
                Err(why) => unsearchable = Some(why),
            }
            // An archive that ignores the limit returns its whole list.
            let has_more = filter.is_empty() && found.more && scanned > 2 * wanted + PAGE_SIZE;
            let is_too_costly = !filter.is_empty() && scanned > max_scan + PAGE_SIZE;
            if has_more || is_too_costly || unsearchable.is_some() || length > MAX_LIST_LEN {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        };
        let end = pager
            .next_page(u32::try_from(page).unwrap_or(u32::MAX), each)
            .await
            .map_err(not_found_as_refused)?;
        if lacks_uid {
            return Err(archive.unreadable("a row without a UID").into());
        }
        if let Some(why) = unsearchable {
            return Err(DicomwebError::UnsearchableValue(archive.id().clone(), why));
        }
        if length > MAX_LIST_LEN {
            return Err(archive.unreadable("a list that is too long").into());
        }
        match end {
            PageEnd::Restart => {
                found.rows.clear();
                found.more = false;
                uids.clear();
                (length, scanned) = (0, 0);
            }
            PageEnd::Stopped if !filter.is_empty() => {
                return Err(DicomwebError::TooCostly { limit: max_scan });
            }
            PageEnd::Last | PageEnd::Stopped => return Ok(found),
            PageEnd::More if uids.len() >= wanted => return Ok(found),
            PageEnd::More if !filter.is_empty() && scanned > max_scan => {
                return Err(DicomwebError::TooCostly { limit: max_scan });
            }
            PageEnd::More => {}
        }
    }
}

fn admits(filter: &RowFilter, text: &RawValue) -> Result<bool, UnsearchableValue> {
    if filter.is_empty() {
        return Ok(true);
    }
    Attributes::deserialize(text).map_or(Ok(false), |row| filter.matches(&row))
}

/// A search that the archive does not have is an error of the archive: to the client, 404 would mean that its study does not
/// exist.
fn not_found_as_refused(mut error: ArchiveError) -> ArchiveError {
    if error.is_not_found() {
        error.kind = ArchiveErrorKind::Rejected(StatusCode::NOT_FOUND);
    }
    error
}
