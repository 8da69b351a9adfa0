//! Calls to one archive. Each call has a permit, a circuit breaker, a deadline, credentials, and one retry if the archive has
//! closed the pooled connection.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::call_queue::{CallPermit, CallQueue, ClassLimits, NoPermit};
use super::large_object::{LargeObjectPermit, LargeObjectPermits};
use super::probed_profile::{ProbeMemory, ProbedProfile};
use super::qido::{QidoQuery, SearchLevel};
use super::request::{RequestClass, UpstreamRequest};
use super::response::{CallPermits, UpstreamBody, UpstreamResponse};
use super::transfer_rate::TransferRate;
use super::transport::{BodyUse, ConnectionUse, IncomingBody, OutgoingRequest, Transport, TransportError};
use super::{ArchiveError, ArchiveErrorKind, ArchiveId, Profile, Settings, SettingsError};
use crate::circuit_breaker::{CircuitBreaker, CircuitChange, Health, OpenCircuit};
use crate::clock::{SharedClock, SystemClock};
use crate::request_priority::RequestPriority;
use crate::telemetry::Metrics;
use dicom_model::UidRule;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

/// Maximum number of concurrent retrievals, as a multiple of that of searches: a viewer loads frames in parallel, and a
/// retrieval costs the archive less than a search.
pub(super) const RETRIEVALS_PER_SEARCH: usize = 8;

/// The number of failures in a row that opens the circuit. A lost packet or a restart causes two or three; after five, the
/// archive is down.
const FAILURE_THRESHOLD: u32 = 5;

/// How long the circuit stays open: long enough for a service to restart, short enough that users do not notice the delay.
const OPEN_DURATION: Duration = Duration::from_secs(5);

/// A handle to one archive, for the calls of one client request. Clones share its connections and permits.
#[derive(Debug, Clone)]
pub struct Archive {
    inner: Arc<ArchiveState>,
    priority: RequestPriority,
    /// Whether the calls find out how the archive behaves, so that nothing that was found out may be relied on.
    is_for_probing: bool,
}

#[derive(Debug)]
struct ArchiveState {
    settings: Settings,
    transport: Transport,
    credentials: Option<(HeaderName, HeaderValue)>,
    queue: CallQueue,
    large_objects: LargeObjectPermits,
    search_breaker: CircuitBreaker,
    metadata_breaker: CircuitBreaker,
    retrieval_breaker: CircuitBreaker,
    probed_profile: Option<ProbedProfile>,
    metrics: Metrics,
}

impl Archive {
    /// Creates a client for the archive, without sending a request. The calls of this handle count as those of one request. The archive
    /// is not probed, whatever its profile is.
    pub fn new(settings: Settings, metrics: Metrics) -> Result<Self, SettingsError> {
        Self::with_probed_profile(settings, metrics, None)
    }

    /// Does the same as [`new`](Self::new), for an archive that is probed if its profile is not stated. `memory` remembers the findings.
    pub fn with_probing(
        settings: Settings,
        metrics: Metrics,
        clock: SharedClock,
        memory: Arc<dyn ProbeMemory>,
    ) -> Result<Self, SettingsError> {
        let probed_profile = settings.profile.is_probed.then(|| ProbedProfile::new(clock, memory));
        Self::with_probed_profile(settings, metrics, probed_profile)
    }

    fn with_probed_profile(
        settings: Settings,
        metrics: Metrics,
        probed_profile: Option<ProbedProfile>,
    ) -> Result<Self, SettingsError> {
        let credentials = settings.credentials.header();
        if credentials.is_none() && !matches!(settings.credentials, super::Credentials::None) {
            return Err(SettingsError::Credentials(settings.id));
        }
        metrics.archive_added(settings.id.as_str());
        let clock: SharedClock = Arc::new(SystemClock::default());
        let breaker = || CircuitBreaker::new(Arc::clone(&clock), FAILURE_THRESHOLD, OPEN_DURATION);
        let limits =
            ClassLimits { max_calls: settings.max_concurrency.max(1), max_waiting: settings.max_queue };
        let retrieval_limits = ClassLimits {
            max_calls: limits.max_calls.saturating_mul(RETRIEVALS_PER_SEARCH),
            max_waiting: limits.max_waiting.saturating_mul(RETRIEVALS_PER_SEARCH),
        };
        Ok(Self {
            priority: RequestPriority::of_new_request(),
            is_for_probing: false,
            inner: Arc::new(ArchiveState {
                transport: Transport::new(&settings)?,
                credentials,
                queue: CallQueue::new(settings.id.clone(), limits, limits, retrieval_limits),
                large_objects: LargeObjectPermits::new(),
                search_breaker: breaker(),
                metadata_breaker: breaker(),
                retrieval_breaker: breaker(),
                probed_profile,
                settings,
                metrics,
            }),
        })
    }

    /// Returns a handle to the same archive, whose calls have this priority.
    #[must_use]
    pub fn with_priority(&self, priority: &RequestPriority) -> Self {
        Self { priority: priority.clone(), ..self.clone() }
    }

    /// Returns a handle to the same archive, whose calls do not rely on what was found out about it, or on its stated profile.
    pub(super) fn for_probing(&self) -> Self {
        Self { is_for_probing: true, ..self.clone() }
    }

    /// Returns what was found out about the archive; `None` if its profile is stated.
    pub(super) fn probed_profile(&self) -> Option<&ProbedProfile> {
        self.inner.probed_profile.as_ref()
    }

    /// Returns the configured id of the archive.
    pub fn id(&self) -> &ArchiveId {
        &self.inner.settings.id
    }

    /// Returns the configuration of the archive.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// Returns the profile of the archive, which describes its quirks: those of the product, and those that were found out.
    pub fn profile(&self) -> Profile {
        let stated = self.inner.settings.profile;
        if self.is_for_probing {
            return Profile::default();
        }
        self.inner.probed_profile.as_ref().map_or(stated, |probed| probed.apply(stated))
    }

    /// Returns the rule for the UIDs of the archive's studies, series and instances. The archive is not asked for other UIDs.
    pub fn uid_rule(&self) -> UidRule {
        self.inner.settings.uid_rule
    }

    /// Returns the maximum number of concurrent searches.
    pub fn max_concurrency(&self) -> usize {
        self.inner.settings.max_concurrency.max(1)
    }

    /// Sends `request` and returns once the response headers have arrived. Every status is returned except redirections.
    pub async fn send(&self, request: UpstreamRequest) -> Result<UpstreamResponse, ArchiveError> {
        self.send_and_measure(BodyUse::Forward, request).await
    }

    /// Does the same as [`send`](Self::send) for a response that the gateway reads. It accepts gzip, which the caller decodes.
    pub(super) async fn send_to_read(
        &self,
        request: UpstreamRequest,
    ) -> Result<UpstreamResponse, ArchiveError> {
        self.send_and_measure(BodyUse::Read, request).await
    }

    /// Returns whether searches at the archive fail.
    pub fn health(&self) -> Health {
        self.inner.search_breaker.health()
    }

    /// Searches in the background if the archive failed and its circuit breaker has been open for long enough, so that its health becomes
    /// known without a client's search.
    pub fn probe_in_background(&self) {
        if self.inner.search_breaker.is_probe_due() {
            let archive = self.with_priority(&RequestPriority::of_shared_work());
            let query = QidoQuery::new(SearchLevel::Studies).page(1, 0);
            // The circuit breaker records the result.
            tokio::spawn(async move { drop(archive.send(UpstreamRequest::search(query)).await) });
        }
    }

    /// Waits for the permit for a large object; an error after the same time as for the permit of a call.
    pub async fn large_object_permit(&self) -> Result<LargeObjectPermit, ArchiveError> {
        let permit = self.inner.large_objects.acquire(self.inner.settings.queue_timeout).await;
        permit.ok_or_else(|| self.error(ArchiveErrorKind::LargeObjectBusy))
    }

    /// Creates an error of this archive.
    pub fn error(&self, kind: impl Into<ArchiveErrorKind>) -> ArchiveError {
        ArchiveError { archive: self.id().clone(), kind: kind.into() }
    }

    /// Creates the error for a response with a status that does not mean that the body is the whole response.
    pub fn status_error(&self, status: StatusCode, headers: &HeaderMap) -> ArchiveError {
        self.error(ArchiveErrorKind::from_status(status, headers, self.inner.credentials.is_some()))
    }

    /// Creates the error for a response that cannot be read because it contains `content`, a noun phrase.
    pub fn unreadable(&self, content: &'static str) -> ArchiveError {
        self.error(ArchiveErrorKind::Unreadable(content))
    }

    async fn send_and_measure(
        &self,
        body_use: BodyUse,
        request: UpstreamRequest,
    ) -> Result<UpstreamResponse, ArchiveError> {
        let class = request.class();
        let started = Instant::now();
        let response = self.send_within_deadline(body_use, request).await;
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

    /// Logs and counts rows that the archive returned although they do not match the search, if there are any.
    pub fn report_omitted_rows(&self, count: usize) {
        if count > 0 {
            tracing::warn!(archive = %self.id(), count, "The archive returned rows that do not match the search; they are omitted.");
            self.inner.metrics.rows_omitted(self.id().as_str(), count as u64);
        }
    }

    /// Reports that `count` rows are omitted, because their UIDs are not accepted and clients could not retrieve their objects.
    pub fn report_irretrievable_rows(&self, count: usize) {
        if count > 0 {
            let hint = match self.uid_rule() {
                UidRule::Strict => " See lenient_uids.",
                UidRule::Lenient => "",
            };
            tracing::warn!(archive = %self.id(), count, "The archive returned rows whose UIDs are not valid (PS3.5 9.1); they are omitted.{hint}");
            self.inner.metrics.rows_omitted(self.id().as_str(), count as u64);
        }
    }

    async fn send_within_deadline(
        &self,
        body_use: BodyUse,
        request: UpstreamRequest,
    ) -> Result<UpstreamResponse, ArchiveError> {
        let class = request.class();
        // The errors of a change feed have their own log.
        let is_circuit_logged = !request.is_to_change_feed();
        let breaker = match class {
            RequestClass::Search => &self.inner.search_breaker,
            RequestClass::Metadata => &self.inner.metadata_breaker,
            RequestClass::Retrieve => &self.inner.retrieval_breaker,
        };
        let permit = self.wait_for_permit(class).await.map_err(|no_permit| {
            self.error(match no_permit {
                NoPermit::QueueFull => ArchiveErrorKind::Busy,
                NoPermit::Abandoned => ArchiveErrorKind::Abandoned,
            })
        })?;
        let breaker_permit = breaker.acquire().map_err(|OpenCircuit { wait, last_failure }| {
            self.error(ArchiveErrorKind::CircuitOpen { wait, last_failure })
        })?;
        let in_flight = self.inner.metrics.upstream_request_started(self.id().as_str(), class.label());
        let response = self.send_with_permit(body_use, request, (permit, in_flight)).await;
        let (cause, change) = match &response {
            Ok(response) if matches!(response.status.as_u16(), 502..=504) => {
                let cause = format!("responded with status {}", response.status.as_u16());
                let change = breaker_permit.record_failure(&cause);
                (cause, change)
            }
            Err(error) if error.is_archive_failure() => {
                let cause = error.kind.to_string();
                let change = breaker_permit.record_failure(&cause);
                (cause, change)
            }
            // The gateway aborted the call, which does not show whether the archive is healthy.
            Err(ArchiveError { kind: ArchiveErrorKind::Abandoned, .. }) => (String::new(), None),
            _ => (String::new(), breaker_permit.record_success()),
        };
        if is_circuit_logged {
            self.log_circuit_change(change, class, &cause);
        }
        if class == RequestClass::Search
            && response.as_ref().is_ok_and(|response| response.status.is_success())
        {
            self.probe_profile_if_due();
        }
        response
    }

    /// Waits for the permit of a call. A call of a started request may wait as long as the archive may take to respond, because
    /// its earlier calls would otherwise be useless.
    async fn wait_for_permit(&self, class: RequestClass) -> Result<CallPermit, NoPermit> {
        let Settings { id, timeout, queue_timeout, .. } = &self.inner.settings;
        let mut call = self.inner.queue.join(class, &self.priority)?;
        if let Ok(permit) = tokio::time::timeout(*queue_timeout, call.permit()).await {
            return permit;
        }
        let remaining = if self.priority.has_called(id) {
            timeout.saturating_sub(*queue_timeout)
        } else {
            Duration::ZERO
        };
        tokio::time::timeout(remaining, call.permit()).await.unwrap_or(Err(NoPermit::QueueFull))
    }

    fn log_circuit_change(&self, change: Option<CircuitChange>, class: RequestClass, cause: &str) {
        let (archive, class) = (self.id(), class.label());
        match change {
            Some(CircuitChange::Opened(wait)) => tracing::warn!(
                %archive,
                class,
                error = cause,
                retry_in_s = wait.as_secs(),
                "The archive failed several times in a row; its circuit breaker is open, and it is not called for a while."
            ),
            Some(CircuitChange::Closed) => {
                tracing::info!(%archive, class, "The archive responds again; its circuit breaker is closed.");
            }
            None => {}
        }
    }

    async fn send_with_permit(
        &self,
        body_use: BodyUse,
        request: UpstreamRequest,
        mut call_permits: CallPermits,
    ) -> Result<UpstreamResponse, ArchiveError> {
        let timeout = self.inner.settings.timeout;
        let permit = &mut call_permits.0;
        let response = tokio::select! {
            response = tokio::time::timeout(timeout, self.send_with_retry(body_use, &request)) => response,
            () = poll_fn(|context| permit.poll_revoked(context)) => {
                return Err(self.error(ArchiveErrorKind::Abandoned));
            }
        };
        let response = match response {
            Ok(response) => response.map_err(|error| self.transport_error(error))?,
            Err(_) => return Err(self.error(ArchiveErrorKind::Timeout(timeout))),
        };
        match response.status() {
            StatusCode::NOT_MODIFIED if request.is_conditional() => {}
            // The gateway has no earlier response that 304 could refer to (RFC 9110 15.4.5).
            StatusCode::NOT_MODIFIED => {
                return Err(self.unreadable("status 304 although the request had no condition"));
            }
            status if status.is_redirection() => return Err(self.error(ArchiveErrorKind::Redirected)),
            _ => {}
        }
        let (head, body) = response.into_parts();
        let min_rate = TransferRate::new(self.inner.settings.min_rate, timeout);
        let body = UpstreamBody::new(self.id().clone(), timeout, min_rate, body, call_permits);
        Ok(UpstreamResponse { status: head.status, headers: head.headers, body })
    }

    /// Sends a repeatable request again if the connection was closed before the response arrived, because an archive may close
    /// a pooled connection while a request is being sent. The second connection is new: another pooled one may be closed as well.
    async fn send_with_retry(
        &self,
        body_use: BodyUse,
        request: &UpstreamRequest,
    ) -> Result<Response<IncomingBody>, TransportError> {
        let transport = &self.inner.transport;
        match transport.send(body_use, ConnectionUse::Pooled, self.to_outgoing(request)).await {
            Err(TransportError::Disconnected) if request.is_retryable() => {
                transport.send(body_use, ConnectionUse::New, self.to_outgoing(request)).await
            }
            response => response,
        }
    }

    fn to_outgoing(&self, request: &UpstreamRequest) -> OutgoingRequest {
        let url = request.url(&self.inner.settings, self.profile().include_style);
        let mut headers = request.headers.clone();
        if let Some((name, value)) = &self.inner.credentials {
            headers.insert(name, value.clone());
        }
        OutgoingRequest { url, headers }
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
