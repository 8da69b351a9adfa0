//! Completes the rows of an archive: adds the UIDs of their parents from the URL, and counts from further searches (PS3.18
//! tables 10.6.3-3 to 10.6.3-5).
//!
//! Rows whose parents differ from the URL are omitted. Values of the archive are never replaced.

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use http::{Response, StatusCode, header};

use super::counts;
use super::list::{self, RowStream};
use super::parents::Parents;
use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::limits::DicomwebLimits;
use crate::dicomweb::proxy::assembled;
use crate::dicomweb::proxy::first_rows::MAX_LIST_LEN;
use crate::dicomweb::proxy::prefetched_body::with_prefetched_beginning;
use crate::dicomweb::proxy::request::ProxyRequest;
use crate::dicomweb::proxy::stream_error::StreamError;
use crate::dicomweb::request::accept::Format;
use crate::dicomweb::request::computed_attributes::computed_attributes;
use crate::dicomweb::request::path::Resource;
use crate::upstream::{Archive, SearchLevel, Synthesized};
use dicom_model::{Attributes, json};
use http_messages::body::Body;

/// Returns the attributes to add to the rows: the UIDs of their parents, and the counts at a level. `None` if there are none.
fn completion<'a>(
    archive: &Archive,
    request: &'a ProxyRequest,
) -> Option<(Parents, Option<&'a SearchLevel>)> {
    let synthesized = archive.profile().synthesized;
    let (parents, level) = match &request.resource {
        Resource::Search(level) => (Parents::of_search(level), Some(level)),
        Resource::Metadata(objects) => (Parents::of_objects(objects), None),
        _ => return None,
    };
    let parents = if synthesized.contains(Synthesized::Parents) { parents } else { Parents::default() };
    let level = level
        .filter(|level| synthesized.contains(Synthesized::Counts) && !computed_attributes(level).is_empty());
    (!parents.is_empty() || level.is_some()).then_some((parents, level))
}

/// Whether attributes must be added to the response of the archive to `request`.
pub(in crate::dicomweb) fn needs_completion(archive: &Archive, request: &ProxyRequest) -> bool {
    completion(archive, request).is_some()
}

/// Adds missing attributes to the rows of `response`, which is in JSON, and removes rows of other studies or series.
pub(in crate::dicomweb) async fn complete_response(
    archive: &Archive,
    limits: DicomwebLimits,
    request: &ProxyRequest,
    response: Response<Body>,
) -> Result<Response<Body>, DicomwebError> {
    let Some((parents, level)) = completion(archive, request) else { return Ok(response) };
    if response.status() != StatusCode::OK {
        return Ok(response);
    }
    let (mut head, body) = response.into_parts();
    // The bytes differ from those of the archive.
    for name in [header::ETAG, header::LAST_MODIFIED, header::CONTENT_LENGTH] {
        head.headers.remove(name);
    }
    let rows = add_parents(list::parse_rows(archive, body), parents);
    let rows = match level {
        Some(level) => {
            let rows = collect(archive, limits, rows).await?;
            let rows = counts::complete(rows, archive, limits, level).await?;
            stream::iter(rows.into_iter().map(Ok)).boxed()
        }
        None => rows.map_ok(|(row, _)| row).boxed(),
    };
    let format = request.accepted.preferred_format();
    let rows = match (request.is_search(), format) {
        (true, Format::Json) => rows,
        // A multipart body has at least one part.
        (true, Format::Xml) => match list::require_row(archive, rows).await {
            Err(error) if error.is_not_found() => return Ok(assembled::no_match(request)),
            rows => rows?,
        },
        (false, _) => list::require_row(archive, rows).await?,
    };
    let assembled = assembled::streamed_rows(archive, list::array_body(archive, rows), format);
    if let Some(content_type) = assembled.headers().get(header::CONTENT_TYPE) {
        head.headers.insert(header::CONTENT_TYPE, content_type.clone());
    }
    with_prefetched_beginning(archive, Response::from_parts(head, assembled.into_body())).await
}

/// Adds missing attributes to rows that are merged with those of other archives.
pub(in crate::dicomweb) async fn complete_rows(
    archive: &Archive,
    limits: DicomwebLimits,
    level: &SearchLevel,
    rows: Vec<Bytes>,
) -> Result<Vec<Bytes>, DicomwebError> {
    let synthesized = archive.profile().synthesized;
    let parents = if synthesized.contains(Synthesized::Parents) {
        Parents::of_search(level)
    } else {
        Parents::default()
    };
    let add_parents = |row: Bytes| {
        let attributes = json::parse_bytes(&row).unwrap_or_default();
        (parents.add_to(row, &attributes), attributes)
    };
    let rows: Vec<(Bytes, Attributes)> = rows.into_iter().map(add_parents).collect();
    if synthesized.contains(Synthesized::Counts) {
        return counts::complete(rows, archive, limits, level).await;
    }
    Ok(rows.into_iter().map(|(row, _)| row).collect())
}

/// Adds the UIDs of their parents to the rows, and removes rows with other parents. Returns each row with its attributes.
fn add_parents(
    rows: RowStream,
    parents: Parents,
) -> BoxStream<'static, Result<(Bytes, Attributes), StreamError>> {
    let add_to_row = move |row: Bytes| {
        let unreadable = StreamError::Unreadable("a row that is not a DICOM JSON object");
        let text = std::str::from_utf8(&row).unwrap_or_default();
        let (Some(is_requested), Ok(attributes)) = (parents.match_row(text), json::parse(text)) else {
            return Err(unreadable);
        };
        let row = is_requested.then(|| parents.add_to(row, &attributes));
        Ok(row.map(|row| (row, attributes)))
    };
    rows.try_filter_map(move |text| std::future::ready(add_to_row(text))).boxed()
}

/// Collects all of `rows`; an error if they exceed the limits.
async fn collect(
    archive: &Archive,
    limits: DicomwebLimits,
    mut rows: BoxStream<'static, Result<(Bytes, Attributes), StreamError>>,
) -> Result<Vec<(Bytes, Attributes)>, DicomwebError> {
    let (mut collected, mut length) = (Vec::new(), 0);
    while let Some(row) = rows.next().await {
        let row = row.map_err(|error| error.before_response(archive))?;
        length += row.0.len();
        collected.push(row);
        if collected.len() > limits.max_scan || length > MAX_LIST_LEN {
            return Err(DicomwebError::TooCostly { limit: limits.max_scan });
        }
    }
    Ok(collected)
}
