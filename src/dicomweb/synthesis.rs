//! Synthesizes resources that an archive does not provide: metadata, bulk data, frames and encapsulated documents and videos from its
//! instances, and attributes that rows of a search lack from the URL and further searches (PS3.18 10.4.1.1.2, 10.4.1.1.5, 10.4.1.1.6
//! and 10.6.3).
//!
//! A service that the configuration of the archive lists is always synthesized, and never requested from the archive; any other
//! service is synthesized if the archive rejects it. If an instance cannot be read, the transfer is aborted, because a response
//! without the instance would appear to be complete. This module does not render images.

mod completion;
mod counts;
mod encapsulated_content;
mod frame_cache;
mod frames;
mod held_output;
mod instances;
mod list;
mod metadata;
mod parents;
mod row;
mod values;

use http::Response;

use super::error::DicomwebError;
use super::limits::DicomwebLimits;
use super::proxy::assembled::streamed_rows;
use super::proxy::prefetched_body::with_prefetched_beginning;
use super::proxy::request::ProxyRequest;
use super::request::path::Resource;
use crate::http::negotiation::by_preference;
use crate::upstream::{Archive, DicomResource, PathSegment, Synthesized};
use dicom_model::json::writer::Step;
use http_messages::body::Body;

pub(super) use completion::{complete_response, complete_rows, needs_completion};
pub(super) use encapsulated_content::{
    ENCAPSULATED_PDF_STORAGE, accepts_encapsulated_content, respond_with_encapsulated_content,
};
pub use frame_cache::FrameCache;
pub(super) use row::{Element, set_elements};

/// A resource that can be synthesized.
#[derive(Debug)]
enum Synthesizable<'a> {
    Metadata(&'a DicomResource),
    Value(&'a DicomResource, Vec<Step>),
    Frames(&'a DicomResource),
}

impl<'a> Synthesizable<'a> {
    fn from_resource(resource: &'a Resource) -> Option<Self> {
        match resource {
            Resource::Metadata(objects) => Some(Self::Metadata(objects)),
            Resource::Whole(frames @ DicomResource::Frames(..)) => Some(Self::Frames(frames)),
            // The BulkDataURI of synthesized metadata; archives use other paths too.
            Resource::Bulkdata(instance @ DicomResource::Instance(..), segments) => {
                let segments: Vec<_> = segments.iter().map(PathSegment::as_str).collect();
                let (prefix, steps) = segments.split_first()?;
                (*prefix == "bulkdata")
                    .then(|| Step::path(steps).map(|steps| Self::Value(instance, steps)))?
            }
            _ => None,
        }
    }
}

/// Whether `resource` is always synthesized, without requesting it from the archive.
pub(super) fn always_synthesizes(archive: &Archive, resource: &Resource) -> bool {
    let synthesized = archive.profile().synthesized;
    match Synthesizable::from_resource(resource) {
        Some(Synthesizable::Metadata(_) | Synthesizable::Value(..)) => {
            synthesized.contains(Synthesized::Metadata)
        }
        Some(Synthesizable::Frames(_)) => synthesized.contains(Synthesized::Frames),
        None => false,
    }
}

/// Whether `resource` can be synthesized if the archive rejects it.
pub(super) fn can_synthesize(resource: &Resource) -> bool {
    Synthesizable::from_resource(resource).is_some()
}

/// Synthesizes the response to `request`. With `uses_cache`, frames may be from the cache.
pub(super) async fn synthesize(
    archive: &Archive,
    limits: DicomwebLimits,
    (frame_cache, uses_cache): (&FrameCache, bool),
    request: &ProxyRequest,
) -> Result<Response<Body>, DicomwebError> {
    let ranges = || by_preference(request.accepted.ranges.clone());
    match Synthesizable::from_resource(&request.resource) {
        Some(Synthesizable::Metadata(objects)) => {
            let synthesizer = metadata::MetadataSynthesizer::new(archive, &request.url_map, limits);
            let rows = synthesizer.rows(objects.clone()).await?;
            let format = request.accepted.preferred_format();
            let response = streamed_rows(archive, list::array_body(archive, rows), format);
            with_prefetched_beginning(archive, response).await
        }
        Some(Synthesizable::Value(instance, steps)) => {
            values::respond(archive, instance, steps, &ranges()).await
        }
        Some(Synthesizable::Frames(frames)) => {
            frames::respond(archive, frame_cache, frames, &ranges(), uses_cache).await
        }
        None => Err(DicomwebError::NotAcceptable),
    }
}
