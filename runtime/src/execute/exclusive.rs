//! Maps that only one program can use (Linux 6.18), and the hash by which the kernel identifies that program.
//!
//! The hash is part of the request that creates the map, so the program is assembled for it before its maps exist. That
//! is possible because the kernel ignores file descriptors of maps in the hashed instructions (`bpf_prog_calc_tag` in
//! kernel/bpf/core.c). It hashes instructions after CO-RE relocation, so such a program is relocated in user space.
//! This module does not load programs.

#[cfg(feature = "exclusive-maps")]
pub(super) use hash::digest;

use super::state::open_map;
use super::{Executor, at};
use crate::abi::PatchKind;
use crate::error::Result;
use crate::open::Exclusive;

/// The verifier's message for a program that uses a map that is exclusive to a different program (Linux 6.18 to 7.3).
const MESSAGE: &str = "hash doesn't match map's excl_prog_hash";

impl Executor {
    /// Returns the hash of the program that a map is exclusive to; `None` if all programs can use the map.
    pub(super) fn exclusive_hash(&mut self, map: u32) -> Result<Option<[u8; 32]>> {
        let open = open_map(&self.maps, map)?;
        match &open.exclusive {
            None => Ok(None),
            Some(Exclusive::Hash(hash)) => Ok(Some(*hash)),
            #[cfg(feature = "exclusive-maps")]
            Some(Exclusive::Program(name)) => {
                let name = name.clone();
                self.hash_of(&name).map(Some)
            }
        }
    }

    /// Returns an explanation if the verifier rejected a program because it uses a map that is exclusive to a different
    /// program; `None` if the reason is another.
    pub(super) fn excluded(&self, program: u32, log: Option<&str>) -> Option<String> {
        log.filter(|log| log.contains(MESSAGE))?;
        let open = &at(&self.programs, program)?.open;
        for (_, function) in super::assemble::functions(self.object, open.definition) {
            for patch in self.patches(self.body(function.ok()?)).ok()? {
                let (PatchKind::Map(map) | PatchKind::ArenaValue(map)) = patch.ok()?.kind else { continue };
                let map = &at(&self.maps, map)?.open;
                let Some(exclusive) = &map.exclusive else { continue };
                let name = map.name();
                return Some(match exclusive {
                    Exclusive::Hash(_) => {
                        format!("map `{name}` is exclusive to a program with a different hash (`set_exclusive_hash`)")
                    }
                    #[cfg(feature = "exclusive-maps")]
                    Exclusive::Program(own) if own == open.name() => format!(
                        "map `{name}` is exclusive to this program, but the program's instructions changed after the map was \
                         created, because the kernel lacks a symbol that the program uses"
                    ),
                    #[cfg(feature = "exclusive-maps")]
                    Exclusive::Program(own) => format!("map `{name}` is exclusive to program `{own}`"),
                });
            }
        }
        Some("the program uses a map that was created outside this load and is exclusive to another program".to_owned())
    }
}

#[cfg(feature = "exclusive-maps")]
mod hash {
    use sha2::{Digest as _, Sha256};

    use super::super::programs::Form;
    use super::super::{Executor, at};
    use crate::error::{Error, Result, Subject};
    use crate::opcode::{INSN_SIZE, LD_IMM64};
    use crate::uapi::pseudo;

    impl Executor {
        /// Returns the hash of a program that a later step loads. That step relocates the program in user space, so
        /// that the kernel computes the same hash.
        pub(super) fn hash_of(&mut self, name: &str) -> Result<[u8; 32]> {
            let position = self.programs.iter().position(|program| program.open.name() == name);
            let index = position.and_then(|position| u32::try_from(position).ok());
            let Some(index) = index else {
                return Err(Error::invalid(format_args!(
                    "a map was set to be exclusive to program `{name}`, which the object does not have"
                ))
                .about(Subject::Program(name)));
            };
            if at(&self.programs, index).is_none_or(|program| !program.open.autoload) {
                let error = format!("a map was set to be exclusive to program `{name}`, which is not loaded");
                return Err(Error::invalid(error).about(Subject::Program(name)).with_help(
                    "load the program with `set_autoload(true)`, or leave the map out with `set_autocreate(false)`",
                ));
            }
            if !self.hashed.contains(&index) {
                self.hashed.push(index);
            }
            let within = |error: Error| error.within(format_args!("cannot compute the hash of program `{name}`"));
            let mut form = Form::with(std::mem::take(&mut self.code));
            let result = self.form(index, &mut form).map(|()| digest(&form.code.insns));
            self.code = form.code;
            result.map_err(within)
        }
    }

    /// Returns the kernel's hash of a program: the SHA-256 of its instructions without the immediates of 64-bit
    /// immediate loads that have a map's file descriptor.
    pub(in super::super) fn digest(insns: &[u8]) -> [u8; 32] {
        let mut hasher = Sha256::new();
        let mut loads_map = false;
        for insn in insns.chunks(INSN_SIZE) {
            let [code, registers, offset_low, offset_high, ..] = *insn else {
                hasher.update(insn);
                continue;
            };
            let source = if cfg!(target_endian = "little") { registers >> 4 } else { registers & 0xf };
            let begins = !loads_map && code == LD_IMM64 && [pseudo::MAP_FD, pseudo::MAP_VALUE].contains(&source);
            let ends = loads_map && [code, registers, offset_low, offset_high] == [0; 4];
            loads_map = begins;
            if begins || ends {
                hasher.update([code, registers, offset_low, offset_high, 0, 0, 0, 0]);
            } else {
                hasher.update(insn);
            }
        }
        hasher.finalize().into()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn insn(code: u8, source: u8, immediate: i32) -> [u8; 8] {
            let registers = if cfg!(target_endian = "little") { source << 4 } else { source };
            let [a, b, c, d] = immediate.to_ne_bytes();
            [code, registers, 0, 0, a, b, c, d]
        }

        #[test]
        fn file_descriptors_of_maps_do_not_count() {
            let program = |source, fd, offset, rest| {
                digest([insn(LD_IMM64, source, fd), insn(0, 0, offset), insn(0xb7, 0, rest)].as_flattened())
            };
            for source in [pseudo::MAP_FD, pseudo::MAP_VALUE] {
                assert_eq!(program(source, 3, 8, 1), program(source, 4, 16, 1));
                assert_ne!(program(source, 3, 8, 1), program(source, 3, 8, 2));
            }
            for source in [0, pseudo::BTF_ID, pseudo::FUNC, pseudo::MAP_IDX] {
                assert_ne!(program(source, 3, 8, 1), program(source, 4, 8, 1));
                assert_ne!(program(source, 3, 8, 1), program(source, 3, 9, 1));
            }
        }

        #[test]
        fn the_hash_is_sha_256() {
            // The beginning of the SHA-256 hash of the empty message.
            assert_eq!(digest(&[])[..4], [0xe3, 0xb0, 0xc4, 0x42]);
        }
    }
}
