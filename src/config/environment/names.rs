//! The parts of the name of a variable that sets a key.

pub(super) const PREFIX: &str = "GATEWAY_";

/// Separates the levels of the key.
pub(super) const LEVEL_SEPARATOR: &str = "__";

/// The only array of tables of the configuration. The level after it is the index of an entry.
pub(super) const ARRAY_OF_TABLES: &str = "archive";
