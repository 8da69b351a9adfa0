//! Fetches objects and renders their frames, one object at a time, within the memory of a [`RenderPermit`].

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

use super::instances::InstanceReference;
use super::params::RenderParameters;
use super::pool::{RenderPermit, RenderPool};
use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::proxy::attempts::fetch;
use crate::dicomweb::proxy::request::ProxyRequest;
use crate::dicomweb::proxy::stream_error::StreamError;
use crate::dicomweb::request::path::PathError;
use crate::upstream::{Archive, DicomResource};
use dicom_render::{Format, Image, RenderError};
use http_messages::body::BoxError;

/// One rendered image of several.
pub(super) struct RenderedImage {
    /// Its public URL.
    pub(super) location: String,
    pub(super) bytes: Vec<u8>,
}

/// The rendered images of instances, frame after frame. One object is in memory at a time.
pub(super) struct ImageSequence {
    pub(super) archive: Archive,
    pool: RenderPool,
    public: String,
    request: ProxyRequest,
    pub(super) parameters: RenderParameters,
    /// Whether there is only one instance.
    pub(super) has_one_instance: bool,
    instances: VecDeque<DicomResource>,
    open: Option<(OpenObject, VecDeque<u32>)>,
}

impl ImageSequence {
    /// The images of `instances` that `request` asks for. `public` is the archive's public URL.
    pub(super) fn new(
        archive: &Archive,
        pool: &RenderPool,
        public: &str,
        request: &ProxyRequest,
        parameters: RenderParameters,
        instances: Vec<DicomResource>,
    ) -> Self {
        Self {
            archive: archive.clone(),
            pool: pool.clone(),
            public: public.to_owned(),
            request: request.clone(),
            parameters,
            has_one_instance: instances.len() == 1,
            instances: instances.into(),
            open: None,
        }
    }

    /// Whether there is only one frame, of one instance. The instance must be open.
    pub(super) fn is_single(&self) -> bool {
        self.has_one_instance && self.open.as_ref().is_some_and(|(_, frames)| frames.len() == 1)
    }

    /// Opens the next instance that is an image; if there are several, instances that are not images are skipped.
    pub(super) async fn open_next(&mut self) -> Result<(), DicomwebError> {
        while let Some(objects) = self.instances.pop_front() {
            let open = match OpenObject::read(&self.archive, &self.pool, &self.request, &objects).await {
                Err(DicomwebError::Render(RenderError::NoImage))
                    if !self.has_one_instance && matches!(objects, DicomResource::Instance(..)) =>
                {
                    continue;
                }
                open => open?,
            };
            let frames = match objects {
                DicomResource::Frames(.., frames) if !frames.is_empty() => frames.into(),
                _ => (1..=open.image.frame_count()).collect(),
            };
            self.open = Some((open, frames));
            return Ok(());
        }
        self.open = None;
        Ok(())
    }

    pub(super) async fn next(&mut self, format: Format) -> Result<Option<RenderedImage>, DicomwebError> {
        loop {
            if let Some((open, frames)) = &mut self.open
                && let Some(frame) = frames.pop_front()
            {
                let bytes = open.render(frame, &self.parameters, format).await?;
                let location = format!("{}/{}", self.public, open.instance.rendered_frame(frame));
                return Ok(Some(RenderedImage { location, bytes }));
            }
            // Frees this object before the next one is fetched.
            self.open = None;
            self.open_next().await?;
            if self.open.is_none() {
                return Ok(None);
            }
        }
    }

    /// Releases the object; it is fetched again for the remaining frames.
    pub(super) fn release_object(&mut self) {
        if let Some((OpenObject { instance, .. }, frames)) = self.open.take()
            && !frames.is_empty()
        {
            self.instances.push_front(instance.frames(frames.into()));
        }
    }
}

/// An object, with the permit for the memory that it and its images take.
pub(super) struct OpenObject {
    permit: RenderPermit,
    file: Bytes,
    image: Arc<Image>,
    instance: InstanceReference,
}

impl OpenObject {
    /// The number of its frames.
    pub(super) fn frames(&self) -> u32 {
        self.image.frame_count()
    }

    /// Fetches the instance that `objects` names or belongs to.
    pub(super) async fn read(
        archive: &Archive,
        pool: &RenderPool,
        request: &ProxyRequest,
        objects: &DicomResource,
    ) -> Result<Self, DicomwebError> {
        let instance = InstanceReference::from_resource(objects).ok_or(PathError::Unknown)?;
        let mut permit = pool.acquire().await?;
        let file = fetch_object(archive, &mut permit, &request.for_object(instance.objects())).await?;
        loop {
            let (file, limit) = (file.clone(), permit.limit());
            let open = permit.run({
                let file = file.clone();
                move || Image::open(&file, limit)
            });
            match open.await {
                Err(DicomwebError::Render(RenderError::TooLarge)) if permit.widen().await? => {}
                image => return Ok(Self { image: Arc::new(image?), permit, file, instance }),
            }
        }
    }

    pub(super) async fn render(
        &mut self,
        frame: u32,
        parameters: &RenderParameters,
        format: Format,
    ) -> Result<Vec<u8>, DicomwebError> {
        let appearance = parameters.appearance;
        loop {
            let image = Arc::clone(&self.image);
            match self.permit.run(move || image.render(frame, &appearance, format)).await {
                Err(DicomwebError::Render(RenderError::TooLarge)) if self.permit.widen().await? => {
                    let (file, limit) = (self.file.clone(), self.permit.limit());
                    self.image = Arc::new(self.permit.run(move || Image::open(&file, limit)).await?);
                }
                image => return image,
            }
        }
    }
}

/// The whole object, if its size is within the permit.
async fn fetch_object(
    archive: &Archive,
    permit: &mut RenderPermit,
    request: &ProxyRequest,
) -> Result<Bytes, DicomwebError> {
    let mut body = fetch(archive, request).await?.into_body();
    let mut file = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame.map_err(|error| body_error(archive, &error))?.into_data() else { continue };
        // A buffer that grows is copied at times, and then exists twice.
        while 2 * (file.len() + chunk.len()) > permit.limit() {
            if !permit.widen().await? {
                return Err(RenderError::TooLarge.into());
            }
        }
        file.extend_from_slice(&chunk);
    }
    Ok(file.freeze())
}

fn body_error(archive: &Archive, error: &BoxError) -> DicomwebError {
    if let Some(StreamError::Archive(error)) = error.downcast_ref() {
        return error.clone().into();
    }
    archive.unreadable("an object that is incomplete, or more than one object").into()
}
