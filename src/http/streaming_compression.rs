//! Compression of text responses while they stream (RFC 9110 8.4.1; RFC 7932, RFC 8878, RFC 1952).
//!
//! A body is compressed while it arrives. The encoder is flushed whenever no more data is ready, so that compression does not
//! delay data, and each step is short, so that it does not block other tasks. A truncated body is truncated after compression
//! too. Bodies that are not text, such as pixel data, must not be passed to this module.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use flate2::write::GzEncoder;
use futures_util::{TryStreamExt, stream};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::{Body as _, Frame};
use http_body_util::StreamBody;

use super::negotiation;
use http_messages::body::{self, Body, BoxError};
use http_messages::gzip;

/// Minimum length in bytes of a body that is compressed. Shorter bodies fit into one packet without compression.
const MIN_LEN: u64 = 1024;

/// Number of bytes that one step compresses, which takes less than a millisecond.
const STEP_SIZE: usize = 16 * 1024;

/// Approximate size of an output chunk in bytes.
const CHUNK_SIZE: usize = 16 * 1024;

/// The compression level of Brotli. It is fast, and achieves at least half of the best compression ratio, because rows and metadata
/// are repetitive.
const BROTLI_QUALITY: u32 = 4;

/// The base-2 logarithm of the window size in bytes (RFC 7932 9.1). A window of 256 KiB contains the metadata of about 25 instances,
/// which repeat each other.
const BROTLI_WINDOW: u32 = 18;

/// The default compression level of the library, which is fast.
const ZSTD_LEVEL: i32 = 3;

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// Zstandard (RFC 8878).
    Zstd,
    /// Brotli (RFC 7932).
    Brotli,
    /// Gzip (RFC 1952).
    Gzip,
}

impl Coding {
    /// The codings in the order of preference: zstd is the fastest, and gzip is only for clients that accept neither of the others.
    const ALL: [(&'static str, Self); 3] = [("zstd", Self::Zstd), ("br", Self::Brotli), ("gzip", Self::Gzip)];

    /// Returns the coding with the highest weight in the request. If several codings have this weight, the first in [`Self::ALL`] is
    /// returned. `None` if no coding is accepted.
    fn preferred(request_headers: &HeaderMap) -> Option<Self> {
        let mut best: Option<(f32, Self)> = None;
        for (name, coding) in Self::ALL {
            let weight = negotiation::coding_weight(request_headers, name);
            if weight > best.map_or(0.0, |(best_weight, _)| best_weight) {
                best = Some((weight, coding));
            }
        }
        best.map(|(_, coding)| coding)
    }

    fn name(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        })
    }
}

/// Compresses the text of `response` with a coding that the request accepts. The response is unchanged if no coding is accepted, if
/// its status is not 200, if it is a range, if the text is too short, or if it is already compressed.
pub fn compress(request_headers: &HeaderMap, response: Response<Body>) -> Response<Body> {
    let is_compressible = response.status() == StatusCode::OK
        && !response.headers().contains_key(header::CONTENT_ENCODING)
        && !response.headers().contains_key(header::CONTENT_RANGE);
    let is_short = response.body().size_hint().exact().is_some_and(|length| length < MIN_LEN);
    if !is_compressible || is_short {
        return response;
    }
    let Some(coding) = Coding::preferred(request_headers) else { return response };
    let Ok(encoder) = Encoder::new(coding) else { return response };
    let (mut head, body) = response.into_parts();
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.remove(header::ACCEPT_RANGES);
    head.headers.insert(header::CONTENT_ENCODING, coding.name());
    let mut body = CompressedBody { body, encoder: Some(encoder), pending: Bytes::new(), is_flushed: true };
    let chunks = stream::poll_fn(move |context| body.poll_chunk(context)).map_ok(Frame::data);
    Response::from_parts(head, body::streamed(StreamBody::new(chunks)))
}

enum Encoder {
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Gzip(GzEncoder<Vec<u8>>),
}

impl Encoder {
    fn new(coding: Coding) -> io::Result<Self> {
        Ok(match coding {
            Coding::Zstd => Self::Zstd(zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?),
            Coding::Brotli => Self::Brotli(Box::new(brotli::CompressorWriter::new(
                Vec::new(),
                STEP_SIZE,
                BROTLI_QUALITY,
                BROTLI_WINDOW,
            ))),
            Coding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), gzip::STREAMING_LEVEL)),
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Zstd(encoder) => encoder.write_all(bytes),
            Self::Brotli(encoder) => encoder.write_all(bytes),
            Self::Gzip(encoder) => encoder.write_all(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Zstd(encoder) => encoder.flush(),
            Self::Brotli(encoder) => encoder.flush(),
            Self::Gzip(encoder) => encoder.flush(),
        }
    }

    fn output(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Zstd(encoder) => encoder.get_mut(),
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Gzip(encoder) => encoder.get_mut(),
        }
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Zstd(encoder) => encoder.finish(),
            Self::Brotli(encoder) => Ok(encoder.into_inner()),
            Self::Gzip(encoder) => encoder.finish(),
        }
    }
}

/// A body that is compressed while it is read.
struct CompressedBody {
    body: Body,
    /// `None` after the end of the compressed data was written, or after an error.
    encoder: Option<Encoder>,
    /// Data that has arrived and is not compressed yet.
    pending: Bytes,
    is_flushed: bool,
}

impl CompressedBody {
    /// Polls the next compressed chunk; `None` at the end.
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
        loop {
            let Some(encoder) = &mut self.encoder else { return Poll::Ready(None) };
            if !self.pending.is_empty() {
                let step = self.pending.split_to(self.pending.len().min(STEP_SIZE));
                encoder.write(&step)?;
                self.is_flushed = false;
                if encoder.output().len() >= CHUNK_SIZE {
                    return Poll::Ready(Some(Ok(std::mem::take(encoder.output()).into())));
                }
                continue;
            }
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => self.pending = frame.into_data().unwrap_or_default(),
                Poll::Ready(Some(Err(error))) => {
                    // The end of the compressed data is not written, so that a truncated body is not mistaken for a whole one.
                    self.encoder = None;
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(None) => {
                    let rest = self.encoder.take().map_or(Ok(Vec::new()), Encoder::finish)?;
                    return Poll::Ready((!rest.is_empty()).then(|| Ok(rest.into())));
                }
                Poll::Pending if self.is_flushed => return Poll::Pending,
                Poll::Pending => {
                    encoder.flush()?;
                    self.is_flushed = true;
                    let chunk = std::mem::take(encoder.output());
                    if !chunk.is_empty() {
                        return Poll::Ready(Some(Ok(chunk.into())));
                    }
                    return Poll::Pending;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use std::io::Read;

    fn request_headers(accept_encoding: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(accept_encoding))])
    }

    fn decode(coding: &str, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        match coding {
            "zstd" => zstd::stream::read::Decoder::new(bytes)?.read_to_end(&mut text)?,
            "br" => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut text)?,
            _ => flate2::read::GzDecoder::new(bytes).read_to_end(&mut text)?,
        };
        Ok(text)
    }

    /// Returns rows of about 1 MB.
    fn rows() -> Vec<u8> {
        (0..20_000)
            .flat_map(|row| format!("{{\"00200013\":{{\"vr\":\"IS\",\"Value\":[{row}]}}}},").into_bytes())
            .collect()
    }

    #[test]
    fn the_coding_with_the_highest_weight_is_used() {
        for (accept_encoding, expected) in [
            ("gzip, deflate, br, zstd", Some(Coding::Zstd)),
            ("gzip, deflate, br", Some(Coding::Brotli)),
            ("gzip", Some(Coding::Gzip)),
            ("*", Some(Coding::Zstd)),
            ("zstd;q=0, *;q=0.5", Some(Coding::Brotli)),
            ("zstd;q=0.1, gzip;q=0.9", Some(Coding::Gzip)),
            ("identity", None),
            ("gzip;q=0", None),
        ] {
            assert_eq!(Coding::preferred(&request_headers(accept_encoding)), expected, "{accept_encoding}");
        }
        assert_eq!(Coding::preferred(&HeaderMap::new()), None);
    }

    #[tokio::test]
    async fn a_compressed_text_is_smaller_and_decodes_to_the_original() {
        let text = rows();
        for coding in ["zstd", "br", "gzip"] {
            let response = compress(&request_headers(coding), Response::new(body::full(text.clone())));
            assert_eq!(response.headers()[header::CONTENT_ENCODING], coding);
            let bytes = response.into_body().collect().await.unwrap().to_bytes();
            assert!(bytes.len() < text.len() / 4, "{coding}: {}", bytes.len());
            assert!(decode(coding, &bytes).unwrap() == text, "{coding}");
        }
    }

    #[tokio::test]
    async fn data_is_flushed_at_once_and_a_truncated_body_stays_truncated() {
        for coding in ["zstd", "br", "gzip"] {
            // The archive sends a row, pauses, and closes the connection.
            let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Frame<Bytes>, BoxError>>(2);
            let rows =
                stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) });
            let response = Response::new(body::streamed(StreamBody::new(Box::pin(rows))));
            let response = compress(&request_headers(coding), response);
            let mut body = response.into_body();
            sender.send(Ok(Frame::data(Bytes::from_static(b"[{\"a\":1},")))).await.unwrap();
            let first_chunk = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert!(!first_chunk.is_empty());
            sender.send(Err("truncated".into())).await.unwrap();
            assert!(body.frame().await.unwrap().is_err());
            assert!(body.frame().await.is_none());
            let text = match coding {
                "zstd" => read_nine_bytes(zstd::stream::read::Decoder::new(&first_chunk[..]).unwrap()),
                "br" => read_nine_bytes(brotli::Decompressor::new(&first_chunk[..], 4096)),
                _ => read_nine_bytes(flate2::read::GzDecoder::new(&first_chunk[..])),
            };
            assert_eq!(text, b"[{\"a\":1},", "{coding}");
            assert!(decode(coding, &first_chunk).is_err(), "{coding}");
        }
    }

    fn read_nine_bytes(mut decoder: impl Read) -> Vec<u8> {
        let mut bytes = vec![0; 9];
        decoder.read_exact(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn only_a_long_uncompressed_body_with_status_200_is_compressed() {
        let is_compressed = |response: http::response::Builder, text: Vec<u8>| {
            let response = response.body(body::full(text)).unwrap();
            let coding = response.headers().get(header::CONTENT_ENCODING).cloned();
            let compressed = compress(&request_headers("gzip"), response);
            compressed.headers().get(header::CONTENT_ENCODING) != coding.as_ref()
        };
        assert!(is_compressed(Response::builder(), rows()));
        assert!(!is_compressed(Response::builder(), b"short".to_vec()));
        assert!(!is_compressed(Response::builder().status(206), rows()));
        assert!(!is_compressed(Response::builder().status(404), rows()));
        assert!(!is_compressed(Response::builder().header(header::CONTENT_ENCODING, "br"), rows()));
    }
}
