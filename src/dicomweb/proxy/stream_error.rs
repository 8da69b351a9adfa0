//! The errors of a body after its beginning has been forwarded.
//!
//! Sources and filters convert their errors to a [`StreamError`], which aborts the transfer to the client (RFC 9112 8: an incomplete
//! message). This module does not distinguish between sources and filters.

use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::url_rewrite::text::RewriteError;
use crate::upstream::{Archive, ArchiveError, ArchiveErrorKind};
use dicom_model::json::reader::RowError;
use dicom_model::native_xml::NativeXmlError;
use http_messages::body::BoxError;
use http_messages::gzip::GunzipError;
use http_messages::multipart::MultipartError;

/// The reason why the rest of a body cannot be sent.
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
    /// The headers of a part exceed the maximum length.
    #[error("the archive's response has a part whose headers are too long")]
    PartHeadersTooLong,
    /// The body has more parts than were requested.
    #[error("the archive's response has more parts than were requested")]
    SeveralParts,
    /// The body is not a valid gzip stream, although its Content-Encoding is gzip.
    #[error("the archive's response is malformed gzip")]
    MalformedGzip,
    /// The decoded body exceeds the maximum size.
    #[error("the archive's response is too large when decoded")]
    TooLarge,
    /// The body is not a list of objects.
    #[error("the archive's response is not a list of objects: {0}")]
    NotAList(RowError),
    /// The body contains something that cannot be read. The value describes it.
    #[error("the archive's response contains {0}")]
    Unreadable(&'static str),
    /// A further request to the archive, which the rest of the body needs, failed.
    #[error(transparent)]
    FurtherRequest(Box<DicomwebError>),
    /// The task that produces the body failed, or the client disconnected.
    #[error("producing the response was aborted")]
    Interrupted,
    /// An object of the body cannot be represented in XML.
    #[error("the archive's response cannot be written as XML: {0}")]
    NoXml(NativeXmlError),
}

impl StreamError {
    /// Restores the type of an error of a body.
    pub(crate) fn of_body(error: BoxError) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => *error,
            Err(error) => {
                error.downcast::<ArchiveError>().map_or(Self::Incomplete, |error| Self::Archive(*error))
            }
        }
    }

    /// Converts the error for a response of `archive` of which nothing has been sent yet.
    pub(crate) fn before_response(self, archive: &Archive) -> DicomwebError {
        match self {
            Self::Archive(error) => error.into(),
            Self::FurtherRequest(error) => *error,
            Self::Unreadable(description) => archive.unreadable(description).into(),
            Self::Incomplete => archive.error(ArchiveErrorKind::Truncated).into(),
            Self::NotAList(error) => archive.error(error).into(),
            Self::Rewrite(_) => archive.unreadable("a URL that is too long").into(),
            Self::PartHeadersTooLong => archive.unreadable("a part whose headers are too long").into(),
            Self::SeveralParts => archive.unreadable("more parts than were requested").into(),
            Self::MalformedGzip => archive.unreadable("a malformed gzip body").into(),
            Self::TooLarge => archive.unreadable("a body that is too large when decoded").into(),
            Self::NoXml(_) => archive.unreadable("an object that cannot be written as XML").into(),
            Self::Interrupted => archive.unreadable("something unexpected").into(),
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
            GunzipError::Malformed => Self::MalformedGzip,
            GunzipError::TooLarge => Self::TooLarge,
        }
    }
}

impl From<MultipartError> for StreamError {
    fn from(error: MultipartError) -> Self {
        match error {
            MultipartError::Incomplete => Self::Incomplete,
            MultipartError::HeadersTooLong => Self::PartHeadersTooLong,
            MultipartError::NoParts => Self::Unreadable("a body without any part"),
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
