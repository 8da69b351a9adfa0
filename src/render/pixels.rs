//! What an object says of its pixels (PS3.3 C.7.6.3), and where those of one frame stand (PS3.5 8).

use bytes::Bytes;
use dicom_dictionary_std::tags;

use super::RenderError;
use super::object::{DataSet, Fragment, Object, Order, PixelData};

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
pub(super) struct Layout {
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

impl Layout {
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
        let frames = match attributes.decimal(tags::NUMBER_OF_FRAMES) {
            None if attributes.text(tags::NUMBER_OF_FRAMES).is_none() => 1,
            Some(number) if (1.0..=f64::from(u32::MAX)).contains(&number) => number as u32,
            _ => return Err(RenderError::Broken("its number of frames is none")),
        };
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
pub(super) enum Stretch {
    /// As numbers; the frame begins `bit` bits into the first byte.
    Native { bytes: Bytes, bit: u32, order: Order },
    /// As one stream of the transfer syntax.
    Encoded(Bytes),
}

/// The bytes of `frame`, counted from 0.
pub(super) fn stretch(object: &Object, layout: &Layout, frame: u32) -> Result<Stretch, RenderError> {
    match &object.pixels {
        None => Err(RenderError::NoImage),
        Some(PixelData::Native { bytes, order }) => {
            let length = layout.native_bits();
            let start = u64::from(frame) * length;
            let (mut first, mut last) = (start / 8, (start + length).div_ceil(8));
            if *order == Order::BigWords {
                (first, last) = (first & !1, last.next_multiple_of(2));
            }
            let stretch = usize::try_from(first).ok().zip(usize::try_from(last).ok());
            let stretch = stretch.filter(|(_, last)| *last <= bytes.len());
            let (first, last) = stretch.ok_or(RenderError::Broken("it has fewer pixels than it says"))?;
            let bit = (start - first as u64 * 8) as u32;
            Ok(Stretch::Native { bytes: bytes.slice(first..last), bit, order: *order })
        }
        Some(PixelData::Encapsulated(items)) => {
            let (table, fragments) =
                items.split_first().ok_or(RenderError::Broken("its pixel data are empty"))?;
            let of_frame = fragments_of(object, layout, &table.bytes, fragments, frame as usize)?;
            Ok(Stretch::Encoded(match of_frame {
                [] => return Err(RenderError::Broken("it has fewer frames than it says")),
                [only] => only.bytes.clone(),
                several => several.iter().flat_map(|fragment| fragment.bytes.iter().copied()).collect(),
            }))
        }
    }
}

/// One fragment or several make a frame (PS3.5 A.4): as many fragments as frames tell it, or else the table of offsets, or
/// else what the fragments begin with.
fn fragments_of<'a>(
    object: &Object,
    layout: &Layout,
    table: &[u8],
    fragments: &'a [Fragment],
    frame: usize,
) -> Result<&'a [Fragment], RenderError> {
    let frames = layout.frames as usize;
    if fragments.len() == frames {
        return Ok(&fragments[frame..=frame]);
    }
    if frames == 1 {
        return Ok(fragments);
    }
    let starts = starts_by_offset(object, table, fragments).unwrap_or_else(|| starts_by_stream(fragments));
    if starts.len() != frames {
        return Err(RenderError::Broken("it does not tell where its frames begin"));
    }
    let end = starts.get(frame + 1).copied().unwrap_or(fragments.len());
    Ok(fragments.get(starts[frame]..end).unwrap_or_default())
}

/// Which fragments frames begin with, by the Basic or the Extended Offset Table.
fn starts_by_offset(object: &Object, table: &[u8], fragments: &[Fragment]) -> Option<Vec<usize>> {
    let base = fragments.first()?.offset as u64;
    let extended = object.attributes.bytes(tags::EXTENDED_OFFSET_TABLE);
    let offsets: Vec<u64> = match extended {
        Some(extended) => extended
            .chunks_exact(8)
            .filter_map(|eight| eight.try_into().ok().map(u64::from_le_bytes))
            .collect(),
        None => table
            .chunks_exact(4)
            .filter_map(|four| four.try_into().ok().map(|four| u64::from(u32::from_le_bytes(four))))
            .collect(),
    };
    let start = |offset: &u64| {
        let place = base.checked_add(*offset)?;
        fragments.binary_search_by_key(&place, |fragment| fragment.offset as u64).ok()
    };
    let starts: Vec<usize> = offsets.iter().map(start).collect::<Option<_>>()?;
    (!starts.is_empty() && starts.is_sorted()).then_some(starts)
}

/// Which fragments begin a stream of JPEG, JPEG-LS or JPEG 2000.
fn starts_by_stream(fragments: &[Fragment]) -> Vec<usize> {
    let begins = |fragment: &Fragment| {
        [[0xFF, 0xD8, 0xFF].as_slice(), &[0xFF, 0x4F, 0xFF]]
            .iter()
            .any(|magic| fragment.bytes.starts_with(magic))
    };
    fragments.iter().enumerate().filter(|(_, fragment)| begins(fragment)).map(|(index, _)| index).collect()
}
