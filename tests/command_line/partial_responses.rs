//! The log of `serve` for responses without archives that fail.

use super::*;
use crate::support::client::{get_with_headers, post};
use crate::support::pacs::Study;

#[tokio::test(flavor = "multi_thread")]
async fn serve_logs_the_archives_that_are_missing_from_a_response_in_the_line_of_the_request() {
    let main =
        Pacs::new().with_study(Study::new("1.2.1").patient("P1", "Doe^Jane").series("1.2.1.1", "CT", 1));
    let main = main.start().await;
    let failing = Pacs::new().with_fallback(CannedResponse::status(500)).start().await;
    let file = write_config_for(&main.url());
    for id in ["second", "third"] {
        let archive = format!("[[archive]]\nid = \"{id}\"\nurl = \"{}\"\n", failing.url());
        file.as_file().write_all(archive.as_bytes()).unwrap();
    }
    let mut serve = RunningProgram::start(&["serve", "--config", file.path().to_str().unwrap()]);
    let lines = BufReader::new(serve.0.stderr.take().unwrap()).lines();
    let mut log = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let listening = log.find(|line| line["message"] == "listening").unwrap();
    let url = format!("http://{}", listening["address"].as_str().unwrap());
    for (path, headers, status) in [
        ("/fhir/ImagingStudy", &[("prefer", "handling=lenient"), ("x-request-id", "search")][..], 200),
        ("/fhir/ImagingStudy?endpoint=main", &[("x-request-id", "named")], 200),
        ("/fhir/ImagingStudy/1.2.1", &[("x-request-id", "read")], 200),
        ("/dicom-web/studies", &[("prefer", "handling=lenient"), ("x-request-id", "rows")], 200),
        ("/fhir/ImagingStudy?endpoint=second", &[("x-request-id", "failed")], 502),
        ("/fhir/ImagingStudy", &[("x-request-id", "strict")], 502),
    ] {
        assert_eq!(get_with_headers(&format!("{url}{path}"), headers).await.status, status, "{path}");
    }
    let batch = r#"{"resourceType":"Bundle","type":"batch","entry":[
        {"request":{"method":"GET","url":"ImagingStudy?endpoint=main"}},
        {"request":{"method":"GET","url":"ImagingStudy/1.2.1"}}]}"#;
    assert_eq!(post(&format!("{url}/fhir"), "application/fhir+json", batch).await.status, 200);
    assert!(serve.terminate().success());
    let log: Vec<_> = log.collect();
    let is_request = |line: &&Value| line["message"] == "request";
    for line in log.iter().filter(is_request).filter(|line| line["status"] == 200) {
        assert_eq!(
            (&line["level"], &line["archive"]),
            (&Value::from("WARN"), &Value::from("second, third")),
            "{line}"
        );
        let error = line["error"].as_str().unwrap();
        for archive in ["second", "third"] {
            assert!(error.contains(&format!("archive {archive} ")), "{line}");
        }
    }
    assert_eq!(log.iter().filter(is_request).count(), 7, "{log:?}");
    let others: Vec<_> = log.iter().filter(|line| line["level"] == "WARN" && !is_request(line)).collect();
    assert!(others.is_empty(), "{others:?}");
}
