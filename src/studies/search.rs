//! Searches for studies over all archives, page by page.
//!
//! Normally all matches are found and sorted, and the page is cut from the list; then the total is known, and the cursor names
//! the last match before the page. An archive with more rows than may be read is read in its own order instead, as far as the
//! page needs ([`unsorted_page`](super::unsorted_page)).

use std::collections::BTreeSet;

use super::filter::{shallow, zone_of};
use super::row::StudyRow;
use super::sort::{self, SortPosition};
use super::study_versions::needs_versions;
use super::unsorted_page::UpstreamPosition;
use super::{Freshness, Studies, StudiesError};
use crate::auth::Access;
use crate::change_log::Version;
use crate::fingerprint::Fingerprint;
use crate::upstream::ArchiveId;
use dicom_model::StudyUid;
use fhir_r4::search::{Criterion, ImagingStudyParam, SortKey};
use fhir_r4::types::ImagingStudy;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A study that was found: its rows, one from each archive that holds it, in the order of the configuration.
#[derive(Debug, Clone)]
pub struct FoundStudy {
    pub(super) rows: Vec<StudyRow>,
    /// The version of the study, if the search needs it.
    pub(super) version: Option<Version>,
    /// The archives that hold a study of another patient with the same UID.
    pub(super) other_patients: Vec<ArchiveId>,
    /// Whether the archives returned every row with the UID: one that filters by a criterion returns only one of two patients' rows.
    pub(super) has_every_row: bool,
}

impl FoundStudy {
    /// The Study Instance UID, which is the id of the resource.
    pub fn uid(&self) -> &StudyUid {
        &self.first().uid
    }

    /// The row that the resource is made from: that of the first archive that holds the study.
    pub fn first(&self) -> &StudyRow {
        // There is at least one row: `FoundStudy` is made from rows grouped by UID.
        &self.rows[0]
    }

    /// The archives that hold a study of another patient with the same UID: their Endpoints do not belong to this one.
    pub fn other_patients(&self) -> &[ArchiveId] {
        &self.other_patients
    }

    /// The Endpoint ids of the archives that hold it.
    pub fn endpoints(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().map(|row| row.archive.as_str())
    }

    fn archives(&self) -> impl Iterator<Item = ArchiveId> {
        self.rows.iter().map(|row| row.archive.clone()).chain(self.other_patients.iter().cloned())
    }

    /// Shows whether an assembled study is still current.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::from_rows(self.rows.iter().map(|row| (&row.archive, &row.attributes)))
    }
}

/// The unordered result of a search.
#[derive(Debug, Clone, Default)]
pub struct FoundStudies {
    /// Every match.
    pub studies: Vec<FoundStudy>,
    /// Studies that match but are assigned to more than one patient, in one archive or in several, so that their subject is ambiguous.
    pub patient_conflicts: Vec<FoundStudy>,
    /// How many rows of each archive match but lack a valid Study Instance UID, so that no resource can be made from them.
    pub missing_uid: BTreeMap<ArchiveId, usize>,
    /// Studies that may match and could not be compared.
    pub unread: Vec<UnreadStudy>,
}

/// A study UID that is assigned to more than one patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatientConflict {
    /// The study.
    pub uid: StudyUid,
    /// The archives that hold a study with this UID.
    pub archives: BTreeSet<ArchiveId>,
}

impl From<&FoundStudy> for PatientConflict {
    fn from(study: &FoundStudy) -> Self {
        Self { uid: study.uid().clone(), archives: study.archives().collect() }
    }
}

/// A study that may match and could not be compared with the criteria, because the archive did not return what is below it.
#[derive(Debug, Clone)]
pub struct UnreadStudy {
    /// The study.
    pub uid: StudyUid,
    /// Why it could not be read; [concerns only this study](StudiesError::concerns_one_study).
    pub error: StudiesError,
}

/// Whether an archive that filters by the criterion returns all rows with a UID or none.
fn names_studies(criterion: &Criterion<ImagingStudy>) -> bool {
    matches!(
        criterion.parameter.key,
        ImagingStudyParam::Id | ImagingStudyParam::LastUpdated | ImagingStudyParam::Endpoint
    )
}

/// The parameters of a search.
#[derive(Debug, Clone, Copy)]
pub struct StudySearch<'a> {
    /// A match satisfies all of them.
    pub criteria: &'a [Criterion<ImagingStudy>],
    /// The sort order; without a key the newest study comes first.
    pub sort: &'a [SortKey<ImagingStudy>],
    /// Matches per page.
    pub count: usize,
    /// The page; `None` is the first one.
    pub cursor: Option<&'a Cursor>,
    /// Whether the total is required.
    pub needs_total: bool,
}

/// The position of a page. It holds everything needed to continue, so that any gateway in front of the same archives can.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cursor {
    /// After this match, in the requested order.
    After(SortPosition),
    /// Before this match.
    Before(SortPosition),
    /// At this position, in the archives' own order.
    At(UpstreamPosition),
}

/// One page of a search.
#[derive(Debug, Default)]
pub struct StudyPage {
    /// The matches on it.
    pub studies: Vec<FoundStudy>,
    /// The number of matches on all pages, if known.
    pub total: Option<usize>,
    /// The previous page.
    pub previous: Option<Cursor>,
    /// The next page.
    pub next: Option<Cursor>,
    /// As in [`FoundStudies`]; of the whole search, or of the rows read for this page.
    pub patient_conflicts: Vec<PatientConflict>,
    /// As in [`FoundStudies`].
    pub missing_uid: BTreeMap<ArchiveId, usize>,
    /// As in [`FoundStudies`].
    pub unread: Vec<UnreadStudy>,
    /// The archives' lists changed between two pages, so that studies may have been skipped.
    pub has_drifted: bool,
    /// For the first page of a search by `_lastUpdated`: the time just before the archives were queried. A client that next
    /// asks for changes since then misses nothing, and does not receive again what this search was the first to see.
    pub asked_at: Option<Timestamp>,
}

impl Studies {
    /// One page of the studies that match and that the caller may see.
    pub async fn page(
        &self,
        search: &StudySearch<'_>,
        access: &Access,
        freshness: Freshness,
    ) -> Result<StudyPage, StudiesError> {
        if let Some(Cursor::At(position)) = search.cursor {
            return self.streamed(search, position.clone(), access, freshness).await;
        }
        let is_dated = needs_versions(search.criteria, search.sort);
        let asked_at =
            if is_dated && search.cursor.is_none() { Some(self.change_log.now().await) } else { None };
        let page = match self.search_asked_at(search.criteria, search.sort, access, freshness, asked_at).await
        {
            Ok(found) => self.paginate(found, search)?,
            // Matches that are too many to be counted or sorted may still be read one after the other.
            Err(StudiesError::TooManyRows { .. })
                if search.cursor.is_none() && search.sort.is_empty() && !search.needs_total =>
            {
                self.streamed(search, UpstreamPosition::default(), access, freshness).await?
            }
            Err(error) => return Err(error),
        };
        Ok(StudyPage { asked_at, ..page })
    }

    /// Every study that matches all of `criteria` and that the caller may see.
    pub async fn search(
        &self,
        criteria: &[Criterion<ImagingStudy>],
        access: &Access,
        freshness: Freshness,
    ) -> Result<FoundStudies, StudiesError> {
        self.search_to_sort(criteria, &[], access, freshness).await
    }

    /// As [`search`](Self::search), for a result that is then sorted by `sort`.
    pub async fn search_to_sort(
        &self,
        criteria: &[Criterion<ImagingStudy>],
        sort: &[SortKey<ImagingStudy>],
        access: &Access,
        freshness: Freshness,
    ) -> Result<FoundStudies, StudiesError> {
        self.search_asked_at(criteria, sort, access, freshness, None).await
    }

    /// As [`search_to_sort`](Self::search_to_sort), for a search that began at `asked_at`.
    async fn search_asked_at(
        &self,
        criteria: &[Criterion<ImagingStudy>],
        sort: &[SortKey<ImagingStudy>],
        access: &Access,
        freshness: Freshness,
        asked_at: Option<Timestamp>,
    ) -> Result<FoundStudies, StudiesError> {
        let is_dated = needs_versions(criteria, sort);
        let asking = if is_dated { Freshness::Bypass } else { freshness };
        let (mut candidates, missing_uid) = self.candidates(criteria, access, asking).await?;
        if is_dated {
            self.record_listing(&candidates, criteria, access).await;
            self.date_since(&mut candidates, asked_at).await;
        }
        let missing_uid = self.missing_uid_matches(&missing_uid, criteria);
        let has_every_row = criteria.iter().all(names_studies);
        for study in candidates.studies.iter_mut().chain(&mut candidates.patient_conflicts) {
            study.has_every_row = has_every_row;
        }
        let found = self.filter(candidates, criteria, freshness).await?;
        Ok(FoundStudies { missing_uid, ..found })
    }

    /// The study `uid`, if it exists and the caller may see it.
    pub async fn find(
        &self,
        uid: &StudyUid,
        access: &Access,
        freshness: Freshness,
    ) -> Result<Option<FoundStudy>, StudiesError> {
        let mut found = self.studies_named(&[uid], access, freshness).await?;
        if found.patient_conflicts.is_empty() {
            Ok(found.studies.pop())
        } else {
            let conflicts = found.patient_conflicts.iter().flat_map(FoundStudy::archives);
            Err(StudiesError::TwoPatients { study: uid.clone(), archives: conflicts.collect() })
        }
    }

    /// Sorts all matches and cuts the page from them.
    fn paginate(&self, found: FoundStudies, search: &StudySearch<'_>) -> Result<StudyPage, StudiesError> {
        let window = self.limits.sort_window;
        if found.studies.len() > window && !search.sort.is_empty() {
            return Err(StudiesError::TooManyToSort { limit: window });
        }
        let keys = if search.sort.is_empty() { &[SortKey::NEWEST_FIRST] } else { search.sort };
        let directions: Vec<_> = keys.iter().map(SortKey::direction).collect();
        let matches =
            found.studies.into_iter().map(|study| (self.sort_position(&study, keys), study)).collect();
        let page = sort::paginate(matches, &directions, search.cursor, search.count);
        Ok(StudyPage {
            studies: page.items,
            // What is omitted is reported, and not counted.
            total: Some(page.total),
            previous: page.previous,
            next: page.next,
            patient_conflicts: found.patient_conflicts.iter().map(PatientConflict::from).collect(),
            missing_uid: found.missing_uid,
            unread: found.unread,
            has_drifted: false,
            asked_at: None,
        })
    }

    /// The position of a study in a sort order.
    pub fn sort_position(&self, study: &FoundStudy, keys: &[SortKey<ImagingStudy>]) -> SortPosition {
        match self.source(&study.first().archive) {
            Some(source) => SortPosition::from_resource(keys, &shallow(study, source), &zone_of(source)),
            // Each row's archive is configured.
            None => SortPosition::default(),
        }
    }
}
