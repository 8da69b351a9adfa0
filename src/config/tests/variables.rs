//! Settings in environment variables.

use super::*;

#[test]
fn the_environment_overrides_single_keys_of_the_file() {
    let config = load_with(
        MINIMAL,
        &[
            ("GATEWAY_SERVER__LISTEN", "0.0.0.0:80"),
            ("GATEWAY_AUTH__ALLOW_REMOTE", "true"),
            ("GATEWAY_SERVER__TRUSTED_PROXIES", "10.0.0.0/8, fd00::/8"),
            ("GATEWAY_SEARCH__MAX_COUNT", "100"),
            ("GATEWAY_TELEMETRY__LOG", "json"),
            ("GATEWAY_ARCHIVE__0__NAME", "Main archive"),
            ("GATEWAY_ARCHIVE__0__ISSUERS__Hospital_A", "urn:oid:2.999.1"),
            ("GATEWAY_ARCHIVE__0__AUTH__KIND", "bearer"),
            ("GATEWAY_ARCHIVE__0__AUTH__TOKEN", "t"),
            ("GATEWAY_ARCHIVE__1__ID", "second"),
            ("GATEWAY_ARCHIVE__1__URL", "https://second"),
            ("GATEWAY_CACHE__MEMORY", ""),
            ("GATEWAY_SERVICE_HOST", "10.0.0.1"),
            ("PATH", "/bin"),
        ],
    )
    .unwrap();
    assert_eq!(config.server.listen.to_string(), "0.0.0.0:80");
    assert_eq!(config.server.trusted_proxies.len(), 2);
    assert_eq!(config.search.max_count, 100);
    assert_eq!(config.telemetry.log, LogFormat::Json);
    assert_eq!(config.archives[0].settings.name, "Main archive");
    assert_eq!(config.archives[0].issuers["Hospital_A"], "urn:oid:2.999.1");
    assert!(matches!(config.archives[0].settings.credentials, Credentials::Bearer { .. }));
    assert_eq!(config.archives[1].settings.name, "second");
}

#[test]
fn errors_in_variables_are_reported_with_their_names() {
    let environment = [
        ("GATEWAY_SERVER__LISTN", "x"),
        ("GATEWAY_SEARCH__MAX_SCAN", "-1"),
        ("GATEWAY_ARCHIVE__5__ID", "x"),
        ("GATEWAY_ARCHIVE__0__AUTH__TOKEN_FILE", "/nowhere"),
        ("GATEWAY_ARCHIVE__0__AUTH__KIND", "bearer"),
        ("GATEWAY_SERVER__", "x"),
        ("GATEWAY_AUTH__MODE__X", "x"),
        ("GATEWAY_ARCHIVE__0__NAME", "Main \u{FFFD}"),
    ];
    let errors = load_with(MINIMAL, &environment).unwrap_err();
    let text = errors.to_string();
    for expected in [
        "environment variable GATEWAY_SERVER__LISTN: server.listn: unknown key; did you mean `listen`?",
        "environment variable GATEWAY_SEARCH__MAX_SCAN: search.max_scan: expected a whole number",
        "environment variable GATEWAY_ARCHIVE__5__ID: archive indexes must be consecutive; the next free index is 1",
        "environment variable GATEWAY_ARCHIVE__0__AUTH__TOKEN_FILE: archive[0].auth.token_file: /nowhere: cannot be read",
        "environment variable GATEWAY_SERVER__: the name has an empty level",
        "environment variable GATEWAY_AUTH__MODE__X: mode is not a table",
        "environment variable GATEWAY_ARCHIVE__0__NAME: the value is not valid UTF-8",
    ] {
        assert!(text.contains(expected), "{expected}\nis missing in\n{text}");
    }
    assert_eq!(errors.iter().count(), environment.len() - 1);
}

#[test]
fn a_variable_of_an_archive_without_an_index_is_rejected() {
    for text in [MINIMAL, "[auth]\nmode = \"open\"\n"] {
        for name in ["GATEWAY_ARCHIVE__X__URL", "GATEWAY_ARCHIVE__URL"] {
            let error = load_with(text, &[(name, "http://pacs")]).unwrap_err().to_string();
            let expected = format!(
                "environment variable {name}: archive is a list, so the index of an entry must follow, a number from 0, such as GATEWAY_ARCHIVE__0__URL"
            );
            assert!(error.contains(&expected), "{error}");
        }
    }
}

#[test]
fn a_variable_with_one_underscore_between_levels_is_reported() {
    for (name, setting) in [
        ("GATEWAY_SERVER_LISTEN", "GATEWAY_SERVER__LISTEN"),
        ("GATEWAY_ARCHIVE_1_WADO_URL", "GATEWAY_ARCHIVE__1__WADO_URL"),
        ("GATEWAY_ARCHIVE_AUTH_TOKEN", "GATEWAY_ARCHIVE__0__AUTH__TOKEN"),
    ] {
        let error = load_with(MINIMAL, &[(name, "x")]).unwrap_err().to_string();
        let expected = format!("environment variable {name}: sets nothing; did you mean {setting}?");
        assert!(error.contains(&expected), "{error}");
    }
    let warnings = |name: &str, value: &str| {
        let config = load_with(MINIMAL, &[(name, value)]).unwrap();
        config.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(
        warnings("GATEWAY_SERVER_LISTN", "x"),
        "environment variable GATEWAY_SERVER_LISTN: sets nothing; did you mean GATEWAY_SERVER__LISTEN?"
    );
    for (name, value) in [("GATEWAY_FOO", "x"), ("GATEWAY_PORT", "8080")] {
        let warning = warnings(name, value);
        assert!(
            warning.contains("two underscores separate the levels, as in GATEWAY_SERVER__LISTEN"),
            "{warning}"
        );
    }
    for (name, value) in [
        ("GATEWAY_CONFIG", "gateway.toml"),
        ("GATEWAY_FOO", ""),
        ("GATEWAY_SERVICE_PORT_HTTP", "80"),
        ("GATEWAY_ADMIN_SERVICE_HOST", "10.0.0.1"),
        ("GATEWAY_PORT", "tcp://10.0.0.1:80"),
        ("GATEWAY_PORT_80_TCP_ADDR", "10.0.0.1"),
    ] {
        assert_eq!(warnings(name, value), "", "{name}");
    }
}

#[test]
fn archives_may_be_configured_by_variables_without_a_file() {
    let variables: Vec<_> = (0..12)
        .flat_map(|index| {
            [
                (format!("GATEWAY_ARCHIVE__{index}__ID"), format!("pacs-{index}")),
                (format!("GATEWAY_ARCHIVE__{index}__URL"), format!("http://pacs-{index}/rs")),
            ]
        })
        .chain([("GATEWAY_AUTH__MODE".to_owned(), "open".to_owned())])
        .collect();
    let config = Config::load(Path::new("/nowhere/gateway.toml"), variables).unwrap();
    assert_eq!(config.archives.len(), 12);
    assert_eq!(config.archives[11].settings.id.as_str(), "pacs-11");
}
