//! What the function's processes print, line by line.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::broadcast;

/// Lines kept for readers who come late.
const KEPT: usize = 10_000;

/// Which pipe a line came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogLine {
    /// 1, 2, 3, … over all processes of the function.
    pub seq: u64,
    /// Pipe.
    pub stream: LogStream,
    /// The line without its end; bytes that are not UTF-8 are replaced.
    pub text: String,
}

#[derive(Debug)]
pub(super) struct LogBuffer {
    lines: Mutex<(u64, VecDeque<LogLine>)>,
    live: broadcast::Sender<LogLine>,
}

impl LogBuffer {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { lines: Mutex::default(), live: broadcast::Sender::new(4096) })
    }

    pub(super) fn lines(&self) -> Vec<LogLine> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).1.iter().cloned().collect()
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<LogLine> {
        self.live.subscribe()
    }

    fn push(&self, stream: LogStream, text: String) {
        let mut guard = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        guard.0 += 1;
        let line = LogLine { seq: guard.0, stream, text };
        if guard.1.len() == KEPT {
            guard.1.pop_front();
        }
        guard.1.push_back(line.clone());
        // Nobody listening is fine.
        drop(self.live.send(line));
    }

    /// Reads a pipe to its end.
    pub(super) async fn follow(self: Arc<Self>, stream: LogStream, pipe: impl AsyncRead + Unpin) {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        while let Ok(read) = reader.read_until(b'\n', &mut line).await {
            if read == 0 {
                break;
            }
            let text = String::from_utf8_lossy(&line);
            self.push(stream, text.trim_end_matches(['\n', '\r']).to_owned());
            line.clear();
        }
    }
}
