//! The house as it is drawn in ARCHITECTURE.md: which room may know which, and how large a file may grow.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// For each room, the rooms that it may name. Whoever stands further left in the drawing may name what stands further
/// right; nothing points back.
const EDGES: &[(&str, &[&str])] = &[
    ("build_info", &[]),
    ("xml_escape", &[]),
    ("json_members", &[]),
    ("dicom", &["xml_escape"]),
    ("fhir", &["json_members", "xml_escape"]),
    ("objects", &["dicom"]),
    ("clock", &[]),
    ("http", &["clock"]),
    ("telemetry", &["clock", "server"]),
    ("config", &["archive", "http", "mapping", "telemetry"]),
    ("mapping", &["dicom", "fhir"]),
    ("archive", &["clock", "dicom", "http", "telemetry"]),
    ("auth", &["dicom"]),
    ("render", &["dicom", "objects"]),
    ("store", &[]),
    ("fingerprint", &["archive", "dicom"]),
    ("change_log", &["archive", "clock", "dicom", "fingerprint", "store", "telemetry"]),
    ("cache", &["archive", "change_log", "clock", "dicom", "fingerprint", "http"]),
    (
        "studies",
        &[
            "auth",
            "archive",
            "cache",
            "change_log",
            "clock",
            "config",
            "dicom",
            "fhir",
            "fingerprint",
            "mapping",
            "telemetry",
        ],
    ),
    // The one table of statuses, above every layer whose errors it maps.
    ("error", &["archive", "auth", "dicom", "dicomweb", "http", "render", "route", "server", "studies"]),
    ("route", &["archive", "fhir"]),
    (
        "facade",
        &[
            "archive",
            "auth",
            "build_info",
            "cache",
            "change_log",
            "clock",
            "config",
            "dicom",
            "error",
            "fhir",
            "http",
            "mapping",
            "route",
            "studies",
            "telemetry",
        ],
    ),
    (
        "dicomweb",
        &[
            "archive",
            "auth",
            "cache",
            "clock",
            "config",
            "dicom",
            "error",
            "fingerprint",
            "http",
            "json_members",
            "objects",
            "render",
            "route",
            "telemetry",
            "xml_escape",
        ],
    ),
    (
        "app",
        &[
            "change_log",
            "fingerprint",
            "store",
            "archive",
            "auth",
            "cache",
            "clock",
            "config",
            "dicomweb",
            "facade",
            "http",
            "mapping",
            "service",
            "studies",
            "telemetry",
        ],
    ),
    (
        "service",
        &["archive", "auth", "clock", "dicomweb", "error", "facade", "http", "route", "server", "telemetry"],
    ),
    ("server", &["http"]),
    ("check", &["archive", "clock", "config", "dicom", "mapping", "telemetry"]),
    ("demo", &["dicom", "http", "objects", "server"]),
];

#[test]
fn knowledge_runs_one_way() {
    let allowed: BTreeMap<_, _> = EDGES.iter().copied().collect();
    let mut forbidden = Vec::new();
    for file in sources(Path::new("src")) {
        let room = room_of(&file);
        if room == "main" || room == "lib" {
            continue;
        }
        let rooms = allowed.get(room.as_str()).unwrap_or_else(|| panic!("{room} stands in no drawing"));
        for (number, line) in product_lines(&file) {
            for named in rooms_named(&line) {
                if named != room && !rooms.contains(&named.as_str()) {
                    forbidden.push(format!("{}:{number}: {room} names {named}", file.display()));
                }
            }
        }
    }
    assert!(forbidden.is_empty(), "\n{}", forbidden.join("\n"));
}

#[test]
fn the_drawing_has_no_circle() {
    let edges: BTreeMap<_, _> = EDGES.iter().copied().collect();
    for start in edges.keys() {
        let mut reached = Vec::new();
        let mut next: Vec<_> = edges[start].to_vec();
        while let Some(room) = next.pop() {
            assert_ne!(room, *start, "{start} reaches itself");
            if !reached.contains(&room) {
                reached.push(room);
                next.extend(edges[room]);
            }
        }
    }
}

#[test]
fn pure_rooms_know_no_sockets_and_no_clock() {
    for room in ["dicom", "fhir", "mapping", "objects", "render", "xml_escape", "json_members"] {
        for file in sources(Path::new("src")).into_iter().filter(|file| room_of(file) == room) {
            for (number, line) in product_lines(&file) {
                for word in [
                    "tokio",
                    "reqwest",
                    "hyper",
                    "async fn",
                    "SystemTime",
                    "Instant::now",
                    "Timestamp::now",
                    "std::net",
                ] {
                    assert!(!line.contains(word), "{}:{number} says {word}", file.display());
                }
            }
        }
    }
}

#[test]
fn only_the_archive_room_touches_the_http_client() {
    for file in sources(Path::new("src")).into_iter().filter(|file| room_of(file) != "archive") {
        for (number, line) in product_lines(&file) {
            assert!(!line.contains("reqwest::"), "{}:{number}", file.display());
        }
    }
}

/// The statuses of errors (RFC 9110 15.5, 15.6) are decided in one table. Two servers beside the gateway's faces answer for
/// themselves: the listener, before there is a face and on the admin port, and the embedded archive.
#[test]
fn statuses_of_errors_are_decided_in_one_table() {
    let successes = ["OK", "NO_CONTENT", "PARTIAL_CONTENT", "NOT_MODIFIED"];
    for file in sources(Path::new("src")) {
        if ["error", "server", "demo"].contains(&room_of(&file).as_str()) {
            continue;
        }
        // What an archive responded is read, and not decided.
        let reads_an_archive = room_of(&file) == "archive";
        for (number, line) in product_lines(&file) {
            for (at, found) in line.match_indices("StatusCode::") {
                let rest = &line[at + found.len()..];
                let name: String = rest.chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
                let is_decided = !name.is_empty() && !successes.contains(&name.as_str());
                let is_read = reads_an_archive || MAPPED.iter().any(|path| file.ends_with(path));
                assert!(!is_decided || is_read, "{}:{number} decides on {name}", file.display());
            }
        }
    }
}

/// Where the status of an archive's response is read or, where a body shows what it should have been, corrected.
const MAPPED: [&str; 6] = [
    "dicomweb/answer.rs",
    "dicomweb/first_rows.rs",
    "dicomweb/supplied/instances.rs",
    "dicomweb/supplied/list.rs",
    "dicomweb/supplied/metadata.rs",
    "dicomweb/supplied/values.rs",
];

#[test]
fn every_room_stands_in_the_drawing_and_in_the_tour() {
    let tour = fs::read_to_string("ARCHITECTURE.md").unwrap();
    for file in sources(Path::new("src")) {
        let room = room_of(&file);
        assert!(
            tour.contains(&format!("`{room}/`")) || tour.contains(&format!("`{room}.rs`")),
            "{room} is not in ARCHITECTURE.md"
        );
    }
}

#[test]
fn every_dependency_is_justified() {
    let manifest = fs::read_to_string("Cargo.toml").unwrap();
    let dependencies = manifest.split("\n[").find(|table| table.starts_with("dependencies]")).unwrap();
    let tour = fs::read_to_string("ARCHITECTURE.md").unwrap();
    for line in dependencies.lines().skip(1).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let name = line.split([' ', '=']).next().unwrap();
        assert!(tour.contains(&format!("`{name}`")), "{name} is not justified in ARCHITECTURE.md");
    }
}

#[test]
fn no_file_grows_past_what_one_subject_needs() {
    for file in sources(Path::new("src")) {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        let table = file.components().any(|part| part.as_os_str() == "terminology");
        assert!(lines <= 600 || table, "{} has {lines} lines", file.display());
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// `src/studies/plan.rs` and `src/studies.rs` belong to the room `studies`.
fn room_of(file: &Path) -> String {
    let first = file.components().nth(1).unwrap();
    first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

/// The lines before the tests, without comments.
fn product_lines(file: &Path) -> Vec<(usize, String)> {
    let is_test_file = file.file_name().is_some_and(|name| name == "tests.rs")
        || file.components().any(|part| part.as_os_str() == "tests");
    if is_test_file {
        return Vec::new();
    }
    let text = fs::read_to_string(file).unwrap();
    let numbered = text.lines().enumerate().map(|(index, line)| (index + 1, line.to_owned()));
    numbered
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .collect()
}

/// The rooms that a line names as `crate::room`, also in a group: `crate::{a::X, b}`.
fn rooms_named(line: &str) -> Vec<String> {
    let word =
        |text: &str| text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
    let mut rooms = Vec::new();
    for (_, rest) in line.match_indices("crate::").map(|(at, found)| line.split_at(at + found.len())) {
        match rest.strip_prefix('{') {
            Some(group) => {
                rooms.extend(group.trim_end_matches(['}', ';']).split(',').map(|part| word(part.trim())));
            }
            None => rooms.push(word(rest)),
        }
    }
    rooms.retain(|room| !room.is_empty());
    rooms
}
