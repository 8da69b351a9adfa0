//! What the caller of one request may see: made once for each request and carried through every call, so that no code can
//! reach a study without it.

use dicom_model::{Attributes, StudyUid};

/// What the caller of one request may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access(Extent);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Extent {
    Everything,
    Nothing,
}

/// What an [`Access`] is asked about.
#[derive(Debug, Clone, Copy)]
pub enum Subject<'a> {
    /// The study that a row describes.
    Row(&'a Attributes),
    /// A study of which no more than its UID is known yet.
    Study(&'a StudyUid),
    /// Every study of every archive, as a search across studies goes out.
    EveryStudy,
}

impl<'a> From<&'a Attributes> for Subject<'a> {
    fn from(row: &'a Attributes) -> Self {
        Self::Row(row)
    }
}

impl<'a> From<Option<&'a StudyUid>> for Subject<'a> {
    /// A resource without a study reaches across all of them.
    fn from(study: Option<&'a StudyUid>) -> Self {
        study.map_or(Self::EveryStudy, Self::Study)
    }
}

impl Access {
    /// Every study of every patient may be seen.
    pub fn everything() -> Self {
        Self(Extent::Everything)
    }

    /// No study may be seen: for what is answered without asking who the caller is.
    pub fn nothing() -> Self {
        Self(Extent::Nothing)
    }

    /// Whether `subject` may be seen. FHIR asks for every row of every answer, DICOMweb for the study of every request; both
    /// on every cache hit.
    pub fn may_see<'a>(&self, subject: impl Into<Subject<'a>>) -> bool {
        match (&self.0, subject.into()) {
            (Extent::Everything, Subject::Row(_) | Subject::Study(_) | Subject::EveryStudy) => true,
            (Extent::Nothing, _) => false,
        }
    }

    /// Whether no row has to be looked at, as every study may be seen.
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
