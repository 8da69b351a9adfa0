//! Caches the frames of instances for a short time, for archives from which only whole instances can be retrieved.
//!
//! A frame is fresh for as long as every entry of the cache, but not after anything was invalidated, and is never revalidated. All
//! frames of one response are from one pass over the instance, because the instance may be replaced between two passes. The total
//! size of the frames that one pass caches is limited, so that a large instance does not replace all other entries.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::cache::{Cache, CacheEntry, CacheKey};
use crate::upstream::{ArchiveId, DicomResource};

/// The size of the cache divided by the maximum size of the frames of one instance.
const CACHE_DIVISOR: u64 = 8;

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
    pass: Pass,
}

/// One pass over an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pass {
    number: u64,
    /// The [`elapsed`](crate::clock::Clock::elapsed) time before the instance was requested.
    read_at: std::time::Duration,
    /// The generation of the cache at that time.
    generation: u64,
}

/// The number of the next pass.
static NEXT_PASS: AtomicU64 = AtomicU64::new(0);

impl CacheEntry for FrameEntry {
    fn size(&self) -> usize {
        size_of::<Self>() + self.frame.bytes.len()
    }
}

impl FrameCache {
    /// Creates the cache of frames in `cache`, whose size is `memory` bytes.
    pub fn new(cache: Cache, memory: u64) -> Self {
        Self { cache, max_size: usize::try_from(memory / CACHE_DIVISOR).unwrap_or(usize::MAX) }
    }

    /// Returns the frames of `instance` of `archive`.
    pub(super) fn instance(&self, archive: &ArchiveId, instance: &DicomResource) -> InstanceFrames {
        let pass = Pass {
            number: NEXT_PASS.fetch_add(1, Ordering::Relaxed),
            read_at: self.cache.elapsed(),
            generation: self.cache.generation(),
        };
        InstanceFrames {
            cache: self.clone(),
            archive: archive.clone(),
            path: instance.path(),
            pass,
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
    pass: Pass,
    collected: Vec<(u32, CachedFrame)>,
    collected_size: usize,
}

impl InstanceFrames {
    fn key(&self, number: u32) -> CacheKey {
        CacheKey::from_parts([self.archive.as_str(), &self.path, &number.to_string()])
    }

    /// Returns the frames with `numbers`, all from the same pass; `None` if `numbers` is empty, or if a frame is not in the cache or
    /// not fresh.
    pub(super) fn get_all(&self, numbers: &[u32]) -> Option<Vec<CachedFrame>> {
        let get = |number: &u32| {
            let entry: Arc<FrameEntry> = self.cache.cache.get(self.key(*number))?;
            let is_current = self.cache.cache.is_fresh(entry.pass.read_at)
                && entry.pass.generation == self.pass.generation;
            is_current.then_some(entry)
        };
        let total = |frames: &Vec<CachedFrame>| frames.iter().map(|frame| frame.bytes.len()).sum::<usize>();
        let entries: Vec<Arc<FrameEntry>> = numbers.iter().map(get).collect::<Option<_>>()?;
        let is_one_pass = entries.windows(2).all(|pair| pair[0].pass == pair[1].pass);
        let frames: Vec<CachedFrame> = entries.iter().map(|entry| entry.frame.clone()).collect();
        // Repeated numbers must not multiply the size of the response in memory.
        (is_one_pass && !frames.is_empty() && total(&frames) <= self.cache.max_size).then_some(frames)
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

    /// Stores the collected frames, after the whole instance has been read, unless something was invalidated meanwhile.
    pub(super) fn store(&mut self) {
        if self.cache.cache.generation() != self.pass.generation {
            return;
        }
        for (number, frame) in std::mem::take(&mut self.collected) {
            let entry = Arc::new(FrameEntry { frame, pass: self.pass });
            self.cache.cache.insert(self.key(number), entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use dicom_model::{SeriesUid, SopInstanceUid, StudyUid};

    #[test]
    fn frames_are_not_returned_after_an_invalidation() {
        let cache = Cache::new(1 << 20, std::time::Duration::from_secs(30), Arc::new(ManualClock::default()));
        let frames = FrameCache::new(cache.clone(), 1 << 20);
        let archive = ArchiveId::parse("main").unwrap();
        let instance = DicomResource::Instance(
            StudyUid::parse("1.2").unwrap(),
            SeriesUid::parse("1.2.3").unwrap(),
            SopInstanceUid::parse("1.2.3.4").unwrap(),
        );
        let frame =
            || CachedFrame { bytes: Bytes::from_static(b"pixels"), transfer_syntax: "1.2", is_native: true };
        let store = |mut pass: InstanceFrames| {
            pass.collect(1, &[1], frame);
            pass.store();
        };
        let get = || frames.instance(&archive, &instance).get_all(&[1]);
        store(frames.instance(&archive, &instance));
        assert_eq!(get(), Some(vec![frame()]));
        let pass_before_the_invalidation = frames.instance(&archive, &instance);
        cache.start_generation();
        assert_eq!(get(), None);
        store(pass_before_the_invalidation);
        assert_eq!(get(), None);
    }
}
