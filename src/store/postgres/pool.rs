//! The connections to the database. Their number is bounded, and a connection that failed, or whose user did not give it back, is
//! closed: its state is unknown.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Connection;
use super::schema::SCHEMA;
use crate::store::address::PostgresAddress;
use crate::store::{StoreError, StoreSettings};

/// The time after which an idle connection is closed: firewalls forget idle connections without a message to either side.
const MAX_IDLE: Duration = Duration::from_mins(1);

/// SQLSTATE of connections that the server ends: class 08, and shutdowns.
const DISCONNECTIONS: [&str; 4] = ["08", "57P01", "57P02", "57P03"];

/// Opens connections, and keeps those that are idle.
pub(super) struct Pool {
    options: PgConnectOptions,
    connect_timeout: Duration,
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<IdleConnection>>>,
}

struct IdleConnection {
    connection: Connection,
    since: Instant,
}

/// A connection in use, which is closed when it is dropped.
pub(super) struct Lease {
    connection: Connection,
    is_reused: bool,
    idle: Arc<Mutex<Vec<IdleConnection>>>,
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    pub(super) fn new(address: &PostgresAddress, settings: &StoreSettings) -> Self {
        // The server ends what a gateway that was frozen has left: a transaction holds the lock that the others wait for.
        let limit = settings.timeout.as_millis().clamp(1, i32::MAX.unsigned_abs().into()).to_string();
        let options = address.options().clone().disable_statement_logging().options([
            ("search_path", SCHEMA),
            ("synchronous_commit", "on"),
            ("statement_timeout", &limit),
            ("lock_timeout", &limit),
            ("idle_in_transaction_session_timeout", &limit),
        ]);
        Self {
            options,
            connect_timeout: settings.connect_timeout,
            permits: Arc::new(Semaphore::new(settings.max_connections)),
            idle: Arc::default(),
        }
    }

    /// Returns an idle connection, or a new one if there is none.
    pub(super) async fn acquire(&self) -> Result<Lease, StoreError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(|_| StoreError::Malformed("the store is closed"))?;
        let lease = |connection, is_reused| Lease {
            connection,
            is_reused,
            idle: Arc::clone(&self.idle),
            _permit: permit,
        };
        let idle = {
            let mut idle = lock(&self.idle);
            idle.retain(|idle| idle.since.elapsed() < MAX_IDLE);
            idle.pop()
        };
        if let Some(idle) = idle {
            return Ok(lease(idle.connection, true));
        }
        let connection = tokio::time::timeout(self.connect_timeout, self.options.connect()).await;
        let connection = connection.map_err(|_| StoreError::Timeout(self.connect_timeout))??;
        Ok(lease(connection, false))
    }

    /// Closes the idle connections.
    pub(super) fn discard_idle(&self) {
        lock(&self.idle).clear();
    }
}

impl Lease {
    pub(super) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Whether the connection was idle, so that the server may have closed it.
    pub(super) fn is_reused(&self) -> bool {
        self.is_reused
    }

    /// Keeps the connection for the next call.
    pub(super) fn give_back(self) {
        lock(&self.idle).push(IdleConnection { connection: self.connection, since: Instant::now() });
    }
}

fn lock(idle: &Mutex<Vec<IdleConnection>>) -> MutexGuard<'_, Vec<IdleConnection>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the server has closed the connection.
pub(super) fn is_disconnection(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => true,
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            DISCONNECTIONS.iter().any(|prefix| code.starts_with(prefix))
        }
        _ => false,
    }
}
