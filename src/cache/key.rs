//! What a remembered thing is found by. A key names upstream facts only: no caller, no address, no raw user input.

use crate::upstream::ArchiveId;
use dicom_model::StudyUid;

/// How much of a resource was rendered (R4 search#summary, search#elements).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Form {
    /// All of it.
    #[default]
    Full,
    /// `_summary=true`.
    Summary,
    /// `_summary=text`.
    Text,
    /// `_summary=data`.
    Data,
    /// `_elements`: the names of root elements, sorted, each once.
    Elements(Box<[Box<str>]>),
}

/// The key of a remembered thing. There is no other way to make one, and no default: a key that says too little is how a
/// cache serves the wrong patient.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum CacheKey {
    /// An assembled study, rendered in one form.
    Study(StudyUid, Form),
    /// The rows of one search at one archive, by the canonical text of the upstream request.
    Rows(ArchiveId, Box<str>),
    /// What a Patient id stands for.
    Patient(Box<str>),
    /// The answer of one archive to one retrieval: its path, its query and the media types that it may have.
    Answer(ArchiveId, Box<str>),
}

impl CacheKey {
    /// Bytes held besides the value's.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Study(study, _) => study.as_str().len(),
            Self::Rows(_, text) | Self::Patient(text) | Self::Answer(_, text) => text.len(),
        }
    }
}
