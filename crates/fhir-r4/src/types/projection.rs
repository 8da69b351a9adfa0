//! Writes a subset of a resource (R4 search#summary, search#elements). This module does not know about search requests.

use std::borrow::Cow;

use serde::Serializer as _;
use serde_json::value::{RawValue, to_raw_value};

use super::{Coding, HasNarrative};
use json_members::Members;

/// The subset of elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementSubset<'a> {
    /// All elements.
    Full,
    /// The summary elements of R4.
    Summary,
    /// The narrative, id, meta, and mandatory elements.
    Text,
    /// All elements except the narrative.
    Data,
    /// These root elements, and mandatory elements.
    Elements(&'a [&'a str]),
}

/// Returns the elements that are always written, because they are mandatory or change the meaning of other elements.
fn mandatory_elements(resource_type: &str) -> &'static [&'static str] {
    match resource_type {
        "ImagingStudy" => &["status", "subject"],
        "Patient" => &["active", "deceasedBoolean", "deceasedDateTime", "link"],
        "Endpoint" => &["extension", "status", "connectionType", "payloadType", "address"],
        _ => &[],
    }
}

/// The elements of every resource type that are always written.
const ALWAYS_SELECTED: [&str; 5] = ["resourceType", "id", "meta", "implicitRules", "modifierExtension"];

/// Returns the root elements that are not summary elements in R4.
fn non_summary_elements(resource_type: &str) -> &'static [&'static str] {
    match resource_type {
        "ImagingStudy" => &["language", "text", "contained", "extension"],
        "Patient" => &[
            "language",
            "text",
            "contained",
            "extension",
            "maritalStatus",
            "multipleBirthBoolean",
            "multipleBirthInteger",
            "photo",
            "contact",
            "communication",
            "generalPractitioner",
        ],
        // The extension is not listed, because SMART Imaging Access makes it mandatory.
        "Endpoint" => &["language", "text", "contained", "contact", "header"],
        _ => &[],
    }
}

/// Writes `resource` as JSON with only the selected elements, tagged SUBSETTED if elements may be missing.
///
/// The resource is serialized once, and its members are copied as raw text in their order; only root members are parsed. A
/// requested narrative is generated if the resource does not have one.
pub fn project<R: HasNarrative>(resource: &R, projection: ElementSubset<'_>) -> serde_json::Result<Vec<u8>> {
    let complete = serde_json::to_vec(resource)?;
    if projection == ElementSubset::Full {
        return Ok(complete);
    }
    let Members(members) = serde_json::from_slice(&complete)?;
    let text_of =
        |name: &str| members.iter().find(|(member, _)| member == name).map(|(_, value)| value.get());
    if projection == ElementSubset::Data && text_of("text").is_none() {
        return Ok(complete);
    }
    let resource_type: &str = match text_of("resourceType") {
        Some(text) => serde_json::from_str(text)?,
        None => "",
    };
    let meta = tag_as_subset(text_of("meta"))?;
    let mut selected: Vec<(&str, Cow<'_, RawValue>)> = Vec::with_capacity(members.len() + 2);
    for (name, value) in &members {
        // The sibling member of a primitive element is selected with it.
        let element = name.strip_prefix('_').unwrap_or(name);
        let is_selected = match projection {
            ElementSubset::Full => true,
            ElementSubset::Data => element != "text",
            ElementSubset::Text => element == "text" || is_always_selected(resource_type, element),
            ElementSubset::Elements(names) => {
                is_always_selected(resource_type, element) || names.contains(&element)
            }
            ElementSubset::Summary => !non_summary_elements(resource_type).contains(&element),
        };
        if element == "meta" || !is_selected {
            continue;
        }
        let value = match element {
            "series" if projection == ElementSubset::Summary => Cow::Owned(summarize_series(value)?),
            _ => Cow::Borrowed(*value),
        };
        selected.push((name, value));
    }
    // The meta follows the id, and the narrative follows the elements of every resource (R4 resource.html, domainresource.html).
    insert_after(&mut selected, &["resourceType", "id"], "meta", meta);
    if projection == ElementSubset::Text && text_of("text").is_none() {
        let head = ["resourceType", "id", "meta", "implicitRules", "_implicitRules"];
        insert_after(&mut selected, &head, "text", to_raw_value(&resource.narrative())?);
    }
    let mut subset = Vec::with_capacity(complete.len());
    serde_json::Serializer::new(&mut subset).collect_map(selected)?;
    Ok(subset)
}

fn insert_after<'a>(
    members: &mut Vec<(&'a str, Cow<'a, RawValue>)>,
    head: &[&str],
    name: &'a str,
    value: Box<RawValue>,
) {
    let index = members.iter().take_while(|(name, _)| head.contains(name)).count();
    members.insert(index, (name, Cow::Owned(value)));
}

fn is_always_selected(resource_type: &str, name: &str) -> bool {
    ALWAYS_SELECTED.contains(&name) || mandatory_elements(resource_type).contains(&name)
}

/// Appends the tag SUBSETTED to `meta` (R4 search#summary), unless it is present already.
fn tag_as_subset(meta: Option<&str>) -> serde_json::Result<Box<RawValue>> {
    let Members(mut members) = match meta {
        Some(text) => serde_json::from_str(text)?,
        None => Members(Vec::new()),
    };
    let existing = members.iter().position(|(name, _)| name == "tag").map(|index| members.remove(index).1);
    let mut tags: Vec<&RawValue> = match existing {
        Some(tags) => serde_json::from_str(tags.get())?,
        None => Vec::new(),
    };
    let tag = to_raw_value(&Coding::subsetted())?;
    if tags.iter().all(|existing| existing.get() != tag.get()) {
        tags.push(&tag);
    }
    let tags = to_raw_value(&tags)?;
    members.push((Cow::Borrowed("tag"), &tags));
    to_raw_value(&Members(members))
}

/// Removes the elements of series that are not summary elements (R4 imagingstudy.html).
fn summarize_series(series: &RawValue) -> serde_json::Result<Box<RawValue>> {
    let mut series: Vec<Members<'_>> = serde_json::from_str(series.get())?;
    for Members(members) in &mut series {
        members.retain(|(name, _)| !matches!(name.as_ref(), "id" | "extension" | "instance"));
    }
    to_raw_value(&series)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::needless_pass_by_value, reason = "json! returns values that are passed by value")]

    use super::super::{Endpoint, ImagingStudy, Patient};
    use super::*;
    use serde_json::{Value, json};

    fn study(members: Value) -> ImagingStudy {
        let mut study = json!({
            "resourceType": "ImagingStudy", "id": "1.2", "meta": {"profile": ["p"]}, "status": "available",
            "subject": {"reference": "Patient/a"}, "started": "2024", "description": "x",
            "series": [{"uid": "1.2.3", "modality": {"code": "CT"}, "instance": [{"uid": "1.2.3.4", "sopClass": {"code": "x"}}]}],
        });
        study.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        serde_json::from_value(study).unwrap()
    }

    fn text(resource: &impl HasNarrative, projection: ElementSubset<'_>) -> String {
        String::from_utf8(project(resource, projection).unwrap()).unwrap()
    }

    fn value(resource: &impl HasNarrative, projection: ElementSubset<'_>) -> Value {
        serde_json::from_str(&text(resource, projection)).unwrap()
    }

    fn projected(projection: ElementSubset<'_>) -> Value {
        value(&study(json!({})), projection)
    }

    fn names(value: &Value) -> Vec<&str> {
        value.as_object().unwrap().keys().map(String::as_str).collect()
    }

    #[test]
    fn summary_omits_instances_and_is_tagged() {
        let summary = projected(ElementSubset::Summary);
        assert_eq!(summary["series"][0].get("instance"), None);
        assert_eq!(summary["description"], "x");
        assert_eq!(summary["meta"]["tag"][0]["code"], "SUBSETTED");
        assert_eq!(summary["meta"]["profile"][0], "p");
    }

    #[test]
    fn mandatory_elements_are_always_written() {
        assert_eq!(
            names(&projected(ElementSubset::Elements(&["started"]))),
            ["id", "meta", "resourceType", "started", "status", "subject"]
        );
        assert_eq!(
            names(&projected(ElementSubset::Text)),
            ["id", "meta", "resourceType", "status", "subject", "text"]
        );
    }

    #[test]
    fn complete_resource_is_not_tagged() {
        assert_eq!(projected(ElementSubset::Data)["meta"].get("tag"), None);
        assert_eq!(projected(ElementSubset::Full)["series"][0]["instance"][0]["uid"], "1.2.3.4");
    }

    #[test]
    fn narrative_is_written_if_and_only_if_it_is_requested() {
        let study = study(json!({"text": {"status": "additional", "div": "<div>own</div>"}}));
        let subset = |projection| value(&study, projection);
        assert_eq!(subset(ElementSubset::Full)["text"]["div"], "<div>own</div>");
        assert_eq!(subset(ElementSubset::Text)["text"]["div"], "<div>own</div>");
        assert_eq!(subset(ElementSubset::Elements(&["text"]))["text"]["status"], "additional");
        for without in [ElementSubset::Data, ElementSubset::Summary, ElementSubset::Elements(&["started"])] {
            assert_eq!(subset(without).get("text"), None, "{without:?}");
            assert_eq!(subset(without)["meta"]["tag"][0]["code"], "SUBSETTED");
        }
        assert_eq!(projected(ElementSubset::Text)["text"]["status"], "generated");
        assert_eq!(projected(ElementSubset::Full).get("text"), None);
    }

    #[test]
    fn subset_keeps_the_order_of_the_specification() {
        let patient = Patient {
            id: "a".to_owned(),
            active: Some(true),
            birth_date: Some("2000".to_owned()),
            ..Patient::default()
        };
        let tag = r#""meta":{"tag":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}]}"#;
        let complete =
            format!(r#"{{"resourceType":"Patient","id":"a",{tag},"active":true,"birthDate":"2000"}}"#);
        assert_eq!(text(&patient, ElementSubset::Summary), complete);
        assert_eq!(text(&patient, ElementSubset::Elements(&["birthDate", "nothing"])), complete);
        let narrative = text(&patient, ElementSubset::Text);
        let begin = format!(
            r#"{{"resourceType":"Patient","id":"a",{tag},"text":{{"status":"generated","div":"<div "#
        );
        assert!(narrative.starts_with(&begin) && narrative.ends_with(r#"},"active":true}"#), "{narrative}");
    }

    #[test]
    fn sibling_member_is_selected_with_its_element() {
        let patient = json!({
            "resourceType": "Patient", "gender": "male", "birthDate": "2000",
            "_birthDate": {"id": "b"}, "_gender": {"id": "g"},
        });
        let patient: Patient = serde_json::from_value(patient).unwrap();
        let elements = value(&patient, ElementSubset::Elements(&["birthDate"]));
        assert_eq!(names(&elements), ["_birthDate", "birthDate", "meta", "resourceType"]);
    }

    #[test]
    fn existing_tags_are_preserved() {
        let tagged = json!({"resourceType": "Endpoint", "meta": {"tag": [{"code": "x"}]}, "status": "active",
            "connectionType": {"code": "y"}});
        let tagged: Endpoint = serde_json::from_value(tagged).unwrap();
        let subset = value(&tagged, ElementSubset::Text);
        assert_eq!(subset["meta"]["tag"][0]["code"], "x");
        assert_eq!(subset["meta"]["tag"][1]["code"], "SUBSETTED");
    }
}
