//! From rows to serialized resources: cached studies that are still current are reused; the others are fetched once, only as
//! deep as requested, and concurrent requests share the fetch. The change log supplies the version of each study.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::fetch::StudySeries;
use super::filter::shallow;
use super::row::StudyRow;
use super::{
    ArchiveSource, DetailLimits, FoundStudy, Freshness, Load, OmittedRows, Representation, Studies,
    StudiesError, fetch,
};
use crate::auth::Access;
use crate::cache::{CacheEntry, CacheKey};
use crate::change_log::{ContentDigest, Observation, ResourceKey, Version};
use crate::encoded_resource::EncodedResource;
use crate::fingerprint::Fingerprint;
use crate::mapping;
use crate::telemetry::CacheOutcome;
use dicom_model::StudyUid;
use fhir_r4::types::Coding;

/// An assembled study, and what shows whether it is still current.
#[derive(Debug)]
pub struct StudyEntry {
    /// The resource.
    pub encoded: EncodedResource,
    /// Of the rows that it was made of.
    pub(super) fingerprint: Fingerprint,
    /// Which version of the study it is, as is written in it.
    version: Version,
    /// The clock's [`elapsed`](crate::clock::Clock::elapsed) when the archives last confirmed it.
    checked_at: Duration,
    /// Whether the archives returned every row with the UID, so that no other patient has it.
    has_every_row: bool,
    /// What the archive lists below the study and the resource does not contain; the resource then has the tag SUBSETTED.
    pub omitted: OmittedRows,
}

impl StudyEntry {
    fn key(study: &StudyUid, representation: &Representation) -> CacheKey {
        CacheKey::from_parts(std::iter::once(study.as_str()).chain(representation.key_parts()))
    }
}

impl CacheEntry for StudyEntry {
    fn size(&self) -> usize {
        self.encoded.size()
    }
}

/// How deep a study is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Depth {
    /// The study's own row.
    Study,
    /// Its series too.
    Series,
    /// Their instances too.
    Instances,
}

/// The result of reading one study.
#[derive(Debug, Clone)]
pub enum ReadOutcome {
    /// The study.
    Found(Arc<StudyEntry>),
    /// It was returned before, and no archive holds it any more.
    Gone,
    /// No archive holds it.
    NotFound,
}

impl Studies {
    /// The study `uid` in this representation if it is cached and fresh, so that no archive need be queried.
    pub fn cached_study(
        &self,
        uid: &StudyUid,
        representation: &Representation,
        access: &Access,
        freshness: Freshness,
    ) -> Option<Arc<StudyEntry>> {
        if freshness == Freshness::Reload || !access.sees_everything() {
            return None;
        }
        let entry: Arc<StudyEntry> = self.cache.get(StudyEntry::key(uid, representation))?;
        if !entry.has_every_row || !self.cache.is_fresh(entry.checked_at) {
            return None;
        }
        self.metrics.study_cache_looked_up(CacheOutcome::Hit);
        Some(entry)
    }

    /// The study `uid` in this representation, as the archives hold it now.
    pub async fn read(
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
        self.cache.remove::<StudyEntry>(StudyEntry::key(uid, representation));
        // A caller who sees only some studies must not learn that a hidden study existed.
        let was_served =
            access.sees_everything() && self.change_log.mark_deleted(ResourceKey::study(uid)).await;
        Ok(if was_served { ReadOutcome::Gone } else { ReadOutcome::NotFound })
    }

    /// Each of `studies` in this representation, in the same order. An error that concerns one study only is the result of this
    /// study; any other is the error of all.
    pub async fn assemble(
        &self,
        studies: &[FoundStudy],
        representation: &Representation,
        freshness: Freshness,
    ) -> Result<Vec<Load>, StudiesError> {
        let mut series = self.series_of_all(studies, representation, freshness).await;
        let mut versions = self.versions(studies, representation, freshness).await;
        let width = self.sources.iter().map(|source| source.archive.max_concurrency()).sum::<usize>().max(1);
        let loads: Vec<_> = studies
            .iter()
            .map(|study| {
                let version = versions.remove(study.uid());
                self.assembled(study, representation, freshness, version, series.remove(study.uid()))
            })
            .collect();
        let by_study = |load: Load| match load {
            Err(error) if !error.concerns_one_study() => Err(error),
            load => Ok(load),
        };
        stream::iter(loads).buffered(width).map(by_study).try_collect().await
    }

    /// The JSON of a study whose series could not be read: what its row describes, with the tag SUBSETTED. It is not cached, and has
    /// no version.
    pub fn from_row_only(
        &self,
        study: &FoundStudy,
        representation: &Representation,
    ) -> Result<Vec<u8>, StudiesError> {
        let source = self.source(&study.first().archive).ok_or(StudiesError::Unwritable)?;
        let mut resource = shallow(study, source);
        resource.meta.tag.push(Coding::subsetted());
        representation.project(&resource).map_err(|_| StudiesError::Unwritable)
    }

    /// The versions of those studies whose rows were read again since the last lookup. Fresh studies keep the version they
    /// have.
    async fn versions(
        &self,
        studies: &[FoundStudy],
        representation: &Representation,
        freshness: Freshness,
    ) -> HashMap<StudyUid, Version> {
        let is_settled = |study: &FoundStudy| {
            freshness == Freshness::Cached
                && self
                    .still_current(study, representation)
                    .is_some_and(|entry| self.cache.is_fresh(entry.checked_at))
        };
        let known = studies.iter().filter_map(|study| Some((study.uid().clone(), study.version?)));
        let observed: Vec<_> =
            studies.iter().filter(|study| study.version.is_none() && !is_settled(study)).collect();
        let versions = self
            .change_log
            .observe(observed.iter().map(|study| self.observation(study)).collect(), None)
            .await;
        known.chain(observed.into_iter().map(|study| study.uid().clone()).zip(versions)).collect()
    }

    /// The series of those studies that are not cached, requested together where the archive understands a list of UIDs, so
    /// that a page does not cost one call per study. Studies missing from the result are requested one by one.
    async fn series_of_all(
        &self,
        studies: &[FoundStudy],
        representation: &Representation,
        freshness: Freshness,
    ) -> HashMap<StudyUid, StudySeries> {
        let mut series = HashMap::new();
        if representation.depth() == Depth::Study {
            return series;
        }
        let mut missing: BTreeMap<_, Vec<&StudyRow>> = BTreeMap::new();
        for study in studies {
            if freshness == Freshness::Reload || self.still_current(study, representation).is_none() {
                missing.entry(study.first().archive.clone()).or_default().push(study.first());
            }
        }
        for (archive, rows) in missing.into_iter().filter(|(_, rows)| rows.len() > 1) {
            let Some(source) = self.source(&archive).filter(|source| source.archive.profile().uid_lists)
            else {
                continue;
            };
            // If the archive cannot answer that, the series are requested study by study, which every archive can.
            if let Ok(found) =
                fetch::series_of_many(source, &rows, representation.depth(), self.limits.detail).await
            {
                series.extend(found);
            }
        }
        series
    }

    fn still_current(&self, study: &FoundStudy, representation: &Representation) -> Option<Arc<StudyEntry>> {
        let entry: Arc<StudyEntry> = self.cache.get(StudyEntry::key(study.uid(), representation))?;
        (entry.fingerprint == study.fingerprint()).then_some(entry)
    }

    async fn assembled(
        &self,
        study: &FoundStudy,
        representation: &Representation,
        freshness: Freshness,
        version: Option<Version>,
        series: Option<StudySeries>,
    ) -> Load {
        let fingerprint = study.fingerprint();
        if freshness == Freshness::Cached
            && let Some(entry) = self.still_current(study, representation)
        {
            self.metrics.study_cache_looked_up(CacheOutcome::Revalidated);
            let has_every_row = study.has_every_row;
            let (encoded, version, checked_at) = match version {
                Some(version) => (with_version(&entry, version).await?, version, self.cache.elapsed()),
                None if entry.has_every_row == has_every_row => return Ok(entry),
                None => (entry.encoded.clone(), entry.version, entry.checked_at),
            };
            let omitted = entry.omitted;
            let entry = StudyEntry { encoded, fingerprint, version, checked_at, has_every_row, omitted };
            let entry = Arc::new(entry);
            self.cache.insert(StudyEntry::key(study.uid(), representation), Arc::clone(&entry));
            return Ok(entry);
        }
        self.metrics.study_cache_looked_up(CacheOutcome::Miss);
        let Some(source) = self.source(&study.first().archive).cloned() else {
            return Err(StudiesError::Unwritable);
        };
        let observation = self.observation(study);
        let (study, representation) = (study.clone(), representation.clone());
        let (cache, change_log) = (self.cache.clone(), self.change_log.clone());
        let flight = (study.uid().clone(), representation.clone(), fingerprint);
        let limits = self.limits;
        let load = || async move {
            let checked_at = cache.elapsed();
            let writing = write(&source, &study, &representation, series, limits.detail);
            let timeout = limits.load_timeout;
            let WrittenStudy { json, content, omitted } = tokio::time::timeout(timeout, writing)
                .await
                .map_err(|_| StudiesError::LoadTimeout(timeout))??;
            // Completely fetched content determines the version. A version that was evicted meanwhile is looked up again.
            let version = match version.filter(|_| content.is_none()) {
                Some(version) => version,
                None => change_log
                    .observe(vec![Observation { content, ..observation }], None)
                    .await
                    .pop()
                    .ok_or(StudiesError::Unwritable)?,
            };
            let encoded = stamped(move || version.replace_in(&Version::UNKNOWN, json), version).await?;
            let has_every_row = study.has_every_row;
            let entry = StudyEntry { encoded, fingerprint, version, checked_at, has_every_row, omitted };
            let entry = Arc::new(entry);
            // A read of the UID must find that several patients have it, and what is incomplete may become complete without a
            // change of the study's row.
            if study.other_patients().is_empty() && omitted.is_empty() {
                cache.insert(StudyEntry::key(study.uid(), &representation), Arc::clone(&entry));
            }
            Ok(entry)
        };
        self.loads.run(flight, load).await?
    }
}

/// The entry's resource with this version, which usually is the one it already has.
async fn with_version(entry: &StudyEntry, version: Version) -> Result<EncodedResource, StudiesError> {
    if entry.version == version {
        return Ok(entry.encoded.clone());
    }
    let (json, old) = (entry.encoded.json.clone(), entry.version);
    stamped(move || version.replace_in(&old, json.into()), version).await
}

/// Serializes and compresses the resource. A study of thousands of instances takes milliseconds.
async fn stamped(
    stamp: impl FnOnce() -> Option<Vec<u8>> + Send + 'static,
    version: Version,
) -> Result<EncodedResource, StudiesError> {
    let stamping = tokio::task::spawn_blocking(move || {
        stamp().map(|json| EncodedResource::of_version(json, version.id, version.date()))
    });
    stamping.await.ok().flatten().ok_or(StudiesError::Unwritable)
}

/// A resource without a version.
struct WrittenStudy {
    json: Vec<u8>,
    /// The digest of its content, if all of it was fetched.
    content: Option<ContentDigest>,
    omitted: OmittedRows,
}

/// Fetches the study and serializes it.
async fn write(
    source: &ArchiveSource,
    study: &FoundStudy,
    representation: &Representation,
    series: Option<StudySeries>,
    limits: DetailLimits,
) -> Result<WrittenStudy, StudiesError> {
    let record = fetch::record(source, study.first(), representation.depth(), series, limits).await?;
    let omitted = record.omitted;
    let context = source.context.clone();
    let (study, representation) = (study.clone(), representation.clone());
    // Writing a study of thousands of instances takes milliseconds.
    let writing = tokio::task::spawn_blocking(move || {
        let endpoints: Vec<_> = study.endpoints().collect();
        let mut resource = mapping::imaging_study(&context, &record.attributes, &endpoints, record.series);
        resource.meta.version_id = Some(Version::UNKNOWN.id.to_string());
        resource.meta.last_updated = Some(Version::UNKNOWN.instant());
        if !omitted.is_empty() {
            resource.meta.tag.push(Coding::subsetted());
        }
        let json = representation.project(&resource).map_err(|_| StudiesError::Unwritable)?;
        let content = (representation == Representation::Full).then(|| ContentDigest::from_json(&json));
        Ok(WrittenStudy { json, content, omitted })
    });
    writing.await.map_err(|_| StudiesError::Unwritable)?
}
