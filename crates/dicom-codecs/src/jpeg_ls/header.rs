//! Reads marker segments (T.87 Annex C): the frame header, the coding parameters, and the header of each scan.

use super::MALFORMED;
use crate::CodecError;

// The markers (T.81 table B.1, T.87 table C.1).

/// Define restart interval.
const DRI: u8 = 0xDD;
/// Start of scan.
const SOS: u8 = 0xDA;
/// Start of a JPEG-LS frame.
const SOF55: u8 = 0xF7;
/// JPEG-LS preset parameters.
const LSE: u8 = 0xF8;

const UNSUPPORTED: CodecError = CodecError::Unsupported("a feature of its JPEG-LS stream");

/// The header of a stream, and the current position in the stream.
#[derive(Debug)]
pub(super) struct JpegLsHeader<'a> {
    stream: &'a [u8],
    position: usize,
    precision: u32,
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// The component identifiers.
    pub(super) components: Vec<u8>,
    preset: PresetParameters,
}

/// The preset coding parameters; 0 means the default (T.87 C.2.4.1.1).
#[derive(Debug, Clone, Copy, Default)]
struct PresetParameters {
    /// MAXVAL.
    max_value: i32,
    /// T1, T2 and T3.
    thresholds: [i32; 3],
    /// RESET.
    reset: i32,
}

/// The header of a scan.
#[derive(Debug)]
pub(super) struct JpegLsScan {
    /// The indexes of its components in the frame.
    pub(super) components: Vec<usize>,
    /// NEAR.
    near: i32,
    /// Whether the components are sample-interleaved (interleave mode 2), not line-interleaved.
    pub(super) is_sample_interleaved: bool,
}

/// The coding parameters of samples (T.87 A.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SampleCoding {
    /// MAXVAL: the maximum value of a sample.
    pub(super) max_value: i32,
    /// NEAR: the maximum difference of a decoded sample from the original.
    pub(super) near: i32,
    /// T1, T2 and T3.
    pub(super) thresholds: [i32; 3],
    /// RESET: the number of samples after which the counters of a context are halved.
    pub(super) reset: i32,
    /// RANGE: the number of values of a prediction error.
    pub(super) range: i32,
    /// qbpp: the number of bits of a mapped error.
    pub(super) mapped_error_bits: u32,
    /// LIMIT: the maximum number of bits of a Golomb code.
    pub(super) limit: u32,
}

impl<'a> JpegLsHeader<'a> {
    /// Reads the header up to the first scan.
    pub(super) fn read(stream: &'a [u8]) -> Result<Self, CodecError> {
        if !stream.starts_with(&[0xFF, 0xD8]) {
            return Err(MALFORMED);
        }
        let mut header = Self {
            stream,
            position: 2,
            precision: 0,
            rows: 0,
            columns: 0,
            components: Vec::new(),
            preset: PresetParameters::default(),
        };
        while header.peek_marker()? != SOS {
            header.read_segment()?;
        }
        if header.components.is_empty() { Err(MALFORMED) } else { Ok(header) }
    }

    /// Returns the bytes after the current position.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.stream.get(self.position..).unwrap_or_default()
    }

    pub(super) fn advance(&mut self, length: usize) {
        self.position += length;
    }

    /// Reads up to the entropy-coded data of the next scan.
    pub(super) fn next_scan(&mut self) -> Result<JpegLsScan, CodecError> {
        // Padding may follow the data of a scan: bits up to a whole byte, and another byte after 0xFF.
        while self.peek_marker().is_err() && self.position < self.stream.len() {
            self.position += 1;
        }
        while self.peek_marker()? != SOS {
            self.read_segment()?;
        }
        let (_, content) = self.take_segment()?;
        let (component_count, rest) = content.split_first().ok_or(MALFORMED)?;
        let component_count = usize::from(*component_count);
        let (selectors, [near, interleave_mode, point_transform]) =
            rest.split_at_checked(2 * component_count).ok_or(MALFORMED)?
        else {
            return Err(MALFORMED);
        };
        let mut components = Vec::new();
        for pair in selectors.chunks_exact(2) {
            let index =
                self.components.iter().position(|component| *component == pair[0]).ok_or(MALFORMED)?;
            components.push(index);
            if pair[1] != 0 {
                return Err(UNSUPPORTED);
            }
        }
        match (interleave_mode, components.len()) {
            // MAXVAL must fit the precision (T.87 C.2.4.1.1).
            _ if self.preset.max_value >= 1 << self.precision => Err(MALFORMED),
            _ if *point_transform != 0 => Err(UNSUPPORTED),
            (_, 1) | (1 | 2, 2..) => {
                let is_sample_interleaved = *interleave_mode == 2 && components.len() > 1;
                Ok(JpegLsScan { components, near: i32::from(*near), is_sample_interleaved })
            }
            _ => Err(MALFORMED),
        }
    }

    /// Returns the coding parameters of `scan`.
    pub(super) fn coding(&self, scan: &JpegLsScan) -> SampleCoding {
        let near = scan.near;
        let max_value =
            if self.preset.max_value > 0 { self.preset.max_value } else { (1 << self.precision) - 1 };
        let defaults = default_thresholds(max_value, near);
        let preset = self.preset.thresholds;
        let thresholds =
            [0, 1, 2].map(|index| if preset[index] > 0 { preset[index] } else { defaults[index] });
        let range = (max_value + 2 * near) / (2 * near + 1) + 1;
        let sample_bits = bit_width(max_value + 1).max(2);
        SampleCoding {
            max_value,
            near,
            thresholds,
            reset: if self.preset.reset > 0 { self.preset.reset } else { 64 },
            range,
            mapped_error_bits: bit_width(range),
            limit: 2 * (sample_bits + sample_bits.max(8)),
        }
    }

    /// Reads a segment other than the header of a scan.
    fn read_segment(&mut self) -> Result<(), CodecError> {
        let (marker, content) = self.take_segment()?;
        let read_u16 = |offset: usize| {
            content.get(offset..offset + 2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
        };
        match marker {
            SOF55 => {
                let (Some(rows), Some(columns)) = (read_u16(1), read_u16(3)) else { return Err(MALFORMED) };
                let (precision, component_count) =
                    (content[0], usize::from(*content.get(5).ok_or(MALFORMED)?));
                let components = content.get(6..6 + 3 * component_count).ok_or(MALFORMED)?;
                // A frame has at least one component, and a stream has one frame header (T.81 B.2.2, referenced by T.87 C.2.2).
                if !(2..=16).contains(&precision) || component_count == 0 || !self.components.is_empty() {
                    return Err(MALFORMED);
                }
                (self.precision, self.rows, self.columns) = (precision.into(), rows.into(), columns.into());
                self.components = components.chunks_exact(3).map(|component| component[0]).collect();
                if components.chunks_exact(3).any(|component| component[1] != 0x11) {
                    return Err(UNSUPPORTED);
                }
            }
            // Only type 1 contains coding parameters.
            LSE if content.first() == Some(&1) => {
                let number = |offset: usize| read_u16(offset).map(i32::from).ok_or(MALFORMED);
                self.preset = PresetParameters {
                    max_value: number(1)?,
                    thresholds: [number(3)?, number(5)?, number(7)?],
                    reset: number(9)?,
                };
                if self.preset.reset == 1 || self.preset.reset == 2 {
                    return Err(MALFORMED);
                }
            }
            LSE => return Err(UNSUPPORTED),
            DRI if content.iter().any(|byte| *byte != 0) => return Err(UNSUPPORTED),
            // APP8: the color transform of Hewlett-Packard.
            0xE8 if content.starts_with(b"mrfx") && content.get(4) != Some(&0) => return Err(UNSUPPORTED),
            DRI | 0xE0..=0xEF | 0xFE => {}
            _ => return Err(MALFORMED),
        }
        Ok(())
    }

    /// Returns the marker at the current position.
    fn peek_marker(&self) -> Result<u8, CodecError> {
        match self.rest() {
            [0xFF, marker @ 0x80..=0xFE, ..] => Ok(*marker),
            _ => Err(MALFORMED),
        }
    }

    /// Returns the marker and the content of the segment at the current position, and advances to its end.
    fn take_segment(&mut self) -> Result<(u8, &'a [u8]), CodecError> {
        let marker = self.peek_marker()?;
        let rest = self.rest();
        let length = rest
            .get(2..4)
            .map(|pair| usize::from(u16::from_be_bytes([pair[0], pair[1]])))
            .ok_or(MALFORMED)?;
        let content = rest.get(4..2 + length).filter(|content| !content.is_empty()).ok_or(MALFORMED)?;
        self.position += 2 + length;
        Ok((marker, content))
    }
}

/// Returns the default thresholds (T.87 C.2.4.1.1.1).
fn default_thresholds(max_value: i32, near: i32) -> [i32; 3] {
    let clamp = |value: i32, minimum: i32| if value > max_value || value < minimum { minimum } else { value };
    let [first, second, third] = if max_value >= 128 {
        let factor = (max_value.min(4095) + 128) / 256;
        [factor + 2 + 3 * near, 4 * factor + 3 + 5 * near, 17 * factor + 4 + 7 * near]
    } else {
        let factor = 256 / (max_value + 1);
        [(3 / factor + 3 * near).max(2), (7 / factor + 5 * near).max(3), (21 / factor + 7 * near).max(4)]
    };
    let first = clamp(first, near + 1);
    let second = clamp(second, first);
    [first, second, clamp(third, second)]
}

/// Returns the number of bits that distinguish `value_count` values.
fn bit_width(value_count: i32) -> u32 {
    (value_count - 1).checked_ilog2().map_or(0, |bits| bits + 1)
}
