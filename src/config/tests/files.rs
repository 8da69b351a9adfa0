//! The configuration file and the files that it names.

use super::*;

#[test]
fn a_missing_file_is_reported_with_errors_in_variables() {
    let variable = ("GATEWAY_CACHE__MEMORY".to_owned(), "much".to_owned());
    let errors = Config::load(Path::new("/nowhere/gateway.toml"), [variable]).unwrap_err();
    let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(
        errors[0].starts_with("/nowhere/gateway.toml: cannot be read") && errors[1].contains("cache.memory")
    );
}

#[test]
fn a_file_that_cannot_be_read_is_reported_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, "\u{feff}[auth]".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>())
        .unwrap();
    for (path, advice) in [
        (file.as_path(), "; save it in UTF-8"),
        (folder.path(), "; name the configuration file with --config FILE"),
        (Path::new("/nowhere/gateway.toml"), "; name the configuration file with --config FILE"),
    ] {
        let error = Config::load(path, []).unwrap_err().to_string();
        assert!(error.contains("cannot be read (") && error.contains(advice), "{error}");
    }
    let denied = ConfigErrors::unreadable(&file, &io::ErrorKind::PermissionDenied.into()).to_string();
    assert!(denied.contains("; let the user that runs the gateway read it"), "{denied}");
}

#[test]
fn an_unreadable_file_of_a_secret_is_reported_with_the_error_of_the_system() {
    let text = format!("{MINIMAL}auth = {{ kind = \"bearer\", token_file = \"nowhere\" }}\n");
    let errors = errors(&text).join("\n");
    assert!(errors.contains("nowhere: cannot be read: No such file or directory (os error 2)"), "{errors}");
}

#[test]
fn secrets_are_read_from_files_relative_to_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("password"), "hush\n").unwrap();
    let text =
        format!("{MINIMAL}auth = {{ kind = \"basic\", username = \"gw\", password_file = \"password\" }}\n");
    let path = folder.path().join("gateway.toml");
    let config = Config::parse(&text, &path, []).unwrap();
    let Credentials::Basic { username, password } = &config.archives[0].settings.credentials else {
        panic!()
    };
    assert_eq!((username.as_str(), secrecy::ExposeSecret::expose_secret(password)), ("gw", "hush"));
    assert!(!format!("{config:?}").contains("hush"));

    let from_environment = [("GATEWAY_ARCHIVE__0__AUTH__PASSWORD".to_owned(), "other".to_owned())];
    let config = Config::parse(&text, &path, from_environment).unwrap();
    let Credentials::Basic { password, .. } = &config.archives[0].settings.credentials else { panic!() };
    assert_eq!(secrecy::ExposeSecret::expose_secret(password), "other");
}
