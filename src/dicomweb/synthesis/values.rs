//! Synthesizes bulk data (PS3.18 10.4.1.1.5) from the instance that contains it. The BulkDataURI of synthesized metadata is
//! `{instance}/bulkdata/7FE00010`: the path of tags and item numbers to the value.
//!
//! The instance is read up to the value, and the value is streamed. Native values are converted to little-endian order;
//! encapsulated pixel data is sent frame by frame without decoding, after it has been read, or a large part of it.

use std::io::Read;

use futures_util::StreamExt;
use http::{HeaderValue, Response, header};
use tokio::sync::oneshot;

use super::held_output::HeldOutput;
use super::instances::{ObjectReader, OutputSender, is_requested_instance, retrieve};
use super::list;
use super::metadata::to_stream_error;
use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::proxy::assembled;
use crate::dicomweb::proxy::stream_error::StreamError;
use crate::dicomweb::request::payload::{OCTETS, Payload, PayloadLayout, choose_layout};
use crate::http::negotiation::MediaRange;
use crate::upstream::{Archive, DicomResource};
use dicom_model::data_set::swap_words;
use dicom_model::encapsulated_pixel_data::{self, Stream, is_video, media_type, number_of_frames};
use dicom_model::json::writer::Step;
use dicom_model::part10::{Header, Object, StoredValue};
use dicom_model::{Tag, tags};
use http_messages::body::Body;
use http_messages::multipart::writer::PartWriter;

/// Size of a chunk of a value in bytes, a multiple of every word size.
const CHUNK_SIZE: u64 = 64 * 1024;

/// The attributes that identify the instance, and those that determine the frames of encapsulated pixel data.
const VALUE_TAGS: [Tag; 5] = [
    tags::SOP_INSTANCE_UID,
    tags::STUDY_INSTANCE_UID,
    tags::SERIES_INSTANCE_UID,
    tags::NUMBER_OF_FRAMES,
    tags::EXTENDED_OFFSET_TABLE,
];

/// The transfer syntax of native values in responses.
pub(super) const EXPLICIT_VR_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1";

/// Responds with the value of `instance` at `steps`, in the layout that the first acceptable range of `ranges` requires.
pub(super) async fn respond(
    archive: &Archive,
    instance: &DicomResource,
    steps: Vec<Step>,
    ranges: &[MediaRange],
) -> Result<Response<Body>, DicomwebError> {
    let instances = retrieve(archive, instance).await?;
    let (sender, lookup) = oneshot::channel();
    let search = ValueSearch { instance: instance.clone(), steps, ranges: ranges.to_vec() };
    let mut chunks = instances.process(move |reader, output| search.run(reader, output, sender));
    match lookup.await {
        Ok(ValueLookup::Value { content_type, length }) => {
            let content_type =
                HeaderValue::from_str(&content_type).map_err(|_| DicomwebError::Interrupted)?;
            let mut response = assembled::with_type(content_type, list::streamed_body(archive, chunks));
            if let Some(length) = length {
                response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
            }
            Ok(response)
        }
        Ok(ValueLookup::NotAccepted) => Err(DicomwebError::NotAcceptable),
        Ok(ValueLookup::NotFound) => Err(DicomwebError::nothing_returned(archive)),
        Err(_) => Err(match chunks.next().await {
            Some(Err(error)) => error.before_response(archive),
            _ => DicomwebError::Interrupted,
        }),
    }
}

/// The result of the search for a value.
#[derive(Debug)]
enum ValueLookup {
    /// The value was found, and its bytes follow. `length` is their number, if it is known.
    Value { content_type: String, length: Option<u64> },
    /// The client accepts no layout of the value.
    NotAccepted,
    /// The value or the instance does not exist.
    NotFound,
}

/// The search for a value, with the media types that the client accepts.
#[derive(Debug)]
struct ValueSearch {
    instance: DicomResource,
    steps: Vec<Step>,
    ranges: Vec<MediaRange>,
}

impl ValueSearch {
    fn run(
        self,
        reader: &mut ObjectReader,
        output: &OutputSender,
        sender: oneshot::Sender<ValueLookup>,
    ) -> Result<(), StreamError> {
        while reader.advance()? {
            let mut permit = reader.header_permit();
            let mut object = Object::open(&mut *reader, None).map_err(|error| to_stream_error(&error))?;
            let header = object.header_up_to(&self.steps, |tag| VALUE_TAGS.contains(&tag), || permit.wait());
            let header = header.map_err(|error| to_stream_error(&error))?;
            // What remains of the header is small.
            drop(permit);
            // An archive may return other instances too. The UID of the instance precedes the value.
            if !is_requested_instance(&header, &self.instance) {
                continue;
            }
            return self.send_value(&header, &mut object, output, sender);
        }
        Err(StreamError::Unreadable("only instances that were not requested"))
    }

    fn send_value(
        &self,
        header: &Header,
        object: &mut impl Read,
        output: &OutputSender,
        sender: oneshot::Sender<ValueLookup>,
    ) -> Result<(), StreamError> {
        let Some(StoredValue { length, swapped_word_size, .. }) = header.requested_value else {
            report(sender, ValueLookup::NotFound);
            return Ok(());
        };
        let Some(length) = length else { return self.send_frames(header, object, output, sender) };
        let payload =
            Payload { media_type: OCTETS, transfer_syntax: EXPLICIT_VR_LITTLE_ENDIAN, is_single: true };
        match choose_layout(&self.ranges, payload) {
            Some(PayloadLayout::Single) => {
                report(sender, ValueLookup::Value { content_type: OCTETS.to_owned(), length: Some(length) });
                send_bytes(object, length, swapped_word_size, output)
            }
            Some(PayloadLayout::Parts) => {
                let mut parts = PartWriter::new();
                report(sender, ValueLookup::Value { content_type: parts.content_type(OCTETS), length: None });
                output.send(parts.begin_part(OCTETS, None).into())?;
                send_bytes(object, length, swapped_word_size, output)?;
                output.send(parts.end().into())
            }
            None => {
                report(sender, ValueLookup::NotAccepted);
                Ok(())
            }
        }
    }

    fn send_frames(
        &self,
        header: &Header,
        object: &mut impl Read,
        output: &OutputSender,
        sender: oneshot::Sender<ValueLookup>,
    ) -> Result<(), StreamError> {
        let frame_count = number_of_frames(header.data.text(tags::NUMBER_OF_FRAMES));
        let transfer_syntax = header.transfer_syntax;
        let media_type = media_type(transfer_syntax);
        let payload =
            Payload { media_type, transfer_syntax, is_single: frame_count == 1 || is_video(transfer_syntax) };
        let part_type = format!("{media_type}; transfer-syntax={transfer_syntax}");
        let extended = header.extended_offsets.as_ref();
        let mut stream = Stream::open(object, frame_count, transfer_syntax, extended)
            .map_err(|error| frame_error(&error))?;
        let mut next = stream.next(object).map_err(|error| frame_error(&error))?;
        let (content_type, mut parts) = match choose_layout(&self.ranges, payload) {
            Some(PayloadLayout::Single) => (part_type.clone(), None),
            Some(PayloadLayout::Parts) => {
                let parts = PartWriter::new();
                (parts.content_type(media_type), Some(parts))
            }
            None => {
                report(sender, ValueLookup::NotAccepted);
                return Ok(());
            }
        };
        let mut held = HeldOutput::new(output, sender, ValueLookup::Value { content_type, length: None });
        while let Some(chunk) = next {
            if let Some(parts) = parts.as_mut().filter(|_| chunk.begins_frame) {
                held.send(parts.begin_part(&part_type, None).into())?;
            }
            held.count_read(chunk.bytes.len())?;
            held.send(chunk.bytes)?;
            next = stream.next(object).map_err(|error| frame_error(&error))?;
        }
        held.begin()?;
        parts.map_or(Ok(()), |parts| held.send(parts.end().into()))
    }
}

/// Reports the result of the search.
fn report(sender: oneshot::Sender<ValueLookup>, lookup: ValueLookup) {
    // The client may have disconnected.
    let _ = sender.send(lookup);
}

/// Sends the next `length` bytes of `source`, with the bytes of each word of `word_size` bytes reversed.
fn send_bytes(
    source: &mut impl Read,
    length: u64,
    word_size: usize,
    output: &OutputSender,
) -> Result<(), StreamError> {
    let mut remaining = length;
    while remaining > 0 {
        let chunk_size = remaining.min(CHUNK_SIZE);
        let mut bytes = Vec::with_capacity(usize::try_from(chunk_size).unwrap_or_default());
        let read_length = source.take(chunk_size).read_to_end(&mut bytes);
        if read_length.map_or(true, |read_length| (read_length as u64) < chunk_size) {
            return Err(StreamError::Unreadable("an instance that is truncated"));
        }
        swap_words(&mut bytes, word_size);
        remaining -= chunk_size;
        output.send(bytes.into())?;
    }
    Ok(())
}

/// Converts an error of the frame locator to an error of the response.
pub(super) fn frame_error(error: &encapsulated_pixel_data::StreamError) -> StreamError {
    StreamError::Unreadable(match error {
        encapsulated_pixel_data::StreamError::Io(_) => "an instance that is truncated",
        _ => "an image whose frames cannot be distinguished",
    })
}
