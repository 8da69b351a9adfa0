//! Encodes GIF (GIF89a), the only rendered format other than video that can contain several frames (PS3.18 table 8.7.4-1). Gray
//! levels are lossless; images in color are reduced to 256 colors. This module does not know about DICOM pixel data.

use std::borrow::Cow;

use bytes::Bytes;
use dicom_dictionary_std::tags;
use gif::{Encoder, Frame};
use image::DynamicImage;

use super::RenderError;
use super::object::DataSet;

/// Frame delay in hundredths of a second if the object has no frame rate: the default of browsers.
const DEFAULT_DELAY: f64 = 10.0;

/// Minimum frame delay in hundredths of a second. Browsers replace shorter delays by longer ones.
const MIN_DELAY: f64 = 2.0;

/// The size in bytes of the header and the logical screen descriptor, before the color table.
const HEAD_SIZE: usize = 13;

/// The extension that repeats the animation endlessly.
const LOOP_EXTENSION: &[u8] = b"\x21\xFF\x0BNETSCAPE2.0\x03\x01\0\0\0";

/// Returns the frame delay of an object in hundredths of a second (PS3.3 C.7.6.5, C.12.1.1.1).
pub(super) fn frame_delay(attributes: &DataSet) -> u16 {
    let positive_number = |tag| attributes.decimal(tag).filter(|number| *number > 0.0);
    let rate =
        positive_number(tags::RECOMMENDED_DISPLAY_FRAME_RATE).or_else(|| positive_number(tags::CINE_RATE));
    let delay =
        rate.map(|rate| 100.0 / rate).or_else(|| positive_number(tags::FRAME_TIME).map(|time| time / 10.0));
    delay.unwrap_or(DEFAULT_DELAY).round().clamp(MIN_DELAY, f64::from(u16::MAX)) as u16
}

/// Returns the maximum memory in bytes that encoding needs in addition to the image.
pub(super) fn max_memory(width: u32, height: u32, channels: usize) -> usize {
    // RGBA values, and the palette indices.
    let bytes_per_pixel = if channels == 1 { 1 } else { 5 };
    (width as usize).saturating_mul(height as usize).saturating_mul(bytes_per_pixel)
}

/// Encodes a file with one frame.
pub(super) fn encode(image: DynamicImage, delay: u16) -> Result<Vec<u8>, RenderError> {
    let to_u16 = |length: u32| u16::try_from(length).map_err(|_| RenderError::TooLarge);
    let (width, height) = (to_u16(image.width())?, to_u16(image.height())?);
    let (palette, frame) = match image {
        // A global color table: some readers do not support a local one for gray levels.
        DynamicImage::ImageLuma8(gray) => {
            let buffer = Cow::Owned(gray.into_raw());
            (
                (0..=u8::MAX).flat_map(|level| [level; 3]).collect(),
                Frame { width, height, buffer, ..Frame::default() },
            )
        }
        rgb => (Vec::new(), Frame::from_rgb_speed(width, height, &rgb.into_rgb8(), 10)),
    };
    let too_large = |_| RenderError::TooLarge;
    let mut encoder = Encoder::new(Vec::new(), width, height, &palette).map_err(too_large)?;
    encoder.write_frame(&Frame { delay, ..frame }).map_err(too_large)?;
    encoder.into_inner().map_err(too_large)
}

/// Joins files with one frame each, and with the same width and height, into one animated file.
#[derive(Debug)]
pub struct Animation;

impl Animation {
    /// The trailer after the last frame.
    pub const END: &[u8] = b"\x3B";

    /// Returns the start of the animated file, up to its second frame, from `file`, which contains the first frame.
    pub fn begin(file: &[u8]) -> Bytes {
        let (head, frame) = split(file);
        [head, LOOP_EXTENSION, frame].concat().into()
    }

    /// Returns the frame in `file`, to be appended to the animated file.
    pub fn append(file: &[u8]) -> Bytes {
        Bytes::copy_from_slice(split(file).1)
    }
}

/// Splits a file into its start, including the color table, and its frame.
fn split(file: &[u8]) -> (&[u8], &[u8]) {
    let color_table_size =
        file.get(10).filter(|flags| *flags & 0x80 != 0).map_or(0, |flags| 6 << (flags & 7));
    let (head, rest) = file.split_at_checked(HEAD_SIZE + color_table_size).unwrap_or((file, &[]));
    (head, rest.strip_suffix(Animation::END).unwrap_or(rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::codecs::gif::GifDecoder;
    use image::{AnimationDecoder, GrayImage, RgbImage};
    use std::io::Cursor;

    /// Returns the RGBA values of each frame, and its delay in milliseconds.
    fn frames(file: &[u8]) -> Vec<(Vec<u8>, u32)> {
        let frames = GifDecoder::new(Cursor::new(file)).unwrap().into_frames().collect_frames().unwrap();
        let values_and_delay =
            |frame: &image::Frame| (frame.buffer().as_raw().clone(), frame.delay().numer_denom_ms().0);
        frames.iter().map(values_and_delay).collect()
    }

    fn rgba(levels: &[u8]) -> Vec<u8> {
        levels.iter().flat_map(|level| [*level, *level, *level, 255]).collect()
    }

    #[test]
    fn gray_levels_are_lossless() {
        let levels: Vec<u8> = (0..=255).collect();
        let image = GrayImage::from_raw(16, 16, levels.clone()).unwrap();
        let file = encode(DynamicImage::ImageLuma8(image), 4).unwrap();
        assert_eq!(frames(&file), [(rgba(&levels), 40)]);
    }

    #[test]
    fn image_with_few_colors_is_lossless() {
        let rgb = [[255, 0, 0], [0, 255, 0], [1, 2, 3], [255, 255, 255]].concat();
        let image = RgbImage::from_raw(2, 2, rgb.clone()).unwrap();
        let file = encode(DynamicImage::ImageRgb8(image), 4).unwrap();
        let decoded = &frames(&file)[0].0;
        let decoded_rgb: Vec<u8> = decoded.chunks_exact(4).flat_map(|pixel| pixel[..3].to_vec()).collect();
        assert_eq!(decoded_rgb, rgb);
    }

    #[test]
    fn frames_are_joined_into_one_file() {
        let levels = [vec![1_u8; 6], vec![200; 6], vec![0, 50, 100, 150, 200, 250]];
        let encode_one = |levels: &Vec<u8>| {
            encode(DynamicImage::ImageLuma8(GrayImage::from_raw(3, 2, levels.clone()).unwrap()), 7).unwrap()
        };
        let mut file = Animation::begin(&encode_one(&levels[0])).to_vec();
        for levels in &levels[1..] {
            file.extend_from_slice(&Animation::append(&encode_one(levels)));
        }
        file.extend_from_slice(Animation::END);
        let expected: Vec<_> = levels.iter().map(|levels| (rgba(levels), 70)).collect();
        assert_eq!(frames(&file), expected);
    }
}
