//! The embedded archive with the sample studies. It is read-only and takes longer to start than most tests run, so concurrent
//! tests share it.

use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::thread::{self, JoinHandle};

use dicomweb_archive::Content;
use dicomweb_archive::archive::Progress;
use tokio::sync::oneshot;

/// An archive that runs until the last test that uses it has ended.
#[derive(Debug)]
pub struct SampleArchive {
    /// The root URL of the DICOMweb services.
    pub url: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The archive that is running, if a test uses one.
static RUNNING: Mutex<Weak<SampleArchive>> = Mutex::new(Weak::new());

/// Returns the running archive; starts one if none is running.
pub fn shared() -> Arc<SampleArchive> {
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(archive) = running.upgrade() {
        return archive;
    }
    let archive = Arc::new(SampleArchive::start());
    *running = Arc::downgrade(&archive);
    archive
}

impl SampleArchive {
    /// Starts the archive on a separate runtime, because the runtime of a test ends with the test.
    fn start() -> Self {
        let (stop, stop_requested) = oneshot::channel::<()>();
        let (url_sender, url_receiver) = mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listen = "127.0.0.1:0".parse().unwrap();
                let archive = dicomweb_archive::start_archive(Content::Samples, listen, Progress::Silent)
                    .await
                    .unwrap();
                url_sender.send(archive.url()).unwrap();
                let _ = stop_requested.await;
            });
        });
        Self { url: url_receiver.recv().unwrap(), stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for SampleArchive {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
