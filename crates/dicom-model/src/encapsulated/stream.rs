//! Encapsulated pixel data that pass by: fragments are read one after the other, and given in pieces that say where a frame
//! begins.
//!
//! What tells the frames may contradict itself until the last fragment. As long as it does, fragments are held, up to
//! [`MAX_HELD`] bytes; beyond that the rule is believed that would be first. When it does not hold in the end, that is an
//! error: frames are never given for whole that are none.

use super::{Begins, Fragment, Inconsistent, Locator, MARKER, MAX_TABLE, Rule};
use bytes::Bytes;
use std::collections::VecDeque;
use std::io::{self, Read};

/// So much is held of fragments that may begin a frame or not.
const MAX_HELD: usize = 16 * 1024 * 1024;

/// So much of a fragment is read at once.
const PIECE: u32 = 64 * 1024;

/// Why fragments cannot be given as frames.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// They do not tell the frames.
    #[error(transparent)]
    Inconsistent(#[from] Inconsistent),
    /// They are not what PS3.5 A.4 has.
    #[error("its fragments are broken")]
    Broken,
    /// What they are read out of fails or ends.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Some bytes of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// They are its first.
    pub begins_frame: bool,
    /// One or more.
    pub bytes: Bytes,
}

/// Bytes whose frame is not known yet.
#[derive(Debug)]
struct Held {
    /// Of the first bytes of a fragment.
    begins: Option<Begins>,
    bytes: Bytes,
}

/// Frames as they are read.
#[derive(Debug)]
pub struct Stream {
    locator: Locator,
    /// Where the next item begins, counted from the first one behind the table.
    offset: u64,
    /// What is left of the fragment that is being read.
    left: u32,
    held: VecDeque<Held>,
    held_bytes: usize,
    /// What was given is not what each of these rules has.
    departed: [bool; 3],
    is_at_end: bool,
}

impl Stream {
    /// Reads the Basic Offset Table out of `source`, which is at the value of the pixel data of an image of so many frames.
    /// `extended` is the value of its Extended Offset Table.
    pub fn open(
        source: &mut impl Read,
        frames: usize,
        transfer_syntax: &str,
        extended: Option<&[u8]>,
    ) -> Result<Self, StreamError> {
        let length = item(source)?.ok_or(StreamError::Broken)?;
        let mut table = Vec::new();
        let is_table = length as usize <= MAX_TABLE && length as usize / 4 == frames;
        let mut value = source.take(length.into());
        let read = if is_table {
            value.read_to_end(&mut table)? as u64
        } else {
            io::copy(&mut value, &mut io::sink())?
        };
        if read < u64::from(length) {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(Self {
            locator: Locator::new(frames, transfer_syntax, &table, extended),
            offset: 0,
            left: 0,
            held: VecDeque::new(),
            held_bytes: 0,
            departed: [false; 3],
            is_at_end: false,
        })
    }

    /// The next bytes; none behind the last frame, when every rule that was followed held.
    pub fn next(&mut self, source: &mut impl Read) -> Result<Option<Piece>, StreamError> {
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

    /// Reads some bytes of this fragment, or of the next one.
    fn read(&mut self, source: &mut impl Read) -> Result<(), StreamError> {
        let is_new = self.left == 0;
        let mut length = self.left;
        if is_new {
            let Some(next) = item(source)? else {
                self.is_at_end = true;
                return Ok(());
            };
            length = next;
        }
        let wanted = length.min(PIECE);
        let mut bytes = Vec::with_capacity(wanted as usize);
        source.take(wanted.into()).read_to_end(&mut bytes)?;
        if bytes.len() < wanted as usize {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        self.left = length - wanted;
        let mut begins = None;
        if is_new {
            let fragment = Fragment::new(self.offset, length, &bytes[..bytes.len().min(MARKER)]);
            self.offset += 8 + u64::from(length);
            begins = self.locator.feed(fragment);
        }
        if !bytes.is_empty() {
            self.held_bytes += bytes.len();
            self.held.push_back(Held { begins, bytes: bytes.into() });
        }
        Ok(())
    }

    /// The first of what is held, when it is known whether it begins a frame.
    fn release(&mut self) -> Result<Option<Piece>, StreamError> {
        if self.is_at_end {
            let rule = self.locator.rule()?;
            if index(rule).is_some_and(|index| self.departed[index]) {
                return Err(Inconsistent.into());
            }
        }
        let Some(first) = self.held.front() else { return Ok(None) };
        let begins_frame = match first.begins {
            None => false,
            Some(begins) => match self.decide(begins)? {
                Some(begins_frame) => {
                    for rule in [Rule::Table, Rule::Markers, Rule::Count] {
                        if let Some(index) = index(rule) {
                            self.departed[index] |= begins.by(rule) != begins_frame;
                        }
                    }
                    begins_frame
                }
                None => return Ok(None),
            },
        };
        let bytes = self.held.pop_front().map(|held| held.bytes).unwrap_or_default();
        self.held_bytes -= bytes.len();
        Ok(Some(Piece { begins_frame, bytes }))
    }

    /// Whether a fragment begins a frame, as far as that is known: the two rules that would be believed first say the same.
    fn decide(&self, begins: Begins) -> Result<Option<bool>, Inconsistent> {
        if self.is_at_end {
            return Ok(Some(begins.by(self.locator.rule()?)));
        }
        // What was given decides among the rules.
        let departed = |rule: &Rule| index(*rule).is_some_and(|index| self.departed[index]);
        let mut rules = self.locator.candidates().filter(|rule| !departed(rule));
        let first = begins.by(rules.next().ok_or(Inconsistent)?);
        let agrees = rules.next().is_none_or(|second| begins.by(second) == first);
        Ok((agrees || self.held_bytes > MAX_HELD).then_some(first))
    }
}

/// Where it is noted whether what was given departs from a rule.
fn index(rule: Rule) -> Option<usize> {
    match rule {
        Rule::Table => Some(0),
        Rule::Markers => Some(1),
        Rule::Count => Some(2),
        Rule::Whole => None,
    }
}

/// Reads an item header and tells its length; none at the delimiter that ends the fragments (PS3.5 A.4).
pub fn item(source: &mut impl Read) -> Result<Option<u32>, StreamError> {
    let mut header = [0; 8];
    source.read_exact(&mut header)?;
    let [tag @ .., a, b, c, d] = header;
    match tag {
        [0xFE, 0xFF, 0x00, 0xE0] => Ok(Some(u32::from_le_bytes([a, b, c, d]))),
        [0xFE, 0xFF, 0xDD, 0xE0] => Ok(None),
        _ => Err(StreamError::Broken),
    }
}
