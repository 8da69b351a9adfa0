//! The parts that every R4 element has (element.html, backboneelement.html, json#primitive), and the macros that declare types.
//! Resources are read and written without loss.
//!
//! A type is declared once, by [`element!`] or [`resource!`]: its elements in the order of the specification, each with its JSON
//! name and, for a primitive, the name of its sibling member with id and extensions. Members that a type does not declare are
//! rejected. This module does not know about the meaning of elements.

use std::borrow::Cow;

use serde::de::{DeserializeOwned, Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::{CodeableConcept, Coding, Extension, Meta, Reference, SopClass};

/// The id of an element, its extensions, and the sibling members of its primitive elements. Most elements have none of
/// these.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Element(Option<Box<Parts>>);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Parts {
    id: Option<String>,
    extension: Vec<Extension>,
    modifier_extension: Vec<Extension>,
    siblings: Vec<(Cow<'static, str>, Sibling)>,
}

/// The sibling member of a primitive element: id and extensions of one value, or of each value of a list at the same
/// index.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Sibling {
    One(Element),
    Many(Vec<Option<Element>>),
}

impl Element {
    /// Creates an element with only `extension`.
    pub fn with(extension: Vec<Extension>) -> Self {
        let parts = Parts { extension, ..Parts::default() };
        Self((!parts.extension.is_empty()).then(|| Box::new(parts)))
    }

    /// Returns the extensions.
    pub fn extension(&self) -> &[Extension] {
        self.0.as_ref().map(|parts| parts.extension.as_slice()).unwrap_or_default()
    }

    /// Appends an extension.
    pub fn extend(&mut self, extension: Extension) {
        self.parts().extension.push(extension);
    }

    fn parts(&mut self) -> &mut Parts {
        self.0.get_or_insert_default()
    }

    pub(super) fn write_id<M: SerializeMap>(&self, members: &mut M) -> Result<(), M::Error> {
        match self.0.as_ref().and_then(|parts| parts.id.as_ref()) {
            Some(id) => members.serialize_entry("id", id),
            None => Ok(()),
        }
    }

    pub(super) fn write_extensions<M: SerializeMap>(&self, members: &mut M) -> Result<(), M::Error> {
        let Some(parts) = &self.0 else { return Ok(()) };
        parts.extension.write("extension", members)?;
        parts.modifier_extension.write("modifierExtension", members)
    }

    pub(super) fn write_sibling<M: SerializeMap>(&self, name: &str, members: &mut M) -> Result<(), M::Error> {
        let Some(parts) = &self.0 else { return Ok(()) };
        match parts.siblings.iter().find(|(sibling_name, _)| sibling_name == name) {
            Some((_, Sibling::One(element))) => members.serialize_entry(name, element),
            Some((_, Sibling::Many(elements))) => members.serialize_entry(name, elements),
            None => Ok(()),
        }
    }

    pub(super) fn write_siblings<M: SerializeMap>(&self, members: &mut M) -> Result<(), M::Error> {
        let siblings = self.0.as_ref().map(|parts| parts.siblings.as_slice()).unwrap_or_default();
        siblings.iter().try_for_each(|(name, _)| self.write_sibling(name, members))
    }

    pub(super) fn read_sibling<'de, A: MapAccess<'de>>(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        is_list: bool,
        members: &mut A,
    ) -> Result<(), A::Error> {
        let sibling =
            if is_list { Sibling::Many(members.next_value()?) } else { Sibling::One(members.next_value()?) };
        self.parts().siblings.push((name.into(), sibling));
        Ok(())
    }

    /// Reads a member that the type itself does not declare.
    pub(super) fn read<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        members: &mut A,
    ) -> Result<(), A::Error> {
        match name {
            "id" => self.parts().id = Some(members.next_value()?),
            "extension" => self.parts().extension = members.next_value()?,
            "modifierExtension" => self.parts().modifier_extension = members.next_value()?,
            _ => return Err(A::Error::custom("an element that is not defined in R4")),
        }
        Ok(())
    }
}

impl Serialize for Element {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        self.write_id(&mut members)?;
        self.write_extensions(&mut members)?;
        members.end()
    }
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Element;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("the id and the extensions of an element")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Element, A::Error> {
                let mut element = Element::default();
                while let Some(Name(name)) = members.next_key()? {
                    element.read(&name, &mut members)?;
                }
                Ok(element)
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// Content that is stored as raw JSON: contained resources, and values of extensions that are not interpreted.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RawJson(Box<RawValue>);

impl PartialEq for RawJson {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

impl Eq for RawJson {}

/// The name of a member, borrowed from the input if possible.
#[derive(Debug, Deserialize)]
pub(super) struct Name<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// Reads and writes an element as a JSON member, depending on its cardinality.
///
/// FHIR has no empty strings (R4 datatypes#string), so an empty string represents the missing value of a required primitive element,
/// or of a list item that has only extensions.
pub(super) trait Member: Sized {
    const IS_LIST: bool = false;

    fn write<M: SerializeMap>(&self, name: &'static str, members: &mut M) -> Result<(), M::Error>;

    fn read<'de, A: MapAccess<'de>>(members: &mut A) -> Result<Self, A::Error>;

    /// Returns the value for a missing member. Fails for a required element.
    fn missing<E: Error>(name: &'static str) -> Result<Self, E>;
}

impl<T: Serialize + DeserializeOwned> Member for Option<T> {
    fn write<M: SerializeMap>(&self, name: &'static str, members: &mut M) -> Result<(), M::Error> {
        match self {
            Some(value) => members.serialize_entry(name, value),
            None => Ok(()),
        }
    }

    fn read<'de, A: MapAccess<'de>>(members: &mut A) -> Result<Self, A::Error> {
        members.next_value().map(Some)
    }

    fn missing<E: Error>(_: &'static str) -> Result<Self, E> {
        Ok(None)
    }
}

impl<T: Item> Member for Vec<T> {
    const IS_LIST: bool = true;

    fn write<M: SerializeMap>(&self, name: &'static str, members: &mut M) -> Result<(), M::Error> {
        if self.is_empty() { Ok(()) } else { members.serialize_entry(name, &Items(self)) }
    }

    fn read<'de, A: MapAccess<'de>>(members: &mut A) -> Result<Self, A::Error> {
        T::read_list(members)
    }

    fn missing<E: Error>(_: &'static str) -> Result<Self, E> {
        Ok(Self::new())
    }
}

/// An item of a list.
pub(super) trait Item: Serialize + DeserializeOwned {
    fn is_null(&self) -> bool {
        false
    }

    fn read_list<'de, A: MapAccess<'de>>(members: &mut A) -> Result<Vec<Self>, A::Error> {
        members.next_value()
    }
}

struct Items<'a, T>(&'a [T]);

impl<T: Item> Serialize for Items<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|item| (!item.is_null()).then_some(item)))
    }
}

impl Item for RawJson {}

/// Implements [`Item`] and [`Member`] for types of texts.
macro_rules! texts {
    ($($type:ty),*) => { $(
        impl Item for $type {
            fn is_null(&self) -> bool {
                self.is_empty()
            }

            fn read_list<'de, A: MapAccess<'de>>(members: &mut A) -> Result<Vec<Self>, A::Error> {
                let texts: Vec<Option<Self>> = members.next_value()?;
                Ok(texts.into_iter().map(Option::unwrap_or_default).collect())
            }
        }

        impl Member for $type {
            fn write<M: SerializeMap>(&self, name: &'static str, members: &mut M) -> Result<(), M::Error> {
                if self.is_empty() { Ok(()) } else { members.serialize_entry(name, self) }
            }

            fn read<'de, A: MapAccess<'de>>(members: &mut A) -> Result<Self, A::Error> {
                members.next_value()
            }

            fn missing<E: Error>(_: &'static str) -> Result<Self, E> {
                Ok(Self::default())
            }
        }
    )* };
}

texts!(String, Cow<'static, str>, Box<str>);

/// Implements [`Member`] for types of elements that are always required.
macro_rules! required {
    ($($type:ty),*) => { $(
        impl Member for $type {
            fn write<M: SerializeMap>(&self, name: &'static str, members: &mut M) -> Result<(), M::Error> {
                members.serialize_entry(name, self)
            }

            fn read<'de, A: MapAccess<'de>>(members: &mut A) -> Result<Self, A::Error> {
                members.next_value()
            }

            fn missing<E: Error>(name: &'static str) -> Result<Self, E> {
                Err(E::missing_field(name))
            }
        }
    )* };
}

required!(Coding, CodeableConcept, Reference, SopClass);

/// An empty `meta` is omitted.
impl Member for Meta {
    fn write<M: SerializeMap>(&self, name: &'static str, members: &mut M) -> Result<(), M::Error> {
        if *self == Self::default() { Ok(()) } else { members.serialize_entry(name, self) }
    }

    fn read<'de, A: MapAccess<'de>>(members: &mut A) -> Result<Self, A::Error> {
        members.next_value()
    }

    fn missing<E: Error>(_: &'static str) -> Result<Self, E> {
        Ok(Self::default())
    }
}

/// Reads the type of a resource, which must be `expected`.
pub(super) fn read_type<'de, A: MapAccess<'de>>(expected: &str, members: &mut A) -> Result<(), A::Error> {
    let Name(name) = members.next_value()?;
    if name == expected { Ok(()) } else { Err(A::Error::custom("a resource of another type")) }
}

/// Declares a type: `name: Type = "jsonName" + "_jsonName",` for each element, in the order of the specification.
macro_rules! element {
    (
        $(#[$attribute:meta])*
        pub struct $name:ident { $( $(#[$doc:meta])* $field:ident: $type:ty = $json:literal $(+ $siblings:literal)?, )* }
    ) => {
        $crate::types::element::element! { @define $(#[$attribute])* $name [] [] [ $( $(#[$doc])* $field: $type = $json $(+ $siblings)?, )* ] }
    };
    (
        @define $(#[$attribute:meta])* $name:ident [ $($resource:literal)? ]
        [ $( $(#[$head_doc:meta])* $head:ident: $head_type:ty = $head_json:literal $(+ $head_siblings:literal)?, )* ]
        [ $( $(#[$doc:meta])* $field:ident: $type:ty = $json:literal $(+ $siblings:literal)?, )* ]
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct $name {
            $( $(#[$head_doc])* pub $head: $head_type, )*
            /// The id, the extensions, and the sibling members of primitive values.
            pub element: $crate::types::Element,
            $( $(#[$doc])* pub $field: $type, )*
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                #[allow(unused_imports, reason = "a type can be declared without elements")]
                use $crate::types::element::Member;
                use serde::ser::SerializeMap;
                let mut members = serializer.serialize_map(None)?;
                $( members.serialize_entry("resourceType", $resource)?; )?
                self.element.write_id(&mut members)?;
                $(
                    self.$head.write($head_json, &mut members)?;
                    $( self.element.write_sibling($head_siblings, &mut members)?; )?
                )*
                self.element.write_extensions(&mut members)?;
                $(
                    self.$field.write($json, &mut members)?;
                    $( self.element.write_sibling($siblings, &mut members)?; )?
                )*
                members.end()
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                use $crate::types::element::{Member, Name};

                struct Members;

                impl<'de> serde::de::Visitor<'de> for Members {
                    type Value = $name;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        formatter.write_str(concat!("the members of ", stringify!($name)))
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut members: A) -> Result<$name, A::Error> {
                        let mut element = $crate::types::Element::default();
                        $( let mut $head: Option<$head_type> = None; )*
                        $( let mut $field: Option<$type> = None; )*
                        while let Some(Name(name)) = members.next_key()? {
                            match name.as_ref() {
                                $( "resourceType" => $crate::types::element::read_type($resource, &mut members)?, )?
                                $(
                                    $head_json => $head = Some(Member::read(&mut members)?),
                                    $( $head_siblings => {
                                        element.read_sibling($head_siblings, <$head_type>::IS_LIST, &mut members)?;
                                    } )?
                                )*
                                $(
                                    $json => $field = Some(Member::read(&mut members)?),
                                    $( $siblings => element.read_sibling($siblings, <$type>::IS_LIST, &mut members)?, )?
                                )*
                                other => element.read(other, &mut members)?,
                            }
                        }
                        Ok($name {
                            $( $head: $head.map_or_else(|| Member::missing($head_json), Ok)?, )*
                            element,
                            $( $field: $field.map_or_else(|| Member::missing($json), Ok)?, )*
                        })
                    }
                }

                deserializer.deserialize_map(Members)
            }
        }

        impl $crate::types::element::Item for $name {}
    };
}

/// Declares a resource (R4 domainresource.html): the elements that every resource has, then the declared ones.
macro_rules! resource {
    (
        $(#[$attribute:meta])*
        pub struct $name:ident = $resource:literal { $($elements:tt)* }
    ) => {
        $crate::types::element::element! { @define $(#[$attribute])* $name [ $resource ] [
            /// The id of the resource.
            id: String = "id",
            /// Version, profiles and tags of the resource.
            meta: $crate::types::Meta = "meta",
            /// Rules that are required to understand the content.
            implicit_rules: Option<String> = "implicitRules" + "_implicitRules",
            /// Language of the content.
            language: Option<String> = "language" + "_language",
            /// The narrative.
            text: Option<$crate::types::Narrative> = "text",
            /// Contained resources.
            contained: Vec<$crate::types::RawJson> = "contained",
        ] [ $($elements)* ] }
    };
}

pub(super) use {element, resource};
