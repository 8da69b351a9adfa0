//! Finds the end of an object of JSON text that arrives in pieces, by the brackets outside of strings (RFC 8259 2).

/// The position in an object.
#[derive(Debug, Default)]
pub(super) struct ObjectEnd {
    /// The number of open brackets.
    depth: usize,
    is_in_string: bool,
    /// Whether the last byte was a backslash, which escapes the next one.
    is_escaped: bool,
}

impl ObjectEnd {
    /// Reads the next piece of the text; returns whether the object ends in it.
    pub(super) fn is_in(&mut self, piece: &str) -> bool {
        let mut rest = piece.as_bytes();
        loop {
            if self.is_escaped {
                let Some((_, after)) = rest.split_first() else { return false };
                self.is_escaped = false;
                rest = after;
            }
            let position = if self.is_in_string {
                rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))
            } else {
                rest.iter().position(|byte| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']'))
            };
            let Some(position) = position else { return false };
            let (read, after) = rest.split_at(position + 1);
            match read.last() {
                Some(b'"') => self.is_in_string = !self.is_in_string,
                Some(b'\\') => self.is_escaped = true,
                Some(b'{' | b'[') => self.depth += 1,
                _ if self.depth <= 1 => return true,
                _ => self.depth -= 1,
            }
            rest = after;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_in_the_piece_with_the_last_bracket() {
        for object in [r"{}", r#"{"a":[{"b":"}"}],"c":"\"}\\"}"#, r#"{"}\\\"{":[[],{}]}"#] {
            let text = format!("{object},{{}}]");
            for size in 1..=text.len() {
                let mut end = ObjectEnd::default();
                let pieces =
                    (0..text.len()).step_by(size).map(|from| &text[from..text.len().min(from + size)]);
                let number = pieces.enumerate().find(|(_, piece)| end.is_in(piece)).unwrap().0;
                assert_eq!(number, (object.len() - 1) / size, "{object} in pieces of {size}");
            }
            assert!(!ObjectEnd::default().is_in(&object[..object.len() - 1]));
        }
    }
}
