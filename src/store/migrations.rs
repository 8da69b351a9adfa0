//! The schemas of the databases: numbered migrations, which are only ever added.
//!
//! Gateways of an old and of a new version use a store at the same time while replicas are replaced one after the other. A
//! migration therefore declares the oldest program that can use the tables after it. A table or a column with a default that is
//! added does not affect older programs.

/// A step from one schema to the next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Migration {
    /// The number of the schema after this step.
    pub(super) version: i64,
    /// The latest schema that a program must know to use this one.
    pub(super) compatible_with: i64,
    /// The statements for SQLite.
    pub(super) sqlite: &'static str,
    /// The statements for PostgreSQL.
    pub(super) postgres: &'static str,
}

/// All migrations in the order of their numbers.
pub(super) const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    compatible_with: 1,
    sqlite: include_str!("migrations/1.sqlite.sql"),
    postgres: include_str!("migrations/1.postgres.sql"),
}];

/// The latest schema that this program knows.
pub(super) const LATEST: i64 = MIGRATIONS[MIGRATIONS.len() - 1].version;

/// The steps that a store needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MigrationPlan {
    /// The migrations with a number above this one.
    After(i64),
    /// None: the store has the latest schema, or a later one that this program can use.
    None,
    /// The store has a later schema, which this program cannot use.
    TooNew(i64),
}

impl MigrationPlan {
    /// Returns the plan for a store with the schema `version`, which programs can use that know the schema `compatible_with`.
    pub(super) fn of(version: i64, compatible_with: i64) -> Self {
        match version {
            version if version < LATEST => Self::After(version),
            version if compatible_with > LATEST => Self::TooNew(version),
            _ => Self::None,
        }
    }

    /// Returns the statements of the migrations to run, which `statements` returns for each, and those that record them.
    pub(super) fn sql(self, statements: fn(&Migration) -> &'static str) -> String {
        let migrations = MIGRATIONS
            .iter()
            .filter(|migration| matches!(self, Self::After(last) if migration.version > last));
        migrations.fold(String::new(), |sql, migration| {
            let Migration { version, compatible_with, .. } = migration;
            let statements = statements(migration);
            format!("{sql}{statements}INSERT INTO schema_migration VALUES ({version}, {compatible_with});\n")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_numbered_without_gaps() {
        let versions: Vec<_> = MIGRATIONS.iter().map(|migration| migration.version).collect();
        assert_eq!(versions, (1..=LATEST).collect::<Vec<_>>());
        assert!(
            MIGRATIONS.iter().all(|migration| (1..=migration.version).contains(&migration.compatible_with))
        );
    }

    #[test]
    fn a_later_schema_is_used_if_it_is_compatible_with_this_program() {
        assert_eq!(MigrationPlan::of(0, 0), MigrationPlan::After(0));
        assert_eq!(MigrationPlan::of(LATEST, 1), MigrationPlan::None);
        assert_eq!(MigrationPlan::of(LATEST + 1, LATEST), MigrationPlan::None);
        assert_eq!(MigrationPlan::of(LATEST + 1, LATEST + 1), MigrationPlan::TooNew(LATEST + 1));
    }
}
