//! A temporary folder of our own, gone when it is dropped.

use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::path::{Path, PathBuf};

/// How many taken names are passed over before the temporary folder counts as unusable.
const ATTEMPTS: usize = 16;

/// The folder.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// Creates a folder that only this user can enter, under a name that nobody can have prepared.
    pub(super) fn new() -> io::Result<Self> {
        let mut failure = io::Error::other("no free name");
        for _ in 0..ATTEMPTS {
            // The standard library's hash keys are random: enough for a name that has to be free, not secret.
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

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left behind at worst: it holds invented data only.
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
    fn the_folder_goes_with_its_owner() {
        let scratch = Scratch::new().unwrap();
        let path = scratch.path().to_owned();
        fs::write(path.join("file"), b"x").unwrap();
        drop(scratch);
        assert!(!path.exists());
    }
}
