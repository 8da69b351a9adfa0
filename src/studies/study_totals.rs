//! The totals of studies that several archives contain: counts and modalities of the union of their parts, equal to those of
//! the ImagingStudy. DICOMweb lists use them, so that they agree with the FHIR API.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use super::filter::resource_from_rows;
use super::row::StudyRow;
use super::search::PatientConflict;
use super::{FoundStudy, Freshness, Representation, Studies, StudiesError};
use crate::auth::Access;
use crate::mapping::RowPatient;
use crate::upstream::ArchiveId;
use dicom_model::{Attributes, StudyUid, tags};

/// The totals of one study.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StudyTotals {
    /// The number of series, if it is known.
    pub series_count: Option<u32>,
    /// The number of instances, if it is known.
    pub instance_count: Option<u32>,
    /// The modalities.
    pub modalities: Vec<String>,
    /// The accession number of the first archive that has one.
    pub accession_number: Option<String>,
    /// The numbers of instances of the series, by the UID of the series.
    pub series: HashMap<String, u32>,
    /// Whether the series could not be read. Then the counts are those of the largest part.
    pub is_incomplete: bool,
}

/// The totals that were found.
#[derive(Debug, Clone, Default)]
pub struct FoundTotals {
    /// The totals of the studies that several archives contain.
    pub totals: BTreeMap<StudyUid, StudyTotals>,
    /// The study UIDs that are assigned to several patients.
    pub patient_conflicts: Vec<PatientConflict>,
    /// The rows of all studies.
    rows: BTreeMap<StudyUid, Vec<StudyRow>>,
}

impl Studies {
    /// Returns the totals of those studies of `uids` that several archives contain, and compares the patients of all of them. Every
    /// archive is queried; series are read only of studies that are not in the cache.
    pub async fn totals(&self, uids: &[&StudyUid]) -> Result<FoundTotals, StudiesError> {
        let found = self.find_by_uids(uids, &Access::all(), Freshness::Reload).await?;
        let mut patient_conflicts: Vec<_> =
            found.patient_conflicts.iter().map(PatientConflict::from).collect();
        let rows = found.studies.iter().map(|study| (study.uid().clone(), study.rows.clone())).collect();
        let is_shared = |study: &FoundStudy| study.rows_of_archives().nth(1).is_some();
        let shared_studies: Vec<_> = found.studies.into_iter().filter(is_shared).collect();
        if shared_studies.len() > self.limits.max_opened {
            return Err(StudiesError::TooManyToOpen { limit: self.limits.max_opened });
        }
        let assembled = self.assemble(&shared_studies, &Representation::Summary, Freshness::Cached).await?;
        let mut totals = BTreeMap::new();
        for (study, assembled) in shared_studies.iter().zip(assembled) {
            if let Err(StudiesError::PatientOfPart { study, archives }) = assembled {
                patient_conflicts.push(PatientConflict { uid: study, archives });
                continue;
            }
            let mut study_totals = if let Ok(assembled) = assembled {
                read_totals(&assembled.encoded.json)?
            } else {
                let resource = resource_from_rows(study, &self.sources).ok_or(StudiesError::Unwritable)?;
                let json = Representation::Summary.project(&resource);
                let totals = read_totals(&json.map_err(|_| StudiesError::Unwritable)?)?;
                StudyTotals { is_incomplete: true, ..totals }
            };
            study_totals.accession_number = study
                .rows_of_archives()
                .find_map(|row| row.attributes.text(tags::ACCESSION_NUMBER).map(str::to_owned));
            totals.insert(study.uid().clone(), study_totals);
        }
        Ok(FoundTotals { totals, patient_conflicts, rows })
    }

    /// Whether `part`, a row of a series or an instance of `study` in `archive`, names another patient than the rows of the study in
    /// `found`.
    pub fn names_another_patient(
        &self,
        found: &FoundTotals,
        archive: &ArchiveId,
        study: &StudyUid,
        part: &Attributes,
    ) -> bool {
        let Some(source) = self.source(archive) else { return false };
        let part = RowPatient::from_row(&source.context, part);
        let mut rows = found.rows.get(study).into_iter().flatten().filter(|row| &row.archive == archive);
        rows.any(|row| !RowPatient::from_row(&source.context, &row.attributes).includes(&part))
    }
}

/// The elements of ImagingStudy with the totals.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TotalElements {
    number_of_series: Option<u32>,
    number_of_instances: Option<u32>,
    #[serde(default)]
    modality: Vec<ModalityElement>,
    #[serde(default)]
    series: Vec<SeriesElement>,
}

#[derive(Debug, Deserialize)]
struct ModalityElement {
    code: Option<String>,
    display: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SeriesElement {
    uid: String,
    number_of_instances: Option<u32>,
}

fn read_totals(json: &[u8]) -> Result<StudyTotals, StudiesError> {
    let elements: TotalElements = serde_json::from_slice(json).map_err(|_| StudiesError::Unwritable)?;
    let series = elements.series.into_iter();
    Ok(StudyTotals {
        series_count: elements.number_of_series,
        instance_count: elements.number_of_instances,
        modalities: elements
            .modality
            .into_iter()
            .filter_map(|coding| coding.code.or(coding.display))
            .collect(),
        series: series.filter_map(|series| Some((series.uid, series.number_of_instances?))).collect(),
        ..StudyTotals::default()
    })
}
