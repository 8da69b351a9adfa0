//! `[render]`: how much work and memory pictures may take that the gateway draws itself.

use super::section::Section;
use super::values::{count, size};

/// An object of 60 MB, or a mammogram with all that is made of it; half of a small container's second half.
const MEMORY: u64 = 256 << 20;

/// Drawing takes all of a core, for a tenth of a second where an image is large.
const PARALLELISM: usize = 2;

/// How much pictures may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RenderConfig {
    /// In bytes, of all objects and pictures that are being worked on.
    pub memory: u64,
    /// So many pictures are drawn at a time.
    pub parallelism: usize,
}

impl RenderConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            memory: section.or("memory", size, MEMORY),
            parallelism: section.or("parallelism", count(1, 1000), PARALLELISM),
        }
    }
}
