//! JPEG (ITU-T T.81): Baseline, Extended, Lossless (PS3.5 A.4.1). [`extended`] decodes Extended JPEG of 12 bits, the library
//! `jpeg-decoder` decodes everything else.

mod extended;

use jpeg_decoder::{ColorTransform, Decoder, PixelFormat};

use crate::{CodecError, DecodedFrame, FrameLayout, PhotometricInterpretation, Samples};

const BROKEN: CodecError = CodecError::Broken("JPEG");

/// The samples of the frame `stream`.
pub(crate) fn decode(stream: &[u8], layout: &FrameLayout) -> Result<DecodedFrame, CodecError> {
    if extended::is_of_12_bits(stream) {
        let samples = Samples::U16(extended::decode(stream, layout)?);
        return Ok(DecodedFrame { samples, photometric_interpretation: layout.photometric });
    }
    let mut decoder = Decoder::new(stream);
    decoder.read_info().map_err(|error| codec_error(&error))?;
    let info = decoder.info().ok_or(BROKEN)?;
    let samples = match info.pixel_format {
        PixelFormat::L8 | PixelFormat::L16 => 1,
        PixelFormat::RGB24 => 3,
        PixelFormat::CMYK32 => 4,
    };
    let size = (usize::from(info.height), usize::from(info.width), samples);
    if size != (layout.rows, layout.columns, layout.samples) {
        return Err(CodecError::SizeMismatch("JPEG"));
    }
    // The object defines the color space, and the stream may correct it. The library only knows the stream: it must not convert
    // colors.
    if samples == 3 {
        decoder.set_color_transform(ColorTransform::RGB);
    }
    decoder.set_max_decoding_buffer_size(layout.values() * 2);
    let bytes = decoder.decode().map_err(|error| codec_error(&error))?;
    let words: Vec<u16> = if info.pixel_format == PixelFormat::L16 {
        bytes.chunks_exact(2).map(|pair| u16::from_ne_bytes([pair[0], pair[1]])).collect()
    } else {
        bytes.into_iter().map(u16::from).collect()
    };
    if words.len() != layout.values() {
        return Err(BROKEN);
    }
    let declared = layout.photometric;
    let photometric_interpretation = if layout.samples == 3 { colors(stream, declared) } else { declared };
    Ok(DecodedFrame { samples: Samples::U16(words), photometric_interpretation })
}

fn codec_error(error: &jpeg_decoder::Error) -> CodecError {
    match error {
        jpeg_decoder::Error::Unsupported(_) => {
            CodecError::Unsupported("its kind of JPEG, such as arithmetic coding,")
        }
        _ => BROKEN,
    }
}

/// The color space of `stream`. Some objects declare RGB although the stream has luminance and chrominance: JFIF always does
/// (ITU-T T.871), and otherwise the Adobe marker or the names of the components show it.
fn colors(stream: &[u8], declared: PhotometricInterpretation) -> PhotometricInterpretation {
    match Hints::read(stream) {
        Hints { names_red: true, .. } => PhotometricInterpretation::Rgb,
        Hints { jfif: true, .. } | Hints { adobe: Some(1), .. } => PhotometricInterpretation::YbrFull,
        _ => declared,
    }
}

/// The color information of the markers before the first scan.
#[derive(Debug, Default, PartialEq, Eq)]
struct Hints {
    jfif: bool,
    adobe: Option<u8>,
    names_red: bool,
}

impl Hints {
    fn read(stream: &[u8]) -> Self {
        let mut hints = Self::default();
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
                0xE0 => hints.jfif |= segment.starts_with(b"JFIF"),
                0xEE if segment.starts_with(b"Adobe") => hints.adobe = segment.get(11).copied(),
                // A frame header: precision, lines, columns, and three bytes for each component, its name first.
                0xC0..=0xC3 => {
                    let name = |index: usize| segment.get(6 + 3 * index).copied();
                    hints.names_red = [name(0), name(1), name(2)] == [Some(b'R'), Some(b'G'), Some(b'B')];
                }
                _ => {}
            }
            rest = &rest[2 + length.max(2)..];
        }
        hints
    }
}
