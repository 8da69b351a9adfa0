//! Serves the frames of an image from its file. `dicom_model` locates them in native and in encapsulated pixel data (PS3.5 8.1.1
//! and A.4). Native frames are in little-endian order and start at a byte boundary. This module does not decode pixel data.

use super::body::{self, Chunks, FileRange};
use bytes::Bytes;
use dicom_dictionary_std::tags;
use dicom_model::data_set::{ByteRange, DataSet};
use dicom_model::encapsulated_pixel_data::{
    Fragment, FrameLocator, Inconsistent, MARKER_LENGTH, StreamError, media_type, number_of_frames,
    read_item_header,
};
use dicom_model::native_pixel_data::{FrameAttributes, NativeFrame, NativeFrames};
use dicom_model::part10::{Header, ReadError};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

/// Maximum size in bytes of a frame that does not start or end at a byte boundary. Such a frame is shifted in memory.
const MAX_SHIFTED_SIZE: u64 = 64 * 1024 * 1024;

/// The located frames of a file.
#[derive(Debug)]
pub(super) struct Frames {
    /// The media type of one frame.
    pub(super) media: &'static str,
    /// Whether the frames are compressed.
    pub(super) is_compressed: bool,
    locations: Vec<Frame>,
    pixel_data: FileRange,
}

#[derive(Debug, Clone)]
enum Frame {
    /// The concatenation of these byte ranges.
    Ranges(Vec<ByteRange>),
    /// A native frame; its range is relative to the value.
    Native(NativeFrame),
}

/// Why the frames of an image cannot be served.
#[derive(Debug, thiserror::Error)]
pub(super) enum FramesError {
    /// The instance has no pixel data.
    #[error("the instance has no pixel data")]
    NoPixelData,
    /// The attributes and the pixel data contradict each other.
    #[error("the frames of the image cannot be determined: {0}")]
    Inconsistent(&'static str),
    /// The file was changed or deleted after it was indexed.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<StreamError> for FramesError {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Inconsistent(Inconsistent) => {
                Self::Inconsistent("the fragments do not match the number of frames")
            }
            StreamError::Malformed => Self::Inconsistent("the fragments are malformed"),
            StreamError::Io(error) => error.into(),
        }
    }
}

impl From<io::Error> for FramesError {
    fn from(error: io::Error) -> Self {
        Self::Read(error.into())
    }
}

/// Locates the frames of the file at `path`.
pub(super) fn locate(path: &Path) -> Result<Frames, FramesError> {
    let header = body::read_header(path, |_| true)?;
    let value = header.pixel_data.ok_or(FramesError::NoPixelData)?.value;
    let pixel_data = FileRange::of(&header, path, value);
    let (media, locations) = if let Some(length) = value.length {
        ("application/octet-stream", locate_native(&header.data, length, value.swapped_word_size)?)
    } else {
        (media_type(header.transfer_syntax), locate_encapsulated(path, &header, value.offset)?)
    };
    Ok(Frames { media, is_compressed: value.length.is_none(), locations, pixel_data })
}

impl Frames {
    /// Returns the number of frames.
    pub(super) fn count(&self) -> usize {
        self.locations.len()
    }

    /// Returns the bytes of the frame with this number, starting at 1.
    pub(super) fn frame(&self, number: usize) -> Option<Box<dyn Iterator<Item = io::Result<Bytes>> + Send>> {
        let file_range = |range| FileRange { range, ..self.pixel_data.clone() };
        let frame = self.locations.get(number.checked_sub(1)?)?;
        Some(match frame {
            Frame::Ranges(ranges) => {
                let ranges_of_frame: Vec<FileRange> = ranges.iter().copied().map(file_range).collect();
                Box::new(ranges_of_frame.into_iter().flat_map(FileRange::chunks))
            }
            Frame::Native(frame) => {
                let ByteRange { offset, length } = frame.range;
                let range = ByteRange { offset: self.pixel_data.range.offset + offset, length };
                let (file_range, frame) = (file_range(range), *frame);
                if frame.bit_offset.is_multiple_of(8) && frame.bits.is_multiple_of(8) {
                    Box::new(slice_chunks(file_range.chunks(), frame.bit_offset / 8, frame.bits / 8))
                } else {
                    Box::new(std::iter::once_with(move || read_bits(file_range, frame)))
                }
            }
        })
    }
}

fn locate_native(data: &DataSet, length: u64, word_size: usize) -> Result<Vec<Frame>, FramesError> {
    let attributes = FrameAttributes::from_data_set(data)
        .ok_or(FramesError::Inconsistent("Rows, Columns or Bits Allocated is missing"))?;
    let count = number_of_frames(data.text(tags::NUMBER_OF_FRAMES));
    let frames = NativeFrames::new(&attributes, count, length, word_size).map_err(|_| {
        FramesError::Inconsistent("the pixel data is shorter than Rows, Columns, Bits Allocated, Samples per Pixel and Number of Frames require")
    })?;
    Ok((0..count).filter_map(|index| frames.frame(index)).map(Frame::Native).collect())
}

/// Returns `length` bytes of `chunks` after the first `skipped` bytes.
fn slice_chunks(chunks: Chunks, skipped: u64, length: u64) -> impl Iterator<Item = io::Result<Bytes>> + Send {
    let (mut skipped, mut remaining) = (skipped, length);
    let parts = chunks.map(move |chunk| {
        let mut chunk: Bytes = chunk?;
        let size = |bytes: u64, chunk: &Bytes| usize::try_from(bytes).unwrap_or(usize::MAX).min(chunk.len());
        let skipped_here = chunk.split_to(size(skipped, &chunk)).len();
        chunk.truncate(size(remaining, &chunk));
        skipped -= skipped_here as u64;
        remaining -= chunk.len() as u64;
        Ok(chunk)
    });
    parts.filter(|part| !part.as_ref().is_ok_and(Bytes::is_empty))
}

/// Reads a frame that does not begin or end at the boundary of a byte.
fn read_bits(file_range: FileRange, frame: NativeFrame) -> io::Result<Bytes> {
    if file_range.range.length > MAX_SHIFTED_SIZE {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(frame.extract(file_range.read()?).into())
}

/// Locates the frames of encapsulated pixel data; reads only the beginning of each fragment.
fn locate_encapsulated(path: &Path, header: &Header, offset: u64) -> Result<Vec<Frame>, FramesError> {
    let mut file = BufReader::new(File::open(path)?);
    let size = file.get_ref().metadata()?.len();
    file.seek(SeekFrom::Start(offset))?;
    let length = read_item_header(&mut file)?
        .ok_or(FramesError::Inconsistent("the Basic Offset Table item is missing"))?;
    let mut table = Vec::new();
    file.by_ref().take(length.into()).read_to_end(&mut table)?;
    let first_fragment = offset + 8 + u64::from(length);
    let (mut fragments, mut ranges) = (Vec::new(), Vec::new());
    let mut position = first_fragment;
    while let Some(length) = read_item_header(&mut file)? {
        let range = ByteRange { offset: position + 8, length: length.into() };
        let mut start = Vec::new();
        file.by_ref().take(u64::from(length).min(MARKER_LENGTH as u64)).read_to_end(&mut start)?;
        fragments.push(Fragment::new(position - first_fragment, length, &start));
        position = range.offset + range.length;
        if position > size {
            return Err(ReadError::Truncated.into());
        }
        ranges.push(range);
        let rest = range.length - start.len() as u64;
        file.seek_relative(i64::try_from(rest).unwrap_or(i64::MAX))?;
    }
    let count = number_of_frames(header.data.text(tags::NUMBER_OF_FRAMES));
    let extended = header.extended_offsets.as_ref();
    let locator = FrameLocator::new(count, header.transfer_syntax, &table.into(), extended);
    let frames = locator.locate(&fragments).map_err(StreamError::from)?;
    // An empty fragment has no range.
    let has_bytes = |range: &&ByteRange| range.length > 0;
    let frame =
        |indices: Range<usize>| Frame::Ranges(ranges[indices].iter().filter(has_bytes).copied().collect());
    Ok(frames.into_iter().map(frame).collect())
}

#[cfg(test)]
mod tests;
