//! Writes the resource of a study as JSON, from the records of the archives that contain it.

use super::study_copies::{self, StudyCopy, fetch_copies};
use super::{Depth, DetailLimits, OmittedCounts, Representation, StudiesError};
use crate::change_log::{ContentDigest, Version};
use fhir_r4::types::{Coding, ImagingStudy};

/// The JSON of a study without its version.
pub(super) struct SerializedStudy {
    /// The JSON, with [`Version::UNKNOWN`].
    pub(super) json: Vec<u8>,
    /// The digest of the content, if the whole content was fetched.
    pub(super) content: Option<ContentDigest>,
    /// The counts of series and instances that the resource does not contain.
    pub(super) omitted: OmittedCounts,
}

/// Fetches a study from the archives that contain it, and serializes it.
pub(super) async fn fetch_and_serialize(
    copies: Vec<StudyCopy>,
    representation: &Representation,
    limits: DetailLimits,
) -> Result<SerializedStudy, StudiesError> {
    let records = fetch_copies(copies, representation.depth(), limits).await?;
    let representation = representation.clone();
    // This takes milliseconds for a study of thousands of instances.
    let serialization = tokio::task::spawn_blocking(move || {
        let omitted = records.iter().fold(OmittedCounts::default(), |sum, (_, record)| sum + record.omitted);
        let mut resource = study_copies::merge(records).ok_or(StudiesError::Unwritable)?;
        resource.meta.version_id = Some(Version::UNKNOWN.id.to_string());
        resource.meta.last_updated = Some(Version::UNKNOWN.instant());
        if !omitted.is_empty() {
            resource.meta.tag.push(Coding::subsetted());
        }
        let json = representation.project(&resource).map_err(|_| StudiesError::Unwritable)?;
        let content = match (&representation, representation.depth()) {
            (Representation::Full, _) => Some(ContentDigest::from_json(&json)),
            (_, Depth::Instances) => {
                let complete =
                    Representation::Full.project(&resource).map_err(|_| StudiesError::Unwritable)?;
                Some(ContentDigest::from_json(&complete))
            }
            (_, Depth::Study | Depth::Series) => None,
        };
        Ok(SerializedStudy { json, content, omitted })
    });
    serialization.await.map_err(|_| StudiesError::Unwritable)?
}

/// Returns the JSON of a study, which was written in this representation, without its version. A part of a study has the tag SUBSETTED
/// (R4 resource#simple-tags).
pub(super) fn without_version(
    json: &[u8],
    representation: &Representation,
    is_partial: bool,
) -> Result<Vec<u8>, StudiesError> {
    let mut resource: ImagingStudy = serde_json::from_slice(json).map_err(|_| StudiesError::Unwritable)?;
    (resource.meta.version_id, resource.meta.last_updated) = (None, None);
    if is_partial {
        resource.meta.tag.retain(|tag| *tag != Coding::subsetted());
        resource.meta.tag.push(Coding::subsetted());
    }
    representation.project(&resource).map_err(|_| StudiesError::Unwritable)
}
