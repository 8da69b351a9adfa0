//! Finds URLs in Native DICOM XML (PS3.19 A.1): in the attribute `uri` of BulkData, in the values of RetrieveURL (0008,1190), and
//! absolute URLs in any text.
//!
//! Text, values, comments and CDATA sections may contain the characters of an attribute, but have no attributes (XML 1.0, 2.4 to
//! 2.7, 3.1). The states of the parser between two bytes:
//!
//! ```text
//!         <name  </name  <!name          name =                 " or '        the same quote
//!   Text ──────────────────────► Tag ────────────► BeforeValue ────────► Value ─────────────► Tag
//!    ▲                            │ >
//!    ├────────────────────────────┘
//!    │    <!--  <![CDATA[  <?              -->  ]]>  ?>
//!   Text ──────────────────────► Unparsed ──────────────► Text
//! ```
//!
//! In a tag, `<` begins another tag. Well-formed XML has no `<` there, and after a malformed tag the next tag is parsed correctly.

use memchr::memmem::{self, Finder};

use super::super::output::Output;
use super::super::syntax::Syntax;
use super::super::url_map::UrlRewrite;
use super::replacer::{
    END_OF_COMMENT, HTTP, MAX_URL_LEN, RewriteError, RewriteStep, UrlContext, UrlReplacer, partial_len,
    retain,
};

const CDATA: &[u8] = b"<![CDATA[";

const END_OF_CDATA: &[u8] = b"]]>";

const COMMENT: &[u8] = b"<!--";

/// The value of the attribute `tag` for RetrieveURL.
const RETRIEVE_URL: &str = "00081190";

/// Maximum length of a value of `tag` in bytes, even if it consists of character references.
const MAX_TAG_LEN: usize = 128;

/// Finds URLs in an XML text.
#[derive(Debug)]
pub(super) struct XmlReader {
    state: XmlState,
    /// The number of open elements, counted from RetrieveURL.
    depth: usize,
    /// The current tag.
    tag: Tag,
    /// Whether the current URL is dropped, because it is too long.
    drops_url: bool,
    /// The finder of [`HTTP`].
    http: Finder<'static>,
}

/// The position of the reader in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum XmlState {
    /// Outside of tags.
    Text,
    /// In a tag, outside of the values of its attributes.
    Tag,
    /// After the equals sign of an attribute.
    BeforeValue(Attribute),
    /// In the value of an attribute.
    Value { quote: u8, attribute: Attribute },
    /// In a comment, a CDATA section or a processing instruction, up to `end`.
    Unparsed { end: &'static [u8] },
}

/// The part of a tag that has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tag {
    kind: TagKind,
    /// The last name in the tag.
    name: NameStart,
    /// Whether the last byte was a slash.
    ends_with_slash: bool,
    /// Whether the tag is the start tag of RetrieveURL.
    is_retrieve_url: bool,
}

impl Tag {
    /// Creates a tag of which only the start has been read.
    const fn new(kind: TagKind) -> Self {
        Self { kind, name: NameStart::NONE, ends_with_slash: false, is_retrieve_url: false }
    }
}

/// The kind of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TagKind {
    /// A start tag or an empty-element tag.
    Start,
    /// An end tag.
    End,
    /// A declaration such as `<!DOCTYPE`.
    Declaration,
}

/// An attribute, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attribute {
    /// `uri`, whose value in BulkData is a URL.
    Uri,
    /// `tag`, whose value in DicomAttribute is a tag.
    Tag,
    /// Any other attribute.
    Other,
}

/// The start of the name of an attribute, which is sufficient to recognize `uri` and `tag`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct NameStart {
    start: [u8; 3],
    /// The number of bytes; 4 means 4 or more.
    length: usize,
    /// Whether white space follows.
    is_complete: bool,
}

impl NameStart {
    /// The start of a name before its first byte.
    const NONE: Self = Self { start: [0; 3], length: 0, is_complete: false };

    /// The start of a name other than `uri` and `tag`.
    const OTHER: Self = Self { start: [0; 3], length: 4, is_complete: false };

    /// Adds the next byte of the tag.
    fn push(&mut self, byte: u8) {
        if byte.is_ascii_whitespace() {
            self.is_complete = self.length > 0;
            return;
        }
        if self.is_complete {
            *self = Self::NONE;
        }
        if let Some(stored_byte) = self.start.get_mut(self.length) {
            *stored_byte = byte;
        }
        self.length = (self.length + 1).min(4);
    }

    /// Returns the attribute with this name.
    fn attribute(self) -> Attribute {
        match (self.length, &self.start) {
            (3, b"uri") => Attribute::Uri,
            (3, b"tag") => Attribute::Tag,
            _ => Attribute::Other,
        }
    }
}

impl XmlReader {
    /// Creates a reader for a text.
    pub(super) fn new() -> Self {
        Self {
            state: XmlState::Text,
            depth: 0,
            tag: Tag::new(TagKind::Start),
            drops_url: false,
            http: Finder::new(HTTP),
        }
    }

    /// Executes the next step. `next` is the position of the next `http`: 0 before it was searched for, and `None` if there is none.
    pub(super) fn step(
        &mut self,
        urls: &mut UrlReplacer,
        output: &mut Output<'_>,
        position: usize,
        is_end: bool,
        next: &mut Option<usize>,
    ) -> Result<RewriteStep, RewriteError> {
        match self.state {
            XmlState::Text if self.depth > 0 => self.replace_retrieve_url(urls, output, position, is_end),
            XmlState::Text => self.read_text(urls, output, position, is_end, next),
            XmlState::Tag => Ok(self.read_tag(urls, output, position, is_end)),
            XmlState::BeforeValue(attribute) => Ok(self.read_to_value(output.chunk, position, attribute)),
            XmlState::Value { quote, attribute: Attribute::Uri } => {
                Ok(self.replace_uri(urls, output, position, quote))
            }
            XmlState::Value { quote, attribute: Attribute::Tag } => {
                Ok(self.read_tag_value(output.chunk, position, quote, is_end))
            }
            XmlState::Value { quote, attribute: Attribute::Other } => {
                Ok(self.read_value(urls, output, position, quote, is_end, next))
            }
            XmlState::Unparsed { end } => Ok(self.read_unparsed(urls, output, position, end, is_end, next)),
        }
    }

    /// Returns the position of the next `http`, or the end of the chunk if there is none.
    fn next_http(&self, chunk: &[u8], position: usize, next: &mut Option<usize>) -> usize {
        if next.is_some_and(|start| start < position || start == 0) {
            let rest = chunk.get(position..).unwrap_or_default();
            *next = self.http.find(rest).map(|offset| offset + position);
        }
        next.unwrap_or(chunk.len())
    }

    /// Reads a text outside of RetrieveURL.
    fn read_text(
        &mut self,
        urls: &mut UrlReplacer,
        output: &mut Output<'_>,
        position: usize,
        is_end: bool,
        next: &mut Option<usize>,
    ) -> Result<RewriteStep, RewriteError> {
        let chunk = output.chunk;
        let http = self.next_http(chunk, position, next);
        if let Some(length) = memchr::memchr(b'<', chunk.get(position..http).unwrap_or_default()) {
            return self.read_markup(urls, output, position + length, is_end);
        }
        Ok(replace_at_http(urls, output, position, http, is_end, UrlContext::Text))
    }

    /// Replaces a text in RetrieveURL.
    fn replace_retrieve_url(
        &mut self,
        urls: &mut UrlReplacer,
        output: &mut Output<'_>,
        start: usize,
        is_end: bool,
    ) -> Result<RewriteStep, RewriteError> {
        let rest = output.chunk.get(start..).unwrap_or_default();
        let Some(length) = memchr::memchr(b'<', rest) else { return Ok(self.retain_url(output, start)) };
        let text = rest.get(..length).unwrap_or_default();
        if std::mem::take(&mut self.drops_url) {
            output.replace(start, length, b"");
            return self.read_markup(urls, output, start + length, is_end);
        }
        let trimmed = text.trim_ascii();
        if !trimmed.is_empty() {
            let space_count = text.len() - text.trim_ascii_start().len();
            urls.replace(output, start + space_count, trimmed);
        }
        self.read_markup(urls, output, start + length, is_end)
    }

    /// Reads the start of the markup at `<`.
    fn read_markup(
        &mut self,
        urls: &mut UrlReplacer,
        output: &mut Output<'_>,
        start: usize,
        is_end: bool,
    ) -> Result<RewriteStep, RewriteError> {
        let rest = output.chunk.get(start..).unwrap_or_default();
        let is_partial =
            [COMMENT, CDATA].iter().any(|token| token.len() > rest.len() && token.starts_with(rest));
        if is_partial {
            return Ok(if is_end { RewriteStep::Done } else { RewriteStep::RetainFrom(start) });
        }
        if let Some(content) = rest.strip_prefix(CDATA).filter(|_| self.depth > 0) {
            return replace_cdata(urls, output, start, content);
        }
        let tokens: [(&[u8], XmlState, TagKind); 5] = [
            (COMMENT, XmlState::Unparsed { end: END_OF_COMMENT }, TagKind::Declaration),
            (CDATA, XmlState::Unparsed { end: END_OF_CDATA }, TagKind::Declaration),
            (b"<?", XmlState::Unparsed { end: b"?>" }, TagKind::Declaration),
            (b"<!", XmlState::Tag, TagKind::Declaration),
            (b"</", XmlState::Tag, TagKind::End),
        ];
        let token = tokens.into_iter().find(|(token, ..)| rest.starts_with(token));
        let (token, state, kind) = token.unwrap_or((b"<", XmlState::Tag, TagKind::Start));
        self.state = state;
        self.tag = Tag::new(kind);
        Ok(RewriteStep::ContinueAt(start + token.len()))
    }

    /// Advances to the end of a tag, or to the value of an attribute.
    fn read_tag(
        &mut self,
        urls: &mut UrlReplacer,
        output: &mut Output<'_>,
        position: usize,
        is_end: bool,
    ) -> RewriteStep {
        let rest = output.chunk.get(position..).unwrap_or_default();
        for (offset, byte) in rest.iter().enumerate() {
            let index = position + offset;
            let following = rest.get(offset..).unwrap_or_default();
            match byte {
                b'<' => {
                    self.state = XmlState::Text;
                    return RewriteStep::ContinueAt(index);
                }
                b'>' => {
                    self.end_tag();
                    return RewriteStep::ContinueAt(index + 1);
                }
                b'=' => {
                    self.state = XmlState::BeforeValue(self.tag.name.attribute());
                    return RewriteStep::ContinueAt(index + 1);
                }
                // Texts that are not XML may have URLs in angle brackets.
                b'h' if following.starts_with(HTTP) => {
                    let step = urls.replace_in_text(output, index, is_end, UrlContext::Text);
                    if let RewriteStep::ContinueAt(_) = step {
                        self.tag.name = NameStart::OTHER;
                        self.tag.ends_with_slash = false;
                    }
                    return step;
                }
                b'h' if HTTP.starts_with(following) && !is_end => return RewriteStep::RetainFrom(index),
                _ => {
                    self.tag.name.push(*byte);
                    self.tag.ends_with_slash = *byte == b'/';
                }
            }
        }
        RewriteStep::Done
    }

    /// Ends a tag.
    fn end_tag(&mut self) {
        let Self { depth, tag, .. } = *self;
        self.state = XmlState::Text;
        self.depth = match tag.kind {
            TagKind::Start if !tag.ends_with_slash && (depth > 0 || tag.is_retrieve_url) => depth + 1,
            TagKind::End => depth.saturating_sub(1),
            TagKind::Start | TagKind::Declaration => depth,
        };
    }

    /// Skips white space after an equals sign, up to the quote.
    fn read_to_value(&mut self, chunk: &[u8], position: usize, attribute: Attribute) -> RewriteStep {
        let rest = chunk.get(position..).unwrap_or_default();
        let Some(space_count) = rest.iter().position(|byte| !byte.is_ascii_whitespace()) else {
            return RewriteStep::Done;
        };
        if let Some(quote @ (b'"' | b'\'')) = rest.get(space_count) {
            self.state = XmlState::Value { quote: *quote, attribute };
            RewriteStep::ContinueAt(position + space_count + 1)
        } else {
            self.end_value(NameStart::OTHER);
            RewriteStep::ContinueAt(position + space_count)
        }
    }

    /// Ends the value of an attribute, and continues in the tag.
    fn end_value(&mut self, name: NameStart) {
        self.state = XmlState::Tag;
        self.tag.name = name;
        self.tag.ends_with_slash = false;
    }

    /// Continues after a value of `length` bytes, or at a tag inside the value.
    fn skip_value(&mut self, chunk: &[u8], start: usize, length: usize) -> RewriteStep {
        if chunk.get(start + length) == Some(&b'<') {
            self.state = XmlState::Text;
            return RewriteStep::ContinueAt(start + length);
        }
        self.end_value(NameStart::NONE);
        RewriteStep::ContinueAt(start + length + 1)
    }

    /// Replaces a value that is a URL.
    fn replace_uri(
        &mut self,
        urls: &mut UrlReplacer,
        output: &mut Output<'_>,
        start: usize,
        quote: u8,
    ) -> RewriteStep {
        let rest = output.chunk.get(start..).unwrap_or_default();
        let Some(length) = memchr::memchr2(quote, b'<', rest) else {
            return self.retain_url(output, start);
        };
        if std::mem::take(&mut self.drops_url) {
            output.replace(start, length, b"");
        } else {
            urls.replace(output, start, rest.get(..length).unwrap_or_default());
        }
        self.skip_value(output.chunk, start, length)
    }

    /// Retains an incomplete URL, or drops it if it is too long.
    fn retain_url(&mut self, output: &mut Output<'_>, start: usize) -> RewriteStep {
        let length = output.chunk.len() - start;
        if length <= MAX_URL_LEN && !self.drops_url {
            return RewriteStep::RetainFrom(start);
        }
        self.drops_url = true;
        output.replace(start, length, b"");
        RewriteStep::Done
    }

    /// Reads the value of `tag`.
    fn read_tag_value(&mut self, chunk: &[u8], start: usize, quote: u8, is_end: bool) -> RewriteStep {
        let rest = chunk.get(start..).unwrap_or_default();
        let length = memchr::memchr2(quote, b'<', rest.get(..=MAX_TAG_LEN).unwrap_or(rest));
        if length.is_none() && rest.len() <= MAX_TAG_LEN {
            return if is_end { RewriteStep::Done } else { RewriteStep::RetainFrom(start) };
        }
        if let Some(length) = length
            && Syntax::Xml.unescape(rest.get(..length).unwrap_or_default()) == RETRIEVE_URL
        {
            self.tag.is_retrieve_url = true;
            return self.skip_value(chunk, start, length);
        }
        self.state = XmlState::Value { quote, attribute: Attribute::Other };
        RewriteStep::ContinueAt(start)
    }

    /// Reads the value of an attribute other than `uri` and `tag`.
    fn read_value(
        &mut self,
        urls: &mut UrlReplacer,
        output: &mut Output<'_>,
        start: usize,
        quote: u8,
        is_end: bool,
        next: &mut Option<usize>,
    ) -> RewriteStep {
        let chunk = output.chunk;
        let http = self.next_http(chunk, start, next);
        match memchr::memchr2(quote, b'<', chunk.get(start..http).unwrap_or_default()) {
            Some(length) => self.skip_value(chunk, start, length),
            None => replace_at_http(urls, output, start, http, is_end, UrlContext::Value { quote }),
        }
    }

    /// Reads a comment, a CDATA section or a processing instruction.
    fn read_unparsed(
        &mut self,
        urls: &mut UrlReplacer,
        output: &mut Output<'_>,
        start: usize,
        end: &'static [u8],
        is_end: bool,
        next: &mut Option<usize>,
    ) -> RewriteStep {
        let http = self.next_http(output.chunk, start, next);
        match memmem::find(output.chunk.get(start..http).unwrap_or_default(), end) {
            Some(length) => {
                self.state = XmlState::Text;
                RewriteStep::ContinueAt(start + length + end.len())
            }
            None => replace_at_http(urls, output, start, http, is_end, UrlContext::Unparsed { end }),
        }
    }
}

/// Replaces the URL at the position `http`. There is no markup between `position` and `http`.
fn replace_at_http(
    urls: &mut UrlReplacer,
    output: &mut Output<'_>,
    position: usize,
    http: usize,
    is_end: bool,
    context: UrlContext,
) -> RewriteStep {
    let chunk = output.chunk;
    if http < chunk.len() {
        return urls.replace_in_text(output, http, is_end, context);
    }
    let end = if let UrlContext::Unparsed { end } = context { end } else { HTTP };
    let rest = chunk.get(position..).unwrap_or_default();
    if is_end {
        RewriteStep::Done
    } else {
        RewriteStep::RetainFrom(chunk.len() - partial_len(rest, &[HTTP, end]))
    }
}

/// Replaces a CDATA section in RetrieveURL; `content` is the chunk after the start of the section.
fn replace_cdata(
    urls: &mut UrlReplacer,
    output: &mut Output<'_>,
    start: usize,
    content: &[u8],
) -> Result<RewriteStep, RewriteError> {
    let Some(length) = memmem::find(content, END_OF_CDATA) else {
        return retain(start, content.len().saturating_sub(END_OF_CDATA.len() - 1));
    };
    if length > MAX_URL_LEN {
        return Err(RewriteError::UrlTooLong);
    }
    let text = String::from_utf8_lossy(content.get(..length).unwrap_or_default());
    let section_length = CDATA.len() + length + END_OF_CDATA.len();
    // The replacement is text without a CDATA section.
    match urls.url_map.rewrite(text.trim_ascii()) {
        UrlRewrite::Unchanged => {}
        UrlRewrite::Dropped => output.replace(start, section_length, b""),
        UrlRewrite::Rewritten(url) => {
            output.replace(start, section_length, Syntax::Xml.escape(&url).as_bytes());
        }
    }
    Ok(RewriteStep::ContinueAt(start + section_length))
}
