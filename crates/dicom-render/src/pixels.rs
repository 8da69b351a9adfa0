//! What an object says of its pixels (PS3.3 C.7.6.3), and where those of one frame stand (PS3.5 8).

use bytes::Bytes;
use dicom_dictionary_std::tags;

use super::RenderError;
use super::object::{DataSet, Object, Order, Pixels};
use dicom_model::encapsulated::{Locator, number_of_frames};

/// Photometric Interpretation (0028,0004), as far as there is a way to draw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Photometric {
    Monochrome1,
    Monochrome2,
    PaletteColor,
    Rgb,
    YbrFull,
    YbrFull422,
    /// Whose colours the decoder of JPEG 2000 gives back as RGB.
    YbrOfJpeg2000,
}

impl Photometric {
    fn read(text: &str) -> Option<Self> {
        Some(match text {
            "MONOCHROME1" => Self::Monochrome1,
            "MONOCHROME2" => Self::Monochrome2,
            "PALETTE COLOR" => Self::PaletteColor,
            "RGB" => Self::Rgb,
            "YBR_FULL" => Self::YbrFull,
            "YBR_FULL_422" => Self::YbrFull422,
            "YBR_ICT" | "YBR_RCT" => Self::YbrOfJpeg2000,
            _ => return None,
        })
    }

    pub(super) fn is_monochrome(self) -> bool {
        matches!(self, Self::Monochrome1 | Self::Monochrome2)
    }
}

/// The Image Pixel Module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ImagePixelModule {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) samples: usize,
    pub(super) photometric: Photometric,
    pub(super) bits_allocated: u32,
    pub(super) bits_stored: u32,
    /// By so many bits do values stand higher than they mean.
    pub(super) shift: u32,
    pub(super) signed: bool,
    /// The samples of each kind stand together, not those of each pixel.
    pub(super) planar: bool,
    pub(super) frames: u32,
}

impl ImagePixelModule {
    pub(super) fn read(attributes: &DataSet) -> Result<Self, RenderError> {
        let word = |tag| attributes.word(tag).map(u32::from);
        let (Some(rows), Some(columns)) = (word(tags::ROWS), word(tags::COLUMNS)) else {
            return Err(RenderError::NoImage);
        };
        let missing = RenderError::Broken("it does not say how its pixels are stored");
        let samples = word(tags::SAMPLES_PER_PIXEL).unwrap_or(1);
        let text = attributes.text(tags::PHOTOMETRIC_INTERPRETATION).ok_or_else(|| missing.clone())?;
        let photometric =
            Photometric::read(&text).ok_or(RenderError::Unsupported("its photometric interpretation"))?;
        let bits_allocated = word(tags::BITS_ALLOCATED).ok_or(missing)?;
        let bits_stored = word(tags::BITS_STORED).unwrap_or(bits_allocated);
        let high_bit = word(tags::HIGH_BIT).unwrap_or(bits_stored.saturating_sub(1));
        let frames = number_of_frames(attributes.text(tags::NUMBER_OF_FRAMES).as_deref()) as u32;
        let is_right = rows > 0
            && columns > 0
            && samples
                == if photometric.is_monochrome() || photometric == Photometric::PaletteColor {
                    1
                } else {
                    3
                }
            && (1..=bits_allocated).contains(&bits_stored)
            && (bits_stored - 1..bits_allocated).contains(&high_bit);
        if !is_right {
            return Err(RenderError::Broken("what it says of its pixels contradicts itself"));
        }
        if !matches!(bits_allocated, 1 | 8 | 16 | 32) || bits_allocated == 1 && samples > 1 {
            return Err(RenderError::Unsupported("its number of bits"));
        }
        Ok(Self {
            rows: rows as usize,
            columns: columns as usize,
            samples: samples as usize,
            photometric,
            bits_allocated,
            bits_stored,
            shift: high_bit + 1 - bits_stored,
            signed: word(tags::PIXEL_REPRESENTATION) == Some(1),
            planar: samples > 1 && word(tags::PLANAR_CONFIGURATION) == Some(1),
            frames,
        })
    }

    pub(super) fn pixels(&self) -> usize {
        self.rows * self.columns
    }

    /// How many samples a frame has when all of them are there.
    pub(super) fn values(&self) -> usize {
        self.pixels() * self.samples
    }

    /// How many bits a frame takes as numbers.
    fn native_bits(&self) -> u64 {
        // Two pixels share the colour of one (PS3.3 C.7.6.3.1.2).
        let samples = if self.photometric == Photometric::YbrFull422 { 2 } else { self.samples };
        self.pixels() as u64 * samples as u64 * u64::from(self.bits_allocated)
    }

    /// The number that stored bits mean.
    pub(super) fn number(&self, stored: u32) -> i64 {
        let mask = if self.bits_stored == 32 { u32::MAX } else { (1 << self.bits_stored) - 1 };
        let bits = i64::from(stored >> self.shift & mask);
        if self.signed && bits >> (self.bits_stored - 1) & 1 == 1 {
            bits - (1 << self.bits_stored)
        } else {
            bits
        }
    }
}

/// The bytes of one frame.
#[derive(Debug, Clone)]
pub(super) enum FrameData {
    /// As numbers; the frame begins `bit` bits into the first byte.
    Native { bytes: Bytes, bit: u32, order: Order },
    /// As one stream of the transfer syntax.
    Encoded(Bytes),
}

/// The fragments of each frame of encapsulated pixel data, by index; nothing of native ones.
pub(super) fn frames(object: &Object, layout: &ImagePixelModule) -> Result<Vec<Vec<usize>>, RenderError> {
    let Some(Pixels::Encapsulated { table, fragments }) = &object.pixels else { return Ok(Vec::new()) };
    let extended = object.elements.bytes(tags::EXTENDED_OFFSET_TABLE).map(AsRef::as_ref);
    let locator = Locator::new(layout.frames as usize, object.transfer_syntax, table, extended);
    let fragments: Vec<_> = fragments.iter().map(|(fragment, _)| *fragment).collect();
    locator.locate(&fragments).map_err(|_| RenderError::Broken("it does not tell where its frames begin"))
}

/// The bytes of `frame`, counted from 0. `frames` are those of [`frames`].
pub(super) fn stretch(
    object: &Object,
    layout: &ImagePixelModule,
    frames: &[Vec<usize>],
    frame: u32,
) -> Result<FrameData, RenderError> {
    match &object.pixels {
        None => Err(RenderError::NoImage),
        Some(Pixels::Native { bytes, order }) => {
            let length = layout.native_bits();
            let start = u64::from(frame).saturating_mul(length);
            let (mut first, mut last) = (start / 8, start.saturating_add(length).div_ceil(8));
            if *order == Order::BigWords {
                (first, last) = (first & !1, last.next_multiple_of(2));
            }
            let stretch = usize::try_from(first).ok().zip(usize::try_from(last).ok());
            let stretch = stretch.filter(|(_, last)| *last <= bytes.len());
            let (first, last) = stretch.ok_or(RenderError::Broken("it has fewer pixels than it says"))?;
            let bit = (start - first as u64 * 8) as u32;
            Ok(FrameData::Native { bytes: bytes.slice(first..last), bit, order: *order })
        }
        Some(Pixels::Encapsulated { fragments, .. }) => {
            let indices = frames.get(frame as usize).map(Vec::as_slice).unwrap_or_default();
            Ok(FrameData::Encoded(match indices {
                [] => return Err(RenderError::Broken("it has fewer frames than it says")),
                [only] => fragments[*only].1.clone(),
                several => several.iter().flat_map(|index| fragments[*index].1.iter().copied()).collect(),
            }))
        }
    }
}
