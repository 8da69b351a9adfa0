//! Reads and writes data element tags: eight hexadecimal digits or the keyword of PS3.6. This module does not know about values.

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::StandardDataDictionary;

/// Parses a tag: `0020000D` in either case, or a keyword such as `StudyInstanceUID`.
///
/// ```
/// use dicom_model::{tag, tags};
/// assert_eq!(tag::parse("0020000d"), Some(tags::STUDY_INSTANCE_UID));
/// assert_eq!(tag::parse("StudyInstanceUID"), Some(tags::STUDY_INSTANCE_UID));
/// assert_eq!(tag::parse("study"), None);
/// ```
pub fn parse(text: &str) -> Option<Tag> {
    parse_hex(text).or_else(|| StandardDataDictionary.by_name(text).map(DataDictionaryEntry::tag))
}

fn parse_hex(text: &str) -> Option<Tag> {
    if text.len() != 8 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let part = |range| text.get(range).and_then(|digits| u16::from_str_radix(digits, 16).ok());
    Some(Tag(part(0..4)?, part(4..8)?))
}

/// Returns the tag as eight upper-case hexadecimal digits, the member name of the DICOM JSON model (PS3.18 F.2.2).
pub fn hex(tag: Tag) -> String {
    format!("{:04X}{:04X}", tag.group(), tag.element())
}

/// Returns the bytes of [`hex`].
pub fn member_name(tag: Tag) -> [u8; 8] {
    let number = u32::from(tag.group()) << 16 | u32::from(tag.element());
    std::array::from_fn(|digit| b"0123456789ABCDEF"[(number >> (28 - 4 * digit) & 0xF) as usize])
}

/// Returns the keyword of a standard attribute.
pub fn keyword(tag: Tag) -> Option<&'static str> {
    StandardDataDictionary.by_tag(tag).map(|entry| entry.alias)
}

/// Returns the value representation of the attribute in PS3.6, if there is exactly one.
pub fn value_representation(tag: Tag) -> Option<VR> {
    StandardDataDictionary.by_tag(tag).and_then(|entry| entry.vr().exact())
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicom_dictionary_std::tags;

    #[test]
    fn tag_is_parsed_from_hexadecimal_digits_and_from_its_keyword() {
        assert_eq!(parse("00100020"), Some(tags::PATIENT_ID));
        assert_eq!(parse("0020000d"), Some(tags::STUDY_INSTANCE_UID));
        assert_eq!(parse("PatientID"), Some(tags::PATIENT_ID));
        for invalid in ["", "0010002", "001000200", "patientid", "+0100020", "00 00020", "PatientID "] {
            assert_eq!(parse(invalid), None, "{invalid:?}");
        }
    }

    #[test]
    fn tag_is_formatted_for_the_json_model() {
        assert_eq!(hex(tags::STUDY_INSTANCE_UID), "0020000D");
        assert_eq!(&member_name(Tag(0x0123, 0xCDEF)), hex(Tag(0x0123, 0xCDEF)).as_bytes());
        assert_eq!(keyword(tags::PATIENT_ID), Some("PatientID"));
        assert_eq!(keyword(Tag(0x0009, 0x1001)), None);
        assert_eq!(value_representation(tags::PATIENT_NAME), Some(VR::PN));
    }
}
