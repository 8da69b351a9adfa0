//! XML (R4 xml.html), made of the JSON that stands ready: one pass that keeps the order of the elements, which in both
//! formats is the specification's.
//!
//! The one writes as members what the other writes as attributes (`id` of an element, `url` of an extension, the value of a
//! primitive), beside a primitive what the other writes inside it (`_birthDate`), and names a resource's type by a member
//! where the other has an element. A narrative's XHTML goes through as it is.

use std::borrow::Cow;

use super::json::{Json, NotJson, member};
use xml_escape::{push_escaped, push_markup};

/// Why JSON has no XML. None of what is emitted here is such.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotFhir {
    /// It is no JSON.
    #[error(transparent)]
    Json(#[from] NotJson),
    /// The outermost value is no object with a `resourceType`.
    #[error("no resource")]
    NoResource,
    /// A member's name is the name of no element.
    #[error("a member's name is the name of no element")]
    Name,
    /// An array in an array, a null that stands for nothing, an attribute that is none, a narrative without a `div`.
    #[error("a value that no element has")]
    Value,
}

/// The resource in `json` as an XML document; with `pretty` each element stands in a line of its own.
pub fn from_json(json: &str, pretty: bool) -> Result<String, NotFhir> {
    let Json::Object(members) = Json::parse(json)? else { return Err(NotFhir::NoResource) };
    let mut writer = Writer { xml: String::with_capacity(json.len() + json.len() / 2), pretty, depth: 0 };
    writer.xml.push_str(r#"<?xml version="1.0" encoding="UTF-8"?>"#);
    writer.resource(&members, Some("http://hl7.org/fhir"))?;
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
    /// A resource is an element that is called by its type; its `id` is an element in it.
    fn resource(&mut self, members: &JsonMembers<'_>, namespace: Option<&str>) -> Result<(), NotFhir> {
        let kind = member(members, "resourceType").and_then(Json::as_text).ok_or(NotFhir::NoResource)?;
        self.begin(kind)?;
        if let Some(namespace) = namespace {
            self.attribute("xmlns", namespace);
        }
        self.children(kind, members, |name| name != "resourceType")
    }

    /// An element that is no primitive.
    fn element(&mut self, name: &str, members: &JsonMembers<'_>) -> Result<(), NotFhir> {
        self.begin(name)?;
        if member(members, "resourceType").is_some() {
            self.inside(name, |writer| writer.resource(members, None))
        } else if matches!(name, "extension" | "modifierExtension") {
            self.attributes(members, &["id", "url"])?;
            self.children(name, members, |name| !matches!(name, "id" | "url"))
        } else {
            self.attributes(members, &["id"])?;
            self.children(name, members, |name| name != "id")
        }
    }

    /// A primitive: its value, and the `id` and the extensions that JSON has beside it.
    fn primitive(
        &mut self,
        name: &str,
        value: Option<&str>,
        beside: Option<&JsonMembers<'_>>,
    ) -> Result<(), NotFhir> {
        self.begin(name)?;
        self.attributes(beside.unwrap_or_default(), &["id"])?;
        if let Some(value) = value {
            self.attribute("value", value);
        }
        self.children(name, beside.unwrap_or_default(), |name| name != "id")
    }

    /// The members that are no attributes, in their order, and the end of the element `parent`.
    fn children(
        &mut self,
        parent: &str,
        members: &JsonMembers<'_>,
        is_child: impl Fn(&str) -> bool,
    ) -> Result<(), NotFhir> {
        if !members.iter().any(|(name, _)| is_child(name)) {
            self.xml.push_str("/>");
            return Ok(());
        }
        let has_beside = members.iter().any(|(name, _)| name.starts_with('_'));
        self.inside(parent, |writer| {
            for (name, value) in members.iter().filter(|(name, _)| is_child(name)) {
                if let Some(primitive) = name.strip_prefix('_') {
                    // What stands beside a value went out with it.
                    if member(members, primitive).is_none() {
                        writer.member(primitive, None, Some(value))?;
                    }
                } else {
                    let beside = has_beside.then(|| member(members, &format!("_{name}"))).flatten();
                    writer.member(name, Some(value), beside)?;
                }
            }
            Ok(())
        })
    }

    /// What repeats is an array in JSON, and one element after the other in XML.
    fn member(
        &mut self,
        name: &str,
        value: Option<&Json<'_>>,
        beside: Option<&Json<'_>>,
    ) -> Result<(), NotFhir> {
        let many = |json: Option<&Json<'_>>| matches!(json, Some(Json::Array(_)));
        if !many(value) && !many(beside) {
            return self.one(name, value, beside);
        }
        let (values, besides) = (value.map_or(&[][..], Json::items), beside.map_or(&[][..], Json::items));
        for index in 0..values.len().max(besides.len()) {
            self.one(name, values.get(index), besides.get(index))?;
        }
        Ok(())
    }

    fn one(
        &mut self,
        name: &str,
        value: Option<&Json<'_>>,
        beside: Option<&Json<'_>>,
    ) -> Result<(), NotFhir> {
        let beside = match beside {
            None | Some(Json::Bare("null")) => None,
            Some(Json::Object(members)) => Some(members.as_slice()),
            Some(_) => return Err(NotFhir::Value),
        };
        match value {
            Some(Json::Object(members)) => self.element(name, members),
            Some(Json::Text(text)) if name == "div" => self.narrative(text),
            Some(Json::Text(text)) => self.primitive(name, Some(text), beside),
            Some(Json::Bare(word)) if *word != "null" => self.primitive(name, Some(word), beside),
            None | Some(Json::Bare(_)) if beside.is_some() => self.primitive(name, None, beside),
            None | Some(Json::Bare(_) | Json::Array(_)) => Err(NotFhir::Value),
        }
    }

    /// XHTML is markup in both formats (R4 narrative.html); blanks would change it.
    fn narrative(&mut self, xhtml: &str) -> Result<(), NotFhir> {
        if !xhtml.starts_with("<div") {
            return Err(NotFhir::Value);
        }
        self.new_line();
        push_markup(&mut self.xml, xhtml);
        Ok(())
    }

    fn attributes(&mut self, members: &JsonMembers<'_>, names: &[&str]) -> Result<(), NotFhir> {
        for name in names {
            match member(members, name) {
                None => {}
                Some(Json::Text(text)) => self.attribute(name, text),
                Some(_) => return Err(NotFhir::Value),
            }
        }
        Ok(())
    }

    fn attribute(&mut self, name: &str, value: &str) {
        self.xml.push(' ');
        self.xml.push_str(name);
        self.xml.push_str("=\"");
        push_escaped(&mut self.xml, value);
        self.xml.push('"');
    }

    fn begin(&mut self, name: &str) -> Result<(), NotFhir> {
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

    fn inside(
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
