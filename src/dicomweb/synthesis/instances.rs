//! Reads the objects of a retrieval (PS3.18 10.4.1.1.1) while they arrive. A task passes the response to a blocking thread,
//! because the parser of DICOM objects is not async.
//!
//! At most [`MAX_BUFFERED_CHUNKS`] chunks of the response and one chunk of the output are buffered. A slow client therefore slows
//! down the transfer from the archive, and a client that disconnects cancels the request. There is at most one blocking thread per
//! retrieval permit of an archive. An incomplete response is an error, even if the part that arrived is readable.

use std::io::{self, Read};

use bytes::{Buf, Bytes};
use futures_util::future::poll_fn;
use futures_util::stream::{self, StreamExt};
use http::{HeaderMap, StatusCode, header};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::list::RowStream;
use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::proxy::read_ahead::read_to_first_row;
use crate::dicomweb::proxy::response_headers::{content_type_of, essence};
use crate::dicomweb::proxy::stream::ByteSource;
use crate::dicomweb::proxy::stream_error::StreamError;
use crate::upstream::{
    Archive, ContentCoding, DicomResource, LargeObjectPermit, OBJECT_MEDIA_TYPES, Retrieval, UpstreamRequest,
    UpstreamResponse,
};
use dicom_model::part10::Header;
use dicom_model::tags;
use http_messages::multipart::boundary_of;
use http_messages::multipart::reader::{PartEvent, PartReader};

/// Maximum number of buffered chunks of the response. A chunk has tens to hundreds of kilobytes.
const MAX_BUFFERED_CHUNKS: usize = 4;

/// The content of a response without objects.
const NO_OBJECTS: &str = "something other than DICOM objects";

/// The objects of a retrieval whose response has begun.
#[derive(Debug)]
pub(super) struct InstanceStream {
    archive: Archive,
    source: ByteSource,
    framing: ObjectFraming,
}

/// The framing of the objects in the body.
#[derive(Debug)]
enum ObjectFraming {
    /// Each object is a part.
    Parts(Box<PartReader>),
    /// The body is a single object.
    Single,
}

/// Retrieves `objects` from `archive` in their stored transfer syntax.
pub(super) async fn retrieve(
    archive: &Archive,
    objects: &DicomResource,
) -> Result<InstanceStream, DicomwebError> {
    let mut rejection = None;
    for media_types in OBJECT_MEDIA_TYPES {
        let request = UpstreamRequest::retrieve(Retrieval::whole(objects.clone())).with_accept(media_types);
        let upstream = archive.send(request).await?;
        let error = match upstream.status {
            StatusCode::OK if is_json(&upstream.headers) => {
                let mut source = source_of(upstream).map_err(|content| archive.unreadable(content))?;
                match read_to_first_row(archive, Bytes::new(), &mut source).await? {
                    Some(_) => archive.unreadable(NO_OBJECTS).into(),
                    None => DicomwebError::nothing_returned(archive),
                }
            }
            StatusCode::OK => {
                return InstanceStream::from_response(archive, upstream)
                    .map_err(|content| archive.unreadable(content).into());
            }
            // Some of the objects are missing (PS3.18 table 10.4.3-1). A result without them would appear to be complete.
            StatusCode::PARTIAL_CONTENT => {
                return Err(archive.unreadable("only some of the instances").into());
            }
            StatusCode::NO_CONTENT => DicomwebError::nothing_returned(archive),
            status => DicomwebError::from_status(archive, status, &upstream.headers),
        };
        if !error.is_specific_to_media_type() {
            return Err(error);
        }
        rejection.get_or_insert(error);
    }
    Err(rejection.unwrap_or(DicomwebError::NotAcceptable))
}

/// Whether the object with `header` is `instance`. The header may lack the UIDs of its study and series.
pub(super) fn is_requested_instance(header: &Header, instance: &DicomResource) -> bool {
    let DicomResource::Instance(study, series, uid) = instance else { return false };
    let has = |tag, expected: &str| header.data.text(tag).is_none_or(|text| text == expected);
    header.data.text(tags::SOP_INSTANCE_UID) == Some(uid.as_str())
        && has(tags::STUDY_INSTANCE_UID, study.as_str())
        && has(tags::SERIES_INSTANCE_UID, series.as_str())
}

/// Whether a response with these headers declares JSON.
fn is_json(headers: &HeaderMap) -> bool {
    matches!(essence(&content_type_of(headers)).as_str(), "application/json" | "application/dicom+json")
}

/// Returns the decoded bytes of a response.
fn source_of(upstream: UpstreamResponse) -> Result<ByteSource, &'static str> {
    Ok(match ContentCoding::from_headers(&upstream.headers)? {
        ContentCoding::Identity => ByteSource::Plain(upstream.body),
        ContentCoding::Gzip => ByteSource::gunzip(Bytes::new(), upstream.body),
    })
}

impl InstanceStream {
    fn from_response(archive: &Archive, upstream: UpstreamResponse) -> Result<Self, &'static str> {
        let headers = &upstream.headers;
        let content_type = content_type_of(headers);
        let framing = match essence(&content_type).as_str() {
            "multipart/related" | "multipart/mixed" => {
                let boundary = boundary_of(&content_type).ok_or("parts without a boundary")?;
                ObjectFraming::Parts(Box::new(PartReader::new(boundary)))
            }
            // Without a length, a closed connection cannot be distinguished from the end of the object.
            "application/dicom"
                if headers.contains_key(header::CONTENT_LENGTH)
                    || headers.contains_key(header::TRANSFER_ENCODING) =>
            {
                ObjectFraming::Single
            }
            "application/dicom" => return Err("an object without its length"),
            _ => return Err(NO_OBJECTS),
        };
        Ok(Self { archive: archive.clone(), source: source_of(upstream)?, framing })
    }

    /// Runs `work` with the objects on a blocking thread, and returns its output. If `work` fails, the output ends with an error.
    pub(super) fn process(
        self,
        work: impl FnOnce(&mut ObjectReader, &OutputSender) -> Result<(), StreamError> + Send + 'static,
    ) -> RowStream {
        let (inputs, input_receiver) = mpsc::channel(MAX_BUFFERED_CHUNKS);
        let (sender, output) = mpsc::channel(1);
        let closed_watch = sender.clone();
        let archive = self.archive.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = closed_watch.closed() => {}
                () = self.send_inputs(inputs) => {}
            }
        });
        tokio::task::spawn_blocking(move || {
            let output = OutputSender { sender };
            let mut objects = ObjectReader {
                archive,
                inputs: input_receiver,
                current: Bytes::new(),
                state: ObjectState::Between,
                failure: None,
            };
            let outcome = work(&mut objects, &output);
            let end = match (objects.failure, outcome) {
                (Some(error), _) | (None, Err(error)) => Err(error),
                (None, Ok(())) => Ok(None),
            };
            // The client may have disconnected.
            let _ = output.sender.blocking_send(end);
        });
        let chunks = stream::try_unfold(output, |mut output| async move {
            // A thread that ends without sending its result has panicked.
            let chunk = output.recv().await.unwrap_or(Err(StreamError::Interrupted))?;
            Ok(chunk.map(|chunk| (chunk, output)))
        });
        chunks.boxed()
    }

    /// Sends the response of the archive to `sender` until it ends or the receiver is dropped.
    async fn send_inputs(mut self, sender: Sender<Result<ReaderInput, StreamError>>) {
        loop {
            let chunk = poll_fn(|context| self.source.poll_piece(context)).await;
            let mut inputs = Vec::new();
            let has_ended = chunk.is_none();
            let outcome = self.framing.read(chunk, &mut |event| inputs.push(Ok(ReaderInput::Event(event))));
            match outcome {
                Ok(()) if has_ended => inputs.push(Ok(ReaderInput::Complete)),
                Ok(()) => {}
                Err(error) => inputs.push(Err(error)),
            }
            let is_last = has_ended || inputs.last().is_some_and(Result::is_err);
            for input in inputs {
                if sender.send(input).await.is_err() {
                    return;
                }
            }
            if is_last {
                return;
            }
        }
    }
}

impl ObjectFraming {
    fn read(
        &mut self,
        chunk: Option<Result<Bytes, StreamError>>,
        emit: &mut impl FnMut(PartEvent),
    ) -> Result<(), StreamError> {
        match (self, chunk.transpose()?) {
            (Self::Parts(parts), Some(chunk)) => Ok(parts.push(chunk, emit)?),
            (Self::Parts(parts), None) => Ok(parts.finish(emit)?),
            (Self::Single, Some(chunk)) => {
                emit(PartEvent::Data(chunk));
                Ok(())
            }
            (Self::Single, None) => {
                emit(PartEvent::End);
                Ok(())
            }
        }
    }
}

/// The input of the blocking thread.
#[derive(Debug)]
enum ReaderInput {
    Event(PartEvent),
    /// The response is complete.
    Complete,
}

/// The position of the reader in the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ObjectState {
    /// Before an object.
    Between,
    /// In an object.
    Inside,
    /// At the end of the response, or at an error.
    AtEnd,
}

/// A reader of the objects while they arrive. Reading returns the bytes of one object, up to its end.
#[derive(Debug)]
pub(super) struct ObjectReader {
    archive: Archive,
    inputs: Receiver<Result<ReaderInput, StreamError>>,
    current: Bytes,
    state: ObjectState,
    failure: Option<StreamError>,
}

impl ObjectReader {
    /// Skips the rest of the current object, and advances to the next one; returns whether there is a next object.
    pub(super) fn advance(&mut self) -> Result<bool, StreamError> {
        while self.state == ObjectState::Inside {
            self.receive();
        }
        while self.state == ObjectState::Between {
            self.receive();
        }
        match &self.failure {
            Some(error) => Err(error.clone()),
            None => Ok(self.state == ObjectState::Inside),
        }
    }

    /// Returns the permit for the header of the next object, which is acquired only if the header is large.
    pub(super) fn header_permit(&self) -> HeaderPermit {
        HeaderPermit { archive: self.archive.clone(), permit: None }
    }

    /// Waits for the next input.
    fn receive(&mut self) {
        self.current = Bytes::new();
        match self.inputs.blocking_recv().unwrap_or(Err(StreamError::Incomplete)) {
            Ok(ReaderInput::Event(PartEvent::Begin)) => self.state = ObjectState::Inside,
            // A single object begins with its first byte.
            Ok(ReaderInput::Event(PartEvent::Data(bytes))) => {
                self.current = bytes;
                self.state = ObjectState::Inside;
            }
            Ok(ReaderInput::Event(PartEvent::End)) => self.state = ObjectState::Between,
            Ok(ReaderInput::Complete) => self.state = ObjectState::AtEnd,
            Err(error) => {
                self.failure = Some(error);
                self.state = ObjectState::AtEnd;
            }
        }
    }
}

/// The permit for a large header. The header must be dropped before the permit.
#[derive(Debug)]
pub(super) struct HeaderPermit {
    archive: Archive,
    permit: Option<LargeObjectPermit>,
}

impl HeaderPermit {
    /// Waits for the permit on a blocking thread.
    pub(super) fn wait(&mut self) -> io::Result<()> {
        let permit = Handle::current().block_on(self.archive.large_object_permit());
        self.permit = Some(permit.map_err(|error| io::Error::other(StreamError::from(error)))?);
        Ok(())
    }
}

impl Read for ObjectReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && self.state == ObjectState::Inside {
            self.receive();
        }
        if let Some(error) = &self.failure {
            return Err(io::Error::other(error.clone()));
        }
        let length = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

/// The sender of the output of the blocking thread.
#[derive(Debug)]
pub(super) struct OutputSender {
    sender: Sender<Result<Option<Bytes>, StreamError>>,
}

impl OutputSender {
    /// Sends a chunk; an error if the client has disconnected.
    pub(super) fn send(&self, chunk: Bytes) -> Result<(), StreamError> {
        self.sender.blocking_send(Ok(Some(chunk))).map_err(|_| StreamError::Interrupted)
    }
}
