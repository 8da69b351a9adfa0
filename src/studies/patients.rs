//! Patients, as the rows of their studies describe them. DICOMweb has no search for patients (PS3.18 10.6).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::filter::time_zone_of;
use super::known_patient::KnownPatient;
use super::named_patients::NamedPatients;
use super::plan::{self, PlannedQuery};
use super::row::StudyRow;
use super::{ArchiveSource, FoundStudy, Freshness, Studies, StudiesError};
use crate::auth::Access;
use crate::mapping::{self, PatientKey};
use fhir_r4::search::{Criterion, EvaluationContext, ReverseChain};
use fhir_r4::types::Patient;

/// A patient that was found.
#[derive(Debug, Clone)]
pub struct FoundPatient {
    /// The resource.
    pub resource: Patient,
    /// The time zone of dates that have none, from the archive that describes the patient.
    pub zone: TimeZone,
}

impl Studies {
    /// Returns every patient who matches all of `criteria`, has a study that matches each of `reverse_chains`, and has a study that the
    /// caller may see, in the order of the ids.
    pub async fn search_patients(
        &self,
        criteria: &[Criterion<Patient>],
        reverse_chains: &[ReverseChain],
        access: &Access,
        freshness: Freshness,
    ) -> Result<Vec<FoundPatient>, StudiesError> {
        let mut ids_with_studies: Option<BTreeSet<String>> = None;
        for chain in reverse_chains {
            let studies = self.search(std::slice::from_ref(&chain.criterion), access, freshness).await?;
            // A patient whose study could not be compared would be missing without a warning.
            if let Some(unreadable) = studies.unreadable.into_iter().next() {
                return Err(unreadable.error);
            }
            // A study that is assigned to several patients counts for each of them, as in a search by patient.
            let conflict_rows = studies.patient_conflicts.iter().flat_map(|study| &study.rows);
            let rows = studies.studies.iter().map(FoundStudy::first_row).chain(conflict_rows);
            let ids: BTreeSet<_> = rows.map(|row| row.patient.id()).collect();
            ids_with_studies = Some(match ids_with_studies {
                Some(previous_ids) => previous_ids.intersection(&ids).cloned().collect(),
                None => ids,
            });
        }
        let Some(queries) = self.patient_queries(criteria, freshness).await? else {
            return Ok(Vec::new());
        };
        let searches = self
            .sources
            .iter()
            .map(|source| (source, self.query_patients(source, &queries, access, freshness)));
        let mut found = BTreeMap::new();
        for (source, rows) in self.query_each(searches).await? {
            for (id, row) in newest_rows_by_patient(rows) {
                if ids_with_studies.as_ref().is_some_and(|ids| !ids.contains(&id)) {
                    continue;
                }
                let resource = mapping::patient(&source.context, &row.attributes);
                if self.is_match(source, &resource, criteria) {
                    found.entry(id).or_insert(FoundPatient { resource, zone: time_zone_of(source) });
                }
            }
        }
        Ok(found.into_values().collect())
    }

    /// Whether the patient matches all of `criteria`.
    fn is_match(&self, source: &ArchiveSource, patient: &Patient, criteria: &[Criterion<Patient>]) -> bool {
        let zone = time_zone_of(source);
        let evaluation_context =
            EvaluationContext { zone: &zone, now: self.clock.now(), patient: None, endpoints: &[] };
        criteria.iter().all(|criterion| criterion.matches(patient, &evaluation_context))
    }

    /// Returns the patient with this id, if the caller may see a study of the patient.
    pub async fn find_patient(
        &self,
        id: &str,
        access: &Access,
        freshness: Freshness,
    ) -> Result<Option<FoundPatient>, StudiesError> {
        if let Some(known) = self.look_up_patient(id, freshness).await? {
            let queries = plan::queries_for_patients(&[known]);
            let searches = self
                .sources
                .iter()
                .map(|source| (source, self.query_patients(source, &queries, access, freshness)));
            for (source, rows) in self.query_each(searches).await? {
                if let Some(row) = newest_rows_by_patient(rows).get(id) {
                    return Ok(Some(found_patient(source, row)));
                }
            }
        }
        self.require_complete_answer().map(|()| None)
    }

    /// Returns the patient that the first row of a study describes.
    pub fn patient_of(&self, study: &FoundStudy) -> Option<FoundPatient> {
        let row = study.first_row();
        let source = self.source(&row.archive)?;
        Some(found_patient(source, row))
    }

    /// Looks up the patient with this Patient id. If it is not in the cache, the list of every archive is read, because the id
    /// is a hash, which cannot be a matching key.
    pub(super) async fn look_up_patient(
        &self,
        id: &str,
        freshness: Freshness,
    ) -> Result<Option<Arc<KnownPatient>>, StudiesError> {
        if let Some(known) = self.cache.get(KnownPatient::cache_key(id)) {
            return Ok(Some(known));
        }
        // Reading the rows caches every patient in them, but the cache may have evicted this patient again.
        for source in self.sources.iter() {
            let queries = [plan::query_for_all_studies()];
            let rows = self
                .query_unless_failed(source, Box::pin(self.run_queries(source, &queries, freshness)))
                .await?;
            let Some(rows) = rows else { continue };
            if let Some(row) = rows.with_uid.iter().find(|row| row.patient.id() == id) {
                return Ok(Some(Arc::new(KnownPatient::from_row(row))));
            }
        }
        Ok(None)
    }

    /// Caches the patient of a row.
    pub(super) fn cache_patient(&self, row: &StudyRow) {
        let key = KnownPatient::cache_key(&row.patient.id());
        if !self.cache.contains::<KnownPatient>(key.clone()) {
            self.cache.insert(key, Arc::new(KnownPatient::from_row(row)));
        }
    }

    /// Returns the queries for the studies of all patients who can match; `None` if no patient can match.
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
                        patients.extend(self.look_up_patient(id, freshness).await?);
                    }
                    return Ok((!patients.is_empty()).then(|| plan::queries_for_patients(&patients)));
                }
                Some(NamedPatients::Identifiers(values)) => {
                    return Ok(Some(plan::queries_for_patient_ids(values)));
                }
                None => {}
            }
        }
        Ok(Some(vec![plan::query_for_all_studies()]))
    }

    /// Returns the rows of `queries` that the caller may see.
    async fn query_patients(
        &self,
        source: &ArchiveSource,
        queries: &[PlannedQuery],
        access: &Access,
        freshness: Freshness,
    ) -> Result<Vec<StudyRow>, StudiesError> {
        let mut rows = self.run_queries(source, queries, freshness).await?.with_uid;
        rows.retain(|row| access.may_see(&row.attributes));
        Ok(rows)
    }
}

fn found_patient(source: &ArchiveSource, row: &StudyRow) -> FoundPatient {
    FoundPatient { resource: mapping::patient(&source.context, &row.attributes), zone: time_zone_of(source) }
}

/// Returns the row of the newest study of each patient, by the id of the patient.
fn newest_rows_by_patient(mut rows: Vec<StudyRow>) -> BTreeMap<String, StudyRow> {
    rows.sort_by_cached_key(StudyRow::newest_first_key);
    let mut newest: BTreeMap<PatientKey, StudyRow> = BTreeMap::new();
    for row in rows {
        newest.entry(row.patient.clone()).or_insert(row);
    }
    newest.into_iter().map(|(patient, row)| (patient.id(), row)).collect()
}
