//! WADO-RS (PS3.18 10.4): instances, frames and bulk data, as they are stored. The archive compresses and decompresses
//! nothing: what is not stored in an accepted transfer syntax is not acceptable.

use super::accept::{self, takes_alone, takes_parts_of, transfer_syntax};
use super::body::{self, Chunks, Stretch};
use super::frames::{self, Frames, FramesError};
use super::multipart::{self, Part};
use super::route::Scope;
use super::{Archive, InvalidRequest, Located};
use bytes::Bytes;
use dicom_dictionary_std::uids;
use dicom_model::data_set::{ByteRange, DataSet, DataValue};
use dicom_model::json::writer::Step;
use dicom_model::part10::{ReadError, is_pixel_data};
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

/// How an answer is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PayloadLayout {
    Multipart,
    /// The one part alone.
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
        let takes = |range: &MediaRange| files.iter().all(|file| takes_syntax(range, file.transfer_syntax));
        match packing(accepted, DICOM, scope.instance.is_some(), takes)
            .ok_or(InvalidRequest::NotAcceptable)?
        {
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

    /// Frames of an instance, in the order asked for.
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
        if let [Step::Attribute(tag)] = path.as_slice()
            && is_pixel_data(*tag)
        {
            let path = located.path.clone();
            let native = self.blocking(move || frames::native_value(&path)).await?;
            if let Some(whole) = native.map_err(|error| refused(&error))? {
                let length = whole.range.length;
                return self.send_octets(whole.chunks(), length, accepted);
            }
            let frames = self.locate_frames(located.path.clone()).await?;
            let numbers = (1..=frames.count()).collect();
            return self.send_frames(frames, numbers, located.transfer_syntax, accepted);
        }
        let file = located.path.clone();
        let found =
            self.blocking(move || value(&file, &path)).await?.map_err(|_| InvalidRequest::Internal)?;
        let (chunks, length) = found.ok_or(InvalidRequest::NotFound)?;
        self.send_octets(chunks, length, accepted)
    }

    fn instance(&self, scope: &Scope) -> Result<Located, InvalidRequest> {
        self.instances(scope, "").into_iter().next().ok_or(InvalidRequest::NotFound)
    }

    async fn locate_frames(&self, path: PathBuf) -> Result<Frames, InvalidRequest> {
        self.blocking(move || frames::locate(&path)).await?.map_err(|error| refused(&error))
    }

    fn send_frames(
        &self,
        frames: Frames,
        numbers: Vec<usize>,
        stored: &str,
        accepted: &[MediaRange],
    ) -> Result<Response<Body>, InvalidRequest> {
        let (media, compressed) = (frames.media, frames.compressed);
        // Native pixels leave here in little-endian order, whatever order they are stored in.
        let sent = if compressed { stored } else { uids::EXPLICIT_VR_LITTLE_ENDIAN };
        let takes = |range: &MediaRange| takes_syntax(range, sent);
        let packing = packing(accepted, media, numbers.len() == 1, takes)
            .or_else(|| any_octets(accepted, sent).filter(|_| compressed))
            .ok_or(InvalidRequest::NotAcceptable)?;
        let content_type =
            if compressed { format!("{media}; transfer-syntax={sent}") } else { media.to_owned() };
        let mut parts = numbers.into_iter().filter_map(move |number| {
            Some(Part { content_type: content_type.clone(), chunks: frames.frame(number)? })
        });
        match packing {
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
        let takes = |range: &MediaRange| takes_syntax(range, uids::EXPLICIT_VR_LITTLE_ENDIAN);
        match packing(accepted, OCTETS, true, takes).ok_or(InvalidRequest::NotAcceptable)? {
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

fn refused(error: &FramesError) -> InvalidRequest {
    match error {
        FramesError::NoPixelData => InvalidRequest::NotFound,
        FramesError::Inconsistent(what) => InvalidRequest::Inconsistent(what),
        FramesError::Read(_) => InvalidRequest::Internal,
    }
}

/// The packing that the client likes best among those it can have.
fn packing(
    accepted: &[MediaRange],
    media: &str,
    alone: bool,
    takes: impl Fn(&MediaRange) -> bool,
) -> Option<PayloadLayout> {
    accept::wanted(accepted).filter(|range| takes(range)).find_map(|range| {
        if takes_parts_of(range, media) {
            Some(PayloadLayout::Multipart)
        } else {
            (alone && takes_alone(range, accepted, media)).then_some(PayloadLayout::Single)
        }
    })
}

/// Viewers ask for octets in any transfer syntax and look at the part's type to see what they got.
fn any_octets(accepted: &[MediaRange], stored: &str) -> Option<PayloadLayout> {
    accept::wanted(accepted)
        .any(|range| {
            takes_parts_of(range, OCTETS)
                && transfer_syntax(range).is_some_and(|uid| uid == "*" || uid == stored)
        })
        .then_some(PayloadLayout::Multipart)
}

/// No transfer syntax in the range means the stored one here: the standard's default is Explicit VR Little Endian
/// (PS3.18 8.7.3.5.2), but an archive that cannot decompress would then refuse every compressed image.
fn takes_syntax(range: &MediaRange, sent: &str) -> bool {
    transfer_syntax(range).is_none_or(|uid| uid == "*" || uid == sent)
}

fn dicom(transfer_syntax: &str) -> String {
    format!("{DICOM}; transfer-syntax={transfer_syntax}")
}

fn file(path: &Path, length: u64) -> Chunks {
    Stretch { path: path.to_owned(), inflated: false, range: ByteRange { offset: 0, length }, swap: 1 }
        .chunks()
}

/// The bytes of the value that `steps` lead to, and their number; none when they lead nowhere.
fn value(path: &Path, steps: &[Step]) -> Result<Option<(Chunks, u64)>, ReadError> {
    let header = body::header(path, |_| true)?;
    let mut data: &DataSet = &header.data;
    let mut steps = steps.iter();
    while let Some(Step::Attribute(tag)) = steps.next() {
        let Some(element) = data.get(*tag) else { return Ok(None) };
        match (&element.value, steps.next()) {
            (DataValue::Items(items), Some(Step::Item(number))) => match items.get(number - 1) {
                Some(item) => data = item,
                None => return Ok(None),
            },
            (DataValue::Bulk(range), None) => {
                return Ok(Some((Stretch::of(&header, path, element.vr, *range).chunks(), range.length)));
            }
            (DataValue::Binary(bytes), None) => {
                let bytes = Bytes::copy_from_slice(bytes);
                let length = bytes.len() as u64;
                return Ok(Some((Box::new(std::iter::once(Ok(bytes))), length)));
            }
            _ => return Ok(None),
        }
    }
    Ok(None)
}
