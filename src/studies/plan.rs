//! From criteria to QIDO-RS: the queries whose results contain every study that matches.
//!
//! The queries narrow the search but do not decide it: each returns a superset of the matches, and every row is compared later.
//! An archive may ignore a key, fold case, or read `*`, `,` and `\` as operators. So a key is used only if no archive could
//! lose a match by it:
//!
//! - one criterion that identifies studies or patients is enough; adding dates or modalities could only lose studies
//! - a value that an archive could read as a pattern, or cannot decode, is widened to a pattern that covers it
//! - names of people, codes in sequences and other keys that archives match differently are not sent
//! - what cannot be narrowed is read completely, within `search.max_scan`

use std::sync::Arc;

use jiff::civil::Date;

use super::known_patient::KnownPatient;
use super::named_patients::NamedPatients;
use crate::mapping;
use crate::upstream::{MatchValue, QidoQuery, SearchLevel};
use dicom_model::{DicomDate, Tag, Uid, tags};
use fhir_r4::date::{FhirDate, Prefix};
use fhir_r4::search::{
    Criterion, ImagingStudyParam as Param, ReferenceMatch, ResourceType, System, Test, Token,
};
use fhir_r4::types::{ImagingStudy, Patient};

/// How many UIDs go into one query: a request line of about 3 kB.
pub(super) const UIDS_PER_QUERY: usize = 50;

/// A query to an archive, and its alternatives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PlannedQuery {
    /// The query that is sent first.
    pub(super) query: QidoQuery,
    /// Sent to an archive that keeps padding, if the first query found nothing.
    pub(super) padded: Option<QidoQuery>,
    /// Sent if the archive rejects a key of the first query.
    pub(super) without_optional_keys: Option<QidoQuery>,
    /// The date range of the query. It is split for an archive that rejects such a long list.
    pub(super) days: Option<Days>,
}

/// The first and the last day, inclusive; `None` where there is no bound.
pub(super) type Days = (Option<DicomDate>, Option<DicomDate>);

impl PlannedQuery {
    fn plain(query: QidoQuery) -> Self {
        Self { query, padded: None, without_optional_keys: None, days: None }
    }

    fn by((tag, value): MatchKey) -> Self {
        let padded = (tag == tags::PATIENT_ID).then(|| value.padded()).flatten();
        Self {
            padded: padded.map(|value| every_study().matching(tag, value)),
            ..Self::plain(every_study().matching(tag, value))
        }
    }

    /// The same query for another date range.
    pub(super) fn on(&self, first: DicomDate, last: DicomDate) -> Option<Self> {
        // Ranges that divide another one meet where dates with dots are.
        let from = if first.civil().day_of_year() == 1 { including_dotted(first) } else { first };
        let value = MatchValue::days(Some(from), Some(last))?;
        let on = |query: &QidoQuery| query.clone().matching(tags::STUDY_DATE, value.clone());
        Some(Self {
            query: on(&self.query),
            padded: None,
            without_optional_keys: self.without_optional_keys.as_ref().map(on),
            days: Some((Some(first), Some(last))),
        })
    }
}

/// How an archive is queried for the studies that can match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    /// The results of all queries together contain every match; without a query nothing can match.
    Ask(Vec<PlannedQuery>),
    /// Series or instances are searched first, and identify the studies. If the archive finds none, and does not support
    /// searches at that level reliably, the planned queries are sent.
    Below(Vec<QidoQuery>, Vec<PlannedQuery>),
}

/// Plans the queries for every study that can match. `patients` are those that the criteria refer to, if any. An archive
/// without support for lists of UIDs is queried for each UID separately.
pub(super) fn studies(
    criteria: &[Criterion<ImagingStudy>],
    patients: Option<&[Arc<KnownPatient>]>,
    uid_lists: bool,
) -> Plan {
    let uids_a_query = if uid_lists { UIDS_PER_QUERY } else { 1 };
    let naming = |criterion| naming_keys(criterion, patients, uids_a_query);
    if let Some(keys) = criteria.iter().find_map(naming) {
        return Plan::Ask(keys.into_iter().map(PlannedQuery::by).collect());
    }
    let (first, last) = days(criteria);
    if first.zip(last).is_some_and(|(first, last)| first > last) {
        return Plan::Ask(Vec::new());
    }
    let first = first.map(including_dotted);
    let mut planned = PlannedQuery::plain(every_study());
    if let Some(value) = MatchValue::days(first, last) {
        planned.query = planned.query.matching(tags::STUDY_DATE, value);
        planned.days = Some((first, last));
    }
    if let Some(modality) = modality(criteria) {
        planned.without_optional_keys = Some(planned.query.clone());
        planned.query = planned.query.matching(tags::MODALITIES_IN_STUDY, modality);
    }
    match criteria.iter().find_map(|criterion| below(criterion, uids_a_query)) {
        Some(queries) => Plan::Below(queries, vec![planned]),
        None => Plan::Ask(vec![planned]),
    }
}

/// The queries for the studies of `patients`; for every study if one of the patients cannot be queried for.
pub(super) fn studies_of(patients: &[Arc<KnownPatient>]) -> Vec<PlannedQuery> {
    queries_by(patients.iter().map(|patient| patient_key(patient)))
}

/// The queries for the studies with any of these Patient IDs; for every study if one of them cannot be queried for.
pub(super) fn studies_of_patient_ids<'a>(
    patient_ids: impl IntoIterator<Item = &'a str>,
) -> Vec<PlannedQuery> {
    queries_by(patient_ids.into_iter().map(|id| Some((tags::PATIENT_ID, covering_value(id)?))))
}

/// The queries for these studies.
pub(super) fn studies_named<'a>(uids: impl Iterator<Item = &'a str>, uid_lists: bool) -> Vec<PlannedQuery> {
    let uids_a_query = if uid_lists { UIDS_PER_QUERY } else { 1 };
    uid_keys(tags::STUDY_INSTANCE_UID, uids, uids_a_query).into_iter().map(PlannedQuery::by).collect()
}

/// The query for every study.
pub(super) fn all() -> PlannedQuery {
    PlannedQuery::plain(every_study())
}

fn queries_by(keys: impl Iterator<Item = Option<MatchKey>>) -> Vec<PlannedQuery> {
    let keys: Option<Vec<_>> = keys.collect();
    keys.map_or_else(|| vec![all()], |keys| keys.into_iter().map(PlannedQuery::by).collect())
}

fn patient_key(patient: &KnownPatient) -> Option<MatchKey> {
    match patient {
        KnownPatient::Identified(id) => Some((tags::PATIENT_ID, covering_value(id)?)),
        KnownPatient::OfStudy(study) => Some((tags::STUDY_INSTANCE_UID, MatchValue::uid(study.uid()))),
    }
}

/// The query for every study, with all attributes that the mapping reads.
fn every_study() -> QidoQuery {
    QidoQuery::new(SearchLevel::Studies).include(mapping::study_tags()).include(mapping::patient_tags())
}

type MatchKey = (Tag, MatchValue);

/// Keys of which every match has one; empty if nothing can match; `None` if the criterion does not identify studies, or not in
/// a way that can be queried.
fn naming_keys(
    criterion: &Criterion<ImagingStudy>,
    patients: Option<&[Arc<KnownPatient>]>,
    uids_a_query: usize,
) -> Option<Vec<MatchKey>> {
    match criterion.parameter.key {
        Param::Id => match &criterion.test {
            Test::Token(tokens) => {
                Some(uid_keys(tags::STUDY_INSTANCE_UID, Token::codes(tokens)?.into_iter(), uids_a_query))
            }
            _ => None,
        },
        Param::Identifier => match &criterion.test {
            Test::Token(tokens) => identifier_keys(tokens, uids_a_query),
            Test::OfType(identifiers) => {
                let values = identifiers.iter().map(|identifier| identifier.value.as_str());
                values_of_identifiers(values, uids_a_query)
            }
            _ => None,
        },
        Param::Patient | Param::Subject => match &criterion.test {
            Test::Reference(_) => patients?.iter().map(|patient| patient_key(patient)).collect(),
            Test::Identifier(tokens) => patient_id_keys(Token::codes(tokens)?),
            Test::Patient(criterion) => patient_keys(criterion, patients),
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

fn patient_keys(
    criterion: &Criterion<Patient>,
    patients: Option<&[Arc<KnownPatient>]>,
) -> Option<Vec<MatchKey>> {
    match NamedPatients::from_criterion(criterion)? {
        NamedPatients::Ids(_) => patients?.iter().map(|patient| patient_key(patient)).collect(),
        NamedPatients::Identifiers(values) => patient_id_keys(values),
    }
}

fn patient_id_keys(patient_ids: Vec<&str>) -> Option<Vec<MatchKey>> {
    patient_ids.into_iter().map(|id| Some((tags::PATIENT_ID, covering_value(id)?))).collect()
}

/// The Patient ids that a criterion refers to; `None` if it refers to none.
pub(super) fn patients_named(criterion: &Criterion<ImagingStudy>) -> Option<Vec<&str>> {
    match (criterion.parameter.key, &criterion.test) {
        (Param::Patient | Param::Subject, Test::Reference(references)) => {
            let id = |reference| ReferenceMatch::id_of(reference, ResourceType::Patient);
            Some(references.iter().filter_map(id).collect())
        }
        (Param::Patient | Param::Subject, Test::Patient(criterion)) => {
            match NamedPatients::from_criterion(criterion)? {
                NamedPatients::Ids(ids) => Some(ids),
                NamedPatients::Identifiers(_) => None,
            }
        }
        _ => None,
    }
}

fn uid_keys<'a>(tag: Tag, ids: impl Iterator<Item = &'a str>, uids_a_query: usize) -> Vec<MatchKey> {
    let mut uids: Vec<Uid> = ids.filter_map(|id| Uid::parse(id).ok()).collect();
    uids.sort_unstable();
    uids.dedup();
    let key = |uids: &[Uid]| Some((tag, MatchValue::any_of(uids)?));
    uids.chunks(uids_a_query).filter_map(key).collect()
}

/// An identifier is the study's UID, its accession number, or its Study ID.
fn identifier_keys(tokens: &[Token], uids_a_query: usize) -> Option<Vec<MatchKey>> {
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
                keys.push((tags::ACCESSION_NUMBER, covering_value(value)?));
                // A Study ID has no system.
                if !matches!(system, System::Uri(_)) {
                    keys.push((tags::STUDY_ID, covering_value(value)?));
                }
            }
        }
    }
    keys.extend(uid_keys(tags::STUDY_INSTANCE_UID, uids.into_iter(), uids_a_query));
    Some(keys)
}

/// The values of identifiers that are selected by type.
fn values_of_identifiers<'a>(
    values: impl Iterator<Item = &'a str>,
    uids_a_query: usize,
) -> Option<Vec<MatchKey>> {
    let mut keys = Vec::new();
    for value in values {
        if let Some(uid) = value.strip_prefix("urn:oid:") {
            keys.extend(uid_keys(tags::STUDY_INSTANCE_UID, std::iter::once(uid), uids_a_query));
        } else {
            keys.push((tags::ACCESSION_NUMBER, covering_value(value)?));
            keys.push((tags::STUDY_ID, covering_value(value)?));
        }
    }
    Some(keys)
}

/// A match value that finds `text` however an archive reads it.
fn covering_value(text: &str) -> Option<MatchValue> {
    MatchValue::exact(text).or_else(|| MatchValue::wildcard(text))
}

/// Searches for series or instances that identify the studies that can match.
fn below(criterion: &Criterion<ImagingStudy>, uids_a_query: usize) -> Option<Vec<QidoQuery>> {
    let Test::Token(tokens) = &criterion.test else { return None };
    let (level, tag) = match criterion.parameter.key {
        Param::Series => (SearchLevel::AllSeries, tags::SERIES_INSTANCE_UID),
        Param::Instance => (SearchLevel::AllInstances, tags::SOP_INSTANCE_UID),
        Param::DicomClass => (SearchLevel::AllInstances, tags::SOP_CLASS_UID),
        _ => return None,
    };
    let uids = Token::codes(tokens)?.into_iter().map(|code| code.strip_prefix("urn:oid:").unwrap_or(code));
    let keys = uid_keys(tag, uids, uids_a_query);
    Some(keys.into_iter().map(|(tag, value)| QidoQuery::new(level.clone()).matching(tag, value)).collect())
}

/// The first and the last day on which a match can have started.
fn days(criteria: &[Criterion<ImagingStudy>]) -> Days {
    let mut bounds: Days = (None, None);
    for criterion in criteria {
        let Test::Date(alternatives) = &criterion.test else { continue };
        if criterion.parameter.key != Param::Started {
            continue;
        }
        let (first, last) = days_of_any(alternatives);
        bounds.0 = bounds.0.max(first);
        bounds.1 = match (bounds.1, last) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
    bounds
}

/// The last year in which objects may have dates in the format of ACR-NEMA, `1997.04.24` (PS3.5 table 6.2-1, note to DA): the
/// standards before DICOM were in use for some years after 1993.
const LAST_ACR_NEMA_YEAR: i16 = 2000;

/// The beginning of a range that contains the dates of its first year in the format of ACR-NEMA. Archives compare dates as text, in
/// which all of them are between the last day of the previous year and the first day.
fn including_dotted(first: DicomDate) -> DicomDate {
    let year = first.civil().year();
    let before = Date::new(year - 1, 12, 31).ok().filter(|_| (2..=LAST_ACR_NEMA_YEAR).contains(&year));
    before.map_or(first, DicomDate::from)
}

/// The range of days on which a match for any of the alternatives can have started; `None` where there is no bound.
fn days_of_any(alternatives: &[(Prefix, FhirDate)]) -> Days {
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

/// The modality, if exactly one is requested: archives read lists of modalities differently, or not at all.
fn modality(criteria: &[Criterion<ImagingStudy>]) -> Option<MatchValue> {
    let one = |criterion: &Criterion<ImagingStudy>| match (criterion.parameter.key, &criterion.test) {
        (Param::Modality, Test::Token(tokens)) => match tokens.as_slice() {
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
    use fhir_r4::search::{Context, Handling, Search};

    fn planned(query: &str, uid_lists: bool) -> Plan {
        let context = Context {
            base: "http://h/fhir",
            handling: Handling::Lenient,
            default_count: 50,
            max_count: 200,
            is_uid: Uid::is_legal,
        };
        let pair = |part: &str| {
            let (name, value) = part.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        };
        let pairs: Vec<_> = query.split('&').filter(|part| !part.is_empty()).map(pair).collect();
        studies(&Search::parse(&pairs, &context).unwrap().criteria, None, uid_lists)
    }

    /// A query without the attributes that every query requests.
    fn keys(query: &QidoQuery) -> String {
        let canonical = query.canonical();
        let (_, query) = canonical.split_once('?').unwrap();
        query.split('&').filter(|part| !part.starts_with("includefield=")).collect::<Vec<_>>().join("&")
    }

    fn planned_queries(query: &str) -> Vec<String> {
        planned_queries_of(query, true)
    }

    /// The queries to an archive with or without support for lists of UIDs.
    fn planned_queries_of(query: &str, uid_lists: bool) -> Vec<String> {
        match planned(query, uid_lists) {
            Plan::Ask(queries) => queries.iter().map(|planned| keys(&planned.query)).collect(),
            Plan::Below(queries, _) => queries.iter().map(keys).collect(),
        }
    }

    #[test]
    fn a_criterion_that_identifies_studies_is_the_only_key() {
        assert_eq!(planned_queries("_id=1.2,1.3,abc&modality=CT&started=2024"), ["StudyInstanceUID=1.2,1.3"]);
        assert_eq!(planned_queries("identifier=urn:oid:1.2&status=available"), ["StudyInstanceUID=1.2"]);
        assert_eq!(planned_queries("identifier=urn:dicom:uid|urn:oid:1.2"), ["StudyInstanceUID=1.2"]);
        assert_eq!(planned_queries("identifier=A1"), ["AccessionNumber=A1", "StudyID=A1"]);
        assert_eq!(planned_queries("identifier=http://h/acc|A1"), ["AccessionNumber=A1"]);
        assert_eq!(planned_queries("identifier:of-type=s|ACSN|A1"), ["AccessionNumber=A1", "StudyID=A1"]);
        for by_patient in ["patient.identifier", "patient:identifier", "subject:Patient.identifier"] {
            assert_eq!(
                planned_queries(&format!("{by_patient}=urn:oid:1.9|P1,P2")),
                ["PatientID=P1", "PatientID=P2"]
            );
        }
        assert!(planned_queries("_id=abc").is_empty(), "a value that is not a UID identifies no study");
        assert!(planned_queries("identifier=urn:dicom:uid|").len() == 1);
    }

    #[test]
    fn a_negated_criterion_narrows_nothing() {
        for open in ["_id:not=1.2", "identifier:not=A1", "patient.identifier:missing=true", "modality:not=CT"]
        {
            assert_eq!(planned_queries(open), [""], "{open}");
        }
    }

    #[test]
    fn uids_are_queried_one_by_one_where_lists_are_not_supported() {
        let alone = ["StudyInstanceUID=1.2", "StudyInstanceUID=1.3"];
        assert_eq!(planned_queries_of("_id=1.2,1.3", false), alone);
        assert_eq!(planned_queries_of("identifier=urn:oid:1.2,urn:oid:1.3", false), alone);
    }

    #[test]
    fn a_value_that_could_be_misread_is_widened_but_never_to_everything() {
        assert_eq!(planned_queries("patient.identifier=P*1"), ["PatientID=P*1"]);
        assert_eq!(planned_queries("patient.identifier=M\u{fc}ller"), ["PatientID=M*ller"]);
        assert_eq!(planned_queries("patient.identifier=*"), [""], "all studies are read and compared");
    }

    #[test]
    fn days_narrow_as_far_as_every_time_zone_allows() {
        assert_eq!(planned_queries("started=2024-01"), ["StudyDate=20240101-20240131"]);
        assert_eq!(
            planned_queries("started=ge2024-01-15&started=lt2024-02"),
            ["StudyDate=20240115-20240229"]
        );
        assert_eq!(planned_queries("started=2023,2024"), ["StudyDate=20230101-20241231"]);
        assert_eq!(planned_queries("started=ne2024"), [""]);
        assert!(planned_queries("started=lt2023&started=gt2024").is_empty());
    }

    #[test]
    fn ranges_of_old_days_contain_dates_with_dots() {
        for (query, range) in [
            ("started=1997-04-24", "19961231-19970424"),
            ("started=1997", "19961231-19971231"),
            ("started=ge1997-04-24&started=lt1998-02", "19961231-19980228"),
            ("started=gt2000-06-01", "19991231-"),
            ("started=le1997-04-24", "-19970424"),
            ("started=2001-04-24", "20010424"),
        ] {
            assert_eq!(planned_queries(query), [format!("StudyDate={range}")], "{query}");
        }
        let Plan::Ask(queries) = planned("started=1997", true) else { panic!() };
        let on = |first: &str, last: &str| {
            let day = |text: &str| DicomDate::parse(text).unwrap();
            keys(&queries[0].on(day(first), day(last)).unwrap().query)
        };
        assert_eq!(on("19970101", "19970331"), "StudyDate=19961231-19970331");
        assert_eq!(on("19970101", "19970101"), "StudyDate=19961231-19970101");
        assert_eq!(on("19970401", "19970630"), "StudyDate=19970401-19970630");
        assert_eq!(on("20240101", "20240630"), "StudyDate=20240101-20240630");
    }

    #[test]
    fn one_modality_is_an_optional_key() {
        assert_eq!(planned_queries("modality=CT"), ["ModalitiesInStudy=CT"]);
        assert_eq!(planned_queries("modality=CT,MR"), [""]);
    }

    #[test]
    fn criteria_below_the_study_are_searched_first() {
        let Plan::Below(queries, otherwise) = planned("series=1.5&started=2024", true) else { panic!() };
        assert_eq!(queries[0].canonical(), "series?SeriesInstanceUID=1.5");
        assert_eq!(keys(&otherwise[0].query), "StudyDate=20240101-20241231");
        assert_eq!(planned_queries("dicom-class=urn:oid:1.2.840.1"), ["SOPClassUID=1.2.840.1"]);
        assert_eq!(
            planned_queries("instance=1.7&patient.identifier=P1"),
            ["PatientID=P1"],
            "the patient narrows most"
        );
        let Plan::Below(nothing, _) = planned("instance=s|x", true) else { panic!() };
        assert!(nothing.is_empty());
    }
}
