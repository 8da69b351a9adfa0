//! Renders DICOM images to JPEG, PNG or GIF (PS3.18 8.7.4, 10.4.1.1.3), from the bytes of a DICOM file (PS3.10) and the
//! rendering parameters. Pure functions: does not know about archives, requests or the clock.
//!
//! No input is trusted: values are read in place, memory needs are compared with a limit before memory is allocated,
//! and one frame is decoded at a time. Images that cannot be rendered correctly are rejected with the reason. Overlays
//! and color profiles are not rendered.
//!
//! - [`object`] reads the required attributes, [`pixels`] finds the bytes of one frame, [`dicom_codecs`] decodes its
//!   samples
//! - [`grayscale`] and [`color`] convert samples to gray levels and RGB, with [`window`] and [`lookup_table`]
//! - [`viewport`] crops, scales and flips the image; [`annotation`] burns in patient and technique
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
mod object;
mod pixels;
mod viewport;
mod window;

use bytes::Bytes;
use dicom_codecs::Codec;
use dicom_dictionary_std::tags;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{DynamicImage, GrayImage, RgbImage};

use grayscale::{FrameAttributes, Grayscale};
use object::Object;
use pixels::{Frames, ImagePixelModule};

pub use annotation::Annotation;
pub use dicom_codecs::CodecError;
pub use gif::Animation;
pub use viewport::Viewport;
pub use window::{Window, WindowFunction};

/// Default JPEG quality: no visible loss, at about one tenth of the size.
const DEFAULT_QUALITY: u8 = 90;

/// Why an object cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The object has no pixel data, for example a document or a waveform.
    #[error("the object is not an image and cannot be rendered")]
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
    NoRoom,
    /// Rendering would exceed the memory limit.
    #[error("rendering the object requires more memory than [render] memory allows for one image")]
    TooLarge,
    /// The transfer syntax is not supported.
    #[error(
        "rendering does not support the transfer syntax {0} of the object; request the object or its frames instead"
    )]
    TransferSyntax(String),
    /// Another property of the object is not supported; names the property.
    #[error("rendering does not support {0} of the object; request the object or its frames instead")]
    Unsupported(&'static str),
    /// The object is invalid.
    #[error("the object cannot be rendered: {0}")]
    Broken(&'static str),
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

    /// The media type.
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
pub struct Appearance {
    /// Size of the rendered image and region of the source image.
    pub viewport: Option<Viewport>,
    /// The VOI window.
    pub window: Option<Window>,
    /// JPEG quality from 1 to 100.
    pub quality: Option<u8>,
    /// The annotation to burn in.
    pub annotation: Annotation,
}

/// An image whose frames can be rendered.
#[derive(Debug, Clone)]
pub struct Image {
    object: Object,
    module: ImagePixelModule,
    codec: Codec,
    frames: Frames,
    /// Memory in bytes that rendering can use in addition to the object.
    memory: usize,
}

impl Image {
    /// Reads a DICOM file. The file and all data derived from it must fit in `limit` bytes of memory.
    pub fn open(file: &Bytes, limit: usize) -> Result<Self, RenderError> {
        let memory = limit.checked_sub(file.len()).ok_or(RenderError::TooLarge)?;
        let object = object::read(file, memory)?;
        let module = ImagePixelModule::read(&object.elements)?;
        if object.pixels.is_none() {
            return Err(RenderError::NoImage);
        }
        let codec = Codec::of_transfer_syntax(object.transfer_syntax)
            .ok_or_else(|| RenderError::TransferSyntax(object.transfer_syntax.to_owned()))?;
        let frames = Frames::locate(&object, &module)?;
        let memory = memory.checked_sub(object.inflated).ok_or(RenderError::TooLarge)?;
        Ok(Self { object, module, codec, frames, memory })
    }

    /// Number of frames.
    pub fn frames(&self) -> u32 {
        self.module.frames
    }

    /// Renders `frame`, counted from 1.
    pub fn render(
        &self,
        frame: u32,
        appearance: &Appearance,
        format: Format,
    ) -> Result<Vec<u8>, RenderError> {
        let (layout, frames) = (&self.module.layout, self.module.frames);
        let index = frame.checked_sub(1).filter(|index| *index < frames);
        let index = index.ok_or(RenderError::NoSuchFrame { frames })?;
        let attributes = FrameAttributes::read(&self.object.elements, index)?;
        let (width, height) = (layout.columns() as u32, layout.rows() as u32);
        let geometry = match appearance.viewport {
            Some(viewport) => Some(viewport.geometry(width, height, pixel_aspect(&attributes)?)?),
            None => None,
        };
        let channels = if layout.photometric_interpretation().is_monochrome() { 1 } else { 3 };
        let whole = layout.pixels().saturating_mul(2 * channels);
        let scaled = geometry.map_or(0, |geometry| geometry.memory(channels));
        let (out_width, out_height) =
            geometry.map_or((width, height), |geometry| (geometry.width, geometry.height));
        let encoded = if format == Format::Gif { gif::memory(out_width, out_height, channels) } else { 0 };
        let needed =
            [whole, scaled, encoded].into_iter().fold(self.codec.memory(layout), usize::saturating_add);
        if needed > self.memory {
            return Err(RenderError::TooLarge);
        }
        let data = self.frames.data(&self.object, index)?;
        let decoded = self.codec.decode(&data.encoded(), layout)?;
        let image = if channels == 1 {
            let scale = Grayscale::read(&attributes, layout, appearance.window, &decoded.samples)?;
            let levels = scale.levels(&decoded.samples, layout);
            GrayImage::from_raw(width, height, levels).map(DynamicImage::ImageLuma8)
        } else {
            let rgb = color::rgb_values(&decoded, layout, &self.object.elements)?;
            RgbImage::from_raw(width, height, rgb).map(DynamicImage::ImageRgb8)
        };
        drop(decoded);
        let image =
            image.ok_or(RenderError::Broken("the pixel data are shorter than the image size requires"))?;
        let mut image = match geometry {
            Some(geometry) => geometry.apply(&image),
            None => image,
        };
        let lines = appearance.annotation.lines(&self.object.elements, frame, frames)?;
        annotation::write(&mut image, &lines)?;
        match format {
            Format::Gif => gif::encode(image, gif::delay(&self.object.elements)),
            Format::Jpeg => jpeg(&image, appearance.quality.unwrap_or(DEFAULT_QUALITY)),
            Format::Png => png(&image),
        }
    }
}

/// The ratio of height to width of a pixel, 1 by default (PS3.3 C.7.6.3.1.7, 10.7.1.3).
fn pixel_aspect(attributes: &FrameAttributes<'_>) -> Result<f64, RenderError> {
    let measures = attributes.group(tags::PIXEL_MEASURES_SEQUENCE)?;
    let object = attributes.object();
    let spacing = measures.as_ref().and_then(|measures| measures.decimals(tags::PIXEL_SPACING));
    let spacing = spacing.or_else(|| {
        [
            tags::PIXEL_SPACING,
            tags::IMAGER_PIXEL_SPACING,
            tags::NOMINAL_SCANNED_PIXEL_SPACING,
            tags::PIXEL_ASPECT_RATIO,
        ]
        .into_iter()
        .find_map(|tag| object.decimals(tag))
    });
    // The vertical value is the first one, both in spacings and in the ratio.
    Ok(match spacing.as_deref() {
        Some([vertical, horizontal]) if *vertical > 0.0 && *horizontal > 0.0 => {
            (vertical / horizontal).clamp(0.01, 100.0)
        }
        _ => 1.0,
    })
}

fn png(image: &DynamicImage) -> Result<Vec<u8>, RenderError> {
    let mut bytes = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Adaptive);
    image.write_with_encoder(encoder).map_err(|_| RenderError::TooLarge)?;
    Ok(bytes)
}

/// Encodes JPEG. Encoding fails only if the image is too wide or too high for the format.
fn jpeg(image: &DynamicImage, quality: u8) -> Result<Vec<u8>, RenderError> {
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, quality);
    image.write_with_encoder(encoder).map_err(|_| RenderError::TooLarge)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
