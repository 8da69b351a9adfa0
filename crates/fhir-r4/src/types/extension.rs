//! Extensions (R4 extensibility.html). This module does not know about the meaning of extensions, except data-absent-reason.

use std::borrow::Cow;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::element::{Item, Name};
use super::{Element, RawJson};

/// URL of the extension data-absent-reason.
const DATA_ABSENT_REASON: &str = "http://hl7.org/fhir/StructureDefinition/data-absent-reason";

/// An extension.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extension {
    /// The id and the nested extensions.
    pub element: Element,
    /// The URL that defines the meaning of the extension.
    pub url: Cow<'static, str>,
    /// The value; `None` if the extension has nested extensions.
    pub value: Option<ExtensionValue>,
}

/// The value of an extension: of a type that this program writes, or of another type as raw JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExtensionValue {
    /// `valueBoolean`.
    Boolean(bool),
    /// `valueCode`.
    Code(Cow<'static, str>),
    /// `valueInteger`.
    Integer(i32),
    /// Another type: the member name, such as `valueString`, and the raw value.
    Other(String, RawJson),
}

impl Extension {
    /// Returns an extension with a code.
    pub fn code(url: &'static str, code: &'static str) -> Self {
        Self::new(url, ExtensionValue::Code(code.into()))
    }

    /// Returns an extension with a boolean.
    pub fn boolean(url: &'static str, value: bool) -> Self {
        Self::new(url, ExtensionValue::Boolean(value))
    }

    /// Returns an extension with an integer.
    pub fn integer(url: &'static str, value: i32) -> Self {
        Self::new(url, ExtensionValue::Integer(value))
    }

    /// Returns the extension data-absent-reason with the code `unknown`.
    pub fn unknown() -> Self {
        Self::code(DATA_ABSENT_REASON, "unknown")
    }

    fn new(url: &'static str, value: ExtensionValue) -> Self {
        Self { element: Element::default(), url: url.into(), value: Some(value) }
    }
}

impl ExtensionValue {
    fn member_name(&self) -> &str {
        match self {
            Self::Boolean(_) => "valueBoolean",
            Self::Code(_) => "valueCode",
            Self::Integer(_) => "valueInteger",
            Self::Other(name, _) => name,
        }
    }
}

impl Serialize for ExtensionValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Boolean(value) => value.serialize(serializer),
            Self::Code(value) => value.serialize(serializer),
            Self::Integer(value) => value.serialize(serializer),
            Self::Other(_, value) => value.serialize(serializer),
        }
    }
}

impl Serialize for Extension {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        self.element.write_id(&mut members)?;
        self.element.write_extensions(&mut members)?;
        members.serialize_entry("url", &self.url)?;
        if let Some(value) = &self.value {
            members.serialize_entry(value.member_name(), value)?;
        }
        self.element.write_siblings(&mut members)?;
        members.end()
    }
}

impl<'de> Deserialize<'de> for Extension {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ExtensionVisitor;

        impl<'de> Visitor<'de> for ExtensionVisitor {
            type Value = Extension;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("the members of Extension")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Extension, A::Error> {
                let mut extension = Extension::default();
                while let Some(Name(name)) = members.next_key()? {
                    match name.as_ref() {
                        "url" => extension.url = members.next_value()?,
                        "valueBoolean" => {
                            extension.value = Some(ExtensionValue::Boolean(members.next_value()?));
                        }
                        "valueCode" => extension.value = Some(ExtensionValue::Code(members.next_value()?)),
                        "valueInteger" => {
                            extension.value = Some(ExtensionValue::Integer(members.next_value()?));
                        }
                        name if name.starts_with("value") => {
                            extension.value =
                                Some(ExtensionValue::Other(name.to_owned(), members.next_value()?));
                        }
                        name if name.starts_with("_value") => {
                            extension.element.read_sibling(name.to_owned(), false, &mut members)?;
                        }
                        name => extension.element.read(name, &mut members)?,
                    }
                }
                Ok(extension)
            }
        }

        deserializer.deserialize_map(ExtensionVisitor)
    }
}

impl Item for Extension {}
