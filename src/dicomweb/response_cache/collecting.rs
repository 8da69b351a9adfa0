//! A body that is remembered as it passes, as long as it is small; what has come whole is handed over at its end.

use std::task::Poll;

use bytes::{Bytes, BytesMut};
use http_body::Body as _;

use http_messages::body::{Body, BoxError};
use http_messages::observed_body::{BodyObserver, ObservedBody, PollFrame};

/// What has passed, and who gets it; nothing once it is too much.
struct Collected<K> {
    bytes: BytesMut,
    keep: K,
}

pub(super) struct Collecting<K> {
    largest: usize,
    collected: Option<Collected<K>>,
}

impl<K: FnOnce(Bytes)> Collecting<K> {
    /// Hands `inner` to `keep` when it has come whole and is no longer than `largest` bytes.
    pub(super) fn body(inner: Body, largest: usize, keep: K) -> ObservedBody<Body, Self> {
        let collected = Some(Collected { bytes: BytesMut::new(), keep });
        ObservedBody::new(inner, Self { largest, collected })
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

impl<K: FnOnce(Bytes)> BodyObserver<Body> for Collecting<K> {
    fn observe(&mut self, outcome: &PollFrame<BoxError>, body: &Body) {
        match outcome {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.collect(data);
                }
                // A reader that knows the length does not poll again after the last byte.
                if body.is_end_stream() || body.size_hint().exact() == Some(0) {
                    self.hand_over();
                }
            }
            Poll::Ready(Some(Err(_))) => self.collected = None,
            Poll::Ready(None) => self.hand_over(),
        }
    }

    fn waits_for_end(&self) -> bool {
        self.collected.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http_body::Frame;
    use http_body_util::BodyExt;

    use super::*;
    use http_messages::body;

    async fn kept(inner: Body, largest: usize) -> Option<Bytes> {
        let kept = Arc::new(Mutex::new(None));
        let keep = {
            let kept = Arc::clone(&kept);
            move |bytes| *kept.lock().unwrap() = Some(bytes)
        };
        let _ = Collecting::body(inner, largest, keep).collect().await;
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
        let mut collecting = Collecting::body(two, 3, keep);
        assert!(collecting.frame().await.is_some());
        drop(collecting);
        assert_eq!(*kept.lock().unwrap(), None);
    }
}
