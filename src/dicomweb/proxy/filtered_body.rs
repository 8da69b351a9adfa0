//! A body of the gateway that passes through one filter.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};

use super::stream::Filter;
use crate::upstream::{Archive, LargeObjectAdmission};
use http_messages::body::{Body, BoxError};

/// Maximum number of bytes that are filtered in one poll, which takes less than a millisecond.
const STEP_SIZE: usize = 32 * 1024;

/// A body with the filter that it passes through.
#[derive(Debug)]
pub(crate) struct FilteredBody {
    /// The unfiltered body; `None` after its end.
    inner: Option<Body>,
    /// The bytes that were received but not yet filtered.
    pending: Bytes,
    filter: Filter,
    /// The archive whose objects the filter holds, and their admission; `None` if they are in memory anyway.
    admission: Option<(Archive, LargeObjectAdmission)>,
}

impl FilteredBody {
    /// Creates a body of the filtered bytes of `inner`.
    pub(crate) fn new(inner: Body, filter: Filter) -> Self {
        Self { inner: Some(inner), pending: Bytes::new(), filter, admission: None }
    }

    /// Returns the same body, whose objects are those of `archive` and are not in memory yet.
    pub(crate) fn of_archive(self, archive: &Archive) -> Self {
        Self { admission: Some((archive.clone(), LargeObjectAdmission::default())), ..self }
    }
}

impl HttpBody for FilteredBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self { inner, pending, filter, admission } = &mut *self;
        while let Some(body) = inner {
            if let Some((archive, admission)) = admission {
                ready!(admission.poll_admit(archive, filter.held_len(), context))?;
            }
            if pending.is_empty() {
                let frame = ready!(Pin::new(body).poll_frame(context)).transpose()?;
                match frame.map(Frame::into_data) {
                    Some(Ok(data)) => *pending = data,
                    // Trailers are not forwarded.
                    Some(Err(_)) => continue,
                    None => *inner = None,
                }
            }
            let filtered = match inner {
                Some(_) => filter.push(pending.split_to(pending.len().min(STEP_SIZE)))?,
                None => filter.finish()?,
            };
            if !filtered.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(filtered))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_none()
    }
}
