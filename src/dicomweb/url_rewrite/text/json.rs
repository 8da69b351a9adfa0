//! URLs in DICOM JSON (PS3.18 Annex F): in BulkDataURI, in RetrieveURL (0008,1190), and after `http` anywhere.
//!
//! The states of the reader between two bytes; any other input leads back to `Scan`:
//!
//! ```text
//!   "BulkDataURI"                   :   "            "
//!   Scan ──────────────► Key { element: false } ──► Text ───────► Scan
//!
//!          "00081190"                      :   {            "          "
//!   Scan ──────────────► Key { element: true } ──► Element ──► Text ──────► Element
//!                                                     │  { [ deeper, } ] back
//!                                                     └────────────────────► Scan, when its own bracket closes
//! ```

use memchr::memmem::Finder;

use super::super::output::Output;
use super::replacer::{MAX_URL_LEN, RewriteError, RewriteStep, UrlReplacer, Within, hold, partial_len};

/// The tokens before URLs.
const TOKENS: [&[u8]; 3] = [b"http", b"\"BulkDataURI\"", b"\"00081190\""];

/// The usual beginning of the value of RetrieveURL.
const USUAL_BEGINNING: &[u8] = br#""vr":"UR","Value":[""#;

/// The position of the rewriter in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JsonState {
    /// Anywhere, searching for the next URL.
    Scan,
    /// After a key whose value is a URL or, for an element, contains URLs; `colon`: after its colon too.
    Key { element: bool, colon: bool },
    /// Inside the value of RetrieveURL, within `depth` brackets.
    Element { depth: usize },
    /// At the first byte of a quoted text that is a URL; after it, back to that depth of an element.
    Text { depth: usize },
}

/// Finds URLs in a JSON text.
#[derive(Debug)]
pub(super) struct JsonReader {
    state: JsonState,
    /// For [`TOKENS`].
    finders: [Finder<'static>; 3],
    /// The byte before the next one.
    pub(super) before: u8,
}

impl JsonReader {
    /// A reader at the start of a text.
    pub(super) fn new() -> Self {
        let finders = TOKENS.map(|token| Finder::new(token).into_owned());
        Self { state: JsonState::Scan, finders, before: 0 }
    }

    /// Reads the next step.
    pub(super) fn step(
        &mut self,
        urls: &mut UrlReplacer,
        output: &mut Output<'_>,
        position: usize,
        is_end: bool,
        next: &mut [Option<usize>; 3],
    ) -> Result<RewriteStep, RewriteError> {
        Ok(match self.state {
            JsonState::Scan => self.scan(urls, output, position, is_end, next),
            JsonState::Key { element, colon } => self.key(output.chunk, position, element, colon),
            JsonState::Element { depth } => self.element(output.chunk, position, depth),
            JsonState::Text { depth } => return self.quoted(urls, output, position, depth),
        })
    }

    /// Advances to the next token before a URL.
    fn scan(
        &mut self,
        urls: &mut UrlReplacer,
        output: &mut Output<'_>,
        position: usize,
        is_end: bool,
        next: &mut [Option<usize>; 3],
    ) -> RewriteStep {
        let chunk = output.chunk;
        let rest = chunk.get(position..).unwrap_or_default();
        for (next, finder) in next.iter_mut().zip(&self.finders) {
            if next.is_some_and(|at| at < position || at == 0) {
                *next = finder.find(rest).map(|at| at + position);
            }
        }
        let nearest = next.iter().enumerate().filter_map(|(token, at)| at.map(|at| (at, token))).min();
        let Some((at, token)) = nearest else {
            return if is_end {
                RewriteStep::Done
            } else {
                RewriteStep::HoldFrom(chunk.len() - partial_len(rest, &TOKENS))
            };
        };
        if token == 0 {
            return urls.anywhere(output, at, is_end, Within::Text);
        }
        let before = at.checked_sub(1).and_then(|at| chunk.get(at)).copied().unwrap_or(self.before);
        // After a backslash, the quote is part of a text.
        if before != b'\\' {
            self.state = JsonState::Key { element: token == 2, colon: false };
        }
        RewriteStep::To(at + TOKENS.get(token).map_or(0, |token| token.len()))
    }

    /// Skips white space and the colon after a key, up to its value.
    fn key(&mut self, chunk: &[u8], position: usize, element: bool, colon: bool) -> RewriteStep {
        let rest = chunk.get(position..).unwrap_or_default();
        let Some(blanks) = rest.iter().position(|byte| !byte.is_ascii_whitespace()) else {
            return RewriteStep::Done;
        };
        let at = position + blanks;
        let (state, next) = match (chunk.get(at), colon) {
            (Some(b':'), false) => (JsonState::Key { element, colon: true }, at + 1),
            (Some(b'"'), true) => (JsonState::Text { depth: 0 }, at + 1),
            (Some(b'{' | b'['), true) if element => (JsonState::Element { depth: 1 }, at + 1),
            _ => (JsonState::Scan, at),
        };
        self.state = state;
        RewriteStep::To(next)
    }

    /// Advances to the next text or bracket inside an element.
    fn element(&mut self, chunk: &[u8], position: usize, depth: usize) -> RewriteStep {
        let rest = chunk.get(position..).unwrap_or_default();
        // Nearly every archive writes this token, which contains no URL.
        if depth == 1 && rest.starts_with(USUAL_BEGINNING) {
            self.state = JsonState::Text { depth: 2 };
            return RewriteStep::To(position + USUAL_BEGINNING.len());
        }
        let is_delimiter = |byte: &u8| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']');
        let Some(at) = rest.iter().position(is_delimiter).map(|at| at + position) else {
            return RewriteStep::Done;
        };
        self.state = match chunk.get(at) {
            Some(b'"') => JsonState::Text { depth },
            Some(b'{' | b'[') => JsonState::Element { depth: depth + 1 },
            _ if depth <= 1 => JsonState::Scan,
            _ => JsonState::Element { depth: depth - 1 },
        };
        RewriteStep::To(at + 1)
    }

    /// Reads a quoted text that is a URL.
    fn quoted(
        &mut self,
        urls: &mut UrlReplacer,
        output: &mut Output<'_>,
        start: usize,
        depth: usize,
    ) -> Result<RewriteStep, RewriteError> {
        let rest = output.chunk.get(start..).unwrap_or_default();
        let Some(length) = quoted_len(rest) else { return hold(start, rest.len()) };
        if length > MAX_URL_LEN {
            return Err(RewriteError::UrlTooLong);
        }
        let text = rest.get(..length).unwrap_or_default();
        // An element contains keys and its value representation too.
        if depth == 0 || text.iter().any(|byte| matches!(byte, b'/' | b':' | b'\\')) {
            urls.replace(output, start, text);
        }
        self.state = if depth == 0 { JsonState::Scan } else { JsonState::Element { depth } };
        Ok(RewriteStep::To(start + length + 1))
    }
}

/// The length of a text up to its closing quote; `None` if the quote has not arrived.
fn quoted_len(rest: &[u8]) -> Option<usize> {
    let mut length = 0;
    loop {
        length += memchr::memchr2(b'"', b'\\', rest.get(length..)?)?;
        if rest.get(length) == Some(&b'"') {
            return Some(length);
        }
        length += 2;
    }
}
