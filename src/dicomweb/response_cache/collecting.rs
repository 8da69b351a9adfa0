//! A body that is remembered as it passes, as long as it is small; what has come whole is handed over at its end.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};

use http_messages::body::{Body, BoxError};

/// What has passed, and who gets it; nothing once it is too much.
struct Collected<K> {
    bytes: BytesMut,
    keep: K,
}

pub(super) struct Collecting<K> {
    inner: Body,
    largest: usize,
    collected: Option<Collected<K>>,
}

impl<K: FnOnce(Bytes)> Collecting<K> {
    /// Hands `inner` to `keep` when it has come whole and is no longer than `largest` bytes.
    pub(super) fn new(inner: Body, largest: usize, keep: K) -> Self {
        Self { inner, largest, collected: Some(Collected { bytes: BytesMut::new(), keep }) }
    }

    fn collect(&mut self, data: &Bytes) {
        match &mut self.collected {
            Some(collected) if collected.bytes.len() + data.len() <= self.largest => {
                collected.bytes.extend_from_slice(data);
            }
            _ => self.collected = None,
        }
    }

    fn hand_over(&mut self) {
        if let Some(Collected { bytes, keep }) = self.collected.take() {
            keep(bytes.freeze());
        }
    }
}

impl<K: FnOnce(Bytes) + Unpin> HttpBody for Collecting<K> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.collect(data);
                }
                // Whoever is told a length need not ask for more once it is there.
                if self.inner.is_end_stream() || self.inner.size_hint().exact() == Some(0) {
                    self.hand_over();
                }
            }
            Some(Err(_)) => self.collected = None,
            None => self.hand_over(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream() && self.collected.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http_body_util::BodyExt;

    use super::*;
    use http_messages::body;

    async fn kept(inner: Body, largest: usize) -> Option<Bytes> {
        let kept = Arc::new(Mutex::new(None));
        let keep = {
            let kept = Arc::clone(&kept);
            move |bytes| *kept.lock().unwrap() = Some(bytes)
        };
        let _ = Collecting::new(inner, largest, keep).collect().await;
        kept.lock().unwrap().clone()
    }

    #[tokio::test]
    async fn what_is_whole_and_small_is_kept() {
        assert_eq!(kept(body::full("abc"), 3).await.as_deref(), Some(&b"abc"[..]));
        assert_eq!(kept(body::empty(), 3).await.as_deref(), Some(&b""[..]));
        assert_eq!(kept(body::full("abcd"), 3).await, None);
    }

    #[tokio::test]
    async fn what_breaks_off_is_not_kept() {
        let frames = [Ok(Frame::data(Bytes::from("ab"))), Err("broken off")];
        let broken = http_body_util::StreamBody::new(futures_util::stream::iter(frames));
        assert_eq!(kept(body::streamed(broken), 3).await, None);
    }

    #[tokio::test]
    async fn what_nobody_reads_to_its_end_is_not_kept() {
        let kept = Arc::new(Mutex::new(None));
        let keep = {
            let kept = Arc::clone(&kept);
            move |bytes: Bytes| *kept.lock().unwrap() = Some(bytes)
        };
        let frames = ["ab", "c"].map(|text| Ok::<_, BoxError>(Frame::data(Bytes::from(text))));
        let two = body::streamed(http_body_util::StreamBody::new(futures_util::stream::iter(frames)));
        let mut collecting = Collecting::new(two, 3, keep);
        assert!(collecting.frame().await.is_some());
        drop(collecting);
        assert_eq!(*kept.lock().unwrap(), None);
    }
}
