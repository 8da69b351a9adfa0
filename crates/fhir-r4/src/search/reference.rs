//! Parses and compares references (R4 search#reference): `id`, `Type/id`, or an absolute URL. URLs below the base URL of this
//! server are local. This module does not resolve references.

use super::alternatives::{self, unescape};
use super::{Context, ResourceType};
use crate::id::is_id;
use crate::types::Reference;

/// The target that a reference must have.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ReferenceMatch {
    /// A resource of this server.
    Own {
        /// Its type; `None` for any type that the parameter can refer to.
        kind: Option<String>,
        /// Its id.
        id: String,
    },
    /// A resource on another server, by its URL.
    Foreign(String),
}

impl ReferenceMatch {
    /// Returns the id, if the target can be a local resource of type `expected`.
    pub fn id_of(&self, expected: ResourceType) -> Option<&str> {
        match self {
            Self::Own { kind, id } => {
                kind.as_deref().is_none_or(|kind| kind == expected.name()).then_some(id)
            }
            Self::Foreign(_) => None,
        }
    }

    /// Whether `reference` refers to this target. References to local resources are relative, so they are valid at
    /// every base URL of this server.
    pub(super) fn is(&self, targets: &[&str], reference: &Reference) -> bool {
        let Some(reference) = reference.reference.as_deref() else { return false };
        match self {
            Self::Own { kind, id } => reference.split_once('/').is_some_and(|(named, named_id)| {
                named_id == id && kind.as_deref().map_or(targets.contains(&named), |kind| kind == named)
            }),
            Self::Foreign(address) => reference == address,
        }
    }
}

/// A reference, and whether it contains a version, which is ignored: the current version is used (R4 search#versions).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) target: ReferenceMatch,
    pub(super) has_version: bool,
}

/// Parses the alternatives of a value; `kind` is the type in the modifier.
pub(super) fn parse_all(value: &str, kind: Option<&str>, context: &Context<'_>) -> Result<Vec<Read>, String> {
    alternatives::parse_each(value, |text| parse(&unescape(text), kind, context))
}

fn parse(text: &str, kind: Option<&str>, context: &Context<'_>) -> Result<Read, String> {
    let expected = || "expected a reference as id, Type/id, or the absolute URL of a resource".to_owned();
    let relative = match text.strip_prefix(context.base).and_then(|rest| rest.strip_prefix('/')) {
        // An id without a type is not a URL of a resource.
        Some(relative) if relative.contains('/') => relative,
        _ if text.contains("://") || text.starts_with("urn:") => {
            if kind.is_some() {
                return Err("a URL on another server cannot be combined with a type modifier".to_owned());
            }
            let is_valid = !text.contains(char::is_whitespace);
            let foreign = Read { target: ReferenceMatch::Foreign(text.to_owned()), has_version: false };
            return is_valid.then_some(foreign).ok_or_else(expected);
        }
        _ => text,
    };
    let (current, has_version) = match relative.split_once("/_history/") {
        Some((current, version)) if is_id(version) && current.contains('/') => (current, true),
        Some(_) => return Err(expected()),
        None => (relative, false),
    };
    let (named, id) = match current.split_once('/') {
        Some((named, id)) => (Some(named), id),
        None => (kind, current),
    };
    let is_type = |name: &str| {
        name.starts_with(|first: char| first.is_ascii_uppercase())
            && name.bytes().all(|byte| byte.is_ascii_alphabetic())
    };
    if !is_id(id) || !named.is_none_or(is_type) {
        return Err(expected());
    }
    if let (Some(kind), Some(named)) = (kind, named)
        && kind != named
    {
        return Err(format!("expected a reference to {kind}, the type in the modifier"));
    }
    let target = ReferenceMatch::Own { kind: named.map(str::to_owned), id: id.to_owned() };
    Ok(Read { target, has_version })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::Handling;

    const CONTEXT: Context<'static> = Context {
        base: "https://h/x/fhir",
        handling: Handling::Lenient,
        default_count: 50,
        max_count: 200,
        is_uid: |_| false,
    };

    fn read(text: &str) -> Result<ReferenceMatch, String> {
        parse(text, None, &CONTEXT).map(|read| read.target)
    }

    fn is(text: &str, reference: &str) -> bool {
        let reference = Reference { reference: Some(reference.to_owned()), ..Reference::default() };
        read(text).unwrap().is(&["Patient", "Group"], &reference)
    }

    #[test]
    fn relative_and_absolute_forms_refer_to_the_same_patient() {
        for same in [
            "a1",
            "Patient/a1",
            "https://h/x/fhir/Patient/a1",
            "Patient/a1/_history/3",
            "https://h/x/fhir/Patient/a1/_history/3",
        ] {
            assert!(is(same, "Patient/a1"), "{same}");
            assert!(!is(same, "Patient/a2") && !is(same, "Device/a1"), "{same}");
            assert_eq!(read(same).unwrap().id_of(ResourceType::Patient), Some("a1"), "{same}");
        }
        assert!(
            is("a1", "Group/a1"),
            "an id without a type can have any type that the parameter can refer to"
        );
    }

    #[test]
    fn other_types_and_other_servers_are_accepted_and_match_no_local_resource() {
        for foreign in [
            "Practitioner/a1",
            "https://other/fhir/Patient/a1",
            "https://h/x/fhirx/Patient/a1",
            "https://h/x/fhir/a1",
            "urn:uuid:1",
        ] {
            assert!(!is(foreign, "Patient/a1"), "{foreign}");
            assert_eq!(read(foreign).unwrap().id_of(ResourceType::Patient), None, "{foreign}");
        }
        assert!(is("https://other/fhir/Patient/a1", "https://other/fhir/Patient/a1"));
    }

    #[test]
    fn version_is_ignored_and_reported() {
        assert!(parse("Patient/a/_history/1", None, &CONTEXT).unwrap().has_version);
        assert!(!parse("Patient/a", None, &CONTEXT).unwrap().has_version);
    }

    #[test]
    fn type_modifier_determines_the_type() {
        let typed = |text| parse(text, Some("Patient"), &CONTEXT).map(|read| read.target);
        assert_eq!(typed("a"), read("Patient/a"));
        assert_eq!(typed("Patient/a"), read("Patient/a"));
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
            assert!(read(invalid).is_err(), "{invalid}");
        }
    }
}
