//! Where a model node listens.

use std::fmt;
use std::net::Ipv6Addr;

use http::uri::Authority;

/// A host name or address with its port, fit for a URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    host: String,
    port: u16,
    text: String,
}

/// A host that no URI can name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no host name or address")]
pub(crate) struct InvalidHost(String);

impl Address {
    pub fn new(host: &str, port: u16) -> Result<Self, InvalidHost> {
        let is_ipv6 = host.parse::<Ipv6Addr>().is_ok();
        let text = if is_ipv6 { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let invalid = || InvalidHost(host.chars().take(100).collect());
        let authority = Authority::try_from(text.as_str()).map_err(|_| invalid())?;
        if host.contains('@') || authority.port_u16() != Some(port) {
            return Err(invalid());
        }
        Ok(Address { host: host.to_owned(), port, text })
    }

    /// As sockets take it: an IPv6 address stands without brackets.
    pub fn socket(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// As URIs and people read it.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_by_name_and_by_either_kind_of_address_are_taken() {
        let text = |host| Address::new(host, 7001).unwrap().to_string();
        assert_eq!(text("model-3.internal"), "model-3.internal:7001");
        assert_eq!(text("10.0.0.7"), "10.0.0.7:7001");
        assert_eq!(text("::1"), "[::1]:7001");
    }

    #[test]
    fn what_could_point_elsewhere_in_a_uri_is_no_host() {
        for host in ["a b", "user@host", "host/path", "host?x", "\n", "[::1", "a:b:c"] {
            assert!(Address::new(host, 1).is_err(), "{host:?}");
        }
    }
}
