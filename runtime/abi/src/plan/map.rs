//! Maps of a plan and their initial contents.

use super::row::row;
use super::{List, Span, Text};
use crate::uapi::MapType;

row! {
    /// A map to create.
    pub struct Map {
        /// The map's name in the source; for global data the section's name.
        name: Text,
        /// The map's type.
        map_type: MapType;
        /// The map's name in the kernel, at most 15 bytes.
        kernel_name: Text = Text::Borrowed(name),
        /// The key size in bytes.
        key_size: u32 = 0,
        /// The value size in bytes; for an arena, which has no values, the size of its section of variables.
        value_size: u32 = 0,
        /// The maximum number of elements. The map type determines the meaning of 0.
        max_entries: u32 = 0,
        /// Flags of `BPF_MAP_CREATE`.
        flags: u32 = 0,
        /// The NUMA node; used if `flags` contains `NUMA_NODE`.
        numa_node: u32 = 0,
        /// The type-specific setting (`map_extra`).
        extra: u64 = 0,
        /// The BTF id of the key type in the object; 0 if the map has no key type or the kernel accepts none.
        btf_key_type_id: u32 = 0,
        /// The BTF id of the value type in the object; 0 if the map has no value type or the kernel accepts none.
        btf_value_type_id: u32 = 0,
        /// For maps of maps: the template of the inner maps, which is created for this map and closed afterwards.
        inner: Option<u32> = None,
        /// Whether the map is only the template that another map's `inner` refers to.
        template: bool = false,
        /// For global data and struct_ops maps: the initial contents.
        section: Option<Section> = None,
        /// For struct_ops maps: the members. The section contains the other bytes of the value.
        struct_ops: Option<StructOps> = None,
        /// For jump tables: the owner. The map is created only if that program is loaded, and closed afterwards.
        jump_table: Option<JumpTable> = None,
        /// Whether the map is pinned by name (`LIBBPF_PIN_BY_NAME` in the source).
        pin_by_name: bool = false,
    }
}

impl Map {
    /// The name of the map with the specifications of USDT probes in libbpf's `usdt.bpf.h`. An object with it has USDT programs.
    pub const USDT_SPECS: &'static str = "__bpf_usdt_specs";

    /// Returns whether the map is a section of which each CPU has its own copy.
    #[must_use]
    pub fn is_percpu_section(&self) -> bool {
        self.section.is_some_and(|section| section.kind == SectionKind::Percpu)
    }
}

/// A section of global data: the only value of its map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// The kind of data.
    pub kind: SectionKind,
    /// The initial bytes without trailing zeros. All following bytes up to `value_size` are zero.
    pub initial: Span,
    /// The alignment in bytes, a power of two.
    pub align: u32,
}

/// The kinds of global data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SectionKind {
    /// `.data` and `.data.*`: written by programs and user space.
    Data,
    /// `.bss` and `.bss.*`: written by programs and user space, initially zero.
    Bss,
    /// `.rodata` and `.rodata.*`: constant after the load.
    Rodata,
    /// `.percpu` and `.percpu.*`: a copy for each CPU, all initially equal.
    Percpu,
    /// `.kconfig`: the running kernel's configuration, constant after the load.
    Kconfig,
    /// `.jumptables`: the possible targets of a jump, as four-byte little-endian indices relative to the function's
    /// first instruction.
    JumpTable,
    /// `.addr_space.1`: the variables in an arena, written by programs and user space.
    Arena,
    /// `.struct_ops` and `.struct_ops.link`: the members of a struct_ops map that are not functions.
    StructOps,
}

row! {
    /// A struct_ops map: a kernel struct whose function pointers are programs.
    pub struct StructOps {
        /// The name of the kernel struct.
        name: Text,
        /// The members, as the object declares them.
        members: List<Member>;
        /// Whether the map is created by default (`?` before the section's name disables it).
        autocreate: bool = true,
    }
}

row! {
    /// A member of a struct_ops map, as the object declares it.
    pub struct Member {
        /// The member's name; empty for an anonymous struct or union.
        name: Text,
        /// The member's offset in bytes.
        offset: u32,
        /// The member's size in bytes; 0 for a bitfield.
        size: u32,
        /// The kind number of the member's type without modifiers (`BTF_KIND_*` of `linux/btf.h`).
        kind: u32;
        /// For a function pointer, the program of the member, which the user can replace.
        program: Option<u32> = None,
    }
}

/// The owner of a jump table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JumpTable {
    /// The program that is loaded with the map.
    pub program: u32,
    /// The index of the function that contains the indirect jump. If a function has several jump tables, they are the
    /// maps with the same program and function, in the order of the maps.
    pub function: u32,
}
