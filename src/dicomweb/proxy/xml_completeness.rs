//! Decides whether an XML text is complete: its root element is closed, and nothing but comments, processing instructions and white
//! space follows (XML 1.0, 2.1).
//!
//! Only brackets, quotes and slashes are read; whether the text is well-formed is not decided here.

/// The position in the text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum XmlPosition {
    /// Outside of markup.
    #[default]
    Content,
    /// After `<`.
    Open,
    /// In a start tag or an empty-element tag; `slash` if the last byte was a slash.
    StartTag { slash: bool },
    /// In an end tag.
    EndTag,
    /// In the value of an attribute, in these quotes.
    Quoted(u8),
    /// In `<!` and what follows it, until it is clear what it is; the number of bytes.
    Declaration(usize),
    /// In a comment, a CDATA section or a processing instruction that ends with `end`, of which `matched` bytes have been read.
    Unparsed { end: &'static [u8], matched: usize },
}

/// The state between two chunks of a text.
#[derive(Debug, Default)]
pub(crate) struct XmlCompleteness {
    position: XmlPosition,
    /// The number of open elements.
    depth: u64,
    /// The root element is closed.
    is_closed: bool,
    /// The first bytes of a declaration.
    declaration: [u8; 2],
}

impl XmlCompleteness {
    pub(crate) fn read(&mut self, mut chunk: &[u8]) {
        while let Some((first, rest)) = chunk.split_first() {
            if self.position == XmlPosition::Content {
                let Some(at) = memchr::memchr(b'<', chunk) else { return };
                self.position = XmlPosition::Open;
                chunk = chunk.get(at + 1..).unwrap_or_default();
                continue;
            }
            self.position = self.after(*first);
            chunk = rest;
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.is_closed && self.depth == 0 && self.position == XmlPosition::Content
    }

    /// The position after `byte` of markup.
    fn after(&mut self, byte: u8) -> XmlPosition {
        match (self.position, byte) {
            (XmlPosition::Content, _) => XmlPosition::Content,
            (XmlPosition::Open, b'/') => XmlPosition::EndTag,
            (XmlPosition::Open, b'?') => XmlPosition::Unparsed { end: b"?>", matched: 0 },
            (XmlPosition::Open, b'!') => XmlPosition::Declaration(0),
            (XmlPosition::StartTag { .. }, b'"' | b'\'') => XmlPosition::Quoted(byte),
            (XmlPosition::StartTag { slash }, b'>') => {
                if !slash {
                    self.depth += 1;
                }
                self.is_closed |= self.depth == 0;
                XmlPosition::Content
            }
            (XmlPosition::Open | XmlPosition::StartTag { .. }, _) => {
                XmlPosition::StartTag { slash: byte == b'/' }
            }
            (XmlPosition::EndTag, b'>') => {
                self.depth = self.depth.saturating_sub(1);
                self.is_closed |= self.depth == 0;
                XmlPosition::Content
            }
            (XmlPosition::EndTag, _) => XmlPosition::EndTag,
            (XmlPosition::Quoted(quote), _) if byte == quote => XmlPosition::StartTag { slash: false },
            (XmlPosition::Quoted(quote), _) => XmlPosition::Quoted(quote),
            (XmlPosition::Declaration(length), _) => self.after_declaration(length, byte),
            (XmlPosition::Unparsed { end, matched }, _) => after_unparsed(end, matched, byte),
        }
    }

    fn after_declaration(&mut self, length: usize, byte: u8) -> XmlPosition {
        if let Some(place) = self.declaration.get_mut(length) {
            *place = byte;
        }
        match (length, self.declaration) {
            (1, [b'-', b'-']) => XmlPosition::Unparsed { end: b"-->", matched: 0 },
            (0, [b'[', _]) => XmlPosition::Unparsed { end: b"]]>", matched: 0 },
            // A document type has no root element in it; an internal subset is not used by any DICOMweb service.
            _ if byte == b'>' => XmlPosition::Content,
            _ => XmlPosition::Declaration(length.saturating_add(1)),
        }
    }
}

fn after_unparsed(end: &'static [u8], matched: usize, byte: u8) -> XmlPosition {
    if end.get(matched) == Some(&byte) {
        return if matched + 1 == end.len() {
            XmlPosition::Content
        } else {
            XmlPosition::Unparsed { end, matched: matched + 1 }
        };
    }
    // `--->` and `]]]>` end with the same byte again and again before the bracket.
    let repeats = end.first() == Some(&byte);
    let matched = if repeats { matched.clamp(1, end.len() - 1) } else { 0 };
    XmlPosition::Unparsed { end, matched }
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
    fn an_xml_text_truncated_at_any_byte_is_incomplete() {
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
