//! `[render]`: the memory, parallelism and duration of images that the gateway renders itself.

use std::time::Duration;

use super::section::Section;
use super::values::{count, duration, size};

/// The default of `memory`: enough for an object of 60 MB or a mammogram, including its decoded samples; a quarter of the memory
/// of a container with 768 MiB.
const MEMORY: u64 = 160 << 20;

/// The default of `parallelism`. Rendering a large image occupies one core for 0.1 s.
const PARALLELISM: usize = 2;

/// The default of `timeout`. The largest images that the default of `memory` allows take a few seconds.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The limits of rendering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RenderConfig {
    /// Maximum size in bytes of all objects and images that are rendered concurrently.
    pub memory: u64,
    /// Maximum number of images that are rendered concurrently.
    pub parallelism: usize,
    /// Maximum time for rendering one image.
    pub timeout: Duration,
}

impl RenderConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            memory: section.take_or("memory", size, MEMORY),
            parallelism: section.take_or("parallelism", count(1, 1000), PARALLELISM),
            timeout: section.take_or("timeout", duration, TIMEOUT),
        }
    }
}
