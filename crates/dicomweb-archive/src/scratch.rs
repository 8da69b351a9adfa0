//! A temporary directory, which is removed when its owner drops it. This module does not know its content.

use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::path::{Path, PathBuf};

/// Maximum number of attempts to find a free name.
const MAX_ATTEMPTS: usize = 16;

/// A temporary directory.
#[derive(Debug)]
pub(super) struct TemporaryDirectory(PathBuf);

impl TemporaryDirectory {
    /// Creates a directory that only this user can access, with an unpredictable name.
    pub(super) fn new() -> io::Result<Self> {
        let mut failure = io::Error::other("no free name");
        for _ in 0..MAX_ATTEMPTS {
            // The name must be unused, not secret, so the random hash keys of the standard library are sufficient.
            let name = RandomState::new().hash_one(std::process::id());
            let path = std::env::temp_dir().join(format!("dicomweb-gateway-samples-{name:016x}"));
            match create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => failure = error,
                Err(error) => return Err(error),
            }
        }
        Err(failure)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        // If the removal fails, only synthetic data remains.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn create(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_is_removed_on_drop() {
        let scratch = TemporaryDirectory::new().unwrap();
        let path = scratch.path().to_owned();
        fs::write(path.join("file"), b"x").unwrap();
        drop(scratch);
        assert!(!path.exists());
    }
}
