//! Assembles serialized resources from rows. Cached studies that are still current are reused. The others are fetched only as
//! deep as requested, and concurrent requests share the fetch. The change log determines the version of each study.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::deep_check::ContentAge;
use super::fetch::StudySeries;
use super::filter::resource_from_rows;
use super::partial_answers::unversioned;
use super::row::StudyRow;
use super::serialization::{SerializedStudy, fetch_and_serialize};
use super::study_copies::StudyCopy;
use super::{
    ArchiveSource, FoundStudy, Freshness, Generation, LoadResult, OmittedCounts, Representation, Studies,
    StudiesError, fetch, study_copies,
};
use crate::auth::Access;
use crate::cache::{CacheEntry, CacheKey};
use crate::change_log::{ChangeLogAway, ResourceKey, Version};
use crate::encoded_resource::EncodedResource;
use crate::fingerprint::Fingerprint;
use crate::mapping::PatientKey;
use crate::request_priority::RequestPriority;
use crate::telemetry::CacheOutcome;
use crate::upstream::ArchiveId;
use dicom_model::StudyUid;
use fhir_r4::types::Coding;

/// An assembled study, and the data that shows whether it is still current.
#[derive(Debug, Clone)]
pub struct AssembledStudy {
    /// The resource.
    pub encoded: EncodedResource,
    /// The Study Instance UID.
    pub(super) uid: StudyUid,
    /// The archives that contain the study, and the patient of each row.
    pub(super) patients: Vec<(ArchiveId, PatientKey)>,
    /// The fingerprint of the rows from which it was made.
    pub(super) fingerprint: Fingerprint,
    /// The version of the study, which the resource contains.
    version: Version,
    /// The [`elapsed`](crate::clock::Clock::elapsed) time at which the archives last returned the same rows.
    pub(super) confirmed_at: Duration,
    /// When the content below the rows was read, and for how long unchanged rows confirm it.
    pub(super) content_age: ContentAge,
    /// Whether the archives returned every row with the UID of the study, which shows that no other patient has a study with
    /// the UID.
    pub(super) has_every_row: bool,
    /// The counts of series and instances that the archive lists but the resource does not contain. If there are any, the resource has the
    /// tag SUBSETTED.
    pub omitted: OmittedCounts,
}

impl AssembledStudy {
    pub(super) fn cache_key(study: &StudyUid, representation: &Representation) -> CacheKey {
        CacheKey::from_parts(std::iter::once(study.as_str()).chain(representation.key_parts()))
    }

    /// Returns the same study, marked as invalidated: unchanged rows do not confirm its content any more.
    pub(super) fn to_invalidated(&self, now: Duration) -> Self {
        Self { content_age: self.content_age.to_invalidated(now), ..self.clone() }
    }
}

impl CacheEntry for AssembledStudy {
    fn size(&self) -> usize {
        self.encoded.size()
    }
}

/// The levels of a study that are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Depth {
    /// Only the row of the study.
    Study,
    /// The study and its series.
    Series,
    /// The study, its series and their instances.
    Instances,
}

/// The result of reading one study.
#[derive(Debug, Clone)]
pub enum ReadOutcome {
    /// The study was found.
    Found(Arc<AssembledStudy>),
    /// The study was found, but these archives failed, which may contain further parts of it.
    Partial(Arc<AssembledStudy>, BTreeMap<ArchiveId, StudiesError>),
    /// The archives failed. This cached study was current at most `cache.stale_if_error` ago.
    Unconfirmed(Arc<AssembledStudy>),
    /// The gateway has returned the study before, but no archive contains it any more.
    Gone,
    /// No archive contains the study.
    NotFound,
}

impl AssembledStudy {
    /// Whether the archive contains a part of the study.
    pub(super) fn is_in(&self, archive: &ArchiveId) -> bool {
        self.patients.iter().any(|(other, _)| other == archive)
    }

    /// Creates a study without a version. It is never cached.
    pub(super) fn unversioned(
        study: &FoundStudy,
        json: Vec<u8>,
        omitted: OmittedCounts,
        content_age: ContentAge,
    ) -> Self {
        let patient = |row: &StudyRow| (row.archive.clone(), row.patient.clone());
        Self {
            encoded: EncodedResource::new(json),
            uid: study.uid().clone(),
            patients: study.rows.iter().map(patient).collect(),
            fingerprint: study.fingerprint(),
            version: Version::UNKNOWN,
            confirmed_at: content_age.read_at,
            content_age,
            has_every_row: false,
            omitted,
        }
    }
}

impl Studies {
    /// Returns the study `uid` in this representation if it is cached and fresh, or stale and revalidated in the background. The
    /// client then does not wait for an archive.
    pub fn cached_study(
        &self,
        uid: &StudyUid,
        representation: &Representation,
        access: &Access,
        freshness: Freshness,
    ) -> Option<Arc<AssembledStudy>> {
        if freshness == Freshness::Reload || !access.may_see_all() {
            return None;
        }
        let entry = self.cached(uid, representation)?;
        let is_fresh = self.cache.is_fresh(entry.confirmed_at);
        let may_serve = (is_fresh || self.may_serve_stale(&entry))
            && entry.content_age.is_confirmable(self.cache.elapsed());
        if !entry.has_every_row || !may_serve {
            return None;
        }
        if !is_fresh {
            self.revalidate_in_background(uid, representation);
        }
        self.check_in_background_if_due(uid, representation, &entry);
        self.metrics.study_cache_looked_up(CacheOutcome::Hit);
        Some(entry)
    }

    /// Reads the current study `uid` from the archives, in this representation. Archives after the first one that contains the study may
    /// fail, and all others too if the client accepts a partial answer. The result then names them as missing.
    pub async fn read(
        &self,
        uid: &StudyUid,
        representation: &Representation,
        access: &Access,
        freshness: Freshness,
    ) -> Result<ReadOutcome, StudiesError> {
        let timeout = self.partial_answer.as_ref().and_then(|answer| answer.timeout);
        let studies = if self.requires_every_archive {
            self.clone()
        } else {
            self.allowing_failures(BTreeSet::new(), timeout)
        };
        let outcome = studies.read_current(uid, representation, access, freshness).await;
        let outcome = outcome.and_then(|outcome| self.accept_missing(outcome, &studies));
        let error = match &outcome {
            Ok(ReadOutcome::Partial(_, missing)) => missing.values().next().cloned(),
            outcome => outcome.as_ref().err().cloned(),
        };
        let stale = error
            .filter(|_| freshness == Freshness::Cached)
            .and_then(|error| self.find_stale_after_error(uid, representation, access, &error));
        stale.map_or(outcome, |stale| Ok(ReadOutcome::Unconfirmed(stale)))
    }

    /// Does the same as [`read`](Self::read), but never returns a study that the archives have not confirmed.
    pub(super) async fn read_current(
        &self,
        uid: &StudyUid,
        representation: &Representation,
        access: &Access,
        freshness: Freshness,
    ) -> Result<ReadOutcome, StudiesError> {
        if let Some(study) = self.find(uid, access, Freshness::Reload).await? {
            let found = self.assemble(&[study], representation, freshness).await?.pop();
            return found.unwrap_or(Err(StudiesError::Unwritable)).map(ReadOutcome::Found);
        }
        self.require_complete_answer()?;
        self.cache.remove::<AssembledStudy>(AssembledStudy::cache_key(uid, representation));
        // A caller who may see only some studies must not learn that another study existed.
        let was_served = access.may_see_all() && self.change_log.mark_deleted(ResourceKey::study(uid)).await;
        Ok(if was_served { ReadOutcome::Gone } else { ReadOutcome::NotFound })
    }

    /// Assembles each of `studies` in this representation, in the same order. An error that concerns only one study is the result
    /// for this study; any other error is returned instead of the list. If an archive is missing from the answer to the request,
    /// the studies are assembled without it. An archive that fails from now on is not missing from the studies that it is not needed
    /// for.
    pub async fn assemble(
        &self,
        studies: &[FoundStudy],
        representation: &Representation,
        freshness: Freshness,
    ) -> Result<Vec<LoadResult>, StudiesError> {
        let mut series = self.fetch_series_together(studies, representation, freshness).await;
        let is_partial = self.has_missing_archives();
        let versions = if is_partial {
            Ok(HashMap::new())
        } else {
            self.look_up_versions(studies, representation, freshness).await
        };
        let versions = match versions {
            _ if is_partial => None,
            Ok(versions) => Some(versions),
            Err(error) if self.requires_every_archive => return Err(error.into()),
            // While the store is away, the versions are not known.
            Err(_) => None,
        };
        let has_versions = versions.is_some();
        let mut versions = versions.unwrap_or_default();
        let concurrency =
            self.sources.iter().map(|source| source.archive.max_concurrency()).sum::<usize>().max(1);
        let loads: Vec<_> = studies
            .iter()
            .map(|study| {
                let version = versions.remove(study.uid());
                let copies = study.rows_of_archives().filter_map(|row| {
                    let series = series.get_mut(&row.archive).and_then(|series| series.remove(&row.uid));
                    Some(StudyCopy { source: self.source(&row.archive)?.clone(), row: row.clone(), series })
                });
                let copies = copies.collect();
                async move {
                    if has_versions {
                        self.assemble_one(study, representation, freshness, version, copies).await
                    } else {
                        self.assemble_without_version(study, representation, freshness, copies, is_partial)
                            .await
                    }
                }
            })
            .collect();
        let separate_errors = |result: LoadResult| match result {
            Err(error) if !error.is_specific_to_study() && !self.tolerates(&error) => Err(error),
            result => Ok(result),
        };
        stream::iter(loads).buffered(concurrency).map(separate_errors).try_collect().await
    }

    /// Returns the JSON of a study whose series could not be read: the elements that its row describes, with the tag SUBSETTED.
    /// The resource is not cached and has no version.
    pub fn describe_row_only(
        &self,
        study: &FoundStudy,
        representation: &Representation,
    ) -> Result<Vec<u8>, StudiesError> {
        let mut resource = resource_from_rows(study, &self.sources).ok_or(StudiesError::Unwritable)?;
        resource.meta.tag.push(Coding::subsetted());
        representation.project(&resource).map_err(|_| StudiesError::Unwritable)
    }

    /// Looks up the versions of the studies that are not fresh in the cache. A fresh study is missing from the result, because its
    /// version is known.
    async fn look_up_versions(
        &self,
        studies: &[FoundStudy],
        representation: &Representation,
        freshness: Freshness,
    ) -> Result<HashMap<StudyUid, Version>, ChangeLogAway> {
        let is_fresh = |study: &FoundStudy| {
            freshness == Freshness::Cached
                && self
                    .cached_if_current(study, representation)
                    .is_some_and(|entry| self.cache.is_fresh(entry.confirmed_at))
        };
        let known = studies.iter().filter_map(|study| Some((study.uid().clone(), study.version?)));
        let observed: Vec<_> =
            studies.iter().filter(|study| study.version.is_none() && !is_fresh(study)).collect();
        let versions = self.observe_studies(observed.iter().map(|study| (*study, None)), None).await?;
        Ok(known.chain(observed.into_iter().map(|study| study.uid().clone()).zip(versions)).collect())
    }

    /// Fetches together the series of all studies that are not cached, if the archive supports lists of UIDs: a page then needs
    /// fewer requests than one per study. The series of a study that is missing from the result are fetched separately.
    async fn fetch_series_together(
        &self,
        studies: &[FoundStudy],
        representation: &Representation,
        freshness: Freshness,
    ) -> HashMap<ArchiveId, HashMap<StudyUid, StudySeries>> {
        let mut series = HashMap::new();
        let mut missing: BTreeMap<_, Vec<&StudyRow>> = BTreeMap::new();
        for study in studies {
            let rows: Vec<_> = study.rows_of_archives().collect();
            if study_copies::required_depth(representation.depth(), rows.len()) == Depth::Study {
                continue;
            }
            if freshness == Freshness::Reload || self.cached_if_current(study, representation).is_none() {
                for row in rows {
                    missing.entry(row.archive.clone()).or_default().push(row);
                }
            }
        }
        for (archive, rows) in missing.into_iter().filter(|(_, rows)| rows.len() > 1) {
            let is_supported = |source: &&ArchiveSource| source.archive.profile().series_by_uid_lists;
            let Some(source) = self.source(&archive).filter(is_supported) else { continue };
            let depth = representation.depth();
            let found = fetch::series_of_many(source, &rows, depth, self.limits.detail).await;
            series.insert(archive, found);
        }
        series
    }

    /// Returns the study `uid` if it is cached in this representation, current or not.
    pub(super) fn cached(
        &self,
        uid: &StudyUid,
        representation: &Representation,
    ) -> Option<Arc<AssembledStudy>> {
        self.cache.get(AssembledStudy::cache_key(uid, representation))
    }

    /// Returns the cached study if it was made from the same rows, and the rows confirm its content: their counts show whether the
    /// study has grown, and the content was read within its lifetime. If the rows have no counts, the study is current only while
    /// it is fresh.
    pub(super) fn cached_if_current(
        &self,
        study: &FoundStudy,
        representation: &Representation,
    ) -> Option<Arc<AssembledStudy>> {
        let entry = self.cached(study.uid(), representation)?;
        let is_confirmed = (study.has_counts() || self.cache.is_fresh(entry.confirmed_at))
            && entry.content_age.is_confirmable(self.cache.elapsed());
        (is_confirmed && entry.fingerprint == study.fingerprint()).then_some(entry)
    }

    /// Returns the study from the cache if it is current, or fetches it. `version` is the version of the study, and `copies` are
    /// its rows in all archives, with the series that are already known.
    async fn assemble_one(
        &self,
        study: &FoundStudy,
        representation: &Representation,
        freshness: Freshness,
        version: Option<Version>,
        copies: Vec<StudyCopy>,
    ) -> LoadResult {
        let (fingerprint, generation) = (study.fingerprint(), self.cache.generation());
        if freshness == Freshness::Cached
            && let Some(entry) = self.cached_if_current(study, representation)
            && version.is_none_or(|version| version.has_content_of(&entry.version))
        {
            self.check_in_background_if_due(study.uid(), representation, &entry);
            self.metrics.study_cache_looked_up(CacheOutcome::Revalidated);
            let has_every_row = study.has_every_row;
            let (encoded, version, confirmed_at) = match version {
                Some(version) => {
                    let confirmed_at =
                        if study.has_counts() { self.cache.elapsed() } else { entry.confirmed_at };
                    (replace_version(&entry, version).await?, version, confirmed_at)
                }
                None if entry.has_every_row == has_every_row => return Ok(entry),
                None => (entry.encoded.clone(), entry.version, entry.confirmed_at),
            };
            let study_before = AssembledStudy::clone(&entry);
            let confirmed =
                Arc::new(AssembledStudy { encoded, version, confirmed_at, has_every_row, ..study_before });
            // The entry may have been invalidated or replaced meanwhile.
            if self.cached(study.uid(), representation).is_some_and(|cached| Arc::ptr_eq(&cached, &entry)) {
                let key = AssembledStudy::cache_key(study.uid(), representation);
                self.cache.insert(key, Arc::clone(&confirmed));
            }
            return Ok(confirmed);
        }
        self.metrics.study_cache_looked_up(CacheOutcome::Miss);
        let (study, representation) = (study.clone(), representation.clone());
        let load_key = (study.uid().clone(), representation.clone(), fingerprint, generation);
        let studies = self.clone();
        let load = |priority: RequestPriority| async move {
            let copies = copies.into_iter().map(|copy| copy.with_priority(&priority)).collect();
            studies.load(study, representation, version, copies).await
        };
        self.loads.run(load_key, &self.priority, load).await?
    }

    /// Fetches the study, and stores it in the cache.
    async fn load(
        &self,
        study: FoundStudy,
        representation: Representation,
        version: Option<Version>,
        copies: Vec<StudyCopy>,
    ) -> LoadResult {
        let (confirmed_at, generation) = (self.cache.elapsed(), self.cache.generation());
        let is_row_only = study_copies::required_depth(representation.depth(), copies.len()) == Depth::Study;
        let content_age = self.content_age(&study, confirmed_at, is_row_only);
        let SerializedStudy { json, mut content, omitted } =
            self.fetch_within_timeout(copies.clone(), &representation).await?;
        if content.is_none() && self.has_changed_below_rows(&study, &representation, &json) {
            // The whole content determines the new version, because the rows are those of the previous version.
            self.change_log.report_again(ResourceKey::study(study.uid())).await;
            content = self.fetch_within_timeout(copies, &Representation::Full).await?.content;
        }
        // The version is unknown if the study was in the cache when the versions were looked up, and has been evicted since.
        let version = if let Some(version) = version.filter(|_| content.is_none()) {
            version
        } else {
            match self.observe_studies(std::iter::once((&study, content)), None).await {
                Ok(versions) => versions.first().copied().ok_or(StudiesError::Unwritable)?,
                Err(error) if self.requires_every_archive => return Err(error.into()),
                Err(_) => {
                    return unversioned(study, representation, json.into(), omitted, content_age, false)
                        .await;
                }
            }
        };
        let encoded = encode(move || version.replace_in(&Version::UNKNOWN, json), version).await?;
        let has_every_row = study.has_every_row;
        let content_age = self.mark_if_superseded(&study, &representation, content_age, generation);
        let patient = |row: &StudyRow| (row.archive.clone(), row.patient.clone());
        let entry = Arc::new(AssembledStudy {
            encoded,
            uid: study.uid().clone(),
            patients: study.rows.iter().map(patient).collect(),
            fingerprint: study.fingerprint(),
            version,
            confirmed_at,
            content_age,
            has_every_row,
            omitted,
        });
        // A later read must detect that several patients have a study with this UID, and an incomplete study may become
        // complete without a change of its row.
        if study.other_patients().is_empty() && omitted.is_empty() {
            let key = AssembledStudy::cache_key(study.uid(), &representation);
            self.cache.insert(key, Arc::clone(&entry));
        }
        Ok(entry)
    }

    /// Returns `content_age`, marked as invalidated if an invalidation of the study has started since the content was requested.
    fn mark_if_superseded(
        &self,
        study: &FoundStudy,
        representation: &Representation,
        content_age: ContentAge,
        generation: Generation,
    ) -> ContentAge {
        let cached = self.cached(study.uid(), representation);
        let superseded_at = cached.and_then(|cached| content_age.superseded_at(&cached.content_age));
        let is_of_earlier_generation = self.cache.generation() != generation;
        match superseded_at.or_else(|| is_of_earlier_generation.then(|| self.cache.elapsed())) {
            Some(at) => content_age.to_invalidated(at),
            None => content_age,
        }
    }

    pub(super) async fn fetch_within_timeout(
        &self,
        copies: Vec<StudyCopy>,
        representation: &Representation,
    ) -> Result<SerializedStudy, StudiesError> {
        let timeout = self.limits.load_timeout;
        let serialization = fetch_and_serialize(copies, representation, self.limits.detail);
        tokio::time::timeout(timeout, serialization).await.map_err(|_| StudiesError::LoadTimeout(timeout))?
    }

    /// Whether the cached resource was made from the same rows but differs from the new resource, `json`. If the whole content was
    /// fetched, the change log detects this by its digest.
    fn has_changed_below_rows(
        &self,
        study: &FoundStudy,
        representation: &Representation,
        json: &[u8],
    ) -> bool {
        let Some(cached) = self.cached(study.uid(), representation) else { return false };
        let json_before = cached.version.replace_in(&Version::UNKNOWN, json.to_vec());
        cached.fingerprint == study.fingerprint()
            && json_before.is_some_and(|json| json != cached.encoded.json)
    }
}

/// Returns the resource of `study` with `version`, which is usually the version that it already has.
async fn replace_version(study: &AssembledStudy, version: Version) -> Result<EncodedResource, StudiesError> {
    if study.version == version {
        return Ok(study.encoded.clone());
    }
    let (json, previous) = (study.encoded.json.clone(), study.version);
    encode(move || version.replace_in(&previous, json.into()), version).await
}

/// Compresses the JSON that `write_json` returns. This takes milliseconds for a study of thousands of instances, so it runs on a
/// blocking thread.
async fn encode(
    write_json: impl FnOnce() -> Option<Vec<u8>> + Send + 'static,
    version: Version,
) -> Result<EncodedResource, StudiesError> {
    let encoding = tokio::task::spawn_blocking(move || {
        write_json().map(|json| EncodedResource::of_version(json, version.id, version.date()))
    });
    encoding.await.ok().flatten().ok_or(StudiesError::Unwritable)
}
