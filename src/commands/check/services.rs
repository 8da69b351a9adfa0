//! Tries the services of an archive other than searches and metadata: the retrieval of an object, WADO-URI, rendered instances, frames,
//! and the change feed.

use std::time::Instant;

use http::{HeaderValue, StatusCode, header};
use http_body_util::BodyExt;

use super::probe::ProbeResult;
use crate::upstream::{
    Archive, DicomResource, OBJECT_MEDIA_TYPES, Rendering, Retrieval, UpstreamRequest, UpstreamResponse,
    WadoUri,
};

/// The length of the preamble and the prefix of a DICOM file, in bytes (PS3.10 7.1).
const PREAMBLE_LEN: usize = 132;

/// Retrieves `instance`, with the media types that the gateway requests. Reads only the head of the response.
pub(super) async fn try_retrieval(archive: &Archive, instance: DicomResource) -> ProbeResult {
    let started = Instant::now();
    let mut rejection = None;
    for media_types in OBJECT_MEDIA_TYPES {
        let retrieval = Retrieval::whole(instance.clone());
        let request = UpstreamRequest::retrieve(retrieval).with_accept(media_types);
        let response = match archive.send(request).await {
            Ok(response) => response,
            Err(error) => return ProbeResult::Failed(error),
        };
        let status = response.status;
        if status == StatusCode::OK {
            return if has_media_type(&response, &["multipart/", "application/dicom"]) {
                ProbeResult::Rows(1, started.elapsed())
            } else {
                ProbeResult::Unexpected("it returned something other than a DICOM object; check wado_url")
            };
        }
        let error = rejection.get_or_insert(archive.status_error(status, &response.headers));
        if !matches!(status.as_u16(), 400 | 406 | 415) {
            return ProbeResult::Failed(error.clone());
        }
    }
    rejection.map_or(ProbeResult::NotTried, ProbeResult::Failed)
}

/// Sends the first request of the gateway to the change feed, if it is configured.
pub(super) async fn try_change_feed(archive: &Archive) -> ProbeResult {
    if archive.settings().rest_url.is_none() {
        return ProbeResult::NotTried;
    }
    let started = Instant::now();
    match archive.last_change().await {
        Ok(_) => ProbeResult::Rows(1, started.elapsed()),
        Err(error) => ProbeResult::Failed(error),
    }
}

/// Requests the object from the WADO-URI service, if it is configured. Reads only the preamble and prefix of the DICOM file.
pub(super) async fn try_uri_service(archive: &Archive, object: WadoUri) -> ProbeResult {
    let request = object
        .with("contentType", "application/dicom")
        .ok()
        .and_then(|object| UpstreamRequest::wado_uri(archive.settings(), object));
    let Some(request) = request else { return ProbeResult::NotTried };
    let started = Instant::now();
    let mut response = match archive.send(request).await {
        Ok(response) => response,
        Err(error) => return ProbeResult::Failed(error),
    };
    if response.status != StatusCode::OK {
        return ProbeResult::Unexpected(
            "it rejected the request for an object that the archive has; check wado_uri_url",
        );
    }
    let mut prefix = Vec::new();
    while prefix.len() < PREAMBLE_LEN {
        match response.body.frame().await {
            Some(Ok(frame)) => prefix.extend_from_slice(frame.data_ref().map_or(&[], |data| &data[..])),
            Some(Err(error)) => return ProbeResult::Failed(error),
            None => break,
        }
    }
    if prefix.get(..PREAMBLE_LEN).is_some_and(|preamble| preamble.ends_with(b"DICM")) {
        ProbeResult::Rows(1, started.elapsed())
    } else {
        ProbeResult::Unexpected("it returned something other than a DICOM object; check wado_uri_url")
    }
}

/// Whether the archive returns a rendered instance that is not an image. If it rejects the request, the gateway renders the
/// instance, and no setting is needed.
pub(super) async fn renders_incorrectly(archive: &Archive, instance: DicomResource) -> bool {
    let rendered = Retrieval::rendered(instance, Rendering::default());
    let accept = HeaderValue::from_static("image/jpeg");
    returns_other_type(archive, rendered, accept, &["image/"]).await
}

/// Whether the archive returns something other than pixel data for a frame. If it rejects the request, the gateway synthesizes the
/// frame, and no setting is needed.
pub(super) async fn returns_no_frame(archive: &Archive, frame: DicomResource) -> bool {
    let accept =
        HeaderValue::from_static("multipart/related; type=\"application/octet-stream\"; transfer-syntax=*");
    let types = ["multipart/", "application/octet-stream", "image/", "video/"];
    returns_other_type(archive, Retrieval::whole(frame), accept, &types).await
}

/// Whether the archive responds successfully with a media type that begins with none of `types`.
async fn returns_other_type(
    archive: &Archive,
    retrieval: Retrieval,
    accept: HeaderValue,
    types: &[&str],
) -> bool {
    let request = UpstreamRequest::retrieve(retrieval).with_accept(accept);
    let response = archive.send(request).await;
    response.is_ok_and(|response| response.status == StatusCode::OK && !has_media_type(&response, types))
}

/// Whether the media type of the response begins with one of `types`.
fn has_media_type(response: &UpstreamResponse, types: &[&str]) -> bool {
    let content_type = response.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default();
    types.iter().any(|known| content_type.starts_with(known))
}
