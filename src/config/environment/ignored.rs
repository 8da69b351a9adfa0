//! Variables that begin with `GATEWAY_` but contain no double underscore. They set nothing. A variable whose name differs from
//! that of a key only in the number of underscores causes an error; any other causes a warning, because other programs may use
//! the name. Variables that an orchestrator sets for a service whose name begins with `gateway` are not reported.

use std::collections::BTreeSet;

use super::super::error::ConfigLocation;
use super::super::report::Report;
use super::super::section::{distance, is_misspelling};
use super::names::{ARRAY_OF_TABLES, LEVEL_SEPARATOR, PREFIX};

/// Variables that are read elsewhere: by the command line and by the build.
const OTHER_VARIABLES: [&str; 3] = ["GATEWAY_CONFIG", "GATEWAY_BUILD_COMMIT", "GATEWAY_BUILD_DATE"];

/// Reports the `variables`, pairs of name and value.
pub(super) fn report(
    variables: &[(String, String)],
    known_keys: impl FnOnce() -> BTreeSet<String>,
    report: &mut Report,
) {
    let is_ignored = |(name, value): &&(String, String)| {
        !value.is_empty() && !OTHER_VARIABLES.contains(&name.as_str()) && !is_service_link(name, value)
    };
    let mut ignored = variables.iter().filter(is_ignored).peekable();
    if ignored.peek().is_none() {
        return;
    }
    let known = known_keys();
    for (name, _) in ignored {
        let location = ConfigLocation::Variable(name.clone());
        match nearest_setting(name, &known) {
            Some((setting, true)) => {
                report.add_error(location, String::new(), format!("sets nothing; did you mean {setting}?"));
            }
            Some((setting, false)) => {
                report.add_warning(location, String::new(), format!("sets nothing; did you mean {setting}?"));
            }
            None => report.add_warning(
                location,
                String::new(),
                "sets nothing; in the name of a setting, two underscores separate the levels, as in \
                 GATEWAY_SERVER__LISTEN"
                    .to_owned(),
            ),
        }
    }
}

/// Whether Kubernetes sets such a variable in the containers of a namespace with a service named `gateway` or `gateway-…`.
fn is_service_link(name: &str, value: &str) -> bool {
    let words: Vec<_> = name.split('_').collect();
    let is_number = |word: &str| word.parse::<u16>().is_ok();
    words.windows(2).any(|pair| match pair {
        ["SERVICE", "HOST" | "PORT"] => true,
        ["PORT", port] => is_number(port),
        _ => false,
    }) || (words.last() == Some(&"PORT") && value.contains("://"))
}

/// Returns the variable of the key with the most similar name, and whether the names differ only in underscores; `None` if no
/// name is similar.
fn nearest_setting(name: &str, known: &BTreeSet<String>) -> Option<(String, bool)> {
    let words: Vec<_> = name.strip_prefix(PREFIX)?.split('_').collect();
    let (indexes, words): (Vec<_>, Vec<_>) =
        words.into_iter().partition(|word| word.parse::<usize>().is_ok());
    let name = words.join("_").to_ascii_lowercase();
    let (distance, path) = known
        .iter()
        .filter(|path| path.contains('.'))
        .map(|path| (distance(&name, &path.replace('.', "_")), path))
        .min()?;
    if !is_misspelling(&name, &path.replace('.', "_")) {
        return None;
    }
    let mut levels: Vec<_> = path.split('.').map(str::to_ascii_uppercase).collect();
    if path.starts_with(ARRAY_OF_TABLES) {
        levels.insert(1, indexes.first().map_or("0", |index| *index).to_owned());
    }
    Some((format!("{PREFIX}{}", levels.join(LEVEL_SEPARATOR)), distance == 0))
}
