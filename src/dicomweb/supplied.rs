//! What an archive lacks, made out of what it has: metadata out of instances.
//!
//! A service that its configuration names under `supply` is made in its place, and the archive is never asked for it; one
//! that it just refuses is made after the refusal. What is made equals what the archive holds or breaks off: nothing is
//! left out because it cannot be read.

mod instances;
mod list;
mod metadata;

use http::Response;

use super::accept::Format;
use super::error::DicomwebError;
use super::path::Resource;
use super::request::Question;
use super::{Limits, answer};
use crate::archive::{Archive, Supply};
use crate::http::body::Body;

/// Whether what `question` asks for is made here, and the archive never asked for it.
pub(super) fn replaces(archive: &Archive, question: &Question) -> bool {
    matches!(question.resource, Resource::Metadata(_)) && archive.profile().supplied.has(Supply::Metadata)
}

/// Whether what `question` asks for can be made where the archive refuses it.
pub(super) fn can_make(question: &Question) -> bool {
    matches!(question.resource, Resource::Metadata(_)) && question.accepted.takes(Format::Json)
}

/// Makes what `question` asks for.
pub(super) async fn made(
    archive: &Archive,
    limits: Limits,
    question: &Question,
) -> Result<Response<Body>, DicomwebError> {
    match &question.resource {
        Resource::Metadata(objects) if question.accepted.takes(Format::Json) => {
            let maker = metadata::Maker::new(archive, question.addresses.public(), limits);
            let rows = maker.rows(objects.clone()).await?;
            Ok(answer::rows_in(list::array(rows)))
        }
        _ => Err(DicomwebError::NotAcceptable),
    }
}
