//! `[report]`: the HTTP interface, and who may read it.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use report_worker::{Access, AnswersTo, Key, Role};
use serde::{Deserialize, Serialize};

use super::{ConfigError, invalid};

/// `[report]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReportConfig {
    /// Address and port of the page and the API.
    pub listen: String,
    /// Who may read what is public.
    pub read: Readers,
    /// Who may read `/metrics` there; where `--admin-listen` says it needs no key.
    pub metrics: MetricsReaders,
    /// What is let in with `Authorization: Bearer`.
    pub keys: Vec<KeyConfig>,
    /// The hosts whose pages may read from a browser, such as `https://example.org`.
    pub cors_origins: Vec<String>,
    /// Requests a second from one address, more for a few seconds after a pause; 0 for no limit.
    pub requests_per_second: u32,
    /// To whom answers are shown once their round has resolved.
    pub answers: AnswersTo,
    /// Whether times under `/reports/` end with `Z`: the front end that those are for appends it itself.
    pub zone_in_reports: bool,
}

/// Who may read what is public.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Readers {
    /// Everybody.
    Everybody,
    /// Holders of a key.
    KeyHolders,
}

/// Who may read the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricsReaders {
    /// Who may read what is public.
    AsRead,
    /// Everybody.
    Everybody,
    /// Holders of a key.
    KeyHolders,
}

/// `[[report.keys]]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyConfig {
    /// Whose it is.
    pub name: String,
    /// The SHA-256 digest of the key's text in hexadecimal, so that no secret is in here.
    pub sha256: String,
    /// What it is good for.
    pub role: KeyRole,
    /// Whose models a key with the role `cruncher` is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cruncher_id: Option<String>,
}

/// What a key is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyRole {
    /// Reading what is public.
    Read,
    /// The same, and what concerns a cruncher's own models.
    Cruncher,
    /// Reading everything that may be shown to anybody.
    Admin,
}

impl Default for ReportConfig {
    fn default() -> Self {
        ReportConfig {
            listen: "127.0.0.1:8000".into(),
            read: Readers::Everybody,
            metrics: MetricsReaders::AsRead,
            keys: Vec::new(),
            cors_origins: Vec::new(),
            requests_per_second: 100,
            answers: AnswersTo::default(),
            zone_in_reports: false,
        }
    }
}

impl ReportConfig {
    /// Who may read.
    pub fn access(&self) -> Result<Access, ConfigError> {
        Ok(Access {
            needs_key: self.read == Readers::KeyHolders,
            metrics_need_key: match self.metrics {
                MetricsReaders::AsRead => self.read == Readers::KeyHolders,
                MetricsReaders::Everybody => false,
                MetricsReaders::KeyHolders => true,
            },
            keys: self.keys.iter().map(KeyConfig::key).collect::<Result<_, _>>()?,
            origins: self.cors_origins.clone(),
        })
    }

    /// How often one address may ask.
    pub fn rate(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(self.requests_per_second)
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        self.access()?;
        let names: BTreeSet<&str> = self.keys.iter().map(|key| key.name.as_str()).collect();
        if names.len() < self.keys.len() {
            return invalid("report.keys", "two have one name: give each a name of its own");
        }
        if self.read == Readers::KeyHolders && self.keys.is_empty() {
            return invalid("report.read", "there are no [[report.keys]], so nobody could read: add one");
        }
        if self.metrics == MetricsReaders::KeyHolders && self.keys.is_empty() {
            return invalid("report.metrics", "there are no [[report.keys]], so nobody could read: add one");
        }
        match self.cors_origins.iter().find(|origin| !is_origin(origin)) {
            Some(origin) => invalid(
                "report.cors_origins",
                format!("`{origin}` is no origin: write scheme and host alone, such as https://example.org"),
            ),
            None => Ok(()),
        }
    }
}

impl KeyConfig {
    fn key(&self) -> Result<Key, ConfigError> {
        if self.name.is_empty() {
            return invalid("report.keys", "a key has no name");
        }
        let Some(sha256) = digest(&self.sha256) else {
            let name = &self.name;
            let cure = "write the 64 hexadecimal digits that `printf %s KEY | sha256sum` prints";
            return invalid("report.keys", format!("sha256 of `{name}` is no SHA-256 digest: {cure}"));
        };
        Ok(Key { name: self.name.clone(), sha256, role: self.role()? })
    }

    fn role(&self) -> Result<Role, ConfigError> {
        match (self.role, &self.cruncher_id) {
            (KeyRole::Read, None) => Ok(Role::Read),
            (KeyRole::Admin, None) => Ok(Role::Admin),
            (KeyRole::Cruncher, Some(id)) => Ok(Role::Cruncher(id.clone())),
            (KeyRole::Cruncher, None) => {
                invalid("report.keys", format!("`{}` is a cruncher's: name it in cruncher_id", self.name))
            }
            (_, Some(_)) => invalid(
                "report.keys",
                format!("`{}` has a cruncher_id: write role = \"cruncher\", or leave it out", self.name),
            ),
        }
    }
}

fn digest(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut digest = [0; 32];
    for (place, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).ok()?;
    }
    Some(digest)
}

/// As browsers send it: no path, no slash at its end.
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    host.is_some_and(|host| {
        !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || ".-:[]".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    fn key(role: KeyRole, cruncher_id: Option<&str>) -> KeyConfig {
        let cruncher_id = cruncher_id.map(str::to_owned);
        KeyConfig { name: "ann".into(), sha256: DIGEST.into(), role, cruncher_id }
    }

    fn fault(change: impl FnOnce(&mut ReportConfig)) -> String {
        let mut config = ReportConfig::default();
        change(&mut config);
        config.check().unwrap_err().to_string()
    }

    #[test]
    fn keys_are_known_by_their_digest_and_role() {
        let config =
            ReportConfig { keys: vec![key(KeyRole::Cruncher, Some("7"))], ..ReportConfig::default() };
        config.check().unwrap();
        let access = config.access().unwrap();
        assert_eq!((access.keys[0].sha256[0], access.keys[0].sha256[31]), (0x9f, 0x08));
        assert_eq!(access.keys[0].role, Role::Cruncher("7".into()));
        assert!(!access.needs_key && !access.metrics_need_key);
    }

    #[test]
    fn metrics_need_a_key_when_reading_does_unless_told_otherwise() {
        let need_key = |read, metrics| {
            let config = ReportConfig { read, metrics, ..ReportConfig::default() };
            config.access().unwrap().metrics_need_key
        };
        assert!(!need_key(Readers::Everybody, MetricsReaders::AsRead));
        assert!(need_key(Readers::KeyHolders, MetricsReaders::AsRead));
        assert!(!need_key(Readers::KeyHolders, MetricsReaders::Everybody));
        assert!(need_key(Readers::Everybody, MetricsReaders::KeyHolders));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_cure() {
        assert!(fault(|report| report.read = Readers::KeyHolders).contains("add one"));
        assert!(fault(|report| report.metrics = MetricsReaders::KeyHolders).contains("add one"));
        assert!(fault(|report| report.keys = vec![key(KeyRole::Cruncher, None)]).contains("cruncher_id"));
        assert!(fault(|report| report.keys = vec![key(KeyRole::Read, Some("7"))]).contains("leave it out"));
        assert!(
            fault(|report| report.keys = vec![key(KeyRole::Read, None); 2]).contains("a name of its own")
        );
        for sha256 in ["", "secret", &DIGEST[1..], &format!("+{}", &DIGEST[1..]), &"é".repeat(32)] {
            let bad = KeyConfig { sha256: sha256.into(), ..key(KeyRole::Read, None) };
            assert!(fault(|report| report.keys = vec![bad]).contains("sha256sum"), "{sha256}");
        }
        for origin in ["example.org", "https://", "https://example.org/", "*"] {
            assert!(
                fault(|report| report.cors_origins = vec![origin.into()]).contains("no origin"),
                "{origin}"
            );
        }
    }
}
