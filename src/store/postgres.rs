//! The store in a PostgreSQL database, which replicas share.
//!
//! Every commit is durable, because a crash of the database would otherwise lose what one replica has reported to a client and
//! another one does not know. Transactions hold a lock of the database, so that they are serialized over all replicas.
//!
//! A call that does not succeed by its deadline has failed, and its connection is closed. After several failures in a row the
//! database is not called for a while, so that requests do not wait for it.

mod pool;
mod schema;
mod statements;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sqlx::postgres::PgConnection;
use tokio::sync::{Mutex, OwnedMutexGuard};

use self::pool::{Lease, Pool, is_disconnection};
use self::statements::{Begin, GetMany, Operation, PutMany, RemoveMany, Scan};
use super::address::PostgresAddress;
use super::migrations::MigrationPlan;
use super::{
    Durability, Entry, OpenError, Store, StoreError, StoreKind, StoreResult, StoreSettings, StoreTable,
    Transaction,
};
use crate::circuit_breaker::{CircuitBreaker, CircuitChange, Permit};
use crate::clock::SharedClock;

/// The number of failures in a row that opens the circuit: a restart of the database costs each of a few requests one.
const FAILURE_THRESHOLD: u32 = 3;

/// How long the circuit stays open. The call that then shows whether the database responds delays no other call.
const OPEN_DURATION: Duration = Duration::from_secs(2);

/// A store in a PostgreSQL database.
#[derive(Clone)]
pub struct PostgresStore(Arc<Shared>);

/// What all calls share.
struct Shared {
    address: PostgresAddress,
    pool: Pool,
    /// The turn to begin a transaction: only one connection of this process at a time waits for the lock of the database.
    turn: Arc<Mutex<()>>,
    breaker: CircuitBreaker,
    timeout: Duration,
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("PostgresStore").field(&self.0.address).finish()
    }
}

impl PostgresStore {
    /// Connects to the database, and brings its tables to the latest schema.
    pub async fn open(
        address: &PostgresAddress,
        settings: &StoreSettings,
        clock: SharedClock,
    ) -> Result<Self, OpenError> {
        let store = Self::new(address, settings, clock);
        let state = within(settings.timeout, async {
            let mut lease = store.0.pool.acquire().await?;
            let state = schema::migrate(lease.connection()).await?;
            lease.give_back();
            Ok(state)
        });
        let unusable = |error| OpenError::Unusable { store: address.to_string(), error };
        match state.await.map_err(unusable)? {
            None => Ok(store),
            Some(found) => Err(schema::newer(address, found)),
        }
    }

    /// Creates the store without connecting to the database.
    pub(super) fn new(address: &PostgresAddress, settings: &StoreSettings, clock: SharedClock) -> Self {
        Self(Arc::new(Shared {
            address: address.clone(),
            pool: Pool::new(address, settings),
            turn: Arc::default(),
            breaker: CircuitBreaker::new(clock, FAILURE_THRESHOLD, OPEN_DURATION),
            timeout: settings.timeout,
        }))
    }

    /// Checks whether the database can be used, without changing anything.
    pub async fn verify(address: &PostgresAddress, settings: &StoreSettings) -> Result<(), OpenError> {
        let pool = Pool::new(address, settings);
        let plan = within(settings.timeout, async {
            let mut lease = pool.acquire().await?;
            schema::plan(lease.connection()).await
        });
        match plan.await.map_err(|error| OpenError::Unusable { store: address.to_string(), error })? {
            MigrationPlan::TooNew(found) => Err(schema::newer(address, found)),
            MigrationPlan::None | MigrationPlan::After(_) => Ok(()),
        }
    }

    /// Does `work` with a permit of the circuit breaker, and with a deadline.
    async fn guarded<T>(&self, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let breaker = &self.0.breaker;
        if breaker.health().is_failing {
            // Whether the database has returned is found out in the background, so that no request waits for that.
            if breaker.is_probe_due() {
                tokio::spawn(self.clone().probe());
            }
            return Err(StoreError::CircuitOpen(OPEN_DURATION));
        }
        let permit = breaker.acquire().map_err(|circuit| StoreError::CircuitOpen(circuit.wait))?;
        let result = within(self.0.timeout, work).await;
        self.0.record(permit, result.as_ref().err());
        result
    }

    /// Calls the database, which shows whether it has returned.
    async fn probe(self) {
        let Ok(permit) = self.0.breaker.acquire() else { return };
        let result = within(self.0.timeout, async {
            let mut lease = self.0.pool.acquire().await?;
            schema::plan(lease.connection()).await?;
            lease.give_back();
            Ok(())
        });
        let result = result.await;
        self.0.record(permit, result.err().as_ref());
    }

    /// Runs `operation` with a connection, and returns the connection. An idle connection that the database has closed, for example
    /// in a restart, is replaced.
    async fn run<O: Operation>(&self, operation: &O) -> Result<(O::Output, Lease), StoreError> {
        loop {
            let mut lease = self.0.pool.acquire().await?;
            match operation.run(lease.connection()).await {
                Ok(output) => return Ok((output, lease)),
                Err(error) if lease.is_reused() && is_disconnection(&error) => self.0.pool.discard_idle(),
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn begin_transaction(&self) -> Result<PostgresTransaction, StoreError> {
        self.guarded(async {
            let turn = Arc::clone(&self.0.turn).lock_owned().await;
            let ((), lease) = self.run(&Begin).await?;
            Ok(PostgresTransaction { store: self.clone(), lease: Some(lease), turn: Some(turn) })
        })
        .await
    }
}

impl Shared {
    fn record(&self, permit: Permit<'_>, error: Option<&StoreError>) {
        let change = match error {
            None => permit.record_success(),
            Some(error) => permit.record_failure(&error.to_string()),
        };
        match change {
            Some(CircuitChange::Opened(wait)) => {
                // Connections that do not respond now must not delay the calls after the return of the database.
                self.pool.discard_idle();
                tracing::warn!(
                    store = %self.address,
                    cause = error.map(ToString::to_string),
                    wait = ?wait,
                    "the store has failed several times in a row and is not called for a while; searches by _lastUpdated are rejected"
                );
            }
            Some(CircuitChange::Closed) => tracing::info!(store = %self.address, "the store responds again"),
            None => {}
        }
    }
}

impl Store for PostgresStore {
    fn kind(&self) -> StoreKind {
        StoreKind::Shared
    }

    fn get_many<'a>(
        &'a self,
        table: StoreTable,
        keys: &'a [Vec<u8>],
    ) -> StoreResult<'a, Vec<Option<Vec<u8>>>> {
        async move {
            let (values, lease) = self.guarded(self.run(&GetMany { table, keys })).await?;
            lease.give_back();
            Ok(values)
        }
        .boxed()
    }

    fn scan<'a>(&'a self, table: StoreTable, from: &'a [u8], limit: usize) -> StoreResult<'a, Vec<Entry>> {
        async move {
            let (entries, lease) = self.guarded(self.run(&Scan { table, from, limit })).await?;
            lease.give_back();
            Ok(entries)
        }
        .boxed()
    }

    fn begin(&self, _: Durability) -> StoreResult<'_, Box<dyn Transaction>> {
        async { Ok(Box::new(self.begin_transaction().await?) as Box<dyn Transaction>) }.boxed()
    }

    fn make_durable(&self) -> StoreResult<'_, ()> {
        // Every commit is.
        async { Ok(()) }.boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async { self.0.pool.discard_idle() }.boxed()
    }
}

/// A transaction, which has a connection and the lock of the database.
struct PostgresTransaction {
    store: PostgresStore,
    /// `None` after a failure, which has closed the connection.
    lease: Option<Lease>,
    turn: Option<OwnedMutexGuard<()>>,
}

impl PostgresTransaction {
    /// Runs `operation`. If it fails or is dropped, the connection is closed, which rolls the transaction back.
    async fn run<O: Operation>(&mut self, operation: &O) -> Result<O::Output, StoreError> {
        let mut lease = self.lease.take().ok_or(StoreError::Malformed("the transaction has failed"))?;
        let result = within(self.store.0.timeout, async {
            Ok::<_, StoreError>(operation.run(lease.connection()).await?)
        });
        match result.await {
            Ok(output) => {
                self.lease = Some(lease);
                Ok(output)
            }
            Err(error) => {
                if let Ok(permit) = self.store.0.breaker.acquire() {
                    self.store.0.record(permit, Some(&error));
                }
                Err(error)
            }
        }
    }
}

impl Transaction for PostgresTransaction {
    fn get_many<'a>(
        &'a mut self,
        table: StoreTable,
        keys: &'a [Vec<u8>],
    ) -> StoreResult<'a, Vec<Option<Vec<u8>>>> {
        async move { self.run(&GetMany { table, keys }).await }.boxed()
    }

    fn scan<'a>(
        &'a mut self,
        table: StoreTable,
        from: &'a [u8],
        limit: usize,
    ) -> StoreResult<'a, Vec<Entry>> {
        async move { self.run(&Scan { table, from, limit }).await }.boxed()
    }

    fn put_many<'a>(&'a mut self, table: StoreTable, entries: &'a [Entry]) -> StoreResult<'a, ()> {
        async move { self.run(&PutMany { table, entries }).await }.boxed()
    }

    fn remove_many<'a>(&'a mut self, table: StoreTable, keys: &'a [Vec<u8>]) -> StoreResult<'a, ()> {
        async move { self.run(&RemoveMany { table, keys }).await }.boxed()
    }

    fn commit(mut self: Box<Self>) -> StoreResult<'static, ()> {
        async move {
            self.run(&statements::COMMIT).await?;
            if let Some(lease) = self.lease.take() {
                lease.give_back();
            }
            Ok(())
        }
        .boxed()
    }
}

impl Drop for PostgresTransaction {
    fn drop(&mut self) {
        let (Some(mut lease), Ok(runtime)) = (self.lease.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let (turn, timeout) = (self.turn.take(), self.store.0.timeout);
        runtime.spawn(async move {
            let rolled_back = within(timeout, async {
                Ok::<_, StoreError>(statements::ROLLBACK.run(lease.connection()).await?)
            });
            if rolled_back.await.is_ok() {
                lease.give_back();
            }
            drop(turn);
        });
    }
}

async fn within<T>(
    timeout: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout(timeout, work).await.unwrap_or(Err(StoreError::Timeout(timeout)))
}

/// A connection to the database.
type Connection = PgConnection;
