//! The log of `serve` about the change feed of an archive.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn serve_logs_once_that_a_change_feed_fails_and_once_that_it_can_be_read_again() {
    let failures = (0..2).map(|_| CannedResponse::status(404));
    let changes = CannedResponse::json(r#"{"Changes":[],"Done":true,"Last":5}"#);
    let pacs = Pacs::new().with_responses("/changes", failures.chain([changes])).start().await;
    let file = write_config_for(&pacs.url());
    let mut command = Command::new(PROGRAM_PATH);
    command.args(["serve", "--config", file.path().to_str().unwrap()]);
    command.env("GATEWAY_ARCHIVE__0__PROFILE", "orthanc").env("GATEWAY_ARCHIVE__0__REST_URL", pacs.url());
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    let mut serve = RunningProgram(command.spawn().unwrap());
    let stderr = serve.0.stderr.take().unwrap();
    pacs.wait_for_requests(4).await;
    assert!(serve.terminate().success());
    let lines = BufReader::new(stderr).lines();
    let log: Vec<Value> = lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    let about_feed: Vec<_> = log
        .iter()
        .filter(|line| line["message"].as_str().is_some_and(|message| message.contains("change feed")))
        .map(|line| [&line["level"], &line["archive"], &line["error"]].map(Value::as_str))
        .collect();
    let failed = [Some("WARN"), Some("main"), Some("has no such resource")];
    assert_eq!(about_feed, [failed, [Some("INFO"), Some("main"), None]], "{log:?}");
}
