//! What a person sees while a pull or a push runs.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};
use oci_pull_all::oci::digest::Digest;
use oci_pull_all::progress::{BlobReporter, BlobState, Note, Reporter};
use oci_pull_all::text::shown;

use super::hints::in_one_line;

/// Between two lines where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ProgressMode {
    /// Bars on a terminal, else lines.
    Auto,
    /// A bar for each active blob, and a total.
    Bars,
    /// A line now and then.
    Plain,
    /// Nothing.
    None,
}

/// Shows the progress of one transfer on stderr.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    display: Arc<Display>,
}

#[derive(Debug)]
enum Display {
    Bars {
        all: MultiProgress,
        total: ProgressBar,
    },
    Plain(Plain),
    None,
}

#[derive(Debug)]
struct Plain {
    started: Instant,
    last_line: Mutex<Instant>,
    total: AtomicU64,
    done: AtomicU64,
}

impl Progress {
    /// A display that has nothing to show yet.
    pub(super) fn new(mode: ProgressMode) -> Self {
        let bars = match mode {
            ProgressMode::Auto => std::io::stderr().is_terminal(),
            mode => mode == ProgressMode::Bars,
        };
        let display = if bars {
            let all = MultiProgress::new();
            let total = all.add(ProgressBar::new(0).with_style(style(
                "{prefix:<16} {bar:24} {bytes:>11} / {total_bytes:<11} {bytes_per_sec:>13}  {eta:>4} left",
            )));
            total.set_prefix("total");
            Display::Bars { all, total }
        } else if mode == ProgressMode::None {
            Display::None
        } else {
            let now = Instant::now();
            Display::Plain(Plain {
                started: now,
                last_line: Mutex::new(now),
                total: AtomicU64::new(0),
                done: AtomicU64::new(0),
            })
        };
        Progress {
            display: Arc::new(display),
        }
    }

    /// Removes the bars and writes the last line.
    pub(super) fn finish(&self, line: &str) {
        if let Display::Bars { all, .. } = &*self.display {
            let _ = all.clear();
        }
        if !matches!(*self.display, Display::None) {
            write_line(line);
        }
    }
}

impl Reporter for Progress {
    fn expect(&self, bytes: u64) {
        match &*self.display {
            Display::Bars { total, .. } => total.inc_length(bytes),
            Display::Plain(plain) => {
                plain.total.fetch_add(bytes, Ordering::Relaxed);
            }
            Display::None => {}
        }
    }

    fn blob(&self, digest: &Digest, size: u64) -> Arc<dyn BlobReporter> {
        let bar = match &*self.display {
            Display::Bars { all, total } => {
                let bar = ProgressBar::new(size).with_style(style(
                    "{prefix:<16} {bar:24} {bytes:>11} / {total_bytes:<11} {bytes_per_sec:>13}  {msg}",
                ));
                bar.set_prefix(digest.hex()[..12].to_owned());
                Some(all.insert_before(total, bar))
            }
            _ => None,
        };
        Arc::new(BlobProgress {
            progress: self.clone(),
            bar,
            position: AtomicU64::new(0),
        })
    }

    fn note(&self, note: &Note<'_>) {
        let line = shown(&note_in_words(note));
        match &*self.display {
            // Without disturbing the bars.
            Display::Bars { all, .. } => {
                let _ = all.println(line);
            }
            Display::Plain(_) => write_line(&line),
            Display::None => {}
        }
    }
}

impl Plain {
    fn report(&self) {
        let done = self.done.load(Ordering::Relaxed);
        let Ok(mut last_line) = self.last_line.try_lock() else {
            return;
        };
        if last_line.elapsed() < LINE_INTERVAL {
            return;
        }
        *last_line = Instant::now();
        let total = self.total.load(Ordering::Relaxed).max(1);
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss
        )]
        let rate = (done as f64 / self.started.elapsed().as_secs_f64()) as u64;
        write_line(&format!(
            "{} of {} ({} %), {}/s",
            HumanBytes(done),
            HumanBytes(total),
            done * 100 / total,
            HumanBytes(rate),
        ));
    }
}

/// The progress of one blob; dropping it removes its bar.
#[derive(Debug)]
struct BlobProgress {
    progress: Progress,
    bar: Option<ProgressBar>,
    position: AtomicU64,
}

impl BlobReporter for BlobProgress {
    fn move_to(&self, position: u64) {
        let before = self.position.swap(position, Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.set_position(position);
        }
        let forward = position.saturating_sub(before);
        let back = before.saturating_sub(position);
        match &*self.progress.display {
            Display::Bars { total, .. } => {
                total.inc(forward);
                total.dec(back);
            }
            Display::Plain(plain) => {
                plain.done.fetch_add(forward, Ordering::Relaxed);
                plain.done.fetch_sub(back, Ordering::Relaxed);
                plain.report();
            }
            Display::None => {}
        }
    }

    fn state(&self, state: BlobState) {
        if let Some(bar) = &self.bar {
            bar.set_message(match state {
                BlobState::Moving => "",
                BlobState::Retrying => "trying again",
                BlobState::Locked => "waiting for another process",
            });
        }
    }
}

impl Drop for BlobProgress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn note_in_words(note: &Note<'_>) -> String {
    match note {
        Note::MirrorFailed { mirror, error } => format!(
            "the mirror {mirror} did not serve, so others are asked: {}",
            in_one_line(*error)
        ),
        Note::Waiting { blob, process } => {
            format!(
                "waiting for {}, which writes {blob} to the store",
                other_process(*process)
            )
        }
        Note::OnlyMirrors(error) => format!(
            "what refers to the image is only what the mirrors have: {}",
            in_one_line(*error)
        ),
        Note::LeftOut { subject, count } => format!(
            "of what refers to {subject}, {count} are neither manifests nor indexes, and are left out"
        ),
    }
}

/// The process that has a lock.
pub(super) fn other_process(number: Option<u32>) -> String {
    match number {
        Some(number) => format!("the process {number}"),
        None => "another process".to_owned(),
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is valid")
}

fn write_line(line: &str) {
    // A reader that went away must not fail the pull.
    let _ = writeln!(std::io::stderr(), "oci-pull-all: {line}");
}
