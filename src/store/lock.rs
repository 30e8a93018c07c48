//! Waiting for another process's lock, without being silent about it.

use std::fs::File;
use std::io;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// A wait that is shorter than this is nobody's business.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether others may hold a lock as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lock {
    Shared,
    Exclusive,
}

/// Locks the file. Where that takes a while, `waiting` is told the number of the process that has the lock, if the
/// system tells.
pub(super) fn lock(
    file: &File,
    kind: Lock,
    waiting: impl FnOnce(Option<u32>) + Send,
) -> io::Result<()> {
    let tried = match kind {
        Lock::Shared => file.try_lock_shared(),
        Lock::Exclusive => file.try_lock(),
    };
    match tried {
        Ok(()) => return Ok(()),
        Err(std::fs::TryLockError::WouldBlock) => {}
        Err(std::fs::TryLockError::Error(error)) => return Err(error),
    }
    let wait = || match kind {
        Lock::Shared => file.lock_shared(),
        Lock::Exclusive => file.lock(),
    };
    let (done, ended) = channel::<()>();
    thread::scope(|scope| {
        let telling = thread::Builder::new().spawn_scoped(scope, move || {
            if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                waiting(holder(file));
            }
        });
        // Where there can be no other thread, the wait is silent, but it is one all the same.
        drop(telling);
        let locked = wait();
        drop(done);
        locked
    })
}

/// The process that has a lock on the file (Linux, proc(5), `/proc/locks`).
#[cfg(target_os = "linux")]
fn holder(file: &File) -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;

    let inode = file.metadata().ok()?.ino().to_string();
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    holder_in(&locks, &inode)
}

#[cfg(not(target_os = "linux"))]
fn holder(_: &File) -> Option<u32> {
    None
}

#[cfg(target_os = "linux")]
fn holder_in(locks: &str, inode: &str) -> Option<u32> {
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        // One that waits itself has an arrow in the place of the kind.
        match words[..] {
            [_, "FLOCK", _, _, process, file, ..] if file.rsplit(':').next() == Some(inode) => {
                process.parse().ok().filter(|&process| process != 0)
            }
            _ => None,
        }
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_who_does_not_wait() {
        let locks = "\
            1: POSIX  ADVISORY  WRITE 11 fe:00:77 0 EOF\n\
            2: FLOCK  ADVISORY  WRITE 22 fe:00:177 0 EOF\n\
            2: -> FLOCK  ADVISORY  WRITE 33 fe:00:77 0 EOF\n\
            3: FLOCK  ADVISORY  WRITE 44 fe:00:77 0 EOF\n";
        assert_eq!(holder_in(locks, "77"), Some(44));
        assert_eq!(holder_in(locks, "7"), None);
    }
}
