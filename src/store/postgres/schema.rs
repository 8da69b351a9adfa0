//! The tables in the database, which are in a schema of their own, and their migrations.

use sqlx::{AssertSqlSafe, Row};

use super::Connection;
use crate::store::address::PostgresAddress;
use crate::store::migrations::{LATEST, MigrationPlan};
use crate::store::{OpenError, StoreError};

/// The schema with the tables.
pub(super) const SCHEMA: &str = "dicomweb_gateway";

/// The advisory lock of migrations, which replicas that start at the same time do not run twice. Transactions have another one, so
/// that a migration does not delay them.
const MIGRATION_LOCK: i64 = 0x4457_4757_0000_0001;

/// Brings the tables to the latest schema. Returns the schema that was found, if a later version has created it and this program
/// cannot use it.
pub(super) async fn migrate(connection: &mut Connection) -> Result<Option<i64>, StoreError> {
    match plan(connection).await? {
        MigrationPlan::TooNew(found) => return Ok(Some(found)),
        // A user that may not create tables can use existing ones.
        MigrationPlan::None => return Ok(None),
        MigrationPlan::After(_) => {}
    }
    let begin = format!("BEGIN; SELECT pg_advisory_xact_lock({MIGRATION_LOCK})");
    sqlx::raw_sql(AssertSqlSafe(begin)).execute(&mut *connection).await?;
    let plan = plan(connection).await?;
    let migrations = plan.sql(|migration| migration.postgres);
    let sql = format!(
        "CREATE SCHEMA IF NOT EXISTS {SCHEMA}; CREATE TABLE IF NOT EXISTS schema_migration \
         (version bigint PRIMARY KEY, compatible_with bigint NOT NULL); {migrations} COMMIT"
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(match plan {
        MigrationPlan::TooNew(found) => Some(found),
        MigrationPlan::None | MigrationPlan::After(_) => None,
    })
}

/// Returns what the database needs.
pub(super) async fn plan(connection: &mut Connection) -> Result<MigrationPlan, StoreError> {
    // The functions that look up names may use a cache, which does not contain yet what another replica has created.
    let table = format!(
        "SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = '{SCHEMA}' AND tablename = 'schema_migration')"
    );
    let exists: bool = sqlx::query(AssertSqlSafe(table)).fetch_one(&mut *connection).await?.try_get(0)?;
    if !exists {
        return Ok(MigrationPlan::of(0, 0));
    }
    let row = sqlx::query(
        "SELECT coalesce(max(version), 0), coalesce(max(compatible_with), 0) FROM schema_migration",
    )
    .fetch_one(connection)
    .await?;
    Ok(MigrationPlan::of(row.try_get(0)?, row.try_get(1)?))
}

pub(super) fn newer(address: &PostgresAddress, found: i64) -> OpenError {
    OpenError::Newer { store: address.to_string(), found, known: LATEST }
}
