//! Converts one object of the DICOM JSON Model (PS3.18 Annex F) to the Native DICOM Model (PS3.19 A.1).
//!
//! Both models have the same content, so values are not interpreted: numbers keep their digits, and an invalid date is written
//! unchanged. Attributes are in the order of their tags. As PS3.19 requires, private creators become XML attributes of the elements
//! in their block; Private Creator elements and group lengths are omitted. This module does not read bulk data.
//!
//! The document contains no line breaks: they are written as character references, which XML readers do not normalize (XML
//! 1.0 2.11). Therefore the document cannot contain a delimiter of a multipart body.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::json::replace_unreadable;
use super::{Tag, tag};
use xml_escape::push_escaped;

/// Maximum depth of nested sequences. Structured reports have about twelve levels. A level is parsed again for each level that
/// encloses it, so the time is proportional to the size times the depth.
const MAX_DEPTH: usize = 32;

/// The start of the document (PS3.19 table A.1.5-1 requires `xml:space`).
const DOCUMENT_START: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><NativeDicomModel \
                         xmlns=\"http://dicom.nema.org/PS3.19/models/NativeDICOM\" xml:space=\"preserve\">";

/// The end of the document.
const END: &str = "</NativeDicomModel>";

/// Why an object cannot be converted. Never contains text of the object, which may be PHI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NativeXmlError {
    /// The input is not an object of the DICOM JSON Model.
    #[error("an object does not follow the DICOM JSON Model")]
    NotDicomJson,
    /// A value has a JSON type that its value representation does not permit, or an element has more than one of Value, BulkDataURI
    /// and InlineBinary.
    #[error(
        "an attribute has a value of a JSON type that its value representation does not permit, or has more than one of Value, BulkDataURI and InlineBinary"
    )]
    InvalidValue,
    /// Sequences are nested too deeply.
    #[error("sequences are nested in more than {MAX_DEPTH} levels")]
    TooDeep,
}

/// Appends the XML document with the content of `object` to `xml`.
///
/// ```
/// use dicom_model::native_xml::write_native_model;
/// let mut xml = String::new();
/// write_native_model(r#"{"00100020":{"vr":"LO","Value":["P1"]}}"#, &mut xml)?;
/// assert!(xml.contains(r#"<DicomAttribute tag="00100020" vr="LO" keyword="PatientID"><Value number="1">P1</Value>"#));
/// # Ok::<(), dicom_model::native_xml::NativeXmlError>(())
/// ```
pub fn write_native_model(object: &str, xml: &mut String) -> Result<(), NativeXmlError> {
    let start = xml.len();
    let Err(error) = write_document(object, xml) else { return Ok(()) };
    let replaced = replace_unreadable(object).ok_or(error)?;
    xml.truncate(start);
    write_document(&replaced, xml)
}

fn write_document(object: &str, xml: &mut String) -> Result<(), NativeXmlError> {
    xml.push_str(DOCUMENT_START);
    XmlWriter { xml, depth: 0 }.write_data_set(object)?;
    xml.push_str(END);
    Ok(())
}

/// The elements of an object by tag.
struct JsonDataSet<'a>(BTreeMap<Tag, JsonElement<'a>>);

/// The value of a tag. Members that the model does not define are ignored.
#[derive(Deserialize)]
struct JsonElement<'a> {
    #[serde(borrow, default)]
    vr: Option<Text<'a>>,
    #[serde(borrow, default, rename = "Value")]
    values: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default, rename = "BulkDataURI")]
    bulk_data: Option<Text<'a>>,
    #[serde(borrow, default, rename = "InlineBinary")]
    inline_binary: Option<Text<'a>>,
}

/// A person name in up to three component groups.
#[derive(Deserialize)]
struct Name<'a> {
    #[serde(borrow, default, rename = "Alphabetic")]
    alphabetic: Option<Text<'a>>,
    #[serde(borrow, default, rename = "Ideographic")]
    ideographic: Option<Text<'a>>,
    #[serde(borrow, default, rename = "Phonetic")]
    phonetic: Option<Text<'a>>,
}

/// A text, borrowed from the input if it contains no escape.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for JsonDataSet<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = JsonDataSet<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of the DICOM JSON model")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<JsonDataSet<'de>, A::Error> {
                let mut elements = BTreeMap::new();
                while let Some((Text(key), element)) = members.next_entry::<Text<'de>, JsonElement<'de>>()? {
                    let tag = tag::parse(&key).ok_or_else(|| A::Error::custom("not a tag"))?;
                    match elements.entry(tag) {
                        Entry::Vacant(entry) => drop(entry.insert(element)),
                        Entry::Occupied(_) => return Err(A::Error::custom("a tag occurs twice")),
                    }
                }
                Ok(JsonDataSet(elements))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

impl JsonDataSet<'_> {
    /// Returns the private creator of the block that contains a private element (PS3.5 7.8.1); `None` for all other elements.
    fn creator_of(&self, tag: Tag) -> Option<Cow<'_, str>> {
        let block = tag.element() >> 8;
        self.creator(Tag(tag.group(), block)).filter(|_| is_private_block_number(tag.group(), block))
    }

    /// Returns the value of a Private Creator element.
    fn creator(&self, tag: Tag) -> Option<Cow<'_, str>> {
        let first = self.0.get(&tag)?.values.as_ref()?.first()?;
        let Text(creator) = serde_json::from_str(first.get()).ok()?;
        (!creator.trim().is_empty()).then_some(creator)
    }

    /// Whether the element is omitted: a group length, or a Private Creator, which is an XML attribute of the elements
    /// of its block.
    fn is_omitted(&self, tag: Tag) -> bool {
        tag.element() == 0
            || is_private_block_number(tag.group(), tag.element()) && self.creator(tag).is_some()
    }
}

/// Whether `number` can be a private block of `group`, that is, the element number of a Private Creator (PS3.5 7.8.1).
fn is_private_block_number(group: u16, number: u16) -> bool {
    !group.is_multiple_of(2) && (0x10..=0xFF).contains(&number)
}

/// The kind of the values of one element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ValueKind {
    Value,
    PersonName,
    Item,
}

impl ValueKind {
    /// PN and SQ determine the kind. For any other VR, the values are items if the first one that is not null is an object.
    fn of(vr: &str, values: &[&RawValue]) -> Self {
        let is_object = || values.iter().find(|value| !is_null(value)).is_some_and(|value| is_object(value));
        match vr {
            "PN" => Self::PersonName,
            "SQ" => Self::Item,
            _ if is_object() => Self::Item,
            _ => Self::Value,
        }
    }

    fn element_name(self) -> &'static str {
        match self {
            Self::Value => "Value",
            Self::PersonName => "PersonName",
            Self::Item => "Item",
        }
    }
}

struct XmlWriter<'a> {
    xml: &'a mut String,
    depth: usize,
}

impl XmlWriter<'_> {
    fn write_data_set(&mut self, object: &str) -> Result<(), NativeXmlError> {
        let set: JsonDataSet<'_> = serde_json::from_str(object).map_err(|_| NativeXmlError::NotDicomJson)?;
        set.0.iter().filter(|(tag, _)| !set.is_omitted(**tag)).try_for_each(|(tag, element)| {
            let creator = set.creator_of(*tag);
            self.begin_attribute(*tag, element, creator.as_deref());
            self.complete_attribute(*tag, element)
        })
    }

    /// Writes the start tag of a DicomAttribute, without its `>`.
    fn begin_attribute(&mut self, tag: Tag, element: &JsonElement<'_>, creator: Option<&str>) {
        let written_tag = if creator.is_some() { Tag(tag.group(), tag.element() & 0xFF) } else { tag };
        self.xml.push_str("<DicomAttribute");
        self.write_xml_attribute("tag", &tag::hex(written_tag));
        self.write_xml_attribute("vr", &vr_of(tag, element));
        let keyword = tag::keyword(tag).filter(|_| tag.group().is_multiple_of(2));
        for (name, text) in [("keyword", keyword), ("privateCreator", creator)] {
            if let Some(text) = text {
                self.write_xml_attribute(name, text);
            }
        }
    }

    /// Writes the rest of a DicomAttribute: the end of the start tag, the values, the end tag.
    fn complete_attribute(&mut self, tag: Tag, element: &JsonElement<'_>) -> Result<(), NativeXmlError> {
        let values = element.values.as_deref().unwrap_or_default();
        match (values, &element.bulk_data, &element.inline_binary) {
            ([], None, None) => {
                self.xml.push_str("/>");
                return Ok(());
            }
            ([], Some(Text(uri)), None) => {
                self.xml.push_str("><BulkData");
                self.write_xml_attribute("uri", uri);
                self.xml.push_str("/>");
            }
            ([], None, Some(Text(octets))) => {
                self.xml.push_str("><InlineBinary>");
                self.write_text(octets);
                self.xml.push_str("</InlineBinary>");
            }
            (values, None, None) => {
                self.xml.push('>');
                let kind = ValueKind::of(&vr_of(tag, element), values);
                for (index, value) in values.iter().enumerate() {
                    self.write_numbered(kind, index + 1, value)?;
                }
            }
            _ => return Err(NativeXmlError::InvalidValue),
        }
        self.xml.push_str("</DicomAttribute>");
        Ok(())
    }

    /// Writes one value with its number. A null value becomes an empty element (PS3.19 table A.1.5-2).
    fn write_numbered(
        &mut self,
        kind: ValueKind,
        number: usize,
        value: &RawValue,
    ) -> Result<(), NativeXmlError> {
        let element = kind.element_name();
        self.xml.push('<');
        self.xml.push_str(element);
        self.write_xml_attribute("number", &number.to_string());
        self.xml.push('>');
        match kind {
            _ if is_null(value) => {}
            ValueKind::Value => self.write_value(value)?,
            ValueKind::PersonName => self.write_name(value)?,
            ValueKind::Item if !is_object(value) => return Err(NativeXmlError::InvalidValue),
            ValueKind::Item if self.depth == MAX_DEPTH => return Err(NativeXmlError::TooDeep),
            ValueKind::Item => {
                XmlWriter { xml: self.xml, depth: self.depth + 1 }.write_data_set(value.get())?;
            }
        }
        self.xml.push_str("</");
        self.xml.push_str(element);
        self.xml.push('>');
        Ok(())
    }

    fn write_value(&mut self, value: &RawValue) -> Result<(), NativeXmlError> {
        match value.get().as_bytes().first() {
            Some(b'"') => self.write_text(&text_of(value)?),
            Some(b'0'..=b'9' | b'-') => self.xml.push_str(value.get()),
            _ => return Err(NativeXmlError::InvalidValue),
        }
        Ok(())
    }

    fn write_name(&mut self, value: &RawValue) -> Result<(), NativeXmlError> {
        const GROUPS: [&str; 3] = ["Alphabetic", "Ideographic", "Phonetic"];
        if is_object(value) {
            let name: Name<'_> =
                serde_json::from_str(value.get()).map_err(|_| NativeXmlError::InvalidValue)?;
            for (group, text) in GROUPS.into_iter().zip([name.alphabetic, name.ideographic, name.phonetic]) {
                self.write_name_group(group, text.as_ref().map_or("", |Text(text)| text));
            }
        } else {
            let name = text_of(value)?;
            for (group, text) in GROUPS.into_iter().zip(name.splitn(GROUPS.len(), '=')) {
                self.write_name_group(group, text);
            }
        }
        Ok(())
    }

    /// Writes the components of a group (PS3.5 6.2.1.1). The text of the fifth component includes further carets.
    fn write_name_group(&mut self, group: &str, text: &str) {
        const COMPONENTS: [&str; 5] = ["FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix"];
        if text.is_empty() {
            return;
        }
        self.write_enclosed(group, |writer| {
            let components = COMPONENTS.into_iter().zip(text.splitn(COMPONENTS.len(), '^'));
            for (name, component) in components.filter(|(_, component)| !component.is_empty()) {
                writer.write_enclosed(name, |writer| writer.write_text(component));
            }
        });
    }

    fn write_enclosed(&mut self, element: &str, write: impl FnOnce(&mut Self)) {
        self.xml.push('<');
        self.xml.push_str(element);
        self.xml.push('>');
        write(self);
        self.xml.push_str("</");
        self.xml.push_str(element);
        self.xml.push('>');
    }

    /// Writes an XML attribute of the current start tag.
    fn write_xml_attribute(&mut self, name: &str, value: &str) {
        self.xml.push(' ');
        self.xml.push_str(name);
        self.xml.push_str("=\"");
        self.write_text(value);
        self.xml.push('"');
    }

    fn write_text(&mut self, text: &str) {
        // Padding to an even length is not part of the value (PS3.19 A.1.1).
        push_escaped(self.xml, text.trim_end_matches('\0'));
    }
}

/// Returns the value representation in the object, or else in PS3.6, or else UN.
fn vr_of<'e>(tag: Tag, element: &'e JsonElement<'_>) -> Cow<'e, str> {
    let declared = element.vr.as_ref().map(|Text(vr)| vr.as_ref());
    match declared.filter(|vr| vr.len() == 2 && vr.bytes().all(|byte| byte.is_ascii_uppercase())) {
        Some(vr) => Cow::Borrowed(vr),
        None => {
            Cow::Owned(tag::value_representation(tag).map_or("UN".to_owned(), |vr| vr.to_string().to_owned()))
        }
    }
}

fn text_of(value: &RawValue) -> Result<Cow<'_, str>, NativeXmlError> {
    serde_json::from_str(value.get()).map(|Text(text)| text).map_err(|_| NativeXmlError::InvalidValue)
}

fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

fn is_object(value: &RawValue) -> bool {
    value.get().starts_with('{')
}

#[cfg(test)]
mod tests;
