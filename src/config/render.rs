//! `[render]`: the memory and parallelism of images that the gateway renders itself.

use super::section::Section;
use super::values::{count, size};

/// The default of `memory`: enough for an object of 60 MB or a mammogram, including its decoded samples; a quarter of the memory
/// of a container with 1 GiB.
const MEMORY: u64 = 256 << 20;

/// The default of `parallelism`. Rendering a large image occupies one core for 0.1 s.
const PARALLELISM: usize = 2;

/// The limits of rendering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RenderConfig {
    /// Maximum size in bytes of all objects and images that are rendered concurrently.
    pub memory: u64,
    /// Maximum number of images that are rendered concurrently.
    pub parallelism: usize,
}

impl RenderConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            memory: section.take_or("memory", size, MEMORY),
            parallelism: section.take_or("parallelism", count(1, 1000), PARALLELISM),
        }
    }
}
