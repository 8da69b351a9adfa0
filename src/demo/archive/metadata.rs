//! Metadata of instances (PS3.18 10.4.1.1.2): the whole data set as DICOM JSON, read from the file when it is asked
//! for; pixel data and other large values as links.

use super::dataset::{ByteRange, Element, Value};
use super::json::{self, BulkDataLinks, Step};
use super::part10;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

/// Writes the metadata of the file at `path`; `instance` is the URL of the instance.
pub(super) fn write(to: &mut Vec<u8>, path: &Path, instance: String) -> io::Result<()> {
    let mut header = part10::read(path, |_| true).map_err(io::Error::other)?;
    if let Some(pixels) = header.pixel_data {
        let range = ByteRange { offset: pixels.offset, length: pixels.length.unwrap_or(u64::MAX) };
        header.data.insert(pixels.tag, Element { vr: pixels.vr, value: Value::Bulk(range) });
    }
    json::write_data_set(to, &header.data, &Links { instance })
}

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
