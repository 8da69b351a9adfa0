//! The statements on one table. Keys and values are parameters, in batches of a few sizes, so that the statements stay prepared.

use std::collections::HashMap;

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row};

use crate::store::{Entry, StoreTable};

/// The sizes of a batch, in descending order.
const BATCH_SIZES: [usize; 3] = [64, 8, 1];

/// Splits `items` into slices of these sizes.
fn batches<T>(mut items: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = BATCH_SIZES.into_iter().find(|size| *size <= items.len())?;
        let (batch, rest) = items.split_at(size);
        items = rest;
        Some(batch)
    })
}

/// Returns `text` `count` times, separated by commas.
fn list(text: &str, count: usize) -> String {
    vec![text; count].join(",")
}

pub(super) async fn get_many(
    connection: &mut SqliteConnection,
    table: StoreTable,
    keys: &[Vec<u8>],
) -> Result<Vec<Option<Vec<u8>>>, sqlx::Error> {
    let mut found: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    for batch in batches(keys) {
        let sql = format!("SELECT key, value FROM {} WHERE key IN ({})", table.0, list("?", batch.len()));
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for key in batch {
            query = query.bind(key.as_slice());
        }
        for row in query.fetch_all(&mut *connection).await? {
            found.insert(row.try_get(0)?, row.try_get(1)?);
        }
    }
    Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
}

pub(super) async fn scan(
    connection: &mut SqliteConnection,
    table: StoreTable,
    from: &[u8],
    limit: usize,
) -> Result<Vec<Entry>, sqlx::Error> {
    let sql = format!("SELECT key, value FROM {} WHERE key >= ? ORDER BY key LIMIT ?", table.0);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(from).bind(limit).fetch_all(connection).await?;
    rows.into_iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

pub(super) async fn put_many(
    connection: &mut SqliteConnection,
    table: StoreTable,
    entries: &[Entry],
) -> Result<(), sqlx::Error> {
    for batch in batches(entries) {
        let sql = format!(
            "INSERT INTO {} (key, value) VALUES {} ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            table.0,
            list("(?,?)", batch.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (key, value) in batch {
            query = query.bind(key.as_slice()).bind(value.as_slice());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

pub(super) async fn remove_many(
    connection: &mut SqliteConnection,
    table: StoreTable,
    keys: &[Vec<u8>],
) -> Result<(), sqlx::Error> {
    for batch in batches(keys) {
        let sql = format!("DELETE FROM {} WHERE key IN ({})", table.0, list("?", batch.len()));
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for key in batch {
            query = query.bind(key.as_slice());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_contain_every_item_once_and_in_order() {
        let items: Vec<_> = (0..200).collect();
        let sizes: Vec<_> = batches(&items).map(<[_]>::len).collect();
        assert_eq!(sizes, [64, 64, 64, 8]);
        assert_eq!(batches(&items[..75]).flatten().copied().collect::<Vec<_>>(), items[..75]);
        assert_eq!(batches(&items[..0]).count(), 0);
    }
}
