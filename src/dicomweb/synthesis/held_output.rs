//! Holds the beginning of a response back while its content may turn out to be unreadable, so that the client receives an error status
//! instead of an aborted transfer. The end of encapsulated pixel data shows whether its frames can be distinguished.

use bytes::Bytes;
use tokio::sync::oneshot;

use super::instances::OutputSender;
use crate::dicomweb::proxy::stream_error::StreamError;

/// The number of bytes of pixel data that are read before the response begins. A longer value is sent while it is read: a client
/// would wait too long for the beginning.
const MAX_HELD_LEN: usize = 4 * 1024 * 1024;

/// The output of a response that has not begun yet, or has.
#[derive(Debug)]
pub(super) struct HeldOutput<'a, B> {
    output: &'a OutputSender,
    /// The beginning of the response and where it is reported; `None` after the response has begun.
    beginning: Option<(oneshot::Sender<B>, B)>,
    held: Vec<Bytes>,
    read_len: usize,
}

impl<'a, B> HeldOutput<'a, B> {
    /// Creates an output that begins by sending `beginning` to `sender`.
    pub(super) fn new(output: &'a OutputSender, sender: oneshot::Sender<B>, beginning: B) -> Self {
        Self { output, beginning: Some((sender, beginning)), held: Vec::new(), read_len: 0 }
    }

    /// Sends `chunk`, or holds it.
    pub(super) fn send(&mut self, chunk: Bytes) -> Result<(), StreamError> {
        if self.beginning.is_none() {
            return self.output.send(chunk);
        }
        self.held.push(chunk);
        Ok(())
    }

    /// Counts `length` bytes of pixel data that have been read. The response begins if they are many.
    pub(super) fn count_read(&mut self, length: usize) -> Result<(), StreamError> {
        self.read_len = self.read_len.saturating_add(length);
        if self.read_len > MAX_HELD_LEN { self.begin() } else { Ok(()) }
    }

    /// Begins the response, and sends what has been held.
    pub(super) fn begin(&mut self) -> Result<(), StreamError> {
        if let Some((sender, beginning)) = self.beginning.take() {
            // The client may have disconnected.
            let _ = sender.send(beginning);
        }
        self.held.drain(..).try_for_each(|chunk| self.output.send(chunk))
    }
}
