//! WADO-RS (PS3.18 10.4): instances, frames and bulk data as stored. Does not transcode: an object that is not stored
//! in an accepted transfer syntax is answered with 406.

use super::accept::{self, accepts_multipart, accepts_single_part, transfer_syntax};
use super::body::{self, Chunks, FileRange};
use super::frames::{self, Frames, FramesError};
use super::multipart::{self, Part};
use super::route::Scope;
use super::{Archive, InvalidRequest, Located};
use dicom_dictionary_std::uids;
use dicom_model::data_set::ByteRange;
use dicom_model::json::writer::Step;
use dicom_model::part10::ReadError;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Response};
use http_messages::body::Body;
use http_messages::media_range::MediaRange;
use http_messages::multipart::writer::PartWriter;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const DICOM: &str = "application/dicom";
const OCTETS: &str = "application/octet-stream";

/// The layout of the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PayloadLayout {
    Multipart,
    /// A single part without multipart.
    Single,
}

impl Archive {
    /// The files of a study, a series or an instance.
    pub(super) async fn retrieve(
        &self,
        scope: &Scope,
        accepted: &[MediaRange],
    ) -> Result<Response<Body>, InvalidRequest> {
        let files = self.instances(scope, "");
        let Some(first) = files.first() else { return Err(InvalidRequest::NotFound) };
        let takes = |range: &MediaRange| files.iter().all(|file| accepts_syntax(range, file.transfer_syntax));
        match layout(accepted, DICOM, scope.instance.is_some(), takes).ok_or(InvalidRequest::NotAcceptable)? {
            PayloadLayout::Single => {
                let (path, content_type) = (first.path.clone(), dicom(first.transfer_syntax));
                let length = self.blocking(move || fs::metadata(path).map(|file| file.len())).await?;
                let length = length.map_err(|_| InvalidRequest::Internal)?;
                self.single(&content_type, Some(length), file(&first.path, length))
            }
            PayloadLayout::Multipart => self.multipart(
                DICOM,
                files.into_iter().map(|Located { path, transfer_syntax, .. }| {
                    let chunks = std::iter::once_with(move || {
                        fs::metadata(&path).map(|found| file(&path, found.len()))
                    });
                    Part {
                        content_type: dicom(transfer_syntax),
                        chunks: Box::new(chunks.flat_map(|opened| match opened {
                            Ok(chunks) => chunks,
                            Err(error) => Box::new(std::iter::once(Err(error))) as Chunks,
                        })),
                    }
                }),
            ),
        }
    }

    /// Frames of an instance, in the requested order.
    pub(super) async fn frames(
        &self,
        scope: &Scope,
        numbers: Vec<usize>,
        accepted: &[MediaRange],
    ) -> Result<Response<Body>, InvalidRequest> {
        let located = self.instance(scope)?;
        let frames = self.locate_frames(located.path.clone()).await?;
        if numbers.iter().any(|number| *number > frames.count()) {
            return Err(InvalidRequest::NotFound);
        }
        self.send_frames(frames, numbers, located.transfer_syntax, accepted)
    }

    /// One large value of an instance.
    pub(super) async fn bulk_data(
        &self,
        scope: &Scope,
        path: Vec<Step>,
        accepted: &[MediaRange],
    ) -> Result<Response<Body>, InvalidRequest> {
        let located = self.instance(scope)?;
        let file = located.path.clone();
        let found = self.blocking(move || value(&file, &path)).await?;
        match found.map_err(|_| InvalidRequest::Internal)?.ok_or(InvalidRequest::NotFound)? {
            Value::Octets(value) => {
                let length = value.range.length;
                self.send_octets(value.chunks(), length, accepted)
            }
            Value::Encapsulated => {
                let frames = self.locate_frames(located.path.clone()).await?;
                let numbers = (1..=frames.count()).collect();
                self.send_frames(frames, numbers, located.transfer_syntax, accepted)
            }
        }
    }

    fn instance(&self, scope: &Scope) -> Result<Located, InvalidRequest> {
        self.instances(scope, "").into_iter().next().ok_or(InvalidRequest::NotFound)
    }

    async fn locate_frames(&self, path: PathBuf) -> Result<Frames, InvalidRequest> {
        self.blocking(move || frames::locate(&path)).await?.map_err(|error| error_for(&error))
    }

    fn send_frames(
        &self,
        frames: Frames,
        numbers: Vec<usize>,
        stored: &str,
        accepted: &[MediaRange],
    ) -> Result<Response<Body>, InvalidRequest> {
        let (media, compressed) = (frames.media, frames.compressed);
        // Native pixels are sent in little-endian order, also if they are stored in big-endian order.
        let sent = if compressed { stored } else { uids::EXPLICIT_VR_LITTLE_ENDIAN };
        let takes = |range: &MediaRange| accepts_syntax(range, sent);
        let layout = layout(accepted, media, numbers.len() == 1, takes)
            .or_else(|| any_octets(accepted, sent).filter(|_| compressed))
            .ok_or(InvalidRequest::NotAcceptable)?;
        let content_type =
            if compressed { format!("{media}; transfer-syntax={sent}") } else { media.to_owned() };
        let mut parts = numbers.into_iter().filter_map(move |number| {
            Some(Part { content_type: content_type.clone(), chunks: frames.frame(number)? })
        });
        match layout {
            PayloadLayout::Multipart => self.multipart(media, parts),
            PayloadLayout::Single => {
                let part = parts.next().ok_or(InvalidRequest::NotFound)?;
                self.single(&part.content_type, None, part.chunks)
            }
        }
    }

    fn send_octets(
        &self,
        chunks: Chunks,
        length: u64,
        accepted: &[MediaRange],
    ) -> Result<Response<Body>, InvalidRequest> {
        let takes = |range: &MediaRange| accepts_syntax(range, uids::EXPLICIT_VR_LITTLE_ENDIAN);
        match layout(accepted, OCTETS, true, takes).ok_or(InvalidRequest::NotAcceptable)? {
            PayloadLayout::Single => self.single(OCTETS, Some(length), chunks),
            PayloadLayout::Multipart => {
                self.multipart(OCTETS, std::iter::once(Part { content_type: OCTETS.to_owned(), chunks }))
            }
        }
    }

    fn single(
        &self,
        content_type: &str,
        length: Option<u64>,
        chunks: Chunks,
    ) -> Result<Response<Body>, InvalidRequest> {
        let mut response = Response::new(body::streamed(chunks, Arc::clone(&self.readers)));
        let headers = response.headers_mut();
        headers
            .insert(CONTENT_TYPE, HeaderValue::from_str(content_type).map_err(|_| InvalidRequest::Internal)?);
        if let Some(length) = length {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        Ok(response)
    }

    fn multipart(
        &self,
        media: &str,
        parts: impl Iterator<Item = Part> + Send + 'static,
    ) -> Result<Response<Body>, InvalidRequest> {
        let writer = PartWriter::new();
        self.single(&writer.content_type(media), None, multipart::body(writer, parts))
    }
}

fn error_for(error: &FramesError) -> InvalidRequest {
    match error {
        FramesError::NoPixelData => InvalidRequest::NotFound,
        FramesError::Inconsistent(what) => InvalidRequest::Inconsistent(what),
        FramesError::Read(_) => InvalidRequest::Internal,
    }
}

/// The available layout that the client prefers.
fn layout(
    accepted: &[MediaRange],
    media: &str,
    alone: bool,
    takes: impl Fn(&MediaRange) -> bool,
) -> Option<PayloadLayout> {
    accept::wanted(accepted).filter(|range| takes(range)).find_map(|range| {
        if accepts_multipart(range, media) {
            Some(PayloadLayout::Multipart)
        } else {
            (alone && accepts_single_part(range, accepted, media)).then_some(PayloadLayout::Single)
        }
    })
}

/// Viewers request application/octet-stream in any transfer syntax and read the actual type from the Content-Type of
/// the part.
fn any_octets(accepted: &[MediaRange], stored: &str) -> Option<PayloadLayout> {
    accept::wanted(accepted)
        .any(|range| {
            accepts_multipart(range, OCTETS)
                && transfer_syntax(range).is_some_and(|uid| uid == "*" || uid == stored)
        })
        .then_some(PayloadLayout::Multipart)
}

/// A range without transfer syntax accepts the stored one. The default of the standard is Explicit VR Little Endian
/// (PS3.18 8.7.3.5.2), but with it an archive that cannot decompress would reject every request for a compressed image.
fn accepts_syntax(range: &MediaRange, sent: &str) -> bool {
    transfer_syntax(range).is_none_or(|uid| uid == "*" || uid == sent)
}

fn dicom(transfer_syntax: &str) -> String {
    format!("{DICOM}; transfer-syntax={transfer_syntax}")
}

fn file(path: &Path, length: u64) -> Chunks {
    FileRange { path: path.to_owned(), inflated: false, range: ByteRange { offset: 0, length }, swap: 1 }
        .chunks()
}

/// A value of an instance.
#[derive(Debug)]
pub(super) enum Value {
    /// Its bytes.
    Octets(FileRange),
    /// Encapsulated pixel data, which is sent frame by frame.
    Encapsulated,
}

/// The value with the path `steps` in the file at `path`; `None` if the object has no such value.
pub(super) fn value(path: &Path, steps: &[Step]) -> Result<Option<Value>, ReadError> {
    let header = body::object(path)?.header_before(steps)?;
    Ok(header.sought.map(|sought| match sought.length {
        Some(_) => Value::Octets(FileRange::of(&header, path, sought)),
        None => Value::Encapsulated,
    }))
}
