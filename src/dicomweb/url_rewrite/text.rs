//! Rewriting of addresses in DICOM JSON (PS3.18 Annex F) and Native DICOM XML (PS3.19 A.1) while they stream by.
//!
//! UrlMap are looked for where they stand: in BulkDataURI, in RetrieveURL (0008,1190), and behind `http` anywhere.
//! Everything else passes byte for byte, and the result is the same however the text is cut into chunks: a token that is
//! cut off is held back, never more than [`MAX_ADDRESS_LEN`], and read again with what follows.
//!
//! The states in which the reader may be between two bytes; whatever else comes leads back to `Scan`:
//!
//! ```text
//!          http           end of the address
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

/// No address is as long; whatever is, where an address must stand, is an attack.
const MAX_ADDRESS_LEN: usize = 8 * 1024;

/// As much of a chunk as is copied at first, to complete what was held back before it: a row's worth of an address.
const JOINED: usize = 512;

/// How the value of RetrieveURL nearly always begins.
const USUAL: &[u8] = br#""vr":"UR","Value":[""#;

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

/// Where in the text the rewriter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RewriteState {
    /// Anywhere, looking for the next place of an address.
    Scan,
    /// Behind a JSON key whose value is an address or, for an element, holds some; `true` behind the colon too.
    Key { element: bool, colon: bool },
    /// Inside the JSON value of RetrieveURL, so many brackets deep.
    Element { depth: usize },
    /// At the first byte of a quoted text where an address stands; back to that depth of an element behind it.
    Text { quote: u8, depth: usize },
    /// At the `h` of an address in any text.
    Anywhere,
    /// Behind `uri=` of a `BulkData` tag.
    Attribute,
    /// Inside a tag below the RetrieveURL of XML.
    Tag,
    /// At the first byte of a text below the RetrieveURL of XML.
    Content,
}

/// What is to be done next.
enum RewriteStep {
    /// Go on from there.
    To(usize),
    /// Bytes are missing: what follows there is held back.
    HoldFrom(usize),
    /// The text is scanned to its end.
    Done,
}

/// Replaces the archive's addresses in a text that comes in chunks.
#[derive(Debug)]
pub struct Rewriter {
    addresses: UrlMap,
    syntax: Syntax,
    finders: [Finder<'static>; 3],
    state: RewriteState,
    /// What was held back of earlier chunks.
    held: Vec<u8>,
    /// The byte before what comes next.
    before: u8,
    /// How the archive spelled its root the last time that it was not spelled as it is configured.
    other_root: Vec<u8>,
}

impl Rewriter {
    /// A rewriter at the start of a text.
    pub fn new(addresses: UrlMap, syntax: Syntax) -> Self {
        let places: [&[u8]; 3] = match syntax {
            Syntax::Json => [b"http", b"\"BulkDataURI\"", b"\"00081190\""],
            Syntax::Xml => [b"http", b"uri=", b"\"00081190\""],
        };
        let finders = places.map(|place| Finder::new(place).into_owned());
        Self {
            addresses,
            syntax,
            finders,
            state: RewriteState::Scan,
            held: Vec::new(),
            before: 0,
            other_root: Vec::new(),
        }
    }

    /// Takes the next chunk and gives what can go out. A chunk without addresses goes out as it came, uncopied.
    pub fn push(&mut self, chunk: &Bytes) -> Result<Bytes, RewriteError> {
        let mut written = BytesMut::new();
        let mut joined = JOINED;
        // What was held back is read with as much of the chunk as completes it, and the rest of the chunk where it stands.
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

    /// Gives what was held back, as the text has ended.
    pub fn finish(&mut self) -> Result<Bytes, RewriteError> {
        let rest = Bytes::from(std::mem::take(&mut self.held));
        let (output, end) = self.run(&rest, BytesMut::new(), true)?;
        if end < rest.len() { Err(RewriteError::Incomplete) } else { Ok(output.take(end)) }
    }

    /// The rest of a chunk, behind what was `written` already.
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
        last: bool,
    ) -> Result<(Output<'a>, usize), RewriteError> {
        let mut output = Output { chunk, written, kept: 0 };
        let mut next: [Option<usize>; 3] = [Some(0); 3];
        let mut position = 0;
        let end = loop {
            let step = match self.state {
                RewriteState::Scan => self.scan(chunk, position, last, &mut next),
                RewriteState::Key { element, colon } => self.key(chunk, position, element, colon),
                RewriteState::Element { depth } => self.element(chunk, position, depth),
                RewriteState::Text { quote, depth } => self.text(&mut output, position, quote, depth)?,
                RewriteState::Anywhere => self.anywhere(&mut output, position, last),
                RewriteState::Attribute => self.attribute(chunk, position),
                RewriteState::Tag => self.tag(chunk, position)?,
                RewriteState::Content => self.content(&mut output, position)?,
            };
            match step {
                RewriteStep::To(further) => position = further,
                RewriteStep::HoldFrom(from) => break from,
                RewriteStep::Done => break chunk.len(),
            }
        };
        if let Some(byte) = end.checked_sub(1).and_then(|at| chunk.get(at)) {
            self.before = *byte;
        }
        Ok((output, end))
    }

    /// To the next place of an address.
    fn scan(
        &mut self,
        chunk: &[u8],
        position: usize,
        last: bool,
        next: &mut [Option<usize>; 3],
    ) -> RewriteStep {
        for (next, finder) in next.iter_mut().zip(&self.finders) {
            if next.is_some_and(|at| at < position || at == 0) {
                let rest = chunk.get(position..).unwrap_or_default();
                *next = finder.find(rest).map(|at| at + position);
            }
        }
        let nearest = next.iter().enumerate().filter_map(|(place, at)| at.map(|at| (at, place))).min();
        let Some((at, place)) = nearest else {
            return if last {
                RewriteStep::Done
            } else {
                RewriteStep::HoldFrom(chunk.len() - self.begun(chunk, position))
            };
        };
        let behind = at + self.finders.get(place).map_or(0, |finder| finder.needle().len());
        if place == 0 {
            self.state = RewriteState::Anywhere;
            return RewriteStep::To(at);
        }
        let before = at.checked_sub(1).and_then(|at| chunk.get(at)).copied().unwrap_or(self.before);
        self.state = match (self.syntax, place) {
            // The quote belongs to a text that holds quotes.
            (Syntax::Json, _) if before == b'\\' => RewriteState::Scan,
            (Syntax::Json, place) => RewriteState::Key { element: place == 2, colon: false },
            (Syntax::Xml, 1) if before.is_ascii_whitespace() => RewriteState::Attribute,
            (Syntax::Xml, 1) => RewriteState::Scan,
            (Syntax::Xml, _) => RewriteState::Tag,
        };
        RewriteStep::To(behind)
    }

    /// How many bytes at the end could be the beginning of a place.
    fn begun(&self, chunk: &[u8], position: usize) -> usize {
        let rest = chunk.get(position..).unwrap_or_default();
        let begun_by = |needle: &[u8]| {
            let longest = rest.len().min(needle.len() - 1);
            (1..=longest)
                .rev()
                .find(|length| needle.get(..*length).is_some_and(|start| rest.ends_with(start)))
        };
        self.finders.iter().filter_map(|finder| begun_by(finder.needle())).max().unwrap_or(0)
    }

    /// Over blanks and the colon behind a key, to its value.
    fn key(&mut self, chunk: &[u8], position: usize, element: bool, colon: bool) -> RewriteStep {
        let rest = chunk.get(position..).unwrap_or_default();
        let Some(blanks) = rest.iter().position(|byte| !byte.is_ascii_whitespace()) else {
            return RewriteStep::Done;
        };
        let at = position + blanks;
        let (state, further) = match (chunk.get(at), colon) {
            (Some(b':'), false) => (RewriteState::Key { element, colon: true }, at + 1),
            (Some(b'"'), true) => (RewriteState::Text { quote: b'"', depth: 0 }, at + 1),
            (Some(b'{' | b'['), true) if element => (RewriteState::Element { depth: 1 }, at + 1),
            _ => (RewriteState::Scan, at),
        };
        self.state = state;
        RewriteStep::To(further)
    }

    /// To the next text or bracket inside an element.
    fn element(&mut self, chunk: &[u8], position: usize, depth: usize) -> RewriteStep {
        let rest = chunk.get(position..).unwrap_or_default();
        // As nearly every archive writes it, this token holds no URL.
        if self.syntax == Syntax::Json && depth == 1 && rest.starts_with(USUAL) {
            self.state = RewriteState::Text { quote: b'"', depth: 2 };
            return RewriteStep::To(position + USUAL.len());
        }
        let telling = |byte: &u8| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']');
        let Some(at) = rest.iter().position(telling).map(|at| at + position) else {
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

    /// A quoted text where an address stands.
    fn text(
        &mut self,
        output: &mut Output<'_>,
        start: usize,
        quote: u8,
        depth: usize,
    ) -> Result<RewriteStep, RewriteError> {
        let rest = output.chunk.get(start..).unwrap_or_default();
        let Some(length) = self.length_of_text(rest, quote) else { return hold(start, rest.len()) };
        if length > MAX_ADDRESS_LEN {
            return Err(RewriteError::UrlTooLong);
        }
        let text = rest.get(..length).unwrap_or_default();
        // Inside an element stand keys and its value representation too.
        if depth == 0 || text.iter().any(|byte| matches!(byte, b'/' | b':' | b'\\')) {
            self.replace(output, start, text);
        }
        self.state = if depth == 0 { RewriteState::Scan } else { RewriteState::Element { depth } };
        Ok(RewriteStep::To(start + length + 1))
    }

    /// Up to the quote that ends a text; `None` when it has not come.
    fn length_of_text(&self, rest: &[u8], quote: u8) -> Option<usize> {
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

    /// Judges an address where one must stand.
    fn replace(&mut self, output: &mut Output<'_>, start: usize, text: &[u8]) {
        // Spelled as it is configured, as it nearly always is, or as it was before.
        let root = self.addresses.length_of_root(text).or_else(|| self.length_of_other_root(text));
        if let Some(root) = root {
            output.replace(start, root, self.addresses.public().as_bytes());
            return;
        }
        match self.addresses.rewrite(&self.syntax.unescaped(text)) {
            UrlRewrite::Unchanged => {}
            UrlRewrite::Dropped => output.replace(start, text.len(), b""),
            UrlRewrite::Rewritten(address) => {
                output.replace(start, text.len(), self.syntax.escaped(&address).as_bytes());
                self.other_root.clear();
                if let Some(resource) = address.strip_prefix(self.addresses.public())
                    && let Some(root) = text.strip_suffix(resource.as_bytes())
                    // Where resources stand inside one another, which of them is meant depends on all of it.
                    && !root.ends_with(b"/studies") && memchr::memmem::find(root, b"/studies/").is_none()
                {
                    self.other_root.extend_from_slice(root);
                }
            }
        }
    }

    /// How long the other root is with which `text` begins, when a resource follows it that is served here.
    fn length_of_other_root(&self, text: &[u8]) -> Option<usize> {
        if self.other_root.is_empty() {
            return None;
        }
        let resource = text.strip_prefix(self.other_root.as_slice())?;
        self.addresses.serves(resource).then_some(self.other_root.len())
    }

    /// An absolute address in any text.
    fn anywhere(&mut self, output: &mut Output<'_>, start: usize, last: bool) -> RewriteStep {
        let rest = output.chunk.get(start..).unwrap_or_default();
        let scheme = match scheme_of(rest) {
            Scheme::Complete => Some(()),
            Scheme::CutOff if !last => return RewriteStep::HoldFrom(start),
            Scheme::CutOff | Scheme::None => None,
        };
        self.state = RewriteState::Scan;
        if scheme.is_none() {
            return RewriteStep::To(start + b"http".len());
        }
        let mut length = 0;
        loop {
            if length > MAX_ADDRESS_LEN {
                // Only a long text.
                return RewriteStep::To(start + b"http".len());
            }
            match (rest.get(length), rest.get(length + 1)) {
                (Some(b'\\'), Some(b'/')) => length += 2,
                (Some(b'\\') | None, None) if !last => {
                    self.state = RewriteState::Anywhere;
                    return RewriteStep::HoldFrom(start);
                }
                (Some(b'\\' | b'"' | b'<' | b'>' | 0..=b' ' | 0x7f) | None, _) => break,
                (Some(_), _) => length += 1,
            }
        }
        let text = rest.get(..length).unwrap_or_default();
        match self.addresses.rewrite_in_text(&self.syntax.unescaped(text)) {
            UrlRewrite::Unchanged => {}
            UrlRewrite::Dropped => {
                output.replace(start, length, self.syntax.escaped(self.addresses.public()).as_bytes());
            }
            UrlRewrite::Rewritten(address) => {
                output.replace(start, length, self.syntax.escaped(&address).as_bytes());
            }
        }
        RewriteStep::To(start + length)
    }

    /// Behind `uri=`, to the text in quotes.
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

    /// To the end of a tag below RetrieveURL.
    fn tag(&mut self, chunk: &[u8], position: usize) -> Result<RewriteStep, RewriteError> {
        let rest = chunk.get(position..).unwrap_or_default();
        let Some(length) = memchr::memchr(b'>', rest) else { return hold(position, rest.len()) };
        if length > MAX_ADDRESS_LEN {
            return Err(RewriteError::UrlTooLong);
        }
        let tag = rest.get(..length).unwrap_or_default();
        let over = tag.ends_with(b"/") || tag.starts_with(b"/DicomAttribute");
        self.state = if over { RewriteState::Scan } else { RewriteState::Content };
        Ok(RewriteStep::To(position + length + 1))
    }

    /// A text between tags below RetrieveURL.
    fn content(&mut self, output: &mut Output<'_>, start: usize) -> Result<RewriteStep, RewriteError> {
        let rest = output.chunk.get(start..).unwrap_or_default();
        let Some(length) = memchr::memchr(b'<', rest) else { return hold(start, rest.len()) };
        if length > MAX_ADDRESS_LEN {
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

/// Waits for the end of a token, as long as it can still be an address.
fn hold(start: usize, length: usize) -> Result<RewriteStep, RewriteError> {
    if length > MAX_ADDRESS_LEN { Err(RewriteError::UrlTooLong) } else { Ok(RewriteStep::HoldFrom(start)) }
}

#[cfg(test)]
mod tests;
