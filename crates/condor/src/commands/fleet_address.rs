//! Where the models are that a probe or a replay calls: those of somebody's orchestrator.

use std::net::IpAddr;
use std::str::FromStr;

use model_client::ClusterConfig;
use reqwest::Url;

use super::{UsageError, predict};
use crate::config::{Config, ConfigError};

/// An orchestrator and the crunch whose models it runs, written `ws://HOST:PORT/CRUNCH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetAddress {
    /// Without the crunch.
    url: String,
    host: String,
    crunch_id: String,
}

impl FromStr for FleetAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || format!("`{text}` is not of the form ws://HOST:PORT/CRUNCH");
        let url = Url::parse(text).map_err(|_| invalid())?;
        let crunch_id = url.path().trim_start_matches('/');
        let is_bare = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        let host = url.host_str().filter(|_| url.scheme() == "ws" && is_bare && !crunch_id.is_empty());
        let host = host.ok_or_else(invalid)?;
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        Ok(FleetAddress {
            url: format!("ws://{host}{port}"),
            host: host.trim_matches(['[', ']']).to_owned(),
            crunch_id: crunch_id.to_owned(),
        })
    }
}

impl FleetAddress {
    /// Says what is about to be done to the models; where they may not be the caller's own, only with `yes`. `deed` is such
    /// as "a replay sends its models past prices".
    pub fn confirm(&self, deed: &str, yes: bool) -> Result<(), UsageError> {
        if !self.is_loopback() && !yes {
            return Err(UsageError(format!(
                "{} is not this machine: {deed} and takes their one call. Say --yes if that is a test fleet",
                self.host
            )));
        }
        eprintln!("{}/{}: {deed} and takes their one call", self.url, self.crunch_id);
        Ok(())
    }

    /// How its models are followed and called: as configured, but none is reported for what it answers.
    pub fn cluster_config(&self, config: &Config) -> Result<ClusterConfig, ConfigError> {
        Ok(ClusterConfig {
            crunch_id: self.crunch_id.clone(),
            security: config.security()?,
            report_failures: false,
            ..predict::cluster_config(config, &self.url)
        })
    }

    fn is_loopback(&self) -> bool {
        let is_loopback_ip = |ip: IpAddr| ip.to_canonical().is_loopback();
        self.host == "localhost" || self.host.parse().is_ok_and(is_loopback_ip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_confirmed(address: &str, yes: bool) -> bool {
        address.parse::<FleetAddress>().unwrap().confirm("a test sends nothing", yes).is_ok()
    }

    #[test]
    fn loopback_needs_no_confirmation() {
        for host in [
            "localhost",
            "LOCALHOST",
            "127.0.0.1",
            "127.9.8.7",
            "127.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "0x7f.0.0.1",
        ] {
            assert!(is_confirmed(&format!("ws://{host}:9091/condor"), false), "{host}");
            assert!(is_confirmed(&format!("ws://{host}/condor"), false), "{host}");
        }
    }

    #[test]
    fn any_other_host_needs_a_yes() {
        for host in [
            "192.0.2.1",
            "0.0.0.0",
            "10.0.0.1",
            "[::]",
            "[2001:db8::1]",
            "[::ffff:192.0.2.1]",
            "localhost.example.org",
            "127.0.0.1.example.org",
            "models.example.org",
        ] {
            assert!(!is_confirmed(&format!("ws://{host}:9091/condor"), false), "{host}");
            assert!(is_confirmed(&format!("ws://{host}:9091/condor"), true), "{host}");
        }
    }

    #[test]
    fn an_address_is_taken_apart_and_nothing_hides_in_it() {
        let address: FleetAddress = "ws://[::1]:9091/condor".parse().unwrap();
        assert_eq!((address.url.as_str(), address.crunch_id.as_str()), ("ws://[::1]:9091", "condor"));
        for bad in [
            "127.0.0.1:9091/condor",
            "ws://127.0.0.1:9091",
            "ws://127.0.0.1:9091/",
            "wss://127.0.0.1:9091/condor",
            "http://127.0.0.1:9091/condor",
            "ws://localhost:80@192.0.2.1/condor",
            "ws://localhost@192.0.2.1/condor",
            "ws://127.0.0.1:9091/condor?x=1",
            "ws:///condor",
            "",
        ] {
            let error = bad.parse::<FleetAddress>().unwrap_err();
            assert!(error.contains("ws://HOST:PORT/CRUNCH"), "{bad}: {error}");
        }
    }
}
