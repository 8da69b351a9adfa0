//! QIDO-RS (PS3.18 10.6): searches built from typed parts, and the rows of their responses.
//!
//! - [`value`]: match values of characters that every archive interprets in the same way
//! - [`query`]: builds a search and its query string
//! - [`rows`]: reads the rows of one response
//! - [`exact_keys`]: compares rows with the keys of their search
//! - [`narrowing`]: widens the query and filters the rows, for archives that do not decode percent-escapes
//! - [`pager`]: reads a whole list page by page

mod exact_keys;
mod narrowing;
mod pager;
mod query;
mod rows;
mod value;

use dicom_model::{SeriesUid, StudyUid, UidRule};

pub use exact_keys::ExactKeys;
pub use narrowing::{NarrowedQuery, RowFilter, UnsearchableValue};
pub use pager::{PageEnd, Pager, RowIdentity};
pub use query::{IncludeStyle, MatchingOption, QidoQuery, is_object_uid};
pub use rows::{MAX_SEARCH_ROW_LEN, RowsOutcome};
pub use value::MatchValue;

/// The resource of a search (PS3.18 table 10.6.1-1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SearchLevel {
    /// `/studies`.
    Studies,
    /// `/studies/{study}/series`.
    Series {
        /// The study.
        study: StudyUid,
    },
    /// `/studies/{study}/instances`.
    Instances {
        /// The study.
        study: StudyUid,
    },
    /// `/studies/{study}/series/{series}/instances`.
    SeriesInstances {
        /// The study.
        study: StudyUid,
        /// The series.
        series: SeriesUid,
    },
    /// `/series`.
    AllSeries,
    /// `/instances`.
    AllInstances,
}

impl SearchLevel {
    /// Returns the strictest rule that accepts the UIDs in the path.
    pub fn uid_rule(&self) -> UidRule {
        match self {
            Self::Studies | Self::AllSeries | Self::AllInstances => UidRule::Strict,
            Self::Series { study } | Self::Instances { study } => study.rule(),
            Self::SeriesInstances { study, series } => study.rule().max(series.rule()),
        }
    }

    /// Returns the path relative to the QIDO-RS root, without a leading slash.
    pub(super) fn path(&self) -> String {
        match self {
            Self::Studies => "studies".to_owned(),
            Self::Series { study } => format!("studies/{study}/series"),
            Self::Instances { study } => format!("studies/{study}/instances"),
            Self::SeriesInstances { study, series } => format!("studies/{study}/series/{series}/instances"),
            Self::AllSeries => "series".to_owned(),
            Self::AllInstances => "instances".to_owned(),
        }
    }
}
