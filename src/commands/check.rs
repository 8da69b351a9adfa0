//! `check`: validates the configuration, sends each archive the queries that the gateway would send, and prints the results,
//! the durations, and settings to change.
//!
//! The output contains no data of an archive, only counts and durations.

mod advice;
mod character_set;
mod image_difference;
mod images;
mod probe;
mod sample_images;
mod services;
mod table;

use std::io;
use std::process::ExitCode;

use futures_util::future::join_all;
use tokio::sync::Semaphore;

use super::print;
use crate::config::Config;
use crate::store;
use crate::telemetry::Metrics;
use crate::upstream::{Archive, SettingsError};

use probe::ArchiveCheck;
pub use probe::ArchiveToCheck;

/// Prints the table. The exit code is 1 if the gateway cannot work with one of the archives.
pub(super) async fn run(config: &Config) -> anyhow::Result<ExitCode> {
    // The store is not opened: it would create a file, which the user that runs the gateway may not be able to open.
    store::verify(&config.store).await?;
    let archives = config.archives.iter().map(|archive| {
        Ok(ArchiveToCheck {
            archive: Archive::new(archive.settings.clone(), Metrics::default())?,
            has_time_zone: archive.time_zone.is_some(),
            has_patient_id_system: archive.patient_id_system.is_some(),
        })
    });
    let checks = check(archives.collect::<Result<Vec<_>, SettingsError>>()?).await;
    let mut lines = vec!["The configuration is valid.".to_owned()];
    lines.extend(config.warnings.iter().map(|warning| format!("Warning: {warning}")));
    match print(format_args!("{}\n\n{checks}", lines.join("\n"))) {
        // The reader has closed the output, as in `check | head`; the exit code is still the result of the check.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        result => result?,
    }
    Ok(if checks.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The results of all archives, which are printed as a table.
#[derive(Debug, Clone, Default)]
pub struct Checks(Vec<ArchiveCheck>);

impl Checks {
    /// Whether the gateway can work with every archive.
    pub fn is_success(&self) -> bool {
        self.0.iter().all(ArchiveCheck::is_usable)
    }
}

/// Checks `archives` concurrently. The results are in the order of the archives.
pub async fn check(archives: impl IntoIterator<Item = ArchiveToCheck>) -> Checks {
    let archives: Vec<_> = archives.into_iter().collect();
    let image_permits = Semaphore::new(images::MAX_CONCURRENCY);
    Checks(join_all(archives.iter().map(|archive| archive.check(&image_permits))).await)
}
