//! What ImagingStudies are searched by (R4 imagingstudy.html#search).

use super::{Form, Parameter, ParameterType, RESOURCE_ID};
use crate::fhir::date::{FhirDate, Prefix};
use crate::fhir::search::{PatientReference, System, Token, date, id, reference};

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
    pub(in crate::fhir::search) fn accepts(self, value: &str) -> bool {
        let target = match self {
            Self::Endpoint => ":Endpoint",
            Self::Patient | Self::Subject => ":Patient",
        };
        value.strip_suffix(target).unwrap_or(value) == self.name()
    }
}

/// ImagingStudy (R4 imagingstudy.html#search).
pub static IMAGING_STUDY_PARAMETERS: &[Parameter<StudyCriterion>] = &[
    Parameter {
        name: "_id",
        kind: ParameterType::Token,
        definition: RESOURCE_ID,
        note: "The Study Instance UID. Asked of the archives as a list of UIDs.",
        forms: &[form!("", StudyCriterion::Id, id::parse_all)],
        include: None,
    },
    Parameter {
        name: "endpoint",
        kind: ParameterType::Reference,
        definition: "http://hl7.org/fhir/SearchParameter/ImagingStudy-endpoint",
        note: "Asks only the archives that are named.",
        forms: &[form!("", StudyCriterion::Endpoint, reference::endpoint_ids, context)],
        include: Some(StudyInclude::Endpoint),
    },
    Parameter {
        name: "identifier",
        kind: ParameterType::Token,
        definition: "http://hl7.org/fhir/SearchParameter/clinical-identifier",
        note: "The Study Instance UID as urn:oid:…, with or without the system urn:dicom:uid; the accession number, with or \
               without its system; the Study ID.",
        forms: &[form!("", StudyCriterion::Identifier, identifiers)],
        include: None,
    },
    Parameter {
        name: "modality",
        kind: ParameterType::Token,
        definition: "http://hl7.org/fhir/SearchParameter/ImagingStudy-modality",
        note: "A modality that a series of the study has.",
        forms: &[form!("", StudyCriterion::Modality, Token::parse_all)],
        include: None,
    },
    Parameter {
        name: "patient",
        kind: ParameterType::Reference,
        definition: "http://hl7.org/fhir/SearchParameter/clinical-patient",
        note: "A Patient of this server, by id, Patient/id or absolute address; or by the patient's own identifier \
               (PatientID), with or without its system.",
        forms: &[
            form!("", StudyCriterion::Patient, reference::patients, context),
            form!(":Patient", StudyCriterion::Patient, reference::patients, context),
            form!(":identifier", StudyCriterion::PatientIdentifier, Token::parse_all),
            form!(".identifier", StudyCriterion::PatientIdentifier, Token::parse_all),
        ],
        include: Some(StudyInclude::Patient),
    },
    Parameter {
        name: "started",
        kind: ParameterType::Date,
        definition: "http://hl7.org/fhir/SearchParameter/ImagingStudy-started",
        note: "All prefixes, all precisions. A day without a zone is the study's own local day.",
        forms: &[form!("", StudyCriterion::Started, date::parse_all)],
        include: None,
    },
    Parameter {
        name: "status",
        kind: ParameterType::Token,
        definition: "http://hl7.org/fhir/SearchParameter/ImagingStudy-status",
        note: "Whether the archive can give the study's objects.",
        forms: &[form!("", StudyCriterion::Status, Token::parse_all)],
        include: None,
    },
    Parameter {
        name: "subject",
        kind: ParameterType::Reference,
        definition: "http://hl7.org/fhir/SearchParameter/ImagingStudy-subject",
        note: "The same as patient: every subject is a Patient.",
        forms: &[
            form!("", StudyCriterion::Patient, reference::patients, context),
            form!(":Patient", StudyCriterion::Patient, reference::patients, context),
            form!(":identifier", StudyCriterion::PatientIdentifier, Token::parse_all),
            form!(".identifier", StudyCriterion::PatientIdentifier, Token::parse_all),
            form!(":Patient.identifier", StudyCriterion::PatientIdentifier, Token::parse_all),
        ],
        include: Some(StudyInclude::Subject),
    },
];

/// Identifiers, of which those that claim to be Study Instance UIDs must be UIDs.
fn identifiers(value: &str) -> Result<Vec<Token>, String> {
    let tokens = Token::parse_all(value)?;
    if tokens.iter().any(is_broken_uid) {
        let expected =
            "a Study Instance UID is written urn:oid: and digits parted by dots, 64 characters at most";
        return Err(expected.to_owned());
    }
    Ok(tokens)
}

fn is_broken_uid(token: &Token) -> bool {
    let Some(code) = token.code.as_deref() else { return false };
    let uid = code.strip_prefix("urn:oid:");
    match &token.system {
        System::Uri(system) if system == "urn:dicom:uid" => !uid.is_some_and(is_uid),
        System::Any => uid.is_some_and(|uid| !is_uid(uid)),
        System::Uri(_) | System::None => false,
    }
}

fn is_uid(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= 64 && text.split('.').all(digits)
}
