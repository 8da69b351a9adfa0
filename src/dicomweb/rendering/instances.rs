//! Finds the instances of a study or series that are images, and the one that represents it.

use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::proxy::first_rows::read_first_rows;
use crate::upstream::{Archive, DicomResource, QidoQuery, SearchLevel};
use dicom_model::{Attributes, SeriesUid, SopInstanceUid, StudyUid, Tag, tags};
use dicom_render::RenderError;

/// Maximum images of one response; the objects of more images have to be retrieved.
const MAX_INSTANCES: usize = 10_000;

/// The UIDs of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InstanceReference {
    study: StudyUid,
    series: SeriesUid,
    instance: SopInstanceUid,
}

impl InstanceReference {
    /// The instance that `objects` is or whose frames they are.
    pub(super) fn from_resource(objects: &DicomResource) -> Option<Self> {
        match objects.clone() {
            DicomResource::Instance(study, series, instance)
            | DicomResource::Frames(study, series, instance, _) => Some(Self { study, series, instance }),
            DicomResource::Study(_) | DicomResource::Series(..) => None,
        }
    }

    pub(super) fn objects(&self) -> DicomResource {
        DicomResource::Instance(self.study.clone(), self.series.clone(), self.instance.clone())
    }

    /// Some of its frames.
    pub(super) fn frames(self, frames: Vec<u32>) -> DicomResource {
        DicomResource::Frames(self.study, self.series, self.instance, frames)
    }

    /// The path of the rendered image of a frame below an archive's root.
    pub(super) fn rendered_frame(&self, frame: u32) -> String {
        let Self { study, series, instance } = self;
        format!("studies/{study}/series/{series}/instances/{instance}/frames/{frame}/rendered")
    }
}

/// The images of a study or a series in the order of their numbers; an error if there are none.
pub(super) async fn images_in(
    archive: &Archive,
    objects: &DicomResource,
) -> Result<Vec<DicomResource>, DicomwebError> {
    let images = match objects {
        DicomResource::Study(study) => {
            let mut images = Vec::new();
            let mut all = series_of(archive, study).await?;
            all.sort_by_key(|series| series.number);
            for series in all {
                images.extend(images_of(archive, study, &series.uid).await?);
                if images.len() > MAX_INSTANCES {
                    return Err(DicomwebError::TooCostly { limit: MAX_INSTANCES });
                }
            }
            images
        }
        DicomResource::Series(study, series) => images_of(archive, study, series).await?,
        other => vec![other.clone()],
    };
    if images.is_empty() { Err(RenderError::NoImage.into()) } else { Ok(images) }
}

/// The image that represents a study or a series.
pub(super) async fn representative(
    archive: &Archive,
    objects: &DicomResource,
) -> Result<DicomResource, DicomwebError> {
    let middle = |images: &[DicomResource]| images.get(images.len().saturating_sub(1) / 2).cloned();
    let found = match objects {
        DicomResource::Study(study) => {
            let mut all = series_of(archive, study).await?;
            all.sort_by_key(|series| (std::cmp::Reverse(series.instances), series.number));
            let mut found = None;
            for series in all {
                found = middle(&images_of(archive, study, &series.uid).await?);
                if found.is_some() {
                    break;
                }
            }
            found
        }
        DicomResource::Series(study, series) => middle(&images_of(archive, study, series).await?),
        other => Some(other.clone()),
    };
    found.ok_or_else(|| RenderError::NoImage.into())
}

struct SeriesSummary {
    uid: SeriesUid,
    number: Option<i64>,
    instances: Option<i64>,
}

async fn series_of(archive: &Archive, study: &StudyUid) -> Result<Vec<SeriesSummary>, DicomwebError> {
    let level = SearchLevel::Series { study: study.clone() };
    let rows = rows(archive, level, &[tags::SERIES_NUMBER, tags::NUMBER_OF_SERIES_RELATED_INSTANCES]).await?;
    let series = |row: &Attributes| {
        let uid = row.text(tags::SERIES_INSTANCE_UID).and_then(|uid| SeriesUid::parse(uid).ok());
        Ok(SeriesSummary {
            uid: uid.ok_or_else(|| no_uid(archive))?,
            number: row.integer(tags::SERIES_NUMBER),
            instances: row.integer(tags::NUMBER_OF_SERIES_RELATED_INSTANCES),
        })
    };
    rows.iter().map(series).collect()
}

/// The images of a series in the order of their numbers. If no row has Rows (0028,0010), the archive does not return it, and
/// any instance may be an image.
async fn images_of(
    archive: &Archive,
    study: &StudyUid,
    series: &SeriesUid,
) -> Result<Vec<DicomResource>, DicomwebError> {
    let level = SearchLevel::SeriesInstances { study: study.clone(), series: series.clone() };
    let mut rows = rows(archive, level, &[tags::INSTANCE_NUMBER, tags::ROWS]).await?;
    if rows.iter().any(|row| row.integer(tags::ROWS).is_some()) {
        rows.retain(|row| row.integer(tags::ROWS).is_some());
    }
    rows.sort_by_key(|row| row.integer(tags::INSTANCE_NUMBER));
    let instance = |row: &Attributes| {
        let uid = row.text(tags::SOP_INSTANCE_UID).and_then(|uid| SopInstanceUid::parse(uid).ok());
        Ok(DicomResource::Instance(study.clone(), series.clone(), uid.ok_or_else(|| no_uid(archive))?))
    };
    rows.iter().map(instance).collect()
}

/// All rows of `level`; an error if there are none.
async fn rows(
    archive: &Archive,
    level: SearchLevel,
    include: &[Tag],
) -> Result<Vec<Attributes>, DicomwebError> {
    let query = QidoQuery::new(level).include(include);
    let found = read_first_rows(archive, &query, MAX_INSTANCES + 1, MAX_INSTANCES).await?;
    if found.rows.len() > MAX_INSTANCES {
        return Err(DicomwebError::TooCostly { limit: MAX_INSTANCES });
    }
    if found.rows.is_empty() {
        return Err(DicomwebError::NotFound);
    }
    let rows = found.rows.iter().map(|row| serde_json::from_str(&row.text));
    rows.collect::<Result<_, _>>().map_err(|_| no_uid(archive))
}

fn no_uid(archive: &Archive) -> DicomwebError {
    archive.unreadable("a row without a valid UID").into()
}
