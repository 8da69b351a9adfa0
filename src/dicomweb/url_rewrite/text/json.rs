//! Finds URLs in DICOM JSON (PS3.18 Annex F): in BulkDataURI, in RetrieveURL (0008,1190), and absolute URLs in any text.
//!
//! The states of the parser between two bytes; after any other input the state is `Scan`:
//!
//! ```text
//!         "BulkDataURI"                               :  "           "
//!   Scan ───────────────► Key { is_element: false } ────────► Text ─────► Scan
//!
//!         "00081190"                                  :  {              "           "
//!   Scan ───────────────► Key { is_element: true } ─────────► Element ─────► Text ─────► Element
//!                                                              │  { [ enter a bracket, } ] leave it
//!                                                              └──────────► Scan, after the closing bracket of the value
//! ```

use memchr::memmem::Finder;

use super::super::output::Output;
use super::replacer::{MAX_URL_LEN, RewriteError, RewriteStep, UrlContext, UrlReplacer, partial_len, retain};

/// The tokens before URLs.
const TOKENS: [&[u8]; 3] = [b"http", b"\"BulkDataURI\"", b"\"00081190\""];

/// The usual start of the value of RetrieveURL.
const USUAL_PREFIX: &[u8] = br#""vr":"UR","Value":[""#;

/// The position of the rewriter in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JsonState {
    /// Before the next token that precedes a URL.
    Scan,
    /// After a key whose value is a URL or, for an element, contains URLs.
    Key { is_element: bool, is_after_colon: bool },
    /// Inside the value of RetrieveURL, within `depth` brackets.
    Element { depth: usize },
    /// At the first byte of a quoted text that is a URL, within `depth` brackets of an element.
    Text { depth: usize },
}

/// Finds URLs in a JSON text.
#[derive(Debug)]
pub(super) struct JsonReader {
    state: JsonState,
    /// The finders of [`TOKENS`].
    finders: [Finder<'static>; 3],
    /// The last byte of the previous chunk.
    pub(super) previous_byte: u8,
}

impl JsonReader {
    /// Creates a reader for a text.
    pub(super) fn new() -> Self {
        let finders = TOKENS.map(|token| Finder::new(token).into_owned());
        Self { state: JsonState::Scan, finders, previous_byte: 0 }
    }

    /// Executes the next step. `next` contains the next position of each of [`TOKENS`]: 0 before it was searched for, and `None` if
    /// there is none.
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
            JsonState::Key { is_element, is_after_colon } => {
                self.read_key(output.chunk, position, is_element, is_after_colon)
            }
            JsonState::Element { depth } => self.read_element(output.chunk, position, depth),
            JsonState::Text { depth } => return self.replace_quoted(urls, output, position, depth),
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
            if next.is_some_and(|start| start < position || start == 0) {
                *next = finder.find(rest).map(|offset| offset + position);
            }
        }
        let nearest =
            next.iter().enumerate().filter_map(|(token, start)| start.map(|start| (start, token))).min();
        let Some((start, token)) = nearest else {
            return if is_end {
                RewriteStep::Done
            } else {
                RewriteStep::RetainFrom(chunk.len() - partial_len(rest, &TOKENS))
            };
        };
        if token == 0 {
            return urls.replace_in_text(output, start, is_end, UrlContext::Text);
        }
        let previous_byte =
            start.checked_sub(1).and_then(|index| chunk.get(index)).copied().unwrap_or(self.previous_byte);
        // After a backslash, the quote is part of a text.
        if previous_byte != b'\\' {
            self.state = JsonState::Key { is_element: token == 2, is_after_colon: false };
        }
        RewriteStep::ContinueAt(start + TOKENS.get(token).map_or(0, |token| token.len()))
    }

    /// Skips white space and the colon after a key, up to its value.
    fn read_key(
        &mut self,
        chunk: &[u8],
        position: usize,
        is_element: bool,
        is_after_colon: bool,
    ) -> RewriteStep {
        let rest = chunk.get(position..).unwrap_or_default();
        let Some(space_count) = rest.iter().position(|byte| !byte.is_ascii_whitespace()) else {
            return RewriteStep::Done;
        };
        let index = position + space_count;
        let (state, next) = match (chunk.get(index), is_after_colon) {
            (Some(b':'), false) => (JsonState::Key { is_element, is_after_colon: true }, index + 1),
            (Some(b'"'), true) => (JsonState::Text { depth: 0 }, index + 1),
            (Some(b'{' | b'['), true) if is_element => (JsonState::Element { depth: 1 }, index + 1),
            _ => (JsonState::Scan, index),
        };
        self.state = state;
        RewriteStep::ContinueAt(next)
    }

    /// Advances to the next text or bracket inside an element.
    fn read_element(&mut self, chunk: &[u8], position: usize, depth: usize) -> RewriteStep {
        let rest = chunk.get(position..).unwrap_or_default();
        // Most archives write this text, which contains no URL.
        if depth == 1 && rest.starts_with(USUAL_PREFIX) {
            self.state = JsonState::Text { depth: 2 };
            return RewriteStep::ContinueAt(position + USUAL_PREFIX.len());
        }
        let is_delimiter = |byte: &u8| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']');
        let Some(index) = rest.iter().position(is_delimiter).map(|offset| offset + position) else {
            return RewriteStep::Done;
        };
        self.state = match chunk.get(index) {
            Some(b'"') => JsonState::Text { depth },
            Some(b'{' | b'[') => JsonState::Element { depth: depth + 1 },
            _ if depth <= 1 => JsonState::Scan,
            _ => JsonState::Element { depth: depth - 1 },
        };
        RewriteStep::ContinueAt(index + 1)
    }

    /// Replaces a quoted text that is a URL.
    fn replace_quoted(
        &mut self,
        urls: &mut UrlReplacer,
        output: &mut Output<'_>,
        start: usize,
        depth: usize,
    ) -> Result<RewriteStep, RewriteError> {
        let rest = output.chunk.get(start..).unwrap_or_default();
        let Some(length) = quoted_len(rest) else { return retain(start, rest.len()) };
        if length > MAX_URL_LEN {
            return Err(RewriteError::UrlTooLong);
        }
        let text = rest.get(..length).unwrap_or_default();
        // An element also contains keys and its value representation.
        if depth == 0 || text.iter().any(|byte| matches!(byte, b'/' | b':' | b'\\')) {
            urls.replace(output, start, text);
        }
        self.state = if depth == 0 { JsonState::Scan } else { JsonState::Element { depth } };
        Ok(RewriteStep::ContinueAt(start + length + 1))
    }
}

/// Returns the length of a text up to its closing quote; `None` if the quote has not arrived yet.
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
