//! A detached signature: a PKCS#7 message without the signed bytes, which the kernel gets with a program.
//!
//! The rules about the accepted messages are those of Linux 6.18 to 7.3, where each was tested.

use std::fmt;

use sha2::{Digest as _, Sha256, Sha512};

use super::der::{Malformed, Oid, Reader, element, tag};
use crate::error::{Code, Diagnostic, Error, Result};

/// The maximum number of bytes that every kernel accepts, with pages of 4096 bytes.
pub const MAX_SIZE: usize = 8192;

/// The identifiers (OIDs) in signatures, in DER without tag and length.
mod oid {
    pub(super) const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
    pub(super) const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];
    pub(super) const CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 3];
    pub(super) const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 4];
    pub(super) const SMIME_CAPABILITIES: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 15];
    pub(super) const SHA256: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
    pub(super) const SHA512: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3];
    pub(super) const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
    pub(super) const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
    pub(super) const ECDSA_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4];
}

/// The hash function of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Digest {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Digest {
    fn oid(self) -> &'static [u8] {
        match self {
            Self::Sha256 => oid::SHA256,
            Self::Sha512 => oid::SHA512,
        }
    }

    fn of(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }
}

/// The signature algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RSA with the padding of PKCS#1 1.5.
    Rsa,
    /// ECDSA.
    Ecdsa,
}

impl Algorithm {
    /// Returns the algorithm as an element. RSA has a parameter, which is NULL.
    fn element(self, digest: Digest) -> Vec<u8> {
        const NULL: &[u8] = &[5, 0];
        let (oid, parameters) = match (self, digest) {
            (Self::Rsa, _) => (oid::RSA, NULL),
            (Self::Ecdsa, Digest::Sha256) => (oid::ECDSA_SHA256, &[][..]),
            (Self::Ecdsa, Digest::Sha512) => (oid::ECDSA_SHA512, &[][..]),
        };
        element(tag::SEQUENCE, &[&element(tag::OID, &[oid]), parameters])
    }
}

/// How a signature names the certificate of its key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Signer {
    /// By the key identifier: the extension `subjectKeyIdentifier` of the certificate.
    KeyId(Vec<u8>),
    /// By the issuer and the serial number of the certificate, in DER.
    Issuer(Vec<u8>),
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyId(id) => {
                f.write_str("key identifier ")?;
                id.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Self::Issuer(_) => f.write_str("issuer and serial number"),
        }
    }
}

/// A detached signature that the kernel can verify.
///
/// ```
/// use skelgen::unstable::sign::{Algorithm, Detached, Digest};
///
/// let signature = Detached::new(&[7; 20], Algorithm::Rsa, Digest::Sha256, &[1; 256]);
/// assert_eq!(Detached::read(signature.bytes())?, signature);
/// # Ok::<(), skelgen::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detached {
    bytes: Vec<u8>,
    digest: Digest,
    algorithm: Algorithm,
    signer: Signer,
    /// The hash of the signed bytes, if the signature is that of attributes.
    message_digest: Option<Vec<u8>>,
}

impl Detached {
    /// Creates the message from a signature of the bytes themselves. `key_id` is the `subjectKeyIdentifier` of the
    /// certificate; a signature by ECDSA is a DER sequence of two integers.
    #[must_use]
    pub fn new(key_id: &[u8], algorithm: Algorithm, digest: Digest, signature: &[u8]) -> Self {
        const VERSION: &[u8] = &[tag::INTEGER, 1, 3];
        let hash = element(tag::SEQUENCE, &[&element(tag::OID, &[digest.oid()])]);
        let signer = element(
            tag::SEQUENCE,
            &[
                VERSION,
                &element(tag::CONTEXT_0, &[key_id]),
                &hash,
                &algorithm.element(digest),
                &element(tag::OCTETS, &[signature]),
            ],
        );
        let data = element(
            tag::SEQUENCE,
            &[
                VERSION,
                &element(tag::SET, &[&hash]),
                &element(tag::SEQUENCE, &[&element(tag::OID, &[oid::DATA])]),
                &element(tag::SET, &[&signer]),
            ],
        );
        let message = [element(tag::OID, &[oid::SIGNED_DATA]), element(tag::CONSTRUCTED_0, &[&data])];
        let bytes = element(tag::SEQUENCE, &[&message[0], &message[1]]);
        Self { bytes, digest, algorithm, signer: Signer::KeyId(key_id.to_vec()), message_digest: None }
    }

    /// Reads a message, and checks that the kernel accepts it for any signed bytes.
    ///
    /// # Errors
    /// [`Code::BadSignature`], if the message is not DER, not detached, or has a part that the kernel rejects.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        if bytes.starts_with(b"-----BEGIN") {
            return Err(rejected("the file is PEM, not DER", "write it with `-outform DER`"));
        }
        if bytes.len() > MAX_SIZE {
            let what = format!("the signature has {} bytes; kernels accept at most {MAX_SIZE}", bytes.len());
            return Err(rejected(&what, "leave certificates out (`-nocerts`)"));
        }
        let mut file = Reader::new(bytes);
        let mut message = file.parts(tag::SEQUENCE).map_err(malformed)?;
        file.finish().map_err(malformed)?;
        let kind = message.bytes(tag::OID).map_err(malformed)?;
        if kind != oid::SIGNED_DATA {
            return Err(rejected(&format!("the message is of type {}, not signed data", Oid(kind)), SIGN));
        }
        let mut explicit = message.parts(tag::CONSTRUCTED_0).map_err(malformed)?;
        message.finish().map_err(malformed)?;
        let mut data = explicit.parts(tag::SEQUENCE).map_err(malformed)?;
        explicit.finish().map_err(malformed)?;

        data.bytes(tag::INTEGER).map_err(malformed)?;
        data.parts(tag::SET).map_err(malformed)?;
        detached(data.parts(tag::SEQUENCE).map_err(malformed)?)?;
        // The kernel finds keys in its keyrings, and ignores certificates of other keys.
        data.optional(tag::CONSTRUCTED_0).map_err(malformed)?;
        if data.optional(tag::CONSTRUCTED_1).map_err(malformed)?.is_some() {
            return Err(rejected("the signature contains certificate revocation lists", SIGN));
        }
        let mut signers = data.parts(tag::SET).map_err(malformed)?;
        data.finish().map_err(malformed)?;
        if signers.is_empty() {
            return Err(rejected("the message has no signature", SIGN));
        }
        let info = signers.parts(tag::SEQUENCE).map_err(malformed)?;
        if !signers.is_empty() {
            return Err(rejected("the message has more than one signature", "sign with one key"));
        }
        let (signer, digest, message_digest, algorithm) = signer_info(info)?;
        Ok(Self { bytes: bytes.to_vec(), digest, algorithm, signer, message_digest })
    }

    /// Checks that the signature is one of these bytes, as far as that is possible without the key: only a signature
    /// with attributes contains a hash of the signed bytes.
    ///
    /// # Errors
    /// [`Code::BadSignature`], if the message has the hash of different bytes.
    pub fn check_hash(&self, content: &[u8]) -> Result<()> {
        match &self.message_digest {
            Some(hash) if *hash != self.digest.of(content) => Err(rejected(
                "the signature is that of different bytes",
                "sign the bytes again: they change with the object, the options and the version of skelgen",
            )),
            _ => Ok(()),
        }
    }

    /// Returns the message in DER, as the kernel gets it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the hash function.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns the signature algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns how the message names the certificate of the key.
    #[must_use]
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// Returns whether the signature is one of attributes, which contain the hash of the signed bytes.
    #[must_use]
    pub fn has_attributes(&self) -> bool {
        self.message_digest.is_some()
    }
}

/// A command that makes an accepted signature.
const SIGN: &str = "sign with `openssl cms -sign -binary -nocerts -noattr -keyid -md sha256 -outform DER`";

/// Checks that the message does not contain the signed bytes (`EncapsulatedContentInfo`).
fn detached(mut content: Reader<'_>) -> Result<()> {
    let kind = content.bytes(tag::OID).map_err(malformed)?;
    if kind != oid::DATA {
        return Err(rejected(&format!("the signature is one of content of type {}, not of data", Oid(kind)), SIGN));
    }
    if !content.is_empty() {
        return Err(rejected("the signature is not detached: the message contains the signed bytes", SIGN));
    }
    Ok(())
}

/// Reads the part of a signer: its name, the hash function, the hash in the attributes, and the algorithm.
fn signer_info(mut info: Reader<'_>) -> Result<(Signer, Digest, Option<Vec<u8>>, Algorithm)> {
    info.bytes(tag::INTEGER).map_err(malformed)?;
    let signer = match info.any().map_err(malformed)? {
        (tag::CONTEXT_0, id) => Signer::KeyId(id.to_vec()),
        (tag::SEQUENCE, name) => Signer::Issuer(name.to_vec()),
        (found, _) => return Err(malformed(Malformed::Tag { expected: tag::CONTEXT_0, found })),
    };
    let digest = identifier(&mut info)?;
    let digest = match digest {
        oid::SHA256 => Digest::Sha256,
        oid::SHA512 => Digest::Sha512,
        other => {
            let what = format!("hash function {} is not supported", Oid(other));
            return Err(rejected(&what, "use SHA-256 (`-md sha256`) or SHA-512"));
        }
    };
    let attributes = info.optional(tag::CONSTRUCTED_0).map_err(malformed)?;
    let message_digest = attributes.map(|attributes| attribute_hash(Reader::new(attributes))).transpose()?;
    let algorithm = match (identifier(&mut info)?, digest) {
        (oid::RSA, _) => Algorithm::Rsa,
        (oid::ECDSA_SHA256, Digest::Sha256) | (oid::ECDSA_SHA512, Digest::Sha512) => Algorithm::Ecdsa,
        (other, _) => {
            let what = format!("signature algorithm {} is not supported with this hash function", Oid(other));
            return Err(rejected(&what, "use an RSA key with PKCS#1 1.5 padding, or an EC key"));
        }
    };
    info.bytes(tag::OCTETS).map_err(malformed)?;
    if info.optional(tag::CONSTRUCTED_1).map_err(malformed)?.is_some() {
        return Err(rejected("the signature has unsigned attributes, such as a time stamp", SIGN));
    }
    info.finish().map_err(malformed)?;
    Ok((signer, digest, message_digest, algorithm))
}

/// Reads the identifier of an algorithm, and skips its parameters.
fn identifier<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8]> {
    let mut algorithm = reader.parts(tag::SEQUENCE).map_err(malformed)?;
    algorithm.bytes(tag::OID).map_err(malformed)
}

/// Returns the hash of the signed bytes in the signed attributes.
fn attribute_hash(mut attributes: Reader<'_>) -> Result<Vec<u8>> {
    let (mut content_type, mut hash) = (None, None);
    while !attributes.is_empty() {
        let mut attribute = attributes.parts(tag::SEQUENCE).map_err(malformed)?;
        let kind = attribute.bytes(tag::OID).map_err(malformed)?;
        let mut values = attribute.parts(tag::SET).map_err(malformed)?;
        attribute.finish().map_err(malformed)?;
        match kind {
            oid::CONTENT_TYPE => content_type = Some(values.bytes(tag::OID).map_err(malformed)?),
            oid::MESSAGE_DIGEST => hash = Some(values.bytes(tag::OCTETS).map_err(malformed)?),
            oid::SMIME_CAPABILITIES => {
                let what = "the signature has S/MIME capabilities among its attributes, which kernels reject";
                return Err(rejected(what, "sign without them (`-nosmimecap`), or without attributes (`-noattr`)"));
            }
            _ => {}
        }
    }
    match (content_type, hash) {
        (Some(oid::DATA), Some(hash)) => Ok(hash.to_vec()),
        _ => Err(rejected("the attributes have no content type `data` and no hash of the signed bytes", SIGN)),
    }
}

fn malformed(why: Malformed) -> Error {
    rejected(&format!("the file is not a PKCS#7 message in DER: {why}"), SIGN)
}

fn rejected(what: &str, help: &str) -> Error {
    Diagnostic::new(Code::BadSignature, what).with_help(help).into()
}
