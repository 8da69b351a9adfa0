//! Collects a small body while it is forwarded, and calls a function with the complete bytes.

use std::task::Poll;

use bytes::Bytes;
use http_body::Body as _;

use crate::dicomweb::block_buffer::BlockBuffer;
use http_messages::body::{Body, BoxError};
use http_messages::observed_body::{BodyObserver, ObservedBody, PollFrame};

/// The bytes collected so far, and the function to call with the complete bytes.
struct Collection<F> {
    bytes: BlockBuffer,
    on_complete: F,
}

/// Collects the bytes of a body.
pub(super) struct BodyCollector<F> {
    max_size: usize,
    /// `None` if the body is too large or has failed.
    collection: Option<Collection<F>>,
}

impl<F: FnOnce(Bytes)> BodyCollector<F> {
    /// Calls `on_complete` with the bytes of `inner` at its end, if there are at most `max_size` bytes.
    pub(super) fn observe_body(inner: Body, max_size: usize, on_complete: F) -> ObservedBody<Body, Self> {
        let collection = Some(Collection { bytes: BlockBuffer::default(), on_complete });
        ObservedBody::new(inner, Self { max_size, collection })
    }

    fn collect(&mut self, data: &Bytes) {
        match &mut self.collection {
            Some(collection) if collection.bytes.len() + data.len() <= self.max_size => {
                collection.bytes.append(data);
            }
            _ => self.collection = None,
        }
    }

    fn complete(&mut self) {
        if let Some(Collection { bytes, on_complete }) = self.collection.take() {
            on_complete(bytes.into_bytes());
        }
    }
}

impl<F: FnOnce(Bytes)> BodyObserver<Body> for BodyCollector<F> {
    fn observe(&mut self, outcome: &PollFrame<BoxError>, body: &Body) {
        match outcome {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.collect(data);
                }
                // A consumer that knows the length does not poll again after the last byte.
                if body.is_end_stream() || body.size_hint().exact() == Some(0) {
                    self.complete();
                }
            }
            Poll::Ready(Some(Err(_))) => self.collection = None,
            Poll::Ready(None) => self.complete(),
        }
    }

    fn waits_for_end(&self) -> bool {
        self.collection.is_some()
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
        let _ = BodyCollector::observe_body(inner, max_size, on_complete).collect().await;
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
        let failing = http_body_util::StreamBody::new(futures_util::stream::iter(frames));
        assert_eq!(collect(body::streamed(failing), 3).await, None);
    }

    #[tokio::test]
    async fn a_body_that_is_not_read_to_its_end_is_not_collected() {
        let collected = Arc::new(Mutex::new(None));
        let on_complete = {
            let collected = Arc::clone(&collected);
            move |bytes: Bytes| *collected.lock().unwrap() = Some(bytes)
        };
        let frames = ["ab", "c"].map(|text| Ok::<_, BoxError>(Frame::data(Bytes::from(text))));
        let body = body::streamed(http_body_util::StreamBody::new(futures_util::stream::iter(frames)));
        let mut observed = BodyCollector::observe_body(body, 3, on_complete);
        assert!(observed.frame().await.is_some());
        drop(observed);
        assert_eq!(*collected.lock().unwrap(), None);
    }
}
