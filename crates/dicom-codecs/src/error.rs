//! The errors of decoding. In the texts, "its" refers to the object. They name formats and features, never data of an object.

/// Why a frame cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The frame may be correct, but it uses a feature that this crate does not decode.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
    /// The Image Pixel attributes contradict each other.
    #[error("its Image Pixel attributes contradict each other")]
    ContradictoryAttributes,
    /// The pixel data is native although the transfer syntax is compressed, or the reverse.
    #[error("its pixel data is not encoded in its transfer syntax")]
    NotInTransferSyntax,
    /// The native pixel data has fewer bytes than the frame has samples.
    #[error("its pixel data is shorter than its attributes require")]
    TooShort,
    /// The numbers of rows, columns or components in the bit stream of this format differ from the attributes.
    #[error("the image size in its {0} stream does not match its attributes")]
    SizeMismatch(&'static str),
    /// The caller canceled the decoding.
    #[error("decoding was canceled")]
    Canceled,
    /// The bit stream of this format contradicts itself, or is truncated.
    #[error("its {0} stream is malformed")]
    Malformed(&'static str),
}
