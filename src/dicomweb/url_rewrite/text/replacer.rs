//! Replaces one URL: the value of a URL element, or an absolute URL in any text.
//!
//! The readers find the start of a URL; this module determines the end of a URL in a text.

use memchr::memmem;

use super::super::output::Output;
use super::super::syntax::{Scheme, Syntax, find_scheme};
use super::super::url_map::{UrlMap, UrlRewrite};

/// Maximum length of a URL in bytes. A longer value of a URL element is dropped.
pub(super) const MAX_URL_LEN: usize = 8 * 1024;

/// The number of bytes at the beginning of a longer text in which the host of an absolute URL is compared.
const BEGINNING_LEN: usize = 512;

/// The start of every absolute URL.
pub(super) const HTTP: &[u8] = b"http";

/// The end of a comment in XML.
pub(super) const END_OF_COMMENT: &[u8] = b"-->";

/// The reason why the URLs of a text cannot be rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RewriteError {
    /// The text ends inside a token that may be a URL.
    #[error("the archive's response ended early")]
    Incomplete,
    /// A URL exceeds the maximum length.
    #[error("the archive's response contains a URL that is too long")]
    UrlTooLong,
}

/// The context of a URL in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UrlContext {
    /// A text.
    Text,
    /// The value of an XML attribute in quotes.
    Value { quote: u8 },
    /// A section of XML without references, which ends at `end`.
    Unparsed { end: &'static [u8] },
}

/// The next step of a reader.
pub(super) enum RewriteStep {
    /// The reader continues at this position.
    ContinueAt(usize),
    /// A token is incomplete: the bytes from this position are retained.
    RetainFrom(usize),
    /// The chunk was read to its end.
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
    /// Creates a replacer for a text in `syntax`.
    pub(super) fn new(url_map: UrlMap, syntax: Syntax) -> Self {
        Self { url_map, syntax, other_root: Vec::new() }
    }

    /// Replaces a value that is a URL. A value that clients cannot follow becomes empty.
    pub(super) fn replace(&mut self, output: &mut Output<'_>, start: usize, text: &[u8]) {
        if !self.replace_if_served(output, start, text) {
            output.replace(start, text.len(), b"");
        }
    }

    /// Replaces a value that is a URL. Returns false, and replaces nothing, if clients cannot follow the URL.
    pub(super) fn replace_if_served(&mut self, output: &mut Output<'_>, start: usize, text: &[u8]) -> bool {
        if text.len() > MAX_URL_LEN {
            return false;
        }
        // Most URLs have the configured root, or the same other root as the previous URL.
        let root = self.url_map.root_len(text).or_else(|| self.other_root_len(text));
        if let Some(root) = root {
            output.replace(start, root, self.url_map.public_url().as_bytes());
            return true;
        }
        match self.url_map.rewrite(&self.syntax.unescape(text)) {
            UrlRewrite::Unchanged => {}
            UrlRewrite::Dropped => return false,
            UrlRewrite::Rewritten(url) => {
                output.replace(start, text.len(), self.syntax.escape(&url).as_bytes());
                self.other_root.clear();
                if let Some(resource) = url.strip_prefix(self.url_map.public_url())
                    && let Some(root) = text.strip_suffix(resource.as_bytes())
                    // If a path contains several resources, the root depends on the whole path.
                    && !root.ends_with(b"/studies") && memmem::find(root, b"/studies/").is_none()
                {
                    self.other_root.extend_from_slice(root);
                }
            }
        }
        true
    }

    /// Returns the length of the other root, if `text` begins with it and continues with a resource that the gateway serves.
    fn other_root_len(&self, text: &[u8]) -> Option<usize> {
        if self.other_root.is_empty() {
            return None;
        }
        let resource = text.strip_prefix(self.other_root.as_slice())?;
        self.url_map.is_served(resource).then_some(self.other_root.len())
    }

    /// Replaces an absolute URL in a text.
    pub(super) fn replace_in_text(
        &self,
        output: &mut Output<'_>,
        start: usize,
        is_end: bool,
        context: UrlContext,
    ) -> RewriteStep {
        let rest = output.chunk.get(start..).unwrap_or_default();
        let after_http = RewriteStep::ContinueAt(start + HTTP.len());
        match find_scheme(rest) {
            Scheme::Complete => {}
            Scheme::Partial if !is_end => return RewriteStep::RetainFrom(start),
            Scheme::Partial | Scheme::None => return after_http,
        }
        let closing_quote = if let UrlContext::Value { quote } = context { quote } else { b'"' };
        let mut length = 0;
        loop {
            if length > MAX_URL_LEN {
                break;
            }
            match (rest.get(length), rest.get(length + 1)) {
                (Some(b'\\'), Some(b'/')) => length += 2,
                (Some(b'\\') | None, None) if !is_end => return RewriteStep::RetainFrom(start),
                (Some(b'\\' | b'"' | b'<' | b'>' | 0..=b' ' | 0x7f) | None, _) => break,
                (Some(byte), _) if *byte == closing_quote => break,
                (Some(_), _) => length += 1,
            }
        }
        let is_too_long = length > MAX_URL_LEN;
        let text = if is_too_long {
            // The text is too long to be a URL. Its beginning shows whether it has the host of the archive.
            let beginning = rest.get(..BEGINNING_LEN).unwrap_or(rest);
            beginning.strip_suffix(b"\\").unwrap_or(beginning)
        } else {
            self.trim_end(rest, length, context)
        };
        let unescaped = match context {
            UrlContext::Unparsed { .. } => String::from_utf8_lossy(text),
            UrlContext::Text | UrlContext::Value { .. } => self.syntax.unescape(text),
        };
        let url = match self.url_map.rewrite_in_text(&unescaped) {
            UrlRewrite::Unchanged if is_too_long => return after_http,
            UrlRewrite::Unchanged => return RewriteStep::ContinueAt(start + text.len()),
            UrlRewrite::Rewritten(_) if is_too_long => self.url_map.public_url().to_owned(),
            UrlRewrite::Dropped => self.url_map.public_url().to_owned(),
            UrlRewrite::Rewritten(url) => url,
        };
        match context {
            // A comment must not contain two hyphens (XML 1.0, 2.5).
            UrlContext::Unparsed { end: END_OF_COMMENT } if url.contains("--") || url.ends_with('-') => {
                output.replace(start, text.len(), b"");
            }
            UrlContext::Unparsed { .. } => output.replace(start, text.len(), url.as_bytes()),
            UrlContext::Text | UrlContext::Value { .. } => {
                output.replace(start, text.len(), self.syntax.escape(&url).as_bytes());
            }
        }
        RewriteStep::ContinueAt(start + text.len())
    }

    /// Returns the first `length` bytes of `rest` without the end that belongs to the context of the URL.
    fn trim_end<'a>(&self, rest: &'a [u8], length: usize, context: UrlContext) -> &'a [u8] {
        let (text, after) = rest.split_at_checked(length).unwrap_or((rest, b""));
        match context {
            UrlContext::Unparsed { end: [end @ .., last] } if after.first() == Some(last) => {
                text.strip_suffix(end).unwrap_or(text)
            }
            UrlContext::Text | UrlContext::Value { .. } if self.syntax == Syntax::Xml => {
                // URLs do not contain these characters.
                let delimiters: [&[u8]; 3] = [b"&quot;", b"&lt;", b"&gt;"];
                let ends = delimiters.iter().filter_map(|delimiter| memmem::find(text, delimiter));
                text.get(..ends.min().unwrap_or(length)).unwrap_or(text)
            }
            _ => text,
        }
    }
}

/// Returns the number of bytes at the end of `rest` that may be the start of one of `tokens`.
pub(super) fn partial_len(rest: &[u8], tokens: &[&[u8]]) -> usize {
    let matching_len = |token: &&[u8]| {
        let max = rest.len().min(token.len() - 1);
        (1..=max).rev().find(|length| token.get(..*length).is_some_and(|start| rest.ends_with(start)))
    };
    tokens.iter().filter_map(matching_len).max().unwrap_or(0)
}

/// Retains an incomplete token; an error if it is too long.
pub(super) fn retain(start: usize, length: usize) -> Result<RewriteStep, RewriteError> {
    if length > MAX_URL_LEN { Err(RewriteError::UrlTooLong) } else { Ok(RewriteStep::RetainFrom(start)) }
}
