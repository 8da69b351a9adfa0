//! Rows of a search or of metadata, handed over one by one as they stream in.

use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;

use crate::upstream::request::{Class, UpstreamRequest};
use crate::upstream::response::{UpstreamBody, UpstreamResponse};
use crate::upstream::{Archive, ArchiveError, ArchiveErrorKind, retry_after};
use dicom_model::json::reader::RowReader;
use http_messages::gzip::{Gunzip, GunzipError, is_gzip};

/// A series of 50,000 instances has 300 MB of metadata; whatever is longer is a mistake or an attack.
const MAX_ANSWER_LEN: u64 = 512 * 1024 * 1024;

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowsEnd {
    /// Rows that the answer held.
    pub rows: usize,
    /// The archive said that there are more (PS3.18 8.3.4.4: `Warning: 299`).
    pub more: bool,
}

impl Archive {
    /// Sends `request` and hands every row of the answer to `each` as soon as it is complete. An answer without content
    /// has no rows; an answer that is not a whole array of objects is an error, after rows may have been handed over.
    pub async fn rows<T: DeserializeOwned>(
        &self,
        request: UpstreamRequest,
        mut each: impl FnMut(T),
    ) -> Result<RowsEnd, ArchiveError> {
        let none = RowsEnd { rows: 0, more: false };
        let answer = self.send_decoding(request.clone()).await?;
        let Some(answer) = self.unless_no_match(&request, answer).await? else { return Ok(none) };
        match answer.status {
            StatusCode::NO_CONTENT => return Ok(none),
            status if status.is_success() => {}
            status => return Err(self.error(refusal(status, &answer.headers))),
        }
        let more = says_more(&answer.headers);
        let rows = self.read_rows(answer.body, &mut each).await?;
        Ok(RowsEnd { rows, more })
    }

    /// The answer to `request`; `None` where that is a search, and the answer says that nothing matches. Archives say so as an
    /// empty list, which is left to be read, as 204, as 404 of what is searched in, or with a success without content, which
    /// can mean nothing else.
    pub async fn unless_no_match(
        &self,
        request: &UpstreamRequest,
        mut answer: UpstreamResponse,
    ) -> Result<Option<UpstreamResponse>, ArchiveError> {
        if request.class() != Class::Search {
            return Ok(Some(answer));
        }
        let is_no_match = match answer.status {
            StatusCode::NO_CONTENT => true,
            // What lies below a study that is not there is nothing (PS3.18 CP-2473); a study search that is not there is a
            // wrong address.
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                !request.is_study_search() || self.profile().not_found_means_no_match
            }
            StatusCode::OK => answer.is_without_content().await?,
            _ => false,
        };
        Ok((!is_no_match).then_some(answer))
    }

    async fn read_rows<T: DeserializeOwned>(
        &self,
        mut body: UpstreamBody,
        each: &mut impl FnMut(T),
    ) -> Result<usize, ArchiveError> {
        let mut reader = RowReader::new();
        let mut length: u64 = 0;
        let mut read = |text: &[u8]| {
            length += text.len() as u64;
            if length > MAX_ANSWER_LEN {
                return Err(self.error(ArchiveErrorKind::TooLarge(MAX_ANSWER_LEN)));
            }
            reader.push(text, each).map_err(|error| self.error(error))
        };
        let undecodable = |error| {
            self.error(ArchiveErrorKind::Unreadable(match error {
                GunzipError::Broken => "a gzip body that is broken",
                GunzipError::TooLarge => "a gzip body that decodes to far more than any list",
            }))
        };
        let (mut gunzip, mut is_first) = (None, true);
        while let Some(frame) = body.frame().await {
            let Ok(chunk) = frame?.into_data() else { continue };
            if chunk.is_empty() {
                continue;
            }
            if std::mem::take(&mut is_first) && is_gzip(&chunk) {
                gunzip = Some(Gunzip::default());
            }
            let Some(gunzip) = &mut gunzip else {
                read(&chunk)?;
                continue;
            };
            gunzip.push(chunk);
            while let Some(piece) = gunzip.piece().map_err(undecodable)? {
                read(&piece)?;
            }
        }
        if let Some(gunzip) = &mut gunzip
            && let Some(piece) = gunzip.finish().map_err(undecodable)?
        {
            read(&piece)?;
        }
        reader.finish(each).map_err(|error| self.error(error))
    }
}

/// What a status that is no success means.
fn refusal(status: StatusCode, headers: &HeaderMap) -> ArchiveErrorKind {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            ArchiveErrorKind::Unauthorized(status)
        }
        StatusCode::NOT_FOUND | StatusCode::GONE => ArchiveErrorKind::NotFound,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            ArchiveErrorKind::Unavailable { status, retry_after: retry_after(headers) }
        }
        status => ArchiveErrorKind::Refused(status),
    }
}

fn says_more(headers: &HeaderMap) -> bool {
    let warnings = headers.get_all(header::WARNING).iter().filter_map(|value| value.to_str().ok());
    warnings
        .into_iter()
        .any(|warning| warning.trim_start().starts_with("299") && warning.contains("additional results"))
}
