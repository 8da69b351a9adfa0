//! A scripted archive. It writes HTTP/1.1 directly to TCP connections, so that it can send any bytes, abort a body at any byte,
//! stop responding, and close connections.
//!
//! ```ignore
//! let pacs = Pacs::new()
//!     .with_study(Study::new("1.2").patient("P1", "Doe^Jane").study_date("20240131").series("1.2.1", "CT", 3))
//!     .with_response("/studies/1.2/metadata", CannedResponse::json("[{").abort_after(2))
//!     .start()
//!     .await;
//! let response = client::get(&format!("{}/studies", pacs.url())).await;
//! assert_eq!(pacs.targets(), ["/dicom-web/studies"]);
//! ```

mod canned_response;
mod connection;
mod dialect;
mod query;
mod study;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use canned_response::{CannedResponse, Framing};
pub use dialect::{Dialect, UidLists};
pub use query::QueryCondition;
pub use study::Study;

/// The behavior of the archive for `limit` and `offset`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Paging {
    /// The archive pages as PS3.18 specifies.
    #[default]
    Standard,
    /// The archive ignores `limit` and `offset`.
    Ignored,
    /// The archive ignores `offset`.
    OffsetIgnored,
    /// The archive ignores `limit`.
    LimitIgnored,
    /// The archive returns at most this number of rows per response, without a Warning.
    Truncated(usize),
    /// The archive returns at most this number of rows per response, with a Warning if more rows follow.
    TruncatedWithWarning(usize),
    /// The archive ignores `offset`, and returns at most this number of rows per response, with a Warning if more rows follow.
    FirstRowsWithWarning(usize),
    /// The archive rejects an `offset` at or beyond the end of the list.
    EndOffsetRejected,
}

/// A change of the studies of the archive.
#[derive(Debug, Clone)]
pub enum Change {
    /// This study is inserted at the beginning of the list.
    Added(Study),
    /// The study with this UID is deleted.
    Deleted(String),
}

/// The path of the root of the DICOMweb services.
pub const ROOT: &str = "/dicom-web";

/// The timeout for every condition that a test waits for. It is so long that even on a busy machine only a failing test reaches it.
const TEST_TIMEOUT: Duration = Duration::from_mins(5);

/// The configuration of a scripted archive.
#[derive(Debug, Clone)]
pub struct Pacs {
    studies: Vec<Study>,
    responses_by_path: Vec<(String, Vec<CannedResponse>)>,
    conditional_responses: Vec<ConditionalResponse>,
    fallback: Option<CannedResponse>,
    behavior: Behavior,
}

/// A path, the conditions that a query must meet, and the response.
type ConditionalResponse = (String, Vec<(String, QueryCondition)>, CannedResponse);

/// The behavior of the archive that does not depend on the request.
#[derive(Debug, Clone, Default)]
struct Behavior {
    delay: Option<Duration>,
    /// The number of concurrent requests that responses to metadata requests wait for.
    metadata_barrier: usize,
    holds_responses: bool,
    abort_after: Option<usize>,
    base_url: Option<String>,
    close_after_each_response: bool,
    ignore_matching_keys: bool,
    /// A matching key that is ignored.
    ignored_key: Option<String>,
    paging: Paging,
    dialect: Dialect,
    /// The number of additional copies of every row.
    row_copy_count: usize,
    max_listed_studies: Option<usize>,
    /// The changes, each with the number of searches after which it is applied.
    changes: Vec<(usize, Change)>,
    user_and_password: Option<(String, String)>,
}

impl Pacs {
    /// Creates an archive without studies.
    pub fn new() -> Self {
        Self {
            studies: Vec::new(),
            responses_by_path: Vec::new(),
            conditional_responses: Vec::new(),
            fallback: None,
            behavior: Behavior::default(),
        }
    }

    /// Adds `study`, which the archive returns in searches and metadata.
    pub fn with_study(mut self, study: Study) -> Self {
        self.studies.push(study);
        self
    }

    /// Responds with `response` to requests for `path`, which is relative to the root, with any query.
    pub fn with_response(self, path: &str, response: CannedResponse) -> Self {
        self.with_responses(path, [response])
    }

    /// Responds to requests for `path` with `responses` in their order; the last one is repeated.
    pub fn with_responses(mut self, path: &str, responses: impl IntoIterator<Item = CannedResponse>) -> Self {
        self.responses_by_path.push((format!("{ROOT}{path}"), responses.into_iter().collect()));
        self
    }

    /// Responds with `response` to requests for `path` whose query meets all `conditions`. The path `*` matches any path. If the
    /// conditions of several responses are met, the response that was added first is sent.
    pub fn with_conditional_response(
        mut self,
        path: &str,
        conditions: Vec<(String, QueryCondition)>,
        response: CannedResponse,
    ) -> Self {
        let path = if path == "*" { path.to_owned() } else { format!("{ROOT}{path}") };
        self.conditional_responses.push((path, conditions, response));
        self
    }

    /// Responds to all other requests with `response` instead of 404.
    pub fn with_fallback(mut self, response: CannedResponse) -> Self {
        self.fallback = Some(response);
        self
    }

    /// Delays every response.
    pub fn with_delay(mut self, duration: Duration) -> Self {
        self.behavior.delay = Some(duration);
        self
    }

    /// Responds to metadata requests only after `request_count` requests have been in flight at the same time.
    pub fn with_metadata_barrier(mut self, request_count: usize) -> Self {
        self.behavior.metadata_barrier = request_count;
        self
    }

    /// Holds every response until [`RunningPacs::release_responses`].
    pub fn hold_responses(mut self) -> Self {
        self.behavior.holds_responses = true;
        self
    }

    /// Aborts every body after this number of bytes.
    pub fn abort_after(mut self, bytes: usize) -> Self {
        self.behavior.abort_after = Some(bytes);
        self
    }

    /// Sets the base URL in Retrieve URLs, such as `http://inner:8042`.
    pub fn with_base_url(mut self, url: &str) -> Self {
        self.behavior.base_url = Some(url.to_owned());
        self
    }

    /// Closes each connection after its first response, which has no `Connection: close`.
    pub fn close_after_each_response(mut self) -> Self {
        self.behavior.close_after_each_response = true;
        self
    }

    /// Returns all studies in every search, like an archive that does not support the matching keys.
    pub fn ignore_matching_keys(mut self) -> Self {
        self.behavior.ignore_matching_keys = true;
        self
    }

    /// Ignores one matching key of searches for studies.
    pub fn ignore_matching_key(mut self, key: &str) -> Self {
        self.behavior.ignored_key = Some(key.to_owned());
        self
    }

    /// Sets the behavior for `limit` and `offset`.
    pub fn with_paging(mut self, paging: Paging) -> Self {
        self.behavior.paging = paging;
        self
    }

    /// Sets how the archive reads the keys of a search.
    pub fn with_dialect(mut self, dialect: Dialect) -> Self {
        self.behavior.dialect = dialect;
        self
    }

    /// Returns this number of additional copies of every row.
    pub fn repeat_rows(mut self, copy_count: usize) -> Self {
        self.behavior.row_copy_count = copy_count;
        self
    }

    /// Rejects searches that match more than `max_studies` studies with 413, like dcm4chee.
    pub fn reject_lists_above(mut self, max_studies: usize) -> Self {
        self.behavior.max_listed_studies = Some(max_studies);
        self
    }

    /// Applies `change` after `search_count` searches for studies.
    pub fn change_after_searches(mut self, search_count: usize, change: Change) -> Self {
        self.behavior.changes.push((search_count, change));
        self
    }

    /// Rejects requests without these credentials with 401.
    pub fn require_basic_auth(mut self, user: &str, password: &str) -> Self {
        self.behavior.user_and_password = Some((user.to_owned(), password.to_owned()));
        self
    }

    /// Starts the archive on a free port.
    pub async fn start(mut self) -> RunningPacs {
        let studies = std::mem::take(&mut self.studies);
        let state = State { studies, behavior: self.behavior.clone(), ..State::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (state_changes, _) = watch::channel(());
        let shared = Arc::new(Shared { pacs: self, port, state: Mutex::new(state), state_changes });
        let shared_with_connections = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(connection::serve(Arc::clone(&shared_with_connections), stream));
            }
        });
        RunningPacs { shared, task }
    }
}

/// A request as the archive received it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedRequest {
    /// The method, such as `GET`.
    pub method: String,
    /// The raw path and query.
    pub target: String,
    /// The headers in their order, with names in lower case.
    pub headers: Vec<(String, String)>,
}

impl ReceivedRequest {
    /// Returns the value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

/// The data that connections and the test share.
#[derive(Debug)]
struct Shared {
    pacs: Pacs,
    port: u16,
    state: Mutex<State>,
    state_changes: watch::Sender<()>,
}

/// The changing data of the archive.
#[derive(Debug, Default)]
struct State {
    studies: Vec<Study>,
    /// How searches are answered.
    behavior: Behavior,
    requests: Vec<ReceivedRequest>,
    open_request_count: usize,
    max_open_request_count: usize,
    /// The number of responses that may be sent although they are held.
    released_response_count: usize,
    connections: usize,
}

impl State {
    fn apply(&mut self, change: Change) {
        match change {
            Change::Added(study) => self.studies.insert(0, study),
            Change::Deleted(uid) => self.studies.retain(|study| study.uid() != uid),
        }
    }
}

impl Shared {
    /// Waits until `request_count` requests have been in flight at the same time.
    async fn wait_for_concurrent_requests(&self, request_count: usize) {
        let mut changes = self.state_changes.subscribe();
        while self.state.lock().unwrap().max_open_request_count < request_count {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits until the response to a request may be sent, if responses are held.
    async fn wait_for_release(&self) {
        if !self.pacs.behavior.holds_responses {
            return;
        }
        let mut changes = self.state_changes.subscribe();
        loop {
            {
                let mut state = self.state.lock().unwrap();
                if state.released_response_count > 0 {
                    state.released_response_count -= 1;
                    return;
                }
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Modifies the state with `modify`, and notifies the tasks that wait for a change.
    fn modify<T>(&self, modify: impl FnOnce(&mut State) -> T) -> T {
        let result = modify(&mut self.state.lock().unwrap());
        self.state_changes.send_replace(());
        result
    }

    /// Applies the changes that are due after the latest search.
    fn apply_due_changes(&self) {
        let mut state = self.state.lock().unwrap();
        let is_search =
            |request: &ReceivedRequest| request.target.split('?').next() == Some(&format!("{ROOT}/studies"));
        if state.requests.last().is_some_and(is_search) {
            let search_count = state.requests.iter().filter(|request| is_search(request)).count();
            let due = self.pacs.behavior.changes.iter().filter(|(due_after, _)| *due_after == search_count);
            for (_, change) in due {
                state.apply(change.clone());
            }
        }
    }

    /// Returns the response to a request.
    fn response_to(&self, request: &ReceivedRequest) -> CannedResponse {
        if let Some((user, password)) = &self.pacs.behavior.user_and_password {
            use base64::Engine;
            let credentials = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
            if request.header("authorization") != Some(&format!("Basic {credentials}")) {
                return CannedResponse::status(401).header("WWW-Authenticate", "Basic realm=\"pacs\"");
            }
        }
        let path = request.target.split('?').next().unwrap_or_default();
        let query = request.target.split_once('?').map_or("", |(_, query)| query);
        let matches = |(scripted_path, conditions, _): &&ConditionalResponse| {
            (scripted_path == "*" || scripted_path == path)
                && conditions.iter().all(|(key, condition)| condition.is_met_by(query, key))
        };
        if let Some((_, _, response)) = self.pacs.conditional_responses.iter().find(matches) {
            return response.clone();
        }
        let scripted = self.pacs.responses_by_path.iter().find(|(scripted_path, _)| scripted_path == path);
        if let Some((_, responses)) = scripted {
            let state = self.state.lock().unwrap();
            let request_count = state
                .requests
                .iter()
                .filter(|earlier| earlier.target.split('?').next() == Some(path))
                .count();
            return responses[request_count.saturating_sub(1).min(responses.len() - 1)].clone();
        }
        let listener_url = || format!("http://127.0.0.1:{}", self.port);
        let base_url = self.pacs.behavior.base_url.clone().unwrap_or_else(listener_url);
        let state = self.state.lock().unwrap();
        let fallback = self.pacs.fallback.clone().filter(|_| state.studies.is_empty());
        let response =
            fallback.or_else(|| study::respond(&state.studies, &state.behavior, &base_url, &request.target));
        drop(state);
        self.apply_due_changes();
        response.or_else(|| self.pacs.fallback.clone()).unwrap_or_else(|| CannedResponse::status(404))
    }
}

/// A scripted archive that runs until this value is dropped.
#[derive(Debug)]
pub struct RunningPacs {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl RunningPacs {
    /// Returns the root URL of the DICOMweb services.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}{ROOT}", self.shared.port)
    }

    /// Replaces all studies.
    pub fn set_studies(&self, studies: impl IntoIterator<Item = Study>) {
        self.shared.modify(|state| state.studies = studies.into_iter().collect());
    }

    /// Changes how the archive pages and reads keys, as another version of the product may.
    pub fn upgrade(&self, paging: Paging, dialect: Dialect) {
        self.shared.modify(|state| (state.behavior.paging, state.behavior.dialect) = (paging, dialect));
    }

    /// Returns the host and port, which responses of the gateway must not contain.
    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.shared.port)
    }

    /// Applies `change` to the studies.
    pub fn change(&self, change: Change) {
        self.shared.state.lock().unwrap().apply(change);
    }

    /// Sends the next `count` of the responses that are held.
    pub fn release_responses(&self, count: usize) {
        self.shared.modify(|state| state.released_response_count += count);
    }

    /// Holds all further responses again.
    pub fn hold_responses_again(&self) {
        self.shared.modify(|state| state.released_response_count = 0);
    }

    /// Returns all requests that were received until now.
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.shared.state.lock().unwrap().requests.clone()
    }

    /// Returns the paths and queries of all requests that were received until now.
    pub fn targets(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.target).collect()
    }

    /// Returns the maximum number of requests that were in flight at the same time.
    pub fn max_concurrent_requests(&self) -> usize {
        self.shared.state.lock().unwrap().max_open_request_count
    }

    /// Waits until at least `count` requests have been received.
    pub async fn wait_for_requests(&self, count: usize) {
        self.wait_for("the expected number of requests", |state| state.requests.len() >= count).await;
    }

    /// Waits until no request is in flight.
    pub async fn wait_until_idle(&self) {
        self.wait_for("the end of all requests", |state| state.open_request_count == 0).await;
    }

    /// Waits until exactly `count` requests are in flight.
    pub async fn wait_for_open_requests(&self, count: usize) {
        self.wait_for("the expected number of open requests", |state| state.open_request_count == count)
            .await;
    }

    /// Waits until `condition` is met; panics after the timeout with `description`, a noun phrase for the condition.
    async fn wait_for(&self, description: &str, condition: impl Fn(&State) -> bool) {
        let mut state_changes = self.shared.state_changes.subscribe();
        let waiting = async {
            while !condition(&self.shared.state.lock().unwrap()) {
                state_changes.changed().await.unwrap();
            }
        };
        let result = tokio::time::timeout(TEST_TIMEOUT, waiting).await;
        assert!(
            result.is_ok(),
            "the timeout elapsed before {description}: {:?}",
            self.shared.state.lock().unwrap()
        );
    }
}

impl Drop for RunningPacs {
    fn drop(&mut self) {
        self.task.abort();
    }
}
