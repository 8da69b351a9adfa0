//! Patients, as the rows of their studies tell of them. No archive has a search for patients in DICOMweb.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::try_join_all;

use super::plan::Question;
use super::row::StudyRow;
use super::{Freshness, Source, Studies, StudiesError, plan, recheck};
use crate::access::Access;
use crate::cache::KnownPatient;
use crate::dicom::tags;
use crate::fhir::search::PatientCriterion;
use crate::fhir::types::Patient;
use crate::mapping;

/// A patient that was found.
#[derive(Debug, Clone)]
pub struct FoundPatient {
    /// The resource.
    pub resource: Patient,
}

impl Studies {
    /// Every patient who matches all of `criteria` and of whom the caller may see a study, by id.
    pub async fn search_patients(
        &self,
        criteria: &[PatientCriterion],
        access: &Access,
        freshness: Freshness,
    ) -> Result<Vec<FoundPatient>, StudiesError> {
        let Some(questions) = self.patient_questions(criteria).await? else { return Ok(Vec::new()) };
        let mut found = BTreeMap::new();
        let answers =
            self.sources.iter().map(|source| self.patients_at(source, &questions, access, freshness));
        for (source, rows) in self.sources.iter().zip(try_join_all(answers).await?) {
            let times = self.times(source);
            for row in rows {
                let resource = mapping::patient(&source.context, &row.attributes);
                if recheck::patient_matches(criteria, &resource, &times) {
                    // The newest study comes first, and what it says of the patient stands.
                    found.entry(resource.id.clone()).or_insert(FoundPatient { resource });
                }
            }
        }
        Ok(found.into_values().collect())
    }

    /// The patient with this id, if there is one of whom the caller may see a study.
    pub async fn find_patient(
        &self,
        id: &str,
        access: &Access,
        freshness: Freshness,
    ) -> Result<Option<FoundPatient>, StudiesError> {
        let criteria = [PatientCriterion::Id(vec![id.to_owned()])];
        Ok(self.search_patients(&criteria, access, freshness).await?.pop())
    }

    /// The patient that a study's row tells of.
    pub fn patient_of(&self, study: &super::FoundStudy) -> Option<FoundPatient> {
        let row = study.first();
        let source = self.source(&row.archive)?;
        Some(FoundPatient { resource: mapping::patient(&source.context, &row.attributes) })
    }

    /// What a Patient id stands for. An id that was not met lately is looked for in every archive, as a hash cannot be asked
    /// for.
    pub(super) async fn known_patient(&self, id: &str) -> Result<Option<Arc<KnownPatient>>, StudiesError> {
        if let Some(known) = self.cache.patient(id) {
            return Ok(Some(known));
        }
        // Reading the rows remembers every patient that they name, more of them perhaps than the cache keeps.
        for source in self.sources.iter() {
            let rows = self.rows(source, &plan::all(), Freshness::Reload).await?;
            if let Some(row) = rows.named.iter().find(|row| row.patient.id() == id) {
                return Ok(Some(Arc::new(known(row))));
            }
        }
        Ok(None)
    }

    pub(super) fn remember_patient(&self, row: &StudyRow) {
        self.cache.keep_patient(&row.patient.id(), known(row));
    }

    /// What the archives are asked for patients who match; `None` when nobody can.
    async fn patient_questions(
        &self,
        criteria: &[PatientCriterion],
    ) -> Result<Option<Vec<Question>>, StudiesError> {
        for criterion in criteria {
            match criterion {
                PatientCriterion::Id(ids) => {
                    let mut patients = Vec::new();
                    for id in ids {
                        patients.extend(self.known_patient(id).await?);
                    }
                    return Ok((!patients.is_empty()).then(|| plan::studies_of(&patients)));
                }
                PatientCriterion::Identifier(tokens) => {
                    let values: Option<Vec<_>> = tokens.iter().map(|token| token.code.as_deref()).collect();
                    if let Some(values) = values {
                        return Ok(Some(plan::studies_under(values)));
                    }
                }
                _ => {}
            }
        }
        Ok(Some(vec![plan::all()]))
    }

    async fn patients_at(
        &self,
        source: &Source,
        questions: &[Question],
        access: &Access,
        freshness: Freshness,
    ) -> Result<Vec<StudyRow>, StudiesError> {
        let mut rows = Vec::new();
        for question in questions {
            rows.extend(self.rows(source, question, freshness).await?.named);
        }
        rows.retain(|row| access.may_see_study(&row.attributes));
        rows.sort_by_cached_key(StudyRow::order);
        Ok(rows)
    }
}

/// What to ask an archive by. A patient without an identifier has one study; an empty key would ask for everybody.
fn known(row: &StudyRow) -> KnownPatient {
    match row.attributes.text(tags::PATIENT_ID) {
        Some(patient_id) => KnownPatient::Identified(patient_id.into()),
        None => KnownPatient::OfStudy(row.uid.clone()),
    }
}
