//! Encapsulated pixel data (PS3.5 A.4), fragment by fragment as it is read: which frame each belongs to. Nothing is decoded.

use super::data_set::DataSet;
use dicom_dictionary_std::{tags, uids};
use std::io::{self, Read};

/// A Basic Offset Table of a million frames.
const LONGEST_TABLE: u32 = 4 * 1024 * 1024;

/// Why the fragments cannot be told apart.
#[derive(Debug, thiserror::Error)]
pub enum FragmentsError {
    /// They do not go together with the number of frames, or with the offset table.
    #[error("the image's frames cannot be told apart: {0}")]
    Inconsistent(&'static str),
    /// What they are read out of fails or ends.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A fragment. Its bytes come next in what it is read out of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// How many bytes it has.
    pub length: u32,
    /// It is the first of its frame.
    pub begins_frame: bool,
}

/// Reads the headers of fragments; whoever asks reads their bytes in between.
#[derive(Debug)]
pub struct Fragments {
    frames: usize,
    /// Where each frame begins, where the Basic Offset Table tells it, counted from the first fragment's item.
    starts: Vec<u32>,
    /// Where the next item stands, counted so.
    position: u64,
    begun: usize,
}

impl Fragments {
    /// Reads the item of the Basic Offset Table out of `source`, which stands at the value of the pixel data of an image of so
    /// many frames.
    pub fn open(source: &mut impl Read, frames: usize) -> Result<Self, FragmentsError> {
        let table = item(source)?.ok_or(FragmentsError::Inconsistent("there is no offset table item"))?;
        if table > LONGEST_TABLE {
            return Err(FragmentsError::Inconsistent("the offset table is longer than any real one"));
        }
        let mut offsets = vec![0; table as usize];
        source.read_exact(&mut offsets)?;
        let starts: Vec<u32> =
            offsets.as_chunks().0.iter().map(|offset| u32::from_le_bytes(*offset)).collect();
        let is_empty = starts.is_empty();
        if !is_empty
            && (starts.len() != frames || starts[0] != 0 || !starts.is_sorted_by(|one, next| one < next))
        {
            return Err(FragmentsError::Inconsistent("the offset table is not that of so many frames"));
        }
        Ok(Self { frames, starts, position: 0, begun: 0 })
    }

    /// The next fragment, when the bytes of the one before were read; `None` behind the last one of the last frame.
    ///
    /// Without offsets each fragment of an image of several frames is a frame, as nothing else could be told apart; an
    /// Extended Offset Table says the same (PS3.3 C.7.6.3.1.8).
    pub fn next(&mut self, source: &mut impl Read) -> Result<Option<Fragment>, FragmentsError> {
        let Some(length) = item(source)? else {
            return if self.begun == self.frames {
                Ok(None)
            } else {
                Err(FragmentsError::Inconsistent("there are fewer fragments than frames"))
            };
        };
        let begins_frame = match (self.starts.get(self.begun), self.frames) {
            (Some(start), _) if u64::from(*start) < self.position => {
                return Err(FragmentsError::Inconsistent("the offset table points between fragments"));
            }
            (Some(start), _) => u64::from(*start) == self.position,
            (None, 1) => self.begun == 0,
            (None, _) => self.starts.is_empty(),
        };
        if begins_frame {
            self.begun += 1;
        }
        if self.begun > self.frames {
            return Err(FragmentsError::Inconsistent(
                "there are more fragments than frames, and no offset table",
            ));
        }
        self.position += 8 + u64::from(length);
        Ok(Some(Fragment { length, begins_frame }))
    }
}

/// Reads an item header and tells its length; none at the delimiter that ends the fragments (PS3.5 A.4).
pub fn item(source: &mut impl Read) -> Result<Option<u32>, FragmentsError> {
    let mut header = [0; 8];
    source.read_exact(&mut header)?;
    let [tag @ .., a, b, c, d] = header;
    match tag {
        [0xFE, 0xFF, 0x00, 0xE0] => Ok(Some(u32::from_le_bytes([a, b, c, d]))),
        [0xFE, 0xFF, 0xDD, 0xE0] => Ok(None),
        _ => Err(FragmentsError::Inconsistent("the fragments are broken")),
    }
}

/// How many frames an image says that it has; one when it does not say it.
pub fn number_of_frames(data: &DataSet) -> usize {
    data.text(tags::NUMBER_OF_FRAMES).and_then(|text| text.parse().ok()).unwrap_or(1).max(1)
}

/// The media type of one compressed frame (PS3.18 tables 8.7.3-2 and 8.7.3-5).
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
        uids::RLE_LOSSLESS => "image/dicom-rle",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Items of these lengths behind a table, and the delimiter.
    fn encapsulated(table: &[u32], fragments: &[u32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut item = |value: &[u8]| {
            bytes.extend([0xFE, 0xFF, 0x00, 0xE0]);
            bytes.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
            bytes.extend(value);
        };
        item(&table.iter().flat_map(|offset| offset.to_le_bytes()).collect::<Vec<_>>());
        for length in fragments {
            item(&vec![7; *length as usize]);
        }
        bytes.extend([0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
        bytes
    }

    /// The lengths of the frames.
    fn frames(bytes: &[u8], frames: usize) -> Result<Vec<u32>, FragmentsError> {
        let mut source = bytes;
        let mut fragments = Fragments::open(&mut source, frames)?;
        let mut lengths = Vec::new();
        while let Some(Fragment { length, begins_frame }) = fragments.next(&mut source)? {
            io::copy(&mut source.by_ref().take(length.into()), &mut io::sink())?;
            if begins_frame {
                lengths.push(0);
            }
            *lengths.last_mut().unwrap() += length;
        }
        Ok(lengths)
    }

    #[test]
    fn fragments_belong_to_the_frame_that_began_last() {
        for (table, fragments, expected) in [
            ([].as_slice(), [4, 6].as_slice(), [10].as_slice()),
            (&[], &[4, 6], &[4, 6]),
            (&[0, 12], &[4, 6], &[4, 6]),
            (&[0, 26], &[4, 6, 2, 2], &[10, 4]),
            (&[0], &[4, 6, 2], &[12]),
        ] {
            let bytes = encapsulated(table, fragments);
            assert_eq!(frames(&bytes, expected.len()).unwrap(), expected, "{table:?} {fragments:?}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_told_apart_by_nobody() {
        for (table, fragments, count) in [
            ([].as_slice(), [4, 6, 2].as_slice(), 2),
            (&[], &[4], 2),
            (&[0, 12], &[4, 6], 3),
            (&[0, 13], &[4, 6, 2], 2),
            (&[0, 40], &[4, 6], 2),
            (&[8, 12], &[4, 6], 2),
            (&[0, 0], &[4, 6], 2),
        ] {
            let outcome = frames(&encapsulated(table, fragments), count);
            assert!(
                matches!(outcome, Err(FragmentsError::Inconsistent(_))),
                "{table:?} {fragments:?} {outcome:?}"
            );
        }
    }

    #[test]
    fn fragments_cut_at_any_byte_are_an_error() {
        let bytes = encapsulated(&[0, 12], &[4, 6]);
        for length in 0..bytes.len() {
            assert!(frames(&bytes[..length], 2).is_err(), "{length}");
        }
    }
}
