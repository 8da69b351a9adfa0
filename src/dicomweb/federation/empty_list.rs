//! Detects whether a response contains an empty list of rows, from the beginning of the list.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, StreamExt};
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, BodyStream, StreamBody};

use crate::dicomweb::proxy::xml_parts::is_empty_list;
use http_messages::body::{self, Body, BoxError};

/// Returns `response`, a list of rows, and whether the list is empty. The response with an empty list in XML has status 204.
pub(super) async fn detect_empty_list(response: Response<Body>) -> (Response<Body>, bool) {
    if response.status() != StatusCode::OK {
        let is_empty = response.status() == StatusCode::NO_CONTENT;
        return (response, is_empty);
    }
    let (parts, mut rest) = response.into_parts();
    let (mut start, mut frames) = (BytesMut::new(), VecDeque::<Result<Frame<Bytes>, BoxError>>::new());
    let mut is_empty = is_empty_list(&start);
    while is_empty.is_none() {
        let Some(frame) = rest.frame().await else { break };
        match frame.as_ref().map(Frame::data_ref) {
            Ok(Some(data)) => start.extend_from_slice(data),
            Ok(None) => {}
            Err(_) => is_empty = Some(false),
        }
        frames.push_back(frame);
        is_empty = is_empty.or_else(|| is_empty_list(&start));
    }
    let all_frames = stream::iter(frames).chain(BodyStream::new(rest));
    (Response::from_parts(parts, body::streamed(StreamBody::new(all_frames))), is_empty == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_list_is_unchanged_whether_it_is_empty_or_not() {
        for (pieces, expected) in [
            (&["[]"][..], true),
            (&[" [", "\n", "]"], true),
            (&["[", "{}]"], false),
            (&["--boundary"], false),
            (&[], false),
        ] {
            let frames = pieces
                .iter()
                .map(|piece| Ok::<_, BoxError>(Frame::data(Bytes::from_static(piece.as_bytes()))));
            let body = body::streamed(StreamBody::new(stream::iter(frames)));
            let (response, is_empty) = detect_empty_list(Response::new(body)).await;
            assert_eq!(is_empty, expected, "{pieces:?}");
            let bytes = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(bytes, pieces.concat());
        }
        let mut no_content = Response::new(body::empty());
        *no_content.status_mut() = StatusCode::NO_CONTENT;
        assert!(detect_empty_list(no_content).await.1);
    }
}
