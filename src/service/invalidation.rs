//! `POST /invalidate` of the admin listener: invalidates the cached data of a study, a patient or an archive, so that it is not
//! used before it has been read again. The caller sends the admin token (RFC 6750 2.1); without a configured token there is no
//! such route.
//!
//! The body names the data to invalidate. The URL does not, because a URL with the identifier of a patient would be in the logs
//! of proxies.

use http::{HeaderMap, HeaderValue, Request, Response, header};
use secrecy::{ExposeSecret, SecretString};

use super::{Service, body};
use crate::error::{self, Failure};
use crate::fingerprint::short_hash;
use crate::studies::Selection;
use crate::upstream::ArchiveId;
use dicom_model::StudyUid;
use http_messages::body::{Body, full};
use http_server::RequestBody;

/// The path of the route.
const PATH: &str = "/invalidate";

/// The numbers of studies and DICOMweb responses that were invalidated.
#[derive(Debug, Default)]
struct Invalidated {
    study_count: usize,
    response_count: usize,
}

impl Service {
    /// Whether the admin listener has this route.
    pub fn has_admin_action(&self, path: &str) -> bool {
        self.context.admin_token.is_some() && path == PATH
    }

    /// Responds to a POST of the admin listener; `None` if there is no such route.
    pub async fn respond_to_admin(&self, request: Request<RequestBody>) -> Option<Response<Body>> {
        let token = self.context.admin_token.as_ref().filter(|_| request.uri().path() == PATH)?;
        let (parts, body) = request.into_parts();
        let response = if !is_authorized(&parts.headers, token) {
            Err(Failure::wrong_admin_token())
        } else if parts.uri.query().is_some() {
            Err(Failure::bad_request("invalid", "The parameters must be in the body, not in the URL."))
        } else {
            self.invalidate(&parts.headers, body).await
        };
        Some(response.unwrap_or_else(|failure| error::error_response(&failure)))
    }

    async fn invalidate(&self, headers: &HeaderMap, body: RequestBody) -> Result<Response<Body>, Failure> {
        let pairs = body::read_form(headers, body).await?;
        let selections = pairs
            .iter()
            .map(|(name, value)| self.parse_selection(name, value))
            .collect::<Result<Vec<_>, _>>()?;
        if selections.is_empty() {
            return Err(Failure::bad_request(
                "required",
                "Name a study, a patient or an archive in the body.",
            ));
        }
        let mut total = Invalidated::default();
        for selection in &selections {
            let invalidated = self.invalidate_selection(selection).await;
            total.study_count += invalidated.study_count;
            total.response_count += invalidated.response_count;
        }
        tracing::info!(
            studies = total.study_count,
            responses = total.response_count,
            "cached data was invalidated"
        );
        let json = format!("{{\"studies\":{},\"responses\":{}}}\n", total.study_count, total.response_count);
        let mut response = Response::new(full(json));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }

    fn parse_selection(&self, name: &str, value: &str) -> Result<Selection, Failure> {
        match name {
            "study" => {
                StudyUid::parse_by(self.fhir.studies.uid_rule(), value).map(Selection::Study).map_err(|_| {
                    Failure::bad_request("value", "Parameter study: expected a Study Instance UID.")
                })
            }
            "patient" => {
                let (system, value) = match value.split_once('|') {
                    Some((system, value)) => (Some(system).filter(|system| !system.is_empty()), value),
                    None => (None, value),
                };
                if value.is_empty() {
                    return Err(Failure::bad_request(
                        "value",
                        "Parameter patient: expected a PatientID, or system|value.",
                    ));
                }
                Ok(Selection::Patient { system: system.map(str::to_owned), value: value.to_owned() })
            }
            "archive" => {
                let id = ArchiveId::parse(value).ok().filter(|id| self.federation.archive(id).is_some());
                id.map(Selection::Archive).ok_or_else(Failure::unknown_archive)
            }
            _ => Err(Failure::bad_request(
                "not-supported",
                "A parameter is unknown; the parameters are study, patient and archive.",
            )),
        }
    }

    async fn invalidate_selection(&self, selection: &Selection) -> Invalidated {
        let found = self.fhir.studies.invalidate(selection).await;
        let response_count = self.context.response_cache.invalidate(|archive, study| match selection {
            Selection::Study(uid) => uid == study,
            Selection::Archive(id) => id == archive,
            // The cache does not know the patient of a response. If the study is not in the cache, it may belong to any patient.
            Selection::Patient { .. } => !found.others.contains(study) || found.selected.contains(study),
        });
        Invalidated { study_count: found.selected.len(), response_count }
    }
}

/// Whether the request has the token. The comparison takes the same time for every token.
fn is_authorized(headers: &HeaderMap, token: &SecretString) -> bool {
    let line = headers.get(header::AUTHORIZATION).and_then(|line| line.to_str().ok());
    let credentials = line.and_then(|line| line.split_once(' '));
    let bearer_token = credentials.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let hash = |token: &str| short_hash::<32>([token.as_bytes()]);
    bearer_token.is_some_and(|(_, bearer_token)| {
        let (bearer_token, expected) = (hash(bearer_token.trim()), hash(token.expose_secret()));
        aws_lc_rs::constant_time::verify_slices_are_equal(&bearer_token, &expected).is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_of_the_bearer_scheme_is_accepted() {
        let token = SecretString::from("secret-token");
        let is_accepted = |line: &'static str| {
            let headers = [(header::AUTHORIZATION, HeaderValue::from_static(line))].into_iter().collect();
            is_authorized(&headers, &token)
        };
        assert!(is_accepted("Bearer secret-token") && is_accepted("bearer  secret-token"));
        for line in
            ["Bearer secret-toke", "Bearer secret-token2", "Basic secret-token", "secret-token", "Bearer "]
        {
            assert!(!is_accepted(line), "{line}");
        }
        assert!(!is_authorized(&HeaderMap::new(), &token));
    }
}
