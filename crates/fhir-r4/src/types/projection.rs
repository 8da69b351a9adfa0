//! Parts of a resource (R4 search#summary, search#elements): which of its elements are written.

use std::borrow::Cow;

use serde::Serializer as _;
use serde_json::value::{RawValue, to_raw_value};

use super::{Coding, Narrated};
use json_members::Members;

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
        "Patient" => &["active", "deceasedBoolean", "deceasedDateTime", "link"],
        "Endpoint" => &["extension", "status", "connectionType", "payloadType", "address"],
        _ => &[],
    }
}

/// The same of every resource.
const ALWAYS: [&str; 5] = ["resourceType", "id", "meta", "implicitRules", "modifierExtension"];

/// Elements at the root that R4 does not mark as summary elements.
fn beyond_summary(resource_type: &str) -> &'static [&'static str] {
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
        // SMART Imaging Access makes the extension mandatory, so it stays.
        "Endpoint" => &["language", "text", "contained", "contact", "header"],
        _ => &[],
    }
}

/// `resource` as JSON with the wanted elements only, tagged SUBSETTED where something may be missing.
///
/// The resource is written once and its members are then taken over as text, in their order: nothing below the root is read
/// into values, whatever its size. A narrative that was asked for is generated when the resource has none.
pub fn project<R: Narrated>(resource: &R, projection: Projection<'_>) -> serde_json::Result<Vec<u8>> {
    let whole = serde_json::to_vec(resource)?;
    if projection == Projection::Full {
        return Ok(whole);
    }
    let Members(members) = serde_json::from_slice(&whole)?;
    let text_of =
        |name: &str| members.iter().find(|(member, _)| member == name).map(|(_, value)| value.get());
    if projection == Projection::Data && text_of("text").is_none() {
        return Ok(whole);
    }
    let resource_type: &str = match text_of("resourceType") {
        Some(text) => serde_json::from_str(text)?,
        None => "",
    };
    let meta = subsetted(text_of("meta"))?;
    let mut kept: Vec<(&str, Cow<'_, RawValue>)> = Vec::with_capacity(members.len() + 2);
    for (name, value) in &members {
        // What stands beside a primitive element goes with it.
        let element = name.strip_prefix('_').unwrap_or(name);
        let is_wanted = match projection {
            Projection::Full => true,
            Projection::Data => element != "text",
            Projection::Text => element == "text" || is_always_wanted(resource_type, element),
            Projection::Elements(names) => {
                is_always_wanted(resource_type, element) || names.contains(&element)
            }
            Projection::Summary => !beyond_summary(resource_type).contains(&element),
        };
        if element == "meta" || !is_wanted {
            continue;
        }
        let value = match element {
            "series" if projection == Projection::Summary => Cow::Owned(summary_of(value)?),
            _ => Cow::Borrowed(*value),
        };
        kept.push((name, value));
    }
    // R4 resource.html, domainresource.html: meta stands behind the id, the narrative behind what every resource has.
    put_behind(&mut kept, &["resourceType", "id"], "meta", meta);
    if projection == Projection::Text && text_of("text").is_none() {
        let head = ["resourceType", "id", "meta", "implicitRules", "_implicitRules"];
        put_behind(&mut kept, &head, "text", to_raw_value(&resource.narrative())?);
    }
    let mut subset = Vec::with_capacity(whole.len());
    serde_json::Serializer::new(&mut subset).collect_map(kept)?;
    Ok(subset)
}

fn put_behind<'a>(
    members: &mut Vec<(&'a str, Cow<'a, RawValue>)>,
    head: &[&str],
    name: &'a str,
    value: Box<RawValue>,
) {
    let place = members.iter().take_while(|(name, _)| head.contains(name)).count();
    members.insert(place, (name, Cow::Owned(value)));
}

fn is_always_wanted(resource_type: &str, name: &str) -> bool {
    ALWAYS.contains(&name) || mandatory(resource_type).contains(&name)
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

/// R4 imagingstudy.html: of a series its instances are no summary elements.
fn summary_of(series: &RawValue) -> serde_json::Result<Box<RawValue>> {
    let mut series: Vec<Members<'_>> = serde_json::from_str(series.get())?;
    for Members(members) in &mut series {
        members.retain(|(name, _)| !matches!(name.as_ref(), "id" | "extension" | "instance"));
    }
    to_raw_value(&series)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::needless_pass_by_value, reason = "json! makes values to be given away")]

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

    fn text(resource: &impl Narrated, projection: Projection<'_>) -> String {
        String::from_utf8(project(resource, projection).unwrap()).unwrap()
    }

    fn value(resource: &impl Narrated, projection: Projection<'_>) -> Value {
        serde_json::from_str(&text(resource, projection)).unwrap()
    }

    fn projected(projection: Projection<'_>) -> Value {
        value(&study(json!({})), projection)
    }

    fn names(value: &Value) -> Vec<&str> {
        value.as_object().unwrap().keys().map(String::as_str).collect()
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
        assert_eq!(
            names(&projected(Projection::Elements(&["started"]))),
            ["id", "meta", "resourceType", "started", "status", "subject"]
        );
        assert_eq!(
            names(&projected(Projection::Text)),
            ["id", "meta", "resourceType", "status", "subject", "text"]
        );
    }

    #[test]
    fn the_whole_is_not_tagged() {
        assert_eq!(projected(Projection::Data)["meta"].get("tag"), None);
        assert_eq!(projected(Projection::Full)["series"][0]["instance"][0]["uid"], "1.2.3.4");
    }

    #[test]
    fn a_narrative_is_there_when_it_is_asked_for_and_not_when_it_is_not() {
        let told = study(json!({"text": {"status": "additional", "div": "<div>own</div>"}}));
        let of = |projection| value(&told, projection);
        assert_eq!(of(Projection::Full)["text"]["div"], "<div>own</div>");
        assert_eq!(of(Projection::Text)["text"]["div"], "<div>own</div>");
        assert_eq!(of(Projection::Elements(&["text"]))["text"]["status"], "additional");
        for without in [Projection::Data, Projection::Summary, Projection::Elements(&["started"])] {
            assert_eq!(of(without).get("text"), None, "{without:?}");
            assert_eq!(of(without)["meta"]["tag"][0]["code"], "SUBSETTED");
        }
        assert_eq!(projected(Projection::Text)["text"]["status"], "generated");
        assert_eq!(projected(Projection::Full).get("text"), None);
    }

    #[test]
    fn a_subset_keeps_the_order_of_the_specification() {
        let patient = Patient {
            id: "a".to_owned(),
            active: Some(true),
            birth_date: Some("2000".to_owned()),
            ..Patient::default()
        };
        let tag = r#""meta":{"tag":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}]}"#;
        let whole =
            format!(r#"{{"resourceType":"Patient","id":"a",{tag},"active":true,"birthDate":"2000"}}"#);
        assert_eq!(text(&patient, Projection::Summary), whole);
        assert_eq!(text(&patient, Projection::Elements(&["birthDate", "nothing"])), whole);
        let told = text(&patient, Projection::Text);
        let begin = format!(
            r#"{{"resourceType":"Patient","id":"a",{tag},"text":{{"status":"generated","div":"<div "#
        );
        assert!(told.starts_with(&begin) && told.ends_with(r#"},"active":true}"#), "{told}");
    }

    #[test]
    fn what_stands_beside_an_element_goes_with_it() {
        let patient = json!({
            "resourceType": "Patient", "gender": "male", "birthDate": "2000",
            "_birthDate": {"id": "b"}, "_gender": {"id": "g"},
        });
        let patient: Patient = serde_json::from_value(patient).unwrap();
        let elements = value(&patient, Projection::Elements(&["birthDate"]));
        assert_eq!(names(&elements), ["_birthDate", "birthDate", "meta", "resourceType"]);
    }

    #[test]
    fn tags_that_were_there_stay() {
        let tagged = json!({"resourceType": "Endpoint", "meta": {"tag": [{"code": "x"}]}, "status": "active",
            "connectionType": {"code": "y"}});
        let tagged: Endpoint = serde_json::from_value(tagged).unwrap();
        let subset = value(&tagged, Projection::Text);
        assert_eq!(subset["meta"]["tag"][0]["code"], "x");
        assert_eq!(subset["meta"]["tag"][1]["code"], "SUBSETTED");
    }
}
