//! A queue of log lines, which a separate thread writes in batches. Logging never waits, because a collector that does not read
//! must not delay requests. Lines that do not fit into the queue are dropped and counted.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Maximum number of lines in the queue: those of a busy gateway in a few seconds, which take a few megabytes.
const MAX_QUEUE_LEN: usize = 8192;

/// Size of a batch in bytes.
const BATCH_SIZE: usize = 64 * 1024;

/// How long the program waits at its end for a collector that does not read.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

enum Message {
    Line(Vec<u8>),
    End,
}

/// The sender of the queue. It never waits.
#[derive(Clone)]
pub(super) struct LogQueue {
    messages: SyncSender<Message>,
    lost_count: Arc<AtomicU64>,
}

/// Waits, when it is dropped at the end of the program, until all lines are written.
#[derive(Debug)]
pub struct LogGuard {
    messages: SyncSender<Message>,
    writer: JoinHandle<()>,
}

impl LogQueue {
    /// Starts a queue that writes to `sink`. `lost_notice` creates the line that reports a number of lost lines.
    pub(super) fn start(
        sink: impl Write + Send + 'static,
        lost_notice: fn(u64) -> String,
    ) -> io::Result<(Self, LogGuard)> {
        Self::start_with(sink, lost_notice, MAX_QUEUE_LEN)
    }

    fn start_with(
        sink: impl Write + Send + 'static,
        lost_notice: fn(u64) -> String,
        max_length: usize,
    ) -> io::Result<(Self, LogGuard)> {
        let (messages, queue) = sync_channel(max_length);
        let lost_count = Arc::new(AtomicU64::new(0));
        let shared_count = Arc::clone(&lost_count);
        let write = move || write_all(&queue, sink, &shared_count, lost_notice);
        let writer = std::thread::Builder::new().name("log".to_owned()).spawn(write)?;
        Ok((Self { messages: messages.clone(), lost_count }, LogGuard { messages, writer }))
    }
}

impl Write for LogQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.messages.try_send(Message::Line(line.to_vec())).is_err() {
            self.lost_count.fetch_add(1, Ordering::Relaxed);
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
        while let Err(TrySendError::Full(_)) = self.messages.try_send(Message::End)
            && Instant::now() < deadline
        {
            pause();
        }
        while !self.writer.is_finished() && Instant::now() < deadline {
            pause();
        }
    }
}

/// Writes lines until the end of the queue. An error of the sink is ignored, because it cannot be reported.
fn write_all(
    queue: &Receiver<Message>,
    mut sink: impl Write,
    lost_count: &AtomicU64,
    lost_notice: fn(u64) -> String,
) {
    let mut batch = Vec::with_capacity(BATCH_SIZE);
    let mut is_open = true;
    while is_open {
        let mut next = queue.recv().ok();
        is_open = next.is_some();
        while let Some(message) = next {
            match message {
                Message::Line(line) => batch.extend_from_slice(&line),
                Message::End => is_open = false,
            }
            next = if batch.len() < BATCH_SIZE { queue.try_recv().ok() } else { None };
        }
        let count = lost_count.swap(0, Ordering::Relaxed);
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

    /// A sink that blocks while a test has locked it.
    #[derive(Clone, Default)]
    struct LockableSink(Arc<Mutex<Vec<u8>>>);

    impl Write for LockableSink {
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
    fn all_lines_are_written_before_the_end() {
        let sink = LockableSink::default();
        let (mut queue, guard) = LogQueue::start(sink.clone(), notice).unwrap();
        for number in 0..1000 {
            writeln!(queue, "{number}").unwrap();
        }
        drop(guard);
        let written = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        let numbers: Vec<usize> = written.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(numbers, (0..1000).collect::<Vec<_>>());
    }

    /// Returns the number of lines that were written, and the number of lines that were reported as lost.
    fn count_lines(sink: &LockableSink) -> (u64, u64) {
        let written = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
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
        let sink = LockableSink::default();
        let (mut queue, guard) = LogQueue::start_with(sink.clone(), notice, 2).unwrap();
        let lock = sink.0.lock().unwrap();
        log_a_hundred_lines(&mut queue);
        drop(lock);
        drop(guard);
        let (written, lost) = count_lines(&sink);
        assert_eq!(written + lost, 100);
        assert!(lost > 0);
    }

    #[test]
    fn the_end_waits_for_a_slow_sink() {
        let sink = LockableSink::default();
        let (mut queue, guard) = LogQueue::start_with(sink.clone(), notice, 2).unwrap();
        let lock = sink.0.lock().unwrap();
        log_a_hundred_lines(&mut queue);
        let ending = std::thread::spawn(move || drop(guard));
        std::thread::sleep(FLUSH_TIMEOUT / 4);
        drop(lock);
        ending.join().unwrap();
        let (written, lost) = count_lines(&sink);
        assert_eq!(written + lost, 100);
    }

    #[test]
    fn the_end_waits_for_a_blocked_sink_up_to_its_timeout() {
        let sink = LockableSink::default();
        let (mut queue, guard) = LogQueue::start_with(sink.clone(), notice, 2).unwrap();
        let lock = sink.0.lock().unwrap();
        log_a_hundred_lines(&mut queue);
        let started = Instant::now();
        drop(guard);
        let waited = started.elapsed();
        drop(lock);
        assert!((FLUSH_TIMEOUT..FLUSH_TIMEOUT * 10).contains(&waited), "{waited:?}");
    }
}
