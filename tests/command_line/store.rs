//! The store: what `serve` and `check` report about it.

use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::time::Duration;

use dicomweb_gateway::clock::SystemClock;
use dicomweb_gateway::store::{self, Durability, StoreLocation, StoreSettings, StoreTable};

use super::{RunningProgram, run, text, write_config};

/// Writes a configuration file with a store in `folder` and an archive that cannot be reached.
fn write_config_with_state_in(folder: &std::path::Path) -> tempfile::NamedTempFile {
    write_config(&format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n[store]\nurl = \"sqlite:{}/gateway.db\"\n\
         [auth]\nmode = \"open\"\n[[archive]]\nid = \"main\"\nurl = \"http://127.0.0.1:1/rs\"\n",
        folder.display()
    ))
}

#[test]
fn check_and_serve_report_a_directory_of_the_store_that_does_not_exist() {
    let file = write_config_with_state_in(std::path::Path::new("/nonexistent/state"));
    for command in ["check", "serve"] {
        let failure = run(&[command, "--config", file.path().to_str().unwrap()]);
        assert_eq!(failure.status.code(), Some(64), "{command}");
        let error = text(&failure.stderr);
        assert!(error.contains(":5: store.url: /nonexistent/state is not a directory; create it"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_reports_a_damaged_store_and_serve_starts_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("gateway.db");
    std::fs::write(&store, [7; 10_000]).unwrap();
    let file = write_config_with_state_in(folder.path());
    let failure = run(&["check", "--config", file.path().to_str().unwrap()]);
    assert_eq!(failure.status.code(), Some(1));
    let error = text(&failure.stderr);
    let expected = format!("dicomweb-gateway: store.url: {}", store.display());
    assert!(error.contains(&expected) && error.contains("is damaged"), "{error}");
    assert_eq!(error.matches("is damaged").count(), 1, "{error}");

    let mut serve = RunningProgram::start(&["serve", "--config", file.path().to_str().unwrap()]);
    let mut lines = BufReader::new(serve.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    let log: Vec<_> = lines.by_ref().take_while(|line| !line.contains("listening")).collect();
    let warning = log.iter().find(|line| line.contains("the store is damaged")).expect("there is no warning");
    let renamed = folder.path().join("gateway.db.damaged-1");
    for part in ["WARN", store.to_str().unwrap(), renamed.to_str().unwrap()] {
        assert!(warning.contains(part), "{warning}");
    }
    assert!(serve.terminate().success());
    assert!(std::fs::read(&renamed).unwrap() == [7; 10_000], "the damaged file was changed");
    let table = run(&["check", "--config", file.path().to_str().unwrap()]);
    assert!(!text(&table.stderr).contains("damaged"), "the new store cannot be opened");
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_replaces_a_store_whose_entries_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.db");
    let settings = StoreSettings::new(StoreLocation::Sqlite(file), Duration::from_mins(10));
    let store = store::open(&settings, Arc::new(SystemClock::default())).await.unwrap();
    let mut transaction = store.begin(Durability::Immediate).await.unwrap();
    let entry = (b"latest".to_vec(), b"no time".to_vec());
    transaction.put_many(StoreTable::new("change_log_fact"), &[entry]).await.unwrap();
    transaction.commit().await.unwrap();
    store.close().await;
    drop(store);
    let file = write_config_with_state_in(folder.path());
    let mut serve = RunningProgram::start(&["serve", "--config", file.path().to_str().unwrap()]);
    let mut lines = BufReader::new(serve.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    let log: Vec<_> = lines.by_ref().take_while(|line| !line.contains("listening")).collect();
    assert!(log.iter().any(|line| line.contains("WARN") && line.contains("the store is damaged")), "{log:?}");
    assert!(serve.terminate().success());
    assert!(folder.path().join("gateway.db.damaged-1").is_file());
}

#[test]
fn serve_warns_about_the_store_of_an_earlier_version_and_leaves_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("store.redb"), "records").unwrap();
    let file = write_config_with_state_in(folder.path());
    let mut serve = RunningProgram::start(&["serve", "--config", file.path().to_str().unwrap()]);
    let mut lines = BufReader::new(serve.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    let log: Vec<_> = lines.by_ref().take_while(|line| !line.contains("listening")).collect();
    let warnings: Vec<_> = log.iter().filter(|line| line.contains("store.redb")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("WARN"), "{log:?}");
    assert!(serve.terminate().success());
    assert_eq!(std::fs::read(folder.path().join("store.redb")).unwrap(), b"records");
}
