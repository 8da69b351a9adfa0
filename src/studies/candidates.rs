//! The studies that may match: the rows of all planned queries, grouped by study.
//!
//! A study that several archives hold is one study. Its resource is made from the record of the first of them, in the order of
//! the configuration, and names each of them as an endpoint. So every archive is also queried for the studies that another one
//! found.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::try_join_all;
use jiff::ToSpan;
use jiff::civil::Date;

use super::known_patient::KnownPatient;
use super::plan::{self, Plan, PlannedQuery};
use super::row::{RowWithoutUid, StudyRow};
use super::scan::{ListLimits, ListedRows, SearchRows};
use super::{ArchiveSource, FoundStudies, FoundStudy, Freshness, Studies, StudiesError, scan};
use crate::auth::Access;
use crate::mapping::{self, PatientKey};
use crate::upstream::{ArchiveErrorKind, QidoQuery};
use dicom_model::{Attributes, DicomDate, StudyUid, tags};
use fhir_r4::search::{Criterion, ImagingStudyParam as Param, ResourceType, Test};
use fhir_r4::types::ImagingStudy;

/// Maximum number of rows of series or instances that are read to find the studies above them: an archive accesses its database
/// for each study, and a search that finds more is answered better in another way.
const MAX_ROWS_BELOW: usize = 1000;

/// Maximum number of date ranges that a search is split into for an archive that refuses to list more at once.
const MAX_WINDOWS: usize = 64;

/// The rows returned for one planned query.
#[derive(Debug, Default)]
pub(super) struct StudyRows {
    /// Rows with a valid Study Instance UID.
    pub(super) named: Vec<StudyRow>,
    /// Rows without a valid Study Instance UID.
    pub(super) missing_uid: Vec<RowWithoutUid>,
}

impl Studies {
    /// Every study that may match `criteria` and that the caller may see, not yet compared with the criteria.
    pub(super) async fn candidates(
        &self,
        criteria: &[Criterion<ImagingStudy>],
        access: &Access,
        freshness: Freshness,
    ) -> Result<(FoundStudies, Vec<RowWithoutUid>), StudiesError> {
        let patients = self.patients_named(criteria, freshness).await?;
        let rows_of = self.sources.iter().map(|source| {
            let patients = patients.as_deref();
            async move {
                if !may_hold(source, criteria) {
                    return Ok(StudyRows::default());
                }
                let uid_lists = source.archive.profile().uid_lists;
                self.rows_of_plan(source, plan::studies(criteria, patients, uid_lists), freshness).await
            }
        });
        let mut rows = StudyRows::default();
        for found in try_join_all(rows_of).await? {
            rows.named.extend(found.named);
            rows.missing_uid.extend(found.missing_uid);
        }
        rows.named.retain(|row| access.may_see(&row.attributes));
        rows.missing_uid.retain(|row| access.may_see(&row.attributes));
        let mut found = gather(rows.named);
        if !names_each_study(criteria) {
            self.complete(&mut found, access, freshness).await?;
        }
        Ok((found, rows.missing_uid))
    }

    /// These studies, with the rows of every archive that holds them.
    pub(super) async fn studies_named(
        &self,
        uids: &[&StudyUid],
        access: &Access,
        freshness: Freshness,
    ) -> Result<FoundStudies, StudiesError> {
        let rows_of = self.sources.iter().map(|source| self.rows_named(source, uids, freshness));
        let rows = try_join_all(rows_of).await?.into_iter().flatten();
        Ok(gather(rows.filter(|row| access.may_see(&row.attributes))))
    }

    async fn rows_named(
        &self,
        source: &ArchiveSource,
        uids: &[&StudyUid],
        freshness: Freshness,
    ) -> Result<Vec<StudyRow>, StudiesError> {
        if uids.is_empty() {
            return Ok(Vec::new());
        }
        let uid_lists = source.archive.profile().uid_lists;
        let queries = plan::studies_named(uids.iter().map(|uid| uid.as_str()), uid_lists);
        let mut rows = self.rows_of(source, &queries, freshness).await?.named;
        // An archive that ignores the key returns every study that it has.
        rows.retain(|row| uids.contains(&&row.uid));
        Ok(rows)
    }

    /// Queries each archive for the studies that only others found: its rows may not have matched the query.
    async fn complete(
        &self,
        found: &mut FoundStudies,
        access: &Access,
        freshness: Freshness,
    ) -> Result<(), StudiesError> {
        if self.sources.len() < 2 || found.studies.is_empty() {
            return Ok(());
        }
        let searches = self.sources.iter().map(|source| {
            let missing =
                |study: &&FoundStudy| !study.rows.iter().any(|row| &row.archive == source.archive.id());
            let uids: Vec<_> = found.studies.iter().filter(missing).map(FoundStudy::uid).collect();
            async move { self.rows_named(source, &uids, freshness).await }
        });
        let further: Vec<_> = try_join_all(searches).await?.into_iter().flatten().collect();
        if further.is_empty() {
            return Ok(());
        }
        let known = std::mem::take(&mut found.studies).into_iter().flat_map(|study| study.rows);
        let further = further.into_iter().filter(|row| access.may_see(&row.attributes));
        let gathered = gather(self.in_archive_order(known.chain(further)));
        found.studies = gathered.studies;
        found.patient_conflicts.extend(gathered.patient_conflicts);
        Ok(())
    }

    fn in_archive_order(&self, rows: impl Iterator<Item = StudyRow>) -> Vec<StudyRow> {
        let mut rows: Vec<_> = rows.collect();
        let index =
            |row: &StudyRow| self.sources.iter().position(|source| source.archive.id() == &row.archive);
        rows.sort_by_key(index);
        rows
    }

    async fn rows_of_plan(
        &self,
        source: &ArchiveSource,
        plan: Plan,
        freshness: Freshness,
    ) -> Result<StudyRows, StudiesError> {
        match plan {
            Plan::Ask(queries) => self.rows_of(source, &queries, freshness).await,
            Plan::Below(queries, otherwise) => {
                let above = self.studies_above(source, &queries).await?;
                self.rows_of(source, &above.unwrap_or(otherwise), freshness).await
            }
        }
    }

    /// Queries for the studies above the matching series or instances; `None` if that gives no reliable result.
    async fn studies_above(
        &self,
        source: &ArchiveSource,
        queries: &[QidoQuery],
    ) -> Result<Option<Vec<PlannedQuery>>, StudiesError> {
        let mut uids = Vec::new();
        let limits = ListLimits { max_rows: MAX_ROWS_BELOW, max_bytes: self.limits.detail.max_bytes };
        for query in queries {
            match scan::all_rows(&source.archive, query, limits).await {
                // A row without a UID may be below a study that matches.
                Ok(found) if !found.without_uid.is_empty() => return Ok(None),
                Ok(ListedRows { rows, .. }) => {
                    let studies =
                        rows.iter().map(|row| row.text(tags::STUDY_INSTANCE_UID).map(str::to_owned));
                    match studies.collect::<Option<Vec<_>>>() {
                        Some(studies) => uids.extend(studies),
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
        // An empty result may mean that the archive only searches within a study.
        if uids.is_empty() && !profile.searches_below {
            return Ok(None);
        }
        Ok(Some(plan::studies_named(uids.iter().map(String::as_str), profile.uid_lists)))
    }

    /// The rows of `queries`. Every patient in them is added to the cache.
    pub(super) async fn rows_of(
        &self,
        source: &ArchiveSource,
        queries: &[PlannedQuery],
        freshness: Freshness,
    ) -> Result<StudyRows, StudiesError> {
        let mut rows = StudyRows::default();
        for planned in queries {
            for found in self.query(source, planned, freshness).await? {
                for row in &found.rows {
                    match study_row(source, row) {
                        Ok(row) => {
                            self.remember_patient(&row);
                            rows.named.push(row);
                        }
                        Err(row) => rows.missing_uid.push(row),
                    }
                }
            }
        }
        Ok(rows)
    }

    async fn query(
        &self,
        source: &ArchiveSource,
        planned: &PlannedQuery,
        freshness: Freshness,
    ) -> Result<Vec<Arc<SearchRows>>, StudiesError> {
        match self.query_once(source, planned, freshness).await {
            Err(error) if is_list_too_long(&error) => self.query_by_windows(source, planned, freshness).await,
            Err(error) => Err(error),
            Ok(rows) => Ok(vec![rows]),
        }
    }

    async fn query_once(
        &self,
        source: &ArchiveSource,
        planned: &PlannedQuery,
        freshness: Freshness,
    ) -> Result<Arc<SearchRows>, StudiesError> {
        let notes = mapping::study_note_tags(&source.context);
        let scan = |query: &QidoQuery| self.scan(&source.archive, query.clone().include(notes), freshness);
        let found = match (scan(&planned.query).await, &planned.without_optional_keys) {
            (Err(error), Some(instead)) if is_rejection(&error) && !is_list_too_long(&error) => {
                scan(instead).await?
            }
            (rows, _) => rows?,
        };
        if let Some(padded) = &planned.padded
            && found.rows.is_empty()
            && source.archive.profile().keeps_padding
        {
            return scan(padded).await;
        }
        Ok(found)
    }

    /// For an archive that rejects such a long list: splits the date range in halves, as often as necessary. Without a date
    /// range this is impossible, because studies without a date would be lost.
    async fn query_by_windows(
        &self,
        source: &ArchiveSource,
        planned: &PlannedQuery,
        freshness: Freshness,
    ) -> Result<Vec<Arc<SearchRows>>, StudiesError> {
        let too_much = || StudiesError::TooMuchToList { archive: source.archive.id().clone() };
        let Some((first, last)) = planned.days else { return Err(too_much()) };
        let first = first.map_or(EARLIEST, DicomDate::civil);
        let mut windows = vec![(first, last.map_or(Date::MAX, DicomDate::civil))];
        let mut rows_of = Vec::new();
        for _ in 0..MAX_WINDOWS {
            let Some((first, last)) = windows.pop() else { return Ok(rows_of) };
            let Some(narrowed) = planned.on(first.into(), last.into()) else { continue };
            match self.query_once(source, &narrowed, freshness).await {
                Ok(rows) => rows_of.push(rows),
                Err(error) if is_list_too_long(&error) && first < last => {
                    let middle = first.saturating_add((days_between(first, last) / 2).days());
                    windows.push((middle.saturating_add(1.day()), last));
                    windows.push((first, middle));
                }
                Err(error) if is_list_too_long(&error) => return Err(too_much()),
                Err(error) => return Err(error),
            }
        }
        if windows.is_empty() { Ok(rows_of) } else { Err(too_much()) }
    }

    /// The patients that the first criterion of this kind refers to; `None` if no criterion refers to a patient.
    async fn patients_named(
        &self,
        criteria: &[Criterion<ImagingStudy>],
        freshness: Freshness,
    ) -> Result<Option<Vec<Arc<KnownPatient>>>, StudiesError> {
        let Some(ids) = criteria.iter().find_map(plan::patients_named) else { return Ok(None) };
        let mut patients = Vec::new();
        for id in ids {
            if let Some(patient) = self.known_patient(id, freshness).await?
                && !patients.contains(&patient)
            {
                patients.push(patient);
            }
        }
        Ok(Some(patients))
    }
}

/// No study is older.
const EARLIEST: Date = Date::constant(1, 1, 1);

fn days_between(first: Date, last: Date) -> i32 {
    first.until(last).map_or(0, |span| span.get_days())
}

fn is_rejection(error: &StudiesError) -> bool {
    matches!(error, StudiesError::Archive(error) if matches!(error.kind, ArchiveErrorKind::Rejected(_)))
}

/// Whether the archive reports that the list would be too long.
fn is_list_too_long(error: &StudiesError) -> bool {
    matches!(error, StudiesError::Archive(error) if error.is_content_too_large())
}

/// Whether each archive was queried for each study by its UID, so that what it did not return it does not hold.
fn names_each_study(criteria: &[Criterion<ImagingStudy>]) -> bool {
    let is_id = |criterion: &Criterion<ImagingStudy>| {
        criterion.parameter.key == Param::Id && matches!(criterion.test, Test::Token(_))
    };
    let leaves_archives_out =
        |criterion: &Criterion<ImagingStudy>| criterion.parameter.key == Param::Endpoint;
    criteria.iter().any(is_id) && !criteria.iter().any(leaves_archives_out)
}

/// Whether the archive can hold a match according to the criteria.
pub(super) fn may_hold(source: &ArchiveSource, criteria: &[Criterion<ImagingStudy>]) -> bool {
    let id = source.archive.id().as_str();
    criteria.iter().all(|criterion| match (criterion.parameter.key, &criterion.test) {
        (Param::Endpoint, Test::Reference(references)) => {
            references.iter().any(|reference| reference.id_of(ResourceType::Endpoint) == Some(id))
        }
        _ => true,
    })
}

pub(super) fn study_row(source: &ArchiveSource, attributes: &Attributes) -> Result<StudyRow, RowWithoutUid> {
    let uid = attributes.text(tags::STUDY_INSTANCE_UID).and_then(|uid| StudyUid::parse(uid).ok());
    let (archive, attributes) = (source.archive.id().clone(), attributes.clone());
    let Some(uid) = uid else { return Err(RowWithoutUid { archive, attributes }) };
    let patient = PatientKey::from_row(&source.context, &attributes);
    Ok(StudyRow { archive, uid, patient, attributes })
}

/// Groups rows by study UID. Rows of two archives are one study, unless they name different patients, as two rows of one archive do.
pub(super) fn gather(rows: impl IntoIterator<Item = StudyRow>) -> FoundStudies {
    let mut by_uid: BTreeMap<StudyUid, Vec<StudyRow>> = BTreeMap::new();
    for row in rows {
        let rows = by_uid.entry(row.uid.clone()).or_default();
        // Two queries of one search may return the same row.
        if !rows.iter().any(|other| other.archive == row.archive && other.patient == row.patient) {
            rows.push(row);
        }
    }
    let mut found = FoundStudies::default();
    for rows in by_uid.into_values() {
        let clash = rows
            .iter()
            .enumerate()
            .any(|(index, row)| rows.iter().skip(index + 1).any(|other| row.is_of_another_patient(other)));
        let study = FoundStudy { rows, version: None, other_patients: Vec::new(), has_every_row: true };
        if clash {
            found.patient_conflicts.push(study);
        } else {
            found.studies.push(study);
        }
    }
    found
}
