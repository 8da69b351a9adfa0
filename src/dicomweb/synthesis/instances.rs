//! Objects of a retrieval (PS3.18 10.4.1.1.1), read while they come: a task feeds a thread that may wait for bytes, as
//! reading a DICOM object cannot be left and taken up again.
//!
//! At most [`PIECES_AHEAD`] pieces of the archive's answer and one of what is made of them are held; a client that is slow
//! slows the archive down, and one that goes away ends the call. Such threads are as many as retrievals that an archive
//! has permits for. An answer that breaks off is an error also where what came of it could be read.

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
use crate::upstream::{Archive, DicomResource, Retrieval, UpstreamRequest, UpstreamResponse};
use http_messages::multipart::boundary_of;
use http_messages::multipart::reader::{PartEvent, PartReader};

/// How an archive is asked, one after the other until it does not refuse: as PS3.18 8.7.3.3 has it, as archives know it that
/// cannot read a transfer syntax of any kind, and for a single object as it is.
const ACCEPTED: [HeaderValue; 3] = [
    HeaderValue::from_static("multipart/related; type=\"application/dicom\"; transfer-syntax=*"),
    HeaderValue::from_static("multipart/related; type=\"application/dicom\""),
    HeaderValue::from_static("application/dicom; transfer-syntax=*"),
];

/// Pieces of some tens of kilobytes each.
const PIECES_AHEAD: usize = 8;

/// The objects of a retrieval that the archive has begun to answer.
#[derive(Debug)]
pub(super) struct InstanceStream {
    source: ByteSource,
    parting: ObjectFraming,
}

/// How the objects are delimited.
#[derive(Debug)]
enum ObjectFraming {
    /// Each is a part.
    Parts(Box<PartReader>),
    /// There is only the one.
    Alone,
}

/// Asks `archive` for `objects` as they are stored.
pub(super) async fn retrieve(
    archive: &Archive,
    objects: &DicomResource,
) -> Result<InstanceStream, DicomwebError> {
    let mut refusal = None;
    for media_types in ACCEPTED {
        let request = UpstreamRequest::retrieve(Retrieval::whole(objects.clone())).accepting(media_types);
        let upstream = archive.send(request).await?;
        let error = match upstream.status {
            StatusCode::OK => {
                return InstanceStream::of(upstream).map_err(|what| archive.unreadable(what).into());
            }
            // Some of the objects are missing (PS3.18 table 10.4.3-1): what was made of the others would look whole.
            StatusCode::PARTIAL_CONTENT => {
                return Err(archive.unreadable("only some of the instances").into());
            }
            StatusCode::NO_CONTENT => {
                DicomwebError::refused(archive, StatusCode::NOT_FOUND, &upstream.headers)
            }
            status => DicomwebError::refused(archive, status, &upstream.headers),
        };
        if !error.leaves_other_media_types() {
            return Err(error);
        }
        refusal.get_or_insert(error);
    }
    Err(refusal.unwrap_or(DicomwebError::NotAcceptable))
}

impl InstanceStream {
    fn of(upstream: UpstreamResponse) -> Result<Self, &'static str> {
        let UpstreamResponse { headers, body, .. } = upstream;
        let content_type = content_type_of(&headers);
        let parting = match essence(&content_type).as_str() {
            "multipart/related" | "multipart/mixed" => {
                let boundary = boundary_of(&content_type).ok_or("parts without a boundary")?;
                ObjectFraming::Parts(Box::new(PartReader::new(boundary)))
            }
            // Where nothing tells the length, a connection that breaks ends an object as well as its last byte does.
            "application/dicom"
                if headers.contains_key(header::CONTENT_LENGTH)
                    || headers.contains_key(header::TRANSFER_ENCODING) =>
            {
                ObjectFraming::Alone
            }
            "application/dicom" => return Err("an object without its length"),
            _ => return Err("something else than DICOM objects"),
        };
        let source = match headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
            None | Some(b"identity" | b"") => ByteSource::Plain(body),
            Some(b"gzip" | b"x-gzip") => ByteSource::gunzip(Bytes::new(), body),
            Some(_) => return Err("a content encoding that was not asked for"),
        };
        Ok(Self { source, parting })
    }

    /// Hands the objects to `work`, on a thread that may wait, and gives what it makes of them. What is made is whole when
    /// `work` ends well.
    pub(super) fn worked(
        self,
        work: impl FnOnce(&mut Received, &Made) -> Result<(), StreamError> + Send + 'static,
    ) -> RowStream {
        let (pieces, received) = mpsc::channel(PIECES_AHEAD);
        let (to, made) = mpsc::channel(1);
        let watched = Made { to: to.clone() };
        tokio::spawn(async move {
            tokio::select! {
                () = watched.to.closed() => {}
                () = self.feed(pieces) => {}
            }
        });
        tokio::task::spawn_blocking(move || {
            let made = Made { to };
            let mut received = Received {
                pieces: received,
                current: Bytes::new(),
                place: ObjectState::Between,
                failure: None,
            };
            let outcome = work(&mut received, &made);
            let end = match (received.failure, outcome) {
                (Some(error), _) | (None, Err(error)) => Err(error),
                (None, Ok(())) => Ok(None),
            };
            // Nobody may be left to be told.
            let _ = made.to.blocking_send(end);
        });
        let pieces = stream::try_unfold(made, |mut made| async move {
            // A thread that ends without a word has failed.
            let piece = made.recv().await.unwrap_or(Err(StreamError::Interrupted))?;
            Ok(piece.map(|piece| (piece, made)))
        });
        pieces.boxed()
    }

    /// Reads the archive's answer until it ends or nobody wants it.
    async fn feed(mut self, pieces: Sender<Result<ReaderInput, StreamError>>) {
        loop {
            let read = poll_fn(|context| self.source.poll_piece(context)).await;
            let mut fed = Vec::new();
            let ended = read.is_none();
            let outcome = self.parting.read(read, &mut |piece| fed.push(Ok(ReaderInput::Event(piece))));
            match outcome {
                Ok(()) if ended => fed.push(Ok(ReaderInput::Whole)),
                Ok(()) => {}
                Err(error) => fed.push(Err(error)),
            }
            let is_last = ended || fed.last().is_some_and(Result::is_err);
            for one in fed {
                if pieces.send(one).await.is_err() {
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
            (Self::Alone, Some(chunk)) => {
                each(PartEvent::Data(chunk));
                Ok(())
            }
            (Self::Alone, None) => {
                each(PartEvent::End);
                Ok(())
            }
        }
    }
}

/// What the thread is fed with.
#[derive(Debug)]
enum ReaderInput {
    Event(PartEvent),
    /// The answer has ended as it should.
    Whole,
}

/// Where in the answer the thread stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ObjectState {
    /// Before an object.
    Between,
    /// In an object.
    Inside,
    /// At the end of the answer, or where it broke.
    AtEnd,
}

/// The objects as they are received. Reading gives the bytes of one, to its end.
#[derive(Debug)]
pub(super) struct Received {
    pieces: Receiver<Result<ReaderInput, StreamError>>,
    current: Bytes,
    place: ObjectState,
    failure: Option<StreamError>,
}

impl Received {
    /// Goes on to the next object; whether there is one. What is left of the one before is passed over.
    pub(super) fn next(&mut self) -> Result<bool, StreamError> {
        while self.place == ObjectState::Inside {
            self.receive();
        }
        while self.place == ObjectState::Between {
            self.receive();
        }
        match &self.failure {
            Some(error) => Err(error.clone()),
            None => Ok(self.place == ObjectState::Inside),
        }
    }

    /// Waits for what comes next.
    fn receive(&mut self) {
        self.current = Bytes::new();
        match self.pieces.blocking_recv().unwrap_or(Err(StreamError::Incomplete)) {
            Ok(ReaderInput::Event(PartEvent::Begin)) => self.place = ObjectState::Inside,
            // An object that stands alone begins with its first byte.
            Ok(ReaderInput::Event(PartEvent::Data(bytes))) => {
                self.current = bytes;
                self.place = ObjectState::Inside;
            }
            Ok(ReaderInput::Event(PartEvent::End)) => self.place = ObjectState::Between,
            Ok(ReaderInput::Whole) => self.place = ObjectState::AtEnd,
            Err(error) => {
                self.failure = Some(error);
                self.place = ObjectState::AtEnd;
            }
        }
    }
}

impl Read for Received {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && self.place == ObjectState::Inside {
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

/// Where what is made goes.
#[derive(Debug)]
pub(super) struct Made {
    to: Sender<Result<Option<Bytes>, StreamError>>,
}

impl Made {
    /// Hands over a piece; an error when nobody wants it any more.
    pub(super) fn give(&self, piece: Bytes) -> Result<(), StreamError> {
        self.to.blocking_send(Ok(Some(piece))).map_err(|_| StreamError::Interrupted)
    }
}
