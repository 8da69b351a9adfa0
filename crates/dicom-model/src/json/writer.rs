//! Writes the DICOM JSON Model (PS3.18 Annex F). Does not know where bulk data are served: [`BulkDataLinks`] does.
//!
//! `dicom-json` is not used: it enables `serde_json/preserve_order` for the whole binary and does not support bulk
//! data.

use crate::data_set::{DataElement, DataSet, DataValue};
use crate::tag;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use std::io::{self, Write};

/// Specific Character Set of every response: JSON is UTF-8 (PS3.18 F.2), and the data set declares it too.
const UTF_8: &str = "ISO_IR 192";

/// URLs of values that are not part of the response, by their path of tags and item numbers.
pub trait BulkDataLinks {
    /// The absolute URL of the value.
    fn link(&self, path: &[Step]) -> String;
}

/// One step of the path to a nested value: an attribute, or an item of a sequence, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Into an attribute.
    Attribute(Tag),
    /// Into an item.
    Item(usize),
}

impl Step {
    /// Parses a path of alternating attributes and item numbers: `7FE00010`, or `00880200`, `1`, `00282000`.
    pub fn path(segments: &[&str]) -> Option<Vec<Self>> {
        let step = |(position, segment): (usize, &&str)| {
            if position % 2 == 1 {
                return segment.parse().ok().filter(|item| *item > 0).map(Self::Item);
            }
            (segment.len() == 8).then(|| tag::parse(segment)).flatten().map(Self::Attribute)
        };
        if segments.len().is_multiple_of(2) {
            return None;
        }
        segments.iter().enumerate().map(step).collect()
    }
}

/// Writes `data` as one JSON object.
pub fn write_data_set(to: &mut Vec<u8>, data: &DataSet, bulk_data: &dyn BulkDataLinks) -> io::Result<()> {
    JsonWriter { to, bulk_data, path: Vec::new() }.data_set(data)
}

struct JsonWriter<'a> {
    to: &'a mut Vec<u8>,
    bulk_data: &'a dyn BulkDataLinks,
    path: Vec<Step>,
}

impl JsonWriter<'_> {
    fn data_set(&mut self, data: &DataSet) -> io::Result<()> {
        self.to.push(b'{');
        for (position, (tag, element)) in data.iter().enumerate() {
            if position > 0 {
                self.to.push(b',');
            }
            write!(self.to, "\"{:04X}{:04X}\":{{\"vr\":\"{}\"", tag.group(), tag.element(), element.vr)?;
            self.path.push(Step::Attribute(tag));
            self.value(tag, element)?;
            self.path.pop();
            self.to.push(b'}');
        }
        self.to.push(b'}');
        Ok(())
    }

    /// Writes the member that contains the value; nothing for an empty element (PS3.18 F.2.5).
    fn value(&mut self, tag: Tag, element: &DataElement) -> io::Result<()> {
        if element.is_empty() {
            return Ok(());
        }
        match &element.value {
            DataValue::Text(_) if tag == tags::SPECIFIC_CHARACTER_SET => {
                self.values([UTF_8].into_iter(), string)
            }
            DataValue::Text(texts) => self.values(texts.iter(), |to, value| text(to, element.vr, value)),
            DataValue::Items(items) => self.items(items),
            DataValue::Binary(bytes) if is_opaque(element.vr) => {
                write!(self.to, ",\"InlineBinary\":\"{}\"", Base64Display::new(bytes, &STANDARD))
            }
            DataValue::Binary(bytes) => self.numbers(element.vr, bytes),
            DataValue::Bulk(_) => {
                let link = self.bulk_data.link(&self.path);
                self.to.extend_from_slice(b",\"BulkDataURI\":");
                string(self.to, &link)
            }
        }
    }

    fn values<T>(
        &mut self,
        values: impl Iterator<Item = T>,
        mut each: impl FnMut(&mut Vec<u8>, T) -> io::Result<()>,
    ) -> io::Result<()> {
        self.to.extend_from_slice(b",\"Value\":[");
        for (position, value) in values.enumerate() {
            if position > 0 {
                self.to.push(b',');
            }
            each(self.to, value)?;
        }
        self.to.push(b']');
        Ok(())
    }

    fn items(&mut self, items: &[DataSet]) -> io::Result<()> {
        self.to.extend_from_slice(b",\"Value\":[");
        for (position, item) in items.iter().enumerate() {
            if position > 0 {
                self.to.push(b',');
            }
            self.path.push(Step::Item(position + 1));
            self.data_set(item)?;
            self.path.pop();
        }
        self.to.push(b']');
        Ok(())
    }

    fn numbers(&mut self, vr: VR, bytes: &[u8]) -> io::Result<()> {
        match vr {
            VR::US => self.values(words(bytes), |to, word| write!(to, "{}", u16::from_le_bytes(word))),
            VR::SS => self.values(words(bytes), |to, word| write!(to, "{}", i16::from_le_bytes(word))),
            VR::UL => self.values(words(bytes), |to, word| write!(to, "{}", u32::from_le_bytes(word))),
            VR::SL => self.values(words(bytes), |to, word| write!(to, "{}", i32::from_le_bytes(word))),
            VR::UV => self.values(words(bytes), |to, word| write!(to, "{}", u64::from_le_bytes(word))),
            VR::SV => self.values(words(bytes), |to, word| write!(to, "{}", i64::from_le_bytes(word))),
            VR::FL => self.values(words(bytes), |to, word| single(to, f32::from_le_bytes(word))),
            VR::FD => self.values(words(bytes), |to, word| double(to, f64::from_le_bytes(word))),
            // AT: pairs of 16-bit integers (PS3.18 F.2.3).
            _ => self.values(words(bytes), |to, [a, b, c, d]: [u8; 4]| {
                let (group, element) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
                write!(to, "\"{group:04X}{element:04X}\"")
            }),
        }
    }
}

/// Whether values of this representation are written as InlineBinary (PS3.18 F.2.7).
fn is_opaque(vr: VR) -> bool {
    matches!(vr, VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW | VR::UN)
}

fn words<const SIZE: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; SIZE]> + '_ {
    bytes.as_chunks().0.iter().copied()
}

fn single(to: &mut Vec<u8>, value: f32) -> io::Result<()> {
    // Widened first: the shortest decimal of an f32 is a different number when it is read as an f64.
    double(to, value.into())
}

fn double(to: &mut Vec<u8>, value: f64) -> io::Result<()> {
    if value.is_finite() { write!(to, "{value}") } else { not_finite(to, value) }
}

/// Numbers that JSON cannot represent are strings (PS3.18 F.2.3).
fn not_finite(to: &mut Vec<u8>, value: f64) -> io::Result<()> {
    let name = match value {
        _ if value.is_nan() => "NaN",
        _ if value > 0.0 => "inf",
        _ => "-inf",
    };
    string(to, name)
}

fn text(to: &mut Vec<u8>, vr: VR, value: &str) -> io::Result<()> {
    match vr {
        // An empty value among several is null (PS3.18 F.2.5).
        _ if value.is_empty() => to.write_all(b"null"),
        VR::PN => name(to, value),
        VR::IS => match value.parse::<i64>() {
            Ok(number) => write!(to, "{number}"),
            Err(_) => string(to, value),
        },
        // A number if the text is one (PS3.18 table F.2.3-1) that JSON and an f64 can represent.
        VR::DS => match value.parse::<f64>() {
            Ok(number) if number.is_finite() && value.bytes().any(|byte| byte.is_ascii_digit()) => {
                double(to, number)
            }
            _ => string(to, value),
        },
        _ => string(to, value),
    }
}

/// A person name by component groups (PS3.18 F.2.2); empty groups are omitted.
fn name(to: &mut Vec<u8>, value: &str) -> io::Result<()> {
    to.push(b'{');
    let mut first = true;
    for (group, member) in value.splitn(3, '=').zip(["Alphabetic", "Ideographic", "Phonetic"]) {
        if group.trim_matches(' ').is_empty() {
            continue;
        }
        if !first {
            to.push(b',');
        }
        first = false;
        write!(to, "\"{member}\":")?;
        string(to, group)?;
    }
    to.push(b'}');
    Ok(())
}

/// A JSON string. Control characters are escaped; invalid UTF-8 cannot occur in a `str`.
fn string(to: &mut Vec<u8>, value: &str) -> io::Result<()> {
    serde_json::to_writer(to, value).map_err(io::Error::from)
}

#[cfg(test)]
mod tests;
