//! What an archive lacks, made out of what it has: metadata, and the large values that they point at, out of instances.
//!
//! A service that its configuration names under `supply` is made in its place, and the archive is never asked for it; one
//! that it just refuses is made after the refusal. What is made equals what the archive holds or breaks off: nothing is
//! left out because it cannot be read.

mod instances;
mod list;
mod metadata;
mod values;

use http::Response;

use super::error::DicomwebError;
use super::path::Resource;
use super::request::Question;
use super::{Limits, answer};
use crate::archive::{Archive, Objects, PathSegment, Supply};
use crate::http::body::Body;
use crate::http::negotiation::most_wanted;
use crate::objects::json::Step;

/// What can be made.
#[derive(Debug)]
enum Makeable<'a> {
    Metadata(&'a Objects),
    Value(&'a Objects, Vec<Step>),
}

impl<'a> Makeable<'a> {
    fn of(resource: &'a Resource) -> Option<Self> {
        match resource {
            Resource::Metadata(objects) => Some(Self::Metadata(objects)),
            // Where the metadata that are made here say that values stand; archives have other places too.
            Resource::Bulkdata(instance @ Objects::Instance(..), segments) => {
                let segments: Vec<_> = segments.iter().map(PathSegment::as_str).collect();
                let (first, steps) = segments.split_first()?;
                (*first == "bulkdata").then(|| Step::path(steps).map(|steps| Self::Value(instance, steps)))?
            }
            _ => None,
        }
    }
}

/// Whether what `question` asks for is made here, and the archive never asked for it.
pub(super) fn replaces(archive: &Archive, question: &Question) -> bool {
    archive.profile().supplied.has(Supply::Metadata) && Makeable::of(&question.resource).is_some()
}

/// Whether what `question` asks for can be made where the archive refuses it.
pub(super) fn can_make(question: &Question) -> bool {
    Makeable::of(&question.resource).is_some()
}

/// Makes what `question` asks for.
pub(super) async fn made(
    archive: &Archive,
    limits: Limits,
    question: &Question,
) -> Result<Response<Body>, DicomwebError> {
    match Makeable::of(&question.resource) {
        Some(Makeable::Metadata(objects)) => {
            let maker = metadata::Maker::new(archive, question.addresses.public(), limits);
            let rows = maker.rows(objects.clone()).await?;
            Ok(answer::rows_in(list::array(rows), question.accepted.wanted()))
        }
        Some(Makeable::Value(instance, steps)) => {
            let ranges = most_wanted(question.accepted.ranges.clone());
            values::answered(archive, instance, steps, &ranges).await
        }
        _ => Err(DicomwebError::NotAcceptable),
    }
}
