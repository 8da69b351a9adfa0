//! Pictures for people, made of DICOM images (PS3.18 8.7.4, 10.4.1.1.3): from the bytes of a Part 10 object and the
//! parameters of a request to PNG, JPEG or GIF. Functions only: this room knows no archive, no request and no clock.
//!
//! Nothing is trusted: values are read in place, sizes are compared with a limit of memory before room is made for
//! anything, and one frame is decoded at a time. What cannot be drawn as it is meant is refused, with the reason; overlays
//! and colour profiles are not drawn.
//!
//! - [`object`] finds the few attributes that matter, [`pixels`] the bytes of one frame, [`dicom_codecs`] decodes its samples
//! - [`grey`] and [`colour`] turn them into levels and colours, by [`window`] and [`lookup_table`]
//! - [`viewport`] cuts out, scales and turns round; [`annotation`] writes into it whose it is
//! - [`gif`](mod@gif) makes one picture of several frames

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
use pixels::ImagePixelModule;

pub use annotation::Annotation;
pub use dicom_codecs::CodecError;
pub use gif::Animation;
pub use viewport::Viewport;
pub use window::{Window, WindowFunction};

/// What a JPEG has where no quality is asked for: nothing to be seen is lost of it, at a tenth of the size.
const QUALITY: u8 = 90;

/// Why there is no picture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// It has no pixels, as documents, measurements and waveforms have none.
    #[error("the object is no image, so that there is nothing to draw")]
    NoImage,
    /// There are fewer frames.
    #[error("the object has no such frame, but {frames}")]
    NoSuchFrame {
        /// As many as there are.
        frames: u32,
    },
    /// The region that is asked for is not all within the image.
    #[error("the source region of the viewport lies outside of the image")]
    OutsideOfImage,
    /// The picture is too small for what is to be written into it.
    #[error("the picture is too small for its annotation: ask for a larger viewport")]
    NoRoom,
    /// It takes more memory than one picture may.
    #[error("the object or the picture is larger than what [render] memory allows for one")]
    TooLarge,
    /// What it is encoded with cannot be decoded here.
    #[error("the object's transfer syntax {0} cannot be decoded here; ask for the object or its frames")]
    TransferSyntax(String),
    /// Something else of it is not known here.
    #[error("the object has {0} that cannot be drawn here; ask for the object or its frames")]
    Unsupported(&'static str),
    /// It contradicts itself.
    #[error("the object cannot be drawn: {0}")]
    Broken(&'static str),
    /// Its frame cannot be decoded.
    #[error("the object cannot be drawn: {0}; ask for the object or its frames")]
    Codec(#[from] CodecError),
}

/// The formats of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The default of images (PS3.18 table 8.7.4-1).
    Jpeg,
    /// Without loss.
    Png,
    /// Of 256 colours, which is all levels of grey; a picture may have several frames.
    Gif,
}

impl Format {
    /// Each, the default first.
    pub const ALL: [Self; 3] = [Self::Jpeg, Self::Png, Self::Gif];

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Gif => "image/gif",
        }
    }
}

/// How a picture is to look; what is not said is as the image says it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Appearance {
    /// Its size, and which part of the image it shows.
    pub viewport: Option<Viewport>,
    /// What is black and what is white.
    pub window: Option<Window>,
    /// That of a JPEG, from 1 to 100.
    pub quality: Option<u8>,
    /// What is written into it.
    pub annotation: Annotation,
}

/// An image whose frames can be drawn.
#[derive(Debug, Clone)]
pub struct Image {
    object: Object,
    module: ImagePixelModule,
    codec: Codec,
    /// The fragments of each frame, where it has some.
    frames: Vec<Vec<usize>>,
    /// Bytes that drawing may take besides the object.
    room: usize,
}

impl Image {
    /// Reads the Part 10 object `file`. With everything that is made of it, it may take `limit` bytes of memory.
    pub fn open(file: &Bytes, limit: usize) -> Result<Self, RenderError> {
        let room = limit.checked_sub(file.len()).ok_or(RenderError::TooLarge)?;
        let object = object::read(file, room)?;
        let module = ImagePixelModule::read(&object.elements)?;
        if object.pixels.is_none() {
            return Err(RenderError::NoImage);
        }
        let codec = Codec::of_transfer_syntax(object.transfer_syntax)
            .ok_or_else(|| RenderError::TransferSyntax(object.transfer_syntax.to_owned()))?;
        let frames = pixels::frames(&object, &module)?;
        let room = room.checked_sub(object.inflated).ok_or(RenderError::TooLarge)?;
        Ok(Self { object, module, codec, frames, room })
    }

    /// How many frames it has.
    pub fn frames(&self) -> u32 {
        self.module.frames
    }

    /// The picture of `frame`, counted from 1.
    pub fn draw(&self, frame: u32, appearance: &Appearance, format: Format) -> Result<Vec<u8>, RenderError> {
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
        let drawn = geometry.map_or(0, |geometry| geometry.memory(channels));
        let (wide, high) = geometry.map_or((width, height), |geometry| (geometry.width, geometry.height));
        let encoded = if format == Format::Gif { gif::memory(wide, high, channels) } else { 0 };
        let taken =
            [whole, drawn, encoded].into_iter().fold(self.codec.memory(layout), usize::saturating_add);
        if taken > self.room {
            return Err(RenderError::TooLarge);
        }
        let data = pixels::stretch(&self.object, &self.module, &self.frames, index)?;
        let decoded = self.codec.decode(&data.encoded(), layout)?;
        let picture = if channels == 1 {
            let scale = Grayscale::read(&attributes, layout, appearance.window, &decoded.samples)?;
            let levels = scale.levels(&decoded.samples, layout);
            GrayImage::from_raw(width, height, levels).map(DynamicImage::ImageLuma8)
        } else {
            let colours = color::colours(&decoded, layout, &self.object.elements)?;
            RgbImage::from_raw(width, height, colours).map(DynamicImage::ImageRgb8)
        };
        drop(decoded);
        let picture = picture.ok_or(RenderError::Broken("it has fewer pixels than it says"))?;
        let mut picture = match geometry {
            Some(geometry) => geometry.apply(&picture),
            None => picture,
        };
        let lines = appearance.annotation.lines(&self.object.elements, frame, frames)?;
        annotation::write(&mut picture, &lines)?;
        match format {
            Format::Gif => gif::encode(picture, gif::delay(&self.object.elements)),
            Format::Jpeg => jpeg(&picture, appearance.quality.unwrap_or(QUALITY)),
            Format::Png => png(&picture),
        }
    }
}

/// How many times as high as wide a pixel is; a square one where nothing is said (PS3.3 C.7.6.3.1.7, 10.7.1.3).
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
    // Both the spacing and the ratio name the vertical first.
    Ok(match spacing.as_deref() {
        Some([vertical, horizontal]) if *vertical > 0.0 && *horizontal > 0.0 => {
            (vertical / horizontal).clamp(0.01, 100.0)
        }
        _ => 1.0,
    })
}

fn png(picture: &DynamicImage) -> Result<Vec<u8>, RenderError> {
    let mut bytes = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Adaptive);
    picture.write_with_encoder(encoder).map_err(|_| RenderError::TooLarge)?;
    Ok(bytes)
}

/// What cannot be written is too wide or too high for the format.
fn jpeg(picture: &DynamicImage, quality: u8) -> Result<Vec<u8>, RenderError> {
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, quality);
    picture.write_with_encoder(encoder).map_err(|_| RenderError::TooLarge)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
