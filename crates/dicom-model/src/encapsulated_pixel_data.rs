//! Encapsulated pixel data (PS3.5 A.4): assigns fragments to frames. This module does not decode frames and does not know about
//! files.
//!
//! A [`FrameLocator`] receives the fragments in their order. Three rules can determine where frames begin. They are tried in
//! this order, and a rule applies only if no fragment contradicts it: first the Extended or the Basic Offset Table, whose
//! offsets must ascend and refer to fragments; then the markers at the start of JPEG, JPEG-LS, JPEG 2000 and JPEG XL
//! streams; then the number of fragments, which must equal the number of frames. An empty fragment belongs to no frame,
//! and no frame is empty. A video is one stream.

mod stream;

use bytes::Bytes;
use dicom_dictionary_std::uids;
use std::ops::Range;

pub use stream::{FramePart, Stream, StreamError, read_item_header};

/// Maximum size of a Basic Offset Table in bytes: one million frames.
const MAX_TABLE: usize = 4 * 1024 * 1024;

/// The first bytes of compressed frames: JPEG and JPEG-LS, JPEG 2000 and HTJ2K, JPEG XL, and the file formats of JPEG 2000 and
/// JPEG XL.
const MARKERS: [&[u8]; 5] = [
    &[0xFF, 0xD8, 0xFF],
    &[0xFF, 0x4F, 0xFF, 0x51],
    &[0xFF, 0x0A],
    &[0, 0, 0, 12, b'j', b'P', b' ', b' '],
    &[0, 0, 0, 12, b'J', b'X', b'L', b' '],
];

/// The number of bytes at the start of a fragment that are compared with the markers.
pub const MARKER_LENGTH: usize = 8;

/// Error: no rule assigns the fragments to the declared number of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its fragments do not match its number of frames")]
pub struct Inconsistent;

/// The properties of a fragment that determine whether it begins a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    offset: u64,
    length: u32,
    has_marker: bool,
}

impl Fragment {
    /// Creates a fragment of `length` bytes that begin with `start`. `offset` is the offset of its item from the first item
    /// after the Basic Offset Table (PS3.5 A.4).
    pub fn new(offset: u64, length: u32, start: &[u8]) -> Self {
        Self { offset, length, has_marker: MARKERS.iter().any(|marker| start.starts_with(marker)) }
    }

    /// Returns where its value is, relative to the first item after the Basic Offset Table.
    pub fn value_range(&self) -> Range<u64> {
        let start = self.offset + 8;
        start..start + u64::from(self.length)
    }
}

/// A rule that determines where frames begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// A frame begins at each offset in the offset table.
    Table,
    /// A frame begins with each marker.
    Markers,
    /// Each fragment is a frame.
    Count,
    /// There is only one frame.
    Whole,
}

/// The rules according to which a fragment that is not empty begins a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FrameStart {
    is_in_table: bool,
    has_marker: bool,
    is_first: bool,
}

impl FrameStart {
    /// Whether the fragment begins a frame according to `rule`.
    fn begins_frame(self, rule: Rule) -> bool {
        self.is_first
            || match rule {
                Rule::Table => self.is_in_table,
                Rule::Markers => self.has_marker,
                Rule::Count => true,
                Rule::Whole => false,
            }
    }
}

/// The offsets of an Extended or a Basic Offset Table, as they are encoded.
#[derive(Debug, Clone)]
enum OffsetTable {
    Extended(Bytes),
    Basic(Bytes),
}

impl OffsetTable {
    fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        let (long, short) = match self {
            Self::Extended(bytes) => (bytes.as_chunks().0, &[][..]),
            Self::Basic(bytes) => (&[][..], bytes.as_chunks().0),
        };
        let short = short.iter().map(|offset| u32::from_le_bytes(*offset).into());
        long.iter().map(|offset| u64::from_le_bytes(*offset)).chain(short)
    }

    fn len(&self) -> usize {
        match self {
            Self::Extended(bytes) => bytes.len() / 8,
            Self::Basic(bytes) => bytes.len() / 4,
        }
    }

    fn get(&self, index: usize) -> Option<u64> {
        match self {
            Self::Extended(bytes) => bytes.as_chunks().0.get(index).map(|offset| u64::from_le_bytes(*offset)),
            Self::Basic(bytes) => {
                bytes.as_chunks().0.get(index).map(|offset| u32::from_le_bytes(*offset).into())
            }
        }
    }
}

/// Determines which fragments begin frames.
#[derive(Debug, Clone)]
pub struct FrameLocator {
    frame_count: usize,
    /// The offset table; `None` after a fragment contradicted it.
    table: Option<OffsetTable>,
    /// The number of offsets that matched a fragment.
    matched_count: usize,
    /// Whether the last matched offset refers to an empty fragment. Its frame begins with the next fragment that is not empty.
    is_pending: bool,
    /// The number of fragments that are not empty.
    fragment_count: usize,
    /// The number of fragments that begin with a marker.
    marker_count: usize,
    first_has_marker: bool,
}

impl FrameLocator {
    /// Creates a locator for an image of `frame_count` frames. `basic` and `extended` are the bytes of the offset tables. An invalid
    /// table is ignored.
    pub fn new(frame_count: usize, transfer_syntax: &str, basic: &Bytes, extended: Option<&Bytes>) -> Self {
        let frame_count = if is_video(transfer_syntax) { 1 } else { frame_count };
        let is_valid = |table: &OffsetTable| {
            table.len() == frame_count
                && table.get(0) == Some(0)
                && table.iter().is_sorted_by(|one, next| one < next)
        };
        let extended = extended.cloned().map(OffsetTable::Extended).filter(is_valid);
        let table = extended.or_else(|| Some(OffsetTable::Basic(basic.clone())).filter(is_valid));
        Self {
            frame_count,
            table: table.filter(|_| frame_count > 1),
            matched_count: 0,
            is_pending: false,
            fragment_count: 0,
            marker_count: 0,
            first_has_marker: false,
        }
    }

    /// Adds the next fragment. Returns the rules according to which it begins a frame; `None` if it is empty.
    fn add_fragment(&mut self, fragment: Fragment) -> Option<FrameStart> {
        if let Some(table) = &self.table {
            let next = table.get(self.matched_count);
            if next == Some(fragment.offset) {
                // The previous frame would be empty.
                if self.is_pending {
                    self.table = None;
                }
                self.matched_count += 1;
                self.is_pending = true;
            } else if next.is_some_and(|next| next < fragment.offset) {
                self.table = None;
            }
        }
        if fragment.length == 0 {
            return None;
        }
        let is_first = self.fragment_count == 0;
        self.fragment_count += 1;
        self.first_has_marker |= is_first && fragment.has_marker;
        self.marker_count += usize::from(fragment.has_marker);
        let is_in_table = std::mem::take(&mut self.is_pending);
        Some(FrameStart { is_in_table, has_marker: fragment.has_marker, is_first })
    }

    /// Returns the rules that no fragment has contradicted yet, in order of precedence.
    fn candidates(&self) -> impl Iterator<Item = Rule> {
        let may_use_markers = self.first_has_marker && self.marker_count <= self.frame_count;
        let may_use_count = self.fragment_count <= self.frame_count;
        let single = (self.frame_count == 1).then_some(Rule::Whole);
        let multi_frame = [
            (self.table.is_some(), Rule::Table),
            (may_use_markers, Rule::Markers),
            (may_use_count, Rule::Count),
        ];
        let is_multi_frame = self.frame_count > 1;
        let multi_frame = multi_frame.into_iter().filter(move |(may_apply, _)| *may_apply && is_multi_frame);
        single.into_iter().chain(multi_frame.map(|(_, rule)| rule))
    }

    /// Returns the rule that applies after the last fragment.
    fn rule(&self) -> Result<Rule, Inconsistent> {
        let applies = |rule: &Rule| match rule {
            Rule::Table => self.matched_count == self.frame_count && !self.is_pending,
            Rule::Markers => self.marker_count == self.frame_count,
            Rule::Count => self.fragment_count == self.frame_count,
            Rule::Whole => self.fragment_count > 0,
        };
        self.candidates().find(applies).ok_or(Inconsistent)
    }

    /// Returns the frames of `fragments`: for each frame the range of its fragments. The ranges are the only memory that is allocated;
    /// there are at most as many as fragments.
    pub fn locate(mut self, fragments: &[Fragment]) -> Result<Vec<Range<usize>>, Inconsistent> {
        let mut counted = self.clone();
        for fragment in fragments {
            counted.add_fragment(*fragment);
        }
        let rule = counted.rule()?;
        let count = if rule == Rule::Whole { 1 } else { self.frame_count };
        let mut frames: Vec<Range<usize>> = Vec::with_capacity(count.min(fragments.len()));
        for (index, fragment) in fragments.iter().enumerate() {
            let is_start = self.add_fragment(*fragment).is_some_and(|start| start.begins_frame(rule));
            if is_start {
                if let Some(previous) = frames.last_mut() {
                    previous.end = index;
                }
                frames.push(index..fragments.len());
            }
        }
        Ok(frames)
    }
}

/// Returns the number of frames for `text`, the value of Number of Frames (0028,0008), which is at least one (PS3.3
/// C.7.6.6.1.1). A value that is missing or invalid means one.
pub fn number_of_frames(text: Option<&str>) -> usize {
    let number = text.and_then(|text| text.trim_matches(['\0', ' ']).parse::<f64>().ok()).unwrap_or(1.0);
    // Casts of floating point numbers saturate.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to the range of u32"
    )]
    let number = number.max(1.0).min(u32::MAX.into()) as u32;
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Whether pixel data in this transfer syntax is one video stream, regardless of the number of frames and fragments
/// (PS3.5 8.2.5 to 8.2.9).
pub fn is_video(transfer_syntax: &str) -> bool {
    media_type(transfer_syntax).starts_with("video/")
}

/// Returns the media type of one compressed frame or of a video (PS3.18 tables 8.7.3-2 and 8.7.3-5).
pub fn media_type(transfer_syntax: &str) -> &'static str {
    match transfer_syntax {
        uids::JPEG_BASELINE8_BIT
        | uids::JPEG_EXTENDED12_BIT
        | uids::JPEG_LOSSLESS
        | uids::JPEG_LOSSLESS_SV1 => "image/jpeg",
        uids::JPEGLS_LOSSLESS | uids::JPEGLS_NEAR_LOSSLESS => "image/jls",
        uids::JPEG2000_LOSSLESS | uids::JPEG2000 => "image/jp2",
        uids::JPEG2000MC_LOSSLESS | uids::JPEG2000MC => "image/jpx",
        uids::HTJ2K_LOSSLESS | uids::HTJ2K_LOSSLESS_RPCL | uids::HTJ2K => "image/jphc",
        uids::JPEGXL_LOSSLESS | uids::JPEGXLJPEG_RECOMPRESSION | uids::JPEGXL => "image/jxl",
        uids::MPEG2MPML | uids::MPEG2MPMLF | uids::MPEG2MPHL | uids::MPEG2MPHLF => "video/mpeg",
        uids::MPEG4HP41
        | uids::MPEG4HP41F
        | uids::MPEG4HP41BD
        | uids::MPEG4HP41BDF
        | uids::MPEG4HP422D
        | uids::MPEG4HP422DF
        | uids::MPEG4HP423D
        | uids::MPEG4HP423DF
        | uids::MPEG4HP42STEREO
        | uids::MPEG4HP42STEREOF => "video/mp4",
        uids::HEVCMP51 | uids::HEVCM10P51 => "video/H265",
        uids::RLE_LOSSLESS => "image/dicom-rle",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests;
