//! Renders DICOM images to JPEG, PNG or GIF (PS3.18 8.7.4, 10.4.1.1.3), from the bytes of a DICOM file (PS3.10) and the rendering
//! parameters. This crate consists of pure functions: it does not know about archives, requests or the clock.
//!
//! Input is not trusted: values are read in place, the required memory is compared with a limit before it is allocated, and one
//! frame is decoded at a time. Images that cannot be rendered correctly are rejected with the reason. Overlays and color
//! profiles are not rendered.
//!
//! - [`render`] renders a frame; the other modules are its steps
//! - [`object`] reads the required attributes, [`pixels`] finds the bytes of one frame, [`dicom_codecs`] decodes its
//!   samples
//! - [`grayscale`] and [`color`] convert samples to gray levels and RGB, with [`window`] and [`lookup_table`]
//! - [`viewport`] crops, scales and flips the image, and bounds its size; [`annotation`] burns in patient and technique
//! - [`gif`](mod@gif) encodes animated images

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "numbers are bounded by their bits before they are cast, and floating point numbers saturate"
)]

mod annotation;
mod color;
mod gif;
mod grayscale;
mod lookup_table;
mod number;
mod object;
mod pixels;
mod render;
mod viewport;
mod window;

pub use annotation::Annotation;
pub use dicom_codecs::{Cancellation, CodecError};
pub use gif::Animation;
pub use render::Image;
pub use viewport::{MAX_VIEWPORT_AREA, MAX_VIEWPORT_SIDE, Viewport};
pub use window::{Window, WindowFunction};

/// Why an object cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The object has no pixel data, for example a document or a waveform.
    #[error("the object cannot be rendered: it is not an image")]
    NoImage,
    /// The object has fewer frames.
    #[error("the object does not have this frame; its number of frames is {frames}")]
    NoSuchFrame {
        /// Number of frames of the object.
        frames: u32,
    },
    /// The requested region is not completely inside the image.
    #[error("the source region of the viewport is outside the image")]
    OutsideOfImage,
    /// The rendered image is too small for the annotation.
    #[error("the rendered image is too small for the annotation; request a larger viewport")]
    ViewportTooSmall,
    /// Rendering would exceed the memory limit.
    #[error("rendering the object requires more memory than [render] memory allows for one image")]
    TooLarge,
    /// The transfer syntax is not supported.
    #[error(
        "the object cannot be rendered: the transfer syntax {0} is not supported; request the object or its frames instead"
    )]
    TransferSyntax(String),
    /// Another property of the object is not supported. The text names the property.
    #[error("the object cannot be rendered: {0} is not supported; request the object or its frames instead")]
    Unsupported(&'static str),
    /// The object is invalid.
    #[error("the object cannot be rendered: {0}")]
    Malformed(&'static str),
    /// The frame cannot be decoded.
    #[error("the object cannot be rendered: {0}; request the object or its frames instead")]
    Codec(#[from] CodecError),
}

/// The formats of rendered images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JPEG, the default (PS3.18 table 8.7.4-1).
    Jpeg,
    /// PNG, lossless.
    Png,
    /// GIF, with 256 colors or all gray levels, and possibly with several frames.
    Gif,
}

impl Format {
    /// All formats, the default first.
    pub const ALL: [Self; 3] = [Self::Jpeg, Self::Png, Self::Gif];

    /// Returns the media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Gif => "image/gif",
        }
    }
}

/// The rendering parameters. A missing parameter is determined by the object.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RenderingParameters {
    /// Size of the rendered image and region of the source image.
    pub viewport: Option<Viewport>,
    /// The VOI window.
    pub window: Option<Window>,
    /// JPEG quality from 1 to 100.
    pub quality: Option<u8>,
    /// The annotation to burn in.
    pub annotation: Annotation,
}

#[cfg(test)]
mod tests;
