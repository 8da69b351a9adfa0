//! WADO-RS (PS3.18 10.4): instances, frames and bulk data as stored. This module does not transcode: the status for an object that
//! is not stored in an accepted transfer syntax is 406.

use super::body::{self, Chunks, FileRange};
use super::content_negotiation::{self, accepts_multipart, accepts_single_part, transfer_syntax};
use super::frames::{self, Frames, FramesError};
use super::multipart::{self, Part};
use super::route::Scope;
use super::{Archive, InvalidRequest, LocatedInstance};
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
    /// One payload that is not in a multipart body.
    Single,
}

impl Archive {
    /// Returns the files of a study, a series or an instance.
    pub(super) async fn retrieve(
        &self,
        scope: &Scope,
        accepted: &[MediaRange],
    ) -> Result<Response<Body>, InvalidRequest> {
        let files = self.instances(scope, "");
        let Some(first) = files.first() else { return Err(InvalidRequest::NotFound) };
        let is_accepted =
            |range: &MediaRange| files.iter().all(|file| accepts_syntax(range, file.transfer_syntax));
        match choose_layout(accepted, DICOM, scope.instance.is_some(), is_accepted)
            .ok_or(InvalidRequest::NotAcceptable)?
        {
            PayloadLayout::Single => {
                let (path, content_type) = (first.path.clone(), dicom_media_type(first.transfer_syntax));
                let length = self.run_blocking(move || fs::metadata(path).map(|file| file.len())).await?;
                let length = length.map_err(|_| InvalidRequest::Internal)?;
                self.single_part_response(&content_type, Some(length), file_chunks(&first.path, length))
            }
            PayloadLayout::Multipart => self.multipart_response(
                DICOM,
                files.into_iter().map(|LocatedInstance { path, transfer_syntax, .. }| {
                    let chunks = std::iter::once_with(move || {
                        fs::metadata(&path).map(|metadata| file_chunks(&path, metadata.len()))
                    });
                    Part {
                        content_type: dicom_media_type(transfer_syntax),
                        chunks: Box::new(chunks.flat_map(|opened| match opened {
                            Ok(chunks) => chunks,
                            Err(error) => Box::new(std::iter::once(Err(error))) as Chunks,
                        })),
                    }
                }),
            ),
        }
    }

    /// Returns frames of an instance, in the requested order.
    pub(super) async fn frames(
        &self,
        scope: &Scope,
        numbers: Vec<usize>,
        accepted: &[MediaRange],
    ) -> Result<Response<Body>, InvalidRequest> {
        let instance = self.instance(scope)?;
        let frames = self.locate_frames(instance.path.clone()).await?;
        if numbers.iter().any(|number| *number > frames.count()) {
            return Err(InvalidRequest::NotFound);
        }
        self.send_frames(frames, numbers, instance.transfer_syntax, accepted)
    }

    /// Returns one large value of an instance.
    pub(super) async fn bulk_data(
        &self,
        scope: &Scope,
        path: Vec<Step>,
        accepted: &[MediaRange],
    ) -> Result<Response<Body>, InvalidRequest> {
        let instance = self.instance(scope)?;
        let file = instance.path.clone();
        let stored_value = self.run_blocking(move || locate_value(&file, &path)).await?;
        match stored_value.map_err(|_| InvalidRequest::Internal)?.ok_or(InvalidRequest::NotFound)? {
            Value::Octets(value) => {
                let length = value.range.length;
                self.send_octets(value.chunks(), length, accepted)
            }
            Value::Encapsulated => {
                let frames = self.locate_frames(instance.path.clone()).await?;
                let numbers = (1..=frames.count()).collect();
                self.send_frames(frames, numbers, instance.transfer_syntax, accepted)
            }
        }
    }

    fn instance(&self, scope: &Scope) -> Result<LocatedInstance, InvalidRequest> {
        self.instances(scope, "").into_iter().next().ok_or(InvalidRequest::NotFound)
    }

    async fn locate_frames(&self, path: PathBuf) -> Result<Frames, InvalidRequest> {
        self.run_blocking(move || frames::locate(&path)).await?.map_err(|error| invalid_request(&error))
    }

    fn send_frames(
        &self,
        frames: Frames,
        numbers: Vec<usize>,
        stored_syntax: &str,
        accepted: &[MediaRange],
    ) -> Result<Response<Body>, InvalidRequest> {
        let (media, is_compressed) = (frames.media, frames.is_compressed);
        // Native pixel data is sent in little-endian order, even if it is stored in big-endian order.
        let sent_syntax = if is_compressed { stored_syntax } else { uids::EXPLICIT_VR_LITTLE_ENDIAN };
        let is_accepted = |range: &MediaRange| accepts_syntax(range, sent_syntax);
        let layout = choose_layout(accepted, media, numbers.len() == 1, is_accepted)
            .or_else(|| octet_stream_layout(accepted, sent_syntax).filter(|_| is_compressed))
            .ok_or(InvalidRequest::NotAcceptable)?;
        let content_type =
            if is_compressed { format!("{media}; transfer-syntax={sent_syntax}") } else { media.to_owned() };
        let mut parts = numbers.into_iter().filter_map(move |number| {
            Some(Part { content_type: content_type.clone(), chunks: frames.frame(number)? })
        });
        match layout {
            PayloadLayout::Multipart => self.multipart_response(media, parts),
            PayloadLayout::Single => {
                let part = parts.next().ok_or(InvalidRequest::NotFound)?;
                self.single_part_response(&part.content_type, None, part.chunks)
            }
        }
    }

    fn send_octets(
        &self,
        chunks: Chunks,
        length: u64,
        accepted: &[MediaRange],
    ) -> Result<Response<Body>, InvalidRequest> {
        let is_accepted = |range: &MediaRange| accepts_syntax(range, uids::EXPLICIT_VR_LITTLE_ENDIAN);
        match choose_layout(accepted, OCTETS, true, is_accepted).ok_or(InvalidRequest::NotAcceptable)? {
            PayloadLayout::Single => self.single_part_response(OCTETS, Some(length), chunks),
            PayloadLayout::Multipart => self.multipart_response(
                OCTETS,
                std::iter::once(Part { content_type: OCTETS.to_owned(), chunks }),
            ),
        }
    }

    fn single_part_response(
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

    fn multipart_response(
        &self,
        media: &str,
        parts: impl Iterator<Item = Part> + Send + 'static,
    ) -> Result<Response<Body>, InvalidRequest> {
        let writer = PartWriter::new();
        self.single_part_response(&writer.content_type(media), None, multipart::body(writer, parts))
    }
}

fn invalid_request(error: &FramesError) -> InvalidRequest {
    match error {
        FramesError::NoPixelData => InvalidRequest::NotFound,
        FramesError::Inconsistent(reason) => InvalidRequest::Inconsistent(reason),
        FramesError::Read(_) => InvalidRequest::Internal,
    }
}

/// Returns the available layout that the client prefers.
fn choose_layout(
    accepted: &[MediaRange],
    media: &str,
    can_be_single: bool,
    is_accepted: impl Fn(&MediaRange) -> bool,
) -> Option<PayloadLayout> {
    content_negotiation::acceptable(accepted).filter(|range| is_accepted(range)).find_map(|range| {
        if accepts_multipart(range, media) {
            Some(PayloadLayout::Multipart)
        } else {
            (can_be_single && accepts_single_part(range, accepted, media)).then_some(PayloadLayout::Single)
        }
    })
}

/// Returns the multipart layout if a range accepts application/octet-stream in the stored transfer syntax: viewers request this
/// type and read the actual type from the Content-Type of the part.
fn octet_stream_layout(accepted: &[MediaRange], stored_syntax: &str) -> Option<PayloadLayout> {
    content_negotiation::acceptable(accepted)
        .any(|range| {
            accepts_multipart(range, OCTETS)
                && transfer_syntax(range).is_some_and(|uid| uid == "*" || uid == stored_syntax)
        })
        .then_some(PayloadLayout::Multipart)
}

/// Whether a range accepts a transfer syntax. A range without a transfer syntax accepts all of them. The default of the standard,
/// Explicit VR Little Endian (PS3.18 8.7.3.5.2), is not applied: this archive cannot decompress, so it would reject every request
/// for a compressed image.
fn accepts_syntax(range: &MediaRange, sent_syntax: &str) -> bool {
    transfer_syntax(range).is_none_or(|uid| uid == "*" || uid == sent_syntax)
}

fn dicom_media_type(transfer_syntax: &str) -> String {
    format!("{DICOM}; transfer-syntax={transfer_syntax}")
}

fn file_chunks(path: &Path, length: u64) -> Chunks {
    FileRange {
        path: path.to_owned(),
        is_inflated: false,
        range: ByteRange { offset: 0, length },
        swapped_word_size: 1,
    }
    .chunks()
}

/// A value of an instance.
#[derive(Debug)]
pub(super) enum Value {
    /// The bytes of the value.
    Octets(FileRange),
    /// Encapsulated pixel data, which is sent frame by frame.
    Encapsulated,
}

/// Returns the value with the path `steps` in the file at `path`; `None` if the object has no such value.
pub(super) fn locate_value(path: &Path, steps: &[Step]) -> Result<Option<Value>, ReadError> {
    let header = body::open_object(path)?.header_up_to(steps, |_| true, || Ok(()))?;
    Ok(header.requested_value.map(|requested_value| match requested_value.length {
        Some(_) => Value::Octets(FileRange::of(&header, path, requested_value)),
        None => Value::Encapsulated,
    }))
}
