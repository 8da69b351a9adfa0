//! The command line: arguments, exit codes, signals and output.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use dicomweb_archive::archive::Progress;
use dicomweb_archive::{Content, RunningArchive, start_archive};
use serde_json::Value;

use crate::support::client::get;
use crate::support::pacs::{CannedResponse, Pacs};

const PROGRAM: &str = env!("CARGO_BIN_EXE_dicomweb-gateway");

fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A running program, which is killed if a test fails before it stops the program.
struct Started(Child);

impl Started {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    /// Stops it with SIGTERM, as an orchestrator does.
    fn terminate(mut self) -> ExitStatus {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        self.0.wait().unwrap()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Usually it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A configuration in a file that is deleted when the returned value is dropped.
fn config(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn config_for(url: &str) -> tempfile::NamedTempFile {
    config(&format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n[auth]\nmode = \"open\"\n\
         [telemetry]\nlog = \"json\"\n[[archive]]\nid = \"main\"\nurl = \"{url}\"\n"
    ))
}

async fn samples() -> RunningArchive {
    start_archive(Content::Samples, SocketAddr::from(([127, 0, 0, 1], 0)), Progress::Silent).await.unwrap()
}

#[test]
fn usage_errors_exit_with_64_and_failures_with_1() {
    assert_eq!(run(&["--version"]).status.code(), Some(0));
    assert_eq!(run(&[]).status.code(), Some(64));
    assert_eq!(run(&["frobnicate"]).status.code(), Some(64));
    assert_eq!(run(&["serve", "--config", "/nowhere/gateway.toml"]).status.code(), Some(64));
    let file = config("[server]\nlisten = 8080\ncolor = \"red\"\n");
    let refused = run(&["serve", "--config", file.path().to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(64));
    let errors = text(&refused.stderr);
    for part in [":2: server.listen: ", ":3: server.color: ", "auth.mode: is missing", "archive: is missing"]
    {
        assert!(errors.contains(part), "{errors}");
    }
    assert_eq!(run(&["archive", "/nowhere"]).status.code(), Some(1));
}

#[test]
fn demo_reports_a_port_that_is_in_use() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = run(&["demo", "--listen", &address]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains(&format!("cannot listen on {address}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn demo_prints_urls_that_all_respond() {
    let mut demo = Started::start(&["demo", "--listen", "127.0.0.1:0"]);
    let lines = BufReader::new(demo.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let printed: Vec<_> = lines.take_while(|line| !line.starts_with("Stop it")).collect();
    let urls: Vec<_> =
        printed.iter().map(|line| line.trim()).filter(|line| line.starts_with("http")).collect();
    assert!(urls.len() >= 8, "{printed:?}");
    for url in urls {
        let response = get(url).await;
        assert_eq!(response.status, 200, "{url}");
        assert!(response.is_complete && response.body.len() > 100, "{url}");
    }
    assert!(demo.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn check_reports_what_an_archive_supports() {
    let archive = samples().await;
    let file = config_for(&archive.url());
    let path = file.path().to_str().unwrap().to_owned();
    let arguments = ["check", "--config", &path];
    let working = run(&arguments);
    let table = text(&working.stdout);
    assert!(working.status.success() && table.contains("works"), "{table}");
    archive.stop().await;
    let broken = run(&arguments);
    assert_eq!(broken.status.code(), Some(1));
    assert!(text(&broken.stdout).contains("main     DOES NOT WORK  search for studies: cannot be reached"));
}

/// The warnings for a configuration that sets `supply` of the first archive and, by environment variable, `cache.ledger_entries`.
const RENAMED: [&str; 2] = [
    ":3: archive[0].supply: was renamed to archive[0].synthesize;",
    "environment variable GATEWAY_CACHE__LEDGER_ENTRIES: cache.ledger_entries: was renamed to \
     cache.change_log_entries, GATEWAY_CACHE__CHANGE_LOG_ENTRIES;",
];

fn config_with_old_names() -> tempfile::NamedTempFile {
    config(
        "[[archive]]\nid = \"main\"\nsupply = [\"counts\"]\nurl = \"http://127.0.0.1:1/rs\"\n[auth]\nmode = \"open\"\n\
         [server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n[telemetry]\nlog = \"json\"\n",
    )
}

#[test]
fn check_and_serve_warn_about_renamed_keys_with_their_location() {
    let file = config_with_old_names();
    let program = |command: &str| {
        let mut program = Command::new(PROGRAM);
        program.args([command, "--config", file.path().to_str().unwrap()]);
        program.env("GATEWAY_CACHE__LEDGER_ENTRIES", "5000").stdin(Stdio::null());
        program
    };
    let checked = text(&program("check").output().unwrap().stdout);
    for warning in RENAMED {
        assert!(
            checked.lines().any(|line| line.starts_with("Warning: ") && line.contains(warning)),
            "{checked}"
        );
    }

    let mut serve = Started(program("serve").stderr(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(serve.0.stderr.take().unwrap()).lines();
    let log: Vec<Value> = lines
        .by_ref()
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .take_while(|line: &Value| line["message"] != "listening")
        .collect();
    for warning in RENAMED {
        let warns = |line: &&Value| line["message"].as_str().is_some_and(|message| message.contains(warning));
        assert_eq!(log.iter().find(warns).map(|line| &line["level"]), Some(&Value::from("WARN")), "{log:?}");
    }
    assert!(serve.terminate().success());
}

#[test]
fn the_old_and_the_new_name_of_a_key_are_rejected_together() {
    let file = config_with_old_names();
    let mut program = Command::new(PROGRAM);
    program.args(["serve", "--config", file.path().to_str().unwrap()]);
    program.env("GATEWAY_CACHE__LEDGER_ENTRIES", "5000").env("GATEWAY_CACHE__CHANGE_LOG_ENTRIES", "5000");
    let refused = program.output().unwrap();
    assert_eq!(refused.status.code(), Some(64));
    let errors = text(&refused.stderr);
    let expected = "cache.ledger_entries: is the old name of GATEWAY_CACHE__CHANGE_LOG_ENTRIES, and both are set; \
                    remove GATEWAY_CACHE__LEDGER_ENTRIES";
    assert!(errors.contains(expected), "{errors}");
}

#[test]
fn check_keeps_its_exit_code_when_nobody_reads_its_output() {
    let archives: Vec<_> = (0..22)
        .map(|number| format!("[[archive]]\nid = \"pacs-{number}\"\nurl = \"http://127.0.0.1:1/rs\"\n"))
        .collect();
    let file = config(&format!("[auth]\nmode = \"open\"\n{}", archives.concat()));
    let mut check = Started::start(&["check", "--config", file.path().to_str().unwrap()]);
    drop(check.0.stdout.take());
    let mut said = String::new();
    check.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(check.0.wait().unwrap().code(), Some(1), "no archive can be reached");
    assert_eq!(said, "", "a closed pipe is no error");
}

#[test]
fn check_and_serve_reject_a_key_that_does_not_belong_to_the_certificate() {
    let own = |name: &str| format!("{}/tests/tls/{name}", env!("CARGO_MANIFEST_DIR"));
    let file = config(&format!(
        "[server]\ntls = {{cert = \"{}\", key = \"{}\"}}\n[auth]\nmode = \"open\"\n[[archive]]\nid = \"main\"\nurl = \"http://127.0.0.1:1/rs\"\n",
        own("ca.pem"),
        own("server.key")
    ));
    for command in ["check", "serve"] {
        let broken = run(&[command, "--config", file.path().to_str().unwrap()]);
        assert_eq!(broken.status.code(), Some(1), "{command}");
        let error = text(&broken.stderr);
        assert!(
            error.contains("server.tls: the key does not belong to the certificate"),
            "{command}: {error}"
        );
    }
}

#[test]
fn check_reports_a_state_directory_that_does_not_exist() {
    let file = config(
        "[cache]\nstate_dir = \"/nonexistent/state\"\n[auth]\nmode = \"open\"\n[[archive]]\nid = \"main\"\nurl = \"http://127.0.0.1:1/rs\"\n",
    );
    let broken = run(&["check", "--config", file.path().to_str().unwrap()]);
    assert_eq!(broken.status.code(), Some(1));
    let error = text(&broken.stderr);
    assert!(error.contains("cache.state_dir: /nonexistent/state is not a directory"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_logs_a_truncated_response_with_its_archive_and_as_aborted() {
    // Longer than what is read before the status is sent.
    let row = "{\"0020000D\":{\"vr\":\"UI\",\"Value\":[\"1.2\"]}},";
    let pacs = Pacs::new()
        .with_response("/studies", CannedResponse::json(format!("[{}", row.repeat(50_000))))
        .start()
        .await;
    let file = config_for(&pacs.url());
    let mut serve = Started::start(&["serve", "--config", file.path().to_str().unwrap()]);
    let lines = BufReader::new(serve.0.stderr.take().unwrap()).lines();
    let mut log = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let listening = log.find(|line| line["message"] == "listening").unwrap();
    let public = listening["address"].as_str().unwrap();
    let received = get(&format!("http://{public}/dicom-web/main/studies")).await;
    assert!(!received.is_complete, "{}", received.text());
    assert!(serve.terminate().success());
    let log: Vec<_> = log.collect();
    let warning = log.iter().find(|line| line["level"] == "WARN").expect("a warning");
    assert_eq!(warning["archive"], "main", "{warning}");
    assert!(warning["message"].as_str().unwrap().contains("aborted"), "{warning}");
    let request = log.iter().find(|line| line["route"] == "dicomweb").expect("an entry of the request");
    assert_eq!(request["outcome"], "aborted", "{request}");
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_becomes_ready_responds_and_shuts_down_on_sigterm() {
    let archive = samples().await;
    let file = config_for(&archive.url());
    let mut serve = Started::start(&["serve", "--config", file.path().to_str().unwrap()]);
    let mut log = BufReader::new(serve.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    let is_listening = |line: &Value| line["message"] == "listening";
    let line =
        log.by_ref().map(|line| serde_json::from_str::<Value>(&line).unwrap()).find(is_listening).unwrap();
    let (public, admin) = (line["address"].as_str().unwrap(), line["admin"].as_str().unwrap());

    assert!(run(&["healthcheck", "--url", &format!("http://{admin}")]).status.success());
    assert_eq!(get(&format!("http://{admin}/livez")).await.status, 200);
    for hidden in ["livez", "readyz", "metrics"] {
        assert_eq!(get(&format!("http://{public}/{hidden}")).await.status, 404, "{hidden}");
    }
    let found = get(&format!("http://{public}/fhir/Patient?name=Anna&_count=1")).await;
    assert_eq!(found.status, 200);
    let metrics = get(&format!("http://{admin}/metrics")).await.text();
    assert!(
        metrics.contains(
            "gateway_requests_total{route=\"fhir.search.Patient\",method=\"GET\",status=\"200\"} 1"
        )
    );

    assert!(serve.terminate().success());
    let log: Vec<_> = log.collect();
    let log = log.join("\n");
    assert!(log.contains("\"route\":\"fhir.search.Patient\"") && log.contains("stopped"), "{log}");
    assert!(!log.contains("Anna") && !log.contains("name="), "{log}");
    let failed = run(&["healthcheck", "--url", &format!("http://{admin}")]);
    assert_eq!(failed.status.code(), Some(1));
}
