//! A cached response: small, complete, from one archive, and independent of the caller.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};

use crate::cache::{CacheEntry, CacheKey};
use crate::fingerprint::Fingerprint;
use crate::upstream::ArchiveId;
use dicom_model::StudyUid;

/// A cached response.
#[derive(Debug, Clone)]
pub(super) struct CachedResponse {
    /// The archive that sent the response.
    pub(super) archive: ArchiveId,
    /// The study of the objects.
    pub(super) study: StudyUid,
    pub(super) content_type: HeaderValue,
    /// The ETag and Last-Modified of the archive.
    pub(super) validators: HeaderMap,
    pub(super) bytes: Bytes,
    /// The fingerprint of the rows of the objects, if the rows were requested before the response.
    pub(super) fingerprint: Option<Fingerprint>,
    /// The [`elapsed`](crate::clock::Clock::elapsed) time at which the response was requested.
    pub(super) requested_at: Duration,
    /// The [`elapsed`](crate::clock::Clock::elapsed) time of the last validation.
    pub(super) validated_at: Duration,
}

impl CachedResponse {
    /// Returns the key of the response of `archive` to `request`, which consists of path, query and accepted media types.
    pub(super) fn key(archive: &ArchiveId, request: &str) -> CacheKey {
        CacheKey::from_parts([archive.as_str(), request])
    }

    /// Replaces the conditions in the headers of a caller by those that revalidate this response (RFC 9110 13.1).
    pub(super) fn with_conditions(&self, headers: &HeaderMap) -> HeaderMap {
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
