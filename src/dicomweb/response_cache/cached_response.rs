//! A small, complete response of one archive, independent of the caller.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};

use crate::cache::{CacheEntry, CacheKey};
use crate::fingerprint::Fingerprint;
use crate::upstream::ArchiveId;

#[derive(Debug, Clone)]
pub(super) struct CachedResponse {
    pub(super) content_type: HeaderValue,
    /// The archive's own ETag and Last-Modified.
    pub(super) validators: HeaderMap,
    pub(super) bytes: Bytes,
    /// The fingerprint of the rows that describe its objects, if they were requested before it.
    pub(super) fingerprint: Option<Fingerprint>,
    /// The clock's [`elapsed`](crate::clock::Clock::elapsed) when the archive last confirmed it.
    pub(super) checked_at: Duration,
}

impl CachedResponse {
    /// `request` is everything that the response depends on: path, query and accepted media types.
    pub(super) fn key(archive: &ArchiveId, request: &str) -> CacheKey {
        CacheKey::of([archive.as_str(), request])
    }

    /// A caller's headers with conditions that ask whether this response is still current instead of the caller's own
    /// (RFC 9110 13.1).
    pub(super) fn conditions(&self, headers: &HeaderMap) -> HeaderMap {
        let mut headers = headers.clone();
        for name in
            [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::IF_MATCH, header::IF_UNMODIFIED_SINCE]
        {
            headers.remove(name);
        }
        for (validator, condition) in
            [(header::ETAG, header::IF_NONE_MATCH), (header::LAST_MODIFIED, header::IF_MODIFIED_SINCE)]
        {
            if let Some(value) = self.validators.get(validator) {
                headers.insert(condition, value.clone());
            }
        }
        headers
    }
}

impl CacheEntry for CachedResponse {
    fn size(&self) -> usize {
        self.bytes.len()
    }
}
