//! JPEG (ITU-T T.81): Baseline, Extended, Lossless (PS3.5 A.4.1). [`extended`] decodes Extended JPEG of 12 bits, the library
//! `jpeg-decoder` decodes everything else. [`scans`] limits the number of scans.

mod extended;
mod scans;

use jpeg_decoder::{ColorTransform, Decoder, PixelFormat};

use crate::{Cancellation, CodecError, DecodedFrame, FrameLayout, PhotometricInterpretation, Samples};
use scans::CancelableStream;

const MALFORMED: CodecError = CodecError::Malformed("JPEG");

/// Decodes the frame in `stream`.
pub(crate) fn decode(
    stream: &[u8],
    layout: &FrameLayout,
    cancellation: Cancellation<'_>,
) -> Result<DecodedFrame, CodecError> {
    if extended::is_12_bit_extended(stream) {
        let samples = Samples::U16(extended::decode(stream, layout, cancellation)?);
        return Ok(DecodedFrame { samples, photometric_interpretation: layout.photometric_interpretation });
    }
    scans::check_scan_count(stream)?;
    let mut decoder = Decoder::new(CancelableStream::new(stream, cancellation));
    decoder.read_info().map_err(|error| codec_error(&error))?;
    let image_info = decoder.info().ok_or(MALFORMED)?;
    let component_count = match image_info.pixel_format {
        PixelFormat::L8 | PixelFormat::L16 => 1,
        PixelFormat::RGB24 => 3,
        PixelFormat::CMYK32 => 4,
    };
    let size = (usize::from(image_info.height), usize::from(image_info.width), component_count);
    if size != (layout.rows, layout.columns, layout.samples_per_pixel) {
        return Err(CodecError::SizeMismatch("JPEG"));
    }
    // The attributes and the stream together determine the color space. The library knows only the stream, so it must not
    // convert colors.
    if component_count == 3 {
        decoder.set_color_transform(ColorTransform::RGB);
    }
    decoder.set_max_decoding_buffer_size(layout.sample_count() * 2);
    let bytes = decoder.decode().map_err(|error| codec_error(&error))?;
    let values: Vec<u16> = if image_info.pixel_format == PixelFormat::L16 {
        bytes.chunks_exact(2).map(|pair| u16::from_ne_bytes([pair[0], pair[1]])).collect()
    } else {
        bytes.into_iter().map(u16::from).collect()
    };
    if values.len() != layout.sample_count() {
        return Err(MALFORMED);
    }
    let declared_interpretation = layout.photometric_interpretation;
    let photometric_interpretation = if layout.samples_per_pixel == 3 {
        color_space(stream, declared_interpretation)
    } else {
        declared_interpretation
    };
    Ok(DecodedFrame { samples: Samples::U16(values), photometric_interpretation })
}

fn codec_error(error: &jpeg_decoder::Error) -> CodecError {
    match error {
        jpeg_decoder::Error::Io(error) if is_cancellation(error) => CodecError::Canceled,
        jpeg_decoder::Error::Unsupported(_) => CodecError::Unsupported("the JPEG process of its stream"),
        _ => MALFORMED,
    }
}

/// Whether the stream ended because the decoding was canceled.
fn is_cancellation(error: &std::io::Error) -> bool {
    error.get_ref().and_then(|cause| cause.downcast_ref()) == Some(&CodecError::Canceled)
}

/// Returns the color space of `stream`. Some objects declare RGB although the stream contains luminance and chrominance. The
/// component identifiers R, G and B show RGB; without them, JFIF streams are YCbCr (ITU-T T.871), and in other streams the Adobe
/// marker shows the color space.
fn color_space(stream: &[u8], declared: PhotometricInterpretation) -> PhotometricInterpretation {
    match ColorMarkers::read(stream) {
        ColorMarkers { has_rgb_identifiers: true, .. } => PhotometricInterpretation::Rgb,
        ColorMarkers { has_jfif: true, .. } | ColorMarkers { adobe_transform: Some(1), .. } => {
            PhotometricInterpretation::YbrFull
        }
        _ => declared,
    }
}

/// The color information of the markers before the first scan.
#[derive(Debug, Default, PartialEq, Eq)]
struct ColorMarkers {
    has_jfif: bool,
    adobe_transform: Option<u8>,
    has_rgb_identifiers: bool,
}

impl ColorMarkers {
    fn read(stream: &[u8]) -> Self {
        let mut markers = Self::default();
        let mut rest = stream.get(2..).unwrap_or_default();
        while let [0xFF, marker, high, low, ..] = *rest {
            if marker == 0xFF {
                rest = &rest[1..];
                continue;
            }
            let length = usize::from(u16::from_be_bytes([high, low]));
            let Some(segment) = rest.get(4..2 + length.max(2)) else { break };
            match marker {
                0xDA => break,
                0xE0 => markers.has_jfif |= segment.starts_with(b"JFIF"),
                0xEE if segment.starts_with(b"Adobe") => markers.adobe_transform = segment.get(11).copied(),
                // A frame header: precision, lines, columns, and three bytes per component, beginning with its identifier.
                0xC0..=0xC3 => {
                    let identifier = |index: usize| segment.get(6 + 3 * index).copied();
                    markers.has_rgb_identifiers =
                        [identifier(0), identifier(1), identifier(2)] == [Some(b'R'), Some(b'G'), Some(b'B')];
                }
                _ => {}
            }
            rest = &rest[2 + length.max(2)..];
        }
        markers
    }
}
