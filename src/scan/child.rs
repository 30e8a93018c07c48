//! A scanner as a child of this process, which does not outlive it.

use std::io;
use std::process::{Command, ExitStatus};

/// Runs a command to its end. What asks this process to end, ends the command, and all that this has started.
#[cfg(target_os = "linux")]
pub(super) fn run(command: Command) -> io::Result<ExitStatus> {
    linux::run(command)
}

/// Runs a command to its end.
#[cfg(not(target_os = "linux"))]
pub(super) fn run(mut command: Command) -> io::Result<ExitStatus> {
    command.status()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::io;
    use std::path::Path;
    use std::process::{self, Command, ExitStatus};
    use std::time::Duration;

    use rustix::process::{Pid, Signal, getpid, kill_process, set_child_subreaper};
    use tokio::signal::unix::{SignalKind, signal};

    /// How long what is asked to end may take for it.
    const GRACE: Duration = Duration::from_secs(5);
    /// How often what is left is killed, and the time between.
    const MAX_ROUNDS: u32 = 100;
    const ROUND: Duration = Duration::from_millis(10);

    pub(super) fn run(command: Command) -> io::Result<ExitStatus> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let mut hangup = signal(SignalKind::hangup())?;
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut terminate = signal(SignalKind::terminate())?;
            // Whose parent has ended is this process's child.
            set_child_subreaper(Some(getpid()))?;
            let mut child = tokio::process::Command::from(command).spawn()?;
            let asked = tokio::select! {
                ended = child.wait() => return ended,
                _ = hangup.recv() => Signal::HUP,
                _ = interrupt.recv() => Signal::INT,
                _ = terminate.recv() => Signal::TERM,
            };
            // A group of its own would keep it from whoever ends this process's.
            tell_all(asked, child.id());
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
        })
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
