//! Reads the objects of a retrieval (PS3.18 10.4.1.1.1) while they arrive: a task feeds a blocking thread, because reading a
//! DICOM object cannot be suspended.
//!
//! At most [`MAX_PIECES_AHEAD`] pieces of the archive's response and one piece of output are buffered; a slow client slows the
//! archive down, and a client that disconnects cancels the request. There is at most one such thread per retrieval permit of an
//! archive. A response that is incomplete is an error, even if the part that arrived is readable.

use std::io::{self, Read};

use bytes::{Buf, Bytes};
use futures_util::future::poll_fn;
use futures_util::stream::{self, StreamExt};
use http::{HeaderValue, StatusCode, header};
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::list::RowStream;
use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::proxy::response_headers::{content_type_of, essence};
use crate::dicomweb::proxy::stream::ByteSource;
use crate::dicomweb::proxy::stream_error::StreamError;
use crate::upstream::{Archive, ContentCoding, DicomResource, Retrieval, UpstreamRequest, UpstreamResponse};
use http_messages::multipart::boundary_of;
use http_messages::multipart::reader::{PartEvent, PartReader};

/// The media types that an archive is asked for, one after the other until it does not reject them: that of PS3.18 8.7.3.3, one
/// for archives that do not know `transfer-syntax=*`, and one for a single object.
const ACCEPTED: [HeaderValue; 3] = [
    HeaderValue::from_static("multipart/related; type=\"application/dicom\"; transfer-syntax=*"),
    HeaderValue::from_static("multipart/related; type=\"application/dicom\""),
    HeaderValue::from_static("application/dicom; transfer-syntax=*"),
];

/// Each piece has tens of kilobytes.
const MAX_PIECES_AHEAD: usize = 8;

/// The objects of a retrieval whose response has begun.
#[derive(Debug)]
pub(super) struct InstanceStream {
    source: ByteSource,
    framing: ObjectFraming,
}

/// How the objects are delimited.
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
    for media_types in ACCEPTED {
        let request = UpstreamRequest::retrieve(Retrieval::whole(objects.clone())).with_accept(media_types);
        let upstream = archive.send(request).await?;
        let error = match upstream.status {
            StatusCode::OK => {
                return InstanceStream::of(upstream).map_err(|what| archive.unreadable(what).into());
            }
            // Some of the objects are missing (PS3.18 table 10.4.3-1): a result without them would look complete.
            StatusCode::PARTIAL_CONTENT => {
                return Err(archive.unreadable("only some of the instances").into());
            }
            StatusCode::NO_CONTENT => DicomwebError::not_held(archive),
            status => DicomwebError::refused(archive, status, &upstream.headers),
        };
        if !error.leaves_other_media_types() {
            return Err(error);
        }
        rejection.get_or_insert(error);
    }
    Err(rejection.unwrap_or(DicomwebError::NotAcceptable))
}

impl InstanceStream {
    fn of(upstream: UpstreamResponse) -> Result<Self, &'static str> {
        let UpstreamResponse { headers, body, .. } = upstream;
        let content_type = content_type_of(&headers);
        let framing = match essence(&content_type).as_str() {
            "multipart/related" | "multipart/mixed" => {
                let boundary = boundary_of(&content_type).ok_or("parts without a boundary")?;
                ObjectFraming::Parts(Box::new(PartReader::new(boundary)))
            }
            // Without a length, a broken connection looks like the end of the object.
            "application/dicom"
                if headers.contains_key(header::CONTENT_LENGTH)
                    || headers.contains_key(header::TRANSFER_ENCODING) =>
            {
                ObjectFraming::Single
            }
            "application/dicom" => return Err("an object without its length"),
            _ => return Err("something other than DICOM objects"),
        };
        let source = match ContentCoding::of(&headers)? {
            ContentCoding::Identity => ByteSource::Plain(body),
            ContentCoding::Gzip => ByteSource::gunzip(Bytes::new(), body),
        };
        Ok(Self { source, framing })
    }

    /// Runs `work` with the objects on a blocking thread, and returns its output. The output is complete if `work` succeeds.
    pub(super) fn process(
        self,
        work: impl FnOnce(&mut ObjectReader, &OutputSender) -> Result<(), StreamError> + Send + 'static,
    ) -> RowStream {
        let (pieces, received) = mpsc::channel(MAX_PIECES_AHEAD);
        let (sender, output) = mpsc::channel(1);
        let watched = sender.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = watched.closed() => {}
                () = self.feed(pieces) => {}
            }
        });
        tokio::task::spawn_blocking(move || {
            let output = OutputSender { sender };
            let mut objects = ObjectReader {
                pieces: received,
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
        let pieces = stream::try_unfold(output, |mut output| async move {
            // A thread that ends without sending its outcome has panicked.
            let piece = output.recv().await.unwrap_or(Err(StreamError::Interrupted))?;
            Ok(piece.map(|piece| (piece, output)))
        });
        pieces.boxed()
    }

    /// Reads the archive's response until it ends or its reader is dropped.
    async fn feed(mut self, pieces: Sender<Result<ReaderInput, StreamError>>) {
        loop {
            let read = poll_fn(|context| self.source.poll_piece(context)).await;
            let mut inputs = Vec::new();
            let ended = read.is_none();
            let outcome = self.framing.read(read, &mut |piece| inputs.push(Ok(ReaderInput::Event(piece))));
            match outcome {
                Ok(()) if ended => inputs.push(Ok(ReaderInput::Complete)),
                Ok(()) => {}
                Err(error) => inputs.push(Err(error)),
            }
            let is_last = ended || inputs.last().is_some_and(Result::is_err);
            for input in inputs {
                if pieces.send(input).await.is_err() {
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
        read: Option<Result<Bytes, StreamError>>,
        each: &mut impl FnMut(PartEvent),
    ) -> Result<(), StreamError> {
        match (self, read.transpose()?) {
            (Self::Parts(parts), Some(chunk)) => Ok(parts.push(chunk, each)?),
            (Self::Parts(parts), None) => Ok(parts.finish(each)?),
            (Self::Single, Some(chunk)) => {
                each(PartEvent::Data(chunk));
                Ok(())
            }
            (Self::Single, None) => {
                each(PartEvent::End);
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

/// The position of the thread in the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ObjectState {
    /// Before an object.
    Between,
    /// In an object.
    Inside,
    /// At the end of the response, or where it failed.
    AtEnd,
}

/// The objects as they are received. Reading returns the bytes of one object, up to its end.
#[derive(Debug)]
pub(super) struct ObjectReader {
    pieces: Receiver<Result<ReaderInput, StreamError>>,
    current: Bytes,
    state: ObjectState,
    failure: Option<StreamError>,
}

impl ObjectReader {
    /// Advances to the next object and returns whether there is one. The rest of the object before is skipped.
    pub(super) fn next(&mut self) -> Result<bool, StreamError> {
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

    /// Waits for the next input.
    fn receive(&mut self) {
        self.current = Bytes::new();
        match self.pieces.blocking_recv().unwrap_or(Err(StreamError::Incomplete)) {
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

/// Sends the output of the blocking thread.
#[derive(Debug)]
pub(super) struct OutputSender {
    sender: Sender<Result<Option<Bytes>, StreamError>>,
}

impl OutputSender {
    /// Sends a piece; an error if the client has disconnected.
    pub(super) fn send(&self, piece: Bytes) -> Result<(), StreamError> {
        self.sender.blocking_send(Ok(Some(piece))).map_err(|_| StreamError::Interrupted)
    }
}
