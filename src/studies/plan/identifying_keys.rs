//! The criteria that identify studies or patients, as matching keys of QIDO-RS.

use std::sync::Arc;

use super::UidKeys;
use crate::mapping;
use crate::studies::accepted_uids::is_accepted;
use crate::studies::known_patient::KnownPatient;
use crate::studies::named_patients::NamedPatients;
use crate::upstream::MatchValue;
use dicom_model::{Tag, Uid, UidRule, tags};
use fhir_r4::search::{
    Comparison, Criterion, ImagingStudyParam as Param, ReferenceMatch, ResourceType, System, Token,
};
use fhir_r4::types::{ImagingStudy, Patient};

/// Maximum number of keys of one criterion that are queries of their own. Beyond it, the identifiers are compared with every study.
const MAX_SINGLE_KEYS: usize = 200;

/// An attribute and the value that it must match.
pub(super) type MatchKey = (Tag, MatchValue);

/// Returns keys such that every match of the criterion matches one of them; no keys if nothing can match. `None` if the criterion
/// does not identify studies, or if there is no key for one of its values.
pub(super) fn identifying_keys(
    criterion: &Criterion<ImagingStudy>,
    patients: Option<&[Arc<KnownPatient>]>,
    uid_keys: UidKeys,
) -> Option<Vec<MatchKey>> {
    match criterion.parameter.key {
        Param::Id => match &criterion.comparison {
            Comparison::Token(tokens) => {
                Some(keys_of_uids(tags::STUDY_INSTANCE_UID, Token::codes(tokens)?.into_iter(), uid_keys))
            }
            _ => None,
        },
        Param::Identifier => match &criterion.comparison {
            Comparison::Token(tokens) => keys_of_identifiers(tokens, uid_keys),
            Comparison::OfType(identifiers) => {
                let values = identifiers.iter().map(|identifier| identifier.value.as_str());
                keys_of_typed_identifiers(values, uid_keys)
            }
            _ => None,
        },
        Param::Patient | Param::Subject => match &criterion.comparison {
            Comparison::Reference(_) => patients?.iter().map(|patient| key_of_patient(patient)).collect(),
            Comparison::Identifier(tokens) => keys_of_patient_ids(Token::codes(tokens)?),
            Comparison::Patient(criterion) => keys_of_patient_criterion(criterion, patients),
            _ => None,
        },
        Param::LastUpdated
        | Param::Profile
        | Param::Security
        | Param::Source
        | Param::Tag
        | Param::BasedOn
        | Param::BodySite
        | Param::DicomClass
        | Param::Encounter
        | Param::Endpoint
        | Param::Instance
        | Param::Interpreter
        | Param::Modality
        | Param::Performer
        | Param::Reason
        | Param::Referrer
        | Param::Series
        | Param::Started
        | Param::Status => None,
    }
}

fn keys_of_patient_criterion(
    criterion: &Criterion<Patient>,
    patients: Option<&[Arc<KnownPatient>]>,
) -> Option<Vec<MatchKey>> {
    match NamedPatients::from_criterion(criterion)? {
        NamedPatients::Ids(_) => patients?.iter().map(|patient| key_of_patient(patient)).collect(),
        NamedPatients::Identifiers(values) => keys_of_patient_ids(values),
    }
}

fn keys_of_patient_ids(patient_ids: Vec<&str>) -> Option<Vec<MatchKey>> {
    patient_ids.into_iter().map(key_of_patient_id).collect()
}

/// Returns the key for the studies of a patient.
pub(super) fn key_of_patient(patient: &KnownPatient) -> Option<MatchKey> {
    match patient {
        KnownPatient::PatientId(id) => key_of_patient_id(id),
        KnownPatient::StudyInstanceUid(study) => {
            Some((tags::STUDY_INSTANCE_UID, MatchValue::uid(study.uid())))
        }
    }
}

/// Returns the key for the studies with this Patient ID.
pub(super) fn key_of_patient_id(patient_id: &str) -> Option<MatchKey> {
    Some((tags::PATIENT_ID, covering_value(patient_id)?))
}

/// Returns the ids of the Patients that a criterion refers to; `None` if the criterion does not refer to Patients by id.
pub(in crate::studies) fn referenced_patient_ids(criterion: &Criterion<ImagingStudy>) -> Option<Vec<&str>> {
    match (criterion.parameter.key, &criterion.comparison) {
        (Param::Patient | Param::Subject, Comparison::Reference(references)) => {
            let id_of = |reference| ReferenceMatch::id_of(reference, ResourceType::Patient);
            Some(references.iter().filter_map(id_of).collect())
        }
        (Param::Patient | Param::Subject, Comparison::Patient(criterion)) => {
            match NamedPatients::from_criterion(criterion)? {
                NamedPatients::Ids(ids) => Some(ids),
                NamedPatients::Identifiers(_) => None,
            }
        }
        _ => None,
    }
}

/// Returns the keys for `values` that the rule of the archive accepts, without duplicates; other values match nothing.
pub(super) fn keys_of_uids<'a>(
    tag: Tag,
    values: impl Iterator<Item = &'a str>,
    uid_keys: UidKeys,
) -> Vec<MatchKey> {
    // Other values than the UIDs of objects have no other rule.
    let rule = if tag == tags::SOP_CLASS_UID { UidRule::Strict } else { uid_keys.rule };
    let accepted = values.filter(|value| is_accepted(rule, value));
    let mut uids: Vec<Uid> = accepted.filter_map(|value| Uid::parse_by(rule, value).ok()).collect();
    uids.sort_unstable();
    uids.dedup();
    let key_of = |uids: &[Uid]| Some((tag, MatchValue::any_of(uids)?));
    let is_study = tag == tags::STUDY_INSTANCE_UID;
    let max_uids = if is_study { uid_keys.per_query } else { uid_keys.others_per_query };
    uids.chunks(max_uids).filter_map(key_of).collect()
}

/// Returns the keys for identifiers of studies: the UID, the accession number, or the Study ID.
fn keys_of_identifiers(tokens: &[Token], uid_keys: UidKeys) -> Option<Vec<MatchKey>> {
    let mut keys = Vec::new();
    let mut uids = Vec::new();
    for token in tokens {
        let value = token.code.as_deref()?;
        match &token.system {
            System::Uri(system) if system == mapping::DICOM_UID_SYSTEM => {
                uids.extend(mapping::uid_of_identifier(value));
            }
            System::Any if value.starts_with("urn:oid:") => uids.extend(mapping::uid_of_identifier(value)),
            system => {
                keys.push((tags::ACCESSION_NUMBER, covering_value(value)?));
                // A Study ID has no system.
                if !matches!(system, System::Uri(_)) {
                    keys.push((tags::STUDY_ID, covering_value(value)?));
                }
                if matches!(system, System::Any) {
                    uids.extend(mapping::uid_of_identifier(value));
                }
            }
        }
    }
    if keys.len() > MAX_SINGLE_KEYS {
        return None;
    }
    keys.extend(keys_of_uids(tags::STUDY_INSTANCE_UID, uids.into_iter(), uid_keys));
    Some(keys)
}

/// Returns the keys for identifiers that are given with their type (`identifier:of-type`).
fn keys_of_typed_identifiers<'a>(
    values: impl Iterator<Item = &'a str>,
    uid_keys: UidKeys,
) -> Option<Vec<MatchKey>> {
    let mut keys = Vec::new();
    for value in values {
        let uid = mapping::uid_of_identifier(value);
        keys.extend(keys_of_uids(tags::STUDY_INSTANCE_UID, uid.into_iter(), uid_keys));
        if !value.starts_with("urn:oid:") {
            keys.push((tags::ACCESSION_NUMBER, covering_value(value)?));
            keys.push((tags::STUDY_ID, covering_value(value)?));
        }
    }
    Some(keys)
}

/// Returns a value that matches `text` at every archive: the text, or a pattern.
fn covering_value(text: &str) -> Option<MatchValue> {
    MatchValue::exact(text).or_else(|| MatchValue::wildcard(text))
}
