//! The change feed of Orthanc, outside DICOMweb: `GET /changes` of its REST API lists stored resources by ids that Orthanc
//! assigns, and `GET /studies/{id}` and `GET /instances/{id}/study` return the Study Instance UID. It does not list deletions.

use std::collections::BTreeSet;

use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Archive, ArchiveError, ArchiveErrorKind, ContentCoding, UpstreamRequest};
use dicom_model::StudyUid;
use http_messages::gzip::Gunzip;

/// The number of changes in one response.
const CHANGES_PER_RESPONSE: usize = 100;

/// Maximum number of ids of one response whose study is requested, so that the storage of a large study costs few requests.
const MAX_LOOKUPS: usize = 20;

/// Maximum length of a response in bytes; a hundred changes have about 30 KB.
const MAX_FEED_RESPONSE_LEN: usize = 1 << 20;

/// A request to the REST API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FeedRequest {
    /// The last change.
    Last,
    /// The changes after the one with this number.
    Since(u64),
    /// The study with this id of the archive.
    Study(ResourceId),
    /// The study of the instance with this id of the archive.
    StudyOfInstance(ResourceId),
}

impl FeedRequest {
    /// Returns the path below the root of the REST API, without a leading slash.
    pub(super) fn path(&self) -> String {
        match self {
            Self::Last | Self::Since(_) => "changes".to_owned(),
            Self::Study(id) => format!("studies/{}", id.0),
            Self::StudyOfInstance(id) => format!("instances/{}/study", id.0),
        }
    }

    /// Returns the query.
    pub(super) fn query_string(&self) -> String {
        match self {
            Self::Last => "last".to_owned(),
            Self::Since(number) => format!("since={number}&limit={CHANGES_PER_RESPONSE}"),
            Self::Study(_) | Self::StudyOfInstance(_) => String::new(),
        }
    }
}

/// An id that Orthanc assigns: a SHA-1 in hexadecimal digits, in five groups.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ResourceId(String);

impl ResourceId {
    fn parse(text: &str) -> Option<Self> {
        let is_legal = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
        (text.len() == 44 && text.bytes().all(is_legal)).then(|| Self(text.to_owned()))
    }
}

/// The changes after a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveChanges {
    /// The studies in which objects were stored. If there are many, some studies are missing.
    pub studies: BTreeSet<StudyUid>,
    /// The number of the last change in the response.
    pub last_change: u64,
    /// Whether there are later changes.
    pub has_more: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ChangesResponse {
    #[serde(default)]
    changes: Vec<Change>,
    #[serde(default)]
    done: bool,
    last: u64,
}

#[derive(Deserialize)]
struct Change {
    #[serde(rename = "ResourceType")]
    resource_type: String,
    #[serde(rename = "ID")]
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StudyResponse {
    main_dicom_tags: MainTags,
}

#[derive(Deserialize)]
struct MainTags {
    #[serde(rename = "StudyInstanceUID")]
    study: String,
}

impl Archive {
    /// Returns the number of the last change. The archive must have a change feed.
    pub async fn last_change(&self) -> Result<u64, ArchiveError> {
        Ok(self.request_feed::<ChangesResponse>(FeedRequest::Last).await?.last)
    }

    /// Returns the changes after the one with the number `since`. The archive must have a change feed.
    pub async fn changes_since(&self, since: u64) -> Result<ArchiveChanges, ArchiveError> {
        let response: ChangesResponse = self.request_feed(FeedRequest::Since(since)).await?;
        let ids_of = |resource_type: &'static str| {
            let changes = response.changes.iter().filter(move |change| change.resource_type == resource_type);
            changes.filter_map(|change| ResourceId::parse(&change.id)).collect::<BTreeSet<_>>()
        };
        let study_lookups = ids_of("Study").into_iter().map(FeedRequest::Study);
        let lookups = study_lookups.chain(ids_of("Instance").into_iter().map(FeedRequest::StudyOfInstance));
        let mut studies = BTreeSet::new();
        for lookup in lookups.take(MAX_LOOKUPS) {
            match self.request_feed::<StudyResponse>(lookup).await {
                Ok(found) => {
                    studies.extend(StudyUid::parse_by(self.uid_rule(), &found.main_dicom_tags.study));
                }
                // The study has been deleted since.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(ArchiveChanges { studies, last_change: response.last, has_more: !response.done })
    }

    async fn request_feed<T: DeserializeOwned>(&self, request: FeedRequest) -> Result<T, ArchiveError> {
        let Some(request) = UpstreamRequest::change_feed(self.settings(), request) else {
            return Err(self.error(ArchiveErrorKind::NotFound));
        };
        let response = self.send_to_read(request).await?;
        if response.status != StatusCode::OK {
            return Err(self.status_error(response.status, &response.headers));
        }
        let coding =
            ContentCoding::from_headers(&response.headers).map_err(|content| self.unreadable(content))?;
        let body = Limited::new(response.body, MAX_FEED_RESPONSE_LEN).collect().await;
        let body = body.map_err(|_| self.error(ArchiveErrorKind::Truncated))?.to_bytes();
        let body = match coding.of_text(&body) {
            ContentCoding::Identity => body,
            ContentCoding::Gzip => Gunzip::decode(body, MAX_FEED_RESPONSE_LEN)
                .map_err(|_| self.unreadable("a gzip body that is malformed or decodes to too many bytes"))?,
        };
        serde_json::from_slice(&body).map_err(|_| self.unreadable("something other than a list of changes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_of_the_archive_are_sent_to_it() {
        assert!(ResourceId::parse("280c66f6-8e0eecec-10887b9f-04c573a4-bac0c230").is_some());
        for text in [
            "",
            "280c66f6",
            "280c66f6-8e0eecec-10887b9f-04c573a4-bac0c23/",
            "../280c66f68e0eecec10887b9f04c573a4bac0c23",
        ] {
            assert_eq!(ResourceId::parse(text), None, "{text}");
        }
    }
}
