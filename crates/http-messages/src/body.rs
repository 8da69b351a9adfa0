//! The one type of body that the gateway answers with, whether the bytes stand ready or are still streaming in.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;

/// Why a body ended before its end.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Any body. It need not be `Sync`: streams from an archive are not.
///
/// Bytes that stand ready need no box, as most answers are such.
pub struct Body(Kind);

/// As much of a ready body is handed over at once: each piece that is asked for shows that the reader goes on.
const PIECE: usize = 256 * 1024;

enum Kind {
    Ready(Bytes),
    Streamed(UnsyncBoxBody<Bytes, BoxError>),
}

/// A body whose bytes stand ready.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Body(Kind::Ready(bytes.into()))
}

/// No body.
pub fn empty() -> Body {
    full(Bytes::new())
}

/// A body whose bytes come in time.
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
            Kind::Ready(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Ready(bytes) => {
                let piece = bytes.split_to(bytes.len().min(PIECE));
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Kind::Streamed(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Ready(bytes) => bytes.is_empty(),
            Kind::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Ready(bytes) => SizeHint::with_exact(bytes.len() as u64),
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
    fn ready_bodies_know_their_length() {
        assert_eq!(full("abc").size_hint().exact(), Some(3));
        assert_eq!(streamed(full("abc")).size_hint().exact(), Some(3));
        assert!(empty().is_end_stream());
    }

    #[tokio::test]
    async fn a_ready_body_is_given_once() {
        let mut body = full("abc");
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "abc");
        assert!(body.is_end_stream());
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn a_large_body_is_given_in_pieces() {
        let mut body = full(vec![b'x'; 2 * PIECE + 1]);
        for length in [PIECE, PIECE, 1] {
            assert!(!body.is_end_stream());
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap().len(), length);
        }
        assert!(body.is_end_stream());
    }
}
