//! The DICOMweb side of the gateway in front of one archive.

use dicomweb_gateway::clock::SharedClock;

use super::gateway::RunningGateway;
use super::pacs::RunningPacs;

/// The public address of the archive, which answers use, whatever the port.
pub const PUBLIC: &str = "https://gateway.example/imaging/dicom-web/main";

/// A gateway that runs until it is dropped.
#[derive(Debug)]
pub struct Front(RunningGateway);

impl Front {
    /// In front of `pacs`.
    pub async fn of(pacs: &RunningPacs) -> Self {
        Self::told(&pacs.url(), "").await
    }

    /// In front of the archive at `url`, with these lines in its configuration.
    pub async fn told(url: &str, lines: &str) -> Self {
        Self(RunningGateway::over(url, &with_public_url(lines)).await)
    }

    /// The same, by `clock`.
    pub async fn by(clock: SharedClock, url: &str, lines: &str) -> Self {
        Self(RunningGateway::over_by(clock, url, &with_public_url(lines)).await)
    }

    /// The address of `target`, which is raw path and query below the archive's.
    pub fn url(&self, target: &str) -> String {
        format!("{}/dicom-web/main/{target}", self.0.address())
    }
}

fn with_public_url(lines: &str) -> String {
    format!("{lines}\n[server]\npublic_url = \"https://gateway.example/imaging\"\n")
}
