//! Compares an image that an archive renders with the image that the gateway renders from the same object.

use std::fmt;
use std::io::Cursor;

use image::{ImageReader, RgbImage};

/// The mean difference of pixel values, from 0 to 255, that a correct lossless image may have: rounding, lossy decoders and color conversions
/// differ by less.
const TOLERANCE: f64 = 3.0;

/// The beginning of a PNG file.
const PNG_SIGNATURE: &[u8] = b"\x89PNG";

/// How an image of an archive differs from the image of the gateway.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum ImageDifference {
    /// It cannot be decoded.
    NotAnImage,
    /// It has other numbers of columns and rows: those of the archive, and those of the gateway.
    Size((u32, u32), (u32, u32)),
    /// The mean difference of its pixel values exceeds the tolerance.
    Values {
        /// The mean difference.
        mean: f64,
        /// The tolerance.
        tolerance: f64,
    },
}

impl fmt::Display for ImageDifference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnImage => formatter.write_str("it is not a PNG or JPEG image"),
            Self::Size((columns, rows), (expected_columns, expected_rows)) => write!(
                formatter,
                "it has {columns} x {rows} pixels instead of {expected_columns} x {expected_rows}"
            ),
            Self::Values { mean, tolerance } => {
                write!(
                    formatter,
                    "its values differ by {mean:.1} of 255 on average (tolerance {tolerance:.1})"
                )
            }
        }
    }
}

/// An image of the gateway, with which an image of the archive is compared.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ReferenceImage {
    pixels: RgbImage,
    /// The mean difference that a JPEG of low quality has from the image.
    jpeg_loss: f64,
}

impl ReferenceImage {
    /// Decodes `png`, and `jpeg`, which contains the same image in low quality. `None` if one cannot be decoded.
    pub(super) fn decode(png: &[u8], jpeg: &[u8]) -> Option<Self> {
        let pixels = decode(png)?;
        let jpeg_loss = mean_difference(&pixels, &decode(jpeg)?)?;
        Some(Self { pixels, jpeg_loss })
    }

    /// Returns the numbers of columns and rows.
    pub(super) fn dimensions(&self) -> (u32, u32) {
        self.pixels.dimensions()
    }

    /// Returns the mean difference from `other`; `None` if the sizes differ.
    pub(super) fn difference_from(&self, other: &Self) -> Option<f64> {
        mean_difference(&self.pixels, &other.pixels)
    }

    /// Compares `image`, a PNG or JPEG file of the archive, with this image.
    pub(super) fn compare(&self, image: &[u8]) -> Result<(), ImageDifference> {
        // An image of another size is not decoded, so that its memory is bounded.
        let dimensions = reader(image)
            .and_then(|reader| reader.into_dimensions().ok())
            .ok_or(ImageDifference::NotAnImage)?;
        if dimensions != self.dimensions() {
            return Err(ImageDifference::Size(dimensions, self.dimensions()));
        }
        let pixels = decode(image).ok_or(ImageDifference::NotAnImage)?;
        let mean = mean_difference(&self.pixels, &pixels).ok_or(ImageDifference::NotAnImage)?;
        let jpeg_loss = if image.starts_with(PNG_SIGNATURE) { 0.0 } else { self.jpeg_loss };
        let tolerance = TOLERANCE + jpeg_loss;
        if mean > tolerance { Err(ImageDifference::Values { mean, tolerance }) } else { Ok(()) }
    }
}

fn reader(image: &[u8]) -> Option<ImageReader<Cursor<&[u8]>>> {
    ImageReader::new(Cursor::new(image)).with_guessed_format().ok()
}

fn decode(image: &[u8]) -> Option<RgbImage> {
    reader(image)?.decode().ok().map(|image| image.to_rgb8())
}

/// Returns the mean difference of the values of two images; `None` if their sizes differ.
fn mean_difference(left: &RgbImage, right: &RgbImage) -> Option<f64> {
    if left.dimensions() != right.dimensions() {
        return None;
    }
    let differences = left.as_raw().iter().zip(right.as_raw()).map(|(left, right)| left.abs_diff(*right));
    let (sum, count) =
        differences.fold((0.0, 0.0), |(sum, count), value| (sum + f64::from(value), count + 1.0));
    (count > 0.0).then(|| sum / count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::codecs::jpeg::JpegEncoder;
    use image::{GrayImage, ImageFormat, Luma};

    /// A gradient with a line pattern, which JPEG changes, of which `adjust` changes the values.
    fn image_of(width: u32, adjust: impl Fn(u8) -> u8) -> GrayImage {
        GrayImage::from_fn(width, 48, |x, y| {
            let pattern = if (x * 7 + y * 3) % 5 == 0 { 60 } else { 0 };
            Luma([adjust(u8::try_from(x * 2 + y + pattern).unwrap())])
        })
    }

    fn png(image: &GrayImage) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    fn jpeg(image: &GrayImage, quality: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        image.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, quality)).unwrap();
        bytes
    }

    fn reference() -> ReferenceImage {
        let image = image_of(64, |value| value);
        ReferenceImage::decode(&png(&image), &jpeg(&image, 50)).unwrap()
    }

    #[test]
    fn the_same_pixels_match_in_png_and_in_jpeg_of_any_usual_quality() {
        let image = image_of(64, |value| value);
        assert_eq!(reference().compare(&png(&image)), Ok(()));
        for quality in [50, 75, 95] {
            assert_eq!(reference().compare(&jpeg(&image, quality)), Ok(()), "{quality}");
        }
    }

    #[test]
    fn a_lossless_image_may_differ_by_the_tolerance_and_not_more() {
        assert_eq!(reference().compare(&png(&image_of(64, |value| value + 3))), Ok(()));
        let darker = image_of(64, |value| value + 4);
        let difference = ImageDifference::Values { mean: 4.0, tolerance: 3.0 };
        assert_eq!(reference().compare(&png(&darker)), Err(difference));
        assert_eq!(difference.to_string(), "its values differ by 4.0 of 255 on average (tolerance 3.0)");
    }

    #[test]
    fn a_shifted_window_is_detected_in_png_and_in_jpeg() {
        let shifted = image_of(64, |value| value.saturating_sub(30));
        for image in [png(&shifted), jpeg(&shifted, 90)] {
            assert!(matches!(reference().compare(&image), Err(ImageDifference::Values { .. })));
        }
        let inverted = image_of(64, |value| 255 - value);
        assert!(matches!(reference().compare(&jpeg(&inverted, 90)), Err(ImageDifference::Values { .. })));
    }

    #[test]
    fn an_image_of_another_size_and_a_file_that_is_not_an_image_are_detected() {
        let wider = image_of(65, |value| value);
        assert_eq!(reference().compare(&png(&wider)), Err(ImageDifference::Size((65, 48), (64, 48))));
        let image = png(&image_of(64, |value| value));
        for bytes in [b"".as_slice(), b"<html>", &image[..image.len() / 2], &image[..20]] {
            assert_eq!(reference().compare(bytes), Err(ImageDifference::NotAnImage));
        }
    }

    #[test]
    fn a_reference_differs_from_an_image_of_another_window_but_not_from_itself() {
        let other = image_of(64, |value| value / 2);
        let other = ReferenceImage::decode(&png(&other), &jpeg(&other, 50)).unwrap();
        assert_eq!(reference().difference_from(&reference()), Some(0.0));
        assert!(reference().difference_from(&other).unwrap() > 16.0);
    }
}
