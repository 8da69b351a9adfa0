//! `[[archive]]`: the connection to one upstream PACS, and the interpretation of its data.

mod credentials;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use jiff::tz::TimeZone;
use url::{Host, Url};

use super::document::Value;
use super::section::{Section, Setting};
use super::values::{
    boolean, buffer_size, count, duration, identifier_system, one_of, service_url, several_of, text,
};
use crate::upstream::{
    ArchiveId, DetailSource, PROFILES, Profile, Settings, Synthesized, SynthesizedSet, is_forbidden_address,
};
use dicom_model::UidRule;

/// The default of `timeout`. Viewers and users do not wait longer for a response.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The default of `max_concurrency`. The PACS of a clinic can process eight searches and eight metadata requests in addition to its
/// other work.
const MAX_CONCURRENCY: usize = 8;

/// The default of `min_rate`, in bytes per second. The slowest usable archives send a few kilobytes per second.
const MIN_RATE: usize = 256;

/// The default of `max_queue`: a few seconds of work for an archive that processes eight searches at once.
const MAX_QUEUE: usize = 64;

/// The default of `queue_timeout`. Most users repeat a request that takes longer, which would add to the load.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);

/// The default of `stream_buffer`, in bytes. A larger buffer does not make retrieval faster; half the size makes it 20 % slower.
const STREAM_BUFFER: usize = 400 * 1024;

/// The default of `profile`, which relies only on what the archive has shown.
const PROFILE: &str = "auto";

/// One archive as configured.
#[derive(Debug, Clone)]
pub struct ArchiveConfig {
    /// The settings of the client.
    pub settings: Settings,
    /// The time zone of times without an offset from UTC; if it is not set, such a time becomes a date.
    pub time_zone: Option<TimeZone>,
    /// The system of patient identifiers without an issuer.
    pub patient_id_system: Option<String>,
    /// The systems of issuers, by their local names.
    pub issuers: BTreeMap<String, String>,
    /// The system of accession numbers without an issuer.
    pub accession_system: Option<String>,
}

impl ArchiveConfig {
    /// Reads one archive and adds its id to `ids`. The id is part of URLs and the id of an Endpoint, so it must be unique.
    pub(super) fn read(section: &mut Section<'_>, ids: &mut BTreeSet<ArchiveId>) -> Option<Self> {
        let id = section.take_required(
            "id",
            archive_id,
            "set a short name for URLs and logs, such as id = \"main\"",
        );
        if let Some(id) = &id
            && !ids.insert(id.value.clone())
        {
            section.report_error(
                id.location.clone(),
                "id",
                format!("another archive already has the id {}", id.value),
            );
        }
        let name = section.take("name", text);
        let allow_link_local = section.take_or("allow_link_local", boolean, false);
        let urls = read_urls(section, allow_link_local);
        let wado_uri_url = section.take("wado_uri_url", |value| archive_url(value, allow_link_local));
        let profile = read_profile(section);
        let rest_url = read_rest_url(section, &profile, allow_link_local);
        let has_lenient_uids = section.take_or("lenient_uids", boolean, false);
        let time_zone = section.take("time_zone", time_zone).map(|setting| setting.value);
        let patient_id_system =
            section.take("patient_id_system", identifier_system).map(|setting| setting.value);
        let issuers = section.take_entries("issuers", identifier_system).into_iter().collect();
        let accession_system =
            section.take("accession_system", identifier_system).map(|setting| setting.value);
        let timeout = section.take_or("timeout", duration, TIMEOUT);
        let max_concurrency = section.take_or("max_concurrency", count(1, 1024), MAX_CONCURRENCY);
        let min_rate = section.take_or("min_rate", count(0, 1024 * 1024), MIN_RATE);
        let max_queue = section.take_or("max_queue", count(1, 65536), MAX_QUEUE);
        let queue_timeout = section.take_or("queue_timeout", duration, QUEUE_TIMEOUT);
        let stream_buffer = section.take_or("stream_buffer", buffer_size, STREAM_BUFFER);
        let credentials = section.read_table("auth", credentials::read);
        let ca = section.read_table("tls", |section| Some(read_ca(section)));
        let (id, (qido_url, wado_url)) = (id?.value, urls?);
        Some(Self {
            settings: Settings {
                name: name.map_or_else(|| id.to_string(), |setting| setting.value),
                id,
                qido_url,
                wado_url,
                wado_uri_url: wado_uri_url.map(|setting| setting.value),
                rest_url,
                profile,
                uid_rule: if has_lenient_uids { UidRule::Lenient } else { UidRule::Strict },
                credentials: credentials?,
                timeout,
                min_rate,
                max_concurrency,
                max_queue,
                queue_timeout,
                stream_buffer,
                allow_link_local,
                ca: ca?,
            },
            time_zone,
            patient_id_system,
            issuers,
            accession_system,
        })
    }
}

fn archive_id(value: &Value) -> Result<ArchiveId, String> {
    let text = text(value)?;
    ArchiveId::parse(&text).map_err(|error| error.to_string())
}

/// Reads a URL of an archive. An IP address in it needs no name lookup, so it is checked here.
fn archive_url(value: &Value, allow_link_local: bool) -> Result<Url, String> {
    let url = service_url(value)?;
    let address = match url.host() {
        Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
        Some(Host::Domain(_)) | None => None,
    };
    match address {
        Some(address) if is_forbidden_address(address) && !allow_link_local => Err(format!(
            "{address} is link-local or reserved, which is blocked; if it is intended, set allow_link_local = true"
        )),
        _ => Ok(url),
    }
}

/// Reads the URLs of QIDO-RS and WADO-RS: either `url` for both, or `qido_url` and `wado_url`.
fn read_urls(section: &mut Section<'_>, allow_link_local: bool) -> Option<(Url, Url)> {
    let service_url = |value: &Value| archive_url(value, allow_link_local);
    let has_url = section.is_set("url");
    let has_separate_urls = section.is_set("qido_url") || section.is_set("wado_url");
    let url = section.take("url", service_url);
    if has_url && has_separate_urls {
        if let Some(Setting { location, .. }) = url {
            let message = "url is for both services; set either url, or qido_url and wado_url".to_owned();
            section.report_error(location, "url", message);
        }
        // The keys are read so that their errors are reported too.
        let _ = (section.take("qido_url", service_url), section.take("wado_url", service_url));
        return None;
    }
    if !has_separate_urls {
        let expected = "set the root URL of the archive's DICOMweb services, such as \"https://pacs.example.org/dicom-web\", or \
                        qido_url and wado_url if they differ";
        if !has_url {
            section.report_missing("url", expected);
        }
        // The keys are taken so that they count as known keys.
        let _ = (section.take("qido_url", service_url), section.take("wado_url", service_url));
        let url = url?.value;
        return Some((url.clone(), url));
    }
    let qido = section.take_required("qido_url", service_url, "set it too, because wado_url is set");
    let wado = section.take_required("wado_url", service_url, "set it too, because qido_url is set");
    Some((qido?.value, wado?.value))
}

fn read_profile(section: &mut Section<'_>) -> Profile {
    let names: Vec<_> = PROFILES.iter().map(|profile| (profile.name, profile.name)).collect();
    let name = section.take_or("profile", one_of(&names), PROFILE);
    let mut profile = Profile::find(name).unwrap_or_default();
    let sources =
        [("auto", None), ("metadata", Some(DetailSource::Metadata)), ("qido", Some(DetailSource::Qido))];
    if let Some(source) = section.take_or("detail", one_of(&sources), None) {
        profile.detail = source;
    }
    // The services are added to those of the profile, because every archive of a product lacks the services that the product
    // lacks.
    let synthesized = section.take_or("synthesize", several_of(&Synthesized::NAMES), BTreeSet::new());
    profile.synthesized = synthesized.into_iter().fold(profile.synthesized, SynthesizedSet::with);
    profile
}

/// Reads the URL of the REST API with the change feed, which depends on the product.
fn read_rest_url(section: &mut Section<'_>, profile: &Profile, allow_link_local: bool) -> Option<Url> {
    let Setting { value, location } =
        section.take("rest_url", |value| archive_url(value, allow_link_local))?;
    if !profile.has_change_feed {
        let message = format!("the profile {} has no change feed; remove rest_url", profile.name);
        section.report_error(location, "rest_url", message);
        return None;
    }
    Some(value)
}

fn time_zone(value: &Value) -> Result<TimeZone, String> {
    let expected = "expected the name of a time zone, such as \"Europe/Berlin\" or \"UTC\"";
    let text = text(value).map_err(|_| expected.to_owned())?;
    TimeZone::get(&text).map_err(|_| format!("{expected}; {text:?} is unknown"))
}

/// Reads the file with the CA certificates that are trusted for the archive (PEM).
fn read_ca(section: &mut Section<'_>) -> Option<Vec<u8>> {
    let Setting { value, location } = section.take("ca", text)?;
    let path = section.resolve_path(&PathBuf::from(value));
    let problem = match std::fs::read(&path) {
        Ok(pem) if memchr::memmem::find(&pem, b"-----BEGIN CERTIFICATE-----").is_some() => return Some(pem),
        Ok(_) => "contains no PEM certificate".to_owned(),
        Err(error) => format!("cannot be read: {error}"),
    };
    section.report_error(location, "ca", format!("{} {problem}", path.display()));
    None
}
