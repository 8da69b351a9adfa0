//! What the FHIR handlers work with.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::clock::SharedClock;
use crate::config;
use crate::http::cursor::CursorKey;
use crate::mapping::Guide;
use crate::studies::Studies;

/// What FHIR requests are answered with; built once.
#[derive(Debug)]
pub struct FhirContext {
    /// Every study of every archive.
    pub studies: Studies,
    /// The implementation guides that resources follow beyond R4.
    pub guides: BTreeSet<Guide>,
    /// The bounds of a search.
    pub limits: config::SearchConfig,
    /// Seals the links of pages.
    pub cursors: CursorKey,
    /// From the request to its answer.
    pub request_timeout: Duration,
    /// The time of day.
    pub clock: SharedClock,
}
