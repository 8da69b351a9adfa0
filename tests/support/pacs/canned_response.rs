//! Responses of the scripted archive, which tests prepare.

use std::io::Write;
use std::time::Duration;

/// The framing of a body: how the recipient detects its end (RFC 9112 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Content-Length.
    ContentLength,
    /// A Content-Length with this value, which differs from the length of the body.
    WrongContentLength(usize),
    /// The chunked transfer coding.
    Chunked,
    /// The close of the connection.
    UntilClose,
}

/// A prepared response.
#[derive(Debug, Clone)]
pub struct CannedResponse {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) framing: Framing,
    pub(super) delay: Option<Duration>,
    pub(super) pieces: Option<(usize, Duration)>,
    pub(super) end: ResponseEnd,
    /// Whether the connection is closed with a reset.
    pub(super) resets: bool,
}

/// The way in which a response ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResponseEnd {
    /// The whole response is sent.
    Complete,
    /// The connection is closed after this number of bytes of the body.
    ClosedAfter(usize),
    /// No bytes follow after this number of bytes of the body, and the connection stays open.
    StalledAfter(usize),
    /// The connection is closed without a response.
    ClosedWithoutResponse,
    /// No response is sent, and the connection stays open.
    OpenWithoutResponse,
    /// Only the body is sent, without status line and headers.
    Raw,
    /// The body is sent; then the part of the body after this offset is repeated until the client disconnects.
    Endless(usize),
}

impl CannedResponse {
    /// Creates a response without a body.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            framing: Framing::ContentLength,
            delay: None,
            pieces: None,
            end: ResponseEnd::Complete,
            resets: false,
        }
    }

    /// Creates a response with status 200 and DICOM JSON.
    pub fn json(body: impl Into<String>) -> Self {
        Self::bytes("application/dicom+json", body.into().into_bytes())
    }

    /// Creates a response with status 200 and an HTML page.
    pub fn html(body: &str) -> Self {
        Self::bytes("text/html; charset=utf-8", body.as_bytes().to_vec())
    }

    /// Creates a response with status 200 and a body of any media type.
    pub fn bytes(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::status(200) }.header("Content-Type", content_type)
    }

    /// Creates a response with status 200 and a multipart body of DICOM objects, which ends when the connection is closed. Each
    /// part consists of its headers and its content.
    pub fn multipart<'a>(boundary: &str, parts: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut body = Vec::new();
        for (headers, content) in parts {
            body.extend_from_slice(format!("\r\n--{boundary}\r\n{headers}\r\n\r\n").as_bytes());
            body.extend_from_slice(content);
        }
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        let content_type = format!("multipart/related; type=\"application/dicom\"; boundary={boundary}");
        Self::bytes(&content_type, body.split_off(2)).with_framing(Framing::UntilClose)
    }

    /// Creates a response whose status line, headers and body are `bytes`; the connection is closed after it.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { body: bytes.into(), end: ResponseEnd::Raw, ..Self::status(0) }
    }

    /// Creates a response that is never sent; the connection stays open.
    pub fn never_sent() -> Self {
        Self { end: ResponseEnd::OpenWithoutResponse, ..Self::status(0) }
    }

    /// Creates a response that is never sent; the connection is closed.
    pub fn connection_closed() -> Self {
        Self { end: ResponseEnd::ClosedWithoutResponse, ..Self::status(0) }
    }

    /// Creates a response that repeats `body` until the client disconnects.
    pub fn endless(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            end: ResponseEnd::Endless(0),
            ..Self::bytes(content_type, body).with_framing(Framing::UntilClose)
        }
    }

    /// Creates a response with JSON that begins with `beginning` and continues with `repeated` until the client disconnects.
    pub fn endless_json(beginning: &str, repeated: &str) -> Self {
        let body = format!("{beginning}{}", repeated.repeat(4096_usize.div_ceil(repeated.len())));
        Self {
            end: ResponseEnd::Endless(beginning.len()),
            ..Self::json(body).with_framing(Framing::UntilClose)
        }
    }

    /// Sets the status.
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Replaces the Content-Type.
    pub fn with_content_type(mut self, content_type: &str) -> Self {
        self.headers.retain(|(name, _)| name != "Content-Type");
        self.header("Content-Type", content_type)
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the framing of the body.
    pub fn with_framing(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    /// Compresses the body with gzip, with Content-Encoding.
    pub fn gzip(self) -> Self {
        self.undeclared_gzip().header("Content-Encoding", "gzip")
    }

    /// Compresses the body with gzip, without Content-Encoding.
    pub fn undeclared_gzip(mut self) -> Self {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&self.body).unwrap();
        self.body = encoder.finish().unwrap();
        self
    }

    /// Delays the response by `duration`.
    pub fn with_delay(mut self, duration: Duration) -> Self {
        self.delay = Some(duration);
        self
    }

    /// Sends the body in pieces of `size` bytes, with a pause between them.
    pub fn in_pieces(mut self, size: usize, pause: Duration) -> Self {
        self.pieces = Some((size, pause));
        self
    }

    /// Closes the connection after this number of bytes of the body.
    pub fn abort_after(mut self, bytes: usize) -> Self {
        self.end = ResponseEnd::ClosedAfter(bytes);
        self
    }

    /// Closes the connection with a reset.
    pub fn with_reset(mut self) -> Self {
        self.resets = true;
        self
    }

    /// Stops sending after this number of bytes of the body.
    pub fn stall_after(mut self, bytes: usize) -> Self {
        self.end = ResponseEnd::StalledAfter(bytes);
        self
    }

    /// Returns the length of the body in bytes.
    pub fn length(&self) -> usize {
        self.body.len()
    }
}
