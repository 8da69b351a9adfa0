//! Renders images that the archive cannot render, from its objects (PS3.18 10.4.1.1.3 to 10.4.1.1.5).
//!
//! A rendered resource of several frames is multipart, one image per part, or one GIF for the frames of one instance; a client
//! that accepts neither gets 406, as one frame would look like all of them. A thumbnail shows the middle frame of the middle
//! image, for a study of its largest series that has images.
//!
//! [`pool`] bounds the memory; the crate `dicom-render` does the work, on blocking threads.

mod images;
mod instances;
mod multiple;
mod params;
mod pool;

use http::{HeaderValue, Response, header};

use super::error::DicomwebError;
use super::proxy::request::ProxyRequest;
use super::proxy::response_headers::set_common_headers;
use super::request::path::{PathError, Resource};
use crate::upstream::{Archive, DicomResource};
use dicom_render::{Format, RenderError};
use http_messages::body::{self, Body};
use images::{ImageSequence, OpenObject};
use params::RenderParameters;

pub use pool::RenderPool;

/// Renders the images that `request` asks for from the archive's objects. `public` is the archive's public URL.
pub(super) async fn render(
    archive: &Archive,
    pool: &RenderPool,
    public: &str,
    request: &ProxyRequest,
) -> Result<Response<Body>, DicomwebError> {
    let parameters = RenderParameters::read(request)?;
    match &request.resource {
        Resource::Rendered(objects) => {
            let instances = match objects {
                DicomResource::Study(_) | DicomResource::Series(..) => {
                    instances::images_in(archive, objects).await?
                }
                DicomResource::Instance(..) | DicomResource::Frames(..) => vec![objects.clone()],
            };
            let images = ImageSequence::new(archive, pool, public, request, parameters, instances);
            respond(images).await
        }
        Resource::Thumbnail(objects) => {
            let instance = match objects {
                DicomResource::Study(_) | DicomResource::Series(..) => {
                    instances::representative(archive, objects).await?
                }
                DicomResource::Instance(..) | DicomResource::Frames(..) => objects.clone(),
            };
            let Some(format) = parameters.single else { return Err(DicomwebError::NotAcceptable) };
            let mut open = OpenObject::read(archive, pool, request, &instance).await?;
            let frame = match &instance {
                DicomResource::Frames(.., frames) => frames.first().copied(),
                _ => None,
            };
            let frame = frame.unwrap_or(open.frames().div_ceil(2));
            Ok(single(open.render(frame, &parameters, format).await?, format))
        }
        _ => Err(PathError::Unknown.into()),
    }
}

/// The single image, or all images as parts or as a GIF.
async fn respond(mut images: ImageSequence) -> Result<Response<Body>, DicomwebError> {
    let parameters = images.parameters;
    // The images of several instances are too many for a client that accepts a single image.
    if !images.has_one_instance && parameters.parts.is_none() {
        return Err(DicomwebError::MultipleImages);
    }
    images.open_next().await?;
    let is_single = images.is_single();
    match (is_single, parameters.single, parameters.parts) {
        (true, Some(format), _) => {
            let image = images.next(format).await?.ok_or(RenderError::NoImage)?;
            Ok(single(image.bytes, format))
        }
        _ if images.has_one_instance && parameters.is_animated => {
            let first = images.next(Format::Gif).await?.ok_or(RenderError::NoImage)?;
            Ok(multiple::streamed(first, images, multiple::ImageLayout::Animation))
        }
        (_, _, Some(format)) => {
            let first = images.next(format).await?.ok_or(RenderError::NoImage)?;
            Ok(multiple::streamed(first, images, multiple::ImageLayout::parts(format)))
        }
        (_, _, None) => Err(DicomwebError::MultipleImages),
    }
}

fn single(image: Vec<u8>, format: Format) -> Response<Body> {
    let mut response = Response::new(body::full(image));
    set_common_headers(response.headers_mut());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    response
}
