//! The HTTP clients of one archive, made anew before their connections are worn out.
//!
//! Over HTTP/2 all calls share a connection. Each that its caller gives up is a stream that is reset, and when a thousand
//! frames have come for such streams the library takes the connection down, with every call on it. New clients take over
//! long before, and stand ready for that, as making them takes time; what is under way ends on the old ones.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Version, header};

use super::{Settings, SettingsError};

/// A connection is made on a local network, or something is wrong.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Orthanc drops a connection that was idle for a second; waiting longer only finds dead ones.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_millis(800);

/// An answer's head has at most so many fields: a dozen is usual.
const MAX_HEADERS: usize = 200;

/// h2 bears what still comes for as many streams that were reset lately (50). What comes for others counts against the
/// connection, a frame each, and one call that was given up can leave a hundred of those on their way.
const MOST_GIVEN_UP: usize = 40;

/// What calls are made with.
#[derive(Debug)]
pub(super) struct Clients {
    settings: Settings,
    current: RwLock<Current>,
    /// Those that take over.
    next: Mutex<Option<Current>>,
    /// The next ones are being made.
    is_making: AtomicBool,
    given_up: AtomicUsize,
}

#[derive(Debug, Clone)]
struct Current {
    /// Decodes gzip: for what the gateway reads itself.
    reading: reqwest::Client,
    /// Leaves bodies as they are: for what is carried through.
    carrying: reqwest::Client,
}

impl Current {
    fn new(settings: &Settings) -> Result<Self, SettingsError> {
        Ok(Self { reading: http_client(settings, true)?, carrying: http_client(settings, false)? })
    }
}

impl Clients {
    pub(super) fn new(settings: &Settings) -> Result<Arc<Self>, SettingsError> {
        Ok(Arc::new(Self {
            settings: settings.clone(),
            current: RwLock::new(Current::new(settings)?),
            next: Mutex::default(),
            is_making: AtomicBool::new(false),
            given_up: AtomicUsize::new(0),
        }))
    }

    pub(super) fn reading(&self) -> reqwest::Client {
        self.current.read().unwrap_or_else(PoisonError::into_inner).reading.clone()
    }

    pub(super) fn carrying(&self) -> reqwest::Client {
        self.current.read().unwrap_or_else(PoisonError::into_inner).carrying.clone()
    }

    /// Notes that a call begins.
    pub(super) fn call(self: &Arc<Self>) -> Call {
        // Without TLS nothing is agreed on, and HTTP/1.1 is spoken.
        let Settings { qido_url, wado_url, wado_uri_url, .. } = &self.settings;
        let urls = [qido_url, wado_url].into_iter().chain(wado_uri_url);
        let may_share = urls.into_iter().any(|url| url.scheme() == "https");
        Call { clients: Arc::clone(self), has_ended: false, shares_connection: may_share }
    }

    fn given_up(self: &Arc<Self>) {
        let is_worn_out = self.given_up.fetch_add(1, Ordering::Relaxed) + 1 >= MOST_GIVEN_UP;
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if is_worn_out && let Some(next) = next.take() {
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = next;
            self.given_up.store(0, Ordering::Relaxed);
        }
        if next.is_none()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
            && !self.is_making.swap(true, Ordering::Relaxed)
        {
            let clients = Arc::clone(self);
            // Making clients reads the system's certificates.
            runtime.spawn_blocking(move || clients.make_next());
        }
    }

    /// The old ones do while no new ones can be made; it is tried again when one more call was given up.
    fn make_next(&self) {
        let next = Current::new(&self.settings).ok();
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = next;
        self.is_making.store(false, Ordering::Relaxed);
    }
}

/// A call that is under way. When it is dropped before its end, it was given up.
#[derive(Debug)]
pub(super) struct Call {
    clients: Arc<Clients>,
    has_ended: bool,
    /// Others may be on its connection.
    shares_connection: bool,
}

impl Call {
    /// The head of its answer has come.
    pub(super) fn is_answered_over(&mut self, version: Version) {
        self.shares_connection = version == Version::HTTP_2;
    }

    /// The answer has come to its end.
    pub(super) fn ends(&mut self) {
        self.has_ended = true;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.has_ended && self.shares_connection {
            self.clients.given_up();
        }
    }
}

fn http_client(settings: &Settings, decoding: bool) -> Result<reqwest::Client, SettingsError> {
    let mut headers = HeaderMap::new();
    if !decoding {
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("dicomweb-gateway/", env!("CARGO_PKG_VERSION")))
        .default_headers(headers)
        .gzip(decoding)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(settings.timeout)
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .http1_max_headers(MAX_HEADERS)
        .http2_adaptive_window(true)
        .tcp_nodelay(true);
    if let Some(pem) = &settings.ca {
        let certificates = reqwest::Certificate::from_pem_bundle(pem)
            .ok()
            .filter(|certificates| !certificates.is_empty())
            .ok_or_else(|| SettingsError::Certificates(settings.id.clone()))?;
        builder = builder.tls_certs_only(certificates);
    }
    builder.build().map_err(|_| SettingsError::Client(settings.id.clone()))
}
