//! Searches for studies over all archives, page by page.
//!
//! As a rule all matches are found, put in order, and the page is cut out of them; then the total is known, and a page is told by
//! the last match before it. An archive that has more than may be looked through is read in its own order instead, as far as
//! the page needs ([`stream`](super::unsorted)).

use super::filter::{shallow, zone_of};
use super::row::StudyRow;
use super::sort::{self, SortPosition};
use super::unsorted::UpstreamPosition;
use super::versions::asks_when;
use super::{Form, Freshness, Studies, StudiesError};
use crate::auth::Access;
use crate::change_log::Version;
use crate::fingerprint::Fingerprint;
use dicom_model::StudyUid;
use fhir_r4::search::{Criterion, SortKey};
use fhir_r4::types::ImagingStudy;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A study that was found: its rows, from each archive that holds it, in the order of the configuration.
#[derive(Debug, Clone)]
pub struct FoundStudy {
    pub(super) rows: Vec<StudyRow>,
    /// Which version it is, where that was asked for.
    pub(super) version: Option<Version>,
}

impl FoundStudy {
    /// Its UID, which is its id.
    pub fn uid(&self) -> &StudyUid {
        &self.first().uid
    }

    /// The row that the resource is made of: of the first archive that holds the study.
    pub fn first(&self) -> &StudyRow {
        // A study is found by a row, so there is one: `FoundStudy` is made of rows that were grouped by UID.
        &self.rows[0]
    }

    /// The archives that hold it, by the Endpoint ids that they have.
    pub fn endpoints(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().map(|row| row.archive.as_str())
    }

    /// Tells whether what was made of it earlier is still true.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.rows.iter().map(|row| (&row.archive, &row.attributes)))
    }
}

/// What a search found, in no order.
#[derive(Debug, Clone, Default)]
pub struct FoundStudies {
    /// Every match.
    pub studies: Vec<FoundStudy>,
    /// Studies that match but stand under more than one patient in one archive: nobody can tell whose they are.
    pub patient_conflicts: Vec<FoundStudy>,
    /// How many rows match but have no Study Instance UID that is one, so that no resource can be made of them.
    pub missing_uid: usize,
}

/// What a search wants.
#[derive(Debug, Clone, Copy)]
pub struct StudySearch<'a> {
    /// All of them hold for a match.
    pub criteria: &'a [Criterion<ImagingStudy>],
    /// In which order; without a key the newest come first.
    pub sort: &'a [SortKey],
    /// Matches on a page.
    pub count: usize,
    /// Where the page is; the first one without.
    pub place: Option<&'a Cursor>,
    /// Whether the answer is of no use without the total.
    pub needs_total: bool,
}

/// Where a page is. Holds all that is needed to go on, so that any gateway in front of the same archives can.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cursor {
    /// Behind this match, in the order that was asked for.
    After(SortPosition),
    /// Before this match.
    Before(SortPosition),
    /// There, in the archives' own order.
    At(UpstreamPosition),
}

/// One page of a search.
#[derive(Debug, Default)]
pub struct StudyPage {
    /// The matches on it.
    pub studies: Vec<FoundStudy>,
    /// How many there are on all pages, when that is known.
    pub total: Option<usize>,
    /// The page before.
    pub previous: Option<Cursor>,
    /// The page behind.
    pub next: Option<Cursor>,
    /// As in [`FoundStudies`]; of the whole search, or of what was looked through for this page.
    pub patient_conflicts: Vec<StudyUid>,
    /// As in [`FoundStudies`].
    pub missing_uid: usize,
    /// The archives' lists changed between two pages, so that studies may have been jumped over.
    pub has_drifted: bool,
    /// Of the first page of a search by when studies changed: the moment before the archives were asked. Whoever asks for
    /// what has changed since then misses nothing.
    pub asked_at: Option<Timestamp>,
}

/// The newest first.
const DEFAULT_ORDER: [SortKey; 1] = [SortKey { parameter: "started", descending: true }];

impl Studies {
    /// One page of the studies that match and that the caller may see.
    pub async fn page(
        &self,
        search: &StudySearch<'_>,
        access: &Access,
        freshness: Freshness,
    ) -> Result<StudyPage, StudiesError> {
        if let Some(Cursor::At(position)) = search.place {
            return self.streamed(search, position.clone(), access, freshness).await;
        }
        let is_dated = asks_when(search.criteria, search.sort);
        let asked_at =
            if is_dated && search.place.is_none() { Some(self.change_log.moment().await) } else { None };
        let page = match self.search_to_sort(search.criteria, search.sort, access, freshness).await {
            Ok(found) => self.paginate(found, search)?,
            // Too many to be counted or put in order may still be read one after the other.
            Err(StudiesError::TooManyRows { .. })
                if search.place.is_none() && search.sort.is_empty() && !search.needs_total =>
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

    /// The same, to be put in the order of `sort`.
    pub async fn search_to_sort(
        &self,
        criteria: &[Criterion<ImagingStudy>],
        sort: &[SortKey],
        access: &Access,
        freshness: Freshness,
    ) -> Result<FoundStudies, StudiesError> {
        let is_dated = asks_when(criteria, sort);
        let asking = if is_dated { Freshness::Bypass } else { freshness };
        let (mut candidates, missing_uid) = self.candidates(criteria, access, asking).await?;
        if is_dated {
            self.date(&mut candidates).await;
        }
        let missing_uid = self.nameless_matches(&missing_uid, criteria);
        let found = self.screen(candidates, criteria, freshness).await?;
        Ok(FoundStudies { missing_uid, ..found })
    }

    /// The study `uid`, if there is one that the caller may see.
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
            Err(StudiesError::TwoPatients { study: uid.clone() })
        }
    }

    /// Puts all matches in order and cuts the page from them.
    fn paginate(&self, found: FoundStudies, search: &StudySearch<'_>) -> Result<StudyPage, StudiesError> {
        let window = self.limits.sort_window;
        if found.studies.len() > window && !search.sort.is_empty() {
            return Err(StudiesError::TooManyToSort { limit: window });
        }
        let keys = if search.sort.is_empty() { &DEFAULT_ORDER } else { search.sort };
        let standings = found.studies.into_iter().map(|study| (self.standing(&study, keys), study)).collect();
        let page = sort::paginate(standings, keys, search.place, search.count);
        // What was left out counts neither as a match nor as none.
        let is_certain = found.patient_conflicts.is_empty() && found.missing_uid == 0;
        Ok(StudyPage {
            studies: page.items,
            total: is_certain.then_some(page.total),
            previous: page.previous,
            next: page.next,
            patient_conflicts: found.patient_conflicts.iter().map(|study| study.uid().clone()).collect(),
            missing_uid: found.missing_uid,
            has_drifted: false,
            asked_at: None,
        })
    }

    /// Where a study stands in an order.
    pub fn standing(&self, study: &FoundStudy, keys: &[SortKey]) -> SortPosition {
        match self.source(&study.first().archive) {
            Some(source) => SortPosition::of(keys, &shallow(study, source), &zone_of(source)),
            // Each row's archive is one of the configuration.
            None => SortPosition::default(),
        }
    }
}

impl Form {
    /// How deep a study must be fetched to be rendered so.
    pub(super) fn depth(&self) -> super::Depth {
        match self {
            Self::Full | Self::Data => super::Depth::Instances,
            Self::Summary => super::Depth::Series,
            Self::Text => super::Depth::Study,
            Self::Elements(names) => {
                let below = |name: &str| name == "series";
                // What the archive does not count or sum up must be counted in its series, and what belongs to series is
                // known from them.
                let summed = |name: &str| {
                    matches!(
                        name,
                        "basedOn"
                            | "location"
                            | "modality"
                            | "note"
                            | "numberOfSeries"
                            | "procedureReference"
                            | "reasonCode"
                    )
                };
                if names.iter().any(|name| below(name)) {
                    super::Depth::Instances
                } else if names.iter().any(|name| summed(name)) {
                    super::Depth::Series
                } else {
                    super::Depth::Study
                }
            }
        }
    }
}
