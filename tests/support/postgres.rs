//! A PostgreSQL server with an empty database, in a temporary directory and on a free port. The unit tests use this file, too.
//!
//! Without an installed PostgreSQL the tests that need it are skipped, unless `GATEWAY_TEST_POSTGRES` is set, as in `scripts/test`.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The directory of Debian's packages, by version.
const INSTALLATIONS: &str = "/usr/lib/postgresql";

/// The user of Debian's packages, because the server does not run as root.
const USER: &str = "postgres";

/// A server, which is killed when this value is dropped.
#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
    server: Child,
}

impl Postgres {
    /// Starts a server; `None` if PostgreSQL is not installed.
    pub fn start() -> Option<Self> {
        let Some(programs) = find_programs() else {
            assert!(std::env::var_os("GATEWAY_TEST_POSTGRES").is_none(), "PostgreSQL is not installed");
            eprintln!("skipped: PostgreSQL is not installed");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        if is_root() {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
            let owner = format!("{USER}:{USER}");
            assert!(Command::new("chown").arg(owner).arg(folder.path()).status().unwrap().success());
        }
        let data = folder.path().join("data");
        let initialized = as_user(&programs.join("initdb"))
            .args(["--no-sync", "--auth=trust", "--username=gateway", "--encoding=UTF8", "--locale=C", "-D"])
            .arg(&data)
            .stdout(Stdio::null())
            .status();
        assert!(initialized.unwrap().success());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = start_server(&programs, &data, port);
        let postgres = Self { programs, folder, port, server };
        postgres.wait_until_ready();
        Some(postgres)
    }

    /// Returns the URL of the database.
    pub fn url(&self) -> String {
        format!("postgres://gateway@127.0.0.1:{}/postgres", self.port)
    }

    /// Kills the server as a crash does, or the out-of-memory killer.
    pub fn kill(&mut self) {
        let children = self.children();
        self.server.kill().unwrap();
        self.server.wait().unwrap();
        // The processes of the connections end when they notice it, and the server does not start before.
        for child in children {
            while Path::new(&format!("/proc/{child}")).exists() {
                std::thread::yield_now();
            }
        }
    }

    /// Starts the server again.
    pub fn start_again(&mut self) {
        self.server = start_server(&self.programs, &self.folder.path().join("data"), self.port);
        self.wait_until_ready();
    }

    /// Freezes the server: it accepts connections and does not respond.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Ends the freezing.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let processes = [vec![self.server.id()], self.children()].concat();
        let processes = processes.iter().map(ToString::to_string);
        // A connection may have ended meanwhile.
        let _ = Command::new("kill").arg(format!("-{signal}")).args(processes).stderr(Stdio::null()).status();
    }

    fn children(&self) -> Vec<u32> {
        let server = self.server.id();
        let children =
            fs::read_to_string(format!("/proc/{server}/task/{server}/children")).unwrap_or_default();
        children.split_whitespace().filter_map(|process| process.parse().ok()).collect()
    }

    fn wait_until_ready(&self) {
        let port = self.port.to_string();
        let is_ready = || {
            let mut query = Command::new(self.programs.join("psql"));
            query.args(["-h", "127.0.0.1", "-p", &port, "-U", "gateway", "-c", "SELECT 1", "postgres"]);
            query.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
        };
        while !is_ready() {}
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.signal("CONT");
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn find_programs() -> Option<PathBuf> {
    let versions = fs::read_dir(INSTALLATIONS).ok()?;
    let mut programs: Vec<_> =
        versions.filter_map(|version| Some(version.ok()?.path().join("bin"))).collect();
    programs.retain(|programs| programs.join("postgres").is_file());
    programs.sort();
    programs.pop()
}

fn start_server(programs: &Path, data: &Path, port: u16) -> Child {
    let mut server = as_user(&programs.join("postgres"));
    server.arg("-D").arg(data).args(["-p", &port.to_string(), "-h", "127.0.0.1"]);
    server.args(["-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "max_connections=60"]);
    server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn as_user(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={USER}"), &format!("--regid={USER}"), "--clear-groups"]).arg(program);
    command
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}
