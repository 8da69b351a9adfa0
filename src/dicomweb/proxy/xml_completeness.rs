//! Determines whether an XML text is complete: the root element is closed, and only comments, processing instructions and white
//! space follow (XML 1.0, 2.1).
//!
//! Only brackets, quotation marks and slashes are read. The module does not check whether the text is well-formed.

/// The position in the text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum XmlPosition {
    /// Outside of markup.
    #[default]
    Content,
    /// After `<`.
    TagOpen,
    /// In a start tag or an empty-element tag.
    StartTag { ends_with_slash: bool },
    /// In an end tag.
    EndTag,
    /// In the value of an attribute in this kind of quotation marks.
    Quoted(u8),
    /// In a declaration, or in an incomplete `<!--` or `<![CDATA[`, after this number of bytes after `<!`.
    Declaration(usize),
    /// In a comment, a CDATA section or a processing instruction that ends with `end`. The last `matched_len` bytes are the start of
    /// `end`.
    Unparsed { end: &'static [u8], matched_len: usize },
}

/// The state between two chunks of a text.
#[derive(Debug, Default)]
pub(crate) struct XmlCompleteness {
    position: XmlPosition,
    /// The number of open elements.
    depth: u64,
    /// Whether the root element is closed.
    is_root_closed: bool,
    /// The first bytes of the last declaration.
    declaration: [u8; 2],
}

impl XmlCompleteness {
    /// Reads the next chunk of the text.
    pub(crate) fn read(&mut self, mut chunk: &[u8]) {
        while let Some((byte, rest)) = chunk.split_first() {
            if self.position == XmlPosition::Content {
                let Some(index) = memchr::memchr(b'<', chunk) else { return };
                self.position = XmlPosition::TagOpen;
                chunk = chunk.get(index + 1..).unwrap_or_default();
                continue;
            }
            self.position = self.position_after(*byte);
            chunk = rest;
        }
    }

    /// Whether the text is complete after the chunks that have been read.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_root_closed && self.depth == 0 && self.position == XmlPosition::Content
    }

    /// Returns the position after `byte`, which is part of markup.
    fn position_after(&mut self, byte: u8) -> XmlPosition {
        match (self.position, byte) {
            (XmlPosition::Content, _) => XmlPosition::Content,
            (XmlPosition::TagOpen, b'/') => XmlPosition::EndTag,
            (XmlPosition::TagOpen, b'?') => XmlPosition::Unparsed { end: b"?>", matched_len: 0 },
            (XmlPosition::TagOpen, b'!') => XmlPosition::Declaration(0),
            (XmlPosition::StartTag { .. }, b'"' | b'\'') => XmlPosition::Quoted(byte),
            (XmlPosition::StartTag { ends_with_slash }, b'>') => {
                if !ends_with_slash {
                    self.depth += 1;
                }
                self.is_root_closed |= self.depth == 0;
                XmlPosition::Content
            }
            (XmlPosition::TagOpen | XmlPosition::StartTag { .. }, _) => {
                XmlPosition::StartTag { ends_with_slash: byte == b'/' }
            }
            (XmlPosition::EndTag, b'>') => {
                self.depth = self.depth.saturating_sub(1);
                self.is_root_closed |= self.depth == 0;
                XmlPosition::Content
            }
            (XmlPosition::EndTag, _) => XmlPosition::EndTag,
            (XmlPosition::Quoted(quote), _) if byte == quote => {
                XmlPosition::StartTag { ends_with_slash: false }
            }
            (XmlPosition::Quoted(quote), _) => XmlPosition::Quoted(quote),
            (XmlPosition::Declaration(length), _) => self.position_in_declaration(length, byte),
            (XmlPosition::Unparsed { end, matched_len }, _) => position_in_unparsed(end, matched_len, byte),
        }
    }

    /// Returns the position after `byte`. `length` is the number of bytes between `<!` and `byte`.
    fn position_in_declaration(&mut self, length: usize, byte: u8) -> XmlPosition {
        if let Some(stored_byte) = self.declaration.get_mut(length) {
            *stored_byte = byte;
        }
        match (length, self.declaration) {
            (1, [b'-', b'-']) => XmlPosition::Unparsed { end: b"-->", matched_len: 0 },
            (0, [b'[', _]) => XmlPosition::Unparsed { end: b"]]>", matched_len: 0 },
            // A document type declaration ends at the first bracket, because no DICOMweb service returns an internal subset.
            _ if byte == b'>' => XmlPosition::Content,
            _ => XmlPosition::Declaration(length.saturating_add(1)),
        }
    }
}

/// Returns the position after `byte` of a section that ends with `end`.
fn position_in_unparsed(end: &'static [u8], matched_len: usize, byte: u8) -> XmlPosition {
    if end.get(matched_len) == Some(&byte) {
        return if matched_len + 1 == end.len() {
            XmlPosition::Content
        } else {
            XmlPosition::Unparsed { end, matched_len: matched_len + 1 }
        };
    }
    // `--->` and `]]]>` repeat the first byte of `end` before the bracket.
    let is_first_byte = end.first() == Some(&byte);
    let matched_len = if is_first_byte { matched_len.clamp(1, end.len() - 1) } else { 0 };
    XmlPosition::Unparsed { end, matched_len }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_complete(text: &str, size: usize) -> bool {
        let mut completeness = XmlCompleteness::default();
        text.as_bytes().chunks(size).for_each(|chunk| completeness.read(chunk));
        completeness.is_complete()
    }

    const DOCUMENT: &str = "<?xml version=\"1.0\"?><!DOCTYPE a><!-- <a> --->\n<NativeDicomModel xml:space='/>'><DicomAttribute tag=\"00080005\" vr=\"CS\" \
        keyword=\"a>b\"/><a><![CDATA[</NativeDicomModel>]]]></a><b>1 > 0</b ><c/></NativeDicomModel>";

    #[test]
    fn an_xml_text_that_is_truncated_at_any_byte_is_incomplete() {
        for size in [1, 3, 64, DOCUMENT.len()] {
            for length in 0..DOCUMENT.len() {
                assert!(!is_complete(&DOCUMENT[..length], size), "{length} in chunks of {size}");
            }
            assert!(is_complete(DOCUMENT, size));
        }
    }

    #[test]
    fn comments_and_white_space_may_follow_the_root_element() {
        for end in ["\n", "<!-- -->", "<?x?>\r\n", " <!----> "] {
            assert!(is_complete(&format!("{DOCUMENT}{end}"), 5), "{end}");
        }
        for end in ["<!-- --", "<?x", "<", "<a>"] {
            assert!(!is_complete(&format!("{DOCUMENT}{end}"), 5), "{end}");
        }
        assert!(is_complete("<a/>", 1));
        assert!(!is_complete("", 1) && !is_complete("<!-- -->", 1) && !is_complete("text", 1));
    }
}
