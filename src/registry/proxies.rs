//! The proxies on the way to a registry.

use std::fmt;
use std::net::IpAddr;

use reqwest::Url;

use crate::oci::reference::{Scheme, bracketed};

use super::body::authority;
use super::local::is_loopback;

/// Which proxy is asked for which URL. This machine's loopback is never asked for by one.
#[derive(Clone, Default)]
pub struct Proxies {
    http: Option<Url>,
    https: Option<Url>,
    direct: Vec<Direct>,
}

/// Why a proxy cannot be used. It does not show the proxy's URL, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// It is no URL of a host.
    #[error("it is not a URL of a host, such as http://proxy.example.com:3128")]
    Url,
    /// Its scheme is none of a proxy.
    #[error("only http, https, socks4, socks4a, socks5 and socks5h may be its scheme")]
    Scheme,
}

/// Why no proxy is asked for a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unproxied {
    /// It is of this machine's loopback, for which none ever is.
    Loopback,
    /// None is named for URLs of this scheme.
    Unnamed(Scheme),
    /// Its host is one of those that are reached without.
    Excluded,
}

/// What is reached without a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Direct {
    Everything,
    /// A host and those below it, perhaps at one port only.
    Host(String, Option<u16>),
    /// Addresses that begin with so many bits, perhaps at one port only.
    Network(IpAddr, u32, Option<u16>),
}

impl Proxies {
    /// The proxies for URLs of these schemes, and the hosts, domains and networks that are reached without.
    pub fn new(http: Option<&str>, https: Option<&str>, direct: &str) -> Result<Self, ProxyError> {
        let entries = direct.split(|c: char| c == ',' || c.is_ascii_whitespace());
        Ok(Proxies {
            http: http.map(parse_proxy).transpose()?,
            https: https.map(parse_proxy).transpose()?,
            direct: entries.filter_map(Direct::parse).collect(),
        })
    }

    /// The proxy to ask for a URL.
    pub(super) fn of(&self, url: &Url) -> Option<&Url> {
        self.way(url).ok()
    }

    /// The same, or why there is none.
    pub(super) fn way(&self, url: &Url) -> Result<&Url, Unproxied> {
        if is_loopback(url) {
            return Err(Unproxied::Loopback);
        }
        let (scheme, proxy) = match url.scheme() {
            "https" => (Scheme::Https, &self.https),
            _ => (Scheme::Http, &self.http),
        };
        let proxy = proxy.as_ref().ok_or(Unproxied::Unnamed(scheme))?;
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default();
        if self.direct.iter().any(|direct| direct.covers(host, port)) {
            return Err(Unproxied::Excluded);
        }
        Ok(proxy)
    }

    /// The host of the proxy that gives the answer to a URL itself, which may be an answer of its own: what is not
    /// encrypted passes through no tunnel (RFC 9110, 7.6).
    pub(super) fn forwarding(&self, url: &Url) -> Option<String> {
        let proxy = self.of(url).filter(|_| url.scheme() == "http")?;
        let forwards = proxy.scheme().starts_with("http");
        forwards.then(|| authority(proxy))
    }

    /// The hosts of the proxies.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &str> {
        let both = [&self.http, &self.https];
        both.into_iter().flatten().filter_map(Url::host_str)
    }
}

/// Shows no proxy's URL, which may hold a password.
impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<_> = self.hosts().collect();
        f.debug_tuple("Proxies").field(&hosts).finish()
    }
}

fn parse_proxy(text: &str) -> Result<Url, ProxyError> {
    const SCHEMES: [&str; 6] = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];
    let text = text.trim();
    let parsed = if text.contains("://") {
        Url::parse(text)
    } else {
        Url::parse(&format!("http://{text}"))
    };
    let url = parsed.map_err(|_| ProxyError::Url)?;
    if !SCHEMES.contains(&url.scheme()) {
        return Err(ProxyError::Scheme);
    }
    match url.host_str() {
        None | Some("") => Err(ProxyError::Url),
        Some(_) => Ok(url),
    }
}

impl Direct {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Direct::Everything);
        }
        if let Some((written, bits)) = text.split_once('/') {
            let bits: u32 = bits.parse().ok()?;
            let address = address_of(written)?;
            // One of IPv4 itself has its bits behind these.
            let before = if address.is_ipv4() && written.contains(':') {
                96
            } else {
                0
            };
            return Some(Direct::Network(address, bits.checked_sub(before)?, None));
        }
        if let Some(address) = address_of(text) {
            return Some(Direct::Network(address, u32::MAX, None));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port.parse().ok()?)),
            _ => (text, None),
        };
        if let Some(address) = address_of(host) {
            return Some(Direct::Network(address, u32::MAX, port));
        }
        let host = host.strip_prefix('*').unwrap_or(host).trim_matches('.');
        (!host.is_empty()).then(|| Direct::Host(host.to_ascii_lowercase(), port))
    }

    fn covers(&self, host: &str, port: Option<u16>) -> bool {
        match self {
            Direct::Everything => true,
            Direct::Host(name, at) => {
                let host = host.trim_end_matches('.');
                let below = host.strip_suffix(name.as_str());
                below.is_some_and(|below| below.is_empty() || below.ends_with('.'))
                    && at.is_none_or(|at| Some(at) == port)
            }
            Direct::Network(network, bits, at) => {
                let address = address_of(host);
                address.is_some_and(|address| begins_alike(address, *network, *bits))
                    && at.is_none_or(|at| Some(at) == port)
            }
        }
    }
}

/// An address; one of IPv6 may be in brackets, and may be one of IPv4 itself.
fn address_of(host: &str) -> Option<IpAddr> {
    let address: IpAddr = bracketed(host).unwrap_or(host).parse().ok()?;
    Some(address.to_canonical())
}

fn begins_alike(one: IpAddr, other: IpAddr, bits: u32) -> bool {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            let differ = one.to_bits() ^ other.to_bits();
            differ.leading_zeros() >= bits.min(32)
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => {
            let differ = one.to_bits() ^ other.to_bits();
            differ.leading_zeros() >= bits.min(128)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reached_without_a_proxy() {
        let direct = "corp.test, .dot.test *.star.test,port.test:5000,10.0.0.0/8,192.0.2.1,\
                      [2001:db8::1]:444,2001:db8:1::/48,UPPER.test,bad:port,[2001:db8:3::]/48\t\
                      tls.test:443,end.test.:443,2001:DB8:4:0::1,[2001:db8:5::1],::ffff:192.0.2.2,\
                      ::ffff:198.51.0.0/112";
        let proxies = Proxies::new(Some("p.test:1"), Some("http://p.test:2"), direct).unwrap();
        let asked = |url: &str| {
            let url = Url::parse(url).unwrap();
            proxies.of(&url).is_some()
        };
        for around in [
            "https://corp.test/",
            "https://a.corp.test/",
            "https://corp.test./",
            "https://dot.test/",
            "https://a.star.test/",
            "http://port.test:5000/",
            "https://10.255.0.1:8/",
            "https://192.0.2.1/",
            "https://[2001:db8::1]:444/",
            "https://[2001:db8:1:2::]/",
            "https://upper.test/",
            "https://[2001:db8:3:1::]/",
            "https://tls.test/",
            "https://end.test/",
            "https://end.test.:443/",
            "https://[2001:db8:4::1]:5000/",
            "https://[2001:db8:5:0::1]/",
            "https://192.0.2.2/",
            "https://[::ffff:192.0.2.1]/",
            "https://198.51.7.7/",
            "https://[::ffff:198.51.7.7]/",
            "http://localhost./",
            "https://a.localhost.:5000/",
            "http://[::ffff:127.0.0.1]/",
            // Loopback, whatever it is called.
            "http://127.0.0.1:5000/",
            "http://localhost/",
            "http://a.localhost/",
            "http://[::1]:80/",
            "http://2130706433/",
        ] {
            assert!(!asked(around), "{around}");
        }
        for through in [
            "https://notcorp.test/",
            "https://corp.test.com/",
            "http://port.test:5001/",
            "https://11.0.0.1/",
            "https://198.52.7.7/",
            "https://[2001:db8::1]/",
            "https://[2001:db8:2::]/",
            "http://tls.test/",
            "https://end.test:444/",
            "https://[2001:db8:5::2]/",
        ] {
            assert!(asked(through), "{through}");
        }
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_an_error() {
        let error = |proxy: &str| Proxies::new(None, Some(proxy), "").unwrap_err();
        assert_eq!(error("http://"), ProxyError::Url);
        assert_eq!(error("http://a b"), ProxyError::Url);
        assert_eq!(error("ftp://proxy.test"), ProxyError::Scheme);
        let proxies = Proxies::new(None, Some("http://u:hunter2@p.test"), "").unwrap();
        assert_eq!(format!("{proxies:?}"), "Proxies([\"p.test\"])");
    }
}
