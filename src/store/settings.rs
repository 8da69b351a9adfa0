//! Where the store is, and how long its calls may take.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::address::PostgresAddress;

/// The settings of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// Where the store is.
    pub location: StoreLocation,
    /// Maximum duration of one call, including the wait for its turn.
    pub timeout: Duration,
    /// Maximum duration of connecting to a database.
    pub connect_timeout: Duration,
    /// Maximum number of connections to a database.
    pub max_connections: usize,
}

impl StoreSettings {
    /// Creates the settings of a store whose calls may take `timeout`.
    pub fn new(location: StoreLocation, timeout: Duration) -> Self {
        Self { location, timeout, connect_timeout: timeout, max_connections: 8 }
    }
}

/// Where the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreLocation {
    /// In the memory of the process.
    Memory,
    /// In this file, an SQLite database.
    Sqlite(PathBuf),
    /// In this PostgreSQL database.
    Postgres(PostgresAddress),
}

impl fmt::Display for StoreLocation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => formatter.write_str("memory"),
            Self::Sqlite(file) => write!(formatter, "sqlite:{}", file.display()),
            Self::Postgres(address) => address.fmt(formatter),
        }
    }
}
