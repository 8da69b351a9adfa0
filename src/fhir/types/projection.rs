//! Parts of a resource (R4 search#summary, search#elements): which of its elements are written.

use serde::Serialize;
use serde_json::{Map, Value};

/// Which elements are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projection<'a> {
    /// All.
    Full,
    /// Those that R4 marks as summary elements.
    Summary,
    /// The narrative, id, meta, and what must be there.
    Text,
    /// All but the narrative.
    Data,
    /// These at the root, and what must be there.
    Elements(&'a [&'a str]),
}

/// What must be there, or changes the meaning of the rest, whatever was asked for.
fn mandatory(resource_type: &str) -> &'static [&'static str] {
    match resource_type {
        "ImagingStudy" => &["status", "subject"],
        "Endpoint" => &["extension", "status", "connectionType", "payloadType", "address"],
        _ => &[],
    }
}

/// Elements at the root that R4 does not mark as summary elements, of those that are emitted.
fn beyond_summary(resource_type: &str) -> &'static [&'static str] {
    match resource_type {
        "ImagingStudy" | "Patient" => &["text", "contained", "extension"],
        // SMART Imaging Access makes the extension mandatory, so it stays.
        "Endpoint" => &["text", "contained"],
        _ => &[],
    }
}

/// `resource` as JSON with the wanted elements only, tagged SUBSETTED where something may be missing.
pub fn project<T: Serialize>(resource: &T, projection: Projection<'_>) -> serde_json::Result<Vec<u8>> {
    // Nothing that is emitted has a narrative, so all but the narrative is all.
    if matches!(projection, Projection::Full | Projection::Data) {
        return serde_json::to_vec(resource);
    }
    let Value::Object(mut members) = serde_json::to_value(resource)? else {
        return serde_json::to_vec(resource);
    };
    let resource_type = members.get("resourceType").and_then(Value::as_str).unwrap_or_default().to_owned();
    let always = |name: &str| {
        matches!(name, "resourceType" | "id" | "meta") || mandatory(&resource_type).contains(&name)
    };
    match projection {
        Projection::Full | Projection::Data => {}
        Projection::Text => members.retain(|name, _| always(name)),
        Projection::Elements(names) => {
            members.retain(|name, _| always(name) || names.contains(&name.as_str()));
        }
        Projection::Summary => {
            members.retain(|name, _| !beyond_summary(&resource_type).contains(&name.as_str()));
            for series in members.get_mut("series").and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(series) = series.as_object_mut() {
                    series.retain(|name, _| name != "instance");
                }
            }
        }
    }
    tag_subsetted(&mut members);
    serde_json::to_vec(&in_order(members))
}

/// R4 search#summary: a subset says that it is one.
fn tag_subsetted(members: &mut Map<String, Value>) {
    let tag = serde_json::json!({
        "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
        "code": "SUBSETTED",
    });
    let meta = members.entry("meta").or_insert_with(|| Value::Object(Map::new()));
    if let Some(meta) = meta.as_object_mut() {
        let tags = meta.entry("tag").or_insert_with(|| Value::Array(Vec::new()));
        if let Some(tags) = tags.as_array_mut() {
            tags.push(tag);
        }
    }
}

/// The type first, as people expect it.
fn in_order(members: Map<String, Value>) -> impl Serialize {
    struct Ordered(Map<String, Value>);

    impl Serialize for Ordered {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let first = ["resourceType", "id", "meta"];
            let head = first.iter().filter_map(|name| self.0.get_key_value(*name));
            let rest = self.0.iter().filter(|(name, _)| !first.contains(&name.as_str()));
            serializer.collect_map(head.chain(rest))
        }
    }

    Ordered(members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn projected(projection: Projection<'_>) -> Value {
        let study = json!({
            "resourceType": "ImagingStudy", "id": "1.2", "meta": {"profile": ["p"]}, "status": "available",
            "subject": {"reference": "Patient/a"}, "started": "2024", "description": "x",
            "series": [{"uid": "1.2.3", "modality": {"code": "CT"}, "instance": [{"uid": "1.2.3.4"}]}],
        });
        serde_json::from_slice(&project(&study, projection).unwrap()).unwrap()
    }

    #[test]
    fn a_summary_leaves_instances_out_and_says_so() {
        let summary = projected(Projection::Summary);
        assert_eq!(summary["series"][0].get("instance"), None);
        assert_eq!(summary["description"], "x");
        assert_eq!(summary["meta"]["tag"][0]["code"], "SUBSETTED");
        assert_eq!(summary["meta"]["profile"][0], "p");
    }

    #[test]
    fn what_must_be_there_always_is() {
        let names = |value: Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(
            names(projected(Projection::Elements(&["started"]))),
            ["id", "meta", "resourceType", "started", "status", "subject"]
        );
        assert_eq!(names(projected(Projection::Text)), ["id", "meta", "resourceType", "status", "subject"]);
    }

    #[test]
    fn the_whole_is_not_tagged() {
        assert_eq!(projected(Projection::Data)["meta"].get("tag"), None);
        assert_eq!(projected(Projection::Full)["series"][0]["instance"][0]["uid"], "1.2.3.4");
    }

    #[test]
    fn the_type_comes_first() {
        let text =
            project(&json!({"resourceType": "Patient", "birthDate": "2000"}), Projection::Summary).unwrap();
        assert!(text.starts_with(br#"{"resourceType":"Patient","meta":"#));
    }
}
