//! The statements: each is one round trip, whatever the number of keys.

use std::collections::HashMap;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sqlx::{AssertSqlSafe, Row};

use super::Connection;
use crate::store::{Entry, StoreTable};

/// The advisory lock of transactions.
const TRANSACTION_LOCK: i64 = 0x4457_4757_0000_0002;

/// Something to do with a connection.
pub(super) trait Operation: Sync {
    type Output: Send;

    fn run<'a>(&'a self, connection: &'a mut Connection) -> BoxFuture<'a, Result<Self::Output, sqlx::Error>>;
}

pub(super) struct GetMany<'a> {
    pub(super) table: StoreTable,
    pub(super) keys: &'a [Vec<u8>],
}

impl Operation for GetMany<'_> {
    type Output = Vec<Option<Vec<u8>>>;

    fn run<'a>(&'a self, connection: &'a mut Connection) -> BoxFuture<'a, Result<Self::Output, sqlx::Error>> {
        async move {
            let sql = format!("SELECT key, value FROM {} WHERE key = ANY($1)", self.table.0);
            let rows = sqlx::query(AssertSqlSafe(sql)).bind(self.keys).fetch_all(connection).await?;
            let mut found: HashMap<Vec<u8>, Vec<u8>> = HashMap::with_capacity(rows.len());
            for row in rows {
                found.insert(row.try_get(0)?, row.try_get(1)?);
            }
            Ok(self.keys.iter().map(|key| found.get(key).cloned()).collect())
        }
        .boxed()
    }
}

pub(super) struct Scan<'a> {
    pub(super) table: StoreTable,
    pub(super) from: &'a [u8],
    pub(super) limit: usize,
}

impl Operation for Scan<'_> {
    type Output = Vec<Entry>;

    fn run<'a>(&'a self, connection: &'a mut Connection) -> BoxFuture<'a, Result<Self::Output, sqlx::Error>> {
        async move {
            let sql =
                format!("SELECT key, value FROM {} WHERE key >= $1 ORDER BY key LIMIT $2", self.table.0);
            let limit = i64::try_from(self.limit).unwrap_or(i64::MAX);
            let rows =
                sqlx::query(AssertSqlSafe(sql)).bind(self.from).bind(limit).fetch_all(connection).await?;
            rows.into_iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
        }
        .boxed()
    }
}

pub(super) struct PutMany<'a> {
    pub(super) table: StoreTable,
    pub(super) entries: &'a [Entry],
}

impl Operation for PutMany<'_> {
    type Output = ();

    fn run<'a>(&'a self, connection: &'a mut Connection) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        async move {
            let sql = format!(
                "INSERT INTO {} (key, value) SELECT * FROM unnest($1::bytea[], $2::bytea[]) \
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                self.table.0
            );
            let keys: Vec<&[u8]> = self.entries.iter().map(|(key, _)| key.as_slice()).collect();
            let values: Vec<&[u8]> = self.entries.iter().map(|(_, value)| value.as_slice()).collect();
            if !keys.is_empty() {
                sqlx::query(AssertSqlSafe(sql)).bind(keys).bind(values).execute(connection).await?;
            }
            Ok(())
        }
        .boxed()
    }
}

pub(super) struct RemoveMany<'a> {
    pub(super) table: StoreTable,
    pub(super) keys: &'a [Vec<u8>],
}

impl Operation for RemoveMany<'_> {
    type Output = ();

    fn run<'a>(&'a self, connection: &'a mut Connection) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        async move {
            let sql = format!("DELETE FROM {} WHERE key = ANY($1)", self.table.0);
            if !self.keys.is_empty() {
                sqlx::query(AssertSqlSafe(sql)).bind(self.keys).execute(connection).await?;
            }
            Ok(())
        }
        .boxed()
    }
}

/// Begins a transaction, and waits for the lock of the database.
pub(super) struct Begin;

impl Operation for Begin {
    type Output = ();

    fn run<'a>(&'a self, connection: &'a mut Connection) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        async move {
            let sql = format!("BEGIN; SELECT pg_advisory_xact_lock({TRANSACTION_LOCK})");
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop)
        }
        .boxed()
    }
}

/// The end of a transaction.
pub(super) struct End(&'static str);

pub(super) const COMMIT: End = End("COMMIT");
pub(super) const ROLLBACK: End = End("ROLLBACK");

impl Operation for End {
    type Output = ();

    fn run<'a>(&'a self, connection: &'a mut Connection) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        async move { sqlx::raw_sql(self.0).execute(connection).await.map(drop) }.boxed()
    }
}
