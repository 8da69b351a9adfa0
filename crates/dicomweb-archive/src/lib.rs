//! What the commands `demo` and `archive` run, and what tests run against: an embedded archive and the sample studies
//! to fill it with. Only the command line and tests use this module; the gateway knows archives by their URLs alone.

pub mod archive;
pub mod samples;
mod scratch;
mod tour;

use archive::{Archive, Index, IndexReport, Progress};
use http_server::ConnectionLimits;
use scratch::Scratch;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long answers under way may take when the archive stops. Its only client is the gateway beside it, which has
/// drained by then.
const DRAIN: Duration = Duration::from_secs(5);

pub use tour::Tour;

/// What an embedded archive is filled with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The sample studies, written to a temporary folder that goes when the archive stops.
    Samples,
    /// The DICOM files under a folder of the user's.
    Folder(PathBuf),
}

/// Why an embedded archive did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder is missing, or is none.
    #[error("{0} is no folder that can be read; name a folder of DICOM files")]
    Folder(PathBuf),
    /// The temporary folder of the sample studies could not be filled.
    #[error("the sample studies could not be written to {folder}: {error}; free space there or set TMPDIR")]
    Samples {
        /// Where.
        folder: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Somebody else has the port, or it may not be had.
    #[error("the embedded archive cannot listen on {address}: {error}; choose another with --listen")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// A task of the archive's broke down.
    #[error("the embedded archive could not be prepared: {0}")]
    Prepare(#[from] tokio::task::JoinError),
}

/// An embedded archive that answers. It stops when this is dropped, or with [`RunningArchive::stop`].
#[derive(Debug)]
pub struct RunningArchive {
    address: SocketAddr,
    report: IndexReport,
    archive: Archive,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
    /// The sample files, for as long as they are served.
    scratch: Option<Scratch>,
}

impl RunningArchive {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The root of its DICOMweb service.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.address, archive::ROOT)
    }

    /// What the files came to.
    pub fn report(&self) -> &IndexReport {
        &self.report
    }

    /// What it holds.
    pub fn index(&self) -> &Index {
        self.archive.index()
    }

    /// Stops listening, lets answers under way end, and removes the sample files.
    pub async fn stop(self) {
        let Self { stop, serving, scratch, .. } = self;
        // It may have stopped already; then there is nobody left to tell.
        let _ = stop.send(());
        let _ = serving.await;
        drop(scratch);
    }
}

/// Fills an archive with `content` and serves it on `listen`; port 0 takes any free port.
pub async fn start_archive(
    content: Content,
    listen: SocketAddr,
    progress: Progress,
) -> Result<RunningArchive, StartError> {
    // The port first: an address in use should be told before a long indexing, not after.
    let failed = |error| StartError::Listen { address: listen, error };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let (archive, report, scratch) =
        tokio::task::spawn_blocking(move || prepare(content, progress)).await??;
    let (stop, stopped) = oneshot::channel::<()>();
    let limits = ConnectionLimits { drain: DRAIN, ..ConnectionLimits::default() };
    let served = archive.clone();
    let service = move |request, _| {
        let archive = served.clone();
        async move { archive.answer(request).await }
    };
    let serving = tokio::spawn(async move {
        // Told to stop, or forgotten by its owner: either ends it.
        http_server::serve(listener, limits, service, async { drop(stopped.await) }).await;
    });
    Ok(RunningArchive { address, report, archive, stop, serving, scratch })
}

fn prepare(
    content: Content,
    progress: Progress,
) -> Result<(Archive, IndexReport, Option<Scratch>), StartError> {
    let (folder, scratch) = match content {
        Content::Folder(folder) if folder.is_dir() => (folder, None),
        Content::Folder(folder) => return Err(StartError::Folder(folder)),
        Content::Samples => {
            let failed = |error| StartError::Samples { folder: std::env::temp_dir(), error };
            let scratch = Scratch::new().map_err(failed)?;
            samples::write(scratch.path()).map_err(failed)?;
            (scratch.path().to_owned(), Some(scratch))
        }
    };
    let (index, report) = Index::build(&folder, progress);
    Ok((Archive::new(index), report, scratch))
}

#[cfg(test)]
mod tests;
