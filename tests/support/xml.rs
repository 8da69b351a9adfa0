//! A resource as a list of what it says, read from JSON and from XML by the rules of R4 (json.html, xml.html): two documents
//! are the same resource when their lists are the same.

use roxmltree::{Document, Node};
use serde_json::{Map, Value};

/// Where something stands, and what it is. Each step of the path has its place among those of its name.
type Said = Vec<(String, String)>;

/// What a resource in JSON says.
pub fn said_by_json(resource: &Value) -> Said {
    let mut said = Said::new();
    object(&mut said, resource.as_object().unwrap(), "");
    said.sort();
    said
}

fn object(said: &mut Said, members: &Map<String, Value>, path: &str) {
    let path = match members.get("resourceType") {
        Some(kind) => format!("{path}/{}[0]", kind.as_str().unwrap()),
        None => path.to_owned(),
    };
    let is_extension = path.rsplit('/').next().unwrap().starts_with("extension[");
    for (name, value) in members {
        match name.as_str() {
            "resourceType" => {}
            "id" if !members.contains_key("resourceType") => said.push((format!("{path}@id"), text(value))),
            "url" if is_extension => said.push((format!("{path}@url"), text(value))),
            "div" => said.push((format!("{path}/div[0]"), text(value))),
            _ => {
                let many = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
                for (index, one) in many.iter().enumerate().filter(|(_, one)| !one.is_null()) {
                    let place = format!("{path}/{}[{index}]", name.trim_start_matches('_'));
                    match one {
                        Value::Object(members) => object(said, members, &place),
                        primitive => said.push((format!("{place}@value"), text(primitive))),
                    }
                }
            }
        }
    }
}

fn text(primitive: &Value) -> String {
    primitive.as_str().map_or_else(|| primitive.to_string(), str::to_owned)
}

/// What a resource in XML says.
pub fn said_by_xml(xml: &str) -> Said {
    let document = Document::parse(xml).unwrap_or_else(|error| panic!("{error}: {xml}"));
    let mut said = Said::new();
    let root = document.root_element();
    element(&mut said, xml, root, &format!("/{}[0]", root.tag_name().name()));
    said.sort();
    said
}

fn element(said: &mut Said, xml: &str, node: Node<'_, '_>, path: &str) {
    for attribute in node.attributes() {
        said.push((format!("{path}@{}", attribute.name()), attribute.value().to_owned()));
    }
    let mut names: Vec<&str> = Vec::new();
    for child in node.children().filter(Node::is_element) {
        let name = child.tag_name().name();
        let index = names.iter().filter(|other| **other == name).count();
        names.push(name);
        let place = format!("{path}/{name}[{index}]");
        if child.tag_name().namespace() == Some("http://hl7.org/fhir") {
            element(said, xml, child, &place);
        } else {
            said.push((place, xml[child.range()].to_owned()));
        }
    }
}
