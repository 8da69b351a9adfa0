//! The UIDs of the rows of a search: whether clients can retrieve the object of a row. The gateway serves no URL with a UID that the rule
//! of the archive does not accept, so a viewer would list a study that it cannot open.

use crate::upstream::{Archive, SearchLevel};
use dicom_model::{Attributes, Tag, UidRule, Value, tags};

/// The UIDs that identify the objects of rows, from the study down.
const STUDY_UIDS: &[Tag] = &[tags::STUDY_INSTANCE_UID];
const SERIES_UIDS: &[Tag] = &[tags::STUDY_INSTANCE_UID, tags::SERIES_INSTANCE_UID];
const INSTANCE_UIDS: &[Tag] = &[tags::STUDY_INSTANCE_UID, tags::SERIES_INSTANCE_UID, tags::SOP_INSTANCE_UID];

/// The check of the UIDs of the rows of one search in one archive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowUids {
    tags: &'static [Tag],
    rule: UidRule,
}

impl RowUids {
    /// Returns the check for rows of `archive` at `level`.
    pub(crate) fn of_search(archive: &Archive, level: &SearchLevel) -> Self {
        Self::new(archive.uid_rule(), level)
    }

    /// Returns the check by `rule` for rows at `level`.
    pub(crate) fn new(rule: UidRule, level: &SearchLevel) -> Self {
        let tags = match level {
            SearchLevel::Studies => STUDY_UIDS,
            SearchLevel::Series { .. } | SearchLevel::AllSeries => SERIES_UIDS,
            SearchLevel::Instances { .. }
            | SearchLevel::SeriesInstances { .. }
            | SearchLevel::AllInstances => INSTANCE_UIDS,
        };
        Self { tags, rule }
    }

    /// Returns the rule by which the UIDs are checked.
    pub(crate) fn rule(&self) -> UidRule {
        self.rule
    }

    /// Returns the tags of the UIDs that are checked.
    pub(crate) fn tags(&self) -> &'static [Tag] {
        self.tags
    }

    /// Whether a row with this only value of an attribute can be accepted: the value is accepted, or it is not a UID that is checked.
    pub(crate) fn accept_value(&self, tag: Tag, value: &str) -> bool {
        !self.tags.contains(&tag) || self.rule.accepts(value)
    }

    /// Whether every UID of `row`, an object in DICOM JSON, is accepted. A UID that the row lacks is not checked. `None` if the row
    /// cannot be compared.
    pub(crate) fn accept(&self, row: &str) -> Option<bool> {
        let accepts = |row: Attributes| {
            let first_value = |tag: &Tag| row.get(*tag).and_then(|element| element.values.first().cloned());
            self.tags.iter().filter_map(first_value).all(|value| match value {
                Value::Text(uid) => self.rule.accepts(&uid),
                Value::Name(_) | Value::Item(_) => false,
            })
        };
        Attributes::read_elements(row, self.tags).ok().map(accepts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(study: &str, series: &str, instance: &str) -> String {
        format!(
            r#"{{"00080018":{{"vr":"UI","Value":["{instance}"]}},"0020000D":{{"vr":"UI","Value":["{study}"]}},"0020000E":{{"vr":"UI","Value":["{series}"]}}}}"#
        )
    }

    #[test]
    fn the_uids_down_to_the_level_of_the_search_are_checked() {
        let levels = [SearchLevel::Studies, SearchLevel::AllSeries, SearchLevel::AllInstances];
        let accepted =
            |rule, row: &str| levels.clone().map(|level| RowUids::new(rule, &level).accept(row).unwrap());
        for (study, series, instance, strict, lenient) in [
            ("1.2", "1.3", "1.4", [true; 3], [true; 3]),
            ("1.2.03", "1.3\\u0000", "1.4 ", [true; 3], [true; 3]),
            ("ab-1", "1.3", "1.4", [false; 3], [true; 3]),
            ("1.2", "a_b", "1.4", [true, false, false], [true; 3]),
            ("1.2", "1.3", "1..4", [true, true, false], [true; 3]),
            ("1.2", "1.3", "..", [true, true, false], [true, true, false]),
            ("a b", "1.3", "1.4", [false; 3], [false; 3]),
        ] {
            let row = row(study, series, instance);
            assert_eq!(accepted(UidRule::Strict, &row), strict, "{row}");
            assert_eq!(accepted(UidRule::Lenient, &row), lenient, "{row}");
        }
        for (unknown, is_accepted) in [
            ("{}", true),
            (r#"{"0020000D":{"vr":"UI"}}"#, true),
            (r#"{"0020000D":{"vr":"UI","Value":[["1.2"]]}}"#, false),
            (r#"{"0020000D":{"vr":"UI","InlineBinary":"MS4y"}}"#, false),
        ] {
            assert_eq!(accepted(UidRule::Strict, unknown), [is_accepted; 3], "{unknown}");
        }
    }
}
