//! Several pictures in one answer (RFC 2387): each is drawn when the one before it was taken.

use bytes::Bytes;
use futures_util::stream::{self, TryStreamExt};
use http::{HeaderValue, Response, header};
use http_body::Frame;
use http_body_util::StreamBody;

use super::{Picture, Pictures};
use crate::dicomweb::answer::describe;
use crate::dicomweb::error::DicomwebError;
use crate::http::body::{self, Body};
use crate::http::boundary;
use crate::render::Format;

/// What is to come.
enum Rest {
    /// This, and what follows it.
    First(Picture, Box<Pictures>),
    Following(Box<Pictures>),
    Nothing,
}

/// An answer of `first` and of all that follows it in `pictures`.
pub(super) fn streamed(first: Picture, pictures: Pictures, format: Format) -> Response<Body> {
    let boundary = boundary::random();
    let media_type = format.media_type();
    let content_type = format!("multipart/related; type=\"{media_type}\"; boundary={boundary}");
    let end = Bytes::from(format!("\r\n--{boundary}--\r\n"));
    let pieces = stream::try_unfold(Rest::First(first, Box::new(pictures)), move |rest| {
        let (boundary, end) = (boundary.clone(), end.clone());
        async move {
            let (picture, pictures) = match rest {
                Rest::First(picture, pictures) => (Some(picture), pictures),
                Rest::Following(mut pictures) => (next(&mut pictures, format).await?, pictures),
                Rest::Nothing => return Ok(None),
            };
            Ok::<_, DicomwebError>(Some(match picture {
                Some(picture) => (part(&boundary, media_type, &picture), Rest::Following(pictures)),
                None => (end, Rest::Nothing),
            }))
        }
    });
    let mut response = Response::new(body::streamed(StreamBody::new(pieces.map_ok(Frame::data))));
    describe(response.headers_mut());
    if let Ok(content_type) = HeaderValue::from_str(&content_type) {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    response
}

async fn next(pictures: &mut Pictures, format: Format) -> Result<Option<Picture>, DicomwebError> {
    let next = pictures.next(format).await;
    if let Err(error) = &next {
        tracing::warn!(%error, "A picture of several could not be drawn; the client's transfer was broken off.");
    }
    next
}

fn part(boundary: &str, media_type: &str, picture: &Picture) -> Bytes {
    let Picture { location, bytes } = picture;
    let headers =
        format!("\r\n--{boundary}\r\nContent-Type: {media_type}\r\nContent-Location: {location}\r\n\r\n");
    [headers.as_bytes(), bytes].concat().into()
}
