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
    /// After the key of RetrieveURL, whose value contains URLs.
    Key { is_after_colon: bool },
    /// Inside the value of RetrieveURL, within `depth` brackets.
    Element { depth: usize },
    /// At the first byte of a quoted text that is a URL, within `depth` brackets of an element.
    Text { depth: usize },
    /// Inside a quoted text that is dropped, because it is too long for a URL.
    Dropped { is_after_backslash: bool, then: AfterDropped },
    /// After a removed member, which was the first of its object, so that no comma may follow.
    Removed,
}

/// What follows a text that is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AfterDropped {
    /// The rest of the value of RetrieveURL; only the text is dropped, not its quotes.
    Element { depth: usize },
    /// The end of a member whose value becomes empty.
    Scan,
    /// The end of a removed member.
    Member { is_first: bool },
}

/// What precedes the key of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BeforeMember {
    /// A comma at this position.
    Comma(usize),
    /// The beginning of the object.
    Brace,
    /// Something else, or more white space than is retained.
    Unknown,
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
            JsonState::Scan => return self.scan(urls, output, position, is_end, next),
            JsonState::Key { is_after_colon } => self.read_key(output.chunk, position, is_after_colon),
            JsonState::Element { depth } => self.read_element(output.chunk, position, depth),
            JsonState::Text { depth } => return Ok(self.replace_quoted(urls, output, position, depth)),
            JsonState::Dropped { .. } if is_end => return Err(RewriteError::Incomplete),
            JsonState::Dropped { is_after_backslash, then } => {
                self.drop_text(output, position, is_after_backslash, then)
            }
            JsonState::Removed => self.remove_comma(output, position),
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
    ) -> Result<RewriteStep, RewriteError> {
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
            if is_end {
                return Ok(RewriteStep::Done);
            }
            let end = rest.len() - partial_len(rest, &TOKENS);
            return Ok(RewriteStep::RetainFrom(position + start_of_separator(rest, end)));
        };
        if token == 0 {
            return Ok(urls.replace_in_text(output, start, is_end, UrlContext::Text));
        }
        let previous_byte =
            start.checked_sub(1).and_then(|index| chunk.get(index)).copied().unwrap_or(self.previous_byte);
        let after = RewriteStep::ContinueAt(start + TOKENS.get(token).map_or(0, |token| token.len()));
        // After a backslash, the quote is part of a text.
        if previous_byte == b'\\' {
            return Ok(after);
        }
        if token == 1 {
            return self.read_bulk_data_uri(urls, output, position, start, is_end);
        }
        self.state = JsonState::Key { is_after_colon: false };
        Ok(after)
    }

    /// Replaces the value of the member BulkDataURI whose key is at `start`, or removes the member if clients cannot follow the URL.
    /// `scanned_from` is the end of the previous token, which does not separate members.
    fn read_bulk_data_uri(
        &mut self,
        urls: &mut UrlReplacer,
        output: &mut Output<'_>,
        scanned_from: usize,
        start: usize,
        is_end: bool,
    ) -> Result<RewriteStep, RewriteError> {
        let chunk = output.chunk;
        let between = chunk.get(scanned_from..start).unwrap_or_default();
        let before = before_member(between);
        let member = match before {
            BeforeMember::Comma(offset) => scanned_from + offset,
            BeforeMember::Brace | BeforeMember::Unknown => start,
        };
        let retained = if before == BeforeMember::Brace {
            // The brace shows that the member is the first one.
            scanned_from + start_of_separator(between, between.len())
        } else {
            member
        };
        let after_key = start + TOKENS[1].len();
        let value = match value_of_member(chunk.get(after_key..).unwrap_or_default()) {
            MemberValue::Quoted(offset) => after_key + offset,
            MemberValue::Other(offset) => return Ok(RewriteStep::ContinueAt(after_key + offset)),
            MemberValue::Incomplete if is_end => return Ok(RewriteStep::Done),
            MemberValue::Incomplete => return retain(retained, chunk.len() - start),
        };
        let rest = chunk.get(value..).unwrap_or_default();
        let Some(length) = quoted_len(rest) else {
            if rest.len() <= MAX_URL_LEN || is_end {
                return Ok(RewriteStep::RetainFrom(retained));
            }
            let then = match before {
                BeforeMember::Comma(_) => AfterDropped::Member { is_first: false },
                BeforeMember::Brace => AfterDropped::Member { is_first: true },
                BeforeMember::Unknown => AfterDropped::Scan,
            };
            if then != AfterDropped::Scan {
                output.replace(member, value - member, b"");
            }
            self.state = JsonState::Dropped { is_after_backslash: false, then };
            return Ok(RewriteStep::ContinueAt(value));
        };
        let end = value + length + 1;
        if !urls.replace_if_served(output, value, rest.get(..length).unwrap_or_default()) {
            match before {
                BeforeMember::Unknown => output.replace(value, length, b""),
                BeforeMember::Comma(_) => output.replace(member, end - member, b""),
                BeforeMember::Brace => {
                    output.replace(member, end - member, b"");
                    self.state = JsonState::Removed;
                }
            }
        }
        Ok(RewriteStep::ContinueAt(end))
    }

    /// Drops a text up to its closing quote, with the quote if its member is removed.
    fn drop_text(
        &mut self,
        output: &mut Output<'_>,
        position: usize,
        is_after_backslash: bool,
        then: AfterDropped,
    ) -> RewriteStep {
        let rest = output.chunk.get(position..).unwrap_or_default();
        let mut length = usize::from(is_after_backslash);
        let closing = loop {
            let Some(offset) = memchr::memchr2(b'"', b'\\', rest.get(length..).unwrap_or_default()) else {
                break None;
            };
            length += offset;
            if rest.get(length) == Some(&b'"') {
                break Some(length);
            }
            length += 2;
        };
        let Some(length) = closing else {
            output.replace(position, rest.len(), b"");
            self.state = JsonState::Dropped { is_after_backslash: length > rest.len(), then };
            return RewriteStep::Done;
        };
        let (dropped, state) = match then {
            AfterDropped::Element { depth } => (length, JsonState::Element { depth }),
            AfterDropped::Scan => (length, JsonState::Scan),
            AfterDropped::Member { is_first: false } => (length + 1, JsonState::Scan),
            AfterDropped::Member { is_first: true } => (length + 1, JsonState::Removed),
        };
        output.replace(position, dropped, b"");
        self.state = state;
        RewriteStep::ContinueAt(position + length + 1)
    }

    /// Removes the comma after a removed member.
    fn remove_comma(&mut self, output: &mut Output<'_>, position: usize) -> RewriteStep {
        let rest = output.chunk.get(position..).unwrap_or_default();
        let Some(space_count) = rest.iter().position(|byte| !byte.is_ascii_whitespace()) else {
            return RewriteStep::Done;
        };
        self.state = JsonState::Scan;
        let index = position + space_count;
        if rest.get(space_count) != Some(&b',') {
            return RewriteStep::ContinueAt(index);
        }
        output.replace(index, 1, b"");
        RewriteStep::ContinueAt(index + 1)
    }

    /// Skips white space and the colon after the key of RetrieveURL, up to its value.
    fn read_key(&mut self, chunk: &[u8], position: usize, is_after_colon: bool) -> RewriteStep {
        let rest = chunk.get(position..).unwrap_or_default();
        let Some(space_count) = rest.iter().position(|byte| !byte.is_ascii_whitespace()) else {
            return RewriteStep::Done;
        };
        let index = position + space_count;
        let (state, next) = match (chunk.get(index), is_after_colon) {
            (Some(b':'), false) => (JsonState::Key { is_after_colon: true }, index + 1),
            (Some(b'"'), true) => (JsonState::Text { depth: 0 }, index + 1),
            (Some(b'{' | b'['), true) => (JsonState::Element { depth: 1 }, index + 1),
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
    ) -> RewriteStep {
        let rest = output.chunk.get(start..).unwrap_or_default();
        let Some(length) = quoted_len(rest) else {
            if rest.len() <= MAX_URL_LEN {
                return RewriteStep::RetainFrom(start);
            }
            let then = if depth == 0 { AfterDropped::Scan } else { AfterDropped::Element { depth } };
            self.state = JsonState::Dropped { is_after_backslash: false, then };
            return RewriteStep::ContinueAt(start);
        };
        let text = rest.get(..length).unwrap_or_default();
        // An element also contains keys and its value representation.
        if depth == 0 || length > MAX_URL_LEN || text.iter().any(|byte| matches!(byte, b'/' | b':' | b'\\')) {
            urls.replace(output, start, text);
        }
        self.state = if depth == 0 { JsonState::Scan } else { JsonState::Element { depth } };
        RewriteStep::ContinueAt(start + length + 1)
    }
}

/// The value of a member.
enum MemberValue {
    /// A quoted text, whose first byte has this offset.
    Quoted(usize),
    /// Something else at this offset.
    Other(usize),
    /// It has not arrived yet.
    Incomplete,
}

/// Finds the value of a member in `rest`, the bytes after its key.
fn value_of_member(rest: &[u8]) -> MemberValue {
    let next_byte = |from: usize| {
        let rest = rest.get(from..).unwrap_or_default();
        rest.iter().position(|byte| !byte.is_ascii_whitespace()).map(|offset| from + offset)
    };
    let Some(colon) = next_byte(0) else { return MemberValue::Incomplete };
    if rest.get(colon) != Some(&b':') {
        return MemberValue::Other(colon);
    }
    match next_byte(colon + 1) {
        Some(quote) if rest.get(quote) == Some(&b'"') => MemberValue::Quoted(quote + 1),
        Some(other) => MemberValue::Other(other),
        None => MemberValue::Incomplete,
    }
}

/// Determines what precedes a key by `text`, the bytes before it.
fn before_member(text: &[u8]) -> BeforeMember {
    let trimmed = text.trim_ascii_end();
    match trimmed.last() {
        _ if text.len() - trimmed.len() > MAX_SEPARATOR_SPACE => BeforeMember::Unknown,
        Some(b',') => BeforeMember::Comma(trimmed.len() - 1),
        Some(b'{') => BeforeMember::Brace,
        _ => BeforeMember::Unknown,
    }
}

/// Maximum number of white space characters before a key that are retained with what precedes them.
const MAX_SEPARATOR_SPACE: usize = 256;

/// Returns the position in `text` of the comma or brace that precedes `end`, which is retained because a member that follows may
/// be removed; `end` if there is none.
fn start_of_separator(text: &[u8], end: usize) -> usize {
    let before = text.get(..end).unwrap_or(text);
    let trimmed = before.trim_ascii_end();
    if before.len() - trimmed.len() > MAX_SEPARATOR_SPACE {
        return end;
    }
    match trimmed.last() {
        Some(b',' | b'{') => trimmed.len() - 1,
        // White space at the beginning may follow a separator.
        _ => end,
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
