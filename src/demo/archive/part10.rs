//! Reading one DICOM file (PS3.10) up to its pixel data.
//!
//! Stands on the lazy token reader below `dicom-object`, because the eager one loads every value and decodes text
//! with a single character set. Values stay in the file when nobody asked for them or when they are large; a file
//! that ends too early or contradicts itself is an error, never a panic.

mod tree;

use super::body::Stretch;
use super::dataset::{ByteRange, DataSet, Element, Value, is_text, word_size};
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
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;
use tree::Tree;

/// Binary values above this stay in the file and are answered as bulk data.
const INLINE_BINARY: u64 = 1024;
/// Texts above this stay in the file; the contours of a structure set remain below.
const INLINE_TEXT: u64 = 4 * 1024 * 1024;

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
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
    /// The operating system refused.
    #[error("the file cannot be opened or read: {0}")]
    Io(#[from] io::Error),
}

/// A file's header: its data set but for pixel data and other large values.
#[derive(Debug)]
pub(super) struct Header {
    /// Transfer Syntax UID (0002,0010).
    pub transfer_syntax: &'static str,
    /// Whether the bytes of numbers stand the other way round in the file.
    big_endian: bool,
    /// The data set.
    pub data: DataSet,
    /// Where the pixel data stands, if there is any.
    pub pixel_data: Option<PixelData>,
}

impl Header {
    /// The bytes of a value that was left in the file at `path`.
    pub(super) fn stretch(&self, path: &Path, vr: VR, range: ByteRange) -> Stretch {
        let swap = if self.big_endian { word_size(vr) } else { 1 };
        Stretch { path: path.to_owned(), inflated: is_deflated(self.transfer_syntax), range, swap }
    }
}

/// Pixel Data (7FE0,0010), or its floating point kin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PixelData {
    /// Which of the three attributes it is.
    pub tag: Tag,
    /// Its representation.
    pub vr: VR,
    /// Where its value begins.
    pub offset: u64,
    /// Its length; none for encapsulated fragments (PS3.5 A.4), which run to a delimiter.
    pub length: Option<u64>,
}

/// Reads the header of the file at `path`; of the top-level elements only those that `wanted` accepts.
pub(super) fn read(path: &Path, wanted: impl Fn(Tag) -> bool) -> Result<Header, ReadError> {
    let mut file = BufReader::new(File::open(path)?);
    let size = file.get_ref().metadata()?.len();
    let mut start = [0; 132];
    match file.read_exact(&mut start) {
        Ok(()) if start.ends_with(b"DICM") => {}
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error.into()),
        _ => return Err(ReadError::NotDicom),
    }
    file.seek(SeekFrom::Start(128))?;
    let meta = FileMetaTable::from_reader(&mut file).map_err(broken)?;
    let sop_class = meta.media_storage_sop_class_uid.trim_end_matches(['\0', ' ']);
    if sop_class == uids::MEDIA_STORAGE_DIRECTORY_STORAGE {
        return Err(ReadError::Directory);
    }
    let uid = meta.transfer_syntax().trim_end_matches(['\0', ' ']);
    let declared =
        TransferSyntaxRegistry.get(uid).ok_or_else(|| ReadError::TransferSyntax(uid.to_owned()))?;
    let offset = file.stream_position()?;
    if is_deflated(uid) {
        let explicit = TransferSyntaxRegistry.get(uids::EXPLICIT_VR_LITTLE_ENDIAN);
        let syntax = explicit.ok_or_else(|| ReadError::TransferSyntax(uid.to_owned()))?;
        let source = BufReader::new(DeflateDecoder::new(file));
        return walk(source, syntax, declared, 0..u64::MAX, wanted);
    }
    let syntax = observed(&mut file, declared)?;
    walk(file, syntax, declared, offset..size, wanted)
}

/// Whether the data set after the file meta information is one deflated stream (PS3.5 A.5).
fn is_deflated(transfer_syntax: &str) -> bool {
    matches!(
        transfer_syntax,
        uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN
            | uids::JPIP_REFERENCED_DEFLATE
            | uids::JPIPHTJ2K_REFERENCED_DEFLATE
    )
}

/// The inflated data set of a file in a deflated transfer syntax.
pub(super) fn inflate(file: File) -> io::Result<impl Read + Send + use<>> {
    let mut file = BufReader::new(file);
    file.seek(SeekFrom::Start(128))?;
    FileMetaTable::from_reader(&mut file).map_err(io::Error::other)?;
    Ok(DeflateDecoder::new(file))
}

/// The syntax that the data set is really in: some writers declare Explicit VR and write Implicit VR, or the reverse.
fn observed(
    file: &mut BufReader<File>,
    declared: &'static TransferSyntax,
) -> Result<&'static TransferSyntax, ReadError> {
    let start = file.fill_buf()?;
    let explicit = start.get(4..6).is_none_or(|vr| vr.iter().all(u8::is_ascii_uppercase));
    let observed = match (declared.uid(), explicit) {
        (uids::IMPLICIT_VR_LITTLE_ENDIAN, true) => uids::EXPLICIT_VR_LITTLE_ENDIAN,
        (_, false) if declared.endianness() == Endianness::Little => uids::IMPLICIT_VR_LITTLE_ENDIAN,
        _ => return Ok(declared),
    };
    Ok(TransferSyntaxRegistry.get(observed).unwrap_or(declared))
}

fn broken(error: impl std::error::Error) -> ReadError {
    ReadError::Broken(error.to_string())
}

/// Walks over the tokens of a data set until its pixel data or its end.
fn walk(
    source: impl Read,
    syntax: &'static TransferSyntax,
    declared: &'static TransferSyntax,
    extent: Range<u64>,
    wanted: impl Fn(Tag) -> bool,
) -> Result<Header, ReadError> {
    let decoder = DynStatefulDecoder::new_with(source, syntax, SpecificCharacterSet::default(), extent.start)
        .map_err(broken)?;
    let mut tokens = LazyDataSetReader::new(decoder);
    let mut tree = Tree::new(syntax);
    let mut pixel_data = None;
    while let Some(token) = tokens.advance() {
        match token.map_err(broken)? {
            LazyDataToken::ElementHeader(header) if tree.at_root() && is_pixel_data(header.tag) => {
                let length = header.length().get().map(u64::from);
                pixel_data = Some(PixelData { tag: header.tag, vr: header.vr, offset: 0, length });
                break;
            }
            LazyDataToken::PixelSequenceStart if tree.at_root() => {
                pixel_data = Some(PixelData { tag: tags::PIXEL_DATA, vr: VR::OB, offset: 0, length: None });
                break;
            }
            LazyDataToken::ElementHeader(_) => {}
            LazyDataToken::LazyValue { header, decoder } => {
                let range = ByteRange { offset: decoder.position(), length: header.len.0.into() };
                if range.length > extent.end.saturating_sub(range.offset) {
                    return Err(ReadError::Truncated);
                }
                let kept = !tree.at_root() || wanted(header.tag);
                value(&mut tree, header, decoder, range, kept)?;
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
    if let Some(pixels) = &mut pixel_data {
        pixels.offset = position;
    }
    let end = position.saturating_add(pixel_data.and_then(|pixels| pixels.length).unwrap_or(0));
    if end > extent.end {
        return Err(ReadError::Truncated);
    }
    let big_endian = syntax.endianness() == Endianness::Big;
    Ok(Header { transfer_syntax: declared.uid(), big_endian, data: tree.finish()?, pixel_data })
}

/// Reads one value into the tree, or steps over it.
fn value<S: Read>(
    tree: &mut Tree,
    header: DataElementHeader,
    decoder: &mut DynStatefulDecoder<S>,
    range: ByteRange,
    kept: bool,
) -> Result<(), ReadError> {
    let vr = tree.representation(&header);
    let limit = if is_text(vr) { INLINE_TEXT } else { INLINE_BINARY };
    if !kept || range.length > limit {
        decoder.skip_bytes(header.len.0).map_err(broken)?;
        if kept {
            tree.insert(header.tag, Element { vr, value: Value::Bulk(range) });
        }
        return Ok(());
    }
    let mut bytes = Vec::new();
    decoder.read_to_vec(header.len.0, &mut bytes).map_err(broken)?;
    if bytes.len() as u64 != range.length {
        return Err(ReadError::Truncated);
    }
    tree.insert_bytes(header.tag, vr, bytes);
    Ok(())
}

fn is_pixel_data(tag: Tag) -> bool {
    matches!(tag, tags::PIXEL_DATA | tags::FLOAT_PIXEL_DATA | tags::DOUBLE_FLOAT_PIXEL_DATA)
}
#[cfg(test)]
mod tests;
