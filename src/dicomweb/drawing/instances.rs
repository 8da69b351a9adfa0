//! Which instances of a study or a series are images, and which of them stands for all.

use crate::archive::{Archive, ArchiveError, ArchiveErrorKind, Objects, QidoQuery, SearchLevel};
use crate::dicom::{Attributes, SeriesUid, SopInstanceUid, StudyUid, Tag, tags};
use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::first_rows::first_rows;
use crate::render::RenderError;

/// More pictures than anybody looks at; the objects of more are to be retrieved.
const MOST_INSTANCES: usize = 10_000;

/// Where one instance is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    study: StudyUid,
    series: SeriesUid,
    instance: SopInstanceUid,
}

impl Address {
    /// Of the instance that `objects` is, or whose frames they are.
    pub(super) fn of(objects: &Objects) -> Option<Self> {
        match objects.clone() {
            Objects::Instance(study, series, instance) | Objects::Frames(study, series, instance, _) => {
                Some(Self { study, series, instance })
            }
            Objects::Study(_) | Objects::Series(..) => None,
        }
    }

    pub(super) fn objects(&self) -> Objects {
        Objects::Instance(self.study.clone(), self.series.clone(), self.instance.clone())
    }

    /// Some of its frames.
    pub(super) fn frames(self, frames: Vec<u32>) -> Objects {
        Objects::Frames(self.study, self.series, self.instance, frames)
    }

    /// The path of the picture of a frame below an archive's root.
    pub(super) fn rendered_frame(&self, frame: u32) -> String {
        let Self { study, series, instance } = self;
        format!("studies/{study}/series/{series}/instances/{instance}/frames/{frame}/rendered")
    }
}

/// The images of a study or a series in the order of their numbers; an error when there are none.
pub(super) async fn of(archive: &Archive, objects: &Objects) -> Result<Vec<Objects>, DicomwebError> {
    let images = match objects {
        Objects::Study(study) => {
            let mut images = Vec::new();
            let mut all = series_of(archive, study).await?;
            all.sort_by_key(|series| series.number);
            for series in all {
                images.extend(images_of(archive, study, &series.uid).await?);
                if images.len() > MOST_INSTANCES {
                    return Err(DicomwebError::TooCostly { limit: MOST_INSTANCES });
                }
            }
            images
        }
        Objects::Series(study, series) => images_of(archive, study, series).await?,
        other => vec![other.clone()],
    };
    if images.is_empty() { Err(RenderError::NoImage.into()) } else { Ok(images) }
}

/// The image that stands for a study or a series.
pub(super) async fn representative(archive: &Archive, objects: &Objects) -> Result<Objects, DicomwebError> {
    let middle = |images: &[Objects]| images.get(images.len().saturating_sub(1) / 2).cloned();
    let found = match objects {
        Objects::Study(study) => {
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
        Objects::Series(study, series) => middle(&images_of(archive, study, series).await?),
        other => Some(other.clone()),
    };
    found.ok_or_else(|| RenderError::NoImage.into())
}

struct Series {
    uid: SeriesUid,
    number: Option<i64>,
    instances: Option<i64>,
}

async fn series_of(archive: &Archive, study: &StudyUid) -> Result<Vec<Series>, DicomwebError> {
    let level = SearchLevel::Series { study: study.clone() };
    let rows = rows(archive, level, &[tags::SERIES_NUMBER, tags::NUMBER_OF_SERIES_RELATED_INSTANCES]).await?;
    let series = |row: &Attributes| {
        let uid = row.text(tags::SERIES_INSTANCE_UID).and_then(|uid| SeriesUid::parse(uid).ok());
        Ok(Series {
            uid: uid.ok_or_else(|| unreadable(archive))?,
            number: row.integer(tags::SERIES_NUMBER),
            instances: row.integer(tags::NUMBER_OF_SERIES_RELATED_INSTANCES),
        })
    };
    rows.iter().map(series).collect()
}

/// The images of a series in the order of their numbers. Where no row tells of pixels, the archive does not tell: then any
/// instance may be one.
async fn images_of(
    archive: &Archive,
    study: &StudyUid,
    series: &SeriesUid,
) -> Result<Vec<Objects>, DicomwebError> {
    let level = SearchLevel::SeriesInstances { study: study.clone(), series: series.clone() };
    let mut rows = rows(archive, level, &[tags::INSTANCE_NUMBER, tags::ROWS]).await?;
    if rows.iter().any(|row| row.integer(tags::ROWS).is_some()) {
        rows.retain(|row| row.integer(tags::ROWS).is_some());
    }
    rows.sort_by_key(|row| row.integer(tags::INSTANCE_NUMBER));
    let instance = |row: &Attributes| {
        let uid = row.text(tags::SOP_INSTANCE_UID).and_then(|uid| SopInstanceUid::parse(uid).ok());
        Ok(Objects::Instance(study.clone(), series.clone(), uid.ok_or_else(|| unreadable(archive))?))
    };
    rows.iter().map(instance).collect()
}

/// Every row of `level`, of which there is one at least, or an error.
async fn rows(
    archive: &Archive,
    level: SearchLevel,
    include: &[Tag],
) -> Result<Vec<Attributes>, DicomwebError> {
    let query = QidoQuery::new(level).include(include);
    let found = first_rows(archive, &query, MOST_INSTANCES + 1, MOST_INSTANCES).await?;
    if found.rows.len() > MOST_INSTANCES {
        return Err(DicomwebError::TooCostly { limit: MOST_INSTANCES });
    }
    if found.rows.is_empty() {
        return Err(DicomwebError::HeldNowhere);
    }
    let rows = found.rows.iter().map(|row| serde_json::from_str(&row.text));
    rows.collect::<Result<_, _>>().map_err(|_| unreadable(archive))
}

fn unreadable(archive: &Archive) -> DicomwebError {
    let kind = ArchiveErrorKind::Unreadable("a row without a valid UID");
    ArchiveError { archive: archive.id().clone(), kind }.into()
}
