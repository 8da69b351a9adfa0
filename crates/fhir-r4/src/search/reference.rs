//! Parses and compares references (R4 search#reference): `id`, `Type/id`, or an absolute URL. URLs below the base URL of this
//! server are local. This module does not resolve references.

use super::alternatives::{self, unescape};
use super::{ParseContext, ResourceType};
use crate::id::is_id;
use crate::types::Reference;

/// The target that a reference must have.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ReferenceMatch {
    /// A resource of this server.
    Local {
        /// Its type; `None` for any type that the parameter can refer to.
        resource_type: Option<String>,
        /// Its id.
        id: String,
    },
    /// A resource on another server, by its URL.
    External(String),
}

impl ReferenceMatch {
    /// Returns the id, if the target can be a local resource of type `expected`.
    pub fn id_of(&self, expected: ResourceType) -> Option<&str> {
        match self {
            Self::Local { resource_type, id } => {
                resource_type.as_deref().is_none_or(|name| name == expected.name()).then_some(id)
            }
            Self::External(_) => None,
        }
    }

    /// Whether `reference` refers to this target. References to local resources are relative, so they are valid at
    /// every base URL of this server.
    pub(super) fn matches(&self, targets: &[&str], reference: &Reference) -> bool {
        let Some(reference) = reference.reference.as_deref() else { return false };
        match self {
            Self::Local { resource_type, id } => {
                reference.split_once('/').is_some_and(|(target_type, target_id)| {
                    let is_type = resource_type
                        .as_deref()
                        .map_or(targets.contains(&target_type), |expected| expected == target_type);
                    target_id == id && is_type
                })
            }
            Self::External(url) => reference == url,
        }
    }
}

/// A reference, and whether it contains a version, which is ignored: the current version is used (R4 search#versions).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ParsedReference {
    pub(super) target: ReferenceMatch,
    pub(super) has_version: bool,
}

/// Parses the alternatives of a value; `modifier` is the resource type in the modifier, if there is one.
pub(super) fn parse_all(
    value: &str,
    modifier: Option<&str>,
    context: &ParseContext<'_>,
) -> Result<Vec<ParsedReference>, String> {
    alternatives::parse_each(value, |text| parse(&unescape(text), modifier, context))
}

fn parse(text: &str, modifier: Option<&str>, context: &ParseContext<'_>) -> Result<ParsedReference, String> {
    let expected = || "expected a reference as id, Type/id, or the absolute URL of a resource".to_owned();
    let relative = match text.strip_prefix(context.base).and_then(|rest| rest.strip_prefix('/')) {
        // An id without a type is not a URL of a resource.
        Some(relative) if relative.contains('/') => relative,
        _ if text.contains("://") || text.starts_with("urn:") => {
            if modifier.is_some() {
                return Err("a URL on another server cannot be combined with a type modifier".to_owned());
            }
            let is_valid = !text.contains(char::is_whitespace);
            let external =
                ParsedReference { target: ReferenceMatch::External(text.to_owned()), has_version: false };
            return is_valid.then_some(external).ok_or_else(expected);
        }
        _ => text,
    };
    let (current, has_version) = match relative.split_once("/_history/") {
        Some((current, version)) if is_id(version) && current.contains('/') => (current, true),
        Some(_) => return Err(expected()),
        None => (relative, false),
    };
    let (resource_type, id) = match current.split_once('/') {
        Some((resource_type, id)) => (Some(resource_type), id),
        None => (modifier, current),
    };
    let is_type = |name: &str| {
        name.starts_with(|first: char| first.is_ascii_uppercase())
            && name.bytes().all(|byte| byte.is_ascii_alphabetic())
    };
    if !is_id(id) || !resource_type.is_none_or(is_type) {
        return Err(expected());
    }
    if let (Some(expected_type), Some(resource_type)) = (modifier, resource_type)
        && expected_type != resource_type
    {
        return Err(format!("expected a reference to {expected_type}, the type in the modifier"));
    }
    let target = ReferenceMatch::Local { resource_type: resource_type.map(str::to_owned), id: id.to_owned() };
    Ok(ParsedReference { target, has_version })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::Handling;

    const CONTEXT: ParseContext<'static> = ParseContext {
        base: "https://h/x/fhir",
        handling: Handling::Lenient,
        default_count: 50,
        max_count: 200,
        is_uid: |_| false,
        is_other_uid: |_| false,
    };

    fn parse_target(text: &str) -> Result<ReferenceMatch, String> {
        parse(text, None, &CONTEXT).map(|parsed| parsed.target)
    }

    fn matches(text: &str, reference: &str) -> bool {
        let reference = Reference { reference: Some(reference.to_owned()), ..Reference::default() };
        parse_target(text).unwrap().matches(&["Patient", "Group"], &reference)
    }

    #[test]
    fn relative_and_absolute_forms_refer_to_the_same_patient() {
        for reference in [
            "a1",
            "Patient/a1",
            "https://h/x/fhir/Patient/a1",
            "Patient/a1/_history/3",
            "https://h/x/fhir/Patient/a1/_history/3",
        ] {
            assert!(matches(reference, "Patient/a1"), "{reference}");
            assert!(!matches(reference, "Patient/a2") && !matches(reference, "Device/a1"), "{reference}");
            assert_eq!(
                parse_target(reference).unwrap().id_of(ResourceType::Patient),
                Some("a1"),
                "{reference}"
            );
        }
        assert!(
            matches("a1", "Group/a1"),
            "an id without a type can have any type that the parameter can refer to"
        );
    }

    #[test]
    fn other_types_and_other_servers_are_accepted_and_match_no_local_resource() {
        for other in [
            "Practitioner/a1",
            "https://other/fhir/Patient/a1",
            "https://h/x/fhirx/Patient/a1",
            "https://h/x/fhir/a1",
            "urn:uuid:1",
        ] {
            assert!(!matches(other, "Patient/a1"), "{other}");
            assert_eq!(parse_target(other).unwrap().id_of(ResourceType::Patient), None, "{other}");
        }
        assert!(matches("https://other/fhir/Patient/a1", "https://other/fhir/Patient/a1"));
    }

    #[test]
    fn version_is_ignored_and_reported() {
        assert!(parse("Patient/a/_history/1", None, &CONTEXT).unwrap().has_version);
        assert!(!parse("Patient/a", None, &CONTEXT).unwrap().has_version);
    }

    #[test]
    fn type_modifier_determines_the_type() {
        let typed = |text| parse(text, Some("Patient"), &CONTEXT).map(|parsed| parsed.target);
        assert_eq!(typed("a"), parse_target("Patient/a"));
        assert_eq!(typed("Patient/a"), parse_target("Patient/a"));
        for invalid in ["Group/a", "https://other/fhir/Patient/a"] {
            assert!(typed(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn invalid_reference_is_rejected() {
        for invalid in [
            "Patient/",
            "patient/a1",
            "a 1",
            "Patient/a/b",
            "/Patient/a",
            "a*",
            "a?",
            "P*/a",
            "a1/_history/3",
            "Patient/a1/_history/",
            "Patient/a1/_history/3/4",
            "http://a b/c",
        ] {
            assert!(parse_target(invalid).is_err(), "{invalid}");
        }
    }
}
