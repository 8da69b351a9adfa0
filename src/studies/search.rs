//! Searches for studies over all archives, and the read of one.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::try_join_all;
use jiff::tz::TimeZone;

use super::recheck::{self, Times};
use super::row::StudyRow;
use super::{Form, Freshness, Source, Studies, StudiesError, plan};
use crate::access::Access;
use crate::archive::{ArchiveErrorKind, QidoQuery};
use crate::cache::{Fingerprint, KnownPatient};
use crate::dicom::{Attributes, StudyUid, tags};
use crate::fhir::search::{PatientReference, StudyCriterion, System, Token};
use crate::mapping::{self, PatientKey};

/// A study that was found: its rows, from each archive that holds it, in the order of the configuration.
#[derive(Debug, Clone)]
pub struct FoundStudy {
    pub(super) rows: Vec<StudyRow>,
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

/// What a search found.
#[derive(Debug, Clone, Default)]
pub struct FoundStudies {
    /// Every match, the newest first.
    pub studies: Vec<FoundStudy>,
    /// Studies that match but stand under more than one patient in one archive: nobody can tell whose they are.
    pub under_two_patients: Vec<StudyUid>,
    /// How many rows match but have no Study Instance UID that is one, so that no resource can be made of them.
    pub nameless: usize,
}

impl Studies {
    /// Every study that matches all of `criteria` and that the caller may see.
    pub async fn search(
        &self,
        criteria: &[StudyCriterion],
        access: &Access,
        freshness: Freshness,
    ) -> Result<FoundStudies, StudiesError> {
        let patients = self.patients(criteria).await?;
        if patients.as_ref().is_some_and(Vec::is_empty) {
            return Ok(FoundStudies::default());
        }
        let asked = self.sources.iter().filter(|source| may_hold(source, criteria));
        let answers = asked.map(|source| self.search_one(source, criteria, patients.as_deref(), freshness));
        let answers = try_join_all(answers).await?;
        let nameless = answers.iter().map(|matches| matches.nameless).sum();
        let rows = answers.into_iter().flat_map(|matches| matches.rows);
        let found = gather(rows.filter(|row| access.may_see_study(&row.attributes)));
        Ok(FoundStudies { nameless, ..found })
    }

    /// The study `uid`, if there is one that the caller may see.
    pub async fn find(
        &self,
        uid: &StudyUid,
        access: &Access,
        freshness: Freshness,
    ) -> Result<Option<FoundStudy>, StudiesError> {
        let criteria = [StudyCriterion::Id(vec![uid.as_str().to_owned()])];
        let mut found = self.search(&criteria, access, freshness).await?;
        if found.under_two_patients.is_empty() {
            Ok(found.studies.pop())
        } else {
            Err(StudiesError::TwoPatients { study: uid.clone() })
        }
    }

    /// The patients that the first such criterion refers to; `None` when no criterion refers to any.
    async fn patients(
        &self,
        criteria: &[StudyCriterion],
    ) -> Result<Option<Vec<Arc<KnownPatient>>>, StudiesError> {
        let references = criteria.iter().find_map(|criterion| match criterion {
            StudyCriterion::Patient(references) => Some(references),
            _ => None,
        });
        let Some(references) = references else { return Ok(None) };
        let mut patients = Vec::new();
        for reference in references {
            let PatientReference::Own(id) = reference else { continue };
            if let Some(patient) = self.known_patient(id).await?
                && !patients.contains(&patient)
            {
                patients.push(patient);
            }
        }
        Ok(Some(patients))
    }

    async fn search_one(
        &self,
        source: &Source,
        criteria: &[StudyCriterion],
        patients: Option<&[Arc<KnownPatient>]>,
        freshness: Freshness,
    ) -> Result<Matches, StudiesError> {
        let mut matches = Matches::default();
        for question in plan::studies(criteria, patients, source.archive.profile().uid_lists) {
            let rows = self.rows(source, &question, freshness).await?;
            for row in rows.named {
                if self.row_matches(source, &row, criteria).await? {
                    matches.rows.push(row);
                }
            }
            // A row without a UID that would match all the same is missing from the answer, and the answer says so.
            let nameless = rows.nameless.iter().filter(|row| self.nameless_matches(source, row, criteria));
            matches.nameless += nameless.count();
        }
        Ok(matches)
    }

    /// The rows that answer a question. Every patient that they name is remembered.
    pub(super) async fn rows(
        &self,
        source: &Source,
        question: &plan::Question,
        freshness: Freshness,
    ) -> Result<Rows, StudiesError> {
        let ask = |query: &QidoQuery| self.scan(&source.archive, query.clone(), freshness);
        let mut found = match (ask(&question.query).await, &question.without_optional_keys) {
            (Err(StudiesError::Archive(error)), Some(instead))
                if matches!(error.kind, ArchiveErrorKind::Refused(_)) =>
            {
                ask(instead).await?
            }
            (rows, _) => rows?,
        };
        if let Some(padded) = &question.padded
            && found.rows.is_empty()
            && source.archive.profile().keeps_padding
        {
            found = ask(padded).await?;
        }
        let mut rows = Rows::default();
        for row in &found.rows {
            match study_row(source, row) {
                Some(row) => {
                    self.remember_patient(&row);
                    rows.named.push(row);
                }
                None => rows.nameless.push(row.clone()),
            }
        }
        Ok(rows)
    }

    async fn row_matches(
        &self,
        source: &Source,
        row: &StudyRow,
        criteria: &[StudyCriterion],
    ) -> Result<bool, StudiesError> {
        let asks_for_modality =
            criteria.iter().any(|criterion| matches!(criterion, StudyCriterion::Modality(_)));
        let series = if asks_for_modality && row.attributes.text(tags::MODALITIES_IN_STUDY).is_none() {
            // The archive does not sum the modalities up, so its series are asked for.
            Some(super::detail::series_of(&source.archive, row, false).await?)
        } else {
            None
        };
        let endpoints = [source.archive.id().as_str()];
        let times = self.times(source);
        if asks_for_issuer(criteria, &row.attributes) {
            // Many archives return no sequences in a search; who issued the number is known to the objects.
            let whole = super::detail::record(&source.archive, row, super::Depth::Instances, None).await?;
            let resource =
                mapping::imaging_study(&source.context, &whole.attributes, &endpoints, whole.series);
            return Ok(recheck::study_matches(criteria, &resource, &times));
        }
        let resource = mapping::imaging_study(&source.context, &row.attributes, &endpoints, series);
        Ok(recheck::study_matches(criteria, &resource, &times))
    }

    fn nameless_matches(&self, source: &Source, row: &Attributes, criteria: &[StudyCriterion]) -> bool {
        let resource = mapping::imaging_study(&source.context, row, &[source.archive.id().as_str()], None);
        recheck::study_matches(criteria, &resource, &self.times(source))
    }

    pub(super) fn times(&self, source: &Source) -> Times {
        let zone = source.context.time_zone.clone().unwrap_or(TimeZone::UTC);
        Times { zone, now: self.clock.now() }
    }
}

/// What one archive has for a search.
#[derive(Debug, Default)]
struct Matches {
    rows: Vec<StudyRow>,
    nameless: usize,
}

/// The rows that answer a question.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Those that name a study.
    pub(super) named: Vec<StudyRow>,
    /// Those whose Study Instance UID is none.
    nameless: Vec<Attributes>,
}

/// Whether the criteria leave the archive in question at all.
fn may_hold(source: &Source, criteria: &[StudyCriterion]) -> bool {
    criteria.iter().all(|criterion| match criterion {
        StudyCriterion::Endpoint(ids) => ids.iter().any(|id| id == source.archive.id().as_str()),
        _ => true,
    })
}

/// Whether a criterion names the row's accession number together with its system, or with none, and the row does not say who
/// issued it.
fn asks_for_issuer(criteria: &[StudyCriterion], row: &Attributes) -> bool {
    let Some(number) = row.text(tags::ACCESSION_NUMBER) else { return false };
    let names = |token: &Token| token.system != System::Any && token.code.as_deref() == Some(number);
    row.items(tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE).next().is_none()
        && criteria.iter().any(|criterion| match criterion {
            StudyCriterion::Identifier(tokens) => tokens.iter().any(names),
            _ => false,
        })
}

fn study_row(source: &Source, attributes: &Attributes) -> Option<StudyRow> {
    let uid = attributes.text(tags::STUDY_INSTANCE_UID).and_then(|uid| StudyUid::parse(uid).ok())?;
    let patient = PatientKey::of(&source.context, attributes);
    Some(StudyRow { archive: source.archive.id().clone(), uid, patient, attributes: attributes.clone() })
}

/// One study of the rows of each UID: two rows of one archive are two patients, rows of two archives are one study.
fn gather(rows: impl Iterator<Item = StudyRow>) -> FoundStudies {
    let mut by_uid: BTreeMap<StudyUid, Vec<StudyRow>> = BTreeMap::new();
    for row in rows {
        let rows = by_uid.entry(row.uid.clone()).or_default();
        // Two queries of one search may find the same row.
        if !rows.iter().any(|other| other.archive == row.archive && other.patient == row.patient) {
            rows.push(row);
        }
    }
    let mut found = FoundStudies::default();
    for (uid, rows) in by_uid {
        let clash = rows
            .iter()
            .enumerate()
            .any(|(index, row)| rows.iter().skip(index + 1).any(|other| other.archive == row.archive));
        if clash {
            found.under_two_patients.push(uid);
        } else {
            found.studies.push(FoundStudy { rows });
        }
    }
    found.studies.sort_by_cached_key(|study| study.first().order());
    found
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
                // What the archive does not count or sum up must be counted in its series.
                let summed = |name: &str| matches!(name, "reasonCode" | "modality" | "numberOfSeries");
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
