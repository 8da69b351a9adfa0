//! Reads the header of a stream (T.81 B.2): the frame header, the tables, and the scan header, which selects tables.

use super::super::MALFORMED;
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
    pub(super) restart_interval: usize,
    /// The quantization table, in the order of the coefficients in the stream.
    pub(super) quantization: [f32; BLOCK],
    /// The codes of DC coefficients.
    pub(super) dc_codes: Codes,
    /// The codes of AC coefficients.
    pub(super) ac_codes: Codes,
    /// The entropy-coded data.
    pub(super) scan: &'a [u8],
}

/// The content of the frame header (T.81 B.2.2).
#[derive(Clone, Copy)]
struct Frame {
    rows: usize,
    columns: usize,
    component: u8,
    quantization_table: usize,
}

/// Tables by their destination identifiers.
#[derive(Default)]
struct Tables {
    quantization: [Option<[f32; BLOCK]>; 4],
    dc_codes: [Option<Codes>; 4],
    ac_codes: [Option<Codes>; 4],
}

/// Whether the frame header of `stream` declares Extended JPEG of 12 bits.
pub(in super::super) fn is_of_12_bits(stream: &[u8]) -> bool {
    let mut segments = Segments(stream);
    segments.any(|(marker, segment)| marker == EXTENDED && segment.first() == Some(&PRECISION))
}

impl<'a> JpegHeader<'a> {
    pub(super) fn read(stream: &'a [u8]) -> Result<Self, CodecError> {
        let mut segments = Segments(stream);
        let (mut tables, mut restart_interval, mut frame) = (Tables::default(), 0, None);
        while let Some((marker, segment)) = segments.next() {
            match marker {
                QUANTIZATION => tables.add_quantization(segment).ok_or(MALFORMED)?,
                CODES => tables.add_codes(segment).ok_or(MALFORMED)?,
                RESTART => restart_interval = word(segment, 0).ok_or(MALFORMED)?,
                EXTENDED if frame.is_none() => frame = Some(Frame::read(segment)?),
                // A stream has exactly one frame header (T.81 B.2.1).
                0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => return Err(MALFORMED),
                SCAN => {
                    let frame = frame.ok_or(MALFORMED)?;
                    // One component with its tables, and all coefficients in one scan.
                    let [1, component, codes, 0, 63, 0] = *segment else { return Err(MALFORMED) };
                    if component != frame.component {
                        return Err(MALFORMED);
                    }
                    let (dc_table, ac_table) = (usize::from(codes >> 4), usize::from(codes & 0x0F));
                    return Ok(Self {
                        rows: frame.rows,
                        columns: frame.columns,
                        restart_interval,
                        quantization: take_table(tables.quantization, frame.quantization_table)?,
                        dc_codes: take_table(tables.dc_codes, dc_table)?,
                        ac_codes: take_table(tables.ac_codes, ac_table)?,
                        scan: segments.0,
                    });
                }
                _ => {}
            }
        }
        Err(MALFORMED)
    }
}

impl Frame {
    fn read(segment: &[u8]) -> Result<Self, CodecError> {
        match *segment {
            [PRECISION, r, s, c, d, 1, component, _, quantization_table] => Ok(Self {
                rows: usize::from(u16::from_be_bytes([r, s])),
                columns: usize::from(u16::from_be_bytes([c, d])),
                component,
                quantization_table: usize::from(quantization_table),
            }),
            [PRECISION, _, _, _, _, components, ..] if components > 1 => Err(UNSUPPORTED),
            _ => Err(MALFORMED),
        }
    }
}

impl Tables {
    /// Adds the tables of a segment (T.81 B.2.4.1). `None` if the segment is malformed.
    fn add_quantization(&mut self, mut segment: &[u8]) -> Option<()> {
        while let [header, rest @ ..] = segment {
            let width = usize::from(header >> 4) + 1;
            let (values, further) = rest.split_at_checked(width * BLOCK)?;
            let mut table = [0.0; BLOCK];
            for (quantum, bytes) in table.iter_mut().zip(values.chunks_exact(width)) {
                *quantum = match bytes {
                    [byte] => f32::from(*byte),
                    [high, low] => f32::from(u16::from_be_bytes([*high, *low])),
                    _ => return None,
                };
            }
            *self.quantization.get_mut(usize::from(header & 0x0F))? = Some(table);
            segment = further;
        }
        Some(())
    }

    /// Adds the tables of a segment (T.81 B.2.4.2). `None` if the segment is malformed.
    fn add_codes(&mut self, mut segment: &[u8]) -> Option<()> {
        while let [header, rest @ ..] = segment {
            let (counts, rest) = rest.split_first_chunk::<16>()?;
            let symbol_count = counts.iter().map(|count| usize::from(*count)).sum();
            let (symbols, further) = rest.split_at_checked(symbol_count)?;
            let tables = match header >> 4 {
                0 => &mut self.dc_codes,
                1 => &mut self.ac_codes,
                _ => return None,
            };
            *tables.get_mut(usize::from(header & 0x0F))? = Some(Codes::new(counts, symbols)?);
            segment = further;
        }
        Some(())
    }
}

fn take_table<T>(mut tables: [Option<T>; 4], number: usize) -> Result<T, CodecError> {
    tables.get_mut(number).and_then(Option::take).ok_or(MALFORMED)
}

fn word(segment: &[u8], offset: usize) -> Option<usize> {
    let bytes = segment.get(offset..offset + 2)?.try_into().ok()?;
    Some(usize::from(u16::from_be_bytes(bytes)))
}

/// An iterator over markers and their segments (T.81 B.1.1.4). After the header of a scan, the rest is the data of this scan.
struct Segments<'a>(&'a [u8]);

impl<'a> Iterator for Segments<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match *self.0 {
                // The SOI marker, which has no segment, and fill bytes.
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
