//! Collects a body while it is forwarded, as long as it is small, and passes the complete bytes on at its end.

use std::task::Poll;

use bytes::{Bytes, BytesMut};
use http_body::Body as _;

use http_messages::body::{Body, BoxError};
use http_messages::observed_body::{BodyObserver, ObservedBody, PollFrame};

/// The bytes so far, and the function that gets them at the end.
struct Collected<K> {
    bytes: BytesMut,
    on_complete: K,
}

pub(super) struct Collecting<K> {
    max_size: usize,
    /// `None` once the body is too large or has failed.
    collected: Option<Collected<K>>,
}

impl<K: FnOnce(Bytes)> Collecting<K> {
    /// Passes `inner` to `on_complete` when it is complete and has at most `max_size` bytes.
    pub(super) fn body(inner: Body, max_size: usize, on_complete: K) -> ObservedBody<Body, Self> {
        let collected = Some(Collected { bytes: BytesMut::new(), on_complete });
        ObservedBody::new(inner, Self { max_size, collected })
    }

    fn collect(&mut self, data: &Bytes) {
        match &mut self.collected {
            Some(collected) if collected.bytes.len() + data.len() <= self.max_size => {
                collected.bytes.extend_from_slice(data);
            }
            _ => self.collected = None,
        }
    }

    fn complete(&mut self) {
        if let Some(Collected { bytes, on_complete }) = self.collected.take() {
            on_complete(bytes.freeze());
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
                    self.complete();
                }
            }
            Poll::Ready(Some(Err(_))) => self.collected = None,
            Poll::Ready(None) => self.complete(),
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

    async fn collect(inner: Body, max_size: usize) -> Option<Bytes> {
        let collected = Arc::new(Mutex::new(None));
        let on_complete = {
            let collected = Arc::clone(&collected);
            move |bytes| *collected.lock().unwrap() = Some(bytes)
        };
        let _ = Collecting::body(inner, max_size, on_complete).collect().await;
        collected.lock().unwrap().clone()
    }

    #[tokio::test]
    async fn a_small_complete_body_is_collected() {
        assert_eq!(collect(body::full("abc"), 3).await.as_deref(), Some(&b"abc"[..]));
        assert_eq!(collect(body::empty(), 3).await.as_deref(), Some(&b""[..]));
        assert_eq!(collect(body::full("abcd"), 3).await, None);
    }

    #[tokio::test]
    async fn a_body_that_fails_is_not_collected() {
        let frames = [Ok(Frame::data(Bytes::from("ab"))), Err("aborted")];
        let broken = http_body_util::StreamBody::new(futures_util::stream::iter(frames));
        assert_eq!(collect(body::streamed(broken), 3).await, None);
    }

    #[tokio::test]
    async fn a_body_that_is_not_read_to_its_end_is_not_collected() {
        let collected = Arc::new(Mutex::new(None));
        let on_complete = {
            let collected = Arc::clone(&collected);
            move |bytes: Bytes| *collected.lock().unwrap() = Some(bytes)
        };
        let frames = ["ab", "c"].map(|text| Ok::<_, BoxError>(Frame::data(Bytes::from(text))));
        let two = body::streamed(http_body_util::StreamBody::new(futures_util::stream::iter(frames)));
        let mut collecting = Collecting::body(two, 3, on_complete);
        assert!(collecting.frame().await.is_some());
        drop(collecting);
        assert_eq!(*collected.lock().unwrap(), None);
    }
}
