//! Metadata of an instance (PS3.18 10.4.1.1.2): its data set as DICOM JSON, with links instead of pixel data and other large
//! values. Metadata of an image also has its transfer syntax, as Available Transfer Syntax UID (0008,3002), from which viewers recognize
//! a video before they retrieve it. This module does not know which URLs the server has: the caller passes the URL of the instance.

use super::data_set::{ByteRange, DataElement, DataValue};
use super::json::writer::{self, BulkDataLinks, Step};
use super::part10::Header;
use super::tags;
use dicom_core::VR;
use std::fmt::Write as _;
use std::io;

/// Writes the metadata of the instance with this header; `instance` is its URL.
pub fn write(to: &mut Vec<u8>, mut header: Header, instance: String) -> io::Result<()> {
    if let Some(pixels) = header.pixel_data {
        let range =
            ByteRange { offset: pixels.value.offset, length: pixels.value.length.unwrap_or(u64::MAX) };
        header.data.insert(pixels.tag, DataElement { vr: pixels.vr, value: DataValue::Bulk(range) });
        let transfer_syntax = DataElement::text(VR::UI, header.transfer_syntax);
        header.data.insert(tags::AVAILABLE_TRANSFER_SYNTAX_UID, transfer_syntax);
    }
    writer::write_data_set(to, &header.data, &Links { instance })
}

/// Links such as `{instance}/bulkdata/00880200/1/7FE00010`: alternating attributes and item numbers.
struct Links {
    instance: String,
}

impl BulkDataLinks for Links {
    fn link(&self, path: &[Step]) -> String {
        let mut link = format!("{}/bulkdata", self.instance);
        for step in path {
            // Writing to a string cannot fail.
            let _ = match step {
                Step::Attribute(tag) => write!(link, "/{:04X}{:04X}", tag.group(), tag.element()),
                Step::Item(number) => write!(link, "/{number}"),
            };
        }
        link
    }
}
