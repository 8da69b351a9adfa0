//! Detects the HTTP version of a connection from its first bytes (RFC 9113 3.3, 3.4). This module does not parse requests.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// The start of every HTTP/2 connection, which is never the start of an HTTP/1 request.
const CONNECTION_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The detected version, and the first bytes of the connection, which were read to detect it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DetectedProtocol {
    pub(super) is_http2: bool,
    pub(super) opening: Vec<u8>,
}

/// Reads until the version is certain; `None` if the connection ends before that.
pub(super) async fn detect_protocol(
    stream: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<DetectedProtocol>> {
    let mut buffer = [0; CONNECTION_PREFACE.len()];
    let mut filled = 0;
    loop {
        let count = stream.read(&mut buffer[filled..]).await?;
        if count == 0 {
            return Ok(None);
        }
        filled += count;
        let read = &buffer[..filled];
        let is_http2 = read == CONNECTION_PREFACE;
        if is_http2 || !CONNECTION_PREFACE.starts_with(read) {
            return Ok(Some(DetectedProtocol { is_http2, opening: read.to_vec() }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn detect(bytes: &[u8]) -> Option<DetectedProtocol> {
        let mut stream = bytes;
        detect_protocol(&mut stream).await.unwrap()
    }

    #[tokio::test]
    async fn version_is_detected_from_the_first_bytes() {
        for (bytes, is_http2) in [
            (&b"GET / HTTP/1.1\r\n"[..], false),
            (&CONNECTION_PREFACE[..], true),
            (b"PRI * HTTP/2.1\r\n\r\nSM", false),
        ] {
            let detected = detect(bytes).await.unwrap();
            assert_eq!(detected.is_http2, is_http2);
            assert!(bytes.starts_with(&detected.opening));
        }
        assert_eq!(detect(b"").await, None);
        assert_eq!(detect(b"PRI * HT").await, None);
    }

    #[tokio::test]
    async fn preface_is_detected_byte_by_byte() {
        let (mut client, mut server) = tokio::io::duplex(1);
        let writing = tokio::spawn(async move {
            tokio::io::AsyncWriteExt::write_all(&mut client, CONNECTION_PREFACE).await.unwrap();
            client
        });
        assert!(detect_protocol(&mut server).await.unwrap().unwrap().is_http2);
        writing.await.unwrap();
    }
}
