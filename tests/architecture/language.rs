//! The words of the glossary in ARCHITECTURE.md, held against every source, document, configuration and script: a phrase that the
//! fields of DICOM, FHIR and HTTP do not use fails the test, with its file and line and the word to use instead.

use std::fs;
use std::path::{Path, PathBuf};

use super::sources::root;

/// Phrases in lower case, and what to write instead. Only phrases that are wrong wherever they occur.
const BANNED: &[(&str, &str)] = &[
    ("a slip of", "an error in"),
    ("anew", "again"),
    ("are drawn", "are rendered"),
    ("as it came", "unchanged"),
    ("as it comes", "as it arrives"),
    ("as it stands", "as it is, or unchanged"),
    ("behaviour", "behavior"),
    ("beside it", "with it, or next to it"),
    ("breaks off", "fails, or is aborted"),
    ("broke off", "failed, or was aborted"),
    ("broken off", "aborted, or truncated"),
    ("colour", "color"),
    ("coloured", "colored"),
    ("colours", "colors"),
    ("cut short", "truncated"),
    ("dearest", "most specific"),
    ("facade", "FHIR API"),
    ("front door", "request validation"),
    ("gateway draws", "gateway renders"),
    ("given again", "served from the cache"),
    ("goes out", "is sent"),
    ("goes without saying", "is the default"),
    ("grey", "gray, or grayscale"),
    ("greyscale", "grayscale"),
    ("how manieth", "sequence number"),
    ("is drawn", "is rendered"),
    ("is told", "is reported, or is set"),
    ("its manner", "its profile"),
    ("late news", "stale"),
    ("learnt", "learned"),
    ("ledger", "change log"),
    ("lent body", "request body"),
    ("looked into", "inspected"),
    ("looked through", "scanned"),
    ("made out of", "made from"),
    ("mended", "fixed"),
    ("none of ours", "not recognized, or not valid"),
    ("of late", "recently"),
    ("of ours", "of the gateway"),
    ("out of which", "from which"),
    ("parted by", "separated by"),
    ("passed over", "skipped"),
    ("picture", "image"),
    ("pictures", "images"),
    ("put together", "assembled"),
    ("some megabytes", "a few megabytes"),
    ("some tens", "tens"),
    ("stand here", "are here"),
    ("stand under", "belong to, or are in"),
    ("stands behind", "follows"),
    ("stands beside", "is set together with"),
    ("stands here", "is here"),
    ("stands there", "is there"),
    ("stands under", "belongs to, or is in"),
    ("stood", "was"),
    ("taken for", "mistaken for"),
    ("tell of", "describe, or report"),
    ("telling of", "describing, or reporting"),
    ("tells of", "describes, or reports"),
    ("that is none", "that is not valid"),
    ("the house", "the architecture"),
    ("this room", "this module"),
    ("told already", "reported already"),
    ("told apart", "distinguished"),
    ("told of", "reported"),
    ("untold", "unreported"),
    ("unwell", "unhealthy"),
    ("were drawn", "were rendered"),
    ("what becomes of", "what happens to"),
    ("who may ask", "access control"),
    ("whose word", "which proxies, or whom to trust"),
    ("work out", "compute, or determine"),
    ("worked out", "computed, or determined"),
];

/// Where text for people is.
const FOLDERS: [&str; 10] =
    ["src", "crates", "tests", "benches", "fuzz", "docs", "config", "scripts", "deploy", ".github"];

/// Files and folders that may use other words: the history of the project and this list.
const EXCEPTIONS: [&str; 2] = ["CHANGELOG.md", "tests/architecture/language.rs"];

/// Ends a phrase: a mark between two words.
const MARK: &str = ".";

#[test]
fn texts_use_the_words_of_the_glossary() {
    let mut found = Vec::new();
    for path in texts() {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        if EXCEPTIONS.iter().any(|exception| name.starts_with(exception)) {
            continue;
        }
        found.extend(hits(&text).into_iter().map(|(line, phrase, instead)| {
            format!("{name}:{line}: \"{phrase}\": write \"{instead}\" instead")
        }));
    }
    assert!(
        found.is_empty(),
        "{} phrases are not in plain technical English:\n{}",
        found.len(),
        found.join("\n")
    );
}

#[test]
fn a_phrase_is_found_by_whole_words_and_across_the_lines_of_a_comment() {
    let lines = |text: &str| hits(text).into_iter().map(|(line, ..)| line).collect::<Vec<_>>();
    assert_eq!(lines("let a = 1;\n// It tells\n/// of a Picture.\n"), [2, 3]);
    assert_eq!(lines("picture_size, pictured, it tells. Of course, is_told, PARTED-BY"), [1]);
    assert_eq!(lines("nothing to see"), [0; 0]);
}

/// The banned phrases in `text`: line, phrase, replacement.
fn hits(text: &str) -> Vec<(usize, &'static str, &'static str)> {
    let words = words(text);
    let mut hits = Vec::new();
    for (index, (line, _)) in words.iter().enumerate() {
        for (phrase, instead) in BANNED {
            let mut rest = words[index..].iter().map(|(_, word)| word.as_str());
            if phrase.split(' ').all(|wanted| rest.next() == Some(wanted)) {
                hits.push((*line, *phrase, *instead));
            }
        }
    }
    hits
}

/// The words of a text with their lines, in lower case. Identifiers are one word; whatever marks a comment is none.
fn words(text: &str) -> Vec<(usize, String)> {
    let mut words = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut word = String::new();
        for character in line.chars().chain([' ']) {
            if character.is_alphanumeric() || matches!(character, '_' | '\'') {
                word.extend(character.to_lowercase());
                continue;
            }
            if !word.is_empty() {
                words.push((number + 1, std::mem::take(&mut word)));
            }
            if !character.is_whitespace() && !matches!(character, '/' | '!' | '#' | '*' | '-') {
                words.push((number + 1, MARK.to_owned()));
            }
        }
    }
    words
}

/// Every file with text for people.
fn texts() -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_file() && entry.extension().is_some_and(|extension| extension == "md") {
            paths.push(entry);
        }
    }
    for folder in FOLDERS {
        collect(&root().join(folder), &mut paths);
    }
    paths.sort();
    assert!(paths.len() > 300, "the sources are not found");
    paths
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !matches!(name.as_str(), "node_modules" | "target" | "corpus" | "artifacts" | "__pycache__") {
                collect(&path, paths);
            }
        } else if is_text(&path) {
            paths.push(path);
        }
    }
}

fn is_text(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().into_owned());
    match extension.as_deref() {
        Some(extension) => {
            matches!(extension, "rs" | "md" | "py" | "mjs" | "sh" | "toml" | "yml" | "yaml" | "html")
        }
        None => path.starts_with(root().join("scripts")),
    }
}
