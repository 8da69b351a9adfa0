//! Large values (PS3.18 10.4.1.1.4) out of the instance that holds them, where the metadata that are made here say that they
//! stand: `{instance}/bulkdata/7FE00010`, with the way of tags and item numbers that leads to a value.
//!
//! The instance is read up to the value, and the value passes as it comes. Native values are in little-endian order, whatever
//! order they are stored in; encapsulated pixel data come frame by frame as they are compressed. Nothing is decoded.

use std::io::Read;

use futures_util::StreamExt;
use http::{HeaderValue, Response, StatusCode, header};
use tokio::sync::oneshot;

use super::instances::{Made, Received, retrieve};
use super::list;
use super::metadata::unread;
use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::proxy::assembled;
use crate::dicomweb::proxy::stream_error::StreamError;
use crate::dicomweb::request::payload::{OCTETS, Payload, PayloadLayout, packing};
use crate::http::negotiation::MediaRange;
use crate::upstream::{Archive, DicomResource};
use dicom_model::data_set::swap_words;
use dicom_model::encapsulated::{self, Stream, is_video, media_type, number_of_frames};
use dicom_model::json::writer::Step;
use dicom_model::part10::{Header, Object, PixelData};
use dicom_model::tags;
use http_messages::body::Body;
use http_messages::multipart::writer::PartWriter;

/// So much of a value is held; a multiple of every size of words.
const CHUNK: u64 = 64 * 1024;

/// In which native values are given.
const EXPLICIT_VR_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1";

/// Answers with the value of `instance` that `steps` lead to, packed as one of `ranges` has it.
pub(super) async fn answered(
    archive: &Archive,
    instance: &DicomResource,
    steps: Vec<Step>,
    ranges: &[MediaRange],
) -> Result<Response<Body>, DicomwebError> {
    let received = retrieve(archive, instance).await?;
    let (to, told) = oneshot::channel();
    let search = ValueSearch { uid: uid_of(instance), steps, ranges: ranges.to_vec() };
    let mut pieces = received.worked(move |received, made| search.run(received, made, to));
    match told.await {
        Ok(ValueLookup::Value { content_type, length }) => {
            let content_type =
                HeaderValue::from_str(&content_type).map_err(|_| DicomwebError::Interrupted)?;
            let mut response = assembled::with_type(content_type, list::streamed(pieces));
            if let Some(length) = length {
                response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
            }
            Ok(response)
        }
        Ok(ValueLookup::NotAccepted) => Err(DicomwebError::NotAcceptable),
        Ok(ValueLookup::Nothing) => {
            Err(DicomwebError::refused(archive, StatusCode::NOT_FOUND, &http::HeaderMap::new()))
        }
        Err(_) => Err(match pieces.next().await {
            Some(Err(error)) => list::refusal(archive, error),
            _ => DicomwebError::Interrupted,
        }),
    }
}

fn uid_of(instance: &DicomResource) -> Option<String> {
    match instance {
        DicomResource::Instance(_, _, uid) | DicomResource::Frames(_, _, uid, _) => Some(uid.to_string()),
        DicomResource::Study(_) | DicomResource::Series(..) => None,
    }
}

/// What came of the search.
#[derive(Debug)]
enum ValueLookup {
    /// Its bytes follow, so many where that is known.
    Value { content_type: String, length: Option<u64> },
    /// In no packing that is accepted.
    NotAccepted,
    /// The instance has no such value, or there is no such instance.
    Nothing,
}

/// Which value is searched for, and how it may be packed.
#[derive(Debug)]
struct ValueSearch {
    uid: Option<String>,
    steps: Vec<Step>,
    ranges: Vec<MediaRange>,
}

impl ValueSearch {
    fn run(
        self,
        received: &mut Received,
        made: &Made,
        to: oneshot::Sender<ValueLookup>,
    ) -> Result<(), StreamError> {
        while received.next()? {
            let mut object = Object::open(&mut *received, None).map_err(|error| unread(&error))?;
            let header = object.header_before(&self.steps).map_err(|error| unread(&error))?;
            // An archive may answer with more than it was asked for. No value stands before the instance's UID.
            if header.data.text(tags::SOP_INSTANCE_UID) != self.uid.as_deref() {
                continue;
            }
            return self.give(&header, &mut object, made, to);
        }
        tell(to, ValueLookup::Nothing);
        Ok(())
    }

    fn give(
        &self,
        header: &Header,
        object: &mut impl Read,
        made: &Made,
        to: oneshot::Sender<ValueLookup>,
    ) -> Result<(), StreamError> {
        let pixels = header.pixel_data.filter(|pixels| self.steps == [Step::Attribute(pixels.tag)]);
        let (vr, length) = match (header.sought, pixels) {
            (Some(value), _) => (value.vr, value.length),
            (None, Some(PixelData { vr, length: Some(length), .. })) => (vr, length),
            (None, Some(_)) => return self.give_frames(header, object, made, to),
            (None, None) => {
                tell(to, ValueLookup::Nothing);
                return Ok(());
            }
        };
        let swap = header.swapped_words(vr);
        let packed = Payload { media_type: OCTETS, transfer_syntax: EXPLICIT_VR_LITTLE_ENDIAN, is_one: true };
        match packing(&self.ranges, packed) {
            Some(PayloadLayout::Alone) => {
                tell(to, ValueLookup::Value { content_type: OCTETS.to_owned(), length: Some(length) });
                pass(object, length, swap, made)
            }
            Some(PayloadLayout::Parts) => {
                let mut parts = PartWriter::new();
                tell(to, ValueLookup::Value { content_type: parts.content_type(OCTETS), length: None });
                made.give(parts.begin_part(OCTETS, None).into())?;
                pass(object, length, swap, made)?;
                made.give(parts.end().into())
            }
            None => {
                tell(to, ValueLookup::NotAccepted);
                Ok(())
            }
        }
    }

    fn give_frames(
        &self,
        header: &Header,
        object: &mut impl Read,
        made: &Made,
        to: oneshot::Sender<ValueLookup>,
    ) -> Result<(), StreamError> {
        let frames = number_of_frames(header.data.text(tags::NUMBER_OF_FRAMES));
        let transfer_syntax = header.transfer_syntax;
        let media_type = media_type(transfer_syntax);
        let packed =
            Payload { media_type, transfer_syntax, is_one: frames == 1 || is_video(transfer_syntax) };
        let of_part = format!("{media_type}; transfer-syntax={transfer_syntax}");
        let extended = header.extended_offsets.as_deref();
        let mut stream =
            Stream::open(object, frames, transfer_syntax, extended).map_err(|error| untold(&error))?;
        // Where the frames cannot be told from the beginning, that is an error and no answer.
        let mut next = stream.next(object).map_err(|error| untold(&error))?;
        let mut parts = match packing(&self.ranges, packed) {
            Some(PayloadLayout::Alone) => {
                tell(to, ValueLookup::Value { content_type: of_part.clone(), length: None });
                None
            }
            Some(PayloadLayout::Parts) => {
                let parts = PartWriter::new();
                tell(to, ValueLookup::Value { content_type: parts.content_type(media_type), length: None });
                Some(parts)
            }
            None => {
                tell(to, ValueLookup::NotAccepted);
                return Ok(());
            }
        };
        while let Some(piece) = next {
            if let Some(parts) = parts.as_mut().filter(|_| piece.begins_frame) {
                made.give(parts.begin_part(&of_part, None).into())?;
            }
            made.give(piece.bytes)?;
            next = stream.next(object).map_err(|error| untold(&error))?;
        }
        parts.map_or(Ok(()), |parts| made.give(parts.end().into()))
    }
}

/// Says what was found; whoever asked may have gone.
fn tell(to: oneshot::Sender<ValueLookup>, found: ValueLookup) {
    let _ = to.send(found);
}

/// Passes so many bytes on.
fn pass(from: &mut impl Read, length: u64, swap: usize, made: &Made) -> Result<(), StreamError> {
    let mut left = length;
    while left > 0 {
        let wanted = left.min(CHUNK);
        let mut bytes = Vec::with_capacity(usize::try_from(wanted).unwrap_or_default());
        let read = from.take(wanted).read_to_end(&mut bytes);
        if read.map_or(true, |read| (read as u64) < wanted) {
            return Err(StreamError::Unreadable("an instance that is cut short"));
        }
        swap_words(&mut bytes, swap);
        left -= wanted;
        made.give(bytes.into())?;
    }
    Ok(())
}

fn untold(error: &encapsulated::StreamError) -> StreamError {
    StreamError::Unreadable(match error {
        encapsulated::StreamError::Io(_) => "an instance that is cut short",
        _ => "an image whose frames cannot be distinguished",
    })
}
