use super::*;
use crate::http::cors::Cors;
use crate::store::{StoreLocation, StoreSettings};
use crate::telemetry::LogFormat;
use crate::upstream::{Credentials, DetailSource, Synthesized, SynthesizedSet};
use proptest::prelude::*;

mod files;
mod variables;

const EXAMPLE_CONFIG: &str = include_str!("../../config/gateway.toml");

const MINIMAL: &str =
    "[auth]\nmode = \"open\"\n[[archive]]\nid = \"main\"\nurl = \"http://pacs/dicom-web\"\n";

fn load_with(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::parse(text, Path::new("gateway.toml"), environment)
}

fn errors(text: &str) -> Vec<String> {
    load_with(text, &[]).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn the_shipped_file_is_valid_and_configures_an_archive() {
    let config = load_with(EXAMPLE_CONFIG, &[]).unwrap();
    assert_eq!(config.archives[0].settings.qido_url.as_str(), "http://127.0.0.1:8042/dicom-web");
    assert_eq!(config.archives[0].settings.profile.name, "orthanc");
}

/// Returns the shipped file with every commented-out setting enabled: `#key = …` is a setting, `# Text` is a comment.
fn shipped_with_all_settings() -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(setting) if setting.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => {
            format!("{setting}\n")
        }
        _ => format!("{line}\n"),
    };
    EXAMPLE_CONFIG.lines().map(line).collect()
}

fn collect_keys(table: &Table, path: &str, keys: &mut BTreeSet<String>) {
    for (key, node) in &table.entries {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        keys.insert(path.clone());
        match &node.value {
            document::Value::Table(_) if key == "issuers" => {}
            document::Value::Table(inner) => collect_keys(inner, &path, keys),
            document::Value::List(items) => {
                for item in items {
                    if let document::Value::Table(inner) = &item.value {
                        collect_keys(inner, &path, keys);
                    }
                }
            }
            _ => {}
        }
    }
}

#[test]
fn the_shipped_file_contains_every_key_and_no_other() {
    let path = Path::new("gateway.toml");
    let mut keys = BTreeSet::new();
    let mut report = Report::new(path);
    collect_keys(&document::read(&shipped_with_all_settings(), &mut report), "", &mut keys);
    report.into_result(Some(())).unwrap();

    let mut report = Report::new(path);
    let table = document::read(EXAMPLE_CONFIG, &mut report);
    Config::read(table, &mut report);
    assert_eq!(keys, report.known_keys);
    assert_eq!(keys, Config::known_keys());
}

#[test]
fn the_shipped_file_contains_the_defaults() {
    let (text, default) = (shipped_with_all_settings(), load_with(MINIMAL, &[]).unwrap());
    let before_archives = &text[..text.find("[[archive]]").unwrap()]
        .replace("/etc/ssl/gateway.", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls/server."))
        // The secret is an example, and only one of the two keys may be set.
        .replace("\nkeys", "\n#keys")
        .replace("\nadmin_token", "\n#admin_token")
        .replace("\nurl_file", "\n#url_file")
        .replace("\npassword", "\n#password")
        .replace("/var/lib/dicomweb-gateway", env!("CARGO_MANIFEST_DIR"));
    let shipped =
        load_with(&format!("{before_archives}\n{}", &MINIMAL[MINIMAL.find("[[archive]]").unwrap()..]), &[])
            .unwrap();
    assert_eq!(format!("{:?}", shipped.fhir), format!("{:?}", default.fhir));
    assert_eq!(format!("{:?}", shipped.search), format!("{:?}", default.search));
    assert_eq!(shipped.cache, default.cache);
    assert_eq!(StoreSettings { location: StoreLocation::Memory, ..shipped.store }, default.store);
    assert_eq!(shipped.telemetry, default.telemetry);
    let without_examples = ServerConfig {
        public_url: None,
        hosts: Vec::new(),
        trusted_proxies: Vec::new(),
        cors: Cors::None,
        tls: None,
        ..shipped.server
    };
    assert_eq!(format!("{without_examples:?}"), format!("{:?}", default.server));
}

#[test]
fn a_certificate_needs_a_key_and_both_must_be_readable() {
    let tls = |lines: &str| errors(&format!("{MINIMAL}[server.tls]\n{lines}")).join("\n");
    let file = |name: &str| format!("{}/tests/tls/{name}", env!("CARGO_MANIFEST_DIR"));
    assert!(tls(&format!("cert = \"{}\"", file("server.pem"))).contains("server.tls.key: is missing"));
    assert!(tls(&format!("key = \"{}\"", file("server.key"))).contains("server.tls.cert: is missing"));
    let unreadable = tls(&format!("cert = \"nowhere.pem\"\nkey = \"{}\"", file("server.key")));
    assert!(unreadable.contains("server.tls.cert: nowhere.pem cannot be read"), "{unreadable}");
}

#[test]
fn an_invalid_certificate_or_key_is_reported_with_its_file_and_the_other_errors() {
    let file = |name: &str| format!("{}/tests/tls/{name}", env!("CARGO_MANIFEST_DIR"));
    let tls = |cert: &str, key: &str| {
        errors(&format!("{MINIMAL}[server]\nlisten = 1\n[server.tls]\ncert = \"{cert}\"\nkey = \"{key}\"\n"))
    };
    let (cert, key, authority) = (file("server.pem"), file("server.key"), file("ca.pem"));
    for (errors, expected) in [
        (
            tls(&key, &key),
            format!("gateway.toml:9: server.tls.cert: {key} contains no valid PEM certificate"),
        ),
        (
            tls(&cert, &cert),
            format!("gateway.toml:10: server.tls.key: {cert} contains no valid PEM private key"),
        ),
        (tls(&authority, &key), format!("({key}, {authority})")),
    ] {
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(errors[0].contains("server.listen") && errors[1].contains(&expected), "{errors:?}");
    }
}

#[test]
fn addresses_of_the_two_listeners_that_overlap_are_rejected() {
    let listeners = |lines: &str| load_with(&format!("{MINIMAL}[server]\n{lines}\n"), &[]);
    for (lines, line) in [
        ("listen = \"127.0.0.1:9090\"", 7),
        ("admin_listen = \"127.0.0.1:8080\"", 7),
        ("listen = \"[::1]:80\"\nadmin_listen = \"[::1]:80\"", 8),
        ("listen = \"127.0.0.1:80\"\nadmin_listen = \"0.0.0.0:80\"", 8),
        ("listen = \"127.0.0.1:80\"\nadmin_listen = \"[::]:80\"", 8),
        ("listen = \"[::1]:9090\"\nadmin_listen = \"[::]:9090\"", 8),
    ] {
        let errors = listeners(lines).unwrap_err();
        let text = errors.to_string();
        assert_eq!(errors.iter().count(), 1, "{text}");
        assert!(text.contains(&format!("gateway.toml:{line}: server.admin_listen: ")), "{text}");
        assert!(text.contains("the two listeners need different ports"), "{text}");
    }
    for valid in [
        "listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"",
        "listen = \"127.0.0.2:80\"\nadmin_listen = \"127.0.0.1:80\"",
        "listen = \"[::1]:80\"\nadmin_listen = \"0.0.0.0:80\"\n",
        "listen = \"127.0.0.1:80\"\nadmin_listen = \"0.0.0.0:81\"\n",
    ] {
        assert!(listeners(valid).is_ok(), "{valid}");
    }
    let errors = listeners("listen = \"127.0.0.1:9090\"\nadmin_listen = 1").unwrap_err();
    assert_eq!(errors.iter().count(), 1, "a default that is not in effect was compared: {errors}");
}

#[test]
fn a_directory_of_the_store_that_does_not_exist_is_reported_with_the_other_errors() {
    let errors = errors(&format!(
        "{MINIMAL}[store]\nurl = \"sqlite:/nowhere/state/gateway.db\"\n[cache]\nmemory = 1\n"
    ));
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert_eq!(
        errors[0],
        "gateway.toml:7: store.url: /nowhere/state is not a directory; create it, writable by the user that runs the gateway"
    );
}

#[test]
fn a_rest_url_needs_a_profile_with_a_change_feed() {
    let errors = errors(&format!("{MINIMAL}rest_url = \"http://127.0.0.1:8042\"\n"));
    assert!(errors.len() == 1 && errors[0].contains("profile auto has no change feed"), "{errors:?}");
    let orthanc = format!("{MINIMAL}profile = \"orthanc\"\nrest_url = \"http://127.0.0.1:8042\"\n");
    assert!(load_with(&orthanc, &[]).is_ok());
}

#[test]
fn a_key_that_is_set_twice_is_an_error_that_contains_the_key() {
    let twice = |text: &str| errors(&format!("{MINIMAL}{text}")).join("\n");
    let value = twice("[search]\nmax_count = 1\nmax_count = 2\n");
    assert!(value.contains("gateway.toml:8: invalid TOML: duplicate key max_count"), "{value}");
    let table = twice("[cache]\n[cache]\n");
    assert!(table.contains("gateway.toml:7: invalid TOML: duplicate key cache"), "{table}");
}

#[test]
fn errors_are_reported_together_with_key_and_line() {
    let text = "\
[server]
listen = \"localhost\"
lisen = \"127.0.0.1:1\"
public_url = \"https://a.example/\"
trusted_proxies = [\"10.0.0.0/33\"]
cors = { allowed_origins = [\"https://a.example/\"] }
[cache]
memory = 512
fresh_for = \"soon\"
stale = \"1m\"
[[archive]]
id = \"MAIN\"
url = \"http://user:hush@pacs/dicom-web\"
time_zone = \"Mars/Olympus\"
profile = \"acme\"
issuers = { A = \"no system\" }
auth = { kind = \"basic\", username = \"u\", password = \"p\", password_file = \"p\", token = \"t\" }
[[archive]]
id = \"second\"
[search]
max_count = 0
default_count = \"many\"
[telemetry]
log = \"xml\"
[federation]
";
    let errors = errors(text);
    for expected in [
        "gateway.toml:2: server.listen: expected an IP address and a port",
        "gateway.toml:3: server.lisen: unknown key; did you mean `listen`?",
        "gateway.toml:4: server.public_url: a public URL is",
        "gateway.toml:5: server.trusted_proxies: \"10.0.0.0/33\": a network is",
        "gateway.toml:6: server.cors.allowed_origins: \"https://a.example/\": an origin is",
        "gateway.toml:8: cache.memory: expected a size",
        "gateway.toml:9: cache.fresh_for: expected a duration",
        "gateway.toml:10: cache.stale: unknown key",
        "gateway.toml:12: archive[0].id: an archive id is",
        "gateway.toml:13: archive[0].url: expected an http:// or https:// URL",
        "gateway.toml:14: archive[0].time_zone: expected the name of a time zone",
        "gateway.toml:15: archive[0].profile: expected one of \"auto\", ",
        "gateway.toml:16: archive[0].issuers.A: expected an absolute URI",
        "gateway.toml:17: archive[0].auth.password_file: is set together with password",
        "gateway.toml:17: archive[0].auth.token: is used only with kind = \"bearer\"",
        "gateway.toml:18: archive[1].url: is missing: set the root URL",
        "gateway.toml:21: search.max_count: expected a whole number",
        "gateway.toml:22: search.default_count: expected a whole number",
        "gateway.toml:24: telemetry.log: expected one of \"text\", \"json\", not \"xml\"",
        "gateway.toml:25: federation: unknown key",
        "gateway.toml: auth.mode: is missing: choose the access control",
    ] {
        assert!(
            errors.iter().any(|error| error.starts_with(expected)),
            "{expected}\nis missing in\n{}",
            errors.join("\n")
        );
    }
    assert_eq!(errors.len(), 21, "{}", errors.join("\n"));
    assert!(!errors.join("\n").contains("hush"));
}

#[test]
fn the_access_control_has_no_default() {
    assert!(errors(&MINIMAL.replace("mode = \"open\"", ""))[0].contains("auth.mode: is missing"));
    assert!(
        errors(&MINIMAL.replace("open", "tokens"))[0]
            .contains("this version has no access control by tokens")
    );
    assert!(errors(&MINIMAL.replace("\"open\"", "1"))[0].contains("expected \"open\""));
}

#[test]
fn an_open_gateway_that_other_machines_can_reach_needs_allow_remote() {
    let with_auth = |listen: &str, setting: &str| {
        let open = format!("mode = \"open\"\n{setting}");
        format!("[server]\nlisten = \"{listen}\"\n{}", MINIMAL.replace("mode = \"open\"", &open))
    };
    for address in ["0.0.0.0:80", "[::]:80", "192.0.2.1:80", "[::ffff:192.0.2.1]:80"] {
        for setting in ["", "allow_remote = false"] {
            let errors = errors(&with_auth(address, setting));
            let expected = format!(
                "gateway.toml:4: auth.allow_remote: server.listen is {address}, which other machines can reach, and mode = \"open\""
            );
            assert!(errors.len() == 1 && errors[0].starts_with(&expected), "{errors:?}");
        }
        assert!(load_with(&with_auth(address, "allow_remote = true"), &[]).unwrap().auth.allow_remote);
    }
    for address in ["127.0.0.1:80", "127.1.2.3:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
        assert!(!load_with(&with_auth(address, ""), &[]).unwrap().auth.allow_remote, "{address}");
    }
    let variable = [("GATEWAY_SERVER__LISTEN", "0.0.0.0:8080")];
    let error = load_with(MINIMAL, &variable).unwrap_err().to_string();
    assert!(error.contains("auth.allow_remote: server.listen is 0.0.0.0:8080 (set by the environment variable GATEWAY_SERVER__LISTEN)"));
    assert!(error.contains(
        "set allow_remote = true in the file or GATEWAY_AUTH__ALLOW_REMOTE=true in the environment"
    ));
    let allowed = [variable[0], ("GATEWAY_AUTH__ALLOW_REMOTE", "true")];
    assert!(load_with(MINIMAL, &allowed).is_ok());
}

#[test]
fn an_archive_at_a_link_local_address_is_rejected_unless_allowed() {
    for (key, host) in
        [("url", "169.254.169.254"), ("url", "[fe80::1]"), ("wado_uri_url", "[::ffff:169.254.1.1]")]
    {
        let url = if key == "url" { "" } else { "url = \"http://pacs.example/rs\"\n" };
        let text = format!(
            "[auth]\nmode = \"open\"\n[[archive]]\nid = \"main\"\n{url}{key} = \"http://{host}/rs\"\n"
        );
        let errors = errors(&text).join("\n");
        assert!(
            errors.contains(&format!("archive[0].{key}: ")) && errors.contains("allow_link_local"),
            "{errors}"
        );
        let allowed = format!("{text}allow_link_local = true\n");
        assert!(Config::parse(&allowed, Path::new("gateway.toml"), []).is_ok(), "{key} {host}");
    }
}

#[test]
fn invalid_toml_is_reported_with_its_line_and_without_errors_for_missing_keys() {
    let errors = errors("[auth]\nmode = \"open\n[[archive]]\nid = \"main\"\ncolour = 1\n");
    assert!(errors[0].starts_with("gateway.toml:2: invalid TOML: "), "{errors:?}");
    assert!(errors.iter().all(|error| !error.contains("is missing")), "{errors:?}");
}

#[test]
fn a_key_below_an_invalid_header_is_not_reported_as_unknown() {
    let errors = errors("[server\nlisten = \"127.0.0.1:8080\"\n[auth]\nmode = \"open\"\n");
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].starts_with("gateway.toml:1: invalid TOML: "), "{errors:?}");
}

#[test]
fn every_item_of_a_list_that_is_not_valid_is_reported() {
    let lists = "hosts = [\"https://a.example\", \"b.example\", \"\"]\ntrusted_proxies = [\"10.0.0.0/99\", \"nginx\"]\n\
                 cors = { allowed_origins = [\"a.example\", \"https://b.example/\"] }\n";
    let fhir = "[fhir]\nprofiles = [\"ipa\", \"none\", 1]\n";
    let errors = errors(&format!("[server]\n{lists}{fhir}{MINIMAL}"));
    let items: [&[&str]; 4] = [
        &["server.hosts", "\"https://a.example\": ", "not empty text"],
        &["server.trusted_proxies", "\"10.0.0.0/99\": ", "\"nginx\": "],
        &["server.cors.allowed_origins", "\"a.example\": ", "\"https://b.example/\": "],
        &["fhir.profiles: expected one of \"smart-imaging-access\", ", "not \"none\" or 1"],
    ];
    assert_eq!(errors.len(), items.len(), "{errors:?}");
    for (error, items) in errors.iter().zip(items) {
        assert!(items.iter().all(|item| error.contains(item)), "{error}");
    }
}

#[test]
fn an_invalid_secret_is_not_part_of_the_error() {
    for (secret, problem) in [("", "the secret is empty"), ("hush\\nhush", "HTTP headers do not allow")] {
        let text = format!("{MINIMAL}auth = {{ kind = \"bearer\", token = \"{secret}\" }}\n");
        let errors = errors(&text).join("\n");
        assert!(errors.contains(problem) && !errors.contains("hush"), "{errors}");
    }
}

#[test]
fn detail_overrides_the_profile() {
    let config = load_with(&format!("{MINIMAL}profile = \"orthanc\"\ndetail = \"qido\"\n"), &[]).unwrap();
    assert_eq!(config.archives[0].settings.profile.detail, DetailSource::Qido);
}

#[test]
fn the_synthesized_services_are_added_to_those_of_the_profile() {
    let synthesize = "profile = \"dicom-rst\"\nsynthesize = [\"rendered\", \"counts\"]\n";
    let config = load_with(&format!("{MINIMAL}{synthesize}"), &[]).unwrap();
    let profile_services = SynthesizedSet::NONE.with(Synthesized::Parents).with(Synthesized::Frames);
    let synthesized = profile_services.with(Synthesized::Rendered).with(Synthesized::Counts);
    assert_eq!(config.archives[0].settings.profile.synthesized, synthesized);
}

#[test]
fn a_duplicate_id_and_a_default_count_above_max_count_are_rejected() {
    let twice = format!("{MINIMAL}[[archive]]\nid = \"main\"\nurl = \"http://b\"\n");
    assert!(
        errors(&twice)[0].contains("gateway.toml:7: archive[1].id: another archive already has the id main")
    );
    let errors = errors(&format!("{MINIMAL}[search]\ndefault_count = 300\n"));
    assert_eq!(errors.len(), 1);
    assert!(errors[0].contains("gateway.toml:7: search.default_count"), "{errors:?}");
    for invalid in ["default_count = 500\nmax_count = 0", "default_count = 0\nmax_count = 20"] {
        let errors = self::errors(&format!("{MINIMAL}[search]\n{invalid}\n"));
        assert_eq!(errors.len(), 1, "a default that is not in effect was compared: {errors:?}");
    }
}

#[test]
fn url_together_with_the_url_of_one_service_is_rejected() {
    let urls = "qido_url = \"http://q/rs\"\nwado_url = \"http://w/rs\"\n";
    let config = load_with(&MINIMAL.replace("url = \"http://pacs/dicom-web\"\n", urls), &[]).unwrap();
    assert_eq!(config.archives[0].settings.wado_url.as_str(), "http://w/rs");
    assert!(errors(&format!("{MINIMAL}{urls}"))[0].contains("archive[0].url: url is for both services"));
    assert!(errors(&format!("{MINIMAL}qido_url = \"http://q\"\n")).join("\n").contains("url is for both"));
    let only_one = MINIMAL.replace("url = ", "qido_url = ");
    assert!(errors(&only_one)[0].contains("archive[0].wado_url: is missing"));
}

proptest! {
    #[test]
    fn the_parser_does_not_panic_for_any_file_or_variable(
        lines in prop::collection::vec("(\\[{1,2}(server|archive|auth|x)\\]{1,2}|(url|mode|issuers|id) = (\"[ -~]{0,8}\"|[0-9]{1,20}|\\{[ -~]{0,9}\\}|\\[.{0,5}\\])|\\PC{0,12})", 0..6),
        name in "GATEWAY_((ARCHIVE|ARCHIVE__0|AUTH|ISSUERS|[A-Z0-9_]{0,5})(__){0,1}){1,4}",
        value in "\\PC{0,8}",
    ) {
        let _ = Config::parse(&lines.join("\n"), Path::new("gateway.toml"), [(name, value)]);
    }
}

#[test]
fn profiles_are_a_list_of_known_guides() {
    let guides = |line: &str, environment: &[(&str, &str)]| {
        load_with(&format!("{MINIMAL}[fhir]\n{line}\n"), environment).map(|config| config.fhir.guides)
    };
    assert_eq!(guides("", &[]).unwrap(), [ImplementationGuide::SmartImagingAccess].into());
    assert_eq!(guides("profiles = []", &[]).unwrap(), [].into());
    assert_eq!(
        guides("profiles = [\"ipa\", \"us-core\"]", &[]).unwrap(),
        [ImplementationGuide::UsCore, ImplementationGuide::Ipa].into()
    );
    let variable = [("GATEWAY_FHIR__PROFILES", "ihe-imr, eu-imaging")];
    assert_eq!(
        guides("", &variable).unwrap(),
        [ImplementationGuide::IheImr, ImplementationGuide::EuImaging].into()
    );
    let error = guides("profiles = [\"us-core\", \"mado\"]", &[]).unwrap_err().to_string();
    assert!(
        error.contains("fhir.profiles: expected one of \"smart-imaging-access\", \"ihe-imr\""),
        "{error}"
    );
}

#[test]
fn notes_are_included_only_if_configured() {
    assert!(!load_with(MINIMAL, &[]).unwrap().fhir.notes);
    assert!(load_with(&format!("{MINIMAL}[fhir]\nnotes = true\n"), &[]).unwrap().fhir.notes);
    assert!(load_with(MINIMAL, &[("GATEWAY_FHIR__NOTES", "true")]).unwrap().fhir.notes);
}

#[test]
fn a_boolean_other_than_true_or_false_is_rejected() {
    let narrative = |value: &str| load_with(&format!("{MINIMAL}[fhir]\nnarrative = {value}\n"), &[]);
    assert!(!load_with(MINIMAL, &[]).unwrap().fhir.narrative);
    assert!(narrative("true").unwrap().fhir.narrative);
    let variable = [("GATEWAY_FHIR__NARRATIVE", "true")];
    assert!(load_with(MINIMAL, &variable).unwrap().fhir.narrative);
    let error = narrative("\"yes\"").unwrap_err().to_string();
    assert!(error.contains("fhir.narrative: expected true or false, not \"yes\""), "{error}");
}

#[test]
fn the_first_of_several_keys_is_the_current_one_and_a_short_one_causes_a_warning() {
    use secrecy::ExposeSecret;
    let load = |section: &str| load_with(&format!("{MINIMAL}\n{section}\n"), &[]).unwrap();
    let warnings = |config: &Config| config.warnings.iter().map(ToString::to_string).collect::<Vec<_>>();
    let keys = |config: &Config| -> Vec<String> {
        config.fhir.keys.iter().map(|key| key.expose_secret().to_owned()).collect()
    };
    let short = load("[fhir]\nkeys = \"0123456789abcdef secret\"");
    assert_eq!(keys(&short), ["0123456789abcdef", "secret"]);
    let short = warnings(&short);
    assert!(
        short.len() == 1 && short[0].contains("keys: contains a secret of fewer than 16 bytes"),
        "{short:?}"
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    std::fs::write(&file, "0123456789abcdef\r\nfedcba9876543210\n").unwrap();
    let config = load(&format!("[fhir]\nkeys_file = {file:?}"));
    assert_eq!(keys(&config), ["0123456789abcdef", "fedcba9876543210"]);
    assert_eq!(warnings(&config), Vec::<String>::new());
    let error = load_with(&format!("{MINIMAL}\n[fhir]\nkeys = \" \"\n"), &[]).unwrap_err().to_string();
    assert!(error.contains("keys: contains no secret"), "{error}");
    let renamed = load("[search]\ncursor_key = \"0123456789abcdef\"");
    assert_eq!(keys(&renamed), ["0123456789abcdef"]);
    assert!(warnings(&renamed)[0].contains("was renamed to fhir.keys"), "{:?}", warnings(&renamed));
}
