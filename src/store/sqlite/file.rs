//! The file of an SQLite store: its creation, its lock, and what happens to it when it is damaged.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::store::OpenError;

/// The suffixes of the files of the write-ahead log, which belong to a database.
const LOG_SUFFIXES: [&str; 2] = ["-wal", "-shm"];

/// The store of earlier versions, in the same directory.
const EARLIER_STORE: &str = "store.redb";

/// The lock of a store. A process that is being started has a copy of the descriptor for a moment, so closing it is not enough.
pub(super) struct FileLock(File);

impl Drop for FileLock {
    fn drop(&mut self) {
        // Closing the file unlocks it, too.
        let _ = self.0.unlock();
    }
}

/// Locks the file for this process until the returned value is dropped, or the process ends. The lock is that of another file,
/// because SQLite locks the database itself for each transaction.
pub(super) fn lock(file: &Path) -> Result<FileLock, OpenError> {
    let path = with_suffix(file, ".lock");
    let failed = |error| OpenError::File { file: path.clone(), error };
    let lock = open_private(OpenOptions::new().write(true).create(true), &path).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(FileLock(lock)),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { file: file.to_owned() }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Creates the file, which only its owner can read, if it does not exist.
pub(super) fn create(file: &Path) -> Result<(), OpenError> {
    let failed = |error| OpenError::File { file: file.to_owned(), error };
    if !file.try_exists().map_err(failed)? {
        // A new database must not continue the log of a file that was removed.
        for suffix in LOG_SUFFIXES {
            match fs::remove_file(with_suffix(file, suffix)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
        }
    }
    open_private(OpenOptions::new().read(true).write(true).create(true), file).map(drop).map_err(failed)
}

/// Whether the file exists, is not empty, and may be read by this user.
pub(super) fn is_readable_database(file: &Path) -> Result<bool, OpenError> {
    let mut byte = [0];
    match File::open(file).and_then(|mut file| file.read(&mut byte)) {
        Ok(length) => Ok(length > 0),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
            Ok(false)
        }
        Err(error) => Err(OpenError::File { file: file.to_owned(), error }),
    }
}

/// Renames a damaged file to a name that no file has, with its log, and returns the name.
pub(in crate::store) fn rename_damaged(file: &Path) -> io::Result<PathBuf> {
    let mut number = 1;
    loop {
        let name = with_suffix(file, &format!(".damaged-{number}"));
        // A symbolic link without a target is also a name that is taken.
        match fs::symlink_metadata(&name) {
            Ok(_) => number += 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::rename(file, &name)?;
                for suffix in LOG_SUFFIXES {
                    match fs::rename(with_suffix(file, suffix), with_suffix(&name, suffix)) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                        _ => {}
                    }
                }
                return Ok(name);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Warns about a store that an earlier version has left in the directory of `file`.
pub(super) fn warn_about_earlier_store(file: &Path) {
    let earlier = file.with_file_name(EARLIER_STORE);
    if earlier.is_file() {
        tracing::warn!(
            file = %earlier.display(),
            "the store of an earlier version is no longer read and can be removed; clients that follow changes receive every study \
             once more"
        );
    }
}

fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(suffix);
    name.into()
}

/// Opens a file that only its owner can read if it is created. SQLite gives its log the same permissions.
fn open_private(options: &mut OpenOptions, file: &Path) -> io::Result<File> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.open(file)
}
