//! Reads the header of a stream (T.81 B.2): the frame, its tables, and the tables that its scan uses.

use super::super::BROKEN;
use super::huffman::Codes;
use super::idct::BLOCK;
use crate::CodecError;

/// The number of bits of a sample.
const PRECISION: u8 = 12;

const UNSUPPORTED: CodecError = CodecError::Unsupported("JPEG of 12 bits with more than one component");

/// The markers of segments that matter (T.81 table B.1).
const EXTENDED: u8 = 0xC1;
const CODES: u8 = 0xC4;
const SCAN: u8 = 0xDA;
const QUANTIZATION: u8 = 0xDB;
const RESTART: u8 = 0xDD;

/// The whole header.
pub(super) struct JpegHeader<'a> {
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// The number of blocks between restart markers; 0 if there are none.
    pub(super) restart: usize,
    /// In the order of the coefficients in the stream.
    pub(super) quantization: [f32; BLOCK],
    /// The codes of first coefficients.
    pub(super) first: Codes,
    /// The codes of all others.
    pub(super) others: Codes,
    /// The entropy-coded data.
    pub(super) scan: &'a [u8],
}

/// The content of the frame header (T.81 B.2.2).
#[derive(Clone, Copy)]
struct Frame {
    rows: usize,
    columns: usize,
    component: u8,
    quantization: usize,
}

/// Tables by their numbers.
#[derive(Default)]
struct Tables {
    quantization: [Option<[f32; BLOCK]>; 4],
    first: [Option<Codes>; 4],
    others: [Option<Codes>; 4],
}

/// Whether `stream` is Extended JPEG of 12 bits, according to its frame header.
pub(in super::super) fn is_of_12_bits(stream: &[u8]) -> bool {
    let mut segments = Segments(stream);
    segments.any(|(marker, segment)| marker == EXTENDED && segment.first() == Some(&PRECISION))
}

impl<'a> JpegHeader<'a> {
    pub(super) fn read(stream: &'a [u8]) -> Result<Self, CodecError> {
        let mut segments = Segments(stream);
        let (mut tables, mut restart, mut frame) = (Tables::default(), 0, None);
        while let Some((marker, segment)) = segments.next() {
            match marker {
                QUANTIZATION => tables.add_quantization(segment).ok_or(BROKEN)?,
                CODES => tables.add_codes(segment).ok_or(BROKEN)?,
                RESTART => restart = word(segment, 0).ok_or(BROKEN)?,
                EXTENDED if frame.is_none() => frame = Some(Frame::read(segment)?),
                // T.81 B.2.1: one frame header, and another means another process.
                0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => return Err(BROKEN),
                SCAN => {
                    let frame = frame.ok_or(BROKEN)?;
                    // The only component, with its tables, and all coefficients in one scan.
                    let [1, component, codes, 0, 63, 0] = *segment else { return Err(BROKEN) };
                    let (first, others) = (usize::from(codes >> 4), usize::from(codes & 0x0F));
                    let named = (component == frame.component).then_some(tables).ok_or(BROKEN)?;
                    return Ok(Self {
                        rows: frame.rows,
                        columns: frame.columns,
                        restart,
                        quantization: take_table(named.quantization, frame.quantization)?,
                        first: take_table(named.first, first)?,
                        others: take_table(named.others, others)?,
                        scan: segments.0,
                    });
                }
                _ => {}
            }
        }
        Err(BROKEN)
    }
}

impl Frame {
    fn read(segment: &[u8]) -> Result<Self, CodecError> {
        match *segment {
            [PRECISION, r, s, c, d, 1, component, _, quantization] => Ok(Self {
                rows: usize::from(u16::from_be_bytes([r, s])),
                columns: usize::from(u16::from_be_bytes([c, d])),
                component,
                quantization: usize::from(quantization),
            }),
            [PRECISION, _, _, _, _, components, ..] if components > 1 => Err(UNSUPPORTED),
            _ => Err(BROKEN),
        }
    }
}

impl Tables {
    /// One or several tables (T.81 B.2.4.1).
    fn add_quantization(&mut self, mut segment: &[u8]) -> Option<()> {
        while let [of, rest @ ..] = segment {
            let width = usize::from(of >> 4) + 1;
            let (values, further) = rest.split_at_checked(width * BLOCK)?;
            let mut table = [0.0; BLOCK];
            for (quantum, bytes) in table.iter_mut().zip(values.chunks_exact(width)) {
                *quantum = match bytes {
                    [one] => f32::from(*one),
                    [high, low] => f32::from(u16::from_be_bytes([*high, *low])),
                    _ => return None,
                };
            }
            *self.quantization.get_mut(usize::from(of & 0x0F))? = Some(table);
            segment = further;
        }
        Some(())
    }

    /// One or several tables (T.81 B.2.4.2).
    fn add_codes(&mut self, mut segment: &[u8]) -> Option<()> {
        while let [of, rest @ ..] = segment {
            let (counts, rest) = rest.split_first_chunk::<16>()?;
            let all = counts.iter().map(|count| usize::from(*count)).sum();
            let (symbols, further) = rest.split_at_checked(all)?;
            let tables = match of >> 4 {
                0 => &mut self.first,
                1 => &mut self.others,
                _ => return None,
            };
            *tables.get_mut(usize::from(of & 0x0F))? = Some(Codes::new(counts, symbols)?);
            segment = further;
        }
        Some(())
    }
}

fn take_table<T>(mut tables: [Option<T>; 4], number: usize) -> Result<T, CodecError> {
    tables.get_mut(number).and_then(Option::take).ok_or(BROKEN)
}

fn word(segment: &[u8], at: usize) -> Option<usize> {
    let bytes = segment.get(at..at + 2)?.try_into().ok()?;
    Some(usize::from(u16::from_be_bytes(bytes)))
}

/// Reads markers with their segments (T.81 B.1.1.4) up to the first scan; the rest is that scan.
struct Segments<'a>(&'a [u8]);

impl<'a> Iterator for Segments<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match *self.0 {
                // The start of the image, which has no segment, and a fill byte.
                [0xFF, 0xD8, ref rest @ ..] => self.0 = rest,
                [0xFF, 0xFF, ..] => self.0 = &self.0[1..],
                [0xFF, marker, ref rest @ ..] => {
                    let length = word(rest, 0)?;
                    let segment = rest.get(2..length)?;
                    self.0 = rest.get(length..)?;
                    return Some((marker, segment));
                }
                _ => return None,
            }
        }
    }
}
