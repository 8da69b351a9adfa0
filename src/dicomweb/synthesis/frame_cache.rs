//! Caches the frames of instances for a short time, for archives from which only whole instances can be retrieved.
//!
//! An entry is fresh like every entry of the cache, and is not revalidated after that. The frames of one instance that are cached in one
//! pass are limited, so that a large instance does not replace everything else.

use std::sync::Arc;

use bytes::Bytes;

use crate::cache::{Cache, CacheEntry, CacheKey};
use crate::upstream::{ArchiveId, DicomResource};

/// The part of the cache that the frames of one instance may occupy.
const SHARE_OF_CACHE: u64 = 8;

/// The cache of frames.
#[derive(Debug, Clone)]
pub struct FrameCache {
    cache: Cache,
    /// Maximum size in bytes of the frames that are cached in one pass.
    max_size: usize,
}

/// One frame as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CachedFrame {
    pub(super) bytes: Bytes,
    /// The transfer syntax of the instance.
    pub(super) transfer_syntax: &'static str,
    /// Whether the frame is not compressed.
    pub(super) is_native: bool,
}

/// A frame in the cache.
struct FrameEntry {
    frame: CachedFrame,
    read_at: std::time::Duration,
}

impl CacheEntry for FrameEntry {
    fn size(&self) -> usize {
        size_of::<Self>() + self.frame.bytes.len()
    }
}

impl FrameCache {
    /// Creates the cache of frames in `cache`, whose size is `memory` bytes.
    pub fn new(cache: Cache, memory: u64) -> Self {
        Self { cache, max_size: usize::try_from(memory / SHARE_OF_CACHE).unwrap_or(usize::MAX) }
    }

    /// Returns the frames of `instance` of `archive`.
    pub(super) fn instance(&self, archive: &ArchiveId, instance: &DicomResource) -> InstanceFrames {
        let read_at = self.cache.elapsed();
        InstanceFrames {
            cache: self.clone(),
            archive: archive.clone(),
            path: instance.path(),
            read_at,
            collected: Vec::new(),
            collected_size: 0,
        }
    }
}

/// The frames of one instance: those in the cache, and those that are collected while the instance is read.
#[derive(Debug)]
pub(super) struct InstanceFrames {
    cache: FrameCache,
    archive: ArchiveId,
    path: String,
    /// The [`elapsed`](crate::clock::Clock::elapsed) time before the instance was requested.
    read_at: std::time::Duration,
    collected: Vec<(u32, CachedFrame)>,
    collected_size: usize,
}

impl InstanceFrames {
    fn key(&self, number: u32) -> CacheKey {
        CacheKey::from_parts([self.archive.as_str(), &self.path, &number.to_string()])
    }

    /// Returns the frames with `numbers`; `None` if one of them is not in the cache or not fresh, or without numbers.
    pub(super) fn get_all(&self, numbers: &[u32]) -> Option<Vec<CachedFrame>> {
        let get = |number: &u32| {
            let entry: Arc<FrameEntry> = self.cache.cache.get(self.key(*number))?;
            self.cache.cache.is_fresh(entry.read_at).then(|| entry.frame.clone())
        };
        let total = |frames: &Vec<CachedFrame>| frames.iter().map(|frame| frame.bytes.len()).sum::<usize>();
        let frames: Vec<CachedFrame> = numbers.iter().map(get).collect::<Option<_>>()?;
        // Repeated numbers must not multiply the size of the response in memory.
        (!frames.is_empty() && total(&frames) <= self.cache.max_size).then_some(frames)
    }

    /// Collects a frame if it is requested or follows a requested one, and if there is space for it.
    pub(super) fn collect(&mut self, number: u32, requested: &[u32], frame: impl FnOnce() -> CachedFrame) {
        let is_collected = requested.iter().min().is_some_and(|first| *first <= number);
        if !is_collected {
            return;
        }
        let frame = frame();
        if self.collected_size + frame.bytes.len() <= self.cache.max_size {
            self.collected_size += frame.bytes.len();
            self.collected.push((number, frame));
        }
    }

    /// Stores the collected frames, after the whole instance has been read.
    pub(super) fn store(&mut self) {
        for (number, frame) in std::mem::take(&mut self.collected) {
            let entry = Arc::new(FrameEntry { frame, read_at: self.read_at });
            self.cache.cache.insert(self.key(number), entry);
        }
    }
}
