//! Searches for studies in all archives, page by page.
//!
//! Normally all matches are found and sorted, and the page is selected from them. Then the total is known, and the cursor
//! contains the position of the match just before or just after the page. If an archive has more rows than may be read, a page that is
//! sorted by the start of the studies is read in windows of days ([`windowed_page`](super::windowed_page)). If the archive does not
//! evaluate ranges of dates and no order is required, its list is read in its own order ([`unsorted_page`](super::unsorted_page)).

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::filter::{resource_from_rows, time_zone_of};
use super::row::{OmittedMatches, RowWithoutUid, StudyRow};
use super::sort::{self, SortPosition};
use super::study_versions::needs_versions;
use super::unsorted_page::UpstreamPosition;
use super::windowed_page::{WindowError, WindowPosition};
use super::{Freshness, Studies, StudiesError};
use crate::auth::Access;
use crate::change_log::Version;
use crate::fingerprint::Fingerprint;
use crate::upstream::ArchiveId;
use dicom_model::{StudyUid, tags};
use fhir_r4::search::{Criterion, ImagingStudyParam, SortKey};
use fhir_r4::types::ImagingStudy;

/// A study that was found: one row from each archive that contains it, in the order of the configuration.
#[derive(Debug, Clone)]
pub struct FoundStudy {
    pub(super) rows: Vec<StudyRow>,
    /// The version of the study, if the search needs it.
    pub(super) version: Option<Version>,
    /// The archives that contain a study of another patient with the same UID.
    pub(super) other_patients: Vec<ArchiveId>,
    /// Whether the archives returned every row with the UID. An archive that filters by a criterion may return the row of only
    /// one of two patients.
    pub(super) has_every_row: bool,
    /// The studies of the single patients, if the rows belong to several patients.
    pub(super) parts: Vec<Self>,
    /// What may match only because of rows that may belong to several of the patients, which are in none of the `parts`.
    pub(super) ambiguous_parts: Vec<Self>,
    /// Whether the rows may belong to several patients, so that the study is compared but never returned.
    pub(super) is_ambiguous: bool,
    /// The fingerprint of the rows of all patients, if this is the study of one of several patients.
    pub(super) rows_of_all_patients: Option<Fingerprint>,
}

impl FoundStudy {
    /// Creates a study of one patient from all of its rows, of which there is at least one.
    pub(super) fn from_rows(rows: Vec<StudyRow>) -> Self {
        Self {
            rows,
            version: None,
            other_patients: Vec::new(),
            has_every_row: true,
            parts: Vec::new(),
            ambiguous_parts: Vec::new(),
            is_ambiguous: false,
            rows_of_all_patients: None,
        }
    }

    /// Returns the Study Instance UID, which is the id of the resource.
    pub fn uid(&self) -> &StudyUid {
        &self.first_row().uid
    }

    /// Returns the row of the first archive that contains the study.
    pub fn first_row(&self) -> &StudyRow {
        // A `FoundStudy` is made from at least one row.
        &self.rows[0]
    }

    /// Returns the row whose patient is the subject of the resource: the first one with a PatientID, or the first one.
    pub fn subject_row(&self) -> &StudyRow {
        let has_patient_id = |row: &&StudyRow| row.patient.has_patient_id();
        self.rows_of_archives().find(has_patient_id).unwrap_or_else(|| self.first_row())
    }

    /// Whether the patient of a row without a PatientID is that of another row, as far as the rows show.
    pub(super) fn has_assumed_patient(&self) -> bool {
        let has_patient_id = |row: &StudyRow| row.patient.has_patient_id();
        self.rows.iter().any(has_patient_id) && !self.rows.iter().all(has_patient_id)
    }

    /// Returns the archives that contain a study of another patient with the same UID. The resource does not refer to their
    /// Endpoints.
    pub fn other_patients(&self) -> &[ArchiveId] {
        &self.other_patients
    }

    /// Returns the Endpoint ids of the archives that contain the study.
    pub fn endpoints(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().map(|row| row.archive.as_str())
    }

    /// Returns the rows from which the resource is made, one for each archive that contains the study, in the order of the
    /// configuration.
    pub(super) fn rows_of_archives(&self) -> impl Iterator<Item = &StudyRow> {
        let is_first = |index: usize, row: &StudyRow| {
            self.rows.iter().take(index).all(|other| other.archive != row.archive)
        };
        self.rows.iter().enumerate().filter(move |(index, row)| is_first(*index, row)).map(|(_, row)| row)
    }

    fn archives(&self) -> impl Iterator<Item = ArchiveId> {
        self.rows.iter().map(|row| row.archive.clone()).chain(self.other_patients.iter().cloned())
    }

    /// Whether the rows contain the numbers of series and instances. Without them, rows do not show that a study has grown.
    pub(super) fn has_counts(&self) -> bool {
        let counts = [tags::NUMBER_OF_STUDY_RELATED_SERIES, tags::NUMBER_OF_STUDY_RELATED_INSTANCES];
        self.rows.iter().all(|row| counts.iter().all(|count| row.attributes.integer(*count).is_some()))
    }

    /// Returns the fingerprint of the rows, which shows whether an assembled study is still current.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::from_rows(self.rows.iter().map(|row| (&row.archive, &row.attributes)))
    }
}

/// The unordered result of a search.
#[derive(Debug, Clone, Default)]
pub struct FoundStudies {
    /// Every match.
    pub studies: Vec<FoundStudy>,
    /// Studies that match, but whose UID is assigned to several patients, so their subject is ambiguous.
    pub patient_conflicts: Vec<FoundStudy>,
    /// The rows that match but have no Study Instance UID that the rule of their archive accepts, so no resource can be made from them.
    pub matches_without_uid: Vec<RowWithoutUid>,
    /// Studies that may match but could not be compared.
    pub unreadable: Vec<UnreadableStudy>,
}

impl FoundStudies {
    /// Returns the numbers of matches without a UID, by archive.
    pub fn omitted_matches(&self) -> BTreeMap<ArchiveId, OmittedMatches> {
        OmittedMatches::by_archive(&self.matches_without_uid)
    }
}

/// A study UID that is assigned to several patients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatientConflict {
    /// The UID.
    pub uid: StudyUid,
    /// The archives that contain a study with this UID.
    pub archives: BTreeSet<ArchiveId>,
}

impl From<&FoundStudy> for PatientConflict {
    fn from(study: &FoundStudy) -> Self {
        Self { uid: study.uid().clone(), archives: study.archives().collect() }
    }
}

/// A study that may match but could not be compared with the criteria, because its series or instances could not be read.
#[derive(Debug, Clone)]
pub struct UnreadableStudy {
    /// The UID of the study.
    pub uid: StudyUid,
    /// The error, which [concerns only this study](StudiesError::is_specific_to_study).
    pub error: StudiesError,
}

/// Whether an archive that filters by the criterion returns either all rows with a UID or none of them.
pub(super) fn keeps_rows_of_uid_together(criterion: &Criterion<ImagingStudy>) -> bool {
    matches!(
        criterion.parameter.key,
        ImagingStudyParam::Id | ImagingStudyParam::LastUpdated | ImagingStudyParam::Endpoint
    )
}

/// The parameters of a search.
#[derive(Debug, Clone, Copy)]
pub struct StudySearch<'a> {
    /// The criteria, all of which a match satisfies.
    pub criteria: &'a [Criterion<ImagingStudy>],
    /// The sort order; without a key the newest study comes first.
    pub sort: &'a [SortKey<ImagingStudy>],
    /// The maximum number of matches on a page.
    pub count: usize,
    /// The cursor of the page; `None` for the first page.
    pub cursor: Option<&'a Cursor>,
    /// Whether the total is required.
    pub needs_total: bool,
}

impl<'a> StudySearch<'a> {
    /// Returns the keys of the order, of which the default is the newest study first.
    pub(super) fn sort_keys(&self) -> &'a [SortKey<ImagingStudy>] {
        if self.sort.is_empty() { &[SortKey::NEWEST_FIRST] } else { self.sort }
    }

    /// Whether a page can be read without the whole list, because the matches are sorted by their start and not counted.
    fn is_sorted_by_date(&self) -> bool {
        let is_by = |key: &SortKey<_>, parameter: ImagingStudyParam| key.parameter().key == parameter;
        let keys = self.sort_keys();
        let is_by_start = keys.first().is_some_and(|key| is_by(key, ImagingStudyParam::Started));
        // The versions of all studies would have to be known.
        let is_by_version = keys.iter().any(|key| is_by(key, ImagingStudyParam::LastUpdated));
        !self.needs_total && is_by_start && !is_by_version
    }
}

/// The position of a page. It contains everything that is required to continue, so any replica with the same key can continue
/// from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cursor {
    /// The page begins after this match in the requested order.
    After(SortPosition),
    /// The page ends before this match in the requested order.
    Before(SortPosition),
    /// The page begins at this position in the order of the archives.
    At(UpstreamPosition),
    /// The page begins or ends at this position, and its matches are read in windows of days.
    InWindow(WindowPosition),
}

/// One page of a search.
#[derive(Debug, Default)]
pub struct StudyPage {
    /// The matches on the page.
    pub studies: Vec<FoundStudy>,
    /// The number of matches on all pages, if known.
    pub total: Option<usize>,
    /// The cursor of the previous page.
    pub previous: Option<Cursor>,
    /// The cursor of the next page.
    pub next: Option<Cursor>,
    /// Study UIDs with several patients, of the whole search or of the rows that were read for this page.
    pub patient_conflicts: Vec<PatientConflict>,
    /// The numbers of matching rows without a UID that the rule of their archive accepts, of the whole search or of the rows that
    /// were read for this page.
    pub omitted_matches: BTreeMap<ArchiveId, OmittedMatches>,
    /// Studies that could not be compared, of the whole search or of the rows that were read for this page.
    pub unreadable: Vec<UnreadableStudy>,
    /// Whether the list of an archive changed between two pages. Then studies may have been skipped.
    pub has_list_changed: bool,
    /// Whether the page has fewer matches than requested although more may follow, because as much was read as one request may read.
    pub is_short: bool,
    /// The archives whose studies without a date cannot be found, so that they are missing at the end of the list.
    pub without_undated_studies: BTreeSet<ArchiveId>,
    /// For the first page of a search by `_lastUpdated`: the time just before the archives were queried. A client that next
    /// requests changes since this time misses no change, and does not receive again the changes that this search detected.
    pub requested_at: Option<Timestamp>,
}

impl Studies {
    /// Returns one page of the studies that match and that the caller may see.
    pub async fn search_page(
        &self,
        search: &StudySearch<'_>,
        access: &Access,
        freshness: Freshness,
    ) -> Result<StudyPage, StudiesError> {
        let uses_last_updated = needs_versions(search.criteria, search.sort);
        let studies = self.for_search_by_last_updated(uses_last_updated);
        if let Some(Cursor::At(position)) = search.cursor {
            return studies.read_unsorted_page(search, position.clone(), access, freshness).await;
        }
        let requested_at = if uses_last_updated && search.cursor.is_none() {
            Some(self.change_log.now().await?)
        } else {
            None
        };
        let page = match studies.find_whole_list(search, access, freshness, requested_at).await? {
            Some(found) => self.paginate(found, search)?,
            None => studies.read_long_list(search, access, freshness).await?,
        };
        Ok(StudyPage { requested_at, ..page })
    }

    /// Returns all matches of a search; `None` if a list is too long to be read as a whole, and the page can be read without it.
    async fn find_whole_list(
        &self,
        search: &StudySearch<'_>,
        access: &Access,
        freshness: Freshness,
        requested_at: Option<Timestamp>,
    ) -> Result<Option<FoundStudies>, StudiesError> {
        let StudySearch { criteria, sort, .. } = *search;
        if !search.is_sorted_by_date() {
            return self.find_matches(criteria, sort, access, freshness, requested_at).await.map(Some);
        }
        if let Some(Cursor::InWindow(_)) = search.cursor {
            return Ok(None);
        }
        let studies = self.detecting_long_lists();
        match studies.find_matches(criteria, sort, access, freshness, requested_at).await {
            Err(error) if error.is_from_long_list() => Ok(None),
            found => found.map(Some),
        }
    }

    /// Returns one page of a list that is too long to be read as a whole, in windows of days. If that is impossible and no order is required,
    /// the list is read in the order of the archive.
    async fn read_long_list(
        &self,
        search: &StudySearch<'_>,
        access: &Access,
        freshness: Freshness,
    ) -> Result<StudyPage, StudiesError> {
        match self.read_windowed_page(search, access, freshness).await {
            Err(WindowError::Unusable(_)) if search.cursor.is_none() && search.sort.is_empty() => {
                self.read_unsorted_page(search, UpstreamPosition::default(), access, freshness).await
            }
            Err(WindowError::Unusable(error) | WindowError::Failed(error)) => Err(error),
            Ok(page) => Ok(page),
        }
    }

    /// Returns every study that matches all of `criteria` and that the caller may see.
    pub async fn search(
        &self,
        criteria: &[Criterion<ImagingStudy>],
        access: &Access,
        freshness: Freshness,
    ) -> Result<FoundStudies, StudiesError> {
        self.search_to_sort(criteria, &[], access, freshness).await
    }

    /// Does the same as [`search`](Self::search), for a result that is then sorted by `sort`.
    pub async fn search_to_sort(
        &self,
        criteria: &[Criterion<ImagingStudy>],
        sort: &[SortKey<ImagingStudy>],
        access: &Access,
        freshness: Freshness,
    ) -> Result<FoundStudies, StudiesError> {
        let studies = self.for_search_by_last_updated(needs_versions(criteria, sort));
        studies.find_matches(criteria, sort, access, freshness, None).await
    }

    /// Does the same as [`search_to_sort`](Self::search_to_sort), for a search whose time `requested_at` the client receives.
    async fn find_matches(
        &self,
        criteria: &[Criterion<ImagingStudy>],
        sort: &[SortKey<ImagingStudy>],
        access: &Access,
        freshness: Freshness,
        requested_at: Option<Timestamp>,
    ) -> Result<FoundStudies, StudiesError> {
        let uses_last_updated = needs_versions(criteria, sort);
        let scan_freshness = if uses_last_updated { Freshness::Bypass } else { freshness };
        let (mut candidates, rows_without_uid) =
            self.find_candidates(criteria, access, scan_freshness).await?;
        if uses_last_updated {
            let may_match = |study: &&FoundStudy| self.compare_row(study, criteria).is_some();
            self.check_candidates(candidates.studies.iter().filter(may_match)).await?;
            self.record_listing(&candidates, criteria, access).await?;
            self.add_versions(&mut candidates, requested_at).await?;
        }
        let matches_without_uid = self.matches_without_uid(rows_without_uid, criteria);
        let has_every_row = criteria.iter().all(keeps_rows_of_uid_together);
        for study in candidates.studies.iter_mut().chain(&mut candidates.patient_conflicts) {
            study.has_every_row = has_every_row;
        }
        let found = self.filter(candidates, criteria, freshness).await?;
        Ok(FoundStudies { matches_without_uid, ..found })
    }

    /// Finds the study `uid`, if it exists and the caller may see it.
    pub async fn find(
        &self,
        uid: &StudyUid,
        access: &Access,
        freshness: Freshness,
    ) -> Result<Option<FoundStudy>, StudiesError> {
        let mut found = self.find_by_uids(&[uid], access, freshness).await?;
        if found.patient_conflicts.is_empty() {
            Ok(found.studies.pop())
        } else {
            let archives = found.patient_conflicts.iter().flat_map(FoundStudy::archives);
            Err(StudiesError::SeveralPatients { study: uid.clone(), archives: archives.collect() })
        }
    }

    /// Sorts all matches and selects the page from them.
    fn paginate(&self, found: FoundStudies, search: &StudySearch<'_>) -> Result<StudyPage, StudiesError> {
        let sort_window = self.limits.sort_window;
        if found.studies.len() > sort_window && !search.sort.is_empty() {
            return Err(StudiesError::TooManyToSort { limit: sort_window });
        }
        let omitted_matches = found.omitted_matches();
        let keys = search.sort_keys();
        let directions: Vec<_> = keys.iter().map(SortKey::direction).collect();
        let matches =
            found.studies.into_iter().map(|study| (self.sort_position(&study, keys), study)).collect();
        let page = sort::paginate(matches, &directions, search.cursor, search.count);
        Ok(StudyPage {
            studies: page.items,
            // Omitted matches are reported in the response, but do not count.
            total: Some(page.total),
            previous: page.previous,
            next: page.next,
            patient_conflicts: found.patient_conflicts.iter().map(PatientConflict::from).collect(),
            omitted_matches,
            unreadable: found.unreadable,
            ..StudyPage::default()
        })
    }

    /// Returns the position of a study in a sort order.
    pub fn sort_position(&self, study: &FoundStudy, keys: &[SortKey<ImagingStudy>]) -> SortPosition {
        let source = self.source(&study.first_row().archive);
        match source.zip(resource_from_rows(study, &self.sources)) {
            Some((source, resource)) => SortPosition::from_resource(keys, &resource, &time_zone_of(source)),
            // This does not happen, because rows are only from configured archives.
            None => SortPosition::default(),
        }
    }
}
