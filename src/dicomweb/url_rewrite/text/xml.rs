//! URLs in Native DICOM XML (PS3.19 A.1): in the attribute `uri` of BulkData, in the values of RetrieveURL (0008,1190), and after
//! `http` anywhere.
//!
//! A text, a value, a comment or a CDATA section can contain the characters of an attribute, but has no attributes (XML 1.0, 2.4 to
//! 2.7, 3.1). The states of the reader between two bytes:
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
//! In a tag, `<` begins another tag: well-formed XML never has it there, and after a malformed tag the next one is read correctly.

use memchr::memmem::{self, Finder};

use super::super::output::Output;
use super::super::syntax::Syntax;
use super::super::url_map::UrlRewrite;
use super::replacer::{
    END_OF_COMMENT, HTTP, MAX_URL_LEN, RewriteError, RewriteStep, UrlReplacer, Within, hold, partial_len,
};

const CDATA: &[u8] = b"<![CDATA[";

const END_OF_CDATA: &[u8] = b"]]>";

const COMMENT: &[u8] = b"<!--";

/// The value of the attribute `tag` of RetrieveURL.
const RETRIEVE_URL: &str = "00081190";

/// No value of `tag` is as long, even if it consists of character references.
const MAX_TAG_LEN: usize = 128;

/// Finds URLs in an XML text.
#[derive(Debug)]
pub(super) struct XmlReader {
    state: XmlState,
    /// The number of open elements, counted from RetrieveURL.
    depth: usize,
    /// The tag that is being read.
    tag: Tag,
    /// For [`HTTP`].
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tag {
    kind: TagKind,
    word: Word,
    /// The last byte was a slash.
    slash: bool,
    /// It is the start tag of RetrieveURL.
    is_retrieve_url: bool,
}

impl Tag {
    const fn new(kind: TagKind) -> Self {
        Self { kind, word: Word::NONE, slash: false, is_retrieve_url: false }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TagKind {
    Start,
    End,
    /// `<!DOCTYPE` and the like.
    Declaration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attribute {
    Uri,
    Tag,
    Other,
}

/// The last word in a tag: enough of it to recognize the attributes that matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Word {
    letters: [u8; 3],
    /// The number of letters; 4 means 4 or more.
    length: usize,
    /// White space follows.
    is_complete: bool,
}

impl Word {
    const NONE: Self = Self { letters: [0; 3], length: 0, is_complete: false };

    /// The word is no attribute that matters.
    const OTHER: Self = Self { letters: [0; 3], length: 4, is_complete: false };

    fn push(&mut self, byte: u8) {
        if byte.is_ascii_whitespace() {
            self.is_complete = self.length > 0;
            return;
        }
        if self.is_complete {
            *self = Self::NONE;
        }
        if let Some(letter) = self.letters.get_mut(self.length) {
            *letter = byte;
        }
        self.length = (self.length + 1).min(4);
    }

    fn attribute(self) -> Attribute {
        match (self.length, &self.letters) {
            (3, b"uri") => Attribute::Uri,
            (3, b"tag") => Attribute::Tag,
            _ => Attribute::Other,
        }
    }
}

impl XmlReader {
    /// A reader at the start of a text.
    pub(super) fn new() -> Self {
        Self { state: XmlState::Text, depth: 0, tag: Tag::new(TagKind::Start), http: Finder::new(HTTP) }
    }

    /// Reads the next step. `next` is the position of the next `http`.
    pub(super) fn step(
        &mut self,
        urls: &mut UrlReplacer,
        output: &mut Output<'_>,
        position: usize,
        is_end: bool,
        next: &mut Option<usize>,
    ) -> Result<RewriteStep, RewriteError> {
        match self.state {
            XmlState::Text if self.depth > 0 => self.content(urls, output, position, is_end),
            XmlState::Text => self.outside_of_tags(urls, output, position, is_end, next),
            XmlState::Tag => Ok(self.tag(urls, output, position, is_end)),
            XmlState::BeforeValue(attribute) => Ok(self.before_value(output.chunk, position, attribute)),
            XmlState::Value { quote, attribute: Attribute::Uri } => self.uri(urls, output, position, quote),
            XmlState::Value { quote, attribute: Attribute::Tag } => {
                Ok(self.tag_of_attribute(output.chunk, position, quote, is_end))
            }
            XmlState::Value { quote, attribute: Attribute::Other } => {
                Ok(self.value(urls, output, position, quote, is_end, next))
            }
            XmlState::Unparsed { end } => Ok(self.unparsed(urls, output, position, end, is_end, next)),
        }
    }

    /// The position of the next `http`; the end of the chunk if there is none.
    fn next_http(&self, chunk: &[u8], position: usize, next: &mut Option<usize>) -> usize {
        if next.is_some_and(|at| at < position || at == 0) {
            let rest = chunk.get(position..).unwrap_or_default();
            *next = self.http.find(rest).map(|at| at + position);
        }
        next.unwrap_or(chunk.len())
    }

    /// Reads a text outside of RetrieveURL.
    fn outside_of_tags(
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
            return self.markup(urls, output, position + length, is_end);
        }
        Ok(passage(urls, output, position, http, is_end, Within::Text))
    }

    /// Reads a text below RetrieveURL.
    fn content(
        &mut self,
        urls: &mut UrlReplacer,
        output: &mut Output<'_>,
        start: usize,
        is_end: bool,
    ) -> Result<RewriteStep, RewriteError> {
        let rest = output.chunk.get(start..).unwrap_or_default();
        let Some(length) = memchr::memchr(b'<', rest) else { return hold(start, rest.len()) };
        if length > MAX_URL_LEN {
            return Err(RewriteError::UrlTooLong);
        }
        let text = rest.get(..length).unwrap_or_default();
        let trimmed = text.trim_ascii();
        if !trimmed.is_empty() {
            let blanks = text.len() - text.trim_ascii_start().len();
            urls.replace(output, start + blanks, trimmed);
        }
        self.markup(urls, output, start + length, is_end)
    }

    /// Reads the beginning of the markup at `<`.
    fn markup(
        &mut self,
        urls: &mut UrlReplacer,
        output: &mut Output<'_>,
        start: usize,
        is_end: bool,
    ) -> Result<RewriteStep, RewriteError> {
        let rest = output.chunk.get(start..).unwrap_or_default();
        let is_partial =
            [COMMENT, CDATA].iter().any(|whole| whole.len() > rest.len() && whole.starts_with(rest));
        if is_partial {
            return Ok(if is_end { RewriteStep::Done } else { RewriteStep::HoldFrom(start) });
        }
        if let Some(content) = rest.strip_prefix(CDATA).filter(|_| self.depth > 0) {
            return section(urls, output, start, content);
        }
        let beginnings: [(&[u8], XmlState, TagKind); 5] = [
            (COMMENT, XmlState::Unparsed { end: END_OF_COMMENT }, TagKind::Declaration),
            (CDATA, XmlState::Unparsed { end: END_OF_CDATA }, TagKind::Declaration),
            (b"<?", XmlState::Unparsed { end: b"?>" }, TagKind::Declaration),
            (b"<!", XmlState::Tag, TagKind::Declaration),
            (b"</", XmlState::Tag, TagKind::End),
        ];
        let beginning = beginnings.into_iter().find(|(beginning, ..)| rest.starts_with(beginning));
        let (beginning, state, kind) = beginning.unwrap_or((b"<", XmlState::Tag, TagKind::Start));
        self.state = state;
        self.tag = Tag::new(kind);
        Ok(RewriteStep::To(start + beginning.len()))
    }

    /// Advances to the end of a tag, or to the value of an attribute.
    fn tag(
        &mut self,
        urls: &mut UrlReplacer,
        output: &mut Output<'_>,
        position: usize,
        is_end: bool,
    ) -> RewriteStep {
        let rest = output.chunk.get(position..).unwrap_or_default();
        for (offset, byte) in rest.iter().enumerate() {
            let at = position + offset;
            let ahead = rest.get(offset..).unwrap_or_default();
            match byte {
                b'<' => {
                    self.state = XmlState::Text;
                    return RewriteStep::To(at);
                }
                b'>' => {
                    self.end_tag();
                    return RewriteStep::To(at + 1);
                }
                b'=' => {
                    self.state = XmlState::BeforeValue(self.tag.word.attribute());
                    return RewriteStep::To(at + 1);
                }
                // Texts that are not XML have URLs in angle brackets.
                b'h' if ahead.starts_with(HTTP) => {
                    let step = urls.anywhere(output, at, is_end, Within::Text);
                    if let RewriteStep::To(_) = step {
                        self.tag.word = Word::OTHER;
                        self.tag.slash = false;
                    }
                    return step;
                }
                b'h' if HTTP.starts_with(ahead) && !is_end => return RewriteStep::HoldFrom(at),
                _ => {
                    self.tag.word.push(*byte);
                    self.tag.slash = *byte == b'/';
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
            TagKind::Start if !tag.slash && (depth > 0 || tag.is_retrieve_url) => depth + 1,
            TagKind::End => depth.saturating_sub(1),
            TagKind::Start | TagKind::Declaration => depth,
        };
    }

    /// Skips white space after an equals sign, up to the quote.
    fn before_value(&mut self, chunk: &[u8], position: usize, attribute: Attribute) -> RewriteStep {
        let rest = chunk.get(position..).unwrap_or_default();
        let Some(blanks) = rest.iter().position(|byte| !byte.is_ascii_whitespace()) else {
            return RewriteStep::Done;
        };
        if let Some(quote @ (b'"' | b'\'')) = rest.get(blanks) {
            self.state = XmlState::Value { quote: *quote, attribute };
            RewriteStep::To(position + blanks + 1)
        } else {
            self.after_value(Word::OTHER);
            RewriteStep::To(position + blanks)
        }
    }

    /// Continues in the tag after the value of an attribute.
    fn after_value(&mut self, word: Word) {
        self.state = XmlState::Tag;
        self.tag.word = word;
        self.tag.slash = false;
    }

    /// Continues after a value of `length` bytes, or at the tag that interrupts it.
    fn skip_value(&mut self, chunk: &[u8], start: usize, length: usize) -> RewriteStep {
        if chunk.get(start + length) == Some(&b'<') {
            self.state = XmlState::Text;
            return RewriteStep::To(start + length);
        }
        self.after_value(Word::NONE);
        RewriteStep::To(start + length + 1)
    }

    /// Reads a value that is a URL.
    fn uri(
        &mut self,
        urls: &mut UrlReplacer,
        output: &mut Output<'_>,
        start: usize,
        quote: u8,
    ) -> Result<RewriteStep, RewriteError> {
        let rest = output.chunk.get(start..).unwrap_or_default();
        let Some(length) = memchr::memchr2(quote, b'<', rest) else { return hold(start, rest.len()) };
        if length > MAX_URL_LEN {
            return Err(RewriteError::UrlTooLong);
        }
        urls.replace(output, start, rest.get(..length).unwrap_or_default());
        Ok(self.skip_value(output.chunk, start, length))
    }

    /// Reads the value of `tag`.
    fn tag_of_attribute(&mut self, chunk: &[u8], start: usize, quote: u8, is_end: bool) -> RewriteStep {
        let rest = chunk.get(start..).unwrap_or_default();
        let length = memchr::memchr2(quote, b'<', rest.get(..=MAX_TAG_LEN).unwrap_or(rest));
        if length.is_none() && rest.len() <= MAX_TAG_LEN {
            return if is_end { RewriteStep::Done } else { RewriteStep::HoldFrom(start) };
        }
        if let Some(length) = length
            && Syntax::Xml.unescaped(rest.get(..length).unwrap_or_default()) == RETRIEVE_URL
        {
            self.tag.is_retrieve_url = true;
            return self.skip_value(chunk, start, length);
        }
        self.state = XmlState::Value { quote, attribute: Attribute::Other };
        RewriteStep::To(start)
    }

    /// Reads any other value.
    fn value(
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
            None => passage(urls, output, start, http, is_end, Within::Value { quote }),
        }
    }

    /// Reads a comment, a CDATA section or a processing instruction.
    fn unparsed(
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
                RewriteStep::To(start + length + end.len())
            }
            None => passage(urls, output, start, http, is_end, Within::Unparsed { end }),
        }
    }
}

/// Reads the URL at `http`, up to which there is no markup.
fn passage(
    urls: &mut UrlReplacer,
    output: &mut Output<'_>,
    position: usize,
    http: usize,
    is_end: bool,
    within: Within,
) -> RewriteStep {
    let chunk = output.chunk;
    if http < chunk.len() {
        return urls.anywhere(output, http, is_end, within);
    }
    let end = if let Within::Unparsed { end } = within { end } else { HTTP };
    let rest = chunk.get(position..).unwrap_or_default();
    if is_end {
        RewriteStep::Done
    } else {
        RewriteStep::HoldFrom(chunk.len() - partial_len(rest, &[HTTP, end]))
    }
}

/// Reads a CDATA section below RetrieveURL; `content` is the chunk after its beginning.
fn section(
    urls: &mut UrlReplacer,
    output: &mut Output<'_>,
    start: usize,
    content: &[u8],
) -> Result<RewriteStep, RewriteError> {
    let Some(length) = memmem::find(content, END_OF_CDATA) else {
        return hold(start, content.len().saturating_sub(END_OF_CDATA.len() - 1));
    };
    if length > MAX_URL_LEN {
        return Err(RewriteError::UrlTooLong);
    }
    let text = String::from_utf8_lossy(content.get(..length).unwrap_or_default());
    let whole = CDATA.len() + length + END_OF_CDATA.len();
    // The replacement is ordinary text.
    match urls.url_map.rewrite(text.trim_ascii()) {
        UrlRewrite::Unchanged => {}
        UrlRewrite::Dropped => output.replace(start, whole, b""),
        UrlRewrite::Rewritten(url) => {
            output.replace(start, whole, Syntax::Xml.escaped(&url).as_bytes());
        }
    }
    Ok(RewriteStep::To(start + whole))
}
