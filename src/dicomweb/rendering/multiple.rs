//! Streams several images in one response, as parts (RFC 2387) or as the frames of a GIF. An image is rendered when the client
//! has read the previous one.
//!
//! While a client does not read, the memory of the object and the permit of the pool are released. The object is fetched again
//! when the client continues.

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

/// Maximum time for which the object remains in memory while the client does not read. Fetching the object again takes about as
/// long.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// A piece of the body.
enum ImagePiece {
    Image(Bytes),
    /// The bytes after the last image.
    End(Bytes),
}

type ImageResult = Result<ImagePiece, DicomwebError>;

/// The layout of a body with several images.
pub(super) enum ImageLayout {
    /// A multipart body with an image in `format` in each part.
    Parts { writer: PartWriter, format: Format },
    /// An animated GIF.
    Animation,
}

impl ImageLayout {
    /// Creates a multipart layout for images in `format`.
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

    /// Returns the bytes of an image as a part, or as a frame of the animation.
    fn append(&mut self, RenderedImage { location, bytes }: &RenderedImage, is_first: bool) -> Bytes {
        match self {
            Self::Parts { writer, format } => {
                // The line break of an empty preamble (RFC 2046 5.1.1), for clients that require a line break before every
                // delimiter.
                let preamble = if is_first { "\r\n" } else { "" };
                let headers = writer.begin_part(format.media_type(), Some(location));
                [preamble.as_bytes(), headers.as_bytes(), bytes].concat().into()
            }
            Self::Animation if is_first => Animation::begin(bytes),
            Self::Animation => Animation::append(bytes),
        }
    }

    /// Returns the bytes after the last image.
    fn end(self) -> Bytes {
        match self {
            Self::Parts { writer, .. } => writer.end().into(),
            Self::Animation => Bytes::from_static(Animation::END),
        }
    }
}

/// Returns a response with `first_image` and the remaining images of `images`.
pub(super) fn stream_images(
    first_image: RenderedImage,
    images: ImageSequence,
    layout: ImageLayout,
) -> Response<Body> {
    let content_type = layout.content_type();
    let (sender, receiver) = mpsc::channel(1);
    // The task ends when the body is dropped, because the receiver is dropped with it.
    tokio::spawn(send_images(sender, first_image, images, layout));
    let pieces = stream::try_unfold(Some(receiver), receive).map_ok(Frame::data);
    let mut response = Response::new(body::streamed(StreamBody::new(pieces)));
    set_common_headers(response.headers_mut());
    if let Ok(content_type) = HeaderValue::from_str(&content_type) {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    response
}

/// Receives the next piece, and returns it with the receiver for the following pieces.
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

/// Renders the images one after the other, and sends each before the next one is rendered.
async fn send_images(
    sender: Sender<ImageResult>,
    first_image: RenderedImage,
    mut images: ImageSequence,
    mut layout: ImageLayout,
) {
    let (mut next, mut is_first) = (Ok(Some(first_image)), true);
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
        next = tokio::select! {
            next = images.next(layout.format()) => next,
            // The client has disconnected.
            () = sender.closed() => return,
        };
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
