//! A test that no source, document, configuration or script of the project contains a banned phrase: the texts use the glossary of
//! ARCHITECTURE.md and the terms of DICOM, FHIR and HTTP. The failure lists file, line and replacement of each phrase.

use std::fs;
use std::path::{Path, PathBuf};

use super::sources::root;

/// Banned phrases in lower case, each with its replacement. They are wrong in every context.
const BANNED_PHRASES: &[(&str, &str)] = &[
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

/// The folders that contain texts.
const FOLDERS: [&str; 10] =
    ["src", "crates", "tests", "benches", "fuzz", "docs", "config", "scripts", "deploy", ".github"];

/// Files that may contain banned phrases: the history of the project, and this list.
const EXCEPTIONS: [&str; 2] = ["CHANGELOG.md", "tests/architecture/language.rs"];

/// Represents punctuation between two words, where no phrase continues.
const PUNCTUATION: &str = ".";

#[test]
fn texts_contain_no_banned_phrase() {
    let mut messages = Vec::new();
    for path in text_files() {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        if EXCEPTIONS.iter().any(|exception| name.starts_with(exception)) {
            continue;
        }
        messages.extend(find_phrases(&text).into_iter().map(|(line, phrase, replacement)| {
            format!("{name}:{line}: \"{phrase}\": write \"{replacement}\" instead")
        }));
    }
    assert!(
        messages.is_empty(),
        "{} phrases are not in plain technical English:\n{}",
        messages.len(),
        messages.join("\n")
    );
}

#[test]
fn phrases_are_compared_by_words_and_across_the_lines_of_a_comment() {
    let lines_with_phrases =
        |text: &str| find_phrases(text).into_iter().map(|(line, ..)| line).collect::<Vec<_>>();
    assert_eq!(lines_with_phrases("let a = 1;\n// It tells\n/// of a Picture.\n"), [2, 3]);
    assert_eq!(lines_with_phrases("picture_size, pictured, it tells. Of course, is_told, PARTED-BY"), [1]);
    assert_eq!(lines_with_phrases("nothing to see"), [0; 0]);
}

/// Returns the banned phrases in `text`, each with its line and its replacement.
fn find_phrases(text: &str) -> Vec<(usize, &'static str, &'static str)> {
    let words = split_words(text);
    let mut phrases = Vec::new();
    for (index, (line, _)) in words.iter().enumerate() {
        for (phrase, replacement) in BANNED_PHRASES {
            let mut next_words = words[index..].iter().map(|(_, word)| word.as_str());
            if phrase.split(' ').all(|expected| next_words.next() == Some(expected)) {
                phrases.push((*line, *phrase, *replacement));
            }
        }
    }
    phrases
}

/// Splits a text into words in lower case, each with its line. An identifier is one word; the marks of a comment are skipped.
fn split_words(text: &str) -> Vec<(usize, String)> {
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
                words.push((number + 1, PUNCTUATION.to_owned()));
            }
        }
    }
    words
}

/// Returns the paths of all files whose texts are checked.
fn text_files() -> Vec<PathBuf> {
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
    assert!(paths.len() > 300, "only {} files were found", paths.len());
    paths
}

/// Adds the text files in `folder` to `paths`.
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
