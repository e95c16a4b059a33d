//! Features other than program types, map types and functions: what instructions, programs, maps and BTF may contain.

use super::programs::NOTHING;
use super::{ask, maps, with_memory};
use crate::abi;
use crate::error::{Errno, LinuxVersion, Result};
use crate::kernel::probe::{self, ProbeRequest, insn};
use crate::kernel::{arena, features, kconfig, percpu};
use crate::opcode::{self, EXIT};
use crate::sanitize;
use crate::sys;
use crate::uapi::{AttachType, MapType, ProgramType};

/// Declares the features with the first Linux version of each.
macro_rules! features {
    ($($(#[$about:meta])* $feature:ident = ($major:literal, $minor:literal),)*) => {
        /// A feature of the kernel that [`has_feature`] probes for.
        ///
        /// ```no_run
        /// # fn f() -> skelgen_runtime::Result<()> {
        /// use skelgen_runtime::kernel::{self, Feature};
        ///
        /// for &feature in Feature::ALL {
        ///     println!("{feature:?} (Linux {}): {}", feature.since(), kernel::has_feature(feature)?);
        /// }
        /// # Ok(())
        /// # }
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Feature {
            $(
                $(#[$about])*
                #[doc = concat!("\n\nLinux ", $major, ".", $minor, ".")]
                $feature,
            )*
        }

        impl Feature {
            /// All features, in the order of this documentation.
            pub const ALL: &[Self] = &[$(Self::$feature,)*];

            /// Returns the first Linux version with the feature. A distribution may have added it to an older kernel, or built a newer one
            /// without it.
            #[must_use]
            pub const fn since(self) -> LinuxVersion {
                match self {
                    $(Self::$feature => LinuxVersion::new($major, $minor),)*
                }
            }
        }
    };
}

features! {
    /// Conditional jumps for "less" (`JLT`, `JLE`, `JSLT`, `JSLE`): instruction set 2 (`-mcpu=v2`).
    InstructionSet2 = (4, 14),
    /// Conditional jumps that compare 32 bits (`JMP32`): instruction set 3 (`-mcpu=v3`).
    InstructionSet3 = (5, 1),
    /// Sign-extending loads and moves, signed division, and long jumps: instruction set 4 (`-mcpu=v4`).
    InstructionSet4 = (6, 6),
    /// Programs of more than 4096 instructions, up to a million that the verifier examines.
    LargePrograms = (5, 2),
    /// Loops with a bounded number of iterations.
    BoundedLoops = (5, 3),
    /// Names of programs and maps. A load leaves names out if the kernel does not accept them.
    Names = (4, 15),
    /// The attach type in the request to load a program.
    AttachTypes = (4, 17),
    /// Global data: direct access to values of arrays. Objects with sections such as `.bss` require it.
    GlobalData = (5, 2),
    /// BTF.
    Btf = (4, 18),
    /// Functions in BTF.
    BtfFunctions = (5, 0),
    /// Variables and sections in BTF.
    BtfSections = (5, 2),
    /// Functions with global linkage in BTF, which the verifier examines once instead of at each call.
    BtfGlobalFunctions = (5, 6),
    /// Floating-point types in BTF.
    BtfFloats = (5, 13),
    /// Declaration tags in BTF (`btf_decl_tag`).
    BtfDeclarationTags = (5, 16),
    /// Type tags in BTF (`btf_type_tag`).
    BtfTypeTags = (5, 17),
    /// Enumerations of eight bytes in BTF.
    BtfEnums64 = (6, 0),
    /// Tags in BTF for arbitrary attributes of the compiler (`kind_flag` of type and declaration tags).
    BtfAttributes = (6, 15),
    /// CO-RE relocation by the kernel. Without it, a load relocates in user space.
    CoreRelocation = (5, 17),
    /// Cookies of attachments, which programs read with [`Helper::GET_ATTACH_COOKIE`](crate::uapi::Helper::GET_ATTACH_COOKIE).
    AttachCookies = (5, 15),
    /// XDP programs in devmaps: values that contain the file descriptor or id of a program.
    DevmapPrograms = (5, 8),
    /// XDP programs in cpumaps: values that contain the file descriptor or id of a program.
    CpumapPrograms = (5, 9),
    /// BPF tokens, see [`token`](crate::kernel::token).
    Tokens = (6, 9),
    /// Maps that only one program can use, see [`OpenMap::set_exclusive_hash`](crate::OpenMap::set_exclusive_hash).
    ExclusiveMaps = (6, 18),
    /// Requests for one CPU's value in a percpu map, and requests that set one value for all CPUs.
    PercpuFlags = (7, 0),
    /// References of programs to any byte of an arena, not only to the first 512 MiB.
    ArenaOffsets = (7, 0),
    /// Direct access of programs to values of percpu arrays, which `.percpu` sections use; a load can emulate it. It depends on the JIT of
    /// the architecture.
    PercpuAccess = (7, 3),
}

/// Returns whether the running kernel has a feature.
///
/// A load probes for the features that it can emulate or do without. Use this to choose between programs or objects, or
/// to report early which features a kernel lacks. If a load caches the answer of a probe, this function shares the
/// cache; other probes run at each call, which takes less than a millisecond.
///
/// # Examples
/// ```no_run
/// use skelgen_runtime::kernel::{self, Feature};
///
/// # fn f() -> skelgen_runtime::Result<()> {
/// for &feature in Feature::ALL {
///     println!("{feature:?} (Linux {}): {}", feature.since(), kernel::has_feature(feature)?);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// If the probe fails: the process has no permission to load programs or create maps (`ErrorKind::NotPermitted`), or
/// memory or file descriptors are exhausted. Such an error is not cached.
pub fn has_feature(feature: Feature) -> Result<bool> {
    use sanitize::Feature as B;
    let how = ProbeRequest { program_type: ProgramType::SOCKET_FILTER, attach_type: AttachType(0), token: None };
    let btf = |feature| with_memory(|| features::has_btf(feature, None));
    let what = format!("has the feature {feature:?}");
    match feature {
        Feature::InstructionSet2 => ask(what, || loads(&jump(opcode::JMP, JLT))),
        Feature::InstructionSet3 => ask(what, || loads(&jump(opcode::JMP32, JLT))),
        Feature::InstructionSet4 => ask(what, || loads(&version_4())),
        Feature::LargePrograms => ask(what, || loads(&[&[NOTHING[0]; 4096][..], &NOTHING].concat())),
        Feature::BoundedLoops => ask(what, || loads(&bounded_loop())),
        Feature::Names => with_memory(features::has_names),
        Feature::AttachTypes => with_memory(features::has_attach_types),
        Feature::GlobalData => ask(what, || {
            let loaded = probe::load_with_value("", (MapType::ARRAY, 0), &NOTHING, how, &mut [])?;
            probe::verdict(&loaded, &[libc::EINVAL])
        }),
        Feature::Btf => ask(what, || {
            // A kernel without BTF does not know the command. `BtfFunctions` is the first feature that not all kernels with BTF have.
            let result = sys::btf::load(&maps::int(), None, &mut [])?.0;
            probe::verdict(&result, &[libc::EINVAL])
        }),
        Feature::BtfFunctions => btf(B::Functions),
        Feature::BtfSections => btf(B::Sections),
        Feature::BtfGlobalFunctions => btf(B::GlobalFunctions),
        Feature::BtfFloats => btf(B::Floats),
        Feature::BtfDeclarationTags => btf(B::DeclarationTags),
        Feature::BtfTypeTags => btf(B::TypeTags),
        Feature::BtfEnums64 => btf(B::Enumerations),
        Feature::BtfAttributes => btf(B::Attributes),
        Feature::CoreRelocation => with_memory(features::has_core),
        Feature::AttachCookies => with_memory(kconfig::has_bpf_cookie),
        Feature::DevmapPrograms => ask(what, || maps::creates(eight_bytes(MapType::DEVMAP))),
        Feature::CpumapPrograms => ask(what, || maps::creates(eight_bytes(MapType::CPUMAP))),
        Feature::Tokens => ask(what, || match sys::token::create_nothing() {
            Err(errno) if errno.raw() == libc::EBADF => Ok(true),
            result => probe::verdict(&result, &[libc::EINVAL]),
        }),
        Feature::ExclusiveMaps => ask(what, || {
            let exclusive = Some(&[0; 32]);
            let create = |exclusive| {
                let request = sys::map::Request { exclusive, ..sys::map::Request::for_probe("", MapType::ARRAY) };
                sys::map::Map::create(&request).map(drop)
            };
            // Kernels return these errors for unknown fields of a request.
            probe::compare(create(exclusive), &[libc::EINVAL, libc::E2BIG], || create(None))
        }),
        Feature::PercpuFlags => with_memory(|| {
            let request = sys::map::Request::for_probe("", MapType::PERCPU_ARRAY);
            let map = ask(&what, || sys::map::Map::create(&request))?;
            sys::elem::Map::new(map.into_fd())?.probe_cpu_flags()
        }),
        Feature::ArenaOffsets => with_memory(|| arena::accepts_any_offset(how)),
        Feature::PercpuAccess => with_memory(|| percpu::direct_access(how)),
    }
}

/// The operation of a jump if the first operand is less than the second, without sign.
const JLT: u8 = 0xa0;

/// Returns whether the kernel accepts a program. The program is valid on every kernel that has its instructions.
fn loads(insns: &[[u8; 8]]) -> Result<bool, Errno> {
    let result = probe::load(&sys::prog::Request::plain("", ProgramType::SOCKET_FILTER, insns.as_flattened()));
    probe::verdict(&result, &[libc::EINVAL, libc::E2BIG])
}

/// `r0 = 0; if r0 < 1 goto +0; exit`, with an operation of this class.
fn jump(class: u8, operation: u8) -> [[u8; 8]; 3] {
    [NOTHING[0], insn(class | operation, (0, 0), 1), NOTHING[1]]
}

/// `r0 = 8; r0 = (s8)r0; r0 = bswap16 r0; r0 s/= 2; gotol +0; exit`. Some kernels before 6.6 have a part of these, so that all are needed.
fn version_4() -> [[u8; 8]; 6] {
    let with_offset = |mut insn: [u8; 8], offset: i16| {
        insn[2..4].copy_from_slice(&offset.to_ne_bytes());
        insn
    };
    [
        insn(opcode::ALU64 | opcode::MOV, (0, 0), 8),
        with_offset(insn(opcode::ALU64 | opcode::MOV | opcode::X, (0, 0), 0), 8),
        insn(opcode::ALU64 | opcode::END, (0, 0), 16),
        with_offset(insn(opcode::ALU64 | opcode::DIV, (0, 0), 2), 1),
        insn(opcode::JMP32, (0, 0), 0),
        NOTHING[1],
    ]
}

/// `r0 = 10; do { r0 -= 1 } while (r0 != 0); exit`.
fn bounded_loop() -> [[u8; 8]; 4] {
    const JNE: u8 = 0x50;
    let mut back = insn(opcode::JMP | JNE, (0, 0), 0);
    back[2..4].copy_from_slice(&(-2_i16).to_ne_bytes());
    [
        insn(opcode::ALU64 | opcode::MOV, (0, 0), 10),
        insn(opcode::ALU64 | opcode::ADD, (0, 0), -1),
        back,
        insn(EXIT, (0, 0), 0),
    ]
}

/// Returns a map with values of eight bytes: the index of a network interface or the size of a queue, and a program.
fn eight_bytes(map_type: MapType) -> abi::Map {
    abi::Map::new("", map_type).key_size(4).value_size(8).max_entries(1)
}
