//! The command `check`: what each archive can do, and how fast, found out by asking it what the gateway would.
//!
//! One study is looked for, and what lies below it read in both ways that there are. Nothing that is read is shown: the
//! table holds counts and times alone.

use std::collections::BTreeSet;
use std::fmt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use http::{HeaderValue, StatusCode, header};
use http_body_util::BodyExt;
use url::Url;

use super::print;
use super::serve::read_tls;
use crate::config::Config;
use crate::telemetry::Metrics;
use crate::upstream::{
    Archive, ArchiveError, ArchiveErrorKind, ArchiveId, DetailSource, DicomResource, QidoQuery, Rendering,
    Retrieval, SearchLevel, Settings, Synthesized, UpstreamRequest, WadoUri,
};
use dicom_model::{Attributes, SeriesUid, SopInstanceUid, StudyUid, tags};

/// Prints the table; exit code 1 if the gateway cannot work with one of the archives.
pub(super) async fn run(config: &Config) -> anyhow::Result<ExitCode> {
    read_tls(config)?;
    let archives =
        config.archives.iter().map(|archive| Archive::new(archive.settings.clone(), Metrics::default()));
    let checks = check(archives.collect::<Result<Vec<_>, _>>()?).await;
    print(format_args!("The configuration is valid."))?;
    for warning in &config.warnings {
        print(format_args!("Warning: {warning}"))?;
    }
    print(format_args!("\n{checks}"))?;
    Ok(if checks.all_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The preamble and the prefix.
const HEAD_OF_AN_OBJECT: usize = 132;

/// What one archive answered to one question.
#[derive(Debug, Clone)]
enum Finding {
    /// It was not asked, as there was nothing to ask about.
    NotAsked,
    /// So many rows, after so long.
    Rows(usize, Duration),
    /// It failed.
    Failed(ArchiveError),
    /// It answered, but not with what was asked for.
    Wrong(&'static str),
}

/// What one archive can do.
#[derive(Debug, Clone)]
pub struct ArchiveCheck {
    archive: ArchiveId,
    /// Its hosts, as an operator must know which one cannot be reached: the one of searches, of retrievals and of WADO-URI.
    hosts: Hosts,
    /// Where instances are read from first.
    first_source: DetailSource,
    studies: Finding,
    series: Finding,
    metadata: Finding,
    instances: Finding,
    uri_service: Finding,
    /// What it lacks or does badly, and the gateway is not told to make.
    lacking: BTreeSet<Synthesized>,
}

/// `host` or `host:port` of each service of an archive.
#[derive(Debug, Clone, Default)]
struct Hosts {
    qido: String,
    wado: String,
    wado_uri: String,
}

impl Hosts {
    fn of(settings: &Settings) -> Self {
        let host = |url: &Url| {
            let host = url.host_str().unwrap_or_default();
            url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
        };
        Self {
            qido: host(&settings.qido_url),
            wado: host(&settings.wado_url),
            wado_uri: settings.wado_uri_url.as_ref().map(host).unwrap_or_default(),
        }
    }
}

/// What every archive can do; printed as a table.
#[derive(Debug, Clone, Default)]
pub struct Checks(Vec<ArchiveCheck>);

impl Checks {
    /// Whether the gateway can work with every archive.
    pub fn all_well(&self) -> bool {
        self.0.iter().all(ArchiveCheck::is_well)
    }
}

/// Asks every one of `archives`, all at once.
pub async fn check(archives: impl IntoIterator<Item = Archive>) -> Checks {
    let tasks: Vec<_> =
        archives.into_iter().map(|archive| tokio::spawn(async move { check_one(&archive).await })).collect();
    let mut checks = Checks::default();
    for task in tasks {
        checks.0.extend(task.await);
    }
    checks
}

async fn check_one(archive: &Archive) -> ArchiveCheck {
    let mut check = ArchiveCheck {
        archive: archive.id().clone(),
        hosts: Hosts::of(archive.settings()),
        first_source: archive.profile().detail,
        studies: Finding::NotAsked,
        series: Finding::NotAsked,
        metadata: Finding::NotAsked,
        instances: Finding::NotAsked,
        uri_service: Finding::NotAsked,
        lacking: BTreeSet::new(),
    };
    let counts = [tags::NUMBER_OF_STUDY_RELATED_SERIES, tags::NUMBER_OF_STUDY_RELATED_INSTANCES];
    let told = [counts.as_slice(), &[tags::MODALITIES_IN_STUDY]].concat();
    let studies = QidoQuery::new(SearchLevel::Studies).include(&told).page(1, 0);
    let (finding, row) = ask_for_rows(archive, UpstreamRequest::search(studies)).await;
    check.studies = finding;
    let Some(row) = row else { return check };
    let Some(study) = row.text(tags::STUDY_INSTANCE_UID).and_then(|uid| StudyUid::parse(uid).ok()) else {
        check.studies = Finding::Wrong("its rows hold no valid Study Instance UID");
        return check;
    };

    let is_told = |tag| row.integer(tag).is_some();
    if row.text(tags::MODALITIES_IN_STUDY).is_none() || !counts.into_iter().all(is_told) {
        check.lacking.insert(Synthesized::Counts);
    }

    let count = tags::NUMBER_OF_SERIES_RELATED_INSTANCES;
    let series = QidoQuery::new(SearchLevel::Series { study: study.clone() }).include(&[count]);
    let (finding, row) = ask_for_rows(archive, UpstreamRequest::search(series)).await;
    check.series = finding;
    let series = row.as_ref().and_then(|row| row.text(tags::SERIES_INSTANCE_UID));
    let Some(series) = series.and_then(|uid| SeriesUid::parse(uid).ok()) else {
        if let Finding::Rows(..) = check.series {
            check.series =
                Finding::Wrong("a study that it found has no series with a valid Series Instance UID");
        }
        return check;
    };

    if let Some(row) = &row {
        check.lacking.extend(row.integer(count).is_none().then_some(Synthesized::Counts));
        check.lacking.extend(row.text(tags::STUDY_INSTANCE_UID).is_none().then_some(Synthesized::Parents));
    }

    let metadata = Retrieval::metadata(DicomResource::Series(study.clone(), series.clone()));
    let (mut is_of_others, mut instance) = (false, None);
    check.metadata = count_rows(archive, UpstreamRequest::retrieve(metadata), |row| {
        let told = |tag| row.text(tag).is_some();
        let is_of_series = row.text(tags::SERIES_INSTANCE_UID) == Some(series.as_str());
        is_of_others |= !is_of_series || !told(tags::SOP_CLASS_UID) || !told(tags::SOP_INSTANCE_UID);
    })
    .await;
    check.lacking.extend(is_of_others.then_some(Synthesized::Metadata));
    let instances =
        QidoQuery::new(SearchLevel::SeriesInstances { study: study.clone(), series: series.clone() });
    let mut is_without_parents = false;
    check.instances = count_rows(archive, UpstreamRequest::search(instances), |row| {
        let parents = [tags::STUDY_INSTANCE_UID, tags::SERIES_INSTANCE_UID];
        is_without_parents |= parents.iter().any(|tag| row.text(*tag).is_none());
        let uid = row.text(tags::SOP_INSTANCE_UID).and_then(|uid| SopInstanceUid::parse(uid).ok());
        instance = instance.take().or(uid);
    })
    .await;
    check.lacking.extend(is_without_parents.then_some(Synthesized::Parents));
    if let Some(instance) = instance {
        let object = WadoUri::new(study.clone(), series.clone(), instance.clone());
        check.uri_service = ask_uri_service(archive, object).await;
        let is_drawn_badly = draws_badly(archive, DicomResource::Instance(study, series, instance)).await;
        check.lacking.extend(is_drawn_badly.then_some(Synthesized::Rendered));
    }
    let supplied = archive.profile().supplied;
    check.lacking.retain(|supply| !supplied.has(*supply));
    check
}

/// Where one is configured: whether it gives the object itself, of which no more is read than shows that it is one (PS3.10 7.1).
async fn ask_uri_service(archive: &Archive, object: WadoUri) -> Finding {
    let request = object
        .with("contentType", "application/dicom")
        .ok()
        .and_then(|object| UpstreamRequest::wado_uri(archive.settings(), object));
    let Some(request) = request else { return Finding::NotAsked };
    let started = Instant::now();
    let mut answer = match archive.send(request).await {
        Ok(answer) => answer,
        Err(error) => return Finding::Failed(error),
    };
    if answer.status != StatusCode::OK {
        return Finding::Wrong("it refused an object that the archive holds; is wado_uri_url right?");
    }
    let mut start = Vec::new();
    while start.len() < HEAD_OF_AN_OBJECT {
        match answer.body.frame().await {
            Some(Ok(frame)) => start.extend_from_slice(frame.data_ref().map_or(&[], |data| &data[..])),
            Some(Err(error)) => return Finding::Failed(error),
            None => break,
        }
    }
    if start.get(..HEAD_OF_AN_OBJECT).is_some_and(|head| head.ends_with(b"DICM")) {
        Finding::Rows(1, started.elapsed())
    } else {
        Finding::Wrong("it answered with something that is no DICOM object; is wado_uri_url right?")
    }
}

/// Whether it answers with something else where a picture is asked for. Where it refuses, the gateway draws, and nothing need
/// be said.
async fn draws_badly(archive: &Archive, instance: DicomResource) -> bool {
    let rendered = Retrieval::rendered(instance, Rendering::default());
    let request = UpstreamRequest::retrieve(rendered).accepting(HeaderValue::from_static("image/jpeg"));
    archive.send(request).await.is_ok_and(|answer| {
        let content_type = answer.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        answer.status == StatusCode::OK && !content_type.is_some_and(|text| text.starts_with("image/"))
    })
}

/// The first row too.
async fn ask_for_rows(archive: &Archive, request: UpstreamRequest) -> (Finding, Option<Attributes>) {
    let started = Instant::now();
    let mut first = None;
    let end = archive
        .rows(request, |row: Attributes| {
            first.get_or_insert(row);
        })
        .await;
    (finding(end.map(|end| end.rows), started), first)
}

async fn count_rows(
    archive: &Archive,
    request: UpstreamRequest,
    mut each: impl FnMut(&Attributes) + Send,
) -> Finding {
    let started = Instant::now();
    let end = archive.rows(request, |row: Attributes| each(&row)).await;
    match finding(end.map(|end| end.rows), started) {
        Finding::Rows(0, _) => Finding::Wrong("a series that it found holds no instances"),
        finding => finding,
    }
}

fn finding(rows: Result<usize, ArchiveError>, started: Instant) -> Finding {
    rows.map_or_else(Finding::Failed, |rows| Finding::Rows(rows, started.elapsed()))
}

impl Finding {
    fn is_good(&self) -> bool {
        matches!(self, Self::Rows(..) | Self::NotAsked)
    }

    /// What is wrong, in words, with the `host` that cannot be reached.
    fn complaint(&self, host: &str) -> Option<String> {
        match self {
            Self::Failed(error) if matches!(error.kind, ArchiveErrorKind::Unreachable(_)) => {
                Some(format!("{} ({host})", error.kind))
            }
            Self::Failed(error) => Some(error.kind.to_string()),
            Self::Wrong(complaint) => Some((*complaint).to_owned()),
            Self::Rows(..) | Self::NotAsked => None,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::NotAsked => "-".to_owned(),
            Self::Rows(rows, duration) => format!("{rows} in {} ms", duration.as_millis()),
            Self::Failed(error) => error.label().to_owned(),
            Self::Wrong(_) => "wrong".to_owned(),
        };
        formatter.pad(&text)
    }
}

impl ArchiveCheck {
    /// One way to the instances is enough: the other stands in for it.
    fn gives_studies(&self) -> bool {
        self.studies.is_good()
            && self.series.is_good()
            && (self.metadata.is_good() || self.instances.is_good())
    }

    fn is_well(&self) -> bool {
        self.gives_studies() && self.uri_service.is_good()
    }

    fn questions(&self) -> [(&'static str, &Finding, &str); 5] {
        let Hosts { qido, wado, wado_uri } = &self.hosts;
        [
            ("search for studies", &self.studies, qido),
            ("search for series", &self.series, qido),
            ("metadata of a series", &self.metadata, wado),
            ("search for instances", &self.instances, qido),
            ("WADO-URI", &self.uri_service, wado_uri),
        ]
    }
}

impl fmt::Display for Checks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{:<20} {:<18} {:<18} {:<18} {:<18} {:<18} verdict",
            "archive", "studies", "series", "metadata", "instances", "WADO-URI"
        )?;
        for check in &self.0 {
            let verdict = match (check.is_well(), check.uri_service.is_good()) {
                (true, _) => "works",
                (false, false) if check.gives_studies() => "works, WADO-URI DOES NOT",
                _ => "DOES NOT WORK",
            };
            writeln!(
                formatter,
                "{:<20} {:<18} {:<18} {:<18} {:<18} {:<18} {verdict}",
                check.archive.as_str(),
                check.studies,
                check.series,
                check.metadata,
                check.instances,
                check.uri_service
            )?;
        }
        for check in &self.0 {
            for (question, finding, host) in check.questions() {
                if let Some(complaint) = finding.complaint(host) {
                    writeln!(formatter, "{}: {question}: {complaint}", check.archive)?;
                }
            }
            if let Some(hint) = check.hint() {
                writeln!(formatter, "{}: {hint}", check.archive)?;
            }
            for supply in &check.lacking {
                writeln!(formatter, "{}: {}", check.archive, advice(*supply))?;
            }
        }
        Ok(())
    }
}

/// What to do about what is lacking.
fn advice(supply: Synthesized) -> &'static str {
    match supply {
        Synthesized::Metadata => {
            "add \"metadata\" to synthesize: its metadata hold objects of other series, or none that tell their SOP Class UID"
        }
        Synthesized::Rendered => {
            "add \"rendered\" to synthesize: it answers with something else where a picture is asked for"
        }
        Synthesized::Counts => {
            "add \"counts\" to synthesize if viewers need them: its rows lack counts or modalities"
        }
        Synthesized::Parents => {
            "add \"parents\" to synthesize: its rows lack the UIDs of the study or series that they lie below"
        }
    }
}

impl ArchiveCheck {
    /// What a change of the configuration could make better.
    fn hint(&self) -> Option<&'static str> {
        if matches!(self.studies, Finding::Rows(0, _)) {
            return Some("it holds no study, so nothing more could be tried");
        }
        match (&self.metadata, &self.instances, self.first_source) {
            (Finding::Rows(..), Finding::Rows(..), _) | (Finding::NotAsked, ..) => None,
            (Finding::Rows(..), _, DetailSource::Qido) => Some(
                "set detail = \"metadata\": the search for instances, which is asked first, does not work",
            ),
            (_, Finding::Rows(..), DetailSource::Metadata) => {
                Some("set detail = \"qido\": the metadata, which are asked for first, do not work")
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::ConnectFailure;

    fn checked(studies: Finding, metadata: Finding, instances: Finding) -> Checks {
        let series = studies.clone();
        let archive = ArchiveId::parse("main").unwrap();
        Checks(vec![ArchiveCheck {
            archive,
            hosts: Hosts::default(),
            first_source: DetailSource::Metadata,
            studies,
            series,
            metadata,
            instances,
            uri_service: Finding::NotAsked,
            lacking: BTreeSet::from([Synthesized::Counts]),
        }])
    }

    fn failed() -> Finding {
        Finding::Failed(ArchiveError {
            archive: ArchiveId::parse("main").unwrap(),
            kind: ArchiveErrorKind::Unreachable(ConnectFailure::Refused),
        })
    }

    fn rows(rows: usize) -> Finding {
        Finding::Rows(rows, Duration::from_millis(12))
    }

    #[test]
    fn an_archive_works_when_one_way_to_its_instances_does() {
        assert!(checked(rows(1), rows(9), rows(9)).all_well());
        let checks = checked(rows(1), failed(), rows(9));
        assert!(checks.all_well() && checks.to_string().contains("set detail = \"qido\""));
        assert!(!checked(rows(1), failed(), failed()).all_well());
        assert!(!checked(failed(), Finding::NotAsked, Finding::NotAsked).all_well());
    }

    #[test]
    fn the_table_tells_counts_times_and_what_is_wrong() {
        let table = checked(rows(1), failed(), rows(9)).to_string();
        assert!(table.contains("1 in 12 ms") && table.contains("works"), "{table}");
        assert!(table.contains("main: metadata of a series: cannot be reached"), "{table}");
        assert!(table.contains("main: add \"counts\" to synthesize"), "{table}");
        let empty = checked(rows(0), Finding::NotAsked, Finding::NotAsked);
        assert!(empty.all_well() && empty.to_string().contains("holds no study"));
    }
}
