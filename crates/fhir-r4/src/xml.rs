//! Converts serialized JSON to XML (R4 xml.html) in one pass. The order of elements, which is that of the specification
//! in both formats, is preserved.
//!
//! The formats differ: the `id` of an element, the `url` of an extension and the value of a primitive are members in JSON and
//! attributes in XML; the id and the extensions of a primitive are in a sibling member (`_birthDate`) in JSON and inside the
//! element in XML; the resource type is a member in JSON and an element name in XML. The XHTML of a narrative is copied unchanged.
//! This module does not know about resource types.

use std::borrow::Cow;

use super::json::{Json, NotJson, member};
use xml_escape::{push_escaped, push_xml_characters};

/// Why JSON cannot be converted to XML. This cannot happen for resources that are written by this crate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotFhir {
    /// The text is not JSON.
    #[error(transparent)]
    Json(#[from] NotJson),
    /// The root value, or a nested resource, is not an object with a `resourceType`.
    #[error("not a resource")]
    NoResource,
    /// The name of a member is not a valid element name.
    #[error("the name of a member is not a valid element name")]
    Name,
    /// An array in an array, a null without a sibling, an attribute that is not a string, or a narrative without a
    /// `div`.
    #[error("a value is not valid for an element")]
    Value,
}

/// Returns the resource in `json` as an XML document; with `pretty`, one line per element.
pub fn from_json(json: &str, pretty: bool) -> Result<String, NotFhir> {
    let Json::Object(members) = Json::parse(json)? else { return Err(NotFhir::NoResource) };
    let mut writer = Writer { xml: String::with_capacity(json.len() + json.len() / 2), pretty, depth: 0 };
    writer.xml.push_str(r#"<?xml version="1.0" encoding="UTF-8"?>"#);
    writer.write_resource(&members, Some("http://hl7.org/fhir"))?;
    if pretty {
        writer.xml.push('\n');
    }
    Ok(writer.xml)
}

type JsonMembers<'a> = [(Cow<'a, str>, Json<'a>)];

struct Writer {
    xml: String,
    pretty: bool,
    depth: usize,
}

impl Writer {
    /// Writes a resource: an element whose name is its type, with its `id` as a child element.
    fn write_resource(&mut self, members: &JsonMembers<'_>, namespace: Option<&str>) -> Result<(), NotFhir> {
        let kind = member(members, "resourceType").and_then(Json::as_text).ok_or(NotFhir::NoResource)?;
        self.begin_element(kind)?;
        if let Some(namespace) = namespace {
            self.write_attribute("xmlns", namespace);
        }
        self.write_children(kind, members, |name| name != "resourceType")
    }

    /// Writes an element that is not primitive.
    fn write_element(&mut self, name: &str, members: &JsonMembers<'_>) -> Result<(), NotFhir> {
        self.begin_element(name)?;
        if member(members, "resourceType").is_some() {
            self.write_content(name, |writer| writer.write_resource(members, None))
        } else if matches!(name, "extension" | "modifierExtension") {
            self.write_attributes(members, &["id", "url"])?;
            self.write_children(name, members, |name| !matches!(name, "id" | "url"))
        } else {
            self.write_attributes(members, &["id"])?;
            self.write_children(name, members, |name| name != "id")
        }
    }

    /// Writes a primitive: its value, and the `id` and the extensions of its sibling member.
    fn write_primitive(
        &mut self,
        name: &str,
        value: Option<&str>,
        sibling: Option<&JsonMembers<'_>>,
    ) -> Result<(), NotFhir> {
        self.begin_element(name)?;
        self.write_attributes(sibling.unwrap_or_default(), &["id"])?;
        if let Some(value) = value {
            self.write_attribute("value", value);
        }
        self.write_children(name, sibling.unwrap_or_default(), |name| name != "id")
    }

    /// Writes the members that are not attributes, in their order, and the end tag of the element `parent`.
    fn write_children(
        &mut self,
        parent: &str,
        members: &JsonMembers<'_>,
        is_child: impl Fn(&str) -> bool,
    ) -> Result<(), NotFhir> {
        if !members.iter().any(|(name, _)| is_child(name)) {
            self.xml.push_str("/>");
            return Ok(());
        }
        let has_siblings = members.iter().any(|(name, _)| name.starts_with('_'));
        self.write_content(parent, |writer| {
            for (name, value) in members.iter().filter(|(name, _)| is_child(name)) {
                if let Some(primitive) = name.strip_prefix('_') {
                    // The sibling member of a value is written with the value.
                    if member(members, primitive).is_none() {
                        writer.write_member(primitive, None, Some(value))?;
                    }
                } else {
                    let sibling = has_siblings.then(|| member(members, &format!("_{name}"))).flatten();
                    writer.write_member(name, Some(value), sibling)?;
                }
            }
            Ok(())
        })
    }

    /// Writes a member. A repeated element is an array in JSON and a sequence of elements in XML.
    fn write_member(
        &mut self,
        name: &str,
        value: Option<&Json<'_>>,
        sibling: Option<&Json<'_>>,
    ) -> Result<(), NotFhir> {
        let is_array = |json: Option<&Json<'_>>| matches!(json, Some(Json::Array(_)));
        if !is_array(value) && !is_array(sibling) {
            return self.write_value(name, value, sibling);
        }
        let (values, siblings) = (value.map_or(&[][..], Json::items), sibling.map_or(&[][..], Json::items));
        for index in 0..values.len().max(siblings.len()) {
            self.write_value(name, values.get(index), siblings.get(index))?;
        }
        Ok(())
    }

    fn write_value(
        &mut self,
        name: &str,
        value: Option<&Json<'_>>,
        sibling: Option<&Json<'_>>,
    ) -> Result<(), NotFhir> {
        let sibling = match sibling {
            None | Some(Json::Literal("null")) => None,
            Some(Json::Object(members)) => Some(members.as_slice()),
            Some(_) => return Err(NotFhir::Value),
        };
        match value {
            Some(Json::Object(members)) => self.write_element(name, members),
            Some(Json::Text(text)) if name == "div" => self.write_narrative(text),
            Some(Json::Text(text)) => self.write_primitive(name, Some(text), sibling),
            Some(Json::Literal(literal)) if *literal != "null" => {
                self.write_primitive(name, Some(literal), sibling)
            }
            None | Some(Json::Literal(_)) if sibling.is_some() => self.write_primitive(name, None, sibling),
            None | Some(Json::Literal(_) | Json::Array(_)) => Err(NotFhir::Value),
        }
    }

    /// Writes the XHTML of a narrative, which is the same in both formats (R4 narrative.html). It is not indented, because
    /// indentation would change it.
    fn write_narrative(&mut self, xhtml: &str) -> Result<(), NotFhir> {
        if !xhtml.starts_with("<div") {
            return Err(NotFhir::Value);
        }
        self.new_line();
        push_xml_characters(&mut self.xml, xhtml);
        Ok(())
    }

    fn write_attributes(&mut self, members: &JsonMembers<'_>, names: &[&str]) -> Result<(), NotFhir> {
        for name in names {
            match member(members, name) {
                None => {}
                Some(Json::Text(text)) => self.write_attribute(name, text),
                Some(_) => return Err(NotFhir::Value),
            }
        }
        Ok(())
    }

    fn write_attribute(&mut self, name: &str, value: &str) {
        self.xml.push(' ');
        self.xml.push_str(name);
        self.xml.push_str("=\"");
        push_escaped(&mut self.xml, value);
        self.xml.push('"');
    }

    fn begin_element(&mut self, name: &str) -> Result<(), NotFhir> {
        let is_name = name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_name {
            return Err(NotFhir::Name);
        }
        self.new_line();
        self.xml.push('<');
        self.xml.push_str(name);
        Ok(())
    }

    fn write_content(
        &mut self,
        name: &str,
        write: impl FnOnce(&mut Self) -> Result<(), NotFhir>,
    ) -> Result<(), NotFhir> {
        self.xml.push('>');
        self.depth += 1;
        write(self)?;
        self.depth -= 1;
        self.new_line();
        self.xml.push_str("</");
        self.xml.push_str(name);
        self.xml.push('>');
        Ok(())
    }

    fn new_line(&mut self) {
        if self.pretty {
            self.xml.push('\n');
            self.xml.extend(std::iter::repeat_n("  ", self.depth));
        }
    }
}

#[cfg(test)]
mod tests;
