//! The table: every search parameter, with its forms, its definition and how it is answered.

use super::{Context, PatientReference, StringMatch, Token, alternatives, unescape};
use crate::fhir::date::{FhirDate, Prefix};

/// A parameter's type (R4 search-param-type).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterType {
    /// R4 search#date.
    Date,
    /// R4 search#reference.
    Reference,
    /// R4 search#string.
    String,
    /// R4 search#token.
    Token,
}

impl ParameterType {
    /// The code of the value set.
    pub fn code(self) -> &'static str {
        match self {
            Self::Date => "date",
            Self::Reference => "reference",
            Self::String => "string",
            Self::Token => "token",
        }
    }
}

/// One way to write a parameter: its name, followed by `suffix`.
#[derive(Debug)]
pub struct Form<C> {
    /// Nothing, a modifier (`:identifier`) or a chain (`.identifier`, `:Patient.identifier`).
    pub suffix: &'static str,
    /// From a value to a criterion, or to what was expected.
    pub parse: fn(&str, &Context<'_>) -> Result<C, String>,
}

/// A row of the table.
#[derive(Debug)]
pub struct Parameter<C: 'static> {
    /// As it stands in a query.
    pub name: &'static str,
    /// How its values are read.
    pub kind: ParameterType,
    /// The SearchParameter that defines it.
    pub definition: &'static str,
    /// How it is answered, for the CapabilityStatement's readers.
    pub note: &'static str,
    /// The ways to write it.
    pub forms: &'static [Form<C>],
    /// What `_include` by this parameter brings.
    pub include: Option<StudyInclude>,
}

impl<C> Parameter<C> {
    pub(super) fn forms_in_words(&self) -> String {
        self.forms.iter().map(|form| format!("{}{}", self.name, form.suffix)).collect::<Vec<_>>().join(", ")
    }
}

/// What can go with studies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StudyInclude {
    /// `ImagingStudy:endpoint`.
    Endpoint,
    /// `ImagingStudy:patient`.
    Patient,
    /// `ImagingStudy:subject`, the same resources by the other name.
    Subject,
}

impl StudyInclude {
    /// As the CapabilityStatement names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Endpoint => "ImagingStudy:endpoint",
            Self::Patient => "ImagingStudy:patient",
            Self::Subject => "ImagingStudy:subject",
        }
    }

    /// Whether a value of `_include` means it; a target type may follow.
    pub(super) fn accepts(self, value: &str) -> bool {
        let target = match self {
            Self::Endpoint => ":Endpoint",
            Self::Patient | Self::Subject => ":Patient",
        };
        value.strip_suffix(target).unwrap_or(value) == self.name()
    }
}

/// A criterion of a search for ImagingStudies. Within one, any alternative is enough.
#[derive(Debug, Clone, PartialEq)]
pub enum StudyCriterion {
    /// `_id`.
    Id(Vec<String>),
    /// `identifier`.
    Identifier(Vec<Token>),
    /// `patient`, `subject`.
    Patient(Vec<PatientReference>),
    /// `patient.identifier`, `patient:identifier` and the same by the name `subject`.
    PatientIdentifier(Vec<Token>),
    /// `started`.
    Started(Vec<(Prefix, FhirDate)>),
    /// `modality`.
    Modality(Vec<Token>),
    /// `status`.
    Status(Vec<Token>),
    /// `endpoint`.
    Endpoint(Vec<String>),
}

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

/// A criterion of a search for Endpoints.
#[derive(Debug, Clone, PartialEq)]
pub enum EndpointCriterion {
    /// `_id`.
    Id(Vec<String>),
    /// `name`.
    Name(Vec<StringMatch>),
    /// `status`.
    Status(Vec<Token>),
    /// `connection-type`.
    ConnectionType(Vec<Token>),
}

const RESOURCE_ID: &str = "http://hl7.org/fhir/SearchParameter/Resource-id";

macro_rules! form {
    ($suffix:literal, $criterion:path, $parse:expr) => {
        Form { suffix: $suffix, parse: |value, context| $parse(value, context).map($criterion) }
    };
}

/// ImagingStudy (R4 imagingstudy.html#search).
pub static IMAGING_STUDY_PARAMETERS: &[Parameter<StudyCriterion>] = &[
    Parameter {
        name: "_id",
        kind: ParameterType::Token,
        definition: RESOURCE_ID,
        note: "The Study Instance UID. Asked of the archives as a list of UIDs.",
        forms: &[form!("", StudyCriterion::Id, ids)],
        include: None,
    },
    Parameter {
        name: "endpoint",
        kind: ParameterType::Reference,
        definition: "http://hl7.org/fhir/SearchParameter/ImagingStudy-endpoint",
        note: "Asks only the archives that are named.",
        forms: &[form!("", StudyCriterion::Endpoint, endpoint_ids)],
        include: Some(StudyInclude::Endpoint),
    },
    Parameter {
        name: "identifier",
        kind: ParameterType::Token,
        definition: "http://hl7.org/fhir/SearchParameter/clinical-identifier",
        note: "The Study Instance UID as urn:oid:…, with or without the system urn:dicom:uid; the accession number, with or \
               without its system; the Study ID.",
        forms: &[form!("", StudyCriterion::Identifier, study_identifiers)],
        include: None,
    },
    Parameter {
        name: "modality",
        kind: ParameterType::Token,
        definition: "http://hl7.org/fhir/SearchParameter/ImagingStudy-modality",
        note: "A modality that a series of the study has.",
        forms: &[form!("", StudyCriterion::Modality, tokens)],
        include: None,
    },
    Parameter {
        name: "patient",
        kind: ParameterType::Reference,
        definition: "http://hl7.org/fhir/SearchParameter/clinical-patient",
        note: "A Patient of this server, by id, Patient/id or absolute address; by patient:identifier or \
               patient.identifier, the patient's own identifier (PatientID), with or without its system.",
        forms: &[
            form!("", StudyCriterion::Patient, PatientReference::parse_all),
            form!(":Patient", StudyCriterion::Patient, PatientReference::parse_all),
            form!(":identifier", StudyCriterion::PatientIdentifier, tokens),
            form!(".identifier", StudyCriterion::PatientIdentifier, tokens),
        ],
        include: Some(StudyInclude::Patient),
    },
    Parameter {
        name: "started",
        kind: ParameterType::Date,
        definition: "http://hl7.org/fhir/SearchParameter/ImagingStudy-started",
        note: "All prefixes, all precisions. A day without a zone is the study's own local day.",
        forms: &[form!("", StudyCriterion::Started, dates)],
        include: None,
    },
    Parameter {
        name: "status",
        kind: ParameterType::Token,
        definition: "http://hl7.org/fhir/SearchParameter/ImagingStudy-status",
        note: "Whether the archive can give the study's objects.",
        forms: &[form!("", StudyCriterion::Status, tokens)],
        include: None,
    },
    Parameter {
        name: "subject",
        kind: ParameterType::Reference,
        definition: "http://hl7.org/fhir/SearchParameter/ImagingStudy-subject",
        note: "The same as patient: every subject is a Patient.",
        forms: &[
            form!("", StudyCriterion::Patient, PatientReference::parse_all),
            form!(":Patient", StudyCriterion::Patient, PatientReference::parse_all),
            form!(":identifier", StudyCriterion::PatientIdentifier, tokens),
            form!(".identifier", StudyCriterion::PatientIdentifier, tokens),
            form!(":Patient.identifier", StudyCriterion::PatientIdentifier, tokens),
        ],
        include: Some(StudyInclude::Subject),
    },
];

/// Patient (R4 patient.html#search).
pub static PATIENT_PARAMETERS: &[Parameter<PatientCriterion>] = &[
    Parameter {
        name: "_id",
        kind: ParameterType::Token,
        definition: RESOURCE_ID,
        note: "The id that this server gives a patient.",
        forms: &[form!("", PatientCriterion::Id, ids)],
        include: None,
    },
    Parameter {
        name: "birthdate",
        kind: ParameterType::Date,
        definition: "http://hl7.org/fhir/SearchParameter/individual-birthdate",
        note: "All prefixes, all precisions.",
        forms: &[form!("", PatientCriterion::Birthdate, dates)],
        include: None,
    },
    Parameter {
        name: "family",
        kind: ParameterType::String,
        definition: "http://hl7.org/fhir/SearchParameter/individual-family",
        note: "The beginning of a family name in any of its writings; archives are scanned, within search.max_scan.",
        forms: &[form!("", PatientCriterion::Family, strings)],
        include: None,
    },
    Parameter {
        name: "gender",
        kind: ParameterType::Token,
        definition: "http://hl7.org/fhir/SearchParameter/individual-gender",
        note: "Archives are scanned, within search.max_scan.",
        forms: &[form!("", PatientCriterion::Gender, tokens)],
        include: None,
    },
    Parameter {
        name: "given",
        kind: ParameterType::String,
        definition: "http://hl7.org/fhir/SearchParameter/individual-given",
        note: "The beginning of a given name in any of its writings; archives are scanned, within search.max_scan.",
        forms: &[form!("", PatientCriterion::Given, strings)],
        include: None,
    },
    Parameter {
        name: "identifier",
        kind: ParameterType::Token,
        definition: "http://hl7.org/fhir/SearchParameter/Patient-identifier",
        note: "The patient's own identifier (PatientID), with or without its system.",
        forms: &[form!("", PatientCriterion::Identifier, tokens)],
        include: None,
    },
    Parameter {
        name: "name",
        kind: ParameterType::String,
        definition: "http://hl7.org/fhir/SearchParameter/Patient-name",
        note: "The beginning of any part of a name in any of its writings; archives are scanned, within search.max_scan.",
        forms: &[form!("", PatientCriterion::Name, strings)],
        include: None,
    },
];

/// Endpoint (R4 endpoint.html#search).
pub static ENDPOINT_PARAMETERS: &[Parameter<EndpointCriterion>] = &[
    Parameter {
        name: "_id",
        kind: ParameterType::Token,
        definition: RESOURCE_ID,
        note: "The archive's id.",
        forms: &[form!("", EndpointCriterion::Id, ids)],
        include: None,
    },
    Parameter {
        name: "connection-type",
        kind: ParameterType::Token,
        definition: "http://hl7.org/fhir/SearchParameter/Endpoint-connection-type",
        note: "Every Endpoint is a dicom-wado-rs one.",
        forms: &[form!("", EndpointCriterion::ConnectionType, tokens)],
        include: None,
    },
    Parameter {
        name: "name",
        kind: ParameterType::String,
        definition: "http://hl7.org/fhir/SearchParameter/Endpoint-name",
        note: "The beginning of the archive's name.",
        forms: &[form!("", EndpointCriterion::Name, strings)],
        include: None,
    },
    Parameter {
        name: "status",
        kind: ParameterType::Token,
        definition: "http://hl7.org/fhir/SearchParameter/Endpoint-status",
        note: "Every Endpoint that is configured is active.",
        forms: &[form!("", EndpointCriterion::Status, tokens)],
        include: None,
    },
];

fn tokens(value: &str, _: &Context<'_>) -> Result<Vec<Token>, String> {
    Token::parse_all(value)
}

fn strings(value: &str, _: &Context<'_>) -> Result<Vec<StringMatch>, String> {
    StringMatch::parse_all(value)
}

fn dates(value: &str, _: &Context<'_>) -> Result<Vec<(Prefix, FhirDate)>, String> {
    let date = |text: &str| {
        let (prefix, text) = Prefix::split(text);
        let date = FhirDate::parse(text).ok_or(
            "a day of the calendar as yyyy, yyyy-mm or yyyy-mm-dd, or a time as yyyy-mm-ddThh:mm[:ss][Z|±hh:mm], after one \
             of eq, ne, gt, lt, ge, le, sa, eb, ap or nothing",
        )?;
        Ok((prefix, date))
    };
    alternatives(value)?.into_iter().map(date).collect()
}

fn ids(value: &str, _: &Context<'_>) -> Result<Vec<String>, String> {
    let id = |text: &str| {
        let id = unescape(text);
        let legal = super::reference::is_id(&id);
        legal.then_some(id).ok_or_else(|| "an id is 1 to 64 letters, digits, hyphens and dots".to_owned())
    };
    alternatives(value)?.into_iter().map(id).collect()
}

/// Endpoint ids, from any form of a reference; what is no Endpoint of ours names none.
fn endpoint_ids(value: &str, context: &Context<'_>) -> Result<Vec<String>, String> {
    let id = |text: &str| {
        let text = unescape(text);
        let own = text
            .strip_prefix(context.base)
            .and_then(|rest| rest.strip_prefix('/'))
            .unwrap_or(&text)
            .to_owned();
        let id = own.strip_prefix("Endpoint/").unwrap_or(&own).to_owned();
        if super::reference::is_id(&id) || id.contains("://") {
            Ok(id)
        } else {
            Err("a reference is id, Endpoint/id, or the absolute address of an Endpoint".to_owned())
        }
    };
    alternatives(value)?.into_iter().map(id).collect()
}

/// Identifiers, of which those that claim to be UIDs must be some.
fn study_identifiers(value: &str, context: &Context<'_>) -> Result<Vec<Token>, String> {
    let tokens = tokens(value, context)?;
    let is_uid = |text: &str| {
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        text.len() <= 64 && text.split('.').all(digits)
    };
    let broken = |token: &Token| {
        let claims = token.system == super::System::Uri("urn:dicom:uid".to_owned());
        match token.code.as_deref() {
            Some(code) => match code.strip_prefix("urn:oid:") {
                Some(uid) => !is_uid(uid),
                None => claims,
            },
            None => false,
        }
    };
    if tokens.iter().any(broken) {
        return Err(
            "a Study Instance UID is written urn:oid: and digits parted by dots, 64 characters at most"
                .to_owned(),
        );
    }
    Ok(tokens)
}
