//! The profile of an archive with `profile = "auto"`: when the archive is probed, and how long the findings are used.
//!
//! An archive is probed when the gateway starts, and later after a search that succeeded, if it has not been probed for a day or could
//! not be probed. Requests never wait for this; without findings, the gateway asks one by one and reads every list until an empty page.
//! An answer that contradicts the findings removes them. This module does not send requests; `probe` does.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use url::Url;

use super::probe::ProbeFindings;
use super::{Archive, ArchiveId, Profile};
use crate::clock::SharedClock;
use crate::request_priority::RequestPriority;
use dicom_model::StudyUid;

/// How long findings are used. A product that is upgraded behaves differently for at most this long before it is noticed, unless an answer
/// contradicts the findings earlier.
const LIFETIME: Duration = Duration::from_hours(24);

/// The time until an archive that could not be probed, or whose answer has contradicted the findings, is probed again.
const RETRY_INTERVAL: Duration = Duration::from_mins(1);

/// How long a page shows that pages with fewer rows are not truncated. Nothing else in an answer shows that an archive has begun to
/// truncate its lists.
const SHORT_PAGE_LIFETIME: Duration = Duration::from_mins(10);

/// What was found out about an archive, in the form that is remembered across restarts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RememberedFindings {
    /// The hash of the URL at which the archive was probed.
    url: String,
    /// When the archive was probed, in seconds since 1970.
    probed_at: i64,
    findings: ProbeFindings,
}

/// Remembers across restarts what was found out about archives. A failure is not reported: the archive is then probed again.
pub trait ProbeMemory: fmt::Debug + Send + Sync {
    /// Returns what was last saved for `archive`.
    fn load<'a>(&'a self, archive: &'a ArchiveId) -> BoxFuture<'a, Option<RememberedFindings>>;

    /// Saves `findings` for `archive`; `None` removes them.
    fn save<'a>(
        &'a self,
        archive: &'a ArchiveId,
        findings: Option<&'a RememberedFindings>,
    ) -> BoxFuture<'a, ()>;
}

/// Remembers nothing across restarts.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProbeMemory;

impl ProbeMemory for NoProbeMemory {
    fn load<'a>(&'a self, _: &'a ArchiveId) -> BoxFuture<'a, Option<RememberedFindings>> {
        Box::pin(std::future::ready(None))
    }

    fn save<'a>(&'a self, _: &'a ArchiveId, _: Option<&'a RememberedFindings>) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// The findings about one archive, shared by all of its handles.
#[derive(Debug)]
pub(super) struct ProbedProfile {
    clock: SharedClock,
    memory: Arc<dyn ProbeMemory>,
    state: RwLock<ProbeState>,
    /// The number of probes that have ended, successfully or not.
    probe_count: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct ProbeState {
    findings: Option<ProbeFindings>,
    is_probing: bool,
    /// The time at which the archive may be probed again.
    next_probe: Duration,
    /// The number of rows below which a page is not truncated by the archive, and the time until which this counts.
    untruncated_below: (usize, Duration),
    /// Changes with every contradiction, which a probe that is in progress does not know.
    contradiction_count: u64,
}

impl ProbeState {
    fn untruncated_below(&self, now: Duration) -> usize {
        let (limit, until) = self.untruncated_below;
        if now < until { limit } else { 0 }
    }
}

impl ProbedProfile {
    pub(super) fn new(clock: SharedClock, memory: Arc<dyn ProbeMemory>) -> Self {
        Self { clock, memory, state: RwLock::default(), probe_count: watch::Sender::new(0) }
    }

    fn read(&self) -> RwLockReadGuard<'_, ProbeState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, ProbeState> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns `profile` with what was found out.
    pub(super) fn apply(&self, profile: Profile) -> Profile {
        let state = self.read();
        let Some(findings) = &state.findings else { return profile };
        let probed = findings.apply(profile);
        let limit = state.untruncated_below(self.clock.elapsed());
        Profile { short_page_limit: probed.short_page_limit.min(limit), ..probed }
    }

    fn is_due(&self) -> bool {
        let state = self.read();
        !state.is_probing && state.next_probe <= self.clock.elapsed()
    }
}

impl Archive {
    /// Probes the archive in the background, if its profile is not stated and a probe is due.
    pub fn probe_profile_if_due(&self) {
        let Some(probed) = self.probed_profile().filter(|probed| probed.is_due()) else { return };
        if std::mem::replace(&mut probed.write().is_probing, true) {
            return;
        }
        let archive = self.for_probing().with_priority(&RequestPriority::of_new_request());
        tokio::spawn(async move { archive.probe_profile().await });
    }

    /// Uses remembered findings, or probes the archive.
    async fn probe_profile(&self) {
        let Some(probed) = self.probed_profile() else { return };
        let started_at = probed.clock.elapsed();
        let (is_first, contradiction_count) = {
            let state = probed.read();
            (state.next_probe == Duration::ZERO, state.contradiction_count)
        };
        let remembered = if is_first { self.remembered_findings(probed).await } else { None };
        let is_remembered = remembered.is_some();
        let (findings, age, retry_after) = match remembered {
            Some((findings, age)) => (Some(findings), age, RETRY_INTERVAL),
            None => match self.probe().await {
                Ok(findings) => (findings, Duration::ZERO, RETRY_INTERVAL),
                // The archive does not accept the questions, and will not do so in a minute.
                Err(error) if error.is_specific_to_request() => (None, Duration::ZERO, LIFETIME),
                Err(_) => (None, Duration::ZERO, RETRY_INTERVAL),
            },
        };
        let is_current = {
            let mut state = probed.write();
            state.is_probing = false;
            let is_current = findings.is_some() && state.contradiction_count == contradiction_count;
            if is_current {
                state.findings.clone_from(&findings);
                state.next_probe = started_at + LIFETIME.saturating_sub(age);
                // The archive may have been upgraded while the gateway was stopped.
                let limit =
                    findings.as_ref().filter(|_| !is_remembered).map_or(0, |found| found.short_page_limit);
                state.untruncated_below = (limit, started_at + SHORT_PAGE_LIFETIME);
            } else {
                state.next_probe = started_at + retry_after;
            }
            is_current
        };
        if let Some(findings) = findings.filter(|_| is_current) {
            tracing::info!(archive = %self.id(), ?findings.uid_lists, ?findings.series_by_uid_lists, findings.short_page_limit, ?findings.decodes_escapes,
                is_remembered, "The behavior of the archive was found out.");
            if !is_remembered {
                let probed_at = probed.clock.now().as_second();
                let findings =
                    RememberedFindings { url: hash_of(&self.settings().qido_url), probed_at, findings };
                probed.memory.save(self.id(), Some(&findings)).await;
            }
        }
        probed.probe_count.send_modify(|count| *count += 1);
    }

    /// Returns the findings of an earlier process, and their age, if they are still usable.
    async fn remembered_findings(&self, probed: &ProbedProfile) -> Option<(ProbeFindings, Duration)> {
        let remembered = probed.memory.load(self.id()).await?;
        let age = probed.clock.now().as_second().checked_sub(remembered.probed_at)?;
        let age = Duration::from_secs(u64::try_from(age).ok()?);
        let is_same = remembered.url == hash_of(&self.settings().qido_url);
        (is_same && age < LIFETIME).then_some((remembered.findings, age))
    }

    /// Removes what was found out about the archive, because an answer contradicts it: it is a sentence with the archive as the subject.
    /// Until the archive has been probed again, it is asked without what was found out.
    pub fn contradict_findings(&self, answer: &'static str) {
        let Some(probed) = self.probed_profile() else { return };
        let now = probed.clock.elapsed();
        let had_findings = {
            let mut state = probed.write();
            state.contradiction_count += 1;
            state.next_probe = now + RETRY_INTERVAL;
            state.findings.take().is_some()
        };
        if had_findings {
            tracing::warn!(archive = %self.id(), answer, "The archive behaves differently from what was found out about it; it is asked without that, and probed again.");
            let archive = self.clone();
            tokio::spawn(async move {
                if let Some(probed) = archive.probed_profile() {
                    probed.memory.save(archive.id(), None).await;
                }
            });
        }
    }

    /// Records that pages with fewer than `row_count` rows are not truncated, because the archive has returned a page of this size, or one
    /// row fewer and then an empty page.
    pub(super) fn confirm_short_pages(&self, row_count: usize) {
        let Some(probed) = self.probed_profile() else { return };
        let now = probed.clock.elapsed();
        let until = now + SHORT_PAGE_LIFETIME;
        let is_new = {
            let state = probed.read();
            let limit = state.untruncated_below(now);
            // A confirmation a minute is enough, so that most lists do not lock.
            row_count > limit || row_count == limit && state.untruncated_below.1 + RETRY_INTERVAL < until
        };
        if is_new {
            probed.write().untruncated_below = (row_count, until);
        }
    }

    /// Returns at most two studies that the archive contained when it was probed.
    pub fn control_studies(&self) -> Vec<StudyUid> {
        let findings = self.probed_profile().and_then(|probed| probed.read().findings.clone());
        findings.map(|findings| findings.control_studies(self)).unwrap_or_default()
    }

    /// Returns the number below which pages were found to be complete, even if that must be confirmed again.
    pub(super) fn found_short_page_limit(&self) -> usize {
        let limit =
            |probed: &ProbedProfile| probed.read().findings.as_ref().map(|found| found.short_page_limit);
        self.probed_profile().and_then(limit).unwrap_or(0)
    }

    /// Whether the archive still decodes escapes. If it does not, the findings are removed.
    pub async fn confirms_escapes(&self) -> Result<bool, super::ArchiveError> {
        let Some(study) = self.control_studies().pop() else { return Ok(!self.profile().is_probed) };
        let is_confirmed = self.for_probing().still_decodes_escapes(&study).await?;
        if !is_confirmed {
            self.contradict_findings("It does not find a known study by an escaped name.");
        }
        Ok(is_confirmed)
    }

    /// Whether the archive still finds a study that it contained, so that its 404 for another one means that nothing matches. If it does
    /// not, the findings are removed.
    pub(super) async fn confirms_not_found(&self) -> Result<bool, super::ArchiveError> {
        let Some(study) = self.control_studies().pop() else { return Ok(!self.profile().is_probed) };
        let is_confirmed = self.for_probing().still_finds(&study).await?;
        if !is_confirmed {
            self.contradict_findings("It does not find a known study.");
        }
        Ok(is_confirmed)
    }

    /// Waits until the archive has been probed `count` times, successfully or not. Returns at once if it is not probed.
    pub async fn wait_for_probes(&self, count: u64) {
        let Some(probed) = self.probed_profile() else { return };
        let mut probe_count = probed.probe_count.subscribe();
        // The sender lives as long as the archive.
        let _ = probe_count.wait_for(|probes| *probes >= count).await;
    }
}

fn hash_of(url: &Url) -> String {
    use std::fmt::Write;
    Sha256::digest(url.as_str()).iter().take(8).fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
