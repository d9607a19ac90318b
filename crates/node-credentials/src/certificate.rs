//! What we need to know of a certificate: its public key and how long it is valid.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::digest;
use chrono::NaiveDateTime;
use domain::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;

/// A public key as certificates carry it: a `SubjectPublicKeyInfo` in DER.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKeyInfo(Arc<[u8]>);

impl PublicKeyInfo {
    /// The key of these bytes, which are not looked into.
    pub fn from_der(der: &[u8]) -> Self {
        PublicKeyInfo(der.into())
    }

    /// The key of a certificate, read by the same code that checks the owner's signature in the TLS handshake.
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Result<Self, rustls::Error> {
        let spki = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
        Ok(Self::from_der(spki.as_ref()))
    }

    /// The bytes.
    pub fn as_der(&self) -> &[u8] {
        &self.0
    }

    /// The name of the key.
    pub fn hash(&self) -> KeyHash {
        let mut hash = [0; KeyHash::BYTES];
        hash.copy_from_slice(digest::digest(&digest::SHA256, &self.0).as_ref());
        KeyHash(hash)
    }
}

impl fmt::Debug for PublicKeyInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKeyInfo({})", self.hash())
    }
}

/// The SHA-256 of a [`PublicKeyInfo`], written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash([u8; Self::BYTES]);

impl KeyHash {
    const BYTES: usize = digest::SHA256_OUTPUT_LEN;
}

/// A text that is no [`KeyHash`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no SHA-256 of a public key: write 64 hexadecimal digits")]
pub struct InvalidKeyHash(String);

impl FromStr for KeyHash {
    type Err = InvalidKeyHash;

    fn from_str(text: &str) -> Result<Self, InvalidKeyHash> {
        let invalid = || InvalidKeyHash(crate::excerpt(text));
        if text.len() != 2 * Self::BYTES || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(invalid());
        }
        let mut hash = [0; Self::BYTES];
        for (byte, at) in hash.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| invalid())?;
        }
        Ok(KeyHash(hash))
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is looked at in a certificate of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Its key.
    pub public_key: PublicKeyInfo,
    /// The first second at which it is not valid any more.
    pub expires_at: Timestamp,
}

/// Bytes that are no certificate.
#[derive(Debug, thiserror::Error)]
pub enum InvalidCertificate {
    /// No X.509 certificate of version 3.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] rustls::Error),
    /// Its dates are not where they have to be.
    #[error("its time of validity cannot be read")]
    Validity,
}

impl Certificate {
    /// Reads a certificate; nothing is verified.
    pub fn read(certificate: &CertificateDer<'_>) -> Result<Self, InvalidCertificate> {
        let public_key = PublicKeyInfo::of_certificate(certificate)?;
        let expires_at = expiry(certificate).ok_or(InvalidCertificate::Validity)?;
        Ok(Certificate { public_key, expires_at })
    }
}

/// The last second of a certificate's time of validity, in the order of RFC 5280, 4.1:
/// version?, serial number, signature algorithm, issuer, validity.
pub(crate) fn expiry(certificate: &[u8]) -> Option<Timestamp> {
    let mut to_be_signed = Der(Der(certificate).take(Tag::SEQUENCE)?).enter(Tag::SEQUENCE)?;
    if to_be_signed.peek() == Some(Tag::VERSION) {
        to_be_signed.take(Tag::VERSION)?;
    }
    to_be_signed.take(Tag::INTEGER)?;
    to_be_signed.take(Tag::SEQUENCE)?;
    to_be_signed.take(Tag::SEQUENCE)?;
    let mut validity = to_be_signed.enter(Tag::SEQUENCE)?;
    validity.time()?;
    validity.time()
}

struct Tag;

impl Tag {
    const INTEGER: u8 = 0x02;
    const UTC_TIME: u8 = 0x17;
    const GENERALIZED_TIME: u8 = 0x18;
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
}

/// What is left of a sequence of DER elements.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The content of the next element, which has to be of this kind.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let [found, length, rest @ ..] = self.0 else { return None };
        if *found != tag {
            return None;
        }
        let (length, rest) = match *length {
            short @ ..=0x7f => (usize::from(short), rest),
            long @ 0x81..=0x84 => {
                let (octets, rest) = rest.split_at_checked(usize::from(long - 0x80))?;
                (octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(content)
    }

    fn enter(&mut self, tag: u8) -> Option<Der<'a>> {
        self.take(tag).map(Der)
    }

    fn time(&mut self) -> Option<Timestamp> {
        let text = match self.peek()? {
            Tag::UTC_TIME => with_century(str::from_utf8(self.take(Tag::UTC_TIME)?).ok()?)?,
            _ => str::from_utf8(self.take(Tag::GENERALIZED_TIME)?).ok()?.to_owned(),
        };
        NaiveDateTime::parse_from_str(&text, "%Y%m%d%H%M%SZ").ok().map(|time| time.and_utc())
    }
}

/// Years of two digits are those from 1950 to 2049.
fn with_century(text: &str) -> Option<String> {
    let year: u8 = text.get(..2)?.parse().ok()?;
    let century = if year < 50 { "20" } else { "19" };
    Some(format!("{century}{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, PublicKeyData, date_time_ymd};

    fn certificate(year: i32) -> (KeyPair, CertificateDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["node".to_owned()]).unwrap();
        params.not_before = date_time_ymd(1990, 1, 1);
        params.not_after = date_time_ymd(year, 12, 31);
        let der = params.self_signed(&key).unwrap().der().clone();
        (key, der)
    }

    #[test]
    fn key_and_expiry_are_read_on_either_side_of_the_year_2050() {
        for year in [1999, 2026, 2049, 2050, 2125] {
            let (key, der) = certificate(year);
            let read = Certificate::read(&der).unwrap();
            assert_eq!(read.public_key.as_der(), key.subject_public_key_info());
            assert_eq!(read.expires_at.to_rfc3339(), format!("{year}-12-31T00:00:00+00:00"));
        }
    }

    #[test]
    fn no_damage_to_a_certificate_makes_the_reader_panic() {
        let (_, der) = certificate(2030);
        for length in 0..der.len() {
            expiry(&der[..length]);
        }
        for at in 0..200 {
            for byte in [0, 0x7f, 0x80, 0x84, 0xff] {
                let mut damaged = der.to_vec();
                damaged[at] = byte;
                expiry(&damaged);
            }
        }
        assert_eq!(expiry(b""), None);
    }

    #[test]
    fn a_key_hash_is_written_as_it_is_read() {
        let text = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(PublicKeyInfo::from_der(b"").hash(), text.parse().unwrap());
        assert_eq!(text.to_uppercase().parse::<KeyHash>().unwrap().to_string(), text);
        for wrong in
            ["", "e3", &text[1..], &format!("{text}0"), &text.replace('e', "é"), &text.replace('c', "+")]
        {
            assert!(wrong.parse::<KeyHash>().is_err(), "{wrong}");
        }
    }
}
