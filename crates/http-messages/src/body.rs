//! The body type of every response: complete bytes or a stream. This module does not know about headers or content.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;

/// Why a body ended early.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A response body. It is not `Sync`, because streams from archives are not `Sync`.
///
/// Complete bytes are stored without a box, because most responses are complete.
pub struct Body(Kind);

/// Maximum frame size of a complete body in bytes. With several frames the server can observe that the client keeps reading.
const FRAME_SIZE: usize = 256 * 1024;

enum Kind {
    Complete(Bytes),
    Streamed(UnsyncBoxBody<Bytes, BoxError>),
}

/// Returns a body of complete bytes.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Body(Kind::Complete(bytes.into()))
}

/// Returns an empty body.
pub fn empty() -> Body {
    full(Bytes::new())
}

/// Returns a body whose bytes are streamed.
pub fn streamed<B>(body: B) -> Body
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    Body(Kind::Streamed(body.map_err(Into::into).boxed_unsync()))
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Kind::Complete(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Complete(bytes) => {
                let frame = bytes.split_to(bytes.len().min(FRAME_SIZE));
                Poll::Ready(Some(Ok(Frame::data(frame))))
            }
            Kind::Streamed(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Complete(bytes) => bytes.is_empty(),
            Kind::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Complete(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Streamed(body) => body.size_hint(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Body").field("length", &self.size_hint().exact()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complete_bodies_have_an_exact_length() {
        assert_eq!(full("abc").size_hint().exact(), Some(3));
        assert_eq!(streamed(full("abc")).size_hint().exact(), Some(3));
        assert!(empty().is_end_stream());
    }

    #[tokio::test]
    async fn complete_body_is_returned_once() {
        let mut body = full("abc");
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "abc");
        assert!(body.is_end_stream());
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn large_body_is_split_into_frames() {
        let mut body = full(vec![b'x'; 2 * FRAME_SIZE + 1]);
        for length in [FRAME_SIZE, FRAME_SIZE, 1] {
            assert!(!body.is_end_stream());
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap().len(), length);
        }
        assert!(body.is_end_stream());
    }
}
