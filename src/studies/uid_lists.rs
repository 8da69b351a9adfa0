//! Searches for several studies by a list of their UIDs, at archives of which it was found out that they understand such lists.
//!
//! An archive that has been replaced or upgraded since may find nothing by a list, or only its first study, and an answer does not show whether a
//! study that is missing from it does not exist. Therefore each list ends with two studies that the archive is known to contain.
//! If they are not in the answer, the studies are searched for one by one.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::candidates::is_rejection;
use super::plan::PlannedQuery;
use super::scan::SearchRows;
use super::{ArchiveSource, Freshness, Studies, StudiesError};
use crate::upstream::{MatchValue, QidoQuery};
use dicom_model::{StudyUid, tags};

impl Studies {
    /// Returns the rows of `query`, which has a list of Study Instance UIDs.
    pub(super) async fn query_by_uid_list(
        &self,
        source: &ArchiveSource,
        query: &QidoQuery,
        freshness: Freshness,
    ) -> Result<Vec<Arc<SearchRows>>, StudiesError> {
        let (archive, requested) = (&source.archive, query.study_uids());
        let control_studies = archive.control_studies();
        if archive.profile().uid_lists && control_studies.len() > 1 {
            let controls = control_studies.iter().map(StudyUid::as_str);
            let others =
                requested.iter().copied().filter(|uid| controls.clone().all(|control| control != *uid));
            let list = others.chain(controls.clone()).collect::<Vec<_>>().join(",");
            let with_controls = query.clone().matching(tags::STUDY_INSTANCE_UID, MatchValue::raw(&list));
            let planned = PlannedQuery::without_alternatives(with_controls);
            match self.query_with_alternatives(source, &planned, None, freshness).await {
                Ok(found) => {
                    let is_found = |uid: &str| {
                        found.rows.iter().any(|row| row.text(tags::STUDY_INSTANCE_UID) == Some(uid))
                    };
                    if controls.clone().all(is_found) {
                        // A row without a UID is reported as omitted.
                        let is_requested = |uid: &str| requested.contains(&uid);
                        let found =
                            found.retained(|row| row.text(tags::STUDY_INSTANCE_UID).is_none_or(is_requested));
                        return Ok(vec![Arc::new(found)]);
                    }
                    archive.contradict_findings("It does not find known studies by a list of UIDs.");
                }
                Err(error) if is_rejection(&error) => {
                    archive.contradict_findings("It rejects a list of UIDs.");
                }
                Err(error) => return Err(error),
            }
        }
        let queries: Vec<_> =
            query.split_uid_lists(1).into_iter().map(PlannedQuery::without_alternatives).collect();
        let searches: Vec<_> = queries
            .iter()
            .map(|query| self.query_with_alternatives(source, query, None, freshness))
            .collect();
        stream::iter(searches).buffered(archive.max_concurrency()).try_collect().await
    }
}
