//! Encapsulated pixel data as a stream (PS3.5 A.4): reads one fragment after the other and returns pieces, each of which
//! states whether it begins a frame.
//!
//! The rules that determine frames can contradict each other until the last fragment. While the two rules of highest
//! precedence disagree, up to [`MAX_BUFFERED`] bytes of fragments are buffered; with a full buffer the rule of higher
//! precedence decides. If this rule does not apply after the last fragment, the result is an error, so incomplete or mixed
//! frames are never reported as complete.

use super::{Fragment, FrameLocator, FrameStart, Inconsistent, MARKER_LENGTH, MAX_TABLE, Rule};
use bytes::Bytes;
use std::collections::VecDeque;
use std::io::{self, Read};

/// Maximum number of buffered bytes whose frame is not determined.
const MAX_BUFFERED: usize = 16 * 1024 * 1024;

/// Maximum number of bytes of one read.
const READ_SIZE: u32 = 64 * 1024;

/// Why fragments cannot be assigned to frames.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// No rule assigns the fragments to frames.
    #[error(transparent)]
    Inconsistent(#[from] Inconsistent),
    /// The fragments violate PS3.5 A.4.
    #[error("its fragments are malformed")]
    Malformed,
    /// Reading the source fails, or the source ends too early.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A part of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FramePart {
    /// Whether these are the first bytes of a frame.
    pub begins_frame: bool,
    /// The bytes; there is at least one.
    pub bytes: Bytes,
}

/// Buffered bytes whose frame is not determined yet.
#[derive(Debug)]
struct Buffered {
    /// The rules according to which the fragment begins a frame; only for the first bytes of a fragment.
    start: Option<FrameStart>,
    bytes: Bytes,
}

/// Reads frames from a source.
#[derive(Debug)]
pub struct Stream {
    locator: FrameLocator,
    /// Offset of the next item from the first item after the Basic Offset Table.
    offset: u64,
    /// Number of bytes of the current fragment that are not read yet.
    remaining: u32,
    buffer: VecDeque<Buffered>,
    buffered_bytes: usize,
    /// Whether the returned pieces contradict each rule; see [`rule_index`].
    contradicted: [bool; 3],
    is_at_end: bool,
}

impl Stream {
    /// Reads the Basic Offset Table of an image with `frame_count` frames from `source`, which is at the first byte of the value of
    /// Pixel Data. `extended` is the value of the Extended Offset Table.
    pub fn open(
        source: &mut impl Read,
        frame_count: usize,
        transfer_syntax: &str,
        extended: Option<&Bytes>,
    ) -> Result<Self, StreamError> {
        let length = read_item_header(source)?.ok_or(StreamError::Malformed)?;
        let mut table = Vec::new();
        let is_table = length as usize <= MAX_TABLE && length as usize / 4 == frame_count;
        let mut value = source.take(length.into());
        let read_length = if is_table {
            value.read_to_end(&mut table)? as u64
        } else {
            io::copy(&mut value, &mut io::sink())?
        };
        if read_length < u64::from(length) {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(Self {
            locator: FrameLocator::new(frame_count, transfer_syntax, &table.into(), extended),
            offset: 0,
            remaining: 0,
            buffer: VecDeque::new(),
            buffered_bytes: 0,
            contradicted: [false; 3],
            is_at_end: false,
        })
    }

    /// Returns the next piece; `None` after the last frame. Fails if the rule that determined the frames does not apply after the
    /// last fragment.
    pub fn next(&mut self, source: &mut impl Read) -> Result<Option<FramePart>, StreamError> {
        loop {
            if let Some(piece) = self.release()? {
                return Ok(Some(piece));
            }
            if self.is_at_end {
                return Ok(None);
            }
            self.read(source)?;
        }
    }

    /// Reads some bytes of the current or the next fragment into the buffer.
    fn read(&mut self, source: &mut impl Read) -> Result<(), StreamError> {
        let begins_fragment = self.remaining == 0;
        let mut length = self.remaining;
        if begins_fragment {
            let Some(next) = read_item_header(source)? else {
                self.is_at_end = true;
                return Ok(());
            };
            length = next;
        }
        let read_length = length.min(READ_SIZE);
        let mut bytes = Vec::with_capacity(read_length as usize);
        source.take(read_length.into()).read_to_end(&mut bytes)?;
        if bytes.len() < read_length as usize {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        self.remaining = length - read_length;
        let mut start = None;
        if begins_fragment {
            let fragment = Fragment::new(self.offset, length, &bytes[..bytes.len().min(MARKER_LENGTH)]);
            self.offset += 8 + u64::from(length);
            start = self.locator.add_fragment(fragment);
        }
        if !bytes.is_empty() {
            self.buffered_bytes += bytes.len();
            self.buffer.push_back(Buffered { start, bytes: bytes.into() });
        }
        Ok(())
    }

    /// Removes the first buffered bytes and returns them, if it is known whether they begin a frame.
    fn release(&mut self) -> Result<Option<FramePart>, StreamError> {
        if self.is_at_end {
            let rule = self.locator.rule()?;
            if rule_index(rule).is_some_and(|index| self.contradicted[index]) {
                return Err(Inconsistent.into());
            }
        }
        let Some(first) = self.buffer.front() else { return Ok(None) };
        let begins_frame = match first.start {
            None => false,
            Some(start) => match self.decide_start(start)? {
                Some(begins_frame) => {
                    for rule in [Rule::Table, Rule::Markers, Rule::Count] {
                        if let Some(index) = rule_index(rule) {
                            self.contradicted[index] |= start.begins_frame(rule) != begins_frame;
                        }
                    }
                    begins_frame
                }
                None => return Ok(None),
            },
        };
        let bytes = self.buffer.pop_front().map(|first| first.bytes).unwrap_or_default();
        self.buffered_bytes -= bytes.len();
        Ok(Some(FramePart { begins_frame, bytes }))
    }

    /// Returns whether a fragment begins a frame; `None` if this is not known yet: the two rules of highest precedence disagree,
    /// the buffer is not full, and more fragments may follow.
    fn decide_start(&self, start: FrameStart) -> Result<Option<bool>, Inconsistent> {
        if self.is_at_end {
            return Ok(Some(start.begins_frame(self.locator.rule()?)));
        }
        // Pieces that were already returned exclude the rules that they contradict.
        let contradicted = |rule: &Rule| rule_index(*rule).is_some_and(|index| self.contradicted[index]);
        let mut rules = self.locator.candidates().filter(|rule| !contradicted(rule));
        let first = start.begins_frame(rules.next().ok_or(Inconsistent)?);
        let rules_agree = rules.next().is_none_or(|second| start.begins_frame(second) == first);
        Ok((rules_agree || self.buffered_bytes > MAX_BUFFERED).then_some(first))
    }
}

/// Returns the index of a rule in [`Stream::contradicted`].
fn rule_index(rule: Rule) -> Option<usize> {
    match rule {
        Rule::Table => Some(0),
        Rule::Markers => Some(1),
        Rule::Count => Some(2),
        Rule::Whole => None,
    }
}

/// Reads an item header and returns the length of its value; `None` for the Sequence Delimitation Item, which ends the
/// fragments (PS3.5 A.4).
pub fn read_item_header(source: &mut impl Read) -> Result<Option<u32>, StreamError> {
    let mut header = [0; 8];
    source.read_exact(&mut header)?;
    let [tag @ .., a, b, c, d] = header;
    match tag {
        [0xFE, 0xFF, 0x00, 0xE0] => Ok(Some(u32::from_le_bytes([a, b, c, d]))),
        [0xFE, 0xFF, 0xDD, 0xE0] => Ok(None),
        _ => Err(StreamError::Malformed),
    }
}
