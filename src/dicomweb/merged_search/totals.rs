//! Compares the patients of the studies on a page. Sets the counts, modalities and accession numbers in rows of studies and series
//! that several archives contain to the values for all archives together, which the FHIR API returns too.
//!
//! Rows of studies show the studies of different patients with one UID next to each other, and are unchanged. Rows of series and
//! instances need not contain the patient, so a conflict is an error. So is a row that names another patient than that of its study.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::limits::DicomwebLimits;
use crate::dicomweb::synthesis::{Element, set_elements};
use crate::mapping::NAMED_PATIENT_TAGS;
use crate::studies::{FoundTotals, Studies, StudyTotals};
use crate::upstream::{Archive, SearchLevel};
use dicom_model::{Attributes, SeriesUid, StudyUid, json, tags};

/// A page of rows, and the archives whose rows were merged.
#[derive(Debug)]
pub(super) struct PageOfRows<'a> {
    pub(super) level: &'a SearchLevel,
    pub(super) archives: &'a [&'a Archive],
    /// The rows, each with its archive.
    pub(super) rows: Vec<(&'a Archive, Bytes)>,
    /// The UIDs of studies that several archives have listed, if they have listed all of their studies.
    pub(super) shared_studies: Option<BTreeSet<&'a str>>,
}

/// The rows with their totals, and whether the series of a study could not be read.
type RowsWithTotals = (Vec<Bytes>, bool);

/// Returns the rows of `page` with the totals of `studies`.
pub(super) async fn set_totals(
    page: PageOfRows<'_>,
    studies: &Studies,
    limits: DicomwebLimits,
) -> Result<RowsWithTotals, DicomwebError> {
    let compares_patients = matches!(page.level, SearchLevel::AllSeries | SearchLevel::AllInstances);
    let has_totals =
        matches!(page.level, SearchLevel::Studies | SearchLevel::Series { .. } | SearchLevel::AllSeries);
    // The series of one study were compared when the study was located.
    let is_of_instances =
        matches!(page.level, SearchLevel::Instances { .. } | SearchLevel::SeriesInstances { .. });
    let is_needed = compares_patients || (has_totals || is_of_instances) && page.archives.len() > 1;
    let unchanged_rows = |page: PageOfRows<'_>| page.rows.into_iter().map(|(_, row)| row).collect();
    if !is_needed || page.rows.is_empty() {
        return Ok((unchanged_rows(page), false));
    }
    let uids_of_rows = page.rows.iter().map(|(archive, row)| page.uids_of(archive, row));
    let uids_of_rows = uids_of_rows.collect::<Result<Vec<_>, _>>()?;
    if is_of_instances && uids_of_rows.iter().all(|uids| uids.patient.get(tags::PATIENT_ID).is_none()) {
        return Ok((unchanged_rows(page), false));
    }
    let is_shared =
        |uid: &&StudyUid| page.shared_studies.as_ref().is_none_or(|shared| shared.contains(uid.as_str()));
    let uids: BTreeSet<_> =
        uids_of_rows.iter().filter_map(|uids| uids.study.as_ref()).filter(is_shared).collect();
    // An archive that does not support lists of UIDs must be sent one query per UID.
    let is_costly = page.archives.iter().any(|archive| !archive.profile().uid_lists);
    if is_costly && uids.len() > limits.max_opened {
        return Err(DicomwebError::TooManyCountQueries { limit: limits.max_opened });
    }
    let uids: Vec<_> = uids.into_iter().collect();
    let found = studies.totals(&uids).await?;
    if compares_patients && let Some(conflict) = found.patient_conflicts.first() {
        return Err(DicomwebError::PatientConflict { archives: conflict.archives.iter().cloned().collect() });
    }
    for ((archive, _), uids) in page.rows.iter().zip(&uids_of_rows) {
        if let Some(study) = &uids.study
            && studies.names_another_patient(&found, archive.id(), study, &uids.patient)
        {
            return Err(DicomwebError::PatientConflict { archives: vec![archive.id().clone()] });
        }
    }
    let FoundTotals { totals, .. } = found;
    let is_incomplete = totals.values().any(|totals| totals.is_incomplete);
    let rows = page.rows.iter().zip(&uids_of_rows).map(|((_, row), uids)| {
        let elements =
            uids.study.as_ref().and_then(|study| totals.get(study)).map(|totals| uids.elements(totals));
        elements.map_or_else(|| row.clone(), |elements| set_elements(row.clone(), &elements))
    });
    Ok((rows.collect(), has_totals && is_incomplete))
}

/// The UIDs of a row.
#[derive(Debug)]
struct UidsOfRow {
    /// The study; `None` if its UID is not valid, because the FHIR API does not return such a study.
    study: Option<StudyUid>,
    /// The series, of a row of a series.
    series: Option<SeriesUid>,
    has_accession_number: bool,
    /// The attributes that name the patient of a series or an instance; none of a study.
    patient: Attributes,
}

impl PageOfRows<'_> {
    fn uids_of(&self, archive: &Archive, row: &[u8]) -> Result<UidsOfRow, DicomwebError> {
        let mut attributes: Attributes = json::parse_bytes(row)
            .map_err(|_| archive.unreadable("a row that is not a DICOM JSON object"))?;
        let study = match self.level {
            SearchLevel::Series { study }
            | SearchLevel::Instances { study }
            | SearchLevel::SeriesInstances { study, .. } => Some(study.clone()),
            SearchLevel::Studies | SearchLevel::AllSeries | SearchLevel::AllInstances => {
                let text = attributes.text(tags::STUDY_INSTANCE_UID);
                if text.is_none() && self.archives.len() > 1 {
                    return Err(archive.unreadable("a row without a Study Instance UID").into());
                }
                text.and_then(|text| StudyUid::parse_by(archive.uid_rule(), text).ok())
            }
        };
        let is_series = matches!(self.level, SearchLevel::Series { .. } | SearchLevel::AllSeries);
        let series = attributes.text(tags::SERIES_INSTANCE_UID).filter(|_| is_series);
        Ok(UidsOfRow {
            study,
            series: series.and_then(|text| SeriesUid::parse_by(archive.uid_rule(), text).ok()),
            has_accession_number: attributes.text(tags::ACCESSION_NUMBER).is_some(),
            patient: {
                let is_study = matches!(self.level, SearchLevel::Studies);
                attributes.retain(|tag| !is_study && NAMED_PATIENT_TAGS.contains(&tag));
                attributes
            },
        })
    }
}

impl UidsOfRow {
    /// Returns the elements to set in the row. The accession number of the row is not replaced: the search may have matched it.
    fn elements(&self, totals: &StudyTotals) -> Vec<Element> {
        let count = |tag, count: Option<u32>| Some(Element::new(tag, "IS", &[count?.to_string()]));
        let text = |text: &String| serde_json::Value::from(text.as_str()).to_string();
        if let Some(series) = &self.series {
            let instance_count = totals.series.get(series.as_str()).copied();
            return count(tags::NUMBER_OF_SERIES_RELATED_INSTANCES, instance_count).into_iter().collect();
        }
        let accession_number = totals.accession_number.as_ref().filter(|_| !self.has_accession_number);
        let modalities: Vec<_> = totals.modalities.iter().map(text).collect();
        [
            accession_number.map(|number| Element::new(tags::ACCESSION_NUMBER, "SH", &[text(number)])),
            (!modalities.is_empty()).then(|| Element::new(tags::MODALITIES_IN_STUDY, "CS", &modalities)),
            count(tags::NUMBER_OF_STUDY_RELATED_SERIES, totals.series_count),
            count(tags::NUMBER_OF_STUDY_RELATED_INSTANCES, totals.instance_count),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
