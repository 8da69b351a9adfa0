//! What Patients are searched by (R4 patient.html#search).

use super::{Form, Parameter, ParameterType, RESOURCE_ID};
use crate::fhir::date::{FhirDate, Prefix};
use crate::fhir::search::{StringMatch, Token, date, id};

/// A criterion of a search for Patients.
#[derive(Debug, Clone, PartialEq)]
pub enum PatientCriterion {
    /// `_id`.
    Id(Vec<String>),
    /// `identifier`.
    Identifier(Vec<Token>),
    /// `name`.
    Name(Vec<StringMatch>),
    /// `family`.
    Family(Vec<StringMatch>),
    /// `given`.
    Given(Vec<StringMatch>),
    /// `birthdate`.
    Birthdate(Vec<(Prefix, FhirDate)>),
    /// `gender`.
    Gender(Vec<Token>),
}

/// Patient (R4 patient.html#search).
pub static PATIENT_PARAMETERS: &[Parameter<PatientCriterion>] = &[
    Parameter {
        name: "_id",
        kind: ParameterType::Token,
        definition: RESOURCE_ID,
        note: "The id that this server gives a patient.",
        forms: &[form!("", PatientCriterion::Id, id::parse_all)],
        include: None,
    },
    Parameter {
        name: "birthdate",
        kind: ParameterType::Date,
        definition: "http://hl7.org/fhir/SearchParameter/individual-birthdate",
        note: "All prefixes, all precisions.",
        forms: &[form!("", PatientCriterion::Birthdate, date::parse_all)],
        include: None,
    },
    Parameter {
        name: "family",
        kind: ParameterType::String,
        definition: "http://hl7.org/fhir/SearchParameter/individual-family",
        note: "The beginning of a family name in any of its writings; archives are scanned, within search.max_scan.",
        forms: &[form!("", PatientCriterion::Family, StringMatch::parse_all)],
        include: None,
    },
    Parameter {
        name: "gender",
        kind: ParameterType::Token,
        definition: "http://hl7.org/fhir/SearchParameter/individual-gender",
        note: "Archives are scanned, within search.max_scan.",
        forms: &[form!("", PatientCriterion::Gender, Token::parse_all)],
        include: None,
    },
    Parameter {
        name: "given",
        kind: ParameterType::String,
        definition: "http://hl7.org/fhir/SearchParameter/individual-given",
        note: "The beginning of a given name in any of its writings; archives are scanned, within search.max_scan.",
        forms: &[form!("", PatientCriterion::Given, StringMatch::parse_all)],
        include: None,
    },
    Parameter {
        name: "identifier",
        kind: ParameterType::Token,
        definition: "http://hl7.org/fhir/SearchParameter/Patient-identifier",
        note: "The patient's own identifier (PatientID), with or without its system.",
        forms: &[form!("", PatientCriterion::Identifier, Token::parse_all)],
        include: None,
    },
    Parameter {
        name: "name",
        kind: ParameterType::String,
        definition: "http://hl7.org/fhir/SearchParameter/Patient-name",
        note: "The beginning of any part of a name in any of its writings; archives are scanned, within search.max_scan.",
        forms: &[form!("", PatientCriterion::Name, StringMatch::parse_all)],
        include: None,
    },
];
