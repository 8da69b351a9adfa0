//! What an archive answers, and how it sends it.

use std::io::Write;
use std::time::Duration;

/// How the end of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// By its true length.
    Length,
    /// By a length that is not true.
    FalseLength(usize),
    /// In chunks.
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

/// One answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) framing: Framing,
    pub(super) slow: Option<Duration>,
    pub(super) in_pieces: Option<(usize, Duration)>,
    pub(super) ends: Ends,
}

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    Well,
    /// The connection is closed after so many bytes of the body.
    Closed(usize),
    /// Nothing follows after so many bytes of the body, and the connection stays open.
    Hanging(usize),
    /// The connection is closed without an answer.
    Unanswered,
    /// No answer ever comes.
    Silent,
    /// The body is sent without a head: it is all that is sent.
    Raw,
    /// The body is sent again and again until nobody reads it.
    Endless,
}

impl Answer {
    /// A status without a body.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            framing: Framing::Length,
            slow: None,
            in_pieces: None,
            ends: Ends::Well,
        }
    }

    /// 200 with DICOM JSON.
    pub fn json(body: impl Into<String>) -> Self {
        Self::bytes("application/dicom+json", body.into().into_bytes())
    }

    /// 200 with a web page: a login, an application.
    pub fn html(body: &str) -> Self {
        Self::bytes("text/html; charset=utf-8", body.as_bytes().to_vec())
    }

    /// 200 with any body.
    pub fn bytes(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::status(200) }.header("Content-Type", content_type)
    }

    /// 200 with parts of DICOM, each behind its own headers, and nothing else than the body to tell its end.
    pub fn parts<'a>(boundary: &str, parts: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut body = Vec::new();
        for (headers, part) in parts {
            body.extend_from_slice(format!("\r\n--{boundary}\r\n{headers}\r\n\r\n").as_bytes());
            body.extend_from_slice(part);
        }
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        let content_type = format!("multipart/related; type=\"application/dicom\"; boundary={boundary}");
        Self::bytes(&content_type, body.split_off(2)).framed(Framing::UntilClose)
    }

    /// Exactly these bytes, head and all, and then the end of the connection.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { body: bytes.into(), ends: Ends::Raw, ..Self::status(0) }
    }

    /// No answer, ever.
    pub fn hangs() -> Self {
        Self { ends: Ends::Silent, ..Self::status(0) }
    }

    /// The connection is closed without an answer.
    pub fn closes() -> Self {
        Self { ends: Ends::Unanswered, ..Self::status(0) }
    }

    /// `body` again and again, until nobody reads it.
    pub fn endless(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { ends: Ends::Endless, ..Self::bytes(content_type, body).framed(Framing::UntilClose) }
    }

    /// With another status.
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// With another Content-Type.
    pub fn with_type(mut self, content_type: &str) -> Self {
        self.headers.retain(|(name, _)| name != "Content-Type");
        self.header("Content-Type", content_type)
    }

    /// With one more header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With its end told in that way.
    pub fn framed(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    /// Compressed, and saying so.
    pub fn gzip(self) -> Self {
        self.undeclared_gzip().header("Content-Encoding", "gzip")
    }

    /// Compressed, and not saying so.
    pub fn undeclared_gzip(mut self) -> Self {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&self.body).unwrap();
        self.body = encoder.finish().unwrap();
        self
    }

    /// After a while.
    pub fn slow(mut self, duration: Duration) -> Self {
        self.slow = Some(duration);
        self
    }

    /// In pieces of so many bytes, with a pause between them.
    pub fn in_pieces(mut self, bytes: usize, pause: Duration) -> Self {
        self.in_pieces = Some((bytes, pause));
        self
    }

    /// The connection is closed after so many bytes of the body.
    pub fn breaks_after(mut self, bytes: usize) -> Self {
        self.ends = Ends::Closed(bytes);
        self
    }

    /// Nothing follows after so many bytes of the body.
    pub fn stalls_after(mut self, bytes: usize) -> Self {
        self.ends = Ends::Hanging(bytes);
        self
    }

    /// How long the body is.
    pub fn length(&self) -> usize {
        self.body.len()
    }
}
