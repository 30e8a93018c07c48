//! What a scanner is kept from: it has a mount namespace of its own, in which it can change no file that is mounted for
//! it, and a network namespace in which there is nobody else (Linux, namespaces(7)).

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

/// Whether a scanner may use the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// It may use what there is.
    Allowed,
    /// It must find none.
    Blocked,
}

/// What a scanner could use of the network. In which of the ways it was kept from it is left out: each is as good, and the
/// same scan must say the same wherever it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Nothing: it had a network namespace of its own, or there was no interface but loopback.
    None,
    /// Nobody can tell: this program does not ask other systems than Linux.
    Unknown,
    /// All that there was.
    Allowed,
}

impl std::fmt::Display for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Access::None => "the scanner could not use the network",
            Access::Unknown => {
                "nobody can tell on this system whether the scanner could use the network"
            }
            Access::Allowed => "the scanner was allowed to use the network",
        })
    }
}

/// The namespaces of this process, which are those of all that it starts.
#[derive(Clone, Copy, Debug)]
pub struct Isolation {
    /// Whether they were made for this process.
    own: bool,
    network: Network,
}

/// Why a scanner that must find no network would find one.
#[derive(Debug, thiserror::Error)]
pub enum NetworkIsOpen {
    /// There is one.
    #[error(
        "the scanner must not use the network, but here it could: this system lets no process have a network namespace of its own, and there is {}", .0.join(", ")
    )]
    Interfaces(Vec<String>),
    /// It cannot be told.
    #[error(
        "it cannot be told whether the scanner could use the network: {INTERFACES} cannot be read"
    )]
    Unknown(#[source] io::Error),
}

/// The network interfaces that a process has: two lines of headings, and one for each (`proc_pid_net(5)`).
const INTERFACES: &str = "/proc/self/net/dev";

impl Isolation {
    /// No namespaces but those that this process was started in.
    pub fn none(network: Network) -> Self {
        let own = false;
        Isolation { own, network }
    }

    /// Moves this process to namespaces of its own: its user stays the same, and what it starts cannot undo its mounts.
    ///
    /// It must have one thread. Where the system refuses halfway, which some security modules do, it cannot go back, and
    /// can write no file any more: let another process find out.
    pub fn enter(network: Network) -> io::Result<Self> {
        // Where there is none, as in a sandbox that blocks it, another one would be no better.
        let is_open = !Isolation::none(network).is_kept_from_network();
        namespaces::enter(network == Network::Blocked && is_open)?;
        let own = true;
        Ok(Isolation { own, network })
    }

    /// Whether a scanner can use no more of the network than it may.
    pub fn is_kept_from_network(self) -> bool {
        self.check_network().is_ok()
    }

    /// Whether this process may mount what nobody else sees.
    pub(super) fn may_mount(self) -> bool {
        self.own
    }

    /// What a scanner that [`Isolation::check_network`] lets start can use of the network.
    pub fn access(self) -> Access {
        if self.network == Network::Allowed {
            Access::Allowed
        } else if self.own || cfg!(target_os = "linux") {
            Access::None
        } else {
            Access::Unknown
        }
    }

    /// Makes sure that what must find no network finds none. Only Linux tells.
    pub(super) fn check_network(self) -> Result<(), NetworkIsOpen> {
        if self.own || self.access() != Access::None {
            return Ok(());
        }
        let table = fs::read_to_string(INTERFACES).map_err(NetworkIsOpen::Unknown)?;
        let others = other_interfaces(&table);
        if others.is_empty() {
            return Ok(());
        }
        Err(NetworkIsOpen::Interfaces(others))
    }
}

/// All interfaces but loopback.
fn other_interfaces(table: &str) -> Vec<String> {
    let lines = table.lines().skip(2);
    lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.trim().to_owned())
        .filter(|name| name != "lo")
        .collect()
}

#[cfg(target_os = "linux")]
mod namespaces {
    use std::fs;
    use std::io;

    use nix::sched::{CloneFlags, unshare};
    use rustix::net::netlink::SocketAddrNetlink;
    use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, recv, sendto, socket};
    use rustix::process::{getegid, geteuid};
    use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};

    pub(super) fn enter(without_network: bool) -> io::Result<()> {
        let (user, group) = (geteuid().as_raw(), getegid().as_raw());
        let mut flags = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS;
        if without_network {
            flags |= CloneFlags::CLONE_NEWNET;
        }
        unshare(flags)?;
        // Before its groups are named, a process must give up to change them (user_namespaces(7)).
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
        fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
        // By the one, what runs as root could unmount and remount; by the other, have this process do it.
        remove_capability_from_bounding_set(CapabilitySet::SYS_ADMIN)?;
        remove_capability_from_bounding_set(CapabilitySet::SYS_PTRACE)?;
        if without_network {
            // Few scanners talk to themselves, so without it most work all the same.
            let _ = set_loopback_up();
        }
        Ok(())
    }

    /// Sets `lo` up, which is down in a new network namespace: `RTM_NEWLINK` (rtnetlink(7)).
    fn set_loopback_up() -> io::Result<()> {
        const LENGTH: u32 = 32;
        const RTM_NEWLINK: u16 = 16;
        const REQUEST_AND_ACKNOWLEDGE: u16 = 1 | 4;
        const LOOPBACK: i32 = 1;
        const UP: u32 = 1;
        let mut request = Vec::new();
        // nlmsghdr: length, type, flags, sequence, port.
        request.extend(LENGTH.to_ne_bytes());
        request.extend(RTM_NEWLINK.to_ne_bytes());
        request.extend(REQUEST_AND_ACKNOWLEDGE.to_ne_bytes());
        request.extend([0; 8]);
        // ifinfomsg: family and type, index, flags, which flags to change.
        request.extend([0; 4]);
        request.extend(LOOPBACK.to_ne_bytes());
        request.extend(UP.to_ne_bytes());
        request.extend(UP.to_ne_bytes());
        let kernel = SocketAddrNetlink::new(0, 0);
        // Without another protocol, it is NETLINK_ROUTE.
        let socket = socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
        sendto(&socket, &request, SendFlags::empty(), &kernel)?;
        recv(&socket, &mut [0; 64][..], RecvFlags::empty())?;
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
mod namespaces {
    use std::io;

    pub(super) fn enter(_: bool) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_read_by_their_names() {
        let heads = "Inter-|   Receive  |  Transmit\n face |bytes    packets|bytes    packets\n";
        let lo = "    lo:  840   10    840  10\n";
        assert_eq!(other_interfaces(&format!("{heads}{lo}")), [""; 0]);
        let eth = "  eth0: 1 2 3 4\nwlan-0:0 0 0 0\n";
        assert_eq!(
            other_interfaces(&format!("{heads}{eth}{lo}")),
            ["eth0", "wlan-0"]
        );
    }
}
