//! The version of this build, as `build.rs` determined it at compile time.

/// The version, commit and commit date that `--version` prints: `0.1.0 (commit 0123456789ab, 2026-01-31)`.
pub const DESCRIPTION: &str = env!("GATEWAY_BUILD_DESCRIPTION");

/// The version of the release.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The date of the last change of the CapabilityStatement, as YYYY-MM-DD: the date of the commit or, if unknown, of the release.
pub const STATEMENT_DATE: &str = env!("GATEWAY_STATEMENT_DATE");
