//! Detects the HTTP version of a connection from its first bytes (RFC 9113 3.3, 3.4). This module does not parse requests.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// The start of every HTTP/2 connection, which is never the start of an HTTP/1 request.
const CONNECTION_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The detected version, and the first bytes of the connection, which were read to detect it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct DetectedProtocol {
    pub(super) is_http2: bool,
    pub(super) opening: Vec<u8>,
}

impl DetectedProtocol {
    /// Reads until the version is certain; fails if the connection ends before that. `opening` contains the bytes that were read, also
    /// if this function fails or is canceled.
    pub(super) async fn detect(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
        let mut buffer = [0; CONNECTION_PREFACE.len()];
        loop {
            let count = stream.read(&mut buffer[self.opening.len()..]).await?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.opening.extend_from_slice(&buffer[self.opening.len()..][..count]);
            self.is_http2 = self.opening == CONNECTION_PREFACE;
            if self.is_http2 || !CONNECTION_PREFACE.starts_with(&self.opening) {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn detect(mut bytes: &[u8]) -> (io::Result<()>, DetectedProtocol) {
        let mut detected = DetectedProtocol::default();
        (detected.detect(&mut bytes).await, detected)
    }

    #[tokio::test]
    async fn version_is_detected_from_the_first_bytes() {
        for (bytes, is_http2) in [
            (&b"GET / HTTP/1.1\r\n"[..], false),
            (&CONNECTION_PREFACE[..], true),
            (b"PRI * HTTP/2.1\r\n\r\nSM", false),
        ] {
            let (result, detected) = detect(bytes).await;
            assert!(result.is_ok());
            assert_eq!(detected.is_http2, is_http2);
            assert!(bytes.starts_with(&detected.opening));
        }
        for opening in [&b""[..], b"PRI * HT"] {
            let (result, detected) = detect(opening).await;
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
            assert_eq!(detected.opening, opening);
        }
    }

    #[tokio::test]
    async fn preface_is_detected_byte_by_byte() {
        let (mut client, mut server) = tokio::io::duplex(1);
        let writing = tokio::spawn(async move {
            tokio::io::AsyncWriteExt::write_all(&mut client, CONNECTION_PREFACE).await.unwrap();
            client
        });
        let mut detected = DetectedProtocol::default();
        detected.detect(&mut server).await.unwrap();
        assert!(detected.is_http2);
        writing.await.unwrap();
    }
}
