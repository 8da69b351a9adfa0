//! Decides whether a JSON text is one complete array or object, by its brackets outside of strings (RFC 8259 2).
//!
//! All rows and metadata are read here, so text is read in blocks, with loops that the compiler vectorizes: five times as fast
//! as searching for the ends of strings.

/// Bytes that are read together.
const BLOCK: usize = 64;

/// Opening and closing brackets are counted in the two halves of a byte.
const OPENING: u8 = 0x01;
const CLOSING: u8 = 0x10;

/// The state between two chunks of a text.
#[derive(Debug, Default)]
pub(crate) struct JsonCompleteness {
    depth: i64,
    /// All bits are set inside a string, none outside.
    in_text: u64,
    escaped: bool,
    begun: bool,
}

impl JsonCompleteness {
    pub(crate) fn read(&mut self, chunk: &[u8]) {
        let (blocks, rest) = chunk.as_chunks();
        for block in blocks {
            self.block(block);
        }
        self.bytes(rest);
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.begun && self.depth == 0 && self.in_text == 0
    }

    /// Reads a block. Without escapes, a string begins or ends at every quote, and the brackets between strings count.
    fn block(&mut self, block: &[u8; BLOCK]) {
        let (mut quotes, mut brackets, mut escapes) = ([0_u8; BLOCK], [0_u8; BLOCK], 0_u8);
        for at in 0..BLOCK {
            let byte = block[at];
            quotes[at] = if byte == b'"' { 0xff } else { 0 };
            escapes |= if byte == b'\\' { 0xff } else { 0 };
            // Square and curly brackets differ only in this bit, and no other byte becomes a bracket by it.
            let bracket = byte | 0x20;
            brackets[at] =
                (if bracket == b'{' { OPENING } else { 0 }) | (if bracket == b'}' { CLOSING } else { 0 });
        }
        if escapes != 0 || self.escaped {
            return self.bytes(block);
        }
        let mut parities = [0_u64; BLOCK / 8];
        for (parity, quotes) in parities.iter_mut().zip(quotes.as_chunks().0) {
            // Each byte becomes the parity of the quotes up to it.
            *parity = u64::from_le_bytes(*quotes);
            *parity ^= *parity << 8;
            *parity ^= *parity << 16;
            *parity ^= *parity << 32;
        }
        let mut counts = 0;
        for (parity, brackets) in parities.iter().zip(brackets.as_chunks().0) {
            let inside = parity ^ self.in_text;
            self.in_text = (inside.cast_signed() >> 63).cast_unsigned();
            // At most eight in each half of a byte, so that none overflows.
            counts += u64::from_le_bytes(*brackets) & !inside;
        }
        let sum = |halves: u64| (halves & 0x0f0f_0f0f_0f0f_0f0f).wrapping_mul(0x0101_0101_0101_0101) >> 56;
        let (opened, closed) = (sum(counts), sum(counts >> 4));
        self.begun |= opened > 0;
        self.depth += opened.cast_signed() - closed.cast_signed();
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.escaped {
                self.escaped = false;
                continue;
            }
            match byte {
                b'"' => self.in_text = !self.in_text,
                b'\\' => self.escaped = self.in_text != 0,
                b'[' | b'{' if self.in_text == 0 => {
                    self.depth += 1;
                    self.begun = true;
                }
                b']' | b'}' if self.in_text == 0 => self.depth -= 1,
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
        let mut end = JsonCompleteness::default();
        text.chunks(size).for_each(|chunk| end.read(chunk));
        end
    }

    #[test]
    fn a_json_text_truncated_at_any_byte_is_incomplete() {
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
        fn blocks_and_single_bytes_give_the_same_result(
            text in prop::collection::vec(prop::sample::select(b"\"\"\\[]{}{}ab;~[[".to_vec()), 0..400), size in 1_usize..300,
        ) {
            let blocks = read(&text, size);
            let mut bytes = JsonCompleteness::default();
            bytes.bytes(&text);
            let state = |end: &JsonCompleteness| (end.depth, end.in_text, end.escaped, end.begun);
            prop_assert_eq!(state(&blocks), state(&bytes));
        }
    }
}
