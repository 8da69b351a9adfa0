//! A FHIR resource as bytes for a response, with its validators. It depends neither on the type of the resource nor on the
//! caller.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use jiff::Timestamp;

use crate::archive_id::ArchiveId;
use crate::change_log::VersionId;
use http_messages::gzip::compress;

/// The JSON of a resource, uncompressed and compressed, with its validators.
#[derive(Debug, Clone)]
pub struct EncodedResource {
    /// The JSON, without a trailing newline.
    pub json: Bytes,
    /// The same JSON with the content coding gzip, if it is shorter.
    pub gzip: Option<Bytes>,
    /// The entity tag `W/"…"` with hexadecimal digits, as sent. It is weak, because one content has several encodings.
    pub etag: Bytes,
    /// The time at which the content was first seen, if it is known and distinguishes the content from the previous one.
    pub last_modified: Option<LastModified>,
    /// How the resource was taken from the cache; `None` if it was not.
    pub reuse: Option<Reuse>,
    /// The archives that failed, and may contain a part of the resource.
    pub missing_archives: Vec<ArchiveId>,
}

/// The use of a cached resource for a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reuse {
    /// The time since the archives last confirmed the resource.
    pub age: Duration,
    /// Whether the archives failed when the resource should have been confirmed.
    pub has_failed_revalidation: bool,
}

impl EncodedResource {
    /// Compresses `json` once for all responses. The entity tag is a hash of the content.
    pub fn new(json: Vec<u8>) -> Self {
        let id = VersionId::of_content(&json);
        Self::of_version(json, id, None)
    }

    /// Does the same as [`new`](Self::new) for a resource with a version. The version id is the entity tag of every
    /// representation (R4 http#read): the representations have different URLs, and all of them change when the version changes.
    pub fn of_version(json: Vec<u8>, id: VersionId, last_updated: Option<Timestamp>) -> Self {
        let gzip = compress(&json);
        let etag = Bytes::from(format!("W/\"{id}\""));
        Self {
            json: json.into_boxed_slice().into(),
            gzip,
            etag,
            last_modified: last_updated.map(LastModified::round_up),
            reuse: None,
            missing_archives: Vec::new(),
        }
    }

    /// Returns the resource for a response that is taken from the cache.
    #[must_use]
    pub fn with_reuse(&self, reuse: Reuse) -> Self {
        Self { reuse: Some(reuse), ..self.clone() }
    }

    /// Returns the resource, which may be incomplete because these archives failed.
    #[must_use]
    pub fn without_archives(&self, archives: impl Iterator<Item = ArchiveId>) -> Self {
        Self { missing_archives: archives.collect(), ..self.clone() }
    }

    /// Returns the size in bytes, for the limit of the cache.
    pub fn size(&self) -> usize {
        self.json.len() + self.gzip.as_ref().map_or(0, Bytes::len) + self.etag.len()
    }
}

/// A time as an HTTP date (RFC 9110 8.8.2). HTTP dates have whole seconds. The time is rounded up, because rounding down could
/// make the previous content appear to be current.
#[derive(Debug, Clone)]
pub struct LastModified {
    second: SystemTime,
    text: Bytes,
}

impl LastModified {
    fn round_up(time: Timestamp) -> Self {
        let second = to_system_time(time.as_second() + i64::from(time.subsec_nanosecond() > 0));
        Self { second, text: httpdate::fmt_http_date(second).into() }
    }

    /// Returns the time rounded up to a second.
    pub fn second(&self) -> SystemTime {
        self.second
    }

    /// Returns the HTTP date for a response at `now`; it is never later than `now`.
    pub fn text_at(&self, now: Timestamp) -> Bytes {
        let now = to_system_time(now.as_second());
        if self.second <= now { self.text.clone() } else { httpdate::fmt_http_date(now).into() }
    }
}

/// Converts Unix seconds. A time before 1970 becomes 1970-01-01.
fn to_system_time(unix: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(unix).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn the_gzip_coding_decodes_to_the_json() {
        let json = br#"{"resourceType":"ImagingStudy"}"#.repeat(100);
        let encoded = EncodedResource::new(json.clone());
        let mut decoded = Vec::new();
        flate2::read::GzDecoder::new(&*encoded.gzip.clone().unwrap()).read_to_end(&mut decoded).unwrap();
        assert_eq!(decoded, json);
        assert_eq!(encoded.json, json);
        assert!(encoded.size() > json.len());
    }

    #[test]
    fn a_date_is_rounded_up_and_never_in_the_future() {
        let timestamp = |milliseconds| Timestamp::from_millisecond(milliseconds).unwrap();
        let text = |changed, now| {
            let encoded = EncodedResource::of_version(
                b"{}".to_vec(),
                VersionId::of_content(b""),
                Some(timestamp(changed)),
            );
            let text = encoded.last_modified.unwrap().text_at(timestamp(now));
            String::from_utf8(text.to_vec()).unwrap()
        };
        assert_eq!(text(784_111_776_001, 784_111_900_000), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(text(784_111_777_000, 784_111_900_000), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(text(784_111_777_001, 784_111_777_900), "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn the_entity_tag_identifies_the_content() {
        let tag = |json: &[u8]| EncodedResource::new(json.to_vec()).etag;
        assert_eq!(tag(b"{}"), tag(b"{}"));
        assert_ne!(tag(b"{}"), tag(b"{ }"));
        assert!(tag(b"{}").starts_with(b"W/\"") && tag(b"{}").ends_with(b"\""));
    }
}
