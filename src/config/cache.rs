//! `[cache]`: what the gateway remembers, and for how long it trusts its memory.

use std::time::Duration;

use super::section::Section;
use super::values::{duration, size};

/// Some 20,000 studies as they are rendered, or the archives' rows behind as many; half of a small container.
const MEMORY: u64 = 512 << 20;

/// A page that is reloaded costs the archives nothing; an image that has just arrived is seen within half a minute.
const FRESH_FOR: Duration = Duration::from_secs(30);

/// What the gateway remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// In bytes, of everything that is held.
    pub memory: u64,
    /// How long an answer is given again without asking the archive whether it is still true.
    pub fresh_for: Duration,
}

impl Cache {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            memory: section.or("memory", size, MEMORY),
            fresh_for: section.or("fresh_for", duration, FRESH_FOR),
        }
    }
}
