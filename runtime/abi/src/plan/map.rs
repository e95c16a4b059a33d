//! Maps of a plan, and what they hold at first.

use super::row::row;
use super::{List, Span, Text};
use crate::uapi::MapType;

row! {
    /// A map to create.
    pub struct Map {
        /// Its name in the source; for global data the section's name.
        name: Text,
        /// Its type.
        map_type: MapType;
        /// Its name in the kernel, at most 15 bytes.
        kernel_name: Text = Text::Borrowed(name),
        /// Size of a key in bytes.
        key_size: u32 = 0,
        /// Size of a value in bytes; of an arena, which has no values, that of its section of variables.
        value_size: u32 = 0,
        /// How many elements it holds at the most; what 0 means is up to the type.
        max_entries: u32 = 0,
        /// Flags of `BPF_MAP_CREATE`.
        flags: u32 = 0,
        /// The NUMA node; counts if `flags` has `NUMA_NODE`.
        numa_node: u32 = 0,
        /// The type's own extra setting.
        extra: u64 = 0,
        /// BTF id of the key's type in the object's BTF, 0 if it has none or the kernel wants none.
        btf_key_type_id: u32 = 0,
        /// BTF id of the value's type in the object's BTF, 0 if it has none or the kernel wants none.
        btf_value_type_id: u32 = 0,
        /// For maps of maps: the map whose definition the inner maps share. It is created for the purpose and closed again.
        inner: Option<u32> = None,
        /// Whether it is a map of its own, or only the template that `inner` of another names.
        template: bool = false,
        /// For global data and tables of functions: what they hold at first.
        section: Option<Section> = None,
        /// For tables of functions (`struct_ops`): their members. The section holds the rest of the value.
        struct_ops: Option<StructOps> = None,
        /// For jump tables: whose it is. The map is created only if that program is loaded, and closed again after that.
        jump_table: Option<JumpTable> = None,
        /// Pin it by name (`LIBBPF_PIN_BY_NAME` in the source).
        pin_by_name: bool = false,
    }
}

/// A section of global data, the one value of its map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// What kind of data it is.
    pub kind: SectionKind,
    /// The initial bytes without the zeros at the end: all that follows up to `value_size` is zero.
    pub initial: Span,
    /// Alignment of the section in bytes, a power of two.
    pub align: u32,
}

/// The kinds of global data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SectionKind {
    /// `.data` and `.data.*`: written by programs and by user space.
    Data,
    /// `.bss` and `.bss.*`: the same, all zero at first.
    Bss,
    /// `.rodata` and `.rodata.*`: constant once loaded.
    Rodata,
    /// `.percpu` and `.percpu.*`: a copy for each CPU, all of them alike at first.
    Percpu,
    /// `.kconfig`: what the running kernel's configuration says, constant once loaded.
    Kconfig,
    /// `.jumptables`: the instructions that a function can jump to, indexes of four bytes in little-endian order, counted from the
    /// function's first instruction.
    JumpTable,
    /// `.addr_space.1`: the variables in an arena, written by programs and by user space.
    Arena,
    /// `.struct_ops` and `.struct_ops.link`: what a table of functions holds beside the functions.
    StructOps,
}

row! {
    /// A table of functions: a struct of the kernel's whose functions are programs.
    pub struct StructOps {
        /// The kernel's name of the struct.
        name: Text,
        /// The members as the object declares them.
        members: List<Member>;
        /// Whether it is created unless the user says otherwise (`?` before the section's name switches it off).
        autocreate: bool = true,
    }
}

row! {
    /// A member of a table of functions, as the object declares it.
    pub struct Member {
        /// Its name; empty for an anonymous struct or union.
        name: Text,
        /// Where it begins, in bytes.
        offset: u32,
        /// Its size in bytes; 0 for a bitfield.
        size: u32,
        /// The number of its type's kind (`BTF_KIND_*` of `linux/btf.h`), modifiers looked through.
        kind: u32;
        /// The program that it is, unless the user says otherwise.
        program: Option<u32> = None,
    }
}

/// The owner of a jump table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JumpTable {
    /// The program that is loaded with the map.
    pub program: u32,
    /// The function of the program that jumps by it. Several maps of one program and function are the function's tables, in order.
    pub function: u32,
}
