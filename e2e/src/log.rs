//! What a running process writes.

use std::io::{BufRead as _, BufReader, Read};
use std::process::Child;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// The lines of a process's standard output and standard error, which must be piped.
#[derive(Debug)]
pub struct Log {
    incoming: mpsc::Receiver<String>,
    seen: Vec<String>,
    readers: Vec<JoinHandle<()>>,
}

impl Log {
    /// The log of this process.
    ///
    /// # Panics
    /// If the process's output is not piped.
    pub fn of(process: &mut Child) -> Self {
        let (send, incoming) = mpsc::channel();
        let out = process.stdout.take().expect("piped");
        let err = process.stderr.take().expect("piped");
        Self {
            incoming,
            seen: Vec::new(),
            readers: vec![forward(out, send.clone()), forward(err, send)],
        }
    }

    /// Waits for a line that has this text in it.
    ///
    /// # Panics
    /// If it does not come.
    pub fn wait_for(&mut self, text: &str) -> String {
        loop {
            match self.incoming.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(error) => panic!(
                    "{text:?} was not written ({error}), but:\n{}",
                    self.seen.join("\n")
                ),
            }
        }
    }

    /// The lines until the last one that was waited for, or all once the end was.
    pub fn seen(&self) -> &[String] {
        &self.seen
    }

    /// Waits until nobody is left who could write: until the process and all of its children have ended.
    pub fn wait_for_end(&mut self) {
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        self.seen.extend(self.incoming.try_iter());
    }
}

fn forward(stream: impl Read + Send + 'static, lines: mpsc::Sender<String>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                break;
            }
        }
    })
}
