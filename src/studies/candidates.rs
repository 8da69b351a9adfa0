//! Finds the candidates: the studies that may match, from the rows of all planned queries.
//!
//! The copies of a study in several archives are one candidate, whose resource is the union of what these archives contain
//! ([`study_copies`](super::study_copies)). Therefore the studies that were found in only some archives are searched for in the
//! other archives too.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::ToSpan;
use jiff::civil::Date;

use super::known_patient::KnownPatient;
use super::plan::{self, DateRange, Plan, PlannedQuery, UidKeys};
use super::row::{RowWithoutUid, StudyRow};
use super::scan::{ListLimits, ListedRows, ScanLimit, SearchRows};
use super::search::keeps_rows_of_uid_together;
use super::{ArchiveSource, FoundStudies, FoundStudy, Freshness, Studies, StudiesError, scan};
use crate::auth::Access;
use crate::mapping::{self, PatientKey};
use crate::upstream::{ArchiveErrorKind, QidoQuery};
use dicom_model::{Attributes, DicomDate, StudyUid, tags};
use fhir_r4::search::{Comparison, Criterion, ImagingStudyParam as Param, ResourceType};
use fhir_r4::types::ImagingStudy;

/// Maximum number of rows of series or instances from which studies are determined. If a search finds more, queries for studies
/// are cheaper for the archive.
const MAX_CHILD_ROWS: usize = 1000;

/// Maximum number of queries with a part of the date range, if an archive rejects the query for the whole range.
const MAX_DATE_RANGES: usize = 64;

/// Maximum number of rows of one study, in all archives, that are compared with each other: each belongs to another patient or
/// archive.
const MAX_ROWS_PER_STUDY: usize = 64;

/// The rows returned for one planned query.
#[derive(Debug, Default)]
pub(super) struct StudyRows {
    /// Rows with a Study Instance UID that the rule of the archive accepts.
    pub(super) with_uid: Vec<StudyRow>,
    /// The other rows.
    pub(super) without_uid: Vec<RowWithoutUid>,
}

impl Studies {
    /// Finds every study that may match `criteria` and that the caller may see, and the rows without a valid UID. The studies are
    /// not yet compared with the criteria.
    pub(super) async fn find_candidates(
        &self,
        criteria: &[Criterion<ImagingStudy>],
        access: &Access,
        freshness: Freshness,
    ) -> Result<(FoundStudies, Vec<RowWithoutUid>), StudiesError> {
        let patients = self.look_up_referenced_patients(criteria, freshness).await?;
        let sources = self.sources.iter().filter(|source| must_be_queried(source, criteria));
        let searches = sources.map(|source| {
            let plan = plan::plan_queries(criteria, patients.as_deref(), UidKeys::of(&source.archive));
            (source, self.run_plan(source, plan, freshness))
        });
        let mut rows = StudyRows::default();
        for (_, found) in self.query_each(searches).await? {
            rows.with_uid.extend(found.with_uid);
            rows.without_uid.extend(found.without_uid);
        }
        rows.with_uid.retain(|row| access.may_see(&row.attributes));
        rows.without_uid.retain(|row| access.may_see(&row.attributes));
        let mut found = group_by_study(rows.with_uid);
        if !queries_every_archive_by_uid(criteria) {
            self.complete_rows(&mut found, access, freshness).await?;
        }
        if !criteria.iter().all(keeps_rows_of_uid_together) {
            self.confirm_assumed_patients(&mut found, access, freshness).await?;
        }
        Ok((found, rows.without_uid))
    }

    /// Finds the studies with these UIDs, with the rows of every archive that contains them.
    pub(super) async fn find_by_uids(
        &self,
        uids: &[&StudyUid],
        access: &Access,
        freshness: Freshness,
    ) -> Result<FoundStudies, StudiesError> {
        let searches =
            self.sources.iter().map(|source| (source, self.query_by_uids(source, uids, freshness)));
        let found = self.query_each(searches).await?;
        let rows = found.into_iter().flat_map(|(_, rows)| rows);
        Ok(group_by_study(rows.filter(|row| access.may_see(&row.attributes))))
    }

    pub(super) async fn query_by_uids(
        &self,
        source: &ArchiveSource,
        uids: &[&StudyUid],
        freshness: Freshness,
    ) -> Result<Vec<StudyRow>, StudiesError> {
        let uid_keys = UidKeys::of(&source.archive);
        let queries = plan::queries_for_uids(uids.iter().map(|uid| uid.as_str()), uid_keys);
        if queries.is_empty() {
            return Ok(Vec::new());
        }
        let mut rows = self.run_queries(source, &queries, freshness).await?.with_uid;
        // An archive that ignores the key returns all its studies.
        rows.retain(|row| uids.contains(&&row.uid));
        Ok(rows)
    }

    /// Queries all archives for the studies with a row without a PatientID: it may be that of a patient whose rows do not match the
    /// criteria, so that the archives did not return them.
    pub(super) async fn confirm_assumed_patients(
        &self,
        found: &mut FoundStudies,
        access: &Access,
        freshness: Freshness,
    ) -> Result<(), StudiesError> {
        let assumed = found.studies.iter().filter(|study| study.has_assumed_patient());
        let uids: Vec<_> = assumed.map(|study| study.uid().clone()).collect();
        if uids.is_empty() {
            return Ok(());
        }
        let all_rows = self.find_by_uids(&uids.iter().collect::<Vec<_>>(), access, freshness).await?;
        found.studies.retain(|study| !uids.contains(study.uid()));
        found.studies.extend(all_rows.studies);
        found.patient_conflicts.extend(all_rows.patient_conflicts);
        Ok(())
    }

    async fn run_plan(
        &self,
        source: &ArchiveSource,
        plan: Plan,
        freshness: Freshness,
    ) -> Result<StudyRows, StudiesError> {
        match plan {
            Plan::Studies(queries) => self.run_queries(source, &queries, freshness).await,
            Plan::ChildrenFirst { children, studies } => {
                let queries_for_parents = self.search_children(source, &children).await?;
                self.run_queries(source, &queries_for_parents.unwrap_or(studies), freshness).await
            }
        }
    }

    /// Searches for series or instances, and returns the queries for their studies; `None` if the result is not reliable. Without a
    /// query, no study of the archive can match, because its rule accepts none of the UIDs.
    async fn search_children(
        &self,
        source: &ArchiveSource,
        queries: &[QidoQuery],
    ) -> Result<Option<Vec<PlannedQuery>>, StudiesError> {
        if queries.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let mut uids = Vec::new();
        let limits = ListLimits {
            max_rows: MAX_CHILD_ROWS,
            max_bytes: self.limits.detail.max_bytes,
            reported_count: None,
        };
        for query in queries {
            match scan::read_list(&source.archive, query, limits).await {
                // A row without a UID may belong to a study that matches.
                Ok(found) if !found.without_uid.is_empty() => return Ok(None),
                Ok(ListedRows { rows, .. }) => {
                    // A row whose study has no acceptable UID belongs to a match that the response reports as omitted.
                    let study_uid = |row: &Attributes| {
                        let uid = row.text(tags::STUDY_INSTANCE_UID)?;
                        source.parse_study_uid(uid).map(|uid| uid.as_str().to_owned())
                    };
                    match rows.iter().map(study_uid).collect::<Option<Vec<_>>>() {
                        Some(study_uids) => uids.extend(study_uids),
                        None => return Ok(None),
                    }
                }
                Err(StudiesError::TooManyRows { .. } | StudiesError::TooManyBytes { .. }) => return Ok(None),
                Err(StudiesError::Archive(error))
                    if error.is_specific_to_request() || error.is_unpageable() =>
                {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
        let profile = source.archive.profile();
        // Some archives return nothing because they search for series or instances only within one study.
        if uids.is_empty() && !profile.searches_across_studies {
            return Ok(None);
        }
        let uid_keys = UidKeys::of(&source.archive);
        Ok(Some(plan::queries_for_uids(uids.iter().map(String::as_str), uid_keys)))
    }

    /// Returns the rows of `queries`, and caches every patient in them. The archive is not asked for UIDs that its rule does not accept.
    pub(super) async fn run_queries(
        &self,
        source: &ArchiveSource,
        queries: &[PlannedQuery],
        freshness: Freshness,
    ) -> Result<StudyRows, StudiesError> {
        let mut rows = StudyRows::default();
        let is_allowed = |planned: &&PlannedQuery| planned.query.uid_rule() <= source.archive.uid_rule();
        for planned in queries.iter().filter(is_allowed) {
            for found in self.run_query(source, planned, freshness).await? {
                self.add_rows(&mut rows, source, &found);
            }
        }
        Ok(rows)
    }

    /// Adds the rows of a list to `rows`, and caches every patient in them.
    pub(super) fn add_rows(&self, rows: &mut StudyRows, source: &ArchiveSource, found: &SearchRows) {
        for row in &found.rows {
            match parse_row(source, row) {
                Ok(row) => {
                    self.cache_patient(&row.patient, KnownPatient::from_row(&row));
                    rows.with_uid.push(row);
                }
                Err(row) => {
                    if let Some(patient) = KnownPatient::from_row_without_uid(&row) {
                        self.cache_patient(&row.patient, patient);
                    }
                    rows.without_uid.push(row);
                }
            }
        }
    }

    /// Returns the rows of a query, in one list or, if that is too long for the archive, in lists for parts of the date range.
    async fn run_query(
        &self,
        source: &ArchiveSource,
        planned: &PlannedQuery,
        freshness: Freshness,
    ) -> Result<Vec<Arc<SearchRows>>, StudiesError> {
        if source.archive.profile().is_probed && planned.query.study_uids().len() > 1 {
            return self.query_by_uid_list(source, &planned.query, freshness).await;
        }
        match self.query_with_alternatives(source, planned, None, freshness).await {
            Err(error) if is_list_too_long(&error) => {
                self.query_by_date_ranges(source, planned, freshness).await
            }
            Err(error) => Err(error),
            Ok(rows) => Ok(vec![rows]),
        }
    }

    /// Returns the rows of a query, or of one of its alternatives. If the list exceeds `limit`, they are its first rows.
    pub(super) async fn query_with_alternatives(
        &self,
        source: &ArchiveSource,
        planned: &PlannedQuery,
        limit: Option<ScanLimit>,
        freshness: Freshness,
    ) -> Result<Arc<SearchRows>, StudiesError> {
        let scan = |query: &QidoQuery| {
            let query = query.clone().include(mapping::study_note_tags(&source.context));
            async move {
                match limit {
                    None => self.scan(&source.archive, query, freshness).await,
                    Some(limit) => self.scan_within(&source.archive, query, limit, freshness).await,
                }
            }
        };
        let found = match (scan(&planned.query).await, &planned.without_optional_keys) {
            (Err(error), Some(alternative)) if is_rejection(&error) && !is_list_too_long(&error) => {
                scan(alternative).await?
            }
            (rows, _) => rows?,
        };
        if let Some(padded) = &planned.padded
            && found.rows.is_empty()
            && source.archive.profile().keeps_padding
        {
            return match scan(padded).await {
                // An archive without wildcard matching has no other rows.
                Err(error) if is_rejection(&error) => Ok(found),
                rows => rows,
            };
        }
        Ok(found)
    }

    /// Splits the date range into halves until the archive accepts the query for each part. A query without a date range cannot
    /// be split, because the parts would not find studies without a date.
    async fn query_by_date_ranges(
        &self,
        source: &ArchiveSource,
        planned: &PlannedQuery,
        freshness: Freshness,
    ) -> Result<Vec<Arc<SearchRows>>, StudiesError> {
        let too_much = || StudiesError::TooMuchToList { archive: source.archive.id().clone() };
        let Some(DateRange { first, last }) = planned.date_range else { return Err(too_much()) };
        let first = first.map_or(EARLIEST_DATE, DicomDate::civil);
        let mut ranges = vec![(first, last.map_or(Date::MAX, DicomDate::civil))];
        let mut found = Vec::new();
        for _ in 0..MAX_DATE_RANGES {
            let Some((first, last)) = ranges.pop() else { return Ok(found) };
            let Some(narrowed) = planned.for_days(first.into(), last.into()) else { continue };
            match self.query_with_alternatives(source, &narrowed, None, freshness).await {
                Ok(rows) => found.push(rows),
                Err(error) if is_list_too_long(&error) && first < last => {
                    let middle = first.saturating_add((days_between(first, last) / 2).days());
                    ranges.push((middle.saturating_add(1.day()), last));
                    ranges.push((first, middle));
                }
                Err(error) if is_list_too_long(&error) => return Err(too_much()),
                Err(error) => return Err(error),
            }
        }
        if ranges.is_empty() { Ok(found) } else { Err(too_much()) }
    }

    /// Looks up the patients that the first criterion with Patient ids refers to; `None` if there is no such criterion.
    async fn look_up_referenced_patients(
        &self,
        criteria: &[Criterion<ImagingStudy>],
        freshness: Freshness,
    ) -> Result<Option<Vec<Arc<KnownPatient>>>, StudiesError> {
        let Some(ids) = criteria.iter().find_map(plan::referenced_patient_ids) else { return Ok(None) };
        let mut patients = Vec::new();
        for id in ids {
            if let Some(patient) = self.look_up_patient(id, freshness).await?
                && !patients.contains(&patient)
            {
                patients.push(patient);
            }
        }
        Ok(Some(patients))
    }
}

/// The first day of a date range without a lower bound.
const EARLIEST_DATE: Date = Date::constant(1, 1, 1);

fn days_between(first: Date, last: Date) -> i32 {
    first.until(last).map_or(0, |span| span.get_days())
}

pub(super) fn is_rejection(error: &StudiesError) -> bool {
    matches!(error, StudiesError::Archive(error) if matches!(error.kind, ArchiveErrorKind::Rejected(_)))
}

/// Whether the archive reports that the list would be too long.
fn is_list_too_long(error: &StudiesError) -> bool {
    matches!(error, StudiesError::Archive(error) if error.is_content_too_large())
}

/// Whether every archive is queried for the studies by their UIDs. Then an archive does not contain the studies that it does not
/// return.
fn queries_every_archive_by_uid(criteria: &[Criterion<ImagingStudy>]) -> bool {
    let is_id = |criterion: &Criterion<ImagingStudy>| {
        criterion.parameter.key == Param::Id && matches!(criterion.comparison, Comparison::Token(_))
    };
    let excludes_archives = |criterion: &Criterion<ImagingStudy>| criterion.parameter.key == Param::Endpoint;
    criteria.iter().any(is_id) && !criteria.iter().any(excludes_archives)
}

/// Whether the archive must be queried to find all matches. A search by `endpoint` needs only the archives that the first such criterion
/// names, because each match has a part in one of them; but other criteria may be satisfied by a part in any archive.
pub(super) fn must_be_queried(source: &ArchiveSource, criteria: &[Criterion<ImagingStudy>]) -> bool {
    if !criteria.iter().all(holds_for_every_part) {
        return true;
    }
    criteria.iter().find_map(|criterion| is_named(source, criterion)).unwrap_or(true)
}

/// Whether a study matches the criterion independently of which of its parts is compared.
pub(super) fn holds_for_every_part(criterion: &Criterion<ImagingStudy>) -> bool {
    matches!(criterion.parameter.key, Param::Endpoint | Param::Id | Param::LastUpdated)
}

/// Whether the criterion names the archive by its Endpoint; `None` if it names no archives.
pub(super) fn is_named(source: &ArchiveSource, criterion: &Criterion<ImagingStudy>) -> Option<bool> {
    let id = source.archive.id().as_str();
    match (criterion.parameter.key, &criterion.comparison) {
        (Param::Endpoint, Comparison::Reference(references)) => {
            Some(references.iter().any(|reference| reference.id_of(ResourceType::Endpoint) == Some(id)))
        }
        _ => None,
    }
}

/// Reads the UID and the patient of a row.
pub(super) fn parse_row(source: &ArchiveSource, attributes: &Attributes) -> Result<StudyRow, RowWithoutUid> {
    let uid = attributes.text(tags::STUDY_INSTANCE_UID).and_then(|uid| source.parse_study_uid(uid));
    let (archive, attributes) = (source.archive.id().clone(), attributes.clone());
    let patient = PatientKey::from_row(&source.context, &attributes);
    let Some(uid) = uid else {
        return Err(RowWithoutUid { archive, patient, attributes, is_compared: false });
    };
    Ok(StudyRow { archive, uid, patient, attributes, shares_uid: false })
}

/// Groups rows by study UID, and separates the studies whose rows belong to different patients.
pub(super) fn group_by_study(rows: impl IntoIterator<Item = StudyRow>) -> FoundStudies {
    let mut by_uid: BTreeMap<StudyUid, Vec<StudyRow>> = BTreeMap::new();
    for row in rows {
        let rows = by_uid.entry(row.uid.clone()).or_default();
        // Two queries of one search may return the same row.
        if rows.len() <= MAX_ROWS_PER_STUDY
            && !rows.iter().any(|other| other.archive == row.archive && !row.is_of_another_patient(other))
        {
            rows.push(row);
        }
    }
    let mut found = FoundStudies::default();
    for rows in by_uid.into_values() {
        if rows.len() > MAX_ROWS_PER_STUDY {
            // Without parts, the study is omitted and reported, whichever patient is searched for.
            found.patient_conflicts.push(FoundStudy::from_rows(rows));
            continue;
        }
        let has_conflict = rows
            .iter()
            .enumerate()
            .any(|(index, row)| rows.iter().skip(index + 1).any(|other| row.is_of_another_patient(other)));
        let mut study = FoundStudy::from_rows(rows);
        if has_conflict {
            mark_shared_uids(&mut study.rows);
            (study.parts, study.ambiguous_parts) = divide_by_patient(&study);
            found.patient_conflicts.push(study);
        } else {
            found.studies.push(study);
        }
    }
    found
}

/// Marks the rows of the archives that list the study for several patients.
fn mark_shared_uids(rows: &mut [StudyRow]) {
    let archives: Vec<_> = rows.iter().map(|row| row.archive.clone()).collect();
    for row in rows {
        row.shares_uid = archives.iter().filter(|archive| **archive == row.archive).count() > 1;
    }
}

/// Divides a study whose rows belong to several patients into one study per patient. A row that may belong to two of them, because it
/// has no PatientID or no issuer, belongs to none: its images may be those of either patient. The second list contains what may match
/// only because of such rows: a study for each of them, and the study of each patient together with those that may belong to it.
fn divide_by_patient(study: &FoundStudy) -> (Vec<FoundStudy>, Vec<FoundStudy>) {
    let may_be_of_either = |row: &StudyRow| {
        let possible: Vec<_> = study.rows.iter().filter(|other| !row.is_of_another_patient(other)).collect();
        possible.iter().any(|one| possible.iter().any(|other| one.is_of_another_patient(other)))
    };
    let (ambiguous, rows): (Vec<_>, Vec<_>) = study.rows.iter().cloned().partition(may_be_of_either);
    let mut patients: Vec<Vec<StudyRow>> = Vec::new();
    for row in rows {
        let same_patient =
            patients.iter_mut().find(|rows| !rows.iter().any(|other| row.is_of_another_patient(other)));
        match same_patient {
            Some(rows) => rows.push(row),
            None => patients.push(vec![row]),
        }
    }
    let with_ambiguous_rows = |rows: &Vec<StudyRow>| {
        let may_belong = |row: &&StudyRow| !rows.iter().any(|other| row.is_of_another_patient(other));
        // The first row determines the subject.
        rows.iter().chain(ambiguous.iter().filter(may_belong)).cloned().collect::<Vec<_>>()
    };
    let mut ambiguous_parts: Vec<_> = ambiguous.iter().map(|row| vec![row.clone()]).collect();
    if !ambiguous.is_empty() {
        ambiguous_parts.extend(patients.iter().map(with_ambiguous_rows));
    }
    let part = |rows: Vec<StudyRow>, is_ambiguous: bool| {
        let is_other = |row: &&StudyRow| {
            !rows.iter().any(|own| own.archive == row.archive && !own.is_of_another_patient(row))
        };
        FoundStudy {
            other_patients: study.rows.iter().filter(is_other).map(|row| row.archive.clone()).collect(),
            has_every_row: false,
            is_ambiguous,
            rows_of_all_patients: Some(study.fingerprint()),
            ..FoundStudy::from_rows(rows)
        }
    };
    (
        patients.into_iter().map(|rows| part(rows, false)).collect(),
        ambiguous_parts.into_iter().map(|rows| part(rows, true)).collect(),
    )
}
