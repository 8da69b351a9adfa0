//! Reads a request body completely, within a size limit and a deadline.

use std::pin::pin;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;

/// The reason why a body was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The body is larger than allowed.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The body did not arrive in time.
    #[error("the body did not arrive within {} seconds", timeout.as_secs())]
    TimedOut {
        /// The timeout.
        timeout: Duration,
    },
    /// The connection was closed before the end of the body, or the body is framed incorrectly.
    #[error("the body ended early")]
    Truncated,
}

/// Reads the whole `body`. If its declared length exceeds `limit` bytes, nothing is read.
pub async fn read<B>(body: B, limit: usize, timeout: Duration) -> Result<Bytes, ReadError>
where
    B: Body,
{
    if body.size_hint().lower() > limit as u64 {
        return Err(ReadError::TooLarge { limit });
    }
    let bytes = read_without_timeout(body, limit);
    tokio::time::timeout(timeout, bytes).await.map_err(|_| ReadError::TimedOut { timeout })?
}

async fn read_without_timeout<B: Body>(body: B, limit: usize) -> Result<Bytes, ReadError> {
    let mut body = pin!(body);
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        // Trailers are ignored.
        let Ok(data) = frame.map_err(|_| ReadError::Truncated)?.into_data() else { continue };
        if data.remaining() > limit - bytes.len() {
            return Err(ReadError::TooLarge { limit });
        }
        bytes::BufMut::put(&mut bytes, data);
    }
    Ok(bytes.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Frame;
    use http_body_util::StreamBody;
    use std::convert::Infallible;

    const LONG_TIMEOUT: Duration = Duration::from_mins(1);

    fn chunks(chunks: &'static [&'static str]) -> impl Body<Data = Bytes, Error = Infallible> {
        let frames = chunks.iter().map(|chunk| Ok(Frame::data(Bytes::from_static(chunk.as_bytes()))));
        StreamBody::new(futures_util::stream::iter(frames))
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit() {
        assert_eq!(read(chunks(&["abc", "de"]), 5, LONG_TIMEOUT).await.unwrap(), "abcde");
        assert_eq!(
            read(chunks(&["abc", "def"]), 5, LONG_TIMEOUT).await,
            Err(ReadError::TooLarge { limit: 5 })
        );
        assert_eq!(
            read(http_messages::body::full("abcdef"), 5, LONG_TIMEOUT).await,
            Err(ReadError::TooLarge { limit: 5 })
        );
    }

    #[tokio::test]
    async fn a_body_that_does_not_arrive_is_an_error() {
        let pending = StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>());
        let timeout = Duration::from_millis(10);
        assert_eq!(read(pending, 5, timeout).await, Err(ReadError::TimedOut { timeout }));
    }

    #[tokio::test]
    async fn a_body_that_ends_early_is_an_error() {
        let truncated = futures_util::stream::iter([Ok(Frame::data(Bytes::from("ab"))), Err("reset")]);
        assert_eq!(read(StreamBody::new(truncated), 5, LONG_TIMEOUT).await, Err(ReadError::Truncated));
    }
}
