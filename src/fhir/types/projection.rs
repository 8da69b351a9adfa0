//! Parts of a resource (R4 search#summary, search#elements): which of its elements are written.

use std::borrow::Cow;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use super::Coding;
use super::element::Name;

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
///
/// The resource is written once and its members are then taken over as text, in their order: nothing below the root is read
/// into values, whatever its size.
pub fn project<T: Serialize>(resource: &T, projection: Projection<'_>) -> serde_json::Result<Vec<u8>> {
    let whole = serde_json::to_vec(resource)?;
    // Nothing that is emitted has a narrative, so all but the narrative is all.
    if matches!(projection, Projection::Full | Projection::Data) {
        return Ok(whole);
    }
    let Members(members) = serde_json::from_slice(&whole)?;
    let text_of =
        |name: &str| members.iter().find(|(member, _)| member == name).map(|(_, value)| value.get());
    let resource_type: &str = match text_of("resourceType") {
        Some(text) => serde_json::from_str(text)?,
        None => "",
    };
    let meta = subsetted(text_of("meta"))?;
    let mut kept = Vec::with_capacity(members.len() + 1);
    for (name, value) in &members {
        let name = name.as_ref();
        let is_wanted = match projection {
            Projection::Full | Projection::Data => true,
            Projection::Text => is_always_wanted(resource_type, name),
            Projection::Elements(names) => is_always_wanted(resource_type, name) || names.contains(&name),
            Projection::Summary => !beyond_summary(resource_type).contains(&name),
        };
        if name == "meta" || !is_wanted {
            continue;
        }
        let value = match name {
            "series" if projection == Projection::Summary => Cow::Owned(without_instances(value)?),
            _ => Cow::Borrowed(*value),
        };
        kept.push((name, value));
    }
    // R4 resource.html: after the type and the id.
    let place = kept.iter().take_while(|(name, _)| matches!(*name, "resourceType" | "id")).count();
    kept.insert(place, ("meta", Cow::Owned(meta)));
    let mut subset = Vec::with_capacity(whole.len());
    serde_json::Serializer::new(&mut subset).collect_map(kept)?;
    Ok(subset)
}

fn is_always_wanted(resource_type: &str, name: &str) -> bool {
    matches!(name, "resourceType" | "id" | "meta") || mandatory(resource_type).contains(&name)
}

/// `meta` with the tag of a subset behind what it holds (R4 search#summary).
fn subsetted(meta: Option<&str>) -> serde_json::Result<Box<RawValue>> {
    let tag = Coding::new("http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "SUBSETTED", None);
    let Members(mut members) = match meta {
        Some(text) => serde_json::from_str(text)?,
        None => Members(Vec::new()),
    };
    let present = members.iter().position(|(name, _)| name == "tag").map(|place| members.remove(place).1);
    let mut tags: Vec<&RawValue> = match present {
        Some(tags) => serde_json::from_str(tags.get())?,
        None => Vec::new(),
    };
    let tag = to_raw_value(&tag)?;
    tags.push(&tag);
    let tags = to_raw_value(&tags)?;
    members.push((Cow::Borrowed("tag"), &tags));
    to_raw_value(&Members(members))
}

/// R4 imagingstudy.html: of a series only its instances are no summary elements.
fn without_instances(series: &RawValue) -> serde_json::Result<Box<RawValue>> {
    let mut series: Vec<Members<'_>> = serde_json::from_str(series.get())?;
    for Members(members) in &mut series {
        members.retain(|(name, _)| name != "instance");
    }
    to_raw_value(&series)
}

/// The members of an object in their order, each value as the text that it is.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Members<'de>, A::Error> {
                let mut kept = Vec::new();
                while let Some(Name(name)) = members.next_key()? {
                    kept.push((name, members.next_value()?));
                }
                Ok(Members(kept))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

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
    fn a_subset_keeps_the_order_of_the_specification() {
        let resource = OneOf { resource_type: "Patient", id: "a", name: [1], birth_date: "2000" };
        let text = |projection| String::from_utf8(project(&resource, projection).unwrap()).unwrap();
        let tag = r#""meta":{"tag":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}]}"#;
        assert_eq!(
            text(Projection::Summary),
            format!(r#"{{"resourceType":"Patient","id":"a",{tag},"name":[1],"birthDate":"2000"}}"#)
        );
        assert_eq!(
            text(Projection::Elements(&["birthDate", "nothing"])),
            format!(r#"{{"resourceType":"Patient","id":"a",{tag},"birthDate":"2000"}}"#)
        );
    }

    #[test]
    fn tags_that_were_there_stay() {
        let tagged = json!({"resourceType": "Patient", "meta": {"tag": [{"code": "x"}]}});
        let subset: Value = serde_json::from_slice(&project(&tagged, Projection::Text).unwrap()).unwrap();
        assert_eq!(subset["meta"]["tag"][0]["code"], "x");
        assert_eq!(subset["meta"]["tag"][1]["code"], "SUBSETTED");
    }

    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct OneOf {
        resource_type: &'static str,
        id: &'static str,
        name: [u8; 1],
        birth_date: &'static str,
    }
}
