//! One object of the DICOM JSON model (PS3.18 F.2), read tolerantly.
//!
//! Real archives deviate from the model. The reader accepts tags in lower case and keywords in place of tags; numbers as strings
//! and strings as numbers; padding; `null` members; a missing or wrong `vr`; members that the standard does not define; values
//! without the `Value` array; person names as one string with `=`; several values in one string. This module does not know about
//! FHIR or HTTP.

mod lost_characters;
mod reading;

pub use reading::ElementOf;

use super::{ComponentGroup, PersonName, Tag};

/// A value of an element: text (numbers are stored as their text), a person name, or an item of a sequence.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Any value that is neither a name nor an item, without padding.
    Text(Box<str>),
    /// A value of VR PN.
    Name(Box<PersonName>),
    /// A value of VR SQ.
    Item(Attributes),
}

/// The values of one element, without empty values and `null`s. The list of an element without a value is empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Element {
    /// The values in the order of the input.
    pub values: Vec<Value>,
}

impl Element {
    /// Returns an element with one text value.
    pub fn text(value: &str) -> Self {
        Self { values: vec![Value::Text(value.into())] }
    }

    /// Returns an element whose values are sequence items.
    pub fn items(items: impl IntoIterator<Item = Attributes>) -> Self {
        Self { values: items.into_iter().map(Value::Item).collect() }
    }
}

/// The elements of one data set or sequence item, by tag.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attributes {
    /// The elements, sorted by tag, without duplicates.
    elements: Vec<(Tag, Element)>,
}

/// Estimates the size in bytes of the block that an allocator uses for `bytes`: rounded up to a multiple of 16 or, above 256 bytes,
/// to a multiple of one sixteenth of the next power of two.
fn allocated_size(bytes: usize) -> usize {
    bytes.next_multiple_of(16.max(bytes.next_power_of_two() / 16))
}

impl Attributes {
    /// Returns the element with `tag`, with or without a value.
    pub fn get(&self, tag: Tag) -> Option<&Element> {
        let index = self.elements.binary_search_by_key(&tag, |(tag, _)| *tag).ok()?;
        self.elements.get(index).map(|(_, element)| element)
    }

    /// Whether the element is present, with or without a value.
    pub fn contains(&self, tag: Tag) -> bool {
        self.get(tag).is_some()
    }

    /// Returns the first text value.
    pub fn text(&self, tag: Tag) -> Option<&str> {
        self.texts(tag).next()
    }

    /// Returns every text value.
    pub fn texts(&self, tag: Tag) -> impl Iterator<Item = &str> {
        self.values(tag).filter_map(|value| match value {
            Value::Text(text) => Some(text.as_ref()),
            Value::Name(_) | Value::Item(_) => None,
        })
    }

    /// Returns the first value as an integer: `1`, `"1"`, `"1 "`, `1.0`, `"300.0"`.
    pub fn integer(&self, tag: Tag) -> Option<i64> {
        let text = self.text(tag)?;
        let integer_part = match text.split_once('.') {
            Some((integer_part, fraction)) if fraction.bytes().all(|byte| byte == b'0') => integer_part,
            Some(_) => return None,
            None => text,
        };
        integer_part.parse().ok()
    }

    /// Returns the first person name (VR PN) of the values.
    pub fn name(&self, tag: Tag) -> Option<&PersonName> {
        self.names(tag).next()
    }

    /// Returns every name.
    pub fn names(&self, tag: Tag) -> impl Iterator<Item = &PersonName> {
        self.values(tag).filter_map(|value| match value {
            Value::Name(name) => Some(name.as_ref()),
            Value::Text(_) | Value::Item(_) => None,
        })
    }

    /// Returns every item of a sequence.
    pub fn items(&self, tag: Tag) -> impl Iterator<Item = &Self> {
        self.values(tag).filter_map(|value| match value {
            Value::Item(item) => Some(item),
            Value::Text(_) | Value::Name(_) => None,
        })
    }

    /// Returns every element, in the order of the tags.
    pub fn iter(&self) -> impl Iterator<Item = (Tag, &Element)> {
        self.elements.iter().map(|(tag, element)| (*tag, element))
    }

    /// Sets the element with `tag` and replaces an earlier one.
    pub fn insert(&mut self, tag: Tag, element: Element) {
        match self.elements.binary_search_by_key(&tag, |(tag, _)| *tag) {
            Ok(index) => self.elements[index].1 = element,
            Err(index) => self.elements.insert(index, (tag, element)),
        }
    }

    /// Removes the elements for whose tag `keep` returns false.
    pub fn retain(&mut self, mut keep: impl FnMut(Tag) -> bool) {
        self.elements.retain(|(tag, _)| keep(*tag));
    }

    /// Returns the estimated size in memory in bytes, for the size limit of a cache.
    pub fn size(&self) -> usize {
        let group_size = |group: &ComponentGroup| {
            group.components().map(|text| allocated_size(text.len())).sum::<usize>()
                + size_of::<ComponentGroup>()
        };
        let value_size = |value: &Value| match value {
            Value::Text(text) => allocated_size(text.len()),
            Value::Name(name) => size_of::<PersonName>() + name.groups().map(group_size).sum::<usize>(),
            Value::Item(item) => item.size(),
        };
        let element_size = |element: &Element| {
            allocated_size(element.values.capacity() * size_of::<Value>())
                + element.values.iter().map(value_size).sum::<usize>()
        };
        let elements = allocated_size(self.elements.capacity() * size_of::<(Tag, Element)>());
        elements + self.elements.iter().map(|(_, element)| element_size(element)).sum::<usize>()
    }

    /// Passes the content to `sink`, for hashing: tags, types of values, and texts. The separators contain 0xFF, which does not
    /// occur in UTF-8, so different contents produce different bytes.
    pub fn digest_into(&self, sink: &mut impl FnMut(&[u8])) {
        for (tag, element) in &self.elements {
            sink(&[0xff, 0]);
            sink(&tag.group().to_be_bytes());
            sink(&tag.element().to_be_bytes());
            for value in &element.values {
                match value {
                    Value::Text(text) => {
                        sink(&[0xff, 1]);
                        sink(text.as_bytes());
                    }
                    Value::Name(name) => {
                        for (index, group) in
                            [&name.alphabetic, &name.ideographic, &name.phonetic].iter().enumerate()
                        {
                            let Some(group) = group else { continue };
                            for component in
                                [&group.family, &group.given, &group.middle, &group.prefix, &group.suffix]
                            {
                                sink(&[0xff, 2, u8::try_from(index).unwrap_or_default()]);
                                sink(component.as_bytes());
                            }
                        }
                    }
                    Value::Item(item) => {
                        sink(&[0xff, 5]);
                        item.digest_into(sink);
                        sink(&[0xff, 6]);
                    }
                }
            }
        }
    }

    fn values(&self, tag: Tag) -> impl Iterator<Item = &Value> {
        self.get(tag).into_iter().flat_map(|element| &element.values)
    }
}

impl FromIterator<(Tag, Element)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (Tag, Element)>>(elements: I) -> Self {
        let mut attributes = Self::default();
        for (tag, element) in elements {
            attributes.insert(tag, element);
        }
        attributes
    }
}

#[cfg(test)]
mod tests;
