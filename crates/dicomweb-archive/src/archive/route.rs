//! Parses the paths of the archive (PS3.18 tables 10.4.1-1, 10.5.1-1 and 10.6.1-1). The caller decodes safe escapes; paths with
//! other escapes, dot segments or double slashes are rejected. This module does not know which resources exist.

use super::levels::Level;
use dicom_model::json::writer::Step;
use dicom_model::{SeriesUid, SopInstanceUid, StudyUid};

/// The root path of the service, as in many archives.
pub const ROOT: &str = "/dicom-web";

/// The UIDs in the path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Scope {
    /// The study in the path.
    pub study: Option<StudyUid>,
    /// The series in the path.
    pub series: Option<SeriesUid>,
    /// The instance in the path.
    pub instance: Option<SopInstanceUid>,
}

/// The requested resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Resource {
    /// A search (QIDO-RS) at a level.
    Search(Level),
    /// The DICOM files.
    Instances,
    /// Metadata as DICOM JSON.
    Metadata,
    /// Frames by number, starting at 1.
    Frames(Vec<usize>),
    /// One large value, by its path.
    BulkData(Vec<Step>),
}

/// A parsed request path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    /// The UIDs in the path.
    pub scope: Scope,
    /// The resource.
    pub resource: Resource,
}

/// Why a path is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum RouteError {
    /// The path is unknown.
    #[error(
        "unknown resource; the archive serves /dicom-web/studies, /dicom-web/series and /dicom-web/instances"
    )]
    Unknown,
    /// A UID in the path is invalid.
    #[error(
        "the path contains an invalid UID: expected numeric components separated by dots, at most 64 characters (PS3.5 9.1)"
    )]
    Uid,
    /// The frame list is invalid.
    #[error("the frame list is invalid: expected comma-separated integers from 1 (PS3.18 10.4.1.1.6)")]
    Frames,
}

impl Route {
    /// Parses the path of a request.
    pub(super) fn parse(path: &str) -> Result<Self, RouteError> {
        let rest =
            path.strip_prefix(ROOT).and_then(|rest| rest.strip_prefix('/')).ok_or(RouteError::Unknown)?;
        let segments: Vec<&str> = rest.split('/').collect();
        match segments.as_slice() {
            ["studies"] => Ok(Self::search(Level::Study, Scope::default())),
            ["series"] => Ok(Self::search(Level::Series, Scope::default())),
            ["instances"] => Ok(Self::search(Level::Instance, Scope::default())),
            ["studies", study, rest @ ..] => {
                let study = Some(StudyUid::parse(study).map_err(|_| RouteError::Uid)?);
                Self::parse_in_study(Scope { study, ..Scope::default() }, rest)
            }
            _ => Err(RouteError::Unknown),
        }
    }

    fn parse_in_study(scope: Scope, segments: &[&str]) -> Result<Self, RouteError> {
        match segments {
            [] => Ok(Self { scope, resource: Resource::Instances }),
            ["metadata"] => Ok(Self { scope, resource: Resource::Metadata }),
            ["series"] => Ok(Self::search(Level::Series, scope)),
            ["instances"] => Ok(Self::search(Level::Instance, scope)),
            ["series", series, rest @ ..] => {
                let series = Some(SeriesUid::parse(series).map_err(|_| RouteError::Uid)?);
                Self::parse_in_series(Scope { series, ..scope }, rest)
            }
            _ => Err(RouteError::Unknown),
        }
    }

    fn parse_in_series(scope: Scope, segments: &[&str]) -> Result<Self, RouteError> {
        match segments {
            [] => Ok(Self { scope, resource: Resource::Instances }),
            ["metadata"] => Ok(Self { scope, resource: Resource::Metadata }),
            ["instances"] => Ok(Self::search(Level::Instance, scope)),
            ["instances", instance, rest @ ..] => {
                let instance = Some(SopInstanceUid::parse(instance).map_err(|_| RouteError::Uid)?);
                Self::parse_in_instance(Scope { instance, ..scope }, rest)
            }
            _ => Err(RouteError::Unknown),
        }
    }

    fn parse_in_instance(scope: Scope, segments: &[&str]) -> Result<Self, RouteError> {
        let resource = match segments {
            [] => Resource::Instances,
            ["metadata"] => Resource::Metadata,
            ["frames", list] => Resource::Frames(parse_frame_list(list)?),
            ["bulkdata", steps @ ..] => Resource::BulkData(Step::path(steps).ok_or(RouteError::Unknown)?),
            _ => return Err(RouteError::Unknown),
        };
        Ok(Self { scope, resource })
    }

    fn search(level: Level, scope: Scope) -> Self {
        Self { scope, resource: Resource::Search(level) }
    }
}

fn parse_frame_list(list: &str) -> Result<Vec<usize>, RouteError> {
    let number = |text: &str| {
        let has_only_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number| has_only_digits && *number > 0)
    };
    list.split(',').map(|text| number(text).ok_or(RouteError::Frames)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicom_core::Tag;

    #[test]
    fn every_resource_of_the_standard_has_its_path() {
        let resource = |path: &str| Route::parse(path).map(|route| route.resource);
        assert_eq!(resource("/dicom-web/studies"), Ok(Resource::Search(Level::Study)));
        assert_eq!(resource("/dicom-web/studies/1.2/series"), Ok(Resource::Search(Level::Series)));
        assert_eq!(resource("/dicom-web/studies/1.2/instances"), Ok(Resource::Search(Level::Instance)));
        assert_eq!(
            resource("/dicom-web/studies/1.2/series/3/instances"),
            Ok(Resource::Search(Level::Instance))
        );
        assert_eq!(resource("/dicom-web/studies/1.2"), Ok(Resource::Instances));
        assert_eq!(resource("/dicom-web/studies/1.2/series/3/metadata"), Ok(Resource::Metadata));
        let instance = "/dicom-web/studies/1.2/series/3/instances/4";
        assert_eq!(resource(&format!("{instance}/frames/1,3")), Ok(Resource::Frames(vec![1, 3])));
        assert_eq!(
            resource(&format!("{instance}/bulkdata/00880200/1/7FE00010")),
            Ok(Resource::BulkData(vec![
                Step::Attribute(Tag(0x0088, 0x0200)),
                Step::Item(1),
                Step::Attribute(Tag(0x7FE0, 0x0010)),
            ]))
        );
    }

    #[test]
    fn only_valid_uids_and_normalized_paths_are_accepted() {
        for path in ["", "/", "/dicom-web", "/dicom-web/", "/dicom-web//studies", "/dicom-web/studies/"] {
            assert!(Route::parse(path).is_err(), "{path}");
        }
        for uid in ["1%2e2", "..", ".", "1.2a", "1..2", "%31"] {
            assert_eq!(Route::parse(&format!("/dicom-web/studies/{uid}")), Err(RouteError::Uid), "{uid}");
        }
        for frames in ["0", "1,", "a", "-1", "+1", "1,,2", "99999999999999999999999"] {
            let path = format!("/dicom-web/studies/1/series/2/instances/3/frames/{frames}");
            assert_eq!(Route::parse(&path), Err(RouteError::Frames), "{frames}");
        }
    }
}
