//! Parses paths of the search and retrieve resources (PS3.18 tables 10.4.1-1 to 10.4.1-6 and 10.6.1-1) and of the URI service
//! (chapter 9). The input is the path after `/dicom-web/{archive}/` or `/dicom-web/`, in which safe escapes are decoded.
//!
//! No other escapes are decoded, and the path is not normalized. Archives resolve `..`, `//` and escapes differently, so a path
//! that is forwarded without parsing could lead to the study of another patient or to the administration of the archive. The
//! result is a [`Target`], from which the upstream path is built.

use crate::upstream::{DicomResource, PathSegment, Rendering, Retrieval, SearchLevel};
use dicom_model::{SeriesUid, SopInstanceUid, StudyUid, UidRule};

/// Maximum number of frames in a list. A request without a list returns all frames.
const MAX_FRAMES: usize = 1000;

/// Maximum number of segments of a bulk data path. The paths of all known archives are shorter.
const MAX_BULKDATA_DEPTH: usize = 16;

/// The first segments of bulk data paths: `bulkdata` and `pixeldata` of the standard, and `bulk` of Orthanc.
const BULKDATA_SEGMENTS: [&str; 3] = ["bulkdata", "bulk", "pixeldata"];

/// The path of the URI service after `/dicom-web/{archive}/` and after `/dicom-web/`.
const URI_SERVICE: &str = "wado";

/// The target of a request, according to its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A resource of the Studies Service (PS3.18 chapter 10).
    Resource(Resource),
    /// The URI Service (PS3.18 chapter 9), whose query identifies the object.
    UriService,
}

impl Target {
    /// Parses the path after `/dicom-web/{archive}/` or `/dicom-web/`, without a leading slash.
    pub fn parse(path: &str) -> Result<Self, PathError> {
        Self::parse_by(UidRule::Strict, path)
    }

    /// Does the same as [`parse`](Self::parse), for an archive with `rule`.
    pub fn parse_by(rule: UidRule, path: &str) -> Result<Self, PathError> {
        if path == URI_SERVICE {
            Ok(Self::UriService)
        } else {
            Resource::parse_by(rule, path).map(Self::Resource)
        }
    }
}

impl Target {
    /// Returns the study of the retrieved resource, and the UID of its series or instance; `None` for searches, whole studies and
    /// the URI Service.
    pub fn retrieved_child(&self) -> Option<(&StudyUid, &str)> {
        let Self::Resource(resource) = self else { return None };
        match resource {
            Resource::Search(_) => None,
            Resource::Whole(objects)
            | Resource::Metadata(objects)
            | Resource::Rendered(objects)
            | Resource::Thumbnail(objects)
            | Resource::Bulkdata(objects, _) => match objects {
                DicomResource::Study(_) => None,
                DicomResource::Series(study, series) => Some((study, series.as_str())),
                DicomResource::Instance(study, _, instance)
                | DicomResource::Frames(study, _, instance, _) => Some((study, instance.as_str())),
            },
        }
    }
}

/// A resource of the Studies Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// The objects of a level, which are searched.
    Search(SearchLevel),
    /// Whole objects, or their frames.
    Whole(DicomResource),
    /// The metadata of objects.
    Metadata(DicomResource),
    /// Rendered images or documents.
    Rendered(DicomResource),
    /// Small rendered images.
    Thumbnail(DicomResource),
    /// Bulk data of objects, with the rest of the path after these objects.
    Bulkdata(DicomResource, Vec<PathSegment>),
}

/// Why a path does not identify a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The path contains a byte or a segment that does not occur in DICOMweb paths.
    #[error(
        "the path contains something that no DICOMweb path has: an escape, a dot segment, an empty segment, or a character other than letters, digits and . , _ -"
    )]
    Illegal,
    /// A segment that must be a UID is not valid.
    #[error(
        "the path has no valid UID after \"{0}\" (PS3.5 9.1: digits and single dots, at most 64 characters)"
    )]
    InvalidUid(&'static str),
    /// A segment that must be a UID is not a DICOM UID, but an archive with the lenient rule may have it.
    #[error(
        "the text after \"{0}\" is not a UID (PS3.5 9.1: digits and single dots, at most 64 characters); if the archive has such UIDs, set \
         lenient_uids = true for it in the configuration of the gateway"
    )]
    NeedsLenientUids(&'static str),
    /// The frame list is not a list of positive numbers.
    #[error(
        "a frame list is a comma-separated list of at most {MAX_FRAMES} frame numbers; the first frame is 1"
    )]
    FrameList,
    /// The path is well formed, but not a resource of PS3.18.
    #[error(
        "this is not the URL of a DICOMweb resource that the gateway serves: studies, series, instances, and below /studies/{{uid}} what PS3.18 table 10.1-1 defines for retrieval and search"
    )]
    Unknown,
}

impl Resource {
    /// Parses the path after `/dicom-web/{archive}/`, without a leading slash.
    pub fn parse(path: &str) -> Result<Self, PathError> {
        Self::parse_by(UidRule::Strict, path)
    }

    /// Does the same as [`parse`](Self::parse), for an archive with `rule`.
    pub fn parse_by(rule: UidRule, path: &str) -> Result<Self, PathError> {
        let is_legal =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b',' | b'_' | b'-');
        // The segment is empty, a dot segment, or consists of more dots.
        let has_only_dots = |segment: &&str| segment.bytes().all(|byte| byte == b'.');
        let segments: Vec<&str> = path.split('/').collect();
        if !path.bytes().all(is_legal) || segments.iter().any(has_only_dots) {
            return Err(PathError::Illegal);
        }
        match segments.as_slice() {
            ["studies"] => Ok(Self::Search(SearchLevel::Studies)),
            ["series"] => Ok(Self::Search(SearchLevel::AllSeries)),
            ["instances"] => Ok(Self::Search(SearchLevel::AllInstances)),
            ["studies", study, rest @ ..] => {
                let study = StudyUid::parse_by(rule, study).map_err(|_| uid_error("studies", study))?;
                parse_below_study(rule, study, rest)
            }
            _ => Err(PathError::Unknown),
        }
    }

    /// Whether `path` identifies a study, a series or an instance, like the RetrieveURL of every row. This is ten times as fast
    /// as [`parse_by`](Self::parse_by).
    pub(crate) fn is_objects_path(rule: UidRule, path: &str) -> bool {
        let mut segments = path.split('/').peekable();
        for level in ["studies", "series", "instances"] {
            if segments.next() != Some(level) || !segments.next().is_some_and(|uid| rule.accepts(uid)) {
                return false;
            }
            if segments.peek().is_none() {
                return true;
            }
        }
        false
    }

    /// Returns the retrieval of the resource, with the parameters `rendering` if the resource is rendered; `None` for a search.
    pub fn retrieval(self, rendering: Rendering) -> Option<Retrieval> {
        match self {
            Self::Search(_) => None,
            Self::Whole(objects) => Some(Retrieval::whole(objects)),
            Self::Metadata(objects) => Some(Retrieval::metadata(objects)),
            Self::Rendered(objects) => Some(Retrieval::rendered(objects, rendering)),
            Self::Thumbnail(objects) => Some(Retrieval::thumbnail(objects, rendering)),
            Self::Bulkdata(objects, path) => Some(Retrieval::bulkdata(objects, path)),
        }
    }

    /// Returns the study of the resource; `None` for a search across studies.
    pub fn study(&self) -> Option<&StudyUid> {
        match self {
            Self::Search(SearchLevel::Studies | SearchLevel::AllSeries | SearchLevel::AllInstances) => None,
            Self::Search(
                SearchLevel::Series { study }
                | SearchLevel::Instances { study }
                | SearchLevel::SeriesInstances { study, .. },
            ) => Some(study),
            Self::Whole(objects)
            | Self::Metadata(objects)
            | Self::Rendered(objects)
            | Self::Thumbnail(objects)
            | Self::Bulkdata(objects, _) => Some(objects.study()),
        }
    }

    /// Returns the strictest rule that accepts the UIDs of the resource.
    pub fn uid_rule(&self) -> UidRule {
        match self {
            Self::Search(level) => level.uid_rule(),
            Self::Whole(objects)
            | Self::Metadata(objects)
            | Self::Rendered(objects)
            | Self::Thumbnail(objects)
            | Self::Bulkdata(objects, _) => objects.uid_rule(),
        }
    }

    /// Whether the response is text: DICOM JSON or XML.
    pub fn is_text(&self) -> bool {
        matches!(self, Self::Search(_) | Self::Metadata(_))
    }

    /// Whether the response has a rendered media type (PS3.18 8.7.4): a rendered image or document, or a thumbnail.
    pub fn has_rendered_media_type(&self) -> bool {
        matches!(self, Self::Rendered(_) | Self::Thumbnail(_))
    }
}

/// Returns the error for a `text` after the segment `after` that the rule for UIDs does not accept.
fn uid_error(after: &'static str, text: &str) -> PathError {
    match UidRule::of(text) {
        Some(_) => PathError::NeedsLenientUids(after),
        None => PathError::InvalidUid(after),
    }
}

fn parse_below_study(rule: UidRule, study: StudyUid, rest: &[&str]) -> Result<Resource, PathError> {
    match rest {
        ["series"] => Ok(Resource::Search(SearchLevel::Series { study })),
        ["instances"] => Ok(Resource::Search(SearchLevel::Instances { study })),
        ["series", series, rest @ ..] => {
            let series = SeriesUid::parse_by(rule, series).map_err(|_| uid_error("series", series))?;
            parse_below_series(rule, study, series, rest)
        }
        rest => parse_objects(DicomResource::Study(study), rest),
    }
}

fn parse_below_series(
    rule: UidRule,
    study: StudyUid,
    series: SeriesUid,
    rest: &[&str],
) -> Result<Resource, PathError> {
    match rest {
        ["instances"] => Ok(Resource::Search(SearchLevel::SeriesInstances { study, series })),
        ["instances", instance, rest @ ..] => {
            let instance =
                SopInstanceUid::parse_by(rule, instance).map_err(|_| uid_error("instances", instance))?;
            parse_below_instance(study, series, instance, rest)
        }
        rest => parse_objects(DicomResource::Series(study, series), rest),
    }
}

fn parse_below_instance(
    study: StudyUid,
    series: SeriesUid,
    instance: SopInstanceUid,
    rest: &[&str],
) -> Result<Resource, PathError> {
    match rest {
        ["frames"] => Ok(Resource::Whole(DicomResource::Frames(study, series, instance, Vec::new()))),
        ["frames", list, rest @ ..] => {
            let frames = DicomResource::Frames(study, series, instance, parse_frame_list(list)?);
            match rest {
                [] | ["rendered" | "thumbnail"] => parse_objects(frames, rest),
                _ => Err(PathError::Unknown),
            }
        }
        rest => parse_objects(DicomResource::Instance(study, series, instance), rest),
    }
}

fn parse_objects(objects: DicomResource, rest: &[&str]) -> Result<Resource, PathError> {
    match rest {
        [] => Ok(Resource::Whole(objects)),
        ["metadata"] => Ok(Resource::Metadata(objects)),
        ["rendered"] => Ok(Resource::Rendered(objects)),
        ["thumbnail"] => Ok(Resource::Thumbnail(objects)),
        [first, ..] if BULKDATA_SEGMENTS.contains(first) && rest.len() <= MAX_BULKDATA_DEPTH => {
            let segments = rest.iter().map(|segment| PathSegment::parse(segment)).collect::<Option<_>>();
            Ok(Resource::Bulkdata(objects, segments.ok_or(PathError::Illegal)?))
        }
        _ => Err(PathError::Unknown),
    }
}

fn parse_frame_list(list: &str) -> Result<Vec<u32>, PathError> {
    let number = |text: &str| {
        let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number: &u32| is_decimal && *number > 0).ok_or(PathError::FrameList)
    };
    let frames: Vec<u32> = list.split(',').map(number).collect::<Result<_, _>>()?;
    if frames.len() > MAX_FRAMES { Err(PathError::FrameList) } else { Ok(frames) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INSTANCE: &str = "studies/1.2/series/1.2.3/instances/1.2.3.4";

    #[test]
    fn every_resource_of_the_standard_is_parsed() {
        for path in [
            "studies",
            "series",
            "instances",
            "studies/1.2",
            "studies/1.2/metadata",
            "studies/1.2/rendered",
            "studies/1.2/thumbnail",
            "studies/1.2/series",
            "studies/1.2/instances",
            "studies/1.2/bulkdata/7fe00010",
            "studies/1.2/series/1.2.3",
            "studies/1.2/series/1.2.3/metadata",
            "studies/1.2/series/1.2.3/rendered",
            "studies/1.2/series/1.2.3/thumbnail",
            "studies/1.2/series/1.2.3/instances",
            INSTANCE,
            &format!("{INSTANCE}/metadata"),
            &format!("{INSTANCE}/rendered"),
            &format!("{INSTANCE}/thumbnail"),
            &format!("{INSTANCE}/frames"),
            &format!("{INSTANCE}/frames/1"),
            &format!("{INSTANCE}/frames/1,2,30"),
            &format!("{INSTANCE}/frames/3/rendered"),
            &format!("{INSTANCE}/frames/3/thumbnail"),
            &format!("{INSTANCE}/bulk/7fe00010"),
            &format!("{INSTANCE}/bulkdata/00091010/1/00091011"),
            &format!("{INSTANCE}/pixeldata"),
        ] {
            assert!(Resource::parse(path).is_ok(), "{path}");
        }
        assert_eq!(
            Resource::parse("studies/01.2.03").map(|resource| resource.study().map(ToString::to_string)),
            Ok(Some("01.2.03".to_owned())),
            "leading zeros occur and are preserved"
        );
    }

    #[test]
    fn the_uri_service_has_one_path() {
        assert_eq!(Target::parse("wado"), Ok(Target::UriService));
        assert_eq!(Target::parse("studies"), Ok(Target::Resource(Resource::Search(SearchLevel::Studies))));
        for path in ["wado/", "wado/studies", "WADO"] {
            assert!(Target::parse(path).is_err(), "{path}");
        }
    }

    #[test]
    fn paths_that_archives_could_resolve_differently_are_rejected() {
        for path in [
            "",
            "/studies",
            "studies/",
            "studies//1.2",
            "studies/1.2/../1.3",
            "studies/./1.2",
            "studies/1.2/...",
            "studies/1.2%2f..%2f1.3/metadata",
            "studies/%2e%2e/patients",
            "..%2f..%2fpatients",
            "studies/1.2%00",
            "studies/1.2%0d%0a",
            "studies/1.2%",
            "%73tudies/1.2",
            "studies\\1.2",
            "studies/1.2\\..\\1.3",
            "studies/1.2;x=1/metadata",
            "studies/1.2/metadata#x",
            "studies/1.2/metadata?x",
            "studies/1.2 ",
            "studies/1.2\t",
            "studies/١.٢",
            "studies/1.2/series/1.3/instances/1.4/frames/1%2C2",
        ] {
            assert_eq!(Resource::parse(path), Err(PathError::Illegal), "{path:?}");
        }
    }

    #[test]
    fn an_invalid_uid_is_rejected() {
        let (long, hash) = ("1".repeat(65), "0123456789abcdef".repeat(4));
        let paths = |uid: &str| {
            [
                ("studies", format!("studies/{uid}")),
                ("series", format!("studies/1.2/series/{uid}/metadata")),
                ("instances", format!("studies/1.2/series/1.3/instances/{uid}")),
            ]
        };
        for uid in ["1,2", &long] {
            for (after, path) in paths(uid) {
                for rule in [UidRule::Strict, UidRule::Lenient] {
                    assert_eq!(Resource::parse_by(rule, &path), Err(PathError::InvalidUid(after)), "{path}");
                }
            }
        }
        for uid in ["1.2.", ".1", "1..2", "1.a", "-1", "a_b", "metadata", &hash] {
            for (after, path) in paths(uid) {
                assert_eq!(Resource::parse(&path), Err(PathError::NeedsLenientUids(after)), "{path}");
                let resource = Resource::parse_by(UidRule::Lenient, &path).unwrap();
                assert_eq!(resource.uid_rule(), UidRule::Lenient, "{path}");
            }
        }
    }

    #[test]
    fn invalid_frame_lists_are_rejected() {
        for list in ["0", "1,0", "1,,2", ",", "-1", "1.5", "a", "4294967296", &vec!["1"; 1001].join(",")] {
            let path = format!("{INSTANCE}/frames/{list}");
            assert_eq!(Resource::parse(&path), Err(PathError::FrameList), "{list}");
        }
    }

    #[test]
    fn paths_of_other_services_of_an_archive_are_rejected() {
        for path in [
            "patients",
            "system",
            "studies/1.2/patients",
            "studies/1.2/series/1.3/archive",
            "studies/1.2/instances/1.4",
            "app/explorer.html",
            &format!("{INSTANCE}/frames/1/metadata"),
            &format!("{INSTANCE}/bulkdata{}", "/1".repeat(MAX_BULKDATA_DEPTH)),
        ] {
            assert_eq!(Resource::parse(path), Err(PathError::Unknown), "{path}");
        }
    }

    proptest! {
        #[test]
        fn the_parser_does_not_panic(path in "\\PC{0,60}") {
            let _ = Resource::parse(&path);
        }

        #[test]
        fn an_accepted_path_contains_no_escapes_and_no_dot_segments(
            segments in prop::collection::vec("studies|series|instances|frames|metadata|bulk|1\\.2|a-1|[.]{1,2}|1%2e2|1,2|", 0..9),
        ) {
            let path = segments.join("/");
            for rule in [UidRule::Strict, UidRule::Lenient] {
                let resource = Resource::parse_by(rule, &path);
                if let Ok(resource) = &resource {
                    prop_assert!(!path.contains(['%', '\\', ';', '?', '#']));
                    prop_assert!(!path.split('/').any(|segment| matches!(segment, "" | "." | "..")));
                    prop_assert!(resource.uid_rule() <= rule);
                }
                let is_objects_path = matches!(
                    resource,
                    Ok(Resource::Whole(objects)) if !matches!(objects, DicomResource::Frames(..))
                );
                prop_assert_eq!(Resource::is_objects_path(rule, &path), is_objects_path);
            }
        }
    }
}
