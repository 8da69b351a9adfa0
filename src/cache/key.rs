//! The keys of cache entries. A key consists of upstream facts only: no caller, no URL of the gateway, no raw user input.

use crate::upstream::ArchiveId;
use dicom_model::StudyUid;

/// Which part of a resource was serialized (R4 search#summary, search#elements).
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
    /// `_elements`: the names of root elements, sorted, without duplicates.
    Elements(Box<[Box<str>]>),
}

/// The key of an entry. There is no other constructor and no default: with an incomplete key, a cache would serve the wrong
/// patient.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum CacheKey {
    /// An assembled study, serialized in one form.
    Study(StudyUid, Form),
    /// The rows of one search at one archive, by the canonical text of the upstream request.
    Rows(ArchiveId, Box<str>),
    /// The identifier behind a Patient id.
    Patient(Box<str>),
    /// The response of one archive to one retrieval: its path, its query and the acceptable media types.
    Answer(ArchiveId, Box<str>),
}

impl CacheKey {
    /// Bytes occupied besides those of the value.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Study(study, _) => study.as_str().len(),
            Self::Rows(_, text) | Self::Patient(text) | Self::Answer(_, text) => text.len(),
        }
    }
}
