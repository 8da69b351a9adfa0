//! Adds and replaces elements of a row of an archive. The bytes of the other elements do not change.

use std::borrow::Cow;

use bytes::Bytes;

use dicom_model::{Attributes, Tag, json, tag};
use json_members::Members;

/// An element as DICOM JSON (PS3.18 F.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::dicomweb) struct Element {
    pub(super) tag: Tag,
    /// The value in JSON: `{"vr":"UI","Value":["1.2"]}`.
    pub(super) text: String,
}

impl Element {
    /// Creates an element with `values`, each of which is JSON.
    pub(in crate::dicomweb) fn new(tag: Tag, vr: &str, values: &[String]) -> Self {
        Self { tag, text: format!("{{\"vr\":\"{vr}\",\"Value\":[{}]}}", values.join(",")) }
    }
}

/// Whether a row has a value for `tag`.
pub(super) fn has_value(attributes: &Attributes, tag: Tag) -> bool {
    attributes.get(tag).is_some_and(|element| !element.values.is_empty())
}

/// Inserts those of `elements` for which `row` has no value, in the order of the tags. `attributes` are those of `row`. Returns
/// `row` unchanged if it lacks none of them.
pub(super) fn add_missing(row: Bytes, attributes: &Attributes, elements: &[Element]) -> Bytes {
    let is_missing = |element: &&Element| !has_value(attributes, element.tag);
    let missing: Vec<_> = elements.iter().filter(is_missing).cloned().collect();
    if missing.is_empty() { row } else { set_elements(row, &missing) }
}

/// Sets `elements` in `row`, in the order of the tags. Returns `row` unchanged if it is malformed.
pub(in crate::dicomweb) fn set_elements(row: Bytes, elements: &[Element]) -> Bytes {
    let replaced = std::str::from_utf8(&row).ok().and_then(json::replace_unreadable);
    let text = replaced.as_deref().map_or(row.as_ref(), str::as_bytes);
    let Ok(Members(members)) = serde_json::from_slice::<Members<'_>>(text) else { return row };
    let mut members: Vec<(Cow<'_, str>, &str)> = members
        .into_iter()
        .map(|(name, value)| (name, value.get()))
        .filter(|(name, _)| !elements.iter().any(|element| tag::parse(name) == Some(element.tag)))
        .collect();
    for element in elements {
        let is_after =
            |(name, _): &(Cow<'_, str>, &str)| tag::parse(name).is_some_and(|other| other > element.tag);
        let index = members.iter().position(is_after).unwrap_or(members.len());
        members.insert(index, (tag::hex(element.tag).into(), &element.text));
    }
    let mut output = String::with_capacity(row.len() + 256);
    for (name, value) in members {
        output.push(if output.is_empty() { '{' } else { ',' });
        output.push_str(&serde_json::Value::from(name).to_string());
        output.push(':');
        output.push_str(value);
    }
    output.push('}');
    output.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicom_model::tags;

    fn add(row: &str, elements: &[Element]) -> String {
        let attributes = serde_json::from_str(row).unwrap();
        let row = add_missing(Bytes::copy_from_slice(row.as_bytes()), &attributes, elements);
        String::from_utf8(row.to_vec()).unwrap()
    }

    #[test]
    fn elements_are_inserted_in_the_order_of_tags_without_other_changes() {
        let study = Element::new(tags::STUDY_INSTANCE_UID, "UI", &["\"1.2\"".to_owned()]);
        let add = |row: &str| add(row, std::slice::from_ref(&study));
        let text = r#""0020000D":{"vr":"UI","Value":["1.2"]}"#;
        assert_eq!(add("{}"), format!("{{{text}}}"));
        assert_eq!(
            add(r#"{ "00080060":{"vr" : "CS","Value":["CT\u0041"]}, "0020000E":{"vr":"UI"},"Key":1 }"#),
            format!(
                r#"{{"00080060":{{"vr" : "CS","Value":["CT\u0041"]}},{text},"0020000E":{{"vr":"UI"}},"Key":1}}"#
            )
        );
        for empty in ["{\"vr\":\"UI\"}", "{\"vr\":\"UI\",\"Value\":[]}", "{\"Value\":[null]}"] {
            assert_eq!(add(&format!(r#"{{"0020000d":{empty}}}"#)), format!("{{{text}}}"), "{empty}");
        }
        let set = set_elements(
            Bytes::from_static(br#"{"0020000D":{"Value":["1.9"]},"Key":1}"#),
            std::slice::from_ref(&study),
        );
        assert_eq!(set, format!("{{\"Key\":1,{text}}}").as_bytes(), "another value is replaced");
        let complete = r#"{ "StudyInstanceUID": {"Value": ["1.9"]} }"#;
        assert_eq!(add(complete), complete);
    }
}
