//! Bodies of answers. A body is an iterator of chunks whose steps may read files: each step runs on the blocking pool
//! when the connection wants the next chunk and not before, so a slow client holds one chunk and no thread.

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::StreamBody;
use http_messages::body::{self, Body, BoxError};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;
use tokio::sync::Semaphore;

use dicom_core::{Tag, VR};
use dicom_model::data_set::{ByteRange, swap_words};
use dicom_model::part10::{Header, Object, ReadError, is_deflated};
use std::path::{Path, PathBuf};

/// How much of a file is in memory for one answer.
const CHUNK: u64 = 128 * 1024;

/// Pieces of a body, in order.
pub(super) type Chunks = Box<dyn Iterator<Item = io::Result<Bytes>> + Send>;

/// A body whose chunks are made one by one as they are wanted; `readers` bounds how many are made at once.
pub(super) fn streamed(chunks: Chunks, readers: Arc<Semaphore>) -> Body {
    let steps = stream::try_unfold((chunks, readers), |(mut chunks, readers)| async move {
        let permit = Arc::clone(&readers).acquire_owned().await?;
        let step = tokio::task::spawn_blocking(move || (chunks.next(), chunks)).await?;
        drop(permit);
        let (chunk, chunks) = step;
        Ok::<_, BoxError>(chunk.transpose()?.map(|chunk| (Frame::data(chunk), (chunks, readers))))
    });
    body::streamed(StreamBody::new(steps))
}

/// Reads the header of the file at `path`; of the top-level elements only those that `wanted` accepts.
pub(super) fn header(path: &Path, wanted: impl Fn(Tag) -> bool) -> Result<Header, ReadError> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    Object::open(BufReader::new(file), Some(size))?.header(wanted)
}

/// A stretch of a file, or of what it inflates to.
#[derive(Debug, Clone)]
pub(super) struct Stretch {
    /// The file.
    pub path: PathBuf,
    /// Whether the range counts in the inflated data set of a deflated file.
    pub(super) inflated: bool,
    /// Which bytes.
    pub range: ByteRange,
    /// The size of the words whose bytes are turned round, for big-endian files; one leaves them.
    pub swap: usize,
}

impl Stretch {
    /// The bytes of a value that was left in the file at `path`, whose header this is.
    pub(super) fn of(header: &Header, path: &Path, vr: VR, range: ByteRange) -> Self {
        let inflated = is_deflated(header.transfer_syntax);
        Self { path: path.to_owned(), inflated, range, swap: header.swapped_words(vr) }
    }

    /// All the bytes at once, for what is known to be small.
    pub(super) fn bytes(self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for chunk in self.chunks() {
            bytes.extend_from_slice(&chunk?);
        }
        Ok(bytes)
    }

    /// The bytes, in chunks. A file that has become shorter breaks the body off.
    pub(super) fn chunks(self) -> Chunks {
        let mut left = self.range.length;
        let mut source: Option<Box<dyn Read + Send>> = None;
        Box::new(std::iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            let chunk = (|| {
                let reader = match &mut source {
                    Some(reader) => reader,
                    None => source.insert(self.open()?),
                };
                let mut bytes = Vec::with_capacity(usize::try_from(left.min(CHUNK)).unwrap_or_default());
                reader.take(left.min(CHUNK)).read_to_end(&mut bytes)?;
                if bytes.is_empty() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                left -= bytes.len() as u64;
                swap_words(&mut bytes, self.swap);
                Ok(bytes.into())
            })();
            if chunk.is_err() {
                left = 0;
            }
            Some(chunk)
        }))
    }

    fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        let mut file = File::open(&self.path)?;
        if !self.inflated {
            file.seek(SeekFrom::Start(self.range.offset))?;
            return Ok(Box::new(file));
        }
        let mut inflated = Object::open(BufReader::new(file), None).map_err(io::Error::other)?;
        io::copy(&mut inflated.by_ref().take(self.range.offset), &mut io::sink())?;
        Ok(Box::new(inflated))
    }
}
