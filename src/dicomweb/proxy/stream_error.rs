//! Why the rest of a body cannot be forwarded after its beginning was.
//!
//! Does not know which filter or source failed first: each converts its own error into a [`StreamError`], and the body that
//! ends with one aborts the client's transfer (RFC 9112 8: an incomplete message).

use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::url_rewrite::text::RewriteError;
use crate::upstream::{Archive, ArchiveError, ArchiveErrorKind};
use dicom_model::json::reader::RowError;
use dicom_model::native_xml::NotNative;
use http_messages::gzip::GunzipError;
use http_messages::multipart::MultipartError;

/// Why the rest of a body cannot be sent.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StreamError {
    /// The archive failed.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The body ended before its content was complete.
    #[error("the archive's response ended early")]
    Incomplete,
    /// A URL in the body could not be rewritten.
    #[error(transparent)]
    Rewrite(RewriteError),
    /// The headers of a part are longer than any real ones.
    #[error("the archive's response has a part with too long headers")]
    PartHeadersTooLong,
    /// There is more than the single requested part.
    #[error("the archive's response has more than the single part that was requested")]
    SeveralParts,
    /// The body is not a valid gzip stream, although it is labeled as one.
    #[error("the archive's response is broken gzip")]
    BrokenGzip,
    /// The decoded body is larger than any real one.
    #[error("the archive's response is too large when decoded")]
    TooLarge,
    /// The body is not a list of objects.
    #[error("the archive's response is not a list of objects: {0}")]
    NotAList(RowError),
    /// Something in the body cannot be read.
    #[error("the archive's response contains {0}")]
    Unreadable(&'static str),
    /// A further request that the body is made from failed.
    #[error(transparent)]
    Refused(Box<DicomwebError>),
    /// The task that produces the body failed, or the client disconnected.
    #[error("producing the response was aborted")]
    Interrupted,
    /// An object of the body cannot be represented in XML.
    #[error("the archive's response cannot be written as XML: {0}")]
    NoXml(NotNative),
}

impl StreamError {
    /// The error of a response of `archive` of which nothing has been sent yet.
    pub(crate) fn before_response(self, archive: &Archive) -> DicomwebError {
        match self {
            Self::Archive(error) => error.into(),
            Self::Refused(error) => *error,
            Self::Unreadable(what) => archive.unreadable(what).into(),
            Self::Incomplete => archive.error(ArchiveErrorKind::Truncated).into(),
            Self::NotAList(error) => archive.error(error).into(),
            Self::Rewrite(_) => archive.unreadable("a URL that is too long").into(),
            Self::PartHeadersTooLong => archive.unreadable("a part with too long headers").into(),
            Self::SeveralParts => archive.unreadable("more than the single part that was requested").into(),
            Self::BrokenGzip => archive.unreadable("a gzip body that is broken").into(),
            Self::TooLarge => archive.unreadable("a body that is too large when decoded").into(),
            Self::Interrupted | Self::NoXml(_) => archive.unreadable("something unexpected").into(),
        }
    }
}

impl From<RewriteError> for StreamError {
    fn from(error: RewriteError) -> Self {
        match error {
            RewriteError::Incomplete => Self::Incomplete,
            RewriteError::UrlTooLong => Self::Rewrite(error),
        }
    }
}

impl From<GunzipError> for StreamError {
    fn from(error: GunzipError) -> Self {
        match error {
            GunzipError::Malformed => Self::BrokenGzip,
            GunzipError::TooLarge => Self::TooLarge,
        }
    }
}

impl From<MultipartError> for StreamError {
    fn from(error: MultipartError) -> Self {
        match error {
            MultipartError::Incomplete => Self::Incomplete,
            MultipartError::HeadersTooLong => Self::PartHeadersTooLong,
            MultipartError::SeveralParts => Self::SeveralParts,
            MultipartError::NoBoundary => Self::Unreadable("a multipart body without a boundary"),
        }
    }
}

impl PartialEq for StreamError {
    fn eq(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}
