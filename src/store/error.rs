//! The reasons why an operation of the store fails.

use std::path::PathBuf;
use std::time::Duration;

/// The reason why an operation of the store failed. The transaction has no effect.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database reports an error.
    #[error("{0}")]
    Database(String),
    /// There is no space for the entries.
    #[error("the disk is full, or the file may not grow any more")]
    Full,
    /// The file may not be written.
    #[error("the file is read-only")]
    ReadOnly,
    /// The file is damaged, or is not a database.
    #[error("{0}")]
    Corrupt(String),
    /// The database does not respond.
    #[error("the store has not responded within {0:?}")]
    Timeout(Duration),
    /// The database has failed several times in a row, and is not called for this duration.
    #[error("the store has failed several times in a row and is not called for {0:?}")]
    CircuitOpen(Duration),
    /// An entry does not have the expected format.
    #[error("{0}")]
    Malformed(&'static str),
}

impl StoreError {
    /// Whether the entries are damaged, so that no later call can succeed.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Corrupt(_) | Self::Malformed(_))
    }
}

/// The reason why the store cannot be opened. The messages contain the cause, which is therefore not a `source`.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be opened, created or read.
    #[error(
        "store.url: {file} cannot be opened: {error}; the file and its directory must be writable by the user that runs the gateway",
        file = file.display()
    )]
    File {
        /// The file.
        file: PathBuf,
        /// The cause.
        error: std::io::Error,
    },
    /// Another process has the store open.
    #[error("store.url: {file} is used by another gateway; each gateway needs its own file", file = file.display())]
    InUse {
        /// The file.
        file: PathBuf,
    },
    /// The file is not a store.
    #[error(
        "store.url: {file} is damaged or is not a store: {error}. `serve` renames the file and starts with an empty store; clients \
         that follow changes then receive every study once more, and Patient ids and page links are not valid any more unless fhir.keys is set",
        file = file.display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// The cause.
        error: StoreError,
    },
    /// The file is a database of another program.
    #[error("store.url: {file} is a database of another program; choose another file", file = file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
    },
    /// A later version of the gateway has changed the tables in a way that this version does not know.
    #[error(
        "store.url: {store} has the schema {found}, which a later version of the gateway has created; this version knows the schemas \
         up to {known}. Start that version again, or choose an empty store: clients that follow changes then receive every study \
         once more"
    )]
    Newer {
        /// The file or the database.
        store: String,
        /// The schema of the store.
        found: i64,
        /// The latest schema that this version knows.
        known: i64,
    },
    /// The store cannot be written.
    #[error("store.url: {store} cannot be used: {error}")]
    Unusable {
        /// The file or the database.
        store: String,
        /// The cause.
        error: StoreError,
    },
    /// The store in memory cannot be created.
    #[error("the store in memory cannot be created: {0}")]
    Memory(StoreError),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(cause) => {
                let code = cause.code().and_then(|code| code.parse().ok());
                let is_sqlite = cause.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some();
                // SQLite reports extended result codes, of which the lowest byte is the primary one.
                match code.filter(|_| is_sqlite).map(|code: i32| code & 0xff) {
                    Some(8) => Self::ReadOnly,
                    Some(11 | 26) => Self::Corrupt(cause.message().to_owned()),
                    Some(13) => Self::Full,
                    _ => Self::Database(cause.message().to_owned()),
                }
            }
            _ => Self::Database(error.to_string()),
        }
    }
}
