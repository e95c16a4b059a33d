//! Signatures: the messages of `openssl cms` are read, and written byte for byte.
//!
//! `SKELGEN_BLESS=1` writes missing messages with the command `openssl` and the test keys in `fixtures/corpus/signing`.
//! Existing ones are kept, because some are different each time: remove their files to sign again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use skelgen::unstable::insn::Endian;
use skelgen::unstable::loader::{TableBuilder, loader_program, map_check};
use skelgen::unstable::sign::{Algorithm, Detached, Digest, Form, Image, MAX_SIZE, Signer};
use skelgen::{Code, Error};

/// The signed bytes.
const CONTENT: &[u8] = b"the instructions of a loader program\n";

/// The messages, with the key and the further arguments of `openssl cms -sign -binary -outform DER`.
const MESSAGES: &[(&str, &str, &str)] = &[
    ("rsa", "rsa", "-nocerts -noattr -keyid -md sha256"),
    ("rsa-sha512", "rsa", "-nocerts -noattr -keyid -md sha512"),
    ("ec", "ec", "-nocerts -noattr -keyid -md sha256"),
    ("ec-sha512", "ec", "-nocerts -noattr -keyid -md sha512"),
    ("issuer", "rsa", "-nocerts -noattr -md sha256"),
    ("attributes", "rsa", "-nocerts -nosmimecap -keyid -md sha256"),
    ("certificate", "ec", "-noattr -keyid -md sha256"),
    ("capabilities", "rsa", "-nocerts -keyid -md sha256"),
    ("attached", "rsa", "-nocerts -noattr -keyid -md sha256 -nodetach"),
    ("sha1", "rsa", "-nocerts -noattr -keyid -md sha1"),
    ("pss", "rsa", "-nocerts -noattr -keyid -md sha256 -keyopt rsa_padding_mode:pss"),
    ("streamed", "rsa", "-nocerts -noattr -keyid -md sha256 -nodetach -stream"),
];

fn keys() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/corpus/signing")
}

/// Returns a message of [`MESSAGES`].
fn message(name: &str) -> Vec<u8> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sign").join(name).with_extension("p7s");
    let &(_, key, arguments) = MESSAGES.iter().find(|(other, ..)| *other == name).expect("the message is in the table");
    // Tests run at the same time.
    static SIGNING: Mutex<()> = Mutex::new(());
    let _signing = SIGNING.lock();
    if std::env::var_os("SKELGEN_BLESS").is_some() && !file.exists() {
        let content = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(content.path(), CONTENT).expect("the file can be written");
        let signed = Command::new("openssl")
            .args(["cms", "-sign", "-binary", "-outform", "DER", "-in"])
            .arg(content.path())
            .arg("-signer")
            .arg(keys().join(key).with_extension("cert.pem"))
            .arg("-inkey")
            .arg(keys().join(key).with_extension("key.pem"))
            .arg("-out")
            .arg(&file)
            .args(arguments.split(' '))
            .status();
        assert!(signed.expect("openssl can be run").success(), "openssl signs {name}");
    }
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Returns the `subjectKeyIdentifier` of a test certificate: the 20 bytes after its OID, in two strings of octets.
fn key_id(key: &str) -> Vec<u8> {
    const EXTENSION: &[u8] = &[6, 3, 0x55, 0x1d, 0x0e, 4, 22, 4, 20];
    let certificate = std::fs::read(keys().join(key).with_extension("cert.der")).expect("the certificate exists");
    let at = certificate.windows(EXTENSION.len()).position(|bytes| bytes == EXTENSION).expect("it has the extension");
    certificate[at + EXTENSION.len()..][..20].to_vec()
}

/// Returns the string of octets at the end of a message without attributes.
fn signature(message: &[u8]) -> &[u8] {
    let lengths = 1..message.len() - 4;
    let found = lengths.map(|len| message.split_at(message.len() - len)).find(|(before, signature)| {
        let short = signature.len() < 0x80 && before.ends_with(&[4, u8::try_from(signature.len()).unwrap_or(0)]);
        let long = u16::try_from(signature.len()).expect("it is small").to_be_bytes();
        short || signature.len() > 0xff && before.ends_with(&[4, 0x82, long[0], long[1]])
    });
    found.expect("a message ends with the signature").1
}

#[test]
fn messages_are_written_as_openssl_writes_them() {
    for (name, key, algorithm, digest) in [
        ("rsa", "rsa", Algorithm::Rsa, Digest::Sha256),
        ("rsa-sha512", "rsa", Algorithm::Rsa, Digest::Sha512),
        ("ec", "ec", Algorithm::Ecdsa, Digest::Sha256),
        ("ec-sha512", "ec", Algorithm::Ecdsa, Digest::Sha512),
    ] {
        let message = message(name);
        let read = Detached::read(&message).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(read.bytes(), message);
        assert_eq!((read.algorithm(), read.digest()), (algorithm, digest), "{name}");
        assert_eq!(*read.signer(), Signer::KeyId(key_id(key)), "{name}");
        assert!(!read.has_attributes(), "{name}");
        read.check_hash(b"other bytes").expect("without attributes, the message has no hash");
        let raw = signature(&message);
        if algorithm == Algorithm::Rsa {
            assert_eq!((raw.len(), message.len() - raw.len()), (256, 119), "{name}");
        }
        let written = Detached::new(&key_id(key), algorithm, digest, raw);
        assert_eq!(written, read, "{name}");
    }
}

#[test]
fn other_accepted_forms_are_read() {
    let issuer = Detached::read(&message("issuer")).expect("the signer can be named by the issuer");
    assert!(matches!(issuer.signer(), Signer::Issuer(_)));
    assert_eq!(issuer.signer().to_string(), "issuer and serial number");
    let certificate = Detached::read(&message("certificate")).expect("the message can contain the certificate");
    let hex: String = key_id("ec").iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(certificate.signer().to_string(), format!("key identifier {hex}"));
    let attributes = Detached::read(&message("attributes")).expect("the message can have attributes");
    assert!(attributes.has_attributes());
    attributes.check_hash(CONTENT).expect("these bytes were signed");
    let error = attributes.check_hash(b"other bytes").expect_err("other bytes were signed");
    assert_eq!(text(&error), "the signature is that of different bytes");
}

/// Returns the message of the only diagnostic, whose code and help are checked.
fn text(error: &Error) -> String {
    let [diagnostic] = error.diagnostics() else { panic!("one diagnostic: {error}") };
    assert_eq!(diagnostic.code(), Code::BadSignature);
    assert!(diagnostic.help().is_some(), "{error}");
    diagnostic.message().to_owned()
}

#[test]
fn messages_that_kernels_reject_are_errors() {
    let of = |bytes: &[u8]| text(&Detached::read(bytes).expect_err("the message is rejected"));
    for (name, expected) in [
        ("capabilities", "the signature has S/MIME capabilities among its attributes, which kernels reject"),
        ("attached", "the signature is not detached: the message contains the signed bytes"),
        ("sha1", "hash function 1.3.14.3.2.26 is not supported"),
        ("pss", "signature algorithm 1.2.840.113549.1.1.10 is not supported with this hash function"),
        ("streamed", "the file is not a PKCS#7 message in DER: a length is not in the form that DER requires"),
    ] {
        assert_eq!(of(&message(name)), expected, "{name}");
    }
    assert_eq!(of(b"-----BEGIN CMS-----\n"), "the file is PEM, not DER");
    assert_eq!(of(&[0x30; MAX_SIZE + 1]), "the signature has 8193 bytes; kernels accept at most 8192");
    let rsa = message("rsa");
    let longer = [&*rsa, &[0]].concat();
    assert_eq!(of(&longer), "the file is not a PKCS#7 message in DER: 1 bytes follow its end");
    let key = std::fs::read(keys().join("rsa.cert.der")).expect("the certificate exists");
    assert_eq!(of(&key), "the file is not a PKCS#7 message in DER: tag 0x30 found instead of 0x06");
}

/// Tests that no change of a byte, and no end, makes the reader panic, and that a truncated message is an error.
#[test]
fn damaged_messages_are_read_without_panic() {
    for (name, ..) in MESSAGES {
        let message = message(name);
        for end in 0..message.len() {
            Detached::read(&message[..end]).expect_err("the message is truncated");
        }
        for at in 0..message.len().min(400) {
            for change in [1, 0x80, 0xff] {
                let mut changed = message.clone();
                changed[at] ^= change;
                if let Ok(read) = Detached::read(&changed) {
                    assert_eq!(read.bytes(), changed);
                }
            }
        }
    }
}

#[test]
fn an_image_has_the_bytes_of_both_forms() {
    for endian in [Endian::Little, Endian::Big] {
        let mut builder = TableBuilder::new(endian);
        builder.data(b"data").expect("it fits");
        let table = builder.finish().expect("it is within the limits");
        let image = Image::new(&table, endian);
        assert!(image.contents().starts_with(&table.bytes));
        assert_eq!(image.contents().len(), (table.value_size as usize).next_multiple_of(8));
        assert!(image.contents()[table.bytes.len()..].iter().all(|&byte| byte == 0));
        let insns = [map_check(image.map_hash(), endian), loader_program(&table)].concat();
        let insns: Vec<u8> = insns.into_iter().flat_map(|insn| insn.encode(endian)).collect();
        assert_eq!(image.insns(), insns);
        assert_eq!(image.to_be_signed(Form::Program), insns);
        assert_eq!(image.to_be_signed(Form::ProgramAndMap), [&*insns, image.contents()].concat());
        assert_ne!(image.program_hash(), image.map_hash());
        // The kernel's words of the hash are those of the machine, so its bytes are in the instructions in their order.
        let constants: Vec<u8> = [3, 7, 11, 15]
            .iter()
            .flat_map(|at| {
                let half = |at: usize| insns[8 * at + 4..8 * at + 8].to_vec();
                let (low, high) = (half(*at), half(*at + 1));
                if endian == Endian::Little { [low, high].concat() } else { [high, low].concat() }
            })
            .collect();
        assert_eq!(constants, image.map_hash());
    }
}
