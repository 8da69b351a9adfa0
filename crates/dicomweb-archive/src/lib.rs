//! The embedded archive of the commands `demo` and `archive` and of tests, with sample studies. This crate does not know about the
//! gateway, which accesses archives only by their URLs.

pub mod archive;
mod example_urls;
pub mod samples;
mod scratch;

use archive::{Archive, Index, IndexReport, Progress};
use http_server::ConnectionLimits;
use scratch::TemporaryDirectory;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The drain timeout at shutdown. The only client is the gateway in the same process, whose drain is already complete.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

pub use example_urls::ExampleUrls;

/// The content of an embedded archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The sample studies, written to a temporary directory that is removed when the archive stops.
    Samples,
    /// The DICOM files in a directory of the user.
    Folder(PathBuf),
}

/// Why an embedded archive did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The directory does not exist, or is not a directory.
    #[error("{0} is not a readable directory; pass a directory of DICOM files")]
    Folder(PathBuf),
    /// The sample studies could not be written.
    #[error(
        "the sample studies could not be written to {folder}: {error}; free disk space there or set TMPDIR"
    )]
    Samples {
        /// The temporary directory.
        folder: PathBuf,
        /// The error of the file system.
        error: io::Error,
    },
    /// The port is in use, or not permitted.
    #[error("the embedded archive cannot listen on {address}: {error}; choose another address with --listen")]
    Listen {
        /// The requested address.
        address: SocketAddr,
        /// The error of the operating system.
        error: io::Error,
    },
    /// A background task of the archive panicked.
    #[error("the embedded archive could not be prepared")]
    Prepare(#[from] tokio::task::JoinError),
}

/// A running embedded archive. It stops on [`RunningArchive::stop`] and when it is dropped.
#[derive(Debug)]
pub struct RunningArchive {
    address: SocketAddr,
    report: IndexReport,
    archive: Archive,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    /// The directory of the sample files, removed on drop.
    scratch: Option<TemporaryDirectory>,
}

impl RunningArchive {
    /// Returns the address on which the archive listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the root URL of the DICOMweb service.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.address, archive::ROOT)
    }

    /// Returns the counts of indexed and skipped files.
    pub fn report(&self) -> &IndexReport {
        &self.report
    }

    /// Returns the index of the studies.
    pub fn index(&self) -> &Index {
        self.archive.index()
    }

    /// Stops listening, completes the requests in flight, and removes the sample files.
    pub async fn stop(self) {
        let Self { stop, task, scratch, .. } = self;
        // Sending fails if the archive has already stopped.
        let _ = stop.send(());
        let _ = task.await;
        drop(scratch);
    }
}

/// Starts an archive with `content` on the address `listen`. Port 0 selects a free port.
pub async fn start_archive(
    content: Content,
    listen: SocketAddr,
    progress: Progress,
) -> Result<RunningArchive, StartError> {
    // The address is bound first, so that an address in use is reported before the indexing, which can take a long time.
    let failed = |error| StartError::Listen { address: listen, error };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let (archive, report, scratch) =
        tokio::task::spawn_blocking(move || prepare(content, progress)).await??;
    let (stop, stopped) = oneshot::channel::<()>();
    let limits = ConnectionLimits { drain: DRAIN_TIMEOUT, ..ConnectionLimits::default() };
    let shared_archive = archive.clone();
    let service = move |request, _| {
        let archive = shared_archive.clone();
        async move { archive.respond(request).await }
    };
    let task = tokio::spawn(async move {
        // A stop signal and a dropped sender both end the server.
        http_server::serve(listener, limits, service, async { drop(stopped.await) }).await;
    });
    Ok(RunningArchive { address, report, archive, stop, task, scratch })
}

fn prepare(
    content: Content,
    progress: Progress,
) -> Result<(Archive, IndexReport, Option<TemporaryDirectory>), StartError> {
    let (folder, scratch) = match content {
        Content::Folder(folder) if folder.is_dir() => (folder, None),
        Content::Folder(folder) => return Err(StartError::Folder(folder)),
        Content::Samples => {
            let failed = |error| StartError::Samples { folder: std::env::temp_dir(), error };
            let scratch = TemporaryDirectory::new().map_err(failed)?;
            samples::write(scratch.path()).map_err(failed)?;
            (scratch.path().to_owned(), Some(scratch))
        }
    };
    let (index, report) = Index::build(&folder, progress);
    Ok((Archive::new(index), report, scratch))
}

#[cfg(test)]
mod tests;
