//! The input and output of a decoder: the attributes that describe a frame (PS3.3 C.7.6.3), its bytes, and its samples.

use crate::CodecError;

/// The values of Photometric Interpretation (0028,0004) whose frames can be decoded (PS3.3 C.7.6.3.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PhotometricInterpretation {
    /// Grayscale; the lowest value is white.
    Monochrome1,
    /// Grayscale; the lowest value is black.
    Monochrome2,
    /// Indexes into a palette.
    PaletteColor,
    /// Red, green and blue.
    Rgb,
    /// Luminance and chrominance.
    YbrFull,
    /// Luminance and chrominance; in native pixel data, two pixels share their chrominance.
    YbrFull422,
    /// The irreversible color transform of JPEG 2000, which decoding undoes.
    YbrIct,
    /// The reversible color transform of JPEG 2000, which decoding undoes.
    YbrRct,
}

impl PhotometricInterpretation {
    /// Returns the interpretation with this defined term (without padding).
    pub fn from_term(term: &str) -> Option<Self> {
        Some(match term {
            "MONOCHROME1" => Self::Monochrome1,
            "MONOCHROME2" => Self::Monochrome2,
            "PALETTE COLOR" => Self::PaletteColor,
            "RGB" => Self::Rgb,
            "YBR_FULL" => Self::YbrFull,
            "YBR_FULL_422" => Self::YbrFull422,
            "YBR_ICT" => Self::YbrIct,
            "YBR_RCT" => Self::YbrRct,
            _ => return None,
        })
    }

    /// Whether the image is grayscale.
    pub fn is_monochrome(self) -> bool {
        matches!(self, Self::Monochrome1 | Self::Monochrome2)
    }

    fn samples_per_pixel(self) -> u16 {
        if self.is_monochrome() || self == Self::PaletteColor { 1 } else { 3 }
    }
}

/// The attributes of the Image Pixel Module (PS3.3 C.7.6.3) that decoding needs, with the values of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImagePixel {
    /// Rows (0028,0010).
    pub rows: u16,
    /// Columns (0028,0011).
    pub columns: u16,
    /// Samples per Pixel (0028,0002).
    pub samples_per_pixel: u16,
    /// Photometric Interpretation (0028,0004).
    pub photometric_interpretation: PhotometricInterpretation,
    /// Bits Allocated (0028,0100).
    pub bits_allocated: u16,
    /// Bits Stored (0028,0101).
    pub bits_stored: u16,
    /// High Bit (0028,0102).
    pub high_bit: u16,
    /// Whether Pixel Representation (0028,0103) is 1: two's complement.
    pub is_signed: bool,
    /// Whether Planar Configuration (0028,0006) is 1: samples are stored plane by plane, not pixel by pixel.
    pub is_planar: bool,
}

/// The layout of the stored samples of a frame: attributes that do not contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLayout {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) samples_per_pixel: usize,
    pub(crate) photometric_interpretation: PhotometricInterpretation,
    pub(crate) bits_allocated: u32,
    pub(crate) bits_stored: u32,
    /// The number of bits below the stored bits (PS3.5 8.1.1).
    pub(crate) shift: u32,
    pub(crate) is_signed: bool,
    pub(crate) is_planar: bool,
}

impl FrameLayout {
    /// Creates the layout that `attributes` define. They must not contradict each other. Bits Allocated must be 1, 8, 16 or 32;
    /// 1 is valid only for one sample per pixel.
    pub fn new(attributes: &ImagePixel) -> Result<Self, CodecError> {
        let ImagePixel { rows, columns, samples_per_pixel, photometric_interpretation, .. } = *attributes;
        let ImagePixel { bits_allocated, bits_stored, high_bit, .. } = *attributes;
        let is_consistent = rows > 0
            && columns > 0
            && samples_per_pixel == photometric_interpretation.samples_per_pixel()
            && (1..=bits_allocated).contains(&bits_stored)
            && (bits_stored - 1..bits_allocated).contains(&high_bit);
        if !is_consistent {
            return Err(CodecError::ContradictoryAttributes);
        }
        if !matches!(bits_allocated, 1 | 8 | 16 | 32) || bits_allocated == 1 && samples_per_pixel > 1 {
            return Err(CodecError::Unsupported("its number of bits"));
        }
        Ok(Self {
            rows: rows.into(),
            columns: columns.into(),
            samples_per_pixel: samples_per_pixel.into(),
            photometric_interpretation,
            bits_allocated: bits_allocated.into(),
            bits_stored: bits_stored.into(),
            shift: (high_bit + 1 - bits_stored).into(),
            is_signed: attributes.is_signed,
            is_planar: samples_per_pixel > 1 && attributes.is_planar,
        })
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Returns the meaning of the samples according to the object.
    pub fn photometric_interpretation(&self) -> PhotometricInterpretation {
        self.photometric_interpretation
    }

    /// Returns the number of bits of a sample that contain its value.
    pub fn bits_stored(&self) -> u32 {
        self.bits_stored
    }

    /// Whether samples may be negative.
    pub fn is_signed(&self) -> bool {
        self.is_signed
    }

    /// Returns the number of pixels of a frame.
    #[inline]
    pub fn pixel_count(&self) -> usize {
        self.rows * self.columns
    }

    /// Returns the number of samples of a decoded frame.
    #[inline]
    pub fn sample_count(&self) -> usize {
        self.pixel_count() * self.samples_per_pixel
    }

    /// Returns the value of a stored sample (PS3.5 8.1.1): bits other than the stored ones are removed, and the sign is applied.
    #[inline]
    pub fn value(&self, stored: u32) -> i64 {
        let mask = if self.bits_stored == 32 { u32::MAX } else { (1 << self.bits_stored) - 1 };
        let bits = i64::from(stored >> self.shift & mask);
        if self.is_signed && bits >> (self.bits_stored - 1) & 1 == 1 {
            bits - (1 << self.bits_stored)
        } else {
            bits
        }
    }
}

/// The byte order of native pixel data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteOrder {
    /// Least significant byte first.
    LittleEndian,
    /// Most significant byte first; samples of 8 bits are in their normal order.
    BigEndian,
    /// Most significant byte first, in words of 16 bits: the second of two samples of 8 bits comes first (PS3.5 8.1.1).
    BigEndianWords,
}

/// The bytes of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncodedFrame<'a> {
    /// Native pixel data (PS3.5 8.1.1).
    Native {
        /// The bytes that contain the frame; with [`ByteOrder::BigEndianWords`] they begin at a word boundary.
        bytes: &'a [u8],
        /// The number of bits before the frame in `bytes`: frames of single bits follow each other without padding.
        bit_offset: u32,
        /// The order of `bytes`.
        byte_order: ByteOrder,
    },
    /// One bit stream of a codec, assembled from its fragments (PS3.5 A.4).
    BitStream(&'a [u8]),
}

/// The stored samples of a frame, pixel by pixel; [`FrameLayout::value`] converts each to its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Samples {
    /// Samples of up to 16 bits.
    U16(Vec<u16>),
    /// Samples of 32 bits.
    U32(Vec<u32>),
}

impl Samples {
    /// Returns the number of samples.
    pub fn len(&self) -> usize {
        match self {
            Self::U16(samples) => samples.len(),
            Self::U32(samples) => samples.len(),
        }
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A decoded frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodedFrame {
    /// [`FrameLayout::sample_count`] samples.
    pub samples: Samples,
    /// The meaning of the samples, which may differ from that of the object: decoding undoes color transforms, and a bit stream
    /// may correct the object.
    pub photometric_interpretation: PhotometricInterpretation,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Returns the attributes of a grayscale image.
    pub(crate) fn gray(rows: u16, columns: u16, bits_allocated: u16, bits_stored: u16) -> ImagePixel {
        ImagePixel {
            rows,
            columns,
            samples_per_pixel: 1,
            photometric_interpretation: PhotometricInterpretation::Monochrome2,
            bits_allocated,
            bits_stored,
            high_bit: bits_stored.saturating_sub(1),
            is_signed: false,
            is_planar: false,
        }
    }

    #[test]
    fn contradictory_attributes_are_rejected() {
        let valid = gray(2, 2, 16, 12);
        assert!(FrameLayout::new(&valid).is_ok());
        for invalid in [
            ImagePixel { rows: 0, ..valid },
            ImagePixel { columns: 0, ..valid },
            ImagePixel { samples_per_pixel: 3, ..valid },
            ImagePixel { photometric_interpretation: PhotometricInterpretation::Rgb, ..valid },
            ImagePixel { bits_stored: 0, ..valid },
            ImagePixel { bits_stored: 17, high_bit: 16, ..valid },
            ImagePixel { high_bit: 10, ..valid },
            ImagePixel { high_bit: 16, ..valid },
        ] {
            assert_eq!(FrameLayout::new(&invalid), Err(CodecError::ContradictoryAttributes), "{invalid:?}");
        }
        let unusual = ImagePixel { bits_allocated: 12, ..valid };
        assert!(matches!(FrameLayout::new(&unusual), Err(CodecError::Unsupported(_))));
        let bits_of_color = ImagePixel {
            samples_per_pixel: 3,
            photometric_interpretation: PhotometricInterpretation::Rgb,
            ..gray(2, 2, 1, 1)
        };
        assert!(matches!(FrameLayout::new(&bits_of_color), Err(CodecError::Unsupported(_))));
    }

    #[test]
    fn values_are_read_from_the_stored_bits_only() {
        let signed_12_bits = ImagePixel { is_signed: true, ..gray(1, 1, 16, 12) };
        let layout = FrameLayout::new(&signed_12_bits).unwrap();
        assert_eq!([0xF800, 0xFFFF, 0x07FF].map(|stored| layout.value(stored)), [-2048, -1, 2047]);
        let layout = FrameLayout::new(&ImagePixel { high_bit: 15, ..signed_12_bits }).unwrap();
        assert_eq!([0x8000, 0x7FFF].map(|stored| layout.value(stored)), [-2048, 2047]);
        let signed_32_bits = FrameLayout::new(&ImagePixel { is_signed: true, ..gray(1, 1, 32, 32) }).unwrap();
        assert_eq!(signed_32_bits.value(u32::MAX), -1);
    }
}
