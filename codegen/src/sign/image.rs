//! The bytes of a loader program that a signature covers.

use sha2::{Digest as _, Sha256};

use crate::insn::{Endian, Insn};
use crate::loader::{HASH_SIZE, Table, loader_program, map_check};

/// The multiple to which the kernel rounds the size of an element of an array map up.
const ELEMENT: usize = 8;

/// The bytes that a signature covers. They depend on the kernel's version, so a skeleton has a signature of each form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// The instructions, then the contents of the map: Linux 7.3 and later.
    ProgramAndMap,
    /// The instructions, which reject a map with other contents: Linux 6.18 to 7.2.
    Program,
}

impl Form {
    /// All forms, in the order in which a load tries them.
    pub const ALL: [Self; 2] = [Self::ProgramAndMap, Self::Program];
}

/// A loader program to be signed: its instructions, and the contents of its map.
///
/// The instructions begin with the check of the map's contents ([`map_check`]). It is redundant where the signature
/// covers the map, but so both forms have the same instructions, and with them the same hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    insns: Vec<u8>,
    contents: Vec<u8>,
}

impl Image {
    /// Creates the image of the loader program for a table.
    #[must_use]
    pub fn new(table: &Table, endian: Endian) -> Self {
        let size = usize::try_from(table.value_size).unwrap_or(usize::MAX).max(table.bytes.len());
        let mut contents = Vec::with_capacity(size.next_multiple_of(ELEMENT));
        contents.extend_from_slice(&table.bytes);
        contents.resize(size.next_multiple_of(ELEMENT), 0);
        let check = map_check(sha256(&contents), endian);
        let insns = check.into_iter().chain(loader_program(table)).flat_map(|insn: Insn| insn.encode(endian)).collect();
        Self { insns, contents }
    }

    /// Returns the instructions.
    #[must_use]
    pub fn insns(&self) -> &[u8] {
        &self.insns
    }

    /// Returns the contents of the map, with all zeros at their end.
    #[must_use]
    pub fn contents(&self) -> &[u8] {
        &self.contents
    }

    /// Returns the bytes to be signed.
    #[must_use]
    pub fn to_be_signed(&self, form: Form) -> Vec<u8> {
        match form {
            Form::ProgramAndMap => [&*self.insns, &*self.contents].concat(),
            Form::Program => self.insns.clone(),
        }
    }

    /// Returns the hash of the program, to which the map is exclusive.
    ///
    /// The kernel hashes the instructions without file descriptors of maps. These instructions have none, because they
    /// refer to the map by its index in `fd_array`.
    #[must_use]
    pub fn program_hash(&self) -> [u8; HASH_SIZE] {
        sha256(&self.insns)
    }

    /// Returns the hash of the map's contents.
    #[must_use]
    pub fn map_hash(&self) -> [u8; HASH_SIZE] {
        sha256(&self.contents)
    }
}

/// Returns the SHA-256 hash of some bytes.
fn sha256(bytes: &[u8]) -> [u8; HASH_SIZE] {
    Sha256::digest(bytes).into()
}
