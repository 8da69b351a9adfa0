//! The viewport: crops, flips and scales an image (PS3.18 8.3.5.1.3). This module does not know about gray levels.
//!
//! The limits apply to every renderer, because some archives allocate the requested size without a limit and crash.

use image::DynamicImage;
use image::imageops::FilterType;

use super::RenderError;
use super::number::parse_decimal;

/// Maximum width and height of a rendered image in pixels, which is above that of any display.
pub const MAX_VIEWPORT_SIDE: u32 = 8192;

/// Maximum number of pixels of a rendered image: a display of 7680 by 4320 pixels fits.
pub const MAX_VIEWPORT_AREA: u64 = 1 << 25;

/// Maximum coordinate in a source image: Rows and Columns have 16 bits (PS3.3 C.7.6.3.1).
const MAX_COORDINATE: f64 = 65_535.0;

/// A region of the image that is scaled to fit a rectangle without distortion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Viewport {
    width: u32,
    height: u32,
    left: f64,
    top: f64,
    /// The width of the region, negative to flip horizontally. `None` means the rest of the image.
    source_width: Option<f64>,
    /// The height of the region, negative to flip vertically. `None` means the rest of the image.
    source_height: Option<f64>,
}

impl Viewport {
    /// Creates a viewport for the whole image, scaled to fit `width` and `height` pixels.
    pub fn within(width: u32, height: u32) -> Self {
        Self { width, height, left: 0.0, top: 0.0, source_width: None, source_height: None }
    }

    /// Parses `vw,vh` or `vw,vh,sx,sy,sw,sh`. The last four can be empty. Returns `None` if the text is invalid or the viewport
    /// exceeds the bounds.
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<_> = text.split(',').collect();
        let (width, height, source) = match *parts.as_slice() {
            [width, height] => (width, height, [""; 4]),
            [width, height, left, top, source_width, source_height] => {
                (width, height, [left, top, source_width, source_height])
            }
            _ => return None,
        };
        let parse_side = |text: &str| {
            let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u32>().ok().filter(|side| is_decimal && *side > 0)
        };
        let [left, top, source_width, source_height] = source.map(|text| match text {
            "" => Some(None),
            text => parse_decimal(text).filter(|number| number.abs() <= MAX_COORDINATE).map(Some),
        });
        let viewport = Self {
            width: parse_side(width)?,
            height: parse_side(height)?,
            left: left?.unwrap_or(0.0),
            top: top?.unwrap_or(0.0),
            source_width: source_width?,
            source_height: source_height?,
        };
        let is_valid = viewport.left >= 0.0
            && viewport.top >= 0.0
            && viewport.source_width != Some(0.0)
            && viewport.source_height != Some(0.0)
            && Self::is_bounded(viewport.width, viewport.height);
        is_valid.then_some(viewport)
    }

    /// Whether an image of `width` and `height` pixels may be requested.
    pub fn is_bounded(width: u32, height: u32) -> bool {
        let area = u64::from(width) * u64::from(height);
        width.max(height) <= MAX_VIEWPORT_SIDE && area <= MAX_VIEWPORT_AREA
    }

    /// Returns the maximum number of pixels of the rendered image.
    pub fn area(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// Returns the geometry for an image of `width` and `height` pixels with the ratio `aspect` of pixel height to width.
    pub(super) fn geometry(&self, width: u32, height: u32, aspect: f64) -> Result<Geometry, RenderError> {
        let (left, region_width) = pixel_range(self.left, self.source_width, width)?;
        let (top, region_height) = pixel_range(self.top, self.source_height, height)?;
        let (physical_width, physical_height) = (f64::from(region_width), f64::from(region_height) * aspect);
        let scale = (f64::from(self.width) / physical_width).min(f64::from(self.height) / physical_height);
        let scaled_side = |length: f64, max: u32| ((length * scale).round() as u32).clamp(1, max);
        Ok(Geometry {
            left,
            top,
            region_width,
            region_height,
            width: scaled_side(physical_width, self.width),
            height: scaled_side(physical_height, self.height),
            flips_horizontally: self.source_width.is_some_and(f64::is_sign_negative),
            flips_vertically: self.source_height.is_some_and(f64::is_sign_negative),
        })
    }
}

/// Returns the start and the length in whole pixels of a range, including partially covered pixels. `size` is the number of pixels
/// of the image in this dimension.
fn pixel_range(start: f64, length: Option<f64>, size: u32) -> Result<(u32, u32), RenderError> {
    let end = length.map_or(f64::from(size), |length| start + length.abs());
    if start >= f64::from(size) || end > f64::from(size) {
        return Err(RenderError::OutsideOfImage);
    }
    let first = start.floor() as u32;
    Ok((first, (end.ceil() as u32 - first).max(1)))
}

/// A region of the source image in whole pixels, and its size in the rendered image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    left: u32,
    top: u32,
    region_width: u32,
    region_height: u32,
    pub(super) width: u32,
    pub(super) height: u32,
    flips_horizontally: bool,
    flips_vertically: bool,
}

impl Geometry {
    /// Returns the maximum memory in bytes for scaling: the region, the vertically scaled region with four floating-point
    /// channels, and the result.
    pub(super) fn max_memory(&self, channels: usize) -> usize {
        let area = |width: u32, height: u32| (width as usize).saturating_mul(height as usize);
        let region = area(self.region_width, self.region_height).saturating_mul(channels);
        let columns = area(self.region_width, self.height).saturating_mul(16);
        let output = area(self.width, self.height).saturating_mul(2 * channels);
        region.saturating_add(columns).saturating_add(output)
    }

    pub(super) fn apply(&self, image: &DynamicImage) -> DynamicImage {
        let region = image.crop_imm(self.left, self.top, self.region_width, self.region_height);
        let is_scaled = (self.width, self.height) != (self.region_width, self.region_height);
        let scaled = if is_scaled {
            region.resize_exact(self.width, self.height, FilterType::Triangle)
        } else {
            region
        };
        match (self.flips_horizontally, self.flips_vertically) {
            (true, true) => scaled.rotate180(),
            (true, false) => scaled.fliph(),
            (false, true) => scaled.flipv(),
            (false, false) => scaled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaled_size(viewport: &str, width: u32, height: u32, aspect: f64) -> (u32, u32) {
        let geometry = Viewport::parse(viewport).unwrap().geometry(width, height, aspect).unwrap();
        (geometry.width, geometry.height)
    }

    #[test]
    fn image_fits_its_viewport_without_distortion() {
        assert_eq!(scaled_size("100,100", 512, 256, 1.0), (100, 50));
        assert_eq!(scaled_size("100,100", 256, 512, 1.0), (50, 100));
        assert_eq!(scaled_size("1024,1024", 512, 512, 1.0), (1024, 1024), "the image is enlarged");
        assert_eq!(scaled_size("128,128", 4000, 1, 1.0), (128, 1));
    }

    #[test]
    fn pixels_that_are_not_square_are_stretched() {
        assert_eq!(scaled_size("200,200", 100, 100, 2.0), (100, 200));
        assert_eq!(scaled_size("200,200", 100, 100, 0.5), (200, 100));
    }

    #[test]
    fn region_is_cropped_and_flipped() {
        let viewport = Viewport::parse("10,10,5,6,-20,10.5").unwrap();
        let geometry = viewport.geometry(100, 100, 1.0).unwrap();
        let Geometry { left, top, region_width, region_height, flips_horizontally, flips_vertically, .. } =
            geometry;
        assert_eq!((left, top, region_width, region_height), (5, 6, 20, 11));
        assert!(flips_horizontally && !flips_vertically);
        assert_eq!((geometry.width, geometry.height), (10, 6));
        let rest = Viewport::parse("10,10,90,,,").unwrap().geometry(100, 100, 1.0).unwrap();
        assert_eq!((rest.left, rest.region_width, rest.region_height), (90, 10, 100));
    }

    #[test]
    fn region_outside_the_image_is_rejected() {
        for text in ["10,10,100,0,,", "10,10,0,0,101,1", "10,10,50,50,51,1"] {
            let viewport = Viewport::parse(text).unwrap();
            assert!(matches!(viewport.geometry(100, 100, 1.0), Err(RenderError::OutsideOfImage)), "{text}");
        }
        for text in
            ["10", "0,10", "10,-1", "1.5,1", "10,10,1", "10,10,-1,0,1,1", "10,10,0,0,0,1", "10,10,0,0,NaN,1"]
        {
            assert_eq!(Viewport::parse(text), None, "{text}");
        }
    }

    #[test]
    fn viewport_beyond_the_bounds_is_rejected() {
        for text in ["8192,4096", "4096,8192", "7680,4320", "1,8192", "10,10,65535,0,-65535,1"] {
            assert!(Viewport::parse(text).is_some(), "{text}");
        }
        for text in [
            "8193,1",
            "1,8193",
            "8192,4097",
            "8192,8192",
            "100000,100000",
            "4294967295,4294967295",
            "10,10,65536,0,1,1",
            "10,10,0,0,1e300,1",
            "10,10,0,0,1,-70000",
            "+10,10",
            "10,10,+0,0,1,1",
            "10,10,0,0,infinity,1",
            "10,10,0,0,1,0.0000000000000000000000001",
        ] {
            assert_eq!(Viewport::parse(text), None, "{text}");
        }
    }
}
