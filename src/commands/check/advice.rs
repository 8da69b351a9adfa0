//! Explains why an archive does not work, and which settings to change: each cause in one sentence, with the setting that it
//! concerns.

use http::StatusCode;

use super::probe::{ArchiveCheck, MissingSetting, ProbeResult, ServiceAddress};
use crate::upstream::{ArchiveErrorKind, DetailSource, Synthesized};
use dicom_model::json::reader::RowError;

/// The names of the requests whose failure shows that a URL is probably wrong.
const STUDIES: &str = "search for studies";
const RETRIEVAL: &str = "retrieval of an instance";
const CHANGE_FEED: &str = "change feed";

impl ArchiveCheck {
    /// Returns the problem of each request that failed and of each image that is wrong, with the name of the request.
    pub(super) fn problems(&self) -> Vec<(String, String)> {
        let addresses = &self.addresses;
        let requests = [
            (STUDIES, &self.studies, &addresses.qido),
            ("search for series", &self.series, &addresses.qido),
            ("metadata of a series", &self.metadata, &addresses.wado),
            ("search for instances", &self.instances, &addresses.qido),
            (RETRIEVAL, &self.retrieval, &addresses.wado),
            ("WADO-URI", &self.uri_service, &addresses.wado_uri),
            (CHANGE_FEED, &self.change_feed, &addresses.rest),
        ];
        let mut problems = Vec::new();
        for (request, result, address) in requests {
            let problem = match result {
                ProbeResult::Rows(..) | ProbeResult::NotTried => continue,
                ProbeResult::Unexpected(problem) => (*problem).to_owned(),
                ProbeResult::Failed(error) => {
                    let problem = explain(&error.kind, address);
                    match self.url_hint(request, &error.kind) {
                        Some(hint) => format!("{problem}; {hint}"),
                        None => problem,
                    }
                }
            };
            problems.push((request.to_owned(), problem));
        }
        let images = self.images.findings.iter();
        problems.extend(
            images.map(|finding| (format!("rendered image, {}", finding.image), finding.problem.to_string())),
        );
        problems.extend(self.images.stop.map(|reason| ("rendered images".to_owned(), reason.to_string())));
        problems
    }

    /// Returns what to change in the configuration if the URL of a service is probably wrong, because `request` failed with `kind`.
    fn url_hint(&self, request: &str, kind: &ArchiveErrorKind) -> Option<&'static str> {
        use ArchiveErrorKind as Kind;
        let is_wrong_path = matches!(
            kind,
            Kind::NotFound
                | Kind::NoSearchService(_)
                | Kind::Rejected(StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED)
        );
        let is_wrong_server = matches!(
            kind,
            Kind::Unreachable(_) | Kind::ForbiddenAddress | Kind::Malformed(_) | Kind::Unreadable(_)
        );
        match request {
            // Orthanc responds with 400 to a search below another root.
            STUDIES if matches!(kind, Kind::Rejected(StatusCode::BAD_REQUEST)) => Some(
                "check url: a server that speaks TLS needs https://, and the root of Orthanc is /dicom-web, that of dcm4chee \
                 /dcm4chee-arc/aets/DCM4CHEE/rs",
            ),
            STUDIES if is_wrong_path => Some(
                "check url (the root of Orthanc is /dicom-web, that of dcm4chee /dcm4chee-arc/aets/DCM4CHEE/rs)",
            ),
            RETRIEVAL if is_wrong_path || is_wrong_server => {
                Some(if self.addresses.wado == self.addresses.qido {
                    "searches work at the same root: set wado_url if the archive retrieves at another one"
                } else {
                    "check wado_url"
                })
            }
            CHANGE_FEED if is_wrong_path || is_wrong_server => {
                Some("check rest_url (the root of Orthanc's REST API, without /dicom-web)")
            }
            _ => None,
        }
    }

    /// Returns the settings to change, with the reasons.
    pub(super) fn hints(&self) -> Vec<&'static str> {
        if self.is_empty() {
            return vec![
                "the search found no study, so nothing else could be tried; if the archive has studies, the account may not \
                 see them",
            ];
        }
        let source_hint = match (&self.metadata, &self.instances, self.profile.detail) {
            (ProbeResult::Rows(..), ProbeResult::Rows(..), _) | (ProbeResult::NotTried, ..) => None,
            (ProbeResult::Rows(..), _, DetailSource::Qido) => Some(
                "set detail = \"metadata\": the search for instances, which the gateway tries first, does not work",
            ),
            (_, ProbeResult::Rows(..), DetailSource::Metadata) if self.retrieval.is_success() => {
                Some("set detail = \"qido\": metadata of series, which the gateway tries first, do not work")
            }
            _ => None,
        };
        let setting_hints = self.missing_settings.iter().map(|setting| match setting {
            MissingSetting::TimeZone => {
                "set time_zone: its times have no time zone, so ImagingStudy.started is a date only"
            }
            MissingSetting::LenientUids => {
                "set lenient_uids = true: some of its UIDs are not DICOM UIDs (PS3.5 9.1), so these studies, series or instances are omitted"
            }
            MissingSetting::LenientUidsWithoutFhirId => {
                "set lenient_uids = true: some of its UIDs are neither DICOM UIDs (PS3.5 9.1) nor ids of FHIR (R4 datatypes#id), so these studies, series or instances are omitted; with the key, DICOMweb returns them, but FHIR does not"
            }
            MissingSetting::CharacterSet => {
                "set the character set of its search results to UTF-8 (\"DefaultEncoding\": \"Utf8\" in the configuration of Orthanc). Its rows lack \
                 characters that its metadata has, so names are wrong"
            }
            MissingSetting::PatientIdSystem => {
                "set patient_id_system: its patient ids have no issuer, so Patient.identifier has no system"
            }
        });
        let renders_wrongly =
            self.images.should_be_synthesized() && !self.missing_services.contains(&Synthesized::Rendered);
        let image_hint = renders_wrongly.then_some(
            "add \"rendered\" to synthesize: it does not render all images correctly (the gateway then renders all images from the objects)",
        );
        source_hint
            .into_iter()
            .chain(self.profile_hint())
            .chain(image_hint)
            .chain(self.missing_services.iter().copied().map(synthesis_hint))
            .chain(setting_hints)
            .collect()
    }
}

impl ArchiveCheck {
    /// Returns the profile to set, if the archive contradicts the configured one, or can do more than that relies on.
    fn profile_hint(&self) -> Option<&'static str> {
        let (profile, findings) = (self.profile, self.findings.as_ref()?);
        if profile.is_probed {
            return None;
        }
        if profile.uid_lists && findings.uid_lists == Some(false) {
            return Some(
                "set profile = \"auto\": it does not understand lists of UIDs, on which its profile relies",
            );
        }
        if profile.include_style != findings.include_style {
            return Some(
                "set profile = \"auto\": it does not accept `includefield` in the form of its profile",
            );
        }
        let needs_fewer_calls = profile.short_page_limit < findings.short_page_limit
            || !profile.series_by_uid_lists && findings.series_by_uid_lists == Some(true);
        needs_fewer_calls.then_some("set profile = \"auto\": then its lists need fewer calls")
    }
}

/// Explains the cause of an error, with details for operators only: the host, the path and the permissions of the account.
fn explain(kind: &ArchiveErrorKind, address: &ServiceAddress) -> String {
    match kind {
        ArchiveErrorKind::Unreachable(_) | ArchiveErrorKind::ForbiddenAddress => {
            format!("{kind} ({})", address.host)
        }
        ArchiveErrorKind::NoSearchService(_) => format!("{}/studies does not exist there", address.path),
        ArchiveErrorKind::Unauthorized(status) if *status == StatusCode::FORBIDDEN => format!(
            "this account may not do that (status {}): check its permissions in the archive, and [archive.auth]",
            status.as_u16()
        ),
        ArchiveErrorKind::Malformed(RowError::NotAnArray("markup")) => {
            format!("{kind}; is it a login page, or is there a proxy in between?")
        }
        kind => kind.to_string(),
    }
}

fn synthesis_hint(service: Synthesized) -> &'static str {
    match service {
        Synthesized::Metadata => {
            "add \"metadata\" to synthesize: its metadata contain instances of other series, or instances without a SOP Class UID"
        }
        Synthesized::Frames => {
            "add \"frames\" to synthesize: it returns something other than pixel data for a frame"
        }
        Synthesized::Rendered => {
            "add \"rendered\" to synthesize: it returns something other than an image for a rendered instance"
        }
        Synthesized::Counts => {
            "add \"counts\" to synthesize if viewers need them: its rows lack counts or modalities"
        }
        Synthesized::Parents => {
            "add \"parents\" to synthesize: its rows lack the UID of the study or series above them"
        }
    }
}
