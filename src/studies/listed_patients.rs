//! The patients for whom one archive lists a study. Two patients may have studies with the same UID, so there may be several.
//!
//! This module does not compare patients; `fetch::part_patients` and the aggregate root of DICOMweb do.

use super::StudiesError;
use super::scan::{ListLimits, read_list};
use crate::mapping::{self, MappingContext, RowPatient};
use crate::upstream::{Archive, MatchValue, QidoQuery, SearchLevel};
use dicom_model::{StudyUid, tags};

/// Returns the patients of the rows of `study` that `archive` lists, in the order of the rows. `context` is the mapping of the
/// archive.
pub async fn listed_patients(
    archive: &Archive,
    context: &MappingContext,
    study: &StudyUid,
    limits: ListLimits,
) -> Result<Vec<RowPatient>, StudiesError> {
    let query = QidoQuery::new(SearchLevel::Studies)
        .matching(tags::STUDY_INSTANCE_UID, MatchValue::uid(study.uid()))
        .include(mapping::patient_tags());
    let list = read_list(archive, &query, limits).await?;
    // An archive that ignores the key returns all of its studies.
    let rows = list.rows.iter().filter(|row| row.text(tags::STUDY_INSTANCE_UID) == Some(study.as_str()));
    Ok(rows.map(|row| RowPatient::from_row(context, row)).collect())
}
