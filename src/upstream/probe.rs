//! Finds out how an archive answers searches, by a few small searches whose answers are known.
//!
//! The first question is for a page of studies. The others are about studies of this page, so that the right answer to each is known.
//! An answer that is not exactly the right one counts as "no". What a finding allows is nevertheless verified whenever it is used:
//!
//! - a list of UIDs contains two studies that the archive is known to have ([`Archive::control_studies`]), which must be in the answer
//! - the series of a study that are found by a list must have the number that the row of the study reports
//! - a short page counts as the last one only for some minutes after a larger page has been received
//! - 404 and an empty list for a name count only if the archive still gives the right answer to the question of the probe
//!
//! This module does not decide when an archive is probed; `probed_profile` does.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::qido::{IncludeStyle, MatchValue, QidoQuery, RowIdentity, SearchLevel};
use super::{Archive, ArchiveError, ArchiveErrorKind, Profile, UpstreamRequest};
use dicom_model::{Attributes, StudyUid, Uid, tags};

/// The number of rows in the first question. It is so small that the answer costs little, and so large that no archive is known whose
/// maximum is smaller: pages with fewer rows than the archive has returned here were not truncated by it.
const FIRST_PAGE_SIZE: u32 = 51;

/// The maximum number of rows in the other questions.
const SMALL_PAGE_SIZE: u32 = 10;

/// The maximum number of rows in the question for the series of two studies.
const SERIES_PAGE_SIZE: u32 = 20;

/// A UID that no study has: it is derived from a random UUID (PS3.5 B.2).
const UNUSED_UID: &str = "2.25.247192083549873120935178026411950237841";

/// A value that no name and no station has.
const UNUSED_VALUE: &str = "no-such-value-4711";

/// What an archive does with a matching key that it does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnknownKeys {
    /// It ignores the key.
    Ignored,
    /// It rejects the search.
    Rejected,
    /// It returns nothing, or knows the key.
    MatchNothing,
}

/// What was found out about an archive. `None` means that it could not be found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeFindings {
    /// The [`short_page_limit`](Profile::short_page_limit).
    pub short_page_limit: usize,
    /// The [`include_style`](Profile::include_style).
    pub include_style: IncludeStyle,
    /// Whether [`uid_lists`](Profile::uid_lists) are understood.
    pub uid_lists: Option<bool>,
    /// Whether [`series_by_uid_lists`](Profile::series_by_uid_lists) are found.
    pub series_by_uid_lists: Option<bool>,
    /// Whether [`escapes are decoded`](Profile::decodes_escapes).
    pub decodes_escapes: Option<bool>,
    /// Whether [`404 means that no study matches`](Profile::not_found_means_no_match).
    pub not_found_means_no_match: bool,
    /// What the archive does with keys that it does not know.
    pub unknown_keys: Option<UnknownKeys>,
    /// Studies that the archive contains, at least one and at most two.
    control_studies: Vec<String>,
}

impl ProbeFindings {
    /// Returns `profile` with what was found out.
    pub(super) fn apply(&self, profile: Profile) -> Profile {
        Profile {
            short_page_limit: self.short_page_limit,
            include_style: self.include_style,
            not_found_means_no_match: self.not_found_means_no_match,
            decodes_escapes: self.decodes_escapes == Some(true),
            uid_lists: self.uid_lists == Some(true) && self.control_studies.len() == 2,
            series_by_uid_lists: self.series_by_uid_lists == Some(true),
            ..profile
        }
    }

    /// Returns the studies that the archive contained.
    pub(super) fn control_studies(&self, archive: &Archive) -> Vec<StudyUid> {
        let parse = |text: &String| StudyUid::parse_by(archive.uid_rule(), text).ok();
        self.control_studies.iter().filter_map(parse).collect()
    }
}

/// The answer to a question.
enum Answer {
    Rows(Vec<Attributes>),
    /// The archive has no such resource.
    NotFound,
    /// The archive rejected the search, or its answer cannot be read.
    Rejected,
}

impl Answer {
    /// Returns the Study Instance UIDs of the rows.
    fn studies(&self) -> Vec<&str> {
        match self {
            Self::Rows(rows) => rows.iter().filter_map(|row| row.text(tags::STUDY_INSTANCE_UID)).collect(),
            Self::NotFound | Self::Rejected => Vec::new(),
        }
    }

    /// Whether all rows are those of `study`, and there is at least one.
    fn is_only(&self, study: &StudyUid) -> bool {
        let studies = self.studies();
        !studies.is_empty() && studies.iter().all(|uid| *uid == study.as_str())
    }

    /// Whether the archive answered that nothing matches.
    fn is_empty(&self) -> bool {
        matches!(self, Self::Rows(rows) if rows.is_empty()) || matches!(self, Self::NotFound)
    }
}

/// The questions about one archive.
struct Questions<'a> {
    archive: &'a Archive,
    style: IncludeStyle,
}

impl Questions<'_> {
    /// Sends `query`, and reads its rows up to its limit and one more. It is an error if the archive fails; then it cannot be probed now.
    async fn ask(&self, query: QidoQuery) -> Result<Answer, ArchiveError> {
        let max_rows = query.window().0.unwrap_or(SMALL_PAGE_SIZE) as usize;
        let mut rows = Vec::new();
        let add = |row: Attributes| {
            rows.push(row);
            if rows.len() > max_rows { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let request = UpstreamRequest::search(query.with_include_style(self.style));
        match self.archive.read_rows_until(request, add).await {
            Ok(_) => Ok(Answer::Rows(rows)),
            Err(ArchiveError { kind: ArchiveErrorKind::NoSearchService(_), .. }) => Ok(Answer::NotFound),
            Err(error) if error.is_specific_to_request() => Ok(Answer::Rejected),
            Err(error) => Err(error),
        }
    }

    async fn ask_for_study(&self, study: &StudyUid) -> Result<Answer, ArchiveError> {
        self.ask(query_for(study)).await
    }

    /// Returns the first studies; `None` if the archive rejects the search.
    async fn first_page(&mut self) -> Result<Option<Vec<Attributes>>, ArchiveError> {
        let included = [tags::NUMBER_OF_STUDY_RELATED_SERIES, tags::NUMBER_OF_STUDY_RELATED_INSTANCES];
        let query = || QidoQuery::new(SearchLevel::Studies).page(FIRST_PAGE_SIZE, 0).include(&included);
        for style in [IncludeStyle::Repeated, IncludeStyle::List] {
            self.style = style;
            if let Answer::Rows(rows) = self.ask(query()).await? {
                return Ok(Some(rows));
            }
        }
        Ok(None)
    }

    /// Whether the second and third row of `first_page` are the answer to a request for these rows.
    async fn has_reliable_paging(&self, first_page: &[Attributes]) -> Result<bool, ArchiveError> {
        let identities = |rows: &[Attributes]| -> Option<Vec<RowIdentity>> {
            rows.iter().map(|row| RowIdentity::from_row(&SearchLevel::Studies, row)).collect()
        };
        let expected = identities(first_page.get(1..first_page.len().min(3)).unwrap_or_default());
        if first_page.len() > FIRST_PAGE_SIZE as usize || expected.as_ref().is_none_or(Vec::is_empty) {
            return Ok(false);
        }
        let answer = self.ask(QidoQuery::new(SearchLevel::Studies).page(2, 1)).await?;
        Ok(matches!(&answer, Answer::Rows(rows) if identities(rows) == expected))
    }

    /// Whether a list of two studies matches both of them and no other study.
    async fn has_uid_lists(&self, studies: &[StudyUid; 2]) -> Result<bool, ArchiveError> {
        let query = QidoQuery::new(SearchLevel::Studies).page(SMALL_PAGE_SIZE, 0);
        Ok(are_both(&self.ask(matching_both(query, studies)).await?.studies(), studies))
    }

    /// Whether a list of two studies matches the series of both of them and of no other study.
    async fn has_series_by_uid_lists(&self, studies: &[StudyUid; 2]) -> Result<bool, ArchiveError> {
        let query = QidoQuery::new(SearchLevel::AllSeries).page(SERIES_PAGE_SIZE, 0);
        let answer = self.ask(matching_both(query, studies)).await?;
        let found = answer.studies();
        // The series of one study may fill the page.
        let is_full = found.len() >= SERIES_PAGE_SIZE as usize;
        Ok(are_both(&found, studies) || is_full && found.iter().all(|uid| is_one_of(uid, studies)))
    }

    /// Whether the archive finds `study` by an escaped wildcard as the name, and does not find it by a name that it does not have.
    async fn decodes_escapes(&self, study: &StudyUid) -> Result<bool, ArchiveError> {
        let by_name = |name: &str| query_for(study).matching(tags::PATIENT_NAME, MatchValue::raw(name));
        Ok(self.ask(by_name("*").fully_escaped()).await?.is_only(study)
            && self.ask(by_name(UNUSED_VALUE)).await?.is_empty())
    }

    /// Whether 404 is the answer to a search for a study that does not exist.
    async fn has_not_found_for_no_match(&self) -> Result<bool, ArchiveError> {
        let Ok(unused) = StudyUid::parse(UNUSED_UID) else { return Ok(false) };
        Ok(matches!(self.ask_for_study(&unused).await?, Answer::NotFound))
    }

    async fn unknown_keys(&self, study: &StudyUid) -> Result<Option<UnknownKeys>, ArchiveError> {
        let query = query_for(study).matching(tags::STATION_NAME, MatchValue::raw(UNUSED_VALUE));
        let answer = self.ask(query).await?;
        Ok(match &answer {
            Answer::Rejected => Some(UnknownKeys::Rejected),
            answer if answer.is_empty() => Some(UnknownKeys::MatchNothing),
            answer => answer.is_only(study).then_some(UnknownKeys::Ignored),
        })
    }
}

/// Returns the query for the rows of one study.
fn query_for(study: &StudyUid) -> QidoQuery {
    let query = QidoQuery::new(SearchLevel::Studies).page(SMALL_PAGE_SIZE, 0);
    query.matching(tags::STUDY_INSTANCE_UID, MatchValue::uid(study.uid()))
}

fn matching_both(query: QidoQuery, studies: &[StudyUid; 2]) -> QidoQuery {
    let uids: Vec<Uid> = studies.iter().map(|study| study.uid().clone()).collect();
    match MatchValue::any_of(&uids) {
        Some(list) => query.matching(tags::STUDY_INSTANCE_UID, list),
        None => query,
    }
}

fn is_one_of(uid: &str, studies: &[StudyUid; 2]) -> bool {
    studies.iter().any(|study| study.as_str() == uid)
}

/// Whether `found` contains both studies, and no other study.
fn are_both(found: &[&str], studies: &[StudyUid; 2]) -> bool {
    studies.iter().all(|study| found.contains(&study.as_str()))
        && found.iter().all(|uid| is_one_of(uid, studies))
}

impl Archive {
    /// Asks the archive at most ten small questions; `None` if it has no studies, or if their rows have no UIDs, so that nothing can be
    /// found out. It is an error if the archive fails.
    pub async fn probe(&self) -> Result<Option<ProbeFindings>, ArchiveError> {
        let archive = self.for_probing();
        let mut questions = Questions { archive: &archive, style: IncludeStyle::Repeated };
        let Some(first_page) = questions.first_page().await? else {
            return Err(self.unreadable("no list of studies to a search without criteria"));
        };
        let parse =
            |row: &Attributes| StudyUid::parse_by(self.uid_rule(), row.text(tags::STUDY_INSTANCE_UID)?).ok();
        let mut studies = first_page.iter().filter_map(parse);
        let Some(first) = studies.next() else { return Ok(None) };
        let two_studies = studies.rfind(|study| *study != first).map(|last| [first.clone(), last]);
        let is_reliable = questions.has_reliable_paging(&first_page).await?;
        let uid_lists = match &two_studies {
            Some(studies) => Some(questions.has_uid_lists(studies).await?),
            None => None,
        };
        let series_by_uid_lists = match &two_studies {
            Some(studies) if uid_lists == Some(true) => {
                Some(questions.has_series_by_uid_lists(studies).await?)
            }
            _ => uid_lists,
        };
        Ok(Some(ProbeFindings {
            short_page_limit: if is_reliable { first_page.len() } else { 0 },
            include_style: questions.style,
            uid_lists,
            series_by_uid_lists,
            decodes_escapes: Some(questions.decodes_escapes(&first).await?),
            not_found_means_no_match: questions.has_not_found_for_no_match().await?,
            unknown_keys: questions.unknown_keys(&first).await?,
            control_studies: two_studies.map_or_else(
                || vec![first.to_string()],
                |studies| studies.map(|study| study.to_string()).into(),
            ),
        }))
    }

    /// Whether the archive still finds a study by an escaped wildcard as the name.
    pub(super) async fn still_decodes_escapes(&self, study: &StudyUid) -> Result<bool, ArchiveError> {
        Questions { archive: self, style: self.profile().include_style }.decodes_escapes(study).await
    }

    /// Whether the archive still finds a study that it has contained.
    pub(super) async fn still_finds(&self, study: &StudyUid) -> Result<bool, ArchiveError> {
        let questions = Questions { archive: self, style: self.profile().include_style };
        Ok(questions.ask_for_study(study).await?.is_only(study))
    }
}
