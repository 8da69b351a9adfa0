//! A list that is put together here while it streams out: rows one after the other, and what ends them.

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::value::RawValue;

use crate::dicom::json::RowReader;
use crate::dicomweb::stream::StreamError;
use crate::dicomweb::xml_parts::unreadable;
use crate::http::body::{self, Body};

/// Objects of the DICOM JSON model as text, one after the other. The list ends with the stream; a stream that fails is no
/// list.
pub(super) type Rows = BoxStream<'static, Result<Bytes, StreamError>>;

/// A body that ends well only where `pieces` do.
pub(super) fn streamed(pieces: Rows) -> Body {
    let pieces = pieces.inspect_err(|error| {
        tracing::warn!(%error, "What is made out of an archive's answers broke off; the client's transfer was broken too.");
    });
    body::streamed(StreamBody::new(pieces.map_ok(Frame::data)))
}

/// A JSON array of `rows`, of which there is one at least, written as they come.
pub(super) fn array(rows: Rows) -> Body {
    let mut before = "[";
    let rows = rows.map_ok(move |row| {
        let mut text = BytesMut::with_capacity(row.len() + 1);
        text.extend_from_slice(std::mem::replace(&mut before, ",").as_bytes());
        text.extend_from_slice(&row);
        text.freeze()
    });
    let end = stream::once(async { Ok(Bytes::from_static(b"]")) });
    streamed(rows.chain(end).boxed())
}

/// The rows of `body`, a JSON array.
pub(super) fn rows_of(body: Body) -> Rows {
    let reading = Reading { body, reader: Some(RowReader::new()) };
    let rows = stream::try_unfold(reading, |mut reading| async move {
        let Some(reader) = &mut reading.reader else { return Ok(None) };
        let mut rows: Vec<Box<RawValue>> = Vec::new();
        let piece = reading.body.frame().await;
        match piece {
            Some(Ok(frame)) => {
                if let Ok(chunk) = frame.into_data() {
                    reader.push(&chunk, &mut |row| rows.push(row)).map_err(unreadable)?;
                }
            }
            Some(Err(error)) => {
                return Err(error.downcast::<StreamError>().map_or(StreamError::Incomplete, |error| *error));
            }
            None => {
                if let Some(reader) = reading.reader.take() {
                    reader.finish(&mut |row| rows.push(row)).map_err(unreadable)?;
                }
            }
        }
        let rows = rows.into_iter().map(|row| Ok(Bytes::from(Box::<str>::from(row).into_string())));
        Ok(Some((stream::iter(rows), reading)))
    });
    rows.try_flatten().boxed()
}

/// A body of rows on its way.
struct Reading {
    body: Body,
    /// None when the body has ended.
    reader: Option<RowReader<Box<RawValue>>>,
}
