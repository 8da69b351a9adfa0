//! The Capabilities Description of a DICOMweb root (PS3.18 8.9 and Annex H), in WADL: which resources are served, with which
//! parameters and media types.
//!
//! Describes what the gateway serves for every archive; it asks no archive.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::error::DicomwebError;
use super::proxy::assembled::with_type;
use crate::http::negotiation::{preferred, ranges};
use http_messages::body::{self, Body};
use xml_escape::push_escaped;

const MEDIA_TYPE: &str = "application/vnd.sun.wadl+xml";

/// Other names of the same format.
const ACCEPTABLE: [&str; 3] = [MEDIA_TYPE, "application/xml", "text/xml"];

/// What a resource returns, and with which parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ResourceKind {
    /// Rows that match these attributes, besides those of the levels above.
    Search(&'static [&'static str]),
    Metadata,
    Instances,
    Frames,
    Rendered,
}

const OF_STUDIES: &[&str] = &[
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ModalitiesInStudy",
    "ReferringPhysicianName",
    "PatientName",
    "PatientID",
    "StudyInstanceUID",
    "StudyID",
];

const OF_SERIES: &[&str] = &["Modality", "SeriesInstanceUID", "SeriesNumber"];

const OF_INSTANCES: &[&str] = &["SOPClassUID", "SOPInstanceUID", "InstanceNumber"];

/// The resources (PS3.18 tables 10.4.1-1 to 10.4.1-6 and 10.6.1-1).
const RESOURCES: [(&str, ResourceKind); 22] = [
    ("studies", ResourceKind::Search(OF_STUDIES)),
    ("series", ResourceKind::Search(OF_SERIES)),
    ("instances", ResourceKind::Search(OF_INSTANCES)),
    ("studies/{study}", ResourceKind::Instances),
    ("studies/{study}/metadata", ResourceKind::Metadata),
    ("studies/{study}/rendered", ResourceKind::Rendered),
    ("studies/{study}/thumbnail", ResourceKind::Rendered),
    ("studies/{study}/series", ResourceKind::Search(OF_SERIES)),
    ("studies/{study}/instances", ResourceKind::Search(OF_INSTANCES)),
    ("studies/{study}/series/{series}", ResourceKind::Instances),
    ("studies/{study}/series/{series}/metadata", ResourceKind::Metadata),
    ("studies/{study}/series/{series}/rendered", ResourceKind::Rendered),
    ("studies/{study}/series/{series}/thumbnail", ResourceKind::Rendered),
    ("studies/{study}/series/{series}/instances", ResourceKind::Search(OF_INSTANCES)),
    ("studies/{study}/series/{series}/instances/{instance}", ResourceKind::Instances),
    ("studies/{study}/series/{series}/instances/{instance}/metadata", ResourceKind::Metadata),
    ("studies/{study}/series/{series}/instances/{instance}/rendered", ResourceKind::Rendered),
    ("studies/{study}/series/{series}/instances/{instance}/thumbnail", ResourceKind::Rendered),
    ("studies/{study}/series/{series}/instances/{instance}/frames", ResourceKind::Frames),
    ("studies/{study}/series/{series}/instances/{instance}/frames/{frames}", ResourceKind::Frames),
    ("studies/{study}/series/{series}/instances/{instance}/frames/{frames}/rendered", ResourceKind::Rendered),
    (
        "studies/{study}/series/{series}/instances/{instance}/frames/{frames}/thumbnail",
        ResourceKind::Rendered,
    ),
];

impl ResourceKind {
    fn parameters(self) -> impl Iterator<Item = &'static str> {
        let (first, own): (&[&str], &[&str]) = match self {
            Self::Search(attributes) => {
                (attributes, &["limit", "offset", "includefield", "fuzzymatching", "emptyvaluematching"])
            }
            Self::Rendered => (&[], &["viewport", "window", "quality", "annotation", "iccprofile"]),
            Self::Metadata | Self::Instances | Self::Frames => (&[], &[]),
        };
        first.iter().chain(own).copied().chain(["accept", "charset"])
    }

    fn media_types(self) -> &'static [&'static str] {
        match self {
            Self::Search(_) | Self::Metadata => {
                &["application/dicom+json", "multipart/related; type=\"application/dicom+xml\""]
            }
            Self::Instances => &["multipart/related; type=\"application/dicom\""],
            Self::Frames => &["multipart/related; type=\"application/octet-stream\""],
            Self::Rendered => &["image/jpeg", "image/png", "image/gif"],
        }
    }
}

/// The description of the root with the public URL `root`, for a client with these `headers`.
pub(super) fn describe(root: &str, headers: &HeaderMap) -> Result<Response<Body>, DicomwebError> {
    let index = preferred(&ranges(headers), &ACCEPTABLE).ok_or(DicomwebError::NotAcceptable)?;
    let media_type = ACCEPTABLE.get(index).copied().unwrap_or(MEDIA_TYPE);
    let mut response = with_type(HeaderValue::from_static(media_type), body::full(wadl(root)));
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    Ok(response)
}

/// The response to OPTIONS of any other resource: its methods (RFC 9110 9.3.7).
pub fn allowed(methods: &'static str) -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    response
}

fn wadl(root: &str) -> String {
    let mut text = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<application xmlns=\"http://wadl.dev.java.net/2009/02\">\n<resources base=\"",
    );
    push_escaped(&mut text, root);
    text.push_str("/\">\n");
    for (path, kind) in RESOURCES {
        open(&mut text, "resource", &[("path", path)]);
        text.push_str("<method name=\"GET\"><request>");
        for name in kind.parameters() {
            empty(&mut text, "param", &[("name", name), ("style", "query")]);
        }
        text.push_str("</request><response status=\"200\">");
        for media_type in kind.media_types() {
            empty(&mut text, "representation", &[("mediaType", media_type)]);
        }
        text.push_str("</response></method></resource>\n");
    }
    text.push_str("</resources>\n</application>\n");
    text
}

fn open(text: &mut String, name: &str, attributes: &[(&str, &str)]) {
    text.push('<');
    text.push_str(name);
    for (name, value) in attributes {
        text.push(' ');
        text.push_str(name);
        text.push_str("=\"");
        push_escaped(text, value);
        text.push('"');
    }
    text.push('>');
}

fn empty(text: &mut String, name: &str, attributes: &[(&str, &str)]) {
    open(text, name, attributes);
    text.pop();
    text.push_str("/>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicomweb::request::path::Resource;
    use dicom_model::tag;

    #[test]
    fn every_described_resource_and_parameter_is_served() {
        for (path, kind) in RESOURCES {
            let concrete = path
                .replace("{study}", "1.2")
                .replace("{series}", "1.2.3")
                .replace("{instance}", "1.2.3.4")
                .replace("{frames}", "1,2");
            let resource = Resource::parse(&concrete).unwrap_or_else(|error| panic!("{path}: {error}"));
            let is_as_described = match (kind, &resource) {
                (ResourceKind::Search(attributes), Resource::Search(_)) => {
                    attributes.iter().all(|attribute| tag::parse(attribute).is_some())
                }
                (ResourceKind::Metadata, Resource::Metadata(_))
                | (ResourceKind::Instances | ResourceKind::Frames, Resource::Whole(_)) => true,
                (ResourceKind::Rendered, resource) => resource.is_for_people(),
                _ => false,
            };
            assert!(is_as_described, "{path}: {kind:?}");
        }
    }

    #[test]
    fn the_root_is_escaped() {
        assert!(wadl("https://a/?x=\"&y").contains("base=\"https://a/?x=&quot;&amp;y/\""));
    }
}
