//! Lists of DICOM JSON objects as streams: reads the rows of a body, and writes rows as the body of a response. This module does
//! not synthesize rows.

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::value::RawValue;

use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::proxy::stream_error::StreamError;
use crate::dicomweb::proxy::xml_parts::to_stream_error;
use crate::upstream::{Archive, LargeObjectAdmission};
use dicom_model::json::reader::RowReader;
use http_messages::body::{self, Body};

/// A stream of objects of the DICOM JSON model as text. If the stream ends with an error, the list is invalid.
pub(super) type RowStream = BoxStream<'static, Result<Bytes, StreamError>>;

/// Creates a body of `chunks`, which are synthesized from data of `archive`. If they end with an error after the response has begun,
/// the transfer to the client is aborted.
pub(super) fn streamed_body(archive: &Archive, chunks: RowStream) -> Body {
    let archive = archive.id().clone();
    let chunks = chunks.inspect_err(move |error| {
        tracing::warn!(%archive, %error, "Synthesizing a response failed.");
    });
    body::streamed(StreamBody::new(chunks.map_ok(Frame::data)))
}

/// Returns `rows`, or an error if there is no row or the first row fails: a resource that does not exist is not an empty list,
/// and a service that the archive lacks is detected before the response begins.
pub(super) async fn require_row(archive: &Archive, mut rows: RowStream) -> Result<RowStream, DicomwebError> {
    match rows.next().await {
        Some(Ok(first_row)) => Ok(stream::once(async { Ok(first_row) }).chain(rows).boxed()),
        Some(Err(error)) => Err(error.before_response(archive)),
        None => Err(DicomwebError::nothing_returned(archive)),
    }
}

/// Creates a JSON array of `rows` of `archive`, which is written while they arrive.
pub(super) fn array_body(archive: &Archive, rows: RowStream) -> Body {
    let mut separator = "[";
    let end = stream::once(async { Ok(None) });
    let chunks = rows.map_ok(Some).chain(end).map_ok(move |row| match row {
        Some(row) => [std::mem::replace(&mut separator, ",").as_bytes(), &row].concat().into(),
        None if separator == "[" => Bytes::from_static(b"[]"),
        None => Bytes::from_static(b"]"),
    });
    streamed_body(archive, chunks.boxed())
}

/// Parses the rows of `body`, a JSON array from `archive`, while it arrives.
pub(super) fn parse_rows(archive: &Archive, body: Body) -> RowStream {
    let (reader, admission) = (Some(RowReader::new()), LargeObjectAdmission::default());
    let state = RowReading { archive: archive.clone(), body, reader, admission };
    let rows = stream::try_unfold(state, |mut reading| async move {
        let Some(reader) = &mut reading.reader else { return Ok(None) };
        reading.admission.admit(&reading.archive, reader.pending_len()).await?;
        let mut rows: Vec<Box<RawValue>> = Vec::new();
        match reading.body.frame().await {
            Some(Ok(frame)) => {
                if let Ok(chunk) = frame.into_data() {
                    reader.push(&chunk, &mut |row| rows.push(row)).map_err(to_stream_error)?;
                }
            }
            Some(Err(error)) => {
                return Err(StreamError::of_body(error));
            }
            None => {
                if let Some(reader) = reading.reader.take() {
                    reader.finish(&mut |row| rows.push(row)).map_err(to_stream_error)?;
                }
            }
        }
        if !rows.is_empty() {
            // What reads the rows may wait for the permit.
            reading.admission = LargeObjectAdmission::default();
        }
        let rows = rows.into_iter().map(|row| Ok(Bytes::from(Box::<str>::from(row).into_string())));
        Ok(Some((stream::iter(rows), reading)))
    });
    rows.try_flatten().boxed()
}

/// A body of rows that is being read.
struct RowReading {
    archive: Archive,
    body: Body,
    /// `None` if the body has ended.
    reader: Option<RowReader<Box<RawValue>>>,
    admission: LargeObjectAdmission,
}
