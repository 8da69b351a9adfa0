//! The Endpoints that the resource of a study refers to. An archive with a part of the study is not among them if others have more of it
//! ([`merge_studies`](crate::mapping::merge_studies)), which only the series show.

use std::collections::BTreeSet;

use super::{FoundStudy, Freshness, Representation, Studies, StudiesError};
use crate::upstream::MAX_UIDS_PER_QUERY;
use fhir_r4::types::ImagingStudy;

/// Returns the ids of the Endpoints that `resource` and its series refer to.
pub(super) fn referenced_endpoints(resource: &ImagingStudy) -> impl Iterator<Item = &str> {
    let of_series = resource.series.iter().flat_map(|series| &series.endpoint);
    let references = resource.endpoint.iter().chain(of_series);
    references.filter_map(|reference| reference.reference.as_deref()?.strip_prefix("Endpoint/"))
}

impl Studies {
    /// Returns the ids of the Endpoints that the resources of `studies` refer to. The series of studies in several archives are read for
    /// that. A study whose series cannot be read has no resource, and so no references.
    pub async fn endpoints_of(
        &self,
        studies: impl Iterator<Item = &FoundStudy>,
        freshness: Freshness,
    ) -> Result<BTreeSet<String>, StudiesError> {
        let has_copies = |study: &&FoundStudy| study.rows_of_archives().nth(1).is_some();
        let (copied, single): (Vec<_>, Vec<_>) = studies.partition(has_copies);
        let mut ids: BTreeSet<_> =
            single.iter().flat_map(|study| study.endpoints()).map(str::to_owned).collect();
        let copied: Vec<_> = copied.into_iter().cloned().collect();
        for studies in copied.chunks(MAX_UIDS_PER_QUERY) {
            for entry in self.assemble(studies, &Representation::Summary, freshness).await? {
                let Ok(entry) = entry else { continue };
                let resource: ImagingStudy =
                    serde_json::from_slice(&entry.encoded.json).map_err(|_| StudiesError::Unwritable)?;
                ids.extend(referenced_endpoints(&resource).map(str::to_owned));
            }
        }
        Ok(ids)
    }
}
