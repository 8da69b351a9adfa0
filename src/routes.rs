//! The routes of the public listener, parsed from the method and the path.
//!
//! The caller decodes the escapes that every program reads in the same way (`http_messages::path`), before the path is
//! inspected. A path is rejected before it is parsed if it still contains anything that two programs could read differently: dot
//! segments, double slashes, other percent-escapes, a backslash, a semicolon. No URL of the gateway needs one.

use http::Method;

use crate::dicomweb::{PathError, Target};
use crate::upstream::ArchiveId;
use fhir_r4::id::is_id;
use fhir_r4::search::ResourceType;

/// Maximum length of a path: archive, study, series, instance and a frame list fit in 8 KiB.
const MAX_PATH_LEN: usize = 8 * 1024;

/// The purpose of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route<'a> {
    /// An interaction of the FHIR API.
    Fhir(Interaction<'a>),
    /// `POST /fhir`: a batch Bundle.
    Batch,
    /// `GET /dicom-web/{archive}/…`, and `GET /dicom-web/studies…`, `/series`, `/instances`, `/wado`.
    Dicomweb {
        /// The archive; `None` for the aggregate root.
        archive: Option<ArchiveId>,
        /// The resource that the path after the root identifies. The error of an invalid path is returned later, because an
        /// archive that does not exist is reported first.
        target: Result<Target, PathError>,
        /// The path after the root, without a leading slash.
        path: &'a str,
    },
    /// `GET` and `OPTIONS` of `/dicom-web`, `/dicom-web/{archive}`, also with a trailing slash: a description of
    /// the services below the path.
    DicomwebCapabilities {
        /// The archive; `None` for the aggregate root.
        archive: Option<ArchiveId>,
    },
}

/// The interactions of the FHIR API (R4 http).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interaction<'a> {
    /// `GET /fhir/metadata`.
    Capabilities,
    /// `GET /fhir/{type}/{id}`.
    Read(ResourceType, &'a str),
    /// `GET /fhir/{type}/{id}/_history/{version}`.
    VersionRead(ResourceType, &'a str, &'a str),
    /// `GET /fhir/{type}/{id}/_history`.
    History(ResourceType, &'a str),
    /// `GET /fhir/{type}`, `GET` and `POST /fhir/{type}/_search`.
    Search(ResourceType),
    /// `GET /fhir`, `GET` and `POST /fhir/_search`: a search of all types.
    SearchAll,
    /// `GET /fhir/Patient/{id}/{type}`, `POST` with `/_search`: a search in the Patient's compartment, of all types if
    /// the type is `*`.
    SearchCompartment(&'a str, Option<ResourceType>),
    /// `GET` and `POST /fhir/Patient/{id}/$everything`.
    Everything(&'a str),
}

/// The reason why a request has no route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoute {
    /// Two programs could read the path differently.
    AmbiguousPath,
    /// The path is longer than any path that is served.
    PathTooLong,
    /// No resource has this path.
    NotFound,
    /// The path without its trailing slash is the path of a resource.
    TrailingSlash,
    /// `/fhir/{type}` with a type that is not served.
    UnknownType,
    /// `/fhir/$name`, `/fhir/{type}/$name`, `/fhir/{type}/{id}/$name` with an operation that is not served.
    UnknownOperation,
    /// `/fhir/{type}/{id}` with a text that cannot be an id.
    InvalidId,
    /// `/fhir/_history`, `/fhir/{type}/_history`.
    NoHistory,
    /// The path exists, but not for this method.
    MethodNotAllowed {
        /// The value of the `Allow` header.
        allow: &'static str,
    },
}

/// The format of errors below a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorFormat {
    /// An OperationOutcome.
    Fhir,
    /// A DICOMweb status with a short JSON body.
    Dicomweb,
}

impl ErrorFormat {
    /// Returns the format of errors by the first segment of the path; FHIR if the segment is unknown.
    pub fn from_path(path: &str) -> Self {
        if path == "/dicom-web" || path.starts_with("/dicom-web/") { Self::Dicomweb } else { Self::Fhir }
    }
}

impl<'a> Route<'a> {
    /// Parses `path`, the path of the request with its safe escapes decoded and without the public prefix. Only roots may have a
    /// trailing slash.
    pub fn parse(method: &Method, path: &'a str) -> Result<Self, NoRoute> {
        let is_served = |route: &Result<Self, NoRoute>| match route {
            Ok(Self::Dicomweb { target, .. }) => target.is_ok(),
            Ok(_) => true,
            Err(_) => false,
        };
        let route = Self::parse_exact(method, path);
        match path.strip_suffix('/') {
            Some(path_without_slash)
                if !is_served(&route) && is_served(&Self::parse_exact(method, path_without_slash)) =>
            {
                Err(NoRoute::TrailingSlash)
            }
            _ => route,
        }
    }

    /// Parses `path` without considering a path without its trailing slash.
    fn parse_exact(method: &Method, path: &'a str) -> Result<Self, NoRoute> {
        if path.len() > MAX_PATH_LEN {
            return Err(NoRoute::PathTooLong);
        }
        if is_ambiguous(path) {
            return Err(NoRoute::AmbiguousPath);
        }
        let (root, below) = split_at_slash(path.strip_prefix('/').ok_or(NoRoute::NotFound)?);
        let (first, rest) = below.map_or(("", None), split_at_slash);
        match (root, rest) {
            ("fhir", None) if first.is_empty() => match *method {
                Method::POST => Ok(Self::Batch),
                _ => allow_only(method, SEARCH).map(|()| Self::Fhir(Interaction::SearchAll)),
            },
            ("fhir", None) if first == "_search" => {
                allow_only(method, SEARCH).map(|()| Self::Fhir(Interaction::SearchAll))
            }
            ("fhir", rest) => Interaction::parse(method, first, rest).map(Self::Fhir),
            ("dicom-web", _) if matches!(first, "studies" | "series" | "instances") => {
                allow_only(method, RETRIEVE)?;
                Ok(Self::dicomweb(None, below.unwrap_or_default()))
            }
            ("dicom-web", None) if first == "wado" => {
                allow_only(method, RETRIEVE)?;
                Ok(Self::dicomweb(None, first))
            }
            ("dicom-web", None | Some("")) => {
                if *method != Method::OPTIONS {
                    allow_only(method, RETRIEVE)?;
                }
                let archive = (!first.is_empty()).then(|| ArchiveId::parse(first));
                let archive = archive.transpose().map_err(|_| NoRoute::NotFound)?;
                Ok(Self::DicomwebCapabilities { archive })
            }
            ("dicom-web", Some(rest)) => {
                let archive = ArchiveId::parse(first).map_err(|_| NoRoute::NotFound)?;
                allow_only(method, RETRIEVE)?;
                Ok(Self::dicomweb(Some(archive), rest))
            }
            _ => Err(NoRoute::NotFound),
        }
    }

    fn dicomweb(archive: Option<ArchiveId>, path: &'a str) -> Self {
        Self::Dicomweb { archive, target: Target::parse(path), path }
    }

    /// Returns the id of the study, if a study is read.
    pub fn id_of_read_study(&self) -> Option<&'a str> {
        match self {
            Self::Fhir(Interaction::Read(ResourceType::ImagingStudy, id)) => Some(id),
            _ => None,
        }
    }

    /// Every label that a route can have.
    pub const LABELS: [&'static str; 20] = [
        "fhir.read.ImagingStudy",
        "fhir.vread.ImagingStudy",
        "fhir.vread.Patient",
        "fhir.vread.Endpoint",
        "fhir.history.ImagingStudy",
        "fhir.history.Patient",
        "fhir.history.Endpoint",
        "fhir.search.ImagingStudy",
        "fhir.read.Patient",
        "fhir.search.Patient",
        "fhir.read.Endpoint",
        "fhir.search.Endpoint",
        "fhir.search",
        "fhir.compartment",
        "fhir.everything",
        "fhir.batch",
        "fhir.capabilities",
        "dicomweb",
        "dicomweb.federation",
        "dicomweb.capabilities",
    ];

    /// Returns the route without its variable parts, for metrics and logs.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Fhir(interaction) => interaction.label(),
            Self::Batch => "fhir.batch",
            Self::Dicomweb { archive: Some(_), .. } => "dicomweb",
            Self::Dicomweb { archive: None, .. } => "dicomweb.federation",
            Self::DicomwebCapabilities { .. } => "dicomweb.capabilities",
        }
    }
}

impl<'a> Interaction<'a> {
    fn parse(method: &Method, first: &'a str, rest: Option<&'a str>) -> Result<Self, NoRoute> {
        if first == "metadata" {
            return match rest {
                None => allow_only(method, READ).map(|()| Self::Capabilities),
                Some(_) => Err(NoRoute::NotFound),
            };
        }
        if first == "_history" {
            return Err(if rest.is_none() { NoRoute::NoHistory } else { NoRoute::NotFound });
        }
        if first.starts_with('$') {
            return Err(NoRoute::UnknownOperation);
        }
        let kind = ResourceType::parse(first).ok_or(NoRoute::UnknownType)?;
        match rest {
            Some("_history") => Err(NoRoute::NoHistory),
            None => allow_only(method, READ).map(|()| Self::Search(kind)),
            Some("_search") => allow_only(method, SEARCH).map(|()| Self::Search(kind)),
            Some(rest) => match split_at_slash(rest) {
                (id, None) if is_id(id) => allow_only(method, READ).map(|()| Self::Read(kind, id)),
                (id, Some("_history")) if is_id(id) => {
                    allow_only(method, READ).map(|()| Self::History(kind, id))
                }
                (id, Some(below)) if is_id(id) => Self::parse_below(method, kind, id, below),
                (name, _) if name.starts_with('$') => Err(NoRoute::UnknownOperation),
                _ => Err(NoRoute::InvalidId),
            },
        }
    }

    /// Parses the path below `/fhir/{type}/{id}/`. Of the served types, only ImagingStudy is in a Patient's compartment
    /// (R4 compartmentdefinition-patient).
    fn parse_below(
        method: &Method,
        kind: ResourceType,
        id: &'a str,
        below: &'a str,
    ) -> Result<Self, NoRoute> {
        let is_patient = kind == ResourceType::Patient;
        let (name, search) = split_at_slash(below);
        let kind = match (name, search) {
            ("_history", Some(version)) if is_id(version) => {
                return allow_only(method, READ).map(|()| Self::VersionRead(kind, id, version));
            }
            ("$everything", None) if is_patient => {
                return allow_only(method, SEARCH).map(|()| Self::Everything(id));
            }
            ("*", _) if is_patient => None,
            _ if is_patient && name == ResourceType::ImagingStudy.name() => Some(ResourceType::ImagingStudy),
            _ if name.starts_with('$') => return Err(NoRoute::UnknownOperation),
            _ => return Err(NoRoute::NotFound),
        };
        match search {
            None => allow_only(method, READ).map(|()| Self::SearchCompartment(id, kind)),
            Some("_search") => allow_only(method, SEARCH).map(|()| Self::SearchCompartment(id, kind)),
            Some(_) => Err(NoRoute::NotFound),
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Capabilities => "fhir.capabilities",
            Self::Read(ResourceType::ImagingStudy, _) => "fhir.read.ImagingStudy",
            Self::Read(ResourceType::Patient, _) => "fhir.read.Patient",
            Self::Read(ResourceType::Endpoint, _) => "fhir.read.Endpoint",
            Self::VersionRead(ResourceType::ImagingStudy, ..) => "fhir.vread.ImagingStudy",
            Self::VersionRead(ResourceType::Patient, ..) => "fhir.vread.Patient",
            Self::VersionRead(ResourceType::Endpoint, ..) => "fhir.vread.Endpoint",
            Self::History(ResourceType::ImagingStudy, _) => "fhir.history.ImagingStudy",
            Self::History(ResourceType::Patient, _) => "fhir.history.Patient",
            Self::History(ResourceType::Endpoint, _) => "fhir.history.Endpoint",
            Self::Search(ResourceType::ImagingStudy) => "fhir.search.ImagingStudy",
            Self::Search(ResourceType::Patient) => "fhir.search.Patient",
            Self::Search(ResourceType::Endpoint) => "fhir.search.Endpoint",
            Self::SearchAll => "fhir.search",
            Self::SearchCompartment(..) => "fhir.compartment",
            Self::Everything(_) => "fhir.everything",
        }
    }
}

/// Returns the text before the first slash, and the text after it.
fn split_at_slash(path: &str) -> (&str, Option<&str>) {
    match path.bytes().position(|byte| byte == b'/') {
        // A slash is one byte, so the indexes are character boundaries.
        Some(index) => (&path[..index], Some(&path[index + 1..])),
        None => (path, None),
    }
}

/// The methods of FHIR resources, which can only be read.
const READ: &str = "GET, HEAD, OPTIONS";
/// The methods of searches and operations, whose parameters may be in a body.
const SEARCH: &str = "GET, HEAD, OPTIONS, POST";
/// The methods of DICOMweb resources.
const RETRIEVE: &str = READ;

fn allow_only(method: &Method, allow: &'static str) -> Result<(), NoRoute> {
    match *method {
        Method::GET | Method::HEAD => Ok(()),
        Method::POST if allow == SEARCH => Ok(()),
        _ => Err(NoRoute::MethodNotAllowed { allow }),
    }
}

/// Whether a program may decode, drop or replace a part of `path`.
fn is_ambiguous(path: &str) -> bool {
    let bytes = path.as_bytes();
    let begins_ambiguously = |segment: &[u8]| {
        matches!(segment, [b'/', ..] | [b'.'] | [b'.', b'/', ..] | [b'.', b'.'] | [b'.', b'.', b'/', ..])
    };
    !bytes.iter().all(|byte| IS_UNAMBIGUOUS[usize::from(*byte)])
        || memchr::memchr_iter(b'/', bytes).any(|slash| begins_ambiguously(&bytes[slash + 1..]))
}

/// Whether each byte may be in an unambiguous path: it is printable, does not begin an escape, and no program reads it as a
/// slash or as the start of parameters.
const IS_UNAMBIGUOUS: [bool; 256] = {
    let mut is_unambiguous = [false; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        is_unambiguous[byte as usize] = !matches!(byte, b'%' | b'\\' | b';');
        byte += 1;
    }
    is_unambiguous
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn get(path: &str) -> Result<Route<'_>, NoRoute> {
        Route::parse(&Method::GET, path)
    }

    #[test]
    fn every_url_of_the_gateway_has_a_route() {
        let fhir = Route::Fhir;
        let dicomweb = |archive: Option<&str>, path: &'static str| Route::Dicomweb {
            archive: archive.map(|archive| ArchiveId::parse(archive).unwrap()),
            target: Target::parse(path),
            path,
        };
        for (path, route) in [
            ("/fhir/metadata", fhir(Interaction::Capabilities)),
            ("/fhir/ImagingStudy", fhir(Interaction::Search(ResourceType::ImagingStudy))),
            ("/fhir/ImagingStudy/_search", fhir(Interaction::Search(ResourceType::ImagingStudy))),
            ("/fhir/ImagingStudy/1.2.3", fhir(Interaction::Read(ResourceType::ImagingStudy, "1.2.3"))),
            ("/fhir/Patient/0a1b", fhir(Interaction::Read(ResourceType::Patient, "0a1b"))),
            (
                "/fhir/Patient/0a1b/_history/7f",
                fhir(Interaction::VersionRead(ResourceType::Patient, "0a1b", "7f")),
            ),
            ("/fhir/Endpoint/main", fhir(Interaction::Read(ResourceType::Endpoint, "main"))),
            ("/fhir/Endpoint/main/_history", fhir(Interaction::History(ResourceType::Endpoint, "main"))),
            (
                "/fhir/ImagingStudy/1.2/_history",
                fhir(Interaction::History(ResourceType::ImagingStudy, "1.2")),
            ),
            ("/fhir/Patient/0a1b/_history", fhir(Interaction::History(ResourceType::Patient, "0a1b"))),
            ("/fhir", fhir(Interaction::SearchAll)),
            ("/fhir/", fhir(Interaction::SearchAll)),
            ("/fhir/_search", fhir(Interaction::SearchAll)),
            (
                "/fhir/Patient/a/ImagingStudy",
                fhir(Interaction::SearchCompartment("a", Some(ResourceType::ImagingStudy))),
            ),
            ("/fhir/Patient/a/*", fhir(Interaction::SearchCompartment("a", None))),
            ("/fhir/Patient/a/*/_search", fhir(Interaction::SearchCompartment("a", None))),
            ("/fhir/Patient/a/$everything", fhir(Interaction::Everything("a"))),
            ("/dicom-web/main/studies", dicomweb(Some("main"), "studies")),
            ("/dicom-web", Route::DicomwebCapabilities { archive: None }),
            ("/dicom-web/", Route::DicomwebCapabilities { archive: None }),
            ("/dicom-web/main", Route::DicomwebCapabilities { archive: ArchiveId::parse("main").ok() }),
            ("/dicom-web/main/", Route::DicomwebCapabilities { archive: ArchiveId::parse("main").ok() }),
            ("/dicom-web/studies", dicomweb(None, "studies")),
            ("/dicom-web/studies/1.2/series", dicomweb(None, "studies/1.2/series")),
            ("/dicom-web/wado", dicomweb(None, "wado")),
            ("/dicom-web/main/studies/1.2/metadata", dicomweb(Some("main"), "studies/1.2/metadata")),
        ] {
            assert!(Route::LABELS.contains(&route.label()), "{path}");
            assert_eq!(get(path), Ok(route), "{path}");
        }
    }

    #[test]
    fn a_post_is_a_batch_a_search_or_an_operation() {
        assert_eq!(Route::parse(&Method::POST, "/fhir"), Ok(Route::Batch));
        assert_eq!(Route::parse(&Method::POST, "/fhir/_search"), Ok(Route::Fhir(Interaction::SearchAll)));
        let everything = Route::parse(&Method::POST, "/fhir/Patient/a/$everything");
        assert_eq!(everything, Ok(Route::Fhir(Interaction::Everything("a"))));
    }

    #[test]
    fn unknown_paths_are_distinguished_from_methods_that_are_not_allowed() {
        for path in [
            "",
            "/",
            "/fhir/metadata/x",
            "/fhir/Patient/a/Endpoint",
            "/fhir/Patient/a/ImagingStudy/1",
            "/fhir/Endpoint/a/ImagingStudy",
            "/fhir/ImagingStudy/1/2",
            "/dicom-web/MAIN",
            "/dicom-web/MAIN/studies",
            "/x",
        ] {
            assert_eq!(get(path), Err(NoRoute::NotFound), "{path}");
        }
        for path in ["/fhir/imagingstudy", "/fhir/Observation/1", "/fhir/Observation/$everything"] {
            assert_eq!(get(path), Err(NoRoute::UnknownType), "{path}");
        }
        for path in [
            "/fhir/$everything",
            "/fhir/Patient/$export",
            "/fhir/ImagingStudy/1.2/$everything",
            "/fhir/Patient/a/$everything/x",
        ] {
            assert_eq!(get(path), Err(NoRoute::UnknownOperation), "{path}");
        }
        for path in ["/fhir/ImagingStudy/a_b", "/fhir/Patient/a_b/ImagingStudy", "/fhir/Patient/_x"] {
            assert_eq!(get(path), Err(NoRoute::InvalidId), "{path}");
        }
        for path in ["/fhir/_history", "/fhir/Patient/_history"] {
            assert_eq!(get(path), Err(NoRoute::NoHistory), "{path}");
        }
        for (method, path, allow) in [
            (Method::POST, "/fhir/ImagingStudy", "GET, HEAD, OPTIONS"),
            (Method::PUT, "/fhir/ImagingStudy/1/_history/2", "GET, HEAD, OPTIONS"),
            (Method::DELETE, "/fhir/ImagingStudy/1", "GET, HEAD, OPTIONS"),
            (Method::PUT, "/fhir/Patient/_search", "GET, HEAD, OPTIONS, POST"),
            (Method::PUT, "/fhir", "GET, HEAD, OPTIONS, POST"),
            (Method::POST, "/fhir/Patient/a/*", "GET, HEAD, OPTIONS"),
            (Method::POST, "/dicom-web/main/studies", "GET, HEAD, OPTIONS"),
            (Method::POST, "/dicom-web/main", "GET, HEAD, OPTIONS"),
            (Method::OPTIONS, "/dicom-web/studies", "GET, HEAD, OPTIONS"),
        ] {
            assert_eq!(Route::parse(&method, path), Err(NoRoute::MethodNotAllowed { allow }), "{path}");
        }
    }

    #[test]
    fn a_trailing_slash_is_distinguished_from_an_unknown_path() {
        for path in [
            "/fhir/metadata/",
            "/fhir/ImagingStudy/",
            "/fhir/ImagingStudy/1.2/",
            "/dicom-web/studies/",
            "/dicom-web/main/studies/",
            "/dicom-web/main/studies/1.2/metadata/",
        ] {
            assert_eq!(get(path), Err(NoRoute::TrailingSlash), "{path}");
        }
        assert_eq!(get("/fhir/metadata/x/"), Err(NoRoute::NotFound));
        assert_eq!(get("/fhir/metadata//"), Err(NoRoute::AmbiguousPath));
    }

    #[test]
    fn an_ambiguous_path_is_rejected() {
        for path in [
            "/fhir/../metadata",
            "/fhir/./metadata",
            "//fhir/metadata",
            "/fhir//metadata",
            "/fhir/%6detadata",
            "/dicom-web/main/studies/1.2.3%2f..%2f9.9",
            "/dicom-web/main/studies\\..",
            "/dicom-web/main/studies;x=1",
            "/dicom-web/main/../other/studies",
            "/fhir/Im\u{e4}ging",
            "/fhir/a b",
            "/dicom-web/main/studies/..",
        ] {
            assert_eq!(get(path), Err(NoRoute::AmbiguousPath), "{path}");
        }
        assert_eq!(get(&"/a".repeat(9000)), Err(NoRoute::PathTooLong));
    }

    proptest! {
        #[test]
        fn the_parser_does_not_panic_at_any_path(path in "\\PC{0,60}") {
            let _ = get(&path);
        }

        #[test]
        fn a_path_that_is_routed_to_an_archive_stays_below_its_root(rest in "[a-z0-9./%\\\\;]{1,40}") {
            let path = format!("/dicom-web/main/{rest}");
            if let Ok(Route::Dicomweb { path: rest, .. }) = get(&path) {
                prop_assert!(!rest.split('/').any(|segment| segment.is_empty() && !rest.ends_with('/') || segment.starts_with("..")
                    && segment.len() == 2));
                prop_assert!(!rest.contains(['%', '\\', ';']));
            }
        }
    }
}
