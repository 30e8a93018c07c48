//! The memory of a scanner that was killed, which is what scanners are mostly killed for.

/// What the largest of the ended child processes had used, and the limit, in words; nothing where the system does not
/// tell.
#[cfg(target_os = "linux")]
pub(super) fn in_words() -> String {
    use nix::sys::resource::{UsageWho, getrusage};

    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else {
        return String::new();
    };
    let used = u64::try_from(usage.max_rss()).unwrap_or(0) >> 10;
    match limit() {
        Some(limit) => format!(
            " after it had used {used} MiB of memory, of {}",
            limit >> 20
        ),
        None => format!(" after it had used {used} MiB of memory; no limit of its own is known"),
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn in_words() -> String {
    String::new()
}

/// The lowest limit of the control groups that this process is in, in bytes (cgroups(7), version 2).
#[cfg(target_os = "linux")]
fn limit() -> Option<u64> {
    use std::fs;
    use std::path::Path;

    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let groups = Path::new("/sys/fs/cgroup").join(group);
    let limits = groups.ancestors().filter_map(|group| {
        let limit = fs::read_to_string(group.join("memory.max")).ok()?;
        limit.trim().parse().ok()
    });
    limits.min()
}
