//! Locates the frames of an image in its file: by their size in native pixel data, by fragments in encapsulated pixel
//! data (PS3.5 8.1.1 and A.4). Does not decode pixel data.

use super::body::{self, FileRange};
use bytes::Bytes;
use dicom_dictionary_std::tags;
use dicom_model::data_set::{ByteRange, DataSet};
use dicom_model::encapsulated::{
    Fragment, Inconsistent, Locator, MARKER, StreamError, item, media_type, number_of_frames,
};
use dicom_model::part10::{Header, PixelData, ReadError};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// Maximum size in bytes of a frame with one bit per pixel that does not start at a byte boundary, because it is
/// shifted in memory.
const MAX_SHIFTED_SIZE: u64 = 64 * 1024 * 1024;

/// The located frames of a file.
#[derive(Debug)]
pub(super) struct Frames {
    /// The media type of one frame.
    pub(super) media: &'static str,
    /// Whether the frames are compressed.
    pub(super) compressed: bool,
    locations: Vec<Frame>,
    whole: FileRange,
}

#[derive(Debug, Clone)]
enum Frame {
    /// These byte ranges, concatenated.
    Ranges(Vec<ByteRange>),
    /// Pixels of one bit: `count` bits after the first `skipped` bits of the range.
    Bits { range: ByteRange, skipped: u32, count: u64 },
}

/// Why an image's frames cannot be served.
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
            StreamError::Broken => Self::Inconsistent("the fragments are malformed"),
            StreamError::Io(error) => error.into(),
        }
    }
}

impl From<io::Error> for FramesError {
    fn from(error: io::Error) -> Self {
        Self::Read(error.into())
    }
}

/// The complete pixel data of the file at `path`; `None` if they are encapsulated.
pub(super) fn native_value(path: &Path) -> Result<Option<FileRange>, FramesError> {
    let header = body::header(path, |_| false)?;
    let PixelData { vr, offset, length, .. } = header.pixel_data.ok_or(FramesError::NoPixelData)?;
    Ok(length.map(|length| FileRange::of(&header, path, vr, ByteRange { offset, length })))
}

/// Locates the frames of the file at `path`.
pub(super) fn locate(path: &Path) -> Result<Frames, FramesError> {
    let header = body::header(path, |_| true)?;
    let pixels = header.pixel_data.ok_or(FramesError::NoPixelData)?;
    let range = ByteRange { offset: pixels.offset, length: pixels.length.unwrap_or(0) };
    let whole = FileRange::of(&header, path, pixels.vr, range);
    let (media, locations) = if pixels.length.is_some() {
        ("application/octet-stream", native(&header.data, range)?)
    } else {
        (media_type(header.transfer_syntax), encapsulated(path, &header, pixels.offset)?)
    };
    Ok(Frames { media, compressed: pixels.length.is_none(), locations, whole })
}

impl Frames {
    /// Number of frames.
    pub(super) fn count(&self) -> usize {
        self.locations.len()
    }

    /// The bytes of the frame with this number, counted from 1.
    pub(super) fn frame(&self, number: usize) -> Option<Box<dyn Iterator<Item = io::Result<Bytes>> + Send>> {
        let file_range = |range| FileRange { range, ..self.whole.clone() };
        let frame = self.locations.get(number.checked_sub(1)?)?;
        Some(match frame {
            Frame::Ranges(ranges) => {
                let ranges_of_frame: Vec<FileRange> = ranges.iter().copied().map(file_range).collect();
                Box::new(ranges_of_frame.into_iter().flat_map(FileRange::chunks))
            }
            Frame::Bits { range, skipped, count } => {
                let (file_range, skipped, count) = (file_range(*range), *skipped, *count);
                Box::new(std::iter::once_with(move || shifted(file_range, skipped, count)))
            }
        })
    }
}

fn native(data: &DataSet, pixels: ByteRange) -> Result<Vec<Frame>, FramesError> {
    let size = |tag| data.word(tag).map(u64::from);
    let (Some(rows), Some(columns), Some(bits)) =
        (size(tags::ROWS), size(tags::COLUMNS), size(tags::BITS_ALLOCATED))
    else {
        return Err(FramesError::Inconsistent("Rows, Columns or Bits Allocated is missing"));
    };
    // With chrominance at half the resolution there are on average two samples per pixel (PS3.3 C.7.6.3.1.2).
    let halved = data.text(tags::PHOTOMETRIC_INTERPRETATION).is_some_and(|text| text.ends_with("_422"));
    let samples = if halved { 2 } else { size(tags::SAMPLES_PER_PIXEL).unwrap_or(1) };
    let bits = rows * columns * bits * samples;
    let count = number_of_frames(data.text(tags::NUMBER_OF_FRAMES));
    if bits == 0 || bits.saturating_mul(count as u64).div_ceil(8) > pixels.length {
        return Err(FramesError::Inconsistent(
            "the pixel data are shorter than Rows, Columns, Bits Allocated, Samples per Pixel and Number of Frames require",
        ));
    }
    let frame = |number: usize| {
        let start = bits * number as u64;
        let (first, skipped) = (start / 8, start % 8);
        let range = ByteRange { offset: pixels.offset + first, length: (skipped + bits).div_ceil(8) };
        if skipped == 0 && bits.is_multiple_of(8) {
            Frame::Ranges(vec![range])
        } else {
            Frame::Bits { range, skipped: u32::try_from(skipped).unwrap_or_default(), count: bits }
        }
    };
    Ok((0..count).map(frame).collect())
}

/// Shifts pixels of one bit, the first in the lowest bit (PS3.5 8.2), to the start of a byte.
fn shifted(file_range: FileRange, skipped: u32, count: u64) -> io::Result<Bytes> {
    if file_range.range.length > MAX_SHIFTED_SIZE {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let bytes = file_range.bytes()?;
    let length = usize::try_from(count.div_ceil(8)).unwrap_or(bytes.len());
    let mut shifted_bytes: Vec<u8> = (0..length)
        .map(|at| {
            let low = bytes.get(at).copied().unwrap_or_default();
            let high = bytes.get(at + 1).copied().unwrap_or_default();
            u16::from_le_bytes([low, high]).checked_shr(skipped).unwrap_or_default().to_le_bytes()[0]
        })
        .collect();
    // The remaining bits of the last byte belong to the next frame.
    if let Some(last) = shifted_bytes.last_mut()
        && !count.is_multiple_of(8)
    {
        *last &= (1 << (count % 8)) - 1;
    }
    Ok(shifted_bytes.into())
}

/// Locates the frames of encapsulated pixel data; reads only the beginning of each fragment.
fn encapsulated(path: &Path, header: &Header, offset: u64) -> Result<Vec<Frame>, FramesError> {
    let mut file = BufReader::new(File::open(path)?);
    let size = file.get_ref().metadata()?.len();
    file.seek(SeekFrom::Start(offset))?;
    let length =
        item(&mut file)?.ok_or(FramesError::Inconsistent("the Basic Offset Table item is missing"))?;
    let mut table = Vec::new();
    file.by_ref().take(length.into()).read_to_end(&mut table)?;
    let first = offset + 8 + u64::from(length);
    let (mut fragments, mut ranges) = (Vec::new(), Vec::new());
    let mut position = first;
    while let Some(length) = item(&mut file)? {
        let range = ByteRange { offset: position + 8, length: length.into() };
        let mut start = Vec::new();
        file.by_ref().take(u64::from(length).min(MARKER as u64)).read_to_end(&mut start)?;
        fragments.push(Fragment::new(position - first, length, &start));
        position = range.offset + range.length;
        if position > size {
            return Err(ReadError::Truncated.into());
        }
        ranges.push(range);
        let rest = range.length - start.len() as u64;
        file.seek_relative(i64::try_from(rest).unwrap_or(i64::MAX))?;
    }
    let count = number_of_frames(header.data.text(tags::NUMBER_OF_FRAMES));
    let extended = header.extended_offsets.as_deref();
    let locator = Locator::new(count, header.transfer_syntax, &table, extended);
    let frames = locator.locate(&fragments).map_err(StreamError::from)?;
    let frame = |indices: Vec<usize>| Frame::Ranges(indices.into_iter().map(|index| ranges[index]).collect());
    Ok(frames.into_iter().map(frame).collect())
}

#[cfg(test)]
mod tests;
