//! Several images in one response, as parts (RFC 2387) or as the frames of a GIF: each is rendered when the client has read the
//! one before.
//!
//! A slow client occupies neither the memory of an object nor a slot of the pool: both are released, and the object is fetched
//! again when the client continues to read.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, TryStreamExt};
use http::{HeaderValue, Response, header};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::timeout;

use super::images::{ImageSequence, RenderedImage};
use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::proxy::response_headers::set_common_headers;
use dicom_render::{Animation, Format};
use http_messages::body::{self, Body};
use http_messages::multipart::writer::PartWriter;

/// A client that reads takes an image within this time; fetching an object again costs about as much.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// A piece of the body.
enum ImagePiece {
    Image(Bytes),
    /// What follows the last image.
    End(Bytes),
}

type ImageResult = Result<ImagePiece, DicomwebError>;

/// How several images are combined.
pub(super) enum ImageLayout {
    Parts { writer: PartWriter, format: Format },
    Animation,
}

impl ImageLayout {
    /// One part per image, in `format`.
    pub(super) fn parts(format: Format) -> Self {
        Self::Parts { writer: PartWriter::new(), format }
    }

    fn format(&self) -> Format {
        match self {
            Self::Parts { format, .. } => *format,
            Self::Animation => Format::Gif,
        }
    }

    fn content_type(&self) -> String {
        let media_type = self.format().media_type();
        match self {
            Self::Parts { writer, .. } => writer.content_type(media_type),
            Self::Animation => media_type.to_owned(),
        }
    }

    /// An image as a part, or as frames of the animation.
    fn append(&mut self, RenderedImage { location, bytes }: &RenderedImage, is_first: bool) -> Bytes {
        match self {
            Self::Parts { writer, format } => {
                // An empty preamble (RFC 2046 5.1.1): so a line break is before every delimiter, for clients that look for
                // both.
                let preamble = if is_first { "\r\n" } else { "" };
                let headers = writer.begin_part(format.media_type(), Some(location));
                [preamble.as_bytes(), headers.as_bytes(), bytes].concat().into()
            }
            Self::Animation if is_first => Animation::begin(bytes),
            Self::Animation => Animation::append(bytes),
        }
    }

    /// The bytes after the last image.
    fn end(self) -> Bytes {
        match self {
            Self::Parts { writer, .. } => writer.end().into(),
            Self::Animation => Bytes::from_static(Animation::END),
        }
    }
}

/// A response of `first` and all further images of `images`.
pub(super) fn streamed(first: RenderedImage, images: ImageSequence, layout: ImageLayout) -> Response<Body> {
    let content_type = layout.content_type();
    let (sender, receiver) = mpsc::channel(1);
    // The task ends when the body is dropped, because its receiver is dropped too.
    tokio::spawn(feed(sender, first, images, layout));
    let pieces = stream::try_unfold(Some(receiver), receive).map_ok(Frame::data);
    let mut response = Response::new(body::streamed(StreamBody::new(pieces)));
    set_common_headers(response.headers_mut());
    if let Ok(content_type) = HeaderValue::from_str(&content_type) {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    response
}

/// The next piece, and the receiver of those after it.
async fn receive(
    receiver: Option<Receiver<ImageResult>>,
) -> Result<Option<(Bytes, Option<Receiver<ImageResult>>)>, DicomwebError> {
    let Some(mut receiver) = receiver else { return Ok(None) };
    match receiver.recv().await {
        Some(Ok(ImagePiece::Image(bytes))) => Ok(Some((bytes, Some(receiver)))),
        Some(Ok(ImagePiece::End(bytes))) => Ok(Some((bytes, None))),
        Some(Err(error)) => Err(error),
        // The task has panicked.
        None => Err(DicomwebError::Interrupted),
    }
}

/// Renders images as fast as the client reads them.
async fn feed(
    sender: Sender<ImageResult>,
    first: RenderedImage,
    mut images: ImageSequence,
    mut layout: ImageLayout,
) {
    let (mut next, mut is_first) = (Ok(Some(first)), true);
    while let Ok(Some(image)) = &next {
        let piece = layout.append(image, is_first);
        is_first = false;
        if sender.send(Ok(ImagePiece::Image(piece))).await.is_err() {
            return;
        }
        if timeout(SEND_TIMEOUT, sender.reserve()).await.is_err() {
            images.release_object();
        }
        if sender.reserve().await.is_err() {
            return;
        }
        next = images.next(layout.format()).await;
    }
    let last = match next {
        Ok(_) => Ok(ImagePiece::End(layout.end())),
        Err(error) => {
            tracing::warn!(archive = %images.archive.id(), %error, "Rendering one of several images failed; the client's transfer was aborted.");
            Err(error)
        }
    };
    // The client may have disconnected.
    let _ = sender.send(last).await;
}
