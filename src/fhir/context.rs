//! What the FHIR handlers need.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::clock::SharedClock;
use crate::config;
use crate::http::cursor::CursorKey;
use crate::mapping::Guide;
use crate::studies::Studies;

/// The dependencies of the FHIR handlers; built once.
#[derive(Debug)]
pub struct FhirContext {
    /// The studies of all archives.
    pub studies: Studies,
    /// The implementation guides that resources follow beyond R4.
    pub guides: BTreeSet<Guide>,
    /// Whether pages of other origins may read responses.
    pub cors: bool,
    /// The limits of a search.
    pub limits: config::SearchConfig,
    /// The key that seals page links.
    pub cursors: CursorKey,
    /// Deadline from the request to its response.
    pub request_timeout: Duration,
    /// The clock.
    pub clock: SharedClock,
}
