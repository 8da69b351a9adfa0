//! Finds the archive that contains a whole study or series, if several archives contain a part of it.
//!
//! The numbers of instances do not show whether two archives contain the same ones, so the lists of their instances are compared.

use std::collections::HashSet;

use futures_util::future::try_join_all;

use super::study_location::ArchiveCopy;
use super::study_locator::read_list;
use crate::dicomweb::context::DicomwebContext;
use crate::dicomweb::error::{DicomwebError, SplitLevel};
use crate::upstream::{Archive, QidoQuery, SearchLevel};
use dicom_model::{SeriesUid, StudyUid};

/// Returns the first of `copies` that contains every instance of the series, or of the whole study; an error if none does, or if an
/// archive does not list as many instances as it reports. `copies` are those of the study that contain a part of the series.
pub(super) async fn complete_copy<'a>(
    copies: &[(&ArchiveCopy, &'a Archive)],
    study: &StudyUid,
    series: Option<&SeriesUid>,
    context: &DicomwebContext,
) -> Result<Option<&'a Archive>, DicomwebError> {
    let [_, _, ..] = copies else { return Ok(copies.first().map(|(_, archive)| *archive)) };
    let level = match series {
        Some(series) => SearchLevel::SeriesInstances { study: study.clone(), series: series.clone() },
        None => SearchLevel::Instances { study: study.clone() },
    };
    let query = QidoQuery::new(level);
    let max_instances = context.limits.max_instances;
    let lists = copies.iter().map(|(copy, archive)| {
        let query = &query;
        async move {
            let reported_count = copy.reported_instance_count(series);
            let list = read_list(archive, query, reported_count, max_instances).await?;
            let instances: HashSet<_> = list.rows.into_iter().map(|row| row.uid).collect();
            if instances.len() < copy.instance_count(series) {
                return Err(archive.unreadable("fewer instances than the number that it reports").into());
            }
            Ok::<_, DicomwebError>(instances)
        }
    });
    let lists = try_join_all(lists).await?;
    let all_instances: HashSet<_> = lists.iter().flatten().collect();
    match copies.iter().zip(&lists).find(|(_, instances)| instances.len() == all_instances.len()) {
        Some(((_, archive), _)) => Ok(Some(archive)),
        None => Err(DicomwebError::SplitAcrossArchives {
            level: if series.is_some() { SplitLevel::Series } else { SplitLevel::Study },
            archives: copies.iter().map(|(copy, _)| copy.archive.clone()).collect(),
        }),
    }
}
