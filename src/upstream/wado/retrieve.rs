//! Retrievals (PS3.18 10.4), built from typed parts.

use dicom_model::{SeriesUid, SopInstanceUid, StudyUid, UidRule};
use dicom_render::{Viewport, Window};

/// The objects that are retrieved (PS3.18 10.4.1.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DicomResource {
    /// A whole study.
    Study(StudyUid),
    /// A whole series.
    Series(StudyUid, SeriesUid),
    /// One instance.
    Instance(StudyUid, SeriesUid, SopInstanceUid),
    /// Frames of one instance, numbered from 1.
    Frames(StudyUid, SeriesUid, SopInstanceUid, Vec<u32>),
}

impl DicomResource {
    /// Returns the study that the objects belong to.
    pub fn study(&self) -> &StudyUid {
        match self {
            Self::Study(study)
            | Self::Series(study, _)
            | Self::Instance(study, ..)
            | Self::Frames(study, ..) => study,
        }
    }

    /// Returns the strictest rule that accepts the UIDs of the objects.
    pub fn uid_rule(&self) -> UidRule {
        match self {
            Self::Study(study) => study.rule(),
            Self::Series(study, series) => study.rule().max(series.rule()),
            Self::Instance(study, series, instance) | Self::Frames(study, series, instance, _) => {
                study.rule().max(series.rule()).max(instance.rule())
            }
        }
    }

    /// Returns the path below the WADO-RS root, without a leading slash.
    pub fn path(&self) -> String {
        match self {
            Self::Study(study) => format!("studies/{study}"),
            Self::Series(study, series) => format!("studies/{study}/series/{series}"),
            Self::Instance(study, series, instance) => {
                format!("studies/{study}/series/{series}/instances/{instance}")
            }
            Self::Frames(study, series, instance, frames) => {
                let list = frames.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
                let slash = if list.is_empty() { "" } else { "/" };
                format!("studies/{study}/series/{series}/instances/{instance}/frames{slash}{list}")
            }
        }
    }
}

/// The part or form of the objects that is retrieved.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum RetrievalKind {
    Whole,
    Metadata,
    Rendered(Rendering),
    Thumbnail(Rendering),
    Bulkdata(Vec<PathSegment>),
}

/// A segment of a bulkdata path, which each archive defines: letters, digits, `.`, `_` and `-`, but not dots alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PathSegment(String);

impl PathSegment {
    /// Parses `text`; `None` if it could be read as anything other than one segment.
    pub fn parse(text: &str) -> Option<Self> {
        let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let has_only_dots = text.bytes().all(|byte| byte == b'.');
        ((1..=128).contains(&text.len()) && text.bytes().all(is_legal) && !has_only_dots)
            .then(|| Self(text.to_owned()))
    }

    /// Returns the text of the segment.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The query of a URL that the archive wrote into its metadata, such as a signature. It is a secret of the archive, so it is not
/// printed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ArchiveQuery(String);

impl ArchiveQuery {
    /// Parses `text`, which follows the question mark of the URL; `None` if it is not the query of a URL (RFC 3986 3.4).
    pub fn parse(text: &str) -> Option<Self> {
        let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte);
        (!text.is_empty() && text.bytes().all(is_legal)).then(|| Self(text.to_owned()))
    }

    /// Returns the text of the query.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for ArchiveQuery {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ArchiveQuery")
    }
}

/// The parameters by which an image is rendered (PS3.18 8.3.5.1). Each value is checked against the grammar of the standard and
/// the bounds of `dicom_render`. Requests to archives have the same bounds, because several archives allocate memory for any requested size.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Rendering {
    parameters: Vec<(&'static str, String)>,
}

impl Rendering {
    /// The names of the parameters.
    pub const PARAMETERS: [&'static str; 5] = ["viewport", "window", "quality", "annotation", "iccprofile"];

    /// Scales the image to fit a square of `side` pixels, unless a viewport is given.
    #[must_use]
    pub fn within(self, side: u32) -> Self {
        let with_viewport = self.clone().with("viewport", &format!("{side},{side}"));
        with_viewport.unwrap_or(self)
    }

    /// Returns the value of a parameter as given.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(given, _)| *given == name).map(|(_, value)| value.as_str())
    }

    /// Returns the viewport, if one is given.
    pub fn viewport(&self) -> Option<Viewport> {
        self.parameter("viewport").and_then(Viewport::parse)
    }

    /// Returns the window, if one is given.
    pub fn window(&self) -> Option<Window> {
        self.parameter("window").and_then(Window::parse)
    }

    /// Adds one parameter of the standard; `None` if the standard defines no such parameter, if the value does not fit it or
    /// exceeds the bounds, or if it was given before.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Option<Self> {
        let (name, is_legal): (&'static str, bool) = match name {
            "viewport" => ("viewport", Viewport::parse(value).is_some()),
            "window" => ("window", Window::parse(value).is_some()),
            "quality" => ("quality", value.parse::<u8>().is_ok_and(|quality| (1..=100).contains(&quality))),
            "annotation" => (
                "annotation",
                !value.is_empty() && value.split(',').all(|part| matches!(part, "patient" | "technique")),
            ),
            "iccprofile" => {
                ("iccprofile", matches!(value, "no" | "yes" | "srgb" | "adobergb" | "rommrgb" | "displayp3"))
            }
            _ => return None,
        };
        if !is_legal || self.parameters.iter().any(|(earlier, _)| *earlier == name) {
            return None;
        }
        self.parameters.push((name, value.to_owned()));
        Some(self)
    }
}

/// One retrieval.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Retrieval {
    objects: DicomResource,
    kind: RetrievalKind,
    archive_query: Option<ArchiveQuery>,
}

impl Retrieval {
    fn new(objects: DicomResource, kind: RetrievalKind) -> Self {
        Self { objects, kind, archive_query: None }
    }

    /// Adds the query that the archive wrote into the URL of the resource.
    #[must_use]
    pub fn with_archive_query(self, query: Option<ArchiveQuery>) -> Self {
        Self { archive_query: query, ..self }
    }

    /// Creates a retrieval of the objects themselves, or of the pixel data of frames.
    pub fn whole(objects: DicomResource) -> Self {
        Self::new(objects, RetrievalKind::Whole)
    }

    /// Creates a retrieval of the metadata of `objects`.
    pub fn metadata(objects: DicomResource) -> Self {
        Self::new(objects, RetrievalKind::Metadata)
    }

    /// Creates a retrieval of rendered images or documents.
    pub fn rendered(objects: DicomResource, rendering: Rendering) -> Self {
        Self::new(objects, RetrievalKind::Rendered(rendering))
    }

    /// Creates a retrieval of a representative small image.
    pub fn thumbnail(objects: DicomResource, rendering: Rendering) -> Self {
        Self::new(objects, RetrievalKind::Thumbnail(rendering))
    }

    /// Creates a retrieval of bulk data at the path that the archive assigned.
    pub fn bulkdata(objects: DicomResource, path: Vec<PathSegment>) -> Self {
        Self::new(objects, RetrievalKind::Bulkdata(path))
    }

    /// Returns the objects that are retrieved.
    pub fn objects(&self) -> &DicomResource {
        &self.objects
    }

    /// Whether metadata is requested, so that the body is text.
    pub fn is_metadata(&self) -> bool {
        self.kind == RetrievalKind::Metadata
    }

    /// Whether a rendered resource is requested.
    pub fn is_rendered(&self) -> bool {
        matches!(self.kind, RetrievalKind::Rendered(_) | RetrievalKind::Thumbnail(_))
    }

    /// Whether frames are requested without numbers.
    pub fn is_every_frame(&self) -> bool {
        self.kind == RetrievalKind::Whole
            && matches!(&self.objects, DicomResource::Frames(.., frames) if frames.is_empty())
    }

    /// Returns the path below the WADO-RS root, without a leading slash.
    pub fn path(&self) -> String {
        let objects = self.objects.path();
        match &self.kind {
            RetrievalKind::Whole => objects,
            RetrievalKind::Metadata => format!("{objects}/metadata"),
            RetrievalKind::Rendered(_) => format!("{objects}/rendered"),
            RetrievalKind::Thumbnail(_) => format!("{objects}/thumbnail"),
            RetrievalKind::Bulkdata(segments) => {
                segments.iter().fold(objects, |path, PathSegment(segment)| format!("{path}/{segment}"))
            }
        }
    }

    pub(crate) fn query_string(&self) -> String {
        let parameters = match &self.kind {
            RetrievalKind::Rendered(rendering) | RetrievalKind::Thumbnail(rendering) => {
                rendering.parameters.as_slice()
            }
            RetrievalKind::Whole | RetrievalKind::Metadata | RetrievalKind::Bulkdata(_) => &[],
        };
        let parameters = parameters.iter().map(|(name, value)| format!("{name}={value}"));
        let archive_query = self.archive_query.iter().map(|query| query.expose().to_owned());
        parameters.chain(archive_query).collect::<Vec<_>>().join("&")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance() -> DicomResource {
        let uid = |text| SopInstanceUid::parse(text).unwrap();
        DicomResource::Instance(
            StudyUid::parse("1.2").unwrap(),
            SeriesUid::parse("1.2.3").unwrap(),
            uid("1.2.3.4"),
        )
    }

    #[test]
    fn paths_are_those_of_the_standard() {
        let frames = |list: &[u32]| match instance() {
            DicomResource::Instance(study, series, instance) => {
                DicomResource::Frames(study, series, instance, list.to_vec())
            }
            _ => unreachable!("an instance was made"),
        };
        let segment = |text| PathSegment::parse(text).unwrap();
        for (retrieval, path) in [
            (Retrieval::whole(DicomResource::Study(StudyUid::parse("1.2").unwrap())), "studies/1.2"),
            (Retrieval::metadata(instance()), "studies/1.2/series/1.2.3/instances/1.2.3.4/metadata"),
            (Retrieval::whole(frames(&[1, 3])), "studies/1.2/series/1.2.3/instances/1.2.3.4/frames/1,3"),
            (Retrieval::whole(frames(&[])), "studies/1.2/series/1.2.3/instances/1.2.3.4/frames"),
            (
                Retrieval::bulkdata(instance(), vec![segment("bulk"), segment("7fe00010")]),
                "studies/1.2/series/1.2.3/instances/1.2.3.4/bulk/7fe00010",
            ),
        ] {
            assert_eq!(retrieval.path(), path);
        }
    }

    #[test]
    fn a_rendering_accepts_only_parameters_of_the_standard() {
        let rendering = Rendering::default()
            .with("viewport", "512,512")
            .unwrap()
            .with("window", "40,400,linear")
            .unwrap();
        assert_eq!(
            Retrieval::rendered(instance(), rendering).query_string(),
            "viewport=512,512&window=40,400,linear"
        );
        for (name, value) in [
            ("viewport", "512"),
            ("viewport", "a,b"),
            ("viewport", "NaN,1"),
            ("viewport", "1.5,1"),
            ("viewport", "100000,100000"),
            ("window", "40,400"),
            ("window", "40,0,linear"),
            ("quality", "0"),
            ("quality", "101"),
            ("annotation", "all"),
            ("iccprofile", "x"),
            ("accept", "image/png"),
            ("viewport", "1,1&x=1"),
        ] {
            assert_eq!(Rendering::default().with(name, value), None, "{name}={value}");
        }
        assert_eq!(Rendering::default().with("quality", "5").unwrap().with("quality", "6"), None);
    }

    #[test]
    fn the_query_of_an_archive_follows_its_path_and_is_not_printed() {
        let query = ArchiveQuery::parse("sig=a%2Fb&expires=5").unwrap();
        assert_eq!(format!("{query:?}"), "ArchiveQuery");
        let retrieval = Retrieval::whole(instance()).with_archive_query(Some(query));
        assert_eq!(retrieval.query_string(), "sig=a%2Fb&expires=5");
        for invalid in ["", "a b", "a#b", "a\"b", "ä", "a\r\nb"] {
            assert_eq!(ArchiveQuery::parse(invalid), None, "{invalid:?}");
        }
    }

    #[test]
    fn a_path_segment_cannot_escape_its_parent() {
        for invalid in ["", ".", "..", "...", "a/b", "a%2fb", "a b", "ä", "a?b", &"a".repeat(129)] {
            assert_eq!(PathSegment::parse(invalid), None, "{invalid:?}");
        }
    }
}
