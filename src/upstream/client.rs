//! Calls to one archive: permit, circuit breaker, deadline, credentials, and one retry when a pooled connection turns out to be
//! closed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, Response, StatusCode};
use tokio::sync::Semaphore;

use super::circuit_breaker::CircuitBreaker;
use super::request::{Class, UpstreamRequest};
use super::response::{Held, UpstreamBody, UpstreamResponse};
use super::transport::{BodyUse, Incoming, Outgoing, Transport, TransportError};
use super::{ArchiveError, ArchiveErrorKind, ArchiveId, Profile, Settings, SettingsError};
use crate::clock::{SharedClock, SystemClock};
use crate::telemetry::Metrics;

/// How long a call waits for a permit before the archive is reported as busy.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(10);

/// How many retrievals may be in flight for each permitted search: a viewer loads frames in parallel, and a retrieval costs the
/// archive less than a search.
const RETRIEVALS_FOR_A_SEARCH: usize = 8;

/// A handle to one archive. Clones share its connections and permits.
#[derive(Debug, Clone)]
pub struct Archive {
    inner: Arc<ArchiveState>,
}

#[derive(Debug)]
struct ArchiveState {
    settings: Settings,
    transport: Transport,
    credentials: Option<(HeaderName, HeaderValue)>,
    searches: ClassLimits,
    metadata: ClassLimits,
    retrievals: ClassLimits,
    metrics: Metrics,
}

/// Limits shared by all calls of one class.
#[derive(Debug)]
struct ClassLimits {
    permits: Arc<Semaphore>,
    breaker: CircuitBreaker,
}

impl Archive {
    /// Makes a client for the archive. Nothing is sent yet.
    pub fn new(settings: Settings, metrics: Metrics) -> Result<Self, SettingsError> {
        let credentials = settings.credentials.header();
        if credentials.is_none() && !matches!(settings.credentials, super::Credentials::None) {
            return Err(SettingsError::Credentials(settings.id));
        }
        let clock: SharedClock = Arc::new(SystemClock::default());
        let limits = |count: usize| ClassLimits {
            permits: Arc::new(Semaphore::new(count.clamp(1, Semaphore::MAX_PERMITS))),
            breaker: CircuitBreaker::new(Arc::clone(&clock)),
        };
        Ok(Self {
            inner: Arc::new(ArchiveState {
                transport: Transport::new(&settings)?,
                credentials,
                searches: limits(settings.max_concurrency),
                metadata: limits(settings.max_concurrency),
                retrievals: limits(settings.max_concurrency.saturating_mul(RETRIEVALS_FOR_A_SEARCH)),
                settings,
                metrics,
            }),
        })
    }

    /// Its configured id.
    pub fn id(&self) -> &ArchiveId {
        &self.inner.settings.id
    }

    /// Its configuration.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// Its profile: the quirks of its vendor.
    pub fn profile(&self) -> &Profile {
        &self.inner.settings.profile
    }

    /// How many searches may be in flight at once.
    pub fn max_concurrency(&self) -> usize {
        self.inner.settings.max_concurrency.max(1)
    }

    /// Sends `request` and returns once the response headers have arrived, whatever the status. The body is as the archive sent
    /// it, with its Content-Encoding.
    pub async fn send(&self, request: UpstreamRequest) -> Result<UpstreamResponse, ArchiveError> {
        self.send_for(BodyUse::Carry, request).await
    }

    /// Sends `request` and returns once the response headers have arrived, whatever the status. The body is decoded.
    pub(super) async fn send_decoding(
        &self,
        request: UpstreamRequest,
    ) -> Result<UpstreamResponse, ArchiveError> {
        self.send_for(BodyUse::Read, request).await
    }

    /// An error of this archive.
    pub fn error(&self, kind: impl Into<ArchiveErrorKind>) -> ArchiveError {
        ArchiveError { archive: self.id().clone(), kind: kind.into() }
    }

    /// The error of a response that holds `what` and cannot be used.
    pub fn unreadable(&self, what: &'static str) -> ArchiveError {
        self.error(ArchiveErrorKind::Unreadable(what))
    }

    async fn send_for(
        &self,
        purpose: BodyUse,
        request: UpstreamRequest,
    ) -> Result<UpstreamResponse, ArchiveError> {
        let class = request.class();
        let started = Instant::now();
        let response = self.send_within_deadline(purpose, request).await;
        let outcome = match &response {
            Ok(response) => response.status.as_str().to_owned(),
            Err(error) => error.label().to_owned(),
        };
        self.inner.metrics.upstream_request_finished(
            self.id().as_str(),
            class.label(),
            &outcome,
            started.elapsed(),
        );
        response
    }

    async fn send_within_deadline(
        &self,
        purpose: BodyUse,
        request: UpstreamRequest,
    ) -> Result<UpstreamResponse, ArchiveError> {
        let limits = match request.class() {
            Class::Search => &self.inner.searches,
            Class::Metadata => &self.inner.metadata,
            Class::Retrieve => &self.inner.retrievals,
        };
        let permit = tokio::time::timeout(PERMIT_TIMEOUT, Arc::clone(&limits.permits).acquire_owned()).await;
        let Ok(Ok(permit)) = permit else { return Err(self.error(ArchiveErrorKind::Busy)) };
        let breaker_permit =
            limits.breaker.acquire().map_err(|wait| self.error(ArchiveErrorKind::CircuitOpen(wait)))?;
        let in_flight =
            self.inner.metrics.upstream_request_started(self.id().as_str(), request.class().label());
        let response = self.send_with_permit(purpose, request, (permit, in_flight)).await;
        match &response {
            Ok(response) if matches!(response.status.as_u16(), 502..=504) => breaker_permit.failed(),
            Err(error) if error.is_about_the_archive() => breaker_permit.failed(),
            _ => breaker_permit.succeeded(),
        }
        response
    }

    async fn send_with_permit(
        &self,
        purpose: BodyUse,
        request: UpstreamRequest,
        held: Held,
    ) -> Result<UpstreamResponse, ArchiveError> {
        let timeout = self.inner.settings.timeout;
        let response = match tokio::time::timeout(timeout, self.send_twice_if_stale(purpose, &request)).await
        {
            Ok(response) => response.map_err(|error| self.transport_error(error))?,
            Err(_) => return Err(self.error(ArchiveErrorKind::Timeout(timeout))),
        };
        match response.status() {
            StatusCode::NOT_MODIFIED if request.is_conditional() => {}
            // RFC 9110 15.4.5: there is no earlier response that it could refer to.
            StatusCode::NOT_MODIFIED => {
                return Err(self.unreadable("status 304 although the request had no condition"));
            }
            status if status.is_redirection() => return Err(self.error(ArchiveErrorKind::Redirected)),
            _ => {}
        }
        let (head, body) = response.into_parts();
        let body = UpstreamBody::new(self.id().clone(), timeout, body, held);
        Ok(UpstreamResponse { status: head.status, headers: head.headers, body })
    }

    /// An archive may close a pooled connection just as it is used again. The request got no response then, and a GET that costs
    /// the archive little can be repeated.
    async fn send_twice_if_stale(
        &self,
        purpose: BodyUse,
        request: &UpstreamRequest,
    ) -> Result<Response<Incoming>, TransportError> {
        match self.inner.transport.send(purpose, self.assemble(request)).await {
            Err(TransportError::Disconnected) if request.is_repeatable() => {
                self.inner.transport.send(purpose, self.assemble(request)).await
            }
            response => response,
        }
    }

    fn assemble(&self, request: &UpstreamRequest) -> Outgoing {
        let url = request.url(&self.inner.settings);
        let mut headers = request.headers.clone();
        if let Some((name, value)) = &self.inner.credentials {
            headers.insert(name, value.clone());
        }
        Outgoing { method: request.method.clone(), url, headers }
    }

    fn transport_error(&self, error: TransportError) -> ArchiveError {
        self.error(match error {
            TransportError::Unreachable(failure) => ArchiveErrorKind::Unreachable(failure),
            TransportError::ForbiddenAddress => ArchiveErrorKind::ForbiddenAddress,
            TransportError::TimedOut => ArchiveErrorKind::Timeout(self.inner.settings.timeout),
            TransportError::Disconnected => ArchiveErrorKind::Disconnected,
        })
    }
}
