//! Where the store is, and how long its calls may take.

use std::path::PathBuf;
use std::time::Duration;

/// The settings of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// Where the store is.
    pub location: StoreLocation,
    /// Maximum duration of one call, including the wait for its turn.
    pub timeout: Duration,
}

/// Where the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreLocation {
    /// In the memory of the process.
    Memory,
    /// In this file, an SQLite database.
    Sqlite(PathBuf),
}
