//! Synthesizes frames (PS3.18 10.4.1.1.6) from the instance that contains them, for an archive without `/frames`.
//!
//! The instance is retrieved once and read while it streams. Frames are sent in the requested order, in their stored transfer syntax; the
//! response begins after the pixel data has been read, or a large part of it, and ends after the whole instance has been read, because
//! only its end shows that its frames could be distinguished. The
//! requested frames and those after them are cached, so that a viewer that requests frame after frame does not cause a retrieval
//! for each of them.

use std::collections::BTreeMap;
use std::io::Read;

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderValue, Response};
use tokio::sync::oneshot;

use super::frame_cache::{CachedFrame, FrameCache};
use super::held_output::HeldOutput;
use super::instances::{ObjectReader, OutputSender, is_requested_instance, retrieve};
use super::list;
use super::metadata::to_stream_error;
use super::values::{EXPLICIT_VR_LITTLE_ENDIAN, frame_error};
use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::proxy::assembled;
use crate::dicomweb::proxy::stream_error::StreamError;
use crate::dicomweb::request::payload::{OCTETS, Payload, PayloadLayout, choose_layout};
use crate::http::negotiation::MediaRange;
use crate::upstream::{Archive, DicomResource};
use dicom_model::data_set::swap_words;
use dicom_model::encapsulated_pixel_data::{FramePart, Stream, is_video, media_type, number_of_frames};
use dicom_model::native_pixel_data::{FrameAttributes, NativeFrames};
use dicom_model::part10::{Header, Object, StoredValue};
use dicom_model::{Tag, tags};
use http_messages::body::{self, Body};
use http_messages::multipart::writer::PartWriter;

/// Maximum size of a frame in bytes, and of the frames that are buffered because they were requested in another order.
const MAX_BUFFERED_SIZE: usize = 64 * 1024 * 1024;

/// The attributes that determine where frames are.
const FRAME_TAGS: [Tag; 10] = [
    tags::SOP_INSTANCE_UID,
    tags::STUDY_INSTANCE_UID,
    tags::SERIES_INSTANCE_UID,
    tags::ROWS,
    tags::COLUMNS,
    tags::SAMPLES_PER_PIXEL,
    tags::BITS_ALLOCATED,
    tags::PHOTOMETRIC_INTERPRETATION,
    tags::NUMBER_OF_FRAMES,
    tags::EXTENDED_OFFSET_TABLE,
];

const TRUNCATED: StreamError = StreamError::Unreadable("an instance that is truncated");
const INDISTINGUISHABLE: StreamError =
    StreamError::Unreadable("an image whose frames cannot be distinguished");

/// Responds with `frames`, in the layout that the first acceptable range of `ranges` requires. If `uses_cache` is set, the frames may
/// be from the cache.
pub(super) async fn respond(
    archive: &Archive,
    cache: &FrameCache,
    frames: &DicomResource,
    ranges: &[MediaRange],
    uses_cache: bool,
) -> Result<Response<Body>, DicomwebError> {
    let DicomResource::Frames(study, series, uid, numbers) = frames else {
        return Err(DicomwebError::NotAcceptable);
    };
    let instance = DicomResource::Instance(study.clone(), series.clone(), uid.clone());
    let frames_of_instance = cache.instance(archive.id(), &instance);
    if uses_cache && let Some(cached) = frames_of_instance.get_all(numbers) {
        return cached_response(&cached, ranges);
    }
    let instances = retrieve(archive, &instance).await?;
    let (sender, beginning) = oneshot::channel();
    let search = FrameSearch {
        instance: instance.clone(),
        numbers: numbers.clone(),
        ranges: ranges.to_vec(),
        cache: frames_of_instance,
    };
    let mut chunks = instances.process(move |reader, output| search.run(reader, output, sender));
    match beginning.await {
        Ok(Beginning::Frames { content_type }) => {
            let content_type =
                HeaderValue::from_str(&content_type).map_err(|_| DicomwebError::Interrupted)?;
            Ok(assembled::with_type(content_type, list::streamed_body(archive, chunks)))
        }
        Ok(Beginning::NotAccepted) => Err(DicomwebError::NotAcceptable),
        Ok(Beginning::NotFound) => Err(DicomwebError::nothing_returned(archive)),
        Err(_) => Err(match chunks.next().await {
            Some(Err(error)) => error.before_response(archive),
            _ => DicomwebError::Interrupted,
        }),
    }
}

/// Responds with cached frames.
fn cached_response(frames: &[CachedFrame], ranges: &[MediaRange]) -> Result<Response<Body>, DicomwebError> {
    let Some(first) = frames.first() else { return Err(DicomwebError::NotFound) };
    let mut layout = FrameLayout::choose(ranges, first.transfer_syntax, first.is_native, frames.len() == 1)
        .ok_or(DicomwebError::NotAcceptable)?;
    let content_type =
        HeaderValue::from_str(&layout.content_type()).map_err(|_| DicomwebError::Interrupted)?;
    let mut content = Vec::new();
    for frame in frames {
        content.extend_from_slice(layout.before_frame().as_bytes());
        content.extend_from_slice(&frame.bytes);
    }
    content.extend_from_slice(layout.end().as_bytes());
    Ok(assembled::with_type(content_type, body::full(content)))
}

/// The beginning of the response.
#[derive(Debug)]
enum Beginning {
    /// The frames follow.
    Frames { content_type: String },
    /// The client accepts no layout of the frames.
    NotAccepted,
    /// The instance, its pixel data or a requested frame does not exist.
    NotFound,
}

/// The layout of the response: the media type of a frame, and the parts if the response is multipart.
struct FrameLayout {
    frame_type: String,
    media_type: &'static str,
    parts: Option<PartWriter>,
}

impl FrameLayout {
    /// Chooses the layout that the client prefers; `None` if the client accepts none.
    fn choose(
        ranges: &[MediaRange],
        transfer_syntax: &'static str,
        is_native: bool,
        is_single: bool,
    ) -> Option<Self> {
        let (media_type, transfer_syntax) = if is_native {
            (OCTETS, EXPLICIT_VR_LITTLE_ENDIAN)
        } else {
            (media_type(transfer_syntax), transfer_syntax)
        };
        let parts = match choose_layout(ranges, Payload { media_type, transfer_syntax, is_single })? {
            PayloadLayout::Parts => Some(PartWriter::new()),
            PayloadLayout::Single => None,
        };
        let frame_type = if is_native {
            media_type.to_owned()
        } else {
            format!("{media_type}; transfer-syntax={transfer_syntax}")
        };
        Some(Self { frame_type, media_type, parts })
    }

    fn content_type(&self) -> String {
        self.parts
            .as_ref()
            .map_or_else(|| self.frame_type.clone(), |parts| parts.content_type(self.media_type))
    }

    fn before_frame(&mut self) -> String {
        self.parts.as_mut().map_or_else(String::new, |parts| parts.begin_part(&self.frame_type, None))
    }

    fn end(self) -> String {
        self.parts.map_or_else(String::new, PartWriter::end)
    }
}

/// The search for frames in the objects of a retrieval.
struct FrameSearch {
    instance: DicomResource,
    /// The requested numbers, starting at 1; empty for all frames.
    numbers: Vec<u32>,
    ranges: Vec<MediaRange>,
    cache: super::frame_cache::InstanceFrames,
}

impl FrameSearch {
    fn run(
        mut self,
        reader: &mut ObjectReader,
        output: &OutputSender,
        beginning: oneshot::Sender<Beginning>,
    ) -> Result<(), StreamError> {
        while reader.advance()? {
            let mut permit = reader.header_permit();
            let mut object = Object::open(&mut *reader, None).map_err(|error| to_stream_error(&error))?;
            let header = object.header_unless_large(|tag| FRAME_TAGS.contains(&tag), || permit.wait());
            let header = header.map_err(|error| to_stream_error(&error))?;
            // What remains of the header is small.
            drop(permit);
            // An archive may return other instances too.
            if is_requested_instance(&header, &self.instance) {
                return self.send_frames(&header, &mut object, output, beginning);
            }
        }
        Err(StreamError::Unreadable("only instances that were not requested"))
    }

    fn send_frames(
        &mut self,
        header: &Header,
        object: &mut impl Read,
        output: &OutputSender,
        beginning: oneshot::Sender<Beginning>,
    ) -> Result<(), StreamError> {
        // A video is one stream.
        let declared_count = number_of_frames(header.data.text(tags::NUMBER_OF_FRAMES));
        let count = if is_video(header.transfer_syntax) { 1 } else { declared_count };
        let is_requested_missing = self.numbers.iter().any(|number| *number as usize > count);
        let Some(pixel_data) = header.pixel_data.filter(|_| !is_requested_missing) else {
            report(beginning, Beginning::NotFound);
            return Ok(());
        };
        if self.numbers.is_empty() {
            self.numbers = (1..=u32::try_from(count).unwrap_or(u32::MAX)).collect();
        }
        let is_native = pixel_data.value.length.is_some();
        let mut frames = FrameReader::open(header, pixel_data.value, count, object)?;
        let mut next = frames.next(object)?;
        let syntax = header.transfer_syntax;
        let Some(mut layout) = FrameLayout::choose(&self.ranges, syntax, is_native, self.numbers.len() == 1)
        else {
            report(beginning, Beginning::NotAccepted);
            return Ok(());
        };
        let frames_follow = Beginning::Frames { content_type: layout.content_type() };
        let mut held = HeldOutput::new(output, beginning, frames_follow);
        let mut order = FrameOrder::new(&self.numbers);
        let mut number = 0;
        while let Some(bytes) = next {
            number += 1;
            held.count_read(bytes.len())?;
            self.cache.collect(number, &self.numbers, || CachedFrame {
                bytes: bytes.clone(),
                transfer_syntax: syntax,
                is_native,
            });
            for frame in order.receive(number, bytes)? {
                held.send(layout.before_frame().into())?;
                held.send(frame)?;
            }
            next = frames.next(object)?;
        }
        if !order.is_complete() {
            return Err(INDISTINGUISHABLE);
        }
        self.cache.store();
        held.begin()?;
        held.send(layout.end().into())
    }
}

/// Reports how the response begins.
fn report(sender: oneshot::Sender<Beginning>, beginning: Beginning) {
    // The client may have disconnected.
    let _ = sender.send(beginning);
}

/// Puts frames, which are read in ascending order, into the requested order.
struct FrameOrder<'a> {
    /// The requested numbers that have not been sent.
    remaining: &'a [u32],
    buffered: BTreeMap<u32, Bytes>,
}

impl<'a> FrameOrder<'a> {
    fn new(numbers: &'a [u32]) -> Self {
        Self { remaining: numbers, buffered: BTreeMap::new() }
    }

    /// Returns the frames that can be sent after frame `number` was read.
    fn receive(&mut self, number: u32, frame: Bytes) -> Result<Vec<Bytes>, StreamError> {
        if self.remaining.contains(&number) {
            self.buffered.insert(number, frame);
        }
        let mut sendable_frames = Vec::new();
        while let Some((next, rest)) = self.remaining.split_first()
            && let Some(frame) = self.buffered.get(next).cloned()
        {
            self.remaining = rest;
            if !rest.contains(next) {
                self.buffered.remove(next);
            }
            sendable_frames.push(frame);
        }
        if self.buffered.values().map(Bytes::len).sum::<usize>() > MAX_BUFFERED_SIZE {
            return Err(StreamError::Unreadable(
                "frames that are too large to be sent in the requested order",
            ));
        }
        Ok(sendable_frames)
    }

    fn is_complete(&self) -> bool {
        self.remaining.is_empty()
    }
}

/// Reads the frames of an image one after the other.
enum FrameReader {
    Native(NativeReader),
    Encapsulated { stream: Stream, next: Option<FramePart> },
}

impl FrameReader {
    /// Opens the pixel data with `value`. `object` must be at the first byte of the value.
    fn open(
        header: &Header,
        value: StoredValue,
        count: usize,
        object: &mut impl Read,
    ) -> Result<Self, StreamError> {
        let Some(length) = value.length else {
            let extended = header.extended_offsets.as_ref();
            let mut stream = Stream::open(object, count, header.transfer_syntax, extended)
                .map_err(|error| frame_error(&error))?;
            let next = stream.next(object).map_err(|error| frame_error(&error))?;
            return Ok(Self::Encapsulated { stream, next });
        };
        let attributes = FrameAttributes::from_data_set(&header.data).ok_or(INDISTINGUISHABLE)?;
        let frames = NativeFrames::new(&attributes, count, length, value.swapped_word_size)
            .map_err(|_| INDISTINGUISHABLE)?;
        Ok(Self::Native(NativeReader { frames, length, value, index: 0, position: 0, last_word: Vec::new() }))
    }

    /// Returns the next frame; `None` after the last one.
    fn next(&mut self, object: &mut impl Read) -> Result<Option<Bytes>, StreamError> {
        match self {
            Self::Native(reader) => reader.next(object),
            Self::Encapsulated { stream, next } => {
                let Some(first) = next.take() else { return Ok(None) };
                let mut frame = Vec::from(first.bytes);
                loop {
                    match stream.next(object).map_err(|error| frame_error(&error))? {
                        Some(piece) if !piece.begins_frame => frame.extend_from_slice(&piece.bytes),
                        other => {
                            *next = other;
                            return Ok(Some(frame.into()));
                        }
                    }
                    if frame.len() > MAX_BUFFERED_SIZE {
                        return Err(StreamError::Unreadable("a frame that is too large"));
                    }
                }
            }
        }
    }
}

/// Reads native frames.
struct NativeReader {
    frames: NativeFrames,
    length: u64,
    value: StoredValue,
    index: usize,
    /// The number of bytes of the value that have been read.
    position: u64,
    /// The last word that was read, which may also contain the beginning of the next frame.
    last_word: Vec<u8>,
}

impl NativeReader {
    fn next(&mut self, object: &mut impl Read) -> Result<Option<Bytes>, StreamError> {
        let Some(frame) = self.frames.frame(self.index) else {
            self.skip_rest(object)?;
            return Ok(None);
        };
        self.index += 1;
        if frame.range.length > MAX_BUFFERED_SIZE as u64 {
            return Err(StreamError::Unreadable("a frame that is too large"));
        }
        let shared_len =
            usize::try_from(self.position.saturating_sub(frame.range.offset)).unwrap_or(usize::MAX);
        let first_shared = self.last_word.len().saturating_sub(shared_len);
        let mut bytes = self.last_word.split_off(first_shared);
        let end = frame.range.offset + frame.range.length;
        let missing_len = end.saturating_sub(self.position);
        let read_len = object.take(missing_len).read_to_end(&mut bytes).map_err(|_| TRUNCATED)?;
        if (read_len as u64) < missing_len {
            return Err(TRUNCATED);
        }
        self.position += missing_len;
        let word_size = self.value.swapped_word_size.max(1);
        self.last_word = bytes.get(bytes.len().saturating_sub(word_size)..).unwrap_or_default().to_vec();
        swap_words(&mut bytes, self.value.swapped_word_size);
        Ok(Some(frame.extract(bytes).into()))
    }

    /// Reads the padding after the last frame. An instance that ends inside the value is truncated.
    fn skip_rest(&mut self, object: &mut impl Read) -> Result<(), StreamError> {
        let rest = self.length.saturating_sub(self.position);
        self.position = self.length;
        let skipped = std::io::copy(&mut object.take(rest), &mut std::io::sink()).map_err(|_| TRUNCATED)?;
        if skipped < rest { Err(TRUNCATED) } else { Ok(()) }
    }
}
