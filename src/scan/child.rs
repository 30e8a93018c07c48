//! A scanner as a descendant of this process, which does not outlive it.
//!
//! On Linux a process of this program's own stands between the two, which the system tells when this one ends, however
//! that comes about. Elsewhere nobody does.

use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus};

/// How this program has another process of its own see a scanner to its end.
#[derive(Clone, Copy, Debug)]
pub struct Itself {
    /// The argument that has it call [`supervise`]. The number of this process, a file for how the scanner ended, and the
    /// scanner with its arguments follow.
    pub command: &'static str,
    /// A variable that the scanner, which may be this program too, does not have.
    pub variable: &'static str,
    /// What the program that is started so finds in it.
    pub value: &'static str,
}

/// A command that runs a scanner, without arguments yet, and leaves in the file `status` how that ended.
#[cfg(target_os = "linux")]
pub(super) fn command(scanner: &Path, itself: Itself, status: &Path) -> Command {
    linux::command(scanner, itself, status)
}

/// A command that runs a scanner, without arguments yet.
#[cfg(not(target_os = "linux"))]
pub(super) fn command(scanner: &Path, itself: Itself, _status: &Path) -> Command {
    let mut command = Command::new(scanner);
    command.env_remove(itself.variable);
    command
}

/// Runs what [`command`] made to its end. What asks this process to end, ends the scanner, and all that this has started.
#[cfg(target_os = "linux")]
pub(super) fn run(command: Command, status: &Path) -> io::Result<ExitStatus> {
    linux::run(command, status)
}

/// Runs a command to its end.
#[cfg(not(target_os = "linux"))]
pub(super) fn run(mut command: Command, _status: &Path) -> io::Result<ExitStatus> {
    command.status()
}

/// Runs a command to its end, for the process with the number `parent`, which has started this one. What asks this
/// process to end, as the end of that one does, ends the command, and all that this has started.
#[cfg(target_os = "linux")]
pub fn supervise(parent: u32, status: &Path, command: Command) -> io::Result<()> {
    linux::supervise(parent, status, command)
}

/// Nobody tells of the end of another process.
#[cfg(not(target_os = "linux"))]
pub fn supervise(_parent: u32, _status: &Path, _command: Command) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::io;
    use std::os::unix::process::ExitStatusExt as _;
    use std::path::Path;
    use std::process::{self, Command, ExitStatus};
    use std::time::Duration;

    use rustix::process::{
        Pid, Signal, getpid, getppid, kill_process, set_child_subreaper,
        set_parent_process_death_signal,
    };
    use tokio::runtime::{Builder, Runtime};
    use tokio::signal::unix::{SignalKind, signal};

    use super::Itself;

    /// This program, also where it has no name.
    const ITSELF: &str = "/proc/self/exe";
    /// How long what is asked to end may take for it.
    const GRACE: Duration = Duration::from_secs(5);
    /// How often what is left is killed, and the time between.
    const MAX_ROUNDS: u32 = 100;
    const ROUND: Duration = Duration::from_millis(10);

    pub(super) fn command(scanner: &Path, itself: Itself, status: &Path) -> Command {
        if !Path::new(ITSELF).exists() {
            let mut command = Command::new(scanner);
            command.env_remove(itself.variable);
            return command;
        }
        let mut command = Command::new(ITSELF);
        command.arg(itself.command).arg(process::id().to_string());
        command.arg(status).arg("--").arg(scanner);
        command.env(itself.variable, itself.value);
        command
    }

    pub(super) fn run(command: Command, status: &Path) -> io::Result<ExitStatus> {
        runtime()?.block_on(async {
            let mut asked = Asked::new()?;
            let mut child = tokio::process::Command::from(command).spawn()?;
            let ended = tokio::select! {
                ended = child.wait() => ended,
                signal = asked.next() => {
                    if let Some(child) = child.id().and_then(process_of) {
                        // It may have ended.
                        let _ = kill_process(child, signal);
                    }
                    child.wait().await
                }
            };
            told(status).unwrap_or(ended)
        })
    }

    pub(super) fn supervise(parent: u32, status: &Path, command: Command) -> io::Result<()> {
        let ended = runtime()?.block_on(async {
            let asked = Asked::new()?;
            // Whose parent has ended is this process's child.
            set_child_subreaper(Some(getpid()))?;
            set_parent_process_death_signal(Some(Signal::TERM))?;
            // It may have ended before.
            if getppid() != process_of(parent) {
                return Err(io::Error::other("who wants it is gone"));
            }
            supervised(command, asked).await
        });
        let told = match ended {
            Ok(ended) => format!("{ENDED}{}", ended.into_raw()),
            Err(error) => format!("{FAILED}{}", error.raw_os_error().unwrap_or_default()),
        };
        fs::write(status, told)
    }

    const ENDED: &str = "ended ";
    const FAILED: &str = "failed ";

    /// How a scanner ended, or why it did not begin, if its supervisor has come so far as to tell.
    fn told(status: &Path) -> Option<io::Result<ExitStatus>> {
        let told = fs::read_to_string(status).ok()?;
        if let Some(error) = told.strip_prefix(FAILED) {
            return Some(Err(io::Error::from_raw_os_error(error.parse().ok()?)));
        }
        let ended = told.strip_prefix(ENDED)?.parse().ok()?;
        Some(Ok(ExitStatus::from_raw(ended)))
    }

    fn runtime() -> io::Result<Runtime> {
        Builder::new_current_thread().enable_all().build()
    }

    /// The signals that ask this process to end.
    struct Asked([(tokio::signal::unix::Signal, Signal); 3]);

    impl Asked {
        fn new() -> io::Result<Self> {
            Ok(Asked([
                (signal(SignalKind::hangup())?, Signal::HUP),
                (signal(SignalKind::interrupt())?, Signal::INT),
                (signal(SignalKind::terminate())?, Signal::TERM),
            ]))
        }

        async fn next(&mut self) -> Signal {
            let [hangup, interrupt, terminate] = &mut self.0;
            tokio::select! {
                _ = hangup.0.recv() => hangup.1,
                _ = interrupt.0.recv() => interrupt.1,
                _ = terminate.0.recv() => terminate.1,
            }
        }
    }

    async fn supervised(command: Command, mut asked: Asked) -> io::Result<ExitStatus> {
        let mut child = tokio::process::Command::from(command).spawn()?;
        let signal = tokio::select! {
            ended = child.wait() => return ended,
            signal = asked.next() => signal,
        };
        // A group of its own would keep it from whoever ends this process's.
        tell_all(signal, child.id());
        let ended = tokio::time::timeout(GRACE, child.wait()).await;
        // What begins while others are asked to end is not asked.
        for _ in 0..MAX_ROUNDS {
            if !tell_all(Signal::KILL, child.id()) {
                break;
            }
            tokio::time::sleep(ROUND).await;
        }
        match ended {
            Ok(ended) => ended,
            Err(_) => child.wait().await,
        }
    }

    /// Sends a signal to all that this process has started, or to its child alone where no more can be seen. Whether there
    /// was any.
    fn tell_all(signal: Signal, child: Option<u32>) -> bool {
        let mut started = descendants();
        if started.is_empty() {
            started.extend(child.and_then(process_of));
        }
        for process in &started {
            // It may have ended.
            let _ = kill_process(*process, signal);
        }
        !started.is_empty()
    }

    /// All that this process has started, and what these have, as far as it can be seen.
    fn descendants() -> Vec<Pid> {
        let own = process::id();
        // It may be that of another namespace, in which numbers are others.
        let seen = fs::read_link("/proc/self");
        let entries = match fs::read_dir("/proc") {
            Ok(entries) if seen.is_ok_and(|seen| seen == Path::new(&own.to_string())) => entries,
            _ => return Vec::new(),
        };
        let processes = entries.filter_map(|entry| {
            let number: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let status = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
            // The name before may have blanks and parentheses.
            let mut fields = status.rsplit_once(") ")?.1.split(' ');
            let has_ended = matches!(fields.next()?, "Z" | "X");
            let parent: u32 = fields.next()?.parse().ok()?;
            (!has_ended).then_some((number, parent))
        });
        let processes: Vec<(u32, u32)> = processes.collect();
        let mut found = vec![own];
        let mut next = 0;
        while let Some(&parent) = found.get(next) {
            let children = processes.iter().filter(|(_, of)| *of == parent);
            found.extend(children.map(|(number, _)| *number));
            next += 1;
        }
        let found = found.into_iter().skip(1);
        found.filter_map(process_of).collect()
    }

    fn process_of(number: u32) -> Option<Pid> {
        Pid::from_raw(number.try_into().ok()?)
    }
}
