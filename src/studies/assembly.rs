//! From rows to rendered resources: what is remembered and still true is taken, the rest is fetched once, as deep as was
//! asked for, whoever else asks for it at the same time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::row::StudyRow;
use super::{FoundStudy, Freshness, Load, Source, Studies, StudiesError, detail};
use crate::access::Access;
use crate::cache::{Form, Rendered, StudyEntry};
use crate::dicom::StudyUid;
use crate::fhir::types::{Projection, project};
use crate::mapping::{self, SeriesSource};
use crate::telemetry::CacheOutcome;

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

/// What came of the read of one study.
#[derive(Debug, Clone)]
pub enum Read {
    /// Here it is.
    Found(Arc<StudyEntry>),
    /// It was served once, and no archive holds it any more.
    Gone,
    /// No archive holds it.
    NotFound,
}

impl Studies {
    /// The study `uid` in this form, if it is remembered and fresh, so that no archive need be asked.
    pub fn remembered(
        &self,
        uid: &StudyUid,
        form: &Form,
        access: &Access,
        freshness: Freshness,
    ) -> Option<Arc<StudyEntry>> {
        if freshness == Freshness::Reload || !access.sees_everything() {
            return None;
        }
        let entry = self.cache.study(uid, form).filter(|entry| self.cache.is_fresh(entry.checked_at))?;
        self.metrics.cache_looked_up(CacheOutcome::Hit);
        Some(entry)
    }

    /// The study `uid` in this form, as the archives have it now.
    pub async fn read(
        &self,
        uid: &StudyUid,
        form: &Form,
        access: &Access,
        freshness: Freshness,
    ) -> Result<Read, StudiesError> {
        let remembered = self.cache.study(uid, form);
        match self.find(uid, access, Freshness::Reload).await? {
            Some(study) => {
                self.cache.mark_back(uid);
                self.assembled(&study, form, freshness, None).await.map(Read::Found)
            }
            None if remembered.is_some() => {
                self.cache.mark_gone(uid, form);
                Ok(Read::Gone)
            }
            None if self.cache.is_gone(uid) => Ok(Read::Gone),
            None => Ok(Read::NotFound),
        }
    }

    /// Each of `studies` in this form, in the same order.
    pub async fn assemble(
        &self,
        studies: &[FoundStudy],
        form: &Form,
        freshness: Freshness,
    ) -> Result<Vec<Arc<StudyEntry>>, StudiesError> {
        let mut series = self.series_of_all(studies, form, freshness).await;
        let width = self.sources.iter().map(|source| source.archive.max_concurrency()).sum::<usize>().max(1);
        let loads: Vec<_> = studies
            .iter()
            .map(|study| self.assembled(study, form, freshness, series.remove(study.uid())))
            .collect();
        stream::iter(loads).buffered(width).try_collect().await
    }

    /// The series of those studies that are not remembered, asked for together where the archive understands a list of
    /// UIDs, so that a page does not cost a call for each of its studies. What this does not bring is asked for by study.
    async fn series_of_all(
        &self,
        studies: &[FoundStudy],
        form: &Form,
        freshness: Freshness,
    ) -> HashMap<StudyUid, Vec<SeriesSource>> {
        let mut series = HashMap::new();
        if form.depth() == Depth::Study {
            return series;
        }
        let mut missing: BTreeMap<_, Vec<&StudyRow>> = BTreeMap::new();
        for study in studies {
            if freshness == Freshness::Reload || self.still_true(study, form).is_none() {
                missing.entry(study.first().archive.clone()).or_default().push(study.first());
            }
        }
        for (archive, rows) in missing.into_iter().filter(|(_, rows)| rows.len() > 1) {
            let Some(source) = self.source(&archive).filter(|source| source.archive.profile().uid_lists)
            else {
                continue;
            };
            // An archive that cannot do this is asked in the way that every archive can.
            if let Ok(found) = detail::series_of_many(&source.archive, &rows, form.depth()).await {
                series.extend(found);
            }
        }
        series
    }

    fn still_true(&self, study: &FoundStudy, form: &Form) -> Option<Arc<StudyEntry>> {
        self.cache.study(study.uid(), form).filter(|entry| entry.fingerprint == study.fingerprint())
    }

    async fn assembled(
        &self,
        study: &FoundStudy,
        form: &Form,
        freshness: Freshness,
        series: Option<Vec<SeriesSource>>,
    ) -> Load {
        let fingerprint = study.fingerprint();
        if freshness == Freshness::Cached
            && let Some(entry) = self.still_true(study, form)
        {
            self.metrics.cache_looked_up(CacheOutcome::Revalidated);
            if self.cache.is_fresh(entry.checked_at) {
                return Ok(entry);
            }
            let checked_at = self.cache.elapsed();
            let entry = Arc::new(StudyEntry { rendered: entry.rendered.clone(), fingerprint, checked_at });
            self.cache.keep_study(study.uid(), form, Arc::clone(&entry));
            return Ok(entry);
        }
        self.metrics.cache_looked_up(CacheOutcome::Miss);
        let Some(source) = self.source(&study.first().archive).cloned() else {
            return Err(StudiesError::Unwritable);
        };
        let (study, form, cache) = (study.clone(), form.clone(), self.cache.clone());
        let flight = (study.uid().clone(), form.clone(), fingerprint);
        let load = || async move {
            let checked_at = cache.elapsed();
            let rendered = render(&source, &study, &form, series).await?;
            let entry = Arc::new(StudyEntry { rendered, fingerprint, checked_at });
            cache.keep_study(study.uid(), &form, Arc::clone(&entry));
            Ok(entry)
        };
        self.loads.run(flight, load).await?
    }
}

async fn render(
    source: &Source,
    study: &FoundStudy,
    form: &Form,
    series: Option<Vec<SeriesSource>>,
) -> Result<Rendered, StudiesError> {
    let record = detail::record(&source.archive, study.first(), form.depth(), series).await?;
    let context = source.context.clone();
    let (study, form) = (study.clone(), form.clone());
    // A study of thousands of instances takes milliseconds to write and to compress.
    let rendering = tokio::task::spawn_blocking(move || {
        let endpoints: Vec<_> = study.endpoints().collect();
        let resource = mapping::imaging_study(&context, &record.attributes, &endpoints, record.series);
        let json = match &form {
            Form::Full => project(&resource, Projection::Full),
            Form::Data => project(&resource, Projection::Data),
            Form::Summary => project(&resource, Projection::Summary),
            Form::Text => project(&resource, Projection::Text),
            Form::Elements(names) => {
                let names: Vec<_> = names.iter().map(AsRef::as_ref).collect();
                project(&resource, Projection::Elements(&names))
            }
        };
        json.map(Rendered::new).map_err(|_| StudiesError::Unwritable)
    });
    rendering.await.map_err(|_| StudiesError::Unwritable)?
}
