//! The reader of objects in the DICOM file format (PS3.10 7).
//!
//! [`element_reader`] reads a [`source`] element by element, in every encoding of data sets (PS3.5 Annex A). Two readers use it, so
//! they accept the same objects: one reads a [`Header`], the attributes up to the pixel data, from any stream; the other reads an
//! [`InPlace`](in_place::InPlace), whose values are slices of a file in memory.
//!
//! An object that ends too early or contradicts itself is an error, never a panic. A declared length never causes an allocation
//! before the bytes are read. Elements after the pixel data are not read. This module does not know about frames or the meaning of
//! attributes.
//!
//! `dicom-object` is not used here: it allocates the declared length of values, accepts an object that ends inside an
//! element, and decodes text with only one character set.

pub mod completeness;
mod data_set_builder;
mod element_reader;
pub mod in_place;
mod inflate;
mod memory_budget;
mod meta;
mod source;
mod syntax;

use super::data_set::{ByteRange, DataElement, DataSet, DataValue, is_text};
use super::json::writer::Step;
use bytes::Bytes;
use data_set_builder::DataSetBuilder;
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use element_reader::{ElementReader, Event};
use inflate::Inflated;
use source::{Source, Streamed};
use std::fmt;
use std::io::{self, Cursor, Read};
use syntax::{ElementHeader, Syntax};

pub use syntax::is_deflated;

/// Maximum size in bytes of a binary value in metadata. Larger values are bulk data.
const MAX_INLINE_BINARY: u64 = 1024;
/// Maximum size in bytes of a text in metadata. The contours of RT Structure Sets are smaller.
const MAX_INLINE_TEXT: u64 = 4 * 1024 * 1024;
/// Maximum size of a header in bytes, with [`ELEMENT_OVERHEAD`] for each element and [`ITEM_OVERHEAD`] for each item. The
/// largest real headers, of multi-frame images with many thousands of frames, have tens of megabytes.
const MAX_HEADER: u64 = 64 * 1024 * 1024;
/// Size of a header in bytes above which its reader can be asked to wait.
const MAX_SMALL_HEADER: u64 = 1024 * 1024;
/// The number of bytes added to the size of a header for each element, in addition to its value.
const ELEMENT_OVERHEAD: u64 = 64;
/// The number of bytes added to the size of a header for each item, in addition to its elements. Lists of items are copied when they
/// grow, and allocators retain the memory of the copies.
const ITEM_OVERHEAD: u64 = 512;
/// Maximum size of an Extended Offset Table in bytes: one million frames.
const MAX_OFFSETS: u64 = 8 * 1024 * 1024;

/// Why an object could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file has no preamble followed by `DICM`.
    #[error("not a DICOM file: it has no preamble followed by DICM (PS3.10 7.1)")]
    NotDicom,
    /// A DICOMDIR, the directory of a medium.
    #[error("a DICOMDIR, which contains no instance; read the files that it lists instead")]
    Directory,
    /// The file has a transfer syntax that is not supported.
    #[error("transfer syntax {0} is not supported; convert the file, for example with dcmconv")]
    TransferSyntax(String),
    /// The structure of the file is invalid.
    #[error("the structure of the file is invalid: {0}")]
    Malformed(&'static str),
    /// The file ends before the end of its data set.
    #[error("the file is truncated")]
    Truncated,
    /// The header exceeds the maximum size.
    #[error("the file's header is larger than {MAX_HEADER} bytes")]
    TooLarge,
    /// Reading the source failed.
    #[error("the file cannot be opened or read: {0}")]
    Io(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            io::ErrorKind::InvalidData => Self::Malformed("the deflated data set is invalid"),
            _ => Self::Io(error),
        }
    }
}

/// The header of an object: its data set without pixel data and other large values.
#[derive(Debug)]
pub struct Header {
    /// Transfer Syntax UID (0002,0010).
    pub transfer_syntax: &'static str,
    /// The data set.
    pub data: DataSet,
    /// Position of the pixel data, if the object has any.
    pub pixel_data: Option<PixelData>,
    /// Extended Offset Table (7FE0,0001), the offsets of the frames of encapsulated pixel data, if present.
    pub extended_offsets: Option<Bytes>,
    /// The value at the requested path, if the object has it.
    pub requested_value: Option<StoredValue>,
}

/// Pixel Data (7FE0,0010), Float Pixel Data (7FE0,0008) or Double Float Pixel Data (7FE0,0009).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PixelData {
    /// The tag of the attribute.
    pub tag: Tag,
    /// Its value representation.
    pub vr: VR,
    /// Its value.
    pub value: StoredValue,
}

/// A large value of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredValue {
    /// Offset of its first byte; in a deflated object, in the inflated data set.
    pub offset: u64,
    /// Its length in bytes; `None` for encapsulated fragments (PS3.5 A.4), which end with a delimiter.
    pub length: Option<u64>,
    /// Size in bytes of the words that must be swapped to convert the value to little-endian order (PS3.5 7.3); 1 means
    /// that it needs no conversion.
    pub swapped_word_size: usize,
}

/// An object whose file meta information has been read. Reading continues with the data set, inflated if it is
/// deflated.
pub struct Object<R> {
    source: Streamed<Data<R>>,
    /// The encoding of the data set.
    syntax: Syntax,
    transfer_syntax: &'static str,
}

/// The source of the data set.
enum Data<R> {
    Plain(R),
    Deflated(Box<Inflated<io::Chain<Cursor<Vec<u8>>, R>>>),
}

impl<R> fmt::Debug for Object<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Object").field("syntax", &self.syntax).finish_non_exhaustive()
    }
}

impl<R: Read> Read for Data<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(data) => data.read(buffer),
            Self::Deflated(data) => data.read(buffer),
        }
    }
}

impl<R: Read> Read for Object<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.source.read(buffer)
    }
}

impl<R: Read> Object<R> {
    /// Reads the preamble and the file meta information from `source`, whose size in bytes is `size`, if known.
    pub fn open(source: R, size: Option<u64>) -> Result<Self, ReadError> {
        let mut source = Streamed::new(source, size);
        let declared_syntax = meta::read(&mut source)?;
        let mut source = if is_deflated(declared_syntax.uid()) {
            let (buffered, rest) = source.into_parts();
            let inflated = Inflated::new(Cursor::new(buffered).chain(rest));
            Streamed::new(Data::Deflated(Box::new(inflated)), None)
        } else {
            source.map(Data::Plain)
        };
        let syntax = Syntax::detect(declared_syntax, source.peek(8)?);
        Ok(Self { source, syntax, transfer_syntax: declared_syntax.uid() })
    }

    /// Reads the header, with those top-level elements that `is_requested` accepts. The next read returns the value of the
    /// pixel data, or the data after the data set.
    pub fn header(&mut self, is_requested: impl Fn(Tag) -> bool) -> Result<Header, ReadError> {
        self.read_header(is_requested, None, || Ok(()))
    }

    /// Does the same as [`header`](Self::header). If the header is larger than 1 MiB, `before_large` is called once before the rest is
    /// read; its error ends the reading.
    pub fn header_unless_large(
        &mut self,
        is_requested: impl Fn(Tag) -> bool,
        before_large: impl FnMut() -> io::Result<()>,
    ) -> Result<Header, ReadError> {
        self.read_header(is_requested, None, before_large)
    }

    /// Reads up to the value with the path `steps`, with those top-level elements that `is_requested` accepts. If
    /// [`Header::requested_value`] is present, the next read returns that value. `before_large` is that of
    /// [`header_unless_large`](Self::header_unless_large).
    pub fn header_up_to(
        &mut self,
        steps: &[Step],
        is_requested: impl Fn(Tag) -> bool,
        before_large: impl FnMut() -> io::Result<()>,
    ) -> Result<Header, ReadError> {
        self.read_header(is_requested, Some(steps), before_large)
    }

    /// Skips native pixel data after [`Self::header`]. Fails if the file ends inside the value; [`Self::header`] does not detect this
    /// if the size of the file is unknown.
    pub fn skip_native_pixel_data(&mut self, header: &Header) -> Result<(), ReadError> {
        match header.pixel_data {
            Some(PixelData { value: StoredValue { length: Some(length), .. }, .. }) => {
                self.source.skip(length)
            }
            _ => Ok(()),
        }
    }

    /// Reads up to the pixel data, the requested value, or the end of the data set.
    fn read_header(
        &mut self,
        is_requested: impl Fn(Tag) -> bool,
        requested_path: Option<&[Step]>,
        mut before_large: impl FnMut() -> io::Result<()>,
    ) -> Result<Header, ReadError> {
        let (syntax, transfer_syntax) = (self.syntax, self.transfer_syntax);
        let mut reader = ElementReader::new(&mut self.source, syntax);
        let mut builder = DataSetBuilder::default();
        let mut header = Header {
            transfer_syntax,
            data: DataSet::default(),
            pixel_data: None,
            extended_offsets: None,
            requested_value: None,
        };
        let is_at_requested_path =
            |builder: &DataSetBuilder, tag| requested_path.is_some_and(|steps| builder.is_at(tag, steps));
        let (mut header_size, mut is_large) = (0, false);
        while let Some(event) = reader.next()? {
            header_size += ELEMENT_OVERHEAD;
            if header_size > MAX_HEADER {
                return Err(ReadError::TooLarge);
            }
            if header_size > MAX_SMALL_HEADER && !std::mem::replace(&mut is_large, true) {
                before_large()?;
            }
            match event {
                Event::Fragments(element) if builder.is_at_root() && is_pixel_data(element.tag) => {
                    let value = StoredValue { offset: reader.position(), length: None, swapped_word_size: 1 };
                    header.requested_value =
                        Some(value).filter(|_| is_at_requested_path(&builder, element.tag));
                    header.pixel_data = Some(PixelData { tag: element.tag, vr: VR::OB, value });
                    break;
                }
                Event::Value(element, length) => {
                    let (is_root, length) = (builder.is_at_root(), u64::from(length));
                    let is_root_pixel_data = is_root && is_pixel_data(element.tag);
                    let is_at_requested_path = is_at_requested_path(&builder, element.tag);
                    if is_root_pixel_data || is_at_requested_path {
                        reader.source().check_remaining(length)?;
                        let swapped_word_size = builder.swapped_word_size(&element);
                        let (offset, length) = (reader.position(), Some(length));
                        let value = StoredValue { offset, length, swapped_word_size };
                        header.requested_value = is_at_requested_path.then_some(value);
                        let pixel_data = PixelData { tag: element.tag, vr: element.vr, value };
                        header.pixel_data = is_root_pixel_data.then_some(pixel_data);
                        break;
                    }
                    let is_offset_table = is_root && element.tag == tags::EXTENDED_OFFSET_TABLE;
                    if is_offset_table && length > MAX_INLINE_BINARY && length <= MAX_OFFSETS {
                        let range = ByteRange { offset: reader.position(), length };
                        header.extended_offsets = Some(reader.source().take_bytes(length)?);
                        header_size += length;
                        if is_requested(element.tag) {
                            builder.insert(
                                element.tag,
                                DataElement { vr: element.vr, value: DataValue::Bulk(range) },
                            );
                        }
                        continue;
                    }
                    let is_needed =
                        !is_root || is_requested(element.tag) || element.tag == tags::BITS_ALLOCATED;
                    header_size += read_value(&mut builder, &mut reader, element, length, is_needed)?;
                }
                Event::Fragments(_) => reader.skip_fragments()?,
                Event::BeginSequence(tag, _) => builder.begin_sequence(tag),
                Event::BeginItem => {
                    header_size += ITEM_OVERHEAD;
                    builder.begin_item();
                }
                Event::EndItem(_) => builder.end_item(),
                Event::EndSequence => builder.end_sequence(&is_requested),
            }
        }
        header.data = builder.finish();
        // Bits Allocated was needed for the byte order of the pixel data.
        if !is_requested(tags::BITS_ALLOCATED) {
            header.data.remove(tags::BITS_ALLOCATED);
        }
        if header.extended_offsets.is_none()
            && let Some(DataElement { value: DataValue::Binary(bytes), .. }) =
                header.data.get(tags::EXTENDED_OFFSET_TABLE)
        {
            header.extended_offsets = Some(Bytes::copy_from_slice(bytes));
        }
        Ok(header)
    }
}

/// Reads one value into the builder, or skips it; returns the number of bytes that are stored.
fn read_value<S: Source>(
    builder: &mut DataSetBuilder,
    reader: &mut ElementReader<S>,
    header: ElementHeader,
    length: u64,
    is_requested: bool,
) -> Result<u64, ReadError> {
    let vr = builder.vr_of(&header);
    let limit = if is_text(vr) { MAX_INLINE_TEXT } else { MAX_INLINE_BINARY };
    if !is_requested || length > limit {
        let range = ByteRange { offset: reader.position(), length };
        reader.source().skip(length)?;
        if is_requested {
            builder.insert(header.tag, DataElement { vr, value: DataValue::Bulk(range) });
        }
        return Ok(0);
    }
    let bytes = reader.source().take_bytes(length)?;
    builder.insert_bytes(&header, vr, &bytes);
    Ok(length)
}

/// Whether `tag` is Pixel Data, Float Pixel Data or Double Float Pixel Data (PS3.3 C.7.6.3, C.7.6.24, C.7.6.25).
pub fn is_pixel_data(tag: Tag) -> bool {
    matches!(tag, tags::PIXEL_DATA | tags::FLOAT_PIXEL_DATA | tags::DOUBLE_FLOAT_PIXEL_DATA)
}

#[cfg(test)]
mod tests;
