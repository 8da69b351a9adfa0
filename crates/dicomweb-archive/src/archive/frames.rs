//! Where the frames of an image stand in its file: counted off in native pixel data, fragment by fragment in
//! encapsulated pixel data (PS3.5 8.1.1 and A.4). Nothing is decoded.

use super::body::{self, Stretch};
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

/// A frame of one bit a pixel that does not start on a byte is put together in memory, and may not be larger.
const MAX_SHIFTED_SIZE: u64 = 64 * 1024 * 1024;

/// The pixel data of a file, ready to be served in frames.
#[derive(Debug)]
pub(super) struct Frames {
    /// The media type of one frame.
    pub(super) media: &'static str,
    /// Whether each frame is a compressed stream of its own.
    pub(super) compressed: bool,
    places: Vec<Frame>,
    whole: Stretch,
}

#[derive(Debug, Clone)]
enum Frame {
    /// These ranges one after the other.
    Ranges(Vec<ByteRange>),
    /// Pixels of one bit, from a bit inside the first byte.
    Bits { range: ByteRange, skipped: u32, count: u64 },
}

/// Why an image's frames cannot be served.
#[derive(Debug, thiserror::Error)]
pub(super) enum FramesError {
    /// No pixel data.
    #[error("the instance holds no pixel data")]
    NoPixelData,
    /// The numbers in the header and the length of the pixel data do not go together.
    #[error("the image's frames cannot be told apart: {0}")]
    Inconsistent(&'static str),
    /// The file has changed or gone since it was indexed.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<StreamError> for FramesError {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Inconsistent(Inconsistent) => {
                Self::Inconsistent("its fragments do not tell where its frames begin")
            }
            StreamError::Broken => Self::Inconsistent("its fragments are broken"),
            StreamError::Io(error) => error.into(),
        }
    }
}

impl From<io::Error> for FramesError {
    fn from(error: io::Error) -> Self {
        Self::Read(error.into())
    }
}

/// All of the pixel data of the file at `path` where they are native.
pub(super) fn native_value(path: &Path) -> Result<Option<Stretch>, FramesError> {
    let header = body::header(path, |_| false)?;
    let PixelData { vr, offset, length, .. } = header.pixel_data.ok_or(FramesError::NoPixelData)?;
    Ok(length.map(|length| Stretch::of(&header, path, vr, ByteRange { offset, length })))
}

/// Finds the frames of the file at `path`.
pub(super) fn locate(path: &Path) -> Result<Frames, FramesError> {
    let header = body::header(path, |_| true)?;
    let pixels = header.pixel_data.ok_or(FramesError::NoPixelData)?;
    let range = ByteRange { offset: pixels.offset, length: pixels.length.unwrap_or(0) };
    let whole = Stretch::of(&header, path, pixels.vr, range);
    let (media, places) = if pixels.length.is_some() {
        ("application/octet-stream", native(&header.data, range)?)
    } else {
        (media_type(header.transfer_syntax), encapsulated(path, &header, pixels.offset)?)
    };
    Ok(Frames { media, compressed: pixels.length.is_none(), places, whole })
}

impl Frames {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.places.len()
    }

    /// The bytes of the frame with this number, from one.
    pub(super) fn frame(&self, number: usize) -> Option<Box<dyn Iterator<Item = io::Result<Bytes>> + Send>> {
        let stretch = |range| Stretch { range, ..self.whole.clone() };
        let frame = self.places.get(number.checked_sub(1)?)?;
        Some(match frame {
            Frame::Ranges(ranges) => {
                let stretches: Vec<Stretch> = ranges.iter().copied().map(stretch).collect();
                Box::new(stretches.into_iter().flat_map(Stretch::chunks))
            }
            Frame::Bits { range, skipped, count } => {
                let (stretch, skipped, count) = (stretch(*range), *skipped, *count);
                Box::new(std::iter::once_with(move || shifted(stretch, skipped, count)))
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
    // Chrominance at half the resolution makes two samples a pixel on the average (PS3.3 C.7.6.3.1.2).
    let halved = data.text(tags::PHOTOMETRIC_INTERPRETATION).is_some_and(|text| text.ends_with("_422"));
    let samples = if halved { 2 } else { size(tags::SAMPLES_PER_PIXEL).unwrap_or(1) };
    let bits = rows * columns * bits * samples;
    let count = number_of_frames(data.text(tags::NUMBER_OF_FRAMES));
    if bits == 0 || bits.saturating_mul(count as u64).div_ceil(8) > pixels.length {
        return Err(FramesError::Inconsistent(
            "the pixel data is shorter than Rows, Columns and the rest say",
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

/// Moves pixels of one bit, the first in the lowest bit (PS3.5 8.2), to the start of a byte.
fn shifted(stretch: Stretch, skipped: u32, count: u64) -> io::Result<Bytes> {
    if stretch.range.length > MAX_SHIFTED_SIZE {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let bytes = stretch.bytes()?;
    let length = usize::try_from(count.div_ceil(8)).unwrap_or(bytes.len());
    let mut moved: Vec<u8> = (0..length)
        .map(|at| {
            let low = bytes.get(at).copied().unwrap_or_default();
            let high = bytes.get(at + 1).copied().unwrap_or_default();
            u16::from_le_bytes([low, high]).checked_shr(skipped).unwrap_or_default().to_le_bytes()[0]
        })
        .collect();
    // What follows in the last byte belongs to the next frame.
    if let Some(last) = moved.last_mut()
        && !count.is_multiple_of(8)
    {
        *last &= (1 << (count % 8)) - 1;
    }
    Ok(moved.into())
}

/// Passes over the fragments of the file, of which only the beginnings are read.
fn encapsulated(path: &Path, header: &Header, offset: u64) -> Result<Vec<Frame>, FramesError> {
    let mut file = BufReader::new(File::open(path)?);
    let size = file.get_ref().metadata()?.len();
    file.seek(SeekFrom::Start(offset))?;
    let length = item(&mut file)?.ok_or(FramesError::Inconsistent("there is no offset table item"))?;
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
