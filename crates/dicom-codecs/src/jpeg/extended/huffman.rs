//! Reads the Huffman codes and the additional bits of entropy-coded data (T.81 F.2.2).

use super::super::MALFORMED;
use crate::CodecError;

/// The maximum length of a Huffman code in bits.
const MAX_CODE_LENGTH: usize = 16;

/// A Huffman table (T.81 annex C).
#[derive(Debug, Clone)]
pub(super) struct HuffmanTable {
    /// The code ranges of the lengths from 1 to [`MAX_CODE_LENGTH`].
    ranges: [CodeRange; MAX_CODE_LENGTH],
    symbols: Vec<u8>,
}

impl HuffmanTable {
    /// Creates a table from the number of codes of each length (BITS), and their symbols (HUFFVAL). `None` if there are too many
    /// codes of a length, or if the number of symbols differs from the number of codes.
    pub(super) fn new(code_counts: &[u8; MAX_CODE_LENGTH], symbols: &[u8]) -> Option<Self> {
        let (mut code, mut index) = (0_i32, 0_i32);
        let mut ranges = [CodeRange::default(); MAX_CODE_LENGTH];
        for (length, (count, range)) in (1_usize..).zip(code_counts.iter().zip(&mut ranges)) {
            let first_code = code;
            code += i32::from(*count);
            if code > 1 << length {
                return None;
            }
            *range = CodeRange {
                end: u32::try_from(code).ok()? << (MAX_CODE_LENGTH - length),
                symbol_offset: index - first_code,
            };
            index += i32::from(*count);
            code <<= 1;
        }
        (usize::try_from(index) == Ok(symbols.len())).then(|| Self { ranges, symbols: symbols.to_vec() })
    }

    /// `bits` are the next [`MAX_CODE_LENGTH`] bits, as a number. Returns the symbol of the code that they begin with, and the length
    /// of the code.
    fn decode(&self, bits: u32) -> Option<(u8, u32)> {
        let index = self.ranges.iter().position(|range| bits < range.end)?;
        let code = i32::try_from(bits >> (MAX_CODE_LENGTH - 1 - index)).ok()?;
        let symbol = self.symbols.get(usize::try_from(code + self.ranges[index].symbol_offset).ok()?)?;
        Some((*symbol, u32::try_from(index).ok()? + 1))
    }
}

/// The codes of one length.
#[derive(Debug, Clone, Copy, Default)]
struct CodeRange {
    /// The smallest number that is greater than every code of this length, shifted left to [`MAX_CODE_LENGTH`] bits.
    end: u32,
    /// The number to add to a code to get the index of its symbol.
    symbol_offset: i32,
}

/// The bits of entropy-coded data up to the next marker.
#[derive(Debug)]
pub(super) struct EntropyCodedBits<'a> {
    bytes: &'a [u8],
    /// The bits that were read from `bytes` and not yet returned: the lowest `bit_count` bits of this number.
    buffer: u64,
    bit_count: u32,
    /// The number of the next restart marker.
    next_restart: u8,
}

impl<'a> EntropyCodedBits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, buffer: 0, bit_count: 0, next_restart: 0 }
    }

    /// Reads the next code and returns its symbol.
    pub(super) fn next_symbol(&mut self, table: &HuffmanTable) -> Result<u8, CodecError> {
        self.fill_buffer();
        // If fewer than `MAX_CODE_LENGTH` bits remain, zeros are appended. A code that would need them is rejected below.
        let bits = (self.buffer << MAX_CODE_LENGTH >> self.bit_count) & 0xFFFF;
        let (symbol, length) =
            u32::try_from(bits).ok().and_then(|bits| table.decode(bits)).ok_or(MALFORMED)?;
        self.bit_count = self.bit_count.checked_sub(length).ok_or(MALFORMED)?;
        Ok(symbol)
    }

    /// Reads `size` additional bits, at most 15, and returns their value (T.81 F.2.2.1, RECEIVE and EXTEND): it is negative if the
    /// first bit is zero.
    pub(super) fn next_value(&mut self, size: u8) -> Result<i32, CodecError> {
        if size == 0 {
            return Ok(0);
        }
        self.fill_buffer();
        self.bit_count = self.bit_count.checked_sub(u32::from(size)).ok_or(MALFORMED)?;
        let bits = i32::try_from(self.buffer >> self.bit_count & ((1 << size) - 1)).map_err(|_| MALFORMED)?;
        Ok(if bits < 1 << (size - 1) { bits + 1 - (1 << size) } else { bits })
    }

    /// Skips the next restart marker. Fails if another marker or unread data follows.
    pub(super) fn skip_restart_marker(&mut self) -> Result<(), CodecError> {
        // The remaining bits of the last byte are padding. A whole unread byte would be data of a block that should not exist.
        self.fill_buffer();
        if self.bit_count >= 8 {
            return Err(MALFORMED);
        }
        (self.buffer, self.bit_count) = (0, 0);
        let marker_prefix_length = self.bytes.iter().take_while(|byte| **byte == 0xFF).count();
        let marker = *self.bytes.get(marker_prefix_length).ok_or(MALFORMED)?;
        if marker_prefix_length == 0 || marker != 0xD0 + self.next_restart {
            return Err(MALFORMED);
        }
        self.bytes = &self.bytes[marker_prefix_length + 1..];
        self.next_restart = (self.next_restart + 1) % 8;
        Ok(())
    }

    /// Fills the buffer with enough bits for any code or value, if there are enough before the next marker. Removes stuffed zero
    /// bytes (T.81 B.1.1.5).
    fn fill_buffer(&mut self) {
        while self.bit_count <= 32 {
            let (byte, consumed) = match self.bytes {
                [0xFF, 0, ..] => (0xFF, 2),
                [0xFF, ..] | [] => return,
                [byte, ..] => (*byte, 1),
            };
            self.buffer = self.buffer << 8 | u64::from(byte);
            self.bit_count += 8;
            self.bytes = &self.bytes[consumed..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a table with the codes 0, 10 and 110 for the symbols 5, 6 and 7.
    fn table() -> HuffmanTable {
        let mut code_counts = [0; MAX_CODE_LENGTH];
        code_counts[..3].fill(1);
        HuffmanTable::new(&code_counts, &[5, 6, 7]).unwrap()
    }

    #[test]
    fn codes_are_distinguished_by_their_first_bits() {
        let mut bits = EntropyCodedBits::new(&[0b0101_1001, 0b0111_1111]);
        let symbols: Vec<_> = (0..5).map(|_| bits.next_symbol(&table()).unwrap()).collect();
        assert_eq!(symbols, [5, 6, 7, 5, 6]);
        assert_eq!(bits.next_value(2).unwrap(), 3);
        assert!(bits.next_symbol(&table()).is_err(), "no code consists of ones only");
    }

    #[test]
    fn values_that_begin_with_a_zero_are_negative() {
        let mut bits = EntropyCodedBits::new(&[0b0100_0110, 0b1100_0111]);
        let values: Vec<_> = [1, 1, 2, 2, 2, 2, 3, 3].map(|size| bits.next_value(size).unwrap()).into();
        assert_eq!(values, [-1, 1, -3, -2, 2, 3, -7, 7]);
        assert!(bits.next_value(1).is_err(), "all bits are read");
    }

    #[test]
    fn a_table_with_too_many_codes_or_too_few_symbols_is_rejected() {
        let mut code_counts = [0; MAX_CODE_LENGTH];
        code_counts[0] = 3;
        assert!(HuffmanTable::new(&code_counts, &[1, 2, 3]).is_none());
        assert!(HuffmanTable::new(&[1; MAX_CODE_LENGTH], &[1, 2, 3]).is_none());
    }

    #[test]
    fn restart_markers_must_be_in_order() {
        let mut bits =
            EntropyCodedBits::new(&[0b0111_1111, 0xFF, 0xD0, 0b0111_1111, 0xFF, 0xFF, 0xD1, 0xFF, 0xD1]);
        for _ in 0..2 {
            assert_eq!(bits.next_symbol(&table()).unwrap(), 5);
            bits.skip_restart_marker().unwrap();
        }
        assert!(bits.skip_restart_marker().is_err());
    }
}
