//! Patients, as described by the rows of their studies. DICOMweb has no search for patients (PS3.18 10.6).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::try_join_all;
use jiff::tz::TimeZone;

use super::filter::zone_of;
use super::known_patient::KnownPatient;
use super::named_patients::NamedPatients;
use super::plan::{self, PlannedQuery};
use super::row::StudyRow;
use super::{ArchiveSource, FoundStudy, Freshness, Studies, StudiesError};
use crate::auth::Access;
use crate::mapping::{self, PatientKey};
use fhir_r4::search::{Criterion, EvaluationContext, Reverse};
use fhir_r4::types::Patient;

/// A patient that was found.
#[derive(Debug, Clone)]
pub struct FoundPatient {
    /// The resource.
    pub resource: Patient,
    /// The time zone of dates without one, from the archive that describes the patient.
    pub zone: TimeZone,
}

impl Studies {
    /// Every patient who matches all of `criteria`, has a study for each of `reverse`, and has a study that the caller may see;
    /// by id.
    pub async fn search_patients(
        &self,
        criteria: &[Criterion<Patient>],
        reverse: &[Reverse],
        access: &Access,
        freshness: Freshness,
    ) -> Result<Vec<FoundPatient>, StudiesError> {
        let mut referred: Option<BTreeSet<String>> = None;
        for has in reverse {
            let studies = self.search(std::slice::from_ref(&has.criterion), access, freshness).await?;
            // A patient whose study could not be compared would be missing without a warning.
            if let Some(unread) = studies.unread.into_iter().next() {
                return Err(unread.error);
            }
            // A study assigned to several patients refers to each of them, as in a search by patient.
            let shared = studies.patient_conflicts.iter().flat_map(|study| &study.rows);
            let rows = studies.studies.iter().map(FoundStudy::first).chain(shared);
            let ids: BTreeSet<_> = rows.map(|row| row.patient.id()).collect();
            referred = Some(match referred {
                Some(earlier) => earlier.intersection(&ids).cloned().collect(),
                None => ids,
            });
        }
        let Some(queries) = self.patient_queries(criteria, freshness).await? else {
            return Ok(Vec::new());
        };
        let searches =
            self.sources.iter().map(|source| self.patients_at(source, &queries, access, freshness));
        let mut found = BTreeMap::new();
        for (source, rows) in self.sources.iter().zip(try_join_all(searches).await?) {
            for (id, row) in newest_of_each(rows) {
                if referred.as_ref().is_some_and(|referred| !referred.contains(&id)) {
                    continue;
                }
                let resource = mapping::patient(&source.context, &row.attributes);
                if self.patient_matches(source, &resource, criteria) {
                    found.entry(id).or_insert(FoundPatient { resource, zone: zone_of(source) });
                }
            }
        }
        Ok(found.into_values().collect())
    }

    fn patient_matches(
        &self,
        source: &ArchiveSource,
        patient: &Patient,
        criteria: &[Criterion<Patient>],
    ) -> bool {
        let zone = zone_of(source);
        let around = EvaluationContext { zone: &zone, now: self.clock.now(), patient: None, endpoints: &[] };
        criteria.iter().all(|criterion| criterion.matches(patient, &around))
    }

    /// The patient with this id, if the caller may see a study of the patient.
    pub async fn find_patient(
        &self,
        id: &str,
        access: &Access,
        freshness: Freshness,
    ) -> Result<Option<FoundPatient>, StudiesError> {
        let Some(known) = self.known_patient(id, freshness).await? else { return Ok(None) };
        let queries = plan::studies_of(&[known]);
        let searches =
            self.sources.iter().map(|source| self.patients_at(source, &queries, access, freshness));
        for (source, rows) in self.sources.iter().zip(try_join_all(searches).await?) {
            if let Some((_, row)) = newest_of_each(rows).into_iter().find(|(other, _)| other == id) {
                return Ok(Some(patient_in(source, &row)));
            }
        }
        Ok(None)
    }

    /// The patient that a study's row describes.
    pub fn patient_of(&self, study: &FoundStudy) -> Option<FoundPatient> {
        let row = study.first();
        let source = self.source(&row.archive)?;
        Some(patient_in(source, row))
    }

    /// The identifier behind a Patient id. An id that is not in the cache is searched for in every archive, because a hash
    /// cannot be used in a query.
    pub(super) async fn known_patient(
        &self,
        id: &str,
        freshness: Freshness,
    ) -> Result<Option<Arc<KnownPatient>>, StudiesError> {
        if let Some(known) = self.cache.get(KnownPatient::key(id)) {
            return Ok(Some(known));
        }
        // Reading the rows caches every patient in them, possibly more than the cache holds.
        for source in self.sources.iter() {
            let rows = self.rows_of(source, &[plan::all()], freshness).await?;
            if let Some(row) = rows.named.iter().find(|row| row.patient.id() == id) {
                return Ok(Some(Arc::new(KnownPatient::from_row(row))));
            }
        }
        Ok(None)
    }

    pub(super) fn remember_patient(&self, row: &StudyRow) {
        let key = KnownPatient::key(&row.patient.id());
        if !self.cache.contains::<KnownPatient>(key.clone()) {
            self.cache.insert(key, Arc::new(KnownPatient::from_row(row)));
        }
    }

    /// The queries for patients who match; `None` if no patient can match.
    async fn patient_queries(
        &self,
        criteria: &[Criterion<Patient>],
        freshness: Freshness,
    ) -> Result<Option<Vec<PlannedQuery>>, StudiesError> {
        for criterion in criteria {
            match NamedPatients::from_criterion(criterion) {
                Some(NamedPatients::Ids(ids)) => {
                    let mut patients = Vec::new();
                    for id in ids {
                        patients.extend(self.known_patient(id, freshness).await?);
                    }
                    return Ok((!patients.is_empty()).then(|| plan::studies_of(&patients)));
                }
                Some(NamedPatients::Identifiers(values)) => {
                    return Ok(Some(plan::studies_of_patient_ids(values)));
                }
                None => {}
            }
        }
        Ok(Some(vec![plan::all()]))
    }

    async fn patients_at(
        &self,
        source: &ArchiveSource,
        queries: &[PlannedQuery],
        access: &Access,
        freshness: Freshness,
    ) -> Result<Vec<StudyRow>, StudiesError> {
        let mut rows = self.rows_of(source, queries, freshness).await?.named;
        rows.retain(|row| access.may_see(&row.attributes));
        Ok(rows)
    }
}

fn patient_in(source: &ArchiveSource, row: &StudyRow) -> FoundPatient {
    FoundPatient { resource: mapping::patient(&source.context, &row.attributes), zone: zone_of(source) }
}

/// For each patient the row of the newest study, with its description of the patient; by the patient's id.
fn newest_of_each(mut rows: Vec<StudyRow>) -> BTreeMap<String, StudyRow> {
    rows.sort_by_cached_key(StudyRow::age);
    let mut newest: BTreeMap<PatientKey, StudyRow> = BTreeMap::new();
    for row in rows {
        newest.entry(row.patient.clone()).or_insert(row);
    }
    newest.into_iter().map(|(patient, row)| (patient.id(), row)).collect()
}
