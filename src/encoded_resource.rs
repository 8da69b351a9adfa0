//! A FHIR resource as it is sent: bytes and validators. Does not know which resource it is, nor who requested it.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use jiff::Timestamp;

use crate::change_log::VersionId;
use http_messages::gzip::compress;

/// A resource's JSON as bytes, plain and compressed, with its validators.
#[derive(Debug, Clone)]
pub struct EncodedResource {
    /// The JSON, without a trailing newline.
    pub json: Bytes,
    /// The same JSON, gzip-coded, if that is shorter.
    pub gzip: Option<Bytes>,
    /// The entity tag of the content: `W/"…"` with hexadecimal digits, as sent; weak, because one content has several
    /// encodings.
    pub etag: Bytes,
    /// When the content was first seen, if known and if it distinguishes the content from the previous one.
    pub last_modified: Option<LastModified>,
}

impl EncodedResource {
    /// Compresses `json` once for all readers. The entity tag is a hash of the content.
    pub fn new(json: Vec<u8>) -> Self {
        let id = VersionId::of_content(&json);
        Self::of_version(json, id, None)
    }

    /// As [`new`](Self::new), for a resource with a version. The version is the entity tag of each form (R4 http#read): forms
    /// have URLs of their own, where a validator distinguishes one content from an earlier one, and all of them change when the
    /// version does.
    pub fn of_version(json: Vec<u8>, id: VersionId, last_updated: Option<Timestamp>) -> Self {
        let gzip = compress(&json);
        let etag = Bytes::from(format!("W/\"{id}\""));
        Self {
            json: json.into_boxed_slice().into(),
            gzip,
            etag,
            last_modified: last_updated.map(LastModified::of),
        }
    }

    /// Bytes occupied, for the bound of the cache.
    pub fn size(&self) -> usize {
        self.json.len() + self.gzip.as_ref().map_or(0, Bytes::len) + self.etag.len()
    }
}

/// A time as an HTTP date (RFC 9110 8.8.2). HTTP dates have whole seconds: the time is rounded up, so that a client with the
/// previous content is never mistaken for one with the current content.
#[derive(Debug, Clone)]
pub struct LastModified {
    second: SystemTime,
    text: Bytes,
}

impl LastModified {
    fn of(moment: Timestamp) -> Self {
        let second = second_of(moment.as_second() + i64::from(moment.subsec_nanosecond() > 0));
        Self { second, text: httpdate::fmt_http_date(second).into() }
    }

    /// The time rounded up.
    pub fn second(&self) -> SystemTime {
        self.second
    }

    /// The HTTP date as sent at `now`: never later than `now`.
    pub fn text_at(&self, now: Timestamp) -> Bytes {
        let now = second_of(now.as_second());
        if self.second <= now { self.text.clone() } else { httpdate::fmt_http_date(now).into() }
    }
}

/// HTTP has no dates before 1970.
fn second_of(unix: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(unix).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn both_encodings_have_the_same_content() {
        let json = br#"{"resourceType":"ImagingStudy"}"#.repeat(100);
        let encoded = EncodedResource::new(json.clone());
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&*encoded.gzip.clone().unwrap()).read_to_end(&mut plain).unwrap();
        assert_eq!(plain, json);
        assert_eq!(encoded.json, json);
        assert!(encoded.size() > json.len());
    }

    #[test]
    fn a_date_is_rounded_up_and_never_in_the_future() {
        let at = |milliseconds| Timestamp::from_millisecond(milliseconds).unwrap();
        let text = |changed, now| {
            let encoded =
                EncodedResource::of_version(b"{}".to_vec(), VersionId::of_content(b""), Some(at(changed)));
            let text = encoded.last_modified.unwrap().text_at(at(now));
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
