//! Compares the patients of the studies on a page. Sets the counts, modalities and accession numbers in rows of studies and series
//! that several archives contain to the values for all archives together, which the FHIR API returns too.
//!
//! Rows of studies show the studies of different patients with one UID next to each other, and are unchanged. Rows of series and
//! instances need not contain the patient, so a conflict is an error.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::limits::DicomwebLimits;
use crate::dicomweb::synthesis::{Element, set_elements};
use crate::studies::{FoundTotals, Studies, StudyTotals};
use crate::upstream::{Archive, SearchLevel};
use dicom_model::{Attributes, SeriesUid, StudyUid, tags};

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
    let is_needed = compares_patients || has_totals && page.archives.len() > 1;
    let unchanged_rows = |page: PageOfRows<'_>| page.rows.into_iter().map(|(_, row)| row).collect();
    if !is_needed || page.rows.is_empty() {
        return Ok((unchanged_rows(page), false));
    }
    let uids_of_rows = page.rows.iter().map(|(archive, row)| page.uids_of(archive, row));
    let uids_of_rows = uids_of_rows.collect::<Result<Vec<_>, _>>()?;
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
    let FoundTotals { totals, patient_conflicts } = studies.totals(&uids).await?;
    if compares_patients && let Some(conflict) = patient_conflicts.into_iter().next() {
        return Err(DicomwebError::PatientConflict { archives: conflict.archives.into_iter().collect() });
    }
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
}

impl PageOfRows<'_> {
    fn uids_of(&self, archive: &Archive, row: &[u8]) -> Result<UidsOfRow, DicomwebError> {
        let attributes: Attributes = serde_json::from_slice(row)
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
                text.and_then(|text| StudyUid::parse(text).ok())
            }
        };
        let is_series = matches!(self.level, SearchLevel::Series { .. } | SearchLevel::AllSeries);
        let series = attributes.text(tags::SERIES_INSTANCE_UID).filter(|_| is_series);
        Ok(UidsOfRow {
            study,
            series: series.and_then(|text| SeriesUid::parse(text).ok()),
            has_accession_number: attributes.text(tags::ACCESSION_NUMBER).is_some(),
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
