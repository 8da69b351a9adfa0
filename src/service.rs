//! The processing of a request: route → access → public URL → handler → response. Every response, including that to a rejected
//! request, has a request id, is counted, and is logged in one line without patient data. The handler has a deadline, at which it is
//! dropped: this cancels the calls to the archives that no other request uses. The body of a response has none.

mod body;
mod invalidation;

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use body::MeasuredBody;
use futures_util::FutureExt;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body as _;
use secrecy::SecretString;

use crate::auth::{Access, Authentication, Authenticator};
use crate::dicomweb::{self, DicomwebError, DicomwebRequest, Federation, PathError, ResponseCache, Target};
use crate::error::{self, Failure, FailureCause};
use crate::fhir::{self, FhirContext, FhirRequest};
use crate::http::accepted_hosts::AcceptedHosts;
use crate::http::cors::Cors;
use crate::http::forwarded::{PublicBase, PublicUrl};
use crate::http::query::{self, QueryStringError};
use crate::request_priority::RequestPriority;
use crate::routes::{ErrorFormat, Interaction, NoRoute, Route};
use crate::studies::FailedArchives;
use crate::telemetry::{AccessLogEntry, InFlight, Metrics, REQUEST_ID, RequestId, RouteMetrics};
use crate::upstream::ArchiveId;
use http_messages::body::{Body, empty};
use http_messages::path::decode_safe_escapes;
use http_server::{ConnectionMetrics, InvalidRequest, PeerAddress, RequestBody};

/// The service of the public listener.
#[derive(Debug, Clone)]
pub struct Service {
    context: Arc<ServiceContext>,
    fhir: Arc<FhirContext>,
    federation: Arc<Federation>,
    routes: Arc<[RouteMetrics]>,
}

/// The context of requests for all routes.
#[derive(Debug)]
pub struct ServiceContext {
    /// Authenticates callers.
    pub authenticator: Arc<dyn Authenticator>,
    /// The public URL of the gateway.
    pub public_url: PublicUrl,
    /// The hosts that the gateway accepts.
    pub hosts: AcceptedHosts,
    /// The origins whose pages may read responses.
    pub cors: Cors,
    /// The cached responses of the DICOMweb services.
    pub response_cache: ResponseCache,
    /// Maximum time from a request to the headers of its response.
    pub request_timeout: Duration,
    /// The token of requests to the admin listener that change the state of the gateway; `None` if there are no such requests.
    pub admin_token: Option<SecretString>,
    /// The metrics, which count the requests.
    pub metrics: Metrics,
}

impl Service {
    /// Creates a service that responds to FHIR requests with `fhir` and to DICOMweb requests with `federation`.
    pub fn new(context: ServiceContext, fhir: FhirContext, federation: Federation) -> Self {
        let labels = Route::LABELS.into_iter().chain(LABELS_WITHOUT_ROUTE);
        let routes = labels.map(|label| context.metrics.route(label)).collect();
        let (context, fhir) = (Arc::new(context), Arc::new(fhir));
        Self { context, fhir, federation: Arc::new(federation), routes }
    }
}

impl http_server::Service for Service {
    type Body = MeasuredBody;

    /// Responds to the most frequent request, the read of a cached study.
    fn respond_at_once(
        &self,
        request: &mut Request<RequestBody>,
        PeerAddress(peer): PeerAddress,
    ) -> Option<Response<MeasuredBody>> {
        if request.method() != Method::GET || request.uri().query().is_some() {
            return None;
        }
        let path = decode_safe_escapes(request.uri().path());
        let path = self.without_prefix(&path);
        if ErrorFormat::from_path(path) != ErrorFormat::Fhir {
            return None;
        }
        let route = Route::parse(request.method(), path).ok()?;
        let study = route.id_of_read_study()?;
        let ServiceContext { authenticator, hosts, public_url, .. } = &*self.context;
        if !hosts.is_accepted(public_url, request.uri(), request.headers(), peer.ip()) {
            // `respond` creates the error response.
            return None;
        }
        let authentication = authenticator.authenticate(request.headers());
        let response = match &authentication {
            Authentication::Decided(Ok(access)) => {
                fhir::cached_response(&self.fhir, study, request.headers(), access)
            }
            // `respond` creates the response to a rejected caller.
            Authentication::Decided(Err(_)) | Authentication::Pending(_) => None,
        };
        let Some(response) = response else {
            request.extensions_mut().insert(authentication);
            return None;
        };
        Some(RequestContext::new(self, request).finish(route.label(), request.headers(), response))
    }

    async fn respond(
        &self,
        request: Request<RequestBody>,
        PeerAddress(peer): PeerAddress,
    ) -> Response<MeasuredBody> {
        let request_context = RequestContext::new(self, &request);
        if Cors::is_preflight(request.method(), request.headers()) {
            return request_context.finish_preflight(request.headers());
        }
        let (parts, body) = request.into_parts();
        let path = decode_safe_escapes(parts.uri.path());
        let path = self.without_prefix(&path);
        let error_format = ErrorFormat::from_path(path);
        let is_host_accepted =
            self.context.hosts.is_head_accepted(&self.context.public_url, &parts, peer.ip());
        let (label, response) = match Route::parse(&parts.method, path) {
            _ if !is_host_accepted => {
                let is_forwarded = self.context.public_url.ignores_forwarding(&parts.headers, peer.ip());
                ("refused", Err(Failure::misdirected(is_forwarded)))
            }
            Ok(route) => {
                let label = route.label();
                let failed_archives = FailedArchives::default();
                let response = self.handle(route, &parts, body, peer.ip(), &failed_archives);
                let response = tokio::time::timeout(self.context.request_timeout, response)
                    .map(|in_time| in_time.unwrap_or_else(|_| Err(Failure::timed_out(error_format))));
                let response = AssertUnwindSafe(response).catch_unwind().await;
                let response = response.unwrap_or_else(|_| {
                    Err(Failure::internal().with_cause(None, "the handler of the request panicked"))
                });
                (label, response.map(|response| with_failed_archives(response, &failed_archives)))
            }
            Err(NoRoute::MethodNotAllowed { allow }) if parts.method == Method::OPTIONS => {
                let response = match error_format {
                    ErrorFormat::Fhir => fhir::options_response(allow),
                    ErrorFormat::Dicomweb => dicomweb::options_response(allow),
                };
                ("options", Ok(response))
            }
            Err(no_route) => (label_of(no_route), Err(Failure::from(no_route))),
        };
        let mut response = response.unwrap_or_else(|failure| match error_format {
            ErrorFormat::Fhir => {
                let public_base = self.context.public_url.base_of(&parts, peer.ip());
                fhir::error_response(&failure, &parts.headers, parts.uri.query(), public_base.as_ref())
            }
            ErrorFormat::Dicomweb => error::error_response(&failure),
        });
        if parts.method == Method::HEAD {
            response = without_body(response);
        }
        request_context.finish(label, &parts.headers, response)
    }

    fn reject(&self, request: &Request<RequestBody>, invalid: InvalidRequest) -> Response<MeasuredBody> {
        let request_context = RequestContext::new(self, request);
        let failure = Failure::from(invalid);
        let response =
            match ErrorFormat::from_path(self.without_prefix(&decode_safe_escapes(request.uri().path()))) {
                ErrorFormat::Fhir => {
                    fhir::error_response(&failure, request.headers(), request.uri().query(), None)
                }
                ErrorFormat::Dicomweb => error::error_response(&failure),
            };
        request_context.finish("refused", request.headers(), response)
    }

    fn has_many_clients(&self, PeerAddress(peer): PeerAddress) -> bool {
        self.context.public_url.trusted_proxies.iter().any(|network| network.contains(peer.ip()))
    }

    fn connection_metrics(&self) -> Option<Arc<dyn ConnectionMetrics>> {
        Some(Arc::new(self.context.metrics.clone()))
    }
}

impl Service {
    async fn handle(
        &self,
        route: Route<'_>,
        parts: &Parts,
        body: RequestBody,
        peer: IpAddr,
        failed_archives: &FailedArchives,
    ) -> Result<Response<Body>, Failure> {
        let access = self.determine_access(&route, parts).await?;
        let public_base = self.context.public_url.base_of(parts, peer).ok_or_else(|| {
            Failure::bad_request("invalid", "The request has no Host from which links could be made.")
        })?;
        let client_request = ClientRequest { parts, access, public_base, failed_archives };
        match route {
            Route::Fhir(interaction) => self.handle_fhir(interaction, client_request, body).await,
            Route::Batch => self.handle_batch(client_request, body).await,
            Route::Dicomweb { archive, target, path } => {
                self.handle_dicomweb(archive, target, path, client_request).await
            }
            Route::DicomwebCapabilities { archive } => {
                let root = match &archive {
                    Some(id) if self.federation.archive(id).is_none() => {
                        return Err(Failure::unknown_archive());
                    }
                    Some(id) => format!("{}/dicom-web/{id}", client_request.public_base),
                    None => format!("{}/dicom-web", client_request.public_base),
                };
                let description = self.federation.describe(&root, &parts.headers);
                description.map_err(|error| Failure::from(&error))
            }
        }
    }

    async fn handle_fhir(
        &self,
        interaction: Interaction<'_>,
        ClientRequest { parts, access, public_base, failed_archives }: ClientRequest<'_>,
        body: RequestBody,
    ) -> Result<Response<Body>, Failure> {
        let mut pairs = query_pairs(parts)?;
        if parts.method == Method::POST {
            pairs.extend(match interaction {
                Interaction::Everything(_) => {
                    fhir::parse_operation_parameters(&body::read_parameters(&parts.headers, body).await?)?
                }
                _ => body::read_form(&parts.headers, body).await?,
            });
        }
        let request = FhirRequest { headers: &parts.headers, pairs, public_base };
        let context = self.fhir.for_request(&RequestPriority::of_new_request(), failed_archives);
        Ok(fhir::handle(&context, interaction, &request, &access).await)
    }

    async fn handle_batch(
        &self,
        ClientRequest { parts, access, public_base, failed_archives }: ClientRequest<'_>,
        body: RequestBody,
    ) -> Result<Response<Body>, Failure> {
        let pairs = query_pairs(parts)?;
        let bundle = body::read_bundle(&parts.headers, body).await?;
        // Each entry of a batch has separate conditions.
        let mut headers = parts.headers.clone();
        headers.remove(header::IF_NONE_MATCH);
        headers.remove(header::IF_MODIFIED_SINCE);
        let request = FhirRequest { headers: &headers, pairs, public_base };
        let context = self.fhir.for_request(&RequestPriority::of_new_request(), failed_archives);
        Ok(fhir::handle_batch(&context, &bundle, &request, &access).await)
    }

    /// Responds to a DICOMweb request. Only the headers of the response have a deadline, because the body of a large study takes a
    /// long time; every wait for an archive has a deadline.
    async fn handle_dicomweb(
        &self,
        archive: Option<ArchiveId>,
        target: Result<Target, PathError>,
        path: &str,
        ClientRequest { parts, access, public_base, failed_archives }: ClientRequest<'_>,
    ) -> Result<Response<Body>, Failure> {
        let federation = self.federation.for_request(&RequestPriority::of_new_request(), failed_archives);
        let archive_id = archive.as_ref();
        let archive = match archive_id {
            Some(id) => Some(federation.archive(id).ok_or_else(Failure::unknown_archive)?),
            None => None,
        };
        let uid_rule = match archive {
            Some(archive) => archive.uid_rule(),
            None => federation.uid_rule(),
        };
        let target = match target {
            Err(PathError::NeedsLenientUids(_)) => Target::parse_by(uid_rule, path),
            target => target,
        };
        let target = &target.map_err(|error| Failure::from(&DicomwebError::from(error)))?;
        let (method, query, headers) = (&parts.method, parts.uri.query(), &parts.headers);
        let request = DicomwebRequest { method, target, path, query, headers, uid_rule };
        let response = match archive {
            Some(archive) => {
                let root = format!("{public_base}/dicom-web/{}", archive.id());
                federation.respond_for_archive(archive, &access, &root, request).await
            }
            None => federation.respond(&access, &format!("{public_base}/dicom-web"), request).await,
        };
        let response = response.map_err(|error| Failure::from(&error));
        let status = response.as_ref().map_or_else(|failure| failure.status, Response::status);
        if status.as_u16() == 404
            && let Some((study, child)) = target.retrieved_child()
        {
            self.fhir.studies.report_missing(study, child, archive_id);
        }
        response
    }

    /// Determines the access of the caller. An authentication of this request that was already started is used. The
    /// CapabilityStatement requires no authentication, because it describes how to authenticate.
    async fn determine_access(&self, route: &Route<'_>, parts: &Parts) -> Result<Access, Failure> {
        if matches!(route, Route::Fhir(Interaction::Capabilities)) {
            return Ok(Access::none());
        }
        let authentication = match parts.extensions.get::<Authentication>() {
            Some(authentication) => authentication.clone(),
            None => self.context.authenticator.authenticate(&parts.headers),
        };
        authentication.decision().await.map_err(Failure::from)
    }

    /// Removes the prefix of the configured public URL from the path, because some ingresses remove it and others do not.
    fn without_prefix<'a>(&self, path: &'a str) -> &'a str {
        let prefix = self.context.public_url.fixed.as_ref().map_or("", |base| base.prefix());
        match path.strip_prefix(prefix) {
            Some(rest) if rest.starts_with('/') => rest,
            _ => path,
        }
    }
}

/// A request whose caller is known.
struct ClientRequest<'a> {
    parts: &'a Parts,
    access: Access,
    public_base: PublicBase,
    /// Collects the archives that the response may be without.
    failed_archives: &'a FailedArchives,
}

/// Decodes the query.
fn query_pairs(parts: &Parts) -> Result<Vec<(String, String)>, Failure> {
    query::decode(parts.uri.query().unwrap_or_default()).map_err(|error| query_failure(&error))
}

/// Returns the failure for a query or form that cannot be decoded, with the name of the parameter if it is known.
fn query_failure(error: &QueryStringError) -> Failure {
    let failure = Failure::bad_request("invalid", error::to_sentence(&error.to_string()));
    match error.parameter() {
        Some(name) => failure.with_expression(format!("http.{name}")),
        None => failure,
    }
}

/// Adds the archives that a response may be without to it, for the log.
fn with_failed_archives(mut response: Response<Body>, failed_archives: &FailedArchives) -> Response<Body> {
    if response.status().is_success()
        && let Some((archives, errors)) = failed_archives.description()
    {
        let cause = FailureCause { archive: Some(archives), error: errors.into() };
        response.extensions_mut().insert(cause);
    }
    response
}

/// Removes the body of the response, and keeps its length in the headers (RFC 9110 9.3.2).
fn without_body(response: Response<Body>) -> Response<Body> {
    let length = response.body().size_hint().exact();
    let mut response = response.map(|_| empty());
    if let Some(length) = length.filter(|length| *length > 0) {
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert(HeaderValue::from(length));
    }
    response
}

/// The labels of requests without a route.
const LABELS_WITHOUT_ROUTE: [&str; 5] = ["refused", "unknown", "method_not_allowed", "options", "preflight"];

fn label_of(no_route: NoRoute) -> &'static str {
    match no_route {
        NoRoute::AmbiguousPath | NoRoute::PathTooLong => "refused",
        NoRoute::NotFound
        | NoRoute::TrailingSlash
        | NoRoute::UnknownType
        | NoRoute::UnknownOperation
        | NoRoute::InvalidId
        | NoRoute::NoHistory => "unknown",
        NoRoute::MethodNotAllowed { .. } => "method_not_allowed",
    }
}

/// A request in flight.
struct RequestContext<'a> {
    service: &'a Service,
    started: Instant,
    id: RequestId,
    method: &'static str,
    in_flight: InFlight,
}

impl<'a> RequestContext<'a> {
    fn new<B>(service: &'a Service, request: &Request<B>) -> Self {
        let method = match *request.method() {
            Method::GET => "GET",
            Method::HEAD => "HEAD",
            Method::POST => "POST",
            _ => "other",
        };
        let in_flight = service.context.metrics.request_started();
        Self {
            service,
            started: Instant::now(),
            id: RequestId::from_headers(request.headers()),
            method,
            in_flight,
        }
    }

    /// Responds to a preflight with the methods and headers that a page may use. No authentication is required, because browsers
    /// send no credentials with a preflight.
    fn finish_preflight(self, request: &HeaderMap) -> Response<MeasuredBody> {
        let mut response = Response::new(empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        self.service.context.cors.allow_preflight(request, response.headers_mut());
        self.count_and_log("preflight", response)
    }

    fn finish(
        self,
        route: &'static str,
        request: &HeaderMap,
        mut response: Response<Body>,
    ) -> Response<MeasuredBody> {
        self.service.context.cors.allow(request, response.headers_mut());
        self.count_and_log(route, response)
    }

    fn count_and_log(self, route: &'static str, mut response: Response<Body>) -> Response<MeasuredBody> {
        let status = response.status().as_u16();
        let routes = &self.service.routes;
        if let Some(metrics) = routes.iter().find(|metrics| metrics.route() == route) {
            self.service.context.metrics.request_finished(
                metrics,
                self.method,
                status,
                self.started.elapsed(),
            );
        }
        response.headers_mut().insert(REQUEST_ID, self.id.header_value());
        let mut log_entry = AccessLogEntry::new(self.started, self.id, self.method, route, status);
        if let Some(FailureCause { archive, error }) = response.extensions_mut().remove() {
            log_entry.set_failure(archive, error);
        }
        response.map(|body| MeasuredBody::new(body, log_entry, self.in_flight))
    }
}
