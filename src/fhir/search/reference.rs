//! References (R4 search#reference) to resources of this server: `id`, `Type/id`, or an absolute address under our base.

use super::Context;
use super::alternatives::{self, unescape};
use super::id::is_id;

/// A Patient by the id that this server gives it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PatientReference {
    /// A Patient of ours.
    Own(String),
    /// Something that no study of ours refers to: another type, another server.
    Foreign,
}

/// Reads the alternatives of a value as references to Patients.
pub(super) fn patients(value: &str, context: &Context<'_>) -> Result<Vec<PatientReference>, String> {
    alternatives::parse_each(value, |text| {
        let id = own_id(&unescape(text), "Patient", context)?;
        Ok(id.map_or(PatientReference::Foreign, PatientReference::Own))
    })
}

/// Reads the alternatives of a value as the ids of Endpoints; what is no Endpoint of ours adds none.
pub(super) fn endpoint_ids(value: &str, context: &Context<'_>) -> Result<Vec<String>, String> {
    let ids = alternatives::parse_each(value, |text| own_id(&unescape(text), "Endpoint", context))?;
    Ok(ids.into_iter().flatten().collect())
}

/// The id in a reference to a resource of type `kind`; `None` when it refers to another type or another server.
fn own_id(text: &str, kind: &str, context: &Context<'_>) -> Result<Option<String>, String> {
    let expected = || format!("a reference is id, {kind}/id, or the absolute address of such a resource");
    let is_absolute = text.contains("://") || text.starts_with("urn:");
    let relative = match text.strip_prefix(context.base).and_then(|rest| rest.strip_prefix('/')) {
        // A bare id has no base.
        Some(relative) if relative.contains('/') => relative,
        None if !is_absolute => text,
        _ => return Ok(None),
    };
    // A version says nothing here: the current one is meant (R4 search#reference).
    let current = match relative.split_once("/_history/") {
        Some((current, version)) if is_id(version) && current.contains('/') => current,
        Some(_) => return Err(expected()),
        None => relative,
    };
    let (named, id) = current.split_once('/').unwrap_or((kind, current));
    let is_type = named.starts_with(|first: char| first.is_ascii_uppercase())
        && named.bytes().all(|byte| byte.is_ascii_alphabetic());
    if !is_type || !is_id(id) {
        return Err(expected());
    }
    Ok((named == kind).then(|| id.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::search::Handling;

    const CONTEXT: Context<'static> =
        Context { base: "https://h/x/fhir", handling: Handling::Lenient, default_count: 50, max_count: 200 };

    fn parse(text: &str) -> Result<Option<String>, String> {
        own_id(text, "Patient", &CONTEXT)
    }

    #[test]
    fn relative_and_absolute_forms_name_the_same_patient() {
        for same in [
            "a1",
            "Patient/a1",
            "https://h/x/fhir/Patient/a1",
            "Patient/a1/_history/3",
            "https://h/x/fhir/Patient/a1/_history/3",
        ] {
            assert_eq!(parse(same), Ok(Some("a1".to_owned())), "{same}");
        }
    }

    #[test]
    fn other_types_and_other_servers_are_legal_and_match_nothing() {
        for foreign in [
            "Practitioner/a1",
            "https://other/fhir/Patient/a1",
            "https://h/x/fhirx/Patient/a1",
            "https://h/x/fhir/Practitioner/a1",
            "https://h/x/fhir/a1",
            "urn:uuid:1",
        ] {
            assert_eq!(parse(foreign), Ok(None), "{foreign}");
        }
        assert_eq!(patients("a1,Group/b", &CONTEXT).unwrap().pop(), Some(PatientReference::Foreign));
        assert_eq!(endpoint_ids("pacs,Location/x,Endpoint/two", &CONTEXT).unwrap(), ["pacs", "two"]);
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for bad in [
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
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
