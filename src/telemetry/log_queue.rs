//! A queue of log lines, written by a thread of its own in batches. Logging never waits: a collector that does not read must
//! not delay requests, so lines that do not fit into the queue are counted and lost.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The lines of a busy gateway in a few seconds; a few megabytes.
const MAX_QUEUE_LEN: usize = 8192;

/// Bytes written at once.
const BATCH: usize = 64 * 1024;

/// How long the end of the program waits for a collector that does not read.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

enum Message {
    Line(Vec<u8>),
    End,
}

/// The writing end of the queue; never waits.
#[derive(Clone)]
pub(super) struct LogQueue {
    lines: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

/// Dropping it at the end of the program waits until everything logged is written.
#[derive(Debug)]
pub struct LogGuard {
    lines: SyncSender<Message>,
    writing: JoinHandle<()>,
}

impl LogQueue {
    /// A queue that writes to `sink`. `lost_notice` is the line that reports a number of lost lines.
    pub(super) fn start(
        sink: impl Write + Send + 'static,
        lost_notice: fn(u64) -> String,
    ) -> io::Result<(Self, LogGuard)> {
        Self::start_with(sink, lost_notice, MAX_QUEUE_LEN)
    }

    fn start_with(
        sink: impl Write + Send + 'static,
        lost_notice: fn(u64) -> String,
        longest: usize,
    ) -> io::Result<(Self, LogGuard)> {
        let (lines, queue) = sync_channel(longest);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&lost);
        let write = move || write_all(&queue, sink, &counted, lost_notice);
        let writing = std::thread::Builder::new().name("log".to_owned()).spawn(write)?;
        Ok((Self { lines: lines.clone(), lost }, LogGuard { lines, writing }))
    }
}

impl Write for LogQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lines.try_send(Message::Line(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        let deadline = Instant::now() + FLUSH_TIMEOUT;
        let pause = || std::thread::sleep(Duration::from_millis(1));
        while let Err(TrySendError::Full(_)) = self.lines.try_send(Message::End)
            && Instant::now() < deadline
        {
            pause();
        }
        while !self.writing.is_finished() && Instant::now() < deadline {
            pause();
        }
    }
}

/// Writes lines until the end. An error of the sink is ignored: there is nowhere to report it.
fn write_all(
    queue: &Receiver<Message>,
    mut sink: impl Write,
    lost: &AtomicU64,
    lost_notice: fn(u64) -> String,
) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut goes_on = true;
    while goes_on {
        let mut next = queue.recv().ok();
        goes_on = next.is_some();
        while let Some(message) = next {
            match message {
                Message::Line(line) => batch.extend_from_slice(&line),
                Message::End => goes_on = false,
            }
            next = if batch.len() < BATCH { queue.try_recv().ok() } else { None };
        }
        let count = lost.swap(0, Ordering::Relaxed);
        if count > 0 {
            batch.extend_from_slice(lost_notice(count).as_bytes());
        }
        let _ = sink.write_all(&batch).and_then(|()| sink.flush());
        batch.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// A sink that blocks while its lock is held.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn notice(count: u64) -> String {
        format!("{count} lost\n")
    }

    #[test]
    fn everything_logged_is_written_before_the_end() {
        let page = Page::default();
        let (mut queue, guard) = LogQueue::start(page.clone(), notice).unwrap();
        for number in 0..1000 {
            writeln!(queue, "{number}").unwrap();
        }
        drop(guard);
        let written = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        let numbers: Vec<usize> = written.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(numbers, (0..1000).collect::<Vec<_>>());
    }

    /// The number of lines that were written, and of those that were reported as lost.
    fn counted_lines(page: &Page) -> (u64, u64) {
        let written = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        let lost =
            written.lines().filter_map(|line| line.strip_suffix(" lost")?.parse::<u64>().ok()).sum::<u64>();
        (written.matches("line\n").count() as u64, lost)
    }

    fn log_a_hundred_lines(queue: &mut LogQueue) {
        for _ in 0..100 {
            queue.write_all(b"line\n").unwrap();
        }
    }

    #[test]
    fn a_blocked_sink_does_not_delay_logging() {
        let page = Page::default();
        let (mut queue, guard) = LogQueue::start_with(page.clone(), notice, 2).unwrap();
        let held = page.0.lock().unwrap();
        log_a_hundred_lines(&mut queue);
        drop(held);
        drop(guard);
        let (written, lost) = counted_lines(&page);
        assert_eq!(written + lost, 100);
        assert!(lost > 0);
    }

    #[test]
    fn the_end_waits_for_a_slow_sink() {
        let page = Page::default();
        let (mut queue, guard) = LogQueue::start_with(page.clone(), notice, 2).unwrap();
        let held = page.0.lock().unwrap();
        log_a_hundred_lines(&mut queue);
        let ending = std::thread::spawn(move || drop(guard));
        std::thread::sleep(FLUSH_TIMEOUT / 4);
        drop(held);
        ending.join().unwrap();
        let (written, lost) = counted_lines(&page);
        assert_eq!(written + lost, 100);
    }

    #[test]
    fn the_end_waits_for_a_blocked_sink_up_to_its_timeout() {
        let page = Page::default();
        let (mut queue, guard) = LogQueue::start_with(page.clone(), notice, 2).unwrap();
        let held = page.0.lock().unwrap();
        log_a_hundred_lines(&mut queue);
        let started = Instant::now();
        drop(guard);
        let waited = started.elapsed();
        drop(held);
        assert!((FLUSH_TIMEOUT..FLUSH_TIMEOUT * 10).contains(&waited), "{waited:?}");
    }
}
