//! Response bodies. A body is an iterator of chunks that may read files. Each step runs on the blocking thread pool when the
//! connection needs the next chunk, so a slow client occupies the memory of one chunk and no thread. This module does not know
//! about media types.

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::StreamBody;
use http_messages::body::{self, Body, BoxError};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;
use tokio::sync::Semaphore;

use dicom_core::Tag;
use dicom_model::data_set::{ByteRange, swap_words};
use dicom_model::part10::{Header, Object, ReadError, StoredValue, is_deflated};
use std::path::{Path, PathBuf};

/// Maximum chunk size in bytes.
const MAX_CHUNK_SIZE: u64 = 128 * 1024;

/// The chunks of a body, in order.
pub(super) type Chunks = Box<dyn Iterator<Item = io::Result<Bytes>> + Send>;

/// Returns a body whose chunks are produced on demand; `readers` limits how many are produced concurrently.
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

/// Opens the object in the file at `path`.
pub(super) fn open_object(path: &Path) -> Result<Object<BufReader<File>>, ReadError> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    Object::open(BufReader::new(file), Some(size))
}

/// Reads the header of the file at `path`, with those top-level elements that `is_requested` accepts.
pub(super) fn read_header(path: &Path, is_requested: impl Fn(Tag) -> bool) -> Result<Header, ReadError> {
    open_object(path)?.header(is_requested)
}

/// A byte range of a file or of its inflated data set.
#[derive(Debug, Clone)]
pub(super) struct FileRange {
    /// The file.
    pub path: PathBuf,
    /// Whether the range refers to the inflated data set of a deflated file.
    pub(super) is_inflated: bool,
    /// The byte range.
    pub range: ByteRange,
    /// The size in bytes of the words to swap, for big-endian files; 1 if no conversion is needed.
    pub swapped_word_size: usize,
}

impl FileRange {
    /// Returns the range of a value in the file at `path` with this `header`; empty for encapsulated fragments.
    pub(super) fn of(header: &Header, path: &Path, value: StoredValue) -> Self {
        let is_inflated = is_deflated(header.transfer_syntax);
        let range = ByteRange { offset: value.offset, length: value.length.unwrap_or_default() };
        Self { path: path.to_owned(), is_inflated, range, swapped_word_size: value.swapped_word_size }
    }

    /// Reads all bytes into memory, for small ranges.
    pub(super) fn read(self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for chunk in self.chunks() {
            bytes.extend_from_slice(&chunk?);
        }
        Ok(bytes)
    }

    /// Reads the bytes in chunks. If the file was truncated after it was indexed, the body is aborted.
    pub(super) fn chunks(self) -> Chunks {
        let mut remaining = self.range.length;
        let mut source: Option<Box<dyn Read + Send>> = None;
        Box::new(std::iter::from_fn(move || {
            if remaining == 0 {
                return None;
            }
            let chunk = (|| {
                let reader = match &mut source {
                    Some(reader) => reader,
                    None => source.insert(self.open()?),
                };
                let mut bytes =
                    Vec::with_capacity(usize::try_from(remaining.min(MAX_CHUNK_SIZE)).unwrap_or_default());
                reader.take(remaining.min(MAX_CHUNK_SIZE)).read_to_end(&mut bytes)?;
                if bytes.is_empty() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                remaining -= bytes.len() as u64;
                swap_words(&mut bytes, self.swapped_word_size);
                Ok(bytes.into())
            })();
            if chunk.is_err() {
                remaining = 0;
            }
            Some(chunk)
        }))
    }

    fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        let mut file = File::open(&self.path)?;
        if !self.is_inflated {
            file.seek(SeekFrom::Start(self.range.offset))?;
            return Ok(Box::new(file));
        }
        let mut inflated = Object::open(BufReader::new(file), None).map_err(io::Error::other)?;
        io::copy(&mut inflated.by_ref().take(self.range.offset), &mut io::sink())?;
        Ok(Box::new(inflated))
    }
}
