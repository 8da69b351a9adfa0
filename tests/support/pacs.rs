//! A scripted archive. It writes HTTP/1.1 directly to TCP connections, so that it can send any bytes, abort a body at any byte,
//! stop responding, and close connections like real archives.
//!
//! ```ignore
//! let pacs = Pacs::new()
//!     .with_study(Study::new("1.2").patient("P1", "Doe^Jane").study_date("20240131").series("1.2.1", "CT", 3))
//!     .with_response("/studies/1.2/metadata", CannedResponse::json("[{").abort_after(2))
//!     .start()
//!     .await;
//! let answer = client::get(&format!("{}/studies", pacs.url())).await;
//! assert_eq!(pacs.targets(), ["/dicom-web/studies"]);
//! ```

mod canned_response;
mod connection;
mod query;
mod study;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use canned_response::{CannedResponse, Framing};
pub use query::QueryCondition;
pub use study::Study;

/// The behavior of the archive for `limit` and `offset`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Paging {
    /// The archive pages as PS3.18 defines it.
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
    /// The archive rejects an `offset` at the end of the list.
    EndOffsetRejected,
}

/// A change of the studies of the archive.
#[derive(Debug, Clone)]
pub enum Change {
    /// The study is added before all others.
    Added(Study),
    /// The study with this UID is deleted.
    Deleted(String),
}

/// The root of the DICOMweb services.
pub const ROOT: &str = "/dicom-web";

/// A timeout that is reached only if a test fails, even on a busy machine.
const TEST_TIMEOUT: Duration = Duration::from_mins(5);

/// An archive under construction.
#[derive(Debug, Clone)]
pub struct Pacs {
    studies: Vec<Study>,
    by_path: Vec<(String, Vec<CannedResponse>)>,
    conditional: Vec<ConditionalAnswer>,
    otherwise: Option<CannedResponse>,
    behavior: Behavior,
}

/// A path, the conditions on its query, and the answer.
type ConditionalAnswer = (String, Vec<(String, QueryCondition)>, CannedResponse);

/// The behavior of the archive for all answers.
#[derive(Debug, Clone, Default)]
struct Behavior {
    slow: Option<Duration>,
    metadata_until: usize,
    abort_after: Option<usize>,
    base_url: Option<String>,
    close_after_each_response: bool,
    ignore_matching_keys: bool,
    paging: Paging,
    repeat_rows: usize,
    max_listed: Option<usize>,
    changes: Vec<(usize, Change)>,
    user_and_password: Option<(String, String)>,
}

impl Pacs {
    /// Creates an archive without studies.
    pub fn new() -> Self {
        Self {
            studies: Vec::new(),
            by_path: Vec::new(),
            conditional: Vec::new(),
            otherwise: None,
            behavior: Behavior::default(),
        }
    }

    /// Adds `study`, which the archive returns in searches and metadata.
    pub fn with_study(mut self, study: Study) -> Self {
        self.studies.push(study);
        self
    }

    /// Answers requests for `path`, relative to the root and with any query, with `answer`.
    pub fn with_response(self, path: &str, answer: CannedResponse) -> Self {
        self.with_responses(path, [answer])
    }

    /// Answers requests for `path` with `answers` in their order; the last answer is repeated.
    pub fn with_responses(mut self, path: &str, answers: impl IntoIterator<Item = CannedResponse>) -> Self {
        self.by_path.push((format!("{ROOT}{path}"), answers.into_iter().collect()));
        self
    }

    /// Answers requests for `path` (any path for `*`) whose query meets the conditions with `answer`. The first answer whose
    /// conditions are met is used.
    pub fn with_conditional_response(
        mut self,
        path: &str,
        keys: Vec<(String, QueryCondition)>,
        answer: CannedResponse,
    ) -> Self {
        let path = if path == "*" { path.to_owned() } else { format!("{ROOT}{path}") };
        self.conditional.push((path, keys, answer));
        self
    }

    /// Answers all other requests with `answer` instead of 404.
    pub fn with_fallback(mut self, answer: CannedResponse) -> Self {
        self.otherwise = Some(answer);
        self
    }

    /// Waits before every answer.
    pub fn with_delay(mut self, duration: Duration) -> Self {
        self.behavior.slow = Some(duration);
        self
    }

    /// Answers metadata requests only after this number of requests was in flight at the same time.
    pub fn with_metadata_barrier(mut self, concurrent: usize) -> Self {
        self.behavior.metadata_until = concurrent;
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

    /// Closes each connection after the first answer, without declaring it in the headers.
    pub fn close_after_each_response(mut self) -> Self {
        self.behavior.close_after_each_response = true;
        self
    }

    /// Answers every search with all studies, like archives that do not support a matching key.
    pub fn ignore_matching_keys(mut self) -> Self {
        self.behavior.ignore_matching_keys = true;
        self
    }

    /// Sets the behavior for `limit` and `offset`.
    pub fn with_paging(mut self, paging: Paging) -> Self {
        self.behavior.paging = paging;
        self
    }

    /// Repeats every row this number of times.
    pub fn repeat_rows(mut self, times: usize) -> Self {
        self.behavior.repeat_rows = times;
        self
    }

    /// Answers searches with more matching studies than this number with 413, like dcm4chee.
    pub fn reject_lists_above(mut self, studies: usize) -> Self {
        self.behavior.max_listed = Some(studies);
        self
    }

    /// Applies `change` after this number of searches for studies.
    pub fn change_after_searches(mut self, searches: usize, change: Change) -> Self {
        self.behavior.changes.push((searches, change));
        self
    }

    /// Answers requests without these credentials with 401.
    pub fn require_basic_auth(mut self, user: &str, password: &str) -> Self {
        self.behavior.user_and_password = Some((user.to_owned(), password.to_owned()));
        self
    }

    /// Starts the archive on a free port.
    pub async fn start(mut self) -> RunningPacs {
        let state = State { studies: std::mem::take(&mut self.studies), ..State::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (changed, _) = watch::channel(());
        let shared = Arc::new(Shared { pacs: self, port, state: Mutex::new(state), changed });
        let serving = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(connection::serve(Arc::clone(&serving), stream));
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
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// The state that connections and the test share.
#[derive(Debug)]
struct Shared {
    pacs: Pacs,
    port: u16,
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    studies: Vec<Study>,
    seen: Vec<ReceivedRequest>,
    answering: usize,
    max_answering: usize,
    connections: usize,
}

impl State {
    fn change(&mut self, change: Change) {
        match change {
            Change::Added(study) => self.studies.insert(0, study),
            Change::Deleted(uid) => self.studies.retain(|study| study.uid() != uid),
        }
    }
}

impl Shared {
    /// Waits until this number of requests was in flight at the same time.
    async fn until_concurrent(&self, answering: usize) {
        let mut changes = self.changed.subscribe();
        while self.state.lock().unwrap().max_answering < answering {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state.lock().unwrap());
        self.changed.send_replace(());
        result
    }

    /// Applies the changes that are due after the latest search.
    fn change_after_searches(&self) {
        let mut state = self.state.lock().unwrap();
        let is_search =
            |seen: &ReceivedRequest| seen.target.split('?').next() == Some(&format!("{ROOT}/studies"));
        if state.seen.last().is_some_and(is_search) {
            let searches = state.seen.iter().filter(|seen| is_search(seen)).count();
            let due = self.pacs.behavior.changes.iter().filter(|(after, _)| *after == searches);
            for (_, change) in due {
                state.change(change.clone());
            }
        }
    }

    /// Determines the answer to a request.
    fn answer_to(&self, seen: &ReceivedRequest) -> CannedResponse {
        if let Some((user, password)) = &self.pacs.behavior.user_and_password {
            use base64::Engine;
            let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
            if seen.header("authorization") != Some(&format!("Basic {pair}")) {
                return CannedResponse::status(401).header("WWW-Authenticate", "Basic realm=\"pacs\"");
            }
        }
        let path = seen.target.split('?').next().unwrap_or_default();
        let query = seen.target.split_once('?').map_or("", |(_, query)| query);
        let matches = |(scripted, conditions, _): &&ConditionalAnswer| {
            (scripted == "*" || scripted == path)
                && conditions.iter().all(|(key, condition)| condition.is_met_by(query, key))
        };
        if let Some((_, _, answer)) = self.pacs.conditional.iter().find(matches) {
            return answer.clone();
        }
        let scripted = self.pacs.by_path.iter().find(|(scripted, _)| scripted == path);
        if let Some((_, answers)) = scripted {
            let state = self.state.lock().unwrap();
            let earlier =
                state.seen.iter().filter(|other| other.target.split('?').next() == Some(path)).count();
            return answers[earlier.saturating_sub(1).min(answers.len() - 1)].clone();
        }
        let local_url = || format!("http://127.0.0.1:{}", self.port);
        let address = self.pacs.behavior.base_url.clone().unwrap_or_else(local_url);
        let state = self.state.lock().unwrap();
        let otherwise = self.pacs.otherwise.clone().filter(|_| state.studies.is_empty());
        let answer =
            otherwise.or_else(|| study::answer(&state.studies, &self.pacs.behavior, &address, &seen.target));
        drop(state);
        self.change_after_searches();
        answer.or_else(|| self.pacs.otherwise.clone()).unwrap_or_else(|| CannedResponse::status(404))
    }
}

/// An archive that runs until it is dropped.
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
        self.shared.change(|state| state.studies = studies.into_iter().collect());
    }

    /// Returns the host and port, which responses of the gateway must not contain.
    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.shared.port)
    }

    /// Changes the studies.
    pub fn change(&self, change: Change) {
        self.shared.state.lock().unwrap().change(change);
    }

    /// Returns all requests so far.
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.shared.state.lock().unwrap().seen.clone()
    }

    /// Returns path and query of all requests so far.
    pub fn targets(&self) -> Vec<String> {
        self.requests().into_iter().map(|seen| seen.target).collect()
    }

    /// Returns the highest number of requests that were in flight at the same time.
    pub fn max_concurrent_requests(&self) -> usize {
        self.shared.state.lock().unwrap().max_answering
    }

    /// Waits until this number of requests was received.
    pub async fn wait_for_requests(&self, times: usize) {
        self.until("sent the expected number of requests", |state| state.seen.len() >= times).await;
    }

    /// Waits until no request is in flight.
    pub async fn wait_until_idle(&self) {
        self.until("idle", |state| state.answering == 0).await;
    }

    /// Waits until this number of requests is in flight.
    pub async fn wait_for_open_requests(&self, count: usize) {
        self.until("at the expected number of open requests", |state| state.answering == count).await;
    }

    async fn until(&self, description: &str, condition: impl Fn(&State) -> bool) {
        let mut changes = self.shared.changed.subscribe();
        let waiting = async {
            while !condition(&self.shared.state.lock().unwrap()) {
                changes.changed().await.unwrap();
            }
        };
        let result = tokio::time::timeout(TEST_TIMEOUT, waiting).await;
        assert!(
            result.is_ok(),
            "the archive was never {description}: {:?}",
            self.shared.state.lock().unwrap()
        );
    }
}

impl Drop for RunningPacs {
    fn drop(&mut self) {
        self.task.abort();
    }
}
