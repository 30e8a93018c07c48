//! Addresses that belong to this machine or to the link that it is on, such as a cloud's metadata service:
//! what a registry sends leads there only if the registry is there itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// What is local about an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Local {
    /// It is this machine.
    Loopback,
    /// It is on the link (RFC 3927; RFC 4291, 2.5.6).
    Link,
}

/// A name leads to nothing but local addresses.
#[derive(Debug, thiserror::Error)]
#[error("{0} leads to an address of this machine or its link, where the registry is not")]
pub(super) struct LeadsToLocal(String);

/// The metadata services of clouds' instances that are not on their link: of AWS and Google over IPv6, of Alibaba, and
/// of Oracle.
const METADATA: [IpAddr; 4] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

impl Local {
    pub(super) fn of(address: IpAddr) -> Option<Self> {
        if METADATA.contains(&address) {
            return Some(Local::Link);
        }
        match address {
            // Who connects to 0.0.0.0 gets to this machine.
            IpAddr::V4(address) if address.is_loopback() || address.octets()[0] == 0 => {
                Some(Local::Loopback)
            }
            IpAddr::V4(address) => address.is_link_local().then_some(Local::Link),
            IpAddr::V6(address) => {
                if let Some(embedded) = embedded(address) {
                    return Self::of(IpAddr::V4(embedded));
                }
                if address.is_loopback() || address.is_unspecified() {
                    Some(Local::Loopback)
                } else {
                    address.is_unicast_link_local().then_some(Local::Link)
                }
            }
        }
    }

    /// What a host is without asking for its address, with or without its port.
    pub(super) fn of_host(host: &str) -> Option<Self> {
        let name = without_port(host).trim_end_matches('.');
        if name.eq_ignore_ascii_case("localhost") || is_below_localhost(name) {
            return Some(Local::Loopback);
        }
        let address = name.trim_start_matches('[').trim_end_matches(']');
        address.parse().ok().and_then(Self::of)
    }
}

/// The names below `localhost` are loopback as well (RFC 6761, 6.3).
fn is_below_localhost(name: &str) -> bool {
    let end = name.len().checked_sub(".localhost".len());
    let end = end.and_then(|end| name.get(end..));
    end.is_some_and(|end| end.eq_ignore_ascii_case(".localhost"))
}

/// The IPv4 address that an IPv6 one stands for (RFC 4291, 2.5.5.2; RFC 6052).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = address.segments();
    let translated = segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
    let [.., a, b, c, d] = address.octets();
    let embedded = Ipv4Addr::new(a, b, c, d);
    address
        .to_ipv4_mapped()
        .or_else(|| translated.then_some(embedded))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|byte| byte.is_ascii_digit())
                && (!name.contains(':') || name.ends_with(']')) =>
        {
            name
        }
        _ => host,
    }
}

/// Whether a host, perhaps with a port, is this machine by its name.
pub(super) fn is_loopback(host: &str) -> bool {
    Local::of_host(host) == Some(Local::Loopback)
}

/// Lets what a registry names lead to local addresses only where the registry is itself.
#[derive(Clone, Debug)]
pub(super) struct Guard(Arc<Guarded>);

#[derive(Debug)]
struct Guarded {
    /// The registry's host, perhaps with a port.
    registry: String,
    /// Hosts that the user has named, without their ports: proxies, which are asked in another's stead, and whom they want
    /// to be spoken to in clear.
    named: Vec<String>,
}

impl Guard {
    pub(super) fn new<'a>(registry: &str, named: impl Iterator<Item = &'a str>) -> Self {
        Guard(Arc::new(Guarded {
            registry: registry.to_owned(),
            named: named.map(|host| without_port(host).to_owned()).collect(),
        }))
    }

    /// Whether a URL may be asked, as far as its host tells by itself.
    pub(super) async fn permits(&self, url: &Url) -> bool {
        match url.host_str().and_then(Local::of_host) {
            None => true,
            Some(local) => self.0.is_named(url) || self.0.registry_is(local).await,
        }
    }

    /// As [`Guard::permits`], where nothing can be waited for: who follows a redirect to such a host waits for the
    /// name service.
    pub(super) fn permits_at_once(&self, url: &Url) -> bool {
        let Some(local) = url.host_str().and_then(Local::of_host) else {
            return true;
        };
        let registry = &self.0.registry;
        let is_there = || match (without_port(registry), 0).to_socket_addrs() {
            Ok(mut addresses) => addresses.any(|there| Local::of(there.ip()) == Some(local)),
            Err(_) => false,
        };
        self.0.is_named(url) || Local::of_host(registry).map_or_else(is_there, |is| is == local)
    }
}

impl Guarded {
    fn is_named(&self, url: &Url) -> bool {
        let host = url.host_str();
        self.named.iter().any(|named| Some(&**named) == host)
    }

    /// Whether the registry is there itself.
    async fn registry_is(&self, local: Local) -> bool {
        if let Some(is) = Local::of_host(&self.registry) {
            return is == local;
        }
        let name = without_port(&self.registry).to_owned();
        match tokio::net::lookup_host((name, 0)).await {
            Ok(mut addresses) => addresses.any(|there| Local::of(there.ip()) == Some(local)),
            Err(_) => false,
        }
    }
}

/// The address counts, and not what was known of the name before.
impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guarded = Arc::clone(&self.0);
        Box::pin(async move {
            let name = name.as_str().to_owned();
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let found: Vec<SocketAddr> = found.collect();
            let mut permitted = Vec::new();
            for address in &found {
                let permits = match Local::of(address.ip()) {
                    Some(local) => {
                        guarded.named.contains(&name) || guarded.registry_is(local).await
                    }
                    None => true,
                };
                if permits {
                    permitted.push(*address);
                }
            }
            if permitted.is_empty() && !found.is_empty() {
                return Err(LeadsToLocal(name).into());
            }
            Ok(Box::new(permitted.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_loopback_names() {
        for host in [
            "localhost",
            "LOCALHOST.:80",
            "localhost:5000",
            "a.localhost",
            "127.0.0.1:1",
            "127.9.9.9",
            "0.0.0.0",
            "[::1]:80",
            "[::ffff:127.0.0.1]",
            "::1",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "example.com",
            "localhost.example.com",
            "notlocalhost",
            "10.0.0.1:5000",
            "[::2]:80",
        ] {
            assert_eq!(Local::of_host(host), None, "{host}");
        }
        for host in [
            "169.254.169.254",
            "[fe80::1]",
            "[fd00:ec2::254]:80",
            "[::ffff:169.254.169.254]",
            "[64:ff9b::a9fe:a9fe]",
            "100.100.100.200:80",
            "[::ffff:100.100.100.200]",
        ] {
            assert_eq!(Local::of_host(host), Some(Local::Link), "{host}");
        }
    }
}
