//! Which UIDs of an archive the resources of FHIR can have: those that the archive's [`UidRule`] accepts and that R4 allows as an `id`
//! (datatypes#id), which is the type of `ImagingStudy.id`, `series.uid` and `instance.uid`. An `id` has no underscore.
//!
//! DICOMweb serves every UID that the rule accepts; this module does not know about it.

use super::{ArchiveSource, Studies};
use dicom_model::{SeriesUid, StudyUid, UidRule};
use fhir_r4::id::is_id;

/// Whether a resource can have the UID `text` of an archive with `rule`.
pub(super) fn is_accepted(rule: UidRule, text: &str) -> bool {
    rule.accepts(text) && is_id(text)
}

/// Whether a resource can have the UID `text` only if its archive has the lenient rule.
pub(super) fn needs_lenient_rule(text: &str) -> bool {
    UidRule::needs_lenient(text) && is_id(text)
}

/// Parses the UID of a series of an archive with `rule`.
pub(super) fn parse_series_uid(rule: UidRule, text: &str) -> Option<SeriesUid> {
    SeriesUid::parse_by(rule, text).ok().filter(|uid| is_id(uid.as_str()))
}

impl ArchiveSource {
    /// Parses the UID of a study of the archive.
    pub(super) fn parse_study_uid(&self, text: &str) -> Option<StudyUid> {
        parse_study_uid(self.archive.uid_rule(), text)
    }
}

impl Studies {
    /// Returns the most lenient rule of all archives.
    pub fn uid_rule(&self) -> UidRule {
        self.sources.iter().map(|source| source.archive.uid_rule()).max().unwrap_or_default()
    }

    /// Parses the id of an ImagingStudy; `None` if no archive can contain a study with this UID.
    pub fn parse_study_id(&self, id: &str) -> Option<StudyUid> {
        parse_study_uid(self.uid_rule(), id)
    }
}

fn parse_study_uid(rule: UidRule, text: &str) -> Option<StudyUid> {
    StudyUid::parse_by(rule, text).ok().filter(|uid| is_id(uid.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_has_only_uids_that_are_ids_of_r4() {
        for (text, strict, lenient) in [
            ("1.2.03", true, true),
            ("1..2", false, true),
            ("a1-b2.c3", false, true),
            ("a_b", false, false),
            ("..", false, false),
            ("a b", false, false),
        ] {
            assert_eq!(is_accepted(UidRule::Strict, text), strict, "{text}");
            assert_eq!(is_accepted(UidRule::Lenient, text), lenient, "{text}");
            assert_eq!(needs_lenient_rule(text), lenient && !strict, "{text}");
            assert_eq!(parse_study_uid(UidRule::Lenient, text).is_some(), lenient, "{text}");
            assert_eq!(parse_series_uid(UidRule::Strict, text).is_some(), strict, "{text}");
        }
    }
}
