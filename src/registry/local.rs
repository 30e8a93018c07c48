//! Addresses that belong to this machine or to the link that it is on, such as a cloud's metadata service:
//! what a registry sends leads there only if the registry is there itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::net::lookup_host;

use crate::oci::reference::{Scheme, bracketed};

use super::RegistryOptions;

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
#[error("it leads to an address of this machine or its link, where the registry is not")]
pub(super) struct LeadsToLocal;

/// The metadata services of clouds' instances that are not on their link: of AWS, its EKS and Google over IPv6, of
/// Alibaba, of Oracle, and of Azure.
const METADATA: [IpAddr; 6] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
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

    /// What a URL's host is without asking for its address.
    pub(super) fn of_url(url: &Url) -> Option<Self> {
        let name = url.host_str()?.trim_end_matches('.');
        if name.eq_ignore_ascii_case("localhost") || is_below_localhost(name) {
            return Some(Local::Loopback);
        }
        let address = bracketed(name).unwrap_or(name);
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

/// Whether a URL's host is this machine by its name.
pub(super) fn is_loopback(url: &Url) -> bool {
    Local::of_url(url) == Some(Local::Loopback)
}

/// Lets what a registry names lead to local addresses only where the registry is itself.
#[derive(Clone, Debug)]
pub(super) struct Guard(Arc<Guarded>);

#[derive(Debug)]
struct Guarded {
    /// The registry.
    registry: Url,
    options: RegistryOptions,
    /// The hosts that the name service may say to be on this machine, whoever asks: those that are spoken to in clear.
    plain: Vec<String>,
    /// Proxies, which are connected to in another's stead, wherever they are.
    proxies: Vec<String>,
}

impl Guard {
    pub(super) fn new(options: &RegistryOptions, registry: &Url) -> Self {
        let plain = options.plain_http.iter();
        let plain = plain.filter_map(|registry| registry.api_url(Scheme::Http));
        let hosts = plain.filter_map(|url| url.host_str().map(str::to_owned));
        Guard(Arc::new(Guarded {
            registry: registry.clone(),
            options: options.clone(),
            plain: hosts.collect(),
            proxies: options.proxies.hosts().map(str::to_owned).collect(),
        }))
    }

    /// Whether the user wants a URL's host to be spoken to in clear at its port.
    pub(super) fn may_be_plain(&self, url: &Url) -> bool {
        self.0.options.is_plain(url)
    }

    /// Whether a URL may be asked, as far as that is to be told before the connection is made.
    pub(super) async fn permits(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else {
            return true;
        };
        match Local::of_url(url) {
            // What a cloud has there answers whoever asks.
            Some(Local::Link) => self.0.registry_is(Local::Link).await,
            _ if self.may_be_plain(url) => true,
            Some(local) => self.0.registry_is(local).await,
            // The name service is asked here, because who connects is not told the port.
            None if self.0.is_named(host) => {
                let found = lookup_host((host, 0)).await;
                let found: Vec<SocketAddr> = found.into_iter().flatten().collect();
                found.is_empty() || !self.0.permitted(found, |_| false).await.is_empty()
            }
            None => true,
        }
    }
}

impl Guarded {
    fn is_plain(&self, host: &str) -> bool {
        self.plain.iter().any(|named| named == host)
    }

    fn is_proxy(&self, host: &str) -> bool {
        self.proxies.iter().any(|named| named == host)
    }

    /// Whether the user has named a host.
    fn is_named(&self, host: &str) -> bool {
        self.is_plain(host) || self.is_proxy(host)
    }

    /// Whether the registry is there itself.
    async fn registry_is(&self, local: Local) -> bool {
        if let Some(is) = Local::of_url(&self.registry) {
            return is == local;
        }
        match lookup_host((self.registry.host_str().unwrap_or_default(), 0)).await {
            Ok(mut addresses) => addresses.any(|there| Local::of(there.ip()) == Some(local)),
            Err(_) => false,
        }
    }

    /// Those of some addresses to which what a registry names may lead, or whoever has named it.
    async fn permitted(
        &self,
        addresses: Vec<SocketAddr>,
        may_be: impl Fn(Local) -> bool,
    ) -> Vec<SocketAddr> {
        let mut permitted = Vec::new();
        for address in addresses {
            let permits = match Local::of(address.ip()) {
                Some(local) => may_be(local) || self.registry_is(local).await,
                None => true,
            };
            if permits {
                permitted.push(address);
            }
        }
        permitted
    }
}

/// The address counts, and not what was known of the name before.
impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guarded = Arc::clone(&self.0);
        Box::pin(async move {
            let name = name.as_str().to_owned();
            let found: Vec<SocketAddr> = lookup_host((name.as_str(), 0)).await?.collect();
            let is_found = !found.is_empty();
            let may_be = |local| {
                guarded.is_proxy(&name) || local == Local::Loopback && guarded.is_plain(&name)
            };
            let permitted = guarded.permitted(found, may_be).await;
            if permitted.is_empty() && is_found {
                return Err(LeadsToLocal.into());
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
        let url = |host: &str| Url::parse(&format!("http://{host}/")).unwrap();
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
            "[0:0:0::1]:5000",
            "127.1",
        ] {
            assert!(is_loopback(&url(host)), "{host}");
        }
        for host in [
            "example.com",
            "localhost.example.com",
            "notlocalhost",
            "10.0.0.1:5000",
            "[::2]:80",
        ] {
            assert_eq!(Local::of_url(&url(host)), None, "{host}");
        }
        for host in [
            "169.254.169.254",
            "[fe80::1]",
            "[fd00:ec2::254]:80",
            "[fd00:ec2::23]",
            "168.63.129.16",
            "[::ffff:169.254.169.254]",
            "[64:ff9b::a9fe:a9fe]",
            "100.100.100.200:80",
            "[::ffff:100.100.100.200]",
        ] {
            assert_eq!(Local::of_url(&url(host)), Some(Local::Link), "{host}");
        }
    }
}
