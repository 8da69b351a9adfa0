//! Reads the marker segments before the entropy-coded data (T.81 B.2): the frame header, the quantization and Huffman tables, the
//! restart interval, and the scan header, which selects tables.

use super::super::MALFORMED;
use super::huffman::HuffmanTable;
use super::idct::BLOCK_SIZE;
use crate::CodecError;

/// The sample precision P of the frame header.
const PRECISION: u8 = 12;

const UNSUPPORTED: CodecError = CodecError::Unsupported("JPEG of 12 bits with more than one component");

// The markers of the segments that are read (T.81 table B.1).

/// Start of frame: extended sequential DCT, Huffman coding.
const SOF1: u8 = 0xC1;
/// Define Huffman tables.
const DHT: u8 = 0xC4;
/// Start of scan.
const SOS: u8 = 0xDA;
/// Define quantization tables.
const DQT: u8 = 0xDB;
/// Define restart interval.
const DRI: u8 = 0xDD;

/// The content of the marker segments, and the entropy-coded data after them.
pub(super) struct JpegHeaders<'a> {
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// The restart interval Ri in blocks; 0 if restart is disabled.
    pub(super) restart_interval: usize,
    /// The quantization table, in zig-zag order.
    pub(super) quantization_table: [f32; BLOCK_SIZE],
    /// The Huffman table of DC coefficients.
    pub(super) dc_table: HuffmanTable,
    /// The Huffman table of AC coefficients.
    pub(super) ac_table: HuffmanTable,
    /// The entropy-coded data of the scan.
    pub(super) entropy_coded_data: &'a [u8],
}

/// The content of the frame header (T.81 B.2.2).
#[derive(Clone, Copy)]
struct FrameHeader {
    rows: usize,
    columns: usize,
    /// The component identifier C1.
    component_identifier: u8,
    /// The quantization table destination selector Tq1.
    quantization_destination: usize,
}

/// The tables by their destination identifiers (T.81 B.2.4).
#[derive(Default)]
struct Tables {
    quantization: [Option<[f32; BLOCK_SIZE]>; 4],
    dc: [Option<HuffmanTable>; 4],
    ac: [Option<HuffmanTable>; 4],
}

/// Whether the frame header of `stream` declares Extended JPEG of 12 bits.
pub(in super::super) fn is_12_bit_extended(stream: &[u8]) -> bool {
    let mut segments = MarkerSegments(stream);
    segments.any(|(marker, segment)| marker == SOF1 && segment.first() == Some(&PRECISION))
}

impl<'a> JpegHeaders<'a> {
    pub(super) fn read(stream: &'a [u8]) -> Result<Self, CodecError> {
        let mut segments = MarkerSegments(stream);
        let (mut tables, mut restart_interval, mut frame) = (Tables::default(), 0, None);
        while let Some((marker, segment)) = segments.next() {
            match marker {
                DQT => tables.add_quantization_tables(segment).ok_or(MALFORMED)?,
                DHT => tables.add_huffman_tables(segment).ok_or(MALFORMED)?,
                DRI => restart_interval = read_u16(segment, 0).ok_or(MALFORMED)?,
                SOF1 if frame.is_none() => frame = Some(FrameHeader::read(segment)?),
                // A stream has exactly one frame header (T.81 B.2.1).
                0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => return Err(MALFORMED),
                SOS => {
                    let frame = frame.ok_or(MALFORMED)?;
                    // One component with its tables, and all coefficients in one scan.
                    let [1, component_identifier, destinations, 0, 63, 0] = *segment else {
                        return Err(MALFORMED);
                    };
                    if component_identifier != frame.component_identifier {
                        return Err(MALFORMED);
                    }
                    let (dc_destination, ac_destination) =
                        (usize::from(destinations >> 4), usize::from(destinations & 0x0F));
                    return Ok(Self {
                        rows: frame.rows,
                        columns: frame.columns,
                        restart_interval,
                        quantization_table: take_table(tables.quantization, frame.quantization_destination)?,
                        dc_table: take_table(tables.dc, dc_destination)?,
                        ac_table: take_table(tables.ac, ac_destination)?,
                        entropy_coded_data: segments.0,
                    });
                }
                _ => {}
            }
        }
        Err(MALFORMED)
    }
}

impl FrameHeader {
    fn read(segment: &[u8]) -> Result<Self, CodecError> {
        match *segment {
            [PRECISION, y_high, y_low, x_high, x_low, 1, component_identifier, _, destination] => Ok(Self {
                rows: usize::from(u16::from_be_bytes([y_high, y_low])),
                columns: usize::from(u16::from_be_bytes([x_high, x_low])),
                component_identifier,
                quantization_destination: usize::from(destination),
            }),
            [PRECISION, _, _, _, _, component_count, ..] if component_count > 1 => Err(UNSUPPORTED),
            _ => Err(MALFORMED),
        }
    }
}

impl Tables {
    /// Adds the tables of a DQT segment (T.81 B.2.4.1). `None` if the segment is malformed.
    fn add_quantization_tables(&mut self, mut segment: &[u8]) -> Option<()> {
        while let [precision_and_destination, rest @ ..] = segment {
            let width = usize::from(precision_and_destination >> 4) + 1;
            let (values, following) = rest.split_at_checked(width * BLOCK_SIZE)?;
            let mut table = [0.0; BLOCK_SIZE];
            for (value, bytes) in table.iter_mut().zip(values.chunks_exact(width)) {
                *value = match bytes {
                    [byte] => f32::from(*byte),
                    [high, low] => f32::from(u16::from_be_bytes([*high, *low])),
                    _ => return None,
                };
            }
            *self.quantization.get_mut(usize::from(precision_and_destination & 0x0F))? = Some(table);
            segment = following;
        }
        Some(())
    }

    /// Adds the tables of a DHT segment (T.81 B.2.4.2). `None` if the segment is malformed.
    fn add_huffman_tables(&mut self, mut segment: &[u8]) -> Option<()> {
        while let [class_and_destination, rest @ ..] = segment {
            let (code_counts, rest) = rest.split_first_chunk::<16>()?;
            let symbol_count = code_counts.iter().map(|count| usize::from(*count)).sum();
            let (symbols, following) = rest.split_at_checked(symbol_count)?;
            let tables = match class_and_destination >> 4 {
                0 => &mut self.dc,
                1 => &mut self.ac,
                _ => return None,
            };
            *tables.get_mut(usize::from(class_and_destination & 0x0F))? =
                Some(HuffmanTable::new(code_counts, symbols)?);
            segment = following;
        }
        Some(())
    }
}

fn take_table<T>(mut tables: [Option<T>; 4], destination: usize) -> Result<T, CodecError> {
    tables.get_mut(destination).and_then(Option::take).ok_or(MALFORMED)
}

fn read_u16(segment: &[u8], offset: usize) -> Option<usize> {
    let bytes = segment.get(offset..offset + 2)?.try_into().ok()?;
    Some(usize::from(u16::from_be_bytes(bytes)))
}

/// An iterator over the marker segments (T.81 B.1.1.4): the marker, and the parameters after the length. After the SOS segment,
/// the rest is the entropy-coded data of the scan.
struct MarkerSegments<'a>(&'a [u8]);

impl<'a> Iterator for MarkerSegments<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match *self.0 {
                // The SOI marker, which has no segment, and fill bytes.
                [0xFF, 0xD8, ref rest @ ..] => self.0 = rest,
                [0xFF, 0xFF, ..] => self.0 = &self.0[1..],
                [0xFF, marker, ref rest @ ..] => {
                    let length = read_u16(rest, 0)?;
                    let segment = rest.get(2..length)?;
                    self.0 = rest.get(length..)?;
                    return Some((marker, segment));
                }
                _ => return None,
            }
        }
    }
}
