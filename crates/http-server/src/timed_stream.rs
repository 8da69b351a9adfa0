//! A stream with two timers that hyper does not have: one for request heads, one for stalled writes.
//!
//! hyper's header timer starts at the end of the previous response, so it also limits the idle time. In this module the head timer
//! starts with the first byte of a head, independently of the idle timeout. The stall timer runs while the client does not read the
//! response. Bytes of a head that arrive in the same read as the end of the previous request do not start the head timer. This
//! module does not know about HTTP syntax.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::activity::Activity;

/// The error of a [`TimedStream`] whose client is too slow. It is distinct from the `TimedOut` of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ClientTimeout {
    /// A request head took too long.
    #[error("the request head did not arrive in time")]
    Head,
    /// The client read nothing for too long.
    #[error("the client did not read the response")]
    Stall,
}

/// A stream that fails with a [`ClientTimeout`] if the client is too slow.
#[derive(Debug)]
pub(super) struct TimedStream<S> {
    stream: S,
    /// Bytes that were read to detect the protocol. Reading returns them again.
    opening: Vec<u8>,
    /// The number of bytes of `opening` that were returned again.
    replayed_count: usize,
    activity: Arc<Activity>,
    head_timer: Timer,
    stall_timer: Timer,
}

impl<S> TimedStream<S> {
    /// Creates a stream that returns `opening` first, and then the bytes of `stream`. `head_timeout` is `None` for HTTP/2.
    pub(super) fn new(
        stream: S,
        opening: Vec<u8>,
        activity: Arc<Activity>,
        head_timeout: Option<Duration>,
        stall_timeout: Duration,
    ) -> Self {
        Self {
            stream,
            opening,
            replayed_count: 0,
            activity,
            head_timer: Timer::new(head_timeout, ClientTimeout::Head),
            stall_timer: Timer::new(Some(stall_timeout), ClientTimeout::Stall),
        }
    }

    /// Records `count` bytes that were read. Over HTTP/2, bytes between requests need not be those of a head.
    fn record_read(&mut self, count: usize) {
        let may_be_head = count > 0 && self.head_timer.limit.is_some() && self.activity.is_idle();
        if may_be_head && self.activity.begin_head() {
            self.head_timer.stop();
        }
    }

    /// Polls the head timer while there are no bytes to read. Fails if the current head has taken too long.
    fn poll_head_timer(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.activity.is_in_head() {
            self.head_timer.poll(context)
        } else {
            self.head_timer.stop();
            Poll::Pending
        }
    }

    fn record_write(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_pending() {
            ready!(self.stall_timer.poll(context))?;
        } else {
            self.stall_timer.stop();
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
        if let Some(rest) = this.opening.get(this.replayed_count..).filter(|rest| !rest.is_empty()) {
            let count = rest.len().min(buffer.remaining());
            buffer.put_slice(&rest[..count]);
            this.replayed_count += count;
            this.record_read(count);
            return Poll::Ready(Ok(()));
        }
        let filled = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(context, buffer) {
            Poll::Pending => this.poll_head_timer(context),
            Poll::Ready(result) => {
                this.record_read(buffer.filled().len() - filled);
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
        self.record_write(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.record_write(context, written)
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

/// A timer that starts at its first poll and fails after its limit. It allocates no memory before the first poll, because most
/// heads and responses arrive without waiting.
#[derive(Debug)]
struct Timer {
    limit: Option<Duration>,
    error: ClientTimeout,
    sleep: Option<Pin<Box<Sleep>>>,
    is_running: bool,
}

impl Timer {
    fn new(limit: Option<Duration>, error: ClientTimeout) -> Self {
        Self { limit, error, sleep: None, is_running: false }
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
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, self.error)))
    }
}
