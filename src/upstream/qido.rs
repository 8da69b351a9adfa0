//! QIDO-RS (PS3.18 10.6): searches made of typed parts, and the rows that answer them.
//!
//! - [`value`] is what may be sent to match by, and what an archive makes of it
//! - [`query`] puts a search together and writes it
//! - [`rows`] reads what one request is answered with
//! - [`narrowing`] is for archives that do not decode percent-escapes: what they are asked, and which of their rows count
//! - [`pager`] reads a whole list, however an archive pages

mod narrowing;
mod pager;
mod query;
mod rows;
mod value;

use dicom_model::{SeriesUid, StudyUid};

pub use narrowing::{AskedQuery, RowFilter, Unaskable};
pub use pager::{PageEnd, Pager, RowIdentity};
pub use query::{IncludeStyle, MatchingOption, QidoQuery};
pub use rows::RowsEnd;
pub use value::MatchValue;

/// What is searched for, and below what (PS3.18 table 10.6.1-1).
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
    /// The path below the QIDO-RS root, without a leading slash.
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
