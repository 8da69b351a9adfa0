use std::path::Path;

use super::super::{Config, ConfigErrors, document};
use super::*;
use crate::store::StoreLocation;

const MINIMAL: &str =
    "[auth]\nmode = \"open\"\n[[archive]]\nid = \"main\"\nurl = \"http://pacs/dicom-web\"\n";

fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::parse(text, Path::new("gateway.toml"), environment)
}

fn warnings(config: &Config) -> Vec<String> {
    config.warnings.iter().map(ToString::to_string).collect()
}

fn synthesizes_counts(config: &Config, archive: usize) -> bool {
    config.archives[archive].settings.profile.synthesized.contains(crate::upstream::Synthesized::Counts)
}

#[test]
fn the_table_renames_keys_to_keys_of_this_release() {
    let mut report = Report::new(Path::new("gateway.toml"));
    let table = document::read("[[archive]]\n", &mut report);
    Config::read(table, &mut report);
    for key in RENAMED_KEYS {
        assert!(report.known_keys.contains(key.new), "{}", key.new);
        assert!(!report.known_keys.contains(key.old), "{}", key.old);
    }
}

#[test]
fn an_old_name_in_the_file_works_with_a_warning_that_contains_the_line() {
    let text = format!(
        "{MINIMAL}[[archive]]\nid = \"second\"\nurl = \"http://second\"\nsupply = [\"counts\"]\n\
         [cache]\nledger_entries = 5000\n"
    );
    let config = load(&text, &[]).unwrap();
    assert!(!synthesizes_counts(&config, 0) && synthesizes_counts(&config, 1));
    assert_eq!(config.cache.change_log_entries, 5000);
    assert_eq!(
        warnings(&config),
        [
            "gateway.toml:9: archive[1].supply: was renamed to archive[1].synthesize; \
             the old name works in this release only",
            "gateway.toml:11: cache.ledger_entries: was renamed to cache.change_log_entries; \
             the old name works in this release only",
        ]
    );
}

#[test]
fn an_old_name_in_a_variable_works_with_a_warning_that_contains_both_variables() {
    let config = load(MINIMAL, &[("GATEWAY_ARCHIVE__0__SUPPLY", "counts, parents")]).unwrap();
    assert!(synthesizes_counts(&config, 0));
    assert_eq!(
        warnings(&config),
        ["environment variable GATEWAY_ARCHIVE__0__SUPPLY: archive[0].supply: was renamed to \
          archive[0].synthesize, GATEWAY_ARCHIVE__0__SYNTHESIZE; the old name works in this release only"]
    );
    assert!(warnings(&load(MINIMAL, &[("GATEWAY_ARCHIVE__0__SUPPLY", "")]).unwrap()).is_empty());
    assert!(warnings(&load(MINIMAL, &[("GATEWAY_ARCHIVE__0__SYNTHESIZE", "counts")]).unwrap()).is_empty());
}

#[test]
fn the_old_and_the_new_name_together_are_an_error() {
    let both = format!("{MINIMAL}supply = [\"counts\"]\nsynthesize = [\"counts\"]\n");
    let errors = load(&both, &[]).unwrap_err();
    assert_eq!(
        errors.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["gateway.toml:6: archive[0].supply: is the old name of archive[0].synthesize, and both are set; \
          remove archive[0].supply"]
    );
    let both = [("GATEWAY_CACHE__LEDGER_ENTRIES", "5000"), ("GATEWAY_CACHE__CHANGE_LOG_ENTRIES", "5000")];
    let errors = load(MINIMAL, &both).unwrap_err();
    assert_eq!(
        errors.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["environment variable GATEWAY_CACHE__LEDGER_ENTRIES: cache.ledger_entries: is the old name of \
          GATEWAY_CACHE__CHANGE_LOG_ENTRIES, and both are set; remove GATEWAY_CACHE__LEDGER_ENTRIES"]
    );
}

#[test]
fn a_variable_overrides_the_file_with_the_old_and_the_new_name() {
    let old_file = format!("{MINIMAL}[cache]\nledger_entries = 5000\n");
    let new_file = format!("{MINIMAL}[cache]\nchange_log_entries = 5000\n");
    for (file, variable, warning_count) in [
        (&old_file, "GATEWAY_CACHE__LEDGER_ENTRIES", 2),
        (&old_file, "GATEWAY_CACHE__CHANGE_LOG_ENTRIES", 1),
        (&new_file, "GATEWAY_CACHE__LEDGER_ENTRIES", 1),
    ] {
        let config = load(file, &[(variable, "7000")]).unwrap();
        assert_eq!(config.cache.change_log_entries, 7000, "{variable}");
        assert_eq!(config.warnings.len(), warning_count, "{variable}");
    }
}

#[test]
fn a_wrong_value_under_an_old_name_is_reported_with_the_warning_that_explains_the_key() {
    let errors = load(&format!("{MINIMAL}supply = [\"beauty\"]\n"), &[]).unwrap_err().to_string();
    assert!(errors.contains("gateway.toml:6: archive[0].synthesize: "), "{errors}");
    assert!(errors.contains("warning: gateway.toml:6: archive[0].supply: was renamed to"), "{errors}");
}

#[test]
fn a_key_may_move_to_another_table() {
    let renamed = [RenamedKey::new("search.secret.key", "fhir.key")];
    let rename = |text: &str| {
        let mut report = Report::new(Path::new("gateway.toml"));
        let mut table = document::read(text, &mut report);
        rename_keys(&renamed, &mut table, &mut report);
        let Some(Value::Table(fhir)) = table.entries.get("fhir").map(|node| &node.value) else {
            return (None, report);
        };
        let value = match fhir.entries.get("key").map(|node| &node.value) {
            Some(Value::Text(text)) => Some(text.clone()),
            _ => None,
        };
        (value, report)
    };
    let (value, report) = rename("[search.secret]\nkey = \"one\"\n");
    let ((), warnings) = report.into_result(Some(())).unwrap();
    assert_eq!(value.as_deref(), Some("one"));
    assert_eq!(
        warnings[0].to_string(),
        "gateway.toml:2: search.secret.key: was renamed to fhir.key; the old name works in this release only"
    );
    let (value, report) = rename("[search.secret]\nkey = \"one\"\n[fhir]\nkey = \"two\"\n");
    assert!(report.into_result(Some(())).is_err());
    assert_eq!(value.as_deref(), Some("two"));
    let levels = |levels: &[&str]| {
        let levels: Vec<_> = levels.iter().map(|level| (*level).to_owned()).collect();
        rename_levels(&renamed, &levels).map(|(levels, _)| levels)
    };
    assert_eq!(levels(&["SEARCH", "SECRET", "KEY"]).unwrap(), ["FHIR", "KEY"]);
    assert_eq!(levels(&["SEARCH", "SECRET"]), None);
    assert_eq!(levels(&["SEARCH", "MAX_COUNT"]), None);
}

#[test]
fn the_keys_of_a_renamed_table_are_renamed_with_it() {
    let renamed = [RenamedKey::new("archive.login", "archive.auth")];
    let levels: Vec<_> = ["ARCHIVE", "0", "login", "Kind"].map(str::to_owned).into();
    assert_eq!(rename_levels(&renamed, &levels).unwrap().0, ["ARCHIVE", "0", "AUTH", "Kind"]);
}

#[test]
fn a_state_directory_becomes_the_url_of_a_file_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().display();
    let expected = StoreLocation::Sqlite(folder.path().join("gateway.db"));
    let file = load(&format!("{MINIMAL}[cache]\nstate_dir = \"{directory}\"\n"), &[]).unwrap();
    assert_eq!(file.store.location, expected);
    assert_eq!(
        warnings(&file),
        [
            "gateway.toml:7: cache.state_dir: was renamed to store.url; the old name works in this release only"
        ]
    );
    let variable = load(MINIMAL, &[("GATEWAY_CACHE__STATE_DIR", &format!("{directory}/"))]).unwrap();
    assert_eq!(variable.store.location, expected);
}
