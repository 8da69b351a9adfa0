//! Reads the rows of a search or of metadata one by one while they stream.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;

use crate::upstream::request::{RequestClass, UpstreamRequest};
use crate::upstream::response::{UpstreamBody, UpstreamResponse};
use crate::upstream::{Archive, ArchiveError, ArchiveErrorKind, ContentCoding, LargeObjectAdmission};
use dicom_model::json::reader::RowReader;
use http_messages::gzip::{Gunzip, GunzipError};

/// Maximum length of a response in bytes. A series of 50,000 instances has 300 MB of metadata; a longer response is the
/// result of an error or an attack.
const MAX_RESPONSE_LEN: u64 = 512 * 1024 * 1024;

/// Maximum length of a row of a search in bytes. Rows usually have a few kilobytes.
pub const MAX_SEARCH_ROW_LEN: usize = 1024 * 1024;

/// Maximum length of the metadata of one instance in bytes. The metadata of an instance with many frames has a few megabytes.
const MAX_METADATA_ROW_LEN: usize = 64 * 1024 * 1024;

/// The result of reading a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowsOutcome {
    /// The number of rows in the response.
    pub row_count: usize,
    /// Whether the archive reported more rows (PS3.18 8.3.4.4: `Warning: 299`).
    pub has_more: bool,
}

impl Archive {
    /// Sends `request` and passes each row of the response to `add` as soon as it is complete. A response without content has no
    /// rows. A response that is not a complete array of objects is an error; rows before the error may already have been passed
    /// to `add`.
    pub async fn rows<T: DeserializeOwned>(
        &self,
        request: UpstreamRequest,
        mut add: impl FnMut(T),
    ) -> Result<RowsOutcome, ArchiveError> {
        let add = |row| {
            add(row);
            ControlFlow::Continue(())
        };
        self.read_rows_until(request, add).await
    }

    /// Does the same as [`rows`](Self::rows) until `add` returns `Break`. Then the connection is closed, and the rest of the response is
    /// not read.
    pub async fn read_rows_until<T: DeserializeOwned>(
        &self,
        request: UpstreamRequest,
        mut add: impl FnMut(T) -> ControlFlow<()>,
    ) -> Result<RowsOutcome, ArchiveError> {
        let no_rows = RowsOutcome { row_count: 0, has_more: false };
        let response = self.send_to_read(request.clone()).await?;
        let Some(response) = self.none_if_no_match(&request, response).await? else { return Ok(no_rows) };
        match response.status {
            StatusCode::NO_CONTENT => return Ok(no_rows),
            StatusCode::OK => {}
            status => return Err(self.status_error(status, &response.headers)),
        }
        let has_more = has_more_rows(&response.headers);
        let coding =
            ContentCoding::from_headers(&response.headers).map_err(|content| self.unreadable(content))?;
        let max_row_len =
            if request.class() == RequestClass::Search { MAX_SEARCH_ROW_LEN } else { MAX_METADATA_ROW_LEN };
        let row_count = self.read_rows(response.body, coding, max_row_len, &mut add).await?;
        Ok(RowsOutcome { row_count, has_more })
    }

    /// Returns the response to `request`; `None` if the request is a search and the response means that nothing matches. In this
    /// case archives return an empty list (which the caller reads), 204 (PS3.18 10.6.3.1), 404 for the parent resource, or, like
    /// dcm4chee-arc-cdi, 200 with an empty body. An empty web page is none of these: it is the response of another server.
    pub async fn none_if_no_match(
        &self,
        request: &UpstreamRequest,
        mut response: UpstreamResponse,
    ) -> Result<Option<UpstreamResponse>, ArchiveError> {
        if request.class() != RequestClass::Search {
            return Ok(Some(response));
        }
        let is_no_match = match response.status {
            // A search across studies has no parent resource, so it is the service that does not exist.
            StatusCode::NOT_FOUND | StatusCode::GONE
                if request.is_search_across_studies()
                    && !(self.profile().not_found_means_no_match
                        && Box::pin(self.confirms_not_found()).await?) =>
            {
                return Err(self.error(ArchiveErrorKind::NoSearchService(response.status)));
            }
            // 404 means that the study does not exist (PS3.18 CP-2473).
            StatusCode::NO_CONTENT | StatusCode::NOT_FOUND | StatusCode::GONE => true,
            StatusCode::OK => !response.is_web_page() && response.has_empty_body().await?,
            _ => false,
        };
        Ok((!is_no_match).then_some(response))
    }

    async fn read_rows<T: DeserializeOwned>(
        &self,
        mut body: UpstreamBody,
        coding: ContentCoding,
        max_row_len: usize,
        add: &mut impl FnMut(T) -> ControlFlow<()>,
    ) -> Result<usize, ArchiveError> {
        let mut reader = RowReader::with_max_row_len(max_row_len);
        let mut admission = LargeObjectAdmission::default();
        let (row_count, is_stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
        let add = &mut |row| {
            if !is_stopped.load(Ordering::Relaxed) {
                row_count.fetch_add(1, Ordering::Relaxed);
                is_stopped.store(add(row).is_break(), Ordering::Relaxed);
            }
        };
        let mut length: u64 = 0;
        let mut read = async |text: &[u8], reader: &mut RowReader<T>| {
            length += text.len() as u64;
            if length > MAX_RESPONSE_LEN {
                return Err(self.error(ArchiveErrorKind::TooLarge(MAX_RESPONSE_LEN)));
            }
            reader.push(text, add).map_err(|error| self.error(error))?;
            admission.admit(self, reader.pending_len()).await
        };
        let gunzip_error = |error| {
            self.error(ArchiveErrorKind::Unreadable(match error {
                GunzipError::Malformed => "the gzip body is malformed",
                GunzipError::TooLarge => "the gzip body decodes to more bytes than any list has",
            }))
        };
        let (mut gunzip, mut is_first) = ((coding == ContentCoding::Gzip).then(Gunzip::default), true);
        while !is_stopped.load(Ordering::Relaxed)
            && let Some(frame) = body.frame().await
        {
            let Ok(chunk) = frame?.into_data() else { continue };
            if chunk.is_empty() {
                continue;
            }
            if std::mem::take(&mut is_first)
                && gunzip.is_none()
                && coding.of_text(&chunk) == ContentCoding::Gzip
            {
                gunzip = Some(Gunzip::default());
            }
            let Some(gunzip) = &mut gunzip else {
                read(&chunk, &mut reader).await?;
                continue;
            };
            gunzip.push(chunk);
            while !is_stopped.load(Ordering::Relaxed)
                && let Some(piece) = gunzip.next_piece().map_err(gunzip_error)?
            {
                read(&piece, &mut reader).await?;
            }
        }
        if is_stopped.load(Ordering::Relaxed) {
            return Ok(row_count.into_inner());
        }
        if let Some(gunzip) = &mut gunzip
            && let Some(piece) = gunzip.finish().map_err(|_| self.error(ArchiveErrorKind::Truncated))?
        {
            read(&piece, &mut reader).await?;
        }
        reader.finish(add).map_err(|error| self.error(error))
    }
}

fn has_more_rows(headers: &HeaderMap) -> bool {
    let warnings = headers.get_all(header::WARNING).iter().filter_map(|value| value.to_str().ok());
    warnings
        .into_iter()
        .any(|warning| warning.trim_start().starts_with("299") && warning.contains("additional results"))
}
