//! `[render]`: the memory and parallelism of images that the gateway renders itself.

use super::section::Section;
use super::values::{count, size};

/// Memory for an object of 60 MB or a mammogram, including everything made from it; a quarter of a small container's gigabyte.
const MEMORY: u64 = 256 << 20;

/// Rendering occupies a core completely, for a tenth of a second if the image is large.
const PARALLELISM: usize = 2;

/// The limits of rendering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RenderConfig {
    /// Maximum size in bytes of all objects and images being rendered at the same time.
    pub memory: u64,
    /// How many images are rendered at the same time.
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
