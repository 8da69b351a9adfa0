//! Objects in the file format of PS3.10: the one reader of them.
//!
//! [`walk`] goes from element to element, in every way of writing a data set, over a [`source`]. Two things are made of that:
//! a [`Header`], which holds what metadata tell, out of anything that can be read, up to the pixel data; and an
//! [`InPlace`](in_place::InPlace), whose values are slices of a file in memory. So both accept the same objects.
//!
//! An object that ends too early or contradicts itself is an error, never a panic. Nothing is allocated by a length that a
//! file declares. What follows the pixel data is not read.
//!
//! `dicom-object` is not used for that: it makes room for values as their lengths say, takes an object that ends inside of an
//! element for a whole one, and decodes text with a single character set.

pub mod in_place;
mod inflate;
mod meta;
mod source;
mod syntax;
mod tree;
mod walk;

use super::data_set::{ByteRange, DataElement, DataSet, DataValue, is_text, word_size};
use super::json::writer::Step;
use bytes::Bytes;
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use inflate::Inflated;
use source::{Source, Streamed};
use std::fmt;
use std::io::{self, Cursor, Read};
use syntax::{ElementHeader, Syntax};
use tree::Tree;
use walk::{Event, Walk};

pub use syntax::is_deflated;

/// Binary values above this are answered as bulk data.
const INLINE_BINARY: u64 = 1024;
/// Texts above this are too; the contours of a structure set remain below.
const INLINE_TEXT: u64 = 4 * 1024 * 1024;
/// So much is held of one object at most, its elements and items counted as [`ELEMENT`] bytes each beside their values. The
/// largest real ones, multi-frame images of many thousands of frames, have some tens of megabytes.
const MAX_HEADER: u64 = 64 * 1024 * 1024;
/// What an element takes up besides its value.
const ELEMENT: u64 = 64;
/// The offsets of a million frames.
const MAX_OFFSETS: u64 = 8 * 1024 * 1024;

/// Why an object could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No preamble and `DICM`: some other kind of file.
    #[error("not a DICOM file: it has no preamble followed by DICM (PS3.10 7.1)")]
    NotDicom,
    /// A medium's directory, which describes other files.
    #[error("a DICOMDIR: the files it lists are read by themselves")]
    Directory,
    /// The file meta information names a transfer syntax that cannot be read.
    #[error("transfer syntax {0} cannot be read; convert the file, for example with dcmconv")]
    TransferSyntax(String),
    /// The structure does not hold.
    #[error("the file's structure is broken: {0}")]
    Broken(&'static str),
    /// The file ends before its data set does.
    #[error("the file is cut short")]
    Truncated,
    /// More attributes than any real object has.
    #[error("the file's header is larger than {MAX_HEADER} bytes")]
    TooLarge,
    /// The operating system, or whatever else the bytes come from, refused.
    #[error("the file cannot be opened or read: {0}")]
    Io(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            io::ErrorKind::InvalidData => Self::Broken("its deflated data set is broken"),
            _ => Self::Io(error),
        }
    }
}

/// An object's header: its data set but for pixel data and other large values.
#[derive(Debug)]
pub struct Header {
    /// Transfer Syntax UID (0002,0010).
    pub transfer_syntax: &'static str,
    /// Whether the bytes of numbers stand the other way round.
    big_endian: bool,
    /// The data set.
    pub data: DataSet,
    /// Where the pixel data stands, if there is any.
    pub pixel_data: Option<PixelData>,
    /// Extended Offset Table (7FE0,0001): where the frames of encapsulated pixel data begin, where it is told.
    pub extended_offsets: Option<Bytes>,
    /// The value that was sought, if it was found.
    pub sought: Option<Sought>,
}

impl Header {
    /// The size of the words of a value of that representation whose bytes are to be turned round to be in little-endian
    /// order; one leaves them as they are.
    pub fn swapped_words(&self, vr: VR) -> usize {
        if self.big_endian { word_size(vr) } else { 1 }
    }
}

/// Pixel Data (7FE0,0010), or its floating point kin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PixelData {
    /// Which of the three attributes it is.
    pub tag: Tag,
    /// Its representation.
    pub vr: VR,
    /// Where its value begins.
    pub offset: u64,
    /// Its length; none for encapsulated fragments (PS3.5 A.4), which run to a delimiter.
    pub length: Option<u64>,
}

/// A value that was sought by the path that leads to it. Its bytes come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sought {
    /// Its representation.
    pub vr: VR,
    /// Its length.
    pub length: u64,
}

/// An object whose file meta information was read. Reading from it goes on with the data set, inflated where it is deflated.
pub struct Object<R> {
    source: Streamed<Data<R>>,
    /// The syntax that the data set is in.
    syntax: Syntax,
    transfer_syntax: &'static str,
}

/// The bytes of a data set.
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
    /// Reads the preamble and the file meta information out of `source`, which is `size` bytes long where that is known.
    pub fn open(source: R, size: Option<u64>) -> Result<Self, ReadError> {
        let mut source = Streamed::new(source, size);
        let declared = meta::read(&mut source)?;
        let mut source = if is_deflated(declared.uid()) {
            let (ahead, rest) = source.into_parts();
            let inflated = Inflated::new(Cursor::new(ahead).chain(rest));
            Streamed::new(Data::Deflated(Box::new(inflated)), None)
        } else {
            source.map(Data::Plain)
        };
        let syntax = Syntax::observed(declared, source.peek(8)?);
        Ok(Self { source, syntax, transfer_syntax: declared.uid() })
    }

    /// Reads the header: of the top-level elements only those that `wanted` accepts. What is read next is the value of the
    /// pixel data, or what follows the data set.
    pub fn header(&mut self, wanted: impl Fn(Tag) -> bool) -> Result<Header, ReadError> {
        self.read_header(wanted, None)
    }

    /// Reads up to the value that `steps` lead to: that is read next, when [`Header::sought`] tells that it is there.
    pub fn header_before(&mut self, steps: &[Step]) -> Result<Header, ReadError> {
        self.read_header(|_| true, Some(steps))
    }

    /// Walks until the pixel data, the value that is sought, or the end of the data set.
    fn read_header(
        &mut self,
        wanted: impl Fn(Tag) -> bool,
        sought: Option<&[Step]>,
    ) -> Result<Header, ReadError> {
        let (syntax, transfer_syntax) = (self.syntax, self.transfer_syntax);
        let mut walk = Walk::new(&mut self.source, syntax);
        let mut tree = Tree::default();
        let mut header = Header {
            transfer_syntax,
            big_endian: syntax.big_endian,
            data: DataSet::default(),
            pixel_data: None,
            extended_offsets: None,
            sought: None,
        };
        let mut held = 0;
        while let Some(event) = walk.next()? {
            held += ELEMENT;
            if held > MAX_HEADER {
                return Err(ReadError::TooLarge);
            }
            match event {
                Event::Value(element, length) if tree.at_root() && is_pixel_data(element.tag) => {
                    walk.source().may_hold(length.into())?;
                    header.pixel_data = Some(PixelData {
                        tag: element.tag,
                        vr: element.vr,
                        offset: walk.position(),
                        length: Some(length.into()),
                    });
                    break;
                }
                Event::Fragments(element) if tree.at_root() && is_pixel_data(element.tag) => {
                    let (tag, offset) = (element.tag, walk.position());
                    header.pixel_data = Some(PixelData { tag, vr: VR::OB, offset, length: None });
                    break;
                }
                Event::Value(element, length) => {
                    let (is_root, length) = (tree.at_root(), u64::from(length));
                    if sought.is_some_and(|steps| tree.leads_to(element.tag, steps)) {
                        walk.source().may_hold(length)?;
                        header.sought = Some(Sought { vr: tree.representation(&element), length });
                        header.big_endian = element.syntax.big_endian;
                        break;
                    }
                    let is_table = is_root && element.tag == tags::EXTENDED_OFFSET_TABLE;
                    if is_table && length > INLINE_BINARY && length <= MAX_OFFSETS {
                        let range = ByteRange { offset: walk.position(), length };
                        header.extended_offsets = Some(walk.source().take_bytes(length)?);
                        held += length;
                        if wanted(element.tag) {
                            tree.insert(
                                element.tag,
                                DataElement { vr: element.vr, value: DataValue::Bulk(range) },
                            );
                        }
                        continue;
                    }
                    let is_wanted = !is_root || wanted(element.tag);
                    held += value(&mut tree, &mut walk, element, length, is_wanted)?;
                }
                Event::Fragments(_) => walk.skip_fragments()?,
                Event::BeginSequence(tag, _) => tree.begin_sequence(tag),
                Event::BeginItem => tree.begin_item(),
                Event::EndItem(_) => tree.end_item(),
                Event::EndSequence => tree.end_sequence(&wanted),
            }
        }
        header.data = tree.finish();
        if header.extended_offsets.is_none()
            && let Some(DataElement { value: DataValue::Binary(bytes), .. }) =
                header.data.get(tags::EXTENDED_OFFSET_TABLE)
        {
            header.extended_offsets = Some(Bytes::copy_from_slice(bytes));
        }
        Ok(header)
    }
}

/// Reads one value into the tree, or steps over it; how many bytes of it are held.
fn value<S: Source>(
    tree: &mut Tree,
    walk: &mut Walk<S>,
    header: ElementHeader,
    length: u64,
    wanted: bool,
) -> Result<u64, ReadError> {
    let vr = tree.representation(&header);
    let limit = if is_text(vr) { INLINE_TEXT } else { INLINE_BINARY };
    if !wanted || length > limit {
        let range = ByteRange { offset: walk.position(), length };
        walk.source().skip(length)?;
        if wanted {
            tree.insert(header.tag, DataElement { vr, value: DataValue::Bulk(range) });
        }
        return Ok(0);
    }
    let bytes = walk.source().take_bytes(length)?;
    tree.insert_bytes(&header, vr, &bytes);
    Ok(length)
}

/// Whether it is Pixel Data or one of its floating point kin (PS3.3 C.7.6.3).
pub fn is_pixel_data(tag: Tag) -> bool {
    matches!(tag, tags::PIXEL_DATA | tags::FLOAT_PIXEL_DATA | tags::DOUBLE_FLOAT_PIXEL_DATA)
}

#[cfg(test)]
mod tests;
