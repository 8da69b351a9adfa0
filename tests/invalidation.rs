//! `POST /invalidate` on the admin listener of the program `serve`, with the example of `docs/operations.md`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::client;
use crate::support::pacs::{Pacs, RunningPacs, Study};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// The settings that keep all entries in the cache for longer than a test.
const LONG_LIFETIMES: &str = "fresh_for = \"24h\"\ndeep_check = \"24h\"\ndeep_check_old = \"24h\"";

/// A running program `serve`, which is killed when this value is dropped.
struct RunningServe {
    process: Child,
    public_url: String,
    admin_address: String,
    /// The files of the configuration and of the token.
    _directory: tempfile::TempDir,
    token_path: String,
}

impl RunningServe {
    /// Starts the program in front of the archive. If `has_token`, its configuration contains the path of the file with the token.
    fn start(pacs: &RunningPacs, has_token: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let token_path = directory.path().join("admin-token");
        std::fs::write(&token_path, format!("{TOKEN}\n")).unwrap();
        let token_path = token_path.to_str().unwrap().to_owned();
        let token_line =
            if has_token { format!("admin_token_file = \"{token_path}\"\n") } else { String::new() };
        let config = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n{token_line}\
             [auth]\nmode = \"open\"\n[cache]\n{LONG_LIFETIMES}\n[telemetry]\nlog = \"json\"\n\
             [[archive]]\nid = \"main\"\nurl = \"{}\"\nprofile = \"generic\"\npatient_id_system = \"urn:oid:2.999.1\"\n",
            pacs.url()
        );
        let config_path = directory.path().join("gateway.toml");
        std::fs::write(&config_path, config).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_dicomweb-gateway"))
            .args(["serve", "--config", config_path.to_str().unwrap()])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let listening = lines
            .by_ref()
            .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap())
            .find(|line| line["admin"].is_string())
            .unwrap();
        // The log is read to its end, so that the program does not wait for its reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            process,
            public_url: format!("http://{}", listening["address"].as_str().unwrap()),
            admin_address: listening["admin"].as_str().unwrap().to_owned(),
            _directory: directory,
            token_path,
        }
    }

    /// Runs the example of the documentation, with `parameter` instead of its parameter.
    fn run_example(&self, parameter: &str) -> Output {
        let documentation = include_str!("../docs/operations.md");
        let start = documentation.find("    curl ").expect("the documentation has an example");
        let lines = documentation[start..].lines().take_while(|line| line.starts_with("    "));
        let example = lines.collect::<Vec<_>>().join("\n");
        let mut command = example;
        for (documented, actual) in [
            ("/run/secrets/gateway-admin-token", self.token_path.as_str()),
            ("127.0.0.1:9090", self.admin_address.as_str()),
            ("study=1.2.840.113619.2.1", parameter),
        ] {
            assert!(command.contains(documented), "{documented} is not in the example: {command}");
            command = command.replace(documented, actual);
        }
        Command::new("sh").args(["-c", &command]).output().unwrap()
    }

    /// Runs the example, which must succeed, and returns the response.
    fn invalidate(&self, parameter: &str) -> Value {
        let output = self.run_example(parameter);
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    async fn instance_uid(&self) -> String {
        let received = client::get(&format!("{}/fhir/ImagingStudy/1.2.1", self.public_url)).await;
        received.json()["series"][0]["instance"][0]["uid"].as_str().unwrap().to_owned()
    }

    /// Returns the SOP Instance UID in the metadata of the series of study 1.2.1.
    async fn metadata_uid(&self) -> String {
        let path = "/dicom-web/main/studies/1.2.1/series/1.2.1.1/metadata";
        let received = client::get(&format!("{}{path}", self.public_url)).await;
        received.json()[0]["00080018"]["Value"][0].as_str().unwrap().to_owned()
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)]) -> client::ReceivedResponse {
        client::send("POST", &format!("http://{}{path}", self.admin_address), headers).await
    }
}

impl Drop for RunningServe {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn study(number: usize, instance_number: usize) -> Study {
    let uid = format!("1.2.{number}");
    Study::new(&uid).patient(&format!("P{number}"), "Doe^Jane").series_with_instances(
        &format!("{uid}.1"),
        "CT",
        [instance_number],
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn invalidated_data_is_read_again() {
    let pacs = Pacs::new().with_study(study(1, 1)).with_study(study(2, 1)).start().await;
    let serve = RunningServe::start(&pacs, true);
    let parameters = [
        ("study=1.2.1", json!({"studies": 1, "responses": 1})),
        ("patient=P1", json!({"studies": 1, "responses": 1})),
        ("patient=urn:oid:2.999.1|P1", json!({"studies": 1, "responses": 1})),
        ("archive=main", json!({"studies": 2, "responses": 1})),
    ];
    client::get(&format!("{}/fhir/ImagingStudy/1.2.2", serve.public_url)).await;
    assert_eq!(
        (serve.instance_uid().await, serve.metadata_uid().await),
        ("1.2.1.1.1".into(), "1.2.1.1.1".into())
    );
    for (index, (parameter, expected)) in parameters.into_iter().enumerate() {
        let (old, new) = (format!("1.2.1.1.{}", index + 1), format!("1.2.1.1.{}", index + 2));
        pacs.set_studies([study(1, index + 2), study(2, 1)]);
        assert_eq!((serve.instance_uid().await, serve.metadata_uid().await), (old.clone(), old));
        assert_eq!(serve.invalidate(parameter), expected, "{parameter}");
        assert_eq!(
            (serve.instance_uid().await, serve.metadata_uid().await),
            (new.clone(), new),
            "{parameter}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn data_of_other_studies_patients_and_issuers_remains_in_the_cache() {
    let pacs = Pacs::new().with_study(study(1, 1)).with_study(study(2, 1)).start().await;
    let serve = RunningServe::start(&pacs, true);
    let content = (serve.instance_uid().await, serve.metadata_uid().await);
    let count_before = pacs.targets().len();
    for parameter in ["study=1.2.2", "patient=P2", "patient=urn:oid:2.999.2|P1"] {
        assert_eq!(serve.invalidate(parameter), json!({"studies": 0, "responses": 0}), "{parameter}");
    }
    assert_eq!((serve.instance_uid().await, serve.metadata_uid().await), content);
    assert_eq!(pacs.targets().len(), count_before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_by_last_updated_returns_an_invalidated_study_if_it_has_changed() {
    let pacs = Pacs::new().with_study(study(1, 1)).with_study(study(2, 1)).start().await;
    let serve = RunningServe::start(&pacs, true);
    let search = async |instant: &str| {
        let url = format!("{}/fhir/ImagingStudy?_lastUpdated=gt{instant}", serve.public_url);
        let bundle = client::get(&url).await.json();
        let instant = bundle["meta"]["lastUpdated"].as_str().unwrap().to_owned();
        let studies = bundle["entry"].as_array().cloned().unwrap_or_default();
        let ids = studies.iter().map(|entry| entry["resource"]["id"].as_str().unwrap().to_owned());
        (ids.collect::<Vec<_>>(), instant)
    };
    let (ids, instant) = search("1970-01-01").await;
    assert_eq!(ids.len(), 2);
    pacs.set_studies([study(1, 2), study(2, 1)]);
    let (ids, instant) = search(&instant).await;
    assert!(ids.is_empty(), "{ids:?}");
    serve.invalidate("archive=main");
    assert_eq!(search(&instant).await.0, ["1.2.1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_requests_are_rejected_with_the_reason() {
    let pacs = Pacs::new().start().await;
    let serve = RunningServe::start(&pacs, true);
    for (parameter, status, reason) in [
        ("archive=other", "404", "no archive with this id"),
        ("study=P1", "400", "Study Instance UID"),
        ("patient=", "400", "PatientID"),
        ("patient=urn:oid:2.999.1|", "400", "PatientID"),
        ("studies=1.2.1", "400", "study, patient and archive"),
    ] {
        let output = serve.run_example(parameter);
        assert!(!output.status.success(), "{parameter}");
        let (body, error) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(body.contains(reason) && error.contains(status), "{parameter}: {body} {error}");
    }
    let authorization = format!("Bearer {TOKEN}");
    assert_eq!(serve.post("/invalidate", &[("Authorization", &authorization)]).await.status, 400);
    for headers in [&[][..], &[("Authorization", "Bearer wrong")]] {
        let received = serve.post("/invalidate", headers).await;
        assert_eq!((received.status, received.header("www-authenticate").is_some()), (401, true));
    }
    assert_eq!(serve.post("/other", &[("Authorization", &authorization)]).await.status, 404);
    for query in ["study=1.2.1", "other=1", ""] {
        let received =
            serve.post(&format!("/invalidate?{query}"), &[("Authorization", &authorization)]).await;
        assert_eq!(received.status, 400, "{query}");
        assert!(received.text().contains("in the body"), "{query}: {}", received.text());
    }
    let url = |path: &str| format!("http://{}{path}", serve.admin_address);
    for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
        let received = client::send(method, &url("/invalidate"), &[("Authorization", &authorization)]).await;
        assert_eq!((received.status, received.header("allow")), (405, Some("POST")), "{method}");
        assert_eq!(received.text(), "only POST\n");
    }
    assert_eq!(client::send("PUT", &url("/other"), &[]).await.status, 404);
    assert_eq!(client::send("PUT", &url("/metrics"), &[]).await.header("allow"), Some("GET, HEAD"));
    let public_url = format!("{}/invalidate", serve.public_url);
    assert_eq!(client::send("POST", &public_url, &[("Authorization", &authorization)]).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn invalidate_does_not_exist_without_a_configured_token() {
    let pacs = Pacs::new().start().await;
    let serve = RunningServe::start(&pacs, false);
    for headers in [&[][..], &[("Authorization", "Bearer "), ("Authorization", "Bearer wrong")]] {
        assert_eq!(serve.post("/invalidate", headers).await.status, 404);
    }
    let url = format!("http://{}/invalidate", serve.admin_address);
    for method in ["GET", "PUT"] {
        assert_eq!(client::send(method, &url, &[]).await.status, 404);
    }
}
