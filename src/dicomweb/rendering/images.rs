//! Fetches objects and renders their frames. Only one object is in memory at a time, within the limit of a [`RenderPermit`].

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt;

use super::instances::InstanceReference;
use super::object_buffer::ObjectBuffer;
use super::parameters::AcceptedRendering;
use super::pool::{RenderPermit, RenderPool};
use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::proxy::attempts::fetch;
use crate::dicomweb::proxy::request::ProxyRequest;
use crate::dicomweb::proxy::stream_error::StreamError;
use crate::dicomweb::request::path::PathError;
use crate::dicomweb::synthesis::ENCAPSULATED_PDF_STORAGE;
use crate::upstream::{Archive, DicomResource};
use dicom_model::encapsulated_pixel_data::is_video;
use dicom_model::json::writer::Step;
use dicom_model::part10::Object;
use dicom_model::tags;
use dicom_render::{Cancellation, Format, Image, RenderError};
use http_messages::body::BoxError;

/// The number of bytes at the beginning of a file that show what the object is.
const BEGINNING_LEN: usize = 16 * 1024;

/// A rendered image of a sequence.
pub(super) struct RenderedImage {
    /// The public URL of the image.
    pub(super) location: String,
    pub(super) bytes: Vec<u8>,
}

/// The rendered images of the frames of one or several instances, in order.
pub(super) struct ImageSequence {
    pub(super) archive: Archive,
    pool: RenderPool,
    public_url: String,
    request: ProxyRequest,
    pub(super) parameters: AcceptedRendering,
    /// Whether there is only one instance.
    pub(super) has_one_instance: bool,
    /// The instances that have not been fetched.
    instances: VecDeque<DicomResource>,
    /// The object in memory, and the numbers of its frames that have not been rendered.
    current: Option<(OpenObject, VecDeque<u32>)>,
}

impl ImageSequence {
    /// Creates the sequence of the images of `instances` that `request` requests. `public_url` is the public URL of the archive.
    pub(super) fn new(
        archive: &Archive,
        pool: &RenderPool,
        public_url: &str,
        request: &ProxyRequest,
        parameters: AcceptedRendering,
        instances: Vec<DicomResource>,
    ) -> Self {
        Self {
            archive: archive.clone(),
            pool: pool.clone(),
            public_url: public_url.to_owned(),
            request: request.clone(),
            parameters,
            has_one_instance: instances.len() == 1,
            instances: instances.into(),
            current: None,
        }
    }

    /// Whether the sequence has only one image. The first instance must have been opened.
    pub(super) fn is_single(&self) -> bool {
        self.has_one_instance && self.current.as_ref().is_some_and(|(_, frames)| frames.len() == 1)
    }

    /// Opens the next instance. If there are several instances, those that are not images are skipped.
    pub(super) async fn open_next(&mut self) -> Result<(), DicomwebError> {
        while let Some(objects) = self.instances.pop_front() {
            let object = match OpenObject::fetch(&self.archive, &self.pool, &self.request, &objects).await {
                Err(DicomwebError::Render(RenderError::NoImage))
                    if !self.has_one_instance && matches!(objects, DicomResource::Instance(..)) =>
                {
                    continue;
                }
                result => result?,
            };
            let frames = match objects {
                DicomResource::Frames(.., frames) if !frames.is_empty() => frames.into(),
                _ => (1..=object.frame_count()).collect(),
            };
            self.current = Some((object, frames));
            return Ok(());
        }
        self.current = None;
        Ok(())
    }

    /// Renders the next image; returns `None` after the last image.
    pub(super) async fn next(&mut self, format: Format) -> Result<Option<RenderedImage>, DicomwebError> {
        loop {
            if let Some((object, frames)) = &mut self.current
                && let Some(frame) = frames.pop_front()
            {
                let bytes = object.render(frame, &self.parameters, format).await?;
                let location = format!("{}/{}", self.public_url, object.instance.rendered_frame_path(frame));
                return Ok(Some(RenderedImage { location, bytes }));
            }
            // The memory of this object is freed before the next one is fetched.
            self.current = None;
            self.open_next().await?;
            if self.current.is_none() {
                return Ok(None);
            }
        }
    }

    /// Releases the memory of the current object, which is fetched again for the remaining frames.
    pub(super) fn release_object(&mut self) {
        if let Some((OpenObject { instance, .. }, frames)) = self.current.take()
            && !frames.is_empty()
        {
            self.instances.push_front(instance.into_frames(frames.into()));
        }
    }
}

/// An object in memory, with the permit for the memory of the object and its images.
pub(in crate::dicomweb) struct OpenObject {
    permit: RenderPermit,
    image: Arc<Image>,
    instance: InstanceReference,
}

impl OpenObject {
    /// Returns the number of frames.
    pub(super) fn frame_count(&self) -> u32 {
        self.image.frame_count()
    }

    /// Fetches the instance that `objects` identifies, or whose frames `objects` identifies.
    pub(in crate::dicomweb) async fn fetch(
        archive: &Archive,
        pool: &RenderPool,
        request: &ProxyRequest,
        objects: &DicomResource,
    ) -> Result<Self, DicomwebError> {
        let instance = InstanceReference::from_resource(objects).ok_or(PathError::Unknown)?;
        let mut permit = pool.acquire().await?;
        let file = fetch_file(archive, &mut permit, &request.for_object(instance.to_resource())).await?;
        loop {
            let (file, limit) = (file.clone(), permit.limit());
            let opening = permit.run({
                let file = file.clone();
                move |_| Image::open(&file, limit)
            });
            match opening.await {
                Err(DicomwebError::Render(RenderError::TooLarge))
                    if permit.acquire_extra_memory().await? => {}
                image => {
                    let image = Arc::new(image?);
                    if !instance.is_identified_by(image.uids()) {
                        return Err(archive.unreadable("an object that was not requested").into());
                    }
                    return Ok(Self { permit, image, instance });
                }
            }
        }
    }

    /// Renders `frame`, starting at 1.
    pub(in crate::dicomweb) async fn render(
        &mut self,
        frame: u32,
        parameters: &AcceptedRendering,
        format: Format,
    ) -> Result<Vec<u8>, DicomwebError> {
        let rendering_parameters = parameters.rendering_parameters;
        loop {
            let image = Arc::clone(&self.image);
            let render = move |cancellation: Cancellation<'_>| {
                image.render_unless_canceled(frame, &rendering_parameters, format, cancellation)
            };
            match self.permit.run(render).await {
                Err(DicomwebError::Render(RenderError::TooLarge))
                    if self.permit.acquire_extra_memory().await? =>
                {
                    // The work has ended, so the image has no other owner and is not copied.
                    Arc::make_mut(&mut self.image).set_limit(self.permit.limit());
                }
                image => return image,
            }
        }
    }
}

/// Fetches the file of a whole object; an error if it exceeds the memory of the permit. A large object without images is an error as
/// soon as its beginning has been received, before it takes memory.
async fn fetch_file(
    archive: &Archive,
    permit: &mut RenderPermit,
    request: &ProxyRequest,
) -> Result<Bytes, DicomwebError> {
    let mut body = fetch(archive, request).await?.into_body();
    let mut file = ObjectBuffer::default();
    let mut beginning = Some(Vec::new());
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame.map_err(|error| body_error(archive, &error))?.into_data() else { continue };
        file.append(&chunk, permit).await?;
        if let Some(bytes) = &mut beginning {
            bytes.extend_from_slice(&chunk[..chunk.len().min(BEGINNING_LEN - bytes.len())]);
        }
        if let Some(bytes) = beginning.take_if(|bytes| bytes.len() == BEGINNING_LEN) {
            permit.run(move |_| check_beginning(&bytes)).await?;
        }
    }
    // Joining the blocks of a large object takes tens of milliseconds.
    permit.run(move |_| Ok(file.into_bytes())).await
}

/// Returns an error if `beginning`, the beginning of a file, is that of a video or a document. The whole file is checked later.
fn check_beginning(beginning: &[u8]) -> Result<(), RenderError> {
    let up_to = [Step::Attribute(tags::SOP_INSTANCE_UID)];
    let header = Object::open(beginning, None)
        .and_then(|mut object| object.header_up_to(&up_to, |tag| tag == tags::SOP_CLASS_UID, || Ok(())));
    match header {
        Ok(header) if is_video(header.transfer_syntax) => {
            Err(RenderError::TransferSyntax(header.transfer_syntax.to_owned()))
        }
        Ok(header) if header.data.text(tags::SOP_CLASS_UID) == Some(ENCAPSULATED_PDF_STORAGE) => {
            Err(RenderError::NoImage)
        }
        _ => Ok(()),
    }
}

/// Converts the error of the body of a response.
fn body_error(archive: &Archive, error: &BoxError) -> DicomwebError {
    if let Some(StreamError::Archive(error)) = error.downcast_ref() {
        return error.clone().into();
    }
    archive.unreadable("an object that is incomplete, or more than one object").into()
}
