//! The parts of the name of a variable that sets a key.

pub(super) const PREFIX: &str = "GATEWAY_";

/// Separates the levels of the key.
pub(super) const LEVEL_SEPARATOR: &str = "__";

/// The only list of tables, whose entries have indexes.
pub(super) const LIST: &str = "archive";
