//! The Capabilities Description of a DICOMweb root (PS3.18 8.9 and Annex H), in WADL: the resources that the gateway serves for
//! every archive, with their parameters and media types. No request to an archive is needed.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::error::DicomwebError;
use super::proxy::assembled::with_type;
use super::request::path::Resource;
use crate::http::negotiation::{preferred, ranges};
use crate::upstream::DicomResource;
use http_messages::body::{self, Body};
use xml_escape::push_escaped;

const MEDIA_TYPE: &str = "application/vnd.sun.wadl+xml";

/// The media types in which the description is available.
const AVAILABLE_TYPES: [&str; 3] = [MEDIA_TYPE, "application/xml", "text/xml"];

/// The kind of a resource, which determines its parameters and media types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ResourceKind {
    /// A search by these attributes, and by those of the higher levels.
    Search(&'static [&'static str]),
    Metadata,
    /// All instances of a study or a series.
    Instances,
    Instance,
    /// Several frames.
    Frames,
    /// The value of an attribute, or one frame.
    Octets,
    Rendered,
    Thumbnail,
    /// The rendered resource of one instance, which can be a document or a video.
    RenderedInstance,
}

const STUDY_ATTRIBUTES: &[&str] = &[
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

const SERIES_ATTRIBUTES: &[&str] = &["Modality", "SeriesInstanceUID", "SeriesNumber"];

const INSTANCE_ATTRIBUTES: &[&str] = &["SOPClassUID", "SOPInstanceUID", "InstanceNumber"];

/// The resources (PS3.18 tables 10.4.1-1 to 10.4.1-6 and 10.6.1-1).
const RESOURCES: [(&str, ResourceKind); 22] = [
    ("studies", ResourceKind::Search(STUDY_ATTRIBUTES)),
    ("series", ResourceKind::Search(SERIES_ATTRIBUTES)),
    ("instances", ResourceKind::Search(INSTANCE_ATTRIBUTES)),
    ("studies/{study}", ResourceKind::Instances),
    ("studies/{study}/metadata", ResourceKind::Metadata),
    ("studies/{study}/rendered", ResourceKind::Rendered),
    ("studies/{study}/thumbnail", ResourceKind::Thumbnail),
    ("studies/{study}/series", ResourceKind::Search(SERIES_ATTRIBUTES)),
    ("studies/{study}/instances", ResourceKind::Search(INSTANCE_ATTRIBUTES)),
    ("studies/{study}/series/{series}", ResourceKind::Instances),
    ("studies/{study}/series/{series}/metadata", ResourceKind::Metadata),
    ("studies/{study}/series/{series}/rendered", ResourceKind::Rendered),
    ("studies/{study}/series/{series}/thumbnail", ResourceKind::Thumbnail),
    ("studies/{study}/series/{series}/instances", ResourceKind::Search(INSTANCE_ATTRIBUTES)),
    ("studies/{study}/series/{series}/instances/{instance}", ResourceKind::Instance),
    ("studies/{study}/series/{series}/instances/{instance}/metadata", ResourceKind::Metadata),
    ("studies/{study}/series/{series}/instances/{instance}/rendered", ResourceKind::RenderedInstance),
    ("studies/{study}/series/{series}/instances/{instance}/thumbnail", ResourceKind::Thumbnail),
    ("studies/{study}/series/{series}/instances/{instance}/frames", ResourceKind::Frames),
    ("studies/{study}/series/{series}/instances/{instance}/frames/{frames}", ResourceKind::Octets),
    ("studies/{study}/series/{series}/instances/{instance}/frames/{frames}/rendered", ResourceKind::Rendered),
    (
        "studies/{study}/series/{series}/instances/{instance}/frames/{frames}/thumbnail",
        ResourceKind::Thumbnail,
    ),
];

impl ResourceKind {
    fn parameters(self) -> impl Iterator<Item = &'static str> {
        let (attributes, others): (&[&str], &[&str]) = match self {
            Self::Search(attributes) => {
                (attributes, &["limit", "offset", "includefield", "fuzzymatching", "emptyvaluematching"])
            }
            Self::Rendered | Self::Thumbnail | Self::RenderedInstance => {
                (&[], &["viewport", "window", "quality", "annotation", "iccprofile"])
            }
            Self::Metadata | Self::Instances | Self::Instance | Self::Frames | Self::Octets => (&[], &[]),
        };
        attributes.iter().chain(others).copied().chain(["accept", "charset"])
    }

    fn media_types(self) -> &'static [&'static str] {
        match self {
            Self::Search(_) | Self::Metadata => {
                &["application/dicom+json", "multipart/related; type=\"application/dicom+xml\""]
            }
            Self::Instances => &["multipart/related; type=\"application/dicom\""],
            Self::Instance => &["multipart/related; type=\"application/dicom\"", "application/dicom"],
            Self::Frames => &["multipart/related; type=\"application/octet-stream\""],
            Self::Octets => {
                &["multipart/related; type=\"application/octet-stream\"", "application/octet-stream"]
            }
            Self::Rendered => &[
                "image/jpeg",
                "image/png",
                "image/gif",
                "multipart/related; type=\"image/jpeg\"",
                "multipart/related; type=\"image/png\"",
                "multipart/related; type=\"image/gif\"",
            ],
            Self::RenderedInstance => &[
                "image/jpeg",
                "image/png",
                "image/gif",
                "application/pdf",
                "video/mp4",
                "video/mpeg",
                "multipart/related; type=\"image/jpeg\"",
                "multipart/related; type=\"image/png\"",
                "multipart/related; type=\"image/gif\"",
            ],
            Self::Thumbnail => &["image/jpeg", "image/png", "image/gif"],
        }
    }
}

/// Returns the media types of `resource`, without those that only some archives support.
pub(super) fn media_types_of(resource: &Resource) -> &'static [&'static str] {
    let kind = match resource {
        Resource::Search(_) => ResourceKind::Search(&[]),
        Resource::Metadata(_) => ResourceKind::Metadata,
        Resource::Whole(DicomResource::Frames(.., frames)) if frames.len() != 1 => ResourceKind::Frames,
        Resource::Whole(DicomResource::Frames(..)) | Resource::Bulkdata(..) => ResourceKind::Octets,
        Resource::Whole(DicomResource::Instance(..)) => ResourceKind::Instance,
        Resource::Whole(_) => ResourceKind::Instances,
        Resource::Rendered(DicomResource::Instance(..)) => ResourceKind::RenderedInstance,
        Resource::Rendered(_) => ResourceKind::Rendered,
        Resource::Thumbnail(_) => ResourceKind::Thumbnail,
    };
    kind.media_types()
}

/// Returns the description of the root with the public URL `root`, in the media type that `headers` accept.
pub(super) fn describe(root: &str, headers: &HeaderMap) -> Result<Response<Body>, DicomwebError> {
    let index = preferred(&ranges(headers), &AVAILABLE_TYPES)
        .ok_or_else(|| DicomwebError::NotAcceptable.with_available_types("Accept", &AVAILABLE_TYPES))?;
    let media_type = AVAILABLE_TYPES.get(index).copied().unwrap_or(MEDIA_TYPE);
    let mut response = with_type(HeaderValue::from_static(media_type), body::full(to_wadl(root)));
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    Ok(response)
}

/// Returns the response to OPTIONS for any other resource, with its methods (RFC 9110 9.3.7).
pub fn options_response(methods: &'static str) -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    response
}

fn to_wadl(root: &str) -> String {
    let mut text = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<application xmlns=\"http://wadl.dev.java.net/2009/02\">\n<resources base=\"",
    );
    push_escaped(&mut text, root);
    text.push_str("/\">\n");
    for (path, kind) in RESOURCES {
        push_start_tag(&mut text, "resource", &[("path", path)]);
        text.push_str("<method name=\"GET\"><request>");
        for name in kind.parameters() {
            push_empty_element(&mut text, "param", &[("name", name), ("style", "query")]);
        }
        text.push_str("</request><response status=\"200\">");
        for media_type in kind.media_types() {
            push_empty_element(&mut text, "representation", &[("mediaType", media_type)]);
        }
        text.push_str("</response></method></resource>\n");
    }
    text.push_str("</resources>\n</application>\n");
    text
}

fn push_start_tag(text: &mut String, name: &str, attributes: &[(&str, &str)]) {
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

fn push_empty_element(text: &mut String, name: &str, attributes: &[(&str, &str)]) {
    push_start_tag(text, name, attributes);
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
            let is_served = match (kind, &resource) {
                (ResourceKind::Search(attributes), Resource::Search(_)) => {
                    attributes.iter().all(|attribute| tag::parse(attribute).is_some())
                }
                (ResourceKind::Metadata, Resource::Metadata(_))
                | (
                    ResourceKind::Instances
                    | ResourceKind::Instance
                    | ResourceKind::Frames
                    | ResourceKind::Octets,
                    Resource::Whole(_),
                ) => true,
                (
                    ResourceKind::Rendered | ResourceKind::RenderedInstance | ResourceKind::Thumbnail,
                    resource,
                ) => resource.has_rendered_media_type(),
                _ => false,
            };
            assert!(is_served, "{path}: {kind:?}");
        }
    }

    #[test]
    fn the_url_of_the_root_is_escaped() {
        assert!(to_wadl("https://a/?x=\"&y").contains("base=\"https://a/?x=&quot;&amp;y/\""));
    }
}
