//! An archive that does what a test tells it to. It speaks HTTP/1.1 over plain TCP by hand, so that it can send any bytes,
//! break off anywhere, hang, and close connections as real archives do.
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
pub use query::Given;
pub use study::Study;

/// How it pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Paging {
    /// As it is asked to.
    #[default]
    Honest,
    /// It ignores `limit` and `offset`.
    Ignored,
    /// It ignores `offset`.
    OffsetIgnored,
    /// It ignores `limit`.
    LimitIgnored,
    /// It never gives more rows than this at once, and does not say so.
    CutAt(usize),
}

/// What becomes of its studies.
#[derive(Debug, Clone)]
pub enum Change {
    /// This one is new, and stands before all others.
    New(Study),
    /// The one with this UID is gone.
    Gone(String),
}

/// Where its DICOMweb services stand.
pub const ROOT: &str = "/dicom-web";

/// Reached only when a test fails, however busy the machine is.
const PATIENCE: Duration = Duration::from_mins(5);

/// An archive that is being told what to do.
#[derive(Debug, Clone)]
pub struct Pacs {
    studies: Vec<Study>,
    told: Vec<(String, Vec<Answer>)>,
    told_when: Vec<Told>,
    otherwise: Option<Answer>,
    habits: Habits,
}

/// A path, the keys that its query must have, and the answer.
type Told = (String, Vec<(String, Given)>, Answer);

/// What it does to every answer.
#[derive(Debug, Clone, Default)]
struct Habits {
    slow: Option<Duration>,
    metadata_to: usize,
    breaks_after: Option<usize>,
    says_host: Option<String>,
    closes_silently: bool,
    ignores_filters: bool,
    paging: Paging,
    repeats_rows: usize,
    lists_at_most: Option<usize>,
    changes: Vec<(usize, Change)>,
    user_and_password: Option<(String, String)>,
}

impl Pacs {
    /// An archive without studies.
    pub fn new() -> Self {
        Self {
            studies: Vec::new(),
            told: Vec::new(),
            told_when: Vec::new(),
            otherwise: None,
            habits: Habits::default(),
        }
    }

    /// It holds `study`, and answers searches and metadata of it.
    pub fn study(mut self, study: Study) -> Self {
        self.studies.push(study);
        self
    }

    /// It answers requests for `path`, below its root and whatever the query, with `answer`.
    pub fn at(self, path: &str, answer: Answer) -> Self {
        self.in_turn(path, [answer])
    }

    /// It answers the first request for `path` with the first answer, and so on; the last answer stands for all others.
    pub fn in_turn(mut self, path: &str, answers: impl IntoIterator<Item = Answer>) -> Self {
        self.told.push((format!("{ROOT}{path}"), answers.into_iter().collect()));
        self
    }

    /// It answers requests for `path`, or for any with `*`, whose query has each of these keys as it is said, with `answer`;
    /// of several that fit, the first.
    pub fn when(mut self, path: &str, keys: Vec<(String, Given)>, answer: Answer) -> Self {
        let path = if path == "*" { path.to_owned() } else { format!("{ROOT}{path}") };
        self.told_when.push((path, keys, answer));
        self
    }

    /// It answers whatever it was not told about with `answer`, in place of 404.
    pub fn otherwise(mut self, answer: Answer) -> Self {
        self.otherwise = Some(answer);
        self
    }

    /// It takes its time before every answer.
    pub fn slow(mut self, duration: Duration) -> Self {
        self.habits.slow = Some(duration);
        self
    }

    /// It answers no request for metadata before it has had so many of them at once.
    pub fn answers_metadata_to(mut self, at_once: usize) -> Self {
        self.habits.metadata_to = at_once;
        self
    }

    /// Every body breaks off after so many bytes.
    pub fn breaks_after(mut self, bytes: usize) -> Self {
        self.habits.breaks_after = Some(bytes);
        self
    }

    /// It writes that address, such as `http://inner:8042`, into its RetrieveURLs in place of its own.
    pub fn says_host(mut self, address: &str) -> Self {
        self.habits.says_host = Some(address.to_owned());
        self
    }

    /// It closes each connection after its first answer, though it said that it would keep it.
    pub fn closes_silently(mut self) -> Self {
        self.habits.closes_silently = true;
        self
    }

    /// It answers every search with everything, as archives do that do not know a key.
    pub fn ignores_filters(mut self) -> Self {
        self.habits.ignores_filters = true;
        self
    }

    /// It pages in that way.
    pub fn pages(mut self, paging: Paging) -> Self {
        self.habits.paging = paging;
        self
    }

    /// It gives every row so many times more, one after the other.
    pub fn repeats_rows(mut self, times: usize) -> Self {
        self.habits.repeats_rows = times;
        self
    }

    /// It answers a search for studies that finds more than so many with 413, as dcm4chee does.
    pub fn lists_at_most(mut self, studies: usize) -> Self {
        self.habits.lists_at_most = Some(studies);
        self
    }

    /// Its studies change so, once it has answered that many searches for studies.
    pub fn after(mut self, searches: usize, change: Change) -> Self {
        self.habits.changes.push((searches, change));
        self
    }

    /// It refuses whoever does not name that user and password.
    pub fn asks_for(mut self, user: &str, password: &str) -> Self {
        self.habits.user_and_password = Some((user.to_owned(), password.to_owned()));
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

/// A request as the archive saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// `GET`.
    pub method: String,
    /// Path and query, raw.
    pub target: String,
    /// Names in lower case, in the order in which they came.
    pub headers: Vec<(String, String)>,
}

impl Seen {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }
}

/// What the connections and the test share.
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
    seen: Vec<Seen>,
    answering: usize,
    most_answering: usize,
    connections: usize,
}

impl State {
    fn change(&mut self, change: Change) {
        match change {
            Change::New(study) => self.studies.insert(0, study),
            Change::Gone(uid) => self.studies.retain(|study| study.uid() != uid),
        }
    }
}

impl Shared {
    /// Until it has been answering so many at once.
    async fn until_most(&self, answering: usize) {
        let mut changes = self.changed.subscribe();
        while self.state.lock().unwrap().most_answering < answering {
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

    /// Makes the changes that are due when the latest request has been answered.
    fn change_after_searches(&self) {
        let mut state = self.state.lock().unwrap();
        let is_search = |seen: &Seen| seen.target.split('?').next() == Some(&format!("{ROOT}/studies"));
        if state.seen.last().is_some_and(is_search) {
            let searches = state.seen.iter().filter(|seen| is_search(seen)).count();
            let due = self.pacs.habits.changes.iter().filter(|(after, _)| *after == searches);
            for (_, change) in due {
                state.change(change.clone());
            }
        }
    }

    /// What is answered to a request that has just been seen.
    fn answer_to(&self, seen: &Seen) -> Answer {
        if let Some((user, password)) = &self.pacs.habits.user_and_password {
            use base64::Engine;
            let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
            if seen.header("authorization") != Some(&format!("Basic {pair}")) {
                return Answer::status(401).header("WWW-Authenticate", "Basic realm=\"pacs\"");
            }
        }
        let path = seen.target.split('?').next().unwrap_or_default();
        let query = seen.target.split_once('?').map_or("", |(_, query)| query);
        let fits = |(told, keys, _): &&Told| {
            (told == "*" || told == path) && keys.iter().all(|(key, given)| given.fits(query, key))
        };
        if let Some((_, _, answer)) = self.pacs.told_when.iter().find(fits) {
            return answer.clone();
        }
        let told = self.pacs.told.iter().find(|(told, _)| told == path);
        if let Some((_, answers)) = told {
            let state = self.state.lock().unwrap();
            let earlier =
                state.seen.iter().filter(|other| other.target.split('?').next() == Some(path)).count();
            return answers[earlier.saturating_sub(1).min(answers.len() - 1)].clone();
        }
        let own_port = || format!("http://127.0.0.1:{}", self.port);
        let address = self.pacs.habits.says_host.clone().unwrap_or_else(own_port);
        let state = self.state.lock().unwrap();
        let told_otherwise = self.pacs.otherwise.clone().filter(|_| state.studies.is_empty());
        let answer = told_otherwise
            .or_else(|| study::answer(&state.studies, &self.pacs.habits, &address, &seen.target));
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

    /// It holds these studies from now on, and no others.
    pub fn holds_now(&self, studies: impl IntoIterator<Item = Study>) {
        self.shared.change(|state| state.studies = studies.into_iter().collect());
    }

    /// What names it in an answer.
    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.shared.port)
    }

    /// Its studies change so.
    pub fn change(&self, change: Change) {
        self.shared.state.lock().unwrap().change(change);
    }

    /// Every request that it saw.
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.state.lock().unwrap().seen.clone()
    }

    /// Path and query of every request that it saw.
    pub fn targets(&self) -> Vec<String> {
        self.requests().into_iter().map(|seen| seen.target).collect()
    }

    /// The most requests that it was answering at once.
    pub fn most_at_once(&self) -> usize {
        self.shared.state.lock().unwrap().most_answering
    }

    /// Waits until it has seen so many requests.
    pub async fn until_asked(&self, times: usize) {
        self.until("asked", |state| state.seen.len() >= times).await;
    }

    /// Waits until it is answering nobody.
    pub async fn until_idle(&self) {
        self.until("idle", |state| state.answering == 0).await;
    }

    /// Waits until it is answering so many.
    pub async fn until_answering(&self, count: usize) {
        self.until("left alone", |state| state.answering == count).await;
    }

    async fn until(&self, what: &str, is_so: impl Fn(&State) -> bool) {
        let mut changes = self.shared.changed.subscribe();
        let waiting = async {
            while !is_so(&self.shared.state.lock().unwrap()) {
                changes.changed().await.unwrap();
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(waited.is_ok(), "the archive was never {what}: {:?}", self.shared.state.lock().unwrap());
    }
}

impl Drop for RunningPacs {
    fn drop(&mut self) {
        self.task.abort();
    }
}
