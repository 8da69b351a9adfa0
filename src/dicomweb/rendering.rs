//! Renders images from the objects of an archive, if the archive cannot render them (PS3.18 10.4.1.1.3 and 10.4.1.1.4). The rendered
//! resource of a PDF document or a video is what the instance encapsulates, without conversion (8.7.4).
//!
//! Several frames are rendered as a multipart body with one image per part, or as one GIF if they belong to one instance. If the
//! client accepts neither, the response is 406, because a single frame would appear to be the whole resource. A thumbnail shows
//! the middle frame of the middle image of a series; the thumbnail of a study shows its largest series with images.
//!
//! [`pool`] limits the memory. The crate `dicom-render` renders the images, on blocking threads.

mod images;
mod instances;
mod multiple;
mod object_buffer;
mod parameters;
mod pool;

use http::{HeaderValue, Response, header};

use super::error::DicomwebError;
use super::proxy::request::ProxyRequest;
use super::proxy::response_headers::set_common_headers;
use super::request::path::{PathError, Resource};
use super::synthesis::{accepts_encapsulated_content, respond_with_encapsulated_content};
use crate::upstream::{Archive, DicomResource, Rendering};
use dicom_model::encapsulated_pixel_data::is_video;
use dicom_render::{Format, RenderError};
use http_messages::body::{self, Body};
use images::ImageSequence;

pub(super) use images::OpenObject;
pub(super) use parameters::AcceptedRendering;
pub use pool::RenderPool;

/// Renders the images that `request` requests. `public_url` is the public URL of the archive.
pub(super) async fn render(
    archive: &Archive,
    pool: &RenderPool,
    public_url: &str,
    request: &ProxyRequest,
) -> Result<Response<Body>, DicomwebError> {
    let ranges = &request.accepted.ranges;
    let parameters = match (AcceptedRendering::read(request), &request.resource) {
        (Err(DicomwebError::NotAcceptable), Resource::Rendered(instance @ DicomResource::Instance(..)))
            if accepts_encapsulated_content(ranges) =>
        {
            return respond_with_content(archive, instance, request).await;
        }
        (parameters, _) => parameters?,
    };
    match &request.resource {
        Resource::Rendered(objects) => {
            let instances = match objects {
                DicomResource::Study(_) | DicomResource::Series(..) => {
                    instances::find_images(archive, objects).await?
                }
                DicomResource::Instance(..) | DicomResource::Frames(..) => vec![objects.clone()],
            };
            let images = ImageSequence::new(archive, pool, public_url, request, parameters, instances);
            match (respond(images).await, objects) {
                (Err(DicomwebError::Render(error)), DicomResource::Instance(..))
                    if may_be_encapsulated_content(&error) =>
                {
                    respond_with_content(archive, objects, request).await
                }
                (response, _) => response,
            }
        }
        Resource::Thumbnail(objects) => {
            let instance = match objects {
                DicomResource::Study(_) | DicomResource::Series(..) => {
                    instances::find_representative(archive, objects).await?
                }
                DicomResource::Instance(..) | DicomResource::Frames(..) => objects.clone(),
            };
            let Some(format) = parameters.single_format else { return Err(DicomwebError::NotAcceptable) };
            let mut object = OpenObject::fetch(archive, pool, request, &instance).await?;
            let requested_frame = match &instance {
                DicomResource::Frames(.., frames) => frames.first().copied(),
                _ => None,
            };
            let frame = requested_frame.unwrap_or(object.frame_count().div_ceil(2));
            Ok(single_image_response(object.render(frame, &parameters, format).await?, format))
        }
        _ => Err(PathError::Unknown.into()),
    }
}

/// Whether `error` may be that of an instance that encapsulates a document or a video.
fn may_be_encapsulated_content(error: &RenderError) -> bool {
    match error {
        RenderError::NoImage => true,
        RenderError::TransferSyntax(transfer_syntax) => is_video(transfer_syntax),
        _ => false,
    }
}

/// Responds with the document or the video that `instance` encapsulates.
async fn respond_with_content(
    archive: &Archive,
    instance: &DicomResource,
    request: &ProxyRequest,
) -> Result<Response<Body>, DicomwebError> {
    // Content without a color profile is what `iccprofile=no` requests.
    let is_given = |name: &&&str| **name != "iccprofile" && request.rendering.parameter(name).is_some();
    let parameter = Rendering::PARAMETERS.iter().find(is_given).copied();
    respond_with_encapsulated_content(archive, instance, &request.accepted.ranges, parameter).await
}

/// Responds with the single image, or with all images as parts or as a GIF.
async fn respond(mut images: ImageSequence) -> Result<Response<Body>, DicomwebError> {
    let parameters = images.parameters;
    // Several instances have several images, and images of different instances are not combined as a GIF.
    if !images.has_one_instance && parameters.part_format.is_none() {
        return Err(DicomwebError::MultipleImages);
    }
    images.open_next().await?;
    let is_single = images.is_single();
    match (is_single, parameters.single_format, parameters.part_format) {
        (true, Some(format), _) => {
            let image = images.next(format).await?.ok_or(RenderError::NoImage)?;
            Ok(single_image_response(image.bytes, format))
        }
        _ if images.has_one_instance && parameters.is_animated => {
            let first_image = images.next(Format::Gif).await?.ok_or(RenderError::NoImage)?;
            Ok(multiple::stream_images(first_image, images, multiple::ImageLayout::Animation))
        }
        (_, _, Some(format)) => {
            let first_image = images.next(format).await?.ok_or(RenderError::NoImage)?;
            Ok(multiple::stream_images(first_image, images, multiple::ImageLayout::parts(format)))
        }
        (_, _, None) => Err(DicomwebError::MultipleImages),
    }
}

fn single_image_response(image: Vec<u8>, format: Format) -> Response<Body> {
    let mut response = Response::new(body::full(image));
    set_common_headers(response.headers_mut());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    response
}
