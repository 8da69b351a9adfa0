//! Tests that the code follows ARCHITECTURE.md: the imports between modules, the dependencies between crates, and the length of
//! files. The sources are parsed, so every form of import is recognized.

mod imports;
mod language;
mod sources;

use std::collections::{BTreeMap, BTreeSet};

use imports::{Graph, cycles};
use sources::{Source, crates, read_file, sources_without_tests};

/// Type names that several modules of a crate may use: associated types of traits (`Data`, `Value`), and error types.
const SHARED_TYPE_NAMES: [&str; 3] = ["Error", "Data", "Value"];

/// The maximum number of lines of a file with its tests. It does not apply to the tables of terminology.
const MAX_LINES: usize = 520;

#[test]
fn imports_between_modules_match_the_architecture() {
    let graph = Graph::from_sources(sources_without_tests("src"));
    let imports = graph.edges_between(Source::top_module);
    let documented_imports = documented_edges("Imports between the modules of src");
    let undocumented: Vec<_> = imports.iter().filter(|edge| !documented_imports.contains(*edge)).collect();
    let unused: Vec<_> = documented_imports.iter().filter(|edge| !imports.contains(*edge)).collect();
    assert!(
        undocumented.is_empty() && unused.is_empty(),
        "ARCHITECTURE.md and the code disagree\nimported, but not documented: {undocumented:?}\ndocumented, but not imported: {unused:?}"
    );
}

#[test]
fn dependencies_between_crates_match_the_architecture() {
    let dependencies: BTreeSet<_> = crates()
        .iter()
        .flat_map(|member| member.local_dependencies.iter().map(|name| (member.name.clone(), name.clone())))
        .collect();
    assert_eq!(dependencies, documented_edges("Dependencies between the crates"));
}

#[test]
fn modules_have_no_import_cycle() {
    let graph = Graph::from_sources(sources_without_tests("src"));
    assert_eq!(cycles(&graph.edges_between(Source::top_module)), Vec::<Vec<String>>::new());
}

#[test]
fn modules_of_dicomweb_have_no_import_cycle() {
    let graph = Graph::from_sources(sources_without_tests("src/dicomweb"));
    let modules = graph.edges_between(|source| source.module.get(1).cloned());
    assert_eq!(cycles(&modules), Vec::<Vec<String>>::new());
}

#[test]
fn files_of_a_module_have_no_import_cycle() {
    let graph = Graph::from_sources(sources_without_tests("src"));
    for folder in ["src/config", "src/dicomweb"] {
        let path_in_folder = |source: &Source| source.path.starts_with(folder).then(|| source.path.clone());
        assert_eq!(cycles(&graph.edges_between(path_in_folder)), Vec::<Vec<String>>::new());
    }
}

#[test]
fn type_names_are_unique_within_a_crate() {
    let mut duplicates = Vec::new();
    for member in crates() {
        let mut paths_by_name: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for source in sources_without_tests(&member.sources) {
            for name in source.type_names() {
                paths_by_name.entry(name).or_default().push(source.path.clone());
            }
        }
        duplicates.extend(
            paths_by_name
                .into_iter()
                .filter(|(name, paths)| paths.len() > 1 && !SHARED_TYPE_NAMES.contains(&name.as_str())),
        );
    }
    assert!(duplicates.is_empty(), "{duplicates:#?}");
}

#[test]
fn statuses_of_errors_are_defined_only_in_the_error_table() {
    const ERROR_STATUSES: [&str; 14] = [
        "BAD_REQUEST",
        "UNAUTHORIZED",
        "FORBIDDEN",
        "NOT_FOUND",
        "METHOD_NOT_ALLOWED",
        "NOT_ACCEPTABLE",
        "GONE",
        "PAYLOAD_TOO_LARGE",
        "UNSUPPORTED_MEDIA_TYPE",
        "INTERNAL_SERVER_ERROR",
        "NOT_IMPLEMENTED",
        "BAD_GATEWAY",
        "SERVICE_UNAVAILABLE",
        "GATEWAY_TIMEOUT",
    ];
    // These files read the status of an archive's response, or correct it if the body contradicts it.
    const EXCEPTIONS: [&str; 4] =
        ["src/upstream/", "src/dicomweb/error.rs", "src/dicomweb/proxy/first_rows.rs", "src/commands/check/"];
    for source in sources_without_tests("src") {
        let is_error_table = source.path == "src/error.rs" || source.path.starts_with("src/error/");
        if is_error_table || EXCEPTIONS.iter().any(|path| source.path.starts_with(path)) {
            continue;
        }
        for name in source.paths().into_iter().filter(|path| path.len() >= 2) {
            let [.., type_name, constant] = name.as_slice() else { continue };
            assert!(
                type_name != "StatusCode" || !ERROR_STATUSES.contains(&constant.as_str()),
                "{} names StatusCode::{constant}: statuses of errors belong to src/error.rs",
                source.path
            );
        }
    }
}

/// Algorithms that are implemented only once: the algorithm, a text that its implementation contains, and the paths of the
/// implementation.
const SINGLE_IMPLEMENTATIONS: [(&str, &str, &[&str]); 7] = [
    ("reader of the elements of Part 10", "struct ElementReader", &["crates/dicom-model/src/part10"]),
    ("escape of an ampersand in XML", "Some(\"&amp;", &["crates/xml-escape/src/lib.rs"]),
    ("detection of gzip", "0x1f, 0x8b", &["crates/http-messages/src/gzip"]),
    ("predicate of UIDs", "pub fn is_legal(text", &["crates/dicom-model/src/uid.rs"]),
    ("delimiter of multipart bodies", "--{", &["crates/http-messages/src/multipart"]),
    ("size of native frames", "\"_422\"", &["crates/dicom-model/src/native_pixel_data.rs"]),
    ("parser of media ranges", "struct MediaRange", &["crates/http-messages/src/media_range"]),
];

#[test]
fn algorithms_are_implemented_only_once() {
    for (algorithm, text, paths) in SINGLE_IMPLEMENTATIONS {
        let mut file_count = 0;
        for source in all_sources() {
            if source.text.contains(text) {
                file_count += 1;
                assert!(
                    paths.iter().any(|path| source.path.starts_with(path)),
                    "{} may contain a second {algorithm}: {text}",
                    source.path
                );
            }
        }
        assert!(file_count > 0, "no file contains {text}, so the {algorithm} is not checked");
    }
}

#[test]
fn constants_with_bounds_begin_with_max_or_min() {
    // Bounds have the prefixes MAX_ and MIN_ instead of superlatives.
    const SUPERLATIVES: [&str; 6] = ["MOST_", "LONGEST", "LARGEST", "DEEPEST", "SHORTEST", "SMALLEST"];
    for source in all_sources() {
        for name in source.constant_names() {
            assert!(
                !SUPERLATIVES.iter().any(|word| name.contains(word)),
                "{}: {name}: use MAX_ or MIN_",
                source.path
            );
        }
    }
}

#[test]
fn pure_crates_use_no_async_no_sockets_and_no_clock() {
    for member in crates() {
        if ["http-messages", "http-server", "dicomweb-archive", "dicomweb-gateway"]
            .contains(&member.name.as_str())
        {
            continue;
        }
        for dependency in ["tokio", "hyper", "reqwest", "http", "futures-util"] {
            assert!(!member.dependencies.contains(dependency), "{} depends on {dependency}", member.name);
        }
        assert_is_pure(&member.sources);
    }
    assert_is_pure("src/mapping");
}

/// Asserts that the sources in `folder` use no async, no sockets and no clock.
fn assert_is_pure(folder: &str) {
    for source in sources_without_tests(folder) {
        for word in ["async fn", "SystemTime", "Instant::now", "Timestamp::now", "std::net"] {
            assert!(!source.text.contains(word), "{} contains {word}", source.path);
        }
    }
}

#[test]
fn only_upstream_uses_the_http_client() {
    for source in sources_without_tests("src")
        .into_iter()
        .filter(|source| source.top_module().as_deref() != Some("upstream"))
    {
        assert!(source.paths().iter().all(|path| path[0] != "reqwest"), "{} names reqwest", source.path);
    }
}

#[test]
fn modules_and_crates_are_described_in_the_architecture() {
    let architecture = read_file("ARCHITECTURE.md");
    let modules = sources_without_tests("src").into_iter().filter_map(|source| source.top_module());
    for module in modules.collect::<BTreeSet<_>>() {
        assert!(
            architecture.contains(&format!("`{module}/`"))
                || architecture.contains(&format!("`{module}.rs`")),
            "{module} is not in ARCHITECTURE.md"
        );
    }
    for member in crates().into_iter().filter(|member| member.name != "dicomweb-gateway") {
        assert!(
            architecture.contains(&format!("`{}`", member.name)),
            "{} is not in ARCHITECTURE.md",
            member.name
        );
    }
}

#[test]
fn files_listed_in_contributing_exist() {
    let contributing = read_file("CONTRIBUTING.md");
    let table = contributing.split("\n## ").find(|section| section.starts_with("Where is what")).unwrap();
    let paths: Vec<_> =
        table.split('`').filter(|text| text.starts_with("src/") || text.starts_with("crates/")).collect();
    assert!(paths.len() >= 30, "only {} paths were found", paths.len());
    for path in paths {
        // This panics if the file does not exist.
        read_file(path);
    }
}

#[test]
fn architecture_explains_every_dependency() {
    let architecture = read_file("ARCHITECTURE.md");
    let names: BTreeSet<_> = crates().into_iter().flat_map(|member| member.dependencies).collect();
    for name in names {
        assert!(
            architecture.contains(&format!("`{name}`")),
            "ARCHITECTURE.md does not explain the dependency {name}"
        );
    }
}

#[test]
fn build_without_the_demo_has_none_of_its_dependencies() {
    let gateway = crates().into_iter().find(|member| member.name == "dicomweb-gateway").unwrap();
    assert!(gateway.optional_dependencies.contains("dicomweb-archive"), "dicomweb-archive is not optional");
    for name in ["rayon", "walkdir", "indicatif"] {
        assert!(!gateway.dependencies.contains(name), "{name} must be a dependency of dicomweb-archive only");
    }
}

#[test]
fn files_do_not_exceed_the_line_limit() {
    for source in all_sources() {
        let line_count = source.text_with_tests.lines().count();
        assert!(
            line_count <= MAX_LINES || source.path.contains("/terminology/"),
            "{} has {line_count} lines, more than {MAX_LINES}",
            source.path
        );
    }
}

#[test]
fn files_begin_with_module_documentation() {
    for source in all_sources() {
        assert!(source.text.trim_start().starts_with("//!"), "{} has no module documentation", source.path);
    }
}

/// Returns the sources of all crates.
fn all_sources() -> Vec<Source> {
    crates().iter().flat_map(|member| sources_without_tests(&member.sources)).collect()
}

/// Returns the edges in the section `heading` of ARCHITECTURE.md. A line of the section is `- name → other, another`.
fn documented_edges(heading: &str) -> BTreeSet<(String, String)> {
    let architecture = read_file("ARCHITECTURE.md");
    let section = architecture
        .split("\n## ")
        .flat_map(|part| part.split("\n### "))
        .find(|part| part.starts_with(heading));
    let section = section.unwrap_or_else(|| panic!("ARCHITECTURE.md has no section {heading}"));
    let lines = section.lines().filter_map(|line| line.strip_prefix("- ")?.split_once(" → "));
    lines
        .flat_map(|(from, to)| {
            to.split(", ").map(move |to| (from.trim_matches('`').to_owned(), to.trim_matches('`').to_owned()))
        })
        .collect()
}
