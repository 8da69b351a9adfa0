//! The build information of a checkout, of a worktree, and of sources without git.

use std::path::{Path, PathBuf};
use std::process::Command;

use self::build_script::Build;
use crate::support::gateway::RunningGateway;

#[allow(
    dead_code,
    clippy::print_stdout,
    reason = "the main function and the output of the build script are for cargo"
)]
#[path = "../build.rs"]
mod build_script;

/// The path of the program under test.
const PROGRAM_PATH: &str = env!("CARGO_BIN_EXE_dicomweb-gateway");

/// Runs git in `folder`, and returns its output.
fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(["-c", "user.name=T", "-c", "user.email=t@example.org"]);
    // This time is on the next day in UTC.
    command.args(arguments).env("GIT_COMMITTER_DATE", "2026-01-30T23:30:00-05:00");
    let output = command.output().expect("git cannot be executed");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Creates a repository with one commit.
fn new_repository() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    git(folder.path(), &["init", "--quiet", "--initial-branch", "main"]);
    std::fs::write(folder.path().join("file"), "first").unwrap();
    git(folder.path(), &["add", "file"]);
    git(folder.path(), &["commit", "--quiet", "--message", "First"]);
    folder
}

/// Reads the files at `paths`.
fn read_files(paths: &[PathBuf]) -> Vec<(PathBuf, Vec<u8>)> {
    let read = |path: &PathBuf| (path.clone(), std::fs::read(path).unwrap());
    paths.iter().map(read).collect()
}

#[test]
fn the_option_version_prints_the_release_the_commit_and_its_date() {
    let output = Command::new(PROGRAM_PATH).arg("--version").output().unwrap();
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).unwrap();
    let prefix = concat!("dicomweb-gateway ", env!("CARGO_PKG_VERSION"), " (commit ");
    let build =
        printed.strip_prefix(prefix).unwrap_or_else(|| panic!("{printed}")).strip_suffix(")\n").unwrap();
    let (commit, date) = build.split_once(", ").unwrap();
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
    let printed = Command::new(PROGRAM_PATH).arg("--version").output().unwrap().stdout;
    let printed = String::from_utf8(printed).unwrap();
    assert!(printed.contains(date) || printed.contains("date unknown"), "{date}, {printed}");
}

#[test]
fn a_checkout_provides_its_commit_and_date() {
    let folder = new_repository();
    let commit = git(folder.path(), &["rev-parse", "HEAD"]);
    let build = Build::from_checkout(folder.path()).unwrap();
    assert_eq!(build.describe("1.2.3"), format!("1.2.3 (commit {}, 2026-01-31)", &commit[..12]));
    std::fs::write(folder.path().join("untracked"), "").unwrap();
    assert!(!Build::from_checkout(folder.path()).unwrap().has_changes);
    std::fs::write(folder.path().join("file"), "changed").unwrap();
    let changed = Build::from_checkout(folder.path()).unwrap().describe("1.2.3");
    assert_eq!(changed, format!("1.2.3 (commit {}, 2026-01-31, with local changes)", &commit[..12]));
}

#[test]
fn a_worktree_provides_the_same_commit_as_its_repository() {
    let folder = new_repository();
    let worktree = folder.path().join("tree");
    git(folder.path(), &["worktree", "add", "--quiet", "-b", "other", worktree.to_str().unwrap()]);
    assert_eq!(Build::from_checkout(&worktree), Build::from_checkout(folder.path()));
}

#[test]
fn sources_that_are_not_the_root_of_a_repository_have_no_commit() {
    let folder = new_repository();
    let vendored = folder.path().join("vendor");
    std::fs::create_dir(&vendored).unwrap();
    assert_eq!(
        Build::from_checkout(&vendored),
        None,
        "the commit of the project that contains the sources is returned"
    );
    assert_eq!(build_script::watched_paths(&vendored), Vec::<PathBuf>::new());
    let unknown = Build::from_variables(None, None).unwrap();
    assert_eq!(unknown.describe("1.2.3"), "1.2.3 (commit unknown, date unknown)");
}

#[test]
fn environment_variables_provide_commit_and_date() {
    let build_from = |commit: &str, date: &str| Build::from_variables(Some(commit), Some(date));
    let commit = "0123456789ABCDEF0123456789abcdef01234567";
    let build = build_from(commit, "2026-01-31").unwrap();
    assert_eq!(build.describe("1.2.3"), "1.2.3 (commit 0123456789ab, 2026-01-31)");
    for (commit, date) in
        [("main", "2026-01-31"), ("0123456", "2026-01-31"), (commit, "today"), (commit, "2026-13-01")]
    {
        assert!(build_from(commit, date).is_err(), "{commit}, {date}");
    }
}

#[test]
fn the_release_of_this_version_has_a_date() {
    let changelog = std::fs::read_to_string("CHANGELOG.md").unwrap();
    let date = build_script::release_date(&changelog, env!("CARGO_PKG_VERSION")).unwrap();
    assert!(date.parse::<jiff::civil::Date>().is_ok(), "{date}");
    assert!(build_script::release_date(&changelog, "0.0.0").is_err());
    assert!(build_script::release_date("## [1.0.0] - soon\n", "1.0.0").is_err());
}

/// Cargo runs the build script again only if a watched file has changed.
#[test]
fn every_new_commit_changes_a_watched_file_even_if_refs_are_packed() {
    let folder = new_repository();
    let worktree = folder.path().join("tree");
    git(folder.path(), &["worktree", "add", "--quiet", "-b", "other", worktree.to_str().unwrap()]);
    for folder in [folder.path(), &worktree] {
        for is_packed in [false, true] {
            if is_packed {
                git(folder, &["pack-refs", "--all"]);
            }
            let watched_paths = build_script::watched_paths(folder);
            let before = read_files(&watched_paths);
            git(folder, &["commit", "--quiet", "--allow-empty", "--message", "Next"]);
            assert_ne!(read_files(&watched_paths), before, "{watched_paths:?}");
            git(folder, &["checkout", "--quiet", "--detach"]);
            assert_ne!(read_files(&build_script::watched_paths(folder)), before);
            git(folder, &["checkout", "--quiet", "-"]);
        }
    }
}
