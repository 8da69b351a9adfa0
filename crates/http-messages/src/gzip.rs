//! gzip (RFC 1952): detection by the first bytes, a streaming decoder, and compression of bodies that are sent many
//! times.
//!
//! Some archives send gzip although the request does not accept it, and some do not declare it. Decoding stops if the decoded size
//! is far above that of any real body (decompression bomb). This module does not know about HTTP bodies or headers: it converts
//! bytes.

use std::io::Write as _;

use bytes::{Buf, Bytes};
use flate2::Compression;
use flate2::write::{GzEncoder, MultiGzDecoder};

/// The first bytes of a gzip stream (RFC 1952 2.3.1).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The level for bodies that are compressed once and cached: five times as fast as level 6, with a result that is 7 % larger.
const CACHED_LEVEL: Compression = Compression::fast();

/// The level for text that is compressed while it is streamed. Rows and metadata are repetitive, so level 3 is close to the
/// best ratio at a speed that does not delay the stream.
pub const STREAMING_LEVEL: Compression = Compression::new(3);

/// Minimum size in bytes of a body that is compressed. For smaller bodies the gzip header and the decoding cost more than
/// compression saves.
const MIN_COMPRESSED_SIZE: usize = 1024;

/// The number of encoded bytes per decoding step. Deflate expands a byte to at most 1032 bytes, so a step produces at most
/// half a megabyte.
const STEP_SIZE: usize = 512;

/// Approximate size of a piece of decoded bytes.
const PIECE_SIZE: usize = 32 * 1024;

/// The decoded size in bytes up to which every ratio is accepted.
const MIN_LIMITED_SIZE: u64 = 16 * 1024 * 1024;

/// Maximum ratio of decoded to encoded size. Metadata, which repeats the same values for every instance, reaches 100.
const MAX_RATIO: u64 = 400;

/// Why a gzip stream cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GunzipError {
    /// The bytes are not a gzip stream, or the stream is truncated.
    #[error("invalid gzip")]
    Malformed,
    /// The decoded size exceeds the limit.
    #[error("the decoded size of the gzip stream exceeds the limit")]
    TooLarge,
}

/// Whether a body that begins with `start` is a gzip stream. JSON and XML never begin with these bytes.
pub fn is_gzip(start: &[u8]) -> bool {
    start.starts_with(&GZIP_MAGIC)
}

/// Decodes a gzip stream that arrives in chunks. The caller passes a chunk to [`push`](Self::push) after
/// [`next_piece`](Self::next_piece) has returned all pieces of the previous chunk, so at most one chunk and one piece are in memory.
#[derive(Debug)]
pub struct Gunzip {
    encoded: Bytes,
    decoder: MultiGzDecoder<Vec<u8>>,
    /// The size of the decoded part of the stream in bytes.
    encoded_size: u64,
    /// The size of the pieces in bytes.
    decoded_size: u64,
}

impl Default for Gunzip {
    fn default() -> Self {
        let decoder = MultiGzDecoder::new(Vec::with_capacity(PIECE_SIZE));
        Self { encoded: Bytes::new(), decoder, encoded_size: 0, decoded_size: 0 }
    }
}

impl Gunzip {
    /// Decodes a whole gzip stream of at most `max_size` decoded bytes.
    pub fn decode(encoded: Bytes, max_size: usize) -> Result<Bytes, GunzipError> {
        let mut gunzip = Self::default();
        gunzip.push(encoded);
        let mut decoded = Vec::new();
        while let Some(piece) = gunzip.next_piece()? {
            decoded.extend_from_slice(&piece);
            if decoded.len() > max_size {
                return Err(GunzipError::TooLarge);
            }
        }
        if let Some(piece) = gunzip.finish()? {
            decoded.extend_from_slice(&piece);
        }
        if decoded.len() > max_size { Err(GunzipError::TooLarge) } else { Ok(decoded.into()) }
    }

    /// Adds the next chunk of the stream.
    pub fn push(&mut self, chunk: Bytes) {
        self.encoded =
            if self.encoded.is_empty() { chunk } else { [&*self.encoded, &*chunk].concat().into() };
    }

    /// Decodes and returns the next piece; `None` if all pushed bytes are decoded and returned.
    pub fn next_piece(&mut self) -> Result<Option<Bytes>, GunzipError> {
        while !self.encoded.is_empty() && self.decoder.get_ref().len() < PIECE_SIZE {
            let step = self.encoded.get(..STEP_SIZE).unwrap_or(&self.encoded);
            let written = self.decoder.write(step).map_err(|_| GunzipError::Malformed)?;
            if written == 0 {
                return Err(GunzipError::Malformed);
            }
            self.encoded.advance(written);
            self.encoded_size += written as u64;
        }
        let piece = std::mem::take(self.decoder.get_mut());
        self.decoded_size += piece.len() as u64;
        if self.decoded_size > MIN_LIMITED_SIZE
            && self.decoded_size > self.encoded_size.saturating_mul(MAX_RATIO)
        {
            return Err(GunzipError::TooLarge);
        }
        Ok((!piece.is_empty()).then(|| piece.into()))
    }

    /// Ends the stream and returns the remaining decoded bytes. Fails if the stream is truncated.
    pub fn finish(&mut self) -> Result<Option<Bytes>, GunzipError> {
        self.decoder.try_finish().map_err(|_| GunzipError::Malformed)?;
        self.next_piece()
    }
}

/// Compresses `content`, for a body that is cached and sent many times; `None` if compression saves nothing.
pub fn compress(content: &[u8]) -> Option<Bytes> {
    if content.len() < MIN_COMPRESSED_SIZE {
        return None;
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(content.len() / 6), CACHED_LEVEL);
    encoder.write_all(content).ok()?;
    let gzip = encoder.finish().ok()?;
    (gzip.len() < content.len()).then(|| gzip.into_boxed_slice().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gunzip(gzip: &[u8], size: usize) -> Result<Vec<u8>, GunzipError> {
        let mut gunzip = Gunzip::default();
        let mut decompressed = Vec::new();
        for chunk in gzip.chunks(size) {
            gunzip.push(Bytes::copy_from_slice(chunk));
            while let Some(piece) = gunzip.next_piece()? {
                decompressed.extend_from_slice(&piece);
            }
        }
        while let Some(piece) = gunzip.finish()? {
            decompressed.extend_from_slice(&piece);
        }
        Ok(decompressed)
    }

    fn text() -> Vec<u8> {
        (0..5000).flat_map(|number: u32| format!("{{\"0020000E\":{number}}}").into_bytes()).collect()
    }

    #[test]
    fn stream_decodes_for_every_chunk_size_and_with_several_members() {
        let member = compress(&text()).unwrap();
        assert!(is_gzip(&member) && member.len() < text().len());
        let two_members = [&*member, &*member].concat();
        for size in [1, 7, 512, 4096, two_members.len()] {
            assert_eq!(gunzip(&member, size).unwrap(), text(), "{size}");
            assert_eq!(gunzip(&two_members, size).unwrap(), [text(), text()].concat(), "{size}");
        }
        let decoded = Gunzip::decode(two_members.clone().into(), 2 * text().len()).unwrap();
        assert_eq!(decoded, [text(), text()].concat());
        let error = Gunzip::decode(two_members.into(), 2 * text().len() - 1);
        assert_eq!(error, Err(GunzipError::TooLarge));
    }

    #[test]
    fn truncated_or_invalid_stream_is_rejected() {
        let complete = compress(&text()).unwrap();
        for length in (1..complete.len()).step_by(97).chain(complete.len() - 9..complete.len()) {
            assert_eq!(gunzip(&complete[..length], 512), Err(GunzipError::Malformed), "{length}");
        }
        assert_eq!(gunzip(b"[]", 512), Err(GunzipError::Malformed));
    }

    #[test]
    fn bytes_after_the_last_member_are_rejected() {
        let member = compress(&text()).unwrap();
        for byte in [0, b' ', 0x1f] {
            for count in [1, 2, 9, 10, 11, 18, 600] {
                let stream = [&*member, &vec![byte; count]].concat();
                for size in [7, 512, stream.len()] {
                    assert_eq!(gunzip(&stream, size), Err(GunzipError::Malformed), "{count} times {byte}");
                }
            }
        }
    }

    #[test]
    fn decompression_bomb_is_rejected_before_it_is_decoded_completely() {
        let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
        bomb.write_all(&vec![b' '; 64 * 1024 * 1024]).unwrap();
        let mut gunzip = Gunzip::default();
        gunzip.push(bomb.finish().unwrap().into());
        let mut decoded_size = 0;
        let error = loop {
            match gunzip.next_piece() {
                Ok(Some(piece)) => decoded_size += piece.len(),
                Ok(None) => panic!("the bomb was decoded"),
                Err(error) => break error,
            }
        };
        assert_eq!(error, GunzipError::TooLarge);
        assert!(decoded_size < 32 * 1024 * 1024, "{decoded_size}");
    }

    #[test]
    fn small_body_is_not_compressed() {
        assert_eq!(compress(b"{}"), None);
    }
}
