//! A scripted archive. It writes HTTP/1.1 to plain TCP connections itself, so that it can send any bytes, break off anywhere,
//! hang, and close connections as real archives do.
//!
//! ```ignore
//! let pacs = Pacs::new()
//!     .study(Study::new("1.2").of("P1", "Doe^Jane").on("20240131").series("1.2.1", "CT", 3))
//!     .at("/studies/1.2/metadata", Answer::json("[{").breaks_after(2))
//!     .start()
//!     .await;
//! let answer = client::get(&format!("{}/studies", pacs.url())).await;
//! assert_eq!(pacs.targets(), ["/dicom-web/studies"]);
//! ```

mod answer;
mod connection;
mod query;
mod study;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use answer::{Answer, Framing};
pub use query::QueryMatch;
pub use study::Study;

/// How it treats `limit` and `offset`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Paging {
    /// As PS3.18 defines them.
    #[default]
    Honest,
    /// It ignores `limit` and `offset`.
    Ignored,
    /// It ignores `offset`.
    OffsetIgnored,
    /// It ignores `limit`.
    LimitIgnored,
    /// It never returns more rows than this at once, and sends no Warning.
    CutAt(usize),
    /// It never returns more rows than this at once, with a Warning where further rows follow.
    CutAtWithWarning(usize),
    /// It ignores `offset` and never returns more rows than this at once, with a Warning where further rows follow.
    FirstRowsWithWarning(usize),
    /// It rejects an `offset` at the end of the list.
    EndRejected,
}

/// A change of its studies.
#[derive(Debug, Clone)]
pub enum Change {
    /// This study is added before all others.
    Added(Study),
    /// The study with this UID is deleted.
    Deleted(String),
}

/// The root of its DICOMweb services.
pub const ROOT: &str = "/dicom-web";

/// Reached only if a test fails, however busy the machine is.
const TEST_TIMEOUT: Duration = Duration::from_mins(5);

/// An archive under construction.
#[derive(Debug, Clone)]
pub struct Pacs {
    studies: Vec<Study>,
    by_path: Vec<(String, Vec<Answer>)>,
    conditional: Vec<ConditionalAnswer>,
    otherwise: Option<Answer>,
    behavior: Behavior,
}

/// A path, the conditions on its query, and the answer.
type ConditionalAnswer = (String, Vec<(String, QueryMatch)>, Answer);

/// What it does with every answer.
#[derive(Debug, Clone, Default)]
struct Behavior {
    slow: Option<Duration>,
    metadata_until: usize,
    breaks_after: Option<usize>,
    base_url: Option<String>,
    closes_silently: bool,
    ignores_filters: bool,
    paging: Paging,
    repeats_rows: usize,
    max_listed: Option<usize>,
    changes: Vec<(usize, Change)>,
    user_and_password: Option<(String, String)>,
}

impl Pacs {
    /// An archive without studies.
    pub fn new() -> Self {
        Self {
            studies: Vec::new(),
            by_path: Vec::new(),
            conditional: Vec::new(),
            otherwise: None,
            behavior: Behavior::default(),
        }
    }

    /// It holds `study`, and answers searches and metadata requests for it.
    pub fn study(mut self, study: Study) -> Self {
        self.studies.push(study);
        self
    }

    /// It answers requests for `path` below its root, whatever the query, with `answer`.
    pub fn at(self, path: &str, answer: Answer) -> Self {
        self.in_turn(path, [answer])
    }

    /// It answers the first request for `path` with the first answer, and so on; the last answer is repeated.
    pub fn in_turn(mut self, path: &str, answers: impl IntoIterator<Item = Answer>) -> Self {
        self.by_path.push((format!("{ROOT}{path}"), answers.into_iter().collect()));
        self
    }

    /// It answers requests for `path` (any path for `*`) whose query meets these conditions with `answer`; the first that matches
    /// is used.
    pub fn when(mut self, path: &str, keys: Vec<(String, QueryMatch)>, answer: Answer) -> Self {
        let path = if path == "*" { path.to_owned() } else { format!("{ROOT}{path}") };
        self.conditional.push((path, keys, answer));
        self
    }

    /// It answers all other requests with `answer` instead of 404.
    pub fn otherwise(mut self, answer: Answer) -> Self {
        self.otherwise = Some(answer);
        self
    }

    /// It waits before every answer.
    pub fn slow(mut self, duration: Duration) -> Self {
        self.behavior.slow = Some(duration);
        self
    }

    /// It answers no metadata request before it has had this number of requests at the same time.
    pub fn holds_metadata_until(mut self, concurrent: usize) -> Self {
        self.behavior.metadata_until = concurrent;
        self
    }

    /// Every body is aborted after this number of bytes.
    pub fn breaks_after(mut self, bytes: usize) -> Self {
        self.behavior.breaks_after = Some(bytes);
        self
    }

    /// It writes this base URL, such as `http://inner:8042`, into its Retrieve URLs instead of its own.
    pub fn with_base_url(mut self, url: &str) -> Self {
        self.behavior.base_url = Some(url.to_owned());
        self
    }

    /// It closes each connection after its first answer although it announced a persistent connection.
    pub fn closes_silently(mut self) -> Self {
        self.behavior.closes_silently = true;
        self
    }

    /// It answers every search with all studies, like archives that do not support a key.
    pub fn ignores_filters(mut self) -> Self {
        self.behavior.ignores_filters = true;
        self
    }

    /// It treats `limit` and `offset` in this way.
    pub fn paging(mut self, paging: Paging) -> Self {
        self.behavior.paging = paging;
        self
    }

    /// It repeats every row this number of times.
    pub fn repeats_rows(mut self, times: usize) -> Self {
        self.behavior.repeats_rows = times;
        self
    }

    /// It answers a search that finds more studies than this with 413, like dcm4chee.
    pub fn rejects_lists_above(mut self, studies: usize) -> Self {
        self.behavior.max_listed = Some(studies);
        self
    }

    /// Its studies change in this way after it has answered this number of searches for studies.
    pub fn after(mut self, searches: usize, change: Change) -> Self {
        self.behavior.changes.push((searches, change));
        self
    }

    /// It answers 401 unless the request has these credentials.
    pub fn requires_basic_auth(mut self, user: &str, password: &str) -> Self {
        self.behavior.user_and_password = Some((user.to_owned(), password.to_owned()));
        self
    }

    /// Starts it on a free port.
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
pub struct SeenRequest {
    /// `GET`.
    pub method: String,
    /// Path and query, raw.
    pub target: String,
    /// Names in lower case, in their order.
    pub headers: Vec<(String, String)>,
}

impl SeenRequest {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
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
    seen: Vec<SeenRequest>,
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
    /// Waits until it has answered this number of requests at the same time.
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

    /// Makes the changes that are due after the latest request has been answered.
    fn change_after_searches(&self) {
        let mut state = self.state.lock().unwrap();
        let is_search =
            |seen: &SeenRequest| seen.target.split('?').next() == Some(&format!("{ROOT}/studies"));
        if state.seen.last().is_some_and(is_search) {
            let searches = state.seen.iter().filter(|seen| is_search(seen)).count();
            let due = self.pacs.behavior.changes.iter().filter(|(after, _)| *after == searches);
            for (_, change) in due {
                state.change(change.clone());
            }
        }
    }

    /// The answer to a request that has just been received.
    fn answer_to(&self, seen: &SeenRequest) -> Answer {
        if let Some((user, password)) = &self.pacs.behavior.user_and_password {
            use base64::Engine;
            let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
            if seen.header("authorization") != Some(&format!("Basic {pair}")) {
                return Answer::status(401).header("WWW-Authenticate", "Basic realm=\"pacs\"");
            }
        }
        let path = seen.target.split('?').next().unwrap_or_default();
        let query = seen.target.split_once('?').map_or("", |(_, query)| query);
        let fits = |(scripted, conditions, _): &&ConditionalAnswer| {
            (scripted == "*" || scripted == path)
                && conditions.iter().all(|(key, condition)| condition.fits(query, key))
        };
        if let Some((_, _, answer)) = self.pacs.conditional.iter().find(fits) {
            return answer.clone();
        }
        let scripted = self.pacs.by_path.iter().find(|(scripted, _)| scripted == path);
        if let Some((_, answers)) = scripted {
            let state = self.state.lock().unwrap();
            let earlier =
                state.seen.iter().filter(|other| other.target.split('?').next() == Some(path)).count();
            return answers[earlier.saturating_sub(1).min(answers.len() - 1)].clone();
        }
        let own_port = || format!("http://127.0.0.1:{}", self.port);
        let address = self.pacs.behavior.base_url.clone().unwrap_or_else(own_port);
        let state = self.state.lock().unwrap();
        let otherwise = self.pacs.otherwise.clone().filter(|_| state.studies.is_empty());
        let answer =
            otherwise.or_else(|| study::answer(&state.studies, &self.pacs.behavior, &address, &seen.target));
        drop(state);
        self.change_after_searches();
        answer.or_else(|| self.pacs.otherwise.clone()).unwrap_or_else(|| Answer::status(404))
    }
}

/// An archive that runs until it is dropped.
#[derive(Debug)]
pub struct RunningPacs {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl RunningPacs {
    /// The root of its DICOMweb services.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}{ROOT}", self.shared.port)
    }

    /// It holds exactly these studies from now on.
    pub fn set_studies(&self, studies: impl IntoIterator<Item = Study>) {
        self.shared.change(|state| state.studies = studies.into_iter().collect());
    }

    /// Its host and port, which must not appear in responses of the gateway.
    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.shared.port)
    }

    /// Changes its studies.
    pub fn change(&self, change: Change) {
        self.shared.state.lock().unwrap().change(change);
    }

    /// Every request that it received.
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.shared.state.lock().unwrap().seen.clone()
    }

    /// Path and query of every request that it received.
    pub fn targets(&self) -> Vec<String> {
        self.requests().into_iter().map(|seen| seen.target).collect()
    }

    /// The highest number of requests that it was answering at the same time.
    pub fn max_concurrent(&self) -> usize {
        self.shared.state.lock().unwrap().max_answering
    }

    /// Waits until it has received this number of requests.
    pub async fn until_requests(&self, times: usize) {
        self.until("sent enough requests", |state| state.seen.len() >= times).await;
    }

    /// Waits until it is answering no request.
    pub async fn until_idle(&self) {
        self.until("idle", |state| state.answering == 0).await;
    }

    /// Waits until it is answering this number of requests.
    pub async fn until_answering(&self, count: usize) {
        self.until("at the expected number of open requests", |state| state.answering == count).await;
    }

    async fn until(&self, what: &str, is_so: impl Fn(&State) -> bool) {
        let mut changes = self.shared.changed.subscribe();
        let waiting = async {
            while !is_so(&self.shared.state.lock().unwrap()) {
                changes.changed().await.unwrap();
            }
        };
        let waited = tokio::time::timeout(TEST_TIMEOUT, waiting).await;
        assert!(waited.is_ok(), "the archive was never {what}: {:?}", self.shared.state.lock().unwrap());
    }
}

impl Drop for RunningPacs {
    fn drop(&mut self) {
        self.task.abort();
    }
}
