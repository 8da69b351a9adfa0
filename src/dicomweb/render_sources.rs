//! The two sources of the rendered images of one instance: the archive, which renders them itself, and the gateway, which renders them
//! from the object. The command `check` compares their images.
//!
//! The archive receives the requests that the gateway sends for a client. The sizes of the object and of the images are limited.

use std::fmt;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, header};
use http_body_util::BodyExt;

use super::error::DicomwebError;
use super::proxy::attempts::fetch;
use super::proxy::request::ProxyRequest;
use super::proxy::stream_error::StreamError;
use super::rendering::{AcceptedRendering, OpenObject, RenderPool};
use super::request::path::Resource;
use super::response_strategy::is_replaceable;
use crate::upstream::{Archive, DicomResource, Rendering};
use dicom_render::Format;

/// The media types that are requested from the archive. PNG is lossless, so it can be compared more exactly.
const ACCEPT: HeaderValue = HeaderValue::from_static("image/png, image/jpeg;q=0.9");

/// Maximum size of an image of the archive in bytes.
const MAX_IMAGE_LEN: usize = 32 * 1024 * 1024;

/// The sources of the rendered images of one instance.
pub struct RenderSources {
    archive: Archive,
    instance: DicomResource,
    object: OpenObject,
}

impl fmt::Debug for RenderSources {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RenderSources").field("archive", self.archive.id()).finish_non_exhaustive()
    }
}

impl RenderSources {
    /// Fetches the object of `instance` from `archive`. It remains in the memory of `pool`.
    pub async fn open(
        archive: &Archive,
        pool: &RenderPool,
        instance: DicomResource,
    ) -> Result<Self, DicomwebError> {
        let request = rendered_request(archive, &instance, Rendering::default())?;
        let object = OpenObject::fetch(archive, pool, &request, &instance).await?;
        Ok(Self { archive: archive.clone(), instance, object })
    }

    /// Renders the first frame by the gateway.
    pub async fn render_by_gateway(
        &mut self,
        rendering: &Rendering,
        format: Format,
    ) -> Result<Vec<u8>, DicomwebError> {
        let request = rendered_request(&self.archive, &self.instance, rendering.clone())?;
        self.object.render(1, &AcceptedRendering::read(&request)?, format).await
    }

    /// Requests `objects`, the instance or its first frame, as an image that the archive renders. `None` means that the archive rejects the
    /// request such that the gateway renders the image instead.
    pub async fn render_by_archive(
        &self,
        objects: &DicomResource,
        rendering: &Rendering,
    ) -> Result<Option<Bytes>, DicomwebError> {
        let request = rendered_request(&self.archive, objects, rendering.clone())?;
        let response = match fetch(&self.archive, &request).await {
            Err(rejection) if is_replaceable(&rejection, &request.resource) => return Ok(None),
            response => response?,
        };
        let (mut body, mut image) = (response.into_body(), BytesMut::new());
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| match error.downcast_ref() {
                Some(StreamError::Archive(error)) => error.clone(),
                _ => self.archive.unreadable("an image that is incomplete"),
            })?;
            let Ok(chunk) = frame.into_data() else { continue };
            if image.len() + chunk.len() > MAX_IMAGE_LEN {
                return Err(self.archive.unreadable("an image that is too large").into());
            }
            image.extend_from_slice(&chunk);
        }
        Ok(Some(image.freeze()))
    }
}

/// Returns the request for a rendered image of `objects`.
fn rendered_request(
    archive: &Archive,
    objects: &DicomResource,
    rendering: Rendering,
) -> Result<ProxyRequest, DicomwebError> {
    let headers = HeaderMap::from_iter([(header::ACCEPT, ACCEPT)]);
    ProxyRequest::for_rendered(archive, Resource::Rendered(objects.clone()), rendering, &headers)
}
