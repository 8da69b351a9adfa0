//! Rewrites URLs in DICOM JSON (PS3.18 Annex F) and Native DICOM XML (PS3.19 A.1) while they stream.
//!
//! URLs are searched in BulkDataURI, in RetrieveURL (0008,1190), and after `http` anywhere. Everything else is unchanged, byte
//! for byte, and the result is the same for every chunking: a token that is cut off is held back, at most [`MAX_URL_LEN`]
//! bytes, and read again with the next chunk.
//!
//! The states of the reader between two bytes; any other input leads back to `Scan`:
//!
//! ```text
//!          http           end of the URL
//!   Scan ──────► Anywhere ──────────────────► Scan
//!
//!   JSON   "BulkDataURI"                   :   "            "
//!   Scan ──────────────► Key { element: false } ──► Text ───────► Scan
//!
//!          "00081190"                      :   {            "          "
//!   Scan ──────────────► Key { element: true } ──► Element ──► Text ──────► Element
//!                                                     │  { [ deeper, } ] back
//!                                                     └────────────────────► Scan, when its own bracket closes
//!
//!   XML    uri=              " or '          the same quote
//!   Scan ──────► Attribute ─────────► Text ────────────────► Scan
//!
//!          "00081190"       >             <
//!   Scan ────────────► Tag ───► Content ───► Tag … until the attribute's end tag ──► Scan
//! ```

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;

use super::output::Output;
use super::syntax::{Scheme, Syntax, scheme_of};
use super::url_map::{UrlMap, UrlRewrite};

/// No real URL is as long; a longer value of a URL element is an attack.
const MAX_URL_LEN: usize = 8 * 1024;

/// Bytes of a chunk that are first copied to complete a token that was held back: enough for a typical URL.
const JOINED_LEN: usize = 512;

/// The usual beginning of the value of RetrieveURL.
const USUAL_BEGINNING: &[u8] = br#""vr":"UR","Value":[""#;

/// Why the URLs of a text cannot be rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RewriteError {
    /// The text ends inside a token that may be a URL.
    #[error("the archive's response ended early")]
    Incomplete,
    /// A URL is longer than any real one.
    #[error("the archive's response holds a URL that is too long")]
    UrlTooLong,
}

/// The position of the rewriter in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RewriteState {
    /// Anywhere, searching for the next URL.
    Scan,
    /// After a JSON key whose value is a URL or, for an element, contains URLs; `colon`: after its colon too.
    Key { element: bool, colon: bool },
    /// Inside the JSON value of RetrieveURL, within `depth` brackets.
    Element { depth: usize },
    /// At the first byte of a quoted text that is a URL; after it, back to that depth of an element.
    Text { quote: u8, depth: usize },
    /// At the `h` of a URL in any text.
    Anywhere,
    /// After `uri=` of a `BulkData` tag.
    Attribute,
    /// Inside a tag below RetrieveURL in XML.
    Tag,
    /// At the first byte of a text below RetrieveURL in XML.
    Content,
}

/// The next step of the reader.
enum RewriteStep {
    /// Continue at this position.
    To(usize),
    /// Bytes are missing: hold back everything from this position.
    HoldFrom(usize),
    /// The text is scanned to its end.
    Done,
}

/// Replaces the archive's URLs in a text that arrives in chunks.
#[derive(Debug)]
pub struct Rewriter {
    url_map: UrlMap,
    syntax: Syntax,
    finders: [Finder<'static>; 3],
    state: RewriteState,
    /// The bytes of earlier chunks that were held back.
    held: Vec<u8>,
    /// The byte before the next one.
    before: u8,
    /// The root of the last URL that did not have the configured root.
    other_root: Vec<u8>,
}

impl Rewriter {
    /// A rewriter at the start of a text.
    pub fn new(url_map: UrlMap, syntax: Syntax) -> Self {
        let tokens: [&[u8]; 3] = match syntax {
            Syntax::Json => [b"http", b"\"BulkDataURI\"", b"\"00081190\""],
            Syntax::Xml => [b"http", b"uri=", b"\"00081190\""],
        };
        let finders = tokens.map(|token| Finder::new(token).into_owned());
        Self {
            url_map,
            syntax,
            finders,
            state: RewriteState::Scan,
            held: Vec::new(),
            before: 0,
            other_root: Vec::new(),
        }
    }

    /// Reads the next chunk and returns the output so far. A chunk without URLs is returned without a copy.
    pub fn push(&mut self, chunk: &Bytes) -> Result<Bytes, RewriteError> {
        let mut written = BytesMut::new();
        let mut joined = JOINED_LEN;
        // The bytes that were held back are joined with enough of the chunk to complete the token; the rest of the chunk is not
        // copied.
        while !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            let length = joined.min(chunk.len());
            let text = Bytes::from([&held, chunk.get(..length).unwrap_or_default()].concat());
            let (output, end) = self.run(&text, written, false)?;
            written = output.write(end);
            if let Some(read) = end.checked_sub(held.len()) {
                return self.rest(&chunk.slice(read..), written);
            }
            if length == chunk.len() {
                self.held.extend_from_slice(text.get(end..).unwrap_or_default());
                return Ok(written.freeze());
            }
            self.held.extend_from_slice(held.get(end..).unwrap_or_default());
            joined *= 4;
        }
        self.rest(chunk, written)
    }

    /// Returns the rest of the output at the end of the text.
    pub fn finish(&mut self) -> Result<Bytes, RewriteError> {
        let rest = Bytes::from(std::mem::take(&mut self.held));
        let (output, end) = self.run(&rest, BytesMut::new(), true)?;
        if end < rest.len() { Err(RewriteError::Incomplete) } else { Ok(output.take(end)) }
    }

    /// Reads the rest of a chunk; `written` is the output before it.
    fn rest(&mut self, chunk: &Bytes, written: BytesMut) -> Result<Bytes, RewriteError> {
        let (output, end) = self.run(chunk, written, false)?;
        self.held.extend_from_slice(chunk.get(end..).unwrap_or_default());
        Ok(output.take(end))
    }

    /// Scans `chunk`; returns its output, and the position up to which it was scanned.
    fn run<'a>(
        &mut self,
        chunk: &'a Bytes,
        written: BytesMut,
        is_end: bool,
    ) -> Result<(Output<'a>, usize), RewriteError> {
        let mut output = Output { chunk, written, position: 0 };
        let mut next: [Option<usize>; 3] = [Some(0); 3];
        let mut position = 0;
        let end = loop {
            let step = match self.state {
                RewriteState::Scan => self.scan(chunk, position, is_end, &mut next),
                RewriteState::Key { element, colon } => self.key(chunk, position, element, colon),
                RewriteState::Element { depth } => self.element(chunk, position, depth),
                RewriteState::Text { quote, depth } => self.text(&mut output, position, quote, depth)?,
                RewriteState::Anywhere => self.anywhere(&mut output, position, is_end),
                RewriteState::Attribute => self.attribute(chunk, position),
                RewriteState::Tag => self.tag(chunk, position)?,
                RewriteState::Content => self.content(&mut output, position)?,
            };
            match step {
                RewriteStep::To(next) => position = next,
                RewriteStep::HoldFrom(start) => break start,
                RewriteStep::Done => break chunk.len(),
            }
        };
        if let Some(byte) = end.checked_sub(1).and_then(|at| chunk.get(at)) {
            self.before = *byte;
        }
        Ok((output, end))
    }

    /// Advances to the next token before a URL.
    fn scan(
        &mut self,
        chunk: &[u8],
        position: usize,
        is_end: bool,
        next: &mut [Option<usize>; 3],
    ) -> RewriteStep {
        for (next, finder) in next.iter_mut().zip(&self.finders) {
            if next.is_some_and(|at| at < position || at == 0) {
                let rest = chunk.get(position..).unwrap_or_default();
                *next = finder.find(rest).map(|at| at + position);
            }
        }
        let nearest = next.iter().enumerate().filter_map(|(token, at)| at.map(|at| (at, token))).min();
        let Some((at, token)) = nearest else {
            return if is_end {
                RewriteStep::Done
            } else {
                RewriteStep::HoldFrom(chunk.len() - self.partial_len(chunk, position))
            };
        };
        let after = at + self.finders.get(token).map_or(0, |finder| finder.needle().len());
        if token == 0 {
            self.state = RewriteState::Anywhere;
            return RewriteStep::To(at);
        }
        let before = at.checked_sub(1).and_then(|at| chunk.get(at)).copied().unwrap_or(self.before);
        self.state = match (self.syntax, token) {
            // The quote is escaped: it is part of a text.
            (Syntax::Json, _) if before == b'\\' => RewriteState::Scan,
            (Syntax::Json, token) => RewriteState::Key { element: token == 2, colon: false },
            (Syntax::Xml, 1) if before.is_ascii_whitespace() => RewriteState::Attribute,
            (Syntax::Xml, 1) => RewriteState::Scan,
            (Syntax::Xml, _) => RewriteState::Tag,
        };
        RewriteStep::To(after)
    }

    /// The number of bytes at the end that may be the beginning of a token.
    fn partial_len(&self, chunk: &[u8], position: usize) -> usize {
        let rest = chunk.get(position..).unwrap_or_default();
        let partial_of = |needle: &[u8]| {
            let max = rest.len().min(needle.len() - 1);
            (1..=max).rev().find(|length| needle.get(..*length).is_some_and(|start| rest.ends_with(start)))
        };
        self.finders.iter().filter_map(|finder| partial_of(finder.needle())).max().unwrap_or(0)
    }

    /// Skips white space and the colon after a key, up to its value.
    fn key(&mut self, chunk: &[u8], position: usize, element: bool, colon: bool) -> RewriteStep {
        let rest = chunk.get(position..).unwrap_or_default();
        let Some(blanks) = rest.iter().position(|byte| !byte.is_ascii_whitespace()) else {
            return RewriteStep::Done;
        };
        let at = position + blanks;
        let (state, next) = match (chunk.get(at), colon) {
            (Some(b':'), false) => (RewriteState::Key { element, colon: true }, at + 1),
            (Some(b'"'), true) => (RewriteState::Text { quote: b'"', depth: 0 }, at + 1),
            (Some(b'{' | b'['), true) if element => (RewriteState::Element { depth: 1 }, at + 1),
            _ => (RewriteState::Scan, at),
        };
        self.state = state;
        RewriteStep::To(next)
    }

    /// Advances to the next text or bracket inside an element.
    fn element(&mut self, chunk: &[u8], position: usize, depth: usize) -> RewriteStep {
        let rest = chunk.get(position..).unwrap_or_default();
        // Nearly every archive writes this token, which contains no URL.
        if self.syntax == Syntax::Json && depth == 1 && rest.starts_with(USUAL_BEGINNING) {
            self.state = RewriteState::Text { quote: b'"', depth: 2 };
            return RewriteStep::To(position + USUAL_BEGINNING.len());
        }
        let is_delimiter = |byte: &u8| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']');
        let Some(at) = rest.iter().position(is_delimiter).map(|at| at + position) else {
            return RewriteStep::Done;
        };
        self.state = match chunk.get(at) {
            Some(b'"') => RewriteState::Text { quote: b'"', depth },
            Some(b'{' | b'[') => RewriteState::Element { depth: depth + 1 },
            _ if depth <= 1 => RewriteState::Scan,
            _ => RewriteState::Element { depth: depth - 1 },
        };
        RewriteStep::To(at + 1)
    }

    /// Reads a quoted text that is a URL.
    fn text(
        &mut self,
        output: &mut Output<'_>,
        start: usize,
        quote: u8,
        depth: usize,
    ) -> Result<RewriteStep, RewriteError> {
        let rest = output.chunk.get(start..).unwrap_or_default();
        let Some(length) = self.text_len(rest, quote) else { return hold(start, rest.len()) };
        if length > MAX_URL_LEN {
            return Err(RewriteError::UrlTooLong);
        }
        let text = rest.get(..length).unwrap_or_default();
        // An element contains keys and its value representation too.
        if depth == 0 || text.iter().any(|byte| matches!(byte, b'/' | b':' | b'\\')) {
            self.replace(output, start, text);
        }
        self.state = if depth == 0 { RewriteState::Scan } else { RewriteState::Element { depth } };
        Ok(RewriteStep::To(start + length + 1))
    }

    /// The length of a text up to its closing quote; `None` if the quote has not arrived.
    fn text_len(&self, rest: &[u8], quote: u8) -> Option<usize> {
        if self.syntax == Syntax::Xml {
            return memchr::memchr(quote, rest);
        }
        let mut length = 0;
        loop {
            length += memchr::memchr2(quote, b'\\', rest.get(length..)?)?;
            if rest.get(length) == Some(&quote) {
                return Some(length);
            }
            length += 2;
        }
    }

    /// Replaces a value that is a URL.
    fn replace(&mut self, output: &mut Output<'_>, start: usize, text: &[u8]) {
        // With the configured root, as nearly always, or with the other root that was seen before.
        let root = self.url_map.root_len(text).or_else(|| self.other_root_len(text));
        if let Some(root) = root {
            output.replace(start, root, self.url_map.public().as_bytes());
            return;
        }
        match self.url_map.rewrite(&self.syntax.unescaped(text)) {
            UrlRewrite::Unchanged => {}
            UrlRewrite::Dropped => output.replace(start, text.len(), b""),
            UrlRewrite::Rewritten(url) => {
                output.replace(start, text.len(), self.syntax.escaped(&url).as_bytes());
                self.other_root.clear();
                if let Some(resource) = url.strip_prefix(self.url_map.public())
                    && let Some(root) = text.strip_suffix(resource.as_bytes())
                    // If a path contains several resources, the whole path decides which of them is meant.
                    && !root.ends_with(b"/studies") && memchr::memmem::find(root, b"/studies/").is_none()
                {
                    self.other_root.extend_from_slice(root);
                }
            }
        }
    }

    /// The length of the other root, if `text` begins with it and a resource follows that the gateway serves.
    fn other_root_len(&self, text: &[u8]) -> Option<usize> {
        if self.other_root.is_empty() {
            return None;
        }
        let resource = text.strip_prefix(self.other_root.as_slice())?;
        self.url_map.serves(resource).then_some(self.other_root.len())
    }

    /// Reads an absolute URL in any text.
    fn anywhere(&mut self, output: &mut Output<'_>, start: usize, is_end: bool) -> RewriteStep {
        let rest = output.chunk.get(start..).unwrap_or_default();
        let scheme = match scheme_of(rest) {
            Scheme::Complete => Some(()),
            Scheme::CutOff if !is_end => return RewriteStep::HoldFrom(start),
            Scheme::CutOff | Scheme::None => None,
        };
        self.state = RewriteState::Scan;
        if scheme.is_none() {
            return RewriteStep::To(start + b"http".len());
        }
        let mut length = 0;
        loop {
            if length > MAX_URL_LEN {
                // A long text, not a URL.
                return RewriteStep::To(start + b"http".len());
            }
            match (rest.get(length), rest.get(length + 1)) {
                (Some(b'\\'), Some(b'/')) => length += 2,
                (Some(b'\\') | None, None) if !is_end => {
                    self.state = RewriteState::Anywhere;
                    return RewriteStep::HoldFrom(start);
                }
                (Some(b'\\' | b'"' | b'<' | b'>' | 0..=b' ' | 0x7f) | None, _) => break,
                (Some(_), _) => length += 1,
            }
        }
        let text = rest.get(..length).unwrap_or_default();
        match self.url_map.rewrite_in_text(&self.syntax.unescaped(text)) {
            UrlRewrite::Unchanged => {}
            UrlRewrite::Dropped => {
                output.replace(start, length, self.syntax.escaped(self.url_map.public()).as_bytes());
            }
            UrlRewrite::Rewritten(url) => {
                output.replace(start, length, self.syntax.escaped(&url).as_bytes());
            }
        }
        RewriteStep::To(start + length)
    }

    /// Advances from `uri=` to the text in quotes.
    fn attribute(&mut self, chunk: &[u8], position: usize) -> RewriteStep {
        match chunk.get(position) {
            None => RewriteStep::Done,
            Some(quote @ (b'"' | b'\'')) => {
                self.state = RewriteState::Text { quote: *quote, depth: 0 };
                RewriteStep::To(position + 1)
            }
            Some(_) => {
                self.state = RewriteState::Scan;
                RewriteStep::To(position)
            }
        }
    }

    /// Advances to the end of a tag below RetrieveURL.
    fn tag(&mut self, chunk: &[u8], position: usize) -> Result<RewriteStep, RewriteError> {
        let rest = chunk.get(position..).unwrap_or_default();
        let Some(length) = memchr::memchr(b'>', rest) else { return hold(position, rest.len()) };
        if length > MAX_URL_LEN {
            return Err(RewriteError::UrlTooLong);
        }
        let tag = rest.get(..length).unwrap_or_default();
        let is_end_of_attribute = tag.ends_with(b"/") || tag.starts_with(b"/DicomAttribute");
        self.state = if is_end_of_attribute { RewriteState::Scan } else { RewriteState::Content };
        Ok(RewriteStep::To(position + length + 1))
    }

    /// Reads a text between tags below RetrieveURL.
    fn content(&mut self, output: &mut Output<'_>, start: usize) -> Result<RewriteStep, RewriteError> {
        let rest = output.chunk.get(start..).unwrap_or_default();
        let Some(length) = memchr::memchr(b'<', rest) else { return hold(start, rest.len()) };
        if length > MAX_URL_LEN {
            return Err(RewriteError::UrlTooLong);
        }
        let text = rest.get(..length).unwrap_or_default();
        let trimmed = text.trim_ascii();
        if !trimmed.is_empty() {
            let blanks = text.len() - text.trim_ascii_start().len();
            self.replace(output, start + blanks, trimmed);
        }
        self.state = RewriteState::Tag;
        Ok(RewriteStep::To(start + length + 1))
    }
}

/// Holds a token back until its end, unless it is too long for a URL.
fn hold(start: usize, length: usize) -> Result<RewriteStep, RewriteError> {
    if length > MAX_URL_LEN { Err(RewriteError::UrlTooLong) } else { Ok(RewriteStep::HoldFrom(start)) }
}

#[cfg(test)]
mod tests;
