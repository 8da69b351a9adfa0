//! Build information: the commit and its date, for `--version` and for the CapabilityStatement.
//!
//! In a checkout they come from git. Otherwise (a source archive, the container image) `GATEWAY_BUILD_COMMIT` and
//! `GATEWAY_BUILD_DATE` provide them; without these variables they are unknown, and the date of the release comes from
//! CHANGELOG.md. The time of the build is never used, so that builds are reproducible.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    println!("cargo::rerun-if-env-changed={COMMIT_VARIABLE}");
    println!("cargo::rerun-if-env-changed={DATE_VARIABLE}");
    // Local changes are detected again whenever a source of the program changes.
    for path in ["build.rs", "src", "crates", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={path}");
    }
    for path in watched_paths(&root) {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    let build = Build::from_checkout(&root).map_or_else(
        || Build::from_variables(variable(COMMIT_VARIABLE).as_deref(), variable(DATE_VARIABLE).as_deref()),
        Ok,
    );
    let description_and_date = build.and_then(|build| {
        let date = build.date.clone().map_or_else(|| read_release_date(&root, &version), Ok)?;
        Ok((build.describe(&version), date))
    });
    match description_and_date {
        Ok((description, date)) => {
            println!("cargo::rustc-env=GATEWAY_BUILD_DESCRIPTION={description}");
            println!("cargo::rustc-env=GATEWAY_STATEMENT_DATE={date}");
        }
        Err(reason) => println!("cargo::error={reason}"),
    }
}

const COMMIT_VARIABLE: &str = "GATEWAY_BUILD_COMMIT";
const DATE_VARIABLE: &str = "GATEWAY_BUILD_DATE";

/// The number of digits of a shortened commit hash.
const COMMIT_DIGITS: usize = 12;

fn read_release_date(root: &Path, version: &str) -> Result<String, String> {
    println!("cargo::rerun-if-changed=CHANGELOG.md");
    let changelog = std::fs::read_to_string(root.join("CHANGELOG.md"));
    release_date(&changelog.map_err(|error| format!("CHANGELOG.md: {error}"))?, version)
}

/// The build information.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Build {
    /// The first [`COMMIT_DIGITS`] digits of the commit hash.
    pub(crate) commit: Option<String>,
    /// The date of the commit in UTC, as YYYY-MM-DD.
    pub(crate) date: Option<String>,
    /// Whether files under version control differ from the commit.
    pub(crate) has_changes: bool,
}

impl Build {
    /// Returns the build information of the checkout at `root`; `None` without a checkout or without git. A repository in a parent folder
    /// belongs to another project.
    pub(crate) fn from_checkout(root: &Path) -> Option<Self> {
        if !root.join(".git").exists() {
            return None;
        }
        let commit = git(root, &["rev-parse", "HEAD"])?;
        let date = git(root, &["log", "-1", "--date=short-local", "--format=%cd"])?;
        let changes = git(root, &["status", "--porcelain", "--untracked-files=no"])?;
        Some(Self {
            commit: Some(shorten_commit(&commit)),
            date: Some(date),
            has_changes: !changes.is_empty(),
        })
    }

    /// Reads the build information from environment variables. Invalid values are an error, because wrong information is worse than none.
    pub(crate) fn from_variables(commit: Option<&str>, date: Option<&str>) -> Result<Self, String> {
        if let Some(commit) = commit {
            let is_hash =
                commit.len() >= COMMIT_DIGITS && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
            if !is_hash {
                return Err(format!(
                    "{COMMIT_VARIABLE} is not a commit hash of {COMMIT_DIGITS} or more digits"
                ));
            }
        }
        if date.is_some_and(|date| !is_date(date)) {
            return Err(format!("{DATE_VARIABLE} is not a date (YYYY-MM-DD)"));
        }
        Ok(Self { commit: commit.map(shorten_commit), date: date.map(str::to_owned), has_changes: false })
    }

    /// Returns the text that `--version` prints after the name of the program.
    pub(crate) fn describe(&self, version: &str) -> String {
        let commit = self.commit.as_deref().unwrap_or("unknown");
        let date = self.date.as_deref().unwrap_or("date unknown");
        let changes = if self.has_changes { ", with local changes" } else { "" };
        format!("{version} (commit {commit}, {date}{changes})")
    }
}

/// Returns the date in the heading of `version`: `## [0.1.0] - 2026-01-31`.
pub(crate) fn release_date(changelog: &str, version: &str) -> Result<String, String> {
    let heading = format!("## [{version}] - ");
    let date = changelog.lines().find_map(|line| line.strip_prefix(&heading)).map(str::trim);
    date.filter(|date| is_date(date))
        .map(str::to_owned)
        .ok_or_else(|| format!("CHANGELOG.md has no heading \"{heading}YYYY-MM-DD\""))
}

/// Returns the files that change when another commit is checked out or created. A path that does not exist would make cargo run this
/// script at every build.
pub(crate) fn watched_paths(root: &Path) -> Vec<PathBuf> {
    if !root.join(".git").exists() {
        return Vec::new();
    }
    // In a worktree HEAD belongs to the worktree and the branch to the repository: git knows the paths.
    let path = |name: &str| git(root, &["rev-parse", "--git-path", name]).map(|path| root.join(path));
    let branch = git(root, &["symbolic-ref", "--quiet", "HEAD"]);
    let loose_ref = branch.and_then(|branch| path(&branch)).filter(|path| path.exists());
    // The log grows with every commit, even if the branch has no loose ref file; such a branch is in `packed-refs`.
    let others =
        ["HEAD", "logs/HEAD", "packed-refs"].into_iter().filter_map(path).filter(|path| path.exists());
    let is_packed = loose_ref.is_none();
    let others = others.filter(|path| is_packed || !path.ends_with("packed-refs"));
    loose_ref.into_iter().chain(others).collect()
}

fn is_date(text: &str) -> bool {
    let part = |range: std::ops::Range<usize>| -> Option<u32> {
        text.get(range).filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
    };
    let has_dashes = text.len() == 10 && text.get(4..5) == Some("-") && text.get(7..8) == Some("-");
    has_dashes
        && part(0..4).is_some()
        && part(5..7).is_some_and(|month| (1..=12).contains(&month))
        && part(8..10).is_some_and(|day| (1..=31).contains(&day))
}

fn shorten_commit(commit: &str) -> String {
    commit.chars().take(COMMIT_DIGITS).collect::<String>().to_ascii_lowercase()
}

fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    // Without this option, git may lock the index, and another git command fails.
    let output = Command::new("git")
        .args(["--no-optional-locks", "-C"])
        .arg(root)
        .args(arguments)
        .env("TZ", "UTC")
        .output()
        .ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
