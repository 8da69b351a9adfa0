//! What the caller of one request may see: made once per request and passed through every call, so that no code can reach a
//! study without it.

use dicom_model::{Attributes, StudyUid};

/// What the caller of one request may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access(Extent);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Extent {
    Everything,
    Nothing,
}

/// What the caller requests access to.
#[derive(Debug, Clone, Copy)]
pub enum Subject<'a> {
    /// The study that a row describes.
    Row(&'a Attributes),
    /// A study of which only the UID is known so far.
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
    /// A resource without a study concerns all studies.
    fn from(study: Option<&'a StudyUid>) -> Self {
        study.map_or(Self::EveryStudy, Self::Study)
    }
}

impl Access {
    /// Access to every study of every patient.
    pub fn everything() -> Self {
        Self(Extent::Everything)
    }

    /// Access to no study: for resources that are served without authentication.
    pub fn nothing() -> Self {
        Self(Extent::Nothing)
    }

    /// Whether `subject` may be seen. The FHIR API checks every row of every response, DICOMweb the study of every request;
    /// both check on every cache hit.
    pub fn may_see<'a>(&self, subject: impl Into<Subject<'a>>) -> bool {
        match (&self.0, subject.into()) {
            (Extent::Everything, Subject::Row(_) | Subject::Study(_) | Subject::EveryStudy) => true,
            (Extent::Nothing, _) => false,
        }
    }

    /// Whether every study may be seen, so that rows need not be checked.
    pub fn sees_everything(&self) -> bool {
        self.may_see(Subject::EveryStudy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_to_everything_and_access_to_nothing_are_opposites() {
        let (study, row) = (StudyUid::parse("1.2").unwrap(), Attributes::default());
        for (access, expected) in [(Access::everything(), true), (Access::nothing(), false)] {
            assert_eq!(access.may_see(&row), expected);
            assert_eq!(access.may_see(Some(&study)), expected);
            assert_eq!(access.may_see(None), expected);
            assert_eq!(access.sees_everything(), expected);
        }
    }
}
