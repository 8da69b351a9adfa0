//! `archive`: runs only the embedded archive, a read-only DICOMweb server for a directory of DICOM files.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use dicomweb_archive::archive::{IndexReport, Progress, ROOT};
use dicomweb_archive::{Content, start_archive};

use super::{local_url, print, serve, start_telemetry};
use crate::telemetry::LogFormat;

pub(super) async fn run(dir: PathBuf, listen: SocketAddr) -> anyhow::Result<ExitCode> {
    let _log = start_telemetry(LogFormat::Text)?;
    let archive = start_archive(Content::Folder(dir), listen, Progress::Bar).await?;
    warn_if_empty(archive.report());
    if !listen.ip().to_canonical().is_loopback() {
        tracing::warn!(
            "the archive has no access control: anyone who can reach {} can read every patient's data",
            archive.address()
        );
    }
    let stop = serve::stop_signal();
    let url = format!("{}{ROOT}", local_url(archive.address()));
    print(format_args!("{}\nThe archive is at {url}", archive.report()))?;
    stop.await;
    archive.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// Warns that the archive of a directory has no studies.
pub(super) fn warn_if_empty(report: &IndexReport) {
    if report.instances == 0 {
        tracing::warn!(
            "the directory contains no readable DICOM file, so the archive is empty; files that are added later are served after a \
             restart, because the directory is read once, at the start"
        );
    }
}
