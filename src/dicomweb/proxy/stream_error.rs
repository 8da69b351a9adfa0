//! Why the rest of a body cannot be forwarded after its beginning was.
//!
//! Does not know which filter or source failed first: each converts its own error into a [`StreamError`], and the body that ends
//! with one aborts the client's transfer (RFC 9112 8: an incomplete message).

use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::url_rewrite::text::RewriteError;
use crate::upstream::ArchiveError;
use dicom_model::json::reader::RowError;
use dicom_model::native_xml::NotNative;
use http_messages::gzip::GunzipError;
use http_messages::multipart::MultipartError;

/// Why the rest of a body cannot be passed on.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StreamError {
    /// The archive failed.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The body ended before what it holds did.
    #[error("the archive's answer ended early")]
    Incomplete,
    /// A URL in the body could not be rewritten.
    #[error(transparent)]
    Rewrite(RewriteError),
    /// The headers of a part are longer than any real ones.
    #[error("the archive's answer holds a part with too many headers")]
    PartHeadersTooLong,
    /// There is more than the one part that was asked for.
    #[error("the archive's answer holds more than the one part that was asked for")]
    SeveralParts,
    /// The body is no gzip stream, though it says so.
    #[error("the archive's answer is broken gzip")]
    BrokenGzip,
    /// The body decodes to more than any real one.
    #[error("the archive's answer decodes to too much")]
    TooLarge,
    /// The body is no list of objects.
    #[error("the archive's answer is no list of objects: {0}")]
    NoList(RowError),
    /// Something in the body cannot be read.
    #[error("the archive's answer holds {0}")]
    Unreadable(&'static str),
    /// A further request that the body is made of has no answer.
    #[error(transparent)]
    Refused(Box<DicomwebError>),
    /// The work on the body broke down, or nobody wants it any more.
    #[error("the work on the answer was broken off")]
    Interrupted,
    /// An object of the body has no XML.
    #[error("the archive's answer cannot be written as XML: {0}")]
    NoXml(NotNative),
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
            GunzipError::Broken => Self::BrokenGzip,
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
        }
    }
}

impl PartialEq for StreamError {
    fn eq(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}
