//! Replaces one URL: the value of a URL element, or a URL in any text.
//!
//! Knows where a URL in a text ends, and how the archive wrote its other URLs; not where URLs are.

use memchr::memmem;

use super::super::output::Output;
use super::super::syntax::{Scheme, Syntax, scheme_of};
use super::super::url_map::{UrlMap, UrlRewrite};

/// No real URL is as long; a longer value of a URL element is an attack.
pub(super) const MAX_URL_LEN: usize = 8 * 1024;

pub(super) const HTTP: &[u8] = b"http";

/// The end of a comment in XML.
pub(super) const END_OF_COMMENT: &[u8] = b"-->";

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

/// The surroundings of a URL in any text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Within {
    /// Any text.
    Text,
    /// The value of an XML attribute in these quotes.
    Value { quote: u8 },
    /// XML without references, up to `end`.
    Unparsed { end: &'static [u8] },
}

/// The next step of a reader.
pub(super) enum RewriteStep {
    /// Continue at this position.
    To(usize),
    /// Bytes are missing: hold back everything from this position.
    HoldFrom(usize),
    /// The text is scanned to its end.
    Done,
}

/// Replaces the URLs of one archive in one text.
#[derive(Debug)]
pub(super) struct UrlReplacer {
    pub(super) url_map: UrlMap,
    syntax: Syntax,
    /// The root of the last URL that did not have the configured root.
    other_root: Vec<u8>,
}

impl UrlReplacer {
    /// A replacer for a text in this syntax.
    pub(super) fn new(url_map: UrlMap, syntax: Syntax) -> Self {
        Self { url_map, syntax, other_root: Vec::new() }
    }

    /// Replaces a value that is a URL.
    pub(super) fn replace(&mut self, output: &mut Output<'_>, start: usize, text: &[u8]) {
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
                    && !root.ends_with(b"/studies") && memmem::find(root, b"/studies/").is_none()
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
    pub(super) fn anywhere(
        &self,
        output: &mut Output<'_>,
        start: usize,
        is_end: bool,
        within: Within,
    ) -> RewriteStep {
        let rest = output.chunk.get(start..).unwrap_or_default();
        let after_http = RewriteStep::To(start + HTTP.len());
        match scheme_of(rest) {
            Scheme::Complete => {}
            Scheme::CutOff if !is_end => return RewriteStep::HoldFrom(start),
            Scheme::CutOff | Scheme::None => return after_http,
        }
        let closing = if let Within::Value { quote } = within { quote } else { b'"' };
        let mut length = 0;
        loop {
            if length > MAX_URL_LEN {
                // A long text, not a URL.
                return after_http;
            }
            match (rest.get(length), rest.get(length + 1)) {
                (Some(b'\\'), Some(b'/')) => length += 2,
                (Some(b'\\') | None, None) if !is_end => return RewriteStep::HoldFrom(start),
                (Some(b'\\' | b'"' | b'<' | b'>' | 0..=b' ' | 0x7f) | None, _) => break,
                (Some(byte), _) if *byte == closing => break,
                (Some(_), _) => length += 1,
            }
        }
        let text = self.without_end(rest, length, within);
        let unescaped = match within {
            Within::Unparsed { .. } => String::from_utf8_lossy(text),
            Within::Text | Within::Value { .. } => self.syntax.unescaped(text),
        };
        let url = match self.url_map.rewrite_in_text(&unescaped) {
            UrlRewrite::Unchanged => return RewriteStep::To(start + text.len()),
            UrlRewrite::Dropped => self.url_map.public().to_owned(),
            UrlRewrite::Rewritten(url) => url,
        };
        match within {
            // Two hyphens end a comment.
            Within::Unparsed { end: END_OF_COMMENT } if url.contains("--") || url.ends_with('-') => {
                output.replace(start, text.len(), b"");
            }
            Within::Unparsed { .. } => output.replace(start, text.len(), url.as_bytes()),
            Within::Text | Within::Value { .. } => {
                output.replace(start, text.len(), self.syntax.escaped(&url).as_bytes());
            }
        }
        RewriteStep::To(start + text.len())
    }

    /// The first `length` bytes of `rest`, without those that are part of the text around the URL.
    fn without_end<'a>(&self, rest: &'a [u8], length: usize, within: Within) -> &'a [u8] {
        let (text, after) = rest.split_at_checked(length).unwrap_or((rest, b""));
        match within {
            Within::Unparsed { end: [end @ .., last] } if after.first() == Some(last) => {
                text.strip_suffix(end).unwrap_or(text)
            }
            Within::Text | Within::Value { .. } if self.syntax == Syntax::Xml => {
                // No URL has these characters.
                let delimiters: [&[u8]; 3] = [b"&quot;", b"&lt;", b"&gt;"];
                let ends = delimiters.iter().filter_map(|delimiter| memmem::find(text, delimiter));
                text.get(..ends.min().unwrap_or(length)).unwrap_or(text)
            }
            _ => text,
        }
    }
}

/// The number of bytes at the end of `rest` that may be the beginning of one of `tokens`.
pub(super) fn partial_len(rest: &[u8], tokens: &[&[u8]]) -> usize {
    let partial_of = |token: &&[u8]| {
        let max = rest.len().min(token.len() - 1);
        (1..=max).rev().find(|length| token.get(..*length).is_some_and(|start| rest.ends_with(start)))
    };
    tokens.iter().filter_map(partial_of).max().unwrap_or(0)
}

/// Holds a token back until its end, unless it is too long for a URL.
pub(super) fn hold(start: usize, length: usize) -> Result<RewriteStep, RewriteError> {
    if length > MAX_URL_LEN { Err(RewriteError::UrlTooLong) } else { Ok(RewriteStep::HoldFrom(start)) }
}
