//! References (R4 search#reference) to a Patient: `id`, `Patient/id`, or an absolute address under our own base.

use super::{Context, alternatives, unescape};

/// A Patient by the id that this server gives it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PatientReference {
    /// A Patient of ours.
    Own(String),
    /// Something that no study of ours refers to: another type, another server.
    Foreign,
}

impl PatientReference {
    /// Reads the alternatives of a value.
    pub(super) fn parse_all(value: &str, context: &Context<'_>) -> Result<Vec<Self>, String> {
        alternatives(value)?.into_iter().map(|text| Self::parse(&unescape(text), context)).collect()
    }

    fn parse(text: &str, context: &Context<'_>) -> Result<Self, String> {
        let expected = || "a reference is id, Patient/id, or the absolute address of a Patient".to_owned();
        let is_absolute = text.contains("://") || text.starts_with("urn:");
        let relative = match text.strip_prefix(context.base).and_then(|rest| rest.strip_prefix('/')) {
            Some(relative) => relative,
            None if is_absolute => return Ok(Self::Foreign),
            None => text,
        };
        // A version says nothing here: the current one is meant (R4 search#reference).
        let relative = relative.split("/_history/").next().unwrap_or(relative);
        match relative.split_once('/') {
            None if is_id(relative) => Ok(Self::Own(relative.to_owned())),
            Some(("Patient", id)) if is_id(id) => Ok(Self::Own(id.to_owned())),
            Some((kind, id)) if is_id(id) && kind.starts_with(|first: char| first.is_ascii_uppercase()) => {
                Ok(Self::Foreign)
            }
            _ => Err(expected()),
        }
    }
}

pub(super) fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::search::Handling;

    #[test]
    fn relative_and_absolute_forms_name_the_same_patient() {
        let context = Context {
            base: "https://h/x/fhir",
            handling: Handling::Lenient,
            default_count: 50,
            max_count: 200,
        };
        let parse = |text| PatientReference::parse(text, &context);
        let own = Ok(PatientReference::Own("a1".to_owned()));
        for same in ["a1", "Patient/a1", "https://h/x/fhir/Patient/a1", "Patient/a1/_history/3"] {
            assert_eq!(parse(same), own, "{same}");
        }
        for foreign in
            ["Practitioner/a1", "https://other/fhir/Patient/a1", "https://h/x/fhirx/Patient/a1", "urn:uuid:1"]
        {
            assert_eq!(parse(foreign), Ok(PatientReference::Foreign), "{foreign}");
        }
        for bad in ["Patient/", "patient/a1", "a 1", "Patient/a/b", "/Patient/a", "a*", "a?"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
