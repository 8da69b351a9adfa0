//! A store that fails when a test wants it to, and that knows what a crash of the machine would leave of its file.

use super::*;
use crate::store::{Durability, Entry, StoreKind, StoreResult, StoreTable, Transaction};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::path::PathBuf;
use std::sync::Mutex;
use tempfile::TempDir;

#[derive(Debug)]
pub(super) struct TestStore {
    inner: Arc<dyn Store>,
    has_failed: AtomicBool,
    directory: Option<PathBuf>,
    /// The files of the store at the last time at which all transactions were durable.
    durable: Arc<Mutex<Option<TempDir>>>,
}

impl TestStore {
    pub(super) fn new(inner: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self { inner, has_failed: AtomicBool::new(false), directory: None, durable: Arc::default() })
    }

    /// Opens the store in `directory`.
    pub(super) async fn open(directory: &Path) -> Arc<Self> {
        let inner = in_directory(directory).await;
        let (has_failed, directory) = (AtomicBool::new(false), Some(directory.to_owned()));
        Arc::new(Self { inner, has_failed, directory, durable: Arc::default() })
    }

    /// Makes every further call fail.
    pub(super) fn fail(&self) {
        self.has_failed.store(true, Ordering::SeqCst);
    }

    /// Returns a directory with what a crash of the machine certainly leaves of the store.
    pub(super) fn after_crash(&self) -> TempDir {
        self.durable.lock().unwrap().take().expect("the log was opened durably")
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.has_failed.load(Ordering::SeqCst) { Err(StoreError::Full) } else { Ok(()) }
    }

    fn copier(&self) -> impl Fn() + Send + 'static {
        let (directory, durable) = (self.directory.clone(), Arc::clone(&self.durable));
        move || {
            let Some(directory) = &directory else { return };
            *durable.lock().unwrap() = Some(copy_of(directory));
        }
    }
}

/// Copies the store in `directory`.
pub(super) fn copy_of(directory: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in ["gateway.db", "gateway.db-wal"] {
        if directory.join(name).exists() {
            std::fs::copy(directory.join(name), copy.path().join(name)).unwrap();
        }
    }
    copy
}

impl Store for TestStore {
    fn kind(&self) -> StoreKind {
        self.inner.kind()
    }

    fn get_many<'a>(
        &'a self,
        table: StoreTable,
        keys: &'a [Vec<u8>],
    ) -> StoreResult<'a, Vec<Option<Vec<u8>>>> {
        async move {
            self.check()?;
            self.inner.get_many(table, keys).await
        }
        .boxed()
    }

    fn scan<'a>(&'a self, table: StoreTable, from: &'a [u8], limit: usize) -> StoreResult<'a, Vec<Entry>> {
        self.inner.scan(table, from, limit)
    }

    fn begin(&self, durability: Durability) -> StoreResult<'_, Box<dyn Transaction>> {
        async move {
            self.check()?;
            let inner = self.inner.begin(durability).await?;
            let committed: Box<dyn Fn() + Send> = match durability {
                Durability::Immediate => Box::new(self.copier()),
                Durability::Eventual => Box::new(|| {}),
            };
            Ok(Box::new(TestTransaction { inner, committed }) as Box<dyn Transaction>)
        }
        .boxed()
    }

    fn make_durable(&self) -> StoreResult<'_, ()> {
        async move {
            self.check()?;
            self.inner.make_durable().await?;
            self.copier()();
            Ok(())
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}

struct TestTransaction {
    inner: Box<dyn Transaction>,
    committed: Box<dyn Fn() + Send>,
}

impl Transaction for TestTransaction {
    fn get_many<'a>(
        &'a mut self,
        table: StoreTable,
        keys: &'a [Vec<u8>],
    ) -> StoreResult<'a, Vec<Option<Vec<u8>>>> {
        self.inner.get_many(table, keys)
    }

    fn scan<'a>(
        &'a mut self,
        table: StoreTable,
        from: &'a [u8],
        limit: usize,
    ) -> StoreResult<'a, Vec<Entry>> {
        self.inner.scan(table, from, limit)
    }

    fn put_many<'a>(&'a mut self, table: StoreTable, entries: &'a [Entry]) -> StoreResult<'a, ()> {
        self.inner.put_many(table, entries)
    }

    fn remove_many<'a>(&'a mut self, table: StoreTable, keys: &'a [Vec<u8>]) -> StoreResult<'a, ()> {
        self.inner.remove_many(table, keys)
    }

    fn commit(self: Box<Self>) -> StoreResult<'static, ()> {
        async move {
            self.inner.commit().await?;
            (self.committed)();
            Ok(())
        }
        .boxed()
    }
}
