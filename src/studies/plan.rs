//! From criteria to QIDO-RS: what an archive is asked, so that its answer holds every study that matches.
//!
//! The queries narrow; they do not decide. Each is a superset of what matches, because every row is rechecked, and an
//! archive's own matching cannot be trusted to be more than a hint: it may ignore a key, fold case, or read `*`, `,` and
//! `\` as operators. So a key is used only when no reading of it could lose a match:
//!
//! - one criterion that names studies or patients is enough; adding dates or modalities to it could only lose studies;
//! - a value that an archive could read as a pattern, or cannot decode, is widened to a pattern that covers it;
//! - what cannot be narrowed at all is scanned, within `search.max_scan`.

use crate::archive::{MatchValue, QidoQuery, SearchLevel};
use crate::dicom::{DicomDate, StudyUid, Tag, Uid, tags};
use crate::fhir::search::{StudyCriterion, Token};

/// How many UIDs go into one query: a request line of 4 kB.
const UIDS_A_QUERY: usize = 50;

const UID_SYSTEM: &str = "urn:dicom:uid";
const UID_PREFIX: &str = "urn:oid:";

/// A patient that a criterion names, as archives know patients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedPatient {
    pub(super) patient_id: Box<str>,
}

/// The queries whose answers together hold every study that matches all `criteria`; none when nothing can match.
/// `patients` resolves the criterion's Patient ids; `None` for an id that may stand for anyone.
pub(super) fn queries(criteria: &[StudyCriterion], patients: &[NamedPatient]) -> Vec<QidoQuery> {
    for criterion in criteria {
        if let Some(keys) = naming_keys(criterion, patients) {
            return keys.into_iter().map(|(tag, value)| study_query().matching(tag, value)).collect();
        }
    }
    vec![broad_query(criteria)]
}

fn study_query() -> QidoQuery {
    QidoQuery::new(SearchLevel::Studies).include(crate::mapping::study_tags()).include(crate::mapping::patient_tags())
}
