//! Finds the images of a study or series, and the image that represents the study or series.

use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::proxy::first_rows::read_first_rows;
use crate::upstream::{Archive, DicomResource, QidoQuery, SearchLevel};
use dicom_model::{Attributes, SeriesUid, SopInstanceUid, StudyUid, Tag, json, tags};
use dicom_render::RenderError;

/// Maximum number of images in one response.
const MAX_INSTANCES: usize = 10_000;

/// The UIDs of an instance, its series and its study.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InstanceReference {
    study: StudyUid,
    series: SeriesUid,
    instance: SopInstanceUid,
}

impl InstanceReference {
    /// Returns the instance that `objects` identifies, or whose frames `objects` identifies; `None` for a study or a series.
    pub(super) fn from_resource(objects: &DicomResource) -> Option<Self> {
        match objects.clone() {
            DicomResource::Instance(study, series, instance)
            | DicomResource::Frames(study, series, instance, _) => Some(Self { study, series, instance }),
            DicomResource::Study(_) | DicomResource::Series(..) => None,
        }
    }

    /// Whether an object with these Study, Series and SOP Instance UIDs is the instance. An object may lack the UIDs of its study and
    /// series.
    pub(super) fn is_identified_by(&self, [study, series, instance]: [Option<String>; 3]) -> bool {
        study.is_none_or(|uid| uid == self.study.as_str())
            && series.is_none_or(|uid| uid == self.series.as_str())
            && instance.is_some_and(|uid| uid == self.instance.as_str())
    }

    /// Returns the instance as a resource.
    pub(super) fn to_resource(&self) -> DicomResource {
        DicomResource::Instance(self.study.clone(), self.series.clone(), self.instance.clone())
    }

    /// Returns frames of the instance as a resource.
    pub(super) fn into_frames(self, frames: Vec<u32>) -> DicomResource {
        DicomResource::Frames(self.study, self.series, self.instance, frames)
    }

    /// Returns the path of the rendered image of a frame, relative to the root of an archive.
    pub(super) fn rendered_frame_path(&self, frame: u32) -> String {
        let Self { study, series, instance } = self;
        format!("studies/{study}/series/{series}/instances/{instance}/frames/{frame}/rendered")
    }
}

/// Searches for the images of a study or series, and returns them in the order of their numbers; an error if there are none.
pub(super) async fn find_images(
    archive: &Archive,
    objects: &DicomResource,
) -> Result<Vec<DicomResource>, DicomwebError> {
    let images = match objects {
        DicomResource::Study(study) => {
            let mut images = Vec::new();
            let mut all_series = search_series(archive, study).await?;
            all_series.sort_by_key(|series| series.number);
            for series in all_series {
                images.extend(search_images(archive, study, &series.uid).await?);
                if images.len() > MAX_INSTANCES {
                    return Err(DicomwebError::TooCostly { limit: MAX_INSTANCES });
                }
            }
            images
        }
        DicomResource::Series(study, series) => search_images(archive, study, series).await?,
        instance => vec![instance.clone()],
    };
    if images.is_empty() { Err(RenderError::NoImage.into()) } else { Ok(images) }
}

/// Searches for the image that represents a study or series: the middle image of the series, or of the largest series.
pub(super) async fn find_representative(
    archive: &Archive,
    objects: &DicomResource,
) -> Result<DicomResource, DicomwebError> {
    let middle = |images: &[DicomResource]| images.get(images.len().saturating_sub(1) / 2).cloned();
    let image = match objects {
        DicomResource::Study(study) => {
            let mut all_series = search_series(archive, study).await?;
            all_series.sort_by_key(|series| (std::cmp::Reverse(series.instance_count), series.number));
            let mut image = None;
            for series in all_series {
                image = middle(&search_images(archive, study, &series.uid).await?);
                if image.is_some() {
                    break;
                }
            }
            image
        }
        DicomResource::Series(study, series) => middle(&search_images(archive, study, series).await?),
        instance => Some(instance.clone()),
    };
    image.ok_or_else(|| RenderError::NoImage.into())
}

/// A row of a series.
struct SeriesSummary {
    uid: SeriesUid,
    number: Option<i64>,
    instance_count: Option<i64>,
}

/// Searches for the series of a study.
async fn search_series(archive: &Archive, study: &StudyUid) -> Result<Vec<SeriesSummary>, DicomwebError> {
    let level = SearchLevel::Series { study: study.clone() };
    let count_tag = tags::NUMBER_OF_SERIES_RELATED_INSTANCES;
    let rows = read_rows(archive, level, &[tags::SERIES_NUMBER, count_tag]).await?;
    let to_summary = |row: &Attributes| {
        let uid = row
            .text(tags::SERIES_INSTANCE_UID)
            .and_then(|uid| SeriesUid::parse_by(archive.uid_rule(), uid).ok());
        Ok(SeriesSummary {
            uid: uid.ok_or_else(|| invalid_uid(archive))?,
            number: row.integer(tags::SERIES_NUMBER),
            instance_count: row.integer(count_tag),
        })
    };
    rows.iter().map(to_summary).collect()
}

/// Searches for the images of a series, and returns them in the order of their numbers. An instance without Rows (0028,0010) is
/// not an image, unless the archive returns Rows for no instance of the series.
async fn search_images(
    archive: &Archive,
    study: &StudyUid,
    series: &SeriesUid,
) -> Result<Vec<DicomResource>, DicomwebError> {
    let level = SearchLevel::SeriesInstances { study: study.clone(), series: series.clone() };
    let mut rows = read_rows(archive, level, &[tags::INSTANCE_NUMBER, tags::ROWS]).await?;
    if rows.iter().any(|row| row.integer(tags::ROWS).is_some()) {
        rows.retain(|row| row.integer(tags::ROWS).is_some());
    }
    rows.sort_by_key(|row| row.integer(tags::INSTANCE_NUMBER));
    let to_resource = |row: &Attributes| {
        let uid = row
            .text(tags::SOP_INSTANCE_UID)
            .and_then(|uid| SopInstanceUid::parse_by(archive.uid_rule(), uid).ok());
        Ok(DicomResource::Instance(study.clone(), series.clone(), uid.ok_or_else(|| invalid_uid(archive))?))
    };
    rows.iter().map(to_resource).collect()
}

/// Reads all rows of a search at `level`; an error if there are none.
async fn read_rows(
    archive: &Archive,
    level: SearchLevel,
    include: &[Tag],
) -> Result<Vec<Attributes>, DicomwebError> {
    let query = QidoQuery::new(level).include(include);
    let list = read_first_rows(archive, &query, MAX_INSTANCES + 1, MAX_INSTANCES).await?;
    if list.rows.len() > MAX_INSTANCES {
        return Err(DicomwebError::TooCostly { limit: MAX_INSTANCES });
    }
    if list.rows.is_empty() {
        return Err(DicomwebError::NotFound);
    }
    let rows = list.rows.iter().map(|row| json::parse(&row.text));
    rows.collect::<Result<_, _>>()
        .map_err(|_| archive.unreadable("a row that is not a DICOM JSON object").into())
}

fn invalid_uid(archive: &Archive) -> DicomwebError {
    archive.unreadable("a row without a valid UID").into()
}
