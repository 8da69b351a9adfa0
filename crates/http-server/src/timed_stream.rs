//! A connection's bytes under two clocks that hyper does not have.
//!
//! hyper's own header timer starts with the end of the last answer, so it is also the time for which a connection may
//! be idle. Here a head is timed from its first byte, apart from that; and an answer that nobody takes is timed too.
//! Bytes of a head that came in one read with the end of the request before it count as silence.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::activity::Activity;

/// A stream that fails when its peer takes too long.
#[derive(Debug)]
pub(super) struct TimedStream<S> {
    stream: S,
    /// What was read before, to be read again, from `replayed` on.
    opening: Vec<u8>,
    replayed: usize,
    activity: Arc<Activity>,
    /// How many heads there were when bytes of the next one came in; `None` while there are none.
    head_begun_after: Option<u64>,
    head: Timer,
    stall: Timer,
}

impl<S> TimedStream<S> {
    /// Gives back `opening` first, then what `stream` holds. A head may take `head`; HTTP/2 has no use for that timer.
    pub(super) fn new(
        stream: S,
        opening: Vec<u8>,
        activity: Arc<Activity>,
        head: Option<Duration>,
        stall: Duration,
    ) -> Self {
        Self {
            stream,
            opening,
            replayed: 0,
            activity,
            head_begun_after: None,
            head: Timer::new(head),
            stall: Timer::new(Some(stall)),
        }
    }

    fn note_read(&mut self) {
        let heads = self.activity.heads();
        if self.activity.is_idle() && self.head_begun_after != Some(heads) {
            self.head_begun_after = Some(heads);
            self.head.stop();
        }
    }

    /// Nothing to read for now: fails when a head has been on its way for too long.
    fn wait_for_head(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.head_begun_after.is_some_and(|heads| heads == self.activity.heads()) {
            self.head.poll(context)
        } else {
            self.head_begun_after = None;
            self.head.stop();
            Poll::Pending
        }
    }

    fn note_write(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_pending() {
            ready!(self.stall.poll(context))?;
        } else {
            self.stall.stop();
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(left) = this.opening.get(this.replayed..).filter(|left| !left.is_empty()) {
            let count = left.len().min(buffer.remaining());
            buffer.put_slice(&left[..count]);
            this.replayed += count;
            this.note_read();
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut this.stream).poll_read(context, buffer) {
            Poll::Pending => this.wait_for_head(context),
            Poll::Ready(result) => {
                this.note_read();
                Poll::Ready(result)
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note_write(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note_write(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Starts when it is first polled and fails when its time is over. Until then it costs nothing: most heads and answers
/// need no waiting.
#[derive(Debug)]
struct Timer {
    limit: Option<Duration>,
    sleep: Option<Pin<Box<Sleep>>>,
    is_running: bool,
}

impl Timer {
    fn new(limit: Option<Duration>) -> Self {
        Self { limit, sleep: None, is_running: false }
    }

    fn stop(&mut self) {
        self.is_running = false;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(limit) = self.limit else { return Poll::Pending };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(limit)));
        if !self.is_running {
            sleep.as_mut().reset(Instant::now() + limit);
            self.is_running = true;
        }
        ready!(sleep.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}
