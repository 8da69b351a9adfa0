//! Converts a resource in JSON or XML to a list of its elements with their values, by the rules of R4 (json.html, xml.html). If
//! the lists of two documents are equal, the documents represent the same resource.

use roxmltree::{Document, Node};
use serde_json::{Map, Value};

/// The path and the value of each element. Each step of a path contains the index among the elements of the same name.
type Elements = Vec<(String, String)>;

/// Returns the elements of a resource in JSON.
pub fn elements_of_json(resource: &Value) -> Elements {
    let mut elements = Elements::new();
    collect_object(&mut elements, resource.as_object().unwrap(), "");
    elements.sort();
    elements
}

fn collect_object(elements: &mut Elements, members: &Map<String, Value>, path: &str) {
    let path = match members.get("resourceType") {
        Some(resource_type) => format!("{path}/{}[0]", resource_type.as_str().unwrap()),
        None => path.to_owned(),
    };
    let is_extension = path.rsplit('/').next().unwrap().starts_with("extension[");
    for (name, value) in members {
        match name.as_str() {
            "resourceType" => {}
            "id" if !members.contains_key("resourceType") => {
                elements.push((format!("{path}@id"), primitive_text(value)));
            }
            "url" if is_extension => elements.push((format!("{path}@url"), primitive_text(value))),
            "div" => elements.push((format!("{path}/div[0]"), primitive_text(value))),
            _ => {
                let values = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
                for (index, value) in values.iter().enumerate().filter(|(_, value)| !value.is_null()) {
                    let path = format!("{path}/{}[{index}]", name.trim_start_matches('_'));
                    match value {
                        Value::Object(members) => collect_object(elements, members, &path),
                        primitive => elements.push((format!("{path}@value"), primitive_text(primitive))),
                    }
                }
            }
        }
    }
}

fn primitive_text(primitive: &Value) -> String {
    primitive.as_str().map_or_else(|| primitive.to_string(), str::to_owned)
}

/// Returns the elements of a resource in XML.
pub fn elements_of_xml(xml: &str) -> Elements {
    let document = Document::parse(xml).unwrap_or_else(|error| panic!("{error}: {xml}"));
    let mut elements = Elements::new();
    let root = document.root_element();
    collect_element(&mut elements, xml, root, &format!("/{}[0]", root.tag_name().name()));
    elements.sort();
    elements
}

fn collect_element(elements: &mut Elements, xml: &str, node: Node<'_, '_>, path: &str) {
    for attribute in node.attributes() {
        elements.push((format!("{path}@{}", attribute.name()), attribute.value().to_owned()));
    }
    let mut names: Vec<&str> = Vec::new();
    for child in node.children().filter(Node::is_element) {
        let name = child.tag_name().name();
        let index = names.iter().filter(|sibling| **sibling == name).count();
        names.push(name);
        let path = format!("{path}/{name}[{index}]");
        if child.tag_name().namespace() == Some("http://hl7.org/fhir") {
            collect_element(elements, xml, child, &path);
        } else {
            elements.push((path, xml[child.range()].to_owned()));
        }
    }
}
