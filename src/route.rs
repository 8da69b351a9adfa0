//! Every URL that the gateway answers on its public listener, parsed from the method and the raw path.
//!
//! The path is refused before it is looked at when it holds anything that two programs could read in two ways: dot
//! segments, doubled slashes, percent-escapes of any kind, a backslash, a semicolon. No legal address of ours needs one.

use http::Method;

use crate::archive::ArchiveId;
use crate::fhir::search::ResourceType;

/// A path longer than this is none of ours: archive, study, series, instance and a frame list fit in 8 KiB.
const LONGEST_PATH: usize = 8 * 1024;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route<'a> {
    /// `GET /fhir/metadata`.
    Capabilities,
    /// `GET /fhir/{type}/{id}`.
    Read(ResourceType, &'a str),
    /// `GET /fhir/{type}`, `GET` and `POST /fhir/{type}/_search`.
    Search(ResourceType),
    /// `GET /dicom-web/{archive}/…`: what follows the archive, without a leading slash.
    Dicomweb(ArchiveId, &'a str),
    /// `GET /dicom-web/studies…`, `/series`, `/instances`: what follows `/dicom-web/`.
    EveryArchive(&'a str),
}

/// Why a request asks for nothing that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoute {
    /// The path could be read in two ways.
    AmbiguousPath,
    /// The path is longer than any of ours.
    PathTooLong,
    /// Nothing stands there.
    NotFound,
    /// `/fhir/{type}` with a type that is not served.
    UnknownType,
    /// Something stands there, but not for this method.
    MethodNotAllowed {
        /// The methods there are, as `Allow` has them.
        allow: &'static str,
    },
}

/// Whose manner of answering a path calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// An OperationOutcome.
    Fhir,
    /// A DICOMweb status with a short JSON body.
    Dicomweb,
}

impl Dialect {
    /// By the path's first segment; FHIR for whatever is neither.
    pub fn of(path: &str) -> Self {
        if path == "/dicom-web" || path.starts_with("/dicom-web/") { Self::Dicomweb } else { Self::Fhir }
    }
}

impl<'a> Route<'a> {
    /// Parses `path`, raw as it came over the wire, without the public prefix.
    pub fn parse(method: &Method, path: &'a str) -> Result<Self, NoRoute> {
        if path.len() > LONGEST_PATH {
            return Err(NoRoute::PathTooLong);
        }
        if is_ambiguous(path) {
            return Err(NoRoute::AmbiguousPath);
        }
        let (root, below) = parted(path.strip_prefix('/').ok_or(NoRoute::NotFound)?);
        let (first, rest) = below.map_or(("", None), parted);
        match (root, rest) {
            ("fhir", rest) if below.is_some() => Self::parse_fhir(method, first, rest),
            ("dicom-web", _) if matches!(first, "studies" | "series" | "instances") => {
                allow_only(method, READ)?;
                Ok(Self::EveryArchive(below.unwrap_or_default()))
            }
            ("dicom-web", Some(rest)) if !rest.is_empty() => {
                let archive = first;
                let archive = ArchiveId::parse(archive).map_err(|_| NoRoute::NotFound)?;
                allow_only(method, READ)?;
                Ok(Self::Dicomweb(archive, rest))
            }
            _ => Err(NoRoute::NotFound),
        }
    }

    fn parse_fhir(method: &Method, first: &'a str, rest: Option<&'a str>) -> Result<Self, NoRoute> {
        if first == "metadata" {
            return match rest {
                None => allow_only(method, READ).map(|()| Self::Capabilities),
                Some(_) => Err(NoRoute::NotFound),
            };
        }
        let kind = ResourceType::parse(first).ok_or(NoRoute::UnknownType)?;
        match rest {
            None => allow_only(method, READ).map(|()| Self::Search(kind)),
            Some("_search") => allow_only(method, SEARCH).map(|()| Self::Search(kind)),
            Some(id) if is_id(id) => allow_only(method, READ).map(|()| Self::Read(kind, id)),
            Some(_) => Err(NoRoute::NotFound),
        }
    }

    /// The id of the study that is read, when one is.
    pub fn study_read(&self) -> Option<&'a str> {
        match self {
            Self::Read(ResourceType::ImagingStudy, id) => Some(id),
            _ => None,
        }
    }

    /// Every label that a route can have.
    pub const LABELS: [&'static str; 9] = [
        "fhir.read.ImagingStudy",
        "fhir.search.ImagingStudy",
        "fhir.read.Patient",
        "fhir.search.Patient",
        "fhir.read.Endpoint",
        "fhir.search.Endpoint",
        "fhir.capabilities",
        "dicomweb",
        "dicomweb.every_archive",
    ];

    /// The route without what varies, for metrics and logs.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Capabilities => "fhir.capabilities",
            Self::Read(ResourceType::ImagingStudy, _) => "fhir.read.ImagingStudy",
            Self::Read(ResourceType::Patient, _) => "fhir.read.Patient",
            Self::Read(ResourceType::Endpoint, _) => "fhir.read.Endpoint",
            Self::Search(ResourceType::ImagingStudy) => "fhir.search.ImagingStudy",
            Self::Search(ResourceType::Patient) => "fhir.search.Patient",
            Self::Search(ResourceType::Endpoint) => "fhir.search.Endpoint",
            Self::Dicomweb(..) => "dicomweb",
            Self::EveryArchive(_) => "dicomweb.every_archive",
        }
    }
}

/// What stands before the first slash, and what behind it.
fn parted(path: &str) -> (&str, Option<&str>) {
    match path.bytes().position(|byte| byte == b'/') {
        // Bytes of ASCII are characters.
        Some(at) => (&path[..at], Some(&path[at + 1..])),
        None => (path, None),
    }
}

/// What is read only.
const READ: &str = "GET, HEAD";
/// What is searched, perhaps by a form.
const SEARCH: &str = "GET, HEAD, POST";

fn allow_only(method: &Method, allow: &'static str) -> Result<(), NoRoute> {
    match *method {
        Method::GET | Method::HEAD => Ok(()),
        Method::POST if allow == SEARCH => Ok(()),
        _ => Err(NoRoute::MethodNotAllowed { allow }),
    }
}

fn is_ambiguous(path: &str) -> bool {
    let bytes = path.as_bytes();
    let begins_strangely = |segment: &[u8]| {
        matches!(segment, [b'/', ..] | [b'.'] | [b'.', b'/', ..] | [b'.', b'.'] | [b'.', b'.', b'/', ..])
    };
    !bytes.iter().all(|byte| PLAIN[usize::from(*byte)])
        || memchr::memchr_iter(b'/', bytes).any(|slash| begins_strangely(&bytes[slash + 1..]))
}

/// What may stand in a path: printable characters, none of which anybody decodes, drops or takes for a slash.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        plain[byte as usize] = !matches!(byte, b'%' | b'\\' | b';');
        byte += 1;
    }
    plain
};

/// A FHIR id (R4 datatypes#id).
fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn get(path: &str) -> Result<Route<'_>, NoRoute> {
        Route::parse(&Method::GET, path)
    }

    #[test]
    fn every_address_of_ours_is_known() {
        let main = || ArchiveId::parse("main").unwrap();
        for (path, route) in [
            ("/fhir/metadata", Route::Capabilities),
            ("/fhir/ImagingStudy", Route::Search(ResourceType::ImagingStudy)),
            ("/fhir/ImagingStudy/_search", Route::Search(ResourceType::ImagingStudy)),
            ("/fhir/ImagingStudy/1.2.3", Route::Read(ResourceType::ImagingStudy, "1.2.3")),
            ("/fhir/Patient/0a1b", Route::Read(ResourceType::Patient, "0a1b")),
            ("/fhir/Endpoint/main", Route::Read(ResourceType::Endpoint, "main")),
            ("/dicom-web/main/studies", Route::Dicomweb(main(), "studies")),
            ("/dicom-web/studies", Route::EveryArchive("studies")),
            ("/dicom-web/studies/1.2/series", Route::EveryArchive("studies/1.2/series")),
            ("/dicom-web/main/studies/1.2/metadata", Route::Dicomweb(main(), "studies/1.2/metadata")),
        ] {
            assert!(Route::LABELS.contains(&route.label()), "{path}");
            assert_eq!(get(path), Ok(route), "{path}");
        }
    }

    #[test]
    fn what_is_not_there_is_told_apart_from_what_is_there_for_another_method() {
        for path in [
            "",
            "/",
            "/fhir",
            "/fhir/metadata/x",
            "/fhir/ImagingStudy/1/2",
            "/fhir/ImagingStudy/",
            "/dicom-web/main",
            "/dicom-web/MAIN/studies",
            "/x",
        ] {
            assert_eq!(get(path), Err(NoRoute::NotFound), "{path}");
        }
        for path in ["/fhir/imagingstudy", "/fhir/Observation/1", "/fhir/"] {
            assert_eq!(get(path), Err(NoRoute::UnknownType), "{path}");
        }
        for (method, path, allow) in [
            (Method::POST, "/fhir/ImagingStudy", "GET, HEAD"),
            (Method::DELETE, "/fhir/ImagingStudy/1", "GET, HEAD"),
            (Method::PUT, "/fhir/Patient/_search", "GET, HEAD, POST"),
            (Method::POST, "/dicom-web/main/studies", "GET, HEAD"),
        ] {
            assert_eq!(Route::parse(&method, path), Err(NoRoute::MethodNotAllowed { allow }), "{path}");
        }
    }

    #[test]
    fn a_path_that_two_programs_could_read_in_two_ways_is_refused() {
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
        fn no_path_makes_the_parser_panic(path in "\\PC{0,60}") {
            let _ = get(&path);
        }

        #[test]
        fn what_is_routed_to_an_archive_holds_no_way_out(rest in "[a-z0-9./%\\\\;]{1,40}") {
            let path = format!("/dicom-web/main/{rest}");
            if let Ok(Route::Dicomweb(_, rest)) = get(&path) {
                prop_assert!(!rest.split('/').any(|segment| segment.is_empty() && !rest.ends_with('/') || segment.starts_with("..")
                    && segment.len() == 2));
                prop_assert!(!rest.contains(['%', '\\', ';']));
            }
        }
    }
}
