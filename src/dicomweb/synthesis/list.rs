//! A list that is put together here while it streams out: rows one after the other, and what ends them.

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use http::{HeaderMap, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::value::RawValue;

use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::proxy::stream_error::StreamError;
use crate::dicomweb::proxy::xml_parts::unreadable as no_list;
use crate::upstream::{Archive, ArchiveErrorKind};
use dicom_model::json::reader::RowReader;
use http_messages::body::{self, Body};

/// Objects of the DICOM JSON model as text, one after the other. The list ends with the stream; a stream that fails is no
/// list.
pub(super) type RowStream = BoxStream<'static, Result<Bytes, StreamError>>;

/// A body that ends well only where `pieces` do.
pub(super) fn streamed(pieces: RowStream) -> Body {
    let pieces = pieces.inspect_err(|error| {
        tracing::warn!(%error, "What is made out of an archive's answers broke off; the client's transfer was broken too.");
    });
    body::streamed(StreamBody::new(pieces.map_ok(Frame::data)))
}

/// `rows` when there is one at least: an archive that holds nothing is not answered for with an empty list, and what it
/// cannot do shows with the first row.
pub(super) async fn begun(archive: &Archive, mut rows: RowStream) -> Result<RowStream, DicomwebError> {
    match rows.next().await {
        Some(Ok(first)) => Ok(stream::once(async { Ok(first) }).chain(rows).boxed()),
        Some(Err(error)) => Err(refusal(archive, error)),
        None => Err(DicomwebError::refused(archive, StatusCode::NOT_FOUND, &HeaderMap::new())),
    }
}

/// What is answered when nothing has been sent yet.
pub(super) fn refusal(archive: &Archive, error: StreamError) -> DicomwebError {
    match error {
        StreamError::Archive(error) => error.into(),
        StreamError::Refused(error) => *error,
        StreamError::Unreadable(what) => archive.unreadable(what).into(),
        StreamError::Incomplete => archive.error(ArchiveErrorKind::Truncated).into(),
        _ => archive.unreadable("something else than it should").into(),
    }
}

/// A JSON array of `rows`, written as they come.
pub(super) fn array(rows: RowStream) -> Body {
    let mut before = "[";
    let end = stream::once(async { Ok(None) });
    let pieces = rows.map_ok(Some).chain(end).map_ok(move |row| match row {
        Some(row) => [std::mem::replace(&mut before, ",").as_bytes(), &row].concat().into(),
        None if before == "[" => Bytes::from_static(b"[]"),
        None => Bytes::from_static(b"]"),
    });
    streamed(pieces.boxed())
}

/// The rows of `body`, a JSON array.
pub(super) fn rows_of(body: Body) -> RowStream {
    let reading = RowReading { body, reader: Some(RowReader::new()) };
    let rows = stream::try_unfold(reading, |mut reading| async move {
        let Some(reader) = &mut reading.reader else { return Ok(None) };
        let mut rows: Vec<Box<RawValue>> = Vec::new();
        let piece = reading.body.frame().await;
        match piece {
            Some(Ok(frame)) => {
                if let Ok(chunk) = frame.into_data() {
                    reader.push(&chunk, &mut |row| rows.push(row)).map_err(no_list)?;
                }
            }
            Some(Err(error)) => {
                return Err(error.downcast::<StreamError>().map_or(StreamError::Incomplete, |error| *error));
            }
            None => {
                if let Some(reader) = reading.reader.take() {
                    reader.finish(&mut |row| rows.push(row)).map_err(no_list)?;
                }
            }
        }
        let rows = rows.into_iter().map(|row| Ok(Bytes::from(Box::<str>::from(row).into_string())));
        Ok(Some((stream::iter(rows), reading)))
    });
    rows.try_flatten().boxed()
}

/// A body of rows on its way.
struct RowReading {
    body: Body,
    /// None when the body has ended.
    reader: Option<RowReader<Box<RawValue>>>,
}
