//! Decides whether studies match: compares every criterion with the resource as it would be returned (R4 search).
//!
//! The criteria are compared first with the row of a study. A study that may still match is then assembled, as deep as the
//! criteria require, and compared again. The assembled study is cached, so the response needs no further requests.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::referenced_endpoints::referenced_endpoints;
use super::row::{RowWithoutUid, StudyRow};
use super::study_versions::is_by_last_updated;
use super::{
    ArchiveSource, Depth, FoundStudies, FoundStudy, Freshness, Representation, Studies, StudiesError,
    UnreadableStudy,
};
use crate::mapping;
use crate::upstream::MAX_UIDS_PER_QUERY;
use dicom_model::{Attributes, tags};
use fhir_r4::date::{FhirDate, Prefix};
use fhir_r4::search::{Comparison, Criterion, EvaluationContext, ImagingStudyParam as Param, System, Token};
use fhir_r4::types::{Endpoint, ImagingStudy};

/// The number of rows that are compared before the task yields.
const ROWS_PER_YIELD: usize = 64;

/// Maximum number of studies that are read again because the archive has found them by the UID of a series or an instance that
/// the cached studies do not list. An archive that finds more has ignored the UID.
const MAX_CONTRADICTIONS: usize = 3;

/// The values that a comparison depends on besides the resource.
pub(super) struct MatchContext {
    /// The time zone of dates without a time zone.
    pub(super) zone: TimeZone,
    /// The current time, for the prefix `ap` (approximately).
    pub(super) now: Timestamp,
    /// The Endpoints that the resource refers to.
    endpoints: Vec<Endpoint>,
}

impl Studies {
    /// Returns the candidates that match all of `criteria`.
    pub(super) async fn filter(
        &self,
        candidates: FoundStudies,
        criteria: &[Criterion<ImagingStudy>],
        freshness: Freshness,
    ) -> Result<FoundStudies, StudiesError> {
        let mut found = self.filter_studies(candidates.studies, criteria, freshness).await?;
        for study in candidates.patient_conflicts {
            if study.parts.is_empty() {
                // Its rows are too many to be divided among the patients.
                found.patient_conflicts.push(study);
                continue;
            }
            // If two patients have studies with the same UID, possibly only the study of one of them matches.
            let mut matching = self.filter_studies(study.parts, criteria, freshness).await?;
            found.unreadable.append(&mut matching.unreadable);
            if matching.studies.len() > 1 {
                let rows = matching.studies.into_iter().flat_map(|study| study.rows).collect();
                found.patient_conflicts.push(FoundStudy::from_rows(rows));
            } else if matching.studies.is_empty() {
                // A match that may be the study of either patient is omitted, which the response reports.
                let mut ambiguous = self.filter_studies(study.ambiguous_parts, criteria, freshness).await?;
                found.unreadable.append(&mut ambiguous.unreadable);
                found.patient_conflicts.extend(ambiguous.studies.into_iter().next());
            } else {
                found.studies.append(&mut matching.studies);
            }
        }
        if criteria.iter().any(is_by_last_updated) {
            self.report_unreadable_again(&found.unreadable).await;
        }
        Ok(found)
    }

    async fn filter_studies(
        &self,
        mut studies: Vec<FoundStudy>,
        criteria: &[Criterion<ImagingStudy>],
        freshness: Freshness,
    ) -> Result<FoundStudies, StudiesError> {
        let mut matching = Vec::with_capacity(studies.len());
        let (mut studies_at_series_depth, mut studies_at_instance_depth) = (Vec::new(), Vec::new());
        while !studies.is_empty() {
            for study in studies.drain(..studies.len().min(ROWS_PER_YIELD)) {
                match self.compare_row(&study, criteria) {
                    Some(Depth::Study) => matching.push(study),
                    Some(Depth::Series) => studies_at_series_depth.push(study),
                    Some(Depth::Instances) => studies_at_instance_depth.push(study),
                    None => {}
                }
            }
            tokio::task::yield_now().await;
        }
        if studies_at_instance_depth.len() > self.limits.max_opened {
            return Err(StudiesError::TooManyToOpen { limit: self.limits.max_opened });
        }
        let mut found = FoundStudies { studies: matching, ..FoundStudies::default() };
        for (studies, representation) in [
            (studies_at_series_depth, Representation::Summary),
            (studies_at_instance_depth, Representation::Full),
        ] {
            let mut compared = self.compare_resources(studies, &representation, criteria, freshness).await?;
            found.studies.append(&mut compared.studies);
            found.unreadable.append(&mut compared.unreadable);
        }
        Ok(found)
    }

    /// Compares the row of a study with the criteria. Returns how deep the study must be fetched to compare all of them, or
    /// `None` if the row shows that the study does not match.
    pub(super) fn compare_row(
        &self,
        study: &FoundStudy,
        criteria: &[Criterion<ImagingStudy>],
    ) -> Option<Depth> {
        let source = self.source(&study.first_row().archive)?;
        let subject = self.subject_of(study)?;
        let depth = |criterion: &Criterion<ImagingStudy>| {
            let has_copies = || study.rows_of_archives().nth(1).is_some();
            match criterion.parameter.key {
                // Tags report differences between the copies of a study, in its series too.
                Param::Tag if has_copies() => Depth::Instances,
                // A resource refers to an archive with a part of the study only if no other archive contains more.
                Param::Endpoint if has_copies() => Depth::Series,
                _ => {
                    let depths =
                        study.rows_of_archives().map(|row| required_depth(criterion, &row.attributes));
                    depths.max().unwrap_or(Depth::Study)
                }
            }
        };
        let max_depth = criteria.iter().map(depth).max().unwrap_or(Depth::Study);
        let (resource, match_context) =
            (resource_from_rows(study, &self.sources)?, self.match_context(source, study));
        // If the version is not known, the study may have changed at any time.
        let has_value =
            |criterion: &&Criterion<ImagingStudy>| study.version.is_some() || !is_by_last_updated(criterion);
        // The resource refers to no other Endpoints than those of the rows.
        let is_comparable = |criterion: &&Criterion<ImagingStudy>| {
            depth(criterion) == Depth::Study || criterion.parameter.key == Param::Endpoint
        };
        let mut comparable = criteria.iter().filter(is_comparable).filter(has_value);
        comparable
            .all(|criterion| matches_criterion(criterion, &resource, &subject, &match_context))
            .then_some(max_depth)
    }

    /// Assembles `studies`, and returns those that match all of `criteria`. If an archive has found few studies by the UID of a series
    /// or an instance, and a cached study does not list that UID, the study is read again.
    async fn compare_resources(
        &self,
        studies: Vec<FoundStudy>,
        representation: &Representation,
        criteria: &[Criterion<ImagingStudy>],
        freshness: Freshness,
    ) -> Result<FoundStudies, StudiesError> {
        let mut found = self.compare_assembled(&studies, representation, criteria, freshness).await?;
        if freshness != Freshness::Cached || !criteria.iter().any(identifies_child) {
            return Ok(found);
        }
        let is_compared = |study: &FoundStudy| {
            found.studies.iter().any(|other| other.uid() == study.uid())
                || found.unreadable.iter().any(|other| other.uid == *study.uid())
        };
        let contradicted: Vec<_> = studies.into_iter().filter(|study| !is_compared(study)).collect();
        if contradicted.len() > MAX_CONTRADICTIONS {
            return Ok(found);
        }
        let is_stale = |study: &FoundStudy| {
            let cached = self.cached(study.uid(), representation);
            cached.is_some_and(|entry| !self.cache.is_fresh(entry.content_age.read_at))
        };
        let contradicted: Vec<_> = contradicted.into_iter().filter(is_stale).collect();
        let mut compared =
            self.compare_assembled(&contradicted, representation, criteria, Freshness::Reload).await?;
        found.studies.append(&mut compared.studies);
        found.unreadable.append(&mut compared.unreadable);
        Ok(found)
    }

    /// Assembles `studies`, and returns those that match all of `criteria`.
    async fn compare_assembled(
        &self,
        studies: &[FoundStudy],
        representation: &Representation,
        criteria: &[Criterion<ImagingStudy>],
        freshness: Freshness,
    ) -> Result<FoundStudies, StudiesError> {
        let mut found = FoundStudies::default();
        for studies in studies.chunks(MAX_UIDS_PER_QUERY) {
            let entries = self.assemble(studies, representation, freshness).await?;
            for (study, entry) in studies.iter().zip(entries) {
                let json = match entry {
                    Ok(entry) => entry.encoded.json.clone(),
                    Err(error) => {
                        found.unreadable.push(UnreadableStudy { uid: study.uid().clone(), error });
                        continue;
                    }
                };
                // This takes milliseconds for a study of thousands of instances.
                let parsing =
                    tokio::task::spawn_blocking(move || serde_json::from_slice::<ImagingStudy>(&json));
                let resource: Option<ImagingStudy> = parsing.await.ok().and_then(Result::ok);
                let resource = resource.ok_or(StudiesError::Unwritable)?;
                let Some(source) = self.source(&study.first_row().archive) else { continue };
                let endpoints: Vec<_> = referenced_endpoints(&resource).collect();
                let match_context = self.match_context_of(source, &endpoints);
                let Some(subject) = self.subject_of(study) else { continue };
                if criteria
                    .iter()
                    .all(|criterion| matches_criterion(criterion, &resource, &subject, &match_context))
                {
                    found.studies.push(study.clone());
                }
            }
        }
        Ok(found)
    }

    /// Returns the rows that match according to the criteria that rows can be compared with. They are missing from the result because
    /// there is no resource for them, and the response reports their number.
    pub(super) fn matches_without_uid(
        &self,
        mut rows: Vec<RowWithoutUid>,
        criteria: &[Criterion<ImagingStudy>],
    ) -> Vec<RowWithoutUid> {
        rows.retain(|row| {
            let Some(source) = self.source(&row.archive) else { return false };
            let (id, row) = (row.archive.as_str(), &row.attributes);
            let subject = (source, row);
            let resource = mapping::imaging_study(&source.context, row, &[id], None);
            let match_context = self.match_context_of(source, &[id]);
            // A row without a UID has no version.
            let mut comparable = criteria.iter().filter(|criterion| !is_by_last_updated(criterion));
            comparable.all(|criterion| {
                required_depth(criterion, row) > Depth::Study
                    || matches_criterion(criterion, &resource, &subject, &match_context)
            })
        });
        for row in &mut rows {
            let is_comparable = |criterion| required_depth(criterion, &row.attributes) == Depth::Study;
            row.is_compared = criteria.iter().all(is_comparable);
        }
        rows
    }

    /// Returns the archive and the attributes from which the subject of a study is read.
    fn subject_of<'a>(&'a self, study: &'a FoundStudy) -> Option<(&'a ArchiveSource, &'a Attributes)> {
        let row = study.subject_row();
        Some((self.source(&row.archive)?, &row.attributes))
    }

    /// Returns the context for comparing a study whose first row is from `source`.
    fn match_context(&self, source: &ArchiveSource, study: &FoundStudy) -> MatchContext {
        self.match_context_of(source, &study.endpoints().collect::<Vec<_>>())
    }

    /// Returns the context for comparing a resource from `source` that refers to the Endpoints with these ids.
    fn match_context_of(&self, source: &ArchiveSource, endpoint_ids: &[&str]) -> MatchContext {
        let sources =
            self.sources.iter().filter(|source| endpoint_ids.contains(&source.archive.id().as_str()));
        // The URL is empty because it depends on the caller and no search parameter compares it.
        let endpoint_of = |source: &ArchiveSource| source.endpoint(String::new(), false);
        let endpoints = sources.map(endpoint_of).collect();
        MatchContext { zone: time_zone_of(source), now: self.clock.now(), endpoints }
    }
}

/// Whether the criterion selects studies by the UID of a series or an instance, so that an archive finds few of them.
fn identifies_child(criterion: &Criterion<ImagingStudy>) -> bool {
    matches!(criterion.parameter.key, Param::Series | Param::Instance)
        && matches!(criterion.comparison, Comparison::Token(_))
}

/// Maps the rows of a study to a resource without series, which refers to the Endpoints of all archives that contain a part of the
/// study; `None` if no archive is configured.
pub(super) fn resource_from_rows(study: &FoundStudy, sources: &[ArchiveSource]) -> Option<ImagingStudy> {
    let find = |row: &StudyRow| sources.iter().find(|source| source.archive.id() == &row.archive);
    let map = |row: &StudyRow| {
        let context = &find(row)?.context;
        Some(mapping::imaging_study(context, &row.attributes, &[row.archive.as_str()], None))
    };
    let resources: Vec<_> = study.rows_of_archives().filter_map(map).collect();
    let endpoint: Vec<_> = resources.iter().flat_map(|resource| resource.endpoint.iter().cloned()).collect();
    let mut resource = mapping::merge_studies(&find(study.first_row())?.context, resources)?;
    resource.endpoint = endpoint;
    resource.meta.last_updated = study.version.map(|version| version.instant());
    Some(resource)
}

/// Returns the time zone of dates without a time zone.
pub(super) fn time_zone_of(source: &ArchiveSource) -> TimeZone {
    source.context.time_zone.clone().unwrap_or(TimeZone::UTC)
}

fn matches_criterion(
    criterion: &Criterion<ImagingStudy>,
    resource: &ImagingStudy,
    (source, row): &(&ArchiveSource, &Attributes),
    match_context: &MatchContext,
) -> bool {
    let patient = matches!(criterion.comparison, Comparison::Patient(_))
        .then(|| mapping::patient(&source.context, row));
    let evaluation_context = EvaluationContext {
        zone: &match_context.zone,
        now: match_context.now,
        patient: patient.as_ref(),
        endpoints: &match_context.endpoints,
    };
    criterion.matches(resource, &evaluation_context)
}

/// Returns how deep a study must be fetched to compare `criterion`. Many archives omit sequences from rows, so their items are
/// only in the objects.
fn required_depth(criterion: &Criterion<ImagingStudy>, row: &Attributes) -> Depth {
    match criterion.parameter.key {
        Param::Series => Depth::Series,
        Param::Modality if row.text(tags::MODALITIES_IN_STUDY).is_none() => Depth::Series,
        // No ImagingStudy of the gateway refers to a resource of these types, so the row is sufficient.
        Param::BasedOn | Param::Encounter | Param::Interpreter | Param::Performer | Param::Referrer
            if matches!(criterion.comparison, Comparison::Reference(_)) =>
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
        Param::Identifier if requires_issuer(&criterion.comparison, row) => Depth::Instances,
        Param::Started => match &criterion.comparison {
            Comparison::Date(dates) => required_depth_for_dates(dates, row),
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

/// Returns how deep a study must be fetched to compare the start of the study. A resource has no time if the offset from UTC is
/// unknown; if the row lacks the offset, the objects may contain it.
fn required_depth_for_dates(dates: &[(Prefix, FhirDate)], row: &Attributes) -> Depth {
    let has_offset = row.text(tags::TIMEZONE_OFFSET_FROM_UTC).is_some();
    let has_time = row.text(tags::STUDY_TIME).is_some();
    let compares_time = dates.iter().any(|(_, date)| date.has_time());
    if compares_time && has_time && !has_offset { Depth::Instances } else { Depth::Study }
}

/// Whether the criterion compares the system of the accession number of the row, and the row lacks the issuer that determines
/// the system.
fn requires_issuer(comparison: &Comparison, row: &Attributes) -> bool {
    let Some(number) = row.text(tags::ACCESSION_NUMBER) else { return false };
    let compares_system = |token: &Token| {
        token.system != System::Any && token.code.as_deref().is_none_or(|code| code == number)
    };
    row.items(tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE).next().is_none()
        && match comparison {
            Comparison::Token(tokens) | Comparison::NotToken(tokens) => tokens.iter().any(compares_system),
            _ => false,
        }
}
