//! Sends the requests of the gateway to one archive: searches for a study, reads its series and instances both by search and by
//! metadata, and tries the other configured services. `table` and `advice` print the results.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use url::Url;

use super::character_set::{any_row_lacks_characters, row_lacks_characters};
use super::images::{self, ImageCheck};
use super::services::{
    renders_incorrectly, returns_no_frame, try_change_feed, try_retrieval, try_uri_service,
};
use crate::upstream::{
    Archive, ArchiveError, ArchiveId, DicomResource, ProbeFindings, Profile, QidoQuery, Retrieval,
    SearchLevel, Settings, Synthesized, UpstreamRequest, WadoUri,
};
use dicom_model::{Attributes, SeriesUid, SopInstanceUid, StudyUid, Tag, UidRule, tags};
use fhir_r4::id::is_id;

/// An archive to check, and whether settings replace values that its rows may lack.
#[derive(Debug, Clone)]
pub struct ArchiveToCheck {
    /// The archive.
    pub archive: Archive,
    /// Whether `time_zone` is set.
    pub has_time_zone: bool,
    /// Whether `patient_id_system` is set.
    pub has_patient_id_system: bool,
}

/// The result of one request.
#[derive(Debug, Clone)]
pub(super) enum ProbeResult {
    /// The request was not sent, because an earlier response did not contain the UIDs that it needs.
    NotTried,
    /// The number of rows, and the duration of the request.
    Rows(usize, Duration),
    /// The request failed.
    Failed(ArchiveError),
    /// The archive did not return what was requested; the text describes the problem.
    Unexpected(&'static str),
}

impl ProbeResult {
    pub(super) fn is_success(&self) -> bool {
        matches!(self, Self::Rows(..) | Self::NotTried)
    }
}

/// The number of studies whose UIDs are looked at.
const SAMPLED_STUDIES: u32 = 100;

/// A missing setting that the studies require.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum MissingSetting {
    /// The time of the study has no offset from UTC.
    TimeZone,
    /// The patient identifier has no issuer.
    PatientIdSystem,
    /// A UID is not a DICOM UID, but the lenient rule would accept it.
    LenientUids,
    /// The same for a UID that is not an id of FHIR either.
    LenientUidsWithoutFhirId,
    /// The row of a study lacks characters that the metadata of an instance has.
    CharacterSet,
}

/// The host and path of a service, for messages about unreachable hosts and wrong paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ServiceAddress {
    /// `host` or `host:port`.
    pub(super) host: String,
    /// The path without a trailing slash.
    pub(super) path: String,
}

impl ServiceAddress {
    fn from_url(url: &Url) -> Self {
        let host = url.host_str().unwrap_or_default();
        let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Self { host, path: url.path().trim_end_matches('/').to_owned() }
    }
}

/// The addresses of the services of an archive.
#[derive(Debug, Clone, Default)]
pub(super) struct ServiceAddresses {
    pub(super) qido: ServiceAddress,
    pub(super) wado: ServiceAddress,
    pub(super) wado_uri: ServiceAddress,
    pub(super) rest: ServiceAddress,
}

impl ServiceAddresses {
    fn from_settings(settings: &Settings) -> Self {
        let optional = |url: &Option<Url>| url.as_ref().map(ServiceAddress::from_url).unwrap_or_default();
        Self {
            qido: ServiceAddress::from_url(&settings.qido_url),
            wado: ServiceAddress::from_url(&settings.wado_url),
            wado_uri: optional(&settings.wado_uri_url),
            rest: optional(&settings.rest_url),
        }
    }
}

/// The results of the requests to one archive.
#[derive(Debug, Clone)]
pub(super) struct ArchiveCheck {
    pub(super) archive: ArchiveId,
    pub(super) addresses: ServiceAddresses,
    /// The profile in the configuration.
    pub(super) profile: Profile,
    /// How the archive answers searches; `None` if it could not be found out.
    pub(super) findings: Option<ProbeFindings>,
    pub(super) studies: ProbeResult,
    pub(super) series: ProbeResult,
    pub(super) metadata: ProbeResult,
    pub(super) instances: ProbeResult,
    /// The retrieval of an instance. It is tried only if the metadata do not work, because both have the same root.
    pub(super) retrieval: ProbeResult,
    pub(super) uri_service: ProbeResult,
    pub(super) change_feed: ProbeResult,
    /// The comparison of rendered images.
    pub(super) images: ImageCheck,
    /// Services that the archive lacks or implements incorrectly and that are not configured to be synthesized.
    pub(super) missing_services: BTreeSet<Synthesized>,
    /// Missing settings that the study requires.
    pub(super) missing_settings: BTreeSet<MissingSetting>,
}

impl ArchiveCheck {
    fn new(archive: &Archive) -> Self {
        Self {
            archive: archive.id().clone(),
            addresses: ServiceAddresses::from_settings(archive.settings()),
            profile: archive.profile(),
            findings: None,
            studies: ProbeResult::NotTried,
            series: ProbeResult::NotTried,
            metadata: ProbeResult::NotTried,
            instances: ProbeResult::NotTried,
            retrieval: ProbeResult::NotTried,
            uri_service: ProbeResult::NotTried,
            change_feed: ProbeResult::NotTried,
            images: ImageCheck::default(),
            missing_services: BTreeSet::new(),
            missing_settings: BTreeSet::new(),
        }
    }

    /// Whether the gateway can read studies and retrieve objects from the archive. One source of instances is sufficient.
    pub(super) fn can_read_studies(&self) -> bool {
        self.studies.is_success()
            && self.series.is_success()
            && (self.metadata.is_success() || self.instances.is_success())
            && self.retrieval.is_success()
    }

    /// Whether the gateway can read studies from the archive and use its WADO-URI service and change feed, if they are configured.
    pub(super) fn is_usable(&self) -> bool {
        self.can_read_studies() && self.uri_service.is_success() && self.change_feed.is_success()
    }

    /// Whether the archive returned no study, so the other requests could not be tried.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self.studies, ProbeResult::Rows(0, _))
    }
}

/// The studies of an archive, and the series that is tried.
struct FoundSeries {
    /// The first studies with their rows, which begin with the study of the series.
    studies: Vec<(StudyUid, Attributes)>,
    study: StudyUid,
    series: SeriesUid,
}

impl ArchiveToCheck {
    /// Sends the requests. `image_permits` limits the comparisons of images at the same time.
    pub(super) async fn check(&self, image_permits: &Semaphore) -> ArchiveCheck {
        let archive = &self.archive;
        let mut check = ArchiveCheck::new(archive);
        check.change_feed = try_change_feed(archive).await;
        let Some(found) = self.find_series(&mut check).await else { return check };
        // An archive that fails meanwhile is reported for the other requests.
        check.findings = archive.probe().await.ok().flatten();
        let FoundSeries { studies, study, series } = found;
        let metadata = Retrieval::metadata(DicomResource::Series(study.clone(), series.clone()));
        let row = studies.first().map(|(_, row)| row);
        let (mut has_invalid_metadata, mut has_lost_characters, mut instance) = (false, false, None);
        check.metadata = count_rows(archive, UpstreamRequest::retrieve(metadata), |object| {
            let has = |tag| object.text(tag).is_some();
            let is_of_series = object.text(tags::SERIES_INSTANCE_UID) == Some(series.as_str());
            has_invalid_metadata |=
                !is_of_series || !has(tags::SOP_CLASS_UID) || !has(tags::SOP_INSTANCE_UID);
            has_lost_characters |= is_of_series && row.is_some_and(|row| row_lacks_characters(row, object));
        })
        .await;
        if !has_lost_characters && check.metadata.is_success() {
            has_lost_characters =
                any_row_lacks_characters(archive, studies.get(1..).unwrap_or_default()).await;
        }
        check.missing_settings.extend(has_lost_characters.then_some(MissingSetting::CharacterSet));
        check.missing_services.extend(has_invalid_metadata.then_some(Synthesized::Metadata));
        let instances =
            QidoQuery::new(SearchLevel::SeriesInstances { study: study.clone(), series: series.clone() });
        let rule = archive.uid_rule();
        let (mut lacks_parents, mut missing_settings) = (false, BTreeSet::new());
        check.instances = count_rows(archive, UpstreamRequest::search(instances), |row| {
            missing_settings.extend(missing_uid_setting(rule, row, tags::SOP_INSTANCE_UID));
            let parents = [tags::STUDY_INSTANCE_UID, tags::SERIES_INSTANCE_UID];
            lacks_parents |= parents.iter().any(|tag| row.text(*tag).is_none());
            let uid =
                row.text(tags::SOP_INSTANCE_UID).and_then(|uid| SopInstanceUid::parse_by(rule, uid).ok());
            instance = instance.take().or(uid);
        })
        .await;
        check.missing_services.extend(lacks_parents.then_some(Synthesized::Parents));
        check.missing_settings.extend(missing_settings);
        if let Some(instance) = instance {
            let object = WadoUri::new(study.clone(), series.clone(), instance.clone());
            check.uri_service = try_uri_service(archive, object).await;
            let resource = DicomResource::Instance(study.clone(), series.clone(), instance.clone());
            if !check.metadata.is_success() {
                check.retrieval = try_retrieval(archive, resource.clone()).await;
            }
            if check.retrieval.is_success() {
                let frame = DicomResource::Frames(study, series, instance, vec![1]);
                check
                    .missing_services
                    .extend(returns_no_frame(archive, frame).await.then_some(Synthesized::Frames));
                check
                    .missing_services
                    .extend(renders_incorrectly(archive, resource).await.then_some(Synthesized::Rendered));
            }
        }
        let synthesized = archive.profile().synthesized;
        check.missing_services.retain(|service| !synthesized.contains(*service));
        if !synthesized.contains(Synthesized::Rendered) && check.retrieval.is_success() {
            let studies: Vec<_> = studies.into_iter().map(|(study, _)| study).collect();
            check.images = images::check(archive, &studies, image_permits).await;
        }
        check
    }

    /// Searches for studies, and for the series of the first study. Records missing values in `check`.
    async fn find_series(&self, check: &mut ArchiveCheck) -> Option<FoundSeries> {
        let count_tags = [tags::NUMBER_OF_STUDY_RELATED_SERIES, tags::NUMBER_OF_STUDY_RELATED_INSTANCES];
        let other_tags = [
            tags::MODALITIES_IN_STUDY,
            tags::TIMEZONE_OFFSET_FROM_UTC,
            tags::ISSUER_OF_PATIENT_ID,
            tags::ISSUER_OF_PATIENT_ID_QUALIFIERS_SEQUENCE,
            tags::STUDY_DESCRIPTION,
            tags::INSTITUTION_NAME,
        ];
        let included = [count_tags.as_slice(), &other_tags].concat();
        let rule = self.archive.uid_rule();
        let studies = QidoQuery::new(SearchLevel::Studies).include(&included);
        let first = UpstreamRequest::search(studies.clone().page(1, 0));
        let (probe_result, mut rows) = read_rows(&self.archive, first).await;
        check.studies = probe_result;
        if !check.studies.is_success() {
            // A truncated list may have rows, too.
            return None;
        }
        let first = rows.drain(..).next()?;
        // The UIDs of further studies show whether the archive has others than DICOM UIDs.
        let sample = UpstreamRequest::search(studies.page(SAMPLED_STUDIES, 0));
        let (_, sample) = read_rows(&self.archive, sample).await;
        let rows: Vec<_> = std::iter::once(first).chain(sample).collect();
        check
            .missing_settings
            .extend(rows.iter().filter_map(|row| missing_uid_setting(rule, row, tags::STUDY_INSTANCE_UID)));
        let to_study = |row: Attributes| {
            let uid = row.text(tags::STUDY_INSTANCE_UID)?;
            Some((StudyUid::parse_by(rule, uid).ok()?, row))
        };
        let mut studies: Vec<_> = rows.into_iter().filter_map(to_study).collect();
        // The first row is in the sample as well.
        studies.dedup_by(|(study, _), (previous, _)| study == previous);
        let Some((study, study_row)) = studies.first() else {
            check.studies = ProbeResult::Unexpected("its rows have no valid Study Instance UID");
            return None;
        };
        let study = study.clone();
        let has_counts = count_tags.into_iter().all(|tag| study_row.integer(tag).is_some());
        if !has_counts || study_row.text(tags::MODALITIES_IN_STUDY).is_none() {
            check.missing_services.insert(Synthesized::Counts);
        }
        check.missing_settings.extend(self.find_missing_settings(study_row));

        let count_tag = tags::NUMBER_OF_SERIES_RELATED_INSTANCES;
        let series = QidoQuery::new(SearchLevel::Series { study: study.clone() }).include(&[count_tag]);
        let (probe_result, rows) = read_rows(&self.archive, UpstreamRequest::search(series)).await;
        check.series = probe_result;
        check
            .missing_settings
            .extend(rows.iter().filter_map(|row| missing_uid_setting(rule, row, tags::SERIES_INSTANCE_UID)));
        let series_of = |row: &Attributes| {
            row.text(tags::SERIES_INSTANCE_UID).and_then(|uid| SeriesUid::parse_by(rule, uid).ok())
        };
        let Some((row, series)) = rows.iter().find_map(|row| Some((row, series_of(row)?))) else {
            if let ProbeResult::Rows(..) = check.series {
                check.series = ProbeResult::Unexpected(
                    "a study that it found has no series with a valid Series Instance UID",
                );
            }
            return None;
        };
        check.missing_services.extend(row.integer(count_tag).is_none().then_some(Synthesized::Counts));
        let has_study = row.text(tags::STUDY_INSTANCE_UID).is_some();
        check.missing_services.extend((!has_study).then_some(Synthesized::Parents));
        Some(FoundSeries { studies, study, series })
    }

    fn find_missing_settings(&self, study: &Attributes) -> BTreeSet<MissingSetting> {
        let has = |tag| study.text(tag).is_some();
        let has_qualifiers = study.items(tags::ISSUER_OF_PATIENT_ID_QUALIFIERS_SEQUENCE).next().is_some();
        let needs_time_zone =
            !self.has_time_zone && has(tags::STUDY_TIME) && !has(tags::TIMEZONE_OFFSET_FROM_UTC);
        let needs_system = !self.has_patient_id_system
            && has(tags::PATIENT_ID)
            && !has(tags::ISSUER_OF_PATIENT_ID)
            && !has_qualifiers;
        let time_zone = needs_time_zone.then_some(MissingSetting::TimeZone);
        time_zone.into_iter().chain(needs_system.then_some(MissingSetting::PatientIdSystem)).collect()
    }
}

/// Returns the setting that is missing if `row` has a UID in `tag` that `rule` does not accept, but the lenient rule does.
fn missing_uid_setting(rule: UidRule, row: &Attributes, tag: Tag) -> Option<MissingSetting> {
    let uid = row.text(tag).filter(|uid| rule == UidRule::Strict && UidRule::needs_lenient(uid))?;
    Some(if is_id(uid) { MissingSetting::LenientUids } else { MissingSetting::LenientUidsWithoutFhirId })
}

/// Counts the rows of a search, and returns the first of them.
async fn read_rows(archive: &Archive, request: UpstreamRequest) -> (ProbeResult, Vec<Attributes>) {
    let started = Instant::now();
    let mut rows = Vec::new();
    let add = |row: Attributes| {
        // An archive that ignores the limit returns its whole list.
        if rows.len() < SAMPLED_STUDIES as usize {
            rows.push(row);
        }
    };
    let end = archive.rows(request, add).await;
    (to_probe_result(end.map(|outcome| outcome.row_count), started), rows)
}

/// Counts the rows of a series, and calls `inspect` for each row. No rows are an error.
async fn count_rows(
    archive: &Archive,
    request: UpstreamRequest,
    mut inspect: impl FnMut(&Attributes) + Send,
) -> ProbeResult {
    let started = Instant::now();
    let result = archive.rows(request, |row: Attributes| inspect(&row)).await;
    match to_probe_result(result.map(|outcome| outcome.row_count), started) {
        ProbeResult::Rows(0, _) => ProbeResult::Unexpected("a series that it found has no instances"),
        probe_result => probe_result,
    }
}

fn to_probe_result(rows: Result<usize, ArchiveError>, started: Instant) -> ProbeResult {
    rows.map_or_else(ProbeResult::Failed, |rows| ProbeResult::Rows(rows, started.elapsed()))
}
