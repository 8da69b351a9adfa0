//! Messages about arguments, the environment and the addresses of listeners.

use super::*;

#[test]
fn help_of_help_is_the_help() {
    let help = run(&["help"]);
    for arguments in [["help", "--help"], ["help", "-h"]] {
        let output = run(&arguments);
        assert_eq!((output.status.code(), &output.stdout), (Some(0), &help.stdout), "{arguments:?}");
    }
    assert_eq!(run(&["help", "serve", "--help"]).stdout, run(&["help", "serve"]).stdout);
}

/// Starts `command` on all addresses, with the environment variable `RUST_LOG`. Returns its output and its log.
fn run_on_all_addresses(command: &str, folder: &str, log_directives: &str) -> (String, String) {
    let mut program = Command::new(PROGRAM_PATH);
    program.args([command, folder, "--listen", "0.0.0.0:0"]).env("RUST_LOG", log_directives);
    program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut program = RunningProgram(program.spawn().unwrap());
    let mut output = String::new();
    let mut reader = BufReader::new(program.0.stdout.take().unwrap());
    while !output.contains("The archive is at") && !output.contains("Stop it") {
        assert_ne!(reader.read_line(&mut output).unwrap(), 0, "{output}");
    }
    let mut log = program.0.stderr.take().unwrap();
    assert!(program.terminate().success());
    let mut text = String::new();
    log.read_to_string(&mut text).unwrap();
    (output, text)
}

#[test]
fn demo_and_archive_warn_about_other_machines_and_name_skipped_files_only_at_debug_level() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("Doe^Jane.txt"), "no DICOM").unwrap();
    for (command, url) in [("archive", "http://127.0.0.1:"), ("demo", "http://127.0.0.1:")] {
        let folder = folder.path().to_str().unwrap();
        let (output, log) = run_on_all_addresses(command, folder, "info");
        assert!(output.contains(url) && !output.contains("0.0.0.0"), "{output}");
        let warning = log.lines().find(|line| line.contains("can read every patient's data"));
        assert!(warning.is_some_and(|line| line.contains("WARN")), "{log}");
        assert!(!log.contains("Doe^Jane"), "{log}");
        let (_, log) = run_on_all_addresses(command, folder, "dicomweb_archive=debug");
        let skipped =
            log.lines().find(|line| line.contains("Doe^Jane.txt")).expect("the file is not in the log");
        assert!(skipped.contains("not a DICOM file"), "{skipped}");
    }
}

#[test]
fn an_invalid_rust_log_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let (_, log) = run_on_all_addresses("archive", folder.path().to_str().unwrap(), "gate=bogus");
    let warning = log.lines().find(|line| line.contains("RUST_LOG is invalid")).expect("there is no warning");
    assert!(warning.contains("WARN"), "{warning}");
}
