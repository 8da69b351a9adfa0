//! Builds a DICOM object, with the value representations of the dictionary and with text in the character sets of the object, and
//! writes it to a file (PS3.10 7.1). This module does not know about kinds of objects.

use super::declaration::{AttributeValue, Code, Issuer, Syntax};
use super::location::ROOT;
use dicom_core::value::{C, DataSetSequence, PixelFragmentSequence, PrimitiveValue};
use dicom_core::{DataElement, Length, Tag, VR, dicom_value};
use dicom_dictionary_std::{tags, uids};
use dicom_model::charset::{CharacterSets, Delimiters, EncodeError};
use dicom_model::tag::value_representation;
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use std::fmt::Display;
use std::io;
use std::path::Path;
use std::rc::Rc;

/// A data set under construction. If a text cannot be encoded, writing fails.
pub(super) struct Object {
    data: InMemDicomObject,
    character_sets: Rc<CharacterSets>,
    failure: Option<EncodeError>,
}

impl Object {
    /// Creates an empty data set with these character sets.
    pub(super) fn new(character_sets: &Rc<CharacterSets>) -> Self {
        Self { data: InMemDicomObject::new_empty(), character_sets: Rc::clone(character_sets), failure: None }
    }

    /// Returns an empty item for a sequence of this data set.
    pub(super) fn item(&self) -> Self {
        Self::new(&self.character_sets)
    }

    /// Adds an attribute with one text value.
    pub(super) fn text(&mut self, tag: Tag, value: &str) -> &mut Self {
        let vr = value_representation(tag).unwrap_or(VR::LO);
        if matches!(vr, VR::IS | VR::DS) {
            // The writer would read bytes as numbers and format them again.
            self.data.put(DataElement::new(tag, vr, PrimitiveValue::from(value)));
            return self;
        }
        let delimiters = match vr {
            VR::PN => Delimiters::Names,
            VR::LT | VR::ST | VR::UT => Delimiters::Text,
            _ => Delimiters::Values,
        };
        let mut bytes = match self.character_sets.encode(value, delimiters) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.failure.get_or_insert(error);
                return self;
            }
        };
        // The text is already encoded, including escape sequences, so the bytes are padded here and not by the writer.
        if bytes.len() % 2 == 1 {
            bytes.push(if vr == VR::UI { 0 } else { b' ' });
        }
        self.data.put(DataElement::new(tag, vr, PrimitiveValue::U8(C::from_vec(bytes))));
        self
    }

    /// Adds an attribute with several text values, unless there are none.
    pub(super) fn texts(&mut self, tag: Tag, values: &[&str]) -> &mut Self {
        if values.is_empty() { self } else { self.text(tag, &values.join("\\")) }
    }

    /// Adds an attribute with a number as text, for IS and DS.
    pub(super) fn number(&mut self, tag: Tag, value: impl Display) -> &mut Self {
        self.text(tag, &value.to_string())
    }

    /// Adds an attribute without a value.
    pub(super) fn empty(&mut self, tag: Tag) -> &mut Self {
        let vr = value_representation(tag).unwrap_or(VR::LO);
        if vr == VR::SQ {
            return self.items(tag, []);
        }
        self.data.put(DataElement::new(tag, vr, PrimitiveValue::Empty));
        self
    }

    /// Adds an attribute with a declared value, unless it is absent.
    pub(super) fn attribute(&mut self, tag: Tag, value: AttributeValue) -> &mut Self {
        match value {
            AttributeValue::Absent => self,
            AttributeValue::Empty => self.empty(tag),
            AttributeValue::Present(value) => self.text(tag, value),
        }
    }

    /// Adds an attribute with one unsigned 16-bit integer.
    pub(super) fn word(&mut self, tag: Tag, value: u16) -> &mut Self {
        self.data.put(DataElement::new(tag, VR::US, dicom_value!(U16, [value])));
        self
    }

    /// Adds an attribute with unsigned 32-bit integers.
    pub(super) fn longs(&mut self, tag: Tag, values: &[u32]) -> &mut Self {
        self.data.put(DataElement::new(tag, VR::UL, PrimitiveValue::U32(C::from_slice(values))));
        self
    }

    /// Adds an attribute with signed 32-bit integers.
    pub(super) fn signed_longs(&mut self, tag: Tag, values: &[i32]) -> &mut Self {
        self.data.put(DataElement::new(tag, VR::SL, PrimitiveValue::I32(C::from_slice(values))));
        self
    }

    /// Adds an attribute with 32-bit floating-point numbers.
    pub(super) fn singles(&mut self, tag: Tag, values: &[f32]) -> &mut Self {
        self.data.put(DataElement::new(tag, VR::FL, PrimitiveValue::F32(C::from_slice(values))));
        self
    }

    /// Adds an attribute whose value is a tag.
    pub(super) fn tag(&mut self, tag: Tag, value: Tag) -> &mut Self {
        self.data.put(DataElement::new(tag, VR::AT, PrimitiveValue::Tags(C::from_vec(vec![value]))));
        self
    }

    /// Adds a sequence with these items.
    pub(super) fn items(&mut self, tag: Tag, items: impl IntoIterator<Item = Self>) -> &mut Self {
        let mut data = Vec::new();
        for item in items {
            self.failure = self.failure.take().or(item.failure);
            data.push(item.data);
        }
        self.data.put(DataElement::new(tag, VR::SQ, DataSetSequence::new(data, Length::UNDEFINED)));
        self
    }

    /// Adds a sequence with one item.
    pub(super) fn single_item(&mut self, tag: Tag, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let mut item = self.item();
        fill(&mut item);
        self.items(tag, [item])
    }

    /// Adds a sequence of codes, unless there are none.
    pub(super) fn codes(&mut self, tag: Tag, codes: &[Code]) -> &mut Self {
        if codes.is_empty() {
            return self;
        }
        let items: Vec<Self> = codes
            .iter()
            .map(|code| {
                let mut item = self.item();
                item.text(tags::CODE_VALUE, code.value)
                    .text(tags::CODING_SCHEME_DESIGNATOR, code.scheme)
                    .text(tags::CODE_MEANING, code.meaning);
                item
            })
            .collect();
        self.items(tag, items)
    }

    /// Adds an issuer as HL7v2 Hierarchic Designator (PS3.3 10.14): the local name and, if present, the universal identifier.
    pub(super) fn issuer(&mut self, tag: Tag, issuer: Issuer) -> &mut Self {
        self.single_item(tag, |item| {
            item.text(tags::LOCAL_NAMESPACE_ENTITY_ID, issuer.local);
            if let Some(oid) = issuer.universal {
                item.text(tags::UNIVERSAL_ENTITY_ID, oid).text(tags::UNIVERSAL_ENTITY_ID_TYPE, "ISO");
            }
        })
    }

    /// Adds native pixel data.
    pub(super) fn pixels(&mut self, bits: u16, bytes: Vec<u8>) -> &mut Self {
        let vr = if bits > 8 { VR::OW } else { VR::OB };
        let value = if bits > 8 {
            PrimitiveValue::U16(
                bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect(),
            )
        } else {
            PrimitiveValue::U8(C::from_vec(bytes))
        };
        self.data.put(DataElement::new(tags::PIXEL_DATA, vr, value));
        self
    }

    /// Adds encapsulated pixel data with one fragment per frame and a Basic Offset Table (PS3.5 A.4).
    pub(super) fn compressed(&mut self, frames: Vec<Vec<u8>>) -> &mut Self {
        let mut offsets = Vec::with_capacity(frames.len());
        let mut offset = 0;
        for frame in &frames {
            offsets.push(offset);
            offset += u32::try_from(frame.len() + 8).unwrap_or(u32::MAX);
        }
        let pixels = PixelFragmentSequence::new(offsets, frames);
        self.data.put(DataElement::new(tags::PIXEL_DATA, VR::OB, pixels));
        self
    }

    /// Writes the data set to a file as an instance of `sop_class`.
    pub(super) fn write(
        self,
        sop_class: &str,
        instance_uid: &str,
        syntax: Syntax,
        path: &Path,
    ) -> io::Result<()> {
        if let Some(failure) = self.failure {
            return Err(io::Error::other(failure));
        }
        let syntax = match syntax {
            Syntax::Explicit => uids::EXPLICIT_VR_LITTLE_ENDIAN,
            Syntax::Implicit => uids::IMPLICIT_VR_LITTLE_ENDIAN,
            Syntax::Rle => uids::RLE_LOSSLESS,
        };
        let meta = FileMetaTableBuilder::new()
            .media_storage_sop_class_uid(sop_class)
            .media_storage_sop_instance_uid(instance_uid)
            .transfer_syntax(syntax)
            .implementation_class_uid(format!("{ROOT}.0"))
            .implementation_version_name("DICOMWEB_GATEWAY")
            .build()
            .map_err(io::Error::other)?;
        self.data.with_exact_meta(meta).write_to_file(path).map_err(io::Error::other)
    }
}
