//! From criteria to QIDO-RS: what an archive is asked, so that its answer holds every study that matches.
//!
//! The queries narrow; they do not decide. Each asks for a superset of what matches, because every row is rechecked, and an
//! archive's own matching cannot be trusted to be more than a hint: it may ignore a key, fold case, or read `*`, `,` and
//! `\` as operators. So a key is used only where no reading of it could lose a match:
//!
//! - one criterion that names studies or patients is enough; adding dates or modalities to it could only lose studies;
//! - a value that an archive could read as a pattern, or cannot decode, is widened to a pattern that covers it;
//! - what cannot be narrowed at all is looked through, within `search.max_scan`.

use std::sync::Arc;

use crate::archive::{MatchValue, QidoQuery, SearchLevel};
use crate::cache::KnownPatient;
use crate::dicom::{DicomDate, Tag, Uid, tags};
use crate::fhir::date::{FhirDate, Prefix};
use crate::fhir::search::{StudyCriterion, System, Token};
use crate::mapping;

/// How many UIDs go into one query: a request line of about 3 kB.
pub(super) const UIDS_A_QUERY: usize = 50;

/// One question to an archive, and what to ask in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    /// What is asked first.
    pub(super) query: QidoQuery,
    /// Asked of an archive that keeps padding, when the first found nothing.
    pub(super) padded: Option<QidoQuery>,
    /// Asked when the archive refuses a key of the first.
    pub(super) without_optional_keys: Option<QidoQuery>,
}

impl Question {
    fn plain(query: QidoQuery) -> Self {
        Self { query, padded: None, without_optional_keys: None }
    }

    fn by((tag, value): Key) -> Self {
        let padded = (tag == tags::PATIENT_ID).then(|| value.padded()).flatten();
        Self {
            query: every_study().matching(tag, value),
            padded: padded.map(|value| every_study().matching(tag, value)),
            without_optional_keys: None,
        }
    }
}

/// Asks for every study that can match: all answers together hold every match, and without a question nothing can match.
/// `patients` are those that the criteria refer to, where they refer to any.
/// An archive that does not understand lists of UIDs is asked for each alone.
pub(super) fn studies(
    criteria: &[StudyCriterion],
    patients: Option<&[Arc<KnownPatient>]>,
    uid_lists: bool,
) -> Vec<Question> {
    let uids_a_query = if uid_lists { UIDS_A_QUERY } else { 1 };
    let named = |criterion| naming_keys(criterion, patients, uids_a_query);
    if let Some(keys) = criteria.iter().find_map(named) {
        return keys.into_iter().map(Question::by).collect();
    }
    let mut question = Question::plain(every_study());
    let (first, last) = days(criteria);
    if first.zip(last).is_some_and(|(first, last)| first > last) {
        return Vec::new();
    }
    if let Some(days) = MatchValue::days(first, last) {
        question.query = question.query.matching(tags::STUDY_DATE, days);
    }
    if let Some(modality) = modality(criteria) {
        question.without_optional_keys = Some(question.query.clone());
        question.query = question.query.matching(tags::MODALITIES_IN_STUDY, modality);
    }
    vec![question]
}

/// Asks for the studies of `patients`; for every study when one of them cannot be asked for.
pub(super) fn studies_of(patients: &[Arc<KnownPatient>]) -> Vec<Question> {
    questions_by(patients.iter().map(|patient| patient_key(patient)))
}

/// Asks for the studies under any of the PatientIDs; for every study when one of them cannot be asked for.
pub(super) fn studies_under<'a>(patient_ids: impl IntoIterator<Item = &'a str>) -> Vec<Question> {
    questions_by(patient_ids.into_iter().map(|id| Some((tags::PATIENT_ID, any_spelling(id)?))))
}

fn questions_by(keys: impl Iterator<Item = Option<Key>>) -> Vec<Question> {
    let keys: Option<Vec<_>> = keys.collect();
    keys.map_or_else(|| vec![all()], |keys| keys.into_iter().map(Question::by).collect())
}

fn patient_key(patient: &KnownPatient) -> Option<Key> {
    match patient {
        KnownPatient::Identified(id) => Some((tags::PATIENT_ID, any_spelling(id)?)),
        KnownPatient::OfStudy(study) => {
            Some((tags::STUDY_INSTANCE_UID, MatchValue::any_of(std::slice::from_ref(study.uid()))?))
        }
    }
}

/// Asks for every study.
pub(super) fn all() -> Question {
    Question::plain(every_study())
}

/// The query for every study, with all that the mapping reads.
fn every_study() -> QidoQuery {
    QidoQuery::new(SearchLevel::Studies).include(mapping::study_tags()).include(mapping::patient_tags())
}

type Key = (Tag, MatchValue);

/// Keys of which each match has one; none when nothing can match; `None` when the criterion names no studies, or names them
/// in a way that cannot be asked for.
fn naming_keys(
    criterion: &StudyCriterion,
    patients: Option<&[Arc<KnownPatient>]>,
    uids_a_query: usize,
) -> Option<Vec<Key>> {
    match criterion {
        StudyCriterion::Id(ids) => Some(uid_keys(ids.iter().map(String::as_str), uids_a_query)),
        StudyCriterion::Identifier(tokens) => identifier_keys(tokens, uids_a_query),
        StudyCriterion::Patient(_) => patients?.iter().map(|patient| patient_key(patient)).collect(),
        StudyCriterion::PatientIdentifier(tokens) => tokens
            .iter()
            .map(|token| Some((tags::PATIENT_ID, any_spelling(token.code.as_deref()?)?)))
            .collect(),
        _ => None,
    }
}

fn uid_keys<'a>(ids: impl Iterator<Item = &'a str>, uids_a_query: usize) -> Vec<Key> {
    let mut uids: Vec<Uid> = ids.filter_map(|id| Uid::parse(id).ok()).collect();
    uids.sort_unstable();
    uids.dedup();
    let key = |uids: &[Uid]| Some((tags::STUDY_INSTANCE_UID, MatchValue::any_of(uids)?));
    uids.chunks(uids_a_query).filter_map(key).collect()
}

/// An identifier is the study's UID, its accession number, or its Study ID.
fn identifier_keys(tokens: &[Token], uids_a_query: usize) -> Option<Vec<Key>> {
    let mut keys = Vec::new();
    let mut uids = Vec::new();
    for token in tokens {
        let value = token.code.as_deref()?;
        let uid = value.strip_prefix("urn:oid:");
        match (&token.system, uid) {
            (System::Uri(system), Some(uid)) if system == "urn:dicom:uid" => uids.push(uid),
            (System::Uri(system), None) if system == "urn:dicom:uid" => {}
            (System::Any, Some(uid)) => uids.push(uid),
            (system, _) => {
                keys.push((tags::ACCESSION_NUMBER, any_spelling(value)?));
                // A Study ID has no system.
                if !matches!(system, System::Uri(_)) {
                    keys.push((tags::STUDY_ID, any_spelling(value)?));
                }
            }
        }
    }
    keys.extend(uid_keys(uids.into_iter(), uids_a_query));
    Some(keys)
}

/// A value that finds `text` however an archive reads it.
fn any_spelling(text: &str) -> Option<MatchValue> {
    MatchValue::exact(text).or_else(|| MatchValue::covering(text))
}

/// The first and the last day on which a match can have begun.
fn days(criteria: &[StudyCriterion]) -> (Option<DicomDate>, Option<DicomDate>) {
    let mut bounds: (Option<DicomDate>, Option<DicomDate>) = (None, None);
    for criterion in criteria {
        let StudyCriterion::Started(alternatives) = criterion else { continue };
        let (first, last) = days_of_any(alternatives);
        bounds.0 = bounds.0.max(first);
        bounds.1 = match (bounds.1, last) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
    bounds
}

/// The days within which something that matches any of the alternatives begins; `None` where there is no bound.
fn days_of_any(alternatives: &[(Prefix, FhirDate)]) -> (Option<DicomDate>, Option<DicomDate>) {
    let days = |(prefix, date): &(Prefix, FhirDate)| {
        let (first, last) = date.day_bounds();
        match prefix {
            Prefix::Equal => (Some(first), Some(last)),
            Prefix::Greater | Prefix::GreaterOrEqual | Prefix::StartsAfter => (Some(first), None),
            Prefix::Less | Prefix::LessOrEqual | Prefix::EndsBefore => (None, Some(last)),
            Prefix::NotEqual | Prefix::Approximately => (None, None),
        }
    };
    let mut all = alternatives.iter().map(days);
    let Some(mut widest) = all.next() else { return (None, None) };
    for (first, last) in all {
        widest.0 = widest.0.zip(first).map(|(one, other)| one.min(other));
        widest.1 = widest.1.zip(last).map(|(one, other)| one.max(other));
    }
    (widest.0.map(Into::into), widest.1.map(Into::into))
}

/// The modality, when exactly one is asked for: lists of them are understood in different ways, or not at all.
fn modality(criteria: &[StudyCriterion]) -> Option<MatchValue> {
    let one = |criterion: &StudyCriterion| match criterion {
        StudyCriterion::Modality(tokens) => match tokens.as_slice() {
            [token] => token.code.clone(),
            _ => None,
        },
        _ => None,
    };
    let code = criteria.iter().find_map(one)?;
    MatchValue::exact(&code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::search::{Context, Handling, IMAGING_STUDY_PARAMETERS, Search};

    /// The queries for a search, without the attributes that every one asks for.
    fn asked(query: &str) -> Vec<String> {
        asked_of(query, true)
    }

    /// The same, of an archive that understands lists of UIDs or does not.
    fn asked_of(query: &str, uid_lists: bool) -> Vec<String> {
        let context =
            Context { base: "http://h/fhir", handling: Handling::Lenient, default_count: 50, max_count: 200 };
        let pair = |part: &str| {
            let (name, value) = part.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        };
        let pairs: Vec<_> = query.split('&').filter(|part| !part.is_empty()).map(pair).collect();
        let search = Search::parse(IMAGING_STUDY_PARAMETERS, &pairs, &context).unwrap();
        let keys = |question: Question| {
            let canonical = question.query.canonical();
            let query = canonical.strip_prefix("studies?").unwrap().to_owned();
            query.split('&').filter(|part| !part.starts_with("includefield=")).collect::<Vec<_>>().join("&")
        };
        studies(&search.criteria, None, uid_lists).into_iter().map(keys).collect()
    }

    #[test]
    fn what_names_studies_is_asked_for_alone() {
        assert_eq!(asked("_id=1.2,1.3,abc&modality=CT&started=2024"), ["StudyInstanceUID=1.2,1.3"]);
        assert_eq!(asked("identifier=urn:oid:1.2&status=available"), ["StudyInstanceUID=1.2"]);
        assert_eq!(asked("identifier=urn:dicom:uid|urn:oid:1.2"), ["StudyInstanceUID=1.2"]);
        assert_eq!(asked("identifier=A1"), ["AccessionNumber=A1", "StudyID=A1"]);
        assert_eq!(asked("identifier=http://h/acc|A1"), ["AccessionNumber=A1"]);
        assert_eq!(asked("patient.identifier=urn:oid:1.9|P1,P2"), ["PatientID=P1", "PatientID=P2"]);
        assert!(asked("_id=abc").is_empty(), "what is no UID names no study");
        assert!(asked("identifier=urn:dicom:uid|").len() == 1);
    }

    #[test]
    fn uids_are_asked_for_one_by_one_where_lists_are_not_understood() {
        let alone = ["StudyInstanceUID=1.2", "StudyInstanceUID=1.3"];
        assert_eq!(asked_of("_id=1.2,1.3", false), alone);
        assert_eq!(asked_of("identifier=urn:oid:1.2,urn:oid:1.3", false), alone);
    }

    #[test]
    fn what_could_be_misread_is_widened_and_never_opened() {
        assert_eq!(asked("patient.identifier=P*1"), ["PatientID=P*1"]);
        assert_eq!(asked("patient.identifier=M\u{fc}ller"), ["PatientID=M*ller"]);
        assert_eq!(asked("patient.identifier=*"), [""], "everybody is looked through and rechecked");
    }

    #[test]
    fn days_narrow_as_far_as_every_zone_allows() {
        assert_eq!(asked("started=2024-01"), ["StudyDate=20240101-20240131"]);
        assert_eq!(asked("started=ge2024-01-15&started=lt2024-02"), ["StudyDate=20240115-20240229"]);
        assert_eq!(asked("started=2023,2024"), ["StudyDate=20230101-20241231"]);
        assert_eq!(asked("started=ne2024"), [""]);
        assert!(asked("started=lt2023&started=gt2024").is_empty());
    }

    #[test]
    fn one_modality_is_asked_for_and_can_be_left_out() {
        assert_eq!(asked("modality=CT"), ["ModalitiesInStudy=CT"]);
        assert_eq!(asked("modality=CT,MR"), [""]);
    }
}
