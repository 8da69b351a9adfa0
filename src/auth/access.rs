//! The access of one caller: it is created once per request and passed to every call, so that no code can read a study without
//! it.

use dicom_model::{Attributes, StudyUid};

/// The access of the caller of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access(VisibleStudies);

#[derive(Debug, Clone, PartialEq, Eq)]
enum VisibleStudies {
    All,
    None,
}

/// The subject of an access decision.
#[derive(Debug, Clone, Copy)]
pub enum Subject<'a> {
    /// The study that a row describes.
    Row(&'a Attributes),
    /// A study of which only the UID is known.
    Study(&'a StudyUid),
    /// Every study of every archive, for a search across studies.
    EveryStudy,
}

impl<'a> From<&'a Attributes> for Subject<'a> {
    fn from(row: &'a Attributes) -> Self {
        Self::Row(row)
    }
}

impl<'a> From<Option<&'a StudyUid>> for Subject<'a> {
    /// Returns the study, or every study for a resource without a study.
    fn from(study: Option<&'a StudyUid>) -> Self {
        study.map_or(Self::EveryStudy, Self::Study)
    }
}

impl Access {
    /// Creates access to every study of every patient.
    pub fn all() -> Self {
        Self(VisibleStudies::All)
    }

    /// Creates access to no study, for resources that are served without authentication.
    pub fn none() -> Self {
        Self(VisibleStudies::None)
    }

    /// Whether the caller may see `subject`. The FHIR API checks every row of every response, DICOMweb checks the study of every
    /// request, and both check every cache hit.
    pub fn may_see<'a>(&self, subject: impl Into<Subject<'a>>) -> bool {
        match (&self.0, subject.into()) {
            (VisibleStudies::All, Subject::Row(_) | Subject::Study(_) | Subject::EveryStudy) => true,
            (VisibleStudies::None, _) => false,
        }
    }

    /// Whether the caller may see every study, so that rows need not be checked.
    pub fn may_see_all(&self) -> bool {
        self.may_see(Subject::EveryStudy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_to_all_studies_allows_and_access_to_none_denies_every_subject() {
        let (study, row) = (StudyUid::parse("1.2").unwrap(), Attributes::default());
        for (access, expected) in [(Access::all(), true), (Access::none(), false)] {
            assert_eq!(access.may_see(&row), expected);
            assert_eq!(access.may_see(Some(&study)), expected);
            assert_eq!(access.may_see(None), expected);
            assert_eq!(access.may_see_all(), expected);
        }
    }
}
