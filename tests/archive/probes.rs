//! Probes, which find out how an archive answers searches: their questions, their findings, and when they are repeated.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dicomweb_gateway::clock::{ManualClock, SharedClock};
use dicomweb_gateway::telemetry::Metrics;
use dicomweb_gateway::upstream::{
    Archive, ArchiveId, IncludeStyle, ProbeMemory, QidoQuery, RememberedFindings, SearchLevel, UnknownKeys,
    UpstreamRequest,
};
use futures_util::future::BoxFuture;

use super::settings_for;
use crate::support::pacs::{Dialect, Pacs, Paging, RunningPacs, Study, UidLists};

/// An archive without deviations from the standard.
const STANDARD: Dialect = Dialect {
    uid_lists: UidLists::Standard,
    lacks_searches_across_studies: false,
    rejects_repeated_keys: false,
    rejects_unknown_keys: false,
    rejects_unrestricted_with: None,
    fails_with: None,
    not_found_without_match: false,
    matches_names: true,
    decodes_escapes: true,
};

/// A store of findings in memory.
#[derive(Debug, Clone, Default)]
struct Memory(Arc<Mutex<Option<String>>>);

impl ProbeMemory for Memory {
    fn load<'a>(&'a self, _: &'a ArchiveId) -> BoxFuture<'a, Option<RememberedFindings>> {
        let saved = self.0.lock().unwrap().clone();
        Box::pin(async move { serde_json::from_str(&saved?).ok() })
    }

    fn save<'a>(&'a self, _: &'a ArchiveId, findings: Option<&'a RememberedFindings>) -> BoxFuture<'a, ()> {
        *self.0.lock().unwrap() = findings.map(|findings| serde_json::to_string(findings).unwrap());
        Box::pin(async {})
    }
}

fn archive_with(study_count: usize) -> Pacs {
    (0..study_count).fold(Pacs::new(), |pacs, number| {
        let uid = format!("1.2.{number}");
        pacs.with_study(Study::new(&uid).series(&format!("{uid}.1"), "CT", 1))
    })
}

/// Returns a client with the profile `auto`, and its clock.
fn client(pacs: &RunningPacs, memory: &Memory) -> (Archive, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    let (settings, shared) = (settings_for(&pacs.url()), Arc::clone(&clock) as SharedClock);
    let memory = Arc::new(memory.clone());
    (Archive::with_probing(settings, Metrics::default(), shared, memory).unwrap(), clock)
}

/// Sends a search, as a client request does.
async fn search(archive: &Archive) {
    let query = QidoQuery::new(SearchLevel::Studies).limit(1);
    drop(archive.send(UpstreamRequest::search(query)).await);
}

#[tokio::test]
async fn a_probe_asks_at_most_eight_small_questions_and_finds_what_the_standard_requires() {
    let pacs = archive_with(60).with_dialect(STANDARD).start().await;
    let (archive, _) = client(&pacs, &Memory::default());
    let before = archive.profile();
    assert!(!before.uid_lists && !before.series_by_uid_lists && before.short_page_limit == 0);
    archive.probe_profile_if_due();
    archive.wait_for_probes(1).await;
    let targets = pacs.targets();
    assert!(targets.len() <= 8, "{targets:?}");
    assert!(targets.iter().all(|target| target.contains("limit=")), "{targets:?}");
    let profile = archive.profile();
    assert!(profile.uid_lists && profile.series_by_uid_lists && profile.decodes_escapes);
    assert_eq!((profile.short_page_limit, profile.not_found_means_no_match), (51, false));
    for _ in 0..3 {
        archive.probe_profile_if_due();
        search(&archive).await;
    }
    assert_eq!(pacs.targets().len(), targets.len() + 3, "the archive was probed again: {:?}", pacs.targets());
}

#[tokio::test]
async fn every_deviation_is_found() {
    let dialect = |deviate: fn(&mut Dialect)| {
        let mut dialect = STANDARD;
        deviate(&mut dialect);
        dialect
    };
    for (pacs, expected) in [
        (archive_with(60).with_dialect(STANDARD), "51 Repeated true true true 200 Ignored"),
        (
            archive_with(60).with_dialect(STANDARD).with_paging(Paging::Ignored),
            "0 Repeated true true true 200 Ignored",
        ),
        (
            archive_with(9).with_dialect(STANDARD).with_paging(Paging::Ignored),
            "0 Repeated true true true 200 Ignored",
        ),
        (
            archive_with(60).with_dialect(STANDARD).with_paging(Paging::OffsetIgnored),
            "0 Repeated true true true 200 Ignored",
        ),
        (
            archive_with(9).with_dialect(STANDARD).with_paging(Paging::LimitIgnored),
            "0 Repeated true true true 200 Ignored",
        ),
        (
            archive_with(60).with_dialect(STANDARD).with_paging(Paging::Truncated(7)),
            "7 Repeated true true true 200 Ignored",
        ),
        (
            archive_with(60).with_dialect(STANDARD).with_paging(Paging::TruncatedWithWarning(7)),
            "7 Repeated true true true 200 Ignored",
        ),
        (
            archive_with(60).with_dialect(STANDARD).with_paging(Paging::FirstRowsWithWarning(7)),
            "0 Repeated true true true 200 Ignored",
        ),
        (
            archive_with(60).with_dialect(dialect(|dialect| dialect.uid_lists = UidLists::OneValue)),
            "51 Repeated false false true 200 Ignored",
        ),
        (
            archive_with(60).with_dialect(dialect(|dialect| dialect.uid_lists = UidLists::FirstOnly)),
            "51 Repeated false false true 200 Ignored",
        ),
        (
            archive_with(60).with_dialect(dialect(|dialect| dialect.uid_lists = UidLists::Rejected)),
            "51 Repeated false false true 200 Ignored",
        ),
        (
            archive_with(60).with_dialect(STANDARD).ignore_matching_keys(),
            "51 Repeated false false false 200 -",
        ),
        (
            archive_with(60).with_dialect(dialect(|dialect| dialect.lacks_searches_across_studies = true)),
            "51 Repeated true false true 200 Ignored",
        ),
        (
            archive_with(60).with_dialect(dialect(|dialect| dialect.rejects_repeated_keys = true)),
            "51 List true true true 200 Ignored",
        ),
        (
            archive_with(60).with_dialect(dialect(|dialect| dialect.rejects_unknown_keys = true)),
            "51 Repeated true true true 200 Rejected",
        ),
        (
            archive_with(60).with_dialect(dialect(|dialect| dialect.not_found_without_match = true)),
            "51 Repeated true true true 404 Ignored",
        ),
        (
            archive_with(60).with_dialect(dialect(|dialect| dialect.matches_names = false)),
            "51 Repeated true true false 200 Ignored",
        ),
        (
            archive_with(60).with_dialect(dialect(|dialect| dialect.decodes_escapes = false)),
            "51 Repeated true true false 200 Ignored",
        ),
        (archive_with(1).with_dialect(STANDARD), "0 Repeated - - true 200 Ignored"),
    ] {
        let pacs = pacs.start().await;
        let (archive, _) = client(&pacs, &Memory::default());
        let found = archive.probe().await.unwrap().unwrap();
        let answer = |answer: Option<bool>| answer.map_or("-".to_owned(), |answer| answer.to_string());
        let found = format!(
            "{} {} {} {} {} {} {}",
            found.short_page_limit,
            if found.include_style == IncludeStyle::List { "List" } else { "Repeated" },
            answer(found.uid_lists),
            answer(found.series_by_uid_lists),
            answer(found.decodes_escapes),
            if found.not_found_means_no_match { 404 } else { 200 },
            found.unknown_keys.map_or("-".to_owned(), |keys: UnknownKeys| format!("{keys:?}")),
        );
        assert_eq!(found, expected, "{:?}", pacs.targets());
    }
}

#[tokio::test]
async fn an_archive_is_probed_again_after_a_day_and_a_minute_after_a_contradiction() {
    let pacs = archive_with(60).with_dialect(STANDARD).start().await;
    let (archive, clock) = client(&pacs, &Memory::default());
    archive.probe_profile_if_due();
    archive.wait_for_probes(1).await;
    clock.advance(Duration::from_hours(23));
    let probed = pacs.targets().len();
    search(&archive).await;
    assert_eq!(pacs.targets().len(), probed + 1);
    clock.advance(Duration::from_hours(1));
    search(&archive).await;
    archive.wait_for_probes(2).await;
    archive.contradict_findings("It is upgraded.");
    assert!(!archive.profile().uid_lists);
    archive.probe_profile_if_due();
    clock.advance(Duration::from_mins(1));
    pacs.upgrade(Paging::Standard, Dialect { uid_lists: UidLists::OneValue, ..STANDARD });
    search(&archive).await;
    archive.wait_for_probes(3).await;
    let profile = archive.profile();
    assert!(!profile.uid_lists && profile.decodes_escapes && profile.short_page_limit == 51);
}

#[tokio::test]
async fn an_archive_that_is_empty_or_fails_is_probed_after_a_later_search_that_succeeds() {
    for (study_count, fails_with) in [(0, None), (60, Some(503)), (60, Some(500))] {
        let pacs = archive_with(study_count).with_dialect(Dialect { fails_with, ..STANDARD }).start().await;
        let (archive, clock) = client(&pacs, &Memory::default());
        archive.probe_profile_if_due();
        archive.wait_for_probes(1).await;
        assert!(pacs.targets().len() <= 2, "{:?}", pacs.targets());
        assert!(!archive.profile().uid_lists);
        pacs.upgrade(Paging::Standard, STANDARD);
        pacs.set_studies((0..60).map(|number| Study::new(&format!("1.2.{number}"))));
        // An archive that has rejected the questions is asked after a day.
        clock.advance(if fails_with == Some(500) {
            Duration::from_hours(24)
        } else {
            Duration::from_mins(1)
        });
        search(&archive).await;
        archive.wait_for_probes(2).await;
        assert!(archive.profile().uid_lists, "{fails_with:?}");
    }
}

#[tokio::test]
async fn an_archive_that_rejects_the_questions_is_not_probed_again_on_the_same_day() {
    for status in [400, 404, 501] {
        let dialect = Dialect { rejects_unrestricted_with: Some(status), ..STANDARD };
        let pacs = archive_with(60).with_dialect(dialect).start().await;
        let (archive, clock) = client(&pacs, &Memory::default());
        archive.probe_profile_if_due();
        archive.wait_for_probes(1).await;
        let probed = pacs.targets().len();
        assert!(probed <= 2, "{:?}", pacs.targets());
        clock.advance(Duration::from_hours(23));
        archive.probe_profile_if_due();
        search(&archive).await;
        assert_eq!(pacs.targets().len(), probed + 1, "{:?}", pacs.targets());
        let profile = archive.profile();
        assert!(!profile.uid_lists && !profile.decodes_escapes && profile.short_page_limit == 0);
    }
}

#[tokio::test]
async fn findings_are_remembered_for_the_same_url_and_day_and_short_pages_must_be_confirmed_again() {
    let memory = Memory::default();
    let pacs = archive_with(60).with_dialect(STANDARD).start().await;
    let (archive, _) = client(&pacs, &memory);
    archive.probe_profile_if_due();
    archive.wait_for_probes(1).await;
    let probed = pacs.targets().len();
    let (restarted, clock) = client(&pacs, &memory);
    restarted.probe_profile_if_due();
    restarted.wait_for_probes(1).await;
    assert_eq!(pacs.targets().len(), probed);
    let profile = restarted.profile();
    assert!(profile.uid_lists && profile.decodes_escapes && profile.short_page_limit == 0);
    clock.advance(Duration::from_hours(24));
    search(&restarted).await;
    restarted.wait_for_probes(2).await;
    assert!(pacs.targets().len() > probed + 2);
    restarted.contradict_findings("It is upgraded.");
    let other = archive_with(60).start().await;
    *memory.0.lock().unwrap() = None;
    let (moved, _) = client(&other, &memory);
    moved.probe_profile_if_due();
    moved.wait_for_probes(1).await;
    assert!(!other.targets().is_empty(), "the findings of another URL were used");
}

#[tokio::test]
async fn an_archive_with_a_stated_profile_is_not_probed() {
    let pacs = archive_with(3).start().await;
    let mut settings = settings_for(&pacs.url());
    settings.profile = dicomweb_gateway::upstream::Profile::find("orthanc").unwrap();
    let (clock, memory) = (Arc::new(ManualClock::default()), Arc::new(Memory::default()));
    let archive = Archive::with_probing(settings, Metrics::default(), clock, memory).unwrap();
    archive.probe_profile_if_due();
    archive.wait_for_probes(1).await;
    search(&archive).await;
    archive.contradict_findings("It is another product.");
    assert_eq!((pacs.targets().len(), archive.profile().name), (1, "orthanc"));
    assert!(archive.profile().uid_lists);
}
