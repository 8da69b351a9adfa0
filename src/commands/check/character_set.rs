//! Compares the rows of several studies with the metadata of their instances, because an archive that converts rows to a character set
//! loses only the characters that the set lacks, and the names and descriptions of most studies may have none of them. The numbers of
//! requests and the duration are limited.

use std::time::Duration;

use super::sample_images::read_first;
use crate::upstream::{Archive, DicomResource, QidoQuery, Retrieval, SearchLevel, UpstreamRequest};
use dicom_model::{Attributes, ComponentGroup, PersonName, SeriesUid, SopInstanceUid, StudyUid, Tag, tags};

/// The texts of a study in which characters outside ASCII are usual.
const STUDY_TEXTS: [Tag; 4] =
    [tags::PATIENT_NAME, tags::STUDY_DESCRIPTION, tags::REFERRING_PHYSICIAN_NAME, tags::INSTITUTION_NAME];

/// Maximum number of rows among which the studies to compare are selected.
const MAX_ROWS: usize = 20;

/// Maximum number of studies that are compared. Each takes three requests.
const MAX_STUDIES: usize = 8;

/// Maximum time for all studies of an archive.
const MAX_DURATION: Duration = Duration::from_secs(20);

/// Whether `row` lacks characters of `object`, an instance of the same study, in one of the texts of a study.
pub(super) fn row_lacks_characters(row: &Attributes, object: &Attributes) -> bool {
    // An archive may not return the other texts in rows.
    let mut compared = STUDY_TEXTS.into_iter().filter(|tag| row.contains(*tag));
    compared.any(|tag| row.has_lost_characters_of(object, tag))
}

/// Whether one of `studies` has a row that lacks characters of its first instance. Rows that look as if they did are compared first.
/// Requests that fail find nothing.
pub(super) async fn any_row_lacks_characters(archive: &Archive, studies: &[(StudyUid, Attributes)]) -> bool {
    let mut studies: Vec<_> = studies.iter().take(MAX_ROWS).collect();
    studies.sort_by_key(|(_, row)| !may_lack_characters(row));
    studies.truncate(MAX_STUDIES);
    let comparison = async {
        for (study, row) in studies {
            let object = first_object(archive, study).await;
            if object.is_some_and(|object| row_lacks_characters(row, &object)) {
                return true;
            }
        }
        false
    };
    tokio::time::timeout(MAX_DURATION, comparison).await.unwrap_or(false)
}

/// Whether a text of `row` begins with a small letter, or contains a replacement or a character outside ASCII, which others
/// may have accompanied.
fn may_lack_characters(row: &Attributes) -> bool {
    let is_suspicious = |text: &str| {
        text.chars().next().is_some_and(char::is_lowercase) || text.contains('?') || !text.is_ascii()
    };
    STUDY_TEXTS.into_iter().any(|tag| {
        let names = row.names(tag).flat_map(PersonName::groups).flat_map(ComponentGroup::components);
        row.texts(tag).chain(names).any(is_suspicious)
    })
}

/// Returns the metadata of the first instance of `study`.
async fn first_object(archive: &Archive, study: &StudyUid) -> Option<Attributes> {
    let rule = archive.uid_rule();
    let first = |level| UpstreamRequest::search(QidoQuery::new(level).page(1, 0));
    let row = read_first(archive, first(SearchLevel::Series { study: study.clone() }), |_| true).await?;
    let series = SeriesUid::parse_by(rule, row.text(tags::SERIES_INSTANCE_UID)?).ok()?;
    let level = SearchLevel::SeriesInstances { study: study.clone(), series: series.clone() };
    let row = read_first(archive, first(level), |_| true).await?;
    let instance = SopInstanceUid::parse_by(rule, row.text(tags::SOP_INSTANCE_UID)?).ok()?;
    let metadata = Retrieval::metadata(DicomResource::Instance(study.clone(), series, instance.clone()));
    let is_instance = |object: &Attributes| object.text(tags::SOP_INSTANCE_UID) == Some(instance.as_str());
    read_first(archive, UpstreamRequest::retrieve(metadata), is_instance).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_in_which_characters_may_be_missing_are_compared_first() {
        for (name, description, expected) in [
            ("Doe^Jane", "CT head", false),
            ("Doe^Jane", "\u{f3}d\u{17a} study", true),
            ("Doe^Jane", "Sch?del", true),
            ("ukasz^Jane", "CT head", true),
            ("W\u{f3}jcik^aneta", "CT head", true),
        ] {
            let json = serde_json::json!({
                "00100010": {"vr": "PN", "Value": [{"Alphabetic": name}]},
                "00081030": {"vr": "LO", "Value": [description]},
            });
            let row: Attributes = serde_json::from_value(json).unwrap();
            assert_eq!(may_lack_characters(&row), expected, "{name} {description}");
        }
    }
}
