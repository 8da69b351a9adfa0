//! Reading one DICOM object in the file format of PS3.10, out of anything that can be read, up to its pixel data.
//!
//! Stands on the lazy token reader below `dicom-object`, because the eager one loads every value and decodes text
//! with a single character set. Values are passed over when nobody asked for them or when they are large; an object
//! that ends too early or contradicts itself is an error, never a panic. What follows the pixel data is not read.

mod tree;

use super::data_set::{ByteRange, DataSet, Element, Value, is_text, word_size};
use super::json::Step;
use dicom_core::header::HasLength;
use dicom_core::{DataElementHeader, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_encoding::text::SpecificCharacterSet;
use dicom_encoding::transfer_syntax::{Endianness, TransferSyntax, TransferSyntaxIndex};
use dicom_object::FileMetaTable;
use dicom_parser::dataset::LazyDataToken;
use dicom_parser::dataset::lazy_read::LazyDataSetReader;
use dicom_parser::{DynStatefulDecoder, StatefulDecode};
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use flate2::bufread::DeflateDecoder;
use std::fmt;
use std::io::{self, BufReader, Cursor, Read};
use tree::Tree;

/// Binary values above this are answered as bulk data.
const INLINE_BINARY: u64 = 1024;
/// Texts above this are too; the contours of a structure set remain below.
const INLINE_TEXT: u64 = 4 * 1024 * 1024;
/// So much is kept of one object at most, its elements and items counted as [`ELEMENT`] bytes each beside their values. The
/// largest real ones, multi-frame images of many thousands of frames, have some tens of megabytes.
const LARGEST_HEADER: u64 = 64 * 1024 * 1024;
/// What an element takes up besides its value.
const ELEMENT: u64 = 64;

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
    Broken(String),
    /// The file ends before its data set does.
    #[error("the file is cut short")]
    Truncated,
    /// More attributes than any real object has.
    #[error("the file's header is larger than {LARGEST_HEADER} bytes")]
    TooLarge,
    /// The operating system, or whatever else the bytes come from, refused.
    #[error("the file cannot be opened or read: {0}")]
    Io(#[from] io::Error),
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
    /// The value that was sought, if it was found.
    pub sought: Option<Sought>,
}

impl Header {
    /// The size of the words of a value of that representation whose bytes are to be turned round to stand in
    /// little-endian order; one leaves them as they are.
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
    data: Data<R>,
    /// The syntax that the data set is in, and the one that it says it is in.
    syntax: &'static TransferSyntax,
    declared: &'static TransferSyntax,
    /// Where the data set begins and ends; of one that is deflated, or whose source does not tell, no end is known.
    start: u64,
    end: u64,
    /// How many bytes of the data set were read.
    read: u64,
}

/// The bytes of a data set.
enum Data<R> {
    Plain(io::Chain<Cursor<Vec<u8>>, R>),
    Deflated(DeflateDecoder<BufReader<R>>),
}

impl<R> fmt::Debug for Object<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Object").field("read", &self.read).finish_non_exhaustive()
    }
}

impl<R: Read> Read for Object<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = match &mut self.data {
            Data::Plain(data) => data.read(buffer),
            Data::Deflated(data) => data.read(buffer),
        }?;
        self.read += length as u64;
        Ok(length)
    }
}

impl<R: Read> Object<R> {
    /// Reads the preamble and the file meta information out of `source`, which is `size` bytes long where that is known.
    pub fn open(mut source: R, size: Option<u64>) -> Result<Self, ReadError> {
        let mut start = [0; 132];
        match source.read_exact(&mut start) {
            Ok(()) if start.ends_with(b"DICM") => {}
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error.into()),
            _ => return Err(ReadError::NotDicom),
        }
        let mut counted = Counted { source: &mut source, read: 0 };
        let meta = FileMetaTable::from_reader(Cursor::new(b"DICM").chain(&mut counted)).map_err(broken)?;
        let start = start.len() as u64 + counted.read;
        let sop_class = meta.media_storage_sop_class_uid.trim_end_matches(['\0', ' ']);
        if sop_class == uids::MEDIA_STORAGE_DIRECTORY_STORAGE {
            return Err(ReadError::Directory);
        }
        let uid = meta.transfer_syntax().trim_end_matches(['\0', ' ']);
        let unknown = || ReadError::TransferSyntax(uid.to_owned());
        let declared = TransferSyntaxRegistry.get(uid).ok_or_else(unknown)?;
        if is_deflated(uid) {
            let syntax = TransferSyntaxRegistry.get(uids::EXPLICIT_VR_LITTLE_ENDIAN).ok_or_else(unknown)?;
            let data = Data::Deflated(DeflateDecoder::new(BufReader::new(source)));
            return Ok(Self { data, syntax, declared, start: 0, end: u64::MAX, read: 0 });
        }
        let mut first = Vec::new();
        source.by_ref().take(6).read_to_end(&mut first)?;
        let syntax = observed(&first, declared);
        let data = Data::Plain(Cursor::new(first).chain(source));
        Ok(Self { data, syntax, declared, start, end: size.unwrap_or(u64::MAX), read: 0 })
    }

    /// Reads the header: of the top-level elements only those that `wanted` accepts. What is read next is the value of the
    /// pixel data, or what follows the data set.
    pub fn header(&mut self, wanted: impl Fn(Tag) -> bool) -> Result<Header, ReadError> {
        self.walk(wanted, None)
    }

    /// Reads up to the value that `steps` lead to: that is read next, when [`Header::sought`] tells that it is there.
    pub fn header_before(&mut self, steps: &[Step]) -> Result<Header, ReadError> {
        self.walk(|_| true, Some(steps))
    }

    /// Walks over the tokens of a data set until its pixel data, the value that is sought, or its end.
    fn walk(&mut self, wanted: impl Fn(Tag) -> bool, sought: Option<&[Step]>) -> Result<Header, ReadError> {
        let (syntax, start, end) = (self.syntax, self.start, self.end);
        let decoder =
            DynStatefulDecoder::new_with(&mut *self, syntax, SpecificCharacterSet::default(), start)
                .map_err(broken)?;
        let mut tokens = LazyDataSetReader::new(decoder);
        let mut tree = Tree::new(syntax);
        let (mut pixel_data, mut found, mut kept) = (None, None, 0);
        while let Some(token) = tokens.advance() {
            kept += ELEMENT;
            if kept > LARGEST_HEADER {
                return Err(ReadError::TooLarge);
            }
            match token.map_err(broken)? {
                LazyDataToken::ElementHeader(header) if tree.at_root() && is_pixel_data(header.tag) => {
                    let length = header.length().get().map(u64::from);
                    pixel_data = Some(PixelData { tag: header.tag, vr: header.vr, offset: 0, length });
                    break;
                }
                LazyDataToken::PixelSequenceStart if tree.at_root() => {
                    let (tag, vr) = (tags::PIXEL_DATA, VR::OB);
                    pixel_data = Some(PixelData { tag, vr, offset: 0, length: None });
                    break;
                }
                LazyDataToken::ElementHeader(_) => {}
                LazyDataToken::LazyValue { header, decoder } => {
                    let range = ByteRange { offset: decoder.position(), length: header.len.0.into() };
                    if range.length > end.saturating_sub(range.offset) {
                        return Err(ReadError::Truncated);
                    }
                    if sought.is_some_and(|steps| tree.leads_to(header.tag, steps)) {
                        let vr = tree.representation(&header);
                        found = Some(Sought { vr, length: range.length });
                        break;
                    }
                    let wanted = !tree.at_root() || wanted(header.tag);
                    kept += value(&mut tree, header, decoder, range, wanted)?;
                }
                LazyDataToken::LazyItemValue { len, decoder } => decoder.skip_bytes(len).map_err(broken)?,
                LazyDataToken::PixelSequenceStart => tree.enter_fragments()?,
                LazyDataToken::SequenceStart { tag, .. } => tree.enter_sequence(tag)?,
                LazyDataToken::ItemStart { .. } => tree.enter_item(),
                LazyDataToken::ItemEnd => tree.leave_item()?,
                LazyDataToken::SequenceEnd => tree.leave_sequence(&wanted)?,
                other => return Err(ReadError::Broken(format!("unexpected {other:?}"))),
            }
        }
        let position = tokens.into_decoder().position();
        // The token reader takes a source that ends inside of a value or of an element's header for the end of the data set.
        if self.read != position - start {
            return Err(ReadError::Truncated);
        }
        if let Some(pixels) = &mut pixel_data {
            pixels.offset = position;
        }
        if position.saturating_add(pixel_data.and_then(|pixels| pixels.length).unwrap_or(0)) > end {
            return Err(ReadError::Truncated);
        }
        let data = if found.is_some() { tree.abandon() } else { tree.finish()? };
        let big_endian = syntax.endianness() == Endianness::Big;
        Ok(Header { transfer_syntax: self.declared.uid(), big_endian, data, pixel_data, sought: found })
    }
}

/// Counts what is read out of a source.
struct Counted<'a, R> {
    source: &'a mut R,
    read: u64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(buffer)?;
        self.read += length as u64;
        Ok(length)
    }
}

/// Whether the data set after the file meta information is one deflated stream (PS3.5 A.5).
pub fn is_deflated(transfer_syntax: &str) -> bool {
    matches!(
        transfer_syntax,
        uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN
            | uids::JPIP_REFERENCED_DEFLATE
            | uids::JPIPHTJ2K_REFERENCED_DEFLATE
    )
}

/// The syntax that the data set is really in, by its first bytes: some writers declare Explicit VR and write Implicit VR, or
/// the reverse.
fn observed(start: &[u8], declared: &'static TransferSyntax) -> &'static TransferSyntax {
    let explicit = start.get(4..6).is_none_or(|vr| vr.iter().all(u8::is_ascii_uppercase));
    let observed = match (declared.uid(), explicit) {
        (uids::IMPLICIT_VR_LITTLE_ENDIAN, true) => uids::EXPLICIT_VR_LITTLE_ENDIAN,
        (_, false) if declared.endianness() == Endianness::Little => uids::IMPLICIT_VR_LITTLE_ENDIAN,
        _ => return declared,
    };
    TransferSyntaxRegistry.get(observed).unwrap_or(declared)
}

fn broken(error: impl std::error::Error) -> ReadError {
    ReadError::Broken(error.to_string())
}

/// Reads one value into the tree, or steps over it; how many bytes of it were kept.
fn value<S: Read>(
    tree: &mut Tree,
    header: DataElementHeader,
    decoder: &mut DynStatefulDecoder<S>,
    range: ByteRange,
    kept: bool,
) -> Result<u64, ReadError> {
    let vr = tree.representation(&header);
    let limit = if is_text(vr) { INLINE_TEXT } else { INLINE_BINARY };
    if !kept || range.length > limit {
        decoder.skip_bytes(header.len.0).map_err(broken)?;
        if kept {
            tree.insert(header.tag, Element { vr, value: Value::Bulk(range) });
        }
        return Ok(0);
    }
    let mut bytes = Vec::new();
    decoder.read_to_vec(header.len.0, &mut bytes).map_err(broken)?;
    if bytes.len() as u64 != range.length {
        return Err(ReadError::Truncated);
    }
    tree.insert_bytes(header.tag, vr, bytes);
    Ok(range.length)
}

/// Whether it is Pixel Data or one of its floating point kin (PS3.3 C.7.6.3).
pub fn is_pixel_data(tag: Tag) -> bool {
    matches!(tag, tags::PIXEL_DATA | tags::FLOAT_PIXEL_DATA | tags::DOUBLE_FLOAT_PIXEL_DATA)
}

#[cfg(test)]
mod tests;
