//! gzip (RFC 1952): recognized by its first bytes, decoded while it streams, and made of bodies that are sent many times.
//!
//! Archives send it unasked and do not always say so. A body that decodes to far more than any real one is refused while it is
//! decoded, so that its decoded length bounds nothing else. It knows neither bodies nor headers: bytes go in and come out.

use std::io::Write as _;

use bytes::{Buf, Bytes};
use flate2::Compression;
use flate2::write::{GzEncoder, MultiGzDecoder};

/// The first bytes of a gzip stream (RFC 1952 2.3.1).
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// For bodies that are compressed once and kept: five times as fast as level 6 for a study that ends 7 % longer.
const KEPT: Compression = Compression::fast();

/// For texts that are compressed as they stream: rows and metadata repeat themselves, and level 3 comes as close to the best
/// ratio as a stream has time for.
pub const STREAMED: Compression = Compression::new(3);

/// Below this a gzip body saves less than its header and the client's work cost.
const WORTH_COMPRESSING: usize = 1024;

/// Deflate makes at most 1032 bytes of one, so a step of so many makes no more than half a megabyte at once.
const STEP: usize = 512;

/// Pieces of the decoded text are about as long.
const PIECE: usize = 32 * 1024;

/// Up to here no ratio is suspicious.
const ALWAYS_ALLOWED: u64 = 16 * 1024 * 1024;

/// Metadata, which say the same of every instance, reach a hundred; beyond this it is a bomb.
const MAX_RATIO: u64 = 400;

/// Why a body cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GunzipError {
    /// It is no gzip stream, or ends before the stream does.
    #[error("broken gzip")]
    Broken,
    /// It decodes to far more than any real body.
    #[error("gzip that decodes to too much")]
    TooLarge,
}

/// Whether a body that begins with `start` is a gzip stream. No JSON or XML text begins like one.
pub fn is_gzip(start: &[u8]) -> bool {
    start.starts_with(&MAGIC)
}

/// Decodes a gzip stream that comes in chunks. Each chunk is [`push`](Self::push)ed when [`piece`](Self::piece) has given all
/// that was in the one before it; so no more than a chunk and a piece are held.
#[derive(Debug)]
pub struct Gunzip {
    encoded: Bytes,
    decoder: MultiGzDecoder<Vec<u8>>,
    taken: u64,
    given: u64,
}

impl Default for Gunzip {
    fn default() -> Self {
        let decoder = MultiGzDecoder::new(Vec::with_capacity(PIECE));
        Self { encoded: Bytes::new(), decoder, taken: 0, given: 0 }
    }
}

impl Gunzip {
    /// Takes the next chunk of the stream.
    pub fn push(&mut self, chunk: Bytes) {
        self.encoded =
            if self.encoded.is_empty() { chunk } else { [&*self.encoded, &*chunk].concat().into() };
    }

    /// The next piece of what was pushed; `None` when all of that has been given.
    pub fn piece(&mut self) -> Result<Option<Bytes>, GunzipError> {
        while !self.encoded.is_empty() && self.decoder.get_ref().len() < PIECE {
            let step = self.encoded.get(..STEP).unwrap_or(&self.encoded);
            let written = self.decoder.write(step).map_err(|_| GunzipError::Broken)?;
            if written == 0 {
                return Err(GunzipError::Broken);
            }
            self.encoded.advance(written);
            self.taken += written as u64;
        }
        let piece = std::mem::take(self.decoder.get_mut());
        self.given += piece.len() as u64;
        if self.given > ALWAYS_ALLOWED && self.given > self.taken.saturating_mul(MAX_RATIO) {
            return Err(GunzipError::TooLarge);
        }
        Ok((!piece.is_empty()).then(|| piece.into()))
    }

    /// Says that the stream has ended, and gives what is left of it; an error when it ended too early.
    pub fn finish(&mut self) -> Result<Option<Bytes>, GunzipError> {
        self.decoder.try_finish().map_err(|_| GunzipError::Broken)?;
        self.piece()
    }
}

/// The gzip coding of `content`, for a body that is kept and sent many times; `None` where that is not worth it.
pub fn compress(content: &[u8]) -> Option<Bytes> {
    if content.len() < WORTH_COMPRESSING {
        return None;
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(content.len() / 6), KEPT);
    encoder.write_all(content).ok()?;
    let gzip = encoder.finish().ok()?;
    (gzip.len() < content.len()).then(|| gzip.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gunzip(gzip: &[u8], size: usize) -> Result<Vec<u8>, GunzipError> {
        let mut gunzip = Gunzip::default();
        let mut plain = Vec::new();
        for chunk in gzip.chunks(size) {
            gunzip.push(Bytes::copy_from_slice(chunk));
            while let Some(piece) = gunzip.piece()? {
                plain.extend_from_slice(&piece);
            }
        }
        while let Some(piece) = gunzip.finish()? {
            plain.extend_from_slice(&piece);
        }
        Ok(plain)
    }

    fn text() -> Vec<u8> {
        (0..5000).flat_map(|number: u32| format!("{{\"0020000E\":{number}}}").into_bytes()).collect()
    }

    #[test]
    fn a_stream_is_the_same_however_it_is_cut_and_however_many_members_it_has() {
        let one = compress(&text()).unwrap();
        assert!(is_gzip(&one) && one.len() < text().len());
        let two = [&*one, &*one].concat();
        for size in [1, 7, 512, 4096, two.len()] {
            assert_eq!(gunzip(&one, size).unwrap(), text(), "{size}");
            assert_eq!(gunzip(&two, size).unwrap(), [text(), text()].concat(), "{size}");
        }
    }

    #[test]
    fn a_stream_that_is_cut_off_or_none_is_broken() {
        let whole = compress(&text()).unwrap();
        for length in (1..whole.len()).step_by(97).chain(whole.len() - 9..whole.len()) {
            assert_eq!(gunzip(&whole[..length], 512), Err(GunzipError::Broken), "{length}");
        }
        assert_eq!(gunzip(b"[]", 512), Err(GunzipError::Broken));
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_decoded_to_its_end() {
        let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
        bomb.write_all(&vec![b' '; 64 * 1024 * 1024]).unwrap();
        let mut gunzip = Gunzip::default();
        gunzip.push(bomb.finish().unwrap().into());
        let mut given = 0;
        let refusal = loop {
            match gunzip.piece() {
                Ok(Some(piece)) => given += piece.len(),
                Ok(None) => panic!("the bomb was decoded"),
                Err(error) => break error,
            }
        };
        assert_eq!(refusal, GunzipError::TooLarge);
        assert!(given < 32 * 1024 * 1024, "{given}");
    }

    #[test]
    fn a_small_body_is_not_compressed() {
        assert_eq!(compress(b"{}"), None);
    }
}
