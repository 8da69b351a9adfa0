//! A resource as a list of its elements with their values, read from JSON and from XML by the rules of R4 (json.html, xml.html):
//! two documents are the same resource if their lists are equal.

use roxmltree::{Document, Node};
use serde_json::{Map, Value};

/// The path of each value, and the value. Each step of the path has its index among the elements of its name.
type Elements = Vec<(String, String)>;

/// The elements of a resource in JSON.
pub fn elements_of_json(resource: &Value) -> Elements {
    let mut elements = Elements::new();
    object(&mut elements, resource.as_object().unwrap(), "");
    elements.sort();
    elements
}

fn object(elements: &mut Elements, members: &Map<String, Value>, path: &str) {
    let path = match members.get("resourceType") {
        Some(kind) => format!("{path}/{}[0]", kind.as_str().unwrap()),
        None => path.to_owned(),
    };
    let is_extension = path.rsplit('/').next().unwrap().starts_with("extension[");
    for (name, value) in members {
        match name.as_str() {
            "resourceType" => {}
            "id" if !members.contains_key("resourceType") => {
                elements.push((format!("{path}@id"), text(value)));
            }
            "url" if is_extension => elements.push((format!("{path}@url"), text(value))),
            "div" => elements.push((format!("{path}/div[0]"), text(value))),
            _ => {
                let many = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
                for (index, one) in many.iter().enumerate().filter(|(_, one)| !one.is_null()) {
                    let place = format!("{path}/{}[{index}]", name.trim_start_matches('_'));
                    match one {
                        Value::Object(members) => object(elements, members, &place),
                        primitive => elements.push((format!("{place}@value"), text(primitive))),
                    }
                }
            }
        }
    }
}

fn text(primitive: &Value) -> String {
    primitive.as_str().map_or_else(|| primitive.to_string(), str::to_owned)
}

/// The elements of a resource in XML.
pub fn elements_of_xml(xml: &str) -> Elements {
    let document = Document::parse(xml).unwrap_or_else(|error| panic!("{error}: {xml}"));
    let mut elements = Elements::new();
    let root = document.root_element();
    element(&mut elements, xml, root, &format!("/{}[0]", root.tag_name().name()));
    elements.sort();
    elements
}

fn element(elements: &mut Elements, xml: &str, node: Node<'_, '_>, path: &str) {
    for attribute in node.attributes() {
        elements.push((format!("{path}@{}", attribute.name()), attribute.value().to_owned()));
    }
    let mut names: Vec<&str> = Vec::new();
    for child in node.children().filter(Node::is_element) {
        let name = child.tag_name().name();
        let index = names.iter().filter(|other| **other == name).count();
        names.push(name);
        let place = format!("{path}/{name}[{index}]");
        if child.tag_name().namespace() == Some("http://hl7.org/fhir") {
            element(elements, xml, child, &place);
        } else {
            elements.push((place, xml[child.range()].to_owned()));
        }
    }
}
