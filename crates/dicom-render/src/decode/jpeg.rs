//! JPEG (ITU-T T.81): baseline, extended, lossless. Extended JPEG of 12 bits is read here, all else by a library.

mod extended;

use jpeg_decoder::{ColorTransform, Decoder, PixelFormat};

use super::{Decoded, Samples};
use crate::RenderError;
use crate::pixels::{ImagePixelModule, Photometric};

const BROKEN: RenderError = RenderError::Broken("its JPEG stream is broken");

/// The samples of the frame `stream`.
pub(super) fn decode(stream: &[u8], layout: &ImagePixelModule) -> Result<Decoded, RenderError> {
    if extended::is_of_12_bits(stream) {
        let samples = Samples::Words(extended::decode(stream, layout)?);
        return Ok(Decoded { samples, photometric: layout.photometric });
    }
    let mut decoder = Decoder::new(stream);
    decoder.read_info().map_err(|error| refusal(&error))?;
    let info = decoder.info().ok_or(BROKEN)?;
    let samples = match info.pixel_format {
        PixelFormat::L8 | PixelFormat::L16 => 1,
        PixelFormat::RGB24 => 3,
        PixelFormat::CMYK32 => 4,
    };
    let size = (usize::from(info.height), usize::from(info.width), samples);
    if size != (layout.rows, layout.columns, layout.samples) {
        return Err(RenderError::Broken("its JPEG stream has another size than it says"));
    }
    // Colours are told by the object, corrected by what the stream says: the decoder does not know the former, and is told
    // that there is nothing to convert.
    if samples == 3 {
        decoder.set_color_transform(ColorTransform::RGB);
    }
    decoder.set_max_decoding_buffer_size(layout.values() * 2);
    let bytes = decoder.decode().map_err(|error| refusal(&error))?;
    let words: Vec<u16> = if info.pixel_format == PixelFormat::L16 {
        bytes.chunks_exact(2).map(|pair| u16::from_ne_bytes([pair[0], pair[1]])).collect()
    } else {
        bytes.into_iter().map(u16::from).collect()
    };
    if words.len() != layout.values() {
        return Err(BROKEN);
    }
    let photometric =
        if layout.samples == 3 { colours(stream, layout.photometric) } else { layout.photometric };
    Ok(Decoded { samples: Samples::Words(words), photometric })
}

fn refusal(error: &jpeg_decoder::Error) -> RenderError {
    match error {
        jpeg_decoder::Error::Unsupported(_) => {
            RenderError::Unsupported("a kind of JPEG, such as one with arithmetic codes,")
        }
        _ => BROKEN,
    }
}

/// What the colours of `stream` are. Objects say RGB where the stream holds luminance and chrominance: JFIF always does
/// (ITU-T T.871), Adobe's marker says it, and so do the components' names.
fn colours(stream: &[u8], declared: Photometric) -> Photometric {
    match Hints::read(stream) {
        Hints { names_red: true, .. } => Photometric::Rgb,
        Hints { jfif: true, .. } | Hints { adobe: Some(1), .. } => Photometric::YbrFull,
        _ => declared,
    }
}

/// What the markers before the first scan say of colours.
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
