//! Renders a frame of an object (PS3.18 10.4.1.1.3): opens the object, and decodes, scales, annotates and encodes the frame.
//! Rendering never panics or exceeds the memory limit. The other modules implement the steps.

use bytes::Bytes;
use dicom_codecs::{Cancellation, Codec};
use dicom_dictionary_std::tags;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{DynamicImage, GrayImage, RgbImage};

use super::grayscale::{FrameAttributes, Grayscale};
use super::object::{self, Object};
use super::pixels::{Frames, ImagePixelModule};
use super::{Format, RenderError, RenderingParameters, annotation, color, gif};

/// The default JPEG quality: without visible loss, and at about one tenth of the size.
const DEFAULT_QUALITY: u8 = 90;

/// An image whose frames can be rendered.
#[derive(Debug, Clone)]
pub struct Image {
    object: Object,
    module: ImagePixelModule,
    codec: Codec,
    frames: Frames,
    /// The memory in bytes that the file and all data derived from it may use.
    limit: usize,
    /// The memory that the file and its parsed form use.
    object_memory: usize,
}

impl Image {
    /// Reads a DICOM file. The file and all data derived from it must fit in `limit` bytes of memory.
    pub fn open(file: &Bytes, limit: usize) -> Result<Self, RenderError> {
        let limit_of_derived = limit.checked_sub(file.len()).ok_or(RenderError::TooLarge)?;
        let object = object::read(file, limit_of_derived)?;
        if object.pixels.is_none() {
            return Err(RenderError::NoImage);
        }
        let codec = Codec::of_transfer_syntax(object.transfer_syntax)
            .ok_or_else(|| RenderError::TransferSyntax(object.transfer_syntax.to_owned()))?;
        let module = ImagePixelModule::read(&object.elements)?;
        let derived_memory = object.memory + Frames::max_memory(&object, module.frame_count);
        if derived_memory > limit_of_derived {
            return Err(RenderError::TooLarge);
        }
        let frames = Frames::locate(&object, &module)?;
        Ok(Self { object, module, codec, frames, limit, object_memory: file.len() + derived_memory })
    }

    /// Sets the memory in bytes that the file and all data derived from it may use.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Returns the Study, Series and SOP Instance UIDs of the object; `None` for those that it lacks.
    pub fn uids(&self) -> [Option<String>; 3] {
        [tags::STUDY_INSTANCE_UID, tags::SERIES_INSTANCE_UID, tags::SOP_INSTANCE_UID]
            .map(|tag| self.object.elements.text(tag))
    }

    /// Returns the number of frames.
    pub fn frame_count(&self) -> u32 {
        self.module.frame_count
    }

    /// Renders `frame`, starting at 1.
    pub fn render(
        &self,
        frame: u32,
        parameters: &RenderingParameters,
        format: Format,
    ) -> Result<Vec<u8>, RenderError> {
        self.render_unless_canceled(frame, parameters, format, Cancellation::never())
    }

    /// Renders like [`render`](Self::render), but returns an error soon after `cancellation` takes effect.
    pub fn render_unless_canceled(
        &self,
        frame: u32,
        parameters: &RenderingParameters,
        format: Format,
        cancellation: Cancellation<'_>,
    ) -> Result<Vec<u8>, RenderError> {
        let (layout, frame_count) = (&self.module.layout, self.module.frame_count);
        let index = frame.checked_sub(1).filter(|index| *index < frame_count);
        let index = index.ok_or(RenderError::NoSuchFrame { frames: frame_count })?;
        let attributes = FrameAttributes::read(&self.object.elements, index)?;
        let (width, height) = (layout.columns() as u32, layout.rows() as u32);
        let geometry = match parameters.viewport {
            Some(viewport) => Some(viewport.geometry(width, height, pixel_aspect(&attributes)?)?),
            None => None,
        };
        let channels = if layout.photometric_interpretation().is_monochrome() { 1 } else { 3 };
        let converted_memory = layout.pixel_count().saturating_mul(2 * channels);
        let scaling_memory = geometry.map_or(0, |geometry| geometry.max_memory(channels));
        let (output_width, output_height) =
            geometry.map_or((width, height), |geometry| (geometry.width, geometry.height));
        let encoding_memory =
            if format == Format::Gif { gif::max_memory(output_width, output_height, channels) } else { 0 };
        let joined_size = self.frames.joined_size(&self.object, index);
        let required_memory =
            [converted_memory, scaling_memory, encoding_memory, joined_size, self.object_memory]
                .into_iter()
                .fold(self.codec.max_memory(layout), usize::saturating_add);
        if required_memory > self.limit {
            return Err(RenderError::TooLarge);
        }
        let data = self.frames.data(&self.object, index)?;
        let decoded = self.codec.decode_unless_canceled(&data.encoded(), layout, cancellation)?;
        cancellation.check()?;
        let image = if channels == 1 {
            let transformation = Grayscale::read(&attributes, layout, parameters.window, &decoded.samples)?;
            let levels = transformation.levels(&decoded.samples, layout);
            GrayImage::from_raw(width, height, levels).map(DynamicImage::ImageLuma8)
        } else {
            let rgb = color::rgb_values(&decoded, layout, &self.object.elements)?;
            RgbImage::from_raw(width, height, rgb).map(DynamicImage::ImageRgb8)
        };
        drop(decoded);
        let image =
            image.ok_or(RenderError::Malformed("the pixel data is shorter than the image size requires"))?;
        cancellation.check()?;
        let mut image = match geometry {
            Some(geometry) => geometry.apply(&image),
            None => image,
        };
        let lines = parameters.annotation.lines(&self.object.elements, frame, frame_count)?;
        annotation::write(&mut image, &lines)?;
        cancellation.check()?;
        match format {
            Format::Gif => gif::encode(image, gif::frame_delay(&self.object.elements)),
            Format::Jpeg => encode_jpeg(&image, parameters.quality.unwrap_or(DEFAULT_QUALITY)),
            Format::Png => encode_png(&image),
        }
    }
}

/// Returns the ratio of height to width of a pixel, 1 by default (PS3.3 C.7.6.3.1.7, 10.7.1.3).
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

fn encode_png(image: &DynamicImage) -> Result<Vec<u8>, RenderError> {
    let mut bytes = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Adaptive);
    image.write_with_encoder(encoder).map_err(|_| RenderError::TooLarge)?;
    Ok(bytes)
}

/// Encodes JPEG. Fails only if the image is too wide or too high for the format.
fn encode_jpeg(image: &DynamicImage, quality: u8) -> Result<Vec<u8>, RenderError> {
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, quality);
    image.write_with_encoder(encoder).map_err(|_| RenderError::TooLarge)?;
    Ok(bytes)
}
