//! Decoding of gzip (RFC 1952) while it streams: for archives that send it unasked, when the gateway must read the text
//! or the client does not take it.

use std::io::Write;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use flate2::write::MultiGzDecoder;

use super::stream::{StreamError, poll_data};
use crate::archive::UpstreamBody;

/// Deflate makes at most 1032 bytes of one, so a step of so many makes no more than half a megabyte at once.
const STEP: usize = 512;

/// Pieces of the decoded text are about as long.
const PIECE: usize = 32 * 1024;

/// Up to here no ratio is suspicious.
const ALWAYS_ALLOWED: u64 = 16 * 1024 * 1024;

/// Metadata, which say the same of every instance, reach a hundred; beyond this it is a bomb.
const HIGHEST_RATIO: u64 = 400;

/// A body that is decoded as it is read.
#[derive(Debug)]
pub(super) struct Gunzip {
    body: UpstreamBody,
    encoded: Bytes,
    decoder: MultiGzDecoder<Vec<u8>>,
    taken: u64,
    given: u64,
    finished: bool,
}

impl Gunzip {
    /// Decodes `first` and what follows it in `body`.
    pub(super) fn new(first: Bytes, body: UpstreamBody) -> Self {
        let decoder = MultiGzDecoder::new(Vec::with_capacity(PIECE));
        Self { body, encoded: first, decoder, taken: 0, given: 0, finished: false }
    }

    /// The next piece of the decoded text; `None` at its end.
    pub(super) fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, StreamError>>> {
        while !self.finished {
            if self.encoded.is_empty() {
                match ready!(poll_data(&mut self.body, context)) {
                    Some(Ok(data)) => self.encoded = data,
                    Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                    None => {
                        self.finished = true;
                        if self.decoder.try_finish().is_err() {
                            return Poll::Ready(Some(Err(StreamError::BrokenGzip)));
                        }
                    }
                }
            }
            match self.decode() {
                Ok(piece) if piece.is_empty() => {}
                piece => return Poll::Ready(Some(piece)),
            }
        }
        Poll::Ready(None)
    }

    /// Decodes until a piece is full or nothing is left.
    fn decode(&mut self) -> Result<Bytes, StreamError> {
        while !self.encoded.is_empty() && self.decoder.get_ref().len() < PIECE {
            let step = self.encoded.get(..STEP).unwrap_or(&self.encoded);
            let written = self.decoder.write(step).map_err(|_| StreamError::BrokenGzip)?;
            if written == 0 {
                return Err(StreamError::BrokenGzip);
            }
            self.encoded.advance(written);
            self.taken += written as u64;
        }
        let piece = std::mem::take(self.decoder.get_mut());
        self.given += piece.len() as u64;
        if self.given > ALWAYS_ALLOWED && self.given > self.taken.saturating_mul(HIGHEST_RATIO) {
            return Err(StreamError::TooLarge);
        }
        Ok(piece.into())
    }
}
