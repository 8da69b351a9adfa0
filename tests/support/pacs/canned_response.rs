//! The answers of a scripted archive.

use std::io::Write;
use std::time::Duration;

/// The framing of a body, which marks its end (RFC 9112 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Content-Length.
    ContentLength,
    /// A wrong Content-Length.
    WrongContentLength(usize),
    /// The chunked transfer coding.
    Chunked,
    /// The end of the connection.
    UntilClose,
}

/// One answer.
#[derive(Debug, Clone)]
pub struct CannedResponse {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) framing: Framing,
    pub(super) slow: Option<Duration>,
    pub(super) in_pieces: Option<(usize, Duration)>,
    pub(super) ends: Ends,
}

/// The end of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    Complete,
    /// The connection is closed after this number of bytes of the body.
    Closed(usize),
    /// No bytes follow after this number of bytes of the body, and the connection stays open.
    Stalled(usize),
    /// The connection is closed without an answer.
    Unanswered,
    /// No answer is ever sent.
    Silent,
    /// Only the body is sent, without status line and headers.
    Raw,
    /// The body is sent, and then its part from this offset is repeated until the client disconnects.
    Endless(usize),
}

impl CannedResponse {
    /// Creates an answer without a body.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            framing: Framing::ContentLength,
            slow: None,
            in_pieces: None,
            ends: Ends::Complete,
        }
    }

    /// Creates a 200 with DICOM JSON.
    pub fn json(body: impl Into<String>) -> Self {
        Self::bytes("application/dicom+json", body.into().into_bytes())
    }

    /// Creates a 200 with an HTML page, such as a login form.
    pub fn html(body: &str) -> Self {
        Self::bytes("text/html; charset=utf-8", body.as_bytes().to_vec())
    }

    /// Creates a 200 with a body of any media type.
    pub fn bytes(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::status(200) }.header("Content-Type", content_type)
    }

    /// Creates a 200 with a multipart body of DICOM parts, each with its headers, which ends with the connection.
    pub fn multipart<'a>(boundary: &str, parts: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut body = Vec::new();
        for (headers, part) in parts {
            body.extend_from_slice(format!("\r\n--{boundary}\r\n{headers}\r\n\r\n").as_bytes());
            body.extend_from_slice(part);
        }
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        let content_type = format!("multipart/related; type=\"application/dicom\"; boundary={boundary}");
        Self::bytes(&content_type, body.split_off(2)).with_framing(Framing::UntilClose)
    }

    /// Creates an answer that consists of these bytes, including the head, and the end of the connection.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { body: bytes.into(), ends: Ends::Raw, ..Self::status(0) }
    }

    /// Creates an answer that is never sent.
    pub fn never_sent() -> Self {
        Self { ends: Ends::Silent, ..Self::status(0) }
    }

    /// Closes the connection without an answer.
    pub fn connection_closed() -> Self {
        Self { ends: Ends::Unanswered, ..Self::status(0) }
    }

    /// Creates an answer that repeats `body` until the client disconnects.
    pub fn endless(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { ends: Ends::Endless(0), ..Self::bytes(content_type, body).with_framing(Framing::UntilClose) }
    }

    /// Creates JSON that begins with `first` and continues with `repeated` until the client disconnects.
    pub fn endless_json(first: &str, repeated: &str) -> Self {
        let body = format!("{first}{}", repeated.repeat(4096_usize.div_ceil(repeated.len())));
        Self { ends: Ends::Endless(first.len()), ..Self::json(body).with_framing(Framing::UntilClose) }
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

    /// Delays the answer.
    pub fn with_delay(mut self, duration: Duration) -> Self {
        self.slow = Some(duration);
        self
    }

    /// Sends the body in pieces of this number of bytes, with a pause between them.
    pub fn in_pieces(mut self, bytes: usize, pause: Duration) -> Self {
        self.in_pieces = Some((bytes, pause));
        self
    }

    /// Closes the connection after this number of bytes of the body.
    pub fn abort_after(mut self, bytes: usize) -> Self {
        self.ends = Ends::Closed(bytes);
        self
    }

    /// Stops sending after this number of bytes of the body.
    pub fn stall_after(mut self, bytes: usize) -> Self {
        self.ends = Ends::Stalled(bytes);
        self
    }

    /// Returns the length of the body in bytes.
    pub fn length(&self) -> usize {
        self.body.len()
    }
}
