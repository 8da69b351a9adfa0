//! Build information of a checkout, of a worktree and of sources without git.

use std::path::{Path, PathBuf};
use std::process::Command;

use self::script::Build;
use crate::support::gateway::RunningGateway;

#[allow(dead_code, clippy::print_stdout, reason = "cargo calls its main, and reads what it prints")]
#[path = "../build.rs"]
mod script;

const PROGRAM: &str = env!("CARGO_BIN_EXE_dicomweb-gateway");

fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(["-c", "user.name=T", "-c", "user.email=t@example.org"]);
    // Half an hour before midnight in New York is the next day in UTC.
    command.args(arguments).env("GIT_COMMITTER_DATE", "2026-01-30T23:30:00-05:00");
    let output = command.output().expect("git, which the project is checked out with");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A repository with one commit.
fn repository() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    git(folder.path(), &["init", "--quiet", "--initial-branch", "main"]);
    std::fs::write(folder.path().join("file"), "first").unwrap();
    git(folder.path(), &["add", "file"]);
    git(folder.path(), &["commit", "--quiet", "--message", "First"]);
    folder
}

fn modified(paths: &[PathBuf]) -> Vec<(PathBuf, Vec<u8>)> {
    let read = |path: &PathBuf| (path.clone(), std::fs::read(path).unwrap());
    paths.iter().map(read).collect()
}

#[test]
fn version_names_the_release_the_commit_and_its_date() {
    let output = Command::new(PROGRAM).arg("--version").output().unwrap();
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).unwrap();
    let start = concat!("dicomweb-gateway ", env!("CARGO_PKG_VERSION"), " (commit ");
    let rest =
        printed.strip_prefix(start).unwrap_or_else(|| panic!("{printed}")).strip_suffix(")\n").unwrap();
    let (commit, date) = rest.split_once(", ").unwrap();
    let date = date.strip_suffix(", with local changes").unwrap_or(date);
    assert!(
        commit == "unknown" || (commit.len() == 12 && commit.bytes().all(|byte| byte.is_ascii_hexdigit())),
        "{printed}"
    );
    assert!(date == "date unknown" || date.parse::<jiff::civil::Date>().is_ok(), "{printed}");
}

#[tokio::test]
async fn the_capability_statement_has_the_date_of_the_build() {
    let statement = RunningGateway::start_with_samples().await.get_json("/fhir/metadata").await;
    assert_eq!(statement["software"]["version"], env!("CARGO_PKG_VERSION"));
    let date = statement["date"].as_str().unwrap();
    assert!(date.parse::<jiff::civil::Date>().is_ok(), "{date}");
    let printed = Command::new(PROGRAM).arg("--version").output().unwrap().stdout;
    let printed = String::from_utf8(printed).unwrap();
    assert!(printed.contains(date) || printed.contains("date unknown"), "{date}, {printed}");
}

#[test]
fn a_checkout_provides_its_commit_and_date() {
    let folder = repository();
    let commit = git(folder.path(), &["rev-parse", "HEAD"]);
    let build = Build::of_checkout(folder.path()).unwrap();
    assert_eq!(build.describe("1.2.3"), format!("1.2.3 (commit {}, 2026-01-31)", &commit[..12]));
    std::fs::write(folder.path().join("untracked"), "").unwrap();
    assert!(!Build::of_checkout(folder.path()).unwrap().changed);
    std::fs::write(folder.path().join("file"), "changed").unwrap();
    let changed = Build::of_checkout(folder.path()).unwrap().describe("1.2.3");
    assert_eq!(changed, format!("1.2.3 (commit {}, 2026-01-31, with local changes)", &commit[..12]));
}

#[test]
fn a_worktree_provides_the_same_commit_as_its_repository() {
    let folder = repository();
    let worktree = folder.path().join("tree");
    git(folder.path(), &["worktree", "add", "--quiet", "-b", "other", worktree.to_str().unwrap()]);
    assert_eq!(Build::of_checkout(&worktree), Build::of_checkout(folder.path()));
}

#[test]
fn sources_without_a_repository_of_their_own_have_no_commit() {
    let folder = repository();
    let vendored = folder.path().join("vendor");
    std::fs::create_dir(&vendored).unwrap();
    assert_eq!(Build::of_checkout(&vendored), None, "the repository around them is another project's");
    assert_eq!(script::watched(&vendored), Vec::<PathBuf>::new());
    let unknown = Build::of_variables(None, None).unwrap();
    assert_eq!(unknown.describe("1.2.3"), "1.2.3 (commit unknown, date unknown)");
}

#[test]
fn environment_variables_provide_commit_and_date() {
    let given = |commit: &str, date: &str| Build::of_variables(Some(commit), Some(date));
    let commit = "0123456789ABCDEF0123456789abcdef01234567";
    let build = given(commit, "2026-01-31").unwrap();
    assert_eq!(build.describe("1.2.3"), "1.2.3 (commit 0123456789ab, 2026-01-31)");
    for (commit, date) in
        [("main", "2026-01-31"), ("0123456", "2026-01-31"), (commit, "today"), (commit, "2026-13-01")]
    {
        assert!(given(commit, date).is_err(), "{commit}, {date}");
    }
}

#[test]
fn the_release_of_this_version_has_a_date() {
    let changelog = std::fs::read_to_string("CHANGELOG.md").unwrap();
    let date = script::release_date(&changelog, env!("CARGO_PKG_VERSION")).unwrap();
    assert!(date.parse::<jiff::civil::Date>().is_ok(), "{date}");
    assert!(script::release_date(&changelog, "0.0.0").is_err());
    assert!(script::release_date("## [1.0.0] - soon\n", "1.0.0").is_err());
}

/// Otherwise the program would report the commit of an earlier build.
#[test]
fn every_new_commit_changes_a_watched_file_also_with_packed_refs() {
    let folder = repository();
    let worktree = folder.path().join("tree");
    git(folder.path(), &["worktree", "add", "--quiet", "-b", "other", worktree.to_str().unwrap()]);
    for folder in [folder.path(), &worktree] {
        for packed in [false, true] {
            if packed {
                git(folder, &["pack-refs", "--all"]);
            }
            let watched = script::watched(folder);
            let before = modified(&watched);
            git(folder, &["commit", "--quiet", "--allow-empty", "--message", "Next"]);
            assert_ne!(modified(&watched), before, "{watched:?}");
            git(folder, &["checkout", "--quiet", "--detach"]);
            assert_ne!(modified(&script::watched(folder)), before);
            git(folder, &["checkout", "--quiet", "-"]);
        }
    }
}
