//! Reads the preamble and the File Meta Information (PS3.10 7.1), which is always in Explicit VR Little Endian. This module does
//! not know about the data set after it.

use super::ReadError;
use super::source::Source;
use super::syntax::{EXPLICIT, transfer_syntax};
use dicom_dictionary_std::{tags, uids};
use dicom_encoding::transfer_syntax::TransferSyntax;

/// Maximum length of a UID value in bytes. Valid UIDs have at most 64 bytes (PS3.5 9.1), but invalid ones are accepted too.
const MAX_UID: u32 = 256;

/// Reads the file meta information and returns the transfer syntax of the data set that follows. The group length is
/// ignored, because some writers omit it and others write a wrong value.
pub(super) fn read(source: &mut impl Source) -> Result<&'static TransferSyntax, ReadError> {
    match source.take_bytes(132) {
        Ok(start) if start.ends_with(b"DICM") => {}
        Ok(_) | Err(ReadError::Truncated) => return Err(ReadError::NotDicom),
        Err(error) => return Err(error),
    }
    let (mut transfer_syntax_uid, mut sop_class_uid) = (String::new(), String::new());
    while let start @ [2, 0, ..] = source.peek(8)? {
        let start = *start.first_chunk().ok_or(ReadError::Truncated)?;
        let header_length = EXPLICIT.header_length(start);
        let header =
            EXPLICIT.header(source.peek(header_length)?.get(..header_length).ok_or(ReadError::Truncated)?);
        let header = header.ok_or(ReadError::Truncated)?;
        source.skip(header_length as u64)?;
        let length = header
            .length
            .ok_or(ReadError::Malformed("an element of the file meta information has an undefined length"))?;
        let uid = match header.tag {
            tags::TRANSFER_SYNTAX_UID => &mut transfer_syntax_uid,
            tags::MEDIA_STORAGE_SOP_CLASS_UID => &mut sop_class_uid,
            _ => {
                source.skip(length.into())?;
                continue;
            }
        };
        if length > MAX_UID {
            return Err(ReadError::Malformed("a UID in the file meta information is too long"));
        }
        let bytes = source.take_bytes(length.into())?;
        String::from_utf8_lossy(&bytes).trim_matches(['\0', ' ']).clone_into(uid);
    }
    if sop_class_uid == uids::MEDIA_STORAGE_DIRECTORY_STORAGE {
        return Err(ReadError::Directory);
    }
    transfer_syntax(&transfer_syntax_uid).ok_or(ReadError::TransferSyntax(transfer_syntax_uid))
}
