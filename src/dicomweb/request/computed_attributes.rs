//! The attributes of QIDO-RS rows that the gateway computes for an archive that does not return them (PS3.18 tables 10.6.3-3
//! and 10.6.3-4), and therefore cannot match by either.
//!
//! Does not compute them: `synthesis::counts` does.

use crate::upstream::{Archive, QidoQuery, SearchLevel, Synthesized};
use dicom_model::{Tag, tags};

/// Attributes that are computed for a study.
const OF_A_STUDY: [Tag; 3] = [
    tags::MODALITIES_IN_STUDY,
    tags::NUMBER_OF_STUDY_RELATED_SERIES,
    tags::NUMBER_OF_STUDY_RELATED_INSTANCES,
];

/// Attributes that are computed for a series.
const OF_A_SERIES: [Tag; 1] = [tags::NUMBER_OF_SERIES_RELATED_INSTANCES];

/// The attributes that can be computed at `level`.
pub(crate) fn computed(level: &SearchLevel) -> &'static [Tag] {
    match level {
        SearchLevel::Studies => &OF_A_STUDY,
        SearchLevel::Series { .. } | SearchLevel::AllSeries => &OF_A_SERIES,
        SearchLevel::Instances { .. } | SearchLevel::SeriesInstances { .. } | SearchLevel::AllInstances => {
            &[]
        }
    }
}

/// The first attribute that `query` matches by and that is computed for `archive`; an archive that lacks it matches everything
/// or nothing by it.
pub(crate) fn computed_key(archive: &Archive, query: &QidoQuery) -> Option<Tag> {
    let is_computed = archive.profile().synthesized.contains(Synthesized::Counts);
    computed(query.level()).iter().copied().find(|tag| is_computed && query.is_matching(*tag))
}
