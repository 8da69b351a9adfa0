//! The copies of one study in several archives: how deep they must be read to merge them, and the merged resource.
//!
//! Rows of several archives do not show whether the archives contain the same series. Therefore the series are always read. If a
//! series is in several archives that do not report the same number of instances, its instances are read too. Series with
//! the same UID and number of instances count as the same, unless their instances are read anyway.

use std::collections::HashMap;

use futures_util::future::try_join_all;

use super::fetch::{StudyRecord, StudySeries};
use super::row::StudyRow;
use super::{ArchiveSource, Depth, DetailLimits, StudiesError, fetch};
use crate::mapping::{self, MappingContext};
use crate::request_priority::RequestPriority;
use dicom_model::tags;
use fhir_r4::types::ImagingStudy;

/// A study in one archive.
#[derive(Debug, Clone)]
pub(super) struct StudyCopy {
    /// The archive.
    pub(super) source: ArchiveSource,
    /// The row of the study.
    pub(super) row: StudyRow,
    /// The series, if they are already known.
    pub(super) series: Option<StudySeries>,
}

impl StudyCopy {
    /// Returns the same copy, whose calls have this priority.
    pub(super) fn with_priority(self, priority: &RequestPriority) -> Self {
        Self { source: self.source.with_priority(priority), ..self }
    }
}

/// Returns how deep a study in `archive_count` archives must be read for a resource of this depth.
pub(super) fn required_depth(depth: Depth, archive_count: usize) -> Depth {
    if archive_count > 1 { depth.max(Depth::Series) } else { depth }
}

/// Fetches the records of all copies, as deep as the merged resource requires, with the mapping context of each archive. An
/// archive that fails is an error: without its part the resource would be incomplete. Copies of different patients, which their
/// rows do not show if they have no Patient ID, are an error too.
pub(super) async fn fetch_copies(
    copies: Vec<StudyCopy>,
    depth: Depth,
    limits: DetailLimits,
) -> Result<Vec<(MappingContext, StudyRecord)>, StudiesError> {
    let depth = required_depth(depth, copies.len());
    let records = fetch_to_depth(&copies, depth, limits).await?;
    if depth == Depth::Series && has_different_counts(&records) {
        return fetch_to_depth(&copies, Depth::Instances, limits).await;
    }
    Ok(records)
}

async fn fetch_to_depth(
    copies: &[StudyCopy],
    depth: Depth,
    limits: DetailLimits,
) -> Result<Vec<(MappingContext, StudyRecord)>, StudiesError> {
    let fetches = copies.iter().map(|copy| async move {
        let record = fetch::record(&copy.source, &copy.row, depth, copy.series.clone(), limits).await?;
        Ok::<_, StudiesError>((copy.source.context.clone(), record))
    });
    let records = try_join_all(fetches).await?;
    let is_contradicted = |index: usize, record: &StudyRecord| {
        records.iter().skip(index + 1).any(|(_, other)| record.patient.contradicts(&other.patient))
    };
    // Rows were compared before; this compares the patients that only series and instances name.
    if records.iter().enumerate().any(|(index, (_, record))| is_contradicted(index, record))
        && let Some(first) = copies.first()
    {
        let archives = copies.iter().map(|copy| copy.row.archive.clone()).collect();
        return Err(StudiesError::PatientOfPart { study: first.row.uid.clone(), archives });
    }
    Ok(records)
}

/// Whether a series is in several archives that do not report the same number of instances.
fn has_different_counts(records: &[(MappingContext, StudyRecord)]) -> bool {
    let mut counts = HashMap::new();
    let series = records.iter().flat_map(|(_, record)| record.series.iter().flatten());
    for series in series {
        let count = series.attributes.integer(tags::NUMBER_OF_SERIES_RELATED_INSTANCES);
        match counts.insert(&series.uid, count) {
            Some(other) if other != count || count.is_none() => return true,
            _ => {}
        }
    }
    false
}

/// Maps the records of all copies, and merges them; `None` if there is no record.
pub(super) fn merge(records: Vec<(MappingContext, StudyRecord)>) -> Option<ImagingStudy> {
    let context = records.first()?.0.clone();
    let map = |(context, record): (MappingContext, StudyRecord)| {
        mapping::imaging_study(&context, &record.attributes, &[&context.archive], record.series)
    };
    mapping::merge_studies(&context, records.into_iter().map(map).collect())
}
