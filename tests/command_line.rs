//! The command line: arguments, exit codes, signals and output.

mod change_feed;
mod demo;
#[cfg(target_os = "linux")]
mod file_descriptors;
mod messages;
mod partial_responses;
mod store;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use dicomweb_archive::archive::Progress;
use dicomweb_archive::{Content, RunningArchive, start_archive};
use serde_json::Value;

use crate::support::client::get;
use crate::support::pacs::{CannedResponse, Pacs};

/// The path of the program under test.
const PROGRAM_PATH: &str = env!("CARGO_BIN_EXE_dicomweb-gateway");

/// Runs the program until it ends.
fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM_PATH).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A running program, which is killed when this value is dropped.
struct RunningProgram(Child);

impl RunningProgram {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM_PATH);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    /// Stops the program with SIGTERM, and returns its exit status.
    fn terminate(self) -> ExitStatus {
        self.stop("-TERM")
    }

    /// Stops the program with `signal`, an option of kill(1), and returns its exit status.
    fn stop(mut self, signal: &str) -> ExitStatus {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
        self.0.wait().unwrap()
    }
}

impl Drop for RunningProgram {
    fn drop(&mut self) {
        // The program has ended already unless the test has failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Writes a configuration file, which is deleted when the returned value is dropped.
fn write_config(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// Writes a configuration file for the archive at `url`.
fn write_config_for(url: &str) -> tempfile::NamedTempFile {
    write_config(&format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n[auth]\nmode = \"open\"\n\
         [telemetry]\nlog = \"json\"\n[[archive]]\nid = \"main\"\nurl = \"{url}\"\n"
    ))
}

/// Starts the embedded archive with the sample studies.
async fn start_sample_archive() -> RunningArchive {
    start_archive(Content::Samples, SocketAddr::from(([127, 0, 0, 1], 0)), Progress::Silent).await.unwrap()
}

#[test]
fn usage_errors_exit_with_64_and_failures_with_1() {
    assert_eq!(run(&["--version"]).status.code(), Some(0));
    assert_eq!(run(&[]).status.code(), Some(64));
    assert_eq!(run(&["unknown-command"]).status.code(), Some(64));
    assert_eq!(run(&["serve", "--config", "/nowhere/gateway.toml"]).status.code(), Some(64));
    let file = write_config("[server]\nlisten = 8080\ncolor = \"red\"\n");
    let rejected = run(&["serve", "--config", file.path().to_str().unwrap()]);
    assert_eq!(rejected.status.code(), Some(64));
    let errors = text(&rejected.stderr);
    for part in [":2: server.listen: ", ":3: server.color: ", "auth.mode: is missing", "archive: is missing"]
    {
        assert!(errors.contains(part), "{errors}");
    }
    assert_eq!(run(&["archive", "/nowhere"]).status.code(), Some(1));
}

#[test]
fn an_invalid_address_or_url_is_rejected_with_an_example() {
    for address in ["localhost:8090", "foo", "127.0.0.1:99999"] {
        for arguments in [vec!["demo", "--listen", address], vec!["archive", ".", "--listen", address]] {
            let rejected = run(&arguments);
            assert_eq!(rejected.status.code(), Some(64));
            let error = text(&rejected.stderr);
            let expected = "expected an IP address and a port, such as \"127.0.0.1:8080\"";
            assert!(error.contains(expected), "{error}");
        }
    }
    for url in ["foo", "localhost:9090", "https://127.0.0.1:9090"] {
        let rejected = run(&["healthcheck", "--url", url]);
        assert_eq!(rejected.status.code(), Some(64), "{url}");
        let error = text(&rejected.stderr);
        assert!(error.contains("expected an http:// URL, such as http://127.0.0.1:9090"), "{error}");
    }
}

#[test]
fn healthcheck_without_a_configuration_names_both_options() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(PROGRAM_PATH);
    command.arg("healthcheck").current_dir(folder.path()).env_remove("GATEWAY_CONFIG");
    let rejected = command.output().unwrap();
    assert_eq!(rejected.status.code(), Some(64));
    let error = text(&rejected.stderr);
    for part in [
        "name the configuration file with --config FILE",
        "--url http://127.0.0.1:9090",
        "config/gateway.toml: cannot be read",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn an_archive_of_a_directory_without_dicom_files_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("notes.txt"), "no DICOM").unwrap();
    let folder = folder.path().to_str().unwrap();
    for (command, last_line) in [("archive", "The archive is at"), ("demo", "Stop it")] {
        let mut program = RunningProgram::start(&[command, folder, "--listen", "127.0.0.1:0"]);
        let mut lines = BufReader::new(program.0.stdout.take().unwrap()).lines().map(Result::unwrap);
        lines.find(|line| line.starts_with(last_line)).unwrap();
        let mut log = program.0.stderr.take().unwrap();
        assert!(program.terminate().success());
        let mut text = String::new();
        log.read_to_string(&mut text).unwrap();
        assert!(
            text.contains("WARN") && text.contains("contains no readable DICOM file"),
            "{command}: {text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_reports_whether_an_archive_works() {
    let archive = start_sample_archive().await;
    let file = write_config_for(&archive.url());
    let path = file.path().to_str().unwrap().to_owned();
    let arguments = ["check", "--config", &path];
    let success = run(&arguments);
    let table = text(&success.stdout);
    assert!(success.status.success() && table.contains("works"), "{table}");
    archive.stop().await;
    let failure = run(&arguments);
    assert_eq!(failure.status.code(), Some(1));
    assert!(text(&failure.stdout).contains("main     DOES NOT WORK  search for studies: cannot be reached"));
}

/// The warnings for a configuration file that sets `supply` of the first archive, and an environment variable that sets
/// `cache.ledger_entries`.
const RENAMED_KEY_WARNINGS: [&str; 2] = [
    ":3: archive[0].supply: was renamed to archive[0].synthesize;",
    "environment variable GATEWAY_CACHE__LEDGER_ENTRIES: cache.ledger_entries: was renamed to \
     cache.change_log_entries, GATEWAY_CACHE__CHANGE_LOG_ENTRIES;",
];

/// Writes a configuration file with a key that was renamed.
fn write_config_with_old_key() -> tempfile::NamedTempFile {
    write_config(
        "[[archive]]\nid = \"main\"\nsupply = [\"counts\"]\nurl = \"http://127.0.0.1:1/rs\"\n[auth]\nmode = \"open\"\n\
         [server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n[telemetry]\nlog = \"json\"\n",
    )
}

#[test]
fn check_and_serve_warn_about_renamed_keys_with_their_location() {
    let file = write_config_with_old_key();
    let program = |command: &str| {
        let mut program = Command::new(PROGRAM_PATH);
        program.args([command, "--config", file.path().to_str().unwrap()]);
        program.env("GATEWAY_CACHE__LEDGER_ENTRIES", "5000").stdin(Stdio::null());
        program
    };
    let check_output = text(&program("check").output().unwrap().stdout);
    for warning in RENAMED_KEY_WARNINGS {
        assert!(
            check_output.lines().any(|line| line.starts_with("Warning: ") && line.contains(warning)),
            "{check_output}"
        );
    }

    let mut serve = RunningProgram(program("serve").stderr(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(serve.0.stderr.take().unwrap()).lines();
    let log: Vec<Value> = lines
        .by_ref()
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .take_while(|line: &Value| line["message"] != "listening")
        .collect();
    for warning in RENAMED_KEY_WARNINGS {
        let is_warning =
            |line: &&Value| line["message"].as_str().is_some_and(|message| message.contains(warning));
        assert_eq!(
            log.iter().find(is_warning).map(|line| &line["level"]),
            Some(&Value::from("WARN")),
            "{log:?}"
        );
    }
    assert!(serve.terminate().success());
}

#[test]
fn a_configuration_with_the_old_and_the_new_name_of_a_key_is_rejected() {
    let file = write_config_with_old_key();
    let mut program = Command::new(PROGRAM_PATH);
    program.args(["serve", "--config", file.path().to_str().unwrap()]);
    program.env("GATEWAY_CACHE__LEDGER_ENTRIES", "5000").env("GATEWAY_CACHE__CHANGE_LOG_ENTRIES", "5000");
    let rejected = program.output().unwrap();
    assert_eq!(rejected.status.code(), Some(64));
    let errors = text(&rejected.stderr);
    let expected = "cache.ledger_entries: is the old name of GATEWAY_CACHE__CHANGE_LOG_ENTRIES, and both are set; \
                    remove GATEWAY_CACHE__LEDGER_ENTRIES";
    assert!(errors.contains(expected), "{errors}");
}

#[test]
fn check_returns_the_same_exit_code_if_its_output_is_closed() {
    let archives: Vec<_> = (0..22)
        .map(|number| format!("[[archive]]\nid = \"pacs-{number}\"\nurl = \"http://127.0.0.1:1/rs\"\n"))
        .collect();
    let file = write_config(&format!("[auth]\nmode = \"open\"\n{}", archives.concat()));
    let mut check = RunningProgram::start(&["check", "--config", file.path().to_str().unwrap()]);
    drop(check.0.stdout.take());
    let mut errors = String::new();
    check.0.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(check.0.wait().unwrap().code(), Some(1), "the exit code is not that of unreachable archives");
    assert_eq!(errors, "", "the closed pipe was reported as an error");
}

#[test]
fn check_and_serve_reject_a_key_that_does_not_belong_to_the_certificate() {
    let tls_file = |name: &str| format!("{}/tests/tls/{name}", env!("CARGO_MANIFEST_DIR"));
    let file = write_config(&format!(
        "[server]\ntls = {{cert = \"{}\", key = \"{}\"}}\n[auth]\nmode = \"open\"\n[[archive]]\nid = \"main\"\nurl = \"http://127.0.0.1:1/rs\"\n",
        tls_file("ca.pem"),
        tls_file("server.key")
    ));
    for command in ["check", "serve"] {
        let failure = run(&[command, "--config", file.path().to_str().unwrap()]);
        assert_eq!(failure.status.code(), Some(64), "{command}");
        let error = text(&failure.stderr);
        assert!(
            error.contains("server.tls.key: the key does not belong to the certificate"),
            "{command}: {error}"
        );
    }
}

#[test]
fn check_and_serve_reject_an_open_gateway_that_other_machines_can_reach() {
    let file = write_config(
        "[auth]\nmode = \"open\"\n[[archive]]\nid = \"main\"\nurl = \"http://127.0.0.1:1/rs\"\n",
    );
    for command in ["check", "serve"] {
        let mut program = Command::new(PROGRAM_PATH);
        program.args([command, "--config", file.path().to_str().unwrap()]);
        let rejected = program.env("GATEWAY_SERVER__LISTEN", "0.0.0.0:0").output().unwrap();
        assert_eq!(rejected.status.code(), Some(64), "{command}");
        let error = text(&rejected.stderr);
        assert!(error.contains(":2: auth.allow_remote: server.listen is 0.0.0.0:0"), "{command}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_logs_a_truncated_response_as_aborted_with_the_archive() {
    // The body is longer than the part that is read before the status is sent.
    let row = "{\"0020000D\":{\"vr\":\"UI\",\"Value\":[\"1.2\"]}},";
    let pacs = Pacs::new()
        .with_response("/studies", CannedResponse::json(format!("[{}", row.repeat(50_000))))
        .start()
        .await;
    let file = write_config_for(&pacs.url());
    let mut serve = RunningProgram::start(&["serve", "--config", file.path().to_str().unwrap()]);
    let lines = BufReader::new(serve.0.stderr.take().unwrap()).lines();
    let mut log = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let listening = log.find(|line| line["message"] == "listening").unwrap();
    let public_address = listening["address"].as_str().unwrap();
    let received = get(&format!("http://{public_address}/dicom-web/main/studies")).await;
    assert!(!received.is_complete, "{}", received.text());
    assert!(serve.terminate().success());
    let log: Vec<_> = log.collect();
    let warning = log.iter().find(|line| line["level"] == "WARN").expect("the log contains no warning");
    assert_eq!(warning["archive"], "main", "{warning}");
    assert!(warning["message"].as_str().unwrap().contains("aborted"), "{warning}");
    let request = log
        .iter()
        .find(|line| line["route"] == "dicomweb")
        .expect("the log contains no entry for the request");
    assert_eq!(request["outcome"], "aborted", "{request}");
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_logs_why_requests_failed_and_when_the_circuit_of_an_archive_opens_and_closes() {
    let failures = (0..5).map(|_| CannedResponse::status(503));
    let pacs =
        Pacs::new().with_responses("/studies", failures.chain([CannedResponse::json("[]")])).start().await;
    let file = write_config_for(&pacs.url());
    let mut serve = RunningProgram::start(&["serve", "--config", file.path().to_str().unwrap()]);
    let lines = BufReader::new(serve.0.stderr.take().unwrap()).lines();
    let mut log = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let listening = log.find(|line| line["message"] == "listening").unwrap();
    let url = format!("http://{}", listening["address"].as_str().unwrap());
    let dicomweb_search = format!("{url}/dicom-web/main/studies?PatientID=SECRET");
    for _ in 0..5 {
        assert_eq!(get(&dicomweb_search).await.status, 503);
    }
    assert_eq!(get(&format!("{url}/fhir/ImagingStudy?patient.identifier=SECRET")).await.status, 503);
    let mut attempts = 0;
    while get(&dicomweb_search).await.status == 503 {
        attempts += 1;
        assert!(attempts < 200, "the circuit does not close");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(serve.terminate().success());
    let log: Vec<_> = log.collect();
    let entries = |route: &'static str, status: u16| {
        log.iter().filter(move |line| line["route"] == route && line["status"] == status)
    };
    let open = "archive main failed several times in a row (last failure: responded with status 503); ";
    for (entry, error) in [
        (
            entries("dicomweb", 503).next(),
            "archive main responded with status 503: it is temporarily unavailable",
        ),
        (entries("dicomweb", 503).next_back(), open),
        (entries("fhir.search.ImagingStudy", 503).next(), open),
    ] {
        let entry = entry.expect("the log has no entry for the request");
        assert_eq!(
            (&entry["level"], &entry["archive"]),
            (&Value::from("WARN"), &Value::from("main")),
            "{entry}"
        );
        assert!(entry["error"].as_str().unwrap().starts_with(error), "{entry}");
    }
    let succeeded = entries("dicomweb", 200).next().expect("the log has no entry for the last request");
    assert_eq!((&succeeded["level"], succeeded.get("error")), (&Value::from("INFO"), None), "{succeeded}");
    let circuit_changes: Vec<_> = log
        .iter()
        .filter(|line| line["message"].as_str().is_some_and(|message| message.contains("circuit breaker")))
        .map(|line| [&line["level"], &line["archive"], &line["class"], &line["error"]].map(Value::as_str))
        .collect();
    let opened = [Some("WARN"), Some("main"), Some("search"), Some("responded with status 503")];
    assert_eq!(circuit_changes, [opened, [Some("INFO"), Some("main"), Some("search"), None]], "{log:?}");
    assert!(log.iter().all(|line| !line.to_string().contains("SECRET")), "{log:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_becomes_ready_responds_and_shuts_down_on_sigterm() {
    let archive = start_sample_archive().await;
    let file = write_config_for(&archive.url());
    let mut serve = RunningProgram::start(&["serve", "--config", file.path().to_str().unwrap()]);
    let mut log = BufReader::new(serve.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    let is_listening = |line: &Value| line["message"] == "listening";
    let line =
        log.by_ref().map(|line| serde_json::from_str::<Value>(&line).unwrap()).find(is_listening).unwrap();
    let (public_address, admin_address) =
        (line["address"].as_str().unwrap(), line["admin"].as_str().unwrap());

    assert!(run(&["healthcheck", "--url", &format!("http://{admin_address}")]).status.success());
    assert_eq!(get(&format!("http://{admin_address}/livez")).await.status, 200);
    for path in ["livez", "readyz", "metrics"] {
        assert_eq!(get(&format!("http://{public_address}/{path}")).await.status, 404, "{path}");
    }
    let response = get(&format!("http://{public_address}/fhir/Patient?name=Anna&_count=1")).await;
    assert_eq!(response.status, 200);
    let metrics = get(&format!("http://{admin_address}/metrics")).await.text();
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
    let failure = run(&["healthcheck", "--url", &format!("http://{admin_address}")]);
    assert_eq!(failure.status.code(), Some(1));
}
