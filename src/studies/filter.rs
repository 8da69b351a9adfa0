//! Decides whether studies match: compares every criterion with the resource as it would be returned, by the rules of R4
//! search.
//!
//! The row of a study is compared first. A study that still may match is then assembled, no deeper than its criteria need, and
//! compared again. The assembled study is cached, so returning it costs nothing more.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::row::{RowWithoutUid, StudyRow};
use super::study_versions::is_about_time;
use super::{
    ArchiveSource, Depth, FoundStudies, FoundStudy, Freshness, Representation, Studies, StudiesError,
    UnreadStudy,
};
use crate::mapping;
use crate::upstream::ArchiveId;
use dicom_model::{Attributes, tags};
use fhir_r4::date::{FhirDate, Prefix};
use fhir_r4::search::{Criterion, EvaluationContext, ImagingStudyParam as Param, System, Test, Token};
use fhir_r4::types::{Coding, Endpoint, ImagingStudy};

/// How many rows are compared before the task yields.
const AT_ONCE: usize = 64;

/// The values that a comparison depends on besides the resource.
pub(super) struct MatchContext {
    /// The time zone of dates without one.
    pub(super) zone: TimeZone,
    /// For the prefix `ap` ("approximately").
    pub(super) now: Timestamp,
    endpoints: Vec<Endpoint>,
}

impl Studies {
    /// The candidates that match all of `criteria`.
    pub(super) async fn filter(
        &self,
        candidates: FoundStudies,
        criteria: &[Criterion<ImagingStudy>],
        freshness: Freshness,
    ) -> Result<FoundStudies, StudiesError> {
        let mut found = self.matching(candidates.studies, criteria, freshness).await?;
        for study in candidates.patient_conflicts {
            // If two patients share a UID, perhaps only one patient's study matches.
            let version = study.version;
            let alone = one_for_each_patient(study);
            let mut matching = self.matching(alone, criteria, freshness).await?;
            found.unread.append(&mut matching.unread);
            if matching.studies.len() > 1 {
                let rows = matching.studies.into_iter().flat_map(|study| study.rows).collect();
                found.patient_conflicts.push(FoundStudy {
                    rows,
                    version,
                    other_patients: Vec::new(),
                    has_every_row: true,
                });
            } else {
                found.studies.append(&mut matching.studies);
            }
        }
        if criteria.iter().any(is_about_time) {
            self.report_unread_again(&found.unread).await;
        }
        Ok(found)
    }

    async fn matching(
        &self,
        mut studies: Vec<FoundStudy>,
        criteria: &[Criterion<ImagingStudy>],
        freshness: Freshness,
    ) -> Result<FoundStudies, StudiesError> {
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
        let mut found = FoundStudies { studies: matching, ..FoundStudies::default() };
        for (studies, representation) in
            [(by_series, Representation::Summary), (by_instances, Representation::Full)]
        {
            let mut compared = self.by_resource(studies, &representation, criteria, freshness).await?;
            found.studies.append(&mut compared.studies);
            found.unread.append(&mut compared.unread);
        }
        Ok(found)
    }

    /// How deep a study must be fetched to be compared; `None` if its row shows that it does not match.
    pub(super) fn by_row(&self, study: &FoundStudy, criteria: &[Criterion<ImagingStudy>]) -> Option<Depth> {
        let source = self.source(&study.first().archive)?;
        let row = &study.first().attributes;
        let needed = |criterion: &Criterion<ImagingStudy>| depth_of(criterion, row);
        let deepest = criteria.iter().map(needed).max().unwrap_or(Depth::Study);
        let (shallow, match_context) = (shallow(study, source), self.match_context(source, study));
        // Without its version, a study may have changed at any time.
        let is_known =
            |criterion: &&Criterion<ImagingStudy>| study.version.is_some() || !is_about_time(criterion);
        let mut comparable =
            criteria.iter().filter(|criterion| needed(criterion) == Depth::Study).filter(is_known);
        comparable
            .all(|criterion| matches_criterion(criterion, &shallow, source, row, &match_context))
            .then_some(deepest)
    }

    async fn by_resource(
        &self,
        studies: Vec<FoundStudy>,
        representation: &Representation,
        criteria: &[Criterion<ImagingStudy>],
        freshness: Freshness,
    ) -> Result<FoundStudies, StudiesError> {
        let mut found = FoundStudies::default();
        for studies in studies.chunks(super::plan::UIDS_PER_QUERY) {
            let entries = self.assemble(studies, representation, freshness).await?;
            for (study, entry) in studies.iter().zip(entries) {
                let (json, is_whole) = match entry {
                    Ok(entry) => (entry.encoded.json.clone(), entry.omitted.is_empty()),
                    Err(error) => {
                        found.unread.push(UnreadStudy { uid: study.uid().clone(), error });
                        continue;
                    }
                };
                // Parsing a study of thousands of instances takes milliseconds.
                let reading =
                    tokio::task::spawn_blocking(move || serde_json::from_slice::<ImagingStudy>(&json));
                let resource: Option<ImagingStudy> = reading.await.ok().and_then(Result::ok);
                let mut resource = resource.ok_or(StudiesError::Unwritable)?;
                if is_whole {
                    // The tag belongs to the summary, not to the study.
                    resource.meta.tag.retain(|tag| *tag != Coding::subsetted());
                }
                let Some(source) = self.source(&study.first().archive) else { continue };
                let match_context = self.match_context(source, study);
                let row = &study.first().attributes;
                if criteria
                    .iter()
                    .all(|criterion| matches_criterion(criterion, &resource, source, row, &match_context))
                {
                    found.studies.push(study.clone());
                }
            }
        }
        Ok(found)
    }

    /// How many rows of each archive without a Study Instance UID would match: they are missing from the result, and the response
    /// reports it.
    pub(super) fn missing_uid_matches(
        &self,
        rows: &[RowWithoutUid],
        criteria: &[Criterion<ImagingStudy>],
    ) -> BTreeMap<ArchiveId, usize> {
        let matches = |row: &&RowWithoutUid| {
            let Some(source) = self.source(&row.archive) else { return false };
            let (id, row) = (row.archive.as_str(), &row.attributes);
            let resource = mapping::imaging_study(&source.context, row, &[id], None);
            let match_context = self.match_context_of(source, &[id]);
            // A row without a UID has no version.
            let mut comparable = criteria.iter().filter(|criterion| !is_about_time(criterion));
            comparable.all(|criterion| matches_criterion(criterion, &resource, source, row, &match_context))
        };
        let mut counts = BTreeMap::new();
        for row in rows.iter().filter(matches) {
            *counts.entry(row.archive.clone()).or_default() += 1;
        }
        counts
    }

    fn match_context(&self, source: &ArchiveSource, study: &FoundStudy) -> MatchContext {
        self.match_context_of(source, &study.endpoints().collect::<Vec<_>>())
    }

    pub(super) fn match_context_of(&self, source: &ArchiveSource, endpoints: &[&str]) -> MatchContext {
        let held = self.sources.iter().filter(|source| endpoints.contains(&source.archive.id().as_str()));
        // The URL depends on the caller, and no search compares it.
        let endpoint = |source: &ArchiveSource| {
            let mut endpoint =
                mapping::endpoint(&source.context, &source.archive.settings().name, String::new(), false);
            endpoint.meta.last_updated = Some(format!("{:.3}", source.since));
            endpoint
        };
        MatchContext { zone: zone_of(source), now: self.clock.now(), endpoints: held.map(endpoint).collect() }
    }
}

/// Divides a study whose rows name several patients into the studies of each.
fn one_for_each_patient(study: FoundStudy) -> Vec<FoundStudy> {
    let mut patients: Vec<Vec<StudyRow>> = Vec::new();
    for row in study.rows {
        let same =
            patients.iter_mut().find(|rows| !rows.iter().any(|other| row.is_of_another_patient(other)));
        match same {
            Some(rows) => rows.push(row),
            None => patients.push(vec![row]),
        }
    }
    let archives = |index: usize| {
        let others = patients.iter().enumerate().filter(move |(other, _)| *other != index);
        others.flat_map(|(_, rows)| rows.iter().map(|row| row.archive.clone())).collect()
    };
    let other_patients: Vec<Vec<_>> = (0..patients.len()).map(archives).collect();
    let divided = patients.into_iter().zip(other_patients);
    divided
        .map(|(rows, other_patients)| FoundStudy {
            rows,
            version: study.version,
            other_patients,
            has_every_row: false,
        })
        .collect()
}

/// The resource as far as the row describes it.
pub(super) fn shallow(study: &FoundStudy, source: &ArchiveSource) -> ImagingStudy {
    let endpoints: Vec<_> = study.endpoints().collect();
    let mut resource = mapping::imaging_study(&source.context, &study.first().attributes, &endpoints, None);
    resource.meta.last_updated = study.version.map(|version| version.instant());
    resource
}

pub(super) fn zone_of(source: &ArchiveSource) -> TimeZone {
    source.context.time_zone.clone().unwrap_or(TimeZone::UTC)
}

fn matches_criterion(
    criterion: &Criterion<ImagingStudy>,
    resource: &ImagingStudy,
    source: &ArchiveSource,
    row: &Attributes,
    match_context: &MatchContext,
) -> bool {
    let patient = matches!(criterion.test, Test::Patient(_)).then(|| mapping::patient(&source.context, row));
    let around = EvaluationContext {
        zone: &match_context.zone,
        now: match_context.now,
        patient: patient.as_ref(),
        endpoints: &match_context.endpoints,
    };
    criterion.matches(resource, &around)
}

/// How deep a study must be fetched to compare `criterion` with the complete resource. Many archives return no sequences in
/// search results, so their content is known from the objects only.
fn depth_of(criterion: &Criterion<ImagingStudy>, row: &Attributes) -> Depth {
    match criterion.parameter.key {
        Param::Series => Depth::Series,
        Param::Modality if row.text(tags::MODALITIES_IN_STUDY).is_none() => Depth::Series,
        // No study of the gateway refers to such a resource, so the row is sufficient.
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
        Param::Identifier if requires_issuer(&criterion.test, row) => Depth::Instances,
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

/// A time without its zone is not returned, and the zone may be in the objects.
fn depth_of_dates(dates: &[(Prefix, FhirDate)], row: &Attributes) -> Depth {
    let zone_is_told = row.text(tags::TIMEZONE_OFFSET_FROM_UTC).is_some();
    let has_time = row.text(tags::STUDY_TIME).is_some();
    let asks_for_time = dates.iter().any(|(_, date)| date.has_time());
    if asks_for_time && has_time && !zone_is_told { Depth::Instances } else { Depth::Study }
}

/// Whether the criterion gives the accession number of the row with its system, or explicitly without one, and the row does not
/// say who issued the number.
fn requires_issuer(test: &Test, row: &Attributes) -> bool {
    let Some(number) = row.text(tags::ACCESSION_NUMBER) else { return false };
    let names = |token: &Token| token.system != System::Any && token.code.as_deref() == Some(number);
    row.items(tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE).next().is_none()
        && match test {
            Test::Token(tokens) | Test::NotToken(tokens) => tokens.iter().any(names),
            _ => false,
        }
}
