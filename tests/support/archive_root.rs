//! The DICOMweb root of one archive, `/dicom-web/main`, at a running gateway.

use dicomweb_gateway::clock::SharedClock;

use super::gateway::RunningGateway;
use super::pacs::RunningPacs;

/// The public URL of the archive root. It is configured, so the URLs in responses do not depend on the port.
pub const PUBLIC_URL: &str = "https://gateway.example/imaging/dicom-web/main";

/// The root of the archive `main` at a gateway that runs until this value is dropped.
#[derive(Debug)]
pub struct ArchiveRoot(RunningGateway);

impl ArchiveRoot {
    /// Starts a gateway in front of `pacs`.
    pub async fn start(pacs: &RunningPacs) -> Self {
        Self::start_with_config(&pacs.url(), "").await
    }

    /// Starts a gateway in front of the archive at `url`, with `lines` added to its configuration.
    pub async fn start_with_config(url: &str, lines: &str) -> Self {
        Self(RunningGateway::start(url, &with_public_url(lines)).await)
    }

    /// Starts a gateway like [`start_with_config`](Self::start_with_config), with `clock`.
    pub async fn start_with_clock(clock: SharedClock, url: &str, lines: &str) -> Self {
        Self(RunningGateway::start_with_clock(clock, url, &with_public_url(lines)).await)
    }

    /// Returns the URL of `target`, a raw path and query relative to the archive root.
    pub fn url(&self, target: &str) -> String {
        format!("{}/dicom-web/main/{target}", self.0.base_url())
    }
}

fn with_public_url(lines: &str) -> String {
    format!("{lines}\n[server]\npublic_url = \"https://gateway.example/imaging\"\n")
}
