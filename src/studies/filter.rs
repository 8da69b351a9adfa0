//! Whether studies match: every criterion, compared with the resource that would be shown, by R4's own rules.
//!
//! What a row tells is compared first. A study that still may match is assembled no deeper than its criteria need, and
//! compared as it would be shown: what was assembled is remembered, so that showing it costs nothing more.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::versions::is_about_time;
use super::{ArchiveSource, Depth, Form, FoundStudies, FoundStudy, Freshness, Studies, StudiesError};
use crate::mapping;
use dicom_model::{Attributes, tags};
use fhir_r4::date::{FhirDate, Prefix};
use fhir_r4::search::{Criterion, EvaluationContext, ImagingStudyParam as Param, System, Test, Token};
use fhir_r4::types::{Endpoint, ImagingStudy};

/// So many rows are compared before others get their turn.
const AT_ONCE: usize = 64;

/// What a criterion is compared among.
pub(super) struct MatchContext {
    /// The zone of dates that name none.
    pub(super) zone: TimeZone,
    /// For "approximately".
    pub(super) now: Timestamp,
    endpoints: Vec<Endpoint>,
}

impl Studies {
    /// Those of the candidates that match all of `criteria`.
    pub(super) async fn screen(
        &self,
        candidates: FoundStudies,
        criteria: &[Criterion<ImagingStudy>],
        freshness: Freshness,
    ) -> Result<FoundStudies, StudiesError> {
        let studies = self.matching(candidates.studies, criteria, freshness).await?;
        let mut found = FoundStudies { studies, ..FoundStudies::default() };
        for study in candidates.patient_conflicts {
            // Of the rows of one UID perhaps only one patient's match.
            let version = study.version;
            let alone = study.rows.into_iter().map(|row| FoundStudy { rows: vec![row], version }).collect();
            let mut matching = self.matching(alone, criteria, freshness).await?;
            if matching.len() > 1 {
                let rows = matching.into_iter().flat_map(|study| study.rows).collect();
                found.patient_conflicts.push(FoundStudy { rows, version });
            } else {
                found.studies.append(&mut matching);
            }
        }
        Ok(found)
    }

    async fn matching(
        &self,
        mut studies: Vec<FoundStudy>,
        criteria: &[Criterion<ImagingStudy>],
        freshness: Freshness,
    ) -> Result<Vec<FoundStudy>, StudiesError> {
        let mut matching = Vec::with_capacity(studies.len());
        let mut deeper: [Vec<FoundStudy>; 2] = Default::default();
        while !studies.is_empty() {
            for study in studies.drain(..studies.len().min(AT_ONCE)) {
                match self.by_row(&study, criteria) {
                    Some(Depth::Study) => matching.push(study),
                    Some(Depth::Series) => deeper[0].push(study),
                    Some(Depth::Instances) => deeper[1].push(study),
                    None => {}
                }
            }
            tokio::task::yield_now().await;
        }
        let [by_series, by_instances] = deeper;
        if by_instances.len() > self.limits.max_opened {
            return Err(StudiesError::TooManyToOpen { limit: self.limits.max_opened });
        }
        matching.extend(self.by_resource(by_series, &Form::Summary, criteria, freshness).await?);
        matching.extend(self.by_resource(by_instances, &Form::Full, criteria, freshness).await?);
        Ok(matching)
    }

    /// How deep a study that may match must be looked into; `None` when its row tells that it does not.
    pub(super) fn by_row(&self, study: &FoundStudy, criteria: &[Criterion<ImagingStudy>]) -> Option<Depth> {
        let source = self.source(&study.first().archive)?;
        let row = &study.first().attributes;
        let needed = |criterion: &Criterion<ImagingStudy>| depth_of(criterion, row);
        let deepest = criteria.iter().map(needed).max().unwrap_or(Depth::Study);
        let (shallow, scene) = (shallow(study, source), self.scene(source, study));
        // Without its version a study may have changed at any time.
        let is_known =
            |criterion: &&Criterion<ImagingStudy>| study.version.is_some() || !is_about_time(criterion);
        let mut told = criteria.iter().filter(|criterion| needed(criterion) == Depth::Study).filter(is_known);
        told.all(|criterion| holds(criterion, &shallow, source, row, &scene)).then_some(deepest)
    }

    async fn by_resource(
        &self,
        studies: Vec<FoundStudy>,
        form: &Form,
        criteria: &[Criterion<ImagingStudy>],
        freshness: Freshness,
    ) -> Result<Vec<FoundStudy>, StudiesError> {
        let mut matching = Vec::new();
        for studies in studies.chunks(super::plan::UIDS_A_QUERY) {
            let entries = self.assemble(studies, form, freshness).await?;
            for (study, entry) in studies.iter().zip(entries) {
                let json = entry.rendered.json.clone();
                // A study of thousands of instances takes milliseconds to read.
                let reading =
                    tokio::task::spawn_blocking(move || serde_json::from_slice::<ImagingStudy>(&json));
                let resource = reading.await.ok().and_then(Result::ok).ok_or(StudiesError::Unwritable)?;
                let Some(source) = self.source(&study.first().archive) else { continue };
                let scene = self.scene(source, study);
                let row = &study.first().attributes;
                if criteria.iter().all(|criterion| holds(criterion, &resource, source, row, &scene)) {
                    matching.push(study.clone());
                }
            }
        }
        Ok(matching)
    }

    /// How many of the rows that name no study would match: they are missing from the answer, and the answer says so.
    pub(super) fn nameless_matches(
        &self,
        rows: &[(usize, Attributes)],
        criteria: &[Criterion<ImagingStudy>],
    ) -> usize {
        let matches = |(index, row): &&(usize, Attributes)| {
            let Some(source) = self.sources.get(*index) else { return false };
            let id = source.archive.id().as_str();
            let resource = mapping::imaging_study(&source.context, row, &[id], None);
            let scene = self.scene_of(source, &[id]);
            // What has no name has no version.
            let mut told = criteria.iter().filter(|criterion| !is_about_time(criterion));
            told.all(|criterion| holds(criterion, &resource, source, row, &scene))
        };
        rows.iter().filter(matches).count()
    }

    fn scene(&self, source: &ArchiveSource, study: &FoundStudy) -> MatchContext {
        self.scene_of(source, &study.endpoints().collect::<Vec<_>>())
    }

    pub(super) fn scene_of(&self, source: &ArchiveSource, endpoints: &[&str]) -> MatchContext {
        let held = self.sources.iter().filter(|source| endpoints.contains(&source.archive.id().as_str()));
        // The address depends on who asks, and nothing is searched by it.
        let endpoint = |source: &ArchiveSource| {
            let mut endpoint =
                mapping::endpoint(&source.context, &source.archive.settings().name, String::new(), false);
            endpoint.meta.last_updated = Some(format!("{:.3}", source.since));
            endpoint
        };
        MatchContext { zone: zone_of(source), now: self.clock.now(), endpoints: held.map(endpoint).collect() }
    }
}

/// The resource as far as the row tells.
pub(super) fn shallow(study: &FoundStudy, source: &ArchiveSource) -> ImagingStudy {
    let endpoints: Vec<_> = study.endpoints().collect();
    let mut resource = mapping::imaging_study(&source.context, &study.first().attributes, &endpoints, None);
    resource.meta.last_updated = study.version.map(|version| version.instant());
    resource
}

pub(super) fn zone_of(source: &ArchiveSource) -> TimeZone {
    source.context.time_zone.clone().unwrap_or(TimeZone::UTC)
}

fn holds(
    criterion: &Criterion<ImagingStudy>,
    resource: &ImagingStudy,
    source: &ArchiveSource,
    row: &Attributes,
    scene: &MatchContext,
) -> bool {
    let patient = matches!(criterion.test, Test::Patient(_)).then(|| mapping::patient(&source.context, row));
    let around = EvaluationContext {
        zone: &scene.zone,
        now: scene.now,
        patient: patient.as_ref(),
        endpoints: &scene.endpoints,
    };
    criterion.matches(resource, &around)
}

/// How deep a study must be fetched for `criterion` to be compared with what would be shown. Many archives return no sequences
/// in a search, so that what stands in sequences is known to the objects only.
fn depth_of(criterion: &Criterion<ImagingStudy>, row: &Attributes) -> Depth {
    match criterion.parameter.key {
        Param::Series => Depth::Series,
        Param::Modality if row.text(tags::MODALITIES_IN_STUDY).is_none() => Depth::Series,
        // No study of ours refers to such a resource, so that the row is as good as any.
        Param::BasedOn | Param::Encounter | Param::Interpreter | Param::Performer | Param::Referrer
            if matches!(criterion.test, Test::Reference(_)) =>
        {
            Depth::Study
        }
        Param::BasedOn
        | Param::BodySite
        | Param::DicomClass
        | Param::Encounter
        | Param::Instance
        | Param::Interpreter
        | Param::Performer
        | Param::Reason
        | Param::Referrer => Depth::Instances,
        Param::Identifier if asks_for_issuer(&criterion.test, row) => Depth::Instances,
        Param::Started => match &criterion.test {
            Test::Date(dates) => depth_of_dates(dates, row),
            _ => Depth::Study,
        },
        Param::Id
        | Param::LastUpdated
        | Param::Profile
        | Param::Security
        | Param::Source
        | Param::Tag
        | Param::Endpoint
        | Param::Identifier
        | Param::Modality
        | Param::Patient
        | Param::Status
        | Param::Subject => Depth::Study,
    }
}

/// Without its zone a time is not shown, and the objects may tell it.
fn depth_of_dates(dates: &[(Prefix, FhirDate)], row: &Attributes) -> Depth {
    let zone_is_told = row.text(tags::TIMEZONE_OFFSET_FROM_UTC).is_some();
    let has_time = row.text(tags::STUDY_TIME).is_some();
    let asks_for_time = dates.iter().any(|(_, date)| date.has_time());
    if asks_for_time && has_time && !zone_is_told { Depth::Instances } else { Depth::Study }
}

/// Whether the criterion names the row's accession number together with its system, or with none, and the row does not say
/// who issued it.
fn asks_for_issuer(test: &Test, row: &Attributes) -> bool {
    let Some(number) = row.text(tags::ACCESSION_NUMBER) else { return false };
    let names = |token: &Token| token.system != System::Any && token.code.as_deref() == Some(number);
    row.items(tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE).next().is_none()
        && match test {
            Test::Token(tokens) | Test::NotToken(tokens) => tokens.iter().any(names),
            _ => false,
        }
}
