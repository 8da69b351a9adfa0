//! Pictures that the archive does not draw, drawn here out of its objects (PS3.18 10.4.1.1.3 to .5).
//!
//! A rendered resource of several frames is parts, a picture for each, or one GIF where they are of one instance; it is refused
//! to a client that takes neither, as one of the frames would look like all. A thumbnail is of the middle frame of the middle image, and of a study's largest
//! series that has images.
//!
//! [`pool`] bounds the memory that all of it takes; [`render`](dicom_render) does the work, on threads that may block.

mod instances;
mod multiple;
mod params;
mod pool;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Response, header};
use http_body_util::BodyExt;

use super::error::DicomwebError;
use super::proxy::response::describe;
use super::proxy::stream::StreamError;
use super::request::ProxyRequest;
use super::request::path::{PathError, Resource};
use crate::upstream::{Archive, ArchiveError, ArchiveErrorKind, DicomResource};
use dicom_render::{Format, Image, RenderError};
use http_messages::body::{self, Body, BoxError};
use params::RenderParameters;
use pool::RenderPermit;

pub(super) use params::THUMBNAIL;
pub use pool::RenderPool;

/// Answers `question`, which is about something for people to look at, without the archive's help but for objects.
/// `public` is the archive's address here.
pub(super) async fn draw(
    archive: &Archive,
    pool: &RenderPool,
    public: &str,
    question: &ProxyRequest,
) -> Result<Response<Body>, DicomwebError> {
    let wanted = RenderParameters::read(question)?;
    match &question.resource {
        Resource::Rendered(objects) => {
            let instances = match objects {
                DicomResource::Study(_) | DicomResource::Series(..) => {
                    instances::of(archive, objects).await?
                }
                DicomResource::Instance(..) | DicomResource::Frames(..) => vec![objects.clone()],
            };
            let pictures = Pictures {
                archive: archive.clone(),
                pool: pool.clone(),
                public: public.to_owned(),
                question: question.clone(),
                wanted,
                is_alone: instances.len() == 1,
                instances: instances.into(),
                open: None,
            };
            rendered(pictures).await
        }
        Resource::Thumbnail(objects) => {
            let instance = match objects {
                DicomResource::Study(_) | DicomResource::Series(..) => {
                    instances::representative(archive, objects).await?
                }
                DicomResource::Instance(..) | DicomResource::Frames(..) => objects.clone(),
            };
            let Some(format) = wanted.single else { return Err(DicomwebError::NotAcceptable) };
            let mut open = OpenObject::read(archive, pool, question, &instance).await?;
            let frame = match &instance {
                DicomResource::Frames(.., frames) => frames.first().copied(),
                _ => None,
            };
            let frame = frame.unwrap_or(open.image.frames().div_ceil(2));
            Ok(single(open.draw(frame, &wanted, format).await?, format))
        }
        _ => Err(PathError::Unknown.into()),
    }
}

/// The one picture that there is, or all of them as parts.
async fn rendered(mut pictures: Pictures) -> Result<Response<Body>, DicomwebError> {
    let wanted = pictures.wanted;
    // One more than one would be too many for a client that takes one only.
    if !pictures.is_alone && wanted.parts.is_none() {
        return Err(DicomwebError::MultipleImages);
    }
    pictures.open_next().await?;
    let is_one = pictures.is_alone && pictures.open.as_ref().is_some_and(|(_, frames)| frames.len() == 1);
    match (is_one, wanted.single, wanted.parts) {
        (true, Some(format), _) => {
            let picture = pictures.next(format).await?.ok_or(RenderError::NoImage)?;
            Ok(single(picture.bytes, format))
        }
        _ if pictures.is_alone && wanted.animated => {
            let first = pictures.next(Format::Gif).await?.ok_or(RenderError::NoImage)?;
            Ok(multiple::streamed(first, pictures, multiple::Binding::Animation))
        }
        (_, _, Some(format)) => {
            let first = pictures.next(format).await?.ok_or(RenderError::NoImage)?;
            Ok(multiple::streamed(first, pictures, multiple::Binding::parts(format)))
        }
        (_, _, None) => Err(DicomwebError::MultipleImages),
    }
}

fn single(picture: Vec<u8>, format: Format) -> Response<Body> {
    let mut response = Response::new(body::full(picture));
    describe(response.headers_mut());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    response
}

/// One picture of several.
struct Picture {
    /// Where it can be had by itself.
    location: String,
    bytes: Vec<u8>,
}

/// Pictures of one instance after the other, and of one frame after the other. One object is held at a time.
struct Pictures {
    archive: Archive,
    pool: RenderPool,
    public: String,
    question: ProxyRequest,
    wanted: RenderParameters,
    /// There is no other instance than the first.
    is_alone: bool,
    instances: VecDeque<DicomResource>,
    open: Option<(OpenObject, VecDeque<u32>)>,
}

impl Pictures {
    /// Opens the next instance that is an image; what is none is passed over where there are others.
    async fn open_next(&mut self) -> Result<(), DicomwebError> {
        while let Some(objects) = self.instances.pop_front() {
            let open = match OpenObject::read(&self.archive, &self.pool, &self.question, &objects).await {
                Err(DicomwebError::Render(RenderError::NoImage))
                    if !self.is_alone && matches!(objects, DicomResource::Instance(..)) =>
                {
                    continue;
                }
                open => open?,
            };
            let frames = match objects {
                DicomResource::Frames(.., frames) if !frames.is_empty() => frames.into(),
                _ => (1..=open.image.frames()).collect(),
            };
            self.open = Some((open, frames));
            return Ok(());
        }
        self.open = None;
        Ok(())
    }

    async fn next(&mut self, format: Format) -> Result<Option<Picture>, DicomwebError> {
        loop {
            if let Some((open, frames)) = &mut self.open
                && let Some(frame) = frames.pop_front()
            {
                let bytes = open.draw(frame, &self.wanted, format).await?;
                let location = format!("{}/{}", self.public, open.instance.rendered_frame(frame));
                return Ok(Some(Picture { location, bytes }));
            }
            // Before the next object is fetched this one goes.
            self.open = None;
            self.open_next().await?;
            if self.open.is_none() {
                return Ok(None);
            }
        }
    }

    /// Gives up the object, to be fetched once more for the frames that are still to come.
    fn leave(&mut self) {
        if let Some((OpenObject { instance, .. }, frames)) = self.open.take()
            && !frames.is_empty()
        {
            self.instances.push_front(instance.frames(frames.into()));
        }
    }
}

/// An object, with the memory that it and its pictures may take.
struct OpenObject {
    place: RenderPermit,
    file: Bytes,
    image: Arc<Image>,
    instance: instances::Address,
}

impl OpenObject {
    /// Fetches the instance that `objects` is or is of.
    async fn read(
        archive: &Archive,
        pool: &RenderPool,
        question: &ProxyRequest,
        objects: &DicomResource,
    ) -> Result<Self, DicomwebError> {
        let instance = instances::Address::of(objects).ok_or(PathError::Unknown)?;
        let mut place = pool.enter().await?;
        let file = fetched(archive, &mut place, &question.for_object(instance.objects())).await?;
        loop {
            let (file, limit) = (file.clone(), place.limit());
            let open = place.work({
                let file = file.clone();
                move || Image::open(&file, limit)
            });
            match open.await {
                Err(DicomwebError::Render(RenderError::TooLarge)) if place.widen().await? => {}
                image => return Ok(Self { image: Arc::new(image?), place, file, instance }),
            }
        }
    }

    async fn draw(
        &mut self,
        frame: u32,
        wanted: &RenderParameters,
        format: Format,
    ) -> Result<Vec<u8>, DicomwebError> {
        let appearance = wanted.appearance;
        loop {
            let image = Arc::clone(&self.image);
            match self.place.work(move || image.render(frame, &appearance, format)).await {
                Err(DicomwebError::Render(RenderError::TooLarge)) if self.place.widen().await? => {
                    let (file, limit) = (self.file.clone(), self.place.limit());
                    self.image = Arc::new(self.place.work(move || Image::open(&file, limit)).await?);
                }
                picture => return picture,
            }
        }
    }
}

/// The whole object, as long as it fits its place.
async fn fetched(
    archive: &Archive,
    place: &mut RenderPermit,
    question: &ProxyRequest,
) -> Result<Bytes, DicomwebError> {
    let mut body = super::ask(archive, question).await?.into_body();
    let mut file = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame.map_err(|error| broken_off(archive, &error))?.into_data() else { continue };
        // What grows is copied now and then, and stands there twice.
        while 2 * (file.len() + chunk.len()) > place.limit() {
            if !place.widen().await? {
                return Err(RenderError::TooLarge.into());
            }
        }
        file.extend_from_slice(&chunk);
    }
    Ok(file.freeze())
}

fn broken_off(archive: &Archive, error: &BoxError) -> DicomwebError {
    if let Some(StreamError::Archive(error)) = error.downcast_ref() {
        return error.clone().into();
    }
    let kind = ArchiveErrorKind::Unreadable("an object that is not whole, or not alone");
    ArchiveError { archive: archive.id().clone(), kind }.into()
}
