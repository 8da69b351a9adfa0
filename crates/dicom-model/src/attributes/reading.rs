//! The tolerant reader of [`Attributes`]: serde visitors that reject only input that is not JSON, or not an object.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Attributes, Element, Value};
use crate::json::parse_with;
use crate::{ComponentGroup, PersonName, Tag, tag};
use dicom_core::VR;

/// Characters that pad values (PS3.5 6.2).
const PADDING: [char; 2] = [' ', '\0'];

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AttributesVisitor { tags: None })
    }
}

impl Attributes {
    /// Reads the elements `tags` of `text`, a JSON object, for a comparison, and skips the others. A value that cannot be read, such as
    /// an array or an inline value, is an item without elements, so that it is not mistaken for no value. A text that is not a JSON
    /// object is an error.
    pub fn read_elements(text: &str, tags: &[Tag]) -> Result<Self, serde_json::Error> {
        parse_with(text, |text| {
            let mut deserializer = serde_json::Deserializer::from_str(text);
            let attributes = deserializer.deserialize_map(AttributesVisitor { tags: Some(tags) })?;
            deserializer.end().map(|()| attributes)
        })
    }
}

/// Reads the elements `tags` of an object, or all of its elements. An element with two values is an error, because other readers may use
/// either.
struct AttributesVisitor<'a> {
    tags: Option<&'a [Tag]>,
}

impl<'de> Visitor<'de> for AttributesVisitor<'_> {
    type Value = Attributes;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of the DICOM JSON model")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Attributes, A::Error> {
        let mut attributes = Attributes::default();
        let is_read = |tag: &Tag| self.tags.is_none_or(|tags| tags.contains(tag));
        while let Some(key) = members.next_key::<Key<'de>>()? {
            let Some(tag) = tag::parse(key.as_str()).filter(is_read) else {
                members.next_value::<IgnoredAny>()?;
                continue;
            };
            let raw = members.next_value::<RawElement>()?;
            let unreadable = raw.unreadable_value().filter(|_| self.tags.is_some());
            let mut element = raw.into_element(tag);
            element.values.extend(unreadable);
            insert_once(&mut attributes, tag, element)?;
        }
        // Rows are cached, and their memory is counted without spare capacity.
        attributes.elements.shrink_to_fit();
        Ok(attributes)
    }
}

/// Inserts an element; an error if an earlier one with the same tag differs.
fn insert_once<E: Error>(attributes: &mut Attributes, tag: Tag, element: Element) -> Result<(), E> {
    if attributes.get(tag).is_some_and(|earlier| *earlier != element) {
        return Err(E::custom("an element has two values"));
    }
    attributes.insert(tag, element);
    Ok(())
}

/// A member name, borrowed from the input if it contains no escape.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] std::borrow::Cow<'a, str>);

impl Key<'_> {
    fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns the value of the next member, if it is text.
fn next_text<'de, A: MapAccess<'de>>(members: &mut A) -> Result<Option<Box<str>>, A::Error> {
    Ok(match members.next_value::<OptionalValue>()?.0 {
        Ok(Some(Value::Text(text))) => Some(text),
        _ => None,
    })
}

/// An element as in the input: `{"vr": …, "Value": […]}`, or a value without this object.
#[derive(Default)]
struct RawElement {
    vr: Option<VR>,
    values: Vec<Value>,
    /// Whether there is a value that cannot be read: an array in an array, a boolean, an inline value or a reference to bulk data.
    has_unreadable: bool,
}

impl RawElement {
    /// Returns the value that represents the values that cannot be read.
    fn unreadable_value(&self) -> Option<Value> {
        self.has_unreadable.then(|| Value::Item(Attributes::default()))
    }

    fn add(&mut self, values: Values) {
        self.values.extend(values.readable);
        self.has_unreadable |= values.has_unreadable;
    }

    fn into_element(self, tag: Tag) -> Element {
        let vr = self.vr.filter(|vr| *vr != VR::UN).or_else(|| tag::value_representation(tag));
        let mut values = Vec::with_capacity(self.values.len());
        for value in self.values {
            convert_text(value, vr, &mut values);
        }
        values.shrink_to_fit();
        Element { values }
    }
}

/// Converts a text to a person name, or splits it into several values, as its value representation requires.
fn convert_text(value: Value, vr: Option<VR>, values: &mut Vec<Value>) {
    let Value::Text(text) = value else { return values.push(value) };
    match vr {
        Some(VR::PN) => {
            let names = text.split('\\').filter_map(PersonName::parse);
            values.extend(names.map(|name| Value::Name(Box::new(name))));
        }
        Some(VR::LT | VR::ST | VR::UT | VR::UR) | None => values.push(Value::Text(text)),
        Some(_) if text.contains('\\') => values.extend(text.split('\\').filter_map(text_value)),
        Some(_) => values.push(Value::Text(text)),
    }
}

fn text_value(text: &str) -> Option<Value> {
    let is_padding = |character: char| PADDING.contains(&character) || character.is_ascii_whitespace();
    let text = text.trim_matches(is_padding);
    (!text.is_empty()).then(|| Value::Text(text.into()))
}

impl<'de> Deserialize<'de> for RawElement {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut element = Self::default();
        deserializer.deserialize_any(ElementVisitor(&mut element))?;
        Ok(element)
    }
}

impl<'de> Deserialize<'de> for Element {
    /// Reads an element without its tag, for a comparison. Its texts are not split or converted.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = RawElement::deserialize(deserializer)?;
        let unreadable = raw.unreadable_value();
        Ok(Self { values: raw.values.into_iter().chain(unreadable).collect() })
    }
}

/// Reads the element with this tag, whose name was already read.
#[derive(Debug, Clone, Copy)]
pub struct ElementOf(pub Tag);

impl<'de> DeserializeSeed<'de> for ElementOf {
    type Value = Element;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Element, D::Error> {
        RawElement::deserialize(deserializer).map(|raw| raw.into_element(self.0))
    }
}

struct ElementVisitor<'a>(&'a mut RawElement);

impl<'de> Visitor<'de> for ElementVisitor<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an element of the DICOM JSON model")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(key) = members.next_key::<Key<'de>>()? {
            match key.as_str() {
                "vr" => self.0.vr = next_text(&mut members)?.and_then(|vr| vr.parse().ok()),
                "Value" => self.0.add(members.next_value()?),
                // No mapped attribute has them (PS3.18 F.2.2).
                "BulkDataURI" | "InlineBinary" => {
                    let OptionalValue(value) = members.next_value()?;
                    self.0.has_unreadable |= !matches!(value, Ok(None));
                }
                _ => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<(), A::Error> {
        self.0.add(ValuesVisitor.visit_seq(sequence)?);
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.values.extend(text_value(text));
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.0.has_unreadable = true;
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.0.values.push(Value::Text(number.to_string().into()));
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.0.values.push(Value::Text(number.to_string().into()));
        Ok(())
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        self.0.values.push(Value::Text(number.to_string().into()));
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// The content of `Value`: an array, or a single value without its array.
#[derive(Default)]
struct Values {
    readable: Vec<Value>,
    has_unreadable: bool,
}

impl Extend<OptionalValue> for Values {
    fn extend<I: IntoIterator<Item = OptionalValue>>(&mut self, values: I) {
        for OptionalValue(value) in values {
            match value {
                Ok(value) => self.readable.extend(value),
                Err(Unreadable) => self.has_unreadable = true,
            }
        }
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValuesVisitor)
    }
}

struct ValuesVisitor;

impl<'de> Visitor<'de> for ValuesVisitor {
    type Value = Values;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the values of an element")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Values, A::Error> {
        let mut values = Values::default();
        while let Some(value) = sequence.next_element::<OptionalValue>()? {
            values.extend([value]);
        }
        Ok(values)
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Values, A::Error> {
        OptionalValueVisitor.visit_map(members).map(Values::from)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Values, E> {
        OptionalValueVisitor.visit_str(text).map(Values::from)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Values, E> {
        OptionalValueVisitor.visit_bool(value).map(Values::from)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Values, E> {
        OptionalValueVisitor.visit_i64(number).map(Values::from)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Values, E> {
        OptionalValueVisitor.visit_u64(number).map(Values::from)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Values, E> {
        OptionalValueVisitor.visit_f64(number).map(Values::from)
    }

    fn visit_unit<E>(self) -> Result<Values, E> {
        Ok(Values::default())
    }
}

impl From<OptionalValue> for Values {
    fn from(value: OptionalValue) -> Self {
        let mut values = Self::default();
        values.extend([value]);
        values
    }
}

/// A boolean, or an array that is not empty.
struct Unreadable;

/// One value; `None` for `null`, an empty string, a name without components or an empty array.
struct OptionalValue(Result<Option<Value>, Unreadable>);

impl<'de> Deserialize<'de> for OptionalValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OptionalValueVisitor)
    }
}

struct OptionalValueVisitor;

impl<'de> Visitor<'de> for OptionalValueVisitor {
    type Value = OptionalValue;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    /// Reads a person name or an item of a sequence, depending on the member names.
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<OptionalValue, A::Error> {
        let mut name: Option<PersonName> = None;
        let mut item = Attributes::default();
        while let Some(key) = members.next_key::<Key<'de>>()? {
            match key.as_str() {
                "Alphabetic" | "alphabetic" => {
                    let text = next_text(&mut members)?;
                    // Some archives write all three groups into the first member.
                    let parsed = text.and_then(|text| PersonName::parse(&text)).unwrap_or_default();
                    let earlier = name.take().unwrap_or_default();
                    name = Some(PersonName {
                        alphabetic: parsed.alphabetic,
                        ideographic: parsed.ideographic.or(earlier.ideographic),
                        phonetic: parsed.phonetic.or(earlier.phonetic),
                    });
                }
                "Ideographic" | "ideographic" => {
                    let text = next_text(&mut members)?;
                    let group = text.and_then(|text| ComponentGroup::parse(&text));
                    name.get_or_insert_default().ideographic = group;
                }
                "Phonetic" | "phonetic" => {
                    let text = next_text(&mut members)?;
                    name.get_or_insert_default().phonetic =
                        text.and_then(|text| ComponentGroup::parse(&text));
                }
                key => match tag::parse(key) {
                    Some(tag) => {
                        let element = members.next_value_seed(ElementOf(tag))?;
                        insert_once(&mut item, tag, element)?;
                    }
                    None => drop(members.next_value::<IgnoredAny>()?),
                },
            }
        }
        Ok(OptionalValue(Ok(match name {
            Some(name) if name == PersonName::default() => None,
            Some(name) => Some(Value::Name(Box::new(name))),
            None => Some(Value::Item(item)),
        })))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<OptionalValue, A::Error> {
        let mut is_empty = true;
        while sequence.next_element::<IgnoredAny>()?.is_some() {
            is_empty = false;
        }
        Ok(OptionalValue(if is_empty { Ok(None) } else { Err(Unreadable) }))
    }

    fn visit_str<E>(self, text: &str) -> Result<OptionalValue, E> {
        Ok(OptionalValue(Ok(text_value(text))))
    }

    fn visit_bool<E>(self, _: bool) -> Result<OptionalValue, E> {
        Ok(OptionalValue(Err(Unreadable)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<OptionalValue, E> {
        Ok(OptionalValue(Ok(Some(Value::Text(number.to_string().into())))))
    }

    fn visit_u64<E>(self, number: u64) -> Result<OptionalValue, E> {
        Ok(OptionalValue(Ok(Some(Value::Text(number.to_string().into())))))
    }

    fn visit_f64<E>(self, number: f64) -> Result<OptionalValue, E> {
        Ok(OptionalValue(Ok(Some(Value::Text(number.to_string().into())))))
    }

    fn visit_unit<E>(self) -> Result<OptionalValue, E> {
        Ok(OptionalValue(Ok(None)))
    }
}
