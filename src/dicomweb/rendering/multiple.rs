//! Several images in one response, as parts (RFC 2387) or as the frames of a GIF: each is rendered when the client has read the one before.
//!
//! A client that takes its time keeps neither the memory of an object nor a place in the pool: both are given up, and the
//! object is fetched once more when the client goes on.

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
use crate::dicomweb::proxy::response_headers::describe;
use dicom_render::{Animation, Format};
use http_messages::body::{self, Body};
use http_messages::multipart::writer::PartWriter;

/// Whoever reads takes a image within that time; fetching an object once more costs about as much.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// A piece of the body.
enum ImagePiece {
    Image(Bytes),
    /// What stands behind the last one.
    End(Bytes),
}

type ImageResult = Result<ImagePiece, DicomwebError>;

/// What holds the images together.
pub(super) enum Binding {
    Parts { writer: PartWriter, format: Format },
    Animation,
}

impl Binding {
    /// A part for each, in `format`.
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
    fn bound(&mut self, RenderedImage { location, bytes }: &RenderedImage, is_first: bool) -> Bytes {
        match self {
            Self::Parts { writer, format } => {
                // An empty preamble (RFC 2046 5.1.1): so a line break is before every delimiter, for clients that look for both.
                let preamble = if is_first { "\r\n" } else { "" };
                let headers = writer.begin_part(format.media_type(), Some(location));
                [preamble.as_bytes(), headers.as_bytes(), bytes].concat().into()
            }
            Self::Animation if is_first => Animation::begin(bytes),
            Self::Animation => Animation::append(bytes),
        }
    }

    /// What stands behind the last image.
    fn end(self) -> Bytes {
        match self {
            Self::Parts { writer, .. } => writer.end().into(),
            Self::Animation => Bytes::from_static(Animation::END),
        }
    }
}

/// An answer of `first` and of all that follows it in `images`.
pub(super) fn streamed(first: RenderedImage, images: ImageSequence, binding: Binding) -> Response<Body> {
    let content_type = binding.content_type();
    let (sender, receiver) = mpsc::channel(1);
    // It ends with the body, as then nobody takes what it sends.
    tokio::spawn(feed(sender, first, images, binding));
    let pieces = stream::try_unfold(Some(receiver), taken).map_ok(Frame::data);
    let mut response = Response::new(body::streamed(StreamBody::new(pieces)));
    describe(response.headers_mut());
    if let Ok(content_type) = HeaderValue::from_str(&content_type) {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    response
}

/// The next piece, and where those behind it come from.
async fn taken(
    receiver: Option<Receiver<ImageResult>>,
) -> Result<Option<(Bytes, Option<Receiver<ImageResult>>)>, DicomwebError> {
    let Some(mut receiver) = receiver else { return Ok(None) };
    match receiver.recv().await {
        Some(Ok(ImagePiece::Image(bytes))) => Ok(Some((bytes, Some(receiver)))),
        Some(Ok(ImagePiece::End(bytes))) => Ok(Some((bytes, None))),
        Some(Err(error)) => Err(error),
        // Whoever fed it broke down.
        None => Err(DicomwebError::Interrupted),
    }
}

/// Draws as fast as images are taken.
async fn feed(
    sender: Sender<ImageResult>,
    first: RenderedImage,
    mut images: ImageSequence,
    mut binding: Binding,
) {
    let (mut next, mut is_first) = (Ok(Some(first)), true);
    while let Ok(Some(image)) = &next {
        let piece = binding.bound(image, is_first);
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
        next = images.next(binding.format()).await;
    }
    let last = match next {
        Ok(_) => Ok(ImagePiece::End(binding.end())),
        Err(error) => {
            tracing::warn!(%error, "A image of several could not be drawn; the client's transfer was broken off.");
            Err(error)
        }
    };
    // Nobody waits for it when the client is gone.
    let _ = sender.send(last).await;
}
