//! The attributes of QIDO-RS rows that the gateway computes for archives that do not return them (PS3.18 tables 10.6.3-3 and
//! 10.6.3-4). Such an archive cannot match by these attributes either.
//!
//! This module does not compute their values; `synthesis::counts` does.

use crate::upstream::{Archive, QidoQuery, SearchLevel, Synthesized};
use dicom_model::{Tag, tags};

/// The attributes that are computed for a study.
const STUDY_ATTRIBUTES: [Tag; 3] = [
    tags::MODALITIES_IN_STUDY,
    tags::NUMBER_OF_STUDY_RELATED_SERIES,
    tags::NUMBER_OF_STUDY_RELATED_INSTANCES,
];

/// The attributes that are computed for a series.
const SERIES_ATTRIBUTES: [Tag; 1] = [tags::NUMBER_OF_SERIES_RELATED_INSTANCES];

/// Returns the attributes that can be computed at `level`.
pub(crate) fn computed_attributes(level: &SearchLevel) -> &'static [Tag] {
    match level {
        SearchLevel::Studies => &STUDY_ATTRIBUTES,
        SearchLevel::Series { .. } | SearchLevel::AllSeries => &SERIES_ATTRIBUTES,
        SearchLevel::Instances { .. } | SearchLevel::SeriesInstances { .. } | SearchLevel::AllInstances => {
            &[]
        }
    }
}

/// Returns the first matching key of `query` that is computed for `archive`. An archive without this attribute would return
/// either all rows or none.
pub(crate) fn computed_key(archive: &Archive, query: &QidoQuery) -> Option<Tag> {
    let is_computed = archive.profile().synthesized.contains(Synthesized::Counts);
    computed_attributes(query.level()).iter().copied().find(|tag| is_computed && query.is_matching(*tag))
}
