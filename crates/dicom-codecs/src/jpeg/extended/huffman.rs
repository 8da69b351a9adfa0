//! Reads the bits of a scan and their Huffman codes (T.81 F.2.2).

use super::super::MALFORMED;
use crate::CodecError;

/// The maximum length of a code.
const MAX_LEN: usize = 16;

/// A table of codes (T.81 C.2).
#[derive(Debug, Clone)]
pub(super) struct Codes {
    /// For each code length, beginning with 1: the smallest number that is greater than every code of this length, shifted left to
    /// [`MAX_LEN`] bits; and the number to add to a code to get the index of its symbol.
    lengths: [(u32, i32); MAX_LEN],
    symbols: Vec<u8>,
}

impl Codes {
    /// Creates a table from the number of codes of each length, and their symbols. `None` if there are too many codes of a length.
    pub(super) fn new(counts: &[u8; MAX_LEN], symbols: &[u8]) -> Option<Self> {
        let (mut code, mut index) = (0_i32, 0_i32);
        let mut lengths = [(0, 0); MAX_LEN];
        for (length, (count, entry)) in counts.iter().zip(&mut lengths).enumerate() {
            let first = code;
            code += i32::from(*count);
            if code > 1 << (length + 1) {
                return None;
            }
            *entry = (u32::try_from(code).ok()? << (MAX_LEN - 1 - length), index - first);
            index += i32::from(*count);
            code <<= 1;
        }
        (usize::try_from(index) == Ok(symbols.len())).then(|| Self { lengths, symbols: symbols.to_vec() })
    }

    /// Returns the symbol whose code is at the start of `bits`, and the length of this code.
    fn find(&self, bits: u32) -> Option<(u8, u32)> {
        let is_within = |(end, _): &(u32, i32)| bits < *end;
        let length = self.lengths.iter().position(is_within)?;
        let code = i32::try_from(bits >> (MAX_LEN - 1 - length)).ok()?;
        let symbol = self.symbols.get(usize::try_from(code + self.lengths[length].1).ok()?)?;
        Some((*symbol, u32::try_from(length).ok()? + 1))
    }
}

/// The bits of a scan up to the next marker.
#[derive(Debug)]
pub(super) struct JpegBits<'a> {
    bytes: &'a [u8],
    /// Bits that were taken from `bytes` and not yet read: the lowest `bit_count` bits of this number.
    buffer: u64,
    bit_count: u32,
    /// The number of the next restart marker.
    next_restart: u8,
}

impl<'a> JpegBits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, buffer: 0, bit_count: 0, next_restart: 0 }
    }

    /// Reads the next code and returns its symbol.
    pub(super) fn next_symbol(&mut self, codes: &Codes) -> Result<u8, CodecError> {
        self.fill();
        // If fewer than `MAX_LEN` bits remain, zeros are appended. A code that would need them is rejected below.
        let bits = (self.buffer << MAX_LEN >> self.bit_count) & 0xFFFF;
        let (symbol, length) = u32::try_from(bits).ok().and_then(|bits| codes.find(bits)).ok_or(MALFORMED)?;
        self.bit_count = self.bit_count.checked_sub(length).ok_or(MALFORMED)?;
        Ok(symbol)
    }

    /// Reads a value of `size` bits, at most 15 (T.81 F.2.2.1, EXTEND): values that begin with a zero are negative.
    pub(super) fn next_value(&mut self, size: u8) -> Result<i32, CodecError> {
        if size == 0 {
            return Ok(0);
        }
        self.fill();
        self.bit_count = self.bit_count.checked_sub(u32::from(size)).ok_or(MALFORMED)?;
        let bits = i32::try_from(self.buffer >> self.bit_count & ((1 << size) - 1)).map_err(|_| MALFORMED)?;
        Ok(if bits < 1 << (size - 1) { bits + 1 - (1 << size) } else { bits })
    }

    /// Skips the next restart marker. Fails if another marker or unread data follows.
    pub(super) fn restart(&mut self) -> Result<(), CodecError> {
        // The remaining bits of the last byte are padding. A whole unread byte would be data of a block that should not exist.
        self.fill();
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

    /// Fills the buffer with enough bits for any code or value, if there are enough before the next marker.
    fn fill(&mut self) {
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
    fn codes() -> Codes {
        let mut counts = [0; MAX_LEN];
        counts[..3].fill(1);
        Codes::new(&counts, &[5, 6, 7]).unwrap()
    }

    #[test]
    fn codes_are_distinguished_by_their_first_bits() {
        let mut bits = JpegBits::new(&[0b0101_1001, 0b0111_1111]);
        let symbols: Vec<_> = (0..5).map(|_| bits.next_symbol(&codes()).unwrap()).collect();
        assert_eq!(symbols, [5, 6, 7, 5, 6]);
        assert_eq!(bits.next_value(2).unwrap(), 3);
        assert!(bits.next_symbol(&codes()).is_err(), "no code consists of ones only");
    }

    #[test]
    fn values_that_begin_with_a_zero_are_negative() {
        let mut bits = JpegBits::new(&[0b0100_0110, 0b1100_0111]);
        let values: Vec<_> = [1, 1, 2, 2, 2, 2, 3, 3].map(|size| bits.next_value(size).unwrap()).into();
        assert_eq!(values, [-1, 1, -3, -2, 2, 3, -7, 7]);
        assert!(bits.next_value(1).is_err(), "all bits are read");
    }

    #[test]
    fn a_table_with_too_many_codes_is_rejected() {
        let mut counts = [0; MAX_LEN];
        counts[0] = 3;
        assert!(Codes::new(&counts, &[1, 2, 3]).is_none());
        assert!(Codes::new(&[1; MAX_LEN], &[1, 2, 3]).is_none());
    }

    #[test]
    fn restart_markers_must_be_in_order() {
        let mut bits = JpegBits::new(&[0b0111_1111, 0xFF, 0xD0, 0b0111_1111, 0xFF, 0xFF, 0xD1, 0xFF, 0xD1]);
        for _ in 0..2 {
            assert_eq!(bits.next_symbol(&codes()).unwrap(), 5);
            bits.restart().unwrap();
        }
        assert!(bits.restart().is_err());
    }
}
