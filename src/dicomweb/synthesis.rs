//! What an archive lacks, made out of what it has: metadata, and the large values that they point at, out of
//! instances; what rows of a search lack, out of the address and of further searches.
//!
//! A service that its configuration names under `supply` is made in its place, and the archive is never asked for it; one
//! that it just refuses is made after the refusal. What is made equals what the archive holds or breaks off: nothing is
//! left out because it cannot be read.

mod counts;
mod instances;
mod list;
mod metadata;
mod parents;
mod row;
mod values;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use http::{Response, StatusCode, header};

use super::DicomwebLimits;
use super::error::DicomwebError;
use super::proxy::first_rows::MAX_LIST_LEN;
use super::proxy::response;
use super::proxy::stream::StreamError;
use super::request::ProxyRequest;
use super::request::accept::Format;
use super::request::path::Resource;
use crate::http::negotiation::most_wanted;
use crate::upstream::{Archive, DicomResource, PathSegment, QidoQuery, SearchLevel, Synthesized};
use dicom_model::json::writer::Step;
use dicom_model::{Attributes, Tag};
use http_messages::body::Body;
use list::RowStream;

pub(super) use parents::Parents;

/// What can be made.
#[derive(Debug)]
enum Synthesizable<'a> {
    Metadata(&'a DicomResource),
    Value(&'a DicomResource, Vec<Step>),
}

impl<'a> Synthesizable<'a> {
    fn of(resource: &'a Resource) -> Option<Self> {
        match resource {
            Resource::Metadata(objects) => Some(Self::Metadata(objects)),
            // Where the metadata that are made here say that values stand; archives have other places too.
            Resource::Bulkdata(instance @ DicomResource::Instance(..), segments) => {
                let segments: Vec<_> = segments.iter().map(PathSegment::as_str).collect();
                let (first, steps) = segments.split_first()?;
                (*first == "bulkdata").then(|| Step::path(steps).map(|steps| Self::Value(instance, steps)))?
            }
            _ => None,
        }
    }
}

/// Whether what `question` asks for is made here, and the archive never asked for it.
pub(super) fn replaces(archive: &Archive, question: &ProxyRequest) -> bool {
    archive.profile().supplied.has(Synthesized::Metadata) && Synthesizable::of(&question.resource).is_some()
}

/// Whether what `question` asks for can be made where the archive refuses it.
pub(super) fn can_make(question: &ProxyRequest) -> bool {
    Synthesizable::of(&question.resource).is_some()
}

/// Makes what `question` asks for.
pub(super) async fn made(
    archive: &Archive,
    limits: DicomwebLimits,
    question: &ProxyRequest,
) -> Result<Response<Body>, DicomwebError> {
    match Synthesizable::of(&question.resource) {
        Some(Synthesizable::Metadata(objects)) => {
            let maker = metadata::Maker::new(archive, question.addresses.public(), limits);
            let rows = maker.rows(objects.clone()).await?;
            Ok(response::rows_in(list::array(rows), question.accepted.wanted()))
        }
        Some(Synthesizable::Value(instance, steps)) => {
            let ranges = most_wanted(question.accepted.ranges.clone());
            values::answered(archive, instance, steps, &ranges).await
        }
        _ => Err(DicomwebError::NotAcceptable),
    }
}

/// An attribute that is made here, by which `query` matches: an archive that lacks it finds anything or nothing by it.
pub(super) fn computed_key(archive: &Archive, query: &QidoQuery) -> Option<Tag> {
    let is_made = archive.profile().supplied.has(Synthesized::Counts);
    let mut computed = counts::computed(query.level()).iter().copied();
    computed.find(|tag| is_made && query.is_matching(*tag))
}

/// What rows are to be completed with: the UIDs that they lie below, and the level at which they are counted.
fn completion<'a>(
    archive: &Archive,
    question: &'a ProxyRequest,
) -> Option<(Parents, Option<&'a SearchLevel>)> {
    let supplied = archive.profile().supplied;
    let (parents, level) = match &question.resource {
        Resource::Search(level) => (Parents::of_search(level), Some(level)),
        Resource::Metadata(objects) => (Parents::of_objects(objects), None),
        _ => return None,
    };
    let parents = if supplied.has(Synthesized::Parents) { parents } else { Parents::default() };
    let level =
        level.filter(|level| supplied.has(Synthesized::Counts) && !counts::computed(level).is_empty());
    (!parents.is_empty() || level.is_some()).then_some((parents, level))
}

/// Whether the archive's answer to `question` lacks something that is put into it here.
pub(super) fn completes(archive: &Archive, question: &ProxyRequest) -> bool {
    completion(archive, question).is_some()
}

/// An archive's answer to `question`, which was asked for in JSON, with what its rows lack and without those that lie elsewhere.
pub(super) async fn completed(
    archive: &Archive,
    limits: DicomwebLimits,
    question: &ProxyRequest,
    answer: Response<Body>,
) -> Result<Response<Body>, DicomwebError> {
    let Some((parents, level)) = completion(archive, question) else { return Ok(answer) };
    if answer.status() != StatusCode::OK {
        return Ok(answer);
    }
    let (mut head, body) = answer.into_parts();
    // The list is another one than the archive's.
    for name in [header::ETAG, header::LAST_MODIFIED, header::CONTENT_LENGTH] {
        head.headers.remove(name);
    }
    let rows = below(list::rows_of(body), parents);
    let rows = match level {
        Some(level) => {
            let rows = gathered(archive, limits, rows).await?;
            let rows = counts::put_into(rows, archive, limits, level).await?;
            stream::iter(rows.into_iter().map(Ok)).boxed()
        }
        None => rows.map_ok(|(row, _)| row).boxed(),
    };
    let wanted = question.accepted.wanted();
    let rows = match (question.is_search(), wanted) {
        (true, Format::Json) => rows,
        // Of parts there can be no empty list.
        (true, Format::Xml) => match list::begun(archive, rows).await {
            Err(none) if none.is_not_found() => return Ok(response::no_match(question)),
            rows => rows?,
        },
        (false, _) => list::begun(archive, rows).await?,
    };
    let written = response::rows_in(list::array(rows), wanted);
    if let Some(content_type) = written.headers().get(header::CONTENT_TYPE) {
        head.headers.insert(header::CONTENT_TYPE, content_type.clone());
    }
    Ok(Response::from_parts(head, written.into_body()))
}

/// The same for rows that are put together with those of other archives.
pub(super) async fn completed_rows(
    archive: &Archive,
    limits: DicomwebLimits,
    level: &SearchLevel,
    rows: Vec<Bytes>,
) -> Result<Vec<Bytes>, DicomwebError> {
    let supplied = archive.profile().supplied;
    let parents =
        if supplied.has(Synthesized::Parents) { Parents::of_search(level) } else { Parents::default() };
    let with_parents = |row: Bytes| {
        let attributes = serde_json::from_slice(&row).unwrap_or_default();
        (parents.put_into(row, &attributes), attributes)
    };
    let rows: Vec<(Bytes, Attributes)> = rows.into_iter().map(with_parents).collect();
    if supplied.has(Synthesized::Counts) {
        return counts::put_into(rows, archive, limits, level).await;
    }
    Ok(rows.into_iter().map(|(row, _)| row).collect())
}

/// Rows with what they lie below, without those that lie elsewhere; each with what it says.
fn below(rows: RowStream, parents: Parents) -> BoxStream<'static, Result<(Bytes, Attributes), StreamError>> {
    let row = move |row: Bytes| {
        let attributes: Attributes =
            serde_json::from_slice(&row).map_err(|_| StreamError::Unreadable("a row that is none"))?;
        let row = parents.have(&attributes).then(|| parents.put_into(row, &attributes));
        Ok(row.map(|row| (row, attributes)))
    };
    rows.try_filter_map(move |text| std::future::ready(row(text))).boxed()
}

/// All of `rows`, as far as they may be held.
async fn gathered(
    archive: &Archive,
    limits: DicomwebLimits,
    mut rows: BoxStream<'static, Result<(Bytes, Attributes), StreamError>>,
) -> Result<Vec<(Bytes, Attributes)>, DicomwebError> {
    let (mut gathered, mut length) = (Vec::new(), 0);
    while let Some(row) = rows.next().await {
        let row = row.map_err(|error| list::refusal(archive, error))?;
        length += row.0.len();
        gathered.push(row);
        if gathered.len() > limits.max_scan || length > MAX_LIST_LEN {
            return Err(DicomwebError::TooCostly { limit: limits.max_scan });
        }
    }
    Ok(gathered)
}
