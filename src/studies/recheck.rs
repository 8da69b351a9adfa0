//! Whether a study matches: every criterion, compared with the resource that would be shown, by R4's own rules.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::fhir::date::{self, FhirDate, Prefix};
use crate::fhir::search::{PatientCriterion, PatientReference, StringMatch, StudyCriterion, Token};
use crate::fhir::types::{Coding, Identifier, ImagingStudy, Patient};

const STATUS_SYSTEM: &str = "http://hl7.org/fhir/imagingstudy-status";
const GENDER_SYSTEM: &str = "http://hl7.org/fhir/administrative-gender";

/// What dates are compared by.
#[derive(Debug, Clone)]
pub(super) struct Times {
    /// The zone of dates that name none.
    pub(super) zone: TimeZone,
    /// For "approximately".
    pub(super) now: Timestamp,
}

/// Whether `study` matches all of `criteria`.
pub(super) fn study_matches(criteria: &[StudyCriterion], study: &ImagingStudy, times: &Times) -> bool {
    criteria.iter().all(|criterion| study_matches_one(criterion, study, times))
}

fn study_matches_one(criterion: &StudyCriterion, study: &ImagingStudy, times: &Times) -> bool {
    match criterion {
        StudyCriterion::Id(ids) => ids.contains(&study.id),
        StudyCriterion::Identifier(tokens) => any_identifier(tokens, &study.identifier),
        StudyCriterion::Patient(references) => {
            let subject =
                study.subject.reference.as_deref().and_then(|reference| reference.strip_prefix("Patient/"));
            references.iter().any(|reference| match reference {
                PatientReference::Own(id) => subject == Some(id),
                PatientReference::Foreign => false,
            })
        }
        StudyCriterion::PatientIdentifier(tokens) => {
            any_identifier(tokens, study.subject.identifier.as_slice())
        }
        StudyCriterion::Started(dates) => any_date(dates, study.started.as_deref(), times),
        StudyCriterion::Modality(tokens) => any_coding(tokens, &study.modality),
        StudyCriterion::Status(tokens) => any_code(tokens, STATUS_SYSTEM, study.status),
        StudyCriterion::Endpoint(ids) => study.endpoint.iter().any(|endpoint| {
            let id = endpoint.reference.as_deref().and_then(|reference| reference.strip_prefix("Endpoint/"));
            id.is_some_and(|id| ids.iter().any(|wanted| wanted == id))
        }),
    }
}

/// Whether `patient` matches all of `criteria`.
pub(super) fn patient_matches(criteria: &[PatientCriterion], patient: &Patient, times: &Times) -> bool {
    criteria.iter().all(|criterion| patient_matches_one(criterion, patient, times))
}

fn patient_matches_one(criterion: &PatientCriterion, patient: &Patient, times: &Times) -> bool {
    let names = || patient.name.iter();
    match criterion {
        PatientCriterion::Id(ids) => ids.contains(&patient.id),
        // The first identifier is the patient's own; others cannot be searched for at an archive.
        PatientCriterion::Identifier(tokens) => {
            any_identifier(tokens, patient.identifier.get(..1).unwrap_or_default())
        }
        PatientCriterion::Family(strings) => {
            any_name(strings, names().filter_map(|name| name.family.as_deref()))
        }
        PatientCriterion::Given(strings) => {
            any_name(strings, names().flat_map(|name| name.given.iter().map(String::as_str)))
        }
        PatientCriterion::Name(strings) => names().any(|name| {
            let parts = [&name.given, &name.prefix, &name.suffix]
                .into_iter()
                .flatten()
                .chain(&name.family)
                .chain(&name.text);
            any_name(strings, parts.map(String::as_str))
        }),
        PatientCriterion::Birthdate(dates) => any_date(dates, patient.birth_date.as_deref(), times),
        PatientCriterion::Gender(tokens) => {
            patient.gender.is_some_and(|gender| any_code(tokens, GENDER_SYSTEM, gender))
        }
    }
}

fn any_identifier(tokens: &[Token], identifiers: &[Identifier]) -> bool {
    let matches = |token: &Token, identifier: &Identifier| {
        token.matches(identifier.system.as_deref(), Some(&identifier.value))
    };
    tokens.iter().any(|token| identifiers.iter().any(|identifier| matches(token, identifier)))
}

fn any_coding(tokens: &[Token], codings: &[Coding]) -> bool {
    let matches =
        |token: &Token, coding: &Coding| token.matches(coding.system.as_deref(), coding.code.as_deref());
    tokens.iter().any(|token| codings.iter().any(|coding| matches(token, coding)))
}

/// A code whose system is that of its value set (R4 search#token).
fn any_code(tokens: &[Token], system: &str, code: &str) -> bool {
    tokens.iter().any(|token| token.matches(Some(system), Some(code)))
}

/// The words of a name are found independently of each other (R4 search#string).
fn any_name<'a>(strings: &[StringMatch], mut values: impl Iterator<Item = &'a str>) -> bool {
    values.any(|value| strings.iter().any(|string| string.matches_a_word(value)))
}

/// A resource without the date matches nothing, not even "not equal".
fn any_date(dates: &[(Prefix, FhirDate)], value: Option<&str>, times: &Times) -> bool {
    let Some(value) = value.and_then(FhirDate::parse) else { return false };
    dates.iter().any(|(prefix, search)| date::matches(*prefix, search, &value, &times.zone, times.now))
}
