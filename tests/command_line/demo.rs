//! The command `demo`: its output, its signals and its temporary files.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::{PROGRAM_PATH, RunningProgram, run, text};
use crate::support::client::get;

#[test]
fn demo_reports_a_port_that_is_in_use() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let rejected = run(&["demo", "--listen", &address]);
    assert_eq!(rejected.status.code(), Some(1));
    let error = text(&rejected.stderr);
    assert!(error.contains(&format!("cannot listen on {address}: ")), "{error}");
    assert!(error.trim_end().ends_with("; choose another address with --listen ADDRESS"), "{error}");
    assert!(!error.contains("server.listen") && error.matches("os error").count() == 1, "{error}");
}

/// Starts `demo` with its temporary files in `folder`, and returns it when it is ready.
#[cfg(target_os = "linux")]
fn start_demo_in(folder: &std::path::Path, mut command: Command) -> RunningProgram {
    command.args(["demo", "--listen", "127.0.0.1:0"]).env("TMPDIR", folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut demo = RunningProgram(command.spawn().unwrap());
    let mut lines = BufReader::new(demo.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    lines.find(|line| line.starts_with("Stop it")).unwrap();
    demo
}

#[cfg(target_os = "linux")]
#[test]
fn demo_removes_its_samples_when_the_terminal_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    // The tests themselves may run under nohup.
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP", PROGRAM_PATH]);
    let demo = start_demo_in(folder.path(), command);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    assert!(demo.stop("-HUP").success());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the samples were not removed");
}

#[cfg(target_os = "linux")]
#[test]
fn demo_with_nohup_continues_when_the_terminal_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("nohup");
    command.arg(PROGRAM_PATH);
    let demo = start_demo_in(folder.path(), command);
    let status = std::fs::read_to_string(format!("/proc/{}/status", demo.0.id())).unwrap();
    let ignored_signals = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim();
    let mask = u64::from_str_radix(ignored_signals, 16).unwrap();
    assert_eq!(mask & 1, 1, "SIGHUP is not ignored: {ignored_signals}");
    assert!(demo.terminate().success());
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn demo_prints_urls_that_can_be_opened_and_no_log_line_between_them() {
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" demo --listen 127.0.0.1:0 2>&1", PROGRAM_PATH]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut demo = RunningProgram(command.spawn().unwrap());
    let lines = BufReader::new(demo.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut log = Vec::new();
    let lines = lines.skip_while(|line| {
        log.push(line.clone());
        !line.ends_with("files are served")
    });
    let printed_lines: Vec<_> = lines.take_while(|line| !line.starts_with("Stop it")).collect();
    assert!(!log.iter().any(|line| line.contains("WARN")), "{log:?}");
    assert!(!printed_lines.iter().any(|line| line.contains("INFO")), "{printed_lines:?}");
    let urls: Vec<_> =
        printed_lines.iter().map(|line| line.trim()).filter(|line| line.starts_with("http")).collect();
    assert!(urls.len() >= 10, "{printed_lines:?}");
    for path in ["/readyz", "/metrics"] {
        assert!(urls.iter().any(|url| url.ends_with(path)), "{printed_lines:?}");
    }
    assert!(urls.iter().any(|url| url.ends_with("?accept=application/dicom")), "{printed_lines:?}");
    for url in urls {
        let response = get(url).await;
        let is_file = response.body.get(128..132) == Some(b"DICM");
        assert_eq!(is_file, url.ends_with("?accept=application/dicom"), "{url}");
        assert_eq!(response.status, 200, "{url}");
        assert!(response.is_complete, "{url}");
        assert!(response.body.len() > 100 || url.ends_with("/readyz"), "{url}");
    }
    assert!(demo.terminate().success());
}
