//! Writes the DICOM JSON Model (PS3.18 Annex F). This module does not know the URLs of bulk data: the caller passes
//! [`BulkDataLinks`].
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
    /// Returns the absolute URL of the value.
    fn link(&self, path: &[Step]) -> String;
}

/// One step of the path to a nested value: an attribute, or an item of a sequence, starting at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// To an attribute.
    Attribute(Tag),
    /// To an item.
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
pub fn write_data_set(output: &mut Vec<u8>, data: &DataSet, bulk_data: &dyn BulkDataLinks) -> io::Result<()> {
    JsonWriter { output, bulk_data, path: Vec::new() }.write_data_set(data)
}

struct JsonWriter<'a> {
    output: &'a mut Vec<u8>,
    bulk_data: &'a dyn BulkDataLinks,
    path: Vec<Step>,
}

impl JsonWriter<'_> {
    fn write_data_set(&mut self, data: &DataSet) -> io::Result<()> {
        self.output.push(b'{');
        for (position, (tag, element)) in data.iter().enumerate() {
            if position > 0 {
                self.output.push(b',');
            }
            write!(self.output, "\"{:04X}{:04X}\":{{\"vr\":\"{}\"", tag.group(), tag.element(), element.vr)?;
            self.path.push(Step::Attribute(tag));
            self.write_value(tag, element)?;
            self.path.pop();
            self.output.push(b'}');
        }
        self.output.push(b'}');
        Ok(())
    }

    /// Writes the member that contains the value; nothing for an empty element (PS3.18 F.2.5).
    fn write_value(&mut self, tag: Tag, element: &DataElement) -> io::Result<()> {
        if element.is_empty() {
            return Ok(());
        }
        match &element.value {
            DataValue::Text(_) if tag == tags::SPECIFIC_CHARACTER_SET => {
                self.write_values([UTF_8].into_iter(), write_string)
            }
            DataValue::Text(texts) => {
                self.write_values(texts.iter(), |output, value| write_text(output, element.vr, value))
            }
            DataValue::Items(items) => self.write_items(items),
            DataValue::Binary(bytes) if is_opaque(element.vr) => {
                write!(self.output, ",\"InlineBinary\":\"{}\"", Base64Display::new(bytes, &STANDARD))
            }
            DataValue::Binary(bytes) => self.write_numbers(element.vr, bytes),
            DataValue::Bulk(_) => {
                let link = self.bulk_data.link(&self.path);
                self.output.extend_from_slice(b",\"BulkDataURI\":");
                write_string(self.output, &link)
            }
        }
    }

    fn write_values<T>(
        &mut self,
        values: impl Iterator<Item = T>,
        mut write: impl FnMut(&mut Vec<u8>, T) -> io::Result<()>,
    ) -> io::Result<()> {
        self.output.extend_from_slice(b",\"Value\":[");
        for (position, value) in values.enumerate() {
            if position > 0 {
                self.output.push(b',');
            }
            write(self.output, value)?;
        }
        self.output.push(b']');
        Ok(())
    }

    fn write_items(&mut self, items: &[DataSet]) -> io::Result<()> {
        self.output.extend_from_slice(b",\"Value\":[");
        for (position, item) in items.iter().enumerate() {
            if position > 0 {
                self.output.push(b',');
            }
            self.path.push(Step::Item(position + 1));
            self.write_data_set(item)?;
            self.path.pop();
        }
        self.output.push(b']');
        Ok(())
    }

    fn write_numbers(&mut self, vr: VR, bytes: &[u8]) -> io::Result<()> {
        match vr {
            VR::US => {
                self.write_values(words(bytes), |output, word| write!(output, "{}", u16::from_le_bytes(word)))
            }
            VR::SS => {
                self.write_values(words(bytes), |output, word| write!(output, "{}", i16::from_le_bytes(word)))
            }
            VR::UL => {
                self.write_values(words(bytes), |output, word| write!(output, "{}", u32::from_le_bytes(word)))
            }
            VR::SL => {
                self.write_values(words(bytes), |output, word| write!(output, "{}", i32::from_le_bytes(word)))
            }
            VR::UV => {
                self.write_values(words(bytes), |output, word| write!(output, "{}", u64::from_le_bytes(word)))
            }
            VR::SV => {
                self.write_values(words(bytes), |output, word| write!(output, "{}", i64::from_le_bytes(word)))
            }
            VR::FL => {
                self.write_values(words(bytes), |output, word| write_single(output, f32::from_le_bytes(word)))
            }
            VR::FD => {
                self.write_values(words(bytes), |output, word| write_double(output, f64::from_le_bytes(word)))
            }
            // AT: pairs of 16-bit integers (PS3.18 F.2.3).
            _ => self.write_values(words(bytes), |output, [a, b, c, d]: [u8; 4]| {
                let (group, element) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
                write!(output, "\"{group:04X}{element:04X}\"")
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

fn write_single(output: &mut Vec<u8>, value: f32) -> io::Result<()> {
    // The shortest decimal of an f32 is a different number if it is read as an f64.
    write_double(output, value.into())
}

fn write_double(output: &mut Vec<u8>, value: f64) -> io::Result<()> {
    if value.is_finite() { write!(output, "{value}") } else { write_not_finite(output, value) }
}

/// Writes, as a string, a number that JSON cannot represent (PS3.18 F.2.3).
fn write_not_finite(output: &mut Vec<u8>, value: f64) -> io::Result<()> {
    let name = match value {
        _ if value.is_nan() => "NaN",
        _ if value > 0.0 => "inf",
        _ => "-inf",
    };
    write_string(output, name)
}

fn write_text(output: &mut Vec<u8>, vr: VR, value: &str) -> io::Result<()> {
    match vr {
        // An empty value among several is null (PS3.18 F.2.5).
        _ if value.is_empty() => output.write_all(b"null"),
        VR::PN => write_name(output, value),
        VR::IS => match value.parse::<i64>() {
            Ok(number) => write!(output, "{number}"),
            Err(_) => write_string(output, value),
        },
        // Written as a number if JSON and an f64 can represent the text (PS3.18 table F.2.3-1).
        VR::DS => match value.parse::<f64>() {
            Ok(number) if number.is_finite() && value.bytes().any(|byte| byte.is_ascii_digit()) => {
                write_double(output, number)
            }
            _ => write_string(output, value),
        },
        _ => write_string(output, value),
    }
}

/// Writes a person name as an object of its component groups (PS3.18 F.2.2), without empty groups.
fn write_name(output: &mut Vec<u8>, value: &str) -> io::Result<()> {
    output.push(b'{');
    let mut is_first = true;
    for (group, member) in value.splitn(3, '=').zip(["Alphabetic", "Ideographic", "Phonetic"]) {
        if group.trim_matches(' ').is_empty() {
            continue;
        }
        if !is_first {
            output.push(b',');
        }
        is_first = false;
        write!(output, "\"{member}\":")?;
        write_string(output, group)?;
    }
    output.push(b'}');
    Ok(())
}

/// Writes a JSON string. Control characters are escaped; a `str` contains no invalid UTF-8.
fn write_string(output: &mut Vec<u8>, value: &str) -> io::Result<()> {
    serde_json::to_writer(output, value).map_err(io::Error::from)
}

#[cfg(test)]
mod tests;
