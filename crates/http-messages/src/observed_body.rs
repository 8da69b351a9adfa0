//! A body with an observer of its frames, its end and its errors. It returns the frames of the inner body unchanged and without
//! delay, and allocates no memory. This module does not know the purpose of observers.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// The outcome of one poll of a body.
pub type PollFrame<E> = Poll<Option<Result<Frame<Bytes>, E>>>;

/// An observer of every poll of a body.
pub trait BodyObserver<B: Body<Data = Bytes>> {
    /// Receives the outcome of each poll, and the body. A reader that knows the length of the body need not poll again after
    /// the last frame; then only [`Body::is_end_stream`] shows the end.
    fn observe(&mut self, outcome: &PollFrame<B::Error>, body: &B);

    /// Whether the body must be polled to its end, even if it is known that no frame follows.
    fn waits_for_end(&self) -> bool {
        false
    }
}

/// A body with its observer.
#[derive(Debug)]
pub struct ObservedBody<B, O> {
    body: B,
    observer: O,
}

impl<B, O> ObservedBody<B, O> {
    /// Calls `observer` after every poll of `body`.
    pub fn new(body: B, observer: O) -> Self {
        Self { body, observer }
    }
}

impl<B, O> Body for ObservedBody<B, O>
where
    B: Body<Data = Bytes> + Unpin,
    O: BodyObserver<B> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> PollFrame<B::Error> {
        let Self { body, observer } = &mut *self;
        let outcome = Pin::new(&mut *body).poll_frame(context);
        observer.observe(&outcome, body);
        outcome
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream() && !self.observer.waits_for_end()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::FutureExt;
    use http::{HeaderMap, HeaderValue};
    use http_body_util::{BodyExt, Full, StreamBody};
    use tokio::sync::mpsc;

    use super::*;

    /// Records every poll.
    #[derive(Default)]
    struct PollRecorder {
        polls: Vec<String>,
        waits_for_end: bool,
    }

    impl<B: Body<Data = Bytes>> BodyObserver<B> for &mut PollRecorder {
        fn observe(&mut self, outcome: &PollFrame<B::Error>, body: &B) {
            let outcome = match outcome {
                Poll::Pending => "pending".to_owned(),
                Poll::Ready(None) => "end".to_owned(),
                Poll::Ready(Some(Err(_))) => "error".to_owned(),
                Poll::Ready(Some(Ok(frame))) => match frame.data_ref() {
                    Some(data) => format!("{} bytes", data.len()),
                    None => "trailers".to_owned(),
                },
            };
            let end = if body.is_end_stream() { ", then the end" } else { "" };
            self.polls.push(outcome + end);
        }

        fn waits_for_end(&self) -> bool {
            self.waits_for_end
        }
    }

    #[tokio::test]
    async fn observer_receives_the_same_frames_trailers_pauses_and_errors_as_the_reader() {
        let mut recorder = PollRecorder::default();
        let (sender, mut receiver) = mpsc::channel::<Result<Frame<Bytes>, &'static str>>(4);
        let frames = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context));
        let mut body = ObservedBody::new(StreamBody::new(frames), &mut recorder);
        assert!(body.frame().now_or_never().is_none());
        sender.send(Ok(Frame::data(Bytes::from_static(b"abc")))).await.unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "abc");
        let trailers = HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("\"1\""))]);
        sender.send(Ok(Frame::trailers(trailers.clone()))).await.unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_trailers().unwrap(), trailers);
        sender.send(Err("broken")).await.unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap_err(), "broken");
        drop(sender);
        assert!(body.frame().await.is_none());
        assert_eq!(recorder.polls, ["pending", "3 bytes", "trailers", "error", "end"]);
    }

    #[tokio::test]
    async fn length_and_end_are_those_of_the_inner_body() {
        let mut recorder = PollRecorder::default();
        let mut body = ObservedBody::new(Full::new(Bytes::from_static(b"abc")), &mut recorder);
        assert_eq!(body.size_hint().exact(), Some(3));
        assert!(!body.is_end_stream());
        assert!(body.frame().await.is_some());
        assert_eq!(body.size_hint().exact(), Some(0));
        assert!(body.is_end_stream());
        assert_eq!(recorder.polls, ["3 bytes, then the end"]);
    }

    #[test]
    fn end_is_hidden_from_the_reader_while_the_observer_waits_for_it() {
        let mut recorder = PollRecorder { waits_for_end: true, ..PollRecorder::default() };
        let empty = Full::<Bytes>::default();
        assert!(Body::is_end_stream(&empty));
        let body = ObservedBody::new(empty.map_err(|never: Infallible| match never {}), &mut recorder);
        assert!(!Body::is_end_stream(&body));
    }
}
