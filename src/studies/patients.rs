//! Patients, as the rows of their studies describe them. DICOMweb has no search for patients (PS3.18 10.6).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::candidates::{StudyRows, group_by_study};
use super::filter::time_zone_of;
use super::known_patient::KnownPatient;
use super::named_patients::NamedPatients;
use super::plan::{self, PlannedQuery};
use super::row::{RowWithoutUid, StudyRow};
use super::{ArchiveSource, FoundStudy, Freshness, Studies, StudiesError};
use crate::auth::Access;
use crate::change_log::{Observation, ResourceKey, Version};
use crate::fingerprint::{Fingerprint, short_hash};
use crate::mapping::{self, PatientIds, PatientKey};
use crate::upstream::ArchiveId;
use dicom_model::{Attributes, tags};
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
            // A study that is assigned to several patients counts for each of them, as in a search by patient, and a study that no
            // resource describes counts too.
            let conflict_rows = studies.patient_conflicts.iter().flat_map(|study| &study.rows);
            let rows = studies.studies.iter().map(FoundStudy::subject_row).chain(conflict_rows);
            let without_uid =
                studies.matches_without_uid.iter().filter(|row| row.is_compared).map(|row| &row.patient);
            let ids: BTreeSet<_> = rows
                .map(|row| &row.patient)
                .chain(without_uid)
                .map(|patient| patient.id(&self.patient_ids))
                .collect();
            ids_with_studies = Some(match ids_with_studies {
                Some(previous_ids) => previous_ids.intersection(&ids).cloned().collect(),
                None => ids,
            });
        }
        let Some(queries) = self.patient_queries(criteria, freshness).await? else {
            return Ok(Vec::new());
        };
        let mut found = BTreeMap::new();
        let subjects = self.subjects(&queries, access, freshness).await?;
        for (id, row) in newest_rows_by_patient(&self.patient_ids, subjects.rows().collect()) {
            if ids_with_studies.as_ref().is_some_and(|ids| !ids.contains(&id)) {
                continue;
            }
            let Some(source) = self.source(row.archive) else { continue };
            let patient = found_patient(source, row.attributes);
            if self.is_match(source, &patient.resource, criteria) {
                found.insert(id, patient);
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
        let found = self.find_patient_with_studies(id, access, freshness).await?;
        Ok(found.map(|(patient, _)| patient))
    }

    /// Does the same as [`find_patient`](Self::find_patient), and returns when a study of the patient was last seen to change, appear or
    /// disappear. This is not known if an archive is missing from the answer, or if the caller may not see every study.
    pub async fn read_patient(
        &self,
        id: &str,
        access: &Access,
        freshness: Freshness,
    ) -> Result<Option<(FoundPatient, Option<Version>)>, StudiesError> {
        let Some((patient, subjects)) = self.find_patient_with_studies(id, access, freshness).await? else {
            return Ok(None);
        };
        if self.has_missing_archives() || !access.may_see_all() {
            return Ok(Some((patient, None)));
        }
        let id = &patient.resource.id;
        let fingerprint = self.fingerprint_of_patient(id, &subjects);
        let observation = Observation { resource: ResourceKey::patient(id), fingerprint, content: None };
        // While the store is away, the time is not known.
        let versions = self.change_log.observe(vec![observation], None).await.unwrap_or_default();
        Ok(Some((patient, versions.first().copied())))
    }

    async fn find_patient_with_studies(
        &self,
        id: &str,
        access: &Access,
        freshness: Freshness,
    ) -> Result<Option<(FoundPatient, Subjects)>, StudiesError> {
        let Some(id) = self.current_patient_id(id) else { return Ok(None) };
        if let Some(known) = self.look_up_patient(&id, freshness).await? {
            let queries = plan::queries_for_patients(&[known]);
            let subjects = self.subjects(&queries, access, freshness).await?;
            let rows = newest_rows_by_patient(&self.patient_ids, subjects.rows().collect());
            let row = rows.get(&id).and_then(|row| Some((self.source(row.archive)?, row)));
            if let Some((source, row)) = row {
                let patient = found_patient(source, row.attributes);
                return Ok(Some((patient, subjects)));
            }
        }
        self.require_complete_answer().map(|()| None)
    }

    /// Returns a fingerprint of all studies of the patient with this id, which changes with each of their rows and with the mapping
    /// rules.
    fn fingerprint_of_patient(&self, id: &str, subjects: &Subjects) -> Fingerprint {
        let studies =
            subjects.studies.iter().filter(|study| study.subject_row().patient.id(&self.patient_ids) == id);
        let without_uid = subjects.without_uid.iter().filter(|row| row.patient.id(&self.patient_ids) == id);
        let fingerprint_of_row =
            |row: &RowWithoutUid| Fingerprint::from_rows([(&row.archive, &row.attributes)]);
        let fingerprints = studies
            .map(|study| self.fingerprint_with_rules(study))
            .chain(without_uid.map(fingerprint_of_row));
        let mut fingerprints: Vec<_> = fingerprints.map(Fingerprint::bytes).collect();
        fingerprints.sort_unstable();
        Fingerprint::from_bytes(short_hash(fingerprints.iter().map(|bytes| &bytes[..])))
    }

    /// Returns the patient of a study.
    pub fn patient_of(&self, study: &FoundStudy) -> Option<FoundPatient> {
        let row = study.subject_row();
        let source = self.source(&row.archive)?;
        Some(found_patient(source, &row.attributes))
    }

    /// Returns the id that the Patient with this id has in resources; `None` if it is no id of a Patient. The two differ if the id was
    /// made with an old key.
    pub fn current_patient_id(&self, id: &str) -> Option<String> {
        self.patient_ids.open(id).map(|opened| opened.current)
    }

    /// Looks up the patient with this current Patient id; `None` if no archive can have such a patient. If the id contains only a hash,
    /// which cannot be a matching key, and is not in the cache, the list of every archive is read.
    pub(super) async fn look_up_patient(
        &self,
        id: &str,
        freshness: Freshness,
    ) -> Result<Option<Arc<KnownPatient>>, StudiesError> {
        let Some(opened) = self.patient_ids.open(id) else { return Ok(None) };
        if let Some(known) = self.cache.get(KnownPatient::cache_key(id)) {
            return Ok(Some(known));
        }
        if let Some(patient_id) = opened.patient_id {
            return Ok(Some(Arc::new(KnownPatient::PatientId(patient_id.into()))));
        }
        // Reading the rows caches every patient in them, but the cache may have evicted this patient again.
        for source in self.sources.iter() {
            let queries = [plan::query_for_all_studies()];
            let rows = self
                .query_unless_failed(
                    source.archive.id(),
                    Box::pin(self.run_queries(source, &queries, freshness)),
                )
                .await?;
            let Some(rows) = rows else { continue };
            if let Some(row) = rows.with_uid.iter().find(|row| row.patient.id(&self.patient_ids) == id) {
                return Ok(Some(Arc::new(KnownPatient::from_row(row))));
            }
            let row = rows.without_uid.iter().find(|row| row.patient.id(&self.patient_ids) == id);
            if let Some(patient) = row.and_then(KnownPatient::from_row_without_uid) {
                return Ok(Some(Arc::new(patient)));
            }
        }
        Ok(None)
    }

    /// Caches the `patient` with the key `patient_key`.
    pub(super) fn cache_patient(&self, patient_key: &PatientKey, patient: KnownPatient) {
        let key = KnownPatient::cache_key(&patient_key.id(&self.patient_ids));
        if !self.cache.contains::<KnownPatient>(key.clone()) {
            self.cache.insert(key, Arc::new(patient));
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
                    if patients.is_empty() {
                        self.require_an_archive()?;
                        return Ok(None);
                    }
                    return Ok(Some(plan::queries_for_patients(&patients)));
                }
                Some(NamedPatients::Identifiers(values)) => {
                    return Ok(Some(plan::queries_for_patient_ids(values)));
                }
                None => {}
            }
        }
        Ok(Some(vec![plan::query_for_all_studies()]))
    }

    /// Returns the studies that `queries` find and the caller may see, whose rows describe their subjects.
    async fn subjects(
        &self,
        queries: &[PlannedQuery],
        access: &Access,
        freshness: Freshness,
    ) -> Result<Subjects, StudiesError> {
        let searches =
            self.sources.iter().map(|source| (source, self.run_queries(source, queries, freshness)));
        let mut rows = StudyRows::default();
        for (_, found) in self.query_each(searches).await? {
            rows.with_uid.extend(found.with_uid);
            rows.without_uid.extend(found.without_uid);
        }
        let StudyRows { mut with_uid, mut without_uid } = rows;
        with_uid.retain(|row| access.may_see(&row.attributes));
        without_uid.retain(|row| {
            KnownPatient::from_row_without_uid(row).is_some() && access.may_see(&row.attributes)
        });
        let mut found = group_by_study(with_uid);
        if !queries.contains(&plan::query_for_all_studies()) {
            self.complete_rows(&mut found, access, freshness).await?;
            self.confirm_assumed_patients(&mut found, access, freshness).await?;
        }
        found.studies.extend(found.patient_conflicts.into_iter().flat_map(|study| study.parts));
        Ok(Subjects { studies: found.studies, without_uid })
    }
}

/// The studies of patients. Of the rows of one study in several archives, only one describes its subject: a patient whom only
/// other rows describe has no study. A study without an acceptable UID describes its patient, too, if the patient has a PatientID.
struct Subjects {
    /// The studies, each of one patient.
    studies: Vec<FoundStudy>,
    /// The rows of studies without an acceptable UID that have a PatientID.
    without_uid: Vec<RowWithoutUid>,
}

impl Subjects {
    /// Returns the rows that describe the patients.
    fn rows(&self) -> impl Iterator<Item = PatientRow<'_>> {
        let without_uid =
            self.without_uid.iter().map(|RowWithoutUid { archive, patient, attributes, .. }| PatientRow {
                archive,
                patient,
                attributes,
            });
        let subject_rows = self.studies.iter().map(FoundStudy::subject_row);
        without_uid.chain(subject_rows.map(|StudyRow { archive, patient, attributes, .. }| PatientRow {
            archive,
            patient,
            attributes,
        }))
    }
}

/// The row of a study, with or without an acceptable UID, as a description of its patient.
struct PatientRow<'a> {
    archive: &'a ArchiveId,
    patient: &'a PatientKey,
    attributes: &'a Attributes,
}

impl PatientRow<'_> {
    /// Returns a sort key that puts the newest study first.
    fn newest_first_key(&self) -> impl Ord + use<> {
        let text = |tag| self.attributes.text(tag).unwrap_or_default();
        let digits = |tag| text(tag).replace(['.', ':'], "");
        let time = (digits(tags::STUDY_DATE), digits(tags::STUDY_TIME));
        (std::cmp::Reverse(time), text(tags::STUDY_INSTANCE_UID).to_owned())
    }
}

fn found_patient(source: &ArchiveSource, row: &Attributes) -> FoundPatient {
    FoundPatient { resource: mapping::patient(&source.context, row), zone: time_zone_of(source) }
}

/// Returns the row of the newest study of each patient, by the id of the patient.
fn newest_rows_by_patient<'a>(
    ids: &PatientIds,
    mut rows: Vec<PatientRow<'a>>,
) -> BTreeMap<String, PatientRow<'a>> {
    rows.sort_by_cached_key(PatientRow::newest_first_key);
    let mut newest: BTreeMap<&PatientKey, PatientRow<'_>> = BTreeMap::new();
    for row in rows {
        newest.entry(row.patient).or_insert(row);
    }
    newest.into_iter().map(|(patient, row)| (patient.id(ids), row)).collect()
}
