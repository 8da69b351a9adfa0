//! `serve` with limits of open files.

use super::*;

/// Starts `serve` by a shell that first executes `limits`, and returns the program and its log up to the line "listening".
fn start_with_limits(limits: &str) -> (RunningProgram, BufReader<std::process::ChildStderr>, Vec<Value>) {
    let file = write_config_for("http://127.0.0.1:1/rs");
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{limits} && exec \"$@\""), "sh", PROGRAM_PATH, "serve", "--config"]);
    command.arg(file.path()).env("GATEWAY_ARCHIVE__0__MAX_CONCURRENCY", "1");
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    let mut serve = RunningProgram(command.spawn().unwrap());
    let mut reader = BufReader::new(serve.0.stderr.take().unwrap());
    let mut log: Vec<Value> = Vec::new();
    while log.last().is_none_or(|line| line["message"] != "listening") {
        let mut line = String::new();
        assert_ne!(reader.read_line(&mut line).unwrap(), 0, "{log:?}");
        log.push(serde_json::from_str(&line).unwrap());
    }
    (serve, reader, log)
}

#[test]
fn serve_raises_its_soft_limit_of_open_files_to_what_it_needs() {
    let (serve, _reader, log) = start_with_limits("ulimit -Sn 128 && ulimit -Hn 1500");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", serve.0.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    // 1024 clients, twice ten calls to the archive, 32 connections of the admin listener, and 64 others.
    assert_eq!(line.split_whitespace().collect::<Vec<_>>()[3..5], ["1140", "1500"], "{line}");
    assert!(log.iter().all(|line| !line.to_string().contains("ulimit")), "{log:?}");
    assert!(serve.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn admin_listener_responds_while_clients_use_all_other_descriptors() {
    let (serve, mut reader, log) = start_with_limits("ulimit -n 160");
    let warning = log.iter().find(|line| line.to_string().contains("ulimit")).expect("there is no warning");
    assert_eq!(warning["level"], "WARN");
    let numbers = [&warning["limit"], &warning["needed"], &warning["max_connections"]].map(Value::as_u64);
    assert_eq!(numbers, [Some(160), Some(1140), Some(44)], "{warning}");
    let listening = log.last().unwrap();
    let mut clients = Vec::new();
    for _ in 0..200 {
        let mut client = std::net::TcpStream::connect(listening["address"].as_str().unwrap()).unwrap();
        // A client whose connection the gateway has closed for another one cannot send.
        let _ = client.write_all(b"GET /fhir/metadata HTTP/1.1\r\n");
        clients.push(client);
    }
    assert_eq!(get(&format!("http://{}/livez", listening["admin"].as_str().unwrap())).await.status, 200);
    assert!(serve.terminate().success());
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert!(!rest.contains("could not be accepted"), "the descriptors were exhausted: {rest}");
}
