//! Plans the QIDO-RS queries of a search. Their results together contain every study that matches the criteria.
//!
//! The results may contain other studies too, because every row is compared with the criteria later. An archive may ignore a
//! key, fold case, or read `*`, `,` and `\` as operators. Therefore a key is sent only if no archive could omit a match because
//! of it:
//!
//! - a criterion that identifies studies or patients is the only key: a date or modality as a second key could only lose matches
//! - a value that an archive could read as a pattern, or cannot decode, is widened to a pattern that matches it
//! - names of people, codes in sequences and other keys that archives match differently are not sent
//! - if no key can be sent, the whole list is read, up to `search.max_scan` rows

mod date_range;
mod identifying_keys;

use std::sync::Arc;

use super::known_patient::KnownPatient;
use crate::mapping;
use crate::upstream::{Archive, MatchValue, QidoQuery, SearchLevel};
use dicom_model::{DicomDate, Tag, UidRule, tags};
use fhir_r4::search::{Comparison, Criterion, ImagingStudyParam as Param, Token};
use fhir_r4::types::ImagingStudy;
use identifying_keys::{MatchKey, identifying_keys, key_of_patient, key_of_patient_id, keys_of_uids};

pub(super) use date_range::DateRange;
pub(super) use identifying_keys::referenced_patient_ids;

/// The attributes whose values are also searched for with padding: those that identify patients and studies, except UIDs.
const PADDED_TAGS: [Tag; 3] = [tags::PATIENT_ID, tags::ACCESSION_NUMBER, tags::STUDY_ID];

/// A query to an archive, and its alternatives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PlannedQuery {
    /// The query that is sent first.
    pub(super) query: QidoQuery,
    /// The query that is sent if the first query finds nothing and the archive does not remove the padding of values.
    pub(super) padded: Option<QidoQuery>,
    /// The query that is sent if the archive rejects a key of the first query.
    pub(super) without_optional_keys: Option<QidoQuery>,
    /// The date range of the query, which is split if the archive rejects the query because the list would be too long.
    pub(super) date_range: Option<DateRange>,
}

impl PlannedQuery {
    pub(super) fn without_alternatives(query: QidoQuery) -> Self {
        Self { query, padded: None, without_optional_keys: None, date_range: None }
    }

    fn from_key((tag, value): MatchKey) -> Self {
        let padded = PADDED_TAGS.contains(&tag).then(|| value.padded()).flatten();
        Self {
            padded: padded.map(|value| every_study().matching(tag, value)),
            ..Self::without_alternatives(every_study().matching(tag, value))
        }
    }

    /// Returns the same query for the days from `first` to `last`.
    pub(super) fn for_days(&self, first: DicomDate, last: DicomDate) -> Option<Self> {
        // The archive sorts the dotted dates of a year before its first day, so the part that begins with this day contains them.
        let range = DateRange { first: Some(first), last: Some(last) };
        let sent_range =
            if first.civil().day_of_year() == 1 { range.extended_to_dotted_dates() } else { range };
        Some(Self { date_range: Some(range), ..self.for_range(sent_range)? })
    }

    /// Returns the same query for the days of `range`; `None` if it has no bounds.
    pub(super) fn for_range(&self, range: DateRange) -> Option<Self> {
        let value = range.match_value()?;
        let restrict = |query: &QidoQuery| query.clone().matching(tags::STUDY_DATE, value.clone());
        Some(Self {
            query: restrict(&self.query),
            padded: None,
            without_optional_keys: self.without_optional_keys.as_ref().map(restrict),
            date_range: Some(range),
        })
    }

    /// Returns the same query without the keys that the copy of a study in another archive may not match.
    #[must_use]
    pub(super) fn without_keys_of_copies(self) -> Self {
        let query = self.without_optional_keys.unwrap_or(self.query);
        Self { query, without_optional_keys: None, ..self }
    }
}

/// The queries that find all studies that can match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    /// Queries for studies, whose results together contain every match. If there is no query, nothing can match.
    Studies(Vec<PlannedQuery>),
    /// Queries for series or instances, whose rows identify the studies. The queries for studies replace them if the archive
    /// does not support searches across studies at that level reliably.
    ChildrenFirst {
        /// The queries for series or instances.
        children: Vec<QidoQuery>,
        /// The queries for studies.
        studies: Vec<PlannedQuery>,
    },
}

/// The UIDs by which an archive can be searched.
#[derive(Debug, Clone, Copy)]
pub(super) struct UidKeys {
    /// The rule of the archive, which is not asked for other UIDs.
    rule: UidRule,
    /// The maximum number of Study Instance UIDs in one query.
    per_query: usize,
    /// The maximum number of other UIDs in one query.
    others_per_query: usize,
}

impl UidKeys {
    /// Returns the UIDs by which `archive` can be searched.
    pub(super) fn of(archive: &Archive) -> Self {
        let profile = archive.profile();
        let per_query = profile.max_uids_per_query();
        // Only a list of studies is verified if the profile was found out.
        let others_per_query = if profile.is_probed { 1 } else { per_query };
        Self { rule: archive.uid_rule(), per_query, others_per_query }
    }
}

/// Plans the queries for every study that can match. `patients` are those that the criteria refer to, if any.
pub(super) fn plan_queries(
    criteria: &[Criterion<ImagingStudy>],
    patients: Option<&[Arc<KnownPatient>]>,
    uid_keys: UidKeys,
) -> Plan {
    let keys_of = |criterion| identifying_keys(criterion, patients, uid_keys);
    if let Some(keys) = criteria.iter().find_map(keys_of) {
        return Plan::Studies(keys.into_iter().map(PlannedQuery::from_key).collect());
    }
    let range = DateRange::from_criteria(criteria);
    if range.is_empty() {
        return Plan::Studies(Vec::new());
    }
    let planned = query_by_date(criteria, range);
    match criteria.iter().find_map(|criterion| child_queries(criterion, uid_keys)) {
        Some(children) => Plan::ChildrenFirst { children, studies: vec![planned] },
        None => Plan::Studies(vec![planned]),
    }
}

/// Returns the single query for every study that can match, and the range of its dates, which can be narrowed; `None` if the studies
/// that can match are those of several queries, or of one by which they are identified.
pub(super) fn query_to_narrow_by_date(
    criteria: &[Criterion<ImagingStudy>],
    uid_keys: UidKeys,
) -> Option<(PlannedQuery, DateRange)> {
    let is_identified =
        criteria.iter().any(|criterion| identifying_keys(criterion, None, uid_keys).is_some());
    let range = DateRange::from_criteria(criteria);
    (!is_identified && !range.is_empty()).then(|| (query_by_date(criteria, range), range))
}

/// Returns the query for every study with a date in `range`, which is the only key that `criteria` have besides the modality.
fn query_by_date(criteria: &[Criterion<ImagingStudy>], range: DateRange) -> PlannedQuery {
    let range = range.extended_to_dotted_dates();
    let mut planned = query_for_all_studies();
    if let Some(value) = range.match_value() {
        planned.query = planned.query.matching(tags::STUDY_DATE, value);
        planned.date_range = Some(range);
    }
    if let Some(modality) = single_modality(criteria) {
        planned.without_optional_keys = Some(planned.query.clone());
        planned.query = planned.query.matching(tags::MODALITIES_IN_STUDY, modality);
    }
    planned
}

/// Returns the queries for the studies of `patients`, or the query for every study if there is no key for one of the patients.
pub(super) fn queries_for_patients(patients: &[Arc<KnownPatient>]) -> Vec<PlannedQuery> {
    queries_for_keys(patients.iter().map(|patient| key_of_patient(patient)))
}

/// Returns the queries for the studies with any of these Patient IDs, or the query for every study if there is no key for one
/// of them.
pub(super) fn queries_for_patient_ids<'a>(
    patient_ids: impl IntoIterator<Item = &'a str>,
) -> Vec<PlannedQuery> {
    queries_for_keys(patient_ids.into_iter().map(key_of_patient_id))
}

/// Returns the queries for the studies with these UIDs; none for UIDs that the archive is not asked for.
pub(super) fn queries_for_uids<'a>(
    uids: impl Iterator<Item = &'a str>,
    uid_keys: UidKeys,
) -> Vec<PlannedQuery> {
    let keys = keys_of_uids(tags::STUDY_INSTANCE_UID, uids, uid_keys);
    keys.into_iter().map(PlannedQuery::from_key).collect()
}

/// Returns the query for every study.
pub(super) fn query_for_all_studies() -> PlannedQuery {
    PlannedQuery::without_alternatives(every_study())
}

fn queries_for_keys(keys: impl Iterator<Item = Option<MatchKey>>) -> Vec<PlannedQuery> {
    let keys: Option<Vec<_>> = keys.collect();
    keys.map_or_else(
        || vec![query_for_all_studies()],
        |keys| keys.into_iter().map(PlannedQuery::from_key).collect(),
    )
}

/// Returns the query for every study, with all attributes that the mapping reads.
fn every_study() -> QidoQuery {
    QidoQuery::new(SearchLevel::Studies).include(mapping::study_tags()).include(mapping::patient_tags())
}

/// Returns the queries for series or instances that identify the studies that can match.
fn child_queries(criterion: &Criterion<ImagingStudy>, uid_keys: UidKeys) -> Option<Vec<QidoQuery>> {
    let Comparison::Token(tokens) = &criterion.comparison else { return None };
    let (level, tag) = match criterion.parameter.key {
        Param::Series => (SearchLevel::AllSeries, tags::SERIES_INSTANCE_UID),
        Param::Instance => (SearchLevel::AllInstances, tags::SOP_INSTANCE_UID),
        Param::DicomClass => (SearchLevel::AllInstances, tags::SOP_CLASS_UID),
        _ => return None,
    };
    let uids = Token::codes(tokens)?.into_iter().map(|code| code.strip_prefix("urn:oid:").unwrap_or(code));
    let keys = keys_of_uids(tag, uids, uid_keys);
    Some(keys.into_iter().map(|(tag, value)| QidoQuery::new(level.clone()).matching(tag, value)).collect())
}

/// Returns the modality if exactly one is requested, because archives read lists of modalities differently or not at all.
fn single_modality(criteria: &[Criterion<ImagingStudy>]) -> Option<MatchValue> {
    let code_of = |criterion: &Criterion<ImagingStudy>| match (criterion.parameter.key, &criterion.comparison)
    {
        (Param::Modality, Comparison::Token(tokens)) => match tokens.as_slice() {
            [token] => token.code.clone(),
            _ => None,
        },
        _ => None,
    };
    let code = criteria.iter().find_map(code_of)?;
    MatchValue::exact(&code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicom_model::Uid;
    use fhir_r4::search::{Handling, ParseContext, Search};

    fn planned(query: &str, supports_uid_lists: bool) -> Plan {
        planned_by(UidRule::Strict, query, supports_uid_lists)
    }

    fn planned_by(rule: UidRule, query: &str, supports_uid_lists: bool) -> Plan {
        let context = ParseContext {
            base: "http://h/fhir",
            handling: Handling::Lenient,
            default_count: 50,
            max_count: 200,
            is_uid: Uid::is_legal,
            is_other_uid: |_| true,
        };
        let parse_pair = |part: &str| {
            let (name, value) = part.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        };
        let pairs: Vec<_> = query.split('&').filter(|part| !part.is_empty()).map(parse_pair).collect();
        let criteria = Search::parse(&pairs, &context).unwrap().criteria;
        let per_query = if supports_uid_lists { 50 } else { 1 };
        plan_queries(&criteria, None, UidKeys { rule, per_query, others_per_query: per_query })
    }

    /// Returns the matching keys of a query, without the attributes that every query requests.
    fn keys_of(query: &QidoQuery) -> String {
        let canonical = query.canonical();
        let (_, query) = canonical.split_once('?').unwrap();
        query.split('&').filter(|part| !part.starts_with("includefield=")).collect::<Vec<_>>().join("&")
    }

    fn planned_keys(query: &str) -> Vec<String> {
        planned_keys_for(query, true)
    }

    /// Returns the matching keys for an archive with or without support for lists of UIDs.
    fn planned_keys_for(query: &str, supports_uid_lists: bool) -> Vec<String> {
        match planned(query, supports_uid_lists) {
            Plan::Studies(queries) => queries.iter().map(|planned| keys_of(&planned.query)).collect(),
            Plan::ChildrenFirst { children, .. } => children.iter().map(keys_of).collect(),
        }
    }

    #[test]
    fn a_criterion_that_identifies_studies_is_the_only_key() {
        assert_eq!(planned_keys("_id=1.2,1.3,abc&modality=CT&started=2024"), ["StudyInstanceUID=1.2,1.3"]);
        assert_eq!(planned_keys("identifier=urn:oid:1.2&status=available"), ["StudyInstanceUID=1.2"]);
        assert_eq!(planned_keys("identifier=urn:dicom:uid|urn:oid:1.2"), ["StudyInstanceUID=1.2"]);
        assert_eq!(planned_keys("identifier=A1"), ["AccessionNumber=A1", "StudyID=A1"]);
        assert_eq!(planned_keys("identifier=http://h/acc|A1"), ["AccessionNumber=A1"]);
        assert_eq!(planned_keys("identifier:of-type=s|ACSN|A1"), ["AccessionNumber=A1", "StudyID=A1"]);
        for by_patient in ["patient.identifier", "patient:identifier", "subject:Patient.identifier"] {
            assert_eq!(
                planned_keys(&format!("{by_patient}=urn:oid:1.9|P1,P2")),
                ["PatientID=P1", "PatientID=P2"]
            );
        }
        assert!(planned_keys("_id=abc").is_empty(), "a value that is not a UID identifies no study");
        assert_eq!(
            planned_keys("identifier=urn:dicom:uid|"),
            [""],
            "a token without a code identifies no study"
        );
    }

    #[test]
    fn only_archives_with_the_lenient_rule_are_asked_for_uids_that_are_not_those_of_dicom() {
        for (query, strict, lenient) in [
            ("_id=1.2,ab-1", &["StudyInstanceUID=1.2"][..], &["StudyInstanceUID=1.2,ab-1"][..]),
            ("_id=ab-1", &[], &["StudyInstanceUID=ab-1"]),
            ("identifier=urn:dicom:uid|a_b", &[], &[]),
            ("identifier=urn:dicom:uid|ab-1", &[], &["StudyInstanceUID=ab-1"]),
            ("identifier=urn:dicom:uid|1.2", &[], &[]),
            (
                "identifier=ab-1",
                &["AccessionNumber=ab-1", "StudyID=ab-1"],
                &["AccessionNumber=ab-1", "StudyID=ab-1", "StudyInstanceUID=ab-1"],
            ),
            ("identifier=12", &["AccessionNumber=12", "StudyID=12"], &["AccessionNumber=12", "StudyID=12"]),
            ("identifier=http://h/acc|ab-1", &["AccessionNumber=ab-1"], &["AccessionNumber=ab-1"]),
            ("series=ab-1", &[], &["SeriesInstanceUID=ab-1"]),
            ("instance=ab-1", &[], &["SOPInstanceUID=ab-1"]),
            ("dicom-class=urn:oid:ab-1", &[], &[]),
        ] {
            let keys = |rule| match planned_by(rule, query, true) {
                Plan::Studies(queries) => queries.iter().map(|planned| keys_of(&planned.query)).collect(),
                Plan::ChildrenFirst { children, .. } => children.iter().map(keys_of).collect::<Vec<_>>(),
            };
            assert_eq!(keys(UidRule::Strict), strict, "{query}");
            assert_eq!(keys(UidRule::Lenient), lenient, "{query}");
        }
    }

    #[test]
    fn a_negated_criterion_is_not_a_key() {
        for query in
            ["_id:not=1.2", "identifier:not=A1", "patient.identifier:missing=true", "modality:not=CT"]
        {
            assert_eq!(planned_keys(query), [""], "{query}");
        }
    }

    #[test]
    fn uids_are_queried_one_by_one_where_lists_are_not_supported() {
        let expected = ["StudyInstanceUID=1.2", "StudyInstanceUID=1.3"];
        assert_eq!(planned_keys_for("_id=1.2,1.3", false), expected);
        assert_eq!(planned_keys_for("identifier=urn:oid:1.2,urn:oid:1.3", false), expected);
    }

    #[test]
    fn a_value_that_archives_could_misread_becomes_a_pattern_that_does_not_match_everything() {
        assert_eq!(planned_keys("patient.identifier=P*1"), ["PatientID=P*1"]);
        assert_eq!(planned_keys("patient.identifier=M\u{fc}ller"), ["PatientID=M*ller"]);
        assert_eq!(planned_keys("patient.identifier=*"), [""], "all studies are read and compared");
    }

    #[test]
    fn a_date_range_contains_the_requested_days_in_every_time_zone() {
        assert_eq!(planned_keys("started=2024-01"), ["StudyDate=20240101-20240131"]);
        assert_eq!(planned_keys("started=ge2024-01-15&started=lt2024-02"), ["StudyDate=20240115-20240229"]);
        assert_eq!(planned_keys("started=2023,2024"), ["StudyDate=20230101-20241231"]);
        assert_eq!(planned_keys("started=ne2024"), [""]);
        assert!(planned_keys("started=lt2023&started=gt2024").is_empty());
    }

    #[test]
    fn a_range_of_early_days_contains_dotted_dates() {
        for (query, range) in [
            ("started=1997-04-24", "19961231-19970424"),
            ("started=1997", "19961231-19971231"),
            ("started=ge1997-04-24&started=lt1998-02", "19961231-19980228"),
            ("started=gt2000-06-01", "19991231-"),
            ("started=le1997-04-24", "-19970424"),
            ("started=2001-04-24", "20010424"),
        ] {
            assert_eq!(planned_keys(query), [format!("StudyDate={range}")], "{query}");
        }
        let Plan::Studies(queries) = planned("started=1997", true) else { panic!() };
        let part = |first: &str, last: &str| {
            let parse = |text: &str| DicomDate::parse(text).unwrap();
            keys_of(&queries[0].for_days(parse(first), parse(last)).unwrap().query)
        };
        assert_eq!(part("19970101", "19970331"), "StudyDate=19961231-19970331");
        assert_eq!(part("19970101", "19970101"), "StudyDate=19961231-19970101");
        assert_eq!(part("19970401", "19970630"), "StudyDate=19970401-19970630");
        assert_eq!(part("20240101", "20240630"), "StudyDate=20240101-20240630");
    }

    #[test]
    fn one_modality_is_an_optional_key() {
        assert_eq!(planned_keys("modality=CT"), ["ModalitiesInStudy=CT"]);
        assert_eq!(planned_keys("modality=CT,MR"), [""]);
    }

    #[test]
    fn series_and_instances_are_searched_before_studies() {
        let Plan::ChildrenFirst { children, studies } = planned("series=1.5&started=2024", true) else {
            panic!()
        };
        assert_eq!(children[0].canonical(), "series?SeriesInstanceUID=1.5");
        assert_eq!(keys_of(&studies[0].query), "StudyDate=20240101-20241231");
        assert_eq!(planned_keys("dicom-class=urn:oid:1.2.840.1"), ["SOPClassUID=1.2.840.1"]);
        assert_eq!(
            planned_keys("instance=1.7&patient.identifier=P1"),
            ["PatientID=P1"],
            "a query by patient replaces the query by instance"
        );
        let Plan::ChildrenFirst { children, .. } = planned("instance=s|x", true) else { panic!() };
        assert!(children.is_empty());
    }
}
