//! GIF (GIF89a), the one format of single pictures that may have several frames (PS3.18 table 8.7.4-1): levels of grey stay as
//! they are, colours become the 256 that come nearest.

use std::borrow::Cow;

use bytes::Bytes;
use dicom_dictionary_std::tags;
use gif::{Encoder, Frame};
use image::DynamicImage;

use super::RenderError;
use super::object::DataSet;

/// In hundredths of a second, where the object does not say how fast its frames follow each other: what browsers take where
/// a picture does not say it.
const USUAL_DELAY: f64 = 10.0;

/// Browsers slow down whatever is faster.
const MIN_DELAY: f64 = 2.0;

/// What every file begins with, up to its table of colours.
const HEAD: usize = 13;

/// Says that the frames are shown again and again.
const AGAIN: &[u8] = b"\x21\xFF\x0BNETSCAPE2.0\x03\x01\0\0\0";

/// How long a frame is shown, in hundredths of a second (PS3.3 C.7.6.5, C.12.1.1.1).
pub(super) fn delay(attributes: &DataSet) -> u16 {
    let positive = |tag| attributes.decimal(tag).filter(|number| *number > 0.0);
    let rate = positive(tags::RECOMMENDED_DISPLAY_FRAME_RATE).or_else(|| positive(tags::CINE_RATE));
    let delay = rate.map(|rate| 100.0 / rate).or_else(|| positive(tags::FRAME_TIME).map(|time| time / 10.0));
    delay.unwrap_or(USUAL_DELAY).round().clamp(MIN_DELAY, f64::from(u16::MAX)) as u16
}

/// Bytes of memory that encoding takes at most, besides the picture.
pub(super) fn memory(width: u32, height: u32, channels: usize) -> usize {
    // Colours with an opacity, and the numbers of those that are left.
    let for_a_pixel = if channels == 1 { 1 } else { 5 };
    (width as usize).saturating_mul(height as usize).saturating_mul(for_a_pixel)
}

/// A whole file of one frame.
pub(super) fn encode(picture: DynamicImage, delay: u16) -> Result<Vec<u8>, RenderError> {
    let side = |length: u32| u16::try_from(length).map_err(|_| RenderError::TooLarge);
    let (width, height) = (side(picture.width())?, side(picture.height())?);
    let (palette, frame) = match picture {
        // For all frames together: some readers take no other table of greys.
        DynamicImage::ImageLuma8(grey) => {
            let buffer = Cow::Owned(grey.into_raw());
            (
                (0..=u8::MAX).flat_map(|level| [level; 3]).collect(),
                Frame { width, height, buffer, ..Frame::default() },
            )
        }
        colours => (Vec::new(), Frame::from_rgb_speed(width, height, &colours.into_rgb8(), 10)),
    };
    let broken = |_| RenderError::TooLarge;
    let mut encoder = Encoder::new(Vec::new(), width, height, &palette).map_err(broken)?;
    encoder.write_frame(&Frame { delay, ..frame }).map_err(broken)?;
    encoder.into_inner().map_err(broken)
}

/// One file of several frames, made of files of one frame each that are equally large.
#[derive(Debug)]
pub struct Animation;

impl Animation {
    /// What stands behind the last frame.
    pub const END: &[u8] = b"\x3B";

    /// The file up to its second frame, made of `file`, which holds the first.
    pub fn begin(file: &[u8]) -> Bytes {
        let (head, frame) = parted(file);
        [head, AGAIN, frame].concat().into()
    }

    /// The frame that `file` holds.
    pub fn go_on(file: &[u8]) -> Bytes {
        Bytes::copy_from_slice(parted(file).1)
    }
}

/// The head with its table of colours, and the frame.
fn parted(file: &[u8]) -> (&[u8], &[u8]) {
    let table = file.get(10).filter(|flags| *flags & 0x80 != 0).map_or(0, |flags| 6 << (flags & 7));
    let (head, rest) = file.split_at_checked(HEAD + table).unwrap_or((file, &[]));
    (head, rest.strip_suffix(Animation::END).unwrap_or(rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::codecs::gif::GifDecoder;
    use image::{AnimationDecoder, GrayImage, RgbImage};
    use std::io::Cursor;

    fn frames(file: &[u8]) -> Vec<(Vec<u8>, u32)> {
        let frames = GifDecoder::new(Cursor::new(file)).unwrap().into_frames().collect_frames().unwrap();
        let frame =
            |frame: &image::Frame| (frame.buffer().as_raw().clone(), frame.delay().numer_denom_ms().0);
        frames.iter().map(frame).collect()
    }

    fn rgba(levels: &[u8]) -> Vec<u8> {
        levels.iter().flat_map(|level| [*level, *level, *level, 255]).collect()
    }

    #[test]
    fn every_level_of_grey_stays_as_it_is() {
        let levels: Vec<u8> = (0..=255).collect();
        let picture = GrayImage::from_raw(16, 16, levels.clone()).unwrap();
        let file = encode(DynamicImage::ImageLuma8(picture), 4).unwrap();
        assert_eq!(frames(&file), [(rgba(&levels), 40)]);
    }

    #[test]
    fn few_colours_stay_as_they_are() {
        let colours = [[255, 0, 0], [0, 255, 0], [1, 2, 3], [255, 255, 255]].concat();
        let picture = RgbImage::from_raw(2, 2, colours.clone()).unwrap();
        let file = encode(DynamicImage::ImageRgb8(picture), 4).unwrap();
        let shown = &frames(&file)[0].0;
        let without_opacity: Vec<u8> = shown.chunks_exact(4).flat_map(|pixel| pixel[..3].to_vec()).collect();
        assert_eq!(without_opacity, colours);
    }

    #[test]
    fn frames_follow_each_other_in_one_file() {
        let levels = [vec![1_u8; 6], vec![200; 6], vec![0, 50, 100, 150, 200, 250]];
        let one = |levels: &Vec<u8>| {
            encode(DynamicImage::ImageLuma8(GrayImage::from_raw(3, 2, levels.clone()).unwrap()), 7).unwrap()
        };
        let mut file = Animation::begin(&one(&levels[0])).to_vec();
        for levels in &levels[1..] {
            file.extend_from_slice(&Animation::go_on(&one(levels)));
        }
        file.extend_from_slice(Animation::END);
        let shown: Vec<_> = levels.iter().map(|levels| (rgba(levels), 70)).collect();
        assert_eq!(frames(&file), shown);
    }
}
